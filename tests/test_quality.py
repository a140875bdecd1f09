"""Distances between sets of images: closed forms for Gaussians, invariances, determinism."""

import sys
import types

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.special import stdtrit

from geomem.data.sets import load_dataset
from geomem.memorization.quality import (
    ClassifierFeatures,
    InceptionFeatures,
    PrincipalComponents,
    frechet_distance,
    frechet_error,
    frechet_estimate,
    rougher,
    roughness,
    sliced_estimate,
    sliced_wasserstein,
    unseen_images,
)


def test_unseen_images_are_those_after_the_small_set(rng):
    many = rng.normal(size=(50, 1, 2, 2))
    np.testing.assert_array_equal(unseen_images(many[:30], many), many[30:])
    for n in (31, 50):
        with pytest.raises(ValueError, match=f"see {n}.*smaller n_train"):
            unseen_images(many[:n], many)
    with pytest.raises(ValueError, match="begin"):
        unseen_images(many[1:20], many)
    for nonsense in (None, many.astype(str), many[:0], many[0, 0, 0]):
        for sets in ((nonsense, many), (many[:9], nonsense)):
            with pytest.raises(ValueError, match="expected an array"):
                unseen_images(*sets)


def test_roughness_is_of_most_neighbours_and_not_of_edges(rng):
    noise = 0.5 * rng.normal(size=(3, 2, 128, 128))
    usual = 0.6745 * np.sqrt(2) * 0.5  # median of |N(0, 2 s^2)|
    np.testing.assert_allclose(roughness(noise), usual, rtol=0.05)
    np.testing.assert_allclose(roughness(3 * noise + 1), 3 * roughness(noise))
    halves = np.where(np.arange(8) < 4, -1.0, 1.0) * np.ones((1, 1, 8, 8))
    assert roughness(halves).tolist() == [0]  # one edge, however high
    for wrong in (noise[0], noise[..., :1]):
        with pytest.raises(ValueError, match="expected"):
            roughness(wrong)


def test_grain_is_rougher_than_real_images_and_a_flat_ground_tells_nothing(rng):
    real = 0.5 * rng.normal(size=(40, 1, 32, 32))
    assert rougher(real, real).value == pytest.approx(1)
    found = rougher(3 * rng.permutation(real)[:20], real)
    assert found.low < 3 < found.high and found.half < 0.2
    flat = np.where(np.arange(40)[:, None, None, None] % 3 == 0, -1.0, real)
    assert np.isnan(rougher(real, flat).numbers).all()


