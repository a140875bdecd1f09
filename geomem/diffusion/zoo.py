"""The store of finished models: trained once, found again by what made them.

A model's key hashes its configuration, its training images and the code that trains; what lies in
its folder says that it is of that key. Beside what is finished lies what stopped half-way, to its
last checkpoints; `geomem.diffusion.fitting` goes on from there.

A lock spares two processes the same training, and nothing else hangs on it: some network disks
have none, or one for each machine. Every part is written in a folder of its writer's own and then
renamed; of two that train one model at once, whoever is first with a part has it stay.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from geomem import disk
from geomem.data.sets import ImageSet
from geomem.diffusion import checkpoint
from geomem.diffusion.checkpoint import CheckpointError, DamagedError
from geomem.diffusion.network import EDMDenoiser
from geomem.diffusion.presets import ConfigError, Experiment, changed, settings
from geomem.diffusion.train import TrainConfig, TrainingError, TrainState, device_of
from geomem.reach import Reached, reached

STORE_VARIABLE = "GEOMEM_MODELS"  # another folder than ./models
# What does not change what a model is: another kind of device draws other batches and noise, as
# another seed would; compiled, a network with dropout has other masks, as another seed would give
# it; and the rest changes last digits at most.
NOT_IN_KEY = {"device", "compile", "threads", "checkpoint"}
TRAINING = "from geomem.diffusion.train import TrainState, train; (TrainState, train)"
EXPERIMENT = "experiment.json"  # what a model is to be, from before its first step
STEP = r"step-([0-9]{8}|[1-9][0-9]{8,})"  # a checkpoint, by the steps done
OWN = ".of-"  # a folder that one process writes in, with its machine's name after it
LOOKS = 0.5  # seconds in which those who only look at a lock are done
LEFT = 86400.0  # seconds after which what another machine has left there is nobody's
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP}


@dataclass(frozen=True)
class Plan:
    """A training with nothing left open.

    Attributes
    ----------
    experiment : complete: what it left to the images is measured on them.
    data : its images.
    folder : where its model lies, trained or not.
    """

    experiment: Experiment
    data: ImageSet
    folder: Path

    @classmethod
    def of(
        cls, experiment: Experiment, root: Path | None = None, data: ImageSet | None = None
    ) -> Plan:
        """Complete an experiment; ``data`` are its images, where they are loaded already.

        Raises
        ------
        ConfigError : images that the network cannot take.
        """
        data = experiment.data.load() if data is None else data
        whole = experiment.complete(data.train)
        network, hashed = whole.train.model.network, key(whole.train, data)
        name = f"{data.name}-{len(data.train)}-{network}-{hashed}"
        return cls(whole, data, _root(root) / name)


@dataclass(frozen=True)
class Trained:
    """A finished model of the store.

    Attributes
    ----------
    folder : where it lies; its name is the model's.
    experiment : what made it, complete.
    record : what is known of the run: steps, seconds, versions, device.
    losses : (steps,) the loss of each step's batch.
    device : where its denoisers compute: "auto", "cpu" or "cuda".
    """

    folder: Path
    experiment: Experiment
    record: dict[str, Any]
    losses: np.ndarray
    device: str = "auto"

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def denoise(self) -> EDMDenoiser:
        """The denoiser: the averaged weights at the end of training."""
        return self._denoiser("model")

    @property
    def facts(self) -> dict[str, str]:
        """What was trained, as text for tables and prose; the same whenever it is trained again."""
        config, images = self.experiment.train, self.record["images"][0]
        return {
            "n": f"{images:,}",
            "weights": f"{sum(p.numel() for p in self.denoise.parameters()):,}",
            "batch": f"{config.batch:,}",
            "steps": f"{config.steps:,}",
            "images": f"{config.images:,}",
            "epochs": f"{config.images / images:,.0f}",
            "device": self.record["device"],
        }

    def at(self, share: float) -> EDMDenoiser:
        """The denoiser after a share of the training: one of the config's snapshots, or 1."""
        config = self.experiment.train
        if share == 1:
            return self.denoise
        if share not in config.snapshots:
            known = ", ".join(map(str, (*config.snapshots, 1)))
            raise ValueError(f"{self.name}: no snapshot at {share} of its steps; known: {known}.")
        return self._denoiser(_snapshot(config.step_of(share)))

    def course(self) -> tuple[float, float]:
        """Mean loss after an eighth of the steps and at the end, over a twentieth of them each.

        A training between which it has not fallen broke down; such a model memorizes nothing.
        """
        begun, k = len(self.losses) // 8, max(1, len(self.losses) // 20)
        return float(self.losses[begun : begun + k].mean()), float(self.losses[-k:].mean())

    @property
    def broke_down(self) -> bool:
        """Whether the loss has not fallen over that `course`."""
        before, after = self.course()
        return after >= before

    def _denoiser(self, part: str) -> EDMDenoiser:
        tensors, _ = _read(self.folder, part)
        tensors.pop("losses", None)
        denoiser = EDMDenoiser(self.experiment.train.model)
        denoiser.load_state_dict(tensors)
        return denoiser.eval().requires_grad_(False).to(device_of(self.device))


