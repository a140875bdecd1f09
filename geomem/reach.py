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
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import metadata, util
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
NAME = PACKAGE.name
BEGUN = time.time()  # the code that computes here is that of about then
SILENT = {f"{NAME}.progress"}  # it shows, and never computes
DEVICE = re.compile(r"\+(cpu|cu\d+|rocm[\d.]+|xpu)$")  # what a wheel was built for, not from
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (*FUNCTIONS, ast.Lambda, ast.ClassDef, *COMPREHENSIONS)
BLOCKS = {"body", "handlers", "orelse", "finalbody", "cases"}  # where statements hold others
TABLES = {".csv", ".gz", ".mplstyle", ".npz"}  # what code reads that lies beside it
Name = tuple[str, str]  # a module, and a name in it; "" for what runs when it is imported


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
    package, tree = _package(*_files()), _parse(source)
    todo, outside = package.told_apart(package.meant(_Module.of(tree), tree))
    found = dict[Name, str]()
    while todo:
        if (name := todo.pop()) not in found:
            found[name], ours, others = package.definition(name)
            todo += ours
            outside |= others
    code = {".".join(name): digest for name, digest in found.items() if digest}
    for folder in {package.paths[module].parent for module, _ in found} - {PACKAGE}:
        code |= package.tables(folder)
    return Reached(dict(sorted(code.items())), _versions(outside))


def edited() -> bool:
    """Whether the code on disk is newer than this process: what is read is not what computes."""
    with suppress(OSError):  # a file that goes meanwhile
        return any(path.lstat().st_mtime > BEGUN for path in PACKAGE.rglob("*.py"))
    return True


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

    name: str = "__main__"
    defined: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imported: dict[str, list[Name]] = field(default_factory=dict)
    other: list[ast.stmt] = field(default_factory=list)

    @classmethod
    def of(cls, tree: ast.Module, name: str = "__main__", package: str = "") -> _Module:
        module = cls(name)
        for node in _statements(tree):  # those inside functions, too
            for bound, target in _imports(node, package):
                module.imported.setdefault(bound, []).append(target)
        for statement in tree.body:
            names = _bound(statement)
            for bound in names:
                module.defined.setdefault(bound, []).append(statement)
            if not names and not isinstance(statement, (ast.Import, ast.ImportFrom)):
                module.other.append(statement)
        return module


