"""Samples of a model, and the training images nearest to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.sampler import sample
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Fraction
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import Neighbours, neighbours


@dataclass(frozen=True)
class Samples:
    """Samples of a model: (n, C, H, W) ``pictures``, and their ``near`` training images."""

    pictures: NDArray[np.float32]
    near: Neighbours

    @classmethod
    def of(
        cls,
        denoise: Denoiser,
        train: DistinctImages,
        n: int,
        *,
        seed: int = 0,
        solver: str = "heun",
        device: str | torch.device = "auto",
    ) -> Samples:
        """Drawn as `geomem.sample` does, and held against a training set.

        Parameters
        ----------
        denoise : any denoiser of images like the training set's.
        train : what copies would be of.
        n, seed, solver, device : as in `geomem.sample`.
        """
        shape = tuple(train.images.shape[1:])
        drawn = sample(denoise, shape, n, seed=seed, solver=solver, device=device).numpy()
        return cls(drawn, neighbours(drawn, train))

    @property
    def copies(self) -> Fraction:
        """The share that is memorized."""
        return self.near.fraction

    @property
    def passed(self) -> NDArray[np.bool_]:
        """(n,) which are memorized."""
        return self.near.memorized()
