"""The sampler against closed forms of the probability-flow ODE and invariances."""

import threading

import numpy as np
import pytest
import torch

from geomem import EDMDenoiser, ModelConfig, empirical_denoiser, karras_sigmas
from geomem.diffusion import sampler
from geomem.diffusion.sampler import SOLVERS, initial_noise, sample, sample_swapped

SHAPE = (1, 2, 3)
BOTH = pytest.mark.parametrize("solver", SOLVERS)


def gaussian(mean, deviation):
    """The exact denoiser of independent pixels N(mean, deviation^2)."""
    return lambda x, sigma: mean + deviation**2 / (deviation**2 + sigma**2) * (x - mean)


def empirical(train):
    return lambda x, sigma: empirical_denoiser(x, train, sigma)


@pytest.fixture
def train(rng):
    return rng.uniform(-1, 1, size=(5, *SHAPE))


@pytest.fixture
def pixels(rng):
    """A mean and a deviation for each pixel."""
    return torch.from_numpy(rng.normal(size=SHAPE)), torch.from_numpy(rng.uniform(0.2, 1, SHAPE))


def relative_error(solver, mean, s, x, sigmas):
    """At the last level, x(sigma) = mean + (x - mean) sqrt((s^2 + sigma^2) / (s^2 + sigma_0^2))."""
    *_, last, _ = SOLVERS[solver](gaussian(mean, s), x, sigmas)
    exact = (x - mean) * torch.sqrt((s**2 + last.sigma**2) / (s**2 + sigmas[0] ** 2))
    return ((last.x - mean - exact).norm() / exact.norm()).item()


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
@pytest.mark.parametrize("ends", [(0.002, 80.0, 7.0), (0.05, 5.0, 1.0)])
def test_global_error_falls_with_the_order_of_the_method(pixels, solver, order, ends):
    x = initial_noise(SHAPE, range(4), ends[1])
    errors = [
        relative_error(solver, *pixels, x, karras_sigmas(n, *ends)) for n in (33, 65, 129, 257)
    ]
    np.testing.assert_allclose(-np.diff(np.log2(errors)), order, atol=0.15)


def test_on_the_papers_grid_heun_is_the_closer(pixels):
    x = initial_noise(SHAPE, range(4), 80.0)
    errors = {name: relative_error(name, *pixels, x, karras_sigmas()) for name in SOLVERS}
    assert errors["heun"] < errors["euler"] / 2 < 0.1


@BOTH
def test_one_point_is_reached_along_a_straight_line(rng, solver):
    """The state stays in float64, though the denoiser answers in float32."""
    point = torch.from_numpy(rng.normal(size=SHAPE)).float()
    x = initial_noise(SHAPE, range(3), 80.0)
    steps = list(SOLVERS[solver](lambda x, sigma: point.expand(x.shape), x, karras_sigmas()))
    for step in steps:
        assert step.x.dtype == step.denoised.dtype == torch.float64
        line = point + step.sigma / 80.0 * (x - point)
        torch.testing.assert_close(step.x, line, rtol=0, atol=1e-12)
    assert torch.equal(steps[-1].x, point.double().expand(x.shape))


@BOTH
def test_a_memorizing_denoiser_ends_on_training_points(train, solver):
    samples = sample(empirical(train), SHAPE, 60, solver=solver)
    distances = torch.cdist(samples.flatten(1).double(), torch.from_numpy(train).flatten(1))
    assert distances.amin(1).max() < 1e-6
    assert len(distances.argmin(1).unique()) == len(train)


@BOTH
def test_of_two_opposite_points_the_nearer_at_the_start_is_reached(rng, solver):
    """The middle plane between them is a mirror: no path of the ODE crosses it."""
    point = rng.normal(size=SHAPE)
    samples = sample(empirical(np.stack([point, -point])), SHAPE, 50, seed=3, solver=solver)
    noise = initial_noise(SHAPE, [(3, i) for i in range(50)], 80.0)
    side = torch.sign((noise * torch.from_numpy(point)).sum((1, 2, 3), keepdim=True))
    torch.testing.assert_close(samples, (side * torch.from_numpy(point)).float())
    assert 10 < (side > 0).sum() < 40


