"""What a result stands on: edits in a copy of the package, and whose digests they change."""

import itertools
import os
import shutil

import pytest
from conftest import ROOT

from geomem import reach
from geomem.diffusion.zoo import TRAINING
from geomem.reach import reached, without_words

TABLE = "geomem/digitized/fig4_gap_training.csv"
TICKS = itertools.count(1)
NOTEBOOK = (ROOT / "notebooks" / "posterior.py").read_text()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package in the place of it."""
    copy = tmp_path / "geomem"
    shutil.copytree(reach.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(reach, "PACKAGE", copy)
    return copy


def changed(source, edit):
    """The names whose digests an edit changes, or that only one of the two sides reaches."""
    before = reached(source).code
    edit()
    after = reached(source).code
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def write(path, text):
    """A file written later than it was, whatever the clock's ticks: that is what is asked of it."""
    path.write_text(text)
    os.utime(path, ns=(0, next(TICKS)))


def replacing(path, old, new):
    def edit():
        assert path.read_text().count(old) == 1, (path, old)
        write(path, path.read_text().replace(old, new))

    return edit


# The package itself


@pytest.mark.parametrize("source", [TRAINING, NOTEBOOK], ids=["training", "notebook"])
def test_a_module_out_of_reach_changes_nothing(package, source):
    def edit():
        for name in ("progress.py", "cli/main.py", "theorems/formulas.py", "diffusion/cost.py"):
            write(package / name, (package / name).read_text() + "\nNEW = 1\nprint(NEW)\n")
        write(package / "new.py", "NEW = 1\n")

    assert changed(source, edit) == set()


@pytest.mark.parametrize("source", [TRAINING, NOTEBOOK], ids=["training", "notebook"])
def test_comments_and_docstrings_change_nothing(package, source):
    def edit():
        for path in package.rglob("*.py"):
            opened = path.read_text().replace('"""', '"""Indeed: ', 1)
            write(path, "# A comment.\n\n\n" + opened + "\n\n# Another.\n")

    assert changed(source, edit) == set()


def test_training_stands_on_what_trains(package):
    train, noise = package / "diffusion" / "train.py", package / "diffusion" / "noise.py"
    edit = replacing(train, "DIVERGED = 1e4", "DIVERGED = 1e5")
    assert changed(TRAINING, edit) == {"geomem.diffusion.train.DIVERGED"}
    edit = replacing(noise, "std: float = 1.2", "std: float = 1.3")
    assert changed(TRAINING, edit) == {"geomem.diffusion.noise.NoiseLaw"}
    edit = replacing(
        package / "geometry" / "curve.py", "trials * (size / trials)", "trials * (trials / size)"
    )
    assert changed(TRAINING, edit) == set()


def test_a_notebook_stands_on_what_it_calls(package):
    edit = replacing(
        package / "geometry" / "curve.py", "trials * (size / trials)", "trials * (trials / size)"
    )
    assert changed(NOTEBOOK, edit) == {"geomem.geometry.curve.share_interval"}
    edit = replacing(package / "diffusion" / "train.py", "DIVERGED = 1e4", "DIVERGED = 1e5")
    assert changed(NOTEBOOK, edit) == set()


def test_who_asks_for_a_model_stands_on_the_code_that_trains_it(package):
    """Other processes train it: the store names that code in strings alone."""
    source = "from geomem import train_or_load; train_or_load([])"
    edit = replacing(package / "diffusion" / "train.py", "DIVERGED = 1e4", "DIVERGED = 1e5")
    assert changed(source, edit) == {"geomem.diffusion.train.DIVERGED"}
    edit = replacing(
        package / "diffusion" / "fitting.py", "state.step - begun", "state.step + begun"
    )
    assert changed(source, edit) == {"geomem.diffusion.fitting._fit"}


@pytest.mark.parametrize(("source", "names"), [(NOTEBOOK, {TABLE}), (TRAINING, set())])
def test_a_table_beside_a_reached_module_counts(package, source, names):
    table = package.parent / TABLE
    edit = replacing(table, table.read_text(), table.read_text() + "0,0,0,0\n")
    assert changed(source, edit) == names


# Small modules in a package of their own

A = '''"""Module."""
from numpy import cos as wave
import geomem.b

SCALE = 2.0
TABLE = {"one": 1}
TABLE["two"] = 2
if len(TABLE) > 1:
    LATE = 5


def f(x, power=2):
    """Function."""
    return SCALE * wave(x) ** power


def g(x):
    return x


class Base:
    """Class."""

    def method(self, x):
        return g(x)


class Derived(Base):
    pass


def marked(function):
    return function


@marked
def h(x):
    return x


def inner(x):
    from geomem.b import one as chosen

    return chosen(x)


def other(x):
    from geomem.b import two as chosen

    return chosen(x)
'''
B = """
def one(x):
    return x + 1


def two(x):
    return x + 2


def three(x):
    return x + 3
"""


