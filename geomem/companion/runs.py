"""Running notebooks with papermill, side by side, each with a time, a folder and a result.

A run works in a folder of its own; what it made takes its place only when it has succeeded.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import shutil
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from geomem import disk
from geomem.children import end_with
from geomem.companion import results
from geomem.companion.figures import commit
from geomem.companion.fresh import data_sets, inputs, key, page
from geomem.companion.memory import KEPT_VARIABLE, trim
from geomem.companion.notebooks import Notebook, ParameterError, notebooks, read
from geomem.companion.results import Result
from geomem.data.files import DataError
from geomem.data.named import LOADERS
from geomem.data.sets import dataset_sizes, source_sha256
from geomem.errors import InputError, WorkError, refused
from geomem.progress import RUN_VARIABLE
from geomem.typed import Value

PACKAGE = Path(__file__).resolve().parents[1]
# What the library raises, in a kernel, where a parameter or a file does not fit: no traceback.
WRONG_INPUT = {"ValueError", "InputError", "ConfigError", "DataError", "CheckpointError"}
WRONG_INPUT |= {"DamagedError", "TrainingError"}
KEPT = Path("_build", "kept")  # what `geomem.companion.memory` keeps, safe to delete


class RunError(WorkError):
    """A run that cannot be, or that failed; then the message ends in its traceback."""


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the project's lock: two runs at once would mix their results.

    What a killed process left half done is put right, or removed.
    """
    build = root / "_build"
    try:
        build.mkdir(exist_ok=True)
        with warnings.catch_warnings(action="ignore"):  # where there is no flock, a file stands in
            lock = FileLock(build / "lock").acquire(blocking=False)
    except Timeout:
        raise RunError("another geomem is at work in this project; wait for it.") from None
    except (OSError, NotImplementedError) as error:  # the latter is filelock's, without flock
        raise RunError(f"the project cannot be locked: {refused(error) or error}") from None
    with lock:
        shutil.rmtree(root / results.WORK, ignore_errors=True)
        for place in [build / "html", *(Result(root, name).folder for name in notebooks(root))]:
            disk.recover(place)
        with suppress(OSError):
            trim(root / KEPT)
        yield


def fit_to_data(
    notebook: Notebook, parameters: Mapping[str, Value], *, fetch: bool
) -> dict[str, Value]:
    """The parameters with what only the data can tell checked, before anything runs.

    Numbers of images larger than the set become all there are; but the training images of a set
    with a name, which say what is reproduced, are an error. With ``fetch``, since something will
    run, a set that is not on this disk is downloaded now, in sight, and a GPU that is not there is
    an error.
    """
    fitted = dict(parameters)
    if fetch and fitted.get("device") == "cuda" and not torch.cuda.is_available():
        raise ParameterError("device: there is no CUDA device here; leave it at auto.")
    for name, parameter in notebook.parameters.items():
        dataset = str(fitted[name])
        if not (parameter.is_dataset and dataset):
            continue
        if not fetch and source_sha256(dataset) == "absent":
            continue
        prefix = name.removesuffix("dataset")
        for part, size in zip(("n_train", "n_heldout"), dataset_sizes(dataset), strict=True):
            asked = fitted.get(prefix + part)
            if isinstance(asked, int) and asked > size:
                if dataset in LOADERS and part == "n_train":
                    raise DataError(
                        f"{notebook.name}: {prefix}{part}: asked for {asked}; {dataset} has {size}."
                    )
                fitted[prefix + part] = size
    for name in data_sets(notebook, fitted) if fetch else ():
        if source_sha256(name) == "absent":  # of several sets, say: now, or refused in one line
            dataset_sizes(name)
    return fitted


