"""Denoiser swaps: at which noise levels is it decided that a sample is a copy (Table 1, Fig. 10)?

A swap is a denoiser like any other: inside a window of noise levels it asks a donor, outside
the base. Whatever samples, measures or draws a denoiser can do so with a swap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from geomem.curve import ErrorCurve, Floats, check_sigmas
from geomem.distances import Array, nearest_distances
from geomem.memorization import DistinctImages, denoising_error
from geomem.model import Denoise
from geomem.regimes import GRID, Estimate, Geometry, measure_regimes, student
from geomem.window import Window

# The paper's windows as steps of its 18-step grid (Table 2). Table 1 gives their edges rounded,
# 8.4 and 0.14; its appendix E.6 gives 5.3 and 0.06, which disagree with Table 1 and Figure 10.
PAPER_STEPS: Mapping[str, tuple[int, int]] = {
    "large": (0, 5),
    "medium": (6, 13),
    "medium_e6": (7, 13),  # as appendix E.6 has it
    "danger": (7, 10),
    "small": (14, 17),
}

# The danger zone that the paper gives for its CelebA images (section 5, Figure 5).
PAPER_CELEBA_ZONE = Window(0.55, 1.3)

# The paper's Table 1, percent of 256 samples: (base, window of the other model) -> memorized.
PAPER_TABLE: Mapping[tuple[str, str], float] = {
    ("small", ""): 92.2,
    ("small", "large"): 93.0,
    ("small", "medium"): 0.0,
    ("small", "small"): 91.0,
    ("large", ""): 0.0,
    ("large", "large"): 0.0,
    ("large", "medium"): 92.2,
    ("large", "small"): 0.0,
}


def swap(base: Denoise, donor: Denoise, window: Window) -> Denoise:
    """The denoiser that is ``donor`` inside the window and ``base`` outside.

    Parameters
    ----------
    base, donor : denoisers of the same images.
    window : where the donor answers; noise levels that differ within a batch are allowed.
    """

    def denoise(x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        inside = window.contains(sigma)
        if not isinstance(inside, torch.Tensor):
            return donor(x, sigma) if inside else base(x, sigma)
        if inside.ndim == 0 or inside.all() or not inside.any():
            return donor(x, sigma) if bool(inside.any()) else base(x, sigma)
        assert isinstance(sigma, torch.Tensor)
        result = torch.empty_like(x)
        for rows, chosen in ((inside, donor), (~inside, base)):
            result[rows] = chosen(x[rows], sigma[rows])
        return result

    return denoise


def copy_edge(sigma: Floats, error: Floats, nearest: float) -> float:
    """The noise level below which a denoiser hardly changes whether a sample is a copy (ours).

    A copy passes the ratio test while it is less than a third of ``nearest`` away from its
    training image, and a sample drawn from noise level sigma with a good denoiser is about
    2 MSE(sigma) away, squared, from what it would have been: so where
    2 MSE(sigma) = (nearest / 3)^2. A rule of thumb, not a theorem.

    Parameters
    ----------
    sigma : (S,) noise levels, data units, ascending.
    error : (S,) denoising error of the large model there, data units squared, rising in sigma.
    nearest : typical distance of a training image to its nearest other one, data units.

    Returns
    -------
    float, data units; NaN where the curve does not reach that error.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        level, spread = np.log(sigma), np.log(2 * error)
    wanted = 2 * math.log(nearest / 3)
    above = np.flatnonzero(spread >= wanted)
    if len(above) == 0 or above[0] == 0:
        return math.nan
    i = int(above[0])
    share = (wanted - spread[i - 1]) / (spread[i] - spread[i - 1])
    return float(np.exp(level[i - 1] + share * (level[i] - level[i - 1])))


