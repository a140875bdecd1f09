"""The few kinds of picture that the notebooks draw: curves, regimes, strips of images."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from geomem.geometry.curve import Band
from geomem.geometry.regimes import Regimes
from geomem.plots.beside import SMALL_TEXT, name_curves
from geomem.plots.files import COLUMN, lay_out

SIGMA_LABEL = r"noise level $\sigma$ (data units)"
TOUCHES = 1.0  # pixels that a text may reach over another, or beyond the canvas, unseen
HEIGHT = 9.0  # inches of a page's column
LINE = 12.5  # points from one line of a name to the next
LEAST_IMAGES = 0.75  # of the width of a grid, else names stand above their rows
ABOVE = 36  # letters of such a name in a line
Drawn = tuple[Figure, dict[str, Any]]  # a figure, and what it plots as a table
Look = tuple[Any, str, Any]  # colour, marker and line, "" for none
LOOKS: Sequence[Look] = (("C0", "o", "-"), ("C1", "s", "--"), ("C2", "^", "-."), ("C3", "D", ":"))
# What many pictures draw looks the same in all of them. Of those that meet in one picture no two
# have one marker and one dash, or else one is much darker; nor do colour-blind readers need the
# markers (tests/test_looks.py).
SERIES: Mapping[str, Look] = {
    # denoisers
    "small": ("#d55e00", "o", "-"),
    "large": ("#0072b2", "s", "--"),
    "empirical": ("#000000", "x", ":"),
    "Gaussian": ("#808080", "D", "-."),
    # the geometry
    "C_sigma": ("#00573f", "^", "-"),
    "W_sigma": ("#b0307a", "v", "-."),
    "W_sigma, held-out": ("#b0307a", "", ":"),
    "overlap": ("#4499cc", "P", "--"),
    # remedies, of the small model
    "plain": ("#d55e00", "o", "-"),
    "stopped": ("#000000", "X", (0, (3, 1, 1, 1, 1, 1))),
    "fixed stop": ("#707070", "P", (0, (1, 1.5))),
    "zone gap": ("#cc5f9e", "D", "-."),
    "paper gap": ("#c08a1a", "p", (0, (8, 1, 1, 1))),
    "copy gap": ("#1b5e20", "v", (0, (5, 1))),
    "copy gap, none kept": ("#1b5e20", "d", (0, (1, 1))),
    "dummy": ("#4499cc", "^", ":"),
    "stopped inside": ("#404040", "*", (0, (5, 3))),
    "swapped": ("#0f6f8f", "h", (0, (5, 2))),
}
NAMES = {  # how quantities are written in a picture
    "C_sigma": r"coverage $C_\sigma$",
    "W_sigma": r"weight $W_\sigma$",
    "W_sigma, held-out": r"$W_\sigma$, held-out",
    "overlap": "coverage by overlap",
}
MEMORIZED = "#cc0000"  # the sign of a memorized image; red as in the paper's Figure 10
FEW_SAMPLES = 20  # below which a curve says how many, and its wide band is faint
SHARES = {0: "0", 0.01: "1%", 0.1: "10%", 1: "100%"}  # the ticks of an axis of shares


def sigma_axis(ax: Axes, *, probability: bool = True) -> None:
    """A logarithmic noise axis with plain numbers, and a probability axis from 0 to 1."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    subs = (1.0,) if high / low > 100 else (1.0, 2.0, 5.0)
    ax.xaxis.set_major_locator(LogLocator(subs=subs, numticks=9))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(SIGMA_LABEL)
    if probability:
        ax.set_ylim(-0.03, 1.03)


class FewTicks(LogLocator):
    """Ticks at powers of ten, and on up to two decades at 2 and 5 times these.

    Where fewer than three of them are seen, they are at even steps.
    """

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        low, high = sorted((vmin, vmax))
        self.set_params(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0))
        ticks = np.asarray(super().tick_values(low, high))
        if high < 10 * low and ((low <= ticks) & (ticks <= high)).sum() < 3:
            ticks = np.asarray(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high))
        return ticks[ticks > 0].tolist()


