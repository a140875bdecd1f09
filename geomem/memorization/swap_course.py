"""What a swap undoes along a training: as much of its first copies as of the last (ours)?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geomem.diffusion.sampler import levels_of, sample_swapped
from geomem.diffusion.zoo import Trained
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.intervals import Answer, Fraction, columns, difference, little
from geomem.geometry.window import Window
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import neighbours
from geomem.memorization.swaps import NOWHERE, SwapTable, turns
from geomem.memorization.trajectories import Bools, share

FEW = 10  # copies: of fewer the interval of a share is too wide to be held against another


@dataclass(frozen=True)
class SwapCourse:
    """A small model at several steps of its training, swapped for the large one in some windows.

    All are sampled from the same initial noises.

    Attributes
    ----------
    passed : dict of a number of steps, ascending, to a dict of a name to an array (n,)
        Which samples are memorized: of "" the small model's own, else those with the large model's
        answers in the window of that name.
    """

    passed: dict[int, dict[str, Bools]]

    @classmethod
    def of(
        cls,
        small: Trained,
        large: Denoiser,
        windows: Mapping[str, Window],
        train: DistinctImages,
        shares: Sequence[float],
        end: SwapTable,
        *,
        seed: int = 0,
        solver: str = "heun",
    ) -> SwapCourse:
        """Sample the snapshots; what the whole training gives is there already.

        Parameters
        ----------
        small : Trained
            The small model, with its snapshots.
        large : callable
            The other model's denoiser.
        windows : mapping of a name to a Window
            Where it answers, data units. One that holds no level of the sampler is left out.
        train : DistinctImages
            What copies would be of.
        shares : sequence of K floats
            The snapshots, as shares of the training, in (0, 1).
        end : SwapTable
            That of the whole training, of the same windows, seed and solver.
        seed, solver
            As in `geomem.sample`.
        """
        levels = levels_of(small.denoise, large)
        there = ["", *(name for name in windows if ("small", name) in end.passed)]
        who = [turns(windows.get(name, NOWHERE), levels, "small") for name in there]
        n, shape = len(end.passed["small", ""]), tuple(train.images.shape[1:])
        how: dict[str, Any] = {"sigmas": levels, "seed": seed, "solver": solver}
        training, found = small.experiment.train, dict[int, dict[str, Bools]]()
        for part in sorted(shares):
            drawn = sample_swapped((small.at(part), large), who, shape, n, **how)
            each = [neighbours(pictures, train).memorized() for pictures in drawn]
            found[training.step_of(part)] = dict(zip(there, each, strict=True))
        return cls(found | {training.steps: {name: end.passed["small", name] for name in there}})

    @property
    def copies(self) -> list[Fraction]:
        """The share of samples that are copies without a swap, step by step."""
        return [Fraction.of(int(one[""].sum()), len(one[""])) for one in self.passed.values()]

    def undone(self, name: str) -> dict[int, Fraction]:
        """The share of the copies that a swap undoes, by the step; of steps that have copies."""
        found = {step: share(~one[name], one[""]) for step, one in self.passed.items()}
        return {step: part for step, part in found.items() if part is not None}

    def as_much(self, name: str, most: float = 0.1) -> Answer:
        """Whether as large a share is undone at the end as where there are first `FEW` copies.

        It is not where the share is surely another one, and is where it surely differs by less than
        ``most``. Both are of the same initial noises, but hardly of the same copies: taken for
        independent.
        """
        undone = self.undone(name)
        known, last = [part for part in undone.values() if part.n >= FEW], max(self.passed)
        if len(known) < 2 or undone.get(last) is not known[-1]:
            return None
        change = difference(known[-1], known[0])
        moved = not change.low <= 0 <= change.high
        return False if moved else little(change, most) or None

    @property
    def windows(self) -> list[str]:
        """The names of the windows."""
        return [name for name in next(iter(self.passed.values())) if name]

    def table(self, names: Mapping[str, str]) -> dict[str, list[Any]]:
        """Steps, copies, and the share undone in each window, as columns; names : of windows."""
        rows = [
            (names[name], step, part)
            for name in self.windows
            for step, part in self.undone(name).items()
        ]
        rows = [*(("copies", *row) for row in zip(self.passed, self.copies, strict=True)), *rows]
        what, steps, parts = zip(*rows, strict=True)
        counts = {
            "count [count]": [part.count for part in parts],
            "of [count]": [part.n for part in parts],
        }
        return {
            "copies, or undone in the window [name]": [*what],
            "steps [count]": [*steps],
            **counts,
            **columns("share", "fraction", parts),
        }

    @property
    def in_words(self) -> dict[str, str]:
        """Under WINDOW_course what is undone, step by step; "course" copies, "course_few" `FEW`."""
        said = {
            f"{name}_course": "; ".join(
                f"{part.percent} of {part.n} after {step:,} steps"
                for step, part in self.undone(name).items()
            )
            or "none, for there are none"
            for name in self.windows
        }
        copies = zip(self.passed, self.copies, strict=True)
        course = "; ".join(f"{x.percent} after {step:,}" for step, x in copies)
        return said | {"course": course, "course_few": str(FEW)}
