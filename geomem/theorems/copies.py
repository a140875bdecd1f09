"""Ours: how far from a new image an answer must lie to be a copy, and so how often it can be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.memorization.copy_bound import copy_bound, copy_margin
from geomem.memorization.ratio_test import neighbours
from geomem.theorems.checks import Computed, Identity, Refused, Sign, Simulated
from geomem.theorems.formulas import (
    Called,
    Chain,
    Draws,
    Expect,
    Least,
    Most,
    N,
    Prob,
    Values,
    at_least,
    at_most,
    equal,
    i,
    j,
    less,
    named,
    say,
)
from geomem.theorems.statement import Statement, Step

# The formulas ------------------------------------------------------------------------------

r, D, own, other = sp.symbols("tau d_{12} d_1 d_2", positive=True)
h = sp.Symbol("h", nonnegative=True)
u, v, x, y = sp.symbols("u v x y", real=True)
slack_1, slack_2, b = sp.symbols("u v b", nonnegative=True)
near, second = sp.symbols(r"d_{\mathrm{1NN}} d_{\mathrm{2NN}}", positive=True)
d_, D_ = sp.IndexedBase("d"), sp.IndexedBase(sp.Symbol("d", real=True))  # d_i and d_ij
MOVED, COPIED = named(r"\|g - X\|"), named(r"\mathbf{1}\{g\ \text{is a copy}\}")
TO_OTHERS = sp.IndexedBase("a")  # distances of the answer to the training images


def reach(mine: sp.Expr, theirs: sp.Expr, apart: sp.Expr) -> sp.Expr:
    """How far a point lies from the ball of what is a copy of one image and not of another."""
    excess = mine**2 - r**2 * theirs**2
    return excess / (r * apart + sp.sqrt(r**2 * apart**2 + (1 - r**2) * excess))


def between(one: Any, two: Any) -> Called:
    """`reach` of the new image, from what is a copy of one training image and not of another."""
    return Called(f"h_{{{one}{two}}}", reach(d_[one], d_[two], D_[one, two]))


PASSES = less(TO_OTHERS[i], r * Least(TO_OTHERS[j], j, i))
TESTED = equal(Expect(COPIED), Prob(PASSES))
MARGIN = equal(
    h,
    sp.Max(
        0,
        sp.Min(
            Most(between(1, j), j, sp.Integer(1)),
            Least(between(i, 1), i, sp.Integer(1)),
            evaluate=False,
        ),
        evaluate=False,
    ),
)
REACH = equal(between(i, j), between(i, j).formula)
FARTHER = at_least(MOVED, h)
SIMPLE = at_least(h, (near - r * second) / (1 + r))
SQUARE = MOVED**2 / h**2
CERTIFICATE = Chain(
    at_most(Expect(COPIED), Prob(at_least(MOVED, h))),
    at_most(Prob(at_least(MOVED, h)), Expect(sp.Min(1, SQUARE, evaluate=False))),
)
THRESHOLD = Chain(less(sp.S.Zero, r), at_most(r, sp.S.One))
AT_ONE = (own**2 - other**2) / (2 * D)  # the reach where tau is one
centre, radius = -(r**2) * D / (1 - r**2), r * D / (1 - r**2)


# Worlds ------------------------------------------------------------------------------------


def _images(rng: np.random.Generator) -> dict[Any, Any]:
    """Training images, the first of them nearest to a new image, and a threshold."""
    number, dim = int(rng.integers(2, 9)), int(rng.integers(1, 8))
    train, new = rng.normal(size=(number, dim)), rng.normal(size=dim)
    train = train[np.argsort(np.linalg.norm(train - new, axis=1))]
    return _described(train, new, min(float(rng.uniform(0.05, 1.2)), 1.0))


def _pairs(rng: np.random.Generator) -> dict[Any, Any]:
    """Two training images of which neither is copied by the new one."""
    while True:
        train, new = rng.normal(size=(2, 3)), rng.normal(size=3)
        train = train[np.argsort(np.linalg.norm(train - new, axis=1))]
        world = _described(train, new, float(rng.uniform(0.05, 0.95)))
        if world[h] > 0:
            return world | {i: 1, j: 2}


def _described(train: Floats, new: Floats, threshold: float) -> dict[Any, Any]:
    to = np.linalg.norm(train - new, axis=1)
    apart = np.linalg.norm(train[:, None] - train, axis=2)
    margin = float(copy_margin(new[None], train, threshold)[0])
    world = {N: len(train), r: threshold, d_: to, D_: apart, h: margin, "train": train, "new": new}
    return world | {near: to[0], second: to[1]}


def _tested() -> Iterator[Values]:
    """What the ratio test of the package says of random answers, of each training image."""
    rng = np.random.default_rng(3)
    for threshold, dim in ((1 / 3, 2), (0.8, 5), (1.0, 3)):
        train, answers = rng.normal(size=(4, dim)), rng.normal(size=(20_000, dim))
        found = neighbours(answers, train)
        to = np.linalg.norm(answers - train[:, None], axis=2)
        world = {N: 4, r: threshold, TO_OTHERS: Draws(to)}
        for one in range(4):
            copied = found.memorized(threshold) & (found.index == one)
            yield world | {i: one + 1, COPIED: Draws(copied.astype(float))}


def _copies() -> Iterator[Values]:
    """Answers that pass the ratio test, as near to the image as a search finds them."""
    rng = np.random.default_rng(0)
    for _ in range(12):
        world = _images(rng)
        train, new = world["train"], world["new"]
        # From each training image towards the new one, as far as the test is passed.
        best = np.inf
        for one in train:
            steps = one + np.linspace(0, 1, 4001)[:, None] * (new - one)
            to = np.sort(np.linalg.norm(steps[:, None] - train, axis=2), axis=1)
            passed = to[:, 0] < world[r] * to[:, 1]
            best = min(best, np.linalg.norm(steps[passed] - new, axis=1).min())
        yield world | {MOVED: best}
    for x in (0.3, 0.45, 0.1):  # on a line of two images, where the margin is reached
        world = _described(np.array([[0.0], [1.0]]), np.array([x]), 1 / 3)
        steps = np.linspace(-0.5, 1.5, 400_001)
        to = np.sort(np.abs(steps[:, None] - np.array([0.0, 1.0])), axis=1)
        passed = to[:, 0] < to[:, 1] / 3
        yield world | {MOVED: np.abs(steps[passed] - x).min()}


def _lines() -> Iterator[Values]:
    """New images between two others, where both margins agree, and random ones."""
    rng = np.random.default_rng(1)
    for x in (0.3, 0.4, 0.5):
        for threshold in (1 / 3, 0.6):
            yield _described(np.array([[0.0], [1.0]]), np.array([x]), threshold)
    yield from (_images(rng) for _ in range(20))


def _answers() -> Iterator[Values]:
    """A denoiser that goes just so far towards a copy, for half of the images."""
    train = np.array([[-1.0], [2.0], [5.0]])
    new = np.random.default_rng(2).uniform(-1.0, 5.0, (2000, 1))
    margin = copy_margin(new, train)
    new, margin = new[margin > 1e-3], margin[margin > 1e-3]

    def towards(x: Any, level: Any) -> Any:
        moved = new + np.where(_copied(train, new, margin), 1.0, -1.0) * margin[:, None] * 1.0001
        half = np.where(np.arange(len(new))[:, None] % 2 == 0, moved, new)
        return x * 0 + x.new_tensor(half)

    found = copy_bound(towards, new, train, [0.01], batch=len(new), device="cpu")
    yield {
        MOVED: Draws(found.error[:, 0]),
        COPIED: Draws(found.passed[:, 0].astype(float)),
        h: Draws(found.margin),
    }


def _copied(train: Floats, new: Floats, margin: Floats) -> Any:
    """Whether the copy that is nearest to an image lies in the positive direction."""
    to = np.sort(np.abs(new + 1.0001 * margin[:, None] - train.T), axis=1)
    return to[:, :1] < to[:, 1:2] / 3


def _errors(rng: np.random.Generator) -> dict[Any, Any]:
    """What the package makes of the errors of a poor denoiser."""
    train, new = rng.normal(size=(4, 3)), rng.normal(size=(200, 3))
    found = copy_bound(lambda x, level: 0.9 * x, new, train, [0.3], device="cpu")
    known = found.margin > 0
    world = {MOVED: found.error[known, 0], h: found.margin[known], "found": found, "known": known}
    return world


def _markov(world: Values) -> float:
    """Without the images that have no margin, which count in full."""
    known = world["known"]
    return float((world["found"].markov.mean[0] - 1 + known.mean()) / known.mean())


# The statement -----------------------------------------------------------------------------

COPIES = Statement(
    label="copies",
    number="the ratio test",
    kind="proposition",
    title="The margin of a copy",
    whose="ours",
    assumptions=say(
        "{X} is a new image, {g} any answer to it, at the distances {a} from {n} distinct "
        "training images; it is a copy of one of them if it is near that one against all "
        "others, {passes} with {threshold}; {d} are the distances of the image itself, the first "
        "of them the least, and {D} those between training images.",
        X=sp.Symbol("X"),
        g=sp.Symbol("g"),
        a=TO_OTHERS[i],
        passes=PASSES,
        threshold=THRESHOLD,
        d=d_[i],
        n=at_least(N, 2),
        D=D_[i, j],
    ),
    claim=say(
        "With{reach:display}{margin:display}a copy has {farther}, and{simple:display}So of any "
        "denoiser, at any noise level,{certificate:display}where an image without a margin "
        "counts in full.",
        reach=REACH,
        margin=MARGIN,
        farther=FARTHER,
        simple=SIMPLE,
        certificate=CERTIFICATE,
    ),
    steps=(
        Step(
            "The ratio test compares the two nearest distances; of one image it says the same:",
            TESTED,
            Simulated(_tested),
        ),
        Step(
            "Let $x_1$ be at the origin and $x_2$ on the first axis. What is nearer to the one "
            r"than $\tau < 1$ times its distance to the other lies in a ball (Apollonius): with "
            "first coordinate $u$ and the rest of length $v$,",
            equal(
                r**2 * ((u - D) ** 2 + v**2) - (u**2 + v**2),
                (1 - r**2) * (radius**2 - (u - centre) ** 2 - v**2),
            ),
            Identity(),
        ),
        Step(
            "The distance of an image at $(x, y)$ to its centre is, squared,",
            equal(
                (x - centre) ** 2 + y**2,
                (r**2 * D**2 + (1 - r**2) * (x**2 + y**2 - r**2 * ((x - D) ** 2 + y**2)))
                / (1 - r**2) ** 2,
            ),
            Identity(),
        ),
        Step(
            "Outside the ball the image is that much less the radius away from it: the reach.",
            equal(
                (sp.sqrt(r**2 * D**2 + (1 - r**2) * (own**2 - r**2 * other**2)) - r * D)
                / (1 - r**2),
                reach(own, other, D),
            ),
            Identity(prepare=lambda e: sp.simplify(sp.radsimp(e))),
        ),
        Step(
            r"For $\tau = 1$ the reach is",
            equal(sp.Subs(reach(own, other, D), r, 1), AT_ONE),
            Identity(),
        ),
        Step(
            r"and the ball a half-space, $u < d_{12}/2$: the image is so far away from it, too.",
            equal(
                sp.Subs(AT_ONE, (own, other), (sp.sqrt(x**2 + y**2), sp.sqrt((x - D) ** 2 + y**2))),
                x - D / 2,
            ),
            Identity(),
        ),
        Step(
            "A copy of $x_1$ lies in all of its balls, and one of another image in that against "
            "$x_1$: the nearest of these is the margin.",
            FARTHER,
            Simulated(_copies),
        ),
        Step(
            "Two distances give a bound, first for a pair alone, where the reach is the distance "
            "to the nearest copy. If that is of the nearest image, at the distance $a$ from it, "
            r"let $a$ be short of $\tau(b + d_{\mathrm{2NN}})$ by $u$, where $b$ is its distance "
            r"from the new image, and $d_{\mathrm{1NN}}$ of $a + b$ by $v$:",
            at_least(
                sp.Subs(
                    (1 + r) * b - near + r * second,
                    near,
                    b + r * (b + second) - slack_1 - slack_2,
                ),
                0,
            ),
            Sign(),
        ),
        Step(
            "If it is of the other image, change the roles; the bound is larger, the more so the "
            "farther that image is. So no $h_{i1}$ is smaller than the bound, nor is the largest "
            "$h_{1j}$, as one of them is against the second nearest image; nor is the margin.",
            at_least(sp.Subs((second - r * near) - (near - r * second), second, near + slack_1), 0),
            Sign(),
        ),
        Step("Seen, and attained on a line:", SIMPLE, Simulated(_lines)),
        Step(
            "So whoever copies has moved as far as the margin,",
            CERTIFICATE.args[0],
            Simulated(_answers),
        ),
        Step(
            "and how often that is, squares bound (Markov): whoever has moved by $u$ more than the "
            "margin, where there is one, counts as one or more.",
            at_least(sp.Subs(SQUARE, MOVED, h + slack_1), 1),
            Sign(where={h: sp.Symbol("h", positive=True)}),
        ),
        Step("Seen:", CERTIFICATE.args[1], Simulated(_answers)),
    ),
    controls=(
        Step(
            "A margin five percent larger, simulated.",
            at_least(MOVED, sp.Rational(21, 20) * h),
            Simulated(_copies),
        ),
        Step(
            "A ball of a tenth more.",
            equal(
                r**2 * ((u - D) ** 2 + v**2) - (u**2 + v**2),
                (1 - r**2) * (sp.Rational(11, 10) * radius**2 - (u - centre) ** 2 - v**2),
            ),
            Identity(),
        ),
    ),
    code=(
        Computed(
            "copy_margin",
            MARGIN,
            lambda w: copy_margin(w["new"][None], w["train"], w[r])[0],
            _images,
            tolerance=1e-7,
        ),
        Computed(
            "copy_bound().markov",
            CERTIFICATE.args[1],
            _markov,
            _errors,
            points=5,
        ),
        Computed(
            "copy_margin, of two images",
            REACH,
            lambda w: copy_margin(w["new"][None], w["train"], w[r])[0],
            _pairs,
            tolerance=1e-7,
        ),
        Refused(
            "copy_margin",
            THRESHOLD,
            r,
            lambda x: copy_margin([[0.4]], [[0.0], [1.0]], x),
        ),
        Refused(
            "copy_margin",
            at_least(N, 2),
            N,
            lambda n: copy_margin([[0.4]], np.arange(float(n))[:, None]),
            step=1,
        ),
    ),
)

STATEMENTS = (COPIES,)
