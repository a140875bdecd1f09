"""Does the zone predict the hump? Zone, hump and switch of the same images at several sizes (ours).

The paper explains the hump of memorization by the danger zone, in one data space. Here both are
measured for a pair of models of any images, beside the level where a single switch decides, and
held against three predictions that need no model which memorizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.noise import karras_sigmas
from geomem.diffusion.sampler import device_of
from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import Curve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Answer, Estimate, every
from geomem.geometry.overlap import overlap_coverage
from geomem.geometry.regimes import find_crossing
from geomem.geometry.window import Window
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.hump import Hump, lies_in
from geomem.memorization.ratio_test import RateCurve, memorization_rates
from geomem.memorization.samples import Samples
from geomem.memorization.switch import Switch

PREDICTIONS = ("zone", "copy edge", "overlap")
TARGETS = ("hump", "switch")
HEADINGS = (
    "quantity [name]",
    "data set [name]",
    "dimension [pixels times channels]",
    "sigma [data units]",
)


@dataclass(frozen=True)
class Measured:
    """Where one pair of models makes copies, and where three predictions say it does.

    Attributes
    ----------
    name : str
        That of the data set.
    reach : CopyRange
        Coverage, concentration, zone and copy edge of the training set.
    rate : RateCurve
        The small model's memorization rate on noisy held-out images.
    hump : Hump
        What that rate is.
    overlap : Curve
        Coverage by overlap (`geomem.overlap_coverage`).
    confused : Estimate
        Where that meets concentration, data units.
    switch : Switch
        One model at large noise, the other below a level.
    small, large : Samples
        Of the two models, from the same initial noises.
    """

    name: str
    reach: CopyRange
    rate: RateCurve
    hump: Hump
    overlap: Curve
    confused: Estimate
    switch: Switch
    small: Samples
    large: Samples

    @classmethod
    def of(
        cls,
        small: Denoiser,
        large: Denoiser,
        train: DistinctImages,
        heldout: Array,
        sigmas: Floats,
        *,
        name: str,
        n: int = 128,
        n_switched: int = 64,
        c: float = 5.0,
        level: float = 0.8,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> Measured:
        """Measure everything of one pair of models.

        Parameters
        ----------
        small, large : callable
            Denoisers of the same images: one that copies ``train``, and one that does not.
        train : DistinctImages
            The small model's training set.
        heldout : array (Q, C, H, W)
            Images that no model has seen, data units.
        sigmas : array (S,)
            Noise levels of the hump, data units, ascending.
        name : str
            What the images are called.
        n, n_switched : int
            Samples of each model, and at each level of the switch, >= 1.
        c, level
            As in `geomem.measure_regimes`.
        seed : int
            Of noise, samples and resampling.

        Raises
        ------
        ValueError
            As in the functions that it calls.
        """
        reach = CopyRange.of(train, heldout, large, c=c, level=level, seed=seed, device=device)
        rate = memorization_rates(small, heldout, train, sigmas, seed=seed, device=device)
        weight = reach.geometry.weight
        overlap = overlap_coverage(heldout, train.images, weight.sigma, device=device)
        confused = find_crossing(overlap, weight, seed=seed)
        levels = karras_sigmas()
        edges = np.sqrt(levels[:-1] * levels[1:])[4:16]  # 16 to 0.013: beyond, nothing is decided
        switch = Switch.of(small, large, train, n_switched, edges=edges, seed=seed)
        home = device_of(small)
        drawn = [Samples.of(model, train, n, seed=seed, device=home) for model in (small, large)]
        hump = Hump.of(rate, seed=seed)
        return cls(name, reach, rate, hump, overlap, confused, switch, *drawn)

    @property
    def d(self) -> int:
        """The dimension of the data: pixels times channels."""
        return int(self.small.pictures[0].size)

    @property
    def size(self) -> str:
        """How large the images are, as text."""
        channels, height, width = self.small.pictures[0].shape
        return f"{height}x{width}" + (" RGB" if channels == 3 else "")

    def copies_first(self, n: int) -> NDArray[np.intp]:
        """(n,) indices of samples of the small model, copies first."""
        return np.argsort(~self.small.passed, kind="stable")[:n]

    @property
    def place(self) -> str:
        """Where the hump lies against the zone, in words."""
        return self.hump.place(self.zone) if self.zone else "nowhere: there is no zone"

    @property
    def in_zone(self) -> Answer:
        """Whether the hump's centre lies in the zone; not known where there is none."""
        return lies_in(self.hump.centre, self.zone) if self.zone else None

    @property
    def area_in_zone(self) -> Estimate:
        """The share of the hump's area in the zone, in [0, 1]; NaN where there is none."""
        return self.hump.share(self.zone) if self.zone else Estimate(np.nan)

    @property
    def place_in_words(self) -> str:
        """The same with the hump's centre and the zone."""
        at = f"σ = {self.hump.centre}, {self.place}"
        return f"{self.name} {self.size}: {at} (zone {self.reach.geometry.zone_in_words})"

    @property
    def in_words(self) -> dict[str, str]:
        """Dimension, centre, zone, place, the hump's area in the zone, and copies, as text."""
        return {
            "d": f"{self.d:,}",
            "centre": str(self.hump.centre),
            "zone": self.reach.geometry.zone_in_words,
            "place": self.place,
            "inside": self.area_in_zone.percent,
            "copies": str(self.small.copies),
        }

    @property
    def zone(self) -> Window | None:
        """The danger zone, as `Geometry.zone`; None where the rule finds none."""
        return self.reach.zone if self.reach.geometry.regimes.medium else None

    @property
    def predicted(self) -> dict[str, float]:
        """The level that each of `PREDICTIONS` names, data units; NaN where it names none.

        The middle of the zone in log sigma; `copy_edge`; and where coverage by overlap meets
        concentration.
        """
        zone = self.zone
        return {
            "zone": float(np.sqrt(zone.low * zone.high)) if zone else np.nan,
            "copy edge": self.reach.edge.value,
            "overlap": self.confused.value,
        }

    @property
    def measured(self) -> dict[str, Estimate]:
        """The level of each of `TARGETS`, data units, and from where to where it may lie.

        The hump's centre with its interval; and the geometric mean of the two levels of the
        switch, from one to the other.
        """
        low, high = sorted((self.switch.begun.value, self.switch.ended.value))
        switch = Estimate(float(np.sqrt(low * high)), low, high)
        return {"hump": self.hump.centre, "switch": switch}

    @property
    def targets(self) -> dict[str, list[Estimate]]:
        """The levels that each of `TARGETS` is, data units, with their intervals."""
        return {"hump": [self.hump.centre], "switch": [self.switch.begun, self.switch.ended]}

    @property
    def levels(self) -> dict[str, Estimate]:
        """Every level, data units: the edges of the zone, the hump, the switch, predictions."""
        regimes, half = self.reach.geometry.regimes, self.hump.half
        edges = (regimes.covered, regimes.concentrated)
        low, high = edges if regimes.medium else (Estimate(np.nan), Estimate(np.nan))
        return {
            "danger zone, low": low,
            "danger zone, high": high,
            "hump, centre": self.hump.centre,
            "hump, half-width": Estimate(
                float(self.rate.sigma[self.hump.peak]), *(end.value for end in half)
            ),
            "switch, small to large": self.switch.begun,
            "switch, large to small": self.switch.ended,
            **{f"prediction, {name}": Estimate(at) for name, at in self.predicted.items()},
        }

    @property
    def curves(self) -> dict[str, Curve]:
        """What the levels are read from, against the noise level."""
        return {
            "C_sigma": self.reach.geometry.coverage,
            "W_sigma": self.reach.geometry.weight,
            "overlap": self.overlap,
            "rate": self.rate,
        }


