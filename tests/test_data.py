"""Data sets: what they hold, what is refused, and that nothing half-read passes."""

import hashlib
import tracemalloc

import numpy as np
import pytest
from PIL import Image

import geomem
from geomem import DataError, load_dataset
from geomem.data import named
from geomem.data.sets import source_sha256


def test_digits_and_fashion_mini_are_shipped():
    digits = load_dataset("digits")
    assert digits.train.shape == (1297, 1, 8, 8) and digits.heldout.shape == (500, 1, 8, 8)
    fashion = load_dataset("fashion-mini")
    assert fashion.train.shape == (2000, 1, 28, 28) and fashion.heldout.shape == (1000, 1, 28, 28)
    assert np.all(np.bincount(fashion.labels.train) == 200)
    assert np.all(np.bincount(fashion.labels.heldout) == 100)
    for data in (digits, fashion):
        assert data.train.dtype == np.float32
        assert data.train.min() == -1 and data.train.max() == 1
        assert len(data.indices.train) == len(data.labels.train) == len(data.train)
        assert np.all(np.diff(data.indices.train) > 0), "the set's own order"


def test_subsets_are_nested_seeded_and_identified():
    first = load_dataset("digits", n_train=50, n_heldout=10)
    np.testing.assert_array_equal(first.train, load_dataset("digits").train[:50])
    large, small = (load_dataset("digits", n_train=n, seed=3) for n in (60, 20))
    np.testing.assert_array_equal(large.train[:20], small.train)
    np.testing.assert_array_equal(large.indices.train[:20], small.indices.train)
    np.testing.assert_array_equal(
        large.train, load_dataset("digits").train[large.indices.train], "index and pixels agree"
    )
    again = load_dataset("digits", n_train=60, seed=3)
    other = load_dataset("digits", n_train=60, seed=4)
    assert again.sha256 == large.sha256 != other.sha256


def test_shares_are_the_whole_in_order(tmp_path, rng):
    np.save(tmp_path / "a.npy", rng.integers(0, 256, (23, 4, 4, 3), np.uint8))
    for name, options in (("digits", {"n_train": 50, "seed": 3}), (tmp_path / "a.npy", {})):
        whole = load_dataset(name, **options)
        parts = [load_dataset(name, **options, share=(i, 4)) for i in range(4)]
        np.testing.assert_array_equal(np.concatenate([p.train for p in parts]), whole.train)
        joined = np.concatenate([p.indices.train for p in parts])
        np.testing.assert_array_equal(joined, whole.indices.train)
        assert all(np.array_equal(part.heldout, whole.heldout) for part in parts)
        assert max(len(p.train) for p in parts) - min(len(p.train) for p in parts) == 1
    for wrong in ((4, 4), (-1, 4), (0, 51)):
        with pytest.raises(DataError, match="50 training images have no share"):
            load_dataset("digits", n_train=50, share=wrong)


def test_of_a_share_no_other_image_is_kept(tmp_path):
    np.save(tmp_path / "a.npy", np.full((40_000, 16, 16), 7, np.uint8))
    tracemalloc.start()
    held = load_dataset(tmp_path / "a.npy", heldout=False, range=(0, 255), share=(1, 40)).train
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(held) == 1000 and peak < 40_000 * 16 * 16  # a byte of each number


def test_classes_and_size():
    boots = load_dataset("fashion-mini", classes="boot", size=7)
    assert boots.train.shape == (200, 1, 7, 7) and set(boots.labels.train) == {9}
    whole = load_dataset("fashion-mini", classes=9).train
    np.testing.assert_allclose(
        boots.train, whole.reshape(200, 1, 7, 4, 7, 4).mean((3, 5)), atol=1e-6
    )
    uneven = load_dataset("digits", n_train=5, size=3).train
    full = load_dataset("digits", n_train=5).train
    np.testing.assert_allclose(uneven.mean((2, 3)), full.mean((2, 3)), atol=1e-6)


@pytest.fixture
def small_cifar(tmp_path, rng, monkeypatch):
    """Five batches of 40 and a test batch of 7 records in CIFAR-10's binary layout."""
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    names = [*named.CIFAR10_BATCHES, "test_batch.bin"]
    records = {n: rng.integers(0, 256, (7 if "test" in n else 40, 3073), np.uint8) for n in names}
    for name, array in records.items():
        array[:, 0] = np.arange(len(array)) % 10
        (folder / name).write_bytes(array.tobytes())
    hashes = {n: hashlib.md5(records[n].tobytes()).hexdigest() for n in names}
    monkeypatch.setattr(named, "CIFAR10_TEST", {hashes.pop("test_batch.bin")})
    monkeypatch.setattr(named, "CIFAR10_BATCHES", hashes)
    return tmp_path, records


