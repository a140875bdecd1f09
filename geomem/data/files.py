"""The form in which every set of images is read, and the error of one that cannot be.

A `Source` reads chosen rows on demand, so that memory follows the images kept.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomem.errors import InputError

Root = str | os.PathLike[str] | None  # a folder to look in before downloading
Rows = NDArray[np.int64]
CHUNK = 1000  # images converted at once
BLOCK = 2**22  # bytes read at once
WHITE = "laid on white where transparent"


class DataError(InputError):
    """A data set that cannot be had as asked; the message says what to do.

    References
    ----------
    Ours.

    Examples
    --------
    >>> import geomem
    >>> geomem.load_dataset("digits", n_train=5000)
    Traceback (most recent call last):
    geomem.data.files.DataError: digits: asked for 5000 training images; there are 1297 (None: all).
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
    other numbers, in their order; ``index`` maps positions to the canonical order, and ``shape`` is
    the (C, H, W) of every image. Where ``sizes`` says that they have several, it has the least of
    each side, and an array yielded has images of one size only.
    """

    labels: Rows
    index: Rows
    shape: tuple[int, ...]
    read: Callable[[Rows], Iterator[NDArray[Any]]]
    sizes: str = ""


@dataclass(frozen=True)
class Source:
    """A data set on disk: its parts, the names of its classes, where it is from, what was done.

    ``heldout`` is None where it does not say which images are held out. ``notes`` tell in words
    what was decided about a set that came without a description.
    """

    train: Part
    heldout: Part | None
    classes: Sequence[str]
    description: str
    notes: tuple[str, ...] = ()


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
    return rows_of(whole, whole.index if rows is None else rows, index)


def rows_of(part: Part, rows: Rows, index: Rows | None = None) -> Part:
    """The part at ascending ``rows``."""

    def read(wanted: Rows) -> Iterator[NDArray[Any]]:
        return part.read(rows[wanted])

    kept = part.index[rows] if index is None else index
    return Part(part.labels[rows], kept, part.shape, read, part.sizes)


@contextmanager
def decoding(message: str) -> Iterator[None]:
    """Whatever decoders raise on damaged or hostile bytes is a DataError with this message."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # every decoder has its own kinds
        raise DataError(message) from error


def needed(package: str, least: int, name: str) -> Any:
    """A package that few data sets need, of this version or a later one."""
    message = f"{name}: to read it, install {package} {least} or later: pip install {package}"
    with decoding(message):
        module = import_module(package)
        if int(module.__version__.partition(".")[0]) >= least:
            return module
    raise DataError(message)
