"""The API reference: a page for each public name, linked both ways with what it implements.

A page is what autodoc and numpydoc make of the docstring. Its section References names the
source, and links to the definition, statement or equation of the book where there is one. A
definition or statement gets a line "In code" that links back, and every `geomem.NAME` in any
text is a link. A docstring that lacks a section fails the build.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

import geomem
from geomem.companion.sphinx_ext import Generated

FOLDER = "book/api"
# Of numpydoc's checks those of the form: sections and their order, a summary of one sentence,
# every parameter with type and description, what is returned, an example.
FORM = set(
    "GL03 GL06 GL07 GL08 SS01 SS03 SS06 PR01 PR02 PR03 PR04 PR07 RT01 RT03 YD01 EX01".split()
)
CITED = re.compile(r":(?:prf:ref|eq):`(?:[^`<]*<)?([\w-]+)>?`")


def public() -> dict[str, Any]:
    """The public objects of the package by name."""
    return {name: getattr(geomem, name) for name in geomem.__all__}


def lacks(obj: Any) -> list[str]:
    """What the docstring of a public object lacks, a phrase each."""
    form = FORM - {"PR01"} if getattr(obj, "_is_protocol", False) else FORM  # no constructor
    found = [text for code, text in validate(get_doc_object(obj))["errors"] if code in form]
    sections = get_doc_object(obj)
    if inspect.isfunction(obj) and not sections["Raises"]:
        found.append("No Raises section found")
    if not sections["References"]:
        found.append("No References section found, which names its source")
    if sections["Examples"] and not any(line.startswith(">>>") for line in sections["Examples"]):
        found.append("No code in the Examples section")
    return found


def page(name: str) -> str:
    """The document of a public name; classes apart, since some disks take Ab and ab as one."""
    kind = "classes" if inspect.isclass(getattr(geomem, name)) else "functions"
    return f"{FOLDER}/{kind}/{name}"


@cache
def citing() -> dict[str, list[str]]:
    """The public names that implement what a label of the book stands for."""
    found: dict[str, list[str]] = {}
    for name, obj in public().items():
        for label in CITED.findall("\n".join(get_doc_object(obj)["References"])):
            found.setdefault(label, []).append(name)
    return found


class Links(SphinxTransform):
    """The way back: "In code" in the box that a docstring cites, and every `geomem.NAME` a link."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        for literal in [*self.document.findall(nodes.literal)]:
            name = literal.astext().removesuffix("()").removeprefix("geomem.")
            whole = literal.astext().startswith("geomem.") and name in geomem.__all__
            if whole and not isinstance(literal.parent, nodes.reference | pending_xref):
                literal.replace_self(self.link(name, literal.deepcopy()))
        for node in [*self.document.findall(nodes.Element)]:
            names = citing().get(node.get("label", ""), [])
            if names and isinstance(node, nodes.Admonition):
                node += self.line(names)

    def line(self, names: list[str]) -> nodes.paragraph:
        paragraph = nodes.paragraph("", "In code: ", classes=["in-code"])
        for i, name in enumerate(names):
            text = f"geomem.{name}"
            paragraph += nodes.Text(", " if i else "")
            paragraph += self.link(name, nodes.literal(text, text))
        return paragraph

    def link(self, name: str, shown: nodes.literal) -> pending_xref:
        what = {"refdomain": "py", "reftype": "obj", "reftarget": f"geomem.{name}"}
        return pending_xref("", shown, refdoc=self.env.docname, refwarn=True, **what)


class ApiTable(Generated):
    """`{api-table} SUBPACKAGE`: its public names, what each is, and the source."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = [".. currentmodule:: geomem", "", ".. list-table::", "   :header-rows: 1", ""]
        for cells in [("name", "what it is", "source"), *self.rows(self.arguments[0])]:
            lines += [f"   {' ' if i else '*'} - {cell}" for i, cell in enumerate(cells)]
        table = "\n".join(lines)
        return self.parse(f":::::{{div}} stacked\n```{{eval-rst}}\n{table}\n```\n:::::")

    def rows(self, package: str) -> Iterator[tuple[str, str, str]]:
        for name, obj in public().items():
            if obj.__module__.startswith(f"geomem.{package}."):
                doc = get_doc_object(obj)
                summary, source = (" ".join(doc[part]) for part in ("Summary", "References"))
                yield f":py:obj:`~geomem.{name}`", summary, source


def _types(app: Sphinx, config: Any) -> None:
    """The public names in the types of docstrings become links, and nothing else does."""
    config.numpydoc_xref_param_type = True
    config.numpydoc_xref_ignore = "all"
    config.numpydoc_xref_aliases_complete = {n: f"geomem.{n}" for n in geomem.__all__}


def _clear(app: Sphinx, config: Any) -> None:
    """What a killed build left would be excluded, as all that the contents do not list."""
    _remove(app, None)


def _write(app: Sphinx) -> None:
    """The pages as sources, until the build has ended; what is wrong with docstrings.

    They are in no contents: a hundred names in the sidebar of every page help nobody, and took
    most of the time of a build.
    """
    for name, obj in public().items():
        for what in lacks(obj):
            logging.getLogger(__name__).warning("the docstring of geomem.%s: %s", name, what)
        directive = "autoclass" if inspect.isclass(obj) else "autofunction"
        path = Path(app.srcdir, page(name)).with_suffix(".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"# {name}\n\n[All public names](../../api.md)\n\n"
        text += f"```{{eval-rst}}\n.. {directive}:: geomem.{name}\n```\n"
        path.write_text(f"---\norphan: true\n---\n{text}")


def _remove(app: Sphinx, error: Exception | None) -> None:
    shutil.rmtree(Path(app.srcdir, FOLDER), ignore_errors=True)


def setup(app: Sphinx) -> dict[str, Any]:
    for extension in ("sphinx.ext.autodoc", "sphinx.ext.viewcode", "numpydoc"):
        app.setup_extension(extension)
    app.add_transform(Links)
    app.add_directive("api-table", ApiTable)
    app.connect("config-inited", _clear, priority=100)  # before the contents are read
    app.connect("config-inited", _types, priority=900)  # after numpydoc's
    app.connect("builder-inited", _write)
    app.connect("build-finished", _remove)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
