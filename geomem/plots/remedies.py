"""How remedies against memorization are drawn: beside one another, over their training, as gaps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from geomem.digitized import Digitized
from geomem.digitized.stated import CELEBA_ZONE
from geomem.geometry.arrays import Floats
from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Estimate, Fraction, bars, columns
from geomem.geometry.window import Window
from geomem.memorization.gaps import PaperGap, Swept
from geomem.memorization.ratio_test import neighbours
from geomem.memorization.remedies import Judged, Ratio
from geomem.memorization.stopping import Stopping
from geomem.memorization.study import Course, Study, plane
from geomem.plots.beside import SMALL_TEXT, legend_below, name_curves
from geomem.plots.drawing import (
    SERIES,
    Drawn,
    Look,
    from_rows,
    image_grid,
    log_axis,
    pixel_table,
    plot_series,
    share_axis,
    sigma_axis,
    style,
)
from geomem.plots.files import COLUMN

Interval = Estimate | Fraction
Bars = Sequence[tuple[str, Window | None, Interval]]  # name, gap if any, share memorized
Source = tuple[Bars, Mapping[str, Curve]]
CURVES = {"coverage": "C_sigma", "concentration": "W_sigma"}  # of a source, as `SERIES` has them
Mark = tuple[str | None, Judged, Look]  # a name to be written beside it, what is marked, and how
References = Mapping[str, Mapping[str, Estimate]]  # as `Bench.references` gives them
SWEPT: dict[str, Look] = {  # kinds of a sweep that are not of `SERIES`
    "zone": SERIES["zone gap"],
    "low half": (SERIES["zone gap"][0], "<", ""),
    "high half": (SERIES["zone gap"][0], ">", ""),
    "copy window": SERIES["copy gap, none kept"],
}
SHADES = colormaps["viridis"].resampled(20)  # of shares; few enough to be drawn as shapes
# What a distance is read against: its name, which of the references it is, and its dash.
LINES = {"real, held out": ("held-out", ":"), "training set": ("training set", "--")}
CELEBA = "the paper (CelebA)"
HIGHEST = 0.95  # where a name may stand beside its axes, of their height
APART = 0.075  # from one line of names to the next, at least, likewise
ABREAST = 16  # letters of the names of marks at one point, in a line
LETTER = 0.085  # how wide one of a name is, of the axes' width, as a mean and rather too much


def labels(
    study: Study, zone: Window, window: Window, *, keep: float, stop_share: float, n_large: int
) -> dict[str, str]:
    """What the kinds of a study are called, in the order of a figure: kind -> label.

    Parameters
    ----------
    zone, window : left out by the zone gap and the copy gap, of which ``keep`` is kept.
    stop_share : after which "fixed stop" stops.
    n_large : training images of the large model.
    """
    names = {
        "plain": "plain, to the end",
        "stopped": "plain, stopped: lowest held-out loss",
        "fixed stop": f"plain, stopped: {stop_share:.1%} of the steps",
        "zone gap": f"without the zone {zone.in_words}",
        "paper gap": "without the paper's gap, carried over",
        "copy gap": f"without our window {window.in_words}, {keep:.0%} kept",
        "copy gap, none kept": "without our window, none kept",
        "dummy": "dummy class",
        "stopped inside": "stopped in our window only",
        "large": f"large, N = {n_large:,}",
    }
    return {kind: name for kind, name in names.items() if kind in study}


def beside(
    study: Study,
    names: Mapping[str, str],
    ratios: Mapping[str, Ratio],
    shaded: Sequence[Window],
    against: str,
) -> Drawn:
    """Copies of every training and images seen; below, errors over that of one kind.

    Parameters
    ----------
    names : kind of `SERIES` -> its label, from above.
    ratios : kind -> its error over that of the kind ``against``.
    shaded : windows, the first one darker.
    """
    heights = (0.54 * len(names), 1.6)  # inches, three lines a name
    size = (COLUMN, sum(heights) + 1.4)
    fig, (ax, lower) = plt.subplots(2, 1, figsize=size, height_ratios=heights)
    outside = dict(transform=ax.get_yaxis_transform(), fontsize=SMALL_TEXT)
    for place, kind in enumerate(names):
        look = style(SERIES[kind], ls="")
        for shift, one in zip(_shifts(len(study.of(kind))), study.of(kind), strict=True):
            ax.errorbar(one.copies.value, place + shift, xerr=bars([one.copies])[1], **look)
        ax.text(1.04, place, f"{100 * study.cost(kind):.3g}%", va="center", **outside)
    ax.text(1.04, -0.6, "images\nseen", va="bottom", **outside)
    ax.set_yticks(range(len(names)), [fill(name, 16) for name in names.values()])
    ax.set_ylim(len(names) - 0.5, -0.5)
    share_axis(ax, "x")
    ax.set_xlabel("memorized share")
    for window, shade in zip(shaded, ("0.85", "0.94"), strict=False):
        lower.axvspan(window.low, window.high, color=shade, lw=0, zorder=0)
    lower.axhline(1, color="k", lw=1)
    for kind, ratio in ratios.items():
        ratio.plot(lower, kind, **style(SERIES[kind], ms=4))
    sigma_axis(lower, probability=False)
    log_axis(lower)
    lower.set(ylabel=f"held-out error /\nthe {against} model's")
    name_curves(lower, 4)
    return fig, study.long_table(ratios, against)


def _shifts(n: int) -> Floats:
    """Where in its row the mark of each of n trainings stands: the first one in the middle."""
    apart = min(0.22, 0.4 / max(1, n // 2))
    return np.asarray((-1.0) ** np.arange(n) * ((np.arange(n) + 1) // 2) * apart)


def over_training(
    stops: Mapping[int, Stopping],
    course: Mapping[str, Sequence[Judged]],
    steps: Sequence[int],
    references: References,
) -> Drawn:
    """The held-out loss of the plain model, and below it copies and distances of several kinds.

    Parameters
    ----------
    stops : seed -> the losses, a ring around the lowest one, wider from training to training,
        and a dotted line at its step in the other panels.
    course : kind of `SERIES` -> what it was after each of the ``steps``.

    Returns
    -------
    The figure, and what it plots as a table.
    """
    measures = [*next(iter(course.values()))[0].measured]
    size = (COLUMN, 1.45 * len(measures) + 2.4)
    fig, (top, *axes) = plt.subplots(1 + len(measures), 1, figsize=size, sharex=True)
    curves: list[tuple[str, str, Sequence[int], Sequence[Interval]]] = []
    for i, (seed, stop) in enumerate(stops.items()):
        _course(top, stop.steps, stop.losses, **style(SERIES["plain"], marker="", lw=1))
        top.plot(stop.step, min(loss.value for loss in stop.losses), "ko", ms=5 + 4 * i, mfc="none")
        for ax in axes:
            ax.axvline(stop.step, color="k", lw=1, ls=":", zorder=1.5)
        curves.append(("held-out loss", f"plain, seed {seed}", stop.steps, stop.losses))
    top.set_ylabel("held-out loss")
    for ax, name in zip(axes, measures, strict=True):
        for kind, ones in course.items():
            found = [one.measured[name] for one in ones]
            _course(ax, steps, found, **style(SERIES[kind], label=kind, ms=4.5))
            curves.append((name, kind, steps, found))
        if name == "memorized":
            share_axis(ax)
            ax.set_ylabel("memorized share")
        else:
            _distance_axis(ax, name, references, beside=True)
            ax.set_ylim(0, None)
    axes[-1].set(xlabel="training step", xscale="log")
    ticks = sorted({*steps, *(step for stop in stops.values() for step in stop.steps)})
    axes[-1].set_xticks(ticks, [f"{step:,}" for step in ticks], rotation=90)
    axes[-1].minorticks_off()
    legend_below(fig, *axes[1].get_legend_handles_labels())
    rows = [(*of, x, *y.numbers) for *of, xs, ys in curves for x, y in zip(xs, ys, strict=True)]
    rows += [
        (name, label, np.nan, *references[of][name].numbers)
        for name in measures
        if name != "memorized"
        for label, (of, _) in LINES.items()
    ]
    headings = ["quantity [name]", "model [name]", "step [count]"]
    headings += ["value [loss, fraction, feature units squared or data units]"]
    headings += ["low [95% interval]", "high [95% interval]"]
    return fig, from_rows(headings, rows)


def against_paper(theirs: Mapping[str, Course], ours: Mapping[str, Course]) -> Drawn:
    """The paper's course of training as filled marks, ours as open ones with their intervals.

    Parameters
    ----------
    theirs, ours : kind of `SERIES` -> share of the training done, share memorized, and distance
        over the last one of the baseline. Kinds that are not ours are left out.

    Returns
    -------
    The figure, and what it plots as a table.
    """
    sources = {"paper": theirs, "ours": ours}
    courses = {
        (source, kind): sources[source][kind]
        for kind in theirs
        if kind in ours
        for source in sources
    }
    fig, axes = plt.subplots(2, 1, figsize=(COLUMN, 4.0), sharex=True)
    for (source, kind), course in courses.items():
        done, *measures = zip(*course, strict=True)
        own: dict[str, Any] = {"ls": ""} if source == "paper" else {"ls": "-", "lw": 1, "mfc": "w"}
        name = {"paper": "gap", "ours": "that gap, carried over"}[source]
        name = name if kind == "paper gap" else kind
        look = style(SERIES[kind], label=f"{source}: {name}", ms=5, **own)
        for ax, values in zip(axes, measures, strict=True):
            ax.errorbar(done, *bars(values), **look)
    axes[0].set(ylabel="memorized share", ylim=(-0.03, 1.03))
    axes[1].set(ylabel="distance over\nthe baseline's last", xlabel="share of the training done")
    axes[1].set_ylim(0, None)
    legend_below(fig, *axes[0].get_legend_handles_labels())
    rows = [(*key, *row) for key, course in courses.items() for row in course]
    of, models, done, copies, distances = zip(*rows, strict=True)
    table: dict[str, Any] = {
        "source [name]": of,
        "model [name]": models,
        "share of the training [fraction]": done,
    }
    table |= columns("memorized", "fraction", copies)
    return fig, table | columns("distance over the baseline's last", "ratio", distances)


def _planes(
    panels: Mapping[str, tuple[Sequence[Mark], References, Sequence[Judged]]],
    distance: str,
    *,
    log: bool,
) -> Figure:
    """Copies across, a Frechet distance upwards, in panels above one another.

    Parameters
    ----------
    panels : title -> marks, the lines to read them against, and what a grey line of steps joins,
        the front.
    log : the distance has a logarithmic axis, else one from 0.
    """
    size = (COLUMN, 0.2 + 3.1 * len(panels))
    fig, axes = plt.subplots(len(panels), 1, figsize=size, sharex=True, squeeze=False)
    for ax, (title, (marks, references, front)) in zip(axes[:, 0], panels.items(), strict=True):
        if len(front) > 1:
            line = [(one.copies.value, one.distance[distance].value) for one in front]
            ax.plot(*np.transpose(line), "0.6", lw=1, ds="steps-post", zorder=0, label="front")
        named: dict[tuple[float, float], list[str]] = {}
        for label, one, look in marks:
            x, y = one.copies, one.distance[distance]
            ax.errorbar(x.value, y.value, bars([y])[1], bars([x])[1], **style(look, ls="", lw=0.8))
            named.setdefault((x.value, y.value), []).extend([label] if label else [])
        _distance_axis(ax, distance, references)
        if log:
            log_axis(ax)
        else:
            ax.set_ylim(0, None)
        ax.set(title=title, xlim=(-0.03, 1.03))
        bars_of = [(one.copies.numbers, one.distance[distance].numbers) for _, one, _ in marks]
        names = {point: fill(", ".join(labels), ABREAST) for point, labels in named.items()}
        _name(names, np.array(bars_of), ax)
    ax.set_xlabel("memorized share")
    legend_below(fig, *ax.get_legend_handles_labels(), columns=3)
    return fig


def _name(points: Mapping[tuple[float, float], str], marks: Floats, ax: Axes) -> None:
    """Write names, if any, beside points: right of those on the left half, of others outside.

    Outside, too, where a name would lie on a mark.

    marks : (n, 2, 3), across and up, each with the ends of its bar.
    """
    ax.get_ylim()  # it settles the limits
    to_axes = ax.transScale + ax.transLimits
    note: dict[str, Any] = {"textcoords": "axes fraction", "va": "center", "fontsize": SMALL_TEXT}
    leader = {"arrowstyle": "-", "lw": 0.6, "color": "0.6", "shrinkB": 3}
    note["arrowprops"] = leader | {"relpos": (0, 0.5)}  # from the near edge: across no other name
    note["bbox"] = {"fc": "w", "ec": "none", "pad": 1}  # a line behind a name does not strike it
    (left, low), (right, high) = (to_axes.transform(marks[:, :, end]).T for end in (1, 2))
    column = 0.03 + right[marks[:, 0, 0] < 0.5].max(initial=0)
    named = sorted((point for point, name in points.items() if name), key=lambda at: at[::-1])
    for at in (column, 1.04):
        some = [point for point in named if at == 1.04 or point[0] < 0.5]
        places = np.array([to_axes.transform(point)[1] for point in some])
        lines = np.array([1 + points[point].count("\n") for point in some])
        middles = APART * (np.cumsum(lines) - lines / 2)  # of names, all written below one another
        most = HIGHEST - APART * (lines.sum() - 0.5) + middles  # so that all stay below the title
        heights = np.minimum(spread(places, middles), most)
        for point, height, of in zip(some, heights, lines, strict=True):
            half = APART * (of / 2 + 0.2)
            under = (low < height + half) & (high > height - half)
            end = at + LETTER * max(map(len, points[point].split("\n")))
            under &= (left < end) & (right > at)
            if at == 1.04 or (not under.any() and end < 1):
                named.remove(point)
                note["zorder"] = 5 - at  # no leader to a name outside runs over one inside
                ax.annotate(points[point], point, (at, height), annotation_clip=False, **note)


def spread(places: Floats, steps: Floats) -> Floats:
    """Ascending places (n,), moved so that each lies as far from the one before as ``steps`` do.

    Or farther.

    >>> spread(np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.5, 1.0])).tolist()
    [0.0, 0.75, 1.25]
    """
    up, down = np.maximum.accumulate, np.minimum.accumulate
    return np.asarray(steps + (up(places - steps) + down((places - steps)[::-1])[::-1]) / 2)


def trade_off(study: Study, kinds: Iterable[str], references: References, distance: str) -> Drawn:
    """Copies across, a Frechet distance upwards; of every training one mark.

    kinds : of `SERIES`; the first training of each has its name beside it.
    """
    marks, unnamed = list[Mark](), {*kinds}
    for (kind, _), one in study.judged.items():
        marks.append((_short(kind) if kind in unnamed else None, one, SERIES[kind]))
        unnamed.discard(kind)
    fig = _planes({"": (marks, references, [])}, distance, log=False)
    names, seeds = zip(*study.judged, strict=True)
    table = {
        "model [name]": [*names, *LINES],
        "training seed [index]": [*seeds, *[""] * len(LINES)],
    }
    lines = columns(
        "distance", "feature units squared", [references[of][distance] for of, _ in LINES.values()]
    )
    for heading, column in plane(study.judged.values(), distance).items():
        table[heading] = [*column, *lines.get(heading, [np.nan] * len(LINES))]
    return fig, table


def fronts(sweeps: Sequence[Swept], distance: str) -> Drawn:
    """The same of several sweeps above one another, first trainings, with the front of each."""
    panels, rows = {}, list[tuple[str, str, Judged]]()
    for one in sweeps:
        kinds = one.study.first
        marks = [(_short(kind), judged, swept_look(kind)) for kind, judged in kinds.items()]
        panels[one.name] = marks, one.references, [kinds[kind] for kind in one.front(distance)]
        rows += [(one.name, kind, judged) for kind, judged in kinds.items()]
    of, model, judged = zip(*rows, strict=True)
    table = {"data set [name]": of, "model [name]": model}
    return _planes(panels, distance, log=True), table | plane(judged, distance)


def swept_look(kind: str) -> Look:
    """How a kind of a sweep is marked; the paper's gaps alike, since their names stand by them."""
    own = "copy gap" if kind.startswith("copy window,") else kind
    return {**SERIES, **SWEPT}.get(own, SERIES["paper gap"])


