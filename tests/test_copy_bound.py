"""The copy bound: no answer that passes the ratio test is nearer than the margin, and some are."""

import numpy as np
import pytest
import torch
from scipy.stats import binom, ortho_group

import geomem
from geomem.memorization.copy_bound import CopyBound, copy_bound, copy_margin
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import memorization_rates, neighbours

THRESHOLDS = [0.1, 1 / 3, 0.7]


def distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=2)


def two_distances(images, train, t=1 / 3):
    first, second = np.sort(distances(images, np.unique(train, axis=0)), axis=1)[:, :2].T
    return (first - t * second) / (1 + t)


def entries(images, train, t):
    """For each image and each training image: the first point that passes on the way there."""
    target = np.broadcast_to(train, (len(images), *train.shape)).copy()
    inside, outside = np.ones(target.shape[:2]), np.zeros(target.shape[:2])
    for _ in range(60):
        share = (inside + outside) / 2
        at = images[:, None] + share[..., None] * (target - images[:, None])
        passes = neighbours(at.reshape(-1, at.shape[-1]), train).memorized(t).reshape(share.shape)
        inside, outside = np.where(passes, share, inside), np.where(passes, outside, share)
    return images[:, None] + inside[..., None] * (target - images[:, None])


@pytest.mark.parametrize("t", THRESHOLDS)
@pytest.mark.parametrize(("n", "d"), [(2, 1), (2, 5), (3, 2), (8, 2), (12, 9), (30, 64)])
def test_nothing_nearer_than_the_margin_passes(t, n, d, rng):
    train, images = rng.normal(size=(n, d)), 1.5 * rng.normal(size=(40, d))
    margin = copy_margin(images, train, t)
    assert np.all(margin >= two_distances(images, train, t) - 1e-9)
    answers = entries(images, train, t)
    far = np.linalg.norm(answers - images[:, None], axis=2)
    assert np.all(far >= margin[:, None] * (1 - 1e-9))
    around = images[:, None] + margin[:, None, None] * 0.999999 * directions(rng, (40, 200, d))
    assert not neighbours(around[margin > 0].reshape(-1, d), train).memorized(t).any()


def directions(rng, shape):
    vectors = rng.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("t", THRESHOLDS)
@pytest.mark.parametrize("d", [1, 2, 7])
def test_of_two_training_images_the_margin_is_the_exact_distance(t, d, rng):
    """The points that pass are two balls (Apollonius); the margin ends at the nearer one."""
    train, images = rng.normal(size=(2, d)), 2 * rng.normal(size=(300, d))
    balls = []
    for own, other in (train, train[::-1]):
        centre = (own - t**2 * other) / (1 - t**2)
        radius = t * np.linalg.norm(own - other) / (1 - t**2)
        balls.append((centre, np.linalg.norm(images - centre, axis=1) - radius))
    apart = np.minimum(balls[0][1], balls[1][1])
    margin = copy_margin(images, train, t)
    np.testing.assert_allclose(margin, np.maximum(apart, 0), atol=1e-12)
    nearer = np.where((balls[0][1] < balls[1][1])[:, None], balls[0][0], balls[1][0])
    towards = (nearer - images) / np.linalg.norm(nearer - images, axis=1, keepdims=True)
    for step, passes in ((1 + 1e-6, True), (1 - 1e-6, False)):
        answers = images + step * margin[:, None] * towards
        assert np.all(neighbours(answers, train).memorized(t)[margin > 1e-3] == passes)


@pytest.mark.parametrize("t", THRESHOLDS)
def test_on_a_line_between_two_images_the_two_distances_are_all(t):
    a, b = 1.0, np.array([1.0, 1.7, 3.0, 5.0])
    for far in b:
        margin = copy_margin([[0.0]], [[-a], [far]], t)[0]
        assert margin == pytest.approx(max((a - t * far) / (1 + t), 0), abs=1e-12)
    assert copy_margin([[0.0]], [[-1.0], [2.0]])[0] == pytest.approx((3 * 1 - 2) / 4)


def test_margins_and_copies_are_of_one_threshold(rng):
    train, heldout = rng.normal(size=(12, 1, 3, 3)), rng.normal(size=(9, 1, 3, 3))
    denoise = geomem.EmpiricalDenoiser(train, device="cpu")
    found = geomem.copy_bound(denoise, heldout, train, [0.5, 2.0], threshold=0.6)
    np.testing.assert_array_equal(found.margin, copy_margin(heldout, train, 0.6))
    rates = geomem.memorization_rates(denoise, heldout, train, [0.5, 2.0], threshold=0.6)
    np.testing.assert_array_equal(found.memorized.mean, rates.mean)


def test_at_threshold_one_everything_passes_and_nothing_has_a_margin(rng):
    assert np.all(copy_margin(rng.normal(size=(20, 3)), rng.normal(size=(7, 3)), 1.0) == 0)
    on_the_wall = copy_margin([[0.0, 0.0]], [[1.0, 0.0], [-1.0, 0.0]], 1.0)
    assert on_the_wall == 0


