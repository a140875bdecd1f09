"""What a run is announced to take: the trainings that its notebook asks for, and no others."""

import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from test_cli import failing

import geomem
from geomem.cli import book
from geomem.cli.main import main
from geomem.companion import budget, notebooks, runs
from geomem.companion.budget import Budget, budgets, missing, wanted
from geomem.companion.memory import KEPT_VARIABLE
from geomem.companion.notebooks import ParameterError
from geomem.diffusion import cost, fitting, zoo
from geomem.diffusion.cost import count
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.presets import experiment, named
from geomem.geometry.window import Window
from geomem.memorization import gaps
from geomem.memorization.case import Case

KNOWN = notebooks.notebooks(ROOT)
TRAINING = [name for name, notebook in KNOWN.items() if notebook.trains]
ASKS = r"Case\b|\.train(ed)?\(|train_or_load|Swept"  # in a cell that trains, or says what
MORE = {"gaps": "nine", "second_dataset": "fashion-mini", "trainings": "4", "seed": "3"}
LESS = {
    "paper_gap": "false",
    "copy_gap": "false",
    "none_kept": "false",
    "dummy": "false",
    "trainings": "2",
}
BRIEF = "train.steps=4 train.batch=4 train.model.width=8 train.snapshots=0.125"


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty store, and speeds that are assumed: what is measured differs by the second."""
    monkeypatch.setenv(zoo.STORE_VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(cost, "MEASURED_BELOW", 0)
    budget._cost.cache_clear()
    yield tmp_path / "models"
    budget._cost.cache_clear()


def profile(name="cpu"):
    return notebooks.pick_profile(ROOT, name)


def run(name, **parameters):
    values = {key: str(value) for key, value in parameters.items()}
    return KNOWN[name], notebooks.resolve(KNOWN[name], profile(), values)


def plain(config):
    noise = replace(config.train.noise, gap_low=0.0, gap_high=0.0, gap_keep=0.0)
    return replace(config, train=replace(config.train, noise=noise))


class Enough(Exception):
    pass


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize(
    ("of", "changes"), [("smoke", {}), ("cpu", {}), ("cpu", MORE), ("smoke", LESS)]
)
def test_the_trainings_that_are_reckoned_are_those_that_the_notebook_asks_for(
    name, of, changes, monkeypatch
):
    """The cells that train are executed, with what trains replaced by what writes it down."""
    own = {key: value for key, value in changes.items() if key in KNOWN[name].parameters}
    if name == "dimension":
        own |= {"models": "fashion-unet 8 16 n_train=20; fashion-coarse 0 train.steps=9"}
    if name == "covered" and "second_dataset" in own:
        own |= {"second_models": "fashion-unet 0; digits-unet 8 28 n_train=20 train.steps=9"}
    parameters = notebooks.resolve(KNOWN[name], profile(of), own)
    reckoned, asked = {*wanted(name, parameters)}, set()

    def write_down(experiments, **how):
        asked.update(experiments)
        return [SimpleNamespace(denoise=None) for _ in experiments]

    for module in (geomem, fitting):  # in this order: the first takes its own from the second
        monkeypatch.setattr(module, "train_or_load", write_down, raising=False)
    found = SimpleNamespace(zone=Window(0.5, 1.2), window=Window(0.07, 1.2), geometry=None)
    places = dict[tuple[float, float], Window]()  # where the paper's gaps lie there, apart

    def carried_over(ends, geometry):
        return places.setdefault(ends, Window(0.3, 1.1 + len(places) / 10))

    monkeypatch.setattr(gaps, "carried_over", carried_over)
    monkeypatch.setattr(Case, "copy_range", lambda case, denoise, **how: found)
    cells = [c.source for c in notebooks.read(KNOWN[name].path).cells if c.cell_type == "code"]
    names = dict(parameters)
    for cell in cells[1:]:
        if cell.startswith(("import", "from")) or re.search(ASKS, cell):
            with suppress(Exception):  # nothing was trained, and so not all can be measured
                exec(cell, names)
    with_gap = Counter(plain(one) for one in asked if one.train.noise.gap_high)
    assert {one for one in asked if not one.train.noise.gap_high} == {
        e for e, gap in reckoned if not gap
    }
    assert with_gap == Counter(e for e, gap in reckoned if gap)
    assert asked == {e for e, _ in wanted(name, parameters, lambda p: found)}, "once it is known"


@pytest.fixture
def photos(tmp_path, rng):
    """400 photographs of 64 by 64 pixels."""
    path = tmp_path / "photos.npy"
    np.save(path, rng.integers(0, 256, (400, 64, 64, 3), dtype=np.uint8))
    return path


def test_on_images_of_ones_own_it_is_the_time_of_training_them(photos):
    todo = [run(name, dataset=photos, device="cpu") for name in ("posterior", "models", "swaps")]
    found = budgets(todo, profile())
    config = experiment("digits-unet-small", {"data.name": str(photos), "train.device": "cpu"})
    known = replace(config.train.model, channels=3, size=64, mean=0.0, sigma_data=0.5)
    own = replace(known, channels=1, size=8)
    one = config.train.images * 3 * count(known)[0] / cost.CPU_RATE
    cores = fitting.os.cpu_count()
    assert one > 3600
    assert found["posterior"] == Budget(profile().seconds["posterior"])
    assert found["models"].models == 2 and found["swaps"].models == 2  # two seeds more
    for name in ("models", "swaps"):
        assert found[name].training == pytest.approx(max(one, 2 * one / cores))
        slower = count(known)[0] / count(own)[0]
        assert found[name].own == pytest.approx(slower * profile().seconds[name])


def test_what_the_store_holds_is_not_trained_again(store):
    todo = [run("gap_training", preset="digits-mlp", n_train=8, changes=BRIEF, trainings=1)]

    def missing():
        return budgets(todo, profile())["gap_training"].models

    assert missing() == 7  # two, four with gaps, and the dummy class
    small = Case.of("digits-mlp", "digits", 8, BRIEF).small
    laws = [NoiseLaw(gap_low=low, gap_high=1.2) for low in (0.1, 0.2, 0.3, 0.4, 0.5)]
    left = 6
    for law in (NoiseLaw(), *laws):
        fitting.fit(replace(small, train=replace(small.train, noise=law)), root=store)
        assert missing() == max(left, 2)  # more gaps than it asks for replace nothing else
        left -= 1
    other = replace(small, train=replace(small.train, seed=1, noise=laws[0]))
    fitting.fit(other, root=store)
    assert missing() == 2


def test_time_is_linear_in_the_steps_and_counts_a_model_once(store):
    one, more, again = (
        budgets([run("models", changes=f"train.steps={n}") for _ in range(k)], profile())["models"]
        for n, k in ((100, 1), (300, 1), (100, 2))
    )
    assert more.training == pytest.approx(3 * one.training) and more.own == one.own
    assert again.training == 0, "of two notebooks alike the first has it"
    assert (one + more).seconds == pytest.approx(one.seconds + more.seconds)


# Before what is long


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A copy of the sources, entered; the list is what began to run there."""
    for name in ("book", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.ipynb"))
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    monkeypatch.chdir(tmp_path)
    begun = []

    def run_all(root, todo, jobs):
        begun.extend(todo)
        raise Enough

    def one(*arguments, **how):
        begun.append(arguments)
        raise Enough

    monkeypatch.setattr(runs, "run_all", run_all)
    monkeypatch.setattr(runs, "run", one)
    return begun


def on_a_terminal(monkeypatch, answer):
    asked = []

    def say(prompt):
        asked.append(prompt)
        if answer is None:
            raise EOFError
        return answer

    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", say)
    return asked


def test_long_runs_on_other_data_begin_when_somebody_says_so(begun, photos, capsys, monkeypatch):
    command = ["run", "models", "-p", "dataset", str(photos)]
    for answer in ("", "n", "what?", None):
        with monkeypatch.context() as patch:
            asked = on_a_terminal(patch, answer)
            code, error = failing(command, capsys)
        assert code == 2 and "nothing was run" in error and len(asked) == 1 and not begun
    with monkeypatch.context() as patch, pytest.raises(Enough):
        on_a_terminal(patch, "y")
        main(command)
    assert begun


def test_where_nobody_can_be_asked_long_runs_on_other_data_need_yes(begun, photos, capsys):
    command = ["book", "-p", "dataset", str(photos)]
    code, error = failing(command, capsys)
    assert code == 2 and "--yes" in error and re.search(r"[\d.]+ hours", error) and not begun
    with pytest.raises(Enough):
        main([*command, "--yes"])
    assert begun


def test_a_profile_on_its_own_data_and_what_is_short_just_begin(begun, photos, monkeypatch):
    with pytest.raises(Enough):
        main(["run", "posterior", "-p", "dataset", str(photos)])
    monkeypatch.setattr(cost, "CPU_RATE", 1e6)
    budget._cost.cache_clear()
    with pytest.raises(Enough):
        main(["run", "models"])  # weeks, by this rate, and nobody to be asked
    assert len(begun) == 2


def test_a_dry_run_says_what_it_would_take_on_a_gpu_that_is_not_here(begun, capsys):
    main(["book", "--profile", "smoke", "-p", "device", "cuda", "--dry-run"])
    said = capsys.readouterr().out
    assert not begun and {*re.findall(r"^to run: (\w+)", said, re.M)} == {*KNOWN}
    assert cost.CUDA_BASIS in said


# Lines for a cluster


def argv(line):
    """What a shell makes of a line."""
    script = f'geomem() {{ printf "%s\\0" "$@"; }}; {line}'
    said = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    return os.fsdecode(said).split("\0")[:-1]


def asked_for(line):
    """The experiment of a line, and the model that its comment names."""
    verb, name, *sets, resume = argv(line)
    assert (verb, resume) == ("train", "--resume") and {*sets[::3]} <= {"--set"}
    model = re.search(r"  # (\S+): [\d.]+ \w+$", line)[1]
    return experiment(name, dict(zip(sets[1::3], sets[2::3], strict=True))), model


@pytest.mark.parametrize("of", ["smoke", "cpu"])
def test_every_experiment_has_its_line(of):
    for name in TRAINING:
        for one, _ in wanted(name, notebooks.resolve(KNOWN[name], profile(of))):
            assert experiment(*named(one)) == one


def test_a_plan_has_one_line_for_each_model(begun, store, capsys, monkeypatch):
    monkeypatch.setenv(KEPT_VARIABLE, "")  # what the command sets ends with this test
    main(["plan", "--profile", "smoke"])
    out, said = capsys.readouterr()
    lines = [asked_for(line) for line in out.splitlines()]
    for one, model in lines:
        assert zoo.Plan.of(one).folder.name == model
    needed = {w for n in TRAINING for w in wanted(n, notebooks.resolve(KNOWN[n], profile("smoke")))}
    whole = {zoo.Plan.of(e).folder.name for e, gap in needed if not gap}
    assert sorted(model for _, model in lines) == sorted(whole)
    later = sum(gap > 0 for _, gap in needed)
    assert f"{later} more" in said and "`geomem plan` again" in said
    assert not begun and not store.exists()


def test_gaps_come_when_the_model_is_there_that_they_are_measured_with():
    how = {"preset": "digits-mlp", "n_train": 8, "changes": BRIEF, "trainings": 1, "n_heldout": 20}
    todo = [run("gap_training", **how), run("gap_sweep", dataset="digits", **how)]
    rounds = []
    while found := missing(todo):
        rounds.append(Counter(bool(one.wanted.gap) for one in found))
        now = [one.wanted.experiment for one in found if not one.wanted.gap]
        assert now and len({one.folder for one in found if not one.wanted.gap}) == len(now)
        for one in now:
            fitting.fit(one)
    first, second = rounds
    assert first[False] == 3  # two, and the dummy class
    assert second[True] == 0 and 5 < second[False] <= first[True]  # some are of both notebooks


def test_a_gap_whose_ends_are_given_waits_for_nothing():
    how = {"preset": "digits-mlp", "changes": BRIEF, "trainings": 2, "copy_gap": False}
    found = missing([run("gap_training", gap_low=1.0, gap_high=5.0, **how)])
    laws = [one.wanted.experiment.train.noise for one in found]
    assert not any(one.wanted.gap for one in found)
    assert sum((law.gap_low, law.gap_high) == (1.0, 5.0) for law in laws) == 2


@pytest.mark.parametrize("name", ['it\'s $(touch x) `y` #1 "z" & 100%;.npy', "größe\\1 .npy"])
def test_whatever_a_file_is_called_a_line_is_one_command(name, tmp_path, rng):
    path = tmp_path / name
    np.save(path, rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8))
    for one in missing([run("models", dataset=path, n_train=8)]):
        words = argv(book._line(one))
        assert str(path) in words and words[0] == "train"
        again = experiment(words[1], dict(zip(words[3:-1:3], words[4:-1:3], strict=True)))
        assert zoo.Plan.of(again).folder == one.folder


