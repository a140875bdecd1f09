"""The notebooks, their typed parameters, and the profiles: one system for all three.

A notebook is a jupytext percent file with one cell tagged ``parameters`` of annotated
plain types, each with a trailing comment. The comment is the parameter's help and may end
in its range: ``in [1, inf)``, ``in (0, 1)``, or ``in {a, b}``. The defaults are the
``cpu`` profile; ``notebooks/profiles.toml`` holds what the others change.
"""

from __future__ import annotations

import ast
import json
import math
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from geomem.data.named import LOADERS, PLACES_VARIABLE
from geomem.errors import InputError
from geomem.project import project_root
from geomem.typed import Value, cast

TYPES: dict[str, type[Value]] = {"int": int, "float": float, "str": str, "bool": bool}
DEFAULT_PROFILE = "cpu"
RANGE = re.compile(r"\bin ([\[(])(\S+), (\S+)([\])])$|\bin \{(.+)\}$")


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
            value = _dataset(str(value))
        return value

    @property
    def is_dataset(self) -> bool:
        return self.name == "dataset" or self.name.endswith("_dataset")

    def _in_range(self, value: Value) -> bool:
        match = RANGE.search(self.help)
        if match is None:
            return True
        opening, low, high, closing, names = match.groups()
        if names is not None:
            return str(value) in [name.strip() for name in names.split(",")]
        number, least, most = float(value), float(low), float(high)
        above = number >= least if opening == "[" else number > least
        return above and (number <= most if closing == "]" else number < most)


@dataclass(frozen=True)
class Notebook:
    """One notebook of the project: ``path`` is its percent file, the source of truth."""

    name: str
    path: Path

    @property
    def parameters(self) -> dict[str, Parameter]:
        return _parameters(self.path, self.path.stat().st_mtime_ns)

    @property
    def title(self) -> str:
        match = re.search(r"^# # (.+)$", self.path.read_text(), re.M)
        return match.group(1) if match else self.name


@cache  # a notebook is asked for its parameters many times, and inspecting it takes a while
def _parameters(path: Path, changed: int) -> dict[str, Parameter]:
    import papermill

    parameters = {}
    for name, entry in papermill.inspect_notebook(read(path)).items():
        kind = entry["inferred_type_name"]
        if kind not in TYPES or not entry["help"]:
            raise ParameterError(
                f"{path.name}: parameter {name} needs a plain type "
                f"({', '.join(TYPES)}) and a trailing comment."
            )
        default = ast.literal_eval(entry["default"])
        parameters[name] = Parameter(name, kind, default, entry["help"])
    return parameters


def read(path: Path) -> Any:
    """A percent file as a notebook object with a kernelspec."""
    import jupytext

    notebook = jupytext.read(path)
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata.setdefault("kernelspec", python)
    return notebook


def notebooks(root: Path) -> dict[str, Notebook]:
    """Every notebook by name, in the order in which the book shows them."""
    contents = (root / "_toc.yml").read_text()
    paths = {path.stem: path for path in sorted((root / "notebooks").glob("*.py"))}
    order = sorted(paths, key=lambda name: contents.find(f"notebooks/{name}\n") % (1 << 30))
    return {name: Notebook(name, paths[name]) for name in order}


def pick(root: Path, name: str) -> Notebook:
    known = notebooks(root)
    if name not in known:
        raise ParameterError(f"no notebook {name!r}; known: {', '.join(known)}.")
    return known[name]


@dataclass(frozen=True)
class Profile:
    """One named set of parameters for every notebook, with its measured cost."""

    name: str
    about: str
    seconds: dict[str, int]  # per notebook, measured on two CPU cores; what is said before a run
    parameters: dict[str, dict[str, Value]]  # per notebook, what differs from the defaults


def profiles(root: Path) -> dict[str, Profile]:
    """The profiles of notebooks/profiles.toml, every entry checked against the notebooks."""
    known = notebooks(root)
    found = {}
    for name, entry in tomllib.loads((root / "notebooks" / "profiles.toml").read_text()).items():
        changes = entry.get("parameters", {})
        for notebook in {*changes, *entry["seconds"]} - {*known}:
            raise ParameterError(f"profile {name}: no notebook {notebook!r}.")
        checked = {
            notebook: {key: _known(known[notebook], key).check(value) for key, value in new.items()}
            for notebook, new in changes.items()
        }
        found[name] = Profile(name, entry["about"], entry["seconds"], checked)
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
    low, high = values.get("sigma_min", 0), values.get("sigma_max", math.inf)
    if float(low) >= float(high):
        raise ParameterError(f"{notebook.name}: sigma_min {low} is not below sigma_max {high}.")
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
    places = json.loads(os.environ.get(PLACES_VARIABLE, "{}"))
    if name in LOADERS or name in places:
        return name
    path = Path(name).expanduser()
    if not name or not path.exists():
        raise ParameterError(
            f"no data set {name!r}: take one of {', '.join(LOADERS)}, or an existing path."
        )
    shown = os.path.relpath(path.resolve(), project_root().resolve())
    if shown.startswith(".."):
        shown = path.resolve().name
    places[shown] = str(path.resolve())
    os.environ[PLACES_VARIABLE] = json.dumps(places)
    return shown
