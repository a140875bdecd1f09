"""What only a CUDA device can show of training, sampling and curves; without one all is skipped.

What it does with stretches of steps is tested on the CPU, in test_train; the integers that replace
a slow float64, in test_posterior.
"""

import contextlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_train import EACH, NETWORKS, UNET, assert_same, run, small
from torch import distributed

import geomem
from geomem.diffusion import train as training
from geomem.diffusion.network import EDMDenoiser, ModelConfig
from geomem.diffusion.sampler import sample
from geomem.diffusion.train import Batch, DeviceDraws, HostDraws, TrainState
from geomem.geometry import distances, integer_products

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
    pytest.mark.filterwarnings("default"),  # what compilers and drivers warn of is no failure
]
LARGER = replace(UNET, width=32, multipliers=(1, 2), attention=(4,))


@pytest.fixture
def images(rng):
    """Each of one colour that grows to the right."""
    ramps = rng.uniform(-1, 1, size=(64, 3, 1, 1)) * np.linspace(0.2, 1, 16)
    return np.broadcast_to(ramps, (64, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def labels():
    return np.arange(64) % 3


@pytest.fixture
def float32(monkeypatch):
    """Products and convolutions in float32 proper, as on a CPU."""
    monkeypatch.setattr(training, "_kernels", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def on_cuda(network, images, **changes):
    return small(network, images, **dict(device="cuda", steps=60, batch=32) | changes)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns(images, precision):
    config = on_cuda(LARGER, images, steps=200, precision=precision)
    state, records = run(config, images, None)
    assert state.losses[0] == pytest.approx(1, abs=0.1)
    assert np.mean(state.losses[-30:]) < 0.7 * np.mean(state.losses[:5])
    assert [r.step for r in records] == [*range(1, 201)]
    assert all(p.dtype == torch.float32 and p.is_cuda for p in state.ema.parameters())


@EACH
def test_resume_is_exact(tmp_path, images, labels, network):
    config = on_cuda(network, images)
    whole, _ = run(config, images, labels)
    half, _ = run(replace(config, checkpoint=33), images, labels, steps=33)
    assert half.step == 33
    half.save(tmp_path / "state")
    resumed = TrainState(config)
    resumed.load(tmp_path / "state")
    assert_same(run(config, images, labels, resumed)[0], whole)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_stretch_of_steps_waits_for_the_device_once(images, labels, network):
    config = on_cuda(network, images, steps=3 * DeviceDraws.every)
    run(replace(config, steps=2), images, labels)  # what is made once may wait
    state = TrainState(config)
    asked = labels if network.n_classes else None
    records = training.train(config, images, asked, state)
    for _ in range(DeviceDraws.every):
        next(records)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as waited:
            warnings.simplefilter("always")
            assert sum(1 for _ in records) == 2 * DeviceDraws.every
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([w for w in waited if "synchroniz" in str(w.message)]) <= 2


def test_a_loss_that_is_none_leaves_the_state_before_its_stretch(images):
    config = on_cuda(UNET, images, lr=1e6, warmup=0)
    state = TrainState(config)
    with pytest.raises(training.TrainingError, match=r"kept is the state after step \d+"):
        run(config, images, None, state)
    assert state.step % DeviceDraws.every == 0
    assert all(p.isfinite().all() for p in state.model.parameters())


@EACH
@pytest.mark.usefixtures("float32")
def test_fed_what_a_cpu_draws_it_trains_the_model_of_a_cpu(images, labels, network, monkeypatch):
    class Carried(HostDraws):
        def __call__(self, seen):
            drawn = super().__call__(seen)
            return Batch(*(a.cuda() if isinstance(a, torch.Tensor) else a for a in drawn))

    monkeypatch.setattr(training, "DeviceDraws", Carried)
    network = replace(network, dropout=0.0)  # whose masks are the device's own
    config = on_cuda(network, images, steps=20, lr=1e-3, precision="float32")
    ours, _ = run(config, images, labels)
    theirs, _ = run(replace(config, device="cpu"), images, labels)
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=5e-3)
    x, label = torch.from_numpy(images), torch.from_numpy(labels)
    asked = (x, 0.5, label if network.n_classes else None)
    found = ours.ema(*(a.cuda() if isinstance(a, torch.Tensor) else a for a in asked))
    torch.testing.assert_close(found.cpu(), theirs.ema(*asked), rtol=0, atol=5e-3)


def test_images_that_do_not_fit_are_sent_batch_by_batch(images, labels, monkeypatch):
    config = on_cuda(NETWORKS["classes"], images)
    share, device = slice(0, 32), torch.device("cuda")
    there = DeviceDraws(config, images, labels, share, device)(0)
    monkeypatch.setattr(training, "RESIDENT", 0)
    sent = DeviceDraws(config, images, labels, share, device)(0)
    assert sent.clean.is_cuda and sent.label.is_cuda
    assert torch.equal(sent.sigma, there.sigma) and torch.equal(sent.noise, there.noise)
    for image, label in zip(sent.clean.cpu().numpy(), sent.label.tolist(), strict=True):
        assert labels[(images == image).all((1, 2, 3))] == label


def test_compiled_it_trains_the_same_model(images):
    config = on_cuda(LARGER, images, lr=1e-3, precision="float32")
    plain, _ = run(config, images, None)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "torch.compile does not work")
        compiled, _ = run(replace(config, compile=True), images, None)
    np.testing.assert_allclose(compiled.losses, plain.losses, rtol=0.02)


def test_one_process_of_a_group_trains_the_model_of_none(tmp_path, images):
    config = on_cuda(UNET, images, lr=1e-3, precision="float32")
    alone, _ = run(config, images, None)
    place = f"file://{tmp_path}/place"
    distributed.init_process_group("nccl", init_method=place, rank=0, world_size=1)
    try:
        grouped, _ = run(config, images, None)
    finally:
        distributed.destroy_process_group()
    np.testing.assert_allclose(grouped.losses, alone.losses, rtol=1e-2)


@pytest.mark.parametrize("batch", [2047, 2048])
def test_a_batch_of_more_groups_than_a_kernels_grid_has_rows(images, batch):
    """32 groups an image: the first batch is the last that takes them all at once."""
    network = ModelConfig(width=128, multipliers=(1,))
    state, _ = run(on_cuda(network, images, batch=batch, steps=2), images, None)
    assert np.isfinite(state.losses).all()


@pytest.mark.usefixtures("float32")
def test_samples_are_those_of_a_cpu(images):
    torch.manual_seed(0)
    denoiser = EDMDenoiser(LARGER.for_images(images)).eval().requires_grad_(False)
    torch.nn.init.normal_(denoiser.network.head.weight, std=0.02)
    theirs = sample(denoiser, (3, 16, 16), 5, batch=4)
    ours = sample(denoiser.cuda(), (3, 16, 16), 5, batch=4)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-3)


