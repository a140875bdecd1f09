"""Theorem 4.9: the shell-only objective at small noise is underdetermined."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.coverage import shell_mass, shell_radii
from geomem.geometry.posterior import empirical_denoiser
from geomem.geometry.shell_objective import disjoint_sigma, shell_minimizer
from geomem.theorems.checks import (
    Computed,
    Enclosed,
    Identity,
    Refused,
    Sign,
    Simulated,
    Words,
)
from geomem.theorems.formulas import (
    Chain,
    Draws,
    Expect,
    Least,
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
    say,
)
from geomem.theorems.statement import Statement, Step

# The formulas ------------------------------------------------------------------------------

c, d, sigma, delta, eps, B = sp.symbols("c d sigma delta varepsilon B", positive=True)
r, r_in, r_out = sp.symbols(r"r r_{\mathrm{in}} r_{\mathrm{out}}", positive=True)
d_12, more = sp.symbols("d_{12} v", positive=True)
P_0, P_1, P_2, m = sp.symbols("P_0 P_1 P_2 m", real=True)
v_1, v_2 = sp.symbols("v_1 v_2", positive=True)
x_2 = sp.Symbol("x_2", nonzero=True, real=True)
d_, x_, w_, to_ = (sp.IndexedBase(name) for name in ("d", "x", "w", "a"))
ON_OWN = sp.IndexedBase(r"\mathbf{1}")  # 1 where y lies in the shell of a point
SHELL = sp.IndexedBase("S")
UNION, OTHER = named(r"U_\sigma"), named("m'")
S_EPS = sp.Symbol(r"\sigma_\varepsilon", positive=True)
C_EPS = sp.Symbol(r"c_\varepsilon", positive=True)
WHOLE, OWN, ANSWER = named(r"L_\sigma(m)"), named(r"L^{\mathrm{sh}}_\sigma(m)"), named("m(y)")
HIT = named(r"\Phi_{d,c}(0)")
MISSED = 1 - HIT
APART, COVERED = named(r"\|m - m'\|"), named(r"\mathbf{1}_{U_\sigma}")
ERROR, INSIDE = named(r"\|m(Y) - X\|^2"), named(r"\mathbf{1}\{Y \in S_X\}")


def outer(level: sp.Expr) -> sp.Expr:
    """The outer radius of a shell, in noise levels."""
    return sp.sqrt(d + 2 * sp.sqrt(level * d) + 2 * level)


def threshold(radius: sp.Expr) -> sp.Expr:
    """The noise level below which all shells are disjoint."""
    return delta / (2 * radius)


def density(point: sp.Symbol) -> sp.Expr:
    """Of noise around a point, up to a factor that is the same for all."""
    return sp.exp(-(to_[point] ** 2) / (2 * sigma**2))


LEAST = equal(delta, Least(Least(d_[i, j], j, i), i))
MEET = sp.Symbol(r"\sigma_{\mathrm{dis}}", positive=True)
DISJOINT = equal(MEET, threshold(r_out))
OWN_LOSS = equal(OWN, Expect(ERROR * INSIDE))
MINIMIZER = Over(x_[i] * density(i) * ON_OWN[i], i) / Over(density(i) * ON_OWN[i], i)
POSTERIOR = Over(x_[i] * density(i), i) / Over(density(i), i)
TWO_TAILS = 2 * sp.exp(-c)
GAP = Chain(
    at_most(sp.S.Zero, WHOLE - OWN),
    at_most(WHOLE - OWN, MISSED * B**2),
    at_most(MISSED * B**2, TWO_TAILS * B**2),
)
DIFFER = at_most(Prob(greater(APART, 0)), 1 - Expect(COVERED))
DIFFER_EVERYWHERE = equal(Prob(greater(APART, 0)), 1 - Expect(COVERED))
EXCESS = d_[i, j] * (d_[i, j] - 2 * sigma * r_out)
RATIO = at_most(w_[j] / w_[i], sp.exp(-EXCESS / (2 * sigma**2)))
ENOUGH = equal(C_EPS, sp.log(2 * B**2 / eps))
POSITIVE_C = less(eps, 2 * B**2)  # else no shell is asked for
WHOLE_SMALL = at_most(WHOLE, eps)
SURE = equal(S_EPS, threshold(outer(C_EPS)))


# Worlds: points of R^6 on a cap of a sphere, closer to each other than to its centre ---------

LEVEL, DIM, DRAWS = 0.5, 6, 4000
POINTS = (lambda x: 4 * x / np.linalg.norm(x, axis=1)[:, None])(
    np.random.default_rng(0).normal(size=(8, DIM)) / 5 + np.eye(DIM)[0]
)
NEW = np.random.default_rng(1).uniform(-4, 4, (4000, DIM))


@cache
def _losses(scale: float, level: float = LEVEL) -> list[dict[Any, Any]]:
    """Noisy training points, and two minimizers: off the shells the one leaves its input alone,
    the other answers the centre of the sphere, so that its error is the radius, B.
    """
    sigma_ = scale * disjoint_sigma(POINTS, level)
    noise = np.random.default_rng(2).standard_normal((len(POINTS), DRAWS, DIM))
    noisy, norms = POINTS[:, None] + sigma_ * noise, np.linalg.norm(noise, axis=2)
    radii = {d: DIM, c: level}
    inside = (evaluate(INNER, radii) <= norms) & (norms <= evaluate(outer(c), radii))
    worlds = list[dict[Any, Any]]()
    for fill in (np.copy, np.zeros_like):
        values = shell_minimizer(POINTS, sigma_, fill, level)(noisy.reshape(-1, DIM))
        error = ((values.reshape(noisy.shape) - POINTS[:, None]) ** 2).sum(2)
        world = {ERROR: Draws(error.ravel()), INSIDE: Draws(inside.ravel().astype(float))}
        worlds.append(world)
    return worlds


INNER = sp.sqrt(sp.Max(d - 2 * sp.sqrt(c * d), 0))


def _gaps() -> Iterator[Values]:
    """The loss off the own shell, draw by draw, where every fill is off by exactly B."""
    for scale, level in ((0.3, 0.5), (0.9, 0.5), (0.5, 2.0)):
        *_, world = _losses(scale, level)
        error, inside = world[ERROR].values, world[INSIDE].values
        lost = 1 - float(shell_mass(0.0, DIM, level))
        yield {WHOLE: Draws(error), OWN: Draws(error * inside), HIT: 1 - lost, B: 4.0, c: level}


def _near_and_far() -> Iterator[Values]:
    """One point, in one dimension: nearly all that the two tails allow, at c near 0."""
    for level in (1e-4, 0.5, 3.0):
        yield {HIT: float(shell_mass(0.0, 4, level)), B: 1.0, c: level}


def _minimizers(fills: str) -> Iterator[Values]:
    """Where two minimizers differ; ``fills`` "differ" everywhere, or "meet" on half of it."""

    def clipped(x: Floats) -> Floats:
        return np.where(x[:, :1] > 0, x, 0.0)

    for scale in (0.5, 0.9, 2.0, 4.0):
        sigma_ = scale * disjoint_sigma(POINTS, LEVEL)
        noisy = NEW + sigma_ * np.random.default_rng(3).standard_normal(NEW.shape)
        one = shell_minimizer(POINTS, sigma_, np.copy, LEVEL)(noisy)
        other = clipped if fills == "meet" else np.zeros_like
        two = shell_minimizer(POINTS, sigma_, other, LEVEL)(noisy)
        reach = np.linalg.norm(noisy[:, None] - POINTS, axis=2) / sigma_
        radii = {d: DIM, c: LEVEL}
        near = (reach >= evaluate(INNER, radii)) & (reach <= evaluate(outer(c), radii))
        covered = near.any(1).astype(float)
        yield {APART: Draws(np.linalg.norm(one - two, axis=1)), COVERED: Draws(covered)}


def _towards() -> Iterator[Values]:
    """An input on the edge of a shell, on the way to another point."""
    for apart, radius, level in ((1.01, 1.2, 1.0), (1.3, 2.0, 0.3), (2.0, 0.7, 5.0)):
        distance = 2 * apart * radius * level
        weights = np.exp(-((np.array([radius, distance / level - radius])) ** 2) / 2)
        world = {i: 1, j: 2, w_: weights / weights.sum(), r_out: radius, sigma: level}
        yield world | {d_: np.array([[0, distance], [distance, 0]])}


def _meetings() -> Iterator[Values]:
    """Two points of the plane: the least noise at which some point of a grid is in both shells."""
    for apart, level in ((1.0, 0.01), (3.0, 0.2), (2.0, 4.0)):
        x, y = np.meshgrid(np.linspace(-2, 4, 241) * apart, np.linspace(-3, 3, 241) * apart)
        first, second = np.hypot(x, y), np.hypot(x - apart, y)
        radii = {d: 2, c: level}
        most = np.maximum(first, second) / evaluate(outer(c), radii)
        reach = np.minimum(first, second) >= most * evaluate(INNER, radii)
        yield {MEET: most[reach].min(), delta: apart, r_out: evaluate(outer(c), radii)}


def _bounded() -> Iterator[Values]:
    """The whole loss of a bounded fill a little below the noise level for some epsilon."""
    for wanted in (0.5, 0.01):
        level = evaluate(ENOUGH.rhs, {B: 4.0, eps: wanted})
        *_, world = _losses(0.99, float(level))
        yield {WHOLE: Draws(world[ERROR].values), eps: wanted}


def _cloud(rng: np.random.Generator) -> dict[Any, Any]:
    """Random points, an input in the shell of one, and one coordinate of each."""
    n, dim = int(rng.integers(2, 9)), int(rng.integers(2, 12))
    points = rng.normal(size=(n, dim)) * np.exp(rng.uniform(-3, 3))
    level = float(np.exp(rng.uniform(-4, 3)))
    scale = float(np.exp(rng.uniform(-1, 1)))
    noise = rng.normal(size=dim)
    radii = {d: dim, c: level}
    edge = evaluate(outer(c), radii) * (1 - 1e-9)
    noise *= edge / np.linalg.norm(noise)
    sigma_ = scale * disjoint_sigma(points, level)
    y = points[0] + sigma_ * noise
    to = np.linalg.norm(y - points, axis=1)
    on = (to >= sigma_ * evaluate(INNER, radii)) & (to <= sigma_ * evaluate(outer(c), radii))
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    world = {N: n, d: dim, c: level, d_: distances, sigma: sigma_, "y": y, "points": points}
    world |= {r_out: evaluate(outer(c), radii), to_: to, ON_OWN: on.astype(float)}
    world[delta] = evaluate(LEAST.rhs, world)
    return world | {x_: points[:, 0] - points[0, 0] + 1}


def _first(world: Values, answer: Floats) -> float:
    """The first coordinate of an answer, as the world's x has it."""
    return float(answer[0, 0] - world["points"][0, 0] + 1)


