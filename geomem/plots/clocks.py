"""The same noise levels on several clocks: rulers below the curves and the zone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from geomem.diffusion.schedules import Schedule
from geomem.geometry.regimes import Geometry
from geomem.plots.beside import SMALL_TEXT, name_curves
from geomem.plots.drawing import Drawn, noise_table, plot_series, sigma_axis
from geomem.plots.files import COLUMN

TENTHS = np.arange(1, 10) / 10
SMALL = np.array([0.001, 0.002, 0.005, 0.01, 0.02, 0.05])
SHARES = np.concatenate([SMALL, TENTHS, 1 - SMALL])  # times that may be written, by kind of clock
STEPS = np.concatenate([[1, 2, 5, 10, 20, 50, 150], np.arange(100, 1000, 100)])
LETTER = 0.031  # the width of one, in widths of the axis
CLOCKS = {"alpha_bar": r"$\bar\alpha$", "t": "$t$"}


def rulers(geometry: Geometry, schedules: Sequence[Schedule]) -> Drawn:
    """Coverage and concentration with the zone, above a ruler for the clock of each schedule."""
    size, heights = (COLUMN, 2.3 + 0.48 * len(schedules)), [5, *[1] * len(schedules)]
    curves = {"C_sigma": geometry.coverage, "W_sigma": geometry.weight}
    fig, axes = plt.subplots(len(heights), 1, figsize=size, height_ratios=heights)
    for ax, schedule in zip(axes, [None, *schedules], strict=True):
        ax.set_xlim(geometry.regimes.sigma_min, geometry.regimes.sigma_max)
        if geometry.regimes.medium:
            ax.axvspan(*geometry.regimes.medium, color="0.85", lw=0, zorder=0)
        if schedule is None:
            plot_series(ax, curves, ms=4, markevery=3)
            sigma_axis(ax)
            ax.set_ylabel("probability")
        else:
            ruler(ax, schedule)
    name_curves(axes[0])
    times = {f"{s.name} [{s.clock}]": s.forward(geometry.coverage.sigma) for s in schedules}
    return fig, noise_table(curves, "probability") | times


def ruler(ax: Axes, schedule: Schedule) -> None:
    """The clock of a schedule along an axis of log sigma: round times where there is room."""
    times = STEPS if schedule.clock == "timestep" else SHARES
    low, high = np.log(ax.get_xlim())
    levels, texts, end = list[float](), list[str](), 0.0  # of the last text, in widths of the axis
    for level, time in sorted(zip(schedule.sigma(times).tolist(), times.tolist(), strict=True)):
        text = f"{time:g}"
        at, half = (np.log(level) - low) / (high - low), LETTER * len(text) / 2
        if 0 <= at <= 1 and at - half >= end:
            levels.append(level)
            texts.append(text)
            end = at + half + LETTER
    ax.set_xscale("log")
    ax.set_xticks(levels, texts)
    ax.set_xticks([], minor=True)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    clock = CLOCKS.get(schedule.clock, schedule.clock)
    ax.set_title(f"{schedule.name}: {clock}", loc="left", fontsize=SMALL_TEXT, pad=1)
