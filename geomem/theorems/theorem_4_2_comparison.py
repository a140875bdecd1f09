"""Ours, beside Theorem 4.2 B: W_sigma depends only on the distances and grows with each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import sympy as sp
from flint import acb, ctx

from geomem.geometry.arrays import Floats
from geomem.geometry.posterior_bounds import (
    orthogonal_lengths,
    orthogonal_weight,
    simplex_weight,
    weight_bounds,
)
from geomem.theorems.checks import (
    Computed,
    Enclosed,
    Identity,
    Outcome,
    Sign,
    Simulated,
    Words,
    enclose,
)
from geomem.theorems.clouds import (
    MANY,
    NEEDS_TWO,
    POINTS,
    W,
    clouds,
    d_,
    delta,
    delta_,
    described,
    diameter,
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
    Times,
    Values,
    at_least,
    at_most,
    equal,
    evaluate,
    i,
    j,
    named,
    say,
)
from geomem.theorems.normal import F, f, written_out
from geomem.theorems.statement import Statement, Step

# The formulas ------------------------------------------------------------------------------

k, q, r = sp.symbols("k q r", positive=True)
e_i, e_j = sp.symbols("e_i e_j", positive=True)
delta_i, delta_j, d_ij = sp.symbols("delta_i delta_j d_{ij}", nonnegative=True)
more, rest = sp.symbols("u v", nonnegative=True)
z = sp.Symbol("z", real=True)
h_, G_ = sp.IndexedBase("h"), sp.IndexedBase("G")
W_FIRST, W_SECOND = named(r"W_\sigma(D)"), named(r"W_\sigma(D')")

COMPARE = at_most(W_FIRST, W_SECOND)


def simplex(number: sp.Expr, ratio: sp.Expr) -> sp.Integral:
    """S_N(k): W_sigma of N points, all at distance k sigma."""
    inside = f(z) * F(z + ratio / sp.sqrt(2)) ** (number - 1)
    return sp.Integral(inside, (z, -sp.oo, sp.oo))


class S(sp.Function):
    """`simplex`, by its name."""

    nargs = 2

    @staticmethod
    def compute(number: float, ratio: float) -> Any:
        return evaluate(simplex(N, k), {N: number, k: ratio})

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        number, ratio = (printer._print(argument) for argument in self.args)
        return rf"S_{{{number}}}\left({ratio}\right)"


DEFINED = equal(S(N, k), simplex(N, k))
EQUIDISTANT = equal(W, S(N, k))
LEAST = equal(delta, Least(Least(d_[i, j], j, i), i))
WIDEST = equal(diameter, Most(Most(d_[i, j], j), i))
BELOW = at_least(W, S(N, delta / sigma))
ABOVE = at_most(W, S(N, diameter / sigma))
FACTOR = sp.exp(h_[i] * G_[i] / sigma - h_[i] ** 2 / (2 * sigma**2))
ORTHOGONAL = at_least(N * W, Expect(Most(FACTOR, i)))
STEP = h_[i] * z / h_[j] + (h_[i] ** 2 / h_[j] + h_[j]) / (2 * sigma)
BY_WINNERS = equal(
    Expect(Most(FACTOR, i)),
    Over(sp.Integral(f(z) * Times(F(STEP), j, i), (z, -sp.oo, sp.oo)), i),
)
ALLOWED = at_most(h_[i] ** 2 + h_[j] ** 2, d_[i, j] ** 2)
ALWAYS = equal(h_[i], delta_[i] / sp.sqrt(2))

# Interpolation between two covariances
theta, t_1, t_2 = sp.symbols("theta e_1 e_2", real=True)
g_11, g_22 = (sp.Function(name, positive=True)(theta) for name in (r"\Gamma_{11}", r"\Gamma_{22}"))
g_12 = sp.Function(r"\Gamma_{12}", real=True)(theta)
determinant = g_11 * g_22 - g_12**2
gaussian = sp.exp(-(g_22 * t_1**2 - 2 * g_12 * t_1 * t_2 + g_11 * t_2**2) / (2 * determinant)) / (
    2 * sp.pi * sp.sqrt(determinant)
)
norm_q = (e_i**q + e_j**q + r) ** (1 / q)
mixed = (1 - q) * norm_q ** (1 - 2 * q) * (e_i * e_j) ** (q - 1)
one_q = (e_i**q + r) ** (1 / q)
from_1 = 1 + more

# Three points, at noise 1: the cell of each is a wedge in their plane
d_12, d_13, d_23 = sp.symbols("d_{12} d_{13} d_{23}", positive=True)


def cosine(one: sp.Expr, two: sp.Expr, opposite: sp.Expr) -> sp.Expr:
    """Of the angle between two sides of a triangle."""
    return (one**2 + two**2 - opposite**2) / (2 * one * two)


def edge(side: sp.Expr, other: sp.Expr, angle: sp.Expr) -> sp.Expr:
    """The noise on the common edge of two cells, per unit of the distance: one side's half."""
    return f(side / 2) / 2 * F((other - angle * side) / (2 * sp.sqrt(1 - angle**2)))


