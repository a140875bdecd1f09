"""The scale of the danger zone, from two lengths of a data set, beside the measured zone (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.geometry.arrays import Array
from geomem.geometry.coverage_bounds import coverage_sigma
from geomem.geometry.distances import nearest_distances, rms_radius
from geomem.geometry.regimes import Regimes, measure_regimes


@dataclass(frozen=True)
class ZoneScale:
    """A measured danger zone and what two lengths say of it.

    Attributes
    ----------
    n, d : training images, and their dimension.
    regimes : the measured zone.
    sigma_cov : where coverage turns on: `coverage_sigma` of the median distance from a held-out
        image to its nearest training image. Data units.
    sigma_star : R_rms / sqrt(2 log N), R_rms the root mean square distance of the training images
        to their mean. The weight falls on this scale; it is a threshold for equidistant points
        only. Data units.
    """

    n: int
    d: int
    regimes: Regimes
    sigma_cov: float
    sigma_star: float


def zone_scale(
    heldout: Array,
    train: Array,
    *,
    c: float = 5.0,
    level: float = 0.8,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> ZoneScale:
    """The danger zone of a training set with its scale.

    Parameters
    ----------
    heldout : array (Q, ...), images that the training set does not hold, in data units.
    train : array (N, ...), N >= 2, the training set.
    c, level, seed, device : as in `measure_regimes`.

    Raises
    ------
    ValueError : as `measure_regimes`.
    """
    found = measure_regimes(heldout, train, c=c, level=level, seed=seed, device=device)
    n, d = len(train), int(np.prod(np.shape(train)[1:]))
    distances = torch.as_tensor(nearest_distances(heldout, train, device=device))
    nearest = float(np.median(distances.cpu().numpy()))
    star = rms_radius(train, device=device) / np.sqrt(2 * np.log(n))
    return ZoneScale(n, d, found.regimes, float(coverage_sigma(nearest, d, c)), float(star))


def scale_table(scales: Sequence[ZoneScale]) -> dict[str, NDArray[Any]]:
    """Zones and scales of several training sets, each column under a heading with its unit."""
    table = {"N [images]": np.array([one.n for one in scales])}
    table["d [pixels]"] = np.array([one.d for one in scales])
    for name, edge in (("zone begins", "covered"), ("zone ends", "concentrated")):
        edges = [getattr(one.regimes, edge) for one in scales]
        table[f"{name} [sigma, data units]"] = np.array([edge.value for edge in edges])
        table[f"{name}, low [sigma, 95% interval]"] = np.array([edge.low for edge in edges])
        table[f"{name}, high [sigma, 95% interval]"] = np.array([edge.high for edge in edges])
    table["sigma_cov [data units]"] = np.array([one.sigma_cov for one in scales])
    table["sigma* [data units]"] = np.array([one.sigma_star for one in scales])
    return table
