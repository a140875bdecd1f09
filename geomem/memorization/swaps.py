"""Denoiser swaps: at which noise levels is it decided that a sample is a copy (Table 1, Fig. 10)?

A swap is a denoiser like any other: inside a window of noise levels it asks a donor, outside
the base. Whatever samples, measures or draws a denoiser can do so with a swap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.diffusion.noise import karras_sigmas
from geomem.diffusion.sampler import levels_of, sample_swapped
from geomem.diffusion.zoo import Trained
from geomem.digitized.stated import FIGURE_10, SWAP_STEPS, TABLE_1
from geomem.geometry.arrays import Array, Floats, check_sigmas
from geomem.geometry.denoiser import Denoiser, answer
from geomem.geometry.intervals import (
    Answer,
    Change,
    Estimate,
    Fraction,
    below,
    columns,
    every,
    less,
    little,
    paired_difference,
)
from geomem.geometry.window import Window
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import neighbours
from geomem.memorization.remedies import Bench, Judged, Ratio, all_told_apart, error_ratio, in_words
from geomem.memorization.stopping import Stopping

Condition = tuple[str, str]  # a base, and the window in which the other model answers
NOWHERE = Window(0.0, 0.0)
BASES = ("small", "large")

# How the windows are called in pictures, in the order of the noise, each before its controls. The
# last two are no windows, but the small model stopped early.
TITLES: Mapping[str, str] = {
    "": "no swap",
    "large": "large",
    "medium": "medium",
    "medium_e6": "medium, E.6",
    "danger": "danger",
    "danger_above": "wide as danger,\nmore noise",
    "danger_below": "wide as danger,\nless noise",
    "small": "small",
    "zone": "our zone",
    "copy": "copy window",
    "copy_above": "wide as copy window,\nmore noise",
    "copy_below": "wide as copy window,\nless noise",
    "stop_loss": "stopped at\nthe lowest loss",
    "stop_share": "stopped at\na share of the steps",
}

# Each control with the window that it is as wide as, and the zone with the copy window around it.
COMPARED: Mapping[str, str] = {
    "danger_above": "danger",
    "danger_below": "danger",
    "copy_above": "copy",
    "copy_below": "copy",
    "zone": "copy",
}


def swap(base: Denoiser, donor: Denoiser, window: Window) -> Denoiser:
    """The denoiser that is ``donor`` inside the window and ``base`` outside.

    Parameters
    ----------
    base, donor : denoisers of the same images.
    window : where the donor answers; noise levels that differ within a batch are allowed.
    """

    def denoise(x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
        inside = window.contains(sigma)
        if not isinstance(inside, torch.Tensor):
            return answer(donor if inside else base, x, sigma)
        if inside.ndim == 0 or inside.all() or not inside.any():
            return answer(donor if inside.any() else base, x, sigma)
        assert isinstance(sigma, torch.Tensor)
        result = torch.empty_like(x)
        for rows, chosen in ((inside, donor), (~inside, base)):
            result[rows] = answer(chosen, x[rows], sigma[rows]).to(x.dtype)
        return result

    _bounded(denoise, base, donor, window)
    return denoise


def _bounded(denoise: Denoiser, base: Denoiser, donor: Denoiser, window: Window) -> None:
    """Give a swap the ends of the noise levels that both models know where they are asked.

    An end counts where a level beyond it would be asked of that model.
    """
    low, high = window.low, window.high
    # Whether the base, and the donor, are asked below a least level, and above a largest.
    beyond: dict[str, tuple[Callable[[float], bool], ...]] = {
        "sigma_min": (lambda end: low > 0 or end > high, lambda end: low < min(high, end)),
        "sigma_max": (lambda end: high < math.inf or end < low, lambda end: max(low, end) < high),
    }
    for name, strictest in (("sigma_min", max), ("sigma_max", min)):
        pairs = zip((base, donor), beyond[name], strict=True)
        known = [(getattr(model, name, None), asked) for model, asked in pairs]
        ends = [end for end, asked in known if end is not None and asked(end)]
        if ends:
            setattr(denoise, name, strictest(ends))


def turns(window: Window, sigmas: Floats, base: str) -> NDArray[np.int64]:
    """Who answers at each level of a descending grid (S,), for `sample_swapped`.

    By its index in `BASES`: the base, and inside the window the other one.
    """
    own = BASES.index(base)
    inside = np.isin(np.arange(len(sigmas)), window.steps(sigmas))
    return np.where(inside, 1 - own, own)


def windows_for(reach: CopyRange, sigmas: Floats) -> dict[str, Window]:
    """The paper's windows, the danger zone and the copy window of a training set, and controls.

    "danger" and "copy" have one as wide "_above" them and one "_below" (`Window.controls`).

    Parameters
    ----------
    reach : CopyRange
        What was measured of the training set.
    sigmas : array (S,)
        Levels of the sampler, data units, descending: the paper's 18, whose steps its windows are.
    """
    windows = {name: Window.of_steps(*ends, sigmas) for name, ends in SWAP_STEPS.items()}
    windows |= {"zone": reach.zone, "copy": reach.window}
    for name in ("danger", "copy"):
        controls = windows[name].controls(sigmas)
        windows |= {f"{name}_{side}": window for side, window in controls.items()}
    return windows


@dataclass
class SwapTable:
    """Two models, each with the other's answers in each of some windows (the paper's Table 1).

    A condition is a base, "small" or "large", and the name of the window where the other model
    answers, "" without a swap. All conditions start from the same initial noises.

    Attributes
    ----------
    windows : dict of a name to a Window
        Where the other model answers.
    pictures : dict of a condition to a tensor (n, C, H, W)
        Its samples, data units.
    passed : dict of a condition to an array (n,)
        Which of them are memorized.
    """

    windows: dict[str, Window]
    pictures: dict[Condition, Any]
    passed: dict[Condition, NDArray[np.bool_]]

    @classmethod
    def of(
        cls,
        small: Denoiser,
        large: Denoiser,
        windows: Mapping[str, Window],
        train: DistinctImages,
        n: int,
        *,
        sigmas: Floats | None = None,
        seed: int = 0,
        solver: str = "heun",
        device: str | torch.device = "auto",
    ) -> SwapTable:
        """Sample every condition, of windows that hold the same levels once, of none never.

        Parameters
        ----------
        small, large : callable
            Denoisers of the same images, the first one trained on ``train``.
        windows : mapping of a name to a Window
            Data units.
        train : DistinctImages
            What copies would be of.
        n : int
            Samples of each condition, >= 1.
        sigmas, seed, solver, device
            As in `geomem.sample`; "auto" is the device of ``small``.

        Raises
        ------
        ValueError
            As in `geomem.sample` and `geomem.neighbours`.
        """
        found = cls(dict(windows), {}, {})
        levels = levels_of(small, large) if sigmas is None else check_sigmas(sigmas)
        shape = tuple(train.images.shape[1:])
        who = {(base, ""): turns(NOWHERE, levels, base) for base in BASES}
        for base, (name, window) in product(BASES, windows.items()):
            if len(window.steps(levels)):  # else nothing can be swapped there
                who[base, name] = turns(window, levels, base)
        how: dict[str, Any] = {"seed": seed, "solver": solver, "device": device}
        drawn = sample_swapped((small, large), [*who.values()], shape, n, sigmas=levels, **how)
        for condition, pictures in zip(who, drawn, strict=True):
            found.add(condition, pictures, neighbours(pictures, train).memorized())
        return found

    def add(self, condition: Condition, pictures: Any, passed: NDArray[np.bool_]) -> None:
        """Another condition from the same initial noises, such as a stopped training."""
        self.pictures[condition], self.passed[condition] = pictures, passed

    def share(self, base: str, name: str = "") -> Fraction:
        """The share of memorized samples."""
        passed = self.passed[base, name]
        return Fraction.of(int(passed.sum()), len(passed))

    def change(self, base: str, name: str, since: str = "") -> Change:
        """How much it changes from one condition to another, paired by their noises."""
        return paired_difference(self.passed[base, since], self.passed[base, name])

    @property
    def beyond(self) -> dict[str, Change]:
        """Of each pair of `COMPARED` that has both: how many more copies the second leaves."""
        there = {name for _, name in self.passed}
        pairs = {name: of for name, of in COMPARED.items() if {name, of} <= there}
        return {name: self.change("small", of, since=name) for name, of in pairs.items()}

    def little(self, name: str, share: float) -> Answer:
        """Whether the other model's answers there change less than a share, of either base.

        Where the small model makes no copies, nothing is known.
        """
        if not self.passed["small", ""].any():
            return None
        return every(little(self.change(base, name), share) for base in ("small", "large"))

    def undoes_part(self, name: str) -> Answer:
        """Whether the large model undoes some copies there, but fewer than at medium noise."""
        all_of_it, only = self.change("small", "medium"), self.change("small", name)
        return every([less(all_of_it, only), below(only, 0)])

    @property
    def in_words(self) -> dict[str, str]:
        """Shares, changes and `beyond` as text: BASE_WINDOW, BASE_WINDOW_change, beyond_WINDOW.

        A dash where no level of the sampler lies in the window; "zone_swap" is a sentence.
        """
        names = {f"{base}_{name or 'none'}": (base, name) for base, name in self.passed}
        copies = {name: str(self.share(*condition)) for name, condition in names.items()}
        changes = {f"{name}_change": str(self.change(*key)) for name, key in names.items()}
        none = [f"{base}_{name}" for base, name in product(("small", "large"), self.windows)]
        none += [*(f"{name}_change" for name in none), *(f"beyond_{name}" for name in COMPARED)]
        said = dict.fromkeys(none, "–") | copies | changes
        said |= {f"beyond_{name}": str(by) for name, by in self.beyond.items()}
        if ("small", "zone") not in self.passed:
            return said | {"zone_swap": "No step lies there, so that nothing can be swapped."}
        small, large = said["small_zone_change"], said["large_zone_change"]
        there = f"Swapping there: {small} for the small base, {large} for the large one."
        return said | {"zone_swap": there}

    def counted(self, lines: Sequence[Condition], titles: Mapping[str, str], n: int) -> str:
        """How many of the first n samples of some conditions are memorized, as text."""
        return "; ".join(
            f"{self.passed[base, name][:n].sum()} in {base[0].upper()} "
            + " ".join(titles[name].split())
            for base, name in lines
        )

    def beside_paper(self, titles: Mapping[str, str]) -> dict[str, list[Any]]:
        """Of the first eight samples, how many are memorized here, and in the paper's Figure 10."""
        return {
            "base": [base for base, _ in FIGURE_10],
            "window of the other model": [titles[name] for _, name in FIGURE_10],
            "memorized of the first eight": [int(self.passed[key][:8].sum()) for key in FIGURE_10],
            "in the paper's picture": [*FIGURE_10.values()],
        }

    def table(self, titles: Mapping[str, str]) -> dict[str, list[Any]]:
        """Every condition: its window, its share, its change against no swap, and the paper's.

        Parameters
        ----------
        titles : mapping of a window's name to how it is called.
        """
        spans = [self.windows.get(name) for _, name in self.passed]
        copies = [self.share(*condition) for condition in self.passed]
        changes = [self.change(*condition) for condition in self.passed]
        return {
            "base [name]": [base for base, _ in self.passed],
            "window of the other model [name]": [
                " ".join(titles.get(name, name).split()) for _, name in self.passed
            ],
            "window, low [data units]": [span.low if span else math.nan for span in spans],
            "window, high [data units]": [span.high if span else math.nan for span in spans],
            "memorized [count]": [one.count for one in copies],
            "samples [count]": [one.n for one in copies],
            **columns("memorized", "fraction", copies),
            **columns("change", "fraction", changes),
            "paper, Table 1 [percent]": [TABLE_1.get(key, math.nan) for key in self.passed],
        }


