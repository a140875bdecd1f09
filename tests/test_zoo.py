"""The store: trained once, found again, and the same bits after any interruption."""

import fcntl
import hashlib
import io
import itertools
import json
import math
import multiprocessing
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SIGNALS, forked

from geomem import disk, progress, reach
from geomem.diffusion import checkpoint, fitting, presets, zoo
from geomem.diffusion import train as training
from geomem.diffusion.checkpoint import CheckpointError
from geomem.diffusion.fitting import fit, train_or_load
from geomem.diffusion.network import ModelConfig
from geomem.diffusion.presets import ConfigError, DataConfig, Experiment, changed
from geomem.diffusion.train import TrainConfig, TrainingError, TrainState
from geomem.diffusion.zoo import load_model, models

ENDLESS = {"train.steps": 10**7, "train.checkpoint": 10**7, "train.snapshots": ()}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A file of 20 training and 5 held-out images of three classes."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("images") / "tiny.npz"
    pixels = rng.uniform(-1, 1, size=(25, 4, 4)).astype(np.float32)
    np.savez(path, images=pixels, labels=np.arange(25) % 3)
    return path


@pytest.fixture(scope="module")
def base(images):
    """An experiment of a second."""
    return Experiment(
        DataConfig(str(images)),
        TrainConfig(
            ModelConfig("mlp", width=8, blocks=1),
            steps=60,
            batch=8,
            checkpoint=20,
            snapshots=(0.25, 0.5),
            device="cpu",
        ),
    )


@pytest.fixture(scope="module")
def whole(base, tmp_path_factory):
    """That experiment, never interrupted."""
    return fit(base, root=tmp_path_factory.mktemp("whole"))