def peak(one: Measured) -> Estimate:
    """The highest rate of a hump, in [0, 1]."""
    return one.rate.estimate(one.rate.peak)


def overview(sizes: Sequence[Measured]) -> dict[str, list[Any]]:
    """The columns of a table, one row a size: copies, zone, hump and switch."""
    edges = [one.reach.geometry.regimes for one in sizes]
    return {
        "images": [f"{one.name}, {one.size}" for one in sizes],
        "d": [one.d for one in sizes],
        "copies among samples": [one.small.copies for one in sizes],
        "zone": [f"{e.covered} to {e.concentrated}" if e.medium else "none" for e in edges],
        "hump's peak": [peak(one).percent for one in sizes],
        "its centre": [one.hump.centre for one in sizes],
        "against the zone": [one.place for one in sizes],
        "its area in the zone": [one.area_in_zone.percent for one in sizes],
        "switch decides at": [f"{one.switch.begun} and {one.switch.ended}" for one in sizes],
    }


def level_table(sizes: Sequence[Measured]) -> dict[str, Sequence[Any]]:
    """The levels of every size with their units, one row each."""
    rows = [
        (what, one.name, one.d, at.value, at.low, at.high)
        for one in sizes
        for what, at in one.levels.items()
    ]
    ends = [f"{end} [data units, 95% interval or half-width]" for end in ("low", "high")]
    return dict(zip([*HEADINGS, *ends], zip(*rows, strict=True), strict=True))


