"""Which coverage predicts where a network copies? Candidates, held against measured humps (ours).

A zone begins where coverage rises and ends where concentration falls. The end is that of distances
alone; the beginning, by the paper's shells, moves when images are padded with zeros, which moves no
hump. So other coverages are tried, that stay: each gives a zone, and each zone three levels, to be
held against the hump's half-levels and its centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import Curve, first_fall, last_rise
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Answer, Estimate, above, below, every, little, percentiles
from geomem.geometry.intrinsic import intrinsic_coverage, intrinsic_dimension, nearest_coverage
from geomem.geometry.overlap import overlap_coverage
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.hump import Hump
from geomem.memorization.ratio_test import memorization_rates, neighbours

SHELLS, PADDED = "shells", "padded shells"  # the paper's, by the nearest image; and padded
STAY = ("intrinsic shells", "overlap")  # what padding with zeros does not move
EDGES = ("begins", "centre", "ends")
LEVELS = np.geomspace(1e-12, 0.95, 60)  # that a candidate may be read at


@dataclass(frozen=True)
class Predicted:
    """A measured hump, and the zones of every candidate for coverage.

    Attributes
    ----------
    name, size : of the images, as text.
    d : their numbers, pixels times channels.
    dimension : their `intrinsic_dimension`.
    hump : of the small model's rate on noisy held-out images.
    weight : concentration of its training set.
    coverages : name -> coverage of the same held-out images, at the levels of ``weight``.
    """

    name: str
    size: str
    d: int
    dimension: Estimate
    hump: Hump
    weight: Curve
    coverages: dict[str, Curve]

    @classmethod
    def of(
        cls,
        denoise: Denoiser,
        train: DistinctImages,
        heldout: NDArray[Any],
        sigmas: Floats,
        weight: Curve,
        *,
        name: str,
        space: int = 4096,
        c: float = 5.0,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> Predicted:
        """Measured of one model.

        Parameters
        ----------
        denoise : the model.
        train : its training set.
        heldout : array (Q, C, H, W), what no model has seen, data units.
        sigmas : (S,) noise levels of the hump, data units, ascending.
        weight : concentration of the training set.
        space : how many numbers the padded images have, at least.
        c : shell parameter of Lemma 4.5.
        """
        rate = memorization_rates(denoise, heldout, train, sigmas, seed=seed, device=device)
        pair, grid, near = (heldout, train.images), weight.sigma, neighbours(heldout, train).first
        d, (channels, height, width) = heldout[0].size, heldout.shape[1:]
        size = f"{height}x{width}" + (" RGB" if channels == 3 else "")
        coverages = {
            SHELLS: nearest_coverage(near, grid, d, c),
            PADDED: nearest_coverage(near, grid, max(space, d), c),
            "intrinsic shells": intrinsic_coverage(*pair, grid, c=c, device=device),
            "overlap": overlap_coverage(*pair, grid, device=device),
        }
        dimension, hump = intrinsic_dimension(*pair, device=device), Hump.of(rate, seed=seed)
        return cls(name, size, d, dimension, hump, weight, coverages)

    def zones(self, candidate: str, levels: Array, top: float, seed: int = 0) -> Floats:
        """(L, 1 + R, 3) where the zone of a candidate begins, its middle in log sigma, and its end.

        Of the curves, and of R resamples of the images, which are those of the hump; NaN where
        coverage does not pass a level.

        Parameters
        ----------
        levels : (L,) of coverage, in (0, 1).
        top : the level of concentration, in (0, 1).
        """
        coverage, size = self.coverages[candidate], len(self.hump.resampled)

        def rows_of(curve: Curve) -> Floats:
            return np.vstack([curve.mean, curve.resampled(size, np.random.default_rng(seed))])

        rows, weights = rows_of(coverage), rows_of(self.weight)
        begins = np.array([last_rise(coverage.sigma, rows, level) for level in np.asarray(levels)])
        ends = np.broadcast_to(first_fall(self.weight.sigma, weights, top), begins.shape)
        return np.stack([begins, np.sqrt(begins * ends), ends], -1)


@dataclass(frozen=True)
class Comparison:
    """Candidates for coverage against several humps, at one level, and at levels fitted elsewhere.

    Attributes
    ----------
    cases : those of the humps that have all of `EDGES`.
    level : of our rule, for coverage and concentration.
    at_level : name of the candidate -> (K, 1 + R, 3) predicted over measured, as logarithms: of K
        humps, R resamples of the images, and `EDGES`.
    fitted : the same with the level of coverage that suits the other data sets best.
    levels : name -> that level, for each data set, of the curves themselves.
    """

    cases: Sequence[Predicted]
    level: float
    at_level: dict[str, Floats]
    fitted: dict[str, Floats]
    levels: dict[str, dict[str, float]]

    @classmethod
    def of(cls, cases: Sequence[Predicted], level: float, seed: int = 0) -> Comparison:
        """Of the humps of one or several data sets; of one alone nothing is fitted: NaN.

        Raises
        ------
        ValueError : no hump at all.
        """
        if not cases:
            raise ValueError("models: no pair of models was named, so that there is no hump.")
        known = [one for one in cases if np.isfinite(one.hump.levels[0]).all()]
        names, asked = np.array([one.name for one in known]), [*LEVELS, level]
        at_level, fitted, levels = dict[str, Floats](), dict[str, Floats](), {}
        for candidate in cases[0].coverages:
            found = [one.zones(candidate, asked, level, seed) / one.hump.levels for one in known]
            shape = (len(known), len(asked), len(cases[0].hump.levels), len(EDGES))
            errors = np.log(np.reshape(found, shape))
            at_level[candidate], fitted[candidate] = errors[:, -1], errors[:, -1] * np.nan
            levels[candidate] = dict[str, float]()
            for name in {*names.tolist()} if len({*names}) > 1 else ():
                own = names == name
                others = np.nan_to_num(_off(errors[~own, :-1], (0, -1)), nan=np.inf)
                best = others.argmin(0)  # (1 + R,)
                fitted[candidate][own] = errors[own][:, best, np.arange(len(best))]
                levels[candidate][name] = float(LEVELS[best[0]])
        return cls(known, level, at_level, fitted, levels)

    def off(self, candidate: str, *, fitted: bool = False) -> dict[str, Estimate]:
        """By which factor >= 1 a candidate is off at each of `EDGES`, and in "all" of them.

        Geometric means over the humps, factors below 1 turned round, with intervals over images:
        the humps, their trainings and their data sets are taken as given.
        """
        errors = (self.fitted if fitted else self.at_level)[candidate]
        each = {edge: _off(errors[..., i], (0,)) for i, edge in enumerate(EDGES)}
        found = {**each, "all": _off(errors, (0, -1))}
        return {edge: percentiles(values[0], values[1:]) for edge, values in found.items()}

    def against(self, candidate: str, other: str, *, fitted: bool = False) -> Estimate:
        """By which factor a candidate is farther off than another; below 1: it is nearer."""
        errors = self.fitted if fitted else self.at_level
        ratio = _off(errors[candidate], (0, -1)) / _off(errors[other], (0, -1))
        return percentiles(ratio[0], ratio[1:])

    def factors(self, candidate: str) -> list[list[Estimate]]:
        """(K, 3) predicted over measured at the rule's level, of every hump and of `EDGES`."""
        found = np.exp(self.at_level[candidate])
        return [[percentiles(of[0], of[1:]) for of in case.T] for case in found]

    def within(self, candidate: str, factor: float = 2.0, *, fitted: bool = False) -> Answer:
        """Whether a candidate is this near at every edge of every hump."""
        errors = (self.fitted if fitted else self.at_level)[candidate]
        each = [percentiles(of[0], of[1:]) for case in errors for of in case.T]
        return every(little(one, np.log(factor)) for one in each) if each else None


