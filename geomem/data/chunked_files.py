"""Arrays in chunks, HDF5 and zarr: read by h5py and zarr, of whose ways the plain ones are let in.

No file names code to run, and none leads to another file. A chunk that does not unpack to its
size is damaged: it is looked at before those libraries unpack it, which trust it. What HDF5's own
library does with a damaged header is beyond us.
"""

from __future__ import annotations

import json
import math
import warnings
import zlib
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from geomem.data.files import DataError, decoding, needed, plain
from geomem.data.stored import DEFLATED, Stored, check_memory, sliced

DEFLATE, SHUFFLE, CHECKSUM = 1, 2, 3  # HDF5's numbers; other filters may be programs on the disk
CODECS = {"bytes", "blosc", "gzip", "shuffle", "transpose", "zlib", "zstd"}  # zarr's; one unpickles
TEXT = {"vlen-bytes", "vlen-utf8"}  # of arrays that are no images
Packed = tuple[str, bytes]  # by what a chunk is packed, and its bytes


def hdf5_arrays(path: Path, name: str) -> dict[str, Stored]:
    """Its arrays by their paths inside, "group/array"."""
    h5py = needed("h5py", 3, name)
    links: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    stored: dict[str, Stored] = {}
    size = path.stat().st_size

    def rows_at(key: str, start: int, stop: int) -> NDArray[Any]:
        with h5py.File(path, "r") as file:
            return file[key][start:stop]

    def packed_at(key: str, at: tuple[int, ...]) -> Packed | None:
        with h5py.File(path, "r") as file:
            array = file[key]
            first = tuple(i * c for i, c in zip(at, array.chunks, strict=True))
            there = array.id.get_chunk_info_by_coord(first)
            skipped = there.filter_mask
            used = [number for i, number in enumerate(_filters(array)) if not skipped >> i & 1]
        if there.byte_offset is None:
            return None  # never written
        with path.open("rb") as raw:  # h5py's read_direct_chunk may write beyond what it has
            raw.seek(there.byte_offset)
            chunk = raw.read(min(there.size, size))
        return "zlib" if DEFLATE in used else "", chunk[: -4 if CHECKSUM in used else None]

    with decoding(f"{name}: not a readable HDF5 file."), h5py.File(path, "r") as file:
        file.visititems_links(lambda key, link: links.update({key: link}))
        for key, link in links.items():
            if isinstance(link, h5py.ExternalLink):
                raise _foreign(key, name)
        file.visititems(lambda key, array: arrays.update({key: array}))  # follows no soft link
        for key, array in arrays.items():
            if not isinstance(array, h5py.Dataset) or array.shape is None:
                continue
            if array.external or array.is_virtual:
                raise _foreign(key, name)
            if {*_filters(array)} - {DEFLATE, SHUFFLE, CHECKSUM}:
                raise _foreign(key, name)
            ways = partial(rows_at, key), partial(packed_at, key)
            stored[key] = _chunked(array, *ways, size, key, name)
    return stored


def _filters(array: Any) -> list[int]:
    made = array.id.get_create_plist()
    return [made.get_filter(i)[0] for i in range(made.get_nfilters())]


def zarr_arrays(path: Path, name: str) -> dict[str, Stored]:
    """Its arrays by their paths inside; their codecs are looked at before zarr makes them."""
    zarr = needed("zarr", 3, name)
    version = {".zarray": 2, "zarr.json": 3}
    stored: dict[str, Stored] = {}
    files = zarr_files(path)
    size = sum(file.stat().st_size for file in files)

    def packed_at(array: Any, folder: Path, codec: str, at: tuple[int, ...]) -> Packed | None:
        chunk = folder / array.metadata.encode_chunk_key(at)
        return (codec, chunk.read_bytes()) if chunk.is_file() else None

    with decoding(f"{name}: not a readable .zarr folder."), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of types that other readers may lack
        for file in files:
            if file.name not in version:
                continue
            about, folder = json.loads(file.read_bytes()), file.parent
            if about.get("node_type") == "group":
                continue
            key = "images" if folder == path else folder.relative_to(path).as_posix()
            used = *(about.get("filters") or ()), *about.get("codecs", ()), about.get("compressor")
            codecs = ["", *(codec.get("id", codec.get("name")) for codec in used if codec)]
            if {*codecs[1:]} - CODECS - TEXT:
                raise _foreign(key, name)
            store = zarr.storage.LocalStore(folder, read_only=True)
            array = zarr.open_array(store, zarr_format=version[file.name], mode="r")
            ways = partial(_between, array), partial(packed_at, array, folder, codecs[-1])
            stored[key] = _chunked(array, *ways, size, key, name)
    return stored


