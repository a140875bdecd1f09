"""The zone under other rules: the book's own among them, and what any data must show."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from geomem import load_dataset, measure_regimes, shell_coverage
from geomem.geometry.regimes import DRAWS
from geomem.geometry.sensitivity import Sensitivity
from geomem.plots import STYLE
from geomem.plots.covered import other_rules
from geomem.plots.drawing import misplaced

CS, LEVELS = (1.0, 5.0, 20.0), (0.5, 0.8, 0.99)


@pytest.fixture(scope="module")
def found():
    data = load_dataset("digits", n_train=60, n_heldout=60)
    geometry = measure_regimes(data.heldout, data.train)
    pair, grid = (data.heldout, data.train), geometry.weight.sigma
    coverages = {c: shell_coverage(*pair, grid, c=c, draws=DRAWS) for c in CS}
    return Sensitivity.of(coverages, geometry.weight, LEVELS), geometry


def test_the_books_own_rule_gives_the_books_own_zone(found):
    tried, geometry = found
    assert tried.zones[5.0, 0.8] == geometry.regimes


def test_thicker_shells_and_lower_levels_begin_earlier(found):
    tried, _ = found
    starts = np.array([[start.value for start in tried.starts(c)] for c in CS])
    assert np.all(np.diff(starts[1:], axis=1) > 0) and np.all(np.diff(starts[:, :2], axis=0) < 0)
    there = np.array([[zone is not None and zone.medium is not None for zone in
                       (tried.zones[c, level] for level in LEVELS)] for c in CS])  # fmt: skip
    assert tried.spread.value == pytest.approx(starts[there].max() / starts[there].min())
    assert 1 <= tried.spread.low <= tried.spread.value <= tried.spread.high
    ends = {level: {tried.zones[c, level].concentrated.value for c in CS[1:]} for level in LEVELS}
    assert all(len(one) == 1 for one in ends.values())  # they know no shells


def test_a_start_that_comes_after_the_end_is_none_of_a_zone(found):
    """With thick shells coverage passes 0.99 where concentration has long fallen below it."""
    tried, _ = found
    late = tried.zones[5.0, 0.99]
    assert late and not late.medium and tried.columns()["level 0.99"][1] == f"({late.covered})"
    assert tried.columns()["level 0.8"][1] == str(tried.zones[5.0, 0.8].covered)
    only = Sensitivity({(5.0, 0.99): late})
    assert np.isnan(only.spread.value)
    assert only.in_words(5.0, 0.99).startswith("none: ")


def test_one_zone_is_compared_with_none(found):
    tried, _ = found
    only = {(5.0, 0.8): tried.zones[5.0, 0.8]}
    assert np.isnan(Sensitivity(only).spread.value)
    late = {(5.0, 0.99): tried.zones[5.0, 0.99], (1.0, 0.99): None}
    assert np.isnan(Sensitivity(only | late).spread.value), "what is no zone is not compared either"
    assert Sensitivity(only | {(4.0, 0.8): tried.zones[5.0, 0.8]}).spread.value == 1


def test_a_level_above_the_mass_of_a_shell_is_nowhere(found):
    tried, _ = found
    assert tried.zones[1.0, 0.99] is None and np.isnan(tried.starts(1.0)[2].value)
    assert tried.columns()["level 0.99"][0] == "none"


@pytest.mark.parametrize("levels", [[float("nan")], [0.5, 1.0], []])
def test_a_level_that_is_none_is_not_taken_for_one_that_is_never_reached(found, levels):
    _, geometry = found
    with pytest.raises(ValueError, match="levels"):
        Sensitivity.of({5.0: geometry.coverage}, geometry.weight, levels)


def test_where_no_rule_finds_a_zone_there_is_a_picture_without_bars(found):
    _, geometry = found
    never = Sensitivity.of({5.0: geometry.coverage}, geometry.weight, [1 - 1e-12])
    other = Sensitivity(never.zones | {(20.0, level): None for _, level in never.zones})
    for sets in ({"digits": never}, {"digits": other, "others": other}):
        with plt.style.context(STYLE):
            fig, _ = other_rules(sets)
        assert misplaced(fig) == [], "it can be drawn"
        assert {ax.get_yscale() for ax in fig.axes} == {"log"}
        assert all(not np.isfinite(bar.get_height()) for ax in fig.axes for bar in ax.patches)
        plt.close(fig)
    assert not any(zone and zone.medium for zone in never.zones.values())
