"""The gpu profile of every notebook that trains: all of it but the length, on real CIFAR-10."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from geomem.companion import notebooks

# The paper's network with all its parts, narrow; two steps; few images and samples.
NETWORK = "train.model.width=8 train.model.blocks=1 train.steps=8 train.batch=4 data.n_train=60"
CUTS = {
    "n_train": 24,
    "n_heldout": 20,
    "n_samples": 20,
    "n_cumulative": 8,
    "n_switched": 8,
    "trainings": 1,
    "draws": 1,
    "n_sigmas": 5,
    "steps": 12,
    "gaps": "few",
    "paper_subset": "false",
}
TRAINING = [n.name for n in notebooks.notebooks(ROOT).values() if "preset" in n.parameters]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(
        ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns("*.ipynb")
    )
    shutil.copy(ROOT / "_toc.yml", root)
    return root


@pytest.mark.long
@pytest.mark.parametrize("name", TRAINING)
def test_the_gpu_profile_runs_but_for_its_length(name, project, cifar10, tmp_path):
    notebook = notebooks.pick(ROOT, name)
    values = notebooks.resolve(notebook, notebooks.pick_profile(ROOT, "gpu"))
    assert values["preset"] == "cifar10" and values["dataset"] == "cifar10"
    cuts = {key: value for key, value in CUTS.items() if key in notebook.parameters}
    cuts["changes"] = f"{values['changes']} {NETWORK}"
    command = [sys.executable, "-m", "geomem", "run", name, "--profile", "gpu"]
    command += ["--out", str(tmp_path)]
    for key, value in cuts.items():
        command += ["-p", key, str(value)]
    environment = {**os.environ, "GEOMEM_MODELS": str(project / "models")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / name).glob("fig-*.svg"))
