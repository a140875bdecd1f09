"""Pictures of what coverage says: beside the overlap, by other rules, and as a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator

from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Estimate, bars
from geomem.geometry.padding import Padding
from geomem.geometry.regimes import Geometry
from geomem.geometry.sensitivity import Sensitivity
from geomem.memorization.candidates import EDGES, Comparison, Predicted
from geomem.plots.beside import legend_below, name_curves
from geomem.plots.drawing import (
    SERIES,
    SIGMA_LABEL,
    Drawn,
    from_rows,
    noise_curves,
    plot_series,
    shades,
    sigma_axis,
)
from geomem.plots.files import COLUMN

MARKS = ("o", "s", "^", "D")
# Of candidates for coverage, colour and mark of where each begins.
BEGINNINGS = (SERIES["C_sigma"][:2], ("0.5", "s"), ("k", "D"), SERIES["overlap"][:2])


def padded(padding: Padding) -> Drawn:
    """The coverage of images padded to each size, and what padding leaves as it is."""
    curves = {rf"coverage, $d = {d:,}$": of.coverage for d, of in padding.geometries.items()}
    first = next(iter(padding.geometries))
    curves |= {"weight, every $d$": padding.geometries[first].weight}
    curves |= {"overlap, every $d$": padding.overlaps[first]}
    looks = shades("Greens", len(padding.geometries), 0.45)
    looks += [(SERIES["W_sigma"][0], "", "-."), SERIES["overlap"]]
    return noise_curves(curves, "probability", looks, xlim=(0.05, 100))


def beside_overlap(sets: Mapping[str, tuple[Geometry, Curve]]) -> Drawn:
    """Coverage, concentration and overlap of each of some data sets, over its zone."""
    size = (COLUMN, 1.7 * len(sets) + 0.4)
    fig, axes = plt.subplots(len(sets), 1, figsize=size, squeeze=False)
    rows = list[tuple[Any, ...]]()
    for ax, (name, (geometry, overlap)) in zip(axes[:, 0], sets.items(), strict=True):
        if geometry.regimes.medium:
            ax.axvspan(*geometry.regimes.medium, color="0.88", lw=0, zorder=0)
        curves = {"C_sigma": geometry.coverage, "W_sigma": geometry.weight, "overlap": overlap}
        plot_series(ax, curves, marker="")
        for quantity, curve in curves.items():
            values = zip(curve.sigma, curve.mean, curve.low, curve.high, strict=True)
            rows += [(name, quantity, *row) for row in values]
        sigma_axis(ax)
        ax.set(xlabel="", xlim=(0.05, 100), title=name, ylabel="probability")
    ax.set_xlabel(SIGMA_LABEL)
    name_curves(axes[0, 0])
    headings = ["data set [name]", "curve [name]", "sigma [data units]", "value [probability]"]
    headings += [f"{end} [probability, 95% interval]" for end in ("low", "high")]
    return fig, from_rows(headings, rows)


def other_rules(sets: Mapping[str, Sensitivity]) -> Drawn:
    """The danger zone of each of some data sets for several shells and levels."""
    size = (COLUMN, 1.7 * len(sets) + 0.4)
    fig, axes = plt.subplots(len(sets), 1, figsize=size, squeeze=False)
    for ax, (name, found) in zip(axes[:, 0], sets.items(), strict=True):
        found.plot(ax)
        ax.set(title=name, ylabel=SIGMA_LABEL.replace("noise level", "zone,"))
        low, high = ax.get_ylim()
        ax.set_ylim(0.8 * low, 1.2 * high)
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")
    legend_below(fig, *ax.get_legend_handles_labels(), columns=4)
    edges = [f"zone {what}{of}" for what in ("begins", "ends") for of in ("", ", low", ", high")]
    headings = ["data set [name]", "c [1]", "level [probability]"]
    headings += [f"{edge} [data units{', 95% interval' * (',' in edge)}]" for edge in edges]
    return fig, from_rows(headings, [row for name, of in sets.items() for row in of.rows(name)])


def humps_and_zones(cases: Sequence[Predicted], level: float) -> Drawn:
    """Measured humps, one row each, and where each candidate's zone begins; all have one end."""
    fig, ax = plt.subplots(figsize=(COLUMN, 0.6 * len(cases) + 0.6))
    small, *_ = SERIES["small"]
    rows = list[tuple[Any, ...]]()
    for i, one in enumerate(cases):
        (low, high), first = one.hump.half, i == 0
        label = "hump, its centre" if first else None
        ax.barh(i - 0.25, high.value - low.value, 0.22, low.value, color=small, alpha=0.4)
        middle, ends = bars([one.hump.centre])
        ax.errorbar(middle, i - 0.25, xerr=ends, fmt="o", color=small, ms=5, label=label)
        levels = dict(zip(("hump from", "hump to"), one.hump.half, strict=True))
        levels["hump, centre"] = one.hump.centre
        for j, name in enumerate(one.coverages):
            begins, _, end = one.zones(name, [level], level)[0, 0]
            color, marker = BEGINNINGS[j]
            look: dict[str, Any] = dict(color=color, marker=marker, ls="", ms=5.5)
            ax.plot(begins, i + 0.12, label=f"begins: {name}" if first else None, **look)
            levels[f"zone begins, {name}"] = Estimate(float(begins))
        ax.plot(end, i + 0.12, "|", color="k", ms=11, mew=2, label="ends: all" if first else None)
        levels["zone ends"] = Estimate(float(end))
        rows += [(one.name, one.size, what, *at.numbers) for what, at in levels.items()]
    ax.set_yticks(range(len(cases)), [f"{one.name}\n{one.size}" for one in cases])
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.set_xlim(0.05, 100)
    sigma_axis(ax, probability=False)
    legend_below(fig)
    headings = ["data set [name]", "size [pixels]", "quantity [name]", "sigma [data units]"]
    headings += [f"{end} [data units, 95% interval]" for end in ("low", "high")]
    return fig, from_rows(headings, rows)


def how_far_off(found: Comparison) -> Drawn:
    """By which factor each candidate is off at each edge, by the rule's level and fitted ones."""
    fig, ax = plt.subplots(figsize=(COLUMN, 3.0))
    names, rows = [*found.at_level], list[tuple[Any, ...]]()
    for fitted in (False, True):
        how = "fitted on the other sets" if fitted else f"level {found.level:g}"
        for j, edge in enumerate((*EDGES, "all")):
            off = [found.off(name, fitted=fitted)[edge] for name in names]
            place = np.arange(len(names)) + 0.1 * (j - 1.5) + (0.05 if fitted else 0)
            look: dict[str, Any] = dict(color=f"C{j}" if j < 3 else "k", fmt=MARKS[j], ms=5)
            look |= dict(mfc="white") if fitted else dict(label=edge)
            middle, ends = bars(off)
            ax.errorbar(middle, place, xerr=ends, elinewidth=1, **look)
            rows += [(n, how, edge, *one.numbers) for n, one in zip(names, off, strict=True)]
    ax.axvline(1, color="k", lw=1)
    ax.set_yticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
    ax.set(xscale="log", xlabel="off by a factor of\n(open: level from other sets)")
    ax.set_xticks(at := [1, 2, 5, 10, 20, 50], [f"{x:g}" for x in at])
    ax.minorticks_off()
    ax.invert_yaxis()
    legend_below(fig, columns=4)
    headings = ["coverage [name]", "level [rule]", "edge [name]", "off by [factor]"]
    headings += [f"{end} [factor, 95% interval]" for end in ("low", "high")]
    return fig, from_rows(headings, rows)
