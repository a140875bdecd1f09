"""Theorem 4.9: the threshold, the minimizers and their disagreement, on small clouds."""

import json

import matplotlib.pyplot as plt
import mpmath
import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

import geomem
from geomem import companion
from geomem.companion import notebooks, results
from geomem.geometry.shell_objective import (
    disagreement,
    disjoint_sigma,
    most_lost,
    shell_losses,
    shell_minimizer,
)


@pytest.mark.parametrize(("delta", "sigma"), [(8.97, 0.07772), (10.8, 0.09358), (21.2, 0.18369)])
def test_thresholds_in_the_papers_dimension(delta, sigma):
    """d = 3072, c = 5: .0777, .0936 and .1837, as reviewed."""
    train = np.zeros((3, 3, 32, 32))
    train[1, 0, 0, 0], train[2, 1, 5, 5] = delta, -3 * delta
    assert disjoint_sigma(train) == pytest.approx(sigma, abs=5e-6)


def shells_meet(first, second, sigma, c, rng):
    """Is some point in both shells? Tried on the plane through both points, in polar form."""
    r_in, r_out = geomem.shell_radii(len(first), c)
    angle = rng.uniform(0, 2 * np.pi, 20_000)
    radius = sigma * rng.uniform(r_in, r_out, 20_000)
    y = first[:2] + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    distance = np.linalg.norm(y - second[:2], axis=1)
    return np.any((distance >= sigma * r_in) & (distance <= sigma * r_out))


@pytest.mark.parametrize("c", [0.05, 0.5, 3.0])
def test_shells_meet_exactly_above_the_threshold(c, rng):
    pair = np.array([[0.0, 0.0], [1.3, 0.4]])
    sigma = disjoint_sigma(pair, c)
    assert not shells_meet(*pair, 0.999 * sigma, c, rng)
    for scale in (1.03, 2, 30):
        assert shells_meet(*pair, scale * sigma, c, rng)


def test_on_the_line_a_shell_can_lie_around_another():
    """d = 1, c = .01, distance 1, sigma = 1: disjoint, though sigma is above the threshold."""
    r_in, r_out = geomem.shell_radii(1, 0.01)
    assert (r_in, r_out) == pytest.approx((0.894, 1.105), abs=5e-4)
    assert disjoint_sigma(np.array([[0.0], [1.0]]), 0.01) < 1
    y = np.linspace(-3, 3, 60_001)
    shells = [(np.abs(y - x) >= r_in) & (np.abs(y - x) <= r_out) for x in (0, 1)]
    assert not np.any(shells[0] & shells[1])
    assert r_out - r_in < 0.211 and 2 * r_in > 1.788 and 2 * r_out == pytest.approx(2.209, abs=1e-3)


