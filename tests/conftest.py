"""Shared by the tests: signals, point clouds, the project's root, real CIFAR-10 where it is."""

import errno
import itertools
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

# Tiny arrays: on a busy machine a second thread only waits, and NumPy's does it in a loop.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from filelock import FileLock

import geomem
from geomem.errors import InputError

# What makes the book, and what reads it, is imported where it is asked for: the tests of a GPU run
# where neither is.

# Where the machine is busy an example may wait long for its turn.
with suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")

torch.set_num_threads(1)
os.fsync = os.fstat  # where the power stays on, a flush changes nothing and takes milliseconds
ROOT = Path(__file__).resolve().parent.parent
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# What somebody may call a file, and what templates, pages, HTML and TeX would make of it.
HOSTILE = [
    "{{ 7*7 }}",
    "{% for x in y %}",
    "<img onerror=x src=y>",
    "two\nlines\r\n\t",
    "{x}",
    "back\\slash\\input{y}",
    "$x^2$ 100% & #1 ~",
    "`code` *bold* [link](y) |cell|",
    "'\"; #",
    "\u202eright to left\u2028",
    "\udcff not of any encoding",
]


def forked(function, *arguments):
    """A process that calls a function, without importing everything once more."""
    if torch.cuda.is_available():
        pytest.skip("where there is CUDA, torch trains in no fork of a process that has trained")
    process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    process.start()
    return process


def left_running(folder):
    """The commands of processes that work in a folder, or name it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = str((entry / "cwd").readlink())
            dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            continue
        if not dead and int(entry.name) != os.getpid() and str(folder) in f"{said} {where}":
            found.append(said)
    return found


@pytest.fixture(autouse=True)
def foreground():
    """Signals as in the foreground of a terminal; in a shell's background Ctrl-C is ignored."""
    usual = (signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL)
    old = [*map(signal.signal, SIGNALS, usual)]
    yield
    for number, handler in zip(SIGNALS, old, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cloud(rng):
    """20 training points and 7 queries near some of them, d = 5."""
    train = rng.normal(size=(20, 5))
    queries = train[:7] + 0.1 * rng.normal(size=(7, 5))
    return queries, train


@pytest.fixture
def cifar10():
    root = os.environ.get("GEOMEM_DATA", "")
    if not (Path(root) / "cifar-10-batches-bin").is_dir() or not root:
        pytest.skip("real CIFAR-10 is not here: set GEOMEM_DATA to a folder that holds it")
    return root


# A disk that refuses

CHANGES = ("mkdir", "fsync", "rename", "replace", "unlink", "rmdir")


@pytest.fixture
def refuse(monkeypatch):
    """From the n-th change of the disk on, or at that one alone, an error."""

    def from_the(n, alone, changes=CHANGES):
        calls = itertools.count()

        def refusing(real):
            def change(*arguments, **named):
                call = next(calls)
                if call == n or (call > n and not alone):
                    raise OSError(errno.ENOSPC, "No space left on device", arguments[0])
                return real(*arguments, **named)

            return change

        for name in changes:
            monkeypatch.setattr(os, name, refusing(getattr(os, name)))

    return from_the


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB, which `fill` fills: what a disk that is full does, and not a patch."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here, as root can: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def fill(disk):
    """Take all the room that there is; returns the file that has it."""
    with suppress(OSError), (disk / "others").open("wb", buffering=0) as others:
        while others.write(bytes(4096)):
            pass
    return disk / "others"


# A small project with one quick notebook

NOTEBOOK = """# ---
# jupyter: {kernelspec: {display_name: Python 3, language: python, name: python3}}
# ---

# %% [markdown]
# # Quick

# %% tags=["parameters"]
dataset: str = "digits"  # data set
n: int = 3  # points, in [1, inf)
fail: bool = False  # raise in the middle

# %%
import matplotlib.pyplot as plt
import geomem
from geomem.errors import InputError
from geomem import companion
data = geomem.load_dataset(dataset, n_train=n, n_heldout=1)
fig, ax = plt.subplots()
ax.plot(range(n))  # a line
if fail:
    raise RuntimeError("as asked")
companion.figure(fig, "fig-quick", {"x [1]": list(range(n))}, data=[data])

# %%
companion.claim("rises", "it rises", True)
companion.quote(n=str(n))
"""


def empty_project(root, monkeypatch):
    """An empty folder with the quick notebook, entered."""
    (root / "notebooks").mkdir()
    (root / "_toc.yml").write_text("- file: notebooks/quick\n")
    (root / "notebooks" / "quick.py").write_text(NOTEBOOK)
    (root / "notebooks" / "profiles.toml").write_text(
        '[cpu]\nabout = "x"\n[cpu.seconds]\nquick = 3\n'
    )
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def project(tmp_path, monkeypatch):
    return empty_project(tmp_path, monkeypatch)


def prepare(root, **overrides):
    """The quick notebook and its parameters."""
    from geomem.companion.notebooks import pick, pick_profile, resolve

    notebook = pick(root, "quick")
    values = {k: str(v) for k, v in overrides.items()}
    return notebook, resolve(notebook, pick_profile(root, "cpu"), values)


def recorded(folder, **made):
    """What stands in a folder as the result of a run, with its hashes."""
    from geomem.companion import results

    usual = {"key": "", "seconds": 1, "date": "2026-01-01", "commit": None, "dirty": None}
    inputs = {kind: {} for kind in results.KINDS} | made.pop("inputs", {})
    run = {**usual, **made, "inputs": inputs, "files": results.files(folder)}
    results.write_run(folder, run)


# The smoke book, built once for all the tests that read it

SOURCES = ["_config.yml", "_toc.yml", "CITATION.cff", "book", "notebooks"]
SAID = "said-by-geomem-book"


def copy_sources(root):
    """What makes the book, in a folder that is made where it is not there."""
    root.mkdir(exist_ok=True)
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)


