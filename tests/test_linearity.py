"""Distances of a model to the closed forms, where the model is one of them."""

import numpy as np
import pytest
import torch

import geomem
from geomem.memorization.linearity import Linearity, answers_to_one

SIGMAS = np.array([0.3, 1.0, 3.0, 30.0])


@pytest.fixture
def images(rng):
    return rng.normal(size=(30, 6)), rng.normal(size=(80, 6))


def gaussian(train):
    return lambda x, sigma: geomem.gaussian_denoiser(x, train, sigma)


def test_the_gaussian_denoiser_is_at_no_distance_from_itself(images):
    train, heldout = images
    found = Linearity.of(gaussian(train), train, heldout, SIGMAS, seed=1)
    assert np.all(found.gaussian.mean == 0)
    np.testing.assert_allclose(found.empirical.mean, found.gap.mean)
    assert np.all(found.side == -1)
    assert found.apart(0.0).all() and not found.apart(0.0, 1e-12).any()
    # By Eq. 7 the mean image is nearer the larger the noise, and the closed forms come together.
    assert np.all(np.diff(found.mean.mean) < 0) and found.gap.mean[-1] < 0.01 * found.gap.mean[0]


def test_the_empirical_denoiser_takes_its_own_side(images):
    train, heldout = images
    found = Linearity.of(
        lambda x, sigma: geomem.empirical_denoiser(x, train, sigma), train, heldout, SIGMAS
    )
    assert np.all(found.empirical.mean == 0) and np.all(found.side == 1)
    np.testing.assert_array_equal(found.gaussian.mean, found.gap.mean)


def test_a_constant_shift_is_all_in_common(images):
    """m^G + s is at |s|^2 / tr Sigma from m^G, for every input the same."""
    train, heldout = images
    shifted = gaussian(train)
    found = Linearity.of(lambda x, s: shifted(x, s) + 0.5, train, heldout, SIGMAS)
    variance = train.var(0).sum()
    np.testing.assert_allclose(found.gaussian.mean, 6 * 0.25 / variance)
    np.testing.assert_allclose(found.common, 1)
    assert found.variance == pytest.approx(variance)


@pytest.mark.parametrize("n", [3, 20])
def test_the_share_in_common_is_not_larger_of_fewer_inputs(rng, n):
    """Off by a shift and by noise of as much: half of it is in common, of any number of inputs."""
    d, shift = 20_000, rng.normal(size=20_000)
    train = rng.normal(size=(5, d))
    exact = gaussian(train)

    def off(x, sigma):
        return exact(x, sigma) + torch.as_tensor(shift + rng.normal(size=x.shape))

    found = Linearity.of(off, train, rng.normal(size=(n, d)), SIGMAS[:1])
    assert found.common[0] == pytest.approx(0.5, abs=0.02)


def test_of_one_input_nothing_is_said_to_be_in_common(images):
    train, heldout = images
    found = Linearity.of(lambda x, s: x + 1, train, heldout[:1], SIGMAS)
    assert np.isnan(found.common).all()


def test_a_constant_is_no_nearer_than_the_mean_image(images):
    """Within any share of the variance at enough noise, and yet it knows nothing of its input."""
    train, heldout = images
    here = SIGMAS > 0
    mean = torch.from_numpy(train.mean(0))
    constant = Linearity.of(lambda x, s: mean.expand_as(x), train, heldout, SIGMAS)
    assert constant.gaussian.high[-1] < 0.05 and constant.than_mean(here) is not True
    exact = Linearity.of(gaussian(train), train, heldout, SIGMAS)
    assert exact.than_mean(here) is True and exact.than_mean(~here) is None
    off = Linearity.of(lambda x, s: mean.expand_as(x) + 1, train, heldout, SIGMAS)
    assert off.than_mean(here) is False


def test_one_image_is_answered_at_each_level_as_among_others(rng):
    train, image, noise = (rng.normal(size=(n, 1, 2, 3)) for n in (20, 1, 1))
    found = answers_to_one(lambda x, s: x / s, train, image[0], noise[0], SIGMAS)
    noisy = image + SIGMAS[:, None, None, None] * noise
    np.testing.assert_allclose(found.model, noisy / SIGMAS[:, None, None, None])
    np.testing.assert_allclose(found.empirical, geomem.empirical_denoiser(noisy, train, SIGMAS))
    np.testing.assert_allclose(found.gaussian, geomem.gaussian_denoiser(noisy, train, SIGMAS))
