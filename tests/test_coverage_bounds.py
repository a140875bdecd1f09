"""Theorem 4.8: its bounds where the truth is known."""

import numpy as np
import pytest
from scipy.stats import binom

import geomem
from geomem.geometry.coverage_bounds import (
    CoverageCertificate,
    coverage_bounds,
    coverage_certificate,
    coverage_sigma,
    shell_mass_envelopes,
)

PAIRS = [(1, 0.1), (1, 3.0), (2, 0.3), (16, 1.0), (64, 5.0), (3072, 5.0)]


@pytest.mark.parametrize(("d", "c"), PAIRS)
def test_envelopes_enclose_the_mass(d, c):
    r = np.linspace(0, 5, 500) / float(coverage_sigma(1.0, d, c))
    lower, upper = shell_mass_envelopes(r, d, c)
    mass = geomem.shell_mass(r, d, c)
    assert np.all(lower <= mass + 1e-11) and np.all(mass <= upper + 1e-11)
    assert np.all((lower >= 0) & (upper <= 1))
    at_zero, one = shell_mass_envelopes(0.0, d, c)
    assert at_zero == pytest.approx(max(1 - 2 * np.exp(-c), 0)) and one == 1


def test_transition():
    """theory.md 4.3: the divisor 16.058 and Phi = 0.50336543 there; low d: 0.34 and 0.56."""
    assert 1 / coverage_sigma(1.0, 3072) == pytest.approx(16.05836, abs=1e-5)
    for d, c, mass in ((3072, 5.0, 0.5033654323), (1, 0.1, 0.34), (3, 0.5, 0.56)):
        at = 1 / coverage_sigma(1.0, d, c)
        assert geomem.shell_mass(at, d, c) == pytest.approx(mass, abs=1e-8 if d > 9 else 5e-3)
    np.testing.assert_allclose(coverage_sigma(np.array([0, 2.0]), 3072), [0, 2 / 16.0583602574])


def test_one_training_point_is_an_equality(rng):
    """N = 1 at distance rho of every query: all three bounds are Phi(rho / sigma)."""
    d, c, rho = 10, 1.0, 2.0
    direction = rng.normal(size=(30, d))
    heldout = rho * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    sigmas = np.array([0.2, 0.5, 1.0, 3.0, 50.0])
    bounds = coverage_bounds(heldout, np.zeros((1, d)), sigmas, c=c)
    exact = geomem.shell_mass(rho / sigmas, d, c)
    for value in (bounds.lower_nearest, bounds.upper_sum, bounds.upper_nearest):
        np.testing.assert_allclose(value, exact, atol=1e-9)


def test_two_points_in_one_dimension():
    """Shells of -1 and 1 seen from 0: the sum is exact where they are disjoint."""
    c, sigma = 0.05, 1.0
    r_in, r_out = geomem.shell_radii(1, c)
    ends = np.array([[-1.0], [1.0]])
    assert sigma * r_in < 1 < sigma * r_out  # both shells hold the origin
    assert 0.5 * r_out < 1  # the points between them lie in at most one shell
    bounds = coverage_bounds([[0.0]], ends, [sigma, 0.5], c=c)
    mass = geomem.shell_mass(1 / np.array([sigma, 0.5]), 1, c)
    np.testing.assert_allclose(bounds.lower_nearest, mass, atol=1e-12)
    np.testing.assert_allclose(bounds.upper_sum, np.minimum(2 * mass, 1), atol=1e-3)
    origin = np.zeros((400, 1))  # as many queries, which is quicker than as many draws
    measured = geomem.shell_coverage(origin, ends, [sigma, 0.5], c=c, draws=100).mean
    assert np.all(bounds.lower_nearest <= measured + 0.01)
    assert measured[0] < bounds.upper_sum[0] - 0.05  # overlap: strictly below
    assert measured[1] == pytest.approx(bounds.upper_sum[1], abs=0.01)  # disjoint: equal


@pytest.mark.parametrize(
    ("d", "n", "c", "sigma"), [(2, 20, 0.3, 0.5), (16, 50, 1.0, 1.0), (5, 30, 4.0, 0.4)]
)
def test_bounds_hold_in_low_dimension(d, n, c, sigma, rng):
    train, heldout = rng.normal(size=(n, d)), rng.normal(size=(2000, d))
    measured = geomem.shell_coverage(heldout, train, [sigma], c=c).mean[0]
    bounds = coverage_bounds(heldout, train, [sigma], c=c)
    assert bounds.lower_nearest[0] < measured < bounds.upper_sum[0] <= bounds.upper_nearest[0]


