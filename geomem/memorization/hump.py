"""The hump of the memorization rate (the paper's Figure 2): where it lies, and how much of it.

The rate at the levels that were measured, joined by straight lines over log sigma, is a curve;
its centre of mass, its areas and where it passes half of its peak are those of this curve, and have
intervals over images. Its peak is only known up to the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomem.geometry.arrays import Floats
from geomem.geometry.curve import Curve, first_fall, last_rise
from geomem.geometry.intervals import Answer, Estimate, above, below, every, percentiles
from geomem.geometry.window import Window


def place(level: Estimate, window: Window) -> str:
    """Where a noise level lies against a window, in words; decided by its interval.

    "" for a level that is not known, or has no interval. The window's ends count as given.

    >>> place(Estimate(0.5, 0.4, 0.6), Window(1.0, 2.0))
    'below it, by a factor of 2'
    """
    if not np.isfinite(level.value) or not np.isfinite(level.low):
        return ""
    if level.high < window.low:
        return f"below it, by a factor of {window.low / level.value:.2g}"
    if level.low >= window.high:
        return f"above it, by a factor of {level.value / window.high:.2g}"
    inside = window.low <= level.low and level.high < window.high
    return "inside it" if inside else "on its edge: the interval crosses it"


def lies_in(level: Estimate, window: Window) -> Answer:
    """Whether a noise level lies in a window; not known where its interval crosses an end."""
    return every([above(level, window.low), below(level, window.high)])


def goes_on(beyond: Estimate, much: float = 0.1) -> str:
    """What a hump does at an end of a zone, by the share of its area beyond; in words.

    >>> goes_on(Estimate(0.83, 0.80, 0.86)), goes_on(Estimate(0.04, 0.02, 0.05))
    ('goes on', 'ends with the zone')
    """
    if not np.isfinite(beyond.value):
        return "is none"
    if beyond.high < much:
        return "ends with the zone"
    return "goes on" if beyond.low > much else "may go on or end"


@dataclass(frozen=True)
class Hump:
    """Where a memorization rate lies on the axis of log sigma.

    Parameters
    ----------
    curve : Curve
        The rate, at ascending noise levels, data units.
    resampled : array (R, S)
        Rates of resampled images, in [0, 1]: what the intervals come from.

    References
    ----------
    Figure 2 of the paper shows the hump; centre and shares are ours; see :doc:`/book/memorization`.

    Examples
    --------
    >>> import numpy as np
    >>> rates = np.tile([0.0, 1.0, 0.0], (20, 1))
    >>> from geomem.geometry.window import Window
    >>> from geomem import Curve, Hump
    >>> hump = Hump.of(Curve.from_queries(np.array([0.1, 1.0, 10.0]), rates, indicator=True))
    >>> round(hump.centre.value, 3), round(hump.share(Window(1.0, 10.0)).value, 3)
    (1.0, 0.5)
    """

    curve: Curve
    resampled: Floats

    @classmethod
    def of(cls, curve: Curve, *, resamples: int = 1000, seed: int = 0) -> Hump:
        """The hump of a rate measured over images.

        Parameters
        ----------
        curve : Curve
            A rate in [0, 1] at two or more noise levels, in ascending order.
        resamples : int
            Bootstrap resamples of the images.
        seed : int
            Seed of the resampling.

        Returns
        -------
        Hump
            With the rates of the resampled images.

        Raises
        ------
        ValueError
            If there are fewer than two levels, not ascending, or no images behind the rate.
        """
        if len(curve.sigma) < 2 or not np.all(np.diff(curve.sigma) > 0):
            raise ValueError("hump: needs a rate at two or more noise levels, ascending.")
        if curve.n < 1:
            raise ValueError("hump: needs the images behind the rate, not a table.")
        return cls(curve, curve.resampled(resamples, np.random.default_rng(seed)))

    @property
    def peak(self) -> int:
        """Index of the level with the highest rate."""
        return int(self.curve.mean.argmax())

    @property
    def half(self) -> tuple[Estimate, Estimate]:
        """Where the rate first reaches half of its peak, and where it last does, data units.

        NaN where it does so beyond the levels that were measured.
        """
        return self._level(0), self._level(2)

    @property
    def centre(self) -> Estimate:
        """The mean of log sigma weighted by the rate, as a noise level, data units."""
        return self._level(1)

    @property
    def levels(self) -> Floats:
        """(1 + R, 3) the ends of `half` with the centre between them, data units.

        Those of the rate, then those of each resampled one; NaN where there is none.
        """
        rates = np.vstack([self.curve.mean, self.resampled])
        sigma, half = self.curve.sigma, rates.max(1) / 2 * (1 - 1e-12)  # half of it, rounded, is it
        with np.errstate(invalid="ignore"):  # of a rate without a copy
            centre = np.exp(self._moment(rates) / self._area(rates, np.inf))
        ends = first_fall(sigma, -rates, -half), last_rise(sigma, -rates, -half)
        return np.column_stack([ends[0], centre, ends[1]])

    def share(self, window: Window) -> Estimate:
        """The share of the hump's area, over log sigma, between two noise levels, in [0, 1]."""
        rates = np.vstack([self.curve.mean, self.resampled])
        area = [self._area(rates, end) for end in (window.low, window.high, np.inf)]
        with np.errstate(invalid="ignore"):  # of resamples without a copy
            found = (area[1] - area[0]) / area[2]
        return percentiles(found[0], found[1:])

    def shares(self, zone: Window) -> dict[str, Estimate]:
        """The shares of its area "below" a zone, "inside" it and "above" it."""
        below, above = Window(0.0, zone.low), Window(zone.high, np.inf)
        return {"below": self.share(below), "inside": self.share(zone), "above": self.share(above)}

    def place(self, window: Window) -> str:
        """Where the centre lies against a window, in words; decided by its interval."""
        if not self.curve.mean.any():
            return "nowhere: there is no hump"
        return place(self.centre, window) or "not known: there are too few copies"

    def in_words(self, zone: Window) -> dict[str, str]:
        """Centre, half-width and areas against a zone, and what it does at its ends, as text."""
        area, (begins, ends) = self.shares(zone), self.half
        return {
            "centre": str(self.centre),
            "where": self.place(zone),
            "half_from": str(begins),
            "half_to": str(ends),
            **{f"area_{name}": share.percent for name, share in area.items()},
            **{name: goes_on(area[name]) for name in ("below", "above")},
        }

    def _level(self, which: int) -> Estimate:
        found = self.levels[:, which]
        return percentiles(found[0], found[1:])

    def _area(self, rates: Floats, sigma: float) -> Floats:
        """(R,) the area under each row of rates, over log sigma, up to a level."""
        u = np.log(self.curve.sigma)
        with np.errstate(divide="ignore"):
            end = np.clip(np.log(sigma), u[0], u[-1])
        i = min(int(np.searchsorted(u, end, "right")) - 1, len(u) - 2)
        whole = ((rates[:, 1 : i + 1] + rates[:, :i]) / 2) @ np.diff(u)[:i]
        step = (end - u[i]) / (u[i + 1] - u[i])
        last = rates[:, i] + (rates[:, i + 1] - rates[:, i]) * step
        area: Floats = whole + (rates[:, i] + last) / 2 * (end - u[i])
        return area

    def _moment(self, rates: Floats) -> Floats:
        """(R,) the integral of log sigma times the rate, over log sigma."""
        u = np.log(self.curve.sigma)
        left, right = u[:-1], u[1:]
        parts = rates[:, :-1] * (2 * left + right) + rates[:, 1:] * (left + 2 * right)
        moment: Floats = parts @ ((right - left) / 6)
        return moment
