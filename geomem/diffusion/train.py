"""Training an EDM denoiser (Karras et al. 2022): one step at a time, exactly resumable.

Every step draws its batch and its noise from a generator seeded by (seed, images seen), so
a run that stops and goes on is the run that never stopped, bit for bit on a CPU. On CUDA the
drawing is done there, and no step waits for the device: what the losses were is read once in
many steps.
"""

from __future__ import annotations

import bisect
import contextlib
import copy
import functools
import math
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from geomem.diffusion import checkpoint
from geomem.diffusion.network import EDMDenoiser, ModelConfig, loss_weight
from geomem.diffusion.noise import NoiseLaw
from geomem.errors import WorkError
from geomem.typed import SEEDS, check_ranges

DIVERGED = 1e4  # the loss of an untrained model is 1
RESIDENT = 1 / 4  # of CUDA's memory: images that take less lie there, others on the host


class TrainingError(WorkError):
    """Training that cannot start, or that stopped; the message says where and why."""


RANGES = {  # of `TrainConfig`
    "steps": "[1, 1e9]",
    "batch": "[1, 1e9]",
    "lr": "(0, 1e6]",
    "warmup": "[0, 1e9]",
    "final_lr": "[0, 1]",
    "ema": "[0, 1)",
    "snapshots": "(0, 1]",
    "seed": SEEDS,
    "checkpoint": "[1, inf)",
    "threads": "[1, 1024]",
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything that makes a model, but for the images.

    Parameters
    ----------
    model : ModelConfig
        The network.
    noise : NoiseLaw
        The noise levels to train at.
    steps : int
        Optimizer steps, in [1, 1e9].
    batch : int
        Images per step, over all processes, in [1, 1e9].
    lr : float
        Adam's learning rate after the warm-up, in (0, 1e6].
    warmup : int
        Steps over which the learning rate rises, in [0, 1e9].
    final_lr : float
        Share of lr left at the end of the cosine, in [0, 1]; 1: constant.
    ema : float
        Decay of the weights' moving average per step, in [0, 1).
    snapshots : tuple of floats
        Shares of the steps after which the average is kept, each in (0, 1], 1000 at most.
    seed : int
        Of the first weights, the batches and the noise, in [0, 2^64).
    checkpoint : int
        Steps between checkpoints, >= 1.
    device : str
        "auto", "cpu" or "cuda".
    precision : str
        "float32" (on CUDA with products in TF32) or "bfloat16"; "auto": the latter on CUDA
        devices that have it, of compute capability 8.0 or more (no T4, no V100).
    compile : bool
        Use torch.compile where it works: pays off on CUDA in long runs.
    threads : int
        CPU threads per process, in [1, 1024]; models train side by side instead.

    Raises
    ------
    ValueError
        If a value is outside its range.

    References
    ----------
    The training of :cite:t:`karras2022elucidating`, with a shorter warm-up and a cosine; see
    :doc:`/book/models`.

    Examples
    --------
    >>> from geomem import TrainConfig
    >>> config = TrainConfig(steps=100, batch=32)
    >>> config.images, config.with_images(6400).steps
    (3200, 200)
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    noise: NoiseLaw = field(default_factory=NoiseLaw)
    steps: int = 3300
    batch: int = 64
    lr: float = 2e-3
    warmup: int = 100
    final_lr: float = 0.05
    ema: float = 0.999
    snapshots: tuple[float, ...] = ()
    seed: int = 0
    checkpoint: int = 500
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if len(self.snapshots) > 1000:
            raise ValueError(f"training: at most 1000 snapshots, got {len(self.snapshots):,}.")
        check_ranges("training", self, RANGES)
        wrong = None
        if self.device not in ("auto", "cpu", "cuda"):
            wrong = f"device must be auto, cpu or cuda, got {self.device!r}"
        elif self.precision not in ("auto", "float32", "bfloat16"):
            wrong = f"precision must be auto, float32 or bfloat16, got {self.precision!r}"
        if wrong:
            raise ValueError(f"training: {wrong}.")

    def for_images(self, images: np.ndarray) -> TrainConfig:
        """This config with all that was left open measured on the training images."""
        model = self.model.for_images(images)
        assert model.sigma_data is not None
        return replace(self, model=model, noise=self.noise.for_data(model.sigma_data))

    @property
    def images(self) -> int:
        """The budget in images seen, repeats included."""
        return self.steps * self.batch

    def with_images(self, images: int) -> TrainConfig:
        """This config with its budget given in images, rounded up to whole steps."""
        return replace(self, steps=math.ceil(images / self.batch))

    def step_of(self, share: float) -> int:
        """The step after which a share of the training is done, at least 1."""
        return max(1, round(share * self.steps))

    @property
    def snapshot_steps(self) -> set[int]:
        """The steps after which the average is kept."""
        return {self.step_of(share) for share in self.snapshots}

    def rate(self, step: int) -> float:
        """The learning rate of step 0, 1, ...: a linear rise, then a cosine."""
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        fall = (1 + math.cos(math.pi * step / self.steps)) / 2
        return self.lr * rise * (self.final_lr + (1 - self.final_lr) * fall)


class Record(NamedTuple):
    """What one step did."""

    step: int  # steps done, from 1
    images: int  # images seen
    loss: float  # the weighted loss of this step's batch
    lr: float
    seconds: float  # of this step; on CUDA the mean of its stretch


class TrainState:
    """A model in training: weights, their moving average, the optimizer, and the losses.

    Parameters
    ----------
    config : complete (see `TrainConfig.for_images`).
    """

    def __init__(self, config: TrainConfig):
        self.config = config
        self.device = torch.device(device_of(config.device))
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(config.seed)  # torch's would reseed CUDA's, too
            self.model = EDMDenoiser(config.model)
        cuda = self.device.type == "cuda"
        low = low_precision(config, self.device)
        self.model.precision = torch.bfloat16 if low else torch.float32
        self.model.to(self.device)
        if cuda:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True
        )
        self.losses: list[float] = []

    @property
    def step(self) -> int:
        """Steps done."""
        return len(self.losses)

    def held(self) -> Callable[[], None]:
        """A copy of all that steps change; called, it puts the state back to where it was."""
        parts: tuple[Any, ...] = self.model, self.ema, self.optimizer
        copies = copy.deepcopy([part.state_dict() for part in parts])

        def restore() -> None:
            for part, values in zip(parts, copies, strict=True):
                part.load_state_dict(values)

        return restore

    def save(self, folder: Path, **facts: Any) -> None:
        """Write everything that `load` needs to go on exactly from here, and facts beside it."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.state_dict().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in moments.items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        checkpoint.write(folder, tensors, {**facts, "step": self.step})

    def load(self, folder: Path) -> None:
        """Go on from a state that `save` wrote for the same config."""
        tensors, _ = checkpoint.read(folder)
        try:
            self.losses = tensors.pop("losses").tolist()
            parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
            for name, tensor in tensors.items():
                part, _, rest = name.partition(".")
                parts[part][rest] = tensor
            self.model.load_state_dict(parts["model"])
            self.ema.load_state_dict(parts["ema"])
            moments: dict[int, dict[str, Any]] = {}
            weights = list(self.model.parameters())
            for name, tensor in parts["optimizer"].items():
                index, key = name.split(".")
                if tensor.ndim:  # fused Adam needs the moments laid out in memory as the weights
                    like = torch.empty_like(weights[int(index)], requires_grad=False)
                    tensor = like.copy_(tensor)
                moments.setdefault(int(index), {})[key] = tensor
            groups = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise checkpoint.DamagedError(folder, "of another configuration") from error


class Batch(NamedTuple):
    """One process's share of a batch, as drawn; on the device."""

    clean: Tensor  # (B, C, H, W) float32, data units
    sigma: Tensor  # (B,) float32, data units
    noise: Tensor  # (B, C, H, W) float32, standard normal
    label: Tensor | None  # (B,) int64
    dropout: int  # the seed of the masks, of each process its own


