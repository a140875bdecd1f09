"""The lock, pyproject.toml, environment.yml and CITATION.cff say the same."""

import re
import tomllib

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import geomem.companion.figures


def pins(lines):
    found = {}
    for line in lines:
        requirement = Requirement(line)
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), f"{line} is not an exact pin"
        found[canonicalize_name(requirement.name)] = str(requirement.specifier)
    return found


def lock():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return pins(line for line in lines if line and not line.startswith("#"))


def test_pyproject_pins_what_the_lock_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = pins(project["dependencies"] + project["optional-dependencies"]["test"])
    locked = lock()
    assert {name: locked.get(name) for name in wanted} == wanted


def test_environment_has_the_lock_and_nothing_else():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (listed,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pins(listed) == lock()
    assert "python=3.11" in environment["dependencies"]


def test_jupyter_book_2_and_a_floating_torch_can_never_come_in():
    locked = lock()
    assert locked["jupyter-book"] == "==1.0.4.post1" and locked["torch"] == "==2.13.0"


def test_citation_file_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (
        citation["version"] == project["version"] == geomem.companion.figures.versions()["geomem"]
    )
    assert f"Version {project['version']}" in (ROOT / "book" / "references.bib").read_text()