def run_all(
    root: Path, todo: Sequence[tuple[Notebook, Mapping[str, Value]]], jobs: int
) -> Iterator[tuple[Notebook, list[Path]]]:
    """Execute notebooks, ``jobs`` at a time; yields each as it finishes, with what `run` returns.

    Each has a process of its own: a fork, which need not import everything again. After one
    that failed no other begins; those that run beside it end first, and stay.

    Raises
    ------
    RunError, InputError : of the first notebook that failed.
    """
    fork = multiprocessing.get_context("fork")
    waiting, failed = list(todo), list[Exception]()
    running: dict[Any, tuple[Notebook, Any, int]] = {}
    try:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < jobs:
                notebook, parameters = waiting.pop(0)
                slot = min({*range(jobs)} - {slot for *_, slot in running.values()})
                ours, its = fork.Pipe(duplex=False)
                arguments = (os.getpid(), its, root, notebook, parameters, (slot, jobs))
                process = fork.Process(target=_run_beside, args=arguments)
                process.start()
                its.close()  # so that its end is seen here
                running[ours] = (notebook, process, slot)
            for ready in wait([*running]):
                notebook, process, _ = running.pop(ready)
                result = _received(ready, notebook, process)
                if isinstance(result, Exception):
                    failed.append(result)
                else:
                    yield notebook, result
    finally:
        for _, process, _ in running.values():  # only when something went wrong
            process.terminate()  # as Ctrl-C, once, whoever asked for it
        for _, process, _ in running.values():
            process.join()
    if failed:
        raise failed[0]


def _run_beside(parent: int, its: Connection, *arguments: Any) -> None:
    """The life of a process of `run_all`."""
    os.setpgrp()  # Ctrl-C reaches it through its parent alone
    end_with(parent)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        root, notebook, parameters, line = arguments
        try:
            its.send(run(root, notebook, parameters, line=line))
        except (InputError, WorkError) as error:
            its.send(error)


def _received(ours: Any, notebook: Notebook, process: Any) -> list[Path] | Exception:
    try:
        result: list[Path] | Exception = ours.recv()
    except EOFError:
        result = RunError(f"{notebook.name}: its process was killed; the next call begins it anew.")
    process.join()
    if process.exitcode and process.exitcode > 0:
        return RunError(f"{notebook.name}: its process ended with the traceback above.")
    return result


def run(
    root: Path,
    notebook: Notebook,
    parameters: Mapping[str, Value],
    *,
    out: Path | None = None,
    line: tuple[int, int] = (0, 1),
) -> list[Path]:
    """Execute a notebook and publish its result; returns the paths written.

    Parameters
    ----------
    out : folder for a folder of the notebook's name; None for the book's own place.
    line : of how many notebooks that are executed side by side this is which.

    Raises
    ------
    InputError : ``out`` holds something else than a result of this notebook.
    RunError : a cell failed. The last good result stays; the failed copy, with its
        traceback, lies in ``_build/failed/``. Or the disk refused something.
    """
    try:
        if out is not None:
            results.check_replaceable(out / notebook.name, notebook.name)
            out.mkdir(parents=True, exist_ok=True)
        with results.scratch(root, notebook.name) as folder:
            work = folder / notebook.name
            work.mkdir()
            _compute(root, notebook, parameters, work, line)
            return _publish(root, notebook.name, work, out)
    except OSError as error:
        raise RunError(f"{notebook.name}: {refused(error) or error}") from error


def _compute(
    root: Path,
    notebook: Notebook,
    parameters: Mapping[str, Value],
    work: Path,
    line: tuple[int, int],
) -> None:
    import nbformat

    if notebook.parameters.keys() != parameters.keys():
        raise RunError(f"{notebook.name}: its parameters changed while it waited; start again.")
    dependencies = inputs(notebook, parameters)
    started = time.time()
    slot, slots = line
    state: dict[str, Any] = {"notebook": notebook.name}
    state |= {kind: dependencies[kind] for kind in ("parameters", "data")}
    if sys.stderr.isatty():  # for the bars of long cells
        state |= {"terminal": os.ttyname(sys.stderr.fileno()), "slot": slot, "slots": slots}
    disk.write(work / results.RUN, json.dumps(state))
    ran, target = _execute(root, notebook, parameters, work, line), work / f"{notebook.name}.ipynb"
    took = time.time() - started
    if not _unchanged(notebook, parameters, dependencies):
        kept = _keep_failed(root, target)
        raise RunError(f"{kept}: its code or data changed while it ran; run it again.")
    nbformat.write(page(notebook, ran, parameters), target)
    with suppress(OSError, ValueError):  # it may have been answered from what is kept
        last = Result(root, notebook.name).run
        if last["inputs"]["parameters"] == dict(parameters):
            took = max(took, float(last["seconds"]))
    made = {
        "key": key(dependencies),
        "inputs": dependencies,
        "files": results.files(work),
        "seconds": round(took, 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime(started)),
        **commit(),
    }
    results.write_run(work, made)


