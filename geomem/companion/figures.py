"""Citable figures: the only way a picture gets into the book."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from geomem.companion.results import attach, current, figures
from geomem.data.sets import ImageSet
from geomem.digitized import Digitized
from geomem.plots.drawing import Drawn, misplaced
from geomem.plots.files import csv_text, pictures, settle

ID = re.compile(r"fig-[a-z]+(-[a-z0-9]+)*")
UNIT = re.compile(r".+ \[.+\]")
TEX = {mark: f"\\{mark}" for mark in "&%$#_"} | {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def figure(
    fig: Figure | Drawn,
    id: str,
    table: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    *,
    data: Sequence[ImageSet | Digitized] = (),
) -> None:
    """Write a figure and show it: as pictures (`files.pictures`), the plotted values, its data.

    Its words stand in a chapter (`geomem.companion.prose`). Texts in it that are cut off or lie
    over one another are printed, and kept.

    Parameters
    ----------
    fig : the matplotlib figure, or it and its table, as functions of `geomem.plots` return both.
    id : stable name, "fig-" and words, never a number: "fig-shell-coverage".
    table : the plotted values, of a figure alone; every header ends in a unit:
        "sigma [data units]".
    data : the image sets, or digitized tables of the paper, behind it.

    Raises
    ------
    ValueError : an id or a table that does not fit the above.
    """
    fig, table = fig if isinstance(fig, tuple) else (fig, table or {})
    _check(id, table)
    run = current()
    wrong = misplaced(fig)
    settle(fig)  # the layout, once for all files
    if wrong:
        print(f"{id}: {'; '.join(wrong)}")
    folder = Path(run["folder"])
    kept = {
        "id": id,
        "data": [{"name": s.name, "source": s.source, "sha256": s.sha256} for s in data],
        "device": _device(run["parameters"].get("device", "cpu")),
        "order": sum(drawn["id"] != id for drawn in figures(folder)),
        "misplaced": wrong,
    }
    for suffix, content in pictures(fig, id).items():
        attach(f"{id}{suffix}", content)
    attach(f"{id}.csv", csv_text(table))
    attach(f"{id}.json", json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    if "IPython" in sys.modules:
        _show(fig, folder / f"{id}.png", id)


def bibtex(record: Mapping[str, Any]) -> str:
    """The BibTeX entry of one figure, from what `geomem.companion.prose.described` has of it."""
    id, version = record["id"], importlib.metadata.version("geomem")
    notes = [f"commit {(record['commit'] or 'unknown')[:12]}"]
    notes += ["uncommitted changes"] if record["dirty"] else []
    notes += [f"data set {s['name']}, SHA-256 {s['sha256'][:12]}" for s in record["data"]]
    note = ";\n                  ".join(map(_tex, notes))
    url = f"  url          = {{{record['url']}}},\n" if record.get("url") else ""
    return (
        f"@misc{{geomem-{id},\n"
        f"  title        = {{{_tex(record['title'])}}},\n"
        "  author       = {{The geomem contributors}},\n"
        f"  year         = {{{record['date'][:4]}}},\n"
        f"  date         = {{{record['date']}}},\n"
        f"  howpublished = {{geomem companion {version},\n"
        f"                  figure {id}}},\n"
        f"{url}"
        f"  note         = {{{note}}}\n"
        "}\n"
    )


def _tex(text: str) -> str:
    """Text as TeX prints it, on one line, with no brace that BibTeX would count."""
    return re.sub(r"[\\{}~^&%$#_]", lambda found: TEX[found[0]], " ".join(text.split()))


def commit() -> dict[str, str | bool | None]:
    """The last commit of what figures are computed from, and whether that was changed since.

    None outside git.
    """

    def git(*arguments: str) -> str:
        where = Path(__file__).parent
        return subprocess.run(
            ["git", *arguments], cwd=where, capture_output=True, text=True, check=True
        ).stdout.strip()

    paths = [":/geomem", ":/notebooks", ":/requirements*.lock"]
    try:
        changed = git("status", "--porcelain", "--", *paths)
        return {"commit": git("log", "-1", "--format=%H", "--", *paths), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


def _device(asked: str) -> str:
    if asked == "cpu" or not torch.cuda.is_available():
        return "cpu"
    return f"cuda ({torch.cuda.get_device_name()})"


def _check(id: str, table: Mapping[str, Any]) -> None:
    if not ID.fullmatch(id):
        raise ValueError(f"figure id {id!r}: use 'fig-' and lower-case words, never a number.")
    lengths = {len(column) for column in table.values()}
    if len(lengths) != 1 or not all(UNIT.fullmatch(header) for header in table):
        raise ValueError(
            f"{id}: the table needs columns of one length, each headed 'name [unit]'; "
            f"got {list(table)} with lengths {sorted(lengths)}."
        )


def _show(fig: Figure, png: Path, id: str) -> None:
    """In a notebook the file stands for the figure, which would be drawn a third time.

    The output says which figure it is, so that the page can put the citable one in its place.
    """
    from IPython import display, get_ipython

    if get_ipython() is not None:
        width = round(130 * fig.get_figwidth())
        picture = display.Image(png, width=width)  # type: ignore[no-untyped-call]  # IPython lacks it
        display.display(picture, metadata={"geomem": id})  # type: ignore[no-untyped-call]  # IPython lacks it
        plt.close(fig)
