"""Training sets that are not in memory: read block by block, with the answers of an array."""

import resource
import tracemalloc

import numpy as np
import pytest
from conftest import forked

import geomem
from geomem.geometry.distances import TRAIN_ROWS, rms_radius

LEVELS = [0.1, 0.5, 2.0]
N = 2 * TRAIN_ROWS + 300


class Elsewhere:
    """What h5py and zarr give: a shape, a dtype, and slices."""

    def __init__(self, array, n=None):
        self.array, self.dtype = array, array.dtype
        self.shape = (len(array) if n is None else n, *array.shape[1:])
        self.longest = 0

    def __getitem__(self, rows):
        assert isinstance(rows, slice), "it knows no lists of rows"
        self.longest = max(self.longest, rows.stop - (rows.start or 0))
        return self.array.take(range(*rows.indices(self.shape[0])), 0, mode="wrap")

    def __array__(self, *_, **__):
        raise AssertionError("read as a whole")


@pytest.fixture
def images(rng):
    return rng.integers(0, 9, (N, 1, 3, 2)).astype(np.uint8)


def answers(train, queries):
    found = {
        "weight": geomem.max_posterior_weight(train, LEVELS, queries=9, draws=2).per_query,
        "coverage": geomem.shell_coverage(queries, train, LEVELS, draws=2).per_query,
        "bounds": geomem.coverage_bounds(queries, train, LEVELS).upper_sum,
        "denoised": geomem.empirical_denoiser(queries, train, 0.5),
        "radius": rms_radius(train),
        "zone": geomem.measure_regimes(queries, train, level=0.5, queries=9, draws=2).coverage.mean,
    }
    return found | dict(zip(("near", "which"), geomem.nearest(queries, train, 3), strict=True))


def mapped(path, images, order):
    held = np.lib.format.open_memmap(
        path, "w+", dtype=images.dtype, shape=images.shape, fortran_order=order == "F"
    )
    held[:] = images
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("form", ["C", "F", "elsewhere"])
def test_a_set_on_disk_answers_as_one_in_memory(form, images, tmp_path, rng):
    queries = rng.normal(4, 3, (7, 1, 3, 2))
    train = Elsewhere(images) if form == "elsewhere" else mapped(tmp_path / "a", images, form)
    wanted = answers(images, queries)
    for name, found in answers(train, queries).items():
        np.testing.assert_array_equal(found, wanted[name], err_msg=name)
    if form == "elsewhere":
        assert train.longest == TRAIN_ROWS


@pytest.mark.parametrize("order", ["C", "F"])
def test_of_a_memory_map_no_more_than_a_block_is_copied(order, images, tmp_path):
    train, peaks = mapped(tmp_path / "a", images.repeat(8, 3), order), []
    for n in (TRAIN_ROWS, N):
        tracemalloc.start()
        geomem.max_posterior_weight(train[:n], LEVELS, queries=5, draws=1)
        geomem.nearest(train[:3], train[:n])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def peak(n, told):
    """Bytes that a set of n points takes, at most, beyond what there was."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    train = Elsewhere(np.random.default_rng(0).random((997, 768), np.float32), n)
    geomem.shell_coverage(train[:3], train, LEVELS, draws=1)
    told.write_text(str(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)))


def test_memory_does_not_grow_with_the_set(tmp_path):
    peaks = []
    for n in (3 * TRAIN_ROWS, 30 * TRAIN_ROWS):
        process = forked(peak, n, tmp_path / "peak")
        process.join(100)
        peaks.append(int((tmp_path / "peak").read_text()))
    assert peaks[1] < peaks[0] + 27 * TRAIN_ROWS * 768  # a byte of each number would be too much


def test_what_is_no_array_of_numbers_is_refused_by_its_first_rows():
    for wrong in (np.array([["a"], ["b"]]), np.ones((3, 1), complex), np.ones((0, 2))):
        with pytest.raises(ValueError, match="expected an array"):
            geomem.max_posterior_weight(Elsewhere(wrong), LEVELS)


@pytest.mark.parametrize("package", ["h5py", "zarr"])
def test_hdf5_and_zarr_are_read_by_slices(package, images, tmp_path, rng):
    module, queries = pytest.importorskip(package), rng.normal(4, 3, (7, 1, 3, 2))
    if package == "h5py":
        file = module.File(tmp_path / "a.h5", "w")
        train = file.create_dataset("images", data=images, chunks=(64, 1, 3, 2))
    else:
        train = module.create_array(
            tmp_path / "a.zarr", shape=images.shape, dtype="u1", chunks=(64, 1, 3, 2)
        )
        train[:] = images
    wanted = answers(images, queries)
    for name, found in answers(train, queries).items():
        np.testing.assert_array_equal(found, wanted[name], err_msg=name)
