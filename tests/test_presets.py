"""Experiments by name: presets that fit their data, settings changed as text, refused nonsense."""

import json
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.special import ndtr

from geomem.data.sets import DataError, load_dataset
from geomem.diffusion import presets, zoo
from geomem.diffusion.cost import count, parameters
from geomem.diffusion.network import DDPMPP, EDMDenoiser, ModelConfig
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.presets import (
    PRESETS,
    SNAPSHOTS,
    ConfigError,
    DataConfig,
    Experiment,
    changed,
    experiment,
    pair,
    settings,
)
from geomem.diffusion.train import TrainConfig

NAMES = sorted({name.rpartition("-")[0] for name in PRESETS})
DIGITS = [name for name in PRESETS if name.startswith("digits")]
CIFAR = [name for name in PRESETS if name.startswith("cifar10")]


@pytest.fixture
def written(tmp_path):
    """An experiment written as a TOML file."""

    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


# Presets


def test_every_preset_has_a_small_and_a_large_model():
    assert {f"{name}-{size}" for name in NAMES for size in ("small", "large")} == set(PRESETS)


@pytest.mark.parametrize("name", NAMES)
def test_small_and_large_differ_in_the_number_of_images(name):
    small, large = settings(PRESETS[f"{name}-small"]), settings(PRESETS[f"{name}-large"])
    differ = {key for key in small if small[key] != large[key]}
    assert large["data.n_train"] is None and small["data.n_train"] >= 64
    assert differ <= {"data.n_train", "train.steps"}  # some large ones are trained less


@pytest.mark.parametrize("name", DIGITS)
def test_the_presets_of_digits_complete_on_them(name):
    assert_complete(PRESETS[name], None)


@pytest.mark.parametrize("name", CIFAR)
def test_the_presets_of_cifar10_complete_on_it(cifar10, name):
    some = PRESETS[name].data.n_train or 2000  # all 50,000 take a while to read
    assert_complete(replace_data(PRESETS[name], n_train=some, n_heldout=2), cifar10)


def replace_data(chosen, **changes):
    return changed(chosen, {f"data.{key}": value for key, value in changes.items()})


def assert_complete(chosen, root):
    names = [f.name for f in fields(DataConfig) if f.name != "dummy"]
    data = load_dataset(**{name: getattr(chosen.data, name) for name in names}, root=root)
    config = chosen.train.for_images(data.train)
    open_ = {key for key, value in settings(config).items() if value is None}
    assert open_ == set()
    assert config.model.size == data.train.shape[2]
    with torch.device("meta"):
        EDMDenoiser(config.model)
    steps = {config.step_of(share) for share in config.snapshots}
    assert config.snapshots == SNAPSHOTS and len(steps) == len(SNAPSHOTS), "no two in one step"
    if chosen.data.n_train:
        assert len(data.train) == chosen.data.n_train


def test_the_papers_pair_is_nested_and_its_own():
    """EDM-1K is trained on CIFAR-10's first 1,000 images, in their own order."""
    small, large = PRESETS["cifar10-small"], PRESETS["cifar10-large"]
    assert (small.data, large.data) == (DataConfig("cifar10", 1000), DataConfig("cifar10"))
    assert small.train == large.train
    assert small.train.model == DDPMPP
    assert small.train.noise == NoiseLaw(-1.2, 1.2)


def test_the_fast_pair_has_the_papers_images_and_a_network_of_a_fiftieth_of_its_arithmetic():
    weights, flops = {}, {}
    for name in ("cifar10", "cifar10-fast"):
        small, large = PRESETS[f"{name}-small"], PRESETS[f"{name}-large"]
        assert (small.data, large.data) == (DataConfig("cifar10", 1000), DataConfig("cifar10"))
        model = replace(small.train.model, channels=3, size=32, mean=0.0, sigma_data=0.5)
        weights[name], flops[name] = parameters(model), count(model)[0]
    assert 5e6 < weights["cifar10-fast"] < 15e6
    assert 40 < flops["cifar10"] / flops["cifar10-fast"] < 60
    fast = PRESETS["cifar10-fast-small"].train
    assert fast.model.dropout == 0 and fast.final_lr < 0.1


def test_a_small_set_is_the_start_of_the_large(rng):
    for seed in (None, 0):
        small, large = DataConfig("digits", 64, seed=seed), DataConfig("digits", seed=seed)
        assert (small.load().train == large.load().train[:64]).all()


# Settings by name


