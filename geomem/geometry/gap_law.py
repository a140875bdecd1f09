"""The gap between the empirical and the Gaussian denoiser, held against its law (ours)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from geomem.geometry.arrays import Array, Floats
from geomem.geometry.curve import Curve, ErrorCurve
from geomem.geometry.gaussian import linear_gap, linear_gap_law
from geomem.geometry.intervals import Answer, Estimate


@dataclass(frozen=True)
class GapLaw:
    """A measured gap and its law at large noise, data units squared.

    Attributes
    ----------
    gap : the mean squared distance of the two denoisers' answers.
    law : (S,) what it approaches.
    """

    gap: ErrorCurve
    law: Floats

    @classmethod
    def of(
        cls,
        train: Array,
        sigmas: Array,
        *,
        order: int = 3,
        queries: Array | None = None,
        draws: int = 4,
        seed: int = 0,
        device: str | torch.device = "auto",
    ) -> GapLaw:
        """Measured as `linear_gap` does, beside `linear_gap_law` of an order."""
        noise: dict[str, int] = {"draws": draws, "seed": seed}
        gap = linear_gap(train, sigmas, queries=queries, **noise, device=device)
        return cls(gap, linear_gap_law(train, sigmas, order=order, device=device))

    @property
    def ratio(self) -> list[Estimate]:
        """The gap over its law, level by level."""
        return [self.gap.estimate(i) / law for i, law in enumerate(self.law)]

    @property
    def line(self) -> Curve:
        """The law as a curve without an interval."""
        return Curve.from_table(self.gap.sigma, self.law)

    def holds(self, where: NDArray[np.bool_]) -> Answer:
        """Whether the law is met at the levels ``where``, (S,); of none of them nothing is known.

        With a tenth allowed for the terms that it leaves out, or four standard errors.
        """
        margin = np.fmax(0.1 * self.law, 4 * self.gap.error)  # of one query the error is not known
        met = (np.abs(self.gap.mean - self.law) <= margin)[where]
        return bool(met.all()) if met.size else None

    def from_where(self, factor: float = 2.0) -> float:
        """From which level on the gap stays within a factor of its law; NaN: from none."""
        off = np.maximum(self.gap.mean / self.law, self.law / self.gap.mean) > factor
        order = np.argsort(self.gap.sigma)
        within = self.gap.sigma[order][np.flatnonzero(off[order]).max(initial=-1) + 1 :]
        return float(within[0]) if len(within) else float("nan")
