"""What makes a result stale, what only stamps it anew, and how words and numbers meet."""

import json
import os
import shutil
from types import SimpleNamespace

import nbformat
import pytest
from conftest import empty_project, prepare, recorded
from nbformat.v4 import new_output
from pybtex.database import BibliographyData

from geomem import reach
from geomem.cli import book as cli
from geomem.cli.main import main
from geomem.companion import book, fresh, prose, runs
from geomem.companion.notebooks import pick_profile
from geomem.companion.results import KINDS, RUN_HOLDS, VALUES, Result

CHAPTER = """# Quick
```{companion-figure} fig-quick
---
title: A line
paper: Eq. 1
claim: ours
alt: A straight line that rises from zero to {{ quick.n }} minus one.
---
It has {{ quick.n }} points of {{ quick.dataset }}.
```
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The quick project after a run."""
    root = tmp_path_factory.mktemp("quick")
    with pytest.MonkeyPatch.context() as patch:
        empty_project(root, patch)
        runs.run(root, *prepare(root))
    return root


@pytest.fixture
def ran(executed, tmp_path, monkeypatch):
    shutil.copytree(executed, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def state(root, **overrides):
    return fresh.stale(Result(root, "quick"), *prepare(root, **overrides))


def change(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_fresh_until_something_changes_and_then_says_what(ran, monkeypatch):
    assert state(ran) == []
    assert state(ran, n=4) == ["parameters: n 3 -> 4"]
    monkeypatch.setattr(fresh, "source_sha256", lambda name: "other bytes")
    assert state(ran) == ["data: digits"]
    monkeypatch.undo()
    os.chdir(ran)
    change(ran / "notebooks" / "quick.py", "ax.plot(range(n))", "ax.plot(range(n + 1))")
    assert state(ran) == ["notebook: cell 1"]


def test_every_data_set_that_a_parameter_names_is_an_input(ran):
    notebook = SimpleNamespace(
        parameters={
            name: SimpleNamespace(is_dataset=name.endswith("dataset"))
            for name in ("dataset", "second_dataset", "more_datasets", "changes", "models", "n")
        }
    )
    values = {"dataset": "a", "second_dataset": "", "more_datasets": "b,c/d", "n": 3}
    values |= {"changes": "train.steps=3 data.heldout=e/f", "models": "x data.name=g; y 0"}
    assert fresh.data_sets(notebook, values) == {"a", "b", "c/d", "e/f", "g"}


def test_versions_count_where_they_are_reached(ran, monkeypatch):
    real = reach.metadata.version
    for changed, expected in (("numpy", ["versions: numpy"]), ("sympy", [])):
        with monkeypatch.context() as patch:
            others = {changed: "0"}
            patch.setattr(reach.metadata, "version", lambda n, o=others: o.get(n) or real(n))
            assert state(ran) == expected


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        ("results/quick/quick.ipynb", "a line", "a curve", "quick.ipynb is changed"),
        ("results/quick/fig-quick.csv", "2", "7.77", "fig-quick.csv is changed"),
        ("results/quick/run.json", '"key"', '"kex"', "unreadable"),
        ("results/quick/run.json", '"n": 3', '"n": 4', "run.json is changed"),
    ],
)
def test_what_was_edited_by_hand_is_never_published(ran, path, old, new, expected):
    change(ran / path, old, new)
    assert state(ran) == [expected]
    (ran / path).unlink()
    assert state(ran)[0] in (f"{(ran / path).name} is missing", "never run")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"3", b"null", b'{"key": 1}', b"\xff\x00", b"[" * 100_000]
    + [key.encode() for key in (*RUN_HOLDS, *KINDS)],
)
def test_a_run_that_cannot_be_read_is_stale_and_kills_no_verb(ran, content, capsys):
    path = ran / "results" / "quick" / "run.json"
    run = json.loads(path.read_text())
    for part in (run, run["inputs"]):
        if part.pop(content.decode(errors="replace"), None) is not None:
            content = json.dumps(run).encode()
    path.write_bytes(content)
    assert state(ran) == ["unreadable"]
    main(["list"])
    assert "quick: stale (unreadable)" in capsys.readouterr().out
    notebook, parameters = prepare(ran)
    takes = cli._budgets(ran, [(notebook, parameters)], pick_profile(ran, "cpu"))
    assert takes["quick"].seconds == 3
    assert prose.numbers(ran) == {} and book.feet(ran) == {}


