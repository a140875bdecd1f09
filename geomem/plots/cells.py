"""Pictures of Voronoi cells: where noise around a training point stays nearest to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from geomem.geometry.arrays import Floats
from geomem.plots.drawing import Drawn
from geomem.plots.files import COLUMN

SIDE = 3.2  # of the square that is shown, from its middle


def kept_noise(points: Floats, sigma: float, *, draws: int = 400, seed: int = 0) -> Drawn:
    """Noise around the first of (N, 2) points, and what is still nearest to it.

    Left, beside the second point alone, a half-space; right, beside all of them, the cell.
    """
    noisy = points[0] + sigma * np.random.default_rng(seed).standard_normal((draws, 2))
    sets = {"two points:\na half-space": points[:2], "all points:\na cell": points}
    fig, axes = plt.subplots(1, 2, figsize=(COLUMN, 2.3))
    table: dict[str, Any] = {"y_1 [data units]": noisy[:, 0], "y_2 [data units]": noisy[:, 1]}
    for ax, (name, some) in zip(axes, sets.items(), strict=True):
        kept = nearest_point(noisy, some) == 0
        shade(ax, some)
        ax.plot(*noisy[kept].T, "C0.", ms=2)
        ax.plot(*noisy[~kept].T, "C1x", ms=3.5, mew=0.9)
        ax.plot(*points.T, "o", color="0.75", ms=5, mec="0.5")
        ax.plot(*some.T, "ko", ms=5)
        ax.set_title(f"{name}\nkeeps {kept.mean():.0%}")
        table[f"kept, {name.split(':')[0]} [0 or 1]"] = kept.astype(int)
    axes[0].plot(*points[:2].T, "k-", lw=0.8)
    plate = dict(boxstyle="square,pad=0.1", color="white", alpha=0.8)
    for i, (x, y) in enumerate(points[:2], 1):
        axes[0].text(x, y + 0.3, f"$x_{i}$", ha="center", va="bottom", bbox=plate)
    return fig, table


def nearest_point(places: Floats, points: Floats) -> np.ndarray:
    """(n,) the index of the point nearest to each of (n, 2) places."""
    return np.asarray(((places[:, None] - points) ** 2).sum(2).argmin(1))


def shade(ax: Axes, points: Floats) -> None:
    """The cell of the first point in grey, in a square of the plane without ticks."""
    side = np.linspace(-SIDE, SIDE, 401)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    own = (nearest_point(grid, points) == 0).reshape(401, 401)
    ax.contourf(side, side, own, [0.5, 1.5], colors=["0.88"])
    ends = (-SIDE, SIDE)
    ax.set(xlim=ends, ylim=ends, aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.grid(False)
