"""Preconditioning against its derivation, and what any network of ours must satisfy."""

import itertools
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import sympy
import torch
from torch import nn

from geomem.diffusion import network as networks
from geomem.diffusion.network import (
    DDPMPP,
    MLP,
    Attention,
    Block,
    EDMDenoiser,
    ModelConfig,
    loss_weight,
    preconditioning,
)
from geomem.diffusion.sampler import device_of
from geomem.geometry.denoiser import answer, weights

SIGMAS = torch.logspace(-3, 3, 25, dtype=torch.float64)
NETWORKS = {
    "mlp": ModelConfig("mlp", width=16, blocks=2),
    "unet": ModelConfig(width=8, multipliers=(1, 2), attention=(4,)),
    "patches": ModelConfig(width=16, multipliers=(1,), blocks=2, patch=2),
}
EACH = pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)


def known(config, channels=1, size=8, mean=0.2, sigma_data=0.4):
    """The config for images that are known by these four numbers."""
    return replace(config, channels=channels, size=size, mean=mean, sigma_data=sigma_data)


def awake(config, seed=0):
    """A denoiser whose zero layers are random too, as after some training."""
    torch.manual_seed(seed)
    denoiser = EDMDenoiser(config).eval().requires_grad_(False)
    for parameter in denoiser.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return denoiser


def noisy(n=5, channels=1, size=8, seed=1):
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


# Preconditioning


@pytest.mark.parametrize("sigma_data", [0.05, 0.5, 3.0])
def test_scalings_make_input_and_target_of_unit_variance(sigma_data):
    c_skip, c_out, c_in, c_noise = preconditioning(SIGMAS, sigma_data)
    one = torch.ones_like(SIGMAS)
    torch.testing.assert_close(c_in**2 * (SIGMAS**2 + sigma_data**2), one)
    torch.testing.assert_close(c_out**2 * loss_weight(SIGMAS, sigma_data), one)
    # The network must answer (x - c_skip (x + sigma z)) / c_out; x and z are independent.
    target = (((1 - c_skip) * sigma_data) ** 2 + (c_skip * SIGMAS) ** 2) / c_out**2
    torch.testing.assert_close(target, one)
    torch.testing.assert_close(c_noise, SIGMAS.log() / 4)


def test_the_skip_makes_the_target_smallest():
    """Karras et al. 2022, B.6: of all skips, c_skip needs the smallest c_out. In sympy."""
    s, d, k = sympy.symbols("sigma sigma_data k", positive=True)
    c_out2 = (1 - k) ** 2 * d**2 + k**2 * s**2  # the variance of x - k (x + sigma z)
    (best,) = sympy.solve(sympy.diff(c_out2, k), k)
    assert sympy.diff(c_out2, k, 2).is_positive
    least = sympy.simplify(c_out2.subs(k, best))
    ours = preconditioning(SIGMAS, 0.3)
    for sigma, c_skip, c_out, weight in zip(
        SIGMAS.tolist(), ours.c_skip, ours.c_out, loss_weight(SIGMAS, 0.3), strict=True
    ):
        at = {s: sigma, d: 0.3}
        assert c_skip.item() == pytest.approx(float(best.subs(at)), rel=1e-12)
        assert c_out.item() ** 2 == pytest.approx(float(least.subs(at)), rel=1e-12)
        assert weight.item() == pytest.approx(1 / float(least.subs(at)), rel=1e-12)


@EACH
def test_limits_of_small_and_of_large_noise(config):
    """D(x) -> x as sigma -> 0, and D -> mean + sigma_data F, blind to x, as it grows."""
    denoiser = awake(known(config))
    x = 0.3 * noisy()
    torch.testing.assert_close(denoiser(x, 1e-6), x, rtol=0, atol=1e-5)
    assert (denoiser(x, 0.3) - x).abs().max() > 0.01
    level = torch.full((len(x),), 1e6)
    raw = denoiser.network(1e6 * noisy(seed=2) / 1e6, level.log() / 4, None)
    answer = denoiser(0.2 + 1e6 * noisy(seed=2), 1e6)
    torch.testing.assert_close(answer, 0.2 + 0.4 * raw, rtol=0, atol=1e-5)


