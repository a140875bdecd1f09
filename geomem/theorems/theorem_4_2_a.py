"""Theorem 4.2 A: when the posterior weight of a training point is decided with high probability."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.posterior_bounds import weight_thresholds
from geomem.theorems.checks import (
    Computed,
    Enclosed,
    Identity,
    LimitValue,
    Refused,
    Sign,
    Simulated,
    Words,
)
from geomem.theorems.formulas import (
    Called,
    Chain,
    Draws,
    Least,
    N,
    Over,
    Prob,
    Values,
    at_least,
    at_most,
    equal,
    evaluate,
    i,
    j,
    less,
    root,
    say,
)
from geomem.theorems.normal import Q, written_out
from geomem.theorems.statement import Statement, Step

d, sigma, t, u, v = sp.symbols(r"d_{ij} sigma q_\eta u v", positive=True)
eta, low, high = sp.symbols("eta w_- w_+", positive=True)
z_k, v_k = sp.symbols("Z_k v_k", real=True)
d_, g_, w_ = sp.IndexedBase("d"), sp.IndexedBase("G"), sp.IndexedBase("w")
to_j, odds = d_[i, j], w_[j] / w_[i]
sigma_lo, sigma_hi = sp.symbols(r"\sigma_{\mathrm{lo}} \sigma_{\mathrm{hi}}", positive=True)

T = root(2, sp.log((N - 1) / (2 * eta)))
TAIL = sp.exp(-(u**2) / 2) / 2
TAILS = (N - 1) * TAIL.subs(u, t)


def exponent(distance: sp.Expr, strike: sp.Expr) -> sp.Expr:
    """The log-odds of x_j against x_i where the noise towards x_j is the strike."""
    return -(distance**2) / (2 * sigma**2) + strike * distance / sigma


LOWER = 1 / (1 + Over(sp.exp(exponent(to_j, t)), j, i))
UPPER = 1 / (1 + Over(sp.exp(exponent(to_j, -t)), j, i))
gap = TAIL - Q(u)
rising = exponent(d, t).subs(sigma, 1 / u)
falling = sp.exp(exponent(d, -t).subs(sigma, 1 / u))


# Worlds ------------------------------------------------------------------------------------


def _clouds() -> list[Floats]:
    rng = np.random.default_rng(0)
    return [
        np.array([[0.0], [1.0]]),
        np.array([[0.0], [-1.0], [1.0]]),  # x_i the midpoint: the union bound is exact
        rng.normal(size=(12, 2)),
        np.vstack([np.zeros((2, 5)), rng.normal(size=(20, 5))]),  # x_i twice
    ]


def _weights() -> Iterator[Values]:
    """The weight of x_1 on small sets where it is not rare that it leaves a bound."""
    rng = np.random.default_rng(1)
    for points in _clouds():
        steps = points - points[0]
        distances = np.linalg.norm(steps, axis=1)
        for level in (0.05, 0.3):
            for noise in (0.3, 1.0, 3.0):
                tilt = rng.standard_normal((20_000, points.shape[1])) @ steps.T / noise
                weight = 1 / np.exp(-(distances**2) / (2 * noise**2) + tilt).sum(1)
                world = {N: len(points), eta: level, i: 1, sigma: noise, d_: distances[None]}
                yield world | {t: evaluate(T, world), w_: Draws(weight[None])}


def _normal() -> Iterator[Values]:
    draws = np.random.default_rng(0).standard_normal((1, 200_000))
    yield {g_: Draws(draws), j: 1, u: 0.5}


def _cloud(rng: np.random.Generator) -> dict[Any, Any]:
    """A random set with its thresholds, for levels and probabilities over their whole range."""
    n = int(rng.integers(2, 9))
    points = rng.normal(size=(n, rng.integers(1, 5))) * np.exp(rng.uniform(-3, 3))
    share = float(rng.uniform(1e-6, 0.499))
    levels = float(rng.uniform(1 / n, 1)), float(rng.uniform(0.5001, 0.9999))
    k = int(rng.integers(n))
    return _threshold(points, share, *levels, k)


def _threshold(points: Floats, share: float, small: float, large: float, k: int) -> dict[Any, Any]:
    found = weight_thresholds(points, delta=share, low=small, high=large)
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    world = {N: len(points), eta: share, low: small, high: large, i: k + 1, d_: distances}
    return world | {t: evaluate(T, world), sigma_lo: found[0][k], sigma_hi: found[1][k]}


def _pairs() -> Iterator[Values]:
    """Two points at levels down to one half, where the bound on the threshold is reached."""
    for large in (0.9, 0.6, 0.5001):
        yield _threshold(np.array([[0.0], [3.0]]), 0.01, 0.9, large, 0)


# The statement -----------------------------------------------------------------------------

LEAST = Called(r"\underline{w}_i", LOWER)
MOST = Called(r"\overline{w}_i", UPPER)
LOWER_HOLDS = at_least(Prob(at_least(w_[i], LEAST)), 1 - eta)
UPPER_HOLDS = at_least(Prob(at_most(w_[i], MOST)), 1 - eta)
BOTH_HOLD = at_least(Prob(Chain(at_most(LEAST, w_[i]), at_most(w_[i], MOST))), 1 - 2 * eta)
REACHED = at_most(sigma_lo, Least(to_j, j, i) / (2 * t))
MANY = at_least(N, 2)
SHARE = Chain(less(sp.S.Zero, eta), less(eta, sp.Rational(1, 2)))
LOW = Chain(less(1 / N, low), less(low, sp.S.One))
HIGH = Chain(less(sp.Rational(1, 2), high), less(high, sp.S.One))
pair = np.array([[0.0], [1.0]])

NORMAL_TAIL = (
    Step(
        r"Let $k$ be half of $e^{-u^2/2}$ less the normal tail $Q$: its derivative is elementary.",
        equal(sp.Derivative(gap, u), sp.exp(-(u**2) / 2) * (1 / sp.sqrt(2 * sp.pi) - u / 2)),
        Identity(),
    ),
    Step(
        "It starts at zero,",
        equal(sp.Subs(gap, u, 0), 0),
        Identity(prepare=lambda e: written_out(e.doit())),
    ),
    Step(
        say(
            "up to {turn} the last factor is positive, so that it rises,",
            turn=sp.sqrt(2 / sp.pi),
        ),
        at_least(1 / sp.sqrt(2 * sp.pi) - u / 2, 0),
        Sign(where={u: sp.sqrt(2 / sp.pi) * v / (1 + v)}),
    ),
    Step(
        "beyond it is negative, so it falls,",
        at_most(1 / sp.sqrt(2 * sp.pi) - u / 2, 0),
        Sign(where={u: sp.sqrt(2 / sp.pi) + v}),
    ),
    Step(
        "and it falls to zero. What rises from zero and then falls to zero is not negative:",
        equal(sp.Limit(written_out(gap), u, sp.oo, "-"), 0),
        LimitValue(),
    ),
    Step(
        "that is the bound on the tail, seen here at one half.",
        at_most(Prob(sp.Ge(g_[j], u)), TAIL),
        Simulated(_normal, loose="it is attained at zero only"),
    ),
)

THEOREM_A = Statement(
    label="theorem-4-2-a",
    number="Theorem 4.2",
    part="A",
    kind="theorem",
    title="Concentration of one weight with high probability",
    whose="reconstruction",
    assumptions=say(
        "{x} is one of {many} training points, which may coincide, with distances {d} to the "
        "others; the input is {x} plus noise of level {sigma}; {share} and {strike}.",
        x=sp.Symbol("x_i"),
        many=MANY,
        d=to_j,
        sigma=sigma,
        share=SHARE,
        strike=equal(t, T),
    ),
    claim=say(
        "With{least:display}{most:display}one has {lower} and {upper}, and both together,"
        "{both:display}For "
        "{high} and a point that is not repeated, the lower bound is at least {level} exactly "
        "for the noise levels up to some {lo}, and {reached}. For {low} and distinct points, the "
        "upper bound is at most {small} exactly from some {hi} on.",
        least=equal(LEAST, LOWER),
        most=equal(MOST, UPPER),
        lower=LOWER_HOLDS,
        upper=UPPER_HOLDS,
        both=BOTH_HOLD,
        high=HIGH,
        level=high,
        lo=sigma_lo,
        reached=REACHED,
        low=LOW,
        small=low,
        hi=sigma_hi,
    ),
    steps=(
        Step(
            r"With $x = x_i + \sigma Z$ and $v = x_j - x_i$, the squared distances to $x_i$ and "
            "$x_j$ differ, coordinate by coordinate, by",
            equal(
                ((sigma * z_k) ** 2 - (sigma * z_k - v_k) ** 2) / (2 * sigma**2),
                -(v_k**2) / (2 * sigma**2) + z_k * v_k / sigma,
            ),
            Identity(),
        ),
        Step(
            r"Sum over the coordinates, with $G_j = \langle Z, x_j - x_i\rangle / d_{ij}$, which "
            "is standard normal: the log-odds are the exponent below, with $G_j$ for $q_\\eta$.",
            None,
            Words("a projection of standard noise onto a unit vector is standard normal"),
        ),
        *NORMAL_TAIL,
        Step(
            r"Our $q_\eta$ is chosen so that so many such tails add up to what is given away.",
            equal(sp.Subs(TAILS, t, T), eta),
            Identity(),
        ),
        Step(
            r"So no $G_j$ exceeds $q_\eta$ but for an event of that probability, and by symmetry "
            r"none falls below $-q_\eta$ but for another.",
            None,
            Words("the union bound"),
        ),
        Step(
            "With that probability, then, all of them stay below:",
            equal(1 - sp.Subs(TAILS, t, T), LOWER_HOLDS.rhs),
            Identity(),
        ),
        Step(
            "and on both sides, with the two events given away,",
            equal(1 - 2 * sp.Subs(TAILS, t, T), BOTH_HOLD.rhs),
            Identity(),
        ),
        Step(
            r"The weight falls in all odds, so the worst case puts $q_\eta$ everywhere: the lower "
            "bound,",
            LOWER_HOLDS,
            Simulated(_weights, loose="the union bound gives away what events share"),
        ),
        Step(
            "or $-q_\\eta$: the upper one,",
            UPPER_HOLDS,
            Simulated(_weights, loose="the union bound gives away what events share"),
        ),
        Step(
            "and both at once.",
            BOTH_HOLD,
            Simulated(_weights, loose="the union bound gives away what events share"),
        ),
        Step(
            r"The upper bound can be solved: with $u = 1/\sigma$ every term of its sum falls.",
            less(sp.Derivative(falling, u), 0),
            Sign(),
        ),
        Step(
            "The lower one cannot without care: the exponent of a term has the derivative",
            equal(sp.Derivative(rising, u), d * (t - d * u)),
            Identity(),
        ),
        Step(
            "which changes sign. But a level above one half asks for a sum, hence for every term, "
            "below one, and up to twice $q_\\eta/d_{ij}$ no exponent is negative;",
            at_least(rising, 0),
            Sign(where={u: 2 * t / d * v / (1 + v)}),
        ),
        Step(
            "beyond that every term falls with $u$: the solution is unique,",
            less(sp.Derivative(rising, u), 0),
            Sign(where={u: 2 * t / d + v}),
        ),
        Step(
            "and lies below the noise level at which the nearest term is one.",
            REACHED,
            Simulated(_pairs),
        ),
        Step(
            "For a level below one half there need be no such end: for three other points the "
            "lower bound can even be less than a third of what it is at large noise.",
            less(
                1 / (1 + sum(sp.exp(rising.subs({d: k, t: 2})) for k in (1, 3, 9))),
                sp.Rational(1, 12),
            ),
            Enclosed({u: (sp.Rational(1, 4), sp.Rational(1, 4))}),
        ),
    ),
    controls=(
        Step(
            "Half of the tail bound is too little.",
            at_most(Q(u).rewrite(sp.erf), TAIL / 2),
            Enclosed({u: (0, sp.Rational(1, 4))}),
        ),
        Step(
            "A product in place of the union bound: false for a midpoint between two others, where "
            "$\\mathbb{P}(\\max(G, -G) \\le t) = 2F(t) - 1 < F(t)^2$.",
            at_least(sp.erf(t / sp.sqrt(2)), (1 + sp.erf(t / sp.sqrt(2))) ** 2 / 4),
            Enclosed({t: (0, 3)}),
        ),
        Step(
            "Without the factor two the tails add up to something else.",
            equal(sp.Subs(TAILS, t, sp.sqrt(2 * sp.log((N - 1) / eta))), eta),
            Identity(),
        ),
        Step(
            "A quarter in place of the half, simulated.",
            at_most(Prob(sp.Ge(g_[j], u)), TAIL / 2),
            Simulated(_normal, loose="it is attained at zero only"),
        ),
    ),
    code=(
        Computed(
            "weight_thresholds()[0]",
            LOWER,
            lambda world: world[high],
            lambda rng: (world := _cloud(rng)) | {sigma: world[sigma_lo]},
        ),
        Computed(
            "weight_thresholds()[1]",
            UPPER,
            lambda world: world[low],
            lambda rng: (world := _cloud(rng)) | {sigma: world[sigma_hi]},
        ),
        Refused(
            "weight_thresholds(delta=)", SHARE, eta, lambda x: weight_thresholds(pair, delta=x)
        ),
        Refused("weight_thresholds(high=)", HIGH, high, lambda x: weight_thresholds(pair, high=x)),
        Refused(
            "weight_thresholds(low=)", LOW, low, lambda x: weight_thresholds(pair, low=x), {N: 2}
        ),
        Refused(
            "weight_thresholds", MANY, N, lambda n: weight_thresholds(np.arange(n)[:, None]), step=1
        ),
    ),
)

STATEMENTS = (THEOREM_A,)