def tree(folder):
    """The bytes of every file of a model, but of those that its process keeps for itself."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    own = {"lock", "log", "experiment.json"}
    return {str(path): (folder / path).read_bytes() for path in paths if path.name not in own}


def assert_equal_to(model, whole):
    """Weights, losses and snapshots bit for bit, and nothing else left behind."""
    ours, theirs = tree(model.folder), tree(whole.folder)
    assert ours.keys() == theirs.keys()
    assert model.folder.name == whole.folder.name and model.facts == whole.facts
    for name in ours:
        if name != "model/record.json":  # it holds the seconds
            assert ours[name] == theirs[name], name
    np.testing.assert_array_equal(model.losses, whole.losses)


def steps_of(run):
    """Call ``run`` with a report, and list the steps that it saw."""
    steps = []
    return run(lambda record: steps.append(record.step)), steps


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


# Training once


def test_fit_is_the_training_alone(base, whole):
    data = base.data.load()
    config = base.train.for_images(data.train)
    state = TrainState(config)
    averages = {}
    for record in training.train(config, data.train, None, state):
        averages[record.step] = {k: v.clone() for k, v in state.ema.state_dict().items()}
    np.testing.assert_array_equal(whole.losses, state.losses)
    for share, step in ((0.25, 15), (0.5, 30), (1, 60)):
        denoiser = whole.at(share)
        for name, weight in denoiser.state_dict().items():
            assert torch.equal(weight, averages[step][name])
    with pytest.raises(ValueError, match=r"no snapshot at 0\.3.*0\.25, 0\.5, 1"):
        whole.at(0.3)
    assert not whole.denoise.training
    assert not any(p.requires_grad for p in whole.denoise.parameters())
    assert whole.experiment == replace(base, train=config)


def test_a_model_says_how_it_was_made(base, whole):
    record = whole.record
    assert changed(Experiment(), record["settings"]) == whole.experiment
    assert record["images"] == [20, 1, 4, 4]
    assert record["data_sha256"] == base.data.load().sha256
    assert record["steps_of_these_seconds"] == 60
    assert record["seconds"] >= 0
    assert record["device"] == "cpu"
    assert record["torch"] == torch.__version__
    content = (whole.folder / "model" / checkpoint.TENSORS).read_bytes()
    assert record["sha256"] == hashlib.sha256(content).hexdigest()
    assert whole.name == whole.folder.name
    assert whole.name.startswith("tiny.npz-20-mlp-")


def test_the_course_of_the_loss_shows_a_training_that_broke_down(whole):
    for losses, course in (
        (np.r_[np.full(10, 9.0), np.full(70, 2.0), np.full(4, 1.0)], (2, 1)),
        (np.r_[np.full(40, 1.0), np.full(40, 3.0)], (1, 3)),
        (np.array([7.0, 5.0]), (7, 5)),
    ):
        trained = replace(whole, losses=losses)
        assert trained.course() == course
        assert trained.broke_down == (course == (1, 3))


def test_a_finished_model_is_not_trained_again(base, whole):
    before = tree(whole.folder)
    again, steps = steps_of(lambda report: fit(base, root=whole.folder.parent, report=report))
    assert steps == []
    assert tree(whole.folder) == before
    assert_equal_to(again, whole)


def test_models_are_trained_once(base, whole, tmp_path, monkeypatch, capfd):
    """In two processes, of which one has two to train, with the bits of one trained here."""
    small, short = changed(base, {"data.n_train": 8}), changed(base, {"train.steps": 5})
    trained = train_or_load([small, base, short, base], root=tmp_path, jobs=2)
    assert_equal_to(trained[1], whole)
    assert [len(m.losses) for m in trained] == [60, 60, 5, 60]
    assert [m.record["images"][0] for m in trained] == [8, 20, 20, 20]
    assert trained[1].folder == trained[3].folder
    assert [s.folder for s in models(tmp_path)] == sorted(m.folder for m in trained[:3])
    assert all(s.state == "finished" for s in models(tmp_path))
    before = tree(tmp_path)
    monkeypatch.setattr(fitting, "_train", lambda *given: pytest.fail("trained again"))
    capfd.readouterr()
    again = train_or_load([base, small], root=tmp_path)
    assert [m.folder for m in again] == [trained[1].folder, trained[0].folder]
    assert tree(tmp_path) == before
    said, wrong = capfd.readouterr()
    assert wrong == "" and all(line.startswith("your file") for line in said.splitlines())


def test_a_model_that_another_process_trains_is_waited_for(base, whole, tmp_path):
    folder = tmp_path / whole.name
    folder.mkdir()
    found = []

    def ask():
        found.append(steps_of(lambda report: fit(base, root=tmp_path, report=report)))

    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        shutil.copytree(whole.folder, folder, dirs_exist_ok=True)
    thread.join(30)
    ((model, steps),) = found
    assert steps == []
    assert_equal_to(model, whole)


def test_the_store_is_where_it_is_said_to_be(base, whole, tmp_path, monkeypatch):
    data = base.data.load()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(zoo.STORE_VARIABLE, raising=False)
    assert zoo.Plan.of(base, data=data).folder == tmp_path / "models" / whole.name
    assert models() == []
    monkeypatch.setenv(zoo.STORE_VARIABLE, str(whole.folder.parent))
    assert zoo.Plan.of(base, data=data).folder == whole.folder
    assert load_model(whole.name).folder == whole.folder
    assert [(s.folder, s.state) for s in models()] == [(whole.folder, "finished")]
    assert zoo.Plan.of(base, tmp_path / "other", data).folder.parent == tmp_path / "other"


def test_a_model_of_classes_is_trained_on_the_labels(base, tmp_path):
    classed = changed(base, {"train.model.n_classes": 3, "train.steps": 5})
    model = fit(classed, root=tmp_path)
    x = torch.zeros(2, 1, 4, 4)
    assert not torch.equal(model.denoise.given(0)(x, 0.5), model.denoise.given(1)(x, 0.5))
    with pytest.raises(TrainingError, match="labels"):
        fit(changed(classed, {"train.model.n_classes": 2}), root=tmp_path)


def test_the_callers_threads_are_left_as_they_are(base, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        seen = []
        fit(
            changed(base, {"train.steps": 2}),
            root=tmp_path,
            report=lambda record: seen.append(torch.get_num_threads()),
        )
        assert seen == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# The key


def key(experiment):
    data = experiment.data.load()
    return zoo.key(experiment.train.for_images(data.train), data)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.device", "auto"),
        ("train.threads", 2),
        ("train.checkpoint", 7),
        ("train.compile", True),
        ("data.n_heldout", 2),
    ],
)
def test_what_changes_no_bit_changes_no_key(base, name, value):
    assert key(changed(base, {name: value})) == key(base)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.steps", 61),
        ("train.batch", 9),
        ("train.lr", 1e-3),
        ("train.warmup", 3),
        ("train.final_lr", 1.0),
        ("train.ema", 0.9),
        ("train.snapshots", ()),
        ("train.seed", 1),
        ("train.precision", "bfloat16"),
        ("train.noise.std", 1.0),
        ("train.noise.gap_high", 0.1),
        ("train.model.width", 16),
        ("train.model.blocks", 2),
        ("train.model.network", "unet"),
        ("train.model.sigma_data", 0.5),
        ("train.model.n_classes", 3),
        ("data.n_train", 19),
        ("data.seed", 0),
    ],
)
def test_what_makes_another_model_makes_another_key(base, name, value):
    assert key(changed(base, {name: value})) != key(base)


def test_where_models_are_kept_is_not_part_of_what_they_are():
    found = zoo.training_code().code
    assert not [name for name in found if name.startswith(("geomem.diffusion.zoo", "geomem.cli"))]


def test_one_pixel_or_one_label_that_is_used_makes_another_key(base):
    data, config = base.data.load(), base.train.for_images(base.data.load().train)
    train = data.train.copy()
    train[3, 0, 1, 2] = np.nextafter(train[3, 0, 1, 2], np.float32(0))
    assert zoo.key(config, replace(data, train=train)) != zoo.key(config, data)
    labels = data.labels._replace(train=data.labels.train[::-1].copy())
    swapped = replace(data, labels=labels)
    assert zoo.key(config, swapped) == zoo.key(config, data)
    classed = replace(config, model=replace(config.model, n_classes=3))
    assert zoo.key(classed, swapped) != zoo.key(classed, data)


def test_the_code_that_trains_is_in_the_key(base, monkeypatch):
    """As `geomem.reach` finds it, and the versions of what it stands on."""
    found = zoo.training_code()
    name = "geomem.diffusion.train.DIVERGED"
    assert name in found.code and "torch" in found.versions
    for other in (
        replace(found, code={**found.code, name: "another"}),
        replace(found, versions={**found.versions, "torch": "1.0"}),
    ):
        with monkeypatch.context() as patch:
            before = key(base)
            patch.setattr(zoo, "training_code", lambda other=other: other)
            assert key(base) != before


# Interruptions


@pytest.mark.parametrize("number", SIGNALS)
def test_ctrl_c_ends_the_step_and_the_next_call_goes_on_there(base, whole, tmp_path, number):
    handlers = [signal.getsignal(n) for n in SIGNALS]
    steps = []

    def report(record):
        steps.append(record.step)
        if record.step == 37:
            os.kill(os.getpid(), number)

    with pytest.raises(KeyboardInterrupt):
        fit(base, root=tmp_path, report=report)
    assert [signal.getsignal(n) for n in SIGNALS] == handlers
    (found,) = models(tmp_path)
    assert found.state == "stopped after step 37 of 60"
    with pytest.raises(CheckpointError, match="not finished"):
        load_model(found.folder)
    model, rest = steps_of(lambda report: fit(base, root=tmp_path, report=report))
    assert steps + rest == [*range(1, 61)]
    assert_equal_to(model, whole)
    assert model.record["steps_of_these_seconds"] == 23


def test_ctrl_c_keeps_all_of_a_stretch_of_steps_as_cuda_takes_them(base, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "HostDraws", training.DeviceDraws)
    monkeypatch.setattr(training.DeviceDraws, "every", 7)
    asked = []

    def report(record):
        asked.append(record.step)
        if record.step == 33:  # one stretch ends with the snapshot after step 30
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(base, root=tmp_path / "stopped", report=report)
    (found,) = models(tmp_path / "stopped")
    assert asked == [*range(1, 38)] and found.state == "stopped after step 37 of 60"
    whole = fit(base, root=tmp_path / "whole")
    assert_equal_to(fit(base, root=tmp_path / "stopped"), whole)


def test_under_nohup_a_closed_terminal_stops_nothing(base, whole, tmp_path):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    model = fit(base, root=tmp_path, report=lambda record: os.kill(os.getpid(), signal.SIGHUP))
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert_equal_to(model, whole)


@pytest.mark.parametrize("place", ["_average", "_check", "_loss"])
def test_a_second_ctrl_c_in_the_middle_of_a_step_saves_no_half_step(
    base, whole, tmp_path, monkeypatch, place
):
    original, calls = getattr(training, place), itertools.count(1)

    def interrupted(*arguments):
        if next(calls) == 37:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, place, interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(base, root=tmp_path)
    model, steps = steps_of(lambda report: fit(base, root=tmp_path, report=report))
    assert steps == [*range(21, 61)]  # from the checkpoint before
    assert_equal_to(model, whole)


def test_after_kill_9_the_next_call_goes_on_from_the_last_checkpoint(base, whole, tmp_path):
    def report(record):
        if record.step == 57:
            os.kill(os.getpid(), signal.SIGKILL)

    process = forked(lambda: fit(base, root=tmp_path, report=report))
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (found,) = models(tmp_path)
    assert (found.folder.name, found.state) == (whole.name, "stopped after step 40 of 60")
    model, steps = steps_of(lambda report: fit(base, root=tmp_path, report=report))
    assert steps == [*range(41, 61)]
    assert_equal_to(model, whole)


def flip(folder):
    """One bit of the weights."""
    file = folder / checkpoint.TENSORS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def truncate(folder):
    file = folder / checkpoint.TENSORS
    file.write_bytes(file.read_bytes()[:500])


def edit_record(folder):
    """Say another thing, in the same JSON."""
    file = folder / checkpoint.RECORD
    file.write_text(json.dumps({**json.loads(file.read_text()), "device": "abacus"}))


def drop_record(folder):
    (folder / checkpoint.RECORD).unlink()


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def put_nan(folder):
    """Weights that are no numbers, with every hash right."""
    tensors, record = checkpoint.read(folder)
    name = next(n for n, t in tensors.items() if t.ndim > 1)
    tensors[name][0] = torch.nan
    checkpoint.write(folder, tensors, record)


def put_infinite(folder):
    tensors, record = checkpoint.read(folder)
    name = next(n for n, t in tensors.items() if t.ndim > 1)
    tensors[name][-1] = -torch.inf
    checkpoint.write(folder, tensors, record)


def of_another_key(folder):
    """Whole, of the same shapes, and another model's."""
    tensors, record = checkpoint.read(folder)
    part = record["of"].partition("/")[2]
    checkpoint.write(folder, tensors, {**record, "of": f"{'0' * 12}/{part}"})


