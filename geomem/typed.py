"""Values of a plain type, from TOML or from the command line's text."""

from __future__ import annotations

import contextlib

Value = int | float | str | bool


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
            if number == float(value):
                return number
    raise ValueError(f"{value!r} is not of type {kind.__name__}")
