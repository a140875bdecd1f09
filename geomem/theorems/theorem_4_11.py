"""Theorem 4.11: at large noise the empirical denoiser is nearly the Gaussian one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.gaussian import gaussian_denoiser, linear_gap_bound
from geomem.geometry.posterior import empirical_denoiser
from geomem.theorems.checks import Computed, Identity, Refused, Sign, Simulated, Words
from geomem.theorems.formulas import (
    Expect,
    Most,
    N,
    Values,
    at_least,
    at_most,
    equal,
    evaluate,
    greater,
    i,
    named,
    say,
)
from geomem.theorems.statement import Statement, Step

sigma, R, lam, lam_1, u = sp.symbols(r"sigma R lambda lambda_1 u", positive=True)
r, B, v, w = sp.symbols("r B v w", nonnegative=True)
size = sp.Symbol(r"{\|\xi\|}", nonnegative=True)
osc = sp.Symbol(r"\operatorname{osc}", nonnegative=True)
theta, y, low, high = sp.symbols("theta y a b", real=True)
k = sp.Symbol("k", integer=True, positive=True)
R_, lam_ = sp.IndexedBase("R"), sp.IndexedBase("lambda")

# One draw of X: a coordinate of xi, the tilt T, any weight, and the scalars of which the tilt at
# an input is made; with an index, the coordinates of xi and of an independent copy.
xi, T, weight = sp.symbols(r"\xi T w", real=True)
to_x, to_clean, to_noise = (named(rf"\langle {at},\xi\rangle") for at in (r"x-\mu", r"\xi_0", "Z"))
norm2 = named(r"\|\xi\|^2")
xi_, copy_ = sp.IndexedBase(r"\xi"), sp.IndexedBase(r"{\xi'}")
CENTRED = (xi, to_x, to_clean, to_noise)
RANDOM = (*CENTRED, T, weight, norm2, xi_, copy_)

GAP_NORM = named(r"\|m_\sigma(x) - m^G_\sigma(x)\|")
H_NORM = named(r"\|H(x,\sigma)\|")

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


# The formulas ------------------------------------------------------------------------------

x_, mu, Sigma, unit = (sp.Symbol(name, commutative=False) for name in ("x", "mu", "Sigma", "I"))
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


# Worlds ------------------------------------------------------------------------------------


def skewed(rng: np.random.Generator, n: int, dim: int) -> Floats:
    return rng.exponential(size=(n, dim)) @ rng.normal(size=(dim, dim)) / np.sqrt(dim)


def principal(points: Floats) -> tuple[Floats, Floats, Floats]:
    """The centred points in the eigenbasis of their covariance, its eigenvalues, its axes."""
    xi = points - points.mean(0)
    values, axes = np.linalg.eigh(xi.T @ xi / len(points))
    values[: max(len(values) + 1 - len(points), 0)] = 0  # of N points the rank is N - 1
    return xi @ axes, values, axes


def posterior(points: Floats, x: Floats, noise: float) -> Floats:
    """The posterior mean straight from its definition."""
    energy = ((x - points) ** 2).sum(1) / (2 * noise**2)
    weights = np.exp(energy.min() - energy)
    return np.asarray(weights @ points / weights.sum())


def cloud(rng: np.random.Generator, least: int = 2) -> tuple[Floats, Floats, float]:
    """A skewed cloud of any scale, a noisy input, and its noise level."""
    n, dim = int(rng.integers(least, 9)), int(rng.integers(1, 5))
    points = (skewed(rng, n, dim) + rng.normal(size=dim)) * np.exp(rng.uniform(-4, 4))
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
    points, x, noise = cloud(rng)
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


def on_axes(rng: np.random.Generator) -> Values:
    """An input in the principal axes, and along one of them all that the tilt is made of."""
    points, x, noise = cloud(rng)
    centred, values, axes = principal(points)
    apart = posterior(points, x, noise) - gaussian_denoiser(x[None], points, noise)[0]
    world = {x_: x @ axes, mu: points.mean(0) @ axes, Sigma: values, unit: 1.0, sigma: noise}
    world |= {"points": points, "x": x[None], H: (1 + noise) ** 2 * apart @ axes}
    direction = (x - points[0]) @ axes / noise
    world |= {to_noise: centred @ direction, to_clean: centred @ centred[0], u: 1 / noise}
    world |= {norm2: (centred**2).sum(1), xi: centred[:, -1], lam: values[-1], "axes": axes}
    return world | {to_x: world[to_clean] + noise * world[to_noise]}


def empirical(at: Values) -> Floats:
    return (empirical_denoiser(at["x"], at["points"], at[sigma]) @ at["axes"])[0]


# The statement -----------------------------------------------------------------------------

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
        Computed("empirical_denoiser, gaussian_denoiser", DISPLAY, empirical, on_axes),
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

STATEMENTS = (DISPLAY_STATEMENT,)