def of_another_step(folder):
    """This model's own, at another time."""
    tensors, record = checkpoint.read(folder)
    checkpoint.write(folder, tensors, {**record, "of": f"{record['of']}9"})


def pickled(folder):
    torch.save({"a": torch.ones(2)}, folder / checkpoint.TENSORS)


DAMAGE = [
    flip,
    truncate,
    edit_record,
    drop_record,
    empty,
    put_nan,
    put_infinite,
    of_another_key,
    of_another_step,
    pickled,
]
EACH_DAMAGE = pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)


@pytest.fixture(scope="module")
def stopped_once(base, tmp_path_factory):
    """That experiment, stopped after step 50: with both snapshots and checkpoints 40 and 50."""
    root = tmp_path_factory.mktemp("stopped")

    def stop(record):
        if record.step == 50:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        fit(base, root=root, report=stop)
    return root


@pytest.fixture
def stopped(stopped_once, tmp_path):
    return Path(shutil.copytree(stopped_once, tmp_path / "store"))


@EACH_DAMAGE
def test_a_training_goes_on_from_the_newest_whole_checkpoint(base, whole, stopped, damage):
    folder = stopped / whole.name
    assert [path.name for path in sorted((folder / "checkpoints").iterdir())] == [
        "step-00000040",
        "step-00000050",
    ]
    damage(folder / "checkpoints" / "step-00000050")
    here = zoo.stored(folder, whole.experiment)
    assert (here.step, [*here.faults]) == (40, ["checkpoints/step-00000050"])
    model, steps = steps_of(lambda report: fit(base, root=stopped, report=report))
    assert steps == [*range(41, 61)]
    assert_equal_to(model, whole)