@EACH
def test_a_new_denoiser_answers_the_skip_and_loses_one_at_every_level(config, rng):
    images = torch.from_numpy(rng.normal(-0.3, 0.25, size=(400, 2, 8, 8)))
    config = config.for_images(images.numpy())
    denoiser = EDMDenoiser(config).requires_grad_(False)
    for sigma in (0.01, 0.1, 0.25, 1.0, 30.0):
        x = images + sigma * torch.from_numpy(rng.normal(size=images.shape))
        c_skip = config.sigma_data**2 / (config.sigma_data**2 + sigma**2)
        answer = denoiser(x, sigma)
        torch.testing.assert_close(
            answer, config.mean + c_skip * (x - config.mean), rtol=0, atol=1e-5
        )
        weight = loss_weight(torch.tensor(sigma), config.sigma_data).item()
        loss = weight * (answer - images).square().mean().item()
        assert loss == pytest.approx(1, abs=0.05)  # 51,200 pixels: five standard errors are 0.03


# Every network


@EACH
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_answer_has_the_shape_and_dtype_of_the_question(config, dtype):
    denoiser = awake(known(config, channels=3))
    x = noisy(channels=3).to(dtype)
    answer = denoiser(x, 0.5)
    assert answer.shape == x.shape
    assert answer.dtype == dtype
    assert answer.device == x.device
    exact = denoiser(x.float(), 0.5)
    torch.testing.assert_close(answer.float(), exact, rtol=2 * torch.finfo(dtype).eps, atol=0)


@EACH
def test_each_image_is_denoised_by_itself_at_its_own_level(config):
    denoiser = awake(known(config)).train()  # in training too
    x, sigma = noisy(), torch.tensor([0.01, 0.1, 0.5, 2.0, 50.0])
    together = denoiser(x, sigma)
    for i in range(len(x)):
        alone = denoiser(x[i : i + 1], sigma[i].item())[0]
        torch.testing.assert_close(together[i], alone, rtol=1e-4, atol=1e-5)
    same = denoiser(x, torch.full((5,), 0.5))
    torch.testing.assert_close(denoiser(x, 0.5), same, rtol=0, atol=0)
    assert (together[2] - same[2]).abs().max() < 1e-5 < (together[1] - same[1]).abs().max()


@EACH
def test_shifting_images_and_mean_shifts_the_answer(config):
    here, there = awake(known(config)), awake(known(config, mean=0.2 + 0.75))
    x = noisy()
    torch.testing.assert_close(there(x + 0.75, 0.3), here(x, 0.3) + 0.75, rtol=0, atol=1e-5)
    assert (here(x + 0.75, 0.3) - here(x, 0.3) - 0.75).abs().max() > 0.1


@EACH
def test_scaling_images_level_and_sigma_data_scales_the_answer(config):
    """Up to c_noise, which knows the level itself: at one c_noise the network sees the same."""
    one, four = awake(known(config, mean=0.0)), awake(known(config, mean=0.0, sigma_data=1.6))
    four.network.embedding.register_forward_pre_hook(
        lambda module, inputs: (inputs[0] - math.log(4) / 4, inputs[1])
    )
    x = noisy()
    torch.testing.assert_close(four(4 * x, 1.2), 4 * one(x, 0.3), rtol=1e-5, atol=1e-5)


@EACH
def test_the_answer_depends_on_the_level_and_on_every_pixel(config):
    """The network itself: preconditioning alone would make D(x) depend on both."""
    network = awake(known(config)).network
    x = noisy(1)[0][None].requires_grad_()
    raw = network(x, torch.zeros(1), None)
    assert (raw - network(x, torch.full((1,), 0.5), None)).abs().max() > 1e-3
    raw.square().sum().backward()
    assert x.grad.abs().min() > 0


