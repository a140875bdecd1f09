"""What a page says to the outside: links to the paper and the sources, downloads, tags, addresses.

A Sphinx extension. The links at the foot, the notebook services and the addresses in the tags are
those of ``book/site.toml`` (`geomem.companion.site`); what is not set there is not on the page. All
of them are plain: nothing is asked of the network before a reader follows one.
"""

from __future__ import annotations

import json
import re
import shutil
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from pybtex.database import Entry
from sphinx import addnodes
from sphinx.application import Sphinx

from geomem.companion import citation, site
from geomem.companion.results import newest
from geomem.companion.sphinx_ext import ROOT, drawn

SIGNS = {"infty": "∞", "le": "≤", "ge": "≥", "to": "→", "in": "∈", "times": "×", "approx": "≈"}
PICTURE = re.compile(r'src="[^"]*/(fig-[a-z0-9-]+)\.')
LEAST, MOST = 60, 300  # letters of a description: sentences up to the first, cut at the second
PLAY = (  # a triangle in a circle
    '<svg viewBox="0 0 16 16" width="1em" height="1em" aria-hidden="true" fill="currentColor">'
    '<path d="M8 0a8 8 0 1 0 0 16A8 8 0 0 0 8 0zM6 4.5 12 8l-6 3.5z"/></svg>'
)


@dataclass(frozen=True)
class Said:
    """What a preview shows of a page: plain text, and the id of its first figure."""

    title: str
    description: str
    figure: str = ""


def said(doctree: nodes.document, body: str, figures: frozenset[str]) -> Said:
    """The title of a page, its first sentence that plain text can say, and its first figure."""
    heading = next(iter(doctree.findall(nodes.title)), nodes.title())
    title = plain(heading) or heading.astext()
    figure = next((id for id in PICTURE.findall(body) if id in figures), "")
    texts = (plain(p) for p in doctree.findall(nodes.paragraph) if _is_prose(p))
    return Said(title, next((_first(text) for text in texts if text), title), figure)


def plain(node: nodes.Element) -> str:
    """The text of a node, its formulas in letters; "" where a formula has none.

    >>> plain(nodes.paragraph("", "", nodes.Text("at "), nodes.math("", r"C_\\sigma")))
    'at C_σ'
    """
    parts = []
    for leaf in node.findall(nodes.Text):
        text = leaf.astext()
        if isinstance(leaf.parent, nodes.math):
            text = re.sub(r"\\([a-zA-Z]+)\s*", lambda found: _sign(found[1]), text)
            if re.search(r"[\\{}&^]", text):
                return ""
        elif isinstance(leaf.parent, nodes.raw):
            text = re.sub(r"<[^>]*>", "", text)
        parts.append(text)
    return " ".join("".join(parts).split())


def _sign(name: str) -> str:
    """A Greek letter or another sign by its name in TeX; a backslash where it has none."""
    try:
        kind = "SMALL" if name.islower() else "CAPITAL"
        return SIGNS.get(name) or unicodedata.lookup(f"GREEK {kind} LETTER {name.upper()}")
    except KeyError:
        return "\\"


def _is_prose(paragraph: nodes.paragraph) -> bool:
    kinds = (nodes.document, nodes.section, addnodes.desc_content)
    return isinstance(paragraph.parent, kinds)


def _first(text: str) -> str:
    """Sentences from the beginning until they say enough."""
    shown = ""
    for sentence in re.split(r"(?<=[.?!]) (?=[A-Z])", text):
        shown = f"{shown} {sentence}".strip()
        if len(shown) >= LEAST:
            break
    return textwrap.shorten(shown, MOST, placeholder=" …")


def tags(of: site.Site, page: str, shown: Said, root: bool) -> str:
    """The tags of a page, for search, previews and reference managers.

    Parameters
    ----------
    of : where the book is; without an address there is no preview (Open Graph).
    page : its path, "book/cite.html".
    shown : what it says.
    root : whether it is the first page of the book, which stands for the whole.
    """
    found = [("name", "description", shown.description)]
    if page.startswith("book/") and not page.startswith("book/api/"):
        found += [("name", *pair) for pair in _citation(of, page, shown, root)]
    if of.address:
        picture = shown.figure and of.page(f"figures/{shown.figure}.png")
        preview = {
            "title": shown.title,
            "description": shown.description,
            "type": "book" if root else "article",
            "url": of.page(page),
            "site_name": _entry("geomem").fields["title"],
            "image": picture,
            "image:alt": picture and _alternatives()[shown.figure],
        }
        found += [("property", f"og:{key}", value) for key, value in preview.items() if value]
        card = "summary_large_image" if picture else "summary"
        found.append(("name", "twitter:card", card))
    return "".join(
        f'\n    <meta {kind}="{key}" content="{escape(value)}" />' for kind, key, value in found
    )


