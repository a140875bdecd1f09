"""What took long is computed once: results of functions, kept on disk by what they stand on.

So a reader who changes a colour waits for the drawing, not for a thousand samples.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from geomem.diffusion.zoo import Trained
from geomem.reach import NAME, reached

KEPT_VARIABLE = "GEOMEM_KEPT"  # the folder, set by the runner; without it nothing is kept
P = ParamSpec("P")
T = TypeVar("T")


def kept(function: Callable[P, T]) -> Callable[P, T]:
    """The function, answering from disk where it was called before with equal arguments.

    Equal are arguments of the same bytes, whose code and versions are the same (`geomem.reach`).
    Only for functions that their arguments decide, a seed among them.

    Parameters
    ----------
    function : of this package, at the top level of its module, or a method there.

    Raises
    ------
    TypeError : an argument that says nothing of itself, such as a function of a notebook, which
        may use any name there.
    """
    folder = os.environ.get(KEPT_VARIABLE)
    if not folder:
        return function
    from joblib import Memory

    call = Memory(Path(folder), verbose=0).cache(_call, ignore=["function", "args", "kwargs"])

    @wraps(function)
    def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        with warnings.catch_warnings():  # that a busy disk is slow says nothing of the run
            warnings.filterwarnings("ignore", "Persisting input arguments")
            result: T = call(described([function, args, kwargs]), function, args, kwargs)
        return result

    return answer


def _call(key: Any, function: Callable[..., T], args: Any, kwargs: Any) -> T:
    return function(*args, **kwargs)


def described(value: Any) -> Any:
    """A value as plain containers, numbers, texts and arrays: equal values, equal bytes.

    A trained model is its name, which has the hash of all that made it; a function is the code
    that it reaches, with what it has closed over.
    """
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.ndarray, np.generic)):
        return value
    if isinstance(value, Trained):
        return value.name, value.device
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, (list, tuple, set, frozenset)):
        return [described(part) for part in value]
    if isinstance(value, Mapping):
        return [(str(key), described(part)) for key, part in value.items()]
    if isinstance(value, FunctionType) and _ours(value):
        inside = [cell.cell_contents for cell in value.__closure__ or ()]
        return _code(value), described(inside)
    if isinstance(value, MethodType):
        return _code(value), described(value.__self__)
    if isinstance(value, (type, slice, torch.device, Path)):
        return repr(value)
    if not _ours(type(value)):
        raise TypeError(f"kept: {value!r} cannot be told from its like; hand over what it is of.")
    parts = dict(vars(value))
    if isinstance(value, nn.Module):  # its fields are torch's, but for its configuration
        parts = {**value.state_dict(), "config": getattr(value, "config", None)}
    return _code(type(value)), described(parts)


def _ours(of: Any) -> bool:
    return str(of.__module__).split(".")[0] == NAME


def _code(of: Any) -> Any:
    """What a function or class reaches; of one that is not of this package, its name."""
    name = of.__qualname__.split(".<locals>")[0]
    stands_on = reached(f"import {of.__module__}; {of.__module__}.{name}")
    return f"{of.__module__}.{name}", described(vars(stands_on))