def half_level(
    sigma: Floats,
    passed: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The level of a single switch at which half of the copies are decided (ours).

    That is where the share of copies first reaches half of what it is without a switch; linear in
    log sigma between two levels.

    Parameters
    ----------
    sigma : (S,) levels of the switch, data units, in the order in which the share rises.
    passed : (S, n) whether each sample is memorized with the switch at each level.
    whole : (n,) whether it is without one, of the same initial noises.
    resamples : bootstrap resamples of the noises, for the 95% percentile interval.
    seed : of the resampling.

    Returns
    -------
    Estimate, data units: NaN where there is no copy, or where the first level has half already;
    without an interval where more than 2.5% of the resamples are so.
    """
    levels = np.log(check_sigmas(sigma))
    n = len(whole)
    if passed.shape != (len(levels), n) or n == 0:
        raise ValueError(f"half_level: needs passed ({len(levels)}, {n}), got {passed.shape}.")
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
    weights = np.vstack([np.ones(n, np.int64), counts])  # the samples themselves come first
    shares, half = weights @ passed.T / n, weights @ whole / n / 2
    reached = shares >= half[:, None]
    first = reached.argmax(1)
    row = np.arange(len(first))
    known = reached.any(1) & (first > 0) & (half > 0)
    row, first, half = row[known], first[known], half[known]
    before, after = shares[row, first - 1], shares[row, first]
    part = (half - before) / (after - before)
    found = np.exp(levels[first - 1] + part * (levels[first] - levels[first - 1]))
    if not known[0]:
        return Estimate(math.nan)
    if len(found) < 0.975 * len(known):
        return Estimate(float(found[0]))
    low, high = np.percentile(found[1:], [2.5, 97.5])
    return Estimate(float(found[0]), float(low), float(high))


@dataclass(frozen=True)
class CopyRange:
    """Where on the schedule a sample can become a copy of a training set, and be undone (ours).

    Attributes
    ----------
    geometry : coverage, concentration and danger zone of the training set.
    edge : the level down to which a copy can be undone (`copy_edge`), data units, with what the
        interval of the error makes of it; NaN where the error does not reach what that needs,
        between 0.01 and 4.
    """

    geometry: Geometry
    edge: Estimate

    @classmethod
    def of(
        cls,
        distinct: DistinctImages,
        heldout: Array,
        denoise: Denoise,
        *,
        c: float = 5.0,
        level: float = 0.8,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> CopyRange:
        """Measured on held-out images (Q, ...); no sample is drawn.

        Parameters
        ----------
        distinct : the training set.
        denoise : a denoiser that does not copy it.
        c, level : as in `measure_regimes`.
        seed : of the noise and of the resampling.
        """
        images = distinct.images
        geometry = measure_regimes(heldout, images, c=c, level=level, seed=seed, device=device)
        error = denoising_error(denoise, heldout, GRID[GRID < 4], seed=seed, device=device)
        nearest = float(np.median(nearest_distances(images, images, 2, device=device)[:, 1]))
        # The larger the error, the lower the level that reaches a given one.
        value, low, high = (copy_edge(error.sigma, e, nearest) for e in _mean_high_low(error))
        known = math.isfinite(low) and math.isfinite(high)
        return cls(geometry, Estimate(value, low, high) if known else Estimate(value))

    @property
    def zone(self) -> Window:
        """The danger zone, as `Geometry.zone`."""
        return self.geometry.zone

    @property
    def window(self) -> Window:
        """The copy window: from half of the edge, or the zone's lower end, to its upper end."""
        return Window(float(np.nanmin([self.edge.value / 2, self.zone.low])), self.zone.high)


def _mean_high_low(error: ErrorCurve) -> tuple[Floats, Floats, Floats]:
    return error.mean, error.high, error.low


@dataclass(frozen=True)
class Change(Estimate):
    """The change of a share, in [-1, 1]; as text in percent of all samples."""

    def __str__(self) -> str:
        return self.percent


def paired_difference(
    base: NDArray[np.bool_], other: NDArray[np.bool_], *, resamples: int = 10_000, seed: int = 0
) -> Change:
    """How much the memorized share changes from one condition to another, on paired samples.

    Parameters
    ----------
    base, other : (n,) whether the sample of each seed is memorized, in both conditions.
    resamples : bootstrap resamples of the seeds, for the 95% percentile interval.
    seed : of the resampling.

    Returns
    -------
    Change, mean(other) - mean(base), in [-1, 1].
    """
    change = other.astype(np.int64) - base.astype(np.int64)
    if change.ndim != 1 or len(change) == 0:
        raise ValueError("paired_difference: needs two (n,) arrays of the same n >= 1.")
    counts = [np.count_nonzero(change == value) for value in (-1, 0, 1)]
    draws = np.random.default_rng(seed).multinomial(
        len(change), np.array(counts) / len(change), size=resamples
    )
    low, high = np.quantile((draws[:, 2] - draws[:, 0]) / len(change), [0.025, 0.975])
    return Change(float(change.mean()), float(low), float(high))


def over_trainings(values: ArrayLike) -> Change:
    """The mean change of a share over n trainings, with the interval of `regimes.student`.

    An interval over samples of one model leaves out what another training would change; this
    one has both.
    """
    mean = student(values)
    return Change(mean.value, mean.low, mean.high)
