"""Networks of other libraries, by fakes that are exact: of Gaussian images, in their own formulas.

Each fake is what a perfectly trained network of its library answers, from that library's own way
to noise an image; all of them must become the one denoiser that is known in closed form.
"""

import functools
import json
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import geomem
from geomem import EDMDenoiser, EmpiricalDenoiser, ModelConfig, Schedule, check_denoiser, denoiser
from geomem.denoisers.check import _better
from geomem.errors import InputError
from geomem.geometry.denoiser import answer, tensor_in
from geomem.geometry.window import Window
from geomem.memorization.swaps import swap

SHAPE = (3, 4, 4)
LINEAR = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
quiet = functools.partial(denoiser, quiet=True)


def images(n, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, *SHAPE)))


MEAN = 0.3 * images(1)[0]
DEVIATION = images(1, 1)[0].abs().clamp(0.1, 0.8)  # of each pixel


def exact(y, sigma):
    """The denoiser of independent pixels N(MEAN, DEVIATION^2)."""
    s = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1, 1, 1)
    return MEAN + DEVIATION**2 / (DEVIATION**2 + s**2) * (y.double() - MEAN)


class Exact(nn.Module):
    """The best prediction of p x + q z from x_t = a x + b z, in the dtype that it is given.

    ``path`` gives a, b, p and q at a time: the library's own words for its noise and its target.
    """

    def __init__(self, path, scale=1.0, known=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.path, self.scale, self.known = path, scale, known or exact

    def predict(self, x, t):
        assert x.dtype == self.weight.dtype and t.shape == (len(x),)
        a, b, p, q = (
            torch.as_tensor(v).double().reshape(-1, 1, 1, 1)
            for v in self.path(t.double() / self.scale)
        )
        y = x.double() / a
        m = self.known(y, (b / a).ravel())
        return (p * m + q * (x.double() - a * m) / b).to(x)

    def forward(self, x, t):
        return self.predict(x, t)


class TimeFirst(Exact):
    def forward(self, t, x):
        return self.predict(x, t)


class Sample(Exact):
    def forward(self, sample, timestep, return_dict=True):
        return SimpleNamespace(sample=self.predict(sample, timestep))


class Tuple(Exact):
    def forward(self, sample, timestep):
        return self.predict(sample, timestep), None


class WithVariance(Exact):
    def forward(self, x, timesteps):
        out = self.predict(x, timesteps)
        return torch.cat([out, torch.full_like(out, 7.0)], 1)


class OfLevels(Exact):
    """Answers with the image or another target, asked with x + sigma z and a tensor of levels."""

    def forward(self, x, sigma, class_labels=None):
        sigma = sigma.to(torch.float32).reshape(-1).expand(len(x))
        return self.predict(x, sigma)


def alpha_bar(t):
    """At times between two steps log sigma is interpolated, as in the Euler samplers."""
    logs = ((1 - LINEAR) / LINEAR).sqrt().log()
    low = t.floor().long().clamp(0, 998)
    w = t - low
    sigma = ((1 - w) * logs[low] + w * logs[low + 1]).exp()
    return 1 / (1 + sigma**2)


def ddpm(kind):
    def path(t):
        ab = alpha_bar(t)
        a, b = ab.sqrt(), (1 - ab).sqrt()
        return a, b, *{"sample": (1, 0), "epsilon": (0, 1), "v_prediction": (-b, a)}[kind]

    return path


def respaced(path, every):
    """Of every so many steps of a chain; log sigma is linear in log(1 + step) between them."""

    def of_steps(t):
        low = (t + 1e-4).floor()
        start, step = (torch.log1p(every * v) for v in (low, t.clamp(min=low)))
        return path(low + (step - start) / (torch.log1p(every * (low + 1)) - start))

    return of_steps


def edm(sigma_data, sign=1):
    """x_t = c_in (x + sigma z), F = (x - c_skip y) / c_out at c_noise = log(sigma) / 4."""

    def path(t):
        s = (4 * t).exp()
        root = (s**2 + sigma_data**2).sqrt()
        c_skip, c_out = sigma_data**2 / root**2, sign * s * sigma_data / root
        return 1 / root, s / root, (1 - c_skip) / c_out, -c_skip * s / c_out

    return path


def straight(t):
    return t, 1 - t, 1, -1


def straight_back(t):
    return 1 - t, t, -1, 1


def score(t):
    return 1, t, 0, -1 / t


def scored(path):
    """What predicts the score of the x_t that it sees, whatever its scale."""

    def of_what_is_seen(t):
        a, b, *_ = path(t)
        return a, b, 0, -1 / b

    return of_what_is_seen


def image(t):
    return 1, t, 1, 0


# What libraries have beside a network, by the attributes that are read


def scheduler(kind, name="DDIMScheduler", **config):
    config = {"prediction_type": kind, "num_train_timesteps": 1000, **config}
    made = type(name, (), {})()
    made.config, made.alphas_cumprod = SimpleNamespace(**config), LINEAR.float()
    return made


class EDMScheduler:
    def __init__(self, kind, sigma_data=0.5):
        self.config = SimpleNamespace(
            prediction_type=kind, sigma_data=sigma_data, sigma_min=0.002, sigma_max=80.0
        )

    def precondition_noise(self, sigma):
        return 0.25 * torch.log(sigma)


class FlowScheduler:
    sigma_min = 0.001

    def __init__(self, **config):
        self.config = SimpleNamespace(num_train_timesteps=1000, **config)

    def scale_noise(self, sample, timestep, noise):
        pass


class Matcher:
    """As torchcfm's; a path of Gaussians with the means t x + (1 - t) z'."""

    def __init__(self, sigma=0.0):
        self.sigma = sigma

    def compute_mu_t(self, x0, x1, t):
        pass


class TargetConditionalFlowMatcher(Matcher):
    pass


class VariancePreservingConditionalFlowMatcher(Matcher):
    pass


class Guided:
    """As guided-diffusion's, every fourth step of a chain of 4,000."""

    model_mean_type = SimpleNamespace(name="EPSILON")
    rescale_timesteps, original_num_steps = True, 4000
    timestep_map = range(0, 4000, 4)
    alphas_cumprod = LINEAR.numpy()


class Cosine:
    """As flow_matching's schedulers: data at 1."""

    def __call__(self, t):
        angle = np.pi / 2 * t
        return SimpleNamespace(
            alpha_t=angle.sin(), sigma_t=angle.cos(),
            d_alpha_t=np.pi / 2 * angle.cos(), d_sigma_t=-np.pi / 2 * angle.sin(),
        )  # fmt: skip

    def snr_inverse(self, snr):
        return 2 / np.pi * torch.atan(snr)


class Ends(Cosine):
    """One with noise up to a level only, as a variance-preserving one has."""

    first = 0.05

    def __call__(self, t):
        return super().__call__(self.first + (1 - self.first) * t)

    def snr_inverse(self, snr):
        return (super().snr_inverse(snr) - self.first) / (1 - self.first)


def cosine(t):
    found = Cosine()(t)
    return found.alpha_t, found.sigma_t, found.d_alpha_t, found.d_sigma_t


def jittered(path, sigma_c):
    """x_t = a x + b z' + sigma_c e and the velocity a' x + b' z', by all the noise that it has."""

    def all_noise(t):
        a, b, p, q = (torch.as_tensor(v).double() for v in path(t))
        total = (b**2 + sigma_c**2).sqrt()
        return a, total, p, q * b / total  # z' is (b / total) z and what is independent of it

    return all_noise


def lipman(sigma_c):
    return lambda t: (t, 1 - (1 - sigma_c) * t, 1, sigma_c - 1)


def karras(path, **attributes):
    return with_attributes(OfLevels(path), sigma_data=0.5, img_channels=3, **attributes)


def with_attributes(net, **attributes):
    for name, value in attributes.items():
        setattr(net, name, value)
    return net


class Small(OfLevels):
    """As smalldiffusion's: one level at a time."""

    cond_embed = None

    def rand_input(self, n):
        pass

    def predict_eps(self, x, sigma, cond=None):
        assert sigma.shape == ()
        moved = 0 if cond is None else cond.reshape(-1, 1, 1, 1)
        return self.predict(x, sigma.expand(len(x))) + moved


class SmallPredFlow(Small):
    pass


class Lucid(nn.Module):
    def __init__(self, objective, kind, **attributes):
        super().__init__()
        self.model, self.objective = Exact(ddpm(kind)), objective
        self.alphas_cumprod = LINEAR.float()
        with_attributes(self, self_condition=False, immiscible=False, offset_noise_strength=0.0)
        with_attributes(self, **attributes)


class Elucidated(nn.Module):
    sigma_min, sigma_max = 0.002, 80

    def __init__(self):
        super().__init__()
        self.net = OfLevels(image)

    def preconditioned_network_forward(self, noised_images, sigma, self_cond=None, clamp=False):
        assert sigma.ndim == 1 and not clamp
        return self.net(noised_images, sigma)


class KDiffusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner_model = OfLevels(image)

    def forward(self, input, sigma, **more):
        assert sigma.shape == (len(input),)
        return self.inner_model(input, sigma)


VP_FLOW = VariancePreservingConditionalFlowMatcher
CASES = {
    **{
        f"diffusers, {kind}": (lambda k=kind: quiet(Sample(ddpm(k)), scheduler(k)))
        for kind in ("epsilon", "sample", "v_prediction")
    },
    "diffusers, a tuple": lambda: quiet(Tuple(ddpm("epsilon")), scheduler("epsilon")),
    "a pipeline": lambda: quiet(
        SimpleNamespace(unet=Sample(ddpm("epsilon")), scheduler=scheduler("epsilon"))
    ),
    "EDM's F by diffusers": lambda: quiet(Sample(edm(0.5)), EDMScheduler("epsilon")),
    "EDM's -F by diffusers": lambda: quiet(
        Sample(edm(0.7, -1)), EDMScheduler("v_prediction", sigma_data=0.7)
    ),
    "EDM's F": lambda: quiet(Exact(edm(0.3)), prediction="edm", sigma_data=0.3),
    "diffusers, a flow": lambda: quiet(Sample(straight_back, 1000), FlowScheduler()),
    "diffusers, a flow inverted": lambda: quiet(
        Sample(straight, 1000), FlowScheduler(invert_sigmas=True)
    ),
    "a flow, data at 1": lambda: quiet(Exact(straight), Schedule.flow(), prediction="velocity"),
    "a flow, data at 0": lambda: quiet(
        Exact(straight_back), Schedule.flow(data_at=0), prediction="velocity"
    ),
    "torchcfm": lambda: quiet(TimeFirst(straight), Matcher()),
    "torchcfm, sigma": lambda: quiet(TimeFirst(jittered(straight, 0.1)), Matcher(0.1)),
    "torchcfm, target": lambda: quiet(
        TimeFirst(lipman(0.05)), TargetConditionalFlowMatcher(0.05)
    ),
    "torchcfm, VP": lambda: quiet(TimeFirst(cosine), VP_FLOW()),
    "torchcfm, VP, sigma": lambda: quiet(TimeFirst(jittered(cosine, 0.1)), VP_FLOW(0.1)),
    "flow_matching": lambda: quiet(Exact(cosine), Cosine()),
    "flow_matching, a path": lambda: quiet(
        Exact(cosine), SimpleNamespace(scheduler=Cosine(), velocity_to_target=None)
    ),
    "guided": lambda: quiet(WithVariance(respaced(ddpm("epsilon"), 4)), Guided()),
    "lucidrains, noise": lambda: quiet(Lucid("pred_noise", "epsilon")),
    "lucidrains, v": lambda: quiet(Lucid("pred_v", "v_prediction")),
    "lucidrains, x0": lambda: quiet(Lucid("pred_x0", "sample")),
    "lucidrains, EDM": lambda: quiet(Elucidated()),
    "smalldiffusion": lambda: quiet(Small(lambda t: (1, t, 0, 1))),
    "smalldiffusion, flow": lambda: quiet(SmallPredFlow(straight_back)),
    "k-diffusion": lambda: quiet(KDiffusion()),
    "EDM": lambda: quiet(karras(image, sigma_min=0.0, sigma_max=float("inf"))),
    "score": lambda: quiet(Exact(score), Schedule.edm(), prediction="score"),
    "score, DDPM": lambda: quiet(
        Exact(scored(ddpm("epsilon"))), Schedule.ddpm("linear"), prediction="score"
    ),
    "score, a flow": lambda: quiet(Exact(scored(straight)), Schedule.flow(), prediction="score"),
    "a function": lambda: quiet(exact),
    "a network of x and sigma": lambda: quiet(OfLevels(image)),
    "alphas_cumprod": lambda: quiet(Exact(ddpm("epsilon")), LINEAR, prediction="epsilon"),
    "a named schedule": lambda: quiet(Exact(ddpm("sample")), "linear", prediction="x0"),
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request):
    found = CASES[request.param]()
    if request.param == "guided":  # its fake counts to 1,000, of a clock of 4,000 scaled to 1,000
        assert found.schedule.time(found.sigma_max) == pytest.approx(999)
    return found


def levels(found, n=9):
    low, high = max(found.sigma_min, 0.002), min(found.sigma_max, 150.0)
    return np.geomspace(low * (1 + 1e-12), high, n)


def rounding(y, sigma):
    """What float32 may change: the last bits of what is shown, and of sigma times the answer."""
    return 1e-6 * (1 + sigma)


def test_every_parametrisation_is_the_exact_denoiser_over_its_whole_range(case):
    x, z = images(6, 2) * DEVIATION + MEAN, images(6, 3)
    for sigma in levels(case):
        y = x + sigma * z
        found = case(y, float(sigma))
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, exact(y, sigma), rtol=0, atol=rounding(y, sigma))


