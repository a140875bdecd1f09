"""What a remedy against memorization leaves, and what it costs (the paper's section 5).

Every remedy is judged alike, early stopping among them: how many samples are copies, how well new
images are denoised at each noise level, how far samples are from real images that the model has
not seen, and how many images its training took. Whichever of the four one leaves out, some remedy
looks good: a network that answers noise makes no copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.sampler import SOLVER_NAMES, sample
from geomem.diffusion.zoo import Trained
from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import Band, ErrorCurve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import (
    Answer,
    Change,
    Estimate,
    Fraction,
    decided,
    mean_of,
    mean_over,
    over_trainings,
    paired_difference,
    student_half,
)
from geomem.memorization import quality
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.quality import Features
from geomem.memorization.ratio_test import denoising_error, neighbours


@dataclass(frozen=True)
class Judged:
    """What a denoiser does, on equal terms with every other one of its `Bench`.

    Attributes
    ----------
    pictures : (n, C, H, W) its samples, from the same initial noises as everybody's.
    passed : (n,) which of them are memorized; ``copies`` is their share.
    distance : kind -> distance of its samples to real images that training did not see.
    rough : how rough its samples are, over those images (`quality.rougher`): far above 1, grain.
    error : its denoising error on held-out images.
    images : how many images its training took, repeats included.
    """

    pictures: NDArray[np.float32]
    passed: NDArray[np.bool_]
    distance: Mapping[str, Estimate]
    rough: Estimate
    error: ErrorCurve
    images: int

    @property
    def copies(self) -> Fraction:
        return Fraction.of(int(self.passed.sum()), len(self.passed))

    @property
    def measured(self) -> dict[str, Fraction | Estimate]:
        """The share "memorized", and each distance by its name."""
        return {"memorized": self.copies, **self.distance}


class Bench:
    """Where remedies are judged: one training set, one set of noises, one set of features.

    Parameters
    ----------
    train : array (N, C, H, W), the training set that would be copied.
    heldout : array (Q, C, H, W), images that no model has seen, nor were stops chosen by.
    unseen : array (M, C, H, W), other real images that the samples are compared with.
    features : name -> features of the Frechet distances (see `quality.features_of`).
    n : samples of each denoiser.
    sigmas : (S,) noise levels of the denoising error, data units.
    seed, solver : of the samples; the seed is that of the noise on held-out images, too.
    device : "auto", or a torch device.
    """

    def __init__(
        self,
        train: DistinctImages,
        heldout: NDArray,
        unseen: NDArray,
        features: Mapping[str, Features],
        *,
        n: int,
        sigmas: Floats,
        seed: int = 0,
        solver: str = "heun",
        device: str | torch.device = "auto",
    ):
        self.train, self.heldout, self.features = train, heldout, dict(features)
        self.n, self.sigmas, self.seed, self.solver, self.device = n, sigmas, seed, solver, device
        self.compared = min(n, len(unseen))  # images that a distance is taken of
        self.targets = {name: of(unseen) for name, of in features.items()}
        self.unseen = np.random.default_rng(seed).permutation(unseen)[: self.compared]

    def judge(
        self,
        denoise: Denoiser,
        images: int,
        *,
        seed: int | None = None,
        pictures: Array | None = None,
    ) -> Judged:
        """Sample a denoiser and measure everything.

        Parameters
        ----------
        denoise : any denoiser of these images.
        images : how many its training took.
        seed : of its samples, where not the bench's own: that of its training, say.
        pictures : (n, C, H, W) its samples, where they are drawn already.
        """
        own, shape = self.seed if seed is None else seed, tuple(self.heldout.shape[1:])
        if pictures is None:
            pictures = sample(
                denoise, shape, self.n, seed=own, solver=self.solver, device=self.device
            )
        pictures = np.asarray(pictures)
        error = denoising_error(
            denoise, self.heldout, self.sigmas, seed=self.seed, device=self.device
        )
        passed = neighbours(pictures, self.train).memorized()
        rough = quality.rougher(pictures, self.unseen)
        return Judged(pictures, passed, self.distances(pictures), rough, error, images)

    def judge_trained(
        self, trained: Trained, share: float = 1, *, seed: int | None = None
    ) -> Judged:
        """Judge a model of the store after a ``share`` of its training; `judge` says the rest.

        Of a model with a dummy class the samples are those of the real one.
        """
        found, config = trained.at(share), trained.experiment.train
        denoise: Denoiser = found.given(0) if trained.experiment.data.dummy else found
        return self.judge(denoise, config.batch * config.step_of(share), seed=seed)

    def distances(self, images: Array) -> dict[str, Estimate]:
        """Distances of images (k, C, H, W), in an order that means nothing, to unseen ones.

        Frechet distances on each kind of features, in feature units squared, and the sliced
        Wasserstein distance, data units; of the first ``compared`` images.
        """
        some = np.asarray(images)[: self.compared]
        found = {
            name: quality.frechet_estimate(of(some), self.targets[name])
            for name, of in self.features.items()
        }
        against = self.unseen[: len(some)]
        return found | {
            "sliced Wasserstein": quality.sliced_estimate(some, against, seed=self.seed)
        }

    def in_words(self) -> dict[str, str]:
        """Images compared, accuracy of a classifier, and the solver, as text, for prose."""
        accuracy = getattr(self.features.get("classifier features"), "accuracy", None)
        known = "not in this run" if accuracy is None else f"{accuracy:.0%}"
        solver = SOLVER_NAMES[self.solver]
        return {"n_quality": f"{self.compared:,}", "accuracy": known, "solver": solver}

    def references(self, real: NDArray) -> dict[str, dict[str, Estimate]]:
        """Between what a distance stands: real held-out images, and a perfect copier.

        The copier's samples are the training set drawn with repeats, as many as ``compared``.

        Parameters
        ----------
        real : array (R, C, H, W), held-out images; a distance of fewer than ``compared`` images
            is too large, so take all there are.
        """
        stream = np.random.default_rng(self.seed)
        train = np.asarray(torch.as_tensor(self.train.images).cpu())
        repeats = train[stream.integers(len(train), size=self.compared)]
        return {
            "held-out": self.distances(stream.permutation(real)),
            "training set": self.distances(repeats),
        }


def copies_changed(ones: Sequence[Judged], others: Sequence[Judged]) -> Change:
    """How many more samples of ``ones`` are copies than of ``others``, as a share of all.

    Parameters
    ----------
    ones, others : n trainings of each kind, those of equal seeds side by side, their samples from
        equal noises. Of one training the interval is over samples, paired; of several it is
        that of `over_trainings`.
    """
    each = [paired_difference(b.passed, a.passed) for a, b in zip(ones, others, strict=True)]
    return each[0] if len(each) == 1 else over_trainings(each)


@dataclass(frozen=True)
class Ratio(Band):
    """The error of one denoiser over that of another, (S,) each, with its 95% interval."""

    sigma: Floats
    mean: Floats
    low: Floats
    high: Floats

    @property
    def value(self) -> Floats:
        return self.mean

    def lower(self, inside: NDArray[np.bool_] | bool = True) -> NDArray[np.bool_]:
        """At which of the levels ``inside`` the error is lower than the other's, (S,)."""
        return (self.high < 1) & inside

    def higher(self, inside: NDArray[np.bool_] | bool = True) -> NDArray[np.bool_]:
        """At which of the levels ``inside`` the error is higher than the other's, (S,)."""
        return (self.low > 1) & inside

    def mostly_lower(self, inside: NDArray[np.bool_]) -> Answer:
        """Whether it is lower at more than half of the levels ``inside``, and nowhere higher."""
        higher = self.higher(inside).any()
        return decided(2 * self.lower(inside).sum() > inside.sum() and not higher, higher)

    def in_words(self, inside: NDArray[np.bool_] | bool = True) -> str:
        """At how many of the levels ``inside``, (S,), it is lower or higher; of one, the ratio."""
        there = np.flatnonzero(np.broadcast_to(inside, self.sigma.shape))
        n = len(there)
        if n == 0:
            return "not known, since none of the levels measured lies there"
        if n == 1:
            found, sigma = self.estimate(there[0]), self.sigma[there[0]]
            return f"{found} times it at σ = {sigma:.2g}, the one level there"
        lower, higher = self.lower(inside).sum(), self.higher(inside).sum()
        return f"lower at {lower} and higher at {higher} of {n} levels"


