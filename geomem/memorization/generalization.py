"""The denoising error on training and on new images, and what lies between (the paper's Figure 1).

The two are means over different images, so the interval of what is made of them takes both in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import Band, ErrorCurve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.difference import Difference
from geomem.geometry.intervals import Answer, decided, less
from geomem.memorization.ratio_test import denoising_error


@dataclass(frozen=True)
class Compared(Band):
    """Two errors compared, level by level: (S,) each, with the 95% interval."""

    sigma: Floats
    mean: Floats
    low: Floats
    high: Floats


class Gap(Difference):
    """The difference of two errors, data units squared."""

    def stands_out(self, times: float) -> Answer:
        """Whether its peak is so many times either end, and the intervals are apart.

        It is not where even the intervals leave it no room to be.
        """
        peak, ends = self.estimate(self.peak), [self.estimate(i) for i in (0, -1)]
        apart = all(less(end, peak) and peak.value > times * end.value for end in ends)
        return decided(apart, any(peak.high <= times * end.low for end in ends))

    def in_words(self, at: Iterable[int]) -> dict[str, str]:
        """Its peak with the interval, and its value at three levels, by index, as text."""
        first, middle, last = (f"{self.mean[i]:.2g}" for i in at)
        return {"gap": str(self.estimate(self.peak)), "gaps": f"{first}, {middle} and {last}"}


@dataclass(frozen=True)
class Generalization:
    """The error of one denoiser on images that it was trained on, and on others.

    Attributes
    ----------
    train, heldout : MSE(sigma) on either, data units squared.
    """

    train: ErrorCurve
    heldout: ErrorCurve

    @classmethod
    def of(
        cls,
        denoise: Denoiser,
        train: Array,
        heldout: Array,
        sigmas: Array,
        *,
        noisy: int = 1,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> Generalization:
        """Measured as `denoising_error` does.

        Parameters
        ----------
        denoise : any denoiser.
        train, heldout : arrays (Q, ...) of images, data units, not of one number necessarily.
        sigmas : (S,) noise levels, data units, > 0.
        noisy : noisy images of each kind at every level, about: as many draws of each image, at
            least one, as come nearest to it.
        seed, device : as in `denoising_error`.
        """
        seen, unseen = (
            denoising_error(
                denoise,
                images,
                sigmas,
                draws=max(1, round(noisy / len(images))),
                seed=seed,
                device=device,
            )
            for images in (train, heldout)
        )
        return cls(seen, unseen)

    @property
    def curves(self) -> dict[str, ErrorCurve]:
        """Both errors under the names of their images."""
        return {"training": self.train, "held-out": self.heldout}

    @property
    def first(self) -> float:
        """The held-out error at the first level, data units squared."""
        return float(self.heldout.mean[0])

    @property
    def gap(self) -> Gap:
        """Held-out minus training error, data units squared: the generalization gap."""
        return Gap.of(self.heldout, self.train)

    @property
    def ratio(self) -> Compared:
        """Held-out over training error; its interval joins those of both logarithms.

        Infinite where the training error is 0, as that of the empirical denoiser at small noise.
        """
        one, other = self.heldout, self.train
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = one.mean / other.mean
            down = np.hypot(np.log(one.mean / one.low), np.log(other.high / other.mean))
            up = np.hypot(np.log(one.high / one.mean), np.log(other.mean / other.low))
        return Compared(other.sigma, ratio, ratio * np.exp(-down), ratio * np.exp(up))
