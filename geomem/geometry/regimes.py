"""The three noise regimes and the danger zone, from coverage and posterior concentration.

The paper (section 4.2) describes the regimes in words: small noise has high posterior
weight and low coverage, large noise low posterior weight and high coverage, and the
transitions of both mark medium noise, the danger zone. It gives no algorithm; the rule
here is ours: both curves at least ``level``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import distributed

from geomem.geometry.arrays import Array, Floats
from geomem.geometry.coverage import shell_coverage
from geomem.geometry.curve import Curve, first_fall, last_rise
from geomem.geometry.intervals import Estimate, percentiles
from geomem.geometry.posterior import max_posterior_weight
from geomem.geometry.window import Window

GRID = np.geomspace(0.01, 100, 61)  # noise levels of every measured zone, data units
DRAWS = 8  # noise draws of every image there
LARGEST = 1e5  # beyond it nobody looks for a zone


@dataclass(frozen=True)
class Regimes:
    """Where coverage and posterior weight pass ``level``, and where they cross.

    Parameters
    ----------
    level : float
        The level of the rule, in (0, 1).
    covered : Estimate
        The sigma at which C_sigma rises through ``level``, data units.
    concentrated : Estimate
        The sigma at which W_sigma falls through ``level``, data units.
    crossing : Estimate
        The sigma at which C_sigma = W_sigma, data units.
    crossing_value : float
        Their common value there, in [0, 1].
    sigma_min, sigma_max : float
        Ends of the grid that the curves were measured on, data units.

    See Also
    --------
    find_regimes, measure_regimes : Give one.

    References
    ----------
    Section 4.2 of the paper, in words; the rule is ours; see :doc:`/book/regimes`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import Curve, find_regimes
    >>> sigma, rising = np.array([0.1, 1.0, 10.0]), np.array([0.0, 0.9, 1.0])
    >>> tables = [Curve.from_table(sigma, values) for values in (rising, rising[::-1])]
    >>> regimes = find_regimes(*tables)
    >>> print(regimes.covered, "to", regimes.concentrated, "crossing at", regimes.crossing)
    0.774 to 1.29 crossing at 1
    """

    level: float
    covered: Estimate
    concentrated: Estimate
    crossing: Estimate
    crossing_value: float
    sigma_min: float
    sigma_max: float

    @property
    def small(self) -> tuple[float, float]:
        """Small noise: below both edges. Without a danger zone, the levels between the
        edges (neither covered nor concentrated) belong to none of the paper's regimes."""
        return self.sigma_min, min(self.covered.value, self.concentrated.value)

    @property
    def medium(self) -> tuple[float, float] | None:
        """Medium noise, the danger zone: both curves at least ``level``; None if nowhere."""
        low, high = self.covered.value, self.concentrated.value
        return (low, high) if low < high else None

    @property
    def large(self) -> tuple[float, float]:
        """Large noise: above both edges, covered and spread over many training points."""
        return max(self.covered.value, self.concentrated.value), self.sigma_max


@dataclass(frozen=True)
class Geometry:
    """Coverage, concentration and the regimes of one training set, as `measure_regimes` has them.

    Attributes
    ----------
    coverage, weight : C_sigma and W_sigma at the levels of `GRID`, or more of them.
    regimes : what `find_regimes` makes of them.
    """

    coverage: Curve
    weight: Curve
    regimes: Regimes

    def table(self) -> dict[str, Floats]:
        """Both curves and their noise levels, each column under a heading with its unit."""
        levels = {"sigma [data units]": self.coverage.sigma}
        curves = {"C_sigma": self.coverage, "W_sigma": self.weight}
        return levels | {
            heading: column
            for name, curve in curves.items()
            for heading, column in curve.table(name, "probability").items()
        }

    @property
    def zone(self) -> Window:
        """The danger zone; where the rule finds none, from the crossing to twice that level."""
        crossing = self.regimes.crossing.value
        return Window(*(self.regimes.medium or (crossing, 2 * crossing)))

    @property
    def zone_in_words(self) -> str:
        """The danger zone as text, which says so where the rule finds none."""
        return self.zone.in_words + ("" if self.regimes.medium else " (the rule finds none)")


