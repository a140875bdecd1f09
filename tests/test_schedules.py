"""One noise level on every clock: inverses, closed forms, and the same geometry in each of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import pyplot as plt
from scipy.special import ndtr
from scipy.stats import multivariate_normal

import geomem
from geomem import Schedule, whiten
from geomem.geometry.intervals import Estimate
from geomem.plots.clocks import ruler

DDPM = [Schedule.ddpm(name) for name in ("linear", "scaled_linear", "cosine")]
FLOWS = [Schedule.flow(), Schedule.flow(data_at=0)]
EVERY = [Schedule.edm(), Schedule.vp(), *FLOWS, *DDPM]
BY_NAME = pytest.mark.parametrize("schedule", EVERY, ids=lambda s: s.name)
LEVELS = np.geomspace(0.03, 14, 40)  # which all of them have
SHOWN = {  # x_t, as the libraries write it, from the image, the noise and the time
    "EDM": lambda x, z, t: x + t * z,
    "VP": lambda x, z, t: np.sqrt(t) * x + np.sqrt(1 - t) * z,
    "flow, data at 1": lambda x, z, t: t * x + (1 - t) * z,
    "flow, data at 0": lambda x, z, t: (1 - t) * x + t * z,
}


@BY_NAME
@given(st.floats(0.03, 14))
def test_time_and_sigma_are_inverse(schedule, sigma):
    assert schedule.sigma(schedule.time(sigma)) == pytest.approx(sigma, rel=1e-9)
    time = schedule.time(sigma)
    assert schedule.time(schedule.sigma(time)) == pytest.approx(time, rel=1e-9, abs=1e-9)


@BY_NAME
def test_a_clock_runs_one_way(schedule):
    steps = np.diff(schedule.time(LEVELS))
    assert np.all(steps > 0) or np.all(steps < 0)


@pytest.mark.parametrize("schedule", EVERY[:4], ids=lambda s: s.name)
def test_a_network_sees_the_noisy_image_rescaled(schedule, rng):
    x, z = rng.normal(size=(2, 5))
    for sigma in LEVELS:
        seen = SHOWN[schedule.name](x, z, schedule.time(sigma))
        np.testing.assert_allclose(seen, schedule.scale(sigma) * (x + sigma * z), atol=1e-9)


@pytest.mark.parametrize("schedule", DDPM, ids=lambda s: s.name)
def test_the_chain_of_ddpm_has_the_noise_of_its_level_at_every_step(schedule):
    """x_t = sqrt(1 - beta) x_{t-1} + sqrt(beta) z, one step after another."""
    sigma = schedule.sigma(np.arange(1000))
    alpha_bar = Schedule.vp().time(sigma)
    betas = 1 - alpha_bar / np.append(1, alpha_bar[:-1])
    factor, variance = 1.0, 0.0
    for t, beta in enumerate(betas):
        factor, variance = np.sqrt(1 - beta) * factor, (1 - beta) * variance + beta
        assert factor == pytest.approx(schedule.scale(sigma[t]), rel=1e-6)
        assert np.sqrt(variance) / factor == pytest.approx(sigma[t], rel=1e-6)
        assert factor**2 / variance == pytest.approx(sigma[t] ** -2, rel=1e-6), "signal to noise"


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("linear", 0.0100, 157.4), ("scaled_linear", 0.0292, 14.6), ("cosine", 0.0064, 2.03e4)],
)
def test_the_named_schedules_have_the_levels_of_their_libraries(name, first, last):
    ends = Schedule.ddpm(name).sigma([0, 999])
    np.testing.assert_allclose(ends, [first, last], rtol=5e-3)


@BY_NAME
def test_the_ends_of_a_schedule_are_the_levels_that_it_has(schedule):
    low, high = schedule.ends
    if np.isfinite(high):
        np.testing.assert_allclose(schedule.time(schedule.ends), [0, 999], atol=1e-9)
        for outside in (0.999 * low, 1.001 * high):
            with pytest.raises(ValueError, match="outside the schedule"):
                schedule.time(outside)
    else:
        assert np.isfinite(schedule.time([1e-9, 1e9])).all() and low == 0
    assert schedule.between(0.1, 1.0).ends == (0.1, 1.0)
    assert schedule.between(0.0, np.inf).ends == schedule.ends


def test_cosine_is_the_closed_form_but_at_its_clipped_end():
    t = np.arange(990)
    angle = ((t + 1) / 1000 + 0.008) / 1.008 * np.pi / 2
    first = np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    sigma = np.sqrt(first / np.cos(angle) ** 2 - 1)
    np.testing.assert_allclose(Schedule.ddpm("cosine").sigma(t), sigma, rtol=1e-8)


def test_the_flow_of_the_papers_remark():
    """Remark A.3: t = 0.4 is sigma = 1.5."""
    assert Schedule.flow().time(1.5) == pytest.approx(0.4)
    assert Schedule.flow(data_at=0).time(1.5) == pytest.approx(0.6)
    total = sum(flow.time(LEVELS) for flow in FLOWS)
    np.testing.assert_allclose(total, 1)


def test_a_schedule_of_diffusers_is_read_from_its_tensor():
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    theirs, ours = Schedule.ddpm(alpha_bar), Schedule.ddpm("linear")
    np.testing.assert_allclose(theirs.time(LEVELS), ours.time(LEVELS), atol=0.01)
    assert theirs.time(torch.tensor([1.0, 2.0])).shape == (2,)
    without_signal = torch.cat([alpha_bar, torch.zeros(1)])
    assert Schedule.ddpm(without_signal).time(1.0) == theirs.time(1.0)


@BY_NAME
def test_weights_and_shells_are_the_same_on_every_clock(schedule, rng):
    """Bayes' rule and Eq. 6 for a x + b z, written out; and W by the law, for two points."""
    train, x, z = rng.normal(size=(6, 3)), *rng.normal(size=(2, 200, 3))
    r_in, r_out = geomem.shell_radii(3, 0.3)
    for sigma in (0.3, 1.0, 3.0):
        a = schedule.scale(sigma)
        b, y = a * sigma, a * x + a * sigma * z
        density = np.stack([multivariate_normal(a * p, b**2).pdf(y) for p in train], 1)
        weights = geomem.posterior_weights(x + sigma * z, train, sigma)
        np.testing.assert_allclose(weights, density / density.sum(1, keepdims=True), atol=1e-9)
        far = np.linalg.norm(y[:, None] - a * train, axis=2)
        inside = ((far >= b * r_in) & (far <= b * r_out)).any(1).mean()
        curve = geomem.shell_coverage(a * x, a * train, [b], c=0.3, draws=20)
        usual = geomem.shell_coverage(x, train, [sigma], c=0.3, draws=20)
        assert curve.mean == pytest.approx(usual.mean, abs=1e-12)
        assert inside == pytest.approx(usual.mean[0], abs=0.15), "the same event, other noise"
        pair = a * np.array([[0.0], [1.0]])
        seen = np.tile(pair, (10_000, 1))
        weight = geomem.max_posterior_weight(pair, [b], queries=seen, draws=1)
        right = ndtr(1 / (2 * sigma))  # W of two points a distance 1 apart
        assert weight.mean[0] == pytest.approx(right, abs=0.01)