def test_the_margin_is_zero_just_where_the_image_itself_passes(rng):
    train = rng.normal(size=(9, 4))
    images = np.concatenate(
        [train, rng.normal(size=(20, 4)), train + 0.1 * rng.normal(size=(9, 4))]
    )
    passes = neighbours(images, train).memorized()
    assert np.array_equal(copy_margin(images, train) == 0, passes) and 0 < passes.sum() < len(
        passes
    )


def test_the_margin_is_its_formula_pair_by_pair(rng):
    t, train, images = 0.4, rng.normal(size=(11, 3)), rng.normal(size=(6, 3))

    def reach(x, i, j):
        own, other, gap = (
            np.linalg.norm(v) for v in (x - train[i], x - train[j], train[i] - train[j])
        )
        b = own**2 - t**2 * other**2
        return b / (t * gap + np.sqrt(t**2 * gap**2 + (1 - t**2) * b))

    for x, margin in zip(images, copy_margin(images, train, t), strict=True):
        first = int(np.linalg.norm(x - train, axis=1).argmin())
        rest = [i for i in range(11) if i != first]
        own = max(reach(x, first, j) for j in rest)
        assert margin == pytest.approx(max(min(own, *(reach(x, i, first) for i in rest)), 0))


def test_the_margin_moves_with_the_images(rng, monkeypatch):
    train, images = rng.normal(size=(30, 6)), rng.normal(size=(25, 6))
    margin, turn = copy_margin(images, train), ortho_group.rvs(6, random_state=1)
    padded = [np.pad(x, ((0, 0), (0, 50))) for x in (images, train)]
    moved = {
        "turned": copy_margin(images @ turn, train @ turn),
        "shifted": copy_margin(images + 7, train + 7),
        "padded": copy_margin(*padded),
        "shuffled": copy_margin(images, train[::-1]),
        "twice": copy_margin(images, np.concatenate([train, train])),
        "scaled": copy_margin(1e6 * images, 1e6 * train) / 1e6,
        "tensors": copy_margin(torch.from_numpy(images), DistinctImages(torch.from_numpy(train))),
    }
    monkeypatch.setattr("geomem.geometry.distances.Points.slices", in_sevens)
    moved["in blocks"] = copy_margin(images, train)
    for how, other in moved.items():
        np.testing.assert_allclose(other, margin, rtol=1e-9, err_msg=how)
    assert np.all(copy_margin(images, train, 0.5) <= margin)


def in_sevens(points, size):
    return [slice(i, min(i + 7, len(points))) for i in range(0, len(points), 7)]


# Denoisers


@pytest.fixture
def images(rng):
    """60 held-out and 20 training images."""
    return (rng.uniform(-1, 1, (n, 1, 3, 3)).astype(np.float32) for n in (60, 20))


def towards_copies(heldout, train, step):
    """It knows the image, and answers with ``step`` margins from it to the nearest that passes."""
    flat, seen = heldout.reshape(len(heldout), -1).astype(float), train.reshape(len(train), -1)
    answers = entries(flat, seen.astype(float), 1 / 3)
    far = np.linalg.norm(answers - flat[:, None], axis=2)
    best = answers[np.arange(len(flat)), far.argmin(1)]
    away = (best - flat) / far.min(1)[:, None]
    given = flat + step * far.min(1)[:, None] * away
    return lambda x, sigma: torch.from_numpy(given).float().reshape(heldout.shape)


SIGMAS = np.array([0.01, 0.1, 0.3, 1.0, 5.0])


@pytest.mark.parametrize("kind", ["empirical", "identity", "noise", "constant", "adversary"])
def test_no_denoiser_copies_more_than_its_bounds(kind, images, rng):
    heldout, train = images
    denoise = {
        "empirical": lambda x, sigma: geomem.empirical_denoiser(x, train, sigma),
        "identity": lambda x, sigma: x,
        "noise": lambda x, sigma: torch.from_numpy(rng.normal(size=x.shape)).float(),
        "constant": lambda x, sigma: torch.zeros_like(x) + torch.from_numpy(train[3]),
        "adversary": towards_copies(heldout, train, 1 + 1e-5),
    }[kind]
    found = copy_bound(denoise, heldout, train, SIGMAS, seed=3)
    markov = found.markov.per_query
    assert np.all(found.passed <= found.beyond.per_query) and np.all(
        found.beyond.per_query <= markov
    )
    if kind not in ("noise", "identity"):
        assert found.memorized.mean.max() == 1
    if kind != "noise":  # whose own noise goes on
        rate = memorization_rates(denoise, heldout, train, SIGMAS, seed=3)
        np.testing.assert_array_equal(found.memorized.mean, rate.mean)
        error = geomem.denoising_error(denoise, heldout, SIGMAS, seed=3)
        np.testing.assert_allclose((found.error**2).mean(0), error.mean, rtol=1e-5)


