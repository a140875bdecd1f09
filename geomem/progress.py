"""Progress bars: on a terminal or in an interactive notebook, and nowhere else.

An executed notebook must not write to stderr, which would become part of the book; the bar
of a long cell then goes to the terminal from which the book is made.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO

from tqdm import tqdm

RUN_VARIABLE = "GEOMEM_RUN"  # path of the run.json that the runner writes for a notebook


def bar(total: int, name: str, unit: str, position: int = 0) -> tqdm:
    """A tqdm bar where somebody can see it, else a silent one."""
    stream: TextIO | None = sys.stderr
    if os.environ.get(RUN_VARIABLE):
        stream = None
        with contextlib.suppress(OSError):
            stream = open("/dev/tty", "w")  # noqa: SIM115, PTH123 (open as long as the bar is)
    interactive = "ipykernel" in type(stream).__module__
    hidden = stream is None or not (interactive or stream.isatty())
    options: dict[str, Any] = {"unit": unit, "position": position, "leave": not interactive}
    return tqdm(total=total, desc=name, file=stream, disable=hidden, **options)
