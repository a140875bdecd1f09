"""What both curves of a training set cost, counted and reckoned before they are measured (ours).

The counts are those of the code: of one training set, streamed, coverage and concentration at all
noise levels. What a machine does in a second is measured on this one, and assumed of any other. A
time is the sum of its parts: nothing is taken to overlap.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from geomem.geometry.arrays import Array
from geomem.geometry.coverage import shell_coverage
from geomem.geometry.distances import (
    BLOCK_DRAWS,
    NOISE_BYTES,
    QUERY_ROWS,
    TRAIN_ROWS,
)
from geomem.geometry.integer_products import factor, products
from geomem.geometry.posterior import max_posterior_weight

FLOAT = 8  # bytes of a float64
TERM_BYTES = 80  # memory traffic of a term: about ten passes over float64, of either curve


@dataclass(frozen=True)
class Work:
    """Both curves of one training set, by its sizes.

    Attributes
    ----------
    n, d : training images N, and their dimension.
    queries : noisy images of each curve.
    levels : noise levels.
    draws : noise draws of each query, of the weight and of coverage.
    itemsize : bytes of a pixel as it is stored: 1, or 4 of float32.
    """

    n: int
    d: int
    queries: int = 1000
    levels: int = 20
    draws: tuple[int, int] = (4, 8)
    itemsize: int = 1

    @property
    def flops(self) -> float:
        """Of the float64 products: with the queries, and with each draw of their noise."""
        return 2.0 * self.n * self.d * self.queries * sum(1 + draws for draws in self.draws)

    @property
    def terms(self) -> float:
        """Distances that each noise level weighs or compares: at most, where none is left out."""
        return float(self.n) * self.queries * self.levels * sum(self.draws)

    @property
    def normals(self) -> float:
        """Normal numbers drawn, by every process the same."""
        return float(self.queries) * self.d * sum(self.draws)

    @property
    def passes(self) -> int:
        """Times that the training set is read: for its mean, and for each group of draws."""
        blocks = math.ceil(self.queries / QUERY_ROWS)
        return sum(1 + blocks * math.ceil(draws / self.group) for draws in self.draws)

    @property
    def group(self) -> int:
        """Draws that see the training set together, at most."""
        rows = min(self.queries, QUERY_ROWS)
        return min(BLOCK_DRAWS, max(1, NOISE_BYTES // (FLOAT * self.d * rows)))

    @property
    def bytes(self) -> float:
        """Of the training set as it is stored."""
        return float(self.n) * self.d * self.itemsize

    @property
    def merged(self) -> float:
        """Bytes that each process hands to the others, at the end: they do not grow with N.

        Two numbers for each level, draw and query of the weight, a byte for coverage, the mean of
        both.
        """
        each = self.levels * self.queries
        return each * (2.0 * FLOAT * self.draws[0] + self.draws[1]) + 2 * FLOAT * self.d

    @property
    def memory(self) -> float:
        """Bytes that a process holds at least, beside its share of the training set.

        Queries and noise, one block, its products, and what is kept for each level, draw and query.
        """
        rows = min(self.queries, QUERY_ROWS)
        noise = FLOAT * self.d * rows * min(self.group, max(self.draws))
        block = FLOAT * self.d * (rows + TRAIN_ROWS) + 2.0 * FLOAT * rows * TRAIN_ROWS
        return noise + block + 2.0 * FLOAT * self.levels * self.queries * max(self.draws)


class Seconds(NamedTuple):
    """The parts of a time, in seconds."""

    products: float
    levels: float
    reading: float
    drawing: float
    merging: float


@dataclass(frozen=True)
class Machine:
    """What one process has.

    Attributes
    ----------
    flops : float64 FLOP/s of large products.
    terms : terms of `Work` a second.
    normals : normal numbers a second.
    read : bytes/s from where the training set is stored; infinite where it is in memory.
    network : bytes/s to another process.
    latency : seconds of a message.
    """

    flops: float
    terms: float
    normals: float
    read: float = math.inf
    network: float = math.inf
    latency: float = 0.0

    def seconds(self, work: Work, processes: int = 1) -> Seconds:
        """What work takes on so many of these, each with its share of the training set.

        >>> machine = Machine(flops=1e10, terms=1e8, normals=1e8)
        >>> alone, shared = (machine.seconds(Work(10**6, 3072), k) for k in (1, 10))
        >>> round(alone.products / shared.products, 3), shared.drawing == alone.drawing
        (10.0, True)
        """
        rounds = math.ceil(math.log2(processes))
        return Seconds(
            products=work.flops / self.flops / processes,
            levels=work.terms / self.terms / processes,
            reading=work.passes * work.bytes / self.read / processes,
            drawing=work.normals / self.normals,
            merging=rounds * (self.latency + work.merged / self.network),
        )


# Assumed: half of the published 67 TFLOP/s of float64 on the tensor cores of an H100, and half of
# its 3.35 TB/s of memory; noise drawn on a host core; a share of 1 GB/s in disks; 200 Gbit/s.
H100 = Machine(
    flops=0.5 * 67e12,
    terms=0.5 * 3.35e12 / TERM_BYTES,
    normals=5e7,
    read=1e9,
    network=25e9,
    latency=1e-4,
)


def timed(action: Callable[[], object], device: str = "cpu", repeats: int = 3) -> float:
    """The least that an action takes of several times, after one to warm up, in seconds.

    On a CPU those of one core, whatever else is at work there; elsewhere those of the clock.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        action()
        found = list[float]()
        for _ in range(repeats):
            start = clock()
            action()
            found.append(clock() - start)
    finally:
        torch.set_num_threads(threads)
    return min(found)


def curves_seconds(
    queries: Array, train: Array, work: Work, *, seed: int = 0, device: str = "cpu"
) -> float:
    """What both curves take here, by `timed`, with the levels and draws of ``work``."""
    sigmas = np.geomspace(0.01, 100, work.levels)
    for_weight, for_coverage = work.draws

    def both() -> None:
        how: dict[str, Any] = {"seed": seed, "device": device}
        max_posterior_weight(train, sigmas, queries=queries, draws=for_weight, **how)
        shell_coverage(queries, train, sigmas, draws=for_coverage, **how)

    return timed(both, device)


def this_machine(work: Work, seconds: float, *, seed: int = 0, device: str = "cpu") -> Machine:
    """What one core or device here does: products and noise timed alone, the rest by ``seconds``.

    Parameters
    ----------
    seconds : what the curves of ``work`` took, from memory.
    device : "cpu" or "cuda".
    """
    stream = np.random.default_rng(seed)
    rows = min(work.queries, QUERY_ROWS)
    drawing = timed(lambda: stream.standard_normal((rows, work.d))) / (rows * work.d)
    a, b = (
        torch.from_numpy(stream.standard_normal((n, work.d))).to(device) for n in (rows, TRAIN_ROWS)
    )
    ready = factor(a)
    # As a number, which waits for its device.
    product = timed(lambda: float(products(ready, b)[0, 0]), device)
    flops = 2 * rows * TRAIN_ROWS * work.d / product
    rest = seconds - work.flops / flops - drawing * work.normals
    return Machine(flops, work.terms / max(rest, 1e-3 * seconds), 1 / drawing)
