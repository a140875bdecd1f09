"""Squared distances from (noisy) queries to a training set, streamed in blocks.

Everything that the paper's geometry measures is a function of

    ||x + sigma z - x_i||^2  =  gap2 + 2 sigma tilt + sigma^2 norm2,
    gap2 = ||x - x_i||^2,   tilt = <z, x - x_i>,   norm2 = ||z||^2,

so one pass over the training set serves every noise level. Distances are
accumulated in float64 after the training mean has been subtracted: in float32 the
same expansion is wrong by tens of nats in the log-weights at sigma = 0.002. GPUs whose
float64 is slow sum integers instead, as accurately: `geomem.geometry.integer_products`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import EllipsisType
from typing import Any, TypeVar, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from geomem.geometry.arrays import (
    Array,
    Floats,
    Numbers,
    check_count,
    check_range,
    check_sigmas,
    check_slices,
)
from geomem.geometry.integer_products import Digits, factor, products
from geomem.geometry.ranks import agreed, gathered, merged, nearest_of_all
from geomem.machine import in_bytes, memory
from geomem.progress import bar
from geomem.workers import Workers, workers

T = TypeVar("T")
Place = tuple[EllipsisType, slice, slice]  # in an array (..., draws, queries)

QUERY_ROWS = 1024  # queries held at once
TRAIN_ROWS = 1000  # training points converted to float64 at once
WORKER_ROWS = 128  # queries of a block that a worker of a CPU takes
BLOCK_DRAWS = 10  # noise draws of a block
CACHE_ROWS = 64  # rows that go through many noise levels together: they stay in the L2 cache
NEAR_POINTS = 8  # nearest training points of a block that are tried alone
NEAR = 1e-8  # squared distance, relative to the norms, below which it is recomputed
STREAM = 1000  # bytes of a stream of random numbers, one for each draw
NOISE_BYTES = 256 * 2**20  # noise held at once, over draws
COPIED = {np.dtype(kind) for kind in "?bBhilefd"}  # what goes to another device as it is


@dataclass(frozen=True)
class NoisyBlock:
    """What R queries see of B training points, for K noise draws; see the module's formula.

    Attributes
    ----------
    gap2 : (R, B).
    tilt : (K, R, B).
    norm2 : (K, R, 1).
    """

    gap2: torch.Tensor
    tilt: torch.Tensor
    norm2: torch.Tensor

    def nearest(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``gap2`` (R, n), ascending, and ``tilt`` (K, R, n) of the few nearest training points."""
        few = min(NEAR_POINTS, self.gap2.shape[1])
        gap2, which = self.gap2.topk(few, dim=1, largest=False)
        return gap2, self.tilt.gather(2, which.expand(len(self.tilt), -1, -1))

    @property
    def step(self) -> int:
        """How many rows (B,) to take through the noise levels at once."""
        return CACHE_ROWS if self.gap2.device.type == "cpu" else QUERY_ROWS