def corner(side: sp.Expr, other: sp.Expr, angle: sp.Expr) -> sp.Expr:
    """The density at the corner of a wedge, by which its angle counts."""
    form = side**2 - 2 * angle * side * other + other**2
    return sp.exp(-form / (8 * (1 - angle**2))) / (2 * sp.pi * sp.sqrt(1 - angle**2))


ANGLES = [cosine(*sides) for sides in ((d_12, d_13, d_23), (d_12, d_23, d_13), (d_13, d_23, d_12))]
RATE = (
    edge(d_12, d_13, ANGLES[0])
    + edge(d_12, d_23, ANGLES[1])
    + corner(d_12, d_13, ANGLES[0]) * sp.diff(ANGLES[0], d_12)
    + corner(d_12, d_23, ANGLES[1]) * sp.diff(ANGLES[1], d_12)
    + corner(d_13, d_23, ANGLES[2]) * sp.diff(ANGLES[2], d_12)
)


class SimplexIntegral(Enclosed):
    """S_N(k) > a number, N and k read off the formula, by certified integration over [-10, 10].

    The integrand is positive, so what lies outside can only add.
    """

    kind = "example"

    def run(self, formula: sp.Basic) -> Outcome:
        number, ratio = self.read(formula)
        precision, ctx.prec = ctx.prec, self.bits
        try:
            root, shift = acb(2).sqrt(), enclose(ratio, {}) / acb(2).sqrt()
            scale = (2 * acb.pi()).sqrt()

            def integrand(at: acb, _: bool) -> acb:
                below = (1 + ((at + shift) / root).erf()) / 2
                return (-(at**2) / 2).exp() / scale * below ** (number - 1)

            value = acb.integral(integrand, -10, 10).real
            bound = enclose(formula.args[1], {})
            held = bool(value > bound)
            return Outcome(held, f"the integral over [-10, 10] is {value.str(18)}")
        finally:
            ctx.prec = precision

    def read(self, formula: sp.Basic) -> tuple[int, sp.Expr]:
        """N and k; any left side but S_N(k) is refused, and so is any relation but >."""
        left = formula.lhs if isinstance(formula, sp.StrictGreaterThan) else None
        if isinstance(left, sp.Integral):
            (factor,) = (power for power in left.function.args if power.has(F))
            inside, others = factor.as_base_exp()
            ratio = sp.simplify(sp.sqrt(2) * (inside.args[0] - z))
            if others.is_Integer and ratio.is_number and left == simplex(others + 1, ratio):
                return int(others) + 1, ratio
        raise ValueError(f"expected S_N(k) > a number, got {formula}.")


S_1000_5 = simplex(sp.Integer(1000), sp.Integer(5))


# Worlds ------------------------------------------------------------------------------------


def _pairs(pairs: Sequence[tuple[Floats, Floats]]) -> Iterator[Values]:
    for points, other in pairs:
        for level in (0.4, 1.0, 2.5):
            first, second = weights(points, level), weights(other, level)
            yield {W_FIRST: Draws(first), W_SECOND: Draws(second)}


