"""Intervals that cover, the noise grid, and the rule for the regimes."""

import numpy as np
import pytest

import geomem
from geomem import digitized
from geomem.geometry.crossings import Crossings
from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Estimate, wilson
from geomem.geometry.regimes import Geometry, Regimes, find_crossing, measure_regimes
from geomem.geometry.scale import scale_table, zone_scale


def test_grid_is_the_papers_table_2():
    table = [
        80,
        57.585985,
        40.785574,
        28.374585,
        19.352453,
        12.910082,
        8.400935,
        5.315195,
        3.256822,
        1.923340,
        1.088171,
        0.585348,
        0.296442,
        0.139516,
        0.059947,
        0.022935,
        0.007528,
        0.002,
    ]
    np.testing.assert_allclose(geomem.karras_sigmas(), table, atol=5e-7)
    assert geomem.karras_sigmas(1).tolist() == [80.0]
    with pytest.raises(ValueError, match="sigma_min"):
        geomem.karras_sigmas(5, 2.0, 1.0)
    for n in (0, 2.5, 10**12):
        with pytest.raises(ValueError, match="n must be"):
            geomem.karras_sigmas(n)


def test_wilson_matches_the_textbook_value():
    low, high = wilson(np.array([0.2]), np.array([50.0]))
    assert (low[0], high[0]) == pytest.approx((0.1124375, 0.3303711), abs=1e-6)


@pytest.mark.parametrize("mean", [0.0, 0.02, 0.5, 0.98, 1.0])
def test_interval_covers_the_truth(mean, rng):
    """Beta-distributed queries, binomial draws: the interval holds the mean 95 times in 100."""
    n, draws, hits, trials = 150, 4, 0, 400
    for _ in range(trials):
        p = rng.beta(3 * mean, 3 * (1 - mean), n) if 0 < mean < 1 else np.full(n, mean)
        per_query = rng.binomial(draws, p)[:, None] / draws
        curve = Curve.from_queries(np.ones(1), per_query, indicator=True)
        assert 0 <= curve.low[0] <= curve.mean[0] <= curve.high[0] <= 1
        hits += curve.low[0] <= mean <= curve.high[0]
    assert hits / trials >= 0.92


def test_interval_never_collapses_and_grows_smoothly_near_one():
    none = Curve.from_queries(np.ones(1), np.ones((100, 1)), indicator=False)
    tiny = Curve.from_queries(np.ones(1), 1 - 1e-9 * np.arange(100)[:, None], indicator=False)
    assert none.low[0] == pytest.approx(tiny.low[0], abs=1e-3) and none.low[0] < 0.98


def ramp(sigma, low, high, n, rng):
    """Per-query means that rise linearly in log sigma from 0 at ``low`` to 1 at ``high``."""
    p = np.clip(np.log(sigma / low) / np.log(high / low), 0, 1)
    return Curve.from_queries(
        sigma, np.clip(p + 0.05 * rng.normal(size=(n, 1)), 0, 1), indicator=True
    )


def test_values_between_levels():
    slope = Curve.from_table(np.array([0.1, 1.0, 10.0]), np.array([1.0, 0.5, 0.0]))
    assert slope.between(np.sqrt(10.0)) == pytest.approx(0.25) and slope.peak == 0
    assert np.isnan(slope.between(np.nan))
    assert slope.between(0.1) == 1.0 and slope.between(10.0) == 0.0, "its ends are of its grid"
    assert np.isnan([slope.between(0.09), slope.between(11.0)]).all()
    down = Curve.from_table(slope.sigma[::-1], slope.mean[::-1])
    assert down.between(np.sqrt(10.0)) == pytest.approx(0.25)


def test_the_interval_between_levels_is_between_theirs(rng):
    curve = ramp(np.array([1.0, 4.0]), 0.5, 10.0, 30, rng)
    found = curve.interpolated(2.0)
    assert found.numbers == pytest.approx([(a + b) / 2 for a, b in zip(
        curve.estimate(0).numbers, curve.estimate(1).numbers, strict=True)])  # fmt: skip


