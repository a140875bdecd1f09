"""The dimension of clouds whose dimension is known, wherever they lie, and coverage by it."""

import numpy as np
import pytest

from geomem import coverage_bounds, intrinsic_coverage, intrinsic_dimension
from geomem.geometry.padding import padded


def embedded(points, d, rng):
    """The points (N, k) in a random k-dimensional subspace of d dimensions."""
    axes, _ = np.linalg.qr(rng.standard_normal((d, points.shape[1])))
    return points @ axes.T


@pytest.mark.parametrize("k", [1, 2, 4, 8])
def test_a_gaussian_cloud_has_the_dimension_that_it_was_given(k, rng):
    cloud = embedded(rng.standard_normal((4000, k)), 40, rng)
    found = intrinsic_dimension(cloud[:2000], cloud[2000:])
    # The interval leaves out the choice of the training set, which is as large again.
    assert found.low / 1.05 < k < found.high * 1.05 and found.half / k < 0.06


def test_it_is_that_of_the_images_and_not_of_their_space(rng):
    cloud = rng.uniform(size=(600, 3))
    found = intrinsic_dimension(cloud[:300], cloud[300:])
    for other in (padded(cloud, 50), 7 * cloud, embedded(cloud, 20, rng) + 1):
        moved = intrinsic_dimension(other[:300], other[300:])
        np.testing.assert_allclose(moved.numbers, found.numbers, rtol=1e-9)


def test_coverage_by_it_stays_when_images_are_padded_and_scales_with_them(rng):
    cloud, sigmas = rng.uniform(size=(300, 3)), np.geomspace(0.01, 3, 9)
    base = intrinsic_coverage(cloud[:100], cloud[100:], sigmas).mean
    wide = padded(cloud, 500)
    np.testing.assert_allclose(intrinsic_coverage(wide[:100], wide[100:], sigmas).mean, base)
    large = intrinsic_coverage(5 * cloud[:100], 5 * cloud[100:], 5 * sigmas).mean
    np.testing.assert_allclose(large, base, atol=1e-12)
    assert np.all(np.diff(base) > 0)


def test_where_the_images_fill_their_space_it_is_the_lower_bound(rng):
    cloud, sigmas = rng.standard_normal((6000, 4)), np.geomspace(0.02, 0.5, 6)
    ours = intrinsic_coverage(cloud[:3000], cloud[3000:], sigmas).mean
    bound = coverage_bounds(cloud[:3000], cloud[3000:], sigmas).lower_nearest
    np.testing.assert_allclose(ours, bound, atol=0.02)
    wide = coverage_bounds(padded(cloud[:3000], 64), padded(cloud[3000:], 64), sigmas)
    assert np.abs(wide.lower_nearest - ours).max() > 0.1  # what the bound is not


def test_copies_say_nothing(rng):
    cloud = rng.uniform(size=(200, 2))
    new = np.concatenate([cloud[:100], cloud[150:]])
    alone = intrinsic_dimension(cloud[:100], cloud[100:])
    assert intrinsic_dimension(new, cloud[100:]).numbers == alone.numbers
    with pytest.raises(ValueError, match="no copies"):
        intrinsic_dimension(cloud[100:], cloud[100:])
    doubled = np.concatenate([cloud[100:], cloud[100:150]])  # nor do training images twice there
    nearest = np.linalg.norm(cloud[:100, None] - cloud[100:], axis=2).argmin(1)
    left = intrinsic_dimension(cloud[:100][nearest >= 50], cloud[100:])
    assert intrinsic_dimension(cloud[:100], doubled).numbers == pytest.approx(left.numbers)
