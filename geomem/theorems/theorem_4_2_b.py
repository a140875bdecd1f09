"""Theorem 4.2 B: the expected largest weight W_sigma, exactly and at small noise."""

from __future__ import annotations

import numpy as np
import sympy as sp
from scipy.special import ndtr

from geomem.theorems.checks import Identity, Sign, Simulated, Words
from geomem.theorems.clouds import LEVELS, Cases, clouds, compared, line_weight, measured_weight
from geomem.theorems.normal import F, Q, written_out
from geomem.theorems.statement import Statement, Step

sigma, q, many = sp.symbols("sigma gamma N", positive=True)
eps, least = sp.symbols("varepsilon delta", positive=True)
y = sp.Symbol("y", real=True)
z_k, v_k, u_k = sp.symbols("Z_k v_k u_k", real=True)
W, NW = sp.Symbol(r"W_\sigma", positive=True), sp.Symbol(r"N\,W_\sigma", positive=True)
Pr = sp.Function(r"\mathbb{P}")
cell = sp.Symbol(r"x_{i} + \sigma Z \in V_{i}")
density = sp.exp(-(y**2) / (2 * sigma**2)) / (sigma * sp.sqrt(2 * sp.pi))
lost = (many - 1) * sp.exp(-(least**2) / (8 * sigma**2)) / 2
union = sp.Symbol(r"\textstyle\sum_{j \ne i} Q(d_{ij}/2\sigma)", nonnegative=True)

DISTANCES = (
    "$D$ has $N \\ge 2$ points, $d_{ij} = \\|x_i - x_j\\|$, $\\delta_i = \\min_{j \\ne i} d_{ij}$, "
    "$\\delta = \\min_i \\delta_i$"
)


def _lines(factor: float) -> Cases:
    """Sets on a line: the simulated W_sigma against the exact sum, with gaps scaled."""
    cases = []
    for points in clouds()[:2]:
        for sigma_ in LEVELS:
            estimate, error = measured_weight(points, float(sigma_))
            exact = line_weight(points * factor, float(sigma_))
            cases.append((estimate, max(error, 1e-9), exact, "="))
    return cases


def _half_errors() -> Cases:
    """Two points 2 apart at sigma = 1, of which only Q(2) would be lost, not Q(1)."""
    estimate, error = measured_weight(np.array([[0.0], [2.0]]), 1.0)
    return [(estimate, error, float(ndtr(2.0)), ">=")]


