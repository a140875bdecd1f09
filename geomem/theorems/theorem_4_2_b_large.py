"""Theorem 4.2 B at large noise: the call-option bound, its closed form, and the width."""

from __future__ import annotations

import numpy as np
import sympy as sp

from geomem.theorems.checks import Identity, LimitValue, Sign, Simulated, Words
from geomem.theorems.clouds import LEVELS, clouds, measured_weight
Cases = compared = None
from geomem.theorems.normal import F, f, written_out
from geomem.theorems.statement import Statement, Step

sigma, t, s, p, d = sp.symbols("sigma t s p d", positive=True)
v = sp.Symbol("v", nonnegative=True)
radius, log_root, width, eps = sp.symbols(r"R \ell w varepsilon", positive=True)
y, g, b = sp.symbols("y g b", real=True)
z_k, u_k = sp.symbols("Z_k u_k", real=True)
W, NW = sp.Symbol(r"W_\sigma", positive=True), sp.Symbol(r"N\,W_\sigma", positive=True)
density = sp.exp(-(y**2) / (2 * sigma**2)) / (sigma * sp.sqrt(2 * sp.pi))
exp_moment = sp.exp((p**2 - p) * s**2 / 2)
best_p = log_root / s
i, many = sp.symbols("i N", integer=True, positive=True)
at_d1, at_d2 = (F(sp.IndexedBase("d")[line, i]) for line in (1, 2))  # F(d_{1,i}), F(d_{2,i})
closed = sp.exp(-((log_root - radius / sigma) ** 2) / 2)
exponent = log_root**2 / (2 * p) + (p - 1) * s**2 / 2
d2 = -s / 2 - sp.log(t) / s

CENTRE = (
    "$a \\in \\mathbb{R}^d$ is any centre, $R_i = \\|x_i - a\\|$, $R = \\max_i R_i$, "
    "$s_i = R_i/\\sigma$"
)


def second_order(sign: int) -> sp.Limit:
    """sigma^2 times the remainder of one of the two width bounds, as sigma grows."""
    bound = sp.exp(width / sigma + sign * radius**2 / (2 * sigma**2))
    return sp.Limit(sigma**2 * (bound - 1 - width / sigma), sigma, sp.oo, "-")


def _out_of_range() -> Cases:
    """The closed form where sigma < R / sqrt(2 log N): five points on a line, s = 4.43."""
    points = np.linspace(-4.43, 4.43, 5)[:, None]
    estimate, error = measured_weight(points, 1.0)
    return [(estimate, error, float(np.exp(-((np.sqrt(2 * np.log(5)) - 4.43) ** 2) / 2)), "<=")]


def _half_width() -> Cases:
    """Two points a diameter of sigma / 2 apart, with half of their width w."""
    points = np.array([[0.0], [0.5]])
    estimate, error = measured_weight(points, 1.0)
    return [(2 * estimate, 2 * error, float(np.exp(0.25 / np.sqrt(2 * np.pi))), "<=")]


