"""The images alone: what is there twice, coverage, concentration, the danger zone, and the gap."""

from __future__ import annotations

import numpy as np

from geomem.geometry.coverage_bounds import coverage_certificate
from geomem.geometry.distances import nearest_distances
from geomem.geometry.intervals import Estimate, Fraction
from geomem.geometry.overlap import overlap
from geomem.geometry.posterior_bounds import falls_below, weight_bounds
from geomem.geometry.regimes import Geometry
from geomem.memorization.gap import SuggestedGap, suggest_gap
from geomem.plots import drawing
from geomem.report.asked import Asked
from geomem.report.part import Part

BOUNDED = 1000  # images, at most, whose concentration is bounded: it takes their square


def images_part(asked: Asked, key: str) -> Part:
    """Duplicates and twins, both curves, the zone with its intervals and what is certain of it."""
    part = Part("The images", key)
    _twins(asked, part)
    try:
        geometry = asked.geometry
    except ValueError as error:  # a curve that does not pass the level anywhere
        part.warnings.append(f"No danger zone could be measured: {error}")
        return part
    _zone(asked, geometry, part)
    _picture(asked, geometry, part)
    return part


def gap_part(asked: Asked, key: str) -> Part:
    """Which noise levels to leave out of training, on what evidence, on the users' clocks."""
    part = Part("The gap to train with", key)
    try:
        gap = _gap(asked)
    except ValueError as error:  # a curve that does not pass the level anywhere, say
        part.warnings.append(f"No gap can be suggested: {error}")
        return part
    part.number("gap_from", gap.low, "data units", "where the gap begins")
    part.number("gap_to", gap.high, "data units", "where the gap ends")
    part.number("gap_keep", gap.keep, "weight", "of each level in the gap; others have 1")
    part.said.append(
        f"In training, weigh noise levels from sigma {part.numbers['gap_from'].text} to "
        f"{part.numbers['gap_to'].text} by {gap.keep:g}, others by 1."
    )
    part.said.append(gap.evidence)
    part.said.append(
        "The danger zone is where geometry says that memorization is possible; the gap is what "
        "to leave out, and reaches lower, to where a copy can no longer be undone. Stopping "
        "early by held-out images is the baseline that a gap must beat."
    )
    levels = {"gap begins": gap.low, "gap ends": gap.high}
    if gap.zone is not None:
        regimes = asked.geometry.regimes
        levels = {"zone begins": regimes.covered, "zone ends": regimes.concentrated} | levels
    columns: dict[str, list[object]] = {"": [*levels], "sigma": [*levels.values()]}
    for schedule in asked.schedules:
        columns[f"{schedule.name} ({schedule.clock})"] = [
            schedule.read(level) for level in levels.values()
        ]
    part.table("Noise levels on other clocks", columns)
    return part


def _gap(asked: Asked) -> SuggestedGap:
    return suggest_gap(
        asked.train, asked.new, geometry=asked.geometry, resamples=asked.depth.resamples,
        seed=asked.seed, device=asked.device,
    )  # fmt: skip


def _twins(asked: Asked, part: Part) -> None:
    found, held = asked.twins, asked.heldout is not None
    part.number("images", found.n, "count", "training images")
    part.number("duplicates", found.n - found.distinct, "count", "training images that repeat")
    share = Fraction.of(found.near, found.distinct)
    part.number("near_twins", share, "share", "training images with a near twin")
    part.said.append(f"{found}.".replace("of ", "Of ", 1))
    if found.grouped:
        part.said.append(
            "Near twins hide copies from the ratio test and move the zone: below, one image of "
            f"each group counts, {len(asked.apart):,} in all."
        )
    if not held:
        part.said.append(
            "No held-out images were given. For the geometry every fifth image is taken out; "
            "what a model does on new images, and its floor, are left out."
        )
    elif found.shared:
        part.warnings.append(
            f"{found.shared:,} held-out images are training images: what is said of new images "
            "is wrong to that extent."
        )


def _zone(asked: Asked, geometry: Geometry, part: Part) -> None:
    regimes, (train, new) = geometry.regimes, asked.halves
    begins = part.number("zone_from", regimes.covered, "data units", "where coverage is reached")
    ends = part.number("zone_to", regimes.concentrated, "data units", "where weights spread")
    part.number("crossing", regimes.crossing, "data units", "where both curves cross")
    certain = coverage_certificate(new, train, c=asked.c, device=asked.device)
    start = certain.start(asked.level)
    part.number("zone_from_latest", start, "data units", "where the zone begins at the latest")
    distance = np.asarray(nearest_distances(new, train, device=asked.device))
    confused = float(overlap(distance, regimes.covered.value).mean())
    part.number("overlap", confused, "share", "overlap of noisy new and training images there")
    if regimes.medium:
        part.said.insert(0, f"The danger zone reaches from {begins.text} to {ends.text} (sigma).")
    else:
        part.said.insert(
            0,
            f"There is no danger zone: coverage reaches {asked.level:g} at {begins.text}, and "
            f"concentration has fallen below it from {ends.text} on. By the paper's picture both "
            "ends are calm and nothing lies between them.",
        )
    _bounded(asked, regimes.concentrated.value, part)
    if np.isnan(start):
        part.said.append(f"So few held-out images ({len(new)}) certify no level of coverage.")
    else:
        beyond = ", beyond the zone's end" if start >= regimes.concentrated.value else ""
        part.said.append(
            f"With 95% confidence coverage is reached at {Estimate(start)} at the latest{beyond}."
        )
    part.said.append(
        f"Where coverage is reached, a noisy new image and its nearest noisy training image are "
        f"told apart but for an overlap of {confused:.2g}: coverage by shells says less than it "
        "seems."
    )


def _bounded(asked: Asked, ends: float, part: Part) -> None:
    """Between which levels the zone ends, by proved bounds on concentration; of few images."""
    train = asked.halves[0]
    if len(train) > BOUNDED:
        return
    levels = ends * np.geomspace(1 / 4, 4, 25)
    lower, upper = weight_bounds(train, levels, seed=asked.seed).bracket("width")
    least, most = falls_below(levels, lower, upper, asked.level)
    part.number("zone_to_least", least, "data units", "where the zone ends at the earliest, proved")
    part.number("zone_to_most", most, "data units", "where the zone ends at the latest, proved")
    part.said.append(
        f"By bounds that are proved from the distances between the images, concentration falls "
        f"below {asked.level:g} between {Estimate(least)} and {Estimate(most)}."
    )


def _picture(asked: Asked, geometry: Geometry, part: Part) -> None:
    curves = {"C_sigma": geometry.coverage, "W_sigma": geometry.weight}
    drawn = drawing.noise_curves(curves, "probability", regimes=geometry.regimes, every=3)
    part.picture(
        "regimes", drawn, "Coverage and concentration",
        alt="Coverage rises and concentration falls over the noise level.",
        caption=f"Coverage by Gaussian shells and the mean largest posterior weight of "
        f"{len(asked.halves[0]):,} training images; bands are 95% intervals. The zone is where "
        f"both are at least {asked.level:g}.",
    )  # fmt: skip
