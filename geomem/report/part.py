"""A part of a report: numbers with their intervals, sentences, tables and pictures, as one file.

All of it is text, so that a part is kept when it is done, and found again by what it was made of.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from geomem import disk
from geomem.data.files import plain
from geomem.geometry.intervals import Estimate, Fraction
from geomem.plots import files

DPI = 200  # of pictures of images


@dataclass(frozen=True)
class Number:
    """A number of a report.

    Attributes
    ----------
    value, low, high : it and its 95% interval; NaN: not known, or no interval.
    unit : "data units", "share", "count", ...
    what : what it is, in a few words.
    text : as it is read.
    """

    value: float
    low: float
    high: float
    unit: str
    what: str
    text: str

    @classmethod
    def of(cls, found: Estimate | Fraction | float, unit: str, what: str, text: str = "") -> Self:
        """Of a measured quantity; ``text`` where it reads otherwise than by itself."""
        if isinstance(found, Estimate | Fraction):
            percent = unit == "share" and not isinstance(found, Fraction)
            said = found.percent if percent else str(found)
            return cls(*found.numbers, unit, what, text or said)
        said = f"{found:,.0f}" if unit == "count" else f"{found:,.4g}"
        said = "not known" if math.isnan(found) else said
        return cls(float(found), math.nan, math.nan, unit, what, text or said)

    @property
    def plain(self) -> dict[str, Any]:
        """For JSON, which knows no NaN."""
        return {name: _plain(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Picture:
    """A picture of a report, and the numbers in it.

    Attributes
    ----------
    title, alt, caption : its words; ``alt`` for who cannot see it.
    kind : "svg" of curves, "png" of images.
    content : its text; of a PNG in base 64.
    csv : what it plots, as a table.
    """

    title: str
    alt: str
    caption: str
    kind: str
    content: str
    csv: str

    @property
    def file(self) -> bytes:
        """What its file holds."""
        return self.content.encode() if self.kind == "svg" else base64.b64decode(self.content)

    @property
    def link(self) -> str:
        """Itself as an address, for a page that asks for no other file."""
        kind = {"svg": "image/svg+xml", "png": "image/png"}[self.kind]
        return f"data:{kind};base64,{base64.b64encode(self.file).decode()}"


@dataclass(frozen=True)
class Part:
    """What one look found.

    Attributes
    ----------
    title : its heading.
    key : what it was made of; "" for what cannot be found again.
    numbers : by a short name, which `Report.numbers` and ``--check`` have, too.
    said : sentences, the most important first.
    warnings : sentences on what is probably wrong.
    tables : by title, heading -> cells, all texts.
    pictures : by a short name, which their files have.
    series : what other parts compare, one value an image.
    """

    title: str
    key: str = ""
    numbers: dict[str, Number] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    tables: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)
    series: dict[str, list[float]] = field(default_factory=dict)

    def number(
        self, name: str, found: Estimate | Fraction | float, unit: str, what: str, text: str = ""
    ) -> Number:
        """Take a number in, and give it back."""
        self.numbers[name] = Number.of(found, unit, what, text)
        return self.numbers[name]

    def table(self, title: str, columns: Mapping[str, Iterable[object]]) -> None:
        """Take a table in, heading -> cells."""
        self.tables[title] = {name: [str(cell) for cell in of] for name, of in columns.items()}

    def picture(
        self,
        name: str,
        drawn: tuple[Figure, Mapping[str, Sequence[Any] | np.ndarray]],
        title: str,
        *,
        alt: str,
        caption: str,
        kind: str = "svg",
    ) -> None:
        """Take a picture in and close it; equal figures give equal bytes."""
        fig, table = drawn
        files.lay_out(fig)
        files.settle(fig)
        raw = files.picture(fig, name, kind, dpi=DPI)
        plt.close(fig)
        content = raw.decode() if kind == "svg" else base64.b64encode(raw).decode()
        self.pictures[name] = Picture(title, alt, caption, kind, content, files.csv_text(table))

    def save(self, path: Path) -> None:
        """Keep it, whole or not at all."""
        disk.write(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path, key: str) -> Part | None:
        """What was kept of the same making; None where nothing is, or it is damaged."""
        with suppress(OSError, ValueError, TypeError, AttributeError):
            kept = json.loads(path.read_text(encoding="utf-8"))
            if key and kept["key"] == key:
                for name, kind in (("numbers", Number), ("pictures", Picture)):
                    kept[name] = {of: kind(**value) for of, value in kept[name].items()}
                return cls(**kept)
        return None


def key_of(*made_of: object) -> str:
    """A part's key, from texts and numbers; "" where one of these is "", not known."""
    if "" in made_of:
        return ""
    return hashlib.sha256(repr(made_of).encode()).hexdigest()


def stem(name: str) -> str:
    """A part's name as that of a file."""
    return plain(name).replace("/", "-").strip("-")


def _plain(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
