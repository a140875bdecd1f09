"""Which range of values images have: -1 to 1, 0 to 1, or 0 to 255, and where it cannot be told."""

from __future__ import annotations

Range = tuple[float, float]
RANGES: tuple[Range, ...] = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))


def recognise(low: float, high: float) -> Range | None:
    """The range of images whose values lie between two numbers, or None if several are possible.

    A range is taken if it holds all values, they pass its middle, and, of -1 to 1, one is negative.

    >>> recognise(-0.9, 0.8), recognise(0, 0.98), recognise(0, 254)
    ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))
    >>> recognise(0, 16), recognise(-4, 3), recognise(-0.2, 0.3)
    (None, None, None)
    """
    if -1 <= low < 0 and max(-low, high) > 0.5 and high <= 1:
        return RANGES[0]
    return next((r for r in RANGES[1:] if low >= 0 and r[1] / 2 < high <= r[1]), None)
