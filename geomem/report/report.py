"""A report: what was found, in words, as a page of one file, and as numbers."""

from __future__ import annotations

import json
import operator
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2

from geomem import disk
from geomem.data.files import plain
from geomem.errors import InputError
from geomem.geometry.intervals import Estimate
from geomem.geometry.window import Window
from geomem.memorization.gap import SuggestedGap
from geomem.report.part import Number, Part, stem

FILES = ".files.json"  # in the folder of figures: the names that a report has put there
CHECK = re.compile(r"\s*(.+?)(\.low|\.high)?\s*(<=|>=|<|>)\s*(\S+)\s*")
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@dataclass(frozen=True, repr=False)
class Report:
    """What an audit found.

    Parameters
    ----------
    parts : mapping of a short name to a Part
        In the order of the page: "images", "gap", "samples", and of each model.
    about : mapping
        What was looked at, with hashes, versions and settings.

    See Also
    --------
    audit : Gives one.

    References
    ----------
    Ours; see :doc:`/book/your_own_model`.

    Examples
    --------
    >>> from geomem.report.part import Part
    >>> from geomem.report.report import Report
    >>> part = Part("Samples")
    >>> _ = part.number("memorized", 0.25, "share", "samples that are copies")
    >>> Report({"samples": part}, {}).holds("memorized < 0.01")
    False
    """

    parts: Mapping[str, Part]
    about: Mapping[str, Any]

    @property
    def numbers(self) -> dict[str, Number]:
        """Every number by its name, those of a model among several as NAME/number.

        Beside samples, a single model's numbers that these have, too, are model/NAME.
        """
        return {name: self.parts[of].numbers[key] for name, (of, key) in self._places().items()}

    def _places(self) -> dict[str, tuple[str, str]]:
        """Of each number by its name: the part that it is in, and what it is called there."""
        found: dict[str, tuple[str, str]] = {}
        for name, part in self.parts.items():
            among = name.partition("/")[2]
            for key in part.numbers:
                whole = f"{among}/{key}" if among else key
                found[whole if whole not in found else f"{name}/{key}"] = name, key
        return found

    def _doubts(self, name: str) -> list[str]:
        """Why a part's numbers say nothing: whatever warns of a model, or of its images."""
        return self.parts[name].warnings if name.partition("/")[0] == "model" else []

    @property
    def gap(self) -> SuggestedGap:
        """The gap to train with, in a loop of one's own; InputError where there is none."""
        if "gap_from" not in self.parts["gap"].numbers:
            raise InputError(f"report: there is no gap. {' '.join(self.parts['gap'].warnings)}")
        known, images = self.parts["gap"], self.parts["images"].numbers
        low, high = (_estimate(known.numbers[name]) for name in ("gap_from", "gap_to"))
        ends = [images[name].value for name in ("zone_from", "zone_to") if name in images]
        zone = Window(*ends) if ends and ends[0] < ends[1] else None
        window = Window(low.value, high.value).rounded(3)
        return SuggestedGap(
            window, known.numbers["gap_keep"].value, low=low, high=high, zone=zone,
            evidence=known.said[1],
        )  # fmt: skip

    @property
    def answers(self) -> dict[str, list[str]]:
        """What a user asks, and what can be said, each thing on a line of its own; warnings first.

        Where something warns of a model, nothing is cleared.
        """
        told = {name: part for name, part in self.parts.items() if "memorized" in part.numbers}
        copies = [f"{part.title}: {_copies(part)}." for part in told.values()]
        where = [f"{p.title}: {p.said[0]}" for p in told.values() if "rate_peak" in p.numbers]
        images = self.parts["images"]
        zone = images.said[:1] if "zone_from" in images.numbers else images.warnings[-1:]
        wrong = [
            f"{part.title}: {text}"
            for name, part in self.parts.items()
            for text in part.warnings
            if name != "gap" and text not in zone  # these are answers below
        ]
        asked = (self.parts[name] for name in ("compared", "gap") if name in self.parts)
        last = [(part.said or part.warnings)[0] for part in asked]
        floors = [part.numbers["above_floor"].value for part in told.values() if _floor(part)]
        if floors and not any(floors) and not any(map(self._doubts, self.parts)):
            last.insert(0, "Nothing now, by these samples. For a longer training:")
        return {
            "What is probably wrong?": wrong,
            "Does it memorize?": copies or ["Neither samples nor a model were given."],
            "At which noise levels?": [*where, *zone],
            "What to do?": last,
        }

    def __repr__(self) -> str:
        """The answers, as the command line prints them."""
        said = {asked: lines for asked, lines in self.answers.items() if lines}
        return "\n".join("\n  ".join([asked, *lines]) for asked, lines in said.items())

    def holds(self, check: str) -> bool:
        """Whether a number keeps what is asked, such as "memorized < 0.01".

        Parameters
        ----------
        check : str
            A name of `numbers`; perhaps ``.low`` or ``.high`` for an end of its interval; a
            comparison; a number. All numbers of that name, or of NAME/name, must keep it.

        Raises
        ------
        ValueError
            In a line, if it is none of this, or the number is not known: also where something
            warns of the model that it is of.
        """
        name, end, sign, than = read_check(check)
        numbers, places = self.numbers, self._places()
        meant = [of for of in numbers if of == name or of.endswith(f"/{name}")]
        if not meant:
            raise InputError(f"check: no number {name!r}; there are {', '.join(numbers)}.")
        for of in meant:
            for doubt in self._doubts(places[of][0]):
                raise InputError(f"check: {of} is not known in this report. {doubt}")
        values = [getattr(numbers[of], (end or ".value")[1:]) for of in meant]
        if any(value != value for value in values):
            raise InputError(f"check: {name}{end or ''} is not known in this report.")
        return all(COMPARE[sign](value, than) for value in values)

    @property
    def json(self) -> str:
        """Every number with its interval, every sentence, and what was looked at."""
        parts = {
            name: {
                "title": part.title,
                "said": part.said,
                "warnings": part.warnings,
                "numbers": {key: number.plain for key, number in part.numbers.items()},
                "tables": part.tables,
                "pictures": sorted(part.pictures),
            }
            for name, part in self.parts.items()
        }
        whole = {"about": self.about, "answers": self.answers, "parts": parts}
        return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"

    @property
    def html(self) -> str:
        """A page of one file that asks for no other."""
        loader = jinja2.PackageLoader("geomem.report", "")
        kept = jinja2.Environment(
            loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        return kept.get_template("report.html").render(
            report=self, stem=stem, version=version("geomem")
        )

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write ``report.html``, ``report.json``, and each picture with its table.

        Parameters
        ----------
        folder : path
            Made where it is not there; files of these names, and a report's ``figures``, are
            replaced.

        Returns
        -------
        The page and the JSON.

        Raises
        ------
        InputError
            If its ``figures`` hold what no report has put there.
        """
        folder = Path(folder)
        check_figures(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with disk.replacing(folder / "figures") as figures:  # none is left of another report
            for name, part in self.parts.items():
                for key, picture in part.pictures.items():
                    disk.write(figures / f"{stem(name)}-{key}.{picture.kind}", picture.file)
                    disk.write(figures / f"{stem(name)}-{key}.csv", picture.csv)
            disk.write(figures / FILES, json.dumps(sorted(path.name for path in figures.iterdir())))
        page, numbers = folder / "report.html", folder / "report.json"
        disk.write(numbers, self.json)
        disk.write(page, self.html)
        return [page, numbers]


def check_figures(folder: Path) -> None:
    """InputError unless all ``figures`` in a folder are a report's: another one replaces them."""
    figures = folder / "figures"
    if not figures.exists():
        return
    ours = {FILES, ".DS_Store"}  # the latter is what a file browser leaves
    with suppress(OSError, ValueError, TypeError):
        ours |= {*json.loads((figures / FILES).read_text())}
    if strange := sorted({path.name for path in figures.iterdir()} - ours):
        raise InputError(f"{figures} holds {plain(strange[0])}, of no report; name another folder.")


def read_check(check: str) -> tuple[str, str, str, float]:
    """Of a check its name, the end of the interval, the comparison and the number; InputError."""
    with suppress(ValueError):
        if found := CHECK.fullmatch(check):
            name, end, sign, limit = found.groups()
            return name, end or "", sign, float(limit)
    raise InputError(f"check: {check!r} is not NAME < NUMBER, as 'memorized < 0.01'.")


def _floor(part: Part) -> bool:
    """Whether its copies were held against a floor."""
    return "above_floor" in part.numbers


def _copies(part: Part) -> str:
    """The share of copies beside its floor, and what its errors tell of the training images."""
    share, floor = part.numbers["memorized"], part.numbers.get("floor")
    said = f"{share.text} of the samples are copies"
    merged, theirs = (part.numbers.get(name) for name in ("memorized_merged", "floor_merged"))
    if floor:
        more = part.numbers["above_floor"].value and not theirs  # else that is what decided
        above = "above" if more else "not beyond chance above"
        said += f", {above} the floor, {floor.text} of held-out images"
    if merged and merged.value != share.value:
        said += f"; with near twins as one image {merged.text}"
        said += f", above the floor, {theirs.text}" if theirs else ""
    if "membership" in part.numbers:
        auc = part.numbers["membership"].text
        said += f"; its error tells training from held-out images with an AUC of {auc}"
    return said


def _estimate(number: Number) -> Estimate:
    return Estimate(number.value, number.low, number.high)
