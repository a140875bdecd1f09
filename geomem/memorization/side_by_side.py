"""One noisy image, and what four denoisers of one training set answer to it (ours)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.network import EDMDenoiser
from geomem.geometry.arrays import Floats
from geomem.geometry.denoiser import Denoiser, answer
from geomem.geometry.gaussian import GaussianDenoiser
from geomem.geometry.posterior import EmpiricalDenoiser
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import Neighbours, near


@dataclass(frozen=True)
class SideBySide:
    """The empirical and the Gaussian denoiser of a training set, and two networks, side by side.

    Attributes
    ----------
    train : what copies would be of.
    networks : "small" and "large".
    noise : (K, C, H, W) float32 noise draws; the k-th is the first of ``default_rng([seed, k])``.
    """

    train: DistinctImages
    networks: dict[str, EDMDenoiser]
    noise: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        train: DistinctImages,
        small: EDMDenoiser,
        large: EDMDenoiser,
        *,
        draws: int = 8,
        seed: int = 0,
    ) -> SideBySide:
        """With noise draws of a seed, each of one image.

        Parameters
        ----------
        train : the training set of the small model.
        small, large : networks.
        draws : noise draws K, >= 1.
        """
        shape = train.images.shape[1:]
        noise = [np.random.default_rng([seed, k]).standard_normal(shape) for k in range(draws)]
        networks = {"small": small, "large": large}
        return cls(train, networks, np.stack(noise).astype(np.float32))

    @cached_property
    def denoisers(self) -> dict[str, Denoiser]:
        """All four: "empirical", "Gaussian", and the networks."""
        images, device = self.train.images, self.train.device
        empirical = EmpiricalDenoiser(images, device=device)
        gaussian = GaussianDenoiser(images, device=device)
        return {"empirical": empirical, "Gaussian": gaussian, **self.networks}

    def noisy(self, image: NDArray, sigmas: Floats, draw: int = 0) -> NDArray[np.float32]:
        """An image (C, H, W) with one noise draw of each level (S,): (S, C, H, W), data units."""
        levels = np.asarray(sigmas, np.float64)[:, None, None, None]
        return (image + levels * self.noise[draw]).astype(np.float32)

    def answers(
        self, image: NDArray, sigmas: Floats, draw: int = 0
    ) -> dict[str, NDArray[np.float32]]:
        """What each denoiser makes of `noisy`: (S, C, H, W) float32, data units."""
        inputs = torch.from_numpy(self.noisy(image, sigmas, draw)).to(self.train.device)
        levels = np.asarray(sigmas, np.float64).tolist()

        def all_of(denoise: Denoiser) -> NDArray[np.float32]:
            each = [answer(denoise, x[None], s) for x, s in zip(inputs, levels, strict=True)]
            return torch.cat(each).float().cpu().numpy()

        return {name: all_of(denoise) for name, denoise in self.denoisers.items()}

    def copied(self, answers: NDArray) -> NDArray[np.bool_]:
        """Which of some answers (S, C, H, W) pass the ratio test: (S,)."""
        return self._near(answers).memorized()

    def nearest(self, answers: NDArray) -> NDArray:
        """The training images nearest to some answers, of their shape."""
        found = np.searchsorted(self.train.index, self._near(answers).index)
        return torch.as_tensor(self.train.images)[found].cpu().numpy()

    def first_copied(self, images: NDArray, sigma: float) -> tuple[int, int]:
        """Which of some images (Q, C, H, W), by which draw, the small model copies at a level.

        The first by the draw, and then by the image; where it copies none, (0, 0).
        """
        for draw, noise in enumerate(self.noise):
            noisy = torch.from_numpy((images + sigma * noise).astype(np.float32))
            given = answer(self.networks["small"], noisy.to(self.train.device), sigma)
            if (passed := near(given, self.train).memorized()).any():
                return int(passed.argmax()), draw
        return 0, 0

    def counted(self, image: NDArray, sigmas: Floats, draw: int = 0) -> str:
        """How many of each denoiser's `answers` are copies, as text."""
        answers = self.answers(image, sigmas, draw)
        return ", ".join(f"{name} {self.copied(of).sum()}" for name, of in answers.items())

    def _near(self, answers: NDArray) -> Neighbours:
        return near(torch.from_numpy(answers).to(self.train.device), self.train)
