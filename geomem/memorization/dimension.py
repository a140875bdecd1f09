"""Does the zone predict the hump? Zone, hump and switch of the same images at several sizes (ours).

The paper explains the hump of memorization by the danger zone, in one data space. Here both are
measured for a pair of models of any images, beside the level where a single switch decides, and
held against three predictions that need no model which memorizes. And the zone is one of the images
alone: with another network of the same ones, is as much decided in it?
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
from geomem.geometry.intervals import Answer, Estimate, Fraction, difference, every, little
from geomem.geometry.overlap import overlap_coverage
from geomem.geometry.regimes import find_crossing
from geomem.geometry.window import Window
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.hump import Hump, lies_in
from geomem.memorization.ratio_test import RateCurve, memorization_rates
from geomem.memorization.samples import Samples
from geomem.memorization.swaps import swap
from geomem.memorization.switch import Switch
from geomem.memorization.trajectories import Course, Settled, Within, share

PREDICTIONS = ("zone", "copy edge", "overlap")
TARGETS = ("hump", "switch")
STEPS = 36  # levels of the sampler between which is known when a copy is settled
HEADINGS = (
    "quantity [name]",
    "data set [name]",
    "dimension [pixels times channels]",
    "network [name]",
    "sigma [data units]",
)


@dataclass(frozen=True)
class Measured:
    """Where one pair of models makes copies, and where three predictions say it does.

    Attributes
    ----------
    name : str
        That of the data set.
    network : str
        As what the networks see an image, in words.
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
    settled : dict of "above", "inside", "below" to a Within
        Where the small model's copies are settled, against the zone: see `Settled`.
    without : array (n,) or None
        Which of the same noises become copies with the large model in the zone, the small one
        elsewhere; None where there is no zone, or where it holds no level of the sampler.
    """

    name: str
    network: str
    reach: CopyRange
    rate: RateCurve
    hump: Hump
    overlap: Curve
    confused: Estimate
    switch: Switch
    small: Samples
    large: Samples
    settled: dict[str, Within]
    without: NDArray[np.bool_] | None

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
        network: str = "",
        n: int = 128,
        n_switched: int = 64,
        c: float = 5.0,
        level: float = 0.8,
        seed: int = 0,
        solver: str = "heun",
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
        name, network : str
            What the images are called, and as what the models see them.
        n, n_switched : int
            Samples of each model, and at each level of the switch, >= 1.
        c, level
            As in `geomem.measure_regimes`.
        seed : int
            Of noise, samples and resampling.
        solver : str
            Of all samples, as in `geomem.sample`.

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
        switch = Switch.of(small, large, train, n_switched, edges=edges, seed=seed, solver=solver)
        hump, zone = Hump.of(rate, seed=seed), reach.zone
        how: dict[str, Any] = {"seed": seed, "solver": solver, "device": device_of(small)}
        own, of_large = (Samples.of(model, train, n, **how) for model in (small, large))
        settled, without = dict[str, Within](), None
        if reach.geometry.regimes.medium:
            course = Course.of(small, train, n, sigmas=karras_sigmas(STEPS), c=c, **how)
            settled = Settled.of(course, zone).copies
            if len(zone.steps(levels)):
                without = Samples.of(swap(small, large, zone), train, n, **how).passed
        found = reach, rate, hump, overlap, confused, switch
        return cls(name, network, *found, own, of_large, settled, without)

    @property
    def d(self) -> int:
        """The dimension of the data: pixels times channels."""
        return int(self.small.pictures[0].size)

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for those in color."""
        return int(self.small.pictures[0].shape[0])

    @property
    def size(self) -> str:
        """How large the images are, as text."""
        _, height, width = self.small.pictures[0].shape
        return f"{height}x{width}" + (" RGB" if self.channels == 3 else "")

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
    def inside(self) -> Within:
        """The share of the small model's copies that are settled in the zone."""
        return self.settled.get("inside", Within(None, None))

    @property
    def undone(self) -> Fraction | None:
        """The share of the copies that the large model in the zone undoes; None: not known."""
        copies = self.small.passed
        return None if self.without is None else share(~self.without, copies)

    @property
    def place_in_words(self) -> str:
        """The hump's centre, where it lies against the zone, and the zone, in words."""
        return f"σ = {self.hump.centre}, {self.place} (zone {self.reach.geometry.zone_in_words})"

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
        centre = self.hump.centre
        known = np.isfinite(centre.low)  # else there are too few copies
        return {"hump": centre if known else Estimate(np.nan), "switch": switch}

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


