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
from scipy.special import stdtrit

from geomem.curve import Curve, ErrorCurve, check_sigmas
from geomem.distances import Array, nearest_distances
from geomem.memorization import DistinctImages, denoising_error
from geomem.model import Denoise
from geomem.posterior import max_posterior_weight
from geomem.regimes import Estimate, Regimes, find_regimes
from geomem.schedule import karras_sigmas
from geomem.shell import shell_coverage


@dataclass(frozen=True)
class Window:
    """The noise levels low <= sigma < high, data units, 0 <= low <= high; equal: none."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"window: needs 0 <= low <= high, got {self.low} and {self.high}.")

    def contains(self, sigma: float | torch.Tensor) -> bool | torch.Tensor:
        """Whether a level lies inside; a tensor of levels gives one answer each."""
        above, below = sigma >= self.low, sigma < self.high
        return above & below

    def __str__(self) -> str:
        high = "inf" if math.isinf(self.high) else f"{self.high:.3g}"
        return f"[{self.low:.3g}, {high})"

    @classmethod
    def of_steps(cls, first: int, last: int, sigmas: ArrayLike | None = None) -> Window:
        """The window that holds exactly the steps ``first`` to ``last`` of a descending grid.

        Its edges lie midway (in log sigma) to the neighbouring steps, and beyond the grid's
        ends at 0 and infinity, so that windows of adjoining steps adjoin.
        """
        levels = check_sigmas(karras_sigmas() if sigmas is None else sigmas)
        if not 0 <= first <= last < len(levels):
            raise ValueError(f"window: no steps {first} to {last} in a grid of {len(levels)}.")
        edges = np.concatenate([[np.inf], np.sqrt(levels[:-1] * levels[1:]), [0.0]])
        return cls(float(edges[last + 1]), float(edges[first]))

    def steps(self, sigmas: ArrayLike | None = None) -> NDArray[np.int64]:
        """Which levels of a descending grid lie inside, by index; default the paper's 18.

        Of two windows that hold the same levels a sampler on that grid sees no difference.
        """
        levels = check_sigmas(karras_sigmas() if sigmas is None else sigmas)
        return np.flatnonzero((levels >= self.low) & (levels < self.high))

    def matched(self, low: float) -> Window:
        """A control window of the same width in log sigma that begins at ``low``."""
        return Window(low, low * self.high / self.low)

    def moved(self, zone: Window, to: Window) -> Window:
        """The window at the place in the zone ``to`` that this one has in ``zone``, in log sigma.

        So windows that were tried on one data set become windows of another one, whose danger
        zone lies elsewhere; an addition of ours.
        """
        if not 0 < zone.low < zone.high < math.inf or not 0 < to.low < to.high < math.inf:
            raise ValueError(f"window: cannot move from the zone {zone} to {to}.")
        power = math.log(to.high / to.low) / math.log(zone.high / zone.low)
        return Window(*(to.low * (edge / zone.low) ** power for edge in (self.low, self.high)))

    def controls(self, sigmas: ArrayLike | None = None) -> dict[str, Window]:
        """As wide in log sigma, ``above`` this window (at larger noise) and ``below`` it (ours).

        They do not overlap it. Of all such windows they hold the most levels of the grid, and
        of those the nearest: the hardest test of whether it matters where the swap is made.

        Parameters
        ----------
        sigmas : (S,) levels of the sampler, data units, descending; default the paper's 18.

        Raises
        ------
        ValueError : an edge at 0 or infinity, or no width at all.
        """
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"window: {self} has no finite width, so none is as wide.")
        levels = check_sigmas(karras_sigmas() if sigmas is None else sigmas).tolist()
        ratio = self.high / self.low
        # A window loses no level while it moves up to begin at its lowest one, unless it meets
        # this one first. Nearest first, since `max` takes the first of equals.
        above = [self.matched(low) for low in (self.high, *levels[::-1]) if low >= self.high]
        below = [self.matched(low) for low in levels if low * ratio <= self.low]
        below = [Window(self.low / ratio, self.low), *below]
        return {
            side: max(windows, key=lambda window: len(window.steps(levels)))
            for side, windows in (("above", above), ("below", below))
        }


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


def copy_edge(error: ErrorCurve, nearest: float) -> float:
    """The noise level below which a denoiser hardly changes whether a sample is a copy (ours).

    A copy passes the ratio test while it is less than a third of ``nearest`` away from its
    training image, and a sample drawn from noise level sigma with a good denoiser is about
    2 MSE(sigma) away, squared, from what it would have been: so where
    2 MSE(sigma) = (nearest / 3)^2. A rule of thumb, not a theorem.

    Parameters
    ----------
    error : the denoising error of the large model, data units squared, rising in sigma.
    nearest : typical distance of a training image to its nearest other one, data units.

    Returns
    -------
    float, data units; NaN where the curve does not reach that error.
    """
    order = np.argsort(error.sigma)
    level, spread = np.log(error.sigma[order]), np.log(2 * error.mean[order])
    wanted = 2 * math.log(nearest / 3)
    above = np.flatnonzero(spread >= wanted)
    if len(above) == 0 or above[0] == 0:
        return math.nan
    i = int(above[0])
    share = (wanted - spread[i - 1]) / (spread[i] - spread[i - 1])
    return float(np.exp(level[i - 1] + share * (level[i] - level[i - 1])))


@dataclass(frozen=True)
class CopyRange:
    """Where on the schedule a sample can become a copy of a training set, and be undone (ours).

    Attributes
    ----------
    coverage, weight : C_sigma and W_sigma of the training set, at 61 levels in [0.01, 100].
    regimes : what `find_regimes` makes of them.
    edge : the level down to which a copy can be undone (`copy_edge`), data units; NaN where
        the error does not reach what that needs, between 0.01 and 4.
    """

    coverage: Curve
    weight: Curve
    regimes: Regimes
    edge: float

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
        c, level : as in `shell_coverage` and `find_regimes`.
        seed : of the noise and of the resampling.
        """
        images, sigmas = distinct.images, np.geomspace(0.01, 100, 61)
        coverage = shell_coverage(heldout, images, sigmas, c=c, seed=seed, device=device)
        weight = max_posterior_weight(images, sigmas, seed=seed, device=device)
        error = denoising_error(denoise, heldout, sigmas[sigmas < 4], seed=seed, device=device)
        nearest = float(np.median(nearest_distances(images, images, 2, device=device)[:, 1]))
        regimes = find_regimes(coverage, weight, level, seed=seed)
        return cls(coverage, weight, regimes, copy_edge(error, nearest))

    @property
    def zone(self) -> Window:
        """The danger zone; where the rule finds none, from the crossing to twice that level."""
        crossing = self.regimes.crossing.value
        return Window(*(self.regimes.medium or (crossing, 2 * crossing)))

    @property
    def zone_in_words(self) -> str:
        """The danger zone as text, which says so where the rule finds none."""
        return str(self.zone) + ("" if self.regimes.medium else " (the rule finds none)")

    @property
    def window(self) -> Window:
        """The copy window: from half of the edge, or the zone's lower end, to its upper end."""
        return Window(float(np.nanmin([self.edge / 2, self.zone.low])), self.zone.high)

    @property
    def edge_in_words(self) -> str:
        """The edge as text, "none" where there is none."""
        return f"{self.edge:.2g}" if math.isfinite(self.edge) else "none"