# The informal statement --------------------------------------------------------------------

INFORMAL = Statement(
    label="theorem-4-9",
    number="Theorem 4.9",
    kind="theorem",
    title="Infinitely many minimizers, informally",
    whose="verbatim",
    assumptions=say(
        "As stated; the formal version below says what is needed: more than one dimension for the "
        "threshold, and the loss of each point on its own shell, {loss}, for a noisy training "
        "point {y}.",
        loss=OWN_LOSS,
        y=sp.Symbol("Y"),
    ),
    claim=say(
        "Let {shell} be the Gaussian shell around training point {x}. If {empty} for {pair}, then "
        "the shell-only denoising objective has infinitely many global minimizers: each sends "
        "{sends}, and is arbitrary off {union}.",
        shell=named(r"S_i := \mathrm{Shell}_\sigma(x_i)"),
        x=x_[i],
        empty=named(r"S_i \cap S_j = \emptyset"),
        pair=named(r"i \neq j"),
        sends=named(r"S_i \to x_i"),
        union=named(r"\cup_i S_i"),
    ),
    steps=(
        Step(
            "We read the shell-only objective as the denoising loss in which a noisy training "
            "point counts only if it lies in its own shell. It is a mean of squares, so never "
            "negative. Where the shells are disjoint one function can answer $x_i$ on every $S_i$, "
            "and nothing is asked off the shells: here are two that differ everywhere there, and "
            "both have lost nothing.",
            equal(OWN_LOSS.rhs, 0),
            Simulated(lambda: _losses(0.99)),
        ),
    ),
    controls=(
        Step(
            "At three times the threshold shells overlap, and no function has loss zero.",
            equal(OWN_LOSS.rhs, 0),
            Simulated(lambda: _losses(3)),
        ),
    ),
    quotation="4442a24bb913566faf73cd72fc8a079be34dec59b29ea62c6af4dec6ad60363c",
)


