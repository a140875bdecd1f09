"""Theorem 4.2 B: the expected largest weight W_sigma, exactly and at small noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy as sp

from geomem.geometry.coverage import shell_radii
from geomem.geometry.posterior_bounds import weight_bounds
from geomem.geometry.shell_objective import disjoint_sigma
from geomem.theorems.checks import (
    Computed,
    Identity,
    LimitValue,
    Sign,
    Simulated,
    Words,
)
from geomem.theorems.clouds import (
    LEVELS,
    MANY,
    NEEDS_TWO,
    POINTS,
    W,
    clouds,
    d_,
    delta,
    delta_,
    described,
    random_cloud,
    sigma,
    weighed,
    weights,
)
from geomem.theorems.formulas import (
    Draws,
    Expect,
    Least,
    Most,
    N,
    Over,
    Values,
    at_least,
    at_most,
    equal,
    i,
    j,
    say,
)
from geomem.theorems.normal import F, Q, f, written_out
from geomem.theorems.statement import Statement, Step

# The formulas ------------------------------------------------------------------------------

eps, gap = sp.symbols("varepsilon gamma", positive=True)
y = sp.Symbol("y", real=True)
z_k, v_k, u_k = sp.symbols("Z_k v_k u_k", real=True)
k = sp.Symbol("k", integer=True, positive=True)
gamma_, e_ = sp.IndexedBase("gamma"), sp.IndexedBase("e")
IN = sp.IndexedBase("chi")  # 1 where the noisy point lies in the cell of its own
IN_MORE = sp.IndexedBase(r"\chi'")  # the same at a larger noise level
density = sp.exp(-(y**2) / (2 * sigma**2)) / (sigma * sp.sqrt(2 * sp.pi))
s = sp.Symbol("s", positive=True)
OFF_ONE = (sp.exp(s * y - s**2 / 2) - 1) ** 2 * f(y)

RATIOS = equal(N * W, Expect(Most(e_[i], i)))
CELLS = equal(N * W, Over(Expect(IN[i]), i))
FALLS = at_most(Expect(IN_MORE[i]), Expect(IN[i]))
AT_ZERO = equal(sp.Limit(W, sigma, 0), 1)
AT_INFINITY = equal(sp.Limit(W, sigma, sp.oo), 1 / N)
HALF_GAP = F(gap / (2 * sigma)) - sp.Rational(1, 2)
ON_A_LINE = equal(N * W, 1 + sp.Sum(2 * HALF_GAP.subs(gap, gamma_[k]), (k, 1, N - 1)))

LOWER = Over(sp.Max(0, 1 - Over(Q(d_[i, j] / (2 * sigma)), j, i), evaluate=False), i) / N
UPPER = 1 - Over(Q(delta_[i] / (2 * sigma)), i) / N
LOST = (N - 1) * sp.exp(-(delta**2) / (8 * sigma**2)) / 2
FROM_BELOW, FROM_ABOVE = at_least(W, LOWER), at_most(W, UPPER)
ROUGHLY = at_least(W, 1 - LOST)
S_EPS = sp.Symbol(r"\sigma_\varepsilon", positive=True)
ENOUGH = equal(S_EPS, delta / sp.sqrt(8 * sp.log((N - 1) / (2 * eps))))
NEARLY_ONE = at_least(W, 1 - eps)
LEAST_OF = equal(delta_[i], Least(d_[i, j], j, i))
LEAST = equal(delta, Least(delta_[i], i))


# Worlds ------------------------------------------------------------------------------------


def _lines() -> Iterator[Values]:
    """Sets on a line, with the gaps between neighbours."""
    for world in weighed(sets=(0, 1)):
        yield {**world, gamma_: np.diff(np.sort(world[POINTS].ravel()))}


def _cells(more: float = 1.0) -> Iterator[Values]:
    """Whether x_i + sigma Z is nearest to x_i, also at ``more`` times the noise level."""
    for points in clouds()[:3] + clouds()[4:]:
        for level in (0.4, 2.5):
            z = np.random.default_rng(2).standard_normal((20_000, points.shape[1]))
            hit = [
                [_nearest(points, points[n] + size * level * z) == n for n in range(len(points))]
                for size in (1.0, more)
            ]
            world = described(points, level) | {i: 1, W: Draws(weights(points, level, 20_000))}
            yield world | {
                IN: Draws(1.0 * np.array(hit[0])),
                IN_MORE: Draws(1.0 * np.array(hit[1])),
            }


def _nearest(points: np.ndarray, noisy: np.ndarray) -> np.ndarray:
    return np.asarray(((noisy[:, None] - points) ** 2).sum(2).argmin(1))


def _ratios() -> Iterator[Values]:
    """The densities around the points over that around their mean, under noise around the mean."""
    for points in clouds():
        reach = np.linalg.norm(points - points.mean(0), axis=1).max()
        for level in (reach, 2 * reach):  # at less noise the mean of so few draws is far off
            shift = (points - points.mean(0)) / level
            z = np.random.default_rng(3).standard_normal((40_000, points.shape[1]))
            ratios = np.exp(shift @ z.T - (shift**2).sum(1)[:, None] / 2)
            world = described(points, level) | {e_: Draws(ratios)}
            yield world | {W: Draws(weights(points, level, 40_000))}


def _smallest() -> Iterator[Values]:
    """The noise at which the threshold allows to lose so much."""
    for index, wanted in ((0, 0.4), (1, 0.1), (2, 0.01)):
        points = clouds()[index]
        world = described(points, 1.0) | {eps: wanted}
        level = float(world[delta] / np.sqrt(8 * np.log((len(points) - 1) / (2 * wanted))))
        yield world | {W: Draws(weights(points, level)), S_EPS: level}


# The statements ----------------------------------------------------------------------------

IDENTITY = Statement(
    label="theorem-4-2-b-identity",
    number="Theorem 4.2",
    part="B (I)",
    kind="theorem",
    title="The largest weight as a probability",
    whose="reconstruction",
    assumptions=say(
        "{many} distinct points (the first equation holds for repeated ones, too), {e} the "
        "density of noise around {x} over that around any fixed centre, where the noise is drawn "
        "around that centre; {cell} is one if a noisy {x} is nearer to it than to any other "
        "point, and {more} is the same at a larger noise level. On a line {gap} are the gaps "
        "between neighbours.",
        many=MANY,
        e=e_[i],
        x=sp.Symbol("x_i"),
        cell=IN[i],
        more=IN_MORE[i],
        gap=gamma_[k],
    ),
    claim=say(
        "{ratios:display}{cells:display}No cell gains by more noise, {falls}; {zero} and "
        "{infinity}. On a line{line:display}",
        ratios=RATIOS,
        cells=CELLS,
        falls=FALLS,
        zero=AT_ZERO,
        infinity=AT_INFINITY,
        line=ON_A_LINE,
    ),
    steps=(
        Step(
            r"The noisy point has the density $\frac1N \sum_j \varphi_\sigma(y - x_j)$, and its "
            r"largest weight is $\max_i \varphi_\sigma(y - x_i) / \sum_j \varphi_\sigma(y - "
            "x_j)$: in the product the sum cancels. Then change the measure to noise around the "
            "centre.",
            RATIOS,
            Simulated(_ratios),
        ),
        Step(
            "Split by cells: ties have measure zero, and in a cell the largest density is that "
            "around its own point.",
            CELLS,
            Simulated(_cells),
        ),
        Step(
            r"With $v = y - x_i$ and $u = x_j - x_i$, the point $y$ is nearer to $x_i$ when "
            r"$\langle v, u\rangle$ is at most half of $\|u\|^2$: coordinate by coordinate,",
            equal((v_k - u_k) ** 2 - v_k**2, 2 * (u_k**2 / 2 - v_k * u_k)),
            Identity(),
        ),
        Step(
            "So a cell, seen from its point, is an intersection of half-spaces that contain the "
            "point.",
            None,
            Words("such a set is star-shaped, and shrinks when it is divided by a larger sigma"),
        ),
        Step(
            "What lies in it at a noise level did so, for the same noise, at every smaller one.",
            FALLS,
            Simulated(lambda: _cells(1.001)),
        ),
        Step(
            "On a line a cell ends at the midpoints to its neighbours; each half of a gap has the "
            "probability",
            equal(sp.Integral(density, (y, 0, gap / 2)), HALF_GAP),
            Identity(prepare=written_out),
        ),
        Step(
            "Every gap has two halves, and the two outer half-lines together have one:",
            ON_A_LINE,
            Simulated(_lines),
        ),
        Step(
            "There the half of a gap tends to one half at small noise,",
            equal(sp.Limit(written_out(HALF_GAP), sigma, 0), sp.Rational(1, 2)),
            LimitValue(),
        ),
        Step(
            "and to nothing at large noise.",
            equal(sp.Limit(written_out(HALF_GAP), sigma, sp.oo), 0),
            LimitValue(),
        ),
        Step(
            "Anywhere a cell holds the ball around its point with half the distance to the nearest "
            "other one, whose probability tends to one at small noise.",
            None,
            Words("a normal vector is finite"),
        ),
        Step(
            "Seen at a very small noise level:",
            AT_ZERO,
            Simulated(lambda: weighed((1e-6,), (0, 1, 2, 4, 5))),
        ),
        Step(
            r"At large noise, with $s$ the distance of $x_i$ to the centre over $\sigma$, "
            r"$e_i = e^{sZ - s^2/2}$ differs from one, in mean square, by",
            equal(sp.Integral(OFF_ONE, (y, -sp.oo, sp.oo)), sp.exp(s**2) - 1),
            Identity(),
        ),
        Step("which tends to nothing,", equal(sp.Limit(sp.exp(s**2) - 1, s, 0), 0), LimitValue()),
        Step(
            r"and by the first equation $|NW - 1|$ is at most the sum of the means of $|e_i - 1|$.",
            None,
            Words("a mean is at most the root of the mean square"),
        ),
        Step(
            "Seen at a very large noise level:",
            AT_INFINITY,
            Simulated(lambda: weighed((1e12,))),
        ),
    ),
    controls=(
        Step(
            "A gap five percent too long.",
            equal(
                sp.Integral(density, (y, 0, gap / 2)), HALF_GAP.subs(gap, sp.Rational(21, 20) * gap)
            ),
            Identity(prepare=written_out),
        ),
        Step(
            "Gaps a tenth too long, simulated.",
            equal(
                N * W,
                1 + sp.Sum(2 * HALF_GAP.subs(gap, sp.Rational(11, 10) * gamma_[k]), (k, 1, N - 1)),
            ),
            Simulated(_lines),
        ),
    ),
    code=(NEEDS_TWO,),
)


def _bound(name: str, world: Values) -> float:
    """One bound of the package on the world's set."""
    bounds = weight_bounds(world[POINTS], [world[sigma]], draws=100)
    return float(getattr(bounds, name)[0])


