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
    """Whoever needs `geomem` itself stands above the library, in the companion or on top of it."""
    return FLOORS.index("companion" if module == "geomem" else module.split(".")[1])


def test_no_module_imports_from_a_floor_above():
    """Nor from the front door, `geomem` itself, which stands on all that a caller may ask for."""
    inits = {f"geomem.{path.parent.name}": path for path in (ROOT / "geomem").glob("*/__init__.py")}
    assert {*FLOORS} >= {name.split(".")[1] for name in inits}
    upward = [
        f"{name} imports {other}"
        for name, path in (MODULES | inits).items()
        for other in imported(path)
        if floor(other) > floor(name)
    ]
    assert upward == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: {m for m in imported(path) if m in MODULES} for name, path in MODULES.items()}
    assert list(TopologicalSorter(graph).static_order())  # raises CycleError and names the circle
