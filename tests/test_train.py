"""Training: determinism, exact resume, the schedules by hand, and a closed form to approach."""

import copy
import functools
import itertools
import math
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from geomem import linear_mmse
from geomem.diffusion import train as training
from geomem.diffusion.checkpoint import CheckpointError
from geomem.diffusion.network import EDMDenoiser, ModelConfig, loss_weight
from geomem.diffusion.noise import NoiseLaw
from geomem.diffusion.train import (
    DIVERGED,
    DeviceDraws,
    HostDraws,
    Record,
    TrainConfig,
    TrainingError,
    TrainState,
    device_of,
    train,
)

MLP = ModelConfig("mlp", width=8, blocks=1)
UNET = ModelConfig(width=8, multipliers=(1, 2), attention=(2,))
NETWORKS = {
    "mlp": MLP,
    "unet": UNET,
    "dropout": replace(UNET, dropout=0.3),
    "classes": replace(MLP, n_classes=3),
}
EACH = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)


@pytest.fixture
def images(rng):
    return rng.uniform(-1, 1, size=(10, 1, 4, 4)).astype(np.float32)


@pytest.fixture
def labels():
    return np.arange(10) % 3


@pytest.fixture
def as_on_cuda(monkeypatch):
    """Batches drawn by the device's generators, and up to three steps before losses are read."""
    monkeypatch.setattr(training, "HostDraws", DeviceDraws)
    monkeypatch.setattr(DeviceDraws, "every", 3)


@pytest.fixture(params=[HostDraws, DeviceDraws])
def either(request, monkeypatch):
    """Each way to draw in turn, with losses that are read after each step."""
    monkeypatch.setattr(training, "HostDraws", request.param)
    monkeypatch.setattr(DeviceDraws, "every", 1)


def small(network, images, **changes):
    settings = dict(steps=8, batch=6, warmup=3, lr=1e-2, ema=0.9, device="cpu") | changes
    return TrainConfig(network, **settings).for_images(images)


def run(config, images, labels, state=None, steps=None):
    """The state after some steps (or all), and their records."""
    state = TrainState(config) if state is None else state
    labels = labels if config.model.n_classes else None
    records = list(itertools.islice(train(config, images, labels, state), steps))
    return state, records


def tensors(state):
    """Everything that a state holds: weights, average, moments."""
    found = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    found |= {f"ema.{k}": v for k, v in state.ema.state_dict().items()}
    for i, moments in state.optimizer.state_dict()["state"].items():
        found |= {f"{i}.{k}": v for k, v in moments.items()}
    return found


def assert_same(one, other):
    """Bit for bit."""
    assert one.losses == other.losses
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


# Determinism and resume


@EACH
def test_the_same_seed_trains_the_same_model_and_another_does_not(images, labels, network):
    config = small(network, images)
    first, again = run(config, images, labels)[0], run(config, images, labels)[0]
    assert_same(first, again)
    other, _ = run(replace(config, seed=1), images, labels)
    assert set(other.losses).isdisjoint(first.losses)


@EACH
@pytest.mark.parametrize("done", [0, 1, 4, 8])
def test_stopping_saving_and_going_on_changes_nothing(tmp_path, images, labels, network, done):
    config = small(network, images)
    whole, records = run(config, images, labels)
    half, first = run(config, images, labels, steps=done)
    half.save(tmp_path / "state")
    torch.manual_seed(999)  # the global generators are no part of it
    fresh = TrainState(config)
    fresh.load(tmp_path / "state")
    assert_same(fresh, half)
    resumed, rest = run(config, images, labels, fresh)
    assert_same(resumed, whole)
    for record, original in zip(first + rest, records, strict=True):
        assert record[:4] == original[:4]  # all but the seconds


def test_resume_is_exact_in_the_memory_layout_that_cuda_uses(tmp_path, images, labels):
    """Fused Adam pairs weights and moments by memory, so loaded moments must lie as the weights."""
    config = small(UNET, images)

    def fresh():
        state = TrainState(config)
        for network in (state.model, state.ema):
            network.to(memory_format=torch.channels_last)
        return state

    whole, _ = run(config, images, labels, fresh())
    half, _ = run(config, images, labels, fresh(), steps=4)
    half.save(tmp_path / "state")
    resumed = fresh()
    resumed.load(tmp_path / "state")
    assert_same(run(config, images, labels, resumed)[0], whole)