@pytest.fixture
def modules(tmp_path, monkeypatch):
    package = tmp_path / "geomem"
    (package / "kept").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "a": A,
        "b": B,
        "kept/__init__": "from geomem.a import f\nfrom .c import deep\n",
        "kept/c": "from ..b import three\n\ndef deep(x): return three(x)\n",
        "swap": "from geomem.b import one as low, two as high\ndef both(x): return low(high(x))",
    }.items():
        write(package / f"{name}.py", text)
    monkeypatch.setattr(reach, "PACKAGE", package)
    return package


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Module."""', '"""Another.\n\n>>> 1 + 1\n2\n"""'),
        ('"""Module."""\n', ""),
        ('    """Function."""\n', ""),
        ('"""Function."""', '"""Of f."""  # a comment'),
        ('    """Class."""\n', ""),
        ("SCALE * wave(x) ** power", "(SCALE *\n wave(x)**power)"),
        ("class Derived(Base):\n    pass", 'class Derived(Base):\n    """Words."""'),
        ("def g(x):\n", 'def g(x):\n    """Words."""\n'),
    ],
)
def test_what_is_no_code_changes_nothing(modules, old, new):
    edit = replacing(modules / "a.py", old, new)
    assert changed("from geomem.a import Derived, f; Derived, f", edit) == set()
    assert without_words(A.replace(old, new)) == without_words(A)


@pytest.mark.parametrize(
    ("source", "old", "new", "names"),
    [
        # What is changed
        ("from geomem.a import f; f(1)", "SCALE = 2.0", "SCALE = 2", {"a.SCALE"}),
        ("from geomem.a import f; f(1)", "power=2", "power=3", {"a.f"}),
        ("from geomem.a import f; f(1)", "cos as wave", "sin as wave", {"a.f"}),
        ("from geomem.a import f; f(1)", '["two"] = 2', '["two"] = 3', {"a."}),
        ("from geomem.a import LATE; LATE", "LATE = 5", "LATE = 6", {"a."}),
        ("from geomem.a import g; g(1)", "SCALE = 2.0", "SCALE = 3.0", set()),
        ("from geomem.a import Base; Base()", "return g(x)", "return -g(x)", {"a.Base"}),
        ("from geomem.a import Derived; Derived()", "return g(x)", "return -g(x)", {"a.Base"}),
        (
            "from geomem.a import Base; Base()",
            "return x\n\n\nclass",
            "return -x\n\n\nclass",
            {"a.g"},
        ),
        ("from geomem.a import h; h(1)", "return function", "return print", {"a.marked"}),
        ("from geomem.a import inner; inner(1)", "return x + 1", "return x + 9", {"b.one"}),
        ("from geomem.a import inner, other; inner, other", "x + 2", "x + 9", {"b.two"}),
        (
            "from geomem.a import inner; inner(1)",
            "b import one as",
            "b import three as",
            {"a.inner", "b.one", "b.three"},
        ),
        # How it is reached
        ("import geomem; geomem.a.f(1)", "SCALE = 2.0", "SCALE = 3.0", {"a.SCALE"}),
        ("import geomem.a; geomem.a.f(1)", "SCALE = 2.0", "SCALE = 3.0", {"a.SCALE"}),
        ("import geomem.a as m; m.f(1)", "SCALE = 2.0", "SCALE = 3.0", {"a.SCALE"}),
        ("from geomem import a as m; m.f(1)", "SCALE = 2.0", "SCALE = 3.0", {"a.SCALE"}),
        ("from geomem import a as m; m.g(1)", "SCALE = 2.0", "SCALE = 3.0", set()),
        ("from geomem.kept import f; f(1)", "SCALE = 2.0", "SCALE = 3.0", {"a.SCALE"}),
        ("from geomem import kept; kept.f(1)", "SCALE = 2.0", "SCALE = 3.0", {"a.SCALE"}),
        ("from geomem import kept; kept.f(1)", "return x + 3", "return x + 9", set()),
        ("from geomem.kept import deep; deep(1)", "return x + 3", "return x + 9", {"b.three"}),
        ("from geomem import kept; print(kept)", "return x + 3", "return x + 9", {"b.three"}),
        ("from geomem import b; getattr(b, 'o' + 'ne')", "return x + 1", "return x + 9", {"b.one"}),
        (
            "def k():\n    from geomem.b import one\n    one(1)",
            "return x + 1",
            "return x + 9",
            {"b.one"},
        ),
        ("run('from geomem.b import one; one(1)')", "return x + 1", "return x + 9", {"b.one"}),
        ("print('words from geomem.b, import one')", "return x + 1", "return x + 9", set()),
    ],
)
def test_a_change_counts_where_it_is_reached_and_nowhere_else(modules, source, old, new, names):
    file = modules / ("b.py" if old in B else "a.py")
    assert changed(source, replacing(file, old, new)) == {f"geomem.{name}" for name in names}


def test_two_names_that_change_places_are_a_change(modules):
    """Both functions are reached before and after, and no line that calls them changes."""
    edit = replacing(modules / "swap.py", "one as low, two as high", "two as low, one as high")
    assert changed("from geomem.swap import both; both(1)", edit) == {"geomem.swap.both"}
    source = "from geomem.kept import f; f(1)"
    edit = replacing(
        modules / "kept" / "__init__.py", "geomem.a import f", "geomem.b import one as f"
    )
    assert {"geomem.a.f", "geomem.b.one"} <= changed(source, edit)


def test_a_package_counts_with_what_runs_before_its_modules(modules):
    source = "from geomem.kept.c import deep; deep(1)"
    edit = replacing(modules / "kept" / "__init__.py", "import deep\n", "import deep\nprint(1)\n")
    assert changed(source, edit) == {"geomem.kept."}


def test_a_folder_is_a_package_with_a_front_or_without(modules):
    (modules / "bare").mkdir()
    write(modules / "bare" / "c.py", "def deep(x): return x\n")
    write(modules / "kept.py", "raise SystemExit\n")  # which the package of that name hides
    source = "from geomem.bare import c; from geomem.kept import f; c.deep(f(1))"
    found = {name for name in reached(source).code if not name.startswith("geomem.a.")}
    assert found == {"geomem.bare.c.deep"}


def test_a_name_more_at_the_front_changes_nothing(package):
    front = package / "__init__.py"

    def edit():
        write(front, front.read_text() + "\nif 1 > 0:\n    from geomem.diffusion import cost\n")

    assert changed(TRAINING, edit) == changed(NOTEBOOK, edit) == set()


@pytest.mark.parametrize(
    ("version", "kept"),
    [
        ("2.13.0+cpu", "2.13.0"),
        ("2.13.0+cu126", "2.13.0"),
        ("2.13.0+rocm6.4", "2.13.0"),
        ("2.13.0", "2.13.0"),
        ("2.14.0.dev20261101+cpu", "2.14.0.dev20261101"),
        ("2.13.0a0+gitcf30153", "2.13.0a0+gitcf30153"),  # this does name the code
    ],
)
def test_a_version_is_of_the_code_whatever_device_it_was_built_for(monkeypatch, version, kept):
    monkeypatch.setattr(reach.metadata, "version", lambda distribution: version)
    assert reached("import torch; torch.ones(1)").versions["torch"] == kept


def test_the_versions_are_of_what_is_named(modules):
    assert {*reached("from geomem.a import f; f(1)").versions} == {"python", "numpy"}
    assert {*reached("from geomem.a import g; g(1)").versions} == {"python"}
    assert {*reached("import scipy.special as s; s.ndtr(1)").versions} == {"python", "scipy"}


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ("def use(g):\n    return g", False),
        ("def use(x):\n    g = x\n    return g", False),
        ("def use(x):\n    for g in x:\n        print(g)", False),
        ("def use(x):\n    def inner():\n        return g\n    g = x\n    return inner", False),
        ("def use(x):\n    return g(x)", True),
        ("def use(g=g):\n    return g", True),
        ("@g\ndef use(g):\n    return g", True),
        ("def use(x):\n    global g\n    g = g(x)", True),
        ("def use(x):\n    return [g for g in x], g(x)", True),
        ("def use(x):\n    class Inner:\n        g = 1\n    return g(x)", True),
        ("def use(x):\n    def inner(g):\n        return g\n    return g(x)", True),
        (
            "def use(g):\n    def inner(x):\n        from geomem.a import g\n        return g(x)",
            True,
        ),
    ],
)
def test_a_name_that_a_function_binds_is_not_that_of_its_module(modules, body, meant):
    write(modules / "names.py", f"def g(x): return x\n\n\n{body}\n")
    source, names = "from geomem.names import use; use(1)", ("geomem.names.g", "geomem.a.g")
    assert any(name in reached(source).code for name in names) is meant
