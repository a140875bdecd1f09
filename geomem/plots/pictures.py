"""Pictures of what models do: losses, rates, samples, swaps, ways to a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from geomem.geometry.curve import Band, Curve
from geomem.geometry.intervals import bars, columns
from geomem.geometry.regimes import Geometry
from geomem.memorization.copy_bound import CopyBound
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.dimension import Measured, curve_table, level_table
from geomem.memorization.distinct import THIRD
from geomem.memorization.linearity import Linearity
from geomem.memorization.samples import Samples
from geomem.memorization.stopping import Losses, running_mean
from geomem.memorization.swaps import PAPER_TABLE, Condition, SwapTable
from geomem.memorization.switch import Switch
from geomem.memorization.thresholds import Thresholds
from geomem.memorization.trajectories import Course, Moment
from geomem.plots.drawing import (
    LOOKS,
    SIGMA_LABEL,
    Drawn,
    Look,
    from_rows,
    image_grid,
    named_band,
    noise_table,
    pixel_table,
    shade_regimes,
    sigma_axis,
)


def losses(found: Mapping[str, Losses]) -> Drawn:
    """The losses of two trainings side by side: of batches, and of the averaged weights."""
    fig, axes = plt.subplots(1, len(found), figsize=(4.8, 3.5), sharey=True)
    rows = list[tuple[Any, ...]]()
    for ax, (name, of) in zip(axes, found.items(), strict=True):
        steps, mean = running_mean(of.batches)
        curves = {"one batch": of.batches[steps - 1], "running mean": mean}
        ax.plot(steps, curves["one batch"], color="0.8", ls="-", lw=0.7, label="one batch")
        ax.plot(steps, mean, color="0.4", ls="-", label="running mean")
        for kind, course, look in (
            ("training", of.train, "C0o-"),
            ("held-out", of.heldout, "C1s:"),
        ):
            label = f"average, {kind} images"
            course.plot(ax, label, fmt=look, ms=5)
            rows += [(name, label, *row) for row in course.rows]
        for kind, curve in curves.items():
            points = zip(steps.tolist(), curve.tolist(), strict=True)
            rows += [(name, kind, *at, np.nan) for at in points]
        ax.set(xscale="log", yscale="log", xlabel="training step", title=name)
    axes[0].set_ylabel("weighted denoising loss")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
    headings = ["model [name]", "curve [name]", "step [count]", "loss [weighted, 1]"]
    return fig, from_rows([*headings, "half width of the interval [weighted, 1, 95%]"], rows)


def samples(drawn: Mapping[str, Samples], train: np.ndarray, n: int) -> Drawn:
    """The first n samples of each model, each above the training image nearest to it.

    train : array (N, C, H, W), the training set.
    """
    rows, named, framed = [], [], []
    for kind, one in drawn.items():
        pictures, nearest = one.pictures[:n], train[one.near.index[:n]]
        rows += [(kind, pictures), ("nearest", nearest)]
        named += [(f"{kind}, sample: {kind}", pictures), (f"{kind}: nearest", nearest)]
        framed += [one.passed[:n], None]
    fig = image_grid(rows, [""] * n, framed)
    return fig, pixel_table(np.arange(n), named, "sample [index]")


def magnified_rates(
    rates: Mapping[str, Curve], zoomed: Sequence[str], looks: Sequence[Look] = LOOKS
) -> Drawn:
    """Memorization rates against the noise level, and below some of them magnified.

    Parameters
    ----------
    rates : label -> the rate, on one grid of levels.
    zoomed : the labels of those below; the axis there ends above the first one's interval.
    looks : colour, marker and line of each, "" for none.
    """
    fig, (ax, zoom) = plt.subplots(2, 1, figsize=(4.8, 5.2), sharex=True, height_ratios=(3, 2))
    for (name, rate), (color, marker, line) in zip(rates.items(), looks, strict=True):
        look = {"color": color, "marker": marker, "ls": line, "ms": 3.5}
        rate.plot(ax, name, **look)
        if name in zoomed:
            rate.plot(zoom, None, **look)
    sigma_axis(ax)
    sigma_axis(zoom, probability=False)
    first = rates[zoomed[0]]
    ax.set(xlabel="", ylabel="memorization rate")
    zoom.set(ylabel="magnified", ylim=np.array([-0.03, 1.15]) * first.high[first.peak])
    fig.legend(loc="outside lower center", ncol=2)
    return fig, noise_table(rates, "fraction", "rate")


def marks_and_curves(
    sigma: np.ndarray, marks: Mapping[str, np.ndarray], ours: Mapping[str, Band]
) -> Drawn:
    """Rates read off the paper as marks, and our own at the same levels as lines; with the table.

    Parameters
    ----------
    sigma : (S,) the levels of both, data units.
    marks : label -> (S,) what was read off; at most three.
    ours : label -> the curve; one takes the colour of the marks whose label begins as its own.
    """
    fig, ax = plt.subplots(figsize=(4.8, 3.6))
    table: dict[str, Any] = {"sigma [data units]": sigma}
    for i, (name, values) in enumerate(marks.items()):
        ax.plot(sigma, values, "x+1"[i], color=f"C{i}", ms=7, mew=1.5, label=f"paper: {name}")
        table[f"{name}, read off [fraction]"] = values
    for name, curve in ours.items():
        color = next(f"C{i}" for i, mark in enumerate(marks) if name.startswith(mark))
        curve.plot(ax, f"ours: {name}", color=color, ls="-", lw=1)
        table[f"{name}, ours [fraction]"] = curve.mean
    sigma_axis(ax)
    ax.set_ylabel("memorization rate")
    fig.legend(loc="outside lower center", ncol=2)
    return fig, table


def thresholds(found: Thresholds, colors: Sequence[str] = ("C1", "C2", "0.4")) -> Drawn:
    """Shares that pass the ratio test against its threshold, 1/3 and 1/2 marked.

    colors : of each of the shares.
    """
    fig, ax = plt.subplots(figsize=(4.8, 3.6))
    table: dict[str, Any] = {"threshold [ratio]": found.values}
    for (name, share), color in zip(found.shares.items(), colors, strict=True):
        mean, low, high = np.transpose([one.numbers for one in share])
        ax.plot(found.values, mean, color=color, label=name)
        ax.fill_between(found.values, low, high, color=color, alpha=0.25, lw=0)
        table[f"{name}, share [fraction]"] = mean
        table[f"{name}, low [fraction, 95%]"] = low
        table[f"{name}, high [fraction, 95%]"] = high
    for value, label in ((1 / 3, "1/3"), (1 / 2, "1/2")):
        ax.axvline(value, color="k", lw=0.8, ls=":")
        ax.text(value, 1.02, label, ha="center", va="bottom", transform=ax.get_xaxis_transform())
    ax.set(xlabel="threshold $t$ of the ratio test", ylabel="share that passes", ylim=(-0.02, 1.02))
    fig.legend(loc="outside lower center")
    return fig, table


def zone_and_rate(geometry: Geometry, rate: Curve, xlim: tuple[float, float]) -> Drawn:
    """The regimes, both curves they come from, and a memorization rate on its own axis (right).

    Returns the figure and its table, one row a curve and level.
    """
    fig, ax = plt.subplots(figsize=(4.8, 3.9))
    shade_regimes(ax, geometry.regimes)
    geometry.coverage.plot(ax, r"coverage $C_\sigma$", color="C0", ls="-")
    geometry.weight.plot(ax, r"weight $W_\sigma$", color="C2", ls="-.")
    sigma_axis(ax)
    ax.set(ylabel="probability", xlim=xlim)
    right = ax.twinx()
    right.grid(False)
    rate.plot(right, "small model's rate (right axis)", color="C1", marker="s", ms=3.5)
    height = 1.5 * rate.high[rate.peak]
    right.set_ylim(-0.03 * height, 1.03 * height)
    right.yaxis.set_major_locator(MaxNLocator(5))  # short numbers, which leave the label its room
    right.set_ylabel("memorization rate", color="C1")
    right.spines["right"].set(visible=True, color="C1")
    right.tick_params(axis="y", colors="C1")
    fig.legend(loc="outside lower center", ncol=2)
    curves = {"C_sigma": geometry.coverage, "W_sigma": geometry.weight, "rate, small model": rate}
    rows = [
        (name, *row)
        for name, curve in curves.items()
        for row in zip(curve.sigma, curve.mean, curve.low, curve.high, strict=True)
    ]
    headers = ["quantity [name]", "sigma [data units]", "value [fraction]"]
    headers += ["low [fraction, 95% interval]", "high [fraction, 95% interval]"]
    return fig, from_rows(headers, rows)


def copy_bounds(found: Mapping[str, CopyBound], level: float = 0.05) -> Drawn:
    """Of each network the measured rate under its bounds; shaded what `CopyBound.edge` certifies.

    level : of the rate, there.
    """
    fig, axes = plt.subplots(len(found), 1, figsize=(4.8, 1.5 * len(found) + 1.3), sharex=True)
    for ax, (name, of) in zip(axes, found.items(), strict=True):
        ax.axvspan(of.sigma.min(), of.edge(level), color="0.9", lw=0, zorder=0)
        of.plot(ax)
        sigma_axis(ax)
        ax.set(xlabel="", title=name, yticks=(0, 0.5, 1))
    axes[-1].set_xlabel(SIGMA_LABEL)
    fig.supylabel("share of the answers", fontsize="medium")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
    tables = [
        {"network [name]": [name] * len(of.sigma), **of.table()} for name, of in found.items()
    ]
    return fig, {heading: np.concatenate([t[heading] for t in tables]) for heading in tables[0]}


def swap_table(
    table: SwapTable,
    titles: Mapping[str, str],
    bases: Mapping[str, str],
) -> Figure:
    """The share of memorized samples of each condition, one row a window, for both bases.

    titles : how the windows are called, in the order of the rows; controls, those beside
        another window, have open marks.
    bases : how the models are called.
    """
    fig, ax = plt.subplots(figsize=(4.8, 6.6))
    rows = [*titles]
    looks = {"small": ("o", "C0", -0.17), "large": ("s", "C1", 0.17)}
    for base, (marker, color, shift) in looks.items():
        for open_marks in (False, True):
            drawn = [
                (row + shift, table.share(base, name))
                for row, name in enumerate(rows)
                if name.endswith(("_above", "_below")) == open_marks
                and (base, name) in table.passed
            ]
            places, shares = zip(*drawn, strict=True)
            middle, ends = bars(shares)
            look: dict[str, Any] = (
                dict(mfc="white") if open_marks else dict(label=f"base: {bases[base]}")
            )
            ax.errorbar(middle, places, xerr=ends, fmt=marker, color=color, ms=5, **look)
        known = [(row, name) for row, name in enumerate(rows) if (base, name) in PAPER_TABLE]
        label = "paper, Table 1" if base == "small" else None
        values, at = [PAPER_TABLE[base, n] / 100 for _, n in known], [r + shift for r, _ in known]
        ax.plot(values, at, "kx", ms=6, mew=1.4, zorder=5, label=label)
    ax.set_yticks(range(len(rows)), [*titles.values()], fontsize=8.5)
    ax.set(xlim=(-0.03, 1.03), xlabel="share of memorized samples", ylabel="swapped window")
    ax.invert_yaxis()
    fig.legend(loc="outside lower center", ncol=2)
    return fig


def distances(
    found: Mapping[str, Linearity],
    zone: tuple[float, float] | None,
    hardly_trained: tuple[float, float],
    often: float,
) -> Drawn:
    """Of two models the distances between three denoisers' answers, side by side.

    Parameters
    ----------
    found : title -> the distances.
    zone : the danger zone, where there is one.
    hardly_trained : the levels, data units, that training hardly draws; empty: low >= high.
    often : up to which level it draws often, data units.
    """
    fig, axes = plt.subplots(1, len(found), figsize=(4.8, 4.1), sharey=True)
    for ax, (title, of) in zip(axes, found.items(), strict=True):
        sigma = of.gaussian.sigma
        ax.set(yscale="log", ylim=(3e-5, 2), xlim=sigma[[0, -1]])
        looks = [*LOOKS[:2], ("k", "", ":"), ("C2", "", "-.")]
        for (name, curve), (color, marker, line) in zip(of.curves.items(), looks, strict=True):
            curve.plot(ax, name, color=color, marker=marker, ls=line, ms=3.5)
        ax.axvline(often, color="0.5", ls=":", lw=1)
        if zone:
            named_band(ax, "danger\nzone", zone, 2.5, color="0.9")
        if hardly_trained[0] < hardly_trained[1]:
            hatched = {"facecolor": "w", "edgecolor": "0.85", "hatch": "///"}
            named_band(ax, "hardly\ntrained", hardly_trained, 2.5, **hatched)
        ax.set_title(title, pad=32)
        sigma_axis(ax, probability=False)
    axes[0].set_ylabel("mean squared distance / variance")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=2)
    curves = {
        f"{title.split(',')[0]}, {name}": curve
        for title, of in found.items()
        for name, curve in of.curves.items()
    }
    return fig, noise_table(curves, "share of the variance", "distance")


def courses(geometry: Geometry, found: Mapping[str, Course], rate: Curve, named: str) -> Drawn:
    """Samples on their way: the share that passes now and, below, quartiles of the ratio.

    Parameters
    ----------
    geometry : whose regimes are shaded.
    found : label -> the way of a model's samples.
    rate : on held-out images, at some of the same levels, called ``named``.
    """
    fig, (ax, lower) = plt.subplots(2, 1, figsize=(4.8, 5.4), sharex=True, height_ratios=(3, 2))
    shade_regimes(ax, geometry.regimes)
    for (label, course), look in zip(found.items(), (("C1", "-"), ("C2", "-.")), strict=True):
        course.plot(ax, lower, label, *look)
    rate.plot(ax, named, color="k", ls=":")
    sigma_axis(ax)
    sigma_axis(lower)
    if geometry.regimes.medium:
        lower.axvspan(*geometry.regimes.medium, color="0.85", lw=0, zorder=0)
    lower.axhline(THIRD, color="k", lw=0.8, ls=":")
    ax.set(xlabel="", ylabel="share that passes now", xlim=(0.01, 20))
    lower.set_ylabel(r"$d_{1\mathrm{NN}}/d_{2\mathrm{NN}}$")
    fig.legend(loc="outside lower center", ncol=2)
    levels = next(iter(found.values())).sigma
    table: dict[str, Any] = {"sigma [data units]": levels}
    for label, course in found.items():
        table |= course.table(label)
    means = dict(zip(rate.sigma, rate.mean, strict=True))
    table[f"{named} [fraction]"] = np.array([means.get(sigma, np.nan) for sigma in levels])
    return fig, table


def over_training(moments: Sequence[Moment]) -> Drawn:
    """Both measures of memorization over a training: of samples, and of held-out images."""
    steps, copies, peaks = zip(*moments, strict=True)
    fig, ax = plt.subplots(figsize=(4.8, 3.2))
    table: dict[str, Any] = {"step [count]": steps}
    measures = {"generated samples": copies, "held-out images, peak of the rate": peaks}
    for (name, values), look in zip(measures.items(), ("C1s-", "ko:"), strict=True):
        ax.errorbar(steps, *bars(values), fmt=look, capsize=2, elinewidth=1, label=name)
        table |= columns(name, "fraction", values)
    ax.set(xscale="log", xlabel="training step", ylabel="memorized", ylim=(-0.03, 1.03))
    ax.set_xticks(steps, [f"{step:,}" for step in steps])
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return fig, table


def switched(switch: Switch, reach: CopyRange) -> Drawn:
    """The shares of copies against the level of a single switch, over the regimes."""
    fig, ax = plt.subplots(figsize=(4.8, 4.0))
    shade_regimes(ax, reach.geometry.regimes)
    for base, other, color, mark in (("small", "large", "C1", "o"), ("large", "small", "C2", "s")):
        switch.curve(base).plot(ax, f"{base}, then {other} below", color=color, marker=mark, ms=4)
    if np.isfinite(reach.edge.value):
        ax.axvline(reach.edge.value, color="k", ls="--", lw=1, label="undone down to here")
    at, ends = bars([switch.begun, switch.ended])
    half = [switch.alone["small"].mean() / 2] * 2
    ax.errorbar(at, half, xerr=ends, fmt="kD", ms=4, capsize=2, zorder=4)
    sigma_axis(ax)
    ax.set(xlim=(0.002, 90), ylabel="share of memorized samples")
    ax.set_xlabel(r"switch at noise level $\sigma$ (data units)")
    fig.legend(loc="outside lower center", ncol=2)
    return fig, switch.table()


def levels_by_size(sizes: Sequence[Measured]) -> Drawn:
    """Zone, hump, switch and predictions of the same images at several sizes."""
    fig, ax = plt.subplots(figsize=(4.8, 4.6))
    for place, one in enumerate(sizes):
        one.plot(ax, place, named=place == 0)
    ticks = [f"{one.size}\n{one.name}\nd = {one.d:,}" for one in sizes]
    ax.set(yscale="log", xlim=(-0.6, len(sizes) - 0.4), ylabel=SIGMA_LABEL)
    ax.set_xticks(range(len(sizes)), ticks, fontsize=8.5)
    ax.set_yticks(at := [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20], [f"{s:g}" for s in at])
    ax.minorticks_off()
    fig.legend(loc="outside lower center", ncol=2)
    return fig, level_table(sizes)


def curves_by_size(sizes: Sequence[Measured]) -> Drawn:
    """What these levels are read from, one panel a size."""
    size = (4.8, 1.75 * len(sizes) + 0.8)
    fig, axes = plt.subplots(len(sizes), 1, figsize=size, sharex=True, squeeze=False)
    for ax, one in zip(axes[:, 0], sizes, strict=True):
        one.plot_curves(ax)
        sigma_axis(ax)
        ax.set(xlabel="", xlim=(0.02, 50))
        ax.set_ylabel(f"{one.name}\n{one.size}", fontsize=9)
    ax.set_xlabel(SIGMA_LABEL)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncol=2)
    return fig, curve_table(sizes)


def copies_and_others(one: Measured, train: np.ndarray, n: int = 6) -> Drawn:
    """Samples of the small model, copies first, their nearest images, and the large model's.

    train : array (N, C, H, W), the training set.
    """
    small, chosen = one.small, one.copies_first(n)
    rows = [
        ("sample", small.pictures[chosen]),
        ("nearest\ntraining\nimage", train[small.near.index[chosen]]),
        ("large model,\nsame noise", one.large.pictures[chosen]),
    ]
    fig = image_grid(rows, [str(i) for i in chosen], [small.passed[chosen], None, None])
    return fig, pixel_table(chosen, rows, "initial noise [index]")


def swapped_samples(
    table: SwapTable, lines: Sequence[Condition], titles: Mapping[str, str], n: int
) -> Drawn:
    """The first n samples of some conditions, from the same initial noises, copies framed.

    titles : how the windows are called.
    """
    rows = [
        (f"{base[0].upper()} {titles[name]}", np.asarray(table.pictures[base, name][:n]))
        for base, name in lines
    ]
    fig = image_grid(rows, [str(i) for i in range(n)], [table.passed[key][:n] for key in lines])
    return fig, pixel_table(np.arange(n), rows, "initial noise [index]")
