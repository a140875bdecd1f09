"""Images in HDF5, zarr and Parquet: the same as elsewhere, and nothing that runs or leads away."""

import io
import json
import os
import pickle
import re
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from geomem import DataError, load_dataset
from geomem.data import stored
from geomem.data.sets import source_sha256


@pytest.fixture
def pixels(rng):
    """30 images of 6 x 5 in colour, bytes."""
    return rng.integers(0, 256, (30, 6, 5, 3), np.uint8)


def scaled(pixels):
    return (pixels / 127.5 - 1).transpose(0, 3, 1, 2)


def refused(path, message, peak=np.inf):
    """A DataError of one line, and no more memory than ``peak`` bytes."""
    tracemalloc.start()
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and most < peak


@pytest.mark.parametrize(
    ("suffix", "package"), [("h5", "h5py"), ("zarr", "zarr"), ("parquet", "pyarrow")]
)
def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch, suffix, package):
    path = tmp_path / f"a.{suffix}"
    path.mkdir() if suffix == "zarr" else path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    refused(path, rf"a\.{suffix}: to read it, install {package} .*pip install {package}$")


# HDF5 and zarr


def hdf5(path, chunks=None, **arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path / "a.h5", "w") as file:
        for key, array in arrays.items():
            cut = tuple(map(min, chunks, array.shape)) if chunks and array.ndim > 1 else None
            file.create_dataset(key, data=array, chunks=cut, compression=cut and "gzip")
    return path / "a.h5"


def zarr_of(version):
    def save(path, chunks=None, **arrays):
        zarr = pytest.importorskip("zarr")
        group = zarr.open_group(path / "a.zarr", mode="w", zarr_format=version)
        for key, array in arrays.items():
            cut = chunks if chunks and array.ndim > 1 else "auto"
            group.create_array(key, data=array, chunks=cut)
        return path / "a.zarr"

    return save


ARRAYS = [hdf5, zarr_of(2), zarr_of(3)]
KINDS = pytest.mark.parametrize("save", ARRAYS, ids=["hdf5", "zarr2", "zarr3"])


@KINDS
@pytest.mark.parametrize("chunks", [None, (7, 6, 5, 3), (30, 2, 5, 1), (1, 6, 5, 3)])
def test_arrays_however_they_are_cut(tmp_path, pixels, save, chunks):
    inside = {"set/x_train": pixels, "set/y_train": np.arange(30), "set/x_test": pixels[::-1][:4]}
    path = save(tmp_path, chunks, **inside)
    before = source_sha256(str(path))
    for options in ({}, {"n_train": 5, "seed": 1}, {"n_train": 1, "seed": 2}):
        data = load_dataset(path, **options)
        np.testing.assert_allclose(data.train, scaled(pixels)[data.indices.train], atol=1e-6)
        np.testing.assert_array_equal(data.labels.train, data.indices.train)
        held = scaled(pixels[::-1])[data.indices.heldout]
        np.testing.assert_allclose(data.heldout, held, atol=1e-6)
        assert len(held) == 4
    assert "images from set/x_train; held-out images from set/x_test" in data.source
    assert before == source_sha256(str(path)) != "absent"
    save(tmp_path, chunks, **inside | {"set/x_train": pixels ^ 1})
    assert source_sha256(str(path)) != before


