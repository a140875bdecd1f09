"""Which models are trained on which images: the presets, and your own in a TOML file.

A preset is one dataclass of plain values, so it can be read, changed by name and hashed.
``-small`` and ``-large`` of one name differ in the number of training images alone: EDM-1K
and EDM-50K of the paper are ``cifar10-small`` and ``cifar10-large``; ``cifar10-fast`` has their
images and a small network, for a GPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from geomem.data.sets import ImageSet, Split, load_dataset
from geomem.diffusion.network import DDPMPP, ModelConfig
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.train import TrainConfig
from geomem.errors import InputError
from geomem.typed import SEEDS, cast, check_ranges


class ConfigError(InputError):
    """An unknown preset or setting, or a value that does not fit it."""


RANGES = {  # of `DataConfig`
    "n_train": "[1, inf)",
    "n_heldout": "[1, inf)",
    "size": "[1, inf)",
    "seed": SEEDS,
}


@dataclass(frozen=True)
class DataConfig:
    """Which images: the arguments of `geomem.load_dataset`, and whether with a dummy class."""

    name: str = "digits"  # data set by name or path
    n_train: int | None = None  # training images N; None: all
    n_heldout: int | None = None  # held-out images; None: all
    classes: str | None = None  # one class only
    grayscale: bool = False  # luma
    size: int | None = None  # side after area down-sampling, pixels
    seed: int | None = None  # of a random subset; None: the first ones
    dummy: bool = False  # as many images of noise as training images, as class 1; real: 0
    heldout: str | None = None  # held-out images by name or path; None: the set's own; false: none
    range: str | None = None  # what becomes -1 and 1, "0,255", or "any"; None: recognised

    def __post_init__(self) -> None:
        check_ranges("data", self, RANGES)

    def load(self) -> ImageSet:
        """The images themselves."""
        options = {k: v for k, v in asdict(self).items() if k != "dummy"}
        options["heldout"] = False if str(self.heldout).lower() == "false" else self.heldout
        with contextlib.suppress(ValueError):  # "any", none, or nonsense, which is refused
            options["range"] = tuple(map(float, str(self.range).split(",")))
        images = load_dataset(**options)
        return _with_dummy(images, self.seed or 0) if self.dummy else images


def _with_dummy(images: ImageSet, seed: int) -> ImageSet:
    """The set with the dummy class of Yoon et al. (2023): pure noise, as many as real images.

    Which noise is our choice: normal pixels with the mean and standard deviation of the
    training set's, clipped to [-1, 1], drawn once. They come after the real images.
    """
    real = images.train
    drawn = np.random.default_rng(seed).standard_normal(real.shape)
    noise = np.clip(real.mean() + real.std() * drawn, -1, 1).astype(np.float32)
    n, held = len(real), len(images.heldout)
    labels = Split(np.repeat([0, 1], n), np.zeros(held, np.int64))
    indices = Split(np.append(images.indices.train, np.full(n, -1)), images.indices.heldout)
    digest = hashlib.sha256(images.sha256.encode() + noise.tobytes()).hexdigest()
    source = f"{images.source}, and as many images of noise"
    train = np.concatenate([real, noise])
    return replace(
        images, train=train, labels=labels, indices=indices, source=source, sha256=digest
    )


@dataclass(frozen=True)
class Experiment:
    """One model: what is trained, how, and on what.

    Parameters
    ----------
    data : DataConfig
        Which images: the arguments of `load_dataset`, and whether with a dummy class.
    train : TrainConfig
        Network, noise levels and training.

    Raises
    ------
    ConfigError
        If a dummy class is asked for and the model has not two classes.

    See Also
    --------
    experiment : A preset, or one of a TOML file.
    train_or_load : Trains it.

    References
    ----------
    Ours; the presets ``cifar10-small`` and ``cifar10-large`` are the paper's EDM-1K and EDM-50K;
    see :doc:`/book/models`.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from geomem import experiment
    >>> small = experiment("digits-mlp-small")
    >>> replace(small, train=replace(small.train, steps=10)).train.images
    1280
    """

    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        n_classes = self.train.model.n_classes
        if self.data.dummy and n_classes != 2:
            raise ConfigError(
                "data.dummy: real images and noise are two classes, so it needs "
                f"train.model.n_classes=2, got {n_classes}."
            )

    def complete(self, images: np.ndarray) -> Experiment:
        """This experiment with what it leaves to its training images measured on them.

        Raises
        ------
        ConfigError : the network does not take such images.
        """
        try:
            return replace(self, train=self.train.for_images(images))
        except ValueError as error:
            raise ConfigError(str(error)) from error


def _pair(
    name: str, data: DataConfig, n_small: int, train: TrainConfig, **large: Any
) -> dict[str, Experiment]:
    small = Experiment(replace(data, n_train=n_small), train)
    return {f"{name}-small": small, f"{name}-large": Experiment(data, replace(train, **large))}


QUARTERS = (0.125, 0.25, 0.5)  # of the training, where its course is looked at
# Finer at the beginning, where a training that is to stop early may stop: see
# `geomem.memorization.stopping`.
SNAPSHOTS = (1 / 32, 1 / 16, 3 / 32, 0.125, 3 / 16, 0.25, 3 / 8, 0.5)
# Steps and learning rates for a CPU were found by measuring: the fewest that still show the
# paper's phenomena. cifar10 is the paper's own setting, on the first 1,000 images, as the copies in
# its Figure 10 say; its training length is not known, so the 20 million images are our assumption,
# about a tenth of EDM's own.
# fashion-coarse and cifar10-fine have the images of fashion-unet and cifar10-rgb, and see them on
# another grid, 4x4 and 16x16 instead of 8x8, with about the same arithmetic. The large model of
# cifar10-rgb samples grain, that of cifar10-fine images, 1.5 times as rough as new ones; the small
# one copies in 68% of its samples, but makes a copy of next to no noisy new image (0.4%), and has
# next to no hump: the other chapters have cifar10-rgb.
# cifar10-fast has the same images, 10 million weights, most of them where the grid is coarse, and a
# fiftieth of the arithmetic. That is counted; its trainings are not measured. Those of others are:
# with 56 million weights, N = 1,000 and a constant rate 13%, 38%, 60% and 79% of the samples are
# memorized after 2, 4, 6 and 8 million images; epoch for epoch the paper's cars agree (its Figure
# 4, N = 2,000). Assumed is that 8 million do for the smaller network, since its rate falls, and
# that it bears twice the rate. It has no dropout, which delays memorization.
PRESETS: dict[str, Experiment] = {
    **_pair(
        "digits-mlp",
        DataConfig("digits"),
        64,
        TrainConfig(
            ModelConfig("mlp", width=192, blocks=2),
            steps=1500,
            batch=128,
            lr=1e-2,
            snapshots=SNAPSHOTS,
        ),
    ),
    **_pair(
        "digits-unet",
        DataConfig("digits"),
        128,
        TrainConfig(ModelConfig(width=16), steps=3300, snapshots=SNAPSHOTS),
    ),
    **_pair(
        "fashion-unet",
        DataConfig("fashion-mini", grayscale=True, size=16),
        64,
        TrainConfig(ModelConfig(width=16, patch=2), steps=2400, lr=3e-3, snapshots=SNAPSHOTS),
    ),
    **_pair(
        "fashion-coarse",
        DataConfig("fashion-mini", grayscale=True, size=16),
        64,
        TrainConfig(ModelConfig(width=32, patch=4), steps=2400, lr=3e-3, snapshots=SNAPSHOTS),
    ),
    **_pair(
        "cifar10-luma",
        DataConfig("cifar10", grayscale=True, size=16),
        128,
        TrainConfig(ModelConfig(width=32, patch=2), steps=5800, snapshots=SNAPSHOTS),
        steps=3000,
    ),
    **_pair(
        "cifar10-rgb",
        DataConfig("cifar10"),
        64,
        TrainConfig(ModelConfig(width=64, patch=4), steps=3000, lr=3e-3, snapshots=SNAPSHOTS),
    ),
    **_pair(
        "cifar10-fine",
        DataConfig("cifar10"),
        64,
        TrainConfig(ModelConfig(width=32, patch=2), steps=4000, lr=3e-3, snapshots=SNAPSHOTS),
    ),
    **_pair(
        "cifar10",
        DataConfig("cifar10"),
        1000,
        TrainConfig(
            DDPMPP,
            NoiseLaw(mean=-1.2),
            batch=512,
            lr=1e-3,
            warmup=2000,
            final_lr=1.0,
            ema=0.9995,
            snapshots=SNAPSHOTS,
        ).with_images(20_480_000),
    ),
    **_pair(
        "cifar10-fast",
        DataConfig("cifar10"),
        1000,
        TrainConfig(
            ModelConfig(width=64, multipliers=(1, 2, 4), patch=2),
            batch=512,
            warmup=500,
            snapshots=SNAPSHOTS,
        ).with_images(8_192_000),
    ),
}
PAIRS = tuple(dict.fromkeys(name.rpartition("-")[0] for name in PRESETS))
UNTRIED = ("cifar10", "cifar10-fast")  # not trained by us: what comes out is said, not demanded


def experiment(
    name: str | os.PathLike[str], changes: Mapping[str, Any] | None = None
) -> Experiment:
    """A preset, or the experiment of a TOML file, with settings changed by name.

    Parameters
    ----------
    name : str or path
        The name of a preset ("digits-mlp-small"), or the path of a TOML file with any of the
        tables [data], [train], [train.model] and [train.noise], and optionally ``preset``, to
        start from.
    changes : mapping or None
        Dotted name -> value, as text or typed: {"train.steps": "100"}. "train.images" gives the
        budget in images instead of steps.

    Returns
    -------
    Experiment
        The preset with these changes.

    Raises
    ------
    ConfigError
        If a preset, table or setting is unknown, or a value is of the wrong type or range.

    References
    ----------
    Ours; see :doc:`/book/reproduce`.

    Examples
    --------
    >>> from geomem import experiment
    >>> small = experiment("digits-mlp-small", {"train.steps": "100"})
    >>> small.data.n_train, small.train.steps
    (64, 100)
    """
    chosen = PRESETS.get(str(name))
    if chosen is None:
        chosen = _from_file(Path(name))
    return changed(chosen, changes or {})


def pair(
    preset: str, *, dataset: str, n_train: int = 0, changes: str = "", size: int = 0, **train: Any
) -> tuple[Experiment, Experiment]:
    """The small and the large experiment of a preset's name, as the notebooks train them.

    Parameters
    ----------
    preset : one of `PAIRS`, a name of `PRESETS` without "-small" or "-large".
    dataset : the data set, by name or path.
    n_train : training images of the small model; 0 for the preset's own number.
    changes : further settings of both, "train.steps=100 train.batch=32"; see `settings`.
    size : side of the images, pixels, as `resized` makes them; 0: as they are.
    train : settings of the training of both, by name: ``seed=1``.

    Raises
    ------
    ConfigError : as `experiment`.
    """
    if preset not in PAIRS:
        raise ConfigError(f"preset: no pair of models {preset!r}; known: {', '.join(PAIRS)}.")
    new: dict[str, Any] = {"data.name": dataset, **{f"train.{k}": v for k, v in train.items()}}
    for change in changes.split():
        key, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"changes: expected NAME=VALUE, got {change!r}.")
        new[key] = value
    small = new | ({"data.n_train": n_train} if n_train else {})
    both = experiment(f"{preset}-small", small), experiment(f"{preset}-large", new)
    return (resized(both[0], size), resized(both[1], size)) if size else both


def dummy(small: Experiment, real: NDArray) -> dict[str, Any]:
    """What a model with the paper's baseline, a class of noise, changes: see `changed`.

    It keeps the real images' mean and standard deviation: those of both classes together
    would shift the noise levels that it is trained at.
    """
    try:
        own = small.train.for_images(real).model
    except ValueError as error:  # images that the network cannot take
        raise ConfigError(str(error)) from error
    classes = {"data.dummy": True, "train.model.n_classes": 2}
    return classes | {"train.model.mean": own.mean, "train.model.sigma_data": own.sigma_data}


def listed(models: str) -> Iterator[dict[str, Any]]:
    """What `pair` takes of each model of a text, but for the data set.

    Parameters
    ----------
    models : presets, each with the sides of its images, 0 as they are, and what it changes;
        "cifar10-luma 8 16 n_train=64 train.steps=1600; cifar10-rgb 0" are three models.

    Raises
    ------
    ConfigError : a preset without a side.
    """
    for preset, *words in (one.split() for one in models.split(";") if one.strip()):
        if all("=" in word for word in words):
            raise ConfigError(f"models: {preset} needs the sides of its images, 0 as they are.")
        n_train = sum(int(word[8:]) for word in words if word.startswith("n_train="))
        changes = [word for word in words if "=" in word and not word.startswith("n_train=")]
        one = {"preset": preset, "n_train": n_train, "changes": " ".join(changes)}
        yield from ({**one, "size": int(word)} for word in words if "=" not in word)


def resized(config: Experiment, side: int) -> Experiment:
    """The experiment on its images at another size, with a network that sees them as coarsely.

    Space-to-depth makes any image a grid of 7x7 to 14x14, as fine as it can be, on which networks
    of one kind cost about the same; where the grid is odd, and so cannot be halved, it has one
    level of twice the width and one block more.

    Parameters
    ----------
    config : of a U-Net.
    side : of the images, pixels; down-sampled to it, at most what they have.

    Raises
    ------
    ConfigError : an MLP, or a side that no space-to-depth brings there.
    """
    model = config.train.model
    patch = next((p for p in range(1, side // 7 + 1) if side % p == 0 and side // p <= 14), 0)
    if model.network != "unet" or not patch:
        raise ConfigError(
            f"resized: needs a U-Net, and a side with a divisor that leaves 7 to 14; got {side}."
        )
    model = replace(model, patch=patch)
    if side // patch % 2:
        model = replace(model, multipliers=(1,), width=2 * model.width, blocks=model.blocks + 1)
    return Experiment(replace(config.data, size=side), replace(config.train, model=model))


def named(config: Experiment) -> tuple[str, dict[str, str]]:
    """An experiment in words: the preset that is nearest to it, and what is changed of that.

    Returns
    -------
    What `experiment` takes to give it back: a name, and dotted name -> value as text.

    >>> named(experiment("digits-mlp-small", {"train.seed": 1, "train.snapshots": (0.5, 0.25)}))
    ('digits-mlp-small', {'train.snapshots': '0.5,0.25', 'train.seed': '1'})
    """
    own = settings(config).items()
    usual = {name: settings(preset) for name, preset in PRESETS.items()}
    apart = {n: {k: as_text(v) for k, v in own if v != its[k]} for n, its in usual.items()}
    nearest = min(apart, key=lambda name: len(apart[name]))
    return nearest, apart[nearest]


def as_text(value: Any) -> str:
    """The value of a setting as `experiment` reads it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def settings(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting of a config by its dotted name, as `experiment` takes them."""
    found: dict[str, Any] = {}
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            found |= settings(value, f"{prefix}{f.name}.")
        else:
            found[prefix + f.name] = value
    return found


BUDGET = "train.images"  # may be changed in place of train.steps


def changed(config: Experiment, changes: Mapping[str, Any]) -> Experiment:
    """An experiment with settings changed by dotted name; text is read as the setting's type."""
    known = [*settings(config), BUDGET]
    for key in changes:
        if key not in known:
            raise ConfigError(f"no setting {key!r}; known: {', '.join(known)}.")
    if {BUDGET, "train.steps"} <= changes.keys():
        raise ConfigError(f"{BUDGET} and train.steps are one budget: give one of them.")
    try:
        result = _rebuilt(config, changes)
        if BUDGET in changes:  # of the new batch size
            images = _typed(BUDGET, changes[BUDGET], int)
            result = replace(result, train=result.train.with_images(images))
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from error
    assert isinstance(result, Experiment)
    return result


def _from_file(path: Path) -> Experiment:
    if path.is_dir():
        raise ConfigError(
            f"{path} is a folder: give a preset, and the images as its data, as in "
            f"`geomem train digits-unet-small --set data.name {path} --set data.n_train none`."
        )
    if not path.is_file():
        raise ConfigError(f"no preset or file {str(path)!r}; presets: {', '.join(PRESETS)}.")
    try:
        tables = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML ({error}).") from error
    start = tables.pop("preset", None)
    if start is not None and str(start) not in PRESETS:
        raise ConfigError(f"{path}: no preset {start!r}; presets: {', '.join(PRESETS)}.")
    return changed(PRESETS[start] if start else Experiment(), _flat(tables))


def _flat(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        name = prefix + key
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat


def _rebuilt(config: Any, changes: Mapping[str, Any], prefix: str = "") -> Any:
    """``config`` with its changes made all at once: some make sense together only."""
    hints = get_type_hints(type(config))
    new = {}
    for f in fields(config):
        key, value = prefix + f.name, getattr(config, f.name)
        if is_dataclass(value):
            new[f.name] = _rebuilt(value, changes, f"{key}.")
        elif key in changes:
            new[f.name] = _typed(key, changes[key], hints[f.name])
    return replace(config, **new)


def _typed(key: str, value: Any, hint: Any) -> Any:
    """A value of TOML or of the command line as the type of its setting."""
    kinds = getattr(hint, "__args__", (hint,))
    if getattr(hint, "__origin__", None) is tuple:
        items = value.replace(",", " ").split() if isinstance(value, str) else value
        items = items if isinstance(items, (list, tuple)) else [items]
        return tuple(_typed(key, item, kinds[0]) for item in items)
    if type(None) in kinds and (value is None or str(value).lower() == "none"):
        return None
    for kind in kinds:
        with contextlib.suppress(ValueError):
            return cast(value, kind)
    expected = hint.__name__ if isinstance(hint, type) else str(hint)
    raise ConfigError(f"{key}: {value!r} is not of type {expected}.")
