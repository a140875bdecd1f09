"""Faults at random: `make faults` kills, damages and misuses, and prints what came of each.

What may come of a fault is a result as if nothing had happened, or an error of one line; never a
traceback, a result that is half or another's, or a process that runs on.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import ROOT, copy_sources, geomem_command, left_running, prepare
from PIL import Image

import geomem
from geomem.companion import notebooks, runs
from geomem.companion.budget import budgets
from geomem.companion.fresh import stale
from geomem.companion.results import Result
from geomem.diffusion import checkpoint, fitting, presets, zoo
from geomem.errors import InputError, WorkError

pytestmark = pytest.mark.long
SEED = int(os.environ.get("GEOMEM_FAULTS_SEED", "0"))
TRAININGS, BOOKS, FILES, PARAMETERS = 20, 10, 200, 300
SECONDS = 120  # beyond which a set of parameters is too slow to be waited for here


@pytest.fixture
def told(request, capsys):
    """Counts what came of each fault, and prints it."""
    found = Counter()
    yield found
    with capsys.disabled():
        print(f"\n{request.node.name}, seed {SEED}: {sum(found.values())} faults")
        for what, count in found.most_common():
            print(f"  {count:4} {what}")


@pytest.fixture
def chance():
    return random.Random(SEED)


def killed(arguments, cwd, env, seconds):
    """Run a command and kill it after so many seconds; whether it had ended before."""
    command = [sys.executable, "-m", "geomem", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **env}, **quiet)
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return False
    assert process.returncode == 0, said
    return True


def weights(store):
    (folder,) = store.iterdir()
    tensors, _ = checkpoint.read(folder / "model")
    return {name: tensor.tolist() for name, tensor in tensors.items()}


def test_a_training_is_killed(tmp_path, chance, told):
    """Undisturbed, and killed again and again: the same weights, bit for bit."""
    arguments = ["train", "digits-mlp-small", "--set", "train.steps", "1500"]
    arguments += ["--set", "train.checkpoint", "100"]
    started = time.monotonic()
    assert killed(arguments, tmp_path, {"GEOMEM_MODELS": str(tmp_path / "calm")}, 600)
    seconds, calm = time.monotonic() - started, weights(tmp_path / "calm")
    done = 0
    while done < TRAININGS:
        store = tmp_path / f"store-{done}"
        while True:
            ended = done >= TRAININGS or chance.random() < 0.1  # so that some come to their end
            after = 600 if ended else chance.uniform(0.3, 1) * seconds
            if killed([*arguments, "--resume"], tmp_path, {"GEOMEM_MODELS": str(store)}, after):
                break
            done += 1
            told["killed, then gone on with"] += 1
        assert weights(store) == calm
        shutil.rmtree(store)
    assert not left_running(tmp_path)


def test_a_book_is_killed(tmp_path, chance, told):
    """Nothing runs on, every result is whole or not there, and the next book is complete."""
    root = tmp_path / "project"
    copy_sources(root)
    store = os.environ.get("GEOMEM_MODELS", str(ROOT / "models"))
    env, book = {"GEOMEM_MODELS": store}, ["book", "--profile", "smoke"]
    for _ in range(BOOKS):
        if killed(book, root, env, chance.uniform(2, 60)):
            told["complete before it was killed: all thrown away"] += 1
            for folder in ("results", "_build"):
                shutil.rmtree(root / folder)
            continue
        told["killed, then gone on with"] += 1
        ends = time.monotonic() + 15
        while (running := left_running(root)) and time.monotonic() < ends:
            time.sleep(0.2)
        assert not running, running
        here = [Result(root, name) for name in notebooks.notebooks(root)]
        assert not [result.altered for result in here if result.exists and result.altered]
    made = geomem_command(root, *book)
    assert made.returncode == 0, made.stderr
    again = geomem_command(root, *book)
    assert again.returncode == 0 and "never run" not in again.stdout, again.stdout


def damage(path, chance, others):
    """Change a file for the worse; say how."""
    content = path.read_bytes()
    kind = chance.choice(["cut", "flipped", "zeroed", "swapped", "emptied", "rubbish", "a folder"])
    middle = chance.randrange(len(content)) if content else 0
    if kind == "cut":
        path.write_bytes(content[:middle])
    elif kind == "flipped":
        bit = 1 << chance.randrange(8)
        path.write_bytes(content[:middle] + bytes([content[middle] ^ bit]) + content[middle + 1 :])
    elif kind == "zeroed":
        path.write_bytes(content[:middle] + bytes(len(content) - middle))
    elif kind == "swapped":
        path.write_bytes(chance.choice(others).read_bytes())
    elif kind == "emptied":
        path.write_bytes(b"")
    elif kind == "rubbish":
        path.write_bytes(chance.randbytes(1000))
    else:
        path.unlink()
        path.mkdir()
    return kind


def model_of(folder):
    """What is read of the one model in a store."""
    trained = zoo.load_model(next(folder.iterdir()), device="cpu")
    parts = [trained.denoise, trained.at(0.5)]
    return [trained.facts, *({k: v.tolist() for k, v in p.state_dict().items()} for p in parts)]


def images_of(path):
    return geomem.load_dataset(path, n_train=4, n_heldout=1).train.tolist()


def result_of(root):
    """What a book takes from a run, where the run counts as whole."""
    notebook, parameters = prepare(root)
    result = Result(root, "quick")
    if why := stale(result, notebook, parameters):
        raise InputError(f"to be run again: {'; '.join(why)}")
    return [result.claims, result.run["files"]]


@pytest.fixture
def whole(project, rng):
    """Of each kind of thing on the disk: where it lies, and how it is read."""
    settings = {"train.steps": 8, "train.batch": 4, "train.snapshots": "0.5", "data.n_train": 8}
    fitting.fit(presets.experiment("digits-mlp-small", settings), root=project / "store")
    pixels = rng.integers(0, 256, size=(6, 8, 8), dtype=np.uint8)
    np.savez(project / "own.npz", images=pixels)
    (project / "pictures").mkdir()
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(project / "pictures" / f"{i}.png")
    runs.run(project, *prepare(project))
    return {
        "store": model_of,
        "own.npz": images_of,
        # No hash is known of somebody's own pictures: others are taken for what they are.
        "pictures": lambda folder: bool(np.isfinite(images_of(folder)).all()),
        "results": lambda folder: result_of(folder.parent),
    }


def test_files_are_damaged(project, whole, chance, told):
    """Read as before, or refused in one line."""
    before = {name: read(project / name) for name, read in whole.items()}
    for fault in range(FILES):
        name = chance.choice([*whole])
        place = project / name
        saved = project / "saved"
        copy = shutil.copytree if place.is_dir() else shutil.copy
        copy(place, saved)
        files = sorted(p for p in [place, *place.rglob("*")] if p.is_file() and p.name != "lock")
        path = chance.choice(files)
        kind = damage(path, chance, files)
        said = f"{name}, {path.relative_to(project)} {kind} (fault {fault})"
        try:
            with warnings.catch_warnings(action="error"):
                assert whole[name](place) == before[name], said
            told[f"{name}: as before"] += 1
        except (InputError, WorkError) as error:
            assert "\n" not in str(error), said
            told[f"{name}: refused in one line"] += 1
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        saved.rename(place)


# Parameters


def some_value(parameter, chance):
    """A value at, near or beyond the ends of a parameter's range, or of another type; as text."""
    match = notebooks.RANGE.search(parameter.help)
    far = ["1e308", "-1e300", "1e-300", "nan", "inf", "-1", "0", "1", "2", "", "many", "٣", "７"]
    if parameter.type in ("str", "bool") or match is None:
        known = match[7].split(", ") if match and match[7] else ["true", "false"]
        return chance.choice([*known, str(parameter.default), *far])
    low, high, default = float(match[3]), float(match[4]), float(parameter.default)
    whole = parameter.type == "int"
    # Numbers of images, levels and draws near their upper ends would take hours; not tried.
    top = min(high, 3 * max(default, 2)) if whole and "seed" not in parameter.name else high
    inside = low + (top - low) * chance.random()
    values = [low, top, inside, default * chance.uniform(0.5, 2), (low + 1e-9) * 1.5, high * 2]
    if not whole and low > 0:
        values += [np.exp(chance.uniform(np.log(low), np.log(high))) for _ in range(3)]
    value = chance.choice(values)
    return chance.choice([*far, *[str(int(value) if whole else value)] * 9])


