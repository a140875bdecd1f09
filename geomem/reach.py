"""What code a result stands on: the definitions of this package that a piece of source reaches.

One rule for notebooks and models. From the names that the source uses, imports are followed from
definition to definition: a function counts with whatever it names and where that is imported
from, a class with all its methods, and a module that is reached with the statements that run when
it is imported. So does code in a string, which another process is to run. A name that a function
binds for itself is not that of its module. Comments, docstrings and formatting do not count, nor
does what only shows progress.

Not followed: names that are made at run time, definitions that a decorator registers and nothing
names, and what a module that is imported but never reached does to others.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata, util
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NAME = PACKAGE.name
SILENT = {f"{NAME}.progress"}  # it shows, and never computes
DEVICE = re.compile(r"\+(cpu|cu\d+|rocm[\d.]+|xpu)$")  # what a wheel was built for, not from
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ClassDef, *COMPREHENSIONS)
TABLES = {".csv", ".gz", ".mplstyle", ".npz"}  # what code reads that lies beside it


@dataclass(frozen=True)
class Reached:
    """What a piece of source stands on.

    Attributes
    ----------
    code : SHA-256 of each definition of this package, by its full name; also of the tables and
        styles that lie beside a module that is reached.
    versions : of Python and of each other package that the source or those definitions name.
    """

    code: dict[str, str]
    versions: dict[str, str]


def reached(source: str) -> Reached:
    """Follow the names of a script; its own statements do not count among the definitions.

    >>> sorted(reached("from geomem.diffusion import noise; noise.karras_sigmas(3)").versions)
    ['numpy', 'python']
    """
    walk = _Walk()
    for meant in _meant(_Module.of(source, "__main__"), _parse(source)):
        walk.reach(*meant)
    files = {
        path.relative_to(PACKAGE.parent).as_posix(): _sha256(path.read_bytes())
        for folder in {_path(name).parent for name, _ in walk.found} - {PACKAGE}
        for path in folder.iterdir()
        if path.suffix in TABLES
    }
    code = {f"{module}.{name}": digest for (module, name), digest in walk.found.items() if digest}
    return Reached(dict(sorted({**code, **files}.items())), _versions(walk.outside))


def without_words(source: str) -> str:
    """Source as text that neither comments, docstrings nor formatting change."""
    return ast.dump(_parse(source))


@dataclass(frozen=True)
class _Module:
    """A module as its top level binds it.

    Attributes
    ----------
    defined : the statements that define each name.
    imported : what each imported name stands for: a module, or a name of one; two functions may
        import two things by one name.
    other : the rest, which runs whenever the module is imported.
    """

    name: str
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    other: list[ast.stmt] = field(default_factory=list)

    @classmethod
    def of(cls, source: str, name: str, package: str = "") -> _Module:
        module, tree = cls(name), _parse(source)
        for node in ast.walk(tree):  # those inside functions, too
            for bound, target in _imports(node, package):
                module.imported.setdefault(bound, []).append(target)
        for statement in tree.body:
            names = _bound(statement)
            for bound in names:
                module.defined.setdefault(bound, []).append(statement)
            if not names and not isinstance(statement, (ast.Import, ast.ImportFrom)):
                module.other.append(statement)
        return module


class _Walk:
    def __init__(self) -> None:
        self.found: dict[tuple[str, str], str] = {}
        self.outside: set[str] = set()
        self.state = _state()

    def reach(self, name: str, symbol: str) -> None:
        """Count a name of a module, or with "" what runs when the module is imported."""
        if name in SILENT or (name, symbol) in self.found:
            return
        if not _ours(name):
            self.outside |= {name.split(".")[0]} - {"", NAME, "__main__"}
            return
        self.found[name, symbol], meant = _definition(name, symbol, self.state)
        for other in meant:
            self.reach(*other)
        # A package is imported before its modules; this one as a whole only passes names on.
        for whole in {name, name.rpartition(".")[0]} - {NAME}:
            self.reach(whole, "")


def _state() -> str:
    """What tells one state of this package's code from another."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return _sha256(json.dumps([(str(path), path.stat().st_mtime_ns) for path in paths]).encode())


@cache  # scripts reach most definitions in common
def _definition(name: str, symbol: str, _: str) -> tuple[str, list[tuple[str, str]]]:
    """The hash of what defines a name of a module, and what that means, in a state of the code."""
    module = _module(name)
    statements = module.defined.get(symbol, []) if symbol else module.other
    meant = [*dict.fromkeys(m for statement in statements for m in _meant(module, statement))]
    digest = _sha256(json.dumps([[*map(_dump, statements)], meant]).encode())
    return digest if statements else "", meant


