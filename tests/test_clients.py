"""Networks of other libraries, by those libraries' own code.

``pip install '.[clients]'`` brings them, and ``pip install k-diffusion`` the one that needs much.

Each test compares the adapted network with what its own library makes of the network's answer, or,
where the library makes no clean image, with a regression on what it trains the network on.
"""

import json

import numpy as np
import pytest
import torch
from torch import nn

import geomem
from geomem import EmpiricalDenoiser, check_denoiser, denoiser
from geomem.cli.main import main
from geomem.diffusion.sampler import initial_noise

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
SHAPE = (1, 8, 8)


def library(name):
    return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


@pytest.fixture(scope="module")
def train():
    return torch.from_numpy(geomem.load_dataset("digits", n_train=20).train)


def noisy(n, scale=1.0):
    return scale * torch.from_numpy(np.random.default_rng(1).standard_normal((n, *SHAPE)))


# diffusers


def unet(channels_out=1, **options):
    diffusers = library("diffusers")
    torch.manual_seed(0)
    options = {"norm_num_groups": 4, "layers_per_block": 1, "block_out_channels": (8, 16)} | options
    made = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=channels_out,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2, **options,
    )  # fmt: skip
    return made


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("betas", ["linear", "scaled_linear", "squaredcos_cap_v2"])
@pytest.mark.parametrize("name", ["DDPMScheduler", "DDIMScheduler"])
def test_diffusers_own_clean_image_at_every_timestep(name, betas, kind):
    diffusers, net = library("diffusers"), unet().eval()
    made = getattr(diffusers, name)(beta_schedule=betas, prediction_type=kind, clip_sample=False)
    made.set_timesteps(1000)
    denoise = denoiser(net, made, quiet=True)
    x, z = noisy(2).float(), noisy(2).flip(0).float()
    for t in (0, 1, 300, 700, 990, 999):
        sigma = float(denoise.schedule.sigma(t))
        x_t = made.add_noise(x, z, torch.tensor([t]))
        with torch.no_grad():
            theirs = made.step(net(x_t, t).sample, t, x_t).pred_original_sample
        ours = denoise(x_t / denoise.schedule.scale(sigma), sigma)
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5 * (1 + sigma))
        seen = denoise.schedule.scale(sigma) * (x + sigma * z)
        torch.testing.assert_close(seen.float(), x_t, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler",
                                  "DPMSolverMultistepScheduler", "UniPCMultistepScheduler",
                                  "PNDMScheduler", "LMSDiscreteScheduler"])  # fmt: skip
def test_any_alpha_bar_scheduler_of_diffusers_gives_one_denoiser(name):
    diffusers, net = library("diffusers"), unet()
    options = dict(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    one = denoiser(net, diffusers.DDPMScheduler(**options), quiet=True)
    other = denoiser(net, getattr(diffusers, name)(**options), quiet=True)
    for sigma in (0.02, 1.0, 100.0):
        torch.testing.assert_close(one(noisy(2), sigma), other(noisy(2), sigma))


@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler"])
def test_a_last_step_without_signal_is_left_out(name):
    scheduler = getattr(library("diffusers"), name)(rescale_betas_zero_snr=True)
    denoise = denoiser(unet(), scheduler, quiet=True)
    before = float(scheduler.alphas_cumprod[998])
    assert denoise.sigma_max == pytest.approx(np.sqrt(1 / before - 1))


def test_eulers_time_of_a_level_is_ours():
    scheduler = library("diffusers").EulerDiscreteScheduler(beta_schedule="scaled_linear")
    clock = denoiser(unet(), scheduler, quiet=True).schedule
    logs = np.log(clock.sigma(np.arange(1000)))
    levels = np.geomspace(0.03, 14.0, 50)
    theirs = scheduler._sigma_to_t(levels, logs)
    np.testing.assert_allclose(clock.time(levels), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler",
                                  "CosineDPMSolverMultistepScheduler"])  # fmt: skip
