"""The law of the noise levels against scipy's log-normal, and the exact mass of its gap."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, lognorm, norm

from geomem.diffusion.noise import NoiseLaw

U = np.linspace(0.001, 0.999, 999)
MEANS, STDS = st.floats(-3, 3), st.floats(0.2, 3)
KEEPS = st.floats(0, 1)


@st.composite
def gaps(draw):
    """A law with a gap whose ends are no further than four deviations from the mean."""
    mean, std = draw(MEANS), draw(STDS)
    low, high = sorted(draw(st.tuples(st.floats(-4, 4), st.floats(-4, 4))))
    return NoiseLaw(mean, std, math.exp(mean + std * low), math.exp(mean + std * high), draw(KEEPS))


def plain(law):
    """The same law without its gap, by scipy."""
    return lognorm(s=law.std, scale=math.exp(law.mean))


@given(MEANS, STDS)
def test_without_a_gap_it_is_the_log_normal(mean, std):
    law = NoiseLaw(mean, std)
    np.testing.assert_allclose(law.quantile(U), plain(law).ppf(U), rtol=1e-10)
    np.testing.assert_allclose(law.cdf(plain(law).ppf(U)), U, rtol=1e-10)
    assert law.quantile(0.5) == pytest.approx(math.exp(mean), rel=1e-12)


def test_edms_numbers():
    """Karras et al. 2022, Table 1: ln sigma ~ N(-1.2, 1.2^2) at sigma_data = 0.5."""
    law = NoiseLaw().for_data(0.5)
    assert math.log(law.quantile(0.5)) == pytest.approx(-1.2, abs=1e-12)
    assert math.log(law.quantile(norm.cdf(1.0))) == pytest.approx(0.0, abs=1e-12)


@given(gaps())
def test_quantile_of_a_tensor_is_that_of_an_array(law):
    found = law.tensor_quantile(torch.from_numpy(U))
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, law.quantile(U), rtol=1e-9)


@given(gaps())
def test_quantile_and_cdf_are_inverse_and_rise(law):
    sigma = law.quantile(U)
    assert np.all(np.diff(sigma) >= -1e-12 * sigma[1:])
    np.testing.assert_allclose(law.cdf(sigma), U, rtol=0, atol=1e-9)
    levels = plain(law).ppf(U)
    assert np.all(np.diff(law.cdf(levels)) >= -1e-15)
    if law.gap_keep > 1e-3:  # else flat in the gap
        np.testing.assert_allclose(law.quantile(law.cdf(levels)), levels, rtol=1e-6)


@given(gaps())
def test_the_gap_keeps_its_share_and_the_rest_is_scaled_up(law):
    low, high = plain(law).cdf([law.gap_low, law.gap_high])
    inside = law.cdf(law.gap_high) - law.cdf(law.gap_low) if high > low else 0
    assert inside == pytest.approx(law.gap_keep * (high - low), abs=1e-12)
    scale = (1 - law.gap_keep * (high - low)) / (1 - (high - low))
    below, above = plain(law).ppf([0.3 * low, 1 - 0.3 * (1 - high)])
    assert law.cdf(below) == pytest.approx(0.3 * low * scale, abs=1e-12)
    assert 1 - law.cdf(above) == pytest.approx(0.3 * (1 - high) * scale, abs=1e-12)


@given(MEANS, STDS, st.floats(-2, 2))
def test_a_gap_that_keeps_all_or_is_empty_is_no_gap(mean, std, at):
    end = math.exp(mean + std * at)
    for law in (NoiseLaw(mean, std, end, 1.7 * end, 1.0), NoiseLaw(mean, std, end, end)):
        np.testing.assert_allclose(law.quantile(U), plain(law).ppf(U), rtol=1e-9)
        np.testing.assert_allclose(law.cdf(plain(law).ppf(U)), U, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("low", "high"), [(0.2, 1.6), (0.0, 0.3), (0.3, 1e9), (1e-3, 2e-3)])
@pytest.mark.parametrize("keep", [0.0, 0.1])
def test_draws_follow_the_law_that_redraws_what_falls_in_the_gap(rng, low, high, keep):
    """Against the docstring's own words: what falls in the gap is kept or drawn anew outside."""
    law = NoiseLaw(-1.2, 1.2, low, high, keep)
    draws = law.quantile(rng.uniform(size=100_000))
    inside = (draws > low * (1 + 1e-9)) & (draws < high * (1 - 1e-9))
    mass = keep * np.diff(plain(law).cdf([low, high])).item()
    assert abs(inside.mean() - mass) <= 5 * math.sqrt(mass * (1 - mass) / len(draws))
    slow = plain(law).rvs(400_000, random_state=rng)
    gone = (slow > low) & (slow <= high) & (rng.uniform(size=len(slow)) >= keep)
    anew = plain(law).rvs(1_000_000, random_state=rng)
    anew = anew[(anew <= low) | (anew > high)]
    slow[gone] = anew[: gone.sum()]
    assert kstest(draws, slow).pvalue > 1e-4