# The formal statement ----------------------------------------------------------------------

PAPER = {d: 3072, c: 5}  # the paper's shells


def at(symbol: sp.Symbol, value: sp.Expr) -> Enclosed:
    """One value, with the outer radius of the paper's shells."""
    radius = outer(c).subs(PAPER)
    return Enclosed({symbol: (value, value), r_out: (radius, radius)})


def on_the_line(longest: sp.Expr) -> Enclosed:
    """The radii of d = 1, c = 1/100, for all distances from 0.211 to ``longest``."""
    inner, radius = sp.sqrt(sp.Rational(80, 100)), sp.sqrt(sp.Rational(122, 100))
    distances = (sp.Rational(211, 1000), longest)
    return Enclosed({d_12: distances, r_in: (inner, inner), r_out: (radius, radius)})


def excess(weight: sp.Expr) -> sp.Equality:
    """On the edge of the first shell: the second point's squared distance beyond the first's."""
    edge = sigma * r_out
    return equal((d_[i, j] - edge) ** 2 - edge**2, weight)


def ratio(square: sp.Expr, total: sp.Expr) -> sp.Expr:
    """P_1^2 / P_0, with both as they are written."""
    return sp.Mul(sp.Pow(square, 2, evaluate=False), 1 / total, evaluate=False)


