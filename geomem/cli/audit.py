"""The verb of the command line that looks at images, samples and models of any origin: audit."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomem.cli.main import examples, value_range
from geomem.cli.models import store_root
from geomem.cli.processes import checked_device
from geomem.cli.samples import training_images
from geomem.data.named import name_of, open_source
from geomem.data.sets import ImageSet, laid_on, load_dataset
from geomem.denoisers.recognise import denoiser
from geomem.diffusion import zoo
from geomem.diffusion.schedules import Schedule
from geomem.errors import InputError
from geomem.geometry.denoiser import Denoiser
from geomem.report.audit import audit
from geomem.report.report import Report, read_check

CLOCKS = ("linear", "scaled_linear", "cosine", "flow")


def add_audit(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem audit photographs/ --out audit
        geomem audit train/ --heldout new/ --samples samples.npz --sampler "DDIM, 50 steps"
        geomem audit train/ --heldout new/ --model checkpoint-1000 --model checkpoint-4000
        geomem audit train.npy --heldout new.npy --model my_model.py:denoise
        geomem audit digits --n-train 64 --model MODEL --check "memorized < 0.01"
        """,
    )
    verb.set_defaults(verb=audit_images)
    kinds = "a folder, .zip, .npy, .npz, .safetensors or .pt"
    verb.add_argument("images", metavar="IMAGES", help=f"what a model is trained on: {kinds}")
    verb.add_argument("--heldout", metavar="PATH", help="images that no model was trained on")
    verb.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="MODEL",
        help="a folder of diffusers, a model of the store, or FILE.py:NAME, a denoiser there; "
        "again for another one",
    )
    verb.add_argument("--samples", metavar="PATH", help="samples of a model that you drew")
    verb.add_argument("--sampler", default="a sampler that was not named", help="how, in words")
    verb.add_argument("--schedule", choices=CLOCKS, help="a clock for the noise levels")
    verb.add_argument("--size", type=int, metavar="N", help="crop and scale images to N x N")
    verb.add_argument("--range", nargs="+", metavar="V", help="LOW HIGH of the values, or any")
    verb.add_argument("--n-train", type=int, metavar="N", help="training images, the first ones")
    verb.add_argument("--thorough", action="store_true", help="measure more, about 8 times longer")
    verb.add_argument("--seed", type=int, default=0, help="of noise, samples and resampling")
    verb.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    verb.add_argument("--out", default="audit", metavar="DIR", help="of the report (default audit)")
    verb.add_argument(
        "--check",
        action="append",
        default=[],
        metavar="NAME<NUMBER",
        help="exit code 1 unless it holds, 'memorized < 0.01'; again for another one",
    )


def audit_images(options: argparse.Namespace) -> None:
    device = checked_device(options.device)
    for check in options.check:  # before anything is measured
        read_check(check)
    data = _loaded(options)
    samples = _samples(options, data)
    models = {name: _model(name, device, data) for name in options.model}
    folder = Path(options.out)
    if folder.exists() and any(folder.iterdir()) and not (folder / "parts").is_dir():
        raise InputError(f"--out: {folder} holds other things than a report; name another one.")
    try:
        report = audit(
            data,
            model=_short(models),
            samples=samples,
            sampler=options.sampler,
            schedule=_clock(options.schedule),
            thorough=options.thorough,
            seed=options.seed,
            out=folder,
            device=device,
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    print(report)
    print(folder / "report.html")
    _check(report, options.check)


def _loaded(options: argparse.Namespace) -> ImageSet:
    """The images; where none are given and none are the set's own, none are held out."""
    own = open_source(options.images, None).heldout is not None
    held: Any = options.heldout or (None if own else False)
    return load_dataset(
        options.images, heldout=held, n_train=options.n_train, size=options.size,
        range=value_range(options.range),
    )  # fmt: skip


def _samples(options: argparse.Namespace, data: ImageSet) -> NDArray[Any] | None:
    if options.samples is None:
        return None
    asked = value_range(options.range)
    if isinstance(asked, tuple):
        theirs, ours = (open_source(of, None).train for of in (options.samples, options.images))
        asked = laid_on(theirs, ours, asked, name_of(options.samples))
    with contextlib.redirect_stdout(io.StringIO()):  # what it says is of training images
        drawn = load_dataset(
            options.samples, heldout=False, size=options.size, range=asked or "unclipped"
        )
    low, high = drawn.train.min(), drawn.train.max()
    print(f"{len(drawn.train):,} samples of {options.samples}: values of {low:.3g} to {high:.3g}")
    if drawn.train.shape[1:] != data.train.shape[1:]:
        shapes = ["x".join(map(str, of.train.shape[1:])) for of in (data, drawn)]
        raise InputError(f"--samples: {shapes[1]}, and the training images are {shapes[0]}.")
    return np.asarray(drawn.train)


def _model(name: str, device: str, data: ImageSet) -> Denoiser:
    """A denoiser of a Python file, of a folder, or of the store; this one says on which images."""
    path, _, variable = name.rpartition(":")
    if path.endswith(".py"):
        if not Path(path).is_file():
            raise InputError(f"--model: no file {path}.")
        sys.path.insert(0, str(Path(path).resolve().parent))  # as Python does for a script
        try:
            found = runpy.run_path(path)
        except Exception as error:  # whatever a user's own code raises
            raise InputError(f"--model: {path} failed: {type(error).__name__}: {error}") from error
        if not callable(found.get(variable)):
            raise InputError(f"--model: {path} has no denoiser {variable!r}.")
        given: Denoiser = found[variable]
        return given
    if Path(name).exists():
        try:
            adapted = denoiser(name, quiet=True)
        except InputError:
            raise
        except (OSError, ValueError, RuntimeError) as error:  # of another library, a damaged file
            why = str(error).partition("\n")[0]
            raise InputError(f"--model: {name}: {type(error).__name__}: {why}") from error
        if adapted.net is not None:
            adapted.net.to(device)
        print(adapted)
        return adapted
    trained = zoo.load_model(name, store_root(), device=device)
    if not _seen(trained, data):
        own = trained.record["images"][0] // (2 if trained.experiment.data.dummy else 1)
        print(
            f"{trained.name} was trained on {own:,} images, and it is not known that these "
            f"{len(data.train):,} are the same: what is said of it holds for its own."
        )
    return trained.denoise


def _seen(trained: zoo.Trained, data: ImageSet) -> bool:
    """Whether a model of the store was trained on these images, in whatever order."""
    try:
        own = training_images(trained)
    except ValueError:  # they are not here any more
        return False
    digests = [sorted(hashlib.sha256(x.tobytes()).digest() for x in of) for of in (own, data.train)]
    return digests[0] == digests[1]


def _short(models: dict[str, Denoiser]) -> dict[str, Denoiser] | None:
    """By the last parts of their paths, as many as tell them apart."""
    for parts in range(1, 100):
        short = {"/".join(Path(name).parts[-parts:]): of for name, of in models.items()}
        if len(short) == len(models):
            return short or None
    raise InputError("--model: the same one twice.")


def _clock(name: str | None) -> Schedule | None:
    if name is None:
        return None
    return Schedule.flow() if name == "flow" else Schedule.ddpm(name)


def _check(report: Report, checks: list[str]) -> None:
    held = {check: report.holds(check) for check in checks}
    for check, holds in held.items():
        print(f"{check}: {'holds' if holds else 'does not hold'}")
    if not all(held.values()):
        raise SystemExit(1)
