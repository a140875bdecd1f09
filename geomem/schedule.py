"""The EDM noise levels (the paper's Table 2; Karras et al. 2022, Eq. 5)."""

from __future__ import annotations

import numpy as np

from geomem.curve import Floats


def karras_sigmas(
    n: int = 18, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Floats:
    """The n noise levels of the EDM sampler, descending, without the trailing zero.

    sigma_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho.
    The defaults are the paper's grid (Table 2).

    Parameters
    ----------
    n : number of levels, n >= 1 (n = 1 gives sigma_max alone).
    sigma_min, sigma_max : smallest and largest level, data units, 0 < sigma_min <= sigma_max.
    rho : > 0; larger puts more of the levels at small noise.

    Returns
    -------
    (n,) float64 array.

    >>> karras_sigmas()[[0, 10, 17]].round(6).tolist()
    [80.0, 1.088171, 0.002]
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}.")
    if not (0 < sigma_min <= sigma_max < np.inf and rho > 0):
        raise ValueError(
            "karras_sigmas needs 0 < sigma_min <= sigma_max and rho > 0, got "
            f"sigma_min={sigma_min}, sigma_max={sigma_max}, rho={rho}."
        )
    first, last = np.float64(sigma_max) ** (1 / rho), np.float64(sigma_min) ** (1 / rho)
    sigmas = (first + np.arange(n) / max(n - 1, 1) * (last - first)) ** rho
    sigmas[0] = sigma_max
    if n > 1:
        sigmas[-1] = sigma_min  # exact ends: the power loses the last digits
    return sigmas
