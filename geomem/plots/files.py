"""A figure and its table as files: equal data gives equal bytes."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure


def picture(fig: Figure, name: str, kind: str, *, dpi: int = 300) -> bytes:
    """A figure as "svg" or "png", without the date and with ``name`` for a salt."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": name}):
        fig.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def csv_text(table: Mapping[str, Sequence[Any] | np.ndarray]) -> str:
    """A table of columns as comma-separated values, floats in eight digits."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([f"{x:.8g}" if isinstance(x, (float, np.floating)) else x for x in row])
    return buffer.getvalue()
