"""Theorem 4.11 on noisy inputs: the mean square of the gap, by the cumulants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.gaussian import cumulant_norm2, linear_gap, linear_gap_law
from geomem.theorems.checks import (
    Computed,
    Identity,
    Instances,
    LimitValue,
    Refused,
    Simulated,
    Words,
)
from geomem.theorems.formulas import (
    Chain,
    Draws,
    Expect,
    Values,
    at_most,
    equal,
    half,
    j,
    named,
    say,
)
from geomem.theorems.statement import Statement, Step
from geomem.theorems.theorem_4_11 import (
    NOISE,
    Sigma,
    X,
    cloud,
    copy_,
    k,
    lam,
    norm2,
    on_axes,
    over_law,
    pair,
    sigma,
    skewed,
    to_clean,
    to_noise,
    u,
    xi,
    xi_,
)
from geomem.theorems.theorem_4_11_rate import (
    AtLargeNoise,
    apart,
    expanded,
    gap,
    skewness,
    two_points,
)

# The formulas ------------------------------------------------------------------------------

Y = sp.Symbol("Y", real=True)
d, l, m, order = sp.symbols("d l m n", integer=True, positive=True)  # noqa: E741  # the field's
Z, Z_ = sp.Symbol("{Z}", commutative=False), sp.IndexedBase("Z")
kappa_3, kappa_4 = sp.IndexedBase(r"{\kappa_3}"), sp.IndexedBase(r"{\kappa_4}")
GAP_IN_NOISE = named(r"\left(m_\sigma(X_\sigma) - m^G_\sigma(X_\sigma)\right)")
MEAN_GAP = Expect(named(r"\|m_\sigma(X_\sigma) - m^G_\sigma(X_\sigma)\|^2"))


def over_noise(expression: sp.Expr, case: Mapping[Any, Any]) -> sp.Expr:
    """Expectations over Z ~ N(0, I) of polynomials; the cumulants are symmetric tensors."""
    symmetric = expression.replace(
        lambda part: isinstance(part, sp.Indexed) and part.base in (kappa_3, kappa_4),
        lambda part: part.base[tuple(sorted(part.indices))],
    )
    noise = [Z_[axis] for axis in range(1, case[d] + 1)]

    def moment(power: int) -> sp.Expr:
        return 0 if power % 2 else sp.factorial2(power - 1)

    def expectation(drawn: sp.Expr) -> sp.Expr:
        fixed = sorted(drawn.atoms(sp.Indexed) - {*noise}, key=str)
        return sum(
            factor
            * sp.prod(map(moment, powers[: len(noise)]))
            * sp.prod(map(sp.Pow, fixed, powers[len(noise) :]))
            for powers, factor in sp.Poly(drawn, *noise, *fixed).terms()
        )

    return symmetric.replace(Expect, expectation)


IN_NOISE = equal(GAP_IN_NOISE, gap(to_noise, to_clean))


def second_order(one: sp.Expr, noise: sp.Expr, square: sp.Expr) -> sp.Expr:
    return half(Expect(one * noise**2) - Expect(one * square))


def third_order(one: sp.Expr, noise: sp.Expr, square: sp.Expr, twice: sp.Expr) -> sp.Expr:
    """``twice`` is the coordinate of Sigma^2 Z."""
    moments = Expect(one * noise**3) / 6 - Expect(one * noise * square) / 2
    return moments - Expect(one * noise) * (Expect(noise**2) - Expect(square)) / 2 + twice


SECOND_ORDER = equal(AtLargeNoise(GAP_IN_NOISE, 2), second_order(xi, to_noise, norm2))
THIRD_ORDER = equal(
    AtLargeNoise(GAP_IN_NOISE, 3),
    third_order(xi, to_noise, norm2, lam * Expect(xi * to_noise)),
)
THIRD_MOMENTS = (Expect(xi * to_noise**2), Expect(xi * norm2), Expect(xi * to_noise * to_clean))


def over_axes(formula: sp.Expr, *indices: sp.Symbol) -> sp.Sum:
    return sp.Sum(formula, *((index, 1, d) for index in indices))


KAPPA_3 = equal(kappa_3[j, k, l], Expect(xi_[j] * xi_[k] * xi_[l]))
PAIRS = sum(
    Expect(xi_[j] * xi_[one]) * Expect(xi_[two] * xi_[three])
    for one, two, three in ((k, l, m), (l, k, m), (m, k, l))
)
KAPPA_4 = equal(kappa_4[j, k, l, m], Expect(xi_[j] * xi_[k] * xi_[l] * xi_[m]) - PAIRS)
HERMITE_2 = half(
    over_axes(kappa_3[j, k, l] * Z_[k] * Z_[l], k, l) - over_axes(kappa_3[j, k, k], k),
)
HERMITE_3 = over_axes(kappa_4[j, k, l, m] * Z_[k] * Z_[l] * Z_[m], k, l, m) / 6 - half(
    over_axes(kappa_4[j, k, k, m] * Z_[m], k, m)
)


def by_moments(cumulant: sp.Equality, formula: sp.Expr) -> sp.Expr:
    """A formula with the definition of a cumulant put in."""
    base, indices = cumulant.lhs.base, cumulant.lhs.indices
    return formula.replace(
        lambda part: isinstance(part, sp.Indexed) and part.base == base,
        lambda part: cumulant.rhs.subs(
            dict(zip(indices, part.indices, strict=True)), simultaneous=True
        ),
    )


FOURTH_MOMENT = equal(kappa_4[j, k, l, m], Expect(xi_[j] * xi_[k] * xi_[l] * xi_[m]))
ALONG = (xi_[j], over_axes(Z_[k] * xi_[k], k), over_axes(xi_[k] ** 2, k))
TWICE = over_axes(Expect(xi_[j] * xi_[k]) * Expect(xi_[k] * xi_[l]) * Z_[l], k, l)


def law(power: int, norm: sp.Expr) -> sp.Expr:
    """The mean square of the n-th cumulant's Hermite polynomial: its norm over (n - 1)!."""
    return norm / sp.factorial(power - 1)


