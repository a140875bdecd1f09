"""The noise-level distribution lambda from which training draws sigma (Karras et al. 2022).

Log-normal, ln sigma ~ N(mean, std^2), and optionally with a gap: a window of noise levels
that is drawn less often, or never (the paper's section 5, gap training).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri

from geomem.curve import Floats


@dataclass(frozen=True)
class NoiseLaw:
    """A log-normal law of the noise level, with an optional gap.

    A draw that falls in the gap is kept with probability ``gap_keep`` and else drawn anew
    outside: the mass of the gap becomes ``gap_keep`` times what the log-normal gives it.

    Attributes
    ----------
    mean : mean of ln sigma, sigma in data units; None until `for_data` sets EDM's.
    std : standard deviation of ln sigma, > 0.
    gap_low, gap_high : the gap (low, high], data units, 0 <= low <= high; equal: no gap.
    gap_keep : share of the gap's mass that stays, in [0, 1].

    >>> NoiseLaw().for_data(0.5).mean
    -1.2
    """

    mean: float | None = None
    std: float = 1.2
    gap_low: float = 0.0
    gap_high: float = 0.0
    gap_keep: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean or 0) and 0 < self.std < math.inf):
            raise ValueError(f"noise law: needs a finite mean and std > 0, got {self}.")
        if not 0 <= self.gap_low <= self.gap_high < math.inf:
            raise ValueError(f"noise law: needs 0 <= gap_low <= gap_high, got {self}.")
        if not 0 <= self.gap_keep <= 1:
            raise ValueError(f"noise law: gap_keep must lie in [0, 1], got {self.gap_keep}.")
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
