"""What several processes find, each on its own share of one training set, merged into one answer.

A group is a process group of torch.distributed. None is this process alone, whatever else runs in
it: nothing here looks for a group that it was not given. The processes of a group call the same
functions in the same order, and have the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import distributed

from geomem.errors import WorkError

Made = TypeVar("Made")


def merged(values: torch.Tensor, how: str, group: distributed.ProcessGroup | None) -> torch.Tensor:
    """The "SUM", "MIN" or "MAX" over the processes of equally many values each, in their place."""
    if group is not None:
        with _together():
            distributed.all_reduce(values, getattr(distributed.ReduceOp, how), group=group)
    return values


def meet(group: distributed.ProcessGroup | None) -> None:
    """Wait until all processes are here."""
    if group is not None:
        with _together():
            distributed.barrier(group)


def gathered(value: Made, group: distributed.ProcessGroup | None) -> list[Made]:
    """The values of all processes, small ones, in the order of their ranks."""
    if group is None:
        return [value]
    found: list[Made] = [value] * distributed.get_world_size(group)
    with _together():
        distributed.all_gather_object(found, value, group=group)
    return found


def agreed(make: Callable[[], Made], group: distributed.ProcessGroup | None) -> Made:
    """What ``make`` makes, if it can in all processes: where one fails, none waits for it."""
    if group is None:
        return make()
    error: Exception | None = None
    try:
        made = make()
    except Exception as failed:  # whatever it is, the others must hear of it
        error = failed
    failures = gathered(None if error is None else str(error), group)
    if error is not None:
        raise error
    for rank, failure in enumerate(failures):
        if failure is not None:
            raise ValueError(f"process {rank}: {failure}")
    return made


def log_sum(
    lowest: torch.Tensor,
    total: torch.Tensor,
    scale: torch.Tensor,
    group: distributed.ProcessGroup | None,
) -> torch.Tensor:
    """Sums of exp(-energy / scale) over all processes, relative to the lowest energy of all.

    lowest, total : of each process its lowest energies, and its sums relative to them.
    """
    if group is None:
        return total
    least = merged(lowest.clone(), "MIN", group)
    return merged(total * torch.exp((least - lowest) / scale), "SUM", group)


def nearest_of_all(
    distance: torch.Tensor, index: torch.Tensor, group: distributed.ProcessGroup | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the (Q, k) least distances that each process found the k least, ties by the index."""
    if group is None:
        return distance, index
    found = [_joined(values, group).numpy() for values in (distance, index)]
    order = np.lexsort(found[::-1])[:, : distance.shape[1]]
    least, which = (torch.from_numpy(np.take_along_axis(x, order, 1)) for x in found)
    return least, which


def _joined(values: torch.Tensor, group: distributed.ProcessGroup) -> torch.Tensor:
    """(Q, k) values of each process side by side, on the host."""
    cuda = distributed.get_backend(group) == "nccl"
    own = values.cuda() if cuda else values
    found = [torch.empty_like(own) for _ in range(distributed.get_world_size(group))]
    with _together():
        distributed.all_gather(found, own, group=group)
    return torch.cat(found, 1).cpu()


@contextmanager
def _together() -> Iterator[None]:
    """WorkError in one line where a process of the group has ended, or cannot be reached."""
    try:
        yield
    except RuntimeError as error:
        said = str(error).splitlines()[0].partition(". ")[0]
        raise WorkError(f"a process has ended, or cannot be reached: {said}") from error