SMALL = Statement(
    label="theorem-4-2-b-small",
    number="Theorem 4.2",
    part="B (II)",
    kind="theorem",
    title="Bounds from both sides at small noise",
    whose="reconstruction",
    assumptions=say(
        "{many} points with distances {d}, {least_of} and {least}; {Q} is the normal tail. For "
        "the last line the logarithm is positive.",
        many=MANY,
        d=d_[i, j],
        least_of=LEAST_OF,
        least=LEAST,
        Q=sp.Symbol("Q"),
    ),
    claim=say(
        "{below:display}{above:display}{roughly:display}so that {nearly} at every noise level "
        "up to {enough}.",
        below=FROM_BELOW,
        above=FROM_ABOVE,
        roughly=ROUGHLY,
        nearly=NEARLY_ONE,
        enough=ENOUGH,
    ),
    steps=(
        Step(
            r"With $v = x_j - x_i$, the noisy point $x_i + \sigma Z$ is nearer to $x_j$ than to "
            r"$x_i$ exactly when the standard normal $\langle Z, v\rangle/d_{ij}$ exceeds half of "
            r"$d_{ij}/\sigma$: coordinate by coordinate,",
            equal(
                (sigma * z_k - v_k) ** 2 - (sigma * z_k) ** 2,
                2 * sigma * (v_k**2 / (2 * sigma) - z_k * v_k),
            ),
            Identity(),
        ),
        Step(
            "That has the probability $Q$ of it. What the union bound over the other points "
            "leaves to $x_i$ is clipped for each point, before averaging; keeping one error alone, "
            "that to the nearest, gives the other side.",
            None,
            Words("the union bound"),
        ),
        Step(
            "The lower bound, seen on sets that include repeated points (both sides depend "
            "continuously on the points), and attained by two points:",
            FROM_BELOW,
            Simulated(weighed),
        ),
        Step("the upper bound, likewise:", FROM_ABOVE, Simulated(weighed)),
        Step(
            "Now the normal tail is at most half of $e^{-u^2/2}$ (proved in part A), and no "
            r"distance is below $\delta$.",
            ROUGHLY,
            Simulated(lambda: weighed((*LEVELS, 40.0))),
        ),
        Step(
            r"What is lost grows with $\sigma$,",
            sp.Gt(sp.Derivative(LOST / (N - 1), sigma), 0),
            Sign(),
        ),
        Step(
            "and at the threshold it is exactly",
            equal(1 - sp.Subs(LOST, sigma, ENOUGH.rhs), NEARLY_ONE.rhs),
            Identity(),
        ),
        Step(
            "Seen there.",
            NEARLY_ONE,
            Simulated(_smallest, loose="so is the bound on the tail"),
        ),
    ),
    controls=(
        Step(
            "Errors of a tenth less, simulated.",
            at_least(
                W,
                Over(sp.Max(0, 1 - Over(0.9 * Q(d_[i, j] / (2 * sigma)), j, i), evaluate=False), i)
                / N,
            ),
            Simulated(weighed),
        ),
        Step(
            "A threshold with seven in place of eight.",
            equal(
                sp.Subs(LOST, sigma, delta / sp.sqrt(7 * sp.log((N - 1) / (2 * eps)))),
                eps,
            ),
            Identity(),
        ),
    ),
    code=(
        Computed(
            "weight_bounds().lower_sum",
            FROM_BELOW,
            lambda world: _bound("lower_sum", world),
            random_cloud,
        ),
        Computed(
            "weight_bounds().upper_nearest",
            at_most(W, UPPER.xreplace({LEAST_OF.lhs: LEAST_OF.rhs})),
            lambda world: _bound("upper_nearest", world),
            random_cloud,
        ),
        Computed(
            "disjoint_sigma",
            LEAST,
            lambda world: (
                disjoint_sigma(world[POINTS]) * 2 * shell_radii(world[POINTS].shape[1])[1]
            ),
            random_cloud,
        ),
        NEEDS_TWO,
    ),
)

STATEMENTS = (IDENTITY, SMALL)
