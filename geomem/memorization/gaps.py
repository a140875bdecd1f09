"""Which gap? Windows of noise levels that training leaves out, tried one by one (section 5).

A gap is a window and the share of its draws that is kept. The paper's own gaps, tried on CelebA,
are moved to the danger zone of other images; the zone is cut into halves; a `Sweep` says what
became of all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geomem.diffusion.noise import NoiseLaw
from geomem.digitized import Digitized
from geomem.geometry.arrays import Floats
from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Answer, Change, Estimate, Fraction, above, below, every
from geomem.geometry.regimes import Geometry
from geomem.geometry.window import Window
from geomem.memorization.case import Case
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.gap import Gap
from geomem.memorization.quality import PrincipalComponents
from geomem.memorization.remedies import Bench
from geomem.memorization.stopping import Stopping
from geomem.memorization.study import MISSING, ROUGH, Course, Study, broken_down, judge_all

HALVES = ("low half", "high half")
COLUMNS = ("coverage", "max_weight")  # of the paper's curves, read off
EQUAL = "not known, as all gaps leave equally many"  # in place of a `Sweep.rank`
REPEATED = ("plain", "zone", *HALVES)  # what a sweep trains several times


def gaps_table(gaps: Mapping[str, Gap], law: NoiseLaw) -> dict[str, list[str]]:
    """Gaps as columns: their levels, how much of a law's draws they hold, and what is kept."""
    return {
        "gap": [*gaps],
        "noise levels": [gap.window.in_words for gap in gaps.values()],
        "of the plain model's draws": [f"{gap.mass(law):.0%}" for gap in gaps.values()],
        "of them kept": [f"{gap.keep:.0%}" for gap in gaps.values()],
    }


def zone_and_window(reach: CopyRange, low: float = 0.0, high: float = 0.0) -> tuple[Window, Window]:
    """The danger zone and the copy window that reaches below it, ends rounded to two digits.

    So the last bit of a sum does not make another model.

    Parameters
    ----------
    low, high : ends of the zone in place of those of our rule; 0: the rule's.
    """
    zone = Window(low or reach.zone.low, high or reach.zone.high)
    window = Window(min(reach.window.low, low or math.inf), high or reach.window.high)
    return zone.rounded(), window.rounded()


# The paper's gap on its 2,000 cars, `stated.CARS_GAP`, begins where coverage is 3% and ends
# where concentration is 86% (at its other ends both are 100%): measured by us on these images, as
# tests/test_gaps.py does again.
PAPER_COVERAGE, PAPER_WEIGHT = 0.03, 0.86
PAPER_BALANCES = (PAPER_COVERAGE - 1.0, 1.0 - PAPER_WEIGHT)


def balance(coverage: Curve, weight: Curve) -> Curve:
    """Coverage less concentration: from -1 at small noise to 1 at large, 0 where they cross."""
    return Curve.from_table(coverage.sigma, coverage.mean - weight.mean)


def balances(windows: Mapping[str, Window], curves: Digitized) -> dict[str, tuple[float, float]]:
    """The `balance` at both ends of windows of the paper, by its own two curves."""
    coverage, weight = (Curve.from_table(curves["sigma"], curves[k]) for k in COLUMNS)
    theirs = balance(coverage, weight)
    return {name: (theirs.between(w.low), theirs.between(w.high)) for name, w in windows.items()}


def carried_over(ends: tuple[float, float], geometry: Geometry) -> Window | None:
    """The window between two balances on other images: where a gap of the paper lies there.

    It begins and ends where as much more or less is covered than concentrated. By the levels of the
    curves, and not by the place in a zone: how wide a zone is, is a matter of the rule (ours).
    Ends are rounded to two digits; None where there is no such window.
    """
    ours = balance(geometry.coverage, geometry.weight)
    low, high = map(ours.passes, ends)
    return Window(low, high).rounded() if low < high else None


def carried_over_all(
    gaps: Mapping[str, tuple[float, float]], geometry: Geometry
) -> dict[str, Window]:
    """`carried_over` of several, by name, those that have a window there."""
    moved = {name: carried_over(ends, geometry) for name, ends in gaps.items()}
    return {name: window for name, window in moved.items() if window}


