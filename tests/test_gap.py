"""A gap for any training loop, and the one that images suggest, against brute force."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

import geomem
from geomem import Gap, Schedule
from geomem.geometry.intervals import Estimate
from geomem.geometry.regimes import Geometry, Regimes, measure_regimes
from geomem.geometry.window import Window
from geomem.memorization.copy_range import CopyRange

WINDOW = Window(0.05, 0.8)
KEPT = Gap(WINDOW, 0.1)


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "cosine"])
def test_timesteps_have_the_weight_of_their_noise_level(name):
    weights = KEPT.timestep_weights(name)
    sigma = Schedule.ddpm(name).sigma(np.arange(1000))
    inside = (sigma >= 0.05) & (sigma < 0.8)
    assert 0 < inside.sum() < 1000
    torch.testing.assert_close(weights, torch.from_numpy(np.where(inside, 0.1, 1)).float())
    alpha_bar = 1 / (1 + sigma**2)
    diffusers = SimpleNamespace(config={}, alphas_cumprod=torch.from_numpy(alpha_bar))
    diffusers.config["prediction_type"] = "epsilon"
    every = [
        Schedule.ddpm(name),
        Schedule.ddpm(name).between(0.1, 0.9),
        alpha_bar,
        [*alpha_bar],
        torch.from_numpy(alpha_bar),
        diffusers,
    ]
    assert all(torch.equal(KEPT.timestep_weights(given), weights) for given in every)


def test_a_schedule_has_its_own_timesteps_and_no_more():
    """Whatever its clock says beyond the last one."""
    whole = Schedule.ddpm("linear")
    clamped = replace(whole, backward=lambda t: whole.backward(np.minimum(t, 999)))
    assert torch.equal(KEPT.timestep_weights(clamped), KEPT.timestep_weights(whole))
    straight = Schedule.flow(data_at=0)
    flow = replace(straight, clock="timestep", ends=(0.01, 50.0))
    with pytest.raises(ValueError, match="does not number its steps"):
        KEPT.timestep_weights(flow)


def test_a_timestep_without_signal_counts():
    assert Gap(Window(0.5, 2)).timestep_weights([0.9, 0.5, 0.0]).tolist() == [1, 0, 1]


def test_a_flows_timesteps_are_weighted_in_the_order_of_the_scheduler():
    times = torch.linspace(1000, 1, 1000)  # diffusers' own, from noise to images
    scheduler = SimpleNamespace(config={}, scale_noise=None, timesteps=times)
    sigma = (times / (1000 - times)).numpy()
    got = KEPT.timestep_weights(scheduler)
    np.testing.assert_allclose(got, np.where((sigma >= 0.05) & (sigma < 0.8), 0.1, 1), rtol=1e-6)


@pytest.mark.parametrize(
    "scheduler, words",
    [
        (Schedule.flow(), "no timesteps"),
        (object(), "object has no timesteps"),
        ("x", "no schedule"),
    ],
)
def test_what_has_no_timesteps_is_refused_in_a_line(scheduler, words):
    with pytest.raises(ValueError, match=words):
        KEPT.timestep_weights(scheduler)


@pytest.mark.parametrize("keep", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("data_at", [0, 1])
def test_flow_times_have_the_law_of_uniform_times_that_are_drawn_anew(keep, data_at, rng):
    """Brute force: uniform times, each inside the gap dropped but for a share."""
    gap, t = Gap(WINDOW, keep), rng.uniform(size=200_000)
    kept = t[rng.uniform(size=len(t)) < gap.weights(Schedule.flow(data_at).sigma(t))]
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    found = gap.flow_times(u, data_at)
    assert (found.diff() > 0).all() and found[0] > 0 and found[-1] < 1
    levels = np.linspace(0.01, 0.99, 99)
    both = [np.searchsorted(np.sort(x), levels) / len(x) for x in (kept, found.numpy())]
    assert np.abs(both[0] - both[1]).max() < 2 / np.sqrt(len(kept)) + 1e-4
    if keep == 1:
        torch.testing.assert_close(found, u)


def test_open_windows_reach_to_the_ends_of_a_flow():
    u = torch.tensor([0.0, 0.5, 1.0])
    assert Gap(Window(1.0, np.inf)).flow_times(u).tolist() == [0.5, 0.75, 1]
    assert Gap(Window(0.0, 1.0)).flow_times(u, data_at=0).tolist() == [0.5, 0.75, 1]
    with pytest.raises(ValueError, match="leaves no time"):
        Gap(Window(0.0, np.inf)).flow_times(u)
    with pytest.raises(ValueError, match="leaves no timestep"):
        Gap(Window(0.0, np.inf)).timestep_weights("linear")


def test_a_law_drawn_anew_has_its_density_times_the_weights():
    torch.manual_seed(0)
    n = 50_000
    found = KEPT.redraw(lambda n: (1.2 * torch.randn(n) - 1.2).exp(), n).log().numpy()
    ends = norm.cdf((np.log([0.05, 0.8]) + 1.2) / 1.2)
    left = 1 - 0.9 * (ends[1] - ends[0])

    def cdf(x):
        base = norm.cdf((x + 1.2) / 1.2)
        return (base - 0.9 * (np.clip(base, *ends) - ends[0])) / left

    assert kstest(found, cdf).pvalue > 1e-3 and len(found) == n
    assert KEPT.redraw(torch.zeros, 3).tolist() == [0, 0, 0]  # outside: as drawn
    with pytest.raises(ValueError, match="in a row"):
        Gap(WINDOW).redraw(lambda n: torch.full((n,), 0.5), 2)


def test_the_noise_law_keeps_its_share_of_the_mass():
    law = KEPT.noise_law(-1.0, 1.5)
    inside = np.diff(norm.cdf((np.log([0.05, 0.8]) + 1.0) / 1.5))[0]
    assert KEPT.mass(law) == pytest.approx(0.1 * inside)
    u = (np.arange(10_000) + 0.5) / 10_000
    share = np.mean(KEPT.weights(KEPT.noise_law().quantile(u)) < 1)
    assert share == pytest.approx(KEPT.mass(KEPT.noise_law()), abs=2e-4)


def test_levels_are_read_as_they_are_written():
    """0.7 is less in float32."""
    for levels in ([0.7], np.array([0.7])):
        assert Gap(Window(0.7, 2.0)).weights(levels).tolist() == [0.0]
        assert Gap(Window(0.1, 0.7)).weights(levels).tolist() == [1.0]


def test_weights_of_levels_at_the_ends():
    got = KEPT.weights([0.0, 0.05, 0.1, 0.8, np.inf])
    assert got.dtype == np.float64 and got.tolist() == [1, 0.1, 0.1, 1, 1]
    for wrong in ([-1.0], [np.nan]):
        with pytest.raises(ValueError, match="noise level"):
            KEPT.weights(wrong)
    with pytest.raises(ValueError, match="keep"):
        Gap(WINDOW, 1.5)


def test_an_open_end_is_said_to_be_open():
    assert Gap(Window(1.0, np.inf)).in_words()["sigma"] == "1 to inf"


def test_ends_are_read_on_every_clock():
    found = Gap(Window(0.001, 1.0)).in_words("cosine")
    step = float(Schedule.ddpm("cosine").time(1.0))
    assert found == {
        "sigma": "0.001 to 1",
        "timestep of DDPM, cosine": f"0 to {step:.3g}",  # 0.001 lies below the schedule
        "t of flow, data at 1": "0.5 to 0.999",
    }


# The gap that images suggest

SIZES = {"digits": {}, "fashion-mini": {"grayscale": True, "size": 16}}


@pytest.fixture(scope="module", params=SIZES)
def data(request):
    return geomem.load_dataset(request.param, n_train=128, n_heldout=500, **SIZES[request.param])


def test_the_window_is_near_that_by_a_trained_network(data):
    """Trained large networks give [0.058, 0.82) and [0.067, 1.7) on such images."""
    gap = geomem.suggest_gap(data.train, data.heldout)
    low, high = {"digits": (0.058, 0.82), "fashion-mini": (0.067, 1.7)}[data.name]
    assert low / 2 < gap.window.low < low and gap.window.high == pytest.approx(high, rel=0.12)
    assert gap.low.low < gap.low.value < gap.low.high < gap.zone.low
    assert gap.window == Window(gap.low.value, gap.high.value).rounded(3)
    assert gap.zone == measure_regimes(data.heldout, data.train).zone and gap.keep == 0.1
    alone = geomem.suggest_gap(data.train)
    assert np.log(alone.low.value / gap.low.value) == pytest.approx(0, abs=0.1)
    assert "no held-out images" in alone.evidence and "128 training images" in alone.evidence


def test_twice_the_images_are_twice_the_gap(rng):
    """And the order of the images, or a repeat, changes nothing."""
    train, heldout = rng.normal(size=(2, 40, 9))
    geometry = fixed(50.0, 100.0)
    one = geomem.suggest_gap(train, heldout, geometry=geometry)
    for factor, other in ((2, 2 * train), (1, train[::-1]), (1, np.concatenate([train, train]))):
        two = geomem.suggest_gap(other, factor * heldout, geometry=geometry)
        assert two.low.value == pytest.approx(factor * one.low.value)


def test_of_near_twins_one_counts(rng):
    """Else the distance to the nearest would be that to the twin, and the edge next to nothing."""
    train, heldout = rng.normal(size=(2, 40, 9))
    twins = np.concatenate([train, train + 1e-4 * rng.normal(size=train.shape)])
    plain, merged = (geomem.suggest_gap(x, heldout) for x in (train, twins))
    assert merged.low.value == pytest.approx(plain.low.value)
    assert merged.high.value == pytest.approx(plain.high.value) and merged.zone == plain.zone
    assert "twins" in merged.evidence and "twins" not in plain.evidence


def fixed(covered, concentrated, crossing=70.0):
    ends = (Estimate(end, 0.9 * end, 1.1 * end) for end in (covered, concentrated, crossing))
    return Geometry(None, None, Regimes(0.8, *ends, 0.5, 0.01, 100.0))


def test_what_is_missing_is_said(rng):
    train, heldout = rng.normal(size=(2, 40, 9))
    none = geomem.suggest_gap(train, heldout, geometry=fixed(90.0, 60.0))
    assert none.zone is None and none.high.numbers == pytest.approx((140, 126, 154))
    assert "no danger zone" in none.evidence
    inside = geomem.suggest_gap(train, heldout, geometry=fixed(1e-3, 2.0))
    assert inside.window == Window(1e-3, 2.0) and "the start of the zone" in inside.evidence
    reach = CopyRange(fixed(0.5, 2.0), Estimate(np.nan))
    assert reach.window == Window(0.5, 2.0) and "no level was found" in reach.because
    assert reach.ends[0] == reach.geometry.regimes.covered


@pytest.mark.parametrize("given", [(40, 100), (64, None)])
def test_the_interval_holds_the_lower_end_of_other_images_of_the_law(given, rng):
    """Mixtures, of which 150 sets are drawn; their median is what the intervals are to hold."""
    n, q = given
    means = 1.5 * rng.normal(size=(4, 16))

    def draw(n):
        return means[rng.integers(4, size=n)] + rng.normal(size=(n, 16)) * np.linspace(1, 0.1, 16)

    sets = [(draw(n), q and draw(q)) for _ in range(150)]
    found = [geomem.suggest_gap(*x, geometry=fixed(50.0, 100.0)).low.numbers for x in sets]
    value, low, high = np.array(found).T
    truth = np.median(value)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.9 and np.median(high / low) < 1.5


@pytest.mark.parametrize(
    "train, options, words",
    [
        (np.eye(9), {}, "at least 10 images, but 9 differ"),
        (np.eye(12), {"keep": 2.0, "geometry": fixed(5.0, 9.0)}, "keep"),
        (np.eye(12), {"resamples": 0, "geometry": fixed(5.0, 9.0)}, "resamples"),
        (np.eye(12), {"heldout": np.eye(5)}, "one size"),
    ],
)
def test_nonsense_is_refused_in_a_line(train, options, words):
    with pytest.raises(ValueError, match=words):
        geomem.suggest_gap(train, **options)
