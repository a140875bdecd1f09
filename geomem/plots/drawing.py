"""The few kinds of picture that the notebooks draw: curves, regimes, strips of images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Annulus, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from geomem.geometry.curve import Band, Curve
from geomem.geometry.intervals import Estimate, Fraction, bars
from geomem.geometry.regimes import Geometry, Regimes
from geomem.memorization.remedies import Ratio
from geomem.memorization.swaps import PAPER_TABLE, SwapTable

SIGMA_LABEL = r"noise level $\sigma$ (data units)"
TOUCHES = 1.0  # pixels that a text may reach over another, or beyond the canvas, unseen
MEMORIZED = "#cc0000"  # the frame of a memorized image; red as in the paper's Figure 10


def sigma_axis(ax: Axes, *, probability: bool = True) -> None:
    """A logarithmic noise axis with plain numbers, and a probability axis from 0 to 1."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(SIGMA_LABEL)
    if probability:
        ax.set_ylim(-0.03, 1.03)


def noise_curves(
    curves: Mapping[str, Band],
    styles: Sequence[Mapping[str, Any]],
    ylabel: str,
    *,
    zone: tuple[float, float] | None = None,
    height: float = 3.6,
    columns: int = 2,
) -> tuple[Figure, Axes]:
    """Curves with their bands against the noise level, and a legend below.

    Parameters
    ----------
    curves : label -> the curve.
    styles : of each curve, as matplotlib's ``plot`` takes it.
    zone : the danger zone, shaded, where there is one.
    height : of the figure, inches.
    columns : of the legend.
    """
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(4.8, height))
    for (name, curve), style in zip(curves.items(), styles, strict=True):
        curve.plot(ax, name, **style)
    if zone is not None:
        ax.axvspan(*zone, color="0.9", lw=0, zorder=0)
    sigma_axis(ax, probability=False)
    ax.set_ylabel(ylabel)
    fig.legend(loc="outside lower center", ncol=columns, columnspacing=1, handlelength=1.7)
    return fig, ax


def named_band(ax: Axes, name: str, band: tuple[float, float], y: float, **style: Any) -> None:
    """A vertical band with its name above it, at the height ``y`` of the data axis."""
    ax.axvspan(*band, lw=0, zorder=0, **style)
    ax.text(np.sqrt(band[0] * band[1]), y, name, ha="center", va="bottom", fontsize=9)


def magnified_rates(
    rates: Mapping[str, Curve], styles: Sequence[Mapping[str, Any]], zoomed: Sequence[str]
) -> tuple[Figure, Axes]:
    """Memorization rates against the noise level, and below some of them magnified.

    Parameters
    ----------
    rates : label -> the rate.
    styles : of each, as matplotlib's ``plot`` takes it.
    zoomed : the labels of those below; the axis there ends above the first one's interval.
    """
    from matplotlib import pyplot as plt

    fig, (ax, zoom) = plt.subplots(2, 1, figsize=(4.8, 5.2), sharex=True, height_ratios=(3, 2))
    for (name, rate), style in zip(rates.items(), styles, strict=True):
        rate.plot(ax, name, **style)
        if name in zoomed:
            rate.plot(zoom, None, **style)
    sigma_axis(ax)
    sigma_axis(zoom, probability=False)
    first = rates[zoomed[0]]
    ax.set(xlabel="", ylabel="memorization rate")
    zoom.set(ylabel="magnified", ylim=np.array([-0.03, 1.15]) * first.high[first.peak])
    fig.legend(loc="outside lower center", ncol=2)
    return fig, ax


def marks_and_curves(
    sigma: np.ndarray, marks: Mapping[str, np.ndarray], ours: Mapping[str, Band]
) -> tuple[Figure, dict[str, Any]]:
    """Rates read off the paper as marks, and our own at the same levels as lines; with the table.

    Parameters
    ----------
    sigma : (S,) the levels of both, data units.
    marks : label -> (S,) what was read off; at most three.
    ours : label -> the curve; one takes the colour of the marks whose label begins as its own.
    """
    from matplotlib import pyplot as plt

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


