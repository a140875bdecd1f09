"""What took long is computed once: results of functions, kept on disk by what they stand on.

So a reader who changes a colour waits for the drawing, not for a thousand samples.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, wraps
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from geomem import disk
from geomem.companion.results import current
from geomem.data.sets import source_sha256
from geomem.diffusion.zoo import Trained
from geomem.reach import NAME, edited, reached, without_words

KEPT_VARIABLE = "GEOMEM_KEPT"  # the folder, set by the runner; without it nothing is kept
CALLS = itertools.count()  # of what is kept: what ran so far, where a cell has several
DAYS, BYTES = 30, 4e9  # unused for longer, or beyond so much of them, entries go
P = ParamSpec("P")
T = TypeVar("T")


def kept(function: Callable[P, T]) -> Callable[P, T]:
    """The function, answering from disk where it was called before with equal arguments.

    Equal are arguments of the same bytes, whose code and versions are the same (`geomem.reach`).
    Only for functions that their arguments decide, a seed among them; what one prints is seen when
    it is computed. An entry is opened only where it is, byte for byte, what was written under its
    name; else it is computed again.

    Parameters
    ----------
    function : of this package, at the top level of its module, or a method there; or of the
        notebook that runs. The latter may use any name there: it stands on all code that ran
        before and how many calls of what is kept, on the parameters, on the bytes of the data sets
        that these name, and on the device. What it returns can be pickled, or is not kept.

    Raises
    ------
    TypeError : an argument that says nothing of itself.
    """
    folder = os.environ.get(KEPT_VARIABLE)
    if not folder:
        return function
    import joblib

    @wraps(function)
    def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        next(CALLS)
        if edited():
            return function(*args, **kwargs)
        name = joblib.hash(described([function, args, kwargs]), hash_name="sha1")
        path = Path(folder, name)
        with suppress(OSError):
            seal, _, content = path.read_bytes().partition(b"\n")
            if seal == _seal(name, content):
                os.utime(path)  # when it was last used
                return pickle.loads(content)
        result = function(*args, **kwargs)
        if not (_of_notebook(function) and _other_data()):
            _keep(path, result, function.__qualname__)
        return result

    return answer


def _keep(path: Path, result: Any, whose: str) -> None:
    try:
        content = pickle.dumps(result)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        print(f"kept: what {whose} returned is not kept: {error}.")
        return
    with suppress(OSError):  # a full disk: computed again, another time
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write(path, _seal(path.name, content) + b"\n" + content)


def _other_data() -> bool:
    """Whether a data set is no longer what the run began with."""
    return any(source_sha256(name) != known for name, known in current()["data"].items())


def _seal(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + content).hexdigest().encode()


def trim(folder: Path) -> None:
    """Delete the entries that were not used for `DAYS`, and beyond `BYTES` the longest unused."""
    found = [(path.stat(), path) for path in folder.iterdir()]
    oldest, room = time.time() - 86400 * DAYS, BYTES
    for entry, path in sorted(found, key=lambda one: -one[0].st_mtime):
        room -= entry.st_size
        if entry.st_mtime < oldest or room < 0:
            disk.remove(path)


def described(value: Any) -> Any:
    """A value as plain containers, numbers, texts and arrays: equal values, equal bytes.

    A trained model is its name, which has the hash of all that made it, and the hash of what came
    out, which is another on another kind of device; a function is the code that it reaches, with
    what it has closed over.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.ndarray, np.generic)):
        return value
    if isinstance(value, Trained):
        return value.name, value.device, value.record.get("sha256")
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [described(part) for part in value]
    if isinstance(value, Mapping):
        return [(str(key), described(part)) for key, part in value.items()]
    if isinstance(value, FunctionType) and (_ours(value) or _of_notebook(value)):
        inside = [cell.cell_contents for cell in value.__closure__ or ()]
        return _code(value), described(inside)
    if isinstance(value, MethodType):
        return _code(value), described(value.__self__)
    if isinstance(value, type) and (_ours(value) or _of_notebook(value)):
        return _code(value)
    if isinstance(value, (type, slice, torch.device, torch.dtype, Path)):
        return repr(value)
    if not (_ours(type(value)) or _of_notebook(type(value))):
        raise TypeError(f"kept: {value!r} cannot be told from its like; hand over what it is of.")
    parts = dict(vars(value))
    if isinstance(value, nn.Module):  # its fields are torch's, but for those with a name of its own
        own = {name: part for name, part in parts.items() if not name.startswith("_")}
        parts = {**value.state_dict(), **own}
    return _code(type(value)), described(parts)


def _ours(of: Any) -> bool:
    return str(of.__module__).split(".")[0] == NAME


def _of_notebook(of: Any) -> bool:
    return of.__module__ == "__main__" and _shell() is not None


def _shell() -> Any:
    """IPython's, in a notebook."""
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def _code(of: Any) -> Any:
    """What a function or class reaches; of one that is not of this package, its name."""
    if _of_notebook(of):
        return of.__qualname__, _so_far()
    name = of.__qualname__.split(".<locals>")[0]
    stands_on = reached(f"import {of.__module__}; {of.__module__}.{name}")
    return f"{of.__module__}.{name}", described(vars(stands_on))


def _so_far() -> Any:
    """The part of what a notebook's result depends on that has run by now (`fresh.inputs`)."""
    run, device = current(), torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    ran = _stands_on("\n".join(_shell().user_ns["In"]))
    # What the cell that runs has done by now is decided by how many such calls there were.
    return ran, repr(CALLS), device, described([run["parameters"], run["data"]])


@cache
def _stands_on(code: str) -> Any:
    return without_words(code), described(vars(reached(code)))
