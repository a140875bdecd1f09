"""The notebooks, their typed parameters, and the profiles: one system for all three.

A notebook is a jupytext percent file with one cell tagged ``parameters`` of annotated
plain types, each with a trailing comment. The comment is the parameter's help and may end
in its range: ``in [1, 1e6]``, ``in (0, 1)``, or ``in {a, b}``; ``or in [2, 1e6]`` allows the
default beside it. A range may name a parameter that this one must be ``below``, as in
``in [1e-6, 1e6], below sigma_max``; where that one is 0, its value is not known yet. The defaults
are the ``cpu`` profile; ``notebooks/profiles.toml`` holds what the others change.
"""

from __future__ import annotations

import ast
import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from geomem.data.named import LOADERS, PLACES_VARIABLE, own_name, path_of, places
from geomem.errors import InputError
from geomem.project import project_root
from geomem.typed import Value, cast, within

TYPES: dict[str, type[Value]] = {"int": int, "float": float, "str": str, "bool": bool}
DEFAULT_PROFILE = "cpu"
MARKS = ". , : ; = + / _ -"  # none means anything in a template, on a page or in BibTeX
TEXT = re.compile(rf"[\w{re.escape(MARKS)}]*")
RANGE = re.compile(r"(\bor )?\bin (?:([\[(])(\S+), (\S+)([\])])(?:, below (\w+))?|\{(.+)\})$")
OUTCOME = re.compile(r"^```\{outcome\} (\w+)$", re.M)


class ParameterError(InputError):
    """An unknown notebook, profile or parameter, or a value that does not fit."""


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name, plain type, default, and help with the range at its end."""

    name: str
    type: str
    default: Value
    help: str

    def check(self, value: Value | str) -> Value:
        """``value`` as this parameter's type, from TOML or from the command line's text."""
        try:
            value = cast(value, TYPES[self.type])
        except ValueError as error:
            raise ParameterError(f"{self.name}: {error} ({self.help}).") from None
        if not self._in_range(value):
            raise ParameterError(f"{self.name}: {value!r} is out of range ({self.help}).")
        if self.is_dataset and (value or self.default):  # some may be left out
            return _dataset(str(value))
        if self.name.endswith("_datasets"):
            return ",".join(_dataset(one) for one in str(value).split(",") if one)
        if isinstance(value, str) and not TEXT.fullmatch(value):
            raise ParameterError(f"{self.name}: letters, digits and {MARKS} only, not {value!r}.")
        return value

    def line(self, value: Value) -> str:
        """Its line of a notebook, with this value."""
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
        return f"{self.name}: {self.type} = {shown}  # {self.help}"

    @property
    def is_dataset(self) -> bool:
        return self.name == "dataset" or self.name.endswith("_dataset")

    @property
    def below(self) -> str | None:
        """The parameter that this one must be smaller than, if its range names one."""
        match = RANGE.search(self.help)
        return match and match[6]

    def _in_range(self, value: Value) -> bool:
        match = RANGE.search(self.help)
        if match is None:
            return True
        default_too, opening, low, high, closing, _, names = match.groups()
        if default_too and value == self.default:
            return True
        if names is not None:
            return str(value) in [name.strip() for name in names.split(",")]
        return within(float(value), f"{opening}{low}, {high}{closing}")


@dataclass(frozen=True)
class Notebook:
    """One notebook of the project: ``path`` is its percent file, the source of truth."""

    name: str
    path: Path

    @property
    def parameters(self) -> dict[str, Parameter]:
        return _parameters(self.path, self.path.stat().st_mtime_ns)

    @property
    def trains(self) -> bool:
        """Whether it trains networks, of one preset or of several."""
        return bool({"preset", "models"} & self.parameters.keys())

    @property
    def title(self) -> str:
        match = re.search(r"^# # (.+)$", self.path.read_text(), re.M)
        return match.group(1) if match else self.name


@cache  # a notebook is asked for its parameters many times, and inspecting it takes a while
def _parameters(path: Path, changed: int) -> dict[str, Parameter]:
    parameters = {}
    for cell in read(path).cells:
        if "parameters" in cell.metadata.get("tags", []):
            lines = cell.source.encode().splitlines()
            for line in parsed(path, cell.source).body:
                rest = lines[(line.end_lineno or 0) - 1][line.end_col_offset :].decode()
                parameter = _parameter(path, line, rest.lstrip().removeprefix("#").strip())
                parameters[parameter.name] = parameter
    for name, parameter in parameters.items():
        if parameter.below and parameter.below not in parameters:
            raise ParameterError(f"{path.name}: {name} is below {parameter.below}, which is none.")
    return parameters


def _parameter(path: Path, line: ast.stmt, about: str) -> Parameter:
    """The parameter that a line ``name: type = default  # about`` sets."""
    if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value:
        name, kind = line.target.id, ast.unparse(line.annotation)
        if kind in TYPES and about:
            return Parameter(name, kind, ast.literal_eval(line.value), about)
    raise ParameterError(
        f"{path.name}: parameter {ast.unparse(line).partition(':')[0]} needs a plain type "
        f"({', '.join(TYPES)}), a default and a trailing comment."
    )


def parsed(path: Path, source: str) -> ast.Module:
    """Code of a notebook; ParameterError where it is none."""
    try:
        return ast.parse(source)
    except SyntaxError as error:
        line = str(error.text).strip()
        raise ParameterError(f"{path.name}: {error.msg}: {line!r}.") from error


def read(path: Path) -> Any:
    """A percent file as a notebook object with a kernelspec."""
    import jupytext

    # Without their magics, for which jupytext would take a comment like "# copy window of ...".
    notebook = jupytext.read(path, fmt={"format_name": "percent", "comment_magics": False})
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata.setdefault("kernelspec", python)
    return notebook


