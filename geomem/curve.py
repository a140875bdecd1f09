"""A quantity of the noise level, measured over queries, with its interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
FEW = 5  # events seen below which an interval does not trust the observed spread


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
    def from_queries(cls, sigma: Floats, per_query: Floats, *, indicator: bool) -> Curve:
        """The curve of (n, S) per-query means over noise draws.

        The interval is Wilson's with an effective sample size, m(1-m)/SE^2 (the survey
        statistician's design effect): it stays in [0, 1] and follows the observed spread
        over queries. Where few events decide, they may not have been seen: near m = 1 the
        size shrinks towards n as the failures, n(1-m), become few; near m = 0 likewise,
        but only for an ``indicator`` (coverage). The largest posterior weight never is
        near 0 for lack of events: there the observed spread is trusted, which a rare
        isolated image that no query met can make too small.
        """
        n = len(per_query)
        mean = per_query.mean(0)
        variance = per_query.var(0, ddof=1) / n if n > 1 else np.zeros_like(mean)
        binomial = np.clip(mean * (1 - mean), 0, None)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.where((variance > 0) & (binomial > 0), binomial / variance, float(n))
        events = n * np.clip(np.minimum(mean, 1 - mean), 0, None)
        trust = np.where((mean > 0.5) | indicator, events / (events + FEW), 1.0)
        size = n * (size / n) ** trust
        low, high = wilson(mean, size)
        return cls(sigma, mean, low, high, n, per_query)

    @classmethod
    def from_table(cls, sigma: Floats, values: Floats) -> Curve:
        """A curve read from a table (a digitized figure, say): no queries, no interval."""
        unknown = np.full(len(sigma), np.nan)
        return cls(sigma, values, unknown, unknown, 0, np.empty((0, len(sigma))))


@dataclass(frozen=True)
class ErrorCurve:
    """A mean squared distance, >= 0 without an upper limit, against the noise level.

    Attributes
    ----------
    sigma : (S,) noise levels, in data units, in the order given by the caller.
    mean : (S,) mean over queries of their mean over noise draws, data units squared: a sum
        over the pixels (divide by their number for the error per pixel).
    low, high : (S,) its 95% interval over queries (normal, cut at 0); NaN for one query.
    n : number of queries.
    per_query : (n, S) each query's mean over its draws.
    """

    sigma: Floats
    mean: Floats
    low: Floats
    high: Floats
    n: int
    per_query: Floats

    @classmethod
    def from_queries(cls, sigma: Floats, per_query: Floats) -> ErrorCurve:
        """The curve of (n, S) per-query means over noise draws, with its normal interval."""
        n, mean = len(per_query), per_query.mean(0)
        spread = per_query.std(0, ddof=1) if n > 1 else np.full(len(sigma), np.nan)
        half = 1.96 * spread / np.sqrt(n)
        return cls(sigma, mean, np.maximum(mean - half, 0), mean + half, n, per_query)


def wilson(mean: Floats, size: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's score interval of a proportion ``mean`` from ``size`` effective trials."""
    z = ndtri(0.5 + level / 2)
    centre = (mean + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(mean * (1 - mean) / size + (z / (2 * size)) ** 2) / (1 + z**2 / size)
    return np.clip(np.minimum(centre - half, mean), 0, 1), np.clip(
        np.maximum(centre + half, mean), 0, 1
    )


def check_sigmas(sigmas: object) -> Floats:
    """Noise levels as a float64 vector, or a ValueError that says what is wrong."""
    if hasattr(sigmas, "detach"):
        sigmas = sigmas.detach().double().cpu().numpy()
    values = np.asarray(sigmas, dtype=np.float64).ravel()
    if len(values) == 0:
        raise ValueError("sigmas: expected a non-empty list of noise levels.")
    if not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError("sigmas: every noise level must be a positive, finite number.")
    return values


def check_count(name: str, value: object) -> int:
    """A number of draws, say, as an int >= 1, or a ValueError that says what is wrong."""
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value}.")
    return int(value)
