"""Ours, beside Theorem 4.2 B: how N W_sigma of a set is bounded by that of its parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.theorems.checks import Identity, Simulated
from geomem.theorems.clouds import clouds, weights
from geomem.theorems.formulas import (
    Draws,
    Most,
    N,
    Over,
    Values,
    at_least,
    at_most,
    equal,
    i,
    j,
    named,
    say,
)
from geomem.theorems.normal import Q, written_out
from geomem.theorems.statement import Statement, Step

# The formulas ------------------------------------------------------------------------------

e_, n_, w_ = sp.IndexedBase("e"), sp.IndexedBase("n"), sp.IndexedBase("W")
some, other = sp.symbols("m_1 m_2", positive=True)  # the largest of two parts
SIZE_1, SIZE_2 = sp.symbols("N_1 N_2", positive=True)
W, W_1, W_2 = (named(rf"W_\sigma(D{tail})") for tail in ("", "_1", "_2"))
COUNT, COUNT_1, COUNT_2 = (named(rf"n_\sigma(D{tail})") for tail in ("", "_1", "_2"))
WITHOUT = sp.IndexedBase("W^-")  # W_sigma of the set without one point

d_12 = sp.Symbol("d_{12}", positive=True)
y = sp.Symbol("y", real=True)
TOGETHER = equal(N, SIZE_1 + SIZE_2)
DEFINED = equal(COUNT, N * W)
SUBSET = at_most(COUNT_1, COUNT)
PARTS = at_most(COUNT, COUNT_1 + COUNT_2)
APART, sigma = sp.symbols("gamma sigma", positive=True)  # the least distance of two parts
density = sp.exp(-(y**2) / (2 * sigma**2)) / (sigma * sp.sqrt(2 * sp.pi))
SHARED = at_most(COUNT, COUNT_1 + COUNT_2 - 2 * Q(APART / (2 * sigma)))
LEFT_OUT = at_most(W, Over(WITHOUT[i], i) / N)
CLASSES = at_most(W, (SIZE_1 * W_1 + SIZE_2 * W_2) / (SIZE_1 + SIZE_2))
ALL_BUT_ONE = at_least(Over(Most(e_[j], j, i), i), (N - 1) * Most(e_[i], i))


# Worlds ------------------------------------------------------------------------------------


def _counted(points: Floats, level: float) -> Floats:
    """How many points with noise stay nearest to themselves, draw by draw; of copies the first."""
    noise = level * np.random.default_rng(2).standard_normal((4000, points.shape[1]))
    steps = points[:, None, None] + noise[:, None] - points
    nearest = np.linalg.norm(steps, axis=3).argmin(2)
    return (nearest == np.arange(len(points))[:, None]).sum(0)


def _split(points: Floats, chosen: np.ndarray, level: float) -> Values:
    """A set and its two parts."""
    parts = [points, points[chosen], points[~chosen]]
    gap = np.linalg.norm(points[chosen][:, None] - points[~chosen], axis=2).min()
    world = {APART: gap, sigma: level, N: len(points)}
    world |= {SIZE_1: chosen.sum(), SIZE_2: (~chosen).sum()}
    for part, count, weight in zip(parts, (COUNT, COUNT_1, COUNT_2), (W, W_1, W_2), strict=True):
        world |= {count: Draws(_counted(part, level)), weight: Draws(weights(part, level))}
    return world


def _splits() -> Iterator[Values]:
    """Halves, far clusters (which do not share), and copies (which add nothing)."""
    rng = np.random.default_rng(0)
    for points in clouds()[2:]:
        for level in (0.15, 1.0, 8.0):
            yield _split(points, np.arange(len(points)) % 2 == 0, level)
    cluster = rng.normal(size=(5, 2))
    far = np.vstack([cluster, cluster + 1e3])
    yield _split(far, np.arange(10) < 5, 1.0)
    yield _split(np.vstack([cluster, cluster]), np.arange(10) < 5, 1.0)
    pair = np.array([[0.0], [1.0]])  # one point in each part: they share just this
    yield from (_split(pair, np.array([True, False]), level) for level in (0.3, 1.0))


def _left_out() -> Iterator[Values]:
    for points in clouds():
        for level in (0.15, 1.0, 2.5):
            rest = [weights(np.delete(points, k, axis=0), level) for k in range(len(points))]
            world = {N: len(points), W: Draws(weights(points, level))}
            yield world | {WITHOUT: Draws(np.array(rest))}


def _numbers() -> Iterator[Values]:
    """Positive numbers, among them such of which one outweighs all others."""
    rng = np.random.default_rng(1)
    for number in (2, 3, 10):
        for spread in (0.1, 1.0, 10.0):
            yield {N: number, e_: np.exp(spread * rng.normal(size=number))}


# The statement -----------------------------------------------------------------------------

COUNTING = Statement(
    label="theorem-4-2-counting",
    number="Theorem 4.2",
    kind="proposition",
    title="Counting by parts",
    whose="ours",
    assumptions=say(
        "A set of points is split into two parts, {first} and {second}, of {n_1} and {n_2} points, "
        "{together}; {defined}, and so for the parts; {without} is the weight of the set without "
        "one of its points. Points may coincide, also in different parts.",
        first=named("D_1"),
        second=named("D_2"),
        n_1=SIZE_1,
        n_2=SIZE_2,
        together=TOGETHER,
        defined=DEFINED,
        without=WITHOUT[i],
    ),
    claim=say(
        "At every noise level{subset:display}{parts:display}and even{shared:display}where {apart} "
        "is the least distance between the parts; and, leaving out one point at a time,"
        "{left_out:display}So the mean weight within classes, weighted by their sizes, is at "
        "least that of all,{classes:display}and of exchangeable points a larger number has no "
        "larger expected weight.",
        subset=SUBSET,
        parts=PARTS,
        shared=SHARED,
        apart=APART,
        left_out=LEFT_OUT,
        classes=CLASSES,
    ),
    steps=(
        Step(
            r"$n_\sigma$ is the integral of the largest density around the points. A maximum over "
            "some of the points is at most that over all; what all add to the larger one,",
            equal(sp.Max(some, other) - some, sp.Max(0, other - some)),
            Identity(prepare=lambda e: e.rewrite(sp.Piecewise)),
        ),
        Step("is never negative. So", SUBSET, Simulated(_splits)),
        Step(
            "And the maximum over all is one of those over the parts, hence at most their sum, "
            "which exceeds it by the smaller one.",
            equal(some + other - sp.Max(some, other), sp.Min(some, other)),
            Identity(prepare=lambda e: e.rewrite(sp.Piecewise)),
        ),
        Step("So", PARTS, Simulated(_splits)),
        Step(
            "That smaller one is at least the smaller of the densities around the two closest "
            r"points of the parts, of which the integral is, halfway between them at zero,",
            equal(
                sp.Integral(density, (y, d_12 / 2, sp.oo))
                + sp.Integral(density, (y, -sp.oo, -d_12 / 2)),
                2 * Q(d_12 / (2 * sigma)),
            ),
            Identity(prepare=lambda e: written_out(e.doit()).rewrite(sp.erf)),
        ),
        Step("So", SHARED, Simulated(_splits)),
        Step(
            "Leave out one point: the maximum stays as it is, but for one of the points. Summed,",
            ALL_BUT_ONE,
            Simulated(_numbers),
        ),
        Step(
            r"that is, $n_\sigma$ of all but one, summed, is at least $N - 1$ times $n_\sigma$:",
            LEFT_OUT,
            Simulated(_left_out),
        ),
        Step("Divide the second by the number of points,", CLASSES, Simulated(_splits)),
        Step(
            "as in the definition. By part B it is how many of the points, each with noise, are "
            "expected to stay nearest to themselves (of copies the first).",
            DEFINED,
            Simulated(_splits),
        ),
    ),
    controls=(
        Step(
            "Two parts share what they count: nine tenths of the sum is too little.",
            at_most(COUNT, sp.Rational(9, 10) * (COUNT_1 + COUNT_2)),
            Simulated(_splits),
        ),
        Step(
            "Nine tenths of the mean without a point is too little.",
            at_most(W, sp.Rational(9, 10) * Over(WITHOUT[i], i) / N),
            Simulated(_left_out),
        ),
    ),
)

STATEMENTS = (COUNTING,)