def _unchanged(
    notebook: Notebook, parameters: Mapping[str, Value], dependencies: Mapping[str, Any]
) -> bool:
    """Whether all that a result depends on is still what it was."""
    try:
        same = notebook.parameters.keys() == parameters.keys()
        return same and inputs(notebook, parameters) == dependencies
    except (SyntaxError, InputError, OSError):  # in the middle of an edit
        return False


def _publish(root: Path, name: str, work: Path, out: Path | None) -> list[Path]:
    """Put a computed result in its place; where that fails it is kept, and said where."""
    result = Result(root, name)
    folder = result.folder if out is None else out / name
    try:
        if out is not None:
            results.check_replaceable(folder, name)  # it may have come to be since
        disk.replace(work, folder)
    except (OSError, InputError) as error:
        where = _put_aside(root, name, work, folder)
        why = f"not in its place: {refused(error) or error}"
        raise RunError(f"{name} is computed, in {where}, {why}") from error
    made = sorted(folder.iterdir())
    if out is not None:
        return made
    disk.write(result.page, result.executed.read_bytes())
    return [result.page, *(path for path in made if path != result.executed)]


def _put_aside(root: Path, name: str, work: Path, place: Path) -> str:
    """Put a result that found no place where no start clears it; says where it lies, wherever."""
    beside = place.with_name(f".{place.name}{disk.NEW}")  # there if its way back was refused, too
    lies, kept = work if work.exists() else beside, root / "_build" / f"unpublished-{name}"
    try:
        disk.remove(kept)
        lies.rename(kept)
    except OSError:
        return f"{lies} (the next start clears that: move it away)"
    return str(kept.relative_to(root))


def _execute(
    root: Path,
    notebook: Notebook,
    parameters: Mapping[str, Value],
    work: Path,
    line: tuple[int, int],
) -> Any:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from traitlets.config import Config

    target, (slot, slots) = work / f"{notebook.name}.ipynb", line
    bar = {"desc": notebook.name, "position": slot, "leave": slots == 1}
    connection = {"connection_file": str(work.parent / "kernel.json")}
    if sys.platform == "linux":  # no open ports, and no files, whose paths may be too long
        connection |= {"transport": "ipc", "ip": f"@geomem-{secrets.token_hex(8)}"}
    # A cell's error arrives in the notebook; what the kernel logs besides is that it was
    # interrupted, which each one is at its end.
    silent = {"extra_arguments": ["--IPKernelApp.log_level=CRITICAL"]}
    try:
        with _environment(root, work, notebook, slots):
            executed = papermill.execute_notebook(
                read(notebook.path),
                str(target),
                parameters=dict(parameters),
                kernel_name="python3",
                cwd=str(root),
                progress_bar=bar if sys.stderr.isatty() else False,
                config=Config(KernelManager=connection, NotebookClient=silent),
            )
    except (papermill.PapermillExecutionError, DeadKernelError) as error:
        kept, why = _keep_failed(root, target), str(getattr(error, "evalue", error))
        if getattr(error, "ename", "") in WRONG_INPUT:
            raise InputError(f"{why.rstrip('.')} ({kept}).") from error
        raise RunError(f"{kept}: {refused(why) or f'{chr(10)}{error}'}") from error
    # The strict book refuses pages with warnings, which name paths of this disk as well.
    outputs = (o for cell in executed.cells for o in cell.get("outputs", []))
    if said := "".join(o["text"] for o in outputs if _is_stderr(o)):
        said = refused(said) or f"\nit wrote to stderr: {said}"
        raise RunError(f"{_keep_failed(root, target)}: {said}")
    return executed


def _is_stderr(output: Mapping[str, Any]) -> bool:
    return output["output_type"] == "stream" and output["name"] == "stderr"


def _keep_failed(root: Path, target: Path) -> str:
    failed = root / "_build" / "failed" / target.name
    failed.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.replace(failed)
    return f"{target.stem} failed; its copy: {failed.relative_to(root)}"


@contextmanager
def _environment(root: Path, work: Path, notebook: Notebook, slots: int) -> Iterator[None]:
    """What the kernel needs to know, and nothing left behind."""
    # Networks this small gain little from a second thread, and on a busy machine lose tenfold.
    threads = 1 if notebook.trains else max(1, (os.cpu_count() or 1) // slots)
    new = {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(threads),
        RUN_VARIABLE: str(work / results.RUN),
        KEPT_VARIABLE: str(root / KEPT),
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
