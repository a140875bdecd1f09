"""The Gaussian denoiser (Eq. 7) and its gap to the empirical one at large noise (Theorem 4.11).

With X uniform on the training set, xi = X - mu, mu and Sigma its exact mean and covariance
(1/N), the Gaussian denoiser is the best affine one. Here `kappa_3` is the third cumulant
E[xi x xi x xi], R the largest |xi| and lambda_1 the largest eigenvalue of Sigma.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from geomem.geometry.arrays import Array, Floats, Kind, check_count, check_sigmas
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.distances import (
    QUERY_ROWS,
    TRAIN_ROWS,
    Points,
    like,
    pair,
    per_query,
    queries_of,
)
from geomem.geometry.posterior import empirical_denoiser


class GaussianDenoiser:
    """The Gaussian denoiser of one training set, prepared once for many calls.

    ``denoise(x, sigma)`` is mu + Sigma (Sigma + sigma^2 I)^{-1} (x - mu), exact for Gaussian
    data and the best affine denoiser for any; ``error(sigmas)`` is its error on the training set,
    ``error_on(images, sigmas)`` on others, both without a noise draw. Preparing finds the principal
    axes of the training set; no d x d matrix is formed when N <= d.

    Parameters
    ----------
    train : array (N, ...)
        The training set, in data units.
    shrinkage : float or "ledoit-wolf"
        The share a in [0, 1] of the covariance that is made isotropic, (1 - a) Sigma + a (tr Sigma
        / d) I: with few training images it denoises new ones better. Or the share that comes
        nearest to the covariance of the law, by Ledoit and Wolf's estimate.
    device : str or torch.device
        "auto", or a torch device.

    Attributes
    ----------
    shrinkage : float
        The share a, in [0, 1].

    Raises
    ------
    ValueError
        If there are no points, values are not finite, or the shrinkage is none.

    References
    ----------
    Eq. 7 of the paper; here :prf:ref:`def-gaussian-denoiser`. The shrinkage is that of Ledoit and
    Wolf (2004, "A well-conditioned estimator for large-dimensional covariance matrices").

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import GaussianDenoiser
    >>> denoise = GaussianDenoiser(np.array([[-1.0], [1.0]]))
    >>> denoise(np.array([[4.0]]), 1.0).tolist(), denoise.error([1.0]).tolist()
    ([[2.0]], [0.5])
    """

    def __init__(
        self,
        train: Array,
        *,
        shrinkage: float | Literal["ledoit-wolf"] = 0.0,
        device: str | torch.device = "auto",
    ):
        self._train = Points(train, "train", device)
        self._centre, self._variances, self._axes = _principal(self._train)
        if shrinkage == "ledoit-wolf":
            shrinkage = _ledoit_wolf(self._train, self._centre, self._variances)
        if isinstance(shrinkage, str) or not 0 <= shrinkage <= 1:
            raise ValueError(f"shrinkage: a share in [0, 1] or 'ledoit-wolf', got {shrinkage!r}.")
        self.shrinkage = shrinkage
        self._isotropic = self.shrinkage * self._variances.sum() / self._train.dim

    def __call__(self, x: Kind, sigma: float | Array) -> Kind:
        """The denoised inputs.

        Parameters
        ----------
        x : array (Q, ...)
            The noisy inputs, in data units.
        sigma : float or array (Q,)
            Noise level in data units, > 0: one for all inputs, or one for each.

        Returns
        -------
        array of the shape, kind and floating dtype of x
            The denoised inputs, in data units.

        Raises
        ------
        ValueError
            If sizes differ from the training points', values are not finite, or sigma <= 0.
        """
        q = queries_of(x, self._train)
        noise = per_query(sigma, q) ** 2
        result = torch.empty(len(q), q.dim, dtype=torch.float64, device=q.device)
        for rows in q.slices(QUERY_ROWS):
            block = q.block(rows, self._centre)
            gain, beyond = self._gains(noise[rows])
            along = (block @ self._axes.T * (gain - beyond)) @ self._axes
            result[rows] = along + beyond * block + self._centre
        return like(result.reshape(q.shape), x, dtype=True)

    def error(self, sigmas: Array) -> Floats:
        """Its error on the training set at (S,) noise levels, as `linear_mmse`: (S,) float64."""
        levels = check_sigmas(sigmas)
        return self._errors(self._variances[None], self._variances.new_zeros(1), levels)[0]

    def error_on(self, images: Array, sigmas: Array) -> ErrorCurve:
        """Its error on images (Q, ...), as `denoising_error`, but with the mean over all noise.

        Parameters
        ----------
        images : array (Q, ...)
            Clean images, in data units.
        sigmas : array (S,)
            Noise levels, data units, > 0.

        Returns
        -------
        ErrorCurve
            Data units squared, with a 95% interval over the images.

        Raises
        ------
        ValueError
            If sizes differ from the training points', values are not finite, or sigma <= 0.
        """
        q, levels = queries_of(images, self._train), check_sigmas(sigmas)
        errors = np.empty((len(q), len(levels)))
        for rows in q.slices(QUERY_ROWS):
            block = q.block(rows, self._centre)
            along = (block @ self._axes.T).square()
            beyond = (block.square().sum(1) - along.sum(1)).clamp(min=0)
            errors[rows] = self._errors(along, beyond, levels)
        return ErrorCurve.from_queries(levels, errors)

    def _errors(self, along: torch.Tensor, beyond: torch.Tensor, levels: Floats) -> Floats:
        """(Q, S) errors of images with squares (Q, r) along the axes and (Q,) beyond them."""
        sigma = torch.from_numpy(levels)[:, None].to(along.device)
        gain, other = self._gains(sigma**2)
        others = self._train.dim - len(self._axes)
        noise = (gain * sigma).square().sum(1) + others * (other * sigma).square()[:, 0]
        errors = along @ (1 - gain).square().T + noise
        if others:
            errors += beyond[:, None] * (1 - other).square().T
        return errors.cpu().numpy()

    def _gains(self, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is kept at squared noise levels (Q, 1): (Q, r) along each axis, (Q, 1) beyond."""
        variances = (1 - self.shrinkage) * self._variances + self._isotropic
        return _gain(variances, noise), _gain(self._isotropic, noise)


