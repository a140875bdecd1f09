"""Where the results of the notebooks lie, and what they hold: nothing else knows the layout.

A result is a folder, ``results/NOTEBOOK/``, with the executed notebook beside its source,
``notebooks/NOTEBOOK.ipynb``. In the folder: ``run.json`` (how it was computed), ``values.json``
(numbers for the prose), ``claims.json`` (what was tested), and of each figure ``ID.svg``,
``ID.png`` (300 dpi), ``ID.csv`` (the plotted values) and ``ID.json`` (its data sets).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomem.progress import RUN_VARIABLE

RUN, VALUES, CLAIMS = "run.json", "values.json", "claims.json"
FIGURE_FILES = (".svg", ".png", ".csv", ".json")


@dataclass(frozen=True)
class Result:
    """The result of one notebook, there or not."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / "results" / self.name

    @property
    def executed(self) -> Path:
        """The executed notebook, which becomes a page."""
        return self.root / "notebooks" / f"{self.name}.ipynb"

    @property
    def exists(self) -> bool:
        return (self.folder / RUN).is_file() and self.executed.is_file()

    @property
    def run(self) -> dict[str, Any]:
        """How it was computed: ``inputs``, ``files``, ``seconds``, ``date``, ``commit``.

        Raises
        ------
        ValueError : what stands there is not of a run.
        """
        found = json.loads((self.folder / RUN).read_text())
        if not isinstance(found, dict) or not {"key", "inputs", "files"} <= found.keys():
            raise ValueError(f"{self.folder / RUN}: not of a run.")
        return found

    @property
    def values(self) -> dict[str, str]:
        return _read(self.folder / VALUES)

    @property
    def claims(self) -> dict[str, dict[str, Any]]:
        """By id: ``says``, the sentence, and whether it ``holds``."""
        return _read(self.folder / CLAIMS)

    @property
    def figures(self) -> list[dict[str, Any]]:
        """Of each figure what was kept when it was drawn, in that order."""
        found = [_read(path) for path in self.folder.glob("fig-*.json")]
        return sorted(found, key=lambda figure: (figure["order"], figure["id"]))

    def figure(self, id: str, suffix: str) -> Path:
        return self.folder / f"{id}{suffix}"

    def attached(self, name: str) -> Any:
        """What the notebook attached as JSON under this name."""
        return json.loads((self.folder / name).read_text())

    def files(self) -> dict[str, str]:
        """SHA-256 of the executed notebook and of every file of the folder but `RUN`."""
        paths = [self.executed, *self.folder.iterdir()]
        return {p.name: sha256(p) for p in sorted(paths) if p.name != RUN and p.is_file()}

    def write_run(self, run: Mapping[str, Any]) -> None:
        write(self.folder / RUN, json.dumps(run, indent=1, sort_keys=True) + "\n")


def move(work: Path, name: str, folder: Path, page: Path) -> list[Path]:
    """Move a finished run to its place: the notebook last, so that a kill leaves it stale."""
    executed = work / f"{name}.ipynb"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    moved = [(path, folder / path.name) for path in sorted(work.iterdir()) if path != executed]
    for source, target in [*moved, (executed, page / executed.name)]:
        shutil.move(source, target)  # another file system, too
    return [page / executed.name, *(target for _, target in moved)]


# Of the notebook that runs now


def current() -> dict[str, Any]:
    """What the runner says of the running notebook; by hand, everything goes to ./figures."""
    path = os.environ.get(RUN_VARIABLE)
    if path is None:
        return {"folder": "figures", "notebook": None, "parameters": {}, "started": time.time()}
    return {**json.loads(Path(path).read_text()), "folder": str(Path(path).parent)}


def attach(name: str, content: bytes | str) -> Path:
    """Keep a file with the run's results, for a page of the book that is made from it."""
    folder = Path(current()["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / name, content)
    return folder / name


def keep(name: str, entries: Mapping[str, Any]) -> None:
    """Add to what the run has kept under this name."""
    known = _read(Path(current()["folder"]) / name)
    attach(name, json.dumps({**known, **entries}, indent=1, sort_keys=True) + "\n")


def write(path: Path, content: bytes | str) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.replace(path)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found
