"""The hump: centre and areas of shapes whose integrals are known."""

import numpy as np
import pytest

from geomem.geometry.curve import Curve
from geomem.geometry.window import Window
from geomem.memorization.hump import Hump


def rate(sigma, shape, n=4000, rng=None):
    """A rate curve over n images; exact where no generator is given."""
    rows = np.tile(shape, (n, 1)) if rng is None else rng.random((n, len(sigma))) < shape
    return Curve.from_queries(sigma, rows.astype(float), indicator=True)


SIGMA = np.exp(np.array([-4.0, -3.0, -2.0, 0.0, 3.0]))  # uneven on purpose
TRIANGLE = np.array([0.0, 0.0, 0.5, 0.0, 0.0])  # from log sigma -3 over -2 to 0


def test_centre_and_areas_of_a_triangle():
    hump = Hump.of(rate(SIGMA, TRIANGLE))
    # The centroid of a triangle with corners at -3, -2 and 0 is their mean.
    assert np.log(hump.centre.value) == pytest.approx(-5 / 3)
    assert hump.share(Window(0.0, np.inf)).value == pytest.approx(1)
    assert hump.share(Window(np.exp(-3), np.exp(-2))).value == pytest.approx(1 / 3)
    # Of the falling side, 2 long, the last half holds a quarter of its area.
    assert hump.share(Window(np.exp(-1), 50.0)).value == pytest.approx(1 / 6)
    assert hump.share(Window(2.0, 9.0)).value == 0 and hump.share(Window(1.0, 1.0)).value == 0
    shares = hump.shares(Window(np.exp(-3), np.exp(-2)))
    assert [shares[k].value for k in ("below", "inside", "above")] == pytest.approx(
        [0, 1 / 3, 2 / 3]
    )
    assert hump.peak == 2
    assert np.log([end.value for end in hump.half]) == pytest.approx([-2.5, -1])


@pytest.mark.parametrize("counts, ends", [
    ([0, 1, 1, 2, 0], (2.0, np.sqrt(20))),
    ([0, 2, 1, 1, 0], (np.sqrt(2), 4.0)),
    ([0, 0, 2, 0, 0], (np.sqrt(6), np.sqrt(12))),
])  # fmt: skip
def test_a_level_at_exactly_half_of_the_peak_reaches_it(counts, ends):
    rows = np.arange(20)[:, None] < np.array(counts)
    hump = Hump.of(rate(np.arange(1.0, 6.0), rows.mean(0), n=20))
    assert [end.value for end in hump.half] == pytest.approx(ends)
    thirds = Hump.of(rate(np.arange(1.0, 6.0), np.array(counts) / 3 * 0.1, n=20))
    assert [end.value for end in thirds.half] == pytest.approx(ends), "however it is rounded"


def test_scaling_the_levels_moves_the_centre_and_nothing_else(rng):
    shape = np.array([0.01, 0.2, 0.4, 0.1, 0.02])
    curve = rate(SIGMA, shape, 300, rng)
    moved = Curve(
        7 * SIGMA, *(getattr(curve, k) for k in ("mean", "low", "high", "n", "per_query"))
    )
    one, other = Hump.of(curve), Hump.of(moved)
    assert other.centre.value == pytest.approx(7 * one.centre.value)
    assert other.centre.low == pytest.approx(7 * one.centre.low)
    shares = [h.share(Window(k * 0.1, k * 0.9)) for h, k in ((one, 1), (other, 7))]
    assert shares[0].value == pytest.approx(shares[1].value)


def test_the_intervals_hold_the_truth_nineteen_times_in_twenty(rng):
    window = Window(np.exp(-2.5), np.exp(-0.5))
    found = [Hump.of(rate(SIGMA, TRIANGLE + 0.01, 200, rng), resamples=300) for _ in range(300)]
    truth = Hump.of(rate(SIGMA, TRIANGLE + 0.01))
    centre, share = truth.centre.value, truth.share(window).value
    holds = [h.centre.low <= centre <= h.centre.high for h in found]
    assert np.mean(holds) == pytest.approx(0.95, abs=0.04)
    shares = [h.share(window) for h in found]
    assert np.mean([s.low <= share <= s.high for s in shares]) == pytest.approx(0.95, abs=0.04)


def test_the_place_is_decided_by_the_interval(rng):
    hump = Hump.of(rate(SIGMA, TRIANGLE + 0.02, 400, rng))
    low, middle, high = hump.centre.low, hump.centre.value, hump.centre.high
    assert hump.place(Window(0.5 * low, 2 * high)) == "inside it"
    assert hump.place(Window(2 * middle, 3 * middle)) == "below it, by a factor of 2"
    assert hump.place(Window(0.2 * middle, 0.5 * middle)) == "above it, by a factor of 2"
    assert "edge" in hump.place(Window((low + middle) / 2, 2 * high))


def test_without_a_copy_there_is_no_hump():
    hump = Hump.of(rate(SIGMA, 0 * TRIANGLE))
    assert np.isnan(hump.centre.value) and np.isnan(hump.share(Window(0.1, 1)).value)
    assert "no hump" in hump.place(Window(0.1, 1)) and str(hump.centre) == "none"


@pytest.mark.parametrize("sigma", [SIGMA[::-1], SIGMA[:1]])
def test_unordered_or_single_levels_are_refused(sigma):
    with pytest.raises(ValueError, match="ascending"):
        Hump.of(rate(sigma, np.zeros(len(sigma))))


def test_a_single_copy_is_a_hump_of_an_unknown_place():
    rows = np.zeros((100, 5))
    rows[0, 2] = 1
    hump = Hump.of(Curve.from_queries(SIGMA, rows, indicator=True))
    assert hump.place(Window(0.1, 1)) == "not known: there are too few copies"
    assert np.isfinite(hump.centre.value) and np.isnan(hump.centre.low)


def test_a_few_copies_are_still_too_few_for_an_interval():
    """Two images that copy are not drawn in an eighth of the resamples, which have no hump."""
    rows = np.zeros((100, 5))
    rows[[3, 70], [1, 2]] = 1
    hump = Hump.of(Curve.from_queries(SIGMA, rows, indicator=True))
    assert not hump.resampled.any(1).all() and np.isnan(hump.centre.low)
    assert all(np.isnan(end.low) for end in hump.half)
