"""Pictures of what models do: losses, rates, samples, swaps, ways to a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geomem.digitized.stated import TABLE_1
from geomem.geometry.curve import Band, Curve
from geomem.geometry.intervals import Estimate, bars, columns
from geomem.geometry.regimes import Geometry
from geomem.memorization.copy_bound import CopyBound
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.dimension import Measured, curve_table, level_table, titles
from geomem.memorization.distinct import THIRD
from geomem.memorization.linearity import Linearity
from geomem.memorization.ratio_test import neighbours
from geomem.memorization.samples import Samples
from geomem.memorization.side_by_side import SideBySide
from geomem.memorization.stopping import Losses, running_mean
from geomem.memorization.swap_course import SwapCourse
from geomem.memorization.swaps import Condition, SwapTable
from geomem.memorization.switch import Switch
from geomem.memorization.thresholds import Thresholds
from geomem.memorization.trajectories import Course, Moment
from geomem.plots.beside import SMALL_TEXT, legend_below, name_curves
from geomem.plots.drawing import (
    SERIES,
    SIGMA_LABEL,
    Drawn,
    Look,
    filled_up,
    from_rows,
    image_grid,
    log_axis,
    named_band,
    noise_table,
    pixel_table,
    plot_series,
    shade_regimes,
    share_axis,
    sigma_axis,
    strip,
    style,
)
from geomem.plots.files import COLUMN


def losses(found: Mapping[str, Losses]) -> Drawn:
    """The losses of two trainings, one below the other: of batches, and of the averaged weights."""
    size = (COLUMN, 1.6 * len(found) + 0.6)
    fig, axes = plt.subplots(len(found), 1, figsize=size, sharex=True, sharey=True)
    rows = list[tuple[Any, ...]]()
    for ax, (name, of) in zip(axes, found.items(), strict=True):
        steps, mean = running_mean(of.batches)
        curves = {"one batch": of.batches[steps - 1], "running mean": mean}
        ax.plot(steps, curves["one batch"], color="0.8", ls="-", lw=0.7, label="one batch")
        ax.plot(steps, mean, color="0.4", ls="-", label="running mean")
        of_model = style(SERIES[name.split(",")[0]], ms=5, ls="-")
        of_new = of_model | {"ls": ":", "mfc": "w"}
        for kind, course, look in (
            ("training", of.train, of_model),
            ("held-out", of.heldout, of_new),
        ):
            label = f"average, {kind} images"
            course.plot(ax, label, **look)
            rows += [(name, label, *row) for row in course.rows]
        for kind, curve in curves.items():
            points = zip(steps.tolist(), curve.tolist(), strict=True)
            rows += [(name, kind, *at, np.nan) for at in points]
        ax.set(xscale="log", title=name)
        log_axis(ax)
    axes[-1].set_xlabel("training step")
    fig.supylabel("weighted denoising loss")
    legend_below(fig, *axes[0].get_legend_handles_labels())
    headings = ["model [name]", "curve [name]", "step [count]", "loss [weighted, 1]"]
    return fig, from_rows([*headings, "half width of the interval [weighted, 1, 95%]"], rows)


def samples(drawn: Mapping[str, Samples], train: np.ndarray, n: int, across: int = 5) -> Drawn:
    """The first n samples of each model, each above the training image nearest to it.

    train : array (N, C, H, W), the training set.
    across : how many stand side by side: few are large enough to be compared.
    """
    rows, named, framed = list[tuple[str, np.ndarray]](), [], list[np.ndarray | None]()
    for kind, one in drawn.items():
        pictures, nearest = one.pictures[:n], train[one.near.index[:n]]
        named += [(f"{kind}, sample: {kind}", pictures), (f"{kind}: nearest", nearest)]
        for first in range(0, n, across):
            part = slice(first, min(first + across, n))
            rows += [(kind, pictures[part]), ("nearest", nearest[part])]
            framed += [one.passed[part], None]
    fig = image_grid(rows, [""] * min(across, n), framed)
    return fig, pixel_table(np.arange(n), named, "sample [index]")


def marks_and_curves(
    sigma: np.ndarray, marks: Mapping[str, np.ndarray], ours: Mapping[str, Band]
) -> Drawn:
    """Rates read off the paper as marks, and our own at the same levels as lines; with the table.

    Parameters
    ----------
    sigma : (S,) the levels of both, data units.
    marks : label -> (S,) what was read off, of the empirical denoiser, a small and a large model.
    ours : label -> the curve; one takes the colour, and the name in the legend, of the marks whose
        label begins as its own.
    """
    fig, ax = plt.subplots(figsize=(COLUMN, 2.6))
    table: dict[str, Any] = {"sigma [data units]": sigma}
    models = ("empirical", "small", "large")
    looks = {name: SERIES[of] for name, of in zip(marks, models, strict=True)}
    for name, values in marks.items():
        look = style(looks[name], ls="", ms=6, mew=1.5, mfc="none")
        ax.plot(sigma, values, label=f"paper: {name}", **look)
        table[f"{name}, read off [fraction]"] = values
    for name, curve in ours.items():
        mark = next(mark for mark in marks if name.startswith(mark))
        label, known = f"ours: {mark}", ax.get_legend_handles_labels()[1]
        curve.plot(ax, None if label in known else label, color=looks[mark][0], ls="-", lw=1)
        table |= curve.table(f"{name}, ours", "fraction")
    sigma_axis(ax)
    ax.set_ylabel("memorization rate")
    legend_below(fig)
    return fig, table


def thresholds(found: Thresholds, looks: Sequence[Look]) -> Drawn:
    """Shares that pass the ratio test against its threshold, 1/3 and 1/2 marked.

    looks : of each of the shares.
    """
    fig, ax = plt.subplots(figsize=(COLUMN, 2.6))
    share_axis(ax)
    table: dict[str, Any] = {"threshold [ratio]": found.values}
    for (name, share), look in zip(found.shares.items(), looks, strict=True):
        mean, low, high = np.transpose([one.numbers for one in share])
        ax.plot(found.values, mean, label=name, **style(look, marker=""))
        ax.fill_between(found.values, low, high, color=look[0], alpha=0.25, lw=0)
        table[f"{name}, share [fraction]"] = mean
        table[f"{name}, low [fraction, 95%]"] = low
        table[f"{name}, high [fraction, 95%]"] = high
    for value, label in ((1 / 3, "1/3"), (1 / 2, "1/2")):
        ax.axvline(value, color="k", lw=0.8, ls=":")
        ax.text(value, 1.01, label, ha="center", va="bottom", transform=ax.get_xaxis_transform())
    ax.set(xlabel="threshold $t$ of the ratio test", ylabel="share that passes")
    name_curves(ax)
    return fig, table


def zone_and_rate(geometry: Geometry, rate: Curve, xlim: tuple[float, float]) -> Drawn:
    """The regimes with both curves that they come from and, below, the small model's rate.

    Returns the figure and its table, one row a curve and level.
    """
    size, heights = (COLUMN, 3.6), (3, 2)
    fig, (ax, lower) = plt.subplots(2, 1, figsize=size, sharex=True, height_ratios=heights)
    shade_regimes(ax, geometry.regimes, xlim)
    curves = {"C_sigma": geometry.coverage, "W_sigma": geometry.weight}
    plot_series(ax, curves, marker="")
    if geometry.regimes.medium:
        lower.axvspan(*geometry.regimes.medium, color="0.85", lw=0, zorder=0)
    rate.plot(lower, None, **style(SERIES["small"], ms=3.5))
    sigma_axis(ax)
    sigma_axis(lower, probability=False)
    ax.set(xlabel="", ylabel="probability")
    lower.set_ylabel("small model's\nrate")
    name_curves(ax)
    rows = [
        (name, *row)
        for name, curve in {**curves, "rate, small model": rate}.items()
        for row in zip(curve.sigma, curve.mean, curve.low, curve.high, strict=True)
    ]
    headers = ["quantity [name]", "sigma [data units]", "value [fraction]"]
    headers += ["low [fraction, 95% interval]", "high [fraction, 95% interval]"]
    return fig, from_rows(headers, rows)


def copy_bounds(found: Mapping[str, CopyBound], level: float = 0.05) -> Drawn:
    """Of each network the measured rate under its bounds; shaded what `CopyBound.edge` certifies.

    found : title, which begins with the network's name in `SERIES` -> its bounds.
    level : of the rate, there.
    """
    fig, axes = plt.subplots(len(found), 1, figsize=(COLUMN, 1.5 * len(found) + 0.5), sharex=True)
    for ax, (name, of) in zip(axes, found.items(), strict=True):
        ax.axvspan(of.sigma.min(), of.edge(level), color="0.9", lw=0, zorder=0)
        of.plot(ax, SERIES[name.split()[0]][0])
        sigma_axis(ax, probability=False)
        share_axis(ax)
        ax.set(xlabel="", title=name)
    axes[-1].set_xlabel(SIGMA_LABEL)
    fig.supylabel("share of the answers")
    legend_below(fig, *axes[0].get_legend_handles_labels())
    tables = [
        {"network [name]": [name] * len(of.sigma), **of.table()} for name, of in found.items()
    ]
    return fig, {heading: np.concatenate([t[heading] for t in tables]) for heading in tables[0]}


def side_by_side(beside: SideBySide, image: np.ndarray, sigmas: np.ndarray, draw: int = 0) -> Drawn:
    """One image under growing noise, the answers of all denoisers, and what the small model copies.

    image : (C, H, W), data units. Answers that pass the ratio test are framed.
    draw : which noise.
    """
    answers = beside.answers(image, sigmas, draw)
    answers["small"] = answers.pop("small")  # last, above the training images nearest to it
    framed = [beside.copied(of) for of in answers.values()]
    rows = {"with noise": beside.noisy(image, sigmas, draw), **answers}
    rows |= {"nearest": beside.nearest(answers["small"])}
    return strip(sigmas, rows, [None, *framed, None], noisy=["with noise"])


def swap_table(table: SwapTable, titles: Mapping[str, str], bases: Mapping[str, str]) -> Figure:
    """The share of memorized samples of each condition, one row a window, for both bases.

    titles : how the windows are called, in the order of the rows; one where nothing was swapped has
        none. Controls, those beside another window, have open marks.
    bases : how the models are called.
    """
    rows = [name for name in titles if any((base, name) in table.passed for base in bases)]
    fig, ax = plt.subplots(figsize=(COLUMN, 0.38 * len(rows) + 0.6))
    for base, shift in (("small", -0.17), ("large", 0.17)):
        color, marker, _ = SERIES[base]
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
        known = [(row, name) for row, name in enumerate(rows) if (base, name) in TABLE_1]
        label = "paper, Table 1" if base == "small" else None
        values, at = [TABLE_1[base, n] / 100 for _, n in known], [r + shift for r, _ in known]
        ax.plot(values, at, "kx", ms=6, mew=1.4, zorder=5, label=label)
    names = [fill(" ".join(titles[name].split()), 18) for name in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set(xlim=(-0.03, 1.03), xlabel="memorized share")
    ax.set_ylim(len(rows) - 0.4, -0.6)
    legend_below(fig)
    return fig


def distances(
    found: Mapping[str, Linearity],
    zone: tuple[float, float] | None,
    hardly_trained: tuple[float, float],
    often: float,
) -> Drawn:
    """Of two models the distances between three denoisers' answers, one below the other.

    Parameters
    ----------
    found : title -> the distances.
    zone : the danger zone, where there is one.
    hardly_trained : the levels, data units, that training hardly draws; empty: low >= high.
    often : up to which level it draws often, data units.
    """
    size = (COLUMN, 2.0 * len(found) + 0.9)
    fig, axes = plt.subplots(len(found), 1, figsize=size, sharex=True)
    for ax, (title, of) in zip(axes, found.items(), strict=True):
        sigma, first = of.gaussian.sigma, ax is axes[0]
        ax.set(yscale="log", ylim=(3e-5, 2), xlim=sigma[[0, -1]])
        own, grey = SERIES[title.split(",")[0]][0], SERIES["Gaussian"][0]
        looks = [(own, "D", "-"), (own, "x", "--"), ("k", "", ":"), (grey, "", "-.")]
        for (name, curve), look in zip(of.curves.items(), looks, strict=True):
            curve.plot(ax, name, **style(look, ms=3.5))
        ax.axvline(often, color="0.5", ls=":", lw=1)
        if zone:
            named_band(ax, "danger\nzone" if first else "", zone, 2.5, color="0.9")
        if hardly_trained[0] < hardly_trained[1]:
            hatched = {"facecolor": "w", "edgecolor": "0.85", "hatch": "///"}
            named_band(ax, "hardly\ntrained" if first else "", hardly_trained, 2.5, **hatched)
        ax.set_title(title, pad=32 if first else 6)
        sigma_axis(ax, probability=False)
        ax.set_xlabel("")
    axes[-1].set_xlabel(SIGMA_LABEL)
    fig.supylabel("mean squared distance / variance")
    name_curves(axes[0])
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
    found : label, which begins with the model's name in `SERIES` -> the way of its samples.
    rate : on held-out images, at some of the same levels, called ``named``.
    """
    fig, (ax, lower) = plt.subplots(2, 1, figsize=(COLUMN, 4.2), sharex=True, height_ratios=(3, 2))
    shade_regimes(ax, geometry.regimes, (0.01, 20))
    for label, course in found.items():
        color, _, line = SERIES[label.split(",")[0]]
        course.plot(ax, lower, label, color, line)
    rate.plot(ax, named, **style(SERIES["small"], marker="", ls=":"))
    sigma_axis(ax)
    sigma_axis(lower)
    if geometry.regimes.medium:
        lower.axvspan(*geometry.regimes.medium, color="0.85", lw=0, zorder=0)
    lower.axhline(THIRD, color="k", lw=0.8, ls=":")
    ax.set(xlabel="", ylabel="share that passes now")
    lower.set_ylabel(r"$d_{1\mathrm{NN}}/d_{2\mathrm{NN}}$")
    name_curves(ax)
    levels = next(iter(found.values())).sigma
    table: dict[str, Any] = {"sigma [data units]": levels}
    for label, course in found.items():
        table |= course.table(label)
    for heading, values in rate.table(named, "fraction").items():
        known = dict(zip(rate.sigma, values, strict=True))
        table[heading] = np.array([known.get(sigma, np.nan) for sigma in levels])
    return fig, table