def test_levels_may_differ_within_a_batch_and_be_tensors(case):
    y = images(9, 4)
    each = torch.from_numpy(levels(case))
    mixed = case(y, each)
    for i, sigma in enumerate(each):
        for level in (float(sigma), sigma, sigma.float(), sigma[None]):
            alone = case(y[i : i + 1], level)
            tolerance = 10 * rounding(y, float(sigma))
            torch.testing.assert_close(mixed[i : i + 1], alone, rtol=0, atol=tolerance)
    with pytest.raises(ValueError, match="one noise level or 9, got 2"):
        case(y, each[:2])


def test_it_samples_and_is_measured_like_any_other_in_float64_and_float32(case):
    train = images(8, 5) * DEVIATION + MEAN
    drawn = geomem.sample(case, SHAPE, 2, solver="euler")
    same = geomem.sample(exact, SHAPE, 2, solver="euler", sigmas=sampler_levels(case))
    torch.testing.assert_close(drawn, same, rtol=0, atol=1e-3)
    at = np.array([levels(case)[2], 1.0])
    error = geomem.denoising_error(case, train, at).mean
    np.testing.assert_allclose(error, geomem.denoising_error(exact, train, at).mean, rtol=1e-3)
    assert check_denoiser(case, train).passed


def sampler_levels(found):
    return geomem.karras_sigmas(18, max(found.sigma_min, 0.002), min(found.sigma_max, 80.0))


