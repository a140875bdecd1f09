"""Bounds on the coverage C_sigma (Theorem 4.8), its elementary envelopes, and sigma_cov."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import brentq
from torch import distributed

from geomem.geometry.arrays import Array, Floats, check_sigmas
from geomem.geometry.coverage import FAR, shell_mass, shell_radii
from geomem.geometry.curve import Curve
from geomem.geometry.distances import (
    QUERY_ROWS,
    TRAIN_ROWS,
    nearest_distances,
    pair,
    squared_distances,
)
from geomem.geometry.intervals import dkw
from geomem.geometry.ranks import merged

TABLE = 2**15  # radii at which Phi is tabulated
NEGLIGIBLE = 1e-18  # the table ends where the upper envelope falls below this


@dataclass(frozen=True)
class CoverageBounds:
    """The bounds of Theorem 4.8: lower_nearest <= C_sigma <= upper_sum <= upper_nearest.

    They bound C_sigma of the law of X; here the expectation over X is a mean over held-out
    images, so each comes with a 95% interval over these (see `geomem.Curve`).

    Attributes
    ----------
    sigma : (S,) noise levels, data units.
    lower_nearest : (S,) E Phi(d_1NN / sigma). The paper's lower bound.
    upper_sum : (S,) E min(1, sum_i Phi(d_i / sigma)). Our reconstruction.
    upper_nearest : (S,) E min(1, N Phi(d_1NN / sigma)). Our reconstruction.
    lower_nearest_interval, upper_sum_interval, upper_nearest_interval : (2, S) its ends.
    """

    sigma: Floats
    lower_nearest: Floats
    upper_sum: Floats
    upper_nearest: Floats
    lower_nearest_interval: Floats
    upper_sum_interval: Floats
    upper_nearest_interval: Floats

    @property
    def curves(self) -> dict[str, Curve]:
        """Each bound under its name, without its interval."""
        return {
            r"$\Phi$ of the nearest (paper)": Curve.from_table(self.sigma, self.lower_nearest),
            "sum over all shells": Curve.from_table(self.sigma, self.upper_sum),
            r"$N\,\Phi$ of the nearest": Curve.from_table(self.sigma, self.upper_nearest),
        }

    def table(self) -> dict[str, Floats]:
        """Each bound under a heading with its unit."""
        return {
            "lower bound, nearest [probability]": self.lower_nearest,
            "upper bound, sum [probability]": self.upper_sum,
            "upper bound, N times nearest [probability]": self.upper_nearest,
        }


def coverage_bounds(
    heldout: Array,
    train: Array,
    sigmas: Array,
    *,
    c: float = 5.0,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> CoverageBounds:
    """Bounds on the coverage C_sigma(p, D) from distances alone, without noise.

    With d_i the distances of a held-out image to the training points and d_1NN the least::

        E Phi(d_1NN / sigma) <= C_sigma <= E min(1, sum_i Phi(d_i / sigma))
                                        <= E min(1, N Phi(d_1NN / sigma))

    The left inequality is the paper's, with equality for N = 1; the right ones are our
    reconstruction. Valid for every law of X, every training set, d >= 1 and c > 0.

    Parameters
    ----------
    heldout : array (Q, ...)
        Images that the training set does not hold, in data units.
    train : array (N, ...)
        The training set D.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    c : float
        Shell parameter of `shell_radii`, > 0.
    device : str or torch.device
        "auto", or a torch device.
    group : torch.distributed.ProcessGroup or None
        Processes with a share of ``train`` each; see `max_posterior_weight`.

    Returns
    -------
    CoverageBounds
        ``lower_nearest``, ``upper_sum`` and ``upper_nearest``, each (S,) in [0, 1], and to
        each its ``..._interval`` (2, S): 95% over the held-out images.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, sigma <= 0 or c <= 0.

    Notes
    -----
    Phi at the nearest point is evaluated there. In the sum it is read from a table at the
    tabulated radius to the left, and Phi decreases, so the sum stays an upper bound; for c
    near 5 each of its terms is above the exact one by at most 0.0003, for large c by more
    (0.0011 at d = 12288, c = 1000). (The bounds are as exact as SciPy's
    noncentral chi-square, which is far below the intervals.)

    References
    ----------
    Theorem 4.8 of the paper, the upper bounds our reconstruction; here :prf:ref:`theorem-4-8`.

    Examples
    --------
    >>> from geomem import coverage_bounds
    >>> bounds = coverage_bounds([[0.0] * 64], [[1.0] * 64], [1.0, 10.0], c=1.0)
    >>> bounds.lower_nearest.round(3).tolist(), bounds.upper_nearest.round(3).tolist()
    ([0.004, 0.866], [0.004, 0.866])
    """
    levels = check_sigmas(sigmas)
    q, t = pair(heldout, train, device, group)
    radii, mass = _table(t.dim, c)
    values = torch.as_tensor(mass, device=q.device)
    per_unit = (len(radii) - 1) / radii[-1]  # table entries per unit of r
    centre = t.mean()
    total = torch.zeros(len(levels), len(q), dtype=torch.float64, device=q.device)
    nearest = torch.full((len(q),), torch.inf, dtype=torch.float64, device=q.device)
    for rows in q.slices(QUERY_ROWS):
        x = q.block(rows, centre)
        for columns in t.slices(TRAIN_ROWS):
            rho = squared_distances(x, t.block(columns, centre)).clamp_(min=0).sqrt_()
            nearest[rows] = torch.minimum(nearest[rows], rho.amin(1))
            for s, sigma in enumerate(levels.tolist()):
                left = (rho * (per_unit / sigma)).clamp_(max=len(radii) - 1).to(torch.int32)
                total[s, rows] += values[left].sum(1)
    total, nearest = merged(total, "SUM", group), merged(nearest, "MIN", group)
    closest = shell_mass(nearest.cpu().numpy()[:, None] / levels, t.dim, c)  # (Q, S)
    found = {
        "lower_nearest": closest,
        # Rounding and the table must not put the sum outside what encloses it.
        "upper_sum": np.clip(total.T.cpu().numpy(), closest, np.minimum(t.total * closest, 1)),
        "upper_nearest": np.minimum(t.total * closest, 1),
    }
    curves = {k: Curve.from_queries(levels, v, indicator=True) for k, v in found.items()}
    intervals = {f"{k}_interval": np.stack([v.low, v.high]) for k, v in curves.items()}
    return CoverageBounds(levels, **{k: v.mean for k, v in curves.items()}, **intervals)


def shell_mass_envelopes(r: float | Floats, d: int, c: float = 5.0) -> tuple[Floats, Floats]:
    """Elementary bounds on Phi_{d,c}(r) of `shell_mass`, from below and above.

    With h = r^2 - 2 sqrt(c d) - 2 c and d_eff = d + 2 r^2::

        1 - exp(-c) - exp(-x) <= Phi_{d,c}(r) <= exp(-max(h, 0)^2 / (4 d_eff)),
        sqrt(x) = (sqrt(d_eff + 2 max(-h, 0)) - sqrt(d_eff)) / 2

    Valid for every d >= 1, c > 0 and r >= 0; the lower one is clipped at 0.

    Parameters
    ----------
    r : float or array
        Distance over noise level, >= 0.
    d : int
        Dimension, as in `shell_radii`.
    c : float
        Shell parameter, as in `shell_radii`.

    Returns
    -------
    tuple of two arrays
        (lower, upper), each of the shape of ``r``, float64, in [0, 1].

    Raises
    ------
    ValueError
        If r is negative or not finite, or `shell_radii` refuses d or c.

    References
    ----------
    To Theorem 4.8, our reconstruction; here :prf:ref:`theorem-4-8-envelopes`.

    Examples
    --------
    >>> from geomem import shell_mass_envelopes
    >>> lower, upper = shell_mass_envelopes([0.0, 30.0], 3072)
    >>> lower.round(3).tolist(), upper.round(3).tolist()
    ([0.987, 0.0], [1.0, 0.0])
    """
    radius = np.asarray(r, dtype=np.float64)
    if not np.all(np.isfinite(radius) & (radius >= 0)):
        raise ValueError("shell_mass_envelopes: r must be finite and at least 0.")
    radius = np.minimum(radius, 1e60)  # whose fourth power is finite, and its envelopes both 0
    h, d_eff = radius**2 - _width(d, c), d + 2 * radius**2
    upper = np.exp(-(np.maximum(h, 0) ** 2) / (4 * d_eff))
    root = (np.sqrt(d_eff + 2 * np.maximum(-h, 0)) - np.sqrt(d_eff)) / 2
    return np.maximum(1 - np.exp(-c) - np.exp(-(root**2)), 0), upper


def coverage_sigma(distance: float | Floats, d: int, c: float = 5.0) -> Floats:
    """The noise level at which the shell of a training point reaches a point at a distance.

    sigma_cov = distance / sqrt(2 sqrt(c d) + 2 c). At this noise level the squared norm that
    Phi_{d,c} measures has the outer squared radius as its mean. So Phi_{d,c}(distance / sigma)
    tends to 1/2 - Q(sqrt(8 c)) for large d, Q the tail of the standard normal law: near 1/2 unless
    c is small (0.503 for d = 3072, c = 5). With d_1NN as the distance: the noise level at which a
    held-out image becomes covered.

    Parameters
    ----------
    distance : float or array
        Data units, >= 0.
    d : int
        Dimension, as in `shell_radii`.
    c : float
        Shell parameter, as in `shell_radii`.

    Returns
    -------
    array of the shape of distance
        Noise levels, data units, float64.

    Raises
    ------
    ValueError
        If the distance is negative or not finite, or `shell_radii` refuses d or c.

    References
    ----------
    To Theorem 4.8, our reconstruction; here Eq. :eq:`eq-sigma-cov`.

    Examples
    --------
    >>> from geomem import coverage_sigma
    >>> float(coverage_sigma(10.0, 3072).round(3))
    0.623
    """
    gap = np.asarray(distance, dtype=np.float64)
    if not np.all(np.isfinite(gap) & (gap >= 0)):
        raise ValueError("coverage_sigma: distance must be finite and at least 0.")
    return gap / np.sqrt(_width(d, c))


@dataclass(frozen=True)
class CoverageCertificate:
    """What coverage is at least, with confidence 1 - alpha, at all noise levels at once.

    Attributes
    ----------
    nearest : (n,) distances d_1NN of the held-out images, data units.
    dim, c : of the shells, as in `shell_radii`.
    alpha : the risk, in (0, 1/2].
    """

    nearest: Floats
    dim: int
    c: float
    alpha: float

    def at(self, sigmas: Array) -> Floats:
        """(S,) the least C_sigma: the mean of Phi(d_1NN / sigma), less what chance can add."""
        mass = shell_mass(self.nearest[:, None] / check_sigmas(sigmas), self.dim, self.c)
        return np.maximum(mass.mean(0) - dkw(len(self.nearest), self.alpha), 0)

    def start(self, level: float = 0.8) -> float:
        """The noise level from which on C_sigma is at least ``level``, data units.

        There the danger zone begins at the latest, where coverage decides. 0: at every noise
        level; NaN: so many images do not make it certain at any.

        Parameters
        ----------
        level : in (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie strictly between 0 and 1, got {level}.")

        def excess(log_sigma: float) -> float:
            return float(self.at([np.exp(log_sigma)])[0]) - level

        apart = self.nearest[self.nearest > 0]
        # Here no shell reaches an image that is no copy; there every one holds all of them.
        low = np.log(apart.min(initial=1.0) / (shell_radii(self.dim, self.c)[1] + FAR))
        high = np.log(apart.max(initial=1.0)) + 40
        if excess(low) >= 0:
            return 0.0
        if excess(high) < 0:
            return float("nan")
        return float(np.exp(brentq(excess, low, high, xtol=1e-9) + 2e-9))  # never too early


def coverage_certificate(
    heldout: Array,
    train: Array,
    *,
    c: float = 5.0,
    alpha: float = 0.05,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> CoverageCertificate:
    """A lower bound on coverage that holds with confidence for all noise levels at once.

    Phi_{d,c} falls, so C_sigma >= E Phi(d_1NN / sigma) is a mixture of the probabilities that d_1NN
    is below a value, and the Dvoretzky-Kiefer-Wolfowitz inequality bounds all of these together:
    with probability 1 - alpha, for every sigma,

        C_sigma >= mean Phi(d_1NN / sigma) - sqrt(log(1 / alpha) / (2 n)).

    It needs n held-out images that are independent draws of the law p, and a training set D that
    does not depend on them.

    Parameters
    ----------
    heldout : array (Q, ...)
        Images that the training set does not hold, in data units.
    train : array (N, ...)
        The training set D.
    c : float
        Shell parameter of `shell_radii`, > 0.
    alpha : float
        The risk, 0 < alpha <= 1/2.
    device : str or torch.device
        "auto", or a torch device.
    group : torch.distributed.ProcessGroup or None
        Processes with a share of ``train`` each; see `max_posterior_weight`.

    Returns
    -------
    CoverageCertificate
        ``at(sigmas)``, the lower bounds, in [0, 1]; ``start(level)``, the noise level from which
        on C_sigma is at least ``level``, data units.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, c <= 0, or alpha is outside (0, 1/2].

    References
    ----------
    Ours, from Theorem 4.8; see :doc:`/book/regimes`. The constant is that of
    :cite:t:`massart1990tight`.

    Examples
    --------
    >>> from geomem import coverage_certificate
    >>> found = coverage_certificate([[0.0] * 64] * 500, [[1.0] * 64], c=1.0)
    >>> found.at([1.0, 10.0]).round(3).tolist(), round(found.start(0.5), 2)
    ([0.0, 0.812], 1.96)
    """
    queries, points = pair(heldout, train, device, group)
    shell_radii(points.dim, c), dkw(len(queries), alpha)  # refuse what makes no certificate
    distance = torch.as_tensor(nearest_distances(heldout, train, device=device, group=group)[:, 0])
    return CoverageCertificate(distance.cpu().numpy(), points.dim, c, alpha)


def _width(d: int, c: float) -> float:
    """r_out^2 - d."""
    shell_radii(d, c)  # refuses d and c that make no shell
    return float(2 * np.sqrt(c * d) + 2 * c)


def _table(d: int, c: float) -> tuple[Floats, Floats]:
    """Even radii from 0 to where Phi is negligible, and Phi there."""
    end = np.sqrt(_width(d, c))
    while shell_mass_envelopes(end, d, c)[1] > NEGLIGIBLE:
        end *= 1.1
    radii = np.linspace(0, end, TABLE)
    mass = shell_mass(radii, d, c)
    # Rounding of SciPy's values must not let the table rise, nor end below the truth.
    return radii, np.maximum(np.maximum.accumulate(mass[::-1])[::-1], NEGLIGIBLE)