def load_model(name: str | Path, root: Path | None = None, *, device: str = "auto") -> Trained:
    """A finished model by its folder, or by its name in the store or the start of it.

    Parameters
    ----------
    name : str or Path
        The folder of a model, or its name in the store, or how that begins.
    root : Path or None
        The store; default the environment variable GEOMEM_MODELS, else ./models.
    device : str
        Where its denoisers compute: "auto", "cpu" or "cuda".

    Returns
    -------
    Trained
        As `train_or_load` gives it.

    Raises
    ------
    CheckpointError
        If there is no such model, there are several, or it is unfinished, damaged or another's.

    References
    ----------
    Ours; see :doc:`/book/reproduce`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from geomem.diffusion.fitting import fit
    >>> from geomem import experiment, load_model
    >>> brief = experiment("digits-mlp-small", {"train.steps": 2, "train.snapshots": ()})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained = fit(brief, root=Path(folder))
    ...     load_model("digits-64", Path(folder)).name == trained.name
    True
    """
    folder = Path(name)
    if not folder.is_dir():
        if folder.is_file():
            raise CheckpointError(f"{name}: not the folder of a model.")
        named = ((own, f.resolve()) for f in _folders(root) for own in (f.name, f.resolve().name))
        found = sorted({place for own, place in named if own.startswith(str(name))})
        if len(found) != 1:
            known = ", ".join(f.name for f in found or _folders(root)) or "none yet"
            raise CheckpointError(
                f"{len(found) or 'no'} models of the name {str(name)!r} in the store: {known}."
            )
        folder = found[0]
    if not finished(folder):
        raise CheckpointError(f"{folder}: not finished; train it to its end first.")
    folder = folder.resolve()
    tensors, record = _read(folder, "model")
    experiment = changed(Experiment(), record["settings"])
    return Trained(folder, experiment, record, tensors["losses"].numpy(), device)


@dataclass(frozen=True)
class Stored:
    """What the store holds of a model that is whole, finished or not.

    Attributes
    ----------
    folder : where it lies; its name is the model's.
    finished : whether it is trained to its end.
    step : steps done, to the last checkpoint before which nothing is missing.
    experiment : what it is made of; None where that is not known (yet).
    record : of a finished model, as in `Trained`.
    faults : what is there and is not whole, or not this model's: part -> why.
    """

    folder: Path
    finished: bool
    step: int
    experiment: Experiment | None
    record: dict[str, Any]
    faults: dict[str, str] = field(default_factory=dict)

    @cached_property
    def running(self) -> bool:
        """Whether a process trains it, when this is asked first: to find out may take a while."""
        return _busy(self.folder)

    @property
    def state(self) -> str:
        """In words: "finished", or how far it is."""
        if self.finished:
            return "finished"
        if self.faults and not self.running:
            return "; ".join(f"{part} is {why}" for part, why in self.faults.items())
        of = f" of {self.experiment.train.steps:,}" if self.experiment else ""
        if self.running:
            return f"in training; last checkpoint: step {self.step:,}{of}"
        return f"stopped after step {self.step:,}{of}" if self.step else "not begun"


def models(root: Path | None = None) -> list[Stored]:
    """Every model of the store, once, whatever links there are to it; no weights are read."""
    return [stored(folder) for folder in sorted({f.resolve() for f in _folders(root)})]


