"""Values of a plain type, from TOML or from the command line's text, and their ranges."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

Value = int | float | str | bool
SEEDS = "[0, 18446744073709551616)"  # what a generator takes: 64 bits


def cast(value: object, kind: type[Value]) -> Value:
    """``value`` as a kind of plain value, or a ValueError; nothing is rounded or guessed.

    >>> cast("3", int), cast(3.0, int), cast("1e-3", float), cast("True", bool), cast("3", str)
    (3, 3, 0.001, True, '3')
    """
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is str and isinstance(value, str):
        return value
    if kind in (int, float) and isinstance(value, (int, float, str)) and type(value) is not bool:
        with contextlib.suppress(ValueError, OverflowError):
            number = kind(value.encode("ascii") if isinstance(value, str) else value)
            if number == (value if isinstance(value, float) else number):  # NaN equals nothing
                return number
    raise ValueError(f"{value!r} is not of type {kind.__name__}")


def check_ranges(what: str, config: Any, ranges: Mapping[str, str]) -> None:
    """ValueError for a field of ``config``, or a number of a tuple in it, that leaves its range.

    >>> from types import SimpleNamespace
    >>> check_ranges("law", SimpleNamespace(std=0.0), {"std": "(0, 3]"})
    Traceback (most recent call last):
    ValueError: law: std must lie in (0, 3], got 0.0.
    """
    for name, interval in ranges.items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not within(number, interval):
                raise ValueError(f"{what}: {name} must lie in {interval}, got {number}.")


def within(number: float, interval: str) -> bool:
    """Whether a number lies in an interval in the usual writing; NaN lies in none.

    >>> within(1, "[1, inf)"), within(0.0, "(0, 1]"), within(float("nan"), "[0, inf]")
    (True, False, False)
    """
    low, high = map(float, interval[1:-1].split(", "))
    above = number >= low if interval[0] == "[" else number > low
    return above and (number <= high if interval[-1] == "]" else number < high)
