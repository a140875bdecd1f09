"""Intervals hold the truth as often as they say, by simulation, also where little is seen."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import ksone

from geomem import denoising_error, empirical_denoiser, load_dataset
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.intervals import (
    Change,
    dkw,
    mean_of,
    mean_over,
    over_trainings,
    paired_difference,
    positive_mean,
    student_half,
)


def covered(intervals, truth):
    """The share of (low, high) that hold the truth."""
    low, high = np.array(intervals).T
    return np.mean((low <= truth) & (truth <= high))


def paired(rng, n, up, down):
    """n paired samples, of which shares ``up`` and ``down`` become and cease to be memorized."""
    kind = rng.choice(4, size=n, p=[up, down, (1 - up - down) / 2, (1 - up - down) / 2])
    return (kind == 1) | (kind == 2), (kind == 0) | (kind == 2)


@pytest.mark.parametrize("n", [20, 256])
@pytest.mark.parametrize(
    ("up", "down"), [(0, 0), (0, 1), (0, 3), (0, 6), (1, 1), (3, 1), (10, 4), (0, 18)]
)
def test_a_paired_change_is_held_also_where_few_samples_change(n, up, down, rng):
    trials = [paired_difference(*paired(rng, n, up / n, down / n)) for _ in range(1000)]
    assert covered([(t.low, t.high) for t in trials], (up - down) / n) > 0.925
    assert all(t.low <= t.value <= t.high and t.low < t.high for t in trials)


def test_a_paired_change_forgets_neither_sign_nor_order(rng):
    base, other = paired(rng, 50, 0.3, 0.1)
    one, back = paired_difference(base, other), paired_difference(other, base)
    assert one.value == pytest.approx(other.mean() - base.mean())
    assert one.numbers == pytest.approx((-back.value, -back.high, -back.low))
    assert abs(one.half - 1.96 * (other * 1.0 - base).std() / np.sqrt(50)) < 0.01  # Wald's, near
    for wrong in ((base[:0], other[:0]), (base, other[1:])):
        with pytest.raises(ValueError, match="paired"):
            paired_difference(*wrong)


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.0, 0.2, 0.9])
@pytest.mark.parametrize("share", [0.0, 0.004, 0.3])
def test_the_interval_over_trainings_holds_with_and_without_a_spread_between_them(
    n, spread, share, rng
):
    def training():
        return paired_difference(*paired(rng, 256, 0, share * (1 + spread * rng.uniform(-1, 1))))

    trials = [over_trainings([training() for _ in range(n)]) for _ in range(400)]
    assert (
        covered([(t.low, t.high) for t in trials], -share) > 0.9
    )  # Student's of a uniform law: .92


def test_equal_trainings_leave_the_width_of_their_samples():
    one = Change(-1.0, -1.0, -0.98)
    assert over_trainings([one] * 4).numbers == pytest.approx((-1, -1, -1 + 0.02 / 2))
    far = over_trainings([Change(0.0, -0.01, 0.01), Change(1.0, 0.99, 1.0)])  # Student's, cut
    assert far.numbers == (0.5, -1, 1)


@pytest.mark.parametrize("tau", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shared", [False, True])
def test_a_mean_over_trainings_holds_what_other_images_would_change(shared, tau, rng):
    """Of trainings that are judged on the same images their own spread alone says too little."""

    def found(n=3, images=40):
        own, same = rng.normal(0, 1, (n, images)), rng.normal(0, 1, images)
        each = (same if shared else 0) + (0.1 if shared else 1) * own + rng.normal(0, tau, (n, 1))
        return mean_over([mean_of(one) for one in each], shared=shared).numbers[1:]

    assert covered([found() for _ in range(1000)], 0) > 0.93


def test_the_interval_of_a_mean_is_students(rng):
    found = mean_of([0.0, 1.0])  # one degree of freedom: a Cauchy law, tan(0.475 pi)
    half = 0.5 * np.tan(0.475 * np.pi)
    assert found.numbers == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    trials = [mean_of(rng.normal(0.3, 2, size=3)).numbers[1:] for _ in range(2000)]
    assert covered(trials, 0.3) == pytest.approx(0.95, abs=0.015)
    for wrong in ([0.1], [], [[0.1, 0.2]]):
        with pytest.raises(ValueError, match="n >= 2"):
            mean_of(wrong)


LAWS: dict[str, tuple[Callable[..., Any], float]] = {  # each with its mean
    "64 pixels": (lambda rng, size: rng.chisquare(64, size), 64),
    "2 pixels": (lambda rng, size: rng.chisquare(2, size), 2),
    "1 pixel": (lambda rng, size: rng.chisquare(1, size), 1),
    "lognormal 1": (lambda rng, size: rng.lognormal(0, 1, size), np.exp(0.5)),
    "lognormal 1.5": (lambda rng, size: rng.lognormal(0, 1.5, size), np.exp(1.125)),
}


@pytest.mark.parametrize("n", [5, 20, 100, 500])
@pytest.mark.parametrize("law", LAWS)
def test_a_mean_error_is_held_at_its_level_for_few_images_and_heavy_tails(n, law, rng):
    drawn, mean = LAWS[law]
    curve = ErrorCurve.from_queries(np.arange(1.0, 4001), drawn(rng, (n, 4000)))  # level: a trial
    assert covered(np.array([curve.low, curve.high]).T, mean) == pytest.approx(0.95, abs=0.03)
    assert (curve.low > 0).all() and (curve.low < curve.mean).all()
    assert (curve.mean < curve.high).all() and np.isfinite(curve.high).all()


def test_an_interval_of_many_errors_is_not_wider_than_chance():
    """Student's own is right for 500 values of a light tail: at most a tenth more above it."""
    rng = np.random.default_rng(0)
    for drawn, _ in (LAWS["64 pixels"], LAWS["2 pixels"], LAWS["1 pixel"]):
        values = drawn(rng, (500, 400))
        mean, _, high = positive_mean(values)
        wider = (high - mean) / student_half(values)
        assert np.median(wider) < 1.15 and wider.max() < 1.5


