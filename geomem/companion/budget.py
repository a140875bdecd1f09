"""What a run will take: the notebook's own time, and that of the models which the store lacks.

A profile says what a notebook takes on its own data with all models there; on other images its
networks are as much slower as their training is. What is to be trained is known before the run, but
for the levels of some gaps, which hang on a trained model: of those only the number is, until that
one is trained. How long a training takes is what `geomem train --dry-run` says.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from geomem import digitized
from geomem.companion.memory import kept
from geomem.companion.notebooks import Notebook, Profile, resolve
from geomem.data.sets import ImageSet
from geomem.diffusion import presets, zoo
from geomem.diffusion.cost import Cost, cost, on_cuda, planned
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.presets import Experiment
from geomem.diffusion.train import TrainConfig
from geomem.geometry.window import Window
from geomem.machine import in_time
from geomem.memorization import gaps
from geomem.memorization.case import Case
from geomem.memorization.copy_range import CopyRange
from geomem.memorization.gap import Gap

UNKNOWN = 60.0  # seconds of a notebook that a profile says nothing of
ENDS = ("low", "high", "keep")  # of a gap
Parameters = Mapping[str, Any]
Reach = Callable[[Parameters], CopyRange | None]  # where copies are made; None: not known yet


class Wanted(NamedTuple):
    """A training: of an experiment, or of it with the i-th gap that its notebook will find."""

    experiment: Experiment
    gap: int = 0  # 0: as it is


class Missing(NamedTuple):
    """A training that the store does not hold.

    Attributes
    ----------
    wanted : which it is.
    folder : where its model will lie; of a gap that is not known, that of the plain model.
    config : of the training, complete.
    """

    wanted: Wanted
    folder: Path
    config: TrainConfig

    @property
    def seconds(self) -> float:
        """How long it takes alone."""
        return self.config.images / _speed(self.config).rate


@dataclass(frozen=True)
class Budget:
    """What a run takes.

    Attributes
    ----------
    own : seconds of the notebook, with its models there.
    training : seconds of training them, side by side as far as there are cores.
    models : how many are to be trained.
    basis : what the speeds of their trainings rest on, in words.
    """

    own: float
    training: float = 0.0
    models: int = 0
    basis: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        return self.own + self.training

    def __add__(self, other: Budget) -> Budget:
        own, training = self.own + other.own, self.training + other.training
        return Budget(own, training, self.models + other.models, self.basis | other.basis)

    def __str__(self) -> str:
        if not self.models:
            return f"about {in_time(self.seconds)}"
        models = f"{self.models} model{'s' if self.models > 1 else ''}"
        return f"about {in_time(self.seconds)}, {in_time(self.training)} of it to train {models}"


def budgets(todo: Iterable[tuple[Notebook, Parameters]], profile: Profile) -> dict[str, Budget]:
    """Notebook -> what its run takes; a model that several need is counted for the first.

    Raises
    ------
    InputError : a data set or a setting of a training that cannot be; nothing has run then.
    """
    found, counted = dict[str, Budget](), set[Wanted]()
    # What loading says of a path is said again where it is used.
    with contextlib.redirect_stdout(None):
        for notebook, parameters in todo:
            needed = [*dict.fromkeys(wanted(notebook.name, parameters))]
            lacking = [*_missing(one for one in needed if one not in counted)]
            counted |= {*needed}
            own = profile.seconds.get(notebook.name, UNKNOWN)
            usual = _usual_on(parameters.get("device"), resolve(notebook, profile))
            own *= _slower(needed, [*wanted(notebook.name, usual)])
            found[notebook.name] = Budget(own, *_training(lacking))
    return found


def missing(todo: Iterable[tuple[Notebook, Parameters]]) -> list[Missing]:
    """What notebooks would train, each model once.

    Gaps are measured where the models are there that the notebooks measure them with; that takes
    as long as it does there, and is kept for them.

    Raises
    ------
    InputError : as `budgets`.
    """
    found = dict[Any, Missing]()
    for notebook, parameters in todo:
        for one in _missing(dict.fromkeys(wanted(notebook.name, parameters, measured))):
            found.setdefault((notebook.name, one.wanted) if one.wanted.gap else one.folder, one)
    return [*found.values()]


def measured(p: Parameters) -> CopyRange | None:
    """Where copies are made, as a notebook measures it; None while its large model is not there."""
    _, large = _pair(p, **_usual(p))
    folder = zoo.Plan.of(large).folder
    if not zoo.finished(folder):
        return None
    how = {name: p[name] for name in ("n_heldout", "stop_share", "seed", "device")}
    case = Case.of(p["preset"], p["dataset"], p["n_train"], p["changes"], **how)
    denoise = zoo.load_model(folder, device=p["device"]).denoise
    return kept(case.copy_range)(denoise, c=p["c"], level=p["level"])


def _usual_on(device: Any, p: Parameters) -> Parameters:
    """A profile's own parameters with the device of a run: another does not make it slower."""
    return {**p, "device": device} if "device" in p else p


