"""Swaps: windows partition the noise levels, and a swap is base and donor and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from geomem.diffusion.noise import karras_sigmas
from geomem.diffusion.sampler import sample
from geomem.digitized.stated import FIGURE_10, SWAP_STEPS
from geomem.geometry.intervals import Estimate, Fraction
from geomem.geometry.posterior import empirical_denoiser
from geomem.geometry.regimes import Geometry, Regimes, measure_regimes
from geomem.geometry.window import Window
from geomem.memorization import switch as switching
from geomem.memorization.copy_range import CopyRange, copy_edge
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.remedies import Judged, in_words
from geomem.memorization.stopping import Stopping
from geomem.memorization.swap_course import SwapCourse
from geomem.memorization.swaps import TITLES, StopOrSwap, SwapTable, swap
from geomem.memorization.switch import Switch, half_level


def half(x, sigma):
    return x / 2


def third(x, sigma):
    level = torch.as_tensor(sigma, dtype=x.dtype).expand(len(x))
    return x / 3 + level[:, None, None, None]


def test_windows_of_adjoining_steps_partition_every_level():
    sigmas = karras_sigmas()
    windows = [
        Window.of_steps(*SWAP_STEPS[name], karras_sigmas()) for name in ("large", "medium", "small")
    ]
    levels = np.concatenate([sigmas, np.geomspace(1e-4, 1e3, 500), [w.low for w in windows[:2]]])
    assert all(sum(w.contains(float(s)) for w in windows) == 1 for s in levels)
    for (first, last), window in zip(((0, 5), (6, 13), (14, 17)), windows, strict=True):
        inside = [i for i, s in enumerate(sigmas) if window.contains(float(s))]
        assert inside == list(range(first, last + 1))
    assert windows[0].high == np.inf and windows[2].low == 0


def test_the_lower_edge_belongs_to_a_window_and_the_upper_does_not():
    window = Window(0.5, 2.0)
    levels = torch.tensor([0.49, 0.5, 1.0, 2.0, 2.1], dtype=torch.float64)
    assert window.contains(levels).tolist() == [False, True, True, False, False]
    assert not Window(1.0, 1.0).contains(1.0)


def test_a_matched_window_is_as_wide():
    window = Window(0.5, 2.0).matched(3.0)
    assert (window.low, window.high) == (3.0, 12.0)


def test_steps_are_the_levels_inside():
    for first, last in SWAP_STEPS.values():
        assert Window.of_steps(first, last, karras_sigmas()).steps(
            karras_sigmas()
        ).tolist() == list(range(first, last + 1))
    assert Window(0.5, 2.0).steps([2.0, 1.0, 0.5, 0.4]).tolist() == [1, 2]
    assert not len(Window(0.6, 0.9).steps(karras_sigmas()))


@pytest.mark.parametrize("ends", [(0.8, 6.7), (0.05, 0.94), (0.6, 0.94), (30.0, 50.0), (90, 99)])
def test_controls_are_as_wide_beside_the_window_and_hold_the_most_levels(ends, rng):
    window, ratio = Window(*ends), ends[1] / ends[0]
    found = window.controls(karras_sigmas())
    assert found["above"].low >= window.high and found["below"].high <= window.low
    for side, control in found.items():
        assert control.high / control.low == pytest.approx(ratio, rel=1e-12)
        steps = len(control.steps(karras_sigmas()))
        ends = (window.high, 1e3) if side == "above" else (1e-4, window.low / ratio)
        for low in np.exp(rng.uniform(*np.log(ends), 2000)):
            assert len(window.matched(low).steps(karras_sigmas())) <= steps


def test_of_equal_controls_the_nearest_is_taken():
    found = Window(1.0, 2.0).controls([16.0, 8.0, 4.0, 0.5, 0.25, 0.125])
    assert (found["above"], found["below"]) == (Window(4.0, 8.0), Window(0.5, 1.0))


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, np.inf), (1.0, 1.0)])
def test_no_window_is_as_wide_as_one_without_a_width(ends):
    with pytest.raises(ValueError, match="no finite width"):
        Window(*ends).controls(karras_sigmas())


@pytest.mark.parametrize("ends", [(2.0, 1.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_windows_of_nonsense_are_refused(ends):
    with pytest.raises(ValueError, match="window"):
        Window(*ends)
    with pytest.raises(ValueError, match="steps"):
        Window.of_steps(3, 18, karras_sigmas())


def test_donor_is_base_and_empty_and_full_windows():
    x, window = torch.randn(5, 1, 3, 3, dtype=torch.float64), Window(0.5, 2.0)
    for sigma in (0.1, 0.5, 1.0, 2.0, torch.tensor([0.1, 0.5, 1.0, 2.0, 9.0])):
        assert torch.equal(swap(third, third, window)(x, sigma), third(x, sigma))
        assert torch.equal(swap(half, third, Window(1.0, 1.0))(x, sigma), half(x, sigma))
        assert torch.equal(swap(half, third, Window(0.0, np.inf))(x, sigma), third(x, sigma))


def test_every_row_of_a_batch_goes_where_its_own_level_says():
    x, sigma = torch.randn(4, 1, 2, 2), torch.tensor([0.1, 1.0, 1.9, 2.0])
    mixed = swap(half, third, Window(0.5, 2.0))(x, sigma)
    for i, level in enumerate(sigma.tolist()):
        alone = swap(half, third, Window(0.5, 2.0))(x[i : i + 1], level)
        torch.testing.assert_close(mixed[i : i + 1], alone, rtol=0, atol=1e-7)


def test_the_copy_edge_solves_its_equation():
    sigmas = np.geomspace(0.01, 10, 13)
    error = 4 * sigmas**2
    # 2 * 4 sigma^2 = (d / 3)^2 at sigma = d / sqrt(72); the interpolation is exact for a power
    assert copy_edge(sigmas, error, 3.0) == pytest.approx(3 / np.sqrt(72), rel=1e-12)
    assert np.isnan(copy_edge(sigmas, error, 1e4)) and np.isnan(copy_edge(sigmas, error, 1e-4))


def test_a_copy_range_needs_no_more_than_its_parts(rng):
    """Of two points with nearest distance 1, and a denoiser whose error is d (k sigma)^2."""
    train = np.zeros((2, 1, 2, 2), np.float32)
    train[1, 0, 0, 0] = 1.0
    heldout = rng.normal(scale=0.3, size=(200, 1, 2, 2)).astype(np.float32)
    found = CopyRange.of(DistinctImages(train), heldout, lambda x, sigma: x, level=0.6)
    # The error of returning the input is d sigma^2: 2 d edge^2 = (1/3)^2.
    assert found.edge.value == pytest.approx(np.sqrt(1 / 9 / 2 / 4), rel=0.05)
    assert found.edge.low < found.edge.value < found.edge.high
    alone = measure_regimes(heldout, train, level=0.6)
    np.testing.assert_allclose(found.geometry.coverage.mean, alone.coverage.mean)
    assert found.geometry.regimes == alone.regimes and found.zone == alone.zone


def test_a_copy_range_takes_tensors_of_a_device_to_the_host(rng, monkeypatch):
    """Which NumPy does not do, where they are on CUDA."""
    images = torch.from_numpy(rng.normal(scale=0.3, size=(20, 1, 2, 2)))
    heldout, median = rng.normal(scale=0.3, size=(30, 1, 2, 2)), np.median

    def of_arrays(found, *rest, **how):
        assert not isinstance(found, torch.Tensor)
        return median(found, *rest, **how)

    monkeypatch.setattr(np, "median", of_arrays)
    CopyRange.of(SimpleNamespace(images=images), heldout, lambda x, sigma: x, level=0.5)


def regimes(covered, concentrated, crossing):
    ends = map(Estimate, (covered, concentrated, crossing))
    return Regimes(0.8, *ends, 0.5, 0.01, 100.0)


@pytest.mark.parametrize(
    "found, edge, zone, window",
    [
        (regimes(0.5, 2.0, 1.0), 0.4, (0.5, 2.0), (0.2, 2.0)),
        (regimes(0.5, 2.0, 1.0), 1.4, (0.5, 2.0), (0.5, 2.0)),  # an edge inside the zone
        (regimes(0.5, 2.0, 1.0), np.nan, (0.5, 2.0), (0.5, 2.0)),
        (regimes(2.0, 0.5, 1.0), 0.4, (1.0, 2.0), (0.2, 2.0)),  # no zone: from the crossing on
    ],
)
def test_the_copy_window_reaches_from_the_edge_or_the_zone_to_the_zones_end(
    found, edge, zone, window
):
    geometry = Geometry(None, None, found)
    reach = CopyRange(geometry, Estimate(edge))
    assert (reach.zone, reach.window) == (Window(*zone), Window(*window))
    assert ("none" in geometry.zone_in_words) == (found.medium is None)


SWITCH = np.exp(np.array([2.0, 1.0, 0.0, -3.0]))  # descending, unevenly


def switched(shares, n, rng):
    """(S, n) of samples that become copies one after the other, as the share rises to the last."""
    order = rng.permutation(n) / n
    return np.array([order < share for share in shares])


def test_half_of_a_known_curve_is_found_between_its_levels(rng):
    passed = switched([0.0, 0.2, 0.6, 0.8], 1000, rng)
    # Half of .8 lies midway between .2 at log sigma 1 and .6 at log sigma 0.
    found = half_level(SWITCH, passed, passed[-1])
    assert np.log(found.value) == pytest.approx(0.5, abs=1e-9)
    assert found.low < found.value < found.high
    moved = half_level(7 * SWITCH, passed, passed[-1])
    assert (moved.value, moved.low) == pytest.approx((7 * found.value, 7 * found.low))


def test_its_interval_holds_the_truth_nineteen_times_in_twenty(rng):
    shares = np.array([0.0, 0.2, 0.6, 0.8])

    def holds():
        order = rng.random(100)
        passed = order < shares[:, None]
        found = half_level(SWITCH, passed, passed[-1], resamples=300)
        return found.low <= np.exp(0.5) <= found.high

    assert np.mean([holds() for _ in range(300)]) == pytest.approx(0.95, abs=0.04)


def test_no_half_without_a_copy_or_where_the_first_level_has_it(rng):
    none = np.zeros((4, 50), bool)
    assert str(half_level(SWITCH, none, none[-1])) == "none"
    flat = switched([0.8, 0.8, 0.8, 0.8], 50, rng)
    assert str(half_level(SWITCH, flat, flat[-1])) == "none"
    with pytest.raises(ValueError, match="half_level"):
        half_level(SWITCH, none[:2], none[-1])


@pytest.fixture
def two(rng):
    """A denoiser that copies a training set, one that copies other images, and that set."""
    train, others = rng.uniform(-1, 1, (2, 4, 1, 3, 3))
    asked = []

    def denoiser(images, name):
        def denoise(x, sigma):
            asked.append((name, float(sigma)))
            return empirical_denoiser(x, images, sigma, device="cpu")

        return denoise

    distinct = DistinctImages(train, "cpu")
    return denoiser(train, "small"), denoiser(others, "large"), distinct, asked


def test_a_swap_everywhere_turns_the_table_round_and_nowhere_leaves_it(two):
    small, large, distinct, asked = two
    ends = {"all": Window(0.0, np.inf), "zone": Window(1.0, 1.0), "narrow": Window(0.7, 0.71)}
    table = SwapTable.of(small, large, ends, distinct, 12, solver="euler", device="cpu")
    assert len(asked) == 2 * 18 and {name for _, name in table.passed} == {"", "all"}
    assert (table.share("small").count, table.share("large").count) == (12, 0)
    assert (table.share("small", "all").count, table.share("large", "all").count) == (0, 12)
    assert table.change("small", "all").value == -1 and table.change("large", "all").value == 1
    assert table.change("small", "", since="all").value == 1
    assert table.little("all", 0.5) is False
    assert table.little("", 1.01) is True and table.little("", 1e-3) is None
    passed = {
        (base, name): np.zeros(256, bool) for base in ("small", "large") for name in ("", "all")
    }
    assert SwapTable(ends, {}, passed).little("all", 0.1) is None, "without a copy"
    assert str(table.change("small", "all")).startswith("-100% [-100%, -")
    torch.testing.assert_close(table.pictures["small", "all"], table.pictures["large", ""])
    said = table.in_words  # of a window that holds no level: that there is no swap
    assert said["small_narrow_change"] == said["large_zone"] == said["beyond_zone"] == "–"
    assert not any(sign.isdigit() for sign in said["zone_swap"])


def test_two_networks_are_asked_where_both_know_the_noise(two):
    small, large, distinct, _ = two

    class Bounded:
        def __init__(self, of, low, high):
            self.of, self.sigma_min, self.sigma_max = of, low, high

        def __call__(self, x, sigma):
            assert self.sigma_min <= float(sigma) <= self.sigma_max
            return self.of(x, sigma)

    pair = Bounded(small, 0.01, 157.0), Bounded(large, 0.002, 40.0)
    mixed = swap(*pair, Window(0.5, 2.0))
    assert (mixed.sigma_min, mixed.sigma_max) == (0.01, 157.0)  # there the other is never asked
    experts = swap(Bounded(small, 7.0, 80.0), Bounded(large, 0.002, 7.0), Window(0.0, 7.0))
    assert sample(experts, (1, 3, 3), 2, solver="euler", device="cpu").shape == (2, 1, 3, 3)
    assert not hasattr(swap(small, large, Window(0.5, 2.0)), "sigma_min")
    how = dict(solver="euler", device="cpu")
    table = SwapTable.of(*pair, {"all": Window(0.0, np.inf)}, distinct, 9, **how)
    assert table.share("small").count == 9
    switch = Switch.of(*pair, distinct, 9, **how)
    assert 0.01 < switch.sigma[-1] < switch.sigma[0] < 40
    assert sample(mixed, (1, 3, 3), 2, **how).shape == (2, 1, 3, 3)


def test_a_switch_of_many_samples_is_drawn_in_parts(two, monkeypatch):
    small, large, distinct, _ = two
    how = dict(solver="euler", device="cpu", sigmas=karras_sigmas(5))
    whole = Switch.of(small, large, distinct, 300, **how)
    monkeypatch.setattr(switching, "memory", lambda: 0.0)  # 256 at a time
    parts = Switch.of(small, large, distinct, 300, **how)
    for base in ("small", "large"):
        assert np.array_equal(parts.passed[base], whole.passed[base])
        assert np.array_equal(parts.alone[base], whole.alone[base])
        assert np.array_equal(parts.shown[base], whole.shown[base])


def test_along_a_training_what_is_undone_is_of_the_copies_there(two):
    small, large, distinct, _ = two
    windows = {"all": Window(0.0, np.inf), "none": Window(0.7, 0.71), "least": Window(0, 0.01)}
    how = dict(solver="euler", seed=3)
    table = SwapTable.of(small, large, windows, distinct, 12, **how)
    train = SimpleNamespace(steps=80, step_of=lambda part: int(80 * part))
    trained = SimpleNamespace(
        denoise=small, experiment=SimpleNamespace(train=train),
        at={0.25: large, 0.5: small}.__getitem__,
    )  # fmt: skip
    course = SwapCourse.of(trained, large, windows, distinct, (0.5, 0.25), table, **how)
    assert [*course.passed] == [20, 40, 80] and course.windows == ["all", "least"]
    assert [part.count for part in course.copies] == [0, 12, 12]
    assert {step: part.value for step, part in course.undone("all").items()} == {40: 1, 80: 1}
    for name in ("", "least"):  # the same noises: half of the training is all of it here
        assert np.array_equal(course.passed[40][name], table.passed["small", name])
    assert course.as_much("all") is None, "twelve copies say too little"
    rows = course.table({"all": "everywhere", "least": "at the end"})
    assert len({len(column) for column in rows.values()}) == 1
    assert course.in_words["all_course"].count("100% [74%, 100%] of 12 after") == 2


@pytest.mark.parametrize(
    ("early", "late", "found"),
    [(90, 180, True), (50, 20, False), (30, 160, False), (50, 110, None)],
)
def test_as_much_early_as_late_is_judged_of_enough_copies(early, late, found):
    def look(copies, undone):
        own = np.arange(400) < copies
        return {"": own, "zone": own & (np.arange(400) >= undone)}

    looks = {1: look(3, 0), 2: look(100, early), 3: look(200, late)}
    assert SwapCourse(looks).as_much("zone", 0.15) is found
    assert SwapCourse({3: looks[3]}).as_much("zone") is None
    assert SwapCourse(looks | {4: look(3, 0)}).as_much("zone") is None, (
        "nothing is known of the end"
    )


def test_beside_the_paper_the_first_eight_are_counted(two):
    """The last answer is an image of its model's own set, so the model at small noise decides."""
    small, large, distinct, _ = two
    names = {name for _, name in FIGURE_10 if name}
    windows = {name: Window.of_steps(*SWAP_STEPS[name], karras_sigmas()) for name in names}
    table = SwapTable.of(small, large, windows, distinct, 12, solver="euler", device="cpu")
    shown = table.beside_paper(TITLES)
    decided = [8 * ((base == "small") != (name == "small")) for base, name in FIGURE_10]
    assert shown["memorized of the first eight"] == decided
    assert shown["in the paper's picture"] == [*FIGURE_10.values()]


