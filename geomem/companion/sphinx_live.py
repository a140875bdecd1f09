"""`{live} NAME`: the place of a live figure, and its scripts, on the page that shows it alone.

::

    ```{live} plane
    :notebook: regimes
    :twin: fig-plane

    What can be moved, and what to look for.
    ```

The data are what the notebook left with `geomem.companion.live.attach_live`; ``live/NAME.js`` in
the book's assets computes the rest. The twin is the still figure that is numbered and printed.
``:scripts: pictures`` loads ``live/pictures.js`` before; what the notebook attached as NAME-...
lies beside the scripts, for them to load when it is needed.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging

from geomem.companion.live import LIMIT, file_of
from geomem.companion.results import Result
from geomem.companion.sphinx_ext import Generated

logger = logging.getLogger(__name__)
STAGE = """<div class="live-stage" data-live="{name}" data-scripts="{version}"></div>
<noscript><p>It is computed in the browser, which needs JavaScript: here that is switched off.</p>
</noscript>"""
POINTER = "To move by hand; its still picture, to print and to cite: {{numref}}`{twin}`."


class Live(Generated):
    """`{live} NAME`, as the module says."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {
        "notebook": directives.unchanged_required,
        "twin": directives.unchanged_required,
        "scripts": str.split,
    }

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if not {"notebook", "twin"} <= self.options.keys():
            raise self.error(f"live figure {name!r} needs a notebook and its still twin")
        result = Result(Path(self.env.srcdir), self.options["notebook"])
        data = result.attachments(file_of(name))
        if not data:
            raise self.error(f"no data of a live figure {name!r}: run {self.options['notebook']}")
        data += result.attachments(file_of(f"{name}-*"))
        for path in data:
            self.env.note_dependency(str(path))
        box = nodes.container(classes=["live"], ids=[f"live-{name}"])
        box["live"] = [*self.options.get("scripts", []), name], [*map(str, data)]
        stage = STAGE.format(name=name, version=_version(Path(self.env.srcdir)))
        box += nodes.raw("", stage, format="html")
        pointer = POINTER.format(twin=self.options["twin"])
        box += self.parse("\n".join([*self.content, "", pointer]))
        return [box]


def _version(root: Path) -> str:
    """What tells the scripts from those of another build, which a browser may still keep."""
    found = hashlib.sha256()
    for path in sorted((root / "book" / "_assets" / "live").glob("*.js")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Scripts and data, in their order, on a page that has live figures; elsewhere none."""
    boxes = [] if doctree is None else doctree.findall(nodes.container)
    shown = [box["live"] for box in boxes if "live" in box]
    if not shown:
        return
    place = Path(app.outdir) / "_static" / "live"
    place.mkdir(parents=True, exist_ok=True)
    app.add_css_file("live/live.css", priority=900)
    loaded = ["frame.js"]
    for scripts, data in shown:
        for path in data:
            shutil.copyfile(path, place / Path(path).name)
        loaded += [Path(data[0]).name, *(f"{name}.js" for name in scripts)]
    for name in dict.fromkeys(loaded):
        app.add_js_file(f"live/{name}", loading_method="defer")


def _weigh(app: Sphinx, error: Exception | None) -> None:
    """A warning, which fails the strict book, where the live figures have grown too heavy."""
    if error is not None or app.builder.format != "html":
        return
    weight = sum(path.stat().st_size for path in (Path(app.outdir) / "_static/live").glob("*"))
    if weight > LIMIT:
        logger.warning(f"live figures weigh {weight / 1e6:.1f} MB, more than {LIMIT / 1e6:g}")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("live", Live)
    app.connect("html-page-context", _page)
    app.connect("build-finished", _weigh, priority=900)  # when the static files are in place
    return {"parallel_read_safe": True, "parallel_write_safe": True}
