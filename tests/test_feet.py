"""What the foot of a page says of the run that it shows."""

import pytest
from conftest import recorded

from geomem.companion import book
from geomem.companion.results import Result

NOTEBOOK = """# %% [markdown]
# # {name}

# %% tags=["parameters"]
n: int = 1  # a number, in [1, inf)
"""
PROFILES = """
[small]
about = "x"
[small.seconds]
[small.parameters]
one = { n = 2 }
[cpu]
about = "y"
[cpu.seconds]
[large]
about = "z"
[large.seconds]
[large.parameters]
two = { n = 3 }
"""


@pytest.fixture
def shown(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").write_text("- file: notebooks/one\n- file: notebooks/two\n")
    (tmp_path / "notebooks" / "profiles.toml").write_text(PROFILES)
    for name in ("one", "two"):
        (tmp_path / "notebooks" / f"{name}.py").write_text(NOTEBOOK.replace("{name}", name))

    def make(**runs):
        """The feet after these runs: of each its n, data sets, date, and commit or None."""
        for name, (n, sets, date, commit) in runs.items():
            inputs = {
                "parameters": {"n": n},
                "data": dict.fromkeys(sets, "sum"),
            }
            made = {"date": date, "commit": commit, "dirty": commit == "changed"}
            folder = Result(tmp_path, name).folder
            folder.mkdir(parents=True, exist_ok=True)
            recorded(folder, inputs=inputs, key=name, **made)
        return book.feet(tmp_path)

    return make


def test_a_page_names_its_own_run_and_the_book_all_of_them(shown):
    feet = shown(
        one=(2, ["digits"], "2026-02-01", "0123456789abc"),
        two=(1, ["mini", "digits"], "2026-01-09", "changed"),
    )
    assert feet == {
        "one": "profile small · data digits · run of 2026-02-01, commit 01234567",
        "two": (
            "profile small · data digits, mini · run of 2026-01-09, commit changed, "
            "uncommitted changes"
        ),
        "": "profile small · data digits, mini · newest run of 2026-02-01, commit 01234567",
    }


def test_a_profile_is_named_only_where_the_parameters_are_its_own(shown):
    mine = shown(one=(7, [], "2026-02-01", None), two=(1, [], "2026-02-01", None))
    assert mine["one"] == "parameters of no profile · no data · run of 2026-02-01, commit unknown"
    assert mine[""].startswith("parameters of no profile")
    assert mine["two"].startswith("profile cpu or small ·"), "it does not tell them apart"
    apart = shown(one=(2, [], "2026-02-01", None), two=(3, [], "2026-02-01", None))
    assert apart[""].startswith("several profiles ·")
    assert shown(one=(1, [], "2026-02-01", None), two=(1, [], "2026-02-01", None))[
        "two"
    ].startswith("profile cpu ·")


def test_before_any_run_nothing_is_said(shown):
    assert shown() == {}


def test_the_run_of_a_notebook_that_is_gone_is_not_the_newest(shown, tmp_path):
    gone = Result(tmp_path, "gone").folder
    gone.mkdir(parents=True)
    recorded(gone, date="2026-03-01")
    assert "run of 2026-02-01" in shown(one=(2, [], "2026-02-01", None))[""]
