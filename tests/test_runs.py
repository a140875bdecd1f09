"""Running notebooks: failure, equal bytes, side by side, one at a time."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import NOTEBOOK, prepare

from geomem.companion import runs
from geomem.companion.fresh import stale
from geomem.companion.notebooks import ParameterError, pick, pick_profile, resolve
from geomem.companion.results import Result
from geomem.data.files import DataError


def state(root, name, parameters):
    return stale(Result(root, name), pick(root, name), parameters)


def test_a_failure_keeps_the_last_good_result_and_so_does_what_goes_to_stderr(project):
    notebook, parameters = prepare(project)
    written = runs.run(project, notebook, parameters)
    assert all(path.is_file() for path in written)
    good = {path: path.read_bytes() for path in written}
    with pytest.raises(runs.RunError, match="RuntimeError: as asked"):
        runs.run(project, notebook, prepare(project, fail=True)[1])
    failed = nbformat.read(project / "_build" / "failed" / "quick.ipynb", 4)
    assert any(o.output_type == "error" for c in failed.cells for o in c.get("outputs", []))
    assert state(project, "quick", parameters) == []

    said = "get_ipython().kernel.log.error('caught in kernel')\nwarnings.warn('of a kind')\n"
    notebook.path.write_text(NOTEBOOK + "\n# %%\nimport warnings\n" + said)
    with pytest.raises(runs.RunError, match=r"(?s)wrote to stderr.*of a kind") as error:
        runs.run(project, notebook, parameters)
    assert "caught in kernel" not in str(error.value)
    assert {path: path.read_bytes() for path in written} == good
    assert not list((project / "_build" / "running").iterdir())


def test_two_runs_give_the_same_bytes_but_for_the_time(project, tmp_path):
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
                for time_ in ("wall_time_s", "seconds", "date", "files"):  # files: hashes of these
                    entry.pop(time_, None)
            assert pair[0] == pair[1]
        else:
            assert texts[0] == texts[1], name
        for text in texts:
            assert str(project).encode() not in text, f"{name} holds an absolute path"
    assert not (project / "notebooks" / "quick.ipynb").exists(), "--out leaves the book alone"


def test_a_run_says_where_it_comes_from(project):
    notebook, parameters = prepare(project, n=5)
    runs.run(project, notebook, parameters)
    result = Result(project, "quick")
    (figure,) = result.figures
    assert figure["data"][0]["name"] == "digits" and len(figure["data"][0]["sha256"]) == 64
    assert figure["device"] == "cpu" and figure["wall_time_s"] > 0
    assert result.values == {"n": "5"} and result.claims["rises"]["holds"] is True
    assert result.run["inputs"]["parameters"] == parameters
    assert {"python", "numpy", "matplotlib", "torch"} <= set(result.run["inputs"]["versions"])
    assert "sympy" not in result.run["inputs"]["versions"], "the notebook does not reach it"


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
    found = [pick(project, name) for name in names]
    return [(n, resolve(n, pick_profile(project, "cpu"))) for n in found]


def stand_in(monkeypatch, **acts):
    """No kernel: each notebook writes its name where it began, and acts as told."""

    def run(root, notebook, parameters, **line):
        with (root / "begun").open("a") as begun:
            begun.write(notebook.name)
        acts.get(notebook.name, lambda: None)()
        return [root / notebook.name]

    monkeypatch.setattr(runs, "run", run)  # the processes are forks and inherit it


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_side_by_side_every_notebook_is_executed_once(project, three, jobs, monkeypatch):
    stand_in(monkeypatch)
    done = {n.name: paths for n, paths in runs.run_all(project, three, jobs)}
    assert done == {name: [project / name] for name in "abc"}
    assert sorted((project / "begun").read_text()) == ["a", "b", "c"]
    assert list(runs.run_all(project, [], jobs)) == []


def test_after_a_failure_no_other_begins_and_the_one_beside_it_ends(project, three, monkeypatch):
    def fail():
        raise runs.RunError("as asked")

    stand_in(monkeypatch, a=fail, b=lambda: time.sleep(0.5))
    done = []
    with pytest.raises(runs.RunError, match="as asked"):
        done += [n.name for n, _ in runs.run_all(project, three, 2)]
        pytest.fail("it was not told")
    assert sorted((project / "begun").read_text()) == ["a", "b"]


def test_a_killed_process_is_named(project, three, monkeypatch):
    stand_in(monkeypatch, a=lambda: os.kill(os.getpid(), 9))
    with pytest.raises(runs.RunError, match="a: its process was killed"):
        list(runs.run_all(project, three, 1))


def test_stopped_it_stops_all_and_leaves_nothing_half(project, three):
    note = f"import os, time; open(r'{project}/pid', 'w').write(str(os.getpid())); time.sleep(99)"
    path = project / "notebooks" / "b.py"
    path.write_text(path.read_text().replace("fig, ax", f"{note}\nfig, ax"))
    running = runs.run_all(project, three, 2)
    assert next(running)[0].name == "a"
    while not (project / "pid").exists() or not (project / "pid").read_text():
        time.sleep(0.1)
    running.close()
    assert state(project, "a", three[0][1]) == []
    assert state(project, "b", three[1][1]) == ["never run"]
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
    assert state(project, "quick", parameters) == []


def test_numbers_of_images_are_fitted_to_ones_own_set_and_checked_for_others(project, rng):
    np.savez(project / "small.npz", images=rng.integers(0, 256, (10, 4, 4), np.uint8))
    extended = NOTEBOOK.replace("n: int = 3  # points", "n_train: int = 30  # images")
    (project / "notebooks" / "quick.py").write_text(extended)
    notebook, parameters = prepare(project, dataset="small.npz")
    assert runs.fit_to_data(notebook, parameters, fetch=True)["n_train"] == 8, "two are held out"
    notebook, parameters = prepare(project, n_train=5000)
    with pytest.raises(DataError, match="n_train: asked for 5000; digits has 1297"):
        runs.fit_to_data(notebook, parameters, fetch=True)
    with pytest.raises(ParameterError, match="no data set ''"):
        prepare(project, dataset="")
