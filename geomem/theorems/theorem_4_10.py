"""Theorem 4.10: the denoiser of stationary Gaussian data is local."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.locality import circulant_sensitivity, locality_bound
from geomem.theorems.checks import (
    Computed,
    Enclosed,
    Identity,
    Instances,
    LimitValue,
    Refused,
    Sign,
    Simulated,
    Words,
)
from geomem.theorems.formulas import (
    Values,
    at_least,
    at_most,
    equal,
    evaluate,
    greater,
    half,
    j,
    less,
    say,
)
from geomem.theorems.statement import Statement, Step

n, n_1, n_2, j_1 = sp.symbols("n n_1 n_2 j_1", integer=True, positive=True)
k, l, m, b = sp.symbols("k l m b", integer=True, nonnegative=True)  # noqa: E741  # the field's
sigma, lam, step, h, q = sp.symbols("sigma lambda u h v", positive=True)
lam_max, lam_min = sp.symbols(r"\lambda_{\max} \lambda_{\min}", positive=True)
least, more = sp.symbols("u v", nonnegative=True)  # eigenvalues may be 0, or equal
x = sp.Symbol("x", real=True)
omega = sp.Symbol("omega", nonzero=True)
g_max, g_min = sp.symbols(r"g_{\max} g_{\min}", nonnegative=True)
a_, g_, s_, lam_ = (sp.IndexedBase(name) for name in ("a", "g", "s", "lambda"))
T_SIGMA = sp.Symbol(r"T_\sigma", nonnegative=True)
T_1 = sp.Symbol("T_1", nonnegative=True)


# The formulas ------------------------------------------------------------------------------


def gain(eigenvalue: sp.Expr) -> sp.Expr:
    return eigenvalue / (eigenvalue + sigma**2)


def row(eigenvalues: sp.IndexedBase, pixel: sp.Expr) -> sp.Expr:
    """An entry of the first row of the circulant matrix of these eigenvalues."""
    return sp.Sum(eigenvalues[k] * omega ** (k * pixel), (k, 1, n)) / n


def around(values: Any) -> sp.Sum:
    """The total variation of a function of k around the circle; index n + 1 is 1 again."""
    return sp.Sum(sp.Abs(values(k + 1) - values(k)), (k, 1, n))


VARIATION = around(lambda at: g_[at])
T = VARIATION / 4
BOUND = at_most(sp.Abs(a_[j]), T_SIGMA / j)
GAINS = equal(g_[k], gain(lam_[k]))
UNIMODAL = equal(T_SIGMA, half(g_max - g_min))
BELOW_HALF = less(half(gain(lam_max) - gain(lam_min)), sp.Rational(1, 2))
SMALL = at_most(T_SIGMA, sigma**2 * around(lambda at: 1 / lam_[at]) / 4)
LARGE = at_most(T_SIGMA, around(lambda at: lam_[at]) / (4 * sigma**2))
RISE = step * sigma**2 / ((lam + sigma**2) * (lam + step + sigma**2))
SHIFTED = sp.Sum((g_[k - 1] - g_[k]) * omega ** (k * j), (k, 1, n)) / n

T_ROWS = sp.Sum(sp.Abs(g_[k + 1, l] - g_[k, l]), (k, 1, n_1), (l, 1, n_2)) / (4 * n_2)
LINE = sp.Mul(4 / sp.pi, sp.pi * j / n, evaluate=False)  # twice Jordan's, at x = pi j / n
TORUS_BOUND = at_most(sp.Abs(a_[j_1, m]), T_1 / j_1)


def box(variation: sp.Expr) -> sp.Equality:
    """|a_{n/2}| of a box of 2b + 1 eigenvalues of gain h, against a quarter over n/2."""
    alternating = h / n * sp.Sum((-1) ** k, (k, -b, b))
    return equal(sp.Abs(alternating), sp.Mul(variation / 4, 2 / n, evaluate=False))


def _box_sum(difference: sp.Expr) -> sp.Expr:
    """(-1)^{3b} = (-1)^b is a sign, so the modulus of the two together is 2."""
    return sp.simplify(difference).subs(sp.Abs((-1) ** (3 * b) + (-1) ** b), 2)


# Exact instances ---------------------------------------------------------------------------


CIRCLES = "the distances 0, 1 and half the circle, rounded down, on circles of 2 to 8 pixels"


def _circles() -> Iterator[Mapping[Any, Any]]:
    for size in range(2, 9):
        for pixel in sorted({0, 1, size // 2}):
            yield {n: size, j: pixel, m: pixel, g_[0]: g_[size]}


def _on_circle(difference: sp.Expr, case: Mapping[Any, Any]) -> sp.Expr:
    """omega is a primitive n-th root of unity: reduce its powers to a basis."""
    size, left = int(case[n]), sp.S.Zero
    modulus = sp.Poly(sp.cyclotomic_poly(size, omega), omega)
    for power, terms in sp.collect(sp.expand(difference.subs(case)), omega, evaluate=False).items():
        exponent = 0 if power == 1 else int(power.as_base_exp()[1])
        reduced = sp.rem(sp.Poly(omega ** (exponent % size), omega), modulus)
        left += terms * reduced.as_expr()
    return left


# Worlds ------------------------------------------------------------------------------------


def _mirrored(half: Floats, size: int) -> Floats:
    """Eigenvalues at k = 0 .. n - 1 from those at 0 .. n/2: equal at k and -k."""
    return half[np.minimum(np.arange(size), size - np.arange(size))]


def _circle(spectrum: Floats, level: float) -> dict[Any, Any]:
    """Position k of an array is that of k = 1 .. n + 1, where n is 0 again and n + 1 is 1."""
    turned = np.append(np.roll(spectrum, -1), spectrum[1])
    gains = turned / (turned + level**2)
    found = {n: len(spectrum), sigma: level, lam_: turned, g_: gains}
    found |= {g_max: gains.max(), g_min: gains.min()}
    found[T_SIGMA] = evaluate(T, found)
    return found | {a_: np.roll(circulant_sensitivity(spectrum, level), -1)}


def _spectrum(rng: np.random.Generator, size: int) -> Floats:
    half = np.exp(rng.uniform(-6, 6, size // 2 + 1)) * (rng.random(size // 2 + 1) < 0.9)
    return _mirrored(half, size)


def _sensitivities() -> Iterator[Values]:
    """Random spectra, and boxes, at which the bound is attained halfway around."""
    rng = np.random.default_rng(410)
    worlds = [(_spectrum(rng, size), np.exp(rng.uniform(-2, 2))) for size in range(2, 20)]
    for size, width in ((8, 1), (12, 2)):
        worlds.append(
            (np.where(_mirrored(np.arange(size, dtype=float), size) <= width, 1e9, 0.0), 1.0)
        )
    for spectrum, level in worlds:
        world = _circle(spectrum, level)
        yield from (world | {j: pixel} for pixel in range(1, len(spectrum) // 2 + 1))


def _unimodal() -> Iterator[Values]:
    rng = np.random.default_rng(411)
    for size in (2, 3, 8, 13):
        half = np.sort(rng.exponential(size=size // 2 + 1))
        yield _circle(_mirrored(half, size), 0.7)
        yield _circle(_mirrored(half[::-1], size), 0.7)


def _ends(levels: tuple[float, ...]) -> Iterator[Values]:
    rng = np.random.default_rng(412)
    for size in (2, 9):
        half = rng.uniform(0.5, 2, size // 2 + 1)
        yield from (_circle(_mirrored(half, size), level) for level in levels)


def _draw(rng: np.random.Generator) -> dict[Any, Any]:
    return _circle(_spectrum(rng, int(rng.integers(2, 30))), float(np.exp(rng.uniform(-5, 5))))


def _unturned(world: Values) -> Floats:
    """The spectrum of a world in the order of the transform."""
    return np.roll(np.asarray(world[lam_])[:-1], 1)


def _torus(spectrum: Floats, level: float) -> dict[Any, Any]:
    gains = spectrum / (spectrum + level**2)
    found = {n_1: spectrum.shape[0], n_2: spectrum.shape[1], sigma: level, lam_: spectrum}
    found |= {g_: np.concatenate([np.roll(gains, -1, axis=0), gains[1:2]])}
    found[T_1] = evaluate(T_ROWS, found)
    return found | {a_: np.roll(circulant_sensitivity(spectrum, level), -1, axis=0)}


def _plane(rng: np.random.Generator) -> Floats:
    size = tuple(rng.integers(2, 8, 2))
    values = np.exp(rng.uniform(-4, 4, size))
    return values + np.roll(np.flip(values), 1, (0, 1))


def _tori() -> Iterator[Values]:
    """Random spectra, and stripes, at which the bound is attained."""
    rng = np.random.default_rng(413)
    spectra = [_plane(rng) for _ in range(12)]
    stripe = np.where(_mirrored(np.arange(8.0), 8) <= 1, 1e9, 0.0)
    spectra.append(np.tile(stripe[:, None], (1, 3)))
    for spectrum in spectra:
        world = _torus(spectrum, 1.0)
        for pixel in range(1, spectrum.shape[0] // 2 + 1):
            yield from (world | {j_1: pixel, m: 1 + k} for k in range(spectrum.shape[1]))


# The statements ----------------------------------------------------------------------------

CIRCLE = Statement(
    label="theorem-4-10",
    number="Theorem 4.10",
    kind="theorem",
    title="Sensitivity against distance on a circle",
    whose="reconstruction",
    assumptions=say(
        "The data are Gaussian on a circle of {size} pixels, with a circulant covariance of "
        "eigenvalues {eigenvalue} that are not negative; {gains}, indices are taken around the "
        "circle, and {a} is the entry of the optimal denoiser's matrix by which an output pixel "
        "listens to the input pixel at wrap-around distance {j}.",
        size=at_least(n, 2),
        eigenvalue=lam_[k],
        gains=GAINS,
        a=a_[j],
        j=j,
    ),
    claim=say(
        "{bound:display}with {constant}. That the sensitivity is at most such a constant over the "
        "distance is the paper's, paraphrased; the constant and what follows from it are ours. If "
        "the spectrum rises once and falls once around the circle, then {unimodal}, where "
        "{half}. If no eigenvalue is zero, then{small:display}{large:display}so that it "
        "vanishes at both ends of the noise.",
        bound=BOUND,
        constant=equal(T_SIGMA, T),
        unimodal=UNIMODAL,
        half=BELOW_HALF,
        small=SMALL,
        large=LARGE,
    ),
    steps=(
        Step(
            r"For Gaussian data the optimal denoiser is $\mu + A(x - \mu)$ with $A (\Sigma + "
            r"\sigma^2 I) = \Sigma$. All three are circulant: with $s_k = \lambda_k + \sigma^2$, "
            r"so that $\lambda_k = g_k s_k$, and $\omega$ a primitive root of unity, the first row "
            r"of $A$ is the inverse Fourier transform of the gains, as its product with that of "
            r"$\Sigma + \sigma^2 I$ shows.",
            equal(
                sp.Sum(row(g_, l) * row(s_, m - l), (l, 1, n)),
                sp.Sum(g_[k] * s_[k] * omega ** (k * m), (k, 1, n)) / n,
            ),
            Instances(CIRCLES, _circles, _on_circle),
        ),
        Step(
            r"Times $\omega^j - 1$ it is a sum over differences of neighbouring gains.",
            equal((omega**j - 1) * row(g_, j), SHIFTED),
            Instances(CIRCLES, _circles, _on_circle),
        ),
        Step(
            r"Powers of $\omega$ have modulus one, so $|\omega^j - 1|$ times $|a_j|$ is at most "
            "the total variation of the gains over $n$.",
            None,
            Words("the triangle inequality"),
        ),
        Step(
            r"The first factor is twice a sine: with $x = \pi j / n$,",
            equal((sp.cos(2 * x) - 1) ** 2 + sp.sin(2 * x) ** 2, (2 * sp.sin(x)) ** 2),
            Identity(),
        ),
        Step(
            r"which is at least $2x/\pi$ for $x$ up to $\pi/2$, where it meets that line, as it "
            "does at zero (Jordan's inequality): between, the difference is concave.",
            equal(sp.Derivative(sp.sin(x) - 2 * x / sp.pi, (x, 2)), -sp.sin(x)),
            Identity(),
        ),
        Step(
            "Together, for the variation over $n$ and twice that line:",
            equal(
                sp.Mul(VARIATION / n, sp.Pow(LINE, -1, evaluate=False), evaluate=False),
                BOUND.rhs.subs(T_SIGMA, T),
            ),
            Identity(),
        ),
        Step(
            "This is the bound. No smaller constant will do: an odd number of eigenvalues of gain "
            "$h$ around the first, the others zero, has twice $h$ as its variation, and halfway "
            "around the circle",
            box(2 * h),
            Identity(_box_sum),
        ),
        Step(
            "Seen at every distance, on random spectra and on such boxes.",
            BOUND,
            Simulated(_sensitivities),
        ),
        Step(
            "A spectrum that rises once and falls once varies by the range of its gains each way.",
            UNIMODAL,
            Simulated(_unimodal),
        ),
        Step(
            "Gains lie between zero and one.",
            BELOW_HALF,
            Sign({lam_min: least, lam_max: least + more}),
        ),
        Step(
            r"From an eigenvalue $\lambda$ to $\lambda + u$ the gain rises by the last term,",
            equal(gain(lam + step), gain(lam) + RISE),
            Identity(),
        ),
        Step(
            r"at most the difference of the eigenvalues over $\sigma^2$,",
            at_most(RISE, step / sigma**2),
            Sign(),
        ),
        Step(
            "whose ratio to it tends to one at large noise,",
            equal(sp.Limit(RISE * sigma**2 / step, sigma, sp.oo), sp.S.One),
            LimitValue(),
        ),
        Step("which bounds the variation there,", LARGE, Simulated(lambda: _ends((0.1, 1, 100)))),
        Step(
            r"and at most $\sigma^2$ times the difference of the reciprocals $\frac1\lambda "
            r"- \frac1{\lambda + u}$,",
            at_most(RISE, sigma**2 * step / (lam * (lam + step))),
            Sign(),
        ),
        Step("which bounds it at small noise.", SMALL, Simulated(lambda: _ends((0.01, 1, 10)))),
    ),
    controls=(
        Step(
            "Nine tenths of the constant.",
            at_most(sp.Abs(a_[j]), sp.Rational(9, 10) * T_SIGMA / j),
            Simulated(_sensitivities),
        ),
        Step(
            "The box spectrum would break a bound a tenth lower.",
            box(sp.Rational(9, 5) * h),
            Identity(_box_sum),
        ),
        Step(
            "Jordan's inequality with a larger slope is false.",
            greater(sp.sin(x), sp.Rational(21, 10) * x / sp.pi),
            Enclosed({x: (sp.Rational(1, 10), sp.Rational(157, 100))}),
        ),
    ),
    code=(
        Computed(
            "locality_bound",
            equal(T_SIGMA, T),
            lambda v: locality_bound(_unturned(v), v[sigma]),
            _draw,
        ),
        Computed(
            "circulant_sensitivity",
            GAINS,
            lambda v: np.fft.fft(circulant_sensitivity(_unturned(v), v[sigma])).real[v[k] % v[n]],
            lambda rng: (world := _draw(rng)) | {k: 1 + int(world[lam_][:-1].argmax())},
        ),
        Refused(
            "locality_bound",
            at_least(n, 2),
            n,
            lambda size: locality_bound(np.ones(size), 1.0),
            step=1,
        ),
    ),
)

TORUS = Statement(
    label="theorem-4-10-torus",
    number="Theorem 4.10",
    kind="corollary",
    title="Sensitivity against distance on a torus",
    whose="ours",
    assumptions=say(
        "The data are Gaussian on a torus of {rows} by {columns} pixels, with a covariance that "
        "depends on the displacement only and has eigenvalues {eigenvalue} that are not negative; "
        "{g} are the gains, and {a} is the entry of the optimal denoiser's matrix at a "
        "displacement of wrap-around distance {first} along the first axis.",
        rows=n_1,
        columns=n_2,
        eigenvalue=lam_[k, l],
        g=g_[k, l],
        a=a_[j_1, m],
        first=j_1,
    ),
    claim=say(
        "{bound:display}with {constant:display}and the same holds with the axes exchanged.",
        bound=TORUS_BOUND,
        constant=equal(T_1, T_ROWS),
    ),
    steps=(
        Step(
            "The transform along the second axis has powers of modulus one, and what stands inside "
            "is, for every $l$, the row of a circulant matrix on a circle of $n_1$ pixels, which "
            "Theorem 4.10 bounds; its proof needs real gains only, not symmetric ones. Seen on "
            "random spectra, and on stripes, which attain it.",
            TORUS_BOUND,
            Simulated(_tori),
        ),
    ),
    controls=(
        Step(
            "Nine tenths of the constant.",
            at_most(sp.Abs(a_[j_1, m]), sp.Rational(9, 10) * T_1 / j_1),
            Simulated(_tori),
        ),
    ),
    code=(
        Computed(
            "locality_bound(axis=0)",
            equal(T_1, T_ROWS),
            lambda v: locality_bound(v[lam_], v[sigma], axis=0),
            lambda rng: _torus(_plane(rng), float(np.exp(rng.uniform(-3, 3)))),
        ),
        Computed(
            "locality_bound(axis=1)",
            equal(T_1, T_ROWS),
            lambda v: locality_bound(v[lam_].T, v[sigma], axis=1),
            lambda rng: _torus(_plane(rng), float(np.exp(rng.uniform(-3, 3)))),
        ),
    ),
)

STATEMENTS = (CIRCLE, TORUS)
