"""Your own images as pictures: a folder of them, with or without folders inside, a .zip of it, or
Parquet files that hold them.

A .zip is read where it lies; nothing is unpacked to the disk. Names that begin with a dot, as
other systems leave them, are passed over.
"""

from __future__ import annotations

import json
import os
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Transpose

from geomem.data.files import (
    BLOCK,
    CHUNK,
    WHITE,
    DataError,
    Part,
    Rows,
    Source,
    decoding,
    plain,
    rows_of,
)
from geomem.data.parquet_files import PARQUET, Shards

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # of Pillow; its PostScript runs programs
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
EIGHT_BIT = {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}  # Pillow's modes
SIXTEEN_BIT = {"I;16", "I;16B", "I;16L", "I;16N"}
GRAY = {"1", "L", "LA", *SIXTEEN_BIT}
LABELS = "dataset.json"  # EDM's and StyleGAN's: {"labels": [["00000/img00000000.png", 6], ...]}
LABEL_BYTES = 4096  # for each image, at the most
TRAIN, HELD_OUT = "train", ("heldout", "test", "validation", "valid", "val")  # names of folders
LARGEST = 2**28  # bytes of a file in a .zip, unpacked
ORIENTATION = 0x0112  # of EXIF, with what turns such an image upright
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class _Images(Protocol):
    """Where images are opened by their names there."""

    name: str

    def open(self, file: str, /) -> AbstractContextManager[IO[bytes]]: ...


class _Place:
    """The files below a folder or in a .zip, by their names there, "cat/1.png"."""

    def __init__(self, path: Path, name: str):
        self.name, self.path = name, path
        self.zip: zipfile.ZipFile | None = None
        if path.is_dir():
            found = [file.relative_to(path).as_posix() for file in folder_files(path)]
        elif path.suffix.lower() == PARQUET:
            self.path, found = path.parent, [path.name]
        else:
            with decoding(f"{name} is not a readable .zip file."):
                self.zip = zipfile.ZipFile(path)
                files = [m.filename for m in self.zip.infolist() if not m.is_dir()]
                found = _wanted(files)
        self.images = sorted(n for n in found if PurePosixPath(n).name != LABELS)
        self.labels = next((n for n in sorted(found) if PurePosixPath(n).name == LABELS), None)

    @contextmanager
    def open(self, file: str) -> Iterator[IO[bytes]]:
        if self.zip is None:
            with (self.path / file).open("rb") as opened:
                yield opened
        elif self.zip.getinfo(file).file_size > LARGEST:
            raise DataError(f"{self.name}: {plain(file)} takes more than {LARGEST:,} bytes.")
        else:
            with self.zip.open(file) as opened:
                yield opened


def folder_files(folder: Path) -> list[Path]:
    """The images of a folder and of those inside, in order, and the file of their labels.

    Where there is no image, its Parquet files. What is no regular file, a pipe for one, is none; a
    link to a folder is not followed.
    """
    with decoding(f"folder {plain(folder.name)} cannot be read."):
        next(folder.iterdir(), None)  # os.walk says nothing of a folder that it may not read
        walk = [Path(place) / file for place, _, files in os.walk(folder) for file in files]
        wanted = _wanted([p.relative_to(folder).as_posix() for p in walk])
        return sorted(path for file in wanted if (path := folder / file).is_file())


def _wanted(files: list[str]) -> list[str]:
    """The images among them and the file of their labels, or else the Parquet files."""
    shown = {
        file: path
        for file, path in zip(files, map(PurePosixPath, files), strict=True)
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    }
    images = any(path.suffix.lower() in SUFFIXES for path in shown.values())
    suffixes, labels = (SUFFIXES, LABELS) if images else ({PARQUET}, "")
    return [f for f, p in shown.items() if p.suffix.lower() in suffixes or p.name == labels]


