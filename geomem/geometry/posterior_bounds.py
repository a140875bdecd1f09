"""Bounds on the posterior concentration W_sigma from the pairwise distances (Theorem 4.2).

All bounds follow from the distances d_ij = ||x_i - x_j|| and hold at every noise level unless
said otherwise; two of them need the Gaussian width, which is simulated. The theorem's text was
not recovered: A (`weight_thresholds`) and B (`weight_bounds`) are our reconstruction; the
width, the comparison with simplices and orthogonal sets, and the bounds by subsets and clusters
are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri

from geomem.geometry.arrays import Array, Floats, check_count, check_sigmas
from geomem.geometry.counting import Clusters, farthest_first, thinned
from geomem.geometry.curve import Curve
from geomem.geometry.distances import TRAIN_ROWS, Points, squared_distances

GROUPS = 96  # distinct values that the orthogonal bound rounds its lengths down to
SMOOTH = 4  # ratio of lengths up to which the trapezoidal rule resolves every factor
TINY = 1e-150  # stands for a length of 0: its quotients stay finite
SUBSETS = 16  # sizes of the subsets whose orthogonal bound is tried, from 2 to N
CONFIDENCE = 0.999  # with which the bounds by the simulated width hold
DRAWS = 1000  # noise draws of the width held at once
QUANTILES: dict[str, Callable[[float], float]] = {  # t of part A, of odds (N - 1) / delta
    "q² = 2 log((N − 1)/2η)": lambda odds: float(np.sqrt(2 * np.log(odds / 2))),
    "q² = 2 log((N − 1)/η)": lambda odds: float(np.sqrt(2 * np.log(odds))),
    "q² = 2 log(2(N − 1)/η)": lambda odds: float(np.sqrt(2 * np.log(2 * odds))),
    "Q(q) = η/(N − 1)": lambda odds: float(-ndtri(1 / odds)),
}
BY_PARTS = {"color": "#56B4E9", "ls": "-", "marker": "*"}
LOOKS = {  # how they are drawn
    "(II) pairs": (("lower_sum", "upper_nearest"), {"color": "C0", "ls": "-", "marker": "o"}),
    "(III) call option": (("upper_call",), {"color": "C1", "ls": "--", "marker": "s"}),
    "(III) closed form": (("upper_closed",), {"color": "C1", "ls": ":", "marker": "x"}),
    "(IV) width": (("lower_width", "upper_width"), {"color": "C2", "ls": "-.", "marker": "^"}),
    "simplex": (("lower_simplex", "upper_simplex"), {"color": "k", "ls": ":", "marker": "d"}),
    "orthogonal": (("lower_orthogonal",), {"color": "0.35", "ls": "--", "marker": "v"}),
    "subsets, clusters": (("lower_packing", "upper_clusters"), BY_PARTS),
}


@dataclass(frozen=True)
class WeightBounds:
    """Bounds on W_sigma(D), each (S,), float64, in [0, 1].

    Attributes
    ----------
    sigma : noise levels, in data units.
    lower_sum : (II) union bound over the other points, clipped at 0 point by point.
    upper_nearest : (II) one nearest neighbour per point.
    upper_call : (III) call-option bound at its best t, centred at the mean; at most 1.
    upper_closed : (III) exp(-(sqrt(2 log N) - R / sigma)^2 / 2), R the radius of an enclosing
        ball; NaN below sigma = R / sqrt(2 log N), where the formula is false.
    lower_width, upper_width : (IV) exp(w / sigma - R^2 / (2 sigma^2)) / N and exp(w / sigma) / N.
    lower_simplex, upper_simplex : N equidistant points, at the least distance or the diameter.
    lower_orthogonal : N orthogonal points of lengths h_i with h_i^2 + h_j^2 <= d_ij^2.
    lower_packing : the best of some subsets' union and orthogonal bounds; see `packing_bound`.
    upper_clusters : a tree of clusters; see `cluster_bound`.
    width, width_error : w = E max_i <Z, x_i - a>, simulated, and what it may be off by: with
        probability `CONFIDENCE` over the draws it is not, and then both bounds with it hold. All
        others are proved, up to rounding.
    radius : R, in data units.
    """

    sigma: Floats
    lower_sum: Floats
    upper_nearest: Floats
    upper_call: Floats
    upper_closed: Floats
    lower_width: Floats
    upper_width: Floats
    lower_simplex: Floats
    upper_simplex: Floats
    lower_orthogonal: Floats
    lower_packing: Floats
    upper_clusters: Floats
    width: float
    width_error: float
    radius: float

    def bracket(self, *without: str) -> tuple[Floats, Floats]:
        """The largest lower and the smallest upper bound at each noise level.

        without : kinds that do not count, such as "width", which is simulated, or "packing".
        """
        sides: dict[str, list[Floats]] = {"lower": [], "upper": []}
        for name in (one.name for one in fields(self)):
            side, _, kind = name.partition("_")
            if side in sides and kind not in without:
                sides[side].append(getattr(self, name))
        return np.max(sides["lower"], axis=0), np.fmin.reduce(sides["upper"])

    @property
    def lower(self) -> Floats:
        """The largest lower bound at each noise level, the simulated width's among them."""
        return self.bracket()[0]

    @property
    def upper(self) -> Floats:
        """The smallest upper bound at each noise level, the simulated width's among them."""
        return self.bracket()[1]

    @property
    def proved_lower(self) -> Floats:
        """The largest of the lower bounds in which nothing is simulated."""
        return self.bracket("width")[0]

    @property
    def proved_upper(self) -> Floats:
        """The smallest of the upper bounds in which nothing is simulated."""
        return self.bracket("width")[1]

    def plot(self, ax: Any, side: str) -> None:
        """Draw into matplotlib axes those of one side, and in grey what all of them leave open.

        side : "lower" or "upper".
        """
        ax.fill_between(self.sigma, self.lower, self.upper, color="0.9", lw=0)
        for label, (names, look) in LOOKS.items():
            for name in (name for name in names if name.startswith(side)):
                value = getattr(self, name)
                says = value > 0.005 if side == "lower" else value < 1
                own = {"label": label, "markevery": 3, "lw": 1.3, "ms": 4, **look}
                ax.plot(self.sigma, np.where(says, value, np.nan), **own)

    def table(self) -> dict[str, Floats]:
        """Every bound under a heading with its unit."""
        names = [name for bounds, _ in LOOKS.values() for name in bounds]
        return {f"{name} [probability]": getattr(self, name) for name in names}