def test_edm_of_diffusers(name, kind):
    net = unet().eval()
    scheduler = getattr(library("diffusers"), name)(prediction_type=kind)
    denoise, y = denoiser(net, scheduler, quiet=True), noisy(2).float()
    for sigma in np.geomspace(denoise.sigma_min, denoise.sigma_max, 5):
        s = torch.tensor(sigma, dtype=torch.float32)
        with torch.no_grad():
            out = net(scheduler.precondition_inputs(y, s), scheduler.precondition_noise(s)).sample
        theirs = scheduler.precondition_outputs(y, out, s)
        torch.testing.assert_close(denoise(y, sigma), theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_flow_of_diffusers(shift):
    """Its Euler step from u to 0 is x_t - u F, the clean image that it sees there."""
    diffusers, net = library("diffusers"), unet().eval()
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    denoise = denoiser(net, scheduler, quiet=True)
    x, z = noisy(2).float(), noisy(2).flip(0).float()
    for step in (5, 500, 990):
        u, t = scheduler.sigmas[step].item(), scheduler.timesteps[step : step + 1]
        sigma = u / (1 - u)
        x_t = scheduler.scale_noise(x, t, z)
        torch.testing.assert_close(x_t, (x + sigma * z) / (1 + sigma), rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            theirs = x_t - u * net(x_t, t).sample
        torch.testing.assert_close(denoise(x_t * (1 + sigma), sigma), theirs, rtol=2e-4, atol=2e-4)
    lowest = scheduler.sigma_min / (1 - scheduler.sigma_min)
    assert denoise.sigma_min == pytest.approx(lowest)


def test_a_folder_of_diffusers_in_safetensors_and_none_of_pickles(tmp_path, capsys):
    diffusers, net = library("diffusers"), unet()
    pipeline = diffusers.DDPMPipeline(net, diffusers.DDPMScheduler(prediction_type="v_prediction"))
    pipeline.save_pretrained(tmp_path / "safe")
    pipeline.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    direct, read = denoiser(pipeline), denoiser(tmp_path / "safe")
    assert "UNet2DModel: predicts v on DDPM's 1,000 timesteps" in capsys.readouterr().out
    alone = denoiser(tmp_path / "safe" / "unet", pipeline.scheduler, quiet=True)
    for sigma in (0.02, 1.0, 100.0):
        for other in (read, alone):
            assert torch.equal(direct(noisy(2), sigma), other(noisy(2), sigma))
    with pytest.raises(ValueError, match="is never opened here"):
        denoiser(tmp_path / "pickled")


def test_learned_variance_classes_and_learned_times_of_diffusers():
    diffusers = library("diffusers")
    scheduler = diffusers.DDPMScheduler(variance_type="learned_range", clip_sample=False)
    net = unet(channels_out=2, num_class_embeds=3).eval()
    with pytest.raises(ValueError, match="needs label=, from 0 to 2"):
        denoiser(net, scheduler, quiet=True)
    denoise, y, t = denoiser(net, scheduler, label=2, quiet=True), noisy(2).float(), 400
    sigma = float(denoise.schedule.sigma(t))
    x_t = y * denoise.schedule.scale(sigma)
    with torch.no_grad():
        out = net(x_t.float(), t, torch.tensor([2, 2])).sample
    theirs = scheduler.step(out, t, x_t.float()).pred_original_sample
    torch.testing.assert_close(denoise(y, sigma), theirs, rtol=1e-4, atol=1e-4)
    learned = unet(time_embedding_type="learned", num_train_timesteps=1000)
    assert denoiser(learned, diffusers.DDPMScheduler(), quiet=True).whole_steps


def test_a_pipeline_is_audited_as_it_is(train):
    diffusers = library("diffusers")
    pipeline = diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler())
    found = geomem.audit(train.numpy(), model=pipeline, quiet=True)
    said = found.parts["model"]
    assert "predicts epsilon" in said.said[0] and "(is it trained" in said.warnings[0]
    with pytest.raises(ValueError, match="UNet2DModel alone does not say"):
        geomem.audit(train.numpy(), model=pipeline.unet, quiet=True)


def test_what_diffusers_has_for_distilled_networks_is_refused():
    diffusers = library("diffusers")
    for name in ("LCMScheduler", "TCDScheduler", "CMStochasticIterativeScheduler"):
        with pytest.raises(ValueError, match="distilled"):
            denoiser(unet(), getattr(diffusers, name)(), quiet=True)


def test_latents_of_diffusers():
    diffusers = library("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        in_channels=1, out_channels=1, latent_channels=1, block_out_channels=(8,),
        norm_num_groups=4, shift_factor=0.2, scaling_factor=0.5,
    ).eval()  # fmt: skip
    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=4, in_channels=1, out_channels=2, num_layers=1,
        sample_size=8, patch_size=2, num_embeds_ada_norm=5, norm_num_groups=1,
    ).eval()  # fmt: skip
    pipeline = diffusers.DiTPipeline(network, vae, diffusers.DDIMScheduler())
    denoise, x = denoiser(pipeline, quiet=True), noisy(2).float()
    with torch.no_grad():
        z = (vae.encode(x).latent_dist.mean - 0.2) * 0.5
        torch.testing.assert_close(denoise.latents.encode(x), z)
        torch.testing.assert_close(denoise.latents.decode(z), vae.decode(z / 0.5 + 0.2).sample)
        t = torch.full((2,), 600)
        sigma = float(denoise.schedule.sigma(600))
        x_t = z * denoise.schedule.scale(sigma)
        out = network(x_t.float(), t, torch.full((2,), 5)).sample[:, :1]  # the null class is 5
    expected = z - sigma * out
    torch.testing.assert_close(denoise(z, sigma), expected, rtol=1e-4, atol=1e-3)


