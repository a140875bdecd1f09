"""Several remedies against memorization, over several trainings, judged and compared.

What they are tried on is a `Case`. A `Study` is what came of it: every pair of remedies is compared
in copies, in the error on held-out images and in the distances of samples, each with its interval
or in words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from geomem.diffusion.zoo import Trained
from geomem.geometry.intervals import (
    Answer,
    Change,
    Estimate,
    Fraction,
    below,
    columns,
    every,
    little,
    mean_over,
    over_trainings,
)
from geomem.memorization.case import Key
from geomem.memorization.remedies import (
    BETTER,
    UNTOLD,
    Bench,
    Judged,
    Ratio,
    all_told_apart,
    copies_changed,
    error_ratio,
)
from geomem.memorization.stopping import Stopping

Course = list[tuple[float, Estimate | Fraction, Estimate]]  # share done, copies, relative distance
MISSING = "not in this run"
ROUGH = "as rough as new images, times"
REFERENCES = {"held-out": "real held-out images", "training set": "the training set itself"}


def broken_down(models: Mapping[Key, Trained]) -> list[str]:
    """The trainings whose loss has not fallen (`Trained.broke_down`), in words."""
    return [f"{kind}, seed {seed}" for (kind, seed), model in models.items() if model.broke_down]


def broken_in_words(broken: Sequence[str]) -> str:
    """What `broken_down` found, as a sentence without its stop."""
    if broken:
        return f"Broken down here: {', '.join(broken)}"
    return "None of the trainings here broke down"


def judge_all(
    bench: Bench, models: Mapping[Key, Trained], stops: Mapping[int, Stopping], stop_share: float
) -> dict[Key, Judged]:
    """Every model at its end, and "plain" stopped, each by samples of its training's seed.

    Parameters
    ----------
    stops : seed -> when the held-out loss says stop: the kind "stopped".
    stop_share : of the training, after which the kind "fixed stop" stops.
    """
    judged = {key: bench.judge_trained(model, seed=key[1]) for key, model in models.items()}
    for seed, stop in stops.items():
        plain = models["plain", seed]
        judged["stopped", seed] = bench.judge_trained(plain, stop.best, seed=seed)
        judged["fixed stop", seed] = bench.judge_trained(plain, stop_share, seed=seed)
    return judged


def plane(ones: Iterable[Judged], distance: str) -> dict[str, list[float]]:
    """Copies and a Frechet distance, each with its interval, as columns of a table."""
    found = [*ones]
    return columns("memorized", "fraction", [one.copies for one in found]) | columns(
        "distance", "feature units squared", [one.distance[distance] for one in found]
    )


def course(
    bench: Bench, models: Mapping[str, Trained], shares: Sequence[float], study: Study
) -> dict[str, list[Judged]]:
    """Models over their training: kind -> what each was after the ``shares`` of its steps.

    Parameters
    ----------
    models : kind -> its first training; at the end, a share of 1, it is taken from the study.
    """
    return {
        kind: [
            bench.judge_trained(model, share) if share < 1 else study.first[kind]
            for share in shares
        ]
        for kind, model in models.items()
    }


def relative_course(
    shares: Sequence[float], course: Mapping[str, Sequence[Judged]], distance: str
) -> dict[str, Course]:
    """Copies over the training, and a distance over the last one of "plain".

    Parameters
    ----------
    shares : (K,) of the training done.
    course : kind -> what it was at each; "plain" among them.

    Returns
    -------
    kind -> its course; the interval of a distance is its own, that last one taken as known.
    """
    last = course["plain"][-1].distance[distance].value
    return {
        kind: [
            (share, one.copies, one.distance[distance] / last)
            for share, one in zip(shares, ones, strict=True)
        ]
        for kind, ones in course.items()
    }


@dataclass(frozen=True)
class Study:
    """What became of remedies, each trained once or more, on one `Bench`.

    Two kinds are compared over the trainings whose seeds both have. The interval is Student's
    over trainings, for copies and errors never narrower than samples or images alone allow; of one
    training it is over these, paired.

    Attributes
    ----------
    judged : (kind, seed of its training) -> what became of it.
    base : the kind whose training costs 100%.
    """

    judged: Mapping[Key, Judged]
    base: str = "plain"

    def __contains__(self, kind: str) -> bool:
        return any(kind == known for known, _ in self.judged)

    def of(self, kind: str, like: str | None = None) -> list[Judged]:
        """Each training of a kind, by ascending seed; of those that ``like`` has as well."""
        other = kind if like is None else like
        seeds = sorted(seed for known, seed in self.judged if known == kind)
        return [self.judged[kind, seed] for seed in seeds if (other, seed) in self.judged]

    @property
    def first(self) -> dict[str, Judged]:
        """The first training of each kind, in the order given."""
        return {kind: self.of(kind)[0] for kind, _ in self.judged}

    @property
    def distances(self) -> list[str]:
        """The names of the distances that were taken."""
        return [*next(iter(self.judged.values())).distance]

    def cost(self, kind: str) -> float:
        """Images that the first training of a kind has seen, over those of the base's."""
        return self.of(kind)[0].images / self.of(self.base)[0].images

    def share(self, kind: str) -> Change:
        """The share of copies over the trainings of a kind, in [0, 1], as `over_trainings` has it.

        Of one training the interval is over its samples.
        """
        each = [Change(*one.copies.numbers) for one in self.of(kind)]
        found = over_trainings(each) if len(each) > 1 else each[0]
        return Change(found.value, max(found.low, 0.0), found.high)

    def rough(self, kind: str) -> Estimate:
        """How rough the samples of a kind are, over new images: `mean_over` its trainings."""
        return mean_over([one.rough for one in self.of(kind)])

    def copies(self, kind: str, other: str) -> Change | None:
        """How many more samples are copies with ``kind`` than with ``other``, as a share of all.

        None where no seed has both.
        """
        ones, others = self.of(kind, other), self.of(other, kind)
        return copies_changed(ones, others) if ones else None

    def fewer(self, kind: str, other: str = "plain", by: float = 0.0) -> Answer:
        """Whether `copies` is below ``by``, by its interval; unknown where no seed has both."""
        change = self.copies(kind, other)
        return None if change is None else below(change, by)

    def little(self, kind: str, share: float, other: str = "plain") -> Answer:
        """Whether `copies` is smaller than a share, either way; as `fewer`.

        Where the other makes no copies, nothing is known.
        """
        change = self.copies(kind, other)
        some = any(one.passed.any() for one in self.of(other, kind))
        return little(change, share) if change is not None and some else None

    def error(self, kind: str, other: str) -> Ratio | None:
        """The held-out error of ``kind`` over that of ``other``; None where no seed has both."""
        ones, others = self.of(kind, other), self.of(other, kind)
        return error_ratio([x.error for x in ones], [x.error for x in others]) if ones else None

    def quality(self, kind: str, other: str) -> dict[str, str]:
        """By each distance: whether ``kind`` is better than ``other``, worse, or not told apart.

        Empty where no seed has both.
        """
        ones, others = self.of(kind, other), self.of(other, kind)
        return all_told_apart(ones, others) if ones else {}

    def errors(self, kinds: Iterable[str], other: str) -> dict[str, Ratio]:
        """`error` of each of the kinds against another one, where there is one."""
        found = {kind: self.error(kind, other) for kind in kinds}
        return {kind: ratio for kind, ratio in found.items() if ratio is not None}

    def nearer(self, kind: str, other: str = "plain") -> Answer:
        """Whether every distance shows the samples of ``kind`` to be better than the other's.

        Not where one shows them to be worse, unknown where one tells nothing.
        """
        return every(BETTER[word] for word in self.quality(kind, other).values() or [UNTOLD])

    def costs(self, kind: str, distance: str, other: str = "plain") -> Answer:
        """Whether a distance shows them to be worse."""
        return BETTER[self.quality(other, kind).get(distance, UNTOLD)]

    def front(self, distance: str, kinds: Iterable[str] | None = None) -> list[str]:
        """The kinds that no other beats in both, copies and a distance, by ascending copies.

        By the values of the first trainings; of equal ones the first is taken.

        Parameters
        ----------
        distance : the name of one of `distances`.
        kinds : which compete; default all.
        """
        first = self.first
        found = {kind: first[kind] for kind in kinds or first}
        plane = {k: (x.copies.value, x.distance[distance].value) for k, x in found.items()}
        order = sorted(plane, key=lambda kind: plane[kind])
        nearest = np.minimum.accumulate([np.inf, *(plane[kind][1] for kind in order)])
        return [k for k, best in zip(order, nearest[:-1], strict=True) if plane[k][1] < best]

    def long_table(self, ratios: Mapping[str, Ratio], other: str) -> dict[str, list[Any]]:
        """The copies of every training, and below them errors over that of a kind, as columns.

        Parameters
        ----------
        ratios : kind -> `error` against ``other``.
        """
        rows: list[tuple[Any, ...]] = [
            ("memorized", kind, seed, math.nan, *one.copies.numbers, one.images)
            for (kind, seed), one in self.judged.items()
        ]
        for kind, ratio in ratios.items():
            levels = zip(ratio.sigma, ratio.mean, ratio.low, ratio.high, strict=True)
            what = f"held-out error over the {other} model's"
            rows += [(what, kind, "all", *numbers, math.nan) for numbers in levels]
        headings = ["quantity [name]", "model [name]", "training seed [index]"]
        headings += ["sigma [data units]", "value [fraction or ratio]", "low [95% interval]"]
        headings += ["high [95% interval]", "images seen [count]"]
        return dict(zip(headings, map(list, zip(*rows, strict=True)), strict=True))

    def table(
        self,
        names: Mapping[str, str],
        references: Mapping[str, Mapping[str, Estimate]] | None = None,
    ) -> dict[str, list[Any]]:
        """Copies of each training, distances and cost of the first, as columns.

        Parameters
        ----------
        names : kind -> what the table calls it.
        references : as `Bench.references` gives them: lines below.
        """
        below = {REFERENCES[name]: found for name, found in (references or {}).items()}
        first, blank = self.first, [""] * len(below)
        n = len(first[self.base].passed)
        copies = [", ".join(f"{x.copies.count:,}" for x in self.of(kind)) for kind in names]
        return {
            "": [*names.values(), *below],
            f"copies, of {n:,} each": [*copies, *blank],
            **{
                name: [
                    *(first[kind].distance[name] for kind in names),
                    *(found[name] for found in below.values()),
                ]
                for name in self.distances
            },
            ROUGH: [*(first[kind].rough for kind in names), *blank],
            "images seen": [*(f"{100 * self.cost(kind):.3g}%" for kind in names), *blank],
        }

    def overview(
        self, names: Mapping[str, str], sigmas: Sequence[float], distance: str
    ) -> dict[str, list[Any]]:
        """What each kind bought and cost, over its trainings, as columns.

        Means with 95% intervals over trainings, samples and images, as `mean_over` has them, of
        the copies as in `share`.

        Parameters
        ----------
        names : kind -> what the table calls it.
        sigmas : noise levels of the held-out error, data units; the nearest ones measured are
            taken.
        distance : the name of one of `distances`.
        """
        grid = next(iter(self.judged.values())).error.sigma
        levels = [int(np.abs(np.log(grid / sigma)).argmin()) for sigma in sigmas]
        every = [self.of(kind) for kind in names]
        errors = {
            f"error at {grid[i]:.2g}": [
                mean_over([x.error.estimate(i) for x in each], shared=True) for each in every
            ]
            for i in levels
        }
        return {
            "": [*names.values()],
            "copies": [self.share(kind) for kind in names],
            **errors,
            "Frechet distance": [mean_over([x.distance[distance] for x in each]) for each in every],
            ROUGH: [self.rough(kind) for kind in names],
            "images seen": [f"{100 * self.cost(kind):.3g}%" for kind in names],
        }

    def comparisons(self, pairs: Sequence[tuple[str, str]]) -> dict[str, list[Any]]:
        """Pairs of kinds compared, as columns; those of which no seed has both are left out."""
        known = [pair for pair in pairs if self.of(*pair)]
        words = [self.quality(*pair) for pair in known]
        return {
            "": [f"{kind}, against {other}" for kind, other in known],
            "copies": [self.copies(*pair) for pair in known],
            **{name: [found[name] for found in words] for name in self.distances},
        }

    def framed(self, kinds: Iterable[str], n: int) -> dict[str, str]:
        """How many of the first n samples are memorized, as text for prose: KIND_framed."""
        first = self.first
        return {f"{k.replace(' ', '_')}_framed": str(int(first[k].passed[:n].sum())) for k in kinds}

    def in_words(self, kinds: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Its numbers as text, for prose; what is not there says so.

        Parameters
        ----------
        kinds : of each KIND_memorized, the copies, KIND_rough, and KIND_PRINCIPAL, say, the
            distances by their first words, all of the first training.
        pairs : of each KIND_OTHER_change, how copies change from the other to the kind.
        """
        first, found = self.first, dict[str, str]()
        for kind in kinds:
            measured = first[kind].measured | {"rough": first[kind].rough} if kind in self else {}
            for name in ("memorized", "rough", *self.distances):
                key = f"{kind}_{name.split()[0]}".replace(" ", "_")
                found[key] = str(measured.get(name, MISSING))
        for kind, other in pairs:
            key = f"{kind}_{other}_change".replace(" ", "_")
            found[key] = str(self.copies(kind, other) or MISSING)
        return found
