"""The built book itself: every page of the smoke profile, as it lies on the disk."""

import json
import posixpath
import re
import shutil
import xml.etree.ElementTree as ET
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup
from conftest import ROOT, SAID, copy_sources, geomem_command, without_api
from docutils import nodes

import geomem
from geomem.cli.main import main
from geomem.companion import api, badges, book, gallery, notebooks, prose, sphinx_ext, verdicts
from geomem.companion.results import FIGURE_FILES, Result, files
from geomem.companion.tables import Table
from geomem.theorems import STATEMENTS, WHOSE


@pytest.fixture(scope="module")
def project(smoke):
    return smoke


def test_nothing_changed_nothing_runs(project):
    said = (project / "_build" / SAID).read_text()
    if "book built:" in said:  # else that was the second time, after the checkout's own book
        again = geomem_command(project, "book", "--profile", "smoke")
        assert again.returncode == 0, again.stderr
        said = again.stdout
    fresh = re.findall(r"^fresh:  (\w+)$", said, re.M)
    assert fresh == [*notebooks.notebooks(ROOT)] and "running" not in said
    assert "book unchanged:" in said


def test_every_figure_is_numbered_described_and_traceable(html, pages, project):
    seen = []
    for page, soup in pages.items():
        for figure in soup.select("article figure"):
            seen.append(figure["id"])
            assert figure.select_one(".caption-number").text.startswith("Fig. ")
            assert figure.select_one(f'a.headerlink[href="#{figure["id"]}"]'), "permalink"
            assert figure.select_one(".legend .whose"), "whose claim"
        for image in soup.select("article img:not(.gallery img)"):
            assert len(image["alt"].split()) >= 8, f"{page}: {image['src']}"
            holder = image.find_parent(["figure", "div"], class_=["figure-again"]) or (
                image.find_parent("figure")
            )
            assert holder is not None, f"{page}: a picture that is no figure of a run"
            line = holder.select_one(".figure-line")
            links = [a.text for a in line.select("a:not(.whose)")]
            assert links == ["data", "code", "parameters", "cite"] and line.select_one(".whose")
    records = prose.described(project)
    assert sorted(seen) == sorted(record["id"] for record in records) != []
    for record in records:
        assert record["misplaced"] == [], f"{record['id']}: a text cut off, over another, or small"
        for suffix in (*FIGURE_FILES, *gallery.FILES, *gallery.SMALL.values()):
            assert (html / "figures" / (record["id"] + suffix)).stat().st_size > 0
        told = json.loads((html / "figures" / f"{record['id']}.json").read_text())
        assert told == record and told["alt"] and told["data"] is not None
        assert record["versions"]["python"]


def test_a_legend_has_six_entries_at_most(project):
    seen = 0
    for record in prose.described(project):
        picture = Result(project, record["notebook"]).figure(record["id"], ".svg")
        groups = [one for one in ET.parse(picture).iter() if one.tag.endswith("}g")]
        for legend in (one for one in groups if one.get("id", "").startswith("legend_")):
            texts = [one for one in legend.iter() if one.get("id", "").startswith("text_")]
            assert 0 < len(texts) <= 6, record["id"]
            seen += 1
    assert seen > 3, "legends are found by the ids that matplotlib gives them"


def test_every_internal_link_and_anchor_resolves(html, pages):
    count, known = 0, {}  # the anchors of a page, by its path
    for page, soup in pages.items():
        for link in soup.select("a[href]"):
            url = urlsplit(link["href"])
            if url.scheme or link["href"] in ("#", ""):
                continue
            target = (html / page).parent / unquote(url.path) if url.path else html / page
            target = target.resolve()
            assert target in known or target.is_file(), f"{page}: {link['href']}"
            if url.fragment and target.suffix == ".html":
                if target not in known:
                    known[target] = {*re.findall('id="([^"]*)"', target.read_text())}
                assert url.fragment in known[target], f"{page}: no anchor for {link['href']}"
            count += 1
    assert count > 200


def test_a_public_name_and_what_it_cites_link_to_each_other(pages):
    for name in geomem.__all__:
        soup = pages[f"{api.page(name)}.html"]
        assert soup.select_one(f'[id="geomem.{name}"] a[href*="_modules/geomem/"]'), "source"
        source = soup.find("p", class_="rubric", string="References").find_next_sibling("p")
        assert source.text.strip(), name
        for link in source.select("a.internal"):
            path, _, anchor = link["href"].rpartition("../")[2].partition("#")
            if path.endswith("cite.html"):
                continue
            there = pages[path if "/" in path else f"book/{path}"]
            place = there.find(id=anchor)
            place = place if place is not None and "proof" in place.get("class", []) else there
            assert place.select_one(f'a[href$="{name}.html#geomem.{name}"]'), (name, link["href"])


