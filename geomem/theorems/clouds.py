"""Small point sets on which statements about W_sigma are simulated and compared with code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import ndtr

from geomem.geometry.arrays import Floats
from geomem.geometry.posterior_bounds import weight_bounds
from geomem.theorems.checks import Refused
from geomem.theorems.formulas import Draws, N, Values, at_least

LEVELS = (0.15, 0.4, 1.0, 2.5, 8.0)
d_, delta_ = sp.IndexedBase("d"), sp.IndexedBase("delta")  # distances; least ones of each point
s_ = sp.IndexedBase("s")  # distances from the mean, in noise levels
sigma, W = sp.symbols(r"sigma W_\sigma", positive=True)
delta, diameter, radius = sp.symbols(r"delta \operatorname{diam}(D) R", positive=True)
POINTS = "points"  # the set itself, for code
MANY = at_least(N, 2)
NEEDS_TWO = Refused(
    "weight_bounds",
    MANY,
    N,
    lambda n: weight_bounds(np.arange(float(n))[:, None], [1.0], draws=100),
    step=1,
)


def clouds() -> list[Floats]:
    """On a line; in the plane; with near and exact copies; with an outlier."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(9, 2))
    outlier = rng.normal(size=(8, 3))
    outlier[0] *= 20
    return [
        np.array([[0.0], [2.0]]),
        np.array([[0.0], [0.3], [1.0], [2.5], [9.0]]),
        plane,
        np.vstack([plane[:4], plane[:2], plane[2:4] + 1e-3]),
        outlier,
        rng.normal(size=(12, 6)),
    ]


def described(points: Floats, level: float) -> dict[Any, Any]:
    """What a formula may ask of a set at a noise level."""
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    nearest = np.partition(distances, 1, axis=1)[:, 1]
    reach = np.linalg.norm(points - points.mean(0), axis=1)
    return {
        N: len(points),
        sigma: level,
        d_: distances,
        delta_: nearest,
        delta: nearest.min(),
        diameter: distances.max(),
        s_: reach / level,
        radius: reach.max(),
        POINTS: points,
    }


@cache
def _weights(index: int, level: float, draws: int = 4000) -> Floats:
    """The mean over the points of the largest weight, for each draw of the noise."""
    return weights(clouds()[index], level, draws)


def weights(points: Floats, level: float, draws: int = 4000) -> Floats:
    """The largest weight straight from Definition 4.1: its mean over the points, draw by draw."""
    z = np.random.default_rng(1).standard_normal((draws, points.shape[1]))
    mean = np.zeros(draws)
    for point in points:
        steps = points - point
        energy = (steps**2).sum(1) / (2 * level**2) - z @ steps.T / level
        mean += 1 / np.exp(energy.min(1, keepdims=True) - energy).sum(1) / len(points)
    return mean


def weighed(levels: Sequence[float] = LEVELS, sets: Sequence[int] = range(6)) -> Iterator[Values]:
    """Every set at every level, with its simulated W_sigma."""
    for index in sets:
        for level in levels:
            world = described(clouds()[index], level)
            yield world | {W: Draws(_weights(index, level))}


def measured_weight(points: Floats, level: float, draws: int = 4000) -> tuple[float, float]:
    """W_sigma by Monte Carlo, with its standard error."""
    mean = weights(points, level, draws)
    return float(mean.mean()), float(mean.std(ddof=1) / np.sqrt(draws))


def line_weight(points: Floats, level: float) -> float:
    """W_sigma of points on a line, exactly: N W = 1 + sum over gaps of 2 F(g / 2 sigma) - 1."""
    gaps = np.diff(np.sort(points.ravel()))
    return float((1 + (2 * ndtr(gaps / (2 * level)) - 1).sum()) / len(points))


def random_cloud(rng: np.random.Generator) -> dict[Any, Any]:
    """A random set at a random noise level, for comparing code with its formula."""
    n, dim = int(rng.integers(2, 12)), int(rng.integers(1, 6))
    points = rng.normal(size=(n, dim)) * np.exp(rng.uniform(-3, 3, size=(n, 1)))
    if n > 2 and rng.random() < 0.3:
        points[-1] = points[0]  # a copy
    spread = np.linalg.norm(points - points.mean(0), axis=1).max()
    return described(points, float(spread * np.exp(rng.uniform(-5, 4))))