def test_an_edited_page_is_made_anew_from_the_result(ran):
    result, notebook = Result(ran, "quick"), prepare(ran)[0]
    page = result.page.read_bytes()
    for damaged in (page.replace(b"a line", b"a curve"), b"\xff", b""):
        result.page.write_bytes(damaged)
        assert state(ran) == []
        fresh.restamp(result, notebook)
        assert result.page.read_bytes() == page


@pytest.mark.parametrize("name", ["fig-quick.csv", "fig-quick.json", "values.json", "run.json"])
def test_figures_and_citations_are_of_whole_results_only(ran, chapter, name, capsys, monkeypatch):
    monkeypatch.setattr(cli.citation, "entries", lambda root: BibliographyData())
    main(["figures"])
    main(["cite", "fig-quick"])
    out = capsys.readouterr().out
    assert "fig-quick: A line" in out and "@misc{geomem-fig-quick" in out
    (ran / "results" / "quick" / name).write_text("7.77")
    for command in (["figures"], ["cite", "fig-quick"]):
        with pytest.raises(SystemExit) as caught:
            main(command)
        out, error = capsys.readouterr()
        said = "unreadable" if name == "run.json" else f"{name} is changed"
        assert caught.value.code == 2 and f"quick: {said}" in error and "fig-quick: A" not in out
        assert error.count("\n") == 1


@pytest.mark.parametrize("name", [".DS_Store", "run.json.part"])
def test_a_stamp_half_written_and_what_a_browser_leaves_make_nothing_stale(ran, name):
    (ran / "results" / "quick" / name).write_text("{")
    assert state(ran) == []


def test_a_file_of_no_run_is_not_published(ran):
    (ran / "results" / "quick" / "fig-more.csv").write_text("x [1]\n1\n")
    assert state(ran) == ["fig-more.csv is of no run"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of this package that may be edited."""
    copy = tmp_path / "geomem"
    shutil.copytree(reach.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(reach, "PACKAGE", copy)
    return copy


@pytest.mark.parametrize(
    ("path", "old", "new", "expected"),
    [
        (
            "companion/figures.py",
            '"""Write a figure and show it',
            '"""Save a figure and show it',
            [],
        ),
        ("companion/figures.py", "  # the layout, once for all files", "", []),
        ("geometry/coverage.py", "def shell_radii(", "def shell_radii_(", []),
        ("cli/book.py", "BUILD = Budget(30.0)", "BUILD = Budget(31.0)", []),
        ("data/sets.py", '"""Images with one scaling', '"""Images of one scaling', []),
        ("plots/files.py", "= 300", "= 200", ["geomem.plots.files.picture"]),
        ("data/sets.py", "(high - low) / 2)", "(high - low) / 3)", ["geomem.data.sets._scaled"]),
    ],
)
def test_only_code_that_is_reached_counts(ran, package, path, old, new, expected):
    assert state(ran) == []
    change(package / path, old, new)
    found = state(ran)
    assert bool(found) == bool(expected)
    assert all(name in found[0] for name in expected) and len(found) <= 1


def contents(result):
    return {p.name: p.read_bytes() for p in result.folder.iterdir() if p.name != "run.json"}


def test_words_and_commits_are_stamped_on_a_fresh_result_and_nothing_runs(ran, monkeypatch):
    result, source = Result(ran, "quick"), ran / "notebooks" / "quick.py"
    change(source, "# # Quick", "# # Slow")
    change(source, "# a line", "# a straight line")
    monkeypatch.setattr(fresh, "commit", lambda: {"commit": "abc", "dirty": False})
    before = contents(result)
    assert state(ran) == []
    fresh.restamp(result, prepare(ran)[0])
    page = nbformat.read(result.page, 4)
    text = "\n".join(cell.source for cell in page.cells)
    assert "# Slow" in text and "# a straight line" in text
    assert any(cell.get("outputs") for cell in page.cells), "the outputs stay"
    assert {
        p.name: p.read_bytes() for p in result.folder.iterdir() if p.name != "run.json"
    } == before
    assert (result.run["commit"], result.run["dirty"]) == ("abc", False)
    assert state(ran) == []
    stamped = result.page.read_bytes(), (result.folder / "run.json").read_bytes()
    fresh.restamp(result, prepare(ran)[0])
    assert (result.page.read_bytes(), (result.folder / "run.json").read_bytes()) == stamped