def over_training(moments: Sequence[Moment]) -> Drawn:
    """Both measures of memorization over a training: of samples, and of held-out images."""
    steps, copies, peaks = zip(*moments, strict=True)
    fig, ax = plt.subplots(figsize=(COLUMN, 2.5))
    table: dict[str, Any] = {"step [count]": steps}
    measures = {"generated samples": copies, "held-out images, peak of the rate": peaks}
    changes: list[dict[str, Any]] = [{}, {"ls": ":", "mfc": "w"}]
    for (name, values), changed in zip(measures.items(), changes, strict=True):
        look = style(SERIES["small"], capsize=2, elinewidth=1, label=name, **changed)
        ax.errorbar(steps, *bars(values), **look)
        table |= columns(name, "fraction", values)
    share_axis(ax)
    ax.set(xscale="log", xlabel="training step", ylabel="memorized")
    ax.set_xticks(steps, [f"{step:,}" for step in steps])
    ax.set_xticks([], minor=True)
    legend_below(fig)
    return fig, table


def switched(switch: Switch, reach: CopyRange) -> Drawn:
    """The shares of copies against the level of a single switch, over the regimes."""
    fig, ax = plt.subplots(figsize=(COLUMN, 2.9))
    shade_regimes(ax, reach.geometry.regimes, (0.002, 90))
    for base, other in (("small", "large"), ("large", "small")):
        label = f"{base}, then {other} below"
        switch.curve(base).plot(ax, label, **style(SERIES[base], ms=4))
    if np.isfinite(reach.edge.value):
        ax.axvline(reach.edge.value, color="k", ls="--", lw=1, label="rule of thumb")
    at, ends = bars([switch.begun, switch.ended])
    half = [switch.alone["small"].mean() / 2] * 2
    ax.errorbar(at, half, xerr=ends, fmt="kD", ms=4, capsize=2, zorder=4)
    sigma_axis(ax)
    ax.set_ylabel("share of memorized samples")
    ax.set_xlabel(r"switch at noise level $\sigma$ (data units)")
    name_curves(ax)
    table = switch.table()
    table |= columns("half of the copies, small to large", "data units", [switch.begun])
    table |= columns("half of the copies, large to small", "data units", [switch.ended])
    return fig, filled_up(table | {"rule of thumb [data units]": [reach.edge.value]})