# Flow matching


@pytest.mark.parametrize("name", ["CondOTScheduler", "PolynomialConvexScheduler", "VPScheduler",
                                  "LinearVPScheduler", "CosineScheduler"])  # fmt: skip
def test_paths_of_flow_matching(name):
    library("flow_matching")
    from flow_matching.path import AffineProbPath, scheduler

    path = AffineProbPath(getattr(scheduler, name)(*([3] if "Polynomial" in name else [])))

    def velocity(x_t, t):
        return torch.sin(3 * x_t) + t.reshape(-1, 1, 1, 1)

    denoise = denoiser(velocity, path, quiet=True)
    assert str(denoiser(velocity, path.scheduler, quiet=True)) == str(denoise)
    x, z = noisy(2), noisy(2).flip(0)
    for sigma in (0.01, 0.5, 1.0, 30.0):
        t = path.scheduler.snr_inverse(torch.tensor(1 / sigma, dtype=torch.float64))
        x_t = path.sample(x_0=z, x_1=x, t=t.expand(2)).x_t
        theirs = path.velocity_to_target(velocity(x_t, t.expand(2)), x_t, t)
        torch.testing.assert_close(denoise(x + sigma * z, sigma), theirs, rtol=1e-5, atol=1e-5)


def test_the_network_of_a_solver_of_flow_matching_is_found():
    library("flow_matching")
    from flow_matching.path import CondOTProbPath
    from flow_matching.solver import ODESolver

    class Shrinks(nn.Module):
        def forward(self, x, t):
            return -t.view(-1, 1, 1, 1) * x

    net, path = Shrinks(), CondOTProbPath()
    solved, plain = (denoiser(of, path, quiet=True) for of in (ODESolver(net), net))
    torch.testing.assert_close(solved(noisy(2), 0.5), plain(noisy(2), 0.5))


