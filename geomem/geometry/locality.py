"""Locality of the denoiser of stationary Gaussian data (Theorem 4.10).

A circulant covariance has as many eigenvalues lambda_k (its spectrum) as the circle has
pixels, and the optimal denoiser is a filter with the gains g_k = lambda_k / (lambda_k +
sigma^2): how much output pixel i listens to input pixel j depends on their distance only.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geomem.geometry.arrays import Floats, check_floats, check_sigmas


def circulant_sensitivity(spectrum: ArrayLike, sigma: float | Floats) -> Floats:
    """How much an output pixel of the optimal denoiser listens to each input pixel.

    First row of A = Sigma (Sigma + sigma^2 I)^-1, for a circulant covariance Sigma. A is the
    Jacobian of the optimal denoiser: its entry j is the derivative of an output pixel by the
    input pixel j further around the circle. On the torus (a spectrum with two axes) the entry
    (j_1, j_2) is that of the pixel j_1 rows and j_2 columns further.

    Parameters
    ----------
    spectrum : array (n,) or (n_1, n_2)
        Eigenvalues of Sigma in the order of the discrete Fourier transform, >= 0, squared data
        units; symmetric under k -> -k, as those of a real covariance are.
    sigma : float or array
        Noise levels in data units, > 0.

    Returns
    -------
    array of the shape of sigma and then that of spectrum
        float64, in [-1, 1].

    Raises
    ------
    ValueError
        If sigma <= 0, or the spectrum is negative, not finite, not symmetric, of fewer than 2
        eigenvalues along an axis or of more than 2 axes.

    References
    ----------
    Theorem 4.10 of the paper, our reconstruction; here :prf:ref:`theorem-4-10`. Ours on the torus:
    :prf:ref:`theorem-4-10-torus`.

    Examples
    --------
    >>> from geomem import circulant_sensitivity
    >>> circulant_sensitivity([3.0, 1.0, 1.0], 1.0).round(3).tolist()
    [0.583, 0.083, 0.083]
    """
    gain, axes = _gain(spectrum, sigma)
    return np.fft.ifftn(gain, axes=axes).real


def locality_bound(spectrum: ArrayLike, sigma: float | Floats, axis: int = -1) -> Floats:
    """T_sigma, so that the sensitivity at wrap-around distance j >= 1 is at most T_sigma / j.

    ``T_sigma = (1/4) sum_k |g_{k+1} - g_k|``, a quarter of the total variation of the gains
    around the circle. Of a torus it is the mean, over the other axis, of that along
    ``axis``, and j is the distance along ``axis``.

    Parameters
    ----------
    spectrum : array (n,) or (n_1, n_2)
        Eigenvalues of the covariance, as in `circulant_sensitivity`.
    sigma : float or array
        Noise levels in data units, > 0.
    axis : int
        Axis of the spectrum along which distance is measured.

    Returns
    -------
    array of the shape of sigma
        float64, >= 0; at most 1/2 for a spectrum that rises once and falls once.

    Raises
    ------
    ValueError
        As `circulant_sensitivity`, or if the spectrum does not have that axis.

    References
    ----------
    Theorem 4.10 of the paper, which has the form T_sigma / j, with the constant our
    reconstruction; here :prf:ref:`theorem-4-10`. Ours on the torus: :prf:ref:`theorem-4-10-torus`.

    Examples
    --------
    >>> from geomem import locality_bound
    >>> float(locality_bound([3.0, 1.0, 1.0], 1.0))
    0.125
    """
    gain, axes = _gain(spectrum, sigma)
    if not -len(axes) <= axis < len(axes):
        raise ValueError(f"axis: the spectrum has {len(axes)} axes, got axis {axis}.")
    along = axes[axis]
    variation = np.abs(np.roll(gain, -1, axis=along) - gain).sum(along, keepdims=True)
    return np.asarray(variation.mean(axes) / 4)


def row_spectrum(images: ArrayLike) -> Floats:
    """The spectrum of the stationary part of image rows: their mean periodogram.

    Rows of images are not stationary. These are the eigenvalues of the circulant matrix nearest,
    in the Frobenius norm, to the covariance of a row, after the mean image has been subtracted.

    Parameters
    ----------
    images : (N, ..., width), in data units.

    Returns
    -------
    (width,) float64, >= 0, squared data units, in the order of the discrete Fourier transform.

    >>> row_spectrum([[1.0, 1.0], [-1.0, -1.0]]).tolist()
    [2.0, 0.0]
    """
    values = check_floats("images", images)
    width = values.shape[-1]
    rows = (values - values.mean(0)).reshape(-1, width)
    return np.asarray(np.mean(np.abs(np.fft.fft(rows)) ** 2, axis=0) / width)


@dataclass(frozen=True)
class Locality:
    """How far an optimal denoiser looks around a circle, and how far it may.

    Attributes
    ----------
    sigma : (S,) noise levels, data units.
    distance : (M,) 1 to half of the circle, pixels.
    sensitivity : (S, M) the sensitivity to an input pixel at each distance, >= 0.
    bound : (S,) T_sigma: the sensitivity is at most T_sigma / distance.
    """

    sigma: Floats
    distance: Floats
    sensitivity: Floats
    bound: Floats

    @classmethod
    def of(cls, spectrum: ArrayLike, sigmas: ArrayLike) -> Locality:
        """Of a spectrum (n,), as `circulant_sensitivity` takes it."""
        levels = check_sigmas(sigmas)
        row = np.abs(circulant_sensitivity(spectrum, levels))
        seen = row[:, 1 : row.shape[1] // 2 + 1]
        distance = np.arange(1, seen.shape[1] + 1)
        return cls(levels, distance, seen, locality_bound(spectrum, levels))

    @property
    def most(self) -> Floats:
        """(S, M) the bound at each distance."""
        return np.asarray(self.bound[:, None] / self.distance)

    @property
    def share(self) -> Floats:
        """(S, M) what part of its bound each sensitivity is."""
        return np.asarray(self.sensitivity / self.most)

    def plot(self, ax: Any) -> None:
        """Draw into matplotlib axes: sensitivities as marks, their bounds as lines."""
        handles = []
        for values, most, marker in zip(self.sensitivity, self.most, cycle("os^"), strict=False):
            (line,) = ax.loglog(self.distance, most)
            style = dict(color=line.get_color(), ms=5, mec="k", mew=0.5)
            handles.append((line, *ax.loglog(self.distance, values, marker, **style)))
        ticks = [k for k in (1, 2, 3, 4, 6, 8, 11, 16) if k <= self.distance[-1]]
        ax.set_xticks(ticks, map(str, ticks))
        ax.set_xticks([], minor=True)
        ax.yaxis.set_minor_formatter("")
        ax.set(xlabel="distance $j$ along the row (pixels)", ylabel="sensitivity $|A_{0j}|$")
        ax.legend(handles, [rf"$\sigma = {sigma:g}$" for sigma in self.sigma], loc="lower left")

    def table(self) -> dict[str, Floats]:
        """What `plot` draws, one row a level and distance."""
        return {
            "distance [pixels]": np.tile(self.distance, len(self.sigma)),
            "sigma [data units]": np.repeat(self.sigma, len(self.distance)),
            "sensitivity [dimensionless]": self.sensitivity.ravel(),
            "bound [dimensionless]": self.most.ravel(),
        }


def _gain(spectrum: ArrayLike, sigma: float | Floats) -> tuple[Floats, tuple[int, ...]]:
    """The gains, (*sigma's axes, *the spectrum's axes), and which axes are the spectrum's."""
    values = np.asarray(spectrum, dtype=np.float64)
    if values.ndim not in (1, 2) or min(values.shape) < 2:
        raise ValueError(f"spectrum: expected (n,) or (n_1, n_2), n >= 2, got {values.shape}.")
    if not np.all(np.isfinite(values) & (values >= 0)):
        raise ValueError("spectrum: every eigenvalue must be finite and at least 0.")
    axes = tuple(range(-values.ndim, 0))
    mirrored = np.roll(np.flip(values), 1, axes)  # k -> -k
    if not np.allclose(values, mirrored, rtol=1e-9, atol=1e-9 * values.max()):
        raise ValueError("spectrum: a real covariance has equal eigenvalues at k and -k.")
    noise = check_sigmas(sigma).reshape(np.shape(sigma)) ** 2
    total = values + np.expand_dims(noise, axes)  # 0 where sigma^2 is 0 in float64
    return np.divide(values, total, out=np.zeros_like(total), where=total > 0), axes