def _off(errors: Floats, over: tuple[int, ...]) -> Floats:
    """By which factor >= 1 logarithms of factors are off, on average over some axes."""
    with np.errstate(invalid="ignore"):  # of no hump at all
        return np.exp(np.abs(errors).sum(over) / np.prod([errors.shape[axis] for axis in over]))


def measured(cases: Sequence[Predicted]) -> dict[str, list[Any]]:
    """The columns of a table, one row a hump: the images, their dimensions, and its levels."""
    return {
        "images": [f"{one.name}, {one.size}" for one in cases],
        "d": [one.d for one in cases],
        "intrinsic": [f"{one.dimension:.1f}" for one in cases],
        "hump from": [one.hump.half[0] for one in cases],
        "centre": [one.hump.centre for one in cases],
        "to": [one.hump.half[1] for one in cases],
    }


def starts(found: Comparison) -> dict[str, list[Any]]:
    """The columns of a table, one row a hump: each candidate's start over the hump's."""
    names = [f"{one.name}, {one.size}" for one in found.cases]
    begun = {name: [f"{row[0]:.2f}" for row in found.factors(name)] for name in found.at_level}
    return {"images": names, **begun}


def errors(found: Comparison) -> dict[str, list[Any]]:
    """The columns of a table, one row a candidate: by which factor it is off, and where.

    At the level of the rule, and in all with levels that are fitted on the other data sets.
    """
    names = [*found.at_level]
    plain, fitted = ([found.off(name, fitted=how) for name in names] for how in (False, True))
    return {
        "coverage": names,
        **{edge: [f"{one[edge]:.2f}" for one in plain] for edge in (*EDGES, "all")},
        "all, fitted": [f"{one['all']:.2f}" for one in fitted],
    }


