"""The bench: what known denoisers leave, and how trainings are compared."""

import numpy as np
import pytest
import torch

from geomem.geometry.curve import ErrorCurve
from geomem.geometry.intervals import Estimate
from geomem.geometry.posterior import empirical_denoiser
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.quality import PrincipalComponents
from geomem.memorization.remedies import Bench, error_ratio, told_apart

SIGMAS = np.array([0.05, 0.5, 5.0])


@pytest.fixture
def bench(rng):
    train, heldout, unseen = (
        rng.uniform(-1, 1, size=(n, 1, 3, 3)).astype(np.float32) for n in (6, 30, 40)
    )
    features = {"principal components": PrincipalComponents.of(unseen, 4)}
    return Bench(DistinctImages(train), heldout, unseen, features, n=32, sigmas=SIGMAS)


def test_the_empirical_denoiser_is_a_perfect_copier(bench):
    copier = bench.judge(lambda x, s: empirical_denoiser(x, bench.train.images, s), 7)
    assert copier.copies.count == copier.copies.n == 32 and copier.images == 7
    reference = bench.references(bench.heldout)["training set"]
    for kind, found in copier.distance.items():
        assert found.value == pytest.approx(reference[kind].value, rel=0.5), kind
    # On new images, nearly clean, it answers the nearest training image.
    flat = (x.reshape(len(x), -1) for x in (bench.heldout, np.asarray(bench.train.images)))
    squares = ((next(flat)[:, None] - next(flat)[None]) ** 2).sum(-1).min(1)
    assert copier.error.mean[0] == pytest.approx(squares.mean(), rel=0.05)


def test_answering_the_mean_copies_nothing_and_costs_quality(bench):
    mean = float(bench.heldout.mean())
    dull = bench.judge(lambda x, s: torch.full_like(x, mean), 1)
    real = bench.references(bench.heldout)["held-out"]
    assert dull.copies.count == 0
    assert dull.rough.value < 0.01  # no neighbours differ
    assert all(dull.distance[kind].value > 1.5 * real[kind].value for kind in real)


def test_equal_seeds_give_equal_samples_and_others_do_not(bench):
    def denoise(x, s):
        return x / (1 + s**2)

    one, again, other = (bench.judge(denoise, 1, seed=s) for s in (None, 0, 1))
    assert np.array_equal(one.pictures, again.pictures)
    assert not np.array_equal(one.pictures, other.pictures)
    assert np.array_equal(one.error.mean, other.error.mean), "the same noise on held-out images"


def curves(rng, factor, n, images=400):
    base = rng.gamma(4.0, 1.0, size=(n, images, 3))
    noise = rng.normal(1.0, 0.1, size=(n, 1, 3)) if n > 1 else 1.0
    return (
        [
            ErrorCurve.from_queries(SIGMAS, factor * b * k)
            for b, k in zip(base, np.broadcast_to(noise, (n, 1, 3)), strict=True)
        ],
        [ErrorCurve.from_queries(SIGMAS, b) for b in base],
    )


@pytest.mark.parametrize("trainings", [1, 3])
def test_the_ratio_of_errors_holds_the_truth(rng, trainings):
    held = []
    for _ in range(300):
        ones, others = curves(rng, 1.7, trainings)
        if trainings == 1:  # another denoiser: its error is proportional on average only
            ones = [
                ErrorCurve.from_queries(
                    SIGMAS, o.per_query * rng.uniform(0.5, 1.5, o.per_query.shape)
                )
                for o in ones
            ]
        ratio = error_ratio(ones, others)
        held.append((ratio.low <= 1.7) & (ratio.high >= 1.7))
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.2])
def test_the_ratio_of_errors_on_shared_images_holds_the_truth(rng, spread):
    """All trainings meet the same 30 images: what these do, their spread does not show."""
    held = []
    for _ in range(300):
        base = rng.gamma(4.0, 1.0, size=(30, 3))
        image = rng.uniform(0.5, 1.5, size=base.shape)  # how much harder it is for the one kind
        factors = np.exp(spread * rng.normal(size=(3, 3)))
        ones = [ErrorCurve.from_queries(SIGMAS, 1.7 * base * image * k) for k in factors]
        ratio = error_ratio(ones, [ErrorCurve.from_queries(SIGMAS, base)] * 3)
        held.append((ratio.low <= 1.7) & (ratio.high >= 1.7))
    assert np.mean(held) == pytest.approx(0.95, abs=0.04)


def test_distances_are_told_apart_by_the_interval_of_their_difference():
    def around(*values):
        return [Estimate(v, v - 0.1, v + 0.1) for v in values]

    assert told_apart(around(1.0), around(1.5)) == "better"
    assert told_apart(around(1.5), around(1.0)) == "worse"
    assert told_apart(around(1.0), around(1.1)) == "not told apart"
    assert told_apart(around(1.0, 1.1, 1.2), around(2.0, 2.2, 2.1)) == "better"
    assert told_apart(around(1.0, 5.0, 1.2), around(2.0, 2.2, 2.1)) == "not told apart"