def measure_regimes(
    heldout: Array,
    train: Array,
    *,
    c: float = 5.0,
    level: float = 0.8,
    queries: int | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> Geometry:
    """Both curves of a training set and its danger zone: every chapter takes it from here.

    Always on one grid, and with one number of draws unless another is asked for: so one training
    set has one zone, to the last digit, for equal held-out images, ``c``, ``level`` and ``seed``.
    Where concentration is still above the level at its end, as for large images, the grid goes on.

    Parameters
    ----------
    heldout : array (Q, ...)
        Images that the training set does not hold, in data units.
    train : array (N, ...)
        The training set.
    c : float
        Shell parameter of `shell_radii`, > 0.
    level : float
        Level of the rule, as in `find_regimes`.
    queries : int or None
        How many training images W_sigma is measured at, chosen at random; None: all.
    draws : int
        Noise draws of every image, >= 1.
    seed : int
        Seed of the noise, of the choice of queries and of the resampling.
    device : str or torch.device
        "auto", or a torch device.
    group : torch.distributed.ProcessGroup or None
        Processes with a share of ``train`` each; see `max_posterior_weight`.

    Returns
    -------
    Geometry
        ``coverage`` and ``weight``, a `Curve` each; ``regimes``, the `Regimes`; ``zone``, the
        danger zone as a window of noise levels, data units.

    Raises
    ------
    ValueError
        As `find_regimes`.

    References
    ----------
    Section 4.2 of the paper, in words; the rule is ours; see :doc:`/book/regimes`.

    Examples
    --------
    >>> from geomem import load_dataset, measure_regimes
    >>> data = load_dataset("digits", n_train=20, n_heldout=20)
    >>> print(measure_regimes(data.heldout, data.train).zone)
    [0.657, 1.43)
    """
    grid, how = GRID, dict[str, Any](draws=draws, seed=seed, device=device, group=group)
    while True:
        coverage = shell_coverage(heldout, train, grid, c=c, **how)
        weight = max_posterior_weight(train, grid, queries=queries, **how)
        if weight.mean[-1] < level or grid[-1] > LARGEST:
            return Geometry(coverage, weight, find_regimes(coverage, weight, level, seed=seed))
        grid = np.append(grid, 10 * grid[-15:])  # large images: a decade more, at equal steps


def find_regimes(
    coverage: Curve, weight: Curve, level: float = 0.8, *, resamples: int = 1000, seed: int = 0
) -> Regimes:
    """Small, medium (danger zone) and large noise from the two curves.

    The danger zone is where both C_sigma and W_sigma are at least ``level``. The default
    is calibrated on the paper's Figure 5: on that figure's own curves it gives
    [0.55, 1.39], where the paper names the zone [0.55, 1.3]. Edges and the crossing
    C = W are interpolated linearly in log sigma; their intervals are the 2.5 and 97.5
    percentiles over resamples of each curve's queries, by what chance does to each: where W_sigma
    is measured on all training points, noise alone.

    Parameters
    ----------
    coverage : Curve
        C_sigma, as `shell_coverage` gives it.
    weight : Curve
        W_sigma on the same grid of at least two noise levels, as `max_posterior_weight` gives it.
    level : float
        Level of the rule, strictly between 0 and 1.
    resamples : int
        Bootstrap resamples; curves without queries (from a table) get no interval.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Regimes
        Edges and crossing, data units, each with its 95% interval.

    Raises
    ------
    ValueError
        If the grids differ, the level is outside (0, 1), or a curve does not pass ``level`` on
        the grid.

    References
    ----------
    Section 4.2 of the paper, in words; the rule is ours; see :doc:`/book/regimes`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import Curve, find_regimes
    >>> sigma, rising = np.array([0.1, 1.0, 10.0]), np.array([0.0, 0.9, 1.0])
    >>> found = find_regimes(*(Curve.from_table(sigma, c) for c in (rising, rising[::-1])))
    >>> [round(edge, 2) for edge in found.medium]
    [0.77, 1.29]
    """
    order = np.argsort(coverage.sigma)
    sigma = coverage.sigma[order]
    if not np.array_equal(sigma, np.sort(weight.sigma)) or len(np.unique(sigma)) < 2:
        raise ValueError("find_regimes: both curves must share one grid of at least two sigmas.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie strictly between 0 and 1, got {level}.")
    c, w = coverage.mean[order], weight.mean[np.argsort(weight.sigma)]
    covered, concentrated, crossing = map(float, _edges(sigma, c, w, level))
    for name, edge, values in (("C", covered, c), ("W", concentrated, w)):
        if np.isnan(edge):
            known = name == "C" and values.min() >= level
            why = " Held-out images that are training images are always covered." if known else ""
            raise ValueError(
                f"{name}_sigma does not pass level {level} on sigma in [{sigma[0]:.3g}, "
                f"{sigma[-1]:.3g}] (it runs from {values[0]:.3g} to {values[-1]:.3g}): "
                f"widen the grid or change the level.{why}"
            )
    intervals = _edges(sigma, *_resampled((coverage, weight), resamples, seed), level)
    return Regimes(
        level=level,
        covered=percentiles(covered, intervals[0]),
        concentrated=percentiles(concentrated, intervals[1]),
        crossing=percentiles(crossing, intervals[2]),
        crossing_value=float(np.interp(np.log(crossing), np.log(sigma), c)),
        sigma_min=float(sigma[0]),
        sigma_max=float(sigma[-1]),
    )


def find_crossing(
    rising: Curve, falling: Curve, *, paired: bool = False, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """The noise level at which one curve rises through another, with its interval.

    Parameters
    ----------
    rising, falling : curves on one ascending grid.
    paired : whether both are of the same queries in one order, which are then resampled together.
    resamples, seed : as in `find_regimes`.

    Returns
    -------
    Estimate, data units; NaN where they do not cross on the grid.
    """
    if not np.array_equal(rising.sigma, falling.sigma) or np.any(np.diff(rising.sigma) <= 0):
        raise ValueError("find_crossing: both curves must share one ascending grid.")
    if paired and rising.n != falling.n:
        raise ValueError(f"find_crossing: no pairs of {rising.n} and {falling.n} queries.")
    up, down = _resampled((rising, falling), resamples, seed, paired=paired)
    value = last_rise(rising.sigma, rising.mean - falling.mean, 0.0)
    return percentiles(float(value), last_rise(rising.sigma, up - down, 0.0))


def _edges(sigma: Floats, c: Floats, w: Floats, level: float) -> tuple[Floats, Floats, Floats]:
    """(covered, concentrated, crossing) of curves (..., S); NaN for what the grid does not show.

    Where both curves reach ``level``, the edges are the ends of the run around their
    highest common value, so that a curve that passes the level more than once (coverage
    with a small c is humped) does no harm. Elsewhere: C's last rise and W's first fall. Each curve
    is interpolated by itself: between two levels the lower of both may be one, then the other.
    """
    both, place = np.minimum(c, w), np.arange(len(sigma))
    peak = both.argmax(-1)[..., None]
    there = both.max(-1) >= level
    rises = [last_rise(sigma, np.where(place <= peak, curve, np.inf), level) for curve in (c, w)]
    falls = [first_fall(sigma, np.where(place >= peak, curve, np.inf), level) for curve in (c, w)]
    covered = np.where(there, np.fmax(*rises), last_rise(sigma, c, level))
    concentrated = np.where(there, np.fmin(*falls), first_fall(sigma, w, level))
    return covered, concentrated, last_rise(sigma, c - w, 0.0)


def _resampled(
    curves: tuple[Curve, Curve], resamples: int, seed: int, *, paired: bool = False
) -> tuple[Floats, Floats]:
    """(resamples, S) curves as chance may move them; none where one has fewer than two queries.

    Each by chance of its own, or ``paired``: then the same queries of both are drawn together.
    """
    if min(curve.n for curve in curves) < 2:
        none = np.empty((0, len(curves[0].sigma)))
        return none, none
    first = np.random.default_rng(seed)
    second = np.random.default_rng(seed) if paired else first
    up, down = (
        curve.resampled(resamples, rng)[:, np.argsort(curve.sigma)]
        for curve, rng in zip(curves, (first, second), strict=True)
    )
    return up, down