def log_axis(ax: Axes, which: str = "y") -> None:
    """A logarithmic axis, "x" or "y", with plain numbers, however short it is."""
    scale, axis = (ax.set_yscale, ax.yaxis) if which == "y" else (ax.set_xscale, ax.xaxis)
    scale("log")
    axis.set_major_locator(FewTicks())
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter("")


def share_axis(ax: Axes, which: str = "y") -> None:
    """An axis from 0 to 1, "x" or "y", that tells 0 from little: linear to 1%, then logarithmic."""
    scale, axis = (ax.set_yscale, ax.yaxis) if which == "y" else (ax.set_xscale, ax.xaxis)
    scale("symlog", linthresh=0.01, linscale=0.5)
    axis.set_ticks([*SHARES], [*SHARES.values()])
    axis.set_ticks([k * 10.0**n for n in (-2, -1) for k in range(2, 10)], minor=True)
    ax.set(**{f"{which}lim": (-0.001, 1.15)})


def style(look: Look, **changes: Any) -> dict[str, Any]:
    """A look as keywords of matplotlib's ``plot``, and others that change or add to it.

    >>> style(SERIES["small"], ls=":", ms=4)
    {'color': '#d55e00', 'marker': 'o', 'ls': ':', 'ms': 4}
    """
    return dict(zip(("color", "marker", "ls"), look, strict=True)) | changes


def shades(name: str, n: int, first: float = 0.35) -> list[Look]:
    """Looks of ``n`` curves in the order of one of matplotlib's colour maps, from light to dark."""
    return [(shade, "", "-") for shade in colormaps[name](np.linspace(first, 0.95, n))]


def looks_of(names: Iterable[str], others: Sequence[Look] = LOOKS) -> dict[str, Look]:
    """The look of each name: that of `SERIES`, or else the next of the others.

    Raises
    ------
    ValueError : too few others.
    """
    unknown = [name for name in names if name not in SERIES]
    if len(unknown) > len(others):
        raise ValueError(f"{len(unknown)} curves need as many looks, got {len(others)}.")
    return {**SERIES, **dict(zip(unknown, others, strict=False))}


def plot_series(ax: Axes, curves: Mapping[str, Band], **changes: Any) -> None:
    """Draw curves into axes, each as `SERIES` has it, with ``changes`` as of `style`."""
    for name, curve in curves.items():
        curve.plot(ax, NAMES.get(name, name), **style(SERIES[name], **changes))