def latest(late: Sequence[float]) -> str:
    """By how much a candidate passes the level later than coverage itself, at most, as text.

    Parameters
    ----------
    late : the one noise level over the other, of each training set; NaN: it never passes the level.

    >>> latest([1.05, 1.2]), latest([np.nan, 1.2]), latest([np.nan])
    ('20%', '20% (nowhere on 1 of 2)', 'an unknown amount (nowhere on 1 of 1)')
    """
    known = [one for one in late if np.isfinite(one)]
    most = f"{max(known) - 1:.0%}" if known else "an unknown amount"
    missing = len(late) - len(known)
    return most + (f" (nowhere on {missing} of {len(late)})" if missing else "")


def in_words(found: Comparison) -> dict[str, str]:
    """Which candidate is nearest, both ways, by how much, and the levels fitted, as text.

    Of the others also by how much they are farther off than the shells.
    """
    words = dict[str, str]()
    for how, fitted in (("plain", False), ("fitted", True)):
        off = {name: found.off(name, fitted=fitted)["all"] for name in found.at_level}
        known = {name: one for name, one in off.items() if np.isfinite(one.value)}
        best = min(known, key=lambda name: known[name].value) if known else "none known"
        words |= {f"{how}_best": best, f"{how}_off": f"{known.get(best, Estimate(np.nan)):.2f}"}
        words |= {f"{how}_off_{name.split()[0]}": f"{off[name]:.2f}" for name in off}
        for name in (PADDED, *STAY):
            if name in off:
                ratio = found.against(name, SHELLS, fitted=fitted)
                words[f"{how}_{name.split()[0]}"] = f"{ratio:.2f}, {_beside(ratio)}"
    for name in (SHELLS, *STAY):
        levels = sorted(found.levels[name].values())
        ends = f"{levels[0]:.1g} to {levels[-1]:.1g}" if levels else "none"
        words[f"levels_{name.split()[0]}"] = ends
    return words


def _beside(ratio: Estimate) -> str:
    """What the ratio of two errors says, by its interval, in words."""
    return "nearer" if below(ratio, 1) else "farther" if above(ratio, 1) else "not told apart"