@dataclass
class HostDraws:
    """Batches by NumPy's generator, the same on any machine; called with the images seen."""

    config: TrainConfig
    images: np.ndarray
    labels: np.ndarray | None
    share: slice  # of each batch, that of this process
    device: torch.device

    every = 1  # steps between two readings of their losses

    def __call__(self, seen: int) -> Batch:
        c, images, labels, share = self.config, self.images, self.labels, self.share
        stream = np.random.default_rng([c.seed, seen])
        rows = stream.integers(len(images), size=c.batch)[share]
        level = c.noise.quantile(stream.uniform(1e-12, 1, c.batch))[share]
        noise = stream.standard_normal((c.batch, *images.shape[1:]), np.float32)[share]
        return Batch(
            torch.from_numpy(images[rows]),
            torch.from_numpy(level).to(torch.float32),
            torch.from_numpy(noise),
            None if labels is None else torch.from_numpy(labels[rows]),
            int(stream.integers(2**62)) + share.start,
        )


@dataclass
class DeviceDraws(HostDraws):
    """The same law by generators of the device, for which the host does not wait.

    Every process draws all of a batch, and keeps its share.
    """

    every = 25  # the device is refilled rarely, and a stop is not long in coming

    def __post_init__(self) -> None:
        place = self.device if self.images.nbytes <= _room(self.device) else torch.device("cpu")
        self.clean = torch.from_numpy(self.images).to(place)
        self.label = None if self.labels is None else torch.from_numpy(self.labels).to(place)
        # Rows are drawn where the images lie, all else on the device.
        self.choice, self.chance = torch.Generator(place), torch.Generator(self.device)

    def __call__(self, seen: int) -> Batch:
        c, clean, share = self.config, self.clean, self.share
        keys = np.random.SeedSequence([c.seed, seen]).generate_state(3, np.uint64).tolist()
        choice, chance = self.choice.manual_seed(keys[0]), self.chance.manual_seed(keys[1])
        chosen = torch.randint(len(clean), (c.batch,), generator=choice, device=clean.device)
        rows, there = chosen[share], dict[str, Any](generator=chance, device=self.device)
        level = torch.rand(c.batch, dtype=torch.float64, **there)[share].clamp(min=1e-12)
        return Batch(
            self._sent(clean[rows]),
            c.noise.tensor_quantile(level).to(torch.float32),
            torch.randn((c.batch, *clean.shape[1:]), **there)[share],
            None if self.label is None else self._sent(self.label[rows]),
            keys[2] // 4 + share.start,
        )

    def _sent(self, rows: Tensor) -> Tensor:
        """On the device; from the host by pinned memory, whose copy nobody waits for."""
        if rows.device.type == self.device.type:
            return rows
        return rows.pin_memory().to(self.device, non_blocking=True)


