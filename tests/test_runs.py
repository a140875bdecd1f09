"""Running notebooks: failure, equal bytes, side by side, one at a time."""

import errno
import fcntl
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import CHANGES, NOTEBOOK, empty_project, fill, forked, prepare
from nbclient import NotebookClient

from geomem import disk
from geomem.companion import book, results, runs
from geomem.companion.fresh import stale
from geomem.companion.notebooks import ParameterError, pick, pick_profile, read, resolve
from geomem.companion.results import Result
from geomem.data.files import DataError
from geomem.errors import InputError, refused


def state(root, name, parameters):
    return stale(Result(root, name), pick(root, name), parameters)


@pytest.fixture(scope="module")
def executed_once(tmp_path_factory):
    """A project whose notebook ran with five points, and the paths that were written."""
    root = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        empty_project(root, patch)
        return root, runs.run(root, *prepare(root, n=5))


# Up to its parameters: what imports nothing runs in a third of the time.
HEAD = NOTEBOOK.partition("# %%\nimport")[0]


def test_a_failure_keeps_the_last_good_result_and_so_does_what_goes_to_stderr(
    executed_once, tmp_path, monkeypatch
):
    project = Path(shutil.copytree(executed_once[0], tmp_path / "project"))
    monkeypatch.chdir(project)
    notebook, parameters = prepare(project, n=5)
    written = [project / path.relative_to(executed_once[0]) for path in executed_once[1]]
    good = {path: path.read_bytes() for path in written}
    notebook.path.write_text(f"{HEAD}# %%\nif fail:\n    raise RuntimeError('as asked')\n")
    with pytest.raises(runs.RunError, match="RuntimeError: as asked"):
        runs.run(project, notebook, prepare(project, n=5, fail=True)[1])
    failed = nbformat.read(project / "_build" / "failed" / "quick.ipynb", 4)
    assert any(o.output_type == "error" for c in failed.cells for o in c.get("outputs", []))

    said = "get_ipython().kernel.log.error('caught in kernel')\nwarnings.warn('of a kind')\n"
    notebook.path.write_text(f"{HEAD}# %%\nimport warnings\n{said}")
    with pytest.raises(runs.RunError, match=r"(?s)wrote to stderr.*of a kind") as error:
        runs.run(project, notebook, parameters)
    assert "caught in kernel" not in str(error.value)

    notebook.path.write_text(f"{HEAD}# %%\nraise ValueError('level: no curve passes it.')\n")
    with pytest.raises(InputError, match=r"^level: no curve passes it \(quick failed; [^\n]+\)\.$"):
        runs.run(project, notebook, parameters)
    assert {path: path.read_bytes() for path in written} == good
    notebook.path.write_text(NOTEBOOK)
    assert state(project, "quick", parameters) == []
    assert not list((project / "_build" / "running").iterdir())


def test_two_runs_give_the_same_bytes_but_for_the_time(
    executed_once, project, tmp_path, monkeypatch
):
    notebook, parameters = prepare(project, n=5)
    far = tmp_path / ("far" * 40)  # too far for the path of a socket
    far.mkdir()
    monkeypatch.setenv("TMPDIR", str(far))
    monkeypatch.setattr(tempfile, "tempdir", None)
    runs.run(project, notebook, parameters, out=tmp_path / "here")
    assert not [*far.iterdir()], "nothing is left there"
    outs = [Result(executed_once[0], "quick").folder, tmp_path / "here" / "quick"]
    names = sorted(p.name for p in outs[0].iterdir())
    assert names == sorted(p.name for p in outs[1].iterdir()) and "fig-quick.png" in names
    for name in names:
        texts = [(out / name).read_bytes() for out in outs]
        if name == results.RUN:
            pair = [json.loads(text) | {"seconds": 0, "date": ""} for text in texts]
            assert pair[0] == pair[1]
        else:
            assert texts[0] == texts[1], name
        for root, text in zip((executed_once[0], project), texts, strict=True):
            assert str(root).encode() not in text, f"{name} holds an absolute path"
    assert not (project / "notebooks" / "quick.ipynb").exists(), "--out leaves the book alone"


