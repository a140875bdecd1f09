"""A monitor for any training loop: the held-out loss, the first copies, and when to stop (ours).

At each look it measures the same images under the same noise, and draws samples from the same
noise: what changes between two looks is the network.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.sampler import HIDDEN, levels_of, sample
from geomem.geometry.arrays import Array, Floats, check_array, check_count, check_sigmas
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.denoiser import Denoiser, in_eval_mode
from geomem.geometry.intervals import (
    Estimate,
    Fraction,
    bars,
    columns,
    mean_of,
    more_often,
    student_above,
)
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import denoising_error, near
from geomem.memorization.stopping import losses_of

LEVELS = 8  # noise levels of the loss, at equal steps of probability
FLOOR = 512  # held-out images that the floor is taken from, at the most
COPIES = 1e-3  # so improbable by chance is a share of copies, at one look, that is told
RISEN = 1e-4  # and a loss above the lowest one, which is the lowest of many


@dataclass(frozen=True)
class Look:
    """What one look found.

    Attributes
    ----------
    step : of the training.
    errors : the denoising error on held-out images at each noise level.
    losses : (n,) the loss of each held-out image, per pixel.
    copies : the share of the samples that are copies; None where none are drawn.
    """

    step: int
    errors: ErrorCurve
    losses: Floats
    copies: Fraction | None

    @property
    def loss(self) -> Estimate:
        """The mean loss, with its 95% interval over the images."""
        return mean_of(self.losses)

    def __str__(self) -> str:
        copies = "" if self.copies is None else f", copies {self.copies}"
        return f"step {self.step:,}: held-out loss {self.loss}{copies}"


class Monitor:
    """Looks at a denoiser while it is trained, in whatever loop, and says when to stop.

    Call ``look(step, denoise)`` every so often, say twenty times in a training, and break where
    ``stop`` is true. The loss and ``stop`` see held-out images only. They choose a network, so
    other images must judge it.

    Parameters
    ----------
    train : array (N, ...) or DistinctImages
        The training images, data units: what copies would be of.
    heldout : array (Q, ...)
        Images of the same kind that are not trained on, at least 2.
    sigmas : array (S,) or None
        Noise levels of the loss, data units, > 0; None for 8 that EDM's training draws equally
        often; those outside the ``sigma_min`` and ``sigma_max`` that the first denoiser has, if
        any, move to these.
    images : int
        Held-out images for the loss, evenly spread, >= 2.
    samples : int
        Samples drawn at each look, of which the copies are counted; 0 for none. Of 16 samples,
        and a floor of 0 in 512, 2 copies are beyond chance.
    patience : int
        Looks in a row that a loss must be above its lowest one, >= 1.
    seed : int
        Of the noise, the same at every look.
    quiet : bool
        Whether `look` prints nothing.
    device : str or torch.device
        "auto", or a torch device.

    Attributes
    ----------
    looks : list of Look
        What was found, in order: ``step``, ``loss`` with its 95% interval, ``errors``, a curve over
        noise levels, and ``copies``, a share with its interval.
    floor : Fraction
        The share of at most 512 held-out images that pass for copies.

    Raises
    ------
    ValueError
        If there are fewer than 2 held-out images, or a number is outside its range.

    Notes
    -----
    A loss is above the lowest one where the difference, paired over images, is positive beyond
    chance: Student's test at 1 in 10,000, since the lowest of many looks is low by chance, too. Of
    simulated trainings of 100 looks at equally good networks 3% or fewer were stopped with a
    patience of 2, 23% or fewer with 1. Weights that are not averaged go up and down by more than
    the images' chance; a moving average of them is what to show, and to keep.

    Copies begin at the first look whose share is above the floor by Fisher's exact test at 1 in
    1,000: without copying, in 6% or fewer of simulated trainings of 100 looks.

    References
    ----------
    Ours. The loss is that of :cite:t:`karras2022elucidating`, the copies those of the ratio test;
    see :doc:`/book/your_own_model`.

    Examples
    --------
    >>> from geomem import EmpiricalDenoiser, GaussianDenoiser, Monitor, load_dataset
    >>> data = load_dataset("digits", n_train=64)
    >>> monitor = Monitor(data.train, data.heldout, quiet=True)
    >>> for step, denoise in enumerate([GaussianDenoiser, EmpiricalDenoiser, EmpiricalDenoiser]):
    ...     look = monitor.look(step, denoise(data.train))
    >>> monitor.best, monitor.copies_begin, monitor.stop
    (0, 1, True)
    """

    def __init__(
        self,
        train: Array | DistinctImages,
        heldout: Array,
        *,
        sigmas: Array | None = None,
        images: int = 64,
        samples: int = 16,
        patience: int = 2,
        seed: int = 0,
        quiet: bool = False,
        device: str | torch.device = "auto",
    ):
        self.distinct = (
            train if isinstance(train, DistinctImages) else DistinctImages(train, device)
        )
        self.samples = check_count("samples", samples) if samples else 0
        self.patience = check_count("patience", patience)
        self.images = _spread(heldout, check_count("images", images))
        if len(self.images) < 2:
            few = "images must be at least 2" if len(heldout) > 1 else "needs at least 2"
            raise ValueError(f"monitor: {few} held-out images.")
        self.distinct.check_range(self.images)
        self.floor = near(_spread(heldout, FLOOR), self.distinct).fraction
        self.sigma_data = float(torch.as_tensor(self.distinct.images).double().std())
        law = NoiseLaw().for_data(self.sigma_data)
        likely = law.quantile((np.arange(LEVELS) + 0.5) / LEVELS)
        self.sigmas = likely if sigmas is None else check_sigmas(sigmas)
        self._given = sigmas is not None
        self.seed, self.quiet, self.device = seed, quiet, device
        self.looks: list[Look] = []

    def look(self, step: int, denoise: Denoiser) -> Look:
        """Measure a denoiser, keep what was found, and print it in a line.

        A network is asked in eval mode without gradients, and left in its own.

        Parameters
        ----------
        step : int
            Of the training.
        denoise : callable
            Any denoiser ``denoise(x, sigma)``.

        Returns
        -------
        Look
        """
        options: dict[str, Any] = dict(seed=self.seed, device=self.device)
        if not (self.looks or self._given):
            least = float(getattr(denoise, "sigma_min", 0.0))
            most = float(getattr(denoise, "sigma_max", np.inf))
            self.sigmas = np.unique(np.clip(self.sigmas, least, most))
        if self.samples and not self.looks and levels_of(denoise)[0] < HIDDEN * self.sigma_data:
            warnings.warn(
                f"monitor: samples begin at sigma {levels_of(denoise)[0]:.3g}, which does not hide "
                f"images whose pixels have a deviation of {self.sigma_data:.3g}: copies are not "
                "counted as the model samples in its own way.",
                stacklevel=2,
            )
        with in_eval_mode(denoise):
            errors = denoising_error(denoise, self.images, self.sigmas, **options)
            copies = None
            if self.samples:
                shape = tuple(self.distinct.images.shape[1:])
                drawn = sample(denoise, shape, self.samples, **options)
                copies = near(drawn, self.distinct).fraction
        losses = losses_of(errors, self.sigma_data) / np.prod(self.images.shape[1:])
        found = Look(step, errors, losses, copies)
        began, stopped = self.copies_begin, self.stop
        self.looks.append(found)
        if not self.quiet:
            floor = "" if copies is None else f" (floor {self.floor.count} of {self.floor.n})"
            news = "; copies begin here" if self.copies_begin != began else ""
            news += f"; stop, step {self.best:,} is best" if self.stop and not stopped else ""
            print(f"{found}{floor}{news}", flush=True)
        return found

    @property
    def lowest(self) -> Look:
        """The look with the lowest held-out loss."""
        if not self.looks:
            raise ValueError("monitor: there was no look yet.")
        return min(self.looks, key=lambda look: look.losses.mean())

    @property
    def best(self) -> int:
        """The step with the lowest held-out loss."""
        return self.lowest.step

    @property
    def stop(self) -> bool:
        """Whether the loss of each of the last looks is above the lowest one, beyond chance."""
        if len(self.looks) <= self.patience:
            return False
        lowest = self.lowest.losses
        last = self.looks[-self.patience :]
        return all(student_above(look.losses - lowest, RISEN) for look in last)

    @property
    def copies_begin(self) -> int | None:
        """The step of the first look whose share of copies is above the floor, beyond chance."""
        return next((look.step for look in self.looks if self._copies(look.copies)), None)

    def _copies(self, found: Fraction | None) -> bool:
        return found is not None and more_often(found, self.floor, COPIES)

    def table(self) -> dict[str, list[float]]:
        """Steps, losses and shares of copies with their intervals, under their headings."""
        shares = [look.copies for look in self.looks if look.copies is not None]
        return {
            "step": [look.step for look in self.looks],
            **columns("held-out loss", "EDM's, per pixel", [look.loss for look in self.looks]),
            **(columns("copies", "fraction", shares) if self.samples else {}),
        }

    def plot(self, ax: Any, below: Any = None) -> None:
        """Draw the loss and its lowest into matplotlib axes, and copies into those ``below``."""
        steps = [look.step for look in self.looks]
        style: dict[str, Any] = dict(capsize=2, elinewidth=1, marker="o", ms=4)
        ax.errorbar(steps, *bars([look.loss for look in self.looks]), color="C0", **style)
        ax.axvline(self.best, color="C0", lw=1, ls=":")
        ax.set(xlabel="step", ylabel="held-out loss")
        if below is not None and self.samples:
            shares = [look.copies for look in self.looks if look.copies is not None]
            below.errorbar(steps, *bars(shares), color="C3", ls="--", **style)
            below.axhline(self.floor.value, color="C3", lw=1, ls=":")
            below.axvline(self.best, color="C0", lw=1, ls=":")
            below.set(xlabel="step", ylabel="copies among\nthe samples", ylim=(-0.03, 1.03))


def _spread(images: Array, most: int) -> Any:
    """At most so many images, evenly spread."""
    array = check_array("heldout", images)
    return array[np.unique(np.linspace(0, len(array) - 1, min(most, len(array))).astype(int))]
