"""The Gaussian denoiser and Theorem 4.11 against closed forms and clouds whose truth is known."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage

import geomem
from geomem.geometry import gaussian
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.gap_law import GapLaw
from geomem.geometry.locality import circulant_sensitivity


@pytest.fixture
def skewed(rng):
    """12 points, d = 4, exponential coordinates."""
    return rng.exponential(size=(12, 4)) @ rng.normal(size=(4, 4))


def mirrored(cloud):
    return np.concatenate([cloud, 2 * cloud.mean(0) - cloud])


@pytest.mark.parametrize("n", [3, 8, 40])
def test_gaussian_denoiser_is_equation_7(rng, n):
    """Fewer and more points than dimensions, one noise level and one for each input."""
    train, x = rng.normal(size=(n, 8)) + 50, rng.normal(size=(5, 8)) + 50
    levels = np.array([0.01, 0.3, 1.0, 5.0, 80.0])
    mean, covariance = train.mean(0), np.cov(train.T, bias=True)
    expected = [
        mean + covariance @ np.linalg.solve(covariance + sigma**2 * np.eye(8), row - mean)
        for row, sigma in zip(x, levels, strict=True)
    ]
    np.testing.assert_allclose(gaussian.gaussian_denoiser(x, train, levels), expected, atol=1e-9)
    one = gaussian.gaussian_denoiser(x[2:3], train, 1.0)
    np.testing.assert_allclose(one, expected[2:3], atol=1e-9)


def test_a_prepared_denoiser_is_the_function_and_finds_the_axes_once(skewed, rng, monkeypatch):
    found, principal = [], gaussian._principal
    monkeypatch.setattr(gaussian, "_principal", lambda t: found.append(t) or principal(t))
    denoise, x = geomem.GaussianDenoiser(skewed), rng.normal(size=(5, 4))
    covariance = np.cov(skewed.T, bias=True)
    for sigma in (0.1, 1.0, 30.0):
        gain = covariance @ np.linalg.inv(covariance + sigma**2 * np.eye(4))
        mean = skewed.mean(0)
        np.testing.assert_allclose(denoise(x, sigma), mean + (x - mean) @ gain.T, atol=1e-10)
        error = np.trace(covariance - gain @ covariance)
        np.testing.assert_allclose(denoise.error([sigma]), error, rtol=1e-9)
    assert len(found) == 1
    np.testing.assert_array_equal(denoise(x, 1.0), geomem.gaussian_denoiser(x, skewed, 1.0))
    np.testing.assert_array_equal(denoise.error([0.5, 2]), geomem.linear_mmse(skewed, [0.5, 2]))
    with pytest.raises(ValueError, match="one size"):
        denoise(x[:, 1:], 1.0)


def test_same_kind_dtype_and_shape(rng):
    train = rng.normal(size=(6, 1, 3, 3))
    for x in (train[:2].astype(np.float32), torch.from_numpy(train[:2]).float()):
        result = gaussian.gaussian_denoiser(x, train, 0.5)
        assert type(result) is type(x) and result.dtype == x.dtype and result.shape == x.shape


def test_one_training_point_is_the_answer():
    np.testing.assert_allclose(gaussian.gaussian_denoiser([[9.0]], [[2.0]], 1.0), [[2.0]])
    assert gaussian.linear_gap([[2.0]], [1.0]).mean[0] == 0


def test_two_points_have_a_hyperbolic_tangent(rng):
    """x = -1, 1: m = tanh(x / sigma^2), m^G = x / (1 + sigma^2)."""
    sigmas = np.array([0.5, 1.0, 3.0, 20.0])
    curve = gaussian.linear_gap([[-1.0], [1.0]], sigmas, draws=3, seed=5)
    expected = np.zeros((2, 4))
    for draw in range(3):
        noise = np.random.default_rng([5, draw]).standard_normal((2, 1))
        x = np.array([[-1.0], [1.0]]) + noise * sigmas
        expected += (np.tanh(x / sigmas**2) - x / (1 + sigmas**2)) ** 2 / 3
    np.testing.assert_allclose(curve.per_query, expected, atol=1e-12)
    assert curve.n == 2 and np.all((curve.low <= curve.mean) & (curve.mean <= curve.high))
    assert gaussian.cumulant_norm2([[-1.0], [1.0]]) == pytest.approx(0, abs=1e-12)
    assert gaussian.cumulant_norm2([[-1.0], [1.0]], 4) == pytest.approx(4)  # kappa_4 = -2


def test_many_gaussian_points_leave_little_gap(rng):
    """For Gaussian data the two denoisers agree; what is left is sampling, of order 1/N."""
    few, many = rng.normal(size=(100, 3)), rng.normal(size=(10_000, 3))
    gaps = [
        gaussian.linear_gap(cloud, [2.0, 5.0], queries=few[:50], draws=2).mean
        for cloud in (few, many)
    ]
    assert np.all(gaps[1] < gaps[0] / 20)
    assert np.all(gaps[1] < 1e-2 * gaussian.linear_mmse(many, [2.0, 5.0]))


@pytest.mark.parametrize("order", [3, 4])
def test_the_gap_tends_to_its_law(skewed, order):
    """kappa_3 / sigma^4 on a skewed cloud, kappa_4 / sigma^6 on a symmetric one."""
    cloud = mirrored(skewed) if order == 4 else skewed
    sigmas = np.array([100.0, 200.0]) * np.sqrt(cloud.var(0).sum())
    queries = np.tile(cloud, (100, 1))
    curve = gaussian.linear_gap(cloud, sigmas, queries=queries, draws=10)
    law = gaussian.linear_gap_law(cloud, sigmas, order=order)
    error = (curve.high - curve.mean) / 1.96
    assert np.all(np.abs(curve.mean - law) <= 4 * error) and np.all(error < 0.06 * law)
    fall = np.log2(curve.mean[0] / curve.mean[1])
    assert fall == pytest.approx(4 if order == 3 else 6, abs=0.02)
    if order == 4:
        assert gaussian.cumulant_norm2(cloud) < 1e-9 * gaussian.cumulant_norm2(skewed)


@pytest.mark.parametrize(("order", "cloud"), [(3, [0.0, 0.0, 3.0]), (4, [-1.0, 0.0, 1.0])])
def test_the_law_leaves_out_what_falls_with_the_square_of_the_noise(order, cloud):
    """By quadrature over the noise: twice the noise, a quarter of the relative error."""
    points = np.array(cloud)[:, None]
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    levels = np.array([20.0, 40.0])
    errors = []
    for sigma in levels:
        x = (points + sigma * z).reshape(-1, 1)
        gap = geomem.empirical_denoiser(x, points, sigma) - geomem.gaussian_denoiser(
            x, points, sigma
        )
        mean = (gap.reshape(len(points), -1) ** 2 @ weight).mean() / weight.sum()
        errors.append(mean / gaussian.linear_gap_law(points, [sigma], order=order)[0] - 1)
    assert 0 < abs(errors[0]) < 0.05 and errors[0] / errors[1] == pytest.approx(4, rel=0.05)


def test_cumulants_agree_with_their_tensors(skewed):
    xi = skewed - skewed.mean(0)
    third = np.einsum("na,nb,nc->abc", xi, xi, xi) / 12
    covariance = xi.T @ xi / 12
    fourth = np.einsum("na,nb,nc,nd->abcd", xi, xi, xi, xi) / 12
    for pairing in ("ab,cd->abcd", "ac,bd->abcd", "ad,bc->abcd"):
        fourth -= np.einsum(pairing, covariance, covariance)
    assert gaussian.cumulant_norm2(skewed) == pytest.approx((third**2).sum())
    assert gaussian.cumulant_norm2(skewed, 4) == pytest.approx((fourth**2).sum())


def test_reference_law_in_theory():
    """The cross of four points: |kappa_4|^2 / 6 by hand."""
    cross = np.array([[2.0, 0], [-2.0, 0], [0, 1.0], [0, -1.0]])
    m20, m02, m40, m04 = 2.0, 0.5, 8.0, 0.5
    by_hand = (m40 - 3 * m20**2) ** 2 + (m04 - 3 * m02**2) ** 2 + 6 * (m20 * m02) ** 2
    law = gaussian.linear_gap_law(cross, [1.0, 10.0], order=4)
    np.testing.assert_allclose(law, by_hand / 6 * np.array([1, 1e-6]))


def test_bound_holds_on_the_ball_and_has_its_closed_form(skewed, rng):
    sigmas = np.geomspace(0.1, 300, 12)
    for radius in (0.0, 0.5, 3.0, 50.0):
        step = rng.normal(size=(200, 4))
        step *= radius * rng.uniform(size=(200, 1)) / np.linalg.norm(step, axis=1)[:, None]
        x = skewed.mean(0) + step
        bound = gaussian.linear_gap_bound(skewed, sigmas, radius)
        for sigma, limit in zip(sigmas, bound, strict=True):
            gap = geomem.empirical_denoiser(x, skewed, sigma)
            gap -= gaussian.gaussian_denoiser(x, skewed, sigma)
            assert np.linalg.norm(gap, axis=1).max() <= limit
    pair = [[-1.0], [1.0]]  # R = lambda_1 = 1, osc = 2 r / sigma^2 for r >= 1
    closed = 1 / (8 * 3**2) + (2 * 5 / 3**2) ** 2 / 4 + 5 / 3**4
    assert gaussian.linear_gap_bound(pair, [3.0], 5.0)[0] == pytest.approx(closed)
    np.testing.assert_array_equal(
        gaussian.linear_gap_bound(pair, [3.0, 1.0], np.array([5.0, 2.0])),
        [gaussian.linear_gap_bound(pair, [s], r)[0] for s, r in ((3.0, 5.0), (1.0, 2.0))],
    )


def test_bound_does_not_cancel_far_away():
    bound = gaussian.linear_gap_bound([[-1.0], [1.0]], [1e9], 1e17)
    assert bound[0] == pytest.approx(0.01, rel=1e-9)


def test_a_direction_without_variance_gains_nothing_at_the_least_noise():
    flat = np.array([[-1.0, 0.0], [1.0, 0.0]])
    for sigma in (1e-170, 1e100):
        x = gaussian.gaussian_denoiser(np.array([[0.5, 3.0]]), flat, sigma)
        np.testing.assert_allclose(x, [[0.5 if sigma < 1 else 0, 0]], atol=1e-12)
        mmse = gaussian.linear_mmse(flat, [sigma])
        np.testing.assert_allclose(mmse, [0 if sigma < 1 else 1], atol=1e-12)
    row = circulant_sensitivity([3.0, 0.0, 0.0], 1e-170)
    np.testing.assert_allclose(row, [1 / 3] * 3)


def test_gap_is_linear_minus_best_error(skewed, rng):
    sigmas = np.array([0.5, 1.0, 4.0])
    clean = np.tile(skewed, (2000, 1))
    curve = gaussian.linear_gap(skewed, sigmas, queries=clean, draws=1)
    for s, sigma in enumerate(sigmas):
        noisy = clean + sigma * rng.standard_normal(clean.shape)
        error = ((geomem.empirical_denoiser(noisy, skewed, sigma) - clean) ** 2).sum(1)
        spread = np.hypot(error.std(), curve.per_query[:, s].std()) / np.sqrt(len(clean))
        exact = gaussian.linear_mmse(skewed, [sigma])[0]
        assert abs(curve.mean[s] + error.mean() - exact) <= 4 * spread


def test_linear_mmse_closed_form_and_limits(skewed):
    sigmas = np.array([1e-6, 2.0, 1e6])
    variances = np.linalg.eigvalsh(np.cov(skewed.T, bias=True))
    mmse = gaussian.linear_mmse(skewed, sigmas)
    np.testing.assert_allclose(mmse[1], (variances * 4 / (variances + 4)).sum())
    np.testing.assert_allclose(mmse[[0, 2]], [0, variances.sum()], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_gap_is_invariant_to_shift_and_scales(skewed, shift):
    base = gaussian.linear_gap(skewed, [0.5, 5.0], seed=2)
    moved = gaussian.linear_gap(3 * (skewed + shift), [1.5, 15.0], seed=2)
    np.testing.assert_allclose(moved.per_query, 9 * base.per_query, rtol=1e-6)


@pytest.mark.parametrize("sigma", [10.1, 100.3, 1003.7])
def test_the_gap_of_two_points_at_large_noise_is_that_of_exact_arithmetic(sigma):
    """tanh(u) - u sigma^2 / (1 + sigma^2) at u = x / sigma^2, by its series: no cancellation."""
    clean = np.array([[-1.0], [1.0]])
    u = (clean + sigma * np.random.default_rng([5, 0]).standard_normal((2, 1))) / sigma**2
    gap = u / (1 + sigma**2) - u**3 / 3 + 2 * u**5 / 15 - 17 * u**7 / 315
    found = gaussian.linear_gap(clean, [sigma], draws=1, seed=5).per_query
    np.testing.assert_allclose(found, gap**2, rtol=1e-5)


@pytest.mark.long
def test_cifar10_reference(cifar10):
    """The subset of RandomState(0): |kappa_3|^2 = 2.156e6, lambda_1 = 233.5, tr = 769.9."""
    pool = geomem.load_dataset("cifar10", n_heldout=1, root=cifar10).train
    train = pool[np.random.RandomState(0).choice(50_000, 1000, replace=False)]
    assert gaussian.cumulant_norm2(train) == pytest.approx(2.156e6, rel=1e-3)
    assert gaussian.linear_mmse(train, [1e6])[0] == pytest.approx(769.9, rel=1e-3)
    sigmas = np.array([12.9, 40.8])
    curve = gaussian.linear_gap(train, sigmas, draws=1)
    np.testing.assert_allclose(curve.mean, [26.0, 0.348], rtol=0.03)


@pytest.mark.parametrize(
    "call",
    [
        lambda: gaussian.gaussian_denoiser([[0.0]], [[0.0], [1.0]], 0.0),
        lambda: gaussian.gaussian_denoiser([[0.0, 1.0]], [[0.0], [1.0]], 1.0),
        lambda: gaussian.gaussian_denoiser([[0.0]], [[0.0], [np.nan]], 1.0),
        lambda: gaussian.linear_gap([[0.0], [1.0]], [1.0], draws=0),
        lambda: gaussian.linear_gap_law([[0.0], [1.0]], [1.0], order=5),
        lambda: gaussian.linear_gap_bound([[0.0], [1.0]], [1.0], -1.0),
        lambda: gaussian.linear_gap_bound([[0.0], [1.0]], [1.0], np.ones(2)),
        lambda: gaussian.linear_mmse([[0.0], [1.0]], [-1.0]),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError):
        call()


def test_a_gap_holds_its_law_where_it_meets_it():
    sigma, law = np.array([1.0, 2.0, 4.0]), np.array([16.0, 1.0, 1 / 16])
    two = np.tile([1.0, 1.0, 1 / 16], (2, 1))  # equal images: no spread
    found = GapLaw(ErrorCurve.from_queries(sigma, two), law)
    down = GapLaw(ErrorCurve.from_queries(sigma[::-1], two[:, ::-1]), law[::-1])
    assert found.from_where(2) == down.from_where(2) == 2.0
    one = GapLaw(ErrorCurve.from_queries(sigma, two[:1]), law)  # of one image no error is known
    assert one.holds(sigma > 1) is True and one.holds(sigma > 0) is False
    assert found.holds(sigma > 1) is True and found.holds(sigma > 0) is False
    assert found.holds(sigma > 9) is None, "of no level nothing is known"
    assert [round(one.value, 2) for one in found.ratio] == [0.06, 1.0, 1.0]


@pytest.mark.parametrize("n", [3, 8, 40])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_shrunk_covariance_is_the_dense_formula(rng, n, share):
    """Fewer and more points than dimensions; the error is that of many draws of noise."""
    train, x = rng.normal(size=(n, 6)) * np.arange(1, 7) + 9, rng.normal(size=(5, 6)) + 9
    covariance = np.cov(train.T, bias=True)
    shrunk = (1 - share) * covariance + share * np.trace(covariance) / 6 * np.eye(6)
    denoise, mean = geomem.GaussianDenoiser(train, shrinkage=share), train.mean(0)
    for sigma in (0.3, 5.0):
        gain = shrunk @ np.linalg.inv(shrunk + sigma**2 * np.eye(6))
        np.testing.assert_allclose(denoise(x, sigma), mean + (x - mean) @ gain.T, atol=1e-9)
        lost = ((x - mean) @ (np.eye(6) - gain).T) ** 2
        error = lost.sum(1) + sigma**2 * np.trace(gain.T @ gain)
        np.testing.assert_allclose(denoise.error_on(x, [sigma]).per_query[:, 0], error)
        own = denoise.error_on(train, [sigma]).mean
        np.testing.assert_allclose(denoise.error([sigma]), own)
    noisy = geomem.denoising_error(denoise, np.tile(x, (400, 1)), [5.0], draws=5)
    assert noisy.low[0] < denoise.error_on(x, [5.0]).mean[0] < noisy.high[0]


def test_ledoit_and_wolfs_share_denoises_new_images_better(rng):
    law = rng.normal(size=(30, 30)) / 5
    train, new = (rng.normal(size=(n, 30)) @ law for n in (25, 200))
    found = geomem.GaussianDenoiser(train, shrinkage="ledoit-wolf")
    plain = geomem.GaussianDenoiser(train)
    assert 0 < found.shrinkage < 1 and plain.shrinkage == 0
    for few in (train, train[:, :4], train[:, :1], train[:2]):
        own = geomem.GaussianDenoiser(few, shrinkage="ledoit-wolf").shrinkage
        assert own == pytest.approx(ledoit_wolf_shrinkage(few))
    assert found.error_on(new, [0.5]).mean < plain.error_on(new, [0.5]).mean
    for wrong in (-0.1, 1.1, float("nan"), "lw"):
        with pytest.raises(ValueError, match="shrinkage"):
            geomem.GaussianDenoiser(train, shrinkage=wrong)