class Points:
    """A set of N points of R^d, read in float64 blocks about a common centre.

    Parameters
    ----------
    points : array (N, ...) of numbers, at least one point; trailing axes are flattened. Of a
        memory map, or of what is read by slices (an HDF5 dataset, a zarr array), one block is in
        memory at a time.
    name : how error messages call the set.
    device : "auto" (a tensor's own device; else CUDA where there is one), or a device name.
    group : None, or the processes that have a share of the set each; ``points`` is then that of
        this one.

    Attributes
    ----------
    total : how many points all processes have; `len` counts those here.
    first : how many the processes before this one have.

    Raises
    ------
    ValueError : as `check_array`; as `check_range` where a block is read.
    """

    def __init__(
        self,
        points: Array,
        name: str,
        device: str | torch.device = "auto",
        group: distributed.ProcessGroup | None = None,
    ):
        array = agreed(lambda: check_slices(name, points), group)
        if device == "auto":
            own = array.device if isinstance(array, torch.Tensor) else torch.device("cpu")
            device = "cuda" if own.type == "cpu" and torch.cuda.is_available() else own
        self.name, self.device, self.group = name, torch.device(device), group
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise ValueError("device: there is no CUDA device here; leave it at auto.")
        self.array, self.shape = array, tuple(array.shape)  # the caller's own kind and dtype
        shapes = gathered(self.shape, group)
        if len({shape[1:] for shape in shapes}) > 1:
            raise ValueError(f"{name}: the shares of the processes are of shapes {shapes}.")
        self.total = sum(shape[0] for shape in shapes)
        rank = 0 if group is None else distributed.get_rank(group)
        self.first = sum(shape[0] for shape in shapes[:rank])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def dim(self) -> int:
        return math.prod(self.shape[1:])

    def block(self, rows: slice | np.ndarray, centre: torch.Tensor | None = None) -> torch.Tensor:
        """The points of ``rows`` minus ``centre`` -> (rows, d) float64 on the device."""
        block = self.take(rows)
        if not isinstance(block, torch.Tensor):  # any strides, byte order, or memory map
            small = self.device.type != "cpu" and block.dtype in COPIED  # than float64
            dtype = block.dtype if small else np.float64
            block = torch.from_numpy(np.array(block, dtype=dtype, order="C"))
        block = block.reshape(len(block), -1).to(self.device).double()
        check_range(self.name, block)
        return block if centre is None else block - centre

    def take(self, rows: slice | np.ndarray) -> Any:
        """The points of ``rows`` as they are: of the caller's own kind, shape and dtype."""
        if isinstance(rows, slice) or isinstance(self.array, (np.ndarray, torch.Tensor)):
            return self.array[rows]
        wanted, place = np.unique(rows, return_inverse=True)  # what is elsewhere knows slices only
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) > 1) + 1)
        return np.concatenate([self.array[int(run[0]) : int(run[-1]) + 1] for run in runs])[place]

    def slices(self, size: int) -> list[slice]:
        return [slice(i, min(i + size, len(self))) for i in range(0, len(self), size)]

    def mean(self) -> torch.Tensor:
        """The mean of the points of all processes: (d,) float64."""
        return merged(agreed(self._sum, self.group), "SUM", self.group) / self.total

    def _sum(self) -> torch.Tensor:
        total = torch.zeros(self.dim, dtype=torch.float64, device=self.device)
        for rows in self.slices(TRAIN_ROWS):
            total += self.block(rows).sum(0)
        return total

    def at(self, rows: NDArray[np.int64] | None) -> Points:
        """The points at these ``rows`` of those of all processes; None: all points."""
        if rows is None and self.group is None:
            return self
        return _Chosen(self, np.arange(self.total) if rows is None else rows)


class _Chosen(Points):
    """Some points of a set: each block is read by who has it, and told to the other processes.

    So all processes must read the same blocks in the same order.
    """

    def __init__(self, points: Points, rows: NDArray[np.int64]):
        self.points, self.rows = points, rows
        self.name, self.device, self.group = points.name, points.device, points.group
        self.shape = (len(rows), *points.shape[1:])

    def block(self, rows: slice | np.ndarray, centre: torch.Tensor | None = None) -> torch.Tensor:
        wanted = self.rows[rows] - self.points.first
        here = np.flatnonzero((wanted >= 0) & (wanted < len(self.points)))
        block = torch.zeros(len(wanted), self.dim, dtype=torch.float64, device=self.device)
        if len(here):
            block[torch.from_numpy(here).to(self.device)] = self.points.block(wanted[here])
        block = merged(block, "SUM", self.group)
        return block if centre is None else block - centre


def pair(
    queries: Array,
    train: Array,
    device: str | torch.device,
    group: distributed.ProcessGroup | None = None,
) -> tuple[Points, Points]:
    """Both sets as `Points` on one device, with a clear error when their shapes differ.

    Of a ``group`` every process has all queries, and a share of the training set.
    """
    q = Points(queries, "queries", device)
    t = Points(train, "train", q.device, group)
    _check_sizes(q, t)
    return q, t


def queries_of(x: Array, train: Points) -> Points:
    """Queries as `Points` on the device of the training points, checked as by `pair`."""
    q = Points(x, "queries", train.device)
    _check_sizes(q, train)
    return q


def _check_sizes(q: Points, t: Points) -> None:
    images = len(q.shape) > 2 and len(t.shape) > 2
    if q.dim != t.dim or (images and q.shape[1:] != t.shape[1:]):
        raise ValueError(
            f"queries have shape {q.shape[1:]} each and the training points {t.shape[1:]}: "
            "both must be images of one size and layout."
        )


@overload
def like(result: torch.Tensor, example: torch.Tensor, *, dtype: bool = False) -> torch.Tensor: ...
@overload
def like(
    result: torch.Tensor, example: float | Numbers, *, dtype: bool = False
) -> NDArray[Any]: ...
def like(result: torch.Tensor, example: Any, *, dtype: bool = False) -> Any:
    """``result`` as the kind of array that ``example`` is (when asked, of its float dtype)."""
    if isinstance(example, torch.Tensor):
        same = dtype and example.is_floating_point()
        return result.to(example.device, example.dtype if same else None)
    host = result.cpu().numpy()
    if not dtype:
        return host
    known = getattr(example, "dtype", None)  # to ask NumPy would read a streamed array
    kind = np.asarray(example).dtype if known is None else np.dtype(known)
    return host.astype(kind, copy=False) if kind.kind == "f" else host