def _room(device: torch.device) -> float:
    """Bytes of images that may lie on a device: of its kind, so that resuming stays exact."""
    if device.type != "cuda":
        return math.inf
    return RESIDENT * torch.cuda.get_device_properties(device).total_memory


def train(
    config: TrainConfig,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    state: TrainState | None = None,
) -> Iterator[Record]:
    """Train step by step, from where ``state`` stands to the end of the budget.

    The loss is EDM's: the mean over pixels of weight(sigma) |D(x + sigma z, sigma) - x|^2,
    ln sigma drawn from ``config.noise``. Where torch.distributed is initialised, each
    process takes its share of every batch, and the result is that of one process (without
    dropout, whose masks differ).

    On CUDA a stretch of steps is taken before their losses are read, and then their records come
    one after the other, with the state of the last. No stretch passes a snapshot or a checkpoint.

    Parameters
    ----------
    config : complete, as ``config.for_images(images)`` gives.
    images : (N, C, H, W) float32, data units.
    labels : (N,) class numbers, of a class-conditional model only.
    state : changed in place; None for a fresh one.

    Yields
    ------
    Record, after each step; on CUDA after each stretch. ``state.ema`` is then the model.

    Raises
    ------
    TrainingError : a loss or gradient that is not finite, or a loss that diverged. The
        state is still the one before that step; on CUDA the one before its stretch.
    """
    state = TrainState(config) if state is None else state
    if (labels is None) != (config.model.n_classes == 0):
        raise TrainingError("labels go with a model of n_classes > 0, and only with one.")
    if labels is not None and not set(labels.tolist()) <= set(range(config.model.n_classes)):
        raise TrainingError(
            f"labels: {config.model.n_classes} classes are numbered from 0; "
            f"these run from {labels.min()} to {labels.max()}."
        )
    group = distributed.is_available() and distributed.is_initialized()
    rank, world = (distributed.get_rank(), distributed.get_world_size()) if group else (0, 1)
    if config.batch % world:
        raise TrainingError(f"batch {config.batch} does not divide by {world} processes.")
    share = slice(rank * config.batch // world, (rank + 1) * config.batch // world)
    kind = HostDraws if state.device.type == "cpu" else DeviceDraws
    draws = kind(config, images, labels, share, state.device)
    network: Any = state.model.train()
    if config.compile:
        network = _compiled(state, draws)
    if group:
        network = nn.parallel.DistributedDataParallel(network)
    looks = sorted(config.snapshot_steps | {config.steps})
    while state.step < config.steps:
        started, first = time.perf_counter(), state.step
        saved = (first // config.checkpoint + 1) * config.checkpoint
        look = looks[bisect.bisect_right(looks, first)]
        _advance(state, network, draws, min(first + draws.every, saved, look))
        seconds = (time.perf_counter() - started) / (state.step - first)
        for step, loss in enumerate(state.losses[first:], first):
            images_seen = (step + 1) * config.batch
            yield Record(step + 1, images_seen, loss, config.rate(step), seconds)


def _advance(state: TrainState, network: nn.Module, draws: HostDraws, last: int) -> None:
    """The steps to ``last``; what was lost in all of them is read before that one is taken."""
    config, first = draws.config, state.step
    restore = state.held() if last > first + 1 else None
    found = []
    with _kernels(state.device):
        for step in range(first, last):
            found.append(_gradient(state, network, draws(step * config.batch)))
            if step + 1 == last:
                read = torch.stack(found).tolist()  # nothing before waits for the device
                _check(read, first, restore)
            for options in state.optimizer.param_groups:
                options["lr"] = config.rate(step)
            state.optimizer.step()
            _average(state.ema, state.model, min(config.ema, (1 + step) / (10 + step)))
    state.losses += [loss for loss, _ in read]


def _gradient(state: TrainState, network: nn.Module, batch: Batch) -> Tensor:
    """The loss of a batch, of all processes, and the norm of its gradient, which it leaves."""
    loss = _loss(state, network, batch)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    slopes = [p.grad for p in state.model.parameters() if p.grad is not None]
    value, norm = loss.detach(), torch.stack(torch._foreach_norm(slopes)).norm()
    if isinstance(network, nn.parallel.DistributedDataParallel):
        distributed.all_reduce(value)
        value = value / distributed.get_world_size()
    return torch.stack([value, norm])


def _loss(state: TrainState, network: nn.Module, batch: Batch) -> Tensor:
    config = state.config.model
    clean, sigma, noise, label, dropout = batch
    assert config.sigma_data is not None
    noisy = clean + sigma[:, None, None, None] * noise
    masks, cuda = config.dropout > 0, state.device.type == "cuda"
    # Only the device that draws: others may be those of other processes.
    with torch.random.fork_rng([torch.cuda.current_device()] if masks and cuda else [], masks):
        if masks:
            torch.default_generator.manual_seed(dropout)
        if masks and cuda:
            torch.cuda.manual_seed(dropout)
        error = (network(noisy, sigma, label) - clean).square().mean((1, 2, 3))
    return (loss_weight(sigma, config.sigma_data) * error).mean()


def _check(found: list[list[float]], first: int, restore: Callable[[], None] | None) -> None:
    """Refuse a loss, or norm of a gradient, that no training goes on from.

    ``found`` has both of each step after ``first``; ``restore`` goes back there, and is None where
    no step was taken since.
    """
    for step, (loss, norm) in enumerate(found, first + 1):
        if math.isfinite(loss) and math.isfinite(norm) and loss <= DIVERGED:
            continue
        kept = ""
        if restore is not None:
            restore()
            kept = f"kept is the state after step {first}; "
        raise TrainingError(
            f"training stopped in step {step}: loss {loss:.3g}, gradient norm {norm:.3g}; "
            f"{kept}a smaller lr or a longer warmup may help."
        )


@torch.no_grad()
def _average(ema: nn.Module, model: nn.Module, decay: float) -> None:
    torch._foreach_lerp_([*ema.parameters()], [*model.parameters()], 1 - decay)


def _compiled(state: TrainState, draws: HostDraws) -> nn.Module:
    """The network compiled; where that fails, a warning, and the network as it stands.

    Compilers are found missing when they are asked first: so a step is tried, and nothing of it
    kept. The mode is the default one. CUDA graphs ("reduce-overhead") would spare the host its
    launches, but it runs many steps ahead of the device as it is, and they are what most often
    breaks: fixed memory, the generators of dropout, several processes.
    """
    network: Any = torch.compile(state.model)
    try:
        with _kernels(state.device):
            _loss(state, network, draws(state.step * draws.config.batch)).backward()
    except Exception as error:  # compilers fail in many ways; what is no such comes again
        why = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        warnings.warn(f"torch.compile does not work here, going on without: {why}", stacklevel=3)
        network = state.model
    state.optimizer.zero_grad(set_to_none=True)
    return network


@contextlib.contextmanager
def _kernels(device: torch.device) -> Iterator[None]:
    """On CUDA meanwhile: products of float32 in TF32, and sums in a fixed order, for resuming."""
    if device.type != "cuda":
        yield
        return
    fixed, torch.backends.cudnn.deterministic = torch.backends.cudnn.deterministic, True
    try:
        with _tf32(), sdpa_kernel(SDPBackend.MATH):  # the fused ones add up gradients as they come
            yield
    finally:
        torch.backends.cudnn.deterministic = fixed


@contextlib.contextmanager
def _tf32() -> Iterator[None]:
    """Products of float32 in TF32 meanwhile, by whichever of torch's two switches is in use."""
    tell: Callable[[str], None]
    try:
        before, wanted = torch.get_float32_matmul_precision(), "high"
        tell = torch.set_float32_matmul_precision
    except RuntimeError:  # the newer one is set, of which the older cannot tell
        newer: Any = torch.backends.cuda.matmul
        before, wanted = newer.fp32_precision, "tf32"
        tell = functools.partial(setattr, newer, "fp32_precision")
    if before == wanted:  # perhaps from a switch above: to say it here again would outlast that
        yield
        return
    tell(wanted)
    try:
        yield
    finally:
        tell(before)


def device_of(name: str) -> str:
    """The device that "auto", "cpu" or "cuda" means here."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device: there is no CUDA device here; leave it at auto.")
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def low_precision(config: TrainConfig, device: str | torch.device) -> bool:
    """Whether a config is trained in bfloat16 on "cpu" or "cuda".

    A CUDA device that is not here is taken to have it. Older ones than Ampere emulate it, slowly.
    """
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if torch.device(device).type != "cuda":
        return False
    return not torch.cuda.is_available() or torch.cuda.get_device_capability(device) >= (8, 0)
