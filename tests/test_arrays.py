"""What comes in as an array: taken in any ordinary form, refused in one line in any other."""

import inspect
import re
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
import scipy.sparse
import torch

import geomem
from geomem.geometry.coverage import coverage_study
from geomem.geometry.distances import rms_radius
from geomem.geometry.locality import row_spectrum
from geomem.geometry.shell_objective import shell_losses
from geomem.memorization import quality
from geomem.memorization.linearity import Linearity

LEVELS = [0.5, 2.0]
NO_POINTS = {"sigma", "sigmas", "radius"}  # arrays, too
# In the range that images have: what is not is asked fewer questions.
TRAIN = np.random.default_rng(0).uniform(-1, 1, size=(12, 1, 2, 2))
QUERIES = np.random.default_rng(1).uniform(-1, 1, size=(4, 1, 2, 2))


def halved(x, sigma):
    return x / 2


def zeros(x, sigma):
    return np.zeros_like(x)


def classifier(images, heldout):
    labels = [np.arange(len(TRAIN)) % 2] * 2
    return quality.ClassifierFeatures.of(images, labels[0], heldout, labels[1])


@cache
def trained():
    return classifier(TRAIN, TRAIN)


def inception():
    """With another network in its place."""
    made = object.__new__(quality.InceptionFeatures)
    made.network, made.device, made.batch = lambda x: (x.float().mean((2, 3)),), "cpu", 5
    return made


def gaussian():
    return geomem.GaussianDenoiser(TRAIN)


def mirrored():
    return geomem.DistinctImages(TRAIN, augment="mirror")


def by_features(images):
    return geomem.DistinctImages(images, features=lambda x: 2 * x.flatten(1))


