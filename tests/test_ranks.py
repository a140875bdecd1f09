"""One training set in shares, a process each: every answer is that of one process."""

import csv
import faulthandler
import json
import os
import re
import signal
import socket
import sys

import numpy as np
import pytest
from conftest import forked
from torch import distributed

import geomem
from geomem.cli import regimes as verb
from geomem.cli.main import main
from geomem.cli.processes import processes
from geomem.errors import InputError
from geomem.report import regimes

LEVELS = np.geomspace(0.05, 20, 9)
N, DIM = 23, 6


def sets():
    """Clusters, so that weights and shells are shared between processes; two points are equal."""
    rng = np.random.default_rng(5)
    train = np.repeat(rng.normal(size=(6, DIM)), 4, 0)[:N] + 0.1 * rng.normal(size=(N, DIM))
    train[20] = train[1]
    return train, train[::2] + 0.3 * rng.normal(size=train[::2].shape)


def answers(train, heldout, group=None):
    """Everything that takes a share, by name, as arrays."""
    found = {}
    for queries in (None, 7, heldout):
        curve = geomem.max_posterior_weight(train, LEVELS, queries=queries, draws=3, group=group)
        name = f"weight {queries if isinstance(queries, int) else queries is None}"
        found |= {name: curve.per_query, f"{name}, low": curve.low}
        if curve.chance is not None:
            found[f"{name}, chance"] = curve.chance
    found["coverage"] = geomem.shell_coverage(heldout, train, LEVELS, c=1, group=group).per_query
    bounds = geomem.coverage_bounds(heldout, train, LEVELS, group=group)
    found |= {"sum": bounds.upper_sum, "nearest": bounds.lower_nearest}
    found["certified"] = geomem.coverage_certificate(heldout, train, group=group).at(LEVELS)
    for k in (1, N):
        near, which = geomem.nearest(heldout, train, k, group=group)
        found |= {f"{k} near": near, f"{k} which": which}
    geometry = geomem.measure_regimes(heldout, train, c=0.5, level=0.4, draws=2, group=group)
    found["zone"] = np.array(geometry.regimes.covered.numbers)
    return found


def life(rank, world, root):
    faulthandler.dump_traceback_later(500, exit=True)  # rather than wait for each other
    place = f"file://{root}/place"
    distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=world)
    train, heldout = sets()
    share = np.array_split(train, world)[rank]
    np.savez(root / f"{rank}.npz", **answers(share, heldout, distributed.group.WORLD))
    if rank == 0:  # without a group it asks nobody, and nobody answers
        np.testing.assert_array_equal(geomem.nearest(share, share)[0], np.zeros((len(share), 1)))
        assert geomem.max_posterior_weight(share, LEVELS, draws=1).n == len(share)
    spoilt = np.where(rank == 1, np.nan, share)
    said = []
    for broken in (spoilt, share[: len(share) * (rank != 1)], share[:, : DIM - (rank == 1)]):
        with pytest.raises(ValueError) as error:
            geomem.shell_coverage(heldout, broken, LEVELS, group=distributed.group.WORLD)
        said.append(str(error.value))
    (root / f"said{rank}").write_text("\n".join(said))
    distributed.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request, tmp_path_factory):
    """The folder in which so many processes left their answers."""
    root = tmp_path_factory.mktemp("ranks")
    processes = [forked(life, rank, request.param, root) for rank in range(request.param)]
    for process in processes:
        process.join(500)
    assert [process.exitcode for process in processes] == [0] * request.param
    return root, request.param


def test_each_process_has_the_answer_of_one(ranks):
    root, world = ranks
    wanted = answers(*sets())
    for rank in range(world):
        found = np.load(root / f"{rank}.npz")
        assert {*found} == {*wanted}
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-12, atol=1e-12, err_msg=name)


def test_what_one_process_cannot_do_all_refuse(ranks):
    root, world = ranks
    said = [(root / f"said{rank}").read_text().split("\n") for rank in range(world)]
    assert "process 1: train: contains NaN" in said[0][0] and "contains NaN" in said[1][0]
    assert "process 1: train: expected an array" in said[0][1]
    assert all("the shares of the processes" in lines[2] for lines in said)


# The command line

WORDS = "regimes digits --n-train 40 --queries 30 --draws 2 --c 1 --level 0.5 --out".split()


def command(rank, root, port):
    """What each process does, with what torchrun tells it; the second time one is killed."""
    faulthandler.dump_traceback_later(500, exit=True)
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    for name in ("stdout", "stderr"):
        setattr(sys, name, (root / f"{name}{rank}").open("w"))
    main([*WORDS, str(root / "two")])
    measure = regimes.measure_regimes

    def killed(*arguments, **named):
        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return measure(*arguments, **named)

    regimes.measure_regimes = killed
    place = f"file://{root}/place"
    distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    main([*WORDS, str(root / "killed")])


def test_files_of_its_own_are_replaced_and_those_of_others_are_not(tmp_path, capsys):
    command = [*WORDS, str(tmp_path)]
    for _ in range(2):
        main(command)
    assert capsys.readouterr().out.count("regimes.json") == 2
    for other in ("[]", "3", '{"mine": 1}', "no json"):
        (tmp_path / "regimes.json").write_text(other)
        with pytest.raises(SystemExit):
            main(command)
        said = capsys.readouterr().err
        assert "regimes.csv, regimes.svg, regimes.json, not written by this verb" in said
        assert (tmp_path / "regimes.json").read_text() == other