LARGE = Statement(
    label="theorem-4-2-b-large",
    number="Theorem 4.2",
    kind="theorem",
    title="Large noise: the call-option bound and its closed form",
    whose="reconstruction",
    assumptions=(
        CENTRE + ", $\\ell = \\sqrt{2 \\log N}$, $t > 0$, and $F$ is the standard normal "
        "distribution function. The choice of the best $t$ is ours alone. The closed form needs "
        "$\\sigma \\ge R/\\ell$ and is false in general below; $1/N < \\varepsilon \\le 1$."
    ),
    claim=(
        "$$\n"
        "N W_\\sigma \\le t + \\sum_i \\bigl[F(d_{1,i}) - t F(d_{2,i})\\bigr],\n$$\n\n$$\n"
        "d_{2,i} = -\\tfrac{s_i}{2} - \\tfrac{\\log t}{s_i}, \\quad d_{1,i} = d_{2,i} + s_i\n"
        "$$\n\n"
        "(a point with $s_i = 0$ counts $(1-t)_+$). If all $s_i > 0$, the best $t$ solves "
        "$\\sum_i F(d_{2,i}) = 1$, and there $N W_\\sigma \\le \\sum_i F(d_{1,i}) < N$; otherwise "
        "it is where the sum crosses 1 (a point with $s_i = 0$ adds 1 to it for $t < 1$, and 0 "
        "from $t = 1$ on). Moreover\n\n"
        "$$\n"
        "W_\\sigma \\le e^{-\\frac12(\\ell - R/\\sigma)^2} \\quad\\text{for } \\sigma "
        "\\ge R/\\ell,\n$$\n\n$$\n"
        "W_\\sigma \\le \\varepsilon \\quad\\text{for } \\sigma \\ge "
        "\\frac{R}{\\ell - \\sqrt{2\\log(1/\\varepsilon)}}.\n"
        "$$"
    ),
    steps=(
        Step(
            "In the integral of the largest density put $y = a + \\sigma Z$ and $u = (x_i - "
            "a)/\\sigma$: the ratio $e_i$ of the densities around $x_i$ and around $a$ has, "
            "coordinate by coordinate, the logarithm",
            sp.Eq(
                z_k**2 / 2 - (sigma * z_k - sigma * u_k) ** 2 / (2 * sigma**2),
                z_k * u_k - u_k**2 / 2,
            ),
            Identity(),
        ),
        Step(
            "So $N W_\\sigma = \\mathbb{E} \\max_i e_i$ with $e_i = e^{g_i - s_i^2/2}$ and $g_i = "
            "\\langle Z, x_i - a\\rangle/\\sigma \\sim N(0, s_i^2)$; and a maximum is at most $t$ "
            "plus all the excesses over $t$.",
            sp.Le(
                NW,
                t + sp.Symbol(r"\textstyle\sum_i \mathbb{E}\,(e_i - t)_+"),
                evaluate=False,
            ),
            Words(),
        ),
        Step(
            "The excess is the price of a call option: with $b$ the value of a standard normal "
            "$g$ at which $e_i = t$,",
            sp.Eq(
                sp.Integral((sp.exp(s * g - s**2 / 2) - t) * f(g), (g, b, sp.oo)),
                F(s - b) - t * F(-b),
            ),
            Identity(prepare=written_out),
        ),
        Step(
            "and $b = s/2 + (\\log t)/s = -d_2$ is that value.",
            sp.Eq(sp.Subs(sp.exp(s * b - s**2 / 2), b, -d2), t),
            Identity(),
        ),
        Step(
            "The best $t$: one price changes with $t$ at the rate $-\\mathbb{P}(e_i > t)$,",
            sp.Eq(sp.Derivative(F(d2 + s) - t * F(d2), t), -F(d2)),
            Identity(prepare=written_out),
        ),
        Step(
            "which rises with $t$, so that the bound is convex in $t$",
            sp.Gt(sp.Derivative(-F(d2), t), 0),
            Sign(),
        ),
        Step(
            "and least where its derivative $1 - \\sum_i F(d_{2,i})$ changes sign. If all $s_i "
            "> 0$ this derivative is continuous and rises from $1 - N$ to 1, so it vanishes there; "
            "and of the bound, sorted as here, only the first sum is left.",
            sp.Eq(
                t + sp.Sum(at_d1 - t * at_d2, (i, 1, many)),
                sp.Sum(at_d1, (i, 1, many)) + t * (1 - sp.Sum(at_d2, (i, 1, many))),
                evaluate=False,
            ),
            Identity(prepare=sp.expand),
        ),
        Step(
            "Two points and $a$ their midpoint: the best $t$ is $e^{-s^2/2}$, where both "
            "$F(d_{2})$ are $\\tfrac12$ and the bound is $2F(s) = 2F(d/2\\sigma)$, the "
            "exact value.",
            sp.Eq(
                sp.Subs(t + 2 * (F(d2 + s) - t * F(d2)), t, sp.exp(-(s**2) / 2)),
                2 * F(s),
            ),
            Identity(prepare=written_out),
        ),
        Step(
            "The call bound at its best $t$, simulated:",
            sp.Le(NW, sp.Symbol(r"\textstyle\sum_i F(d_{1,i})"), evaluate=False),
            Simulated(lambda: compared(lambda x: x.upper_call, "<=")),
        ),
        Step(
            "For the closed form, the moments of $e_i$:",
            sp.Eq(
                sp.Integral(sp.exp(p * (s * g - s**2 / 2)) * f(g), (g, -sp.oo, sp.oo)), exp_moment
            ),
            Identity(),
        ),
        Step(
            "For $p \\ge 1$ the maximum is at most the $p$-th root of the sum of $p$-th "
            "powers, and "
            "the root goes outside the mean (Jensen); with $s = R/\\sigma$ for the largest "
            "$s_i$ and $\\log N = \\ell^2/2$,",
            sp.Le(sp.log(NW), exponent, evaluate=False),
            Words(),
        ),
        Step(
            "The right side is convex in $p$,",
            sp.Gt(sp.Derivative(exponent, (p, 2)), 0),
            Sign(),
        ),
        Step(
            "its derivative vanishes at $p = \\ell/s$, which is at least 1 exactly when "
            "$\\sigma \\ge R/\\ell$,",
            sp.Eq(sp.Subs(sp.Derivative(exponent, p), p, best_p), 0, evaluate=False),
            Identity(),
        ),
        Step(
            "and there, less $\\log N$, it is a complete square.",
            sp.Eq(
                sp.Subs(exponent - log_root**2 / 2, p, best_p),
                -((log_root - s) ** 2) / 2,
            ),
            Identity(),
        ),
        Step(
            "The closed form in its range, simulated:",
            sp.Le(W, closed, evaluate=False),
            Simulated(lambda: compared(lambda x: x.upper_closed, "<=")),
        ),
        Step(
            "In its range, that is from $\\sigma = R/\\ell$ on, the closed form never rises,",
            sp.Le(sp.Derivative(closed, sigma), 0),
            Sign(where={sigma: radius * (1 + v) / log_root}),
        ),
        Step(
            "and at the $\\sigma$ below it is exactly $\\varepsilon$. As $1/N < \\varepsilon "
            "\\le 1$, the root lies in $[0, \\ell)$, so this $\\sigma$ is at least "
            "$R/\\ell$, in the range; for every larger one $W_\\sigma$ is no greater.",
            sp.Eq(
                sp.Subs(closed, sigma, radius / (log_root - sp.sqrt(2 * sp.log(1 / eps)))),
                eps,
            ),
            Identity(),
        ),
    ),
    controls=(
        Step(
            "The closed form outside its range, simulated.",
            sp.Le(W, closed, evaluate=False),
            Simulated(_out_of_range),
        ),
        Step(
            "The wrong sign between $d_1$ and $d_2$.",
            sp.Eq(sp.Derivative(F(d2 - s) - t * F(d2), t), -F(d2)),
            Identity(prepare=written_out),
        ),
    ),
)

