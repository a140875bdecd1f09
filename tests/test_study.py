"""Several remedies over several trainings: known copies, errors and distances, compared."""

import numpy as np
import pytest

from geomem.diffusion import fitting, presets
from geomem.diffusion.presets import ConfigError
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.intervals import Estimate, paired_difference
from geomem.geometry.regimes import measure_regimes
from geomem.memorization.case import Case
from geomem.memorization.remedies import Judged, Ratio
from geomem.memorization.study import ROUGH, Study, broken_in_words, course, relative_course

SIGMA = np.array([0.1, 1.0, 10.0])


def judged(copies, distance, error=1.0, images=100, n=100):
    """``copies`` of n samples are memorized; the error is the same for every image."""
    passed = np.arange(n) < copies
    curve = ErrorCurve.from_queries(SIGMA, np.full((5, 3), error) * [1.0, 2.0, 3.0])
    near = {"pca": Estimate(distance, distance - 0.1, distance + 0.1)}
    rough = Estimate(error, error - 0.1, error + 0.1)
    return Judged(np.zeros((n, 1, 2, 2), np.float32), passed, near, rough, curve, images)


@pytest.fixture
def study():
    trained = {("plain", s): judged(80 + s, 2.0) for s in range(3)}
    trained |= {("gap", s): judged(10 + s, 1.0, error=0.5) for s in range(3)}
    once = {("once", 0): judged(5, 3.0), ("stopped", 0): judged(0, 0.5, images=6)}
    return Study(trained | once)


def test_kinds_are_compared_over_the_seeds_that_both_have(study):
    change = study.copies("gap", "plain")
    assert change.value == pytest.approx(-0.7)
    alone = paired_difference(*(np.arange(100) < copies for copies in (80, 10)))
    longer = max(alone.value - alone.low, alone.high - alone.value)
    assert change.half == pytest.approx(longer / np.sqrt(3))  # equal changes: of their samples
    one = study.copies("once", "plain")  # of seed 0 alone: over samples, paired
    assert one.value == pytest.approx(-0.75) and one.low < one.value < one.high
    assert [len(study.of(*pair)) for pair in (("plain",), ("plain", "once"))] == [3, 1]


def test_what_is_missing_is_said_and_never_counted(study):
    assert "dummy" not in study and study.copies("dummy", "plain") is None
    assert study.fewer("dummy") is study.little("dummy", 1.0) is study.nearer("dummy") is None
    assert study.costs("dummy", "pca") is None and study.error("dummy", "plain") is None
    assert study.comparisons([("gap", "plain"), ("dummy", "plain")])[""] == ["gap, against plain"]
    words = study.in_words(["gap", "dummy"], [("gap", "plain"), ("dummy", "plain")])
    assert words["dummy_memorized"] == words["dummy_plain_change"] == "not in this run"
    assert words["gap_plain_change"].startswith("-70%")
    assert words["gap_memorized"].startswith("10 of 100")


def test_fewer_and_little_are_of_whole_intervals(study):
    assert study.fewer("gap") is True and study.fewer("plain", "gap") is False
    assert study.fewer("once", by=-0.5) is True and study.fewer("once", by=-0.75) is None
    assert study.little("plain", 0.02, "plain") is True and study.little("gap", 0.1) is False
    none = Study({(kind, 0): judged(0, 2.0) for kind in ("plain", "gap")})
    assert none.little("gap", 0.5) is None, "of nothing nothing is left alone"


def test_errors_and_distances_of_known_ratio(study):
    np.testing.assert_allclose(study.error("gap", "plain").mean, 0.5)
    assert [*study.errors(["gap", "dummy"], "plain")] == ["gap"]
    assert study.quality("once", "plain") == {"pca": "worse"}
    assert study.nearer("gap") is True and study.nearer("once") is False
    assert study.costs("once", "pca") is True and study.costs("gap", "pca") is False


def test_cost_and_table(study):
    assert study.cost("stopped") == pytest.approx(0.06)
    table = study.table({"plain": "to the end", "stopped": "early"}, {"held-out": {"pca": 7}})
    assert table[""] == ["to the end", "early", "real held-out images"]
    assert table["copies, of 100 each"] == ["80, 81, 82", "0", ""]
    assert table["images seen"] == ["100%", "6%", ""] and table["pca"][-1] == 7


def test_a_share_over_trainings_is_no_surer_than_its_samples(study):
    gap, once = study.share("gap"), study.share("once")
    assert gap.value == pytest.approx(0.11) and gap.low < 0.1 and gap.high > 0.12
    assert (once.low, once.high) == pytest.approx(study.of("once")[0].copies.numbers[1:])
    none = Study({("none", s): judged(0, 1.0) for s in range(3)}).share("none")
    assert none.low == none.value == 0 and 0 < none.high < 3 / 100  # none of 300


