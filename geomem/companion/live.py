"""Data of the live figures: what a notebook hands to the scripts that compute in a reader's page.

It is a script and not JSON, since a page that is opened from a disk may not fetch anything.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from geomem.companion.results import attach

NAME = re.compile(r"[a-z]+(-[a-z0-9]+)*")
DTYPES = ("float16", "float32", "float64", "uint8", "int32")  # what book/_assets/live reads
LIMIT = 3e6  # bytes that all live figures add to the book: their scripts, looks and data


def attach_live(name: str, /, **values: Any) -> Path:
    """Keep the data of a live figure with the run: ``geomem.data[name]`` in its page.

    Parameters
    ----------
    name : of the live figure, in lower-case words: "plane". Its script is ``live/plane.js``.
    values : arrays of one of `DTYPES`, which arrive as typed arrays with a ``shape``; anything
        else as JSON. Arrays may stand in lists and mappings, too.

    Raises
    ------
    ValueError : another name or dtype, or what JSON does not know (NaN, too).

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from contextlib import chdir
    >>> with TemporaryDirectory() as folder, chdir(folder):
    ...     path = attach_live("plane", x=np.zeros((2, 1), np.float16), level=0.8)
    ...     print(path.read_text().splitlines()[-1])
    geomem.data["plane"] = {"x":{"shape":[2,1],"dtype":"float16","base64":"AAAAAA=="},"level":0.8};
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"live figure {name!r}: use lower-case words.")
    said = json.dumps(values, default=_packed, allow_nan=False, separators=(",", ":"))
    # In a script that stands in a page, and in one of its own, these would end it or a line of it.
    for character in "<\u2028\u2029":
        said = said.replace(character, f"\\u{ord(character):04x}")
    first = "window.geomem = window.geomem || {};\ngeomem.data = geomem.data || {};\n"
    return attach(file_of(name), f'{first}geomem.data["{name}"] = {said};\n')


def file_of(name: str) -> str:
    """The file of a live figure's data, in a run's folder and beside the book's scripts."""
    return f"live-{name}.js"


def _packed(value: Any) -> Any:
    """What JSON does not know: an array, little-endian, or a number of NumPy."""
    if isinstance(value, np.generic):
        return value.item()
    if not isinstance(value, np.ndarray):
        raise ValueError(f"attach_live: cannot write a {type(value).__name__}.")
    if value.dtype.name not in DTYPES:
        raise ValueError(f"attach_live: an array of {', '.join(DTYPES)}, not {value.dtype.name}.")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise ValueError("attach_live: an array holds NaN or infinite values.")
    raw = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
    packed = base64.b64encode(raw).decode()
    return {"shape": value.shape, "dtype": value.dtype.name, "base64": packed}
