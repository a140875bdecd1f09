"""How near a model's answers are to those of the two closed-form denoisers of its training set.

Theorem 4.11 says that the empirical denoiser is nearly the Gaussian one at large noise. Of a
trained model it says nothing; this measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.geometry.arrays import Array, Floats, Kind, check_floats, check_sigmas
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.distances import Points
from geomem.geometry.gaussian import gaussian_denoiser
from geomem.geometry.posterior import empirical_denoiser


class Answers(NamedTuple, Generic[Kind]):
    """What three denoisers answer to the same noisy images; arrays (Q, ...) each, data units."""

    model: Kind
    empirical: Kind
    gaussian: Kind


@torch.no_grad()
def answers(
    denoise: Denoiser,
    train: Array,
    noisy: Array,
    sigma: float,
    *,
    batch: int = 256,
    device: str | torch.device = "auto",
) -> Answers[torch.Tensor]:
    """The model's answer, and those of the closed forms of its training set.

    Parameters
    ----------
    denoise : any denoiser.
    train : array (N, ...), its training set, in data units.
    noisy : array (Q, ...), the inputs.
    sigma : their noise level, data units, > 0.
    batch : images that the model denoises at once.
    device : "auto", or a torch device.
    """
    x = torch.as_tensor(noisy).to(Points(noisy, "noisy", device).device)
    return Answers(
        torch.cat([denoise(part, sigma) for part in torch.split(x, batch)]),
        empirical_denoiser(x, train, sigma, device=device),
        gaussian_denoiser(x, train, sigma, device=device),
    )


def answers_to_one(
    denoise: Denoiser,
    train: Array,
    image: NDArray,
    noise: NDArray,
    sigmas: Array,
    *,
    device: str | torch.device = "auto",
) -> Answers[NDArray[Any]]:
    """Their answers to one image under one noise draw, scaled to each level; NumPy arrays.

    Parameters
    ----------
    denoise, train, device : as in `answers`.
    image, noise : arrays (C, H, W).
    sigmas : (S,) noise levels, data units, > 0, one answer each.
    """
    each = [
        answers(denoise, train, (image + sigma * noise)[None], sigma, device=device)
        for sigma in check_sigmas(sigmas).tolist()
    ]
    return Answers(*(torch.cat(of).cpu().numpy() for of in zip(*each, strict=True)))


@dataclass(frozen=True)
class Linearity:
    """Mean squared distances between answers to noisy images, as shares of the variance.

    Attributes
    ----------
    gaussian, empirical : from the model to the Gaussian and to the empirical denoiser.
    gap : from the empirical to the Gaussian denoiser.
    mean : from the mean image, which does not look at its input, to the Gaussian denoiser.
    common : (S,) the share of ``gaussian`` that is the same for every input, in [0, 1].
    variance : tr Sigma of the training set, data units squared.
    """

    gaussian: ErrorCurve
    empirical: ErrorCurve
    gap: ErrorCurve
    mean: ErrorCurve
    common: Floats
    variance: float

    @classmethod
    def of(
        cls,
        denoise: Denoiser,
        train: Array,
        images: Array,
        sigmas: Array,
        *,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> Linearity:
        """Measured on images with noise, one draw each, which serves every level.

        Parameters
        ----------
        denoise : any denoiser.
        train : array (N, ...), its training set, in data units.
        images : array (Q, ...), clean images that noise is added to.
        sigmas : (S,) noise levels, data units, > 0.
        seed : of the noise.
        device : "auto", or a torch device.
        """
        levels = check_sigmas(sigmas)
        clean, points = check_floats("images", images), check_floats("train", train)
        variance = float(points.reshape(len(points), -1).var(0, dtype=np.float64).sum())
        noise = np.random.default_rng(seed).standard_normal(clean.shape)
        squared, common = [], []
        for sigma in levels.tolist():
            of = answers(denoise, train, clean + sigma * noise, sigma, device=device)
            centre = torch.from_numpy(points.mean(0, dtype=np.float64)).to(of.gaussian)
            off = of.model - of.gaussian
            apart = (off, of.model - of.empirical, of.empirical - of.gaussian, centre - of.gaussian)
            rows = [a.square().flatten(1).sum(1).cpu().numpy() / variance for a in apart]
            common.append(float(off.mean(0).square().sum() / variance / rows[0].mean()))
            squared.append(rows)
        gaussian, empirical, gap, mean = (
            ErrorCurve.from_queries(levels, per_query.T)
            for per_query in np.swapaxes(np.array(squared), 0, 1)
        )
        return cls(gaussian, empirical, gap, mean, np.array(common), variance)

    @property
    def curves(self) -> dict[str, ErrorCurve]:
        """The four distances under their names."""
        return {
            "model to Gaussian": self.gaussian,
            "model to empirical": self.empirical,
            "empirical to Gaussian": self.gap,
            "mean to Gaussian": self.mean,
        }

    def apart(self, low: float, high: float = np.inf) -> NDArray[np.bool_]:
        """(S,) where the closed forms differ by ``low`` of the variance or more, below ``high``."""
        inside: NDArray[np.bool_] = (self.gap.mean >= low) & (self.gap.mean < high)
        return inside

    @property
    def side(self) -> NDArray[np.int64]:
        """(S,) 1 where the model is surely nearer to the empirical denoiser, -1 to the Gaussian.

        By the 95% interval of the difference of its two distances, image by image; 0 where it
        leaves doubt.
        """
        nearer = self.gaussian.per_query - self.empirical.per_query
        half = 1.96 * nearer.std(0, ddof=1) / np.sqrt(len(nearer))
        mean = nearer.mean(0)
        return np.where(np.abs(mean) > half, np.sign(mean), 0).astype(np.int64)