def test_settings_come_back_through_json():
    for name, chosen in PRESETS.items():
        text = json.dumps(settings(chosen))
        assert changed(Experiment(), json.loads(text)) == chosen, name
    complete = replace(
        Experiment(),
        train=TrainConfig(
            ModelConfig(channels=1, size=8, mean=-0.1, sigma_data=1 / 3, attention=(8, 4)),
            NoiseLaw(0.1, 1.2, 0.2, 1.6, 0.1),
            lr=1e-300,
            snapshots=(0.1, 1 / 3),
            compile=True,
        ),
    )
    assert changed(Experiment(), json.loads(json.dumps(settings(complete)))) == complete


def test_settings_name_every_field():
    found = settings(Experiment())
    for prefix, config in (
        ("data", DataConfig),
        ("train", TrainConfig),
        ("train.model", ModelConfig),
        ("train.noise", NoiseLaw),
    ):
        for f in fields(config):
            if f.name not in ("model", "noise"):
                assert f"{prefix}.{f.name}" in found


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("train.steps", "100", 100),
        ("train.steps", 100.0, 100),
        ("train.seed", "9007199254740993", 2**53 + 1),  # between two floats
        ("train.seed", 2**64 - 1, 2**64 - 1),
        ("train.lr", "1e-3", 1e-3),
        ("train.lr", 1, 1.0),
        ("train.device", "cpu", "cpu"),
        ("train.compile", "true", True),
        ("train.compile", False, False),
        ("train.compile", "False", False),
        ("train.snapshots", "0.25,0.5", (0.25, 0.5)),
        ("train.snapshots", "0.25 0.5", (0.25, 0.5)),
        ("train.snapshots", [0.25, 1], (0.25, 1.0)),
        ("train.snapshots", 0.5, (0.5,)),
        ("train.snapshots", "", ()),
        ("train.model.multipliers", "1,2,2", (1, 2, 2)),
        ("train.model.attention", 8, (8,)),
        ("train.model.mean", "none", None),
        ("train.model.mean", None, None),
        ("train.model.mean", "0", 0.0),
        ("train.noise.mean", "-1.2", -1.2),
        ("data.n_train", "none", None),
        ("data.n_train", "64", 64),
        ("data.classes", "automobile", "automobile"),
        ("data.classes", "None", None),
        ("data.name", "7", "7"),
        ("data.name", "no ne/true", "no ne/true"),
    ],
)
def test_text_is_read_as_the_settings_type(key, text, value):
    found = settings(changed(Experiment(), {key: text}))
    assert found[key] == value
    assert type(found[key]) is type(value)
    others = settings(Experiment())
    assert {k for k in found if found[k] != others[k]} <= {key}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.steps", "many"),
        ("train.steps", "1.5"),
        ("train.steps", 1.5),
        ("train.steps", ""),
        ("train.steps", "none"),
        ("train.steps", True),
        ("train.steps", math.inf),
        ("train.steps", [3]),
        ("train.steps", "１２"),
        ("train.steps", "٣"),
        ("train.steps", {"a": 1}),
        ("train.lr", "fast"),
        ("train.lr", "nan"),
        ("train.lr", math.nan),
        ("train.lr", 10**400),
        ("train.lr", None),
        ("train.compile", "yes"),
        ("train.compile", 1),
        ("train.snapshots", "0.1,half"),
        ("train.snapshots", [[0.1]]),
        ("train.snapshots", None),
        ("train.model.attention", 8.5),
        ("train.model.multipliers", "1,2.5"),
        ("train.model.multipliers", True),
        ("data.n_train", "all"),
        ("data.name", 7),
        ("data.name", None),
        ("data.grayscale", "maybe"),
    ],
)
def test_a_value_of_another_type_is_refused_by_the_settings_name(key, value):
    with pytest.raises(ConfigError, match=rf"^{key}: .*not of type"):
        changed(Experiment(), {key: value})


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("train.steps", "0", "steps"),
        ("train.lr", "inf", "lr"),
        ("train.model.width", "12", "multiple of 8"),
        ("train.model.multipliers", "", "multipliers"),
        ("train.noise.std", "0", "std"),
        ("train.noise.std", "1e300", "std"),
        ("train.noise.mean", "-1e300", "mean"),
        ("train.model.width", "8e9", "width"),
        ("train.model.n_classes", "1000000000000", "n_classes"),
        ("train.model.sigma_data", "1e300", "sigma_data"),
        ("train.model.mean", "-1e300", "mean"),
        ("train.seed", "18446744073709551616", "seed"),
        ("data.n_train", "-3", "n_train"),
        ("data.size", "0", "size"),
        ("data.seed", "-1", "seed"),
        ("train.device", "gpu", "device"),
    ],
)
def test_a_value_out_of_range_is_refused_in_the_configs_words(key, value, names):
    with pytest.raises(ConfigError, match=names):
        changed(Experiment(), {key: value})


