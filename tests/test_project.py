"""The lock, pyproject.toml, environment.yml and the files to cite from say the same."""

import importlib.metadata
import json
import re
import tomllib

import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pybtex.database import parse_file, parse_string

from geomem.companion import citation, figures


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


def cff():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_citation_names_this_version_and_the_changelog_its_date():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = cff()["version"]
    assert version == project["version"] == importlib.metadata.version("geomem")
    changes = (ROOT / "CHANGELOG.md").read_text()
    dated = re.search(rf"^## {re.escape(version)} - (\S+)$", changes, re.M)
    assert dated and dated[1] == str(cff()["date-released"])


def test_a_change_of_the_citation_file_reaches_every_entry(tmp_path):
    changed = {**cff(), "version": "9.8"}
    changed["references"][0]["start"] = 7
    (tmp_path / "CITATION.cff").write_text(yaml.safe_dump(changed))
    assert 'pages = "7--25694"' in citation.bibtex(tmp_path, "dodson2026two")
    assert "Version 9.8" in citation.bibtex(tmp_path, "geomem")


def test_entries_are_what_bibtex_reads_back_and_stand_nowhere_else():
    entries = citation.entries(ROOT)
    assert parse_string(entries.to_string("bibtex"), "bibtex") == entries
    others = parse_file(ROOT / "book" / "references.bib").entries
    assert not entries.entries.keys() & others.keys()
    pages = entries.entries["dodson2026two"].fields["pages"].split("--")
    copies = [
        path.name
        for path in (ROOT / "README.md", *(ROOT / "book").glob("*.*"))
        if any(page in path.read_text() for page in pages)
    ]
    assert not copies, "the paper's pages, typed in: they stand in CITATION.cff"


def test_zenodo_says_what_the_citation_file_says():
    zenodo, cited = json.loads((ROOT / ".zenodo.json").read_text()), cff()
    assert zenodo["creators"] == cited["authors"]
    assert {key: zenodo[key] for key in ("title", "keywords", "license")} == {
        key: cited[key] for key in ("title", "keywords", "license")
    }
    (paper,), (related,) = cited["references"], zenodo["related_identifiers"]
    assert related["identifier"] == paper["identifiers"][0]["value"]


def test_a_figure_is_by_the_book_s_authors():
    record = {"id": "fig-x", "title": "X", "date": "2026-11-28", "commit": None, "dirty": False}
    (figure,) = parse_string(figures.bibtex({**record, "data": []}), "bibtex").entries.values()
    assert figure.persons == citation.entries(ROOT).entries["geomem"].persons