@KINDS
def test_only_the_rows_that_are_asked_for_are_read(tmp_path, save):
    images = np.zeros((2**14, 32, 32), np.uint8)
    images[:, 0, 0] = np.arange(2**14) % 251
    path = save(tmp_path, (64, 32, 32), images=images)
    tracemalloc.start()
    data = load_dataset(path, n_train=3, n_heldout=2, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6, "of 16 MB"
    np.testing.assert_allclose(
        data.train[:, 0, 0, 0], data.indices.train % 251 / 127.5 - 1, atol=1e-6
    )


@KINDS
def test_an_array_that_is_not_what_it_claims(tmp_path, pixels, save, monkeypatch):
    path = save(tmp_path, images=pixels + 1j)
    refused(path, "real numbers")
    path = save(tmp_path, images=pixels, labels=np.arange(29))
    refused(path, "'labels' must be 30 whole numbers")
    path = save(tmp_path, pixels.shape, images=pixels)
    monkeypatch.setattr(stored, "memory", lambda: 1000)
    refused(path, r"'images', \(30, 6, 5, 3\), is beyond the memory, 1 kB")


def test_an_hdf5_file_that_lies_or_leads_elsewhere(tmp_path, pixels):
    h5py = pytest.importorskip("h5py")
    other = hdf5(tmp_path, images=pixels).rename(tmp_path / "other.h5")
    raw = tmp_path / "raw"
    raw.write_bytes(pixels.tobytes())
    layout = h5py.VirtualLayout(pixels.shape, np.uint8)
    layout[:] = h5py.VirtualSource(other, "images", pixels.shape)
    large = dict(shape=(10**9, 1000, 1000), dtype=np.uint8, chunks=(1, 10, 10))
    foreign = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    foreign.set_chunk(pixels.shape)
    foreign.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)  # Zstandard, a plugin

    def plugin(file):
        space = h5py.h5s.create_simple(pixels.shape)
        h5py.h5d.create(file.id, b"images", h5py.h5t.NATIVE_UINT8, space, foreign)

    ways = {
        "external link": lambda f: f.__setitem__("images", h5py.ExternalLink(other, "images")),
        "raw file": lambda f: f.create_dataset(
            "images", pixels.shape, np.uint8, external=[(raw, 0, h5py.h5f.UNLIMITED)]
        ),
        "virtual": lambda f: f.create_virtual_dataset("images", layout),
        "plugin": plugin,
    }
    for way, write in ways.items():
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["heldout"] = pixels
            write(file)
        refused(tmp_path / "a.h5", r"^a\.h5: 'images' is kept in another file, or by a codec"), way
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", **large)
    refused(tmp_path / "a.h5", "not the plain array that its header claims")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"] = h5py.SoftLink("/images")
        file["again"] = file["/"]
    refused(tmp_path / "a.h5", "holds no plain array")


def test_a_damaged_hdf5_file_is_one_line(tmp_path, pixels):
    whole = hdf5(tmp_path, (9, 6, 5, 3), images=pixels).read_bytes()
    for end in range(0, len(whole), len(whole) // 20):
        (tmp_path / "a.h5").write_bytes(whole[:end])
        refused(tmp_path / "a.h5", r"^a\.h5: (not a readable HDF5|'images' is cut off)")


SHORT, LONG = (zlib.compress(bytes(size)) for size in (9, 10**8))


@pytest.mark.parametrize("packed", [b"x", SHORT, LONG, zlib.compress(bytes(900))[:-1]])
@pytest.mark.parametrize("checked", [False, True])
def test_a_chunk_of_another_size_than_an_hdf5_file_claims(tmp_path, pixels, packed, checked):
    h5py = pytest.importorskip("h5py")
    options = dict(chunks=(10, 6, 5, 3), compression="gzip", shuffle=checked, fletcher32=checked)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        array = file.create_dataset("images", data=pixels, **options)
        array.id.write_direct_chunk((10, 0, 0, 0), packed, 0b100 if checked else 0)
    refused(tmp_path / "a.h5", "'images' is cut off or damaged", peak=10e6)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file.create_dataset("images", data=pixels, **options)
    data = load_dataset(tmp_path / "a.h5", heldout=False)
    np.testing.assert_allclose(data.train, scaled(pixels), atol=1e-6)


class Program:
    def __reduce__(self):
        return print, ("run",)


def described(path, version):
    return path / "images" / (".zarray" if version == 2 else "zarr.json")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("allowed", [False, True])
def test_a_codec_of_zarr_that_unpickles(tmp_path, pixels, capsys, version, allowed, monkeypatch):
    path = zarr_of(version)(tmp_path, images=pixels)
    pickles = pytest.importorskip("numcodecs.pickles")
    monkeypatch.setattr(pickles, "ALLOW_UNSAFE_PICKLE_DECODE", allowed, raising=False)
    about = json.loads(described(path, version).read_text())
    about |= {"compressor": {"id": "pickle", "protocol": 5}} if version == 2 else {}
    about |= {"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle"}]} if version == 3 else {}
    described(path, version).write_text(json.dumps(about))
    for chunk in (path / "images").rglob("*"):
        if chunk.is_file() and chunk != described(path, version):
            chunk.write_bytes(pickle.dumps(Program()))
    refused(path, r"^a\.zarr: 'images' is kept in another file, or by a codec")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("version", [2, 3])