def misused_setting(chance):
    """Some settings of a preset, changed: what came of it."""
    preset = presets.experiment(chance.choice([*presets.PRESETS]), {})
    known = presets.settings(preset)
    names = chance.sample([*known], chance.choice([1, 1, 2, 3]))
    far = ["1e308", "-1e300", "1e-300", "nan", "-1", "0", "0.5", "1", "7", "", "many", "٣", "false"]
    new = {name: chance.choice([*far, str(known[name])]) for name in names}
    try:
        changed = presets.changed(preset, new)
    except InputError as error:
        assert "\n" not in str(error), new
        return "settings refused in one line"
    assert presets.settings(changed).keys() == known.keys()
    return "settings taken"


def executed(notebook, values):
    """Run the cells of a notebook here, as plain Jupyter would."""
    names = dict(values)
    for cell in notebooks.read(notebook.path).cells:
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            exec(compile(cell.source, notebook.name, "exec"), names)
    plt.close("all")


def too_slow(number, frame):
    raise TimeoutError


def test_parameters_are_misused(chance, told, monkeypatch, tmp_path, capsys):
    """A result, or one line before or after the start."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GEOMEM_MODELS", os.environ.get("GEOMEM_MODELS", str(ROOT / "models")))
    signal.signal(signal.SIGALRM, too_slow)
    smoke = notebooks.pick_profile(ROOT, "smoke")
    known = [n for n in notebooks.notebooks(ROOT).values() if n.name != "theorem_checks"]
    for fault in range(PARAMETERS):
        if fault % 4 == 0:
            told[misused_setting(chance)] += 1
            continue
        notebook = chance.choice(known)
        names = chance.sample([*notebook.parameters], chance.choice([1, 1, 2, 3]))
        new = {name: some_value(notebook.parameters[name], chance) for name in names}
        said = f"{notebook.name} {new} (fault {fault})"
        try:
            values = notebooks.resolve(notebook, smoke, new)
        except InputError as error:
            assert "\n" not in str(error), said
            told["refused in one line before the start"] += 1
            continue
        signal.alarm(SECONDS)
        try:
            if budgets([(notebook, values)], smoke)[notebook.name].models:
                told["fit for a training, which is not waited for"] += 1
                continue
            executed(notebook, values)
            told["a result"] += 1
        except ValueError as error:
            assert "\n" not in str(error), said
            told["refused in one line after the start"] += 1
        except TimeoutError:
            told["too slow to be waited for"] += 1
        except Exception as error:
            raise AssertionError(said) from error
        finally:
            signal.alarm(0)
            capsys.readouterr()
