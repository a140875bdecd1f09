"""Building the book: strict, from nothing, and only when something changed."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

BUILD_LOG = "book.log"


class BookError(RuntimeError):
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


def _fingerprint(root: Path) -> str:
    """SHA-256 over everything that the rendered pages come from."""
    files = [root / "_config.yml", root / "_toc.yml", root / "notebooks" / "profiles.toml"]
    files += (root / "notebooks").glob("*.ipynb")
    for folder in (root / "book", root / "results", Path(__file__).parent):
        files += (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc")
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