def test_regimes_of_known_ramps(rng):
    sigma = np.geomspace(0.01, 100, 81)
    coverage = ramp(sigma, 0.1, 1.0, 400, rng)
    falling = ramp(sigma, 1.0, 10.0, 400, rng)
    weight = Curve.from_queries(sigma, 1 - falling.per_query, indicator=True)
    found = geomem.find_regimes(coverage, weight, 0.5)
    assert found.covered.value == pytest.approx(10**-0.5, rel=0.03)
    assert found.concentrated.value == pytest.approx(10**0.5, rel=0.03)
    for edge in (found.covered, found.concentrated, found.crossing):
        assert edge.low <= edge.value <= edge.high
    assert found.small[1] == found.medium[0] < found.medium[1] == found.large[0]
    shuffled = rng.permutation(81)
    again = geomem.find_regimes(
        *(
            Curve.from_queries(sigma[shuffled], c.per_query[:, shuffled], indicator=True)
            for c in (coverage, weight)
        ),
        0.5,
    )
    assert again.covered.value == pytest.approx(found.covered.value)


@pytest.mark.parametrize("late", [0.95, 0.9001, 0.8999, 0.87])
def test_each_edge_is_where_its_own_curve_passes_however_narrow_the_zone(late):
    """Between two levels the lower of both curves may be one, then the other."""
    sigma = np.array([0.4, 0.5, 0.6, 0.7])
    covered, concentrated = np.array([0.7, 0.88, 0.96, 0.97]), np.array([0.99, 0.95, late, 0.6])
    curves = [Curve.from_table(sigma, values) for values in (covered, concentrated)]
    found = geomem.find_regimes(*curves, 0.9)
    assert found.covered.value == pytest.approx(np.exp(np.interp(0.9, covered, np.log(sigma))))
    falls = np.interp(-0.9, -concentrated, np.log(sigma))
    assert found.concentrated.value == pytest.approx(np.exp(falls))


def test_one_query_of_many_says_nothing_of_the_others(rng):
    values = 0.3 + 0.1 * rng.normal(size=(1, 4, 3))
    found = Curve.from_draws(np.arange(1.0, 4.0), values, 1e-3)
    assert np.all(found.high - found.low > 0.5)
    whole = Curve.from_draws(np.arange(1.0, 4.0), values, 1.0)
    assert np.all(whole.high - whole.low < 0.5)


def test_no_danger_zone_when_coverage_comes_too_late(rng):
    sigma = np.geomspace(0.01, 100, 81)
    weight = Curve.from_queries(sigma, 1 - ramp(sigma, 0.1, 1.0, 50, rng).per_query, indicator=True)
    found = geomem.find_regimes(ramp(sigma, 2.0, 20.0, 50, rng), weight, 0.5)
    assert found.medium is None and found.small[1] < found.large[0]


def test_the_rule_on_the_papers_own_celeba_curves():
    """Figure 5 names the zone [0.55, 1.3] and the intersection 0.85."""
    table = digitized.load("fig5_celeba_curves")
    curves = [Curve.from_table(table["sigma"], table[k]) for k in ("coverage", "max_weight")]
    found = geomem.find_regimes(*curves)
    assert found.covered.value == pytest.approx(0.55, abs=0.01)
    assert found.concentrated.value == pytest.approx(1.3, abs=0.1)
    assert found.crossing.value == pytest.approx(0.85, abs=0.02)


def test_regimes_errors_say_what_to_do(rng):
    sigma = np.geomspace(0.01, 100, 21)
    curve = ramp(sigma, 0.1, 1.0, 20, rng)
    with pytest.raises(ValueError, match="widen the grid"):
        geomem.find_regimes(curve, curve)
    with pytest.raises(ValueError, match="share one grid"):
        geomem.find_regimes(curve, ramp(2 * sigma, 0.1, 1.0, 20, rng))
    with pytest.raises(ValueError, match="strictly between"):
        geomem.find_regimes(curve, curve, 1.0)