def test_outside_its_noise_levels_it_refuses_and_says_which():
    found = quiet(Sample(ddpm("epsilon")), scheduler("epsilon"))
    low, high = Schedule.ddpm(LINEAR.float()).sigma([0, 999])
    assert (found.sigma_min, found.sigma_max) == pytest.approx((low, high))
    np.testing.assert_array_equal(
        found.within([0.9 * low, low, 1, high, 2 * high]), [0, 1, 1, 1, 0]
    )
    for sigma in (0.9 * low, 1.1 * high, torch.tensor([1.0, 1.1 * high])):
        with pytest.raises(ValueError, match=r"is outside the noise levels .* 0.01 to 157.4"):
            found(images(2), sigma)
    found(images(1), torch.tensor(high, dtype=torch.float32))  # which rounding put outside
    narrow = quiet(exact, levels=(0.1, 2.0))
    assert (narrow.sigma_min, narrow.sigma_max) == (0.1, 2.0)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_asked_in_its_own_dtype_in_eval_mode_and_left_as_it_was(kind):
    net = Sample(ddpm("epsilon")).to(kind)
    net.dropout = nn.Dropout(0.5).eval()  # frozen by hand, the rest in training
    seen = []
    net.register_forward_pre_hook(lambda m, args: seen.append((args[0].dtype, args[1].dtype)))
    net.register_forward_hook(lambda m, *_: seen.append(m.training))
    found = quiet(net, scheduler("epsilon"))
    assert found(images(2).float(), 0.5).dtype == torch.float32
    times = torch.promote_types(kind, torch.float32)
    assert seen == [(kind, times), False] and net.training and not net.dropout.training
    assert f"in eval mode, {str(kind)[6:]} on cpu" in str(found)


def test_nearest_timesteps_are_whole():
    seen = []

    def net(x, t):
        seen.append(t)
        return 0 * x

    found = quiet(net, LINEAR, prediction="epsilon", timesteps="nearest")
    steps = torch.tensor([0.0, 17.4, 998.6])
    sigma = torch.from_numpy(found.schedule.sigma(steps))
    found(images(3), sigma)
    assert seen[0].dtype == torch.int64 and seen[0].tolist() == [0, 17, 999]


@pytest.mark.parametrize(
    ("schedule", "prediction", "of_steps"),
    [
        (FlowScheduler(), None, True),
        (Guided(), None, True),
        (Schedule.ddpm("linear"), "epsilon", True),
        (Schedule.flow(), "velocity", False),
        (Matcher(), None, False),
        (Cosine(), None, False),
        (None, "edm", False),
    ],
)
def test_only_steps_are_rounded_to_whole_ones(schedule, prediction, of_steps):
    """A time from 0 to 1 would be rounded to one of its ends, and so all levels to two."""
    options = dict(prediction=prediction, timesteps="nearest")
    if of_steps:
        assert quiet(Exact(image), schedule, **options).whole_steps
    else:
        with pytest.raises(ValueError, match=r"takes whole timesteps, and .* not steps"):
            quiet(Exact(image), schedule, **options)


@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
@pytest.mark.parametrize("kept", [25, 50, 250])
def test_the_levels_between_kept_steps_are_about_those_of_the_whole_chain(kind, kept):
    whole = Schedule.ddpm(kind)
    chosen = np.linspace(0, 999, kept).round().astype(int)
    spaced = SimpleNamespace(
        model_mean_type=SimpleNamespace(name="EPSILON"),
        timestep_map=chosen.tolist(),
        original_num_steps=1000,
        alphas_cumprod=1 / (1 + whole.sigma(chosen) ** 2),
    )
    found = quiet(Exact(image), spaced)
    assert "interpolated between them" in str(found)
    np.testing.assert_allclose(found.schedule.sigma(chosen), whole.sigma(chosen), rtol=1e-9)
    steps = np.linspace(0, 999, 2000)
    sigmas = found.schedule.sigma(steps)
    np.testing.assert_allclose(sigmas, whole.sigma(steps), rtol=0.25)
    inside = np.clip(sigmas, found.sigma_min, found.sigma_max)
    np.testing.assert_allclose(found.schedule.time(inside), steps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("timesteps", ["interpolated", "nearest"])
def test_a_function_of_a_float32_network_is_sampled_as_the_network_itself(timesteps):
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.SiLU()).eval()

    def function(x, t):
        assert (t.dtype == torch.int64) == (timesteps == "nearest")
        return net(x) + t.reshape(-1, 1, 1, 1) / 1000

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x, t):
            return function(x, t)

    one, other = (
        quiet(f, LINEAR, prediction="epsilon", timesteps=timesteps) for f in (function, Network())
    )
    drawn, same = (geomem.sample(found, SHAPE, 2) for found in (one, other))
    torch.testing.assert_close(drawn, same, rtol=0, atol=1e-4)