def _short(name: str) -> str:
    """What a gap is called, in few letters.

    >>> _short("paper's 0.34 to 1.6"), _short("copy window, 10% kept")
    ('paper 0.34–1.6', 'copy window, 10%')
    """
    return name.replace("paper's ", "paper ").replace(" to ", "–").removesuffix(" kept")


def sheet(study: Study, labels: Mapping[str, str], n: int, train: np.ndarray) -> Drawn:
    """The first n samples of the first training of each kind, copies marked: kind -> label.

    Above them the training images (N, C, H, W) nearest to those of the first kind.
    """
    first = study.first
    shown = {kind: first[kind].pictures[:n] for kind in labels}
    nearest = train[neighbours(next(iter(shown.values())), train).index]
    rows = [*zip(labels.values(), shown.values(), strict=True)]
    rows.insert(0, ("nearest to\nthe row below", nearest))
    framed = [None, *(first[kind].passed[:n] for kind in labels)]
    fig = image_grid(rows, [str(i) for i in range(n)], framed)
    named = [(f"nearest to {next(iter(labels))}", nearest), *shown.items()]
    return fig, pixel_table(np.arange(n), named, "initial noise [index]")


def gaps(sources: Mapping[str, Source], zones: Sequence[Window], marked: str) -> Figure:
    """Of each source its curves, and below them the gaps tried there, coloured by copies.

    Parameters
    ----------
    sources : title -> its gaps, and its curves by the names of `CURVES`.
    zones : of each source, shaded.
    marked : the source whose curves were read off, and so are marks.
    """
    heights = [max(1.5, 0.21 * len(tried)) for tried, _ in sources.values()]
    ratios = [h for height in heights for h in (1.2, height)]
    size = (COLUMN, 2.1 * len(sources) + sum(heights))
    fig, axes = plt.subplots(2 * len(sources), 1, figsize=size, height_ratios=ratios)
    places = zip(sources.items(), zones, axes[::2], axes[1::2], strict=True)
    for (title, (tried, curves)), zone, ax, below in places:
        lowest = min(window.low for _, window, _ in tried if window)
        ends = min(0.05, lowest / 1.5), max(10.0, 2 * zone.high)
        own = {series: curves[name] for name, series in CURVES.items()}
        if title == marked:
            for name, curve in own.items():
                ax.plot(curve.sigma, curve.mean, **style(SERIES[name], ls="", ms=3.5))
        else:
            plot_series(ax, own, marker="")
        _gap_bars(below, tried, ends)
        for panel in (ax, below):
            panel.axvspan(zone.low, zone.high, color="0.9", lw=0, zorder=0)
        ax.set(title=title, xlim=ends)
        sigma_axis(ax)
        ax.set_xlabel("")
    below_all: dict[str, Any] = dict(location="bottom", aspect=40, pad=0.02)
    bar = fig.colorbar(ScalarMappable(cmap=SHADES), ax=[*axes], **below_all)
    bar.set_ticks([0, 0.5, 1])
    bar.set_label("share of memorized samples")
    name_curves(axes[0])
    return fig