def test_moments_of_another_shape_are_refused(tmp_path, images, labels):
    state, _ = run(small(UNET, images), images, labels, steps=2)
    moments = state.optimizer.state[next(state.model.parameters())]
    moments["exp_avg"] = torch.zeros(3, 5)
    state.save(tmp_path / "state")
    with pytest.raises(CheckpointError, match="another configuration"):
        TrainState(small(UNET, images)).load(tmp_path / "state")


@EACH
def test_training_leaves_the_global_generators_alone(images, labels, network, monkeypatch):
    """Those of CUDA too, which torch.manual_seed reseeds, and fork_rng may not put back."""
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002 (the global generator is what must stay as it was)
    before = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    reseeded = Mock()
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseeded)
    state = TrainState(small(network, images))
    run(state.config, images, labels, state)
    reseeded.assert_not_called()
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_the_first_weights_are_those_of_torchs_seed(images, seed):
    torch.manual_seed(seed)
    config = small(UNET, images, seed=seed)
    theirs = EDMDenoiser(config.model).state_dict()
    torch.manual_seed(0)
    ours = TrainState(config).model.state_dict()
    assert all(torch.equal(ours[name], weight) for name, weight in theirs.items())


def questions(config, images, steps):
    """The noisy images and levels that each of these steps asks the network about."""
    state = TrainState(config)
    asked = []
    state.model.register_forward_pre_hook(
        lambda module, inputs: asked.append([a.clone() for a in inputs[:2]])
    )
    state.losses = [0.0] * steps[0]
    run(config, images, None, state, len(steps))
    return asked


@pytest.mark.usefixtures("either")
def test_batches_and_noise_depend_on_the_seed_and_the_images_seen_alone(images):
    """Neither on what was drawn before, nor on the network, nor on the learning rate."""
    config = small(MLP, images)
    asked = questions(config, images, range(8))
    late = questions(small(UNET, images, lr=1e-5, ema=0.0), images, range(5, 8))
    for (x, sigma), (y, tau) in zip(asked[5:], late, strict=True):
        assert torch.equal(x, y)
        assert torch.equal(sigma, tau)
    levels = torch.cat([sigma for _, sigma in asked])
    assert len(levels.unique()) == len(levels) == 8 * config.batch


@pytest.mark.usefixtures("either")
def test_a_batch_is_images_and_noise_of_the_levels_drawn(images):
    """The question minus the image is sigma times a standard normal; images are uniform."""
    config = small(MLP, images, batch=4000, noise=NoiseLaw(std=0.5, mean=-3.0))
    ((x, sigma),) = questions(config, images, range(1))
    assert sigma.log().mean() == pytest.approx(-3.0, abs=5 * 0.5 / 4000**0.5)
    flat, clean = x.flatten(1), torch.from_numpy(images).flatten(1)
    rows = torch.cdist(flat, clean).argmin(1)
    z = (flat - clean[rows]) / sigma[:, None]
    assert z.mean() == pytest.approx(0, abs=5 / 64_000**0.5)
    assert z.square().mean() == pytest.approx(1, abs=5 * (2 / 64_000) ** 0.5)
    counts = torch.bincount(rows, minlength=10)
    assert (counts - 400).abs().max() < 5 * 360**0.5


@pytest.mark.usefixtures("either")
def test_a_gap_of_the_noise_law_is_never_trained_on(images):
    config = small(MLP, images, batch=500, noise=NoiseLaw(gap_low=0.1, gap_high=1.0))
    levels = torch.cat([sigma for _, sigma in questions(config, images, range(4))])
    assert not ((levels > 0.1001) & (levels < 0.9999)).any()
    assert (levels < 0.1).any() and (levels > 1).any()