def test_a_page_does_not_tell_in_how_many_pieces_a_print_arrived(ran):
    (notebook, parameters), pages = prepare(ran), []
    picture = new_output("display_data", {"text/plain": "a picture"})
    for pieces in (["a\nb\n"], ["a\n", "b\n"], ["a", "\nb\n"]):
        printed = [new_output("stream", name="stdout", text=text) for text in pieces]
        executed = nbformat.read(Result(ran, "quick").executed, 4)
        cell = next(cell for cell in executed.cells if cell.get("outputs"))
        cell.outputs = [*printed, picture, *printed]
        pages.append(nbformat.writes(fresh.page(notebook, executed, parameters)))
    assert pages[0] == pages[1] == pages[2] and pages[0].count("a\\n") == 2


def test_a_page_shows_the_citable_figure_after_the_cell_that_drew_it(ran):
    cells = nbformat.read(Result(ran, "quick").executed, 4).cells
    (at,) = (i for i, cell in enumerate(cells) if "companion.figure(" in cell.source)
    assert cells[at].outputs == []
    assert "{companion-figure} fig-quick\n:again:" in cells[at + 1].source
    assert "remove-cell" in cells[at + 2].metadata.tags
    (picture,) = cells[at + 2].outputs
    assert "image/png" in picture.data, "for other viewers"


def test_a_page_shows_the_values_that_its_run_had(ran):
    other = {"dataset": "my 'own' set", "n": 7, "fail": True}
    executed = nbformat.read(Result(ran, "quick").executed, 4)
    page = fresh.page(prepare(ran)[0], executed, other)
    (shown,) = (cell for cell in page.cells if "n: int" in cell.source or "n = " in cell.source)
    found = {}
    exec(shown.source, found)
    assert {name: found[name] for name in other} == other and "# points" in shown.source


# Words


@pytest.fixture
def chapter(ran):
    (ran / "book").mkdir()
    path = ran / "book" / "quick.md"
    path.write_text(CHAPTER)
    return path


def test_a_figure_has_the_words_of_its_chapter_with_the_numbers_of_its_run(ran, chapter):
    (record,) = prose.described(ran)
    assert record["alt"] == "A straight line that rises from zero to 3 minus one."
    assert record["caption"] == "It has 3 points of digits."
    assert (record["title"], record["chapter"]) == ("A line", "quick.md")
    assert record["parameters"]["n"] == 3 and "numpy" in record["versions"]
    chapter.write_text(CHAPTER.replace("A line", "A straight line"))
    assert prose.described(ran)[0]["title"] == "A straight line" and state(ran) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("quick.n }} points", "quick.m }} points", "has quoted quick.m: `companion.quote`"),
        ("quick.n }} points", "quick.datase }} points", "quick.datase: is it dataset\\?"),
        ("fig-quick", "fig-slow", "no chapter describes its figure fig-quick"),
        ("claim: ours", "claim: everybody's", "whose claim"),
        ("claim: ours\n", "", "needs alt, claim, paper, title"),
        ("rises from zero to {{ quick.n }} minus one.", "rises.", "full sentence"),
        ("claim: ours", "claim: [ours", "quick.md: fig-quick"),
        ("# Quick\n", CHAPTER, "is described in quick.md, too"),
    ],
)
def test_words_that_do_not_fit_are_one_clear_line(ran, chapter, old, new, message):
    """Before anything is rendered: Jupyter Book would end in a line that says nothing."""
    change(chapter, old, new)
    for name in ("_config.yml", "CITATION.cff"):
        (ran / name).touch()
    for read in (prose.described, book.build):
        with pytest.raises(prose.ProseError, match=message) as error:
            read(ran)
        assert "\n" not in str(error.value)


def test_numbers_are_text_and_never_a_template(ran, chapter):
    result = Result(ran, "quick")
    (result.folder / VALUES).write_text(json.dumps({"n": "{{ quick.dataset }} {% raw %}"}))
    recorded(result.folder, inputs=result.run["inputs"])
    assert "{{ quick.dataset }} {% raw %} points" in prose.described(ran)[0]["caption"]