# Every argument that is an array of points, and one number or array of what comes out.
ARGUMENTS = {
    "posterior_weights x": lambda a: geomem.posterior_weights(a, TRAIN, 0.5),
    "posterior_weights train": lambda a: geomem.posterior_weights(QUERIES, a, 0.5),
    "empirical_denoiser x": lambda a: geomem.empirical_denoiser(a, TRAIN, 0.5),
    "empirical_denoiser train": lambda a: geomem.empirical_denoiser(QUERIES, a, 0.5),
    "gaussian_denoiser x": lambda a: geomem.gaussian_denoiser(a, TRAIN, 0.5),
    "gaussian_denoiser train": lambda a: geomem.gaussian_denoiser(QUERIES, a, 0.5),
    "max_posterior_weight": lambda a: geomem.max_posterior_weight(a, LEVELS).mean,
    "shell_coverage heldout": lambda a: geomem.shell_coverage(a, TRAIN, LEVELS).mean,
    "shell_coverage train": lambda a: geomem.shell_coverage(QUERIES, a, LEVELS).mean,
    "coverage_study heldout": lambda a: study(a, TRAIN).mean,
    "coverage_study pool": lambda a: study(QUERIES, a).mean,
    "overlap_coverage": lambda a: geomem.overlap_coverage(a, TRAIN, LEVELS).mean,
    "linear_gap": lambda a: geomem.linear_gap(a, LEVELS).mean,
    "linear_gap_law": lambda a: geomem.linear_gap_law(a, LEVELS, order=4),
    "linear_gap_bound": lambda a: geomem.linear_gap_bound(a, LEVELS, 1.0),
    "linear_mmse": lambda a: geomem.linear_mmse(a, LEVELS),
    "nearest": lambda a: geomem.nearest(a, TRAIN)[0],
    "neighbours images": lambda a: geomem.neighbours(a, TRAIN).ratio,
    "neighbours train": lambda a: geomem.neighbours(QUERIES, a).ratio,
    "memorization_rates": lambda a: geomem.memorization_rates(halved, a, TRAIN, LEVELS).mean,
    "denoising_error": lambda a: geomem.denoising_error(halved, a, LEVELS).mean,
    "weight_bounds": lambda a: geomem.weight_bounds(a, LEVELS, draws=9).lower,
    "weight_thresholds": lambda a: geomem.weight_thresholds(a),
    "disjoint_sigma": lambda a: geomem.disjoint_sigma(a),
    "shell_minimizer x": lambda a: geomem.shell_minimizer(TRAIN, 0.5, np.zeros_like)(a),
    "shell_minimizer train": lambda a: geomem.shell_minimizer(a, 0.5, np.zeros_like)(QUERIES),
    "disagreement": lambda a: geomem.disagreement(halved, zeros, a, LEVELS).mean,
    "shell_losses": lambda a: shell_losses(zeros, a, 0.5, draws=2),
    "rms_radius": rms_radius,
    "row_spectrum": row_spectrum,
    "Linearity train": lambda a: Linearity.of(halved, a, QUERIES, LEVELS).gaussian.mean,
    "Linearity images": lambda a: Linearity.of(halved, TRAIN, a, LEVELS).gaussian.mean,
    "frechet_distance a": lambda a: quality.frechet_distance(a, QUERIES),
    "frechet_distance b": lambda a: quality.frechet_distance(QUERIES, a),
    "frechet_error": lambda a: quality.frechet_error(a, QUERIES, groups=3),
    "frechet_estimate": lambda a: quality.frechet_estimate(a, QUERIES).high,
    "sliced_wasserstein a": lambda a: quality.sliced_wasserstein(a, TRAIN),
    "sliced_wasserstein b": lambda a: quality.sliced_wasserstein(TRAIN, a),
    "sliced_estimate": lambda a: quality.sliced_estimate(a, TRAIN).high,
    "PrincipalComponents": lambda a: np.abs(quality.PrincipalComponents.of(a, 2).axes),
    "their coordinates": quality.PrincipalComponents.of(TRAIN, 2),
    "ClassifierFeatures images": lambda a: classifier(a, TRAIN)(TRAIN),
    "ClassifierFeatures heldout": lambda a: classifier(TRAIN, a).accuracy,
    "their features": lambda a: trained()(a),
    "InceptionFeatures": lambda a: inception()(a),
    "nearest_distances": lambda a: geomem.nearest_distances(QUERIES, a, 2),
    "intrinsic_dimension heldout": lambda a: geomem.intrinsic_dimension(a, QUERIES).value,
    "intrinsic_dimension train": lambda a: geomem.intrinsic_dimension(QUERIES, a).value,
    "intrinsic_coverage": lambda a: geomem.intrinsic_coverage(a, QUERIES, LEVELS).mean,
    "coverage_bounds heldout": lambda a: geomem.coverage_bounds(a, QUERIES, LEVELS).upper_sum,
    "coverage_bounds train": lambda a: geomem.coverage_bounds(QUERIES, a, LEVELS).upper_sum,
    "coverage_certificate": lambda a: geomem.coverage_certificate(a, QUERIES).nearest,
    "measure_regimes heldout": lambda a: geomem.measure_regimes(a, QUERIES).coverage.mean,
    "measure_regimes train": lambda a: geomem.measure_regimes(QUERIES, a).weight.mean,
    "suggest_gap": lambda a: geomem.suggest_gap(a, QUERIES, resamples=9).window.high,
    "twins": lambda a: geomem.twins(a).share,
    "DistinctImages": lambda a: geomem.DistinctImages(a).images,
    "DistinctImages mirrored": lambda a: geomem.DistinctImages(a, augment="mirror").group,
    "DistinctImages by features": lambda a: by_features(a).vectors,
    "neighbours and mirrors": lambda a: geomem.neighbours(a, mirrored()).ratio,
    "neighbours by features": lambda a: geomem.neighbours(a, by_features(TRAIN)).ratio,
    "memorized_fraction": lambda a: geomem.memorized_fraction(QUERIES, a).value,
    "EmpiricalDenoiser": lambda a: geomem.EmpiricalDenoiser(a)(QUERIES, 0.5),
    "GaussianDenoiser": lambda a: geomem.GaussianDenoiser(a)(QUERIES, 0.5),
    "copy_margin images": lambda a: geomem.copy_margin(a, QUERIES),
    "copy_margin train": lambda a: geomem.copy_margin(QUERIES, a),
    "copy_bound heldout": lambda a: geomem.copy_bound(halved, a, QUERIES, LEVELS).beyond.mean,
    "copy_bound train": lambda a: geomem.copy_bound(halved, QUERIES, a, LEVELS).beyond.mean,
    "membership train": lambda a: geomem.membership(halved, a, QUERIES, LEVELS).auc.mean,
    "membership heldout": lambda a: geomem.membership(halved, QUERIES, a, LEVELS).auc.mean,
    "check_denoiser": lambda a: geomem.check_denoiser(gaussian(), a, LEVELS).error,
    "Monitor train": lambda a: geomem.Monitor(a, QUERIES, samples=0, quiet=True).sigmas,
    "Monitor heldout": lambda a: geomem.Monitor(QUERIES, a, samples=0, quiet=True).images,
    "whiten": lambda a: geomem.whiten(a, [1.0, 2.0, 3.0, 4.0]),
}
FORMS = {
    "nested lists": lambda a: a.tolist(),
    "a tensor": torch.from_numpy,
    "a tensor with a graph": lambda a: torch.from_numpy(a).requires_grad_(),
    "float16": lambda a: a.astype(np.float16),
    "bfloat16": lambda a: torch.from_numpy(a).bfloat16(),
    "big-endian": lambda a: a.astype(">f8"),
    "every other column": lambda a: np.repeat(a, 2, axis=3)[..., ::2],
    "backwards": lambda a: a[::-1].copy()[::-1],
}
NONSENSE = {
    "NaN": (lambda a: np.full_like(a, np.nan), "NaN"),
    "infinite": (lambda a: np.full_like(a, -np.inf), "infinite"),
    "1e154": (lambda a: a * 1e154, r"beyond 1e\+30"),
    "1e300 as a tensor": (lambda a: torch.from_numpy(a) * 1e300, r"beyond 1e\+30"),
    "sparse": (lambda a: torch.from_numpy(a).flatten(1).to_sparse(), "dense tensor"),
    "scipy's sparse": (lambda a: scipy.sparse.csr_matrix(a.reshape(len(a), -1)), "real numbers"),
    "meta": (lambda a: torch.from_numpy(a).to("meta"), "on meta"),
    "complex": (lambda a: a + 1j, "real numbers"),
    "complex tensor": (lambda a: torch.from_numpy(a + 1j), "real numbers"),
    "text": (lambda a: a.astype(str), "real numbers"),
    "None": (lambda a: None, "real numbers"),
    "masked": (lambda a: np.ma.masked_array(a, a == a.max()), "masked"),
    "lists of unequal lengths": (lambda a: [[1.0], [1.0, 2.0]], "equal lengths"),
    "no points": (lambda a: a[:0], r"N >= 1 points"),
    "no pixels": (lambda a: a[..., :0], "at least one number"),
    "no pixels in a tensor": (lambda a: torch.from_numpy(a)[..., :0], "at least one number"),
    "numbers without an axis of points": (lambda a: a[:, 0, 0, 0], r"shape \(N, \.\.\.\)"),
}


