"""The scale of the danger zone, from two lengths of a data set, beside the measured zone (ours)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def plot_scales(ax: Any, groups: Mapping[str, Sequence[ZoneScale]]) -> None:
    """Draw zones and scales into matplotlib axes, one row a training set, from above.

    groups : what varies in each of some groups, "N" or "d", -> its training sets.
    """
    scales = [one for group in groups.values() for one in group]
    group = np.repeat(np.arange(len(groups)), [*map(len, groups.values())])
    place = -np.arange(len(scales)) - group.astype(float)  # a row between two groups
    starts = np.array([one.regimes.covered.value for one in scales])
    stops = np.array([one.regimes.concentrated.value for one in scales])
    zone = starts < stops
    label = "measured danger zone"
    ax.hlines(place[zone], starts[zone], stops[zone], color="0.75", lw=9, label=label)
    none = dict(color="0.75", lw=1.5, ls=":", label=None if zone.all() else "no zone")
    ax.hlines(place[~zone], stops[~zone], starts[~zone], **none)
    covs, stars = [one.sigma_cov for one in scales], [one.sigma_star for one in scales]
    ax.plot(covs, place, "o", color="C0", ls="none", label=r"$\sigma_{\mathrm{cov}}$")
    ax.plot(stars, place, "D", color="C1", ls="none", mfc="w", mew=1.6, label=r"$\sigma^*$")
    names = [f"N = {one.n}" if by == "N" else f"d = {one.d}" for by in groups for one in groups[by]]
    ax.set_yticks(place, names)
    ax.set_ylim(place[-1] - 0.7, 0.7)
