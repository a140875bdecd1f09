"""What became of the paper's claims and figures, from the results of the notebooks.

A notebook tests something with `claim`, under an id. ``book/paper.toml`` lists the claims and the
items of the paper, and for each claim the ids of the tests that decide it. Verdicts follow from
the results; nothing here is typed in.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomem.companion.notebooks import Notebook, notebooks, parsed
from geomem.companion.prose import numbers, words
from geomem.companion.results import CLAIMS, Result, keep
from geomem.errors import InputError
from geomem.geometry.intervals import Answer, every

VERDICTS = {
    "reproduced": "it holds, on the paper's data and at its scale, or for any data",
    "reproduced in shape": "it holds, on other data or at a smaller scale",
    "not at this scale": "it does not hold here, on other data or at a smaller scale",
    "not reproduced": "it does not hold, on the paper's data and at its scale",
    "our reconstruction holds": "the statement as we have it holds, for any data; the paper's own "
    "words are not known to us",
    "our reconstruction fails": "it does not",
    "undecided": "the intervals allow both, or nothing here could test it: more samples, trainings "
    "or noise levels could tell",
    "not in this run": "the notebook did not test it with this profile",
}
# Of a test that is not the paper's there is nothing to reproduce.
OUR_VERDICTS = {
    "holds here": "our test, met by this run",
    "does not hold here": "our test, missed by this run",
    "undecided": VERDICTS["undecided"],
    "not in this run": VERDICTS["not in this run"],
}
# Tests that trainings went well: of others, what their models did or did not do says nothing.
SOUND = {"trained-well", "gap-trainings", "sweep-trainings"}
WHOSE = {
    "paper": "the paper's",
    "our zone": "the paper's, in the zone that our rule finds",
    "carried over": "the paper's, carried over to these images by coverage and weight",
    "reconstruction": "our reconstruction",
    "ours": "ours",
}
NEEDED = {"id", "says", "item", "notebook", "scale", "ours", "paper", "decided_by"}
MAY = {"figure", "whose", "whose_there", "whose_scale", "paper_scale"}
SAID = {True: "yes", False: "NO", None: "undecided: the intervals allow both, or nothing tests it"}
NAMES = {"claim", "companion.claim"}  # what a notebook calls it
RANGE = re.compile(r"(\w+)s ([\d.]*\d)( to | and )([\d.]*\d)")


class PaperError(InputError):
    """A list of claims that does not fit the notebooks."""


def claim(id: str, says: str, holds: Answer, *, must: bool = True) -> None:
    """Test something: print and keep whether it holds; stop when it does not where it must.

    Parameters
    ----------
    id : what ``book/paper.toml`` lists it by; written out in the notebook, never put together.
    says : what is tested, in words.
    holds : whether it holds, with whole intervals; None where they allow both answers.
    must : whether the book's own data must bear it out.

    Raises
    ------
    AssertionError : it must hold and does not, or is not known to. What was found is kept first.
    """
    known = None if holds is None else bool(holds)
    print(f"{says}: {SAID[known]}")
    keep(CLAIMS, {id: {"says": says, "holds": known}})
    if must and not known:
        raise AssertionError(f"does not hold: {says}")


@dataclass(frozen=True)
class Claim:
    """A claim with what a run says of it; texts are "" where it says nothing.

    ``whose`` is a key of `WHOSE`: a test of "ours" has a verdict of `OUR_VERDICTS`. ``figure`` is
    "" where no figure shows it.
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
    PaperError : a list that does not fit the notebooks (see `check`), or a claim that was tested
        and takes a number that its notebook did not quote.
    """
    listed = check(root)
    found = numbers(root)
    return [
        _judge(root, entry, listed["scales"], found.get(entry["notebook"]))
        for entry in listed["claim"]
    ]


def check(root: Path) -> dict[str, Any]:
    """The lists of ``book/paper.toml``, each id known and each test listed.

    And the words of the figures, each with an item of the paper that is listed there.

    Raises
    ------
    ProseError : as of `words`.
    PaperError : two claims of one id, one without, one that lacks a key or has one that is not
        known, a ``whose`` or ``whose_there`` that is none of `WHOSE`, a scale that is none, no
        test, a test that the claim's notebook does not make, or one that neither a claim nor
        ``[checks]`` lists; a figure that goes with no item.
    """
    listed, known = _listed(root), set[str]()
    tests = {name: tests_of(notebook) for name, notebook in notebooks(root).items()}
    checks: dict[str, list[str]] = listed.get("checks", {})
    unlisted = {(name, test) for name, found in tests.items() for test in found}
    for entry in listed["claim"]:
        id = entry.get("id", "")
        if not id or id in known:
            says = entry.get("says", "")
            raise PaperError(f"paper.toml: {says!r} needs an id of its own, not {id!r}.")
        if lacking := NEEDED - entry.keys():
            raise PaperError(f"paper.toml: {id}: lacks {', '.join(sorted(lacking))}.")
        if unknown := entry.keys() - NEEDED - MAY:
            raise PaperError(f"paper.toml: {id}: no key {sorted(unknown)[0]!r} is known.")
        if not entry["decided_by"]:
            raise PaperError(f"paper.toml: {id}: decided_by names no test.")
        for key in ("paper_scale", "whose_scale"):
            if entry.get(key, "none") not in {"none", *listed["scales"]}:
                raise PaperError(f"paper.toml: {id}: {key}: no scale {entry[key]!r}.")
        notebook = entry["notebook"]
        for key, usual in (("whose", "paper"), ("whose_there", entry.get("whose", "paper"))):
            if entry.setdefault(key, usual) not in WHOSE:
                whose = ", ".join(map(repr, WHOSE))
                raise PaperError(f"paper.toml: {id}: {key} = {entry[key]!r}: one of {whose}.")
        known.add(id)
        unlisted -= {(notebook, test) for test in _known(id, notebook, entry["decided_by"], tests)}
    for notebook, listed_tests in checks.items():
        unlisted -= {(notebook, test) for test in _known("checks", notebook, listed_tests, tests)}
    if unlisted:
        names = ", ".join(f"{test} of {name}" for name, test in sorted(unlisted))
        raise PaperError(f"paper.toml: no claim and no list of checks has the test {names}.")
    for id, said in words(root).items():
        known_item = any(mentions(said.paper, item["name"]) for item in listed.get("item", []))
        if not known_item and "{{" not in said.paper:  # else its run says which
            raise PaperError(
                f"{said.chapter}: {id}: paper: {said.paper!r} names no item of the paper; those "
                "that there are stand in book/paper.toml, under [[item]]."
            )
    return listed


def _known(
    where: str, notebook: str, wanted: list[str], tests: Mapping[str, Collection[str]]
) -> list[str]:
    for test in wanted:
        if test not in tests.get(notebook, ()):
            raise PaperError(f"paper.toml: {where}: notebook {notebook} makes no test {test!r}.")
    return wanted


def tests_of(notebook: Notebook) -> list[str]:
    """The ids of the tests that a notebook's source makes.

    Raises
    ------
    PaperError : an id that is not written out, or twice in one notebook.
    """
    found = list[str]()
    for node in ast.walk(parsed(notebook.path, notebook.path.read_text())):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) not in NAMES:
            continue
        id = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if not isinstance(id, str) or id in found:
            line = f"{notebook.path.name}, line {node.lineno}"
            raise PaperError(f"{line}: a claim needs an id that is written out, and its own.")
        found.append(id)
    return found


def verdict(outcomes: Collection[Answer], *, paper_scale: bool, whose: str = "paper") -> str:
    """In plain words: all must hold, and the scale says how much that is.

    >>> verdict([True, False], paper_scale=False), verdict([True, None], paper_scale=True)
    ('not at this scale', 'undecided')
    """
    if not outcomes:
        return "not in this run"
    held = every(outcomes)
    if held is None:
        return "undecided"
    if whose == "ours":
        return "holds here" if held else "does not hold here"
    if whose == "reconstruction":
        return f"our reconstruction {'holds' if held else 'fails'}"
    if held:
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


def _judge(
    root: Path,
    entry: Mapping[str, Any],
    scales: Mapping[str, Any],
    values: Mapping[str, str] | None,
) -> Claim:
    """A claim with what its notebook's result says; ``values`` are that one's, if it is there."""
    result = Result(root, entry["notebook"])
    tested = {} if values is None else result.claims
    names = ("id", "notebook", "whose", "says", "item", "paper")
    fixed = {**{key: entry[key] for key in names}, "figure": entry.get("figure", "")}
    if values is None or not tested.keys() >= {*entry["decided_by"]}:
        return Claim(**fixed, scale="", ours="", verdict=verdict([], paper_scale=False))
    try:
        texts = {key: entry[key].format_map(values) for key in ("scale", "ours")}
    except KeyError as error:
        where = f"paper.toml: {entry['id']}: {entry['notebook']}"
        raise PaperError(f"{where} quoted no {error}.") from None
    outcomes = [tested[test]["holds"] for test in entry["decided_by"]]
    if any(tested[test]["holds"] is None for test in SOUND.intersection(entry["decided_by"])):
        outcomes = [None]
    parameters = result.run["inputs"]["parameters"]
    wanted = scales.get(entry.get("paper_scale", ""))  # without it no run is the paper's
    there = wanted is not None and wanted.items() <= parameters.items()
    theirs = scales.get(entry.get("whose_scale", ""), wanted)
    if theirs is not None and theirs.items() <= parameters.items():
        fixed["whose"] = entry["whose_there"]
    return Claim(
        **fixed, **texts, verdict=verdict(outcomes, paper_scale=there, whose=fixed["whose"])
    )
