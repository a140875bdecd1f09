"""Networks of other libraries as denoisers: one formula for every way to parametrise.

A network is shown a (x + sigma z), a > 0, at a time of its own clock, and learns to predict
p x + q z by least squares. Its answer F is then p m + q (y - m) / sigma, y = x + sigma z, so that

    m = (sigma F - q y) / (sigma p - q).

The clock and a are a `Schedule`; p and q, numbers that depend on sigma, are a `Target`. Ours, a
line of algebra; tests compare each row with the code of the libraries that it is for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomem.diffusion.schedules import Schedule
from geomem.errors import InputError
from geomem.geometry.arrays import Array, Floats, check_sigmas
from geomem.geometry.denoiser import in_eval_mode, tensor_in, weights

Target = Callable[[Floats], tuple[Floats, Floats]]  # (S,) noise levels -> p and q, (S,) each
Ask = Callable[[Tensor, Tensor], Any]  # what it is shown (B, ...) and times (B,) -> an answer
FAILURES = (AttributeError, LookupError, RuntimeError, TypeError)  # of who is asked wrongly
SLACK = 1e-6  # of a noise level that a float32 or a power has rounded over an end of its range


def _of(p: float, q: float) -> Target:
    return lambda s: (np.full_like(s, p), np.full_like(s, q))


def _v(s: Floats) -> tuple[Floats, Floats]:
    root = np.sqrt(1 + s**2)
    return -s / root, 1 / root


def score_target(scale: Callable[[Floats], Floats]) -> Target:
    """The score of what a network sees, a(sigma) (x + sigma z): -z / (a sigma)."""
    return lambda s: (np.zeros_like(s), -1 / (scale(s) * s))


TARGETS: dict[str, Target] = {
    "x0": _of(1, 0),
    "epsilon": _of(0, 1),
    "v": _v,  # sqrt(alpha_bar) z - sqrt(1 - alpha_bar) x
    "image - noise": _of(1, -1),  # the velocity of a flow with its data at t = 1
    "noise - image": _of(-1, 1),  # and at t = 0
    "score": score_target(np.ones_like),
}


def edm_target(sigma_data: float, sign: float = 1.0) -> Target:
    """What EDM's F predicts: (x - c_skip y) / c_out, of unit variance; or its negative."""

    def target(s: Floats) -> tuple[Floats, Floats]:
        root = np.sqrt(s**2 + sigma_data**2)
        return sign * s / (sigma_data * root), -sign * sigma_data / root

    return target


def denoised(y: Tensor, out: Tensor, sigma: Floats, target: Target) -> Tensor:
    """The clean images m of noisy ones y (B, ...) from a network's answers, in float64.

    sigma is () or (B,), data units.
    """
    p, q = (column(number, y) for number in target(sigma))
    s = column(sigma, y)
    return (s * out.to(y) - q * y) / (s * p - q)


def column(numbers: Floats, like: Tensor) -> Tensor:
    """Numbers () or (B,) on the device of a batch (B, ...), in float64, to multiply it with."""
    return torch.from_numpy(np.atleast_1d(numbers)).to(like.device).view(-1, *[1] * (like.ndim - 1))


def _of_channels(numbers: Any, like: Tensor) -> Tensor:
    """A number, or one for each channel (C,), to multiply latents (N, C, ...) with."""
    found = torch.as_tensor(numbers).to(like)
    return found.view(1, -1, *[1] * (like.ndim - 2)) if found.ndim else found


@dataclass(frozen=True)
class Latents:
    """The autoencoder of a latent model: z = scale (mean - shift), and back.

    Parameters
    ----------
    vae : an autoencoder of diffusers.
    scale, shift : numbers, or tensors (C,): of its config.
    """

    vae: Any
    scale: Any
    shift: Any

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] -> latents, whose units sigma and distances then have."""
        found = self.vae.encode(images.to(next(weights(self.vae))))
        law = getattr(found, "latent_dist", None)
        if law is None:
            mean = found.latents if hasattr(found, "latents") else found.latent
        else:
            mean = law.mean
        scale, shift = (_of_channels(a, mean) for a in (self.scale, self.shift))
        return ((mean - shift) * scale).to(images)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> images (N, C, H, W), about in [-1, 1]."""
        z = latents.to(next(weights(self.vae)))
        scale, shift = (_of_channels(a, z) for a in (self.scale, self.shift))
        z = z / scale + shift
        return tensor_in(self.vae.decode(z)).to(latents)


