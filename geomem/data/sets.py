"""Images with one scaling: the two sets that ship with the package, others, and your own.

Pixels are float32 in [-1, 1] (x / 127.5 - 1) with shape (N, C, H, W): the paper's data
units, in which sigma is measured. Latents keep their own values. Of a path, what was decided about
it is printed in one line, and is part of `ImageSet.source`.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geomem.data.files import DataError, Part, Root, Source, rows_of
from geomem.data.named import is_named, name_of, open_source, path_of, source_files
from geomem.data.ranges import RANGES, Range, recognise
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
        float32, in [-1, 1], the paper's data units; latents have their own. ``heldout`` has no
        image where none was held out.
    labels : Split
        Class numbers of both parts, (N,) int64 each; -1 where the set has none.
    indices : Split
        Positions of both parts in the set's canonical order, (N,) int64 each.
    name : str
        As asked for; of a path the last part, with "_" for all but letters, digits and " . _ -".
    source : str
        Where the images come from; of a path also what was done to them.
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
    heldout: str | os.PathLike[str] | Literal[False] | None = None,
    n_train: int | None = None,
    n_heldout: int | None = None,
    seed: int | None = None,
    classes: str | int | Sequence[str | int] | None = None,
    grayscale: bool = False,
    size: int | None = None,
    range: Range | Literal["any", "unclipped"] | None = None,
    root: str | os.PathLike[str] | None = None,
    share: tuple[int, int] | None = None,
) -> ImageSet:
    """Load training and held-out images, scaled to [-1, 1].

    What is decided about a path is printed in one line: labels, range, held-out images, repeats.

    Parameters
    ----------
    name : str or path
        "digits" (8x8, 1,297 + 500 images) or "fashion-mini" (28x28, 2,000 + 1,000), both
        shipped; "cifar10" (32x32 RGB, 50,000 + 10,000) or "fashion-mnist" (28x28,
        60,000 + 10,000), downloaded once with their published hashes; or a path. A folder or .zip
        of images: class folders and EDM's ``dataset.json`` give labels, folders "train" and
        "test" the two parts; photographs are turned as EXIF says, transparent pixels laid on
        white, of an animation the first frame is taken. Such images may lie in a column of
        Parquet files, with whole numbers as labels, as Hugging Face writes them (by pyarrow). Or
        arrays, .npz, .npy, .safetensors, .pt, .h5 (by h5py) or a folder .zarr (by zarr), in
        which no code is run: ``images`` or the only array that can be images, NHWC, NCHW or NHW;
        optional ``labels`` and ``heldout``.
    heldout : str, path, False or None
        Held-out images by name or path, which no model has been trained on. None takes the set's
        own; of a path without any, every fifth image is held out: right for a model that is yet
        to be trained on the others, wrong for one that was trained on all. False: all are
        training images, and there are none held out.
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
        Side in pixels after cropping to the central square and area down-sampling; None keeps
        the images as they are, which must then be of one size.
    range : (low, high), "any", "unclipped" or None
        The values that become -1 and 1; "any" keeps values as they are. None recognises 0 to 255,
        0 to 1 and -1 to 1, and refuses what may be several; floats of other than 1 or 3
        channels are latents, and kept. "unclipped" is None for samples of a network: floats that
        reach beyond -1 to 1 on both sides of 0 are kept. A range that is given is that of both
        parts, but bytes keep 0 to 255 where only that fits them: beside images of more bits.
    root : path or None
        Folder to look in before downloading; default the environment variable GEOMEM_DATA.
    share : (int, int) or None
        (i, n): of these training images only the i-th of n nearly equal parts, i from 0 on, one
        after the other; what one of n processes holds. The held-out images are all there.

    Returns
    -------
    ImageSet
        Both parts as (N, C, H, W) float32 in [-1, 1], with labels, where they are from and what
        was done to them.

    Raises
    ------
    DataError
        If the name is unknown, files or a package are missing, files are damaged, sizes are
        mixed, values are not finite, outside their range or of a range that cannot be told, the
        set holds fewer images than asked for, or this machine has less memory than they take.

    References
    ----------
    Ours; the scaling is the paper's; see :doc:`/book/setting`.

    Examples
    --------
    >>> from geomem import load_dataset
    >>> load_dataset("digits", n_train=100).train.shape
    (100, 1, 8, 8)
    """
    if heldout is False and n_heldout:
        raise DataError(
            f"{name_of(name)}: heldout=False holds out none; n_heldout does not go with it."
        )
    source, label = _parts(name, heldout, root), name_of(name)
    new, numbers = source.heldout, _class_numbers(source, classes, label)
    a = _choose(source.train, "training", label, n_train, seed, 0, numbers)
    a, whole = _share(a, share, label), len(a)
    shape = _shape(source.train, grayscale, size, label)
    bounds = _bounds(source, range, label)
    if new is None:
        b, held = a[:0], np.empty((0, *shape), np.float32)
        labels, indices = source.train.labels[:0], source.train.index[:0]
    else:
        b = _choose(new, "held-out", label, n_heldout, seed, 1, numbers)
        if (other := _shape(new, grayscale, size, label)) != shape:
            raise DataError(
                f"{label}: training images are {_times(shape)} and held-out ones {_times(other)}; "
                "size= and grayscale=True bring them together."
            )
        labels, indices = new.labels[b], new.index[b]
    _check_memory(label, source.train.shape, (len(a) + len(b), *shape))
    told = range not in (None, "unclipped")
    train = _pixels(source.train, a, shape, bounds[0], label, told)
    held = held if new is None else _pixels(new, b, shape, bounds[1], label, told)
    both = Split(source.train.labels[a], labels), Split(source.train.index[a], indices)
    digest = hashlib.sha256(str((train.shape, held.shape)).encode())
    for array in (train, held, *both[0], *both[1]):
        digest.update(np.ascontiguousarray(array).data)
    said = source.description
    if not is_named(name) or heldout is not None:
        smaller = source.train.sizes or source.train.shape[1:] != shape[1:]
        scaled = [f"central squares scaled to {_times(shape[1:])}"] if smaller else []
        again = _repeats(train, held) if len(a) == whole else ()  # of a share it is not known
        notes = "; ".join((*source.notes, *scaled, _said(bounds), *again))
        part = "" if len(a) == whole else f", {len(a)} of them here,"
        print(f"{said}: {whole} training{part} and {len(b)} held-out, {_times(shape)}; {notes}")
        said = f"{said}; {notes}"
    return ImageSet(train, held, *both, label, said, digest.hexdigest())


def dataset_sizes(name: str | os.PathLike[str], root: Root = None) -> tuple[int, int]:
    """How many training and held-out images a data set has; downloads it where it must."""
    source = _parts(name, None, root)
    return len(source.train.labels), len(source.heldout.labels) if source.heldout else 0


def source_sha256(name: str, root: str | os.PathLike[str] | None = None) -> str:
    """SHA-256 over the files of a data set, or "absent" where it is not on this disk yet."""
    try:
        files = source_files(name, root)
    except DataError:
        return "absent"
    digest = hashlib.sha256()
    folder = path_of(name) if not is_named(name) and path_of(name).is_dir() else None
    for path in files:
        digest.update(os.fsencode(path.relative_to(folder) if folder else path.name) + b"\0")
        with path.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _parts(
    name: str | os.PathLike[str],
    heldout: str | os.PathLike[str] | Literal[False] | None,
    root: Root,
) -> Source:
    """A set with its held-out images: its own, others, every fifth of its images, or none."""
    source, label = open_source(name, root), name_of(name)
    if heldout is False:
        note = "none held out: what is new to a model cannot be told from what it was trained on"
        return replace(source, heldout=None, notes=(*source.notes, note))
    if heldout is not None:
        other = open_source(heldout, root)
        new = _relabelled(other.heldout or other.train, other.classes, source.classes)
        held = f"held out is {other.description}"
        return replace(source, heldout=new, notes=(*source.notes, held, *other.notes))
    if source.heldout is not None:
        return source
    n = len(source.train.labels)
    if n < 5:
        raise DataError(
            f"{label}: {n} images are too few; at least 5 are needed to hold one out "
            "(or give heldout=)."
        )
    rows = np.arange(n)  # every fifth: fair also where the images are sorted by class
    train, new = rows_of(source.train, rows[rows % 5 != 4]), rows_of(source.train, rows[4::5])
    note = (
        "every fifth image is held out: new to a model that is trained without it, "
        "for any other give its own held-out images"
    )
    return replace(source, train=train, heldout=new, notes=(*source.notes, note))


def _relabelled(part: Part, theirs: Sequence[str], ours: Sequence[str]) -> Part:
    """Labels by the training set's numbers of the same classes; -1 for a class that it lacks."""
    if list(theirs) == list(ours):
        return part
    number = {name: i for i, name in enumerate(ours)}
    table = np.array([*(number.get(name, -1) for name in theirs), -1])
    known = np.where(part.labels < len(theirs), part.labels, -1)
    return replace(part, labels=table[known])


