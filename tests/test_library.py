"""The package as a library: what it imports, where it imports, and what type checkers see of it."""

import inspect
import re
import subprocess
import sys

import pytest
from conftest import ROOT

import geomem

PACKAGE = ROOT / "geomem"
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)


def python(code, *arguments):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("code", ["import geomem", "import geomem.cli.main as m; m._parser()"])
def test_the_package_and_the_help_import_nothing_heavy(code):
    code += "; import sys; print(*{'torch', 'numpy', 'scipy', 'matplotlib'} & {*sys.modules})"
    assert python(code).strip() == ""


def test_every_public_name_is_there():
    assert {*geomem.__all__} <= {*dir(geomem)}
    for name in geomem.__all__:
        assert getattr(geomem, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = geomem.nope


WINDOWS = """
import importlib, os, signal, sys
import torch, scipy.stats, sphinx.application  # with what this system has
sys.modules["fcntl"] = sys.modules["pwd"] = sys.modules["grp"] = sys.modules["termios"] = None
del signal.SIGHUP, os.setpgrp, os.ttyname, os.fork, os.killpg, os.setsid
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(name)
"""


def test_every_module_imports_where_unix_ends():
    assert python(WINDOWS, *MODULES).split() == MODULES


WITHOUT_EXTRAS = """
import importlib, sys
for name in "flint jupytext nbclient nbformat papermill pybtex docutils sklearn yaml".split():
    sys.modules[name] = None
for name in sys.argv[1:]:
    importlib.import_module(name)
from geomem.cli.main import main
sys.argv = ["geomem", "verify"]
main()
"""


def test_the_library_and_its_verbs_import_without_any_extra():
    extra = ("geomem.companion.", "geomem.theorems.", "geomem.cli.book", "geomem.cli.theorems")
    names = [name for name in MODULES if not name.startswith(extra)]
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *names]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert said.stderr.startswith("geomem: verify needs pip install 'geomem[theorems]'")
    assert said.returncode == 2 and said.stdout == "" and said.stderr.count("\n") == 1


CALLER = '''# mypy: disallow-any-generics, warn-return-any, disallow-any-unimported
"""What somebody may write on this package."""

import numpy as np
import torch
from numpy.typing import NDArray

import geomem
from geomem import Denoiser, EmpiricalDenoiser, GaussianDenoiser

data = geomem.load_dataset("digits", n_train=64)
exact, affine = EmpiricalDenoiser(data.train), GaussianDenoiser(data.train)


def halved(x: torch.Tensor, sigma: float | torch.Tensor) -> torch.Tensor:
    return x / 2


denoisers: dict[str, Denoiser] = {"exact": exact, "affine": affine, "halved": halved}
for denoise in denoisers.values():
    reveal_type(geomem.denoising_error(denoise, data.heldout, [0.1, 1.0]).mean)
    reveal_type(geomem.sample(denoise, (1, 8, 8), 4))
weights: NDArray[np.float64] = geomem.posterior_weights(data.heldout, data.train, 0.3)
reveal_type(geomem.posterior_weights(torch.zeros(1, 64), data.train, 0.3))
reveal_type(exact(data.heldout, 0.3))
reveal_type(affine(torch.zeros(1, 64), torch.ones(1)))
reveal_type(geomem.nearest_distances(data.heldout, data.train, 2))
reveal_type(geomem.max_posterior_weight(data.train, [0.1, 1.0]).mean)
reveal_type(geomem.measure_regimes(data.heldout, data.train).regimes.concentrated)
reveal_type(geomem.memorized_fraction(data.heldout, data.train).value)
trained = geomem.train_or_load([geomem.experiment("digits-mlp-small", {"train.seed": 1})])
reveal_type(trained[0].denoise(torch.zeros(1, 1, 8, 8), 0.5))
'''


def test_a_strict_caller_sees_types(tmp_path):
    """The script above and every public name: no error, and nothing is Any."""
    names = [f"reveal_type(geomem.{name})" for name in geomem.__all__]
    script = tmp_path / "caller.py"
    script.write_text(CALLER + "\n".join(names) + "\n")
    command = [sys.executable, "-m", "mypy", str(script)]  # with what it knows of the package
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    # Errors of the package are found by mypy itself, with the versions of the lock.
    said = [line for line in checked.stdout.splitlines() if "caller.py:" in line]
    assert said and not [line for line in said if "error:" in line], checked.stdout
    revealed = re.findall(r'Revealed type is "(.+)"', checked.stdout)
    assert len(revealed) == (CALLER + str(names)).count("reveal_type(")
    assert "Any" not in revealed
    assert (PACKAGE / "py.typed").is_file()


def test_shells_and_level_have_one_default_everywhere():
    """Those of the book, c = 5 and 0.8: else one data set has two zones."""
    found = {"c": set(), "level": set()}
    for name in geomem.__all__:
        public = getattr(geomem, name)
        parameters = inspect.signature(public).parameters if inspect.isfunction(public) else {}
        for parameter in found.keys() & parameters.keys():
            if parameters[parameter].default is not inspect.Parameter.empty:
                found[parameter].add(parameters[parameter].default)
    assert found == {"c": {5.0}, "level": {0.8}}
