"""Theorem 4.9: the shell-only objective at small noise is underdetermined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.coverage import shell_coverage, shell_mass, shell_radii
from geomem.geometry.shell_objective import disagreement, disjoint_sigma, shell_minimizer
from geomem.theorems.checks import Enclosed, Identity, Sign, Simulated, Words
from geomem.theorems.formulas import at_most, equal, greater, less
from geomem.theorems.statement import Statement, Step

# Simulation: 8 points of R^6, shells of mass 0.7 or so

C, DRAWS = 0.5, 4000
POINTS = np.random.default_rng(0).uniform(-4, 4, (8, 6))
NEW = np.random.default_rng(1).uniform(-4, 4, (500, 6))


def _own_shell(scale: float) -> tuple[Floats, Floats, float, float]:
    """Noisy training points (N, draws, d), which are in their own shell, sigma, largest radius."""
    sigma = scale * disjoint_sigma(POINTS, C)
    noise = np.random.default_rng(2).standard_normal((len(POINTS), DRAWS, POINTS.shape[1]))
    r_in, r_out = shell_radii(POINTS.shape[1], C)
    norms = np.linalg.norm(noise, axis=2)
    return POINTS[:, None] + sigma * noise, (r_in <= norms) & (norms <= r_out), sigma, r_out


def _losses(fill: Callable[[Floats], Floats], scale: float) -> tuple[Floats, Floats]:
    """||m(Y) - X||^2 of a minimizer, and the same on the own shell only; one entry a draw."""
    noisy, own, sigma, _ = _own_shell(scale)
    values = shell_minimizer(POINTS, sigma, fill, C)(noisy.reshape(-1, 6)).reshape(noisy.shape)
    loss = ((values - POINTS[:, None]) ** 2).sum(2)
    return loss.ravel(), (loss * own).ravel()


def _own_loss_vanishes(scale: float) -> list[tuple[float, float, float, str]]:
    """Two minimizers that leave the noise alone, and that answer 0, off the shells."""
    return [
        (float(_losses(fill, scale)[1].mean()), 0.0, 0.0, "=") for fill in (np.copy, np.zeros_like)
    ]


def _gap_is_small(factor: float) -> list[tuple[float, float, float, str]]:
    """The loss off the own shells, against its bound with B the largest error that occurs there.

    The fill answers one far corner, so that the bound is not far from attained.
    """

    def corner(x: Floats) -> Floats:
        return np.full_like(x, 4.0)

    lost = 1 - float(shell_mass(0.0, 6, C))
    radius2 = float(((POINTS - 4.0) ** 2).sum(1).max())
    cases = []
    for scale in (0.3, 0.9):
        loss, own = _losses(corner, scale)
        gap = loss - own
        error = float(gap.std() / np.sqrt(gap.size))
        cases.append((float(gap.mean()), error, factor * lost * radius2, "<="))
    return cases


def _disagreement(factor: float, fills: str) -> list[tuple[float, float, float, str]]:
    """P(m != m') against factor (1 - C_sigma), estimated with other noise.

    ``fills``: "differ" everywhere, or "meet" on half of the space.
    """

    def clipped(x: Floats) -> Floats:
        return np.where(x[:, :1] > 0, x, 0.0)

    cases = []
    for scale in (0.5, 0.9, 2.0, 4.0):
        sigma = scale * disjoint_sigma(POINTS, C)
        one = shell_minimizer(POINTS, sigma, np.copy, C)
        two = shell_minimizer(POINTS, sigma, clipped if fills == "meet" else np.zeros_like, C)
        apart = disagreement(one, two, NEW, [sigma], draws=8, seed=3)
        covered = shell_coverage(NEW, POINTS, [sigma], c=C, draws=8, seed=4, device="cpu")
        # Both see the same points, so the error that counts is that of the noise.
        spread = apart.mean[0] * (1 - apart.mean[0]) + covered.mean[0] * (1 - covered.mean[0])
        error = float(np.sqrt(spread / (8 * len(NEW))))
        sense = "<=" if fills == "meet" else "="
        cases.append((float(apart.mean[0]), error, factor * float(1 - covered.mean[0]), sense))
    return cases


# The informal statement

LOSS = sp.Symbol(r"L^{\mathrm{sh}}_\sigma(m)")
VALUE = sp.Symbol(r"m\big|_{S_i}")
X_I = sp.Symbol("x_i")
TERM = sp.Symbol(
    r"\frac1N\sum_i\mathbb{E}\bigl[\|m(x_i+\sigma Z)-x_i\|^2\,\mathbf{1}\{x_i+\sigma Z\in "
    r"S_i\}\bigr]"
)

INFORMAL = Statement(
    label="theorem-4-9",
    number="Theorem 4.9",
    kind="theorem",
    title="infinitely many minimizers, informally",
    whose="verbatim",
    assumptions=(
        r"As stated; the formal version below says what is needed: $d \ge 2$ for the threshold, "
        "and the loss of each point on its own shell."
    ),
    claim=(
        r"Let $S_i := \mathrm{Shell}_\sigma(x_i)$ be the Gaussian shell around training point "
        r"$x_i$. If $S_i \cap S_j = \emptyset$ for $i \neq j$, then the shell-only denoising "
        r"objective has infinitely many global minimizers: each sends $S_i \to x_i$, and is "
        r"arbitrary off $\cup_i S_i$."
    ),
    steps=(
        Step(
            "We read the shell-only objective as the denoising loss in which a noisy training "
            "point counts only if it lies in its own shell; it is a mean of squares, so it is "
            "never negative.",
            equal(LOSS, TERM),
            Words(),
        ),
        Step(
            "Where the shells are disjoint, one function can answer $x_i$ on every $S_i$ at once, "
            "and then each square is zero; conversely a loss of zero forces that answer, up to a "
            "set of measure zero.",
            equal(VALUE, X_I),
            Words(),
        ),
        Step(
            "Nothing is asked off the shells: we make two minimizers $m$ and $m'$ that differ "
            "everywhere there (one leaves its input alone, one answers 0), draw 32,000 noisy "
            "training points, and find that both have lost nothing.",
            equal(LOSS, sp.S.Zero),
            Simulated(lambda: _own_loss_vanishes(0.99)),
        ),
    ),
    controls=(
        Step(
            "At twice the threshold the shells overlap and no function has loss zero.",
            equal(LOSS, sp.S.Zero),
            Simulated(lambda: _own_loss_vanishes(2.0)),
        ),
    ),
)


# The formal statement

c, d, t = sp.symbols("c d t")
delta, sigma, kappa = sp.symbols("delta sigma kappa", positive=True)
d_ij, r = sp.symbols("d_{ij} r", positive=True)
r_in, r_out = sp.symbols(r"r_{\mathrm{in}} r_{\mathrm{out}}", positive=True)
P, M, Q, m, x_i = sp.symbols("P M Q m x_i", real=True)
p_i, p_j = sp.symbols("p_i p_j", positive=True)
x_j = sp.Symbol("x_j", real=True, nonzero=True)

POSITIVE = {c: sp.Symbol("c", positive=True), d: sp.Symbol("d", positive=True)}
THRESHOLD = delta / (2 * r_out)


def at(symbol: sp.Symbol, value: sp.Expr) -> Enclosed:
    """A rigorous check at one value, with the outer radius of d = 3072 and c = 5."""
    outer = sp.sqrt(3072 + 2 * sp.sqrt(5 * 3072) + 2 * 5)
    return Enclosed({symbol: (value, value), r_out: (outer, outer)})


def on_the_line(longest: sp.Expr) -> Enclosed:
    """The radii of d = 1, c = 1/100, for all distances t from 0.211 to ``longest``."""
    inner, outer = sp.sqrt(sp.Rational(80, 100)), sp.sqrt(sp.Rational(122, 100))
    distances = (sp.Rational(211, 1000), longest)
    return Enclosed({t: distances, r_in: (inner, inner), r_out: (outer, outer)})


BALL = sp.sqrt(5 + 2 * sp.sqrt(2))  # the outer radius of d = 1, c = 2


def normal_tail(radii: sp.Expr) -> sp.Expr:
    """Q at so many outer radii."""
    return sp.erfc(radii * r_out / sp.sqrt(2)) / 2


def _far_distance(sign: int) -> sp.Equality:
    """((d_ij - b) / sigma)^2 with b = sigma r_out and d_ij = 2 kappa b."""
    return equal((2 * kappa - 1) ** 2 * r_out**2, r_out**2 + 4 * kappa * (kappa - sign) * r_out**2)


def _ratio(square: sp.Expr, total: sp.Expr) -> sp.Expr:
    """M^2 / P, with M and P as they are written."""
    return sp.Mul(sp.Pow(square, 2, evaluate=False), 1 / total, evaluate=False)


ON_SHELL = sp.Symbol(r"\mathbf 1_{S_i}(y)")
ON_UNION = sp.Symbol(r"\mathbf 1_{U_\sigma}(y)")
FULL = sp.Symbol(r"L_{\sigma}(m)")
DISAGREE = sp.Symbol(r"\mathbb{P}\bigl(m(X_\sigma)\neq m'(X_\sigma)\bigr)")
COVERAGE = sp.Symbol(r"C_{\sigma}(p,D)")
DENSITY_LOSS = sp.Symbol(
    r"\frac1N\int\sum_i \|m(y)-x_i\|^2\,\varphi_i(y)\,\mathbf 1_{S_i}(y)\,\mathrm dy"
)
SMOOTH = sp.Symbol(r"\sum_{i}x_i\,\chi_i(y)+\Bigl(1-\sum_i\chi_i(y)\Bigr)g(y)")
MINIMIZER = sp.Symbol(
    r"\frac{\sum_i x_i\,\varphi_i(y)\,\mathbf 1_{S_i}(y)}{\sum_i \varphi_i(y)\,\mathbf 1_{S_i}(y)}"
)
WEIGHTED = sp.Symbol(r"\frac{\sum_i x_i\,\varphi_i(y)}{\sum_i \varphi_i(y)}")
M_OF_Y = sp.Symbol("m(y)")
TO_I, TO_J = sp.symbols(r"\|y-x_{i}\| \|y-x_{j}\|", positive=True)
PHI_0 = sp.Symbol(r"\Phi_{d,c}(0)", positive=True)
BOUND = sp.Symbol("B", positive=True)

FORMAL = Statement(
    label="theorem-4-9-formal",
    number="Theorem 4.9",
    kind="theorem",
    title="threshold, minimizers, and what they disagree on",
    whose="reconstruction",
    assumptions=(
        r"Distinct points $x_1, \dots, x_N$ of $\mathbb{R}^d$ with $N \ge 2$ and $d \ge 2$, "
        r"$d_{ij} = \|x_i - x_j\|$, $\delta = \min_{i \ne j} d_{ij}$, shells $S_i$ with union "
        r"$U_\sigma$, $\varphi_i$ the density of $\mathcal{N}(x_i, \sigma^2 I)$, and the "
        r"own-shell loss $L^{\mathrm{sh}}_\sigma(m) = \frac1N \sum_i \mathbb{E}\bigl[\|m(x_i + "
        r"\sigma Z) - x_i\|^2\, \mathbf{1}\{x_i + \sigma Z \in S_i\}\bigr]$."
    ),
    claim="\n\n".join(
        (
            r"(a) $S_i \cap S_j = \emptyset$ if and only if $d_{ij} > 2\sigma "
            r"r_{\mathrm{out}}$; all shells are disjoint if and only if $\sigma < \delta / (2 "
            r"r_{\mathrm{out}})$.",
            r"(b) At every $\sigma$ the minimizers of $L^{\mathrm{sh}}_\sigma$ are the "
            r"measurable $m$ with $m = \sum_i x_i \varphi_i \mathbf{1}_{S_i} / \sum_i \varphi_i "
            r"\mathbf{1}_{S_i}$ almost everywhere on $U_\sigma$, arbitrary off it. If the "
            "shells are disjoint this is $m = x_i$ on $S_i$, the minimum is 0, and there are "
            "even smooth minimizers with any smooth values on a given closed set that does not "
            r"meet $U_\sigma$.",
            r"(c) If $\|m(y) - x_i\| \le B$ for all $i$ and all $y \notin S_i$, then $0 \le "
            r"L_\sigma(m) - L^{\mathrm{sh}}_\sigma(m) \le (1 - \Phi_{d,c}(0)) B^2 \le "
            "2e^{-c}B^2$.",
            "(d) Two minimizers differ at a noisy new point with probability at most $1 - "
            r"C_\sigma(p, D)$, and two that differ everywhere off $U_\sigma$ with exactly that.",
            r"(e) The loss with $\mathbf{1}\{X_\sigma \in U_\sigma\}$ instead is another one: "
            r"on $U_\sigma$ its minimizer is the empirical denoiser, and its minimum is "
            r"positive. Where $d_{ij} = 2\kappa\sigma r_{\mathrm{out}}$ with $\kappa > 1$, both "
            r"differ little: $w_j / w_i \le \exp(-2\kappa(\kappa - 1) r_{\mathrm{out}}^2)$ on "
            "$S_i$.",
        )
    ),
    steps=(
        Step(
            r"(a) The inner radius is smaller than the outer one, so with $d_{ij} \le 2\sigma "
            r"r_{\mathrm{out}}$ the radius $r = \max(\sigma r_{\mathrm{in}}, d_{ij}/2)$ lies in "
            r"$[\sigma r_{\mathrm{in}}, \sigma r_{\mathrm{out}}]$ and is at least $d_{ij}/2$.",
            greater(d + 2 * sp.sqrt(c * d) + 2 * c, d - 2 * sp.sqrt(c * d)),
            Sign(POSITIVE),
        ),
        Step(
            r"Since $d \ge 2$ there is a unit vector $e$ orthogonal to $x_j - x_i$; the point $y "
            r"= \frac{x_i + x_j}{2} + \sqrt{r^2 - d_{ij}^2/4}\, e$ is at distance $r$ from $x_i$ "
            "and, by symmetry, from $x_j$, so it lies in both shells.",
            equal(
                sp.Add(
                    sp.Pow(d_ij / 2, 2, evaluate=False),
                    sp.Pow(sp.sqrt(r**2 - d_ij**2 / 4), 2, evaluate=False),
                    evaluate=False,
                ),
                r**2,
            ),
            Identity(),
        ),
        Step(
            r"Conversely, a point $y$ of both shells forces $d_{ij} \le 2\sigma "
            r"r_{\mathrm{out}}$, by the triangle inequality. Taking the closest pair gives the "
            "threshold for all shells.",
            at_most(d_ij, TO_I + TO_J),
            Words(),
        ),
        Step(
            "On sets of 1,000 images of CIFAR-10 ($d = 3072$, $c = 5$) the closest pair is at "
            r"$\delta \approx 9$ to 11. For $\delta = 8.97$ the threshold is 0.0777, rounded down, "
            "as all that follow (0.078 would not be safe), ...",
            greater(THRESHOLD, sp.Rational(777, 10000)),
            at(delta, sp.Rational(897, 100)),
        ),
        Step(
            r"... for $\delta = 10.8$ it is 0.0935, ...",
            greater(THRESHOLD, sp.Rational(935, 10000)),
            at(delta, sp.Rational(108, 10)),
        ),
        Step(
            "... and with 21.2, the mean distance to the nearest neighbour, in the place of "
            r"$\delta$ it would be 0.1836.",
            greater(THRESHOLD, sp.Rational(1836, 10000)),
            at(delta, sp.Rational(212, 10)),
        ),
        Step(
            "In one dimension (a) is false: a shell is two intervals and two shells meet only if "
            r"$t = d_{ij}$ is at most $\sigma(r_{\mathrm{out}} - r_{\mathrm{in}})$ or lies in "
            r"$[2\sigma r_{\mathrm{in}}, 2\sigma r_{\mathrm{out}}]$. With $c = 1/100$ and $\sigma "
            "= 1$ every $t$ from 0.211 to 1.788 is above the first ...",
            greater(t + r_in, r_out),
            on_the_line(sp.Rational(1788, 1000)),
        ),
        Step(
            r"... and below the second, though also below $2 r_{\mathrm{out}} = 2.209$: the "
            "shells are disjoint, one interval of each in the other's hole.",
            less(t, 2 * r_in),
            on_the_line(sp.Rational(1788, 1000)),
        ),
        Step(
            "(b) Noisy points have a positive density, so the loss is an integral over $y$, and "
            "sets of measure zero do not count; it is least when the integrand is least at almost "
            "every $y$.",
            equal(LOSS, DENSITY_LOSS),
            Words(),
        ),
        Step(
            r"At one $y$, and for one coordinate of $m$, put $p_i = \varphi_i(y) "
            r"\mathbf{1}_{S_i}(y)$, $P = \sum_i p_i$, $M = \sum_i p_i x_i$, $Q = \sum_i p_i "
            r"x_i^2$. Then the integrand $\sum_i p_i (m - x_i)^2$ is a square plus what does not "
            r"depend on $m$; so off $U_\sigma$, where $P = 0$, any $m$ will do, and on it only $m "
            "= M/P$.",
            equal(P * m**2 - 2 * m * M + Q, P * (M / P - m) ** 2 + Q - M**2 / P),
            Identity(),
        ),
        Step(
            "This holds at every noise level, disjoint or not: the hypothesis is not needed for "
            "infinitely many minimizers.",
            equal(M_OF_Y, MINIMIZER),
            Words(),
        ),
        Step(
            "Where $y$ lies in one shell only, $M/P = x_i$, and the remainder $Q - M^2/P$ is "
            "zero: disjoint shells give the value $x_i$ and the minimum 0.",
            equal(p_i * x_i**2, _ratio(p_i * x_i, p_i)),
            Identity(),
        ),
        Step(
            "Where $y$ lies in two shells the remainder is positive, so shells that overlap in a "
            "set of positive measure give a positive minimum (touching ones do not). Moving both "
            "points changes nothing, so we put $x_i = 0$.",
            greater(p_j * x_j**2, _ratio(p_j * x_j, p_i + p_j)),
            Sign(),
        ),
        Step(
            "Disjoint shells are compact and so at a positive distance from each other and from "
            r"a closed set that does not meet them; smooth bumps $\chi_i$, 1 on $S_i$ and 0 on "
            "the other shells and on that set, turn any smooth $g$ into a smooth minimizer.",
            equal(M_OF_Y, SMOOTH),
            Words(),
        ),
        Step(
            "(c) What the own-shell loss leaves out is the noise that misses the own shell, of "
            r"probability $1 - \Phi_{d,c}(0) \le 2e^{-c}$ by Lemma 4.5, and there the square is "
            r"at most $B^2$. (Simulated in $\mathbb{R}^6$ with a minimizer that answers a far "
            "corner off the shells.)",
            at_most(FULL, LOSS + (1 - PHI_0) * BOUND**2),
            Simulated(lambda: _gap_is_small(1.0)),
        ),
        Step(
            r"(d) By (b), two minimizers agree almost everywhere on $U_\sigma$, and $X_\sigma$ "
            r"has a density; so they can differ only where $X_\sigma \notin U_\sigma$. (Simulated "
            "with two fills that coincide on a half-space, disjoint and overlapping shells.)",
            at_most(DISAGREE, 1 - COVERAGE),
            Simulated(lambda: _disagreement(1.0, "meet")),
        ),
        Step(
            r"Two minimizers whose values differ everywhere off $U_\sigma$, $m' = m + v$ with $v "
            r"\ne 0$, attain it.",
            equal(DISAGREE, 1 - COVERAGE),
            Simulated(lambda: _disagreement(1.0, "differ")),
        ),
        Step(
            "(e) Each indicator is at most the next, so own-shell loss, loss on the union and "
            r"whole loss are ordered, $L^{\mathrm{sh}}_\sigma \le L^{U}_\sigma \le L_\sigma$.",
            at_most(ON_SHELL, ON_UNION),
            Words(),
        ),
        Step(
            r"For $L^U_\sigma$ the integrand at $y \in U_\sigma$ has the weights $\varphi_i(y)$ of "
            "all points, not only of those whose shell holds $y$. By the completed square of "
            r"(b), with $p_i = \varphi_i(y)$, it is least at the empirical denoiser, and for two "
            r"or more points what is left is positive at every $y$ of $U_\sigma$, which has "
            "positive measure.",
            equal(M_OF_Y, WEIGHTED),
            Words(),
        ),
        Step(
            "An illustration of the difference, on a line: noise of $x_i$ can land in another "
            "shell. For $d = 1$, "
            r"$c = 2$, where the shell is a ball, and two disjoint balls at distance $2.2\, "
            r"\sigma r_{\mathrm{out}}$, it does so with probability $Q(1.2\, r_{\mathrm{out}}) - "
            r"Q(3.2\, r_{\mathrm{out}}) > 3.9 \cdot 10^{-4}$, where $Q(u) = \frac12 "
            r"\operatorname{erfc}(u/\sqrt2)$.",
            greater(
                normal_tail(sp.Rational(12, 10)),
                sp.Rational(39, 100000) + normal_tail(sp.Rational(32, 10)),
            ),
            Enclosed({r_out: (BALL, BALL)}),
        ),
        Step(
            r"On $S_i$ the point $x_i$ is at distance at most $b = \sigma r_{\mathrm{out}}$, and "
            r"another, with $d_{ij} = 2\kappa b$, at least at $d_{ij} - b = (2\kappa - 1) b$. The "
            r"weights' ratio $w_j / w_i$ is $\exp$ of minus half the difference of the squared "
            r"distances over $\sigma^2$, and that difference is at least $4\kappa(\kappa - 1) "
            r"r_{\mathrm{out}}^2$.",
            _far_distance(1),
            Identity(),
        ),
        Step(
            "In the paper's dimension the two losses therefore agree as soon as the shells are "
            r"apart by one part in a hundred: $\kappa = 1.01$, $d = 3072$, $c = 5$.",
            less(sp.exp(-2 * kappa * (kappa - 1) * r_out**2), sp.exp(-67)),
            at(kappa, sp.Rational(101, 100)),
        ),
    ),
    controls=(
        Step(
            "The threshold rounded up to 0.078 is not a bound.",
            greater(THRESHOLD, sp.Rational(78, 1000)),
            at(delta, sp.Rational(897, 100)),
        ),
        Step(
            "The one-dimensional gap does not reach to 1.8.",
            less(t, 2 * r_in),
            on_the_line(sp.Rational(18, 10)),
        ),
        Step("A wrong exponent.", _far_distance(-1), Identity()),
        Step(
            "A third of the bound on the loss difference.",
            at_most(FULL, LOSS + (1 - PHI_0) * BOUND**2 / 3),
            Simulated(lambda: _gap_is_small(1 / 3)),
        ),
        Step(
            "Minimizers do not disagree half as often.",
            at_most(DISAGREE, (1 - COVERAGE) / 2),
            Simulated(lambda: _disagreement(0.5, "differ")),
        ),
    ),
)

STATEMENTS = (INFORMAL, FORMAL)