def _stretched() -> Iterator[Values]:
    """Sets against themselves with each axis stretched, and lifted into three more axes."""
    rng, pairs = np.random.default_rng(2), []
    for points in clouds()[1:]:
        lifted = np.hstack([points, rng.normal(size=(len(points), 3)) / 2])
        pairs += [(points, points * rng.uniform(1, 1.5, points.shape[1])), (points, lifted)]
        pairs += [(points, points * (1 + 1e-6))]
    return _pairs(pairs)


def _shrunk() -> Iterator[Values]:
    """Sets against themselves with every distance shrunk to 0.9 of it."""
    return _pairs([(points, 0.9 * points) for points in clouds()])


def _simplices() -> Iterator[Values]:
    for number, apart in ((2, 1.0), (3, 2.0), (6, 3.0), (12, 1.0)):
        points = apart * np.eye(number) / np.sqrt(2)
        yield described(points, 1.0) | {k: apart, W: Draws(weights(points, 1.0))}


def _orthogonal() -> Iterator[Values]:
    """Lengths of 1 / sqrt 2 of the nearest distance, where the mean of so many draws is near."""
    for points in clouds():
        nearest = described(points, 1.0)[delta_]
        for level in (nearest.max(), 3 * nearest.max()):
            world = described(points, level) | {h_: nearest / np.sqrt(2)}
            draws = np.random.default_rng(6).standard_normal((len(points), 20_000))
            yield world | {G_: Draws(draws), W: Draws(weights(points, level, 20_000))}


def _apart() -> Iterator[Values]:
    """The same, for sets without copies."""
    return (world for world in _orthogonal() if world[delta] > 0)


def _every_pair() -> Iterator[Values]:
    """The lengths that are always allowed, and those that `weight_bounds` takes, of all pairs."""
    for world in _apart():
        grown = orthogonal_lengths(np.asarray(world[d_]))
        for one in range(1, world[N] + 1):
            for two in range(1, one):
                yield {**world, i: one, j: two}
                yield {**world, i: one, j: two, h_: grown}


def _lengths(rng: np.random.Generator) -> dict[Any, Any]:
    """Equal lengths, which the package resolves to rounding, at any noise level."""
    number = int(rng.integers(2, 20))
    length = float(np.exp(rng.uniform(-2, 2)))
    return {N: number, h_: np.full(number, length), sigma: float(np.exp(rng.uniform(-1, 2)))}


def _mixed_lengths(rng: np.random.Generator) -> dict[Any, Any]:
    """Lengths over three orders of magnitude."""
    number = int(rng.integers(2, 8))
    lengths = np.exp(rng.uniform(-5, 2, number))
    return {N: number, h_: lengths, sigma: float(np.exp(rng.uniform(0, 2)))}


def _ratio(rng: np.random.Generator) -> dict[Any, Any]:
    return {N: int(np.exp(rng.uniform(0, 13))), k: float(rng.uniform(0, 14))}


def _two(rng: np.random.Generator) -> dict[Any, Any]:
    """Two points, whose lengths cannot grow beyond what is always allowed."""
    points = rng.normal(size=(2, int(rng.integers(1, 6)))) * np.exp(rng.uniform(-3, 3))
    return described(points, 1.0) | {i: int(rng.integers(1, 3))}


def _orthogonal_code(
    lengths: Callable[[np.random.Generator], Values], tolerance: float
) -> Computed:
    """The package's value is from below, and so near for lengths of this kind."""
    return Computed(
        "orthogonal_weight",
        BY_WINNERS.rhs / N,
        lambda v: orthogonal_weight(v[h_], [v[sigma]])[0],
        lengths,
        tolerance,
        points=10,
        side="<=",
    )


# The statement -----------------------------------------------------------------------------

