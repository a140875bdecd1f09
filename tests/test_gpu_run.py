"""The prepared run on a GPU: what fails or hangs ends alone, and a part of CIFAR-10 will do."""

import ast
import importlib.util
import inspect
import json
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from conftest import ROOT


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gpu = benchmark("gpu")


def test_a_command_that_fails_is_told_by_its_last_line():
    done = gpu.attempt(["sh", "-c", "echo well"], 60)
    assert (done["state"], done["said"]) == ("done", "well\n") and "error" not in done
    failed = gpu.attempt(["sh", "-c", "echo first; echo no such thing >&2; exit 3"], 60)
    assert (failed["state"], failed["error"]) == ("failed", "no such thing")
    assert gpu.attempt([sys.executable, "-c", "raise SystemExit(3)"], 60)["error"] == "exit code 3"


def test_a_command_that_hangs_ends_with_all_that_it_started(tmp_path):
    script = f"sleep 300 & echo $! > {tmp_path}/pid; echo begun; wait"
    hung = gpu.attempt(["sh", "-c", script], 1)
    assert hung["state"] == "out of time" and hung["error"].endswith("begun")
    stat = Path("/proc") / (tmp_path / "pid").read_text().strip() / "stat"
    for _ in range(100):  # what is killed ends a little later, and nobody asks for it
        try:
            if re.search(r"\) Z ", stat.read_text()):
                return
        except OSError:  # it is gone
            return
        time.sleep(0.05)
    raise AssertionError("what it started runs on")


def test_a_device_that_does_not_answer_in_time_makes_no_run_quick(tmp_path, monkeypatch):
    """A cold disk, say: only where there is no CUDA the sizes are cut down."""
    asked = []

    def attempt(command, limit):
        asked.append("--quick" in command)
        return {"state": "stopped", "seconds": 40.0, "said": "", "error": "more than 40 s"}

    monkeypatch.setattr(gpu, "attempt", attempt)
    gpu.run("shipped", tmp_path, False)
    assert not any(asked)


def test_a_stage_that_fails_is_recorded_and_the_rest_goes_on(tmp_path, monkeypatch):
    asked = []

    def attempt(command, limit):
        asked.append((name := command[command.index("--stage") + 1], "--quick" in command))
        gpu.keep(tmp_path, name, cuda=False)
        gpu.keep(tmp_path, name, more=name)
        ended = {"state": "done", "seconds": 1.0, "said": ""}
        return ended | ({"state": "failed", "error": "why"} if name == "training" else {})

    monkeypatch.setattr(gpu, "attempt", attempt)
    old = {name.replace("*", "1000") for of in gpu.WRITES.values() for name in of}
    for name in old:  # of an earlier run, into the same folder
        (tmp_path / name).write_text("old")
    assert gpu.run("shipped", tmp_path, False) == 1
    assert not {path.name for path in tmp_path.iterdir()} & old
    assert asked == [(name, name != "device") for name in gpu.STAGES], "without CUDA it is quick"
    record = json.loads((tmp_path / "record.json").read_text())
    assert [*record["stages"]] == [*gpu.STAGES] == [*gpu.LIMITS]
    for name, stage in record["stages"].items():
        assert stage["more"] == name and stage["limit_s"] >= gpu.LIMITS[name]
        assert stage.get("error") == ("why" if name == "training" else None)
    assert not [*tmp_path.glob("*.part")]


