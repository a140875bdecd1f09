"""Formulas as a textbook would set them: sums begin with a plus, long relations break."""

from __future__ import annotations

import re
from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE

WIDE = 40  # characters, about what a line of the page holds
SHORT = 12  # a side this short stays on the line


class Textbook(LatexPrinter):
    """sympy's LaTeX with positive terms first, values in brackets, and relations that break."""

    def _print_Add(self, expr: sp.Add, order: str | None = None) -> str:
        terms = self._as_ordered_terms(expr, order=order)
        terms = sorted(terms, key=lambda term: bool(term.could_extract_minus_sign()))
        return str(super()._print_Add(sp.Add(*terms, evaluate=False), order="none"))

    def _print_Mul(self, expr: sp.Mul) -> str:
        """sqrt(c) sqrt(d), which is what sympy makes of it, as one root again."""
        roots = [part for part in expr.args if part.is_Pow and part.exp == sp.S.Half]
        if len(roots) < 2 or not all(part.base.is_Symbol for part in roots):
            return str(super()._print_Mul(expr))
        one = sp.sqrt(sp.Mul(*[part.base for part in roots]), evaluate=False)
        rest = [part for part in expr.args if part not in roots]
        return self._print(sp.Mul(*rest, one, evaluate=False))

    def _print_log(self, expr: sp.Expr, exp: Any = None) -> str:
        if exp is None and expr.args[0].is_Symbol:
            return rf"\log {self._print(expr.args[0])}"
        return str(super()._print_log(expr, exp))

    def _print_Subs(self, subs: sp.Subs) -> str:
        expression, old, new = subs.args
        pairs = zip(old, new, strict=True)
        at = r",\ ".join(f"{self._print(o)} = {self._print(n)}" for o, n in pairs)
        return rf"\left[{self._print(expression)}\right]_{{{at}}}"

    def _print_Relational(self, expr: Any) -> str:
        text = str(super()._print_Relational(expr))
        left, right = self._print(expr.lhs), self._print(expr.rhs)
        if min(_width(left), _width(right)) < SHORT or _width(text) < WIDE:
            return text
        sign = text[len(left) : len(text) - len(right)].strip()
        return rf"\begin{{aligned}}&{left}\\&\quad{sign} {right}\end{{aligned}}"

    def _print_Chain(self, expr: Any) -> str:
        signs = {"==": "=", "<=": r"\le", "<": "<", ">=": r"\ge", ">": ">"}
        parts = [f"{signs[part.rel_op]} {self._print(part.rhs)}" for part in expr.args]
        return " ".join([self._print(expr.args[0].lhs), *parts])

    def _print_Indexed(self, expr: Any) -> str:
        indices = [self._print(index) for index in expr.indices]
        comma = "" if all(len(index) == 1 for index in indices) else ","
        return f"{self._print(expr.base.label)}_{{{comma.join(indices)}}}"

    def _print_Over(self, expr: Any) -> str:
        inside, index, *without = expr.args
        below = self._print(index)
        if without:
            below += r" \ne " + self._print(without[0])
        return rf"{expr.sign}_{{{below}}} {self.parenthesize(inside, PRECEDENCE['Mul'])}"

    _print_Most = _print_Least = _print_Times = _print_Over

    def _print_Expect(self, expr: Any) -> str:
        return rf"\mathbb{{E}}\left[{self._print(expr.args[0])}\right]"

    def _print_Prob(self, expr: Any) -> str:
        (event,) = expr.args
        if isinstance(event, sp.core.relational.Relational):
            inside = super()._print_Relational(event)
        else:
            inside = self._print(event)
        return rf"\mathbb{{P}}\left({inside}\right)"

    def _print_Indicator(self, expr: Any) -> str:
        return rf"\mathbf{{1}}\left\{{{self._print(expr.args[0])}\right\}}"

    def _print_Called(self, expr: Any) -> str:
        return str(self._print(expr.args[0]))


def _width(latex: str) -> int:
    return len(re.sub(r"\\mathrm\{\w+\}|\\[a-zA-Z]+|[{}^_\\ ]", "", latex))