def stored(folder: Path, experiment: Experiment | None = None) -> Stored:
    """What lies in the folder of one model, or will.

    Parameters
    ----------
    experiment : complete, what is to lie there: then all weights are read and compared with their
        SHA-256; without it the records only.
    """
    read, faults = _read_record if experiment is None else _read, dict[str, str]()

    def whole(part: str) -> bool:
        try:
            read(folder, part)
        except DamagedError as error:
            if (folder / part).is_dir():
                faults[part] = error.why
            return False
        return True

    finished = whole("model")
    record = _read_record(folder, "model") if finished else {}
    if experiment is None:
        with contextlib.suppress(ConfigError):  # of another version of this package
            experiment = changed(Experiment(), record.get("settings") or _json(folder / EXPERIMENT))
    if experiment is not None and experiment.train.model.channels is None:
        experiment = None  # still to be completed by the process that trains it
    steps = experiment.train.steps if experiment else 0
    snapshots = experiment.train.snapshot_steps if experiment else set()
    missing = min((n for n in snapshots if not whole(_snapshot(n))), default=math.inf)
    finished = finished and missing == math.inf
    usable = (n for n in reversed(_checkpoints(folder)) if n < missing and whole(_checkpoint(n)))
    step = steps if finished else next(usable, 0)
    return Stored(folder, finished, step, experiment, record, faults)


def key(config: TrainConfig, data: ImageSet) -> str:
    """What a model is found by: a hash of its configuration, training images and code.

    The code is what `geomem.reach` finds that training reaches, with the versions it stands on.
    """
    kept = {k: v for k, v in settings(config).items() if k not in NOT_IN_KEY}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(data.train).data)
    if config.model.n_classes:
        digest.update(np.ascontiguousarray(data.labels.train).data)
    digest.update(json.dumps(asdict(training_code())).encode())
    return digest.hexdigest()[:12]


@cache  # a process trains with the code that it has begun with, and asks for many keys
def training_code() -> Reached:
    """What training stands on."""
    return reached(TRAINING)


def finished(folder: Path) -> bool:
    """Whether a model's folder holds one that was trained to its end; nothing of it is read."""
    return (folder / "model" / checkpoint.RECORD).is_file()


def _root(root: Path | None) -> Path:
    store = (root or Path(os.environ.get(STORE_VARIABLE) or "models")).resolve()
    if store.exists() and not store.is_dir():
        raise CheckpointError(f"{store}: the store of models is to be a folder, and this is none.")
    return store


def _folders(root: Path | None) -> list[Path]:
    return sorted(f for f in _root(root).glob("*") if f.is_dir())


def _checkpoints(folder: Path) -> list[int]:
    """The steps of the checkpoints, ascending; what else may lie there is left alone."""
    return _steps(folder / "checkpoints")


def _steps(place: Path) -> list[int]:
    found = ((path, re.fullmatch(STEP, path.name)) for path in place.glob("step-*"))
    return sorted(int(name[1]) for path, name in found if name and path.is_dir())


def _json(path: Path) -> dict[str, Any]:
    """The JSON of a file; empty where there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _busy(folder: Path) -> bool:
    """Whether a process trains this model now.

    Looking takes the lock for an instant; so one that is taken is asked for again for a while, as
    others may look at it, too.
    """
    if not (folder / "lock").is_file():
        return False
    lock = FileLock(folder / "lock")
    try:
        acquire(lock, timeout=LOOKS)
    except Timeout:
        return True
    except OSError:  # a store that only can be read
        return False
    lock.release()
    return False


def acquire(lock: FileLock, *, blocking: bool = True, timeout: float = -1) -> bool:
    """Wait for a lock, or not, or for some seconds; whether there is such a thing on its disk.

    Where others have it for longer, filelock's Timeout.
    """
    try:
        # Without flock it would warn, and take a file for a lock, which outlives who is killed.
        with warnings.catch_warnings(action="error", category=UserWarning):
            lock.acquire(timeout, blocking=blocking)
    except (UserWarning, NotImplementedError):  # what filelock says of such a disk, by its version
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


# The parts of a model: "model", its snapshots, and its checkpoints


def _snapshot(step: int) -> str:
    return f"step-{step:08d}"


def _checkpoint(step: int) -> str:
    return f"checkpoints/step-{step:08d}"


def _of(folder: Path, part: str) -> str:
    """What a part says that it is: the key of the model, and which part of it."""
    return f"{folder.name.rpartition('-')[2]}/{part}"


def _write(
    folder: Path, part: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    if bad := _not_finite(tensors):
        raise TrainingError(f"training ended with {bad} not finite; a smaller lr may help.")
    full = {**record, "of": _of(folder, part)}
    _publish(folder, part, lambda place: checkpoint.write(place, tensors, full))


def _read(folder: Path, part: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of a part, by their SHA-256 and this model's."""
    _read_record(folder, part)
    tensors, record = checkpoint.read(folder / part)
    if bad := _not_finite(tensors):
        raise DamagedError(folder / part, f"not a model: {bad} is not finite")
    return tensors, record


