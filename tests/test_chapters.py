"""Which cells make a figure, and where the other builds of a page are."""

import re

import pytest
from conftest import ROOT

from geomem.companion import badges, chapters, notebooks, prose, site, sphinx_ext, verdicts
from geomem.theorems import WHOSE

CELLS = """\
# %% [markdown]
# # Notebook: folds

# %% tags=["parameters"]
n: int = 2  # how many

# %%
from geomem import companion
import numpy as np
few = np.arange(n)

# %%
fig = few.plot()
companion.figure(fig, "fig-first", few)

# %%
companion.Table({"n": few})

# %%
many = 2 * few
unused = 3

# %%
shown = many.plot()
companion.figure(shown, "fig-second", many)
"""


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "folds.py"
    path.write_text(CELLS)
    return notebooks.Notebook("folds", path)


def test_a_figure_has_the_cells_that_it_stands_on_since_the_last(notebook):
    first, second = (chapters.code(notebook, f"fig-{which}") for which in ("first", "second"))
    assert [cell.splitlines()[-1] for cell in first] == [
        "few = np.arange(n)",
        'companion.figure(fig, "fig-first", few)',
    ]
    assert [cell.splitlines()[0] for cell in second] == ["many = 2 * few", "shown = many.plot()"]
    with pytest.raises(ValueError, match="no cell draws 'fig-third'"):
        chapters.code(notebook, "fig-third")


def test_the_code_of_every_figure_of_the_book_is_found_and_is_whole():
    drawn = set()
    for notebook in notebooks.notebooks(ROOT).values():
        for id in re.findall(r'"(fig-[\w-]+)"', notebook.path.read_text()):
            cells = chapters.code(notebook, id)
            assert chapters.DRAWS in cells[-1] and id in cells[-1]
            assert all(cell in chapters._cells(notebook.path) for cell in cells)
            drawn.add(id)
    assert drawn >= prose.words(ROOT).keys()


def test_a_page_leads_to_the_same_page_of_every_other_build():
    foot = "profile cpu · data digits · run of 2026-01-01"
    assert chapters.elsewhere(site.Site(), "book/swaps", foot) == ""
    builds = {"cpu": "https://a.example/", "cifar": "https://a.example/cifar/"}
    said = chapters.elsewhere(site.Site(other_builds=builds), "book/swaps", foot)
    assert re.findall('href="([^"]+)"', said) == ["https://a.example/cifar/book/swaps.html"]


def test_whose_is_told_by_words():
    kinds = {*prose.CLAIMS, *WHOSE, *verdicts.WHOSE}
    assert kinds == {*badges.WHOSE}
    assert len({badges.shown(kind, "Figure 3") for kind in kinds}) == len(kinds)


def test_the_gallery_has_the_figures_in_the_order_of_the_contents(tmp_path, monkeypatch):
    """Those of the first page, too, and whatever the names of chapters are."""
    (tmp_path / "_toc.yml").write_text("root: book/intro\n- file: book/b-2\n- file: book/a\n")
    told = {"fig-d": "a.md", "fig-c": "b-2.md", "fig-b": "b-2.md", "fig-a": "intro.md"}
    monkeypatch.setattr(sphinx_ext, "ROOT", tmp_path)
    monkeypatch.setattr(prose, "words", lambda root: told)
    records = [{"id": id, "chapter": chapter} for id, chapter in sorted(told.items())]
    found = [record["id"] for record in sphinx_ext.in_order(records)]
    assert found == ["fig-a", "fig-c", "fig-b", "fig-d"]
