"""Names of curves: beside them, where there is room, since a legend makes the eye go to and fro."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from geomem.plots.files import lay_out

# Points, in a figure as wide as a column: the smallest letters of all. In half a column they have
# 4.8, and an x of DejaVu Sans (0.547 of it) is as tall as one of Helvetica (0.523) of 5 points.
SMALL_TEXT = 9.6


def name_curves(ax: Axes, columns: int = 2) -> None:
    """Name the curves of an axes beside them or, without room for that, in a legend below all axes.

    The last thing to be drawn. columns : of the legend, at most.
    """
    fig = ax.figure
    assert isinstance(fig, Figure)
    if not named_beside(ax):
        legend_below(fig, *ax.get_legend_handles_labels(), columns=columns)


def named_beside(ax: Axes, most: int = 4) -> bool:
    """Write the names of curves beside them, in their colours, if there is room for all of them.

    Where some have none, or for more than ``most``, nothing is written: a legend tells more. A name
    is put where it is far from every other curve, and its own does not run through it.
    """
    handles, names = ax.get_legend_handles_labels()
    drawn = [getattr(handle, "lines", [handle])[0] for handle in handles]  # bars have a line, too
    lines = dict(zip(drawn, names, strict=True))
    if len(names) > most or not all(isinstance(line, Line2D) for line in lines):
        return False
    fig = ax.figure
    assert isinstance(fig, Figure)
    lay_out(fig)  # now it is known where everything lies
    paths = {line: _path(line) for line in ax.get_lines()}
    written: list[Text] = []
    for line, name in lines.items():
        ink = 0.75 * np.array(to_rgb(line.get_color()))  # letters need more contrast than lines
        look: dict[str, Any] = dict(ha="center", va="center", fontsize=SMALL_TEXT)
        text = ax.text(0.5, 0.5, name, color=tuple(ink), transform=ax.transAxes, **look)
        others = [_bars(ax), *(path for other, path in paths.items() if other is not line)]
        place = _room(ax, text, paths[line], np.concatenate(others), written)
        written.append(text)
        if place is None:
            for one in written:
                one.remove()
            return False
        x, y = ax.transAxes.inverted().transform(place)
        text.set_position((x, y))
    return True


def legend_below(fig: Figure, *entries: Any, columns: int = 2) -> None:
    """A legend below the axes in as many columns as there is room for; the figure grows by it.

    Parameters
    ----------
    entries : handles and names; none: those of all axes.
    columns : at most.
    """
    for n in range(columns, 0, -1):
        look: dict[str, Any] = dict(ncol=n, columnspacing=1, handlelength=1.7, handletextpad=0.5)
        legend = fig.legend(*entries, loc="outside lower center", **look)
        box = legend.get_window_extent()
        if n == 1 or box.width <= fig.bbox.width:
            break
        legend.remove()
    fig.set_figheight(fig.get_figheight() + box.height / fig.dpi)


def _bars(ax: Axes) -> np.ndarray:
    """Places (n, 2) along the error bars of an axes, pixels: no name is written over them."""
    bars = [some for some in ax.collections if isinstance(some, LineCollection)]
    ends = np.reshape([end for some in bars for end in some.get_segments()], (-1, 2, 2))
    places = ax.transData.transform(np.linspace(ends[:, 0], ends[:, 1], 9).reshape(-1, 2))
    return np.asarray(places[np.isfinite(places).all(1)])


def _path(line: Line2D, step: float = 4.0) -> np.ndarray:
    """Places (n, 2) along a line of an axes, pixels, ``step`` apart, those beyond it left out."""
    corners = line.get_transform().transform(np.asarray(line.get_xydata(), float))
    corners = corners[np.isfinite(corners).all(1)]
    assert line.axes is not None
    box = line.axes.bbox
    corners = np.clip(corners, np.subtract(box.min, 1e3), np.add(box.max, 1e3))
    if not len(corners):
        return corners
    along = np.append(0, np.hypot(*np.diff(corners, axis=0).T).cumsum())
    at = np.arange(0, along[-1] + step, step)
    places = np.stack([np.interp(at, along, part) for part in corners.T], 1)
    return places[((places >= box.min) & (places <= box.max)).all(1)]


def _room(
    ax: Axes, text: Text, own: np.ndarray, others: np.ndarray, written: Sequence[Text]
) -> np.ndarray | None:
    """The middle of the place beside a curve that has the most room for a text, pixels."""
    box = text.get_window_extent()
    half = np.array([box.width, box.height]) / 2
    around = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    shifts = np.array(around) * (half + 7)
    middles = (own[:, None] + shifts).reshape(-1, 2)
    low, high = np.asarray(ax.bbox.min) + 4, np.asarray(ax.bbox.max)
    inside = (middles - half >= low) & (middles + half <= high)
    middles = middles[inside.all(1)]

    def away(places: np.ndarray, around: np.ndarray | int) -> np.ndarray:
        """How far the nearest of some places is from a box around each middle."""
        if not len(places):
            return np.full(len(middles), np.inf)
        beyond = np.maximum(np.abs(middles[:, None] - places) - around, 0)
        return np.asarray(np.hypot(*beyond.transpose(2, 0, 1)).min(1))

    room = np.minimum(away(others, half), 4 * half[1])
    for one in written:
        there = one.get_window_extent()
        size, middle = np.array([there.width, there.height]) / 2, np.mean(there.get_points(), 0)
        room = np.minimum(room, away(middle[None], half + size))
    near = away(own, half)
    strange = away(others, 0) <= away(own, 0)  # from its middle: it would be read as another's name
    room[(near < 4) | (room < near + 3) | strange] = -1
    return middles[room.argmax()] if len(room) and room.max() > 0 else None
