"""A quantity of the noise level, measured over queries, with its interval."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomem.geometry.arrays import Floats
from geomem.geometry.intervals import Answer, Estimate, decided, positive_mean, wilson

FEW = 5  # events seen below which an interval does not trust the observed spread


class Band:
    """A curve draws itself with its interval as a band, and is a table of three columns."""

    sigma: Floats
    mean: Floats
    low: Floats
    high: Floats

    def plot(self, ax: Any, label: str | None = None, **style: Any) -> None:
        """Draw it into matplotlib axes: the mean as a line, the 95% interval as a band."""
        (line,) = ax.plot(self.sigma, self.mean, label=label, **style)
        ax.fill_between(self.sigma, self.low, self.high, color=line.get_color(), alpha=0.25, lw=0)

    def table(self, name: str, unit: str) -> dict[str, Floats]:
        """The mean and the ends of its interval under headings that have their unit.

        >>> sigma = np.array([1.0, 2.0])
        >>> [*Curve.from_table(sigma, sigma / 4).table("C", "probability")][:2]
        ['C [probability]', 'C, low [probability, 95% interval]']
        """
        return {
            f"{name} [{unit}]": self.mean,
            f"{name}, low [{unit}, 95% interval]": self.low,
            f"{name}, high [{unit}, 95% interval]": self.high,
        }

    @property
    def peak(self) -> int:
        """Index of the level with the highest mean."""
        return int(self.mean.argmax())

    def between(self, sigma: float) -> float:
        """Its mean at any noise level within its grid, data units; NaN beyond."""
        return self.interpolated(sigma).value

    def interpolated(self, sigma: float) -> Estimate:
        """Its value with the interval at a noise level within its grid: linear in log sigma.

        >>> print(Curve.from_table(np.array([4.0, 1.0]), np.array([1.0, 0.0])).interpolated(2.0))
        0.5
        """
        order = np.argsort(self.sigma)
        at, levels = np.log(sigma), np.log(self.sigma[order])
        found = (
            np.interp(at, levels, values[order], left=np.nan, right=np.nan)
            for values in (self.mean, self.low, self.high)
        )
        return Estimate(*map(float, found))

    def passes(self, level: float) -> float:
        """The first sigma, from left to right, at which the mean passes ``level``; NaN: nowhere.

        Between two noise levels the mean is taken as linear in log sigma.

        >>> Curve.from_table(np.array([1.0, 4.0]), np.array([1.0, 0.0])).passes(0.5)
        2.0
        """
        turns = np.flatnonzero(np.diff(self.mean >= level))
        return float(between(self.sigma, self.mean, level, turns[0])) if len(turns) else np.nan

    def below(self, level: float, inside: NDArray[np.bool_] | bool = True) -> Answer:
        """Whether it is below a level at all of its noise levels ``inside``, by its intervals.

        Of none of them nothing is known.
        """
        beside = ~np.broadcast_to(inside, self.low.shape)
        if beside.all():
            return None
        return decided(np.all(beside | (self.high < level)), np.any(~beside & (self.low >= level)))

    def estimate(self, index: int) -> Estimate:
        """Its value with the interval at the level of this index."""
        return Estimate(float(self.mean[index]), float(self.low[index]), float(self.high[index]))


@dataclass(frozen=True)
class Curve(Band):
    """A probability-like quantity in [0, 1] against the noise level.

    Parameters
    ----------
    sigma : array (S,)
        Noise levels, in data units, in the order given by the caller.
    mean : array (S,)
        The estimate: the mean over queries of their mean over noise draws.
    low, high : array (S,)
        The 95% interval (see `from_queries` and `from_draws`).
    n : int
        Number of queries.
    per_query : array (n, S)
        Each query's mean over its draws. Empty (0, S) for a curve read from a table.
    chance : array (n, S) or None
        What resampling draws from: of each query a part that is due to chance, 0 on average; the
        average of n of them has the variance of ``mean``. None: ``per_query`` less ``mean``.

    See Also
    --------
    shell_coverage, max_posterior_weight, memorization_rates : Give one.

    References
    ----------
    Ours: the form in which C_sigma and W_sigma are estimated.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import Curve
    >>> hits = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    >>> curve = Curve.from_queries(np.array([0.5, 2.0]), hits, indicator=True)
    >>> curve.mean.tolist(), curve.low.round(2).tolist()
    ([0.25, 1.0], [0.04, 0.51])
    """

    sigma: Floats
    mean: Floats
    low: Floats
    high: Floats
    n: int
    per_query: Floats
    chance: Floats | None = field(default=None, kw_only=True)

    @classmethod
    def from_queries(cls, sigma: Floats, per_query: Floats, *, indicator: bool) -> Curve:
        """The curve of (n, S) per-query means over noise draws, for the law of the queries.

        The interval is Wilson's with an effective sample size, m(1-m)/SE^2 (the survey
        statistician's design effect): it stays in [0, 1] and follows the observed spread
        over queries. Where few events decide, they may not have been seen: near m = 1 the
        size shrinks towards n as the failures, n(1-m), become few; near m = 0 likewise,
        but only for an ``indicator`` (coverage). The largest posterior weight never is
        near 0 for lack of events: there the observed spread is trusted, which a rare
        isolated image that no query met can make too small.
        """
        n, mean = len(per_query), per_query.mean(0)
        variance = per_query.var(0, ddof=1) / n if n > 1 else np.zeros_like(mean)
        low, high = share_interval(mean, variance, n, indicator)
        return cls(sigma, mean, low, high, n, per_query)

    def resampled(self, resamples: int, rng: np.random.Generator) -> Floats:
        """(R, S) mean curves as chance may move them, of n >= 1: what bootstraps come from.

        From generators of one seed curves of equally many queries are resampled alike: those of the
        same queries together.
        """
        moved = self.per_query if self.chance is None else self.mean + self.chance
        means = np.empty((resamples, len(self.sigma)))
        for i in range(resamples):  # one at a time: memory does not grow with resamples * n
            counts = rng.multinomial(self.n, np.full(self.n, 1 / self.n))
            means[i] = counts @ moved / self.n
        return means

    @classmethod
    def from_draws(cls, sigma: Floats, values: Floats, share: float) -> Curve:
        """The curve of (n, draws, S) values, for a finite set of which the queries are a share.

        Of a whole set, ``share`` 1, only the noise is left to chance, and its variance is that
        within each query's draws. Of a random part of it the choice is, too, with the correction
        for a finite population (Cochran 1977, two-stage sampling). One draw cannot be told from
        its query: then the interval is that of `from_queries`, which is too wide. So it is of one
        query of several, which says nothing of the others.
        """
        n, draws, _ = values.shape
        per_query = values.mean(1)
        mean = per_query.mean(0)
        if draws == 1 or (n == 1 and share < 1):
            return cls.from_queries(sigma, per_query, indicator=False)
        within = values.var(1, ddof=1).mean(0) / (n * draws)
        between = per_query.var(0, ddof=1) / n if n > 1 else np.zeros_like(mean)
        variance = (1 - share) * between + share * within
        low, high = share_interval(mean, variance, n / (1 - share + share / draws), indicator=False)
        # Half of a query's draws against the others: as much noise as in its mean, and no more.
        first = draws // 2
        apart = values[:, :first].mean(1) - values[:, first:].mean(1)
        noise = np.sqrt(share * first * (draws - first)) / draws * apart
        # About its own mean: else all resamples would be off by what chance did once.
        chance = np.sqrt(1 - share) * (per_query - mean) + noise - noise.mean(0)
        return cls(sigma, mean, low, high, n, per_query, chance=chance)

    @classmethod
    def from_table(cls, sigma: Floats, values: Floats) -> Curve:
        """A curve read from a table (a digitized figure, say): no queries, no interval."""
        unknown = np.full(len(sigma), np.nan)
        return cls(sigma, values, unknown, unknown, 0, np.empty((0, len(sigma))))


def share_interval(
    mean: Floats, variance: Floats, trials: float, indicator: bool, level: float = 0.95
) -> tuple[Floats, Floats]:
    """As `Curve.from_queries` says, for a mean of this variance; ``trials`` is its n."""
    binomial = np.clip(mean * (1 - mean), 0, None)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where((variance > 0) & (binomial > 0), binomial / variance, trials)
    events = trials * np.clip(np.minimum(mean, 1 - mean), 0, None)
    trust = np.where((mean > 0.5) | indicator, events / (events + FEW), 1.0)
    return wilson(mean, trials * (size / trials) ** trust, level)


@dataclass(frozen=True)
class ErrorCurve(Band):
    """A mean squared distance, >= 0 without an upper limit, against the noise level.

    Parameters
    ----------
    sigma : array (S,)
        Noise levels, in data units, in the order given by the caller.
    mean : array (S,)
        Mean over queries of their mean over noise draws, data units squared: a sum over the
        pixels (divide by their number for the error per pixel).
    low, high : array (S,)
        Its 95% interval over queries, for values >= 0 of a skewed law; NaN for one query.
    n : int
        Number of queries.
    per_query : array (n, S)
        Each query's mean over its draws.

    See Also
    --------
    denoising_error, linear_gap : Give one.

    References
    ----------
    Ours: the form in which the denoising error and the gap to the Gaussian denoiser are estimated.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import ErrorCurve
    >>> curve = ErrorCurve.from_queries(np.array([1.0]), np.array([[1.0], [2.0], [3.0]]))
    >>> curve.mean.tolist(), curve.low.round(2).tolist(), curve.high.round(2).tolist()
    ([2.0], [0.58], [9.81])
    """

    sigma: Floats
    mean: Floats
    low: Floats
    high: Floats
    n: int
    per_query: Floats

    @classmethod
    def from_queries(cls, sigma: Floats, per_query: Floats) -> ErrorCurve:
        """The curve of (n, S) per-query means over noise draws, with its interval."""
        return cls(sigma, *positive_mean(per_query), len(per_query), per_query)

    @property
    def error(self) -> Floats:
        """(S,) the standard error of the mean, data units squared; NaN for one query."""
        if self.n < 2:
            return np.full_like(self.mean, np.nan)
        return np.asarray(self.per_query.std(0, ddof=1) / np.sqrt(self.n))


def between(sigma: Floats, values: Floats, level: Any, i: Any) -> Floats:
    """Where the line between the points i and i + 1, in log sigma, meets ``level``.

    values : (..., S) rows over the S levels; ``level`` and ``i``, one or (...,), of each.
    """
    right = np.minimum(np.asarray(i) + 1, len(sigma) - 1)
    a, b = (np.take_along_axis(values, k[..., None], -1)[..., 0] for k in (np.asarray(i), right))
    with np.errstate(divide="ignore", invalid="ignore"):
        part = (level - a) / (b - a)
    return np.exp(np.log(sigma[i]) + part * np.log(sigma[right] / sigma[i]))


def last_rise(sigma: Floats, values: Floats, level: Any) -> Floats:
    """The last sigma at which each row of (..., S) values rises through ``level``; NaN: nowhere.

    >>> last_rise(np.array([1.0, 4.0, 9.0]), np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), 0.5)
    array([ 2., nan])
    """
    below, last = values < np.asarray(level)[..., None], len(sigma) - 1
    i = last - below[..., ::-1].argmax(-1)  # the last one below
    there = below.any(-1) & (i < last)
    return np.where(there, between(sigma, values, level, np.where(there, i, 0)), np.nan)


def first_fall(sigma: Floats, values: Floats, level: Any) -> Floats:
    """The first sigma at which each row of (..., S) values falls through ``level``; NaN: nowhere.

    >>> float(first_fall(np.array([1.0, 4.0, 9.0]), np.array([1.0, 0.0, 1.0]), 0.5))
    2.0
    """
    i = (values < np.asarray(level)[..., None]).argmax(-1)  # the first one below, or 0
    return np.where(i > 0, between(sigma, values, level, np.where(i > 0, i - 1, 0)), np.nan)