NORMS = {n: named(rf"\|\kappa_{n}\|^2") for n in (3, 4)}
LAWS = {n: equal(AtLargeNoise(MEAN_GAP, 2 * n - 2), law(n, NORMS[n])) for n in (3, 4)}
PRODUCT = named(r"\langle\xi,\xi'\rangle")
NORM_3 = equal(NORMS[3], Expect(PRODUCT**3))
PLANE_AND_SPACE = "d = 2 and 3"


def _dimensions() -> Iterator[Mapping[Any, Any]]:
    return ({d: dim} for dim in (2, 3))


def _components() -> Iterator[Mapping[Any, Any]]:
    """The first coordinate; the others are the same but for their names."""
    return ({d: dim, j: 1} for dim in (2, 3))


# Worlds ------------------------------------------------------------------------------------

DRAWS = 400_000


def _norms(points: Floats) -> dict[Any, Any]:
    """The norms of the cumulants, by their tensors."""
    xi = points - points.mean(0)
    third = np.einsum("na,nb,nc->abc", xi, xi, xi) / len(xi)
    fourth = np.einsum("na,nb,nc,nd->abcd", xi, xi, xi, xi) / len(xi)
    covariance = xi.T @ xi / len(xi)
    for pairing in ("ab,cd->abcd", "ac,bd->abcd", "ad,bc->abcd"):
        fourth -= np.einsum(pairing, covariance, covariance)
    return {NORMS[3]: (third**2).sum(), NORMS[4]: (fourth**2).sum()}


def _cumulants(rng: np.random.Generator) -> Values:
    points, _, noise = cloud(rng, least=3)  # two have no third cumulant
    centred = points - points.mean(0)
    products = (centred @ centred.T).ravel()
    return _norms(points) | {PRODUCT: products, sigma: noise, "points": points}


def _law_code(n: int) -> Computed:
    return Computed(
        f"linear_gap_law(order={n})",
        LAWS[n].rhs / sigma ** (2 * n - 2),
        lambda at: linear_gap_law(at["points"], [at[sigma]], order=n)[0],
        _cumulants,
    )


