"""A figure and its table as files: equal data gives equal bytes."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import Op, PdfFile, PdfPages
from matplotlib.figure import Figure

COLUMN = 3.25  # inches: as wide is a column of a paper
SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')  # of an SVG


def picture(fig: Figure, name: str, kind: str, *, dpi: int = 300, letters: str = "path") -> bytes:
    """A figure as "svg" or "png", without the date and with ``name`` for a salt.

    letters : of an SVG, the "path" of each, which looks the same everywhere, or "none" but text,
        which can be edited.
    """
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": letters}):
        fig.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def pictures(fig: Figure, name: str) -> dict[str, bytes]:
    """A figure as files, by the end of their names.

    ``.svg`` is for pages and ``.png``, of 300 dpi, for what knows no better; ``.pdf``, with its
    fonts, and ``.text.svg``, whose letters are text, are as wide as a column of a paper.
    """
    return {
        ".svg": picture(fig, name, "svg"),
        ".text.svg": _narrow(picture(fig, name, "svg", letters="none")),
        ".pdf": _pdf(fig),
        ".png": picture(fig, name, "png"),
    }


def _narrow(svg: bytes) -> bytes:
    """An SVG that is shown as wide as a column."""

    def narrow(size: re.Match[str]) -> str:
        width = 72 * COLUMN
        return f'width="{width:g}pt" height="{width * float(size[2]) / float(size[1]):g}pt"'

    return SIZE.sub(narrow, svg.decode(), count=1).encode()


class _Column(PdfFile):
    """A PDF whose page is as wide as a column, with what is drawn on it."""

    def newPage(self, width: float, height: float) -> None:
        scale = COLUMN / width
        super().newPage(COLUMN, scale * height)  # type: ignore[no-untyped-call]  # no stubs
        scaled = scale, 0, 0, scale, 0, 0
        self.output(*scaled, Op.concat_matrix)  # type: ignore[no-untyped-call]  # no stubs


def _pdf(fig: Figure) -> bytes:
    """A figure as PDF, without the date, its fonts embedded as TrueType, which editors can read."""
    buffer, undated = io.BytesIO(), dict.fromkeys(("CreationDate", "Creator", "Producer"))
    with mpl.rc_context({"pdf.fonttype": 42}):
        pages: Any = PdfPages(buffer)
        pages._file = _Column(buffer, metadata=undated)  # type: ignore[no-untyped-call]  # no stubs
        pages.savefig(fig)
        pages.close()
    return buffer.getvalue()


def csv_text(table: Mapping[str, Sequence[Any] | np.ndarray]) -> str:
    """A table of columns as comma-separated values, floats in eight digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([f"{x:.8g}" if isinstance(x, (float, np.floating)) else x for x in row])
    return buffer.getvalue()
