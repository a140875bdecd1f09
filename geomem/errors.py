"""Errors whose message is all that a reader needs: no traceback is shown."""

from __future__ import annotations

import re

SYSTEM = re.compile(r"\[Errno \d+\] (.+)")


class InputError(ValueError):
    """What was asked for is wrong or not there; the message says what to do."""


class WorkError(RuntimeError):
    """Work that was begun and could not be ended."""


def refused(error: object) -> str:
    """What the system refused, of an OSError or of a text that quotes one; else "".

    >>> refused(OSError(28, "No space left on device", "results/coverage"))
    "No space left on device: 'results/coverage'"
    """
    found = SYSTEM.search(str(error))
    return found[1] if found else ""