def in_words(study: Study, kind: str, window: Window) -> dict[str, str]:
    """A gap against early stopping, as text for prose: gap_window, gap_memorized, and so on.

    Parameters
    ----------
    kind : of the study; "plain" and "stopped" are others.
    window : the levels that it leaves out: inside it, and outside, errors are compared.
    """
    stopped, plain = study.error(kind, "stopped"), study.error(kind, "plain")
    assert stopped is not None and plain is not None
    inside = np.array([bool(window.contains(level)) for level in stopped.sigma])
    quality = study.quality("stopped", kind)
    return {
        "gap_window": window.in_words,
        "gap_memorized": str(study.of(kind)[0].copies),
        "gap_change": str(study.copies("stopped", kind)),
        "gap_rough": str(study.rough(kind)),
        "stopped_rough": str(study.rough("stopped")),
        "gap_error": stopped.in_words(inside),
        "gap_error_plain": plain.in_words(inside),
        "gap_error_outside": stopped.in_words(~inside),
        "stopped_quality": ", ".join(f"{word} by {name}" for name, word in quality.items()),
    }


def paper_course(table: Digitized, gap: str = "zone gap") -> dict[str, Course]:
    """The paper's Figure 4 by kind: ``digitized.load("fig4_gap_training")``.

    Parameters
    ----------
    gap : the kind of ours that its gap is set beside: "zone gap" or "paper gap".

    Returns
    -------
    kind -> its course over 40,000 steps; the distance is FID, over the last one of the baseline.
    """
    names = {"plain": "baseline", gap: "gap", "dummy": "dummy"}
    done, last = table["iterations_k"] / 40, table["fid_baseline"][-1]
    return {
        kind: [
            (float(share), Estimate(float(copies) / 100), Estimate(float(fid / last)))
            for share, copies, fid in zip(
                done, table[f"mem_{name}_pct"], table[f"fid_{name}"], strict=True
            )
        ]
        for kind, name in names.items()
    }


@dataclass(frozen=True)
class PaperGap:
    """A gap of the paper's Figure 5.

    Attributes
    ----------
    window : the levels left out, data units of CelebA; None: no gap.
    memorized : the share of samples memorized there, read off.
    steps : the first and last step of its DDPM.
    """

    window: Window | None
    memorized: Estimate
    steps: tuple[int, int]


def paper_gaps(table: Digitized) -> dict[str, PaperGap]:
    """The paper's gaps by name, "plain" for none: ``digitized.load("fig5_celeba_gaps")``."""
    found = {}
    for first, last, low, high, memorized in zip(*table.columns.values(), strict=True):
        name = f"paper's {low:.2g} to {high:.2g}" if high else "plain"
        window = Window(float(low), float(high)) if high else None
        share = Estimate(float(memorized) / 100)
        found[name] = PaperGap(window, share, (round(float(first)), round(float(last))))
    return found


def paper_windows(paper: Mapping[str, PaperGap], which: str) -> dict[str, Window]:
    """The windows of `paper_gaps`: all "nine", or a "few".

    Those are the widest, the narrowest, and that of the steps 100 to 200.
    """
    windows = {name: one.window for name, one in paper.items() if one.window}
    if which == "nine":
        return windows
    narrowest, *_, widest = by_width(windows)
    few = {widest, narrowest, *(name for name in windows if paper[name].steps == (100, 200))}
    return {name: window for name, window in windows.items() if name in few}


def by_width(windows: Mapping[str, Window]) -> list[str]:
    """The names of windows, from the narrowest in log sigma to the widest."""
    return sorted(windows, key=lambda name: windows[name].high / windows[name].low)


def halves(zone: Window) -> dict[str, Window]:
    """A zone in two, equally wide in log sigma, so that they differ in place alone.

    With ends of two digits, or of as many as leave them equally wide to a tenth.
    """
    middle = math.sqrt(zone.low * zone.high)
    for digits in range(2, 18):
        ends = [float(f"{end:.{digits}g}") for end in (zone.low, middle, zone.high)]
        low, high = (math.log(above / below) for below, above in pairwise(ends))
        if min(low, high) > 0 and abs(high - low) <= 0.1 * min(low, high):
            break
    return dict(zip(HALVES, (Window(*ends[:2]), Window(*ends[1:])), strict=True))