# What is trained


def wanted(name: str, p: Parameters, reach: Reach = lambda p: None) -> Iterator[Wanted]:
    """Every training that a notebook needs, by its parameters; some of them more than once.

    Parameters
    ----------
    reach : what is known of the gaps that the notebook will find, by its parameters.
    """
    if name == "covered":
        for dataset, models in _sets(p, "dataset", "models"):
            for one in presets.listed(models):
                yield Wanted(_pair(p, dataset=dataset, **one)[0])
    elif name == "dimension":
        for one in presets.listed(p["models"]):
            yield from map(Wanted, _pair(p, dataset=p["dataset"], **one))
    elif name == "gap_sweep":
        for dataset, n_train in _sets(p, "dataset", "n_train"):
            yield from _gap_sweep({**p, "dataset": dataset, "n_train": n_train}, reach)
    elif "preset" in p:
        small, large = _pair(p, **_usual(p))
        yield from (Wanted(small), Wanted(large))
        if name == "swaps":
            yield from map(Wanted, _repeated(p, small))
        elif name == "memorization":
            for one in presets.listed(p["live_models"]):
                yield from map(Wanted, _pair(p, dataset=p["live_dataset"], **one))
        elif name == "gap_training":
            yield from _gap_training(p, small, reach)


def _gap_training(p: Parameters, small: Experiment, reach: Reach) -> Iterator[Wanted]:
    found, low, high, zone, window = reach(p), p["gap_low"], p["gap_high"], None, None
    carried = {"paper gap": gaps.PAPER_BALANCES} if p["paper_gap"] and not (low or high) else {}
    moved = gaps.carried_over_all(carried, found.geometry) if found else dict.fromkeys(carried)
    if found:
        zone, window = gaps.zone_and_window(found, low, high)
    elif low and high:
        zone = Window(low, high).rounded()
    theirs = [Gap(one) if one else None for one in (zone, *moved.values())]
    ours = [Gap(window, keep) if window else None for keep in (p["gap_keep"], 0.0)]
    dummy = presets.dummy(small, small.data.load().train)
    for i, plain in enumerate(_repeated(p, small)):
        again = i == 0 or bool(p["repeat_all"])
        n_ours = int(p["copy_gap"]) * (1 + (i == 0 and int(p["none_kept"])))
        yield from _with_gaps(plain, [*theirs * again, *ours[:n_ours]])
        if p["dummy"] and again:
            yield Wanted(presets.changed(plain, dummy))


def _gap_sweep(p: Parameters, reach: Reach) -> Iterator[Wanted]:
    small, large = _pair(p, **_usual(p))
    yield Wanted(large)
    table, curves = (digitized.load(f"fig5_celeba_{what}") for what in ("gaps", "curves"))
    theirs, found = gaps.paper_windows(gaps.paper_gaps(table), str(p["gaps"])), reach(p)
    zone, window = (found.zone, found.window) if found else 2 * [Window(1, 2)]  # any
    if found:
        theirs = gaps.carried_over_all(gaps.balances(theirs, curves), found.geometry)
    tried = gaps.gaps_to_try(zone, window, theirs, keep=p["gap_keep"])
    for i, plain in enumerate(_repeated(p, small)):
        its = [gap for kind, gap in tried.items() if i == 0 or kind in gaps.REPEATED]
        yield from _with_gaps(plain, its if found else [None] * len(its))


