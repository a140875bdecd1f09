"""Your own images: an .npz file or a folder, and the form in which every set is read.

A `Source` reads chosen rows on demand, so that memory follows the images kept.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geomem.errors import InputError
from geomem.machine import in_bytes, memory

Root = str | os.PathLike[str] | None  # a folder to look in before downloading
Rows = NDArray[np.int64]
CHUNK = 1000  # images converted at once
BLOCK = 2**22  # bytes read at once
DEFLATED = 1040  # times as long as itself may be what a .zip file unpacks to
NPZ_ARRAYS = ("images", "labels", "heldout", "heldout_labels")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # of Pillow; its PostScript runs programs
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


def plain(text: str) -> str:
    """Text of a reader's disk as a name: letters, digits, space and . _ - / pass, "_" stands for
    the rest.

    Names go into templates, pages, HTML, BibTeX and messages of one line, where they are no code.

    >>> plain("{{ 7*7 }}"), plain("<img onerror=x>.npz"), plain("größe 1.png")
    ('__ 7_7 __', '_img onerror_x_.npz', 'größe 1.png')
    """
    return re.sub(r"[^\w ./-]", "_", unicodedata.normalize("NFC", text))


@dataclass(frozen=True)
class Part:
    """The training or held-out part of a set: its labels, and a reader of chosen rows.

    ``read(rows)`` takes ascending positions and yields arrays (n, C, H, W), uint8 or
    float, in their order; ``index`` maps positions to the canonical order, and ``shape`` is the
    (C, H, W) of every image.
    """

    labels: Rows
    index: Rows
    shape: tuple[int, ...]
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

    def read(wanted: Rows) -> Iterator[NDArray[Any]]:
        for i in range(0, len(wanted), CHUNK):
            yield images[wanted[i : i + CHUNK]]

    every = np.full(len(images), -1) if labels is None else np.asarray(labels)
    whole = Part(every.astype(np.int64), np.arange(len(images)), images.shape[1:], read)
    return _rows_of(whole, whole.index if rows is None else rows, index)


def _rows_of(part: Part, rows: Rows, index: Rows | None = None) -> Part:
    """The part at ascending ``rows``."""

    def read(wanted: Rows) -> Iterator[NDArray[Any]]:
        return part.read(rows[wanted])

    kept = part.index[rows] if index is None else index
    return Part(part.labels[rows], kept, part.shape, read)


@contextmanager
def decoding(message: str) -> Iterator[None]:
    """Whatever decoders raise on damaged or hostile bytes is a DataError with this message."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # every decoder has its own kinds
        raise DataError(message) from error


# An .npz file


def open_npz(path: Path, name: str) -> Source:
    """The arrays of `NPZ_ARRAYS` in it; of another nothing is read."""
    with decoding(f"{name}: not a readable .npz of plain arrays."), zipfile.ZipFile(path) as file:
        held = sorted(member.removesuffix(".npy") for member in file.namelist())
        stored = {key: _Stored.of(path, file, key, name) for key in NPZ_ARRAYS if key in held}
    if "images" not in stored:
        raise DataError(f"{name}: no array 'images'; it holds {', '.join(map(plain, held))}.")
    images, description = stored["images"].part(stored.get("labels")), f"your file {name}"
    if "heldout" in stored:
        heldout = stored["heldout"].part(stored.get("heldout_labels"))
        if heldout.shape != images.shape:
            raise DataError(f"{name}: 'images' and 'heldout' differ in image size.")
        return Source(images, heldout, [], description)
    train, held_out = (_rows_of(images, rows) for rows in _fifths(len(images.labels), name))
    return Source(train, held_out, [], description)


