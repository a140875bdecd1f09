"""Formulas that print, compute and are proved: one sympy object for all three.

Sums and extremes over the points (`Over`, `Most`, `Least`), expectations (`Expect`) and
probabilities (`Prob`) are nodes of a formula like any other. `evaluate` computes any of it from
numbers and draws; `Said` puts formulas into words that carry no number of their own.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy as sp
from scipy import integrate, special

from geomem.geometry.arrays import Floats
from geomem.theorems.textbook import Textbook

N = sp.Symbol("N", integer=True, positive=True)  # how many points the sums run over
i, j = sp.symbols("i j", integer=True, positive=True)

Values = Mapping[Any, Any]  # a symbol or IndexedBase -> number, array, or Draws


def equal(left: sp.Expr, right: sp.Expr) -> sp.Equality:
    return sp.Eq(left, right, evaluate=False)


def greater(left: sp.Expr, right: sp.Expr) -> sp.StrictGreaterThan:
    return sp.Gt(left, right, evaluate=False)


def less(left: sp.Expr, right: sp.Expr) -> sp.StrictLessThan:
    return sp.Lt(left, right, evaluate=False)


def at_most(left: sp.Expr, right: sp.Expr) -> sp.LessThan:
    return sp.Le(left, right, evaluate=False)


def at_least(left: sp.Expr, right: sp.Expr) -> sp.GreaterThan:
    return sp.Ge(left, right, evaluate=False)


def named(latex: str) -> sp.Symbol:
    """A quantity that is only named, such as a norm; braces: sympy prints it as it stands."""
    return sp.Symbol(f"{{{latex}}}", real=True)


def root(*factors: sp.Expr) -> sp.Expr:
    """The square root of a product, printed as one root."""
    return sp.sqrt(sp.Mul(*factors, evaluate=False), evaluate=False)


def half(expression: sp.Expr) -> sp.Expr:
    """Half of a sum, printed as such."""
    return sp.Mul(sp.Rational(1, 2), expression, evaluate=False)


class Chain(sp.Basic):
    """a <= b < c: relations of which each begins where the last one ended."""

    def __new__(cls, *relations: sp.Basic) -> Chain:
        for before, after in itertools.pairwise(relations):
            if before.rhs != after.lhs:
                raise ValueError(f"a chain breaks between {before} and {after}.")
        return sp.Basic.__new__(cls, *relations)


class Over(sp.Expr):
    """The sum of a formula over the points: ``Over(f, j)``, or ``Over(f, j, i)`` over j != i."""

    sign = r"\sum"
    is_commutative = True

    def __new__(cls, formula: sp.Expr, index: sp.Symbol, *without: sp.Symbol) -> Over:
        return sp.Expr.__new__(cls, sp.sympify(formula), index, *without)

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        return (self.args[0].free_symbols - {self.args[1]}) | set(self.args[2:])

    def over(self, parts: Floats) -> Floats:
        return parts.sum(0)


class Most(Over):
    """The maximum over the points."""

    sign = r"\max"

    def over(self, parts: Floats) -> Floats:
        return parts.max(0)


class Least(Over):
    """The minimum over the points."""

    sign = r"\min"

    def over(self, parts: Floats) -> Floats:
        return parts.min(0)


class Times(Over):
    """The product over the points."""

    sign = r"\prod"

    def over(self, parts: Floats) -> Floats:
        return parts.prod(0)


class Expect(sp.Expr):
    """An expectation; in numbers, the mean over the draws."""

    is_commutative = True

    def __new__(cls, formula: sp.Expr) -> Expect:
        return sp.Expr.__new__(cls, sp.sympify(formula))

    def _eval_is_commutative(self) -> bool:
        return bool(self.args[0].is_commutative)

    def _eval_derivative(self, symbol: sp.Symbol) -> sp.Expr:
        return Expect(self.args[0].diff(symbol))


class Prob(sp.Expr):
    """The probability of a relation; in numbers, the share of the draws in which it holds."""

    is_commutative = True

    def __new__(cls, event: sp.Basic) -> Prob:
        return sp.Expr.__new__(cls, event)


class Indicator(sp.Expr):
    """The indicator of a relation: one where it holds, else zero."""

    def __new__(cls, event: sp.Basic) -> Indicator:
        return sp.Expr.__new__(cls, event)


class Called(sp.Expr):
    """A formula that goes by a name: printed as the name, computed as the formula.

    ``doit`` writes it out, and ``equal(called, called.formula)`` is its definition.
    """

    is_extended_real = True

    def __new__(cls, latex: str | sp.Symbol, formula: sp.Expr) -> Called:
        name = latex if isinstance(latex, sp.Symbol) else named(latex)
        return sp.Expr.__new__(cls, name, sp.sympify(formula))

    @property
    def formula(self) -> sp.Expr:
        return self.args[1]

    def doit(self, **hints: Any) -> sp.Expr:
        return self.formula.doit(**hints)


@dataclass(frozen=True)
class Draws:
    """Numbers of which the last axis is that of the draws."""

    values: Floats


FUNCTIONS: dict[type, Callable[..., Any]] = {
    sp.exp: np.exp,
    sp.log: np.log,
    sp.erf: special.erf,
    sp.erfc: special.erfc,
    sp.sin: np.sin,
    sp.cos: np.cos,
    sp.tanh: np.tanh,
    sp.Abs: np.abs,
    sp.gamma: special.gamma,
    sp.factorial: lambda n: special.gamma(n + 1),
}
RELATIONS: dict[type, Callable[..., Any]] = {
    sp.StrictGreaterThan: np.greater,
    sp.GreaterThan: np.greater_equal,
    sp.StrictLessThan: np.less,
    sp.LessThan: np.less_equal,
    sp.Equality: np.equal,
}


def evaluate(formula: sp.Basic, values: Values) -> Any:
    """The value of a formula, in float64.

    Parameters
    ----------
    formula : of numbers, functions (a function of ours brings its ``compute``), sums over the
        points, expectations and probabilities, and integrals of one variable.
    values : what each symbol stands for. An IndexedBase stands for an array whose first axes are
        those of its indices; the sums run over values[N] points.
    """
    if formula in values:
        value = values[formula]
        return value.values if isinstance(value, Draws) else value
    if not formula.args and formula.is_number:
        return float(formula)
    if isinstance(formula, sp.Indexed):
        base = values[formula.base]
        base = base.values if isinstance(base, Draws) else np.asarray(base)
        return base[tuple(int(evaluate(index, values)) - 1 for index in formula.indices)]
    if isinstance(formula, Over):
        inside, index, *without = formula.args
        left_out = [int(evaluate(other, values)) for other in without]
        points = [k for k in range(1, int(values[N]) + 1) if k not in left_out]
        return formula.over(np.array([evaluate(inside, {**values, index: k}) for k in points]))
    if isinstance(formula, sp.Sum):
        return _sum(formula, values)
    if isinstance(formula, sp.Integral):
        return _integral(formula, values)
    if isinstance(formula, Called):
        return evaluate(formula.formula, values)
    if isinstance(formula, sp.Limit) and formula.has(Expect, Prob):
        return evaluate(formula.args[0], values)  # the world stands near the limit
    if isinstance(formula, (sp.Derivative, sp.Subs, sp.Limit)):
        return evaluate(formula.doit(), values)
    parts = [evaluate(part, values) for part in formula.args]
    if isinstance(formula, (Chain, sp.And)):
        return np.logical_and.reduce(np.broadcast_arrays(*parts))
    if isinstance(formula, Indicator):
        return np.asarray(parts[0], dtype=float)
    if isinstance(formula, (Expect, Prob)):
        return np.mean(np.atleast_1d(parts[0]), axis=-1)
    if isinstance(formula, sp.Add):
        return sum(parts[1:], parts[0])
    if isinstance(formula, sp.Mul):
        return np.multiply.reduce(np.broadcast_arrays(*parts)) if len(parts) > 1 else parts[0]
    if isinstance(formula, sp.Pow):
        return np.power(np.asarray(parts[0], dtype=float), parts[1])
    if isinstance(formula, (sp.Max, sp.Min)):
        extreme = np.maximum if isinstance(formula, sp.Max) else np.minimum
        return extreme.reduce(np.broadcast_arrays(*parts))
    compute = getattr(formula, "compute", None) or FUNCTIONS.get(formula.func)
    compute = compute or RELATIONS.get(formula.func)
    if compute is None:
        raise ValueError(f"no way to compute {formula.func}")
    return compute(*parts)


def _sum(formula: sp.Sum, values: Values) -> Any:
    *inner, (index, low, high) = formula.limits
    inside = sp.Sum(formula.function, *inner) if inner else formula.function
    terms = range(int(evaluate(low, values)), int(evaluate(high, values)) + 1)
    return sum(evaluate(inside, {**values, index: k}) for k in terms)


def _integral(formula: sp.Integral, values: Values) -> float:
    ((variable, *ends),) = formula.limits
    low, high = (float(end) if end.is_infinite else evaluate(end, values) for end in ends)

    def integrand(x: Floats) -> Floats:
        flat = evaluate(formula.function, {**values, variable: x.ravel()})
        return np.array(np.broadcast_to(flat, x.size)).reshape(x.shape)

    return float(integrate.tanhsinh(integrand, low, high, rtol=1e-13).integral)


@dataclass(frozen=True)
class Said:
    """Words with formulas in them: the words carry no number and no mathematics of their own.

    ``words`` has a slot for each of ``parts``: "{name}" stands in the line, "{name:display}" on
    a line of its own. What is said is then what is checked: see `Statement.grounds`.
    """

    words: str
    parts: Mapping[str, sp.Basic] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plain = "".join(text for text, *_ in string.Formatter().parse(self.words))
        if set(plain) & set("0123456789$\\"):
            raise ValueError(f"numbers and mathematics belong into slots: {plain!r}")
        slots = {name for _, name, *_ in string.Formatter().parse(self.words) if name is not None}
        if slots != set(self.parts):
            raise ValueError(f"slots and parts differ: {slots ^ set(self.parts)}")

    @property
    def text(self) -> str:
        """As the book prints it, MyST."""
        return "".join(self._pieces())

    def _pieces(self) -> Iterator[str]:
        for plain, name, form, _ in string.Formatter().parse(self.words):
            yield plain
            if name is not None:
                latex = Textbook().doprint(self.parts[name])
                yield f"\n\n$$\n{latex}\n$$\n\n" if form == "display" else f"${latex}$"


def say(words: str, **parts: sp.Basic) -> Said:
    """`Said`, its formulas as keywords."""
    return Said(words, parts)