def curve_table(sizes: Sequence[Measured]) -> dict[str, Sequence[Any]]:
    """The curves of every size with their units, one row a curve and level."""
    rows = [
        (what, one.name, one.d, *row)
        for one in sizes
        for what, curve in one.curves.items()
        for row in zip(curve.sigma, curve.mean, curve.low, curve.high, strict=True)
    ]
    ends = [f"{end} [fraction, 95% interval]" for end in ("low", "high")]
    headings = [*HEADINGS, "value [fraction]", *ends]
    return dict(zip(headings, zip(*rows, strict=True), strict=True))


def growth(sizes: Sequence[Measured]) -> str:
    """How the levels grow from the smallest to the largest of several sizes, in words; or ""."""
    if len(sizes) < 2:
        return ""
    first, *_, last = sorted(sizes, key=lambda one: one.d)
    levels: dict[str, Callable[[Measured], float]] = {
        "the middle of the zone": lambda one: one.predicted["zone"],
        "the centre of the hump": lambda one: one.measured["hump"].value,
        "the level of the switch": lambda one: one.measured["switch"].value,
        "the copy edge": lambda one: one.predicted["copy edge"],
        "the overlap": lambda one: one.predicted["overlap"],
    }
    times = (f"{what} by a factor of {at(last) / at(first):.2g}" for what, at in levels.items())
    return f"On {first.name}, from {first.size} to {last.size}, grow: {', '.join(times)}."


def factors(sizes: Sequence[Measured]) -> dict[tuple[str, str], Floats]:
    """Predicted over measured for (prediction, target), (K,) over the sizes; NaN: not known."""
    return {
        (name, target): np.array(
            [one.predicted[name] / one.measured[target].value for one in sizes]
        )
        for target in TARGETS
        for name in PREDICTIONS
    }


def over_switch(one: Measured, prediction: str) -> str:
    """A prediction over each of the two levels of the switch, small to large first, as text."""
    level, switch = one.predicted[prediction], (one.switch.begun, one.switch.ended)
    return " and ".join(f"{Estimate(level / at.value):.2g}" for at in switch)


def off(found: Floats) -> float:
    """By which factor >= 1 a prediction is off, on average over the (K,) factors that are known.

    The geometric mean of the factors, those below 1 turned round; infinite where none is known.

    >>> off(np.array([0.5, 2.0, np.nan])), off(np.array([np.nan]))
    (2.0, inf)
    """
    known = found[np.isfinite(found)]
    return float(np.exp(np.abs(np.log(known)).mean())) if len(known) else float("inf")


def within(sizes: Sequence[Measured], prediction: str, target: str, factor: float = 2.0) -> Answer:
    """Whether a prediction is this near to a target, at every size; to both levels of a switch.

    Where these are too far `apart` for any prediction, not known.
    """
    near = Window(1 / factor, factor)
    return every(
        None if apart(one, target, factor) else lies_in(level / one.predicted[prediction], near)
        for one in sizes
        for level in one.targets[target]
    )


def apart(one: Measured, target: str, factor: float = 2.0) -> bool:
    """Whether no level is within a factor of all levels of a target."""
    levels = [level.value for level in one.targets[target]]
    return bool(max(levels) / min(levels) > factor**2)


def compared(sizes: Sequence[Measured]) -> dict[str, list[Any]]:
    """The columns of a table: each prediction over each target, and by what it is off."""
    names = [f"{one.name}, {one.size}" for one in sizes]
    return {"": [*names, "*off on average by*"]} | {
        f"{prediction} / {target}": [*found, off(found)]
        for (prediction, target), found in factors(sizes).items()
    }


def in_words(sizes: Sequence[Measured]) -> dict[str, str]:
    """Which prediction is best for each target, zone and copy edge over both levels of the switch.

    And the sizes at which these are too far `apart`, the peaks of the humps, the shares of copies.
    """
    found, words = factors(sizes), dict[str, str]()
    for target in TARGETS:
        by, best = min((off(found[name, target]), name) for name in PREDICTIONS)
        words[f"best_{target}"] = best if np.isfinite(by) else "one not known"
        words[f"best_{target}_off"] = f"{by:.2g}"
    for name in ("zone", "copy edge"):
        levels = ", ".join(over_switch(one, name) for one in sizes)
        words[f"{name.replace(' ', '_')}_levels"] = levels
    far = [f"{one.name} {one.size}" for one in sizes if apart(one, "switch")]
    peaks = ", ".join(peak(one).percent for one in sizes)
    copies = ", ".join(one.small.copies.percent for one in sizes)
    return words | {"apart": ", ".join(far) or "no size", "peaks": peaks, "copies": copies}
