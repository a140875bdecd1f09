"""Where the book is published: the setting, and what a page says to the outside by it."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup
from conftest import ROOT, without_api
from pybtex.database import parse_file

from geomem.cli.main import main
from geomem.companion import book, notebooks, site
from geomem.errors import InputError

SET = """
address = "https://example.org/the-book"
repository = "https://github.com/some-one/some.thing"
branch = "next/one"
binder = "https://binder.example.org/"
colab = "ipynb"
pdf = "all.pdf"
other_builds.large = "https://example.org/large"
"""


def wrote(folder, text):
    (folder / "book").mkdir(exist_ok=True)
    (folder / "book" / "site.toml").write_text(text)
    return folder


def links(said):
    """Every address that a setting makes for one page and one notebook."""
    yield said.page("book/cite.html")
    yield from said.elsewhere("book/cite.html").values()
    yield said.edit("book/cite.md")
    yield said.issue(page="Cite", commit="0123")
    yield said.on_binder("coverage")
    yield said.on_colab("coverage")
    yield said.install


def test_without_a_setting_nothing_has_an_address(tmp_path):
    assert [*links(site.read(tmp_path))] == [""] * 6
    assert [*links(site.read(wrote(tmp_path, 'address = ""\n[other_builds]\ncifar = ""')))] == [
        ""
    ] * 6


def test_with_it_everything_has_one_below_what_was_set(tmp_path):
    said = site.read(wrote(tmp_path, SET))
    assert said.page("book/cite.html") == "https://example.org/the-book/book/cite.html"
    assert said.elsewhere("book/cite.html") == {"large": "https://example.org/large/book/cite.html"}
    assert said.edit("book/cite.md").endswith("/some.thing/edit/next/one/book/cite.md")
    unset = site.read(wrote(tmp_path, SET.replace("next/one", "")))
    assert unset.edit("book/cite.md").endswith("/some.thing/edit/main/book/cite.md")
    assert all(url.startswith("https://") for url in links(said) if not url.startswith("pip"))
    assert not any(" " in url for url in links(said) if not url.startswith("pip"))


def test_each_notebook_is_opened_where_it_lies(tmp_path):
    said = site.read(wrote(tmp_path, SET))
    for name in notebooks.notebooks(ROOT):
        binder, colab = urlsplit(said.on_binder(name)), urlsplit(said.on_colab(name))
        assert (binder.netloc, colab.netloc) == ("binder.example.org", "colab.research.google.com")
        # The branch's own slash is no part of the path.
        assert [unquote(part) for part in binder.path.split("/")] == [
            *("", "v2", "gh", "some-one", "some.thing", "next/one")
        ]
        (path,) = parse_qs(binder.query)["urlpath"]
        assert (ROOT / PurePosixPath(path).relative_to("lab/tree")).is_file()
        here = f"/github/some-one/some.thing/blob/ipynb/notebooks/{name}.ipynb"
        assert colab.path == here


def test_an_issue_fills_in_fields_that_its_form_has(tmp_path):
    url = urlsplit(site.read(wrote(tmp_path, SET)).issue(page="σ & ?", commit="0123"))
    asked = {key: value for key, (value,) in parse_qs(url.query).items()}
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / asked.pop("template")).read_text())
    assert asked == {"page": "σ & ?", "commit": "0123"}
    assert asked.keys() <= {field.get("id") for field in form["body"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adress = ''", "no key 'adress'; known: address, "),
        ("address = 'example.org'", "is not an address"),
        ("address = 'https://x.org/\"><script>'", "is not an address"),
        ("address = 3", "is not an address"),
        ("repository = 'https://gitlab.com/a/b'", "https://github.com/OWNER/NAME"),
        ("branch = 'a b'", "is not the name of a branch"),
        ("binder = 'https://mybinder.org'", "name it"),
        ("pdf = 'all.pdf'", "name that"),
        ("other_builds = 'https://x.org'", "a table of addresses"),
        ("other_builds.x = 'ftp://x.org'", "other_builds.x"),
        ("address", "book/site.toml: "),
    ],
)
def test_a_wrong_setting_is_one_clear_line(tmp_path, text, says):
    with pytest.raises(InputError) as error:
        site.read(wrote(tmp_path, text))
    assert says in str(error.value) and len(str(error.value).splitlines()) == 1


# The pages themselves: one of each kind

LISTED = ["book/intro", "book/regimes", "book/coverage", "book/figures", "book/cite"]
PAGES = [*LISTED, "notebooks/regimes", "notebooks/coverage", "genindex"]


@pytest.fixture(scope="module")
def published(smoke, tmp_path_factory):
    """Some pages of the smoke book once more, as if it had an address and a repository."""
    root = tmp_path_factory.mktemp("published") / "book"
    shutil.copytree(smoke, root, ignore=shutil.ignore_patterns("_build"))
    (root / "book" / "site.toml").write_text(SET)
    first, *others = LISTED
    contents = {"format": "jb-book", "root": first, "chapters": [{"file": page} for page in others]}
    (root / "_toc.yml").write_text(yaml.safe_dump(contents))
    without_api(root)
    # Not strict, since those pages link to others, and without small pictures, which name nothing.
    code = "from geomem.companion import gallery; gallery.thumbnails = lambda *_, **how: {}; "
    command = [sys.executable, "-c", code + book.RENDER, "build", "."]
    made = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    return root


@pytest.fixture(scope="module")
def theirs(published):
    html, pages = published / "_build" / "html", [f"{page}.html" for page in PAGES]
    return {page: BeautifulSoup((html / page).read_text(), "html.parser") for page in pages}


def test_a_page_has_one_address_and_the_sitemap_lists_them_all(published, theirs):
    html, base = published / "_build" / "html", "https://example.org/the-book/"
    for page, soup in theirs.items():
        assert [link["href"] for link in soup.select("link[rel=canonical]")] == [base + page]
    listed = re.findall("<loc>(.*)</loc>", (html / "sitemap.xml").read_text())
    found = [p.relative_to(html).as_posix() for p in html.glob("*/**/*.html")]
    pages = [page for page in found if page.startswith(("book/", "notebooks/"))]
    assert sorted(listed) == sorted(base + page for page in pages)


def meta(soup, name):
    return [tag["content"] for tag in soup.select(f'meta[name="{name}"], meta[property="{name}"]')]


def test_what_a_preview_and_a_reference_manager_read(published, theirs):
    html, base = published / "_build" / "html", "https://example.org/the-book/"
    for page, soup in theirs.items():
        if page == "genindex.html":
            assert meta(soup, "robots") == ["noindex"] and not meta(soup, "og:title")
            continue
        (said,), (title,) = meta(soup, "description"), meta(soup, "og:title")
        assert title and said and not re.search(r"[\\<>{}$]|\d\.\d+ *$", said), page
        assert meta(soup, "og:url") == [base + page] and meta(soup, "og:description") == [said]
        for image in meta(soup, "og:image"):
            assert (html / image.removeprefix(base)).is_file()
            assert len(meta(soup, "og:image:alt")[0].split()) >= 8
        if page.startswith("book/"):
            assert meta(soup, "citation_author") == ["The geomem contributors"]
            assert meta(soup, "citation_public_url") == [base + page]
            (whole,) = meta(soup, "citation_inbook_title") or meta(soup, "citation_title")
            assert whole.startswith("geomem: ")
    root = theirs["book/intro.html"]
    assert meta(root, "og:image")
    assert meta(root, "citation_pdf_url") == [base + "all.pdf"]
    assert "citation_author=Dodson, Nick" in meta(root, "citation_reference")[0]


def test_a_page_leads_to_its_source_and_a_notebook_to_where_it_runs(published, theirs):
    for page, soup in theirs.items():
        leads = {a.text: a["href"] for a in soup.select("p.links a")}
        assert {"arXiv", "sources", "say what is wrong here"} <= leads.keys()
        if "edit this page" in leads:
            path = leads["edit this page"].partition("/edit/next/one/")[2]
            assert (ROOT / path).is_file() and page.startswith(path.partition(".")[0])
        else:
            assert page == "genindex.html"
        if page.startswith("notebooks/"):
            runs = {a.text: a["href"] for a in soup.select("p.notebook-links a")}
            assert [*runs] == [".ipynb", ".py", "Binder", "Colab"]
    for name in ("regimes", "coverage"):
        files = published / "_build" / "html" / "notebooks"
        cells = json.loads((files / f"{name}.ipynb").read_text())["cells"]
        assert sum("%pip install" in "".join(cell["source"]) for cell in cells) == 1
        assert (files / f"{name}.py").read_bytes() == (ROOT / f"notebooks/{name}.py").read_bytes()


def test_cite_and_the_pages_show_one_entry(published, theirs, capsys, monkeypatch):
    url = "https://example.org/the-book/book/figures.html#cite-fig-regimes"
    monkeypatch.chdir(published)
    main(["cite", "fig-regimes"])
    printed = capsys.readouterr().out
    figure, book, _ = (f"@{entry}".strip() for entry in printed.split("@")[1:])
    assert url in figure and "https://example.org/the-book/" in book
    assert re.search(r"date += \{\d{4}-\d\d-\d\d\}", figure) and "commit" in figure
    assert re.search(r'date = "\d{4}-\d\d-\d\d"', book) and "commit" in book
    shown = [block.text.strip() for soup in theirs.values() for block in soup.select("pre")]
    assert figure in shown and book in shown
    saved = published / "_build" / "html" / "figures" / "fig-regimes.bib"
    assert saved.read_text().strip() == figure


def test_without_an_address_a_page_names_none(html):
    """No button that leads nowhere; what a page says of itself and of the paper stays."""
    if site.read(ROOT) != site.read(ROOT / "tests"):
        pytest.skip("this checkout says where it is published")
    for name in ("book/intro.html", "notebooks/coverage.html"):
        soup = BeautifulSoup((html / name).read_text(), "html.parser")
        assert not soup.select("link[rel=canonical]") and not meta(soup, "og:title")
        assert [a.text for a in soup.select("p.links a")] == ["arXiv", "PMLR", "OpenReview"]
        assert meta(soup, "description") and not soup.select("a svg")
    assert [a.text for a in soup.select("p.notebook-links a")] == [".ipynb", ".py"]
    assert not (html / "sitemap.xml").exists() and not (html / "robots.txt").exists()


def test_each_work_with_an_identifier_is_linked_to_it(html):
    page = BeautifulSoup((html / "book" / "cite.html").read_text(), "html.parser")
    works, seen = parse_file(ROOT / "book" / "references.bib").entries, 0
    for key, work in works.items():
        if (entry := page.find(id=f"cite-{key}")) is None:
            continue  # not cited on a page
        seen += 1
        said = " ".join(a["href"] for a in (entry.find_next_sibling("dd") or entry).select("a"))
        for field in {"doi", "eprint", "url"} & {*work.fields}:
            assert work.fields[field] in said, key
    assert seen > 0.7 * len(works)