def threshold_curves(
    thresholds: np.ndarray,
    shares: Mapping[str, Sequence[Estimate | Fraction]],
    colors: Sequence[str],
) -> tuple[Figure, dict[str, Any]]:
    """Shares that pass the ratio test against its threshold, 1/3 and 1/2 marked; with the table.

    Parameters
    ----------
    thresholds : (T,) in (0, 1].
    shares : label -> T estimates.
    colors : of each.
    """
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(4.8, 3.6))
    table: dict[str, Any] = {"threshold [ratio]": thresholds}
    for (name, share), color in zip(shares.items(), colors, strict=True):
        mean, low, high = np.transpose([(e.value, e.low, e.high) for e in share])
        ax.plot(thresholds, mean, color=color, label=name)
        ax.fill_between(thresholds, low, high, color=color, alpha=0.25, lw=0)
        table[f"{name}, share [fraction]"] = mean
        table[f"{name}, low [fraction, 95%]"] = low
        table[f"{name}, high [fraction, 95%]"] = high
    for value, label in ((1 / 3, "1/3"), (1 / 2, "1/2")):
        ax.axvline(value, color="k", lw=0.8, ls=":")
        ax.text(value, 1.02, label, ha="center", va="bottom", transform=ax.get_xaxis_transform())
    ax.set(xlabel="threshold $t$ of the ratio test", ylabel="share that passes", ylim=(-0.02, 1.02))
    fig.legend(loc="outside lower center")
    return fig, table


def noise_table(curves: Mapping[str, Band], unit: str, name: str = "") -> dict[str, Any]:
    """The table of curves on one grid of noise levels, under a quantity's name and their labels."""
    table: dict[str, Any] = {"sigma [data units]": next(iter(curves.values())).sigma}
    for label, curve in curves.items():
        table |= curve.table(f"{name}, {label}" if name else label, unit)
    return table


def zone_and_rate(
    geometry: Geometry, rate: Curve, xlim: tuple[float, float]
) -> tuple[Figure, dict[str, Any]]:
    """The regimes, both curves they come from, and a memorization rate on its own axis (right).

    Returns the figure and its table, one row a curve and level.
    """
    from matplotlib import pyplot as plt

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


def plot_paper(ax: Axes, sigma: np.ndarray, values: np.ndarray, label: str) -> None:
    """Values read off a figure of the paper: marks, never a curve."""
    ax.plot(sigma, values, "kx", ms=6, mew=1.4, label=label, zorder=5)


def shade_regimes(ax: Axes, regimes: Regimes) -> None:
    """The three regimes as named bands, the danger zone darker, the crossing as a dotted line."""
    bands: list[tuple[str, tuple[float, float] | None, str]] = [
        ("small", regimes.small, "0.96"),
        ("medium:\ndanger zone", regimes.medium, "0.85"),
        ("large", regimes.large, "0.96"),
    ]
    for name, band, shade in bands:
        if band is not None:
            ax.axvspan(*band, color=shade, lw=0, zorder=0)
            middle = np.sqrt(band[0] * band[1])
            ax.text(middle, 1.04, name, ha="center", va="bottom", fontsize=9)
    if np.isfinite(regimes.crossing.value):
        ax.axvline(regimes.crossing.value, color="k", ls=":", lw=1)
    ax.set_xlim(regimes.sigma_min, regimes.sigma_max)


def long_table(rows: Iterable[Sequence[Any]], *headings: str) -> dict[str, list[Any]]:
    """Rows under headings, as columns: what a figure of several kinds of curve plots."""
    return dict(zip(headings, map(list, zip(*rows, strict=True)), strict=True))


