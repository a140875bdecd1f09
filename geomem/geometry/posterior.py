"""Posterior weights, the empirical optimal denoiser, and W_sigma (Eqs. 2, 3; Def. 4.1).

Given noisy data X_sigma = X + sigma Z with X uniform on the training set x_1..x_N, the
posterior weight w_i(x, sigma) is the probability that X = x_i given X_sigma = x, and the
empirical optimal denoiser is the posterior mean. W_sigma says how concentrated it is.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import distributed

from geomem.geometry.arrays import Array, Floats, Kind, check_count, check_sigmas
from geomem.geometry.curve import Curve
from geomem.geometry.distances import (
    QUERY_ROWS,
    TRAIN_ROWS,
    NoisyBlock,
    Place,
    Points,
    check_draws,
    like,
    over_noisy_blocks,
    pair,
    per_query,
    queries_of,
)
from geomem.geometry.integer_products import factor, products
from geomem.geometry.ranks import log_sum

KEPT_BYTES = 2**28  # a training set up to this size is kept as float64; a larger one is read anew
REACH = 50.0  # nats below the largest from where weights are left out: of 1e9 all less than 1e-12
LEAST = 1e-200  # of sigma^2 that is divided by: even of data of 1e30 no quotient is infinite


class EmpiricalDenoiser:
    """The empirical optimal denoiser of one training set, prepared once for many calls.

    ``denoise(x, sigma)`` is the posterior mean sum_i w_i(x, sigma) x_i, and ``weights(x, sigma)``
    are the w_i. Both are streamed over the training set with a running maximum, so that memory
    grows neither with N nor with Q * N.

    Parameters
    ----------
    train : array (N, ...)
        The training set, in data units.
    device : str or torch.device
        "auto", or a torch device.

    Raises
    ------
    ValueError
        If there are no points, or values are not finite.

    References
    ----------
    Eq. 2 and Eq. 3 of the paper; here :prf:ref:`def-denoiser`, :prf:ref:`def-weights`.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import EmpiricalDenoiser
    >>> denoise = EmpiricalDenoiser(np.array([[0.0], [1.0]]))
    >>> denoise(np.array([[0.5]]), 0.1).tolist(), denoise.weights(np.array([[0.5]]), 0.1).tolist()
    ([[0.5]], [[0.5, 0.5]])
    """

    def __init__(self, train: Array, *, device: str | torch.device = "auto"):
        self._train = Points(train, "train", device)
        self._centre = self._train.mean()
        kept = 8 * len(self._train) * self._train.dim <= KEPT_BYTES
        self._kept = list(self._read()) if kept else None

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
            For each input a point of the training set's convex hull.

        Raises
        ------
        ValueError
            If sizes differ from the training points', values are not finite, or sigma <= 0.
        """
        q = queries_of(x, self._train)
        mean = torch.zeros(len(q), q.dim, dtype=torch.float64, device=q.device)
        total = torch.zeros(len(q), 1, dtype=torch.float64, device=q.device)
        top = torch.full((len(q), 1), -torch.inf, dtype=torch.float64, device=q.device)
        for rows, _, logits, block in self._logits(q, sigma):
            peak = torch.maximum(top[rows], logits.amax(1, keepdim=True))
            shrink = torch.exp(top[rows] - peak)
            weights = torch.exp(logits - peak)
            mean[rows] = mean[rows] * shrink + weights @ block
            total[rows] = total[rows] * shrink + weights.sum(1, keepdim=True)
            top[rows] = peak
        result = mean / total + self._centre
        return like(result.reshape(q.shape), x, dtype=True)

    def weights(self, x: Kind, sigma: float | Array) -> Kind:
        """The posterior weights, as `posterior_weights`: array (Q, N), float64, of x's kind."""
        q = queries_of(x, self._train)
        weights = torch.empty(len(q), len(self._train), dtype=torch.float64, device=q.device)
        for rows, columns, logits, _ in self._logits(q, sigma):
            weights[rows, columns] = logits
        for rows in q.slices(QUERY_ROWS):
            weights[rows] = torch.softmax(weights[rows], 1)
        return like(weights, x)

    def _logits(
        self, q: Points, sigma: float | Array
    ) -> Iterator[tuple[slice, slice, torch.Tensor, torch.Tensor]]:
        """Blocks of log w_i + const: (<x, x_i> - ||x_i||^2 / 2) / sigma^2, both centred.

        Without ||x||^2, which cancels in the softmax, an input far from the data loses no digits.
        """
        squares = (per_query(sigma, q) ** 2).clamp(min=LEAST)
        for rows in q.slices(QUERY_ROWS):
            x = factor(q.block(rows, self._centre))
            for columns, block, half in self._kept or self._read():
                yield rows, columns, (products(x, block) - half) / squares[rows], block

    def _read(self) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
        """The centred training set in blocks, each with its ||x_i||^2 / 2."""
        for columns in self._train.slices(TRAIN_ROWS):
            block = self._train.block(columns, self._centre)
            yield columns, block, (block * block).sum(1) / 2


