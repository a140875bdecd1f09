"""Samples on their way from noise to an image: from where on is one a copy (ours)?

The paper has two measures of memorization: the share of samples that are copies, and, at each
noise level, that of noisy held-out images which are denoised into copies. Between the two lies
the way of a sample. At each level of the sampler the denoiser's answer is put to the ratio test
here, and the state, of which it is the answer, is held against the shells of the training set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from geomem.diffusion import sampler
from geomem.diffusion.zoo import Trained
from geomem.geometry.arrays import Array, Floats, check_count, check_sigmas
from geomem.geometry.coverage import shell_radii
from geomem.geometry.curve import Curve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Answer, Estimate, Fraction, above, decided
from geomem.geometry.window import Window
from geomem.memorization.distinct import THIRD, DistinctImages
from geomem.memorization.ratio_test import (
    fraction_below,
    memorization_rates,
    memorized_fraction,
    near,
)

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Course:
    """The way of n samples through S noise levels, and the samples themselves as level S + 1.

    Attributes
    ----------
    sigma : array (S,)
        Noise levels, data units, descending. What has a column more ends in the samples.
    ratio : array (n, S + 1)
        d_1NN / d_2NN of the denoiser's answer at each level, in [0, 1].
    nearest : array (n, S + 1)
        Which training image is the nearest to that answer, by index.
    inside : array (n, S)
        Whether the state lies in the shell of a training image.
    pictures : array (n, ...)
        The samples themselves, float32, data units.
    """

    sigma: Floats
    ratio: Floats
    nearest: NDArray[np.int64]
    inside: Bools
    pictures: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        denoise: Denoiser,
        train: Array | DistinctImages,
        n: int,
        *,
        sigmas: Floats | None = None,
        seed: int = 0,
        solver: str = "heun",
        c: float = 5.0,
        batch: int = 256,
        device: str | torch.device = "auto",
    ) -> Course:
        """Follow samples 0 to n - 1 of a seed, as `geomem.sample` draws them.

        Parameters
        ----------
        denoise : callable
            Any denoiser of images like the training set's.
        train : array (N, C, H, W) or DistinctImages
            The training set that copies would be of, data units.
        n, batch : int
            Samples, and how many of them are followed at once, >= 1.
        sigmas, seed, solver, device
            As in `geomem.sample`.
        c : float
            Shell parameter of Lemma 4.5, > 0.

        Raises
        ------
        ValueError
            As in `geomem.sample` and `geomem.neighbours`.
        """
        distinct = train if isinstance(train, DistinctImages) else DistinctImages(train, device)
        images = torch.as_tensor(distinct.images)
        shape, points = tuple(images.shape[1:]), images.flatten(1).double().cpu().numpy()
        levels = check_sigmas(sampler.levels_of(denoise) if sigmas is None else sigmas)
        radii = shell_radii(points.shape[1], c)
        numbers, parts = range(check_count("n", n)), []
        for i in range(0, n, check_count("batch", batch)):
            found, inside = [], []
            for step in sampler.follow(
                denoise, shape, numbers[i : i + batch],
                seed=seed, sigmas=levels, solver=solver, device=device,
            ):  # fmt: skip
                found.append(near(step.denoised, distinct))
                inside.append(_in_a_shell(step, points, radii))
            ratio, nearest = [at.ratio for at in found], [at.index for at in found]
            way = np.array(ratio).T, np.array(nearest).T, np.array(inside).T[:, :-1]
            parts.append((*way, step.x.float().cpu().numpy()))
        return cls(levels, *(np.concatenate(part) for part in zip(*parts, strict=True)))

    @property
    def below(self) -> Bools:
        """(n, S + 1) whether the answer passes the ratio test at one third."""
        return self.ratio < THIRD

    @property
    def memorized(self) -> Bools:
        """(n,) whether the sample is a copy."""
        return self.below[:, -1]

    @property
    def fraction(self) -> Fraction:
        """The share of the samples that are copies."""
        return fraction_below(self.ratio[:, -1])

    @property
    def lost(self) -> str:
        """How many of the samples that ever pass are not copies in the end, as text."""
        ever = self.below.any(1)
        return f"{(ever & ~self.memorized).sum()} of {ever.sum()}"

    def passing_at(self, sigma: float) -> Fraction:
        """The share of the samples whose answer passes at the level nearest to this one."""
        at = int(np.abs(np.log(self.sigma / sigma)).argmin())
        return fraction_below(self.ratio[:, at])

    @property
    def passing(self) -> Curve:
        """The share of the samples whose answer passes now, level by level."""
        return shares(self.sigma, {"": self.below})[""]

    @property
    def quartiles(self) -> Floats:
        """(3, S) lower quartile, median and upper quartile of the ratio at each level."""
        found: Floats = np.quantile(self.ratio, [0.25, 0.5, 0.75], axis=0)[:, :-1]
        return found

    @property
    def image_settled(self) -> Bools:
        """(n, S + 1) whether the nearest training image is that of the sample, for good."""
        return _for_good(self.nearest == self.nearest[:, -1:])

    @property
    def copy_settled(self) -> Bools:
        """(n, S + 1) whether the ratio test is passed for good."""
        return _for_good(self.below)

    @property
    def image_at(self) -> Floats:
        """(n,) the level from which on the nearest image is settled; 0: in the sample only."""
        return np.append(self.sigma, 0.0)[self.image_settled.argmax(1)]

    @property
    def copy_at(self) -> Floats:
        """(n,) the level from which on a copy is one, 0 likewise; NaN where there is no copy."""
        at = np.append(self.sigma, 0.0)[self.copy_settled.argmax(1)]
        return np.where(self.memorized, at, np.nan)

    @property
    def no_copy_at(self) -> Floats:
        """(n,) the level before that, at which it was none yet, inf likewise before the first."""
        before = np.append(np.inf, self.sigma)[self.copy_settled.argmax(1)]
        return np.where(self.memorized, before, np.nan)

    def plot(self, ax: Any, lower: Any, label: str, color: str, line: str) -> None:
        """Draw into two matplotlib axes: the share that passes now, and the ratio's quartiles."""
        self.passing.plot(ax, label, color=color, ls=line)
        low, median, high = self.quartiles
        lower.plot(self.sigma, median, color=color, ls=line)
        lower.fill_between(self.sigma, low, high, color=color, alpha=0.25, lw=0)

    def table(self, name: str) -> dict[str, Floats]:
        """What `plot` draws, level by level."""
        headings = ("lower quartile", "median", "upper quartile")
        return self.passing.table(f"{name}, passing now", "fraction") | {
            f"{name}, {heading} [ratio]": values
            for heading, values in zip(headings, self.quartiles, strict=True)
        }


