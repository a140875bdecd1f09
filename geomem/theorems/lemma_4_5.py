"""Lemma 4.5: where noise lies. Both tails of the chi-square law (Laurent and Massart)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import sympy as sp
from flint import arb, ctx

from geomem.geometry.coverage import shell_radii
from geomem.theorems.checks import (
    Computed,
    Enclosed,
    Identity,
    Outcome,
    Refused,
    Sign,
    Simulated,
    Words,
    enclose,
)
from geomem.theorems.formulas import (
    Chain,
    Draws,
    Expect,
    Prob,
    Values,
    at_least,
    at_most,
    equal,
    greater,
    less,
    say,
)
from geomem.theorems.statement import Statement, Step

c, d, u = sp.symbols("c d u", positive=True)
theta, a, v = sp.symbols("theta a v", positive=True)
z = sp.Symbol("z", real=True)
NORM2 = sp.Symbol(r"{\|Z\|^2}", positive=True)
j = sp.Symbol("j", integer=True, nonnegative=True)

HALF = {theta: v / (2 * (1 + v))}  # theta in (0, 1/2)
UPPER = d * theta**2 / (1 - 2 * theta)  # bounds the log moment generating function at theta,
LOWER = d * theta**2  # and at -theta


def named(latex: str) -> sp.Symbol:
    """A quantity that a step speaks of but sympy does not compute with."""
    return sp.Symbol(latex, real=True)


def density_integral(exponent: sp.Expr) -> sp.Expr:
    """The expectation of exp(exponent), a function of a standard normal z."""
    weight = sp.exp(exponent - z**2 / 2) / sp.sqrt(2 * sp.pi)
    return sp.Integral(weight, (z, -sp.oo, sp.oo))


def below_half(difference: sp.Expr) -> sp.Expr:
    """theta < 1/2, by writing 1 - 2 theta as a positive symbol."""
    return difference.subs(theta, (1 - a) / 2)


def above_half(difference: sp.Expr) -> sp.Expr:
    """Any theta > -1/2, by writing 1 + 2 theta as a positive symbol."""
    return difference.subs(theta, (a - 1) / 2)


@dataclass(frozen=True)
class Digits(Enclosed):
    """An equation with a decimal number: Arb's enclosure rounds to it.

    Finite exponential sums in the formula are summed term by term.
    """

    kind = "example"

    ranges: Mapping[sp.Symbol, tuple[sp.Expr, sp.Expr]] = field(default_factory=dict)

    def run(self, formula: sp.Basic) -> Outcome:
        precision, ctx.prec = ctx.prec, self.bits
        try:
            return self.compare(self.value(formula.lhs), formula.rhs)
        finally:
            ctx.prec = precision

    def value(self, expression: sp.Expr) -> arb:
        parts = {part: sp.Dummy() for part in expression.atoms(sp.Subs)}
        values = {name: _summed(part) for part, name in parts.items()}
        return enclose(expression.xreplace(parts), values)

    def compare(self, value: arb, decimal: sp.Float) -> Outcome:
        text = str(decimal)
        unit = arb(10) ** -len(text.split(".")[1])
        held = bool(abs(value - enclose(sp.Rational(text), {})) < unit / 2)
        return Outcome(held, f"enclosed in {value.str(18)}, {self.bits} bits")


def _summed(part: sp.Subs) -> arb:
    """A formula in y that holds a sum of y^j / j!, at a number y."""
    (series,) = part.expr.atoms(sp.Sum)
    (y,), (point,), (index, _, last) = part.variables, part.point, series.limits[0]
    if series != sp.Sum(y**index / sp.factorial(index), (index, 0, last)):
        raise ValueError(f"expected a sum of y^j / j! from j = 0, got {series}.")
    at = enclose(point, {})
    term = total = arb(1)
    for k in range(1, int(last) + 1):
        term = term * at / k
        total = total + term
    name = sp.Dummy()
    return enclose(part.expr.xreplace({series: name}), {y: at, name: total})


def _shells(rng: np.random.Generator) -> Values:
    return {d: int(np.exp(rng.uniform(0, 12))), c: float(np.exp(rng.uniform(-9, 9)))}


def _norms() -> Iterator[Values]:
    """The squared norm of the noise, in one dimension and in many."""
    rng = np.random.default_rng(45)
    for dim, level in ((1, 1e-4), (1, 0.1), (3, 1.0), (16, 0.5), (64, 2.0), (300, 3.0)):
        yield {d: dim, c: level, NORM2: Draws(rng.chisquare(dim, 200_000))}


def _moments() -> Iterator[Values]:
    """Means of e^(theta (|Z|^2 - d)) that so few draws find."""
    rng = np.random.default_rng(46)
    for dim, tilt in ((1, 0.02), (4, 0.05), (30, 0.02), (200, 0.005)):
        yield {d: dim, theta: tilt, NORM2: Draws(rng.chisquare(dim, 200_000))}


upper_gap = UPPER - (-d * sp.log(1 - 2 * theta) / 2 - d * theta)
lower_gap = LOWER - (-d * sp.log(1 + 2 * theta) / 2 + d * theta)
best = sp.sqrt(c) / (sp.sqrt(d) + 2 * sp.sqrt(c))
above, below = 2 * sp.sqrt(c * d) + 2 * c, 2 * sp.sqrt(c * d)


y = sp.Symbol("y", positive=True)
beyond = sp.exp(-y) * sp.Sum(y**j / sp.factorial(j), (j, 0, 1535))  # P(||Z||^2 >= 2 y)
outer, inner = 1541 + 32 * sp.sqrt(15), 1536 - 32 * sp.sqrt(15)  # half the squared radii
upper_tail, lower_tail = sp.Subs(beyond, y, outer), sp.Subs(1 - beyond, y, inner)

R_IN, R_OUT = sp.symbols(r"r_{\mathrm{in}} r_{\mathrm{out}}", nonnegative=True)
INNER = equal(R_IN, sp.sqrt(sp.Max(0, d - below)))
OUTER = equal(R_OUT, sp.sqrt(d + above))
TAIL = sp.exp(-c)
TOO_FAR = at_most(Prob(greater(NORM2, OUTER.rhs**2)), TAIL)
TOO_NEAR = at_most(Prob(less(NORM2, INNER.rhs**2)), TAIL)
IN_SHELL = Chain(at_most(INNER.rhs**2, NORM2), at_most(NORM2, OUTER.rhs**2))
KEPT = at_least(Prob(IN_SHELL), 1 - 2 * TAIL)
LOG_MGF = -d * sp.log(1 - 2 * theta) / 2 - d * theta

LEMMA = Statement(
    label="lemma-4-5",
    number="Lemma 4.5",
    kind="lemma",
    title="The shell that holds the noise",
    whose="paraphrase",
    assumptions=say(
        "{norm} is the squared length of standard noise, {dim}, {c}. The two radii are the "
        "paper's, verbatim; that the inner one is zero where its root is not real is our reading, "
        "and the proof is the standard one of Laurent and Massart.",
        norm=NORM2,
        dim=at_least(d, 1),
        c=greater(c, 0),
    ),
    claim=say(
        "With {inner} and {outer}, each of the two tails is small,{far:display}{near:display}"
        "so that{kept:display}",
        inner=INNER,
        outer=OUTER,
        far=TOO_FAR,
        near=TOO_NEAR,
        kept=KEPT,
    ),
    steps=(
        Step(
            r"The moment generating function of one squared coordinate, for $\theta$ from 0 to "
            "one half.",
            equal(density_integral(theta * z**2), 1 / sp.sqrt(1 - 2 * theta)),
            Identity(prepare=below_half),
        ),
        Step(
            r"The $d$ coordinates are independent, so their logarithms add; centre $\|Z\|^2$ at "
            r"its mean $d$.",
            equal(Expect(sp.exp(theta * (NORM2 - d))), sp.exp(LOG_MGF)),
            Simulated(_moments),
        ),
        Step(
            "Compare the exponent with another, by the derivative of the difference,",
            equal(sp.Derivative(upper_gap, theta), 2 * d * theta**2 / (1 - 2 * theta) ** 2),
            Identity(),
        ),
        Step(
            r"which is never negative in that range;",
            at_least(sp.Derivative(upper_gap, theta), 0),
            Sign(where=HALF),
        ),
        Step(
            r"and at $\theta = 0$ the difference is zero, so that it is never negative.",
            equal(sp.Subs(upper_gap, theta, 0), 0),
            Identity(),
        ),
        Step(
            r"So the mean of $e^{\theta(\|Z\|^2 - d)}$ is at most $e$ to the other exponent, and "
            r"the tail beyond an excess $u$ at most that times $e^{-\theta u}$.",
            None,
            Words("Markov's inequality"),
        ),
        Step(
            r"Take the excess $u$ of the outer radius and this $\theta$: the exponent is exactly "
            r"$-c$. (Any other $\theta$ in the range would be allowed; this one is the best.)",
            equal(sp.Subs(UPPER - theta * u, (theta, u), (best, OUTER.rhs**2 - d)), sp.log(TAIL)),
            Identity(),
        ),
        Step(
            r"This $\theta$ does lie below one half. The upper tail is done,",
            less(best, sp.Rational(1, 2)),
            Sign(),
        ),
        Step(
            "and seen.",
            TOO_FAR,
            Simulated(_norms, loose="Markov's inequality is"),
        ),
        Step(
            r"For the lower tail take $-\theta$ in the moment generating function of the square,",
            equal(density_integral(-theta * z**2), 1 / sp.sqrt(1 + 2 * theta)),
            Identity(),
        ),
        Step(
            r"of which the exponent, less another, has this derivative,",
            equal(sp.Derivative(lower_gap, theta), 4 * d * theta**2 / (1 + 2 * theta)),
            Identity(),
        ),
        Step(
            r"never negative,",
            at_least(sp.Derivative(lower_gap, theta), 0),
            Sign(),
        ),
        Step(
            r"and again the difference starts at zero.",
            equal(sp.Subs(lower_gap, theta, 0), 0),
            Identity(),
        ),
        Step(
            r"By Markov's inequality once more, with what the inner radius lacks and this "
            r"$\theta$, the exponent is again exactly $-c$. (A ball has no lower tail.)",
            equal(sp.Subs(LOWER - theta * u, (theta, u), (below / (2 * d), below)), sp.log(TAIL)),
            Identity(),
        ),
        Step("Seen:", TOO_NEAR, Simulated(_norms, loose="Markov's inequality is")),
        Step(
            r"The shell is missed only through one of the two tails: their probabilities add.",
            equal(sp.Add(1, -TOO_FAR.rhs, -TOO_NEAR.rhs, evaluate=False), KEPT.rhs),
            Identity(),
        ),
        Step("Seen:", KEPT, Simulated(_norms, loose="so are both tails")),
        Step(
            r"How loose it is. For even $d$ the tail of $\|Z\|^2$ is a finite sum, "
            r"$\mathbb{P}(\|Z\|^2 \ge 2y) = e^{-y} \sum_{j < d/2} y^j / j!$. Upper tail for "
            r"$d = 3072$, $c = 5$, at $y = r_{\mathrm{out}}^2 / 2$:",
            equal(upper_tail, sp.Float("0.0006624983468", 10)),
            Digits(),
        ),
        Step(
            r"Lower tail, at $y = r_{\mathrm{in}}^2 / 2$. Each tail is ten times below the bound.",
            equal(lower_tail, sp.Float("0.0005913747307", 10)),
            Digits(),
        ),
    ),
    controls=(
        Step(
            r"Without the factor two of $2c$ the exponent is no longer $c$.",
            equal(sp.Subs(UPPER - theta * u, (theta, u), (best, above - c)), sp.log(TAIL)),
            Identity(),
        ),
        Step(
            r"Nine tenths of $d\theta^2$ do not bound the lower logarithm.",
            at_least(sp.Derivative(lower_gap - LOWER / 10, theta), 0),
            Sign(),
        ),
        Step(
            r"A tail of $e^{-c}/4$ is too small a bound.",
            at_most(Prob(greater(NORM2, OUTER.rhs**2)), TAIL / 4),
            Simulated(_norms, loose="so is the lemma"),
        ),
        Step(
            r"A wrong last digit.",
            equal(upper_tail, sp.Float("0.0006624983469", 10)),
            Digits(),
        ),
    ),
    code=(
        Computed("shell_radii()[0]", INNER, lambda v: shell_radii(v[d], v[c])[0], _shells),
        Computed("shell_radii()[1]", OUTER, lambda v: shell_radii(v[d], v[c])[1], _shells),
        Refused("shell_radii", at_least(d, 1), d, lambda dim: shell_radii(dim, 5.0), step=1),
        Refused("shell_radii", greater(c, 0), c, lambda level: shell_radii(3, level)),
    ),
)

STATEMENTS: tuple[Statement, ...] = (LEMMA,)
