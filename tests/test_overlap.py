"""Coverage by overlap: the error of the best guess, in any dimension."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from geomem.geometry.overlap import overlap, overlap_coverage


@pytest.mark.parametrize(("distance", "sigma"), [(0.0, 1.0), (1.0, 0.5), (3.0, 2.0), (2.0, 0.3)])
def test_it_is_what_two_densities_have_in_common(distance, sigma):
    """On the line through both points; across it they are equal, so that is all."""

    def lower(x):
        return min(norm.pdf(x, 0, sigma), norm.pdf(x, distance, sigma))

    ends = distance / 2 + np.array([-12, 12]) * sigma - np.array([distance, -distance]) / 2
    common, error = quad(lower, *ends, points=[distance / 2], epsabs=1e-12)
    assert overlap(distance, sigma) == pytest.approx(common, abs=2e-9 + error)


def test_it_is_twice_the_error_of_the_best_guess(rng):
    """Two points, noise around either: the nearer one is guessed, and errs half the overlap."""
    one, other = np.zeros(6), np.full(6, 0.5)
    sigma, n = 0.7, 200_000
    noisy = one + sigma * rng.standard_normal((n, 6))
    wrong = ((noisy - other) ** 2).sum(1) < ((noisy - one) ** 2).sum(1)
    found = overlap_coverage([one, one], [other], [sigma]).mean[0]
    assert found == pytest.approx(2 * wrong.mean(), abs=4 * wrong.std() / n**0.5)


def test_padding_with_zeros_changes_nothing_and_noise_confuses(cloud):
    queries, train = cloud
    sigmas = np.geomspace(1e-3, 1e4, 15)
    curve = overlap_coverage(queries, train, sigmas)
    padded = (np.pad(x, ((0, 0), (0, 40))) for x in (queries, train))
    np.testing.assert_allclose(overlap_coverage(*padded, sigmas).mean, curve.mean, atol=1e-12)
    assert np.all(np.diff(curve.mean) >= 0) and curve.mean[-1] > 0.999 and curve.mean[0] < 1e-6


def test_a_training_image_is_always_confused_with_itself(cloud):
    _, train = cloud
    assert np.all(overlap_coverage(train, train, [1e-3, 1.0]).mean == 1)