def table(sigma, c, w):
    return Curve.from_table(sigma, np.array(c)), Curve.from_table(sigma, np.array(w))


def test_a_humped_coverage_has_a_zone():
    """With a small c coverage rises above the level and settles below it."""
    sigma = np.geomspace(0.1, 10, 7)
    found = geomem.find_regimes(
        *table(sigma, [0, 0.2, 0.9, 0.85, 0.7, 0.69, 0.69], [1, 1, 1, 0.95, 0.3, 0.1, 0.01]), 0.8
    )
    assert sigma[1] < found.covered.value < sigma[2] and found.concentrated.value > sigma[3]


def test_a_dip_does_not_move_the_far_edge():
    sigma = np.geomspace(0.1, 10, 7)
    w = [1, 0.5, 1, 1, 0.3, 0.1, 0.01]
    found = geomem.find_regimes(*table(sigma, [0, 0.9, 0.95, 1, 1, 1, 1], w), 0.8)
    assert sigma[1] < found.covered.value < sigma[2], "both at least the level, all the way"
    assert sigma[3] < found.concentrated.value < sigma[4]


def test_no_interval_where_too_many_resamples_lack_the_edge(rng):
    sigma = np.geomspace(0.1, 10, 7)
    flat = np.clip(0.8 * np.ones(7) + 0.001 + 0.3 * rng.normal(size=(40, 1)), 0, 1)
    flat[:, :3] = 0
    weight = Curve.from_queries(sigma, np.tile([1, 1, 1, 1, 1, 0.2, 0.1], (40, 1)), indicator=False)
    coverage = Curve.from_queries(sigma, flat - flat[:, -1:].mean() + 0.801, indicator=False)
    coverage.mean[:3] = 0
    found = geomem.find_regimes(coverage, weight, 0.8)
    assert np.isfinite(found.covered.value) and np.isnan(found.covered.low)


def test_the_crossing_alone_needs_no_level():
    sigma = np.geomspace(0.1, 10, 9)
    rising, falling = table(sigma, np.linspace(0, 0.4, 9), np.linspace(0.4, 0, 9))
    found = find_crossing(rising, falling)
    assert found.value == pytest.approx(1.0) and np.isnan(found.low)
    assert np.isnan(find_crossing(falling, rising).value), "it falls through the other"


def test_the_zone_of_large_images_is_found_beyond_the_grid(rng):
    """Scaled up, images have the same zone, scaled up: also past the end of the grid."""
    train, heldout = (rng.normal(size=(n, 1, 4, 4)).astype(np.float32) for n in (12, 60))
    near = measure_regimes(heldout, train, c=1.0)
    far = measure_regimes(1000 * heldout, 1000 * train, c=1.0)
    for edge in ("covered", "concentrated"):
        value = getattr(near.regimes, edge).value
        assert getattr(far.regimes, edge).value == pytest.approx(1000 * value, rel=0.05)


def test_a_curve_passes_a_level_where_it_first_does():
    sigma = np.array([0.1, 1.0, 10.0, 100.0])
    hump = Curve.from_table(sigma, np.array([0.0, 1.0, 0.5, 0.0]))
    assert hump.passes(0.5) == pytest.approx(10**-0.5)
    falling = Curve.from_table(sigma, np.array([1.0, 0.75, 0.25, 0.0]))
    assert falling.passes(0.5) == pytest.approx(10**0.5)
    assert np.isnan(falling.passes(-0.1)) and np.isnan(falling.passes(2))


def test_an_estimate_less_or_over_a_known_number_keeps_its_interval():
    estimate = Estimate(4.0, 3.0, 6.0)
    assert estimate - 1 == Estimate(3.0, 2.0, 5.0) and estimate / 2 == Estimate(2.0, 1.5, 3.0)
    assert f"{estimate / 8:.1f}" == "0.5 [0.4, 0.8]" and f"{estimate}" == str(estimate)
    assert f"{Estimate(np.nan):.3f}" == "none"


