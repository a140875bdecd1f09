"""The counting calculus: its relations against quadrature, and what it makes of small sets."""

from functools import partial
from itertools import combinations, pairwise

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import norm

from geomem.geometry.counting import UNEVEN, Clusters, farthest_first, thinned
from geomem.geometry.posterior_bounds import cluster_bound, packing_bound, weight_bounds
from geomem.theorems.clouds import line_weight

SIGMAS = np.geomspace(0.05, 20, 9)


def apart(points):
    return np.linalg.norm(points[:, None] - points, axis=2)


def count(points, sigma=1.0):
    """N W_sigma of points in the plane, the integral of their largest density, on a fine grid."""
    if len(points) == 0:
        return 0.0
    axes = [np.arange(p.min() - 6 * sigma, p.max() + 6 * sigma, sigma / 12) for p in points.T]
    one_axis = [norm.pdf(axis[:, None], p, sigma) for axis, p in zip(axes, points.T, strict=True)]
    largest = np.max(
        [np.outer(x, y) for x, y in zip(one_axis[0].T, one_axis[1].T, strict=True)], axis=0
    )
    return float(largest.sum() * (sigma / 12) ** 2)


def max_density(line, sigma, x):
    return max(mpmath.npdf(x, p, sigma) for p in line)


def some_points(seed, spread=2.0):
    """4 to 9 points in the plane; of some sets two points coincide."""
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=spread, size=(rng.integers(4, 10), 2))
    if seed % 3 == 0:
        points[1] = points[0]
    return points, rng


def test_the_grid_is_the_integral_and_a_line_has_a_closed_form():
    line = [0, 0.4, 1.5, 1.5, 4]
    flat = np.column_stack([line, np.zeros(5)])
    breaks = [-mpmath.inf, *((a + b) / 2 for a, b in pairwise(line)), mpmath.inf]
    for sigma in (0.3, 1.0, 3.0):
        exact = mpmath.quad(partial(max_density, line, sigma), breaks)
        assert 5 * line_weight(np.array(line), sigma) == pytest.approx(float(exact), abs=1e-12)
        assert count(flat, sigma) == pytest.approx(float(exact), abs=1e-3)


@given(st.integers(0, 10_000), st.floats(0.4, 3))
@settings(deadline=None, max_examples=25)
def test_a_subset_counts_at_most_the_set_and_parts_at_least(seed, spread):
    points, rng = some_points(seed, spread)
    inside = rng.random(len(points)) < 0.5
    inside[:2] = True, False
    whole, one, other = count(points), count(points[inside]), count(points[~inside])
    gap = apart(points)[np.ix_(inside, ~inside)].min()
    assert max(one, other) <= whole + 1e-3
    assert whole <= one + other - 2 * ndtr(-gap / 2) + 1e-3


def test_two_points_share_what_the_union_bound_takes_off_and_no_more():
    """Where both sets are one point, what is taken off is exact; a tenth more would be wrong."""
    for gap in (0.3, 1.0, 2.5):
        shared = 2 - count(np.array([[0.0, 0], [gap, 0]]))
        assert shared == pytest.approx(2 * ndtr(-gap / 2), abs=1e-3)


@given(st.integers(0, 10_000), st.floats(0.4, 3))
@settings(deadline=None, max_examples=15)
def test_one_point_less_and_one_class_have_more_weight_on_average(seed, spread):
    points, rng = some_points(seed, spread)
    n = len(points)
    weight = count(points) / n
    without = [count(np.delete(points, i, 0)) / (n - 1) for i in range(n)]
    assert weight <= np.mean(without) + 1e-3
    label = rng.integers(0, 2, n)
    label[:2] = 0, 1
    by_class = [points[label == k] for k in (0, 1)]
    assert weight <= sum(count(some) for some in by_class) / n + 1e-3


def test_one_more_point_can_raise_the_weight():
    """Only the mean over which point is left out falls."""
    near, far = np.array([0.0, 0.1]), np.array([0.0, 0.1, 1000.0])
    assert line_weight(near, 1.0) == pytest.approx(0.520, abs=5e-4)
    assert line_weight(far, 1.0) == pytest.approx(0.680, abs=5e-4)


