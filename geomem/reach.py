"""What code a result stands on: the definitions of this package that a piece of source reaches.

One rule for notebooks and models. From the names that the source uses, imports are followed from
definition to definition: a function counts with whatever it names, a class with all its methods,
and a module that is reached with the statements that run when it is imported. Comments,
docstrings and formatting do not count, nor does what only shows progress.
"""

from __future__ import annotations

import ast
import hashlib
import platform
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NAME = PACKAGE.name
SILENT = {f"{NAME}.progress"}  # it shows, and never computes
TABLES = {".csv", ".mplstyle", ".npz"}  # what code reads that lies beside it


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
    walk.follow(_Module.of(source, "__main__"), ast.parse(source))
    files = {
        path.relative_to(PACKAGE.parent).as_posix(): _sha256(path.read_bytes())
        for folder in {_path(name).parent for name, _ in walk.found} - {PACKAGE}
        for path in folder.iterdir()
        if path.suffix in TABLES
    }
    code = {f"{module}.{name}": digest for (module, name), digest in walk.found.items()}
    return Reached(dict(sorted({**code, **files}.items())), _versions(walk.outside))


def without_words(source: str) -> str:
    """Source as text that neither comments, docstrings nor formatting change."""
    return _dump(ast.parse(source))


@dataclass(frozen=True)
class _Module:
    """A module as its top level binds it.

    Attributes
    ----------
    defined : the statements that define each name.
    imported : what each imported name stands for: a module, or a name of one.
    other : the rest, which runs whenever the module is imported.
    """

    name: str
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    other: list[ast.stmt] = field(default_factory=list)

    @classmethod
    def of(cls, source: str, name: str) -> _Module:
        module, tree = cls(name), ast.parse(source)
        for node in ast.walk(tree):  # those inside functions, too
            if isinstance(node, ast.Import):
                for alias in node.names:
                    whole = alias.name if alias.asname else alias.name.split(".")[0]
                    module.imported[alias.asname or whole] = (whole, "")
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    module.imported[alias.asname or alias.name] = (node.module or "", alias.name)
        for statement in tree.body[1:] if ast.get_docstring(tree) else tree.body:
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

    def follow(self, module: _Module, tree: ast.AST) -> None:
        """Reach whatever the code names."""
        names = _dotted(tree)
        for node in ast.iter_child_nodes(tree) if not names else ():
            self.follow(module, node)
        name, symbol = _resolve(module, names) if names else ("", "")
        self.reach(name, symbol)
        if _ours(name) and not symbol:  # the module itself is handed on: all of it may be used
            for symbol in [*_module(name).defined]:
                self.reach(name, symbol)

    def reach(self, name: str, symbol: str) -> None:
        """Count a name of a module, or with "" what runs when the module is imported."""
        if not _ours(name):
            self.outside |= {name.split(".")[0]} - {"", "__main__"}
            return
        if name in SILENT or (name, symbol) in self.found:
            return
        module = _module(name)
        statements = module.defined.get(symbol, []) if symbol else module.other
        if symbol and not statements:
            return
        self.found[name, symbol] = _sha256("\n".join(map(_dump, statements)).encode())
        for statement in statements:
            self.follow(module, statement)
        self.reach(name, "")


def _resolve(module: _Module, names: list[str]) -> tuple[str, str]:
    """The module and the name in it that a dotted name of some module's code means."""
    first, *rest = names
    if first in module.imported:
        return _exported(*module.imported[first], rest)
    if first in module.defined and module.name != "__main__":
        return module.name, first
    return "", ""


def _exported(name: str, symbol: str, rest: list[str]) -> tuple[str, str]:
    """As `_resolve`, through packages that only pass a name on."""
    while symbol or rest:
        symbol, rest = (symbol, rest) if symbol else (rest[0], rest[1:])
        if not _ours(name):
            return name, symbol
        if _path(f"{name}.{symbol}").is_file():
            name, symbol = f"{name}.{symbol}", ""
        elif symbol in _module(name).imported:
            name, symbol = _module(name).imported[symbol]
        else:
            return name, symbol
    return name, ""


def _dotted(node: ast.AST) -> list[str]:
    """a.b.c as its names; empty for anything else."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return [*before, node.attr] if before else []
    return [node.id] if isinstance(node, ast.Name) else []


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
    return _Module.of(path.read_text(encoding="utf-8"), name)


def _dump(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        body = body if isinstance(body, list) else []  # a lambda's is one expression
        opening = body[0] if body else None
        if isinstance(opening, ast.Expr) and isinstance(opening.value, ast.Constant):
            body[0] = ast.Pass()
    return ast.dump(tree)


def _versions(packages: set[str]) -> dict[str, str]:
    distributions = metadata.packages_distributions()
    found = {
        distribution: metadata.version(distribution)
        for package in packages
        for distribution in distributions.get(package, [])[:1]
    }
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python, **dict(sorted(found.items()))}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