IDENTITY = Statement(
    label="theorem-4-2-b-identity",
    number="Theorem 4.2",
    kind="theorem",
    title="The largest weight as a probability",
    whose="reconstruction",
    assumptions=(
        "$D$ has $N \\ge 2$ distinct points with Voronoi cells $V_i$ (the points nearer to $x_i$ "
        "than to any other); $\\varphi_\\sigma$ is the density of $\\sigma Z$. The first equality "
        "holds for repeated points too. $F$ is the standard normal distribution function."
    ),
    claim=(
        "$$\n"
        "W_\\sigma(D) = \\frac1N \\int \\max_i \\varphi_\\sigma(y - x_i)\\,dy = \\frac1N \\sum_i "
        "\\mathbb{P}(x_i + \\sigma Z \\in V_i).\n"
        "$$\n\n"
        "Every term of the sum is non-increasing in $\\sigma$; $W_\\sigma \\to 1$ as "
        "$\\sigma \\to 0$ and $W_\\sigma \\to 1/N$ as $\\sigma \\to \\infty$. On a line, with the "
        "gaps $\\gamma_1, \\dots, \\gamma_{N-1}$ between neighbours, "
        "$N W_\\sigma = 1 + \\sum_k (2F(\\gamma_k/2\\sigma) - 1)$."
    ),
    steps=(
        Step(
            "The noisy point has the density $\\frac1N \\sum_j \\varphi_\\sigma(y - x_j)$, and its "
            "largest weight is $\\max_i \\varphi_\\sigma(y - x_i) / \\sum_j \\varphi_\\sigma(y - "
            "x_j)$: in the product the sum cancels.",
            sp.Eq(
                W,
                sp.Symbol(r"\frac{1}{N} \int \max_i \varphi_\sigma(y - x_i)\,dy"),
                evaluate=False,
            ),
            Words(),
        ),
        Step(
            "Split the integral by cells: for distinct points ties have measure 0, and in $V_i$ "
            "the maximum is the density around $x_i$.",
            sp.Eq(
                W,
                sp.Symbol(r"\frac1N \sum_i \mathbb{P}(x_i + \sigma Z \in V_i)"),
                evaluate=False,
            ),
            Words(),
        ),
        Step(
            "With $v = y - x_i$ and $u = x_j - x_i$, the point $y$ is nearer to $x_i$ when "
            "$\\langle v, u\\rangle \\le \\|u\\|^2/2$: coordinate by coordinate,",
            sp.Eq((v_k - u_k) ** 2 - v_k**2, 2 * (u_k**2 / 2 - v_k * u_k)),
            Identity(),
        ),
        Step(
            "So $V_i - x_i$ is an intersection of half-spaces that contain 0: convex, and star-"
            "shaped about 0. Hence $(V_i - x_i)/\\sigma$ shrinks as $\\sigma$ grows, and so does "
            "the probability that $Z$ lies in it.",
            sp.Le(
                sp.Symbol(r"\mathbb{P}(x_i + \sigma' Z \in V_i)"),
                sp.Symbol(r"\mathbb{P}(x_i + \sigma Z \in V_i)\quad(\sigma' > \sigma)"),
                evaluate=False,
            ),
            Words(),
        ),
        Step(
            "The cell contains the ball of radius $\\delta_i/2$, so the probability tends to 1 as "
            "$\\sigma \\to 0$ (the large-noise end is the theorem with the width $w$ below).",
            sp.Ge(Pr(cell), sp.Symbol(r"\mathbb{P}(\|Z\| < \delta_i/2\sigma)"), evaluate=False),
            Words(),
        ),
        Step(
            "On a line a cell ends at the midpoints to its neighbours; each half of a gap "
            "$\\gamma$ has the probability",
            sp.Eq(sp.Integral(density, (y, 0, q / 2)), F(q / (2 * sigma)) - sp.Rational(1, 2)),
            Identity(prepare=written_out),
        ),
        Step(
            "Every gap has two halves and the two outer half-lines have $\\tfrac12$ each, which "
            "adds up to the formula; here it meets the simulated mean of the largest weight.",
            sp.Eq(
                NW,
                1 + sp.Symbol(r"\textstyle\sum_{k} \bigl(2F(\gamma_k/2\sigma) - 1\bigr)"),
                evaluate=False,
            ),
            Simulated(lambda: _lines(1.0)),
        ),
    ),
    controls=(
        Step(
            "The whole gap in place of half of it.",
            sp.Eq(sp.Integral(density, (y, 0, q / 2)), F(q / sigma) - sp.Rational(1, 2)),
            Identity(prepare=written_out),
        ),
        Step(
            "Gaps 10% too long, simulated.",
            sp.Eq(NW, sp.Symbol(r"1 + \sum_{k} (2F(1.1\gamma_k/2\sigma) - 1)"), evaluate=False),
            Simulated(lambda: _lines(1.1)),
        ),
    ),
)