def test_no_page_names_an_outside_resource_or_a_path_of_this_disk(html, pages, project):
    outside = re.compile(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="https?://')
    for page in pages:
        text = (html / page).read_text()
        assert not outside.search(text), page
    for path in [*html.rglob("*.html"), *html.rglob("*.ipynb"), *html.glob("figures/*")]:
        content = path.read_bytes()
        assert str(project).encode() not in content and str(ROOT).encode() not in content, path


def test_every_statement_shows_its_steps_and_how_they_were_checked(pages, project):
    checks = Result(project, "theorem_checks").attached("checks.json")
    assert all(row["held"] for row in checks)
    shown = [link["href"] for soup in pages.values() for link in soup.select("a.check")]
    steps = [row for row in checks if row["part"].startswith("step")]
    assert len(shown) == len(steps) and {row["statement"] for row in steps} == set(STATEMENTS)
    boxes = {box["id"] for soup in pages.values() for box in soup.select("div.proof[id]")}
    assert set(STATEMENTS) <= boxes
    table = pages["book/verification.html"].text
    assert "FAILED" not in table and table.count("fails, as it must") == sum(
        row["part"].startswith("control") for row in checks
    )


def test_a_statement_has_the_paper_s_number_or_none_and_says_whose_it_is(pages):
    for page, soup in pages.items():
        for box in soup.select("article div.proof"):
            number = box.select_one(".admonition-title .caption-number").text
            badge = box.select_one(".beside-title a.whose")
            assert badge["title"] in {*WHOSE.values(), *verdicts.WHOSE.values()}, (page, number)
            assert " " not in number or " ".join(number.split()[:2]) in badge.text, (page, number)
    counted = pages["book/verification.html"].select_one("article table")
    shown = {link["href"].rpartition("#")[2]: link.text for link in counted.select("a")}
    assert shown == {label: said.name for label, said in STATEMENTS.items()}
    assert len({*shown.values()}) == len(shown), "a name of its own"


def test_a_proof_is_folded_under_its_statement_and_counts_its_steps(pages):
    boxes = [box for soup in pages.values() for box in soup.select("div.proof[id]")]
    for label, said in STATEMENTS.items():
        (box,) = [box for box in boxes if box["id"] == label]
        proof = box.find_next_sibling()
        assert proof.name == "details" and not proof.has_attr("open")
        n, *kinds = map(int, re.findall(r"\d+", proof.summary.text))
        steps = [item for item in proof.select("li[id]") if item["id"].startswith(f"{label}-step-")]
        assert n == sum(kinds) == len(steps) == len(said.steps)


def test_the_code_of_a_figure_is_folded_under_it_and_found_in_its_notebook(pages):
    cells = {
        place["id"]: (place if "cell" in place.get("class", []) else place.parent).text
        for page, soup in pages.items()
        if page.startswith("notebooks/")
        for place in soup.select('article [id^="code-fig-"]')
    }
    for page, soup in pages.items():
        for figure in soup.select("article figure"):
            fold, anchor = figure.find_next_sibling(), f"code-{figure['id']}"
            assert fold.name == "details" and not fold.has_attr("open"), page
            assert fold.summary and fold.find(id=anchor), f"{page}: the line's link opens it"
            assert fold.select_one(f'a[href*="notebooks/"][href$="#{anchor}"]'), page
            for code in (fold.text, cells[anchor]):
                assert "companion.figure(" in code and f'"{figure["id"]}"' in code


def test_one_page_a_chapter_with_its_notebook_beside_it(pages, html):
    def leads(page, link):
        return posixpath.normpath(f"{posixpath.dirname(page)}/{urlsplit(link['href']).path}")

    for page, soup in pages.items():
        steps = soup.select(".bd-sidebar-primary a[href], .prev-next-area a[href]")
        assert not any(leads(page, link).startswith("notebooks/") for link in steps), page
    found = (html / "searchindex.js").read_text()
    for name, chapter in notebooks.chapters(ROOT).items():
        there, back = f"notebooks/{name}.html", f"{chapter}.html"
        assert there in [leads(back, link) for link in pages[back].select("article a[href]")]
        assert back in [leads(there, link) for link in pages[there].select("article a[href]")]
        assert f'"notebooks/{name}"' in found, "found by search"


def test_numbers_in_the_prose_are_the_runs_own(pages, project):
    values = Result(project, "coverage").values
    said = pages["book/coverage.html"].select_one("article").text
    assert "{{" not in said and values["mass"] in said and values["sigma_half"] in said


def test_every_claim_has_its_row_with_the_verdict_the_paper_s_before_ours(pages, project):
    claims = sorted(verdicts.claims(project), key=lambda claim: claim.whose == "ours")  # stable
    theirs, ours = pages["book/what_holds.html"].select("article table")
    assert len(theirs.select("tbody tr")) == sum(claim.whose != "ours" for claim in claims)
    rows = [row for table in (theirs, ours) for row in table.select("tbody tr")]
    for row, claim in zip(rows, claims, strict=True):
        badge = row.select_one(".whose")
        assert badge["title"] == verdicts.WHOSE[claim.whose]
        assert badge.extract().text.endswith(badges.shown(claim.whose, claim.item))
        said, shown = (cell.text.strip().replace("’", "'") for cell in row.select("td")[:2])
        assert (said, shown) == (claim.says, claim.verdict)
        assert bool(row.select_one("a.reference")) == (claim.verdict != "not in this run")


def test_every_page_of_a_notebook_opens_with_what_came_out(pages, project):
    claims, boxed = verdicts.claims(project), set()
    for page, soup in pages.items():
        name = page.removeprefix("notebooks/").removesuffix(".html")
        box = soup.select_one("article .outcome")
        if box is None:
            assert not page.startswith("notebooks/"), page
            continue
        shown = [badge.text for badge in box.select(".verdict")]
        asked = [c for c in claims if c.says.rstrip(".") in box.text.replace("’", "'")]
        boxed |= {claim.notebook for claim in asked}
        if page.startswith("notebooks/"):
            assert asked == [claim for claim in claims if claim.notebook == name]
        tested = [claim.verdict for claim in asked if claim.ours]
        assert shown == tested + ["not in this run"] * (len(tested) < len(asked)), page
        assert box.parent.find("h1", recursive=False), f"{page}: below a heading of its own"
        before = box.find_previous_siblings(["section", "figure", "table", "div"])
        assert before == [], f"{page}: not at its opening"
    assert boxed == set(notebooks.notebooks(project))


def test_every_foot_says_which_run_the_page_shows(pages, project):
    runs = {name: Result(project, name).run for name in notebooks.notebooks(project)}
    for page, soup in pages.items():
        (foot,) = soup.select("footer .foot:not(.links), .bd-footer-content .foot:not(.links)")
        assert "profile smoke ·" in foot.text, page
        shown = {page.removeprefix("notebooks/").removesuffix(".html")} & set(runs) or set(runs)
        if page.startswith("notebooks/") or page == "book/intro.html":
            newest = max((runs[name]["date"], runs[name]["key"], name) for name in shown)
            sets = {data for name in shown for data in runs[name]["inputs"]["data"]}
            assert newest[0] in foot.text and all(data in foot.text for data in sets)
            assert f"commit {(runs[newest[2]]['commit'] or 'unknown')[:8]}" in foot.text


def test_every_item_of_the_paper_has_its_row_and_our_figures_find_theirs(pages, project):
    items = verdicts.items(project)
    table = pages["book/figures.html"].select_one("article table")
    rows = {row.select_one("td").text: row for row in table.select("tbody tr")}
    assert list(rows) == [item["name"] for item in items]
    assert all(row.select("td")[2].text.strip() for row in rows.values()), "nothing is left open"
    places = pages["book/figures.html"].select("[id^=cite-fig-]")
    order = [place["id"].removeprefix("cite-") for place in places]
    for row in rows.values():
        ids = [link["href"].rpartition("#")[2] for link in row.select("td")[2].select("a")]
        found = [order.index(id) for id in ids if id in order]
        assert found == sorted(found), row.text
    for record in prose.described(project):
        linked = {name for name, row in rows.items() if f'#{record["id"]}"' in str(row)}
        named = {i["name"] for i in items if verdicts.mentions(record["paper"], i["name"])}
        assert linked == named != set(), record["paper"]


def test_executed_notebooks_hold_no_error_and_the_profile_s_parameters(project):
    executed = json.loads((project / "notebooks" / "posterior.ipynb").read_text())
    (shown,) = (c for c in executed["cells"] if "parameters" in c["metadata"].get("tags", []))
    assert "n_queries: int = 200  #" in "".join(shown["source"])
    kinds = [o["output_type"] for c in executed["cells"] for o in c.get("outputs", [])]
    assert "error" not in kinds and "display_data" in kinds, "pictures for other viewers"


@pytest.mark.long
def test_equal_runs_of_every_notebook_give_equal_files(project, tmp_path):
    """By the same models, with nothing else kept; `scale` measures times, which differ."""
    copy_sources(tmp_path)
    made = geomem_command(tmp_path, "book", "--profile", "smoke")
    assert made.returncode == 0, made.stdout + made.stderr
    for name in {*notebooks.notebooks(tmp_path)} - {"scale"}:
        one, other = (files(Result(root, name).folder) for root in (project, tmp_path))
        assert one == other, name


def test_figures_and_cite_on_the_command_line(project, capsys, monkeypatch):
    monkeypatch.chdir(project)
    main(["figures"])
    listed = capsys.readouterr().out
    assert "fig-max-posterior-weight: " in listed and "notebook posterior" in listed
    main(["cite", "fig-max-posterior-weight"])
    cited = capsys.readouterr().out
    for key in ("geomem-fig-max-posterior-weight", "{geomem,", "{dodson2026two,"):
        assert key in cited


def test_a_broken_reference_fails_the_build(tmp_path):
    for name in ("notebooks", "book"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.md"))
    for name in ("CITATION.cff", "_config.yml"):
        shutil.copy(ROOT / name, tmp_path)
    without_api(tmp_path)
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/page\n")
    (tmp_path / "book" / "page.md").write_text("# Page\n\n{numref}`fig-that-is-not-there`\n")
    with pytest.raises(book.BookError) as error:
        book.build(tmp_path)
    (line,) = str(error.value).splitlines()[1:]
    assert "fig-that-is-not-there" in line and not (tmp_path / "_build" / "html").exists()


def test_a_number_below_zero_has_a_minus_sign_and_a_word_its_hyphen():
    table = Table({"change": ["-5% [-7%, -3%]"]})._repr_html_()
    texts = ["CIFAR-10, steps 3-5, 2026-11-28: ", "-65% [-71%, -0.5] (-1)"]
    page = nodes.paragraph("", "", *map(nodes.Text, texts), nodes.literal("", "-1"))
    page += nodes.raw("", table, format="html")
    sphinx_ext.with_minus(page)
    minus, (words, numbers) = "\N{MINUS SIGN}", texts
    assert page.astext() == f"{words}{numbers.replace('-', minus)}-1{table.replace('-', minus)}"


def test_every_entry_is_linked_and_says_whose_it_is_where_and_by_what_code(pages):
    """And the previews of the glossary are its own words."""
    said = pages["book/glossary.html"]
    first = {entry.find("dt")["id"]: entry for entry in _entries(said)}
    uses = dict.fromkeys(first, 0)
    for name, page in pages.items():
        anchors = [a["href"].partition("#")[2] for a in page.select("a.term")]
        by_hand = len(page.select("a.term .std-term"))
        assert len(anchors) <= len({*anchors}) + by_hand, f"{name}: a term is linked twice"
        for anchor in anchors:
            uses[anchor] += 1
            definition = " ".join(first[anchor].select_one("dd p").text.split())
            shown = page.find(id=f"preview-{anchor}")
            assert " ".join(shown.text.split()) == definition and shown.has_attr("hidden")
    assert [anchor for anchor, n in uses.items() if not n] == []
    for anchor, entry in first.items():
        _, source = entry.select("dd > p")
        assert re.match(r"(The (curve is the )?(paper|field)'s|Ours)\b", _plain(source)), anchor
        assert source.select("a.reference.internal"), anchor
        assert any(code.text.startswith("geomem") for code in source.select("code")), anchor


def _entries(page):
    """Each entry of a page as a fragment of its own."""
    for definition in page.select("dl.glossary > dd"):
        terms = []
        for node in definition.find_previous_siblings():
            if node.name != "dt":
                break
            terms.insert(0, str(node))
        yield BeautifulSoup("".join([*terms, str(definition)]), "html.parser")


def _plain(node):
    return " ".join(node.text.split()).replace("\u2019", "'")