@pytest.mark.parametrize("sigma_c", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("name", ["ConditionalFlowMatcher", "TargetConditionalFlowMatcher",
                                  "VariancePreservingConditionalFlowMatcher"])  # fmt: skip
def test_torchcfm_by_a_regression_on_its_own_training_pairs(name, sigma_c):
    """Of standard normal images the velocity is linear in x_t, and so is the denoiser."""
    library("torchcfm")
    from torchcfm import conditional_flow_matching as cfm

    matcher, n = getattr(cfm, name)(sigma_c), 400_000
    rng = torch.Generator().manual_seed(0)
    z, x = torch.randn(2, n, 1, generator=rng, dtype=torch.float64)
    torch.manual_seed(1)  # of its own noise
    for t in (0.2, 0.5, 0.8):
        time = torch.full((n,), t, dtype=torch.float64)
        _, x_t, u = matcher.sample_location_and_conditional_flow(z, x, time)
        slope = (x_t * u).mean() / x_t.square().mean()
        error = float((u - slope * x_t).std() / x_t.std() / n**0.5)

        class Linear(nn.Module):
            def forward(self, t, x, slope=slope):
                return slope * x

        denoise = denoiser(Linear(), matcher, quiet=True)
        sigma = float(denoise.schedule.sigma(t))
        assert float(x_t.std()) == pytest.approx(
            denoise.schedule.scale(sigma) * np.hypot(1, sigma), rel=0.01
        )
        found = float(denoise(torch.ones(1, 1, dtype=torch.float64), sigma))
        p, q = (float(v[0]) for v in denoise.target(np.array([sigma])))
        leverage = sigma * denoise.schedule.scale(sigma) / abs(sigma * p - q)
        assert found == pytest.approx(1 / (1 + sigma**2), abs=5 * error * leverage + 1e-12)


@pytest.mark.parametrize("name", ["ExactOptimalTransportConditionalFlowMatcher",
                                  "SchrodingerBridgeConditionalFlowMatcher"])  # fmt: skip
def test_noise_that_is_paired_with_images_is_refused(name):
    library("torchcfm")
    from torchcfm import conditional_flow_matching as cfm

    with pytest.raises(ValueError, match="no posterior mean"):
        denoiser(nn.Identity(), getattr(cfm, name)(0.1), quiet=True)


def test_the_network_of_torchcfm_takes_the_time_first():
    library("torchcfm")
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    from torchcfm.models.unet import UNetModel

    net = UNetModel(dim=SHAPE, num_channels=32, num_res_blocks=1, channel_mult=(1,)).eval()
    denoise, y = denoiser(net, ConditionalFlowMatcher(), quiet=True), noisy(2).float()
    for sigma in (0.1, 1.0, 10.0):
        t = 1 / (1 + sigma)
        with torch.no_grad():
            expected = t * y + (1 - t) * net(torch.full((2,), t), t * y)
        torch.testing.assert_close(denoise(y, sigma), expected, rtol=1e-5, atol=1e-5)


# smalldiffusion, k-diffusion, lucidrains


def test_the_ideal_denoiser_of_smalldiffusion_is_the_empirical_denoiser(train):
    ideal = library("smalldiffusion").IdealDenoiser(train.double())
    denoise, exact = denoiser(ideal, quiet=True), EmpiricalDenoiser(train)
    for sigma in (0.05, 0.3, 1.0, 5.0):
        y = train[:5].double() + sigma * noisy(5)
        torch.testing.assert_close(denoise(y, sigma), exact(y, sigma), rtol=1e-5, atol=1e-5)
    assert check_denoiser(denoise, train).passed


def test_modifiers_and_schedules_of_smalldiffusion(train):
    small = library("smalldiffusion")

    def ideal(*modifiers):
        """A network that is exact for what its modifier has it predict."""
        base, exact = small.IdealDenoiser, EmpiricalDenoiser(train)

        class Net(base):
            def forward(self, x, sigma, cond=None):
                if "PredFlow" in type(self).__name__:  # x is x_t, sigma is u
                    s, y = sigma / (1 - sigma), x / (1 - sigma)
                    return (y - exact(y, s)) / s - exact(y, s)
                m, a = exact(x, sigma), 1 / (1 + sigma**2)
                predicted = {"X0": m, "V": a.sqrt() * (x - m) / sigma - (1 - a).sqrt() * m}
                kind = type(self).__name__.rpartition("Pred")[2]
                return predicted.get(kind, (x - m) / sigma)

        for modify in modifiers:
            Net = modify(Net)
        made = Net(train)
        made.weight = nn.Parameter(torch.ones(1))
        return made.double()

    exact, y = EmpiricalDenoiser(train), noisy(5)
    cases = [
        ((), small.ScheduleDDPM(), (0.01, 157.4)),
        ((small.PredX0,), small.ScheduleLogLinear(100), (0.02, 10.0)),
        ((small.PredV,), small.ScheduleLDM(), (0.0292, 14.6)),
        ((small.PredFlow,), small.ScheduleFlow(t_max=0.99), (0.001, 99.0)),
    ]
    for modifiers, schedule, ends in cases:
        denoise = denoiser(ideal(*modifiers), schedule, quiet=True)
        assert (denoise.sigma_min, denoise.sigma_max) == pytest.approx(ends, rel=2e-3)
        for sigma in (0.05, 0.3, 1.0, torch.tensor([0.05, 0.3, 1.0, 1.0, 3.0])):
            torch.testing.assert_close(denoise(y, sigma), exact(y, sigma), rtol=1e-5, atol=1e-5)


def test_wrappers_of_k_diffusion(train):
    library("k_diffusion")
    from k_diffusion import external, layers

    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000), 0)
    net = unet().eval()
    inner = Raw(net)
    y = noisy(3).float()
    wrapped = external.DiscreteEpsDDPMDenoiser(inner, alphas, quantize=False)
    theirs, ours = denoiser(wrapped, quiet=True), denoiser(inner, alphas, prediction="epsilon")
    assert (theirs.sigma_min, theirs.sigma_max) == pytest.approx((ours.sigma_min, ours.sigma_max))
    v, vs = external.DiscreteVDDPMDenoiser(inner, alphas, quantize=False), (inner, alphas)
    for sigma in (0.02, 1.0, 100.0):
        torch.testing.assert_close(theirs(y, sigma), ours(y, sigma), rtol=1e-3, atol=2e-3)
        torch.testing.assert_close(
            denoiser(v, quiet=True)(y, sigma), denoiser(*vs, prediction="v", quiet=True)(y, sigma),
            rtol=1e-3, atol=1e-4,
        )  # fmt: skip
    edm = layers.Denoiser(inner, sigma_data=0.5)
    with torch.no_grad():
        expected = edm(y, torch.full((3,), 0.7))
    torch.testing.assert_close(denoiser(edm, quiet=True)(y, 0.7), expected)
    assert geomem.sample(denoiser(edm, quiet=True), SHAPE, 2).shape == (2, *SHAPE)