@pytest.mark.parametrize("kind", [HostDraws, DeviceDraws])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_batch_of_one(images, labels, kind, world):
    config = small(NETWORKS["classes"], images)

    def drawn(*share):
        return kind(config, images, labels, slice(*share), torch.device("cpu"))(12)

    whole, size = drawn(0, 6), 6 // world
    parts = [drawn(i, i + size) for i in range(0, 6, size)]
    for field in ("clean", "sigma", "noise", "label"):
        together = torch.cat([getattr(part, field) for part in parts])
        assert torch.equal(together, getattr(whole, field))
    assert len({part.dropout for part in parts}) == world  # masks of their own
    for image, label in zip(whole.clean, whole.label, strict=True):
        row = np.flatnonzero((images == image.numpy()).all((1, 2, 3)))
        assert labels[row] == label


# Many steps at a time, as on CUDA


@EACH
@pytest.mark.parametrize("done", [0, 1, 3, 5, 8])
@pytest.mark.usefixtures("as_on_cuda")
def test_resume_is_exact_wherever_losses_are_read(tmp_path, images, labels, network, done):
    config = small(network, images)
    whole, records = run(config, images, labels)
    half, first = run(replace(config, checkpoint=max(1, done)), images, labels, steps=done)
    assert half.step == done
    half.save(tmp_path / "state")
    fresh = TrainState(config)
    fresh.load(tmp_path / "state")
    resumed, rest = run(config, images, labels, fresh)
    assert_same(resumed, whole)
    assert [r[:4] for r in first + rest] == [r[:4] for r in records]


@pytest.mark.usefixtures("as_on_cuda")
def test_a_snapshot_and_a_checkpoint_find_the_state_of_their_step(images, labels):
    config = small(MLP, images, steps=20, checkpoint=7, snapshots=(0.2, 0.5))
    state, ends = TrainState(config), []
    for record in train(config, images, None, state):
        if record.step in {4, 10, 20} or record.step % 7 == 0:
            assert state.step == record.step
        ends.append(state.step)
        assert record.step <= state.step <= record.step + 2
        assert record.loss == state.losses[record.step - 1]
    assert sorted(set(ends)) == [3, 4, 7, 10, 13, 14, 17, 20]


class Waits(TorchDispatchMode):
    """Counts how often a number is asked of a tensor, for which the host waits for a GPU."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        waits = torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default
        self.count += function in waits
        return function(*args, **(kwargs or {}))


@EACH
@pytest.mark.usefixtures("as_on_cuda")
def test_no_step_waits_for_the_device(images, labels, network):
    with Waits() as waits:
        assert bool(torch.ones(1)) and waits.count == 1  # it is noticed
        run(small(network, images), images, labels)
    assert waits.count == 1


@pytest.mark.parametrize("at", [1, 2, 3, 4, 8])
@pytest.mark.usefixtures("as_on_cuda")
def test_what_stops_it_among_several_steps_leaves_the_state_before_them(images, labels, at):
    config, calls = small(MLP, images), itertools.count(1)
    state = TrainState(config)
    hook = state.model.network.head.bias.register_hook(
        lambda slope: slope * (math.inf if next(calls) == at else 1)
    )
    kept = (at - 1) // 3 * 3
    message = rf"stopped in step {at}: loss .*; kept is the state after step {kept}; a smaller lr"
    with pytest.raises(TrainingError, match=message):
        run(config, images, labels, state)
    good, _ = run(replace(config, checkpoint=max(1, kept)), images, labels, steps=kept)
    assert_same(state, good)
    hook.remove()
    assert_same(run(config, images, labels, state)[0], run(config, images, labels)[0])


def test_what_cuda_is_told_is_taken_back():
    def told():
        sdp = torch.backends.cuda
        attention = sdp.flash_sdp_enabled(), sdp.mem_efficient_sdp_enabled()
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.deterministic, *attention

    before = told()
    with pytest.raises(TrainingError), training._kernels(torch.device("cuda")):
        assert told() == ("high", True, False, False)
        raise TrainingError("stop")
    assert told() == before != ("high", True, False, False)
    with training._kernels(torch.device("cpu")):
        assert told() == before


@pytest.fixture
def newer():
    """Sets torch's newer switch of products, that of one device and the one above; both as new."""
    products: Any = torch.backends.cuda.matmul
    if not hasattr(products, "fp32_precision"):
        pytest.skip("this torch has the older switch alone")

    def told(one, every):
        products.fp32_precision, torch.backends.fp32_precision = one, every

    yield told
    torch.set_float32_matmul_precision("highest")
    torch.backends.mkldnn.matmul.fp32_precision = "none"
    told("none", "none")


