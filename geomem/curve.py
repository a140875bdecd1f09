"""A quantity of the noise level, measured over queries, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

Floats = NDArray[np.float64]
FEW = 5  # failures seen below which an interval near 1 does not trust the observed spread


@dataclass(frozen=True)
class Curve:
    """A probability-like quantity in [0, 1] against the noise level.

    Attributes
    ----------
    sigma : (S,) noise levels, in data units, in the order given by the caller.
    mean : (S,) the estimate: the mean over queries of their mean over noise draws.
    low, high : (S,) the 95% interval over queries (see `from_queries`).
    n : number of queries.
    per_query : (n, S) each query's mean over its draws; what resampling draws from.
        Empty (0, S) for a curve read from a table.
    """

    sigma: Floats
    mean: Floats
    low: Floats
    high: Floats
    n: int
    per_query: Floats

    @classmethod
    def from_queries(cls, sigma: Floats, per_query: Floats) -> Curve:
        """The curve of (n, S) per-query means over noise draws.

        The interval is Wilson's with an effective sample size, m(1-m)/SE^2 (the survey
        statistician's design effect): it stays in [0, 1] and follows the observed spread
        over queries. Where no query differs from another it falls back on n. Above m = 1/2
        a rare failure decides and may not have been seen: there the size shrinks towards n
        as the failures seen, n(1-m), become few.
        """
        n = len(per_query)
        mean = per_query.mean(0)
        variance = per_query.var(0, ddof=1) / n if n > 1 else np.zeros_like(mean)
        binomial = np.clip(mean * (1 - mean), 0, None)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.where((variance > 0) & (binomial > 0), binomial / variance, float(n))
        failures = n * np.clip(1 - mean, 0, None)
        trust = np.where(mean > 0.5, failures / (failures + FEW), 1.0)
        size = n * (size / n) ** trust
        low, high = wilson(mean, size)
        return cls(sigma, mean, low, high, n, per_query)

    @classmethod
    def from_table(cls, sigma: Floats, values: Floats) -> Curve:
        """A curve read from a table (a digitized figure, say): no queries, no interval."""
        unknown = np.full(len(sigma), np.nan)
        return cls(sigma, values, unknown, unknown, 0, np.empty((0, len(sigma))))


def wilson(mean: Floats, size: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's score interval of a proportion ``mean`` from ``size`` effective trials."""
    z = norm.ppf(0.5 + level / 2)
    centre = (mean + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(mean * (1 - mean) / size + (z / (2 * size)) ** 2) / (1 + z**2 / size)
    return np.clip(np.minimum(centre - half, mean), 0, 1), np.clip(
        np.maximum(centre + half, mean), 0, 1
    )


def check_sigmas(sigmas: object) -> Floats:
    """Noise levels as a float64 vector, or a ValueError that says what is wrong."""
    if hasattr(sigmas, "detach"):
        sigmas = sigmas.detach().cpu().numpy()
    values = np.atleast_1d(np.asarray(sigmas, dtype=np.float64))
    if values.ndim != 1 or len(values) == 0:
        raise ValueError("sigmas: expected a non-empty list of noise levels.")
    if not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError("sigmas: every noise level must be a positive, finite number.")
    return values
