"""Membership: at which noise levels does the denoising error tell training images from others?

An attacker who has the model and an image takes the image for one that the model was trained on
where its denoising error is small: the oldest attack on membership, by the loss. What he can tell
so, at the least, is what the model gives away; a cleverer attack may tell more. It is the model
that tells only where both kinds of images are of one law: handwriting of other people, say, has
other errors for a model that has seen neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import ErrorCurve, share_interval
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Fraction, percent
from geomem.geometry.window import span
from geomem.memorization.generalization import Compared
from geomem.memorization.ratio_test import denoising_error

FALSE_POSITIVES = 0.01  # share of held-out images that the attacker may take for training images


@dataclass(frozen=True)
class Membership:
    """How well the denoising error tells training images from held-out ones, level by level.

    As text it is one line: where an attacker can tell, and how well where he tells most.

    Parameters
    ----------
    auc : curve of (S,) values in [0, 1]
        The probability that a training image has a smaller error than a held-out one, a tie
        counted as one half: 1/2 where nothing is told. ``auc.mean``, and ``auc.low``, ``auc.high``,
        its 95% interval at each level.
    tpr : curve of (S,) values in [0, 1]
        The true-positive rate: the share of training images whose error is below all but ``fpr`` of
        held-out errors; with its 95% interval likewise.
    fpr : float
        The false-positive rate at which ``tpr`` is given: 1%, or of fewer than 368 held-out images
        the least that so many can show, 3.7 over their number.
    train, heldout : int
        The numbers of images.
    told : (S,) array of bool
        At which levels an attacker can tell: of a model that gives nothing away, one in 40 at most
        is said to do so at any of them. So it asks more than an interval at one level does.

    See Also
    --------
    membership : Measures it.

    References
    ----------
    Ours in this form; the attack by the loss is that of Yeom et al. (2018, "Privacy risk in machine
    learning"), the rate at few false positives that of Carlini et al. (2022, "Membership inference
    attacks from first principles").

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import ErrorCurve, Membership
    >>> seen = ErrorCurve.from_queries(np.array([0.5]), np.array([[1.0], [2.0]]))
    >>> unseen = ErrorCurve.from_queries(np.array([0.5]), np.array([[2.0], [4.0]]))
    >>> Membership.of(seen, unseen).auc.mean.tolist()
    [0.875]
    """

    auc: Compared
    tpr: Compared
    fpr: float
    train: int
    heldout: int
    told: NDArray[np.bool_]

    @classmethod
    def of(cls, train: ErrorCurve, heldout: ErrorCurve) -> Membership:
        """From errors of one denoiser at the same noise levels, on at least 2 images of each kind.

        The interval of the AUC is Wilson's, of as many trials as its variance over images is worth
        (DeLong 1988), and of no more than there are images of the rarer kind where few pairs are
        in the wrong order: it holds in 94% or more of simulations, mixtures of copied and other
        images among them, where Newcombe's (2006) falls to 84% and the logit's to 28%. That of
        the true-positive rate joins two order statistics of held-out errors, which bracket the
        threshold, with Clopper and Pearson's interval of training errors below either.

        Raises
        ------
        ValueError
            If the noise levels differ, or there are fewer than 2 images of a kind.
        """
        if not np.array_equal(train.sigma, heldout.sigma):
            raise ValueError("membership: the two errors are at different noise levels.")
        if min(train.n, heldout.n) < 2:
            raise ValueError(
                "membership: needs at least 2 training and 2 held-out images, got "
                f"{train.n} and {heldout.n}."
            )
        seen, unseen = train.per_query, heldout.per_query
        fpr = max(FALSE_POSITIVES, Fraction.of(0, heldout.n).high)
        tpr = np.array([_caught(*pair, fpr).numbers for pair in zip(seen.T, unseen.T, strict=True)])
        auc = Compared(train.sigma, *_auc(seen, unseen))
        told = _auc(seen, unseen, 1 - 0.05 / len(train.sigma))[1] > 0.5  # by Bonferroni
        return cls(auc, Compared(train.sigma, *tpr.T), fpr, train.n, heldout.n, told)

    @property
    def sigma(self) -> Floats:
        """(S,) the noise levels, data units."""
        return self.auc.sigma

    @property
    def worst(self) -> int:
        """The index of the level at which an attacker tells most: of the largest AUC."""
        return self.auc.peak

    @property
    def false_positives(self) -> str:
        """The false-positive rate of ``tpr`` in words, and why it is not 1% where it is not."""
        few = f", the least that {self.heldout:,} held-out images can show"
        said = f"at {percent(self.fpr)} false positives"
        return said + (few if self.fpr > FALSE_POSITIVES else "")

    def __str__(self) -> str:
        auc, tpr = (curve.estimate(self.worst) for curve in (self.auc, self.tpr))
        where = f"at sigma {span(self.sigma, self.told)}" if self.told.any() else "nowhere surely"
        return (
            f"an attacker can tell {where}, most at {self.sigma[self.worst]:.3g}: AUC {auc:.2f}, "
            f"{tpr.percent} of the training images {self.false_positives}"
        )

    def table(self) -> dict[str, Floats]:
        """Noise levels, AUC and true-positive rate with their intervals, under their headings."""
        named = f"true positives at {percent(self.fpr)} false positives"
        return {
            "sigma [data units]": self.sigma,
            **self.auc.table("AUC", "probability"),
            **self.tpr.table(named, "fraction"),
        }

    def plot(self, ax: Any) -> None:
        """Draw both into matplotlib axes, against the noise level, with their 95% intervals."""
        self.auc.plot(ax, "AUC", marker="o", ms=4)
        named = f"true positives at {percent(self.fpr)} false positives"
        self.tpr.plot(ax, named, marker="s", ms=4, ls="--")
        ax.axhline(0.5, color="0.4", lw=1, ls=":")  # the AUC of a guess
        ax.set_xscale("log")


def membership(
    denoise: Denoiser,
    train: Array,
    heldout: Array,
    sigmas: Array,
    *,
    draws: int = 1,
    seed: int = 0,
    batch: int = 256,
    device: str | torch.device = "auto",
) -> Membership:
    """Whether the denoising error tells training images from held-out ones, at each noise level.

    Parameters
    ----------
    denoise : callable
        Any denoiser ``denoise(x, sigma)``; it sees float32 tensors (B, ...) on the device, B <=
        batch.
    train : array (N, ...)
        Images that it was trained on, or some of them, at least 2, in data units.
    heldout : array (Q, ...)
        Images of the same law that it was not trained on, at least 2, better 368 or more: fewer
        cannot show what is true of 1% of all.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    draws : int
        Noise draws per image, >= 1, whose mean error decides: an attacker who asks more often
        tells more.
    seed : int
        Seed of the noise.
    batch : int
        Images denoised at once, >= 1.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    Membership
        ``auc`` and ``tpr``, curves in [0, 1] with their 95% intervals; ``fpr``, the false-positive
        rate of the latter; ``told`` (S,), at which levels an attacker can tell, ``worst``, the
        index of that at which he tells most; ``table()``, ``plot(ax)``; as text one line.

    Raises
    ------
    ValueError
        As `denoising_error`, or if there are fewer than 2 images of a kind.

    Notes
    -----
    Where the two kinds of images differ, that tells them apart, too: take them at random from the
    same images. A denoiser that has seen neither should have an AUC of 1/2.

    References
    ----------
    Ours; the error is Eq. 5 of the paper; see :doc:`/book/your_own_model`.

    Examples
    --------
    >>> from geomem import EmpiricalDenoiser, load_dataset, membership
    >>> data = load_dataset("digits", n_train=64)
    >>> print(membership(EmpiricalDenoiser(data.train), data.train, data.heldout[:400], [0.3, 2]))
    an attacker can tell at sigma 0.3 to 2, most at 0.3: AUC 1.00 [0.94, 1.00], 100% [94%, 100%] \
of the training images at 1% false positives
    """
    seen, unseen = (
        denoising_error(denoise, images, sigmas, draws=draws, seed=seed, batch=batch, device=device)
        for images in (train, heldout)
    )
    return Membership.of(seen, unseen)


def _auc(seen: Floats, unseen: Floats, level: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Of errors (m, S) and (n, S) the AUC at each noise level and the ends of its interval."""
    from scipy.stats import rankdata  # as in `geomem.geometry.intervals.more_often`

    m, n = len(seen), len(unseen)
    ranks = rankdata(np.concatenate([seen, unseen]), axis=0)
    over = 1 - (ranks[:m] - rankdata(seen, axis=0)) / n  # held-out errors above each training one
    under = (ranks[m:] - rankdata(unseen, axis=0)) / m  # training errors below each held-out one
    auc = under.mean(0)
    return auc, *share_interval(
        auc, over.var(0, ddof=1) / m + under.var(0, ddof=1) / n, min(m, n), True, level
    )


def _caught(seen: Floats, unseen: Floats, fpr: float) -> Fraction:
    """Of errors (m,) and (n,) the share of the first below the fpr-quantile of the second's law.

    Of n draws at least ``first``, and at most ``last``, lie below the quantile, but for 2.5% each:
    so it lies between these order statistics. ``first`` is at least 1 by the choice of ``fpr``.
    """
    from scipy.stats import binom  # as in `geomem.geometry.intervals.more_often`

    m, n = len(seen), len(unseen)
    cuts = np.append(np.sort(unseen), np.inf)
    first, last = max(1, int(binom.ppf(0.025, n, fpr))), int(binom.ppf(0.975, n, fpr))
    below = [int((seen < cuts[i]).sum()) for i in (first - 1, int(fpr * n), last)]
    low, value, high = (Fraction.of(count, m) for count in below)
    return Fraction(value.value, low.low, high.high, value.count, m)
