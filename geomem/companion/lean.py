"""Pages that are light and open to everyone, beyond what the theme does.

``book/_assets/lean.css`` and ``wide.js`` are style and script; ``book/_templates/layout.html``
leaves out what the theme loads for nothing. Mended here, for who hears a page: what Sphinx writes
as lists that are none, entries of the bibliography and a signature of several lines.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SIGNATURE = re.compile(r'<dl>\n(<dd><em class="sig-param">.*?</dd>\n)</dl>', re.S)

ICONS = re.compile(  # of the theme's style: a picture each, and the fonts that they come from
    r"[^{}]*\.fa-[\w-]+:before\{content:[^{}]*\}|@font-face\{[^{}]*Font Awesome[^{}]*\}"
)


def _lines(found: re.Match[str]) -> str:
    lines = found[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">\n{lines}</span>'


def _page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    body = context.get("body") or ""
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    context["body"] = SIGNATURE.sub(_lines, body)


def _trim(app: Sphinx, error: Exception | None) -> None:
    """The theme's style without the 2,000 icons that no page shows, and these away."""
    static = Path(app.outdir, "_static")
    style = static / "styles" / "pydata-sphinx-theme.css"
    if error is None and style.is_file():
        style.write_text(ICONS.sub("", style.read_text()))
        shutil.rmtree(static / "vendor" / "fontawesome", ignore_errors=True)
        for script in (static / "scripts").glob("fontawesome.js*"):
            script.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_css_file("lean.css", priority=890)
    app.add_js_file("wide.js")
    app.connect("html-page-context", _page)
    app.connect("build-finished", _trim)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