def test_stopped_while_writing_its_files_are_still_known_as_its_own(tmp_path, capsys, monkeypatch):
    command, write = [*WORDS, str(tmp_path)], verb.disk.write

    def stopped(place, content):
        if place.suffix == ".svg":
            raise KeyboardInterrupt
        write(place, content)

    with monkeypatch.context() as patch:
        patch.setattr(verb.disk, "write", stopped)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            main(command)
    assert "nothing is written" not in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["regimes.json"]
    main(command)
    assert "regimes.csv" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_into_is_refused_before_anything_is_measured(
    tmp_path, monkeypatch, capsys
):
    def refused(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(verb.tempfile, "TemporaryFile", refused)
    monkeypatch.setattr(verb.MeasuredRegimes, "of", None)
    with pytest.raises(SystemExit):
        main([*WORDS, str(tmp_path)])
    assert "Permission denied" in capsys.readouterr().err


def test_few_new_images_and_copies_among_them_are_said(tmp_path, capsys, rng):
    train = rng.random((40, 4, 4), np.float32)
    np.save(tmp_path / "train.npy", train)
    np.save(tmp_path / "new.npy", np.concatenate([train[:3], rng.random((22, 4, 4), np.float32)]))
    sets = [str(tmp_path / "train.npy"), "--heldout", str(tmp_path / "new.npy")]
    main(["regimes", *sets, "--draws", "2", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "3 held-out images are training images too, and covered" in said
    assert "so few held-out images (25) certify no level" in said and "not known" not in said


def test_more_processes_than_gpus_are_refused_in_a_line(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    told = {"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29500}
    for name, value in told.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(InputError, match="2 processes here, and 1 GPUs"), processes("cuda"):
        pass


@pytest.fixture(scope="module")
def commanded(tmp_path_factory):
    root = tmp_path_factory.mktemp("commanded")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [forked(command, rank, root, port) for rank in range(2)]
    for process in both:
        process.join(500)
    assert [process.exitcode for process in both] == [1, -signal.SIGKILL]
    return root


def test_the_command_writes_what_the_library_says(tmp_path, capsys):
    main([*WORDS, str(tmp_path)])
    data = geomem.load_dataset("digits", n_train=40)
    queries = np.sort(np.random.default_rng([0, 2]).permutation(len(data.heldout))[:30])
    wanted = geomem.measure_regimes(
        data.heldout[queries], data.train, queries=30, draws=2, c=1, level=0.5
    )
    numbers = json.loads((tmp_path / "regimes.json").read_text())["numbers"]
    assert numbers["zone_from"]["value"] == wanted.regimes.covered.value
    assert numbers["zone_to"]["high"] == wanted.regimes.concentrated.high
    assert numbers["zone_to_least"]["value"] <= numbers["zone_to"]["value"]
    assert numbers["zone_to_most"]["value"] >= numbers["zone_to"]["value"]
    heads, values = table(tmp_path)
    np.testing.assert_allclose(values[:, 4], wanted.weight.mean, rtol=1e-7)
    for name in ("C_sigma", "W_sigma"):
        ends = ("low [probability, 95% interval]", "high [probability, 95% interval]")
        ends += ("lower bound [probability]", "upper bound [probability]")
        low, high, lower, upper = (values[:, heads.index(f"{name}, {end}")] for end in ends)
        known = np.isfinite(lower)
        assert np.all((lower <= upper + 1e-9)[known]) and known.sum() > 9
        assert np.mean(((lower <= high) & (low <= upper + 1e-9))[known]) > 0.9  # of 95%
    assert "danger zone" in capsys.readouterr().out
    assert (tmp_path / "regimes.svg").read_text().startswith("<?xml")


def table(folder):
    with (folder / "regimes.csv").open(newline="") as file:
        heads, *rows = csv.reader(file)
    return heads, np.array(rows, float)


def test_two_processes_write_what_one_writes(commanded, tmp_path):
    main([*WORDS, str(tmp_path)])
    np.testing.assert_allclose(table(commanded / "two")[1], table(tmp_path)[1], rtol=1e-7)
    one, two = (
        json.loads((folder / "regimes.json").read_text())
        for folder in (tmp_path, commanded / "two")
    )
    assert (one.pop("processes"), two.pop("processes")) == (1, 2)
    assert one["data"] == two["data"] and one["numbers"].keys() == two["numbers"].keys()
    assert one["numbers"]["zone_from"]["value"] == pytest.approx(
        two["numbers"]["zone_from"]["value"], rel=1e-12
    )


def test_the_first_speaks_and_a_killed_process_ends_all_in_one_line(commanded):
    said = [
        (commanded / f"{name}{rank}").read_text()
        for name in ("stdout", "stderr")
        for rank in (0, 1)
    ]
    assert said[0].count("danger zone") == 1 and said[1] == said[3] == ""
    assert re.fullmatch("geomem: a process has ended, or cannot be reached: .*\n", said[2])
    assert not [*(commanded / "killed").iterdir()]