def test_a_part_is_less_than_at_medium_noise():
    passed = {("small", ""): np.repeat(True, 90), ("small", "medium"): np.repeat(False, 90)}
    passed["small", "danger"] = np.arange(90) % 3 > 0
    passed["small", "zone"] = passed["small", ""]
    table = SwapTable({"danger": Window(1.0, 2.0)}, {}, passed)
    assert table.undoes_part("danger") is True
    assert table.undoes_part("zone") is None and table.undoes_part("medium") is None
    found = table.table({"": "no\nswap"})
    assert found["window of the other model [name]"] == ["no swap", "medium", "danger", "zone"]
    assert found["window, high [data units]"][2] == 2 and np.isnan(
        found["window, low [data units]"][0]
    )
    assert found["memorized [count]"] == [90, 0, 60, 90]
    assert found["paper, Table 1 [percent]"][:2] == [92.2, 0.0]
    assert found["change [fraction]"] == pytest.approx([0, -1, -1 / 3, 0])


def test_a_switch_between_its_ends(two):
    small, large, distinct, _ = two
    switch = Switch.of(small, large, distinct, 8, solver="euler", device="cpu")
    levels = karras_sigmas()
    assert switch.sigma.tolist() == np.sqrt(levels[:-1] * levels[1:]).tolist()
    assert switch.alone["small"].all() and not switch.alone["large"].any()
    rows = switch.table()
    assert rows["switch below sigma [data units]"][::18] == [np.inf, 0.0]
    assert rows["small, then the other, memorized [fraction]"][::18] == [0.0, 1.0]
    assert rows["large, then the other, memorized [fraction]"][::18] == [1.0, 0.0]
    for base in ("small", "large"):  # either model decides at the same levels: they are alike
        middle = rows[f"{base}, then the other, memorized [fraction]"][1:-1]
        assert switch.curve(base).mean.tolist() == middle


