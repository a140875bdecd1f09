"""How figures are put on pages: for light and dark ones, and small in a gallery, with their files.

A Sphinx extension beside `geomem.companion.sphinx_ext`: `{figure-index}` is the gallery, and every
picture of a figure becomes two, of which a browser loads the one that it shows.
"""

from __future__ import annotations

import html
import io
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from geomem.companion import badges, figures, prose
from geomem.companion.results import Result
from geomem.companion.sphinx_ext import ROOT, Generated, drawn, in_order
from geomem.plots.dark import dark, dark_colour
from geomem.plots.files import IMAGE, SIZE

FILES = {  # by the ends of their names, what readers call them
    ".pdf": "PDF",
    ".text.svg": "SVG with text",
    ".svg": "SVG with outlines",
    ".dark.svg": "the same, dark",
    ".png": "PNG",
    ".csv": "CSV",
    ".json": "JSON",
    ".bib": "BibTeX",
}
WHOLE = {"light": ".svg", "dark": ".dark.svg"}  # pictures by the page that they are for
SMALL = {"light": ".small.png", "dark": ".small.dark.png"}
THUMB = (320, 240)  # pixels, at most


class Pictures(SphinxTransform):
    """The picture of a figure, for a light page and for a dark one."""

    default_priority = 210  # before Sphinx looks for images to copy

    def apply(self, **_: Any) -> None:
        known = {record["id"] for record in drawn()}
        for image in [*self.document.findall(nodes.image)]:
            id = Path(image["uri"]).stem
            if id in known and self.app.builder.format == "html":
                found = SIZE.search(Path(f"{ROOT}{image['uri']}").read_text())
                assert found is not None, "matplotlib says how large its SVG is"
                size = tuple(round(float(points) * 4 / 3) for points in found.groups())
                up = "../" * self.env.docname.count("/")
                tags = _tags(f"{up}figures/{id}", WHOLE, image["alt"], size)
                image.replace_self(nodes.raw("", tags, format="html"))


def _tags(stem: str, ends: dict[str, str], alt: str, size: tuple[int, ...]) -> str:
    """One picture for each kind of page; the theme hides the other, which then is not loaded.

    In an element of their own: with a hidden picture the theme hides the caption beside it, too.
    """
    shared = 'alt="{}" width="{}" height="{}" loading="lazy"'.format(html.escape(alt), *size)
    tags = (f'<img class="only-{page}" src="{stem}{end}" {shared}>' for page, end in ends.items())
    return f'<span class="picture">{"".join(tags)}</span>'


class FigureIndex(Generated):
    """Every figure of the book, small, by chapter; folded: its origin, files, and BibTeX entry."""

    def run(self) -> list[nodes.Node]:
        blocks = []
        for chapter, records in groupby(in_order(drawn()), lambda record: record["chapter"]):
            blocks += [f"### [](../book/{chapter})\n", "::::{div} gallery"]
            blocks += [*map(self.entry, records), "::::\n"]
        return self.parse("\n".join(blocks))

    def entry(self, record: dict[str, Any]) -> str:
        id, stem = record["id"], f"{self.up}figures/{record['id']}"
        place = f"{self.up}book/{Path(record['chapter']).stem}.html#{id}"
        sets = ", ".join(s["name"] for s in record["data"])
        result = Result(ROOT, record["notebook"])
        left = {path.name.removeprefix(id) for path in result.figure_files(id)}
        files = ", ".join(
            f'<a href="{stem}{end}">{name}</a>'
            for end, name in FILES.items()
            if end in left or end in (".dark.svg", ".bib")
        )
        meaning = prose.CLAIMS[record["claim"]]
        whose = badges.whose(record["claim"], record["paper"], meaning, self.up)
        return (
            f':::{{div}} thumb\n<a href="{place}" tabindex="-1" aria-hidden="true">'
            f"{_tags(stem, SMALL, '', THUMB)}</a>\n\n"
            f"(cite-{id})=\n{{numref}}`{id}`: {record['title']}\n\n"
            f"<details><summary>Files and citation</summary>\n\n"
            f"{files}\n\n{whose} From [](../notebooks/{record['notebook']}.ipynb)"
            f"{', on ' if sets else ''}{sets}. `{id}`\n\n"
            f"```bibtex\n{figures.bibtex(record).strip()}\n```\n\n</details>\n:::"
        )


def thumbnails(png: Path, svg: str) -> dict[str, bytes]:
    """The upper part of a picture, small and of few colours, for light and for dark pages.

    svg : the same picture; the images in it keep their pixels on a dark page.
    """
    width, height = THUMB
    with Image.open(png) as whole:
        size = width, round(width * whole.height / whole.width)
        small = whole.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=2)
    small = small.crop((0, 0, width, min(height, size[1])))
    light = small.quantize(32)
    palette = bytes(light.getpalette() or []).hex()
    colours = (dark_colour(f"#{palette[i : i + 6]}")[1:] for i in range(0, len(palette), 6))
    other = light.copy()
    other.putpalette(bytes.fromhex("".join(colours)))
    other = other.convert("RGB")
    found = SIZE.search(svg)
    assert found is not None, "matplotlib says how large its SVG is"
    for image in IMAGE.findall(svg):
        up, x, y, wide, high = (float(points) * width / float(found[1]) for points in image)
        left, top, right, bottom = map(round, (x, up - y - high, x + wide, up - y))
        other.paste(small.crop((left, top, right, bottom)), (left, top))
    return {SMALL["light"]: _png(light), SMALL["dark"]: _png(other.quantize(32))}


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _files(app: Sphinx, error: Exception | None) -> None:
    """Beside the pages: every figure's files, its dark picture, thumbnails, and its citation."""
    if error is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir) / "figures"
    folder.mkdir(exist_ok=True)
    with ThreadPoolExecutor() as threads:  # Pillow computes outside Python's lock
        for _ in threads.map(partial(_write, folder), drawn()):
            pass  # but raise what it raised


def _write(folder: Path, record: dict[str, Any]) -> None:
    id, result = record["id"], Result(ROOT, record["notebook"])
    for path in result.figure_files(id):
        shutil.copyfile(path, folder / path.name)
    svg = result.figure(id, ".svg").read_text()
    made = thumbnails(result.figure(id, ".png"), svg)
    made |= {WHOLE["dark"]: dark(svg.encode()), ".bib": figures.bibtex(record).encode()}
    made[".json"] = (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode()
    for end, content in made.items():
        (folder / f"{id}{end}").write_bytes(content)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("figure-index", FigureIndex)
    app.add_transform(Pictures)
    app.connect("build-finished", _files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
