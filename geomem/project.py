"""Where the project of the book lies: the notebooks, chapters and results beside this package."""

from __future__ import annotations

from pathlib import Path

from geomem.errors import InputError


def project_root() -> Path:
    """The folder with notebooks/profiles.toml: here, above, or beside the package."""
    for folder in [Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]]:
        if (folder / "notebooks" / "profiles.toml").is_file() and (folder / "_toc.yml").is_file():
            return folder
    raise InputError("no project here: run this inside a checkout of geomem.")
