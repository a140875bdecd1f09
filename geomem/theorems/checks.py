"""The kinds of check, never confused with each other.

- *symbolic* (`Identity`, `Sign`, `LimitValue`): sympy proves the formula, without floating point.
- *instances* (`Instances`): sympy proves it in some finite cases; for all others that is evidence.
- *rigorous* (`Enclosed`): interval arithmetic over a whole stated range.
- *simulated* (`Simulated`): both sides of the printed formula, from draws with a seed, such that
  a target moved by 5% would fail. Evidence, not proof.
- *example* (`Enclosed` at one point, and its kin): a number that no proof uses, enclosed.
- *code* (`Computed`, `Refused`): the package's function computes the formula, and refuses what
  lies outside its range.
- *in words* (`Words`): a named fact, not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import sympy as sp
from flint import arb, ctx

from geomem.theorems.formulas import Chain, Draws, Values, evaluate

MAX_BOXES = 20_000
BATCHES = 40  # of draws; their spread gives the standard error of any formula
MOVE = 0.05  # a simulated target moved by so much must fail
ROUNDING = 1e-8  # of the formula, above which a value from below may not be
POINTS = 40  # random points at which code is compared with its formula


def _unchanged(difference: sp.Expr) -> sp.Expr:
    return difference


@dataclass(frozen=True)
class Outcome:
    """Whether a check held, one line on how, and ``found``, the formula that it came to, if any."""

    held: bool
    detail: str
    found: str = ""


@dataclass(frozen=True)
class Words:
    """A step in words; nothing is checked. ``fact`` names the textbook fact that it is."""

    fact: str
    kind: ClassVar[str] = "in words"

    def run(self, formula: sp.Basic | None) -> Outcome:
        return Outcome(True, f"not checked: {self.fact}")


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
        if difference == 0:
            return Outcome(True, "the sides are equal")
        return Outcome(False, "the sides differ", f"by {difference}")


@dataclass(frozen=True)
class Instances:
    """An equation, exactly, in each of some finite cases; for the others it is evidence.

    ``cases`` are substitutions; ``prepare`` rewrites the difference of the sides in one of them,
    and whatever it does must be an identity too.
    """

    name: str  # which cases, "n = 2 to 8"
    cases: Callable[[], Iterable[Mapping[Any, Any]]]
    prepare: Callable[[sp.Expr, Mapping[Any, Any]], sp.Expr]
    kind: ClassVar[str] = "instances"

    def run(self, formula: sp.Basic) -> Outcome:
        left, right = _sides(formula, sp.Equality)
        for case in self.cases():
            difference = (left - right).subs(case).doit()
            if sp.expand(self.prepare(difference, case)) != 0:
                return Outcome(False, "false in one of the cases", f"{case}")
        return Outcome(True, f"exactly, for {self.name}")


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
        shows = "has this sign" if known else "shows no such sign"
        said = f"the difference of the sides, factored, {shows}"
        return Outcome(bool(known), said, f"it is {difference}")


@dataclass(frozen=True)
class LimitValue:
    """An equation whose left side is a ``Limit``: sympy evaluates it to the right side."""

    kind: ClassVar[str] = "symbolic"

    def run(self, formula: sp.Basic) -> Outcome:
        left, right = _sides(formula, sp.Equality)
        value = left.doit()
        held = bool(sp.simplify(value - right) == 0)
        said = "the limit is this" if held else "the limit is another"
        return Outcome(held, said, f"it is {value}")


@dataclass(frozen=True)
class Enclosed:
    """An inequality over boxes, by interval arithmetic (Arb) with bisection.

    ``ranges`` gives each free symbol its interval (as exact sympy numbers). The check
    holds only when every box is decided, so it never passes by sampling. At one point only it
    is an example.
    """

    ranges: Mapping[sp.Symbol, tuple[sp.Expr, sp.Expr]]
    bits: int = 128

    @property
    def kind(self) -> str:
        wide = any(sp.sympify(low) != sp.sympify(high) for low, high in self.ranges.values())
        return "rigorous" if wide else "example"

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
                    return Outcome(False, "violated in a part of the range", f"{box}")
                boxes += _halves(box)
            return Outcome(False, f"undecided after {MAX_BOXES} boxes")
        finally:
            ctx.prec = precision


@dataclass(frozen=True)
class Simulated:
    """Both sides of the printed formula, computed in simulated worlds: evidence, not proof.

    A world is a mapping for `evaluate` whose random quantities are `Draws`. In each, the sides
    may differ by four standard errors (an inequality: in the wrong direction), which come from
    `BATCHES` batches of the draws; a side that is drawn counts as its mean. And the check must be
    able to fail: a right side moved by `MOVE` must do so in some world, both ways for an
    equation, the tighter way for an inequality; unless that is ``loose`` by nature, for the
    reason given, and then its slack is printed.
    """

    worlds: Callable[[], Iterable[Values]]
    loose: str = ""
    kind: ClassVar[str] = "simulated"

    def run(self, formula: sp.Basic) -> Outcome:
        sense = {sp.Equality: 0, sp.GreaterThan: -1, sp.LessThan: 1}.get(formula.func)
        if sense is None:
            raise ValueError(f"a simulation needs =, <= or >=, got {formula.func.__name__}.")
        worlds = [_in_batches(formula, world) for world in self.worlds()]
        if not worlds or not all(np.isfinite(sides).all() for sides in worlds):
            return Outcome(False, f"{len(worlds)} worlds, not all finite")
        worst = max(_excess(sides, sense) for sides in worlds)
        if worst > 4:
            return Outcome(False, f"{len(worlds)} worlds, worst {worst:.1f} standard errors")
        found = f"{len(worlds)} worlds, worst {max(worst, 0):.1f} standard errors"
        moves = (1 - MOVE, 1 + MOVE) if sense == 0 else (1 - sense * MOVE,)
        seen = all(max(_excess(sides, sense, move) for sides in worlds) > 4 for move in moves)
        if seen:
            return Outcome(True, f"{found}; {MOVE:.0%} away it fails")
        if sense and self.loose:
            means = [sides.mean(1) for sides in worlds if sides[1].mean() > 0]
            tightest = sense * max(sense * left / right for left, right in means)
            return Outcome(True, f"{found}; slack: {tightest:.2f} times the bound; {self.loose}")
        return Outcome(False, f"{found}, but so would a target {MOVE:.0%} away")


def _in_batches(formula: Any, world: Values) -> np.ndarray:
    """The two sides, (2, batches); one batch where nothing is random."""
    drawn = {name: x.values for name, x in world.items() if isinstance(x, Draws)}
    fixed = {name: x for name, x in world.items() if not isinstance(x, Draws)}
    parts = {name: np.array_split(x, BATCHES, axis=-1) for name, x in drawn.items()}
    batches = [
        fixed | {name: part[k] for name, part in parts.items()}
        for k in range(BATCHES if drawn else 1)
    ]

    def values(side: sp.Expr) -> list[float]:
        # What nothing random stands in is computed once.
        once = not any(side.has(name) for name in parts)
        found = [np.mean(evaluate(side, batch)) for batch in batches[: 1 if once else None]]
        return found * len(batches) if once else found

    return np.array([values(formula.lhs), values(formula.rhs)])


def _excess(sides: np.ndarray, sense: int, move: float = 1.0) -> float:
    """By how many standard errors the left side leaves the right, moved, on the wrong side."""
    left, right = sides
    moved = right * move
    if sense == 0 and not right.any():  # of zero, the share of a unit; an inequality cannot tell
        moved = moved + (move - 1)
    gap = left - moved
    rounding = 1e-9 * (np.abs(left).mean() + np.abs(moved).mean()) + 1e-300
    error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
    value = float(abs(gap.mean()) if sense == 0 else sense * gap.mean())
    return value / float(np.hypot(error, rounding))


@dataclass(frozen=True)
class Computed:
    """A function of the package computes this formula: compared at random points of its range.

    Attributes
    ----------
    name : the function as a reader would call it.
    formula : an expression, or a relation of which the right side is computed.
    code : the function, from the values of one point.
    draw : one random point, over the whole range that the package promises.
    tolerance : relative.
    side : "<=" where the package promises a value from below.
    """

    name: str
    formula: sp.Basic
    code: Callable[[Values], Any]
    draw: Callable[[np.random.Generator], Values]
    tolerance: float = 1e-9
    points: int = POINTS
    side: str = "="
    kind: ClassVar[str] = "code"

    def run(self) -> Outcome:
        rng, apart = np.random.default_rng(0), []
        side = getattr(self.formula, "rhs", self.formula)
        for _ in range(self.points):
            values = self.draw(rng)
            want = np.asarray(evaluate(side, values), dtype=float)
            found = np.asarray(self.code(values), dtype=float)
            scale = np.maximum(np.abs(want), np.abs(found)) + 1e-300
            gap = (found - want) / scale
            if self.side == "<=" and np.any(gap > ROUNDING):
                return Outcome(False, f"`{self.name}` is above its formula by {np.max(gap):.0e}")
            apart.append(np.max(np.abs(gap)))
        worst = float(np.max(apart))  # NaN if any is
        return Outcome(
            worst <= self.tolerance, f"`{self.name}` at {self.points} points, worst {worst:.0e}"
        )


@dataclass(frozen=True)
class Refused:
    """The package takes what lies just inside each end of a range, and refuses what does not.

    Attributes
    ----------
    name : the function as a reader would call it.
    formula : a relation, or a `Chain` of two, between ``symbol`` and the ends of its range.
    symbol : what ranges.
    call : the function, of a value of the symbol; it refuses with a ValueError.
    values : of other symbols, in the ends.
    step : how near the end is tried; 1 for whole numbers.
    """

    name: str
    formula: sp.Basic
    symbol: sp.Symbol
    call: Callable[[Any], Any]
    values: Values = field(default_factory=dict)
    step: float = 1e-6
    kind: ClassVar[str] = "code"

    def run(self) -> Outcome:
        relations = self.formula.args if isinstance(self.formula, Chain) else (self.formula,)
        ends = [side for part in relations for side in part.args if side != self.symbol]
        for end in (evaluate(side, self.values) for side in ends):
            for value in (end - self.step, end, end + self.step):
                inside = {**self.values, self.symbol: value}
                within = all(evaluate(part, inside) for part in relations)
                if within == self._refuses(value):
                    done = "refuses" if within else "takes"
                    return Outcome(False, f"`{self.name}` {done} {self.symbol} = {value:.8g}")
        return Outcome(True, f"`{self.name}` refuses the rest")

    def _refuses(self, value: float) -> bool:
        try:
            self.call(int(value) if self.step == 1 else value)
        except ValueError:
            return True
        return False


Check = Words | Identity | Instances | Sign | LimitValue | Enclosed | Simulated
Held = Computed | Refused  # what ties a formula to the package's code


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