def share_curves(
    regimes: Regimes,
    curves: Mapping[str, Curve],
    looks: Sequence[tuple[str, str]],
    label: str,
) -> Figure:
    """Shares of several groups against the noise level, over the regimes, the legend below.

    curves : a share of each group, under its name.
    looks : colour and line style of each, in order.
    label : what the shares are of.
    """
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(4.8, 4.1))
    shade_regimes(ax, regimes)
    for (name, curve), (color, line) in zip(curves.items(), looks, strict=False):
        curve.plot(ax, name, color=color, ls=line)
    sigma_axis(ax)
    ax.set(ylabel=label, xlim=(0.01, 20))
    fig.legend(loc="outside lower center", ncol=2)
    return fig


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
    from matplotlib import pyplot as plt

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


def error_ratios(
    ratios: Mapping[str, Ratio], looks: Sequence[tuple[str, str, str]], ylabel: str
) -> Figure:
    """Ratios of two errors against the noise level on a logarithmic axis, 1 as a line.

    looks : colour, marker and line style of each.
    """
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots(figsize=(4.8, 3.9))
    for (label, ratio), (color, marker, line) in zip(ratios.items(), looks, strict=True):
        ratio.plot(ax, label, color=color, marker=marker, ls=line, ms=4)
    ax.axhline(1, color="k", lw=1, ls="-", zorder=1)
    sigma_axis(ax, probability=False)
    ax.set(yscale="log", ylabel=ylabel)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")
    fig.legend(loc="outside lower center", ncol=2)
    return fig


