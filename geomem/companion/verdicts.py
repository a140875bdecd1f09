"""What became of the paper's claims and figures, from the results of the notebooks.

``book/paper.toml`` has both lists, and says which of a notebook's own claims decide one of the
paper's. Nothing here is typed in: verdicts and links follow from ``results/``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERDICTS = {
    "reproduced": "it holds, on the paper's data and at its scale, or for any data",
    "reproduced in shape": "it holds, on other data or at a smaller scale",
    "not at this scale": "it does not hold here, on other data or at a smaller scale",
    "not reproduced": "it does not hold, on the paper's data and at its scale",
    "not in this run": "the notebook did not test it with this profile",
}
# Of a test that is not the paper's there is nothing to reproduce.
OUR_VERDICTS = {
    "holds here": "our test, met by this run",
    "does not hold here": "our test, missed by this run",
    "not in this run": VERDICTS["not in this run"],
}
WHOSE = {
    "paper": "the paper's",
    "our zone": "the paper's, in the zone that our rule finds",
    "ours": "ours",
}
RANGE = re.compile(r"(\w+)s ([\d.]*\d)( to | and )([\d.]*\d)")


class PaperError(ValueError):
    """A list of claims that cannot be read as one."""


@dataclass(frozen=True)
class Claim:
    """A claim with what a run says of it; texts are "" where it says nothing.

    ``whose`` is a key of `WHOSE`: a test of "ours" has a verdict of `OUR_VERDICTS`. ``id`` is
    what a page asks for it by, "" where none does. ``figure`` is "" where no figure shows it.
    """

    id: str
    notebook: str
    whose: str
    says: str
    item: str
    figure: str
    scale: str
    ours: str
    paper: str
    verdict: str


def claims(root: Path) -> list[Claim]:
    """Every claim of the paper with its verdict, in the order of the list.

    Raises
    ------
    PaperError : an ``id`` that two claims have, or a ``whose`` that is none of `WHOSE`.
    """
    listed = _listed(root)
    entries = [{"id": "", "whose": "paper", "figure": "", **entry} for entry in listed["claim"]]
    known = set[str]()
    for entry in entries:
        if entry["whose"] not in WHOSE:
            raise PaperError(
                f"paper.toml: whose = {entry['whose']!r} of {entry['says']!r}: "
                f"take one of {', '.join(map(repr, WHOSE))}."
            )
        if entry["id"] in known:
            raise PaperError(f"paper.toml: two claims have the id {entry['id']!r}.")
        known |= {entry["id"]} - {""}
    return [_judge(root, entry, listed["scales"]) for entry in entries]


def verdict(outcomes: Collection[bool], *, paper_scale: bool, ours: bool = False) -> str:
    """In plain words: all must hold, and the scale says how much that is.

    >>> verdict([True, False], paper_scale=False)
    'not at this scale'
    """
    if not outcomes:
        return "not in this run"
    if ours:
        return "holds here" if all(outcomes) else "does not hold here"
    if all(outcomes):
        return "reproduced" if paper_scale else "reproduced in shape"
    return "not reproduced" if paper_scale else "not at this scale"


def items(root: Path) -> list[dict[str, str]]:
    """Figures, tables and numbered statements of the paper: name, what it shows, otherwise, by."""
    entries: list[dict[str, str]] = _listed(root)["item"]
    return [{"otherwise": "", "by": "", **entry} for entry in entries]


def mentions(text: str, item: str) -> bool:
    """Whether a figure's ``paper_item`` names the item.

    >>> mentions("Table 1, Figures 20 to 23", "Figure 21"), mentions("Figure 20", "Figure 2")
    (True, False)
    """
    spelled = RANGE.sub(_spell, text).lower()
    return re.search(rf"\b{re.escape(item.lower())}(?!\.?\w)", spelled) is not None


def _spell(found: re.Match[str]) -> str:
    """Figures 20 to 22 -> Figure 20, Figure 21, Figure 22."""
    kind, first, between, last = found.groups()
    numbers = [first, last]
    if between == " to ":
        numbers = [str(i) for i in range(int(first), int(last) + 1)]
    return ", ".join(f"{kind} {number}" for number in numbers)


def _listed(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "book" / "paper.toml").read_text())


def _judge(root: Path, entry: Mapping[str, Any], scales: Mapping[str, Any]) -> Claim:
    folder = root / "results" / entry["notebook"]
    values, found = _read(folder / "values.json"), _read(folder / "claims.json")
    names = ("id", "notebook", "whose", "says", "item", "figure", "paper")
    fixed = {key: entry[key] for key in names}
    try:
        outcomes = [found[text.format_map(values)] for text in entry["decided_by"]]
        texts = {key: entry[key].format_map(values) for key in ("scale", "ours")}
    except KeyError:  # another profile, or the notebook was not run
        return Claim(**fixed, scale="", ours="", verdict=verdict([], paper_scale=False))
    ours = fixed["whose"] == "ours"
    parameters = _read(folder / "run.json")["inputs"]["parameters"]
    wanted = scales.get(entry.get("paper_scale", ""))  # without it no run is the paper's
    there = wanted is not None and wanted.items() <= parameters.items()
    return Claim(**fixed, **texts, verdict=verdict(outcomes, paper_scale=there, ours=ours))


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found
