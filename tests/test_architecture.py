"""Imports run one way, and a reader finds a definition by the name of its file."""

import ast
from graphlib import TopologicalSorter

from conftest import ROOT

# From the ground up: each floor may import from those before it, and from itself.
FLOORS = [
    "errors",
    "disk",
    "children",
    "machine",
    "workers",
    "typed",
    "project",
    "progress",
    "reach",
    "digitized",
    "geometry",
    "data",
    "diffusion",
    "denoisers",
    "memorization",
    "theorems",
    "plots",
    "report",
    "companion",
    "cli",
]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "geomem").rglob("*.py"))
    if path.name not in ("__init__.py", "__main__.py")
}


def imported(path):
    """The modules of this package that one imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("geomem"):
            for alias in node.names:
                yield node.module if node.module in MODULES else f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("geomem"))


def floor(module):
    return FLOORS.index(module.split(".")[1])


def test_no_module_imports_from_a_floor_above():
    upward = [
        f"{name} imports {other}"
        for name, path in MODULES.items()
        for other in imported(path)
        if other.split(".")[1:2] and floor(other) > floor(name)
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: {m for m in imported(path) if m in MODULES} for name, path in MODULES.items()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError and names the circle
