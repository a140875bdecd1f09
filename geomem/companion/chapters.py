"""One page a chapter: notebooks stand beside theirs, and the code of a figure lies folded under it.

A notebook page is built with the chapter that shows its outcome, and found by search; it has no
place in the contents.
"""

from __future__ import annotations

import ast
import html
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from geomem.companion.folds import Fold, fold
from geomem.companion.notebooks import Notebook, chapters, pick, read
from geomem.companion.site import Site
from geomem.project import project_root

ROOT = project_root()
LEFT_OUT = {"parameters", "remove-cell"}  # tags of cells that are no code of a figure
DRAWS = "companion.figure("


def code(notebook: Notebook, id: str) -> list[str]:
    """The cells that make a figure: the one that draws it, and what it stands on since the last.

    Raises
    ------
    ValueError : no cell draws it.
    """
    since = list[str]()
    for source in _cells(notebook.path):
        since.append(source)
        if DRAWS in source:
            if f'"{id}"' in source:
                return _needed(since)
            since = []
    raise ValueError(f"{notebook.name}: no cell draws {id!r}.")


@cache
def _cells(path: Path) -> list[str]:
    return [
        cell.source
        for cell in read(path).cells
        if cell.cell_type == "code" and not LEFT_OUT & {*cell.metadata.get("tags", [])}
    ]


def _needed(cells: Sequence[str]) -> list[str]:
    """The last cell, and of those before it each that sets a name that one kept after it uses."""
    kept, used = [cells[-1]], _names(cells[-1])[1]
    for cell in reversed(cells[:-1]):
        sets, uses = _names(cell)
        if sets & used:
            kept, used = [cell, *kept], used | uses
    return kept


def _names(cell: str) -> tuple[set[str], set[str]]:
    """The names that a cell sets, and those that it uses."""
    sets, uses = set[str](), set[str]()
    for node in ast.walk(ast.parse(cell)):
        if isinstance(node, ast.Name):
            (uses if isinstance(node.ctx, ast.Load) else sets).add(node.id)
        elif isinstance(node, ast.alias):
            sets.add((node.asname or node.name).partition(".")[0])
    return sets, uses


def code_fold(name: str, id: str, up: str) -> Fold:
    """The code of a figure, as it stands in the notebook, and the way there."""
    cells = code(pick(ROOT, name), id)
    blocks = [nodes.literal_block(cell, cell, language="ipython3") for cell in cells]
    blocks[0]["ids"].append(anchor(id))
    there = nodes.reference("", "its notebook", refuri=f"{up}notebooks/{name}.html#{anchor(id)}")
    there["internal"] = True
    said = nodes.paragraph("", "All of it runs in ", there, nodes.Text("."))
    return fold("Code of this figure", [*blocks, said], classes=["figure-code"])


def anchor(id: str) -> str:
    """Of a figure's code: the fold in a chapter, and the cell that draws it in a notebook."""
    return f"code-{id}"


def elsewhere(published: Site, page: str, foot: str) -> str:
    """Links to the same page of the other builds, as HTML; ``foot`` says of which build this is."""
    ours = foot.partition(" · ")[0].split()  # "profile cpu"
    links = [
        f'<a href="{html.escape(address)}">{html.escape(name)}</a>'
        for name, address in published.elsewhere(f"{page}.html").items()
        if name not in ours
    ]
    return f" · The same page of the build {', '.join(links)}" if links else ""


def _beside(app: Sphinx, config: Any) -> None:
    """Build the notebooks of the chapters that the contents list, which exclude all other files."""
    shown = {
        f"notebooks/{n}.ipynb" for n, c in chapters(ROOT).items() if c in config.external_site_map
    }
    config.exclude_patterns = [p for p in config.exclude_patterns if p not in shown]


def _place(app: Sphinx, doctree: nodes.document) -> None:
    """A notebook page is in no contents by intention, and its cells are where figures are made."""
    if not app.env.docname.startswith("notebooks/"):
        return
    app.env.metadata[app.env.docname]["orphan"] = "true"
    cell: nodes.Element | None = None
    for node in doctree.findall(nodes.container):
        if "cell" in node["classes"]:
            cell = node
        elif "figure" in node and cell is not None:
            cell["ids"].append(anchor(node["figure"]))


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("geomem.companion.folds")
    app.connect("config-inited", _beside, priority=950)  # after the contents have excluded them
    app.connect("doctree-read", _place)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
