"""The verbs of the command line that draw images from models of the store: sample, swap."""

from __future__ import annotations

import argparse
import io
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from geomem import disk
from geomem.cli.main import examples
from geomem.cli.models import store_root
from geomem.cli.processes import checked_device
from geomem.data.sets import source_sha256
from geomem.diffusion import zoo
from geomem.diffusion.noise import karras_sigmas
from geomem.diffusion.sampler import SOLVERS, check_memory, sample
from geomem.diffusion.train import device_of
from geomem.digitized.stated import SWAP_STEPS
from geomem.errors import InputError
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Fraction, paired_difference
from geomem.geometry.window import Window
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import memorized_fraction, neighbours
from geomem.memorization.swaps import swap

TILE = 64  # pixels of one sample on a sheet, or more
SHEET = 1024  # samples on it, at most: the first ones


def add_sample(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem sample MODEL
        geomem sample MODEL -n 256 --seed 1 --solver euler --out try.npz
        """,
    )
    verb.set_defaults(verb=sample_images)
    verb.add_argument("model", metavar="MODEL", help="a name of `geomem models` or the start of it")
    _add_sampling(verb, 64)


def add_swap(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem swap BASE DONOR --window medium
        geomem swap BASE DONOR --low 0.05 --high 0.9 --out mixed.npz
        geomem swap BASE DONOR --steps 11 14 --solver euler
        """,
    )
    verb.set_defaults(verb=swap_denoisers)
    for name, answers in (("base", "outside"), ("donor", "inside")):
        about = f"the model that answers {answers} the window, as `geomem sample` takes it"
        verb.add_argument(name, metavar=name.upper(), help=about)
    steps = ", ".join(f"{name} {first}-{last}" for name, (first, last) in SWAP_STEPS.items())
    verb.add_argument("--low", type=float, metavar="L", help="DONOR from this sigma (default 0)")
    verb.add_argument("--high", type=float, metavar="H", help="to below this one (default all)")
    verb.add_argument(
        "--steps", type=int, nargs=2, metavar=("FIRST", "LAST"), help="or these of the 18 levels"
    )
    verb.add_argument("--window", choices=SWAP_STEPS, help=f"or the paper's steps: {steps}")
    verb.add_argument(
        "--against",
        choices=("base", "donor"),
        help="whose training images a copy is one of (default: the model with fewer of them)",
    )
    _add_sampling(verb, 256)


def _add_sampling(verb: argparse.ArgumentParser, n: int) -> None:
    verb.add_argument("-n", type=int, default=n, metavar="N", help=f"how many (default {n})")
    verb.add_argument("--seed", type=int, default=0, help="of the noise; sample i is its i-th")
    verb.add_argument("--solver", choices=SOLVERS, default="heun", help="euler is the paper's")
    verb.add_argument("--label", type=int, metavar="K", help="class of a class-conditional model")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    about = f"a name in .npz or .png; asks for both, the .png of the first {SHEET:,}"
    verb.add_argument("--out", metavar="FILE", help=about)
    verb.add_argument("--force", action="store_true", help="replace what has these names")


# geomem sample


def sample_images(options: argparse.Namespace) -> None:
    trained = zoo.load_model(options.model, store_root(), device=checked_device(options.device))
    archive, sheet = _outputs(options, f"{trained.name}-seed{options.seed}.npz")
    _check(options, trained)
    denoise = _denoiser(trained, options.label)
    print(
        f"{options.n:,} samples of {trained.name}: seed {options.seed}, {options.solver}, "
        f"{len(karras_sigmas())} noise levels\n  into {archive} and {sheet}",
        flush=True,
    )
    images = _drawn(denoise, trained, options)
    _save(images, trained, options.label, archive, sheet)
    print(_memorized(images, trained))


def _memorized(images: Tensor, trained: zoo.Trained) -> str:
    """How many are copies of training images, where those are on this disk."""
    try:
        train = training_images(trained)
        share = memorized_fraction(images, train)
    except ValueError as error:
        return f"memorized: not known, {error}"
    return (
        f"memorized: {share} of the samples (95% interval), are less "
        f"than a third as\n  far from the nearest of the {len(train):,} training images as "
        "from the second nearest"
    )


