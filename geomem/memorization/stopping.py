"""Early stopping, the baseline of every remedy: when would the held-out loss have said stop?

Nobody needs to look at copies for it. Some images are held out for nothing else, the training
loss is measured on them at each snapshot, and the snapshot where it is lowest is taken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.network import loss_weight
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.zoo import Trained
from geomem.geometry.arrays import Array
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Estimate
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


def heldout_loss(
    denoise: Denoiser,
    images: Array,
    law: NoiseLaw,
    sigma_data: float,
    *,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Estimate:
    """EDM's training loss on images that training did not see: 1 for an untrained network.

    E over the law's noise levels of weight(sigma) |m_sigma(x + sigma z) - x|^2 / d, at 16 levels
    that the law makes equally likely. Equal seeds give equal noise, so that denoisers compare.

    Parameters
    ----------
    denoise : any denoiser.
    images : array (Q, C, H, W), Q >= 2, in data units.
    law : where training draws its noise levels, its mean known.
    sigma_data : standard deviation of the pixels that the weight is made for, data units.
    seed : of the noise.
    device : "auto", or a torch device.

    Returns
    -------
    Estimate of the mean over images, with its normal 95% interval.
    """
    sigmas = law.quantile((np.arange(QUANTILES) + 0.5) / QUANTILES)
    errors = denoising_error(denoise, images, sigmas, seed=seed, device=device).per_query
    weight = loss_weight(torch.from_numpy(sigmas), sigma_data).numpy()
    each = (weight * errors).mean(1) / np.prod(np.shape(images)[1:])
    half = 1.96 * each.std(ddof=1) / np.sqrt(len(each))
    return Estimate(float(each.mean()), float(each.mean() - half), float(each.mean() + half))


@dataclass(frozen=True)
class Stopping:
    """The held-out loss over a training, and where it says stop.

    Attributes
    ----------
    shares : (K,) of the training done, ascending, the last one 1.
    steps : (K,) optimizer steps at these moments.
    losses : the held-out loss at each.
    """

    shares: tuple[float, ...]
    steps: tuple[int, ...]
    losses: tuple[Estimate, ...]

    @classmethod
    def of(
        cls, trained: Trained, images: Array, *, seed: int = 0, label: int | None = None
    ) -> Stopping:
        """Measured at every snapshot of a finished training and at its end.

        Parameters
        ----------
        trained : a model of the store; its law of noise levels without a gap is used, so that
            models with and without one are judged alike.
        images : array (Q, C, H, W), held out for this alone, in data units.
        seed : of the noise.
        label : the class to ask a class-conditional model for.
        """
        config = trained.experiment.train
        assert config.model.sigma_data is not None
        law = NoiseLaw(config.noise.mean, config.noise.std)
        shares = tuple(sorted({*config.snapshots, 1.0}))
        losses = []
        for share in shares:
            denoise = trained.at(share)
            device = next(denoise.parameters()).device
            asked = denoise if label is None else denoise.given(label)
            losses.append(
                heldout_loss(asked, images, law, config.model.sigma_data, seed=seed, device=device)
            )
        return cls(shares, tuple(map(config.step_of, shares)), tuple(losses))

    @property
    def best(self) -> float:
        """The share of the training after which the held-out loss is lowest."""
        return self.shares[int(np.argmin([loss.value for loss in self.losses]))]

    @property
    def step(self) -> int:
        """The step of `best`."""
        return self.steps[self.shares.index(self.best)]