def sweeps(found: Sequence[Swept], paper: Mapping[str, PaperGap], curves: Digitized) -> Drawn:
    """`gaps` of several sweeps, and the paper's own below: its gaps, and its curves read off."""
    read_off = {
        name: Curve.from_table(curves["sigma"], curves[column])
        for name, column in (("coverage", "coverage"), ("concentration", "max_weight"))
    }
    tried = [(name, one.window, one.memorized) for name, one in paper.items()]
    sources: dict[str, Source] = {one.name: (one.marks(), one.curves) for one in found}
    sources |= {CELEBA: (tried, read_off)}
    zones = [*(one.reach.zone for one in found), Window(*CELEBA_ZONE)]
    studies = {one.name: one.study for one in found}
    return gaps(sources, zones, CELEBA), gaps_table(sources, CELEBA, studies)


def gaps_table(
    sources: Mapping[str, Source], marked: str, studies: Mapping[str, Study]
) -> dict[str, list[Any]]:
    """What `gaps` plots, and of each source's study also the further trainings."""

    def of_curves(title: str) -> list[tuple[Any, ...]]:
        return [
            (title, name, level, level, *numbers)
            for name, c in sources[title][1].items()
            for level, *numbers in zip(c.sigma, c.mean, c.low, c.high, strict=True)
        ]

    rows: list[tuple[Any, ...]] = []
    for title, (tried, _) in sources.items():
        rows += of_curves(title) if title != marked else []
        for name, gap, share in tried:
            ends = (gap.low, gap.high) if gap else (np.nan, np.nan)
            rows.append((title, f"memorized, {name}", *ends, *share.numbers))
    for title, study in studies.items():
        first = min(seed for _, seed in study.judged)
        rows += [
            (title, f"memorized, {kind}, seed {seed}", np.nan, np.nan, *one.copies.numbers)
            for (kind, seed), one in study.judged.items()
            if seed != first
        ]
    headings = ["source [name]", "quantity [name]", "sigma, low [data units]"]
    headings += ["sigma, high [data units]", "value [fraction]"]
    headings += ["low [fraction, 95% interval]", "high [fraction, 95% interval]"]
    return from_rows(headings, rows + of_curves(marked))