COMPARISON = Statement(
    label="theorem-4-2-comparison",
    number="Theorem 4.2",
    kind="theorem",
    title="Comparison of two sets by their distances",
    whose="ours",
    assumptions=say(
        "Two sets of {many} points each, in any two dimensions; {d} are the distances in the "
        "first, {least} and {widest}; {least_of} is the distance of a point to its nearest "
        "neighbour.",
        many=MANY,
        d=d_[i, j],
        least=LEAST,
        widest=WIDEST,
        least_of=delta_[i],
    ),
    claim=say(
        "If no distance in the first exceeds that in the second, then at every noise level "
        "{compare}. Hence, with{defined:display}one has{below:display}{above:display}with "
        "equality for equidistant points, {equidistant}; and, with independent standard normal "
        "{G},{orthogonal:display}whenever {allowed} for every two points, of which {always} is "
        "always allowed.",
        compare=COMPARE,
        defined=DEFINED,
        below=BELOW,
        above=ABOVE,
        equidistant=EQUIDISTANT,
        G=G_[i],
        orthogonal=ORTHOGONAL,
        allowed=ALLOWED,
        always=ALWAYS,
    ),
    steps=(
        Step(
            r"By the change of measure of part B, $N W_\sigma$ is the mean of the largest "
            r"$e_i = e^{X_i - \Gamma_{ii}/2}$, $X$ centred Gaussian with the covariance $\Gamma$ "
            r"of the points around any centre, in noise levels. Go from $\Gamma$ to $\Gamma'$ in a "
            "straight line (plus a small multiple of the identity where it is singular): all "
            r"distances grow. The density of $X$ solves a heat equation: for two points,",
            equal(
                sp.Derivative(gaussian, theta),
                sp.Derivative(g_11, theta) * sp.Derivative(gaussian, (t_1, 2)) / 2
                + sp.Derivative(g_22, theta) * sp.Derivative(gaussian, (t_2, 2)) / 2
                + sp.Derivative(g_12, theta) * sp.Derivative(gaussian, t_1, t_2),
            ),
            Identity(),
        ),
        Step(
            r"So the mean of a smooth function $\psi$ of the $e_i$ that grows like a power changes "
            r"at the rate of half the sum of the $\dot\Gamma_{ij}$ times the means of $e_i e_j "
            r"\psi_{ij}$; the $-\Gamma_{ii}/2$ in $e_i$ removes the first-order terms.",
            None,
            Words("integration by parts, twice (Slepian 1962; Kahane 1986)"),
        ),
        Step(
            "Take the $q$-norm, a smooth maximum. With $r$ for the sum of the other powers, its "
            "mixed derivatives are",
            equal(sp.Derivative(norm_q, e_i, e_j), mixed),
            Identity(),
        ),
        Step("which are not positive from $q = 1$ on.", at_most(mixed, 0), Sign({q: from_1})),
        Step(
            "The pure ones balance them, the norm being homogeneous: with $r$ for the sum of the "
            r"others, so that only the $\dot\Gamma_{ii} + \dot\Gamma_{jj} - 2\dot\Gamma_{ij}$ are "
            "left, the rates of the squared distances, each with minus a mixed derivative.",
            equal(
                e_i * sp.Derivative(one_q, (e_i, 2)),
                (q - 1) * one_q ** (1 - 2 * q) * e_i ** (q - 1) * r,
            ),
            Identity(),
        ),
        Step(
            r"Let $q \to \infty$, where the norm tends to the maximum.",
            None,
            Words("dominated convergence, by the sum"),
        ),
        Step(
            "Seen on stretched and lifted sets.",
            COMPARE,
            Simulated(_stretched),
        ),
        Step(
            "Independently of all this, for three points at noise one each cell is a wedge, and "
            "three times the rate by one distance is positive over a box of distances: the noise "
            "on the common edge of two cells, and what the three angles change, which cancels.",
            sp.Gt(written_out(RATE), 0, evaluate=False),
            Enclosed({side: (1, sp.Rational(7, 5)) for side in (d_12, d_13, d_23)}, bits=64),
        ),
        Step(
            r"Equidistant points have independent $X_i$ for a suitable centre, of variance $k^2/2$."
            " With the measure changed to that under which $X_i$ has its variance as its mean, the "
            "others must lie below:",
            EQUIDISTANT,
            Simulated(_simplices),
        ),
        Step(
            "For two of them both are one half at $k = 0$, and the derivative by $k/\\sqrt2$ is, "
            "after integrating by parts, that of the two-point formula $F(k/2)$.",
            equal(
                sp.Integral(f(z - k / sp.sqrt(2)) * f(z), (z, -sp.oo, sp.oo)),
                f(k / 2) / sp.sqrt(2),
            ),
            Identity(),
        ),
        Step(
            r"All distances lie between $\delta$ and the diameter: the sandwich. From below,",
            BELOW,
            Simulated(lambda: weighed((0.4, 1.0, 8.0))),
        ),
        Step("and from above.", ABOVE, Simulated(lambda: weighed((0.4, 1.0, 8.0)))),
        Step(
            r"Orthogonal points of lengths $h_i$ are at the squared distances $h_i^2 + h_j^2$. "
            r"Both $\delta_i$ and $\delta_j$ are at most $d_{ij}$ (let the second be larger):",
            at_most(
                sp.Subs(ALLOWED.lhs, (h_[i], h_[j]), (ALWAYS.rhs, ALWAYS.rhs.subs(i, j)))
                .doit()
                .xreplace({delta_[i]: delta_i, delta_[j]: delta_j}),
                d_ij**2,
            ),
            Sign(where={delta_j: delta_i + more, d_ij: delta_i + more + rest}),
        ),
        Step(
            "so these lengths are allowed, and for two points no longer ones.",
            ALLOWED,
            Simulated(_every_pair),
        ),
        Step(
            "With them the comparison gives the orthogonal bound, attained by two points.",
            ORTHOGONAL,
            Simulated(_orthogonal),
        ),
        Step(
            "In numbers: the chance of each to be the largest, with its variable shifted by its "
            "length in noise levels.",
            BY_WINNERS,
            Simulated(_apart),
        ),
        Step(
            "For large $N$ the integral of equidistant points is certified numerically.",
            sp.Gt(S_1000_5, sp.Rational(611181011147, 10**12), evaluate=False),
            SimplexIntegral({}),
        ),
    ),
    controls=(
        Step(
            "Below $q = 1$ the sign is the other.",
            at_most(mixed, 0),
            Sign(where={q: 1 / (1 + k)}),
        ),
        Step(
            "Lengths a tenth too long, simulated.",
            at_least(N * W, Expect(Most(FACTOR.subs(h_[i], 1.1 * h_[i]), i))),
            Simulated(_orthogonal),
        ),
        Step("Shrunk distances, simulated.", COMPARE, Simulated(_shrunk)),
        Step(
            "The twelfth decimal one higher.",
            sp.Gt(S_1000_5, sp.Rational(611181011148, 10**12), evaluate=False),
            SimplexIntegral({}),
        ),
    ),
    code=(
        Computed(
            "simplex_weight",
            DEFINED,
            lambda v: simplex_weight([v[k]], v[N])[0],
            _ratio,
            tolerance=1e-8,
        ),
        Computed(
            "weight_bounds().lower_simplex",
            S(N, LEAST.rhs / sigma),
            lambda v: weight_bounds(v[POINTS], [v[sigma]], draws=100).lower_simplex[0],
            random_cloud,
            tolerance=1e-8,
            points=10,
        ),
        Computed(
            "weight_bounds().upper_simplex",
            S(N, WIDEST.rhs / sigma),
            lambda v: weight_bounds(v[POINTS], [v[sigma]], draws=100).upper_simplex[0],
            random_cloud,
            tolerance=1e-8,
            points=10,
        ),
        Computed(
            "orthogonal_lengths, of two points",
            ALWAYS,
            lambda v: orthogonal_lengths(v[d_])[v[i] - 1],
            _two,
        ),
        _orthogonal_code(_lengths, 1e-7),
        _orthogonal_code(_mixed_lengths, 3e-3),
        NEEDS_TWO,
    ),
)

STATEMENTS = (COMPARISON,)
