"""What a run is announced to take: the trainings that its notebook asks for, and no others."""

import re
import shutil
import sys
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from test_cli import failing

import geomem
from geomem.cli.main import main
from geomem.companion import budget, notebooks, runs
from geomem.companion.budget import Budget, budgets, wanted
from geomem.diffusion import cost, fitting, zoo
from geomem.diffusion.cost import count
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.presets import experiment
from geomem.geometry.window import Window
from geomem.memorization import gaps
from geomem.memorization.case import Case

KNOWN = notebooks.notebooks(ROOT)
TRAINING = [n for n in KNOWN if "preset" in KNOWN[n].parameters or n == "covered"]
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
    if name == "dimension" and "second_dataset" in own:
        own |= {"second_sizes": "8", "second_preset": "fashion-unet"}
    if name == "covered" and "second_dataset" in own:
        own |= {"second_models": "fashion-unet 0; digits-unet 8 28 n_train=20 train.steps=9"}
    parameters = notebooks.resolve(KNOWN[name], profile(of), own)
    reckoned, asked = {*wanted(name, parameters)}, set()

    def write_down(experiments, **how):
        asked.update(experiments)
        if len(asked) >= len(reckoned):
            raise Enough
        return [SimpleNamespace(denoise=None) for _ in experiments]

    for module in (fitting, geomem):
        monkeypatch.setattr(module, "train_or_load", write_down, raising=False)
    found = SimpleNamespace(zone=Window(0.5, 1.2), window=Window(0.07, 1.2), geometry=None)
    monkeypatch.setattr(gaps, "carried_over", lambda geometry: Window(0.3, 1.1))
    monkeypatch.setattr(Case, "copy_range", lambda case, denoise, **how: found)
    cells = [c.source for c in notebooks.read(KNOWN[name].path).cells if c.cell_type == "code"]
    names = dict(parameters)
    with pytest.raises(Enough):
        for cell in cells[1:]:
            if cell.startswith(("import", "from")) or re.search(ASKS, cell):
                exec(cell, names)
    with_gap = Counter(plain(one) for one in asked if one.train.noise.gap_high)
    assert {one for one in asked if not one.train.noise.gap_high} == {
        e for e, gap in reckoned if not gap
    }
    assert with_gap == Counter(e for e, gap in reckoned if gap)


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
