"""The paper's own curve of W_sigma (the figure of its appendix E.3), held against one of ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomem import digitized
from geomem.digitized import Digitized
from geomem.geometry.arrays import Floats
from geomem.geometry.curve import Curve

POINTS = 100  # base points of the paper's experiment
READING = 0.006  # by how much a cross may be misread


@dataclass(frozen=True)
class PaperWeights:
    """The crosses of the figure, CIFAR-10 with N = 1000, and our curve of such a set.

    Attributes
    ----------
    source : the digitized table.
    curve : W_sigma as `max_posterior_weight` measures it.
    """

    source: Digitized
    curve: Curve

    @classmethod
    def against(cls, curve: Curve) -> PaperWeights:
        return cls(digitized.load("figE3_max_weight"), curve)

    @property
    def spread(self) -> Floats:
        """(K,) half the 95% interval of an experiment of the paper's size, at each cross."""
        deviation = self.curve.per_query.std(0)
        at = np.log(self.source["sigma"])
        order = np.argsort(self.curve.sigma)
        found: Floats = np.interp(at, np.log(self.curve.sigma[order]), deviation[order])
        return 1.96 / np.sqrt(POINTS) * found

    @property
    def marks(self) -> tuple[Floats, Floats, Floats]:
        """(K,) each: noise levels, data units; what was read off; and `spread`."""
        return self.source["sigma"], self.source["max_weight"], self.spread

    @property
    def apart(self) -> Floats:
        """(K,) how far each cross is from our curve; NaN beyond its levels."""
        ours = [self.curve.between(sigma) for sigma in self.source["sigma"]]
        return np.abs(self.source["max_weight"] - ours)

    @property
    def agrees(self) -> bool:
        """Whether every cross's interval meets our curve, with `READING` allowed."""
        return bool(np.all(self.apart <= self.spread + READING))

    @property
    def in_words(self) -> dict[str, str]:
        """The largest difference and the noise level of it, as text."""
        reached = np.isfinite(self.apart)
        if not reached.any():
            return {"difference": "none", "sigma": "none"}
        worst = np.nanargmax(self.apart)
        return {
            "difference": f"{self.apart[worst]:.3f}",
            "sigma": f"{self.source['sigma'][worst]:.3g}",
        }