@pytest.mark.parametrize("every", ["none", "ieee", "tf32"])
@pytest.mark.parametrize("one", ["none", "ieee", "tf32"])
def test_what_torchs_newer_switch_told_is_taken_back(newer, one, every):
    def told():
        return torch.backends.cuda.matmul.fp32_precision.replace("none", "ieee")

    newer(one, every)
    before = told()
    with pytest.raises(TrainingError), training._kernels(torch.device("cuda")):
        assert told() == "tf32"
        raise TrainingError("stop")
    assert told() == before
    if (one, every) == ("none", "tf32"):  # it still follows the one above
        torch.backends.fp32_precision = "ieee"
        assert told() == "ieee"


# Each part of a step by hand


@EACH
def test_the_loss_is_edms(images, labels, network):
    """weight(sigma) |D(x + sigma z) - x|^2, averaged over pixels and the batch, in a loop."""
    config = small(network, images, batch=5)
    state, _ = run(config, images, labels, steps=3)
    before = copy.deepcopy(state.model)
    state, (record,) = run(config, images, labels, state, 1)
    stream = np.random.default_rng([config.seed, 3 * 5])
    rows = stream.integers(10, size=5)
    levels = config.noise.quantile(stream.uniform(1e-12, 1, 5))
    noise = stream.standard_normal((5, 1, 4, 4), np.float32)
    if network.dropout:
        torch.manual_seed(int(stream.integers(2**62)))
    sigma = torch.from_numpy(levels).float()
    label = torch.from_numpy(labels[rows]) if network.n_classes else None
    clean = torch.from_numpy(images[rows])
    with torch.no_grad():
        answer = before(clean + sigma[:, None, None, None] * torch.from_numpy(noise), sigma, label)
    total = 0.0
    for i in range(5):
        weight = (levels[i] ** 2 + config.model.sigma_data**2) / (
            levels[i] * config.model.sigma_data
        ) ** 2
        total += weight * ((answer[i] - clean[i]) ** 2).double().mean().item()
    assert record.loss == pytest.approx(total / 5, rel=1e-5)


def test_the_average_agrees_with_a_loop(images, labels):
    """ema <- decay ema + (1 - decay) weights; the decay rises from 1/10 to its own."""
    config = small(MLP, images, ema=0.4)
    state = TrainState(config)
    means = [p.detach().double().clone() for p in state.model.parameters()]
    start = copy.deepcopy(means)
    for step, _ in enumerate(train(config, images, None, state)):
        decay = min(0.4, (1 + step) / (10 + step))
        for mean, weight in zip(means, state.model.parameters(), strict=True):
            mean.mul_(decay).add_((1 - decay) * weight.detach().double())
        for mean, ours in zip(means, state.ema.parameters(), strict=True):
            torch.testing.assert_close(ours.double(), mean, rtol=1e-5, atol=1e-6)
    assert any((a - b).abs().max() > 1e-3 for a, b in zip(means, start, strict=True))
    now, _ = run(small(MLP, images, ema=0.0), images, labels)
    for mean, weight in zip(now.ema.parameters(), now.model.parameters(), strict=True):
        torch.testing.assert_close(mean, weight, rtol=0, atol=1e-7)


def test_the_steps_are_adams(images):
    """Kingma and Ba's algorithm by hand, with moments of decay 0.9 and 0.99."""
    config = small(MLP, images)
    state = TrainState(config)
    weights = [p.detach().double().clone() for p in state.model.parameters()]
    first, second = ([torch.zeros_like(w) for w in weights] for _ in range(2))
    for t, record in enumerate(train(config, images, None, state), 1):
        for w, m, v, p in zip(weights, first, second, state.model.parameters(), strict=True):
            slope = p.grad.double()
            m.mul_(0.9).add_(0.1 * slope)
            v.mul_(0.99).add_(0.01 * slope**2)
            w -= record.lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
            torch.testing.assert_close(p.detach().double(), w, rtol=1e-4, atol=1e-5)
    assert t == 8


