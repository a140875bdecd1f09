"""The store of finished models: trained once, found again by what made them.

A model's key hashes its configuration, its training images and the code that trains; what lies in
its folder says that it is of that key. What stops half-way goes on from its last checkpoint.
Models of one call are dealt out to processes side by side: the fastest use of CPU cores for
networks this small.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from torch import Tensor, distributed

from geomem import disk
from geomem.children import end_with
from geomem.data.sets import ImageSet
from geomem.diffusion import checkpoint
from geomem.diffusion import train as training
from geomem.diffusion.checkpoint import CheckpointError, DamagedError
from geomem.diffusion.cost import check_memory
from geomem.diffusion.network import EDMDenoiser
from geomem.diffusion.presets import ConfigError, Experiment, changed, settings
from geomem.diffusion.train import Record, TrainConfig, TrainingError, TrainState
from geomem.progress import bar
from geomem.reach import reached

STORE_VARIABLE = "GEOMEM_MODELS"  # another folder than ./models
# What cannot change the result, or only in its last digits.
NOT_IN_KEY = {"device", "compile", "threads", "checkpoint"}
TRAINING = "from geomem.diffusion.train import TrainState, train; (TrainState, train)"
EXPERIMENT = "experiment.json"  # what a model is to be, from before its first step
STEP = r"step-([0-9]{8}|[1-9][0-9]{8,})"  # a checkpoint, by the steps done
PROGRESS_SECONDS = 0.5
STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


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
        return denoiser.eval().requires_grad_(False).to(training.device_of(self.device))


def train_or_load(
    experiments: Sequence[Experiment], *, root: Path | None = None, jobs: int | None = None
) -> list[Trained]:
    """The finished model of each experiment, trained now where the store does not hold it.

    Parameters
    ----------
    experiments : list of Experiment
        What to train; see `experiment` for the presets.
    root : Path or None
        The store; default the environment variable GEOMEM_MODELS, else ./models.
    jobs : int or None
        Processes side by side, which the models are dealt out to; default one per CPU
        core that a model takes, and one at a time on CUDA.

    Returns
    -------
    list of Trained
        In the order of the experiments; of each, ``denoise`` is the denoiser, ``at(share)`` that
        of a snapshot, ``losses`` (steps,) the loss of each step.

    Raises
    ------
    TrainingError
        If a training stopped; the others stop with a checkpoint.

    References
    ----------
    Ours; see :doc:`/book/models`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from geomem.diffusion.zoo import fit
    >>> from geomem import experiment, train_or_load
    >>> brief = experiment("digits-mlp-small", {"train.steps": 2, "train.snapshots": ()})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained = fit(brief, root=Path(folder))  # in this process
    ...     (model,) = train_or_load([brief], root=Path(folder))  # found, not trained again
    >>> model.losses.shape
    (2,)
    """
    folders = [folder_of(e, e.data.load(), root) for e in experiments]
    todo = {f: e for f, e in zip(folders, experiments, strict=True) if not _finished(f)}
    if todo:
        first = experiments[0].train
        cuda = training.device_of(first.device) == "cuda"
        cores = max(1, (os.cpu_count() or 1) // first.threads)
        _side_by_side(todo, jobs or (1 if cuda else cores))
    pairs = zip(folders, experiments, strict=True)
    return [load_model(folder, device=e.train.device) for folder, e in pairs]


def fit(
    experiment: Experiment,
    *,
    root: Path | None = None,
    restart: bool = False,
    report: Callable[[Record], None] = lambda record: None,
) -> Trained:
    """Train one model in this process, from its last checkpoint where there is one.

    Parts of the model that are damaged are trained again, from the last checkpoint before them.
    Ctrl-C ends the running step and writes a checkpoint. Where torch.distributed is
    initialised, the processes share the batches, and the first one writes; on several
    machines they need a store on a disk that all of them see.

    Parameters
    ----------
    experiment, root : as in `train_or_load`.
    restart : begin anew, whatever the store holds of this model.
    report : called after each step.

    Raises
    ------
    TrainingError : it asks for more memory than there is, or diverged.
    OSError : the store cannot be written, or its disk is full; what was saved before is kept.
    """
    data = experiment.data.load()
    folder = folder_of(experiment, data, root)
    group = distributed.is_initialized()
    first = not group or distributed.get_rank() == 0
    config = experiment.train.for_images(data.train)
    complete = replace(experiment, train=config)
    if restart or not _finished(folder):
        check_memory(config, distributed.get_world_size() if group else 1)
    with _alone(folder) if first else contextlib.nullcontext():
        if first and restart:
            for part in ("model", "checkpoints"):
                shutil.rmtree(folder / part, ignore_errors=True)
        if group:
            distributed.barrier()  # from here on all of them find the same
        here = stored(folder, complete)
        if not here.finished:
            threads = torch.get_num_threads()
            torch.set_num_threads(config.threads)
            try:
                _fit(complete, data, here, first, report)
            finally:
                torch.set_num_threads(threads)
    return load_model(folder, device=experiment.train.device)


def _fit(
    experiment: Experiment,
    data: ImageSet,
    here: Stored,
    first: bool,
    report: Callable[[Record], None],
) -> None:
    config, folder = experiment.train, here.folder
    if first:
        (folder / EXPERIMENT).write_text(json.dumps(settings(experiment)))
        for place in (folder, folder / "checkpoints"):
            disk.recover_all(place)
    state = TrainState(config)
    if here.step:
        state.load(folder / _checkpoint(here.step))
    if first:
        for unusable in [n for n in _checkpoints(folder) if n > here.step]:
            shutil.rmtree(folder / _checkpoint(unusable))
    labels = data.labels.train if config.model.n_classes else None
    snapshots = config.snapshot_steps
    started, begun = time.perf_counter(), state.step
    with _stop_requests() as stop:
        try:
            for record in training.train(config, data.train, labels, state):
                report(record)
                if first and record.step in snapshots:
                    _write(folder, _snapshot(record.step), state.ema.state_dict(), {})
                stopping = _asked(stop, state.device)
                if first and (stopping or record.step % config.checkpoint == 0):
                    _save(state, folder)
                if stopping:
                    raise KeyboardInterrupt
        except TrainingError:  # the state is whole; in the middle of a step it is not
            if first:
                _save(state, folder)
            raise
    if first:
        record_ = {
            "settings": settings(experiment),
            "images": [len(data.train), *data.train.shape[1:]],
            "data_sha256": data.sha256,
            "seconds": round(time.perf_counter() - started, 1),
            "steps_of_these_seconds": state.step - begun,
            "device": str(state.device),
            "torch": torch.__version__,
        }
        losses = torch.tensor(state.losses, dtype=torch.float64)
        _write(folder, "model", {**state.ema.state_dict(), "losses": losses}, record_)
        for done in _checkpoints(folder):
            shutil.rmtree(folder / _checkpoint(done))
        with contextlib.suppress(OSError):  # something else lies there
            (folder / "checkpoints").rmdir()
    if distributed.is_initialized():
        distributed.barrier()


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
    >>> from geomem.diffusion.zoo import fit
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
        found = [f for f in _folders(root) if f.name.startswith(str(name))]
        if len(found) != 1:
            known = ", ".join(f.name for f in found or _folders(root)) or "none yet"
            raise CheckpointError(
                f"{len(found) or 'no'} models of the name {str(name)!r} in the store: {known}."
            )
        folder = found[0]
    if not _finished(folder):
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
    finished, running : whether it is trained to its end, and whether a process trains it now.
    step : steps done, to the last checkpoint before which nothing is missing.
    experiment : what it is made of; None where that is not known (yet).
    record : of a finished model, as in `Trained`.
    faults : what is there and is not whole, or not this model's: part -> why.
    """

    folder: Path
    finished: bool
    running: bool
    step: int
    experiment: Experiment | None
    record: dict[str, Any]
    faults: dict[str, str] = field(default_factory=dict)

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
    """Every model of the store; no weights are read."""
    return [stored(folder) for folder in _folders(root)]


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
    return Stored(folder, finished, _busy(folder), step, experiment, record, faults)


