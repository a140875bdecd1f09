"""What a training costs: counts by hand, the meta device against real tensors, and scale."""

from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from geomem.cost import cost, count, parameters
from geomem.experiments import PRESETS
from geomem.model import EDMDenoiser, ModelConfig
from geomem.train import TrainConfig

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


def test_a_convolution_by_hand():
    """Three-by-three and one-by-one convolutions of a U-Net of one level and no block."""
    w, grid = 8, 8 * 8
    wider, narrower = (replace(UNET, multipliers=(m,), attention=()) for m in (2, 1))
    convolutions = {
        2: [(3, w), (w, 16), (16, 16), (16, 16), (16, 16)]  # stem, encoder, middle
        + [(32, 16), (16, 16), (24, 16), (16, 16), (16, 3)],  # decoder, head
        1: [(3, w), (w, w), (w, w), (w, w), (w, w), (16, w), (w, w), (16, w), (w, w), (w, 3)],
    }
    skips = {2: [(w, 16), (32, 16), (24, 16)], 1: [(16, w), (16, w)]}
    widths = {2: [16] * 4, 1: [w] * 4}
    for multiplier, network in ((2, wider), (1, narrower)):
        products = grid * 9 * sum(a * b for a, b in convolutions[multiplier])
        products += grid * sum(a * b for a, b in skips[multiplier])
        products += 64 * 4 * w + (4 * w) ** 2  # the noise level
        products += sum(4 * w * 2 * out for out in widths[multiplier])  # and its steering
        assert count(network)[0] == 2 * products


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
    config = TrainConfig(UNET, steps=100, batch=4, device="cuda")
    one, more, longer = (
        cost(c) for c in (config, replace(config, batch=12), replace(config, steps=300))
    )
    assert more.memory - one.memory == 8 * one.activation_bytes
    assert one.memory - 4 * one.activation_bytes == 5 * 4 * one.parameters
    assert longer.memory == one.memory
    assert more.images == longer.images == 3 * one.images == 1200
    assert more.hours == longer.hours == pytest.approx(3 * one.hours)
    assert one.hours * 3600 * 200e12 == pytest.approx(one.images * 3 * one.flops)


def test_the_papers_network_is_of_the_size_of_edms():
    """EDM's CIFAR-10 network: 56 million parameters, about 20 billion products an image."""
    train = PRESETS["cifar10-small"].train
    known = replace(train.model, channels=3, size=32)
    found = cost(replace(train, model=known, device="cuda"))
    assert 55e6 < found.parameters < 60e6
    assert 19e9 < found.flops / 2 < 22e9
    assert "not measured" in found.basis
    assert "not measured" in cost(replace(train, model=known, device="cpu")).basis


@pytest.mark.parametrize("network", [MLP, replace(MLP, n_classes=2)])
def test_a_small_network_is_measured_on_the_cpu_and_leaves_no_trace(network):
    before = torch.random.get_rng_state(), torch.get_num_threads()
    config = TrainConfig(network, steps=2000, batch=8, lr=1e9, device="cpu", threads=2)
    found = cost(config.for_images(torch.randn(4, 3, 8, 8).numpy()))
    assert "measured on" in found.basis and 1 < found.rate < 1e7
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == torch.get_num_threads()