def _between(array: Any, start: int, stop: int) -> NDArray[Any]:
    return array[start:stop]


def zarr_files(folder: Path) -> list[Path]:
    """The files of a .zarr folder, in order; a link, or what is no regular file, is refused."""
    name = plain(folder.name)
    with decoding(f"{name}: this folder cannot be read."):
        found = sorted(folder.rglob("*"))
        for path in found:
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise DataError(f"{name}: {plain(path.name)} is no regular file.")
        return [path for path in found if path.is_file()]


def _foreign(key: str, name: str) -> DataError:
    return DataError(
        f"{name}: '{plain(key)}' is kept in another file, or by a codec, that is not read; "
        "save it by itself, plain or by gzip."
    )


def _chunked(
    array: Any,
    rows_at: Callable[[int, int], NDArray[Any]],
    packed_at: Callable[[tuple[int, ...]], Packed | None],
    size: int,
    key: str,
    name: str,
) -> Stored:
    """An array of a file that takes ``size`` bytes; a chunk is unpacked as a whole."""
    shape, dtype, chunk = array.shape, array.dtype, array.chunks or ()
    if math.prod(shape) * dtype.itemsize > DEFLATED * size:
        raise DataError(f"{name}: '{plain(key)}' is not the plain array that its header claims.")
    together = max(1, math.prod(chunk[:1]))
    numbers = max(math.prod(chunk), math.prod((together, *shape[1:])))
    check_memory(2 * dtype.itemsize * numbers, key, name, shape)

    def read(start: int, stop: int) -> NDArray[Any]:
        for first in range(start, stop, together) if chunk else ():
            beside = (range(-(-n // c)) for n, c in zip(shape[1:], chunk[1:], strict=True))
            for at in product([first // together], *beside):
                packed = packed_at(at)
                if packed and not _unpacks(*packed, math.prod(chunk) * dtype.itemsize):
                    raise DataError(f"{name}: '{plain(key)}' is cut off or damaged.")
        return rows_at(start, stop)

    return sliced(read, shape, dtype, key, name, together)


def _unpacks(codec: str, chunk: bytes, size: int) -> bool:
    """Whether a chunk is whole, and unpacks to so many bytes and no more."""
    if codec in ("gzip", "zlib"):
        unpacking = zlib.decompressobj(47)  # either header
        unpacked = unpacking.decompress(chunk, size + 1)
        return len(unpacked) == size and unpacking.eof and not unpacking.unused_data
    if codec == "blosc":  # its header has both sizes
        return size == _number(chunk[4:8]) and len(chunk) == _number(chunk[12:16])
    return _zstd(chunk, size) if codec == "zstd" else len(chunk) == size


def _zstd(chunk: bytes, size: int) -> bool:
    """One frame that says its size, to the end of the chunk: RFC 8878, 3.1.1."""
    about, at = chunk[4], 5
    at += (not about & 32) + (0, 1, 2, 4)[about & 3]
    width = (about >> 5 & 1, 2, 4, 8)[about >> 6]
    claimed = _number(chunk[at : at + width]) + 256 * (width == 2)
    at, last = at + width, False
    while not last and at < len(chunk):
        block = _number(chunk[at : at + 3])
        last = bool(block & 1)
        at += 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
    return width > 0 and claimed == size and last and at + 4 * (about >> 2 & 1) == len(chunk)


def _number(some: bytes) -> int:
    return int.from_bytes(some, "little")
