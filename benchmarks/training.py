"""What training costs, as ratios measured in one run: python benchmarks/training.py

Images/s of one step (forward, backward, Adam, moving average) of our networks, by the `train`
that the book uses, against `diffusers.UNet2DModel` in a plain loop: the same batch, blocks per
level and attention, and as many weights and 3x3 convolutions within a few per cent. The two take
turns, so that a busy machine slows both; the ratio is the median over turns.

Before that, the peak memory of a process that trains; after it, 256 digits by 18 Heun steps.
The images are random: the cost depends on the shapes only.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from geomem.diffusion.network import EDMDenoiser, loss_weight, preconditioning
from geomem.diffusion.presets import PRESETS
from geomem.diffusion.sampler import sample
from geomem.diffusion.train import train

try:
    from diffusers import UNet2DModel
except ImportError:
    sys.exit("training.py: diffusers is missing; install it by: pip install -e '.[bench]'")

# Our preset and its images' (channels, size); diffusers' widths, layers per block, and levels
# that attend. It conditions by scale and shift as ours, but for the large network, where this
# would add 13% of weights. Its resampling is one convolution, ours a block of two; in the
# middle it is the other way round. Last: turns, and steps in each.
CASES = {
    "digits-unet": ((1, 8), (16, 32), 1, (), "scale_shift", (9, 40)),
    "cifar10-luma": ((1, 16), (32, 64), 1, (), "scale_shift", (9, 20)),
    "cifar10": ((3, 32), (256, 256, 256), 4, (1,), "default", (2, 1)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--case", choices=[*CASES, "sampling", "memory"], help="only this one")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, CPU threads: {arguments.threads}, batch {arguments.batch}")
    if arguments.case in (None, "memory"):  # first: a process inherits the peak of its parent
        for name in ("digits-unet", "cifar10-luma"):
            with multiprocessing.get_context("spawn").Pool(1) as process:
                print(f"{name}: peak memory {process.apply(peak_memory, (name,)):.2f} GiB")
    for name in CASES:
        if arguments.case in (None, name):
            compare(name, arguments.batch, arguments.threads)
    if arguments.case in (None, "sampling"):
        time_sampling()


def compare(name, batch, threads):
    """Images/s of our step and of diffusers', in turns."""
    shape, *theirs, (turns, steps) = CASES[name]
    config, images = setting(name, shape, batch=batch, threads=threads)
    network = diffusers_network(config.model, *theirs)
    ours, other = train(config, images), plain_training(config, network, images)
    for whose, net, pixels in (
        ("ours", EDMDenoiser(config.model).network, images[:1]),
        ("diffusers", network, np.zeros((1, *space_to_depth(config.model)))),
    ):
        with FlopCounterMode(display=False) as counter:
            net(torch.from_numpy(pixels).float(), torch.zeros(1))
        weights = sum(w.numel() for w in net.parameters())
        gigaflops = counter.get_total_flops() / 1e9
        print(f"{name}, {whose}: {weights:,} weights, {gigaflops:.3g} GFLOP an image", flush=True)
    if steps > 1:
        seconds(ours, steps), seconds(other, steps)
    rates = []
    for turn in range(turns):
        rates.append([steps * batch / seconds(loop, steps) for loop in (ours, other)])
        if steps == 1:
            print("  turn {}: ours {:.3g} images/s, diffusers {:.3g}".format(turn + 1, *rates[-1]))
            sys.stdout.flush()
    mine, its = np.median(rates, 0)
    ratios = np.divide(*np.transpose(rates))
    print(
        f"  ours {mine:.4g} images/s, diffusers {its:.4g}: ratio {np.median(ratios):.2f} "
        f"(turns {ratios.min():.2f} to {ratios.max():.2f})",
        flush=True,
    )


def seconds(loop, steps):
    started = clock()
    for _ in range(steps):
        next(loop)
    return clock() - started


def clock():
    """Of one thread the CPU's time, which other processes do not stretch; else the wall's."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def setting(name, shape, **changes):
    """A preset's training, on the CPU, for ever, and as many random images as it has."""
    channels, size = shape
    images = np.random.default_rng(0).uniform(-1, 1, (1000, channels, size, size))
    images = images.astype(np.float32)
    config = replace(
        PRESETS[f"{name}-small"].train, steps=10**9, device="cpu", precision="float32", **changes
    )
    return config.for_images(images), images


def diffusers_network(model, widths, layers, attending, conditioning):
    """diffusers' U-Net for the images of a ModelConfig, after its space-to-depth."""
    levels, (pixels, size, _) = len(widths), space_to_depth(model)
    down = ["AttnDownBlock2D" if i in attending else "DownBlock2D" for i in range(levels)]
    return UNet2DModel(
        sample_size=size,
        in_channels=pixels,
        out_channels=pixels,
        block_out_channels=widths,
        layers_per_block=layers,
        down_block_types=down,
        up_block_types=["UpBlock2D"] * levels,
        add_attention=bool(attending),
        attention_head_dim=max(widths),  # one head
        resnet_time_scale_shift=conditioning,
        norm_num_groups=8 if max(widths) < 256 else 32,
    )


def space_to_depth(model):
    """The shape (C, H, W) of an image in front of the first level."""
    return model.channels * model.patch**2, model.size // model.patch, model.size // model.patch


def plain_training(config, network, images):
    """The same training as a plain loop around another network; yields after each step."""
    model, patch = config.model, config.model.patch
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.ema)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr, betas=(0.9, 0.99), fused=True)
    images = torch.from_numpy(images)
    while True:
        clean = images[torch.randint(len(images), (config.batch,))]
        sigma = torch.exp(config.noise.mean + config.noise.std * torch.randn(config.batch))
        noisy = clean + sigma[:, None, None, None] * torch.randn_like(clean)
        scale = preconditioning(sigma, model.sigma_data)
        c_skip, c_out, c_in = (c[:, None, None, None] for c in scale[:3])
        inputs = torch.nn.functional.pixel_unshuffle(c_in * (noisy - model.mean), patch)
        raw = network(inputs, 1000 * scale.c_noise).sample
        raw = torch.nn.functional.pixel_shuffle(raw, patch)
        error = model.mean + c_skip * (noisy - model.mean) + c_out * raw - clean
        loss = (loss_weight(sigma, model.sigma_data) * error.square().mean((1, 2, 3))).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        average.update_parameters(network)
        yield float(loss.detach())


def time_sampling(n=256):
    """The time of n digits by the paper's 18 levels and Heun's method."""
    config, images = setting("digits-unet", CASES["digits-unet"][0])
    denoiser = EDMDenoiser(config.model).eval().requires_grad_(False)
    sample(denoiser, images.shape[1:], 8)
    times = []
    for _ in range(3):
        started = clock()
        sample(denoiser, images.shape[1:], n)
        times.append(clock() - started)
    print(f"digits-unet: {n} samples by 18 Heun steps in {np.median(times):.2f} s")


def peak_memory(name):
    """GiB that this process took at most, having trained a few steps of a preset as it stands."""
    torch.set_num_threads(1)
    loop = train(*setting(name, CASES[name][0]))
    seconds(loop, 20)
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kibibytes / (2**30 if sys.platform == "darwin" else 2**20)


if __name__ == "__main__":
    main()
