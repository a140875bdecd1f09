"""The ratio test, its rates and the denoising error, against slow loops and closed forms."""

import numpy as np
import pytest
import torch
from scipy.special import stdtrit
from scipy.stats import binom, binomtest

import geomem
from geomem.geometry.intervals import Fraction
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.paper_rates import PaperRates, Subsets
from geomem.memorization.ratio_test import (
    RateCurve,
    denoising_error,
    fraction_below,
    memorization_rates,
    memorized_fraction,
    neighbours,
)
from geomem.memorization.samples import Samples
from geomem.memorization.thresholds import Thresholds


def loop(images, train):
    """The ratio test as written: one image, one distinct training image at a time."""
    rows = []
    for image in images:
        best = {}  # the distinct training images, by value -> (distance, first index)
        for i, x in enumerate(train):
            best.setdefault(tuple(x.ravel()), (np.sqrt(((image - x) ** 2).sum()), i))
        (first, index), (second, _) = sorted(best.values())[:2]
        rows.append((first, second, index, first < second / 3))
    return map(np.array, zip(*rows, strict=True))


@pytest.fixture
def copies(rng):
    """30 training images with duplicates, and 40 others: copies, near copies, unrelated."""
    train = rng.normal(size=(30, 1, 3, 3))
    train[[7, 20, 29]] = train[3]
    train[11] = train[10]
    images = train[rng.integers(0, 30, 40)]
    images += rng.choice([0.0, 0.05, 0.3, 1.0], (40, 1, 1, 1)) * rng.normal(size=images.shape)
    return images, train


def test_the_test_agrees_with_a_loop(copies):
    images, train = copies
    first, second, index, memorized = loop(images, train)
    found = neighbours(images, train)
    np.testing.assert_allclose(found.first, first, rtol=1e-12)
    np.testing.assert_allclose(found.second, second, rtol=1e-12)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.memorized(), memorized)
    assert 0 < memorized.sum() < 40
    assert memorized_fraction(images, train).count == memorized.sum()
    assert neighbours(images, train).fraction == memorized_fraction(images, train)
    tensor = neighbours(torch.from_numpy(images), torch.from_numpy(train))
    np.testing.assert_array_equal(tensor.ratio, found.ratio)


@pytest.mark.parametrize("unit", [1.0, 0.1, 3.7e-3, 1e6])
def test_a_third_exactly_is_not_memorized(unit):
    train = np.array([[-unit, 0.0], [unit, 2 * unit], [3 * unit, 0.0]])
    at = neighbours([[0.0, 0.0]], train[[0, 2]])
    assert at.ratio[0] == 1 / 3 and not at.memorized()[0]
    assert neighbours([[-1e-9 * unit, 0.0]], train[[0, 2]]).memorized()[0]
    assert not neighbours([[0.0, 0.0]], train).memorized()[0]


def test_a_duplicate_does_not_hide_a_copy(rng):
    train = rng.normal(size=(20, 5)).astype(np.float32)
    train[[4, 9]] = train[17]
    train[0, 0], train[1] = 0.0, train[0]
    train[1, 0] = -0.0
    distinct = DistinctImages(train)
    np.testing.assert_array_equal(distinct.index, np.delete(np.arange(20), [1, 9, 17]))
    found = neighbours(train, distinct)
    assert memorized_fraction(train, train).value == 1 and np.all(found.ratio == 0)
    assert found.index[[4, 9, 17]].tolist() == [4, 4, 4]
    plain = geomem.nearest_distances(train[17:18], train, 2)[0]
    assert plain.tolist() == [0, 0], "which would have hidden it"
    once = np.delete(train, [1, 9, 17], axis=0)
    images = train + 0.2 * rng.normal(size=train.shape)
    np.testing.assert_array_equal(neighbours(images, once).ratio, neighbours(images, train).ratio)


@pytest.mark.parametrize("n", [1, 3])
def test_fewer_than_two_distinct_training_images(n):
    with pytest.raises(ValueError, match="at least 2 distinct"):
        memorized_fraction(np.zeros((4, 2)), np.ones((n, 2)))


