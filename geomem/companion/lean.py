"""Pages that are light and open to everyone, beyond what the theme does.

``book/_assets/lean.css`` and ``wide.js`` are style and script; ``book/_templates/layout.html``
leaves out what the theme loads for nothing. Entries of the bibliography are items of a list.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def _page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    body = context.get("body") or ""
    context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_css_file("lean.css", priority=890)
    app.add_js_file("wide.js")
    app.connect("html-page-context", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