@given(st.integers(0, 2**32 - 1))
def test_whitened_distances_are_mahalanobis_distances(seed):
    rng = np.random.default_rng(seed)
    points, root = rng.normal(size=(5, 2, 2)), rng.normal(size=(4, 4)) + 3 * np.eye(4)
    noise = root @ root.T
    seen, flat = whiten(points, noise), points.reshape(5, 4)
    step = flat[0] - flat[1]
    expected = step @ np.linalg.inv(noise) @ step
    assert ((seen[0] - seen[1]) ** 2).sum() == pytest.approx(expected, rel=1e-6)
    variances = np.diag(noise)
    apart = whiten(points, np.diag(variances))
    np.testing.assert_allclose(whiten(points, variances.reshape(2, 2)), apart, rtol=1e-12)
    np.testing.assert_allclose(whiten(points, np.full(4, 9.0)), points / 3)


def test_under_anisotropic_noise_weight_and_coverage_are_those_of_the_whitened_data(rng):
    """W straight from its definition, with the density of N(x_i, sigma^2 K)."""
    train, sigma = rng.normal(size=(8, 3)), 0.7
    noise = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 0.25]])
    y = np.repeat(train, 4000, 0) + sigma * rng.multivariate_normal(np.zeros(3), noise, 32_000)
    density = np.stack([multivariate_normal(p, sigma**2 * noise).pdf(y) for p in train], 1)
    largest = (density.max(1) / density.sum(1)).reshape(8, -1)
    seen = np.tile(whiten(train, noise), (4000, 1))
    weight = geomem.max_posterior_weight(seen[:8], [sigma], queries=seen, draws=1).mean[0]
    assert weight == pytest.approx(largest.mean(), abs=4 * largest.std() / np.sqrt(16_000))
    plain = geomem.max_posterior_weight(train, [sigma], draws=400).mean[0]
    assert abs(plain - weight) > 0.02, "the covariance matters here"