@EACH
@pytest.mark.parametrize("n_classes", [0, 3])
def test_gradients_reach_every_weight_after_two_steps(config, n_classes):
    """Zero layers hide what lies before them, in a U-Net two deep, until they have moved."""
    torch.manual_seed(0)
    denoiser = EDMDenoiser(replace(known(config), n_classes=n_classes))
    label = torch.tensor([0, 1, 2, 2, 1]) if n_classes else None
    optimizer = torch.optim.SGD(denoiser.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        denoiser(noisy(), 0.5, label).square().mean().backward()
        optimizer.step()
    slopes = {name: p.grad for name, p in denoiser.named_parameters()}
    without = [name for name, slope in slopes.items() if slope is None or not slope.any()]
    assert without == []


def test_dropout_is_on_in_training_alone():
    denoiser = awake(replace(known(NETWORKS["unet"]), dropout=0.5))
    x = noisy()
    assert torch.equal(denoiser(x, 0.5), denoiser(x, 0.5))
    denoiser.train()
    assert not torch.equal(denoiser(x, 0.5), denoiser(x, 0.5))


def test_low_precision_stays_in_the_network():
    """bfloat16 keeps 8 bits: the answer may differ by its rounding of c_out F and no more."""
    denoiser = awake(known(NETWORKS["unet"]))
    x = noisy()
    for sigma in (0.002, 0.5):
        exact = denoiser(x, sigma)
        denoiser.precision = torch.bfloat16
        rough = denoiser(x, sigma)
        denoiser.precision = torch.float32
        assert rough.dtype == torch.float32
        assert 0 < (rough - exact).abs().max() < 0.05 * min(sigma, 0.4)


# The U-Net's options


@pytest.mark.parametrize(
    ("multipliers", "blocks", "patch", "size"),
    [((1,), 1, 1, 5), ((1, 1, 2), 1, 1, 8), ((1, 2), 3, 1, 6), ((2, 1), 1, 2, 8), ((1,), 1, 4, 4)],
)
def test_unets_of_every_depth_keep_the_images_shape(multipliers, blocks, patch, size):
    config = ModelConfig(width=8, multipliers=multipliers, blocks=blocks, patch=patch)
    denoiser = awake(known(config, channels=3, size=size))
    assert denoiser(noisy(2, 3, size), 0.5).shape == (2, 3, size, size)


def test_patches_are_a_rearrangement_and_no_loss():
    """Every pixel of every patch reaches its own place in the answer."""
    denoiser = awake(known(NETWORKS["patches"]))
    x = noisy(1).requires_grad_()
    raw = denoiser.network(x, torch.zeros(1), None)
    assert denoiser.network.stem.weight.shape[1] == denoiser.network.head.weight.shape[0] == 4
    for i, j in itertools.product((0, 1), repeat=2):
        (slope,) = torch.autograd.grad(raw[0, 0, 2 + i, 4 + j], x, retain_graph=True)
        assert slope[0, 0, 2 + i, 4 + j] != 0
    assert len(raw.unique()) == raw.numel()


def test_doubling_late_is_doubling_first():
    torch.manual_seed(0)
    block = Block(16, 16, 8, 0.0, resample="double").requires_grad_(False)
    nn.init.normal_(block.conv_out.weight)
    x, steer = torch.randn(2, 16, 3, 3), torch.randn(2, 8)
    double = nn.Upsample(scale_factor=2.0)
    h = double(block.conv_in(nn.functional.silu(block.norm_in(x))))
    scale, shift = block.film(steer)[:, :, None, None].chunk(2, 1)
    h = nn.functional.group_norm(h, block.groups) * (1 + scale) + shift  # one step in ours
    h = block.conv_out(nn.functional.silu(h))
    torch.testing.assert_close(block(x, steer), double(x) + h, rtol=1e-4, atol=1e-5)


def test_more_groups_than_a_device_takes_at_once_change_no_answer_and_no_slope(monkeypatch):
    h, film = torch.randn(5, 16, 3, 3), torch.randn(5, 32)
    target = torch.randn(5, 16, 3, 3)

    def found(most):
        monkeypatch.setattr(networks, "GROUPS", {"cpu": most})
        asked = []
        real = nn.functional.group_norm
        with monkeypatch.context() as patch:
            patch.setattr(
                nn.functional, "group_norm", lambda h, n, *of: asked.append(n) or real(h, n, *of)
            )
            inputs = [h.clone().requires_grad_(), film.clone().requires_grad_()]
            normed = networks._film_norm(inputs[0], 4, inputs[1])
        return asked, [normed, *torch.autograd.grad(normed, inputs, target)]

    (once, whole), (apart, parts) = found(20), found(19)
    assert (once, apart) == ([20], [4])
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_attention_sits_at_the_grids_asked_for():
    def sizes(config):
        """The grid of each attention layer, seen while the network runs."""
        denoiser, found = awake(config), []
        for module in denoiser.modules():
            if isinstance(module, Attention):
                module.register_forward_hook(lambda m, inputs, h: found.append(h.shape[-1]))
        denoiser(noisy(1, config.channels, config.size), 0.5)
        return found

    base = known(ModelConfig(width=8, multipliers=(1, 1, 1), blocks=2), size=16)
    assert sizes(base) == []
    assert sizes(replace(base, attention=(8,))) == [8, 8, 4]  # and in the middle
    assert sizes(replace(base, attention=(16, 4))) == [16, 16, 4, 4, 4]
    assert sizes(replace(base, patch=2, attention=(8,))) == [8, 8, 2]


def test_attention_agrees_with_a_loop():
    torch.manual_seed(0)
    layer = Attention(8).requires_grad_(False)
    nn.init.normal_(layer.out.weight)
    x = noisy(2, 8, 3)
    q, k, v = layer.qkv(layer.norm(x)).flatten(2).chunk(3, 1)  # each (2, 8, 9)
    expected = torch.zeros(2, 8, 9)
    for b, i in itertools.product(range(2), range(9)):
        logits = torch.stack([q[b, :, i] @ k[b, :, j] for j in range(9)]) / 8**0.5
        weights = torch.softmax(logits, 0)
        expected[b, :, i] = sum(w * v[b, :, j] for j, w in enumerate(weights))
    answer = layer(x) - x
    torch.testing.assert_close(answer, layer.out(expected.view(x.shape)), rtol=1e-4, atol=1e-5)


def test_the_papers_network_has_its_size_and_its_attention():
    with torch.device("meta"):
        denoiser = EDMDenoiser(replace(DDPMPP, channels=3, size=32))
    weights = sum(p.numel() for p in denoiser.parameters())
    assert 55e6 < weights < 59e6
    assert sum(isinstance(m, Attention) for m in denoiser.modules()) == DDPMPP.blocks + 1
    assert (DDPMPP.mean, DDPMPP.sigma_data, DDPMPP.attention) == (0, 0.5, (16,))


def test_a_small_copy_of_the_papers_network_runs():
    denoiser = awake(replace(DDPMPP, width=8, blocks=2, channels=3, size=32))
    assert denoiser(noisy(2, 3, 32), 0.5).shape == (2, 3, 32, 32)


# Classes


@EACH
def test_classes_are_needed_or_refused_and_matter(config):
    x, labels = noisy(), torch.tensor([0, 1, 2, 0, 1])
    plain, classed = awake(known(config)), awake(replace(known(config), n_classes=3))
    with pytest.raises(ValueError, match="takes no class labels"):
        plain(x, 0.5, labels)
    with pytest.raises(ValueError, match="needs class labels"):
        classed(x, 0.5)
    answers = [classed.given(label)(x, 0.5) for label in range(3)]
    mixed = classed(x, 0.5, labels)
    for i, label in enumerate(labels.tolist()):
        torch.testing.assert_close(mixed[i], answers[label][i], rtol=1e-4, atol=1e-5)
    assert (answers[0] - answers[1]).abs().max() > 1e-3
    for denoiser, label in ((classed, 3), (classed, -1), (plain, 0)):
        with pytest.raises(ValueError, match="no class"):
            denoiser.given(label)


def test_a_network_is_seen_through_the_denoiser_of_one_class():
    """With dropout, in training mode: it is asked in eval mode, and says so."""
    network = awake(replace(known(NETWORKS["unet"]), n_classes=3, dropout=0.5))
    one, x = network.given(1), noisy()
    asked = answer(one, x, 0.5)
    network.train()
    with pytest.warns(UserWarning, match="training mode"):
        torch.testing.assert_close(answer(one, x, 0.5), asked, rtol=0, atol=0)
    assert network.training and all(map(torch.equal, weights(one), weights(network)))
    assert device_of(network.to("meta").given(1)) == torch.device("meta")
    assert pickle.loads(pickle.dumps(one)).label == 1


# Nonsense


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"network": "transformer"}, "network"),
        ({"width": 0}, "width"),
        ({"width": -8}, "width"),
        ({"width": 12}, "multiple of 8"),
        ({"blocks": 0}, "blocks"),
        ({"patch": 0}, "patch"),
        ({"multipliers": ()}, "multipliers"),
        ({"multipliers": (1, 0)}, "multipliers"),
        ({"attention": (0,)}, "attention"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": math.nan}, "dropout"),
        ({"n_classes": -1}, "n_classes"),
        ({"channels": 0}, "channels"),
        ({"size": -8}, "size"),
        ({"mean": math.nan}, "mean"),
        ({"mean": math.inf}, "mean"),
        ({"sigma_data": 0.0}, "sigma_data"),
        ({"sigma_data": -1.0}, "sigma_data"),
        ({"sigma_data": math.inf}, "sigma_data"),
        ({"sigma_data": math.nan}, "sigma_data"),
        ({"size": 7}, "size 7"),
        ({"size": 10, "patch": 4}, "size 10"),
        ({"size": 12, "multipliers": (1, 1, 1, 1)}, "size 12"),
    ],
)
def test_a_config_of_nonsense_is_refused(wrong, names):
    with pytest.raises(ValueError, match=rf"^model: .*{names}.*\.$"):
        ModelConfig(**wrong)


