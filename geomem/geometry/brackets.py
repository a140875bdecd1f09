"""What the bounds leave of W_sigma in the middle, without and with subsets and clusters (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from geomem.geometry.arrays import Array
from geomem.geometry.intervals import Estimate
from geomem.geometry.posterior import max_posterior_weight
from geomem.geometry.posterior_bounds import weight_bounds
from geomem.geometry.regimes import DRAWS, GRID

VALUES = (0.6, 0.3)  # of W_sigma


@dataclass(frozen=True)
class Bracket:
    """The bounds of W_sigma at one noise level.

    Attributes
    ----------
    sigma : the noise level, data units.
    weight : W_sigma as measured.
    without, together : lower and upper bound without those by subsets and clusters, and with them.
    """

    sigma: float
    weight: Estimate
    without: tuple[float, float]
    together: tuple[float, float]


def weight_brackets(
    train: Array, *, seed: int = 0, device: str | torch.device = "auto"
) -> list[Bracket]:
    """The bounds of W_sigma, best of all, at the noise levels where it passes `VALUES`.

    Parameters
    ----------
    train : array (N, ...), N >= 2, the training set, in data units.
    seed, device : as in `max_posterior_weight`.

    Raises
    ------
    ValueError : as `weight_bounds`; if W_sigma does not pass a value between 0.01 and 100.
    """
    curve = max_posterior_weight(train, GRID, draws=1, seed=seed, device=device)
    levels = [curve.passes(value) for value in VALUES]
    if not all(level > 0 for level in levels):  # also NaN
        raise ValueError(f"weight_brackets: W_sigma does not pass {VALUES} on [0.01, 100].")
    measured = max_posterior_weight(train, levels, draws=DRAWS, seed=seed, device=device)
    bounds = weight_bounds(train, levels, seed=seed)
    pairs = (
        [(float(low[i]), float(high[i])) for i in range(len(levels))]
        for low, high in (bounds.bracket("packing", "clusters"), bounds.bracket())
    )
    rows = zip(levels, map(measured.estimate, range(len(levels))), *pairs, strict=True)
    return [Bracket(*row) for row in rows]


def brackets_table(found: Mapping[str, Sequence[Bracket]]) -> dict[str, list[Any]]:
    """The brackets of several training sets, by name, as columns."""
    rows = [(name, one) for name, some in found.items() for one in some]
    pairs = {"without": [one.without for _, one in rows], "with": [one.together for _, one in rows]}
    return {
        "training set": [name for name, _ in rows],
        "sigma": [one.sigma for _, one in rows],
        "W, measured": [f"{one.weight:.3f}" for _, one in rows],
        **{key: [f"{low:.3f} to {high:.3f}" for low, high in pair] for key, pair in pairs.items()},
    }
