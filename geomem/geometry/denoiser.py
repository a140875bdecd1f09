"""The contract that every denoiser of this package keeps: ``denoise(x, sigma)``."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Denoiser(Protocol):
    """Anything that estimates the clean image behind x = image + sigma z, z standard normal.

    A function, `EmpiricalDenoiser`, `GaussianDenoiser`, a network (`EDMDenoiser`), a swap of two:
    they are interchangeable wherever this package samples, measures or compares.

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
