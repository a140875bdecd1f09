"""What is there twice, or nearly, among training images and between them and held-out ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from geomem.geometry.arrays import Array
from geomem.geometry.distances import Points, nearest
from geomem.geometry.intervals import percent
from geomem.memorization.distinct import THIRD, DistinctImages, firsts
from geomem.memorization.ratio_test import neighbours


@dataclass(frozen=True)
class Twins:
    """Repeats and near twins of a training set, in counts of images.

    Attributes
    ----------
    n, distinct : training images, and how many differ from all before them.
    near : distinct ones with a near twin: their own d_1NN < d_2NN / 3 among the others.
    grouped : distinct ones that share a group with another, as `DistinctImages` merges them: also
        of three near twins, none of which has a near twin by the count before.
    heldout, heldout_distinct : held-out images; both 0 where none were given.
    shared : held-out images that are training images.
    close : held-out images that pass the ratio test, the shared ones among them.
    """

    n: int
    distinct: int
    near: int
    grouped: int
    heldout: int
    heldout_distinct: int
    shared: int
    close: int

    @property
    def share(self) -> float:
        """That of ``near`` among the distinct training images."""
        return self.near / self.distinct

    def __str__(self) -> str:
        """All of it in one line."""
        said = (
            f"of {self.n:,} training images {self.n - self.distinct:,} repeat others; of the "
            f"{self.distinct:,} distinct ones {self.near:,} ({percent(self.share)}) have a near "
            f"twin and {self.grouped:,} are in groups of near twins"
        )
        if not self.heldout:
            return said
        return said + (
            f"; of {self.heldout:,} held-out images "
            f"{self.heldout - self.heldout_distinct:,} repeat others, {self.shared:,} are training "
            f"images and {self.close:,} pass the ratio test"
        )


def twins(
    train: Array, heldout: Array | None = None, *, device: str | torch.device = "auto"
) -> Twins:
    """Count exact repeats and near twins, within a training set and across to held-out images.

    Near twins hide copies from the ratio test, and move the danger zone. Where there are some, test
    with ``DistinctImages(train, twins=True)``; where held-out images are training images, take
    others.

    Parameters
    ----------
    train : array (N, ...)
        The training images, data units.
    heldout : array (Q, ...) or None
        Images that should be new.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    Twins
        Counts, and the ``share`` of distinct training images whose own d_1NN < d_2NN / 3; printed,
        one line.

    Raises
    ------
    ValueError
        If there are fewer than 3 distinct training images; as `neighbours`.

    References
    ----------
    Ours; see :doc:`/book/reproduce`.

    Examples
    --------
    >>> from geomem import twins
    >>> found = twins([[0.0], [0.1], [3.0], [3.0], [7.0]])
    >>> found.distinct, found.near, found.share
    (4, 2, 0.5)
    """
    plain, n = DistinctImages(train, device), len(Points(train, "train", device))
    images = plain.images
    if len(images) < 3:
        raise ValueError(f"train: near twins are among 3 or more images; {len(images)} differ.")
    distance = torch.as_tensor(nearest(images, images, 3, device=plain.device)[0]).cpu().numpy()
    near = int((distance[:, 1] < THIRD * distance[:, 2]).sum())
    group = plain.groups()
    grouped = int((np.bincount(group)[group] > 1).sum())
    if heldout is None or not len(heldout):
        return Twins(n, len(images), near, grouped, 0, 0, 0, 0)
    found = neighbours(heldout, plain)
    shared, close = int((found.first == 0).sum()), int(found.memorized().sum())
    new = len(firsts(Points(heldout, "heldout", device)))
    return Twins(n, len(images), near, grouped, len(found.first), new, shared, close)
