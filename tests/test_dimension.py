"""Sizes: predictions held against what was measured, by hand; and one pair measured whole."""

import re
from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from geomem.diffusion.sampler import sample
from geomem.geometry.intervals import Estimate, Fraction
from geomem.geometry.posterior import empirical_denoiser
from geomem.geometry.regimes import measure_regimes
from geomem.geometry.window import Window
from geomem.memorization import dimension
from geomem.memorization.dimension import Measured
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import neighbours
from geomem.memorization.swaps import swap
from geomem.memorization.switch import Switch
from geomem.memorization.trajectories import Within
from geomem.plots import pictures


def size(d: int, zone: float, hump: tuple, switch: tuple):
    """What was measured at one size, with the copy edge at 1 and the overlap not known."""
    return SimpleNamespace(
        name="tiles",
        network="grid",
        channels=1,
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


def test_where_no_prediction_is_known_none_is_nearest(measured):
    one = measured[0]
    known = dimension.in_words([one])
    assert any(name in known["best_hump"] for name in dimension.PREDICTIONS)
    nowhere = Estimate(np.nan)
    regimes = replace(one.reach.geometry.regimes, covered=Estimate(2.0), concentrated=Estimate(1.0))
    geometry = replace(one.reach.geometry, regimes=regimes)
    reach = replace(one.reach, geometry=geometry, edge=nowhere)
    said = dimension.in_words([replace(one, reach=reach, confused=nowhere)])
    assert not any(re.search(r"\b(nan|inf)\b", text) for text in said.values()), said


def test_predictions_are_compared_over_the_same_pairs_of_models(monkeypatch):
    """One that is known at the easy size only is not nearer for it."""
    factors = {(name, target): np.array([np.nan, np.nan])
               for name in dimension.PREDICTIONS for target in dimension.TARGETS}  # fmt: skip
    factors["zone", "hump"] = np.array([np.nan, 1.5])
    factors["copy edge", "hump"] = np.array([4.0, 1.2])
    monkeypatch.setattr(dimension, "factors", lambda sizes: factors)
    for name in ("over_switch", "apart", "titles"):
        monkeypatch.setattr(dimension, name, lambda *_: [])
    assert dimension.in_words([])["best_hump"].startswith("the copy edge")
    assert dimension.in_words([])["best_switch"] == "none that is known"


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
    assert "the level of the switch by a factor of 4.5" in said and "nan" not in said
    assert dimension.growth([SMALL]) == ""
    other = size(2, 5.0, (9.0, 8.0, 10.0), (9.0, 8.0, 10.0))
    assert dimension.growth([SMALL, other, LARGE]) == said, "of one size the first network counts"
    assert dimension.growth([SMALL, SimpleNamespace(**{**vars(LARGE), "channels": 3})]) == ""


def model(images):
    """The one that copies these."""
    return lambda x, sigma: empirical_denoiser(x, images, sigma, device="cpu")


@pytest.fixture(scope="module")
def measured():
    """A model that copies eight images, and one that copies others."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (48, 1, 4, 4)).astype(np.float32)
    train, heldout = images[:8], images[8:]
    few = DistinctImages(train, "cpu")

    copying, large = model(train), model(heldout)
    levels = np.geomspace(0.05, 10, 9)
    options = dict(name="tiles", network="lookup", n=16, n_switched=8, device="cpu")
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
    found = replace(one, reach=replace(one.reach, geometry=geometry), settled={}, without=None)
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


def test_what_is_undone_and_settled_is_counted_among_the_copies(measured):
    one = measured[0]
    assert one.zone and one.small.passed.all(), "a copier with a zone"
    # The large model, which copies others, throughout the zone; the small one everywhere else.
    mixed = swap(*(model(images) for images in measured[1:]), one.zone)
    again = sample(mixed, (1, 4, 4), 16, seed=0, device="cpu")
    passed = neighbours(again, DistinctImages(measured[1], "cpu")).memorized()
    assert one.undone.count == (~passed).sum() and one.undone.n == 16
    parts = one.settled.values()
    assert sum(where.surely.count for where in parts) <= 16
    assert sum(where.at_most.count for where in parts) >= 16
    half = replace(one, without=np.arange(16) < 4)
    assert (half.undone.count, half.undone.n) == (12, 16)
    assert replace(one, without=None).undone is None


def undoing(count: int, of: int, inside: tuple[int, int], network: str = "grid", d: int = 4):
    """A network of tiles: of so many copies the zone undoes some, and from so to so many settle."""
    surely, at_most = (Fraction.of(one, of) for one in inside)
    return SimpleNamespace(
        name="tiles", size=f"{d}x{d}", d=d * d, network=network,
        zone=None, undone=Fraction.of(count, of), inside=Within(surely, at_most),
    )  # fmt: skip


def test_networks_of_the_same_images_are_held_against_the_first():
    coarse, fine = undoing(110, 1000, (610, 840)), undoing(440, 1000, (170, 280), "other")
    assert dimension.as_much([coarse, fine]) is False
    assert dimension.as_much([coarse, undoing(130, 1000, (0, 0))]) is True
    assert dimension.as_much([undoing(1, 10, (0, 0)), undoing(2, 10, (0, 0))]) is None
    assert dimension.as_much([coarse, SimpleNamespace(undone=None)]) is None
    assert dimension.mostly_inside([coarse, fine]) is False
    assert dimension.mostly_inside([coarse, coarse]) is True
    assert dimension.mostly_inside([coarse, undoing(1, 1000, (400, 900))]) is None
    large = [undoing(1, 9, (0, 9), name, d=8) for name in ("one", "two")]
    assert dimension.networks([coarse, fine, *large, undoing(1, 9, (0, 9), d=16)]) == large
    assert dimension.networks([coarse, large[0]]) == []
    fewer = SimpleNamespace(**{**vars(coarse), "network": "other", "zone": Window(1.0, 2.0)})
    assert dimension.networks([coarse, fewer]) == [], "other training images, with another zone"
    assert dimension.networks([coarse, coarse]) == [], "one network twice"
    assert dimension.titles([coarse, *large]) == [
        "tiles, 4x4",
        "tiles, 8x8, one",
        "tiles, 8x8, two",
    ]