class Raw(nn.Module):
    """A network of diffusers that answers with a tensor."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, t):
        return self.net(x, t).sample


@pytest.mark.parametrize("objective", ["pred_noise", "pred_x0", "pred_v"])
@pytest.mark.parametrize("schedule", ["linear", "cosine", "sigmoid"])
def test_lucidrains_own_clean_image(objective, schedule):
    theirs = library("denoising_diffusion_pytorch")
    torch.manual_seed(0)
    net = theirs.Unet(8, channels=1, dim_mults=(1, 2), flash_attn=False)
    diffusion = theirs.GaussianDiffusion(
        net, image_size=8, objective=objective, beta_schedule=schedule
    ).eval()
    denoise, y = denoiser(diffusion, quiet=True), noisy(2).float()
    for t in (0, 300, 700, 990):
        sigma = float(denoise.schedule.sigma(t))
        x_t = (y * denoise.schedule.scale(sigma)).float()
        with torch.no_grad():
            expected = diffusion.model_predictions(x_t, torch.full((2,), t)).pred_x_start
        torch.testing.assert_close(denoise(y, sigma), expected, rtol=1e-4, atol=1e-4 * (1 + sigma))
    immiscible = theirs.GaussianDiffusion(net, image_size=8, immiscible=True)
    with pytest.raises(ValueError, match="no posterior mean"):
        denoiser(immiscible, quiet=True)


def test_elucidated_diffusion_of_lucidrains():
    theirs = library("denoising_diffusion_pytorch")
    from denoising_diffusion_pytorch.elucidated_diffusion import ElucidatedDiffusion

    torch.manual_seed(0)
    net = theirs.Unet(8, channels=1, dim_mults=(1,), learned_sinusoidal_cond=True)
    diffusion, y = ElucidatedDiffusion(net, image_size=8, channels=1).eval(), noisy(2).float()
    denoise = denoiser(diffusion, quiet=True)
    for sigma in (0.002, 1.0, 80.0):
        with torch.no_grad():
            expected = diffusion.preconditioned_network_forward(y, sigma)
        torch.testing.assert_close(denoise(y, sigma), expected, rtol=1e-5, atol=1e-5)
    drawn = geomem.sample(denoise, SHAPE, 2)
    assert drawn.shape == (2, *SHAPE)


# Their samplers and ours


def noise(n):
    """The noise of the samples 0 to n - 1 of seed 0."""
    return initial_noise(SHAPE, [(0, i) for i in range(n)], 1.0).float()


def ddim(net, scheduler, noise, steps=50):
    """Samples by diffusers' DDIM, and the timesteps that it took."""
    sampler = library("diffusers").DDIMScheduler.from_config(scheduler.config)
    sampler.set_timesteps(steps)
    x = noise
    with torch.no_grad():
        for t in sampler.timesteps:
            x = sampler.step(net(x, t).sample, t, x).prev_sample
    return x, sampler.timesteps.numpy()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_ddim_of_diffusers_is_eulers_method_at_its_timesteps(kind):
    net = unet().eval()
    scheduler = library("diffusers").DDPMScheduler(prediction_type=kind, clip_sample=False)
    denoise = denoiser(net, scheduler, quiet=True)
    _, timesteps = ddim(net, scheduler, noise(2), 20)
    levels = denoise.schedule.sigma(timesteps)
    start = levels[0] * denoise.schedule.scale(levels[0])  # of unit variance, but for x
    theirs, _ = ddim(net, scheduler, start * noise(2), 20)
    ours = geomem.sample(denoise, SHAPE, 2, solver="euler", sigmas=levels)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_eulers_method_on_a_flows_clock_is_ours():
    library("torchcfm")
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    from torchdiffeq import odeint

    torch.manual_seed(0)
    net = Velocity().eval()
    denoise = denoiser(net, ConditionalFlowMatcher(), quiet=True)
    times = torch.linspace(0.05, 1, 20)
    levels = denoise.schedule.sigma(times[:-1].double().numpy())
    with torch.no_grad():
        theirs = odeint(net, 0.95 * noise(2), times, method="euler")[-1]
    ours = geomem.sample(denoise, SHAPE, 2, solver="euler", sigmas=levels)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


