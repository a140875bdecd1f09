"""Training on several processes: the model of one, stopped and resumed together."""

import os
import re
import subprocess
import sys

import pytest
import torch

from geomem.diffusion import zoo
from geomem.diffusion.presets import experiment

CHANGES = {"train.steps": "8", "train.batch": "16", "train.model.width": "32"}

# Each process of torchrun runs this: the command line three times. A process cannot meet the
# others at torchrun's own place twice: the second time it finds what the first left there.
SCRIPT = """
import faulthandler, os, signal, sys
from torch import distributed
from geomem import cli_models
from geomem.cli.main import main

faulthandler.dump_traceback_later(100, exit=True)  # rather than wait for each other
rank = int(os.environ["RANK"])
words = sys.argv[1:]
seed = ["--set", "train.seed", "1"]
main(words)
place = f"file://{os.environ['GEOMEM_MODELS']}/place"
distributed.init_process_group("gloo", init_method=place, rank=rank, world_size=2)
after = cli_models._Progress.__call__

def interrupted(progress, record):  # of one process alone, but all must stop
    after(progress, record)
    if rank == 1 and record.step == 5:
        os.kill(os.getpid(), signal.SIGINT)

cli_models._Progress.__call__ = interrupted
try:
    main([*words, *seed])
except SystemExit as end:
    assert end.code == 130
cli_models._Progress.__call__ = after
main([*words, *seed, "--resume"])
distributed.destroy_process_group()
"""


def words(changes):
    return ["train", "digits-mlp-small", *(w for c in changes.items() for w in ("--set", *c))]


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The store that two processes filled, and what they said."""
    root = tmp_path_factory.mktemp("distributed")
    script = root / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script), *words(CHANGES)]
    environment = {**os.environ, zoo.STORE_VARIABLE: str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return root, done


@pytest.mark.parametrize("seed", [0, 1])
def test_two_processes_train_the_model_of_one(launched, tmp_path, seed):
    """Seed 1 was interrupted and went on."""
    one = zoo.fit(experiment("digits-mlp-small", {**CHANGES, "train.seed": seed}), root=tmp_path)
    two = zoo.load_model(one.name, launched[0])
    theirs = two.denoise.state_dict()
    for name, tensor in one.denoise.state_dict().items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        torch.tensor(two.losses), torch.tensor(one.losses), rtol=1e-5, atol=0
    )


def test_the_first_process_speaks_and_all_stop_in_one_step(launched):
    _, done = launched
    said = re.findall(r"(\w+-64-mlp-\w+) on cpu, 2 processes", done.stdout)
    assert len(said) == 3 and said[0] != said[1] == said[2]
    assert len(re.findall("^trained in", done.stdout, re.M)) == 2
    assert re.findall(r"steps (\d) to 8", done.stdout) == ["1", "1", "6"]
    assert len(re.findall("^geomem: stopped; last checkpoint: step 5;", done.stderr, re.M)) == 1