def test_a_run_says_where_it_comes_from(executed_once):
    _, parameters = prepare(executed_once[0], n=5)
    result = Result(executed_once[0], "quick")
    (figure,) = result.figures
    assert figure["data"][0]["name"] == "digits" and len(figure["data"][0]["sha256"]) == 64
    assert figure["device"] == "cpu"
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


def test_opened_by_hand_a_notebook_works_where_its_runs_do(project):
    cell = nbformat.v4.new_code_cell("import os; from geomem import companion; os.getcwd()")
    where = {"metadata": {"path": str(project / "notebooks")}}
    done = NotebookClient(nbformat.v4.new_notebook(cells=[cell]), resources=where).execute()
    assert done.cells[0].outputs[0].data["text/plain"] == repr(str(project))


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_side_by_side_every_notebook_is_executed_once(project, three, jobs, monkeypatch):
    stand_in(monkeypatch)
    done = {n.name: paths for n, paths in runs.run_all(project, three, jobs)}
    assert done == {name: [project / name] for name in "abc"}
    assert sorted((project / "begun").read_text()) == ["a", "b", "c"]
    assert list(runs.run_all(project, [], jobs)) == []


def test_after_a_failure_no_other_begins_and_the_one_beside_it_ends(project, three, monkeypatch):
    pid = project / "pid"

    def fail():
        pid.write_text(str(os.getpid()))
        raise runs.RunError("as asked")

    def until_that_has_arrived():
        while not (pid.exists() and (said := pid.read_text())) or Path("/proc", said).exists():
            time.sleep(0.01)

    stand_in(monkeypatch, a=fail, b=until_that_has_arrived)
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
    for name, code in (("a", "pass"), ("b", note)):
        (project / "notebooks" / f"{name}.py").write_text(f"{HEAD}# %%\n{code}\n")
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
    context = multiprocessing.get_context("fork")
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


def test_a_start_clears_what_is_kept_and_not_used(project):
    for name, used in (("old", 0), ("new", time.time())):
        path = project / runs.KEPT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (used, used))
    with runs.alone(project):
        assert [path.name for path in (project / runs.KEPT).iterdir()] == ["new"]


# What is in the way, and what fails at the end


@pytest.fixture
def executed(monkeypatch):
    """No kernel: what it would have left, and what is called when it has."""
    called = []

    def execute(root, notebook, parameters, work, line):
        (work / results.VALUES).write_text(json.dumps({"n": str(parameters["n"])}))
        for call in called:
            call()
        return read(notebook.path)

    monkeypatch.setattr(runs, "_execute", execute)
    monkeypatch.setattr(runs, "commit", lambda: {"commit": None, "dirty": None})
    return called


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("n=str(n)", "n=str(n + 1)"), "its code or data changed"),
        (("n: int", "m: int = 1  # more, in [1, 9]\nn: int"), "its code or data changed"),
        (("n=str(n)", "n=str(n"), "its code or data changed"),  # in the middle of an edit
        (("n: int", "n int"), "its code or data changed"),
    ],
)
def test_what_changed_while_it_ran_is_not_published(project, executed, edit, said):
    notebook, parameters = prepare(project)
    runs.run(project, notebook, parameters)
    good = everything(project / "results")
    executed.append(lambda: notebook.path.write_text(notebook.path.read_text().replace(*edit)))
    with pytest.raises(runs.RunError, match=f"^quick failed; its copy: .*: {said} while it ran"):
        runs.run(project, notebook, parameters)
    assert everything(project / "results") == good