# From training to the report, by the libraries' own loops and samplers


class Velocity(nn.Module):
    """A small network that takes the time first, as torchcfm's do."""

    def __init__(self, width=512):
        super().__init__()
        self.time, self.first, self.last = (
            nn.Linear(a, b) for a, b in ((32, width), (64, width), (width, 64))
        )
        self.middle = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.register_buffer("rates", torch.pi / 4 * torch.arange(1, 17))

    def forward(self, t, x):
        phase = t.reshape(-1, 1) * self.rates
        when = self.time(torch.cat([phase.sin(), phase.cos()], 1))
        h = self.first(x.flatten(1)) + when
        for layer in self.middle:
            h = h + layer(torch.nn.functional.silu(h + when))
        return self.last(torch.nn.functional.silu(h)).view_as(x)


@pytest.fixture(scope="module")
def digits():
    return geomem.load_dataset("digits", n_train=64, n_heldout=120)


def fit(net, images, loss_of, steps, rate):
    """Adam, its rate up and down again."""
    optimizer = torch.optim.Adam(net.parameters(), rate)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    for _ in range(steps):
        loss = loss_of(images[torch.randint(len(images), (64,))])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.step()
    net.eval()


def audited(folder, digits, model, samples, sampler):
    """The report of the command line, its own samples and the user's beside each other."""
    for name, images in (("train", digits.train), ("new", digits.heldout), ("drawn", samples)):
        np.save(folder / f"{name}.npy", images)
    out = folder / "report"
    main(["audit", str(folder / "train.npy"), "--heldout", str(folder / "new.npy"), "--model",
          model, "--samples", str(folder / "drawn.npy"), "--sampler", sampler, "--out", str(out),
          "--check", "memorized.low > 0.1", "--check", "model/memorized.low > 0.1"])  # fmt: skip
    assert sampler in (out / "report.html").read_text()
    parts = json.loads((out / "report.json").read_text())["parts"]
    theirs, ours = (parts[name]["numbers"]["memorized"] for name in ("samples", "model"))
    assert theirs["value"] == geomem.memorized_fraction(samples, digits.train).value
    assert theirs["low"] <= ours["high"] and ours["low"] <= theirs["high"]
    assert parts["model"]["numbers"]["membership"]["low"] > 0.9
    assert not parts["model"]["warnings"]
    return parts["model"]


