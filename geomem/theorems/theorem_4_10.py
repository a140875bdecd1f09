"""Theorem 4.10: the denoiser of stationary Gaussian data is local."""

from __future__ import annotations

import sympy as sp

from geomem.theorems.checks import Enclosed, Identity, LimitValue, Sign, Words
from geomem.theorems.formulas import at_most, equal, greater, less
from geomem.theorems.statement import Statement, Step

n, m, h, sigma, lam, mu, step, tv = sp.symbols(
    r"n m h sigma lambda mu u \mathrm{TV}(g)", positive=True
)
k, j, k_1, k_2 = sp.symbols("k j k_1 k_2", integer=True, nonnegative=True)
n_1, n_2 = sp.symbols("n_1 n_2", integer=True, positive=True)
LEAST, RANGE = sp.symbols("LEAST RANGE", nonnegative=True)  # eigenvalues may be 0, or equal
x = sp.Symbol("x", real=True)
omega, g_k = sp.symbols("omega g_k", nonzero=True)
g_max, g_min = sp.symbols(r"g_{\max} g_{\min}", real=True)
A_M, ABS_A, T = sp.symbols(r"a_m |a_m| T_\sigma")
SUM = sp.Symbol(r"\frac1n\sum_{k}g_k\,\omega^{km}")
SHIFTED = sp.Symbol(r"\frac1n\sum_{k}(g_{k-1}-g_k)\,\omega^{km}")


def gain(eigenvalue: sp.Expr) -> sp.Expr:
    return eigenvalue / (eigenvalue + sigma**2)


def _constant(parts: int) -> sp.Equality:
    """TV / (n |omega^m - 1|) with 2 (2 / pi) (pi m / n) for the modulus."""
    angle = sp.Mul(2 / sp.pi, sp.pi * m / n, evaluate=False)
    bound = sp.Pow(sp.Mul(2, n, angle, evaluate=False), -1, evaluate=False)
    return equal(sp.Mul(tv, bound, evaluate=False), tv / (parts * m))


def _box(variation: sp.Expr) -> sp.Equality:
    """|a_{n/2}| of a box of 2j + 1 eigenvalues of gain h, against T_sigma / (n/2)."""
    row = h / n * sp.Sum((-1) ** k, (k, -j, j))
    return equal(sp.Abs(row), sp.Mul(variation / 4, 2 / n, evaluate=False))


def _box_sum(difference: sp.Expr) -> sp.Expr:
    """(-1)^{3j} = (-1)^j is a sign, so the modulus of the two together is 2."""
    return sp.simplify(difference).subs(sp.Abs((-1) ** (3 * j) + (-1) ** j), 2)


RISE = step * sigma**2 / ((lam + sigma**2) * (lam + step + sigma**2))
UP = g_max - g_min

