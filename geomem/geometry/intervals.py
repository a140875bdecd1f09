"""Estimates with their 95% intervals, and how they read: the one home of both."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtri, stdtrit

from geomem.geometry.arrays import Floats


@dataclass(frozen=True)
class Estimate:
    """A noise level with its 95% interval from resampling the queries (NaN: not available)."""

    value: float
    low: float = np.nan
    high: float = np.nan

    @property
    def numbers(self) -> tuple[float, float, float]:
        """The value and the ends of its interval."""
        return self.value, self.low, self.high

    def __str__(self) -> str:
        return self._text("{:.3g}".format)

    def __format__(self, spec: str) -> str:
        """With every number in this format.

        >>> f"{Estimate(0.9604, 0.951, 0.9698):.3f}"
        '0.960 [0.951, 0.970]'
        """
        return self._text(lambda number: format(number, spec)) if spec else str(self)

    def __sub__(self, known: float) -> Self:
        """What it exceeds a known number by."""
        return replace(self, value=self.value - known, low=self.low - known, high=self.high - known)

    def __truediv__(self, known: float) -> Self:
        """How many times a known number > 0 it is."""
        return replace(self, value=self.value / known, low=self.low / known, high=self.high / known)

    @property
    def percent(self) -> str:
        """A share, or the change of one (then in points), in percent with two digits.

        >>> Estimate(-0.6523, -0.711, -0.588).percent
        '-65% [-71%, -59%]'
        """
        return self._text(percent)

    def _text(self, written: Callable[[float], str]) -> str:
        if not np.isfinite(self.value):
            return "none"
        interval = f" [{written(self.low)}, {written(self.high)}]" if np.isfinite(self.low) else ""
        return written(self.value) + interval

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def plus_minus(self, value: str = ".3g", half: str = ".2g") -> str:
        """The value and half the width of its interval, which reads best where it is symmetric.

        >>> Estimate(7.462, 7.1, 7.824).plus_minus()
        '7.46 ± 0.36'
        """
        return f"{self.value:{value}} ± {self.half:{half}}"


@dataclass(frozen=True)
class Fraction:
    """``count`` of ``n`` independent images, with the 95% interval of Clopper and Pearson.

    Exact for binomial counts: it holds the truth at least 95 times in 100, also near 0 and 1.

    >>> print(Fraction.of(47, 100))
    47 of 100, 47% [37%, 57%]
    """

    value: float
    low: float
    high: float
    count: int
    n: int

    @classmethod
    def of(cls, count: int, n: int) -> Fraction:
        if not 0 <= count <= n or n < 1:
            raise ValueError(f"fraction: needs a count of 0 to n and n >= 1, got {count} of {n}.")
        low = float(betaincinv(count, n - count + 1, 0.025)) if count else 0.0
        high = float(betaincinv(count + 1, n - count, 0.975)) if count < n else 1.0
        return cls(count / n, low, high, count, n)

    @property
    def percent(self) -> str:
        """The share in percent with two digits, and its interval."""
        return f"{percent(self.value)} [{percent(self.low)}, {percent(self.high)}]"

    @property
    def numbers(self) -> tuple[float, float, float]:
        """The value and the ends of its interval."""
        return self.value, self.low, self.high

    def __str__(self) -> str:
        return f"{self.count:,} of {self.n:,}, {self.percent}"


@dataclass(frozen=True)
class Change(Estimate):
    """The change of a share, in [-1, 1]; as text in percent of all samples."""

    def __str__(self) -> str:
        return self.percent


def mean_of(values: ArrayLike) -> Estimate:
    """The mean of what each of n images gave, with its normal 95% interval.

    Parameters
    ----------
    values : (n,) one value of each image, n >= 2.

    >>> mean_of([1.0, 2.0, 3.0]).plus_minus()
    '2 ± 1.1'
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise ValueError(f"mean over images: needs (n,) values, n >= 2, got {found.shape}.")
    mean, half = float(found.mean()), float(1.96 * found.std(ddof=1) / np.sqrt(len(found)))
    return Estimate(mean, mean - half, mean + half)