def shares(sigma: Floats, groups: Mapping[str, Bools]) -> dict[str, Curve]:
    """Of each group of samples: the share for which something is so, level by level.

    Parameters
    ----------
    sigma : array (S,)
        Noise levels, data units.
    groups : mapping of a name to an array (k, S) or (k, S + 1)
        Whether it is so, of k samples; what is said of the samples themselves is left out, and
        so is a group without samples.

    Returns
    -------
    dict of a name to a Curve
        In [0, 1], with 95% intervals over the samples.
    """
    return {
        name: Curve.from_queries(sigma, rows[:, : len(sigma)].astype(np.float64), indicator=True)
        for name, rows in groups.items()
        if len(rows)
    }


def settled_shares(few: Course, many: Course) -> dict[str, Curve]:
    """When the nearest image and the copy are settled, for the copies of one course and others.

    Parameters
    ----------
    few, many : Course
        Of a model that copies the training set, and of one that does not.
    """
    groups = {
        "image, memorized": few.image_settled[few.memorized],
        "copy, memorized": few.copy_settled[few.memorized],
        "image, not memorized": few.image_settled[~few.memorized],
        "image, large model": many.image_settled,
    }
    return shares(few.sigma, groups)


def shell_shares(few: Course, many: Course) -> dict[str, Curve]:
    """The shares of the states inside a shell, on the way to a copy and elsewhere.

    Parameters
    ----------
    few, many : Course
        As in `settled_shares`.
    """
    groups = {
        "small, memorized": few.inside[few.memorized],
        "small, not memorized": few.inside[~few.memorized],
        "large": many.inside,
    }
    return shares(few.sigma, groups)


def share(part: Bools, whole: Bools) -> Fraction | None:
    """How many of the samples in ``whole`` are in ``part``, (n,) each; None of no samples."""
    return Fraction.of(int((part & whole).sum()), int(whole.sum())) if whole.any() else None


class Within(NamedTuple):
    """A share that is known up to what lies on an edge; None of nothing."""

    surely: Fraction | None
    at_most: Fraction | None

    def above(self, level: float) -> Answer:
        """Whether it is above a level, however what lies on an edge is counted."""
        if self.surely is None or self.at_most is None:
            return None
        return decided(above(self.surely, level), above(self.at_most, level) is False)


