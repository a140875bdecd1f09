"""Posterior weights, the empirical optimal denoiser, and W_sigma (Eqs. 2, 3; Def. 4.1).

Given noisy data X_sigma = X + sigma Z with X uniform on the training set x_1..x_N, the
posterior weight w_i(x, sigma) is the probability that X = x_i given X_sigma = x, and the
empirical optimal denoiser is the posterior mean. W_sigma says how concentrated it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from geomem.geometry.arrays import Array, check_sigmas
from geomem.geometry.curve import Curve
from geomem.geometry.distances import (
    QUERY_ROWS,
    TRAIN_ROWS,
    Points,
    like,
    noisy_blocks,
    pair,
    per_query,
)


def posterior_weights(
    x: Array, train: Array, sigma: float | Array, *, device: str | torch.device = "auto"
) -> Array:
    """The posterior weights of every training point, given noisy inputs.

    Formula::

        w_i(x, sigma) = exp(-||x - x_i||^2 / (2 sigma^2)) / sum_j exp(-||x - x_j||^2 / (2 sigma^2))

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
    array (Q, N) of the kind of ``x``
        float64, in [0, 1]; each row sums to 1.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, or sigma <= 0.

    References
    ----------
    Eq. 3 of the paper; here :prf:ref:`def-weights`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import posterior_weights
    >>> posterior_weights(np.array([[0.5]]), np.array([[0.0], [1.0]]), 0.1).tolist()
    [[0.5, 0.5]]
    """
    q, t = pair(x, train, device)
    weights = torch.empty(len(q), len(t), dtype=torch.float64, device=q.device)
    for rows, columns, logits, _ in _logits(q, t, per_query(sigma, q)):
        weights[rows, columns] = logits
    for rows in q.slices(QUERY_ROWS):
        weights[rows] = torch.softmax(weights[rows], 1)
    return like(weights, x)


def empirical_denoiser(
    x: Array, train: Array, sigma: float | Array, *, device: str | torch.device = "auto"
) -> Array:
    """The empirical optimal denoiser m_sigma(x) = sum_i w_i(x, sigma) x_i.

    Streamed over the training set with a running maximum, so memory grows neither with
    N nor with Q * N.

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
    array of the shape, kind and floating dtype of ``x``
        For each input a point of the convex hull of ``train``.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, or sigma <= 0.

    References
    ----------
    Eq. 2 of the paper; here :prf:ref:`def-denoiser`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import empirical_denoiser
    >>> empirical_denoiser(np.array([[0.9]]), np.array([[0.0], [1.0]]), 0.1).round(3).tolist()
    [[1.0]]
    """
    q, t = pair(x, train, device)
    centre = t.mean()
    mean = torch.zeros(len(q), t.dim, dtype=torch.float64, device=q.device)
    total = torch.zeros(len(q), 1, dtype=torch.float64, device=q.device)
    top = torch.full((len(q), 1), -torch.inf, dtype=torch.float64, device=q.device)
    for rows, _, logits, block in _logits(q, t, per_query(sigma, q), centre):
        peak = torch.maximum(top[rows], logits.amax(1, keepdim=True))
        shrink = torch.exp(top[rows] - peak)
        weights = torch.exp(logits - peak)
        mean[rows] = mean[rows] * shrink + weights @ block
        total[rows] = total[rows] * shrink + weights.sum(1, keepdim=True)
        top[rows] = peak
    result = mean / total + centre
    return like(result.reshape(q.shape), x, dtype=True)


def max_posterior_weight(
    train: Array,
    sigmas: Array,
    *,
    queries: Array | None = None,
    draws: int = 4,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Curve:
    """Posterior concentration W_sigma(D), the mean of the largest posterior weight.

    W_sigma(D) = E max_i w_i(X + sigma Z, sigma), X drawn from the queries, Z from N(0, I). By the
    definition the queries are the training points themselves (``queries=None``); held-out
    queries answer a different question, and the paper's crossing for cars is only found with
    them.

    Parameters
    ----------
    train : array (N, ...)
        The training set D, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    queries : array (Q, ...) or None
        Where noise is added; None for the training points.
    draws : int
        Noise draws per query, >= 1; the same draws serve every noise level.
    seed : int
        Seed of the noise.
    device : str or torch.device
        "auto", or a torch device.

    Returns
    -------
    Curve
        Values in [1/N, 1], with a 95% interval over queries.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, sigma <= 0 or draws < 1.

    References
    ----------
    Definition 4.1 of the paper; here :prf:ref:`def-concentration`.

    Examples
    --------
    >>> from geomem import max_posterior_weight
    >>> max_posterior_weight([[0.0], [1.0]], [0.01, 100.0]).mean.round(2).tolist()
    [1.0, 0.5]
    """
    levels = check_sigmas(sigmas)
    q, t = pair(train if queries is None else queries, train, device)
    shape = (len(levels), draws, len(q))
    # Per (level, draw, query): the lowest energy so far, and the sum of the weights
    # relative to it. Energies are -log w_i up to a constant, times sigma.
    lowest = torch.full(shape, torch.inf, dtype=torch.float64, device=q.device)
    total = torch.zeros(shape, dtype=torch.float64, device=q.device)
    for block in noisy_blocks(q, t, draws, seed):
        for s, sigma in enumerate(levels.tolist()):
            energy = torch.add(block.tilt, block.gap2, alpha=0.5 / sigma)
            low, seen = (
                lowest[s, block.draw, block.rows],
                total[s, block.draw, block.rows],
            )
            least = torch.minimum(low, energy.amin(1))
            relative = energy.sub_(least[:, None]).mul_(-1 / sigma).exp_().sum(1)
            seen.mul_(torch.exp((least - low) / sigma)).add_(relative)
            low.copy_(least)
    largest = (1 / total).mean(1).T.cpu().numpy()  # the largest weight is 1 / total
    return Curve.from_queries(levels, largest, indicator=False)


def _logits(
    q: Points, t: Points, sigma: torch.Tensor, centre: torch.Tensor | None = None
) -> Iterator[tuple[slice, slice, torch.Tensor, torch.Tensor]]:
    """Blocks of log w_i + const: (<x, x_i> - ||x_i||^2 / 2) / sigma^2, both centred.

    Without ||x||^2, which cancels in the softmax, an input far from the data loses no digits.
    """
    centre = t.mean() if centre is None else centre
    for rows in q.slices(QUERY_ROWS):
        x = q.block(rows, centre)
        for columns in t.slices(TRAIN_ROWS):
            block = t.block(columns, centre)
            logits = (x @ block.T - (block * block).sum(1) / 2) / sigma[rows] ** 2
            yield rows, columns, logits, block
