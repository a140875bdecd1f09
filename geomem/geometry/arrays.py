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