@pytest.mark.parametrize("stage", gpu.STAGES)
def test_what_a_stage_draws_and_tabulates_is_known_as_its_own(stage):
    """Else what an earlier run left of it would stand beside a new record."""
    written = set()
    for node in ast.walk(ast.parse(inspect.getsource(gpu.STAGES[stage]))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("draw", "tabulate"):
            name = re.sub(r"\{.*?\}", "*", ast.unparse(node.args[1]).lstrip("f").strip("'"))
            written.add(f"{name}.{'png' if ast.unparse(node.func) == 'draw' else 'csv'}")
    assert written == {name for name in gpu.WRITES.get(stage, ()) if not name.endswith("json")}


CUT_SHORT = """
import os, time, pytest
pytestmark = pytest.mark.cuda
def test_compiled():
    time.sleep(2)  # those before are read meanwhile
    os.killpg(0, 9)  # as at the end of its time
def test_one(): pass
@pytest.mark.parametrize("size", [1, 2])
def test_two(size): pass
@pytest.mark.skip("not now")
def test_three(): pass
"""


def test_of_tests_that_are_cut_short_it_is_known_which_have_passed(tmp_path):
    """And what compiles comes last, though it stands first."""
    for folder, name, text in (
        ("benchmarks", "gpu.py", (ROOT / "benchmarks" / "gpu.py").read_text()),
        ("tests", "test_some.py", CUT_SHORT),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    script = tmp_path / "benchmarks" / "gpu.py"
    command = [sys.executable, str(script), "shipped", str(tmp_path), "--stage", "tests"]
    ended = gpu.attempt(command, 120)
    assert ended["state"] == "failed" and "exit code" not in ended["error"]
    assert "test_one PASSED" in ended["said"]
    told = json.loads((tmp_path / "tests.part").read_text())
    assert told["passed"] == ["test_one", "test_two[1]", "test_two[2]"]
    assert told["skipped"] == ["test_three"]


def test_a_check_that_fails_is_told_and_the_others_are_looked_at(tmp_path, monkeypatch):
    def broken(train, heldout):
        raise RuntimeError("no nccl here")

    found = {"first": (broken, 1), "second": (lambda *_: 2, 1), "third": (lambda *_: 0.5, 1)}
    monkeypatch.setattr(gpu, "CHECKS", found)
    with pytest.raises(SystemExit, match="first, second"):
        gpu.checks("shipped", tmp_path, True)
    told = json.loads((tmp_path / "checks.part").read_text())
    assert told["first"] == {"error": "RuntimeError: no nccl here"}
    assert told["third"] == {"apart": 0.5, "allowed": 1}


def test_the_checks_alone_have_a_group_and_compile():
    """Where pytest is missing there is nothing else that does; what may take long comes last."""
    assert [*gpu.CHECKS][-2:] == ["group", "compile"]


@pytest.mark.parametrize("check", ["group", "compile"])
def test_a_group_or_compiler_that_trains_something_else_is_noticed(check, rng, monkeypatch):
    moved, asked = gpu.moved, []

    def wrong(config, images):
        asked.append(config)
        return moved(replace(config, seed=len(asked)), images)

    monkeypatch.setattr(gpu, "moved", wrong)
    measure, allowed = gpu.CHECKS[check]
    apart = measure(*rng.uniform(-1, 1, (2, 48, 3, 32, 32)).astype(np.float32))
    assert apart > 5 * allowed and len(asked) == 2


def test_a_compiler_that_does_not_work_is_no_pass(rng, monkeypatch):
    monkeypatch.setattr(torch, "compile", Mock(side_effect=RuntimeError("no compiler")))
    with pytest.raises((UserWarning, RuntimeError), match="no compiler"):
        gpu.compile_apart(*rng.uniform(-1, 1, (2, 48, 3, 32, 32)).astype(np.float32))


def test_the_models_of_the_pair_answer_as_those_of_the_store(rng, monkeypatch):
    """In float32, also where they are trained in bfloat16."""
    fast = replace(gpu.fast(), precision="bfloat16")
    monkeypatch.setattr(gpu, "fast", lambda: fast)
    images = rng.uniform(-1, 1, (16, 3, 32, 32)).astype(np.float32)
    denoise, told = gpu.trained(images, quick=True)
    assert denoise.precision == torch.float32 and told["steps"] >= 6


def test_all_stages_together_take_at_most_eight_minutes():
    assert sum(gpu.LIMITS.values()) < 480


@pytest.mark.parametrize("inside", ["cifar-10-batches-bin", "."])
def test_a_part_of_cifar10_is_taken_in_its_own_order(inside, tmp_path, rng):
    folder = tmp_path / inside
    folder.mkdir(exist_ok=True)
    rows = rng.integers(0, 256, (50, 3073), np.uint8)
    pixels = (rows[:, 1:] / 127.5 - 1).reshape(-1, 3, 32, 32)
    with pytest.raises(SystemExit, match=r"no data_batch_\*\.bin"):
        gpu.images_of(str(tmp_path))
    (folder / "data_batch_4.bin").write_bytes(rows[20:40].tobytes())
    (folder / "data_batch_2.bin").write_bytes(rows[:20].tobytes())
    train, heldout, said = gpu.images_of(str(tmp_path))
    np.testing.assert_allclose(np.concatenate([train, heldout]), pixels[:40], atol=1e-6)
    assert len(heldout) == 4 and said["as published"] == []
    (folder / "test_batch.bin").write_bytes(rows[40:].tobytes())
    train, heldout, _ = gpu.images_of(str(tmp_path))
    np.testing.assert_allclose(np.concatenate([train, heldout]), pixels, atol=1e-6)
    assert len(heldout) == 10


def test_published_files_are_known(cifar10):
    train, heldout, said = gpu.images_of(cifar10)
    assert len(train) == 50_000 and heldout.dtype == np.float32
    assert len(said["as published"]) == 6


@pytest.mark.parametrize("check", gpu.CHECKS)
def test_the_checks_hold_where_the_device_is_the_cpu(check, rng):
    measure, allowed = gpu.CHECKS[check]
    assert measure(*rng.uniform(-1, 1, (2, 48, 3, 32, 32)).astype(np.float32)) <= allowed


@pytest.mark.parametrize(
    ("name", "measure", "more"), [("geometry", "curves", ()), ("stream", "measured", (1, 1))]
)
def test_what_is_compared_with_a_cpu_is_measured_there(name, measure, more, monkeypatch):
    """Also where there is CUDA, which the curves would take by themselves."""
    asked, module = [], benchmark(name)
    for curve in ("max_posterior_weight", "shell_coverage"):
        noted = lambda *_, device="auto", **how: asked.append(device)  # noqa: E731
        monkeypatch.setattr(module.geomem, curve, noted)
    getattr(module, measure)(None, None, *more)
    assert asked == ["cpu", "cpu"]
