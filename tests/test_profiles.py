"""The profiles for a GPU, on real CIFAR-10: all of them but the length, and what that would be."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from geomem.cli.book import BUILD
from geomem.companion import budget, notebooks
from geomem.diffusion import zoo
from geomem.diffusion.cost import CUDA_BASIS

# Their networks with all parts, narrow; two steps; few images and samples.
NETWORK = "train.model.width=8 train.model.blocks=1 train.images=32 train.batch=4 data.n_train=60"
PRESETS = {"gpu": "cifar10-fast", "paper": "cifar10"}
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
    "live_models": "",
    "live_dataset": "",
}
TRAINING = [n.name for n in notebooks.notebooks(ROOT).values() if n.trains and n.name != "covered"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(
        ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns("*.ipynb")
    )
    shutil.copy(ROOT / "_toc.yml", root)
    return root


@pytest.mark.long
@pytest.mark.parametrize("profile", PRESETS)
@pytest.mark.parametrize("name", TRAINING)
def test_a_profile_for_a_gpu_runs_but_for_its_length(name, profile, project, cifar10, tmp_path):
    notebook = notebooks.pick(ROOT, name)
    values = notebooks.resolve(notebook, notebooks.pick_profile(ROOT, profile))
    preset = values.get("preset") or values["models"].removesuffix(" 0")
    assert preset == PRESETS[profile] and values["dataset"] == "cifar10"
    cuts = {key: value for key, value in CUTS.items() if key in notebook.parameters}
    if "preset" in values:
        cuts["changes"] = f"{values['changes']} {NETWORK}"
    else:
        cuts["models"] = f"{preset} 0 n_train={CUTS['n_train']} {NETWORK}"
    command = [sys.executable, "-m", "geomem", "run", name, "--profile", profile]
    command += ["--out", str(tmp_path)]
    for key, value in cuts.items():
        command += ["-p", key, str(value)]
    environment = {**os.environ, "GEOMEM_MODELS": str(project / "models")}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / name).glob("fig-*.svg"))


RANDOM = {"posterior", "coverage", "regimes"}  # of the paper's Figures E.2, E.3 and 3


def test_only_what_the_paper_draws_at_random_has_random_subsets():
    """All else is of the first images in their own order, on which EDM-1K was trained."""
    for name in notebooks.profiles(ROOT):
        profile = notebooks.pick_profile(ROOT, name)
        of_all = {n.name: notebooks.resolve(n, profile) for n in notebooks.notebooks(ROOT).values()}
        drawn = {name for name, values in of_all.items() if values.get("data_seed", -1) != -1}
        assert drawn in (set(), RANDOM), name


@pytest.mark.long
def test_the_gpu_profile_takes_an_hour_at_most_as_computed(cifar10, tmp_path, monkeypatch):
    monkeypatch.setenv(zoo.STORE_VARIABLE, str(tmp_path))
    profile, on = notebooks.pick_profile(ROOT, "gpu"), {"device": "cuda"}
    todo = [
        (n, notebooks.resolve(n, profile) | (on if "device" in n.parameters else {}))
        for n in notebooks.notebooks(ROOT).values()
    ]
    total = sum(budget.budgets(todo, profile).values(), BUILD)
    assert total.seconds <= 3600 and total.basis == {CUDA_BASIS}
    assert profile.training == pytest.approx(total.training, rel=0.1)
