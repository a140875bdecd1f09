"""What is computed once, and what makes it be computed again."""

import hashlib
import itertools
import math
import os
import pickle
import shutil
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from conftest import fill

from geomem import reach
from geomem.companion import memory
from geomem.companion.memory import KEPT_VARIABLE, described, kept, trim
from geomem.diffusion.network import EDMDenoiser, ModelConfig
from geomem.diffusion.presets import Experiment
from geomem.diffusion.zoo import Trained
from geomem.geometry.coverage import shell_radii
from geomem.geometry.window import Window
from geomem.memorization.distinct import DistinctImages
from geomem.memorization.ratio_test import memorized_fraction
from geomem.memorization.swaps import swap


@pytest.fixture(autouse=True)
def unedited(monkeypatch):
    """As if nobody saved a file of the package while the tests run."""
    monkeypatch.setattr(reach, "BEGUN", math.inf)


def count(path, values, seed=0):
    with Path(path).open("a") as calls:
        calls.write("x")
    return values.sum() + seed


count.__module__ = "geomem.geometry.window"  # as if it were of this package


def test_equal_arguments_are_answered_from_disk_and_others_are_not(tmp_path, monkeypatch, rng):
    monkeypatch.setenv(KEPT_VARIABLE, str(tmp_path / "kept"))
    calls, values = str(tmp_path / "calls"), rng.normal(size=4)
    wanted = values.sum() + 2
    assert [kept(count)(calls, values.copy(), seed=2) for _ in range(3)] == [wanted] * 3
    assert len(Path(calls).read_text()) == 1
    assert kept(count)(calls, values, seed=3) == wanted + 1
    assert kept(count)(calls, values + 1, seed=2) != wanted
    assert len(Path(calls).read_text()) == 3
    monkeypatch.setenv(KEPT_VARIABLE, "")
    assert kept(count) is count, "without a folder nothing is kept"


def test_of_code_that_changed_since_it_was_imported_nothing_is_kept(tmp_path, monkeypatch, rng):
    """What is read on the disk would stand for what computes."""
    monkeypatch.setenv(KEPT_VARIABLE, str(tmp_path / "kept"))
    calls, values = str(tmp_path / "calls"), rng.normal(size=4)
    monkeypatch.setattr(reach, "BEGUN", 0.0)
    for _ in range(2):
        kept(count)(calls, values)
    assert len(Path(calls).read_text()) == 2 and not (tmp_path / "kept").exists()


class Told:
    """What a stranger's file would do."""

    def __reduce__(self):
        return print, ("opened",)


def flipped(content, i):
    return content[:i] + bytes([content[i] ^ 4]) + content[i + 1 :]