@BOTH
def test_moving_and_scaling_data_noise_and_levels_moves_and_scales_the_path(train, solver):
    x, sigmas = initial_noise(SHAPE, range(6), 20.0), karras_sigmas(12, 0.01, 20.0)
    base = SOLVERS[solver](empirical(train), x, sigmas)
    moved = SOLVERS[solver](empirical(3 * train + 7), 3 * x + 7, 3 * sigmas)
    for a, b in zip(base, moved, strict=True):
        assert b.sigma == pytest.approx(3 * a.sigma)
        torch.testing.assert_close(b.x, 3 * a.x + 7, rtol=0, atol=1e-9)
        torch.testing.assert_close(b.denoised, 3 * a.denoised + 7, rtol=0, atol=1e-9)


@pytest.mark.parametrize("sigmas", [karras_sigmas(), [2.0, 0.5], [1.0]])
@BOTH
def test_calls_and_steps(train, solver, sigmas):
    calls = []

    def watched(x, sigma):
        assert type(sigma) is float and x.dtype == torch.float64
        calls.append((sigma, x, empirical_denoiser(x, train, sigma)))
        return calls[-1][2]

    x = initial_noise(SHAPE, range(2), sigmas[0])
    *steps, last = SOLVERS[solver](watched, x, sigmas)
    assert len(calls) == (2 * len(sigmas) - 1 if solver == "heun" else len(sigmas))
    assert [step.sigma for step in steps] == list(sigmas)
    assert torch.equal(steps[0].x, x)
    for step in steps:  # its denoised is the answer to its own state, not a corrected one
        assert any(
            step.sigma == sigma and torch.equal(step.x, seen) and torch.equal(step.denoised, answer)
            for sigma, seen, answer in calls
        )
    assert last.sigma == 0 and torch.equal(last.x, last.denoised)
    assert torch.equal(last.x, steps[-1].denoised)  # the last step is Euler's, all the way


@BOTH
def test_a_sample_does_not_depend_on_its_batch(train, pixels, solver):
    exact, close = gaussian(*pixels), empirical(train)  # elementwise, and by matrix products
    together = sample(exact, SHAPE, 64, seed=5, solver=solver)
    assert torch.equal(together[17:18], sample(exact, SHAPE, 1, seed=5, first=17, solver=solver))
    assert torch.equal(together, sample(exact, SHAPE, 64, seed=5, batch=7, solver=solver))
    assert len(together.unique(dim=0)) == 64
    assert not torch.isin(together, sample(exact, SHAPE, 64, seed=6, solver=solver)).any()
    torch.testing.assert_close(
        sample(close, SHAPE, 20, solver=solver), sample(close, SHAPE, 20, batch=3, solver=solver)
    )


@pytest.mark.parametrize("network", ["mlp", "unet"])
def test_any_number_of_threads_gives_the_same_samples(rng, network):
    """A network of this package is asked for several parts at once; a stranger is not."""
    config = ModelConfig(network, width=16, channels=1, size=8, mean=0.1, sigma_data=0.5)
    denoise, asked = EDMDenoiser(config).eval(), set()
    for weight in denoise.parameters():
        weight.data = torch.from_numpy(rng.normal(0, 0.2, weight.shape)).float()
    how = dict(shape=(1, 8, 8), n=70, sigmas=karras_sigmas(4), solver="euler")

    def stranger(x, sigma):
        asked.add((threading.get_ident(), len(x), torch.get_num_threads()))
        return denoise(x, sigma)

    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(sample(denoise, **how))
            assert torch.get_num_threads() == threads
        alone = sample(stranger, **how)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert asked == {(threading.get_ident(), 70, 3)}
    torch.testing.assert_close(found[0], alone, rtol=1e-3, atol=1e-4)


