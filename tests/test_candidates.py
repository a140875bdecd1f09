"""Candidates for coverage against humps whose place is known."""

from dataclasses import replace

import numpy as np
import pytest

from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Estimate
from geomem.geometry.posterior import EmpiricalDenoiser
from geomem.geometry.regimes import GRID, measure_regimes
from geomem.memorization.candidates import (
    EDGES,
    PADDED,
    SHELLS,
    STAY,
    Comparison,
    Predicted,
    in_words,
    latest,
    measured,
)
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.hump import Hump

N = 30


def curve(sigma, values):
    """Equal for every image: resamples change nothing."""
    return Curve.from_queries(sigma, np.tile(values, (N, 1)), indicator=True)


def rising(at, width=1.0):
    """From 0 to 1 in log sigma, one half at ``at``."""
    return curve(GRID, np.clip(0.5 + np.log(GRID / at) / width, 0, 1))


def case(name, scale, candidates):
    """A hump from 1 to 4 times a scale, and concentration through 0.8 at 4 times it."""
    sigma = scale * np.geomspace(2.0**-4, 2.0**6, 41)
    hump = Hump.of(curve(sigma, np.clip(1 - np.abs(np.log2(sigma / scale) - 1) / 2, 0, 1)))
    weight = curve(GRID, np.clip(0.8 - np.log(GRID / (4 * scale)), 0, 1))
    coverages = {which: rising(scale * at) for which, at in candidates.items()}
    return Predicted(name, "1x1", 1, Estimate(1.0), hump, weight, coverages)


def test_factors_are_predicted_over_measured():
    """Coverage one half at the scale passes 0.8 at its exp(0.3)-fold."""
    found = Comparison.of([case("a", 1.0, {SHELLS: 1.0}), case("b", 3.0, {SHELLS: 2.0})], 0.8)
    for row, begins in zip(found.factors(SHELLS), np.exp(0.3) * np.array([1, 2]), strict=True):
        values = [one.value for one in row]
        assert values == pytest.approx([begins, np.sqrt(begins), 1], rel=0.01)
    off = found.off(SHELLS)
    assert off["begins"].value == pytest.approx(np.exp(0.3) * np.sqrt(2), rel=0.01)
    assert off["ends"].value == pytest.approx(1, rel=0.01)
    assert found.within(SHELLS) is False and found.within(SHELLS, 3.0)


def test_the_level_that_suits_the_other_sets_is_found():
    """Both candidates begin at the humps, read at their own levels; one does so on every set."""
    scales = {"a": 0.5, "b": 1.0, "c": 2.0}
    begins = {SHELLS: 0.9, STAY[1]: 0.9}
    cases = [case(name, s, {**begins, STAY[0]: 0.9 * s}) for name, s in scales.items()]
    found = Comparison.of(cases, 0.8)
    assert found.off(SHELLS, fitted=True)["all"].value < 1.02 < found.off(SHELLS)["all"].value
    assert found.levels[SHELLS]["a"] == pytest.approx(0.5 + np.log(1 / 0.9), abs=0.15)
    assert found.off(STAY[0], fitted=True)["begins"].value > 1.5
    assert found.against(STAY[0], SHELLS, fitted=True).value > 1.2
    said = in_words(found)
    assert said["fitted_intrinsic"].endswith(", farther")
    assert said["fitted_overlap"].endswith(", not told apart")
    assert said["fitted_off_shells"] == f"{found.off(SHELLS, fitted=True)['all']:.2f}"


def test_without_any_pair_of_models_that_is_said():
    with pytest.raises(ValueError, match="no pair of models was named"):
        Comparison.of([], 0.8)


def test_one_data_set_fits_nothing_and_no_hump_is_no_case():
    alone = case("a", 1.0, dict.fromkeys((SHELLS, *STAY), 1.0))
    found = Comparison.of([alone], 0.8)
    assert found.off(SHELLS)["all"].value > 1
    assert np.isnan(found.off(SHELLS, fitted=True)["all"].value)
    assert in_words(found)["fitted_best"] == "none known"
    still = replace(alone, hump=Hump.of(curve(alone.hump.curve.sigma, np.zeros(41))))
    none = Comparison.of([still], 0.8)
    assert len(none.cases) == 0 and none.within(SHELLS) is None
    assert str(none.off(SHELLS)["all"]) == "none" and str(measured([still])["centre"][0]) == "none"


def test_the_latest_start_is_that_of_those_there_are_in_any_order():
    for late in ([1.1, np.nan, 1.3], [np.nan, 1.3, 1.1], [1.3, 1.1, np.nan]):
        assert latest(late).startswith("30%") and "1 of 3" in latest(late)
    assert latest([1.1, 1.3]) == "30%"
    assert "nan" not in latest([np.nan, np.nan]) and latest([np.nan, np.nan])


def test_padding_moves_the_shells_alone(rng):
    """Images with a frame of zeros are other pixels and the same images."""
    images = rng.uniform(-1, 1, (70, 1, 4, 4))
    framed = np.pad(images, ((0, 0), (0, 0), (6, 6), (6, 6)))
    found = []
    for of in (images, framed):
        heldout, train = of[:50], DistinctImages(of[50:], "cpu")
        weight = measure_regimes(heldout, train.images, device="cpu").weight
        copying, levels = EmpiricalDenoiser(train.images, device="cpu"), np.geomspace(0.05, 20, 9)
        options = dict(name="tiles", space=256, device="cpu")
        found.append(Predicted.of(copying, train, heldout, levels, weight, **options))
    small, large = found
    assert small.dimension.numbers == pytest.approx(large.dimension.numbers)
    for name in STAY:
        same = large.coverages[name].mean
        np.testing.assert_allclose(small.coverages[name].mean, same, atol=1e-12)
    start = {
        (one.d, name): one.zones(name, [0.8], 0.8)[0, 0, 0]
        for one in found
        for name in (SHELLS, PADDED)
    }
    assert start[256, SHELLS] < 0.8 * start[16, SHELLS]
    assert start[16, PADDED] == pytest.approx(start[256, SHELLS])
    assert len(EDGES) == small.hump.levels.shape[1]