def falls_below(sigmas: Floats, lower: Floats, upper: Floats, value: float) -> tuple[float, float]:
    """Between which of the noise levels W_sigma falls below a value, by bounds on it, each (S,).

    It falls with sigma: what a bound says at one level holds on one side of it. NaN where a bound
    says nothing; between two levels none was computed.

    >>> level = np.array([1.0, 2.0, 3.0])
    >>> falls_below(level, np.array([0.9, 0.6, 0.1]), np.array([1.0, 0.9, 0.5]), 0.8)
    (1.0, 3.0)
    """
    least, most = sigmas[lower >= value], sigmas[upper < value]
    return float(max(least, default=np.nan)), float(min(most, default=np.nan))


def promised_level(
    train: Array, bounds: WeightBounds, side: str, value: float, *, seed: int = 0
) -> float:
    """The noise level at which a bound passes a value, for the last time, on a finer grid.

    NaN where it is below the value everywhere.

    Parameters
    ----------
    train, seed : what the bounds are of, as in `weight_bounds`.
    bounds : on a grid.
    side : "lower", "upper", or one of them with "proved_" before it.
    value : in (0, 1).
    """
    order = np.argsort(bounds.sigma)
    sigma, reached = bounds.sigma[order], np.flatnonzero(getattr(bounds, side)[order] >= value)
    if not len(reached):
        return np.nan
    last = int(reached[-1])
    after = min(last + 1, len(sigma) - 1)
    fine = np.geomspace(sigma[last], sigma[after], 9)
    again = getattr(weight_bounds(train, fine, seed=seed), side)
    return Curve.from_table(fine, again).passes(value)


