"""The processes that torchrun starts, as one command: the first one speaks, all end together."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from geomem.cli.main import torchrun
from geomem.diffusion.presets import ConfigError
from geomem.diffusion.train import TrainingError, device_of
from geomem.geometry.ranks import meet

Made = TypeVar("Made")


def checked_device(name: str) -> str:
    """The device that a name asks for: "cpu" or "cuda"; ConfigError where it is not there."""
    try:
        return device_of(name)
    except TrainingError as error:
        raise ConfigError(str(error)) from error


@contextlib.contextmanager
def processes(device: str, patience: timedelta | None = None) -> Iterator[tuple[bool, int]]:
    """Whether this is the first of the processes that torchrun started, and their number.

    The others are silent. Without torchrun there is one. ``patience`` is how long they wait for
    each other, if not as long as torch says.
    """
    cuda, told = checked_device(device) == "cuda", torchrun()
    if told.world == 1:
        yield True, 1
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE") or told.local_rank + 1)
    if cuda and here > torch.cuda.device_count():  # said by all: only the first one is heard
        raise ConfigError(
            f"{here} processes here, and {torch.cuda.device_count()} GPUs: start as many processes "
            "as GPUs, or compute on the CPU."
        )
    place = torch.device("cuda", told.local_rank) if cuda else None
    if place is not None:
        torch.cuda.set_device(place)  # what "cuda" means from here on
    ours = not distributed.is_initialized()
    if ours:
        try:
            distributed.init_process_group(
                "nccl" if cuda else "gloo", device_id=place, timeout=patience
            )
        except (ValueError, RuntimeError) as error:
            said = str(error).splitlines()[0]
            raise ConfigError(f"the processes do not find each other: {said}") from error
    try:
        first = distributed.get_rank() == 0
        with contextlib.nullcontext() if first else contextlib.redirect_stdout(None):
            yield first, told.world
    finally:
        if ours:
            distributed.destroy_process_group()


def in_turn(load: Callable[[], Made]) -> Made:
    """What ``load`` gives; where several processes need it, one of each machine goes first.

    It downloads what the others then find.
    """
    group = distributed.group.WORLD if distributed.is_initialized() else None
    leads = torchrun().local_rank == 0
    if not leads:
        meet(group)
    try:
        return load()
    finally:
        if leads:
            meet(group)