@pytest.mark.parametrize("final_lr", [0.0, 0.05, 1.0])
def test_the_rate_rises_straight_and_falls_by_a_cosine(final_lr):
    config = TrainConfig(MLP, steps=1000, warmup=99, lr=0.3, final_lr=final_lr)
    rates = np.array([config.rate(step) for step in range(1001)])

    def cosine(step):
        return 0.3 * (final_lr + (1 - final_lr) * (1 + np.cos(np.pi * step / 1000)) / 2)

    steps = np.arange(1001)
    np.testing.assert_allclose(rates[99:], cosine(steps[99:]), rtol=1e-12, atol=1e-15)
    rise = rates[:99] / cosine(steps[:99])
    np.testing.assert_allclose(rise, (steps[:99] + 1) / 100, rtol=1e-12)
    assert np.all(np.diff(rates[:50]) > 0) and np.all(np.diff(rates[99:]) <= 0)
    assert rates[1000] == pytest.approx(0.3 * final_lr, abs=1e-15)
    assert replace(config, warmup=0).rate(0) == pytest.approx(0.3)


def test_a_record_says_what_its_step_did(images, labels):
    config = small(MLP, images)
    state, records = run(config, images, labels)
    assert [r.step for r in records] == [*range(1, 9)]
    assert [r.images for r in records] == [6 * r.step for r in records]
    assert [r.lr for r in records] == [config.rate(r.step - 1) for r in records]
    assert [r.loss for r in records] == state.losses
    assert all(isinstance(r, Record) and r.seconds > 0 for r in records)
    assert state.step == 8
    assert run(config, images, labels, state)[1] == []  # the budget is spent


# What it must reach


def test_the_loss_starts_at_one_and_falls(images, labels):
    config = small(replace(MLP, width=64), images, steps=300, batch=64, ema=0.99)
    state, _ = run(config, images, labels)
    assert state.losses[0] == pytest.approx(1, abs=0.15)  # 1,024 pixels: 5 standard errors .22
    assert np.mean(state.losses[-30:]) < 0.6 * np.mean(state.losses[:5])


def test_trained_on_a_gaussian_it_nears_the_best_denoiser():
    """No denoiser beats the linear one on Gaussian images, and ours comes within a tenth.

    2,000 images cannot be learnt by heart by a network this small: train is all but the law.
    """
    rng = np.random.default_rng(3)
    mix = rng.normal(size=(4, 4)) * [0.6, 0.3, 0.1, 0.1]
    images = (0.4 + rng.normal(size=(4000, 4)) @ mix.T).astype(np.float32).reshape(-1, 1, 2, 2)
    config = TrainConfig(
        ModelConfig("mlp", width=32, blocks=1), steps=500, batch=128, lr=1e-2, ema=0.99
    ).for_images(images[:2000])
    state, _ = run(config, images[:2000], None)
    sigmas = np.array([0.1, 0.2, 0.5, 1.0])
    best = linear_mmse(images[2000:], sigmas)
    clean = torch.from_numpy(images[2000:])
    for sigma, mmse in zip(sigmas, best, strict=True):
        noise = torch.from_numpy(rng.standard_normal(clean.shape).astype(np.float32))
        error = (state.ema(clean + sigma * noise, float(sigma)) - clean).square().sum((1, 2, 3))
        spread = 4 * error.std().item() / len(error) ** 0.5
        assert mmse - spread < error.mean().item() < 1.1 * mmse + spread
    untrained = EDMDenoiser(config.model)
    error = (untrained(clean + 0.2 * noise, 0.2) - clean).square().sum((1, 2, 3)).mean().item()
    assert error > 1.15 * best[1]  # else there was nothing to learn


# What stops it


def broken(images):
    images = images.copy()
    images[7, 0, 2, 2] = np.nan
    return images


@EACH
def test_images_that_are_not_numbers_stop_it_where_they_come(images, labels, network):
    """The step that meets image 7 is named, and the state is the one before, bit for bit."""
    config = small(network, images, steps=60, batch=1)
    rows = [np.random.default_rng([0, step]).integers(10, size=1).item() for step in range(60)]
    first = rows.index(7)
    assert first > 2
    state = TrainState(config)
    with pytest.raises(TrainingError, match=rf"stopped in step {first + 1}: loss nan"):
        run(config, broken(images), labels, state)
    good, _ = run(config, images, labels, steps=first)
    assert_same(state, good)