def _gap_bars(ax: Axes, bars: Bars, ends: tuple[float, float]) -> None:
    """Gaps over the noise levels, from above; without one, a thin line from end to end."""
    note: dict[str, Any] = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
    for place, (_, window, share) in enumerate(bars):
        low, high = (window.low, window.high) if window else ends
        height, color = 0.7 if window else 0.12, SHADES(share.value)
        ax.barh(place, high - low, left=low, height=height, color=color, zorder=2)
        text = f"{share.value:.0%}"
        ax.annotate(
            text, (min(high, ends[1]), place), fontsize=SMALL_TEXT, annotation_clip=False, **note
        )
    ax.set_yticks(range(len(bars)), [_short(name) for name, *_ in bars])
    ax.invert_yaxis()
    ax.set_xlim(ends)
    sigma_axis(ax, probability=False)


def _course(ax: Axes, x: Sequence[float], found: Sequence[Interval], **style: Any) -> None:
    """Estimates over the course of something: a line with the band of their intervals."""
    value, low, high = np.transpose([one.numbers for one in found])
    (line,) = ax.plot(x, value, **style)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, lw=0)


def _distance_axis(ax: Axes, name: str, references: References, *, beside: bool = False) -> None:
    """An axis of a distance upwards, with the lines that it is read against.

    beside : their names are written at their beginnings, else left to a legend.
    """
    for label, (of, dash) in LINES.items():
        value = references[of][name].value
        ax.axhline(value, color="0.4", ls=dash, label=None if beside else label)
        if beside:
            at: dict[str, Any] = dict(transform=ax.get_yaxis_transform(), va="bottom")
            ax.text(0.01, value, label, color="0.3", fontsize=SMALL_TEXT, **at)
    label = name if name == "sliced Wasserstein" else f"Frechet distance,\n{name}"
    ax.set_ylabel(label)