@pytest.mark.parametrize("key", ["steps", "train.model", "train.step", "model.width", "", "train."])
def test_an_unknown_setting_is_refused_and_the_known_are_named(key):
    with pytest.raises(ConfigError, match=r"no setting .*known: .*train\.steps"):
        changed(Experiment(), {key: "3"})


def test_settings_that_make_sense_together_only_are_set_together():
    """A gap's two ends, in either order; one by one the first would be refused."""
    ends = {"train.noise.gap_low": "0.2", "train.noise.gap_high": "1.6"}
    for changes in (ends, dict(reversed(ends.items()))):
        law = changed(PRESETS["digits-mlp-small"], changes).train.noise
        assert (law.gap_low, law.gap_high) == (0.2, 1.6)
    with pytest.raises(ConfigError, match="gap_high"):
        changed(Experiment(), {"train.noise.gap_low": "0.2"})
    both = {"train.model.patch": 3, "train.model.size": 12}
    assert changed(Experiment(), both).train.model.patch == 3
    sized = changed(Experiment(), {"train.model.size": 8})
    assert changed(sized, both).train.model.size == 12


def test_the_budget_may_be_given_in_images():
    small = PRESETS["digits-mlp-small"]  # batches of 128
    for images, steps in ((1, 1), (128, 1), (129, 2), ("12800", 100)):
        assert changed(small, {"train.images": images}).train.steps == steps
    halved = changed(small, {"train.images": 6400, "train.batch": 64})
    assert (halved.train.steps, halved.train.images) == (100, 6400)
    assert changed(small, {"train.images": small.train.images}) == small
    assert PRESETS["cifar10-small"].train.images == 20_480_000


def test_a_budget_of_both_kinds_or_of_none_is_refused():
    with pytest.raises(ConfigError, match="one budget"):
        changed(Experiment(), {"train.images": 100, "train.steps": 100})
    for images in (0, -1):
        with pytest.raises(ConfigError, match="steps must lie in"):
            changed(Experiment(), {"train.images": images})
    with pytest.raises(ConfigError, match=r"train\.images"):
        changed(Experiment(), {"train.images": "many"})


def test_changes_leave_the_original_alone():
    before = settings(PRESETS["digits-mlp-small"])
    changed(PRESETS["digits-mlp-small"], {"train.steps": 3})
    assert settings(PRESETS["digits-mlp-small"]) == before


# Files


def test_a_file_says_everything_or_starts_from_a_preset(written):
    whole = experiment(
        written("""
            [data]
            name = "digits"
            n_train = 64
            [train]
            steps = 100
            lr = 1
            snapshots = [0.5, 1]
            [train.model]
            network = "mlp"
            [train.noise]
            gap_low = 0.2
            gap_high = 1.6
        """)
    )
    assert whole == Experiment(
        DataConfig("digits", 64),
        TrainConfig(
            ModelConfig("mlp"),
            NoiseLaw(gap_low=0.2, gap_high=1.6),
            steps=100,
            lr=1.0,
            snapshots=(0.5, 1.0),
        ),
    )
    start = experiment(written('preset = "digits-mlp-small"\n[train]\nsteps = 9'))
    assert start == changed(PRESETS["digits-mlp-small"], {"train.steps": 9})
    assert experiment(written("")) == Experiment()
    assert experiment(str(written("")), {"train.steps": "7"}).train.steps == 7


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("train = 5", "train"),
        ("steps = 5", "steps"),
        ("[optimizer]\nlr = 1", "optimizer.lr"),
        ("[train]\nlearning_rate = 1", "learning_rate"),
        ("[train.model]\nwidth = 12", "multiple of 8"),
        ("[train]\nsteps = 'many'", "train.steps"),
        ("[train]\nsteps = inf", "train.steps"),
        ("[train]\nsteps = 2026-01-01", "train.steps"),
        ("preset = 'nothing'", "no preset 'nothing'.*digits-mlp-small"),
        ("preset = []", "no preset"),
        ("preset = 3", "no preset"),
        ("[train", "not TOML"),
    ],
)
def test_a_file_of_nonsense_is_refused(written, text, names):
    with pytest.raises(ConfigError, match=names):
        experiment(written(text))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not TOML"):
        experiment(tmp_path / "mine.toml")


