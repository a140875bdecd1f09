"""Small point sets on which the weight bounds are checked by simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from scipy.special import ndtr

from geomem.geometry.arrays import Floats
from geomem.geometry.posterior_bounds import WeightBounds, weight_bounds

LEVELS = np.array([0.15, 0.4, 1.0, 2.5, 8.0])
Cases = Sequence[tuple[float, float, float, str]]


def clouds() -> list[Floats]:
    """On a line; in the plane; with near and exact copies; with an outlier."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(15, 2))
    outlier = rng.normal(size=(8, 3))
    outlier[0] *= 20
    return [
        np.array([[0.0], [2.0]]),
        np.array([[0.0], [0.3], [1.0], [2.5], [9.0]]),
        plane,
        np.vstack([plane[:6], plane[:3], plane[3:6] + 1e-3]),
        outlier,
        rng.normal(size=(30, 12)),
    ]


def measured_weight(points: Floats, sigma: float, draws: int = 4000) -> tuple[float, float]:
    """W_sigma by Monte Carlo straight from Definition 4.1, with its standard error."""
    z = np.random.default_rng(1).standard_normal((draws, points.shape[1]))
    mean = np.zeros(draws)  # over the points, for each draw
    for point in points:
        steps = points - point
        energy = (steps**2).sum(1) / (2 * sigma**2) - z @ steps.T / sigma
        mean += 1 / np.exp(energy.min(1, keepdims=True) - energy).sum(1) / len(points)
    return float(mean.mean()), float(mean.std(ddof=1) / np.sqrt(draws))


def line_weight(points: Floats, sigma: float) -> float:
    """W_sigma of points on a line, exactly: N W = 1 + sum over gaps of 2 F(g / 2 sigma) - 1."""
    gaps = np.diff(np.sort(points.ravel()))
    return float((1 + (2 * ndtr(gaps / (2 * sigma)) - 1).sum()) / len(points))


@cache
def _measured() -> list[tuple[WeightBounds, list[tuple[float, float]]]]:
    """Bounds and measured W_sigma of every set at every level; several steps ask for them."""
    return [
        (weight_bounds(points, LEVELS), [measured_weight(points, float(s)) for s in LEVELS])
        for points in clouds()
    ]


def compared(bound: Callable[[WeightBounds], Floats], sense: str) -> Cases:
    """The measured W_sigma against a bound, on every set and level where the bound exists."""
    cases = []
    for bounds, measured in _measured():
        for value, (estimate, error) in zip(bound(bounds), measured, strict=True):
            if np.isfinite(value):
                # A W_sigma that rounds to its limit has no spread: allow for the rounding.
                cases.append((estimate, max(error, 1e-9), float(value), sense))
    return cases
