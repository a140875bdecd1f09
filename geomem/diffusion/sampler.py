"""Sampling: the probability-flow ODE from pure noise to an image (Karras et al. 2022).

    dx/dsigma = -(m_sigma(x) - x) / sigma,    from x = sigma_max z at sigma_max down to sigma = 0,

for any denoiser m. The paper takes pure Euler steps, adds no noise on the way and has the 18
levels of its Table 2. Heun's method (Karras et al., Algorithm 1) corrects each step by the
slope at its end, which costs a second call of the denoiser and wins an order of accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from geomem.diffusion.network import EDMDenoiser
from geomem.diffusion.noise import karras_sigmas
from geomem.geometry.arrays import Floats, check_count, check_sigmas
from geomem.geometry.denoiser import Denoiser, answer, weights
from geomem.machine import in_bytes, memory
from geomem.progress import bar
from geomem.workers import workers

HIDDEN = 5.0  # deviations of the pixels: noise that hides images, from which samples may begin
WORKER_BATCH = 32  # samples that a worker of a CPU integrates at once


class Step(NamedTuple):
    """A batch on its way from noise to images, at one noise level; data units."""

    sigma: float
    x: Tensor  # (B, C, H, W) float64, the state at that level
    denoised: Tensor  # (B, C, H, W) float64, the denoiser's answer to it


def heun(denoise: Denoiser, x: Tensor, sigmas: Floats) -> Iterator[Step]:
    """Heun's method, of second order: 2 S - 1 calls of the denoiser for S levels.

    The last step, into sigma = 0, where the slope is not defined, stays Euler's.

    Parameters
    ----------
    denoise : called as ``denoise(x, sigma)`` with the float64 state and one number sigma.
    x : (B, C, H, W) state at the first level, in data units (see `initial_noise`).
    sigmas : (S,) noise levels, in data units, > 0, strictly descending, without a zero.

    Yields
    ------
    One `Step` for each level, and a last one whose ``x`` and ``denoised`` are the sample.

    Raises
    ------
    ValueError : levels that are not as above, or an answer that `answer` refuses.
    """
    return _solve(denoise, x, _descending(sigmas), correct=True)


def euler(denoise: Denoiser, x: Tensor, sigmas: Floats) -> Iterator[Step]:
    """Euler's method, of first order and the paper's: S calls of the denoiser; else as `heun`."""
    return _solve(denoise, x, _descending(sigmas), correct=False)


ENDS = {"min": 0.002, "max": 80.0}  # of the paper's levels, data units
SOLVERS = {"heun": heun, "euler": euler}
SOLVER_NAMES = {"heun": "Heun's method", "euler": "Euler's method"}  # for prose


def _solver(name: str) -> Callable[[Denoiser, Tensor, Floats], Iterator[Step]]:
    if name not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}, got {name!r}.")
    return SOLVERS[name]


@torch.no_grad()
def _solve(denoise: Denoiser, x: Tensor, sigmas: list[float], correct: bool) -> Iterator[Step]:
    x = x.double()
    # A GPU is not waited for at each level: a NaN or an infinite value in an answer stays in x.
    finite = x.device.type == "cpu"
    for sigma, lower in zip(sigmas, [*sigmas[1:], 0.0], strict=True):
        denoised = answer(denoise, x, sigma, finite=finite).double()
        yield Step(sigma, x, denoised)
        # Euler's step keeps lower / sigma of the noise: written so, the last is exactly denoised.
        ahead = denoised + lower / sigma * (x - denoised)
        if correct and lower > 0:
            after = (ahead - answer(denoise, ahead, lower, finite=finite).double()) / lower
            slopes = (x - denoised) / sigma + after
            ahead = x + (lower - sigma) / 2 * slopes
        x = ahead
    if not finite and not torch.isfinite(x).all():
        raise ValueError(f"denoise: gave NaN or infinite values below sigma = {sigmas[0]:.4g}.")
    yield Step(0.0, x, x)


def _descending(sigmas: object) -> list[float]:
    levels = check_sigmas(sigmas)
    if np.any(np.diff(levels) >= 0):
        raise ValueError("sigmas: the levels must strictly descend, from the noise to the image.")
    return levels.tolist()


def device_of(denoise: Denoiser) -> torch.device:
    """A network's own device; of another denoiser CUDA where there is one, else the CPU."""
    default = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return next((weight.device for weight in weights(denoise)), default)


