"""Verdicts follow from what a run recorded, and from its scale."""

import json
import re

import pytest
from conftest import ROOT

from geomem.companion import notebooks, verdicts

LIST = """
[scales]
none = {}
big = { n_train = 1000, changes = "" }
[[claim]]
says = "It rises."
item = "Figure 1"
notebook = "quick"
figure = "fig-quick"
scale = "N = {n}"
ours = "{peak}"
paper = "2"
decided_by = ["{name}: rises", "falls"]
"""


@pytest.fixture
def project(tmp_path):
    """One claim of the paper, and a run of the notebook that decides it."""

    def make(rises, falls, n_train, scale, **values):
        (tmp_path / "book").mkdir(exist_ok=True)
        line = f'paper_scale = "{scale}"\n' if scale else ""
        (tmp_path / "book" / "paper.toml").write_text(LIST + line)
        folder = tmp_path / "results" / "quick"
        folder.mkdir(parents=True, exist_ok=True)
        values = {"name": "ours", "n": "7", "peak": "3 [2, 4]", **values}
        parameters = {"n_train": n_train, "changes": "", "seed": 0}
        for name, content in (
            ("values", values),
            ("claims", {"ours: rises": rises, "falls": falls}),
            ("run", {"inputs": {"parameters": parameters}}),
        ):
            (folder / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return make


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
    ],
)
def test_the_verdict_follows_from_claims_and_scale(project, rises, falls, n_train, scale, expected):
    (found,) = verdicts.claims(project(rises, falls, n_train, scale))
    assert found.verdict == expected and expected in verdicts.VERDICTS
    assert (found.ours, found.scale, found.paper) == ("3 [2, 4]", "N = 7", "2")


def test_what_a_run_did_not_test_has_no_verdict_and_no_number(project):
    root = project(True, True, 1000, "big", name="another set")
    (found,) = verdicts.claims(root)
    assert (found.verdict, found.ours, found.scale) == ("not in this run", "", "")
    (root / "results" / "quick" / "claims.json").unlink()
    assert verdicts.claims(root) == [found]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('id = "rise"', "two claims have the id 'rise'"),
        ('whose = "nobody"', "whose = 'nobody' of 'It rises.': take one of 'paper', 'our zone'"),
    ],
)
def test_an_id_is_one_claim_s_and_each_claim_is_somebody_s(project, line, message):
    path = project(True, True, 7, "big") / "book" / "paper.toml"
    written = path.read_text().replace("[[claim]]", f"[[claim]]\n{line}")
    path.write_text(written + written[written.index("[[claim]]") :])
    with pytest.raises(verdicts.PaperError, match=re.escape(message)):
        verdicts.claims(path.parents[1])


def test_a_test_of_ours_has_verdicts_of_its_own(project):
    for rises, expected in ((True, "holds here"), (False, "does not hold here")):
        path = project(rises, True, 7, "big") / "book" / "paper.toml"
        path.write_text(path.read_text().replace("[[claim]]", '[[claim]]\nwhose = "ours"'))
        (found,) = verdicts.claims(path.parents[1])
        assert found.verdict == expected and expected in verdicts.OUR_VERDICTS


def test_a_number_that_the_run_lacks_is_not_left_out_silently(project):
    root = project(True, True, 1000, "big")
    values = root / "results" / "quick" / "values.json"
    values.write_text(json.dumps({"name": "ours", "n": "7"}))
    assert verdicts.claims(root)[0].verdict == "not in this run"


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
    assert {entry["paper_scale"] for entry in scaled} == set(listed["scales"])
    for entry in scaled:
        wanted = listed["scales"][entry["paper_scale"]]
        runs = [notebooks.resolve(known[entry["notebook"]], profile) for profile in profiles]
        assert any(wanted.items() <= run.items() for run in runs), entry["says"]
