"""At what time a network of another library is asked, and what it predicts: read off its scheduler.

By what an object has and not by what it is, so that no other library is ever imported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from geomem.denoisers.adapter import TARGETS, Target, edm_target, score_target
from geomem.diffusion.schedules import Schedule
from geomem.errors import InputError
from geomem.geometry.arrays import Floats

PREDICTIONS = ("x0", "epsilon", "v", "velocity", "score", "edm")
THEIRS = {  # how libraries write them
    "sample": "x0", "start_x": "x0", "pred_x0": "x0",
    "eps": "epsilon", "pred_noise": "epsilon",
    "v_prediction": "v", "pred_v": "v",
    "flow_prediction": "velocity",
}  # fmt: skip
DISTILLED = ("LCM", "TCD", "Consistency", "CMStochastic", "FlowMap")
IMAGE_DEPENDENT = (
    "pairs its noise with the images (optimal transport), so that the noise depends on the image: "
    "what it predicts is no posterior mean of x + sigma z, and nothing here is about it"
)


class Clock(NamedTuple):
    """A schedule, what a network of it predicts, and both in words."""

    schedule: Schedule
    target: Target
    what: str


def clock_of(
    scheduler: Any, prediction: str | None = None, sigma_data: float = 0.5
) -> Clock | None:
    """The clock that a scheduler of another library keeps, or None if it is not recognised.

    Parameters
    ----------
    scheduler : a scheduler of diffusers (alpha_bar, flow matching, EDM), a diffusion of
        guided-diffusion, a matcher of torchcfm, a path or scheduler of flow_matching; a `Schedule`,
        or what `Schedule.ddpm` takes; None for EDM's F.
    prediction : one of `PREDICTIONS` or as libraries write it; None to read it off the scheduler.
    sigma_data : of EDM's F, where the scheduler does not say it.

    Raises
    ------
    InputError : a network of this scheduler has no posterior mean of x + sigma z, or predicts
        what the schedule does not go with, or it is not known what.
    """
    wanted = THEIRS.get(prediction, prediction) if prediction else None
    if wanted not in (None, *PREDICTIONS):
        raise InputError(f"prediction must be one of {', '.join(PREDICTIONS)}, got {prediction!r}.")
    for read in (_diffusers, _guided, _torchcfm, _flow_matching):
        clock = None if scheduler is None else read(scheduler, wanted)
        if clock is not None:
            return clock
    return _ours(scheduler, wanted, sigma_data)


def _ours(given: Any, wanted: str | None, sigma_data: float) -> Clock | None:
    if wanted == "edm" and given is None:
        return _edm(sigma_data)
    if isinstance(given, str | list | tuple | np.ndarray | torch.Tensor):
        given = Schedule.ddpm(given)
    if not isinstance(given, Schedule):
        return None
    if wanted in (None, "edm"):
        known = ", ".join(PREDICTIONS[:-1])
        raise InputError(
            f"denoiser: the schedule {given.name!r} does not say what the network predicts; give "
            f"prediction=, one of {known}."
        )
    return _predicting(given, wanted, given.name)


def _predicting(schedule: Schedule, wanted: str, name: str) -> Clock:
    """A schedule with one of `PREDICTIONS`; v and velocity need its images scaled their way."""
    if wanted == "edm":  # F has a preconditioning of its own, by its level and not by a step
        raise InputError(f"denoiser: prediction 'edm' is of a network on sigma, not of {name}.")
    s = np.array([0.5, 2.0])
    needed = {"v": 1 / np.sqrt(1 + s**2), "velocity": 1 / (1 + s)}.get(wanted)
    if needed is not None and not np.allclose(schedule.scale(s), needed):
        kind = "a variance-preserving schedule" if wanted == "v" else "a flow along straight lines"
        raise InputError(f"denoiser: prediction {wanted!r} is that of {kind}, not of {name}.")
    key = wanted
    if wanted == "velocity":
        first, second = schedule.time(s)
        key = "image - noise" if first > second else "noise - image"
    target = score_target(schedule.scale) if wanted == "score" else TARGETS[key]
    return Clock(schedule, target, f"predicts {wanted} on {name}")


def _edm(
    sigma_data: float,
    c_noise: Callable[[Floats], Floats] = lambda s: np.log(s) / 4,
    sign: float = 1.0,
    ends: tuple[float, float] = (0.0, np.inf),
) -> Clock:
    """EDM's F, shown c_in y at the time c_noise; its negative for what diffusers calls v."""
    name = f"EDM's preconditioning, sigma_data {sigma_data:g}"

    def no_way_back(t: Floats) -> Floats:
        return np.full_like(t, np.nan)

    def c_in(s: Floats) -> Floats:
        return 1 / np.sqrt(s**2 + sigma_data**2)

    schedule = Schedule(name, "c_noise", c_noise, no_way_back, c_in, ends)
    return Clock(schedule, edm_target(sigma_data, sign), f"predicts F of {name}")


