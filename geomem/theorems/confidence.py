"""Ours, to Theorem 4.8: a lower bound on coverage with confidence, for all noise levels at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import sympy as sp

from geomem.geometry.arrays import Floats
from geomem.geometry.coverage import shell_mass
from geomem.geometry.coverage_bounds import coverage_certificate
from geomem.geometry.intervals import dkw
from geomem.theorems.checks import Computed, Identity, Refused, Simulated, Words
from geomem.theorems.formulas import (
    Chain,
    Draws,
    Prob,
    Values,
    at_least,
    at_most,
    equal,
    less,
    named,
    root,
    say,
)
from geomem.theorems.statement import Statement, Step

# The formulas ------------------------------------------------------------------------------

n, eta = sp.symbols("n eta", positive=True)
OFF = sp.Symbol(r"\varepsilon_n", positive=True)
MEAN = named(r"\tfrac1n \textstyle\sum_k \Phi_{d,c}(d_{\mathrm{1NN},k}/\sigma)")
COVERAGE, LOWER = named(r"C_\sigma"), named(r"\mathbb{E}\,\Phi_{d,c}(d_{\mathrm{1NN}}/\sigma)")
WORST = named(
    r"\sup_\sigma\bigl(\tfrac1n \textstyle\sum_k \Phi_{d,c}(d_{\mathrm{1NN},k}/\sigma)"
    r" - C_\sigma\bigr)"
)
HALF = Chain(less(sp.S.Zero, eta), at_most(eta, sp.Rational(1, 2)))
ENOUGH = equal(OFF, root(sp.log(1 / eta) / (2 * n)))
SURE = at_least(Prob(at_most(WORST, OFF)), 1 - eta)
CERTIFIED = sp.Max(0, MEAN - ENOUGH.rhs, evaluate=False)


# Worlds ------------------------------------------------------------------------------------


def _samples() -> Iterator[Values]:
    """Many samples of distances to one training image, thin shells, a grid of noise levels."""
    rng, sigmas = np.random.default_rng(0), np.geomspace(0.02, 30, 60)
    for size, dim in ((5, 4000), (40, 4000)):
        distances = np.exp(rng.normal(size=40_000))
        radii = np.linspace(0, 60, 2000)  # where a thin shell in so many dimensions has its mass
        table = shell_mass(radii, dim, 1.0)
        mass = np.interp(distances[:, None] / sigmas, radii, table, right=0.0)
        means = mass.reshape(-1, size, len(sigmas)).mean(1)
        worst = (means - mass.mean(0)).max(1)  # of one image, coverage is the lower bound itself
        for risk in (0.5, 0.05):
            world = {n: size, eta: risk, WORST: Draws(worst)}
            yield world | {OFF: float(np.sqrt(np.log(1 / risk) / (2 * size)))}


def _held(rng: np.random.Generator) -> dict[Any, Any]:
    size, dim = int(rng.integers(20, 400)), int(rng.integers(1, 200))
    heldout, level = rng.normal(size=(size, dim)), float(np.exp(rng.uniform(-1, 4)))
    train = rng.normal(size=(3, dim))
    nearest = np.linalg.norm(heldout[:, None] - train, axis=2).min(1)
    mean = float(shell_mass(nearest / level, dim, 5.0).mean())
    risk = float(rng.uniform(1e-4, 0.5))
    return {n: size, eta: risk, MEAN: mean, "at": level, "sets": (heldout, train)}


def _certificate(world: Values) -> Floats:
    found = coverage_certificate(*world["sets"], alpha=world[eta], device="cpu")
    return found.at([world["at"]])[0]


# The statement -----------------------------------------------------------------------------

CONFIDENCE = Statement(
    label="theorem-4-8-confidence",
    number="Theorem 4.8",
    kind="corollary",
    title="Coverage at all noise levels at once, with confidence",
    whose="ours",
    assumptions=say(
        "{n} held-out images are independent draws, the training set does not depend on them, "
        "and {half}.",
        n=n,
        half=HALF,
    ),
    claim=say(
        "With{enough:display}one has{sure:display}so that coverage is at least {mean} less {off}, "
        "at all noise levels together, with confidence {confidence}.",
        enough=ENOUGH,
        sure=SURE,
        mean=MEAN,
        off=OFF,
        confidence=SURE.rhs,
    ),
    steps=(
        Step(
            "By Theorem 4.8 coverage is at least the mean of the mass of the nearest shell, which "
            "falls with the distance: a mixture, over a threshold, of the probabilities that the "
            "distance lies below it. Its sample mean exceeds it by no more than the share of the "
            "sample below some threshold exceeds a probability.",
            None,
            Words("the one-sided inequality of Dvoretzky, Kiefer and Wolfowitz (Massart 1990)"),
        ),
        Step(
            "That has at most this probability to reach the bound:",
            equal(1 - sp.Subs(sp.exp(-2 * n * OFF**2), OFF, ENOUGH.rhs), SURE.rhs),
            Identity(),
        ),
        Step(
            "Seen, with thin shells, whose mass is nearly a step:",
            SURE,
            Simulated(_samples, loose="only where thresholds are dense it is attained"),
        ),
    ),
    controls=(
        Step(
            "With three in place of two the risk is another.",
            equal(1 - sp.Subs(sp.exp(-3 * n * OFF**2), OFF, ENOUGH.rhs), SURE.rhs),
            Identity(),
        ),
    ),
    code=(
        Computed(
            "dkw",
            ENOUGH,
            lambda v: dkw(v[n], v[eta]),
            lambda rng: {n: int(np.exp(rng.uniform(0, 12))), eta: float(rng.uniform(1e-9, 0.5))},
        ),
        Computed("coverage_certificate().at", CERTIFIED, _certificate, _held),
        Refused("dkw", HALF, eta, lambda risk: dkw(10, risk)),
    ),
)

STATEMENTS = (CONFIDENCE,)