def levels_of(*models: Denoiser) -> Floats:
    """The paper's levels; of denoisers that say their sigma_min and sigma_max, between those."""
    low = max(float(getattr(of, "sigma_min", 0.0)) for of in models)
    high = min(float(getattr(of, "sigma_max", math.inf)) for of in models)
    return karras_sigmas(18, max(low, ENDS["min"]), min(high, ENDS["max"]))


def initial_noise(
    shape: tuple[int, ...], seeds: Sequence[int | Sequence[int]], sigma_max: float
) -> Tensor:
    """sigma_max z of one seed a sample -> (len(seeds), *shape) float64, in data units, on the CPU.

    Sample i is ``default_rng(seeds[i]).standard_normal(shape)``, whatever its neighbours.
    """
    noise = [np.random.default_rng(seed).standard_normal(shape) for seed in seeds]
    return sigma_max * torch.from_numpy(np.stack(noise))


def check_memory(n: int, shape: Sequence[int], plans: int = 1) -> None:
    """ValueError where ``n`` samples of a shape, by each plan, are beyond this machine's memory.

    They are kept in float32, batch by batch and then joined; who measures them takes float64, one
    plan after the other.
    """
    needed = (plans * (4 + 4) + 8) * n * math.prod(shape)
    if needed > memory():
        each = f", of {plans} plans each," if plans > 1 else ""
        raise ValueError(
            f"n: {n:,} samples of {'x'.join(map(str, shape))}{each} would take {in_bytes(needed)} "
            f"of memory; here are {in_bytes(memory())}: ask for fewer."
        )


def follow(
    denoise: Denoiser,
    shape: tuple[int, ...],
    which: Sequence[int],
    *,
    seed: int = 0,
    sigmas: Floats | None = None,
    solver: str = "heun",
    device: str | torch.device = "auto",
) -> Iterator[Step]:
    """Some samples of a seed on their way: the steps that `sample` takes, one by one.

    Parameters
    ----------
    denoise, shape, seed, sigmas, solver, device
        As in `sample`.
    which : sequence of ints
        Indices of the samples, >= 0, all of them followed at once.

    Yields
    ------
    Step
        One for each level, and a last one that holds the samples.

    Raises
    ------
    ValueError
        As in `sample`.
    """
    solve = _solver(solver)
    levels = check_sigmas(levels_of(denoise) if sigmas is None else sigmas)
    device = device_of(denoise) if device == "auto" else device
    noise = initial_noise(shape, [(seed, i) for i in which], levels[0]).to(device)
    return solve(denoise, noise, levels)


def sample(
    denoise: Denoiser,
    shape: tuple[int, ...],
    n: int,
    *,
    seed: int = 0,
    first: int = 0,
    sigmas: Floats | None = None,
    solver: str = "heun",
    batch: int = 256,
    device: str | torch.device = "auto",
) -> Tensor:
    """Samples ``first`` to ``first + n - 1`` of a seed, each from the noise of (seed, i).

    Sample i is the same alone or among 64, up to the rounding of the denoiser's own batches.

    Parameters
    ----------
    denoise : callable
        Any denoiser, called as ``denoise(x, sigma)`` with float64 x (B, C, H, W) and one number;
        a network that fails so, with float32 x and a tensor.
    shape : tuple of ints
        (C, H, W) of one image.
    n : int
        Number of samples, >= 1, as many as the memory holds.
    seed, first : int
        Whole numbers >= 0.
    sigmas : array (S,) or None
        Noise levels, data units, > 0, strictly descending; None for `karras_sigmas`, the
        paper's levels, which end where a denoiser says that its sigma_min and sigma_max are.
    solver : str
        "heun", or "euler" as in the paper.
    batch : int
        Samples integrated at once, >= 1. A network of this package goes through them on a CPU in
        parts, as many side by side as torch has threads; how many changes no bit of the samples.
    device : str or torch.device
        "auto" (a network's own; else CUDA where there is one), or a torch device.

    Returns
    -------
    tensor (n, C, H, W)
        float32, on the CPU, data units, not clipped.

    Raises
    ------
    ValueError
        If a number is outside its range, the solver is unknown, the levels do not descend, or
        the denoiser returns another shape, NaN or infinite values.

    References
    ----------
    :cite:t:`karras2022elucidating`, Algorithm 1 without added noise; Euler's method and the levels
    are the paper's; see :doc:`/book/models`.

    Examples
    --------
    >>> from geomem import gaussian_denoiser, load_dataset, sample
    >>> train = load_dataset("digits", n_train=8).train
    >>> sample(lambda x, sigma: gaussian_denoiser(x, train, sigma), (1, 8, 8), 2).shape
    torch.Size([2, 1, 8, 8])
    """
    n, batch = check_count("n", n), check_count("batch", batch)
    if min(seed, first) < 0:
        raise ValueError(f"seed and first must be at least 0, got {seed=} and {first=}.")
    check_memory(n, shape)
    options: dict[str, Any] = dict(seed=seed, sigmas=sigmas, solver=solver, device=device)

    def integrate(some: range) -> Tensor:
        for step in follow(denoise, shape, some, **options):
            sampled = step.x
        return sampled.float().cpu()

    return _in_parts(integrate, range(first, first + n), batch, [denoise])


