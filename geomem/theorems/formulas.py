"""Equations and inequalities that stay as they are written, for the book to print."""

from __future__ import annotations

import sympy as sp


def equal(left: sp.Expr, right: sp.Expr) -> sp.Equality:
    return sp.Eq(left, right, evaluate=False)


def greater(left: sp.Expr, right: sp.Expr) -> sp.StrictGreaterThan:
    return sp.Gt(left, right, evaluate=False)


def less(left: sp.Expr, right: sp.Expr) -> sp.StrictLessThan:
    return sp.Lt(left, right, evaluate=False)


def at_most(left: sp.Expr, right: sp.Expr) -> sp.LessThan:
    return sp.Le(left, right, evaluate=False)