def weight_bounds(
    train: Array, sigmas: Array, *, draws: int = 10_000, seed: int = 0
) -> WeightBounds:
    """Lower and upper bounds on W_sigma(D) from the distances of the training points.

    Time grows as S N^2 and memory as N^2: 25 noise levels of 1,000 points take 5 to 7 seconds
    on one core, of 3,000 points about 25. Repeated points are allowed.

    Parameters
    ----------
    train : array (N, ...)
        The training set D, N >= 2, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    draws : int
        Noise draws for the Gaussian width w, >= 1. Few make its two bounds loose, not wrong.
    seed : int
        Seed of these draws.

    Returns
    -------
    WeightBounds
        Every bound by name, each (S,) in [0, 1]; ``lower`` and ``upper`` are the best of them at
        each noise level. The two by the simulated width hold together with probability 0.999
        over the draws; ``proved_lower`` and ``proved_upper`` are the best of the others.

    Raises
    ------
    ValueError
        If there are fewer than two points, no draws, values not finite, or sigma <= 0.

    References
    ----------
    To Theorem 4.2 of the paper, part B, our reconstruction; here :prf:ref:`theorem-4-2-b-small`,
    :prf:ref:`theorem-4-2-b-large`. Ours, by the width, by comparison, by subsets and clusters:
    :prf:ref:`theorem-4-2-b-width`, :prf:ref:`theorem-4-2-comparison`,
    :doc:`/book/theorem_4_2`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import weight_bounds
    >>> bounds = weight_bounds(np.array([[0.0], [2.0]]), [1.0])
    >>> [round(float(b[0]), 4) for b in (bounds.lower_sum, bounds.upper_call)]
    [0.8413, 0.8413]
    """
    levels, draws = check_sigmas(sigmas), check_count("draws", draws)
    points, distances = _distances(train)
    n, nearest, diameter = len(distances), _nearest(distances), float(distances.max())
    radius, log_n = enclosing_radius(distances**2), np.log(n)
    width, error = gaussian_width(points, diameter, draws, seed)
    low = (width - error) / levels - (radius / levels) ** 2 / 2 - log_n
    high = (width + error) / levels - log_n
    gap = np.sqrt(2 * log_n) - radius / levels
    return WeightBounds(
        sigma=levels,
        lower_sum=_union_bound(distances, levels),
        upper_nearest=ndtr(nearest / (2 * levels[:, None])).mean(1),
        upper_call=call_bound(_from_mean(points) / levels[:, None]),
        upper_closed=np.where(gap >= 0, np.exp(-(gap**2) / 2), np.nan),
        lower_width=np.exp(np.minimum(low, 0)),
        upper_width=np.exp(np.minimum(high, 0)),
        lower_simplex=simplex_weight(nearest.min() / levels, n),
        upper_simplex=simplex_weight(diameter / levels, n),
        lower_orthogonal=orthogonal_weight(orthogonal_lengths(distances), levels),
        lower_packing=packing_bound(distances, levels),
        upper_clusters=cluster_bound(distances, levels),
        width=width,
        width_error=error,
        radius=radius,
    )


def weight_thresholds(
    train: Array, *, delta: float = 0.05, low: float = 0.6, high: float = 0.95
) -> tuple[Floats, Floats]:
    """Noise levels below and above which the weight of each training point is decided.

    With X = x_i + sigma Z: w_i(X, sigma) >= ``high`` with probability at least 1 - delta for
    every sigma <= sigma_lo[i]; w_i(X, sigma) <= ``low`` with probability at least 1 - delta
    for every sigma >= sigma_hi[i]. Both bounds are monotone where they are solved.

    Parameters
    ----------
    train : array (N, ...)
        The training set, N >= 2, in data units.
    delta : float
        Probability that is given away, in (0, 1/2).
    low : float
        A small weight, in (1/N, 1).
    high : float
        A large weight, in (1/2, 1); below 1/2 the lower bound need not be monotone in sigma.

    Returns
    -------
    tuple of two arrays (N,)
        (sigma_lo, sigma_hi), data units. 0 where x_i has so many copies that the weight never
        reaches ``high``, or never exceeds ``low``.

    Raises
    ------
    ValueError
        If there are fewer than two points, or a parameter is outside its range.

    References
    ----------
    Theorem 4.2 of the paper, part A, our reconstruction; here :prf:ref:`theorem-4-2-a`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import weight_thresholds
    >>> sigma_lo, sigma_hi = weight_thresholds(np.array([[0.0], [2.0]]))
    >>> sigma_lo.round(3).tolist(), sigma_hi.round(3).tolist()
    ([0.371, 0.371], [11.032, 11.032])
    """
    first = [*QUANTILES][:1]
    (found,) = threshold_variants(train, first, delta=delta, low=low, high=high).values()
    return found