def test_a_zarr_folder_that_lies_or_leads_elsewhere(tmp_path, pixels, version):
    path = zarr_of(version)(tmp_path, images=pixels)
    whole = described(path, version).read_text()
    for wrong in (whole[:-9], "[]", "3", '{"zarr_format": 9}', whole.replace("30", '"x"')):
        described(path, version).write_text(wrong)
        refused(path, r"^a\.zarr: not a readable \.zarr")
    described(path, version).write_text(whole.replace("30", "3" + "0" * 12, 1))
    refused(path, "not the plain array that its header claims")
    described(path, version).write_text(whole)
    chunk = next(p for p in (path / "images").rglob("*0") if p.is_file())
    content = chunk.read_bytes()
    chunk.write_bytes(content[: len(content) // 2])
    refused(path, r"^a\.zarr: 'images' is cut off or damaged")
    (tmp_path / "elsewhere").write_bytes(content)
    for make in (lambda: chunk.symlink_to(tmp_path / "elsewhere"), lambda: os.mkfifo(chunk)):
        chunk.unlink()
        make()
        refused(path, rf"^a\.zarr: {chunk.name} is no regular file")
        assert source_sha256(str(path)) == "absent"


PACKERS = ["gzip", "zlib", "zstd", "blosc", None]


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_of_another_size_than_a_zarr_array_claims(tmp_path, rng, name, version):
    """Packed by each codec; blosc alone would read beyond a chunk that is cut off."""
    zarr, numcodecs = pytest.importorskip("zarr"), pytest.importorskip("numcodecs")
    codecs = {"gzip": "GzipCodec", "zstd": "ZstdCodec", "blosc": "BloscCodec"}
    if version == 3 and name == "zlib":
        pytest.skip("not of this version")
    packer = name and numcodecs.get_codec({"id": name})
    packers = packer if version == 2 or not name else getattr(zarr.codecs, codecs[name])()
    pixels = rng.integers(0, 256, (30, 40, 50, 3), np.uint8)
    pixels[:10] = 7  # and what is hard to pack
    path, options = tmp_path / "a.zarr", dict(chunks=(10, 40, 50, 3), zarr_format=version)
    zarr.create_array(path, data=pixels, compressors=packers, **options)
    data = load_dataset(path, seed=0)
    np.testing.assert_allclose(data.train, scaled(pixels)[data.indices.train], atol=1e-6)
    chunk = path / ("1.0.0.0" if version == 2 else "c/1/0/0/0")
    whole = chunk.read_bytes()
    pack = packer.encode if packer else bytes
    half = len(whole) // 2
    for wrong in (b"", whole[:5], whole[:half], whole[:-1], whole + b"x", 2 * whole):
        chunk.write_bytes(wrong)
        refused(path, r"^a\.zarr: 'images' is cut off or damaged")
    for size in (9, 10**8):
        chunk.write_bytes(pack(bytes(size)))
        most = 10e6 if packer else np.inf
        refused(path, r"^a\.zarr: 'images' is cut off or damaged", most)


def test_a_zarr_array_in_shards_is_refused(tmp_path, pixels):
    zarr = pytest.importorskip("zarr")
    options = dict(chunks=(2, 6, 5, 3), shards=(10, 6, 5, 3))
    zarr.create_array(tmp_path / "a.zarr", data=pixels, **options)
    refused(tmp_path / "a.zarr", "'images' is kept in another file, or by a codec")


# Parquet


def encoded(image, form="png"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def parquet(path, column, name="image", labels=None, classes=None, **options):
    """A file as Hugging Face writes it, in row groups of 7."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"id": pa.array([str(i) for i in range(len(column))]), name: pa.array(column)}
    if labels is not None:
        columns["label"] = pa.array(labels)
    table = pa.table(columns)
    if classes is not None:
        about = {"info": {"features": {"label": {"names": classes, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **{"row_group_size": 7} | options)
    return path


def structs(pixels):
    return [{"bytes": encoded(image), "path": f"{i}.png"} for i, image in enumerate(pixels)]


@pytest.mark.parametrize("names", ["{}-0000{}-of-00002.parquet", "deep/{}/000{}.parquet"])
def test_shards_are_a_set_with_its_held_out_part(tmp_path, pixels, names):
    parts = {"train": ((0, 12), (12, 20)), "test": ((20, 27),), "extra": ((27, 30),)}
    for part, spans in parts.items():
        for i, (start, stop) in enumerate(spans):
            parquet(
                tmp_path / "set" / names.format(part, i),
                structs(pixels[start:stop]),
                labels=np.arange(start, stop) % 2,
                classes=["ape", "<cat>"],
            )
    before = source_sha256(str(tmp_path / "set"))
    for options in ({}, {"n_train": 5, "n_heldout": 2, "seed": 3}):
        data = load_dataset(tmp_path / "set", **options)
        for part in (0, 1):
            index = data.indices[part]
            found = (data.train, data.heldout)[part]
            np.testing.assert_allclose(found, scaled(pixels)[index], atol=1e-6)
            np.testing.assert_array_equal(data.labels[part], index % 2)
    assert len(load_dataset(tmp_path / "set").train) == 20
    assert len(load_dataset(tmp_path / "set", classes="_cat_").heldout) == 3
    assert "held out are those in test; 1 of 4 files left out; labels from 'label'" in data.source
    parquet(tmp_path / "set" / names.format("train", 0), structs(pixels[:12] ^ 1))
    assert source_sha256(str(tmp_path / "set")) != before


def test_a_column_of_bytes_and_images_of_every_kind(tmp_path, pixels):
    gray = [encoded(image[..., 0], "tiff") for image in pixels]
    data = load_dataset(parquet(tmp_path / "a.parquet", gray, "img"), heldout=False)
    np.testing.assert_allclose(data.train, scaled(pixels[..., :1]), atol=1e-6)
    assert set(data.labels.train) == {-1}
    mixed = [*gray[:9], *map(encoded, pixels[9:])]
    data = load_dataset(parquet(tmp_path / "a.parquet", mixed), heldout=False)
    np.testing.assert_allclose(data.train[9:], scaled(pixels[9:]), atol=1e-6)


def test_parquet_beside_images_is_no_data(tmp_path, pixels):
    for i, image in enumerate(pixels[:5]):
        (tmp_path / f"{i}.png").write_bytes(encoded(image))
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    assert load_dataset(tmp_path, heldout=False).train.shape == (5, 3, 6, 5)


def test_a_parquet_file_that_holds_no_images(tmp_path, pixels):
    good = structs(pixels)
    path = tmp_path / "a.parquet"
    refused(parquet(path, list(range(30))), "no column 'image', and no other .* are id, image")
    bad = {
        "is not a readable image": b"%!PS-Adobe-3.0 EPSF-3.0\n{} loop\n",
        "claims more than": encoded(np.zeros((9500, 10000), bool)),
        "holds no image": None,
    }
    for message, content in bad.items():
        wrong = [*good[:19], {"bytes": content, "path": "/etc/passwd"}, *good[20:]]
        refused(parquet(path, wrong), rf"^file a\.parquet: a\.parquet row 19 .*{message}")
    whole = parquet(path, good).read_bytes()
    for end in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:end])
        refused(path, r"^file a\.parquet: a\.parquet is not a readable Parquet")
    path.write_bytes(re.sub(rb"IDAT", b"IDOT", whole))
    refused(path, r"row 0 is not a readable image")


def test_rows_beyond_the_file_are_not_believed(tmp_path):
    path = parquet(
        tmp_path / "a.parquet", [encoded(np.zeros((4, 4), np.uint8))] * 10**5, row_group_size=10**5
    )
    assert path.stat().st_size > 10**5, "the names of rows; without these it lies"
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"image": pq.read_table(path)["image"]}), path)
    refused(path, "has not the rows that it claims")