def paired_difference(
    base: NDArray[np.bool_], other: NDArray[np.bool_], *, resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """How much the memorized share changes from one condition to another, on paired samples.

    Parameters
    ----------
    base, other : (n,) whether the sample of each seed is memorized, in both conditions.
    resamples : bootstrap resamples of the seeds, for the 95% percentile interval.
    seed : of the resampling.

    Returns
    -------
    Estimate of mean(other) - mean(base), in [-1, 1].
    """
    change = other.astype(np.int64) - base.astype(np.int64)
    if change.ndim != 1 or len(change) == 0:
        raise ValueError("paired_difference: needs two (n,) arrays of the same n >= 1.")
    counts = [np.count_nonzero(change == value) for value in (-1, 0, 1)]
    draws = np.random.default_rng(seed).multinomial(
        len(change), np.array(counts) / len(change), size=resamples
    )
    low, high = np.quantile((draws[:, 2] - draws[:, 0]) / len(change), [0.025, 0.975])
    return Estimate(float(change.mean()), float(low), float(high))


def over_trainings(values: ArrayLike) -> Estimate:
    """The mean of a number that each of n trainings gave, with Student's 95% interval.

    An interval over samples of one model leaves out what another training would change; this
    one has both.

    Parameters
    ----------
    values : (n,) one value of each training, n >= 2, with seeds of their own.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise ValueError(f"over_trainings: needs (n,) values, n >= 2, got {found.shape}.")
    error = found.std(ddof=1) / math.sqrt(len(found))
    mean, half = float(found.mean()), float(stdtrit(len(found) - 1, 0.975) * error)
    return Estimate(mean, mean - half, mean + half)
