"""Theorem 4.11: at large noise the empirical denoiser is nearly the Gaussian one."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.gaussian import (
    gaussian_denoiser,
    linear_gap,
    linear_gap_bound,
    linear_gap_law,
    linear_mmse,
)
from geomem.geometry.posterior import empirical_denoiser
from geomem.theorems.checks import Identity, LimitValue, Sign, Simulated, Words
from geomem.theorems.formulas import equal
from geomem.theorems.statement import Statement, Step

Cases = list[tuple[float, float, float, str]]

sigma, rho, lam, r, B, u, v, s = sp.symbols(r"sigma rho lambda_1 r B u v s", positive=True)
FROM_0 = sp.Symbol("FROM_0", nonnegative=True)
eig = sp.Symbol("lambda", positive=True)
theta, z, Y, g = sp.symbols("theta z Y g", real=True)
p = sp.Symbol("p", positive=True)
# Scalars of one draw of X: a coordinate of xi, the tilt T, and with A = <Z, xi>,
# L = <xi_0, xi>, Q = |xi|^2 the parts of the tilt on noisy inputs.
xi, T, A, L, Q = sp.symbols(r"xi_a T A L Q", real=True)
RANDOM = {xi, T, A, L, Q}
CENTRED = {xi, A, L}


class Mean(sp.Function):  # type: ignore[misc]  # sympy has no types
    """The expectation over X: linear, zero on what is centred, differentiated inside."""

    nargs = 1

    @classmethod
    def eval(cls, f: Any) -> Any:
        f = sp.expand(f, power_exp=False)
        if f in CENTRED:
            return sp.S.Zero
        if isinstance(f, sp.Add):
            return sp.Add(*[cls(term) for term in f.args])
        fixed, drawn = f.as_independent(*RANDOM, as_Add=False)
        return None if fixed == 1 and drawn != 1 else fixed * (cls(drawn) if drawn != 1 else 1)

    def _eval_derivative(self, symbol: sp.Symbol) -> Any:
        return Mean(self.args[0].diff(symbol))

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\mathbb{{E}}{power}\left[{printer.doprint(self.args[0])}\right]"


def named(latex: str) -> sp.Symbol:
    """A quantity that is only named, such as a norm or a supremum."""
    return sp.Symbol(f"{{{latex}}}", real=True)  # braces: sympy prints it as it stands


# --- the tilted mean ---
weight = sp.exp(theta * T)
tilted = Mean(xi * weight) / Mean(weight)
tilted_T = Mean(T * weight) / Mean(weight)
m, tau = sp.Function("m")(theta), sp.Function(r"\tau")(theta)


def _explicit(expression: sp.Expr) -> sp.Expr:
    """m and tau are the means of xi and T under the tilt: their definitions, put in."""
    put = expression.subs({m: tilted, tau: tilted_T}).doit()
    return sp.expand(put)


y, x1 = sp.symbols(r"y \xi", real=True)  # one coordinate of x - mu and of xi
osc = named(r"\operatorname{osc}")
far = ((r + rho) ** 2 - (r - rho) ** 2) / (2 * sigma**2)
second = named(r"\sup_\theta \|m''(\theta)\|")
constant = 2 * rho**3 + rho**3 * (4 * B + rho / 2) ** 2 + 8 * lam**2 * B
on_ball = (1 + sigma) ** 2 * (
    rho**3 / (2 * sigma**2)
    + rho / 4 * (4 * B * rho / sigma + rho**2 / (2 * sigma**2)) ** 2
    + 2 * lam**2 * B / sigma**3
)
lin = lam / (lam + sigma**2)


def _cloud(n: int, d: int, seed: int) -> np.ndarray:
    """A skewed cloud: exponential coordinates, mixed."""
    rng = np.random.default_rng(seed)
    return rng.exponential(size=(n, d)) @ rng.normal(size=(d, d)) / np.sqrt(d)


def _bound_cases(factor: float = 1.0) -> Cases:
    """Random clouds with outliers, all scales: the worst point of a ball against the bound."""
    cases: Cases = []
    for seed in range(40):
        rng = np.random.default_rng([411, seed])
        d, n = rng.integers(1, 4), rng.integers(2, 11)
        cloud = rng.normal(size=(n, d)) * rng.exponential(size=(n, 1)) ** 2
        rho = np.linalg.norm(cloud - cloud.mean(0), axis=1).max()
        for noise, radius in rho * np.exp(rng.uniform([-3, -3], [4, 4], (6, 2))):
            step = rng.normal(size=(50, d))
            inputs = cloud.mean(0) + radius * step / np.linalg.norm(step, axis=1)[:, None]
            gap = empirical_denoiser(inputs, cloud, noise) - gaussian_denoiser(inputs, cloud, noise)
            bound = factor * linear_gap_bound(cloud, [noise], radius)[0]
            cases.append((np.linalg.norm(gap, axis=1).max(), 0.0, bound, "<="))
    return cases


def _display_statement() -> Statement:
    steps = (
        Step(
            "Write $\\xi = X - \\mu$ and tilt the law of $X$ by $e^{\\theta T}$ with "
            "$T = (\\|x-\\mu\\|^2 - \\|x-\\mu-\\xi\\|^2)/2\\sigma^2$: at $\\theta = 1$ this is "
            "the posterior of Eq. 3. Coordinate by coordinate, with $y$ for $x - \\mu$:",
            equal(
                (y**2 - sp.UnevaluatedExpr(y - x1) ** 2) / (2 * sigma**2),
                y * x1 / sigma**2 - x1**2 / (2 * sigma**2),
            ),
            Identity(),
        ),
        Step(
            "Let $m(\\theta)$ and $\\tau(\\theta)$ be the means of $\\xi$ and $T$ under the tilt, "
            "so $m(0) = 0$ and $m(1) = m_\\sigma(x) - \\mu$. The first derivative is a "
            "covariance (a quotient, differentiated inside the expectation; any coordinate "
            "$\\xi_a$).",
            equal(
                sp.Derivative(m, theta),
                Mean((xi - m) * (T - tau) * weight, evaluate=False) / Mean(weight),
            ),
            Identity(_explicit),
        ),
        Step(
            "The second derivative is a third central moment under the tilt.",
            equal(
                sp.Derivative(m, theta, 2),
                Mean((xi - m) * (T - tau) ** 2 * weight, evaluate=False) / Mean(weight),
            ),
            Identity(_explicit),
        ),
        Step(
            "At $\\theta = 0$ the covariance of $\\xi$ with $T$ is the linear term of the "
            "Gaussian "
            "denoiser and a skewness vector, since $\\mathbb{E}\\,\\xi = 0$.",
            equal(
                named("m'(0)"),
                named(r"\Sigma (x-\mu)") / sigma**2
                - named(r"\mathbb{E}\left[\xi\|\xi\|^2\right]") / (2 * sigma**2),
            ),
            Words(),
        ),
        Step(
            "A point of the cloud is within $2\\rho$ of any mean of the cloud, and a variable "
            "with values in an interval has at most the variance of its two end points "
            "(Popoviciu): half the interval, squared.",
            sp.Le(second, 2 * rho * sp.UnevaluatedExpr(osc / 2) ** 2),
            Words(),
        ),
        Step(
            "With $r = \\|x-\\mu\\|$ the distance $\\|x-\\mu-\\xi\\|$ lies between $(r-\\rho)_+$ "
            "and $r + \\rho$, so $T$ varies by at most",
            sp.Le(osc, ((r + rho) ** 2 - named(r"(r-\rho)_+") ** 2) / (2 * sigma**2)),
            Words(),
        ),
        Step(
            "If $r \\ge \\rho$ the two squares leave only their cross term.",
            equal(far, 2 * r * rho / sigma**2),
            Identity(),
        ),
        Step(
            "If $r < \\rho$ the lower distance is 0, and one more term covers it.",
            sp.Le(
                (r + rho) ** 2 / (2 * sigma**2), 2 * r * rho / sigma**2 + rho**2 / (2 * sigma**2)
            ),
            Sign({r: rho * u / (1 + u)}),
        ),
        Step(
            "Taylor's formula with integral remainder: $m(1) - m(0) - m'(0)$ is the integral of "
            "$(1-\\theta)\\,m''(\\theta)$, at most half the supremum.",
            sp.Le(named(r"\|m(1) - m'(0)\|"), rho * osc**2 / 4),
            Words(),
        ),
        Step(
            "In the eigenbasis of $\\Sigma$ the linear term and the Gaussian denoiser differ, for "
            "an eigenvalue $\\lambda$, by",
            equal(
                eig / sigma**2 - eig / (eig + sigma**2),
                eig**2 / (sigma**2 * (eig + sigma**2)),
            ),
            Identity(),
        ),
        Step(
            "This grows with $\\lambda$, so the largest eigenvalue decides.",
            sp.Ge(sp.Derivative(lam**2 / (sigma**2 * (lam + sigma**2)), lam), 0),
            Sign(),
        ),
        Step(
            "Drop $\\lambda_1$ from the denominator; times $r$ it is the last term of the bound, "
            "and the three together are the bound of the claim.",
            sp.Le(lam**2 / (sigma**2 * (lam + sigma**2)), lam**2 / sigma**4),
            Sign(),
        ),
        Step(
            "For $\\sigma \\ge 1$ the ball has $r \\le 2B\\sigma$. Put that in, multiply by "
            "$(1+\\sigma)^2$, and every term falls with $\\sigma$:",
            sp.Le(on_ball, constant),
            Sign({sigma: 1 + FROM_0}),
        ),
        Step(
            "For $\\sigma \\le 1$ no expansion is needed: $m_\\sigma$ lies in the hull, within "
            "$\\rho$ of $\\mu$, and $m^G_\\sigma$ moves $x$ towards $\\mu$, so it is within "
            "$r \\le B(1+\\sigma)$.",
            sp.Le((1 + sigma) ** 2 * (rho + B * (1 + sigma)), 4 * (rho + 2 * B)),
            Sign({sigma: u / (1 + u)}),
        ),
        Step(
            "A remark: per unit of $r/\\sigma$ the Gaussian denoiser moves at most "
            "$\\sqrt{\\lambda_1}/2$, at every noise level; equality at $\\sigma = "
            "\\sqrt{\\lambda_1}$.",
            equal(
                sp.sqrt(lam) / 2 - lam * sigma / (lam + sigma**2),
                sp.sqrt(lam) * (sp.sqrt(lam) - sigma) ** 2 / (2 * (lam + sigma**2)),
            ),
            Identity(),
        ),
        Step(
            "The bound against random clouds with outliers, 2 to 10 points in 1 to 3 dimensions, "
            "noise and radius from $\\rho/20$ to $55\\rho$.",
            sp.Le(
                named(r"\|m_\sigma(x) - m^G_\sigma(x)\|"),
                rho**3 / (2 * sigma**2) + rho * osc**2 / 4 + lam**2 * r / sigma**4,
            ),
            Simulated(_bound_cases),
        ),
    )
    controls = (
        Step(
            "Twice the third central moment.",
            equal(
                sp.Derivative(m, theta, 2),
                2 * Mean((xi - m) * (T - tau) ** 2 * weight, evaluate=False) / Mean(weight),
            ),
            Identity(_explicit),
        ),
        Step("The cross term without its factor 2.", equal(far, r * rho / sigma**2), Identity()),
        Step(
            "Half the curvature of the linear term.",
            sp.Le(lam**2 / (sigma**2 * (lam + sigma**2)), lam**2 / (2 * sigma**4)),
            Sign(),
        ),
        Step("The constant halved.", sp.Le(on_ball, constant / 2), Sign({sigma: 1 + u})),
        Step(
            "A thirtieth of the bound.",
            sp.Le(named(r"\|m_\sigma(x) - m^G_\sigma(x)\|"), named(r"\text{bound}/30")),
            Simulated(lambda: _bound_cases(1 / 30)),
        ),
    )
    return Statement(
        label="theorem-4-11",
        number="Theorem 4.11",
        kind="theorem",
        title="at large noise the denoiser is nearly Gaussian",
        whose="display",
        assumptions=(
            "$X$ has any law with $\\|X-\\mu\\| \\le \\rho$; $\\mu$ and $\\Sigma$ are its exact "
            "mean "
            "and covariance ($1/N$ on a training set), $\\lambda_1$ the largest eigenvalue of "
            "$\\Sigma$, and $m_\\sigma(x) = \\mathbb{E}[X \\mid X_\\sigma = x]$. Training "
            "statistics "
            "with test inputs are not covered."
        ),
        claim=(
            "$$m_\\sigma(x) = \\mu + \\Sigma(\\Sigma + \\sigma^2 I)^{-1}(x-\\mu) "
            "+ H(x,\\sigma)(1+\\sigma)^{-2}$$\n\n"
            "with $H$ bounded. The display is the paper's. In which sense $H$ is bounded we do "
            "not "
            "know from it, and not in all $x$ at once (if $\\Sigma \\ne 0$ the linear term leaves "
            "the hull); the following is our reconstruction. With $r = \\|x-\\mu\\|$, for "
            "all $x$ and $\\sigma$,\n\n"
            "$$\\|m_\\sigma(x) - m^G_\\sigma(x)\\| \\le \\frac{\\rho^3}{2\\sigma^2} + "
            "\\frac{\\rho}{4} \\operatorname{osc}^2 + \\frac{\\lambda_1^2\\, r}{\\sigma^4},$$\n\n$$"
            "\\operatorname{osc} = \\frac{(r+\\rho)^2 - (r-\\rho)_+^2}{2\\sigma^2},$$\n\n"
            "and on $\\{\\|x-\\mu\\| \\le B(1+\\sigma)\\}$, for all $\\sigma > 0$,\n\n"
            "$$\\|H(x,\\sigma)\\| \\le \\max\\bigl\\{2\\rho^3 + \\rho^3 (4B + \\rho/2)^2 + "
            "8 \\lambda_1^2 B, \\; 4(\\rho + 2B)\\bigr\\}.$$"
        ),
        steps=steps,
        controls=controls,
    )


# --- the two-point law xi in {1 - p, -p}, P(xi = 1 - p) = p, with s = 1 / sigma ---
kappa = p * (1 - p) * (1 - 2 * p)


def two_points(position: sp.Expr) -> sp.Expr:
    """m - m^G at the input with (x - mu) s^2 = position; p(1-p) is the variance."""
    posterior = p / (p + (1 - p) * sp.exp(s**2 * (1 - 2 * p) / 2 - position)) - p
    return posterior - p * (1 - p) * position / (1 + p * (1 - p) * s**2)


def _rate_cases(factor: float = 1.0) -> Cases:
    """The limit at fixed x, with the explicit remainder of Theorem 4.11 as its tolerance."""
    cases: Cases = []
    for seed in range(10):
        cloud = _cloud(12, 4, seed)
        centred = cloud - cloud.mean(0)
        limit = -factor * (centred * (centred**2).sum(1)[:, None]).mean(0) / 2
        rho = np.linalg.norm(centred, axis=1).max()
        x = cloud[:1] + 1
        radius = float(np.linalg.norm(x - cloud.mean(0)))
        for noise in (30.0, 300.0):
            gap = empirical_denoiser(x, cloud, noise) - gaussian_denoiser(x, cloud, noise)
            bound = noise**2 * linear_gap_bound(cloud, [noise], radius)[0] - rho**3 / 2
            error = float(np.linalg.norm(noise**2 * gap[0] - limit))
            cases.append((error, 0.0, bound, "<="))
    return cases


def _rate_statement() -> Statement:
    limit = named(r"\lim_{\sigma\to\infty} \sigma^2 \left(m_\sigma(x) - m^G_\sigma(x)\right)")
    skewness = named(r"\mathbb{E}\left[\xi\|\xi\|^2\right]")
    steps = (
        Step(
            "At a fixed $x$ the range of the tilt is of order $\\sigma^{-2}$, at most "
            "$(r+\\rho)^2/2\\sigma^2$: the quadratic term of Theorem 4.11, times $\\sigma^2$, "
            "vanishes.",
            equal(
                sp.Limit(sigma**2 * rho / 4 * ((r + rho) ** 2 / (2 * sigma**2)) ** 2, sigma, sp.oo),
                0,
            ),
            LimitValue(),
        ),
        Step(
            "So does the difference of the linear terms, for each eigenvalue.",
            equal(sp.Limit(sigma**2 * r * (lam / sigma**2 - lin), sigma, sp.oo), 0),
            LimitValue(),
        ),
        Step(
            "What stays of $\\sigma^2 (m'(0) - \\Sigma(\\Sigma+\\sigma^2 I)^{-1}(x-\\mu))$ is the "
            "skewness vector. The rate $\\sigma^{-2}$ cannot be improved unless that vanishes.",
            equal(limit, -skewness / 2),
            Words(),
        ),
        Step(
            "Two points one apart, the upper one with probability $p$: $\\xi$ is $1-p$ or $-p$, "
            "$\\mathbb{E}\\,\\xi^3 = p(1-p)(1-2p)$. With $s = 1/\\sigma$ and $y = x - \\mu$ the "
            "posterior mean is logistic, and the limit is exact.",
            equal(sp.Limit(two_points(s**2 * y) / s**2, s, 0), -kappa / 2),
            LimitValue(),
        ),
        Step(
            "Skewed clouds of 12 points in 4 dimensions at $\\sigma = 30$ and $300$: the distance "
            "to the limit stays within the explicit remainder.",
            sp.Le(
                named(
                    r"\left\|\sigma^2 (m_\sigma - m^G_\sigma)"
                    r" + \tfrac12 \mathbb{E}\left[\xi\|\xi\|^2\right]\right\|"
                ),
                rho * sigma**2 * osc**2 / 4 + lam**2 * r / sigma**2,
            ),
            Simulated(_rate_cases),
        ),
    )
    controls = (
        Step(
            "A third instead of a half.",
            equal(sp.Limit(two_points(s**2 * y) / s**2, s, 0), -kappa / 3),
            LimitValue(),
        ),
        Step(
            "A third instead of a half, on the clouds.",
            equal(limit, -skewness / 3),
            Simulated(lambda: _rate_cases(2 / 3)),
        ),
    )
    return Statement(
        label="theorem-4-11-rate",
        number="Theorem 4.11",
        kind="proposition",
        title="the rate at a fixed input",
        whose="reconstruction",
        assumptions="As in Theorem 4.11; $x$ is fixed while $\\sigma$ grows.",
        claim=(
            "$$\\lim_{\\sigma\\to\\infty} \\sigma^2 \\bigl(m_\\sigma(x) - m^G_\\sigma(x)\\bigr) = "
            "-\\tfrac12\\, \\mathbb{E}\\bigl[\\xi \\|\\xi\\|^2\\bigr], \\qquad \\xi = X - "
            "\\mu,$$\n\n"
            "the same for every $x$: the rate $\\sigma^{-2}$ is sharp unless this vector is zero."
        ),
        steps=steps,
        controls=controls,
    )


# --- noisy inputs: x - mu = xi_0 + sigma Z, s = 1 / sigma, T = s A + s^2 (L - Q / 2) ---
noisy_weight = sp.exp(s * A + s**2 * (L - Q / 2))
noisy_mean = Mean(xi * noisy_weight) / Mean(noisy_weight)


def coefficient(order: int) -> sp.Expr:
    """The coefficient of s^order in the posterior mean, as a derivative at 0."""
    inner = sp.Derivative(noisy_mean, s) if order == 1 else sp.Derivative(noisy_mean, (s, order))
    return sp.Rational(1, sp.factorial(order)) * sp.Subs(inner, s, 0)


def _gauss(f: sp.Expr) -> sp.Expr:
    root = sp.Pow(sp.Mul(2, sp.pi, evaluate=False), sp.S.Half, evaluate=False)
    density = sp.exp(-(z**2) / 2) / sp.UnevaluatedExpr(root)
    return sp.Integral(f * density, (z, -sp.oo, sp.oo))


def _symmetric(cloud: np.ndarray) -> np.ndarray:
    return np.concatenate([cloud, 2 * cloud.mean(0) - cloud])


def _law_cases(order: int, factor: float = 1.0) -> Cases:
    """sigma^4 (or sigma^6) times the gap, by simulation at large noise, against the law."""
    cases: Cases = []
    for seed in range(3):
        cloud = _cloud(12, 4, seed)
        cloud = _symmetric(cloud) if order == 4 else cloud
        levels = np.array([100.0, 300.0]) * np.sqrt(cloud.var(0).sum())
        queries = np.tile(cloud, (40, 1))
        gap = linear_gap(cloud, levels, queries=queries, draws=10, seed=seed)
        law = factor * linear_gap_law(cloud, levels, order=order)
        cases += [
            (*row, "=") for row in zip(gap.mean / law, gap.error / law, law / law, strict=True)
        ]
    return cases


def _noisy_statement() -> Statement:
    a, b, c = sp.symbols("a b c", integer=True)
    linear_part = eig * s**2 * (y + z / s) / (1 + eig * s**2)
    left, right = sp.IndexedBase("xi"), sp.IndexedBase(r"\xi'")
    gap = named(r"\mathbb{E}\|m_\sigma(X_\sigma) - m^G_\sigma(X_\sigma)\|^2")
    third, fourth = named(r"\|\kappa_3\|") ** 2, named(r"\|\kappa_4\|") ** 2
    m2, m4 = sp.symbols("M_2 M_4", positive=True)
    steps = (
        Step(
            "On a noisy input $x - \\mu = \\xi_0 + \\sigma Z$. With $s = 1/\\sigma$, "
            "$A = \\langle Z, \\xi\\rangle$, $L = \\langle \\xi_0, \\xi\\rangle$ and "
            "$Q = \\|\\xi\\|^2$ the tilt is",
            equal(s**2 * sp.UnevaluatedExpr(A / s + L) - s**2 * Q / 2, s * A + s**2 * (L - Q / 2)),
            Identity(),
        ),
        Step(
            "The first coefficient of the posterior mean in $s$ is $\\Sigma Z$, as that of "
            "the Gaussian denoiser ($\\mathbb{E}$ is over $\\xi$; $Z$ and $\\xi_0$ are fixed).",
            equal(coefficient(1), Mean(xi * A)),
            Identity(),
        ),
        Step(
            "The second coefficient, for any law: a cubic moment in the direction of the noise, "
            "the skewness vector, and $\\mathbb{E}[\\xi_a L] = (\\Sigma\\xi_0)_a$.",
            equal(coefficient(2), Mean(xi * L) + Mean(xi * A**2) / 2 - Mean(xi * Q) / 2),
            Identity(),
        ),
        Step(
            "The Gaussian denoiser along an axis of variance $\\lambda$, at the input "
            "$y + \\sigma z$: its second coefficient is $\\lambda y$, and cancels "
            "$\\Sigma\\xi_0$. Left is "
            "$\\tfrac12(\\kappa_3[Z,Z] - \\mathbb{E}\\,\\xi\\|\\xi\\|^2)$.",
            equal(sp.Limit((linear_part - eig * z * s) / s**2, s, 0), eig * y),
            LimitValue(),
        ),
        Step(
            "The two-point law again, now on the noisy input $y = Y/s$: the "
            "coefficient of $\\sigma^{-2}$ is exactly $\\kappa_3 (Y^2-1)/2$.",
            equal(sp.Limit(two_points(s * Y) / s**2, s, 0), kappa * (Y**2 - 1) / 2),
            LimitValue(),
        ),
        Step(
            "A slice $K = \\mathbb{E}[\\xi_a\\, \\xi\\xi^\\top]$ of $\\kappa_3$ has the trace "
            "$\\mathbb{E}\\,\\xi_a\\|\\xi\\|^2$. Rotated to its eigenvalues $k_i$, "
            "$Z^\\top K Z - \\operatorname{tr} K = \\sum_i k_i (Z_i^2 - 1)$: over $Z$, "
            "the limit has mean zero,",
            equal(_gauss(z**2 - 1), 0),
            Identity(),
        ),
        Step(
            "and the mean square $2\\sum_i k_i^2 = 2\\|K\\|^2$, because the $Z_i$ are independent "
            "with",
            equal(_gauss((z**2 - 1) ** 2), 2),
            Identity(),
        ),
        Step(
            "The sum over the slices, times one quarter, is $\\tfrac12\\|\\kappa_3\\|^2$. And the "
            "norm needs no tensor: for an independent copy $\\xi'$ (three coordinates shown), "
            "whose expectation is $\\|\\kappa_3\\|^2 = \\mathbb{E}\\langle\\xi,\\xi'\\rangle^3$:",
            equal(
                sp.Sum(left[a] * right[a], (a, 1, 3)) ** 3,
                sp.Sum(
                    left[a] * left[b] * left[c] * right[a] * right[b] * right[c],
                    (a, 1, 3),
                    (b, 1, 3),
                    (c, 1, 3),
                ),
            ),
            Identity(sp.expand),
        ),
        Step(
            "Limit and expectation may change places: by Theorem 4.11 at radius "
            "$\\rho + \\sigma\\|Z\\|$ and $\\sigma \\ge 1$, $\\sigma^2\\|m_\\sigma - "
            "m^G_\\sigma\\|$ "
            "is at most a constant times $(1+\\|Z\\|)^2$, whose square is integrable.",
            equal(named(r"\lim_{\sigma\to\infty} \sigma^4") * gap, third / 2),
            Words(),
        ),
        Step(
            "The third coefficient is odd in $A$, hence in $Z$, so it does not correlate with "
            "the second, which is even. By Taylor's formula (the derivatives grow at most "
            "polynomially in $\\|Z\\|$; this is argued, not checked) the error of the law is "
            "$O(\\sigma^{-2})$, not $O(\\sigma^{-1})$.",
            equal(
                coefficient(3),
                Mean(xi * A**3) / 6
                - Mean(xi * A) * Mean(A**2) / 2
                + Mean(xi * A * L)
                - Mean(xi * A * Q) / 2
                + Mean(xi * A) * Mean(Q) / 2,
            ),
            Identity(),
        ),
        Step(
            "The third coefficient of the Gaussian denoiser is that of $-\\Sigma^2 Z$.",
            equal(
                sp.Limit((linear_part - eig * z * s - eig * y * s**2) / s**3, s, 0), -(eig**2) * z
            ),
            LimitValue(),
        ),
        Step(
            "If $\\kappa_3 = 0$ then $\\mathbb{E}[\\xi_a A L] = 0$, and the difference of "
            "these two is the first that counts. In one dimension, with moments $M_2, M_4$ and "
            "$\\kappa_4 = M_4 - 3M_2^2$, it is a Hermite "
            "polynomial:",
            equal(
                m4 * z**3 / 6
                - m2 * z * m2 * z**2 / 2
                - m4 * z / 2
                + m2 * z * m2 / 2
                + sp.Mul(m2**2, z, evaluate=False),
                sp.Mul(sp.Rational(1, 6), m4 - 3 * m2**2, z**3 - 3 * z, evaluate=False),
            ),
            Identity(sp.expand),
        ),
        Step(
            "The symmetric pair $\\xi = \\pm 1$ has $\\kappa_3 = 0$, $\\kappa_4 = -2$ and a "
            "hyperbolic tangent for posterior mean.",
            equal(
                sp.Limit((sp.tanh(s * Y) - s * Y / (1 + s**2)) / s**3, s, 0),
                -(Y**3 - 3 * Y) / 3,
            ),
            LimitValue(),
        ),
        Step(
            "The second moment of that polynomial is $3! = 6$,",
            equal(_gauss((z**3 - 3 * z) ** 2), 6),
            Identity(),
        ),
        Step(
            "and in $d$ dimensions, slice by slice and with the same domination,",
            equal(named(r"\lim_{\sigma\to\infty} \sigma^6") * gap, fourth / 6),
            Words(),
        ),
        Step(
            "Three skewed clouds of 12 points in 4 dimensions at noise 100 and 300 times their "
            "spread: the ratio of the measured gap to the law.",
            equal(2 * sigma**4 * gap / third, 1),
            Simulated(lambda: _law_cases(3)),
        ),
        Step(
            "The same clouds with their mirror images, for the second law.",
            equal(6 * sigma**6 * gap / fourth, 1),
            Simulated(lambda: _law_cases(4)),
        ),
    )
    controls = (
        Step(
            "A third instead of a half.",
            equal(sp.Limit(two_points(s * Y) / s**2, s, 0), kappa * (Y**2 - 1) / 3),
            LimitValue(),
        ),
        Step("The variance of a square taken as 3.", equal(_gauss((z**2 - 1) ** 2), 3), Identity()),
        Step(
            "Twice the law.",
            equal(sigma**4 * gap / third, 1),
            Simulated(lambda: _law_cases(3, 2.0)),
        ),
        Step(
            "Half the second law.",
            equal(12 * sigma**6 * gap / fourth, 1),
            Simulated(lambda: _law_cases(4, 0.5)),
        ),
    )
    return Statement(
        label="theorem-4-11-noisy",
        number="Theorem 4.11",
        kind="proposition",
        title="the law on noisy inputs",
        whose="reconstruction",
        assumptions=(
            "As in Theorem 4.11, with the input $X_\\sigma = X + \\sigma Z$; $\\kappa_3$ and "
            "$\\kappa_4$ are the third and fourth cumulants of $X$, norms are Frobenius."
        ),
        claim=(
            "$$\\sigma^4\\, \\mathbb{E}\\|m_\\sigma(X_\\sigma) - m^G_\\sigma(X_\\sigma)\\|^2 = "
            "\\tfrac12 \\|\\kappa_3\\|^2 + O(\\sigma^{-2}), \\qquad "
            "\\|\\kappa_3\\|^2 = \\mathbb{E}\\langle\\xi,\\xi'\\rangle^3$$\n\n"
            "for independent copies $\\xi, \\xi'$ of $X - \\mu$. If $\\kappa_3 = 0$ (a centrally "
            "symmetric law, say), then\n\n"
            "$$\\sigma^6\\, \\mathbb{E}\\|m_\\sigma(X_\\sigma) - m^G_\\sigma(X_\\sigma)\\|^2 "
            "\\to \\tfrac16 \\|\\kappa_4\\|^2 .$$\n\n"
            "The second law is our addition."
        ),
        steps=steps,
        controls=controls,
    )


# --- the exact meaning of the gap ---
def _mmse_cases(shift: float = 0.0) -> Cases:
    """Gap and error of m_sigma, simulated on the same draws: their sum is lmmse."""
    cases: Cases = []
    for seed in range(3):
        cloud = _cloud(12, 4, seed)
        rng = np.random.default_rng([12, seed])
        for noise in (0.5, 1.0, 3.0):
            clean = np.tile(cloud, (1000, 1))
            inputs = clean + noise * rng.standard_normal(clean.shape)
            best = empirical_denoiser(inputs, cloud, noise)
            gap = ((best - gaussian_denoiser(inputs, cloud, noise)) ** 2).sum(1)
            both = (gap + ((best - clean) ** 2).sum(1)).reshape(1000, -1).mean(1)
            exact = (1 + shift) * linear_mmse(cloud, [noise])[0]
            cases.append((both.mean(), both.std(ddof=1) / np.sqrt(1000), exact, "="))
    return cases


def _mmse_statement() -> Statement:
    eigenvalue = sp.Symbol("lambda_k", positive=True)
    error = (1 - g) ** 2 * eigenvalue + g**2 * sigma**2
    wiener = eigenvalue * sigma**2 / (eigenvalue + sigma**2)
    best, linear, clean = sp.symbols("m m^G X", real=True)
    gap = named(r"\mathbb{E}\|m_\sigma(X_\sigma) - m^G_\sigma(X_\sigma)\|^2")
    lmmse, mmse = named(r"\mathrm{lmmse}(\sigma)"), named(r"\mathrm{mmse}(\sigma)")
    ours = eigenvalue / (eigenvalue + sigma**2)
    steps = (
        Step(
            "Along an axis of variance $\\lambda_k$ the denoiser $\\mu_k + g\\,(x-\\mu)_k$ has "
            "the "
            "error $(1-g)^2\\lambda_k + g^2\\sigma^2$: what is kept of the signal's loss, "
            "and the noise that passes. It is smallest at the factor of the Gaussian denoiser.",
            equal(error - wiener, (eigenvalue + sigma**2) * (g - ours) ** 2),
            Identity(),
        ),
        Step(
            "There it is $\\lambda_k\\sigma^2/(\\lambda_k+\\sigma^2)$; the sum over the axes is "
            "the error of the best affine denoiser.",
            equal(sp.Mul((1 - ours) ** 2, eigenvalue, evaluate=False) + ours**2 * sigma**2, wiener),
            Identity(),
        ),
        Step(
            "$\\Sigma$ may be singular: an axis without variance adds nothing.",
            equal(sp.Limit(wiener, eigenvalue, 0), 0),
            LimitValue(),
        ),
        Step(
            "For one draw (coordinate by coordinate), the error of $m^G$ splits:",
            equal(
                (clean - linear) ** 2,
                (clean - best) ** 2
                + (best - linear) ** 2
                + sp.Mul(2, clean - best, best - linear, evaluate=False),
            ),
            Identity(sp.expand),
        ),
        Step(
            "$m^G_\\sigma(X_\\sigma)$ and $m_\\sigma(X_\\sigma) = \\mathbb{E}[X \\mid "
            "X_\\sigma]$ are "
            "functions of $X_\\sigma$, and $X - m_\\sigma(X_\\sigma)$ is orthogonal to all of "
            "those.",
            equal(named(r"\mathbb{E}\langle X - m_\sigma, m_\sigma - m^G_\sigma\rangle"), 0),
            Words(),
        ),
        Step(
            "The expectation of the split, without its last term:",
            equal(gap, lmmse - mmse),
            Words(),
        ),
        Step(
            "Skewed clouds of 12 points in 4 dimensions at $\\sigma = 0.5$, $1$ and $3$, both "
            "terms on the left by simulation.",
            equal(gap + mmse, lmmse),
            Simulated(_mmse_cases),
        ),
    )
    controls = (
        Step(
            "The factor of the Gaussian denoiser with $\\sigma$ for $\\sigma^2$.",
            equal(
                error - wiener,
                (eigenvalue + sigma**2) * (g - eigenvalue / (eigenvalue + sigma)) ** 2,
            ),
            Identity(),
        ),
        Step(
            "An error 5% too large.",
            equal(gap + mmse, sp.Float("1.05") * lmmse),
            Simulated(lambda: _mmse_cases(0.05)),
        ),
    )
    return Statement(
        label="theorem-4-11-mmse",
        number="Theorem 4.11",
        kind="proposition",
        title="the gap is what nonlinearity can gain",
        whose="reconstruction",
        assumptions="As in Theorem 4.11; $\\lambda_k$ are the eigenvalues of $\\Sigma$.",
        claim=(
            "$m^G_\\sigma$ is the best affine denoiser, and for every $\\sigma > 0$\n\n"
            "$$\\mathbb{E}\\|m_\\sigma(X_\\sigma) - m^G_\\sigma(X_\\sigma)\\|^2 = "
            "\\mathrm{lmmse}(\\sigma) - \\mathrm{mmse}(\\sigma),$$\n\n$$"
            "\\mathrm{lmmse}(\\sigma) = "
            "\\sum_k \\frac{\\lambda_k \\sigma^2}{\\lambda_k + \\sigma^2},$$\n\n"
            "where $\\mathrm{mmse}(\\sigma) = \\mathbb{E}\\|X - m_\\sigma(X_\\sigma)\\|^2$. By "
            "the law "
            "on noisy inputs the difference is $\\|\\kappa_3\\|^2 / 2\\sigma^4$ to first order."
        ),
        steps=steps,
        controls=controls,
    )


STATEMENTS: tuple[Statement, ...] = (
    _display_statement(),
    _rate_statement(),
    _noisy_statement(),
    _mmse_statement(),
)
