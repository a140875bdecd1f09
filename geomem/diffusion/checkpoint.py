"""Weights on disk: safetensors beside JSON, whole or not at all, and never unpickled.

A saved state is a folder of two files. It is written under another name and renamed, and
the JSON holds the SHA-256 of the tensors and of itself, so a torn or altered one is noticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from geomem import disk
from geomem.errors import InputError

TENSORS, RECORD = "tensors.safetensors", "record.json"
FOREIGN = "not a state that geomem saved (safetensors and JSON; pickles are never opened)"
SEAL = "record_sha256"  # in a record: of all the rest of it


class CheckpointError(InputError):
    """A saved state that cannot be read; the message says which and what to do."""


class DamagedError(CheckpointError):
    """A saved state that is there and is not whole, or not what belongs there; ``why`` says how."""

    def __init__(self, folder: Path, why: str, advice: str = "delete this folder"):
        super().__init__(f"{folder}: {why}; {advice}.")
        self.why = why


def write(folder: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Save tensors and a record of plain values as ``folder``, replacing what was there.

    Raises
    ------
    OSError : the disk is full, say; what was there is there still, and nothing beside it.
    """
    with disk.replacing(folder) as new:
        content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
        full = {**record, "sha256": hashlib.sha256(content).hexdigest()}
        full[SEAL] = seal(full)
        (new / TENSORS).write_bytes(content)
        (new / RECORD).write_text(json.dumps(full, indent=1, sort_keys=True) + "\n")


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a saved state, as it was written; the tensors are not looked at.

    Raises
    ------
    DamagedError : as `read`.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
        sealed = record.pop(SEAL) == seal(record)
    except OSError as error:
        raise DamagedError(folder, f"incomplete ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(folder, FOREIGN) from error
    if not sealed:
        raise DamagedError(folder, "damaged (the SHA-256 of its record differs)")
    return dict(record)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of a saved state.

    Raises
    ------
    DamagedError : files missing, torn, altered, or not safetensors.
    """
    record = read_record(folder)
    try:
        content = (folder / TENSORS).read_bytes()
    except OSError as error:
        raise DamagedError(folder, f"incomplete ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != record.get("sha256"):
        raise DamagedError(folder, "damaged (its SHA-256 differs)")
    try:
        return load(content), record
    except (ValueError, KeyError, SafetensorError) as error:
        raise DamagedError(folder, FOREIGN) from error


def seal(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a record, its `SEAL` left out."""
    return hashlib.sha256(json.dumps(dict(record), sort_keys=True).encode()).hexdigest()
