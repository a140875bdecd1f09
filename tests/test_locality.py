"""Theorem 4.10: the sensitivity of circulant Gaussian data and its bound T_sigma / m."""

import numpy as np
import pytest

from geomem.geometry.locality import Locality, circulant_sensitivity, locality_bound, row_spectrum


def spectrum(shape, rng, zeros=False):
    """Random and symmetric under k -> -k, over some decades."""
    half = np.exp(3 * rng.normal(size=shape)) * (rng.random(shape) < 0.5 if zeros else 1)
    return half + np.roll(np.flip(half), 1, tuple(range(half.ndim)))


@pytest.mark.parametrize("n", [2, 3, 8, 13])
def test_it_is_the_first_row_of_the_matrix(n, rng):
    values = spectrum(n, rng)
    covariance_row = np.fft.ifft(values).real
    index = (np.arange(n)[:, None] - np.arange(n)) % n
    covariance = covariance_row[index]
    for sigma in (0.1, 1.0, 10.0):
        matrix = covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(n))
        np.testing.assert_allclose(circulant_sensitivity(values, sigma), matrix[0], atol=1e-9)


def test_the_bound_holds_on_circles_and_is_attained(rng):
    sigmas, tightest = np.geomspace(1e-2, 1e2, 7), 0.0
    for n in range(2, 40):
        for zeros in (False, True):
            values = spectrum(n, rng, zeros)
            row, bound = circulant_sensitivity(values, sigmas), locality_bound(values, sigmas)
            m = np.arange(1, n // 2 + 1)
            ratio = np.abs(row[:, 1 : n // 2 + 1]) * m / np.maximum(bound, 1e-12)[:, None]
            tightest = max(tightest, ratio.max())
    assert 0.9 < tightest <= 1 + 1e-6


@pytest.mark.parametrize(("n", "j"), [(4, 0), (8, 1), (8, 3), (28, 5)])
def test_equality_for_a_box_of_odd_width(n, j):
    box = np.zeros(n)
    box[np.arange(-j, j + 1)] = 3.0
    row, bound = circulant_sensitivity(box, 0.7), locality_bound(box, 0.7)
    assert abs(row[n // 2]) * (n // 2) == pytest.approx(float(bound), rel=1e-12)


def test_gains_need_not_be_symmetric(rng):
    """The proof's inequality for real sequences: |a_m| <= TV / (4 m)."""
    for n in range(2, 30):
        gain = rng.random(n) * (rng.random(n) < 0.7)
        row = np.abs(np.fft.ifft(gain))[1 : n // 2 + 1]
        variation = np.abs(np.roll(gain, -1) - gain).sum()
        assert np.all(row * np.arange(1, n // 2 + 1) <= variation / 4 + 1e-12)


def test_the_torus_bounds_hold_and_agree_with_the_circle(rng):
    for shape in ((5, 8), (6, 6), (2, 9)):
        values = spectrum(shape, rng)
        row = np.abs(circulant_sensitivity(values, [0.3, 3.0]))
        for axis, n in enumerate(shape):
            bound = locality_bound(values, [0.3, 3.0], axis=axis)
            along = np.moveaxis(row, 1 + axis, 1)[:, 1 : n // 2 + 1]
            m = np.arange(1, n // 2 + 1)[None, :, None]
            assert along.shape[1] == n // 2
            assert np.all(along * m <= bound[:, None, None] * (1 + 1e-9))
    circle = spectrum(8, rng)
    flat = np.tile(circle, (3, 1))  # no correlation between rows: each row is a circle
    np.testing.assert_allclose(locality_bound(flat, 0.5), locality_bound(circle, 0.5))
    np.testing.assert_allclose(
        circulant_sensitivity(flat, 0.5)[0], circulant_sensitivity(circle, 0.5), atol=1e-12
    )


def test_the_bound_sees_the_height_of_the_spectrum_and_not_its_width():
    """Widths 1, 2, 4: T = .49505 each, but the narrower spectrum's sensitivity decays slower."""
    k = np.minimum(np.arange(64), 64 - np.arange(64))
    decay = []
    for width in (1, 2, 4):
        values = 100 * np.exp(-(k**2) / (2 * width**2))
        assert float(locality_bound(values, 1.0)) == pytest.approx(0.49505, abs=5e-6)
        row = circulant_sensitivity(values, 1.0)
        decay.append(abs(row[4]) / row[0])
    assert decay == pytest.approx([0.76, 0.27, 0.14], abs=0.005)


def test_it_vanishes_at_both_ends_as_the_envelope_says(rng):
    values, sigmas = spectrum(16, rng), np.geomspace(1e-4, 1e4, 60)
    bound = locality_bound(values, sigmas)

    def variation(x):
        return np.abs(np.roll(x, -1) - x).sum()

    envelope = np.minimum(sigmas**2 * variation(1 / values), variation(values) / sigmas**2) / 4
    assert np.all(bound <= envelope * (1 + 1e-9))
    assert bound[0] < 1e-3 * bound.max() > bound[-1]
    assert np.all(locality_bound(np.full(5, 2.0), sigmas) == 0), "white data: no interaction"


def test_shapes(rng):
    circle, torus = spectrum(6, rng), spectrum((4, 6), rng)
    assert circulant_sensitivity(circle, 1.0).shape == (6,)
    assert circulant_sensitivity(circle, np.ones((2, 3))).shape == (2, 3, 6)
    assert circulant_sensitivity(torus, np.ones(2)).shape == (2, 4, 6)
    assert locality_bound(circle, 1.0).shape == () and locality_bound(torus, [1.0]).shape == (1,)


@pytest.mark.parametrize(
    "call",
    [
        lambda: locality_bound([1.0, 1.0], 0.0),
        lambda: locality_bound([1.0], 1.0),
        lambda: locality_bound([-1.0, 1.0], 1.0),
        lambda: locality_bound([np.inf, 1.0], 1.0),
        lambda: locality_bound(np.ones((2, 2, 2)), 1.0),
        lambda: locality_bound([1.0, 1.0], 1.0, axis=1),
        lambda: circulant_sensitivity([1.0, 2.0, 3.0], 1.0),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError):
        call()


def test_the_spectrum_of_stationary_rows_is_that_of_their_covariance(rng):
    spectrum = np.array([4.0, 2.0, 0.5, 0.1, 0.5, 2.0])
    noise = np.fft.fft(rng.standard_normal((20_000, 6)), norm="ortho")
    rows = np.fft.ifft(np.sqrt(spectrum) * noise, norm="ortho").real + 3.0
    np.testing.assert_allclose(row_spectrum(rows), spectrum, rtol=0.05)


def test_sensitivities_are_a_share_of_their_bound_at_every_distance():
    found = Locality.of([3.0, 1.0, 1.0], [1.0])
    assert found.distance.tolist() == [1] and found.bound == pytest.approx(0.125)
    assert found.share == pytest.approx((0.25 / 3) / 0.125)
    wide = Locality.of(np.r_[9.0, np.ones(7)], [0.5, 1.0, 2.0])
    assert {len(column) for column in wide.table().values()} == {12}
    assert wide.share.max() <= 1 + 1e-9
