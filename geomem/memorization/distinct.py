"""A training set as the ratio test takes it: distinct images, and what is near to them.

What is near is the paper's Euclidean distance of pixels, unless asked otherwise: with the feature
map of a user, up to mirroring and small shifts, past the near twins of the nearest image, or
against the mean distance of several neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from geomem.data.ranges import RANGES, recognise
from geomem.errors import InputError
from geomem.geometry.arrays import Array, Floats, check_array, check_count, check_floats
from geomem.geometry.distances import TRAIN_ROWS, Points, nearest

THIRD = 1 / 3
TWINS = 10  # other images that one can have as near twins, at the most
BATCH = 256  # images that a feature map sees at once
SOME = 64  # images of which the range is looked at
Features = Callable[[torch.Tensor], Any]
Changed = Literal["mirror", "shift"]


class DistinctImages:
    """A training set (N, ...) without its exact duplicates, prepared once for many ratio tests.

    Every function of the ratio test takes one in place of the training set itself. The options say
    by which distances d_1NN and d_2NN it then decides; without them it is the paper's test, and
    only so do `copy_margin` and `copy_bound` take one.

    Parameters
    ----------
    train : array (N, ...)
        The training images, data units.
    device : str or torch.device
        "auto", or a torch device.
    twins : bool
        Whether images of one group of near twins count as one: a group are an image and the at
        most 10 nearest others, all of them nearer than a third of the next one's distance, and
        what is linked so. Otherwise a near twin of a copied image hides that it was copied.
    augment : sequence of "mirror" and "shift"
        What does not make an image another: mirroring it left to right, shifting it by one pixel
        any way (its border is repeated). Images must then be (N, C, H, W).
    features : callable or None
        A feature map: float32 tensors (B, ...) on the device -> (B, D). Distances are those of
        its values.
    cosine : bool
        Whether vectors are brought to length one first: distances are ``sqrt(2 - 2 cos)``.
    mean_of : int or None
        What d_1NN is held against: the mean distance of this many nearest images, itself among
        them, at least 2. None is the second nearest alone.

    Attributes
    ----------
    index : array (M,)
        Where in ``train`` each distinct image comes first, ascending; 2 <= M <= N.
    images : array (M, ...)
        These images, on the ``device``.
    group : array (M,)
        The group of each: images of one group are one to the test.

    Raises
    ------
    ValueError
        If there are fewer than 2 distinct images or groups, fewer than ``mean_of``, values that
        are not finite, or an option that is none.

    References
    ----------
    The test is that of :cite:t:`yoon2023diffusion`, the mean over neighbours that of Carlini et
    al. (2023, "Extracting training data from diffusion models"), with 50 of them and a factor of
    1/2, here the threshold. The rest is ours.

    Examples
    --------
    >>> from geomem import DistinctImages, memorized_fraction
    >>> train = [[0.0], [0.01], [5.0], [9.0]]
    >>> memorized_fraction([[0.0]], train, 0.3).count
    1
    >>> memorized_fraction([[0.005]], train).count  # its twins are equally near
    0
    >>> memorized_fraction([[0.005]], DistinctImages(train, twins=True)).count
    1
    """

    def __init__(
        self,
        train: Array,
        device: str | torch.device = "auto",
        *,
        twins: bool = False,
        augment: Sequence[Changed] | Changed = (),
        features: Features | None = None,
        cosine: bool = False,
        mean_of: int | None = None,
    ):
        points = Points(train, "train", device)
        self.index = firsts(points)
        images = (
            points.take(self.index) if points.device.type == "cpu" else points.block(self.index)
        )
        if isinstance(images, np.ndarray):  # in the order of bytes that torch takes
            images = images.astype(images.dtype.newbyteorder("="), copy=False)
        self.images = images.reshape(-1, *points.shape[1:])
        self.device, self.features, self.cosine = points.device, features, cosine
        self.augment = (augment,) if isinstance(augment, str) else tuple(augment)
        if not {*self.augment} <= {"mirror", "shift"} or (augment and self.images.ndim != 4):
            raise ValueError(
                f"augment: 'mirror' and 'shift', of images (N, C, H, W); got {augment!r} of "
                f"{tuple(points.shape)}."
            )
        self.mean_of = None if mean_of is None else check_count("mean_of", mean_of)
        self.range = recognise(float(self.images.min()), float(self.images.max()))
        mapped = features is not None or cosine
        self.plain = not (twins or self.augment or mapped or self.mean_of)
        self.vectors = self._mapped(self.images) if mapped else None  # None: the images
        merged = twins or self.augment or mapped
        self.group = self.groups(THIRD if twins else 0.0) if merged else np.arange(len(images))
        self._needed = self.mean_of or 2
        sizes = np.sort(np.bincount(self.group))[::-1]
        if self.mean_of == 1:
            raise ValueError("mean_of must be at least 2, got 1.")
        if len(sizes) < max(2, self._needed):
            raise ValueError(
                f"train: the ratio test needs a second neighbour, at least {max(2, self._needed)} "
                f"distinct images; of {len(points)} there are {len(sizes)}."
            )
        self._k = int(sizes[: self._needed - 1].sum()) + 1

    def near(self, images: Array) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Of Q images d_1NN, what it is held against, and where in ``index`` the nearest is."""
        distance, which = self._nearest(images, self._k)
        distance, which = _first_of_each(self.group[which], distance, which, self._needed)
        others = distance.mean(1) if self.mean_of else distance[:, 1]
        return distance[:, 0], others, which[:, 0]

    def check_range(self, images: NDArray[Any] | torch.Tensor) -> None:
        """InputError where images of another range than these would be no copies for that reason.

        They look like another, and come nearer to the training images when they are moved from it.
        """
        if images.ndim < 3 or self.range is None or images.shape[1:] != self.images.shape[1:]:
            return
        some = check_floats("images", images[:: -(-len(images) // SOME)])
        low, high = np.quantile(some, (0.01, 0.99))
        for theirs in RANGES:
            width = theirs[1] - theirs[0]
            first, last = (low - theirs[0]) / width, (high - theirs[0]) / width
            like = -0.1 <= first < 0.25 and 0.5 < last <= 1.1  # a little beyond it, as samples are
            if theirs == self.range or not like:
                continue
            share = (some - theirs[0]) / width
            moved = self.range[0] + share * (self.range[1] - self.range[0])
            far, near = (
                np.median(nearest(x, self.images, device=self.device)[0]) for x in (some, moved)
            )
            if near < 0.8 * far:
                raise InputError(
                    f"images look like values of {theirs[0]:g} to {theirs[1]:g}, and the training "
                    f"images like {self.range[0]:g} to {self.range[1]:g}: bring them to one range."
                )

    def _nearest(self, images: Array, k: int) -> tuple[Floats, NDArray[np.int64]]:
        """The k nearest, at least, by their nearest variants: (Q, K) distances and positions."""
        vectors = self.images if self.vectors is None else self.vectors
        found = [
            nearest(self._mapped(variant), vectors, k, device=self.device)
            for variant in _variants(images, self.augment)
        ]
        parts = [[torch.as_tensor(a).cpu().numpy() for a in pair] for pair in found]
        if len(parts) == 1:
            return parts[0][0], parts[0][1]
        distance, which = (np.concatenate(part, 1) for part in zip(*parts, strict=True))
        order = np.lexsort((which, distance))
        distance, which = (np.take_along_axis(a, order, 1) for a in (distance, which))
        return _first_of_each(which, distance, which, k)

    def _mapped(self, images: Array) -> Array:
        """Images as the vectors between which distances are taken."""
        if self.features is None and not self.cosine:
            return images
        tensor = _tensor(images).to(self.device)
        if self.features is not None:
            with torch.no_grad():
                parts = [self.features(part) for part in tensor.float().split(BATCH)]
            tensor = torch.cat([torch.as_tensor(part) for part in parts])
            strange = tensor.ndim < 2 or len(tensor) != len(images)
            if strange or not torch.isfinite(tensor).all():
                raise ValueError(
                    "features: expected finite values (B, D) of images (B, ...), got shape "
                    f"{tuple(tensor.shape)} for {len(images)} images."
                )
        vectors = tensor.flatten(1).double()
        if self.cosine:
            length = vectors.norm(dim=1, keepdim=True)
            if not (length > 0).all():
                raise ValueError("cosine: a vector of zeros has no direction.")
            vectors = vectors / length
        return vectors

    def groups(self, threshold: float = THIRD) -> NDArray[np.int64]:
        """The group of each image: linked are those at distance 0, or far below the next one's."""
        n = len(self.images)
        k = min(TWINS + 2, n)
        distance, which = self._nearest(self.images, k)
        own = which == np.arange(n)[:, None]
        own[~own.any(1), -1] = True  # so many at distance 0 that it is not among them
        distance, which = distance[~own].reshape(n, k - 1), which[~own].reshape(n, k - 1)
        far_below = distance[:, :-1] < threshold * distance[:, 1:]
        near = (far_below * np.arange(1, max(k - 1, 1))).max(1, initial=0)  # how many of them
        linked = (np.arange(k - 1) < near[:, None]) | (distance == 0)
        rows, columns = linked.nonzero()
        links = coo_array((np.ones(len(rows)), (rows, which[rows, columns])), shape=(n, n))
        return connected_components(links, directed=False)[1].astype(np.int64)


def firsts(points: Points) -> NDArray[np.int64]:
    """Where each distinct point comes first, ascending."""
    first: dict[bytes, int] = {}
    for rows in points.slices(TRAIN_ROWS):
        block = (points.block(rows) + 0.0).cpu().numpy()  # + 0.0: -0 and 0 are one value
        for i, image in enumerate(block, rows.start):
            first.setdefault(hashlib.sha256(image).digest(), i)
    return np.fromiter(first.values(), np.int64, len(first))


def _first_of_each(
    kind: NDArray[np.int64], distance: Floats, which: NDArray[np.int64], n: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Of neighbours (Q, K), nearest first, the first of each of the n nearest kinds -> (Q, n)."""
    new = np.ones(kind.shape, bool)
    for j in range(1, kind.shape[1]):
        new[:, j] = (kind[:, :j] != kind[:, j : j + 1]).all(1)
    order = np.argsort(~new, axis=1, kind="stable")[:, :n]
    return np.take_along_axis(distance, order, 1), np.take_along_axis(which, order, 1)


def _variants(images: Array, augment: Sequence[str]) -> Iterator[Array]:
    """Images, and what counts as the same."""
    if not augment:
        yield images
        return
    tensor = _tensor(images).double()
    height, width = tensor.shape[-2:]
    wider = torch.nn.functional.pad(tensor, (1, 1, 1, 1), mode="replicate")
    moves = product((1, 0, 2), repeat=2) if "shift" in augment else [(1, 1)]
    for top, left in moves:
        moved = wider[..., top : top + height, left : left + width]
        yield moved
        if "mirror" in augment:
            yield moved.flip(-1)


def _tensor(images: Array) -> torch.Tensor:
    """As a tensor, in whatever order their bytes and axes lie."""
    array = check_array("images", images)
    if isinstance(array, torch.Tensor):
        return array
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