@BOTH
def test_plans_of_several_models_are_those_of_each_alone_and_share_their_beginnings(
    rng, train, solver
):
    levels, asked = karras_sigmas(6), []

    def watched(i):
        def denoise(x, sigma):
            asked.append((i, sigma, x.numpy().tobytes()))
            return empirical_denoiser(x, train + i, sigma)

        return denoise

    who = rng.integers(3, size=(9, 6))
    who[3], who[7, :4] = who[2], who[1, :4]  # equal to another; parting late
    models, how = [watched(i) for i in range(3)], dict(sigmas=levels, seed=4, solver=solver)
    found = sample_swapped(models, who, SHAPE, 5, batch=2, **how)
    once, n = {*asked}, len(asked)
    asked.clear()
    for samples, plan in zip(found, who, strict=True):
        turns = dict(zip(levels.tolist(), plan, strict=True))
        alone = sample(lambda x, sigma: models[turns[sigma]](x, sigma), SHAPE, 5, batch=2, **how)  # noqa: B023
        assert torch.equal(samples, alone)
    assert once == {*asked} and n < 0.85 * len(asked)
    assert n - len(once) <= 3 * 9  # each plan asks again at the one level where it takes over
    assert found[2].data_ptr() == found[3].data_ptr(), "equal plans are drawn once"
    assert found[0].untyped_storage().nbytes() == found[0].nbytes, "what is kept is no more"
    later = sample_swapped(models, who, SHAPE, 3, first=2, batch=2, **how)
    assert all(torch.equal(a, b[2:]) for a, b in zip(later, found, strict=True))
    with pytest.raises(ValueError, match="samples of 1x2x3, of 8 plans each, would take"):
        sample_swapped(models, who, SHAPE, 10**12, **how)
    with pytest.raises(ValueError, match=r"plans \(P, 6\), got \(9, 5\)"):
        sample_swapped(models, who[:, 1:], SHAPE, 5, **how)
    with pytest.raises(ValueError, match="heun, euler"):
        sample_swapped(models, who, SHAPE, 5, sigmas=levels, solver="dpm")


def test_the_noise_is_that_of_its_seed():
    noise = initial_noise(SHAPE, [(2, 9), 4], 80.0)
    assert noise.dtype == torch.float64 and noise.shape == (2, *SHAPE)
    for row, seed in zip(noise, ([2, 9], 4), strict=True):
        expected = 80.0 * np.random.default_rng(seed).standard_normal(SHAPE)
        np.testing.assert_array_equal(row, expected)
    still = sample(lambda x, sigma: x, SHAPE, 1, seed=2, first=9)  # nothing to denoise: no motion
    torch.testing.assert_close(still, noise[:1].float())


def test_samples_are_float32_and_leave_no_graph():
    network = torch.nn.Linear(3, 3)

    def denoise(x, sigma):
        assert not torch.is_grad_enabled()
        return network(x.float())

    for step in sampler.heun(denoise, initial_noise(SHAPE, [0], 1.0), [1.0, 0.1]):
        assert not step.denoised.requires_grad and torch.is_grad_enabled()
    samples = sample(denoise, SHAPE, 3)
    assert samples.dtype == torch.float32 and samples.shape == (3, *SHAPE)
    assert not samples.requires_grad


def test_a_network_samples_where_it_is(monkeypatch):
    class Still(torch.nn.Linear):
        def forward(self, x, sigma):
            return x

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert sample(Still(1, 1).eval(), SHAPE, 2).shape == (2, *SHAPE)


@pytest.mark.parametrize("sigmas", [[], [1.0, 2.0], [1.0, 1.0], [1.0, 0.0], [-1.0], [np.nan]])
@BOTH
def test_levels_must_descend_to_a_positive_one(solver, sigmas):
    with pytest.raises(ValueError, match="sigmas"):
        SOLVERS[solver](gaussian(0, 1), torch.zeros(1, *SHAPE), sigmas)
    with pytest.raises(ValueError, match="sigmas"):
        sample(gaussian(0, 1), SHAPE, 1, sigmas=sigmas, solver=solver)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (dict(n=0), "n must"),
        (dict(n=2.5), "n must"),
        (dict(n=10**12), "would take .* ask for fewer"),
        (dict(batch=0), "batch must"),
        (dict(seed=-1), "seed=-1"),
        (dict(first=-1), "first=-1"),
        (dict(solver="dpm"), "heun, euler"),
        (dict(denoise=lambda x, sigma: x[:, :, :1]), "gave shape .2, 1, 1, 3. at sigma = 80 "),
        (dict(denoise=lambda x, sigma: x / 0), "infinite values at sigma = 80 "),
    ],
)
def test_bad_input(wrong, named):
    with pytest.raises(ValueError, match=named):
        sample(**{"denoise": gaussian(0, 1), "shape": SHAPE, "n": 2} | wrong)