def test_a_last_step_without_signal_is_left_out():
    rescaled = scheduler("v_prediction", rescale_betas_zero_snr=True)
    rescaled.alphas_cumprod = torch.cat([LINEAR[:-1], torch.zeros(1)])
    found = quiet(Sample(ddpm("v_prediction")), rescaled)
    assert found.sigma_max == pytest.approx(Schedule.ddpm(LINEAR).sigma(998))


# Labels and further inputs


class Labelled(Exact):
    num_classes = 10

    def forward(self, x, timesteps, y=None):
        assert y is not None and y.shape == (len(x),)
        return self.predict(x, timesteps) + y.reshape(-1, 1, 1, 1)


def test_a_network_with_classes_needs_a_label_and_gets_it():
    with pytest.raises(ValueError, match="needs label=, from 0 to 9"):
        quiet(Labelled(ddpm("epsilon")), scheduler("epsilon"))
    with pytest.raises(ValueError, match="takes no label"):
        quiet(Exact(ddpm("epsilon")), scheduler("epsilon"), label=3)
    with pytest.raises(ValueError, match="from 0 to 9"):
        quiet(Labelled(ddpm("epsilon")), scheduler("epsilon"), label=10)
    found = quiet(Labelled(ddpm("sample")), scheduler("sample"), label=3)
    torch.testing.assert_close(found(images(2), 1.0), exact(images(2), 1.0) + 3, rtol=0, atol=1e-5)


def test_a_network_that_drops_its_label_at_random_is_told_when():
    class Net(Exact):
        def forward(self, x, time, classes, cond_drop_prob=0.5):
            assert cond_drop_prob in (0, 1)
            return self.predict(x, time) + (1 - cond_drop_prob) * classes.reshape(-1, 1, 1, 1)

    never = with_attributes(Net(ddpm("sample")), cond_drop_prob=0, classes_emb=nn.Embedding(4, 2))
    with pytest.raises(ValueError, match="needs label=, from 0 to 3"):
        quiet(never, scheduler("sample"))
    for label, moved in ((None, 0), (3, 3)):
        found = quiet(Net(ddpm("sample")), scheduler("sample"), label=label)
        expected = exact(images(2), 1.0) + moved
        torch.testing.assert_close(found(images(2), 1.0), expected, rtol=0, atol=1e-5)


def test_the_null_label_of_a_transformer_comes_after_its_classes():
    net = Labelled(ddpm("sample"))
    net.config = SimpleNamespace(num_embeds_ada_norm=10)
    found = quiet(net, scheduler("sample"))
    torch.testing.assert_close(found(images(2), 1.0), exact(images(2), 1.0) + 10, rtol=0, atol=1e-5)


def test_edm_takes_labels_as_one_hot_and_none_as_the_unconditional():
    class Net(OfLevels):
        def forward(self, x, sigma, class_labels=None, force_fp32=False):
            assert force_fp32 and sigma.dtype == torch.float32
            moved = 0 if class_labels is None else class_labels.argmax(1).reshape(-1, 1, 1, 1)
            return super().forward(x, sigma) + moved

    net = with_attributes(Net(image), sigma_data=0.5, img_channels=3, label_dim=4)
    with pytest.raises(ValueError, match="needs label=, from 0 to 3"):
        quiet(net)  # zeros are no label that it saw
    net.model = with_attributes(nn.Module(), label_dropout=0.1)
    at = images(2), 1.0
    torch.testing.assert_close(quiet(net, label=3)(*at), exact(*at) + 3, rtol=0, atol=1e-5)
    torch.testing.assert_close(quiet(net)(*at), exact(*at), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="from 0 to 3"):
        quiet(net, label=4)


def test_smalldiffusion_takes_a_label_where_it_has_classes_and_drops_it_where_it_learned_to():
    def path(t):
        return 1, t, 0, 1

    x, sigma = images(2), 0.5
    net = Small(path)
    net.cond_embed = SimpleNamespace(null_cond=4, dropout_prob=0.1)
    for label, cond in ((None, 4), (3, 3), (0, 0)):
        wanted = exact(x, sigma) - sigma * cond  # its noise moved by the label
        torch.testing.assert_close(quiet(net, label=label)(x, sigma), wanted, rtol=0, atol=1e-5)
    for label in (4, -1):
        with pytest.raises(ValueError, match="needs label=, from 0 to 3"):
            quiet(net, label=label)
    net.cond_embed.dropout_prob = 0
    with pytest.raises(ValueError, match="needs label=, from 0 to 3"):
        quiet(net)


@pytest.mark.parametrize("nothing", ["class_embedding", "num_classes"])
def test_a_label_is_refused_where_the_network_does_not_hear_it(nothing):
    """It takes one, and drops it or fails; numbers of a class would be those of none."""

    class Net(Exact):
        def forward(self, x, timesteps, y=None):
            assert y is None
            return self.predict(x, timesteps)

    net = with_attributes(Net(ddpm("epsilon")), **{nothing: None})
    quiet(net, scheduler("epsilon"))(images(1), 1.0)
    with pytest.raises(ValueError, match="Net takes no label"):
        quiet(net, scheduler("epsilon"), label=1)
    with pytest.raises(ValueError, match="takes no label"):
        quiet(Small(lambda t: (1, t, 0, 1)), label=1)


def test_further_inputs_are_repeated_and_named_where_they_are_missing():
    class Net(Exact):
        def forward(self, sample, timestep, encoder_hidden_states):
            assert encoder_hidden_states.shape == (len(sample), 7, 5)
            return self.predict(sample, timestep)

    with pytest.raises(ValueError, match="empty prompt; with guidance its answer is no posterior"):
        quiet(Net(ddpm("epsilon")), scheduler("epsilon"))
    empty = {"encoder_hidden_states": torch.zeros(1, 7, 5)}
    found = quiet(Net(ddpm("epsilon")), scheduler("epsilon"), inputs=empty)
    assert found(images(3), 1.0).shape == (3, *SHAPE)


def test_a_time_in_another_place_goes_by_its_name_where_its_count_is_known():
    class SD3Transformer2DModel(Exact):
        def forward(self, hidden_states, encoder_hidden_states, timestep):
            assert encoder_hidden_states.shape == (len(hidden_states), 7, 5)
            return self.predict(hidden_states, timestep)

    class Other(SD3Transformer2DModel):
        pass

    empty = {"encoder_hidden_states": torch.zeros(1, 7, 5)}
    found = quiet(SD3Transformer2DModel(straight_back, 1000), FlowScheduler(), inputs=empty)
    at = images(2), 1.0
    torch.testing.assert_close(found(*at), exact(*at), rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match="Other takes its time as 'timestep', not"):
        quiet(Other(straight_back, 1000), FlowScheduler(), inputs=empty)