def notebooks(root: Path) -> dict[str, Notebook]:
    """Every notebook by name, in the order in which the book shows them."""
    contents, shown = (root / "_toc.yml").read_text(), chapters(root)
    paths = {path.stem: path for path in sorted((root / "notebooks").glob("*.py"))}
    places = {name: shown.get(name, f"notebooks/{name}") for name in paths}
    order = sorted(paths, key=lambda name: contents.find(f"{places[name]}\n") % (1 << 30))
    return {name: Notebook(name, paths[name]) for name in order}


def chapters(root: Path) -> dict[str, str]:
    """Of each notebook the document that is its chapter: the one that shows its outcome."""
    return {
        name: f"book/{path.stem}"
        for path in sorted((root / "book").glob("*.md"))
        for name in OUTCOME.findall(path.read_text())
    }


def pick(root: Path, name: str) -> Notebook:
    known = notebooks(root)
    if name not in known:
        raise ParameterError(f"no notebook {name!r}; known: {', '.join(known)}.")
    return known[name]


@dataclass(frozen=True)
class Profile:
    """One named set of parameters for every notebook, with its cost."""

    name: str
    about: str
    seconds: dict[str, int]  # per notebook, its models there
    parameters: dict[str, dict[str, Value]]  # per notebook, what differs from the defaults
    training: int = 0  # seconds of training all models that the notebooks need
    basis: str = ""  # where these seconds are from


def profiles(root: Path) -> dict[str, Profile]:
    """The profiles of notebooks/profiles.toml, every entry checked against the notebooks.

    One that is ``like`` another before it says what differs from that.
    """
    known = notebooks(root)
    found = dict[str, Profile]()
    for name, entry in tomllib.loads((root / "notebooks" / "profiles.toml").read_text()).items():
        changes = entry.get("parameters", {})
        for notebook in {*changes, *entry.get("seconds", {})} - {*known}:
            raise ParameterError(f"profile {name}: no notebook {notebook!r}.")
        checked = {
            notebook: {key: _known(known[notebook], key).check(value) for key, value in new.items()}
            for notebook, new in changes.items()
        }
        other = Profile(name, "", {}, {}, basis="on two cores")
        if "like" in entry:
            other = found[entry["like"]]
            checked = other.parameters | {
                notebook: other.parameters.get(notebook, {}) | new
                for notebook, new in checked.items()
            }
        seconds = other.seconds | entry.get("seconds", {})
        first, basis = entry.get("training", other.training), entry.get("basis", other.basis)
        found[name] = Profile(name, entry["about"], seconds, checked, first, basis)
    return found


def pick_profile(root: Path, name: str) -> Profile:
    known = profiles(root)
    if name not in known:
        raise ParameterError(f"no profile {name!r}; known: {', '.join(known)}.")
    return known[name]


def resolve(
    notebook: Notebook, profile: Profile, overrides: Mapping[str, str] | None = None
) -> dict[str, Value]:
    """Every parameter of a notebook: its defaults, the profile's changes, then overrides."""
    values = {name: p.check(p.default) for name, p in notebook.parameters.items()}
    values |= profile.parameters.get(notebook.name, {})
    for name, value in (overrides or {}).items():
        values[name] = _known(notebook, name).check(value)
    for name, parameter in notebook.parameters.items():
        if (other := parameter.below) and 0 != float(values[other]) <= float(values[name]):
            raise ParameterError(
                f"{notebook.name}: {name} {values[name]} is not below {other} {values[other]}."
            )
    return values


def resolve_all(
    chosen: Sequence[Notebook], profile: Profile, overrides: Mapping[str, str]
) -> dict[str, dict[str, Value]]:
    """As `resolve`, for several notebooks: an override goes to each that has the parameter.

    One named NOTEBOOK.PARAMETER goes to that notebook alone, whatever the others get.
    """
    of_all = {name for notebook in chosen for name in notebook.parameters}
    of_one = {f"{notebook.name}.{name}" for notebook in chosen for name in notebook.parameters}
    for name in overrides:
        if name not in of_all | of_one:
            known = f"known: {', '.join(sorted(of_all))}; or NOTEBOOK.PARAMETER for one alone."
            raise ParameterError(f"no parameter {name!r}; {known}")
    resolved = {}
    for n in chosen:
        shared = {name: overrides[name] for name in overrides if name in n.parameters}
        own = {
            name: overrides[f"{n.name}.{name}"]
            for name in n.parameters
            if f"{n.name}.{name}" in overrides
        }
        resolved[n.name] = resolve(n, profile, shared | own)
    return resolved


def _known(notebook: Notebook, name: str) -> Parameter:
    if name not in notebook.parameters:
        known = ", ".join(notebook.parameters)
        raise ParameterError(f"{notebook.name} has no parameter {name!r}; known: {known}.")
    return notebook.parameters[name]


def _dataset(name: str) -> str:
    """A data set's name, or its path: relative to the project, or outside it its last part."""
    known = places()
    if name in LOADERS or (name in known and not Path(name).exists()):
        return name
    path = Path(name) if name in known else path_of(name)
    if not name or not path.exists():
        raise ParameterError(
            f"no data set {name!r}: take one of {', '.join(LOADERS)}, or an existing path."
        )
    shown = os.path.relpath(path.resolve(), project_root().resolve())
    shown = own_name(path.resolve().name if shown.startswith("..") else shown)
    if known.setdefault(shown, str(path.resolve())) != str(path.resolve()):
        raise ParameterError(f"two data sets would be called {shown!r}: rename one of them.")
    os.environ[PLACES_VARIABLE] = json.dumps(known)
    return shown
