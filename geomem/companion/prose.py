"""What the chapters say, and the numbers in it, which come from the runs.

In a chapter ``{{ NOTEBOOK.NAME }}`` is a number that a notebook quoted, or a parameter of its run.
The words of a figure (title, item of the paper, whose claim, alt text, caption) stand in the
chapter where it has its place, in the directive ``{companion-figure} ID``; changing them computes
nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from geomem.companion import site
from geomem.companion.notebooks import notebooks
from geomem.companion.results import VALUES, Result, keep, whole
from geomem.companion.tables import Table, shown
from geomem.errors import InputError

NUMBER = re.compile(r"\{\{ *([a-z]\w*)\.(\w+) *\}\}")
DESCRIBED = re.compile(
    r"^(?P<fence>`{3,}|:{3,})\{companion-figure\} +(?P<id>\S+)\n---\n(?P<words>.*?)^---\n"
    r"(?P<caption>.*?)^(?P=fence)$",
    re.M | re.S,
)
CLAIMS = {
    "paper": "the paper's claim, measured here",
    "reconstruction": "our reconstruction of the paper's claim",
    "ours": "the picture is our addition",
}
FIELDS = {"title", "paper", "claim", "alt"}


class ProseError(InputError):
    """A chapter that cannot be printed: a number that no run has, a figure without words."""


@dataclass(frozen=True)
class Words:
    """What a chapter says of a figure.

    Attributes
    ----------
    chapter : the file that says it.
    title : a few words, plain text.
    paper : the figure, equation or section of the paper that it goes with.
    claim : a key of `CLAIMS`: whose claim it shows.
    alt : what a reader who cannot see the figure needs to know.
    caption : MyST; what is plotted, with intervals and sizes.
    """

    chapter: str
    title: str
    paper: str
    claim: str
    alt: str
    caption: str


def quote(**said: Any) -> None:
    """Keep numbers for the prose: ``{{ NOTEBOOK.NAME }}`` in a chapter prints them.

    They come from the run, never from the author: text as it should appear, or what a `Table`
    would show, an estimate with its interval, a number with three digits. Lists are joined by
    commas; of a mapping each entry is kept, under NAME_KEY.
    """
    keep(VALUES, dict(_texts(said)))


def _texts(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in said.items():
        if isinstance(value, Mapping):
            yield from _texts({f"{name}_{key}": part for key, part in value.items()})
        elif isinstance(value, Table):
            yield name, value.markdown
        else:
            parts = value if isinstance(value, (list, tuple)) else [value]
            yield name, ", ".join(shown(part) for part in parts)


def words(root: Path) -> dict[str, Words]:
    """The words of each figure by its id, as they stand in the chapters, numbers not yet in.

    Raises
    ------
    ProseError : a figure that is described twice, or not by `FIELDS` and a caption.
    """
    found = dict[str, Words]()
    for chapter in sorted((root / "book").glob("*.md")):
        for match in DESCRIBED.finditer(chapter.read_text()):
            id, where = match["id"], f"{chapter.name}: {match['id']}"
            if id in found:
                raise ProseError(f"{where} is described in {found[id].chapter}, too.")
            try:
                said = yaml.safe_load(match["words"])
            except yaml.YAMLError as error:
                raise ProseError(f"{where}: {' '.join(str(error).split())}") from error
            if not isinstance(said, dict) or said.keys() != FIELDS:
                raise ProseError(f"{where} needs {', '.join(sorted(FIELDS))}, and nothing else.")
            said = {key: " ".join(str(text).split()) for key, text in said.items()}
            found[id] = _checked(where, Words(chapter.name, **said, caption=match["caption"]))
    return found


def _checked(where: str, said: Words) -> Words:
    if said.claim not in CLAIMS:
        raise ProseError(f"{where}: whose claim? One of {', '.join(CLAIMS)}, not {said.claim!r}.")
    if not said.title or not said.caption.strip() or len(said.alt.split()) < 8:
        raise ProseError(f"{where} needs a title, a caption, and an alt text of a full sentence.")
    return replace(said, caption=" ".join(said.caption.split()))


def numbers(root: Path) -> dict[str, dict[str, str]]:
    """The parameters of each notebook's run, and over them what it quoted, by its name."""
    return _numbers(whole(root, notebooks(root)))


def _numbers(results: Mapping[str, Result]) -> dict[str, dict[str, str]]:
    return {name: {**_parameters(result.run), **result.values} for name, result in results.items()}


def _parameters(run: Mapping[str, Any]) -> dict[str, str]:
    """As text: 10,000 and 0.5."""
    formats = {int: ",", float: "g"}
    parameters = run["inputs"]["parameters"]
    return {name: format(value, formats.get(type(value), "")) for name, value in parameters.items()}


def filled(text: str, found: Mapping[str, Mapping[str, str]], where: str) -> str:
    """The text with its numbers.

    >>> filled("of {{ models.n }} images", {"models": {"n": "64"}}, "models.md")
    'of 64 images'

    Raises
    ------
    ProseError : a number that no run has quoted.
    """

    def number(match: re.Match[str]) -> str:
        try:
            return found[match[1]][match[2]]
        except KeyError:
            near = " or ".join(get_close_matches(match[2], found.get(match[1], {}), 3))
            what = f"is it {near}?" if near else "`companion.quote` it and run `geomem book`."
            number = f"{match[1]}.{match[2]}"
            raise ProseError(f"{where}: no run has quoted {number}: {what}") from None

    return NUMBER.sub(number, text)


def described(root: Path) -> list[dict[str, Any]]:
    """Every figure of the results with its words and provenance, by notebook, in order.

    Raises
    ------
    ProseError : a figure that no chapter describes, or a number that no run has.
    """
    said, results, records = words(root), whole(root, notebooks(root)), []
    page = site.read(root).page("book/figures.html")
    found = _numbers(results)
    for name, result in sorted(results.items()):
        for figure in result.figures:
            id, run = figure["id"], result.run
            if id not in said:
                raise ProseError(f"{name}: no chapter describes its figure {id}.")
            where = f"{said[id].chapter}: {id}"
            texts = {key: filled(text, found, where) for key, text in vars(said[id]).items()}
            made = {key: run[key] for key in ("commit", "dirty", "date")}
            inputs = {key: run["inputs"][key] for key in ("parameters", "versions")}
            place = {"url": f"{page}#cite-{id}"} if page else {}
            records.append({**figure, **texts, "notebook": name, **inputs, **made, **place})
    return records