@pytest.mark.parametrize("scheme", [{}, {"use_flow_sigmas": True}])
@pytest.mark.parametrize(
    "name", ["PRXTransformer2DModel", "Lumina2Transformer2DModel", "LuminaNextDiT2DModel",
             "Ideogram4Transformer2DModel", "HiDreamImageTransformer2DModel"],
)  # fmt: skip
def test_a_transformer_of_a_flow_is_asked_only_where_its_count_is_known(name, scheme):
    flow = scheduler("flow_prediction", **scheme) if scheme else FlowScheduler()

    def named(name):
        net = type(name, (Sample,), {})(straight_back, 1000)
        return with_attributes(net, config=SimpleNamespace())

    with pytest.raises(ValueError, match=f"how {name} counts.*give a function of x and t"):
        quiet(named(name), flow)
    quiet(named(name), scheduler("epsilon"))  # DDPM's steps are counted in one way
    found = quiet(named("WanTransformer3DModel"), flow)
    torch.testing.assert_close(found(images(2), 1.0), exact(images(2), 1.0), rtol=0, atol=1e-3)
    by_hand = quiet(lambda x, t: named(name)(x.float(), t).sample, flow)
    torch.testing.assert_close(by_hand(images(2), 1.0), found(images(2), 1.0), rtol=0, atol=1e-3)


def test_a_path_with_a_largest_noise_level_refuses_what_lies_beyond():
    found = quiet(Exact(scored(cosine)), Ends(), prediction="score")
    assert found.sigma_max == pytest.approx(1 / np.tan(np.pi / 2 * Ends.first))
    assert quiet(Exact(cosine), Cosine()).sigma_max > 1e15
    with pytest.raises(ValueError, match="sigma"):
        found(images(1), 1.01 * found.sigma_max)


def test_a_time_that_a_clock_does_not_have_has_no_level():
    """One counted to 1,000 where the clock ends at 1, or in steps where it counts to 1,000."""
    net = Sample(ddpm("epsilon"))
    flows = [Matcher(c) for c in (0.0, 0.1)] + [TargetConditionalFlowMatcher(0.1)]
    for model in (*flows, VariancePreservingConditionalFlowMatcher(0.0), Guided()):
        clock = denoiser(net, model, quiet=True).schedule
        last, beyond = (999.75 * 3996 / 3999, 2000.0) if isinstance(model, Guided) else (1.0, 1.2)
        assert np.isfinite(clock.sigma(0.9 * last))
        for wrong in (beyond, 250 * beyond, -0.5):
            with pytest.raises(ValueError):
                clock.sigma(wrong)
    whole = denoiser(net, Guided(), quiet=True).schedule
    assert whole.sigma(999.0) == pytest.approx(whole.ends[1])


def test_a_flow_of_one_timestep_that_begins_at_one():
    """As OmniGen's scheduler, which counts from 0 to 1 and has images at 1."""
    flow = FlowScheduler(invert_sigmas=True)
    flow.config.num_train_timesteps, flow.sigma_min = 1, 1.0
    clock = denoiser(Sample(ddpm("epsilon")), flow, quiet=True).schedule
    assert clock.time(1.0) == pytest.approx(0.5) and clock.ends[0] == 0


def test_of_a_pipeline_with_two_networks_none_is_taken(tmp_path):
    net = Sample(ddpm("epsilon"))
    both = SimpleNamespace(transformer=net, transformer_2=net, scheduler=scheduler("epsilon"))
    with pytest.raises(InputError, match="two networks, one for each range of noise"):
        denoiser(both, quiet=True)
    parts = {name: ["diffusers", "Wan"] for name in ("transformer", "transformer_2")}
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "Wan", **parts}))
    with pytest.raises(InputError, match="two networks"):
        denoiser(str(tmp_path), quiet=True)


def test_latents_of_videos_are_scaled_channel_by_channel():
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            mean, std = [0.5 * i for i in range(4)], [1.0 + i for i in range(4)]
            self.config = SimpleNamespace(latents_mean=mean, latents_std=std)

        def encode(self, x):
            return SimpleNamespace(latent_dist=SimpleNamespace(mean=x))

        def decode(self, z):
            return SimpleNamespace(sample=z)

    net = Sample(ddpm("epsilon"))
    pipeline = SimpleNamespace(unet=net, scheduler=scheduler("epsilon"), vae=VAE())
    latents = quiet(pipeline).latents
    for frames in (1, 3, 4):
        x = torch.randn(2, 4, frames, 2, 2)
        coded = latents.encode(x)
        for i in range(4):
            torch.testing.assert_close(coded[:, i], (x[:, i] - 0.5 * i) / (1.0 + i))
        torch.testing.assert_close(latents.decode(coded), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    "config",
    [
        {"scaling_factor": 0.18215, "shift_factor": 0.5},
        {"scaling_factor": 0.5, "latents_mean": [0.1, 0.2, 0.3], "latents_std": [1.0, 2.0, 4.0]},
    ],
)
def test_latents_go_there_and_back_by_scale_and_shift(config, dtype):
    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, dtype=dtype))
            self.config = SimpleNamespace(**config)

        def encode(self, x):
            assert x.dtype == dtype
            return SimpleNamespace(latent_dist=SimpleNamespace(mean=3 * x + 1))

        def decode(self, z):
            assert z.dtype == dtype
            return SimpleNamespace(sample=(z - 1) / 3)

    unet = Sample(ddpm("epsilon"))
    pipeline = SimpleNamespace(unet=unet, scheduler=scheduler("epsilon"), vae=VAE())
    found, x = quiet(pipeline), images(2).float()
    shift = torch.tensor(config.get("latents_mean", [0.5] * 3)).view(3, 1, 1)
    scale = config["scaling_factor"] / torch.tensor(config.get("latents_std", [1.0] * 3))
    close = {"rtol": 0, "atol": 0.02 if dtype == torch.float16 else 1e-5}
    coded = scale.view(3, 1, 1) * (3 * x + 1 - shift)
    torch.testing.assert_close(found.latents.encode(x), coded, **close)
    torch.testing.assert_close(found.latents.decode(found.latents.encode(x)), x, **close)
    assert "latents" in str(found)


@pytest.mark.parametrize("called", ["latents", "latent"])
def test_latents_of_an_autoencoder_without_a_law(called):
    class VAE(nn.Module):
        config = SimpleNamespace(scaling_factor=0.5)

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def encode(self, x):
            return SimpleNamespace(**{called: 3 * x})

    pipeline = SimpleNamespace(unet=Sample(ddpm("sample")), vae=VAE())
    pipeline.scheduler = scheduler("sample")
    torch.testing.assert_close(quiet(pipeline).latents.encode(images(2)), 1.5 * images(2))


# What is said, and what is refused


