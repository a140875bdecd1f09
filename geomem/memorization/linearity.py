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
from geomem.geometry.denoiser import Denoiser, answer
from geomem.geometry.distances import Points
from geomem.geometry.gaussian import GaussianDenoiser
from geomem.geometry.intervals import Answer, Estimate, decided, student_half
from geomem.geometry.posterior import EmpiricalDenoiser
from geomem.geometry.window import span

BATCH = 256  # images that a model denoises at once


class Answers(NamedTuple, Generic[Kind]):
    """What three denoisers answer to the same noisy images; arrays (Q, ...) each, data units."""

    model: Kind
    empirical: Kind
    gaussian: Kind


class ThreeDenoisers:
    """A model beside the closed forms of its training set, which are prepared once.

    Parameters
    ----------
    denoise : any denoiser.
    train : array (N, ...), its training set, in data units.
    device : "auto", or a torch device.
    """

    def __init__(self, denoise: Denoiser, train: Array, *, device: str | torch.device = "auto"):
        self.denoise, self.device = denoise, device
        self.empirical = EmpiricalDenoiser(train, device=device)
        self.gaussian = GaussianDenoiser(train, device=device)

    @torch.no_grad()
    def __call__(self, noisy: Array, sigma: float) -> Answers[torch.Tensor]:
        """Their answers to arrays (Q, ...) at a noise level, data units, > 0."""
        x = torch.as_tensor(noisy).to(Points(noisy, "noisy", self.device).device)
        return Answers(
            torch.cat([answer(self.denoise, part, sigma) for part in torch.split(x, BATCH)]),
            self.empirical(x, sigma),
            self.gaussian(x, sigma),
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
    denoise, train, device : as of `ThreeDenoisers`.
    image, noise : arrays (C, H, W).
    sigmas : (S,) noise levels, data units, > 0, one answer each.
    """
    three = ThreeDenoisers(denoise, train, device=device)
    each = [three((image + sigma * noise)[None], sigma) for sigma in check_sigmas(sigmas).tolist()]
    return Answers(*(torch.cat(of).cpu().numpy() for of in zip(*each, strict=True)))


@dataclass(frozen=True)
class Linearity:
    """Mean squared distances between answers to noisy images, as shares of the variance.

    Attributes
    ----------
    gaussian, empirical : from the model to the Gaussian and to the empirical denoiser.
    gap : from the empirical to the Gaussian denoiser.
    mean : from the mean image, which does not look at its input, to the Gaussian denoiser.
    common : (S,) the share of ``gaussian`` that is the same for every input, in [0, 1]; NaN where
        there was one input only.
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
        three = ThreeDenoisers(denoise, train, device=device)
        squared, common = [], []
        for sigma in levels.tolist():
            of = three(clean + sigma * noise, sigma)
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
        return cls(gaussian, empirical, gap, mean, _common(np.array(common), len(clean)), variance)

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
        return _sign(self.gaussian.per_query - self.empirical.per_query)

    @property
    def beside_mean(self) -> NDArray[np.int64]:
        """(S,) 1 where the model is surely nearer to the Gaussian denoiser than the mean image is.

        -1 where that is nearer, 0 where it is in doubt, as of `side`.
        """
        return _sign(self.mean.per_query - self.gaussian.per_query)

    def than_mean(self, inside: NDArray[np.bool_]) -> Answer:
        """Whether it is nearer than the mean image at all levels ``inside`` (S,); None of none."""
        found = self.beside_mean[inside]
        return decided(len(found) and np.all(found == 1), np.any(found == -1))

    def where(self, reached: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
        """(S,) of the levels ``reached``: where the closed forms agree, to 1% of the variance.

        And where they do not: at which of the others the model is nearer to the "empirical" one,
        and at which to the "gaussian".
        """
        apart = self.apart(0.01) & reached
        return {
            "agreed": ~self.apart(0.01) & reached,
            "empirical": apart & (self.side == 1),
            "gaussian": apart & (self.side == -1),
        }

    def in_words(self, reached: NDArray[np.bool_]) -> dict[str, str]:
        """Its numbers as text, for prose: at which levels what is so, and three distances.

        These, MODEL, GAP and MEAN to the Gaussian denoiser, at the first level where the closed
        forms agree ("none" where they do not), at the last one that training reaches, and at the
        last: NAME_first, ... And how far it is "astray" at the last, data units.
        """
        sigma, where = self.gaussian.sigma, self.where(reached)
        last = max(0, int(reached.sum()) - 1)
        levels = where | {"farther": (self.beside_mean == -1) & where["agreed"]}
        curves = {"model": self.gaussian, "gap": self.gap, "mean": self.mean}
        moments: dict[str, int | None] = {"first": None, "reach": last, "last": -1}
        if where["agreed"].any():
            moments["first"] = int(where["agreed"].argmax())
        return {
            **{name: span(sigma, chosen) for name, chosen in levels.items()},
            **{
                f"{name}_{moment}": "none" if i is None else curve.estimate(i).percent
                for name, curve in curves.items()
                for moment, i in moments.items()
            },
            "common": Estimate(float(self.common[last])).percent,
            "astray": f"{np.sqrt(self.gaussian.mean[-1] * self.variance):.2g}",
        }


def _common(shares: Floats, n: int) -> Floats:
    """(S,) the share in common of all inputs, from |mean|^2 / mean |.|^2 of n of them.

    What is not in common averages out to 1/n of it, which is no part of the share.
    """
    if n < 2:
        return np.full_like(shares, np.nan)
    return np.clip((n * shares - 1) / (n - 1), 0, 1)


def _sign(differences: Floats) -> NDArray[np.int64]:
    """(S,) the sign of the mean of (Q, S) differences, 0 where its 95% interval holds 0."""
    mean = differences.mean(0)
    return np.where(np.abs(mean) > student_half(differences), np.sign(mean), 0).astype(np.int64)