def swap_course(course: SwapCourse, names: Mapping[str, str]) -> Drawn:
    """The share of copies along a training, and what a swap undoes of them.

    names : how each window is called.
    """
    kinds = {"zone": "zone gap", "copy": "copy gap"}  # as gaps of these windows are drawn
    fig, ax = plt.subplots(figsize=(COLUMN, 2.6))
    steps = [*course.passed]
    middle, ends = bars(course.copies)
    ax.errorbar(steps, middle, ends, label="copies, no swap", **style(SERIES["small"], ms=4))
    for shift, name in zip((0.97, 1.03, 1.06), course.windows, strict=False):
        undone, look = course.undone(name), style(SERIES[kinds.get(name, "swapped")], ms=4)
        if undone:
            middle, ends = bars([*undone.values()])
            at = [shift * step for step in undone]
            ax.errorbar(at, middle, ends, label=f"undone: {names[name]}", **look)
    log_axis(ax, "x")
    ax.set(xlabel="training steps", ylabel="share", ylim=(-0.03, 1.03))
    legend_below(fig)
    return fig, course.table(names)


def levels_by_size(sizes: Sequence[Measured]) -> Drawn:
    """Zone, hump, switch and predictions of the same images at several sizes, one row each."""
    fig, ax = plt.subplots(figsize=(COLUMN, 0.8 * len(sizes) + 0.5))
    for place, one in enumerate(sizes):
        _levels(ax, one, place, named=place == 0)
    named = zip(titles(sizes), sizes, strict=True)
    rows = [f"{title}, d = {one.d:,}".replace(", ", "\n") for title, one in named]
    ax.set_yticks(range(len(sizes)), rows)
    ax.set_ylim(len(sizes) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    sigma_axis(ax, probability=False)
    legend_below(fig)
    return fig, level_table(sizes)


def curves_by_size(sizes: Sequence[Measured]) -> Drawn:
    """What these levels are read from, one panel a size."""
    size = (COLUMN, 1.6 * len(sizes) + 0.4)
    fig, axes = plt.subplots(len(sizes), 1, figsize=size, sharex=True, squeeze=False)
    for ax, title, one in zip(axes[:, 0], titles(sizes), sizes, strict=True):
        _magnified(ax, one)
        sigma_axis(ax)
        ax.set(xlabel="", xlim=(0.02, 50))
        ax.set_ylabel(title.replace(", ", "\n"), fontsize=SMALL_TEXT)
    ax.set_xlabel(SIGMA_LABEL)
    legend_below(fig, *ax.get_legend_handles_labels())
    return fig, curve_table(sizes)


def _levels(ax: Axes, one: Measured, place: float, *, named: bool) -> None:
    """The levels of one size in a row around a place; ``named`` are they in the legend."""

    def mark(shift: float, values: Sequence[Estimate], label: str, **look: Any) -> None:
        middle, ends = bars(values)
        ax.errorbar(middle, place + shift, xerr=ends, label=label if named else None, **look)

    half, (small, *_) = one.hump.half, SERIES["small"]
    low, high = (one.zone.low, one.zone.high) if one.zone else (np.nan, np.nan)
    zone: dict[str, Any] = dict(color="0.85", zorder=0, label="danger zone" if named else None)
    ax.barh(place, high - low, 0.8, low, **zone)
    band: dict[str, Any] = dict(color=small, ls="-", lw=5, alpha=0.35, solid_capstyle="butt")
    ax.plot([end.value for end in half], [place - 0.25] * 2, **band)
    mark(-0.25, [one.hump.centre], "hump: centre, half-width", fmt="o", color=small)
    mark(0, [one.switch.begun], "switch, small to large", fmt="v", color="k")
    mark(0, [one.switch.ended], "switch, large to small", fmt="^", color="k")
    for name, (color, marker) in (("copy edge", ("0.5", "X")), ("overlap", SERIES["overlap"][:2])):
        label = f"prediction: {name}" if named else None
        ax.plot(one.predicted[name], place + 0.25, marker, color=color, ms=6, label=label)


def _magnified(ax: Axes, one: Measured) -> None:
    """The curves of one size over its zone, the rate magnified to be seen."""
    if one.zone:
        ax.axvspan(one.zone.low, one.zone.high, color="0.85", lw=0, zorder=0)
    curves = one.curves
    rate = curves.pop("rate")
    plot_series(ax, curves, marker="")
    look, top = style(SERIES["small"], ms=3, label="rate, magnified"), max(rate.high.max(), 1e-9)
    ax.plot(rate.sigma, rate.mean / top, **look)
    ends = rate.low / top, rate.high / top
    ax.fill_between(rate.sigma, *ends, color=look["color"], alpha=0.25, lw=0)
    peak = f"peak\n{rate.mean.max():.1%}"
    ax.text(0.01, 0.5, peak, transform=ax.transAxes, fontsize=SMALL_TEXT)  # where no curve runs


def copies_and_others(one: Measured, train: np.ndarray, n: int = 6) -> Drawn:
    """Samples of the small model, copies first, their nearest images, and the large model's.

    train : array (N, C, H, W), the training set.
    """
    small, chosen = one.small, one.copies_first(n)
    framed = [small.passed[chosen], None, one.large.passed[chosen]]
    rows = [
        ("sample", small.pictures[chosen]),
        ("nearest\ntraining\nimage", train[small.near.index[chosen]]),
        ("large model,\nsame noise", one.large.pictures[chosen]),
    ]
    fig = image_grid(rows, [str(i) for i in chosen], framed)
    return fig, pixel_table(chosen, rows, "initial noise [index]")


def swapped_samples(
    table: SwapTable,
    lines: Sequence[Condition],
    titles: Mapping[str, str],
    n: int,
    train: np.ndarray,
) -> Drawn:
    """The first n samples of some conditions, from the same initial noises, copies marked.

    Above them the training images nearest to those of the first condition.

    titles : how the windows are called.
    train : array (N, C, H, W), the training set.
    """
    rows = [
        (f"{base[0].upper()} {titles[name]}", np.asarray(table.pictures[base, name][:n]))
        for base, name in lines
    ]
    rows.insert(0, ("nearest to\nthe row below", train[neighbours(rows[0][1], train).index]))
    framed = [None, *(table.passed[key][:n] for key in lines)]
    fig = image_grid(rows, [str(i) for i in range(n)], framed)
    return fig, pixel_table(np.arange(n), rows, "initial noise [index]")