def columns(
    name: str, unit: str, estimates: Iterable[Estimate | Fraction]
) -> dict[str, list[float]]:
    """Estimates as three columns of a table: the values, and the ends of their intervals.

    >>> [*columns("memorized", "fraction", [Fraction.of(1, 2)])][:2]
    ['memorized [fraction]', 'memorized, low [fraction, 95% interval]']
    """
    found = [*estimates]
    return {
        f"{name} [{unit}]": [one.value for one in found],
        f"{name}, low [{unit}, 95% interval]": [one.low for one in found],
        f"{name}, high [{unit}, 95% interval]": [one.high for one in found],
    }


def bars(values: Sequence[Estimate | Fraction]) -> tuple[Floats, Floats]:
    """What matplotlib's ``errorbar`` wants of estimates: their values and the lengths of the bars.

    Parameters
    ----------
    values : sequence of n estimates or fractions
        In any unit. An interval of percentiles need not hold its estimate: there a bar is 0.

    Returns
    -------
    tuple of an array (n,) and an array (2, n)
        The values, and how far below and above them the interval ends, >= 0; NaN without one.

    >>> middle, ends = bars([Estimate(0.5, 0.25, 1.0), Estimate(2.0)])
    >>> middle.tolist(), ends.tolist()
    ([0.5, 2.0], [[0.25, nan], [0.5, nan]])
    """
    middle, low, high = np.array([(v.value, v.low, v.high) for v in values], np.float64).T
    return middle, np.maximum([middle - low, high - middle], 0)


def student(values: ArrayLike) -> Estimate:
    """The mean of a number that each of n trainings gave, with Student's 95% interval.

    Parameters
    ----------
    values : (n,) one value of each training, n >= 2, with seeds of their own.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise ValueError(f"over trainings: needs (n,) values, n >= 2, got {found.shape}.")
    error = found.std(ddof=1) / np.sqrt(len(found))
    mean, half = float(found.mean()), float(stdtrit(len(found) - 1, 0.975) * error)
    return Estimate(mean, mean - half, mean + half)


def over_trainings(values: ArrayLike) -> Change:
    """The mean change of a share over n trainings, with the interval of `student`.

    An interval over samples of one model leaves out what another training would change; this
    one has both.
    """
    mean = student(values)
    return Change(mean.value, mean.low, mean.high)


def paired_difference(
    base: NDArray[np.bool_], other: NDArray[np.bool_], *, resamples: int = 10_000, seed: int = 0
) -> Change:
    """How much the memorized share changes from one condition to another, on paired samples.

    Parameters
    ----------
    base, other : (n,) whether the sample of each seed is memorized, in both conditions.
    resamples : bootstrap resamples of the seeds, for the 95% percentile interval.
    seed : of the resampling.

    Returns
    -------
    Change, mean(other) - mean(base), in [-1, 1].
    """
    change = other.astype(np.int64) - base.astype(np.int64)
    if change.ndim != 1 or len(change) == 0:
        raise ValueError("paired_difference: needs two (n,) arrays of the same n >= 1.")
    counts = [np.count_nonzero(change == value) for value in (-1, 0, 1)]
    draws = np.random.default_rng(seed).multinomial(
        len(change), np.array(counts) / len(change), size=resamples
    )
    low, high = np.quantile((draws[:, 2] - draws[:, 0]) / len(change), [0.025, 0.975])
    return Change(float(change.mean()), float(low), float(high))


def wilson(mean: Floats, size: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's score interval of a proportion ``mean`` from ``size`` effective trials."""
    z = ndtri(0.5 + level / 2)
    centre = (mean + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(mean * (1 - mean) / size + (z / (2 * size)) ** 2) / (1 + z**2 / size)
    return np.clip(np.minimum(centre - half, mean), 0, 1), np.clip(
        np.maximum(centre + half, mean), 0, 1
    )


def percent(share: float) -> str:
    """A share as text: two digits, none of them lost near 0 and 1.

    >>> [percent(x) for x in (0.0, 0.00717, 0.0625, 0.8163, 0.9968, 0.99987, 1.0)]
    ['0%', '0.72%', '6.2%', '82%', '99.68%', '99.987%', '100%']
    """
    value = 100 * share
    if 99 < abs(value) < 100:  # two digits of what is left to 100
        left = 100 - abs(value)
        digits = 1 - math.floor(math.log10(left))
        return f"{value:.{digits}f}%"
    return f"{value:.0f}%" if abs(value) >= 9.95 else f"{value:.2g}%"