def test_cifar10_layout_and_order(small_cifar):
    root, records = small_cifar
    data = load_dataset("cifar10", n_train=60, seed=2, root=root)
    every = np.concatenate([records[n] for n in named.CIFAR10_BATCHES])
    picked = every[data.indices.train]
    np.testing.assert_allclose(
        data.train, (picked[:, 1:] / np.float32(127.5) - 1).reshape(-1, 3, 32, 32), atol=1e-6
    )
    np.testing.assert_array_equal(data.labels.train, picked[:, 0])
    assert len(data.heldout) == 7
    cars = load_dataset("cifar10", classes="automobile", grayscale=True, root=root)
    assert set(cars.labels.train) == {1} and cars.train.shape[1] == 1


def test_a_damaged_cifar10_is_refused(small_cifar):
    root, _ = small_cifar
    for name in ("test_batch.bin", "data_batch_2.bin"):
        path = root / "cifar-10-batches-bin" / name
        whole = path.read_bytes()
        for damaged in (whole[:-1], b"", whole[:3073], whole[:-1] + bytes([whole[-1] ^ 1])):
            path.write_bytes(damaged)
            with pytest.raises(DataError, match=rf"{name} is not the published file.*MD5"):
                load_dataset("cifar10", root=root)
        path.write_bytes(whole)
    path.unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_2\.bin"):
        load_dataset("cifar10", root=root)
    with pytest.raises(DataError, match="root holds no folder"):
        load_dataset("fashion-mnist", root=root)
    with pytest.raises(DataError, match="root is not a folder"):
        load_dataset("cifar10", root=root / "nowhere")


def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.delenv("GEOMEM_DATA", raising=False)
    monkeypatch.setattr(named, "_cache", lambda: tmp_path / "empty")
    monkeypatch.setattr(named, "CIFAR10_URL", "http://127.0.0.1:9/cifar-10-binary.tar.gz")
    with pytest.raises(DataError, match=r"download failed.*GEOMEM_DATA"):
        load_dataset("cifar10")
    assert source_sha256("cifar10") == "absent"


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW"])
def test_npz_layouts(tmp_path, rng, layout):
    gray = rng.integers(0, 256, (10, 6, 5), np.uint8)
    stored = {"NHW": gray, "NHWC": np.stack([gray] * 3, 3), "NCHW": np.stack([gray] * 3, 1)}
    np.savez(tmp_path / "mine.npz", images=stored[layout], labels=np.arange(10))
    data = load_dataset(tmp_path / "mine.npz")
    assert data.train.shape == (8, 1 if layout == "NHW" else 3, 6, 5) and len(data.heldout) == 2
    np.testing.assert_array_equal(data.indices.heldout, [4, 9])
    np.testing.assert_array_equal(data.labels.heldout, [4, 9])
    np.testing.assert_allclose(data.heldout[0, 0], gray[4] / 127.5 - 1, atol=1e-6)
    assert data.name == "mine.npz" and str(tmp_path) not in data.source


def test_own_heldout_array_and_float_images(tmp_path, rng):
    images, heldout = rng.uniform(-1, 1, (6, 4, 4)), rng.uniform(-1, 1, (3, 4, 4))
    np.savez(tmp_path / "mine.npz", images=images, heldout=heldout)
    data = load_dataset(tmp_path / "mine.npz")
    np.testing.assert_allclose(data.train[:, 0], images, atol=1e-6)
    np.testing.assert_allclose(data.heldout[:, 0], heldout, atol=1e-6)


