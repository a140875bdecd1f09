"""Images with one scaling: the two sets that ship with the package, others, and your own.

Pixels are float32 in [-1, 1] (x / 127.5 - 1) with shape (N, C, H, W): the paper's data
units, in which sigma is measured.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geomem.data.files import DataError, Part, Root, Source
from geomem.data.named import name_of, open_source, source_files
from geomem.machine import in_bytes, memory


class Split(NamedTuple):
    """One array for the training images and one for the held-out images."""

    train: NDArray[np.int64]
    heldout: NDArray[np.int64]


@dataclass(frozen=True)
class ImageSet:
    """Training and held-out images of one data set.

    Parameters
    ----------
    train, heldout : array (N, C, H, W)
        float32, in [-1, 1], the paper's data units.
    labels : Split
        Class numbers of both parts, (N,) int64 each; -1 where the set has none.
    indices : Split
        Positions of both parts in the set's canonical order, (N,) int64 each.
    name : str
        As asked for; of a path the last part, with "_" for all but letters, digits and " . _ -".
    source : str
        Where the images come from.
    sha256 : str
        Over the pixels, labels and indices held here: the images that made a figure.

    See Also
    --------
    load_dataset : Gives one.

    References
    ----------
    Ours; the scaling is the paper's; see :doc:`/book/setting`.

    Examples
    --------
    >>> from geomem import load_dataset
    >>> data = load_dataset("digits", n_train=100, n_heldout=50)
    >>> data.train.shape, data.heldout.shape, data.labels.train[:3].tolist()
    ((100, 1, 8, 8), (50, 1, 8, 8), [0, 1, 2])
    """

    train: NDArray[np.float32]
    heldout: NDArray[np.float32]
    labels: Split
    indices: Split
    name: str
    source: str
    sha256: str


def load_dataset(
    name: str | os.PathLike[str],
    *,
    n_train: int | None = None,
    n_heldout: int | None = None,
    seed: int | None = None,
    classes: str | int | Sequence[str | int] | None = None,
    grayscale: bool = False,
    size: int | None = None,
    root: str | os.PathLike[str] | None = None,
) -> ImageSet:
    """Load training and held-out images, scaled to [-1, 1].

    Parameters
    ----------
    name : str or path
        "digits" (8x8, 1,297 + 500 images) or "fashion-mini" (28x28, 2,000 + 1,000), both
        shipped; "cifar10" (32x32 RGB, 50,000 + 10,000) or "fashion-mnist" (28x28,
        60,000 + 10,000), downloaded once with their published hashes; or a path: an .npz
        file with an array ``images`` (uint8, or float already in [-1, 1]; NHWC, NCHW or
        NHW; optional ``labels`` and ``heldout``) or a folder of images of one size. Of a
        path without ``heldout``, every fifth image is held out.
    n_train, n_heldout : int or None
        How many images; None for all.
    seed : int or None
        None or less than 0 keeps the set's own order (the first n); a number from 0 on draws a
        random subset.
    classes : str, int, a list of them, or None
        Class names or numbers to keep: "automobile" gives the paper's cars; None for all.
    grayscale : bool
        Convert to luma (ITU-R 601).
    size : int or None
        Side in pixels after area down-sampling; None keeps the images as they are.
    root : path or None
        Folder to look in before downloading; default the environment variable GEOMEM_DATA.

    Returns
    -------
    ImageSet
        Both parts as (N, C, H, W) float32 in [-1, 1], with labels and where they are from.

    Raises
    ------
    DataError
        If the name is unknown, files are missing or damaged, sizes are mixed, values are not
        finite or outside [-1, 1], the set holds fewer images than asked for, or this machine
        has less memory than they take.

    References
    ----------
    Ours; the scaling is the paper's; see :doc:`/book/setting`.

    Examples
    --------
    >>> from geomem import load_dataset
    >>> load_dataset("digits", n_train=100).train.shape
    (100, 1, 8, 8)
    """
    source = open_source(name, root)
    label, numbers = name_of(name), _class_numbers(source, classes, name_of(name))
    a = _choose(source.train, "training", label, n_train, seed, 0, numbers)
    b = _choose(source.heldout, "held-out", label, n_heldout, seed, 1, numbers)
    shape = _shape(source.train.shape, grayscale, size, label)
    _check_memory(label, source.train.shape, (len(a) + len(b), *shape))
    train = _pixels(source.train, a, shape, label)
    heldout = _pixels(source.heldout, b, shape, label)
    labels = Split(source.train.labels[a], source.heldout.labels[b])
    indices = Split(source.train.index[a], source.heldout.index[b])
    digest = hashlib.sha256(str((train.shape, heldout.shape)).encode())
    for array in (train, heldout, *labels, *indices):
        digest.update(np.ascontiguousarray(array).data)
    return ImageSet(train, heldout, labels, indices, label, source.description, digest.hexdigest())


def dataset_sizes(name: str | os.PathLike[str], root: Root = None) -> tuple[int, int]:
    """How many training and held-out images a data set has; downloads it where it must."""
    source = open_source(name, root)
    return len(source.train.labels), len(source.heldout.labels)


def source_sha256(name: str, root: str | os.PathLike[str] | None = None) -> str:
    """SHA-256 over the files of a data set, or "absent" where it is not on this disk yet."""
    try:
        files = source_files(name, root)
    except DataError:
        return "absent"
    digest = hashlib.sha256()
    for path in files:
        digest.update(os.fsencode(path.name) + b"\0")
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


# Choosing and converting images


def _class_numbers(
    source: Source, classes: str | int | Sequence[str | int] | None, name: str
) -> list[int] | None:
    if classes is None:
        return None
    wanted: list[str | int]
    wanted = [classes] if isinstance(classes, (str, int, np.integer)) else list(classes)
    numbers = []
    for wish in wanted:
        if wish in source.classes:
            numbers.append(list(source.classes).index(str(wish)))
        elif isinstance(wish, Integral) and np.any(source.train.labels == wish):
            numbers.append(int(wish))
        else:
            labels = np.unique(source.train.labels[source.train.labels >= 0])
            known = ", ".join(source.classes or map(str, labels)) or "(none: it has no labels)"
            raise DataError(f"{name}: no class {wish!r}; its classes are {known}.")
    return numbers


def _choose(
    part: Part,
    kind: str,
    name: str,
    n: int | None,
    seed: int | None,
    number: int,
    classes: list[int] | None,
) -> NDArray[np.int64]:
    pool = np.arange(len(part.labels))
    if classes is not None:
        pool = pool[np.isin(part.labels, classes)]
    count = len(pool) if n is None else n
    if not isinstance(count, Integral) or not 1 <= count <= len(pool):
        of = "" if classes is None else " of these classes"
        raise DataError(f"{name}: asked for {count} {kind} images{of}; there are {len(pool)}.")
    if seed is not None and seed >= 0:  # nested: a smaller n is a prefix of a larger one
        pool = np.random.default_rng([seed, number]).permutation(pool)
    return pool[:count]


def _shape(
    shape: tuple[int, ...], grayscale: bool, size: int | None, name: str
) -> tuple[int, int, int]:
    """The (C, H, W) of the images as they are asked for, of those as they are kept."""
    channels, height, width = shape
    if size is None:
        return 1 if grayscale else channels, height, width
    if not isinstance(size, Integral) or not 1 <= size <= min(height, width):
        raise DataError(
            f"{name}: size={size} is not a down-sampling of {height}x{width} images; "
            f"take 1 to {min(height, width)}."
        )
    return 1 if grayscale else channels, size, size


def _check_memory(name: str, kept: tuple[int, ...], asked: tuple[int, ...]) -> None:
    """DataError where the images, with the largest of their steps, are beyond this machine."""
    needed = 4 * (math.prod(asked) + math.prod(kept))
    if needed > memory():
        raise DataError(
            f"{name}: {asked[0]:,} images of {kept[1]}x{kept[2]} would take {in_bytes(needed)} of "
            f"memory; here are {in_bytes(memory())}: ask for fewer, or for smaller ones."
        )


def _pixels(
    part: Part, rows: NDArray[np.int64], shape: tuple[int, int, int], name: str
) -> NDArray[np.float32]:
    order = np.argsort(rows)
    result = np.empty((len(rows), *shape), np.float32)
    done = 0
    for raw in part.read(rows[order]):
        if raw.dtype == np.uint8:
            images = raw.astype(np.float32) / np.float32(127.5) - 1
        else:
            images = raw.astype(np.float32)
            if not np.all(np.abs(images) <= 1):  # also False for NaN
                raise DataError(
                    f"{name}: float images must be finite and within [-1, 1]; "
                    "rescale them, or store uint8."
                )
        if images.shape[1] > shape[0]:
            luma = np.array([0.299, 0.587, 0.114], np.float32)
            images = np.einsum("nchw,c->nhw", images, luma)[:, None]
        if images.shape[2:] != shape[1:]:
            images = _area(images, shape[1])
        result[order[done : done + len(images)]] = images
        done += len(images)
    return result


def _area(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Area down-sampling: each output pixel is the mean over the square that it covers."""
    height, width = images.shape[2:]

    def weights(old: int) -> NDArray[np.float32]:
        edges = np.arange(size + 1) * old / size
        low = np.maximum(edges[:-1, None], np.arange(old))
        high = np.minimum(edges[1:, None], np.arange(old) + 1)
        return (np.clip(high - low, 0, None) * size / old).astype(np.float32)

    scaled = np.einsum("yh,nchw,xw->ncyx", weights(height), images, weights(width), optimize=True)
    return np.clip(scaled, -1, 1, dtype=np.float32)  # a mean of values in [-1, 1]