SMALL = Statement(
    label="theorem-4-2-b-small",
    number="Theorem 4.2",
    kind="theorem",
    title="Small noise, from both sides",
    whose="reconstruction",
    assumptions=(
        DISTANCES + "; $Q$ is the standard normal tail. For the last line $0 < 2\\varepsilon < "
        "N - 1$."
    ),
    claim=(
        "$$\n"
        "\\frac1N \\sum_i \\Bigl(1 - \\sum_{j \\ne i} Q\\bigl(\\tfrac{d_{ij}}{2\\sigma}\\bigr)"
        "\\Bigr)_+ \\le W_\\sigma(D) \\le 1 - \\frac1N \\sum_i "
        "Q\\bigl(\\tfrac{\\delta_i}{2\\sigma}\\bigr),\n"
        "$$\n\n"
        "and $W_\\sigma \\ge 1 - \\varepsilon$ for every $\\sigma \\le \\delta / "
        "\\sqrt{8 \\log\\frac{N-1}{2\\varepsilon}}$."
    ),
    steps=(
        Step(
            "With $v = x_j - x_i$ and $G_j = \\langle Z, v\\rangle/d_{ij}$, the noisy point $x_i + "
            "\\sigma Z$ is nearer to $x_j$ than to $x_i$ exactly when $G_j > d_{ij}/2\\sigma$: "
            "coordinate by coordinate,",
            sp.Eq(
                (sigma * z_k - v_k) ** 2 - (sigma * z_k) ** 2,
                2 * sigma * (v_k**2 / (2 * sigma) - z_k * v_k),
            ),
            Identity(),
        ),
        Step(
            "That has the probability $Q(d_{ij}/2\\sigma)$. The union bound over the other points "
            "leaves $x_i$ its cell with at least what remains, and a probability is at least 0: "
            "clip for each point, before averaging.",
            sp.Ge(Pr(cell), sp.Max(0, 1 - union, evaluate=False), evaluate=False),
            Words(),
        ),
        Step(
            "Keeping one error alone, that of the nearest neighbour, gives the other side.",
            sp.Le(Pr(cell), 1 - Q(sp.Symbol("delta_i") / (2 * sigma)), evaluate=False),
            Words(),
        ),
        Step(
            "Average over $i$. The lower bound, simulated on sets that include repeated points "
            "(both sides depend continuously on the points):",
            sp.Ge(
                W,
                sp.Symbol(r"\frac{1}{N} \sum_i \bigl(1 - \sum_{j \ne i} Q(d_{ij}/2\sigma)\bigr)_+"),
                evaluate=False,
            ),
            Simulated(lambda: compared(lambda x: x.lower_sum, ">=")),
        ),
        Step(
            "The upper bound, likewise:",
            sp.Le(W, sp.Symbol(r"1 - \frac{1}{N} \sum_i Q(\delta_i/2\sigma)"), evaluate=False),
            Simulated(lambda: compared(lambda x: x.upper_nearest, "<=")),
        ),
        Step(
            "Now $Q(u) \\le \\tfrac12 e^{-u^2/2}$ (proved in part A) and $d_{ij} \\ge \\delta$.",
            sp.Ge(W, 1 - lost, evaluate=False),
            Words(),
        ),
        Step(
            "What is lost grows with $\\sigma$,",
            sp.Gt(sp.Derivative(sp.exp(-(least**2) / (8 * sigma**2)) / 2, sigma), 0),
            Sign(),
        ),
        Step(
            "and at $\\sigma = \\delta/\\sqrt{8 \\log((N-1)/2\\varepsilon)}$ it is exactly",
            sp.Eq(sp.Subs(lost, sigma, least / sp.sqrt(8 * sp.log((many - 1) / (2 * eps)))), eps),
            Identity(),
        ),
    ),
    controls=(
        Step(
            "Errors of $Q(d_{ij}/\\sigma)$, simulated.",
            sp.Ge(
                W,
                sp.Symbol(r"\frac{1}{N} \sum_i (1 - \sum_{j} Q(d_{ij}/\sigma))_+"),
                evaluate=False,
            ),
            Simulated(_half_errors),
        ),
        Step(
            "A threshold with 4 in place of 8.",
            sp.Eq(sp.Subs(lost, sigma, least / sp.sqrt(4 * sp.log((many - 1) / (2 * eps)))), eps),
            Identity(),
        ),
    ),
)


STATEMENTS = (IDENTITY, SMALL)