def threshold_variants(
    train: Array,
    names: Iterable[str] = QUANTILES,
    *,
    delta: float = 0.05,
    low: float = 0.6,
    high: float = 0.95,
) -> dict[str, tuple[Floats, Floats]]:
    """The thresholds of part A for several choices of its t, under their formulas.

    Every t from the normal quantile on, the last of `QUANTILES`, makes a true bound; the first
    is that of `weight_thresholds`. Which one the paper took is not known.

    Parameters
    ----------
    train, delta, low, high : as in `weight_thresholds`.
    names : which of `QUANTILES`.
    """
    _, distances = _distances(train)
    n = len(distances)
    ranges = {"delta": (delta, 0, 0.5), "low": (low, 1 / n, 1), "high": (high, 0.5, 1)}
    for name, (value, least, most) in ranges.items():
        if not least < value < most:
            raise ValueError(f"{name} must lie strictly between {least:g} and {most}, got {value}.")
    quantiles = {name: QUANTILES[name]((n - 1) / delta) for name in names}
    return {
        name: (_solve(distances, 1 / high - 1, t), _solve(distances, 1 / low - 1, -t))
        for name, t in quantiles.items()
    }


def simplex_weight(ratio: Array, n: int) -> Floats:
    """S_N(k) = E F(Z + k / sqrt 2)^(N - 1): W_sigma of N points, all at distance k sigma.

    Parameters
    ----------
    ratio : (S,) distance over noise level, k >= 0.
    n : N >= 1, up to 1e12: the integral stops at |Z| = 9, so at k = 0 it loses a fraction
        N / 1e19 of its value (1e-7 there), and nearly all of it from N = 1e19 on.

    >>> float(simplex_weight([5.0], 1000)[0].round(9))
    0.611181011
    """
    k = np.asarray(ratio, dtype=np.float64).ravel()
    if not np.all(k >= 0) or n < 1:
        raise ValueError(f"simplex_weight needs ratios of at least 0 and n >= 1, got n={n}.")
    z, mass = _normal_nodes(0.02)
    return np.minimum(np.exp((n - 1) * log_ndtr(z + k[:, None] / np.sqrt(2))) @ mass, 1)


def packing_bound(distances: Floats, sigmas: Array) -> Floats:
    """W_sigma from below by subsets S of D, as N W_sigma(D) >= |S| W_sigma(S): (S,).

    At each noise level the best of: the union bound of the set thinned for that level, and the
    orthogonal bounds of `SUBSETS` nested subsets in farthest-first order, the last of them D.

    Parameters
    ----------
    distances : (N, N), N >= 2, in data units.
    sigmas : (S,) noise levels, data units, > 0.
    """
    levels, n = check_sigmas(sigmas), len(distances)
    order, result = farthest_first(distances), np.empty(len(levels))
    spread = [order[:size] for size in np.unique(np.geomspace(2, n, SUBSETS).astype(int))]
    lengths = [orthogonal_lengths(distances[np.ix_(some, some)]) for some in spread]
    for s, level in enumerate(levels[:, None]):
        some = thinned(distances, level[0])
        apart = len(some) * _union_bound(distances[np.ix_(some, some)], level)[0]
        coarse = [len(h) * orthogonal_weight(h, level, groups=8)[0] for h in lengths]
        best = lengths[int(np.argmax(coarse))]
        result[s] = max(apart, len(best) * orthogonal_weight(best, level)[0]) / n
    return result