def test_the_size_that_an_mlps_stream_grows_to_does_not_matter(rng):
    # A large learning rate with a gap in the noise law let it grow until the answer was noise.
    torch.manual_seed(0)
    network = MLP(ModelConfig("mlp", width=16, blocks=2, channels=1, size=4))
    nn.init.normal_(network.head.weight)
    x, level = torch.from_numpy(rng.standard_normal((5, 1, 4, 4), np.float32)), torch.zeros(5)
    before = network(x, level)
    for layer in (network.stem, *(block.fall for block in network.blocks)):
        layer.weight.data *= 1000
        layer.bias.data *= 1000
    torch.testing.assert_close(network(x, level), before, rtol=1e-3, atol=1e-3)


def test_an_mlp_takes_any_width_and_size():
    denoiser = awake(known(ModelConfig("mlp", width=12), size=7))
    assert denoiser(noisy(2, 1, 7), 0.5).shape == (2, 1, 7, 7)


def test_a_model_of_unknown_images_is_refused():
    for name in ("channels", "size", "mean", "sigma_data"):
        with pytest.raises(ValueError, match="for_images"):
            EDMDenoiser(replace(known(NETWORKS["mlp"]), **{name: None}))


@pytest.mark.parametrize("sigma", [0, 0.0, -1.0, math.inf, math.nan])
def test_a_level_that_is_none_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma"):
        awake(known(NETWORKS["mlp"]))(noisy(), sigma)