def test_the_sum_is_a_bound_and_tight(rng):
    """The tabulated sum is never below the exact one, and at most 0.0003 per point above."""
    d, c = 16, 1.0
    train, heldout = rng.normal(size=(40, d)), rng.normal(size=(25, d))
    heldout[0] = train[0]
    sigmas = np.geomspace(0.05, 20, 15)
    rho = np.linalg.norm(heldout[:, None] - train, axis=2)
    mass = geomem.shell_mass(rho / sigmas[:, None, None], d, c)
    exact = np.minimum(mass.sum(2), 1).mean(1)
    bounds = coverage_bounds(heldout, train, sigmas, c=c)
    assert np.all(exact <= bounds.upper_sum + 1e-12)
    assert np.all(bounds.upper_sum <= exact + 40 * 3e-4)
    nearest = mass.max(2)
    np.testing.assert_allclose(bounds.lower_nearest, nearest.mean(1), atol=1e-9)
    np.testing.assert_allclose(bounds.upper_nearest, np.minimum(40 * nearest, 1).mean(1), atol=1e-7)
    for name in ("lower_nearest", "upper_sum", "upper_nearest"):
        low, high = getattr(bounds, name + "_interval")
        assert np.all((low <= getattr(bounds, name)) & (getattr(bounds, name) <= high))


def test_blocks_change_nothing(rng, monkeypatch):
    train, heldout = rng.normal(size=(30, 6)), rng.normal(size=(9, 6))
    whole = coverage_bounds(heldout, train, [0.3, 1.0], c=0.8)
    monkeypatch.setattr("geomem.geometry.distances.Points.slices", _in_sevens)
    parts = coverage_bounds(heldout, train, [0.3, 1.0], c=0.8)
    np.testing.assert_allclose(parts.upper_sum, whole.upper_sum, rtol=1e-12)
    np.testing.assert_allclose(parts.lower_nearest, whole.lower_nearest, rtol=1e-12)


def _in_sevens(points, size):
    return [slice(i, min(i + 7, len(points))) for i in range(0, len(points), 7)]


def test_limits(rng):
    """sigma -> 0: P(X in D) Phi(0); sigma -> infinity: Phi(0) for the lower bound."""
    train = rng.normal(size=(40, 12))
    heldout = np.concatenate([train[:10], rng.normal(size=(30, 12))])
    mass = float(geomem.shell_mass(0.0, 12, 1.0))
    bounds = coverage_bounds(heldout, train, [1e-4, 1e6], c=1.0)
    for value in (bounds.lower_nearest[0], bounds.upper_sum[0]):
        assert value == pytest.approx(mass / 4, abs=1e-3)
    assert bounds.lower_nearest[1] == pytest.approx(mass, abs=1e-6)
    assert bounds.upper_sum[1] == 1


def test_reference_values_on_cifar10(cifar10):
    """theory.md 4.2, first 1000 test and first 1000 training images."""
    data = geomem.load_dataset("cifar10", n_train=1000, n_heldout=1000, root=cifar10)
    sigmas = [1.0, 1.3, 1.7, 2.0, 3.0, 8.0]
    bounds = coverage_bounds(data.heldout, data.train, sigmas)
    nearest = [0.152, 0.472, 0.824, 0.930, 0.993, 0.9986]
    np.testing.assert_allclose(bounds.lower_nearest, nearest, atol=1e-3)
    np.testing.assert_allclose(bounds.upper_sum[:2], [0.316, 0.826], atol=1e-3)
    assert bounds.upper_nearest[0] == pytest.approx(0.70, abs=5e-3)
    measured = geomem.shell_coverage(data.heldout, data.train, sigmas, draws=3).mean
    assert np.abs(measured - bounds.lower_nearest).max() < 0.04
    distance = geomem.nearest_distances(data.heldout, data.train)[:, 0]
    assert np.median(coverage_sigma(distance, 3072)) == pytest.approx(1.308, abs=1e-3)