def _with_gaps(plain: Experiment, tried: Iterable[Gap | None]) -> Iterator[Wanted]:
    """An experiment, and it with each gap; of one that is not known, its place among them."""
    yield Wanted(plain)
    for i, gap in enumerate(tried, 1):
        yield Wanted(presets.changed(plain, gap.settings)) if gap else Wanted(plain, i)


def _sets(p: Parameters, *names: str) -> Iterator[tuple[Any, ...]]:
    """The values of some parameters for each data set that a notebook names, by their prefix."""
    for prefix in ("", "second_", "third_"):
        if p.get(f"{prefix}dataset"):
            yield tuple(p[prefix + name] for name in names)


def _usual(p: Parameters, **other: Any) -> dict[str, Any]:
    return {name: p[name] for name in ("preset", "dataset", "n_train", "changes")} | other


def _pair(p: Parameters, **how: Any) -> tuple[Experiment, Experiment]:
    return presets.pair(**how, seed=p["seed"], device=p["device"])


def _repeated(p: Parameters, small: Experiment) -> list[Experiment]:
    first = small.train.seed
    seeds = range(first, first + int(p["trainings"]))
    return [presets.changed(small, {"train.seed": seed}) for seed in seeds]


# What is missing, and how long it takes


def _missing(needed: Iterable[Wanted]) -> Iterator[Missing]:
    """Those that the store does not hold."""
    there = [one for one in zoo.models() if one.finished and one.experiment]
    for config, of_it in groupby(needed, lambda one: one.experiment.data):
        data, gaps_of = config.load(), dict[Experiment, int]()  # one set after the other
        for one in of_it:
            experiment, gap = one
            if gap and experiment not in gaps_of:
                gaps_of[experiment] = _gaps(experiment, data, there)
            if gap > gaps_of[experiment] if gap else not _there(experiment, data):
                plan = zoo.Plan.of(experiment, data=data)
                yield Missing(one, plan.folder, plan.experiment.train)


def _there(experiment: Experiment, data: ImageSet) -> bool:
    return zoo.stored(zoo.Plan.of(experiment, data=data).folder).finished


def _gaps(experiment: Experiment, data: ImageSet, there: Iterable[zoo.Stored]) -> int:
    """With how many gaps the store holds an experiment."""
    plain, folder = experiment.train, zoo.Plan.of(experiment, data=data).folder
    alike = folder.name.rpartition("-")[0]
    laws = set[NoiseLaw]()
    for one in there:
        if one.experiment and one.folder.name.rpartition("-")[0] == alike:
            ends = {f"gap_{x}": getattr(one.experiment.train.noise, f"gap_{x}") for x in ENDS}
            laws |= {replace(plain.noise, **ends)} - {plain.noise}
    configs = (replace(plain, noise=law) for law in laws)
    return sum(_there(replace(experiment, train=config), data) for config in configs)


def _training(lacking: list[Missing]) -> tuple[float, int, frozenset[str]]:
    """Seconds that trainings take, dealt out to the cores, their number, and what that rests on."""
    if not lacking:
        return 0.0, 0, frozenset()
    each, first = [one.seconds for one in lacking], lacking[0].config
    cores = 1 if on_cuda(first) else max(1, (os.cpu_count() or 1) // first.threads)
    basis = frozenset(_speed(one.config).basis for one in lacking)
    return max(max(each), sum(each) / cores), len(each), basis


def _slower(needed: list[Wanted], usual: list[Wanted]) -> float:
    """How much longer the networks take for an image than those of the profile's own parameters."""
    if needed == usual or not usual:
        return 1.0

    def seconds(wanted: list[Wanted]) -> float:
        found = [1 / _speed(_planned(e)).rate for e in dict.fromkeys(w.experiment for w in wanted)]
        return sum(found) / len(found)

    return seconds(needed) / seconds(usual)


def _speed(config: TrainConfig) -> Cost:
    """The cost of a config, measured once for all that differ in nothing that takes time."""
    model = replace(config.model, mean=0.0, sigma_data=0.5, n_classes=0)
    alike = TrainConfig(model, NoiseLaw(-1.2), batch=config.batch, device=config.device)
    return _cost(replace(alike, threads=config.threads, precision=config.precision))


_cost, _planned = cache(cost), cache(planned)
