"""Ours, beside Theorem 4.2 B: W_sigma depends only on the distances and grows with each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy as sp
from flint import acb, ctx

from geomem.geometry.arrays import Floats
from geomem.geometry.posterior_bounds import orthogonal_weight
from geomem.theorems.checks import Enclosed, Identity, Outcome, Sign, Simulated, Words, enclose
from geomem.theorems.clouds import LEVELS, clouds, measured_weight
Cases = compared = None
from geomem.theorems.normal import F, f
from geomem.theorems.statement import Statement, Step

t, sigma, p, q, r, d, m, k = sp.symbols("t sigma p q r d m k", positive=True)
e_i, e_j = sp.symbols("e_i e_j", positive=True)
delta_i, delta_j, d_ij = sp.symbols("delta_i delta_j d_{ij}", nonnegative=True)
z = sp.Symbol("z", real=True)
NW, W = sp.Symbol(r"N\,W_\sigma", positive=True), sp.Symbol(r"W_\sigma", positive=True)
C_ii, C_jj, C_ij = (sp.Function(f"C_{{{ij}}}")(t) for ij in ("ii", "jj", "ij"))
pair = sp.Symbol("a_{ij}")
norm_p = (e_i**p + e_j**p + r) ** (1 / p)
mixed = (1 - p) * norm_p ** (1 - 2 * p) * (e_i * e_j) ** (p - 1)
one_p = (e_i**p + r) ** (1 / p)
moment = sp.exp((p**2 - p) * C_ii / 2 + (q**2 - q) * C_jj / 2 + p * q * C_ij)
rate = (
    p * (p - 1) * sp.Derivative(C_ii, t) / 2
    + q * (q - 1) * sp.Derivative(C_jj, t) / 2
    + p * q * sp.Derivative(C_ij, t)
)
p_from_1 = 1 + sp.Symbol("q", nonnegative=True)
more, rest = sp.symbols("a b", nonnegative=True)


def simplex(number: sp.Expr, distance: sp.Expr) -> sp.Integral:
    """S_N(k) for N points at distance k."""
    inside = f(z - distance / sp.sqrt(2)) * F(z) ** (number - 1)
    return sp.Integral(inside, (z, -sp.oo, sp.oo))


S_1000_5 = simplex(sp.Integer(1000), sp.Integer(5))


class SimplexIntegral(Enclosed):
    """S_N(k) > a number, N and k read off the formula, by certified integration over [-10, 20].

    The integrand is positive, so what lies outside can only add.
    """

    def run(self, formula: sp.Basic) -> Outcome:
        number, distance = self.read(formula)
        precision, ctx.prec = ctx.prec, self.bits
        try:
            root, shift = acb(2).sqrt(), enclose(distance, {}) / acb(2).sqrt()
            scale = (2 * acb.pi()).sqrt()

            def integrand(x: acb, _: bool) -> acb:
                below = (1 + (x / root).erf()) / 2
                return (-((x - shift) ** 2) / 2).exp() / scale * below ** (number - 1)

            value = acb.integral(integrand, -10, 20).real
            bound = enclose(formula.args[1], {})
            held = bool(value > bound)
            return Outcome(held, f"the integral over [-10, 20] is {value.str(18)}")
        finally:
            ctx.prec = precision

    def read(self, formula: sp.Basic) -> tuple[int, sp.Expr]:
        """N and k; any left side but S_N(k) is refused, and so is any relation but >."""
        left = formula.lhs if isinstance(formula, sp.StrictGreaterThan) else None
        if isinstance(left, sp.Integral):
            others = left.function.as_powers_dict()[F(z)]
            slope = sp.diff(sp.log(left.function / F(z) ** others), z).subs(z, 0)
            distance = sp.simplify(sp.sqrt(2) * slope)
            if others.is_Integer and distance.is_number and left == simplex(others + 1, distance):
                return int(others) + 1, distance
        raise ValueError(f"expected S_N(k) > a number, got {formula}.")


def _differences(pairs: Sequence[tuple[Floats, Floats]]) -> Cases:
    """W_sigma of the first set of each pair minus that of the second, against 0."""
    cases = []
    for points, other in pairs:
        for noise in LEVELS:
            mean, error = measured_weight(points, float(noise))
            mean_other, error_other = measured_weight(other, float(noise))
            spread = max(float(np.hypot(error, error_other)), 1e-9)
            cases.append((mean - mean_other, spread, 0.0, "<="))
    return cases


def _stretched() -> Cases:
    """Sets against themselves with each axis stretched, and lifted into three more axes."""
    rng, pairs = np.random.default_rng(2), []
    for points in clouds()[1:]:
        axes = rng.uniform(1, 1.5, size=points.shape[1])
        lifted = np.hstack([points, rng.normal(size=(len(points), 3)) / 2])
        pairs += [(points, points * axes), (points, lifted)]
    return _differences(pairs)


def _shrunk() -> Cases:
    """Sets against themselves with every distance shrunk to 0.9 of it."""
    return _differences([(points, 0.9 * points) for points in clouds()])


def _orthogonal(share: float) -> Cases:
    """The orthogonal bound with h_i = share * delta_i on two points a distance 2 apart."""
    points, cases = np.array([[0.0], [2.0]]), []
    values = orthogonal_weight(np.full(2, 2 * share), LEVELS)
    for noise, value in zip(LEVELS, values, strict=True):
        estimate, error = measured_weight(points, float(noise))
        cases.append((estimate, max(error, 1e-9), float(value), ">="))
    return cases


COMPARISON = Statement(
    label="theorem-4-2-comparison",
    number="Theorem 4.2",
    kind="theorem",
    title="Comparison: the weight grows with every distance",
    whose="ours",
    assumptions=(
        "$D = \\{x_i\\}$ and $D' = \\{x'_i\\}$ have $N \\ge 2$ points each, in any two dimensions; "
        "$d_{ij}$ are the distances in $D$, $\\delta_i$ that from $x_i$ to its nearest neighbour, "
        "$\\delta = \\min_i \\delta_i$; $f$ and $F$ are the standard normal density and "
        "distribution function."
    ),
    claim=(
        "If $\\|x_i - x_j\\| \\le \\|x'_i - x'_j\\|$ for all $i, j$, then $W_\\sigma(D) \\le "
        "W_\\sigma(D')$ for every $\\sigma > 0$. Hence, with\n\n"
        "$$\n"
        "S_N(k) = \\int f(z - k/\\sqrt2)\\, F(z)^{N-1}\\,dz,\n"
        "$$\n\n"
        "$$\n"
        "S_N(\\delta/\\sigma) \\le "
        "W_\\sigma(D) \\le S_N(\\operatorname{diam}(D)/\\sigma),\n"
        "$$\n\n"
        "with equality for equidistant points; and, with independent $G_i \\sim N(0, 1)$,\n\n"
        "$$\n"
        "N W_\\sigma(D) \\ge \\mathbb{E} \\max_i e^{h_i G_i/\\sigma - h_i^2/(2\\sigma^2)}\n"
        "$$\n\n"
        "whenever $h_i^2 + h_j^2 \\le d_{ij}^2$ for all $i \\ne j$, of which "
        "$h_i = \\delta_i/\\sqrt2$ is always allowed."
    ),
    steps=(
        Step(
            "By the change of measure of part B, $N W_\\sigma = \\mathbb{E}\\max_i e_i$ "
            "with $e_i = "
            "e^{X_i - C_{ii}/2}$ and $X$ centred Gaussian with covariance $C_{ij} = "
            "\\langle x_i - a,"
            " x_j - a\\rangle/\\sigma^2$. A change of $a$ is a change of measure, so only the "
            "$D_{ij}$ matter:",
            sp.Eq(
                sp.Symbol("D_{ij}"),
                sp.Symbol("C_{ii}") + sp.Symbol("C_{jj}") - 2 * sp.Symbol("C_{ij}"),
                evaluate=False,
            ),
            Words(),
        ),
        Step(
            "Go from $C$ to $C'$ along $C(t) = (1-t)C + tC'$ (plus a small multiple of "
            "the identity, "
            "which moves all $D_{ij}$ alike, where it is singular): then every $D_{ij}$ grows.",
            sp.Ge(sp.Derivative(sp.Function("D_{ij}")(t), t), 0, evaluate=False),
            Words(),
        ),
        Step(
            "Gaussian interpolation: $\\frac{d}{dt}\\mathbb{E}f(e) = \\frac12 \\sum_{ij} "
            "\\dot C_{ij}\\,\\mathbb{E}[e_i e_j f_{ij}]$; the $-C_{ii}/2$ in $e_i$ "
            "removes the first-order terms. Checked here for monomials only: for $f = e_i^p "
            "e_j^q$, whose expectation is the exponential, it reads",
            sp.Eq(sp.Derivative(moment, t), rate * moment),
            Identity(),
        ),
        Step(
            "For every smooth $f$ that, with its first two derivatives, grows at most like powers "
            "of the $e_i$ and $1/e_i$ it is a standard fact (Slepian; Kahane 1986), not checked "
            "here: the density of $X$ solves $\\partial_t g = \\frac12 \\sum_{ij} \\dot C_{ij} "
            "\\partial_i \\partial_j g$; integrate by parts twice, and use "
            "$\\partial_i \\partial_j f(e) = e_i e_j f_{ij}$, plus $e_i f_i$ when $i = j$.",
            sp.Eq(
                sp.Symbol(r"\frac{d}{dt}\,\mathbb{E} f(e)"),
                sp.Symbol(r"\tfrac12 \textstyle\sum_{ij} \dot C_{ij}\,\mathbb{E}[e_i e_j f_{ij}]"),
                evaluate=False,
            ),
            Words(),
        ),
        Step(
            "Take $f = (\\sum_l e_l^p)^{1/p}$, a smooth maximum. With $r$ for the sum of the other "
            "powers, its mixed derivatives are",
            sp.Eq(sp.Derivative(norm_p, e_i, e_j), mixed),
            Identity(),
        ),
        Step(
            "which are not positive for $p \\ge 1$.",
            sp.Le(mixed, 0),
            Sign(where={p: p_from_1}),
        ),
        Step(
            "The pure ones balance them (Euler: $f$ is homogeneous of degree 1): with $r = "
            "\\sum_{j \\ne i} e_j^p$,",
            sp.Eq(
                e_i * sp.Derivative(one_p, (e_i, 2)),
                (p - 1) * one_p ** (1 - 2 * p) * e_i ** (p - 1) * r,
            ),
            Identity(),
        ),
        Step(
            "that is, $\\sum_j e_j f_{ij} = 0$. So with $a_{ij} = e_i e_j f_{ij}$ every "
            "pair enters "
            "the sum over $\\dot C$ with $a_{ij}$ off the diagonal and $-a_{ij}$ twice on it: only "
            "$\\dot D_{ij}$ is left.",
            sp.Eq(
                2 * sp.Derivative(C_ij, t) * pair
                - sp.Derivative(C_ii, t) * pair
                - sp.Derivative(C_jj, t) * pair,
                -pair * sp.Derivative(C_ii + C_jj - 2 * C_ij, t),
            ),
            Identity(),
        ),
        Step(
            "Hence $\\frac{d}{dt}\\mathbb{E}f = \\frac12\\sum_{i<j} \\dot "
            "D_{ij}\\,\\mathbb{E}[-f_{ij} "
            "e_i e_j] \\ge 0$; let $p \\to \\infty$, dominated by $\\sum_i e_i$, where "
            "$f$ tends to "
            "the maximum. Simulated, on stretched and lifted sets:",
            sp.Le(sp.Symbol(r"W_{\sigma}(D)"), sp.Symbol(r"W_{\sigma}(D')"), evaluate=False),
            Simulated(_stretched),
        ),
        Step(
            "Equidistant points at distance $k\\sigma$ have the covariance "
            "$\\tfrac{k^2}{2}I$ for a "
            "suitable centre: independent $X_i$. Given that $i$ is the largest, $X_i$ is "
            "shifted by "
            "its variance, and the other $N - 1$ must lie below: this is $S_N(k)$.",
            sp.Eq(
                W,
                simplex(sp.Symbol("N"), k),
                evaluate=False,
            ),
            Words(),
        ),
        Step(
            "For $N = 2$ and with $m = k/\\sqrt2$ its derivative in $m$ is, after integrating by "
            "parts, that of $F(m/\\sqrt2) = F(k/2)$: the two-point formula.",
            sp.Eq(sp.Integral(f(z - m) * f(z), (z, -sp.oo, sp.oo)), f(m / sp.sqrt(2)) / sp.sqrt(2)),
            Identity(),
        ),
        Step(
            "For large $N$ the integral is certified numerically: at $N = 1000$ and $k = 5$,",
            sp.Gt(S_1000_5, sp.Rational(611181011147, 10**12), evaluate=False),
            SimplexIntegral({}),
        ),
        Step(
            "All distances lie between $\\delta$ and the diameter: the sandwich. Its lower side, "
            "simulated:",
            sp.Ge(W, sp.Symbol(r"S_{N}(\delta/\sigma)"), evaluate=False),
            Simulated(lambda: compared(lambda x: x.lower_simplex, ">=")),
        ),
        Step(
            "Its upper side, likewise:",
            sp.Le(W, sp.Symbol(r"S_{N}(\operatorname{diam}(D)/\sigma)"), evaluate=False),
            Simulated(lambda: compared(lambda x: x.upper_simplex, "<=")),
        ),
        Step(
            "Orthogonal points of lengths $h_i$ are at the squared distances $h_i^2 + h_j^2$. Both "
            "$\\delta_i$ and $\\delta_j$ are at most $d_{ij}$ (take $\\delta_i \\le \\delta_j \\le "
            "d_{ij}$), so $h_i = \\delta_i/\\sqrt2$ will do:",
            sp.Le((delta_i**2 + delta_j**2) / 2, d_ij**2),
            Sign(where={delta_j: delta_i + more, d_ij: delta_i + more + rest}),
        ),
        Step(
            "and the comparison theorem gives the orthogonal bound, simulated:",
            sp.Ge(
                NW,
                sp.Symbol(r"\mathbb{E} \max_i e^{h_i G_i/\sigma - h_i^2/(2\sigma^2)}"),
                evaluate=False,
            ),
            Simulated(lambda: compared(lambda x: x.lower_orthogonal, ">=")),
        ),
    ),
    controls=(
        Step("For $p < 1$ the sign is the other.", sp.Le(mixed, 0), Sign(where={p: 1 / (1 + q)})),
        Step(
            "Lengths $h_i = \\delta_i$, simulated.",
            sp.Ge(NW, sp.Symbol(r"\mathbb{E} \max_i e^{\delta_i G_i/\sigma - \dots}")),
            Simulated(lambda: _orthogonal(1.0)),
        ),
        Step(
            "Shrunk distances, simulated.",
            sp.Le(sp.Symbol(r"W_{\sigma}(D)"), sp.Symbol(r"W_{\sigma}(0.9 D)"), evaluate=False),
            Simulated(_shrunk),
        ),
        Step(
            "The twelfth decimal one higher.",
            sp.Gt(S_1000_5, sp.Rational(611181011148, 10**12), evaluate=False),
            SimplexIntegral({}),
        ),
    ),
)

STATEMENTS = (COMPARISON,)
