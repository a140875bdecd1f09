"""A gap in the noise levels of training, for any training loop, and which one the images suggest.

A gap is a window and the share of its draws that is kept. `suggest_gap` finds one from images
alone: the copy window, with the error of a Gaussian in place of a network's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from geomem.denoisers.clocks import clock_of, option
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.schedules import Schedule
from geomem.errors import InputError
from geomem.geometry.arrays import Array, Floats, check_array, check_count
from geomem.geometry.distances import nearest
from geomem.geometry.gaussian import GaussianDenoiser
from geomem.geometry.intervals import Estimate, percentiles
from geomem.geometry.regimes import Geometry, measure_regimes
from geomem.geometry.window import Window
from geomem.memorization.copy_range import CopyRange, copy_edge
from geomem.memorization.distinct import DistinctImages
from geomem.typed import check_ranges

FOLDS = 5  # of the training images, where there are no others
FEWEST = 10  # training images, of which neighbours say anything
NEIGHBOURS = 11  # of which one is in a random half, but once in 2,048
ROUNDS = 1000  # of draws, after which one that stays in the gap never leaves it


@dataclass(frozen=True)
class Gap:
    """Noise levels that training leaves out, or draws less often.

    For a training loop of your own: weights of timesteps, for ``torch.multinomial``; times of a
    flow; levels of EDM's law; any draw of yours, drawn anew. The density inside becomes ``keep``
    times what it was, relative to that outside; by a `NoiseLaw` the probability of the window does.

    Parameters
    ----------
    window : Window
        The noise levels low <= sigma < high, data units.
    keep : float
        Share of the draws there that is kept, in [0, 1].

    See Also
    --------
    suggest_gap : Gives one, from images alone.

    References
    ----------
    Section 5 of the paper, which keeps none; keeping some is ours; see :doc:`/book/gap_training`.

    Examples
    --------
    >>> import torch
    >>> from geomem import Gap
    >>> from geomem.geometry.window import Window
    >>> gap = Gap(Window(0.05, 0.8), keep=0.1)
    >>> weights = gap.timestep_weights("linear")
    >>> int((weights < 1).sum())
    207
    >>> t = torch.multinomial(weights, 64, replacement=True)
    >>> print(gap.flow_times(torch.tensor([0.25, 0.5, 0.9])))
    tensor([0.1607, 0.3214, 0.7857])
    """

    window: Window
    keep: float = 0.0

    def __post_init__(self) -> None:
        check_ranges("gap", self, {"keep": "[0, 1]"})

    @property
    def ends(self) -> tuple[Estimate, Estimate]:
        """The ends of the window, data units, with intervals where they were measured."""
        return Estimate(self.window.low), Estimate(self.window.high)

    @property
    def settings(self) -> dict[str, float]:
        """What an experiment with it changes, as an `Experiment` takes it."""
        ends = {"gap_low": self.window.low, "gap_high": self.window.high, "gap_keep": self.keep}
        return {f"train.noise.{name}": value for name, value in ends.items()}

    def mass(self, law: NoiseLaw) -> float:
        """The share of a law's draws that falls into it, in [0, 1]."""
        return float(law.cdf(self.window.high) - law.cdf(self.window.low))

    def weights(self, sigmas: ArrayLike | torch.Tensor) -> Floats:
        """The weight of each noise level: ``keep`` inside, 1 outside.

        Parameters
        ----------
        sigmas : array (S,)
            Noise levels, data units, >= 0; inf is one.

        Returns
        -------
        array (S,)
            float64, in [0, 1].

        Raises
        ------
        ValueError
            If a level is negative or NaN.
        """
        given = sigmas if isinstance(sigmas, torch.Tensor) else np.asarray(sigmas, np.float64)
        levels = torch.as_tensor(given).detach().double().cpu()
        if not (levels >= 0).all():
            raise InputError("sigmas: every noise level must be a number >= 0.")
        return np.where(self.window.contains(levels), self.keep, 1.0)

    def timestep_weights(self, scheduler: Any) -> torch.Tensor:
        """The weight of each timestep, for ``torch.multinomial(weights, B, replacement=True)``.

        Parameters
        ----------
        scheduler : object
            A scheduler of diffusers or a diffusion of guided-diffusion; the name of a schedule of
            `Schedule.ddpm`, or its alphas_cumprod (T,); or a `Schedule` of timesteps.

        Returns
        -------
        tensor (T,)
            float32, in [0, 1], in the order of the timesteps 0 to T - 1; of a scheduler for flow
            matching in the order of its ``timesteps``.

        Raises
        ------
        ValueError
            If it has no timesteps, or the gap leaves none.
        """
        weights = self.weights(_levels(scheduler))
        if not weights.any():
            raise InputError(f"gap: it leaves no timestep, all have sigma in {self.window}.")
        return torch.from_numpy(weights).float()

    def flow_times(self, u: torch.Tensor, data_at: int = 1) -> torch.Tensor:
        """Times of a flow along straight lines, uniform but for the gap.

        Parameters
        ----------
        u : tensor (B,)
            Uniform in [0, 1], ``torch.rand(B)``; the times are their quantiles.
        data_at : int
            Where the images are, at t = 1 or at t = 0, as of `Schedule.flow`.

        Returns
        -------
        tensor (B,)
            In [0, 1], on the device and of the dtype of u.

        Raises
        ------
        ValueError
            If ``data_at`` is neither 0 nor 1, or the gap leaves no time.
        """
        high, low = Schedule.flow(1).forward(np.array([self.window.low, self.window.high])).tolist()
        if Schedule.flow(data_at).name == Schedule.flow(0).name:
            low, high = 1 - high, 1 - low
        kept = self.keep * (high - low)
        whole = 1 - (high - low) + kept
        if whole <= 0:
            raise InputError("gap: it leaves no time, as it holds every noise level.")
        v = u * whole
        inside = low + (v - low) / (self.keep or 1.0)
        beyond = v + (high - low) - kept
        return torch.where(v < low, v, torch.where(v < low + kept, inside, beyond))

    def redraw(self, draw: Callable[[int], torch.Tensor], n: int) -> torch.Tensor:
        """Noise levels of any law: those inside are kept with probability ``keep``, or drawn anew.

        Parameters
        ----------
        draw : callable
            From a number n to a tensor (n,) of noise levels, data units.
        n : int
            How many are wanted.

        Returns
        -------
        tensor (n,)
            Noise levels, data units.

        Raises
        ------
        ValueError
            If what is drawn never leaves the gap.
        """
        sigmas, todo = draw(n).clone(), torch.arange(n)
        for _ in range(ROUNDS):
            keep = torch.from_numpy(self.weights(sigmas))[todo]
            todo = todo[torch.rand(len(todo), dtype=torch.float64) >= keep]
            if not len(todo):
                return sigmas
            sigmas[todo.to(sigmas.device)] = draw(len(todo))
        raise InputError(f"gap: {ROUNDS:,} draws in a row have sigma in {self.window}.")

    def noise_law(self, mean: float | None = -1.2, std: float = 1.2) -> NoiseLaw:
        """EDM's log-normal law with the gap; ``gap.noise_law().quantile(u)`` draws from it.

        Parameters
        ----------
        mean, std : float
            Of ln sigma, as of `NoiseLaw`; those of EDM.

        Returns
        -------
        NoiseLaw
            The mass of its gap is ``keep`` times what the log-normal gives it.

        Raises
        ------
        ValueError
            As `NoiseLaw`.
        """
        return NoiseLaw(mean, std, self.window.low, self.window.high, self.keep)

    def in_words(self, alphas_cumprod: str | ArrayLike | torch.Tensor = "linear") -> dict[str, str]:
        """Its ends, with intervals where they were measured, by the unit: "LOW to HIGH".

        Parameters
        ----------
        alphas_cumprod : str or array (T,)
            The timesteps, as of `Schedule.ddpm`; an end beyond the schedule is its first or last.

        Returns
        -------
        dict of str to str
            In noise levels, in timesteps, and in the time of a flow with its data at 1.
        """
        found = {"sigma": self.ends}
        for schedule in (Schedule.ddpm(alphas_cumprod), Schedule.flow()):
            known = [Estimate(*np.clip(end.numbers, *schedule.ends).tolist()) for end in self.ends]
            first, last = sorted(map(schedule.read, known), key=lambda end: end.value)
            found[f"{schedule.clock} of {schedule.name}"] = first, last
        texts = {
            unit: ["inf" if math.isinf(end.value) else str(end) for end in ends]
            for unit, ends in found.items()
        }
        return {unit: " to ".join(ends) for unit, ends in texts.items()}