@given(st.floats(0.01, 100), STDS)
def test_the_law_moves_with_the_data(sigma_data, std):
    """Images in other units see the same noise in theirs."""
    law, unit = NoiseLaw(std=std).for_data(sigma_data), NoiseLaw(std=std).for_data(0.5)
    np.testing.assert_allclose(law.quantile(U), unit.quantile(U) * sigma_data / 0.5, rtol=1e-9)


def test_a_mean_that_is_set_stays():
    assert NoiseLaw(mean=0.3).for_data(17.0) == NoiseLaw(mean=0.3)


@given(gaps(), st.floats(0.05, 20))
def test_scaling_mean_and_gap_together_scales_the_draws(law, unit):
    gap = (law.gap_low * unit, law.gap_high * unit, law.gap_keep)
    scaled = NoiseLaw(law.mean + math.log(unit), law.std, *gap)
    u = U[np.abs(U - law.cdf(law.gap_low)) > 1e-6]  # at a jump rounding decides the side
    np.testing.assert_allclose(scaled.quantile(u), unit * law.quantile(u), rtol=1e-6)


def test_a_number_is_answered_by_a_number_and_an_array_by_its_shape():
    law = NoiseLaw(-1.2, 1.2, 0.2, 1.6, 0.3)
    assert np.shape(law.quantile(0.3)) == np.shape(law.cdf(0.3)) == ()
    u = U[:6].reshape(2, 3)
    assert law.quantile(u).shape == law.cdf(u).shape == (2, 3)
    assert law.quantile(u).dtype == np.float64
    assert law.quantile(u)[1, 2] == law.quantile(u[1, 2])


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"mean": math.nan}, "mean"),
        ({"mean": math.inf}, "mean"),
        ({"std": 0.0}, "std"),
        ({"std": -1.0}, "std"),
        ({"std": math.inf}, "std"),
        ({"std": math.nan}, "std"),
        ({"gap_low": -0.1, "gap_high": 1.0}, "gap_low"),
        ({"gap_low": 2.0, "gap_high": 1.0}, "gap_high"),
        ({"gap_low": 1.0}, "gap_high"),
        ({"gap_high": math.inf}, "gap_high"),
        ({"gap_low": math.nan, "gap_high": 1.0}, "gap_low"),
        ({"gap_high": math.nan}, "gap_high"),
        ({"gap_keep": -0.1}, "gap_keep"),
        ({"gap_keep": 1.1}, "gap_keep"),
        ({"gap_keep": math.nan}, "gap_keep"),
        ({"mean": -1.2, "gap_high": 1e9}, "every noise level"),
    ],
)
def test_a_law_of_nonsense_is_refused(wrong, names):
    with pytest.raises(ValueError, match=rf"^noise law: .*{names}"):
        NoiseLaw(**wrong)


def test_a_gap_over_everything_is_seen_when_the_data_is_known():
    with pytest.raises(ValueError, match="every noise level"):
        NoiseLaw(gap_high=1e9).for_data(0.5)


@pytest.mark.parametrize("ask", ["quantile", "cdf"])
def test_a_law_without_a_mean_says_what_to_do(ask):
    with pytest.raises(ValueError, match="for_data"):
        getattr(NoiseLaw(), ask)(0.5)