def noise_curves(
    curves: Mapping[str, Band],
    ylabel: str,
    looks: Sequence[Look] = LOOKS,
    *,
    unit: str = "probability",
    name: str = "",
    regimes: Regimes | None = None,
    zone: tuple[float, float] | None = None,
    marks: Mapping[str, Sequence[np.ndarray]] | None = None,
    across: Mapping[str, float] | None = None,
    down: Mapping[str, float] | None = None,
    axis: str = "probability",
    difference: tuple[str, Band] | None = None,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    height: float = 2.6,
    columns: int = 2,
    every: int = 1,
) -> Drawn:
    """Curves with their bands against the noise level, named beside them or in a legend below.

    Of fewer than `FEW_SAMPLES` the band is faint, and their number follows the label.

    Parameters
    ----------
    curves : label, or a quantity of `NAMES` -> the curve.
    ylabel : of the other axis.
    looks : colour, marker and line, "" for none, of each that `SERIES` does not name, in order.
    unit, name : of the quantity, for the table, as of `noise_table`.
    regimes, zone : the three regimes, or the danger zone alone, shaded, where there is one.
    marks : quantity -> levels and values read off a figure of the paper, and half the length of
        their bars, if any: marks, never a curve.
    across, down : label -> where a line crosses the axes, at a value and at a noise level.
    axis : the other one goes from 0 to 1 for a "probability"; so for a "share", and tells 0 from
        little (`share_axis`); it is logarithmic, "log", and with a line at 1 for a "ratio"; or
        "plain".
    difference : what is drawn below, and how it is called: of curves too close for the eye.
    xlim, ylim : what is shown of the axes, if not all.
    height : of the figure without a legend, inches.
    columns : of the legend, at most.
    every : how many levels there are to a mark.
    """
    from matplotlib import pyplot as plt

    known = looks_of(curves, looks)
    below = 0 if difference is None else 1.1  # inches
    fig, axes = plt.subplots(
        1 + bool(below), 1, figsize=(COLUMN, height + below), sharex=True, squeeze=False,
        height_ratios=[height, below][: 1 + bool(below)],
    )  # fmt: skip
    ax: Axes = axes[0, 0]
    if regimes is not None:
        shade_regimes(ax, regimes)
    if zone is not None:
        ax.axvspan(*zone, color="0.9", lw=0, zorder=0)
    for key, curve in curves.items():
        n, label = getattr(curve, "n", 0), NAMES.get(key, key)  # 0: read off, or of no number
        few = 0 < n < FEW_SAMPLES
        look = style(known[key], ms=4, markevery=every)
        curve.plot(ax, f"{label} ({n})" if few else label, **look)
        if few:
            ax.collections[-1].set(alpha=0.07)  # it would hide the others
    for levels, values, *half in (marks or {}).values():
        look = dict(fmt="kx", ms=6, mew=1.4, capsize=2, zorder=5)
        ends = half[0] if half else None
        ax.errorbar(levels, values, ends, label="paper, read off", **look)
    for label, value in (across or {}).items():
        ax.axhline(value, color="0.4", lw=1, ls=":", label=label)
    for label, level in (down or {}).items():
        ax.axvline(level, color="0.4", lw=1, ls=":", label=label)
    sigma_axis(axes[-1, 0], probability=False)
    if axis == "probability":
        ax.set_ylim(-0.03, 1.03)
    elif axis == "share":
        share_axis(ax)
    elif axis == "log":
        ax.set_yscale("log")
    elif axis == "ratio":
        ax.axhline(1, color="k", lw=1, ls="-", zorder=1)
        log_axis(ax)
    ax.set(ylabel=ylabel, xlim=xlim)
    if ylim is not None:
        ax.set_ylim(ylim)
    if difference is not None:
        label, less = difference
        axes[1, 0].axhline(0, color="k", lw=1, ls="-", zorder=1)
        less.plot(axes[1, 0], None, color="k", marker="o", ms=3, ls="-", lw=1)
        axes[1, 0].set_ylabel(label)
    name_curves(ax, columns)
    return fig, noise_table(curves, unit, name, marks)


def alone(drawn: Any) -> Drawn:
    """A figure of its own of what draws itself into axes, ``plot``, and has a ``table`` of it."""
    from matplotlib import pyplot as plt

    fig, ax = plt.subplots()
    drawn.plot(ax)
    return fig, drawn.table()


def named_band(ax: Axes, name: str, band: tuple[float, float], y: float, **style: Any) -> None:
    """A vertical band, its name at the height ``y`` of the data axis, over what shows of it."""
    ax.axvspan(*band, lw=0, zorder=0, **style)
    left, right = ax.get_xlim()
    low, high = max(left, band[0]), min(right, band[1])
    if low < high:  # a name beyond the axes would take their room
        ax.text(np.sqrt(low * high), y, name, ha="center", va="bottom", fontsize=SMALL_TEXT)


def named_line(ax: Axes, name: str, sigma: float, y: float) -> None:
    """A vertical line, its name at the height ``y`` of the data axis, where it shows."""
    ax.axvline(sigma, color="k", ls=(0, (1, 1)), lw=1.2)
    left, right = ax.get_xlim()
    if left <= sigma <= right:
        ax.text(sigma, y, name, ha="center", va="bottom")


