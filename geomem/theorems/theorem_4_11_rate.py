"""Theorem 4.11 at a fixed input: the rate, by an expansion in the inverse of the noise level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.gaussian import gaussian_denoiser
from geomem.theorems.checks import Computed, Identity, LimitValue
from geomem.theorems.formulas import Expect, Values, equal, half, named, say
from geomem.theorems.statement import Statement, Step
from geomem.theorems.theorem_4_11 import (
    Sigma,
    empirical,
    lam,
    norm2,
    on_axes,
    over_law,
    sigma,
    to_x,
    u,
    x_,
    xi,
    y,
)

# The formulas ------------------------------------------------------------------------------

q = sp.Symbol("q", positive=True)
GAP_AT_X = named(r"\left(m_\sigma(x) - m^G_\sigma(x)\right)")


class AtLargeNoise(sp.Expr):
    """lim sigma^n f as sigma grows; in numbers, at the sigma of a world."""

    def __new__(cls, quantity: sp.Expr, power: Any, noise: sp.Expr = sigma) -> AtLargeNoise:
        return sp.Expr.__new__(cls, quantity, sp.sympify(power), noise)

    @staticmethod
    def compute(quantity: Floats, power: float, noise: float) -> Floats:
        return noise**power * quantity

    def _latex(self, printer: Any) -> str:
        quantity, power, noise = (printer.doprint(part) for part in self.args)
        return rf"\lim_{{{noise}\to\infty}} {noise}^{{{power}}}\, {quantity}"


def expanded(gaps: Mapping[sp.Expr, sp.Expr], *vanish: sp.Expr) -> Callable[[sp.Expr], sp.Expr]:
    """The limit of u^{-n} f(u) as u = 1 / sigma falls to zero, by the Taylor coefficients of f.

    A coefficient before the n-th keeps its power of u, so that no limit is taken for another.
    """

    def leading(quantity: sp.Expr, power: sp.Integer, noise: sp.Expr) -> sp.Expr:
        f = gaps[quantity]
        return sum(
            f.diff(u, n).subs(u, 0) / sp.factorial(n) * u ** (n - power) for n in range(power + 1)
        )

    return lambda e: over_law(e.replace(AtLargeNoise, leading)).subs(dict.fromkeys(vanish, 0))


def gap(noise: sp.Expr, clean: sp.Expr) -> sp.Expr:
    """m - m^G along an axis of variance lambda, at the input mu + xi_0 + Z / u, u = 1 / sigma."""
    density = sp.exp(u * noise + u**2 * (clean - norm2 / 2))
    linear = sum(power * Expect(xi * part) for power, part in ((u, noise), (u**2, clean)) if part)
    return Expect(xi * density) / Expect(density) - linear / (1 + lam * u**2)


AT_X = equal(GAP_AT_X, gap(sp.S.Zero, to_x))
RATE = equal(AtLargeNoise(GAP_AT_X, 2), -half(Expect(xi * norm2)))
variance = q * (1 - q)
skewness = q * (1 - q) * (1 - 2 * q)


def two_points(position: sp.Expr) -> sp.Expr:
    """m - m^G for xi = 1 - q or -q, with probabilities q and 1 - q, at (x - mu) u^2 = position."""
    posterior = q / (q + (1 - q) * sp.exp(u**2 * (1 - 2 * q) / 2 - position)) - q
    return posterior - variance * position / (1 + variance * u**2)


def apart(at: Values) -> float:
    affine = gaussian_denoiser(at["x"], at["points"], at[sigma]) @ at["axes"]
    return float(empirical(at)[-1] - affine[0, -1])


# The statement -----------------------------------------------------------------------------

RATE_STATEMENT = Statement(
    label="theorem-4-11-rate",
    number="Theorem 4.11",
    part="(rate)",
    kind="proposition",
    title="The rate at a fixed input",
    whose="reconstruction",
    assumptions=say(
        "As in the theorem, with {xi} for {centred}; {x} is fixed while {sigma} grows.",
        xi=xi,
        centred=named(r"X - \mu"),
        x=x_,
        sigma=sigma,
    ),
    claim=say(
        "{rate:display}the same for every {x}: this rate is sharp unless the vector on the right "
        "is zero.",
        rate=RATE,
        x=x_,
    ),
    steps=(
        Step(
            say(
                "With {u} the inverse of {sigma}, along an axis of {Sigma} with variance {lam}, "
                "the denoisers differ by{gap:display}which is smooth in {u} for a law of bounded "
                "support. Of its Taylor coefficients at zero the first two vanish, and the next is",
                u=u,
                sigma=sigma,
                Sigma=Sigma,
                lam=lam,
                gap=AT_X,
            ),
            RATE,
            Identity(expanded({GAP_AT_X: AT_X.rhs})),
        ),
        Step(
            r"Two points one apart, the upper one with probability $q$: $\xi$ is $1-q$ or $-q$, "
            r"$\mathbb{E}\,\xi^3 = q(1-q)(1-2q)$, and with $y = x - \mu$ the posterior mean is "
            "logistic.",
            equal(sp.Limit(two_points(u**2 * y) / u**2, u, 0), -skewness / 2),
            LimitValue(),
        ),
    ),
    controls=(
        Step(
            "A twentieth less than the half.",
            equal(RATE.lhs, sp.Rational(19, 20) * RATE.rhs),
            Identity(expanded({GAP_AT_X: AT_X.rhs})),
        ),
        Step(
            "The same for two points.",
            equal(sp.Limit(two_points(u**2 * y) / u**2, u, 0), -skewness * sp.Rational(19, 40)),
            LimitValue(),
        ),
    ),
    code=(Computed("empirical_denoiser - gaussian_denoiser", AT_X, apart, on_axes),),
)

STATEMENTS = (RATE_STATEMENT,)
