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

from geomem.curve import ErrorCurve, check_sigmas
from geomem.model import Denoise
from geomem.regimes import Estimate
from geomem.schedule import karras_sigmas


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

    def matched(self, low: float) -> Window:
        """A control window of the same width in log sigma that begins at ``low``."""
        return Window(low, low * self.high / self.low)


# The paper's windows as steps of its 18-step grid (Table 2). Table 1 gives their edges rounded,
# 8.4 and 0.14; its appendix E.6 gives others, which disagree with Table 1 and Figure 10.
PAPER_STEPS: Mapping[str, tuple[int, int]] = {
    "large": (0, 5),
    "medium": (6, 13),
    "danger": (7, 10),
    "small": (14, 17),
}

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
    """The noise level below which no denoiser can change whether a sample is a copy (ours).

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
