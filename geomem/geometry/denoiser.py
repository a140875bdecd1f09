"""The contract that every denoiser of this package keeps, ``denoise(x, sigma)``, and its taking in.

What is asked is wide: a function, or a network of any library that takes these two. What is taken
is strict: finite numbers in the shape of x.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

TRAINING = "denoise: a network in training mode; it is asked in eval mode."


class Denoiser(Protocol):
    """Anything that estimates the clean image behind x = image + sigma z, z standard normal.

    A function, `EmpiricalDenoiser`, `GaussianDenoiser`, a network (`EDMDenoiser`), one of another
    library (`AdaptedDenoiser`), a swap of two: they are interchangeable wherever this package
    samples, measures or compares.

    References
    ----------
    Ours; what a denoiser is, says :doc:`/book/setting`.

    Examples
    --------
    >>> import torch
    >>> from geomem import Denoiser, sample
    >>> def shrink(x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
    ...     return x / (1 + sigma**2)
    >>> denoise: Denoiser = shrink  # a type checker compares the two
    >>> sample(denoise, (1, 8, 8), 2).shape
    torch.Size([2, 1, 8, 8])
    """

    def __call__(self, x: Tensor, sigma: float | Tensor, /) -> Tensor:
        """Denoise a batch.

        Parameters
        ----------
        x : tensor (B, ...)
            Noisy images, in data units.
        sigma : float or tensor (B,)
            Their noise level in data units, > 0: one for all, or one for each.

        Returns
        -------
        tensor of the shape of x
            The denoised images, in data units.
        """
        ...


@torch.no_grad()
def answer(denoise: Denoiser, x: Tensor, sigma: float | Tensor, *, finite: bool = True) -> Tensor:
    """What a denoiser answers, of whatever library it is: the one place where answers are taken in.

    It is asked as `Denoiser` says. One that fails so, as a network in float32 does when it is shown
    float64, or one that wants its level as a tensor, is asked once more in its own terms.

    Parameters
    ----------
    denoise : a `Denoiser`; a network is asked in eval mode, and left in its own.
    x : tensor (B, ...), noisy images, data units.
    sigma : float, or tensor () or (B,), their noise level, data units, > 0.
    finite : refuse NaN and infinite values, for which the host waits for a GPU; False where the
        caller looks for them later.

    Returns
    -------
    tensor of the shape and device of x, of a floating dtype, data units, without a graph.

    Raises
    ------
    ValueError : the denoiser fails, or its answer has another shape, or NaN or infinite values.
    """
    with in_eval_mode(denoise) as moved:
        if moved:
            warnings.warn(TRAINING, stacklevel=2)
        found = tensor_in(_asked(denoise, x, sigma))
    same = found.shape == x.shape
    if not same or (finite and not torch.isfinite(found).all()):
        wrong = "NaN or infinite values" if same else f"shape {tuple(found.shape)}"
        raise ValueError(
            f"denoise: gave {wrong} at sigma = {_shown(sigma)} for inputs of shape "
            f"{tuple(x.shape)}; it must return finite values of its input's shape."
        )
    return found.to(x.device)


def _asked(denoise: Denoiser, x: Tensor, sigma: float | Tensor) -> object:
    try:
        return denoise(x, sigma)
    except (AttributeError, TypeError, RuntimeError) as error:
        first = error
    weight = next(weights(denoise), torch.empty(0, device=x.device))
    plain = x.to(weight)
    try:
        return denoise(plain, torch.as_tensor(sigma, dtype=torch.float32, device=plain.device))
    except (AttributeError, TypeError, RuntimeError):
        why = str(first).partition("\n")[0]
        raise ValueError(
            f"denoise: failed at sigma = {_shown(sigma)} on {x.dtype} of shape {tuple(x.shape)} "
            f"({type(first).__name__}: {why}); it is called as denoise(x, sigma). "
            "Is it a network of another library? geomem.denoiser makes a denoiser of it."
        ) from first


def weights(denoise: object) -> Iterator[Tensor]:
    """The weights of a network, or of what has one, that are floating-point numbers."""
    every = getattr(denoise, "parameters", None)
    return (w for w in every() if w.is_floating_point()) if callable(every) else iter(())


def tensor_in(found: object) -> Tensor:
    """The tensor in what a network returned, without its graph.

    Itself or NumPy's; the ``sample`` or ``prediction`` of an object; the first of a tuple.

    Raises
    ------
    ValueError : there is none, or it holds no floating-point numbers.
    """
    for name in ("sample", "prediction"):
        inner = getattr(found, name, None)
        found = inner if isinstance(inner, Tensor | np.ndarray) else found
    found = found[0] if isinstance(found, tuple | list) and found else found
    taken = torch.from_numpy(found) if isinstance(found, np.ndarray) else found
    if not isinstance(taken, Tensor) or not taken.is_floating_point():
        kind = taken.dtype if isinstance(taken, Tensor) else type(found).__name__
        raise ValueError(f"denoise: must return a tensor of floating-point numbers, got {kind}.")
    return taken.detach()


@contextlib.contextmanager
def in_eval_mode(denoise: object) -> Iterator[bool]:
    """A network, or that of a bound method, in eval mode meanwhile; whether it was in training."""
    module = denoise if isinstance(denoise, nn.Module) else getattr(denoise, "__self__", None)
    modules = module.modules() if isinstance(module, nn.Module) else ()
    training = [part for part in modules if part.training]
    for part in training:
        part.training = False
    try:
        yield bool(training)
    finally:
        for part in training:
            part.training = True


def _shown(sigma: float | Tensor) -> str:
    levels = torch.as_tensor(sigma, dtype=torch.float64).ravel()
    low, high = levels.min().item(), levels.max().item()
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