@pytest.mark.parametrize("solver", ["heun", "euler"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_denoiser_that_gives_no_numbers_is_refused(solver, bad):
    def denoise(x, sigma):
        return torch.where(torch.rand_like(x) < 0.01, bad, x) if 1 < sigma < 2 else x

    with pytest.raises(ValueError, match="NaN or infinite"):
        sample(denoise, (3, 16, 16), 2, solver=solver, device="cuda")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("slow", [None, True, False], ids=["own", "integers", "float64"])
def test_curves_and_nearest_distances_are_those_of_a_cpu(rng, monkeypatch, dtype, slow):
    """Of images around 40 centres; of more than two blocks, and more queries than one holds."""
    centres = rng.integers(40, 216, (40, 3, 10, 10))
    points = centres[rng.integers(40, size=3400)] + rng.integers(-39, 40, (3400, 3, 10, 10))
    train, queries = np.split(points.astype(dtype), [2300])
    assert len(train) > 2 * distances.TRAIN_ROWS and len(queries) > distances.QUERY_ROWS
    levels = np.geomspace(3, 3000, 9)

    def everything(device):
        how = {"draws": 2, "device": device}
        near, which = geomem.nearest(queries, train, 4, device=device)
        return (
            geomem.max_posterior_weight(train, levels, queries=queries, **how).per_query,
            geomem.shell_coverage(queries, train, levels, **how).per_query,
            near,
            which,
        )

    theirs = everything("cpu")
    if slow is not None:
        monkeypatch.setattr(integer_products, "slow_float64", lambda device: slow)
    for ours, expected in zip(everything("cuda"), theirs, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)
