"""Verdicts follow from what a run recorded, and from its scale."""

import json
import re

import pytest
from conftest import ROOT, recorded

from geomem.companion import notebooks, verdicts
from geomem.companion.results import CLAIMS, VALUES, Result

LIST = """
[scales]
none = {}
big = { n_train = 1000, changes = "" }
[checks]
quick = ["floor"]
[[claim]]
id = "rise"
says = "It rises."
item = "Figure 1"
notebook = "quick"
figure = "fig-quick"
scale = "N = {n_train}"
ours = "{peak}"
paper = "2"
decided_by = ["rises", "falls"]
"""
NOTEBOOK = """
from geomem import companion
companion.claim("floor", "it has a floor", True)
for _ in range(1):
    companion.claim("rises", "it rises", True)
    companion.claim("falls", "it falls", True)
"""


@pytest.fixture
def project(tmp_path):
    """One claim of the paper, and a run of the notebook that decides it."""

    def make(rises, falls, n_train, scale, **values):
        for folder in ("book", "notebooks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "_toc.yml").write_text("- file: notebooks/quick\n")
        (tmp_path / "notebooks" / "quick.py").write_text(NOTEBOOK)
        line = f'paper_scale = "{scale}"\n' if scale else ""
        (tmp_path / "book" / "paper.toml").write_text(LIST + line)
        result = Result(tmp_path, "quick")
        result.folder.mkdir(parents=True, exist_ok=True)
        parameters = {"n_train": n_train, "changes": "", "seed": 0}
        held = {"rises": rises, "falls": falls}
        tests = {id: {"says": id, "holds": holds} for id, holds in held.items()}
        (result.folder / CLAIMS).write_text(json.dumps(tests))
        (result.folder / VALUES).write_text(json.dumps({"peak": "3 [2, 4]", **values}))
        recorded(result.folder, inputs={"parameters": parameters})
        return tmp_path

    return make


def change(root, old, new):
    """Edit the list of claims, or the notebook where that has the old text."""
    for path in (root / "book" / "paper.toml", root / "notebooks" / "quick.py"):
        if old in path.read_text():
            path.write_text(path.read_text().replace(old, new))
            return root
    raise ValueError(old)


def test_a_figure_goes_with_an_item_of_the_paper(project):
    root = project(True, True, 7, "big")
    change(root, "[[claim]]", '[[item]]\nname = "Figure 1"\nshows = "A hump."\n[[claim]]')
    said = "title: A hump\npaper: Figures 1 and 2\nclaim: ours\nalt: A b c d e f g h."
    chapter = root / "book" / "quick.md"
    chapter.write_text(f"```{{companion-figure}} fig-hump\n---\n{said}\n---\nA hump.\n```\n")
    verdicts.check(root)
    chapter.write_text(chapter.read_text().replace("Figures 1 and 2", "Figure 2"))
    with pytest.raises(verdicts.PaperError, match=r"fig-hump: paper: 'Figure 2' names no item"):
        verdicts.check(root)


@pytest.mark.parametrize(
    ("rises", "falls", "n_train", "scale", "expected"),
    [
        (True, True, 1000, "big", "reproduced"),
        (True, True, 7, "big", "reproduced in shape"),
        (True, False, 7, "big", "not at this scale"),
        (False, True, 1000, "big", "not reproduced"),
        (True, True, 7, "none", "reproduced"),
        (False, False, 7, "none", "not reproduced"),
        (True, True, 1000, "", "reproduced in shape"),
        (True, None, 7, "big", "undecided"),
        (False, None, 7, "big", "not at this scale"),
    ],
)
def test_the_verdict_follows_from_claims_and_scale(project, rises, falls, n_train, scale, expected):
    (found,) = verdicts.claims(project(rises, falls, n_train, scale))
    assert found.verdict == expected and expected in verdicts.VERDICTS
    assert (found.ours, found.scale) == ("3 [2, 4]", f"N = {n_train:,}")


def test_of_a_training_that_broke_down_nothing_is_known(project, monkeypatch):
    monkeypatch.setattr(verdicts, "SOUND", {"falls"})
    assert verdicts.claims(project(False, None, 7, "big"))[0].verdict == "undecided"
    assert verdicts.claims(project(False, True, 7, "big"))[0].verdict == "not at this scale"


def test_the_tests_of_trainings_are_those_that_notebooks_make():
    text = "\n".join(path.read_text() for path in (ROOT / "notebooks").glob("*.py"))
    made = re.findall(r'claim\(\s*"([\w-]+)", f?"[^"]*every training went well"', text)
    assert {*made} == verdicts.SOUND


def test_what_a_run_did_not_test_has_no_verdict_and_no_number(project):
    root = project(True, True, 1000, "big")
    result = Result(root, "quick")
    for made in ({"rises": {"says": "", "holds": True}}, {}):
        (result.folder / CLAIMS).write_text(json.dumps(made))
        recorded(result.folder, inputs=result.run["inputs"])
        (found,) = verdicts.claims(root)
        assert (found.verdict, found.ours, found.scale) == ("not in this run", "", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "rise"\n', "", "needs an id of its own"),
        ('item = "Figure 1"', 'item = "Figure 1"\nwhose = "nobody"', "whose = 'nobody'"),
        ('item = "Figure 1"\n', "", "rise: lacks item"),
        ('item = "Figure 1"', 'item = "Figure 1"\nfigur = "fig-a"', "no key 'figur'"),
        ('paper_scale = "big"', 'paper_scale = "bigg"', "paper_scale: no scale 'bigg'"),
        ('item = "Figure 1"', 'item = "Figure 1"\nwhose_scale = "bigg"', "whose_scale: no scale"),
        ('["rises", "falls"]', "[]", "rise: decided_by names no test"),
        ('item = "Figure 1"', 'item = "Figure 1"\nwhose_there = "us"', "whose_there = 'us'"),
        ('["rises", "falls"]', '["rise", "falls"]', "makes no test 'rise'"),
        ('["rises", "falls"]', '["rises"]', "has the test falls of quick"),
        ('["floor"]', '["flor"]', "makes no test 'flor'"),
        ('["floor"]', "[]", "has the test floor of quick"),
        ('notebook = "quick"', 'notebook = "quack"', "notebook quack makes no test"),
        ('"rises", "it', 'f"{1}", "it', "line 5: a claim needs an id that is written out"),
        ('"rises", "it', '"falls", "it', "a claim needs an id that is written out, and its own"),
        ('"{peak}"', '"{height}"', "rise: quick quoted no 'height'"),
    ],
)
def test_one_wrong_letter_stops_the_build(project, old, new, message):
    root = change(project(True, True, 7, "big"), old, new)
    with pytest.raises(verdicts.PaperError, match=re.escape(message)):
        verdicts.claims(root)