def folder_of(experiment: Experiment, data: ImageSet, root: Path | None = None) -> Path:
    """Where the model of an experiment lies, trained or not; ``data`` is ``experiment.data``'s."""
    config = experiment.train.for_images(data.train)
    name = f"{data.name}-{len(data.train)}-{config.model.network}-{key(config, data)}"
    return _root(root) / name


def key(config: TrainConfig, data: ImageSet) -> str:
    """What a model is found by: a hash of its configuration, training images and code.

    The code is what `geomem.reach` finds that training reaches, with the versions it stands on.
    """
    kept = {k: v for k, v in settings(config).items() if k not in NOT_IN_KEY}
    digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    digest.update(np.ascontiguousarray(data.train).data)
    if config.model.n_classes:
        digest.update(np.ascontiguousarray(data.labels.train).data)
    digest.update(json.dumps(asdict(reached(TRAINING))).encode())
    return digest.hexdigest()[:12]


def _root(root: Path | None) -> Path:
    store = (root or Path(os.environ.get(STORE_VARIABLE) or "models")).resolve()
    if store.exists() and not store.is_dir():
        raise CheckpointError(f"{store}: the store of models is to be a folder, and this is none.")
    return store


def _folders(root: Path | None) -> list[Path]:
    return sorted(f for f in _root(root).glob("*") if f.is_dir())


def _checkpoints(folder: Path) -> list[int]:
    """The steps of the checkpoints, ascending; what else may lie there is left alone."""
    paths = (folder / "checkpoints").glob("step-*")
    found = ((path, re.fullmatch(STEP, path.name)) for path in paths)
    return sorted(int(name[1]) for path, name in found if name and path.is_dir())