def _diffusers(scheduler: Any, wanted: str | None) -> Clock | None:
    config, name = getattr(scheduler, "config", None), type(scheduler).__name__
    if config is None:
        return None
    if any(word in name for word in DISTILLED):
        raise InputError(
            f"denoiser: {name} is for distilled networks, whose answer at sigma is no posterior "
            "mean; ask the one that it was distilled from."
        )
    said = option(config, "prediction_type", None)
    kind = wanted or THEIRS.get(said, said)
    if hasattr(scheduler, "precondition_noise") and kind in ("epsilon", "v"):

        def c_noise(s: Floats) -> Floats:
            found: Floats = scheduler.precondition_noise(torch.from_numpy(s)).numpy()
            return found

        ends = (float(config.sigma_min), float(config.sigma_max))
        return _edm(float(config.sigma_data), c_noise, -1.0 if kind == "v" else 1.0, ends)
    steps = option(config, "num_train_timesteps", 1000)
    asked = option(config, "use_flow_sigmas", False)
    flow = asked or not hasattr(scheduler, "alphas_cumprod")
    if flow and (asked or hasattr(scheduler, "scale_noise") or kind == "velocity"):
        lowest = getattr(scheduler, "sigma_min", None)  # the t of theirs, in (0, 1)
        lowest = 1 / steps if lowest is None else float(lowest)
        straight = Schedule.flow(data_at=int(option(config, "invert_sigmas", False)))
        thousand = replace(
            straight,
            clock="timestep",
            forward=lambda s: steps * straight.forward(s),
            backward=lambda t: straight.backward(t / steps),
            ends=(lowest / (1 - lowest) if lowest < 1 else 0.0, np.inf),
        )
        kind = kind if kind in PREDICTIONS else "velocity"
        return _predicting(thousand, kind, f"a flow's {steps:,} timesteps ({name})")
    if flow:
        return None
    if option(config, "timestep_type", "discrete") != "discrete" or kind not in PREDICTIONS:
        raise InputError(
            f"denoiser: {name} with timestep_type {option(config, 'timestep_type', None)!r} and "
            f"prediction_type {said!r} is not known here; make a Schedule of it."
        )
    clips = any(option(config, key, False) for key in ("clip_sample", "thresholding"))
    shown = f"DDPM's {steps:,} timesteps ({name}{', its clipping off' if clips else ''})"
    alpha_bar = scheduler.alphas_cumprod
    if option(config, "rescale_betas_zero_snr", False):
        alpha_bar = alpha_bar[:-1]  # the last step has no signal, or a stand-in for none
    return _predicting(Schedule.ddpm(alpha_bar), kind, shown)


def _guided(diffusion: Any, wanted: str | None) -> Clock | None:
    """guided-diffusion, improved-diffusion, DiT: respaced steps are of the original's clock.

    Between steps that are left out log sigma is about linear in log(1 + step), and not in the step.
    """
    mean = getattr(getattr(diffusion, "model_mean_type", None), "name", "").lower()
    if not mean or not hasattr(diffusion, "alphas_cumprod"):
        return None
    kind = wanted or THEIRS.get(mean, mean)
    if kind not in PREDICTIONS:
        raise InputError(f"denoiser: a network that predicts {mean!r} is not known here.")
    schedule = Schedule.ddpm(diffusion.alphas_cumprod)
    own = np.asarray(getattr(diffusion, "timestep_map", np.arange(len(diffusion.alphas_cumprod))))
    count = getattr(diffusion, "original_num_steps", len(diffusion.alphas_cumprod))
    bent, back = (np.log1p, np.expm1) if len(own) < count else (np.positive, np.positive)
    unit = 1000 / count if getattr(diffusion, "rescale_timesteps", False) else 1.0

    def forward(s: Floats) -> Floats:
        return unit * back(np.interp(schedule.forward(s), np.arange(len(own)), bent(own)))

    def backward(t: Floats) -> Floats:
        inside = np.clip(t / unit, own[0], own[-1])
        known = np.where(np.isclose(t / unit, inside, rtol=1e-9), inside, np.nan)
        return schedule.backward(np.interp(bent(known), bent(own), np.arange(len(own))))

    between = ", interpolated between them" if len(own) < count else ""
    name = f"{len(own):,} of {count:,} timesteps{between} ({type(diffusion).__name__})"
    return _predicting(replace(schedule, forward=forward, backward=backward), kind, name)


