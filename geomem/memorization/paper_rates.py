"""The paper's own memorization rates (its Figure 2), and the one of them that needs no training.

The paper's empirical denoiser of 1,000 images of CIFAR-10 can be measured by anybody. They are its
first 1,000, as the copies in the paper's Figure 10 say; random subsets beside them say how much
hangs on that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomem import digitized
from geomem.data.sets import ImageSet, load_dataset
from geomem.digitized import Digitized
from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import Curve
from geomem.geometry.intervals import percent
from geomem.geometry.posterior import EmpiricalDenoiser
from geomem.geometry.regimes import measure_regimes
from geomem.memorization.hump import Hump
from geomem.memorization.ratio_test import RateCurve, memorization_rates

COLUMNS = {
    "empirical": "emp_1k_pct",
    "EDM, N = 1,000": "edm_1k_pct",
    "EDM, N = 50,000": "edm_50k_pct",
}
SHAPE = (1000, 3, 32, 32)  # of the paper's small training set
READING = 0.005  # by how much a mark may be misread


@dataclass(frozen=True)
class PaperRates:
    """The marks of Figure 2.

    Attributes
    ----------
    source : the digitized table.
    rates : denoiser -> (10,) the share of its answers that are memorized, in [0, 1].
    """

    source: Digitized
    rates: Mapping[str, Floats]

    @classmethod
    def load(cls) -> PaperRates:
        source = digitized.load("fig2_per_noise_memorization")
        return cls(source, {name: source[column] / 100 for name, column in COLUMNS.items()})

    @property
    def sigma(self) -> Floats:
        """(10,) the levels of the marks, data units."""
        return self.source["sigma"]

    @property
    def centre(self) -> float:
        """The centre of the hump of 1,000 images, data units, as `Hump` has it."""
        rate = self.rates["EDM, N = 1,000"][::-1]  # ascending
        excess = Curve.from_table(self.sigma[::-1], rate - rate.min())  # the last digit is misread
        return Hump(excess, np.empty((0, len(rate)))).centre.value


@dataclass(frozen=True)
class Subsets:
    """The rates of the empirical denoisers of some training sets.

    Attributes
    ----------
    sets : the training sets, with their held-out images.
    rates : of each.
    """

    sets: tuple[ImageSet, ...]
    rates: tuple[RateCurve, ...]

    @classmethod
    def of_cifar10(
        cls, n: int, sigmas: Array, *, seed: int = 0, device: str | torch.device = "auto"
    ) -> Subsets:
        """Measured on n subsets of the paper's size, on 1,000 held-out images each.

        Parameters
        ----------
        n : subsets: the paper's, the set's first images, and random ones.
        sigmas : (S,) noise levels, data units, > 0.
        seed : of the first random subset, and of the noise.
        device : "auto", or a torch device.
        """
        noise = dict[str, Any](seed=seed, device=device)
        orders: list[int | None] = [None, *range(seed, seed + n - 1)]
        sets = [
            load_dataset("cifar10", n_train=SHAPE[0], n_heldout=1000, seed=order)
            for order in orders[:n]
        ]
        rates = [
            memorization_rates(
                EmpiricalDenoiser(s.train, device=device), s.heldout, s.train, sigmas, **noise
            )
            for s in sets
        ]
        return cls(tuple(sets), tuple(rates))

    def held(self, marks: Floats, allowed: float = READING) -> NDArray[np.bool_]:
        """Which marks (S,) lie within the 95% bands of all the sets, taken together."""
        low = np.min([rate.low for rate in self.rates], 0) - allowed
        high = np.max([rate.high for rate in self.rates], 0) + allowed
        inside: NDArray[np.bool_] = (low <= marks) & (marks <= high)
        return inside

    def apart(self, marks: Floats) -> list[float]:
        """The largest difference of each set's rate from the marks (S,)."""
        return [float(np.abs(marks - rate.mean).max()) for rate in self.rates]

    def in_words(self, marks: Floats) -> str:
        """How well the marks (S,) are met, as a sentence without its full stop."""
        if not self.sets:
            return "In this run that was not measured"
        held, apart = self.held(marks), self.apart(marks)
        bands = {4: "four"}.get(len(self.sets), str(len(self.sets)))
        return (
            f"{held.sum()} of {len(held)} marks lie within the {bands} 95% bands, half a percent "
            "allowed for the reading. The largest difference of each subset from the marks is "
            f"between {percent(min(apart))} and {percent(max(apart))}"
        )

    def told(self, paper: PaperRates, **options: Any) -> dict[str, str]:
        """The paper's marks beside what was measured of the sets, as text, for prose."""
        centre, zone = f"{paper.centre:.2g}", self.zone_in_words(**options)
        beside = f"; the paper's marks: centre {centre}, zone of such images {zone}"
        return {
            "peak": percent(paper.rates["EDM, N = 1,000"].max()),
            "centre": centre,
            "check": self.in_words(paper.rates["empirical"]),
            "zone": zone,
            "beside": beside if self.sets else "",
        }

    def zone_in_words(self, **options: Any) -> str:
        """The danger zone of the first set; ``options`` are those of `measure_regimes`."""
        if not self.sets:
            return "not measured in this run"
        first = self.sets[0]
        found = measure_regimes(first.heldout, first.train, **options).regimes
        by = f"(by {len(first.heldout):,} held-out images)"
        return f"{found.covered} to {found.concentrated} {by}"
