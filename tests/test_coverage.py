"""Lemma 4.5, Phi of Theorem 4.8 and Definition 4.6 against closed forms and simulation."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

import geomem
from geomem.geometry.coverage import FAR, coverage_study
from geomem.geometry.noise_shell import NoiseShell


@given(st.integers(1, 20_000), st.floats(0.01, 20))
def test_shell_holds_what_the_lemma_promises(d, c):
    r_in, r_out = geomem.shell_radii(d, c)
    assert 0 <= r_in < np.sqrt(d) < r_out
    mass = chi2.cdf(r_out**2, d) - chi2.cdf(r_in**2, d)
    assert mass >= 1 - 2 * np.exp(-c) - 1e-12
    assert geomem.shell_mass(0.0, d, c) == pytest.approx(mass, abs=1e-9)


def test_published_radii_and_mass():
    """d = 3072, c = 5: r_in = 53.1425, r_out = 57.7050, exact mass 0.998746."""
    assert geomem.shell_radii(3072) == pytest.approx((53.1425, 57.7050), abs=5e-5)
    assert geomem.shell_mass(0.0, 3072) == pytest.approx(0.998746, abs=5e-7)


@pytest.mark.parametrize(("d", "c"), [(1, 1.0), (16, 1.0), (64, 5.0), (3072, 5.0)])
def test_shell_mass_falls_strictly_and_matches_simulation(d, c, rng):
    r = np.linspace(0, 6 * d**0.25, 40)
    mass = geomem.shell_mass(r, d, c)
    assert np.all(np.diff(mass)[mass[1:] > 1e-9] < 0)
    z = rng.standard_normal((4000, d))
    r_in, r_out = geomem.shell_radii(d, c)
    for i in (0, 10, 20):
        norms = np.sqrt((z[:, 0] + r[i]) ** 2 + (z[:, 1:] ** 2).sum(1))
        seen = np.mean((norms >= r_in) & (norms <= r_out))
        assert seen == pytest.approx(mass[i], abs=4 * np.sqrt(0.25 / 4000))


def exact_mass(r, d, c):
    """Phi_{d,c}(r) as a Poisson mixture of chi-square laws, to 60 digits."""
    inner, outer = (mp.mpf(x) ** 2 / 2 for x in geomem.shell_radii(d, c))
    with mp.workdps(60):
        half = mp.mpf(r) ** 2 / 2
        return mp.nsum(
            lambda k: (
                mp.exp(-half + k * mp.log(half) - mp.loggamma(k + 1))
                * mp.gammainc(mp.mpf(d) / 2 + k, inner, outer, regularized=True)
            ),
            [0, mp.inf],
            method="d",
        )


@pytest.mark.parametrize(("d", "c"), [(1, 0.5), (3, 1.0), (64, 5.0)])
def test_far_away_the_mass_is_exact_until_it_is_no_number(d, c):
    beyond = geomem.shell_radii(d, c)[1]
    near = beyond + np.array([0.5, 2.0, 4.0])
    exact = [float(exact_mass(r, d, c)) for r in near]
    np.testing.assert_allclose(geomem.shell_mass(near, d, c), exact, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize(("d", "c"), [(1, 0.1), (1, 5.0), (64, 5.0), (3072, 5.0), (10**6, 1e3)])
def test_farther_than_any_number_the_mass_is_none(d, c):
    """At most a normal tail: the noise must come r - r_out nearer in one direction."""
    assert mp.ncdf(-FAR) < mp.mpf(2) ** -1075  # half of the least float64
    far = geomem.shell_radii(d, c)[1] + np.geomspace(FAR, 1e300, 50)
    assert np.all(geomem.shell_mass(far, d, c) == 0)
    whole = geomem.shell_mass(np.geomspace(1e-3, 1e200, 400), d, c)
    assert np.all(np.diff(whole) <= 1e-12) and np.isfinite(whole).all()


def test_coverage_of_one_training_point_is_the_shell_mass(rng):
    """One training point at distance rho of every query: C_sigma = Phi(rho / sigma) exactly."""
    d, c, rho = 10, 1.0, 2.0
    direction = rng.normal(size=(300, d))
    heldout = rho * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    sigmas = np.array([0.2, 0.5, 1.0, 3.0, 50.0])
    curve = geomem.shell_coverage(heldout, np.zeros((1, d)), sigmas, c=c, draws=40)
    np.testing.assert_allclose(curve.mean, geomem.shell_mass(rho / sigmas, d, c), atol=0.02)


def test_coverage_limits(rng):
    train, heldout = rng.normal(size=(40, 12)), rng.normal(size=(60, 12))
    curve = geomem.shell_coverage(heldout, train, [1e-4, 1e6], c=1.0, draws=100)
    assert curve.mean[0] == 0
    assert curve.mean[1] == pytest.approx(float(geomem.shell_mass(0.0, 12, 1.0)), abs=0.02)


def test_coverage_agrees_with_the_definition_pair_by_pair(rng):
    train, heldout = rng.normal(size=(15, 6)), rng.normal(size=(9, 6))
    sigmas, c, draws = np.array([0.002, 0.3, 0.8, 2.0, 80.0]), 0.8, 3
    r_in, r_out = geomem.shell_radii(6, c)
    expected = np.zeros((9, 5))
    for k in range(draws):
        z = np.random.default_rng([7, k]).standard_normal(heldout.shape)
        for s, sigma in enumerate(sigmas):
            y = heldout + sigma * z
            distance = np.linalg.norm(y[:, None] - train[None], axis=2)
            inside = (distance >= sigma * r_in) & (distance <= sigma * r_out)
            expected[:, s] += inside.any(1) / draws
    curve = geomem.shell_coverage(heldout, train, sigmas, c=c, draws=draws, seed=7)
    np.testing.assert_allclose(curve.per_query, expected, atol=1e-12)


def test_coverage_is_invariant_to_order_shift_and_scale(rng):
    train, heldout = rng.normal(size=(15, 6)), rng.normal(size=(9, 6))
    sigmas = np.array([0.3, 0.8, 2.0])
    base = geomem.shell_coverage(heldout, train, sigmas, c=0.8).per_query
    for other in (
        geomem.shell_coverage(heldout, train[::-1].copy(), sigmas, c=0.8),
        geomem.shell_coverage(heldout + 50, train + 50, sigmas, c=0.8),
        geomem.shell_coverage(4 * heldout, 4 * train, 4 * sigmas, c=0.8),
    ):
        np.testing.assert_array_equal(other.per_query, base)


@pytest.mark.parametrize(
    "call",
    [
        lambda: geomem.shell_radii(0),
        lambda: geomem.shell_radii(5, 0.0),
        lambda: geomem.shell_mass(-1.0, 5),
        lambda: geomem.shell_coverage([[0.0]], [[0.0]], [-1.0]),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError):
        call()


def test_the_study_over_a_pool_of_equal_points_is_one_shell(rng):
    """Whatever a trial draws, it is the same training point, at distance rho of the image."""
    d, c, rho = 10, 1.0, 2.0
    heldout, sigmas = rho * np.eye(1, d), np.array([0.2, 0.5, 1.0, 3.0, 50.0])
    options = dict(size=3, trials=100, draws=40, c=c)
    study = coverage_study(heldout, np.zeros((8, d)), sigmas, **options)
    assert study.n == 100
    np.testing.assert_allclose(study.mean, geomem.shell_mass(rho / sigmas, d, c), atol=0.03)
    with pytest.raises(ValueError):
        coverage_study(heldout, np.zeros((2, d)), sigmas, **options)


def test_noise_lies_in_its_shell_and_what_is_longer_does_not():
    shell = NoiseShell.of(64, 2.0, seed=1)
    assert shell.as_exact and shell.promised <= shell.mass
    longer = NoiseShell(64, 2.0, 3 * shell.norms)
    assert longer.seen == 0 and not longer.as_exact
