"""The arrays that everything takes and gives, and the checks of what comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[Any] | Sequence[Any]  # a numpy array, or nested lists
Array = Numbers | torch.Tensor  # what goes in
Kind = TypeVar("Kind", NDArray[Any], torch.Tensor)  # whichever goes in comes out
LARGEST = 1e30  # of an input: of its squared distances, fourth powers are taken and summed


def check_array(name: str, values: object) -> NDArray[Any] | torch.Tensor:
    """Points (N, ...) of real numbers: a numpy array, a dense tensor, or nested lists as an array.

    A tensor comes without its graph. The numbers are for `check_range`, where they are read.

    Raises
    ------
    ValueError : anything else, fewer than two axes, no points, or points of no number.
    """
    array: NDArray[Any] | torch.Tensor
    if isinstance(values, torch.Tensor):
        array = values.detach()
        if array.layout != torch.strided or array.is_meta or array.is_complex():
            raise ValueError(
                f"{name}: expected a dense tensor of real numbers, got one of layout "
                f"{array.layout} and {array.dtype} on {array.device}."
            )
    else:
        try:
            array = found = np.asarray(values)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ValueError(f"{name}: expected an array, or lists of equal lengths.") from error
        if found.dtype.kind not in "biuf" or np.ma.is_masked(values):
            what = "masked ones" if np.ma.is_masked(values) else found.dtype
            raise ValueError(f"{name}: expected an array of real numbers, got {what}.")
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(
            f"{name}: expected an array of shape (N, ...) with N >= 1 points of at least one "
            f"number, got shape {tuple(array.shape)}."
        )
    return array


def check_slices(name: str, values: Any) -> Any:
    """As `check_array`; but an array that is elsewhere stays there, to be read slice by slice.

    Such are HDF5 datasets and zarr arrays: whatever has ``shape``, ``dtype`` and slices.
    """
    plain = isinstance(values, (np.ndarray, torch.Tensor))
    if plain or not (hasattr(values, "dtype") and len(getattr(values, "shape", ())) > 1):
        return check_array(name, values)
    try:
        first = values[:1]
    except (TypeError, ValueError, IndexError):  # no slices
        return check_array(name, values)
    check_array(name, first)
    return values


def check_floats(name: str, values: object) -> Floats:
    """As `check_array`, all of it in float64 on the host, and within `check_range`."""
    array = check_array(name, values)
    host = array.double().cpu().numpy() if isinstance(array, torch.Tensor) else array
    floats: Floats = np.array(host, dtype=np.float64)
    check_range(name, torch.from_numpy(floats))
    return floats


def check_range(name: str, values: torch.Tensor) -> None:
    """ValueError where a value is NaN, infinite or beyond `LARGEST`: its powers would overflow."""
    ends = torch.stack(torch.aminmax(values)) if values.numel() else values  # in one pass
    if not (ends.abs() <= LARGEST).all():  # also False for NaN
        raise ValueError(
            f"{name}: contains NaN or infinite values, or some beyond {LARGEST:g}; "
            "remove or rescale them first."
        )


def check_sigmas(sigmas: object) -> Floats:
    """Noise levels as a float64 vector, or a ValueError that says what is wrong."""
    if isinstance(sigmas, torch.Tensor):
        sigmas = sigmas.detach().double().cpu().numpy()
    values = np.asarray(sigmas, dtype=np.float64).ravel()
    if len(values) == 0:
        raise ValueError("sigmas: expected a non-empty list of noise levels.")
    if not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError("sigmas: every noise level must be a positive, finite number.")
    return values


def check_count(name: str, value: object) -> int:
    """A number of draws, say, as an int >= 1, or a ValueError that says what is wrong."""
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value}.")
    return int(value)