def gaps_to_try(
    zone: Window, copy_window: Window, others: Mapping[str, Window], *, keep: float = 0.1
) -> dict[str, Gap]:
    """The zone, its halves, the paper's gaps and the copy window, by name.

    Parameters
    ----------
    zone : the danger zone of the images, data units.
    copy_window : which is left out whole, and with ``keep`` of its draws kept.
    others : name -> window of the paper's, `carried_over`.

    Returns
    -------
    Gaps with ends of two digits, so that the last bit of a sum makes no other model; of more where
    the halves would not be equally wide.
    """
    parts = halves(zone)
    low, high = parts.values()
    gaps = {"zone": Gap(Window(low.low, high.high))}
    gaps |= {name: Gap(half) for name, half in parts.items()}
    gaps |= {name: Gap(window.rounded()) for name, window in others.items()}
    gaps["copy window"] = Gap(copy_window.rounded())
    return gaps | {f"copy window, {keep:.0%} kept": Gap(copy_window.rounded(), keep)}


def nested(windows: Mapping[str, Window]) -> list[tuple[str, str]]:
    """The pairs (outer, inner) of names of which one window lies inside the other, not equal."""
    return [
        (one, other)
        for one, other in permutations(windows, 2)
        if windows[one] != windows[other]
        and windows[one].low <= windows[other].low
        and windows[other].high <= windows[one].high
    ]


def depth_rank(floors: ArrayLike, shares: ArrayLike) -> float:
    """Spearman's correlation of the gaps' lower ends with the shares memorized, in [-1, 1].

    1: a gap that reaches further down always leaves fewer. NaN where all shares are equal.

    >>> depth_rank([0.1, 0.2, 0.4], [0.0, 0.3, 0.9])
    1.0
    """
    from scipy.stats import spearmanr  # as in `geomem.geometry.intervals.more_often`

    if np.ptp(np.asarray(shares)) == 0:
        return math.nan
    return float(spearmanr(floors, shares).statistic)


