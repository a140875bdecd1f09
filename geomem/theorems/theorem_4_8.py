"""Theorem 4.8: bounds on the coverage, the mass of a shell seen from afar, its envelopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from scipy import special

from geomem.geometry.arrays import Floats
from geomem.geometry.coverage import shell_mass, shell_radii
from geomem.geometry.coverage_bounds import coverage_bounds, coverage_sigma, shell_mass_envelopes
from geomem.theorems.checks import (
    Computed,
    Identity,
    LimitValue,
    Refused,
    Sign,
    Simulated,
    Words,
)
from geomem.theorems.formulas import (
    Called,
    Chain,
    Draws,
    Expect,
    Indicator,
    Least,
    Most,
    N,
    Over,
    Prob,
    Values,
    at_least,
    at_most,
    equal,
    evaluate,
    greater,
    i,
    j,
    less,
    named,
    root,
    say,
)
from geomem.theorems.normal import Q, f
from geomem.theorems.statement import Statement, Step
from geomem.theorems.textbook import Textbook

# The formulas ------------------------------------------------------------------------------

d, c, r, s, sigma = sp.symbols("d c r s sigma", positive=True)
a, b, k, x, nu, theta, u, v = sp.symbols("a b k x nu theta u v", positive=True)
g, h = sp.symbols("g h", nonnegative=True)
some, further = sp.symbols(r"\mathbf{1}_A \mathbf{1}_B", nonnegative=True)
m = sp.Symbol("j", integer=True, nonnegative=True)  # j from zero on
z, z_1, z_2, turn = sp.symbols("z z_1 z_2 theta", real=True)
X, x_i, Z = sp.symbols("X x_i Z", real=True)
d_, Y_, F_ = (sp.IndexedBase(name) for name in "dYF")
Y, gap = named(r"\lVert Z + r e_1 \rVert^2"), named(r"d_{\mathrm{1NN}}")

R_IN = Called(r"r_{\mathrm{in}}", sp.sqrt(sp.Max(d - 2 * sp.sqrt(c * d), 0)))
R_OUT = Called(r"r_{\mathrm{out}}", sp.sqrt(d + 2 * sp.sqrt(c * d) + 2 * c))
NEAREST = Called(r"d_{\mathrm{1NN}}", Least(d_[i], i))


def inside(square: sp.Expr) -> Chain:
    """Whether a squared distance, in squared noise levels, is one within the shell."""
    return Chain(at_most(R_IN**2, square), at_most(square, R_OUT**2))


C = Called(r"C_{\sigma}(p, D)", Expect(Most(Indicator(inside(Y_[i])), i)))


def _called(letter: str, degrees: sp.Expr, at: sp.Expr) -> str:
    printed = Textbook().doprint
    return f"{letter}_{{{printed(degrees)}}}({printed(at)})"


def central(degrees: sp.Expr, at: sp.Expr) -> Called:
    """The chi-square density."""
    formula = at ** (degrees / 2 - 1) * sp.exp(-at / 2) / (2 ** (degrees / 2))
    return Called(_called("f", degrees, at), formula / sp.gamma(degrees / 2))


def below(degrees: sp.Expr, at: sp.Expr) -> Called:
    """The chi-square distribution function."""
    formula = sp.lowergamma(degrees / 2, at / 2) / sp.gamma(degrees / 2)
    return Called(_called("F", degrees, at), formula)


def poisson(count: sp.Expr) -> sp.Expr:
    """The probability of a count whose mean is nu."""
    return sp.exp(-nu) * nu**count / sp.factorial(count)


def mixture(part: Callable[[Floats], Floats], dim: float, radius: float) -> float:
    """The mean of part(k / 2) where k = dim + 2 j, j Poisson of mean radius^2 / 2."""
    mean = radius**2 / 2
    count = np.arange(mean + 40 * np.sqrt(mean) + 60)
    weights = np.exp(special.xlogy(count, mean) - mean - special.gammaln(count + 1))
    return float(weights @ part(dim / 2 + count))


@cache
def mass(dim: float, shell: float, radius: float) -> float:
    """Phi term by term: no line in common with `shell_mass`."""
    inner, outer = (evaluate(x**2 / 2, {d: dim, c: shell}) for x in (R_IN, R_OUT))
    if radius > np.sqrt(2 * outer) + 40:
        return 0.0  # less than any float64

    def part(shape: Floats) -> Floats:
        return np.asarray(special.gammainc(shape, outer) - special.gammainc(shape, inner))

    return mixture(part, dim, radius)


def density(degrees: float, at: float, radius: float) -> float:
    """The noncentral chi-square density, term by term."""

    def part(shape: Floats) -> Floats:
        return np.exp(special.xlogy(shape - 1, at / 2) - at / 2 - special.gammaln(shape)) / 2

    return mixture(part, degrees, radius)


class Phi(sp.Function):
    """The mass of a shell, of (d, c, r)."""

    @staticmethod
    def compute(dim: float, shell: float, radius: Any) -> Floats:
        values, where = np.unique(radius, return_inverse=True)
        found = np.array([mass(float(dim), float(shell), float(value)) for value in values])
        return found[where].reshape(np.shape(radius))

    def fdiff(self, argindex: int = 1) -> sp.Expr:
        if argindex != 3:
            raise sp.core.function.ArgumentIndexError(self, argindex)
        return slope(self.args[2])

    def _latex(self, printer: Any) -> str:
        dim, shell, radius = map(printer._print, self.args)
        return rf"\Phi_{{{dim},{shell}}}\left({radius}\right)"


class Noncentral(sp.Function):
    """The noncentral chi-square density, of (degrees of freedom, x, r)."""

    compute = staticmethod(np.vectorize(density, otypes=[float]))

    def _latex(self, printer: Any) -> str:
        degrees, at, radius = map(printer._print, self.args)
        return rf"f_{{{degrees}}}\left({at}; {radius}^{{2}}\right)"


def slope(radius: sp.Expr) -> sp.Expr:
    """The derivative of Phi."""
    at_in, at_out = (Noncentral(d + 2, end**2, radius) for end in (R_IN, R_OUT))
    return sp.Mul(2, radius, at_in - at_out, evaluate=False)


def without_max(formula: sp.Expr) -> sp.Expr:
    """Where the maximum of something and zero is that something."""
    return formula.replace(sp.Max, sp.Add)


SUM = Over(Phi(d, c, d_[i] / sigma), i)
CAPPED = Expect(sp.Min(1, SUM, evaluate=False))
N_NEAREST = Expect(sp.Min(1, N * Phi(d, c, NEAREST / sigma), evaluate=False))
LOWER = Expect(Phi(d, c, NEAREST / sigma))


# Worlds ------------------------------------------------------------------------------------


def _world(
    train: Floats, images: Floats, level: float, shell: float, draws: int = 50_000
) -> dict[Any, Any]:
    """X drawn from some images, with noise, seen from the training points."""
    rng = np.random.default_rng(48)
    seen = rng.integers(len(images), size=draws)
    noise = rng.standard_normal((draws, train.shape[1]))
    shifted = noise + (images - train[:, None])[:, seen] / level
    gaps = np.linalg.norm(images - train[:, None], axis=2)
    world = {N: len(train), d: train.shape[1], c: shell, sigma: level}
    return world | {d_: Draws(gaps[:, seen]), Y_: Draws((shifted**2).sum(2))}


def _one_point() -> Iterator[Values]:
    """One training point, where the lower bound is an equality."""
    yield _world(np.zeros((1, 3)), np.array([[0.5, 0, 0], [1, 1, 1.0]]), 1.0, 0.5)
    yield _world(np.zeros((1, 16)), np.full((1, 16), 0.7), 1.2, 1.0)


@cache
def _points() -> list[Values]:
    """Two shells that do not meet, where the sum is an equality; balls; a cloud."""
    rng = np.random.default_rng(0)
    return [
        *_one_point(),
        _world(np.array([[0.0], [10.0]]), np.array([[4.0], [4.5]]), 2.0, 0.1, 100_000),
        _world(rng.normal(size=(10, 2)), rng.normal(size=(20, 2)), 1.0, 3.0, 20_000),
        _world(rng.normal(size=(20, 16)), rng.normal(size=(20, 16)), 1.0, 1.0, 10_000),
    ]


def _distances() -> Iterator[Values]:
    """Distances from an image, the same twice, near and far; of two where both are the same."""
    rng = np.random.default_rng(1)
    for dim, shell in ((1, 1e-3), (3, 0.7), (64, 5.0), (3072, 5.0)):
        far = np.sqrt(dim) * np.append(rng.uniform(0.1, 2, 7), 1.0)
        for gaps in (far, np.full(2, 1.1 * dim**0.25)):
            yield {N: len(gaps), d: dim, c: shell, sigma: 0.5, d_: gaps[:, None]}


def _at(level: float) -> Callable[[], Iterator[Values]]:
    """Half of the images are training points, at one extreme noise level."""

    def worlds() -> Iterator[Values]:
        train, others = np.random.default_rng(2).normal(size=(2, 6, 2))
        yield _world(train, np.vstack([train, others]), level, 0.3)

    return worlds


def _comb() -> Iterator[Values]:
    train, images = (np.linspace(-2, 2, n)[:, None] for n in (41, 1001))
    yield _world(train, images, 0.3, 0.1)


def _shifted() -> Iterator[Values]:
    """Noise shifted in any direction."""
    rng = np.random.default_rng(3)
    for dim, shell, radius in ((1, 0.1, 0.8), (3, 0.5, 1.5), (16, 5.0, 4.0), (64, 1.0, 3.0)):
        shift = rng.normal(size=dim)
        shift *= radius / np.linalg.norm(shift)
        square = ((rng.standard_normal((20_000, dim)) + shift) ** 2).sum(1)
        yield {d: dim, c: shell, r: radius, Y: Draws(square)}


def _width(dim: int, shell: float) -> float:
    """The squared distance, in squared noise levels, of the transition."""
    return float(2 * np.sqrt(shell * dim) + 2 * shell)


def _radii() -> Iterator[Values]:
    """Distances up to far beyond the transition."""
    for dim, shell in ((1, 0.1), (3, 2.0), (16, 1.0), (200, 5.0), (4096, 0.5)):
        for share in (0, 0.5, 1, 1.5, 2, 3):
            yield {d: dim, c: shell, r: share * np.sqrt(_width(dim, shell))}


def _few() -> Iterator[Values]:
    for dim, shell, radius in ((1, 0.1, 0.8), (3, 0.5, 2.0), (5, 2.0, 3.0), (64, 5.0, 7.0)):
        yield {d: dim, c: shell, r: radius}


def _high() -> Iterator[Values]:
    """At the transition, in so many dimensions that the limit is reached."""
    rng, dim = np.random.default_rng(4), 10**8
    for shell in (0.1, 0.5, 5.0):
        square = rng.noncentral_chisquare(dim, _width(dim, shell), 100_000)
        yield {d: dim, c: shell, Y: Draws(square)}


# Code --------------------------------------------------------------------------------------

FLOOR = sp.Float(1e-60)  # below some 1e-90 SciPy may answer zero


def _shell(rng: np.random.Generator) -> dict[Any, Any]:
    """A dimension and a shell, to beyond the c at which it becomes a ball, and a distance."""
    dim = int(np.exp(rng.uniform(0, np.log(4097))))
    shell = float(np.exp(rng.uniform(np.log(1e-3), np.log(10 * dim))))
    transition = np.sqrt(_width(dim, shell))
    far = float(np.exp(rng.uniform(np.log(1e-3), np.log(1e6))))
    radius = float(rng.choice([0.0, far, transition * rng.uniform(0, 3)]))
    return {d: dim, c: shell, r: radius, gap: far}


@cache
def _studies() -> list[dict[Any, Any]]:
    """A few images and training points, at noise levels near the transition."""
    rng, found = np.random.default_rng(5), []
    for _ in range(12):
        dim, count, queries = (int(rng.integers(1, most)) for most in (12, 7, 5))
        scale = np.exp(rng.uniform(-3, 3))
        train, images = (scale * rng.normal(size=(n, dim)) for n in (count, queries))
        shell = float(np.exp(rng.uniform(np.log(1e-2), np.log(2 * dim))))
        gaps = np.linalg.norm(images - train[:, None], axis=2)
        level = float(coverage_sigma(np.median(gaps), dim, shell) * rng.uniform(0.7, 3))
        world = {N: count, d: dim, c: shell, sigma: level, d_: gaps}
        found.append(world | {"bounds": coverage_bounds(images, train, [level], c=shell)})
    return found


def _study(rng: np.random.Generator) -> dict[Any, Any]:
    return _studies()[rng.integers(len(_studies()))]


def _bounds(train: Any = ((0.0,),), sigmas: Any = (1.0,), **options: Any) -> Any:
    return coverage_bounds([[0.0]], train, sigmas, **options)


def _found(name: str) -> Callable[[Values], float]:
    return lambda v: getattr(v["bounds"], name)[0]


DIMENSION, THICKNESS, DISTANCE = at_least(d, 1), greater(c, 0), at_least(r, 0)
MANY, NOISE = at_least(N, 1), greater(sigma, 0)
RADII = (
    Computed(
        "shell_radii()[0]", equal(R_IN, R_IN.formula), lambda v: shell_radii(v[d], v[c])[0], _shell
    ),
    Computed(
        "shell_radii()[1]",
        equal(R_OUT, R_OUT.formula),
        lambda v: shell_radii(v[d], v[c])[1],
        _shell,
    ),
)
MASS = Computed(
    "shell_mass",
    sp.Max(Phi(d, c, r), FLOOR),
    lambda v: max(float(shell_mass(v[r], v[d], v[c])), 1e-60),
    _shell,
    points=120,
)
RANGES = (
    Refused("shell_mass(r=)", DISTANCE, r, lambda far: shell_mass(far, 3)),
    Refused("shell_mass(d=)", DIMENSION, d, lambda dim: shell_mass(1.0, dim), step=1),
    Refused("shell_mass(c=)", THICKNESS, c, lambda shell: shell_mass(1.0, 3, shell)),
)


# The bounds --------------------------------------------------------------------------------

UNION = some + further - some * further  # the indicator of two events together, from theirs
EVENTS = {some: u / (1 + u), further: v / (1 + v)}
SHELL = equal(Phi(d, c, r), Prob(inside(Y)))
LOWER_HOLDS = at_least(C, LOWER)
ONE_POINT = equal(C, LOWER)
UPPER_HOLDS = at_most(C, CAPPED)
CRUDER = at_most(CAPPED, N_NEAREST)
SMALL = equal(sp.Limit(C, sigma, 0), Prob(equal(NEAREST, 0)) * Phi(d, c, 0))
LARGE = equal(sp.Limit(C, sigma, sp.oo), Phi(d, c, 0))

H = Called("h", r**2 - 2 * sp.sqrt(c * d) - 2 * c)
D = Called(r"d_{\mathrm{eff}}", d + 2 * r**2)
ROOT = Called("b", (sp.sqrt(D + 2 * sp.Max(-H, 0)) - sp.sqrt(D)) / 2)
LOG_ABOVE = -(sp.Max(H, 0) ** 2) / (4 * D)
ABOVE = sp.exp(LOG_ABOVE)
BELOW = 1 - sp.exp(-c) - sp.exp(-(ROOT**2))

BOUNDS = Statement(
    label="theorem-4-8",
    number="Theorem 4.8",
    kind="theorem",
    title="Bounds on the coverage",
    whose="reconstruction",
    assumptions=say(
        "{X} is drawn from {p}, and the noise {Z} in {dimension} dimensions, standard normal, is "
        "independent of it; the {many} training points are fixed, at distances {distance} from "
        "{X}, and {nearest}. At the noise level {noise}, {square} is the squared length of "
        "{shifted}. The shell's radii are, with {thickness}, {inner} and {outer}.",
        X=X,
        p=sp.Symbol("p"),
        Z=Z,
        dimension=DIMENSION,
        many=MANY,
        distance=d_[i],
        nearest=equal(NEAREST, NEAREST.formula),
        noise=NOISE,
        square=Y_[i],
        shifted=Z + (X - x_i) / sigma,
        thickness=THICKNESS,
        inner=equal(R_IN, R_IN.formula),
        outer=equal(R_OUT, R_OUT.formula),
    ),
    claim=say(
        "With the coverage and the mass of a shell seen from {r} noise levels away,"
        "{coverage:display}{mass:display}one has{lower:display}with equality for a single training "
        "point, and{upper:display}{cruder:display}For distinct training points{small:display}"
        "{large:display}The lower bound is the paper's, paraphrased; the rest is our "
        "reconstruction.",
        r=DISTANCE,
        coverage=equal(C, C.formula),
        mass=SHELL,
        lower=LOWER_HOLDS,
        upper=UPPER_HOLDS,
        cruder=CRUDER,
        small=SMALL,
        large=LARGE,
    ),
    steps=(
        Step(
            r"Seen from $x_i$ and in noise levels, a coordinate of the noisy image is one of a "
            r"shift plus noise; so the image lies in the shell of $x_i$ exactly if $Y_i$ lies "
            "between the two squared radii.",
            equal((X + sigma * Z - x_i) / sigma, Z + (X - x_i) / sigma),
            Identity(),
        ),
        Step(
            "Turning a plane changes no length, hence no density of noise, and a few turns bring "
            "any shift onto the first axis: only its length counts.",
            equal(
                (sp.cos(turn) * z_1 - sp.sin(turn) * z_2) ** 2
                + (sp.sin(turn) * z_1 + sp.cos(turn) * z_2) ** 2,
                z_1**2 + z_2**2,
            ),
            Identity(),
        ),
        Step(
            r"Given $X$, then, the shell of $x_i$ is met with the probability "
            r"$\Phi_{d,c}(d_i/\sigma)$: here noise shifted in a random direction.",
            SHELL,
            Simulated(_shifted),
        ),
        Step(
            r"Now shell by shell. Let $\mathbf{1}_A$ indicate that one of some shells is met, and "
            r"$\mathbf{1}_B$ that a further one is. That one of them all is, is at least as likely "
            "as each,",
            at_least(UNION, some),
            Sign(where=EVENTS),
        ),
        Step("at most one,", at_most(UNION, 1), Sign(where=EVENTS)),
        Step("and at most the sum.", at_most(UNION, some + further), Sign(where=EVENTS)),
        Step(
            r"The mass falls with the distance (next statement), so that the likeliest shell is "
            "the nearest point's.",
            equal(Most(Phi(d, c, d_[i] / sigma), i), Phi(d, c, NEAREST / sigma)),
            Simulated(_distances),
        ),
        Step(
            "The union is at least as likely as that shell given $X$, hence in the mean over $X$,",
            LOWER_HOLDS,
            Simulated(_points),
        ),
        Step(
            "with equality where there is no other shell.",
            ONE_POINT,
            Simulated(_one_point),
        ),
        Step(
            "It is at most as likely as one, and as the sum, which is exact where no two shells "
            "meet;",
            UPPER_HOLDS,
            Simulated(_points),
        ),
        Step(
            "and each term of the sum is at most the nearest point's.",
            CRUDER,
            Simulated(_distances),
        ),
        Step(
            "Small noise: the mass of a shell falls to zero with the distance, as its upper "
            "envelope does (last statement).",
            equal(sp.Limit(without_max(ABOVE.doit()), r, sp.oo), 0),
            LimitValue(),
        ),
        Step(
            r"So given $X \notin D$ all terms of the sum tend to zero, and given $X = x_i$ all but "
            r"one. At large noise all $Y_i$ tend to $\|Z\|^2$, which almost surely is no squared "
            "radius: all shells become one. What is bounded and converges given $X$ and $Z$ "
            "converges in the mean.",
            None,
            Words("dominated convergence"),
        ),
        Step("Seen at a ten-millionth of such distances,", SMALL, Simulated(_at(1e-7))),
        Step("and at ten million of them.", LARGE, Simulated(_at(1e7))),
        Step(
            "Between them the coverage can lie far above its limit at large noise, and need not "
            "increase: 41 evenly spaced points on $[-2, 2]$, $X$ uniform there, $d = 1$, $c = "
            r"0.1$, $\sigma = 0.3$.",
            at_least(C - Phi(d, c, 0), sp.Rational(3, 5)),
            Simulated(_comb),
        ),
    ),
    controls=(
        Step(
            "A lower bound larger by one tenth.",
            at_least(C, LOWER * sp.Rational(11, 10)),
            Simulated(_points),
        ),
        Step(
            "A sum smaller by one tenth.",
            at_most(C, CAPPED * sp.Rational(9, 10)),
            Simulated(_points),
        ),
        Step(
            "As if the images that are training points made no difference.",
            equal(sp.Limit(C, sigma, 0), Phi(d, c, 0)),
            Simulated(_at(1e-7)),
        ),
    ),
    code=(
        *RADII,
        *RANGES,
        Computed("coverage_bounds().lower_nearest", LOWER, _found("lower_nearest"), _study),
        Computed("coverage_bounds().upper_nearest", N_NEAREST, _found("upper_nearest"), _study),
        # From a table, which may only err upwards.
        Computed(
            "coverage_bounds().upper_sum", CAPPED, _found("upper_sum"), _study, tolerance=0.01
        ),
        Refused("coverage_bounds(sigmas=)", NOISE, sigma, lambda x: _bounds(sigmas=[x])),
        Refused("coverage_bounds(c=)", THICKNESS, c, lambda x: _bounds(c=x)),
        Refused("coverage_bounds(train=)", MANY, N, lambda n: _bounds(np.zeros((n, 1))), step=1),
    ),
)


# The mass of a shell decreases with the distance -------------------------------------------

below_half = Called(r"\theta", (1 - u) / 2)
MOMENT = Step(
    r"The moment generating function of a shifted squared coordinate, for every $\theta < 1/2$.",
    equal(
        sp.Integral(sp.exp(below_half * (z + r) ** 2) * f(z), (z, -sp.oo, sp.oo)),
        sp.exp(below_half * r**2 / (1 - 2 * below_half)) / sp.sqrt(1 - 2 * below_half),
    ),
    Identity(),
)
ratio = Called("a", sp.sqrt(c / d))
IN, OUT = 1 - 2 * a, 1 + 2 * a + 2 * a**2  # r_in^2 / d and r_out^2 / d


def exponent(outer: sp.Expr) -> sp.Expr:
    """Of the ratio of the central densities, per d/2."""
    return sp.log(IN) - sp.log(outer) + outer - IN


BELOW_HALF = {a: v / (2 * (1 + v))}
FALLS = less(sp.Derivative(Phi(d, c, r), r), 0)
CENTRAL = equal(central(k, x), central(k, x).formula)
TERM = (r**2 * x / 4) ** j * sp.gamma(k / 2) / (sp.gamma(k / 2 + j) * sp.factorial(j))


def _of_ratio(difference: sp.Expr) -> sp.Expr:
    """For c < d/4 in terms of a = sqrt(c / d), logarithms of products taken apart."""
    inner = sp.expand_log(without_max(difference.doit()).subs(c, a**2 * d), force=True)
    return inner.subs(BELOW_HALF).replace(
        sp.log, lambda product: sp.expand_log(sp.log(sp.factor(product)), force=True)
    )


LESS = less(g * h, (g + u) * (h + v))  # the density at the inner and at the outer radius


def _found_in_the_steps(difference: sp.Expr) -> sp.Expr:
    """The noncentral densities: a common factor, times the sides of `LESS`."""
    factor = sp.Symbol("factor", positive=True)
    common = {R_IN: factor * LESS.lhs, R_OUT: factor * LESS.rhs}
    found = {Noncentral(d + 2, end**2, r).doit(): value for end, value in common.items()}
    return difference.doit().subs(found)


MONOTONE = Statement(
    label="theorem-4-8-monotone",
    number="Theorem 4.8",
    kind="proposition",
    title="Monotonicity of the mass of a shell",
    whose="ours",
    assumptions=say(
        "{dimension}, {thickness}, {distance}, {inner} and {outer}.",
        dimension=DIMENSION,
        thickness=THICKNESS,
        distance=DISTANCE,
        inner=equal(R_IN, R_IN.formula),
        outer=equal(R_OUT, R_OUT.formula),
    ),
    claim=say(
        "The mass of a shell falls strictly with the distance: but where that is zero,"
        "{falls:display}",
        falls=FALLS,
    ),
    steps=(
        Step(
            say(
                "The chi-square law with {k} degrees of freedom has the density {density}, and "
                "{F} for its distribution function. Two degrees on, this falls by twice a density:",
                k=k,
                density=CENTRAL,
                F=below(k, x),
            ),
            equal(
                sp.Derivative(below(k, x) - below(k + 2, x) - 2 * central(k + 2, x), x),
                0,
            ),
            Identity(),
        ),
        Step(
            "and there is nothing at zero.",
            equal(sp.Subs(below(k, x) - below(k + 2, x) - 2 * central(k + 2, x), x, 0), 0),
            Identity(),
        ),
        MOMENT,
        Step(
            r"With $d - 1$ unshifted ones: so has a mixture of chi-square laws with $d + 2j$ "
            r"degrees of freedom, $j$ Poisson with mean $\nu = r^2/2$.",
            equal(
                sp.Sum(poisson(m) * (1 - 2 * theta) ** (-d / 2 - m), (m, 0, sp.oo)),
                sp.exp(2 * nu * theta / (1 - 2 * theta)) * (1 - 2 * theta) ** (-d / 2),
            ),
            Identity(prepare=lambda e: e.subs(theta, (1 - u) / 2).doit()),
        ),
        Step(
            r"So $F_d(x; r^2)$, the distribution function of $\|Z + r e_1\|^2$, is the mean of "
            "$F_{d+2j}(x)$.",
            None,
            Words("a law is determined by its moment generating function"),
        ),
        Step(
            r"Differentiate in $\nu$, with $F_j$ for $F_{d+2j}(x)$: each term is a mixture's of "
            r"differences, and what is left over telescopes,",
            equal(
                sp.Derivative(poisson(j), nu) * F_[j],
                poisson(j - 1) * (F_[j] - F_[j - 1])
                + (poisson(j - 1) * F_[j - 1] - poisson(j) * F_[j]),
            ),
            Identity(),
        ),
        Step("to nothing.", equal(sp.Limit(poisson(j), j, sp.oo), 0), LimitValue()),
        Step(
            r"By the first step the differences are twice densities: $F_d(x; r^2)$ changes by "
            r"$-2 f_{d+2}(x; r^2)$ per $\nu$, and so by $-2r f_{d+2}(x; r^2)$ per $r$. "
            r"At the two ends of the shell, with the integral done in numbers:",
            equal(Phi(d, c, r), Phi(d, c, 0) + sp.Integral(slope(s), (s, 0, r))),
            Simulated(_few),
        ),
        Step(
            r"If $c \ge d/4$, then $r_{\mathrm{in}} = 0$, the density there is 0, and that is all. "
            r"Let $c < d/4$. Each term of the noncentral density is the central one times "
            r"$e^{-r^2/2}$ and a term in $x$,",
            equal(
                poisson(j).subs(nu, r**2 / 2) * central(k + 2 * j, x),
                sp.Mul(sp.exp(-(r**2) / 2), central(k, x), TERM, evaluate=False),
            ),
            Identity(),
        ),
        Step(
            "that increases: the larger radius gains more.",
            greater(sp.Derivative(TERM, x), 0),
            Sign(),
        ),
        Step(
            say(
                "And the central density is smaller at the smaller radius: with {ratio}, which is "
                "below one half,",
                ratio=equal(ratio, ratio.formula),
            ),
            equal(
                sp.log(central(d + 2, R_IN**2) / central(d + 2, R_OUT**2)),
                d / 2 * exponent(OUT).subs(a, ratio),
            ),
            Identity(prepare=_of_ratio),
        ),
        Step(
            "where the bracket starts at zero",
            equal(sp.Subs(exponent(OUT), a, 0), 0),
            Identity(),
        ),
        Step("and falls.", less(sp.Derivative(exponent(OUT), a), 0), Sign(where=BELOW_HALF)),
        Step(
            "Both together, with $g$ for the central density and $h$ for the series at the inner "
            "radius, and by $u$ and $v$ larger ones at the outer radius:",
            LESS,
            Sign(),
        ),
        Step(
            "With these products and their common factor put in for the two densities of the "
            "slope, as the steps before found them,",
            FALLS,
            Sign(prepare=_found_in_the_steps),
        ),
    ),
    controls=(
        Step(
            "With $3c$ for $2c$ in the outer radius the sign is lost.",
            less(sp.Derivative(exponent(OUT + a**2), a), 0),
            Sign(where=BELOW_HALF),
        ),
        Step(
            "A density too many.",
            equal(sp.Derivative(below(k, x) - below(k + 2, x) - 3 * central(k + 2, x), x), 0),
            Identity(),
        ),
        Step(
            "A slope larger by one tenth.",
            equal(
                Phi(d, c, r),
                Phi(d, c, 0) + sp.Integral(sp.Rational(11, 10) * slope(s), (s, 0, r)),
            ),
            Simulated(_few),
        ),
    ),
    code=(*RADII, *RANGES, MASS),
)


# Envelopes and sigma_cov -------------------------------------------------------------------

ABOVE_HOLDS = at_most(Phi(d, c, r), ABOVE)
BELOW_HOLDS = at_most(BELOW, Phi(d, c, r))
free = sp.Symbol(r"{d_{\mathrm{eff}}}", positive=True)  # d_eff where any number would do
SIGMA_COV = Called(r"\sigma_{\mathrm{cov}}", gap / sp.sqrt(2 * sp.sqrt(c * d) + 2 * c))
MIDDLE = equal(sp.Limit(Prob(inside(Y)), d, sp.oo), sp.Rational(1, 2) - Q(root(8, c)))


def _at_the_centre(difference: sp.Expr) -> sp.Expr:
    """The roots of perfect squares, in terms of the roots of c and d."""
    inner = without_max(difference.doit()).subs({c: u**2, d: v**2})
    return inner.replace(sp.Pow, lambda base, power: sp.factor(base) ** power)


def log_moment(at: sp.Expr) -> sp.Expr:
    """log E e^(at (|Z + r e_1|^2 - d - r^2))."""
    return -d * sp.log(1 - 2 * at) / 2 + at * r**2 / (1 - 2 * at) - at * (d + r**2)


UPWARDS = D * theta**2 / (1 - 2 * theta) - log_moment(theta)
DOWNWARDS = D * theta**2 - log_moment(-theta)
TO_THE_INSIDE = (without_max((R_IN**2 - R_OUT**2).doit()) / sp.sqrt(2 * D.formula)).subs(
    r, sp.sqrt(2 * sp.sqrt(c * d) + 2 * c)
)

ENVELOPES = Statement(
    label="theorem-4-8-envelopes",
    number="Theorem 4.8",
    part="(envelopes)",
    kind="corollary",
    title="Elementary envelopes and the transition",
    whose="reconstruction",
    assumptions=say(
        "{dimension}, {thickness}, {distance}, {inner} and {outer}; {h}, {D} and {b}.",
        dimension=DIMENSION,
        thickness=THICKNESS,
        distance=DISTANCE,
        inner=equal(R_IN, R_IN.formula),
        outer=equal(R_OUT, R_OUT.formula),
        h=equal(H, H.formula),
        D=equal(D, D.formula),
        b=equal(ROOT, ROOT.formula),
    ),
    claim=say(
        "{both:display}The transition lies where {h} vanishes: a point at a distance {gap} is "
        "reached at{sigma:display}where, as the dimension grows,{middle:display}",
        both=Chain(BELOW_HOLDS, ABOVE_HOLDS),
        h=H,
        gap=gap,
        sigma=equal(SIGMA_COV, SIGMA_COV.formula),
        middle=MIDDLE,
    ),
    steps=(
        MOMENT,
        Step(
            r"Centre $\|Z + r e_1\|^2$ at its mean, $d + r^2$. One coordinate is shifted, and $d - "
            "1$ are not: the logarithm of the moment generating function is",
            equal(
                sp.log(
                    sp.exp(theta * r**2 / (1 - 2 * theta) - theta * (d + r**2))
                    * (1 - 2 * theta) ** (-d / 2)
                ),
                log_moment(theta),
            ),
            Identity(prepare=lambda e: sp.expand_log(e.subs(theta, (1 - u) / 2), force=True)),
        ),
        Step(
            r"For $0 < \theta < 1/2$ compare it with $d_{\mathrm{eff}} \theta^2/(1 - 2\theta)$: "
            "the difference does not fall,",
            at_least(sp.Derivative(UPWARDS, theta), 0),
            Sign(where={theta: v / (2 * (1 + v))}),
        ),
        Step("and starts at zero.", equal(sp.Subs(UPWARDS, theta, 0), 0), Identity()),
        Step(
            r"With $-\theta$ for $\theta$, and any $\theta > 0$, compare it with $d_{\mathrm{eff}} "
            r"\theta^2$:",
            at_least(sp.Derivative(DOWNWARDS, theta), 0),
            Sign(),
        ),
        Step("again", equal(sp.Subs(DOWNWARDS, theta, 0), 0), Identity()),
        Step(
            r"So $\|Z + r e_1\|^2$ lies $t$ above its mean with at most the probability "
            r"$e^{d_{\mathrm{eff}} \theta^2/(1 - 2\theta) - \theta t}$, and $t$ below it with at "
            r"most $e^{d_{\mathrm{eff}} \theta^2 - \theta t}$.",
            None,
            Words("Markov's inequality"),
        ),
        Step(
            "*Upper envelope.* The outer radius lies below the mean by",
            equal(d + r**2 - R_OUT**2, H),
            Identity(),
        ),
        Step(
            r"If that is positive, $\theta = h/(2 d_{\mathrm{eff}})$ gives the bound, and else it "
            "says nothing.",
            equal(sp.Subs(D * theta**2 - theta * H, theta, H / (2 * D)), LOG_ABOVE),
            Identity(prepare=without_max),
        ),
        Step(
            "*Lower envelope.* The inner radius lies farther below the mean; if it is not zero, "
            r"its $\theta$ gives an exponent of at least that of Lemma 4.5,",
            at_least((d + r**2 - R_IN**2) ** 2 / (4 * D), c),
            Sign(where={d: 4 * c * (1 + v) ** 2}, prepare=without_max),
        ),
        Step(
            "and if it is, nothing lies within. For the outer radius, this excess has the exponent",
            equal(
                sp.Subs(
                    theta * u - free * theta**2 / (1 - 2 * theta),
                    (theta, u),
                    (b / (sp.sqrt(free) + 2 * b), 2 * b * sp.sqrt(free) + 2 * b**2),
                ),
                b**2,
            ),
            Identity(),
        ),
        Step(
            r"at a $\theta$ that is allowed,",
            less(b / (sp.sqrt(free) + 2 * b), sp.Rational(1, 2)),
            Sign(),
        ),
        Step(
            "and it is by how much the outer radius exceeds the mean, if it does.",
            equal(2 * ROOT * sp.sqrt(D) + 2 * ROOT**2, -H),
            Identity(prepare=without_max),
        ),
        Step(
            "Subtract both. (If it does not, this bound is negative, and true.)",
            BELOW_HOLDS,
            Simulated(_radii),
        ),
        Step(
            "And whoever is in the shell is below its outer radius:", ABOVE_HOLDS, Simulated(_radii)
        ),
        Step(
            "At the centre this is Lemma 4.5 again:",
            equal(sp.Subs(ROOT**2, r, 0), c),
            Identity(prepare=_at_the_centre),
        ),
        Step(
            "*Transition.* The outer radius is at the mean of the squared length exactly there:",
            equal(sp.Subs(H, r, gap / SIGMA_COV), 0),
            Identity(),
        ),
        Step(
            "In standard deviations, the inner one lies below it by something that does not "
            "vanish as the dimension grows;",
            equal(sp.Limit(TO_THE_INSIDE, d, sp.oo), -sp.sqrt(8 * c)),
            LimitValue(),
        ),
        Step(
            "so the mass tends, by the central limit theorem, to one half less what is inside. "
            "Seen in a hundred million dimensions.",
            MIDDLE,
            Simulated(_high),
        ),
    ),
    controls=(
        Step(
            r"With $d + \tfrac{19}{10} r^2$ for $d_{\mathrm{eff}}$ the comparison fails.",
            at_least(sp.Derivative(DOWNWARDS.subs(D, d + sp.Rational(19, 10) * r**2), theta), 0),
            Sign(),
        ),
        Step(
            "A third for a quarter in the exponent of the upper envelope.",
            at_most(Phi(d, c, r), ABOVE ** sp.Rational(4, 3)),
            Simulated(_radii),
        ),
        Step(
            "As if there were no inner radius.",
            equal(MIDDLE.lhs, sp.Rational(1, 2)),
            Simulated(_high),
        ),
    ),
    code=(
        *RADII,
        Computed(
            "shell_mass_envelopes()[0]",
            sp.Max(BELOW, 0),
            lambda v: shell_mass_envelopes(v[r], v[d], v[c])[0],
            _shell,
        ),
        Computed(
            "shell_mass_envelopes()[1]",
            ABOVE,
            lambda v: shell_mass_envelopes(v[r], v[d], v[c])[1],
            _shell,
        ),
        Computed("coverage_sigma", SIGMA_COV, lambda v: coverage_sigma(v[gap], v[d], v[c]), _shell),
        Refused("shell_mass_envelopes(r=)", DISTANCE, r, lambda x: shell_mass_envelopes(x, 3)),
        Refused(
            "shell_mass_envelopes(d=)", DIMENSION, d, lambda n: shell_mass_envelopes(1.0, n), step=1
        ),
        Refused(
            "shell_mass_envelopes(c=)", THICKNESS, c, lambda x: shell_mass_envelopes(1.0, 3, x)
        ),
        Refused("coverage_sigma", at_least(gap, 0), gap, lambda x: coverage_sigma(x, 3)),
    ),
)

STATEMENTS: tuple[Statement, ...] = (BOUNDS, MONOTONE, ENVELOPES)
