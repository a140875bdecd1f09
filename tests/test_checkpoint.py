"""Saved states: whole or refused, the old one kept, and a pickle never opened."""

import hashlib
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from geomem import disk
from geomem.diffusion import checkpoint
from geomem.diffusion.checkpoint import RECORD, TENSORS, CheckpointError, read, write
from geomem.diffusion.network import ModelConfig
from geomem.diffusion.train import TrainConfig, TrainState, train


@pytest.fixture
def state(tmp_path):
    """A folder with a saved state, and what is in it."""
    tensors = {
        "a": torch.arange(6.0).view(2, 3),
        "b": torch.tensor(0.1, dtype=torch.float64),
        "empty": torch.zeros(0),
        "turned": torch.arange(24.0).view(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }
    write(tmp_path / "store" / "state", tensors, {"step": 7, "shares": [0.125, 1e-17]})
    return tmp_path / "store" / "state", tensors


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def resign(folder):
    """Make the record's SHA-256 fit whatever the tensors' file holds now."""
    record = json.loads((folder / RECORD).read_text())
    record["sha256"] = hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest()
    record.pop(checkpoint.SEAL, None)
    record[checkpoint.SEAL] = checkpoint.seal(record)
    (folder / RECORD).write_text(json.dumps(record))


def assert_whole(folder, tensors, step):
    found, record = read(folder)
    assert record["step"] == step
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_what_is_written_is_read(state):
    folder, tensors = state
    assert_whole(folder, tensors, 7)
    assert read(folder)[1]["shares"] == [0.125, 1e-17]
    assert [path.name for path in folder.parent.iterdir()] == ["state"]  # nothing left beside it
    assert sorted(files(folder)) == [RECORD, TENSORS]


def test_a_new_state_takes_the_place_of_the_old(state):
    folder, _ = state
    write(folder, {"c": torch.ones(2)}, {"step": 8})
    assert_whole(folder, {"c": torch.ones(2)}, 8)
    assert [path.name for path in folder.parent.iterdir()] == ["state"]


def test_equal_states_are_equal_bytes(state, tmp_path):
    folder, tensors = state
    write(tmp_path / "again", tensors, {"shares": [0.125, 1e-17], "step": 7})
    assert files(tmp_path / "again") == files(folder)


@pytest.mark.parametrize("cut", [0, 1, 8, 100, -1])
@pytest.mark.parametrize("name", [TENSORS, RECORD])
def test_a_torn_file_is_refused(state, name, cut):
    folder, _ = state
    whole = (folder / name).read_bytes()
    if name == RECORD and cut == -1:
        cut = -3  # the last two bytes are "}\n"
    (folder / name).write_bytes(whole[:cut])
    with pytest.raises(CheckpointError, match=str(folder)) as refused:
        read(folder)
    assert "delete" in str(refused.value)


@pytest.mark.parametrize("name", [TENSORS, RECORD])
def test_a_flipped_bit_is_noticed_wherever_it_is(state, rng, name):
    """Or it changes nothing: white space of the JSON is not part of what it says."""
    folder, _ = state
    before = read(folder)[1]
    whole = (folder / name).read_bytes()
    for place in {0, len(whole) - 1, *rng.integers(len(whole), size=60)}:
        content = bytearray(whole)
        content[place] ^= 1 << int(rng.integers(8))
        (folder / name).write_bytes(content)
        try:
            found = read(folder)[1]
            assert (name, found) == (RECORD, before)
        except CheckpointError as refused:
            assert str(folder) in str(refused) and "delete" in str(refused)


@pytest.mark.parametrize("name", [TENSORS, RECORD])
def test_a_missing_file_is_named_as_that(state, name):
    folder, _ = state
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{folder}: incomplete .*delete"):
        read(folder)


def test_a_missing_folder_is_an_incomplete_state(tmp_path):
    with pytest.raises(CheckpointError, match="incomplete"):
        read(tmp_path / "nowhere")


class Trap:
    """Unpickled, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", ["pickle", "torch"])
@pytest.mark.parametrize("signed", [False, True])
def test_a_pickle_is_never_opened(state, tmp_path, protocol, signed):
    folder, _ = state
    trap = tmp_path / "sprung"
    weights = tmp_path / "weights.pt"
    if protocol == "torch":
        torch.save(Trap(trap), weights)
        torch.load(weights, weights_only=False)
    else:
        weights.write_bytes(pickle.dumps(Trap(trap)))
        pickle.loads(weights.read_bytes())
    assert trap.is_file()  # this is what must not happen below
    trap.unlink()
    weights.replace(folder / TENSORS)
    if signed:
        resign(folder)
    with pytest.raises(CheckpointError, match=f"{folder}: .*delete"):
        read(folder)
    assert not trap.exists()


@pytest.mark.parametrize("record", ["[]", "3", "null", "{}", '{"sha256": 3}', "{", "\xff"])
def test_a_record_of_something_else_is_refused(state, record):
    folder, _ = state
    (folder / RECORD).write_bytes(record.encode("latin-1"))
    with pytest.raises(CheckpointError, match=str(folder)):
        read(folder)


def test_text_in_place_of_the_tensors_is_refused_though_its_hash_fits(state):
    folder, _ = state
    (folder / TENSORS).write_text("weights" * 100)
    resign(folder)
    with pytest.raises(CheckpointError, match=r"safetensors and JSON.*delete"):
        read(folder)


# Crashes


def crash(*arguments, **options):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (os, "fsync"),
        (Path, "rename"),
        (Path, "mkdir"),
        (checkpoint.json, "dumps"),
        (Path, "write_bytes"),
    ],
)
def test_a_crash_while_writing_leaves_the_old_state_whole(state, monkeypatch, owner, name):
    folder, tensors = state
    before = files(folder)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, crash)
        with pytest.raises(OSError, match="No space"):
            write(folder, {"c": torch.ones(2)}, {"step": 8})
    assert files(folder) == before
    assert_whole(folder, tensors, 7)
    assert [path.name for path in folder.parent.iterdir()] == ["state"]  # the disk has its room
    write(folder, {"c": torch.ones(2)}, {"step": 8})
    assert_whole(folder, {"c": torch.ones(2)}, 8)
    assert [path.name for path in folder.parent.iterdir()] == ["state"]


def test_the_old_state_comes_back_where_the_new_one_cannot_take_its_place(state, monkeypatch):
    folder, tensors = state
    rename = Path.rename

    def second_fails(path, target):
        if target == folder and path.name.endswith(disk.NEW):
            crash()
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", second_fails)
        with pytest.raises(OSError, match="No space"):
            write(folder, {"c": torch.ones(2)}, {"step": 8})
    assert_whole(folder, tensors, 7)
    assert [path.name for path in folder.parent.iterdir()] == ["state"]


@pytest.mark.parametrize("end", ["", disk.OLD, disk.NEW])
def test_a_file_of_that_name_is_in_nobodys_way(state, end):
    folder, _ = state
    place = folder if not end else folder.with_name(f".state{end}")
    if place == folder:
        shutil.rmtree(folder)
    place.write_text("stray")
    write(folder, {"c": torch.ones(2)}, {"step": 8})
    assert_whole(folder, {"c": torch.ones(2)}, 8)
    assert [path.name for path in folder.parent.iterdir()] == ["state"]


# Of a training


@pytest.fixture
def training(rng, tmp_path):
    images = rng.uniform(-1, 1, size=(6, 1, 4, 4)).astype(np.float32)
    config = TrainConfig(ModelConfig("mlp", width=8, blocks=1), steps=4, batch=4, device="cpu")
    config = config.for_images(images)
    state = TrainState(config)
    assert len([*train(config, images, None, state)]) == 4
    state.save(tmp_path / "saved")
    return config, tmp_path / "saved"


@pytest.mark.parametrize("change", [{"width": 16}, {"blocks": 2}, {"size": 8}, {"n_classes": 2}])
def test_a_state_of_another_network_is_refused(training, change):
    config, folder = training
    other = TrainState(replace(config, model=replace(config.model, **change)))
    with pytest.raises(CheckpointError, match=f"{folder}: .*another configuration; delete"):
        other.load(folder)


def test_a_state_without_some_of_its_tensors_is_refused(training):
    config, folder = training
    tensors, _ = read(folder)
    for missing in ("losses", "model.network.stem.weight", "ema.network.head.bias"):
        (folder / TENSORS).write_bytes(save({k: v for k, v in tensors.items() if k != missing}))
        resign(folder)
        with pytest.raises(CheckpointError, match=f"{folder}: .*another configuration; delete"):
            TrainState(config).load(folder)
    (folder / TENSORS).write_bytes(save({**tensors, "stowaway": torch.ones(1)}))
    resign(folder)
    with pytest.raises(CheckpointError, match="another configuration"):
        TrainState(config).load(folder)
