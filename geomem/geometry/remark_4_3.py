"""The two numbers of the paper's Remark 4.3, held against each reading of part A of Theorem 4.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from geomem.digitized.stated import REMARK_4_3
from geomem.geometry.arrays import Floats

NEAR = 0.03  # relative difference from both up to which a reading may be the paper's
NUMBERS = ("none", "one", "two", "three", "all")


@dataclass(frozen=True)
class Remark:
    """Averages of the thresholds for every choice of q, beside the paper's.

    Attributes
    ----------
    means : choice of q -> the averages of sigma_lo and sigma_hi over the images, data units.
    comparable : whether the images and levels are the paper's.
    """

    means: Mapping[str, tuple[float, float]]
    comparable: bool

    @classmethod
    def of(cls, variants: Mapping[str, tuple[Floats, Floats]], comparable: bool) -> Remark:
        """From what `threshold_variants` gives."""
        means = {name: (float(lo.mean()), float(hi.mean())) for name, (lo, hi) in variants.items()}
        return cls(means, comparable)

    @property
    def near(self) -> list[str]:
        """The choices of q for which both averages are the paper's up to `NEAR`."""
        return [
            name
            for name, pair in self.means.items()
            if all(abs(mine / one - 1) < NEAR for mine, one in zip(pair, REMARK_4_3, strict=True))
        ]

    @property
    def table(self) -> dict[str, list[str]]:
        """Both averages of each choice as columns, the paper's last where they are comparable."""
        rows = {**self.means, **({"the paper": REMARK_4_3} if self.comparable else {})}
        return {
            "choice of q": [*rows],
            "mean σ_lo": [f"{low:.4g}" for low, _ in rows.values()],
            "mean σ_hi": [f"{high:.4g}" for _, high in rows.values()],
        }

    @property
    def in_words(self) -> str:
        """What the comparison says, as a sentence."""
        if not self.comparable:
            return "This run has other images or levels than the paper's, so it cannot compare."
        return (
            f"Of the four choices {NUMBERS[len(self.near)]} come within {NEAR:.0%} of both of the "
            "paper's numbers."
        )
