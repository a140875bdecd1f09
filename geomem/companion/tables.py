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
            [shown(value, digits) for value in row] for row in zip(*columns.values(), strict=True)
        ]

    @property
    def markdown(self) -> str:
        """The table in Markdown, for a chapter that quotes it whole.

        >>> print(Table({"": ["plain"], "copies": [12]}).markdown)
        | | copies |
        |---|---|
        | plain | 12 |
        """
        head, *rest = (
            "".join(f"| {cell} " if cell else "| " for cell in line) + "|"
            for line in [self.headings, *self.rows]
        )
        return "\n".join([head, "|---" * len(self.headings) + "|", *rest])

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


def shown(value: Any, digits: int = 3) -> str:
    """A value as text: of a float so many significant digits, of no number a dash.

    >>> shown(12345), shown(0.12345), shown(float("nan")), shown(True)
    ('12,345', '0.123', '–', 'yes')
    """
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return f"{value:,}"
    if isinstance(value, (float, np.floating)):
        return f"{value:.{digits}g}" if math.isfinite(value) else "–"
    return str(value)