def test_bounds_are_numbers_at_any_noise_level(rng):
    train, heldout = rng.normal(size=(6, 3)), rng.normal(size=(5, 3))
    sigmas = [1e-200, 1e-12, 1e-9, 1.0, 1e9, 1e200]
    bounds = coverage_bounds(heldout, train, sigmas)
    assert np.all(bounds.lower_nearest[:3] == 0)
    assert np.all(bounds.lower_nearest[4:] == geomem.shell_mass(0.0, 3))
    assert np.isfinite(np.stack([*bounds.table().values()])).all()
    np.testing.assert_array_equal(shell_mass_envelopes([1e50, 1e100, 1e300], 3), 0)


@pytest.mark.parametrize("alpha", [0.5, 0.1])
def test_the_certificate_fails_as_often_as_it_says(alpha, rng):
    """Distances from 1 to 1000, evenly in the logarithm: there Phi is nearly a step.

    So the inequality is nearly an equality, and it fails somewhere hardly less often than alpha.
    """
    dim, c, n, trials = 4096, 5.0, 20, 200
    sigmas = np.geomspace(0.05, 60, 40)
    shares = (np.arange(3000) + 0.5) / 3000
    truth = geomem.shell_mass(1000 ** shares[:, None] / sigmas, dim, c).mean(0)
    fails = 0
    for _ in range(trials):
        found = CoverageCertificate(1000 ** rng.random(n), dim, c, alpha)
        fails += np.any(found.at(sigmas) > truth + 1e-9)
    low, high = binom.ppf([0.001, 0.999], trials, alpha)
    assert low / 2 < fails <= high


def test_the_certified_start_is_where_its_bound_passes(rng):
    train, heldout = rng.normal(size=(40, 12)), rng.normal(size=(300, 12))
    found = coverage_certificate(heldout, train, c=1.0)
    nearest = np.linalg.norm(heldout[:, None] - train, axis=2).min(1)
    np.testing.assert_allclose(found.nearest, nearest)
    bounds = coverage_bounds(heldout, train, [0.3, 1.0, 3.0], c=1.0)
    less = np.maximum(bounds.lower_nearest - np.sqrt(np.log(20) / 600), 0)
    np.testing.assert_allclose(found.at([0.3, 1.0, 3.0]), less, atol=1e-12)
    for level in (0.1, 0.5, 0.7):
        start = found.start(level)
        assert found.at([start])[0] >= level > found.at([start * (1 - 1e-6)])[0]
        twice = coverage_certificate(2 * heldout, 2 * train, c=1.0).start(level)
        assert twice == pytest.approx(2 * start, rel=1e-6)
        assert start > coverage_certificate(heldout, train, c=1.0, alpha=0.5).start(level)


def test_the_certificate_knows_its_ends(rng):
    train, new = rng.normal(size=(50, 5)), rng.normal(size=(10, 5))
    mass = float(geomem.shell_mass(0.0, 5, 2.0))
    copies = coverage_certificate(np.concatenate([train] * 40), train, c=2.0)
    certain = mass - np.sqrt(np.log(20) / 4000)
    np.testing.assert_allclose(copies.at([1e-9, 1e9]), certain)
    assert copies.start(certain - 1e-6) == 0 and np.isnan(copies.start(certain + 1e-6))
    few = coverage_certificate(new, train, c=2.0)
    assert np.isnan(few.start(0.8)), "ten images make nothing that certain"
    assert few.at([1e-9])[0] == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: coverage_bounds([[0.0]], [[0.0]], [0.0]),
        lambda: coverage_bounds([[0.0]], [[0.0, 1.0]], [1.0]),
        lambda: coverage_bounds([[0.0]], [[0.0]], [1.0], c=-1.0),
        lambda: shell_mass_envelopes(-1.0, 5),
        lambda: shell_mass_envelopes(np.nan, 5),
        lambda: shell_mass_envelopes(1.0, 0),
        lambda: coverage_sigma(-1.0, 5),
        lambda: coverage_sigma(1.0, 5, 0.0),
        lambda: coverage_certificate([[0.0]], [[0.0, 1.0]]),
        lambda: coverage_certificate([[0.0]], [[1.0]], c=0.0),
        lambda: coverage_certificate([[0.0]], [[1.0]], alpha=0.6),
        lambda: coverage_certificate([[0.0]], [[1.0]], alpha=0.0),
        lambda: coverage_certificate([[0.0]], [[1.0]]).start(1.0),
        lambda: coverage_certificate([[0.0]], [[1.0]]).at([0.0]),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError):
        call()
