"""Noise levels on other libraries' clocks: DDPM, flow matching, EDM; and anisotropic noise.

All of these show a network a(x + sigma z), a > 0: the noisy image of this package, rescaled. So a
noise level sigma has one time on each clock, and what is measured at sigma holds at that time.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from geomem.geometry.arrays import Array, Floats, check_floats, check_sigmas
from geomem.geometry.intervals import Estimate

STEPS = 1000  # of the schedules that have a name


@dataclass(frozen=True)
class Schedule:
    """A clock of noise levels: at ``time(sigma)`` a network sees scale(sigma) (x + sigma z).

    Made by `edm`, `vp`, `ddpm` and `flow`; or from functions of your own, each from a float64
    array to one of its shape, with NaN for what is outside the schedule.

    Parameters
    ----------
    name : str
        What the schedule is called.
    clock : str
        What its time is: "timestep", "t" and so on.
    forward : callable
        From noise levels, data units, to times; strictly monotone.
    backward : callable
        Its inverse.
    scaling : callable
        From noise levels to the factor a > 0 of x + sigma z.
    ends : tuple of two floats
        The lowest and the highest noise level that its networks know, data units; 0 and inf
        if there are none.

    References
    ----------
    Ours; the flow's clock, data at 1, is the paper's Remark A.3; here :prf:ref:`prop-clocks`.

    Examples
    --------
    >>> from geomem import Schedule
    >>> ddpm, flow = Schedule.ddpm("linear"), Schedule.flow()
    >>> print(ddpm.time(1.0).round(1), ddpm.sigma(999).round(1), flow.time([0.25, 1.0, 3.0]))
    258.1 157.4 [0.8  0.5  0.25]
    """

    name: str
    clock: str
    forward: Callable[[Floats], Floats]
    backward: Callable[[Floats], Floats]
    scaling: Callable[[Floats], Floats]
    ends: tuple[float, float] = (0.0, math.inf)

    @classmethod
    def edm(cls) -> Schedule:
        """EDM, and any variance-exploding schedule: the time is sigma, nothing is rescaled."""
        return cls("EDM", "sigma", np.copy, np.copy, np.ones_like)

    @classmethod
    def vp(cls) -> Schedule:
        """Variance preserving, sqrt(alpha_bar) x + sqrt(1 - alpha_bar) z: the time is alpha_bar.

        It falls from 1, no noise, to 0.
        """
        return cls("VP", "alpha_bar", _alpha_bar, _of_alpha_bar, _vp_scale)

    @classmethod
    def ddpm(cls, alphas_cumprod: str | ArrayLike | torch.Tensor = "linear") -> Schedule:
        """DDPM's integer timesteps 0 to T - 1, between which log sigma is interpolated linearly.

        Parameters
        ----------
        alphas_cumprod : str or array (T,)
            alpha_bar of every timestep, strictly falling in (0, 1), as ``scheduler.alphas_cumprod``
            of diffusers; a last one of 0 (no signal) is left out. Or the name of a schedule of
            1,000 steps: "linear", "scaled_linear" (Stable Diffusion's) or "cosine".

        Returns
        -------
        Schedule
            Its time is the timestep, counted from 0; a network that takes whole ones wants it
            rounded.

        Raises
        ------
        ValueError
            For another name, or an array that does not fall strictly in (0, 1).
        """
        if isinstance(alphas_cumprod, str):
            name, alpha_bar = f"DDPM, {alphas_cumprod}", _named(alphas_cumprod)
        else:
            name, alpha_bar = "DDPM", _values(alphas_cumprod)
        if alpha_bar.ndim == 1 and len(alpha_bar) > 1 and alpha_bar[-1] == 0:
            alpha_bar = alpha_bar[:-1]
        falling = alpha_bar.ndim == 1 and len(alpha_bar) > 1 and np.all(np.diff(alpha_bar) < 0)
        if not falling or not 0 < alpha_bar[-1] < alpha_bar[0] < 1:
            raise ValueError("alphas_cumprod: expected (T,) numbers that fall strictly in (0, 1).")
        sigmas = _of_alpha_bar(alpha_bar)
        steps, logs = np.arange(len(sigmas)), np.log(sigmas)

        def forward(sigma: Floats) -> Floats:
            return np.interp(np.log(sigma), logs, steps, left=np.nan, right=np.nan)

        def backward(step: Floats) -> Floats:
            return np.exp(np.interp(step, steps, logs, left=np.nan, right=np.nan))

        low, *_, high = sigmas.tolist()
        return cls(name, "timestep", forward, backward, _vp_scale, (low, high))

    @classmethod
    def flow(cls, data_at: int = 1) -> Schedule:
        """Flow matching and rectified flow along straight lines between noise z and image x.

        Parameters
        ----------
        data_at : int
            1: t x + (1 - t) z, so t = 1 / (1 + sigma) (Lipman et al., Liu et al., the paper).
            0: (1 - t) x + t z, so t = sigma / (1 + sigma) (Stable Diffusion 3, FLUX, diffusers,
            whose networks take 1000 t).

        Returns
        -------
        Schedule
            Its time is t, strictly between 0 and 1.

        Raises
        ------
        ValueError
            If ``data_at`` is neither.
        """
        if data_at not in (0, 1):
            raise ValueError(f"data_at: the images are at t = 0 or at t = 1, got {data_at!r}.")
        name = f"flow, data at {data_at}"
        if data_at:
            return cls(name, "t", _flow_scale, _of_flow_scale, _flow_scale)
        return cls(name, "t", lambda s: s / (1 + s), lambda t: t / (1 - t), _flow_scale)

    def time(self, sigma: ArrayLike | torch.Tensor) -> Floats:
        """The time at which the noise level is sigma.

        Parameters
        ----------
        sigma : float or array
            Noise levels, data units, > 0.

        Returns
        -------
        array of the shape of sigma
            float64, in the unit of ``clock``.

        Raises
        ------
        ValueError
            If sigma is not positive and finite, or the schedule does not have it.
        """
        levels = check_sigmas(sigma).reshape(np.shape(sigma))
        return self._within("sigma", levels, self.forward(levels))

    def sigma(self, time: ArrayLike | torch.Tensor) -> Floats:
        """The noise level at a time, data units: the inverse of `time`.

        Parameters
        ----------
        time : float or array
            Times, in the unit of ``clock``.

        Returns
        -------
        array of the shape of time
            float64, > 0 and finite.

        Raises
        ------
        ValueError
            If a time is outside the schedule, or has no noise, or nothing else.
        """
        times = _values(time)
        with np.errstate(all="ignore"):
            levels = self.backward(times)
        return self._within(self.clock, times, np.where(levels > 0, levels, np.nan))

    def scale(self, sigma: ArrayLike | torch.Tensor) -> Floats:
        """What x + sigma z is multiplied by to be what a network of this schedule sees.

        Parameters
        ----------
        sigma : float or array
            Noise levels, data units, > 0.

        Returns
        -------
        array of the shape of sigma
            float64, > 0.

        Raises
        ------
        ValueError
            If sigma is not positive and finite.
        """
        return self.scaling(check_sigmas(sigma).reshape(np.shape(sigma)))

    def between(self, low: float, high: float) -> Schedule:
        """The same clock for a network that knows the noise levels from low to high only.

        Parameters
        ----------
        low, high : float
            Noise levels, data units, 0 <= low < high.

        Returns
        -------
        Schedule
            Its ``ends`` are these, or its own where they are narrower.

        Raises
        ------
        ValueError
            If nothing is left between them.
        """
        ends = max(low, self.ends[0]), min(high, self.ends[1])
        if not 0 <= ends[0] < ends[1]:
            raise ValueError(f"levels: none from {low:g} to {high:g} are of {self.name!r}.")
        return replace(self, ends=ends)

    def read(self, level: Estimate) -> Estimate:
        """A measured noise level on this clock; NaN for what it does not have.

        Parameters
        ----------
        level : Estimate
            Of a noise level, data units.

        Returns
        -------
        Estimate
            Of the time; the ends of the interval in their order, if it has both.
        """
        value, *ends = self.forward(np.array(level.numbers)).tolist()
        return Estimate(value) if np.isnan(ends).any() else Estimate(value, *sorted(ends))

    def _within(self, what: str, given: Floats, found: Floats) -> Floats:
        if not np.isfinite(found).all():
            one = np.ravel(given)[~np.isfinite(np.ravel(found))][0]
            raise ValueError(f"{what}: {one:g} is outside the schedule {self.name!r}.")
        return np.asarray(found, dtype=np.float64)[()]  # a number for a number


def whiten(points: Array, covariance: ArrayLike | torch.Tensor) -> Floats:
    """Data seen in the units of anisotropic noise: then sigma and all distances are as usual.

    Noise of covariance sigma^2 K, K = L L^T, on x is noise of covariance sigma^2 I on L^-1 x. So
    every quantity of this package, of the whitened data, is that of the data under such noise:
    Euclidean distances of the one are Mahalanobis distances of the other.

    Parameters
    ----------
    points : array (N, ...)
        Training set or held-out images of d numbers each, in data units.
    covariance : array (d, d), or of d variances
        K, symmetric and positive definite; variances alone, in any shape, if it is diagonal.

    Returns
    -------
    array of the shape of points
        float64; units of the noise's standard deviation at sigma = 1.

    Raises
    ------
    ValueError
        If points are not finite, or K has another size or is not positive definite.

    References
    ----------
    Ours; a change of variables; here Eq. :eq:`eq-mahalanobis`, see :doc:`/book/schedules`.

    Examples
    --------
    >>> from geomem import whiten
    >>> whiten([[0.0, 0.0], [4.0, 1.0]], [4.0, 1.0]).tolist()
    [[0.0, 0.0], [2.0, 1.0]]
    """
    x, noise = check_floats("points", points), _values(covariance)
    d = x[0].size
    if noise.size == d and np.all(noise > 0):
        return x / np.sqrt(noise).reshape(x.shape[1:])
    if noise.shape == (d, d) and np.allclose(noise, noise.T):
        with contextlib.suppress(np.linalg.LinAlgError):
            root = np.linalg.cholesky(noise)
            return np.linalg.solve(root, x.reshape(len(x), d).T).T.reshape(x.shape)
    raise ValueError(
        f"covariance: expected {d} variances > 0, or a symmetric, positive definite "
        f"({d}, {d}) matrix."
    )


def _alpha_bar(sigma: Floats) -> Floats:
    return 1 / (1 + sigma**2)


def _of_alpha_bar(alpha_bar: Floats) -> Floats:
    return np.sqrt((1 - alpha_bar) / alpha_bar)


def _vp_scale(sigma: Floats) -> Floats:
    return np.sqrt(_alpha_bar(sigma))


def _flow_scale(sigma: Floats) -> Floats:
    return 1 / (1 + sigma)


def _of_flow_scale(t: Floats) -> Floats:
    return (1 - t) / t


def _named(name: str) -> Floats:
    """alpha_bar of the usual schedules of beta."""
    at = np.cos((np.arange(STEPS + 1) / STEPS + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = {
        "linear": np.linspace(1e-4, 0.02, STEPS),
        "scaled_linear": np.linspace(0.00085**0.5, 0.012**0.5, STEPS) ** 2,
        "cosine": np.minimum(1 - at[1:] / at[:-1], 0.999),
    }
    if name not in betas:
        raise ValueError(f"alphas_cumprod: no schedule {name!r}; there are {', '.join(betas)}.")
    return np.cumprod(1 - betas[name])


def _values(numbers: ArrayLike | torch.Tensor) -> NDArray[np.float64]:
    host = numbers.detach().cpu().double() if isinstance(numbers, torch.Tensor) else numbers
    return np.asarray(host, dtype=np.float64)