def open_images(path: Path, label: str) -> Source:
    kind = "folder" if path.is_dir() else "file"
    place = _Place(path, f"{kind} {label}")
    if not place.images:
        formats = ", ".join(sorted(suffix[1:] for suffix in SUFFIXES))
        raise DataError(f"{place.name}: holds no image (read are {formats}).")
    if place.zip is None and place.images[0].lower().endswith(PARQUET):
        return _open_shards(place)
    tops = [path[0].lower() if len(path) > 1 else "" for path in _below(place.images)]
    train, heldout, notes = _parts(tops)
    if left := len(place.images) - len(train) - len(heldout):
        notes.append(f"{left} of {len(place.images)} images left out")
    files = [place.images[i] for i in (*train, *heldout)]
    numbers, classes, said = _class_labels(place, files, 1 if heldout else 0)
    every, seen = _pictures(place, files, numbers)
    return _split(every, len(train), classes, f"your {place.name}", [*notes, *said, *seen])


def _open_shards(place: _Place) -> Source:
    """Parquet files, as "train-00000-of-00001.parquet" or "train/0000.parquet"."""
    tops = [re.split("[^a-z]", path[0].lower())[0] for path in _below(place.images)]
    known = {TRAIN, *HELD_OUT} if TRAIN in tops else {*tops}  # a third part is neither
    files = [file for file, top in zip(place.images, tops, strict=True) if top in known]
    train, heldout, notes = _parts([top for top in tops if top in known])
    shards = Shards(place.path, [files[i] for i in (*train, *heldout)], place.name)
    if not shards.rows:
        raise DataError(f"{place.name}: holds no image.")
    every, seen = _pictures(shards, shards.rows, shards.labels)
    if left := len(place.images) - len(train) - len(heldout):
        notes.append(f"{left} of {len(place.images)} files left out")
    if np.any(shards.labels >= 0):
        notes.append(f"labels from '{plain(shards.label)}'")
    n = sum(shards.counts[: len(train)])
    return _split(every, n, shards.classes, f"your {place.name}", [*notes, *seen])


def _split(every: Part, n: int, classes: list[str], description: str, notes: list[str]) -> Source:
    """The first ``n`` as training images, the others, if there are any, as held-out ones."""
    rows = np.arange(len(every.labels))
    heldout = rows_of(every, rows[n:]) if len(rows) > n else None
    return Source(rows_of(every, rows[:n]), heldout, classes, description, tuple(notes))


def _below(files: list[str]) -> list[tuple[str, ...]]:
    """The parts of their paths, without the folders that all are in."""
    parts = [PurePosixPath(file).parts for file in files]
    shared = list(zip(*(path[:-1] for path in parts), strict=False))
    depth = next((i for i, level in enumerate(shared) if len({*level}) > 1), len(shared))
    return [path[depth:] for path in parts]


def _parts(tops: list[str]) -> tuple[list[int], list[int], list[str]]:
    """Which are training and which held-out images, where the folders they are in are called so."""
    held = next((word for word in HELD_OUT if word in tops), None)
    if held is None or TRAIN not in tops:  # what lies beside both is left out
        return [*range(len(tops))], [], []
    train, heldout = ([i for i, top in enumerate(tops) if top == w] for w in (TRAIN, held))
    return train, heldout, [f"held out are those in {held}"]


def _class_labels(place: _Place, files: list[str], depth: int) -> tuple[Rows, list[str], list[str]]:
    """A number for each image, of `LABELS` if there is such a file, else of its folder."""
    if place.labels is not None:
        return _listed(place, place.labels, files)
    paths = [path[depth:] for path in _below(files)]
    if any(len(path) < 2 for path in paths):
        return np.full(len(files), -1), [], []
    folders = [path[0] for path in paths]
    if all(folder.isdecimal() and len(folder) < 10 for folder in folders):
        return np.array([*map(int, folders)]), [], ["labels from the numbers of folders"]
    classes = sorted({*folders})
    numbers = np.searchsorted(classes, folders)
    return numbers, [*map(plain, classes)], [f"labels from {len(classes)} folders"]


def _listed(place: _Place, listed: str, files: list[str]) -> tuple[Rows, list[str], list[str]]:
    none, above = np.full(len(files), -1), PurePosixPath(listed).parent
    with decoding(f"{place.name}: {LABELS} is not readable."), place.open(listed) as file:
        text = file.read(LABEL_BYTES * (len(files) + 1))  # more, which is cut off, is none
        found = json.loads(text).get("labels") or ()
        known = {str(above / name): label for name, label in found}
    if not found:
        return none, [], [f"no labels in {LABELS}"]
    labels = [known.get(file) for file in files]
    if not all(type(label) is int and 0 <= label < 2**31 for label in labels):
        return none, [], [f"labels of {LABELS} left out: not a whole number for each image"]
    return np.array(labels), [], [f"labels from {LABELS}"]


