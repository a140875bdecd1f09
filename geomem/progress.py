"""Progress bars: on a terminal or in an interactive notebook, and nowhere else.

An executed notebook must not write to stderr, which would become part of the book; the bar
of a long cell then goes to the terminal from which the book is made.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any, TextIO

RUN_VARIABLE = "GEOMEM_RUN"  # path of the run.json that the runner writes for a notebook


class _Silent:
    """A bar that nobody sees, with what is used of tqdm's, which it does not need."""

    disable, n = True, 0

    def __enter__(self) -> _Silent:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        self.n += n

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        pass

    def close(self) -> None:
        pass


def bar(
    total: int, name: str, unit: str, position: int = 0, delay: float = 0, hidden: bool = False
) -> Any:
    """A tqdm bar where somebody can see it, else a silent one; from ``delay`` seconds on."""
    stream: TextIO | None = sys.stderr
    if RUN_VARIABLE in os.environ:
        stream, position = _terminal(Path(os.environ[RUN_VARIABLE]), position)
    interactive = "ipykernel" in type(stream).__module__
    hidden = hidden or stream is None or not (interactive or stream.isatty())
    if hidden:
        return _Silent()
    from tqdm import tqdm

    leave = not interactive and RUN_VARIABLE not in os.environ
    options: dict[str, Any] = {"unit": unit, "position": position, "leave": leave}
    return tqdm(total=total, desc=name, file=stream, delay=delay, **options)


def _terminal(run: Path, position: int) -> tuple[TextIO | None, int]:
    """Where the book is made, and the line there: kernels have no terminal of their own.

    Of notebooks executed side by side each has every n-th line, below one line for each.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        state = json.loads(run.read_text())
        path, slot, slots = state["terminal"], state["slot"], state["slots"]
        return _opened(path), slot + slots * (1 + position)
    return None, position


@cache
def _opened(path: str) -> TextIO:
    """A terminal, opened once for every bar of this process."""
    return Path(path).open("w")
