"""The hump of the memorization rate (the paper's Figure 2): where it lies, and how much of it.

The rate at the levels that were measured, joined by straight lines over log sigma, is a curve;
its centre of mass and its areas are those of this curve. Peak and half-width are only known up
to the grid; centre and areas are not, and have intervals over images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geomem.geometry.arrays import Floats
from geomem.geometry.curve import Curve
from geomem.geometry.intervals import Estimate
from geomem.geometry.window import Window

NONE = Estimate(np.nan)


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
        counts = np.random.default_rng(seed).multinomial(
            curve.n, np.full(curve.n, 1 / curve.n), resamples
        )
        return cls(curve, counts @ curve.per_query / curve.n)

    @property
    def peak(self) -> int:
        """Index of the level with the highest rate."""
        return int(self.curve.mean.argmax())

    @property
    def half(self) -> Window:
        """From the first to the last level of the grid with at least half the peak's rate."""
        if not self.curve.mean.any():
            return Window(0, 0)
        high = self.curve.sigma[self.curve.mean >= self.curve.mean[self.peak] / 2]
        return Window(float(high[0]), float(high[-1]))

    @property
    def centre(self) -> Estimate:
        """The mean of log sigma weighted by the rate, as a noise level, data units."""
        return self._estimate(lambda rates: np.exp(self._moment(rates) / self._area(rates, np.inf)))

    def share(self, window: Window) -> Estimate:
        """The share of the hump's area, over log sigma, between two noise levels, in [0, 1]."""
        return self._estimate(
            lambda rates: (
                (self._area(rates, window.high) - self._area(rates, window.low))
                / self._area(rates, np.inf)
            )
        )

    def shares(self, zone: Window) -> dict[str, Estimate]:
        """The shares of its area "below" a zone, "inside" it and "above" it."""
        below, above = Window(0.0, zone.low), Window(zone.high, np.inf)
        return {
            "below": self.share(below),
            "inside": self.share(zone),
            "above": self.share(above),
        }

    def place(self, window: Window) -> str:
        """Where the centre lies against a window, in words; decided by its interval."""
        if not self.curve.mean.any():
            return "nowhere: there is no hump"
        return place(self.centre, window) or "not known: there are too few copies"

    def in_words(self, zone: Window) -> dict[str, str]:
        """Centre, half-width and areas against a zone, and what it does at its ends, as text."""
        area, half = self.shares(zone), self.half
        ends = {"half_from": half.low, "half_to": half.high}
        there = bool(self.curve.mean.any())
        return {
            "centre": str(self.centre),
            "where": self.place(zone),
            **{name: f"{end:.2g}" if there else "none" for name, end in ends.items()},
            **{f"area_{name}": share.percent for name, share in area.items()},
            **{name: goes_on(area[name]) for name in ("below", "above")},
        }

    def _estimate(self, of: Callable[[Floats], Floats]) -> Estimate:
        if not self.curve.mean.any():
            return NONE
        rows = self.resampled[self.resampled.any(1)]
        if len(rows) < 0.975 * len(self.resampled):  # too few copies for an interval
            return Estimate(float(of(self.curve.mean[None])[0]))
        low, high = np.percentile(of(rows), [2.5, 97.5])
        return Estimate(float(of(self.curve.mean[None])[0]), float(low), float(high))

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
