"""Gaussian shells and coverage C_sigma (Lemma 4.5, Eq. 6, Definition 4.6, Phi of Theorem 4.8)."""

from __future__ import annotations

from typing import Any, overload

import numpy as np
import torch
from torch import distributed

from geomem.geometry.arrays import Array, Floats, Numbers, check_array, check_sigmas
from geomem.geometry.curve import Curve
from geomem.geometry.distances import (
    NoisyBlock,
    Place,
    Points,
    check_draws,
    like,
    over_noisy_blocks,
    pair,
)
from geomem.geometry.ranks import merged

FAR = 40.0  # standard deviations beyond which a normal tail is no float64


def shell_radii(d: float, c: float = 5.0) -> tuple[float, float]:
    """Inner and outer radius of the Gaussian shell, in units of sigma.

    r_in = sqrt(d - 2 sqrt(c d)), r_out = sqrt(d + 2 sqrt(c d) + 2 c). A standard normal
    vector of R^d has its norm between them with probability at least 1 - 2 exp(-c). For
    c >= d/4 the inner radius is 0: the shell is a ball.

    Parameters
    ----------
    d : int or float
        Dimension, >= 1; an estimated one need not be whole.
    c : float
        The larger, the thicker the shell, > 0; the paper uses 5 unless it says otherwise.

    Returns
    -------
    tuple of two floats
        (r_in, r_out), 0 <= r_in < r_out.

    Raises
    ------
    ValueError
        If d < 1, or c is not positive and finite.

    References
    ----------
    Lemma 4.5 of the paper; here :prf:ref:`lemma-4-5`, :prf:ref:`lem-shell`. The inequality is that
    of :cite:t:`laurent2000adaptive`.

    Examples
    --------
    >>> from geomem import shell_radii
    >>> [round(r, 4) for r in shell_radii(3072)]
    [53.1425, 57.705]
    """
    if not 1 <= d < np.inf or not 0 < c < np.inf:
        raise ValueError(f"shell_radii needs d >= 1 and a finite c > 0, got d={d}, c={c}.")
    spread = 2 * np.sqrt(c * d)
    return float(np.sqrt(max(d - spread, 0.0))), float(np.sqrt(d + spread + 2 * c))


@overload
def shell_mass(r: torch.Tensor, d: float, c: float = 5.0) -> torch.Tensor: ...
@overload
def shell_mass(r: float | Numbers, d: float, c: float = 5.0) -> Floats: ...
def shell_mass(r: Any, d: float, c: float = 5.0) -> Any:
    """Probability that noise around a point lands in the shell of another, r sigma away.

    Phi_{d,c}(r) is the probability that ``||Z + r e_1||`` lies in [r_in, r_out], Z ~ N(0, I_d);
    the formula is forced by the definitions. The square of that norm is noncentral chi-square
    with d degrees of freedom and noncentrality r^2.

    Parameters
    ----------
    r : float or array
        Distance over noise level, >= 0.
    d : int or float
        Dimension, as in `shell_radii`.
    c : float
        Shell parameter, as in `shell_radii`.

    Returns
    -------
    array of the shape and kind of r
        float64, in [0, 1], strictly decreasing in r.

    Raises
    ------
    ValueError
        If r is negative or not finite, or `shell_radii` refuses d or c.

    References
    ----------
    Phi of Theorem 4.8 of the paper; here Eq. :eq:`eq-mass`.

    Examples
    --------
    >>> from geomem import shell_mass
    >>> shell_mass([0.0, 10.0, 20.0], 3072).round(3).tolist()
    [0.999, 0.973, 0.052]
    """
    from scipy.stats import ncx2  # a second, which what needs no shell need not wait

    host = r.detach().cpu().double().numpy() if isinstance(r, torch.Tensor) else r
    radius = np.asarray(host, dtype=np.float64)
    if not np.all(np.isfinite(radius) & (radius >= 0)):
        raise ValueError("shell_mass: r must be finite and at least 0.")
    r_in, r_out = shell_radii(d, c)
    # Farther out the mass, at most that of a normal tail beyond FAR, is below every float64, and
    # SciPy answers NaN.
    noncentrality = np.minimum(radius, r_out + FAR) ** 2
    mass = ncx2.cdf(r_out**2, d, noncentrality) - ncx2.cdf(r_in**2, d, noncentrality)
    return like(torch.as_tensor(np.clip(mass, 0.0, 1.0)), r)


