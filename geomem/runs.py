"""Running notebooks with papermill, and knowing when a result is still fresh.

A result is fresh when everything that can change it is unchanged: the notebook's source,
its parameters, the sources of this package, the bytes of its data sets, and the versions of
the packages it stands on. Results live in ``results/NAME/`` and ``notebooks/NAME.ipynb``;
a run works in a folder of its own and takes their place only when it has succeeded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geomem.data import source_sha256
from geomem.figures import RUN_VARIABLE, versions
from geomem.notebooks import Notebook, Value, read

PACKAGE = Path(__file__).resolve().parent
# What runs the notebooks and renders the book cannot change what a notebook computes.
MACHINERY = {"__main__.py", "book.py", "cli.py", "notebooks.py", "runs.py"}


class RunError(RuntimeError):
    """A notebook that failed; the message ends in its traceback."""


def inputs(notebook: Notebook, parameters: Mapping[str, Value]) -> dict[str, dict[str, Any]]:
    """Everything that a result depends on, by kind, as plain values and SHA-256 sums."""
    sources = sorted(p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix != ".pyc")
    sources = [p for p in sources if p.name not in MACHINERY]
    sets = {str(parameters[name]) for name, p in notebook.parameters.items() if p.is_dataset}
    return {
        "notebook": {notebook.path.name: _sha256(notebook.path)},
        "parameters": dict(parameters),
        "geomem": {p.relative_to(PACKAGE).as_posix(): _sha256(p) for p in sources},
        "data": {name: source_sha256(name) for name in sorted(sets)},
        "versions": versions(),
    }


def stale(root: Path, notebook: Notebook, parameters: Mapping[str, Value]) -> list[str]:
    """Why the result in the book does not answer for these parameters; empty when fresh."""
    record = root / "results" / notebook.name / "run.json"
    executed = root / "notebooks" / f"{notebook.name}.ipynb"
    if not record.is_file() or not executed.is_file():
        return ["never run"]
    run = json.loads(record.read_text())
    if json.loads(executed.read_text())["metadata"].get("geomem", {}).get("key") != run["key"]:
        return ["the executed notebook is not the one of this result"]
    missing = [name for name in run["files"] if not (record.parent / name).is_file()]
    if missing:
        return [f"{missing[0]} is missing"]
    now = inputs(notebook, parameters)
    return [
        f"{kind}: {', '.join(changes)}"
        for kind, new in now.items()
        if (changes := _changes(run["inputs"].get(kind, {}), new, show=kind == "parameters"))
    ]


def run(
    root: Path,
    notebook: Notebook,
    parameters: Mapping[str, Value],
    *,
    out: Path | None = None,
    timeout: int | None = None,
) -> list[Path]:
    """Execute a notebook and publish its result; returns the paths written.

    Parameters
    ----------
    out : folder for the executed notebook and its figures; None for the book's own place.
    timeout : seconds that one cell may take.

    Raises
    ------
    RunError : a cell failed. The last good result stays; the failed copy, with its
        traceback, lies in ``_build/failed/``.
    """
    import nbformat

    work = root / "results" / f".running-{notebook.name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        dependencies = inputs(notebook, parameters)
        started = time.time()
        state = {"notebook": notebook.name, "parameters": dict(parameters), "started": started}
        (work / "run.json").write_text(json.dumps(state))
        executed = _execute(root, notebook, parameters, work, timeout)
        dependencies["data"] = inputs(notebook, parameters)["data"]  # a first run downloads it
        key = _key(dependencies)
        _clean(executed, notebook.name, key)
        nbformat.write(executed, work / f"{notebook.name}.ipynb")
        files = sorted(
            p.name for p in work.iterdir() if p.name != "run.json" and p.suffix != ".ipynb"
        )
        state = {
            "key": key,
            "inputs": dependencies,
            "files": files,
            "seconds": round(time.time() - started, 1),
        }
        (work / "run.json").write_text(json.dumps(state, indent=1, sort_keys=True) + "\n")
        return _publish(root, notebook.name, work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _execute(
    root: Path,
    notebook: Notebook,
    parameters: Mapping[str, Value],
    work: Path,
    timeout: int | None,
) -> Any:
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    target = work / f"{notebook.name}.ipynb"
    try:
        with _environment(work):
            executed = papermill.execute_notebook(
                read(notebook.path),
                str(target),
                parameters=dict(parameters),
                kernel_name="python3",
                cwd=str(root),
                progress_bar=sys.stderr.isatty(),
                execution_timeout=timeout,
                config=Config(KernelManager={"transport": "ipc"}),  # no open ports
            )
    except (papermill.PapermillExecutionError, CellTimeoutError, DeadKernelError) as error:
        failed = root / "_build" / "failed" / target.name
        failed.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            target.replace(failed)
        where = failed.relative_to(root)
        raise RunError(f"{notebook.name} failed; its copy: {where}\n{error}") from error
    return executed


@contextmanager
def _environment(work: Path) -> Iterator[None]:
    """What the kernel needs to know, and nothing left behind."""
    new = {
        RUN_VARIABLE: str(work / "run.json"),
        "PYTHONPATH": os.pathsep.join(
            [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        ),
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not a user-level one
        "SOURCE_DATE_EPOCH": "0",  # no dates in inline pictures
    }
    old = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    try:
        yield
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _clean(executed: Any, name: str, key: str) -> None:
    """Drop what differs between equal runs: random cell ids, times, paths, kernel details."""
    import nbformat

    for i, cell in enumerate(executed.cells):
        cell["id"] = f"{name}-{i:03d}"
        for noise in ("papermill", "execution"):
            cell.metadata.pop(noise, None)
    executed.metadata = nbformat.from_dict(
        {
            "kernelspec": executed.metadata["kernelspec"],
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
            "geomem": {"key": key},
        }
    )
    executed.nbformat, executed.nbformat_minor = 4, 5
    nbformat.validate(executed)


def _publish(root: Path, name: str, work: Path, out: Path | None) -> list[Path]:
    """Move a finished run to its place: the notebook last, so that a kill leaves it stale."""
    executed = work / f"{name}.ipynb"
    folder = root / "results" / name if out is None else out
    page = root / "notebooks" if out is None else out
    if out is None:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted(work.iterdir()):
        if path != executed:
            written.append(path.replace(folder / path.name))
    return [executed.replace(page / executed.name), *written]


def _key(dependencies: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dependencies, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], *, show: bool) -> list[str]:
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if show:
        return [f"{name} {old.get(name)} -> {new.get(name)}" for name in names]
    return names