def test_an_estimate_keeps_its_interval_and_says_where_a_schedule_ends():
    read = Schedule.flow().read(Estimate(1.0, 0.25, 3.0))
    assert read.numbers == pytest.approx((0.5, 0.25, 0.8)), "in order, though t falls"
    assert str(Schedule.ddpm("linear").read(Estimate(200.0, 190.0, 210.0))) == "none"
    assert str(Schedule.flow().read(Estimate(np.nan))) == "none"
    linear = Schedule.ddpm("linear")
    value, last = linear.sigma(979), linear.ends[1]
    half_known = linear.read(Estimate(value, value / 2, 2 * last))
    assert str(half_known) == "979", "an end beyond its levels leaves no interval"


@pytest.mark.parametrize("schedule", EVERY[1:], ids=lambda s: s.name)
def test_a_ruler_marks_times_where_their_noise_is(schedule):
    fig, ax = plt.subplots()
    ax.set_xlim(0.01, 100)
    ruler(ax, schedule)
    times = [float(label.get_text()) for label in ax.get_xticklabels()]
    assert len(times) > 4
    np.testing.assert_allclose(ax.get_xticks(), schedule.sigma(times))
    plt.close(fig)


def test_times_may_be_of_any_kind_of_tensor():
    times = torch.tensor([0.25, 0.5], dtype=torch.bfloat16)
    assert Schedule.flow().sigma(times).tolist() == Schedule.flow().sigma([0.25, 0.5]).tolist()
    assert Schedule.flow().sigma(times.float().requires_grad_()).shape == (2,)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Schedule.flow().time(0.0),
        lambda: Schedule.flow().time([1.0, np.nan]),
        lambda: Schedule.flow().sigma(1.0),
        lambda: Schedule.flow().sigma(0.0),
        lambda: Schedule.flow(data_at=0).sigma(1.0),
        lambda: Schedule.vp().sigma(1.2),
        lambda: Schedule.vp().sigma(-0.1),
        lambda: Schedule.edm().sigma(np.inf),
        lambda: Schedule.ddpm("linear").sigma(999.5),
        lambda: Schedule.ddpm("linear").time(158.0),
        lambda: Schedule.ddpm("linear").time([1.0, 0.009]),
        lambda: Schedule.ddpm("quadratic"),
        lambda: Schedule.ddpm([0.5]),
        lambda: Schedule.ddpm([0.5, 0.7]),
        lambda: Schedule.ddpm([0.9, 0.5, 0.5]),
        lambda: Schedule.ddpm([1.0, 0.5]),
        lambda: Schedule.ddpm([[0.9, 0.5]]),
        lambda: Schedule.ddpm(0.5),
        lambda: Schedule.ddpm([]),
        lambda: Schedule.flow(2),
        lambda: Schedule.ddpm("linear").between(200.0, 300.0),
        lambda: Schedule.edm().between(2.0, 1.0),
        lambda: whiten([[1.0, 2.0]], [1.0, 0.0]),
        lambda: whiten([[1.0, 2.0]], [1.0, 2.0, 3.0]),
        lambda: whiten([[1.0, 2.0]], [[1.0, 0.0], [0.5, 1.0]]),
        lambda: whiten([[1.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]]),
        lambda: whiten([[1.0, np.nan]], [1.0, 1.0]),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError) as caught:
        call()
    assert "\n" not in str(caught.value)
