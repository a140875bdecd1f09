"""Memorization by the ratio test (section 3 of the paper) and the denoising error (Eq. 5).

An image is memorized when d_1NN < d_2NN / 3: its nearest training image is less than a third
as far away as the second nearest (the criterion of Yoon et al.). The test is strict, on
Euclidean distances (not squared, where the threshold would be 1/9), exact in float64. Its
neighbours are *distinct* training images: exact duplicates count as one, or a duplicate
would hide a copy. Near duplicates can hide one still: `DistinctImages` merges them where it is
asked to, and has other distances than that of pixels. Images of another range than the training
images are refused, for they would be no copies.

On generated samples this is the paper's trajectory-level memorization, `memorized_fraction`;
on denoised noisy held-out images its per-noise-level memorization, `memorization_rates`.
Clean held-out images pass the test now and then: `memorized_fraction(heldout, train)` is the
floor from which either starts to say something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.geometry.arrays import Array, Floats, check_array, check_count, check_sigmas
from geomem.geometry.curve import Curve, ErrorCurve
from geomem.geometry.denoiser import Denoiser, answer
from geomem.geometry.distances import QUERY_ROWS, Points, check_draws, noise_like
from geomem.geometry.intervals import Fraction
from geomem.memorization.distinct import THIRD, DistinctImages
from geomem.progress import bar


@dataclass(frozen=True)
class Neighbours:
    """The two nearest distinct training images of each of Q images.

    Attributes
    ----------
    first, second : (Q,) the distances d_1NN <= d_2NN, in data units; with options of
        `DistinctImages` by its distances, and ``second`` what d_1NN is held against.
    index : (Q,) which training image is the nearest, in the training set's own order: the
        lowest index among duplicates, and among images at the same distance.
    """

    first: Floats
    second: Floats
    index: NDArray[np.int64]

    @property
    def ratio(self) -> Floats:
        """(Q,) d_1NN / d_2NN in [0, 1]; 0 for an exact copy."""
        return self.first / self.second  # distinct images: never 0 / 0

    def memorized(self, threshold: float = THIRD) -> NDArray[np.bool_]:
        """(Q,) whether d_1NN < threshold * d_2NN, strictly."""
        return self.ratio < checked(threshold)

    @property
    def fraction(self) -> Fraction:
        """The share of the Q images that pass at one third, with its interval."""
        return fraction_below(self.ratio)


@dataclass(frozen=True)
class RateCurve(Curve):
    """The memorization rate against the noise level, with the ratios that it came from.

    Attributes
    ----------
    threshold : that of the ratio test; `at` gives the curve at another.
    ratios : (draws, n, S) d_1NN / d_2NN of every denoised image.
    """

    threshold: float
    ratios: Floats

    @classmethod
    def from_ratios(cls, sigma: Floats, ratios: Floats, threshold: float = THIRD) -> RateCurve:
        """The rate at each level; the interval over images is that of `Curve.from_queries`.

        Not Clopper-Pearson's, since the draws of one image are not independent trials; with
        one draw it is Wilson's.
        """
        rates = (ratios < checked(threshold)).mean(0)
        curve = Curve.from_queries(sigma, rates, indicator=True)
        return cls(**vars(curve), threshold=threshold, ratios=ratios)

    def at(self, threshold: float) -> RateCurve:
        """The same images judged by another threshold; nothing is denoised again."""
        return self.from_ratios(self.sigma, self.ratios, threshold)


def neighbours(
    images: Array, train: Array | DistinctImages, *, device: str | torch.device = "auto"
) -> Neighbours:
    """The two nearest distinct training images of each image.

    Exact duplicates in the training set count as one image, or a duplicate would hide a copy.

    Parameters
    ----------
    images : array (Q, ...)
        Images, in data units.
    train : array (N, ...) or DistinctImages
        The training set, or what is prepared of it once for many tests.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    Neighbours
        ``first`` and ``second``, the distances d_1NN <= d_2NN, (Q,) float64, data units;
        ``index`` (Q,), which training image is the nearest; ``ratio`` (Q,) in [0, 1].

    Raises
    ------
    ValueError
        If there are fewer than 2 distinct training images, sizes differ, values are not finite,
        or the images are of another range than the training images.

    See Also
    --------
    DistinctImages : Near twins, mirror images, shifts, features, several neighbours.

    References
    ----------
    Section 3 of the paper, the test of :cite:t:`yoon2023diffusion`; see :doc:`/book/models`. That
    duplicates count as one is ours.

    Examples
    --------
    >>> from geomem import neighbours
    >>> found = neighbours([[0.25]], [[0.0], [0.0], [1.0]])
    >>> found.ratio.tolist(), found.index.tolist()
    ([0.3333333333333333], [0])
    """
    distinct = train if isinstance(train, DistinctImages) else DistinctImages(train, device)
    queries = check_array("images", images)
    if isinstance(queries, torch.Tensor):
        queries = queries.to(distinct.device)
    distinct.check_range(queries)
    return near(queries, distinct)


def near(images: Array, distinct: DistinctImages) -> Neighbours:
    """As `neighbours`, of images on the device, whatever their range: answers of a denoiser."""
    first, second, which = distinct.near(images)
    return Neighbours(first, second, distinct.index[which])


def fraction_below(ratios: Array, threshold: float = THIRD) -> Fraction:
    """The share of (Q,) ratios d_1NN / d_2NN below a threshold in (0, 1].

    One point of the curve over thresholds: ``[fraction_below(r, t) for t in thresholds]``.
    """
    values = np.asarray(ratios, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("ratios: expected a non-empty vector of values in [0, 1].")
    return Fraction.of(int((values < checked(threshold)).sum()), len(values))


def memorized_fraction(
    images: Array,
    train: Array | DistinctImages,
    threshold: float = THIRD,
    *,
    device: str | torch.device = "auto",
) -> Fraction:
    """The share of images that the ratio test takes for copies, with its interval.

    An image is memorized when d_1NN < threshold * d_2NN. Of generated samples the share is the
    paper's trajectory-level memorization; of clean held-out images it is the floor.

    Parameters
    ----------
    images : array (Q, ...)
        Images, in data units.
    train : array (N, ...) or DistinctImages
        The training set, or what is prepared of it once for many tests.
    threshold : float
        Of the ratio test, 0 < threshold <= 1.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    Fraction
        ``value`` in [0, 1], its 95% interval ``low``, ``high`` (Clopper and Pearson), and the
        ``count`` of ``n`` images.

    Raises
    ------
    ValueError
        As `neighbours`, or if the threshold is outside (0, 1].

    References
    ----------
    Section 3 of the paper, the test of :cite:t:`yoon2023diffusion`; see :doc:`/book/models`.

    Examples
    --------
    >>> from geomem import memorized_fraction
    >>> print(memorized_fraction([[0.1], [0.4]], [[0.0], [1.0]]))
    1 of 2, 50% [1.3%, 99%]
    """
    return fraction_below(neighbours(images, train, device=device).ratio, threshold)


def memorization_rates(
    denoise: Denoiser,
    heldout: Array,
    train: Array | DistinctImages,
    sigmas: Array,
    *,
    draws: int = 1,
    seed: int = 0,
    threshold: float = THIRD,
    batch: int = 256,
    device: str | torch.device = "auto",
) -> RateCurve:
    """Per-noise-level memorization: the share of denoised noisy new images that are copies.

    M(sigma) is the probability that m_sigma(x + sigma Z) passes the ratio test, x a held-out image:
    a good denoiser gives a noisy training image back, memorized or not.

    Parameters
    ----------
    denoise : callable
        Any denoiser ``denoise(x, sigma)``; it sees float32 tensors (B, ...) on the device, B <=
        batch.
    heldout : array (Q, ...)
        Images that the training set does not hold, in data units.
    train : array (N, ...) or DistinctImages
        The denoiser's training set, or what is prepared of it once for many tests.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    draws : int
        Noise draws per image, >= 1; the same draws serve every noise level.
    seed : int
        Seed of the noise.
    threshold : float
        Of the ratio test, 0 < threshold <= 1.
    batch : int
        Images denoised at once, >= 1.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    RateCurve
        A `Curve` of values in [0, 1], with a 95% interval over the held-out images, that keeps
        the ``ratios`` (draws, Q, S); ``at(threshold)`` judges them by another threshold.

    Raises
    ------
    ValueError
        As `neighbours`, or if the denoiser returns NaN or another shape.

    References
    ----------
    Section 3 of the paper; here :prf:ref:`def-rate`.

    Examples
    --------
    >>> import torch
    >>> from geomem import empirical_denoiser, memorization_rates
    >>> train = torch.tensor([[0.0], [1.0]])
    >>> denoise = lambda x, sigma: empirical_denoiser(x, train, sigma)
    >>> memorization_rates(denoise, [[0.4], [0.9]], train, [0.01, 10.0]).mean.tolist()
    [1.0, 0.0]
    """
    distinct = train if isinstance(train, DistinctImages) else DistinctImages(train, device)
    levels, images = check_sigmas(sigmas), Points(heldout, "heldout", distinct.device)
    distinct.check_range(check_array("heldout", heldout))
    checked(threshold)
    each = 8 * len(images) * len(levels)
    ratios = np.empty((check_draws(draws, each), len(images), len(levels)))
    for draw, s, rows, _, found in denoised(denoise, images, levels, draws, seed, batch):
        ratios[draw, rows, s] = near(found, distinct).ratio
    return RateCurve.from_ratios(levels, ratios, threshold)


def denoising_error(
    denoise: Denoiser,
    images: Array,
    sigmas: Array,
    *,
    draws: int = 1,
    seed: int = 0,
    batch: int = 256,
    device: str | torch.device = "auto",
) -> ErrorCurve:
    """The denoising error of any denoiser at every noise level.

    ``MSE(sigma) = E ||m_sigma(X_sigma) - X||^2``, summed over the pixels: divide by their number
    for the error per pixel. The answer of the denoiser is float32, which hides errors below
    about 1e-15 a pixel.

    Parameters
    ----------
    denoise : callable
        Any denoiser ``denoise(x, sigma)``; it sees float32 tensors (B, ...) on the device, B <=
        batch.
    images : array (Q, ...)
        Clean images X, training or held-out, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    draws : int
        Noise draws per image, >= 1; the same draws serve every noise level.
    seed : int
        Seed of the noise.
    batch : int
        Images denoised at once, >= 1.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    ErrorCurve
        Data units squared, with a 95% interval over the images.

    Raises
    ------
    ValueError
        If values are not finite, sigma <= 0, or the denoiser returns NaN or another shape.

    References
    ----------
    Eq. 5 of the paper; here :prf:ref:`def-denoising-error`.

    Examples
    --------
    >>> from geomem import denoising_error
    >>> zero = lambda x, sigma: 0 * x
    >>> denoising_error(zero, [[1.0, 1.0], [2.0, 0.0]], [0.5]).mean.tolist()
    [3.0]
    """
    levels, clean = check_sigmas(sigmas), Points(images, "images", device)
    errors = np.zeros((len(clean), len(levels)))
    for _, s, rows, x, found in denoised(denoise, clean, levels, draws, seed, batch):
        errors[rows, s] += (found.flatten(1).double() - x).square().sum(1).cpu().numpy() / draws
    return ErrorCurve.from_queries(levels, errors)


def denoised(
    denoise: Denoiser, images: Points, levels: Floats, draws: int, seed: int, batch: int
) -> Iterator[tuple[int, int, slice, torch.Tensor, torch.Tensor]]:
    """(draw, level, rows, clean images (Q, d) float64, denoised ones) of every block of images.

    Draw k of image q is the q-th row of the stream of ``default_rng([seed, k])``.
    """
    blocks, shape = images.slices(QUERY_ROWS), images.shape[1:]
    streams = [np.random.default_rng([seed, k]) for k in range(check_draws(draws))]
    size = check_count("batch", batch)
    steps = len(streams) * len(levels) * len(blocks)
    with bar(steps, "denoising", "block", delay=5) as shown:
        for rows in blocks:
            x = images.block(rows)
            for draw, stream in enumerate(streams):
                z = noise_like(stream, x)
                for s, sigma in enumerate(levels.tolist()):
                    noisy = (x + sigma * z).float().reshape(-1, *shape)
                    parts = [answer(denoise, part, sigma) for part in torch.split(noisy, size)]
                    yield draw, s, rows, x, torch.cat(parts)
                    shown.update()


def checked(threshold: float) -> float:
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must lie in (0, 1], got {threshold}.")
    return threshold