class _Package:
    """This package in one state of its files: its modules, and what the names in them mean.

    Scripts reach most definitions in common; each is followed once.
    """

    def __init__(self, root: Path, files: tuple[tuple[str, int], ...]):
        self.root, self.files = root, {Path(name): changed for name, changed in files}
        modules = [path for path in self.files if path.suffix == ".py"]
        modules.sort(key=lambda path: path.stem == "__init__")  # of one name the package wins
        self.paths = {_module_name(root, path): path for path in modules}
        self._definitions = dict[Name, tuple[str, list[Name], set[str]]]()

    def module(self, name: str) -> _Module:
        path = self.paths[name]
        return _parsed(name, path, self.files[path])

    def tables(self, folder: Path) -> dict[str, str]:
        """The SHA-256 of each table in a folder, by its path."""
        found = [path for path in self.files if path.parent == folder and path.suffix in TABLES]
        base = self.root.parent
        return {p.relative_to(base).as_posix(): _of_file(p, self.files[p]) for p in found}

    def definition(self, name: Name) -> tuple[str, list[Name], set[str]]:
        """The hash of what defines a name, and what that means, as `told_apart`."""
        if name not in self._definitions:
            module, symbol = self.module(name[0]), name[1]
            statements = module.defined.get(symbol, []) if symbol else module.other
            each = (one for statement in statements for one in self.meant(module, statement))
            meant = [*dict.fromkeys(each)]
            digest = _sha256(json.dumps([[*map(_dump, statements)], meant]).encode())
            self._definitions[name] = digest if statements else "", *self.told_apart(meant)
        return self._definitions[name]

    def told_apart(self, meant: Iterable[Name]) -> tuple[list[Name], set[str]]:
        """Names of this package, with what their import runs; and the packages of the others."""
        ours, outside = dict[Name, None](), set[str]()
        for module, symbol in meant:
            if module in SILENT:
                continue
            if module not in self.paths:
                outside.add(module.split(".")[0])
                continue
            ours[module, symbol] = None
            # A package is imported before its modules; this one as a whole only passes names on.
            while module not in ("", NAME):
                ours |= {(module, ""): None} if module in self.paths else {}
                module = module.rpartition(".")[0]
        return [*ours], outside - {"", NAME, "__main__"}

    def meant(
        self, module: _Module, tree: ast.AST, local: frozenset[str] = frozenset()
    ) -> Iterator[Name]:
        """What the names in some code of a module stand for: modules, and names of modules.

        local : names that the functions around this code bind, which mean nothing of the module.
        """
        for names in _named(tree, local):
            if isinstance(names, ast.Module):
                yield from self.meant(_Module.of(names), names)
                continue
            for name, symbol in self._resolved(module, names):
                yield name, symbol
                if not symbol and name in self.paths:  # handed on itself: all of it may be used
                    whole = self.module(name)
                    for inside in (*whole.defined, *whole.imported):
                        yield from self._resolved(whole, [inside])

    def _resolved(self, module: _Module, names: list[str]) -> Iterator[Name]:
        """The module and the name in it that a dotted name of some module's code means."""
        first, *rest = names
        for target in module.imported.get(first, []):
            yield from self._exported(*target, rest)
        if first in module.defined and module.name != "__main__":
            yield module.name, first

    def _exported(self, name: str, symbol: str, rest: list[str]) -> Iterator[Name]:
        """As `_resolved`, through packages that only pass a name on."""
        if rest and not symbol:
            symbol, *rest = rest
        if symbol and f"{name}.{symbol}" in self.paths:
            yield from self._exported(f"{name}.{symbol}", "", rest)
            return
        module = self.module(name) if name in self.paths else None
        passed = module.imported.get(symbol, []) if module else []
        for target in passed:
            yield from self._exported(*target, rest)
        if not passed or (module and symbol in module.defined):
            yield name, symbol


def _files() -> tuple[Path, tuple[tuple[str, int], ...]]:
    """This package's folder, and its code and tables, with the time when each was written."""
    kinds = {".py", *TABLES}
    found = [one for one in sorted(PACKAGE.rglob("*")) if one.suffix in kinds]
    return PACKAGE, tuple((str(path), path.stat().st_mtime_ns) for path in found)


_package = lru_cache(1)(_Package)


def _module_name(root: Path, path: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _named(node: ast.AST, local: frozenset[str]) -> Iterator[list[str] | ast.Module]:
    """The dotted names in some code but for local ones, as they stand; and code in its strings."""
    if names := _dotted(node):
        if names[0] not in local:
            yield names
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str) and f"from {NAME}" in node.value:
            with suppress(SyntaxError):  # of words
                yield _parse(node.value)
        return
    body = node.body if isinstance(node, (*FUNCTIONS, ast.ClassDef)) else []  # the rest is outside
    within = _locals(node, local) if isinstance(node, FUNCTIONS) else frozenset[str]()
    for child in ast.iter_child_nodes(node):
        yield from _named(child, within if child in body else local)


def _locals(
    function: ast.FunctionDef | ast.AsyncFunctionDef, around: frozenset[str]
) -> frozenset[str]:
    """The names that a function, or those around it, bind by more than an import."""
    taken = function.args
    each = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg]
    bound, meant = {one.arg for one in each if one is not None}, set[str]()
    for node in _statements(function):  # in any function inside, too
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


@cache
def _parsed(name: str, path: Path, changed: int) -> _Module:
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    return _Module.of(_parse(path.read_text(encoding="utf-8")), name, package)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """A node and the statements in it at any depth: `ast.walk` without the expressions."""
    todo = deque([tree])
    while todo:
        node = todo.popleft()
        todo.extend(
            one for block in node._fields if block in BLOCKS for one in getattr(node, block)
        )
        yield node


def _parse(source: str) -> ast.Module:
    """The code without its docstrings."""
    tree = ast.parse(source)
    for node in _statements(tree):
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


@cache
def _of_file(path: Path, changed: int) -> str:
    return _sha256(path.read_bytes())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