def gaussian_denoiser(
    x: Kind, train: Array, sigma: float | Array, *, device: str | torch.device = "auto"
) -> Kind:
    """The Gaussian denoiser mu + Sigma (Sigma + sigma^2 I)^{-1} (x - mu).

    mu and Sigma are the exact mean and covariance of the training set. It is the optimal
    denoiser of Gaussian data, and the best affine one for any. This is one call of
    `GaussianDenoiser`, which for several calls is prepared once.

    Parameters
    ----------
    x : array (Q, ...)
        The noisy inputs, in data units.
    train : array (N, ...)
        The training set.
    sigma : float or array (Q,)
        Noise level in data units, > 0: one for all inputs, or one for each.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    array of the shape, kind and floating dtype of x
        The denoised inputs, in data units.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, or sigma <= 0.

    References
    ----------
    Eq. 7 of the paper; here :prf:ref:`def-gaussian-denoiser`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import gaussian_denoiser
    >>> gaussian_denoiser(np.array([[4.0]]), np.array([[-1.0], [1.0]]), 1.0).tolist()
    [[2.0]]
    """
    return GaussianDenoiser(train, device=device)(x, sigma)


def linear_gap(
    train: Array,
    sigmas: Array,
    *,
    queries: Array | None = None,
    draws: int = 4,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> ErrorCurve:
    """The measured mean squared gap between the empirical and the Gaussian denoiser.

    ``E ||m_sigma(X_sigma) - m^G_sigma(X_sigma)||^2``, X drawn from the queries, X_sigma = X +
    sigma Z. Both denoisers see an input only through its projection on the span of the training
    set, so everything is computed there.

    Parameters
    ----------
    train : array (N, ...)
        The training set D, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    queries : array (Q, ...) or None
        Where noise is added; None for the training points (as `linear_gap_law` wants it).
    draws : int
        Noise draws per query, >= 1; the same draws serve every noise level.
    seed : int
        Seed of the noise.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    ErrorCurve
        Data units squared, with a 95% interval over queries.

    Raises
    ------
    ValueError
        As `gaussian_denoiser`, or if draws < 1.

    References
    ----------
    To Theorem 4.11 of the paper, ours; here :prf:ref:`theorem-4-11-noisy`.

    Examples
    --------
    >>> from geomem import linear_gap
    >>> gap = linear_gap([[0.0], [0.0], [3.0]], [1.0, 10.0])
    >>> bool(gap.mean[1] < gap.mean[0] / 100)
    True
    """
    levels = check_sigmas(sigmas)
    q, t = pair(train if queries is None else queries, train, device)
    centre, variances, axes = _principal(t)
    atoms, clean = (
        torch.cat([points.block(rows, centre) @ axes.T for rows in points.slices(TRAIN_ROWS)])
        for points in (t, q)
    )
    gaps = np.zeros((len(q), len(levels)))
    for draw in range(check_count("draws", draws)):
        stream = np.random.default_rng([seed, draw])
        noise = torch.from_numpy(stream.standard_normal((len(q), t.dim))).to(t.device) @ axes.T
        for s, sigma in enumerate(levels.tolist()):
            noisy = clean + sigma * noise
            gap = empirical_denoiser(noisy, atoms, sigma, device=t.device)
            gap -= noisy * _gain(variances, sigma**2)
            gaps[:, s] += gap.square().sum(1).cpu().numpy() / draws
    return ErrorCurve.from_queries(levels, gaps)


def linear_gap_law(
    train: Array, sigmas: Array, *, order: int = 3, device: str | torch.device = "auto"
) -> Floats:
    """What `linear_gap` on the training points tends to at large noise.

    ``||kappa_3||^2 / (2 sigma^4)``, with a relative error of O(sigma^-2); kappa_3 is the third
    cumulant of the training set. Where it is 0 (a symmetric cloud, say), ``order=4``:
    ``||kappa_4||^2 / (6 sigma^6)``. Asymptotic, not a bound.

    Parameters
    ----------
    train : array (N, ...)
        The training set, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    order : int
        Order of the cumulant: 3, or 4 where the third vanishes.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    array (S,)
        float64, data units squared.

    Raises
    ------
    ValueError
        If values are not finite, sigma <= 0, or the order is neither 3 nor 4.

    References
    ----------
    To Theorem 4.11 of the paper, ours; here :prf:ref:`theorem-4-11-noisy`.

    Examples
    --------
    >>> from geomem import linear_gap_law
    >>> linear_gap_law([[0.0], [0.0], [3.0]], [1.0, 10.0]).round(6).tolist()
    [2.0, 0.0002]
    """
    levels = check_sigmas(sigmas)
    size = cumulant_norm2(train, order, device=device)
    return size / (2 * levels**4) if order == 3 else size / (6 * levels**6)


def linear_gap_bound(
    train: Array, sigmas: Array, radius: float | Array, *, device: str | torch.device = "auto"
) -> Floats:
    """Bound on the distance of both denoisers, at every input at most ``radius`` from the mean.

    ``||m_sigma(x) - m^G_sigma(x)||`` is at most the following for all ``||x - mu|| <= r``, with R
    the largest distance of a training point to mu and lambda_1 the largest eigenvalue of Sigma::

        R^3 / (8 sigma^2) + R osc^2 / 4 + lambda_1^2 r / sigma^4,
        osc = ((r + R)^2 - max(r - R, 0)^2) / (2 sigma^2)

    It holds for every sigma and r, and says something only where it is below R + r.

    Parameters
    ----------
    train : array (N, ...)
        The training set, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    radius : float or array (S,)
        The radius r in data units, >= 0: one for all noise levels, or one for each.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    array (S,)
        float64, data units (not squared).

    Raises
    ------
    ValueError
        If sigma <= 0, a radius is negative, or the radii do not match the sigmas.

    References
    ----------
    Theorem 4.11 of the paper; the constant is our reconstruction; here :prf:ref:`theorem-4-11`.

    Examples
    --------
    >>> from geomem import linear_gap_bound
    >>> linear_gap_bound([[-1.0], [1.0]], [10.0], radius=1.0).round(5).tolist()
    [0.00145]
    """
    levels = check_sigmas(sigmas)
    host = radius.detach().cpu().double() if isinstance(radius, torch.Tensor) else radius
    r = np.asarray(host, dtype=np.float64)
    if r.shape not in ((), levels.shape) or not np.all(np.isfinite(r) & (r >= 0)):
        raise ValueError(f"radius: expected one finite number >= 0, or {len(levels)} of them.")
    t = Points(train, "train", device)
    centre, variances, _ = _principal(t)
    farthest = max(float(t.block(rows, centre).norm(dim=1).max()) for rows in t.slices(TRAIN_ROWS))
    scaled, unit = r / levels, farthest / levels
    osc = np.where(r >= farthest, 2 * scaled * unit, (scaled + unit) ** 2 / 2)  # no cancellation
    curvature = float(variances.max()) ** 2 * r / levels**4
    return farthest**3 / (8 * levels**2) + farthest * osc**2 / 4 + curvature


def linear_mmse(train: Array, sigmas: Array, *, device: str | torch.device = "auto") -> Floats:
    """The error of the best affine denoiser, sum_k lambda_k sigma^2 / (lambda_k + sigma^2).

    ``E ||X - m^G_sigma(X_sigma)||^2`` with X uniform on the training set, lambda_k the eigenvalues
    of its covariance. It exceeds the error of the empirical denoiser by exactly the gap of
    `linear_gap`.

    Parameters
    ----------
    train : array (N, ...)
        The training set, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    array (S,)
        float64, data units squared, increasing in sigma from 0 to tr Sigma.

    Raises
    ------
    ValueError
        If values are not finite, or sigma <= 0.

    References
    ----------
    To Theorem 4.11 of the paper, ours; here :prf:ref:`theorem-4-11-mmse`.

    Examples
    --------
    >>> from geomem import linear_mmse
    >>> linear_mmse([[-1.0], [1.0]], [1.0, 1000.0]).round(4).tolist()
    [0.5, 1.0]
    """
    return GaussianDenoiser(train, device=device).error(sigmas)


def cumulant_norm2(train: Array, order: int = 3, *, device: str | torch.device = "auto") -> float:
    """|kappa_3|^2 or |kappa_4|^2, squared Frobenius norms of the cumulants of the training set.

    |kappa_3|^2 = E <xi, xi'>^3 over all pairs, and
    |kappa_4|^2 = E <xi, xi'>^4 - 6 E (xi^T Sigma xi)^2 + 3 (tr Sigma^2)^2 + 6 tr Sigma^4:
    no tensor is formed, the pairs are streamed.

    Parameters
    ----------
    train : array (N, ...), the training set, in data units.
    order : 3 or 4.
    device : "auto", or a torch device.

    Returns
    -------
    float >= 0, in data units to the power 2 * order.
    """
    if order not in (3, 4):
        raise ValueError(f"order must be 3 or 4, got {order}.")
    t = Points(train, "train", device)
    centre, variances, _ = _principal(t)
    total = quadratic = 0.0
    for products in _products(t, centre):
        total += float(products.pow(order).sum()) / len(t) ** 2
        if order == 4:  # the mean of <xi, xi'>^2 over xi' is xi^T Sigma xi
            quadratic += float(products.square().mean(1).square().sum()) / len(t)
    if order == 4:
        squares, fourths = (float(variances.pow(k).sum()) for k in (2, 4))
        total += 3 * squares**2 + 6 * fourths - 6 * quadratic
    return max(total, 0.0)  # an exact 0 may round below it


def _products(t: Points, centre: torch.Tensor) -> Iterator[torch.Tensor]:
    """Rows of the Gram matrix <xi_i, xi_j>, a block of i at a time, all j."""
    for rows in t.slices(TRAIN_ROWS):
        block = t.block(rows, centre)
        columns = [block @ t.block(other, centre).T for other in t.slices(TRAIN_ROWS)]
        yield torch.cat(columns, 1)


def _gain(variances: torch.Tensor, noise: torch.Tensor | float) -> torch.Tensor:
    """lambda / (lambda + sigma^2); 0 where lambda = 0, even if sigma^2 is 0 in float64."""
    return torch.where(variances > 0, variances / (variances + noise), 0.0)


def _ledoit_wolf(t: Points, centre: torch.Tensor, variances: torch.Tensor) -> float:
    """Their share: what chance does to the covariance, over how far from isotropic it is.

    By the variances and the lengths alone: libraries go over all d x d entries.
    """
    blocks = (t.block(rows, centre) for rows in t.slices(TRAIN_ROWS))
    fourth = float(sum(block.square().sum(1).square().sum() for block in blocks)) / len(t)
    size, total = float(variances.square().sum()), float(variances.sum())
    spread, chance = size - total**2 / t.dim, (fourth - size) / len(t)
    return min(max(chance, 0.0) / spread, 1.0) if spread > 0 else 0.0


def _principal(t: Points) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (d,), variances (r,) and principal axes (r, d) of the set, r = min(N, d)."""
    centre = t.mean()
    if len(t) <= t.dim:
        _, singular, axes = torch.linalg.svd(t.block(slice(None), centre), full_matrices=False)
        return centre, singular.square() / len(t), axes
    scatter = torch.zeros(t.dim, t.dim, dtype=torch.float64, device=t.device)
    for rows in t.slices(TRAIN_ROWS):
        block = t.block(rows, centre)
        scatter += block.T @ block
    variances, vectors = torch.linalg.eigh(scatter / len(t))
    return centre, variances.clamp(min=0), vectors.T
