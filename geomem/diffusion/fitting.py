"""Training to the end: one model here, or several in processes side by side.

What stops half-way goes on from its last checkpoint. Models of one call are dealt out to processes,
the fastest use of CPU cores for networks this small; in a run of the book, what takes seconds is
trained where it is asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from geomem.children import end_with
from geomem.diffusion import train as training
from geomem.diffusion import zoo
from geomem.diffusion.checkpoint import DamagedError
from geomem.diffusion.cost import assumed_seconds, check_memory
from geomem.diffusion.presets import Experiment, changed, settings
from geomem.diffusion.train import Record, TrainConfig, TrainingError, TrainState
from geomem.diffusion.zoo import Plan, Stored, Trained, load_model
from geomem.progress import RUN_VARIABLE, bar
from geomem.reach import edited

PROGRESS_SECONDS = 0.5
BRIEF = 40.0  # seconds of all trainings, at the rate assumed, below which no process is begun
STOP_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


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
    >>> from geomem.diffusion.fitting import fit
    >>> from geomem import experiment, train_or_load
    >>> brief = experiment("digits-mlp-small", {"train.steps": 2, "train.snapshots": ()})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained = fit(brief, root=Path(folder))  # in this process
    ...     (model,) = train_or_load([brief], root=Path(folder))  # found, not trained again
    >>> model.losses.shape
    (2,)
    """
    todo, folders = dict[Path, Experiment](), list[Path]()
    for plan in (Plan.of(experiment, root) for experiment in experiments):
        folders.append(plan.folder)
        if not zoo.stored(plan.folder).finished:
            todo[plan.folder] = plan.experiment
    if todo:
        _train(todo, jobs)
    pairs = zip(folders, experiments, strict=True)
    return [load_model(folder, device=e.train.device) for folder, e in pairs]


def _train(todo: dict[Path, Experiment], jobs: int | None) -> None:
    configs = [experiment.train for experiment in todo.values()]
    cuda = training.device_of(configs[0].device) == "cuda"
    if jobs is None and not cuda and _brief(configs):
        for folder, experiment in todo.items():
            _here(folder, experiment)
        return
    cores = max(1, (os.cpu_count() or 1) // configs[0].threads)
    _side_by_side(todo, jobs or (1 if cuda else cores))


def _brief(configs: Sequence[TrainConfig]) -> bool:
    """Whether processes would take longer to begin than they save.

    So it is in a run of the book, where other notebooks have the other cores. Elsewhere cores are
    free, and what the caller's process does else, or has set for torch, is not known.
    """
    if RUN_VARIABLE not in os.environ or edited() or any(config.compile for config in configs):
        return False
    return sum(map(assumed_seconds, configs)) < BRIEF


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
    return carry_out(Plan.of(experiment, root), restart=restart, report=report)


def carry_out(
    plan: Plan, *, restart: bool = False, report: Callable[[Record], None] = lambda record: None
) -> Trained:
    """`fit` of what is planned already."""
    folder, config = plan.folder, plan.experiment.train
    group = distributed.is_initialized()
    first = not group or distributed.get_rank() == 0
    if restart or not zoo.finished(folder):
        check_memory(config, distributed.get_world_size() if group else 1)
    with zoo.alone(folder) if first else contextlib.nullcontext():
        if first and restart:
            zoo.forget(folder)
        if group:
            distributed.barrier()  # from here on all of them find the same
        here = zoo.stored(folder, plan.experiment)
        if not here.finished:
            threads = torch.get_num_threads()
            torch.set_num_threads(config.threads)
            try:
                _fit(plan, here, first, report)
            finally:
                torch.set_num_threads(threads)
    return load_model(folder, device=config.device)


def _fit(plan: Plan, here: Stored, first: bool, report: Callable[[Record], None]) -> None:
    experiment, data, folder = plan.experiment, plan.data, plan.folder
    config = experiment.train
    if first:
        zoo.begin(folder, experiment)
    state = TrainState(config)
    try:
        zoo.load_checkpoint(state, folder, here.step)
    except DamagedError:  # dropped since then, as only on a disk without locks
        if distributed.is_initialized():  # the others may have it
            raise
        state = TrainState(config)
    if first:
        zoo.drop_checkpoints(folder, after=state.step)  # something before them is missing
    labels = data.labels.train if config.model.n_classes else None
    snapshots = config.snapshot_steps
    started, begun = time.perf_counter(), state.step
    with _stop_requests() as stop:
        try:
            for record in training.train(config, data.train, labels, state):
                report(record)
                if first and record.step in snapshots:
                    zoo.save_snapshot(state, folder)
                # On CUDA the state is that of the last record of a stretch.
                stopping = record.step == state.step and _asked(stop, state.device)
                if first and (stopping or record.step % config.checkpoint == 0):
                    zoo.save_checkpoint(state, folder)
                if stopping:
                    raise KeyboardInterrupt
        except TrainingError:  # the state is whole; in the middle of a step it is not
            if first:
                zoo.save_checkpoint(state, folder)
            raise
    if first:
        facts = {
            "settings": settings(experiment),
            "images": [len(data.train), *data.train.shape[1:]],
            "data_sha256": data.sha256,
            "seconds": round(time.perf_counter() - started, 1),
            "steps_of_these_seconds": state.step - begun,
            "device": str(state.device),
            "torch": torch.__version__,
        }
        zoo.finish(state, folder, facts)
    if distributed.is_initialized():
        distributed.barrier()


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


# One after the other, or side by side


def _here(folder: Path, experiment: Experiment) -> None:
    def report(record: Record) -> None:
        shown.set_postfix_str(f"loss {record.loss:.4g}", refresh=False)
        shown.update(record.step - shown.n)

    with bar(experiment.train.steps, folder.name, "step") as shown:
        try:
            with contextlib.redirect_stdout(None):  # what loading says of images was said before
                plan = Plan.of(experiment, folder.parent)
            carry_out(plan, report=report)
        except (TrainingError, ValueError, OSError, RuntimeError) as error:
            raise TrainingError(f"{folder.name}: {error}") from error


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
                        failed = next((f for f in shares[i] if not zoo.finished(f)), shares[i][-1])
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
        zoo.begin(folder, experiment)
    first, experiment = next(iter(share.items()))
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "OMP_NUM_THREADS": str(experiment.train.threads),
    }
    with (first / "log").open("w") as log:
        code = "from geomem.diffusion.fitting import _work; _work()"
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
    experiment = changed(Experiment(), json.loads((folder / zoo.EXPERIMENT).read_text()))
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