@pytest.mark.parametrize("lr", [1e3, 1e6])
def test_a_diverging_loss_stops_it(images, labels, lr):
    config = small(MLP, images, steps=100, lr=lr, warmup=0)
    state = TrainState(config)
    with pytest.raises(TrainingError, match=r"stopped in step (\d+): loss .*smaller lr") as stopped:
        run(config, images, labels, state)
    assert f"step {state.step + 1}:" in str(stopped.value)
    assert max(state.losses) <= DIVERGED
    assert_same(state, run(config, images, labels, steps=state.step)[0])


def test_an_infinite_slope_of_a_finite_loss_stops_it(images, labels):
    config = small(MLP, images)
    state = TrainState(config)
    state.model.network.head.bias.register_hook(lambda slope: slope * math.inf)
    before = {name: weight.clone() for name, weight in tensors(state).items()}
    with pytest.raises(TrainingError, match=r"stopped in step 1: loss .*, gradient norm"):
        run(config, images, labels, state)
    assert state.losses == []
    assert all(torch.equal(weight, before[name]) for name, weight in tensors(state).items())


def test_labels_go_with_classes(images, labels):
    with pytest.raises(TrainingError, match="labels"):
        next(train(small(NETWORKS["classes"], images), images))
    with pytest.raises(TrainingError, match="labels"):
        next(train(small(MLP, images), images, labels))
    for wrong in (labels - 1, labels + 1):  # -1 is how a data set says that it has none
        with pytest.raises(TrainingError, match="labels"):
            next(train(small(NETWORKS["classes"], images), images, wrong))


def test_an_incomplete_config_says_what_to_do():
    with pytest.raises(ValueError, match="for_images"):
        TrainState(TrainConfig(MLP))


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch"),
        ({"checkpoint": 0}, "checkpoint"),
        ({"threads": 0}, "threads"),
        ({"warmup": -1}, "warmup"),
        ({"lr": 0.0}, "lr"),
        ({"lr": -1e-3}, "lr"),
        ({"lr": 1e308}, "lr"),
        ({"lr": math.inf}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"final_lr": -0.1}, "final_lr"),
        ({"final_lr": 1.1}, "final_lr"),
        ({"final_lr": math.nan}, "final_lr"),
        ({"ema": 1.0}, "ema"),
        ({"ema": -0.1}, "ema"),
        ({"ema": math.nan}, "ema"),
        ({"snapshots": (0.5, 0.0)}, "snapshots"),
        ({"snapshots": (1.5,)}, "snapshots"),
        ({"snapshots": (math.nan,)}, "snapshots"),
        ({"snapshots": (0.5,) * 10**6}, "snapshots"),
        ({"steps": 10**30}, "steps"),
        ({"batch": 10**10}, "batch"),
        ({"warmup": 10**18}, "warmup"),
        ({"threads": 10**9}, "threads"),
        ({"device": "gpu"}, "device"),
        ({"precision": "float16"}, "precision"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
    ],
)
def test_a_config_of_nonsense_is_refused(wrong, names):
    with pytest.raises(ValueError, match=rf"^training: .*{names}.*\.$"):
        TrainConfig(**wrong)


def test_the_config_completes_itself_and_keeps_the_rest(images):
    config = TrainConfig(MLP, seed=3).for_images(images)
    assert config.model == MLP.for_images(images)
    assert config.noise == NoiseLaw().for_data(config.model.sigma_data)
    assert config.seed == 3
    assert config.for_images(images) == config


def test_shares_become_steps():
    config = TrainConfig(steps=3300)
    assert [config.step_of(share) for share in (0.125, 0.25, 0.5, 1)] == [412, 825, 1650, 3300]
    assert TrainConfig(steps=4).step_of(0.125) == 1