# geomem swap


def swap_denoisers(options: argparse.Namespace) -> None:
    window, device = _window(options), checked_device(options.device)
    base, donor = (
        zoo.load_model(name, store_root(), device=device) for name in (options.base, options.donor)
    )
    first, last = window.steps(karras_sigmas())[[0, -1]]
    archive, sheet = _outputs(
        options, f"{base.name}-steps{first}-{last}-{donor.name}-seed{options.seed}.npz"
    )
    _check(options, base)
    conditions = _conditions(base, donor, window, options.label)
    models = {"base": base, "donor": donor}
    against = options.against or min(models, key=lambda name: _n_train(models[name]))
    distinct = _distinct(models[against], against)
    print(
        f"{options.n:,} samples of each: seed {options.seed}, {options.solver}\n"
        f"  base: {base.name}\n"
        f"  donor: {donor.name} in {window}, steps {first} to {last}\n"
        f"  the swap's into {archive}\n  and {sheet}\n"
        f"memorized from the {_n_train(models[against]):,} training images of the {against} "
        "(95% intervals):",
        flush=True,
    )
    passed = {}
    for name, denoise in conditions.items():
        images = _drawn(denoise, base, options)
        passed[name] = neighbours(images, distinct).memorized()
        share = Fraction.of(int(passed[name].sum()), options.n)
        print(f"  {name:11} {share}", flush=True)
    _save(images, base, options.label, archive, sheet)  # the last condition's, the swap's
    change = paired_difference(passed["base alone"], passed["swap"])
    print(f"the swap changes the share of the base by {change} (paired by the noise)")


def _window(options: argparse.Namespace) -> Window:
    """The one window asked for; it holds at least one level of the sampler."""
    edges = options.low is not None or options.high is not None
    if edges + (options.steps is not None) + (options.window is not None) != 1:
        raise InputError(
            "name the window once: --low L --high H, --steps FIRST LAST, or --window NAME."
        )
    try:
        if edges:
            low, high = options.low, options.high
            window = Window(0.0 if low is None else low, math.inf if high is None else high)
        else:
            first, last = options.steps or SWAP_STEPS[options.window]
            window = Window.of_steps(first, last, karras_sigmas())
    except ValueError as error:
        raise InputError(str(error)) from error
    if not len(window.steps(karras_sigmas())):
        raise InputError(f"window: {window} holds no noise level of the sampler.")
    return window


def _conditions(
    base: zoo.Trained, donor: zoo.Trained, window: Window, label: int | None
) -> dict[str, Denoiser]:
    """What is sampled, by name; a label is for those of the models that have classes."""
    shapes = [model.record["images"][1:] for model in (base, donor)]
    if shapes[0] != shapes[1]:
        shown = " and ".join("x".join(map(str, shape)) for shape in shapes)
        raise InputError(f"swap: the models are of different images, {shown}.")
    classes = [model.experiment.train.model.n_classes for model in (base, donor)]
    ours, theirs = (
        _denoiser(model, label if n_classes or not any(classes) else None)
        for model, n_classes in zip((base, donor), classes, strict=True)
    )
    return {"base alone": ours, "donor alone": theirs, "swap": swap(ours, theirs, window)}


def _distinct(trained: zoo.Trained, against: str) -> DistinctImages:
    try:
        return DistinctImages(training_images(trained))
    except ValueError as error:
        raise InputError(f"--against {against}: {error}") from error


def _n_train(trained: zoo.Trained) -> int:
    """How many real training images a model has; a dummy class comes after them, as many."""
    return int(trained.record["images"][0]) // (1 + trained.experiment.data.dummy)


# Shared


def _check(options: argparse.Namespace, trained: zoo.Trained) -> None:
    if options.n < 1 or options.seed < 0:
        raise InputError("-n must be at least 1, and --seed at least 0.")
    try:
        check_memory(options.n, _shape(trained))
    except ValueError as error:
        raise InputError(f"-{error}") from error


def _shape(trained: zoo.Trained) -> tuple[int, int, int]:
    """The (C, H, W) of a model's images."""
    network = trained.experiment.train.model
    return network.channels or 0, network.size or 0, network.size or 0


