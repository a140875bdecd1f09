"""Eqs. 2 and 3 and Definition 4.1 against closed forms, invariances and a slow loop."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import norm
from torch.utils._python_dispatch import TorchDispatchMode

import geomem
from geomem import digitized
from geomem.geometry import distances, integer_products
from geomem.geometry.curve import Curve
from geomem.geometry.paper_weights import PaperWeights
from geomem.geometry.regimes import find_regimes

SIGMAS = [0.002, 0.02, 0.3, 1.0, 8.0, 80.0]


def loop_weights(x, train, sigma):
    """Eq. 3 as written, one pair at a time."""
    logits = [[-((a - b) ** 2).sum() / (2 * sigma**2) for b in train] for a in x]
    return softmax(np.array(logits), axis=1)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_weights_and_denoiser_agree_with_a_float64_loop(cloud, sigma):
    x, train = cloud
    expected = loop_weights(x, train, sigma)
    weights = geomem.posterior_weights(x, train, sigma)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(
        geomem.empirical_denoiser(x, train, sigma), expected @ train, atol=1e-6
    )


def test_near_ties_at_the_smallest_noise_are_exact(rng):
    """Two training images 1e-4 apart, d = 3072, sigma = 0.002: exact rational arithmetic."""
    image = rng.integers(0, 256, 3072) / 127.5 - 1
    train = np.stack([image, image, -image])
    train[1, :4] += 5e-5
    query = image + 0.002 * rng.normal(size=3072)
    gap = [
        sum((Fraction(a) - Fraction(b)) ** 2 for a, b in zip(query, x, strict=True))
        for x in train[:2]
    ]
    log_odds = float((gap[1] - gap[0]) / (2 * Fraction(0.002) ** 2))
    weights = geomem.posterior_weights(query[None], train, 0.002)[0]
    assert weights[0] == pytest.approx(1 / (1 + math.exp(-log_odds)), abs=1e-6)


@given(st.floats(0.002, 80), st.floats(-3, 3), st.floats(0.01, 5))
@settings(deadline=None)
def test_two_points_give_the_logistic_function(sigma, position, gap):
    weights = geomem.posterior_weights([[position]], [[0.0], [gap]], sigma)[0]
    logit = (gap * gap - 2 * position * gap) / (2 * sigma**2)  # log(w_0 / w_1)
    assert weights[0] == pytest.approx(1 / (1 + math.exp(min(-logit, 700))), abs=1e-6)


@given(st.integers(0, 10_000), st.floats(0.05, 20), st.floats(-1000, 1000))
@settings(deadline=None, max_examples=40)
def test_permutation_shift_and_scale(seed, sigma, shift):
    rng = np.random.default_rng(seed)
    x, train = rng.normal(size=(3, 4)), rng.normal(size=(9, 4))
    order = rng.permutation(9)
    weights = geomem.posterior_weights(x, train, sigma)
    for moved in (
        geomem.posterior_weights(x, train[order], sigma)[:, np.argsort(order)],
        geomem.posterior_weights(x + shift, train + shift, sigma),
        geomem.posterior_weights(3 * x, 3 * train, 3 * sigma),
    ):
        np.testing.assert_allclose(moved, weights, atol=1e-6)


def test_one_point_and_duplicates(rng):
    point = rng.normal(size=(1, 6))
    x = rng.normal(size=(4, 6))
    np.testing.assert_array_equal(geomem.posterior_weights(x, point, 0.1), np.ones((4, 1)))
    np.testing.assert_allclose(geomem.empirical_denoiser(x, point, 5.0), point.repeat(4, 0))
    assert np.all(geomem.max_posterior_weight(point, [0.01, 100.0]).mean == 1)
    twice = np.concatenate([point, point, point + 9])
    np.testing.assert_allclose(
        geomem.posterior_weights(point, twice, 0.01), [[0.5, 0.5, 0]], atol=1e-6
    )


def test_an_input_far_from_the_data_has_no_zero_over_zero(rng):
    train = rng.normal(size=(5, 3))
    far = np.array([[1e6, 0.0, 0.0]])
    weights = geomem.posterior_weights(far, train, 0.002)
    assert weights[0, train[:, 0].argmax()] == 1


@pytest.mark.parametrize("sigma", [1e-300, 1e-170, 1e170, 1e300])
def test_noise_levels_whose_squares_are_no_numbers_give_the_limits(sigma, rng):
    train = rng.normal(size=(5, 3))
    near = train[:2] + 0.01
    expected = np.eye(5)[:2] if sigma < 1 else np.full((2, 5), 0.2)
    np.testing.assert_allclose(geomem.posterior_weights(near, train, sigma), expected)
    np.testing.assert_allclose(geomem.empirical_denoiser(near, train, sigma), expected @ train)
    weight = geomem.max_posterior_weight(train, [sigma], queries=near)
    np.testing.assert_allclose(weight.mean, expected.max())


def test_kind_dtype_and_shape_follow_the_input(rng):
    train = rng.normal(size=(6, 1, 2, 2)).astype(np.float32)
    x = rng.normal(size=(3, 1, 2, 2)).astype(np.float32)
    assert geomem.posterior_weights(x, train, 1.0).dtype == np.float64
    answer = geomem.empirical_denoiser(x, train, 1.0)
    assert isinstance(answer, np.ndarray) and answer.dtype == np.float32 and answer.shape == x.shape
    tensor = geomem.empirical_denoiser(torch.from_numpy(x), torch.from_numpy(train), 1.0)
    assert tensor.dtype == torch.float32 and tensor.shape == x.shape
    np.testing.assert_array_equal(tensor.numpy(), answer)


def test_one_noise_level_per_query(cloud):
    x, train = cloud
    sigma = np.geomspace(0.1, 10, len(x))
    together = geomem.empirical_denoiser(x, train, sigma)
    alone = [geomem.empirical_denoiser(x[i : i + 1], train, sigma[i])[0] for i in range(len(x))]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_block_sizes_change_nothing(cloud, monkeypatch):
    x, train = cloud
    sigmas = [0.05, 0.5, 5.0]

    def everything():
        return [
            geomem.posterior_weights(x, train, 0.3),
            geomem.empirical_denoiser(x, train, 0.3),
            geomem.max_posterior_weight(train, sigmas, draws=5, seed=1).per_query,
            geomem.shell_coverage(x, train, sigmas, c=0.5, draws=5, seed=1).per_query,
            geomem.nearest_distances(x, train, 3),
        ]

    whole = everything()
    for name, size in (
        ("QUERY_ROWS", 3),
        ("TRAIN_ROWS", 4),
        ("WORKER_ROWS", 2),
        ("BLOCK_DRAWS", 2),
        ("CACHE_ROWS", 2),
        ("NEAR_POINTS", 3),
        ("NOISE_BYTES", 8 * 5 * 3 * 2),
    ):
        monkeypatch.setattr(distances, name, size)
        monkeypatch.setattr("geomem.geometry.posterior." + name, size, raising=False)
    for a, b in zip(whole, everything(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_what_is_left_out_changes_nothing(rng, monkeypatch, spread):
    """Most levels are decided by a few near points; from equal distances to clusters and copies."""
    scales = np.arange(1, 41.0) ** -spread
    train, x = (scales * rng.normal(size=(n, 40)) for n in (300, 70))
    train[:5], x[:3] = train[5:10], train[:3]
    sigmas, c = np.geomspace(0.01, 30, 40), 2.0
    weight = geomem.max_posterior_weight(train, sigmas, queries=x, draws=2).per_query
    cover = geomem.shell_coverage(x, train, sigmas, c=c, draws=2).per_query
    r_in, r_out = geomem.shell_radii(40, c)
    noise = [np.random.default_rng([0, k]).standard_normal(x.shape) for k in range(2)]
    for s, sigma in enumerate(sigmas):
        away = [np.linalg.norm((x + sigma * z)[:, None] - train, axis=2) / sigma for z in noise]
        exact = [softmax(-(r**2) / 2, axis=1).max(1) for r in away]
        np.testing.assert_allclose(weight[:, s], np.mean(exact, axis=0), rtol=1e-9)
        inside = [((r >= r_in) & (r <= r_out)).any(1) for r in away]
        np.testing.assert_array_equal(cover[:, s], np.mean(inside, axis=0))
    # The few near points are not enough, nor is everything looked through.
    monkeypatch.setattr(distances, "NEAR_POINTS", len(train))
    whole = geomem.max_posterior_weight(train, sigmas, queries=x, draws=2).per_query
    np.testing.assert_allclose(weight, whole, rtol=1e-12)


def test_any_number_of_threads_gives_the_same_bytes(rng, monkeypatch):
    train, x = (rng.normal(size=(n, 67)).astype(np.float32) for n in (250, 90))
    for name, size in (("QUERY_ROWS", 64), ("TRAIN_ROWS", 100), ("WORKER_ROWS", 24)):
        monkeypatch.setattr(distances, name, size)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            curves = (
                geomem.max_posterior_weight(train, SIGMAS, draws=3),
                geomem.shell_coverage(x, train, SIGMAS, c=1.0, draws=3),
            )
            found.append([curve.per_query.tobytes() for curve in curves])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_concentration_in_one_dimension_has_a_closed_form():
    """N W = 1 + sum_k (2 F(g_k / 2 sigma) - 1) over the gaps g_k of sorted points."""
    points = np.array([[0.0], [0.4], [1.0], [3.0]])
    gaps = np.diff(points[:, 0])
    sigmas = np.array([0.05, 0.2, 0.7, 2.0, 10.0])
    exact = (1 + (2 * norm.cdf(gaps / (2 * sigmas[:, None])) - 1).sum(1)) / 4
    curve = geomem.max_posterior_weight(np.repeat(points, 200, 0)[::200], sigmas, draws=4000)
    np.testing.assert_allclose(curve.mean, exact, atol=0.02)


def test_concentration_limits_and_duplicates(rng):
    train = rng.normal(size=(30, 8))
    curve = geomem.max_posterior_weight(train, [1e-3, 1e5], draws=3)
    np.testing.assert_allclose(curve.mean, [1, 1 / 30], rtol=1e-3)
    doubled = geomem.max_posterior_weight(np.concatenate([train, train]), [1e-3], draws=2)
    np.testing.assert_allclose(doubled.mean, 0.5, atol=1e-6)


def test_concentration_agrees_with_the_weights_of_the_same_noise(cloud):
    x, train = cloud
    sigmas = [0.002, 0.3, 80.0]
    curve = geomem.max_posterior_weight(train, sigmas, queries=x, draws=2, seed=5)
    for s, sigma in enumerate(sigmas):
        expected = np.zeros(len(x))
        for k in range(2):
            z = np.random.default_rng([5, k]).standard_normal(x.shape)
            expected += geomem.posterior_weights(x + sigma * z, train, sigma).max(1) / 2
        np.testing.assert_allclose(curve.per_query[:, s], expected, atol=1e-6)


def test_the_interval_is_of_the_given_training_set():
    """At its level over the noise; the spread over the images, which stay the same, is no part."""
    train = geomem.load_dataset("digits", n_train=150, n_heldout=1).train
    sigmas, draws = [0.6, 0.9, 1.2], 4
    curves = [
        geomem.max_posterior_weight(train, sigmas, draws=draws, seed=seed) for seed in range(250)
    ]
    truth = np.mean([curve.mean for curve in curves], axis=0)
    assert 0.93 < covering(curves, truth).mean() < 0.98
    wider = [Curve.from_queries(c.sigma, c.per_query, indicator=False) for c in curves]
    assert covering(wider, truth).mean() > 0.99
    # The edges of the regimes are resampled from the same chance.
    rows = np.tile([0.0, 0.9, 1.0], (9, 1))
    rising = Curve.from_queries(curves[0].sigma, rows, indicator=True)
    edges = [find_regimes(rising, c, 0.7, resamples=200).concentrated for c in curves[:60]]
    spread = np.std([edge.value for edge in edges], ddof=1)
    assert np.mean([edge.half for edge in edges]) / 1.96 == pytest.approx(spread, rel=0.25)
    # And about the estimate, not about where chance has already moved it.
    middles = [(edge.low + edge.high) / 2 for edge in edges]
    assert np.std(np.subtract(middles, [edge.value for edge in edges])) < spread / 4


def covering(curves, truth):
    return np.mean([(c.low <= truth) & (truth <= c.high) for c in curves], axis=0)


def test_of_a_part_of_a_finite_set_the_choice_counts_as_far_as_it_is_one():
    """60 images with means of their own, of which 40 are seen, with 3 noise draws each."""
    rng = np.random.default_rng(4)
    means, sigma = rng.beta(4, 2, size=60), np.ones(1)
    curves = {share: [] for share in (0, 2 / 3, 1)}
    for _ in range(600):
        some = rng.permutation(means)[:40, None, None]
        values = rng.beta(5 * some, 5 * (1 - some), size=(40, 3, 1))
        for share, found in curves.items():
            found.append(Curve.from_draws(sigma, values, share))
    few, right, many = (covering(curves[share], means.mean())[0] for share in (1, 2 / 3, 0))
    assert few < 0.9 < 0.93 < right < 0.985 < many
    chance = np.array([curve.chance[:, 0] for curve in curves[2 / 3]])
    errors = [curve.mean[0] - means.mean() for curve in curves[2 / 3]]
    assert np.mean(chance**2) / 40 == pytest.approx(np.var(errors), rel=0.15)
    np.testing.assert_allclose(chance.mean(), 0, atol=0.002)


def test_a_number_of_queries_is_so_many_training_points(cloud):
    _, train = cloud
    every = geomem.max_posterior_weight(train, SIGMAS, draws=2)
    same = geomem.max_posterior_weight(train, SIGMAS, queries=len(train), draws=2)
    np.testing.assert_array_equal(every.per_query, same.per_query)
    some = [geomem.max_posterior_weight(train, SIGMAS, queries=5, seed=s).mean for s in range(300)]
    known = geomem.max_posterior_weight(train, SIGMAS, draws=400, seed=1).mean
    np.testing.assert_allclose(np.mean(some, axis=0), known, atol=0.02)
    once = geomem.max_posterior_weight(train, SIGMAS, draws=1)
    points = geomem.max_posterior_weight(train, SIGMAS, queries=train, draws=1)
    np.testing.assert_array_equal(once.high, points.high)  # one draw tells nothing of the noise


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: geomem.max_posterior_weight([[0.0]], [1.0], queries=2), "2 of 1 training points"),
        (lambda: geomem.posterior_weights([[0.0]], [[0.0]], 0), "positive"),
        (lambda: geomem.posterior_weights([[0.0]], [[0.0]], [1.0, 2.0]), "one noise level or 1"),
        (lambda: geomem.posterior_weights([[0.0]], [[0.0, 1.0]], 1), "one size"),
        (lambda: geomem.posterior_weights([[math.nan]], [[0.0]], 1), "NaN"),
        (lambda: geomem.posterior_weights([[0.0]], np.empty((0, 1)), 1), "N >= 1"),
        (lambda: geomem.max_posterior_weight([[0.0]], []), "non-empty"),
        (lambda: geomem.max_posterior_weight([[0.0]], [1.0], draws=0), "draws"),
        (lambda: geomem.nearest_distances([[0.0]], [[0.0]], 2), "1..1"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_nearest_distances_are_exact(rng):
    train = rng.normal(size=(50, 6))
    queries = np.concatenate([train[:3], rng.normal(size=(10, 6))])
    brute = np.sort(np.linalg.norm(queries[:, None] - train[None], axis=2), axis=1)[:, :4]
    found = geomem.nearest_distances(queries, train, 4)
    np.testing.assert_allclose(found, brute, rtol=1e-12)
    assert np.all(found[:3, 0] == 0), "a copy is at distance exactly 0"


def test_nearest_names_the_neighbours_and_ties_go_to_the_lower_index(rng, monkeypatch):
    """A lattice full of exact ties, each point there three times, against a sort of all pairs."""
    lattice = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), -1).reshape(-1, 3)
    train = rng.permutation(np.tile(lattice, (3, 1)) + np.array([1e3, 0, -7]))
    between = train[20:40] + np.array([0.5, 0, 0])
    queries = np.concatenate([train[:20], between, rng.normal(size=(5, 3))])
    exact = np.linalg.norm(queries[:, None] - train[None], axis=2)
    order = np.argsort(exact, axis=1, kind="stable")[:, :9]
    monkeypatch.setattr(distances, "TRAIN_ROWS", 50)
    monkeypatch.setattr(distances, "QUERY_ROWS", 16)
    distance, index = distances.nearest(queries, train, 9)
    np.testing.assert_allclose(distance, np.take_along_axis(exact, order, 1), rtol=1e-15)
    np.testing.assert_array_equal(index, order)
    assert distance.dtype == np.float64 and index.dtype == np.int64
    tensors = distances.nearest(torch.from_numpy(queries), train, 9)
    np.testing.assert_array_equal(tensors[1].numpy(), order)


def test_the_rounding_of_the_search_decides_no_tie(rng):
    """Every sign of one vector is as far from the origin, to the last digit."""
    train = rng.normal(size=50) * rng.choice([-1.0, 1.0], (3000, 50))
    distance, index = distances.nearest(np.zeros((1, 50)), train, 5)
    assert index.tolist() == [[0, 1, 2, 3, 4]] and len(np.unique(distance)) == 1


def test_duplicate_images_are_found_by_their_lowest_index(rng):
    train = rng.uniform(-1, 1, (1500, 300)).astype(np.float32)
    train[[40, 800, 1499]] = train[3]
    _, index = distances.nearest(train[[1499, 40]] + 0.01, train, 4)
    np.testing.assert_array_equal(index, [[3, 40, 800, 1499]] * 2)


def test_any_ordinary_array_is_taken(rng):
    train = rng.normal(size=(6, 1, 3, 3))
    x = rng.normal(size=(2, 1, 3, 3))
    expected = geomem.posterior_weights(x, train, 1.0)
    flipped = train[..., ::-1][..., ::-1]
    frozen = train.copy()
    frozen.setflags(write=False)
    for same in (flipped, train.astype(">f8"), frozen, torch.from_numpy(train).requires_grad_()):
        np.testing.assert_array_equal(geomem.posterior_weights(x, same, 1.0), expected)
        geomem.max_posterior_weight(same, [1.0], draws=1)
    whole = geomem.empirical_denoiser(np.array([[1]]), np.array([[0.0], [1.0]]), 1.0)
    assert whole[0, 0] == pytest.approx(1 / (1 + math.exp(-0.5)))
    np.testing.assert_array_equal(
        geomem.empirical_denoiser(x, train, np.ones((2, 1, 1, 1))).shape, x.shape
    )


def test_images_of_another_layout_are_refused(rng):
    with pytest.raises(ValueError, match="one size and layout"):
        geomem.posterior_weights(rng.normal(size=(2, 3, 8, 8)), rng.normal(size=(4, 8, 8, 3)), 1.0)


def test_a_copy_beside_a_near_copy_is_found(rng):
    train = rng.uniform(-1, 1, (40, 3072))
    train[1] = train[0] + 1e-9 * rng.normal(size=3072)
    assert geomem.nearest_distances(train[:1], train)[0, 0] == 0


def test_a_prepared_denoiser_is_the_function_and_reads_its_set_once(cloud, monkeypatch):
    x, train = cloud
    reads, block = [], distances.Points.block

    def counted(points, *arguments):
        reads.append(points.name)
        return block(points, *arguments)

    monkeypatch.setattr(distances.Points, "block", counted)
    denoise = geomem.EmpiricalDenoiser(train)
    reads.clear()
    for sigma in (0.05, 0.5, np.geomspace(0.1, 10, len(x))):
        logits = -((x[:, None] - train) ** 2).sum(2) / (2 * np.reshape(sigma, (-1, 1)) ** 2)
        weights = np.exp(logits - logits.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        np.testing.assert_allclose(denoise(x, sigma), weights @ train, atol=1e-12)
        np.testing.assert_allclose(denoise.weights(x, sigma), weights, atol=1e-12)
    assert {*reads} == {"queries"}
    monkeypatch.setattr("geomem.geometry.posterior.KEPT_BYTES", 0)
    streamed = geomem.EmpiricalDenoiser(train)  # as for a set that is too large to keep
    for a, b in ((denoise, streamed), (denoise.weights, streamed.weights)):
        np.testing.assert_array_equal(a(x, 0.5), b(x, 0.5))
    np.testing.assert_array_equal(denoise(x, 0.5), geomem.empirical_denoiser(x, train, 0.5))
    np.testing.assert_array_equal(denoise.weights(x, 2), geomem.posterior_weights(x, train, 2))
    with pytest.raises(ValueError, match="one size"):
        denoise(x[:, 1:], 0.5)


def test_the_papers_crosses_agree_with_a_curve_through_them_and_not_with_one_beside():
    read = digitized.load("figE3_max_weight")
    sigma, values = read["sigma"], np.clip(read["max_weight"], 0, 1)
    for off, agrees in ((0.0, True), (0.02, False)):
        curve = Curve.from_queries(sigma, np.tile(values + off, (9, 1)), indicator=False)
        found = PaperWeights.against(curve)
        assert found.agrees == agrees and found.apart == pytest.approx(off, abs=0.01)


def whole(rows, shift):
    """Float64 as Python's integers: times 2^shift."""
    return np.vectorize(int, otypes=[object])(np.ldexp(rows, shift))