def _torchcfm(matcher: Any, wanted: str | None) -> Clock | None:
    """x_t = a x + b z' + noise of sigma_c: what is known of z' given all the noise is linear in it.

    Velocities of a_t' x + b_t' z', where z' has the mean b z / (sigma a) given the noise sigma z.
    """
    if not hasattr(matcher, "compute_mu_t"):
        return None
    if hasattr(matcher, "ot_sampler"):
        raise InputError(f"denoiser: {type(matcher).__name__} {IMAGE_DEPENDENT}.")
    names, c = {kind.__name__ for kind in type(matcher).__mro__}, float(matcher.sigma)
    one, lowest = 1 + c**2, c
    if "TargetConditionalFlowMatcher" in names:  # Lipman et al.: sigma_c instead of more noise

        def time(s: Floats) -> Floats:
            return 1 / (s + 1 - c)

        def sigma(t: Floats) -> Floats:
            return 1 / t - (1 - c)

        def target(s: Floats) -> tuple[Floats, Floats]:
            return np.ones_like(s), np.full_like(s, c - 1)

        scale = time
    elif "VariancePreservingConditionalFlowMatcher" in names:
        lowest *= 1.01  # at its end, t = 1, a velocity says nothing of the image

        def scale(s: Floats) -> Floats:
            return np.sqrt(one / (1 + s**2))

        def time(s: Floats) -> Floats:
            return 2 / np.pi * np.arcsin(np.minimum(scale(s), 1))

        def sigma(t: Floats) -> Floats:
            return np.sqrt(np.maximum(one / np.sin(np.pi / 2 * t) ** 2 - 1, 0))

        def target(s: Floats) -> tuple[Floats, Floats]:
            cosine = np.sqrt(np.maximum(s**2 - c**2, 0) / (1 + s**2))
            return np.pi / 2 * cosine, -np.pi / 2 * cosine / s

    else:

        def time(s: Floats) -> Floats:
            return one / (1 + np.sqrt(np.maximum(1 + (s**2 - 1) * one, 0)))

        def sigma(t: Floats) -> Floats:
            return np.sqrt((1 - t) ** 2 + c**2) / t

        def target(s: Floats) -> tuple[Floats, Floats]:
            t = time(s)
            return np.ones_like(s), -(1 - t) / (s * t)

        scale = time

    def back(t: Floats) -> Floats:
        known = (t > 0) & (t <= 1 + 1e-9)
        return np.where(known, sigma(np.where(known, t, 1.0)), np.nan)

    name = f"{type(matcher).__name__}, its sigma {c:g}"
    schedule = Schedule(name, "t", time, back, scale, (lowest, np.inf))
    if wanted not in (None, "velocity"):
        return _predicting(schedule, wanted, name)
    return Clock(schedule, target, f"predicts velocity on {name}")


def _flow_matching(path: Any, wanted: str | None) -> Clock | None:
    """A path of facebook's flow_matching, or its scheduler: alpha_t x + sigma_t z."""
    scheduler = getattr(path, "scheduler", path)
    affine = hasattr(path, "velocity_to_target") or scheduler is path
    if not (affine and hasattr(scheduler, "snr_inverse")):
        return None

    def time(s: Floats) -> Floats:
        found: Floats = scheduler.snr_inverse(1 / torch.from_numpy(s)).numpy()
        return found

    def at(s: Floats, *names: str) -> tuple[Floats, ...]:
        found = scheduler(torch.from_numpy(time(s)))
        return tuple(getattr(found, name).numpy() for name in names)

    def sigma(t: Floats) -> Floats:
        found = scheduler(torch.from_numpy(t))
        ratio: Floats = (found.sigma_t / found.alpha_t).numpy()
        return ratio

    def target(s: Floats) -> tuple[Floats, Floats]:
        d_alpha, d_sigma = at(s, "d_alpha_t", "d_sigma_t")
        return d_alpha, d_sigma

    name = type(scheduler).__name__
    schedule = Schedule(name, "t", time, sigma, lambda s: at(s, "alpha_t")[0])
    schedule = schedule.between(0.0, float(sigma(np.array(0.0))))  # one may end at a finite level
    if wanted not in (None, "velocity"):
        return _predicting(schedule, wanted, name)
    return Clock(schedule, target, f"predicts velocity on {name}")


def option(config: Any, name: str, default: Any) -> Any:
    """A value of a configuration, an object's or a mapping's."""
    found = getattr(config, name, None)
    if found is None and hasattr(config, "get"):
        found = config.get(name)
    return default if found is None else found