def _json(path: Path) -> dict[str, Any]:
    """The JSON of a file; empty where there is none."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _finished(folder: Path) -> bool:
    return (folder / "model" / checkpoint.RECORD).is_file()


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
    checkpoint.write(folder / part, tensors, {**record, "of": _of(folder, part)})


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


def _save(state: TrainState, folder: Path) -> None:
    """Write a checkpoint; the one before it stays until the next, should this one break."""
    part = _checkpoint(state.step)
    state.save(folder / part, of=_of(folder, part))
    for old in _checkpoints(folder)[:-2]:
        shutil.rmtree(folder / _checkpoint(old))


def _alone(folder: Path) -> FileLock:
    """Wait until no other process trains this model."""
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "lock")


def _busy(folder: Path) -> bool:
    """Whether a process trains this model now."""
    if not (folder / "lock").is_file():
        return False
    try:
        with FileLock(folder / "lock").acquire(blocking=False):
            return False
    except Timeout:
        return True
    except OSError:  # a store that only can be read
        return False


class _Stop:
    requested = False


def _asked(stop: _Stop, device: torch.device) -> bool:
    """Whether this process was asked to stop, or one of its group: they end in the same step."""
    if not distributed.is_initialized():
        return stop.requested
    requests = torch.tensor(float(stop.requested), device=device)
    distributed.all_reduce(requests)
    return bool(requests > 0)


@contextlib.contextmanager
def _stop_requests() -> Iterator[_Stop]:
    """Ctrl-C (SIGTERM, SIGHUP) asks once, so that a step ends whole; twice, it means it."""
    stop, old = _Stop(), {}

    def ask(number: int, frame: Any) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    with contextlib.suppress(ValueError):  # not the main thread: then Ctrl-C is another's
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks
                old[number] = signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


# Side by side


def _side_by_side(todo: dict[Path, Experiment], jobs: int) -> None:
    # Dealt out at once: that a process begins takes as long as a few hundred small steps.
    shares = [[*todo][i::jobs] for i in range(min(jobs, len(todo)))]
    running = dict[int, subprocess.Popen]()
    bars = {f: bar(e.train.steps, f.name, "step", i) for i, (f, e) in enumerate(todo.items())}
    try:
        for i, share in enumerate(shares):
            running[i] = _start({folder: todo[folder] for folder in share})
        while running:
            time.sleep(PROGRESS_SECONDS)
            for folder, shown in bars.items():
                _show(shown, folder)
            for i, process in list(running.items()):
                if process.poll() is not None:
                    del running[i]
                    if process.returncode:
                        failed = next((f for f in shares[i] if not _finished(f)), shares[i][-1])
                        said = (shares[i][0] / "log").read_text().strip().splitlines()
                        killed = process.returncode < 0 or not said
                        raise TrainingError(f"{failed.name}: {'killed' if killed else said[-1]}")
    finally:
        for process in running.values():  # only when something went wrong
            process.terminate()  # as Ctrl-C, which a process may have been told to ignore
        for process in running.values():
            process.wait()
        for shown in bars.values():
            shown.close()


def _start(share: dict[Path, Experiment]) -> subprocess.Popen:
    """A process that trains these models, one after the other."""
    for folder, experiment in share.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / EXPERIMENT).write_text(json.dumps(settings(experiment)))
    first, experiment = next(iter(share.items()))
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": str(experiment.train.threads),
    }
    with (first / "log").open("w") as log:
        code = "from geomem.diffusion.zoo import _work; _work()"
        command = [sys.executable, "-c", code, str(os.getpid()), *map(str, share)]
        # In a session of its own: Ctrl-C reaches it once, through the end of `_side_by_side`.
        return subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, start_new_session=True
        )


def _work() -> None:
    """The life of a process that `_start` starts: train its models, saying how far they are."""
    try:
        end_with(int(sys.argv[1]), grace=600)  # a step, and a checkpoint of it
        for folder in sys.argv[2:]:
            _work_on(Path(folder))
    except KeyboardInterrupt:
        sys.exit(130)
    except (TrainingError, ValueError) as error:
        sys.exit(str(error))


def _work_on(folder: Path) -> None:
    """Train one of them."""
    experiment = changed(Experiment(), json.loads((folder / EXPERIMENT).read_text()))
    said = 0.0

    def report(record: Record) -> None:
        nonlocal said
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            with contextlib.suppress(OSError):  # on a full disk nobody is told how far it is
                (folder / "progress").write_text(f"{record.step} {record.loss:.4g}")

    fit(experiment, root=folder.parent, report=report)
    (folder / "progress").unlink(missing_ok=True)


def _show(shown: Any, folder: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        step, loss = (folder / "progress").read_text().split()
        shown.set_postfix_str(f"loss {loss}", refresh=False)
        shown.update(int(step) - shown.n)