@cache
def _loud(n: int) -> tuple[Values]:
    """Noise a hundred times the spread of a skewed cloud, or of one with its mirror image."""
    points = skewed(np.random.default_rng(7), 4, 3)
    points = points if n == 3 else np.concatenate([points, 2 * points.mean(0) - points])
    noise = 100 * float(np.sqrt(points.var(0).sum()))
    clean = np.tile(points, (DRAWS // len(points), 1))
    measured = linear_gap(points, [noise], queries=clean, draws=1).per_query[:, 0]
    return (_norms(points) | {MEAN_GAP.args[0]: Draws(measured), sigma: noise},)


# The statement -----------------------------------------------------------------------------

NOISY_STATEMENT = Statement(
    label="theorem-4-11-noisy",
    number="Theorem 4.11",
    kind="proposition",
    title="The law on noisy inputs",
    whose="ours",
    assumptions=say(
        "As in the theorem, with the input {noisy}, the clean {X} from the same law. With {xi} "
        "for {centred}, the third and fourth cumulants are {kappa_3:display}{kappa_4:display}and "
        "norms are Frobenius.",
        noisy=X + sigma * Z,
        X=X,
        xi=xi,
        centred=named(r"X - \mu"),
        kappa_3=KAPPA_3,
        kappa_4=KAPPA_4,
    ),
    claim=say(
        "{third:display}{norm:display}where {copy} is an independent copy of {xi}. If {kappa_3} "
        "vanishes (a centrally symmetric law, say), then{fourth:display}The second law is our "
        "addition.",
        third=LAWS[3],
        norm=NORM_3,
        copy=copy_.label,
        xi=xi,
        kappa_3=kappa_3.label,
        fourth=LAWS[4],
    ),
    steps=(
        Step(
            say(
                "On a noisy input {split}, with {u} the inverse of {sigma}, the denoisers differ "
                "along an axis of {Sigma} with variance {lam} by{gap:display}For a draw of {xi_0} "
                "and {Z} the first two Taylor coefficients in {u} vanish, and the next is",
                split=named(r"x - \mu = \xi_0 + \sigma Z"),
                u=u,
                sigma=sigma,
                Sigma=Sigma,
                lam=lam,
                gap=IN_NOISE,
                xi_0=sp.Symbol(r"\xi_0"),
                Z=Z,
            ),
            SECOND_ORDER,
            Identity(expanded({GAP_IN_NOISE: IN_NOISE.rhs})),
        ),
        Step(
            "In coordinates this is a Hermite polynomial of the third cumulant.",
            equal(second_order(*ALONG), by_moments(KAPPA_3, HERMITE_2)),
            Instances(PLANE_AND_SPACE, _components, over_law),
        ),
        Step(
            "Over $Z$, its mean square is",
            equal(
                Expect(over_axes(HERMITE_2**2, j)),
                law(3, over_axes(kappa_3[j, k, l] ** 2, j, k, l)),
            ),
            Instances(PLANE_AND_SPACE, _dimensions, over_noise),
        ),
        Step(
            "And the norm needs no tensor.",
            equal(
                over_axes(KAPPA_3.rhs**2, j, k, l),
                Expect(over_axes(xi_[j] * copy_[j], j) ** 3),
            ),
            Instances(PLANE_AND_SPACE, _dimensions, over_law),
        ),
        Step(
            r"Limit and expectation may change places: by the theorem at the distance "
            r"$R + \sigma\|Z\|$ and for $\sigma \ge 1$, $\sigma^2\|m_\sigma - m^G_\sigma\|$ is "
            r"at most a constant times $(1+\|Z\|)^2$, and its square is integrable.",
            None,
            Words("dominated convergence"),
        ),
        Step(
            "That is the law, seen at a hundred times the spread of a cloud. (Nothing changes with "
            "the signs of both $u$ and $Z$, so that it is met up to two powers of $u$.)",
            LAWS[3],
            Simulated(partial(_loud, 3)),
        ),
        Step(
            "Where the third moments vanish so does this coefficient, and the next is",
            THIRD_ORDER,
            Identity(expanded({GAP_IN_NOISE: IN_NOISE.rhs}, *THIRD_MOMENTS)),
        ),
        Step(
            "again a Hermite polynomial, now of the fourth cumulant,",
            equal(third_order(*ALONG, TWICE), by_moments(KAPPA_4, HERMITE_3)),
            Instances(PLANE_AND_SPACE, _components, over_law),
        ),
        Step(
            "with the mean square",
            equal(
                Expect(over_axes(HERMITE_3**2, j)),
                law(4, over_axes(kappa_4[j, k, l, m] ** 2, j, k, l, m)),
            ),
            Instances(PLANE_AND_SPACE, _dimensions, over_noise),
        ),
        Step(
            r"Limit and expectation may change places again. In the theorem's expansion, taken one "
            r"order further, the third derivative is at most $C R\operatorname{osc}^3$, for "
            r"$\sigma \ge 1$ at most $C(1+\|Z\|)^3/\sigma^3$, with a constant $C$ that may be "
            r"another in each place. Where the third moments vanish, so does what $\bar\xi''(0)$ "
            r"and the skewness vector have of order $\sigma^{-2}$; the rest, and the difference of "
            r"the linear terms, is at most $C(1+\|Z\|)/\sigma^3$. So $\sigma^3\|m_\sigma - "
            r"m^G_\sigma\|$ is at most $C(1+\|Z\|)^3$, and its square is integrable.",
            None,
            Words("dominated convergence"),
        ),
        Step(
            "That is the second law, seen at as much noise.",
            LAWS[4],
            Simulated(partial(_loud, 4)),
        ),
        Step(
            r"For the two-point law, at the noisy input $y = Y/u$, the coefficients are exactly",
            equal(sp.Limit(two_points(u * Y) / u**2, u, 0), skewness * (Y**2 - 1) / 2),
            LimitValue(),
        ),
        Step(
            r"and for the pair $\xi = \pm 1$, which has $\kappa_4 = -2$ and a hyperbolic tangent "
            "for posterior mean,",
            equal(
                sp.Limit((sp.tanh(u * Y) - u * Y / (1 + u**2)) / u**3, u, 0),
                -(Y**3 - 3 * Y) / 3,
            ),
            LimitValue(),
        ),
    ),
    controls=(
        Step(
            "A norm a tenth larger.",
            equal(
                Expect(over_axes(HERMITE_2**2, j)),
                sp.Rational(11, 10) * law(3, over_axes(kappa_3[j, k, l] ** 2, j, k, l)),
            ),
            Instances(PLANE_AND_SPACE, _dimensions, over_noise),
        ),
        Step(
            "The fourth moment in place of the fourth cumulant.",
            equal(third_order(*ALONG, TWICE), by_moments(FOURTH_MOMENT, HERMITE_3)),
            Instances(PLANE_AND_SPACE, _components, over_law),
        ),
        Step(
            "The third coefficient where the third moments do not vanish.",
            THIRD_ORDER,
            Identity(expanded({GAP_IN_NOISE: IN_NOISE.rhs})),
        ),
        *(
            Step(
                "The law a twentieth smaller.",
                equal(LAWS[n].lhs, sp.Rational(19, 20) * LAWS[n].rhs),
                Simulated(partial(_loud, n)),
            )
            for n in (3, 4)
        ),
    ),
    code=(
        Computed("empirical_denoiser - gaussian_denoiser", IN_NOISE, apart, on_axes),
        Computed("cumulant_norm2", NORM_3, lambda at: cumulant_norm2(at["points"]), _cumulants),
        *(_law_code(n) for n in (3, 4)),
        Refused("linear_gap_law(sigmas=)", NOISE, sigma, lambda s: linear_gap_law(pair, [s])),
        Refused(
            "linear_gap_law(order=)",
            Chain(at_most(sp.Integer(3), order), at_most(order, sp.Integer(4))),
            order,
            lambda n: linear_gap_law(pair, [1.0], order=n),
            step=1,
        ),
    ),
)

STATEMENTS = (NOISY_STATEMENT,)