# Measuring the images


def test_for_images_measures_what_is_open_and_keeps_what_is_set(rng):
    images = rng.normal(0.3, 0.2, size=(7, 3, 8, 8)).astype(np.float32)
    measured = NETWORKS["unet"].for_images(images)
    assert (measured.channels, measured.size) == (3, 8)
    assert measured.mean == pytest.approx(images.astype(float).mean(), abs=1e-12)
    assert measured.sigma_data == pytest.approx(images.astype(float).std(), abs=1e-12)
    assert measured.for_images(images) == measured
    kept = replace(NETWORKS["unet"], mean=0.0, sigma_data=0.5).for_images(images)
    assert (kept.mean, kept.sigma_data, kept.channels) == (0.0, 0.5, 3)


def test_images_that_do_not_fit_are_refused(rng):
    images = rng.normal(size=(4, 1, 8, 8))
    for name, value in (("channels", 3), ("size", 16)):
        with pytest.raises(ValueError, match=name):
            replace(ModelConfig(), **{name: value}).for_images(images)
    for wrong in (images[0], images[:, :, :6], images[..., None]):
        with pytest.raises(ValueError, match="square images"):
            ModelConfig().for_images(wrong)
    with pytest.raises(ValueError, match="sigma_data"):
        ModelConfig().for_images(np.ones((4, 1, 8, 8)))
    with pytest.raises(ValueError, match="do not divide"):
        ModelConfig().for_images(images[:, :, :7, :7])
