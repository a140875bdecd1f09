"""The data sets with names: the two that are shipped, CIFAR-10 and Fashion-MNIST.

Nothing half-downloaded is ever read: downloads are verified and renamed, archives unpacked
under another name, published hashes checked. `sets.py` holds what users call.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomem.data.array_files import READERS, open_arrays
from geomem.data.chunked_files import zarr_files
from geomem.data.files import (
    CHUNK,
    DataError,
    Part,
    Root,
    Rows,
    Source,
    array_part,
    decoding,
    plain,
)

SHIPPED = Path(__file__).parent
PACKED = {".zip", ".parquet"}  # what holds images in one file
UNREAD = {".arrow", ".tar", ".mat", ".pkl", ".pickle"}

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()
CIFAR10_BATCHES = {  # the published MD5 sums
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
}
CIFAR10_TEST = {  # those of test_batch.bin: the published one, and that of its first 1,000 images
    "803d5f7f4d78ea53de84dbe85f74fb6d",
    "371f65da31ad652f5e24b3699a3e6515",
}
PLACES_VARIABLE = "GEOMEM_PLACES"  # JSON: a data set's shown name -> its path
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_FILES = {  # the published MD5 sums of the compressed files
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
FASHION_CONTENTS = {  # SHA-256 of what is in them, whoever compressed it, as Debian did anew
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
FASHION_BYTES = 16 + 60_000 * 28 * 28  # of the longest
FASHION_CLASSES = "t-shirt trouser pullover dress coat sandal shirt sneaker bag boot".split()
FASHION_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def open_source(name: str | os.PathLike[str], root: Root) -> Source:
    if is_named(name):
        return LOADERS[str(name)](root)
    path = path_of(name)
    suffix = path.suffix.lower()
    if _is_zarr(path) or (path.is_file() and suffix in READERS):
        return open_arrays(path, name_of(name))
    from geomem.data.image_files import open_images  # by Pillow: the sets with names need none

    if path.is_dir() or (path.is_file() and suffix in PACKED):
        return open_images(path, name_of(name))
    what = "is neither" if path.exists() else "does not exist"
    if suffix in UNREAD:
        what = "is of a kind that is not read: save its images as .npy or .safetensors"
    raise DataError(
        f"unknown data set {str(name)!r}: take one of {', '.join(LOADERS)}, or the path of "
        f"a folder or .zip of images, or of a file .parquet, {', '.join(READERS)} (this path "
        f"{what})."
    )


def is_named(name: str | os.PathLike[str]) -> bool:
    """Whether it is one of `LOADERS`: a path, as `pathlib` has it, never is."""
    return isinstance(name, str) and name in LOADERS


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() == ".zarr"


def name_of(name: str | os.PathLike[str]) -> str:
    """What a data set is called in every output: its own name, or the last part of its path."""
    return str(name) if is_named(name) else own_name(path_of(name).resolve().name)


def own_name(text: str) -> str:
    """As `plain`, and never the name of one of `LOADERS`: a folder "cifar10" is not CIFAR-10."""
    name = plain(text)
    return f"own-{name}" if name in LOADERS else name


def places() -> dict[str, str]:
    """Where the data sets lie that are shown by another name than their path.

    So no output names a reader's disk; a run hands them on to its kernels in the environment.
    """
    with decoding(f"{PLACES_VARIABLE} does not hold what geomem keeps in it: unset it."):
        found = json.loads(os.environ.get(PLACES_VARIABLE, "{}"))
        return {str(name): os.fspath(path) for name, path in found.items()}


def path_of(name: str | os.PathLike[str]) -> Path:
    """The path of a data set that is given by one, or by what it is shown as."""
    known = places()
    with decoding(f"unknown data set {str(name)[:80]!r}: this path cannot be looked up."):
        path = Path(known.get(str(name), name)).expanduser()
        path.exists()  # of one that is too long it raises
    return path


def source_files(name: str, root: Root) -> list[Path]:
    """The files behind a set, without downloading any; DataError where they are missing."""
    if name == "digits":
        return [SHIPPED / "digits.csv.gz"]
    if name == "fashion-mini":
        return [SHIPPED / "fashion_mini.npz"]
    if name == "cifar10":
        return sorted(_find_cifar10(root, fetch=False).glob("*.bin"))
    if name == "fashion-mnist":
        folder = _find_fashion(root, fetch=False)
        return [folder / file for file in FASHION_FILES]
    path = path_of(name)
    if path.is_dir():
        from geomem.data.image_files import folder_files

        return zarr_files(path) if _is_zarr(path) else folder_files(path)
    if path.is_file():
        return [path]
    raise DataError(f"no data set {name!r}.")


def _digits(root: Root) -> Source:
    columns = np.loadtxt(SHIPPED / "digits.csv.gz", delimiter=",")
    pixels, target = columns[:, :-1], columns[:, -1].astype(np.int64)
    # 0..16 scaled as 0..255 would be: 0 -> -1, 16 -> 1
    images = (pixels / 8 - 1).astype(np.float32).reshape(-1, 1, 8, 8)
    return Source(
        array_part(images, target, np.arange(1297)),
        array_part(images, target, np.arange(1297, len(images))),
        [str(i) for i in range(10)],
        "scikit-learn load_digits (UCI optical recognition of handwritten digits, test part)",
    )


def _fashion_mini(root: Root) -> Source:
    with np.load(SHIPPED / "fashion_mini.npz") as file:
        train, heldout = (
            array_part(file[part][:, None], file[f"{part}_labels"], index=file[f"{part}_indices"])
            for part in ("train", "heldout")
        )
    return Source(train, heldout, FASHION_CLASSES, "Fashion-MNIST, 3,000 images (Zalando, MIT)")


def _cifar10(root: Root) -> Source:
    folder = _find_cifar10(root, fetch=True)
    train = [_records(folder / name, {md5}) for name, md5 in CIFAR10_BATCHES.items()]
    return Source(
        _cifar10_part(train),
        _cifar10_part([_records(folder / "test_batch.bin", CIFAR10_TEST)]),
        CIFAR10_CLASSES,
        "CIFAR-10, binary version (Krizhevsky 2009)",
    )


def _records(path: Path, known: set[str]) -> NDArray[np.uint8]:
    """A verified batch file as (n, 3073) bytes, mapped: label, then 3 x 32 x 32 pixels."""
    with path.open("rb") as handle:
        if hashlib.file_digest(handle, "md5").hexdigest() not in known:
            raise DataError(
                f"cifar10: {path.name} is not the published file (wrong MD5); "
                f"delete {path.parent} and fetch the set again."
            )
    return np.memmap(path, np.uint8, "r").reshape(-1, 3073)


def _cifar10_part(batches: list[NDArray[np.uint8]]) -> Part:
    starts = np.cumsum([0] + [len(batch) for batch in batches])

    def read(rows: Rows) -> Iterator[NDArray[Any]]:
        for start, batch in zip(starts, batches, strict=False):
            inside = rows[(rows >= start) & (rows < start + len(batch))] - start
            for i in range(0, len(inside), CHUNK):
                yield batch[inside[i : i + CHUNK], 1:].reshape(-1, 3, 32, 32)

    labels = np.concatenate([batch[:, 0] for batch in batches]).astype(np.int64)
    return Part(labels, np.arange(len(labels)), (3, 32, 32), read)


def _find_cifar10(root: Root, *, fetch: bool) -> Path:
    needed = [*CIFAR10_BATCHES, "test_batch.bin"]
    found = _find(root, CIFAR10_FOLDER, needed)
    if found is None and fetch:
        archive = Path(_download(CIFAR10_URL, CIFAR10_MD5, "cifar10", f"{CIFAR10_FOLDER}/"))
        # Unpacked under another name and renamed: a killed run leaves nothing half there.
        with (
            decoding(f"cifar10: {archive.name} cannot be unpacked in {archive.parent}."),
            tempfile.TemporaryDirectory(dir=archive.parent) as temporary,
        ):
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
            shutil.rmtree(archive.parent / CIFAR10_FOLDER, ignore_errors=True)
            (Path(temporary) / CIFAR10_FOLDER).replace(archive.parent / CIFAR10_FOLDER)
        found = archive.parent / CIFAR10_FOLDER
    if found is None:
        raise DataError("cifar10 is not on this disk.")
    return found


def _fashion_mnist(root: Root) -> Source:
    folder = _find_fashion(root, fetch=True)
    train, heldout = (
        array_part(
            _idx(folder / f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28),
            _idx(folder / f"{part}-labels-idx1-ubyte.gz", 8),
        )
        for part in ("train", "t10k")
    )
    return Source(train, heldout, FASHION_CLASSES, "Fashion-MNIST (Zalando, MIT)")


def _idx(path: Path, header: int) -> NDArray[np.uint8]:
    """The bytes behind the header of a compressed IDX file, all of them the published ones."""
    with (
        decoding(f"fashion-mnist: {path.name} is cut off or damaged; fetch the set again."),
        gzip.open(path) as handle,
    ):
        content = handle.read(FASHION_BYTES + 1)
    if hashlib.sha256(content).hexdigest() != FASHION_CONTENTS[path.stem]:
        raise DataError(
            f"fashion-mnist: {path.name} does not hold what was published (wrong SHA-256); "
            "fetch the set again."
        )
    return np.frombuffer(content, np.uint8, offset=header)


def _find_fashion(root: Root, *, fetch: bool) -> Path:
    found = _find(root, "fashion-mnist", [*FASHION_FILES])
    if found is None and root is None and (FASHION_DEBIAN / next(iter(FASHION_FILES))).is_file():
        found = FASHION_DEBIAN
    if found is None and fetch:
        for file, md5 in FASHION_FILES.items():
            path = _download(FASHION_URL + file, md5, "fashion-mnist", "fashion-mnist/", file)
            found = Path(path).parent
    if found is None:
        raise DataError("fashion-mnist is not on this disk.")
    return found


def _find(root: Root, folder: str, needed: Sequence[str]) -> Path | None:
    """The complete ``folder`` below root (or GEOMEM_DATA), else below the download cache."""
    given = root or os.environ.get("GEOMEM_DATA")
    place = Path(given).expanduser() if given else None
    if place is not None and not place.is_dir():
        raise DataError(f"{'root' if root else 'GEOMEM_DATA'} is not a folder: {given}")
    if place is not None and place.name == folder:
        place = place.parent
    if place is not None and (path := place / folder).is_dir():
        missing = [name for name in needed if not (path / name).is_file()]
        if missing:
            raise DataError(f"{folder}/ lacks {missing[0]}; fetch the set again.")
        return path
    if root is not None:
        raise DataError(f"root holds no folder {folder}/; put the set there or leave root out.")
    cached = _cache() / folder  # incomplete: as if absent, so that the download goes on
    return cached if all((cached / name).is_file() for name in needed) else None


def _cache() -> Path:
    import platformdirs

    return Path(platformdirs.user_cache_dir("geomem"))


def _download(url: str, md5: str, name: str, folder: str, file: str | None = None) -> str:
    """Fetch with a progress bar to the user's cache; pooch renames only a verified file."""
    import pooch

    target = _cache() / folder if file else _cache()
    try:
        path: str = pooch.retrieve(
            url, f"md5:{md5}", fname=file or Path(url).name, path=target, progressbar=True
        )
    except (OSError, ValueError) as error:
        network = isinstance(error, OSError)
        reason = type(error).__name__ if network else "wrong hash"
        raise DataError(
            f"{name}: the download failed ({reason}); try again, or set GEOMEM_DATA to a "
            f"folder that holds {folder}"
        ) from error
    return path


LOADERS: dict[str, Callable[[Root], Source]] = {
    "digits": _digits,
    "fashion-mini": _fashion_mini,
    "cifar10": _cifar10,
    "fashion-mnist": _fashion_mnist,
}