@dataclass(frozen=True, kw_only=True)
class SuggestedGap(Gap):
    """A gap that images suggest, with intervals, and on what evidence.

    Parameters
    ----------
    window : Window
        The noise levels low <= sigma < high, data units, of three digits.
    keep : float
        Share of the draws there that is kept, in [0, 1].
    low, high : Estimate
        The ends, data units, with 95% intervals.
    zone : Window or None
        The danger zone, data units; None where the rule finds none.
    evidence : str
        On what the gap stands, in sentences.

    See Also
    --------
    suggest_gap : Gives one.

    References
    ----------
    Ours; see :doc:`/book/gap_training`.

    Examples
    --------
    >>> from geomem import SuggestedGap, load_dataset, suggest_gap
    >>> data = load_dataset("digits", n_train=64, n_heldout=100)
    >>> gap = suggest_gap(data.train, data.heldout)
    >>> isinstance(gap, SuggestedGap), gap.zone.low > gap.window.low
    (True, True)
    """

    low: Estimate
    high: Estimate
    zone: Window | None
    evidence: str

    @property
    def ends(self) -> tuple[Estimate, Estimate]:
        """The ends, data units, with 95% intervals."""
        return self.low, self.high


def suggest_gap(
    train: Array,
    heldout: Array | None = None,
    *,
    keep: float = 0.1,
    geometry: Geometry | None = None,
    resamples: int = 200,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> SuggestedGap:
    """The noise levels to train less at, from images alone: the copy window, without a network.

    It ends with the danger zone, and begins at half of the level where a copy can still be undone:
    where twice the denoising error is the square of a third of the typical distance between
    neighbours. The error is that of a Gaussian of the training images, shrunk as Ledoit and Wolf
    do, on images that it was not made of. A rule of thumb, not a theorem. Of near twins one counts.

    Parameters
    ----------
    train : array (N, ...)
        The training images, data units; at least 10 that are no near twins.
    heldout : array (Q, ...) or None
        Images that the training set does not hold. Without them the error is that of every fifth of
        the training images by the Gaussian of the others, and the zone is measured with every fifth
        image held out.
    keep : float
        Share of the draws inside that is kept, in [0, 1].
    geometry : Geometry or None
        What `measure_regimes` found of these images, near twins merged; None to measure it.
    resamples : int
        Resamples of the images, >= 1, for the interval of the lower end.
    seed : int
        Of the noise and the resampling.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    SuggestedGap
        A `Gap`, its ends with 95% intervals: of the lower one over held-out images and over
        training images as each other's neighbours, with the Gaussian as it is; of the upper one as
        `find_regimes` has it. What is missing, a zone or the level where a copy can be undone, and
        what then stands in its place, is said in its ``evidence``.

    Raises
    ------
    ValueError
        If there are too few images, or as `measure_regimes`.

    References
    ----------
    Ours; here Eq. :eq:`eq-copy-edge`; see :doc:`/book/gap_training`.

    Examples
    --------
    >>> from geomem import load_dataset, suggest_gap
    >>> data = load_dataset("digits", n_train=64, n_heldout=100)
    >>> gap = suggest_gap(data.train, data.heldout)
    >>> print(gap.window)
    [0.0408, 0.964)
    """
    distinct = DistinctImages(train, device, twins=True)
    first = np.sort(np.unique(distinct.group, return_index=True)[1])
    images, found = distinct.images[first], f"{len(first):,} training images"
    if len(first) < len(train):
        found += f" (of {len(train):,}, one of each group of repeats and near twins)"
    if len(images) < FEWEST:
        raise InputError(f"train: a gap needs at least {FEWEST} images, but {len(images)} differ.")
    near = nearest(images, images, min(NEIGHBOURS + 1, len(images)), device=device)
    distance, which = (torch.as_tensor(part)[:, 1:].cpu().numpy() for part in near)
    levels = np.median(distance[:, 0]) * np.geomspace(1e-4, 100, 121)
    if heldout is not None:
        pairs = [(images, heldout)]
        evidence = f"on {len(check_array('heldout', heldout)):,} held-out images"
    else:
        part = np.arange(len(images)) % FOLDS
        pairs = [(images[part != fold], images[part == fold]) for fold in range(FOLDS)]
        evidence = "on every fifth of them by the others, as there are no held-out images"
    gaussians = (GaussianDenoiser(own, shrinkage="ledoit-wolf", device=device) for own, _ in pairs)
    errors = [
        gaussian.error_on(others, levels).per_query
        for gaussian, (_, others) in zip(gaussians, pairs, strict=True)
    ]
    if geometry is None:
        own, others = pairs[0]
        geometry = measure_regimes(others, own, seed=seed, device=device)
        evidence += "" if heldout is not None else "; the zone is that of four fifths of them"
    rng = np.random.default_rng(seed)
    typical = _typical(distance, which, check_count("resamples", resamples), rng)
    edge = _edge(levels, np.concatenate(errors), np.median(distance[:, 0]), typical, rng)
    reach = CopyRange(geometry, edge)
    evidence = f"By the error of a shrunk Gaussian of {found} {evidence}. {reach.because}"
    low, high = reach.ends
    zone = reach.zone if geometry.regimes.medium else None
    return SuggestedGap(
        reach.window.rounded(3), keep, low=low, high=high, zone=zone, evidence=evidence
    )


def _typical(
    distance: Floats, which: NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> Floats:
    """(R,) the median distance to the nearest of (N, k) neighbours, as chance may move it.

    By random halves of the images, whose medians vary as much as chance lets that of all (the
    delete-half jackknife), about their own middle: neighbours share distances, so that drawing
    these with repeats would give too narrow an interval.
    """
    n, found = len(distance), np.empty(resamples)
    for i in range(resamples):
        half = rng.permutation(n) < -(-n // 2)
        first = half[which[half]].argmax(1)  # of those in the half, too
        found[i] = np.median(np.take_along_axis(distance[half], first[:, None], 1))
    return found * (np.median(distance[:, 0]) / np.median(found))


def _edge(
    levels: Floats, errors: Floats, near: float, typical: Floats, rng: np.random.Generator
) -> Estimate:
    """`copy_edge` with its interval over resampled images (Q, S) and distances (R,)."""
    n = len(errors)
    means = rng.multinomial(n, np.full(n, 1 / n), len(typical)) @ errors / n
    value = float(copy_edge(levels, errors.mean(0), near))
    return percentiles(value, copy_edge(levels, means, typical))


def _levels(scheduler: Any) -> Floats:
    """The noise level (T,) of each timestep; inf without signal."""
    if option(getattr(scheduler, "config", {}), "invert_sigmas", False):
        raise InputError("scheduler: with invert_sigmas its timesteps turn round; use flow_times.")
    alpha_bar = getattr(scheduler, "alphas_cumprod", scheduler)
    clock = clock_of(scheduler, "epsilon") or clock_of(alpha_bar, "epsilon")
    endless = clock is not None and math.isinf(clock.schedule.ends[1])
    counts = clock is not None and clock.schedule.clock == "timestep"
    if clock is None or not counts or (endless and not hasattr(scheduler, "timesteps")):
        what = repr(clock.schedule.name) if clock else type(scheduler).__name__
        raise InputError(f"scheduler: {what} has no timesteps; use flow_times, weights or redraw.")
    schedule = clock.schedule
    with np.errstate(divide="ignore"):
        if endless:  # a flow's, numbered from noise to images
            return schedule.backward(torch.as_tensor(scheduler.timesteps).double().cpu().numpy())
        if isinstance(scheduler, str | Schedule):
            steps = np.arange(
                2.0**17
            )  # after the last one there is no level, or not one of its own
            levels = schedule.backward(steps)  # also those that a narrowed schedule leaves out
            if levels[0] > 0:
                return levels[np.isclose(schedule.forward(levels), steps)]
            raise InputError(
                f"scheduler: a Schedule of {schedule.name!r} does not number its steps."
            )
        kept = torch.as_tensor(alpha_bar).detach().double().cpu().numpy()
        return np.sqrt((1 - kept) / kept)