@dataclass(frozen=True)
class StopOrSwap:
    """Swaps, and the same small model stopped early without one, judged alike (ours).

    Attributes
    ----------
    judged : dict of a name to a list of n Judged
        One of each training: "plain" as it is, the windows of swaps by their names, "stop_loss"
        stopped where the loss on held-out images is lowest, "stop_share" after a share of the
        steps; and "large", the other model, once.
    stops : list of n Stopping
        The held-out loss of each training.
    """

    judged: dict[str, list[Judged]]
    stops: list[Stopping]

    @classmethod
    def of(
        cls,
        bench: Bench,
        trainings: Sequence[Trained],
        large: Trained,
        windows: Mapping[str, Window],
        choosing: Array,
        part: float,
    ) -> StopOrSwap:
        """Judge everything, each training with initial noises of its own seed.

        Parameters
        ----------
        bench : Bench
            Where all are judged, the swaps at the levels of the paper's sampler.
        trainings : sequence of n Trained
            The small model, once a seed.
        large : Trained
            The other model; what its training took counts for a swap, too.
        windows : mapping of a name to a Window
            Where it answers, data units. One that holds no level of the sampler is left out.
        choosing : array (Q, C, H, W)
            Held-out images that choose when to stop, data units.
        part : float
            The share of the steps of "stop_share", a snapshot, in (0, 1).
        """
        stops = [Stopping.of(trained, choosing, seed=bench.seed) for trained in trainings]
        judged, shape = dict[str, list[Judged]](), tuple(bench.heldout.shape[1:])
        for trained, stop in zip(trainings, stops, strict=True):
            config, levels = trained.experiment.train, karras_sigmas()
            both = config.images + large.experiment.train.images
            models = trained.denoise, large.denoise
            there = {name: at for name, at in windows.items() if len(at.steps(levels))}
            who = [turns(at, levels, "small") for at in (NOWHERE, *there.values())]
            how: dict[str, Any] = {"seed": config.seed, "solver": bench.solver}
            drawn = sample_swapped(
                models, who, shape, bench.n, sigmas=levels, device=bench.device, **how
            )
            found = {"plain": bench.judge(models[0], config.images, pictures=drawn[0])}
            for (name, window), pictures in zip(there.items(), drawn[1:], strict=True):
                found[name] = bench.judge(swap(*models, window), both, pictures=pictures)
            for name, share in (("stop_loss", stop.best), ("stop_share", part)):
                images = config.step_of(share) * config.batch
                found[name] = bench.judge(trained.at(share), images, seed=config.seed)
            for name, one in found.items():
                judged.setdefault(name, []).append(one)
        judged["large"] = [bench.judge(large.denoise, large.experiment.train.images)]
        return cls(judged, stops)

    def add_to(self, table: SwapTable) -> None:
        """Put the first training, stopped, into a table of swaps from the same initial noises."""
        for name in ("stop_loss", "stop_share"):
            first = self.judged[name][0]
            table.add(("small", name), first.pictures, first.passed)

    def error_ratio(self, name: str, over: str = "large") -> Ratio:
        """How much larger the held-out error is than another's, as `remedies.error_ratio`."""
        one, other = ([judged.error for judged in self.judged[key]] for key in (name, over))
        return error_ratio(one, other * (len(one) // len(other)))

    @property
    def undone_by_stopping(self) -> Answer:
        """Whether less than a tenth of the copies is left at the lowest loss, in every training.

        Of a training without a copy nothing is known.
        """
        pairs = zip(self.judged["stop_loss"], self.judged["plain"], strict=True)
        return every(
            less(one.copies, Estimate(*whole.copies.numbers) / 10) if whole.copies.count else None
            for one, whole in pairs
        )

    @property
    def told_apart(self) -> dict[str, str]:
        """Samples of the stopped training against those of the swap at medium noise."""
        return all_told_apart(self.judged["stop_loss"], self.judged["medium"])

    @property
    def columns(self) -> dict[str, list[str]]:
        """The columns of a table, one row each: what it does, as `remedies.in_words` has it."""
        found = {name: in_words(each) for name, each in self.judged.items()}
        names = {"small model": list(found)}
        return names | {what: [one[what] for one in found.values()] for what in found["plain"]}

    @property
    def in_words(self) -> dict[str, str]:
        """All that prose says of it, as text.

        What each does, under NAME_copies and the like, and under NAME_seen how many images its
        training took, of what the plain one's did; and of the training that stops at the
        lowest loss: its steps, the levels where its error is surely lower and higher than that
        of the swap at medium noise, and its largest ratio of errors beside that of the plain one.
        """
        found = {name: in_words(each) for name, each in self.judged.items()}
        for name, each in self.judged.items():
            pairs = zip(each, self.judged["plain"], strict=False)  # of the large one there is one
            shares = [f"{100 * one.images / whole.images:.3g}%" for one, whole in pairs]
            found[name]["seen"] = ", ".join(shares if len({*shares}) > 1 else shares[:1])
        none = dict.fromkeys(found["plain"], "–")  # of a window in which nothing can be swapped
        found = {"zone": none, "copy": none} | found
        beside = self.error_ratio("stop_loss", over="medium")
        sure = {"lower": beside.high < 1, "higher": beside.low > 1}
        return {
            **{f"{name}_{what}": text for name in found for what, text in found[name].items()},
            "stop_steps": ", ".join(f"{stop.step:,}" for stop in self.stops),
            **{
                f"stop_{way}": ", ".join(f"{s:.2g}" for s in beside.sigma[at]) or "no level"
                for way, at in sure.items()
            },
            "stop_told": "; ".join(f"{kind}: {text}" for kind, text in self.told_apart.items()),
            "stop_most": f"{self.error_ratio('stop_loss').mean.max():.2g}",
            "plain_most": f"{self.error_ratio('plain').mean.max():.2g}",
        }
