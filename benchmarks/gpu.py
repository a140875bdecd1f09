"""One prepared run on a GPU, at most eight minutes on an H100: bash benchmarks/gpu.sh DATA OUT

DATA is a folder with CIFAR-10's binary version, or with some of its files; `shipped` takes the
Fashion-MNIST images of the package instead. OUT gets figures (where matplotlib is), tables and
record.json, which is written anew after each stage:

device    what it runs on, versions, commit
checks    the network, bfloat16, resume, geometry, a group of one process, torch.compile there
tests     those marked `cuda`, where pytest is
training  benchmarks/training.py
geometry  both curves and the danger zone of 1,000 and 20,000 images
pair      the preset cifar10-fast on 256 images and on all: rates per noise level, swaps

Each stage is a process with a time limit of its own. One that fails, or takes too long, is
recorded with its error, and the rest goes on; the exit code is then 1. Without CUDA all sizes are
cut down to what a CPU does in minutes, as with --quick.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
LIMITS = {"device": 40, "checks": 58, "tests": 80, "training": 90, "geometry": 70, "pair": 140}
WRITES = {  # beside record.json and logs, as patterns
    "training": ["training.json"],
    "geometry": ["regimes-*.csv", "regimes-*.png"],
    "pair": ["rates.csv", "rates.png", "swaps.csv", "swaps.png", "samples.png"],
}
MOST = 16e6  # bytes of all that is written
LOG = 20_000  # characters of what a stage says, at its end, that are kept
NEEDED = ("torch", "numpy", "scipy", "scikit-learn", "safetensors", "matplotlib", "pytest")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", metavar="DATA", help="a folder with CIFAR-10, or `shipped`")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of what comes out")
    parser.add_argument("--quick", action="store_true", help="sizes that a CPU does in minutes")
    parser.add_argument("--stage", choices=LIMITS, help="only this one, in this process")
    options = parser.parse_args()
    data, out = options.data, options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if options.stage:
        sys.path.insert(0, str(ROOT))
        STAGES[options.stage](data, out, options.quick)
    else:
        sys.exit(run(data, out, options.quick))


# The run, which imports nothing that may fail


def run(data: str, out: Path, quick: bool) -> int:
    """Every stage, one after the other; 0 where all are done."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"date": now, "data": Path(data).name, "quick": quick, **commit(), "stages": {}}
    stages = record["stages"]
    for name, limit in LIMITS.items():
        quick = quick or stages.get("device", {}).get("cuda") is False
        record["quick"] = quick
        part = out / f"{name}.part"
        for pattern in (part.name, *WRITES.get(name, ())):
            for left in out.glob(pattern):  # by an earlier run
                left.unlink()
        command = [sys.executable, __file__, data, str(out), "--stage", name]
        limit *= 1 + 2 * quick  # a CPU takes its time
        ended = attempt(command + ["--quick"] * quick, limit)
        (out / f"{name}.log").write_text(ended.pop("said"))
        facts = json.loads(part.read_text()) if part.exists() else {}
        part.unlink(missing_ok=True)
        stages[name] = {**ended, "limit_s": limit, **facts}
        (out / "record.json").write_text(json.dumps(record, indent=1) + "\n")
        print(f"{name}: {ended['state']}, {ended['seconds']} s", flush=True)
        if "error" in ended:
            print(f"  {ended['error']}", flush=True)
    written = sum(path.stat().st_size for path in out.iterdir())
    print(f"{out / 'record.json'}; {written / 1e6:.2f} MB in all")
    return int(written > MOST or any(stage["state"] != "done" for stage in stages.values()))


def attempt(command: list[str], limit: float) -> dict:
    """What became of a command that may take so many seconds, and its last words."""
    begun = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            state = "failed" if process.wait(limit) else "done"
        except subprocess.TimeoutExpired:
            state = "out of time"
        finally:  # and whatever it has started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace")[-LOG:]
    ended = {"state": state, "seconds": round(time.perf_counter() - begun, 1), "said": said}
    if state != "done":
        last = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        ended["error"] = last if state == "failed" else f"ended after {limit:g} s; last: {last}"
    return ended


