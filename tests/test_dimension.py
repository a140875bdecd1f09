"""Sizes: predictions held against what was measured, by hand; and one pair measured whole."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from geomem.geometry.intervals import Estimate
from geomem.geometry.posterior import empirical_denoiser
from geomem.geometry.regimes import measure_regimes
from geomem.memorization import dimension
from geomem.memorization.dimension import Measured
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.switch import Switch
from geomem.plots import pictures


def size(d: int, zone: float, hump: tuple, switch: tuple):
    """What was measured at one size, with the copy edge at 1 and the overlap not known."""
    return SimpleNamespace(
        name="tiles",
        size=f"{d}x{d}",
        d=d * d,
        predicted={"zone": zone, "copy edge": 1.0, "overlap": np.nan},
        measured={"hump": Estimate(*hump), "switch": Estimate(*switch)},
    )


SMALL = size(2, 2.0, (1.0, 0.8, 1.2), (1.0, 0.9, 1.5))
LARGE = size(8, 8.0, (4.0, 3.0, 5.0), (4.5, 4.2, 7.0))


def test_a_prediction_is_held_against_each_level_of_the_switch():
    switch = SimpleNamespace(begun=Estimate(0.5), ended=Estimate(4.0))
    one = SimpleNamespace(predicted={"copy edge": 1.0}, switch=switch)
    assert dimension.over_switch(one, "copy edge") == "2 and 0.25"


def test_factors_are_predicted_over_measured():
    found = dimension.factors([SMALL, LARGE])
    assert found["zone", "hump"].tolist() == [2, 2]
    assert found["copy edge", "hump"].tolist() == [1, 0.25]
    assert np.isnan(found["overlap", "switch"]).all()
    assert dimension.off(found["copy edge", "hump"]) == pytest.approx(2)
    assert dimension.off(1 / found["copy edge", "hump"]) == pytest.approx(2)


def test_near_means_near_to_all_of_where_the_target_may_lie():
    def near(*levels, factor=2.0):
        one = SimpleNamespace(predicted={"zone": 2.0}, targets={"hump": levels})
        return dimension.within([one], "zone", "hump", factor)

    assert near(Estimate(1.5, 1.1, 3.9)) is True
    assert near(Estimate(1.5, 0.9, 3.9)) is None
    assert near(Estimate(1.5, 0.9, 3.9), factor=2.5) is True
    assert near(Estimate(0.7, 0.6, 0.8)) is False
    # Of a switch both levels count: one that is surely far is not near, wherever the other lies.
    assert near(Estimate(2.0, 1.8, 2.2), Estimate(6.0, 5.0, 7.0)) is False
    assert near(Estimate(2.0)) is None  # without an interval


def test_what_no_level_could_meet_decides_nothing():
    """Two levels of a switch, surely nine times apart: nothing is within two of both."""

    def near(predicted, *levels):
        levels = [Estimate(at, at / 1.01, at * 1.01) for at in levels]
        one = SimpleNamespace(predicted={"zone": predicted}, targets={"switch": levels})
        return dimension.within([one], "zone", "switch")

    for predicted in (1.0, 3.0, 9.0, 100.0):
        assert near(predicted, 1.0, 9.0) is None
    assert near(1.9, 1.0, 3.6) is True  # what a prediction can meet is asked of it
    assert near(1.0, 1.0, 3.6) is False
    far, met = ([Estimate(1.0, 0.9, 1.1), Estimate(b, b, b)] for b in (9.0, 1.0))
    several = [SimpleNamespace(predicted={"zone": 1.0}, targets={"switch": a}) for a in (far, met)]
    assert dimension.within(several, "zone", "switch") is None
    several[1].predicted["zone"] = 5.0
    assert dimension.within(several, "zone", "switch") is False


def test_growth_is_from_the_smallest_to_the_largest():
    middle = size(4, 3.0, (2.0, 1.0, 3.0), (2.0, 1.0, 3.0))
    said = dimension.growth([LARGE, middle, SMALL])
    assert said.startswith(
        "On tiles, from 2x2 to 8x8, grow: the middle of the zone by a factor of 4"
    )
    assert "the level of the switch by a factor of 4.5" in said
    assert dimension.growth([SMALL]) == ""


@pytest.fixture(scope="module")
def measured():
    """A model that copies eight images, and one that copies others."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (48, 1, 4, 4)).astype(np.float32)
    train, heldout = images[:8], images[8:]
    few = DistinctImages(train, "cpu")

    def copying(x, sigma):
        return empirical_denoiser(x, train, sigma, device="cpu")

    def large(x, sigma):
        return empirical_denoiser(x, heldout, sigma, device="cpu")

    levels = np.geomspace(0.05, 10, 9)
    options = dict(name="tiles", n=16, n_switched=8, device="cpu")
    return Measured.of(copying, large, few, heldout, levels, **options), train, heldout