@pytest.mark.parametrize("name", ["", "."])
def test_images_are_no_preset_and_it_is_said_how_they_come_to_one(name):
    with pytest.raises(ConfigError, match=r"is a folder: give a preset.* --set data\.name \. "):
        experiment(name)


@pytest.mark.parametrize("name", ["nothing", "digits-mlp"])
def test_an_unknown_name_is_refused_and_the_presets_are_named(name):
    with pytest.raises(ConfigError, match=r"no preset or file .*digits-mlp-small"):
        experiment(name)


# Pairs


def test_a_pair_is_the_two_presets_with_the_same_changes():
    small, large = pair("digits-mlp", dataset="digits")
    assert (small, large) == (PRESETS["digits-mlp-small"], PRESETS["digits-mlp-large"])
    small, large = pair(
        "digits-mlp",
        dataset="fashion-mini",
        n_train=100,
        changes=" train.steps=100  train.snapshots=0.5,1 data.size=8 ",
        seed=3,
        device="cpu",
    )
    for one, n_train in ((small, 100), (large, None)):
        assert one.data == DataConfig("fashion-mini", n_train, size=8)
        assert (one.train.steps, one.train.snapshots) == (100, (0.5, 1.0))
        assert (one.train.seed, one.train.device) == (3, "cpu")
        assert one.train.model == PRESETS["digits-mlp-small"].train.model


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"preset": "digits-mlp-small"}, "no pair of models .*; known: digits-mlp, "),
        ({"changes": "train.steps"}, "NAME=VALUE.*train.steps"),
        ({"changes": "train.steps = 3"}, "NAME=VALUE"),
        ({"changes": "steps=3"}, "no setting 'steps'"),
        ({"changes": "train.steps=0"}, "steps"),
        ({"seed": -1}, "seed"),
        ({"sed": 1}, "no setting 'train.sed'"),
    ],
)
def test_a_pair_of_nonsense_is_refused(options, names):
    with pytest.raises(ConfigError, match=names):
        pair(**{"preset": "digits-mlp", "dataset": "digits"} | options)


def test_data_that_is_not_there_is_refused_when_it_is_loaded():
    for changes in ({"data.n_train": 10**6}, {"data.name": "nothing"}):
        with pytest.raises(DataError):
            changed(PRESETS["digits-mlp-small"], changes).data.load()


# Held-out images and range, as `load_dataset` takes them


@pytest.fixture
def arrays(tmp_path, rng):
    """Twenty images of floats in [0, 0.3], of which the range cannot be told, and ten others."""
    images = rng.uniform(0, 0.3, (30, 4, 4, 1)).astype(np.float32)
    np.save(tmp_path / "old.npy", images[:20])
    np.save(tmp_path / "new.npy", images[20:])
    return tmp_path / "old.npy", tmp_path / "new.npy"


@pytest.mark.parametrize("text", ["0,1", "0, 0.5", "any"])
def test_data_is_what_load_dataset_gives(arrays, text):
    old, new = arrays
    bounds = text if text == "any" else tuple(map(float, text.split(",")))
    for held in (new, False, None):
        mine = {"data.name": old, "data.heldout": held, "data.range": text, "data.n_train": None}
        mine = {key: None if value is None else str(value) for key, value in mine.items()}
        found = changed(Experiment(), mine).data.load()
        wanted = load_dataset(old, heldout=held, range=bounds)
        assert found.sha256 == wanted.sha256
        assert len(found.train) == (16 if held is None else 20)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "give range="),
        ({"data.range": "1"}, "range must be"),
        ({"data.range": "1,0"}, "range must be"),
        ({"data.range": "black,white"}, "range must be"),
        ({"data.range": "any", "data.heldout": "nowhere"}, "does not exist"),
    ],
)
def test_ranges_and_held_out_images_that_are_none_are_refused(arrays, changes, message):
    with pytest.raises(DataError, match=message):
        changed(Experiment(), {"data.name": str(arrays[0]), **changes}).data.load()


