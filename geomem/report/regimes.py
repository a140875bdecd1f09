"""Both curves of a training set, the danger zone, and what is certain of them, to be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from torch import distributed

from geomem.geometry.arrays import Array, Floats
from geomem.geometry.coverage_bounds import (
    CoverageBounds,
    CoverageCertificate,
    coverage_bounds,
    coverage_certificate,
)
from geomem.geometry.curve import Curve
from geomem.geometry.distances import Points
from geomem.geometry.intervals import Estimate
from geomem.geometry.posterior_bounds import falls_below, weight_bounds
from geomem.geometry.regimes import Geometry, measure_regimes
from geomem.plots import STYLE, drawing, files
from geomem.report.images import BOUNDED
from geomem.report.part import Number

AROUND = 4.0  # within this factor of the zone's end concentration is bounded


@dataclass(frozen=True)
class MeasuredRegimes:
    """Of one training set, whole or in shares, all that can be said of its danger zone.

    Attributes
    ----------
    shape : of the training set, (N, ...).
    geometry : both curves and the regimes.
    coverage : bounds on coverage, by distances.
    certificate : what coverage is at least, with confidence.
    weight : proved bounds on concentration; None of more than `BOUNDED` images, whose square they
        take, and in all processes but the first; NaN far from where the zone ends.
    """

    shape: tuple[int, ...]
    geometry: Geometry
    coverage: CoverageBounds
    certificate: CoverageCertificate
    weight: tuple[Floats, Floats] | None

    @classmethod
    def of(
        cls,
        heldout: NDArray[Any],
        train: Array,
        *,
        c: float,
        level: float,
        queries: int | None,
        draws: int,
        seed: int,
        device: str,
        group: distributed.ProcessGroup | None = None,
    ) -> MeasuredRegimes:
        """As `measure_regimes`; ``queries`` is how many images of each kind count, at most."""
        points = Points(train, "train", device, group)
        if queries is not None and queries < len(heldout):
            chosen = np.random.default_rng([seed, draws]).permutation(len(heldout))
            heldout = heldout[np.sort(chosen[:queries])]
        shared: dict[str, Any] = dict(c=c, device=device, group=group)
        geometry = measure_regimes(
            heldout, train, level=level, draws=draws, seed=seed,
            queries=None if queries is None else min(queries, points.total), **shared,
        )  # fmt: skip
        levels, weight = geometry.coverage.sigma, None
        coverage = coverage_bounds(heldout, train, levels, **shared)
        certificate = coverage_certificate(heldout, train, **shared)
        if 1 < points.total <= BOUNDED:
            every = points.at(None).block(slice(0, points.total))
            if points.first == 0:  # each level takes its time
                near = np.abs(np.log(levels / geometry.regimes.concentrated.value)) < np.log(AROUND)
                weight = np.full(len(levels), np.nan), np.full(len(levels), np.nan)
                found = weight_bounds(every, levels[near], seed=seed).bracket("width")
                weight[0][near], weight[1][near] = found
        shape = points.total, *points.shape[1:]
        return cls(shape, geometry, coverage, certificate, weight)

    @property
    def numbers(self) -> dict[str, Number]:
        """What is known of the zone, by the names that an audit has for it."""
        regimes, grid = self.geometry.regimes, self.geometry.coverage.sigma
        start = self.certificate.start(regimes.level)
        found: dict[str, tuple[Estimate | float, str]] = {
            "zone_from": (regimes.covered, "where coverage is reached"),
            "zone_to": (regimes.concentrated, "where weights spread"),
            "crossing": (regimes.crossing, "where both curves cross"),
            "zone_from_latest": (start, "where coverage is reached at the latest, 95% confidence"),
        }
        if self.weight is not None:
            least, most = falls_below(grid, *self.weight, regimes.level)
            found["zone_to_least"] = least, "where weights spread at the earliest, proved"
            found["zone_to_most"] = most, "where weights spread at the latest, proved"
        return {name: Number.of(x, "data units", what) for name, (x, what) in found.items()}

    @property
    def bounds(self) -> dict[str, tuple[Floats, Floats]]:
        """A lower and an upper bound on each curve, where there are some."""
        found = {"C_sigma": (self.coverage.lower_nearest, self.coverage.upper_sum)}
        return found if self.weight is None else {**found, "W_sigma": self.weight}

    @property
    def table(self) -> dict[str, Floats]:
        """Both curves and their bounds over the noise levels."""
        columns = self.geometry.table()
        for name, (lower, upper) in self.bounds.items():
            columns[f"{name}, lower bound [probability]"] = lower
            columns[f"{name}, upper bound [probability]"] = upper
        return columns

    @property
    def picture(self) -> bytes:
        """Both curves with their bounds, and the regimes, as SVG."""
        curves: dict[str, Any] = {
            "C_sigma": self.geometry.coverage, "W_sigma": self.geometry.weight
        }  # fmt: skip
        for name, (lower, upper) in self.bounds.items():
            curves[f"{name[0]}, lower bound"] = Curve.from_table(curves[name].sigma, lower)
            curves[f"{name[0]}, upper bound"] = Curve.from_table(curves[name].sigma, upper)
        colors = [drawing.SERIES[name][0] for name in self.bounds]
        looks = [(color, "", line) for color in colors for line in (":", "--")]
        with plt.style.context(STYLE):
            fig, _ = drawing.noise_curves(
                curves, "probability", looks, regimes=self.geometry.regimes,
                height=3.0, every=3,
            )  # fmt: skip
            drawn = files.picture(fig, "regimes", "svg")
            plt.close(fig)
        return drawn