def test_what_was_answered_from_what_is_kept_is_not_said_to_take_no_longer(project, executed):
    notebook, parameters = prepare(project)
    runs.run(project, notebook, parameters)
    result = results.Result(project, "quick")
    results.write_run(result.folder, {**result.run, "seconds": 123.0})
    runs.run(project, notebook, parameters)
    assert result.run["seconds"] == 123.0


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    "held",
    [
        {"a-trained-network/weights": "77 MB"},
        {"run.json": "[]"},
        {"run.json": '{"files": {}}', "notes.md": "mine"},
        {"other.ipynb": "{}"},
        {".hidden": ""},
        None,
    ],
)
def test_an_out_that_is_of_no_run_is_refused_before_and_after(project, executed, held):
    notebook, parameters = prepare(project)

    def fill():
        taken = project / "here" / "quick"
        for name, content in (held or {}).items():
            (taken / name).parent.mkdir(parents=True, exist_ok=True)
            (taken / name).write_text(content)
        if held is None:
            taken.parent.mkdir(exist_ok=True)
            taken.write_text("a file")

    executed.append(fill)  # it comes to be while the notebook runs
    with pytest.raises(runs.RunError, match="computed, in _build/unpublished-quick, not in its"):
        runs.run(project, notebook, parameters, out=project / "here")
    kept = project / "_build" / "unpublished-quick"
    assert json.loads((kept / results.VALUES).read_text()) == {"n": "3"}
    before = everything(project / "here")
    executed[:] = [lambda: pytest.fail("it ran")]
    with pytest.raises(InputError, match="--out") as error:
        runs.run(project, notebook, parameters, out=project / "here")
    assert "\n" not in str(error.value) and everything(project / "here") == before


def test_an_out_that_is_empty_or_of_its_own_run_is_replaced_unless_it_holds_more(project, executed):
    notebook, out = prepare(project)[0], project / "here"
    (out / "quick").mkdir(parents=True)
    for n in (3, 4):
        runs.run(project, notebook, prepare(project, n=n)[1], out=out)
        assert json.loads((out / "quick" / results.VALUES).read_text()) == {"n": str(n)}
        (out / "quick" / ".ipynb_checkpoints").mkdir()  # it was opened, and looked at
        (out / "quick" / ".DS_Store").write_text("")
    (out / "quick" / "notes.md").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes\.md, of no run"):
        runs.run(project, notebook, prepare(project)[1], out=out)
    assert (out / "quick" / "notes.md").read_text() == "mine"


def full(*arguments):
    raise OSError(28, "No space left on device", "somewhere")


@pytest.mark.parametrize("out", [None, "here"])
def test_a_result_that_cannot_be_put_in_place_is_kept_and_so_is_the_old_one(
    project, executed, out, monkeypatch
):
    notebook, parameters = prepare(project)
    place = {"out": out and project / out}
    old = {path: path.read_bytes() for path in runs.run(project, notebook, parameters, **place)}
    monkeypatch.setattr(disk, "_flush", full)
    with pytest.raises(runs.RunError, match="in its place: No space left on device") as error:
        runs.run(project, notebook, prepare(project, n=4)[1], **place)
    kept = project / "_build" / "unpublished-quick"
    assert "\n" not in str(error.value) and str(kept.relative_to(project)) in str(error.value)
    assert json.loads((kept / results.VALUES).read_text()) == {"n": "4"}
    assert {path: path.read_bytes() for path in old} == old


@pytest.mark.parametrize("changes", [CHANGES, [c for c in CHANGES if c not in ("unlink", "rmdir")]])
@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("n", range(18))
def test_a_computed_result_lies_where_the_line_says_whatever_is_refused(
    project, executed, n, alone, changes, refuse, monkeypatch
):
    runs.run(project, *prepare(project))
    publish = runs._publish

    def refused(*arguments):
        refuse(n, alone, changes)
        return publish(*arguments)

    monkeypatch.setattr(runs, "_publish", refused)
    place = project / "results" / "quick"
    try:
        runs.run(project, *prepare(project, n=4))
        lies = place
    except runs.RunError as error:
        line = r"quick is computed, in ([^ ,]+)( \(.*\))?, not in its place: [^\n]+$"
        found = re.match(line, str(error))
        lies = Path(found[1]) if found else place  # only its page is not written
    assert json.loads((lies / results.VALUES).read_text()) == {"n": "4"}
    monkeypatch.undo()
    with runs.alone(project):
        pass
    assert not Result(project, "quick").altered, "the old one or the new one is there, whole"