@pytest.mark.parametrize("d", [1, 255, 256, 257, 3072])
def test_products_of_digits_are_off_by_as_little_as_is_said(d, rng, monkeypatch):
    a, b = rng.normal(size=(2, 7, d))
    digits = [31, 63, 63, 63, 63, 63, 63, 62]
    for rows in (a, b):
        rows[1] = 0
        rows[2] = -3
        rows[3] *= 1e30
        rows[4] *= 10.0 ** rng.uniform(-30, 0, d)
        rows[5, 0] = 1  # whose scale is 4; the others' digits are as large as can be
        rows[5, 1:] = sum(4 * digit / 128**i for i, digit in enumerate(digits, 1))
        rows[6] = np.sign(rows[6])
    exact = whole(a, 250) @ whole(b, 250).T
    largest = abs(a).max(1)[:, None] * abs(b).max(1)
    lengths = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    for columns in (2**15, 100):
        monkeypatch.setattr(integer_products, "DIGIT_COLUMNS", columns)
        left, right = (integer_products.Digits.of(torch.from_numpy(rows)) for rows in (a, b))
        found = integer_products.split_products(left, right).numpy()
        wrong = abs(whole(found, 500) - exact)
        bound = (1.2 * d * largest + len(left.parts) * lengths) * 2.0**-53
        assert np.all(wrong <= whole(bound, 500))
        if columns >= d:
            assert np.all(wrong[:1] <= whole(1e-15 * lengths, 500)[:1]), "of ordinary rows"
    pair = integer_products.Digits.of(torch.from_numpy(a).reshape(7, 1, d).expand(7, 2, d))
    np.testing.assert_array_equal(integer_products.products(pair, torch.from_numpy(b))[:, 1], found)