# Choosing and converting images


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _said(bounds: Sequence[Range | None]) -> str:
    """The ranges of both parts in words."""
    kept = "values kept as they are"
    said = [kept if b is None else f"values of {b[0]:g} to {b[1]:g}" for b in bounds]
    moved = "" if {*bounds} <= {None, RANGES[0]} else " taken to -1 to 1"
    return " and, held out, ".join(dict.fromkeys(said)) + moved


def _repeats(train: NDArray[np.float32], held: NDArray[np.float32]) -> list[str]:
    """What is there twice, exactly, in words; near twins are for `geomem.twins`."""
    seen, new = ([hashlib.sha256((x + 0).data).digest() for x in part] for part in (train, held))
    again, shared = len(seen) - len({*seen}), sum(map({*seen}.__contains__, new))
    notes = [f"{again} training images repeat others"] if again else []
    return notes + ([f"{shared} held-out images are training images too"] if shared else [])


def _bounds(
    source: Source, asked: Range | Literal["any", "unclipped"] | None, name: str
) -> tuple[Range | None, Range | None]:
    """The values that become -1 and 1, of both parts; None where values stay as they are."""
    unclipped = isinstance(asked, str) and asked == "unclipped"
    if asked is not None and not unclipped:
        if asked == "any":
            return None, None
        given = _checked(asked, name)
        train, new = source.train, source.heldout or source.train
        return laid_on(train, new, given, name), laid_on(new, train, given, name)
    (first, float_first), (second, float_second) = (
        _recognised(part, name, unclipped) if part is not None else (None, False)
        for part in (source.train, source.heldout)
    )
    if float_first and float_second and first != second:
        raise DataError(
            f"{name}: training images look like {_said([first])}, held-out ones like "
            f"{_said([second])}; give range=."
        )
    return first, first if source.heldout is None else second