@pytest.mark.parametrize(
    ("damaged", "first"),
    [
        (["step-00000030"], 1),  # a snapshot that only an earlier checkpoint could make again
        (["step-00000015", "checkpoints/step-00000050"], 1),
        (["checkpoints/step-00000040"], 51),
        (["checkpoints/step-00000040", "checkpoints/step-00000050"], 1),
        (["checkpoints/step-00000050"], 41),
    ],
)
def test_nothing_that_is_damaged_or_missing_stays_so(base, whole, stopped, damaged, first):
    for part in damaged:
        flip(stopped / whole.name / part)
    model, steps = steps_of(lambda report: fit(base, root=stopped, report=report))
    assert steps == [*range(first, 61)]
    assert_equal_to(model, whole)


@EACH_DAMAGE
@pytest.mark.parametrize("part", ["model", "step-00000015"])
def test_a_finished_model_that_is_damaged_is_refused_and_can_be_mended(
    base, whole, tmp_path, part, damage, monkeypatch
):
    folder = Path(shutil.copytree(whole.folder, tmp_path / whole.name))
    damage(folder / part)
    with pytest.raises(CheckpointError) as refused:
        load_model(folder).at(0.25)
    assert "\n" not in str(refused.value) and str(folder) in str(refused.value)
    here = zoo.stored(folder, whole.experiment)
    assert (here.finished, here.step, [*here.faults]) == (False, 0, [part])
    assert_equal_to(fit(base, root=tmp_path), whole)
    if damage is not flip:
        return  # what follows is the same whatever the damage was
    shutil.rmtree(folder / part)  # as the line says, and then as a notebook does
    monkeypatch.setenv(progress.RUN_VARIABLE, str(tmp_path / "run.json"))
    assert_equal_to(*train_or_load([base], root=tmp_path), whole)


def test_images_that_a_network_cannot_take_are_one_line(rng):
    images = SimpleNamespace(train=rng.normal(size=(4, 1, 50, 50)), name="photos")
    small = presets.experiment("fashion-unet-small")
    asks = partial(zoo.Plan.of, small, data=images), partial(presets.dummy, small, images.train)
    for ask in asks:
        with pytest.raises(ConfigError, match="size 50 do not divide by 4"):
            ask()


def test_weights_of_another_model_are_refused_wherever_they_lie(base, whole, tmp_path):
    other = fit(changed(base, {"train.seed": 1}), root=tmp_path)
    for part in ("model", "step-00000015"):
        folder = Path(shutil.copytree(whole.folder, tmp_path / whole.name, dirs_exist_ok=True))
        shutil.rmtree(folder / part)
        shutil.copytree(other.folder / part, folder / part)
        with pytest.raises(CheckpointError, match="if it was renamed, or delete"):
            load_model(folder).at(0.25)
    swapped = Path(shutil.copytree(other.folder, tmp_path / whole.name, dirs_exist_ok=True))
    with pytest.raises(CheckpointError, match="if it was renamed, or delete"):
        load_model(swapped)
    renamed = Path(shutil.copytree(other.folder, tmp_path / "best"))
    with pytest.raises(CheckpointError, match=f"of {other.name.rpartition('-')[2]}/model, .* back"):
        load_model(renamed)
    shutil.copytree(whole.folder, tmp_path / whole.name, dirs_exist_ok=True)
    one, two = (folder / f"step-000000{n}" for n in (15, 30))
    for source, target in ((one, tmp_path / "aside"), (two, one), (tmp_path / "aside", two)):
        source.rename(target)
    for share in (0.25, 0.5):
        with pytest.raises(CheckpointError, match="if it was renamed, or delete"):
            load_model(folder).at(share)


@pytest.mark.parametrize("kind", [Path.mkdir, Path.touch], ids=["folder", "file"])
@pytest.mark.parametrize(
    "stray",
    ["step-", "step-00000099 copy", "step-٣٣٣٣٣٣٣٣", "step-7", "step-000000050", "notes", ".part"],
)
def test_what_else_lies_among_the_checkpoints_is_left_alone(base, whole, stopped, stray, kind):
    folder = stopped / whole.name
    kind(folder / "checkpoints" / stray)
    assert [(s.step, s.faults) for s in models(stopped)] == [(50, {})]
    model, steps = steps_of(lambda report: fit(base, root=stopped, report=report))
    assert steps == [*range(51, 61)]
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [stray]
    np.testing.assert_array_equal(model.losses, whole.losses)


