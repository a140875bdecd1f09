"""What an audit is given, checked once, and what several of its parts need of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.schedules import Schedule
from geomem.errors import InputError
from geomem.geometry.denoiser import Denoiser, weights
from geomem.geometry.distances import Points
from geomem.geometry.regimes import Geometry, measure_regimes
from geomem.memorization.distinct import DistinctImages, firsts
from geomem.memorization.twins import Twins, twins
from geomem.report.part import key_of

FEW = 20  # images, of which nothing is said
TIMES = np.geomspace(0.01, 100, 13)  # noise levels at which two clocks are told apart
NAMED = ("linear", "cosine")  # schedules of DDPM on whose clocks levels are read, too


@dataclass(frozen=True)
class Depth:
    """How much is measured.

    Attributes
    ----------
    images : training and held-out images each that are denoised, at most.
    levels : noise levels at which they are.
    samples : that are drawn of a model.
    resamples : from which the interval of the gap comes.
    """

    images: int
    levels: int
    samples: int
    resamples: int


QUICK, THOROUGH = Depth(256, 16, 64, 100), Depth(2048, 24, 512, 400)


@dataclass(frozen=True, eq=False)
class Asked:
    """The images, and the settings.

    Attributes
    ----------
    train : array (N, ...), the training images, data units.
    heldout : array (Q, ...) or None, images that no model was trained on.
    schedules : on whose clocks noise levels are read.
    depth, c, level, seed, device : the settings.
    """

    train: NDArray[Any]
    heldout: NDArray[Any] | None
    schedules: Sequence[Schedule]
    depth: Depth
    c: float
    level: float
    seed: int
    device: str

    def __post_init__(self) -> None:
        for name, images in (("training", self.train), ("held-out", self.heldout)):
            if images is not None and len(images) < FEW:
                raise InputError(
                    f"audit: {len(images)} {name} images are too few to say anything; "
                    f"give {FEW} or more."
                )
        if self.seed < 0:
            raise InputError(f"audit: a seed is a whole number >= 0, got {self.seed}.")
        if len(self.apart) < FEW:
            raise InputError(
                f"audit: of {len(self.train):,} training images only {len(self.apart)} differ by "
                f"more than near twins do; give {FEW} or more."
            )
        if self.heldout is not None and self.new is not None and len(self.new) < FEW:
            raise InputError(
                f"audit: of {len(self.heldout):,} held-out images only {len(self.new)} are no "
                f"repeats; give {FEW} or more."
            )

    @cached_property
    def key(self) -> str:
        """What all parts are made of: the images and the settings."""
        held = "none" if self.heldout is None else digest(self.heldout)
        schedules = [(one.name, one.forward(TIMES).tolist()) for one in self.schedules]
        settings = (schedules, self.depth, self.c, self.level, self.seed)
        versions = f"torch {torch.__version__}, numpy {np.__version__}"
        return key_of(code(), versions, digest(self.train), held, repr(settings))

    @cached_property
    def distinct(self) -> DistinctImages:
        """The training images as the paper's ratio test takes them."""
        return DistinctImages(self.train, self.device)

    @cached_property
    def once(self) -> NDArray[Any]:
        """The training images without repeats, which would count as independent ones."""
        return np.asarray(self.train)[self.distinct.index]

    @cached_property
    def new(self) -> NDArray[Any] | None:
        """The held-out images, likewise."""
        if self.heldout is None:
            return None
        return np.asarray(self.heldout)[firsts(Points(self.heldout, "heldout", self.device))]

    @cached_property
    def twins(self) -> Twins:
        """Repeats and near twins, within the training images and across."""
        return twins(self.train, self.heldout, device=self.device)

    @cached_property
    def merged(self) -> DistinctImages | None:
        """The training images with near twins as one; None where there are none."""
        return DistinctImages(self.train, self.device, twins=True) if self.twins.grouped else None

    @cached_property
    def single(self) -> DistinctImages:
        """One image of each group of near twins, which would hide copies of one another."""
        return self.distinct if self.merged is None else DistinctImages(self.apart, self.device)

    @cached_property
    def mirrored(self) -> DistinctImages:
        """The training images, of which mirror images are copies, too."""
        return DistinctImages(self.train, self.device, augment="mirror")

    @cached_property
    def apart(self) -> NDArray[Any]:
        """The training images, one of each group of near twins."""
        if self.merged is None:
            return self.once
        _, first = np.unique(self.merged.group, return_index=True)
        return np.asarray(self.train)[self.merged.index[np.sort(first)]]

    @cached_property
    def halves(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """For geometry alone: images apart from one another, and new ones."""
        if self.new is not None:
            return self.apart, self.new
        rows = np.arange(len(self.apart))
        return self.apart[rows % 5 != 4], self.apart[4::5]

    @cached_property
    def geometry(self) -> Geometry:
        """Coverage, concentration and regimes, with near twins merged."""
        train, new = self.halves
        return measure_regimes(
            new, train, c=self.c, level=self.level, seed=self.seed, device=self.device
        )

    def some(self, images: NDArray[Any]) -> NDArray[Any]:
        """As many of them as are denoised, evenly spread."""
        n = self.depth.images
        if len(images) <= n:
            return images
        return images[np.linspace(0, len(images) - 1, n).round().astype(int)]


def digest(images: NDArray[Any]) -> str:
    """SHA-256 of an array, its shape and kind of numbers."""
    array = np.ascontiguousarray(images)
    found = hashlib.sha256(str((array.shape, array.dtype.str)).encode())
    found.update(array.data)
    return found.hexdigest()


@cache
def code() -> str:
    """SHA-256 of this package's code: what was found by other code is not found again."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()


def identity(denoise: Denoiser) -> str:
    """SHA-256 of a network's weights; "" where it has none."""
    found, some = hashlib.sha256(), False
    for weight in weights(denoise):
        found.update(weight.detach().cpu().float().numpy().tobytes())
        some = True
    return found.hexdigest() if some else ""


def clocks(given: object = None) -> tuple[Schedule, ...]:
    """The user's own schedule first, then two of DDPM, and the flow; each clock once."""
    usual = (*(Schedule.ddpm(name) for name in NAMED), Schedule.flow())
    if not isinstance(given, Schedule) or _agree(given, Schedule.edm()):  # sigma is there anyway
        return usual
    return (given, *(one for one in usual if not _agree(one, given)))


def _agree(one: Schedule, other: Schedule) -> bool:
    """Whether two clocks show the same times; one that does not know a level shows none there."""
    levels = np.array([0.1, 1.0, 10.0])
    shown = (one.forward(levels), other.forward(levels))
    return one.clock == other.clock and np.allclose(*shown, rtol=1e-4)