def sample_swapped(
    models: Sequence[Denoiser],
    who: ArrayLike,
    shape: tuple[int, ...],
    n: int,
    *,
    sigmas: Floats,
    seed: int = 0,
    first: int = 0,
    solver: str = "heun",
    batch: int = 256,
    device: str | torch.device = "auto",
) -> list[Tensor]:
    """Samples of several models that take turns, by several plans, from the same initial noises.

    What plans have in common, from the first level on, is integrated once.

    Parameters
    ----------
    models : sequence of denoisers of the same images.
    who : int array (P, S), of each plan the model that answers at each level, by its index.
    sigmas : (S,) noise levels, data units, > 0, strictly descending.
    shape, n, seed, first, solver, batch, device
        As in `sample`; "auto" is the device of the first model.

    Returns
    -------
    list of P tensors (n, C, H, W) float32, on the CPU, data units: of each plan what `sample` gives
    of a denoiser that is at each level the model of the plan, up to the rounding of its batches.
    Those of equal plans are one.

    Raises
    ------
    ValueError : as in `sample`, and for plans of another number of levels.
    """
    plans, levels, solve = np.asarray(who), check_sigmas(sigmas), _solver(solver)
    if plans.ndim != 2 or plans.shape[1] != len(levels):
        raise ValueError(f"who: needs plans (P, {len(levels)}), got {plans.shape}.")
    n, batch = check_count("n", n), check_count("batch", batch)
    device = device_of(models[0]) if device == "auto" else device
    distinct, row = np.unique(plans, axis=0, return_inverse=True)  # sorted: each beside its likes
    check_memory(n, shape, len(distinct))

    def integrate(some: range) -> Tensor:
        path = [initial_noise(shape, [(seed, i) for i in some], levels[0]).to(device)]
        found, before = [], distinct[0]
        for plan in distinct:
            # The state at a level is that of the plan before, where the models agree up to there.
            agree = int(np.cumprod(plan == before).sum())
            path, before = path[: max(agree, 1)], plan
            at = len(path) - 1
            taking_turns = _in_turns(models, dict(zip(levels.tolist(), plan, strict=True)))
            path += [step.x for step in solve(taking_turns, path.pop(), levels[at:])]
            found.append(path[-1].float().cpu())
        return torch.stack(found)

    found = _in_parts(integrate, range(first, first + n), batch, models, dim=1)
    each = [one.clone() for one in found]  # whoever keeps a view keeps the whole of it
    return [each[i] for i in row.reshape(-1)]  # NumPy 2.0.0 gives (P, 1)


def _in_turns(models: Sequence[Denoiser], who: Mapping[float, int]) -> Denoiser:
    """The model, by its index, that answers at each level."""
    return lambda x, sigma: answer(models[who[float(sigma)]], x, sigma, finite=False)


def _in_parts(
    integrate: Callable[[range], Tensor],
    numbers: range,
    batch: int,
    models: Sequence[Denoiser],
    dim: int = 0,
) -> Tensor:
    """All samples, batch by batch, joined along ``dim``; side by side where threads may be."""
    shared = all(_may_be_shared(model) for model in models)
    size = min(batch, WORKER_BATCH) if shared else batch
    samples, parts = [], ((numbers[i : i + size],) for i in range(0, len(numbers), size))
    with (
        workers(None if shared else 1) as team,
        bar(len(numbers), "sampling", "image", delay=5) as shown,
    ):
        for sampled in team.in_order(integrate, parts):
            samples.append(sampled)
            shown.update(sampled.shape[dim])
    return torch.cat(samples, dim)


def _may_be_shared(denoise: Denoiser) -> bool:
    """Whether threads of a CPU may ask it side by side: no stranger, and none in training."""
    ours = isinstance(denoise, EDMDenoiser) and not denoise.training
    return ours and device_of(denoise).type == "cpu"