def noise_table(
    curves: Mapping[str, Band],
    unit: str,
    name: str = "",
    marks: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> dict[str, Any]:
    """The table of curves on one grid of noise levels, under a quantity's name and their labels.

    marks : as of `noise_curves`; added as columns of their own.
    """
    table: dict[str, Any] = {"sigma [data units]": next(iter(curves.values())).sigma}
    for label, curve in curves.items():
        table |= curve.table(", ".join(filter(None, (name, label))), unit)
    for quantity, (sigma, values, *half) in (marks or {}).items():
        table["sigma read off [data units]"] = sigma
        table[f"{quantity} read off [{unit}]"] = values
        for ends in half:
            table[f"{quantity} read off, half width of the interval [{unit}, 95%]"] = ends
    return filled_up(table)


def shade_regimes(ax: Axes, regimes: Regimes, shown: tuple[float, float] | None = None) -> None:
    """The three regimes as named bands, the danger zone darker, the crossing as a dotted line.

    Each name stands over the middle of what shows of its band; that of the danger zone, which may
    be narrower than its name, above the others.

    shown : the noise levels of the axis, data units; None: those that the curves were measured at.
    """
    left, right = shown or (regimes.sigma_min, regimes.sigma_max)
    bands: list[tuple[str, tuple[float, float] | None, str, float]] = [
        ("small noise", regimes.small, "0.96", 0),
        ("medium: danger zone", regimes.medium, "0.85", 1.3 * SMALL_TEXT),
        ("large noise", regimes.large, "0.96", 0),
    ]
    look: dict[str, Any] = dict(textcoords="offset points", ha="center", va="bottom")
    for name, band, shade, above in bands:
        if band is None:
            continue
        ax.axvspan(*band, color=shade, lw=0, zorder=0)
        low, high = max(left, band[0]), min(right, band[1])
        if low < high:
            at = np.sqrt(low * high), 1.04
            ax.annotate(name, at, (0, above), annotation_clip=False, fontsize=SMALL_TEXT, **look)
    if np.isfinite(regimes.crossing.value):
        ax.axvline(regimes.crossing.value, color="k", ls=":", lw=1)
    ax.set_xlim(left, right)


def image_grid(
    rows: Sequence[tuple[str, np.ndarray]],
    columns: Sequence[str],
    framed: Sequence[np.ndarray | None] | None = None,
    xlabel: str = "",
) -> Figure:
    """Rows of images, (n, C, H, W) or fewer, in [-1, 1] and clipped to it, under column titles.

    The names of rows stand left of them or, where that would take room from the images, above. Of
    latents, whose channels are no colours, the mean of these is shown, from its least to its most.

    framed : for each row the (n,) booleans of the images with the sign of a copy, or None.
    xlabel : what the column titles are.
    """
    from matplotlib import pyplot as plt

    n, (height, width) = len(columns), rows[0][1].shape[-2:]
    names = [name for name, _ in rows]
    enough = 1 + COLUMN * len(rows) / n * height / width
    fig, ax = plt.subplots(figsize=(COLUMN, enough))  # one axes: many are slow
    ax.set(xlim=(-0.5, n - 0.5), ylim=(len(rows) - 0.5, -0.5), aspect=height / width)
    ax.set_xticks(range(n), columns)
    ax.set_yticks(range(len(rows)), names)
    ax.tick_params(length=0, top=True, labeltop=True, labelbottom=False)
    ax.set_xlabel(xlabel)
    ax.spines[:].set_visible(False)
    ax.grid(False)
    lay_out(fig)  # now it is known how wide the names are, and so the images
    above = ax.bbox.width < LEAST_IMAGES * fig.bbox.width
    if above:
        names = [fill(" ".join(name.split()), ABOVE) for name in names]
        ax.set_yticks([])
        lay_out(fig)
    if max(title.get_window_extent().width for title in ax.get_xticklabels()) > ax.bbox.width / n:
        ax.tick_params(axis="x", labelrotation=90)
    row = 72 * ax.bbox.height / fig.dpi / len(rows)  # points
    text = LINE * (1 + max(name.count("\n") for name in names)) / row
    step = 1 + text if above else max(1, text)
    places, top = step * np.arange(len(rows)), -0.5 - text * above
    if above:
        for y, name in zip(places, names, strict=True):
            ax.text(-0.43, y - 0.5, name, va="bottom")
    else:
        ax.set_yticks(places, names)
    frames = [None] * len(rows) if framed is None else framed
    for y, (_, images), red in zip(places, rows, frames, strict=True):
        marked = np.zeros(n, bool) if red is None else red[: len(images)]
        for x, (image, memorized) in enumerate(zip(images, marked, strict=False)):
            place = (x - 0.43, x + 0.43, y + 0.43, y - 0.43)
            ax.imshow(_shown(image), vmin=0, vmax=1, extent=place, aspect=height / width)
            if memorized:
                sign_of_copy(ax, x, y, 0.43)
    ax.set(xlim=(-0.5, n - 0.5), ylim=(places[-1] + 0.5, top))
    fig.set_figheight(step * enough + 1)  # and room for whatever the titles are
    for _ in range(2):  # turned titles settle the layout at the second time
        fig.set_figheight(lay_out(fig).height + 0.1)  # inches
    return fig


def _shown(image: np.ndarray) -> np.ndarray:
    """A (C, H, W) image as matplotlib takes it, grey or RGB in [0, 1].

    Of a number of channels other than 1 or 3 it is their mean, taken to [-1, 1] by its own range.
    """
    if len(image) not in (1, 3):
        mean = image.mean(0, keepdims=True)
        image = np.interp(mean, [mean.min(), mean.max()], [-1, 1])
    pixels = np.clip((image + 1) / 2, 0, 1)
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)


