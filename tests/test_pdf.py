"""The book as one PDF: nothing of a page is lost, and links lead where they led."""

import io
import re
import tempfile
import time
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from conftest import forked, left_running
from test_zoo import wait_for

from geomem.companion import pdf
from geomem.companion.site import Site
from geomem.errors import InputError

pypdf = pytest.importorskip("pypdf")

CODE = "\n".join(
    f"value_{i} = function_{i}({', '.join(f'argument_{i}_{j}' for j in range(40))})"
    for i in range(30)
)
TALL = "".join(f"<p>Paragraph {i} of many, each of a few words.</p>" for i in range(90))
WIDE = "".join(f"<th>heading{i}</th>" for i in range(24))
PICTURE = """<svg xmlns="http://www.w3.org/2000/svg" width="900" height="2000">
<rect width="900" height="2000"/></svg>"""
ONE = f"""<html><head><link rel="stylesheet" href="../_static/own.css"/><script>var x = 1</script>
</head><body><nav>not this</nav><article><section id="same">
<h1>1. First<a class="headerlink" href="#same">#</a></h1>
<p>See <a href="#same">itself</a>, <a href="two.html#there">the second</a>,
<a href="two.html">all of it</a>, <a href="two.html#nowhere">lost</a>,
<a href="../notebooks/run.html#code">a notebook</a> and
<a href="https://example.org/x">others</a>.</p>
<details><summary>Folded</summary><p>what is folded</p></details>
<section id="code"><h2>1.1. Code</h2><pre>{CODE}</pre></section>
<table><tr>{WIDE}</tr></table>
<figure id="fig-x"><img src="../_images/tall.svg" alt="a tall picture" loading="lazy"/></figure>
</section></article></body></html>"""
TWO = f"""<html><body><article><section id="same"><h1>2. Second</h1>{TALL}<section id="there">
<h2>2.1. There</h2><p>the end, and <a href="one.html#same">back</a></p></section>
</section></article></body></html>"""
PARTS = [pdf.Part("", ("book/one.html",)), pdf.Part("A part", ("book/two.html",))]
HERE = Site(address="https://example.net/b/")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = tmp_path_factory.mktemp("html")
    for name, text in {
        "book/one.html": ONE,
        "book/two.html": TWO,
        "_images/tall.svg": PICTURE,
        "_static/own.css": "p { color: black }",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def paper(html, tmp_path_factory):
    try:
        pdf.chromium()
    except InputError as error:
        pytest.skip(str(error))
    text = pdf.joined(html, PARTS, ["A Title", "by somebody"], Site())
    folder = tmp_path_factory.mktemp("pdf")
    return pypdf.PdfReader(io.BytesIO(pdf.printed(text, folder)))


def test_every_link_within_leads_to_one_place_and_the_others_outside(html):
    for of in (Site(), HERE):
        whole = BeautifulSoup(pdf.joined(html, PARTS, ["A Title"], of), "html.parser")
        ids = [element["id"] for element in whole.find_all(id=True)]
        assert len(ids) == len({*ids})
        links = {a.text: a["href"] for a in whole.select(".chapter a")}
        within = {text: link[1:] for text, link in links.items() if link.startswith("#")}
        assert {*within.values()} <= {*ids}
        where = {text: whole.find(id=id).find(["h2", "h3"]).text for text, id in within.items()}
        assert where == {
            "itself": "1. First",
            "the second": "2.1. There",
            "all of it": "2. Second",
            "lost": "2. Second",
            "back": "1. First",
        }
        outside = {text: link for text, link in links.items() if text not in within}
        others = {"others": "https://example.org/x"}
        if of.address:
            others["a notebook"] = "https://example.net/b/notebooks/run.html#code"
        assert outside == others


def outline(reader):
    def flat(entries):
        for entry in entries:
            if isinstance(entry, list):
                yield from flat(entry)
            else:
                yield entry.title, reader.get_destination_page_number(entry) + 1

    return dict(flat(reader.outline))


def test_outline_and_contents_name_every_chapter_and_the_page_where_it_begins(paper):
    texts = [page.extract_text() for page in paper.pages]
    named, headings = outline(paper), ["1. First", "1.1. Code", "A part", "2. Second", "2.1. There"]
    assert [title for title in named if title in headings] == headings
    for title in headings:
        assert title.lower() in texts[named[title] - 1].lower()
        # Its line of the contents, on the second page, ends with the page that it is on.
        assert re.search(rf"{re.escape(title)}\s*{named[title]}\b", texts[1], re.I), texts[1]
    assert named["1. First"] > 2 and named["2.1. There"] > named["2. Second"]


def test_links_are_of_the_file(paper):
    known, leads = paper.named_destinations, []
    for page in paper.pages:
        for one in page.get("/Annots", []):
            note = one.get_object()
            if note.get("/Subtype") == "/Link":
                leads.append(str(note.get("/Dest") or note["/A"].get("/URI", note["/A"].get("/D"))))
    assert "https://example.org/x" in leads
    assert {*leads} - {"https://example.org/x"} <= {*known}
    assert len(leads) == 5 + 6  # of the contents, and in the text: that to a notebook is none


def test_nothing_is_cut_or_left_out_and_no_page_is_blank(paper):
    texts = [page.extract_text().rstrip() for page in paper.pages]
    assert all(text.endswith(str(i)) for i, text in enumerate(texts, 1))
    texts = [text.removesuffix(str(i)) for i, text in enumerate(texts, 1)]
    assert sum(not text.strip() for text in texts) <= 1, "the tall picture has a page of its own"
    said = re.sub(r"\s", "", "".join(texts))
    for line in CODE.splitlines():
        assert re.sub(r"\s", "", line) in said
    for words in ("whatisfolded", "heading23", "Paragraph89of", "theend", "bysomebody"):
        assert words in said
    assert "notthis" not in said


@pytest.fixture
def place():
    """An empty folder whose name is short: a browser's socket lies in it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_what_prints_ends_with_who_asked_for_it_and_its_folders_go(paper, html, place, monkeypatch):
    """The browser, and what steers it, also after kill -9."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)  # else it is the one of before
    asked = forked(pdf.printed, pdf.joined(html, PARTS, ["A Title"], Site()), place)
    wait_for(lambda: any("--type=renderer" in said for said in left_running(place)))
    asked.kill()
    asked.join()
    wait_for(lambda: not left_running(place))
    # `geomem.companion.runs.alone` clears the folder that the page was given.
    assert {path.name for path in place.iterdir()} <= {"book.html"}


def test_a_temporary_folder_may_be_too_far_for_a_socket(tmp_path, monkeypatch):
    (far := tmp_path / ("far" * 20)).mkdir()
    monkeypatch.setenv("TMPDIR", str(far))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with pdf.browser() as running:
        assert running.new_page().pdf().startswith(b"%PDF")


def test_without_a_browser_it_says_so_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    with pytest.raises(InputError, match="Chromium, which is not here") as error:
        pdf.chromium()
    assert len(str(error.value).splitlines()) == 1


def test_the_chapters_are_those_of_the_contents_without_notebooks_and_reference(tmp_path):
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nparts:\n"
        "- caption: One\n  chapters:\n  - file: book/a\n    sections:\n    - file: notebooks/a\n"
        "- caption: Code\n  chapters:\n  - file: book/api\n    sections:\n    - glob: book/api/*\n"
    )
    found = [pdf.Part("", ("book/intro.html",)), pdf.Part("One", ("book/a.html",))]
    assert pdf.parts(tmp_path) == found


@pytest.mark.long
def test_the_whole_book(smoke):
    """Every chapter, in a quarter of an hour at most."""
    begun = time.monotonic()
    pdf.build(smoke)
    assert time.monotonic() - begun < 900
    reader = pypdf.PdfReader(smoke / pdf.PLACE)
    assert pdf.is_fresh(smoke)
    titles = {" ".join(title.split()) for title in outline(reader)}
    for part in pdf.parts(smoke):
        for page in part.pages:
            soup = BeautifulSoup((smoke / "_build" / "html" / page).read_text(), "html.parser")
            heading = soup.select_one("article h1")
            for formula in heading.select(".math, .headerlink"):
                formula.decompose()
            assert any(heading.text.strip()[:12] in title for title in titles), page
    assert all(page.extract_text().strip() for page in reader.pages)