def _denoiser(trained: zoo.Trained, label: int | None) -> Denoiser:
    """The denoiser of a model, of one class where it has classes."""
    n_classes = trained.experiment.train.model.n_classes
    if label not in (range(n_classes) if n_classes else (None,)):
        labels = f"from 0 to {n_classes - 1}" if n_classes else "none"
        raise InputError(f"--label: {trained.name} takes {labels}, got {label}.")
    return trained.denoise if label is None else trained.denoise.given(label)


def _drawn(denoise: Denoiser, trained: zoo.Trained, options: argparse.Namespace) -> Tensor:
    """Samples (n, C, H, W) in data units, of the size of a model's images."""
    return sample(
        denoise,
        _shape(trained),
        options.n,
        seed=options.seed,
        solver=options.solver,
        device=device_of(options.device),
    )


def training_images(trained: zoo.Trained) -> NDArray[np.float32]:
    """The real images that a model was trained on (N, C, H, W); ValueError where they are gone.

    Nothing is downloaded.
    """
    data = trained.experiment.data
    if source_sha256(data.name) == "absent":
        raise ValueError(f"the training images ({data.name}) are not on this disk")
    images = data.load()
    if images.sha256 != trained.record["data_sha256"]:
        raise ValueError(f"{data.name} is not what this model was trained on")
    return images.train[: _n_train(trained)]


def _save(
    images: Tensor, trained: zoo.Trained, label: int | None, archive: Path, sheet: Path
) -> None:
    """Pixels as bytes; latents, and what else is not in [-1, 1], as they are.

    Of these the sheet shows one channel, or three, between their own percentiles.
    """
    channels, shown = images.shape[1], images
    as_they_are = trained.experiment.data.range == "any" or channels not in (1, 3)
    if as_they_are:
        low, high = np.quantile(images.numpy(), (0.01, 0.99))
        shown = 2 * (images[:, : 3 if channels >= 3 else 1] - low) / max(high - low, 1e-12) - 1
    pixels = (shown.clamp(-1, 1) + 1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    arrays: dict[str, Any] = {"images": images.permute(0, 2, 3, 1).numpy()}
    if not as_they_are:
        arrays["images"] = pixels
    if label is not None:
        arrays["labels"] = np.full(len(pixels), label)
    numbers, picture = io.BytesIO(), io.BytesIO()
    np.savez_compressed(numbers, **arrays)
    _sheet(pixels[:SHEET]).save(picture, "png")
    disk.write(archive, numbers.getvalue())
    disk.write(sheet, picture.getvalue())


def _outputs(options: argparse.Namespace, usual: str) -> tuple[Path, Path]:
    """The archive and the sheet beside it; a name of either asks for both."""
    asked = options.out or usual
    path = Path(asked)
    if path.suffix not in (".npz", ".png"):
        raise InputError(f"--out: a name in .npz or .png, got {asked!r}.")
    if not path.parent.is_dir():
        raise InputError(f"--out: there is no folder {str(path.parent)!r}.")
    archive, sheet = path.with_suffix(".npz"), path.with_suffix(".png")
    for there in (archive, sheet):
        if os.path.lexists(there) and not options.force:
            raise InputError(f"{there} is there already; choose another --out, or add --force.")
    return archive, sheet


def _sheet(pixels: NDArray[np.uint8]) -> Image.Image:
    """Samples (n, H, W, C) as one picture, row by row, as square as it gets."""
    n, height, width, channels = pixels.shape
    scale, columns = max(1, TILE // max(height, width)), math.ceil(math.sqrt(n))
    tiles = np.full((columns * math.ceil(n / columns), height + 1, width + 1, channels), 255)
    tiles[:n, 1:, 1:] = pixels  # a white line between them
    rows = tiles.reshape(-1, columns, *tiles.shape[1:]).transpose(0, 2, 1, 3, 4)
    sheet = rows.reshape(-1, columns * (width + 1), channels)
    return Image.fromarray(sheet.repeat(scale, 0).repeat(scale, 1).astype(np.uint8).squeeze())