def test_order_of_the_training_set_scale_and_shift(copies, rng):
    images, train = copies
    found, order = neighbours(images, train), rng.permutation(30)
    shuffled = neighbours(images, train[order])
    np.testing.assert_array_equal(shuffled.ratio, found.ratio)
    np.testing.assert_array_equal(train[order][shuffled.index], train[found.index])
    for moved in (neighbours(8 * images, 8 * train), neighbours(images + 16, train + 16)):
        np.testing.assert_allclose(moved.ratio, found.ratio, rtol=1e-9, atol=1e-13)
        np.testing.assert_array_equal(moved.index, found.index)


def test_a_threshold_is_a_point_of_the_distribution_of_ratios(copies):
    ratio = neighbours(*copies).ratio
    counts = [fraction_below(ratio, t).count for t in (0.01, 1 / 3, 0.5, 1.0)]
    assert counts == [(ratio < t).sum() for t in (0.01, 1 / 3, 0.5, 1.0)]
    assert fraction_below([0.2, 0.5, 1.0], 0.5).count == 1


@pytest.mark.parametrize("n", [5, 40])
@pytest.mark.parametrize("p", [0.001, 0.02, 0.3, 0.5, 0.97])
def test_the_interval_of_a_fraction_covers(n, p):
    """Summed over every count: at least 95%, always."""
    counts = np.arange(n + 1)
    holds = [f.low <= p <= f.high for f in (Fraction.of(int(k), n) for k in counts)]
    assert binom.pmf(counts, n, p) @ holds >= 0.95


def test_the_interval_of_a_fraction_is_scipys():
    for count, n in ((0, 7), (3, 7), (7, 7), (251, 256), (1, 1)):
        known = binomtest(count, n).proportion_ci(0.95, method="exact")
        found = Fraction.of(count, n)
        assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-12)
    for count, n in ((5, 3), (-1, 3), (0, 0)):
        with pytest.raises(ValueError, match="fraction: needs"):
            Fraction.of(count, n)


def test_the_interval_of_none_and_all():
    none, every = Fraction.of(0, 50), Fraction.of(50, 50)
    edge = 0.025 ** (1 / 50)
    assert (none.value, none.low, every.value, every.high) == (0, 0, 1, 1)
    assert none.high == pytest.approx(1 - edge) and every.low == pytest.approx(edge)


def test_the_error_of_returning_the_input_is_that_of_the_noise(rng):
    images, sigmas = rng.uniform(-1, 1, (9, 1, 4, 4)).astype(np.float32), [0.002, 0.5, 80.0]
    curve = denoising_error(lambda x, sigma: x, images, sigmas, draws=3, seed=4)
    norms = [np.random.default_rng([4, k]).standard_normal((9, 16)) for k in range(3)]
    expected = np.square(norms).sum(2).mean(0)
    for s, sigma in enumerate(sigmas):
        np.testing.assert_allclose(curve.per_query[:, s], sigma**2 * expected, rtol=1e-3)
    np.testing.assert_allclose(curve.mean, np.square(sigmas) * expected.mean(), rtol=1e-3)


def test_the_error_of_a_constant_is_the_spread_of_the_images(rng):
    images = rng.uniform(-1, 1, (9, 1, 4, 4))
    curve = denoising_error(lambda x, sigma: torch.full_like(x, 0.25), images, [0.1, 10.0])
    spread = ((images - 0.25) ** 2).reshape(9, -1).sum(1)
    np.testing.assert_allclose(curve.per_query, np.stack([spread, spread], 1))
    half = stdtrit(8, 0.975) * spread.std(ddof=1) / 3 / spread.mean()  # of the logarithm
    np.testing.assert_allclose(curve.low, spread.mean() * np.exp(-half))
    assert (curve.high >= spread.mean() * np.exp(half) - 1e-12).all()
    one = denoising_error(lambda x, sigma: x, images[:1], [1.0])
    assert one.n == 1 and np.isnan([one.low[0], one.high[0]]).all()


