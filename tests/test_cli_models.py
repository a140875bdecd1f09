"""The verbs that make and use models: what they do is what the library does, and they resume."""

import fcntl
import io
import itertools
import os
import re
import shlex
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import fill, forked
from PIL import Image
from test_cli import failing
from tqdm import tqdm

from geomem.cli import audit as auditing
from geomem.cli import models as verbs
from geomem.cli import samples
from geomem.cli.main import main, torchrun
from geomem.cli.samples import training_images
from geomem.data import named
from geomem.data.sets import load_dataset
from geomem.diffusion import fitting, zoo
from geomem.diffusion.cost import parameters
from geomem.diffusion.noise import karras_sigmas
from geomem.diffusion.presets import experiment
from geomem.diffusion.sampler import sample
from geomem.diffusion.train import Record, TrainConfig
from geomem.digitized.stated import SWAP_STEPS
from geomem.geometry.intervals import Fraction, paired_difference
from geomem.geometry.window import Window
from geomem.machine import in_time
from geomem.memorization.ratio_test import Neighbours, memorized_fraction, neighbours
from geomem.memorization.swaps import swap

FAR = ("-1e300", "-.3e9", "-inf")  # values, and no options
SMALL = {"train.steps": "60", "train.batch": "16", "train.model.width": "16"}


def words(**changes):
    """The command that trains a small model."""
    sets = [("--set", *change) for change in {**SMALL, **changes}.items()]
    return ["train", "digits-mlp-small", *itertools.chain(*sets)]


def fit(root, report=lambda record: None, **changes):
    return fitting.fit(
        experiment("digits-mlp-small", {**SMALL, **changes}), root=root, report=report
    )