def commit() -> dict:
    """The commit of this checkout, and whether it was changed since; None outside git."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(ROOT), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


# What a stage tells


def keep(out: Path, name: str, **facts: object) -> None:
    """Add facts to what a stage has told; what it told before it is ended stays told."""
    part = out / f"{name}.part"
    told = json.loads(part.read_text()) if part.exists() else {}
    new = part.with_suffix(".new")
    new.write_text(json.dumps(told | facts))
    new.replace(part)  # whole, should the stage end here


def streamed(command: list[str], tell: Callable[[list[str]], None]) -> None:
    """Run a command, say each line as it comes and tell all so far; exit where it fails."""
    said: list[str] = []
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment(), **how) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line.rstrip())
            tell(said)
    if process.returncode:
        sys.exit((said or ["it said nothing"])[-1])


def tabulate(out: Path, name: str, columns: dict) -> None:
    """A table as comma-separated values."""
    with (out / f"{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def draw(out: Path, name: str, picture: object) -> None:
    """Write what a function of geomem's pictures draws, where matplotlib is."""
    if importlib.util.find_spec("matplotlib") is None:
        print(f"{name}: not drawn, matplotlib is not here")
        return
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams["figure.constrained_layout.use"] = True
    from geomem.plots import drawing, files, pictures

    fig = picture(drawing, pictures)
    (out / f"{name}.png").write_bytes(files.picture(fig, name, "png", dpi=110))


def images_of(data: str):
    """Training and held-out images (n, 3, 32, 32) in [-1, 1], and where they are from.

    Of CIFAR-10 what is there, in its own order; held out are test images, or else the last tenth.
    """
    import numpy as np

    if data == "shipped":
        from geomem.data.sets import load_dataset

        found = load_dataset("fashion-mini")
        train, heldout = (
            np.pad(part, ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-1).repeat(3, 1)
            for part in (found.train, found.heldout)
        )
        return train, heldout, {"images": f"{found.source}, padded to 3x32x32"}
    from geomem.data.named import CIFAR10_BATCHES, CIFAR10_FOLDER, CIFAR10_TEST

    folder = Path(data) / CIFAR10_FOLDER
    folder = folder if folder.is_dir() else Path(data)
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*_batch*.bin"))}
    known = {*CIFAR10_BATCHES.values(), *CIFAR10_TEST}
    published = [name for name in files if hashlib.md5(files[name]).hexdigest() in known]

    def read(names: list[str]):
        rows = np.frombuffer(b"".join(files[name] for name in names), np.uint8)
        pixels = rows.reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32)
        return pixels.astype(np.float32) / np.float32(127.5) - 1

    if not any(name in CIFAR10_BATCHES for name in files):
        sys.exit(f"{data}: no data_batch_*.bin of CIFAR-10's binary version is there.")
    train = read([name for name in CIFAR10_BATCHES if name in files])
    tenth = len(train) // 10
    if "test_batch.bin" in files:
        heldout = read(["test_batch.bin"])
    else:
        train, heldout = train[:-tenth], train[-tenth:]
    return train, heldout, {"images": f"CIFAR-10, {', '.join(files)}", "as published": published}


# The stages