def test_the_scale_of_a_zone_has_its_closed_form(rng):
    """sigma* of a regular set by hand, sigma_cov by the distance that every held-out image has."""
    d, n, rho = 40, 30, 0.5
    train = 10 * np.eye(n, d)
    heldout = train + rho * np.eye(d)[-1]
    scale = zone_scale(heldout, train)
    assert (scale.n, scale.d) == (n, d)
    star = 10 * np.sqrt(1 - 1 / n) / np.sqrt(2 * np.log(n))
    assert scale.sigma_star == pytest.approx(star)
    assert scale.sigma_cov == pytest.approx(float(geomem.coverage_sigma(rho, d, 5.0)))
    table = scale_table([scale, scale])
    assert table["zone ends [sigma, data units]"][1] == scale.regimes.concentrated.value
    assert {len(column) for column in table.values()} == {2}


def test_held_out_queries_cross_earlier_than_the_training_images_themselves():
    data = geomem.load_dataset("digits", n_train=40, n_heldout=40)
    found = Crossings.of(data.heldout, data.train)
    assert found.has_zone and found.inside and found.earlier
    assert found.nearest > 0 and [*found.curves][:2] == ["C_sigma", "W_sigma"]


def test_what_two_intervals_allow_both_of_is_not_known():
    """Edges, and crossings, that differ by less than their intervals decide nothing."""

    def found(covered, crossing, concentrated, heldout):
        edges = (Estimate(x, x - 0.1, x + 0.1) for x in (covered, concentrated, crossing))
        regimes = Regimes(0.8, *edges, 0.9, 0.01, 100.0)
        geometry = Geometry(*table(np.ones(1), [0], [1]), regimes)
        at = Estimate(heldout, heldout - 0.1, heldout + 0.1)
        one = Crossings(geometry, geometry.weight, at, 1.0, 1.0)
        assert one.in_words["zone"].startswith("none: " if covered > concentrated else "σ from ")
        return one.has_zone, one.inside, one.earlier

    assert found(1.0, 2.0, 3.0, 1.5) == (True, True, True)
    assert found(1.0, 2.0, 2.1, 1.9) == (True, None, None)
    assert found(1.0, 1.1, 1.15, 1.05) == (None, None, None)
    assert found(3.0, 2.0, 1.0, 2.5) == (False, False, False)


def test_the_crossing_of_two_curves_of_the_same_queries_is_resampled_in_pairs(rng):
    """What raises both curves of a query alike does not move where they cross."""
    sigma, n, found = np.geomspace(0.1, 10, 9), 40, []
    slope = np.linspace(-0.3, 0.3, 9)
    for _ in range(100):
        common, own = 0.1 * rng.normal(size=(n, 1)), 0.03 * rng.normal(size=(2, n, 1))
        rows = (0.5 + slope + common + own[0], 0.5 - slope + common + own[1])
        curves = [Curve.from_queries(sigma, each, indicator=False) for each in rows]
        found.append([find_crossing(*curves, paired=p, resamples=200) for p in (True, False)])
    holds = np.mean([[one.low <= 1 <= one.high for one in each] for each in found], axis=0)
    assert holds[0] == pytest.approx(0.95, abs=0.05) and holds[1] == 1
    few = Curve.from_queries(sigma, rows[0][:5], indicator=False)
    with pytest.raises(ValueError, match="no pairs of 5 and 40"):
        find_crossing(few, curves[1], paired=True)


def test_below_is_at_all_levels_asked_for_by_the_intervals():
    low, high = np.array([0.0, 0.1, 0.6]), np.array([0.2, 0.4, 0.9])
    curve = Curve(np.array([1.0, 2.0, 3.0]), (low + high) / 2, low, high, 0, np.empty((0, 3)))
    assert curve.below(1.0) is True and curve.below(0.5) is False
    assert curve.below(0.5, np.array([True, True, False])) is True
    assert curve.below(0.3, curve.sigma < 2.5) is None
    assert curve.below(1.0, curve.sigma > 9) is None, "of no level nothing is known"