def test_a_model_hangs_on_its_training_images_not_on_how_they_are_asked_for(arrays):
    """Settings that leave the images alone leave the key alone, new ones among them."""
    old, new = arrays
    small = {"train.model.network": "mlp", "data.name": str(old), "data.range": "0,1"}

    def key(**more):
        chosen = changed(Experiment(), small | {f"data.{k}": v for k, v in more.items()})
        return zoo.Plan.of(chosen).folder.name

    assert key(heldout=str(new)) == key(heldout="false") == key(heldout=str(new), n_heldout=2)
    assert key(heldout=str(new)) != key() and key() != key(range="0,2")
    plain = {
        k: v for k, v in settings(Experiment()).items() if k not in ("data.heldout", "data.range")
    }
    assert changed(Experiment(), plain) == Experiment(), "what stores hold from before"


# The dummy class


DUMMY = {"data.dummy": "true", "train.model.n_classes": "2"}


def test_the_dummy_class_adds_noise_and_leaves_the_rest_alone():
    plain = PRESETS["digits-mlp-small"]
    with_dummy = changed(plain, DUMMY)
    real, both = plain.data.load(), with_dummy.data.load()
    n = len(real.train)
    assert (both.train[:n] == real.train).all() and (both.heldout == real.heldout).all()
    assert both.train.dtype == np.float32 and both.train.shape == (2 * n, *real.train.shape[1:])
    assert both.labels.train.tolist() == [0] * n + [1] * n
    assert both.labels.heldout.tolist() == [0] * len(real.heldout)
    assert both.indices.train.tolist() == [*real.indices.train, *[-1] * n]
    assert both.name == real.name and both.sha256 != real.sha256
    same = with_dummy.data.load()
    assert (same.train == both.train).all() and same.sha256 == both.sha256
    reseeded = changed(with_dummy, {"data.seed": 1}).data.load()
    assert (reseeded.train[n:] != both.train[n:]).any()


def test_the_dummy_images_are_noise_of_the_real_ones_moments():
    both = changed(PRESETS["digits-mlp-large"], DUMMY).data.load()
    real, noise = np.split(both.train.astype(np.float64), 2)
    assert np.abs(noise).max() <= 1
    # A clipped normal variable, by its distribution function at and between the ends.
    for value in (-1 + 1e-6, -0.5, 0, 0.5, 1 - 1e-6):
        expected = ndtr((value - real.mean()) / real.std())
        assert (noise <= value).mean() == pytest.approx(expected, abs=4 * 0.5 / noise.size**0.5)
    pixels = noise.reshape(len(noise), -1)
    assert np.abs(np.corrcoef(pixels.T) - np.eye(pixels.shape[1])).max() < 5 / len(noise) ** 0.5


def test_the_dummy_class_is_another_model_and_absent_it_is_none():
    plain = PRESETS["digits-mlp-small"]
    with_dummy = changed(plain, DUMMY)
    names = [zoo.Plan.of(e).folder.name for e in (plain, with_dummy)]
    assert names[0] != names[1]
    # Without it the settings make what they made before there was one.
    old = {key: value for key, value in settings(plain).items() if key != "data.dummy"}
    assert changed(Experiment(), old) == plain


@pytest.mark.parametrize("n_classes", [0, 1, 3])
def test_the_dummy_class_needs_two_classes(n_classes):
    with pytest.raises(ConfigError, match=r"dummy.*n_classes=2"):
        changed(Experiment(), DUMMY | {"train.model.n_classes": n_classes})
    conditional = changed(Experiment(), {"train.model.n_classes": n_classes})  # of labelled images
    assert not conditional.data.dummy


@pytest.mark.parametrize("side", [8, 14, 16, 24, 28, 32, 64])
def test_a_resized_network_sees_any_image_on_a_grid_of_like_size(side):
    config = presets.resized(presets.PRESETS["fashion-unet-small"], side)
    model = replace(config.train.model, channels=1, size=side, mean=0.0, sigma_data=0.5)
    assert config.data.size == side and side % model.patch == 0 and 7 <= side // model.patch <= 14
    x = torch.randn(2, 1, side, side)
    assert EDMDenoiser(model)(x, 1.0).shape == x.shape


def test_what_cannot_be_resized_is_refused():
    for name, side in (
        ("digits-mlp-small", 8),
        ("digits-unet-small", 6),
        ("digits-unet-small", 31),
    ):
        with pytest.raises(ConfigError, match="resized"):
            presets.resized(presets.PRESETS[name], side)


@pytest.mark.parametrize("text", ["fashion-unet", "digits-mlp 0; fashion-unet n_train=8"])
def test_a_preset_without_a_side_is_refused(text):
    with pytest.raises(ConfigError, match="fashion-unet needs the sides"):
        list(presets.listed(text))