@dataclass(frozen=True)
class _Stored:
    """An array of an .npz file, of which only the header has been read."""

    path: Path
    key: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    start: int

    @classmethod
    def of(cls, path: Path, file: zipfile.ZipFile, key: str, name: str) -> _Stored:
        with file.open(f"{key}.npy") as member:
            version = np.lib.format.read_magic(member)
            readers = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
            shape, fortran, dtype = readers[version[0] - 1](member)
            start = member.tell()
        size = file.getinfo(f"{key}.npy").file_size
        claimed = start + math.prod(shape) * dtype.itemsize
        most = DEFLATED * path.stat().st_size
        if dtype.hasobject or min(shape, default=1) < 0 or claimed != size or size > most:
            raise DataError(f"{name}: '{key}' is not the plain array that its header claims.")
        needed = 2 * size if fortran else 32 * math.prod(shape[:1])  # all of it; a row's numbers
        if needed > (there := memory()):
            raise DataError(f"{name}: '{key}', {shape}, is beyond the memory, {in_bytes(there)}.")
        return cls(path, key, name, shape, dtype, fortran, start)

    def part(self, labels: _Stored | None) -> Part:
        """Its images, each read when it is asked for."""
        if self.dtype != np.uint8 and not np.issubdtype(self.dtype, np.floating):
            raise DataError(f"{self.name}: images must be uint8 or float, not {self.dtype}.")
        if len(self.shape) not in (3, 4) or 0 in self.shape:
            raise DataError(
                f"{self.name}: images must be NHWC, NCHW or NHW, not shape {self.shape}."
            )
        layout = self.shape if len(self.shape) == 4 else (self.shape[0], 1, *self.shape[1:])
        first, last = layout[1] in (1, 3), layout[3] in (1, 3)
        if first == last and len(self.shape) == 4:
            raise DataError(
                f"{self.name}: cannot tell the channels of shape {self.shape} "
                "(1 or 3 of them, either first or last)."
            )
        axes = (0, 1, 2, 3) if first else (0, 3, 1, 2)

        def read(rows: Rows) -> Iterator[NDArray[Any]]:
            for block in self.read(rows):
                yield block.reshape(-1, *layout[1:]).transpose(axes)

        n = len(self)
        known = np.full(n, -1) if labels is None else labels.numbers(n)
        return Part(known, np.arange(n), tuple(layout[axis] for axis in axes[1:]), read)

    def __len__(self) -> int:
        return self.shape[0]

    def numbers(self, n: int) -> Rows:
        """It as the labels of n images."""
        if self.shape != (n,) or self.dtype.kind not in "iu":
            raise DataError(
                f"{self.name}: '{self.key}' must be {n} whole numbers, one for each image."
            )
        return np.concatenate([*self.read(np.arange(n))]).astype(np.int64)

    def read(self, rows: Rows) -> Iterator[NDArray[Any]]:
        """The entries at ascending rows, in blocks; to the end, where the file has its checksum."""
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        step = len(self) if self.fortran else max(1, min(CHUNK, BLOCK // size))
        with (
            decoding(f"{self.name}: '{self.key}' is cut off or damaged."),
            zipfile.ZipFile(self.path) as file,
            file.open(f"{self.key}.npy") as member,
        ):
            member.read(self.start)
            for start in range(0, int(rows[-1]) + 1, step):
                count = min(step, len(self) - start)
                block = np.frombuffer(member.read(count * size), self.dtype)
                inside = rows[(rows >= start) & (rows < start + count)] - start
                order: Literal["F", "C"] = "F" if self.fortran else "C"
                yield block.reshape(count, *self.shape[1:], order=order)[inside]
            while member.read(BLOCK):
                pass


def _fifths(n: int, name: str) -> tuple[Rows, Rows]:
    """Every fifth image is held out: fair also where the images are sorted by class."""
    if n < 5:
        raise DataError(f"{name}: {n} images are too few; at least 5 are needed to hold one out.")
    rows = np.arange(n)
    return rows[rows % 5 != 4], rows[rows % 5 == 4]


# A folder of images


def image_files(folder: Path) -> list[Path]:
    """Its images in order; what is no regular file, a pipe for one, is none."""
    with decoding(f"folder {plain(folder.name)} cannot be read."):
        found = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
    return sorted(found)


def open_folder(folder: Path, label: str) -> Source:
    files, name = image_files(folder), f"folder {label}"
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
            shapes.setdefault(image.size, plain(file.name))
            gray &= image.mode in ("1", "L")
    if len(shapes) > 1:
        (a, first), (b, second) = list(shapes.items())[:2]
        raise DataError(
            f"{name}: images of more than one size ({first}: {a[0]}x{a[1]}, "
            f"{second}: {b[0]}x{b[1]}); bring them to one size first."
        )

    (width, height), channels = next(iter(shapes)), 1 if gray else 3
    step = max(1, min(CHUNK, BLOCK // (channels * height * width)))

    def read(rows: Rows) -> Iterator[NDArray[Any]]:
        for i in range(0, len(rows), step):
            stack = np.stack([_pixels_of(files[row], name, gray) for row in rows[i : i + step]])
            yield stack[:, None] if gray else stack.transpose(0, 3, 1, 2)

    n = len(files)
    every = Part(np.full(n, -1), np.arange(n), (channels, height, width), read)
    train, held = (_rows_of(every, rows) for rows in _fifths(n, name))
    return Source(train, held, [], f"your folder {label}")


@contextmanager
def _image(file: Path, name: str) -> Iterator[Image.Image]:
    """An open image of 8 bits a channel; anything else is one clear error."""
    shown = f"{name}: {plain(file.name)}"
    with decoding(f"{shown} is not a readable image."), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of damage
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            opened = Image.open(file, formats=FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise DataError(
                f"{shown} claims more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller."
            ) from error
        with opened as image:
            if image.mode not in EIGHT_BIT:
                raise DataError(f"{shown} has mode {image.mode}, not 8 bits a channel; convert it.")
            yield image


def _pixels_of(file: Path, name: str, gray: bool) -> NDArray[np.uint8]:
    with _image(file, name) as image:
        if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
            raise DataError(f"{name}: {plain(file.name)} is partly transparent; flatten it first.")
        return np.asarray(image.convert("L" if gray else "RGB"))