@dataclass(frozen=True)
class Sweep:
    """What became of every gap tried.

    Attributes
    ----------
    gaps : name -> gap; each is a kind of the study, and `HALVES` are among them.
    study : of the gaps, of "plain" and of whatever stands beside them.
    """

    gaps: Mapping[str, Gap]
    study: Study

    def change(self, name: str, other: str = "plain") -> Change:
        """How many more of the samples are copies than with another kind, as a share of all.

        Raises
        ------
        ValueError : no seed has both.
        """
        found = self.study.copies(name, other)
        if found is None:
            raise ValueError(f"sweep: no training of {name!r} has a seed of {other!r}.")
        return found

    @property
    def halves(self) -> Change:
        """How many more are memorized with the high-noise half left out than with the low."""
        return self.change("high half", "low half")

    @property
    def verdict(self) -> str:
        """What leaving out the low-noise half does, beside leaving out the other: a verb."""
        if self.halves.low <= 0 <= self.halves.high:
            return "is not to be told from"
        return f"leaves {'fewer' if self.halves.low > 0 else 'more'} copies than"

    @property
    def low_half_does_it(self) -> Answer:
        """Whether the low-noise half left out lowers memorization, and more than the other."""
        return every([above(self.halves, 0), below(self.change("low half"), 0)])

    def front(self, distance: str) -> list[str]:
        """The kinds but "large" that no other beats in both, copies and a distance."""
        kinds = [kind for kind in self.study.first if kind != "large"]
        return self.study.front(distance, kinds)

    @property
    def effective(self) -> list[str]:
        """The gaps whose change against plain is a decrease by its whole interval."""
        return [name for name in self.gaps if self.change(name).high < 0]

    def nested(self, names: list[str]) -> dict[tuple[str, str], Change]:
        """Of the gaps named, those around another against it: (outer, inner) -> `change`."""
        windows = {name: self.gaps[name].window for name in names if name in self.gaps}
        return {pair: self.change(*pair) for pair in nested(windows)}

    @property
    def rank(self) -> float:
        """`depth_rank` over the gaps of which nothing is kept."""
        whole = {name: gap for name, gap in self.gaps.items() if gap.keep == 0}
        first = self.study.first
        shares = [first[name].copies.value for name in whole]
        return depth_rank([gap.window.low for gap in whole.values()], shares)

    def marks(self, without: str = "large") -> list[tuple[str, Window | None, Fraction]]:
        """Of each kind but one: its name, its gap and the memorized share, first trainings."""
        windows = {name: gap.window for name, gap in self.gaps.items()}
        first = self.study.first
        return [(k, windows.get(k), x.copies) for k, x in first.items() if k != without]

    def table(self, distance: str, within: Window) -> dict[str, list[Any]]:
        """Every kind: copies, their change, quality, held-out error and cost, as columns.

        Parameters
        ----------
        distance : one of the study's distances, a Frechet distance.
        within : the levels over which the error is averaged, as a geometric mean of its ratio to
            that of the kind "stopped".
        """
        first = self.study.first
        sigma = first["plain"].error.sigma
        inside = np.array([bool(within.contains(level)) for level in sigma])
        base = first["stopped"].error.mean[inside]
        errors = [
            np.exp(np.log(one.error.mean[inside] / base).mean()) if inside.any() else math.nan
            for one in first.values()
        ]
        levels = [self.gaps[k].window.in_words if k in self.gaps else "none" for k in first]
        return {
            "gap": [*first],
            "noise levels": levels,
            "memorized": [one.copies for one in first.values()],
            "change": ["" if k in ("plain", "large") else self.change(k) for k in first],
            "Frechet distance": [one.distance[distance] for one in first.values()],
            ROUGH: [one.rough for one in first.values()],
            "error": [f"{Estimate(float(error)):.2f}" for error in errors],
            "images seen": [f"{100 * self.study.cost(kind):.3g}%" for kind in first],
        }

    @property
    def apart(self) -> dict[int, Change]:
        """Seed by seed, `halves` by the paired samples of that training alone."""
        pairs = {
            seed: {(half, seed): self.study.judged[half, seed] for half in HALVES}
            for kind, seed in self.study.judged
            if kind == "high half"
        }
        return {seed: Sweep(self.gaps, Study(pair)).halves for seed, pair in pairs.items()}

    def halves_table(self) -> dict[str, list[Any]]:
        """Plain, stopped and the two halves, training by training, as columns."""
        apart, judged = self.apart, self.study.judged
        columns = {
            "plain": "plain",
            "stopped": "plain, stopped early",
            "low half": "low half left out",
            "high half": "high half left out",
        }
        return {
            "seed": [*apart],
            **{
                heading: [judged[kind, seed].copies for seed in apart]
                for kind, heading in columns.items()
            },
            "high minus low": [*apart.values()],
        }