@given(st.integers(0, 10_000), st.floats(0.3, 4))
@settings(deadline=None, max_examples=20)
def test_both_bounds_are_on_their_sides_in_the_plane(seed, spread):
    points, _ = some_points(seed, spread)
    exact = count(points) / len(points)
    assert packing_bound(apart(points), [1.0])[0] <= exact + 1e-3
    assert cluster_bound(apart(points), [1.0])[0] >= exact - 1e-3


@pytest.mark.parametrize("n", [2, 3, 7, 60])
def test_clusters_are_exact_on_a_line(n, rng):
    for line in (rng.normal(size=n), rng.standard_cauchy(size=n), np.round(rng.normal(size=n))):
        exact = [line_weight(line, sigma) for sigma in SIGMAS]
        bound = cluster_bound(apart(line[:, None]), SIGMAS)
        np.testing.assert_allclose(bound, exact, rtol=1e-9)


def test_copies_and_outliers_stop_mattering(rng):
    points = rng.normal(size=(20, 4))
    twice, far = np.vstack([points, points]), np.vstack([points, [[1e3, 0, 0, 0]]])
    union = weight_bounds(points, SIGMAS, draws=1).lower_sum
    doubled = weight_bounds(twice, SIGMAS, draws=1)
    np.testing.assert_allclose(doubled.lower_orthogonal, 1 / 40, atol=1e-9)  # blank
    assert np.all(2 * doubled.lower_packing >= union - 1e-9) and union[0] > 0.99
    single, above = (cluster_bound(apart(some), SIGMAS) for some in (points, twice))
    assert np.all(2 * above >= single - 1e-9) and 2 * above[0] < 1 + 1e-9
    np.testing.assert_allclose(21 * cluster_bound(apart(far), SIGMAS), 20 * single + 1)
    assert np.all(21 * packing_bound(apart(far), SIGMAS) >= 20 * union + 1 - 1e-9)


def test_zeros_beside_the_points_change_no_proved_bound(rng):
    points = rng.normal(size=(30, 5))
    padded = np.hstack([points, np.zeros((30, 40))])
    mine, other = (weight_bounds(some, SIGMAS, draws=1) for some in (points, padded))
    np.testing.assert_allclose(mine.proved_lower, other.proved_lower, rtol=1e-9)
    np.testing.assert_allclose(mine.proved_upper, other.proved_upper, rtol=1e-9)
    assert np.any(mine.lower_packing > mine.lower_sum + 0.01)


def test_the_first_points_of_the_order_are_spread_nearly_as_well_as_any(rng):
    distances = apart(rng.normal(size=(10, 3)))
    order = farthest_first(distances)
    assert sorted(order) == list(range(10))

    def spread(some):
        return min(distances[i, j] for i, j in combinations(some, 2))

    for size in range(2, 11):
        best = max(spread(some) for some in combinations(range(10), size))
        assert best / 2 <= spread(order[:size]) <= best


def test_thinning_only_raises_the_union_bound(rng):
    points = np.vstack([rng.normal(size=(30, 3)), rng.normal(size=(3, 3)) * 0.01])
    distances = apart(points)
    for sigma in SIGMAS:
        shared = ndtr(-distances / (2 * sigma)) - np.eye(33) / 2
        some = thinned(distances, sigma)
        left = shared[np.ix_(some, some)]
        assert len(some) - left.sum() >= 33 - shared.sum() - 1e-9
        assert np.all(left.sum(1) <= 0.5 + 1e-9)
    assert len(thinned(distances, 0.05)) == 32, "two of three near copies count for 1.2"
    assert len(thinned(distances, 20)) < 3
    assert len(thinned(np.zeros((4, 4)), 1.0)) in (1, 2), "of copies one counts, or two for one"


def test_a_tree_has_every_point_and_a_bounded_size(rng):
    points = rng.normal(size=(50, 3))
    tree = Clusters.of(apart(points))
    radii = np.split(tree.radii, np.cumsum(tree.sizes)[:-1])
    assert tree.measured[-1] == 48 and tree.sizes[-1] == 50
    from_mean = np.linalg.norm(points - points.mean(0), axis=1)
    np.testing.assert_allclose(np.sort(radii[-1]), np.sort(from_mean), rtol=1e-9)
    assert tree.gaps.min() == pytest.approx(apart(points)[np.triu_indices(50, 1)].min())
    chain = Clusters.of(apart(2.0 ** np.arange(300)[:, None]))  # each point joins all before it
    assert len(chain.radii) <= 300 * (1 - np.log(300) / np.log(UNEVEN))
