"""The copy window: where on the schedule a sample can become a copy, and be undone (ours)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import first_fall
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
        near = torch.as_tensor(nearest_distances(images, images, 2, device=device))
        nearest = float(np.median(near[:, 1].cpu().numpy()))
        # The larger the error, the lower the level that reaches a given one.
        value, low, high = copy_edge(
            error.sigma, np.stack([error.mean, error.high, error.low]), nearest
        ).tolist()
        known = math.isfinite(low) and math.isfinite(high)
        return cls(geometry, Estimate(value, low, high) if known else Estimate(value))

    @property
    def zone(self) -> Window:
        """The danger zone, as `Geometry.zone`."""
        return self.geometry.zone

    @property
    def ends(self) -> tuple[Estimate, Estimate]:
        """The ends of the copy window, with intervals."""
        regimes = self.geometry.regimes
        begin, end = regimes.covered, regimes.concentrated
        if regimes.medium is None:
            begin, end = regimes.crossing, regimes.crossing / 0.5
        if math.isfinite(self.edge.value):
            begin = min(self.edge / 2, begin, key=lambda end: end.value)
        return begin, end

    @property
    def window(self) -> Window:
        """The copy window: from half of the edge, or the zone's lower end, to its upper end."""
        return Window(*(end.value for end in self.ends))

    @property
    def because(self) -> str:
        """On what the ends of the window stand, in sentences: what is missing is said."""
        start = f"half of the level where a copy can still be undone ({self.edge})"
        if not math.isfinite(self.edge.value):
            start = "the start of the zone, as no level was found where a copy can still be undone"
        elif self.edge.value / 2 > self.zone.low:
            start = f"the start of the zone, which lies below {start}"
        said = f"The window begins at {start}, and ends with the danger zone."
        if self.geometry.regimes.medium is None:
            crossing = self.geometry.regimes.crossing
            said += (
                " There is no danger zone by the rule: in its place stand the level where coverage "
                f"and concentration cross ({crossing}) and twice that level."
            )
        return said

    @property
    def in_words(self) -> dict[str, str]:
        """The zone, the edge, and `because`, as text."""
        zone = self.geometry.zone_in_words
        return {"zone": zone, "edge": str(self.edge), "because": self.because}


def copy_edge(sigma: Floats, error: Floats, nearest: ArrayLike) -> Floats:
    """The noise level below which a denoiser hardly changes whether a sample is a copy (ours).

    A copy passes the ratio test while it is less than a third of ``nearest`` away from its
    training image, and a sample drawn from noise level sigma with a good denoiser is about
    2 MSE(sigma) away, squared, from what it would have been: so where
    2 MSE(sigma) = (nearest / 3)^2. A rule of thumb, not a theorem.

    Parameters
    ----------
    sigma : (S,) noise levels, data units, ascending.
    error : (..., S) denoising error of a model that does not copy there, data units squared,
        rising in sigma.
    nearest : typical distance of a training image to its nearest other one, data units; one, or
        (...,), one for each row.

    Returns
    -------
    array (...), data units; NaN where the curve does not reach that error.
    """
    with np.errstate(divide="ignore"):
        return first_fall(sigma, -np.log(2 * error), -2 * np.log(np.asarray(nearest) / 3))