def test_a_line_says_what_it_is_and_what_is_done(capsys):
    found = denoiser(Sample(ddpm("epsilon")), scheduler("epsilon", clip_sample=True))
    (line,) = capsys.readouterr().out.splitlines()
    assert line == str(found)
    for part in ("Sample", "epsilon", "DDIMScheduler, its clipping off", "sigma 0.01 to 157"):
        assert part in line
    assert "without self-conditioning" in str(
        quiet(Lucid("pred_v", "v_prediction", self_condition=True))
    )


class ExactOptimalTransportConditionalFlowMatcher(Matcher):
    ot_sampler = None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((Exact(image),), "Exact alone does not say how its noise is counted"),
        ((Exact(image), Schedule.ddpm()), "does not say what the network predicts"),
        ((Exact(image), object()), "object is no schedule that is known"),
        ((object(),), "nothing that can be asked"),
        ((Exact(image).state_dict(), ddpm("epsilon")), "OrderedDict is nothing that can be asked"),
        ((Exact(image), Matcher), "Matcher is a class"),
        ((Exact(image), ExactOptimalTransportConditionalFlowMatcher()), "no posterior mean"),
        ((Lucid("pred_v", "v_prediction", immiscible=True),), "no posterior mean"),
        ((Lucid("pred_v", "v_prediction", offset_noise_strength=0.1),), "no posterior mean"),
        ((Exact(image), scheduler("epsilon", "LCMScheduler")), "distilled"),
        ((Exact(image), scheduler("epsilon", timestep_type="continuous")), "is not known here"),
        ((Exact(image), scheduler("something")), "is not known here"),
        (
            (
                with_attributes(Exact(image), config=SimpleNamespace(guidance_embeds=True)),
                scheduler("epsilon"),
            ),
            "guidance: no posterior mean",
        ),
    ],
)
def test_what_is_refused_is_said_in_a_line(arguments, said):
    with pytest.raises(ValueError, match=said) as caught:
        quiet(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(prediction="noise"), "prediction must be one of"),
        (dict(timesteps="rounded"), "timesteps must be"),
        (dict(schedule=Schedule.flow(), prediction="v"), "a variance-preserving schedule"),
        (dict(schedule=Schedule.ddpm(), prediction="velocity"), "a flow along straight lines"),
    ],
)
def test_options_that_do_not_go_together(options, said):
    with pytest.raises(ValueError, match=said):
        quiet(Exact(image), **options)


def test_pickles_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.setattr("pickle.load", None)
    monkeypatch.setattr("torch.load", None)
    for name in ("network.pkl", "model.ckpt", "weights.pt"):
        (tmp_path / name).write_bytes(b"\x80\x04.")
        for path in (tmp_path / name, str(tmp_path / name)):
            with pytest.raises(ValueError, match=r"never opened here.*safetensors") as caught:
                quiet(path)
            assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="never opened here"):
        quiet(tmp_path)
    with pytest.raises(ValueError, match="no such folder; nothing is downloaded"):
        quiet("runwayml/stable-diffusion-v1-5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no model that is known"):
        quiet(tmp_path / "empty")


def test_a_model_of_this_package_by_its_folder(tmp_path):
    from geomem.diffusion.fitting import fit

    brief = geomem.experiment("digits-mlp-small", {"train.steps": 2, "train.snapshots": ()})
    trained = fit(brief, root=tmp_path)
    x = torch.zeros(2, 1, 8, 8)
    for model in (trained, trained.denoise, trained.folder, str(trained.folder)):
        found = quiet(model)
        torch.testing.assert_close(found(x, 0.5), trained.denoise(x, 0.5))
        assert quiet(found) is found


def test_wrappers_of_torch_are_looked_through():
    net = Sample(ddpm("epsilon"))
    for wrapped in (nn.DataParallel(net), torch.optim.swa_utils.AveragedModel(net)):
        y = images(2)
        torch.testing.assert_close(
            quiet(wrapped, scheduler("epsilon"))(y, 1.0), exact(y, 1.0), rtol=0, atol=1e-5
        )


# The one place where an answer is taken in


class Float32(nn.Module):
    """A float32 network that wants its level as a tensor, as EDM's do."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)
        nn.init.eye_(self.layer.weight)
        self.drop = nn.Dropout(0.5)

    def forward(self, x, sigma):
        sigma = sigma.to(torch.float32).reshape(-1, 1, 1, 1)
        return self.drop(self.layer(x)) / (1 + sigma**2)


class Twice(NamedTuple):
    prediction: torch.Tensor
    other: int


def shrink(x, sigma):
    return x / (1 + sigma**2)


@pytest.mark.parametrize(
    "denoise",
    [
        shrink,
        Float32().eval(),
        lambda x, sigma: Float32().eval()(x, sigma),
        lambda x, sigma: shrink(x, sigma).numpy(),
        lambda x, sigma: SimpleNamespace(sample=shrink(x, sigma)),
        lambda x, sigma: SimpleNamespace(prediction=shrink(x, sigma).numpy()),
        lambda x, sigma: (shrink(x, sigma), "and more"),
        lambda x, sigma: Twice(shrink(x, sigma), 3),
        lambda x, sigma: [shrink(x, sigma)],
    ],
)
def test_all_kinds_of_denoisers_and_answers_are_taken(denoise):
    x = images(3)
    for kind in (torch.float32, torch.float64):
        for sigma in (0.5, torch.tensor(0.5)):
            found = answer(denoise, x.to(kind), sigma)
            torch.testing.assert_close(found.double(), shrink(x, 0.5), rtol=1e-6, atol=1e-6)
            assert not found.requires_grad
    assert geomem.sample(denoise, SHAPE, 2).shape == (2, *SHAPE)
    rates = geomem.memorization_rates(denoise, x[:1], x[1:], [0.1])
    assert rates.mean == geomem.memorization_rates(shrink, x[:1], x[1:], [0.1]).mean
    swapped = swap(denoise, denoise, Window(0.1, 1))
    torch.testing.assert_close(answer(swapped, x, 0.5).double(), shrink(x, 0.5))


def test_a_network_in_training_mode_is_asked_in_eval_mode_and_said():
    net = Float32()
    x = images(3)
    with pytest.warns(UserWarning, match="in training mode"):
        found = answer(net, x, 0.5)
    torch.testing.assert_close(found.double(), shrink(x, 0.5), rtol=1e-6, atol=1e-6)
    assert net.training and net.drop.training
    with pytest.warns(UserWarning, match="in training mode"):
        answer(net.forward, x, 0.5)  # a method of it


@pytest.mark.parametrize(
    ("denoise", "said"),
    [
        (lambda x, s: x[:, :1], "gave shape .*sigma = 0.5"),
        (lambda x, s: x / 0, "NaN or infinite values at sigma = 0.5"),
        (lambda x, s: "nothing", "floating-point numbers, got str"),
        (lambda x, s: x.long(), "floating-point numbers, got torch.int64"),
        (lambda x, s: (), "floating-point numbers, got tuple"),
        (lambda x: x, r"failed at sigma = 0.5 .*TypeError.*geomem.denoiser makes"),
        (nn.Linear(7, 7).eval(), "failed at sigma = 0.5 .*geomem.denoiser makes"),
    ],
)
def test_answers_are_held_to_shape_and_finite_numbers(denoise, said):
    with pytest.raises(ValueError, match=said) as caught:
        answer(denoise, images(2), 0.5)
    assert "\n" not in str(caught.value)


def test_what_is_no_answer_of_an_adapted_network_is_refused():
    found = quiet(lambda x, t: x[:, :1], LINEAR, prediction="epsilon")
    with pytest.raises(ValueError, match="answered with shape"):
        found(images(2), 1.0)
    assert "lambda" in repr(found) and len(repr(found)) < 100
    fails = quiet(lambda x, t: x @ x.flatten(), LINEAR, prediction="epsilon")
    for ask in (fails, lambda x, sigma: answer(fails, x, sigma)):
        with pytest.raises(
            ValueError, match=r"failed on images \(2, 3.*times \(2,\) \(Runtime"
        ) as no:
            ask(images(2), 1.0)
        assert "\n" not in str(no.value)
    assert tensor_in(np.ones(2)).dtype == torch.float64


# Recognised mistakes, on digits and their Gaussian denoiser

DIGITS = geomem.load_dataset("digits", n_train=400).train
KNOWN = geomem.GaussianDenoiser(DIGITS)


def raw(path):
    """A network, asked with x and sigma as if it were a denoiser."""
    net = Exact(path, known=KNOWN)
    last = 999 if path(torch.tensor([0.5]))[0] > 0.99 else 0.999
    return lambda x, t: net.predict(x.float(), torch.full((len(x),), min(float(t), last)))


def as_if(target):
    """What a network that predicts p x + q z answers to x + sigma z, taken for a denoiser."""

    def denoise(x, sigma):
        p, q = target(sigma)
        return p * KNOWN(x, sigma) + q * (x - KNOWN(x, sigma)) / sigma

    return denoise


def asked_at(time):
    """An epsilon network on DDPM's linear schedule, asked at the time of another clock."""

    def denoise(x, sigma):
        s = float(LIN.sigma(np.clip(time(sigma), 0, 999)))
        y = x * ((1 + s**2) / (1 + sigma**2)) ** 0.5  # what it takes its input for
        return x - sigma * (y - KNOWN(y, s)) / s

    return denoise


