"""Data sets that are damaged, lie, or want to run: one line each, before memory is asked for."""

import gzip
import hashlib
import io
import os
import re
import struct
import subprocess
import tracemalloc
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from conftest import HOSTILE
from PIL import EpsImagePlugin, Image

from geomem import DataError, load_dataset
from geomem.data import named, sets
from geomem.data.sets import source_sha256


@contextmanager
def refused(message, peak=np.inf):
    """A DataError of one line, and no more memory than ``peak`` bytes."""
    tracemalloc.start()
    with pytest.raises(DataError, match=message) as caught:
        yield
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and most < peak


# An .npz file


def npy(shape, descr="|u1", fortran=False, content=b""):
    """The bytes of an .npy file whose header says what it is told to."""
    header = f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


def archive(path, *, size=None, **members):
    """An .npz file of such members; its directory may lie about the size of the first."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    if size is not None:
        packed = path.read_bytes()
        where = packed.index(b"PK\x01\x02") + 24
        path.write_bytes(packed[:where] + struct.pack("<I", size) + packed[where + 4 :])
    return path


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


TEN = bytes(range(160))
FULL = npy((4 * 10**6, 100, 10))  # a header alone
LIES = {
    "909 TiB": dict(images=npy((10**9, 1000, 1000))),
    "more images than there are": dict(images=npy((11, 4, 4), content=TEN)),
    "fewer": dict(images=npy((9, 4, 4), content=TEN)),
    "negative sides": dict(images=npy((10, -4, -4), content=TEN)),
    "other numbers": dict(images=npy((10, 4, 4), "<f8", content=TEN)),
    "objects": dict(images=npy((20,), "|O", content=TEN)),
    "a record": dict(images=npy((10, 4), [("a", "<u4")], content=TEN)),
    "no image": dict(images=npy((0, 4, 4))),
    "no pixel": dict(images=npy((10, 0, 4))),
    "one number": dict(images=npy((), content=b"0")),
    "no header": dict(images=b"PK"),
    "an expression": dict(images=npy("__import__('os').getpid()", content=TEN)),
    "billions of labels": dict(
        images=npy((10, 4, 4), content=TEN), labels=npy((10**9,), content=TEN)
    ),
    "4 GB that no such file unpacks to": dict(images=FULL, size=4 * 10**9 + len(FULL)),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_npz_that_lies(tmp_path, lie):
    path = archive(tmp_path / "a.npz", **lie)
    with refused(r"^a\.npz: ", peak=5e6):
        load_dataset(path)


def test_of_an_npz_only_what_is_asked_for_is_read(tmp_path):
    images = npy((10, 4, 4), content=TEN)
    path = archive(tmp_path / "a.npz", images=images, other=b"not an array")
    assert load_dataset(path).train.shape == (8, 1, 4, 4)
    archive(path, images=npy((10**5, 20, 20), content=bytes(4 * 10**7)))
    tracemalloc.start()
    assert load_dataset(path, n_train=10, n_heldout=2).train.shape == (10, 1, 20, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6, "memory follows the images asked for, not the 40 MB in the file"


@pytest.mark.parametrize("change", [np.asfortranarray, lambda a: a.astype(">f8"), np.float16])
def test_an_array_is_read_in_any_order_of_its_bytes(tmp_path, rng, change):
    images = change(rng.uniform(-1, 1, (1203, 4, 5)).astype(np.float32))
    data = load_dataset(save(tmp_path / "a.npz", images=images), seed=1)
    for part, index in zip((data.train, data.heldout), data.indices, strict=True):
        np.testing.assert_array_equal(part[:, 0], images[index].astype(np.float32))


def test_a_damaged_npz_gives_its_own_images_or_none(tmp_path, rng):
    images = rng.integers(0, 256, (12, 4, 5), np.uint8)
    path = save(tmp_path / "a.npz", images=images)
    whole, found = path.read_bytes(), load_dataset(path).train
    for i in rng.integers(0, len(whole), 60):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 16]) + whole[i + 1 :])
        with suppress(DataError):  # the date of a member, say, is of no consequence
            np.testing.assert_array_equal(load_dataset(path).train, found)
        path.write_bytes(whole[:i])
        with refused(r"^a\.npz: not a readable \.npz"):
            load_dataset(path)


def test_more_than_the_memory_is_said_before_it_is_asked_for(tmp_path, monkeypatch):
    path = save(tmp_path / "a.npz", images=np.zeros((100, 16, 16), np.uint8))
    monkeypatch.setattr(sets, "memory", lambda: 50_000)
    with refused(r"^a\.npz: 100 images of 16x16 would take 103 kB .*: ask for fewer"):
        load_dataset(path)
    assert len(load_dataset(path, n_train=10, n_heldout=1).train) == 10
    assert load_dataset(path, size=4).train.shape == (80, 1, 4, 4)


# A folder of images


def picture(form, rng):
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, form)
    return buffer.getvalue()


def huge(form, width, height):
    """An image of one colour, which its format makes small."""
    buffer = io.BytesIO()
    options = {"compression": "group4"} if form == "tiff" else {}
    Image.new("1", (width, height)).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path, rng):
    """Five good images, and place for a sixth."""
    (tmp_path / "set").mkdir()
    for i in range(5):
        (tmp_path / "set" / f"{i}.png").write_bytes(picture("png", rng))
    return tmp_path / "set"


BMP = struct.pack("<2sIIIIiiHH", b"BM", 99, 0, 54, 40, 2**30, 2**30, 1, 24) + bytes(45)
FOREIGN = {
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n{} loop\n", "not a readable"),
    "PDF": (b"%PDF-1.4", "not a readable"),
    "a layered file": (b"8BPS\0\1" + bytes(99), "not a readable"),
    "nothing": (b"", "not a readable"),
    "95 megapixels": (huge("png", 10_000, 9_500), "claims more than"),
    "200 megapixels": (huge("tiff", 20_000, 10_000), "claims more than"),
    "an exapixel": (BMP, "claims more than"),
}


@pytest.mark.parametrize(("content", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_program_or_a_bomb_called_an_image(folder, monkeypatch, content, message):
    started = []
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")  # as if it were there
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **how: started.append(given))
    (folder / "x.png").write_bytes(content)
    with refused(rf"^folder set: x\.png .*{message}", peak=5e6):
        load_dataset(folder)
    assert not started, "no program is"


@pytest.mark.parametrize("form", ["bmp", "gif", "jpeg", "png", "tiff", "webp"])
def test_a_damaged_image_is_one_line_and_a_good_one_is_read(folder, rng, form):
    whole = picture(form, rng)
    (folder / f"x.{form}").write_bytes(whole)
    assert len(load_dataset(folder).train) == 5
    for i in rng.integers(0, len(whole), 20):
        (folder / f"x.{form}").write_bytes(whole[:i] + bytes([whole[i] ^ 255]) + whole[i + 1 :])
        with suppress(DataError):  # another colour is no damage that can be seen
            load_dataset(folder)
        (folder / f"x.{form}").write_bytes(whole[: i // 2])
        with refused(rf"^folder set: (x\.{form} |images of more than one size)"):
            load_dataset(folder)


def test_a_pipe_among_the_images_is_not_waited_for(folder):
    os.mkfifo(folder / "x.png")
    assert len(load_dataset(folder).train) == 4
    assert source_sha256(str(folder)) != "absent"


# Fashion-MNIST's files; CIFAR-10's are in test_data.py


def idx(array, kind=8, shape=None):
    """An IDX file of bytes; its header may lie about the type and the shape."""
    shape = array.shape if shape is None else shape
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path, rng, monkeypatch):
    """A folder with 40 and 10 images in Fashion-MNIST's form, as if these were the published."""
    arrays = {}
    for prefix, n in (("train", 40), ("t10k", 10)):
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        arrays[f"{prefix}-images-idx3-ubyte"] = images
        arrays[f"{prefix}-labels-idx1-ubyte"] = images[:, 0, 0] % 10
    (tmp_path / "fashion-mnist").mkdir()
    for name, array in arrays.items():
        (tmp_path / "fashion-mnist" / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    sums = {name: hashlib.sha256(idx(array)).hexdigest() for name, array in arrays.items()}
    monkeypatch.setattr(named, "FASHION_CONTENTS", sums)
    return tmp_path, arrays


def test_fashion_mnist_from_idx_files(fashion):
    root, arrays = fashion
    data = load_dataset("fashion-mnist", n_train=30, seed=0, root=root)
    images = arrays["train-images-idx3-ubyte"][data.indices.train]
    np.testing.assert_allclose(data.train[:, 0], images / np.float32(127.5) - 1, atol=1e-6)
    np.testing.assert_array_equal(data.labels.train, images[:, 0, 0] % 10)
    assert len(data.heldout) == 10
    (root / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with refused(r"lacks t10k-labels.*fetch"):
        load_dataset("fashion-mnist", root=root)


@pytest.mark.parametrize("part", ["train-images-idx3", "train-labels-idx1", "t10k-images-idx3"])
def test_fashion_mnist_of_other_bytes(fashion, part):
    root, arrays = fashion
    array, path = arrays[f"{part}-ubyte"], root / "fashion-mnist" / f"{part}-ubyte.gz"
    n, *sides = array.shape
    shapes = [(n + 1, *sides), (2**32 - 1, *sides), (0, *sides), (n, 29, 29), (n * 784,), (1,) * 99]
    contents = [idx(array, shape=shape) for shape in shapes]
    contents += [idx(array, kind=13), idx(array ^ 1), idx(array)[:-1], idx(array) + b"0", b""]
    whole = path.read_bytes()
    damaged = [
        whole[:-9],
        whole[: len(whole) // 2],
        whole[:40] + bytes([whole[40] ^ 1]) + whole[41:],
        b"",
        b"no",
    ]
    for written in [*map(gzip.compress, contents), *damaged]:
        path.write_bytes(written)
        with refused(rf"^fashion-mnist: {path.name} .*fetch the set again"):
            load_dataset("fashion-mnist", root=root)


# Names and paths

NAME = r"[\w ._-]+"


@pytest.mark.parametrize("name", HOSTILE)
def test_the_name_of_ones_own_set_is_text_alone(tmp_path, folder, name):
    images = folder.rename(tmp_path / name)
    (images / "0.png").rename(images / f"{name}.png")
    packed = save(tmp_path / "a.npz", images=np.zeros((5, 4, 4), np.uint8))
    packed = packed.rename(tmp_path / f"{name}.npz")
    for path in (images, packed):
        data = load_dataset(path)
        assert re.fullmatch(NAME, data.name) and re.fullmatch(r"[\w ._:;,-]+", data.source)
        assert source_sha256(str(path)) != "absent"
        with refused(rf"^{NAME}: asked for 6 training images"):
            load_dataset(path, n_train=6)
    packed.write_bytes(b"")
    with refused(rf"^{NAME}: not a readable"):
        load_dataset(packed)
    (images / f"{name}.png").write_bytes(b"")
    with refused(rf"^folder {NAME}: {NAME} is not a readable image"):
        load_dataset(images)


def test_ones_own_set_is_never_taken_for_a_named_one(tmp_path, folder, monkeypatch):
    own = folder.rename(tmp_path / "digits")
    assert load_dataset(own).name == "own-digits"
    monkeypatch.chdir(tmp_path)
    for path in (Path("digits"), Path("./digits")):
        assert load_dataset(path).name == "own-digits"
    assert load_dataset("digits").name == "digits"


@pytest.mark.parametrize("path", ["x" * 5000, "~nobody-of-this-name/a", "a\0b", "two\nlines"])
def test_a_path_that_cannot_be(path):
    with refused("^unknown data set"):
        load_dataset(path)
    assert source_sha256(path) == "absent"


@pytest.mark.parametrize("rubbish", ["", "x", "[]", "3", '{"a": 1}', '{"a": null}'])
def test_rubbish_in_the_places_of_data_sets(monkeypatch, tmp_path, rubbish):
    monkeypatch.setenv(named.PLACES_VARIABLE, rubbish)
    with refused(f"^{named.PLACES_VARIABLE} does not hold"):
        load_dataset(tmp_path)
    assert len(load_dataset("digits", n_train=2).train) == 2