def _pictures(place: _Images, files: list[str], labels: Rows) -> tuple[Part, list[str]]:
    """All of them as a part, and what was done to them: their headers are looked at."""
    sizes: dict[tuple[int, int], str] = {}
    did: Counter[str] = Counter()
    gray = True
    for file in files:
        with _image(place, file) as image:
            turn = _turn(image)
            width, height = image.size
            size = (height, width) if turn in (5, 6, 7, 8) else (width, height)
            sizes.setdefault(size, plain(file))
            gray &= image.mode in GRAY
            did["turned upright as EXIF says"] += turn in TURNS
            did["of 16 bits"] += (sixteen := image.mode in SIXTEEN_BIT)
            did[WHITE] += image.has_transparency_data and not sixteen
            did["the first frame of several"] += getattr(image, "is_animated", False)
    deep = did["of 16 bits"] > 0
    if deep and not gray:
        raise DataError(f"{place.name}: gray images of 16 bits among coloured ones; convert them.")
    channels = 1 if gray else 3
    height, width = min(h for _, h in sizes), min(w for w, _ in sizes)
    step = max(1, min(CHUNK, BLOCK // (channels * height * width))) if len(sizes) == 1 else 1

    def read(rows: Rows) -> Iterator[NDArray[Any]]:
        for i in range(0, len(rows), step):
            some = [_pixels_of(place, files[row], gray, deep) for row in rows[i : i + step]]
            yield np.stack(some)

    several = ""
    if len(sizes) > 1:
        (a, first), (b, second) = list(sizes.items())[:2]
        several = f"images of more than one size ({first}: {a[0]}x{a[1]}, {second}: {b[0]}x{b[1]})"
    notes = [f"images of {len(sizes)} sizes"] if several else []
    notes += [f"{count} {what}" for what, count in did.items() if count]
    every = Part(labels, np.arange(len(files)), (channels, height, width), read, several)
    return every, notes


@contextmanager
def _image(place: _Images, file: str) -> Iterator[Image.Image]:
    """An open image; what Pillow cannot give with 8 bits, or gray with 16, is one clear error."""
    shown = f"{place.name}: {plain(file)}"
    with decoding(f"{shown} is not a readable image."), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of damage
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with place.open(file) as opened:
            try:
                image = _opened(opened)
            except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
                raise DataError(
                    f"{shown} claims more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller."
                ) from error
            with image:
                if image.mode not in EIGHT_BIT | SIXTEEN_BIT:
                    raise DataError(
                        f"{shown} has mode {image.mode}, not 8 bits a channel, nor 16 and gray; "
                        "convert it."
                    )
                yield image


def _opened(file: IO[bytes]) -> Image.Image:
    """An open image, also one whose EXIF alone is damaged: only a TIFF's pixels depend on that.

    Pillow reads it as it opens a JPEG, and warns of it as of a TIFF.
    """
    try:
        return Image.open(file, formats=FORMATS)
    except UserWarning:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")
            return Image.open(file, formats=[form for form in FORMATS if form != "TIFF"])


def _turn(image: Image.Image) -> int:
    """Its orientation by EXIF; Pillow itself turns a TIFF as it is read."""
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    with suppress(Exception):  # an odd EXIF block is no reason to refuse the pixels
        return int(image.getexif().get(ORIENTATION, 1))
    return 1


def _pixels_of(place: _Images, file: str, gray: bool, deep: bool) -> NDArray[Any]:
    """(C, H, W), bytes or, of 16 bits, uint16."""
    with _image(place, file) as image:
        turn = _turn(image)
        upright: Image.Image = image.transpose(TURNS[turn]) if turn in TURNS else image
        if upright.mode in SIXTEEN_BIT:
            return np.asarray(upright).astype(np.uint16)[None]
        if image.has_transparency_data:
            over = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", over.size, "white"), over)
        pixels = np.asarray(upright.convert("L" if gray else "RGB"))
    if deep:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
    return pixels[None] if gray else pixels.transpose(2, 0, 1)
