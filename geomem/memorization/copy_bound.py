"""How far from the truth an answer must lie to be a copy, and so how often it can be one (ours).

Let x be a new image, at distances d_i from the distinct training images x_i, which lie d_ij
apart, and t the threshold of the ratio test. An answer g is taken for a copy of x_i when
|g - x_i| < t |g - x_j| for every other j. Each j puts it into a ball (for t = 1 a half-space) from
which x is

    h_ij = b / (t d_ij + sqrt(t^2 d_ij^2 + (1 - t^2) b)),    b = d_i^2 - t^2 d_j^2,

away, so |g - x| > h_ij. With x_1 the training image nearest to x, the *margin* h(x), which
every copy exceeds, is the least of max_j h_1j and all h_i1. It is at least
(d_1NN - t d_2NN) / (1 + t), for one third (3 d_1NN - d_2NN) / 4, which two distances of x give, and
is just that where x lies on a line between two training images. Where x itself passes it is 0.

Hence of every denoiser, at every noise level,

    M(sigma) <= P(|g - X| >= h(X)) <= E min(1, |g - X|^2 / h(X)^2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.geometry.arrays import Array, Floats, check_array, check_sigmas
from geomem.geometry.curve import Curve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.distances import (
    QUERY_ROWS,
    TRAIN_ROWS,
    Points,
    nearest,
    pair,
    squared_distances,
)
from geomem.geometry.intervals import Fraction
from geomem.memorization.distinct import THIRD, DistinctImages
from geomem.memorization.ratio_test import checked, denoised, near


@dataclass(frozen=True)
class CopyBound:
    """What the errors of a denoiser on new images say of how often it can copy, at each level.

    All curves are means over the n held-out images, one noise draw each:
    memorized <= beyond <= markov, image by image.

    Attributes
    ----------
    sigma : (S,) noise levels, data units.
    margin : (n,) how far an answer must be from each image to be a copy, data units.
    error : (n, S) how far the answers are from it, data units.
    passed : (n, S) whether they pass the ratio test.
    dim : numbers d in an image.
    """

    sigma: Floats
    margin: Floats
    error: Floats
    passed: NDArray[np.bool_]
    dim: int

    @property
    def memorized(self) -> Curve:
        """The measured M(sigma), with the exact interval of Clopper and Pearson."""
        return _shares(self.sigma, self.passed)

    @property
    def beyond(self) -> Curve:
        """The certificate P(error >= margin) >= M(sigma), with the same kind of interval."""
        return _shares(self.sigma, self.error >= self.margin[:, None])

    @property
    def markov(self) -> Curve:
        """E min(1, error^2 / margin^2), at least both; the interval is that of `Curve`."""
        return self._least(self.error**2)

    @property
    def identity(self) -> Curve:
        """E min(1, d sigma^2 / margin^2): of the images alone, for no network in particular.

        It bounds M(sigma) of each denoiser whose squared error, in the mean over the noise, is at
        *every* image at most that of giving the noisy image back. That the mean over the images
        is does not suffice: errors may gather where margins are short.
        """
        return self._least(np.broadcast_to(self.dim * self.sigma**2, self.error.shape))

    def edge(self, level: float = 0.05) -> float:
        """Up to which noise level the denoiser is certified to copy at most so often.

        The largest of the levels at which, and below which everywhere, the upper end of `beyond`
        is at most ``level``. Below is the safe side: with confidence 97.5% M is at most ``level``
        at all of these together, since they are tested from the smallest on and the first
        failure ends it.

        Parameters
        ----------
        level : of the rate M, in (0, 1).

        Returns
        -------
        float, data units; NaN where the smallest noise level already fails.

        Raises
        ------
        ValueError : a level outside (0, 1).
        """
        if not 0 < level < 1:
            raise ValueError(f"level must lie strictly between 0 and 1, got {level}.")
        order = np.argsort(self.sigma)
        fails = np.append(self.beyond.high[order] > level, True)
        first = int(fails.argmax())
        return float(self.sigma[order][first - 1]) if first else float("nan")

    @property
    def curves(self) -> dict[str, Curve]:
        """Each under what it is called in pictures."""
        return {
            "measured rate": self.memorized,
            "certificate: error beyond margin": self.beyond,
            "by squared error": self.markov,
            "no worse than its input": self.identity,
        }

    def plot(self, ax: Any, color: str = "C0") -> None:
        """Draw the rate in a colour and the bounds into matplotlib axes, with their intervals."""
        looks = ((color, "-"), ("k", "--"), ("k", ":"), ("0.5", "-."))
        for (name, curve), (color, line) in zip(self.curves.items(), looks, strict=True):
            curve.plot(ax, name, color=color, ls=line)

    def table(self) -> dict[str, Floats]:
        """The noise levels and every curve, each column under a heading with its unit."""
        columns = {"sigma [data units]": self.sigma}
        for name, curve in self.curves.items():
            columns |= curve.table(name, "fraction")
        return columns

    def in_words(self, index: int, level: float = 0.05) -> dict[str, str]:
        """The edge for a level, the first noise level with a copy, and all rates at an index."""
        copied = self.sigma[self.passed.any(0)]
        levels = {"edge": self.edge(level), "first": copied.min(initial=np.inf)}
        names = ("measured", "beyond", "markov", "identity")
        rates = zip(names, self.curves.values(), strict=True)
        return {
            **{name: f"{at:.2g}" if np.isfinite(at) else "none" for name, at in levels.items()},
            **{name: curve.estimate(index).percent for name, curve in rates},
        }

    def _least(self, square: Floats) -> Curve:
        """The mean of min(1, square / margin^2); an image without a margin counts in full."""
        least = self.margin[:, None] ** 2
        share = np.where(square < least, square / np.where(least > 0, least, 1), 1.0)
        return Curve.from_queries(self.sigma, share, indicator=True)


def copy_bound(
    denoise: Denoiser,
    heldout: Array,
    train: Array | DistinctImages,
    sigmas: Array,
    *,
    seed: int = 0,
    threshold: float = THIRD,
    batch: int = 256,
    device: str | torch.device = "auto",
) -> CopyBound:
    """A bound on per-noise-level memorization from the errors of any denoiser on new images.

    Where g = m_sigma(X + sigma Z) passes the ratio test it is farther from X than the margin h of
    `copy_margin`. So, whatever the denoiser, ``M(sigma) <= P(||g - X|| >= h)``, which is at most
    ``E min(1, ||g - X||^2 / h^2)``. Each image has one noise draw: the answers are independent, and
    the intervals of shares exact.

    Parameters
    ----------
    denoise : callable
        Any denoiser ``denoise(x, sigma)``; it sees float32 tensors (B, ...) on the device, B <=
        batch.
    heldout : array (Q, ...)
        Images that decided nothing about the denoiser, in data units.
    train : array (N, ...) or DistinctImages
        The denoiser's training set, or what is prepared of it once for many tests.
    sigmas : array (S,)
        Noise levels, data units, > 0.
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
    CopyBound
        Curves ``memorized`` (measured), ``beyond`` (the certificate), ``markov`` and
        ``identity``, each a `Curve`; ``edge(level)``, the noise level up to which the
        certificate is at most ``level``, data units; ``plot`` and ``table``.

    Raises
    ------
    ValueError
        As `memorization_rates`.

    References
    ----------
    Ours; see :doc:`/book/memorization`.

    Examples
    --------
    >>> from geomem import copy_bound
    >>> blank = lambda x, sigma: 0 * x
    >>> bound = copy_bound(blank, [[0.4], [1.9]], [[-1.0], [2.0]], [0.1, 1.0])
    >>> bound.beyond.mean.tolist(), bound.memorized.mean.tolist()
    ([0.5, 0.5], [0.0, 0.0])
    """
    distinct = train if isinstance(train, DistinctImages) else DistinctImages(train, device)
    levels, images = check_sigmas(sigmas), Points(heldout, "heldout", distinct.device)
    margin = copy_margin(heldout, distinct, threshold)
    error = np.empty((len(images), len(levels)))
    passed = np.empty_like(error, dtype=bool)
    for _, s, rows, x, answer in denoised(denoise, images, levels, 1, seed, batch):
        error[rows, s] = (answer.flatten(1).double() - x).norm(dim=1).cpu().numpy()
        passed[rows, s] = near(answer, distinct).memorized(threshold)
    return CopyBound(levels, margin, error, passed, images.dim)


def copy_margin(
    images: Array,
    train: Array | DistinctImages,
    threshold: float = THIRD,
    *,
    device: str | torch.device = "auto",
) -> Floats:
    """How far from each image everything is that the ratio test takes for a copy, at the least.

    An answer nearer to the image than this margin passes the ratio test with no training image.
    It is at least (d_1NN - threshold * d_2NN) / (1 + threshold), and the exact distance to the
    nearest such answer for two training images. Exact duplicates among these count as one.

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
    array (Q,)
        Data units, float64; 0 where the image itself passes.

    Raises
    ------
    ValueError
        As `neighbours`, or if the threshold is outside (0, 1].

    References
    ----------
    Ours; see :doc:`/book/memorization`.

    Examples
    --------
    >>> from geomem import copy_margin
    >>> copy_margin([[0.0], [0.9]], [[-1.0], [2.0]]).round(3).tolist()
    [0.25, 0.35]
    """
    t = checked(threshold)
    distinct = train if isinstance(train, DistinctImages) else DistinctImages(train, device)
    if not distinct.plain:
        raise ValueError("train: the margin is that of the paper's own test, without options.")
    queries = check_array("images", images)
    if isinstance(queries, torch.Tensor):
        queries = queries.to(distinct.device)
    distinct.check_range(queries)
    q, points = pair(queries, distinct.images, distinct.device)
    index = torch.as_tensor(nearest(queries, distinct.images, device=q.device)[1][:, 0])
    centre, margin = points.mean(), np.empty(len(q))
    for rows in q.slices(QUERY_ROWS):
        x, first = q.block(rows, centre), points.block(index[rows].cpu().numpy(), centre)
        near2 = (x - first).square().sum(1, keepdim=True)
        own, others = torch.full_like(near2, -torch.inf), torch.full_like(near2, torch.inf)
        for columns in points.slices(TRAIN_ROWS):
            block = points.block(columns, centre)
            far2, gap2 = squared_distances(x, block), squared_distances(first, block)
            itself = gap2 <= 0
            reach = _reach(near2, far2, gap2, t).masked_fill(itself, -torch.inf)
            own = torch.maximum(own, reach.amax(1, keepdim=True))
            reach = _reach(far2, near2, gap2, t).masked_fill(itself, torch.inf)
            others = torch.minimum(others, reach.amin(1, keepdim=True))
        margin[rows] = torch.minimum(own, others).clamp(min=0)[:, 0].cpu().numpy()
    return margin


def _reach(own2: torch.Tensor, other2: torch.Tensor, gap2: torch.Tensor, t: float) -> torch.Tensor:
    """h_ij of the module's formula, of d_i^2, d_j^2 and d_ij^2; negative inside."""
    b = own2 - t**2 * other2
    root = (t**2 * gap2 + (1 - t**2) * b).clamp(min=0).sqrt()
    return b / (t * gap2.sqrt() + root)


def _shares(sigma: Floats, passed: NDArray[np.bool_]) -> Curve:
    """The share of each column of (n, S) independent trials, with its exact interval."""
    found = [Fraction.of(int(count), len(passed)).numbers for count in passed.sum(0)]
    mean, low, high = np.transpose(found)
    return Curve(sigma, mean, low, high, len(passed), passed.astype(np.float64))
