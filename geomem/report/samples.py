"""Samples: how many are copies, of which training images, and what they look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from geomem.geometry.intervals import Fraction, more_often, paired_difference
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import Neighbours, memorized_fraction, near, neighbours
from geomem.memorization.thresholds import Thresholds
from geomem.plots import drawing, pictures
from geomem.report.asked import Asked
from geomem.report.part import Part

WORST = 8  # copies on the sheet
CHANCE = 0.025  # of a share above another one that is not


def samples_part(asked: Asked, images: NDArray[Any], sampler: str, key: str) -> Part:
    """The share of copies with its interval and floor, the worst of them, and the threshold."""
    part = Part(f"Samples ({sampler})", key)
    asked.distinct.check_range(images)
    judge(asked, images, sampler, part)
    return part


def judge(asked: Asked, images: NDArray[Any], sampler: str, part: Part) -> Neighbours:
    """All that is said of samples, whatever their range, into a part."""
    found = near(images, asked.distinct)
    share = part.number("memorized", found.fraction, "share", f"copies, drawn by {sampler}")
    part.said.append(f"{share.text} of the samples are copies, drawn by {sampler}.")
    copied = found.index[found.memorized()]
    part.number("copied_images", len(np.unique(copied)), "count", "training images copied")
    _floor(asked, images, found, part)
    _otherwise(asked, images, found, part)
    if len(copied):
        _copied(asked, found, part)
    _thresholds(asked, found, part)
    if np.ndim(images) == 4 and np.shape(images)[1] in (1, 3):
        _sheet(asked, np.asarray(torch.as_tensor(images)), found, part)
    return found


def _floor(asked: Asked, images: NDArray[Any], found: Neighbours, part: Part) -> None:
    """Whether copies are more than among new images, by the test or with near twins as one image.

    Held-out images that were trained on are no floor.
    """
    if asked.new is None:
        return
    seen = neighbours(asked.new, asked.distinct)
    new = seen.first > 0
    if not new.any():
        return
    held = Fraction.of(int(seen.memorized()[new].sum()), int(new.sum()))
    floor = part.number("floor", held, "share", "held-out images that pass the same test")
    risk = CHANCE / (1 if asked.merged is None else 2)  # of two tests
    above, how, by = more_often(found.fraction, held, risk), "That", floor
    if asked.merged is not None and not above:  # near twins hide copies
        theirs = memorized_fraction(asked.new[new], asked.merged)
        if above := more_often(near(images, asked.merged).fraction, theirs, risk):
            how, what = "With near twins as one image that", "the floor of that, which decides"
            by = part.number("floor_merged", theirs, "share", what)
    part.number("above_floor", float(above), "yes: 1", "whether that is more, beyond chance")
    if above:
        part.said.append(f"{how} is above the floor, {by.text} of the held-out images.")
    else:
        part.said.append(
            f"That is not above the floor beyond chance, {floor.text} of the held-out images."
        )


def _otherwise(asked: Asked, images: NDArray[Any], found: Neighbours, part: Part) -> None:
    """By other rules, each against the paper's own on the same samples."""
    rules: dict[str, tuple[str, DistinctImages]] = {}
    if asked.merged is not None:
        rules["memorized_merged"] = "with near twins as one image", asked.merged
    if np.ndim(images) == 4:
        rules["memorized_mirrored"] = "mirror images are copies, too", asked.mirrored
    for name, (words, distinct) in rules.items():
        other = near(images, distinct)
        part.number(name, other.fraction, "share", f"samples that are copies, {words}")
        change = paired_difference(found.memorized(), other.memorized())
        if change.value:
            part.said.append(
                f"{words[0].upper()}{words[1:]}: {other.fraction.percent}, a change of {change}."
            )


def _copied(asked: Asked, near: Neighbours, part: Part) -> None:
    """How often each training image was copied, the most copied first."""
    which, times = np.unique(near.index[near.memorized()], return_counts=True)
    order = np.lexsort((which, -times))
    which, times = which[order], times[order]
    fig, ax = plt.subplots()
    ax.bar(np.arange(1, len(which) + 1), times, width=1.0)
    ax.set(xlabel="training images, the most copied first", ylabel="copies among the samples")
    part.picture(
        "copied", (fig, {"training image [index]": which, "copies [count]": times}),
        "Which training images are copied",
        alt=f"Bars: {len(which)} training images, copied up to {times[0]} times.",
        caption=f"{len(which):,} of {len(asked.train):,} training images were copied by "
        f"{times.sum():,} of {len(near.ratio):,} samples.",
    )  # fmt: skip


def _thresholds(asked: Asked, near: Neighbours, part: Part) -> None:
    clean = {"samples": near.ratio}
    if asked.new is not None:
        clean["held-out images"] = neighbours(asked.new, asked.distinct).ratio
    found = Thresholds.of({}, 0, clean)
    part.picture(
        "thresholds", pictures.thresholds(found, drawing.LOOKS[: len(clean)]),
        "One third is a choice",
        alt="The share that passes the ratio test rises with its threshold.",
        caption="Shares with d_1NN less than t times d_2NN, at every t; bands are 95% intervals.",
    )  # fmt: skip


def _sheet(asked: Asked, images: NDArray[Any], near: Neighbours, part: Part) -> None:
    worst = np.argsort(near.ratio, kind="stable")[: min(WORST, len(near.ratio))]
    low, high = asked.distinct.range or (float(asked.train.min()), float(asked.train.max()))
    pair = {"sample": images[worst], "nearest\ntraining\nimage": asked.train[near.index[worst]]}
    rows = [(name, 2 * (x.astype(float) - low) / (high - low) - 1) for name, x in pair.items()]
    ratios = [f"{ratio:.2f}" for ratio in near.ratio[worst]]
    fig = drawing.image_grid(rows, ratios, [near.memorized()[worst], None], "d_1NN / d_2NN")
    table: dict[str, Any] = {
        "sample [index]": worst,
        "training image [index]": near.index[worst],
        "ratio [d_1NN / d_2NN]": near.ratio[worst],
    }
    part.picture(
        "worst", (fig, table), "The samples nearest to being copies",
        alt=f"{len(worst)} samples above the training images nearest to them.",
        caption="Framed are those that pass the test, d_1NN less than a third of d_2NN. The "
        "numbers are these ratios.",
        kind="png",
    )  # fmt: skip