def study(heldout, pool):
    return coverage_study(heldout, pool, LEVELS, size=2, trials=3)


def floats(result):
    return np.asarray(result.double() if isinstance(result, torch.Tensor) else result, float)


def test_every_public_name_that_takes_points_is_here():
    """But `audit`, which is slow: test_audit.py."""
    taking = set()
    for name in geomem.__all__:
        with suppress(ValueError):  # what has no signature
            for one in inspect.signature(getattr(geomem, name)).parameters.values():
                if one.name not in NO_POINTS and "Array" in str(one.annotation).split():
                    taking.add(name)
    assert taking - {key.split()[0] for key in ARGUMENTS} == {"audit"}


@pytest.mark.parametrize("function", ARGUMENTS.values(), ids=ARGUMENTS)
def test_every_ordinary_form_gives_the_same(function):
    coarse = torch.from_numpy(TRAIN).bfloat16().double().numpy()  # no form of it is rounded
    expected = floats(function(coarse))
    for form, change in FORMS.items():
        found = floats(function(change(coarse)))
        # A denoiser answers in the type of its input.
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3, err_msg=form)


@pytest.mark.parametrize("function", ARGUMENTS.values(), ids=ARGUMENTS)
def test_nonsense_is_one_clear_line(function):
    for what, (spoil, message) in NONSENSE.items():
        try:
            pytest.fail(f"{what}: taken, and gave {function(spoil(TRAIN))}")
        except ValueError as error:
            assert re.search(message, str(error)) and "\n" not in str(error), what


def zero(x, sigma):
    return 0 * x


@pytest.mark.parametrize(
    "function",
    [
        lambda draws: geomem.max_posterior_weight(TRAIN, [1.0], draws=draws),
        lambda draws: geomem.shell_coverage(TRAIN, TRAIN, [1.0], draws=draws),
        lambda draws: geomem.denoising_error(zero, TRAIN, [1.0], draws=draws),
        lambda draws: geomem.memorization_rates(zero, TRAIN, TRAIN, [1.0], draws=draws),
        lambda draws: geomem.disagreement(zero, zero, TRAIN, [1.0], draws=draws),
        lambda draws: shell_losses(zero, TRAIN, 1.0, draws=draws),
    ],
)
def test_more_draws_than_the_memory_holds_are_refused_before_they_are_drawn(function):
    with pytest.raises(ValueError, match=r"^draws: [\d,]+ need [\d.e+]+ TB, and the memory has"):
        function(10**12)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one here")
def test_a_device_that_is_not_here_is_one_line():
    with pytest.raises(ValueError, match="no CUDA device here"):
        geomem.twins(np.eye(4), device="cuda")
