"""The verbs of the command line that make models and list them: train, models."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import textwrap
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from geomem.cli.main import examples, torchrun
from geomem.cli.processes import in_turn, processes
from geomem.diffusion import fitting, presets, zoo
from geomem.diffusion.cost import COPIES, cost, parameters, planned
from geomem.diffusion.presets import ConfigError, Experiment, settings
from geomem.diffusion.train import Record, TrainConfig, TrainingError, device_of
from geomem.errors import InputError, WorkError
from geomem.machine import in_bytes, in_time
from geomem.progress import bar
from geomem.project import project_root

INDENTED: Any = {"initial_indent": "  ", "subsequent_indent": "    "}
SHOWN = {"data.name", "train.steps", "train.batch"}  # of a model in every case
MEASURED = {f"train.model.{name}" for name in ("channels", "size", "mean", "sigma_data")}
MEASURED |= {"train.noise.mean"}  # on the images, where a config leaves them open
SMOOTHING = 0.98  # of the loss that is shown: the weight of its past


def add_train(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem train digits-mlp-small
        geomem train digits-unet-small --set data.n_train 64 --set train.seed 1 --resume
        geomem train my-experiment.toml --dry-run
        torchrun --nproc-per-node 8 -m geomem train cifar10-small
        """,
    )
    verb.set_defaults(verb=train_model)
    verb.add_argument(
        "config",
        metavar="CONFIG",
        help=f"a preset ({', '.join(presets.PRESETS)}), or a TOML file with tables [data], "
        "[train], [train.model], [train.noise] and perhaps a `preset` to start from",
    )
    verb.add_argument(
        "--set",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="change a setting, train.steps 100; may be given again; a wrong name lists all",
    )
    start = verb.add_mutually_exclusive_group()
    about = "go on from the last checkpoint, after whoever trains this model now"
    start.add_argument("--resume", action="store_true", help=about)
    start.add_argument("--restart", action="store_true", help="drop what is there of this model")
    start.add_argument(
        "--dry-run", action="store_true", help="print images, arithmetic, time and memory only"
    )


def add_models(verb: argparse.ArgumentParser) -> None:
    examples(verb, "geomem models")
    verb.set_defaults(verb=list_models)


# geomem train


def train_model(options: argparse.Namespace) -> None:
    asked = presets.experiment(options.config, dict(options.set))
    if options.dry_run:
        _print_cost(asked, options.config)
        return
    with processes(asked.train.device) as (first, world):
        data = in_turn(asked.data.load)
        plan = zoo.Plan.of(asked, store_root(), data)
        here = zoo.stored(plan.folder, plan.experiment)
        _check(here, options, world)
        if world > 1:
            distributed.barrier()  # all have looked: now one may change what is there
        if here.finished and not options.restart:
            print(f"trained already: {_shown(here.folder)}")
            return
        config, begun = plan.experiment.train, 0 if options.restart else here.step
        print(
            f"training {here.folder.name} on {device_of(config.device)}"
            f"{f', {world} processes' if world > 1 else ''}\n"
            f"  {parameters(config.model):,} parameters, N = {len(data.train):,} training images\n"
            f"  steps {begun + 1:,} to {config.steps:,}, {config.batch:,} images each\n"
            f"{_settings(asked)}\n"
            f"  into {_shown(here.folder)}",
            flush=True,
        )
        for part, why in here.faults.items():
            print(f"  of what is there, {part} is not used: it is {why}", flush=True)
        if here.running:
            print("  after another process that trains it now, unless that finishes it", flush=True)
        _fit(plan, _Progress(here.folder.name, config, begun, first), options)


def _check(here: zoo.Stored, options: argparse.Namespace, world: int) -> None:
    if here.running and (world > 1 or not options.resume):
        raise ConfigError(f"{here.folder.name}: another process is training it; wait for that.")
    kept = here.step or here.faults
    if kept and not (here.finished or options.resume or options.restart):
        since = f"go on from step {here.step:,}" if here.step else "train it again"
        raise ConfigError(
            f"{here.folder.name}: {here.state}; add --resume to {since}, or "
            "--restart to begin anew."
        )