def geomem_command(project, *arguments):
    command = [sys.executable, "-m", "geomem", *arguments]
    shared = {**os.environ, "GEOMEM_MODELS": os.environ.get("GEOMEM_MODELS", str(ROOT / "models"))}
    return subprocess.run(command, cwd=project, env=shared, capture_output=True, text=True)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A copy of the sources with its book; of two workers one builds it and the other waits."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    root, built = base / "smoke", base / "smoke" / "_build" / "html" / "index.html"
    with FileLock(base / "smoke.lock"):
        if not root.exists():
            build(root)
    assert built.is_file(), "it did not build; the first worker says why"
    return root


def build(root):
    from geomem.companion import runs

    root.mkdir()
    # What is fresh there, of this profile, is neither run nor rendered again.
    for name in ("results", "_build/html"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name)
    copy_sources(root)
    # What a book of this checkout kept answers here, too, as its models do.
    (ROOT / runs.KEPT).mkdir(parents=True, exist_ok=True)
    (root / runs.KEPT).parent.mkdir(exist_ok=True)
    (root / runs.KEPT).symlink_to(ROOT / runs.KEPT)
    made = geomem_command(root, "book", "--profile", "smoke")
    assert made.returncode == 0, made.stdout + made.stderr
    said = made.stdout.splitlines()[-2:]
    assert said in [[f"book {how}:", "_build/html/index.html"] for how in ("built", "unchanged")]
    (root / "_build" / SAID).write_text(made.stdout)


def without_api(root):
    """A book to be rendered soon: most pages, and most of the time, are of the API reference."""
    import yaml

    config = yaml.safe_load((root / "_config.yml").read_text())
    sphinx = config["sphinx"]["config"]
    sphinx["extensions"].remove("geomem.companion.api")
    own = ("autodoc", "numpydoc")
    config["sphinx"]["config"] = {k: v for k, v in sphinx.items() if not k.startswith(own)}
    (root / "_config.yml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="session")
def html(smoke):
    return smoke / "_build" / "html"


@pytest.fixture(scope="session")
def pages(html):
    """Every page of the book as soup, by its path."""
    paths = [*html.glob("book/**/*.html"), *html.glob("notebooks/*.html")]
    from bs4 import BeautifulSoup

    from geomem.companion import api, notebooks

    contents = re.findall(r"(?:file|root): (\S+)", (ROOT / "_toc.yml").read_text())
    contents += map(api.page, geomem.__all__)
    contents += [f"notebooks/{name}" for name in notebooks.notebooks(ROOT)]
    found = {
        p.relative_to(html).as_posix(): BeautifulSoup(p.read_text(), "html.parser") for p in paths
    }
    assert sorted(found) == sorted(f"{name}.html" for name in contents)
    return found


# Pages in a browser


@pytest.fixture(scope="module")
def browser():
    from geomem.companion import pdf

    try:
        found = pdf.chromium()
    except InputError as error:
        pytest.skip(str(error))
    if "snap" in Path(found).resolve().parts:
        pytest.skip("Chromium as a snap has a /tmp of its own")
    with pdf.browser() as running:
        yield running


def troubles(page, inside="file:"):
    """A list that fills with what goes wrong on a page: errors, requests failed or for outside."""
    found, own = [], (inside, "data:", "blob:")

    def failed(request):
        # The icon may be on its way when the next page is opened: left behind, it has not failed.
        if request.failure != "net::ERR_ABORTED":
            found.append(request.url)

    page.on("console", lambda m: found.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(own) else found.append(r.url))
    page.on("requestfailed", failed)
    page.on("response", lambda r: found.append(r.url) if r.status >= 400 else None)
    return found


# The order of the files


# The longest first, or one worker ends alone; between those that read the book, others, so that
# nobody waits while it is made.
LONGEST = [
    f"test_{name}" for name in "book runs audit web_pages live zoo train budget site".split()
]


def rendered():
    """Whether the smoke book is there as it would be made now."""
    stamp = ROOT / "_build" / "html" / ".inputs"
    if not stamp.is_file():
        return False
    from geomem.companion import book

    smoke = book.feet(ROOT).get("", "").startswith("profile smoke ")
    return smoke and stamp.read_text() == book.fingerprint(ROOT)


def pytest_collection_modifyitems(items):
    """Where the book is to be built, those that only read it come last."""
    there = rendered()
    readers = {item.path.stem for item in items if "smoke" in item.fixturenames}
    order = [name for name in LONGEST if there or name not in readers or name == LONGEST[0]]

    def place(item):
        name = item.path.stem
        if name in order:
            return order.index(name)
        return len(order) + (name in readers and not there)

    items.sort(key=place)  # the others stay in their order