def test_devices_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == device_of("cpu") == "cpu"
    with pytest.raises(TrainingError, match="CUDA"):
        device_of("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (device_of("auto"), device_of("cpu"), device_of("cuda")) == ("cuda", "cpu", "cuda")


def test_bfloat16_is_used_where_asked_for(images, labels):
    exact, _ = run(small(MLP, images, precision="auto"), images, labels)
    low, _ = run(small(MLP, images, precision="bfloat16"), images, labels)
    assert exact.losses == run(small(MLP, images, precision="float32"), images, labels)[0].losses
    assert exact.losses[1:] != low.losses[1:]
    np.testing.assert_allclose(low.losses, exact.losses, rtol=0.05)
    assert all(p.dtype == torch.float32 for p in low.model.parameters())


@pytest.mark.filterwarnings("ignore:Guards may run slower")  # of torch, on Python 3.13.0
@pytest.mark.parametrize("network", [MLP, UNET])
def test_compiling_changes_no_loss(images, labels, network, monkeypatch):
    """Captured and differentiated as for CUDA, but run as it stands: no C++ compiler is needed."""
    captured = Mock(wraps=functools.partial(torch.compile, backend="aot_eager", fullgraph=True))
    monkeypatch.setattr(torch, "compile", captured)
    config = small(network, images)
    plain, _ = run(config, images, labels, steps=3)
    compiled, _ = run(replace(config, compile=True), images, labels, steps=3)
    captured.assert_called_once_with(compiled.model)
    np.testing.assert_allclose(compiled.losses, plain.losses, rtol=1e-6)
    assert tensors(compiled).keys() == tensors(plain).keys()  # a checkpoint is that of either


def test_where_it_cannot_be_compiled_it_trains_on_with_one_line(images, labels, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no compiler\nand much more")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    config = small(NETWORKS["dropout"], images)
    with pytest.warns(UserWarning, match=r"torch.compile does not work here.*no compiler") as said:
        found, _ = run(replace(config, compile=True), images, labels)
    assert len(said) == 1 and "\n" not in str(said[0].message)
    assert_same(found, run(config, images, labels)[0])


def test_bfloat16_is_taken_by_itself_where_the_device_has_it(monkeypatch):
    """Where it is only emulated, on a T4 or a V100, it is slower than float32, or fails."""
    configs = {name: TrainConfig(precision=name) for name in ("auto", "float32", "bfloat16")}
    low = {k: functools.partial(training.low_precision, c) for k, c in configs.items()}
    for has, expected in {None: True, (7, 0): False, (7, 5): False, (8, 0): True}.items():
        monkeypatch.setattr(torch.cuda, "is_available", lambda has=has: has is not None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, has=has: has)
        assert low["auto"]("cuda") is low["auto"](torch.device("cuda", 1)) is expected
        assert low["bfloat16"]("cuda") and low["bfloat16"]("cpu")
        assert not low["float32"]("cuda") and not low["auto"]("cpu")


def test_a_state_has_the_precision_of_its_device(images, monkeypatch):
    config = small(MLP, images)
    for low, kind in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(training, "low_precision", lambda config, device, low=low: low)
        assert TrainState(config).ema.precision == kind


def test_the_loss_weight_is_the_networks_own(images):
    """The network's own squared error against its unit target, whatever the level."""
    config = small(MLP, images)
    sigma = torch.logspace(-2, 2, 10)
    torch.manual_seed(0)
    model = EDMDenoiser(config.model).requires_grad_(False)
    torch.nn.init.normal_(model.network.head.weight)
    clean = torch.from_numpy(images)
    x = clean + sigma[:, None, None, None] * torch.randn(clean.shape)
    c = config.model
    total = sigma**2 + c.sigma_data**2
    raw = model.network((x - c.mean) * total.rsqrt()[:, None, None, None], sigma.log() / 4, None)
    target = (clean - c.mean) - (c.sigma_data**2 / total)[:, None, None, None] * (x - c.mean)
    target = target / (sigma * c.sigma_data * total.rsqrt())[:, None, None, None]
    weighted = loss_weight(sigma, c.sigma_data) * (model(x, sigma) - clean).square().mean((1, 2, 3))
    torch.testing.assert_close(weighted, (raw - target).square().mean((1, 2, 3)), rtol=1e-3, atol=0)