def cluster_bound(distances: Floats, sigmas: Array) -> Floats:
    """W_sigma from above by a tree of clusters: (S,), in [0, 1].

    N W_sigma of a cluster is at most its call-option bound about its own mean, and at most that of
    its two parts together less what their closest points share; the better is taken at each
    noise level, from the single points upwards. On a line this is the exact value.

    Parameters
    ----------
    distances : (N, N), N >= 2, in data units.
    sigmas : (S,) noise levels, data units, > 0.
    """
    levels, tree = check_sigmas(sigmas), Clusters.of(distances)
    own = np.stack([_call_counts(tree.radii / sigma, tree.sizes) for sigma in levels], axis=1)
    return tree.counted(own, levels) / len(distances)


def orthogonal_lengths(distances: Floats) -> Floats:
    """Lengths h_i with h_i^2 + h_j^2 <= d_ij^2, none of which can grow alone: (N, N) -> (N,).

    From (nearest distance) / sqrt 2, which is always allowed, each grows in turn as far as the
    others let it: central points first, which have near neighbours.
    """
    squared = distances**2
    np.fill_diagonal(squared, np.inf)
    h = squared.min(1) / 2
    for i in np.argsort(distances.sum(1)):
        h[i] = max(h[i], (squared[i] - h).min())
    return np.sqrt(h)


def orthogonal_weight(lengths: Array, sigmas: Array, *, groups: int = GROUPS) -> Floats:
    """(1/N) E max_i exp(h_i G_i / sigma - h_i^2 / (2 sigma^2)), G_i independent N(0, 1).

    It is W_sigma of N orthogonal points of lengths h_i, and at most W_sigma of any set with
    h_i^2 + h_j^2 <= d_ij^2. The value is from below: it grows with each h_i, and beyond
    ``groups`` points the lengths are rounded down to as many values; the quadrature
    (`_expectations`) stays below the integral, in our tests by less than 1e-8 for equal
    lengths and 1e-3 for others.

    Parameters
    ----------
    lengths : (N,) h_i >= 0, in data units.
    sigmas : (S,) noise levels, data units, > 0.
    groups : most distinct lengths, >= 1; the time grows with their square.
    """
    levels, h = check_sigmas(sigmas), np.sort(np.asarray(lengths, dtype=np.float64).ravel())
    if len(h) == 0 or not np.all(np.isfinite(h) & (h >= 0)):
        raise ValueError("orthogonal_weight: lengths must be finite and at least 0.")
    equal = np.array_split(h, min(groups, len(h)))
    counts = np.array([len(group) for group in equal], dtype=np.float64)
    least = np.array([group[0] for group in equal])
    result = np.empty(len(levels))
    for s, sigma in enumerate(levels):
        a = np.clip(least / sigma, TINY, 1e3)  # beyond 1e3 there are no errors left
        result[s] = counts @ _expectations(a, counts) / len(h)
    return np.minimum(result, 1)


def call_bound(scale: Floats) -> Floats:
    """The call-option bound at its best t, over N: (S, N) of s_i = ||x_i - a|| / sigma -> (S,)."""
    n = scale.shape[1]
    return np.array([min(_call_counts(row, np.array([n]))[0] / n, 1.0) for row in scale])


def _call_counts(scale: Floats, sizes: NDArray[np.intp]) -> Floats:
    """The call-option bound on N W_sigma of K sets at once: their s_i one after another -> (K,).

    The best t solves sum_i P(e_i > t) = 1; any t > 0 gives a bound.
    """
    s, starts = np.maximum(scale, TINY), np.cumsum(sizes) - sizes
    # At each of these one of the N probabilities is 1/N: the least and largest enclose log t.
    single = -(s**2) / 2 - s * ndtri(1 / np.repeat(sizes, sizes))
    low, high = np.minimum.reduceat(single, starts), np.maximum.reduceat(single, starts)
    for _ in range(60):
        log_t = (low + high) / 2
        many = np.add.reduceat(ndtr(-s / 2 - np.repeat(log_t, sizes) / s), starts) > 1
        low, high = np.where(many, log_t, low), np.where(many, high, log_t)
    d2 = -s / 2 - np.repeat(low, sizes) / s
    rest = 1 - np.add.reduceat(ndtr(d2), starts)
    return np.exp(low) * rest + np.add.reduceat(ndtr(d2 + s), starts)


