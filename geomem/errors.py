"""The two kinds of errors whose message is all that a reader needs: no traceback is shown."""

from __future__ import annotations


class InputError(ValueError):
    """What was asked for is wrong or not there; the message says what to do."""


class WorkError(RuntimeError):
    """Work that was begun and could not be ended."""
