"""The few kinds of picture that the notebooks draw: curves, regimes, strips of images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from geomem.geometry.curve import Curve
from geomem.geometry.intervals import bars
from geomem.geometry.regimes import Regimes
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


def curve_table(curves: Mapping[str, Curve], unit: str) -> dict[str, np.ndarray]:
    """The table of curves on one grid: the noise levels, then each with its interval."""
    sigma = next(iter(curves.values())).sigma
    table = {"sigma [data units]": sigma}
    for name, curve in curves.items():
        table |= curve.table(name, unit)
    return table


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
    headers += ["column [index]", "pixel value [data units]"]
    return dict(zip(headers, zip(*lines, strict=True), strict=True))


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
