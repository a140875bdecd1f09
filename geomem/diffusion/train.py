"""Training an EDM denoiser (Karras et al. 2022): one step at a time, exactly resumable.

Every step draws its batch and its noise from a generator seeded by (seed, images seen), so
a run that stops and goes on is the run that never stopped, bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed, nn

from geomem.diffusion import checkpoint
from geomem.diffusion.network import EDMDenoiser, ModelConfig, loss_weight
from geomem.diffusion.noise import NoiseLaw
from geomem.errors import WorkError
from geomem.typed import SEEDS, check_ranges

DIVERGED = 1e4  # the loss of an untrained model is 1


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
        "float32" or "bfloat16"; "auto": the latter on CUDA.
    compile : bool
        Use torch.compile: pays off on CUDA in long runs.
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
    seconds: float  # of this step


class TrainState:
    """A model in training: weights, their moving average, the optimizer, and the losses.

    Parameters
    ----------
    config : complete (see `TrainConfig.for_images`).
    """

    def __init__(self, config: TrainConfig):
        self.config = config
        self.device = torch.device(device_of(config.device))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = EDMDenoiser(config.model)
        cuda = self.device.type == "cuda"
        low = config.precision == "bfloat16" or (config.precision == "auto" and cuda)
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

    Parameters
    ----------
    config : complete, as ``config.for_images(images)`` gives.
    images : (N, C, H, W) float32, data units.
    labels : (N,) class numbers, of a class-conditional model only.
    state : changed in place; None for a fresh one.

    Yields
    ------
    Record, after each step. ``state.ema`` is then the model.

    Raises
    ------
    TrainingError : a loss or gradient that is not finite, or a loss that diverged. The
        state is still the one before that step.
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
    network: Any = state.model.train()
    if config.compile:
        network = torch.compile(network)
    if group:
        network = nn.parallel.DistributedDataParallel(network)
    parameters = list(state.model.parameters())
    while state.step < config.steps:
        started, step = time.perf_counter(), state.step
        loss = _loss(config, state, network, images, labels, share)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
        value = loss.detach()
        if group:
            distributed.all_reduce(value)
            value = value / world
        _check(float(value), float(norm), step)
        rate = config.rate(step)
        for options in state.optimizer.param_groups:
            options["lr"] = rate
        state.optimizer.step()
        _average(state.ema, state.model, min(config.ema, (1 + step) / (10 + step)))
        state.losses.append(float(value))
        images_seen, seconds = state.step * config.batch, time.perf_counter() - started
        yield Record(state.step, images_seen, float(value), rate, seconds)


def _loss(
    config: TrainConfig,
    state: TrainState,
    network: nn.Module,
    images: np.ndarray,
    labels: np.ndarray | None,
    share: slice,
) -> Tensor:
    """The loss of this process's share of the next batch."""
    sigma_data = config.model.sigma_data
    assert sigma_data is not None
    stream = np.random.default_rng([config.seed, state.step * config.batch])
    rows = stream.integers(len(images), size=config.batch)[share]
    level = config.noise.quantile(stream.uniform(1e-12, 1, config.batch))[share]
    noise = stream.standard_normal((config.batch, *images.shape[1:]), np.float32)[share]
    sigma = torch.from_numpy(level).to(state.device, torch.float32)
    clean = torch.from_numpy(images[rows]).to(state.device)
    label = None if labels is None else torch.from_numpy(labels[rows]).to(state.device)
    noisy = clean + sigma[:, None, None, None] * torch.from_numpy(noise).to(state.device)
    with torch.random.fork_rng(enabled=config.model.dropout > 0):
        if config.model.dropout > 0:
            torch.manual_seed(int(stream.integers(2**62)) + share.start)  # each process its own
        error = (network(noisy, sigma, label) - clean).square().mean((1, 2, 3))
    return (loss_weight(sigma, sigma_data) * error).mean()


def _check(loss: float, norm: float, step: int) -> None:
    if not (math.isfinite(loss) and math.isfinite(norm)) or loss > DIVERGED:
        raise TrainingError(
            f"training stopped in step {step + 1}: loss {loss:.3g}, gradient norm {norm:.3g}; "
            "a smaller lr or a longer warmup may help."
        )


@torch.no_grad()
def _average(ema: nn.Module, model: nn.Module, decay: float) -> None:
    for mean, now in zip(ema.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


def device_of(name: str) -> str:
    """The device that "auto", "cpu" or "cuda" means here."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device: there is no CUDA device here; leave it at auto.")
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