@pytest.mark.parametrize(
    ("machine", "locks", "days", "stays"),
    [
        (socket.gethostname(), True, 0, False),
        (socket.gethostname(), False, 0, True),  # by one that may be at work still
        ("elsewhere", True, 0, True),
        (f"{socket.gethostname()}-2", True, 0, True),
        ("elsewhere", True, 2, False),
        ("elsewhere", False, 2, False),
    ],
)
def test_what_a_killed_process_left_half_written_goes(
    base, whole, stopped, monkeypatch, machine, locks, days, stays
):
    folder = stopped / whole.name
    left = folder / f"{zoo.OWN}{machine}-abc"
    (left / "model").mkdir(parents=True)
    (left / "model" / "tensors.safetensors").write_bytes(b"half")
    os.utime(left, 2 * (time.time() - days * 86400,))
    if not locks:
        monkeypatch.setattr(zoo, "acquire", lambda lock, blocking=True: False)
    fit(base, root=stopped)
    assert [*folder.glob(f"{zoo.OWN}*")] == [left] * stays
    np.testing.assert_array_equal(load_model(folder).losses, whole.losses)


# Disks whose locks do not hold


@pytest.mark.parametrize("number", sorted(zoo.NO_LOCKS))
def test_a_disk_that_has_no_locks_needs_none(base, whole, tmp_path, monkeypatch, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        assert_equal_to(fit(base, root=tmp_path), whole)
        assert not models(tmp_path)[0].running
    assert_equal_to(fit(base, root=tmp_path, restart=True), whole)


def test_without_a_lock_trainings_of_one_model_at_once_all_end_well(
    base, whole, tmp_path, monkeypatch
):
    """They save after each step, side by side; one comes later and goes on from theirs."""
    monkeypatch.setattr(zoo, "acquire", lambda lock, blocking=True: False)
    often = changed(base, {"train.checkpoint": 1})
    meet = multiprocessing.get_context("fork").Barrier(2)
    begun = []

    def together(record):
        if not begun:
            meet.wait(60)
        begun.append(record.step)

    trainings = [forked(lambda: fit(often, root=tmp_path, report=together)) for _ in range(2)]
    wait_for(lambda: [*tmp_path.glob("*/checkpoints/step-*"), *tmp_path.glob("*/model")])
    trainings.append(forked(lambda: fit(often, root=tmp_path)))
    for process in trainings:
        process.join(120)
    assert [process.exitcode for process in trainings] == [0, 0, 0]
    (found,) = models(tmp_path)
    assert zoo.stored(found.folder, whole.experiment).faults == {}
    for left in found.folder.glob("checkpoints/*"):  # of one that was slower than the first
        shutil.rmtree(left)
    assert_equal_to(load_model(found.folder), whole)


def test_a_checkpoint_that_is_dropped_before_it_is_read_is_no_harm(
    base, whole, stopped, monkeypatch
):
    def dropped(state, folder, step, load=zoo.load_checkpoint):
        zoo.drop_checkpoints(folder)
        load(state, folder, step)

    monkeypatch.setattr(zoo, "load_checkpoint", dropped)
    assert_equal_to(fit(base, root=stopped), whole)


def test_a_training_that_ends_in_no_numbers_is_no_model(base, tmp_path, monkeypatch):
    def ruin(ema, model, decay):
        next(ema.parameters()).fill_(torch.inf)

    monkeypatch.setattr(training, "_average", ruin)
    with pytest.raises(TrainingError, match="not finite"):
        fit(changed(base, {"train.snapshots": ()}), root=tmp_path)
    assert not any(found.finished for found in models(tmp_path))


def test_memory_that_there_is_not_is_said_before_a_training_begins(base, tmp_path, monkeypatch):
    monkeypatch.setattr("geomem.diffusion.cost.memory", lambda: 1e9)
    for change in ({"train.batch": 10**9}, {"train.model.width": 10**5}):
        with pytest.raises(TrainingError, match=r"take at least .* of memory"):
            fit(changed(base, change), root=tmp_path)
    assert models(tmp_path) == []


def test_divergence_keeps_the_state_before_it(base, tmp_path):
    with pytest.raises(TrainingError, match=r"stopped in step \d+"):
        fit(changed(base, {"train.lr": 1e6}), root=tmp_path)
    (found,) = models(tmp_path)
    (kept,) = (found.folder / "checkpoints").iterdir()
    tensors, record = checkpoint.read(kept)
    assert found.step == record["step"]
    assert torch.isfinite(tensors["losses"]).all()
    assert len(tensors["losses"]) == record["step"] > 0


def test_an_error_while_saving_leaves_the_checkpoint_before(base, whole, tmp_path, monkeypatch):
    rename = Path.rename

    def full(path, target):
        if path.name == f".step-00000040{disk.NEW}":
            raise OSError(28, "No space left on device")
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(OSError, match="No space"):
            fit(base, root=tmp_path)
    model, steps = steps_of(lambda report: fit(base, root=tmp_path, report=report))
    assert steps == [*range(21, 61)]
    assert_equal_to(model, whole)


WORK = "from geomem.diffusion.fitting import _work; _work()"


def begun(experiment, root):
    """The folder of a model that a worker is about to train."""
    folder = zoo.Plan.of(experiment, root).folder
    zoo.begin(folder, experiment)
    return folder


def test_in_a_run_of_the_book_what_takes_seconds_is_trained_at_once(
    base, whole, tmp_path, monkeypatch
):
    """But not with other code than that on disk, and not where somebody else asks."""
    monkeypatch.setattr(fitting, "_side_by_side", lambda todo, jobs: pytest.fail("others asked"))
    monkeypatch.setattr(reach, "BEGUN", math.inf)
    monkeypatch.setenv(progress.RUN_VARIABLE, str(tmp_path / "run.json"))
    short, bad = changed(base, {"train.steps": 5}), changed(base, {"train.lr": 1e6})
    trained = train_or_load([short, base], root=tmp_path)
    assert len(trained[0].losses) == 5
    assert_equal_to(trained[1], whole)
    with pytest.raises(TrainingError, match=r"^tiny\.npz-20-mlp-\w+: training stopped in step"):
        train_or_load([base, bad], root=tmp_path)
    others = pytest.raises(pytest.fail.Exception, match="others asked")
    compiled = changed(base, {"train.compile": True, "train.seed": 1})
    for one, jobs in ((compiled, None), (bad, 1)):
        with others:
            train_or_load([one], root=tmp_path, jobs=jobs)
    with monkeypatch.context() as patch, others:
        patch.setattr(reach, "BEGUN", 0.0)
        train_or_load([bad], root=tmp_path)
    monkeypatch.delenv(progress.RUN_VARIABLE)
    with others:
        train_or_load([bad], root=tmp_path)


@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
def test_workers_stop_with_whoever_asked_for_them(base, tmp_path, how):
    """Ctrl-C reaches a whole group of processes, kill -9 the parent alone."""
    endless = changed(base, ENDLESS)

    def ask():
        os.setsid()
        train_or_load([endless], root=tmp_path)

    def start():
        os.setsid()
        command = [sys.executable, "-c", WORK, str(os.getpid()), str(folder)]
        subprocess.Popen(command, stderr=subprocess.DEVNULL).wait()

    folder = begun(endless, tmp_path)
    parent = forked(ask if how == "Ctrl-C" else start)
    try:
        wait_for(lambda: (folder / "progress").exists())
        (found,) = models(tmp_path)
        assert (found.running, found.step) == (True, 0)
        if how == "Ctrl-C":
            os.killpg(parent.pid, signal.SIGINT)
            parent.join(60)
            assert parent.exitcode
    finally:
        parent.kill()
    wait_for(lambda: not models(tmp_path)[0].running)
    parent.join()
    (kept,) = (found.folder / "checkpoints").iterdir()
    data = base.data.load()
    saved, same = (TrainState(endless.train.for_images(data.train)) for _ in range(2))
    saved.load(kept)
    for _ in itertools.islice(training.train(saved.config, data.train, None, same), saved.step):
        pass
    assert same.losses == saved.losses
    for ours, theirs in ((saved.model, same.model), (saved.ema, same.ema)):
        weights = theirs.state_dict()
        assert all(torch.equal(w, weights[name]) for name, w in ours.state_dict().items())


def test_a_worker_whose_parent_died_before_it_began_stops(base, tmp_path, monkeypatch):
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setattr(sys, "argv", ["-c", str(gone.pid), str(begun(base, tmp_path))])
    worker = forked(fitting._work)  # it ends its process
    worker.join(60)
    assert worker.exitcode in (-signal.SIGTERM, 130)
    (left,) = models(tmp_path)
    assert not left.running and not left.finished


def test_a_worker_that_fails_leaves_one_line(base, tmp_path, monkeypatch):
    bad = changed(base, {"train.lr": 1e6})
    monkeypatch.setattr(sys, "argv", ["-c", str(os.getppid()), str(begun(bad, tmp_path))])
    with pytest.raises(SystemExit) as end:
        fitting._work()
    assert end.value.code.startswith("training stopped in step")
    assert len(end.value.code.splitlines()) == 1


def test_the_last_line_of_a_worker_that_failed_is_the_error(base, tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho a warning >&2\necho training stopped: $2 >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    says = rf"tiny\.npz-20-mlp-\w+: training stopped: {re.escape(WORK)}$"
    with pytest.raises(TrainingError, match=says):
        train_or_load([base], root=tmp_path / "store")
    (found,) = models(tmp_path / "store")
    assert (found.state, found.running) == ("not begun", False)


# Side by side, with processes that only pretend


class Pretended:
    """A process that ends after some polls, with an exit code."""

    def __init__(self, polls, code, running):
        self.polls, self.code, self.running, self.asked = polls, code, running, False
        self.returncode = None
        running.add(self)

    def poll(self):
        self.polls -= 1
        if self.polls <= 0 and self.returncode is None:
            self.end(self.code)
        return self.returncode

    def end(self, code):
        self.returncode = code
        self.running.discard(self)

    def terminate(self):
        self.asked = True
        self.end(130)

    def wait(self):
        assert self.returncode is not None, "waited for a process that was not asked to stop"


@pytest.fixture
def pretend(base, tmp_path, monkeypatch):
    """Run `_side_by_side` on n models and processes of (polls, exit code); what they did."""
    running, started, shares = set(), [], []

    def run(n, jobs, *ends, log=""):
        todo = {tmp_path / f"m{i}": base for i in range(n)}

        def start(share):
            for folder in share:
                folder.mkdir()
            (next(iter(share)) / "log").write_text(log)
            started.append(Pretended(*ends[len(started)], running))
            shares.append([folder.name for folder in share])
            return started[-1]

        monkeypatch.setattr(fitting, "_start", start)
        monkeypatch.setattr(fitting, "PROGRESS_SECONDS", 0)
        fitting._side_by_side(todo, jobs)

    run.started, run.shares = started, shares
    return run


@pytest.mark.parametrize("jobs", [1, 2, 3, 9])
def test_models_are_dealt_out_to_as_many_processes_as_jobs(pretend, jobs):
    pretend(5, jobs, *[(polls, 0) for polls in (3, 1, 4, 1, 5)])
    assert len(pretend.started) == min(jobs, 5)
    assert sorted(itertools.chain(*pretend.shares)) == [f"m{i}" for i in range(5)]
    sizes = [len(share) for share in pretend.shares]
    assert max(sizes) - min(sizes) <= 1
    assert all(process.returncode == 0 and not process.asked for process in pretend.started)


def test_when_one_fails_the_others_are_asked_to_stop(pretend):
    log = "a warning\ntraining stopped in step 3: loss nan\n"
    with pytest.raises(TrainingError, match=r"^m1: training stopped in step 3: loss nan$"):
        pretend(3, 2, (99, 0), (2, 1), log=log)
    first, failed = pretend.started
    assert (first.asked, failed.asked) == (True, False)


@pytest.mark.parametrize("log", ["", "a warning of an hour ago\n"])
def test_a_worker_that_was_killed_is_called_that(pretend, log):
    with pytest.raises(TrainingError, match=r"^m0: killed$"):
        pretend(1, 1, (1, -signal.SIGKILL), log=log)


@pytest.mark.parametrize(("threads", "jobs"), [(1, 6), (2, 3), (4, 1), (99, 1)])
def test_by_default_the_cores_are_shared_out(base, tmp_path, monkeypatch, threads, jobs):
    asked = []

    def note(todo, jobs):
        asked.append(jobs)
        raise TrainingError("enough")

    monkeypatch.setattr(fitting, "_side_by_side", note)
    monkeypatch.setattr(fitting.os, "cpu_count", lambda: 6)
    for given in (None, 5):
        with pytest.raises(TrainingError, match="enough"):
            train_or_load([changed(base, {"train.threads": threads})], root=tmp_path, jobs=given)
    assert asked == [jobs, 5]


# Finding


@pytest.fixture
def shelf(whole, tmp_path):
    """A store with the model under three names, and one that is not finished."""
    key = whole.name.rpartition("-")[2]
    for name in (f"digits-64-mlp-{key}", f"digits-65-mlp-{key}", f"cars-9-unet-{key}"):
        shutil.copytree(whole.folder, tmp_path / name)
    part = tmp_path / "half-1-mlp-dd" / "checkpoints" / "step-00000020"
    checkpoint.write(part, {}, {"of": "dd/checkpoints/step-00000020"})
    (tmp_path / "bare-1-mlp-ee").mkdir()
    return tmp_path


def test_a_model_is_found_by_its_name_the_start_of_it_or_its_folder(shelf, whole):
    (cars,) = shelf.glob("cars-9-unet-*")
    for name in (cars.name, "cars", "c", cars):
        model = load_model(name, shelf)
        assert model.name == cars.name
        np.testing.assert_array_equal(model.losses, whole.losses)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("digits", "2 models of the name 'digits'.*digits-64-mlp-.*, digits-65-mlp-"),
        ("boats", "no models of the name 'boats'.*cars-9-unet-"),
        ("half", "half-1-mlp-dd: not finished"),
        ("bare", "bare-1-mlp-ee: not finished"),
    ],
)
def test_what_is_not_one_finished_model_is_refused(shelf, name, says):
    with pytest.raises(CheckpointError, match=says):
        load_model(name, shelf)