def test_a_copier_is_measured_whole(measured):
    one, train, heldout = measured
    assert (one.size, one.d, one.small.copies.count) == ("4x4", 16, 16)
    assert one.small.pictures.shape == one.large.pictures.shape == (16, 1, 4, 4)
    assert one.switch.alone["small"].all() and len(one.switch.sigma) == 12
    geometry = measure_regimes(heldout, train, device="cpu")
    assert (one.zone.low, one.zone.high) == (geometry.zone.low, geometry.zone.high)
    levels = one.levels
    assert levels["danger zone, low"] == geometry.regimes.covered
    assert levels["hump, centre"] == one.measured["hump"] == one.hump.centre
    if geometry.regimes.medium:
        assert one.predicted["zone"] == pytest.approx(np.sqrt(one.zone.low * one.zone.high))


def test_where_the_rule_finds_no_zone_nothing_is_said_to_lie_in_it(measured):
    one = measured[0]
    regimes = replace(one.reach.geometry.regimes, covered=Estimate(2.0), concentrated=Estimate(1.0))
    geometry = replace(one.reach.geometry, regimes=regimes)
    found = replace(one, reach=replace(one.reach, geometry=geometry))
    assert regimes.medium is None and found.zone is None and found.in_zone is None
    assert found.place == "nowhere: there is no zone" in found.place_in_words
    table = dimension.overview([found])
    assert table["its area in the zone"] == table["zone"] == ["none"]
    assert np.isnan(found.levels["danger zone, low"].value)
    for fig, _ in (pictures.levels_by_size([found]), pictures.curves_by_size([found])):
        fig.draw_without_rendering()
        plt.close(fig)


def test_the_switch_decides_between_its_two_levels(measured):
    sigma, n = np.array([8.0, 4.0, 2.0, 1.0]), 100
    share = np.array([[0.0], [0.0], [1.0], [1.0]])  # half of them midway between 4 and 2
    early, late = np.arange(n) < n * share, np.arange(n) < n * share[[0, 0, 0, 2]]
    alone = {"small": np.repeat(True, n), "large": np.repeat(False, n)}
    switch = Switch(sigma, {"small": late, "large": early[::-1]}, alone)
    found = replace(measured[0], switch=switch)
    assert found.measured["switch"].low == pytest.approx(2**0.5)
    assert found.measured["switch"].high == pytest.approx(8**0.5)
    assert found.measured["switch"].value == pytest.approx(2)
    assert found.levels["switch, small to large"].value == pytest.approx(2**0.5)


def test_tables_have_what_is_drawn(measured):
    one = measured[0]
    table = dimension.level_table([one, one])
    assert table["quantity [name]"] == (*one.levels, *one.levels)
    assert table["sigma [data units]"][2] == one.hump.centre.value
    curves = dimension.curve_table([one])
    assert len(curves["value [fraction]"]) == sum(len(c.sigma) for c in one.curves.values())
    assert curves["value [fraction]"][-9:] == tuple(one.rate.mean)
    assert [*dimension.overview([one])["images"]] == ["tiles, 4x4"]
    said = dimension.in_words([one])
    assert said["zone_levels"] == dimension.over_switch(one, "zone")
    assert said["peaks"] == one.rate.estimate(one.hump.peak).percent