@pytest.mark.long
def test_a_unet_of_diffusers_from_its_own_loop_to_the_report(digits, tmp_path):
    diffusers, images = library("diffusers"), torch.from_numpy(digits.train)
    scheduler = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=False)
    net = unet(block_out_channels=(32, 32), norm_num_groups=8)

    def loss_of(x):
        z, t = torch.randn_like(x), torch.randint(1000, (len(x),))
        return (net(scheduler.add_noise(x, z, t), t).sample - z).square().mean()

    fit(net, images, loss_of, 1250, 4e-3)
    denoise = denoiser(net, scheduler, quiet=True)
    assert check_denoiser(denoise, images).passed
    raw = check_denoiser(lambda x, s: net(x, s).sample.detach(), images)
    assert "epsilon" in raw.mistake and "timestep" in raw.mistake
    torch.manual_seed(1)
    samples, _ = ddim(net, scheduler, torch.randn(128, *SHAPE))
    ours = geomem.memorized_fraction(geomem.sample(denoise, SHAPE, 128), digits.train)
    theirs = geomem.memorized_fraction(samples, digits.train)
    assert ours.low <= theirs.high and theirs.low <= ours.high
    diffusers.DDPMPipeline(net, scheduler).save_pretrained(tmp_path / "unet")
    part = audited(tmp_path, digits, str(tmp_path / "unet"), samples, "DDIM, 50 steps")
    assert "predicts epsilon on DDPM's 1,000 timesteps" in " ".join(part["said"])


@pytest.mark.long
def test_a_flow_of_torchcfm_from_its_own_loop_to_the_report(digits, tmp_path):
    library("torchcfm")
    from safetensors.torch import save_file
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher
    from torchdiffeq import odeint

    torch.manual_seed(0)
    net, matcher, images = Velocity(), ConditionalFlowMatcher(), torch.from_numpy(digits.train)

    def loss_of(x):
        t, x_t, u = matcher.sample_location_and_conditional_flow(torch.randn_like(x), x)
        return (net(t, x_t) - u).square().mean()

    fit(net, images, loss_of, 3000, 2e-3)
    denoise = denoiser(net, matcher, quiet=True)
    assert check_denoiser(denoise, images).passed
    with torch.no_grad():
        start, ends = torch.randn(128, *SHAPE), torch.tensor([0.0, 1.0])
        samples = odeint(net, start, ends, rtol=1e-4, atol=1e-4)[-1]
    ours = geomem.memorized_fraction(geomem.sample(denoise, SHAPE, 128), digits.train)
    theirs = geomem.memorized_fraction(samples, digits.train)
    assert ours.low <= theirs.high and theirs.low <= ours.high
    save_file(net.state_dict(), tmp_path / "flow.safetensors")
    (tmp_path / "flow.py").write_text(FLOW)
    model = f"{tmp_path / 'flow.py'}:denoise"
    part = audited(tmp_path, digits, model, samples, "dopri5")
    assert "predicts velocity on ConditionalFlowMatcher" in " ".join(part["said"])


FLOW = """
from pathlib import Path

import geomem
from safetensors.torch import load_file
from test_clients import Velocity
from torchcfm.conditional_flow_matching import ConditionalFlowMatcher

network = Velocity()
network.load_state_dict(load_file(Path(__file__).with_suffix(".safetensors")))
denoise = geomem.denoiser(network, ConditionalFlowMatcher())
"""
