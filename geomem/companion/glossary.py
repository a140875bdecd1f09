"""The glossary: a chapter links a term where its text first uses it, with a preview.

``book/glossary.md`` is Sphinx's own `{glossary}`. An entry may have several terms, which are
synonyms; a term in running text is found in capitals, in the plural and across a line break. One
with a parenthesis, as "gap (in training)", stands for a word of several senses: it is linked
where a chapter says `{term}`. The first paragraph of an entry is its definition. It stands once
more at the end of each page that links it, hidden: ``_assets/terms.js`` shows it there.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

GLOSSARY = "book/glossary"
# Where no term is linked: what is no prose, what is a link already, and what repeats or labels.
APART = (
    nodes.title,
    nodes.rubric,
    nodes.reference,
    nodes.literal,
    nodes.math,
    nodes.raw,
    nodes.table,
    nodes.figure,
    nodes.citation,
    addnodes.pending_xref,
    addnodes.desc,
)
APART_CLASSES = {"figure-again", "fold", "gallery", "proof", "sd-summary-title"}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """An entry of the glossary.

    Attributes
    ----------
    anchors : the fragments of its terms, as they are cited; links lead to the first.
    terms : its terms, synonyms.
    definition : its first paragraph as text.
    """

    anchors: tuple[str, ...]
    terms: tuple[str, ...]
    definition: str


def entries(glossary: nodes.Element) -> list[Entry]:
    """The entries of a page with glossaries, in order.

    A definition with a formula, which no preview can show, is warned of.
    """
    found = []
    for part in glossary.findall(addnodes.glossary):
        for item in part.findall(nodes.definition_list_item):
            terms = [*item.findall(nodes.term)]
            first = next(item.findall(nodes.paragraph))
            if next(first.findall(nodes.math), None):
                logger.warning("a formula in the definition of %r", terms[0].astext())
            found.append(
                Entry(
                    tuple(term["ids"][0] for term in terms),
                    tuple(term.astext() for term in terms),
                    " ".join(first.astext().split()),
                )
            )
    return found


def link(page: nodes.Element, known: Sequence[Entry], uri: str) -> None:
    """Link the first use of each entry in the running text of a page, unless it is linked by hand.

    Parameters
    ----------
    page : the page with its references resolved; changed in place.
    known : the entries.
    uri : where the glossary lies, as seen from the page.
    """
    by_anchor = {anchor: entry for entry in known for anchor in entry.anchors}
    done = set[Entry]()
    for reference in page.findall(nodes.reference):
        entry = by_anchor.get(reference.get("refuri", "").removeprefix(f"{uri}#"))
        if entry:
            done.add(entry)
            reference["refuri"] = f"{uri}#{entry.anchors[0]}"
            reference["classes"].append("term")
    ranked = sorted(((t, e) for e in known for t in e.terms), key=lambda pair: -len(pair[0]))
    found = "|".join(f"({_form(term)})" for term, _ in ranked)
    pattern = re.compile(rf"(?<![\w-])(?:{found})(?![\w-])")

    def pieces(text: str) -> Iterator[nodes.Node]:
        end = 0
        for match in pattern.finditer(text):
            assert match.lastindex is not None
            entry = ranked[match.lastindex - 1][1]
            if entry not in done:
                done.add(entry)
                yield nodes.Text(text[end : match.start()])
                target = f"{uri}#{entry.anchors[0]}"
                yield nodes.reference("", match[0], refuri=target, internal=True, classes=["term"])
                end = match.end()
        yield nodes.Text(text[end:])

    for holder in [*page.findall(nodes.TextElement)]:
        holder[:] = _joined(holder.children)
    for text in [*page.findall(nodes.Text)] if known else []:
        if _running(text):
            place = _place(text)
            text.parent[place : place + 1] = [*pieces(text)]


def _joined(children: Sequence[nodes.Node]) -> list[nodes.Node]:
    """With each run of texts, which a line break parts, as one."""
    joined: list[nodes.Node] = []
    for child in children:
        if joined and isinstance(child, nodes.Text) and isinstance(joined[-1], nodes.Text):
            joined[-1] = nodes.Text(joined[-1] + child)
        else:
            joined.append(child)
    return joined


def _form(term: str) -> str:
    """The expression that finds a term: in capitals too where it has none, and in the plural."""
    said = r"\s+".join(map(re.escape, term.split()))
    said = f"{said[:-1]}(?:y|ies)" if said.endswith("y") else f"{said}(?:s|es)?"
    return f"(?i:{said})" if term.islower() else said


def _place(text: nodes.Node) -> int:
    """Where it stands among its siblings, of which another may be equal."""
    return next(i for i, child in enumerate(text.parent.children) if child is text)


def _running(text: nodes.Node) -> bool:
    """Whether it is part of a paragraph, and of nothing that stands `APART`, nor of HTML."""
    node, inside = text.parent, False
    before = node[_place(text) - 1] if _place(text) else None
    if isinstance(before, nodes.raw) and not before.astext().startswith("</"):
        return False
    while node is not None:
        if isinstance(node, APART) or APART_CLASSES.intersection(node.get("classes", ())):
            return False
        inside = inside or isinstance(node, nodes.paragraph)
        node = node.parent
    return inside


@cache
def _known(app: Sphinx) -> list[Entry]:
    return entries(app.env.get_doctree(GLOSSARY)) if GLOSSARY in app.env.all_docs else []


class FirstUses(SphinxPostTransform):
    """`link` in every chapter: not in the reference of the API, nor in notebooks."""

    default_priority = 20  # when references are resolved

    def run(self, **kwargs: Any) -> None:
        page = self.env.docname
        if page.startswith("book/") and not page.startswith((GLOSSARY, "book/api/")):
            uri = self.app.builder.get_relative_uri(page, GLOSSARY)
            link(self.document, _known(self.app), uri)


def _previews(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """The definitions that a page links, hidden at its end."""
    links = [] if tree is None else tree.findall(nodes.reference)
    used = {a["refuri"].partition("#")[2] for a in links if "term" in a["classes"]}
    shown = [entry for entry in _known(app) if entry.anchors[0] in used]
    if shown:
        app.add_js_file("terms.js", loading_method="defer")
        context["body"] += '<div class="previews noprint">\n'
        for entry in shown:
            id, text = f"preview-{entry.anchors[0]}", html.escape(entry.definition)
            context["body"] += f'<div role="tooltip" id="{id}" hidden>{text}</div>\n'
        context["body"] += "</div>\n"


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(FirstUses)
    app.connect("html-page-context", _previews)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
