"""Membership: the AUC against slow oracles, and intervals that hold in worlds of known answer."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

import geomem
from geomem.geometry.curve import ErrorCurve
from geomem.memorization.membership import Membership


def measured(seen, unseen):
    """From errors (m, S) and (n, S)."""
    sigma = np.arange(1.0, seen.shape[1] + 1)
    return Membership.of(*(ErrorCurve.from_queries(sigma, e) for e in (seen, unseen)))


@pytest.mark.parametrize("values", [3, 10, 1000])  # the fewer, the more ties
def test_the_auc_is_the_share_of_pairs_in_the_right_order(rng, values):
    seen, unseen = (rng.integers(0, values, (n, 4)).astype(float) for n in (23, 40))
    found = measured(seen, unseen).auc.mean
    less, same = (f(seen[:, None], unseen[None]).mean((0, 1)) for f in (np.less, np.equal))
    np.testing.assert_allclose(found, less + same / 2, rtol=1e-12)
    labels = np.r_[np.ones(23), np.zeros(40)]
    for s in range(4):
        scores = -np.r_[seen[:, s], unseen[:, s]]
        assert found[s] == pytest.approx(roc_auc_score(labels, scores), rel=1e-12)


def test_only_the_order_of_errors_counts(rng):
    seen, unseen = rng.exponential(size=(30, 3)), rng.exponential(2, size=(50, 3))
    one, other = measured(seen, unseen), measured(seen**3 + 1, unseen**3 + 1)
    for kind in ("auc", "tpr"):
        np.testing.assert_equal(vars(getattr(one, kind)), vars(getattr(other, kind)))


def test_exchanging_the_images_mirrors_the_auc_and_its_interval(rng):
    seen, unseen = rng.exponential(size=(30, 3)), rng.exponential(2, size=(50, 3))
    one, other = measured(seen, unseen).auc, measured(unseen, seen).auc
    mirrored = 1 - np.array([other.mean, other.high, other.low])
    np.testing.assert_allclose([one.mean, one.low, one.high], mirrored, rtol=1e-12)


def test_the_true_positives_are_those_below_all_but_one_percent(rng):
    seen, unseen = rng.exponential(size=(200, 1)), rng.exponential(2, size=(1000, 1))
    found = measured(seen, unseen)
    cut = np.sort(unseen[:, 0])[10]  # 10 of 1,000 are below
    assert found.fpr == 0.01
    assert found.tpr.mean[0] == (seen < cut).mean()


@pytest.mark.parametrize("n", [2, 20, 100, 367])
def test_of_few_images_the_rate_is_that_at_the_least_that_they_can_show(rng, n):
    """At a false-positive rate of which none of n images misses, but for one time in 40."""
    found = measured(np.zeros((50, 1)), rng.exponential(size=(n, 1)))
    assert (1 - found.fpr) ** n == pytest.approx(0.025) and found.fpr > 0.01
    assert found.tpr.low[0] > 0.9 and found.tpr.mean[0] == found.tpr.high[0] == 1
    assert f"the least that {n} held-out images can show" in str(found)


def worlds(rng, auc):
    """Laws of training and held-out errors with this AUC, and the true-positive rate at fpr."""
    apart, share = np.sqrt(2) * norm.ppf(min(auc, 1 - 1e-12)), 2 * auc - 1
    yield (
        lambda size: np.exp(rng.normal(size=size)),
        lambda size: np.exp(rng.normal(apart, size=size)),
        lambda fpr: norm.cdf(norm.ppf(fpr) + apart),
    )
    yield (  # some are copied, and have a far smaller error than all others
        lambda size: np.exp(rng.normal(size=size)) * np.where(rng.random(size) < share, 1e-9, 1),
        lambda size: np.exp(rng.normal(size=size)),
        lambda fpr: share + (1 - share) * fpr,
    )
    yield (  # some are copied exactly; the others have one error, as all held-out images have
        lambda size: np.where(rng.random(size) < share, 0.0, 1.0),
        np.ones,
        lambda fpr: share,
    )


@pytest.mark.parametrize("auc", [0.5, 0.8, 0.99, 1.0])
@pytest.mark.parametrize("sizes", [(20, 20), (20, 200), (200, 20), (100, 500), (500, 500)])
def test_the_intervals_hold_the_truth(rng, auc, sizes):
    for seen, unseen, tpr in worlds(rng, auc):
        found = measured(*(law((n, 500)) for law, n in zip((seen, unseen), sizes, strict=True)))
        for curve, truth in ((found.auc, auc), (found.tpr, tpr(found.fpr))):
            inside = (curve.low <= truth + 1e-9) & (truth - 1e-9 <= curve.high)
            assert inside.mean() >= 0.93
            if curve is found.auc and auc == 0.8 and sizes == (500, 500):
                assert inside.mean() <= 0.985, "nor are they twice as wide"


def test_the_empirical_denoiser_tells_all_and_one_of_other_images_nothing(rng):
    data = geomem.load_dataset("digits")
    images = rng.permutation(np.concatenate([data.train, data.heldout]))  # writers on both sides
    own, others, unseen = images[:64], images[64:200], images[200:]
    sigmas = [0.1, 0.5]
    told = geomem.membership(geomem.EmpiricalDenoiser(own), own, unseen, sigmas)
    assert told.auc.mean == pytest.approx([1, 1], abs=0.01) and min(told.tpr.low) > 0.8
    assert told.told.all()
    noise = dict(draws=3, seed=5)
    again = geomem.membership(geomem.EmpiricalDenoiser(own), own, unseen, sigmas, **noise)
    each = (
        geomem.denoising_error(geomem.EmpiricalDenoiser(own), x, sigmas, **noise)
        for x in (own, unseen)
    )
    np.testing.assert_array_equal(again.auc.mean, geomem.Membership.of(*each).auc.mean)
    not_told = geomem.membership(geomem.EmpiricalDenoiser(others), own, unseen, sigmas)
    assert np.all(not_told.auc.high > 0.5) and not not_told.told.any()
    assert "nowhere surely" in str(not_told)
    assert np.all(not_told.tpr.low < 0.01)


def test_of_many_levels_one_that_tells_by_chance_tells_nothing():
    """A model that saw neither kind is said to tell at any of 16 levels in 5 of 100 runs at most.

    At each level by itself an interval is above one half in 2.5; at any of them in about 20.
    """
    rng, each, any_of_them = np.random.default_rng(0), 0, 0
    for _ in range(300):
        found = measured(rng.exponential(1, (64, 16)), rng.exponential(1, (64, 16)))
        each += (found.auc.low > 0.5).any()
        any_of_them += found.told.any()
    assert any_of_them <= 15 < 60 < each


def test_the_table_and_the_sentence_are_of_the_same_level(rng):
    seen, unseen = rng.exponential([1, 0.1, 1], (30, 3)), rng.exponential(1, (400, 3))
    found, rows = measured(seen, unseen), measured(seen, unseen).table()
    assert found.worst == 1 and found.told[1]
    assert f"most at {rows['sigma [data units]'][1]:g}" in str(found)
    assert f"AUC {rows['AUC [probability]'][1]:.2f}" in str(found)
    assert {len(column) for column in rows.values()} == {3}


def test_errors_that_cannot_be_compared_are_refused(rng):
    three, two = rng.exponential(size=(5, 3)), rng.exponential(size=(5, 2))
    one, other = (ErrorCurve.from_queries(np.ones(e.shape[1]), e) for e in (three, two))
    with pytest.raises(ValueError, match="different noise levels"):
        Membership.of(one, other)
    with pytest.raises(ValueError, match="at least 2 training and 2 held-out images, got 5 and 1"):
        measured(three, three[:1])
