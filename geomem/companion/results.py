"""Where the results of the notebooks lie, and what they hold: nothing else knows the layout.

A result is a folder, ``results/NOTEBOOK/``: ``NOTEBOOK.ipynb`` (executed), ``run.json`` (how it was
computed, and the hashes of the others), ``values.json`` (numbers for the prose), ``claims.json``
(what was tested), and of each figure its pictures (`geomem.plots.files.pictures`), ``ID.csv`` (the
plotted values) and ``ID.json`` (its data sets). The book's page, ``notebooks/NOTEBOOK.ipynb``, is
made from it with today's words.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomem import disk
from geomem.errors import InputError
from geomem.progress import RUN_VARIABLE

FOLDER = "results"
RUN, VALUES, CLAIMS = "run.json", "values.json", "claims.json"
FIGURE_FILES = (".svg", ".text.svg", ".pdf", ".png", ".csv", ".json")
# In a result's folder, and nobody's: what a file browser leaves, and a stamp that is being written.
LITTER = {".DS_Store", ".ipynb_checkpoints", f"{RUN}.part"}
WORK = Path("_build", "running")  # of what runs now, under the project's lock; else left over
RUN_HOLDS: dict[str, Any] = {
    "key": str,
    "inputs": dict,
    "files": dict,
    "seconds": (int, float),
    "date": str,
    "commit": (str, type(None)),
    "dirty": (bool, type(None)),
}
KINDS = ("notebook", "parameters", "geomem", "data", "versions")  # of inputs


@dataclass(frozen=True)
class Result:
    """The result of one notebook, there or not."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / FOLDER / self.name

    @property
    def executed(self) -> Path:
        return self.folder / f"{self.name}.ipynb"

    @property
    def page(self) -> Path:
        return self.root / "notebooks" / f"{self.name}.ipynb"

    @property
    def exists(self) -> bool:
        return (self.folder / RUN).is_file()

    @property
    def run(self) -> dict[str, Any]:
        """How it was computed: `RUN_HOLDS`; ValueError where what stands there is not of a run."""
        return _run(self.folder)

    @property
    def altered(self) -> str:
        """How it differs from what its run left, by hash; "" where it does not."""
        try:
            known, now = self.run["files"], files(self.folder)
        except (OSError, ValueError):
            return "unreadable"
        for name in sorted({*known, *now}):
            if name not in now:
                return f"{name} is missing"
            if known.get(name) != now[name]:
                return f"{name} is {'changed' if name in known else 'of no run'}"
        return ""

    @property
    def values(self) -> dict[str, str]:
        return _read(self.folder / VALUES)

    @property
    def claims(self) -> dict[str, dict[str, Any]]:
        """By id: ``says``, the sentence, and whether it ``holds``."""
        return _read(self.folder / CLAIMS)

    @property
    def figures(self) -> list[dict[str, Any]]:
        return figures(self.folder)

    def figure(self, id: str, suffix: str) -> Path:
        return self.folder / f"{id}{suffix}"

    def figure_files(self, id: str) -> list[Path]:
        """What its run left of a figure: an older one may have left fewer files."""
        paths = (self.figure(id, suffix) for suffix in FIGURE_FILES)
        return [path for path in paths if path.is_file()]

    def attachments(self, pattern: str) -> list[Path]:
        """The files that the notebook attached under such names, sorted."""
        return sorted(self.folder.glob(pattern))

    def attached(self, name: str) -> Any:
        """What the notebook attached as JSON under this name."""
        return json.loads((self.folder / name).read_text())


def figures(folder: Path) -> list[dict[str, Any]]:
    """Of each figure of a result what was kept when it was drawn, in that order."""
    found = [_read(path) for path in folder.glob("fig-*.json")]
    return sorted(found, key=lambda figure: (figure["order"], figure["id"]))


def files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a result's folder but `RUN` and what is nobody's result."""
    found = (path for path in sorted(folder.iterdir()) if path.is_file())
    return {path.name: sha256(path) for path in found if path.name not in {RUN, *LITTER}}


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    disk.write(folder / RUN, json.dumps(run, indent=1, sort_keys=True) + "\n")


def whole(root: Path, names: Iterable[str]) -> dict[str, Result]:
    """The results that are as their runs left them, by notebook: what may be shown."""
    results = {name: Result(root, name) for name in names}
    return {name: result for name, result in results.items() if not result.altered}


def newest(root: Path) -> dict[str, Any] | None:
    """The newest run of those that are whole: what the book as a whole is of."""
    names = (path.stem for path in (root / "notebooks").glob("*.py"))
    runs = [result.run for result in whole(root, names).values()]
    return max(runs, key=lambda run: (run["date"], run["key"]), default=None)


def check_replaceable(folder: Path, name: str) -> None:
    """InputError unless this is where a result of the notebook may go: what is lost is a run's."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; choose another --out.")
    held, ours = {path.name for path in folder.iterdir()} - LITTER, dict[str, str]()
    with suppress(OSError, ValueError):
        ours = _run(folder)["files"]
    if held and f"{name}.ipynb" not in ours:
        raise InputError(f"{folder} is not of a run of {name}; choose another --out.")
    if strange := sorted(held - {*ours, RUN}):
        raise InputError(f"{folder} holds {strange[0]}, of no run; choose another --out.")


@contextmanager
def scratch(root: Path, name: str) -> Iterator[Path]:
    """A new folder to work in, of this process alone; gone at the end, but for a whole result."""
    folder = root / WORK / f"{name}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        try:
            _run(folder / name)  # which found no other place
        except (OSError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)


# Of the notebook that runs now


def current() -> dict[str, Any]:
    """What the runner says of the running notebook; by hand, everything goes to ./figures."""
    path = os.environ.get(RUN_VARIABLE)
    if path is None:
        return {"folder": "figures", "notebook": None, "parameters": {}}
    return {**json.loads(Path(path).read_text()), "folder": str(Path(path).parent)}


def attach(name: str, content: bytes | str) -> Path:
    """Keep a file with the run's results, for a page of the book that is made from it."""
    folder = Path(current()["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    disk.write(folder / name, content)
    return folder / name


def keep(name: str, entries: Mapping[str, Any]) -> None:
    """Add to what the run has kept under this name."""
    known = _read(Path(current()["folder"]) / name)
    attach(name, json.dumps({**known, **entries}, indent=1, sort_keys=True) + "\n")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run(folder: Path) -> dict[str, Any]:
    """`Result.run` of a folder."""
    try:
        found = json.loads((folder / RUN).read_text())
        holds = all(isinstance(found[key], kind) for key, kind in RUN_HOLDS.items())
        if holds and all(isinstance(found["inputs"][kind], dict) for kind in KINDS):
            return dict(found)
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise ValueError(f"{folder / RUN}: not of a run.")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found