def _checked(asked: Any, name: str) -> Range:
    with suppress(TypeError, ValueError):
        low, high = map(float, asked)
        if -np.inf < low < high < np.inf:
            return low, high
    raise DataError(f"{name}: range must be (low, high), 'any' or 'unclipped', not {asked!r}.")


def laid_on(part: Part, other: Part, asked: Range, name: str) -> Range:
    """The range of a part beside another one, where one is asked for: that, or the own of bytes.

    Of images of 12 bits the range is said, and those of 8 bits beside them are of 0 to 255 still.
    """
    own = RANGES[2]
    if asked == own or not _has_bytes(part):
        return asked
    if _has_bytes(other) and asked[1] <= 2 * own[1]:  # beyond, no byte reaches its middle
        return asked
    most = max(int(raw.max()) for raw in part.read(np.arange(len(part.labels))))
    fitting = [of for of in (asked, own) if of[0] >= 0 and sum(of) / 2 < most <= of[1]]
    if len(fitting) == 1:
        return fitting[0]
    raise DataError(
        f"{name}: bytes can be values of {asked[0]:g} to {asked[1]:g}, or their own 0 to 255: "
        "bring all images to one kind of number."
    )


def _has_bytes(part: Part) -> bool:
    return bool(next(iter(part.read(np.arange(1)))).dtype == np.uint8)


def _recognised(part: Part, name: str, unclipped: bool) -> tuple[Range | None, bool]:
    """The range of a part, all of it read unless it is of bytes; and whether it has floats."""
    low, high = np.inf, -np.inf
    for raw in part.read(np.arange(len(part.labels))):
        if raw.dtype == np.uint8:
            return RANGES[2], False
        if raw.dtype.kind == "f" and raw.shape[1] not in (1, 3):
            return None, True
        if not np.isfinite(raw).all():
            raise DataError(f"{name}: the values of images must be finite.")
        low, high = min(low, float(raw.min())), max(high, float(raw.max()))
    found = recognise(low, high)
    if raw.dtype.kind == "u" and raw.dtype.itemsize == 2 and high > 2**15:
        found = (0.0, 65535.0)
    if found is None and unclipped and raw.dtype.kind == "f" and low < -0.5 and high > 0.5:
        return None, True
    if found is None:
        raise DataError(
            f"{name}: values of {low:.4g} to {high:.4g} can be images of several ranges: give "
            "range=(low, high), what is black and what is white, or range='any' for latents."
        )
    return found, raw.dtype.kind == "f"


def _class_numbers(
    source: Source, classes: str | int | Sequence[str | int] | None, name: str
) -> list[int] | None:
    if classes is None:
        return None
    wanted: list[str | int]
    wanted = [classes] if isinstance(classes, (str, int, np.integer)) else list(classes)
    labels = np.unique(source.train.labels[source.train.labels >= 0]).tolist()
    # A command line and TOML have texts alone: classes without names are called by their numbers.
    names = [*source.classes] or [*map(str, labels)]
    of_names = [*range(len(names))] if source.classes else labels
    numbers = []
    for wish in wanted:
        if wish in names:
            numbers.append(of_names[names.index(str(wish))])
        elif isinstance(wish, Integral) and np.any(source.train.labels == wish):
            numbers.append(int(wish))
        else:
            known = ", ".join(names) or "(none: it has no labels)"
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
        known = f"there are {len(pool)} (None: all)"
        raise DataError(f"{name}: asked for {count} {kind} images{of}; {known}.")
    if seed is not None and seed >= 0:  # nested: a smaller n is a prefix of a larger one
        pool = np.random.default_rng([seed, number]).permutation(pool)
    return pool[:count]