def on_shell(points, sigma, c, rng):
    """One point on each shell."""
    r_in, r_out = geomem.shell_radii(points.shape[1], c)
    direction = rng.normal(size=points.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return points + sigma * rng.uniform(r_in, r_out, (len(points), 1)) * direction


def test_a_minimizer_answers_the_training_point_on_its_shell_and_the_fill_off_it(cloud, rng):
    _, train = cloud
    sigma = 0.99 * disjoint_sigma(train, 0.5)
    m = shell_minimizer(train, sigma, np.zeros_like, 0.5)
    np.testing.assert_array_equal(m(on_shell(train, sigma, 0.5, rng)), train)
    np.testing.assert_array_equal(m(train + 100), 0 * train)
    tenth = on_shell(train, 0.1 * sigma, 0.5, rng)
    np.testing.assert_array_equal(m(tenth, 0.1 * sigma), train, "another level, asked for")


def test_where_shells_overlap_it_is_the_weighted_mean(cloud, rng):
    _, train = cloud
    sigma, c = 4 * disjoint_sigma(train, 0.5), 0.5
    r_in, r_out = geomem.shell_radii(5, c)
    y = on_shell(train, sigma, c, rng)
    distance = np.linalg.norm(y[:, None] - train, axis=2)
    inside = (distance >= sigma * r_in) & (distance <= sigma * r_out)
    assert inside.sum() > len(train)
    weight = np.where(inside, np.exp(-(distance**2) / (2 * sigma**2)), 0)
    expected = weight @ train / weight.sum(1, keepdims=True)
    np.testing.assert_allclose(shell_minimizer(train, sigma, np.copy, c)(y), expected, atol=1e-12)


def test_images_keep_their_shape_and_memory_maps_their_values(rng):
    train = rng.normal(size=(5, 1, 3, 3)).astype(np.float32)
    m = shell_minimizer(train, 0.01, np.copy)
    x = rng.normal(size=(4, 1, 3, 3))
    assert m(x).shape == x.shape and m(x).dtype == np.float64
    np.testing.assert_array_equal(m(x), x)


def losses(m, train, sigma, c, rng, draws=4000):
    """Own-shell loss, loss on the union of the shells, whole loss; one noise for all."""
    r_in, r_out = geomem.shell_radii(train.shape[1], c)
    z = rng.standard_normal((draws, *train.shape))
    y = train + sigma * z
    square = ((m(y.reshape(-1, train.shape[1])).reshape(y.shape) - train) ** 2).sum(2)
    distance = np.linalg.norm(y[:, :, None] - train, axis=3)
    inside = (distance >= sigma * r_in) & (distance <= sigma * r_out)
    own = np.diagonal(inside, axis1=1, axis2=2)
    return (square * own).mean(), (square * inside.any(2)).mean(), square.mean()


def test_the_own_shell_loss_is_not_the_loss_on_the_union(rng):
    """Two points at 2.2 r_out in one dimension, c = 2: noise of one reaches the other's shell."""
    train = np.array([[0.0], [2.2 * geomem.shell_radii(1, 2.0)[1]]])
    m = shell_minimizer(train, 1.0, np.copy, 2.0)
    own, union, whole = losses(m, train, 1.0, 2.0, rng, 40_000)
    assert own == 0 < union < whole
    spill = union / train[1, 0] ** 2  # such noise is answered by the wrong point
    assert spill == pytest.approx(3.9e-4, abs=4 * np.sqrt(3.9e-4 / 80_000))

    def posterior_mean(y):
        return geomem.empirical_denoiser(y, train, 1.0)

    _, best, _ = losses(posterior_mean, train, 1.0, 2.0, np.random.default_rng(0), 40_000)
    _, ours, _ = losses(m, train, 1.0, 2.0, np.random.default_rng(0), 40_000)
    assert 0 < best < ours, "on the union the empirical denoiser does better"


def test_the_whole_loss_exceeds_the_own_shell_loss_by_the_missed_noise_only(cloud, rng):
    _, train = cloud
    c = 1.0
    sigma = 0.9 * disjoint_sigma(train, c)
    m = shell_minimizer(train, sigma, lambda x: geomem.empirical_denoiser(x, train, sigma), c)
    own, union, whole = losses(m, train, sigma, c, rng)
    diameter2 = ((train[:, None] - train) ** 2).sum(2).max()
    missed = 1 - float(geomem.shell_mass(0.0, 5, c))
    assert 0 == own <= union <= whole <= missed * diameter2 <= 2 * np.exp(-c) * diameter2


@pytest.mark.parametrize("c", [5.0, 20.0, 50.0, 200.0])
@pytest.mark.parametrize("d", [64, 3072])
def test_what_is_lost_at_most_is_both_tails_of_the_noise(d, c):
    """Against the incomplete gamma function in 50 digits; at c = 50 nothing of 1 is left."""
    r_in, r_out = geomem.shell_radii(d, c)
    with mpmath.workdps(50):
        above = mpmath.gammainc(mpmath.mpf(d) / 2, mpmath.mpf(r_out) ** 2 / 2, regularized=True)
        below = mpmath.gammainc(mpmath.mpf(d) / 2, 0, mpmath.mpf(r_in) ** 2 / 2, regularized=True)
        expected = float(9 * (above + below))
    assert most_lost(d, c, 3.0) == pytest.approx(expected, rel=1e-8)


@given(st.integers(1, 5000), st.floats(1e-2, 1e4), st.floats(-30, 2))
def test_any_loss_is_promised_by_some_shell(d, bound, log_eps):
    eps = 10**log_eps
    c = max(np.log(2 * bound**2 / eps), 1e-3)
    assert most_lost(d, c, bound) <= eps


def test_every_bounded_fill_of_thick_disjoint_shells_loses_little(cloud, rng):
    """The far corner of a cube as the answer off the shells, as bad as an answer there can be."""
    _, train = cloud
    corner = np.sign(rng.normal(size=5)) * np.abs(train).max()
    bound = np.linalg.norm(train - corner, axis=1).max()
    for c in (0.5, 2.0, 4.0):
        sigma = 0.999 * disjoint_sigma(train, c)
        m = shell_minimizer(train, sigma, lambda x: np.broadcast_to(corner, x.shape), c)
        own, whole = shell_losses(m, train, sigma, c, draws=4000)
        assert own == 0 < whole <= most_lost(5, c, bound) * 1.1


def test_minimizers_disagree_exactly_where_no_shell_covers(cloud, rng):
    """With the same noise, disagreement is 1 - C_sigma for every held-out point."""
    _, train = cloud
    heldout, sigmas, c = rng.normal(size=(30, 5)), np.array([0.01, 0.1, 0.5, 2.0]), 0.5
    one = shell_minimizer(train, 0.1, np.copy, c)
    two = shell_minimizer(train, 0.1, np.zeros_like, c)
    curve = disagreement(one, two, heldout, sigmas, draws=6, seed=3)
    covered = geomem.shell_coverage(heldout, train, sigmas, c=c, draws=6, seed=3)
    np.testing.assert_allclose(curve.per_query, 1 - covered.per_query, atol=1e-12)
    half = shell_minimizer(train, 0.1, lambda x: np.where(x[:, :1] > 0, x, 0), c)
    less = disagreement(one, half, heldout, sigmas, draws=6, seed=3)
    assert np.all(less.per_query <= curve.per_query) and less.mean[0] < curve.mean[0]
    assert np.all(disagreement(one, one, heldout, sigmas).mean == 0)


def test_a_repeated_point_leaves_no_disjoint_shells():
    assert disjoint_sigma(np.zeros((2, 3))) == 0


TWO = np.array([[0.0, 0.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    "call",
    [
        lambda: disjoint_sigma(TWO[:1]),
        lambda: disjoint_sigma(TWO, -1.0),
        lambda: disjoint_sigma(np.array([[0.0], [np.nan]])),
        lambda: shell_minimizer(TWO, 0.0, np.copy),
        lambda: shell_minimizer(TWO, [0.1, 0.2], np.copy),
        lambda: shell_minimizer(TWO, 0.1, np.copy)(TWO, -1.0),
        lambda: shell_minimizer(TWO, 0.1, np.copy)(np.zeros((2, 3))),
        lambda: shell_minimizer(TWO, 0.1, np.sum)(TWO + 100),
        lambda: disagreement(np.add, np.add, TWO, [0.1], draws=0),
        lambda: disagreement(np.add, np.add, TWO, [-0.1]),
        lambda: most_lost(0, 1.0, 1.0),
        lambda: most_lost(3, 0.0, 1.0),
        lambda: most_lost(3, 1.0, -1.0),
        lambda: most_lost(3, 1.0, np.nan),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError):
        call()


def test_the_losses_of_a_denoiser_that_does_nothing_have_a_closed_form(rng):
    """It is off by the noise: sigma^2 d in all, on the shells a part of a chi-square's mean."""
    d, c, sigma = 6, 0.5, 0.7
    on, whole = shell_losses(lambda x, _: x, rng.normal(size=(20, d)), sigma, c)
    r_in, r_out = geomem.shell_radii(d, c)
    part = chi2.cdf(r_out**2, d + 2) - chi2.cdf(r_in**2, d + 2)
    assert whole == pytest.approx(sigma**2 * d, rel=0.02)
    assert on == pytest.approx(sigma**2 * d * part, rel=0.02)


@pytest.fixture
def executed(tmp_path, monkeypatch):
    """Run its notebook here, without figures: the claims, and the names of the notebook."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(results.RUN_VARIABLE, raising=False)
    monkeypatch.setattr(companion, "figure", lambda *rest, **options: plt.close("all"))
    notebook = notebooks.pick(ROOT, "shell_objective")
    few = dict(n_train=24, n_heldout=6, n_sigmas=5, draws=1, device="cpu")
    defaults = {name: parameter.default for name, parameter in notebook.parameters.items()}

    def execute(**values):
        names = {**defaults, **few, **values}
        for cell in notebooks.read(notebook.path).cells:
            if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
                exec(compile(cell.source, notebook.name, "exec"), names)
        kept = json.loads((tmp_path / "figures" / results.CLAIMS).read_text())
        return {id: one["holds"] for id, one in kept.items()}, names

    return execute


def test_latents_are_answered_exactly_and_lose_no_more_than_is_said(executed, tmp_path, rng):
    """They go beyond [-1, 1]; the worst answer that the bound is for is a corner of their range."""
    np.savez(tmp_path / "a.npz", latents=(3 * rng.normal(size=(30, 4, 6, 6))).astype(np.float32))
    claims, names = executed(dataset=str(tmp_path / "a.npz"))
    assert claims["training-exact"] is True
    train = names["train"].astype(float)
    corner = np.where(train.mean(0) > 0, train.min(), train.max())
    worst = np.linalg.norm((train - corner).reshape(len(train), -1), axis=1).max()
    least = [most_lost(train[0].size, c, worst) for c in names["some_c"]]
    assert np.all(np.array(names["lost"]) >= least)


def test_of_images_within_the_usual_range_the_bound_is_the_books(executed):
    _, names = executed(sigma_max=10.0)
    assert names["lost"] == [most_lost(64, c, 2 * np.sqrt(64)) for c in names["some_c"]]


@pytest.mark.parametrize("grid", [dict(sigma_max=1.0), dict(sigma_min=1.0)])
def test_what_a_grid_does_not_reach_is_neither_so_nor_not(executed, grid):
    assert executed(**grid)[0]["small-noise-only"] is None


def test_a_new_image_that_is_none_stops_nothing(executed, tmp_path, rng):
    images = rng.integers(0, 256, (30, 4, 4), np.uint8)
    images[4] = images[0]  # the fifth is held out
    np.save(tmp_path / "a.npy", images)
    claims, _ = executed(dataset=str(tmp_path / "a.npy"))
    assert claims["small-noise-only"] is False