def test_an_id_is_one_claim_s(project):
    path = project(True, True, 7, "big") / "book" / "paper.toml"
    written = path.read_text()
    path.write_text(written + written[written.index("[[claim]]") :])
    with pytest.raises(verdicts.PaperError, match="an id of its own, not 'rise'"):
        verdicts.claims(path.parents[1])


@pytest.mark.parametrize(("n_train", "whose"), [(1000, "paper"), (7, "our zone")])
def test_at_the_papers_scale_a_test_may_be_the_papers_own(project, n_train, whose):
    added = 'item = "Figure 1"\nwhose = "our zone"\nwhose_there = "paper"'
    root = change(project(True, True, n_train, "big"), 'item = "Figure 1"', added)
    assert [found.whose for found in verdicts.claims(root)] == [whose]


def test_a_test_of_ours_has_verdicts_of_its_own(project):
    for rises, expected in (
        (True, "holds here"),
        (False, "does not hold here"),
        (None, "undecided"),
    ):
        root = change(project(rises, True, 7, "big"), "[[claim]]", '[[claim]]\nwhose = "ours"')
        (found,) = verdicts.claims(root)
        assert found.verdict == expected and expected in verdicts.OUR_VERDICTS


def test_what_is_our_reconstruction_is_not_reproduced(project):
    for rises, expected in (
        (True, "our reconstruction holds"),
        (False, "our reconstruction fails"),
    ):
        of_ours = '[[claim]]\nwhose = "reconstruction"'
        (found,) = verdicts.claims(change(project(rises, True, 7, "none"), "[[claim]]", of_ours))
        assert found.verdict == expected and expected in verdicts.VERDICTS