@dataclass(frozen=True)
class Swept(Sweep):
    """A sweep over the gaps of one `Case`, trained and judged.

    Attributes
    ----------
    case, reach : what they are tried on, and where its zone and copy window lie.
    stops : seed -> when the held-out loss says stop.
    bench, references : where all are judged, and what distances are read against.
    broken : the trainings that broke down, in words.
    """

    case: Case
    reach: CopyRange
    stops: Mapping[int, Stopping]
    bench: Bench
    references: Mapping[str, Mapping[str, Estimate]]
    broken: list[str]

    @classmethod
    def of(
        cls,
        case: Case,
        others: Mapping[str, tuple[float, float]],
        *,
        keep: float,
        trainings: int,
        stop_share: float,
        n: int,
        sigmas: Floats,
        solver: str = "heun",
        c: float = 5.0,
        level: float = 0.8,
    ) -> Swept:
        """Each gap of `gaps_to_try` trained once, those of `REPEATED` ``trainings`` times.

        Parameters
        ----------
        others : name -> `balances` of a gap of the paper, which is `carried_over`.
        keep : as in `gaps_to_try`.
        stop_share : of the training, after which a fixed stop stops.
        n, sigmas, solver : as of `Bench`; distances are those on principal components.
        c, level : as of `CopyRange.of`.
        """
        _, large = case.trained()
        reach = case.copy_range(large.denoise, c=c, level=level)
        theirs = carried_over_all(others, reach.geometry)
        gaps = gaps_to_try(reach.zone, reach.window, theirs, keep=keep)
        settings = {"plain": dict[str, float]()} | {k: gap.settings for k, gap in gaps.items()}
        first, *rest = range(case.small.train.seed, case.small.train.seed + trainings)
        again = [(kind, seed) for seed in rest for kind in REPEATED]
        models = case.train(settings, [*((kind, first) for kind in settings), *again])
        stops = {
            seed: Stopping.of(models["plain", seed], case.choosing, seed=first)
            for seed in (first, *rest)
        }
        features = {"principal components": PrincipalComponents.of(case.unseen)}
        bench = case.bench(n=n, sigmas=sigmas, solver=solver, features=features)
        judged = judge_all(bench, models, stops, stop_share)
        judged["large", first] = bench.judge_trained(large)
        failed = broken_down({**models, ("large", first): large})
        broken = [f"{model} ({case.data.name})" for model in failed]
        references = bench.references(case.heldout)
        return cls(gaps, Study(judged), case, reach, stops, bench, references, broken)

    def in_words(self, kinds: Mapping[str, str], distance: str) -> dict[str, str]:
        """Its numbers as text, for prose.

        Parameters
        ----------
        kinds : name in the prose -> kind: NAME is the copies of its first training, NAME_change
            their change against plain, NAME_distance one of its distances, NAME_window and
            NAME_mass what a gap leaves out. Of a kind that is not there each says so.
        """
        first, found = self.study.first, dict[str, str]()
        for name, kind in kinds.items():
            if kind not in self.study:  # a gap of the paper that has no window on these images
                parts = ("", "_distance", "_rough", "_change", "_window", "_mass")
                found |= dict.fromkeys([f"{name}{part}" for part in parts], MISSING)
                continue
            found[name] = str(first[kind].copies)
            found[f"{name}_distance"] = str(first[kind].distance[distance])
            found[f"{name}_rough"] = str(self.study.rough(kind))
            if kind not in ("plain", "large"):
                found[f"{name}_change"] = str(self.change(kind))
            if kind in self.gaps:
                found[f"{name}_window"] = self.gaps[kind].window.in_words
                found[f"{name}_mass"] = f"{self.gaps[kind].mass(self.case.law):.0%}"
        return found | {
            "zone_ends": self.reach.geometry.zone_in_words,
            "edge": str(self.reach.edge),
            "halves": str(self.halves),
            "halves_verdict": self.verdict,
            "halves_apart": str(sum(change.low > 0 for change in self.apart.values())),
            "effective": "; ".join(self.effective) or "none",
            "rank_floor": EQUAL if math.isnan(self.rank) else f"{self.rank:.2f}",
            "front": "; ".join(self.front(distance)),
            "held_out_distance": str(self.references["held-out"][distance]),
            "copier_distance": str(self.references["training set"][distance]),
        }

    def verdict_in_words(self, distance: str) -> str:
        """What became of the halves and who lies on the front, in sentences."""
        return (
            f"On {self.name}, $N = {len(self.case.data.train):,}$, danger zone "
            f"{self.reach.geometry.zone_in_words}: leaving out the low-noise half {self.verdict} "
            f"leaving out the other (high minus low: {self.halves}, trainings of each half: "
            f"{len(self.apart)}). On the front lie: {', '.join(self.front(distance))}."
        )

    @property
    def compared_in_words(self) -> str:
        """How many images a distance is taken of, and to how many."""
        return f"{self.bench.compared:,} samples to {len(self.case.unseen):,} on {self.name}"

    @property
    def name(self) -> str:
        """Of the data set, with the size of its images: a preset may shrink them."""
        return f"{self.case.data.name} {'x'.join(map(str, self.case.data.train.shape[-2:]))}"

    @property
    def curves(self) -> dict[str, Curve]:
        """Coverage and concentration of the small training set."""
        geometry = self.reach.geometry
        return {"coverage": geometry.coverage, "concentration": geometry.weight}
