"""Theorem 4.11: at large noise the empirical denoiser is nearly the Gaussian one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.gaussian import (
    cumulant_norm2,
    gaussian_denoiser,
    linear_gap,
    linear_gap_bound,
    linear_gap_law,
    linear_mmse,
)
from geomem.geometry.posterior import empirical_denoiser
from geomem.theorems.checks import (
    Computed,
    Identity,
    Instances,
    LimitValue,
    Refused,
    Sign,
    Simulated,
    Words,
)
from geomem.theorems.formulas import (
    Chain,
    Draws,
    Expect,
    Most,
    N,
    Values,
    at_least,
    at_most,
    equal,
    evaluate,
    greater,
    half,
    i,
    j,
    named,
    say,
)
from geomem.theorems.statement import Statement, Step

sigma, R, lam, lam_1, u, q = sp.symbols(r"sigma R lambda lambda_1 u q", positive=True)
r, B, v, w = sp.symbols("r B v w", nonnegative=True)
size = sp.Symbol(r"{\|\xi\|}", nonnegative=True)
osc = sp.Symbol(r"\operatorname{osc}", nonnegative=True)
theta, y, Y, low, high = sp.symbols("theta y Y a b", real=True)
d, k, l, m, order = sp.symbols("d k l m n", integer=True, positive=True)  # noqa: E741
R_, lam_, Z_ = sp.IndexedBase("R"), sp.IndexedBase("lambda"), sp.IndexedBase("Z")
kappa_3, kappa_4 = sp.IndexedBase(r"{\kappa_3}"), sp.IndexedBase(r"{\kappa_4}")

# One draw of X: a coordinate of xi, the tilt T, any weight, and the scalars of which the tilt at
# an input is made; with an index, the coordinates of xi and of an independent copy.
xi, T, weight = sp.symbols(r"\xi T w", real=True)
to_x, to_clean, to_noise = (named(rf"\langle {at},\xi\rangle") for at in (r"x-\mu", r"\xi_0", "Z"))
norm2 = named(r"\|\xi\|^2")
xi_, copy_ = sp.IndexedBase(r"\xi"), sp.IndexedBase(r"{\xi'}")
CENTRED = (xi, to_x, to_clean, to_noise)
RANDOM = (*CENTRED, T, weight, norm2, xi_, copy_)

GAP_AT_X = named(r"\left(m_\sigma(x) - m^G_\sigma(x)\right)")
GAP_IN_NOISE = named(r"\left(m_\sigma(X_\sigma) - m^G_\sigma(X_\sigma)\right)")
GAP_NORM = named(r"\|m_\sigma(x) - m^G_\sigma(x)\|")
MEAN_GAP = Expect(named(r"\|m_\sigma(X_\sigma) - m^G_\sigma(X_\sigma)\|^2"))
MEAN_ERROR = Expect(named(r"\|X - m_\sigma(X_\sigma)\|^2"))
H_NORM = named(r"\|H(x,\sigma)\|")


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


# Expectations, exactly ---------------------------------------------------------------------


def over_law(expression: sp.Expr, case: Mapping[Any, Any] | None = None) -> sp.Expr:
    """Expectations over X taken apart: linear, zero on what is centred, copies independent."""
    return sp.expand(expression.replace(Expect, _moments))


def _moments(drawn: sp.Expr) -> sp.Expr:
    total = sp.S.Zero
    for term in sp.Add.make_args(sp.expand(drawn, power_exp=False)):
        fixed, random = term.as_independent(*RANDOM, as_Add=False)
        own, other = random.as_independent(copy_, as_Add=False)
        total += fixed * _moment(own) * _moment(other.xreplace({copy_: xi_}))
    return total


def _moment(drawn: sp.Expr) -> sp.Expr:
    if drawn == 1:
        return drawn
    centred = drawn in CENTRED or isinstance(drawn, sp.Indexed)
    return sp.S.Zero if centred else Expect(drawn)


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


# The formulas: the bound -------------------------------------------------------------------

x_, mu, Sigma, unit, S = (sp.Symbol(s, commutative=False) for s in ("x", "mu", "Sigma", "I", "G"))
H = sp.Symbol(r"H(x,\sigma)", real=True)
GAIN = Sigma * (Sigma + sigma**2 * unit) ** -1
DISPLAY = equal(named(r"m_\sigma(x)"), mu + GAIN * (x_ - mu) + H * (1 + sigma) ** -2)
RADIUS = equal(R, Most(R_[i], i))
LARGEST = equal(lam_1, Most(lam_[k], k))
NOISE = greater(sigma, sp.S.Zero)


def halved(moment: sp.Expr) -> sp.Expr:
    """A moment over 2 sigma^2, as it stands in the tilt."""
    return moment / (2 * sigma**2)


def tilt(distance: sp.Expr) -> sp.Expr:
    """T of a point at a distance from the input."""
    return halved(r**2 - distance**2)


TILT = to_x / sigma**2 - halved(norm2)
NEAR, FAR = sp.Max(0, r - R, evaluate=False), r + R
OSC = equal(osc, halved(FAR**2 - NEAR**2))
SKEW = R**3 / 4
FIRST, SECOND, THIRD = halved(SKEW), R * osc**2 / 4, lam_1**2 * r / sigma**4
BOUND = at_most(GAP_NORM, FIRST + SECOND + THIRD)
COVER = at_most(OSC.rhs, 2 * r * R / sigma**2 + R**2 / (2 * sigma**2))
WHERE = equal(B, r / (1 + sigma))
LOUD = (1 + sigma) ** 2 * BOUND.rhs.subs(osc, COVER.rhs)
QUIET = (1 + sigma) ** 2 * (R + r)
ABOVE, BELOW = R**3 / 2 + R**3 * (4 * B + R / 2) ** 2 + 8 * lam_1**2 * B, 4 * (R + 2 * B)
H_BOUND = at_most(H_NORM, sp.Max(ABOVE, BELOW, evaluate=False))

tilted = Expect(xi * sp.exp(theta * T)) / Expect(sp.exp(theta * T))
tilted_T = tilted.subs(xi, T)
bar_xi, bar_T = (sp.Function(rf"\bar {{{name}}}")(theta) for name in (r"\xi", "T"))


def _under_tilt(expression: sp.Expr) -> sp.Expr:
    """The means of xi and T under the tilt: their definitions, put in."""
    return over_law(over_law(expression).subs({bar_xi: tilted, bar_T: tilted_T}).doit())


def central(factor: sp.Expr) -> sp.Expr:
    """A moment under the tilt."""
    density = sp.exp(theta * T)
    return Expect(sp.Mul(factor, density, evaluate=False)) / Expect(density)


def linear_part(eigenvalue: sp.Expr) -> sp.Expr:
    """What the linear term of the tilt and the Gaussian denoiser differ by, along an axis."""
    return eigenvalue**2 / (sigma**2 * (eigenvalue + sigma**2))


# The formulas: the expansion ---------------------------------------------------------------


def gap(noise: sp.Expr, clean: sp.Expr) -> sp.Expr:
    """m - m^G along an axis of variance lambda, at the input mu + xi_0 + Z / u, u = 1 / sigma."""
    density = sp.exp(u * noise + u**2 * (clean - norm2 / 2))
    linear = sum(power * Expect(xi * part) for power, part in ((u, noise), (u**2, clean)) if part)
    return Expect(xi * density) / Expect(density) - linear / (1 + lam * u**2)


AT_X = equal(GAP_AT_X, gap(sp.S.Zero, to_x))
IN_NOISE = equal(GAP_IN_NOISE, gap(to_noise, to_clean))
RATE = equal(AtLargeNoise(GAP_AT_X, 2), -half(Expect(xi * norm2)))


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


variance = q * (1 - q)
skewness = q * (1 - q) * (1 - 2 * q)


def two_points(position: sp.Expr) -> sp.Expr:
    """m - m^G for xi = 1 - q or -q, with probabilities q and 1 - q, at (x - mu) u^2 = position."""
    posterior = q / (q + (1 - q) * sp.exp(u**2 * (1 - 2 * q) / 2 - position)) - q
    return posterior - variance * position / (1 + variance * u**2)


# The formulas: the best affine denoiser ----------------------------------------------------

A, A_T, b, b_T, column, row, Z, Z_T = (
    sp.Symbol(f"{{{name}}}", commutative=False)
    for name in ("A", r"A^\top", "b", r"b^\top", r"\xi", r"\xi^\top", "Z", r"Z^\top")
)
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

DRAWS = 400_000


def _skewed(rng: np.random.Generator, n: int, dim: int) -> Floats:
    return rng.exponential(size=(n, dim)) @ rng.normal(size=(dim, dim)) / np.sqrt(dim)


def _principal(points: Floats) -> tuple[Floats, Floats, Floats]:
    """The centred points in the eigenbasis of their covariance, its eigenvalues, its axes."""
    xi = points - points.mean(0)
    values, axes = np.linalg.eigh(xi.T @ xi / len(points))
    values[: max(len(values) + 1 - len(points), 0)] = 0  # of N points the rank is N - 1
    return xi @ axes, values, axes


def _posterior(points: Floats, x: Floats, noise: float) -> Floats:
    """The posterior mean straight from its definition."""
    energy = ((x - points) ** 2).sum(1) / (2 * noise**2)
    weights = np.exp(energy.min() - energy)
    return np.asarray(weights @ points / weights.sum())


def _cloud(rng: np.random.Generator, least: int = 2) -> tuple[Floats, Floats, float]:
    """A skewed cloud of any scale, a noisy input, and its noise level."""
    n, dim = int(rng.integers(least, 9)), int(rng.integers(1, 5))
    points = (_skewed(rng, n, dim) + rng.normal(size=dim)) * np.exp(rng.uniform(-4, 4))
    noise = float(points.std() * np.exp(rng.uniform(-2, 2)))
    return points, points[0] + noise * rng.standard_normal(dim), noise


def _at(points: Floats, x: Floats, noise: float) -> dict[Any, Any]:
    """The two denoisers at an input, and all that the bound there is made of."""
    centred = points - points.mean(0)
    apart = empirical_denoiser(x[None], points, noise) - gaussian_denoiser(x[None], points, noise)
    world: dict[Any, Any] = {
        "points": points,
        N: len(points),
        R_: np.linalg.norm(centred, axis=1),
        lam_: np.linalg.eigvalsh(centred @ centred.T / len(points)),  # Sigma's, and zeros
        sigma: noise,
        r: float(np.linalg.norm(x - points.mean(0))),
        GAP_NORM: np.linalg.norm(apart),
        H_NORM: (1 + noise) ** 2 * np.linalg.norm(apart),
    }
    for definition in (RADIUS, LARGEST, OSC, WHERE):
        world[definition.lhs] = evaluate(definition.rhs, world)
    return world


def _anywhere(rng: np.random.Generator) -> dict[Any, Any]:
    """Any noise, and an input at the mean, about as far as the farthest point, or anywhere."""
    points, x, noise = _cloud(rng)
    centre = points.mean(0)
    out = np.linalg.norm(points - centre, axis=1).max() / np.linalg.norm(x - centre)
    farther = rng.choice([0.0, out * rng.uniform(0.8, 1.2), np.exp(rng.uniform(-6, 6))])
    return _at(points, centre + (x - centre) * farther, noise * np.exp(rng.uniform(-6, 6)))


def _inputs() -> Iterator[Values]:
    """Much noise and one point twice as far as two others, where the first term is reached."""
    yield _at(np.array([[2.0], [-1.0], [-1.0]]), np.array([0.0]), 1000.0)
    rng = np.random.default_rng(411)
    for _ in range(100):
        yield _anywhere(rng)


def _on_axes(rng: np.random.Generator) -> Values:
    """An input in the principal axes, and along one of them all that the tilt is made of."""
    points, x, noise = _cloud(rng)
    centred, values, axes = _principal(points)
    apart = _posterior(points, x, noise) - gaussian_denoiser(x[None], points, noise)[0]
    world = {x_: x @ axes, mu: points.mean(0) @ axes, Sigma: values, unit: 1.0, sigma: noise}
    world |= {"points": points, "x": x[None], H: (1 + noise) ** 2 * apart @ axes}
    direction = (x - points[0]) @ axes / noise
    world |= {to_noise: centred @ direction, to_clean: centred @ centred[0], u: 1 / noise}
    world |= {norm2: (centred**2).sum(1), xi: centred[:, -1], lam: values[-1], "axes": axes}
    return world | {to_x: world[to_clean] + noise * world[to_noise]}


def _empirical(at: Values) -> Floats:
    return (empirical_denoiser(at["x"], at["points"], at[sigma]) @ at["axes"])[0]


def _apart(at: Values) -> float:
    affine = gaussian_denoiser(at["x"], at["points"], at[sigma]) @ at["axes"]
    return float(_empirical(at)[-1] - affine[0, -1])


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
    points, _, noise = _cloud(rng, least=3)  # two have no third cumulant
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
    points = _skewed(np.random.default_rng(7), 4, 3)
    points = points if n == 3 else np.concatenate([points, 2 * points.mean(0) - points])
    noise = 100 * float(np.sqrt(points.var(0).sum()))
    clean = np.tile(points, (DRAWS // len(points), 1))
    measured = linear_gap(points, [noise], queries=clean, draws=1).per_query[:, 0]
    return (_norms(points) | {MEAN_GAP.args[0]: Draws(measured), sigma: noise},)


@cache
def _errors() -> list[Values]:
    """The gap and the error of the posterior mean, from draws of their own."""
    worlds: list[Values] = []
    rng = np.random.default_rng(12)
    points = _skewed(rng, 4, 2)
    clean = np.tile(points, (50_000, 1))
    for noise in (0.1, 0.3, 1.0):
        noisy = clean + noise * rng.standard_normal(clean.shape)
        error = ((empirical_denoiser(noisy, points, noise) - clean) ** 2).sum(1)
        measured = linear_gap(points, [noise], queries=clean, draws=1).per_query[:, 0]
        world = {MEAN_GAP.args[0]: Draws(measured), MEAN_ERROR.args[0]: Draws(error)}
        worlds.append(world | {lam_: _principal(points)[1], d: 2, sigma: noise})
    return worlds


def _spectra(rng: np.random.Generator) -> Values:
    points, _, noise = _cloud(rng)
    values = _principal(points)[1]
    louder = noise * np.exp(rng.uniform(-8, 8))
    return {lam_: values, d: len(values), sigma: louder, "points": points}


# The statements ----------------------------------------------------------------------------

pair = np.array([[-1.0], [1.0]])
X, m_x, m_G = sp.Symbol("X"), named(r"m_\sigma"), named(r"m^G_\sigma")

DISPLAY_STATEMENT = Statement(
    label="theorem-4-11",
    number="Theorem 4.11",
    kind="theorem",
    title="Nearness to the Gaussian denoiser at large noise",
    whose="display",
    assumptions=say(
        "{X} has any law on points at distances {R_i} from its mean {mu}, the largest of them "
        "{radius}; {Sigma} is its covariance, with eigenvalues {lam_k}, the largest of them "
        "{largest}; {m} is the posterior mean and {m_G} the Gaussian denoiser; {noise}, and {r} "
        "is the distance of the input {x} from {mu}. On a training set all points weigh the same.",
        X=X,
        R_i=R_[i],
        mu=mu,
        radius=RADIUS,
        Sigma=Sigma,
        lam_k=lam_[k],
        largest=LARGEST,
        m=m_x,
        m_G=m_G,
        noise=NOISE,
        r=r,
        x=x_,
    ),
    claim=say(
        "{display:display}with {H} bounded. The display is the paper's. In which sense {H} is "
        "bounded we do not know from it, and not in all {x} at once (the linear term leaves the "
        "hull of the points); the following is our reconstruction. For every {x},{bound:display}"
        "{osc:display}and the first term cannot be improved. With {where},{H_bound:display}"
        "so {H} is bounded, over all noise levels, wherever {B} is.",
        display=DISPLAY,
        H=H,
        x=x_,
        bound=BOUND,
        osc=OSC,
        where=WHERE,
        H_bound=H_BOUND,
        B=B,
    ),
    steps=(
        Step(
            r"Write $\xi = X - \mu$ and tilt the law of $X$ by $e^{\theta T}$ with "
            r"$T = (\|x-\mu\|^2 - \|x-\mu-\xi\|^2)/2\sigma^2$: at $\theta = 1$ this is the "
            "posterior of Eq. 3. Coordinate by coordinate, with $y$ for $x - \\mu$:",
            equal(
                halved(y**2 - sp.UnevaluatedExpr(y - xi) ** 2),
                TILT.subs({to_x: y * xi, norm2: xi**2}),
            ),
            Identity(),
        ),
        Step(
            r"Let $\bar\xi(\theta)$ and $\bar T(\theta)$ be the means of $\xi$ and $T$ under the "
            r"tilt, so $\bar\xi(0) = 0$ and $\bar\xi(1) = m_\sigma(x) - \mu$. The first "
            "derivative is a covariance (in any coordinate of $\\xi$),",
            equal(sp.Derivative(bar_xi, theta), central((xi - bar_xi) * (T - bar_T))),
            Identity(_under_tilt),
        ),
        Step(
            "the second a third central moment under the tilt.",
            equal(sp.Derivative(bar_xi, theta, 2), central((xi - bar_xi) * (T - bar_T) ** 2)),
            Identity(_under_tilt),
        ),
        Step(
            r"At $\theta = 0$ the covariance of $\xi$ with $T$ is the linear term "
            r"$\Sigma(x-\mu)/\sigma^2$ and a skewness vector, since $\mathbb{E}\,\xi = 0$.",
            equal(
                sp.Subs(sp.Derivative(tilted.subs(T, TILT), theta), theta, 0),
                Expect(xi * to_x) / sigma**2 - halved(Expect(xi * norm2)),
            ),
            Identity(over_law),
        ),
        Step(
            r"For the same reason any multiple of $\xi$ may be taken from $\xi\|\xi\|^2$. With the "
            "one below, the length of what is left is at most",
            at_most(size * (size**2 - 3 * R**2 / 4), SKEW),
            Sign({size: R * v / (1 + v)}),
        ),
        Step(
            "and at least the negative of that: divided by $2\\sigma^2$, the first term. (It is "
            "reached by one point at $R$ and two at $-R/2$.)",
            at_least(size * (size**2 - 3 * R**2 / 4), -SKEW),
            Sign(),
        ),
        Step(
            r"In any direction $\xi$ and its tilted mean lie between $-R$ and $R$:",
            at_most(xi - bar_xi, 2 * R),
            Sign({xi: R - v, bar_xi: w - R}),
        ),
        Step(
            r"And $T$, with values in some $[a, b]$, varies by at most $(b-a)^2/4$: the other two "
            "terms take something away.",
            equal(
                Expect((T - bar_T) ** 2),
                (high - low) ** 2 / 4
                - (bar_T - (low + high) / 2) ** 2
                - Expect((high - T) * (T - low)),
            ),
            Identity(lambda e: over_law(e).subs(bar_T, Expect(T))),
        ),
        Step(
            r"A mean is no longer than the mean length, so $\|\bar\xi''\|$ is at most $2R$ times "
            "this variance.",
            None,
            Words("Jensen's inequality"),
        ),
        Step(
            r"Taylor's formula with integral remainder: $\bar\xi(1) - \bar\xi(0) - \bar\xi'(0)$ "
            r"is the integral of $(1-\theta)\,\bar\xi''(\theta)$, at most the second term.",
            equal(sp.Integral((1 - theta) * 2 * R * (osc / 2) ** 2, (theta, 0, 1)), SECOND),
            Identity(),
        ),
        Step(
            r"The distance $\|x-\mu-\xi\|$ lies between $(r-R)_+$ and $r + R$, so $T$ varies by "
            "at most",
            equal(tilt(NEAR) - tilt(FAR), OSC.rhs),
            Identity(),
        ),
        Step(
            r"In the eigenbasis of $\Sigma$ the linear term and the Gaussian denoiser differ, for "
            r"an eigenvalue $\lambda$, by",
            equal(lam / sigma**2 - lam / (lam + sigma**2), linear_part(lam)),
            Identity(),
        ),
        Step(
            r"which grows with $\lambda$, so that the largest eigenvalue decides:",
            at_least(sp.Derivative(linear_part(lam), lam), 0),
            Sign(),
        ),
        Step(
            "times $r$ it is at most the third term.",
            at_most(r * linear_part(lam_1), THIRD),
            Sign(),
        ),
        Step("The three together are the bound.", BOUND, Simulated(_inputs)),
        Step(
            "For $H$, the range of $T$ is at most a cross term and a constant, farther out than "
            "the points",
            COVER,
            Sign({r: R + v}),
        ),
        Step("and nearer.", COVER, Sign({R: r + v})),
        Step(
            r"Put that in, with $r = B(1+\sigma)$, and multiply by $(1+\sigma)^2$: from "
            r"$\sigma = 1$ on all terms fall,",
            at_most(LOUD, ABOVE.subs(B, WHERE.rhs)),
            Sign({sigma: 1 + v, r: B * (2 + v)}),
        ),
        Step("from this on:", equal(sp.Subs(LOUD, (sigma, r), (1, 2 * B)), ABOVE), Identity()),
        Step(
            r"Below, no expansion is needed: $m_\sigma$ lies in the hull, within $R$ of $\mu$, and "
            r"$m^G_\sigma$ moves $x$ towards $\mu$, so it is within $r$;",
            at_most(QUIET, BELOW.subs(B, WHERE.rhs)),
            Sign({sigma: 1 / (1 + v), r: B * (2 + v) / (1 + v)}),
        ),
        Step("at the end it is", equal(sp.Subs(QUIET, (sigma, r), (1, 2 * B)), BELOW), Identity()),
        Step(
            "The larger of the two, then, at every noise level.",
            H_BOUND,
            Simulated(_inputs, loose="its terms have their worst cases at different inputs"),
        ),
    ),
    controls=(
        Step(
            "The third central moment, and a tenth more.",
            equal(
                sp.Derivative(bar_xi, theta, 2),
                sp.Rational(11, 10) * central((xi - bar_xi) * (T - bar_T) ** 2),
            ),
            Identity(_under_tilt),
        ),
        Step(
            "A skewness a twentieth smaller.",
            at_most(size * (size**2 - 3 * R**2 / 4), sp.Rational(19, 20) * SKEW),
            Sign({size: R * v / (1 + v)}),
        ),
        Step(
            "The curvature of the linear term a twentieth smaller.",
            at_most(r * linear_part(lam_1), sp.Rational(19, 20) * THIRD),
            Sign(),
        ),
        Step(
            "The constant a twentieth smaller.",
            at_most(LOUD, sp.Rational(19, 20) * ABOVE.subs(B, WHERE.rhs)),
            Sign({sigma: 1 + v, r: B * (2 + v)}),
        ),
        Step(
            "The bound a twentieth smaller.",
            at_most(GAP_NORM, sp.Rational(19, 20) * BOUND.rhs),
            Simulated(_inputs),
        ),
    ),
    code=(
        Computed("empirical_denoiser, gaussian_denoiser", DISPLAY, _empirical, _on_axes),
        Computed(
            "linear_gap_bound",
            BOUND.rhs.subs({osc: OSC.rhs, R: RADIUS.rhs, lam_1: LARGEST.rhs}),
            lambda at: linear_gap_bound(at["points"], [at[sigma]], at[r])[0],
            _anywhere,
        ),
        Refused(
            "linear_gap_bound(sigmas=)", NOISE, sigma, lambda s: linear_gap_bound(pair, [s], 1)
        ),
        Refused(
            "linear_gap_bound(radius=)",
            at_least(r, sp.S.Zero),
            r,
            lambda radius: linear_gap_bound(pair, [1.0], radius),
        ),
    ),
)

RATE_STATEMENT = Statement(
    label="theorem-4-11-rate",
    number="Theorem 4.11",
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
    code=(Computed("empirical_denoiser - gaussian_denoiser", AT_X, _apart, _on_axes),),
)

NOISY_STATEMENT = Statement(
    label="theorem-4-11-noisy",
    number="Theorem 4.11",
    kind="proposition",
    title="The law on noisy inputs",
    whose="reconstruction",
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
            "and with the same domination,",
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
        Computed("empirical_denoiser - gaussian_denoiser", IN_NOISE, _apart, _on_axes),
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

MMSE_STATEMENT = Statement(
    label="theorem-4-11-mmse",
    number="Theorem 4.11",
    kind="proposition",
    title="The gap as the gain of nonlinearity",
    whose="reconstruction",
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

STATEMENTS = (DISPLAY_STATEMENT, RATE_STATEMENT, NOISY_STATEMENT, MMSE_STATEMENT)