def test_the_gaussian_denoiser_has_the_least_affine_error(rng):
    train = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6))
    sigmas = np.array([0.05, 0.7, 5.0, 50.0])
    curve = denoising_error(
        lambda x, sigma: geomem.gaussian_denoiser(x, train, sigma), train, sigmas, draws=8
    )
    noise = (curve.high - curve.mean) / 1.96
    assert np.all(np.abs(curve.mean - geomem.linear_mmse(train, sigmas)) <= 3 * noise)


@pytest.fixture
def empirical(rng):
    """20 training images, 30 held-out ones, and the denoiser that memorizes."""
    train, heldout = (rng.uniform(-1, 1, (n, 1, 4, 4)).astype(np.float32) for n in (20, 30))
    return lambda x, sigma: geomem.empirical_denoiser(x, train, sigma), heldout, train


def test_the_empirical_denoiser_memorizes_at_small_noise_only(empirical):
    denoise, heldout, train = empirical
    curve = memorization_rates(denoise, heldout, train, [0.002, 0.02, 100.0], draws=2)
    assert curve.mean.tolist() == [1, 1, 0]
    assert curve.low[0] > 0.8 and curve.high[2] < 0.2
    error = denoising_error(denoise, train, [0.002, 0.02], draws=2)
    assert np.all(error.mean < 1e-12) and np.all(denoising_error(denoise, heldout, [0.02]).low > 1)


def test_the_rates_are_the_test_on_what_the_denoiser_gives(empirical):
    denoise, heldout, train = empirical
    sigmas = np.array([0.3, 0.9, 2.0])
    curve = memorization_rates(denoise, heldout, train, sigmas, draws=2, seed=7)
    for k in range(2):
        z = np.random.default_rng([7, k]).standard_normal((30, 16)).reshape(heldout.shape)
        for s, sigma in enumerate(sigmas):
            noisy = (heldout + sigma * z).astype(np.float32)
            expected = neighbours(geomem.empirical_denoiser(noisy, train, sigma), train).ratio
            np.testing.assert_allclose(curve.ratios[k, :, s], expected, rtol=1e-5, atol=1e-7)
    for threshold in (1 / 3, 0.6):
        at = curve.at(threshold)
        np.testing.assert_allclose(at.mean, (curve.ratios < threshold).mean((0, 1)))
        assert np.all((at.low <= at.mean) & (at.mean <= at.high)) and at.threshold == threshold
    assert np.all(curve.at(0.6).mean >= curve.mean) and 0 < curve.mean[1] < 1
    looser = memorization_rates(denoise, heldout, train, sigmas, draws=2, seed=7, threshold=0.6)
    np.testing.assert_array_equal(looser.mean, curve.at(0.6).mean)


