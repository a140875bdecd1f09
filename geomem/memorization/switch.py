"""A single switch from one model to another: at which noise level are copies decided (ours)?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.sampler import levels_of, sample_swapped
from geomem.geometry.arrays import Floats, check_count, check_sigmas
from geomem.geometry.curve import Curve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Answer, Estimate, Fraction, columns, every, percentiles
from geomem.geometry.window import Window
from geomem.machine import memory
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.hump import lies_in, place
from geomem.memorization.ratio_test import neighbours
from geomem.memorization.swaps import BASES

SHOWN = 8  # samples that are kept to be seen, as many as in the paper's Figure 10


@dataclass(frozen=True)
class Switch:
    """One model at large noise, the other below a level: where copies are decided (ours).

    Attributes
    ----------
    sigma : array (S,)
        Levels of the switch, data units, descending.
    passed : dict of "small" and "large" to an array (S, n)
        Which samples are memorized, by the model that begins.
    alone : dict of "small" and "large" to an array (n,)
        Which are when one model answers throughout, from the same initial noises.
    seed : int
        That of the resampling.
    shown : dict of "small" and "large" to an array (S + 2, m, C, H, W)
        The first samples at each level, by the model that begins; before them those of the other
        one alone, after them those of its own. Data units.
    """

    sigma: Floats
    passed: dict[str, NDArray[np.bool_]]
    alone: dict[str, NDArray[np.bool_]]
    seed: int = 0
    shown: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        small: Denoiser,
        large: Denoiser,
        train: DistinctImages,
        n: int,
        *,
        edges: Floats | None = None,
        sigmas: Floats | None = None,
        seed: int = 0,
        solver: str = "heun",
        device: str | torch.device = "auto",
    ) -> Switch:
        """Sample with the switch at each level.

        Parameters
        ----------
        small, large, train, n, sigmas, seed, solver, device
            As in `geomem.memorization.swaps.SwapTable.of`.
        edges : array (S,) or None
            Levels of the switch, data units, descending; None for all that lie midway, in log
            sigma, between two levels of the sampler.

        Raises
        ------
        ValueError
            As there, and for levels that do not descend.
        """
        levels = levels_of(small, large) if sigmas is None else check_sigmas(sigmas)
        at = np.sqrt(levels[:-1] * levels[1:]) if edges is None else check_sigmas(edges)
        if np.any(np.diff(at) >= 0):
            raise ValueError("switch: its levels must strictly descend.")
        shape = tuple(train.images.shape[1:])
        # At each level of the switch, before it infinity and after it 0, who answers where.
        other = levels < np.array([np.inf, *at, 0.0])[:, None]
        who = np.concatenate([other, ~other]).astype(np.int64)
        how: dict[str, Any] = {"seed": seed, "solver": solver, "device": device}
        copies, first = list[NDArray[np.bool_]](), np.empty(0, np.float32)
        room = memory() / 8 / (8 * len(who) * math.prod(shape))  # samples that are kept at once
        some = 256 * max(1, int(min(n + 255, room) / 256))
        for i in range(0, check_count("n", n), some):
            m = min(some, n - i)
            drawn = sample_swapped((small, large), who, shape, m, first=i, sigmas=levels, **how)
            copies.append(np.array([neighbours(of, train).memorized() for of in drawn]))
            first = first if i else np.stack([of[:SHOWN].numpy() for of in drawn])
        rows = dict(zip(BASES, np.concatenate(copies, 1).reshape(2, -1, n), strict=True))
        shown = dict(zip(BASES, first.reshape(2, -1, *first.shape[1:]), strict=True))
        passed = {base: of[1:-1] for base, of in rows.items()}
        return cls(at, passed, {base: of[-1] for base, of in rows.items()}, seed, shown)

    def shares(self, base: str) -> list[Fraction]:
        """The share of memorized samples at each level, by the model that begins."""
        return [Fraction.of(int(row.sum()), len(row)) for row in self.passed[base]]

    def curve(self, base: str) -> Curve:
        """These shares against the level of the switch, with exact intervals."""
        mean, low, high = np.array([(one.value, one.low, one.high) for one in self.shares(base)]).T
        passed = self.passed[base].T.astype(np.float64)
        return Curve(self.sigma, mean, low, high, len(passed), passed)

    @property
    def begun(self) -> Estimate:
        """The level at which half of the small model's copies outlive the switch to the large."""
        return half_level(self.sigma, self.passed["small"], self.alone["small"], seed=self.seed)

    @property
    def ended(self) -> Estimate:
        """The level at which the switch to the small model brings half of its copies about."""
        rising = self.passed["large"][::-1]
        return half_level(self.sigma[::-1], rising, self.alone["small"], seed=self.seed)

    def against(self, zone: Window | None) -> dict[str, str]:
        """Where `begun` and `ended` lie against a zone, in words; None: there is no zone."""
        unknown = "nowhere: it is not known" if zone else "nowhere: there is no zone"
        return {
            name: (place(at, zone) if zone else "") or unknown
            for name, at in (("begun", self.begun), ("ended", self.ended))
        }

    def decides_in(self, zone: Window) -> Answer:
        """Whether both levels lie in a zone."""
        return every(lies_in(level, zone) for level in (self.begun, self.ended))

    def in_words(self, zone: Window | None) -> dict[str, str]:
        """All that prose says of it, as text; the zone as in `against`.

        "turn_begun" and "turn_ended" are the two levels, "turned_begun" and "turned_ended" where
        they lie; "switched" is from where to where the switch was tried, "small_switched" and
        "large_switched" the shares there, by the model that begins.
        """
        ends = {"switched": self.sigma, "small_switched": self.curve("small").mean}
        ends |= {"large_switched": self.curve("large").mean}
        return {
            "turn_begun": str(self.begun),
            "turn_ended": str(self.ended),
            **{f"turned_{way}": text for way, text in self.against(zone).items()},
            **{name: f"{values[0]:.2g} to {values[-1]:.2g}" for name, values in ends.items()},
        }

    def table(self) -> dict[str, Any]:
        """The shares by the level of the switch, its ends included: inf, then never."""
        table: dict[str, Any] = {
            "switch below sigma [data units]": [math.inf, *self.sigma.tolist(), 0.0]
        }
        for base, other in (("small", "large"), ("large", "small")):
            rows = [self.alone[other], *self.passed[base], self.alone[base]]
            copies = [Fraction.of(int(row.sum()), len(row)) for row in rows]
            table |= columns(f"{base}, then the other, memorized", "fraction", copies)
        return table


