"""The generalization gap and ratio: closed forms, and intervals that hold the truth."""

import numpy as np
import pytest

from geomem.geometry.curve import ErrorCurve
from geomem.memorization.generalization import Generalization

SIGMAS = np.array([0.1, 1.0, 10.0])


def test_a_denoiser_that_knows_nothing_has_no_gap(rng):
    """Returning the input errs by the noise alone, whoever the image is."""
    found = Generalization.of(
        lambda x, s: x, rng.normal(size=(300, 9)), rng.normal(size=(500, 9)), SIGMAS, noisy=3000
    )
    assert np.all((found.gap.low < 0) & (found.gap.high > 0))
    assert np.all((found.ratio.low < 1) & (found.ratio.high > 1))
    np.testing.assert_allclose(found.train.mean, 9 * SIGMAS**2, rtol=0.05)


def test_a_denoiser_that_knows_one_image_has_the_gap_of_its_distance():
    """It answers with the image always: errors 0 and |x - y|^2."""
    known, new = np.zeros((2, 4)), np.ones((3, 4))
    found = Generalization.of(lambda x, s: 0 * x, known, new, SIGMAS)
    np.testing.assert_array_equal(found.gap.mean, 4.0)
    np.testing.assert_array_equal(found.gap.low, 4.0)
    assert np.all(found.train.mean == 0)


@pytest.mark.parametrize("what, truth", [("gap", 3.0), ("ratio", 2.5)])
def test_the_interval_holds_the_truth_nineteen_times_in_twenty(rng, what, truth):
    """Errors with means 2 and 5, of 200 and 300 images."""

    def curve(mean, n):
        return ErrorCurve.from_queries(SIGMAS, mean * rng.gamma(3, 1 / 3, size=(n, 3)))

    found = [getattr(Generalization(curve(2, 200), curve(5, 300)), what) for _ in range(400)]
    held = np.mean([(f.low < truth) & (truth < f.high) for f in found])
    assert held == pytest.approx(0.95, abs=0.025)


def test_scaling_the_images_scales_the_gap_by_the_square_and_no_ratio(rng):
    train, heldout = rng.normal(size=(40, 6)), rng.normal(size=(50, 6))
    one = Generalization.of(lambda x, s: x / (1 + s**2), train, heldout, SIGMAS, seed=3)
    ten = Generalization.of(
        lambda x, s: x / (1 + (s / 10) ** 2), 10 * train, 10 * heldout, 10 * SIGMAS, seed=3
    )
    np.testing.assert_allclose(ten.gap.mean, 100 * one.gap.mean, rtol=1e-4)
    np.testing.assert_allclose(ten.ratio.high, one.ratio.high, rtol=1e-5)


def test_one_image_that_carries_the_error_widens_the_upper_end_as_far_as_the_curves():
    few = np.full((20, 3), 1e-3)
    few[0] = 1.0
    heldout = ErrorCurve.from_queries(SIGMAS, few)
    train = ErrorCurve.from_queries(SIGMAS, np.full((20, 3), 0.5))  # without a width of its own
    found = Generalization(train, heldout)
    np.testing.assert_allclose(found.ratio.high, heldout.high / 0.5)
    np.testing.assert_allclose(found.ratio.low, heldout.low / 0.5)
    np.testing.assert_allclose(found.gap.high, heldout.high - 0.5)
    np.testing.assert_allclose(found.gap.low, heldout.low - 0.5)