def test_on_a_full_disk_the_old_result_and_the_new_one_stay(project, executed, small_disk):
    notebook, parameters = prepare(project)
    old = runs.run(project, notebook, parameters, out=small_disk)
    before = {path: path.read_bytes() for path in old}
    fill(small_disk)
    with pytest.raises(runs.RunError, match="not in its place: No space left on device") as error:
        runs.run(project, notebook, prepare(project, n=4)[1], out=small_disk)
    kept = project / "_build" / "unpublished-quick"
    assert "\n" not in str(error.value) and str(kept.relative_to(project)) in str(error.value)
    assert json.loads((kept / results.VALUES).read_text()) == {"n": "4"}
    assert {path: path.read_bytes() for path in old} == before


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_the_disk_refuses_is_one_line_also_beside_others(project, three, jobs, monkeypatch):
    monkeypatch.setattr(runs, "_execute", full)
    with pytest.raises(runs.RunError, match=r"^[ab]: No space left on device: 'somewhere'$"):
        list(runs.run_all(project, three[: jobs + 1], jobs))


def test_what_was_asked_for_wrongly_stays_the_inputs_fault(project, three, monkeypatch):
    def absent(*arguments):
        raise DataError("no data set")

    monkeypatch.setattr(runs, "_execute", absent)
    with pytest.raises(DataError, match="no data set"):
        list(runs.run_all(project, three, 1))


def test_a_process_that_ends_with_a_traceback_is_not_called_killed(project, three, monkeypatch):
    stand_in(monkeypatch, a=lambda: 1 / 0)
    with pytest.raises(runs.RunError, match="a: its process ended with the traceback above"):
        list(runs.run_all(project, three, 1))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(30, "Read-only file system", "x"), "Read-only file system: 'x'"),
        ("digits-64: OSError: [Errno 122] Disk quota exceeded", "Disk quota exceeded"),
        ("warned\nException: [Errno 28] No space left\nand more", "No space left"),
        (ValueError("28"), ""),
    ],
)
def test_what_the_system_refused_is_found_in_errors_and_in_what_quotes_them(error, said):
    assert refused(error) == said


@pytest.fixture
def rendered(project, monkeypatch):
    """No Sphinx: the folders that it would have written to, and what it says and returns."""
    for name in ("_config.yml", "CITATION.cff"):
        (project / name).touch()
    folders, says = [], []

    def render(command, **how):
        folders.append(Path(command[-1]))
        assert [*folders[-1].iterdir()] == [], "nobody else is there"
        page = folders[-1] / "_build" / "html" / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text(f"book {len(folders)}")
        return subprocess.CompletedProcess(command, bool(says), "", "".join(says))

    monkeypatch.setattr(book.subprocess, "run", render)
    return folders, says


def test_pages_are_rendered_apart_and_replaced_whole_or_not_at_all(project, rendered, monkeypatch):
    folders, index = rendered[0], project / "_build" / "html" / "index.html"
    assert [book.build(project) for _ in range(2)] == [(index, True), (index, False)]
    source = next((project / "notebooks").glob("*.py"))  # whose defaults a page shows
    source.write_text(f"{source.read_text()}# another\n")
    (project / "notebooks" / ".ipynb_checkpoints").mkdir()
    assert book.build(project)[1]
    copy = project.parent / "another folder" / "copy"  # whose package lies elsewhere
    shutil.copytree(project, copy)
    assert book.build(copy) == (copy / "_build" / "html" / "index.html", False)
    (project / "CITATION.cff").write_text("more")
    with monkeypatch.context() as patch:
        patch.setattr(disk, "_flush", full)
        with pytest.raises(OSError, match="No space left"):
            book.build(project)
    assert index.read_text() == "book 2"
    (project / results.WORK / "book-of-a-killed-one").mkdir()
    book.build(project)
    assert index.read_text() == "book 4"
    assert len({*folders}) == 4 and not any(folder.exists() for folder in folders)