def test_the_list_of_this_book_fits_its_notebooks():
    verdicts.check(ROOT)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Figure 1", {"Figure 1"}),
        ("Figures 20 to 23", {"Figure 20", "Figure 21", "Figure 22", "Figure 23"}),
        ("Figure 3; Theorems 4.2 and 4.8", {"Figure 3", "Theorem 4.2", "Theorem 4.8"}),
        ("Table 1, Figure 10", {"Table 1", "Figure 10"}),
        ("Theorem 4.11; Equations 2 and 7", {"Theorem 4.11", "Equation 2", "Equation 7"}),
        ("Definition 4.1; the figure of appendix E.3", {"Definition 4.1", "Appendix E.3"}),
        ("Table 1 (without swaps)", {"Table 1"}),
    ],
)
def test_an_item_is_found_under_all_its_spellings_and_no_other(text, named):
    names = [item["name"] for item in verdicts.items(ROOT)]
    assert {name for name in names if verdicts.mentions(text, name)} == named


def test_every_figure_and_table_of_the_paper_has_one_row():
    names = [item["name"] for item in verdicts.items(ROOT)]
    wanted = [*(f"Figure {i}" for i in range(1, 24)), "Table 1", "Table 2"]
    assert [n for n in names if n.startswith(("Figure", "Table"))] == wanted
    assert len(set(names)) == len(names)
    unknown = {i["name"] for i in verdicts.items(ROOT) if i["otherwise"] == "not recoverable"}
    assert unknown == {f"Figure {i}" for i in (7, *range(11, 20))}


def test_every_figure_that_is_known_says_what_runs_it_on_the_papers_data():
    shown = [i for i in verdicts.items(ROOT) if i["name"].startswith(("Figure", "Table 1"))]
    assert all(bool(i["by"]) != (i["otherwise"] == "not recoverable") for i in shown)
    named = {name for i in verdicts.items(ROOT) for name in re.findall(r"profile `(\w+)`", i["by"])}
    assert named <= set(notebooks.profiles(ROOT)) and {"gpu", "cifar"} <= named


def test_every_notebook_decides_a_claim():
    """Else its page has nothing to open with, and the book does not build."""
    assert {entry["notebook"] for entry in verdicts._listed(ROOT)["claim"]} == {
        *notebooks.notebooks(ROOT)
    }


def test_every_scale_is_one_that_a_profile_reaches():
    """So the verdicts "reproduced" and "not reproduced" can be had."""
    listed, known = verdicts._listed(ROOT), notebooks.notebooks(ROOT)
    profiles = notebooks.profiles(ROOT).values()
    scaled = [entry for entry in listed["claim"] if "paper_scale" in entry]
    scaled += [
        {**e, "paper_scale": e["whose_scale"]} for e in listed["claim"] if "whose_scale" in e
    ]
    assert {entry["paper_scale"] for entry in scaled} == set(listed["scales"])
    for entry in scaled:
        wanted = listed["scales"][entry["paper_scale"]]
        runs = [notebooks.resolve(known[entry["notebook"]], profile) for profile in profiles]
        assert any(wanted.items() <= run.items() for run in runs), entry["says"]
