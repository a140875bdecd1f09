"""Folds: what is there to be opened, by pointer, by keyboard, or by a link to something in it.

`{fold} SUMMARY` folds its content. On paper a fold is open, but for the code of a figure
(``book/_assets/folds.js``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Fold(nodes.Element):
    """A closed ``<details>``; its first child is the `Summary`."""


class Summary(nodes.TextElement):
    """What a fold says while it is closed."""


def fold(summary: str, content: Iterable[nodes.Node], **attributes: Any) -> Fold:
    """A fold around nodes."""
    node = Fold(**attributes)
    node += Summary("", summary)
    node.extend(content)
    return node


class FoldDirective(SphinxDirective):
    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        return [fold(self.arguments[0], self.parse_content_to_nodes(), classes=["fold"])]


def _open(tag: str) -> Any:
    def visit(translator: Any, node: nodes.Element) -> None:
        translator.body.append(translator.starttag(node, tag, ""))

    return visit


def _close(tag: str) -> Any:
    def depart(translator: Any, node: nodes.Element) -> None:
        translator.body.append(f"</{tag}>\n")

    return depart


def _nothing(translator: Any, node: nodes.Element) -> None:
    """Another builder shows what is in it."""


def setup(app: Sphinx) -> dict[str, Any]:
    plain = dict.fromkeys(("latex", "text"), (_nothing, _nothing))
    app.add_node(Fold, html=(_open("details"), _close("details")), **plain)
    app.add_node(Summary, html=(_open("summary"), _close("summary")), **plain)
    app.add_directive("fold", FoldDirective)
    app.add_js_file("folds.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
