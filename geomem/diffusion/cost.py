"""What a training costs, before it starts: parameters, FLOPs, memory and hours.

The first three are counted on PyTorch's meta device, where tensors have a shape and no
values. The hours are an estimate, and `Cost.basis` says on what it rests.
"""

from __future__ import annotations

import contextlib
import math
import os
import statistics
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from geomem.data.sets import source_sha256
from geomem.diffusion.network import EDMDenoiser, ModelConfig
from geomem.diffusion.presets import Experiment
from geomem.diffusion.train import TrainConfig, TrainingError, device_of, low_precision, train
from geomem.machine import in_bytes, memory

BACKWARD = 2  # FLOPs of a backward pass, in those of the forward pass before it
COPIES = 5  # of every weight: itself, its gradient, Adam's two moments, its moving average
HELD = 4  # more of them on CUDA: all but the gradient, to go back to where a loss diverges
# What an H100 is assumed to reach in bfloat16, none of it measured here: convolutions 15% of the
# 989e12 FLOP/s of its data sheet; what lies between them half of its 3.35e12 bytes/s, in so many
# passes over the activations (7 to 9 go into and out of operations, by count); and a step takes a
# while to begin. So a small network has a smaller share of the peak in all: 6% that of the preset
# cifar10-fast, 10% the paper's.
CUDA_RATE, CUDA_BYTES, PASSES, STEP_SECONDS = 150e12, 1.7e12, 8, 2e-3
CUDA_BASIS = "computed for an H100, at 15% of its peak and half of its bandwidth; not measured"
CPU_RATE = 50e9  # FLOP/s of a CPU thread: what our U-Net reached on one AVX2 core
CPU_STEP_SECONDS = 1e-3  # assumed: what the calls of a step take, however little they compute
MEASURED_BELOW = 2e9  # FLOPs of an image in training, up to which a CPU is measured instead
DOWNLOADS = {"cifar10": (3, 32), "fashion-mnist": (1, 28)}  # channels and side, as published
# What of our networks torch.autocast has on CUDA in bfloat16, and what in float32. All else is in
# the precision of what comes in: SiLU behind a norm in float32, a sum of convolutions in bfloat16.
NARROW = {functional.conv2d, functional.linear, functional.scaled_dot_product_attention}
WIDE = {functional.group_norm, functional.layer_norm}
STEPS, STEP_FLOPS = 6, 10e9  # of that measurement, which so takes a second or two


@dataclass(frozen=True)
class Cost:
    """What one training costs on one device.

    Attributes
    ----------
    parameters : of the network.
    images : seen in training, counted as often as they are seen.
    batch : of them at once.
    copies : of every parameter that training holds.
    flops : of a forward pass, per image; a multiplication and an addition are two.
    activation_bytes : what the backward pass keeps of the forward pass, per image, in the
        precision of the training.
    rate : images per second in training.
    basis : what the rate rests on.
    """

    parameters: int
    images: int
    batch: int
    copies: int
    flops: int
    activation_bytes: int
    rate: float
    basis: str

    @property
    def training_flops(self) -> int:
        """FLOPs of one image in training: forward and backward."""
        return (1 + BACKWARD) * self.flops

    @property
    def state_bytes(self) -> int:
        """Weights, gradients, Adam's two moments and the average, and what is held of them."""
        return 4 * self.copies * self.parameters  # float32 on any device

    @property
    def memory(self) -> int:
        """Bytes of state and of the activations of a batch; what PyTorch itself takes is more."""
        return self.state_bytes + self.batch * self.activation_bytes

    @property
    def hours(self) -> float:
        return self.images / self.rate / 3600


def cost(config: TrainConfig) -> Cost:
    """What it costs to train this config on one device.

    Parameters
    ----------
    config : with every field of the images known (see `TrainConfig.for_images`). Its device
        need not be here: "cuda" is reckoned on any machine.

    >>> from geomem.diffusion.network import ModelConfig
    >>> linear = ModelConfig("mlp", width=8, channels=1, size=4, mean=0.0, sigma_data=0.5)
    >>> cost(TrainConfig(linear, steps=10, batch=3, device="cuda")).images
    30
    """
    counted = _counted(config)
    training = counted.training_flops
    if on_cuda(config):  # whatever is here: an H100 has bfloat16
        rate, basis = _computed(config), CUDA_BASIS
    elif training > MEASURED_BELOW:
        rate = CPU_RATE * config.threads / training
        basis = f"assumes {CPU_RATE / 1e9:.0f} GFLOP/s a CPU thread, not measured"
    else:
        rate, basis = _measured(config, training), f"measured on {STEPS - 1} steps here and now"
    return replace(counted, rate=rate, basis=basis)


def assumed_seconds(config: TrainConfig) -> float:
    """Seconds of a training on a CPU, at the rate assumed: to measure one would take as long."""
    threads = min(config.threads, os.cpu_count() or 1)
    arithmetic = config.images * _counted(config).training_flops / (CPU_RATE * threads)
    return arithmetic + config.steps * CPU_STEP_SECONDS


def on_cuda(config: TrainConfig) -> bool:
    """Whether a config is for CUDA, which need not be here, or takes it because it is."""
    return config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())


