"""The shell-only objective at small noise and its many minimizers (Theorem 4.9).

L^sh_sigma(m) = (1/N) sum_i E ||m(x_i + sigma Z) - x_i||^2 1{x_i + sigma Z in S_i} asks a
denoiser m for something on the union of the shells only: off it, m is free.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.special import chdtr, chdtrc

from geomem.geometry.arrays import Array, Floats, check_floats, check_sigmas
from geomem.geometry.coverage import shell_radii
from geomem.geometry.curve import Curve
from geomem.geometry.distances import (
    QUERY_ROWS,
    Points,
    check_draws,
    nearest_distances,
    pair,
    squared_distances,
)

Minimizer = Callable[..., Floats]  # m(x, sigma), of arrays in float64: exact, and no `Denoiser`


def disjoint_sigma(train: Array, c: float = 5.0, *, device: str | torch.device = "auto") -> float:
    """The noise level below which all shells of a training set are disjoint: delta / (2 r_out).

    delta is the smallest distance between two training points. For d >= 2 the level is
    exact: at and above it two shells meet. For d = 1 it is sufficient only, because a shell
    is two intervals there and can interlock with another.

    Parameters
    ----------
    train : array (N, ...)
        The training set, N >= 2, in data units.
    c : float
        Shell parameter of `shell_radii`, > 0.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    float
        Noise level in data units; 0 where a training point is repeated.

    Raises
    ------
    ValueError
        If there are fewer than two points, values are not finite, or c <= 0.

    References
    ----------
    Theorem 4.9 (a) of the paper, our reconstruction; here :prf:ref:`theorem-4-9-formal`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import disjoint_sigma
    >>> round(disjoint_sigma(np.array([[0.0, 0.0], [3.0, 4.0]]), c=0.05), 4)
    1.5124
    """
    points = Points(train, "train", device)
    if len(points) < 2:
        raise ValueError("disjoint_sigma needs at least two training points.")
    delta = float(nearest_distances(train, train, 2, device=device)[:, 1].min())
    return delta / (2 * shell_radii(points.dim, c)[1])


def shell_minimizer(
    train: Array,
    sigma: float,
    fill: Callable[[Floats], Array],
    c: float = 5.0,
    *,
    device: str | torch.device = "auto",
) -> Minimizer:
    """A global minimizer of the shell-only objective, with values of your choice off the shells.

    With phi_i the density of N(x_i, sigma^2 I), it is
    ``sum_i x_i phi_i 1_{S_i} / sum_i phi_i 1_{S_i}`` on the union of the shells: just x_i on S_i
    where the shells are disjoint, and then the objective is 0. Off the union it is ``fill``. Up
    to null sets there is no other minimizer.

    Parameters
    ----------
    train : array (N, ...)
        The training set, in data units.
    sigma : float
        Noise level in data units, > 0.
    fill : callable
        From an array of noisy inputs (n, ...) to an array of the same shape.
    c : float
        Shell parameter of `shell_radii`, > 0.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    callable
        ``m(x, level=sigma)``, from an array (Q, ...) to a float64 array of the same shape;
        another ``level`` gives the minimizer for that noise level.

    Raises
    ------
    ValueError
        If sigma is not one positive number, c <= 0, sizes differ, or ``fill`` returns another
        shape; some of them when m is called.

    References
    ----------
    Theorem 4.9 of the paper, by which the values off the union are arbitrary; here
    :prf:ref:`theorem-4-9`. The formula is our reconstruction, (b) of :prf:ref:`theorem-4-9-formal`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import shell_minimizer
    >>> train = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> m = shell_minimizer(train, 1.0, fill=np.zeros_like, c=0.05)
    >>> m(np.array([[3.0, 5.3], [9.0, 9.0]])).tolist()
    [[3.0, 4.0], [0.0, 0.0]]
    """
    _one_level(sigma)

    def denoiser(x: Array, level: float = sigma) -> Floats:
        noise = _one_level(level)
        q, t = pair(x, train, device)
        centre, points = t.mean(), t.block(slice(None))
        r_in, r_out = shell_radii(t.dim, c)
        inputs: Floats = np.array(q.block(slice(None)).cpu())
        result = inputs.copy()
        covered = np.zeros(len(q), dtype=bool)
        for rows in q.slices(QUERY_ROWS):
            gap2 = squared_distances(q.block(rows, centre), points - centre)
            inside = (gap2 >= (noise * r_in) ** 2) & (gap2 <= (noise * r_out) ** 2)
            on = inside.any(1)
            logits = torch.where(inside, -gap2 / (2 * noise**2), -torch.inf)[on]
            covered[rows] = on.cpu().numpy()
            result[rows][covered[rows]] = (torch.softmax(logits, 1) @ points).cpu().numpy()
        off = inputs[~covered].reshape(-1, *q.shape[1:])
        if len(off):
            values = np.asarray(fill(off), dtype=np.float64)
            if values.shape != off.shape:
                raise ValueError(f"fill: expected the shape {off.shape}, got {values.shape}.")
            result[~covered] = values.reshape(len(off), -1)
        return result.reshape(q.shape)

    return denoiser


def disagreement(
    first: Minimizer,
    second: Minimizer,
    heldout: Array,
    sigmas: Array,
    *,
    draws: int = 4,
    seed: int = 0,
) -> Curve:
    """How often two denoisers differ on a noisy held-out point.

    P(m(Y) != m'(Y)), Y = X + sigma Z. For two minimizers of the shell-only objective it is at
    most 1 - C_sigma, and equal to it where their fills never coincide. The noise is that of
    `shell_coverage` with the same seed.

    Parameters
    ----------
    first, second : callable
        Denoisers m(x, sigma), as `shell_minimizer` makes them.
    heldout : array (Q, ...)
        Images that the training set does not hold, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    draws : int
        Noise draws per image, >= 1; the same draws serve every noise level.
    seed : int
        Seed of the noise.

    Returns
    -------
    Curve
        Values in [0, 1], with a 95% interval over the held-out images.

    Raises
    ------
    ValueError
        If sigma <= 0, draws < 1, or a denoiser raises it.

    References
    ----------
    Theorem 4.9 (d), our reconstruction; here :prf:ref:`theorem-4-9-formal`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import disagreement, shell_minimizer
    >>> train = np.array([[0.0, 0.0], [3.0, 4.0]])
    >>> zeros, ones = (shell_minimizer(train, 1.0, fill) for fill in (np.zeros_like, np.ones_like))
    >>> disagreement(zeros, ones, np.array([[50.0, 50.0]]), [0.5]).mean.tolist()
    [1.0]
    """
    levels, x = check_sigmas(sigmas), check_floats("heldout", heldout)
    differ = np.empty((check_draws(draws, 8 * len(levels) * len(x)), len(levels), len(x)))
    for k in range(draws):
        noise = np.random.default_rng([seed, k]).standard_normal((len(x), x[0].size))
        for s, sigma in enumerate(levels.tolist()):
            noisy = x + sigma * noise.reshape(x.shape)
            unequal = first(noisy, sigma) != second(noisy, sigma)
            differ[k, s] = unequal.reshape(len(x), -1).any(1)
    return Curve.from_queries(levels, differ.mean(0).T, indicator=True)


def shell_losses(
    denoiser: Minimizer,
    train: Array,
    sigma: float,
    c: float = 5.0,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The shell-only objective of a denoiser, and its loss over all the noise, by simulation.

    A noisy point counts for the first where it lies in the shell of its own training point.
    Memory grows as draws * N * d.

    Parameters
    ----------
    denoiser : m(x, sigma).
    train : array (N, ...), in data units.
    sigma : noise level in data units, > 0.
    c : shell parameter of Lemma 4.5, > 0.
    draws : noise draws per training point, >= 1.
    seed : seed of the noise.

    Returns
    -------
    (on the shells, in all), data units squared, >= 0, the first at most the second.

    Raises
    ------
    ValueError : as `shell_minimizer`, or draws < 1.
    """
    noise_level = _one_level(sigma)
    points = check_floats("train", train)
    size = (check_draws(draws, 16 * points.size), len(points), points[0].size)
    noise = np.random.default_rng(seed).standard_normal(size)
    r_in, r_out = shell_radii(size[2], c)
    norms = np.linalg.norm(noise, axis=2)
    noisy = points + noise_level * noise.reshape(draws, *points.shape)
    answers = np.asarray(denoiser(noisy.reshape(-1, *points.shape[1:]), noise_level))
    error = ((answers.reshape(noisy.shape) - points) ** 2).reshape(size).sum(2)
    own = (r_in <= norms) & (norms <= r_out)
    return float(np.mean(error * own)), float(np.mean(error))


def most_lost(d: int, c: float, bound: float) -> float:
    """The whole loss that a minimizer of the shell-only objective has at most, shells disjoint.

    It errs off the own shell alone, by at most ``bound``: P(||Z|| outside the shell) bound^2, which
    is below 2 exp(-c) bound^2. So with c = log(2 bound^2 / epsilon) it is at most epsilon: below
    `disjoint_sigma` of that c every bounded fill of the shells is a denoiser of whole loss at most
    epsilon. Of answers with all pixels in [-1, 1] none is off by more than 2 sqrt(d).

    Parameters
    ----------
    d : dimension, >= 1.
    c : shell parameter of Lemma 4.5, > 0.
    bound : what the minimizer's answer is off at most, wherever the noise ends, data units.

    Returns
    -------
    float, data units squared, >= 0; tails far below the last digit of 1 are computed as such.

    Raises
    ------
    ValueError : as `shell_radii`, or bound is negative or not finite.

    >>> round(most_lost(2, 0.5, 1.0), 4)  # a disc of radius sqrt(5)
    0.0821
    """
    r_in, r_out = shell_radii(d, c)
    if not 0 <= bound < np.inf:
        raise ValueError(f"most_lost: bound must be finite and at least 0, got {bound}.")
    return float((chdtrc(d, r_out**2) + chdtr(d, r_in**2)) * bound**2)


def _one_level(sigma: object) -> float:
    levels = check_sigmas(sigma)
    if len(levels) != 1:
        raise ValueError(f"sigma: expected one noise level, got {len(levels)}.")
    return float(levels[0])