def posterior_weights(
    x: Kind, train: Array, sigma: float | Array, *, device: str | torch.device = "auto"
) -> Kind:
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
    array (Q, N) of the kind of x
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
    return EmpiricalDenoiser(train, device=device).weights(x, sigma)


def empirical_denoiser(
    x: Kind, train: Array, sigma: float | Array, *, device: str | torch.device = "auto"
) -> Kind:
    """The empirical optimal denoiser m_sigma(x) = sum_i w_i(x, sigma) x_i.

    One call of `EmpiricalDenoiser`, which for several calls is prepared once.

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
    return EmpiricalDenoiser(train, device=device)(x, sigma)


def max_posterior_weight(
    train: Array,
    sigmas: Array,
    *,
    queries: Array | int | None = None,
    draws: int = 4,
    seed: int = 0,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> Curve:
    """Posterior concentration W_sigma(D), the mean of the largest posterior weight.

    W_sigma(D) = E max_i w_i(X + sigma Z, sigma), X drawn from the queries, Z from N(0, I). By the
    definition the queries are the training points themselves (``queries=None``, or a number of
    them); held-out queries answer a different question, and the paper's crossing for cars is only
    found with them.

    Parameters
    ----------
    train : array (N, ...)
        The training set D, in data units.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    queries : array (Q, ...), int or None
        Where noise is added: None for all training points, a number for so many of them, chosen
        at random, an array for points from elsewhere.
    draws : int
        Noise draws per query, >= 1; the same draws serve every noise level. With one draw the
        interval is too wide.
    seed : int
        Seed of the noise and, with ``draws``, of the choice of the queries.
    device : str or torch.device
        "auto", or a torch device.
    group : torch.distributed.ProcessGroup or None
        None: ``train`` is the whole training set, whatever process groups there are. A group: it
        is the share of this process, one part after the other in the order of ranks. All processes
        of the group make this call, with all else equal, and each has the result for the whole.

    Returns
    -------
    Curve
        Values in [1/N, 1], with a 95% interval: for the given training set, over the noise
        and, where they are some of it, over the choice of the queries; for points from elsewhere,
        over the law that they are drawn from.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, sigma <= 0, draws < 1, or the training set
        has fewer points than are asked for.

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
    share = 0.0
    if queries is None or isinstance(queries, (int, np.integer)):
        t = Points(train, "train", device, group)
        some = t.total if queries is None else check_count("queries", queries)
        if some > t.total:
            raise ValueError(f"queries: asked for {some} of {t.total} training points.")
        share, rows = some / t.total, None
        if share < 1:
            stream = np.random.default_rng([seed, draws])  # the noise has those before it
            rows = np.sort(stream.permutation(t.total)[:some])
        q = t.at(rows)
    else:
        q, t = pair(queries, train, device, group)
    lowest, total = _energies(q, t, levels, draws, seed)
    scale = torch.as_tensor(levels, device=q.device)[:, None, None]
    total = log_sum(lowest, total, scale, group)
    largest = (1 / total).permute(2, 1, 0).cpu().numpy()  # the largest weight is 1 / total
    if share == 0:
        return Curve.from_queries(levels, largest.mean(1), indicator=False)
    return Curve.from_draws(levels, largest, share)