def test_half_of_the_copies_against_a_zone():
    sigma, n = np.array([8.0, 4.0, 2.0, 1.0]), 200
    rises = np.arange(n) < n * np.array([[0.0], [0.25], [0.75], [1.0]])
    alone = {"small": np.repeat(True, n), "large": np.repeat(False, n)}
    switch = Switch(sigma, {"small": rises, "large": rises[::-1]}, alone)
    assert switch.begun.value == pytest.approx(8**0.5) and switch.ended.value == switch.begun.value
    assert switch.against(Window(1.0, 8.0)) == {"begun": "inside it", "ended": "inside it"}
    assert {*switch.against(None).values()} == {"nowhere: there is no zone"}
    exact = Fraction.of(50, n)
    assert switch.curve("small").estimate(1) == Estimate(exact.value, exact.low, exact.high)


def judged(copies: int, distance: float = 1.0, images: int = 10) -> Judged:
    found = {"principal components": Estimate(distance, distance - 1, distance + 1)}
    near = Estimate(1.0)
    return Judged(np.zeros((50, 1, 1, 1)), np.arange(50) < copies, found, near, None, images)


def test_in_words_of_one_training_and_of_several():
    one = in_words([judged(5)])
    assert (one["copies"], one["principal"], one["classifier"]) == (
        "5 of 50",
        "1 [0, 2]",
        "no labels",
    )
    both = in_words([judged(5), judged(7, 3.0, 1200)])
    assert (both["copies"], both["images"]) == ("5, 7 of 50", "1,200, 10")
    assert both["principal"] == str(Estimate(2.0, 2 - 12.7062, 2 + 12.7062))