def _read_record(folder: Path, part: str) -> dict[str, Any]:
    record = checkpoint.read_record(folder / part)
    if record.get("of") != _of(folder, part):
        why = f"of {record.get('of')}, not of {_of(folder, part)}"
        advice = "give the model's folder its name back if it was renamed, or delete this folder"
        raise DamagedError(folder / part, why, advice)
    return record


def _not_finite(tensors: Mapping[str, Tensor]) -> str:
    """The name of a tensor with a value that is NaN or infinite; "" where there is none."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), "")


# What a training writes


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other process trains this model, as far as its disk has locks.

    What killed processes left half written goes: with the lock held, all that is of this machine,
    and of other machines what is older than a day.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    held = acquire(lock)
    try:
        for left in folder.glob(f"{OWN}*"):
            with contextlib.suppress(OSError):  # gone already
                ours = held and left.name.rpartition("-")[0] + "-" == _own()
                if ours or left.stat().st_mtime < time.time() - LEFT:
                    disk.remove(left)
        yield
    finally:
        lock.release()


def _own() -> str:
    return f"{OWN}{socket.gethostname()}-"


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A new folder in that of a model which no other process writes in."""
    kept: dict[str, Any] = {"prefix": _own(), "dir": folder, "ignore_cleanup_errors": True}
    with tempfile.TemporaryDirectory(**kept) as own:
        yield Path(own)


def _publish(folder: Path, part: str, write: Callable[[Path], None]) -> None:
    """Write a part, whole or not at all; where a whole one stands, it stays."""
    place = folder / part
    with _aside(folder) as own:
        new = own / place.name
        write(new)
        place.parent.mkdir(exist_ok=True)
        try:
            new.rename(place)
        except OSError:
            with contextlib.suppress(CheckpointError):
                _read(folder, part)
                return
            with contextlib.suppress(FileNotFoundError):
                place.rename(own / "damaged")
            new.rename(place)


def begin(folder: Path, experiment: Experiment) -> None:
    """Write down what a model is to be; without its lock, so not where its owner sweeps."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".{EXPERIMENT}-{socket.gethostname()}-{os.getpid()}"
    new.write_text(json.dumps(settings(experiment)))
    new.replace(folder / EXPERIMENT)


def forget(folder: Path) -> None:
    """Drop the finished model, its snapshots and its checkpoints."""
    for part in ("model", *map(_snapshot, _steps(folder))):
        disk.remove(folder / part)
    drop_checkpoints(folder)


def load_checkpoint(state: TrainState, folder: Path, step: int) -> None:
    """Put a new training where it stood after a step; after none it stands there."""
    if step:
        state.load(folder / _checkpoint(step))


def drop_checkpoints(folder: Path, after: int = -1) -> None:
    """Drop the checkpoints of steps beyond this one; by default all of them."""
    for step in _checkpoints(folder):
        if step > after:
            disk.remove(folder / _checkpoint(step))


def save_checkpoint(state: TrainState, folder: Path) -> None:
    """Write a checkpoint; the one before it stays until the next, should this one break."""
    part = _checkpoint(state.step)
    _publish(folder, part, lambda place: state.save(place, of=_of(folder, part)))
    for old in _checkpoints(folder)[:-2]:
        disk.remove(folder / _checkpoint(old))


def save_snapshot(state: TrainState, folder: Path) -> None:
    _write(folder, _snapshot(state.step), state.ema.state_dict(), {})


def finish(state: TrainState, folder: Path, record: Mapping[str, Any]) -> None:
    """Write the finished model and what is known of its training; its checkpoints go."""
    losses = torch.tensor(state.losses, dtype=torch.float64)
    _write(folder, "model", {**state.ema.state_dict(), "losses": losses}, record)
    drop_checkpoints(folder)