def _energies(
    q: Points, t: Points, levels: Floats, draws: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The lowest energy, and the sum of the weights relative to it: (S, draws, Q) both.

    The energy of a training point is -log w_i up to a constant, times sigma. Of two parts of a
    training set the results are joined as those of two blocks are.
    """
    shape = (len(levels), check_draws(draws, 16 * len(levels) * len(q)), len(q))
    lowest = torch.full(shape, torch.inf, dtype=torch.float64, device=q.device)
    total = torch.zeros(shape, dtype=torch.float64, device=q.device)
    sigmas = torch.from_numpy(levels).to(q.device)[:, None, None]

    def measure(block: NoisyBlock) -> tuple[torch.Tensor, torch.Tensor]:
        gap2, tilt = block.nearest()
        energy = tilt + gap2 * (0.5 / sigmas)[..., None]  # (S, K, R, n)
        low = energy.amin(3)
        relative = energy.sub_(low[..., None]).mul_(-1 / sigmas[..., None]).exp_().sum(3)
        # No training point but those has an energy below this one:
        others = block.tilt.amin(2) + gap2[:, -1] * (0.5 / sigmas)
        matter = others < low + REACH * sigmas
        for i in range(0, len(gap2), block.step):
            rows = slice(i, i + block.step)
            for k, s in matter[..., rows].any(2).T.nonzero().tolist():
                sigma = float(levels[s])
                energy = torch.add(block.tilt[k, rows], block.gap2[rows], alpha=0.5 / sigma)
                low[s, k, rows] = least = energy.amin(1)
                energy.sub_(least[:, None]).mul_(-1 / sigma).exp_()
                relative[s, k, rows] = energy.sum(1)
        return low, relative

    def merge(place: Place, found: tuple[torch.Tensor, torch.Tensor]) -> None:
        low, relative = found
        least = torch.minimum(lowest[place], low)
        total[place] *= torch.exp((least - lowest[place]) / sigmas)
        total[place] += relative * torch.exp((least - low) / sigmas)
        lowest[place] = least

    over_noisy_blocks(q, t, draws, seed, measure, merge)
    return lowest, total


def single_precision_error(train: Array, sigma: float, *, seed: int = 0) -> float:
    """How far single precision puts the log-weights off, in nats: why all here is in double.

    The largest error over the first 1,000 training images with noise of one level, when the same
    expansion of the squared distances, ||x||^2 + ||y||^2 - 2 <x, y>, is computed in float32.

    Parameters
    ----------
    train : array (N, ...), in data units.
    sigma : the noise level, data units, > 0.
    seed : of the noise.

    >>> single_precision_error([[0.0], [1.0]], 10.0) < 1e-6
    True
    """
    flat = np.asarray(train).reshape(len(train), -1)
    some = flat[:1000]
    noise = np.random.default_rng(seed).standard_normal(some.shape)
    inputs = (some + sigma * noise).astype(np.float32)

    def log_weights(part: NDArray[np.float32], kind: type[np.floating]) -> Floats:
        x, y = part.astype(kind), flat.astype(kind)
        squared = (x * x).sum(1)[:, None] + (y * y).sum(1) - 2 * x @ y.T
        found: Floats = log_softmax(-squared.astype(np.float64) / (2 * sigma**2), axis=1)
        return found

    return max(
        float(np.abs(log_weights(part, np.float32) - log_weights(part, np.float64)).max())
        for part in np.array_split(inputs, -(-len(inputs) // 100))
    )
