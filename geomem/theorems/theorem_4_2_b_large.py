"""Theorem 4.2 B at large noise: the call-option bound, its closed form, and the width."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import brentq
from scipy.special import ndtr

from geomem.geometry.posterior_bounds import CONFIDENCE, call_bound, weight_bounds
from geomem.theorems.checks import (
    Computed,
    Identity,
    LimitValue,
    Sign,
    Simulated,
    Words,
)
from geomem.theorems.clouds import (
    MANY,
    NEEDS_TWO,
    POINTS,
    W,
    clouds,
    described,
    diameter,
    radius,
    random_cloud,
    s_,
    sigma,
    weighed,
    weights,
)
from geomem.theorems.formulas import (
    Draws,
    N,
    Over,
    Prob,
    Values,
    at_least,
    at_most,
    equal,
    evaluate,
    i,
    named,
    root,
    say,
)
from geomem.theorems.normal import F, Q, f, written_out
from geomem.theorems.statement import Statement, Step

# The formulas ------------------------------------------------------------------------------

K, s, q, d_12, eps = sp.symbols("K s q d_{12} varepsilon", positive=True)
more = sp.Symbol("v", nonnegative=True)
b_N, width = sp.symbols("b_N w(D)", positive=True)
y, g, b = sp.symbols("y g b", real=True)
z_k, v_k = sp.symbols("Z_k v_k", real=True)
S_EPS = sp.Symbol(r"\sigma_\varepsilon", positive=True)
FIRST = named(r"\lim_{\sigma \to \infty} \sigma (N W_\sigma - 1)")


def pays(length: sp.Expr) -> sp.Expr:
    """The standard normal value from which on a ratio of densities exceeds K."""
    return length / 2 + sp.log(K) / length


def price(length: sp.Expr) -> sp.Expr:
    """The mean of what a ratio of densities exceeds K by: a call option."""
    return Q(pays(length) - length) - K * Q(pays(length))


CALL = at_most(N * W, K + Over(price(s_[i]), i))
BEST = equal(Over(Q(pays(s_[i])), i), 1)
BEST_CALL = at_most(N * W, Over(Q(pays(s_[i]) - s_[i]), i))
ROOT = equal(b_N, root(2, sp.log(N)))
CLOSED = at_most(W, sp.exp(-((b_N - radius / sigma) ** 2) / 2))
FROM = at_least(sigma, radius / b_N)
SMALL = at_most(W, eps)
ENOUGH = equal(S_EPS, radius / (b_N - root(2, sp.log(1 / eps))))
exponent = b_N**2 / (2 * q) + (q - 1) * s**2 / 2

NARROW = at_least(N * W, sp.exp(width / sigma - radius**2 / (2 * sigma**2)))
WIDE = at_most(N * W, sp.exp(width / sigma))
FARTHEST = at_least(N * W, 2 * F(diameter / (2 * sigma)))
SLOPE = equal(FIRST, width)
eta, draws = sp.symbols("eta M", positive=True)
FOUND, OFF = sp.symbols(r"\hat{w} \varepsilon_w", positive=True)
ERROR = equal(OFF, diameter / 2 * sp.sqrt(2 * sp.log(2 / eta) / draws))
SURE = at_least(Prob(at_most(sp.Abs(FOUND - width), OFF)), 1 - eta)
density = sp.exp(-(y**2) / (2 * sigma**2)) / (sigma * sp.sqrt(2 * sp.pi))


def second_order(bound: sp.Expr) -> sp.Limit:
    """sigma^2 times what is left of a width bound after 1 + w / sigma, as sigma grows."""
    return sp.Limit(sigma**2 * (bound - 1 - width / sigma), sigma, sp.oo, "-")


def _in_erf(difference: sp.Expr) -> sp.Expr:
    return written_out(difference).rewrite(sp.erf)


# Worlds ------------------------------------------------------------------------------------


def _strikes() -> Iterator[Values]:
    """Strikes around the best one."""
    for world in weighed((1.0, 2.5, 8.0)):
        for strike in (0.3, 1.0, 3.0):
            yield {**world, K: strike}
        yield {**world, K: _best(world[s_])}


def _best(lengths: Any) -> float:
    """The strike at which so many options are expected to pay as there are maxima: one."""
    lengths = np.maximum(lengths, 1e-12)

    def paying(log_k: float) -> float:
        return float(ndtr(-lengths / 2 - log_k / lengths).sum() - 1)

    reach = 40 + 4 * float((lengths**2).max())
    return float(np.exp(brentq(paying, -reach, reach, xtol=1e-14)))


def _best_strikes() -> Iterator[Values]:
    for world in weighed((1.0, 2.5, 8.0)):
        yield {**world, K: _best(world[s_])}


def _in_range() -> Iterator[Values]:
    """From the end of the range on, and at so large a noise that every weight is 1 / N."""
    for world in weighed((1.0, 2.5, 8.0, 1e4)):
        start = world[radius] / np.sqrt(2 * np.log(world[N]))
        if world[sigma] >= start:
            yield {**world, b_N: np.sqrt(2 * np.log(world[N]))}


def _out_of_range() -> Iterator[Values]:
    """Five points on a line, with less noise than the closed form is for."""
    points = np.linspace(-4.43, 4.43, 5)[:, None]
    world = described(points, 1.0) | {W: Draws(weights(points, 1.0))}
    yield world | {b_N: float(np.sqrt(2 * np.log(5)))}


def _ends() -> Iterator[Values]:
    for index, level in ((1, 0.9), (3, 0.5), (5, 0.2)):
        points = clouds()[index]
        world = described(points, 1.0) | {eps: level, b_N: np.sqrt(2 * np.log(len(points)))}
        start = float(world[radius] / (world[b_N] - np.sqrt(2 * np.log(1 / level))))
        yield world | {W: Draws(weights(points, start)), S_EPS: start}


@cache
def _width(index: int) -> float:
    """E max_i <Z, x_i> of a set; Z and -Z are both used."""
    points = clouds()[index]
    products = np.random.default_rng(5).standard_normal((400_000, points.shape[1])) @ points.T
    return float((products.max(1) - products.min(1)).mean() / 2)


def _widths(*levels: float) -> Iterator[Values]:
    for index in range(len(clouds())):
        for world in weighed(levels, (index,)):
            at_first = world[sigma] * (world[N] * world[W].values - 1)
            yield {**world, width: _width(index), FIRST: Draws(at_first)}


def _estimates() -> Iterator[Values]:
    """Widths from a few draws each, many times; half the range of Z and of -Z is used."""
    for points, exact in ((np.array([[0.0], [2.0]]), 2 / np.sqrt(2 * np.pi)), (clouds()[2], None)):
        products = np.random.default_rng(7).standard_normal((40_000, points.shape[1])) @ points.T
        halves = (products.max(1) - products.min(1)) / 2
        for some, risk in ((1, 0.05), (4, 0.2)):
            world = described(points, 1.0) | {draws: some, eta: risk}
            world |= {
                FOUND: Draws(halves.reshape(-1, some).mean(1)),
                OFF: evaluate(ERROR.rhs, world),
            }
            yield world | {width: halves.mean() if exact is None else exact}


def _bounds_of(world: Values) -> Any:
    return weight_bounds(world[POINTS], [world[sigma]], draws=100)


def _with_width(rng: np.random.Generator, side: int) -> Values:
    """A set with its width as the package finds it, and what it is off by on one side."""
    world = random_cloud(rng)
    found = _bounds_of(world)
    return world | {width: found.width + side * found.width_error, radius: found.radius}


def _ball(rng: np.random.Generator) -> dict[Any, Any]:
    """A random set, its radius as the package encloses it."""
    world = random_cloud(rng)
    found = _bounds_of(world)
    return world | {radius: found.radius, b_N: np.sqrt(2 * np.log(world[N]))}


def _ball_in_range(rng: np.random.Generator) -> dict[Any, Any]:
    world = _ball(rng)
    start = world[radius] / world[b_N]
    level = float(start * np.exp(rng.uniform(0, 5)))
    return world | {sigma: level, s_: world[s_] * world[sigma] / level}


def _first_finite(world: Values) -> float:
    """Where the closed form of the package begins."""
    low, high = world[radius] / 1e3, world[radius] * 1e3
    for _ in range(25):
        middle = np.sqrt(low * high)
        known = np.isfinite(weight_bounds(world[POINTS], [middle], draws=100).upper_closed[0])
        low, high = (low, middle) if known else (middle, high)
    return float(high)


# The statements ----------------------------------------------------------------------------

LARGE = Statement(
    label="theorem-4-2-b-large",
    number="Theorem 4.2",
    part="B (III)",
    kind="theorem",
    title="The call-option bound at large noise, and its closed form",
    whose="reconstruction",
    assumptions=say(
        "{many} points; {s} are their distances from any fixed centre in noise levels, and "
        "{radius} is the largest in data units; {root}. The choice of the best strike is ours "
        "alone.",
        many=MANY,
        s=s_[i],
        radius=radius,
        root=ROOT,
    ),
    claim=say(
        "For every positive strike{call:display}(a point at the centre counts what one exceeds "
        "the strike by). If no point is at the centre, the best strike solves {best}, and there"
        "{best_call:display}Moreover{closed:display}for {start}; it is false in general below. "
        "So {small} from {enough} on, for every level between that at infinite noise and one.",
        call=CALL,
        best=BEST,
        best_call=BEST_CALL,
        closed=CLOSED,
        start=FROM,
        small=SMALL,
        enough=ENOUGH,
    ),
    steps=(
        Step(
            r"With $y = a + \sigma Z$ and $v = (x_i - a)/\sigma$, the ratio $e_i$ of the densities "
            "around $x_i$ and around the centre $a$ has, coordinate by coordinate, the logarithm",
            equal(
                z_k**2 / 2 - (sigma * z_k - sigma * v_k) ** 2 / (2 * sigma**2),
                z_k * v_k - v_k**2 / 2,
            ),
            Identity(),
        ),
        Step(
            r"So $N W_\sigma$ is the mean of the largest $e_i$, of which the logarithm is normal "
            "with a variance of $s_i$ squared; and a maximum is at most $K$ plus all the excesses "
            "over $K$.",
            CALL,
            Simulated(_strikes),
        ),
        Step(
            "The excess is the price of a call option: with $b$ the value of a standard normal "
            "$g$ at which $e_i = K$,",
            equal(
                sp.Integral((sp.exp(s * g - s**2 / 2) - K) * f(g), (g, b, sp.oo)),
                Q(b - s) - K * Q(b),
            ),
            Identity(prepare=_in_erf),
        ),
        Step(
            "and this is that value.",
            equal(sp.Subs(sp.exp(s * b - s**2 / 2), b, pays(s)), K),
            Identity(),
        ),
        Step(
            "One price changes with $K$ at this rate,",
            equal(sp.Derivative(price(s), K), -Q(pays(s))),
            Identity(prepare=written_out),
        ),
        Step(
            "which rises, so that the bound is convex in $K$",
            sp.Gt(sp.Derivative(-Q(pays(s)), K), 0),
            Sign(),
        ),
        Step(
            "and least where its derivative vanishes, that is, where as many options are expected "
            "to pay as there are maxima:",
            BEST,
            Simulated(_best_strikes),
        ),
        Step(
            "There only the first half of the prices is left:",
            BEST_CALL,
            Simulated(_best_strikes),
        ),
        Step(
            r"For two points and the centre in their middle the best strike is $e^{-s^2/2}$, and "
            r"the bound is the exact value, $2F(d_{12}/2\sigma)$ with $s$ half of $d_{12}/\sigma$.",
            equal(sp.Subs(K + 2 * price(s), K, sp.exp(-(s**2) / 2)), 2 * F(s)),
            Identity(prepare=_in_erf),
        ),
        Step(
            "For the closed form, the moments of $e_i$:",
            equal(
                sp.Integral(sp.exp(q * (s * g - s**2 / 2)) * f(g), (g, -sp.oo, sp.oo)),
                sp.exp((q**2 - q) * s**2 / 2),
            ),
            Identity(),
        ),
        Step(
            "From $q = 1$ on the maximum is at most the $q$-th root of the sum of $q$-th powers, "
            "and the root goes outside the mean.",
            None,
            Words("Jensen's inequality"),
        ),
        Step(
            "With the largest $s_i$ for all of them, the logarithm of that bound is",
            equal(
                sp.Subs(sp.log(N) / q + (q**2 - q) * s**2 / (2 * q), sp.log(N), b_N**2 / 2),
                exponent,
            ),
            Identity(prepare=lambda e: sp.expand(e.doit())),
        ),
        Step("It is convex in $q$,", sp.Gt(sp.Derivative(exponent, (q, 2)), 0), Sign()),
        Step(
            r"its derivative vanishes at $q = b_N/s$, which is at least one exactly in the range "
            "of the claim,",
            equal(sp.Subs(sp.Derivative(exponent, q), q, b_N / s), 0),
            Identity(),
        ),
        Step(
            "and there, less $\\log N$, it is a complete square: the closed form,",
            equal(
                sp.exp(sp.Subs(exponent - b_N**2 / 2, (q, s), (b_N / s, radius / sigma)).doit()),
                CLOSED.rhs,
            ),
            Identity(prepare=lambda e: sp.simplify(e.subs(b_N, s * radius / sigma * q))),
        ),
        Step(
            "seen in its range, and at very large noise, where it is attained.",
            CLOSED,
            Simulated(_in_range),
        ),
        Step(
            "In its range it never rises,",
            at_most(sp.Derivative(CLOSED.rhs, sigma), 0),
            Sign(where={sigma: radius * (1 + more) / b_N}),
        ),
        Step(
            "and at this noise level, which lies in the range, it is exactly the level asked for;",
            equal(sp.Subs(CLOSED.rhs, sigma, ENOUGH.rhs), SMALL.rhs),
            Identity(),
        ),
        Step("seen there.", SMALL, Simulated(_ends, loose="so is the closed form")),
    ),
    controls=(
        Step(
            "The closed form outside its range, simulated.",
            CLOSED,
            Simulated(_out_of_range),
        ),
        Step(
            "A strike that pays a tenth too late.",
            equal(sp.Derivative(price(s), K), -Q(sp.Rational(11, 10) * pays(s))),
            Identity(prepare=written_out),
        ),
    ),
    code=(
        Computed(
            "weight_bounds().upper_call",
            BEST_CALL,
            lambda v: call_bound(np.asarray(v[s_])[None])[0] * v[N],
            lambda rng: (world := _ball_in_range(rng)) | {K: _best(world[s_])},
            tolerance=1e-7,
        ),
        Computed(
            "weight_bounds().upper_closed",
            at_most(W, CLOSED.rhs.xreplace({b_N: ROOT.rhs})),
            lambda v: _bounds_of(v).upper_closed[0],
            _ball_in_range,
        ),
        Computed("weight_bounds().upper_closed", FROM.rhs, _first_finite, _ball, 1e-6, points=4),
        NEEDS_TWO,
    ),
)

WIDTH = Statement(
    label="theorem-4-2-b-width",
    number="Theorem 4.2",
    part="B (IV)",
    kind="theorem",
    title="Bounds from both sides by the Gaussian width",
    whose="ours",
    assumptions=say(
        "{many} points; {width} is the mean of the largest of their products with standard "
        "noise, the Gaussian width; {radius} is their largest distance from any fixed centre.",
        many=MANY,
        width=width,
        radius=radius,
    ),
    claim=say(
        "At every noise level{below:display}{above:display}so that {slope}. Also {farthest}, with "
        "equality for two points. A simulated width {found}, the mean of half the range of the "
        "products over {draws} draws, has{sure:display}with {error}.",
        below=NARROW,
        above=WIDE,
        slope=SLOPE,
        farthest=FARTHEST,
        found=FOUND,
        draws=draws,
        sure=SURE,
        error=ERROR,
    ),
    steps=(
        Step(
            r"$N W_\sigma$ is the mean of $e^M$, where $M$ is the largest $\langle Z, x_i - a"
            r"\rangle/\sigma - s_i^2/2$ (as for the call-option bound). Its mean is at least that "
            "without the squares, less half of the largest:",
            NARROW,
            Simulated(lambda: _widths(0.4, 1.0, 2.5, 8.0, 300.0)),
        ),
        Step(
            "From above the squares may be left out altogether.",
            None,
            Words("the bound on exponential moments of a Gaussian supremum by Vitale (1996)"),
        ),
        Step("Seen:", WIDE, Simulated(lambda: _widths(0.4, 1.0, 2.5, 8.0, 300.0))),
        Step(
            r"Both sides agree to first order. Of the lower bound $\sigma^2$ times what is left "
            "has a finite limit,",
            equal(second_order(NARROW.rhs), width**2 / 2 - radius**2 / 2),
            LimitValue(),
        ),
        Step(
            "and of the upper bound, too.",
            equal(second_order(WIDE.rhs), width**2 / 2),
            LimitValue(),
        ),
        Step("Seen at very large noise:", SLOPE, Simulated(lambda: _widths(1e5))),
        Step(
            "For two points the width is that of a half-line,",
            equal(sp.Integral(d_12 * g * f(g), (g, 0, sp.oo)), d_12 / sp.sqrt(2 * sp.pi)),
            Identity(),
        ),
        Step(
            "and the maximum over all points is at least that over the farthest two, each of "
            "which is the nearer one on its side of the middle.",
            equal(
                2 * sp.Integral(density, (y, -sp.oo, diameter / 2)),
                FARTHEST.rhs,
            ),
            Identity(prepare=written_out),
        ),
        Step("Seen, and attained by two points:", FARTHEST, Simulated(weighed)),
        Step(
            "Half the range of the products changes at most half the diameter times as much as "
            "the noise does, and so its mean over the draws by their root less.",
            None,
            Words("the concentration of Lipschitz functions of Gaussian noise, on both sides"),
        ),
        Step(
            "Both sides together have the risk",
            equal(
                2 * sp.Subs(sp.exp(-2 * draws * OFF**2 / diameter**2), OFF, ERROR.rhs), 1 - SURE.rhs
            ),
            Identity(),
        ),
        Step("Seen:", SURE, Simulated(_estimates, loose="so is concentration")),
    ),
    controls=(
        Step(
            "The radius left out of the second order.",
            equal(second_order(NARROW.rhs), width**2 / 2),
            LimitValue(),
        ),
        Step(
            "Nine tenths of the width, simulated.",
            at_most(N * W, sp.exp(sp.Rational(9, 10) * width / sigma)),
            Simulated(lambda: _widths(300.0, 1e5)),
        ),
    ),
    code=(
        Computed(
            "weight_bounds().lower_width",
            at_least(W, NARROW.rhs / N),
            lambda v: _bounds_of(v).lower_width[0],
            lambda rng: _with_width(rng, -1),
        ),
        Computed(
            "weight_bounds().upper_width",
            sp.Min(1, WIDE.rhs / N),
            lambda v: _bounds_of(v).upper_width[0],
            lambda rng: _with_width(rng, 1),
        ),
        Computed(
            "weight_bounds().width_error",
            ERROR,
            lambda v: weight_bounds(v[POINTS], [v[sigma]], draws=v[draws]).width_error,
            lambda rng: {
                **random_cloud(rng),
                draws: int(rng.integers(1, 50)),
                eta: 1 - CONFIDENCE,
            },
        ),
        NEEDS_TWO,
    ),
)

STATEMENTS = (LARGE, WIDTH)
