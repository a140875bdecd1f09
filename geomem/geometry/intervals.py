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

Answer = bool | None  # to a question that intervals decide; None: they allow both answers


def decided(yes: object, no: object) -> Answer:
    """What is known where "yes" and "no" are each known or not, and never both."""
    return True if yes else False if no else None


def every(answers: Iterable[Answer]) -> Answer:
    """Whether all of it is true: not as soon as one is not, unknown as long as one is.

    >>> every([True, True]), every([True, None]), every([None, False])
    (True, None, False)
    """
    found = [*answers]
    return decided(all(found), any(one is False for one in found))


def some(answers: Iterable[Answer]) -> Answer:
    """Whether any of it is true.

    >>> some([False, True]), some([False, None]), some([False, False])
    (True, None, False)
    """
    found = [*answers]
    return decided(any(found), all(one is False for one in found))


def below(found: Estimate | Fraction, level: float) -> Answer:
    """Whether a number is below a level, by its whole interval; without one nothing is known.

    >>> below(Estimate(1, 0.5, 1.5), 2), below(Estimate(1, 0.5, 1.5), 1), below(Estimate(1), 2)
    (True, None, None)
    """
    return decided(found.high < level, found.low >= level)


def above(found: Estimate | Fraction, level: float) -> Answer:
    """Whether a number is above a level, as `below`."""
    return decided(found.low > level, found.high <= level)


def less(one: Estimate | Fraction, other: Estimate | Fraction) -> Answer:
    """Whether one number is below another: their intervals do not meet."""
    return decided(one.high < other.low, one.low >= other.high)


def little(change: Estimate | Fraction, most: float) -> Answer:
    """Whether a change is smaller than this, either way.

    >>> little(Estimate(0, -0.1, 0.1), 0.2), little(Estimate(0.5, 0.3, 0.7), 0.2)
    (True, False)
    """
    return every([above(change, -most), below(change, most)])


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval (NaN: not available); whoever makes one says by what rule."""

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


def more_often(found: Fraction, known: Fraction, risk: float) -> bool:
    """Whether one share is above another beyond chance: Fisher's exact test, one-sided.

    >>> more_often(Fraction.of(2, 16), Fraction.of(0, 512), 1e-3)
    True
    """
    from scipy.stats import hypergeom  # a second, which what counts nothing need not wait

    n, count = found.n + known.n, found.count + known.count
    return bool(hypergeom.sf(found.count - 1, n, count, found.n) < risk)


@dataclass(frozen=True)
class Change(Estimate):
    """The change of a share, in [-1, 1]; as text in percent of all samples."""

    def __str__(self) -> str:
        return self.percent


def mean_of(values: ArrayLike) -> Estimate:
    """The mean of what each of n images, or trainings, gave, with Student's 95% interval.

    Parameters
    ----------
    values : (n,) one value of each image or training (with a seed of its own), n >= 2.

    >>> mean_of([1.0, 2.0, 3.0]).plus_minus()
    '2 ± 2.5'
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise ValueError(f"mean: needs (n,) values of images or trainings, n >= 2: {found.shape}.")
    mean, half = float(found.mean()), float(student_half(found))
    return Estimate(mean, mean - half, mean + half)


def percentiles(value: float, resampled: Floats) -> Estimate:
    """A value with the middle 95% of what R resamples gave; NaN where a resample gave none.

    Without an interval where more than 2.5% of them gave none.

    >>> print(percentiles(1.0, np.linspace(0, 2, 201)), percentiles(1.0, np.array([1.0, np.nan])))
    1 [0.05, 1.95] 1
    """
    found = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or len(found) == 0 or len(found) < 0.975 * len(resampled):
        return Estimate(float(value))
    return Estimate(float(value), *map(float, np.percentile(found, [2.5, 97.5])))