CIRCLE = Statement(
    label="theorem-4-10",
    number="Theorem 4.10",
    kind="theorem",
    title="sensitivity falls off like one over the distance",
    whose="reconstruction",
    assumptions=(
        r"$X$ is Gaussian on a circle of $n \ge 2$ pixels with a circulant covariance of "
        r"eigenvalues $\lambda_0, \dots, \lambda_{n-1} \ge 0$, $\sigma > 0$, $g_k = \lambda_k / "
        r"(\lambda_k + \sigma^2)$, and $\mathrm{TV}(g) = \sum_k |g_{k+1} - g_k|$ around the "
        "circle."
    ),
    claim=(
        "The optimal denoiser's output pixel $i$ and input pixel $j$, at wrap-around distance $1 "
        r"\le m \le n/2$, satisfy $|\partial m_{\sigma,i} / \partial x_j| \le T_\sigma / m$ with "
        r"$T_\sigma = \frac14 \mathrm{TV}(g)$. If the spectrum rises once and falls once around "
        r"the circle, then $T_\sigma = \frac12 (g_{\max} - g_{\min}) \le \frac12$. With all "
        r"$\lambda_k > 0$, $T_\sigma \le \frac14 \min\bigl(\sigma^2\, \mathrm{TV}(1/\lambda), "
        r"\mathrm{TV}(\lambda)/\sigma^2\bigr)$, so it vanishes at both ends of $\sigma$. That the "
        r"sensitivity is at most $T_\sigma / m$ is the paper's, paraphrased; the constant and "
        "what follows from it are ours."
    ),
    steps=(
        Step(
            r"For Gaussian data the optimal denoiser is $\mu + A(x - \mu)$ with $A = "
            r"\Sigma(\Sigma + \sigma^2 I)^{-1}$, so the sensitivity is $|A_{ij}|$. $A$ is "
            "circulant with eigenvalues $g_k$; its first row is their inverse Fourier transform, "
            r"with $\omega = e^{2\pi \mathrm{i}/n}$.",
            equal(A_M, SUM),
            Words(),
        ),
        Step(
            r"Multiply by $\omega^m - 1$: each term turns into a difference of two neighbouring "
            "powers, because",
            equal(
                g_k * omega ** ((k + 1) * m),
                g_k * omega ** (k * m) + (omega**m - 1) * g_k * omega ** (k * m),
            ),
            Identity(sp.expand),
        ),
        Step(
            r"... and, renaming $k + 1$ to $k$ in the first part, which $\omega^{nm} = 1$ allows "
            "on the circle, the sum is one over differences of neighbouring gains.",
            equal((omega**m - 1) * A_M, SHIFTED),
            Words(),
        ),
        Step(
            r"Powers of $\omega$ have modulus 1, so $|\omega^m - 1|\,|a_m| \le \mathrm{TV}(g)/n$. "
            r"And $|\omega^m - 1| = 2 \sin(\pi m / n)$: with $x = \pi m / n$,",
            equal((sp.cos(2 * x) - 1) ** 2 + sp.sin(2 * x) ** 2, (2 * sp.sin(x)) ** 2),
            Identity(),
        ),
        Step(
            r"Jordan's inequality, $\sin x \ge 2x/\pi$ on $[0, \pi/2]$: the difference is concave "
            r"there, its second derivative being $-\sin x \le 0$, ...",
            equal(sp.Derivative(sp.sin(x) - 2 * x / sp.pi, (x, 2)), -sp.sin(x)),
            Identity(),
        ),
        Step(
            r"... and it is zero at both ends, at 0 plainly and at $\pi/2$; a concave function "
            r"lies above its chord. As $m \le n/2$, $x = \pi m/n$ is in this range.",
            equal(sp.sin(sp.pi / 2, evaluate=False), sp.Mul(2 / sp.pi, sp.pi / 2, evaluate=False)),
            Identity(),
        ),
        Step(
            r"Together, $|a_m| \le \mathrm{TV}(g) / (n |\omega^m - 1|) \le T_\sigma / m$.",
            _constant(4),
            Identity(),
        ),
        Step(
            "The constant is the best one: with $n$ even and an odd number $2j + 1 < n$ of "
            r"eigenvalues of gain $h$ around $k = 0$, the rest 0, $\mathrm{TV}(g) = 2h$, and at "
            r"$m = n/2$, where $\omega^m = -1$, the bound $T_\sigma/m = \frac{2h}{4} \big/ \frac "
            "n2$ is attained.",
            _box(2 * h),
            Identity(_box_sum),
        ),
        Step(
            r"A spectrum that rises once and falls once varies by $g_{\max} - g_{\min}$ each way, "
            "...",
            equal(
                sp.Mul(sp.Rational(1, 4), sp.Add(UP, UP, evaluate=False), evaluate=False), UP / 2
            ),
            Identity(),
        ),
        Step(
            r"... and gains lie between 0 and 1, so $T_\sigma < \frac12$. (Here $\lambda$ is the "
            r"largest eigenvalue and $\mu$ the smallest.)",
            less((gain(lam) - gain(mu)) / 2, sp.Rational(1, 2)),
            Sign({mu: LEAST, lam: LEAST + RANGE}),
        ),
        Step(
            r"From an eigenvalue $\lambda$ to $\lambda + u$ the gain rises by the last term.",
            equal(gain(lam + step), gain(lam) + RISE),
            Identity(),
        ),
        Step(
            r"This is at most the difference of the eigenvalues over $\sigma^2$, which bounds "
            r"$\mathrm{TV}(g)$ at large noise, ...",
            at_most(RISE, step / sigma**2),
            Sign(),
        ),
        Step(
            r"... and at most $\sigma^2$ times the difference of the reciprocals, $\frac1\lambda "
            r"- \frac1{\lambda + u}$, which bounds it at small noise.",
            at_most(RISE, sigma**2 * step / (lam * (lam + step))),
            Sign(),
        ),
        Step(
            r"So $T_\sigma$ vanishes as $\sigma \to 0$, where all gains are 1, ...",
            equal(sp.Limit(RISE, sigma, 0), sp.S.Zero),
            LimitValue(),
        ),
        Step(
            r"... and as $\sigma \to \infty$, where all are 0; it is largest in between.",
            equal(sp.Limit(RISE, sigma, sp.oo), sp.S.Zero),
            LimitValue(),
        ),
    ),
    controls=(
        Step("An eighth instead of a quarter of the variation.", _constant(8), Identity()),
        Step(
            "The box spectrum would break a bound half as large.",
            _box(h),
            Identity(_box_sum),
        ),
        Step(
            "Jordan's inequality with a larger slope is false.",
            greater(sp.sin(x), sp.Rational(21, 10) * x / sp.pi),
            Enclosed({x: (sp.Rational(1, 10), sp.Rational(157, 100))}),
        ),
    ),
)