FORMAL = Statement(
    label="theorem-4-9-formal",
    number="Theorem 4.9",
    part="(formal)",
    kind="theorem",
    title="Threshold, minimizers, and what they disagree on",
    whose="reconstruction",
    assumptions=say(
        "{many} distinct points in more than one dimension, {d} their distances, {least}; "
        "{shell} are their shells, with radii {r_in} and {r_out} in noise levels and union "
        "{union}; {loss} for a noisy training point {Y} of the image {X}. A point {y} is at the "
        "distances {a} from the points {x}, and {on} is one if it lies in {shell}, else zero.",
        many=at_least(N, 2),
        d=d_[i, j],
        least=LEAST,
        shell=SHELL[i],
        r_in=r_in,
        r_out=equal(r_out, outer(c)),
        union=UNION,
        loss=OWN_LOSS,
        Y=sp.Symbol("Y"),
        X=sp.Symbol("X"),
        y=sp.Symbol("y"),
        a=to_[i],
        x=x_[i],
        on=ON_OWN[i],
    ),
    claim=say(
        "(a) Two shells are disjoint if and only if their points are further apart than twice the "
        "outer radius; all are exactly at the noise levels below {disjoint}.\n\n"
        "(b) At every noise level the minimizers of {own} are the measurable denoisers that are "
        "on {union}, almost everywhere,{minimizer:display}and are arbitrary off it. If the "
        "shells are disjoint this is the image whose shell it is, the minimum is zero, and there "
        "are even smooth minimizers with any smooth values on a given closed set that does not "
        "meet {union}.\n\n"
        "(c) If {m} is off by at most {b} from every point off the shell of that point, then"
        "{gap:display}"
        "(d) Two minimizers differ at a noisy new point with{differ:display}and two that differ "
        "everywhere off {union} with exactly that probability.\n\n"
        "(e) The loss that counts a noisy point in any shell is another one: on {union} its "
        "minimizer is the empirical denoiser,{posterior:display}and its minimum is positive. "
        "On the shell of one point, the weight of another is small, {ratio}, so that both differ "
        "little.\n\n"
        "(f) So does the loss that counts all noise, which has one minimizer only, the empirical "
        "denoiser. But a bounded one that is free off the shells comes as near as one wants: "
        "with {small} and {enough}, at noise levels below {sure}, where no two points are further "
        "apart than {b}, every choice of values within {b} of all points has {whole}.",
        disjoint=DISJOINT,
        own=OWN,
        union=UNION,
        minimizer=equal(ANSWER, MINIMIZER),
        m=named("m"),
        b=B,
        gap=GAP,
        differ=DIFFER,
        posterior=equal(ANSWER, POSTERIOR),
        ratio=RATIO,
        small=POSITIVE_C,
        enough=ENOUGH,
        sure=SURE,
        whole=WHOLE_SMALL,
    ),
    steps=(
        Step(
            r"(a) The inner radius is smaller than the outer one, so with $d_{12} \le 2\sigma "
            r"r_{\mathrm{out}}$ the radius $r = \max(\sigma r_{\mathrm{in}}, d_{12}/2)$ lies "
            r"between $\sigma r_{\mathrm{in}}$ and $\sigma r_{\mathrm{out}}$.",
            greater(outer(c) ** 2, d - 2 * sp.sqrt(c * d)),
            Sign(),
        ),
        Step(
            "In more than one dimension there is a unit vector $e$ orthogonal to $x_2 - x_1$; the "
            r"point $y = \frac{x_1 + x_2}{2} + \sqrt{r^2 - d_{12}^2/4}\, e$ is at distance $r$ "
            "from the one and, by symmetry, from the other, so it lies in both shells.",
            equal(
                sp.Add(
                    sp.Pow(d_12 / 2, 2, evaluate=False),
                    sp.Pow(sp.sqrt(r**2 - d_12**2 / 4), 2, evaluate=False),
                    evaluate=False,
                ),
                r**2,
            ),
            Identity(),
        ),
        Step(
            r"Conversely, a point of both shells forces $d_{12} \le 2\sigma r_{\mathrm{out}}$.",
            None,
            Words("the triangle inequality"),
        ),
        Step(
            "The closest pair gives the threshold. Seen: two shells in the plane first meet at",
            DISJOINT,
            Simulated(_meetings),
        ),
        Step(
            "In one dimension (a) is false: a shell is two intervals, and two shells meet only if "
            r"$d_{12}$ is at most $\sigma(r_{\mathrm{out}} - r_{\mathrm{in}})$ or lies between "
            r"$2\sigma r_{\mathrm{in}}$ and $2\sigma r_{\mathrm{out}}$. For a thin shell every "
            "$d_{12}$ in a whole range is above the first ...",
            greater(d_12 + r_in, r_out),
            on_the_line(sp.Rational(1788, 1000)),
        ),
        Step(
            "... and below the second: the shells are disjoint, one interval of each in the "
            "other's hole.",
            less(d_12, 2 * r_in),
            on_the_line(sp.Rational(1788, 1000)),
        ),
        Step(
            "(b) Noisy points have a positive density, so the loss is an integral over $y$, and "
            "least when the integrand is least at almost every $y$.",
            None,
            Words("an integral of a minimum over free values is the minimum of the integrals"),
        ),
        Step(
            "At one $y$, and for one coordinate of $m$, give the points whose shell holds $y$ "
            "their densities as weights, and let $P_0, P_1, P_2$ be the sums of the weights, times "
            "the points, times their squares. The integrand is a square plus what does not depend "
            "on $m$; where there is no weight any $m$ will do, and elsewhere only $P_1/P_0$.",
            equal(P_0 * m**2 - 2 * m * P_1 + P_2, P_0 * (P_1 / P_0 - m) ** 2 + P_2 - P_1**2 / P_0),
            Identity(),
        ),
        Step(
            "Where $y$ lies in one shell only the remainder is zero: disjoint shells give the "
            "value $x_i$ and the minimum zero.",
            equal(v_1 * x_2**2, ratio(v_1 * x_2, v_1)),
            Identity(),
        ),
        Step(
            "Seen a little below the threshold.",
            equal(OWN_LOSS.rhs, 0),
            Simulated(lambda: _losses(0.99)),
        ),
        Step(
            "Where $y$ lies in two it is positive, so shells that overlap in a set of positive "
            "measure give a positive minimum. Moving both points changes nothing, so the first is "
            "put at zero.",
            greater(v_2 * x_2**2, ratio(v_2 * x_2, v_1 + v_2)),
            Sign(),
        ),
        Step(
            "Disjoint shells are compact, hence at a positive distance from each other and from a "
            r"closed set that does not meet them: smooth bumps, one on $S_i$ and zero on the rest, "
            "turn any smooth function into a smooth minimizer.",
            None,
            Words("smooth bump functions between disjoint closed sets, all but one compact"),
        ),
        Step(
            "(c) What the own-shell loss leaves out is the noise that misses the own shell, and "
            "there the square is at most $B^2$. For points on a sphere, and its centre as the "
            "answer off the shells, it is attained.",
            GAP.args[1],
            Simulated(_gaps),
        ),
        Step(
            "What is left out is a square, too.",
            GAP.args[0],
            Simulated(_gaps, loose="a bound of zero cannot move by a share"),
        ),
        Step(
            "The noise that misses lies in one of two tails (Lemma 4.5).",
            GAP.args[2],
            Simulated(_near_and_far, loose="so is the lemma"),
        ),
        Step(
            "each of which has at most the probability $e^{-c}$:",
            equal(sp.Add(sp.exp(-c), sp.exp(-c), evaluate=False), TWO_TAILS),
            Identity(),
        ),
        Step(
            "(d) By (b), two minimizers agree almost everywhere on the union, and a noisy new "
            "point has a density; so they can differ only off it. Seen with two fills that are "
            "equal on a half-space, for disjoint and for overlapping shells,",
            DIFFER,
            Simulated(lambda: _minimizers("meet"), loose="the fills coincide on half of the space"),
        ),
        Step(
            "and with two that coincide nowhere.",
            DIFFER_EVERYWHERE,
            Simulated(lambda: _minimizers("differ")),
        ),
        Step(
            "(e) In the loss on the union every point has its density as a weight at every $y$ of "
            "it. By the completed square it is least at the empirical denoiser, and what is left "
            "is positive wherever two points have weight, as above. On the shell of the first "
            r"point that one is at most $\sigma r_{\mathrm{out}}$ away, and the second at least "
            r"$d_{ij} - \sigma r_{\mathrm{out}}$. The squares differ by",
            excess(EXCESS),
            Identity(),
        ),
        Step(
            "which bounds the ratio of their weights; on the way from the one to the other it is "
            "attained.",
            RATIO,
            Simulated(_towards),
        ),
        Step(
            "(f) All noise has a positive density at every $y$, so the completed square leaves no "
            "choice. But (c) bounds what a free one loses: with this $c$ it is",
            equal(sp.Subs(GAP.args[-1].rhs, c, ENOUGH.rhs), WHOLE_SMALL.rhs),
            Identity(),
        ),
        Step(
            "Seen a little below the threshold of that $c$.",
            WHOLE_SMALL,
            Simulated(_bounded, loose="so is the lemma"),
        ),
        Step(
            "The paper's dimension, with the closest pair of a set of images of CIFAR-10: the "
            "threshold, rounded down.",
            greater(threshold(r_out), sp.Rational(777, 10000)),
            at(delta, sp.Rational(897, 100)),
        ),
    ),
    controls=(
        Step(
            "The threshold rounded up is not a bound.",
            greater(threshold(r_out), sp.Rational(778, 10000)),
            at(delta, sp.Rational(897, 100)),
        ),
        Step(
            "The one-dimensional gap does not reach this far.",
            less(d_12, 2 * r_in),
            on_the_line(sp.Rational(18, 10)),
        ),
        Step("A wrong exponent.", excess(d_[i, j] * (d_[i, j] - sigma * r_out)), Identity()),
        Step(
            "Nine tenths of the bound on the loss difference.",
            at_most(WHOLE - OWN, sp.Rational(9, 10) * MISSED * B**2),
            Simulated(_gaps),
        ),
        Step(
            "Minimizers do not disagree a tenth less often.",
            equal(Prob(greater(APART, 0)), sp.Rational(9, 10) * (1 - Expect(COVERED))),
            Simulated(lambda: _minimizers("differ")),
        ),
    ),
    code=(
        Computed(
            "disjoint_sigma",
            LEAST.rhs / (2 * outer(c)),
            lambda v: disjoint_sigma(v["points"], v[c]),
            _cloud,
        ),
        Computed(
            "shell_radii()[1]",
            equal(r_out, outer(c)),
            lambda v: shell_radii(v[d], v[c])[1],
            _cloud,
        ),
        Computed(
            "disjoint_sigma(c=)",
            SURE,
            lambda v: disjoint_sigma(v["points"], v[C_EPS]),
            lambda rng: (world := _cloud(rng)) | {C_EPS: world[c]},
        ),
        Computed(
            "shell_minimizer",
            equal(ANSWER, MINIMIZER),
            lambda v: _first(
                v, shell_minimizer(v["points"], v[sigma], np.copy, v[c])(v["y"][None])
            ),
            _cloud,
        ),
        Computed(
            "empirical_denoiser",
            equal(ANSWER, POSTERIOR),
            lambda v: _first(v, empirical_denoiser(v["y"][None], v["points"], v[sigma])),
            _cloud,
        ),
        Refused(
            "shell_radii",
            POSITIVE_C,
            eps,
            lambda small: shell_radii(3, float(np.log(2 * 4.0**2 / small))),
            {B: 4.0},
        ),
        Refused(
            "disjoint_sigma",
            at_least(N, 2),
            N,
            lambda n: disjoint_sigma(np.arange(float(n))[:, None]),
            step=1,
        ),
    ),
)

STATEMENTS = (INFORMAL, FORMAL)