def against(low: Floats, high: Floats, window: Window) -> dict[str, Within]:
    """The shares of moments that lie above, inside and below a window.

    Of each is known that it lies between two levels, (n,) each, ``low <= sigma < high``: where an
    end of the window is between these, it may lie on either side. NaN do not count.

    >>> found = against(np.array([2.0, 1.2, 0.5]), np.array([3.0, 1.8, 1.2]), Window(1.0, 2.0))
    >>> {where: tuple(share.count for share in both) for where, both in found.items()}
    {'above': (1, 1), 'inside': (1, 2), 'below': (0, 1)}
    """
    places = {
        "above": (low >= window.high, high > window.high),
        "inside": (
            (low >= window.low) & (high <= window.high),
            (low < window.high) & (high > window.low),
        ),
        "below": (high <= window.low, low < window.low),
    }
    known = np.isfinite(low)
    return {name: Within(*(share(part, known) for part in two)) for name, two in places.items()}


def quarters(at: Floats) -> tuple[float, float, float]:
    """By which of (n,) levels, as a sampler meets them, a quarter, half, three quarters are done.

    Each is one of the levels; NaN do not count, and of none all three are NaN.

    >>> quarters(np.array([4.0, 3.0, 2.0, 1.0]))
    (4.0, 3.0, 2.0)
    """
    known = at[np.isfinite(at)]
    if not len(known):
        return (np.nan, np.nan, np.nan)
    early, median, late = -np.quantile(-known, [0.25, 0.5, 0.75], method="inverted_cdf")
    return float(early), float(median), float(late)


@dataclass(frozen=True)
class Settled:
    """When it is settled that samples become copies, and where that is against a zone.

    Attributes
    ----------
    image, copy : tuples of 3 floats
        The levels by which a quarter, half and three quarters of the copies have settled, as
        `quarters`: from which on the nearest training image is the final one, and from which on
        it is a copy.
    copies : dict of "above", "inside", "below" to a Within
        Where copies are settled, against the zone, as shares of them. It is between the level at
        which one first is a copy for good and the one before; so may be an end of the zone.
    earlier, named : Fraction or None
        For how many copies the image is settled at a higher level than the copy, and (at least)
        above the zone; None without copies.
    edge : float
        The level of the sampler nearest to the zone's lower end, data units.
    already, kept : Fraction or None
        Of the copies those that pass the test there, and of those that pass there the copies.
    """

    image: tuple[float, float, float]
    copy: tuple[float, float, float]
    copies: dict[str, Within]
    earlier: Fraction | None
    named: Fraction | None
    edge: float
    already: Fraction | None
    kept: Fraction | None

    @classmethod
    def of(cls, course: Course, zone: Window) -> Settled:
        copy = course.memorized
        edge = int(np.abs(np.log(course.sigma / zone.low)).argmin())
        return cls(
            image=quarters(course.image_at[copy]),
            copy=quarters(course.copy_at),
            copies=against(course.copy_at, course.no_copy_at, zone),
            earlier=share(course.image_at > course.copy_at, copy),
            named=share(course.image_at >= zone.high, copy),
            edge=float(course.sigma[edge]),
            already=share(course.below[:, edge], copy),
            kept=share(copy, course.below[:, edge]),
        )

    @property
    def in_words(self) -> dict[str, str]:
        """Everything as text: image_early, ..., copy_late, surely_above, ..., at_most_below, ..."""
        levels = {
            f"{what}_{when}": f"{at:.2g}" if np.isfinite(at) else "none"
            for what, three in (("image", self.image), ("copy", self.copy))
            for when, at in zip(("early", "median", "late"), three, strict=True)
        }
        parts = {
            f"{how}_{where}": part
            for where, both in self.copies.items()
            for how, part in both._asdict().items()
        }
        parts |= {name: getattr(self, name) for name in ("earlier", "named", "already", "kept")}
        texts = {name: str(part or "none") for name, part in parts.items()}
        return levels | texts | {"sigma_edge": f"{self.edge:.2g}"}


class Moment(NamedTuple):
    """Both measures of memorization at one moment of a training."""

    step: int
    copies: Fraction  # among generated samples
    peak: Estimate  # the highest rate on noisy held-out images


