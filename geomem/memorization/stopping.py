"""The loss of a training, and early stopping: when would the held-out loss have said stop?

Early stopping is the baseline of every remedy. Nobody needs to look at copies for it. Some images
are held out for nothing else, the training loss is measured on them at each snapshot, and the
snapshot where it is lowest is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.network import loss_weight
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.zoo import Trained
from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Estimate, mean_of
from geomem.memorization.ratio_test import denoising_error

QUANTILES = 16  # noise levels of a loss, at equal steps of probability


def split_heldout(heldout: NDArray) -> tuple[NDArray, NDArray]:
    """Every other held-out image: those that choose when to stop, and those that judge."""
    if len(heldout) < 4:
        raise ValueError(
            f"stopping: {len(heldout)} held-out images cannot both choose when to stop and "
            "judge what came of it; hold out 4 or more."
        )
    return heldout[::2], heldout[1::2]


def running_mean(losses: Array, points: int = 400) -> tuple[NDArray[np.int64], Floats]:
    """The mean loss around some of the steps of a training, over a quarter of the steps done.

    Parameters
    ----------
    losses : (n,) the loss of each step's batch, n >= 1.
    points : steps asked for, evenly spaced in their logarithm; equal ones count once.

    Returns
    -------
    steps : (k,) ascending, from 1 to n, k <= points.
    means : (k,) over the steps from 7/8 to 9/8 of each, as far as there are so many.
    """
    total, end = np.append(0, np.cumsum(losses)), len(losses)
    steps = np.unique(np.geomspace(1, end, points).astype(int))
    low, high = steps - steps // 8 - 1, np.minimum(steps + steps // 8, end)
    return steps, (total[high] - total[low]) / (high - low)


def weighted_loss(
    denoise: Denoiser,
    images: Array,
    law: NoiseLaw,
    sigma_data: float,
    *,
    levels: int = QUANTILES,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Estimate:
    """EDM's training loss, measured on any images: 1 for an untrained network.

    E over the law's noise levels of weight(sigma) |m_sigma(x + sigma z) - x|^2 / d, at levels
    that the law makes equally likely. Equal seeds give equal noise, so that denoisers compare.

    Parameters
    ----------
    denoise : any denoiser.
    images : array (Q, C, H, W), Q >= 2, in data units.
    law : where training draws its noise levels, its mean known.
    sigma_data : standard deviation of the pixels that the weight is made for, data units.
    levels : noise levels, >= 1.
    seed : of the noise.
    device : "auto", or a torch device.

    Returns
    -------
    Estimate of the mean over images, with its 95% interval.
    """
    sigmas = law.quantile((np.arange(levels) + 0.5) / levels)
    errors = denoising_error(denoise, images, sigmas, seed=seed, device=device)
    return mean_of(losses_of(errors, sigma_data) / np.prod(np.shape(images)[1:]))


def losses_of(errors: ErrorCurve, sigma_data: float) -> Floats:
    """(n,) the loss of each image: EDM's weight times its error, over all levels of the curve.

    A sum over the pixels, as the error is.
    """
    weight = loss_weight(torch.from_numpy(errors.sigma), sigma_data).numpy()
    return np.asarray((weight * errors.per_query).mean(1))


@dataclass(frozen=True)
class Stopping:
    """The loss on some images over a training; on held-out ones, where it says stop.

    Attributes
    ----------
    shares : (K,) of the training done, ascending, the last one 1.
    steps : (K,) optimizer steps at these moments.
    losses : the loss at each.
    """

    shares: tuple[float, ...]
    steps: tuple[int, ...]
    losses: tuple[Estimate, ...]

    @classmethod
    def of(
        cls, trained: Trained, images: Array, *, levels: int = QUANTILES, seed: int = 0
    ) -> Stopping:
        """Measured at every snapshot of a finished training and at its end.

        Parameters
        ----------
        trained : a model of the store; its law of noise levels without a gap is used, so that
            models with and without one are judged alike.
        images : array (Q, C, H, W), in data units; to stop by it, held out for this alone.
        levels, seed : as in `weighted_loss`.
        """
        config = trained.experiment.train
        assert config.model.sigma_data is not None
        law = NoiseLaw(config.noise.mean, config.noise.std)
        shares = tuple(sorted({*config.snapshots, 1.0}))
        losses = []
        for share in shares:
            denoise = trained.at(share)
            how = dict[str, Any](levels=levels, seed=seed, device=next(denoise.parameters()).device)
            losses.append(weighted_loss(denoise, images, law, config.model.sigma_data, **how))
        return cls(shares, tuple(map(config.step_of, shares)), tuple(losses))

    @property
    def lowest(self) -> int:
        """The index of the moment at which the loss is lowest."""
        return int(np.argmin([loss.value for loss in self.losses]))

    @property
    def best(self) -> float:
        """The share of the training after which the loss is lowest."""
        return self.shares[self.lowest]

    @property
    def step(self) -> int:
        """The step of `best`."""
        return self.steps[self.lowest]

    @property
    def rows(self) -> list[tuple[int, float, float]]:
        """(K,) rows: the step, the loss, and half the width of its 95% interval."""
        found = zip(self.steps, self.losses, strict=True)
        return [(step, loss.value, loss.half) for step, loss in found]

    def plot(self, ax: Any, label: str | None = None, **style: Any) -> None:
        """Draw it into matplotlib axes: marks with their 95% intervals, against the steps."""
        steps, values, halves = zip(*self.rows, strict=True)
        ax.errorbar(steps, values, halves, capsize=2, elinewidth=1, label=label, **style)


@dataclass(frozen=True)
class Losses:
    """The loss of a training: of its batches, and of the averaged weights on some images.

    Attributes
    ----------
    batches : (steps,) of each step's batch, by the weights of that step.
    train, heldout : of the averaged weights, on training and on held-out images.
    """

    batches: Floats
    train: Stopping
    heldout: Stopping

    @classmethod
    def of(
        cls, trained: Trained, train: Array, heldout: Array, *, levels: int = 12, seed: int = 0
    ) -> Losses:
        """Of a model of the store: arrays (Q, C, H, W), and the rest as `Stopping.of`."""
        options = {"levels": levels, "seed": seed}
        both = (Stopping.of(trained, images, **options) for images in (train, heldout))
        return cls(trained.losses, *both)

    @property
    def in_words(self) -> dict[str, str]:
        """The last losses, and the lowest one on held-out images with its step, as text."""
        lowest = self.heldout.losses[self.heldout.lowest]
        losses = {
            "train_loss_last": self.train.losses[-1],
            "test_loss_last": self.heldout.losses[-1],
            "test_loss_lowest": lowest,
        }
        texts = {name: loss.plus_minus(".3f", ".3f") for name, loss in losses.items()}
        return texts | {"lowest_step": f"{self.heldout.step:,}"}
