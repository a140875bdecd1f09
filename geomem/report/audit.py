"""An audit: with whatever is given, what can be said of memorization (ours)."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from geomem.data.sets import ImageSet
from geomem.denoisers.adapter import AdaptedDenoiser
from geomem.denoisers.recognise import denoiser
from geomem.diffusion.sampler import device_of, levels_of
from geomem.diffusion.schedules import Schedule
from geomem.diffusion.zoo import acquire
from geomem.errors import InputError
from geomem.geometry.arrays import Array, Floats, check_array
from geomem.geometry.coverage import shell_coverage
from geomem.geometry.denoiser import Denoiser, answer
from geomem.geometry.regimes import DRAWS, GRID
from geomem.memorization.distinct import DistinctImages
from geomem.plots import STYLE
from geomem.report.asked import QUICK, THOROUGH, Asked, clocks, digest, identity
from geomem.report.images import BOUNDED, gap_part, images_part
from geomem.report.model import compared, levels_for, model_part
from geomem.report.part import Part, key_of, stem
from geomem.report.report import Report, check_figures
from geomem.report.samples import samples_part

PARTS = "parts"  # of a report's folder, where each part is kept when it is done
PILOT = 64  # images of which the time is taken
DRAWING = 4.0  # seconds of a part's pictures, about
BOUNDING = 8.0  # of the bounds on the concentration of so many images as are bounded
CHECKING = 32 * 5 * 10  # images that `check_denoiser` denoises, about
KNOWN_BY = 8  # images whose answers a model is known by

Step = tuple[str, Callable[[str], Part], str, float]  # a name, what finds it, its key, seconds


def audit(
    train: Array | ImageSet,
    heldout: Array | None = None,
    *,
    model: Denoiser | Mapping[str, Denoiser] | None = None,
    samples: Array | None = None,
    sampler: str = "a sampler that was not named",
    schedule: Schedule | None = None,
    thorough: bool = False,
    c: float = 5.0,
    level: float = 0.8,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "auto",
    quiet: bool = False,
) -> Report:
    """Does a model memorize its images, at which noise levels, and what to do about it.

    Of the images alone: duplicates and near twins, coverage and concentration, the danger zone,
    and the gap to train with. Of samples: the share of copies above its floor, and the worst. Of
    each model: errors, memorization at each noise level with a certificate, membership, samples
    of it and where they are decided. Of several models: which one to keep.

    Parameters
    ----------
    train : array (N, C, H, W) or ImageSet
        What a model was trained on, or will be, data units; at least 20 images.
    heldout : array (Q, C, H, W) or None
        Images that no model was trained on, or chosen by; None: those of an `ImageSet` if it has
        some.
    model : denoiser, mapping of names to denoisers, or None
        As `geomem.denoiser` makes them, or what it takes alone, such as a pipeline; a mapping of
        a model's checkpoints, say.
    samples : array (n, C, H, W) or None
        Samples of a model, drawn by the user, in the same units.
    sampler : str
        How they were drawn, in words.
    schedule : Schedule or None
        A clock on which noise levels are given, beside DDPM's two and the flow's.
    thorough : bool
        Whether up to 2,048 images are denoised at 24 levels and 512 samples drawn, in place of 256,
        16 and 64.
    c, level : float
        As in `measure_regimes`.
    seed : int
        Seed of the noise, of the samples and of the resampling.
    out : path or None
        A folder for ``report.html``, ``report.json``, figures and their values. There each part is
        kept when it is done, and found again by a later call of the same images, weights and
        settings.
    device : str
        "auto", or a torch device.
    quiet : bool
        Whether the budget and the parts are not printed.

    Returns
    -------
    Report
        ``numbers`` by name, each with its interval; ``answers``, in words; ``gap``, for a
        training loop; ``holds("memorized < 0.01")``; ``html``, ``json``, ``write(folder)``.

    Raises
    ------
    ValueError
        If there are fewer than 20 images, sizes or ranges differ, or a denoiser fails.

    References
    ----------
    Ours; see :doc:`/book/your_own_model`.

    Examples
    --------
    >>> import geomem
    >>> data = geomem.load_dataset("digits", n_train=40, n_heldout=40)
    >>> report = geomem.audit(data, samples=data.train[:30], quiet=True)
    >>> print(report.numbers["memorized"].text)
    30 of 30, 100% [88%, 100%]
    """
    images, new = _images(train, heldout)
    models = _named(model)
    if not (0 < level < 1 and c > 0):
        raise InputError(f"audit: needs 0 < level < 1 and c > 0, got {level} and {c}.")
    asked = Asked(
        images, new, clocks(schedule or _schedule(models)), THOROUGH if thorough else QUICK,
        c, level, seed, device,
    )  # fmt: skip
    drawn = None if samples is None else _like(images, samples)
    folder = None if out is None else Path(out)
    if folder is not None:  # before anything is measured
        check_figures(folder)
    with _alone(folder):
        steps = _steps(asked, models, drawn, sampler)
        if not quiet:
            _announce(steps, folder)
        with plt.style.context(STYLE):
            parts = {step[0]: _done(step, folder, quiet) for step in steps}
        looked = {name.partition("/")[2]: part for name, part in parts.items() if "/" in name}
        if len(looked) > 1:
            parts["compared"] = compared(looked, "")
        if len(looked) == 1:  # nothing to tell apart: its numbers have no prefix
            parts = {name.partition("/")[0]: part for name, part in parts.items()}
        report = Report(parts, _about(asked, models, drawn, sampler))
        if folder is not None:
            report.write(folder)
    return report


@contextlib.contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """Hold a report's folder, as far as its disk has locks: two audits would mix their figures."""
    if folder is None:
        yield
        return
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / PARTS / "lock")
    try:
        acquire(lock, blocking=False)
    except Timeout:
        raise InputError(
            f"audit: another one writes in {str(folder)!r}; wait for it, or take another."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _images(
    train: Array | ImageSet, heldout: Array | None
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    if isinstance(train, ImageSet):
        heldout = train.heldout if heldout is None and len(train.heldout) else heldout
        train = train.train
    images = _array(train)
    return images, None if heldout is None else _like(images, heldout)


def _like(images: NDArray[Any], others: Array) -> NDArray[Any]:
    """Others as an array, of the shape of the images."""
    found = _array(others)
    if found.shape[1:] != images.shape[1:]:
        shapes = ["x".join(map(str, of.shape[1:])) for of in (images, found)]
        raise InputError(f"audit: training images are {shapes[0]}, the others {shapes[1]}.")
    return found


def _array(images: Array) -> NDArray[Any]:
    """What `check_array` takes, on the host, in the order of bytes that torch takes."""
    try:
        found = check_array("audit", images)
    except ValueError as error:
        raise InputError(f"{error} geomem.load_dataset reads a path.") from error
    if isinstance(found, torch.Tensor):  # NumPy has no bfloat16
        found = (found.float() if found.dtype == torch.bfloat16 else found).cpu().numpy()
    return np.ascontiguousarray(found, found.dtype.newbyteorder("="))


def _named(model: Any) -> dict[str, AdaptedDenoiser]:
    """Denoisers by their names, each recognised for what it is."""
    if model is None:
        return {}
    given = model if isinstance(model, Mapping) else {"": model}
    if len({stem(str(name)) for name in given}) < len(given):
        raise InputError(f"audit: models need names that differ as files', got {', '.join(given)}.")
    return {name: denoiser(one, quiet=True) for name, one in given.items()}


def _schedule(models: Mapping[str, AdaptedDenoiser]) -> Schedule | None:
    return next((of.schedule for of in models.values()), None)


def _steps(
    asked: Asked, models: Mapping[str, Denoiser], drawn: NDArray[Any] | None, sampler: str
) -> list[Step]:
    """What is to be found, with what it is made of and about how long it takes."""
    geometry = _geometry_seconds(asked)
    steps: list[Step] = [
        ("images", lambda key: images_part(asked, key), key_of("images", asked.key), geometry),
        ("gap", lambda key: gap_part(asked, key), key_of("gap", asked.key), geometry / 4),
    ]
    if drawn is not None:
        key, images = key_of("samples", asked.key, digest(drawn), sampler), drawn
        seconds = geometry * len(drawn) / (len(asked.train) * len(GRID)) + _grouping_seconds(asked)
        steps.append(
            ("samples", lambda key: samples_part(asked, images, sampler, key), key, seconds)
        )
    levels = levels_for(asked, [*models.values()]) if models else np.empty(0)
    for name, denoise in models.items():
        seconds, answers = _pilot(asked, denoise, levels), _answers(asked, denoise, levels)
        if drawn is None and name == next(iter(models)):  # once, for whatever comes first
            seconds += _grouping_seconds(asked)
        key = key_of("model", asked.key, answers, name or "-")

        def look(key: str, name: str = name, denoise: Denoiser = denoise) -> Part:
            return model_part(asked, name, denoise, levels, key)

        steps.append((f"model/{name}", look, key, seconds))
    return steps


def _geometry_seconds(asked: Asked) -> float:
    """From the time of the coverage of a few images, two fifths of what is done with each."""
    train, new = asked.halves
    for _ in range(2):  # the first warms up
        begun = time.perf_counter()
        shell_coverage(new[:PILOT], train, GRID, c=asked.c, draws=DRAWS, device=asked.device)
        taken = time.perf_counter() - begun
    bounds = (len(train) / BOUNDED) ** 2 * BOUNDING if len(train) <= BOUNDED else 0.0
    return DRAWING + bounds + 2.5 * taken * (len(new) + len(train)) / min(PILOT, len(new))


def _grouping_seconds(asked: Asked) -> float:
    """Of holding all training images against their mirror images, which grows as N squared."""
    some = asked.train[:: -(-len(asked.train) // (8 * PILOT))]
    begun = time.perf_counter()
    with contextlib.suppress(ValueError):  # no images, or one image again and again
        DistinctImages(some, asked.device, augment="mirror")
    return (time.perf_counter() - begun) * (len(asked.train) / len(some)) ** 2


def _asked(asked: Asked, denoise: Denoiser, levels: Floats, n: int) -> Iterator[torch.Tensor]:
    """The answers to the first n training images, on the host, at one noise level after another."""
    device = device_of(denoise) if asked.device == "auto" else asked.device
    some = torch.as_tensor(asked.train[:n]).float()
    noise = torch.from_numpy(np.random.default_rng(asked.seed).standard_normal(some.shape)).float()
    for level in levels.tolist():
        yield answer(denoise, (some + level * noise).to(device), level).cpu()


def _answers(asked: Asked, denoise: Denoiser, levels: Floats) -> str:
    """What a model is known by: SHA-256 of some answers, at all levels that its part asks for."""
    every = np.concatenate([levels, levels_of(denoise)])
    found = hashlib.sha256(repr(every.tolist()).encode())
    for answered in _asked(asked, denoise, every, KNOWN_BY):
        found.update(answered.numpy().tobytes())
    return found.hexdigest()


def _pilot(asked: Asked, denoise: Denoiser, levels: Floats) -> float:
    """About how long a model takes, seconds."""
    begun = time.perf_counter()
    for _ in _asked(asked, denoise, levels[[-1, len(levels) // 2, 0]], PILOT):
        taken, begun = time.perf_counter() - begun, time.perf_counter()
    # The last one's time is taken: the first warms up.
    new = 0 if asked.new is None else len(asked.some(asked.new))
    images = asked.depth.levels * (len(asked.some(asked.once)) + new) + CHECKING
    images += asked.depth.samples * (2 * len(levels_of(denoise)) - 1)
    return DRAWING + taken / min(PILOT, len(asked.train)) * images


def _announce(steps: list[Step], folder: Path | None) -> None:
    """What is to be done yet, and about how long it takes."""
    seconds = {step[0].strip("/"): step[3] for step in steps if _kept(step, folder) is None}
    if not seconds:
        return
    total = sum(seconds.values())
    each = ", ".join(f"{name} {_said(taken)}" for name, taken in seconds.items())
    print(f"audit: about {_said(total)} ({each})", flush=True)


def _said(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _kept(step: Step, folder: Path | None) -> Part | None:
    """A part that an earlier audit has found."""
    name, _, key, _ = step
    return None if folder is None else Part.load(_path(name, folder), key)


def _path(name: str, folder: Path) -> Path:
    return folder / PARTS / f"{stem(name)}.json"


def _done(step: Step, folder: Path | None, quiet: bool) -> Part:
    """A part, found again or found; it is kept at once."""
    name, look, key, _ = step
    begun, part = time.perf_counter(), _kept(step, folder)
    found = part is not None
    if part is None:
        part = look(key)
        if folder is not None:
            part.save(_path(name, folder))
    if not quiet:
        taken = "kept from before" if found else f"{time.perf_counter() - begun:.0f} s"
        print(f"  {name.strip('/')}: {taken}", flush=True)
    return part


def _about(
    asked: Asked, models: Mapping[str, Denoiser], drawn: NDArray[Any] | None, sampler: str
) -> dict[str, Any]:
    """What was looked at, with hashes and settings, and what more could be told."""
    shape = " x ".join(map(str, asked.train.shape[1:]))
    new, depth = asked.heldout, asked.depth
    held = 0 if new is None else len(new)
    more = {
        "held-out images, new errors, memorization at each noise level, membership, a floor": held,
        "samples, or a model, copies and their originals": drawn is not None or models,
        "a model, at which noise levels it memorizes": models,
    }
    wanted = [f"with {what}" for what, there in more.items() if not there]
    provenance = {
        "training images": f"{len(asked.train):,}, {shape}, SHA-256 {digest(asked.train)}",
        "held-out images": "none" if new is None else f"{held:,}, SHA-256 {digest(new)}",
        "settings": f"shells c = {asked.c:g}, level {asked.level:g}, seed {asked.seed}; at most "
        f"{depth.images:,} images of each kind at {depth.levels} noise levels, {depth.samples} "
        f"samples, {depth.resamples} resamples",
        "torch, numpy": f"{torch.__version__}, {np.__version__}",
    }
    if drawn is not None:
        provenance["samples"] = f"{len(drawn):,}, {sampler}, SHA-256 {digest(drawn)}"
    for name, denoise in models.items():
        weights_ = identity(denoise)
        provenance[f"model {name}".strip()] = f"SHA-256 {weights_}" if weights_ else "no weights"
    return {
        "line": f"{len(asked.train):,} training and {held:,} held-out images of {shape}.",
        "missing": f"More could be told: {'; '.join(wanted)}." if wanted else "",
        "provenance": provenance,
    }
