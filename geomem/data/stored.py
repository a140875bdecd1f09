"""An array in a file, as images or as labels; what its header claims is held against the memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomem.data.files import BLOCK, CHUNK, DataError, Part, Rows, decoding, plain
from geomem.machine import in_bytes, memory

DEFLATED = 1040  # times as long as itself may be what a .zip file unpacks to


@dataclass(frozen=True)
class Stored:
    """An array in a file, of which only the header has been read.

    ``read(rows)`` gives its entries at ascending rows, in blocks.
    """

    key: str
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Rows], Iterator[NDArray[Any]]]

    def part(self, labels: Rows | None) -> Part:
        """Its images, each read when it is asked for."""
        if self.dtype.kind not in "buif":
            raise DataError(f"{self.name}: images must be real numbers, not {self.dtype}.")
        if len(self.shape) not in (3, 4) or 0 in self.shape:
            raise DataError(
                f"{self.name}: images must be NHWC, NCHW or NHW, not shape {self.shape}."
            )
        layout = self.shape if len(self.shape) == 4 else (self.shape[0], 1, *self.shape[1:])
        axes = (0, 1, 2, 3) if len(self.shape) == 3 or self._channels_first() else (0, 3, 1, 2)
        shape = tuple(layout[axis] for axis in axes[1:])
        veiled = self.dtype == np.uint8 and shape[0] in (2, 4)

        def read(rows: Rows) -> Iterator[NDArray[Any]]:
            for block in self.read(rows):
                images = block.reshape(-1, *layout[1:]).transpose(axes)
                yield _over_white(images) if veiled else images

        n = self.shape[0]
        known = np.full(n, -1) if labels is None else labels
        return Part(known, np.arange(n), (shape[0] - veiled, *shape[1:]), read)

    def _channels_first(self) -> bool:
        """By 1 or 3 channels, else by 2 or 4, else by sides of one length."""
        a, b, c = self.shape[1:]
        signs = ((a in (1, 3), c in (1, 3)), (a in (2, 4), c in (2, 4)), (b == c, a == b))
        for first, last in signs:
            if first != last:
                return first
        raise DataError(
            f"{self.name}: cannot tell the channels of shape {self.shape} "
            "(1 or 3 of them, either first or last)."
        )

    def numbers(self, n: int) -> Rows:
        """It as the labels of n images."""
        if self.shape not in ((n,), (n, 1)) or self.dtype.kind not in "iu":
            raise DataError(
                f"{self.name}: '{self.key}' must be {n} whole numbers, one for each image."
            )
        if n == 0:  # which is said of the images
            return np.empty(0, np.int64)
        return np.concatenate([*self.read(np.arange(n))]).astype(np.int64).ravel()


def _over_white(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bytes (n, C + 1, H, W), the last channel of which is opacity, on a white background."""
    colours, alpha = images[:, :-1].astype(np.float32), images[:, -1:].astype(np.float32) / 255
    return np.rint(255 + (colours - 255) * alpha).astype(np.uint8)


def sliced(
    rows_at: Callable[[int, int], NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    key: str,
    name: str,
    together: int = 1,
) -> Stored:
    """An array of which rows are given from one number to another, so many ``together``."""

    def read(rows: Rows) -> Iterator[NDArray[Any]]:
        most = min(CHUNK, BLOCK // (8 * math.prod(shape[1:])))
        step = together * max(1, most // together)
        with decoding(f"{name}: '{plain(key)}' is cut off or damaged."):
            for start in (np.unique(rows // step) * step).tolist():
                inside = rows[(rows >= start) & (rows < start + step)] - start
                yield rows_at(start, min(start + step, shape[0]))[inside]

    return Stored(key, name, shape, dtype, read)


def check_memory(whole: int, key: str, name: str, shape: tuple[int, ...]) -> None:
    """DataError where ``whole`` bytes of it, or a few numbers for each row, are too many."""
    if max(whole, 32 * math.prod(shape[:1])) > (there := memory()):
        raise DataError(
            f"{name}: '{plain(key)}', {shape}, is beyond the memory, {in_bytes(there)}."
        )