def gaussian_width(points: Points, diameter: float, draws: int, seed: int) -> tuple[float, float]:
    """w = E max_i <Z, x_i - a> by Monte Carlo, any a, and what it is off by at most.

    Z and -Z are both used: half the range of <Z, x_i> has the same mean. Its mean over the draws
    is a function of all their noise with Lipschitz constant diam / (2 sqrt(draws)). So by Gaussian
    concentration it is off by at most the error returned, with probability `CONFIDENCE`, however
    few the draws; an error from their spread would be too small where the law is skewed.
    """
    stream, centre, total = np.random.default_rng(seed), points.mean(), 0.0
    for start in range(0, draws, DRAWS):
        z = stream.standard_normal((min(DRAWS, draws - start), points.dim))
        top, bottom = np.full(len(z), -np.inf), np.full(len(z), np.inf)
        for rows in points.slices(TRAIN_ROWS):
            products = z @ points.block(rows, centre).numpy().T
            top, bottom = np.maximum(top, products.max(1)), np.minimum(bottom, products.min(1))
        total += float((top - bottom).sum()) / 2
    error = diameter / 2 * np.sqrt(2 * np.log(2 / (1 - CONFIDENCE)) / draws)
    return total / draws, float(error)


def enclosing_radius(squared: Floats, steps: int = 3000) -> float:
    """Radius of a ball that encloses the points, close to the least (Badoiu and Clarkson).

    Each step moves the centre, a mixture of the points, a little towards the farthest one.
    """
    centre = squared.mean(1)  # squared distances to the centre, up to a common constant
    inner = centre.mean()  # sum_kl of weights_k weights_l d_kl^2
    best = np.inf
    for step in range(steps):
        farthest = int(centre.argmax())
        best = min(best, float(centre[farthest] - inner / 2))
        pull = 1 / (step + 2)
        inner = (1 - pull) ** 2 * inner + 2 * pull * (1 - pull) * centre[farthest]
        centre = (1 - pull) * centre + pull * squared[farthest]
    return float(np.sqrt(best))


def _distances(train: Array) -> tuple[Points, Floats]:
    """The points and their (N, N) distances, float64."""
    points = Points(train, "train", "cpu")
    n = len(points)
    if n < 2:
        raise ValueError("train: the bounds need at least two points.")
    centre, squared = points.mean(), np.empty((n, n))
    for rows in points.slices(TRAIN_ROWS):
        block = points.block(rows, centre)
        for columns in points.slices(TRAIN_ROWS):
            other = points.block(columns, centre)
            squared[rows, columns] = squared_distances(block, other).numpy()
    np.fill_diagonal(squared, 0)
    return points, np.sqrt(squared)


def _nearest(distances: Floats) -> Floats:
    return np.partition(distances, 1, axis=1)[:, 1]  # the least is the point itself


def _from_mean(points: Points) -> Floats:
    centre = points.mean()
    return np.concatenate(
        [points.block(rows, centre).norm(dim=1).numpy() for rows in points.slices(TRAIN_ROWS)]
    )