def titles(measured: Sequence[Measured]) -> list[str]:
    """What each is called: data set, size, and the network where several have the same images."""
    names = [f"{one.name}, {one.size}" for one in measured]
    return [
        f"{name}, {one.network}" if names.count(name) > 1 else name
        for name, one in zip(names, measured, strict=True)
    ]


def networks(measured: Sequence[Measured]) -> list[Measured]:
    """Those of the largest images that several networks have learned; none where no two have.

    The training set is the same where its zone is.
    """
    sets = dict[tuple[int, str, str], dict[str, Measured]]()
    for one in measured:
        sets.setdefault((one.d, one.name, str(one.zone)), {}).setdefault(one.network, one)
    several = [key for key, by_network in sets.items() if len(by_network) > 1]
    return [*sets[max(several)].values()] if several else []


def overview(sizes: Sequence[Measured]) -> dict[str, list[Any]]:
    """The columns of a table, one row a size: copies, zone, hump and switch."""
    edges = [one.reach.geometry.regimes for one in sizes]
    return {
        "images": titles(sizes),
        "d": [one.d for one in sizes],
        "copies among samples": [one.small.copies for one in sizes],
        "zone": [f"{e.covered} to {e.concentrated}" if e.medium else "none" for e in edges],
        "hump's peak": [peak(one).percent for one in sizes],
        "its centre": [one.hump.centre for one in sizes],
        "against the zone": [one.place for one in sizes],
        "its area in the zone": [one.area_in_zone.percent for one in sizes],
        "switch decides at": [f"{one.switch.begun} and {one.switch.ended}" for one in sizes],
    }


def by_network(same: Sequence[Measured]) -> dict[str, list[Any]]:
    """The columns of a table, one row a network of the same images: where its copies are made."""
    return {
        "the network sees a": [one.network for one in same],
        "copies among samples": [one.small.copies for one in same],
        "hump's peak": [peak(one).percent for one in same],
        "its centre": [one.hump.centre for one in same],
        "switch decides at": [f"{one.switch.begun} and {one.switch.ended}" for one in same],
        "settled in the zone, surely": [one.inside.surely for one in same],
        "at most": [one.inside.at_most for one in same],
        "undone by the large model there": [one.undone for one in same],
    }


def network_in_words(same: Sequence[Measured]) -> dict[str, str]:
    """The networks, their copies, and what the zone is to these; as text."""
    if not same:
        none = dict.fromkeys(("of_networks", "network_undone", "network_settled"), "none")
        alone = "In this run every size has one network."
        return none | {"n_networks": "one network", "network_story": alone}

    def said(found: Fraction | None) -> str:
        return found.percent if found else "none"

    undone, settled, story = list[str](), list[str](), list[str]()
    for one in same:
        undone.append(f"{one.network}: {said(one.undone)}")
        surely, at_most = said(one.inside.surely), said(one.inside.at_most)
        settled.append(f"{one.network}: surely {surely}, at most {at_most}")
        story.append(
            f"Seen as a {one.network}, {one.small.copies.percent} of the small model's samples are "
            f"copies, and the hump's peak is {peak(one).percent}; of the copies the large model in "
            f"the zone undoes {said(one.undone)}, and {surely} surely, {at_most} at most, are "
            "settled there."
        )
    images = f"{same[0].name}, {same[0].size}"
    return {
        "of_networks": images,
        "n_networks": f"{len(same)} networks",
        "network_undone": "; ".join(undone),
        "network_settled": "; ".join(settled),
        "network_story": f"{len(same)} networks have learned {images}. {' '.join(story)}",
    }


def as_much(same: Sequence[Measured], most: float = 0.1) -> Answer:
    """Whether the large model in the zone undoes as large a share of the copies of every network.

    Parameters
    ----------
    same : of the same images, the network that the others are held against first.
    most : by how much the shares may differ.
    """
    first, *others = (one.undone for one in same)
    return every(little(difference(one, first), most) if one and first else None for one in others)


