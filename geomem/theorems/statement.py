"""Statements with their steps, and the three kinds of check, never confused with each other.

A step's formula is a sympy object: the book prints its LaTeX and the check proves it, so that
text and check cannot drift apart.

- *symbolic* (`Identity`, `Sign`, `LimitValue`): sympy proves it; no floating point.
- *rigorous numeric* (`Enclosed`): interval arithmetic over the whole stated range.
- *simulated* (`Simulated`): Monte Carlo with a seed, against the claimed bound.
- *in words* (`Words`): argued in the text, not checked.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import sympy as sp
from flint import arb, ctx

from geomem.theorems.textbook import Textbook

WHOSE = {
    "verbatim": "the paper's, verbatim",
    "display": "the display is the paper's, verbatim; what is said of it is our reconstruction",
    "paraphrase": "the paper's, paraphrased",
    "reconstruction": "our reconstruction",
    "ours": "our addition, not in the paper",
}
MAX_BOXES = 20_000


def _unchanged(difference: sp.Expr) -> sp.Expr:
    return difference


@dataclass(frozen=True)
class Outcome:
    """Whether a check held, and one line on how."""

    held: bool
    detail: str


@dataclass(frozen=True)
class Words:
    """A step that is argued in words only; nothing is checked."""

    kind: ClassVar[str] = "in words"

    def run(self, formula: sp.Basic) -> Outcome:
        return Outcome(True, "argued in the text")


@dataclass(frozen=True)
class Identity:
    """An equation: the difference of its sides is exactly zero after ``doit`` and ``simplify``.

    ``prepare`` may rewrite the difference first (expand, change functions, substitute);
    whatever it does must be an identity too.
    """

    prepare: Callable[[sp.Expr], sp.Expr] = _unchanged
    kind: ClassVar[str] = "symbolic"

    def run(self, formula: sp.Basic) -> Outcome:
        left, right = _sides(formula, sp.Equality)
        difference = sp.simplify(self.prepare((left - right).doit()))
        return Outcome(difference == 0, f"difference of the sides: {difference}")


@dataclass(frozen=True)
class Sign:
    """An inequality on a range, written as the image of positive symbols.

    ``where`` substitutes the range into the formula: {x: u / (2 * (1 + u))} with u > 0 is
    x in (0, 1/2). The difference of the sides, factored over one denominator, must then
    have a sign that follows from the symbols' assumptions, or polynomials with
    coefficients of one sign. ``prepare`` as for `Identity`.
    """

    where: Mapping[sp.Symbol, sp.Expr] = field(default_factory=dict)
    prepare: Callable[[sp.Expr], sp.Expr] = _unchanged
    kind: ClassVar[str] = "symbolic"

    def run(self, formula: sp.Basic) -> Outcome:
        left, right = _sides(
            formula, sp.GreaterThan, sp.StrictGreaterThan, sp.LessThan, sp.StrictLessThan
        )
        less = isinstance(formula, (sp.LessThan, sp.StrictLessThan))
        difference = (right - left if less else left - right).doit()
        difference = sp.factor(sp.together(sp.simplify(self.prepare(difference).subs(self.where))))
        strict = isinstance(formula, (sp.StrictGreaterThan, sp.StrictLessThan))
        held = sp.Mul(*[_signed(part) for part in sp.Mul.make_args(difference)])
        known = held.is_positive if strict else held.is_nonnegative
        return Outcome(bool(known), f"difference of the sides, factored: {difference}")


@dataclass(frozen=True)
class LimitValue:
    """An equation whose left side is a ``Limit``: sympy evaluates it to the right side."""

    kind: ClassVar[str] = "symbolic"

    def run(self, formula: sp.Basic) -> Outcome:
        left, right = _sides(formula, sp.Equality)
        value = left.doit()
        return Outcome(sp.simplify(value - right) == 0, f"the limit is {value}")


@dataclass(frozen=True)
class Enclosed:
    """An inequality over boxes, by interval arithmetic (Arb) with bisection.

    ``ranges`` gives each free symbol its interval (as exact sympy numbers). The check
    holds only when every box is decided, so it never passes by sampling.
    """

    ranges: Mapping[sp.Symbol, tuple[sp.Expr, sp.Expr]]
    bits: int = 128
    kind: ClassVar[str] = "rigorous numeric"

    def run(self, formula: sp.Basic) -> Outcome:
        left, right = _sides(
            formula, sp.GreaterThan, sp.StrictGreaterThan, sp.LessThan, sp.StrictLessThan
        )
        less = isinstance(formula, (sp.LessThan, sp.StrictLessThan))
        difference = right - left if less else left - right
        symbols = list(self.ranges)
        precision, ctx.prec = ctx.prec, self.bits
        try:
            boxes = [tuple(_hull(*self.ranges[s]) for s in symbols)]
            for count in range(MAX_BOXES):
                if not boxes:
                    return Outcome(True, f"{count} boxes enclosed, {self.bits} bits")
                box = boxes.pop()
                value = enclose(difference, dict(zip(symbols, box, strict=True)))
                if value > 0:
                    continue
                if value < 0:
                    return Outcome(False, f"violated on {box}")
                boxes += _halves(box)
            return Outcome(False, f"undecided after {MAX_BOXES} boxes")
        finally:
            ctx.prec = precision


@dataclass(frozen=True)
class Simulated:
    """Monte Carlo: ``run_once`` returns pairs (estimate, standard error, bound, sense).

    ``sense`` is "<=" where the estimate must not exceed the bound, ">=" where it must not
    fall below, "=" for a value. Four standard errors are allowed; the seed is fixed inside.
    """

    simulate: Callable[[], Sequence[tuple[float, float, float, str]]]
    kind: ClassVar[str] = "simulated"

    def run(self, formula: sp.Basic) -> Outcome:
        worst, cases = 0.0, self.simulate()
        if not cases or not all(np.isfinite(case[:3]).all() for case in cases):
            return Outcome(False, f"{len(cases)} cases, not all finite")
        for estimate, error, bound, sense in cases:
            excess = {"<=": estimate - bound, ">=": bound - estimate, "=": abs(estimate - bound)}
            worst = max(worst, excess[sense] / error if error > 0 else 99.0 * (excess[sense] > 0))
        return Outcome(worst <= 4, f"{len(cases)} cases, worst {worst:.1f} standard errors")


Check = Words | Identity | Sign | LimitValue | Enclosed | Simulated


@dataclass(frozen=True)
class Step:
    """One step of a proof: a sentence of why, the formula that it ends in, and its check."""

    why: str
    formula: sp.Basic
    check: Check

    @property
    def latex(self) -> str:
        """The formula as the book prints it."""
        return str(Textbook().doprint(self.formula))


@dataclass(frozen=True)
class Statement:
    """A numbered statement of the paper, or ours, with its proof in steps.

    Attributes
    ----------
    label : its name in the book and on the command line, "theorem-4-8".
    number : "Theorem 4.8"; of an addition of ours, the statement it belongs to.
    kind : "theorem", "lemma", "proposition" or "corollary".
    title : a few words.
    whose : a key of `WHOSE`.
    assumptions : one sentence, MyST with math.
    claim : MyST with math: what is stated.
    steps : the proof.
    controls : steps with a deliberately wrong constant: each check must fail.
    """

    label: str
    number: str
    kind: str
    title: str
    whose: str
    assumptions: str
    claim: str
    steps: tuple[Step, ...]
    controls: tuple[Step, ...]

    def __post_init__(self) -> None:
        if self.whose not in WHOSE or not self.steps or not self.controls:
            raise ValueError(f"{self.label}: needs whose it is, steps, and a negative control.")


@dataclass(frozen=True)
class Result:
    """One row of the verification table."""

    statement: str
    step: int  # from 1; negative controls count on in the negative: -1, -2, ...
    kind: str
    held: bool
    detail: str
    seconds: float


def verify(statement: Statement) -> list[Result]:
    """Run every check; for a negative control ``held`` means that it failed, as it must."""
    rows = []
    numbered = [*enumerate(statement.steps, 1)]
    numbered += [(-i, control) for i, control in enumerate(statement.controls, 1)]
    for number, step in numbered:
        start = time.perf_counter()
        outcome = step.check.run(step.formula)
        held = bool(outcome.held) == (number > 0)
        seconds = time.perf_counter() - start
        rows.append(Result(statement.label, number, step.check.kind, held, outcome.detail, seconds))
    return rows


@dataclass(frozen=True)
class Checked:
    """What became of every check of some statements: all ``rows``, statement by statement."""

    rows: list[Result]

    @classmethod
    def of(cls, statements: Sequence[Statement]) -> Checked:
        """Run all of them, as `verify` does."""
        return cls([row for statement in statements for row in verify(statement)])

    @property
    def steps(self) -> list[Result]:
        return [row for row in self.rows if row.step > 0]

    @property
    def controls(self) -> list[Result]:
        """The rows of negative controls: they held where the check failed, as it must."""
        return [row for row in self.rows if row.step < 0]

    @property
    def failed(self) -> list[Result]:
        """The rows that did not come out as they must."""
        return [row for row in self.rows if not row.held]

    @property
    def kinds(self) -> dict[str, int]:
        """Kind of check -> how many steps have it."""
        return dict(sorted(Counter(row.kind for row in self.steps).items()))

    @property
    def table(self) -> list[dict[str, Any]]:
        """Every row as a plain mapping."""
        return [{**asdict(row), "seconds": round(row.seconds, 1)} for row in self.rows]

    @property
    def in_words(self) -> dict[str, str]:
        """Statements, steps, controls, and steps of each kind, counted, as text."""
        named = {
            "symbolic": "symbolic",
            "rigorous": "rigorous numeric",
            "simulated": "simulated",
            "words": "in words",
        }
        counts = {name: self.kinds.get(kind, 0) for name, kind in named.items()}
        counts["statements"] = len({row.statement for row in self.rows})
        counts |= {"steps": len(self.steps), "controls": len(self.controls)}
        return {name: str(count) for name, count in counts.items()}


def enclose(expression: sp.Expr, values: Mapping[sp.Symbol, arb]) -> arb:
    """A rigorous enclosure of an expression; rational numbers are never rounded to floats."""
    if isinstance(expression, sp.Symbol):
        return values[expression]
    if isinstance(expression, sp.Rational):
        return arb(int(expression.p)) / int(expression.q)
    if expression is sp.pi:
        return arb.pi()
    if expression is sp.E:
        return arb(1).exp()
    parts = [enclose(argument, values) for argument in expression.args]
    if isinstance(expression, sp.Add):
        return sum(parts[1:], parts[0])
    if isinstance(expression, sp.Mul):
        product = parts[0]
        for part in parts[1:]:
            product *= part
        return product
    if isinstance(expression, sp.Pow):
        exponent = expression.args[1]
        if exponent == sp.S.Half:
            return parts[0].sqrt()
        if isinstance(exponent, sp.Integer):
            return parts[0] ** int(exponent)
        return parts[0] ** parts[1]
    simple = {sp.exp: arb.exp, sp.log: arb.log, sp.erf: arb.erf, sp.erfc: arb.erfc, sp.sin: arb.sin}
    for function, method in simple.items():
        if isinstance(expression, function):
            return method(parts[0])
    raise ValueError(f"no enclosure for {expression.func}")


def _sides(formula: Any, *kinds: type) -> tuple[sp.Expr, sp.Expr]:
    if not any(isinstance(formula, kind) for kind in kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"this check needs a formula of type {names}, got {formula}.")
    return formula.lhs, formula.rhs


def _signed(part: sp.Expr) -> sp.Expr:
    """A positive sum (no term negative, one positive), or a real power of one, as a symbol."""
    if isinstance(part, sp.Pow) and not part.exp.is_real:
        return part
    terms = sp.Add.make_args(sp.expand(part.base if isinstance(part, sp.Pow) else part))
    if all(term.is_nonnegative for term in terms) and any(term.is_positive for term in terms):
        return sp.Dummy(positive=True)
    return part


def _hull(low: sp.Expr, high: sp.Expr) -> arb:
    return enclose(sp.sympify(low), {}).union(enclose(sp.sympify(high), {}))


def _halves(box: tuple[arb, ...]) -> list[tuple[arb, ...]]:
    """Bisect the widest side."""
    widths = [float(side.rad()) for side in box]
    i = widths.index(max(widths))
    middle = arb(box[i].mid())
    return [
        (*box[:i], arb(end).union(middle), *box[i + 1 :])
        for end in (box[i].lower(), box[i].upper())
    ]
