"""Your own images: an .npz file or a folder, and the form in which every set is read.

A `Source` reads chosen rows on demand, so that memory follows the images kept.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geomem.errors import InputError

Root = str | os.PathLike[str] | None  # a folder to look in before downloading
Rows = NDArray[np.int64]
CHUNK = 1000  # images converted at once
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
EIGHT_BIT = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}  # Pillow's modes


class DataError(InputError):
    """A data set that cannot be had as asked; the message says what to do.

    References
    ----------
    Ours.

    Examples
    --------
    >>> import geomem
    >>> geomem.load_dataset("digits", n_train=10_000)
    Traceback (most recent call last):
    geomem.data.files.DataError: digits: asked for 10000 training images; there are 1297.
    """


@dataclass(frozen=True)
class Part:
    """The training or held-out part of a set: its labels, and a reader of chosen rows.

    ``read(rows)`` takes ascending positions and yields arrays (n, C, H, W), uint8 or
    float, in their order; ``index`` maps positions to the canonical order.
    """

    labels: Rows
    index: Rows
    read: Callable[[Rows], Iterator[NDArray[Any]]]


@dataclass(frozen=True)
class Source:
    """A data set on disk: its two parts, the names of its classes, and where it is from."""

    train: Part
    heldout: Part
    classes: Sequence[str]
    description: str


def array_part(
    images: NDArray[Any],
    labels: NDArray[Any] | None,
    rows: Rows | None = None,
    index: Rows | None = None,
) -> Part:
    """The images at ``rows`` (all of them) as a part; ``index`` says their canonical order."""
    kept = np.arange(len(images)) if rows is None else rows

    def read(wanted: Rows) -> Iterator[NDArray[Any]]:
        for i in range(0, len(wanted), CHUNK):
            yield images[kept[wanted[i : i + CHUNK]]]

    known = np.full(len(kept), -1) if labels is None else np.asarray(labels)[kept]
    return Part(known.astype(np.int64), kept if index is None else index, read)


def open_npz(path: Path) -> Source:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name}: not a readable .npz of plain arrays.") from error
    if "images" not in arrays:
        raise DataError(f"{path.name}: no array 'images'; it holds {sorted(arrays)}.")
    images = _as_nchw(arrays["images"], path.name)
    labels = _labels(arrays, "labels", len(images), path.name)
    description = f"your file {path.name}"
    if "heldout" in arrays:
        heldout = _as_nchw(arrays["heldout"], path.name)
        if heldout.shape[1:] != images.shape[1:]:
            raise DataError(f"{path.name}: 'images' and 'heldout' differ in image size.")
        heldout_labels = _labels(arrays, "heldout_labels", len(heldout), path.name)
        parts = array_part(images, labels), array_part(heldout, heldout_labels)
    else:
        train, held = _fifths(len(images), path.name)
        parts = array_part(images, labels, train), array_part(images, labels, held)
    return Source(*parts, classes=[], description=description)


def _labels(arrays: dict[str, NDArray[Any]], key: str, n: int, name: str) -> Rows | None:
    labels = arrays.get(key)
    if labels is None:
        return None
    if labels.shape != (n,) or labels.dtype.kind not in "iu":
        raise DataError(f"{name}: '{key}' must be {n} whole numbers, one for each image.")
    return labels.astype(np.int64)


def _as_nchw(images: NDArray[Any], name: str) -> NDArray[Any]:
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{name}: images must be uint8 or float, not {images.dtype}.")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4 or len(images) == 0:
        raise DataError(f"{name}: images must be NHWC, NCHW or NHW, not shape {images.shape}.")
    first, last = images.shape[1] in (1, 3), images.shape[3] in (1, 3)
    if first == last:
        raise DataError(
            f"{name}: cannot tell the channels of shape {images.shape} "
            "(1 or 3 of them, either first or last)."
        )
    return images if first else images.transpose(0, 3, 1, 2)


def _fifths(n: int, name: str) -> tuple[Rows, Rows]:
    """Every fifth image is held out: fair also where the images are sorted by class."""
    if n < 5:
        raise DataError(f"{name}: {n} images are too few; at least 5 are needed to hold one out.")
    rows = np.arange(n)
    return rows[rows % 5 != 4], rows[rows % 5 == 4]


def image_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def open_folder(folder: Path) -> Source:
    files, name = image_files(folder), f"folder {folder.name}"
    if len(files) < 5:
        formats = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
        raise DataError(
            f"{name}: {len(files)} images are too few, at least 5 are needed "
            f"(read are {formats}; folders inside it are not)."
        )
    shapes: dict[tuple[int, int], str] = {}
    gray = True
    for file in files:
        with _image(file, name) as image:
            shapes.setdefault(image.size, file.name)
            gray &= image.mode in ("1", "L")
    if len(shapes) > 1:
        (a, first), (b, second) = list(shapes.items())[:2]
        raise DataError(
            f"{name}: images of more than one size ({first}: {a[0]}x{a[1]}, "
            f"{second}: {b[0]}x{b[1]}); bring them to one size first."
        )

    def read_from(paths: list[Path]) -> Callable[[Rows], Iterator[NDArray[Any]]]:
        def read(rows: Rows) -> Iterator[NDArray[Any]]:
            for i in range(0, len(rows), CHUNK):
                stack = np.stack(
                    [_pixels_of(paths[row], name, gray) for row in rows[i : i + CHUNK]]
                )
                yield stack[:, None] if gray else stack.transpose(0, 3, 1, 2)

        return read

    train, held = (
        Part(np.full(len(rows), -1), rows, read_from([files[row] for row in rows]))
        for rows in _fifths(len(files), name)
    )
    return Source(train, held, [], f"your folder {folder.name}")


@contextmanager
def _image(file: Path, name: str) -> Iterator[Image.Image]:
    """An open image of 8 bits a channel; anything else is one clear error."""
    try:
        with Image.open(file) as image:
            if image.mode not in EIGHT_BIT:
                raise DataError(
                    f"{name}: {file.name} has mode {image.mode}, not 8 bits a channel; convert it."
                )
            yield image
    except (OSError, SyntaxError) as error:
        raise DataError(f"{name}: {file.name} is not a readable image.") from error


def _pixels_of(file: Path, name: str, gray: bool) -> NDArray[np.uint8]:
    with _image(file, name) as image:
        if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise DataError(f"{name}: {file.name} is partly transparent; flatten it first.")
        return np.asarray(image.convert("L" if gray else "RGB"))
