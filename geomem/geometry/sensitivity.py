"""What the danger zone owes to the two numbers that nobody measured: c and the level (ours)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Estimate
from geomem.geometry.regimes import Regimes, find_regimes

NOWHERE = Estimate(np.nan)


@dataclass(frozen=True)
class Sensitivity:
    """The danger zone of one training set for several shells, and several levels of our rule.

    Attributes
    ----------
    zones : (c, level) -> where both curves are at least at the level; None where a curve is
        nowhere, as coverage by thin shells that miss much of the noise.
    """

    zones: dict[tuple[float, float], Regimes | None]

    @classmethod
    def of(
        cls,
        coverages: Mapping[float, Curve],
        weight: Curve,
        levels: Sequence[float],
        *,
        seed: int = 0,
    ) -> Sensitivity:
        """Of curves on one grid.

        Parameters
        ----------
        coverages : c of Lemma 4.5 -> coverage by its shells, with the same noise for all.
        weight : concentration of the training set, which knows no shells.
        levels : of the rule, in (0, 1).
        seed : of the resampling.
        """
        if not levels or not all(0 < level < 1 for level in levels):
            raise ValueError(f"levels must lie strictly between 0 and 1, got {[*levels]}.")
        zones: dict[tuple[float, float], Regimes | None] = {}
        for (c, coverage), level in product(coverages.items(), levels):
            zones[c, level] = None
            with contextlib.suppress(ValueError):  # a curve that never passes the level
                zones[c, level] = find_regimes(coverage, weight, level, seed=seed)
        return cls(zones)

    def in_words(self, c: float, level: float) -> str:
        """From where to where the zone is, as text, or why there is none."""
        zone = self.zones[c, level]
        if zone is None:
            return "none: a curve never passes it"
        if zone.medium is None:
            return f"none: {zone.covered.value:.3g} comes after {zone.concentrated.value:.3g}"
        return f"{zone.covered.value:.3g} to {zone.concentrated.value:.3g}"

    def starts(self, c: float) -> list[Estimate]:
        """Where the zone starts with shells of this c, of each level; NaN: nowhere."""
        found = [zone for (of, _), zone in self.zones.items() if of == c]
        return [zone.covered if zone else NOWHERE for zone in found]

    @property
    def spread(self) -> Estimate:
        """The highest start over the lowest, >= 1, of the zones there are; NaN of less than two.

        From what the ends of the intervals of all starts leave at least to what they allow.
        """
        starts = [zone.covered.numbers for zone in self.zones.values() if zone and zone.medium]
        if len(starts) < 2:
            return NOWHERE
        value, low, high = (np.array(numbers) for numbers in zip(*starts, strict=True))
        least, most = max(low.max() / high.min(), 1.0), high.max() / low.min()
        return Estimate(value.max() / value.min(), float(least), float(most))

    def columns(self) -> dict[str, list[str]]:
        """The columns of a table, one row a shell: where coverage passes each level.

        In round brackets where no zone starts, since concentration has ended before.
        """
        cs, levels = (dict.fromkeys(part) for part in zip(*self.zones, strict=True))
        rows = [[_cell(self.zones[c, level]) for level in levels] for c in cs]
        by_level = zip(*rows, strict=True)
        of_level = {f"level {level:g}": [*of] for level, of in zip(levels, by_level, strict=True)}
        return {"c": [f"{c:g}" for c in cs], **of_level}

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """The rows of the table under a figure: name, c, level, start and end with intervals."""
        edges = {
            key: (*zone.covered.numbers, *zone.concentrated.numbers)
            if zone and zone.medium
            else (np.nan,) * 6
            for key, zone in self.zones.items()
        }
        return [(name, *key, *of) for key, of in edges.items()]

    def plot(self, ax: Any) -> None:
        """Draw the zones into matplotlib axes as upright bars, a group for each c."""
        cs, levels = ([*dict.fromkeys(part)] for part in zip(*self.zones, strict=True))
        for (c, level), zone in self.zones.items():
            i, j = cs.index(c), levels.index(level)
            place, label = i + 0.2 * (j - (len(levels) - 1) / 2), None if i else f"level {level:g}"
            low, high = (zone and zone.medium) or (np.nan, np.nan)
            shade = str(0.8 - 0.7 * j / max(len(levels) - 1, 1))
            ax.bar(place, high - low, 0.16, low, color=shade, label=label)
        ax.set_xticks(range(len(cs)), [f"c = {c:g}" for c in cs])
        ax.set_yscale("log")
        if not any(zone and zone.medium for zone in self.zones.values()):  # no bar sets the limits
            ax.set(xlim=(-0.5, len(cs) - 0.5), ylim=(0.5, 5))


def _cell(zone: Regimes | None) -> str:
    if zone is None:
        return str(NOWHERE)
    return str(zone.covered) if zone.medium else f"({zone.covered})"
