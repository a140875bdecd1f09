"""What training costs, measured in one run: python benchmarks/training.py [--device cuda] [--quick]

Images/s of one step (forward, backward, Adam, moving average) of our networks, by the `train`
that the book uses, against `diffusers.UNet2DModel` in a plain loop: the same batch, precision,
blocks per level and attention, and as many weights and 3x3 convolutions within a few per cent. The
two take turns, so that a busy machine slows both; the ratio is the median over turns. Without
diffusers ours is measured alone. Of ours also: the FLOP/s, as a share of the device's peak, and
which parts of a step take its time.

On a CPU before that the peak memory of a process that trains; after it, samples by 18 Heun steps.
The images are random: the cost depends on the shapes only.
"""

import argparse
import contextlib
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from geomem.diffusion import train as training
from geomem.diffusion.cost import BACKWARD, count, parameters
from geomem.diffusion.network import EDMDenoiser, loss_weight, preconditioning
from geomem.diffusion.presets import PRESETS
from geomem.diffusion.sampler import sample
from geomem.diffusion.train import TrainState, train

try:
    from diffusers import UNet2DModel
except ImportError:
    UNet2DModel = None

# Our preset, its images' channels and size, and how diffusers' network is steered: by scale and
# shift as ours, but for the large network, where this would add 13% of weights. Its resampling is
# one convolution, ours a block of two; in the middle it is the other way round. Last: turns, and
# steps in each, on a CPU.
CASES = {
    "digits-unet": (1, 8, "scale_shift", (9, 40)),
    "cifar10-luma": (1, 16, "scale_shift", (9, 20)),
    "cifar10-fast": (3, 32, "scale_shift", (3, 4)),
    "cifar10": (3, 32, "default", (2, 1)),
}
CASES = {name: case for name, case in CASES.items() if f"{name}-small" in PRESETS}
ON_CUDA = ("cifar10-fast", "cifar10")
# FLOP/s in bfloat16 by tensor cores, without sparsity, as the makers say; the first that fits.
PEAKS = {
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batch", type=int, help="default 32, on CUDA that of the preset")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="both networks, by torch.compile")
    parser.add_argument("--quick", action="store_true", help="cut down to seconds, on a CPU")
    parser.add_argument("--case", choices=[*CASES, "sampling", "memory"], help="only this one")
    parser.add_argument("--json", type=Path, help="write all numbers to this file, too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sys.stdout.reconfigure(line_buffering=True)  # what was measured stays, should the rest not be
    device = torch.device(training.device_of(options.device))
    cuda, wanted = device.type == "cuda", options.case
    where = torch.cuda.get_device_name() if cuda else f"CPU, {options.threads} threads"
    peak, basis = peak_of(device, options.quick)
    print(f"torch {torch.__version__}, {where}, peak {peak / 1e12:.3g} TFLOP/s ({basis})")
    found = {"torch": torch.__version__, "device": where, "peak": peak, "peak_from": basis}
    if not (cuda or options.quick) and wanted in (None, "memory"):
        for name in ("digits-unet", "cifar10-luma"):  # first: a child inherits its parent's peak
            with multiprocessing.get_context("spawn").Pool(1) as process:
                print(f"{name}: peak memory {process.apply(peak_memory, (name,)):.2f} GiB")
    for name in CASES:
        if name == wanted or (wanted is None and (name in ON_CUDA or not cuda)):
            found[name] = compare(name, options, device, peak)
            write(found, options.json)
    if wanted in (None, "sampling"):
        found["sampling"] = time_sampling(device, options.quick)
        write(found, options.json)


def write(found, path):
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")


def compare(name, options, device, peak):
    """Images/s of our step and of diffusers', in turns, and what ours takes its time for."""
    *_, steered, (turns, steps) = CASES[name]
    config, images = setting(name, options, device)
    if device.type == "cuda":
        turns, steps = 3, 10
    if options.quick:
        turns, steps = 1, min(steps, 2)
    config = replace(config, checkpoint=steps)  # on CUDA the losses of so many are read together
    state = TrainState(config)
    loops = {"ours": train(config, images, state=state)}
    flops, weights = (1 + BACKWARD) * count(config.model)[0], parameters(config.model)
    print(f"{name}, batch {config.batch}, ours: {weights:,} weights, {size(flops)} an image")
    if UNet2DModel is not None:
        network = diffusers_network(config.model, steered)
        print(f"{name}, diffusers: {cost_of(network, config.model)}")
        loops["diffusers"] = plain_training(config, network, images, device)
    if steps > 1:
        for loop in loops.values():
            seconds(loop, steps, device)
    rates = {whose: [] for whose in loops}
    for _ in range(turns):
        for whose, loop in loops.items():
            rates[whose].append(steps * config.batch / seconds(loop, steps, device))
    ours = statistics.median(rates["ours"])
    print(
        f"  ours {ours:,.4g} images/s, {ours * flops / 1e12:.3g} TFLOP/s, "
        f"{ours * flops / peak:.1%} of the peak"
    )
    if len(loops) > 1:
        ratios = np.divide(rates["ours"], rates["diffusers"])
        print(
            f"  diffusers {statistics.median(rates['diffusers']):,.4g} images/s: ratio "
            f"{np.median(ratios):.2f} (turns {ratios.min():.2f} to {ratios.max():.2f})"
        )
    parts = profile(loops["ours"], state, steps, device)
    print(f"  a step: {', '.join(f'{part} {share:.1%}' for part, share in parts.items())}")
    return {"batch": config.batch, "weights": weights, "flops": flops, "step": parts, **rates}


def seconds(loop, steps, device):
    started = clock(device)
    for _ in range(steps):
        next(loop)
    return clock(device) - started


def clock(device):
    """Of one CPU thread its own time, which other processes do not stretch; else the wall's."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def profile(loop, state, steps, device):
    """The shares of a step's time, between the parts of `train`; on CUDA by events of its stream.

    There "other" is what lies between the parts, the copy of the state and the reading of losses
    above all, and "waiting" how long the device had nothing to do; that is not apart from the rest.
    """
    spans = []

    def mark():
        if device.type != "cuda":
            return clock(device)
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def watched(part, function):
        def timed(*arguments):
            begin = mark()
            result = function(*arguments)
            spans.append((part, begin, mark()))
            return result

        return timed

    def since(begin, end):
        return begin.elapsed_time(end) / 1e3 if device.type == "cuda" else end - begin

    kind = training.DeviceDraws if device.type == "cuda" else training.HostDraws
    with contextlib.ExitStack() as patches:
        for part, place, name in (
            ("drawing", kind, "__call__"),
            ("network", training, "_gradient"),
            ("optimiser and average", state.optimizer, "step"),
            ("optimiser and average", training, "_average"),
        ):
            function = watched(part, getattr(place, name))
            patches.enter_context(mock.patch.object(place, name, function))
        whole = seconds(loop, steps, device)
    taken = Counter()
    for part, begin, end in spans:
        taken[part] += since(begin, end) / whole
    shares = {**taken, "other": 1 - taken.total()}
    if device.type == "cuda":
        cuda = torch.profiler.ProfilerActivity.CUDA
        with torch.profiler.profile(activities=[cuda]) as watching:
            whole = seconds(loop, steps, device)
        at_work = sum(
            event.time_range.elapsed_us()
            for event in watching.events()
            if event.device_type == torch.autograd.DeviceType.CUDA
        )
        shares["waiting"] = 1 - at_work / 1e6 / whole
    return shares


def peak_of(device, quick):
    """FLOP/s that the device can reach, and how that is known."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else ""
    for part, peak in PEAKS.items():
        if part in name:
            return peak, "its maker's"
    n, kind = (8192, torch.bfloat16) if name else (512 if quick else 2048, torch.float32)
    a = torch.randn(n, n, device=device, dtype=kind)
    times = []
    for _ in range(6):
        started = clock(device)
        a @ a
        times.append(clock(device) - started)
    return 2 * n**3 / statistics.median(times[1:]), f"of a product of {n} x {n} matrices"


def setting(name, options, device):
    """A preset's training for ever, and as many random images as it has."""
    channels, side, *_ = CASES[name]
    images = np.random.default_rng(0).uniform(-1, 1, (1000, channels, side, side))
    images = images.astype(np.float32)
    config = PRESETS[f"{name}-small"].train
    cuda, model = device.type == "cuda", config.model
    batch = options.batch or (config.batch if cuda else 32)
    if options.quick:
        batch, model = min(batch, 8), replace(model, width=max(8, model.width // 8))
    changes = dict(model=model, batch=batch, threads=options.threads, device=device.type)
    changes |= dict(steps=10**9, snapshots=(), compile=options.compile)
    return replace(config, **changes).for_images(images), images


def diffusers_network(model, steered):
    """diffusers' U-Net for the images of a ModelConfig, after its space-to-depth."""
    pixels, side, _ = space_to_depth(model)
    widths = [model.width * multiplier for multiplier in model.multipliers]
    attends = [side >> level in model.attention for level in range(len(widths))]
    return UNet2DModel(
        sample_size=side,
        in_channels=pixels,
        out_channels=pixels,
        block_out_channels=widths,
        layers_per_block=model.blocks,
        down_block_types=["AttnDownBlock2D" if a else "DownBlock2D" for a in attends],
        up_block_types=["UpBlock2D"] * len(widths),
        add_attention=any(attends),
        attention_head_dim=max(widths),  # one head
        resnet_time_scale_shift=steered,
        norm_num_groups=8 if max(widths) < 256 else 32,
    )


def cost_of(network, model):
    """The weights of diffusers' network and the FLOPs of an image in training, in words."""
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *space_to_depth(model)), torch.zeros(1))
    flops = (1 + BACKWARD) * counter.get_total_flops()
    return f"{sum(w.numel() for w in network.parameters()):,} weights, {size(flops)} an image"


def size(flops):
    return f"{flops / 1e9:.3g} GFLOP"


def space_to_depth(model):
    """The shape (C, H, W) of an image in front of the first level."""
    return model.channels * model.patch**2, model.size // model.patch, model.size // model.patch


def plain_training(config, network, images, device):
    """The same training as a plain loop around another network; yields after each step."""
    model, patch, cuda = config.model, config.model.patch, device.type == "cuda"
    network.to(device, memory_format=torch.channels_last if cuda else torch.contiguous_format)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True)
    images = torch.from_numpy(images).to(device)
    asked = torch.compile(network) if config.compile else network
    while True:
        clean = images[torch.randint(len(images), (config.batch,), device=device)]
        level = torch.randn(config.batch, device=device)
        sigma = torch.exp(config.noise.mean + config.noise.std * level)
        noisy = clean + sigma[:, None, None, None] * torch.randn_like(clean)
        scale = preconditioning(sigma, model.sigma_data)
        c_skip, c_out, c_in = (c[:, None, None, None] for c in scale[:3])
        inputs = torch.nn.functional.pixel_unshuffle(c_in * (noisy - model.mean), patch)
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            raw = asked(inputs, 1000 * scale.c_noise).sample
        raw = torch.nn.functional.pixel_shuffle(raw.float(), patch)
        error = model.mean + c_skip * (noisy - model.mean) + c_out * raw - clean
        loss = (loss_weight(sigma, model.sigma_data) * error.square().mean((1, 2, 3))).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
        yield float(loss.detach())


def time_sampling(device, quick):
    """The time of some images by the paper's 18 levels and Heun's method."""
    cuda = device.type == "cuda"
    name, n = ON_CUDA[-1] if cuda else "digits-unet", 32 if quick else 256
    channels, side, *_ = CASES[name]
    images = np.random.default_rng(0).uniform(-1, 1, (10, channels, side, side))
    model = PRESETS[f"{name}-small"].train.model.for_images(images)
    denoiser = EDMDenoiser(model).eval().requires_grad_(False).to(device)
    sample(denoiser, images.shape[1:], 8)
    times = []
    for _ in range(1 if cuda or quick else 3):
        started = clock(device)
        sample(denoiser, images.shape[1:], n)
        times.append(clock(device) - started)
    took = statistics.median(times)
    print(f"{name}: {n} samples by 18 Heun steps in {took:.2f} s, {n / took:.4g} images/s")
    return {"preset": name, "samples": n, "seconds": times}


def peak_memory(name):
    """GiB that this process took at most, having trained a few steps of a preset as it stands."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    batch = PRESETS[f"{name}-small"].train.batch
    options = argparse.Namespace(batch=batch, quick=False, compile=False, threads=1)
    seconds(train(*setting(name, options, cpu)), 20, cpu)
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes / (2**30 if sys.platform == "darwin" else 2**20)


if __name__ == "__main__":
    main()
