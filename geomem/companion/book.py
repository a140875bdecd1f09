"""Building the book: strict, from nothing, and only when something changed; what a page shows."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from geomem.companion.notebooks import notebooks, profiles, resolve
from geomem.companion.results import Result
from geomem.errors import WorkError

BUILD_LOG = "book.log"


class BookError(WorkError):
    """The book did not build; the message holds the warnings."""


def build(root: Path) -> tuple[Path, bool]:
    """Render the book; returns its index page and whether it had to be built.

    Sphinx's own incremental builds leave stale sidebars and labels behind, and a clean
    build takes seconds: so it is either skipped whole or made anew, beside the last one,
    which it replaces only when no warning came up.
    """
    index = root / "_build" / "html" / "index.html"
    stamp = root / "_build" / "html" / ".inputs"
    fingerprint = _fingerprint(root)
    if index.is_file() and stamp.is_file() and stamp.read_text() == fingerprint:
        return index, False
    fresh = root / "_build" / "next"
    shutil.rmtree(fresh, ignore_errors=True)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", "."]
    command += ["-n", "-W", "--keep-going", "--path-output", str(fresh)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    page = fresh / "_build" / "html" / "index.html"
    if result.returncode or not page.is_file():
        log = root / "_build" / BUILD_LOG
        log.write_text(result.stdout + result.stderr)
        log.write_text(re.sub(r"\x1b\[[0-9;]*m", "", log.read_text()))  # without colours
        lines = [x for x in log.read_text().splitlines() if "WARNING" in x or "ERROR" in x]
        shown = "\n".join(lines[:20] or result.stderr.splitlines()[-20:])
        raise BookError(f"the book did not build; all of it: {log.relative_to(root)}\n{shown}")
    (page.parent / ".inputs").write_text(fingerprint)
    shutil.rmtree(index.parent, ignore_errors=True)
    page.parent.replace(index.parent)
    shutil.rmtree(fresh)
    return index, True


def feet(root: Path) -> dict[str, str]:
    """The line at a page's foot: profile, data sets, and date and commit of the run.

    By notebook, for the pages that belong to one; under "" for those of the whole book, whose
    profile is the one that all notebooks ran with, and whose date is that of the newest run.
    """
    runs = {name: result.run for name in notebooks(root) if (result := Result(root, name)).exists}
    ran = {name: _profiles(root, name, run) for name, run in runs.items()}
    common = set[str]().union(*ran.values()).intersection(*ran.values())
    lines = {
        name: f"{_named(ran[name] & common or ran[name])} · {_data([run])} · {_when(run)}"
        for name, run in runs.items()
    }
    if runs:
        newest = max(runs.values(), key=lambda run: (run["date"], run["key"]))
        whole = _named(common) if common or not all(ran.values()) else "several profiles"
        lines[""] = f"{whole} · {_data(runs.values())} · newest {_when(newest)}"
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


def _fingerprint(root: Path) -> str:
    """SHA-256 over everything that the rendered pages come from."""
    files = [root / "_config.yml", root / "_toc.yml", root / "notebooks" / "profiles.toml"]
    files += [root / "CITATION.cff", *(root / "notebooks").glob("*.ipynb")]
    for folder in (root / "book", root / "results", Path(__file__).parents[1]):
        files += (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc")
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