def shell_coverage(
    heldout: Array,
    train: Array,
    sigmas: Array,
    *,
    c: float = 5.0,
    draws: int = 8,
    seed: int = 0,
    device: str | torch.device = "auto",
    group: distributed.ProcessGroup | None = None,
) -> Curve:
    """Coverage C_sigma(p, D): how often a noisy new image lies in a shell of the training set.

    C_sigma(p, D) is the probability that X + sigma Z lies in the union of the shells
    ``{y : sigma r_in <= ||y - x_i|| <= sigma r_out}``. X follows the data distribution p, so it
    is drawn from held-out images, never from the training set.

    Parameters
    ----------
    heldout : array (Q, ...)
        Images that the training set does not hold, in data units.
    train : array (N, ...)
        The training set D.
    sigmas : array (S,)
        Noise levels, data units, > 0.
    c : float
        Shell parameter of `shell_radii`, > 0.
    draws : int
        Noise draws per image, >= 1; the same draws serve every noise level.
    seed : int
        Seed of the noise.
    device : str or torch.device
        "auto", or a torch device.
    group : torch.distributed.ProcessGroup or None
        Processes with a share of ``train`` each; see `max_posterior_weight`.

    Returns
    -------
    Curve
        Values in [0, 1], with a 95% interval over the held-out images.

    Raises
    ------
    ValueError
        If sizes differ, values are not finite, sigma <= 0, c <= 0 or draws < 1.

    References
    ----------
    Definition 4.6 of the paper; here :prf:ref:`def-coverage`; its shells are those of Eq. 6,
    :prf:ref:`def-shell`.

    Examples
    --------
    >>> from geomem import shell_coverage
    >>> curve = shell_coverage([[0.0] * 64], [[1.0] * 64], [0.1, 10.0], c=1.0)
    >>> curve.mean.tolist()
    [0.0, 0.875]
    """
    levels = check_sigmas(sigmas)
    q, t = pair(heldout, train, device, group)
    covered = _covered(q, t, levels, shell_radii(t.dim, c), draws, seed)
    covered = merged(covered.byte(), "MAX", group)
    per_query = covered.double().mean(1).T.cpu().numpy()
    return Curve.from_queries(levels, per_query, indicator=True)


def _covered(
    q: Points, t: Points, levels: Floats, radii: tuple[float, float], draws: int, seed: int
) -> torch.Tensor:
    """Whether a noisy query lies in a shell: (S, draws, Q), bool.

    Of two parts of a training set the results are joined by "or".
    """
    shape = (len(levels), check_draws(draws, len(levels) * len(q)), len(q))
    covered = torch.zeros(shape, dtype=torch.bool, device=q.device)
    sigmas = torch.from_numpy(levels).to(q.device)[:, None, None]
    middle, half = (radii[1] ** 2 + radii[0] ** 2) / 2, (radii[1] ** 2 - radii[0] ** 2) / 2

    def measure(block: NoisyBlock) -> torch.Tensor:
        # ||y - x_i||^2 / sigma^2 in [r_in^2, r_out^2], scaled by sigma:
        # |2 tilt + gap2 / sigma - target| <= sigma half.
        target = sigmas * (middle - block.norm2[..., 0])
        gap2, tilt = block.nearest()
        miss = (2 * tilt + gap2 / sigmas[..., None]).sub_(target[..., None])
        hit = miss.abs_().amin(3) <= half * sigmas
        # No training point but those has a sum of the first two terms below this one:
        others = 2 * block.tilt.amin(2) + gap2[:, -1] / sigmas
        undecided = ~hit & (others <= target + half * sigmas)
        for s, k, r in (index.T for index in undecided.nonzero().split(block.step)):
            sigma = sigmas[s, 0]
            miss = (2 * block.tilt[k, r]).add_(block.gap2[r] / sigma).sub_(target[s, k, r, None])
            hit[s, k, r] = miss.abs_().amin(1) <= half * sigma[:, 0]
        return hit

    def merge(place: Place, hit: torch.Tensor) -> None:
        covered[place] |= hit

    over_noisy_blocks(q, t, draws, seed, measure, merge)
    return covered


def coverage_study(
    heldout: Array,
    pool: Array,
    sigmas: Array,
    *,
    size: int,
    trials: int = 200,
    draws: int = 10,
    c: float = 5.0,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Curve:
    """Coverage as the paper's appendix E.2 measures it: every trial has a training set of its own.

    A trial draws a training set from the pool, one held-out image, and noise for it. So the
    interval, over trials, holds the choice of the training set, too.

    Parameters
    ----------
    heldout : array (Q, ...), images that the pool does not hold, in data units.
    pool : array (M, ...), what the training sets are drawn from, without replacement.
    sigmas : (S,) noise levels, data units, > 0.
    size : number N of training images of a trial, 1 to M.
    trials : number of trials, >= 2.
    draws : noise draws in a trial, >= 1.
    c : shell parameter of Lemma 4.5, > 0.
    seed : seed of the choices and of the noise.
    device : "auto", or a torch device.

    Returns
    -------
    Curve of values in [0, 1], with a 95% interval over the trials.

    Raises
    ------
    ValueError : a size that the pool does not have, or as `shell_coverage`.
    """
    rng = np.random.default_rng(seed)
    queries, images = (check_array(*x) for x in (("heldout", heldout), ("pool", pool)))
    seen = []
    for trial in range(trials):
        train = images[rng.choice(len(images), size, replace=False)]
        query = queries[int(rng.integers(len(queries)))][None]
        own = seed + 1 + trial
        curve = shell_coverage(query, train, sigmas, c=c, draws=draws, seed=own, device=device)
        seen.append(curve.per_query[0])
    return Curve.from_queries(check_sigmas(sigmas), np.array(seen), indicator=True)