ROWS = sp.Symbol(
    r"\frac1{n_2}\sum_{k_2}\omega_2^{k_2m_2}\Bigl(\frac1{n_1}\sum_{k_1}g_{k_1k_2}\,\omega_1^{k_1m_1}\Bigr)"
)
MEAN = sp.Symbol(r"\frac1{n_2}\sum_{k_2}\frac{\mathrm{TV}(g_{\cdot,k_2})}{4m_1}")


def _stripe(variation: sp.Expr) -> sp.Equality:
    """|a_{n_1/2, 0}| of 2j + 1 rows of gain h, against T_1 / (n_1/2)."""
    row = h / (n_1 * n_2) * sp.Sum((-1) ** k_1, (k_1, -j, j), (k_2, 1, n_2))
    return equal(sp.Abs(row), sp.Mul(variation / 4, 2 / n_1, evaluate=False))


TORUS = Statement(
    label="theorem-4-10-torus",
    number="Theorem 4.10",
    kind="corollary",
    title="the same for images on a torus",
    whose="ours",
    assumptions=(
        r"$X$ is Gaussian on a torus of $n_1 \times n_2$ pixels, $n_1, n_2 \ge 2$, with a "
        r"covariance that depends on the displacement only, of eigenvalues $\lambda_{k_1 k_2} \ge "
        r"0$; $\sigma > 0$ and $g = \lambda / (\lambda + \sigma^2)$."
    ),
    claim=(
        r"At wrap-around displacement $(m_1, m_2)$ the sensitivity is at most $\min(T_1/m_1, "
        r"T_2/m_2)$, where $T_1 = \frac1{n_2} \sum_{k_2} \frac14 \mathrm{TV}(g_{\cdot, k_2})$ and "
        "$T_2$ is the same with the axes exchanged (a term with $m_1 = 0$ or $m_2 = 0$ is left "
        "out)."
    ),
    steps=(
        Step(
            "The two-dimensional transform is one along the first axis, then one along the second.",
            equal(sp.Symbol("a_{m_1m_2}"), ROWS),
            Words(),
        ),
        Step(
            "The outer powers have modulus 1, and each inner sum is the row of a circulant matrix "
            "on a circle of $n_1$ pixels: Theorem 4.10 bounds it, for every $k_2$. Its proof "
            "needs real gains only, not symmetric ones.",
            at_most(sp.Symbol("|a_{m_1m_2}|"), MEAN),
            Words(),
        ),
        Step(
            "It is attained: with $n_1$ even and gain $h$ on $2j + 1 < n_1$ rows around $k_1 = "
            r"0$, the rest 0, $T_1 = \frac{2h}{4}$, and at $m_1 = n_1/2$, $m_2 = 0$ the "
            "sensitivity is $T_1/m_1$.",
            _stripe(2 * h),
            Identity(_box_sum),
        ),
    ),
    controls=(
        Step(
            "The stripe would break a bound half as large.",
            _stripe(h),
            Identity(_box_sum),
        ),
    ),
)

STATEMENTS = (CIRCLE, TORUS)
