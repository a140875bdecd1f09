"""Tables as a notebook shows them: on a page, in Jupyter, and as text."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


class Table:
    """Columns of equal length under their headings.

    Numbers are given as they should appear, or shown with ``digits`` significant ones; what
    carries its own interval (`Estimate`, `Fraction`) is shown by it.

    Parameters
    ----------
    columns : heading -> the (n,) values below it.
    digits : significant digits of floats.

    >>> print(Table({"sigma": [0.1, 2.0], "copies": [True, False]}))
    sigma  copies
    0.1    yes
    2      no
    """

    def __init__(self, columns: Mapping[str, Sequence[Any] | np.ndarray], digits: int = 3):
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"table: columns of one length, got {sorted(lengths)}.")
        self.headings = [str(heading) for heading in columns]
        self.rows = [
            [_shown(value, digits) for value in row] for row in zip(*columns.values(), strict=True)
        ]

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(heading)}</th>" for heading in self.headings)
        rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self.rows)
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        return (
            f'<table class="table">\n<thead><tr>{head}</tr></thead>\n'
            f"<tbody>\n{body}\n</tbody>\n</table>"
        )

    def __repr__(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        )
        return "\n".join(line.rstrip() for line in padded)


def _shown(value: Any, digits: int) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:.{digits}g}" if math.isfinite(value) else "–"
    return str(value)
