"""Noise levels: the law that training draws them from, and the grid that a sampler walks down.

Both are EDM's (Karras et al. 2022; the paper's Table 2). The law is log-normal, ln sigma ~
N(mean, std^2), and optionally has a gap: a window of noise levels that is drawn less often, or
never (the paper's section 5, gap training).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import ndtr, ndtri
from torch import Tensor

from geomem.geometry.arrays import Floats, check_count
from geomem.typed import check_ranges

MOST_LEVELS = 1_000_000  # of a grid: a sampler calls its denoiser at each
RANGES = {"mean": "[-20, 20]", "std": "(0, 3]", "gap_keep": "[0, 1]"}  # of `NoiseLaw`


@dataclass(frozen=True)
class NoiseLaw:
    """A log-normal law of the noise level, with an optional gap.

    A draw that falls in the gap is kept with probability ``gap_keep`` and else drawn anew
    outside: the mass of the gap becomes ``gap_keep`` times what the log-normal gives it.

    Parameters
    ----------
    mean : float or None
        Mean of ln sigma, sigma in data units, in [-20, 20]; None until `for_data` sets EDM's.
    std : float
        Standard deviation of ln sigma, in (0, 3]: float32 holds all its draws and their squares.
    gap_low, gap_high : float
        The gap (low, high], data units, 0 <= low <= high; equal: no gap.
    gap_keep : float
        Share of the gap's mass that stays, in [0, 1].

    Raises
    ------
    ValueError
        If a value is outside its range, or the gap covers every noise level.

    References
    ----------
    The law of training of :cite:t:`karras2022elucidating`, Table 1; the gap is section 5 of the
    paper; see :doc:`/book/gap_training`.

    Examples
    --------
    >>> from geomem import NoiseLaw
    >>> NoiseLaw().for_data(0.5).mean
    -1.2
    >>> law = NoiseLaw(mean=-1.2, gap_low=0.5, gap_high=2.0)
    >>> bool(law.cdf(2.0) == law.cdf(0.5))
    True
    """

    mean: float | None = None
    std: float = 1.2
    gap_low: float = 0.0
    gap_high: float = 0.0
    gap_keep: float = 0.0

    def __post_init__(self) -> None:
        check_ranges("noise law", self, RANGES)
        if not 0 <= self.gap_low <= self.gap_high < math.inf:
            raise ValueError(f"noise law: needs 0 <= gap_low <= gap_high, got {self}.")
        low, high = (0.0, 0.0) if self.mean is None else self._gap()
        if high - low > 1 - 1e-6:
            raise ValueError("noise law: the gap covers every noise level; make it narrower.")

    def for_data(self, sigma_data: float) -> NoiseLaw:
        """This law with EDM's mean where it has none: -1.2 for data of standard deviation 0.5.

        For other data the same law in its units, -1.2 + ln(2 sigma_data).
        """
        mean = -1.2 + math.log(2 * sigma_data) if self.mean is None else self.mean
        return replace(self, mean=mean)

    def quantile(self, u: float | Floats) -> Floats:
        """The noise level below which a draw falls with probability u in (0, 1), data units.

        With u uniform this is a draw. Shape of ``u``, float64.
        """
        base, ours = self._knots()
        return np.exp(self._mean + self.std * ndtri(np.interp(u, ours, base)))

    def tensor_quantile(self, u: Tensor) -> Tensor:
        """`quantile` of a float64 tensor, computed where it lies without waiting for the device."""
        base, ours = (knots.tolist() for knots in self._knots())
        p = u
        for a, b, low, high in zip(ours, ours[1:], base, base[1:], strict=False):
            if a < b:
                p = torch.where(u >= a, low + (u - a) * ((high - low) / (b - a)), p)
        return torch.exp(self._mean + self.std * torch.special.ndtri(p))

    def cdf(self, sigma: float | Floats) -> Floats:
        """The probability of a noise level <= sigma; sigma > 0 in data units."""
        base, ours = self._knots()
        return np.interp(ndtr((np.log(sigma) - self._mean) / self.std), base, ours)

    @property
    def _mean(self) -> float:
        if self.mean is None:
            raise ValueError("noise law: its mean is not known yet; use for_data(sigma_data).")
        return self.mean

    def _knots(self) -> tuple[Floats, Floats]:
        """Where our distribution function, piecewise linear in the log-normal's, bends."""
        low, high = self._gap()
        inside = self.gap_keep * (high - low)
        below = low * (1 - inside) / (1 - (high - low))
        return np.array([0, low, high, 1]), np.array([0, below, below + inside, 1])

    def _gap(self) -> tuple[float, float]:
        """The gap's ends as probabilities of the log-normal without a gap."""
        if self.gap_low == self.gap_high:
            return 0.5, 0.5
        with np.errstate(divide="ignore"):
            low, high = ndtr((np.log([self.gap_low, self.gap_high]) - self._mean) / self.std)
        return float(low), float(high)


def karras_sigmas(
    n: int = 18, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Floats:
    """The n noise levels of the EDM sampler, descending, without the trailing zero.

    The defaults are the paper's grid::

        sigma_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho

    Parameters
    ----------
    n : int
        Number of levels, 1 <= n <= 1e6 (n = 1 gives sigma_max alone).
    sigma_min, sigma_max : float
        Smallest and largest level, data units, 0 < sigma_min <= sigma_max.
    rho : float
        Larger puts more of the levels at small noise, > 0.

    Returns
    -------
    array (n,)
        float64, data units, descending.

    Raises
    ------
    ValueError
        If a value is outside its range.

    References
    ----------
    Table 2 of the paper; here Eq. :eq:`eq-grid`; :cite:t:`karras2022elucidating`, Eq. 5.

    Examples
    --------
    >>> from geomem import karras_sigmas
    >>> karras_sigmas()[[0, 10, 17]].round(6).tolist()
    [80.0, 1.088171, 0.002]
    """
    if check_count("n", n) > MOST_LEVELS:
        raise ValueError(f"n must be at most {MOST_LEVELS:,} noise levels, got {n:,}.")
    if not (0 < sigma_min <= sigma_max < np.inf and rho > 0):
        raise ValueError(
            "karras_sigmas needs 0 < sigma_min <= sigma_max and rho > 0, got "
            f"sigma_min={sigma_min}, sigma_max={sigma_max}, rho={rho}."
        )
    first, last = np.float64(sigma_max) ** (1 / rho), np.float64(sigma_min) ** (1 / rho)
    sigmas = (first + np.arange(n) / max(n - 1, 1) * (last - first)) ** rho
    sigmas[0] = sigma_max
    if n > 1:
        sigmas[-1] = sigma_min  # exact ends: the power loses the last digits
    return sigmas