def _share(rows: NDArray[np.int64], share: tuple[int, int] | None, name: str) -> NDArray[np.int64]:
    """The i-th of n parts of the chosen rows."""
    if share is None:
        return rows
    i, n = share
    if not 0 <= i < n <= len(rows):
        raise DataError(f"{name}: {len(rows)} training images have no share {i} of {n}.")
    return np.array_split(rows, n)[i]


def _shape(part: Part, grayscale: bool, size: int | None, name: str) -> tuple[int, int, int]:
    """The (C, H, W) of the images as they are asked for, of those as they are kept."""
    channels, height, width = part.shape
    if grayscale and channels not in (1, 3):
        raise DataError(f"{name}: {channels} channels have no gray.")
    channels = 1 if grayscale else channels
    if size is None:
        if part.sizes:
            raise DataError(f"{name}: {part.sizes}; give a size (`--size 32`) to scale them to.")
        return channels, height, width
    if not isinstance(size, Integral) or not 1 <= size <= min(height, width):
        raise DataError(
            f"{name}: size={size} is not a down-sampling of {height}x{width} images; "
            f"take 1 to {min(height, width)}."
        )
    return channels, int(size), int(size)


def _check_memory(name: str, kept: tuple[int, ...], asked: tuple[int, ...]) -> None:
    """DataError where the images, with the largest of their steps, are beyond this machine."""
    needed = 4 * (math.prod(asked) + math.prod(kept))
    if needed > memory():
        raise DataError(
            f"{name}: {asked[0]:,} images of {kept[1]}x{kept[2]} would take {in_bytes(needed)} of "
            f"memory; here are {in_bytes(memory())}: ask for fewer, or for smaller ones."
        )


def _pixels(
    part: Part,
    rows: NDArray[np.int64],
    shape: tuple[int, int, int],
    bounds: Range | None,
    name: str,
    told: bool,
) -> NDArray[np.float32]:
    """The images of some rows; ``told`` where the range of their values was given."""
    order = np.argsort(rows)
    result = np.empty((len(rows), *shape), np.float32)
    done, most = 0, 0
    for raw in part.read(rows[order]):
        most = max(most, raw.max()) if raw.dtype == np.uint8 else 2
        images = _scaled(raw, bounds, name)
        if images.shape[1] > shape[0]:
            luma = np.array([0.299, 0.587, 0.114], np.float32)
            images = np.einsum("nchw,c->nhw", images, luma)[:, None]
        if images.shape[2:] != shape[1:]:
            images = _area(images, shape[1])
            if bounds is not None:
                images = np.clip(images, -1, 1)  # a mean of values in [-1, 1]
        result[order[done : done + len(images)]] = images
        done += len(images)
    if most == 1 and bounds == RANGES[2] and not told:
        raise DataError(
            f"{name}: all bytes are 0 or 1: give range=(0, 1), or (0, 255) if so meant."
        )
    return result


def _scaled(raw: NDArray, bounds: Range | None, name: str) -> NDArray[np.float32]:
    """float32, ``bounds`` taken to -1 and 1."""
    images = raw.astype(np.float32)
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    if not np.all((low <= images) & (images <= high) & np.isfinite(images)):
        wanted = "finite" if bounds is None else f"from {low:g} to {high:g}"
        raise DataError(f"{name}: the values of images must be {wanted}; see range=.")
    if bounds in (None, RANGES[0]):
        return images
    half = np.float32((high - low) / 2)
    return (images - np.float32(low)) / half - 1


def _area(images: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Area down-sampling of the central square: a pixel is the mean over what it covers."""
    side = min(images.shape[2:])
    top, left = ((length - side) // 2 for length in images.shape[2:])
    square = images[:, :, top : top + side, left : left + side]
    edges = np.arange(size + 1) * side / size
    low = np.maximum(edges[:-1, None], np.arange(side))
    high = np.minimum(edges[1:, None], np.arange(side) + 1)
    weights = (np.clip(high - low, 0, None) * size / side).astype(np.float32)
    return np.einsum("yh,nchw,xw->ncyx", weights, square, weights, optimize=True)
