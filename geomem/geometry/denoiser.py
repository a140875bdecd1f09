"""The contract that every denoiser of this package keeps: ``denoise(x, sigma)``."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Denoiser(Protocol):
    """Anything that estimates the clean image behind x = image + sigma z, z standard normal.

    A function, `EmpiricalDenoiser`, `GaussianDenoiser`, a network (`EDMDenoiser`), a swap of two:
    they are interchangeable wherever this package samples, measures or compares.

    Parameters
    ----------
    x : (B, ...) noisy images, in data units.
    sigma : their noise level in data units, > 0: one number, or (B,) one for each.

    Returns
    -------
    of the shape of ``x``, in data units.
    """

    def __call__(self, x: Tensor, sigma: float | Tensor, /) -> Tensor: ...
