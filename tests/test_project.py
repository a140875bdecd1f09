"""The lock, pyproject.toml, environment.yml and the files to cite from say the same."""

import ast
import importlib.metadata
import json
import re
import runpy
import sys
import tomllib

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pybtex.database import parse_file, parse_string

from geomem.companion import citation, figures


def lock():
    """The exact version of each package that the lock names."""
    lines = [
        line.removesuffix(" \\")
        for name in ("requirements.lock", "requirements-torch.lock")
        for line in (ROOT / name).read_text().splitlines()
    ]
    found = {}
    for line in lines:
        if line and not line.startswith(("#", "    --hash=sha256:")):
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
    lazy = {"pooch", "platformdirs", "tqdm"}  # where something is downloaded, or a bar is seen
    needed = imported(modules - book, top_level=True) | lazy
    assert {{"PIL": "pillow"}.get(name, name) for name in needed} == {*bounds()}
    assert imported(theorems, top_level=False) - needed == {"flint", "sympy"}


def test_every_file_of_the_lock_has_its_hash():
    text = (ROOT / "requirements.lock").read_text()
    for block in re.split(r"\n(?=[A-Za-z])", text)[1:]:
        assert re.search(r"\n    --hash=sha256:[0-9a-f]{64}( |$)", block), block.partition(" ")[0]
    for name in ("Makefile", ".binder/Dockerfile"):
        (line,) = re.findall(r".*-r requirements\.lock.*", (ROOT / name).read_text())
        assert "--require-hashes" in line, name


def test_every_licence_is_known_and_binds_nobody():
    try:
        found = runpy.run_path(str(ROOT / ".ci" / "licences"))  # which exits where one does not fit
    except importlib.metadata.PackageNotFoundError as missing:
        pytest.skip(f"this is not the environment of the lock: {missing}")
    pins = [name.split("==")[0] for name, _ in found["rows"] if "==" in name]
    assert {*map(canonicalize_name, pins)} == {*lock()}
    binding = ["GPL-3.0-or-later", "GNU General Public License v3 (GPLv3)", "AGPL-3.0-only"]
    others = ["MIT", "GNU Lesser General Public License v3 (LGPLv3)", "LGPL-2.1-or-later"]
    assert [*filter(found["BINDING"].search, binding + others)] == binding


def test_what_is_shipped_of_others_has_its_licence_beside_it():
    data, fonts = (ROOT / "geomem" / "data").glob("*.*z"), (ROOT / "book").glob("_assets/*.wof*")
    shipped = [*data, *fonts]
    for path in shipped:
        whose = re.split(r"[._]", path.name)[0]
        beside = [one.name for one in path.parent.glob("*_LICENSE")]
        assert any(re.match(whose, name, re.I) for name in beside), path.name
    assert shipped


def test_every_week_each_lock_is_audited_and_licences_are_looked_at():
    jobs = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text())["jobs"]
    runs = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    for path in ROOT.glob("requirements*.lock"):
        assert [run for run in runs if "pip-audit" in run and run.endswith(f"-r {path.name}")]
    assert "make licences" in runs


def test_conda_installs_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert {"pip": ["-r requirements.lock"]} in environment["dependencies"]
    assert "python=3.11" in environment["dependencies"]


def test_jupyter_book_2_and_a_floating_torch_can_never_come_in():
    locked = lock()
    assert locked["jupyter-book"] == "1.0.4.post1" and locked["torch"] == "2.13.0"
    assert not bounds("book")["jupyter-book"].contains("2.0")


def cff():
    return yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_citation_names_this_version_and_the_changelog_its_date():
    version = cff()["version"]
    assert version == project()["version"] == importlib.metadata.version("geomem")
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


# A work is found by its DOI, its arXiv number, or an address.
NUMBERS = {"doi": r"10\.\d{4,}/\S+", "eprint": r"\d{4}\.\d{4,5}", "url": r"https://\S+"}


def test_every_work_is_cited_and_can_be_found_by_its_number():
    works = parse_file(ROOT / "book" / "references.bib").entries
    sources = (*(ROOT / "book").glob("*.md"), *(ROOT / "geomem").rglob("*.py"))
    text = "\n".join(path.read_text() for path in sources)
    keys = {key for keys in re.findall(r"cite:\w+[}:]`([^`]+)`", text) for key in keys.split(",")}
    assert [*works.keys() - keys] == []
    numbers = []
    for key, work in works.items():
        found = {name: work.fields[name] for name in NUMBERS if name in work.fields}
        assert found, f"{key}: neither DOI nor arXiv number nor address"
        assert all(re.fullmatch(NUMBERS[name], number) for name, number in found.items()), key
        numbers += found.values()
    assert len(numbers) == len({*numbers}), "two works with one number"


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
