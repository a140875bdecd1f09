"""Two crossings of coverage and concentration: of training queries, and of held-out ones.

The paper's own crossing for its cars (appendix E.4) we find only with held-out queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from geomem.geometry.arrays import Array
from geomem.geometry.coverage_bounds import coverage_certificate
from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Answer, Estimate, every, less
from geomem.geometry.posterior import max_posterior_weight
from geomem.geometry.regimes import DRAWS, Geometry, Regimes, find_crossing, measure_regimes


@dataclass(frozen=True)
class Crossings:
    """The regimes of a training set, and where held-out queries cross beside.

    Attributes
    ----------
    geometry : coverage, concentration and regimes.
    heldout_weight : W_sigma of held-out queries.
    heldout : where that crosses coverage, data units.
    nearest : the median distance from a held-out image to its nearest training image, data units.
    certified : from where on coverage is at least the level, with 95% confidence, data units;
        NaN where so few held-out images do not say.
    """

    geometry: Geometry
    heldout_weight: Curve
    heldout: Estimate
    nearest: float
    certified: float

    @classmethod
    def of(
        cls,
        heldout: Array,
        train: Array,
        *,
        c: float = 5.0,
        level: float = 0.8,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> Crossings:
        """Measured as `measure_regimes` does, on its grid."""
        found = measure_regimes(heldout, train, c=c, level=level, seed=seed, device=device)
        grid = found.coverage.sigma
        weight = max_posterior_weight(
            train, grid, queries=heldout, draws=DRAWS, seed=seed, device=device
        )
        crossing = find_crossing(found.coverage, weight, paired=True, seed=seed)
        certain = coverage_certificate(heldout, train, c=c, device=device)
        return cls(found, weight, crossing, float(np.median(certain.nearest)), certain.start(level))

    @property
    def regimes(self) -> Regimes:
        return self.geometry.regimes

    @property
    def curves(self) -> dict[str, Curve]:
        """The three curves under the names of their quantities."""
        return {
            "C_sigma": self.geometry.coverage,
            "W_sigma": self.geometry.weight,
            "W_sigma, held-out": self.heldout_weight,
        }

    @property
    def has_zone(self) -> Answer:
        """Whether there is a danger zone: the intervals of its edges do not meet."""
        return less(self.regimes.covered, self.regimes.concentrated)

    @property
    def inside(self) -> Answer:
        """Whether the crossing lies inside the danger zone: no two of the intervals meet.

        Chance moves all three together, so that this rather leaves in doubt what is so.
        """
        begins, ends = self.regimes.covered, self.regimes.concentrated
        crossing = self.regimes.crossing
        return every([self.has_zone, less(begins, crossing), less(crossing, ends)])

    @property
    def earlier(self) -> Answer:
        """Whether held-out queries cross earlier than training queries: as `inside`."""
        return less(self.heldout, self.regimes.crossing)

    @property
    def in_words(self) -> dict[str, str]:
        """The zone, both crossings and the nearest distance, as text.

        "zone" says so where the rule finds none; "covered" and "concentrated" are then two levels
        with no zone between them.
        """
        zone = self.regimes
        between = f"σ from {zone.covered} to {zone.concentrated}"
        none = f"none: coverage passes {zone.level:g} at σ = {zone.covered}, where concentration "
        none += f"is below it from {zone.concentrated} on"
        return {
            "zone": between if zone.medium else none,
            "covered": str(zone.covered),
            "concentrated": str(zone.concentrated),
            "crossing": str(zone.crossing),
            "crossing_value": f"{zone.crossing_value:.3f}",
            "heldout_crossing": str(self.heldout),
            "nearest": f"{self.nearest:.3g}",
            "certified": str(Estimate(self.certified)),
        }
