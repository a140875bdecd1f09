"""Building the book: strict, from nothing, and only when something changed; what a page shows."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from geomem import disk
from geomem.companion import prose
from geomem.companion.notebooks import notebooks, profiles, resolve
from geomem.companion.results import FOLDER, newest, scratch, whole
from geomem.errors import WorkError, refused

BUILD_LOG = "book.log"
# Jupyter Book has no option for it: Sphinx reads and writes pages in as many processes. Two more
# than there are cores, since one only feeds those that write, and some always wait.
RENDER = (
    "from functools import partial; from jupyter_book import sphinx; "
    f"sphinx.build_sphinx = partial(sphinx.build_sphinx, jobs={(os.cpu_count() or 1) + 2}); "
    "from jupyter_book.cli.main import main; main()"
)


class BookError(WorkError):
    """The book did not build; the message holds the warnings."""


def build(root: Path) -> tuple[Path, bool]:
    """Render the book; returns its index page and whether it had to be built.

    Sphinx's own incremental builds leave stale sidebars and labels behind, and a clean
    build takes seconds: so it is either skipped whole or made anew, beside the last one,
    which it replaces only when no warning came up.

    Raises
    ------
    ProseError : words of a figure that cannot be printed.
    BookError : it did not build.
    """
    index = root / "_build" / "html" / "index.html"
    stamp = root / "_build" / "html" / ".inputs"
    inputs = fingerprint(root)
    if index.is_file() and stamp.is_file() and stamp.read_bytes() == inputs.encode():
        return index, False
    prose.described(root)  # which Jupyter Book would report at the end of a traceback
    with scratch(root, "book") as fresh:
        code = f"from geomem.children import end_with; end_with({os.getpid()}); {RENDER}"
        command = [sys.executable, "-c", code, "build", "."]
        command += ["-n", "-W", "--keep-going", "--path-output", str(fresh)]
        result = subprocess.run(command, cwd=root, capture_output=True, text=True)
        page = fresh / "_build" / "html" / "index.html"
        if result.returncode or not page.is_file():
            raise BookError(_why(root, result.stdout + result.stderr))
        disk.write(page.parent / ".inputs", inputs)
        disk.replace(page.parent, index.parent)
    return index, True


def _why(root: Path, said: str) -> str:
    """Why it did not build, in brief; all of it goes into a file."""
    plain, log = re.sub(r"\x1b\[[0-9;]*m", "", said), root / "_build" / BUILD_LOG
    disk.write(log, plain)
    lines = plain.splitlines()
    warned = [line for line in lines if "WARNING" in line or "ERROR" in line]
    raised = [line for line in lines if re.match(r"[\w.]+Error: \S", line)]
    shown = warned[:20] or [*filter(None, [refused(plain)])] or raised[-1:] or lines[-20:]
    return "\n".join([f"the book did not build; all of it: {log.relative_to(root)}", *shown])


def feet(root: Path) -> dict[str, str]:
    """The line at a page's foot: profile, data sets, and date and commit of the run.

    By notebook, for the pages that belong to one; under "" for those of the whole book, whose
    profile is the one that all notebooks ran with, and whose date is that of the newest run.
    """
    runs = {name: result.run for name, result in whole(root, notebooks(root)).items()}
    ran = {name: _profiles(root, name, run) for name, run in runs.items()}
    common = set[str]().union(*ran.values()).intersection(*ran.values())
    lines = {
        name: f"{_named(ran[name] & common or ran[name])} · {_data([run])} · {_when(run)}"
        for name, run in runs.items()
    }
    if last := newest(root):
        profile = _named(common) if common or not all(ran.values()) else "several profiles"
        lines[""] = f"{profile} · {_data(runs.values())} · newest {_when(last)}"
    return lines


def _profiles(root: Path, name: str, run: Mapping[str, Any]) -> set[str]:
    """The profiles whose parameters a notebook ran with."""
    notebook, used = notebooks(root)[name], run["inputs"]["parameters"]
    return {p.name for p in profiles(root).values() if resolve(notebook, p) == used}


def _named(found: Collection[str]) -> str:
    return f"profile {' or '.join(sorted(found))}" if found else "parameters of no profile"


def _data(runs: Iterable[Mapping[str, Any]]) -> str:
    names = sorted({name for run in runs for name in run["inputs"]["data"]})
    return f"data {', '.join(names)}" if names else "no data"


def _when(run: Mapping[str, Any]) -> str:
    changed = ", uncommitted changes" if run["dirty"] else ""
    return f"run of {run['date']}, commit {(run['commit'] or 'unknown')[:8]}{changed}"


def fingerprint(root: Path) -> str:
    """SHA-256 over everything that the rendered pages come from."""
    package = Path(__file__).parents[1]
    files = [root / "_config.yml", root / "_toc.yml", root / "notebooks" / "profiles.toml"]
    files += [root / "CITATION.cff", *(root / "notebooks").glob("*.ipynb")]
    files += (root / "notebooks").glob("*.py")
    for folder in (root / "book", root / FOLDER, package):
        files += (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc")
    # A copy of the project elsewhere has the same: the package may lie in it or beside it.
    bases = [root, package.parent]
    named = {
        next(path.relative_to(b) for b in bases if path.is_relative_to(b)).as_posix(): path
        for path in files
    }
    digest = hashlib.sha256()
    for name, path in sorted(named.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