WIDTH = Statement(
    label="theorem-4-2-b-width",
    number="Theorem 4.2",
    kind="theorem",
    title="Large noise, from both sides: the Gaussian width",
    whose="ours",
    assumptions=(
        CENTRE + "; $w = \\mathbb{E} \\max_i \\langle Z, x_i - a\\rangle$ is the Gaussian width, "
        "the same for every $a$; $F$ is the standard normal distribution function."
    ),
    claim=(
        "For every $\\sigma > 0$\n\n"
        "$$\n"
        "e^{w/\\sigma - R^2/(2\\sigma^2)} \\le N W_\\sigma \\le e^{w/\\sigma + R^2/(2\\sigma^2)},\n"
        "$$\n\n"
        "so that $N W_\\sigma = 1 + w/\\sigma + O(\\sigma^{-2})$. Also $N W_\\sigma \\ge "
        "2F(\\operatorname{diam}(D)/2\\sigma)$, with equality for two points."
    ),
    steps=(
        Step(
            "As for the call-option bound, with $M = \\max_i (g_i - s_i^2/2)$,",
            sp.Eq(NW, sp.Symbol(r"\mathbb{E}\,e^{M}"), evaluate=False),
            Words(),
        ),
        Step(
            "Jensen, and $\\mathbb{E} M \\ge w/\\sigma - \\max_i s_i^2/2$:",
            sp.Ge(NW, sp.exp(width / sigma - radius**2 / (2 * sigma**2)), evaluate=False),
            Words(),
        ),
        Step(
            "$M$ is a Lipschitz function of $Z$ with constant $R/\\sigma$, so $\\mathbb{E} e^{M - "
            "\\mathbb{E}M} \\le e^{R^2/(2\\sigma^2)}$ by Gaussian concentration "
            "(Tsirelson, Ibragimov "
            "and Sudakov), and $\\mathbb{E} M \\le w/\\sigma$:",
            sp.Le(NW, sp.exp(width / sigma + radius**2 / (2 * sigma**2)), evaluate=False),
            Words(),
        ),
        Step(
            "The lower bound, simulated ($w$ by simulation too, four standard errors given away):",
            sp.Ge(NW, sp.exp(width / sigma - radius**2 / (2 * sigma**2)), evaluate=False),
            Simulated(lambda: compared(lambda x: x.lower_width, ">=")),
        ),
        Step(
            "The upper bound, likewise:",
            sp.Le(NW, sp.exp(width / sigma + radius**2 / (2 * sigma**2)), evaluate=False),
            Simulated(lambda: compared(lambda x: x.upper_width, "<=")),
        ),
        *(
            Step(
                f"{why}, $\\sigma^2$ times what is left after $1 + w/\\sigma$ has a finite limit:",
                sp.Eq(second_order(sign), width**2 / 2 + sign * radius**2 / 2),
                LimitValue(),
            )
            for why, sign in (
                ("Both sides are $1 + w/\\sigma + O(\\sigma^{-2})$. Of the lower bound", -1),
                ("And of the upper bound", 1),
            )
        ),
        Step(
            "Two points at distance $d$ have $w = \\mathbb{E}(dG)_+$:",
            sp.Eq(sp.Integral(d * g * f(g), (g, 0, sp.oo)), d / sp.sqrt(2 * sp.pi)),
            Identity(),
        ),
        Step(
            "The maximum over all points is at least that over the farthest two, $d = "
            "\\operatorname{diam}(D)$ apart; each of these two is the nearer one on its side of "
            "the middle.",
            sp.Eq(2 * sp.Integral(density, (y, -sp.oo, d / 2)), 2 * F(d / (2 * sigma))),
            Identity(prepare=written_out),
        ),
    ),
    controls=(
        Step(
            "The radius left out of the second order.",
            sp.Eq(second_order(1), width**2 / 2),
            LimitValue(),
        ),
        Step(
            "Half of the width in the exponent, without the radius, simulated.",
            sp.Le(NW, sp.exp(width / (2 * sigma)), evaluate=False),
            Simulated(_half_width),
        ),
    ),
)

STATEMENTS = (LARGE, WIDTH)
