"""Geometry of memorization in diffusion models: the code behind the companion book.

An executable companion to *Two Calm Ends and the Wild Middle* (Dodson, Gao, Wang, Wang,
Wan; ICML 2026; arXiv 2602.17846).
"""

from geomem.curve import Curve, ErrorCurve
from geomem.data import ImageSet, load_dataset
from geomem.distances import nearest, nearest_distances
from geomem.experiments import Experiment, experiment
from geomem.gaussian import (
    gaussian_denoiser,
    linear_gap,
    linear_gap_bound,
    linear_gap_law,
    linear_mmse,
)
from geomem.hump import Hump
from geomem.image_files import DataError
from geomem.locality import circulant_sensitivity, locality_bound
from geomem.memorization import (
    denoising_error,
    memorization_rates,
    memorized_fraction,
    neighbours,
)
from geomem.model import EDMDenoiser, ModelConfig
from geomem.noise_law import NoiseLaw
from geomem.overlap import overlap_coverage
from geomem.posterior import empirical_denoiser, max_posterior_weight, posterior_weights
from geomem.posterior_bounds import weight_bounds, weight_thresholds
from geomem.regimes import Regimes, find_regimes, measure_regimes
from geomem.sampler import sample
from geomem.schedule import karras_sigmas
from geomem.shell import shell_coverage, shell_mass, shell_radii
from geomem.shell_bounds import coverage_bounds, coverage_sigma, shell_mass_envelopes
from geomem.shell_objective import disagreement, disjoint_sigma, shell_minimizer
from geomem.store import load_model, train_or_load
from geomem.train import TrainConfig

__all__ = [
    "Curve",
    "DataError",
    "EDMDenoiser",
    "ErrorCurve",
    "Experiment",
    "Hump",
    "ImageSet",
    "ModelConfig",
    "NoiseLaw",
    "Regimes",
    "TrainConfig",
    "circulant_sensitivity",
    "coverage_bounds",
    "coverage_sigma",
    "denoising_error",
    "disagreement",
    "disjoint_sigma",
    "empirical_denoiser",
    "experiment",
    "find_regimes",
    "gaussian_denoiser",
    "karras_sigmas",
    "linear_gap",
    "linear_gap_bound",
    "linear_gap_law",
    "linear_mmse",
    "load_dataset",
    "load_model",
    "locality_bound",
    "max_posterior_weight",
    "measure_regimes",
    "memorization_rates",
    "memorized_fraction",
    "nearest",
    "nearest_distances",
    "neighbours",
    "overlap_coverage",
    "posterior_weights",
    "sample",
    "shell_coverage",
    "shell_mass",
    "shell_mass_envelopes",
    "shell_minimizer",
    "shell_radii",
    "train_or_load",
    "weight_bounds",
    "weight_thresholds",
]
