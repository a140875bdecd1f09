"""Work on several cores: whole pieces side by side, with one thread an operation.

Threads inside an operation meet at its end. Where something else has a part of one core, all of
them wait for that core, operation by operation, and two are slower than one. Workers wait for
nobody: each takes the next piece. What a piece gives depends on how the work is cut into pieces,
and not on how many workers there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

R = TypeVar("R")


class Workers:
    """Those of a pool; without one, the caller works himself, when he asks."""

    def __init__(self, pool: ThreadPoolExecutor | None = None, count: int = 0):
        self._pool, self._ahead = pool, 2 * count

    def start(self, work: Callable[..., R], *arguments: object) -> Callable[[], R]:
        """Begin a piece of work; a call of what comes back waits for its result."""
        if self._pool is not None:
            return self._pool.submit(work, *arguments).result
        found = work(*arguments)
        return lambda: found

    def in_order(self, work: Callable[..., R], tasks: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """What the work makes of the arguments of each task, in the order of the tasks.

        The caller's thread draws the tasks, no more than two for each worker ahead.
        """
        begun: deque[Callable[[], R]] = deque()
        for task in tasks:
            begun.append(self.start(work, *task))
            if len(begun) > self._ahead:
                yield begun.popleft()()
        while begun:
            yield begun.popleft()()


@contextmanager
def workers(count: int | None = None) -> Iterator[Workers]:
    """So many workers; by default as many as torch uses threads in the caller's.

    Meanwhile torch uses one thread in each of them, and in the caller's, which only hands out
    work. With one worker the caller does all himself, and torch's threads stay as they are.
    """
    threads = torch.get_num_threads()
    count = threads if count is None else count
    if count == 1:
        yield Workers()
        return
    with ThreadPoolExecutor(count, "geomem", torch.set_num_threads, (1,)) as pool:
        torch.set_num_threads(1)
        try:
            yield Workers(pool, count)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)  # also what a thread that is new to torch will use
