"""How much more one curve is than another, level by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from geomem.geometry.arrays import Floats
from geomem.geometry.curve import Band


@dataclass(frozen=True)
class Difference(Band):
    """One share less another at each noise level, with a 95% interval.

    Parameters
    ----------
    sigma : array (S,)
        Noise levels, data units.
    mean : array (S,)
        In [-1, 1].
    low, high : array (S,)
        The distances of the two to the ends of their own intervals add in squares: for independent
        shares. Two that rise and fall together lie closer than this says.

    References
    ----------
    R. G. Newcombe, Statistics in Medicine 17 (1998), 873-890, method 10.

    Examples
    --------
    >>> import numpy as np
    >>> from geomem import Curve
    >>> sigma, hits = np.array([1.0]), np.repeat([[0.0], [1.0]], [10, 30], axis=0)
    >>> one = Curve.from_queries(sigma, hits, indicator=True)
    >>> other = Curve.from_queries(sigma, 1 - hits, indicator=True)
    >>> found = Difference.of(one, other)
    >>> found.mean.item(), found.low.round(2).item(), found.high.round(2).item()
    (0.5, 0.28, 0.65)
    """

    sigma: Floats
    mean: Floats
    low: Floats
    high: Floats

    @classmethod
    def of(cls, one: Band, other: Band) -> Self:
        """``one`` less ``other``, on one grid of noise levels."""
        mean = one.mean - other.mean
        down = np.hypot(one.mean - one.low, other.high - other.mean)
        up = np.hypot(one.high - one.mean, other.mean - other.low)
        return cls(one.sigma, mean, mean - down, mean + up)
