"""The whole book as one PDF, from its pages as they are built: Chromium prints them, joined.

Contents with page numbers, an outline, links that work within the file, and formulas as on the
pages. Notebooks and the reference of the package are left out: they are code, and lie beside the
pages. A link to one of them leads to the book's address where ``book/site.toml`` says it; else it
is plain text.
"""

from __future__ import annotations

import copy
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import yaml

from geomem import disk
from geomem.companion import book, citation, site
from geomem.companion.results import scratch
from geomem.errors import InputError

PLACE = Path("_build", "geomem.pdf")
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SOCKET = 60  # letters of a folder's path, beyond which that of a socket in it is too long
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")
STYLE = Path(__file__).with_name("print.css")
WIDTH = 658  # CSS pixels between the margins of `STYLE`'s page
GONE = "script, noscript, button, form, canvas, nav, .headerlink, .noprint, .only-dark, .live"
NUMBER = (  # at the foot of each page
    '<div style="width: 100%; text-align: center; font: 8px sans-serif; color: #555">'
    '<span class="pageNumber"></span></div>'
)
# What is wider than its place is made smaller, whole: tables, formulas, boxes.
FIT = """() => {
  for (const one of document.querySelectorAll("table, .math, .formula, img")) {
    const room = one.parentElement.clientWidth, needs = one.scrollWidth;
    if (room && needs > room + 1) one.style.zoom = Math.max(0.4, room / needs);
  }
}"""
SET = """numbers => document.querySelectorAll(".contents .page").forEach(
  (one, i) => { one.textContent = numbers[i]; })"""
READY = """async () => {
  await document.fonts.ready;
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
}"""


EMPTY = (
    '<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light">'
    '<head><meta charset="utf-8"></head>'
    '<body><main class="bd-content bd-article"></main></body></html>'
)
Ids = Mapping[str, set[str]]  # of each page


@dataclass(frozen=True)
class Part:
    """Chapters below one name, "" for those before the first: paths of their pages."""

    name: str
    pages: tuple[str, ...]


def is_fresh(root: Path) -> bool:
    """Whether the PDF is younger than the pages."""
    paper, pages = root / PLACE, root / "_build" / "html" / ".inputs"
    return paper.is_file() and paper.stat().st_mtime > pages.stat().st_mtime


def build(root: Path) -> None:
    """Print the pages of the book, as they are built, into `PLACE`.

    Raises
    ------
    InputError : Chromium is not here.
    """
    said, of = citation.entries(root).entries["geomem"], site.read(root)
    lines = [said.fields["title"], *citation.authors(said), said.fields["howpublished"]]
    lines += [book.feet(root).get("", ""), of.address]
    cover = [line for line in lines if line]
    text = joined(root / "_build" / "html", parts(root), cover, of)
    with scratch(root, "pdf") as folder:  # which the next start clears where this one is killed
        disk.write(root / PLACE, printed(text, folder))


def parts(root: Path) -> list[Part]:
    """The chapters of the book as ``_toc.yml`` has them, without notebooks and the reference."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    named = [{"caption": "", "chapters": [{"file": toc["root"]}, *toc.get("chapters", [])]}]
    found = []
    for part in [*named, *toc.get("parts", [])]:
        files = _files(part["chapters"])
        pages = (f"{name}.html" for name in files if re.match(r"book/(?!api\b)", name))
        found.append(Part(part.get("caption", ""), tuple(pages)))
    return [part for part in found if part.pages]


def _files(entries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        if "file" in entry:
            yield entry["file"]
        yield from _files(entry.get("sections", []))


def joined(html: Path, parts: Sequence[Part], cover: Sequence[str], of: site.Site) -> str:
    """All pages as one page: a title, contents, and the articles, linked among themselves.

    Parameters
    ----------
    html : folder of the built pages.
    parts : which of them, in order.
    cover : lines of the first page, the title first.
    of : where the other pages are found.
    """
    pages = {page: _soup_of((html / page).read_text()) for part in parts for page in part.pages}
    ids = {page: {one["id"] for one in soup.find_all(id=True)} for page, soup in pages.items()}
    whole = _soup_of(EMPTY)
    head, main = whole.head, whole.main
    head.append(_made(whole, "title", cover[0]))
    for element in _styles(html, pages):
        head.append(element)
    head.append(_made(whole, "style", STYLE.read_text()))
    front = _made(whole, "section", class_="cover")
    front.extend(_made(whole, "h1" if i == 0 else "p", line) for i, line in enumerate(cover))
    contents = _made(whole, "section", class_="contents")
    contents.append(_made(whole, "h2", "Contents"))
    main.extend([front, contents])
    for i, part in enumerate(parts):
        if part.name:
            main.append(_made(whole, "h1", part.name, class_="part", id=f"part-{i}"))
            contents.append(_line(whole, part.name, f"part-{i}", "of-part"))
        for page in part.pages:
            chapter = _made(whole, "section", class_="chapter", id=_anchor(page))
            chapter.extend(_article(html, page, pages[page], ids, of))
            main.append(chapter)
            for heading in chapter.select("h2, h3"):
                kind = "of-chapter" if heading.name == "h2" else "of-section"
                place = heading if heading.get("id") else heading.find_parent(id=True)
                contents.append(_line(whole, _parts_of(heading), place["id"], kind))
    return str(whole)


def _article(html: Path, page: str, soup: Any, ids: Ids, of: site.Site) -> list[Any]:
    """What a page says, as it stands in the whole: open, its ids and links those of the whole."""
    article = soup.select_one("article") or soup.body
    for element in article.select(GONE):
        element.decompose()
    for element in article.select("details"):
        element["open"] = ""
    for level in range(5, 0, -1):  # below the names of the parts
        for heading in article.find_all(f"h{level}"):
            heading.name = f"h{level + 1}"
    for element in article.find_all(True):
        for key in ("loading", "srcset"):
            element.attrs.pop(key, None)
        if "id" in element.attrs:
            element["id"] = _anchor(page, element["id"])
        for key in ("href", "xlink:href", "src"):
            if key in element.attrs:
                _point(element, key, html, page, ids, of)
    return list(article.contents)


def _point(element: Any, key: str, html: Path, page: str, ids: Ids, of: site.Site) -> None:
    """Let an element of a page point to the same from the whole; a link to nothing is text."""
    url = urlsplit(urljoin(page, element[key]))
    if url.scheme or url.netloc:
        return
    there = unquote(url.path)
    if element.name != "a" and not element[key].startswith("#"):
        element[key] = (html / there).as_uri()
    elif there in ids:
        element[key] = f"#{_anchor(there, url.fragment if url.fragment in ids[there] else '')}"
    elif of.address:
        element[key] = of.page(there) + (f"#{url.fragment}" if url.fragment else "")
    elif element.find_parent(class_="figure-line"):  # nothing but links: it and the mark after it
        if element.next_sibling and element.next_sibling.strip() == "·":
            element.next_sibling.extract()
        element.extract()
    else:
        element.unwrap()


def _anchor(page: str, id: str = "") -> str:
    """The id in the whole of an id on a page, or of the page."""
    slug = page.removesuffix(".html").replace("/", "-")
    return f"{slug}--{id}" if id else slug


def _styles(html: Path, pages: Mapping[str, Any]) -> list[Any]:
    """Each style sheet once; none of the pages' scripts."""
    found = dict[str, Any]()
    for page, soup in pages.items():
        for element in soup.select("link[rel=stylesheet], head style"):
            name = element.get("href") or ""
            if name and not urlsplit(name).scheme:
                name = element["href"] = (html / urlsplit(urljoin(page, name)).path).as_uri()
            found.setdefault(name or str(element), element)
    return list(found.values())