def test_stopping_and_swapping_are_judged_on_one_bench(monkeypatch):
    """Who answers, of what seed, and what it took: this bench only says what it was given."""
    x = torch.ones(1, 1, 1, 1)

    def model(value, steps, seed=0):
        config = SimpleNamespace(
            images=steps * 2, batch=2, seed=seed, step_of=lambda part: round(part * steps)
        )
        return SimpleNamespace(
            denoise=lambda x, sigma: value * x,
            at=lambda part: lambda x, sigma: value * part * x,
            experiment=SimpleNamespace(train=config),
        )

    def judge(denoise, images, seed=None, pictures=None):
        if pictures is not None:  # of one seed, that of the training: it is found again by them
            of = {s: sample(denoise, (1, 1, 1), 2, seed=s) for s in (3, 4)}
            (seed,) = (s for s, own in of.items() if torch.equal(pictures, own))
        return float(denoise(x, 1.0)), images, seed

    monkeypatch.setattr(Stopping, "of", lambda *a, **k: SimpleNamespace(best=0.25, step=25))
    windows = {"zone": Window(1.0, 2.0), "copy": Window(0.6, 0.61)}
    found = StopOrSwap.of(
        SimpleNamespace(judge=judge, seed=0, heldout=x, n=2, solver="heun", device="cpu"),
        [model(8, 100, 3), model(8, 100, 4)],
        model(2, 200), windows, None, 0.5,
    ).judged  # fmt: skip
    assert found["plain"] == [(8, 200, 3), (8, 200, 4)] and "copy" not in found  # of no level
    assert found["zone"] == [(2 if windows["zone"].contains(1.0) else 8, 600, s) for s in (3, 4)]
    assert found["stop_loss"] == [(2, 50, 3), (2, 50, 4)]
    assert found["stop_share"] == [(4, 100, 3), (4, 100, 4)] and found["large"] == [(2, 400, None)]


@pytest.mark.parametrize(("left", "undone"), [(0, True), (4, None), (30, False)])
def test_a_tenth_of_the_copies(left, undone):
    found = StopOrSwap({"plain": [judged(45)] * 2, "stop_loss": [judged(0), judged(left)]}, [])
    assert found.undone_by_stopping is undone
    none = StopOrSwap({"plain": [judged(0)] * 2, "stop_loss": [judged(0)] * 2}, [])
    assert none.undone_by_stopping is None, "there was nothing to undo"