def test_a_damaged_entry_is_computed_again_and_a_strange_one_is_not_opened(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv(KEPT_VARIABLE, str(tmp_path / "kept"))
    calls = tmp_path / "calls"
    kept(count)(str(calls), np.ones(2), seed=7)
    (other,) = (tmp_path / "kept").iterdir()
    kept(count)(str(calls), np.ones(2))
    (path,) = {*(tmp_path / "kept").iterdir()} - {other}
    whole, strange = path.read_bytes(), pickle.dumps(Told())
    seal = hashlib.sha256(path.name.encode() + strange).hexdigest().encode()
    some = range(0, len(whole), 7)  # one hash compares all
    faults = [flipped(whole, i) for i in some] + [whole[:i] for i in some]
    faults += [other.read_bytes(), strange, seal + strange, whole[:65] + strange, whole + b"x"]
    for made, fault in enumerate(faults, 2):
        path.write_bytes(fault)
        assert [kept(count)(str(calls), np.ones(2)) for _ in range(2)] == [2.0, 2.0]
        assert len(calls.read_text()) == made + 1 and path.read_bytes() == whole
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("place", ["kept", "kept/entry"])
def test_what_cannot_be_kept_is_computed(tmp_path, monkeypatch, place):
    monkeypatch.setenv(KEPT_VARIABLE, str(tmp_path / "kept"))
    calls = str(tmp_path / "calls")
    if place == "kept":
        (tmp_path / "kept").write_text("a file")
    else:
        kept(count)(calls, np.ones(2))
        (entry,) = (tmp_path / "kept").iterdir()
        entry.unlink()
        entry.mkdir()
    assert kept(count)(calls, np.ones(2)) == 2


def test_on_a_full_disk_it_is_computed_each_time(tmp_path, monkeypatch, small_disk):
    monkeypatch.setenv(KEPT_VARIABLE, str(small_disk / "kept"))
    fill(small_disk)
    calls = tmp_path / "calls"
    assert [kept(count)(str(calls), np.ones(9)) for _ in range(2)] == [9, 9]
    assert len(calls.read_text()) == 2 and not [*(small_disk / "kept").glob("*")]


def test_what_is_not_used_goes(tmp_path, monkeypatch):
    monkeypatch.setenv(KEPT_VARIABLE, str(tmp_path / "kept"))
    calls = str(tmp_path / "calls")
    kept(count)(calls, np.ones(2))
    (used,) = (tmp_path / "kept").iterdir()
    days = {used.name: 99, "new": 1, "large": 2, "older than it": 3, "old": 31, "half.part": 31}
    for name, ago in days.items():
        path = used.with_name(name)
        if name != used.name:
            path.write_bytes(bytes(900 if name == "large" else 50))
        os.utime(path, (time.time() - 86400 * ago,) * 2)
    kept(count)(calls, np.ones(2))
    trim(used.parent)
    left = {used.name, "new", "large", "older than it"}
    assert {path.name for path in used.parent.iterdir()} == left
    monkeypatch.setattr(memory, "BYTES", 900)
    trim(used.parent)
    assert {path.name for path in used.parent.iterdir()} == {used.name, "new"}


def digest(value):
    return joblib.hash(described(value))


def network(seed):
    torch.manual_seed(seed)
    config = ModelConfig("mlp", width=8, channels=1, size=2, mean=0.0, sigma_data=0.5)
    return EDMDenoiser(config)


def test_a_description_is_of_what_a_value_holds(rng):
    images = rng.normal(size=(5, 1, 2, 2)).astype(np.float32)
    one, other = network(0), network(1)
    assert digest(one) == digest(network(0)) != digest(other)
    assert digest(DistinctImages(images)) == digest(DistinctImages(images.copy()))
    assert digest(torch.tensor(images)) == digest(images) != digest(images.astype(np.float64))
    pairs = [(one, other, 2), (one, other, 3), (other, one, 2)]
    swapped = [swap(base, donor, Window(1, high)) for base, donor, high in pairs]
    assert len({digest(denoise) for denoise in swapped}) == 3
    assert digest(swap(network(0), other, Window(1, 2))) == digest(swapped[0])
    assert digest(one.given) != digest(other.given)


def test_a_model_is_its_name_and_what_came_out():
    """Which on another kind of device is another model of one name."""
    made = [
        Trained(Path("models/a"), Experiment(), {"sha256": weights}, np.ones(1))
        for weights in "xyx"
    ]
    assert digest(made[0]) == digest(made[2]) != digest(made[1])


def test_what_says_nothing_of_itself_is_refused():
    for silent in (lambda x, sigma: x, partial(int, "7"), iter([1])):
        with pytest.raises(TypeError, match="cannot be told from its like"):
            described(silent)


@pytest.mark.parametrize(("new", "same"), [("1 / 3  # a comment", True), ("1 / 4", False)])
def test_changed_code_that_is_reached_is_computed_again(tmp_path, monkeypatch, new, same):
    before, apart = digest(memorized_fraction), digest(shell_radii)
    copy = tmp_path / "geomem"
    shutil.copytree(reach.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(reach, "PACKAGE", copy)
    path = copy / "memorization" / "distinct.py"
    path.write_text(path.read_text().replace("THIRD = 1 / 3", f"THIRD = {new}"))
    assert (digest(memorized_fraction) == before) is same
    assert digest(shell_radii) == apart, "it does not reach the ratio test"


def test_a_function_of_a_notebook_stands_on_what_ran_before_it(tmp_path, monkeypatch):
    """Its code, parameters and data; not on what runs after it, nor on words."""
    monkeypatch.setenv(KEPT_VARIABLE, str(tmp_path / "kept"))
    calls = tmp_path / "calls"
    before = ["", "n = 3", "from geomem import shell_coverage", "def square(): ..."]
    state = {"parameters": {"n": 3}, "data": {"digits": "1f"}}

    def made():
        return len(calls.read_text())

    def answer(cells, position=0, **changes):
        def square(x):
            with calls.open("a") as file:
                file.write("x")
            return x * x

        square.__module__, square.__qualname__ = "__main__", "square"
        monkeypatch.setattr(memory, "_shell", lambda: SimpleNamespace(user_ns={"In": cells}))
        monkeypatch.setattr(memory, "current", lambda: {**state, **changes})
        monkeypatch.setattr(memory, "source_sha256", {"digits": "1f"}.get)
        monkeypatch.setattr(memory, "CALLS", itertools.count(position))
        return kept(square)(2)

    same = [before, before, [*before[:3], "def square(): ...  # a comment"]]
    others = [[*before[:1], "n = 4", *before[2:]], before[:3], [*before, "colour = 'red'"]]
    assert [answer(cells) for cells in same] == [4] * 3 and made() == 1
    for i, cells in enumerate(others, 2):
        assert answer(cells) == 4 and made() == i
    for i, changes in enumerate([{"position": 1}, {"parameters": {"n": 4}}], 5):
        assert answer(before, **changes) == 4 and made() == i
    for i in (7, 8):  # data that changed since the run began: under which name should it lie?
        assert answer(before, data={"digits": "20"}) == 4 and made() == i


def test_a_network_of_a_notebook_is_its_weights_and_what_it_was_made_with(monkeypatch):
    shell = SimpleNamespace(user_ns={"In": ["class Net: ..."]})
    monkeypatch.setattr(memory, "_shell", lambda: shell)
    monkeypatch.setattr(memory, "current", lambda: {"parameters": {}, "data": {}})

    class Net(torch.nn.Linear):
        def __init__(self, clock, seed=0):
            torch.manual_seed(seed)
            super().__init__(2, 2)
            self.clock = clock

    Net.__module__ = "__main__"
    monkeypatch.setattr(memory, "CALLS", itertools.count())
    assert digest(Net(1.0)) == digest(Net(1.0)) not in (digest(Net(2.0)), digest(Net(1.0, seed=1)))
    before = digest(Net(1.0)), digest(Net)
    shell.user_ns["In"].append("class Net: pass")
    assert digest(Net(1.0)) != before[0] and digest(Net) != before[1]


def test_what_cannot_be_pickled_is_computed_and_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(KEPT_VARIABLE, str(tmp_path / "kept"))

    def silent(x):
        return lambda: x

    silent.__module__ = "geomem.geometry.window"
    monkeypatch.setattr(memory, "_code", lambda of: of.__qualname__)
    assert kept(silent)(2)() == 2
    assert "silent returned is not kept" in capsys.readouterr().out
