"""Geometry of memorization in diffusion models: the code behind the companion book.

An executable companion to *Two Calm Ends and the Wild Middle* (Dodson, Gao, Wang, Wang,
Wan; ICML 2026; arXiv 2602.17846).
"""

import ast
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geomem.data.files import DataError
    from geomem.data.sets import ImageSet, load_dataset
    from geomem.denoisers.adapter import AdaptedDenoiser
    from geomem.denoisers.check import check_denoiser
    from geomem.denoisers.recognise import denoiser
    from geomem.diffusion.fitting import train_or_load
    from geomem.diffusion.network import EDMDenoiser, ModelConfig
    from geomem.diffusion.noise import NoiseLaw, karras_sigmas
    from geomem.diffusion.presets import Experiment, experiment
    from geomem.diffusion.sampler import sample
    from geomem.diffusion.schedules import Schedule, whiten
    from geomem.diffusion.train import TrainConfig
    from geomem.diffusion.zoo import load_model
    from geomem.geometry.coverage import shell_coverage, shell_mass, shell_radii
    from geomem.geometry.coverage_bounds import (
        coverage_bounds,
        coverage_certificate,
        coverage_sigma,
        shell_mass_envelopes,
    )
    from geomem.geometry.curve import Curve, ErrorCurve
    from geomem.geometry.denoiser import Denoiser
    from geomem.geometry.distances import nearest, nearest_distances
    from geomem.geometry.gaussian import (
        GaussianDenoiser,
        gaussian_denoiser,
        linear_gap,
        linear_gap_bound,
        linear_gap_law,
        linear_mmse,
    )
    from geomem.geometry.intrinsic import intrinsic_coverage, intrinsic_dimension
    from geomem.geometry.locality import circulant_sensitivity, locality_bound
    from geomem.geometry.overlap import overlap_coverage
    from geomem.geometry.posterior import (
        EmpiricalDenoiser,
        empirical_denoiser,
        max_posterior_weight,
        posterior_weights,
    )
    from geomem.geometry.posterior_bounds import weight_bounds, weight_thresholds
    from geomem.geometry.regimes import Regimes, find_regimes, measure_regimes
    from geomem.geometry.shell_objective import disagreement, disjoint_sigma, shell_minimizer
    from geomem.memorization.copy_bound import copy_bound, copy_margin
    from geomem.memorization.distinct import DistinctImages
    from geomem.memorization.gap import Gap, SuggestedGap, suggest_gap
    from geomem.memorization.hump import Hump
    from geomem.memorization.membership import Membership, membership
    from geomem.memorization.monitor import Monitor
    from geomem.memorization.ratio_test import (
        denoising_error,
        memorization_rates,
        memorized_fraction,
        neighbours,
    )
    from geomem.memorization.twins import twins
    from geomem.report.audit import audit
    from geomem.report.report import Report

__all__ = [
    "AdaptedDenoiser",
    "Curve",
    "DataError",
    "Denoiser",
    "DistinctImages",
    "EDMDenoiser",
    "EmpiricalDenoiser",
    "ErrorCurve",
    "Experiment",
    "Gap",
    "GaussianDenoiser",
    "Hump",
    "ImageSet",
    "Membership",
    "ModelConfig",
    "Monitor",
    "NoiseLaw",
    "Regimes",
    "Report",
    "Schedule",
    "SuggestedGap",
    "TrainConfig",
    "audit",
    "check_denoiser",
    "circulant_sensitivity",
    "copy_bound",
    "copy_margin",
    "coverage_bounds",
    "coverage_certificate",
    "coverage_sigma",
    "denoiser",
    "denoising_error",
    "disagreement",
    "disjoint_sigma",
    "empirical_denoiser",
    "experiment",
    "find_regimes",
    "gaussian_denoiser",
    "intrinsic_coverage",
    "intrinsic_dimension",
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
    "membership",
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
    "suggest_gap",
    "train_or_load",
    "twins",
    "weight_bounds",
    "weight_thresholds",
    "whiten",
]


if not TYPE_CHECKING:  # to a type checker it would make every name a right one

    def __getattr__(name: str) -> Any:
        """A public name, imported when it is first asked for: torch alone takes seconds."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_homes()[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


@cache
def _homes() -> dict[str, str]:
    """The module of each public name, as the imports above tell type checkers."""
    tree = ast.parse(Path(__file__).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}