def sign_of_copy(ax: Axes, x: float, y: float, half: float) -> None:
    """Mark the image around a place as a copy, not by colour alone: a double frame, an ear folded.

    half : the half of its side; y runs downwards.
    """
    for width, color in ((4.2, MEMORIZED), (1.2, "w")):  # the second splits the first in two
        frame = Rectangle((x - half, y - half), 2 * half, 2 * half, fill=False)
        frame.set(edgecolor=color, linewidth=width)
        ax.add_patch(frame)
    ear = [(x + half, y - half), (x + 0.3 * half, y - half), (x + half, y - 0.3 * half)]
    ax.add_patch(Polygon(ear, facecolor=MEMORIZED, edgecolor="w", linewidth=0.8))


def strip(
    sigma: np.ndarray,
    rows: Mapping[str, np.ndarray],
    framed: Sequence[np.ndarray | None] | None = None,
    noisy: Container[str] = (),
) -> Drawn:
    """Rows of images (S, C, H, W) over the noise levels (S,), and their pixels as a table.

    framed : as of `image_grid`.
    noisy : the rows that are shown divided by max(1, sigma), which their pixels in the table are
        not.
    """
    by, titles = np.maximum(1, sigma)[:, None, None, None], [f"{level:.2g}" for level in sigma]
    shown = [(name, of / by if name in noisy else of) for name, of in rows.items()]
    return image_grid(shown, titles, framed, SIGMA_LABEL), pixel_table(sigma, [*rows.items()])


def pixel_table(
    columns: np.ndarray, rows: Sequence[tuple[str, np.ndarray]], header: str = "sigma [data units]"
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
    """What of a figure does not fit a column, or half of one: texts, and its own height.

    Texts are cut off, lie over one another, or are small in half a column.

    It draws the figure, which settles the layout. A text counts as the upright rectangle around
    it, so one that is turned by anything but quarters takes up more room than its letters do.

    >>> from matplotlib.figure import Figure
    >>> fig = Figure((3.25, 2.5))
    >>> _ = fig.text(0.5, 0.5, "peak"), fig.text(0.5, 0.5, "hump"), fig.text(0.99, 0.9, "zone")
    >>> _ = fig.text(0.1, 0.1, "small print", fontsize=6)
    >>> misplaced(fig)
    ["'zone' is cut off", "'small print' is small in half a column", "'peak' lies over 'hump'"]
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
    least = SMALL_TEXT * fig.get_figwidth() / COLUMN - 1e-6
    found += [
        f"{text.get_text()!r} is small in half a column"
        for text, _ in placed
        if float(text.get_fontsize()) < least
    ]
    for (one, a), (other, b) in combinations(placed, 2):
        wide, high = np.minimum(a.max, b.max) - np.maximum(a.min, b.min)
        # Twin axes may write the same tick label twice in one place: that reads as one.
        same = one.get_text() == other.get_text() and np.allclose(a.extents, b.extents, atol=0.5)
        if min(wide, high) > TOUCHES and not same:
            found.append(f"{one.get_text()!r} lies over {other.get_text()!r}")
    if COLUMN * fig.get_figheight() / fig.get_figwidth() > HEIGHT:
        found.append(f"it is taller than {HEIGHT:g} inches in a column")
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
