"""Theorem 4.2 A: when the posterior weight of a training point is decided with high probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy as sp

from geomem.theorems.normal import Q, written_out
from geomem.theorems.statement import (
    Enclosed,
    Identity,
    LimitValue,
    Sign,
    Simulated,
    Statement,
    Step,
    Words,
)

d, sigma, t, u, v = sp.symbols("d sigma t u v", positive=True)
d_ij = sp.Symbol("d_{ij}", positive=True)
delta, many = sp.symbols("delta N", positive=True)
z_k, v_k = sp.symbols("Z_k v_k", real=True)
w_i, w_j, g_j = sp.Symbol("w_i"), sp.Symbol("w_j"), sp.Symbol("G_j")
tail = sp.erfc(u / sp.sqrt(2)) / 2
gap = sp.exp(-(u**2) / 2) / 2 - Q(u)
T = sp.sqrt(2 * sp.log((many - 1) / (2 * delta)))
tails = (many - 1) * sp.exp(-(t**2) / 2) / 2
term = sp.exp(-(d**2) * u**2 / 2 - t * d * u)
exponent = -(d**2) * u**2 / 2 + t * d * u
upper_sum = sp.Symbol(
    r"\textstyle\sum_{j\ne i} e^{-d_{ij}^2/(2\sigma^2) + t\,d_{ij}/\sigma}", positive=True
)
lower_sum = sp.Symbol(
    r"\textstyle\sum_{j\ne i} e^{-d_{ij}^2/(2\sigma^2) - t\,d_{ij}/\sigma}", positive=True
)
Pr = sp.Function(r"\mathbb{P}")


def _misses() -> Sequence[tuple[float, float, float, str]]:
    """How often the weight of x_i leaves either bound, on small sets where it is not rare."""
    rng = np.random.default_rng(0)
    clouds = [
        np.array([[0.0], [1.0]]),
        np.array([[0.0], [-1.0], [1.0]]),  # x_i the midpoint: the union bound is exact
        rng.normal(size=(12, 2)),
        np.vstack([np.zeros((2, 5)), rng.normal(size=(20, 5))]),  # x_i twice
    ]
    cases, draws = [], 20_000
    for points in clouds:
        n, steps = len(points), points - points[0]
        squared = (steps**2).sum(1)
        for level in (0.05, 0.3):
            bound = np.sqrt(2 * np.log((n - 1) / (2 * level)))
            for noise in (0.3, 1.0, 3.0):
                tilt = rng.standard_normal((draws, points.shape[1])) @ steps.T / noise
                odds = np.exp(-squared / (2 * noise**2) + tilt)[:, 1:].sum(1)
                for sign, worse in ((1, np.greater), (-1, np.less)):
                    shift = sign * bound * np.sqrt(squared) / noise
                    limit = np.exp(-squared / (2 * noise**2) + shift)[1:].sum()
                    rate = float(worse(odds, limit * (1 + sign * 1e-9)).mean())
                    error = float(np.sqrt(max(rate, 1 / draws) / draws))
                    cases.append((rate, error, level, "<="))
    return cases


def _pair_misses(share: float) -> Sequence[tuple[float, float, float, str]]:
    """Two points: P(G > t) against ``share`` of the tail bound exp(-t^2 / 2) at t = 0.5."""
    g = np.random.default_rng(0).standard_normal(100_000)
    rate = float((g > 0.5).mean())
    return [(rate, float(np.sqrt(rate / len(g))), share * np.exp(-0.125), "<=")]


TAIL = (
    Step(
        "For the normal tail $Q(u) = \\tfrac12\\operatorname{erfc}(u/\\sqrt2)$ look at "
        "$k(u) = \\tfrac12 e^{-u^2/2} - Q(u)$: its derivative is elementary.",
        sp.Eq(sp.Derivative(gap, u), sp.exp(-(u**2) / 2) * (1 / sp.sqrt(2 * sp.pi) - u / 2)),
        Identity(),
    ),
    Step(
        "It starts at 0,",
        sp.Eq(sp.Rational(1, 2) - Q(0), 0, evaluate=False),
        Identity(prepare=written_out),
    ),
    Step(
        "up to $u = \\sqrt{2/\\pi}$ the last factor is positive, so that $k$ rises,",
        sp.Ge(1 / sp.sqrt(2 * sp.pi) - u / 2, 0),
        Sign(where={u: sp.sqrt(2 / sp.pi) * v / (1 + v)}),
    ),
    Step(
        "beyond it is negative, so $k$ falls,",
        sp.Le(1 / sp.sqrt(2 * sp.pi) - u / 2, 0),
        Sign(where={u: sp.sqrt(2 / sp.pi) + v}),
    ),
    Step(
        "and it falls to 0. A function that rises from 0 and then falls to 0 is not negative: "
        "$Q(u) \\le \\tfrac12 e^{-u^2/2}$ for every $u \\ge 0$.",
        sp.Eq(sp.Limit(written_out(gap), u, sp.oo, "-"), 0),
        LimitValue(),
    ),
)

WEIGHTS = Step(
    "With $x = x_i + \\sigma Z$ and $v = x_j - x_i$, the squared distances to $x_i$ and $x_j$ "
    "differ, coordinate by coordinate, by",
    sp.Eq(
        ((sigma * z_k) ** 2 - (sigma * z_k - v_k) ** 2) / (2 * sigma**2),
        -(v_k**2) / (2 * sigma**2) + z_k * v_k / sigma,
    ),
    Identity(),
)

THEOREM_A = Statement(
    label="theorem-4-2-a",
    number="Theorem 4.2",
    kind="theorem",
    title="Concentration of the weight with high probability",
    whose="reconstruction",
    assumptions=(
        "$x_i$ is one of $N \\ge 2$ training points, $X = x_i + \\sigma Z$ with "
        "$Z \\sim N(0, I_d)$, $d_{ij} = \\|x_i - x_j\\|$, $0 < \\delta < \\tfrac12$ and "
        "$t = \\sqrt{2 \\log\\frac{N-1}{2\\delta}}$. Points may coincide."
    ),
    claim=(
        "Each of the two inequalities\n\n"
        "$$\n"
        "w_i(X, \\sigma) \\ge \\Bigl(1 + \\sum_{j \\ne i} e^{-d_{ij}^2/(2\\sigma^2) + "
        "t d_{ij}/\\sigma}\\Bigr)^{-1},\n"
        "$$\n\n"
        "$$\n"
        "w_i(X, \\sigma) \\le \\Bigl(1 + \\sum_{j \\ne i} e^{-d_{ij}^2/(2\\sigma^2) - "
        "t d_{ij}/\\sigma}\\Bigr)^{-1}\n"
        "$$\n\n"
        "holds with probability at least $1 - \\delta$, both together with probability at least "
        "$1 - 2\\delta$. For a level in $(1/N, 1)$ and distinct points the second bound reaches "
        "it at one $\\sigma$ only and stays below it for larger noise; for a level above "
        "$\\tfrac12$ (and $x_i$ not repeated) the first bound is at least that level "
        "exactly for the $\\sigma$ up to some "
        "$\\sigma_{\\mathrm{lo}} < \\min_{j \\ne i} d_{ij}/(2t)$."
    ),
    steps=(
        WEIGHTS,
        Step(
            "Summed over the coordinates, with $G_j = \\langle Z, x_j - x_i\\rangle / d_{ij}$, "
            "which is $N(0, 1)$ (and with the ratio exactly 1 when $d_{ij} = 0$), the log-odds are",
            sp.Eq(
                sp.log(w_j / w_i), -(d_ij**2) / (2 * sigma**2) + d_ij * g_j / sigma, evaluate=False
            ),
            Words(),
        ),
        *TAIL,
        Step(
            "Our $t$ is chosen so that $N - 1$ such tails add up to $\\delta$.",
            sp.Eq(sp.Subs(tails, t, T), delta),
            Identity(),
        ),
        Step(
            "By the union bound no $G_j$ exceeds $t$, but for an event of probability "
            "$\\delta$; by "
            "symmetry, in another such event only does one fall below $-t$.",
            sp.Le(Pr(sp.Symbol(r"\max_{j \ne i} G_j > t")), delta, evaluate=False),
            Words(),
        ),
        Step(
            "Since $w_i = 1/(1 + \\sum_{j \\ne i} w_j/w_i)$ falls in every ratio, "
            "putting $G_j = t$ "
            "or $G_j = -t$ everywhere gives the two bounds; the simulation counts how often they "
            "are broken, on four small sets.",
            sp.Ge(Pr(sp.Ge(w_i, 1 / (1 + upper_sum), evaluate=False)), 1 - delta, evaluate=False),
            Simulated(_misses),
        ),
        Step(
            "The second bound can be solved for $\\sigma$: with $u = 1/\\sigma$ every term of its "
            "sum falls strictly, so the bound rises strictly in $u$, from $1/N$ to 1.",
            sp.Lt(sp.Derivative(term, u), 0),
            Sign(),
        ),
        Step(
            "The first cannot be solved without care: the exponent of a term has the derivative",
            sp.Eq(sp.Derivative(exponent, u), d * (t - d * u)),
            Identity(),
        ),
        Step(
            "which changes sign, and the bound can even fall below $1/N$: with distances 1, 3 and "
            "9, $t = 2$ and $u = \\tfrac14$ it is less than a third of that.",
            sp.Lt(
                1 / (1 + sum(sp.exp(exponent.subs({d: k, t: 2})) for k in (1, 3, 9))),
                sp.Rational(1, 12),
            ),
            Enclosed({u: (sp.Rational(1, 4), sp.Rational(1, 4))}),
        ),
        Step(
            "But a level above $\\tfrac12$ asks for a sum below 1, hence for every term below 1, "
            "hence for $u > 2t/d_{ij}$ for every $j$, and there every term falls: the solution is "
            "unique, and below $\\min_{j \\ne i} d_{ij}/(2t)$.",
            sp.Lt(sp.Derivative(exponent, u), 0),
            Sign(where={u: 2 * t / d + v}),
        ),
    ),
    controls=(
        Step(
            "Half of the tail bound is too little.",
            sp.Le(tail, sp.exp(-(u**2) / 2) / 4),
            Enclosed({u: (0, sp.Rational(1, 4))}),
        ),
        Step(
            "A product in place of the union bound: false for a midpoint between two others, where "
            "$\\mathbb{P}(\\max(G, -G) \\le t) = 2F(t) - 1 < F(t)^2$.",
            sp.Ge(sp.erf(t / sp.sqrt(2)), (1 + sp.erf(t / sp.sqrt(2))) ** 2 / 4),
            Enclosed({t: (0, 3)}),
        ),
        Step(
            "Without the factor 2 the tails add up to something else.",
            sp.Eq(sp.Subs(tails, t, sp.sqrt(2 * sp.log((many - 1) / delta))), delta),
            Identity(),
        ),
        Step(
            "A quarter in place of the half, simulated.",
            sp.Le(Pr(sp.Gt(sp.Symbol("G"), t)), sp.exp(-(t**2) / 2) / 4),
            Simulated(lambda: _pair_misses(0.25)),
        ),
    ),
)

STATEMENTS = (THEOREM_A,)