def weights(folder):
    return (folder / "model" / "tensors.safetensors").read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished model in a store of its own."""
    return fit(tmp_path_factory.mktemp("made"))


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An empty store, and an empty folder to work in."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(zoo.STORE_VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def filled(models, made, monkeypatch):
    """A store that holds the finished model."""
    monkeypatch.setenv(zoo.STORE_VARIABLE, str(made.folder.parent))
    return made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nope"], "presets: digits-mlp-small, digits-mlp-large"),
        (["train", "digits-mlp-small", "--set", "steps", "3"], "known: data.name"),
        (["train", "digits-mlp-small", "--set", "train.steps", "ten"], "not of type int"),
        (["train", "digits-mlp-small", "--set", "train.steps", "0"], "lie in [1, 1e9]"),
        (["train", "digits-mlp-small", "--set", "train.batch", "1000000000"], "take at least"),
        (["train", "digits-mlp-small", "--set", "data.name", "nope"], "unknown data set"),
        (["train", "digits-mlp-small", "--set", "data.n_train", "0"], "lie in [1, inf)"),
        (["train", "digits-unet-small", "--set", "train.model.patch", "16"], "do not divide"),
        (["train", "digits-mlp-small", "--set", "train.model.n_classes", "3"], "3 classes"),
        (["train", "digits-mlp-small", "--dry-run", "--set", "train.batch", "0"], "lie in [1,"),
        *[(["train", "digits-mlp-small", "--set", "train.noise.mean", v], "-20, 20") for v in FAR],
        (["sample", "nope"], "none yet"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys, models):
    code, error = failing(arguments, capsys)
    assert code == 2 and message in error
    assert not [found for found in zoo.models(models) if found.finished or found.step]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "0"], "-n must be at least 1"),
        (["-n", "1000000000000"], "1,000,000,000,000 samples of 1x8x8 would take 1.02e+03 TB"),
        (["--seed", "-1"], "--seed at least 0"),
        (["--label", "3"], "takes none"),
        (["--out", "images.gif"], ".npz or .png"),
        (["--out", "nowhere/images.npz"], "no folder"),
    ],
)
def test_bad_samples_are_refused_before_any_is_drawn(arguments, message, capsys, filled):
    code, error = failing(["sample", filled.name, *arguments], capsys)
    assert code == 2 and message in error and not [*Path().iterdir()]


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks for CUDA where there is none")
def test_a_device_that_is_not_there_is_one_line(capsys, filled):
    for arguments in (
        ["sample", filled.name, "--device", "cuda"],
        words(**{"train.device": "cuda"}),
    ):
        code, error = failing(arguments, capsys)
        assert code == 2 and "no CUDA device" in error


def test_a_training_that_diverges_is_one_line_and_exit_code_1(capsys, models):
    for again in ([], ["--resume"]):
        code, error = failing([*words(**{"train.lr": "1000"}), *again], capsys)
        assert code == 1 and "stopped in step" in error


def test_training_is_the_librarys_and_says_what_it_does(models, made, capsys):
    main(["models"])
    assert f"no models in {Path('..', 'models')} yet" in capsys.readouterr().out
    main(words())
    out = capsys.readouterr().out
    network = sum(weight.numel() for weight in made.denoise.parameters())
    for fact in (made.name, f"{network:,} parameters", "N = 64", "steps 1 to 60, 16 images each"):
        assert fact in out
    assert weights(models / made.name) == weights(made.folder)
    main(words())
    out = capsys.readouterr().out
    assert out == f"trained already: {Path('..', 'models', made.name)}\n"
    main(["models"])
    out = capsys.readouterr().out
    for fact in (f"{made.name}: finished", f"{network:,} param", "N = 64 of", "60 steps of 16"):
        assert fact in out


def test_no_two_models_of_a_store_look_the_same_but_for_their_hash(models, capsys, rng):
    """Any two configs that differ, in whatever it is, among others that differ likewise."""
    values = {
        "data.seed": [None, 0, 1],
        "data.size": [None, 8],
        "data.classes": [None, "3"],
        "train.seed": [0, 7],
        "train.steps": [60, 61],
        "train.lr": [0.002, 0.0020001],
        "train.snapshots": [(), (0.5,)],
        "train.noise.mean": [-1.2, -1.20001],  # measured, or given
        "train.model.sigma_data": [0.5, 0.6],
        "train.noise.gap_low": [0.0, 0.5],
        "train.noise.gap_keep": [0.0, 0.1],
    }
    images = {"channels": 1, "size": 8, "mean": 0.0}
    known = {f"train.model.{name}": value for name, value in images.items()}
    made = {}
    for i in range(200):
        some = rng.choice([*values], rng.integers(0, 6), replace=False)
        changes = {"train.noise.mean": -1.2, "train.model.sigma_data": 0.5}
        changes |= {name: values[name][rng.integers(len(values[name]))] for name in some}
        chosen = experiment("digits-mlp-small", {**known, "train.noise.gap_high": 0.9, **changes})
        made.setdefault(chosen, models / f"{rng.choice(['a-64', 'b-64'])}-mlp-{i:012x}")
    for chosen, folder in made.items():
        zoo.begin(folder, chosen)
    main(["models"])
    rows = re.split(r"^(?=\w-64)", capsys.readouterr().out, flags=re.M)[1:]
    assert len(rows) == len(made) > 60
    assert len({re.sub(r"-[0-9a-f]{12}:", ":", row) for row in rows}) == len(rows)


def test_a_half_trained_model_needs_resume_or_restart(models, made, capsys):
    class Stop(Exception):
        pass

    def stop(record):
        if record.step == 30:
            raise Stop

    for option, first in (("--resume", 21), ("--restart", 1)):
        with pytest.raises(Stop):
            fit(models, stop, **{"train.checkpoint": 20})
        code, error = failing(words(), capsys)
        assert code == 2 and "step 20 of 60" in error
        assert "--resume" in error and "--restart" in error
        main([*words(), option])
        assert f"steps {first} to 60" in capsys.readouterr().out
        assert weights(models / made.name) == weights(made.folder)
        shutil.rmtree(models)
    main([*words(), "--resume"])  # of nothing: a job that is started again and again
    assert weights(models / made.name) == weights(made.folder)
    (models / made.name / "model" / "tensors.safetensors").write_bytes(b"")
    main([*words(), "--restart"])  # of what is finished, if that is asked for
    assert weights(models / made.name) == weights(made.folder)


@pytest.mark.parametrize("damaged", ["model", "step-00000030"])
def test_trained_already_is_said_of_a_whole_model_alone(damaged, models, capsys):
    changes = {"train.snapshots": "0.5"}
    made = fit(models, **changes)
    before = weights(made.folder)
    file = made.folder / damaged / "tensors.safetensors"
    for option in ("--resume", "--restart"):
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        code, error = failing(words(**changes), capsys)
        assert code == 2 and f"{damaged} is damaged" in error and option in error
        main([*words(**changes), option])
        assert f"{damaged} is not used: it is damaged" in capsys.readouterr().out
        assert weights(made.folder) == before
        main(words(**changes))
        assert "trained already" in capsys.readouterr().out
    (made.folder / damaged / "record.json").write_text("[]")
    main(["models"])
    assert f"{made.name}: {damaged} is not a state" in capsys.readouterr().out


def test_resume_says_which_checkpoint_it_goes_on_from(models, made, capsys):
    def stop(record):
        if record.step == 45:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(models, stop, **{"train.checkpoint": 20})
    file = models / made.name / "checkpoints" / "step-00000040" / "tensors.safetensors"
    file.write_bytes(b"")
    code, error = failing(words(), capsys)
    assert code == 2 and "step-00000040 is damaged" in error and "go on from step 20" in error
    main([*words(), "--resume"])
    out = capsys.readouterr().out
    assert "steps 21 to 60" in out and "checkpoints/step-00000040 is not used" in out
    assert weights(models / made.name) == weights(made.folder)


@pytest.mark.parametrize(("full", "says"), [(20, "first checkpoint"), (40, "checkpoint: step 20;")])
def test_a_full_disk_is_one_line_and_the_checkpoint_before_stays(
    models, made, capsys, monkeypatch, full, says
):
    fsync, step = os.fsync, [0]

    def out_of_space(descriptor):
        if step[0] >= full:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    def counted(progress, record, after=verbs._Progress.__call__):
        step[0] = record.step
        after(progress, record)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", out_of_space)
        patch.setattr(verbs._Progress, "__call__", counted)
        code, error = failing(words(**{"train.checkpoint": "20"}), capsys)
    assert code == 1 and "No space left on device" in error and says in error
    main([*words(), "--resume"])
    assert f"steps {full - 19} to 60" in capsys.readouterr().out
    assert weights(models / made.name) == weights(made.folder)


@pytest.mark.parametrize(("full", "says"), [(20, "first checkpoint"), (40, "checkpoint: step 20;")])
def test_a_gpu_without_memory_is_one_line_and_the_checkpoint_before_stays(
    models, made, capsys, monkeypatch, full, says
):
    def out_of_memory(progress, record, after=verbs._Progress.__call__):
        if record.step == full:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")
        after(progress, record)

    with monkeypatch.context() as patch:
        patch.setattr(verbs._Progress, "__call__", out_of_memory)
        code, error = failing(words(**{"train.checkpoint": "20"}), capsys)
    assert code == 1 and "make train.batch or the network smaller; stopped" in error
    assert says in error
    main([*words(), "--resume"])
    assert f"steps {full - 19} to 60" in capsys.readouterr().out
    assert weights(models / made.name) == weights(made.folder)


def test_on_a_full_disk_a_training_goes_on_when_there_is_room(
    models, made, capsys, monkeypatch, small_disk
):
    monkeypatch.setenv(zoo.STORE_VARIABLE, str(small_disk))

    def filled(progress, record, after=verbs._Progress.__call__):
        if record.step == 30:
            fill(small_disk)
        after(progress, record)

    with monkeypatch.context() as patch:
        patch.setattr(verbs._Progress, "__call__", filled)
        code, error = failing(words(**{"train.checkpoint": "20"}), capsys)
    assert code == 1 and "No space left on device" in error and "checkpoint: step 20;" in error
    (small_disk / "others").unlink()
    main([*words(), "--resume"])
    assert "steps 21 to 60" in capsys.readouterr().out
    assert weights(small_disk / made.name) == weights(made.folder)


@pytest.mark.parametrize("place", ["", "below", "NAME", "NAME/lock", "NAME/checkpoints"])
@pytest.mark.parametrize("command", ["train", "models"])
def test_a_store_that_cannot_be_written_is_one_line(
    place, command, models, made, capsys, monkeypatch
):
    """What is in the way stays; `geomem models` fails only where there is no store."""
    path = models / place.replace("NAME", made.name)
    stray = models if place == "below" else path
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.mkdir() if stray.name == "lock" else stray.write_text("mine")
    if place == "below":
        monkeypatch.setenv(zoo.STORE_VARIABLE, str(path))
    if command == "train" or not place:
        code, error = failing(words(**{"train.checkpoint": "20"}), capsys)
        assert code in (1, 2) and str(stray) in error
    else:
        main(["models"])
    assert stray.is_dir() or stray.read_text() == "mine"


OF_TORCHRUN = {
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}


@pytest.mark.parametrize(
    "changes",
    [
        *({name: value} for name in list(OF_TORCHRUN)[:3] for value in ("x", "-1", "1.5")),
        *({name: ""} for name in OF_TORCHRUN if name != "WORLD_SIZE"),
        *({"MASTER_PORT": value} for value in ("x", "0", "65536")),
        {"WORLD_SIZE": "0"},
        {"RANK": "2"},
        {"LOCAL_RANK": "2"},
    ],
)
def test_what_torchrun_did_not_say_is_one_line(changes, models, capsys, monkeypatch):
    """Also of a process that, as one of many, would leave the word to the first."""
    for name, value in {**OF_TORCHRUN, **changes}.items():
        monkeypatch.setenv(name, value)
    code, error = failing(words(), capsys)
    assert code == 2 and "torchrun" in error


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK"])
@pytest.mark.parametrize("value", ["3", "x", ""])
def test_a_rank_of_another_program_means_nothing(name, value, capsys, monkeypatch):
    monkeypatch.setenv(name, value)
    assert failing(["train", "nope"], capsys)[0] == 2
    assert torchrun() == (0, 0, 1)


def test_a_model_in_training_is_left_alone(models, capsys):
    def second(record):
        if record.step == 2:
            code, error = failing(words(), capsys)
            assert code == 2 and "another process" in error
            main(["models"])
            assert "in training" in capsys.readouterr().out

    fit(models, second)


def test_resume_waits_for_whoever_trains_the_model_now(models, made):
    folder = models / made.name
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        waiting = forked(main, [*words(), "--resume"])
        waiting.join(0.5)
        assert waiting.is_alive()
        shutil.copytree(made.folder, folder, dirs_exist_ok=True)
        before = (folder / "model" / "record.json").stat().st_ino
        fcntl.flock(handle, fcntl.LOCK_UN)  # the fork has the handle, too
    waiting.join(60)
    assert waiting.exitcode == 0 and weights(folder) == weights(made.folder)
    assert (folder / "model" / "record.json").stat().st_ino == before, "trained again"


def test_a_bar_goes_on_where_the_training_does(models, monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(
        verbs,
        "bar",
        lambda total, name, unit: tqdm(total=total, unit=unit, file=terminal, mininterval=0),
    )

    def stop(record):
        if record.step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(models, stop, **{"train.checkpoint": 15})
    main([*words(), "--resume"])
    shown = re.findall(r"(\d+)/960 [^\r]* images/s, loss ([\d.]+)", terminal.getvalue())
    seen = [int(images) for images, _ in shown]
    assert seen == sorted(seen) and 15 * 16 < seen[0] <= 17 * 16 and seen[-1] == 960
    assert all(0 < float(loss) < 2 for _, loss in shown)


@pytest.mark.parametrize("warm_up", [0.5, 60.0])
def test_the_pace_is_that_of_the_steps_whenever_their_records_come(warm_up, capsys):
    """On CUDA those of many come at once; on a CPU the first takes long, and is left out."""
    config = TrainConfig(steps=200, batch=16)
    progress = verbs._Progress("it", config, 40, first=True)
    for step in range(41, 201):
        seconds = warm_up if step == 41 else 0.5
        progress(Record(step, step * 16, 1.0, 1e-3, seconds))
    progress.bar.close()
    said = re.findall(r"step (\d+): loss 1, (\S+) images/s, (.+) left", capsys.readouterr().out)
    assert [int(step) for step, *_ in said] == [*range(60, 201, 20)]
    for step, rate, left in said:
        assert (rate, left) == ("32", in_time((200 - int(step)) * 0.5))


def test_a_dry_run_downloads_and_writes_nothing(models, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("GEOMEM_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(named, "_download", None)
    main(["train", "cifar10-luma-small", "--dry-run", "--set", "train.device", "cuda"])
    out = capsys.readouterr().out
    luma = experiment("cifar10-luma-small", {"train.device": "cuda"}).train
    known = replace(luma.model, channels=1, size=16, mean=0.0, sigma_data=0.5)
    images = luma.steps * luma.batch
    for fact in (f"{parameters(known):,} parameters", f"{images:,} in", "computed for an H100"):
        assert fact in out
    main([*words(), "--dry-run"])
    out = capsys.readouterr().out
    assert "960 in 60 steps of 16, drawn from 64" in out and "measured" in out
    assert not models.exists() and not (tmp_path / "cache").exists()


def test_samples_are_the_samplers_and_can_be_read_back(filled, capsys, monkeypatch):
    main(["sample", filled.name[:9], "-n", "11", "--seed", "3", "--out", "some.npz"])
    out = capsys.readouterr().out
    images = sample(filled.denoise, (1, 8, 8), 11, seed=3).clamp(-1, 1).numpy()
    with np.load("some.npz") as file:
        pixels = file["images"]
    assert pixels.dtype == np.uint8 and pixels.shape == (11, 8, 8, 1)
    back = load_dataset("some.npz")
    order = np.argsort(np.concatenate(back.indices))
    back = np.concatenate([back.train, back.heldout])[order]
    np.testing.assert_allclose(back, images, atol=0.5 / 127.5 + 1e-6)
    share = memorized_fraction(
        sample(filled.denoise, (1, 8, 8), 11, seed=3), filled.experiment.data.load().train
    )
    assert f"memorized: {share} " in out
    with Image.open("some.png") as file:
        sheet = np.asarray(file)
    scale = 64 // 8
    assert sheet.shape == (3 * 9 * scale, 4 * 9 * scale)
    for i, image in enumerate(pixels[..., 0]):
        row, column = divmod(i, 4)
        tile = sheet[row * 9 * scale :, column * 9 * scale :][scale : 9 * scale, scale : 9 * scale]
        np.testing.assert_array_equal(tile, image.repeat(scale, 0).repeat(scale, 1))
    monkeypatch.setattr(samples, "SHEET", 3)
    main(["sample", str(filled.folder), "-n", "4", "--seed", "3", "--out", "few.png"])
    with Image.open("few.png") as file:
        np.testing.assert_array_equal(
            np.asarray(file)[: 9 * scale], sheet[: 9 * scale, : 18 * scale]
        )
    with np.load("few.npz") as file:
        np.testing.assert_allclose(file["images"].astype(int), pixels[:4].astype(int), atol=1)
    main(["sample", filled.name, "-n", "1"])
    assert sorted(path.name for path in Path().iterdir()) == sorted(
        f"{name}.{kind}"
        for name in ("some", "few", f"{filled.name}-seed0")
        for kind in ("npz", "png")
    )


@pytest.mark.parametrize("taken", ["some.npz", "some.png"])
def test_samples_replace_nothing_unless_they_are_told(taken, filled, capsys):
    Path(taken).write_text("mine")
    command = ["sample", filled.name, "-n", "1", "--out", "some.npz"]
    code, error = failing(command, capsys)
    assert code == 2 and f"{taken} is there already" in error and "--force" in error
    assert [path.read_text() for path in Path().iterdir()] == ["mine"]
    main([*command, "--force"])
    assert Path(taken).read_bytes() != b"mine" and len([*Path().iterdir()]) == 2


def test_copies_of_a_dummy_class_are_none(models, capsys):
    trained = fit(models, **{"data.dummy": "true", "train.model.n_classes": "2"})
    main(["sample", trained.name, "--label", "0", "-n", "4"])
    assert "nearest of the 64 training images" in capsys.readouterr().out  # and 64 of noise
    main(["models"])
    assert "N = 64 of digits" in capsys.readouterr().out


@pytest.mark.parametrize("channels", [2, 4, 16])
def test_samples_of_latents_are_kept_as_they_are(models, capsys, rng, channels):
    """Values of any size in any number of channels; the sheet shows a channel, or three."""
    latents = 5 * rng.standard_normal((20, 8, 8, channels)).astype(np.float32)
    np.savez("latents.npz", images=latents)
    fit(models, **{"data.name": "latents.npz", "data.n_train": "none", "data.range": "any"})
    main(["sample", "latents", "-n", "4", "--out", "some.npz"])
    with np.load("some.npz") as file:
        found = file["images"]
    assert found.dtype == np.float32 and found.shape == (4, 8, 8, channels)
    assert np.abs(found).max() > 2
    with Image.open("some.png") as sheet:
        assert sheet.mode == ("RGB" if channels >= 3 else "L")


def test_the_classes_of_colour_images_that_are_gone(models, capsys, rng):
    """A class-conditional model in colour; its training images are deleted, then others."""

    def images(name, rng):
        pixels = rng.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
        np.savez(name, images=pixels, labels=np.arange(20) % 2)

    images("mine.npz", rng)
    other = {"data.name": "mine.npz", "data.n_train": "none", "train.model.n_classes": "2"}
    main(words(**other))
    assert failing(["sample", "mine"], capsys)[0] == 2
    assert failing(["sample", "mine", "--label", "2"], capsys)[0] == 2
    main(["sample", "mine", "--label", "1", "-n", "5", "--out", "ones.npz"])
    assert re.search(r"memorized: \d of 5", capsys.readouterr().out)
    ones = load_dataset("ones.npz")
    assert ones.train.shape == (4, 3, 4, 4) and {*ones.labels.train} == {1}
    with Image.open("ones.png") as sheet:
        assert sheet.mode == "RGB"
    given = load_dataset("mine.npz", heldout=False).train
    (trained,) = (zoo.load_model(one.folder) for one in zoo.models(models))
    own = training_images(trained)
    assert len(own) < len(given)  # some are held out of training
    for some, seen in ((own[::-1], True), (given, False), (given[: len(own)], False)):
        assert auditing._seen(trained, SimpleNamespace(train=some)) is seen
    images("mine.npz", rng)
    assert not auditing._seen(trained, SimpleNamespace(train=own)), "nobody knows any more"
    main(["sample", "mine", "--label", "1", "-n", "1"])
    assert "is not what this model was trained on" in capsys.readouterr().out
    Path("mine.npz").unlink()
    main(["sample", "mine", "--label", "1", "-n", "1", "--force"])
    assert "not on this disk" in capsys.readouterr().out


# Swaps


@pytest.fixture(scope="module")
def two(tmp_path_factory, made):
    """A store with the finished model, and one of twice its images."""
    root = tmp_path_factory.mktemp("two")
    shutil.copytree(made.folder, root / made.name)
    return made, fit(root, **{"data.n_train": "128", "train.ema": "0.5"})


@pytest.fixture
def both(models, two, monkeypatch):
    """The names of the two models, in the store of this test."""
    monkeypatch.setenv(zoo.STORE_VARIABLE, str(two[1].folder.parent))
    return [model.name for model in two]


@pytest.mark.parametrize("way", [1, -1])
def test_a_swap_is_the_librarys(way, two, both, capsys, monkeypatch):
    # So small a model copies nothing: a looser test, which some of its samples pass.
    monkeypatch.setattr(Neighbours, "memorized", lambda found: found.ratio < 0.98)
    base, donor = two[::way]
    window = Window.of_steps(*SWAP_STEPS["danger"], karras_sigmas())
    arguments = ["-n", "60", "--seed", "3", "--solver", "euler"]
    main(["swap", *both[::way], "--window", "danger", *arguments])
    out, train = capsys.readouterr().out, two[0].experiment.data.load().train
    passed = {}
    for name, denoise in (
        ("base alone", base.denoise),
        ("donor alone", donor.denoise),
        ("swap", swap(base.denoise, donor.denoise, window)),
    ):
        images = sample(denoise, (1, 8, 8), 60, seed=3, solver="euler", device="cpu")
        passed[name] = neighbours(images, train).memorized()
        share = Fraction.of(int(passed[name].sum()), 60)
        assert re.search(rf"  {name} +{re.escape(str(share))}\n", out)
    assert len({found.sum() for found in passed.values()}) == 3  # so none stands for another
    change = paired_difference(passed["base alone"], passed["swap"])
    assert f"share of the base by {change} " in out
    assert f"64 training images of the {'base' if way == 1 else 'donor'}" in out
    archive, sheet = sorted(Path().iterdir())
    assert archive.name == f"{base.name}-steps7-10-{donor.name}-seed3.npz"
    assert sheet.name == f"{archive.stem}.png"
    with np.load(archive) as file:
        back = file["images"].transpose(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(back, images.clamp(-1, 1), atol=0.5 / 127.5 + 1e-6)


def test_the_window_is_the_one_that_was_asked_for(both, capsys):
    def pixels(*arguments):
        main(["swap", *both, *arguments, "-n", "3", "--out", "some.png", "--force"])
        with np.load("some.npz") as file:
            return file["images"], capsys.readouterr().out

    by_name, out = pixels("--window", "danger")
    assert "steps 7 to 10" in out
    by_steps, out = pixels("--steps", "7", "10")
    by_edges, out = pixels("--low", "1", "--high", "6")
    assert "[1, 6), steps 7 to 10" in out
    np.testing.assert_array_equal(by_name, by_steps)
    np.testing.assert_array_equal(by_name, by_edges)
    donor, out = pixels("--low", "0", "--against", "donor")
    assert "steps 0 to 17" in out and "128 training images of the donor" in out
    main(["sample", both[1], "-n", "3", "--out", "alone.npz"])
    with np.load("alone.npz") as file:
        np.testing.assert_array_equal(donor, file["images"])
    assert (donor != by_name).any()
    _, out = pixels("--high", "1")
    assert "[0, 1), steps 11 to 17" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the window once"),
        (["--window", "small", "--steps", "0", "3"], "name the window once"),
        (["--window", "small", "--high", "3"], "name the window once"),
        (["--low", "2", "--high", "1"], "needs 0 <= low <= high"),
        (["--low", "-1"], "needs 0 <= low <= high"),
        (["--low", "-1e300"], "needs 0 <= low <= high"),
        (["--low", "nan"], "needs 0 <= low <= high"),
        (["--low", "0.6", "--high", "0.61"], "holds no noise level"),
        (["--steps", "3", "18"], "no steps 3 to 18"),
        (["--steps", "3", "2"], "no steps 3 to 2"),
        (["--steps", "3", "4", "-n", "0"], "-n must be at least 1"),
        (["--steps", "3", "4", "--label", "1"], "takes none"),
        (["--steps", "3", "4", "--out", "some.gif"], ".npz or .png"),
    ],
)
def test_bad_swaps_are_refused_before_anything_is_drawn(arguments, message, both, capsys):
    code, error = failing(["swap", *both, *arguments], capsys)
    assert code == 2 and message in error and not [*Path().iterdir()]


def test_swaps_of_other_images_with_classes_and_of_images_that_are_gone(models, made, capsys, rng):
    shutil.copytree(made.folder, models / made.name)
    pixels = rng.integers(0, 256, (90, 8, 8), dtype=np.uint8)
    np.savez("mine.npz", images=pixels, labels=np.arange(90) % 2)
    mine = {"data.name": "mine.npz", "data.n_train": "none", "train.model.n_classes": "2"}
    main(words(**mine))
    np.savez("tiny.npz", images=pixels[:, :4, :4])
    main(words(**{"data.name": "tiny.npz", "data.n_train": "none"}))
    command = ["swap", made.name, "mine", "--low", "0.1", "-n", "2", "--out", "some.npz", "--force"]
    code, error = failing(["swap", made.name, "tiny", *command[3:]], capsys)
    assert code == 2 and "1x8x8 and 1x4x4" in error
    code, error = failing(command, capsys)
    assert code == 2 and "takes from 0 to 1, got None" in error
    for label in "01":  # of the one model that has classes
        main([*command, "--label", label])
        with np.load("some.npz") as file:
            assert {*file["labels"]} == {int(label)}
    capsys.readouterr()
    Path("mine.npz").unlink()
    main([*command, "--label", "1"])  # the other's training images are there
    code, error = failing([*command, "--label", "1", "--against", "donor"], capsys)
    assert code == 2 and "--against donor: the training images (mine.npz)" in error


# Killed and interrupted


def test_killed_and_interrupted_it_is_the_training_that_never_stopped(
    models, tmp_path, capsys, monkeypatch
):
    changes = {"train.steps": "400", "train.checkpoint": "100"}

    def ended(by, at):
        """Shows progress, and after a step the process gets a signal."""

        def after(progress, record, shows=verbs._Progress.__call__):
            shows(progress, record)
            if record.step == at:
                os.kill(os.getpid(), by)

        return after

    with monkeypatch.context() as patch:
        patch.setattr(verbs._Progress, "__call__", ended(signal.SIGKILL, 157))
        process = forked(main, words(**changes))
        process.join(120)
    (found,) = zoo.models(models)
    assert process.exitcode == -signal.SIGKILL and not found.finished and found.step == 100
    with monkeypatch.context() as patch:
        patch.setattr(verbs._Progress, "__call__", ended(signal.SIGINT, 117))
        code, error = failing([*words(**changes), "--resume"], capsys)
    assert code == 130 and "step 117;" in error
    assert zoo.models(models)[0].step == 117

    again = shlex.split(error[error.index("geomem train") :])
    main(again[1:])  # the command that it ended with
    assert "steps 118 to 400" in capsys.readouterr().out
    whole = fit(tmp_path / "whole", **changes)
    assert weights(models / whole.name) == weights(whole.folder)