def mostly_inside(same: Sequence[Measured]) -> Answer:
    """Whether of every network more than half of the copies are settled in the zone."""
    return every(one.inside.above(0.5) for one in same)


def level_table(sizes: Sequence[Measured]) -> dict[str, Sequence[Any]]:
    """The levels of every size with their units, one row each."""
    rows = [
        (what, one.name, one.d, one.network, at.value, at.low, at.high)
        for one in sizes
        for what, at in one.levels.items()
    ]
    ends = [f"{end} [data units, 95% interval or half-width]" for end in ("low", "high")]
    return dict(zip([*HEADINGS, *ends], zip(*rows, strict=True), strict=True))


def curve_table(sizes: Sequence[Measured]) -> dict[str, Sequence[Any]]:
    """The curves of every size with their units, one row a curve and level."""
    rows = [
        (what, one.name, one.d, one.network, *row)
        for one in sizes
        for what, curve in one.curves.items()
        for row in zip(curve.sigma, curve.mean, curve.low, curve.high, strict=True)
    ]
    ends = [f"{end} [fraction, 95% interval]" for end in ("low", "high")]
    headings = [*HEADINGS, "value [fraction]", *ends]
    return dict(zip(headings, zip(*rows, strict=True), strict=True))


def growth(measured: Sequence[Measured]) -> str:
    """How the levels grow from the smallest to the largest of several sizes, in words; or "".

    Of each data set, gray or in color; where several networks have the same images, the first.
    """
    kinds = dict[tuple[str, int], dict[int, Measured]]()
    for one in measured:
        kinds.setdefault((one.name, one.channels), {}).setdefault(one.d, one)
    ends = [(of[min(of)], of[max(of)]) for of in kinds.values() if len(of) > 1]
    return " ".join(_grown(first, last) for first, last in ends)


def _grown(first: Measured, last: Measured) -> str:
    levels: dict[str, Callable[[Measured], float]] = {
        "the middle of the zone": lambda one: one.predicted["zone"],
        "the centre of the hump": lambda one: one.measured["hump"].value,
        "the level of the switch": lambda one: one.measured["switch"].value,
        "the copy edge": lambda one: one.predicted["copy edge"],
        "the overlap": lambda one: one.predicted["overlap"],
    }
    times = {what: at(last) / at(first) for what, at in levels.items()}
    known = [f"{what} by a factor of {by:.2g}" for what, by in times.items() if np.isfinite(by)]
    between = f"On {first.name}, from {first.size} to {last.size}"
    return f"{between}, grow: {', '.join(known)}." if known else f"{between}, nothing is known."


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
    return {"": [*titles(sizes), "*off on average by*"]} | {
        f"{prediction} / {target}": [*found, off(found)]
        for (prediction, target), found in factors(sizes).items()
    }


def in_words(sizes: Sequence[Measured]) -> dict[str, str]:
    """Which prediction is best for each target, zone and copy edge over both levels of the switch.

    And where these are too far `apart`, the places of the humps against the zones, their peaks, and
    the shares of copies.
    """
    found, words = factors(sizes), dict[str, str]()
    for target in TARGETS:
        # Averages are compared over the same pairs of models, of predictions known for the most.
        known = {name: np.isfinite(found[name, target]) for name in PREDICTIONS}
        most = max(each.sum() for each in known.values())
        rivals = [name for name in PREDICTIONS if known[name].sum() == most]
        same = np.logical_and.reduce([known[name] for name in rivals])
        by, best = min((off(found[name, target][same]), name) for name in rivals)
        near = f"the {best}, off by a factor of {by:.2g}"
        words[f"best_{target}"] = near if np.isfinite(by) else "none that is known"
    for name in ("zone", "copy edge"):
        levels = ", ".join(over_switch(one, name) for one in sizes)
        words[f"{name.replace(' ', '_')}_levels"] = levels
    named = list(zip(titles(sizes), sizes, strict=True))
    far = [title for title, one in named if apart(one, "switch")]
    return words | {
        "apart": "; ".join(far) or "none",
        "places": "; ".join(f"{title}: {one.place_in_words}" for title, one in named),
        "peaks": ", ".join(peak(one).percent for one in sizes),
        "copies": ", ".join(one.small.copies.percent for one in sizes),
    }
