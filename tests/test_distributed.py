"""Training on several processes: the model of one, stopped and resumed together."""

import faulthandler
import itertools
import os
import re
import signal
import socket
import sys

import pytest
import torch
from conftest import forked
from torch import distributed

from geomem.cli import models
from geomem.cli.main import main
from geomem.diffusion import fitting, zoo
from geomem.diffusion.presets import experiment

CHANGES = {"train.steps": "8", "train.batch": "16", "train.model.width": "32"}
SEED = ["--set", "train.seed", "1"]


def life(rank, root, port):
    """What each process does, with what torchrun tells it: the command line three times.

    The processes cannot meet at torchrun's own place twice: the second time they find what the
    first left there.
    """
    faulthandler.dump_traceback_later(100, exit=True)  # rather than wait for each other
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background it is off
    os.environ |= {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
    os.environ[zoo.STORE_VARIABLE] = str(root)
    for name in ("stdout", "stderr"):
        setattr(sys, name, (root / f"{name}{rank}").open("w"))
    words = [
        "train",
        "digits-mlp-small",
        *itertools.chain(*(("--set", *c) for c in CHANGES.items())),
    ]
    main(words)
    place = f"file://{root}/place"
    distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
    after = models._Progress.__call__

    def interrupted(progress, record):  # of one process alone, but all must stop
        after(progress, record)
        if rank == 1 and record.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    models._Progress.__call__ = interrupted
    with pytest.raises(SystemExit) as end:
        main([*words, *SEED])
    assert end.value.code == 130
    models._Progress.__call__ = after
    main([*words, *SEED, "--resume"])
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The store that two processes filled, and what they said."""
    root = tmp_path_factory.mktemp("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [forked(life, rank, root, port) for rank in range(2)]
    for process in both:
        process.join(120)
    said = {
        n: "".join((root / f"{n}{r}").read_text() for r in range(2)) for n in ("stdout", "stderr")
    }
    assert [process.exitcode for process in both] == [0, 0], said
    return root, said


@pytest.mark.parametrize("seed", [0, 1])
def test_two_processes_train_the_model_of_one(launched, tmp_path, seed):
    """Seed 1 was interrupted and went on."""
    one = fitting.fit(
        experiment("digits-mlp-small", {**CHANGES, "train.seed": seed}), root=tmp_path
    )
    two = zoo.load_model(one.name, launched[0])
    theirs = two.denoise.state_dict()
    for name, tensor in one.denoise.state_dict().items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        torch.tensor(two.losses), torch.tensor(one.losses), rtol=1e-5, atol=0
    )


def test_the_first_process_speaks_and_all_stop_in_one_step(launched):
    _, said = launched
    names = re.findall(r"(\w+-64-mlp-\w+) on cpu, 2 processes", said["stdout"])
    assert len(names) == 3 and names[0] != names[1] == names[2]
    assert len(re.findall("^trained in", said["stdout"], re.M)) == 2
    assert re.findall(r"steps (\d) to 8", said["stdout"]) == ["1", "1", "6"]
    assert len(re.findall("^geomem: stopped; last checkpoint: step 5;", said["stderr"], re.M)) == 1
