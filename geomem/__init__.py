"""Geometry of memorization in diffusion models: the code behind the companion book.

An executable companion to *Two Calm Ends and the Wild Middle* (Dodson, Gao, Wang, Wang,
Wan; ICML 2026; arXiv 2602.17846).
"""

from geomem.curve import Curve
from geomem.data import ImageSet, load_dataset
from geomem.distances import nearest_distances
from geomem.image_files import DataError
from geomem.posterior import empirical_denoiser, max_posterior_weight, posterior_weights
from geomem.regimes import Regimes, find_regimes
from geomem.schedule import karras_sigmas
from geomem.shell import shell_coverage, shell_mass, shell_radii

__all__ = [
    "Curve",
    "DataError",
    "ImageSet",
    "Regimes",
    "empirical_denoiser",
    "find_regimes",
    "karras_sigmas",
    "load_dataset",
    "max_posterior_weight",
    "nearest_distances",
    "posterior_weights",
    "shell_coverage",
    "shell_mass",
    "shell_radii",
]
