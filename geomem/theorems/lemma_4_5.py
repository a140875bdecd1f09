"""Lemma 4.5: where noise lies. Both tails of the chi-square law (Laurent and Massart)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import sympy as sp
from flint import arb, ctx

from geomem.geometry.coverage import shell_radii
from geomem.theorems.checks import Enclosed, Identity, Outcome, Sign, Simulated, Words, enclose
from geomem.theorems.statement import Statement, Step

c, d, u = sp.symbols("c d u", positive=True)
theta, a, v = sp.symbols("theta a v", positive=True)
z = sp.Symbol("z", real=True)
j = sp.Symbol("j", integer=True, nonnegative=True)

HALF = {theta: v / (2 * (1 + v))}  # theta in (0, 1/2)
UPPER = d * theta**2 / (1 - 2 * theta)  # bounds the log moment generating function at theta,
LOWER = d * theta**2  # and at -theta
CASES = ((1, 0.1), (3, 1.0), (16, 0.5), (64, 2.0), (300, 3.0))


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


def _tails(loss: float = 1.0) -> Sequence[tuple[float, float, float, str]]:
    """Both tails of ||Z||^2 against loss * exp(-c)."""
    rng = np.random.default_rng(45)
    cases = []
    for dim, level in CASES:
        norm2 = rng.chisquare(dim, 100_000)
        r_in, r_out = shell_radii(dim, level)
        for outside in (norm2 > r_out**2, norm2 < r_in**2):
            tail = float(outside.mean())
            error = float(np.sqrt((tail + 1e-5) / len(norm2)))
            cases.append((tail, error, loss * float(np.exp(-level)), "<="))
    return cases


upper_gap = UPPER - (-d * sp.log(1 - 2 * theta) / 2 - d * theta)
lower_gap = LOWER - (-d * sp.log(1 + 2 * theta) / 2 + d * theta)
best = sp.sqrt(c) / (sp.sqrt(d) + 2 * sp.sqrt(c))
above, below = 2 * sp.sqrt(c * d) + 2 * c, 2 * sp.sqrt(c * d)


y = sp.Symbol("y", positive=True)
at_least = sp.exp(-y) * sp.Sum(y**j / sp.factorial(j), (j, 0, 1535))  # P(||Z||^2 >= 2 y)
outer, inner = 1541 + 32 * sp.sqrt(15), 1536 - 32 * sp.sqrt(15)  # half the squared radii
upper_tail, lower_tail = sp.Subs(at_least, y, outer), sp.Subs(1 - at_least, y, inner)

LEMMA = Statement(
    label="lemma-4-5",
    number="Lemma 4.5",
    kind="lemma",
    title="Where noise lies",
    whose="paraphrase",
    assumptions=(
        r"$Z \sim N(0, I_d)$, $d \ge 1$, $c > 0$; $r_{\mathrm{in}} = 0$ when $c \ge d/4$. The two "
        r"radii are the paper's, verbatim; the reading of $r_{\mathrm{in}}$ for $c \ge d/4$ is "
        r"ours; the proof is the standard one of Laurent and Massart."
    ),
    claim=(
        r"With $r_{\mathrm{in}} = \sqrt{d - 2\sqrt{cd}}$ and "
        r"$r_{\mathrm{out}} = \sqrt{d + 2\sqrt{cd} + 2c}$, each of the events "
        r"$\|Z\| > r_{\mathrm{out}}$ and $\|Z\| < r_{\mathrm{in}}$ has probability at most "
        r"$e^{-c}$; so "
        r"$\mathbb{P}(r_{\mathrm{in}} \le \|Z\| \le r_{\mathrm{out}}) \ge 1 - 2e^{-c}$."
    ),
    steps=(
        Step(
            r"The moment generating function of one squared coordinate, for $0 < \theta < 1/2$.",
            sp.Eq(density_integral(theta * z**2), 1 / sp.sqrt(1 - 2 * theta)),
            Identity(prepare=below_half),
        ),
        Step(
            r"The $d$ coordinates are independent, so their logarithms add; centre $\|Z\|^2$ at "
            r"its mean $d$.",
            sp.Eq(
                named(r"\log \mathbb{E}\, e^{\theta(\|Z\|^2 - d)}"),
                -d * sp.log(1 - 2 * theta) / 2 - d * theta,
            ),
            Words(),
        ),
        Step(
            r"Compare this with $d\theta^2/(1 - 2\theta)$: the difference has this derivative,",
            sp.Eq(sp.Derivative(upper_gap, theta), 2 * d * theta**2 / (1 - 2 * theta) ** 2),
            Identity(),
        ),
        Step(
            r"which is never negative for $0 < \theta < 1/2$;",
            sp.Ge(2 * d * theta**2 / (1 - 2 * theta) ** 2, 0, evaluate=False),
            Sign(where=HALF),
        ),
        Step(
            r"and at $\theta = 0$ the difference is 0, so that it is at least 0 on all of "
            r"$(0, 1/2)$.",
            sp.Eq(sp.Subs(upper_gap, theta, 0), 0, evaluate=False),
            Identity(),
        ),
        Step(
            r"Markov's inequality for $e^{\theta(\|Z\|^2 - d)}$, with the bound just found.",
            sp.Le(named(r"\mathbb{P}(\|Z\|^2 \ge d + u)"), sp.exp(UPPER - theta * u)),
            Words(),
        ),
        Step(
            r"Take the excess $u = r_{\mathrm{out}}^2 - d$ and this $\theta$: the exponent is "
            r"exactly $-c$. (Any $\theta$ in $(0, 1/2)$ would be allowed; this one is the best.)",
            sp.Eq(sp.Subs(theta * u - UPPER, (theta, u), (best, above)), c),
            Identity(),
        ),
        Step(
            r"This $\theta$ does lie below $1/2$. The upper tail is done.",
            sp.Lt(best, sp.Rational(1, 2)),
            Sign(),
        ),
        Step(
            r"For the lower tail take $-\theta$ in the moment generating function of the square,",
            sp.Eq(density_integral(-theta * z**2), 1 / sp.sqrt(1 + 2 * theta)),
            Identity(),
        ),
        Step(
            r"that is, $e^{-\theta(\|Z\|^2 - d)}$, whose logarithm of the mean is "
            r"$-\frac{d}{2}\log(1 + 2\theta) + d\theta$; its distance to $d\theta^2$ has this "
            r"derivative,",
            sp.Eq(sp.Derivative(lower_gap, theta), 4 * d * theta**2 / (1 + 2 * theta)),
            Identity(),
        ),
        Step(
            r"which is never negative for $\theta > 0$;",
            sp.Ge(4 * d * theta**2 / (1 + 2 * theta), 0, evaluate=False),
            Sign(),
        ),
        Step(
            r"and again the difference starts at 0.",
            sp.Eq(sp.Subs(lower_gap, theta, 0), 0, evaluate=False),
            Identity(),
        ),
        Step(
            r"Markov's inequality once more, for every $\theta > 0$.",
            sp.Le(named(r"\mathbb{P}(\|Z\|^2 \le d - u)"), sp.exp(LOWER - theta * u)),
            Words(),
        ),
        Step(
            r"Take $u = d - r_{\mathrm{in}}^2$ and this $\theta$: the exponent is again exactly "
            r"$-c$. (For $c \ge d/4$ the shell is a ball, and has no lower tail.)",
            sp.Eq(sp.Subs(theta * u - LOWER, (theta, u), (below / (2 * d), below)), c),
            Identity(),
        ),
        Step(
            r"The shell is missed only through one of the two tails: add their probabilities.",
            sp.Ge(
                named(r"\mathbb{P}(r_{\mathrm{in}} \le \|Z\| \le r_{\mathrm{out}})"),
                1 - 2 * sp.exp(-c),
            ),
            Words(),
        ),
        Step(
            r"Seen: both tails in 100,000 draws, for $(d, c) = "
            + ", ".join(f"({dim}, {level:g})" for dim, level in CASES)
            + "$.",
            sp.Le(
                named(
                    r"\max\bigl\{\mathbb{P}(\|Z\| > r_{\mathrm{out}}), "
                    r"\mathbb{P}(\|Z\| < r_{\mathrm{in}})\bigr\}"
                ),
                sp.exp(-c),
            ),
            Simulated(_tails),
        ),
        Step(
            r"How loose it is. For even $d$ the tail of $\|Z\|^2$ is a finite sum, "
            r"$\mathbb{P}(\|Z\|^2 \ge 2y) = e^{-y} \sum_{j < d/2} y^j / j!$. Upper tail for "
            r"$d = 3072$, $c = 5$, at $y = r_{\mathrm{out}}^2 / 2$:",
            sp.Eq(upper_tail, sp.Float("0.0006624983468", 10), evaluate=False),
            Digits(),
        ),
        Step(
            r"Lower tail, at $y = r_{\mathrm{in}}^2 / 2$. Each tail is ten times below "
            r"$e^{-5} = 0.0067$.",
            sp.Eq(lower_tail, sp.Float("0.0005913747307", 10), evaluate=False),
            Digits(),
        ),
        Step(
            r"So the exact mass of the shell, where the lemma promises $1 - 2e^{-5} = 0.98652$:",
            sp.Eq(
                sp.Subs(at_least, y, inner) - upper_tail,
                sp.Float("0.998746126922517", 15),
                evaluate=False,
            ),
            Digits(),
        ),
    ),
    controls=(
        Step(
            r"Without the factor 2 of $2c$ the exponent is no longer $c$.",
            sp.Eq(sp.Subs(theta * u - UPPER, (theta, u), (best, above - c)), c),
            Identity(),
        ),
        Step(
            r"Half of $d\theta^2$ does not bound the lower logarithm.",
            sp.Ge(sp.Derivative(lower_gap - LOWER / 2, theta), 0),
            Sign(),
        ),
        Step(
            r"A tail of $e^{-c}/4$ is too small a bound.",
            sp.Le(named(r"\mathbb{P}(\|Z\| > r_{\mathrm{out}})"), sp.exp(-c) / 4),
            Simulated(lambda: _tails(0.25)),
        ),
        Step(
            r"A wrong last digit.",
            sp.Eq(upper_tail, sp.Float("0.0006624983469", 10), evaluate=False),
            Digits(),
        ),
    ),
)

STATEMENTS: tuple[Statement, ...] = (LEMMA,)
