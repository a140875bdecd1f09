"""Theorem 4.11 and the errors: the gap is what a denoiser gains that is not affine."""

from __future__ import annotations

from functools import cache

import numpy as np
import sympy as sp

from geomem.geometry.gaussian import linear_gap, linear_mmse
from geomem.geometry.posterior import empirical_denoiser
from geomem.theorems.checks import Computed, Identity, Refused, Simulated, Words
from geomem.theorems.formulas import Draws, Expect, Values, equal, named, say
from geomem.theorems.statement import Statement, Step
from geomem.theorems.theorem_4_11 import (
    GAIN,
    NOISE,
    Sigma,
    cloud,
    k,
    lam_,
    over_law,
    pair,
    principal,
    sigma,
    skewed,
    unit,
    weight,
    xi,
    y,
)
from geomem.theorems.theorem_4_11_noisy import MEAN_GAP, Z, d, over_axes

# The formulas ------------------------------------------------------------------------------

S = sp.Symbol("G", commutative=False)
A, A_T, b, b_T, column, row, Z_T = (
    sp.Symbol(f"{{{name}}}", commutative=False)
    for name in ("A", r"A^\top", "b", r"b^\top", r"\xi", r"\xi^\top", r"Z^\top")
)
MEAN_ERROR = Expect(named(r"\|X - m_\sigma(X_\sigma)\|^2"))
GAIN_T = (Sigma + sigma**2 * unit) ** -1 * Sigma
LEFT_OVER = sigma**2 * GAIN
AFFINE = equal(
    Expect((column - A * (column + sigma * Z) - b) * (row - (row + sigma * Z_T) * A_T - b_T)),
    LEFT_OVER + (A - GAIN) * (Sigma + sigma**2 * unit) * (A_T - GAIN_T) + b * b_T,
)
WIENER = lam_[k] * sigma**2 / (lam_[k] + sigma**2)
GAIN_OF_NONLINEARITY = equal(MEAN_GAP, over_axes(WIENER, k) - MEAN_ERROR)
bar = sp.Symbol(r"\bar\xi", real=True)


def under(error: sp.Expr) -> sp.Expr:
    """The mean square of an error under weights."""
    return Expect(error**2 * weight) / Expect(weight)


def _second_moments(expression: sp.Expr) -> sp.Expr:
    """Of xi and Z, independent and centred: Sigma and I; with G = Sigma + sigma^2 I."""

    def expectation(product: sp.Expr) -> sp.Expr:
        kept = sp.expand(product).subs({column * row: Sigma, Z * Z_T: unit})
        return kept.subs(dict.fromkeys((column, row, Z, Z_T), 0))

    put = expression.replace(Expect, expectation).subs(unit, 1).subs(Sigma, S - sigma**2)
    return sp.expand(put)


# Worlds ------------------------------------------------------------------------------------


@cache
def _errors() -> list[Values]:
    """The gap and the error of the posterior mean, from draws of their own."""
    worlds: list[Values] = []
    rng = np.random.default_rng(12)
    points = skewed(rng, 4, 2)
    clean = np.tile(points, (50_000, 1))
    for noise in (0.1, 0.3, 1.0):
        noisy = clean + noise * rng.standard_normal(clean.shape)
        error = ((empirical_denoiser(noisy, points, noise) - clean) ** 2).sum(1)
        measured = linear_gap(points, [noise], queries=clean, draws=1).per_query[:, 0]
        world = {MEAN_GAP.args[0]: Draws(measured), MEAN_ERROR.args[0]: Draws(error)}
        worlds.append(world | {lam_: principal(points)[1], d: 2, sigma: noise})
    return worlds


def _spectra(rng: np.random.Generator) -> Values:
    points, _, noise = cloud(rng)
    values = principal(points)[1]
    louder = noise * np.exp(rng.uniform(-8, 8))
    return {lam_: values, d: len(values), sigma: louder, "points": points}


# The statement -----------------------------------------------------------------------------

MMSE_STATEMENT = Statement(
    label="theorem-4-11-mmse",
    number="Theorem 4.11",
    kind="proposition",
    title="The gap as the gain of nonlinearity",
    whose="ours",
    assumptions=say(
        "As in the proposition on noisy inputs; {lam} are the eigenvalues of {Sigma}.",
        lam=lam_[k],
        Sigma=Sigma,
    ),
    claim=say(
        "The Gaussian denoiser is the best affine one, in every direction: an affine denoiser with "
        "any matrix {A} and offset {b} has the error{affine:display}in which the second and third "
        "term are positive semidefinite. And the gap is what nonlinearity can gain:{gain:display}"
        "To first order it is the law on noisy inputs.",
        A=A,
        b=b,
        affine=AFFINE,
        gain=GAIN_OF_NONLINEARITY,
    ),
    steps=(
        Step(
            r"With $\mathbb{E}\,\xi\xi^\top = \Sigma$ and $\mathbb{E}\,ZZ^\top = I$, independent "
            "and centred, complete the square:",
            AFFINE,
            Identity(_second_moments),
        ),
        Step(
            r"The second term vanishes at $A = \Sigma(\Sigma+\sigma^2 I)^{-1}$, the third without "
            r"an offset. Left is the first, which along an axis of $\Sigma$ is",
            equal(sp.Subs(LEFT_OVER, (Sigma, unit), (lam_[k], 1)), WIENER),
            Identity(),
        ),
        Step(
            r"At one input, with any weights $w$ for the posterior's and $\bar\xi$ the mean under "
            "them, the error of an answer $y$ splits, coordinate by coordinate:",
            equal(under(xi - y), under(xi - bar) + (bar - y) ** 2),
            Identity(lambda e: over_law(e).subs(bar, Expect(xi * weight) / Expect(weight))),
        ),
        Step(
            r"Put $m^G_\sigma$ for the answer, sum over the coordinates, and average over the "
            "inputs that occur.",
            None,
            Words("the law of total expectation"),
        ),
        Step(
            r"On the left is then the error of $m^G_\sigma$, and the gap is what it has too much:",
            GAIN_OF_NONLINEARITY,
            Simulated(_errors),
        ),
    ),
    controls=(
        Step(
            "A twentieth less left over.",
            equal(AFFINE.lhs, AFFINE.rhs - LEFT_OVER / 20),
            Identity(_second_moments),
        ),
        Step(
            "The offset left out.",
            equal(AFFINE.lhs, AFFINE.rhs - b * b_T),
            Identity(_second_moments),
        ),
        Step(
            "A gain a twentieth larger.",
            equal(MEAN_GAP, sp.Rational(21, 20) * GAIN_OF_NONLINEARITY.rhs),
            Simulated(_errors),
        ),
    ),
    code=(
        Computed(
            "linear_mmse",
            over_axes(WIENER, k),
            lambda at: linear_mmse(at["points"], [at[sigma]])[0],
            _spectra,
        ),
        Refused("linear_mmse", NOISE, sigma, lambda s: linear_mmse(pair, [s])),
    ),
)

STATEMENTS = (MMSE_STATEMENT,)