def test_the_bound_is_met_by_an_adversary_of_two_images(rng):
    """Its answers lie at the margin: a little farther all are copies, a little less none."""
    train, heldout = np.array([[-1.0, 0], [2.0, 0]]), rng.uniform(-0.2, 0.3, (50, 2))
    heldout[:, 1] = 0  # between the two, where straight ahead is the nearest way
    for step, share in ((1.001, 1), (0.999, 0)):
        found = copy_bound(towards_copies(heldout, train, step), heldout, train, [1.0], batch=50)
        assert found.memorized.mean == found.beyond.mean == share
        np.testing.assert_allclose(found.error[:, 0], step * found.margin, rtol=1e-5)


def test_the_bound_of_the_identity_is_that_of_the_noise(images):
    heldout, train = images
    found = copy_bound(lambda x, sigma: x, heldout, train, SIGMAS)
    expected = np.minimum(1, 9 * SIGMAS**2 / found.margin[:, None] ** 2).mean(0)
    np.testing.assert_allclose(found.identity.mean, expected)
    better = copy_bound(lambda x, sigma: x / (1 + sigma), heldout, train, SIGMAS)
    np.testing.assert_array_equal(better.identity.mean, found.identity.mean)  # of images alone
    at = found.markov.estimate(0)
    assert at.low <= found.identity.mean[0] <= at.high


def bound_of(beyond, sigma):
    """A bound whose certificate counts (n, S) these."""
    n = len(beyond)
    return CopyBound(sigma, np.ones(n), np.where(beyond, 2.0, 0.5), np.zeros_like(beyond), 4)


def test_images_without_a_margin_count_in_full():
    found = CopyBound(np.array([1.0]), np.zeros(5), np.zeros((5, 1)), np.ones((5, 1), bool), 4)
    for curve in found.curves.values():
        assert curve.mean == 1 and curve.high == 1
    assert np.isnan(found.edge())


def test_below_the_edge_every_level_is_certified():
    sigma = np.array([4.0, 1.0, 2.0, 8.0, 0.5])  # in any order
    beyond = np.zeros((400, 5), bool)
    beyond[:200, 0] = True  # at 4; at 8 none again, which is not below it
    found = bound_of(beyond, sigma)
    assert found.edge() == 2.0 and found.edge(0.9) == 8.0
    assert np.all(found.beyond.high[sigma <= 2] <= 0.05)
    assert np.isnan(found.edge(0.005))  # 400 images: none of them is at most 0.9%
    none = bound_of(beyond[:, 1:2], sigma[1:2])
    assert none.edge(1 - 0.025 ** (1 / 400) + 1e-12) == 1.0


def test_the_edge_is_too_far_no_oftener_than_it_says(rng):
    """True rates rise through 5% between two levels; the first one above may seem below it."""
    sigma, rates = np.arange(1.0, 7.0), np.array([0.01, 0.02, 0.0501, 0.0501, 0.0501, 0.2])
    edges = [bound_of(rng.random((1000, 6)) < rates, sigma).edge() for _ in range(2000)]
    wrong = sum(edge >= 3 for edge in edges)
    assert wrong <= binom.ppf(0.999, 2000, 0.025)
    assert max(edges) < 6


def test_the_table_has_every_curve_under_a_unit(images):
    import matplotlib.pyplot as plt

    heldout, train = images
    found = copy_bound(lambda x, sigma: x, heldout, train, SIGMAS)
    table = found.table()
    assert len(table) == 1 + 3 * len(found.curves) and all("[" in heading for heading in table)
    fig, ax = plt.subplots()
    found.plot(ax)
    drawn = [line.get_ydata() for line in ax.lines]
    for line, curve in zip(drawn, found.curves.values(), strict=True):
        np.testing.assert_array_equal(line, curve.mean)
    plt.close(fig)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: copy_margin(x[:, :1], x), "one size"),
        (lambda x: copy_margin(np.full((1, 2), np.nan), x), "NaN"),
        (lambda x: copy_margin(x, x[:1]), "2 distinct"),
        (lambda x: copy_margin(x, x, 0.0), "threshold"),
        (lambda x: copy_margin(x, x, 1.5), "threshold"),
        (lambda x: copy_bound(lambda y, s: y[:, :1], x, x, [1.0]), "shape"),
        (lambda x: copy_bound(lambda y, s: y / 0, x, x, [1.0]), "infinite"),
        (lambda x: copy_bound(lambda y, s: y, x, x, [-1.0]), "positive"),
        (lambda x: copy_bound(lambda y, s: y, x, x, [1.0], batch=0), "batch"),
        (lambda x: copy_bound(lambda y, s: y, x, x, [1.0]).edge(1.0), "level"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(np.array([[0.0, 1.0], [1.0, 2.0]]))
    assert "\n" not in str(caught.value)