def positive_mean(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Means of numbers >= 0 that a few large ones may decide, with their 95% intervals.

    Parameters
    ----------
    values : array (n, S)
        One value >= 0 of each of n queries, for each of S levels.

    Returns
    -------
    tuple of three arrays (S,)
        The means and both ends. Student's interval of the mean's logarithm, its upper end moved
        up where the skewness asks for more (Hall 1992), and to that of a lognormal law (Cox's
        method, Olsson 2005) where the logarithms are not skewed to the left. It holds the mean of
        lognormal values with a spread up to 1.5, of exponential and of squared normal ones 92 to
        98 times in 100, n = 5 to 500; of the empirical denoiser's errors on digits likewise. What
        few queries do not meet, no interval knows: with one error in thirty ten times as large, 20
        of them hold the mean 8 times in 10. None is at its level for every law (Bahadur and Savage
        1956). For one query NaN.
    """
    n, mean = len(values), values.mean(0)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = student_half(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(half > 0, half / mean, 0)
        skew = ((values - mean) ** 3).mean(0) / values.std(0, ddof=1) ** 3 / np.sqrt(n)
        turned = np.cbrt(1 - skew * (stdtrit(n - 1, 0.975) + skew / 6))
        skewed = half / stdtrit(n - 1, 0.975) * 3 * (1 - turned) / skew
    with np.errstate(over="ignore"):
        high = np.fmax(mean * np.exp(share), mean + np.where(half > 0, skewed, 0))
    return mean, mean * np.exp(-share), np.fmax(high, _lognormal_end(values))


def _lognormal_end(values: Floats) -> Floats:
    """(S,) upper 95% ends of lognormal means; NaN where the logarithms of (n, S) values are not.

    That is where they are skewed to the left by more than two standard errors of normal ones, or
    do not exist. Their variance is cut at 4: beyond it stand values near 0, not large ones.
    """
    n = len(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
        apart = logs - logs.mean(0)
        leans = (apart**3).mean(0) / (apart**2).mean(0) ** 1.5
        variance = np.minimum(logs.var(0, ddof=1), 4)
        half = stdtrit(n - 1, 0.975) * np.sqrt(variance / n + variance**2 / (2 * (n - 1)))
        end = np.exp(logs.mean(0) + variance / 2 + half)
        return np.where(leans > -2 * np.sqrt(6 / n), end, np.nan)


def student_half(values: Floats) -> Floats:
    """Half of Student's 95% interval of the mean of (n, ...) values, n >= 2."""
    n = len(values)
    return np.asarray(stdtrit(n - 1, 0.975) * values.std(0, ddof=1) / np.sqrt(n))


def jackknifed(distance: float, error: float, groups: int) -> Estimate:
    """A distance with Student's 95% interval, of its jackknife's error over so many groups.

    >>> print(jackknifed(1.0, 0.5, 20))
    1 [0, 2.05]
    """
    half = float(stdtrit(groups - 1, 0.975)) * error
    return Estimate(distance, max(distance - half, 0.0), distance + half)


def student_above(values: Floats, chance: float) -> bool:
    """Whether the mean of (n,) values, n >= 2, is above 0, by Student's one-sided test.

    >>> student_above(np.array([1.0, 2.0, 3.0]), 0.05), student_above(np.zeros(3), 0.05)
    (True, False)
    """
    error = values.std(ddof=1) / np.sqrt(len(values))
    return bool(values.mean() > stdtrit(len(values) - 1, 1 - chance) * error)


def dkw(n: int, alpha: float = 0.05) -> float:
    """What the share of n draws below a value exceeds its probability by, nowhere, at most.

    With probability 1 - alpha for all values at once: sqrt(log(1 / alpha) / (2 n)), the one-sided
    inequality of Dvoretzky, Kiefer and Wolfowitz with the constant of Massart (1990), who needs
    0 < alpha <= 1/2.

    >>> round(dkw(500), 4)
    0.0547
    """
    if not 0 < alpha <= 0.5 or n < 1:
        raise ValueError(f"dkw: needs n >= 1 and 0 < alpha <= 1/2, got n={n}, alpha={alpha}.")
    return math.sqrt(math.log(1 / alpha) / (2 * n))


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


def mean_over(each: Sequence[Estimate], *, shared: bool = False) -> Estimate:
    """The mean of what n trainings gave, with its 95% interval; of one, what it gave.

    An interval over samples of one model leaves out what another training would change. This
    one is Student's over trainings, but never narrower than their samples alone allow, as if all
    were of one training. What one training in ten does, three do not show.

    Parameters
    ----------
    each : sequence of n >= 1 estimates
        Of each training, with its interval over samples or images.
    shared : bool
        Whether all were judged on the same images. Their spread does not show then what other
        images would change: it is added to that as squares are.

    >>> each = [Estimate(1.0, 0.9, 1.1)] * 4
    >>> print(mean_over(each), mean_over(each, shared=True))
    1 [0.95, 1.05] 1 [0.9, 1.1]
    """
    if len(each) == 1:
        return each[0]
    mean = mean_of([one.value for one in each])
    # The longer side: the other one may be cut at the end of what a share can be.
    sides = [max(one.value - one.low, one.high - one.value) for one in each]
    if shared:
        half = math.hypot(mean.half, np.mean(sides))
    else:
        half = max(mean.half, float(np.linalg.norm(sides)) / len(each))
    return Estimate(mean.value, mean.value - half, mean.value + half)


def over_trainings(changes: Sequence[Change]) -> Change:
    """The mean change of a share over n >= 2 trainings, as `mean_over` has it."""
    mean = mean_over(changes)
    return Change(mean.value, max(mean.low, -1), min(mean.high, 1))


def paired_difference(base: NDArray[np.bool_], other: NDArray[np.bool_]) -> Change:
    """How much the memorized share changes from one condition to another, on paired samples.

    Parameters
    ----------
    base, other : (n,) whether the sample of each seed is memorized, in both conditions.

    Returns
    -------
    Change, mean(other) - mean(base), in [-1, 1]; its 95% interval is the adjusted Wald interval
    of Bonett and Price (2012), which has a width, and holds, where few samples change or none.

    >>> print(paired_difference(np.array([True, True]), np.array([True, True])))
    0% [-69%, 69%]
    """
    if base.shape != other.shape or base.ndim != 1 or len(base) == 0:
        raise ValueError("paired_difference: needs two (n,) arrays of the same n >= 1.")
    n, more, fewer = len(base), (other & ~base).sum(), (base & ~other).sum()
    up, down = (more + 1) / (n + 2), (fewer + 1) / (n + 2)
    half = 1.96 * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    low, high = max(up - down - half, -1), min(up - down + half, 1)
    return Change(float(more - fewer) / n, float(low), float(high))


def difference(one: Estimate | Fraction, other: Estimate | Fraction) -> Estimate:
    """How far one number is above another, with its 95% interval, of two independent intervals.

    The distances to the ends of both add up as squares (Newcombe 1998, method 10, for shares):
    that holds near 0 and 1, too, and for numbers whose intervals are not symmetric.

    >>> print(f"{difference(Fraction.of(56, 70), Fraction.of(48, 80)):.2f}")  # Wilson's: .05 to .33
    0.20 [0.04, 0.34]
    """
    value = one.value - other.value
    low = np.hypot(one.value - one.low, other.high - other.value)
    high = np.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - float(low), value + float(high))


def wilson(mean: Floats, size: Floats, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's score interval of a proportion ``mean`` from ``size`` effective trials."""
    z = ndtri(0.5 + level / 2)
    centre = (mean + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z * np.sqrt(mean * (1 - mean) / size + (z / (2 * size)) ** 2) / (1 + z**2 / size)
    return np.clip(np.minimum(centre - half, mean), 0, 1), np.clip(
        np.maximum(centre + half, mean), 0, 1
    )


def percent(share: float) -> str:
    """A share as text: two digits, none of them lost near 0 and 1 but for what is less than 1e-6.

    >>> [percent(x) for x in (0.0, 0.00717, 0.0625, 0.8163, 0.9968, 0.99987, 1 - 1e-9, 1.0)]
    ['0%', '0.72%', '6.2%', '82%', '99.68%', '99.987%', 'above 99.9999%', '100%']
    """
    value = 100 * share
    if 99 < abs(value) < 100:  # two digits of what is left to 100
        left = 100 - abs(value)
        if left < 1e-4:
            return "above 99.9999%"
        digits = 1 - math.floor(math.log10(left))
        return f"{value:.{digits}f}%"
    return f"{value:.0f}%" if abs(value) >= 9.95 else f"{value:.2g}%"