def test_frechet_distance_is_the_closed_form_of_its_moments(rng):
    a = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5)) + rng.normal(size=5)
    b = rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5))
    s, t = np.cov(a.T), np.cov(b.T)
    closed = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(a, b) == pytest.approx(closed, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(closed, rel=1e-9)


def test_frechet_distance_of_gaussians_in_the_limit(rng):
    a, b = 2 * rng.normal(size=(2000, 1)) + 1, 0.5 * rng.normal(size=(2000, 1))
    found = frechet_distance(a, b)
    assert found == pytest.approx(1 + (2 - 0.5) ** 2, rel=0.15)


def test_frechet_distance_is_zero_for_itself_and_for_fewer_images_than_features(rng):
    a = rng.normal(size=(6, 40))
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(9 * 40, rel=1e-9)
    with pytest.raises(ValueError, match="b: expected 40 numbers"):
        frechet_distance(a, a[:, :3])
    with pytest.raises(ValueError, match="2 of each or more, got 6 and 1"):
        frechet_distance(a, a[:1])


def test_frechet_error_is_the_spread_over_fresh_images(rng):
    b = rng.normal(size=(500, 3))
    drawn = [1.5 * rng.normal(size=(200, 3)) + 0.5 for _ in range(200)]
    spread = np.std([frechet_distance(a, b) for a in drawn])
    errors = [frechet_error(a, b) for a in drawn[:20]]
    assert np.mean(errors) == pytest.approx(spread, rel=0.2)
    alike = np.repeat(drawn[0][:1], 40, 0)  # no choice, no error
    assert frechet_error(alike, b) == pytest.approx(0, abs=1e-9)
    for groups in (0, 1, 2.5, 201):
        with pytest.raises(ValueError, match="groups"):
            frechet_error(drawn[0], b, groups=groups)


def test_frechet_estimate_brackets_its_distance(rng):
    a, b = rng.standard_normal((2, 40, 3))
    found = frechet_estimate(a, b)
    assert found.value == frechet_distance(a, b)
    half = stdtrit(19, 0.975) * frechet_error(a, b)
    assert found.high - found.value == pytest.approx(half)
    assert found.low == pytest.approx(max(found.value - half, 0))


def test_the_jackknife_of_a_frechet_distance_needs_three_images(rng):
    a, b = rng.standard_normal((2, 40, 3))
    assert np.isfinite(frechet_estimate(a[:3], b).numbers).all()
    with pytest.raises(ValueError, match="frechet_estimate: needs 3 images in a or more, got 2"):
        frechet_estimate(a[:2], b)


def test_sliced_wasserstein_of_a_shift_and_a_permutation(rng):
    a = rng.normal(size=(50, 1, 2, 2))
    assert sliced_wasserstein(a, a[rng.permutation(50)]) == pytest.approx(0, abs=1e-12)
    shift = np.array([3.0, 0, 0, 0]).reshape(1, 2, 2)
    # a shift moves each projection by <shift, ray>; the mean square over rays is |shift|^2 / d
    assert sliced_wasserstein(a, a + shift, directions=20_000) == pytest.approx(1.5, rel=0.02)
    assert sliced_wasserstein(a, 2 * a, seed=3) == sliced_wasserstein(a, 2 * a, seed=3)
    with pytest.raises(ValueError, match="shapes"):
        sliced_wasserstein(a, a[:5])
    for directions in (0, 2.5, 10**12):
        with pytest.raises(ValueError, match="directions must be"):
            sliced_wasserstein(a, a, directions=directions)


def test_the_interval_of_sliced_wasserstein_is_the_spread_over_fresh_images(rng):
    pairs = [(1.5 * rng.normal(size=(200, 3)) + 0.5, rng.normal(size=(200, 3))) for _ in range(200)]
    found = [sliced_estimate(a, b) for a, b in pairs[:20]]
    assert found[0].value == sliced_wasserstein(*pairs[0])
    with pytest.raises(ValueError, match="groups"):
        sliced_estimate(np.zeros((1, 3)), np.ones((1, 3)))
    half = np.mean([one.high - one.value for one in found])
    assert half == pytest.approx(1.96 * np.std([sliced_wasserstein(*p) for p in pairs]), rel=0.25)


def test_principal_components_keep_the_variance_they_should(rng):
    a = rng.normal(size=(300, 1, 2, 3)) * np.array([5.0, 3, 1, 0.1, 0.1, 0.1]).reshape(1, 2, 3)
    scores = PrincipalComponents.of(a, k=2)(a)
    values = np.sort(np.linalg.eigvalsh(np.cov(a.reshape(300, -1).T)))[::-1]
    np.testing.assert_allclose(np.cov(scores.T), np.diag(values[:2]), atol=1e-9)
    with pytest.raises(ValueError, match="k must be"):
        PrincipalComponents.of(a, k=0)
    with pytest.raises(ValueError, match="images: expected 6 numbers of each image, got 5"):
        PrincipalComponents.of(a)(a.reshape(300, -1)[:, 1:])


def test_classifier_features_are_deterministic_and_the_classifier_works():
    data = load_dataset("digits", n_train=600, n_heldout=200)
    sets = data.train, data.labels.train, data.heldout, data.labels.heldout
    one = ClassifierFeatures.of(*sets, seed=1)
    again = ClassifierFeatures.of(*sets[:3], np.full(200, -1), seed=1)  # labels that are not known
    np.testing.assert_array_equal(one(data.heldout), again(data.heldout))
    assert one(data.heldout).shape == (200, 32) and one(data.heldout).min() >= 0
    assert one.accuracy > 0.85 and np.isnan(again.accuracy)
    with pytest.raises(ValueError, match="two classes"):
        ClassifierFeatures.of(data.train, np.zeros(600, int), data.heldout, data.labels.heldout)
    for labels in (sets[1][1:], sets[1] / 2, [*map(str, sets[1])], None):
        with pytest.raises(ValueError, match="labels: expected a whole number for each of 600"):
            ClassifierFeatures.of(sets[0], labels, *sets[2:])
    with pytest.raises(ValueError, match="heldout: expected 64 numbers"):
        ClassifierFeatures.of(*sets[:2], data.heldout[..., :4], sets[3])
    with pytest.raises(ValueError, match="images: expected 64 numbers"):
        one(data.heldout[..., :4])


def test_fid_without_its_extra_or_weights_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[fid\]'"):
        InceptionFeatures()
    name = "torch_fidelity.feature_extractor_inceptionv3"
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(sys.modules[name], "FeatureExtractorInceptionV3", None, raising=False)
    with pytest.raises(ValueError, match=r"no weights of Inception at .*absent"):
        InceptionFeatures(tmp_path / "absent.pth")