def backwards_flow(x, sigma):
    """A flow's network, asked at t for 1 - t."""
    s = 1 / sigma
    y = x * (1 + s) / (1 + sigma)
    velocity = (y - KNOWN(y, s)) / s - KNOWN(y, s)
    return x / (1 + sigma) - sigma / (1 + sigma) * velocity


LIN, SCALED = Schedule.ddpm("linear"), Schedule.ddpm("scaled_linear")
FLOW = "and is to be shown (x + sigma z) / (1 + sigma)"
VP = "and is to be shown sqrt(alpha_bar) x + sqrt(1 - alpha_bar) z"
DDPM = f"{VP} at a timestep of DDPM's linear schedule"
BACKWARDS = "is asked at times that run the wrong way"
OTHER = "is asked at the timesteps of DDPM's scaled_linear schedule, and has the linear one"
MISTAKES = {
    "epsilon": (as_if(lambda s: (0, 1)), "predicts the noise (epsilon), not the image"),
    "score": (as_if(lambda s: (0, -1 / s)), "predicts the score, not the image"),
    "v": (as_if(lambda s: (-s / np.hypot(1, s), 1 / np.hypot(1, s))), "predicts v, not the image"),
    "velocity": (as_if(lambda s: (1, -1)),
                 "predicts a flow's velocity (data at t = 1), not the image"),
    "velocity, back": (as_if(lambda s: (-1, 1)),
                       "predicts a flow's velocity (data at t = 0), not the image"),
    "epsilon, raw": (raw(ddpm("epsilon")), f"predicts the noise (epsilon), not the image, {DDPM}"),
    "x0, raw": (raw(ddpm("sample")), f"predicts the clean image, {DDPM}"),
    "a flow, raw": (raw(straight), "predicts a flow's velocity (data at t = 1), not the image, "
                    f"{FLOW} at the time t = 1 / (1 + sigma)"),
    "a flow back, raw": (raw(straight_back), "predicts a flow's velocity (data at t = 0), not the "
                         f"image, {FLOW} at the time t = sigma / (1 + sigma)"),
    "F": (raw(edm(0.5)), "is EDM's F, to be preconditioned with sigma_data 0.5"),
    "not scaled": (lambda x, s: x - s * (x - KNOWN(x * np.hypot(1, s), s) / np.hypot(1, s)),
                   None),
    "the level twice": (lambda x, s: KNOWN(x, 2 * s), "takes its noise level for twice what it is"),
    "the level halved": (lambda x, s: KNOWN(x, s / 2),
                         "takes its noise level for half of what it is"),
    "the variance": (lambda x, s: KNOWN(x, s**0.5),
                     "wants the variance, not the standard deviation"),
    "another schedule": (asked_at(lambda s: SCALED.time(np.clip(s, *SCALED.ends))), OTHER),
    "backwards": (asked_at(lambda s: 999 - LIN.time(s)), BACKWARDS),
    "a flow backwards": (backwards_flow, BACKWARDS),
    "its input": (lambda x, s: x, "answers with its input, whatever the noise (is it trained?)"),
    "the mean": (lambda x, s: 0 * x + float(DIGITS.mean()), None),
    "the mean image": (lambda x, s: 0 * x + torch.from_numpy(DIGITS.mean(0)),
                       "answers with the mean image, whatever it is shown (is it trained?)"),
    "noise": (lambda x, s: torch.randn(x.shape, generator=torch.Generator().manual_seed(0)),
              "is worse than a trivial answer, and like no mistake that is known "
              "(is it trained, on such images?)"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_called_by_its_name(name):
    denoise, said = MISTAKES[name]
    found = check_denoiser(denoise, DIGITS)
    assert not found.passed and str(found).startswith(found.mistake)
    assert said in (None, found.mistake), str(found)


@pytest.mark.parametrize(
    ("gains", "found"),
    [
        ([0.02, 0.03, 0.05, 0.81, 0.65], True),  # a network on another schedule than it is asked on
        ([0.03, 0.23, 0.83, 0.49, 0.26], True),  # at half of the level
        ([0.59, 0.46, -0.02, -0.02, 0.02], False),  # asked well, and knows its images by heart
        ([0.06, 0.42, 0.54, -0.05, -0.02], False),  # asked well, and trained less there
    ],
)
def test_a_level_that_is_off_at_small_noise_alone_is_no_clock(gains, found):
    """By how much another clock made the errors of small networks smaller, level by level."""
    plain = np.ones((5, 32))
    assert _better(plain * np.exp(-np.array(gains))[:, None], plain) is found


def test_a_network_that_takes_sigma_itself_has_no_clock_to_be_wrong(monkeypatch):
    """Of one that is little trained a smaller noise level may be the better question."""
    config = ModelConfig("mlp", width=8, blocks=1, size=8, channels=1, sigma_data=0.7, mean=0.0)
    network = EDMDenoiser(config).eval().requires_grad_(False)

    def halved(self, x, s):
        return KNOWN(x, torch.as_tensor(s) / 2)

    monkeypatch.setattr(EDMDenoiser, "forward", halved)
    assert check_denoiser(network, DIGITS).passed
    assert not check_denoiser(lambda x, s: network(x, s), DIGITS).passed


@pytest.mark.parametrize(
    ("own", "given"), [((2, -1), "[0, 1]"), ((0.5, 0.5), "[-1, 1]"), ((127.5, 127.5), "[-1, 1]")]
)
def test_images_of_another_range(rng, own, given):
    """Digits, whose pixels fill their range; a network of images k x + c."""
    digits = (geomem.load_dataset("digits", n_train=200).train + 1) / 2
    data = digits if given == "[0, 1]" else 2 * digits - 1
    k, c = own
    theirs = geomem.GaussianDenoiser(k * data + c)
    found = check_denoiser(theirs, data)
    there = {-1: "[-1, 1]", 0: "[0, 1]", 127: "[0, 255]"}[int(c) if c != 0.5 else 0]
    assert found.mistake == f"works on images in {there}, and these are in {given}"
    assert check_denoiser(theirs, k * data + c).passed


@pytest.fixture(scope="module")
def train():
    return images(200, 7) * DEVIATION + MEAN


@pytest.mark.parametrize("name", ["exact", "empirical", "gaussian", "shrunk", "little trained"])
def test_denoisers_pass(name, train):
    some = train[:60]
    found = {
        "exact": exact,
        "empirical": geomem.EmpiricalDenoiser(some),
        "gaussian": geomem.GaussianDenoiser(some),
        "shrunk": lambda x, s: x / (1 + s**2 / 0.25),
        "little trained": lambda x, s: exact(x, s) + 0.05 * (x - exact(x, s)),
    }[name]
    held = check_denoiser(found, some)
    assert held.passed and held.mistake == "", str(held)
    np.testing.assert_array_equal(held.ratio, held.error / np.minimum(held.of_input, held.of_mean))
    assert str(held).startswith("looks like a denoiser")


def test_the_errors_are_those_of_the_measuring_function(train):
    found = check_denoiser(exact, train, [0.1, 1.0, 4.0], images=200)
    z = images(200, 0)
    assert found.sigma.tolist() == [0.1, 1.0, 4.0]
    for s, error, of_input in zip(found.sigma, found.error, found.of_input, strict=True):
        squared = (exact(train + s * z, s) - train).square().sum((1, 2, 3)).mean()
        assert error == pytest.approx(float(squared), rel=1e-4)
        assert of_input == pytest.approx(float((s * z).square().sum((1, 2, 3)).mean()))
    np.testing.assert_allclose(found.of_mean, float((train - train.mean(0)).square().sum()) / 200)


def test_its_levels_stay_within_those_of_the_denoiser(train):
    found = quiet(exact, levels=(0.2, 1.0))
    held = check_denoiser(found, train)
    assert held.passed and (held.sigma[0], held.sigma[-1]) == pytest.approx((0.2, 1.0))


def test_bad_input_to_the_check():
    with pytest.raises(ValueError, match="at least 2 images"):
        check_denoiser(exact, images(1))
    with pytest.raises(ValueError, match="positive"):
        check_denoiser(exact, images(3), [0.0])


def test_an_option_that_is_not_heard_is_refused():
    """Else numbers of a class, or of another prediction, would be those of none."""
    adapted = denoiser(exact, quiet=True)
    for model, options in (
        (exact, {"label": 3}),
        (exact, {"inputs": {"y": 1}}),
        (adapted, {"label": 2}),
        (adapted, {"prediction": "v"}),
        (adapted, {"schedule": "cosine"}),
        (adapted, {"timesteps": "nearest"}),
    ):
        with pytest.raises(ValueError, match=f"takes no {next(iter(options))}="):
            denoiser(model, quiet=True, **options)
    for levels in ((1.0,), 0.5):
        with pytest.raises(ValueError, match="the lowest and the highest"):
            denoiser(exact, levels=levels, quiet=True)


def test_levels_apart_from_the_images_are_those_of_the_denoiser(train):
    for ends in ((1e-4, 1e-3), (1e4, 1e5)):
        held = check_denoiser(denoiser(exact, levels=ends, quiet=True), train)
        assert np.all((held.sigma >= ends[0]) & (held.sigma <= ends[1]))
    with pytest.raises(ValueError, match="all equal"):
        check_denoiser(exact, np.ones((4, 1, 2, 2)) / 3)


@pytest.mark.parametrize("kind", ["x0", "epsilon", "velocity", None])
def test_what_a_flow_predicts_may_be_said(kind):
    def net(x, timestep):
        return x

    found = denoiser(net, FlowScheduler(), prediction=kind, quiet=True)
    assert f"predicts {kind or 'velocity'} on a flow" in str(found)
    x, sigma = torch.ones(1, 4, dtype=torch.double), 1.0  # shown y = x / 2, at the time 1/2
    wanted = {"x0": 0.5, "epsilon": 1 - 0.5, "velocity": 0.25}[kind or "velocity"]
    np.testing.assert_allclose(found(x, sigma), wanted, rtol=1e-6)
    for wrong in ("v", "edm"):
        with pytest.raises(ValueError, match=f"prediction '{wrong}'"):
            denoiser(net, FlowScheduler(), prediction=wrong, quiet=True)


def test_one_that_knows_the_images_by_heart_passes(rng):
    train = rng.uniform(-1, 1, (12, 1, 4, 4))
    found = check_denoiser(EmpiricalDenoiser(train, device="cpu"), train)
    assert found.passed and found.error[0] < 1e-12


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_network_that_knows_nothing_is_not_taken_for_another_kind(share):
    """Its input, shrunk, is as near to images as what another reading makes of it."""
    train = 0.5 * np.random.default_rng(1).standard_normal((32, 3, 8, 8))  # not the noise's seed
    found = quiet(lambda x, t: share * x, LINEAR, prediction="epsilon")
    assert check_denoiser(found, train).mistake.endswith("(is it trained, on such images?)")