def image_grid(
    rows: Sequence[tuple[str, np.ndarray]],
    columns: Sequence[str],
    framed: Sequence[np.ndarray | None] | None = None,
) -> Figure:
    """Rows of images, (n, C, H, W) in [-1, 1] and clipped to it, under column titles.

    framed : for each row the (n,) booleans of the images with a red frame, the memorized
        ones, or None.
    """
    from matplotlib import pyplot as plt

    n, (height, width) = len(columns), rows[0][1].shape[-2:]
    fig, ax = plt.subplots(figsize=(4.8, 0.35 + 4.8 / n * 0.92 * len(rows)))  # one: many are slow
    frames = [None] * len(rows) if framed is None else framed
    for y, ((_, images), red) in enumerate(zip(rows, frames, strict=True)):
        marked = np.zeros(n, bool) if red is None else red
        for x, (image, memorized) in enumerate(zip(images, marked, strict=True)):
            pixels = np.clip((image + 1) / 2, 0, 1)
            pixels = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
            ax.imshow(pixels, vmin=0, vmax=1, extent=(x - 0.43, x + 0.43, y + 0.43, y - 0.43))
            if memorized:
                frame = Rectangle((x - 0.43, y - 0.43), 0.86, 0.86, fill=False)
                frame.set(edgecolor=MEMORIZED, linewidth=3)
                ax.add_patch(frame)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(len(rows) - 0.5, -0.5), aspect=height / width)
    ax.set_xticks(range(n), columns)
    ax.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8.5)
    ax.tick_params(length=0, top=True, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    return fig


def pixel_table(
    columns: np.ndarray,
    rows: Sequence[tuple[str, np.ndarray]],
    header: str = "sigma [data units]",
) -> dict[str, Any]:
    """The pixels of an `image_grid` as a table: one line per image and pixel.

    columns : (n,) what tells the columns apart, under ``header``.
    """
    lines = [
        (column.item(), name, *map(int, index), float(value))
        for name, images in rows
        for column, image in zip(columns, images, strict=True)
        for index, value in np.ndenumerate(image)
    ]
    headers = [header, "image [name]", "channel [index]", "row [index]"]
    return from_rows([*headers, "column [index]", "pixel value [data units]"], lines)


def from_rows(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A table of columns from its rows, one entry a header each.

    >>> from_rows(["a", "b"], [(1, 2), (3, 4)])
    {'a': (1, 3), 'b': (2, 4)}
    """
    return dict(zip(headers, zip(*rows, strict=True), strict=True))


def plane(ax: Axes, half: float) -> None:
    """A square of the plane around the origin, to its ``half`` side, framed and without ticks."""
    ends = (-half, half)
    ax.set(xlim=ends, ylim=ends, aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.grid(False)


def rings(ax: Axes, points: np.ndarray, inner: float, outer: float, **style: Any) -> None:
    """The shells of (N, 2) points of the plane."""
    for x, y in points:
        ax.add_patch(Annulus((x, y), outer, outer - inner, **style))


def arrows(ax: Axes, places: np.ndarray, field: np.ndarray, *, longest: float) -> None:
    """A field on (N, 2) places of the plane: arrows cut to a longest one, dots where it is 0."""
    length = np.linalg.norm(field, axis=1)
    moved = length > 0
    cut = field[moved] * np.minimum(1, longest / length[moved])[:, None]
    ax.quiver(*places[moved].T, *cut.T, angles="xy", scale_units="xy", scale=1, width=0.008)
    ax.plot(*places[~moved].T, "k.", ms=1.2)


def filled_up(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of unequal lengths as a table: the shorter ones end in NaN.

    >>> filled_up({"a": np.arange(2), "b": np.array([0.5])})["b"].tolist()
    [0.5, nan]
    """
    most = max(map(len, columns.values()))
    return {
        heading: np.append(column, np.full(most - len(column), np.nan))
        if len(column) < most
        else column
        for heading, column in columns.items()
    }


def misplaced(fig: Figure) -> list[str]:
    """The texts of a figure that are cut off by its canvas, or that lie over one another.

    It draws the figure, which settles the layout. A text counts as the upright rectangle around
    it, so one that is turned by anything but quarters takes up more room than its letters do.

    >>> from matplotlib.figure import Figure
    >>> fig = Figure()
    >>> _ = fig.text(0.5, 0.5, "peak"), fig.text(0.5, 0.5, "hump"), fig.text(0.99, 0.9, "zone")
    >>> misplaced(fig)
    ["'zone' is cut off", "'peak' lies over 'hump'"]
    """
    fig.draw_without_rendering()
    placed = [(text, Text.get_window_extent(text)) for text in _texts(fig)]
    placed = [(text, box) for text, box in placed if np.isfinite(box.extents).all()]
    left, bottom, right, top = fig.bbox.padded(TOUCHES).extents
    found = [
        f"{text.get_text()!r} is cut off"
        for text, box in placed
        if box.x0 < left or box.y0 < bottom or box.x1 > right or box.y1 > top
    ]
    for (one, a), (other, b) in combinations(placed, 2):
        wide, high = np.minimum(a.max, b.max) - np.maximum(a.min, b.min)
        # Twin axes may write the same tick label twice in one place: that reads as one.
        same = one.get_text() == other.get_text() and np.allclose(a.extents, b.extents, atol=0.5)
        if min(wide, high) > TOUCHES and not same:
            found.append(f"{one.get_text()!r} lies over {other.get_text()!r}")
    return found


def _texts(artist: Artist) -> Iterator[Text]:
    """The texts below an artist that are drawn and not empty."""
    if not artist.get_visible():
        return
    children = artist.get_children()
    if isinstance(artist, Axis):  # it keeps labels of ticks beyond its ends, and does not draw them
        low, high = sorted(artist.get_view_interval())
        edge = 1e-9 * (high - low)
        ticks = [*artist.get_major_ticks(), *artist.get_minor_ticks()]
        drawn = [tick for tick in ticks if low - edge <= tick.get_loc() <= high + edge]
        children = [artist.label, artist.offsetText, *drawn]
    if isinstance(artist, Axes) and not artist.axison:
        children = [child for child in children if not isinstance(child, Axis)]
    if isinstance(artist, Text) and artist.get_text().strip():
        yield artist
    for child in children:
        yield from _texts(child)