def planned(experiment: Experiment) -> TrainConfig:
    """The config with all that its cost depends on; nothing is downloaded for it.

    Raises
    ------
    ConfigError : the network does not take such images.
    """
    data = experiment.data
    if data.name in DOWNLOADS and source_sha256(data.name) == "absent":
        channels, size = DOWNLOADS[data.name]
        shape = (1, 1 if data.grayscale else channels, *2 * [data.size or size])
        images = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    else:
        images = data.load().train
    return experiment.complete(images).train


def check_memory(config: TrainConfig, processes: int = 1) -> None:
    """TrainingError where a training takes more memory than its device has in all.

    What it takes at least: up to a tenth of what is counted, attention's matrices, kernels need not
    keep; compiled, operations are fused, and half is a guess.
    """
    counted, device = _counted(config), device_of(config.device)
    activations = counted.activation_bytes * (5 if config.compile else 9) // 10
    needed = counted.state_bytes + config.batch // processes * activations
    there = memory() if device != "cuda" else torch.cuda.get_device_properties(0).total_memory
    if needed > there:
        raise TrainingError(
            f"{counted.parameters:,} weights, in batches of {config.batch:,}, take at least "
            f"{in_bytes(needed)} of memory in training, and there are {in_bytes(there)} "
            f"({device}); make train.batch or the network smaller."
        )


def _counted(config: TrainConfig) -> Cost:
    """A cost without its time, in the precision that its device has."""
    low = low_precision(config, "cuda" if on_cuda(config) else "cpu")
    flops, activations = count(config.model, low=low)
    weights, copies = parameters(config.model), COPIES + HELD * on_cuda(config)
    return Cost(weights, config.images, config.batch, copies, flops, activations, math.nan, "")


def parameters(config: ModelConfig) -> int:
    """How many numbers a network learns."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in EDMDenoiser(config).parameters())


def count(config: ModelConfig, n: int = 1, low: bool = False) -> tuple[int, int]:
    """FLOPs of a forward pass of n images, and the bytes of activations that it leaves.

    FLOPs are those of the matrix products and convolutions. The bytes are those of the
    distinct tensors that autograd keeps, the weights aside, in float32 or, ``low``, as autocast
    to bfloat16 has them on CUDA: of our U-Nets no half, but nine tenths of those in float32.
    """
    with torch.device("meta"):
        denoiser = EDMDenoiser(config)
        x = torch.empty(n, denoiser.config.channels or 0, *2 * [denoiser.config.size or 0])
        level = torch.empty(n)
        label = torch.zeros(n, dtype=torch.long) if config.n_classes else None
    weights = {tensor.untyped_storage() for tensor in denoiser.state_dict().values()}
    kept: set[torch.UntypedStorage] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.add(tensor.untyped_storage())
        return tensor

    counter = FlopCounterMode(display=False)
    precision = _Autocast(weights) if low else contextlib.nullcontext()
    with counter, saved_tensors_hooks(keep, lambda tensor: tensor), precision:
        denoiser.network(x, level, label)  # the scalings around it cost next to nothing
    return counter.get_total_flops(), sum(s.nbytes() for s in kept - weights)


class _Autocast(TorchFunctionMode):
    """What torch.autocast does on CUDA, for the meta device, where torch's does nothing.

    Parameters
    ----------
    weights : the storages of a network's own, to which those of their copies are added.
    """

    def __init__(self, weights: set[torch.UntypedStorage]):
        super().__init__()
        self.weights = weights

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kind = torch.bfloat16 if func in NARROW else torch.float32 if func in WIDE else None
        if kind is not None:
            args = tuple(self._cast(a, kind) for a in args)
            kwargs = {name: self._cast(a, kind) for name, a in (kwargs or {}).items()}
        return func(*args, **(kwargs or {}))

    def _cast(self, value: Any, kind: torch.dtype) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        cast = value.to(kind)
        if isinstance(value, nn.Parameter):
            self.weights.add(cast.untyped_storage())
        return cast


def _computed(config: TrainConfig) -> float:
    """Images per second on an H100: arithmetic, then memory, then the start of each step.

    In bfloat16, unless the config says float32; then products, in TF32, take twice as long.
    """
    low = config.precision != "float32"
    flops, activations = count(config.model, low=low)
    arithmetic = (1 + BACKWARD) * flops / CUDA_RATE * (1 if low else 2)
    memory = PASSES * activations / CUDA_BYTES
    return 1 / (arithmetic + memory + STEP_SECONDS / config.batch)


def _measured(config: TrainConfig, training_flops: int) -> float:
    """Images per second of a few real steps on this CPU, with noise for images."""
    model = config.model
    batch = max(1, min(config.batch, int(STEP_FLOPS / training_flops)))
    short = replace(config, steps=STEPS, batch=batch, lr=1e-6, device="cpu", compile=False)
    shape = (batch, model.channels or 0, model.size or 0, model.size or 0)
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    labels = np.zeros(batch, np.int64) if model.n_classes else None
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        seconds = [record.seconds for record in train(short, noise, labels)]
    finally:
        torch.set_num_threads(threads)
    return batch / statistics.median(seconds[1:])  # the first step warms up
