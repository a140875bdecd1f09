"""What a training costs: counts by hand, the meta device against real tensors, and scale."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

import geomem.diffusion.cost
from geomem.diffusion.cost import cost, count, parameters
from geomem.diffusion.network import EDMDenoiser, ModelConfig
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.presets import PRESETS
from geomem.diffusion.train import TrainConfig

IMAGES = dict(channels=3, size=8, mean=0.0, sigma_data=0.5)
MLP = ModelConfig("mlp", width=24, blocks=2, **IMAGES)
UNET = ModelConfig(width=8, multipliers=(1, 2), blocks=1, attention=(4,), **IMAGES)
EACH = pytest.mark.parametrize("network", [MLP, UNET, replace(UNET, n_classes=3)])


def test_an_mlp_by_hand():
    pixels, w, blocks = 3 * 8 * 8, 24, 2
    layers = [(64, w), (w, w), (pixels, w), (w, pixels)]  # two of the noise level, stem, head
    layers += [(w, 2 * w), (w, w), (w, w)] * blocks
    flops, activations = count(MLP)
    assert flops == 2 * sum(a * b for a, b in layers)
    assert parameters(MLP) == sum(a * b + b for a, b in layers)
    assert activations > 0


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_unet_of_one_level_by_hand(multiplier):
    w, out, steer = 8, 8 * multiplier, 32
    blocks = [(w, out), (out, out), (2 * out, out), (out + w, out)]  # encoder, middle, decoder
    wide = [(3, w), *blocks, *[(out, out)] * len(blocks), (out, 3)]  # three by three pixels
    narrow = [(a, b) for a, b in blocks if a != b]  # one by one, beside them
    steering = [(64, steer), (steer, steer), *[(steer, 2 * out)] * len(blocks)]
    per_pixel = sum(9 * a * b for a, b in wide) + sum(a * b for a, b in narrow)
    network = replace(UNET, multipliers=(multiplier,), attention=())
    assert count(network)[0] == 2 * (8 * 8 * per_pixel + sum(a * b for a, b in steering))


@EACH
def test_parameters_are_the_networks_own(network):
    assert parameters(network) == sum(p.numel() for p in EDMDenoiser(network).parameters())


@EACH
def test_activations_are_those_of_real_tensors(network):
    denoiser, n, kept = EDMDenoiser(network), 3, {}
    weights = {w.untyped_storage().data_ptr() for w in denoiser.state_dict().values()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, or its address could serve another
        return tensor

    label = torch.zeros(n, dtype=torch.long) if network.n_classes else None
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        denoiser.network(torch.randn(n, 3, 8, 8), torch.randn(n), label)
    held = sum(storage.nbytes() for address, storage in kept.items() if address not in weights)
    # The meta device takes attention apart, of which real kernels keep less.
    assert held <= count(network, n)[1] <= 1.1 * held


@EACH
def test_every_image_costs_the_same(network):
    flops, activations = count(network)
    assert count(network, 5) == (5 * flops, 5 * activations)


def test_memory_is_linear_in_the_batch_and_time_in_the_images():
    config = TrainConfig(UNET, NoiseLaw(-1.2), steps=100, batch=4, device="cuda")
    one, more, longer = (
        cost(c) for c in (config, replace(config, batch=12), replace(config, steps=300))
    )
    assert more.memory - one.memory == 8 * one.activation_bytes
    assert one.memory - 4 * one.activation_bytes == 9 * 4 * one.parameters
    cpu = cost(replace(config, device="cpu"))
    assert cpu.memory - 4 * cpu.activation_bytes == 5 * 4 * cpu.parameters
    assert longer.memory == one.memory
    assert more.images == longer.images == 3 * one.images == 1200
    assert longer.hours == pytest.approx(3 * one.hours) and more.hours < longer.hours


PRECISIONS = ("auto", "float32")


def test_what_a_gpu_would_take_is_arithmetic_memory_and_the_start_of_each_step():
    """Large networks are bound by arithmetic, small ones in small batches by their steps."""
    wide = replace(UNET, width=1024, size=64, attention=())
    rates = {}
    for network, batch in product((UNET, wide), (1, 4096)):
        found = cost(TrainConfig(network, batch=batch, device="cuda"))
        assert found.rate < 150e12 / found.training_flops and found.rate < batch / 2e-3
        rates[network, batch] = found.rate * found.training_flops / 150e12, found.rate * 2e-3
    assert rates[wide, 4096][0] > 0.8
    full = [cost(TrainConfig(wide, batch=4096, device="cuda", precision=p)) for p in PRECISIONS]
    assert full[0].rate == pytest.approx(2 * full[1].rate, rel=0.01), "products in TF32, all bytes"
    assert rates[UNET, 1][1] > 0.99 and rates[UNET, 4096][0] < 0.2


def test_the_papers_network_is_of_the_size_of_edms():
    """EDM's CIFAR-10 network: 56 million parameters, about 20 billion products an image."""
    train = PRESETS["cifar10-small"].train
    known = replace(train.model, channels=3, size=32)
    found = cost(replace(train, model=known, device="cuda"))
    assert 55e6 < found.parameters < 60e6
    assert 19e9 < found.flops / 2 < 22e9
    assert "not measured" in found.basis


def test_what_a_cpu_would_take_too_long_for_is_not_measured(monkeypatch):
    config = TrainConfig(UNET, device="cpu", threads=3)
    monkeypatch.setattr(geomem.diffusion.cost, "MEASURED_BELOW", 3 * count(UNET)[0] - 1)
    monkeypatch.setattr(geomem.diffusion.cost, "_measured", None)
    found = cost(config)
    assert "not measured" in found.basis
    assert found.rate == pytest.approx(3 * 50e9 / found.training_flops)


@pytest.mark.parametrize("network", [MLP, replace(MLP, n_classes=2)])
def test_a_small_network_is_measured_on_the_cpu_and_leaves_no_trace(network, rng):
    images = rng.uniform(-1, 1, (4, 3, 8, 8)).astype(np.float32)
    config = TrainConfig(network, steps=2000, batch=8, lr=1e6, device="cpu").for_images(images)
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    torch.set_num_threads(2)
    try:
        found = cost(config)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(state, torch.random.get_rng_state())
    assert "measured on" in found.basis and 1 < found.rate < 1e7