def error_ratio(ones: Sequence[ErrorCurve], others: Sequence[ErrorCurve]) -> Ratio:
    """How much larger the error of one kind of model is than that of another, level by level.

    Parameters
    ----------
    ones, others : the errors of n trainings of each kind on the same images with the same noise,
        those of equal seeds side by side. Of one training the interval is over the images (by
        linearization, paired). All trainings share these images, so their spread does not show what
        other images would change: of several, Student's over trainings, of the log ratio, is added
        to it as squares are.
    """
    pairs = [*zip(ones, others, strict=True)]
    logs = np.log([a.mean / b.mean for a, b in pairs])  # (n, S)
    images = np.mean([a.per_query / a.mean - b.per_query / b.mean for a, b in pairs], 0)
    value, half = np.exp(logs.mean(0)), student_half(images)  # half of the logarithm's interval
    if len(logs) > 1:
        half = np.hypot(half, student_half(logs))
    return Ratio(ones[0].sigma, value, value * np.exp(-half), value * np.exp(half))


def in_words(each: Sequence[Judged]) -> dict[str, str]:
    """What one kind of model does, over its trainings, as text.

    Parameters
    ----------
    each : sequence of n Judged
        One of each training. Of several, intervals are as `mean_over` has them.

    Returns
    -------
    dict
        "copies" of each training, "images" that training took, "rough", and each distance under
        its first word: principal, classifier, sliced.
    """
    counts = ", ".join(str(one.passed.sum()) for one in each)
    images = ", ".join(sorted({f"{one.images:,}" for one in each}))
    found = {"copies": f"{counts} of {len(each[0].passed)}", "classifier": "no labels"}
    for kind in each[0].distance:
        # A sliced distance varies with the real images, too, which are the same for all.
        shared = kind.startswith("sliced")
        found[kind.split()[0]] = str(mean_over([x.distance[kind] for x in each], shared=shared))
    return found | {"rough": str(mean_over([one.rough for one in each])), "images": images}


def all_told_apart(ones: Sequence[Judged], others: Sequence[Judged]) -> dict[str, str]:
    """What `told_apart` says of each distance of two kinds of model, by what it is of."""
    return {
        kind: told_apart(*([each.distance[kind] for each in side] for side in (ones, others)))
        for kind in ones[0].distance
    }


UNTOLD = "not told apart"
BETTER = {"better": True, "worse": False, UNTOLD: None}  # what `told_apart` says, as an answer


def told_apart(ones: Sequence[Estimate], others: Sequence[Estimate]) -> str:
    """Whether one kind of model is "better" than another by a distance, "worse", or neither.

    Parameters
    ----------
    ones, others : the distance of n trainings of each, those of equal seeds side by side. Of
        one training the interval of the difference is over images, of several over trainings.
    """
    apart = [a.value - b.value for a, b in zip(ones, others, strict=True)]
    if len(apart) > 1:
        found = mean_of(apart)
    else:
        (one,), (other,) = ones, others
        half = np.hypot(one.high - one.value, other.high - other.value)
        found = Estimate(apart[0], apart[0] - half, apart[0] + half)
    if found.low <= 0 <= found.high:
        return UNTOLD
    return "worse" if found.value > 0 else "better"
