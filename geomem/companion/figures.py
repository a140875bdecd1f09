"""Citable figures: the only way a picture gets into the book.

`save` writes five files with one stem, the figure's stable id: SVG, PNG (300 dpi), the
plotted values as CSV, the provenance as JSON, and a BibTeX entry.
"""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from geomem.data.sets import ImageSet
from geomem.digitized import Digitized
from geomem.plots.drawing import misplaced
from geomem.progress import RUN_VARIABLE

CLAIMS = {
    "paper": "the paper's claim, measured here",
    "reconstruction": "our reconstruction of the paper's claim",
    "ours": "the picture is our addition",
}
ID = re.compile(r"fig-[a-z]+(-[a-z0-9]+)*")
UNIT = re.compile(r".+ \[.+\]")
SUFFIXES = (".svg", ".png", ".csv", ".json", ".bib")


def save(
    fig: Figure,
    id: str,
    *,
    title: str,
    caption: str,
    alt: str,
    table: Mapping[str, Sequence[Any] | np.ndarray],
    paper_item: str,
    claim: str,
    data: Sequence[ImageSet | Digitized] = (),
    seeds: Mapping[str, int] | None = None,
    device: str = "cpu",
) -> None:
    """Write a figure with its data, provenance and citation.

    Texts that are cut off or lie over one another are printed, and kept in the provenance.

    Parameters
    ----------
    fig : the matplotlib figure.
    id : stable name, "fig-" and words, never a number: "fig-shell-coverage".
    title : a few words, plain text.
    caption : MyST Markdown; what is plotted, with intervals and sizes.
    alt : what a reader who cannot see the figure needs to know.
    table : the plotted values; every header ends in a unit: "sigma [data units]".
    paper_item : the figure, equation or section of the paper that it goes with.
    claim : "paper", "reconstruction" or "ours": whose claim it shows.
    data : the image sets, or digitized tables of the paper, behind it.
    seeds : name -> seed of each random stream.
    device : where it was computed, "auto" as for the functions that computed it.

    Raises
    ------
    ValueError : an id, claim, caption, alt text or table that does not fit the above.
    """
    _check(id, title, caption, alt, table, claim)
    run = current_run()
    folder = Path(run["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    wrong = misplaced(fig)
    fig.set_layout_engine("none")  # the layout, once for both files
    if wrong:
        print(f"{id}: {'; '.join(wrong)}")
    provenance = {
        "id": id,
        "title": title,
        "caption": caption,
        "alt": alt,
        "paper_item": paper_item,
        "claim": claim,
        "notebook": run["notebook"],
        "parameters": run["parameters"],
        "data": [{"name": s.name, "source": s.source, "sha256": s.sha256} for s in data],
        "seeds": dict(seeds or {}),
        "device": _device(device),
        "versions": versions(),
        **commit(),
        "order": len(set(folder.glob("fig-*.json")) - {folder / f"{id}.json"}),
        "wall_time_s": round(time.time() - run["started"], 1),
        "misplaced": wrong,
    }
    files: dict[str, bytes | str] = {
        ".svg": _picture(fig, id, "svg"),
        ".png": _picture(fig, id, "png"),
        ".csv": _csv(table),
        ".json": json.dumps(provenance, indent=1, ensure_ascii=False) + "\n",
        ".bib": bibtex(provenance),
    }
    for suffix, content in files.items():
        _write(folder / (id + suffix), content)
    if "IPython" in sys.modules:
        _show(fig, folder / f"{id}.png")


def claim(text: str, holds: bool, *, must: bool = True) -> None:
    """Print and keep whether a claim holds; stop when it does not where it must.

    It must on the book's own data. What is kept decides what `geomem.companion.verdicts` says.
    """
    print(f"{text}: {'yes' if holds else 'NO'}")
    _keep("claims.json", {text: bool(holds)})
    if must and not holds:
        raise AssertionError(f"does not hold: {text}")


def record(**numbers: str) -> None:
    """Keep numbers for the prose: `{{ notebook.name }}` in a chapter prints them.

    Values are text as it should appear, interval included: they come from the run, never
    from the author.
    """
    _keep("values.json", numbers)


def attach(name: str, content: str) -> None:
    """Keep a text file with the run's results, for a page of the book that is made from it."""
    folder = Path(current_run()["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / name, content)


def current_run() -> dict[str, Any]:
    """What the runner says of the running notebook; by hand, figures go to ./figures."""
    path = os.environ.get(RUN_VARIABLE)
    if path is None:
        return {"folder": "figures", "notebook": None, "parameters": {}, "started": time.time()}
    return {**json.loads(Path(path).read_text()), "folder": str(Path(path).parent)}


def saved(root: Path) -> list[dict[str, Any]]:
    """Provenance of every figure of the project's notebooks, by notebook, in order of saving."""
    records = []
    for notebook in sorted((root / "notebooks").glob("*.py")):
        for path in (root / "results" / notebook.stem).glob("fig-*.json"):
            records.append({**json.loads(path.read_text()), "folder": path.parent})
    return sorted(records, key=lambda r: (r["folder"].name, r["order"], r["id"]))


def bibtex(provenance: Mapping[str, Any]) -> str:
    """The BibTeX entry of one figure."""
    id, version = provenance["id"], provenance["versions"]["geomem"]
    notes = [f"commit {(provenance['commit'] or 'unknown')[:12]}"]
    notes += ["uncommitted changes"] if provenance["dirty"] else []
    notes += [f"data set {s['name']}, SHA-256 {s['sha256'][:12]}" for s in provenance["data"]]
    note = re.sub(r"([&%$#_])", r"\\\1", ";\n                  ".join(notes))
    return (
        f"@misc{{geomem-{id},\n"
        f"  title        = {{{provenance['title']}}},\n"
        "  author       = {{The geomem contributors}},\n"
        "  year         = {2026},\n"
        f"  howpublished = {{geomem companion {version},\n"
        f"                  figure {id}}},\n"
        f"  note         = {{{note}}}\n"
        "}\n"
    )


def versions() -> dict[str, str]:
    """Versions of Python, this package and the packages that it depends on."""
    found = {"python": platform.python_version(), "geomem": importlib.metadata.version("geomem")}
    for requirement in importlib.metadata.requires("geomem") or []:
        if "extra ==" not in requirement:
            name = re.split(r"[=<>!~; \[]", requirement)[0]
            found[name] = importlib.metadata.version(name)
    return found


def commit() -> dict[str, str | bool | None]:
    """The last commit of what figures are computed from, and whether that was changed since.

    None outside git.
    """

    def git(*arguments: str) -> str:
        where = Path(__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=where, capture_output=True, text=True, check=True
        ).stdout.strip()

    paths = [":/geomem", ":/notebooks", ":/requirements.lock"]
    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", *paths)
        return {"commit": git("log", "-1", "--format=%H", "--", *paths), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _device(asked: str) -> str:
    if asked == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return f"cuda ({torch.cuda.get_device_name()})"


def _keep(name: str, entries: Mapping[str, Any]) -> None:
    """Add to what the run has kept under this name."""
    path = Path(current_run()["folder"]) / name
    known = json.loads(path.read_text()) if path.exists() else {}
    attach(name, json.dumps({**known, **entries}, indent=1, sort_keys=True) + "\n")


def _check(
    id: str, title: str, caption: str, alt: str, table: Mapping[str, Any], claim: str
) -> None:
    if not ID.fullmatch(id):
        raise ValueError(f"figure id {id!r}: use 'fig-' and lower-case words, never a number.")
    if claim not in CLAIMS:
        raise ValueError(f"claim {claim!r}: whose is it? One of {', '.join(CLAIMS)}.")
    if not title.strip() or not caption.strip() or len(alt.split()) < 8:
        raise ValueError(f"{id}: needs a title, a caption, and an alt text of a full sentence.")
    lengths = {len(column) for column in table.values()}
    if len(lengths) != 1 or not all(UNIT.fullmatch(header) for header in table):
        raise ValueError(
            f"{id}: the table needs columns of one length, each headed 'name [unit]'; "
            f"got {list(table)} with lengths {sorted(lengths)}."
        )


def _picture(fig: Figure, id: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    # A fixed salt and no date: equal data gives equal bytes.
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": id}):
        fig.savefig(buffer, format=kind, dpi=300, metadata=metadata)
    return buffer.getvalue()


def _show(fig: Figure, png: Path) -> None:
    """In a notebook the file stands for the figure, which would be drawn a third time."""
    from IPython import display, get_ipython

    if get_ipython() is not None:
        width = round(100 * fig.get_figwidth())
        picture = display.Image(png, width=width)  # type: ignore[no-untyped-call]  # IPython lacks it
        display.display(picture)  # type: ignore[no-untyped-call]  # IPython lacks it
        plt.close(fig)


def _csv(table: Mapping[str, Sequence[Any] | np.ndarray]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table)
    for row in zip(*table.values(), strict=True):
        writer.writerow([f"{x:.8g}" if isinstance(x, (float, np.floating)) else x for x in row])
    return buffer.getvalue()


def _write(path: Path, content: bytes | str) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content.encode() if isinstance(content, str) else content)
    partial.replace(path)