def _citation(of: site.Site, page: str, shown: Said, root: bool) -> Iterator[tuple[str, str]]:
    """Highwire's tags: of the book on its first page, of a chapter in it on the others."""
    book, paper = _entry("geomem"), _entry("dodson2026two")
    yield "citation_title", book.fields["title"] if root else shown.title
    if not root:
        yield "citation_inbook_title", book.fields["title"]
    yield from (("citation_author", name) for name in citation.authors(book))
    yield "citation_publication_date", book.fields["date"].replace("-", "/")
    yield "citation_language", "en"
    if of.address:
        yield "citation_public_url", of.page(page)
    if of.pdf and root:
        yield "citation_pdf_url", of.page(of.pdf)
    if root:
        first, _, last = paper.fields["pages"].partition("--")
        parts = [("title", paper.fields["title"])]
        parts += [("author", name) for name in citation.authors(paper)]
        parts += [("conference_title", paper.fields["booktitle"])]
        parts += [("journal_title", paper.fields["series"]), ("volume", paper.fields["volume"])]
        parts += [("firstpage", first), ("lastpage", last)]
        parts += [("publication_date", paper.fields["year"])]
        yield "citation_reference", "; ".join(f"citation_{key}={value}" for key, value in parts)


def foot(of: site.Site, source: str, title: str) -> str:
    """The line of links at the foot of a page.

    Parameters
    ----------
    source : the file that is edited, "book/cite.md"; "" where there is none.
    title : of the page, plain text.
    """
    ours = {
        "as one PDF": of.pdf and of.page(of.pdf),
        "sources": of.repository,
        "edit this page": source and of.edit(source),
        "say what is wrong here": of.issue(page=title, commit=_commit()),
    }
    told = {"The paper": _paper(), "This book": ours}
    lines = (f"{whose}: {found}" for whose, links in told.items() if (found := _links(links)))
    return f'<p class="foot links">{"; ".join(lines)}</p>'


def downloads(of: site.Site, notebook: str) -> str:
    """The line of a notebook's page: its files beside it, and where it can be run."""
    parts = [f'<a href="{notebook}{end}" download>{end}</a>' for end in (".ipynb", ".py")]
    services = {"Binder": of.on_binder(notebook), "Colab": of.on_colab(notebook)}
    parts += filter(None, [_links(services, PLAY)])
    return f'<p class="notebook-links">This notebook: {" · ".join(parts)}</p>'


def _links(places: Mapping[str, str], sign: str = "") -> str:
    """Links by what they are called, without those that lead nowhere."""
    return " · ".join(
        f'<a class="external" href="{escape(url)}">{sign}{escape(name)}</a>'
        for name, url in places.items()
        if url
    )


def written(executed: dict[str, Any], of: site.Site) -> dict[str, Any]:
    """A notebook as it is downloaded: where a repository is known, it can install the package."""
    if not of.install:
        return executed
    lines = f"try:  # in Colab, say\n    import geomem\nexcept ImportError:\n    %{of.install}"
    cell = dict[str, Any](cell_type="code", id="install", metadata={}, source=lines)
    cell |= {"execution_count": None, "outputs": []}
    first, *rest = executed["cells"]
    return {**executed, "cells": [first, cell, *rest]}


def sitemap(addresses: list[str]) -> str:
    """All pages, for search engines."""
    lines = [f"<url><loc>{escape(address)}</loc></url>" for address in addresses]
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="{space}">'
    return "\n".join([head, *lines, "</urlset>", ""])


@cache
def _site() -> site.Site:
    return site.read(ROOT)


@cache
def _alternatives() -> dict[str, str]:
    """The alternative text of each figure by its id."""
    return {record["id"]: record["alt"] for record in drawn()}


@cache
def _entry(key: str) -> Entry:
    return citation.entries(ROOT).entries[key]


@cache
def _paper() -> dict[str, str]:
    return citation.paper_links(ROOT)


@cache
def _commit() -> str:
    return ((newest(ROOT) or {}).get("commit") or "")[:12]


def _address(app: Sphinx, config: Any) -> None:
    config.html_baseurl = _site().address  # of it Sphinx makes each page's canonical address


def _page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    before, source, title = context.get("metatags") or "", "", page
    if doctree is None:  # search, index, source code
        context["metatags"] = f'{before}\n    <meta name="robots" content="noindex" />'
    else:
        shown = said(doctree, context["body"], frozenset(_alternatives()))
        title, root = shown.title, page == app.config.root_doc
        context["metatags"] = before + tags(_site(), f"{page}.html", shown, root)
        if not page.startswith("book/api/"):  # those are made of the docstrings
            path = Path(app.env.doc2path(page, base=False))
            source = path.with_suffix({".ipynb": ".py"}.get(path.suffix, path.suffix)).as_posix()
    if page.startswith("notebooks/"):
        line = downloads(_site(), page.removeprefix("notebooks/"))
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{line}", 1)
    context["theme_extra_footer"] = context.get("theme_extra_footer", "") + foot(
        _site(), source, title
    )


def _files(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    out, pages = Path(app.outdir), sorted(app.env.found_docs)
    for page in pages:
        if page.startswith("notebooks/"):
            (out / page).parent.mkdir(exist_ok=True)
            shutil.copyfile(ROOT / f"{page}.py", out / f"{page}.py")
            executed = json.loads((ROOT / f"{page}.ipynb").read_text())
            made = json.dumps(written(executed, _site()), indent=1, ensure_ascii=False)
            (out / f"{page}.ipynb").write_text(made + "\n")
    if _site().address:
        addresses = [_site().page(f"{page}.html") for page in pages]
        (out / "sitemap.xml").write_text(sitemap(addresses))
    if urlsplit(_site().address).path == "/":  # the only place where anybody reads it
        place = _site().page("sitemap.xml")
        (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {place}\n")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", _address)
    app.connect("html-page-context", _page, priority=900)  # after the foot has its first line
    app.connect("build-finished", _files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
