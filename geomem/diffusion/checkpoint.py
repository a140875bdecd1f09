"""Weights on disk: safetensors beside JSON, whole or not at all, and never unpickled.

A saved state is a folder of two files. It is written under another name and renamed, and
the JSON holds the SHA-256 of the tensors, so a torn or altered one is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from geomem.errors import InputError

TENSORS, RECORD = "tensors.safetensors", "record.json"


class CheckpointError(InputError):
    """A saved state that cannot be read; the message says which and what to do."""


def write(folder: Path, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Save tensors and a record of plain values as ``folder``, replacing what was there."""
    work = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    full = {**record, "sha256": hashlib.sha256(content).hexdigest()}
    for name, data in (
        (TENSORS, content),
        (RECORD, (json.dumps(full, indent=1, sort_keys=True) + "\n").encode()),
    ):
        with (work / name).open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())  # on the disk before the rename is
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of a saved state.

    Raises
    ------
    CheckpointError : files missing, torn, altered, or not safetensors.
    """
    try:
        record = json.loads((folder / RECORD).read_text())
        content = (folder / TENSORS).read_bytes()
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            raise CheckpointError(f"{folder}: damaged (its SHA-256 differs); delete this folder.")
        return load(content), record
    except OSError as error:
        raise CheckpointError(f"{folder}: incomplete ({error.strerror}); delete it.") from error
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{folder}: not a state that geomem saved (safetensors and JSON; pickles are "
            "never opened); delete this folder."
        ) from error
