"""Trajectories: what is settled from where on, by hand; and samples whose course is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geomem.diffusion.noise import karras_sigmas
from geomem.diffusion.sampler import follow, sample
from geomem.geometry.coverage import shell_radii
from geomem.geometry.posterior import empirical_denoiser
from geomem.geometry.window import Window
from geomem.memorization import trajectories
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import memorized_fraction
from geomem.memorization.trajectories import Course, Settled, Strip

LEVELS = np.array([8.0, 4.0, 2.0, 1.0])


@pytest.fixture
def course():
    """Three samples: a copy settled at 2 (image at 4), one never, a copy in the sample only."""
    ratio = [[0.9, 0.2, 0.3, 0.1, 0.1], [0.9, 0.1, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9, 0.9, 0.0]]
    ratio[0][1] = 0.5
    nearest = [[1, 2, 2, 2, 2], [0, 0, 1, 0, 0], [3, 3, 3, 3, 3]]
    inside = [[True, True, True, False], [True, False, False, False], [True, True, False, False]]
    way = np.array(ratio), np.array(nearest), np.array(inside)
    return Course(LEVELS, *way, np.zeros((3, 1, 4, 4), np.float32))


@pytest.fixture
def train(rng):
    return rng.uniform(-1, 1, (6, 1, 4, 4))


def memorizing(train):
    return lambda x, sigma: empirical_denoiser(x, train, sigma, device="cpu")


def test_settled_means_from_here_on_for_good(course):
    assert course.memorized.tolist() == [True, False, True]
    assert course.image_at.tolist() == [4, 1, 8]
    np.testing.assert_array_equal(course.copy_at, [2, np.nan, 0])
    np.testing.assert_array_equal(course.no_copy_at, [4, np.nan, 1])
    assert course.lost == "1 of 3"
    assert course.passing.mean.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert course.passing_at(2.1).count == 1


def test_shares_against_a_zone(course):
    found = Settled.of(course, Window(1.0, 4.0))
    assert (found.image, found.copy) == ((8, 8, 4), (2, 2, 0))
    assert counts(found.copies) == {"above": (0, 0), "inside": (1, 1), "below": (1, 1)}
    assert (found.earlier.count, found.named.count, found.edge) == (2, 2, 1)
    assert (found.already.count, found.already.n) == (1, 2)
    assert (found.kept.count, found.kept.n) == (1, 1)
    assert found.in_words["copy_late"] == "0" and found.in_words["image_median"] == "8"


def counts(copies):
    return {where: tuple(share.count for share in both) for where, both in copies.items()}


def test_what_an_end_of_the_zone_may_split_is_on_either_side_of_it(course):
    """Settled between 4 and 2: of a zone that ends between these it may be inside or beyond."""
    for zone, edge in ((Window(1.0, 3.0), "above"), (Window(3.0, 5.0), "below")):
        found = counts(Settled.of(course, zone).copies)
        assert found["inside"] == (0, 1) and found[edge] == ((0, 1) if edge == "above" else (1, 2))
    between = counts(Settled.of(course, Window(2.5, 3.5)).copies)  # no level of the sampler inside
    assert between == {"above": (0, 1), "inside": (0, 1), "below": (1, 2)}


@pytest.mark.parametrize(
    ("low", "high", "holds"),
    [(1.0, 2.0, True), (0.5, 1.5, None), (1.5, 2.5, None), (0.5, 1.0, False)],
)
def test_a_verdict_is_that_of_every_reading(low, high, holds):
    """All of 40 settled in one step of the sampler, which may lie across an end of the zone."""
    found = trajectories.against(np.full(40, low), np.full(40, high), Window(1.0, 2.0))
    assert found["inside"].above(0.5) is holds
    assert trajectories.against(*np.full((2, 3), np.nan), Window(1, 2))["inside"].above(0.5) is None


def test_passing_from_the_start_is_above_any_zone(course):
    always = replace(course, ratio=np.zeros_like(course.ratio))
    assert np.isinf(always.no_copy_at).all()
    assert counts(Settled.of(always, Window(1.0, 4.0)).copies)["above"] == (3, 3)


def test_without_a_copy_nothing_is_settled(course):
    never = replace(course, ratio=np.ones_like(course.ratio))
    found = Settled.of(never, Window(1.0, 4.0))
    assert found.earlier is None and found.kept is None and np.isnan(found.copy).all()
    assert set(found.in_words.values()) == {"none", "1"}
    assert [*trajectories.settled_shares(never, course)] == [
        "image, not memorized", "image, large model",
    ]  # fmt: skip


def test_groups_split_the_samples(course):
    settled = trajectories.settled_shares(course, course)
    assert settled["image, memorized"].mean.tolist() == [0.5, 1, 1, 1]
    assert settled["copy, memorized"].mean.tolist() == [0, 0, 0.5, 0.5]
    assert settled["image, not memorized"].mean.tolist() == [0, 0, 0, 1]
    inside = trajectories.shell_shares(course, course)
    assert inside["small, memorized"].mean.tolist() == [1, 1, 0.5, 0]
    assert inside["large"].mean == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_samples_of_the_posterior_mean_end_as_copies_of_an_image_named_before(train):
    course = Course.of(memorizing(train), train, 12, batch=5, device="cpu")
    assert course.fraction.count == 12 and course.ratio[:, -1].max() < 1e-3
    assert np.all(course.image_at >= course.copy_at)
    assert np.all(course.nearest[:, -1] == course.nearest[:, -2])


@pytest.mark.parametrize("solver", ["heun", "euler"])
def test_a_course_is_that_of_the_samples(train, solver):
    denoise = memorizing(train)
    steps = [*follow(denoise, (1, 4, 4), range(3), seed=2, solver=solver, device="cpu")]
    images = sample(denoise, (1, 4, 4), 3, seed=2, solver=solver, device="cpu")
    torch.testing.assert_close(steps[-1].x.float(), images, rtol=0, atol=0)
    course = Course.of(denoise, train, 3, seed=2, solver=solver, c=2.0, device="cpu")
    assert course.fraction == memorized_fraction(images, train, device="cpu")
    low, high = shell_radii(16, 2.0)
    for s, step in enumerate(steps[:-1]):
        apart = (step.x.numpy()[:, None] - train[None]).reshape(3, len(train), 16)
        gaps = np.linalg.norm(apart, axis=2) / step.sigma
        assert course.inside[:, s].tolist() == ((gaps >= low) & (gaps <= high)).any(1).tolist()


def test_a_strip_shows_the_extremes_of_the_course(train):
    twice = np.concatenate([train, train])
    course = Course.of(memorizing(train), DistinctImages(twice, "cpu"), 4, device="cpu")
    strip = Strip.of(course, memorizing(train), twice, np.array([2.0, 0.1]), device="cpu")
    assert strip.sigma.tolist() == [*karras_sigmas()[[9, 13]], 0]
    assert [*map(type, strip.passed)] == [type(None), np.ndarray, type(None)] * 2
    for title, end in (("smallest ratio", course.ratio[:, -1].argmin()),
                       ("largest ratio", course.ratio[:, -1].argmax())):  # fmt: skip
        copied = train[course.nearest[end, -1]]
        for kind in ("state", "answer", "nearest"):
            np.testing.assert_allclose(strip.rows[f"{title}: {kind}"][-1], copied, atol=2e-2)