@pytest.mark.parametrize("n", [5, 20, 100])
def test_the_error_of_a_denoiser_on_real_images_is_held_at_its_level(n, rng):
    digits = load_dataset("digits")
    images = rng.permutation(np.concatenate([digits.train, digits.heldout]))
    train, new = torch.from_numpy(images[:297]), images[297:]

    def copier(x, sigma):
        return empirical_denoiser(x, train, sigma)

    everybody = denoising_error(copier, new, [0.03, 0.3, 1.0, 3.0]).per_query
    for errors in everybody.T:
        curve = ErrorCurve.from_queries(np.arange(1.0, 4001), rng.choice(errors, (n, 4000)))
        held = covered(np.array([curve.low, curve.high]).T, errors.mean())
        assert held == pytest.approx(0.95, abs=0.025)


def test_errors_without_spread_or_of_one_image_have_no_width_or_none():
    same = ErrorCurve.from_queries(np.array([1.0, 2.0]), np.array([[0.0, 3.0]] * 4))
    assert same.low.tolist() == same.mean.tolist() == same.high.tolist() == [0, 3]
    one = ErrorCurve.from_queries(np.array([1.0]), np.array([[3.0]]))
    assert np.isnan(one.low).all() and np.isnan(one.high).all()


@pytest.mark.parametrize("alpha", [0.5, 0.25, 0.05, 1e-3])
def test_a_distribution_function_exceeds_the_truth_by_so_much_as_rarely_as_it_says(alpha):
    """Against the exact law of the one-sided statistic (Smirnov); sharp for many draws."""
    exact = np.array([ksone.sf(dkw(n, alpha), n) for n in (1, 2, 3, 10, 100, 1000)])
    assert np.all(exact <= alpha) and exact[-1] > 0.93 * alpha
    for wrong in ((10, 0.0), (10, 0.51), (0, 0.1)):
        with pytest.raises(ValueError, match="dkw"):
            dkw(*wrong)
