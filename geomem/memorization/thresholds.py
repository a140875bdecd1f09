"""One third is a choice: shares that pass the ratio test at every threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from geomem.geometry.arrays import Floats
from geomem.geometry.intervals import Estimate, Fraction
from geomem.memorization.distinct import THIRD
from geomem.memorization.ratio_test import RateCurve, fraction_below

NAMED = {"third": THIRD, "half": 0.5}  # the thresholds that are spoken of


@dataclass(frozen=True)
class Thresholds:
    """The shares of some answers that pass d_1NN < t d_2NN, at every t.

    Attributes
    ----------
    values : (T,) the thresholds t, ascending, in (0, 1].
    shares : whose answers -> (T,) the shares, with their intervals.
    """

    values: Floats
    shares: Mapping[str, Sequence[Estimate | Fraction]]

    @classmethod
    def of(cls, rates: Mapping[str, RateCurve], at: int, clean: Mapping[str, Floats]) -> Thresholds:
        """Of denoised images at one noise level, and of images that nobody denoised.

        Parameters
        ----------
        rates : whose answers -> their rate.
        at : index of the noise level.
        clean : what images -> (Q,) their ratios d_1NN / d_2NN.
        """
        values = np.sort(np.append(np.linspace(0.1, 0.9, 33), THIRD))
        shares: dict[str, Sequence[Estimate | Fraction]] = {
            who: [rate.at(t).estimate(at) for t in values] for who, rate in rates.items()
        }
        shares |= {who: [fraction_below(of, t) for t in values] for who, of in clean.items()}
        return cls(values, shares)

    @property
    def named(self) -> dict[str, dict[str, str]]:
        """By each of the thresholds of `NAMED`: whose answers -> the share, as text."""
        index = {name: int(np.abs(self.values - t).argmin()) for name, t in NAMED.items()}
        return {
            name: {who: share[i].percent for who, share in self.shares.items()}
            for name, i in index.items()
        }

    @property
    def in_words(self) -> dict[str, str]:
        """The same as text for prose: third_WHO, half_WHO, by the first word of who it is."""
        return {
            f"{name}_{who.split()[0]}": share
            for name, of in self.named.items()
            for who, share in of.items()
        }