def test_a_file_that_no_line_can_name_is_refused(tmp_path, rng):
    path = tmp_path / "two\nlines.npy"
    np.save(path, rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8))
    (one, *_) = missing([run("models", dataset=path, n_train=8)])
    with pytest.raises(ParameterError, match="rename it"):
        book._line(one)


@pytest.mark.long
def test_three_workers_train_what_the_smoke_book_needs(begun, store):
    """Shuffled, one line twice at once; then its notebooks train nothing."""

    def geomem_here(*arguments):
        command = [sys.executable, "-m", "geomem", *arguments, "--profile", "smoke"]
        return subprocess.run(command, capture_output=True, text=True, check=True)

    def work(line):
        here = f'geomem() {{ {shlex.quote(sys.executable)} -m geomem "$@"; }}; {line}'
        return subprocess.run(["bash", "-c", here], capture_output=True, text=True)

    def kept():
        return {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}

    rounds = 0
    while lines := geomem_here("plan").stdout.splitlines():
        random.Random(rounds).shuffle(lines)
        with ThreadPoolExecutor(3) as workers:
            done = [*workers.map(work, [lines[0], *lines])]
        assert not [one.stderr for one in done if one.returncode]
        rounds += 1
    assert rounds == 2
    before = kept()
    for name in TRAINING:
        geomem_here("run", name)
    assert kept() == before
