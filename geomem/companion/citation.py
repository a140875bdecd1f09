"""How to cite the book and the paper: BibTeX from CITATION.cff, which alone says it.

`geomem cite`, the page Cite and the book's bibliography take their entries from here;
``book/references.bib`` holds the other works only. Where the book is published, ``book/site.toml``
says; of which commit its pages are, the newest run.
"""

from __future__ import annotations

import calendar
from pathlib import Path
from typing import Any

import yaml
from pybtex.database import BibliographyData, Entry, Person

from geomem.companion import site
from geomem.companion.results import newest


def entries(root: Path) -> BibliographyData:
    """The entries of the book (``geomem``) and of the paper (``dodson2026two``), in that order.

    Parameters
    ----------
    root : folder of ``CITATION.cff``.

    Raises
    ------
    KeyError : something is missing that an entry must have.
    """
    book = yaml.safe_load((root / "CITATION.cff").read_text())
    (paper,) = book["references"]
    first = paper["authors"][0]["family-names"]
    name = f"{first}{paper['year']}{paper['title'].split()[0]}".lower()
    return BibliographyData({book["title"].split(":")[0]: _book(root, book), name: _paper(paper)})


def bibtex(root: Path, key: str) -> str:
    """One of `entries` as text."""
    return entries(root).entries[key].to_string("bibtex").strip()


def authors(entry: Entry) -> list[str]:
    """Their names, an organization's without the braces that BibTeX needs."""
    return [str(person).strip("{}") for person in entry.persons["author"]]


def paper_links(root: Path) -> dict[str, str]:
    """Where the paper is read, by the name of the place."""
    (paper,) = yaml.safe_load((root / "CITATION.cff").read_text())["references"]
    places = [one for one in paper["identifiers"] if one["type"] == "url"]
    return {"arXiv": paper["url"], **{one["description"]: one["value"] for one in places}}


def _book(root: Path, cff: dict[str, Any]) -> Entry:
    fields = {
        "title": cff["title"],
        "year": str(cff["date-released"].year),
        "date": str(cff["date-released"]),
        "howpublished": f"Version {cff['version']}",
    }
    if run := newest(root):
        fields["note"] = f"commit {(run['commit'] or 'unknown')[:12]}, run of {run['date']}"
    if address := site.read(root).address:
        fields["url"] = address
    return Entry("misc", fields, _persons(cff))


def _paper(cff: dict[str, Any]) -> Entry:
    fields = {
        "title": cff["title"],
        "booktitle": cff["collection-title"],
        "series": cff["journal"],
        "volume": str(cff["volume"]),
        "pages": f"{cff['start']}--{cff['end']}",
        "month": calendar.month_name[cff["month"]],
        "year": str(cff["year"]),
        "publisher": cff["publisher"]["name"],
        "url": cff["url"],
        "note": cff["identifiers"][0]["value"],
    }
    return Entry("inproceedings", fields, _persons(cff))


def _persons(cff: dict[str, Any]) -> dict[str, list[Person]]:
    """Authors, an organization's name in braces, so that BibTeX does not split it."""
    names = (
        f"{{{a['name']}}}" if "name" in a else f"{a['family-names']}, {a['given-names']}"
        for a in cff["authors"]
    )
    return {"author": [Person(name) for name in names]}
