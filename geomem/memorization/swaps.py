"""Denoiser swaps: at which noise levels is it decided that a sample is a copy (Table 1, Fig. 10)?

A swap is a denoiser like any other: inside a window of noise levels it asks a donor, outside
the base. Whatever samples, measures or draws a denoiser can do so with a swap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.geometry.arrays import Floats, check_sigmas
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Estimate
from geomem.geometry.window import Window

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


def swap(base: Denoiser, donor: Denoiser, window: Window) -> Denoiser:
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