def _meant(
    module: _Module, tree: ast.AST, local: frozenset[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """What the names in some code of a module stand for: modules, and names of modules.

    local : names that the functions around this code bind, which mean nothing of the module.
    """
    names = _dotted(tree)
    for name, symbol in _resolved(module, names) if names and names[0] not in local else ():
        yield name, symbol
        if _ours(name) and not symbol:  # the module itself is handed on: all of it may be used
            whole = _module(name)
            for inside in (*whole.defined, *whole.imported):
                yield from _resolved(whole, [inside])
    text = tree.value if isinstance(tree, ast.Constant) else None
    if isinstance(text, str) and f"from {NAME}" in text:
        with suppress(SyntaxError):  # of words
            yield from _meant(_Module.of(text, "__main__"), _parse(text))
    body = tree.body if isinstance(tree, (*FUNCTIONS, ast.ClassDef)) else []  # the rest is outside
    within = _locals(tree, local) if isinstance(tree, FUNCTIONS) else frozenset[str]()
    for node in ast.iter_child_nodes(tree) if not names else ():
        yield from _meant(module, node, within if node in body else local)


def _locals(
    function: ast.FunctionDef | ast.AsyncFunctionDef, around: frozenset[str]
) -> frozenset[str]:
    """The names that a function, or those around it, bind by more than an import."""
    taken = function.args
    each = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg]
    bound, meant = {one.arg for one in each if one is not None}, set[str]()
    for node in ast.walk(function):  # in any function inside, too
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            meant |= {*node.names}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            meant |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    nodes = list[ast.AST](function.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        if not isinstance(node, SCOPES):  # what these bind is their own
            nodes += ast.iter_child_nodes(node)
    return (around | bound) - meant


def _resolved(module: _Module, names: list[str]) -> Iterator[tuple[str, str]]:
    """The module and the name in it that a dotted name of some module's code means."""
    first, *rest = names
    for target in module.imported.get(first, []):
        yield from _exported(*target, rest)
    if first in module.defined and module.name != "__main__":
        yield module.name, first


def _exported(name: str, symbol: str, rest: list[str]) -> Iterator[tuple[str, str]]:
    """As `_resolved`, through packages that only pass a name on."""
    if rest and not symbol:
        symbol, *rest = rest
    if symbol and _ours(f"{name}.{symbol}"):
        yield from _exported(f"{name}.{symbol}", "", rest)
        return
    passed = _module(name).imported.get(symbol, []) if _ours(name) else []
    for target in passed:
        yield from _exported(*target, rest)
    if not passed or symbol in _module(name).defined:
        yield name, symbol


def _dotted(node: ast.AST) -> list[str]:
    """a.b.c as its names; empty for anything else."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return [*before, node.attr] if before else []
    return [node.id] if isinstance(node, ast.Name) else []


def _imports(node: ast.AST, package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Each name that a statement imports, and what it stands for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            whole = alias.name if alias.asname else alias.name.split(".")[0]
            yield alias.asname or whole, (whole, "")
    elif isinstance(node, ast.ImportFrom):
        name = util.resolve_name("." * node.level + (node.module or ""), package)
        for alias in node.names:
            yield alias.asname or alias.name, (name, alias.name)


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return [
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
    return []


def _ours(name: str) -> bool:
    return name.split(".")[0] == NAME and _path(name).is_file()


def _path(name: str) -> Path:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _module(name: str) -> _Module:
    path = _path(name)
    return _parsed(name, path, path.stat().st_mtime_ns)


@cache
def _parsed(name: str, path: Path, changed: int) -> _Module:
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    return _Module.of(path.read_text(encoding="utf-8"), name, package)


def _parse(source: str) -> ast.Module:
    """The code without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            opening = node.body[0] if node.body else None
            if isinstance(opening, ast.Expr) and isinstance(opening.value, ast.Constant):
                alone = len(node.body) == 1 and not isinstance(node, ast.Module)
                node.body[:1] = [ast.Pass()] if alone else []
    return tree


_dump = cache(ast.dump)
_distributions = cache(metadata.packages_distributions)


def _versions(packages: set[str]) -> dict[str, str]:
    distributions = _distributions()
    found = {
        distribution: DEVICE.sub("", metadata.version(distribution))
        for package in packages
        for distribution in distributions.get(package, [])[:1]
    }
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **dict(sorted(found.items()))}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