def test_an_overview_has_means_over_the_trainings(study):
    table = study.overview({"gap": "left out", "once": "once"}, (1.2, 9.0), "pca")
    assert table[""] == ["left out", "once"] and table["copies"][0] == study.share("gap")
    assert [error.value for error in table["error at 1"]] == [1.0, 2.0]
    assert [error.value for error in table["error at 10"]] == [1.5, 3.0]
    assert table["Frechet distance"][0].value == 1.0
    half = 0.1 / np.sqrt(3)  # three that agree, each with the width of its samples
    assert table[ROUGH][0].numbers == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    assert table[ROUGH][1] == Estimate(1.0, 0.9, 1.1)
    assert table["Frechet distance"][1] == study.of("once")[0].distance["pca"]


def test_the_front_holds_what_no_other_beats():
    points = {"a": (10, 3.0), "b": (10, 2.0), "c": (20, 2.5), "d": (30, 1.0), "e": (40, 1.0)}
    study = Study({(kind, 0): judged(*point) for kind, point in points.items()})
    assert study.front("pca") == ["b", "d"]
    assert study.front("pca", ["a", "c", "e"]) == ["a", "c", "e"]


def test_a_ratio_says_where_it_is_lower_and_higher():
    ratio = Ratio(
        SIGMA, np.array([0.5, 1.0, 2.0]), np.array([0.4, 0.9, 1.5]), np.array([0.6, 1.1, 3])
    )
    assert ratio.in_words() == "lower at 1 and higher at 1 of 3 levels"
    inside = np.array([True, False, False])
    assert ratio.in_words(inside).startswith("0.5 [0.4, 0.6] times it at σ = 0.1")
    assert "not known" in ratio.in_words(np.zeros(3, bool))
    assert ratio.mostly_lower(inside) is True and ratio.mostly_lower(np.ones(3, bool)) is False
    assert ratio.mostly_lower(np.array([True, True, False])) is None, "half of them is not most"


def test_a_course_is_relative_to_where_the_plain_model_ends():
    found = relative_course(
        [0.5, 1], {"plain": [judged(10, 4.0), judged(50, 2.0)], "gap": [judged(0, 1.0)] * 2}, "pca"
    )
    values = [(share, copies.value, away.value) for share, copies, away in found["plain"]]
    assert values == [(0.5, 0.1, 2.0), (1, 0.5, 1.0)]
    assert all(away.numbers == pytest.approx((0.5, 0.45, 0.55)) for *_, away in found["gap"])


def test_a_course_takes_the_end_from_the_study(study):
    class Bench:
        def judge_trained(self, model, share):
            return (model, share)

    found = course(Bench(), {"plain": "model"}, [0.5, 1], study)
    assert found == {"plain": [("model", 0.5), study.first["plain"]]}


def test_a_case_keeps_apart_who_chooses_who_judges_and_who_is_unseen():
    case = Case.of("digits-mlp", "digits", 64, n_heldout=21)
    assert len(case.choosing) + len(case.judging) == 21
    assert not (case.choosing[:, None] == case.judging[None]).all((2, 3, 4)).any()
    assert len(case.unseen) + 64 == len(case.everything.train) and not case.own
    assert Case.of("digits-mlp", "digits").own
    with pytest.raises(ConfigError, match=r"no snapshot at 0\.3"):
        Case.of("digits-mlp", "digits", stop_share=0.3)


def test_a_dummy_class_is_trained_at_the_real_images_noise_levels():
    case = Case.of("digits-mlp", "digits")
    changed = presets.changed(case.small, case.dummy)
    train = changed.train.for_images(changed.data.load().train)
    assert train.noise == case.law and changed.data.dummy


def test_broken_trainings_are_named():
    assert broken_in_words(["plain, seed 1"]) == "Broken down here: plain, seed 1"
    assert broken_in_words([]).startswith("None")


@pytest.mark.parametrize("dummy", [False, True])
def test_a_model_of_the_store_is_judged_after_a_share_of_its_training(tmp_path, dummy):
    changes = "train.steps=16 train.model.width=8"
    case = Case.of("digits-mlp", "digits", 8, changes, n_heldout=20, device="cpu")
    trained = fitting.fit(presets.changed(case.small, case.dummy if dummy else {}), root=tmp_path)
    bench = case.bench(n=20, sigmas=SIGMA, features={"mean": lambda x: x.mean((1, 2, 3))[:, None]})
    found = bench.judge_trained(trained, 0.25, seed=3)
    denoise = trained.at(0.25).given(0) if dummy else trained.at(0.25)
    wanted = bench.judge(denoise, 4 * case.small.train.batch, seed=3)
    np.testing.assert_array_equal(found.pictures, wanted.pictures)
    assert found.images == wanted.images and [*found.distance] == ["mean", "sliced Wasserstein"]


def test_a_case_knows_its_models_names_and_its_zone():
    case = Case.of("digits-mlp", "digits", 8, n_heldout=20)
    assert case.names["small"] == "small, N = 8"
    zone = measure_regimes(case.heldout, case.data.train, device="cpu").zone
    assert case.geometry().zone == zone
