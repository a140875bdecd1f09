"""A figure and its table as files: equal data gives equal bytes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

COLUMN = 3.25  # inches: as wide is a column of a paper, and every figure
SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')  # of an SVG
# An image in it: how far it is moved after it has been turned upside down, its place, and its size.
IMAGE = re.compile(
    r'transform="scale\(1 -1\) translate\(0 -([\d.]+)\)" x="([-\d.]+)" y="([-\d.]+)" '
    r'width="([\d.]+)" height="([\d.]+)"/>'
)
UNDATED = {  # what files of a kind would say of their making
    "svg": ("Date", "Creator"),
    "png": ("Software",),
    "pdf": ("CreationDate", "Creator", "Producer"),
}


def picture(fig: Figure, name: str, kind: str, *, dpi: int = 300, letters: str = "path") -> bytes:
    """A figure as "svg", "png" or "pdf", without the date and with ``name`` for a salt.

    letters : of an SVG, the "path" of each, which looks the same everywhere, or "none" but text,
        which can be edited. Of a PDF the fonts are embedded as TrueType, which editors can read.
    """
    buffer, metadata = io.BytesIO(), dict.fromkeys(UNDATED[kind])
    fonts = mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": letters, "pdf.fonttype": 42})
    with fonts, _layout_as_it_is():
        fig.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def lay_out(fig: Figure) -> Bbox:
    """Give all but what stands in a legend its place, as drawing would; the box of all, inches.

    Drawing takes a tenth longer, and twice as long where there are a hundred images.
    """
    engine = fig.get_layout_engine()
    if fig.axes and engine is not None:
        engine.execute(fig)
    return fig.get_tightbbox()  # which moves labels and titles to where their axes now are


def settle(fig: Figure) -> None:
    """Leave a figure's layout as it is: else each file would find it anew."""
    with _layout_as_it_is():
        fig.set_layout_engine(None)


def _layout_as_it_is() -> AbstractContextManager[None]:
    """While a figure is saved, too: matplotlib would give one without a layout the usual one."""
    return mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False})


def pictures(fig: Figure, name: str) -> dict[str, bytes]:
    """A figure as files, by the end of their names.

    ``.svg`` is for pages and ``.png``, of 300 dpi, for what knows no better; ``.pdf`` has its fonts
    in it, and the letters of ``.text.svg`` are text.
    """
    return {
        ".svg": picture(fig, name, "svg"),
        ".text.svg": picture(fig, name, "svg", letters="none"),
        ".pdf": picture(fig, name, "pdf"),
        ".png": picture(fig, name, "png"),
    }


def csv_text(table: Mapping[str, Sequence[Any] | np.ndarray]) -> str:
    """A table of columns as comma-separated values, floats in eight digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([f"{x:.8g}" if isinstance(x, (float, np.floating)) else x for x in row])
    return buffer.getvalue()
