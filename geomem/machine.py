"""What the machine that this runs on has, and its sizes and times in words."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path


def memory() -> float:
    """Bytes of its main memory, or of what a container may use; infinite where it does not say."""
    found = [math.inf]
    with contextlib.suppress(AttributeError, ValueError):  # not on Windows
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)


def in_time(seconds: float) -> str:
    """A time in a unit of its size.

    >>> in_time(99), in_time(600), in_time(4.2 * 3600), in_time(3e6)
    ('99 s', '10 minutes', '4.2 hours', '35 days')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} minutes"
    hours = seconds / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:,.0f} days"


def in_bytes(number: float) -> str:
    """A number of bytes in a unit of its size.

    >>> in_bytes(999), in_bytes(23.4e9), in_bytes(4e12)
    ('999 B', '23.4 GB', '4 TB')
    """
    units = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
    size, unit = next((s, u) for s, u in units if number >= s or s == 1)
    return f"{number / size:.3g} {unit}"
