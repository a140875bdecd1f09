"""Images padded with zeros: nothing new to learn, and the danger zone begins elsewhere (ours)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from geomem.geometry.arrays import Array, Floats, check_array
from geomem.geometry.coverage_bounds import coverage_bounds
from geomem.geometry.curve import Curve
from geomem.geometry.distances import nearest_distances
from geomem.geometry.overlap import overlap_coverage
from geomem.geometry.posterior import EmpiricalDenoiser
from geomem.geometry.regimes import Geometry, measure_regimes


def padded(points: Array, d: int) -> Floats:
    """Points (N, ...) as vectors with zeros at their ends: (N, d) float64, in the same units.

    >>> padded([[1.0, 2.0]], 4).tolist()
    [[1.0, 2.0, 0.0, 0.0]]
    """
    array = check_array("points", points)
    host = array.double().cpu().numpy() if isinstance(array, torch.Tensor) else array
    flat = host.reshape(len(host), -1).astype(np.float64)
    if d < flat.shape[1]:
        raise ValueError(f"padded: {d} numbers do not hold points of {flat.shape[1]}.")
    return np.pad(flat, ((0, 0), (0, d - flat.shape[1])))


@dataclass(frozen=True)
class Padding:
    """One training set in spaces of several dimensions.

    Attributes
    ----------
    geometries : dimension -> coverage, concentration and regimes there; the lowest first.
    nearest : dimension -> the lower bound of Theorem 4.8, which knows the nearest image alone.
    overlaps : dimension -> coverage by overlap.
    change : the largest change, from the lowest dimension to the highest, of any nearest distance,
        any posterior weight and any value of the best denoiser, on noisy held-out images at seven
        noise levels. In exact arithmetic it is 0: noise in the new numbers is as far from every
        training image as from any other.
    """

    geometries: dict[int, Geometry]
    nearest: dict[int, Curve]
    overlaps: dict[int, Curve]
    change: float

    @classmethod
    def of(
        cls,
        heldout: Array,
        train: Array,
        dimensions: Iterable[int],
        *,
        c: float = 5.0,
        level: float = 0.8,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> Padding:
        """Measured as every zone is; of the dimensions those that hold the images.

        Parameters
        ----------
        heldout, train : arrays (Q, ...) and (N, ...), data units.
        dimensions : of the spaces; that of the images themselves is the first.
        c, level, seed, device : as in `measure_regimes`.
        """
        own = int(np.prod(np.shape(train)[1:]))
        spaces = [own, *sorted({d for d in dimensions if d > own})]
        sets = {d: (padded(heldout, d), padded(train, d)) for d in spaces}
        options: dict[str, Any] = dict(c=c, seed=seed, device=device)
        geometries = {d: measure_regimes(*pair, level=level, **options) for d, pair in sets.items()}
        grid, nearest, overlaps = geometries[own].weight.sigma, {}, {}
        for d, pair in sets.items():
            lower = coverage_bounds(*pair, grid, c=c, device=device).lower_nearest
            nearest[d] = Curve.from_table(grid, lower)
            overlaps[d] = overlap_coverage(*pair, grid, device=device)
        change = _change(sets[own], sets[spaces[-1]], seed, device)
        return cls(geometries, nearest, overlaps, change)

    @property
    def starts(self) -> dict[int, float]:
        """Dimension -> where the zone begins by the lower bound, data units; NaN: nowhere."""
        level = next(iter(self.geometries.values())).regimes.level
        return {d: curve.passes(level) for d, curve in self.nearest.items()}

    def columns(self) -> dict[str, list[Any]]:
        """The columns of a table, one row a dimension: where the zone begins, and where it ends."""
        edges = [geometry.regimes for geometry in self.geometries.values()]
        return {
            "d": [*self.geometries],
            "zone begins": [edge.covered for edge in edges],
            "by the nearest image alone": [*self.starts.values()],
            "zone ends": [edge.concentrated for edge in edges],
        }


def _change(
    own: tuple[Floats, Floats], wide: tuple[Floats, Floats], seed: int, device: str | torch.device
) -> float:
    (heldout, train), (_, wide_train) = own, wide
    d, noise = heldout.shape[1], np.random.default_rng(seed).standard_normal(wide[0].shape)
    small, large = (EmpiricalDenoiser(of, device=device) for of in (train, wide_train))
    near = [nearest_distances(*pair, device=device) for pair in (own, wide)]
    found = [np.abs(near[1] - near[0]).max()]
    for sigma in np.geomspace(0.05, 50, 7):
        inputs = wide[0] + sigma * noise
        weights = large.weights(inputs, sigma) - small.weights(inputs[:, :d], sigma)
        answer = padded(small(inputs[:, :d], sigma), noise.shape[1])
        found += [np.abs(weights).max(), np.abs(large(inputs, sigma) - answer).max()]
    return float(max(found))