@dataclass(frozen=True, eq=False, repr=False)
class AdaptedDenoiser:
    """A network of another library as a denoiser, as `geomem.denoiser` makes it.

    Called as ``denoise(x, sigma)``, it shows the network a(sigma) x at the time of sigma, in the
    network's dtype, on its device and in eval mode, and makes the clean image of the answer in
    float64. Nothing is clipped, thresholded or guided.

    Parameters
    ----------
    ask : callable
        From what the network is shown, (B, ...), and the times (B,) to its answer.
    schedule : Schedule
        Its clock, and the factor a by which it is shown x + sigma z.
    target : callable
        From noise levels (S,) to p and q, (S,) each: the network predicts p x + q z.
    net : module or None
        The network, for its dtype, device and mode; None where it has no weights.
    what : str
        What it was taken for, in a line.
    whole_steps : bool
        Whether the times are rounded to whole ones, int64.
    latents : Latents or None
        The autoencoder of a latent model: ``latents.encode(images)``, ``latents.decode(latents)``.

    References
    ----------
    Ours; a line of algebra for all parametrisations; see :doc:`/book/schedules`.

    Examples
    --------
    >>> import torch
    >>> from geomem import Schedule, denoiser
    >>> def epsilon(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:  # of images at zero
    ...     return x_t / (1 - ab[t.long()].view(-1, 1)).sqrt()
    >>> ab = torch.linspace(0.99, 0.01, 100)
    >>> denoise = denoiser(epsilon, ab, prediction="epsilon", timesteps="nearest", quiet=True)
    >>> abs(denoise(torch.ones(2, 3), denoise.sigma_max)).max().item() < 1e-5
    True
    >>> denoise.within([0.01, 1.0, 100.0]).tolist()
    [False, True, False]
    """

    ask: Ask
    schedule: Schedule
    target: Target
    net: Any = None
    what: str = "a network"
    whole_steps: bool = False
    latents: Latents | None = None

    @property
    def sigma_min(self) -> float:
        """The lowest noise level that the network knows, data units; 0 if there is none."""
        return self.schedule.ends[0]

    @property
    def sigma_max(self) -> float:
        """The highest one; inf if there is none."""
        return self.schedule.ends[1]

    def within(self, sigmas: Array) -> NDArray[np.bool_]:
        """(S,) which noise levels, data units, > 0, the network knows; at others it refuses."""
        s = check_sigmas(sigmas)
        low, high = self.schedule.ends
        return (s >= low * (1 - SLACK)) & (s <= high * (1 + SLACK))

    def parameters(self) -> Any:
        """The network's weights, as of a module."""
        return self.net.parameters() if hasattr(self.net, "parameters") else iter(())

    def __call__(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Denoise a batch.

        Parameters
        ----------
        x : tensor (B, ...)
            Noisy images, data units.
        sigma : float or tensor (B,)
            Their noise level in data units, within the network's range: one for all, or one each.

        Returns
        -------
        tensor of the shape, dtype and device of x
            The denoised images, data units.

        Raises
        ------
        ValueError
            If the network does not know the noise level, or its answer has another shape.
        """
        s = self._levels(sigma, len(x))
        y = x.double()
        shown = (column(self.schedule.scale(s), y) * y).to(next(weights(self), x))
        out = tensor_in(self._asked(shown, self._times(s, shown)))
        if out.ndim > 1 and out.shape[1] == 2 * x.shape[1]:
            out = out[:, : x.shape[1]]  # the other half is a learned variance
        if out.shape != x.shape:
            raise InputError(
                f"{self.what}: answered with shape {tuple(out.shape)} to {tuple(x.shape)}."
            )
        return denoised(y, out, s, self.target).to(x.dtype)

    def _asked(self, shown: Tensor, times: Tensor) -> Any:
        """What the network answers, in eval mode; where it fails, a line that says how.

        A function does not tell the dtype of the network in it: it is asked once more in float32.
        """
        with in_eval_mode(self.net):
            try:
                return self.ask(shown, times)
            except FAILURES as error:
                first = error
            if shown.dtype == torch.float64 and next(weights(self), None) is None:
                with contextlib.suppress(*FAILURES):
                    return self.ask(shown.float(), times if self.whole_steps else times.float())
        why = f"{type(first).__name__}: {first}".partition("\n")[0]
        raise InputError(
            f"{self.what}: failed on images {tuple(shown.shape)} at times "
            f"{tuple(times.shape)} ({why})."
        ) from first

    def _levels(self, sigma: float | Tensor, batch: int) -> Floats:
        """(B,) float64, within the range, or an InputError that names it."""
        s = check_sigmas(sigma)
        if len(s) not in (1, batch):
            raise InputError(f"sigma: expected one noise level or {batch}, got {len(s)}.")
        if not self.within(s).all():
            low, high = self.schedule.ends
            raise InputError(
                f"sigma: {s[~self.within(s)][0]:.4g} is outside the noise levels of this network, "
                f"{low:.4g} to {high:.4g}; ask within, as by karras_sigmas(18, ...)."
            )
        return np.broadcast_to(np.clip(s, *self.schedule.ends), batch).copy()

    def _times(self, s: Floats, shown: Tensor) -> Tensor:
        times = np.asarray(self.schedule.time(s))
        if self.whole_steps:
            return torch.from_numpy(np.rint(times).astype(np.int64)).to(shown.device)
        # Never in half precision: it has 11 bits, and there are 1,000 timesteps.
        kind = torch.promote_types(shown.dtype, torch.float32)
        return torch.from_numpy(times).to(shown.device, kind)

    def __repr__(self) -> str:
        """In one line: what it was taken for, its noise levels, and what is done."""
        low, high = self.schedule.ends
        ends = f"sigma {low:.3g} to {high:.3g}" if (low, high) != (0, np.inf) else "any sigma > 0"
        for weight in weights(self):
            kind = str(weight.dtype).removeprefix("torch.")
            return f"{self.what}; {ends}; in eval mode, {kind} on {weight.device}"
        return f"{self.what}; {ends}"
