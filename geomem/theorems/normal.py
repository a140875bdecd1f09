"""The standard normal law in formulas: F, its density f, and its tail Q, printed as such."""

from __future__ import annotations

from typing import Any

import sympy as sp
from scipy import special


def f(x: sp.Expr) -> sp.Expr:
    """The standard normal density."""
    return sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)


class F(sp.Function):
    """The standard normal distribution function; `written_out` turns it into erf."""

    compute = staticmethod(special.ndtr)

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return f(self.args[0])

    def _eval_rewrite(self, rule: Any, args: Any, **hints: Any) -> sp.Expr:
        return (1 + sp.erf(args[0] / sp.sqrt(2))) / 2


class Q(sp.Function):
    """The tail Q = 1 - F."""

    compute = staticmethod(lambda x: special.ndtr(-x))

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        return -f(self.args[0])

    def _eval_rewrite(self, rule: Any, args: Any, **hints: Any) -> sp.Expr:
        return sp.erfc(args[0] / sp.sqrt(2)) / 2


def written_out(expression: sp.Expr) -> sp.Expr:
    """F and Q in terms of erf, which sympy knows how to integrate and simplify."""
    return expression.rewrite(sp.erf)
