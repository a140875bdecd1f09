"""What a training costs: counts by hand, the meta device against real tensors, and scale."""

import contextlib
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

import geomem.diffusion.cost
from geomem.diffusion.cost import check_memory, cost, count, parameters
from geomem.diffusion.network import EDMDenoiser, ModelConfig
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.presets import PRESETS
from geomem.diffusion.train import TrainConfig, TrainingError

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


def kept(network, n, precision):
    """Bytes of the real tensors that a forward pass of n images keeps, the weights aside."""
    denoiser, found = EDMDenoiser(network), {}
    shapes = {shape for w in denoiser.parameters() for shape in (w.shape, w.shape[::-1])}
    own = {weight.untyped_storage().data_ptr() for weight in denoiser.state_dict().values()}

    def keep(tensor):
        storage = tensor.untyped_storage()
        copy = tensor.dtype == precision != torch.float32 and tensor.shape in shapes
        if not copy:  # of a weight
            found[storage.data_ptr()] = storage  # held, or its address could serve another
        return tensor

    label = torch.zeros(n, dtype=torch.long) if network.n_classes else None
    low = torch.autocast("cpu", torch.bfloat16, precision == torch.bfloat16)
    with low, saved_tensors_hooks(keep, lambda tensor: tensor):
        denoiser.network(torch.randn(n, 3, 8, 8), torch.randn(n), label)
    return sum(storage.nbytes() for address, storage in found.items() if address not in own)


@EACH
def test_parameters_are_the_networks_own(network):
    assert parameters(network) == sum(p.numel() for p in EDMDenoiser(network).parameters())


@EACH
def test_activations_are_those_of_real_tensors(network):
    held = kept(network, 3, torch.float32)
    # The meta device takes attention apart, of which real kernels keep less.
    assert held <= count(network, 3)[1] <= 1.1 * held


@EACH
def test_activations_in_bfloat16_are_those_of_autocast(network, monkeypatch):
    """By torch's own, on the CPU, where only norms are not as on CUDA: there they are float32."""
    for name in ("group_norm", "layer_norm"):
        norm = getattr(torch.nn.functional, name)

        def wide(x, *others, norm=norm, **more):
            return norm(
                x.float(), *(o.float() if torch.is_tensor(o) else o for o in others), **more
            )

        monkeypatch.setattr(torch.nn.functional, name, wide)
    held = kept(network, 3, torch.bfloat16)
    assert held <= count(network, 3, low=True)[1] <= 1.1 * held


@pytest.mark.parametrize("multiplier", [1, 2])
def test_activations_in_bfloat16_by_hand(multiplier):
    """Of what a block keeps, only the inputs of its convolutions are halved.

    The others are those of two norms and of two SiLU. A third convolution, beside them, has the
    input of the first norm, which float32 keeps once, and bfloat16 keeps in both precisions.
    """
    pixels, w, out = 8 * 8, 8, 8 * multiplier
    blocks = [(w, out), (out, out), (2 * out, out), (out + w, out)]
    halved = 3 + sum(a + b for a, b in blocks) + out  # the stem's, the blocks', the head's
    added = sum(a for a, b in blocks if a != b)
    network = replace(UNET, multipliers=(multiplier,), attention=())
    wide, low = (count(network, low=low)[1] for low in (False, True))
    assert wide - low == pytest.approx(2 * pixels * (halved - added), rel=0.06)  # what steers


@pytest.mark.parametrize("low", [False, True])
@EACH
def test_every_image_costs_the_same(network, low):
    flops, activations = count(network, low=low)
    assert count(network, 5, low) == (5 * flops, 5 * activations)
    assert flops == count(network)[0]


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
    arithmetic = [1 / f.rate - 8 * f.activation_bytes / 1.7e12 - 2e-3 / 4096 for f in full]
    assert arithmetic[1] == pytest.approx(2 * arithmetic[0]), "products in TF32"
    assert rates[UNET, 1][1] > 0.99 and rates[UNET, 4096][0] < 0.2


def test_the_memory_that_is_asked_for_is_that_of_the_precision(monkeypatch):
    """On an H100 that of autocast, on a T4, which has no bfloat16, that of float32."""
    config = TrainConfig(UNET, batch=512, device="cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    needed = []
    for has in ((9, 0), (7, 5)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, has=has: has)
        needed.append(cost(config).memory)
        # A tenth of the activations may not be kept.
        for share, refused in ((1, contextlib.nullcontext()), (0.9, pytest.raises(TrainingError))):
            there = SimpleNamespace(total_memory=share * needed[-1])
            monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, there=there: there)
            with refused:
                check_memory(config)
    low, wide = (config.batch * count(UNET, low=low)[1] for low in (True, False))
    assert needed[1] - needed[0] == wide - low > 0


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