def _union_bound(distances: Floats, levels: Floats) -> Floats:
    result = np.zeros(len(levels))
    for row in np.array_split(distances, max(1, len(distances) // 64)):  # stays in the cache
        for s, sigma in enumerate(levels):
            # The point itself adds Q(0) = 1/2.
            errors = ndtr(row * (-0.5 / sigma)).sum(1) - 0.5
            result[s] += np.maximum(0, 1 - errors).sum()
    return result / len(distances)


def _solve(distances: Floats, odds: float, t: float) -> Floats:
    """sigma per point where sum_{j != i} exp(t d / sigma - d^2 / (2 sigma^2)) is ``odds``.

    In log u, u = 1 / sigma; the sum decreases on the bracket. Coincident points add 1 each.
    Of the last bracket the end on the safe side: the sum is at most ``odds`` for t > 0, at
    least ``odds`` for t < 0.
    """
    apart = np.where(distances > 0, distances, np.inf)
    copies = (distances == 0).sum(1) - 1
    left = odds - copies
    result = np.zeros(len(distances))
    rows = np.flatnonzero(left > 0)
    for part in np.array_split(rows, max(1, len(rows) // 64)):
        d, target = apart[part], left[part]
        nearest = d.min(1)
        high = (t + np.sqrt(t**2 + 2 * np.log(len(distances) / target))) / nearest
        if t > 0:
            low = 2 * t / nearest
        else:  # here even the farthest points keep the sum above the target
            rest = 2 * np.log((len(distances) - 1 - copies[part]) / target)
            low = rest / (np.sqrt(t**2 + rest) - t) / distances[part].max(1) / 2
        low, high = np.log(low), np.log(high)
        for _ in range(60):
            u = (low + high) / 2
            scaled = d * np.exp(u)[:, None]
            many = np.exp((t - scaled / 2) * scaled).sum(1) > target
            low, high = np.where(many, u, low), np.where(many, high, u)
        result[part] = np.exp(-(high if t > 0 else low))
    return result


def _expectations(a: Floats, counts: Floats) -> Floats:
    """E g_k(Z) from below, (K,): the chance that the k-th is the largest, its G_k shifted by a_k.

    g_k(z) = prod_l Phi(r z + (a_k r + a_l) / 2)^(counts_l), r = a_k / a_l, without one factor
    l = k. It increases and is log-concave, so a chord of log g_k lies below it, and by Jensen
    the mean of g_k over a cell is at least exp of the chord at the mean of z there: a lower
    bound on any mesh (`_chords`). Small a_l make steps near z = -a_k / 2; there the mesh
    is graded. Without steps the trapezoidal rule converges far faster; from it we subtract
    its change on doubling the step, far more than its error.
    """
    z, mass = _normal_nodes(0.08)
    result = np.empty(len(a))
    steep = a / a[0] > SMOOTH  # a is sorted
    for rows in (np.flatnonzero(~steep), np.flatnonzero(steep)):
        if len(rows) == 0:
            continue
        own = a[rows]
        nodes = np.broadcast_to(z, (len(rows), len(z)))
        if steep[rows[0]]:
            # The narrowest step has a width of a_0 / a_k; below 1e-9 it has no weight.
            offset = np.geomspace(np.maximum(a[0] / own, 1e-8) / 20, 0.08, 64, axis=1)
            graded = np.concatenate([-offset, offset], axis=1) - own[:, None] / 2
            nodes = np.sort(np.concatenate([nodes, np.clip(graded, z[0], z[-1])], axis=1), axis=1)
        ratio = own[:, None] / a  # (k, l)
        shift = (own[:, None] * ratio + a) / 2
        log_f = log_ndtr(ratio[:, :, None] * nodes[:, None] + shift[:, :, None])
        log_g = np.einsum("l,klz->kz", counts, log_f) - log_ndtr(nodes + own[:, None])
        result[rows] = _chords(nodes, log_g)
        if not steep[rows[0]]:
            g = np.exp(log_g)
            fine = g @ mass
            change = np.abs(fine - g[:, ::2] @ mass[::2] / mass[::2].sum())
            result[rows] = np.maximum(result[rows], fine - change)
    return result


def _chords(z: Floats, log_g: Floats) -> Floats:
    """E g(Z) from below, for an increasing log-concave g <= 1 at the nodes z, (K, Z) -> (K,)."""
    width = np.diff(z, axis=1)
    slope = z[:, 1:] * width  # the normal density falls at most this steeply in the cell
    part = 0.5 - slope / 12 - np.abs(slope) ** 3 / 720  # at most where the mean of z lies
    low = np.clip(log_g, -1e5, 0)
    value = np.exp(low[:, :-1] + part * np.diff(low, axis=1))
    return (value * np.diff(ndtr(z), axis=1)).sum(1) + np.exp(low[:, -1]) * ndtr(-z[:, -1])


def _normal_nodes(step: float) -> tuple[Floats, Floats]:
    """Nodes and weights of E g(Z) by the trapezoidal rule, which is exact for smooth g."""
    z = np.arange(-9, 9 + step / 2, step)
    mass = np.exp(-(z**2) / 2)
    return z, mass / mass.sum()
