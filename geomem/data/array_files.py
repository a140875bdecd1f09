"""Your own images as arrays: .npy, .npz, .safetensors, .pt, HDF5, zarr; none of their code is run.

Only headers are read until rows are asked for; a header that lies is refused before memory is.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from geomem.data.chunked_files import hdf5_arrays, zarr_arrays
from geomem.data.files import BLOCK, CHUNK, WHITE, DataError, Rows, Source, decoding, plain
from geomem.data.stored import DEFLATED, Stored, check_memory, sliced
from geomem.machine import in_bytes, memory

if TYPE_CHECKING:
    import torch

NAMES = ("images", "labels", "heldout", "heldout_labels")
HELD_OUT = ("heldout", "test", "val")  # of an array beside one of "train", the first that is there
LABELS = re.compile(r"label|class|target|^y(_|$)|^arr_1$")


def open_arrays(path: Path, name: str) -> Source:
    """The images of a file, its labels and its held-out images, by their names."""
    arrays = READERS[path.suffix.lower()](path, name)
    pictures = {key: a for key, a in arrays.items() if len(a.shape) in (3, 4)}
    images = arrays.get("images") or _only(pictures) or _only(pictures, "train")
    if images is None:
        held = ", ".join(map(plain, sorted(arrays)))
        raise DataError(
            f"{name}: no array 'images', and no other that is alone in having an image's shape; "
            f"it holds {held or 'no plain array'}."
        )
    others = {key: a for key, a in pictures.items() if a is not images}
    heldout, word = arrays.get("heldout"), "heldout"
    for word in HELD_OUT if heldout is None and "train" in images.key.lower() else ():
        if heldout := _only(others, word):
            break
    kept = images.part(_labels(arrays, images, "labels", "train" if heldout else ""))
    notes = [f"images from {plain(images.key)}"] if images.key != "images" else []
    if math.prod(kept.shape) < math.prod(images.shape[1:]):
        notes.append(WHITE)
    where = f"your {'folder' if path.is_dir() else 'file'} {name}"
    if heldout is None:
        return Source(kept, None, [], where, tuple(notes))
    notes += [f"held-out images from {plain(heldout.key)}"] if heldout.key != "heldout" else []
    new = heldout.part(_labels(arrays, heldout, "heldout_labels", word))
    if new.shape != kept.shape:
        raise DataError(
            f"{name}: '{plain(images.key)}' and '{plain(heldout.key)}' differ in image size."
        )
    return Source(kept, new, [], where, tuple(notes))


def _only(arrays: dict[str, Stored], word: str = "") -> Stored | None:
    """The one array that has this word in its name, if there is one and no other."""
    found = [array for key, array in arrays.items() if word in key.lower()]
    return found[0] if len(found) == 1 else None


def _labels(arrays: dict[str, Stored], images: Stored, key: str, word: str) -> Rows | None:
    """What is called labels must be them; by another name it is, where it is the only one."""
    n = images.shape[0] if images.shape else 0
    if key in arrays:
        return arrays[key].numbers(n)
    called = {k: a for k, a in arrays.items() if LABELS.search(k.lower().rpartition("/")[2])}
    fitting = {
        k: a for k, a in called.items() if a.shape in ((n,), (n, 1)) and a.dtype.kind in "iu"
    }
    found = _only(fitting, word)
    return None if found is None else found.numbers(n)


# .npz and .npy: a header, then the numbers


def _npz(path: Path, name: str) -> dict[str, Stored]:
    """The arrays of `NAMES` where it has images by that name, else all plain ones."""
    stored: dict[str, Stored] = {}
    with decoding(f"{name}: not a readable .npz of plain arrays."), zipfile.ZipFile(path) as file:
        members = [m for m in file.infolist() if m.filename.endswith(".npy")]
        keys = [member.filename.removesuffix(".npy") for member in members]
        meant = "images" in keys
        for key, member in zip(keys, members, strict=True):
            if meant and key not in NAMES:
                continue
            # Beside images of another name there may be members that are no plain arrays.
            with nullcontext() if meant else suppress(Exception):
                stored[key] = _npy_array(
                    partial(_member, path, f"{key}.npy"),
                    member.file_size,
                    path.stat().st_size,
                    key,
                    name,
                )
    return stored


@contextmanager
def _member(path: Path, member: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as file, file.open(member) as opened:
        yield opened


def _npy(path: Path, name: str) -> dict[str, Stored]:
    size = path.stat().st_size
    with decoding(f"{name}: not a readable .npy of a plain array."):
        return {"images": _npy_array(lambda: path.open("rb"), size, size, "images", name)}


def _npy_array(
    opened: Callable[[], AbstractContextManager[IO[bytes]]],
    size: int,
    packed: int,
    key: str,
    name: str,
) -> Stored:
    """The array of ``size`` bytes, with its header, of a file that takes ``packed`` on disk."""
    with opened() as file:
        version = np.lib.format.read_magic(file)
        readers = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        shape, fortran, dtype = readers[version[0] - 1](file)
        begin = file.tell()
    claimed = begin + math.prod(shape) * dtype.itemsize
    lies = claimed != size or size > DEFLATED * packed
    if dtype.hasobject or min(shape, default=1) < 0 or lies:
        raise DataError(f"{name}: '{plain(key)}' is not the plain array that its header claims.")
    check_memory(2 * size if fortran else 0, key, name, shape)
    entry, n = math.prod(shape[1:]) * dtype.itemsize, shape[0] if shape else 0
    order: Literal["F", "C"] = "F" if fortran else "C"

    def read(rows: Rows) -> Iterator[NDArray[Any]]:
        """To the end, where an .npz file has its checksum."""
        step = n if fortran else max(1, min(CHUNK, BLOCK // entry))
        with decoding(f"{name}: '{plain(key)}' is cut off or damaged."), opened() as file:
            file.read(begin)
            for start in range(0, int(rows[-1]) + 1, step):
                count = min(step, n - start)
                block = np.frombuffer(file.read(count * entry), dtype)
                inside = rows[(rows >= start) & (rows < start + count)] - start
                if len(inside):
                    yield block.reshape(count, *shape[1:], order=order)[inside]
            while file.read(BLOCK):
                pass

    return Stored(key, name, shape, dtype, read)


# Tensors


def _safetensors(path: Path, name: str) -> dict[str, Stored]:
    from safetensors import safe_open

    def entry(key: str) -> Stored:
        def rows(start: int, stop: int) -> torch.Tensor:
            with safe_open(path, "pt") as file:
                return file.get_slice(key)[start:stop]

        with safe_open(path, "pt") as file:
            shape = tuple(file.get_slice(key).get_shape())
        return _tensor(rows, shape, key, name)

    with decoding(f"{name}: not a readable .safetensors file."):
        with safe_open(path, "pt") as file:
            keys = [*file.keys()]
        return {key: entry(key) for key in keys}


def _pt(path: Path, name: str) -> dict[str, Stored]:
    """What `torch.load` gives without running code: a tensor, a dict of them, or a sequence."""
    import torch

    size = path.stat().st_size
    if size > (there := memory()):
        raise DataError(f"{name}: {in_bytes(size)} are beyond the memory, {in_bytes(there)}.")
    with decoding(
        f"{name}: not a file of plain tensors, or one that would run code; "
        "save the images by numpy.save or safetensors."
    ):
        held = torch.load(path, map_location="cpu", weights_only=True)
        if isinstance(held, torch.Tensor):
            held = {"images": held}
        elif isinstance(held, (tuple, list)):
            held = {f"arr_{i}": value for i, value in enumerate(held)}
        tensors = {str(k): v for k, v in dict(held).items() if isinstance(v, torch.Tensor)}
    stored = {}
    for key, tensor in tensors.items():
        odd = tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized
        if odd or tensor.numel() * tensor.element_size() > size:
            raise DataError(f"{name}: '{plain(key)}' is not the plain array that it claims to be.")
        stored[key] = _tensor(partial(_between, tensor), tuple(tensor.shape), key, name)
    return stored


def _between(tensor: torch.Tensor, first: int, last: int) -> torch.Tensor:
    return tensor[first:last]


def _tensor(
    rows_at: Callable[[int, int], torch.Tensor], shape: tuple[int, ...], key: str, name: str
) -> Stored:
    """A tensor of which rows are given from one number to another."""

    def host(start: int, stop: int) -> NDArray[Any]:
        tensor = rows_at(start, stop).detach()
        half = tensor.is_floating_point() and tensor.element_size() <= 2  # bfloat16 is not numpy's
        return (tensor.float() if half else tensor).resolve_conj().resolve_neg().numpy()

    check_memory(0, key, name, shape)
    dtype = host(0, 0).dtype if shape else np.dtype(np.float64)
    return sliced(host, shape, dtype, key, name)


READERS: dict[str, Callable[[Path, str], dict[str, Stored]]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".pt": _pt,
    ".pth": _pt,
    ".h5": hdf5_arrays,
    ".hdf5": hdf5_arrays,
    ".zarr": zarr_arrays,
}