def half_level(
    sigma: Floats,
    passed: NDArray[np.bool_],
    whole: NDArray[np.bool_],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """The level of a single switch at which half of the copies are decided (ours).

    That is where the share of copies first reaches half of what it is without a switch; linear in
    log sigma between two levels.

    Parameters
    ----------
    sigma : (S,) levels of the switch, data units, in the order in which the share rises.
    passed : (S, n) whether each sample is memorized with the switch at each level.
    whole : (n,) whether it is without one, of the same initial noises.
    resamples : bootstrap resamples of the noises, for the 95% percentile interval.
    seed : of the resampling.

    Returns
    -------
    Estimate, data units: NaN where there is no copy, or where the first level has half already;
    without an interval where more than 2.5% of the resamples are so.
    """
    levels = np.log(check_sigmas(sigma))
    n = len(whole)
    if passed.shape != (len(levels), n) or n == 0:
        raise ValueError(f"half_level: needs passed ({len(levels)}, {n}), got {passed.shape}.")
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), resamples)
    weights = np.vstack([np.ones(n, np.int64), counts])  # the samples themselves come first
    shares, half = weights @ passed.T / n, weights @ whole / n / 2
    reached = shares >= half[:, None]
    first = reached.argmax(1)
    row = np.arange(len(first))
    known = reached.any(1) & (first > 0) & (half > 0)
    row, first, half = row[known], first[known], half[known]
    before, after = shares[row, first - 1], shares[row, first]
    part = (half - before) / (after - before)
    found = np.full(len(known), np.nan)
    found[known] = np.exp(levels[first - 1] + part * (levels[first] - levels[first - 1]))
    return percentiles(float(found[0]), found[1:])