def _line(whole: Any, text: str | list[Any], id: str, kind: str) -> Any:
    """A line of the contents; its page comes later."""
    line, link = _made(whole, "p", class_=kind), _made(whole, "a", href=f"#{id}")
    link.extend([text] if isinstance(text, str) else text)
    line.extend([link, _made(whole, "span", "0", class_="page")])
    return line


def _parts_of(heading: Any) -> list[Any]:
    """What a heading says, once more, without ids and links."""
    twin = copy.copy(heading)
    for element in twin.find_all(True):
        element.attrs.pop("id", None)
    for link in twin.find_all("a"):
        link.unwrap()
    return list(twin.contents)


def _made(whole: Any, name: str, text: str = "", **attributes: str) -> Any:
    named = {key.rstrip("_"): value for key, value in attributes.items()}
    element = whole.new_tag(name, attrs=named)
    if text:
        element.string = text
    return element


def _soup_of(text: str) -> Any:
    from bs4 import BeautifulSoup

    return BeautifulSoup(text, "html.parser")


def printed(text: str, folder: Path) -> bytes:
    """A page as a PDF; its contents are printed twice, since only paper has page numbers.

    ``folder`` is where the page lies meanwhile.
    """
    from pypdf import PdfReader

    with browser() as chrome:
        path = folder / "book.html"
        path.write_text(text)
        context = chrome.new_context(viewport={"width": WIDTH, "height": 900}, offline=True)
        page = context.new_page()
        page.set_default_timeout(0)
        page.emulate_media(media="print", color_scheme="light")
        page.goto(path.as_uri(), wait_until="load")
        page.evaluate(READY)
        page.evaluate(FIT)
        targets = page.eval_on_selector_all(
            ".contents a", "links => links.map(link => link.getAttribute('href').slice(1))"
        )
        numbers: list[int] = []
        while True:
            made = page.pdf(
                prefer_css_page_size=True,
                print_background=True,
                outline=True,
                tagged=True,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=NUMBER,
            )
            found = _pages(PdfReader(io.BytesIO(made)), targets)
            if found == numbers:
                return made
            numbers = found  # which the contents have room for: they move nothing
            page.evaluate(SET, numbers)


def _pages(reader: Any, targets: Sequence[str]) -> list[int]:
    """The page, from 1, that each of these ids is on."""
    known = reader.named_destinations
    return [reader.get_destination_page_number(known[f"/{id}"]) + 1 for id in targets]


def chromium() -> str:
    """The browser of this machine, or the one that playwright has installed.

    Raises
    ------
    InputError : there is none.
    """
    from playwright.sync_api import sync_playwright

    if path := next(filter(None, map(shutil.which, NAMES)), None):
        return path
    with sync_playwright() as playwright:
        if Path(path := playwright.chromium.executable_path).is_file():
            return path
    raise InputError(
        "the PDF is printed by Chromium, which is not here: `apt install chromium`, or "
        "`python -m playwright install chromium`."
    )


@contextmanager
def browser() -> Iterator[Any]:
    """A running Chromium, playwright's ``Browser``.

    Raises
    ------
    InputError : as `chromium`.
    """
    from playwright.sync_api import sync_playwright

    path, env = chromium(), dict[str, Any](os.environ)
    if len(tempfile.gettempdir()) > SOCKET:
        env["TMPDIR"] = "/tmp"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=[*FLAGS], env=env)
        try:
            yield running
        finally:
            running.close()
