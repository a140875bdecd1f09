"""Folds: what is there to be opened, by pointer, by keyboard, or by a link to something in it.

On paper a fold is open, but for the code of a figure (``book/_assets/folds.js``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx


class Fold(nodes.Element):  # type: ignore[misc]  # docutils has no types
    """A closed ``<details>``; its first child is the `Summary`."""


class Summary(nodes.TextElement):  # type: ignore[misc]  # docutils has no types
    """What a fold says while it is closed."""


def fold(summary: str, content: Iterable[nodes.Node], **attributes: Any) -> Fold:
    """A fold around nodes."""
    node = Fold(**attributes)
    node["classes"].append("fold")
    node += Summary("", summary)
    node.extend(content)
    return node


def _element(tag: str) -> tuple[Any, Any]:
    """What opens an element of HTML at a node, and what closes it."""

    def visit(translator: Any, node: nodes.Element) -> None:
        translator.body.append(translator.starttag(node, tag, ""))

    def depart(translator: Any, node: nodes.Element) -> None:
        translator.body.append(f"</{tag}>\n")

    return visit, depart


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_node(Fold, html=_element("details"))
    app.add_node(Summary, html=_element("summary"))
    app.add_js_file("folds.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