def device(data: str, out: Path, quick: bool) -> None:
    import torch

    def version(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    cuda = torch.cuda.is_available()
    facts = {"cuda": cuda, "machine": platform.platform(), "cpus": os.cpu_count()}
    facts["versions"] = {"python": platform.python_version(), **{n: version(n) for n in NEEDED}}
    if cuda:
        found = torch.cuda.get_device_properties(0)
        facts |= {"device": found.name, "memory_gib": round(found.total_memory / 2**30, 1)}
        facts |= {"capability": [found.major, found.minor], "cuda_version": torch.version.cuda}
        facts |= {"cudnn": torch.backends.cudnn.version(), "devices": torch.cuda.device_count()}
    keep(out, "device", **facts)


def checks(data: str, out: Path, quick: bool) -> None:
    """Each of `CHECKS`: how far apart two ways are, mostly device and CPU, and may be."""
    train, heldout, _ = images_of(data)
    wrong = []
    for check, (measure, allowed) in CHECKS.items():
        print(f"{check}: ", end="", flush=True)  # the last word, should it take too long
        try:
            apart = float(measure(train[:256], heldout[:256]))
        except Exception as error:  # of one; the others are looked at all the same
            apart, found = float("nan"), {"error": f"{type(error).__name__}: {error}"}
            print(found["error"], flush=True)
        else:
            found = {"apart": apart, "allowed": allowed}
            print(f"{apart:.3g} apart, {allowed:.3g} allowed", flush=True)
        keep(out, "checks", **{check: found})
        wrong += [check] * (not apart <= allowed)
    if wrong:
        sys.exit(f"failed, or too far apart: {', '.join(wrong)}")


def network_apart(train, heldout, precision: str = "float32") -> float:
    """Answers of one network on the device and on the CPU; relative, in the root mean square."""
    import torch

    from geomem.diffusion.network import EDMDenoiser

    torch.manual_seed(0)
    denoiser = EDMDenoiser(fast().for_images(train).model).eval().requires_grad_(False)
    for weight in denoiser.parameters():  # those that begin at zero would answer nothing
        weight.add_(0.02 * torch.randn_like(weight))
    noisy = torch.from_numpy(heldout[:16]) + torch.randn(16, *heldout.shape[1:])
    here = denoiser(noisy, 1.0)
    denoiser.precision = getattr(torch, precision)
    there = denoiser.to(where())(noisy.to(where()), 1.0).cpu()
    return float((there - here).norm() / here.norm())


def resume_apart(train, heldout) -> float:
    """Weights after four steps, and after two, a checkpoint and two more."""
    import torch

    from geomem.diffusion.train import TrainState
    from geomem.diffusion.train import train as steps

    torch.backends.cudnn.deterministic = True
    config = replace(few_steps(train), checkpoint=2)
    whole, part = TrainState(config), TrainState(config)
    for _ in steps(config, train, state=whole):
        pass
    for record in steps(config, train, state=part):
        if record.step == 2:
            break
    again = TrainState(config)
    with tempfile.TemporaryDirectory() as folder:
        part.save(Path(folder) / "state")
        again.load(Path(folder) / "state")
    for _ in steps(config, train, state=again):
        pass
    pairs = zip(whole.ema.parameters(), again.ema.parameters(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def few_steps(images, **changes):
    """A training of four steps of the fast network, but narrow, with changes of the network."""
    model = replace(fast().model, width=16, **changes)
    changes = {"steps": 4, "warmup": 0, "batch": 8, "device": where()}
    return replace(fast(), model=model, **changes).for_images(images)


def moved(config, images):
    """How far a training moves the average of the weights, (P,) float32, on the CPU."""
    from torch.nn.utils import parameters_to_vector

    from geomem.diffusion.train import TrainState
    from geomem.diffusion.train import train as steps

    state = TrainState(config)
    before = parameters_to_vector(state.ema.parameters())
    for _ in steps(config, images, state=state):
        pass
    return (parameters_to_vector(state.ema.parameters()) - before).cpu()


def group_apart(train, heldout) -> float:
    """Training in a group of one process, and in none: relative to how far the weights go."""
    from torch import distributed

    config = replace(few_steps(train), precision="float32")
    alone = moved(config, train)
    with tempfile.TemporaryDirectory() as folder:
        kind, place = "nccl" if where() == "cuda" else "gloo", f"file://{folder}/place"
        distributed.init_process_group(kind, init_method=place, rank=0, world_size=1)
        try:
            grouped = moved(config, train)
        finally:
            distributed.destroy_process_group()
    return float((grouped - alone).norm() / alone.norm())


def compile_apart(train, heldout) -> float:
    """Training compiled, and as it stands, likewise; of the network's first level alone."""
    import torch

    config = replace(few_steps(train, multipliers=(1,), blocks=1), precision="float32")
    alone = moved(config, train)
    # A CPU, where compiling would take minutes, only captures and differentiates.
    how = {} if where() == "cuda" else {"backend": "aot_eager"}
    captured = mock.patch.object(torch, "compile", functools.partial(torch.compile, **how))
    with captured, warnings.catch_warnings():
        warnings.filterwarnings("error", "torch.compile does not work")
        compiled = moved(replace(config, compile=True), train)
    return float((compiled - alone).norm() / alone.norm())


def geometry_apart(train, heldout) -> float:
    """Both curves, distances and the empirical denoiser, in double precision."""
    import numpy as np

    import geomem

    sigmas = np.geomspace(0.02, 80, 12)
    noisy = heldout + 2 * np.random.default_rng(0).standard_normal(heldout.shape)
    found = []
    for device in ("cpu", where()):
        how = {"draws": 2, "device": device}
        denoised = geomem.EmpiricalDenoiser(train, device=device)(noisy, 2.0)
        found.append([
            geomem.max_posterior_weight(train, sigmas, **how).mean,
            geomem.shell_coverage(heldout, train, sigmas, **how).mean,
            geomem.nearest_distances(heldout, train, device=device),
            denoised,
        ])  # fmt: skip
    return max(float(np.abs(a - b).max()) for a, b in zip(*found, strict=True))


CHECKS = {  # TF32 keeps ten bits of a product, bfloat16 seven
    "network": (network_apart, 5e-3),
    "bfloat16": (lambda *images: network_apart(*images, "bfloat16"), 5e-2),
    "resume": (resume_apart, 1e-5),
    "geometry": (geometry_apart, 1e-9),
    "group": (group_apart, 0.1),
    "compile": (compile_apart, 0.1),  # last: it may take all the time that is left
}


def tests(data: str, out: Path, quick: bool) -> None:
    if importlib.util.find_spec("pytest") is None:
        keep(out, "tests", pytest="not here; the checks have run without it")
        return
    marked = [p for p in sorted((ROOT / "tests").glob("test_*.py")) if "mark.cuda" in p.read_text()]
    if not marked:
        sys.exit("no test of this checkout is marked cuda")
    options = ["-v", "-m", "cuda", "-p", "no:cacheprovider", "-o", "addopts=-ra"]
    options += ["-p", "benchmarks.gpu"]  # for the order, by the function below
    command = [sys.executable, "-m", "pytest", *options, *map(str, marked)]
    streamed(command, lambda said: keep(out, "tests", pytest=said[-1], **outcomes(said)))


def pytest_collection_modifyitems(items: list) -> None:
    """What compiles comes last, as it may take all the time that is left."""
    items.sort(key=lambda item: "compile" in item.name)


def outcomes(said: list[str]) -> dict[str, list[str]]:
    """Which tests passed, failed or were skipped, by the lines of pytest so far."""
    found: dict[str, list[str]] = {}
    for line in said:
        if match := re.match(r"\S+::(.+?) (PASSED|FAILED|ERROR|SKIPPED)\b", line):
            kind = {"ERROR": "errors"}.get(match[2], match[2].lower())  # "error" is the stage's own
            found.setdefault(kind, []).append(match[1])
    return found


def training(data: str, out: Path, quick: bool) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "training.py")]
    command += ["--json", str(out / "training.json"), "--device", where()]
    command += ["--quick"] * quick
    streamed(command, lambda said: keep(out, "training", said=said))


def geometry(data: str, out: Path, quick: bool) -> None:
    import geomem

    train, heldout, said = images_of(data)
    keep(out, "geometry", **said, heldout=len(heldout[:1000]), of={})
    measured = {}
    for n in (100, 400) if quick else (1000, 20_000):
        if n > len(train):
            print(f"N = {n}: only {len(train)} images are there")
            continue
        begun = time.perf_counter()
        found = geomem.measure_regimes(heldout[: min(n, 1000)], train[:n], device=where())
        seconds, zone = round(time.perf_counter() - begun, 2), found.regimes
        edges = {"covered": zone.covered, "concentrated": zone.concentrated}
        edges |= {"crossing": zone.crossing}
        measured[n] = {"seconds": seconds, **{k: list(v.numbers) for k, v in edges.items()}}
        print(f"N = {n}: danger zone {found.zone_in_words}, {seconds} s", flush=True)
        keep(out, "geometry", of=measured)
        tabulate(out, f"regimes-{n}", found.table())
        curves = {"C_sigma": found.coverage, "W_sigma": found.weight}
        draw(out, f"regimes-{n}", lambda drawing, _, curves=curves, zone=zone: (
            drawing.noise_curves(curves, "probability", regimes=zone)[0]
        ))  # fmt: skip


def pair(data: str, out: Path, quick: bool) -> None:
    """A model of few images and one of all: how much each memorizes, and where."""
    import geomem
    from geomem.digitized.stated import SWAP_STEPS
    from geomem.memorization.copy_range import CopyRange
    from geomem.memorization.swaps import TITLES, SwapTable, windows_for

    train, heldout, said = images_of(data)
    n_few, n, n_heldout = (16, 16, 40) if quick else (256, 256, 1000)
    data_of = {"small": train[:n_few], "large": train}
    heldout, levels = heldout[:n_heldout], geomem.karras_sigmas()
    sizes = {name: len(images) for name, images in data_of.items()}
    keep(out, "pair", **said, sizes=sizes, heldout=len(heldout), samples=n)
    models, told = {}, {}
    for name, images in data_of.items():
        models[name], told[name] = trained(images, quick)
        print(f"{name}: {told[name]}", flush=True)
        keep(out, "pair", training=told)

    distinct = geomem.DistinctImages(data_of["small"], where())
    asked = {**models, "empirical": geomem.EmpiricalDenoiser(distinct.images, device=where())}
    rates = {
        name: geomem.memorization_rates(of, heldout, distinct, levels[5:15], device=where())
        for name, of in asked.items()
    }
    ends = {"low": "low", "rate": "mean", "high": "high"}
    columns = {f"{k}, {end}": getattr(r, a) for k, r in rates.items() for end, a in ends.items()}
    tabulate(out, "rates", {"sigma": levels[5:15], **columns})
    draw(out, "rates", lambda drawing, _: (
        drawing.noise_curves(rates, "memorization rate", axis="share")[0]
    ))  # fmt: skip

    reach = CopyRange.of(distinct, heldout, models["large"], device=where())
    windows = windows_for(reach, levels)
    table = SwapTable.of(*models.values(), windows, distinct, n, solver="euler")
    titles = {name: title for name, title in TITLES.items() if not name.startswith("stop")}
    tabulate(out, "swaps", table.table(titles))
    shares = {f"{of}, {by or 'no swap'}": str(table.share(of, by)) for of, by in table.passed}
    keep(out, "pair", memorized=shares)
    print("\n".join(f"{condition}: {share}" for condition, share in shares.items()), flush=True)
    named = {name: f"{name}, N = {size:,}" for name, size in sizes.items()}
    lines = [(base, name) for base in sizes for name in ("", *SWAP_STEPS)]
    draw(out, "swaps", lambda _, pictures: pictures.swap_table(table, titles, named))
    draw(out, "samples", lambda _, pictures: (
        pictures.swapped_samples(table, lines, titles, 8, data_of["small"])[0]
    ))  # fmt: skip


def trained(images, quick: bool):
    """The fast network's average after as many steps as fit in 35 seconds, at most 3,000.

    It answers in float32, as the store's models do.
    """
    import torch

    from geomem.diffusion.train import TrainState
    from geomem.diffusion.train import train as steps

    most, batch, seconds, warm = (30, 16, 10, 2) if quick else (3000, 512, 35, 20)
    config = replace(fast(), batch=batch, warmup=most // 20, device=where())
    if quick:
        config = replace(config, model=replace(config.model, width=8))
    config = config.for_images(images)
    trial = replace(config, steps=3 * warm, checkpoint=warm)
    for record in steps(trial, images):
        if record.step == warm:
            begun = synchronised()
    pace = 2 * warm / (synchronised() - begun)
    config = replace(config, steps=max(3 * warm, min(most, int(pace * seconds))))
    state, begun = TrainState(config), synchronised()
    for _ in steps(config, images, state=state):
        pass
    spent, last = synchronised() - begun, state.losses[-config.steps // 20 :]
    facts = {"steps": config.steps, "batch": batch, "epochs": config.images / len(images)}
    facts |= {"seconds": spent, "images_per_s": config.images / spent}
    facts |= {"loss": sum(last) / len(last)}
    state.ema.precision = torch.float32
    return state.ema, {name: float(f"{value:.5g}") for name, value in facts.items()}


def synchronised() -> float:
    """The time in seconds, with nothing left to do on the device."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def fast():
    """The training of the fast preset."""
    from geomem.diffusion.presets import PRESETS

    return PRESETS["cifar10-fast-small"].train


def where() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def environment() -> dict[str, str]:
    """That of this process, with the checkout to import from."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


STAGES = {
    "device": device,
    "checks": checks,
    "tests": tests,
    "training": training,
    "geometry": geometry,
    "pair": pair,
}

if __name__ == "__main__":
    main()