def test_an_empty_store_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="none yet"):
        load_model("digits", tmp_path)
    assert models(tmp_path / "nowhere") == []


def test_a_file_and_a_damaged_model_are_refused(shelf, images):
    with pytest.raises(CheckpointError, match="not the folder of a model"):
        load_model(images)
    (cars,) = shelf.glob("cars-9-unet-*")
    (cars / "model" / checkpoint.TENSORS).write_bytes(b"")
    with pytest.raises(CheckpointError, match=rf"{cars}/model: damaged.*delete"):
        load_model("cars", shelf)


def test_the_states_of_a_store(shelf, whole):
    key = whole.name.rpartition("-")[2]
    found = {s.folder.name: s for s in models(shelf)}
    assert {name: (s.state, s.step) for name, s in found.items()} == {
        "bare-1-mlp-ee": ("not begun", 0),
        f"cars-9-unet-{key}": ("finished", 60),
        f"digits-64-mlp-{key}": ("finished", 60),
        f"digits-65-mlp-{key}": ("finished", 60),
        "half-1-mlp-dd": ("stopped after step 20", 20),
    }
    done, bare = found[f"cars-9-unet-{key}"], found["bare-1-mlp-ee"]
    assert (done.experiment, done.record) == (whole.experiment, whole.record)
    assert (bare.experiment, bare.record) == (None, {})
    with (shelf / "bare-1-mlp-ee" / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert {s.folder.name for s in models(shelf) if s.running} == {"bare-1-mlp-ee"}
        assert zoo.stored(bare.folder).state.startswith("in training")


def test_who_only_looks_at_a_model_does_not_train_it(tmp_path, monkeypatch):
    """Two that look at once: each takes the lock for an instant."""
    (tmp_path / "lock").touch()
    monkeypatch.setattr(zoo, "LOOKS", 5.0)
    with (tmp_path / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        threading.Timer(0.1, fcntl.flock, (handle, fcntl.LOCK_UN)).start()
        assert not zoo._busy(tmp_path)
        fcntl.flock(handle, fcntl.LOCK_EX)
        monkeypatch.setattr(zoo, "LOOKS", 0.05)
        assert zoo._busy(tmp_path)


def test_a_link_to_a_model_is_another_name_of_it(whole, tmp_path):
    store, elsewhere = tmp_path / "store", tmp_path / "elsewhere" / whole.name
    shutil.copytree(whole.folder, elsewhere)
    store.mkdir()
    for name in ("best", "paper"):
        (store / name).symlink_to(elsewhere)
    (store / "gone").symlink_to(tmp_path / "nowhere")
    ((folder, state),) = [(s.folder, s.state) for s in models(store)]
    assert (folder, state) == (elsewhere, "finished")
    for name in ("best", "paper", whole.name, whole.name[:8]):
        assert load_model(name, store).folder == elsewhere


def test_beginning_anew_forgets_what_was(base, whole, tmp_path):
    folder = tmp_path / whole.name
    shutil.copytree(whole.folder, folder)
    (folder / "checkpoints" / "step-00000040").mkdir(parents=True)  # damaged: nothing in it
    model, steps = steps_of(lambda report: fit(base, root=tmp_path, restart=True, report=report))
    assert steps == [*range(1, 61)]
    assert_equal_to(model, whole)


def test_a_denoiser_computes_where_the_caller_asked(base, whole, monkeypatch):
    """Not where the model was trained, nor wherever there is a better place."""
    assert (whole.device, load_model(whole.folder).device) == ("cpu", "auto")
    asked = []
    monkeypatch.setattr(zoo, "device_of", lambda name: asked.append(name) or "cpu")
    load_model(whole.folder, device="cuda").at(0.5)
    (loaded,) = train_or_load([base], root=whole.folder.parent)
    assert loaded.denoise is loaded.at(1)
    assert asked == ["cuda", "cpu"]


# Progress bars


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Cell(io.StringIO):
    """As the standard error of a notebook."""


Cell.__module__ = "ipykernel.iostream"


def move():
    bar = progress.bar(3, "name", "step")
    for _ in range(3):
        bar.update()
    bar.set_postfix_str("loss 1")
    bar.close()


def test_a_bar_shows_on_a_terminal_or_in_a_notebook_and_nowhere_else(monkeypatch):
    monkeypatch.delenv(progress.RUN_VARIABLE, raising=False)
    for stream, shown in ((Terminal(), True), (Cell(), True), (io.StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        move()
        assert ("name" in stream.getvalue() and "3/3" in stream.getvalue()) is shown
        assert (stream.getvalue() == "") is not shown
    monkeypatch.setattr(sys, "stderr", None)
    move()


@pytest.mark.parametrize("has_terminal", [True, False])
def test_in_a_run_of_the_book_a_bar_never_writes_to_the_notebook(
    monkeypatch, tmp_path, has_terminal
):
    # A kernel has no terminal of its own: it is told the one from which the book is made.
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    state = {"terminal": os.ttyname(terminal), "slot": 1, "slots": 2} if has_terminal else {}
    (tmp_path / "run.json").write_text(json.dumps(state))
    monkeypatch.setenv(progress.RUN_VARIABLE, str(tmp_path / "run.json"))
    for stream in (Terminal(), Cell()):
        monkeypatch.setattr(sys, "stderr", stream)
        move()
        assert stream.getvalue() == ""
    seen = b""
    while b"3/3" not in seen and select.select([ours], [], [], 10 if has_terminal else 0.1)[0]:
        seen += os.read(ours, 10_000)  # a terminal passes on in pieces, when it likes
    assert (b"3/3" in seen) is has_terminal and bool(seen) is has_terminal
    if has_terminal:  # every second line, below one for each notebook
        assert progress.bar(3, "name", "step").pos == -3
        assert progress.bar(3, "name", "step", 2).pos == -7
        progress._opened(state["terminal"]).close()
        progress._opened.cache_clear()
    os.close(terminal)
    os.close(ours)


def test_nothing_is_said_where_nobody_looks(capfd, monkeypatch):
    monkeypatch.delenv(progress.RUN_VARIABLE, raising=False)
    move()
    assert capfd.readouterr() == ("", "")