def test_folder_of_images(tmp_path, rng):
    pixels = rng.integers(0, 256, (6, 5, 7, 3), np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    data = load_dataset(tmp_path)
    assert data.train.shape == (5, 3, 5, 7)
    np.testing.assert_allclose(data.train[2], pixels[2].transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    before = source_sha256(str(tmp_path))
    Image.fromarray(pixels[0]).save(tmp_path / "6.png")
    assert source_sha256(str(tmp_path)) != before
    Image.fromarray(pixels[0, :3]).save(tmp_path / "7.png")
    with pytest.raises(DataError, match=r"more than one size \(0.png: 7x5, 7.png: 7x3\)"):
        load_dataset(tmp_path)


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: ("no-such-set", {}), "digits, fashion-mini.*does not exist"),
        (lambda p: (p, {}), "holds no image .read are bmp"),
        (lambda p: ("digits", {"n_train": 5000}), "asked for 5000 training images; there are 1297"),
        (lambda p: ("digits", {"n_heldout": 0}), "asked for 0 held-out"),
        (lambda p: ("digits", {"classes": "cat"}), "no class 'cat'"),
        (lambda p: ("digits", {"size": 9}), "not a down-sampling"),
        (lambda p: (save(p / "a.npz", pictures=np.zeros(3)), {}), "no array 'images'"),
        (lambda p: (save(p / "a.npz", images=np.zeros((9, 4), np.uint8)), {}), "NHWC, NCHW or NHW"),
        (lambda p: (save(p / "a.npz", images=np.zeros((9, 3, 8, 3), np.uint8)), {}), "channels"),
        (lambda p: (save(p / "a.npz", images=np.zeros((9, 4, 4), "M8[s]")), {}), "real numbers"),
        (lambda p: (save(p / "a.npz", images=np.full((9, 4, 4), np.nan)), {}), "finite"),
        (lambda p: (save(p / "a.npz", images=np.full((9, 4, 4), 300.0)), {}), "several ranges"),
    ],
)
def test_bad_requests_are_one_clear_line(tmp_path, make, message):
    name, options = make(tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        load_dataset(name, **options)
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_not_one(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"half a downl")
    with pytest.raises(DataError, match="not a readable"):
        load_dataset(tmp_path / "a.npz")


# Real CIFAR-10


def test_real_cifar10(cifar10):
    data = load_dataset("cifar10", n_heldout=1000, root=cifar10)
    assert data.train.shape == (50000, 3, 32, 32)
    mean = (data.train.mean((0, 2, 3), dtype=np.float64) + 1) / 2
    np.testing.assert_allclose(mean, [0.49140, 0.48216, 0.44653], atol=1e-5)
    assert np.all(np.bincount(data.labels.train) == 5000)


def test_memory_follows_n(cifar10):
    tracemalloc.start()
    load_dataset("cifar10", n_train=100, n_heldout=10, seed=0, root=cifar10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30e6, "100 images must not cost the memory of 50,000"


@pytest.mark.long
def test_published_concentration_curve(cifar10):
    """Appendix E.3's values, within its 100 base points' interval and the reading error."""
    from geomem import digitized

    paper = digitized.load("figE3_max_weight")
    data = load_dataset("cifar10", n_train=1000, n_heldout=10, seed=0, root=cifar10)
    curve = geomem.max_posterior_weight(data.train, paper["sigma"], draws=4)
    half = 1.96 * curve.per_query.std(0) / np.sqrt(100)
    assert np.all(np.abs(curve.mean - paper["max_weight"]) <= half + 0.006)


@pytest.mark.long
def test_published_coverage_facts(cifar10):
    """First 1,000 training and test images: d_1NN has mean 21.19 and median 21.0."""
    data = load_dataset("cifar10", n_train=1000, n_heldout=1000, root=cifar10)
    nearest = geomem.nearest_distances(data.heldout, data.train)[:, 0]
    assert nearest.mean() == pytest.approx(21.19, abs=0.01)
    assert np.median(nearest) == pytest.approx(21.0, abs=0.05)
    sigmas = np.array([0.6, 1.31, 2.5])
    curve = geomem.shell_coverage(data.heldout, data.train, sigmas)
    lower = geomem.shell_mass(nearest[:, None] / sigmas, 3072).mean(0)
    assert np.all(curve.mean >= lower - 0.01) and np.all(curve.mean <= lower + 0.03)


def test_fashion_mini_is_the_full_sets_own_images(monkeypatch):
    try:
        monkeypatch.setattr(named, "_download", no_network)
        full = load_dataset("fashion-mnist")
    except DataError:
        pytest.skip("the full Fashion-MNIST is not here: install Debian's dataset-fashion-mnist")
    mini = load_dataset("fashion-mini")
    np.testing.assert_array_equal(mini.train[:1872], full.train[:1872])  # as gap_sweep.md says
    for part in ("train", "heldout"):
        rows = getattr(mini.indices, part)
        np.testing.assert_array_equal(getattr(mini, part), getattr(full, part)[rows])
        np.testing.assert_array_equal(getattr(mini.labels, part), getattr(full.labels, part)[rows])


def no_network(*arguments):
    raise DataError("tests do not download")


def test_class_numbers_of_any_kind_and_labels_of_ones_own(tmp_path, rng):
    assert set(load_dataset("digits", classes=np.unique([3, 4])).labels.train) == {3, 4}
    images = rng.integers(0, 256, (6, 4, 4), np.uint8)
    path = save(
        tmp_path / "a.npz",
        images=images,
        labels=np.arange(6) % 2,
        heldout=images[:2],
        heldout_labels=np.array([0, 1]),
    )
    assert len(load_dataset(path, classes=1).heldout) == 1
    assert set(load_dataset(path, classes="1").labels.train) == {1}, "as a command line says it"
    for unknown in (7, "7", "01", "9" * 5000):
        with pytest.raises(DataError, match="its classes are 0, 1"):
            load_dataset(path, classes=unknown)
    with pytest.raises(DataError, match="no class '9'"):
        load_dataset("fashion-mini", classes="9")  # its classes have names
    with pytest.raises(DataError, match="'labels' must be 6 whole numbers"):
        load_dataset(save(tmp_path / "b.npz", images=images, labels=np.arange(6.0)))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="not a readable"):
            load_dataset(path)


def test_a_geomem_data_that_is_no_folder_is_said(monkeypatch, tmp_path, small_cifar):
    monkeypatch.setenv("GEOMEM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="GEOMEM_DATA is not a folder"):
        load_dataset("cifar10")
    monkeypatch.setenv("GEOMEM_DATA", str(small_cifar[0] / "cifar-10-batches-bin"))
    assert load_dataset("cifar10", n_train=3).train.shape == (3, 3, 32, 32)