def test_batches_and_a_prepared_training_set_change_nothing(empirical, monkeypatch):
    denoise, heldout, train = empirical
    seen = []

    def watched(x, sigma):
        seen.append((len(x), x.dtype, x.requires_grad or torch.is_grad_enabled()))
        return denoise(x, sigma)

    whole = memorization_rates(denoise, heldout, train, [0.5, 1.0], draws=2)
    error = denoising_error(denoise, heldout, [0.5, 1.0], draws=2)
    monkeypatch.setattr("geomem.memorization.ratio_test.QUERY_ROWS", 13)
    distinct = DistinctImages(train)
    parts = memorization_rates(watched, heldout, distinct, [0.5, 1.0], draws=2, batch=4)
    np.testing.assert_allclose(parts.ratios, whole.ratios, rtol=1e-5)
    again = denoising_error(denoise, torch.from_numpy(heldout), [0.5, 1.0], draws=2, batch=7)
    np.testing.assert_allclose(again.per_query, error.per_query, rtol=1e-5)
    assert set(seen) == {(n, torch.float32, False) for n in (4, 1)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: memorized_fraction(np.full((1, 2), np.nan), x), "NaN"),
        (lambda x: memorized_fraction(x, np.array([[0.0, 0.0], [np.inf, 0.0]])), "NaN"),
        (lambda x: memorized_fraction(np.zeros((1, 3)), x), "one size"),
        (lambda x: memorized_fraction(np.empty((0, 2)), x), "N >= 1"),
        (lambda x: memorized_fraction(x, x, 0.0), "threshold"),
        (lambda x: memorized_fraction(x, x, 2.0), "threshold"),
        (lambda x: fraction_below([0.5, np.nan]), "ratios"),
        (lambda x: fraction_below([]), "ratios"),
        (lambda x: memorization_rates(lambda y, s: y / 0, x, x, [1.0]), "infinite.* sigma = 1 "),
        (lambda x: denoising_error(lambda y, s: y[:, :1], x, [1.0]), "shape"),
        (lambda x: denoising_error(lambda y, s: y, x, [1.0], draws=0), "draws"),
        (lambda x: denoising_error(lambda y, s: y, x, [1.0], batch=0), "batch"),
        (lambda x: denoising_error(lambda y, s: y, x, [0.0]), "positive"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(np.array([[0.0, 1.0], [1.0, 2.0]]))
    assert "\n" not in str(caught.value)


@pytest.mark.long
def test_cifar10_reproduces_the_papers_empirical_curve(cifar10):
    """Fig. 2, EMP-1K: .028 .140 .498 .779 .910 .972 at these levels, on the first 1,000 images."""
    images = geomem.load_dataset("cifar10", n_train=1000, n_heldout=1000, root=cifar10)
    sigmas = geomem.karras_sigmas()[6:12]
    curve = memorization_rates(
        lambda x, sigma: geomem.empirical_denoiser(x, images.train, sigma),
        images.heldout,
        images.train,
        sigmas,
    )
    paper = [0.028, 0.140, 0.498, 0.779, 0.910, 0.972]
    np.testing.assert_allclose(curve.mean, paper, atol=0.04)
    assert memorized_fraction(images.heldout, images.train).value < 0.005


def test_the_centre_of_the_papers_hump_lies_where_the_paper_has_it():
    paper = PaperRates.load()
    assert paper.centre == pytest.approx(2.42, abs=0.01)  # of straight lines between the marks
    assert paper.rates["empirical"][paper.sigma < 0.3].min() > 0.95


def test_marks_are_held_by_the_bands_of_all_sets_together():
    sigma = np.array([0.1, 1.0])
    rates = [RateCurve.from_ratios(sigma, np.full((1, 50, 2), ratio)) for ratio in (0.1, 0.9)]
    found = Subsets((), tuple(rates))  # of one set all pass, of the other none
    assert found.held(np.array([0.5, 1.0])).all() and found.apart(np.array([0.2, 0.5])) == [
        0.8,
        0.5,
    ]
    none = Subsets((), (rates[1],))
    high = rates[1].high[0]
    assert none.held(np.array([high + 0.004, high + 0.006])).tolist() == [True, False]


def test_more_images_pass_a_larger_threshold():
    ratios = np.array([[[0.2], [0.4], [0.6], [0.95]]])
    rate = RateCurve.from_ratios(np.array([1.0]), ratios)
    found = Thresholds.of({"small model": rate}, 0, {"clean images": ratios[0, :, 0]})
    assert found.named["third"]["small model"].startswith("25%")
    assert found.in_words["half_clean"].startswith("50%")
    for share in found.shares.values():
        assert np.all(np.diff([one.value for one in share]) >= 0)


def test_samples_of_a_denoiser_that_answers_one_training_image_are_its_copies(rng):
    train = rng.uniform(-1, 1, (5, 1, 2, 2)).astype(np.float32)
    image = torch.from_numpy(train[3])
    found = Samples.of(lambda x, sigma: 0 * x + image, DistinctImages(train, "cpu"), 3)
    assert found.passed.all() and found.copies.count == 3 and set(found.near.index) == {3}