class _Progress:
    """A bar on a terminal; elsewhere a line after each tenth of the steps."""

    def __init__(self, name: str, config: TrainConfig, begun: int, first: bool):
        self.config, self.begun, self.step, self.loss = config, begun, begun, math.nan
        self.since, self.seconds = begun, 0.0  # the steps after this one took so long
        self.bar = bar(config.images, name, " images") if first else None
        if self.bar is not None:
            self.bar.initial = self.bar.n = self.bar.last_print_n = begun * config.batch

    def __call__(self, record: Record) -> None:
        if self.step == self.begun:  # the first step warms up
            self.loss, self.since = record.loss, record.step
        else:  # as the records say: on CUDA those of many steps come at once
            self.seconds += record.seconds
        self.step, self.loss = record.step, SMOOTHING * self.loss + (1 - SMOOTHING) * record.loss
        if self.bar is None:
            return
        self.bar.set_postfix_str(f"loss {self.loss:.3g}", refresh=False)
        self.bar.update(record.images - self.bar.n)
        steps, timed = self.config.steps, record.step - self.since
        if self.bar.disable and record.step % max(1, steps // 10) == 0 and timed:
            pace = self.seconds / timed  # seconds a step
            print(
                f"  step {record.step:,}: loss {self.loss:.3g}, {self.config.batch / pace:,.0f} "
                f"images/s, {in_time(pace * (steps - record.step))} left",
                flush=True,
            )


def _fit(plan: zoo.Plan, progress: _Progress, options: argparse.Namespace) -> None:
    folder, started = plan.folder, time.perf_counter()
    try:
        trained = fitting.carry_out(plan, restart=options.restart, report=progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_stopped(folder, options)) from None
    except BrokenPipeError:  # of what is printed
        raise
    except OSError as error:
        refused = f"{error.filename or folder}: {error.strerror}"
        raise WorkError(f"{refused}; {_stopped(folder, options)}") from error
    except TrainingError as error:
        if progress.step:
            raise
        raise ConfigError(str(error)) from error  # not one step: what was asked for is wrong
    except torch.cuda.OutOfMemoryError as error:  # torch.OutOfMemoryError from torch 2.5 on
        if torchrun().rank:  # whose lines are not printed, but for a traceback
            raise
        advice = "out of the GPU's memory; make train.batch or the network smaller"
        raise WorkError(f"{advice}; {_stopped(folder, options)}") from error
    except RuntimeError as error:
        lost = isinstance(error, distributed.DistError) or "gloo" in str(error)
        if torchrun().world == 1 or not lost:
            raise
        said = str(error).partition("\n")[0]
        raise WorkError(f"a process has ended, or cannot be reached: {said}") from error
    finally:
        if progress.bar is not None:
            progress.bar.close()
    loss = trained.losses[-max(1, len(trained.losses) // 10) :].mean()
    print(
        f"trained in {in_time(time.perf_counter() - started)}, "
        f"loss {loss:.3g} over the last tenth: {_shown(folder)}\n"
        f"look at it: geomem sample {trained.name}"
    )


def _stopped(folder: Path, options: argparse.Namespace) -> str:
    if step := zoo.stored(folder).step:
        return f"stopped; last checkpoint: step {step:,}; to go on: {_command(options)} --resume"
    return "stopped before the first checkpoint; nothing is kept"


def _command(options: argparse.Namespace) -> str:
    command = train_command(options.config, options.set)
    return f"torchrun ... -m {command}" if torchrun().world > 1 else command


# geomem train --dry-run


def _print_cost(asked: Experiment, name: str) -> None:
    config = planned(asked)
    counted = cost(config)
    held = ", and what is held of them to go back to" if counted.copies > COPIES else ""
    n_train = "all" if asked.data.n_train is None else f"{asked.data.n_train:,}"
    print(
        f"{name}: nothing is trained, this is what it would take on one device\n"
        f"  network: {counted.parameters:,} parameters\n"
        f"  images: {counted.images:,} in {config.steps:,} steps of {config.batch:,}, drawn from "
        f"{n_train} training images of {asked.data.name}\n"
        f"  arithmetic: {counted.flops / 1e9:.4g} GFLOP forward, "
        f"{counted.training_flops / 1e9:.4g} GFLOP forward and backward, per image\n"
        f"  time: {in_time(counted.hours * 3600)} at {counted.rate:,.4g} images/s "
        f"({counted.basis})\n"
        f"  memory: {in_bytes(counted.memory)}: {in_bytes(counted.state_bytes)} of weights, "
        f"gradients, Adam's moments and average{held},\n"
        f"    and {config.batch:,} x {in_bytes(counted.activation_bytes)} of activations\n"
        f"{_settings(asked)}"
    )


def _settings(chosen: Experiment) -> str:
    """What differs from the defaults, as --set takes it, on indented lines."""
    usual = settings(Experiment())
    own = [_setting(n, value) for n, value in settings(chosen).items() if value != usual[n]]
    return textwrap.fill(f"settings: {'; '.join(own)}", 100, **INDENTED)


def _setting(name: str, value: Any) -> str:
    return f"{name} {presets.as_text(value)}"


# geomem models


def list_models(options: argparse.Namespace) -> None:
    found = zoo.models(store_root())
    apart = _told_apart(found)
    if not found:
        print(f"no models in {_shown(store_root())} yet: `geomem train digits-mlp-small` makes one")
    for here in found:
        print(f"{here.folder.name}: {here.state}")
        if here.experiment is not None:
            data, config = here.experiment.data, here.experiment.train
            n_train = data.n_train or "all"
            if here.record:
                n_train = here.record["images"][0] // (1 + data.dummy)  # the real ones
            facts = [
                f"N = {n_train} of {data.name}",
                f"{parameters(config.model):,} parameters",
                f"{config.steps:,} steps of {config.batch:,}",
            ]
            if here.record:
                steps, seconds = (here.record[k] for k in ("steps_of_these_seconds", "seconds"))
                part = "" if steps == config.steps else f" for the last {steps:,}"
                facts.append(f"{in_time(seconds)}{part} on {here.record['device']}")
            print(f"  {'; '.join(facts)}")
            if here.folder in apart:
                print(textwrap.fill(apart[here.folder], 100, **INDENTED))


def _told_apart(found: Sequence[zoo.Stored]) -> dict[Path, str]:
    """Of models that only a hash tells apart by name: settings in which they differ.

    Each has those where it is not as `Experiment()`, so that no two have the same.
    """
    named = dict[str, dict[Path, dict[str, Any]]]()
    for one in found:
        if one.experiment is not None:
            same = named.setdefault(one.folder.name.rpartition("-")[0], {})
            same[one.folder] = settings(one.experiment)
    words, usual = dict[Path, str](), settings(Experiment())
    for same in named.values():
        names = _differing([*same.values()])
        for folder, its in same.items():
            own = [_setting(name, its[name]) for name in names if its[name] != usual[name]]
            words |= {folder: "; ".join(own)} if own else {}
    return words


def _differing(several: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that are not the same in all, but for those that every row shows.

    What is measured on the images is among them only where nothing else tells two apart.
    """
    names = [name for name in several[0] if len({one[name] for one in several}) > 1]
    names = [name for name in names if name.removeprefix("train.") not in zoo.NOT_IN_KEY]
    given = [name for name in names if name not in MEASURED]
    told, all_told = (len({tuple(one[n] for n in of) for one in several}) for of in (given, names))
    return [name for name in (given if told == all_told else names) if name not in SHOWN]


# Shared


def train_command(config: str, changes: Iterable[Sequence[str]]) -> str:
    """The line of a shell that trains a preset or file with changes, each a name and a value."""
    sets = [word for change in changes for word in ("--set", *change)]
    return shlex.join(["geomem", "train", config, *sets])


def store_root() -> Path:
    """The store: GEOMEM_MODELS, else the project's, which its notebooks use, else ./models."""
    named = os.environ.get(zoo.STORE_VARIABLE)
    if named:
        return Path(named)
    try:
        return project_root() / "models"
    except InputError:
        return Path("models")


def _shown(path: Path) -> str:
    return os.path.relpath(path)