def per_query(sigma: float | Array, queries: Points) -> torch.Tensor:
    """One noise level, or one for each of the Q queries -> (Q, 1) float64 on their device."""
    levels = torch.from_numpy(check_sigmas(sigma)).to(queries.device)
    if len(levels) not in (1, len(queries)):
        raise ValueError(f"sigma: expected one noise level or {len(queries)}, got {len(levels)}.")
    return levels.expand(len(queries))[:, None]


def squared_distances(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """||a_q - b_i||^2 of two centred float64 blocks -> (Q, B).

    The expansion loses digits where the points nearly coincide; those few pairs are
    recomputed from their differences, so that a copy is at distance exactly 0.
    """
    scale = (a * a).sum(1, keepdim=True) + (b * b).sum(1)
    return _expanded(a, b, products(factor(a), b), scale)


def _expanded(
    a: torch.Tensor, b: torch.Tensor, along: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """`squared_distances`, from <a_q, b_i> and ||a_q||^2 + ||b_i||^2, both (Q, B)."""
    gap2 = torch.sub(scale, along, alpha=2)
    for pairs in torch.split((gap2 < NEAR * scale).nonzero(), TRAIN_ROWS):
        i, j = pairs.T
        gap2[i, j] = (a[i] - b[j]).square_().sum(1)
    return gap2


def check_draws(draws: object, each: float = 0) -> int:
    """A number of noise draws, >= 1, of which every one keeps ``each`` bytes until all are done.

    Raises
    ------
    ValueError : no such number, or one that needs more than the memory.
    """
    number, there = check_count("draws", draws), memory()
    if (needed := number * (STREAM + each)) > there:
        raise ValueError(
            f"draws: {number:,} need {in_bytes(needed)}, and the memory has {in_bytes(there)}."
        )
    return number


def over_noisy_blocks(
    queries: Points,
    train: Points,
    draws: int,
    seed: int,
    measure: Callable[[NoisyBlock], T],
    merge: Callable[[Place, T], None],
) -> None:
    """Measure every (query, draw, training point) once, in blocks; memory does not grow with N.

    Draw k of query q is the q-th row of the stream of ``default_rng([seed, k])``: the
    noise depends neither on the block sizes nor on the device. On a CPU `workers` share the
    blocks, and how many there are changes no bit of the result.

    Parameters
    ----------
    queries, train, draws, seed : as in `max_posterior_weight`.
    measure : called with each block, from several threads at once.
    merge : called for each block, in one order, with its place in an array (S, draws, Q) and what
        was measured of it.
    """
    streams = [np.random.default_rng([seed, k]) for k in range(draws)]
    held = max(1, NOISE_BYTES // (8 * train.dim * min(len(queries), QUERY_ROWS)))
    groups = _cut(slice(0, draws), min(held, BLOCK_DRAWS))
    steps = len(queries) * len(groups) * len(train.slices(TRAIN_ROWS))

    def look(noisy: _NoisyQueries, block: torch.Tensor, square: torch.Tensor) -> tuple[slice, T]:
        return noisy.rows, measure(noisy.see(block, square))

    with (
        workers() as team,
        bar(steps, "distances", "row", delay=5, hidden=train.first > 0) as shown,
    ):
        alone = train.device.type != "cpu"  # another device works side by side by itself
        mean = cache(train.mean)
        for some in queries.slices(QUERY_ROWS):
            parts = [some] if alone else _cut(some, WORKER_ROWS)
            for ks in groups:
                noisy = _with_noise(team, queries, parts, streams[ks], mean)
                tasks = ((q, *block) for block in _read(train, mean()) for q in noisy)
                for rows, found in (Workers() if alone else team).in_order(look, tasks):
                    merge((..., ks, rows), found)
                    shown.update(rows.stop - rows.start)


def _cut(rows: slice, size: int) -> list[slice]:
    starts = range(rows.start, rows.stop, size)
    return [slice(i, min(i + size, rows.stop)) for i in starts]


def _read(train: Points, centre: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The centred training set in blocks (B, d), each with its ||x_i||^2 (1, B)."""
    for columns in train.slices(TRAIN_ROWS):
        block = train.block(columns, centre)
        yield block, _squares(block).T


def _with_noise(
    team: Workers,
    queries: Points,
    parts: list[slice],
    streams: list[np.random.Generator],
    mean: Callable[[], torch.Tensor],
) -> list[_NoisyQueries]:
    """Some queries, part by part, with the next noise of each stream."""
    sizes = [(1 + len(streams), rows.stop - rows.start, queries.dim) for rows in parts]
    points = [torch.empty(size, dtype=torch.float64) for size in sizes]
    drawn = [
        team.start(_draw, stream, [some[k] for some in points])
        for k, stream in enumerate(streams, 1)
    ]
    for rows, some in zip(parts, points, strict=True):  # read while the noise is drawn
        some[0] = queries.block(rows, mean())
    for wait in drawn:
        wait()
    moved = [some.to(queries.device) for some in points]
    return [*team.in_order(_NoisyQueries.of, zip(parts, moved, strict=True))]


def _draw(stream: np.random.Generator, places: list[torch.Tensor]) -> None:
    """Fill tensors of the host, one after the other, with standard normal noise."""
    for place in places:
        stream.standard_normal(out=place.numpy())


@dataclass(frozen=True)
class _NoisyQueries:
    """R centred queries and K noise draws of each, ready to see training points.

    Attributes
    ----------
    rows : which queries.
    points : (R, d), the queries x.
    factor : (1 + K, R, d), of x, then of the noise z of each draw.
    along : (1 + K, R, 1), ||x||^2, then <z, x>.
    norm2 : (K, R, 1), ||z||^2.
    """

    rows: slice
    points: torch.Tensor
    factor: torch.Tensor | Digits
    along: torch.Tensor
    norm2: torch.Tensor

    @classmethod
    def of(cls, rows: slice, points: torch.Tensor) -> _NoisyQueries:
        x, *noise = points
        along = torch.stack([_squares(x), *(_row_products(z, x) for z in noise)])
        return cls(rows, x, factor(points), along, _squares(points[1:]))

    def see(self, block: torch.Tensor, square: torch.Tensor) -> NoisyBlock:
        """Centred training points (B, d), and their ||x_i||^2 (1, B)."""
        found = products(self.factor, block)  # one product for all draws
        gap2 = _expanded(self.points, block, found[0], self.along[0] + square)
        tilt = torch.sub(self.along[1:], found[1:], out=found[1:])
        return NoisyBlock(gap2, tilt, self.norm2)


def _row_products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """<a_q, b_q> of each row -> (Q, 1), without a (Q, d) temporary."""
    if a.device.type == "cpu":  # in a third of the time of torch's batched product
        return torch.from_numpy(np.einsum("qd,qd->q", a.numpy(), b.numpy()))[:, None]
    return torch.linalg.vecdot(a, b)[:, None]


def _squares(a: torch.Tensor) -> torch.Tensor:
    """||a_q||^2 of each row (..., d) -> (..., 1), without a temporary either."""
    return torch.linalg.vector_norm(a, dim=-1, keepdim=True).square_()


def noise_like(stream: np.random.Generator, x: torch.Tensor) -> torch.Tensor:
    """The next rows of a stream of standard normal noise, as many as ``x`` (Q, d) has."""
    return torch.from_numpy(stream.standard_normal(tuple(x.shape))).to(x.device)


@overload
def nearest(
    queries: torch.Tensor,
    train: Array,
    k: int = 1,
    *,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> tuple[torch.Tensor, torch.Tensor]: ...
@overload
def nearest(
    queries: Numbers,
    train: Array,
    k: int = 1,
    *,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> tuple[Floats, NDArray[np.int64]]: ...
def nearest(
    queries: Any,
    train: Array,
    k: int = 1,
    *,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> Any:
    """The k nearest training points of each query: their Euclidean distances and indices.

    Candidates come from a blocked float64 search, with a margin for its rounding; the
    distances returned are those of the differences themselves, so a copy is at distance
    exactly 0, and they alone decide the order: ties go to the lower index. A query that is
    itself a training point counts as its own nearest neighbour.

    Parameters
    ----------
    queries : array (Q, ...)
        Points, in data units.
    train : array (N, ...)
        Points of the same size.
    k : int
        How many neighbours, 1 <= k <= N.
    device : str or torch.device
        "auto", or a torch device.
    group : torch.distributed.ProcessGroup or None
        Processes with a share of ``train`` each; see `max_posterior_weight`.

    Returns
    -------
    distances : array (Q, k)
        float64, data units, ascending along the last axis, of the kind of ``queries``.
    indices : array (Q, k)
        int64, of the same kind: which training points these are.

    Raises
    ------
    ValueError
        If k is outside 1..N, sizes differ, or values are not finite.

    References
    ----------
    Textbook.

    Examples
    --------
    >>> from geomem import nearest
    >>> distance, index = nearest([[0.0]], [[3.0], [-1.0], [1.0]], 2)
    >>> distance.tolist(), index.tolist()
    ([[1.0, 1.0]], [[1, 2]])
    """
    q, t = pair(queries, train, device, group)
    if not isinstance(k, (int, np.integer)) or not 1 <= k <= t.total:
        raise ValueError(f"k must lie in 1..{t.total} (the number of training points), got {k}.")
    centre, here = t.mean(), min(k, len(t))
    distance = torch.full((len(q), k), torch.inf, dtype=torch.float64)
    index = torch.zeros(len(q), k, dtype=torch.long)
    for rows in q.slices(QUERY_ROWS):
        who, which = _candidates(q.block(rows, centre), t, centre, here)
        exact = q.block(rows)
        gaps = [
            (exact[i] - t.block(j)).norm(dim=1).cpu().numpy()
            for i, j in zip(_parts(who), _parts(which), strict=True)
        ]
        gap = np.concatenate(gaps)
        order = np.lexsort((which, gap, who))  # by query, then distance, then index
        first = np.searchsorted(who[order], np.arange(len(exact)))
        chosen = order[first[:, None] + np.arange(here)]
        distance[rows, :here] = torch.from_numpy(gap[chosen])
        index[rows, :here] = torch.from_numpy(which[chosen] + t.first)
    distance, index = nearest_of_all(distance, index, group)
    return like(distance, queries), like(index, queries)


@overload
def nearest_distances(
    queries: torch.Tensor,
    train: Array,
    k: int = 1,
    *,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> torch.Tensor: ...
@overload
def nearest_distances(
    queries: Numbers,
    train: Array,
    k: int = 1,
    *,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> Floats: ...
def nearest_distances(
    queries: Any,
    train: Array,
    k: int = 1,
    *,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> Any:
    """The distances of `nearest` alone.

    Parameters
    ----------
    queries : array (Q, ...)
        Points, in data units.
    train : array (N, ...)
        Points of the same size.
    k : int
        How many neighbours, 1 <= k <= N.
    device : str or torch.device
        "auto", or a torch device.
    group : torch.distributed.ProcessGroup or None
        Processes with a share of ``train`` each; see `max_posterior_weight`.

    Returns
    -------
    array (Q, k) of the kind of queries
        float64, data units, ascending along the last axis.

    Raises
    ------
    ValueError
        As `nearest`.

    References
    ----------
    Textbook.

    Examples
    --------
    >>> from geomem import nearest_distances
    >>> nearest_distances([[0.0]], [[3.0], [-1.0]]).tolist()
    [[1.0]]
    """
    return nearest(queries, train, k, device=device, group=group)[0]


def rms_radius(points: Array, *, device: str | torch.device = "auto") -> float:
    """Root mean square distance of points to their mean: the square root of their total variance.

    Parameters
    ----------
    points : array (N, ...), in data units.
    device : "auto", or a torch device.

    >>> rms_radius([[0.0, 0.0], [6.0, 8.0]])
    5.0
    """
    t = Points(points, "points", device)
    centre = t.mean()
    squares = (t.block(rows, centre).square().sum() for rows in t.slices(TRAIN_ROWS))
    return float(sum(map(float, squares)) / len(t)) ** 0.5


def _candidates(
    x: torch.Tensor, t: Points, centre: torch.Tensor, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (query, training point) that hold the k nearest of every centred query of x (Q, d).

    A few more than k a query: also those that rounding alone may have put farther away.
    """
    best = torch.empty(len(x), 0, dtype=torch.float64, device=x.device)
    slack = torch.zeros(len(x), 1, dtype=torch.float64, device=x.device)
    rounding = 2 * t.dim * torch.finfo(torch.float64).eps
    size, ready, found = (x * x).sum(1, keepdim=True), factor(x), []
    for columns in t.slices(TRAIN_ROWS):
        block = t.block(columns, centre)
        square = (block * block).sum(1)
        gap2 = _expanded(x, block, products(ready, block), size + square)
        best = torch.cat([best, gap2], 1)
        best = best.topk(min(k, best.shape[1]), dim=1, largest=False).values
        slack = torch.maximum(slack, rounding * (size + square.max()))
        who, which = (gap2 <= best[:, -1:] + slack).nonzero().T
        found.append((who, which + columns.start, gap2[who, which]))
    who, which, gap2 = map(torch.cat, zip(*found, strict=True))
    near = gap2 <= (best[:, -1:] + slack)[who, 0]
    return who[near].cpu().numpy(), which[near].cpu().numpy()


def _parts(pairs: np.ndarray) -> list[np.ndarray]:
    return np.array_split(pairs, range(QUERY_ROWS, len(pairs), QUERY_ROWS))
