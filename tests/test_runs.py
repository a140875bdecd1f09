"""Freshness, failure and equal bytes, on a small project with one quick notebook."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest

from geomem.companion import figures, runs
from geomem.companion.notebooks import ParameterError, pick, pick_profile, resolve
from geomem.data.files import DataError

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
from geomem.companion import figures
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
    table = project / "results" / "quick" / "fig-quick.csv"
    content = table.read_text()
    table.write_text(content + "junk\n")
    assert runs.stale(project, notebook, parameters) == ["fig-quick.csv is changed"]
    table.unlink()
    assert runs.stale(project, notebook, parameters) == ["fig-quick.csv is missing"]
    table.write_text(content)
    (project / "results" / "quick" / "run.json").write_text('{"key":')
    assert runs.stale(project, notebook, parameters) == ["unreadable"]


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
    assert not list((project / "_build" / "running").iterdir())


def test_two_runs_give_the_same_bytes_but_for_the_wall_time(project, tmp_path):
    notebook, parameters = prepare(project)
    outs = [tmp_path / "a", tmp_path / "b"]
    for out in outs:
        runs.run(project, notebook, parameters, out=out)
    outs = [out / "quick" for out in outs]
    names = sorted(p.name for p in outs[0].iterdir())
    assert names == sorted(p.name for p in outs[1].iterdir()) and "fig-quick.png" in names
    for name in names:
        texts = [(out / name).read_bytes() for out in outs]
        if name.endswith(".json"):
            pair = [json.loads(t) for t in texts]
            for entry in pair:
                for time in ("wall_time_s", "seconds", "date", "files"):  # files: hashes of these
                    entry.pop(time, None)
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


def test_what_goes_to_stderr_stops_before_it_is_published(project):
    notebook, parameters = prepare(project)
    runs.run(project, notebook, parameters)
    good = (project / "notebooks" / "quick.ipynb").read_bytes()
    notebook.path.write_text(NOTEBOOK + "\n# %%\nimport warnings\nwarnings.warn('of a kind')\n")
    with pytest.raises(runs.RunError, match=r"(?s)wrote to stderr.*of a kind"):
        runs.run(project, notebook, parameters)
    assert (project / "notebooks" / "quick.ipynb").read_bytes() == good


def test_what_the_kernel_logs_of_its_end_reaches_no_one(project, capfd):
    notebook, parameters = prepare(project)
    source = notebook.path.read_text()
    notebook.path.write_text(source + "get_ipython().kernel.log.error('caught in kernel')\n")
    runs.run(project, notebook, parameters)
    assert "caught in kernel" not in "".join(capfd.readouterr())


def test_a_killed_run_leaves_nothing_that_the_book_would_show(project):
    notebook, parameters = prepare(project)
    runs.run(project, notebook, parameters)
    left = project / "_build" / "running" / "quick"
    shutil.copytree(project / "results" / "quick", left)
    shutil.copytree(project / "results" / "quick", project / "results" / "mine")
    assert [record["id"] for record in figures.saved(project)] == ["fig-quick"]
    assert runs.stale(project, notebook, parameters) == []
    runs.run(project, notebook, parameters)
    assert not left.exists()


@pytest.fixture
def three(project, monkeypatch):
    """A project of three quick notebooks: ``a``, ``b`` and ``c``."""
    names = ["a", "b", "c"]
    (project / "_toc.yml").write_text("".join(f"- file: notebooks/{name}\n" for name in names))
    (project / "notebooks" / "quick.py").unlink()
    profile = project / "notebooks" / "profiles.toml"
    profile.write_text(profile.read_text().replace("quick", "a"))
    for name in names:
        (project / "notebooks" / f"{name}.py").write_text(
            NOTEBOOK.replace("fig-quick", f"fig-{name}")
        )
    # As the command line sets it: the processes of `run_all` inherit it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def todo(**changed):
        found = [pick(project, name) for name in names]
        for name, (old, new) in changed.items():
            path = project / "notebooks" / f"{name}.py"
            path.write_text(path.read_text().replace(old, new))
        return [(n, resolve(n, pick_profile(project, "cpu"))) for n in found]

    return todo


def fresh(root, todo):
    return "".join(n.name for n, values in todo if runs.stale(root, n, values) == [])


FAIL = ("fail: bool = False", "fail: bool = True")


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_side_by_side_every_notebook_is_executed_once(project, three, jobs):
    todo = three()
    done = {n.name: paths for n, paths in runs.run_all(project, todo, jobs)}
    assert sorted(done) == ["a", "b", "c"] and fresh(project, todo) == "abc"
    for name, paths in done.items():
        assert project / "results" / name / f"fig-{name}.svg" in paths
    assert list(runs.run_all(project, [], jobs)) == []


def test_after_a_failure_no_other_begins_and_the_one_beside_it_stays(project, three):
    slow = ("fig, ax", "import time; time.sleep(4)\nfig, ax")
    todo, done = three(a=FAIL, b=slow), []
    with pytest.raises(runs.RunError, match="RuntimeError: as asked"):
        done += [n.name for n, _ in runs.run_all(project, todo, 2)]
    assert fresh(project, todo) == "b"
    assert runs.stale(project, *todo[2]) == ["never run"]


def test_a_killed_process_is_named(project, three):
    kill = ("fig, ax", "import os; os.kill(os.getppid(), 9)\nfig, ax")
    with pytest.raises(runs.RunError, match="a: its process was killed"):
        list(runs.run_all(project, three(a=kill), 1))


def test_stopped_it_stops_all_and_leaves_nothing_half(project, three):
    note = f"import os, time; open(r'{project}/pid', 'w').write(str(os.getpid())); time.sleep(99)"
    todo = three(b=("fig, ax", f"{note}\nfig, ax"))
    running = runs.run_all(project, todo, 2)
    assert next(running)[0].name == "a"
    while not (project / "pid").exists() or not (project / "pid").read_text():
        time.sleep(0.1)
    running.close()
    assert fresh(project, todo)[0] == "a" and runs.stale(project, *todo[1]) == ["never run"]
    assert not list((project / "_build" / "running").iterdir())
    assert not Path("/proc", (project / "pid").read_text()).exists(), "its kernel ended"


def hold(root, ready, done):
    with runs.alone(root):
        ready.set()
        done.wait(20)


def test_two_at_once_are_refused(project):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(project, ready, done))
    other.start()
    assert ready.wait(60)
    try:
        with pytest.raises(runs.RunError, match="another geomem"), runs.alone(project):
            pass
    finally:
        done.set()
        other.join()
    with runs.alone(project):
        pass


def test_an_out_that_cannot_be_is_said_before_the_run(project):
    notebook, parameters = prepare(project)
    (project / "taken").write_text("a file")
    with pytest.raises(runs.RunError, match="--out"):
        runs.run(project, notebook, parameters, out=project / "taken")
    assert not (project / "_build" / "running" / "quick").exists()


def test_a_path_outside_the_project_names_no_disk(project, tmp_path_factory, monkeypatch, rng):
    monkeypatch.setenv("GEOMEM_PLACES", "{}")
    elsewhere = tmp_path_factory.mktemp("private") / "mine.npz"
    np.savez(elsewhere, images=rng.integers(0, 256, (12, 4, 4), np.uint8))
    notebook, parameters = prepare(project, dataset=elsewhere)
    assert parameters["dataset"] == "mine.npz"
    for path in runs.run(project, notebook, parameters):
        assert str(elsewhere.parent).encode() not in path.read_bytes(), path
    assert runs.stale(project, notebook, parameters) == []


def test_numbers_of_images_are_fitted_to_ones_own_set_and_checked_for_others(project, rng):
    np.savez(project / "small.npz", images=rng.integers(0, 256, (10, 4, 4), np.uint8))
    extended = NOTEBOOK.replace("n: int = 3  # points", "n_train: int = 30  # images")
    (project / "notebooks" / "quick.py").write_text(extended)
    notebook, parameters = prepare(project, dataset="small.npz")
    assert runs.fit(notebook, parameters, fetch=True)["n_train"] == 8, "two are held out"
    notebook, parameters = prepare(project, n_train=5000)
    with pytest.raises(DataError, match="n_train: asked for 5000; digits has 1297"):
        runs.fit(notebook, parameters, fetch=True)
    with pytest.raises(ParameterError, match="no data set ''"):
        prepare(project, dataset="")
