"""Gaps: how much they hold, where they are moved, and sweeps of known outcome."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.text import Text
from scipy.stats import norm
from test_study import judged

from geomem import digitized, load_dataset, max_posterior_weight, measure_regimes, shell_coverage
from geomem.diffusion import presets
from geomem.diffusion.noise import NoiseLaw
from geomem.digitized.stated import CARS_GAP, CELEBA_ZONE
from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Estimate
from geomem.geometry.regimes import Geometry
from geomem.geometry.window import Window
from geomem.memorization import gaps
from geomem.memorization.gap import Gap
from geomem.memorization.gaps import Sweep, Swept
from geomem.memorization.study import MISSING, Study
from geomem.plots import STYLE, remedies
from geomem.plots.drawing import misplaced


def test_a_gap_holds_what_the_normal_law_says_and_reaches_the_training():
    gap, law = Gap(Window(0.1, 1.0), 0.25), NoiseLaw(-1.2, 1.2)
    wanted = np.diff(norm.cdf((np.log([0.1, 1.0]) + 1.2) / 1.2))[0]
    assert gap.mass(law) == pytest.approx(wanted)
    changed = presets.changed(presets.PRESETS["digits-mlp-small"], gap.settings).train.noise
    assert (changed.gap_low, changed.gap_high, changed.gap_keep) == (0.1, 1.0, 0.25)


def test_halves_adjoin_and_are_equally_wide():
    low, high = gaps.halves(Window(0.5, 2.0)).values()
    assert (low, high) == (Window(0.5, 1.0), Window(1.0, 2.0))


@pytest.mark.parametrize(
    "zone", [(1.02, 1.28), (1.32, 1.41), (0.73, 1.7), (0.999, 1.001), (1.151, 1.349)]
)
def test_rounded_halves_adjoin_make_up_the_zone_and_are_about_as_wide(zone):
    tried = gaps.gaps_to_try(Window(*zone), Window(0.1, 2.0), {})
    low, high, whole = (tried[name].window for name in (*gaps.HALVES, "zone"))
    assert low.high == high.low and (whole.low, whole.high) == (low.low, high.high)
    wide = [math.log(one.high / one.low) for one in (low, high)]
    assert min(wide) > 0 and max(wide) <= 1.1 * min(wide)
    assert [whole.low, whole.high] == pytest.approx(zone, rel=0.02)


def test_the_papers_gaps_stay_where_they_are_by_the_papers_own_curves():
    paper = gaps.paper_gaps(digitized.load("fig5_celeba_gaps"))
    windows = {name: one.window for name, one in paper.items() if one.window}
    curves = digitized.load("fig5_celeba_curves")
    there = [Curve.from_table(curves["sigma"], curves[column]) for column in gaps.COLUMNS]
    geometry = Geometry(*there, regimes=None)
    ends = gaps.balances(windows, curves)
    found = {name: gaps.carried_over(each, geometry) for name, each in ends.items()}
    assert found == {name: window.rounded() for name, window in windows.items()}
    tried = gaps.gaps_to_try(Window(*CELEBA_ZONE), Window(0.05, 1.3), found, keep=0.2)
    assert all(tried[name].window == found[name] for name in windows)
    assert [tried[k].keep for k in ("copy window", "copy window, 20% kept")] == [0, 0.2]
    # As the paper's text has them: 74.97% without a gap, 9.24% with steps 100 to 350 left out.
    assert paper["plain"].window is None and paper["plain"].memorized.value == 0.7497
    widest = gaps.by_width(windows)[-1]
    assert paper[widest].steps == (100, 350) and paper[widest].memorized.value == 0.0924


def test_a_gap_carried_over_to_images_twice_as_bright_is_twice_as_high(rng):
    train, heldout = rng.normal(size=(2, 60, 32))
    one, two = (
        gaps.carried_over((-0.9, 0.2), measure_regimes(k * heldout, k * train)) for k in (1, 2)
    )
    assert (two.low, two.high) == pytest.approx((2 * one.low, 2 * one.high), rel=0.1)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 20])
def test_every_training_has_a_mark_of_its_own_in_its_row(n):
    shifts = remedies._shifts(n)
    assert len({*shifts.round(6)}) == n and shifts[0] == 0 and np.abs(shifts).max() < 0.5


def test_the_papers_course_ends_at_its_numbers():
    found = gaps.paper_course(digitized.load("fig4_gap_training"))
    done, memorized, fid = found["plain"][-1]
    assert done == pytest.approx(1, abs=0.03) and fid.value == 1
    assert memorized.value == pytest.approx(0.79, abs=0.01)
    # FID 2.35 with the gap over 3.72 without, in the paper's words.
    assert found["zone gap"][-1][2].value == pytest.approx(2.35 / 3.72, abs=0.01)


def test_nested_pairs_are_ordered_and_equal_windows_are_none():
    windows = {"a": Window(1, 8), "b": Window(2, 4), "c": Window(1, 4), "d": Window(1, 8)}
    windows["e"] = Window(3, 9)
    found = {*gaps.nested(windows)}
    assert found == {("a", "b"), ("a", "c"), ("c", "b"), ("d", "b"), ("d", "c")}


def test_depth_counts_by_ranks():
    assert gaps.depth_rank([1, 2, 3], [0.9, 0.5, 0.1]) == pytest.approx(-1)
    assert math.isnan(gaps.depth_rank([1, 2, 3], [0.0, 0.0, 0.0]))


@pytest.fixture
def sweep():
    """The low half halves the copies, the high half does nothing, the zone takes them all."""
    copies = {"plain": 80, "zone": 0, "low half": 40, "high half": 80, "stopped": 0}
    runs = {(kind, s): judged(n + s, 2.0) for s in range(3) for kind, n in copies.items()}
    windows = {"zone": Window(1, 4), **gaps.halves(Window(1, 4))}
    return Sweep({name: Gap(window) for name, window in windows.items()}, Study(runs))


def test_a_sweep_of_known_outcome(sweep):
    assert sweep.halves.value == pytest.approx(0.4)
    assert sweep.verdict == "leaves fewer copies than" and sweep.low_half_does_it
    assert sweep.effective == ["zone", "low half"]
    inside = {("zone", "low half"): -0.4, ("zone", "high half"): -0.8}
    found = sweep.nested(["zone", "low half", "high half"])
    assert {pair: pytest.approx(change.value) for pair, change in found.items()} == inside
    assert [change.value for change in sweep.apart.values()] == pytest.approx([0.4] * 3)
    assert sweep.rank == gaps.depth_rank([1, 1, 2], [0.0, 0.4, 0.8])
    with pytest.raises(ValueError, match="'dummy'"):
        sweep.change("dummy")


def swept(sweep):
    """The same, of a case that has no more than prose asks it for."""
    law, geometry = NoiseLaw(-1.2, 1.2), SimpleNamespace(zone_in_words="1 to 4")
    references = {of: {"pca": Estimate(1.0)} for of in ("held-out", "training set")}
    case, reach = SimpleNamespace(law=law), SimpleNamespace(geometry=geometry, edge=Estimate(0.5))
    return Swept(sweep.gaps, sweep.study, case, reach, {}, None, references, [])


def test_a_gap_of_the_paper_that_is_nowhere_on_these_images_is_said_to_be_missing(sweep):
    assert sweep.nested(["the paper's", "zone"]) == {}
    said = swept(sweep).in_words({"zone": "zone", "widest": "the paper's"}, "pca")
    there = {name.removeprefix("zone") for name in said if name.startswith("zone")} - {"_ends"}
    assert {said[f"widest{part}"] for part in there} == {MISSING}


def test_of_gaps_that_leave_equally_many_no_rank_is_known(sweep):
    runs = {key: judged(30, 2.0) for key in sweep.study.judged}
    said = swept(Sweep(sweep.gaps, Study(runs))).in_words({"zone": "zone"}, "pca")
    assert not any(re.search(r"\bnan\b", text) for text in said.values()), said
    table = sweep.table("pca", Window(11.0, 12.0))  # which holds no level measured
    assert not any("nan" in str(cell) for column in table.values() for cell in column)


def test_halves_that_differ_by_training_only_are_not_told_apart(sweep):
    runs = dict(sweep.study.judged)
    runs |= {("high half", s): judged(n, 2.0) for s, n in enumerate((20, 41, 62))}
    same = Sweep(sweep.gaps, Study(runs))
    assert same.verdict == "is not to be told from" and same.low_half_does_it is None


def test_tables_of_a_sweep(sweep):
    table = sweep.table("pca", Window(0.5, 20.0))
    by_gap = dict(zip(table["gap"], table["error"], strict=True))
    assert by_gap["zone"] == "1.00" and table["noise levels"][:2] == ["none", "1 to 4"]
    assert [share.count for share in sweep.halves_table()["low half left out"]] == [40, 41, 42]


def test_gaps_are_drawn_where_they_lie(sweep):
    with plt.style.context(STYLE):
        fig, ax = plt.subplots()
    remedies._gap_bars(ax, sweep.marks(), (0.05, 10))
    drawn = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    windows = [sweep.gaps[k].window for k in ("zone", "low half", "high half")]
    assert drawn[1:4] == [(w.low, w.high) for w in windows] and drawn[0] == (0.05, 10)
    assert misplaced(fig) == []
    plt.close(fig)


def test_the_names_of_a_plane_lie_on_no_mark():
    """Of marks at equal heights on both halves."""
    found = {"plain": (80, 2.0), "stopped": (2, 2.0), "zone gap": (60, 1.5), "copy gap": (10, 1.5)}
    study = Study({(kind, 0): judged(*of) for kind, of in {**found, "dummy": (45, 0.7)}.items()})
    references = {of: {"pca": Estimate(0.4)} for of in ("held-out", "training set")}
    with plt.style.context(STYLE):
        fig, _ = remedies.trade_off(study, study.first, references, "pca")
    fig.draw_without_rendering()
    (ax,) = fig.axes
    at = [(one.copies.value, one.distance["pca"].value) for one in study.judged.values()]
    marks = ax.transData.transform(at)
    assert {text.get_text() for text in ax.texts} == {*study.first}
    for text in ax.texts:
        assert not any(Text.get_window_extent(text).contains(*mark) for mark in marks), text
    plt.close(fig)


def test_the_papers_gap_is_carried_over_by_its_own_geometry(cifar10):
    data = load_dataset("cifar10", n_train=2000, classes="automobile")
    ends = CARS_GAP
    covered = shell_coverage(data.heldout, data.train, ends[:1], draws=4).estimate(0)
    weight = max_posterior_weight(data.train, ends[1:], queries=300).estimate(0)
    assert covered.low < gaps.PAPER_COVERAGE < covered.high
    assert weight.low < gaps.PAPER_WEIGHT < weight.high
    geometry = measure_regimes(data.heldout, data.train, queries=300)
    found = gaps.carried_over(gaps.PAPER_BALANCES, geometry)
    assert found.low == pytest.approx(1, rel=0.05) and found.high == pytest.approx(5, rel=0.05)
    zone = geometry.zone  # of our rule, as the chapter says it
    assert zone.low == pytest.approx(1.7, rel=0.05) and zone.high == pytest.approx(5.4, rel=0.05)
