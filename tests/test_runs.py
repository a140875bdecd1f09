"""Freshness, failure and equal bytes, on a small project with one quick notebook."""

import json
import os
import shutil

import nbformat
import pytest

from geomem import runs
from geomem.notebooks import pick, pick_profile, resolve

NOTEBOOK = """# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Quick

# %% tags=["parameters"]
dataset: str = "digits"  # data set
n: int = 3  # points, in [1, inf)
fail: bool = False  # raise in the middle

# %%
import matplotlib.pyplot as plt
import geomem
from geomem import figures
data = geomem.load_dataset(dataset, n_train=n, n_heldout=1)
fig, ax = plt.subplots()
ax.plot(range(n))
if fail:
    raise RuntimeError("as asked")
figures.save(fig, "fig-quick", title="Quick", caption="c", paper_item="Eq. 1", claim="ours",
             alt="A straight line that rises from zero to n minus one.",
             table={"x [1]": list(range(n))}, data=[data], seeds={"noise": 0})
figures.record(n=str(n))
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_config.yml").write_text("")
    (tmp_path / "_toc.yml").write_text("- file: notebooks/quick\n")
    (tmp_path / "notebooks" / "quick.py").write_text(NOTEBOOK)
    (tmp_path / "notebooks" / "profiles.toml").write_text(
        '[cpu]\nabout = "x"\n[cpu.seconds]\nquick = 3\n'
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(root, **overrides):
    notebook = pick(root, "quick")
    values = {k: str(v) for k, v in overrides.items()}
    return notebook, resolve(notebook, pick_profile(root, "cpu"), values)


def test_fresh_until_something_changes_and_then_says_what(project, monkeypatch):
    notebook, parameters = prepare(project)
    assert runs.stale(project, notebook, parameters) == ["never run"]
    written = runs.run(project, notebook, parameters)
    assert all(path.is_file() for path in written)
    assert runs.stale(project, notebook, parameters) == []
    assert runs.stale(project, notebook, prepare(project, n=4)[1]) == ["parameters: n 3 -> 4"]

    monkeypatch.setattr(runs, "versions", lambda: {"numpy": "0"})
    assert any(
        r.startswith("versions: ") and "numpy" in r
        for r in runs.stale(project, notebook, parameters)
    )
    monkeypatch.undo()
    os.chdir(project)
    monkeypatch.setattr(runs, "source_sha256", lambda name: "other bytes")
    assert runs.stale(project, notebook, parameters) == ["data: digits"]
    monkeypatch.undo()
    os.chdir(project)

    notebook.path.write_text(NOTEBOOK + "\n# %%\nprint(1)\n")
    assert runs.stale(project, notebook, parameters) == ["notebook: quick.py"]
    notebook.path.write_text(NOTEBOOK)
    (project / "results" / "quick" / "fig-quick.csv").unlink()
    assert runs.stale(project, notebook, parameters) == ["fig-quick.csv is missing"]


def test_the_package_sources_are_part_of_the_key(project, monkeypatch, tmp_path):
    notebook, parameters = prepare(project)
    copy = tmp_path / "geomem"
    shutil.copytree(runs.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(runs, "PACKAGE", copy)
    before = runs.inputs(notebook, parameters)
    (copy / "shell.py").write_text((copy / "shell.py").read_text() + "\n")
    (copy / "cli.py").write_text((copy / "cli.py").read_text() + "\n")
    after = runs.inputs(notebook, parameters)
    changed = [k for k in after["geomem"] if after["geomem"][k] != before["geomem"][k]]
    assert changed == ["shell.py"], "the command line cannot change a result"


def test_a_failure_keeps_the_last_good_result(project):
    notebook, parameters = prepare(project)
    runs.run(project, notebook, parameters)
    page = project / "notebooks" / "quick.ipynb"
    good, figure = page.read_bytes(), (project / "results/quick/fig-quick.svg").read_bytes()
    with pytest.raises(runs.RunError, match="RuntimeError: as asked"):
        runs.run(project, notebook, prepare(project, fail=True)[1])
    failed = nbformat.read(project / "_build" / "failed" / "quick.ipynb", 4)
    assert any(o.output_type == "error" for c in failed.cells for o in c.get("outputs", []))
    assert page.read_bytes() == good
    assert (project / "results/quick/fig-quick.svg").read_bytes() == figure
    assert runs.stale(project, notebook, parameters) == []
    assert not list((project / "results").glob(".running*"))


def test_two_runs_give_the_same_bytes_but_for_the_wall_time(project, tmp_path):
    notebook, parameters = prepare(project)
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        runs.run(project, notebook, parameters, out=out)
    names = sorted(p.name for p in outs[0].iterdir())
    assert names == sorted(p.name for p in outs[1].iterdir()) and "fig-quick.png" in names
    for name in names:
        texts = [(out / name).read_bytes() for out in outs]
        if name.endswith(".json"):
            pair = [json.loads(t) for t in texts]
            for entry in pair:
                entry.pop("wall_time_s", None)
                entry.pop("seconds", None)
            assert pair[0] == pair[1]
        else:
            assert texts[0] == texts[1], name
        for text in texts:
            assert str(project).encode() not in text, f"{name} holds an absolute path"
    assert not (project / "notebooks" / "quick.ipynb").exists(), "--out leaves the book alone"


def test_provenance_says_where_a_figure_comes_from(project):
    notebook, parameters = prepare(project, n=5)
    runs.run(project, notebook, parameters)
    record = json.loads((project / "results/quick/fig-quick.json").read_text())
    assert record["notebook"] == "quick" and record["parameters"] == parameters
    assert record["data"][0]["name"] == "digits" and len(record["data"][0]["sha256"]) == 64
    assert record["seeds"] == {"noise": 0} and record["device"] == "cpu"
    assert record["wall_time_s"] > 0 and record["claim"] == "ours"
    assert {"python", "geomem", "numpy", "torch"} <= set(record["versions"])
    assert (project / "results/quick/values.json").read_text().strip() == '{\n "n": "5"\n}'