def test_a_disk_that_is_full_while_pages_are_rendered_is_said_and_the_last_ones_stay(
    project, rendered
):
    index, _ = book.build(project)
    (project / "CITATION.cff").write_text("more")
    rendered[1].append("Traceback\nmore\nOSError: [Errno 28] No space left on device: 'x'\n")
    with pytest.raises(book.BookError) as error:
        book.build(project)
    assert str(error.value).splitlines()[1:] == ["No space left on device: 'x'"]
    ends = "geomem.x.ProseError: no number\n", "RuntimeError: \n====\nLook above\n"
    rendered[1][:] = ["Traceback\n  a line\n", *ends]
    with pytest.raises(book.BookError) as error:
        book.build(project)
    assert str(error.value).splitlines()[1:] == ["geomem.x.ProseError: no number"]
    assert index.read_text() == "book 1"


# Killed


def test_processes_end_with_a_parent_that_was_killed_and_their_folders_go(
    project, three, monkeypatch
):
    ours, theirs = os.pipe()  # at its end when nobody holds the other one

    def work():
        with results.scratch(project, "a"):
            os.write(theirs, b"x")
            time.sleep(60)

    stand_in(monkeypatch, a=work, b=work)
    parent = forked(lambda: list(runs.run_all(project, three, 2)))
    os.close(theirs)
    assert os.read(ours, 1) + os.read(ours, 1) == b"xx" and len(left(project)) == 2
    killed = time.monotonic()
    parent.kill()
    parent.join()
    assert os.read(ours, 1) == b"" and left(project) == [] and time.monotonic() - killed < 20
    os.close(ours)


def left(root):
    return [*(root / results.WORK).iterdir()]


def test_what_a_killed_process_left_is_gone_or_put_right_at_the_next_start(project, executed):
    notebook, parameters = prepare(project)
    runs.run(project, notebook, parameters)
    result = Result(project, "quick")
    (project / results.WORK / "quick-0123" / "quick").mkdir(parents=True)
    result.folder.rename(result.folder.with_name(f".quick{disk.OLD}"))
    result.folder.with_name(f".quick{disk.NEW}").mkdir()
    assert state(project, "quick", parameters) == ["never run"]
    with runs.alone(project):
        assert state(project, "quick", parameters) == []
        assert not (project / results.WORK).exists()
        assert [path.name for path in result.folder.parent.iterdir()] == ["quick"]


@pytest.mark.parametrize("error", [OSError(37, "No locks available"), NotImplementedError("flock")])
def test_a_project_that_cannot_be_locked_is_one_line(project, error, monkeypatch):
    def refuse(*arguments, **named):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(runs, "FileLock", refuse)
        with pytest.raises(runs.RunError, match=r"cannot be locked: (No locks|flock)"):
            runs.alone(project).__enter__()
    (project / "_build" / "lock").mkdir(parents=True)
    with pytest.raises(runs.RunError, match=r"cannot be locked: .*lock"):
        runs.alone(project).__enter__()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_on_a_disk_without_locks_a_file_stands_in_or_one_line_says_so(project, number, monkeypatch):
    def none(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    for _ in range(2):  # a lock that was given back is free
        try:
            with (
                runs.alone(project),
                pytest.raises(runs.RunError, match="another geomem"),
                runs.alone(project),
            ):
                pass
        except runs.RunError as error:
            assert re.fullmatch(r"the project cannot be locked: [^\n]+", str(error))


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