def over_training(
    trained: Trained,
    parts: Sequence[float],
    train: DistinctImages,
    heldout: Array,
    n: int,
    rate_sigmas: Floats,
    *,
    draws: int = 1,
    seed: int = 0,
    sigmas: Floats | None = None,
    solver: str = "heun",
    device: str | torch.device = "auto",
) -> list[Moment]:
    """Both measures of memorization at snapshots of a training.

    Parameters
    ----------
    trained : Trained
        A finished model of the store.
    parts : sequence of floats
        Which snapshots, as shares of the training in (0, 1].
    train, heldout, draws
        As in `geomem.memorization_rates`.
    n : int
        Samples, >= 1.
    rate_sigmas : array (S,)
        Noise levels of the rate on held-out images, data units.
    seed, sigmas, solver
        As in `geomem.sample`; the seed is that of the held-out images' noise, too.

    Raises
    ------
    ValueError
        For a snapshot that the training did not keep, and as in the functions named.
    """
    found = []
    for part in parts:
        denoise = trained.at(part)
        shape = tuple(train.images.shape[1:])
        images = sampler.sample(denoise, shape, n, seed=seed, sigmas=sigmas, solver=solver)
        rate = memorization_rates(
            denoise, heldout, train, rate_sigmas, draws=draws, seed=seed, device=device
        )
        peak = rate.estimate(int(rate.mean.argmax()))
        step = trained.experiment.train.step_of(part)
        found.append(Moment(step, memorized_fraction(images, train), peak))
    return found


@dataclass(frozen=True)
class Strip:
    """Two samples of a course in pictures, at some of its levels.

    Attributes
    ----------
    sigma : array (k,)
        The levels, data units, descending; 0 is the sample itself.
    rows : dict of a title to an array (k, C, H, W)
        Of each sample its state, the denoiser's answer and the training image nearest to that,
        data units.
    passed : list of an array (k,) or None
        For each row: whether the answer passes the ratio test; None for what is no answer.
    """

    sigma: Floats
    rows: dict[str, Floats]
    passed: list[Bools | None]

    @property
    def states(self) -> list[str]:
        """The titles of the rows with states."""
        return [title for title in self.rows if title.endswith(": state")]

    @classmethod
    def of(
        cls,
        course: Course,
        denoise: Denoiser,
        train: Array,
        wanted: Array,
        *,
        seed: int = 0,
        solver: str = "heun",
        device: str | torch.device = "auto",
    ) -> Strip:
        """The samples that end with the smallest and with the largest ratio, drawn again.

        Parameters
        ----------
        course : Course
            Of these samples, with equal ``denoise``, ``train``, ``seed`` and ``solver``.
        train : array (N, C, H, W)
            The training set, duplicates included, data units.
        wanted : array (k - 1,)
            Noise levels, data units, descending; the nearest ones of the course are shown.
        """
        images, ends = np.asarray(train), course.ratio[:, -1]
        which = [int(ends.argmin()), int(ends.argmax())]
        grid = np.append(course.sigma, 0.0)
        at = [*np.abs(np.log(course.sigma[:, None] / wanted)).argmin(0), len(course.sigma)]
        way: dict[str, Any] = dict(seed=seed, sigmas=course.sigma, solver=solver, device=device)
        path = [*sampler.follow(denoise, images.shape[1:], which, **way)]
        rows, passed = dict[str, Floats](), list[Bools | None]()
        for j, (title, i) in enumerate(
            zip(("smallest ratio", "largest ratio"), which, strict=True)
        ):
            rows[f"{title}: state"] = np.stack([path[s].x[j].cpu().numpy() for s in at])
            rows[f"{title}: answer"] = np.stack([path[s].denoised[j].cpu().numpy() for s in at])
            rows[f"{title}: nearest"] = images[course.nearest[i, at]]
            passed += [None, course.below[i, at], None]
        return cls(grid[at], rows, passed)


def _in_a_shell(step: sampler.Step, points: Floats, radii: tuple[float, float]) -> Bools:
    """(B,) whether each state is in the shell of a point; at sigma = 0 it means nothing."""
    distance = cdist(step.x.flatten(1).cpu().numpy(), points)
    low, high = (step.sigma * radius for radius in radii)
    found: Bools = ((distance >= low) & (distance <= high)).any(1)
    return found


def _for_good(now: Bools) -> Bools:
    """Whether it is so from here to the last column."""
    return np.logical_and.accumulate(now[:, ::-1], axis=1)[:, ::-1]
