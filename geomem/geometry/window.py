"""A window of noise levels: where a denoiser is swapped, or training leaves a gap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from geomem.geometry.arrays import check_sigmas


@dataclass(frozen=True)
class Window:
    """The noise levels low <= sigma < high, data units, 0 <= low <= high; equal: none."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high:
            raise ValueError(f"window: needs 0 <= low <= high, got {self.low} and {self.high}.")

    def contains(self, sigma: float | torch.Tensor) -> bool | torch.Tensor:
        """Whether a level lies inside; a tensor of levels gives one answer each."""
        above, below = sigma >= self.low, sigma < self.high
        return above & below

    def __str__(self) -> str:
        high = "inf" if math.isinf(self.high) else f"{self.high:.3g}"
        return f"[{self.low:.3g}, {high})"

    @property
    def in_words(self) -> str:
        """Its ends as text where brackets would read as an interval of confidence."""
        return f"{self.low:.3g} to {self.high:.3g}"

    def rounded(self, digits: int = 2) -> Window:
        """With ends of so many significant digits, which the last bit of a sum does not move.

        More where its ends would meet.

        >>> Window(0.05812, 0.8449).rounded(), Window(1.02, 1.04).rounded()
        (Window(low=0.058, high=0.84), Window(low=1.02, high=1.04))
        """
        low, high = (float(f"{end:.{digits}g}") for end in (self.low, self.high))
        if low == high and self.low < self.high and digits < 17:
            return self.rounded(digits + 1)
        return Window(low, high)

    @classmethod
    def of_steps(cls, first: int, last: int, sigmas: ArrayLike) -> Window:
        """The window that holds exactly the steps ``first`` to ``last`` of a descending grid.

        Its edges lie midway (in log sigma) to the neighbouring steps, and beyond the grid's
        ends at 0 and infinity, so that windows of adjoining steps adjoin.
        """
        levels = check_sigmas(sigmas)
        if not 0 <= first <= last < len(levels):
            raise ValueError(f"window: no steps {first} to {last} in a grid of {len(levels)}.")
        edges = np.concatenate([[np.inf], np.sqrt(levels[:-1] * levels[1:]), [0.0]])
        return cls(float(edges[last + 1]), float(edges[first]))

    def steps(self, sigmas: ArrayLike) -> NDArray[np.int64]:
        """Which levels of a descending grid lie inside, by index.

        Of two windows that hold the same levels a sampler on that grid sees no difference.
        """
        levels = check_sigmas(sigmas)
        return np.flatnonzero((levels >= self.low) & (levels < self.high))

    def steps_in_words(self, sigmas: ArrayLike) -> str:
        """The levels of a descending grid that lie inside, as text.

        >>> [Window(*ends).steps_in_words([3.0, 2.0, 1.0]) for ends in ((1, 3), (2, 3), (4, 5))]
        ['steps 1 to 2', 'step 1', 'no step at all']
        """
        inside = self.steps(sigmas)
        if len(inside) < 2:
            return f"step {inside[0]}" if len(inside) else "no step at all"
        return f"steps {inside[0]} to {inside[-1]}"

    def matched(self, low: float) -> Window:
        """A control window of the same width in log sigma that begins at ``low``."""
        return Window(low, low * self.high / self.low)

    def controls(self, sigmas: ArrayLike) -> dict[str, Window]:
        """As wide in log sigma, ``above`` this window (at larger noise) and ``below`` it (ours).

        They do not overlap it. Of all such windows they hold the most levels of the grid, and
        of those the nearest: the hardest test of whether it matters where the swap is made.

        Parameters
        ----------
        sigmas : (S,) levels of the sampler, data units, descending.

        Raises
        ------
        ValueError : an edge at 0 or infinity, or no width at all.
        """
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"window: {self} has no finite width, so none is as wide.")
        levels = check_sigmas(sigmas).tolist()
        ratio = self.high / self.low
        # A window loses no level while it moves up to begin at its lowest one, unless it meets
        # this one first. Nearest first, since `max` takes the first of equals.
        above = [self.matched(low) for low in (self.high, *levels[::-1]) if low >= self.high]
        below = [self.matched(low) for low in levels if low * ratio <= self.low]
        below = [Window(self.low / ratio, self.low), *below]
        return {
            side: max(windows, key=lambda window: len(window.steps(levels)))
            for side, windows in (("above", above), ("below", below))
        }


def span(sigmas: ArrayLike, chosen: ArrayLike) -> str:
    """The noise levels that are chosen, from the first to the last of each run of them, as text.

    >>> span([0.5, 1.0, 2.0], [False, True, True]), span([0.5, 1.0], [False, False])
    ('1 to 2', 'no level')
    >>> span([0.5, 1.0, 2.0, 4.0], [True, True, False, True])
    '0.5 to 1 and 4'
    """
    levels, picked = check_sigmas(sigmas), np.flatnonzero(np.asarray(chosen, dtype=bool))
    runs = np.split(picked, np.flatnonzero(np.diff(picked) > 1) + 1) if len(picked) else []
    ends = [dict.fromkeys((run[0], run[-1])) for run in runs]
    return " and ".join(" to ".join(f"{levels[i]:.2g}" for i in of) for of in ends) or "no level"