def test_digits_of_the_widest_and_the_smallest_rows():
    """The largest sums that int32 must hold, and numbers whose powers of two are not."""
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
    wide = (126 / 127 * signs[0])[:, None].expand(2, integer_products.DIGIT_COLUMNS)
    digits = integer_products.Digits.of(wide)
    assert digits.parts[0][0].abs().min() >= 60
    found, largest = integer_products.split_products(digits, digits), (126 / 127) ** 2
    expected = integer_products.DIGIT_COLUMNS * largest * signs
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=0)
    small = torch.tensor([[5e-324], [1e-290], [0.0]], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    found = integer_products.split_products(*map(integer_products.Digits.of, (small, one)))
    torch.testing.assert_close(found, small, rtol=1e-15, atol=1e-300)


def test_curves_and_distances_of_digits_are_those_of_float64(monkeypatch):
    data = geomem.load_dataset("digits", n_train=300, n_heldout=60)
    levels = np.geomspace(0.05, 50, 12)

    def everything():
        near, which = geomem.nearest(data.heldout, data.train, 3)
        return (
            geomem.max_posterior_weight(data.train, levels, queries=100, device="cpu").per_query,
            geomem.shell_coverage(data.heldout, data.train, levels, device="cpu").per_query,
            near,
            which,
        )

    plain, made = everything(), []
    split = integer_products.Digits.of
    monkeypatch.setattr(integer_products, "slow_float64", lambda device: True)
    monkeypatch.setattr(integer_products.Digits, "of", lambda x: made.append(x) or split(x))
    for a, b in zip(everything(), plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
    assert len(made) == 6, "queries and training points of each, once"


SLOW = {(7, 5): True, (8, 6): True, (8, 9): True, (10, 3): True, (12, 0): True}
SLOW |= dict.fromkeys([(6, 0), (6, 1), (7, 0), (8, 0), (9, 0), (10, 0)], False)  # 6.1: no int8


@pytest.mark.parametrize(("capability", "slow"), SLOW.items())
def test_integers_are_for_devices_of_slow_float64_alone(capability, slow, rng, monkeypatch):
    x = torch.from_numpy(rng.normal(size=(3, 2)))
    assert integer_products.factor(x) is x
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert integer_products.slow_float64(torch.device("cuda:1")) == slow
    assert integer_products.factor(x) is x, "on the CPU"
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert not integer_products.slow_float64(torch.device("cuda:1")), "of another maker"


@pytest.mark.parametrize("dtype", ["u1", "<f4", "f2", "?", ">f4", "u2", "g"])
def test_images_move_to_a_device_before_they_become_float64(dtype, rng, monkeypatch):
    """Onto the device without memory, for one; where torch has no such dtype, after."""

    class Moves(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if kwargs and kwargs.get("device") == torch.device("meta"):
                moved.append(kwargs["dtype"].itemsize)
            return function(*args, **(kwargs or {}))

    moved = []
    monkeypatch.setattr(distances, "check_range", lambda name, block: None)
    images = rng.integers(0, 2, (5, 1, 2, 3)).astype(dtype)
    with Moves():
        block = distances.Points(images, "train", "meta").block(slice(1, 4))
    assert block.dtype == torch.float64 and block.shape == (3, 6)
    native = dtype in ("u1", "<f4", "f2", "?")
    assert moved == [images.itemsize if native else 8]
    here = distances.Points(images, "train", "cpu").block(slice(1, 4))
    np.testing.assert_array_equal(here, images[1:4].reshape(3, 6).astype(float))
