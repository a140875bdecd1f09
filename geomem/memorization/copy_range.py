"""The copy window: where on the schedule a sample can become a copy, and be undone (ours)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import ErrorCurve
from geomem.geometry.denoiser import Denoiser
from geomem.geometry.distances import nearest_distances
from geomem.geometry.intervals import Estimate
from geomem.geometry.regimes import GRID, Geometry, measure_regimes
from geomem.geometry.window import Window
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import denoising_error


@dataclass(frozen=True)
class CopyRange:
    """Where on the schedule a sample can become a copy of a training set, and be undone (ours).

    Attributes
    ----------
    geometry : coverage, concentration and danger zone of the training set.
    edge : the level down to which a copy can be undone (`copy_edge`), data units, with what the
        interval of the error makes of it; NaN where the error does not reach what that needs,
        between 0.01 and 4.
    """

    geometry: Geometry
    edge: Estimate

    @classmethod
    def of(
        cls,
        distinct: DistinctImages,
        heldout: Array,
        denoise: Denoiser,
        *,
        c: float = 5.0,
        level: float = 0.8,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> CopyRange:
        """Measured on held-out images (Q, ...); no sample is drawn.

        Parameters
        ----------
        distinct : the training set.
        denoise : a denoiser that does not copy it.
        c, level : as in `measure_regimes`.
        seed : of the noise and of the resampling.
        """
        images = distinct.images
        geometry = measure_regimes(heldout, images, c=c, level=level, seed=seed, device=device)
        error = denoising_error(denoise, heldout, GRID[GRID < 4], seed=seed, device=device)
        nearest = float(np.median(nearest_distances(images, images, 2, device=device)[:, 1]))
        # The larger the error, the lower the level that reaches a given one.
        value, low, high = (copy_edge(error.sigma, e, nearest) for e in _mean_high_low(error))
        known = math.isfinite(low) and math.isfinite(high)
        return cls(geometry, Estimate(value, low, high) if known else Estimate(value))

    @property
    def zone(self) -> Window:
        """The danger zone, as `Geometry.zone`."""
        return self.geometry.zone

    @property
    def window(self) -> Window:
        """The copy window: from half of the edge, or the zone's lower end, to its upper end."""
        return Window(float(np.nanmin([self.edge.value / 2, self.zone.low])), self.zone.high)

    @property
    def in_words(self) -> dict[str, str]:
        """The zone, its ends "zone_from" and "zone_to" with intervals, and the edge, as text."""
        return {**self.geometry.in_words, "edge": str(self.edge)}


def copy_edge(sigma: Floats, error: Floats, nearest: float) -> float:
    """The noise level below which a denoiser hardly changes whether a sample is a copy (ours).

    A copy passes the ratio test while it is less than a third of ``nearest`` away from its
    training image, and a sample drawn from noise level sigma with a good denoiser is about
    2 MSE(sigma) away, squared, from what it would have been: so where
    2 MSE(sigma) = (nearest / 3)^2. A rule of thumb, not a theorem.

    Parameters
    ----------
    sigma : (S,) noise levels, data units, ascending.
    error : (S,) denoising error of the large model there, data units squared, rising in sigma.
    nearest : typical distance of a training image to its nearest other one, data units.

    Returns
    -------
    float, data units; NaN where the curve does not reach that error.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        level, spread = np.log(sigma), np.log(2 * error)
    wanted = 2 * math.log(nearest / 3)
    above = np.flatnonzero(spread >= wanted)
    if len(above) == 0 or above[0] == 0:
        return math.nan
    i = int(above[0])
    share = (wanted - spread[i - 1]) / (spread[i] - spread[i - 1])
    return float(np.exp(level[i - 1] + share * (level[i] - level[i - 1])))


def _mean_high_low(error: ErrorCurve) -> tuple[Floats, Floats, Floats]:
    return error.mean, error.high, error.low
