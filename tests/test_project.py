"""The lock, pyproject.toml, environment.yml and CITATION.cff say the same."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def lock():
    """The exact version of each package that the lock names."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), f"{line} is no exact pin"
            found[canonicalize_name(requirement.name)] = str(requirement.specifier)[2:]
    return found


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def bounds(*extras):
    """What pyproject.toml asks for, without the package's own name in an extra."""
    wanted = [*project()["dependencies"]]
    for extra in extras:
        wanted += project()["optional-dependencies"][extra]
    requirements = map(Requirement, wanted)
    return {canonicalize_name(r.name): r.specifier for r in requirements if r.name != "geomem"}


def test_the_lock_satisfies_the_bounds():
    locked = lock()
    for name, specifier in bounds("book", "theorems", "test").items():
        assert name in locked and specifier.contains(locked[name]), name


def imported(paths, *, top_level):
    """The packages that modules import, at once or also inside functions."""
    found = set()
    for path in paths:
        tree = ast.parse(path.read_text())
        for node in tree.body if top_level else ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return {name for name in found - sys.stdlib_module_names if name != "geomem"}


def test_the_library_needs_the_core_dependencies_and_no_other():
    """Anything else is imported where it is needed, and is an extra."""
    package = ROOT / "geomem"
    modules = {*package.rglob("*.py")}
    theorems = {*(package / "theorems").glob("*.py")}
    book = {*(package / "companion").glob("*.py"), *theorems}
    needed = imported(modules - book, top_level=True) | {"pooch"}  # where something is downloaded
    assert {{"PIL": "pillow"}.get(name, name) for name in needed} == {*bounds()}
    assert imported(theorems, top_level=False) - needed == {"flint", "sympy"}


def test_conda_installs_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert {"pip": ["-r requirements.lock"]} in environment["dependencies"]
    assert "python=3.11" in environment["dependencies"]


def test_jupyter_book_2_and_a_floating_torch_can_never_come_in():
    locked = lock()
    assert locked["jupyter-book"] == "1.0.4.post1" and locked["torch"] == "2.13.0"
    assert not bounds("book")["jupyter-book"].contains("2.0")


def test_citation_file_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    version = project()["version"]
    assert citation["version"] == version == metadata.version("geomem")
    assert f"Version {version}" in (ROOT / "book" / "references.bib").read_text()
