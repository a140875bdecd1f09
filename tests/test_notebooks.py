"""Typed parameters, profiles and notebooks: unknown or wrong values stop before anything runs."""

import re
import shutil

import numpy as np
import pytest
from conftest import HOSTILE, ROOT

from geomem import load_dataset
from geomem.companion import fresh, notebooks, runs, verdicts
from geomem.companion.notebooks import Parameter, ParameterError


def test_every_notebook_has_typed_parameters_with_help():
    found = notebooks.notebooks(ROOT)
    assert list(found)[:4] == ["posterior", "coverage", "regimes", "schedules"], "book's order"
    for notebook in found.values():
        if notebook.name != "theorem_checks":
            assert {"dataset", "seed", "device"} <= set(notebook.parameters)
        for parameter in notebook.parameters.values():
            assert parameter.help and parameter.check(parameter.default) == parameter.default


def test_every_profile_resolves_for_every_notebook():
    profiles = notebooks.profiles(ROOT)
    assert list(profiles) == ["smoke", "cpu", "cifar", "gpu", "paper"]
    for profile in profiles.values():
        for notebook in notebooks.notebooks(ROOT).values():
            values = notebooks.resolve(notebook, profile)
            assert set(values) == set(notebook.parameters) and notebook.name in profile.seconds


@pytest.mark.parametrize("name", ["digits", "fashion-mini"])
def test_every_notebook_takes_every_data_set_of_the_package(name):
    """In no notebook a default asks for more held-out images than any of them has."""
    profile = notebooks.pick_profile(ROOT, "cpu")
    for notebook in notebooks.notebooks(ROOT).values():
        if "dataset" in notebook.parameters:
            values = notebooks.resolve(notebook, profile, {"dataset": name})
            fitted = runs.fit_to_data(notebook, values, fetch=True)
            assert {key for key in values if fitted[key] != values[key]} <= {"n_heldout"}


def test_the_paper_profile_is_the_gpu_profile_with_another_network():
    gpu, paper = (notebooks.pick_profile(ROOT, name) for name in ("gpu", "paper"))
    for notebook in notebooks.notebooks(ROOT).values():
        a, b = (notebooks.resolve(notebook, profile) for profile in (gpu, paper))
        differ = {name for name in a if a[name] != b[name]}
        assert differ <= {"preset", "models", "third_models", "changes", "n_train"}
        assert ("preset" in differ) == ("preset" in a), notebook.name


N = Parameter("n", "int", 5, "how many, in [2, inf)")
P = Parameter("p", "float", 0.5, "a level, in (0, 1)")
Z = Parameter("z", "int", 0, "0 for the preset's, or in [2, 1e6]")
B = Parameter("b", "bool", False, "a switch")
D = Parameter("device", "str", "auto", "where, in {auto, cpu, cuda}")


@pytest.mark.parametrize(
    ("parameter", "given", "value"),
    [
        (N, "7", 7),
        (N, 7, 7),
        (N, 7.0, 7),  # as a setting of an experiment
        (P, "0.25", 0.25),
        (Z, "0", 0),
        (Z, "2", 2),
        (B, "true", True),
        (B, "False", False),
        (D, "cpu", "cpu"),
        (Parameter("x", "float", 1.0, "any"), 2, 2.0),
    ],
)
def test_values_are_cast_to_their_type(parameter, given, value):
    result = parameter.check(given)
    assert result == value and type(result) is type(value)


def test_a_data_set_may_be_left_out_only_where_it_is_by_default():
    gap_sweep = notebooks.pick(ROOT, "gap_sweep")
    smoke = notebooks.pick_profile(ROOT, "smoke")
    values = notebooks.resolve(gap_sweep, smoke, {"second_dataset": ""})
    assert list(fresh.inputs(gap_sweep, values)["data"]) == ["digits"]
    assert runs.fit_to_data(gap_sweep, values, fetch=True) == values
    both = notebooks.resolve(gap_sweep, smoke, {"second_dataset": "fashion-mini"})
    assert list(fresh.inputs(gap_sweep, both)["data"]) == ["digits", "fashion-mini"]
    with pytest.raises(ParameterError, match="no data set ''"):
        notebooks.resolve(gap_sweep, smoke, {"dataset": ""})


@pytest.mark.parametrize(
    ("parameter", "given"),
    [
        (N, "7.5"),
        (N, "many"),
        (N, "1"),
        (N, True),
        (P, "1"),
        (P, "0"),
        (P, "nan"),
        (N, "\uff17"),  # a full-width 7
        (N, "\u0667"),  # an Arabic one
        (P, "0.\u0665"),
        (N, "1e400"),
        (Z, "1"),
        (Z, "-1"),
        (B, "maybe"),
        (B, 1),
        (D, "tpu"),
        (D, 3),
    ],
)
def test_wrong_types_and_ranges_are_refused_with_the_help(parameter, given):
    with pytest.raises(ParameterError, match=parameter.name) as caught:
        parameter.check(given)
    assert parameter.help in str(caught.value) and "\n" not in str(caught.value)


DATASET = Parameter("dataset", "str", "digits", "data set")


def packed(path):
    """A data set at a path, its first pixel as no other's."""
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, images=np.full((5, 2, 2), len(str(path)), np.uint8))
    return path


@pytest.mark.parametrize("name", HOSTILE)
def test_a_path_is_shown_as_text_alone_by_which_it_is_found(project, monkeypatch, name):
    monkeypatch.setenv("GEOMEM_PLACES", "{}")
    inside = packed(project / name / f"{name}.npz")
    outside = packed(project.parent / f"{project.name} elsewhere" / f"{name} too.npz")
    for path in (inside, outside):
        shown = DATASET.check(str(path))
        assert re.fullmatch(r"[\w ./-]+", shown)
        assert DATASET.check(shown) == shown
        assert load_dataset(shown).sha256 == load_dataset(path).sha256


@pytest.mark.parametrize("other", ["a_b.npz", "elsewhere/a_b.npz"])
def test_two_data_sets_of_one_name_are_refused(project, monkeypatch, other):
    monkeypatch.setenv("GEOMEM_PLACES", "{}")
    packed(project / "a{b.npz")
    taken = packed(project / other if "/" not in other else project.parent / other)
    DATASET.check("a{b.npz")
    with pytest.raises(ParameterError, match=r"would be called 'a_b\.npz': rename"):
        DATASET.check(str(taken))


def test_ones_own_set_is_never_taken_for_a_named_one(project, monkeypatch):
    monkeypatch.setenv("GEOMEM_PLACES", "{}")
    packed(project / "digits")
    assert DATASET.check("./digits") == "own-digits"
    assert DATASET.check("digits") == "digits"


@pytest.mark.parametrize("text", HOSTILE)
def test_other_text_is_none_that_a_page_could_run(text):
    with pytest.raises(ParameterError, match="letters, digits and") as caught:
        Parameter("changes", "str", "", "settings").check(text)
    assert "\n" not in str(caught.value)


def test_unknown_names_name_the_known_ones():
    notebook = notebooks.pick(ROOT, "posterior")
    profile = notebooks.pick_profile(ROOT, "smoke")
    with pytest.raises(ParameterError, match=r"no parameter 'n_trian'; known: .*n_train"):
        notebooks.resolve(notebook, profile, {"n_trian": "3"})
    with pytest.raises(ParameterError, match="no parameter 'typo'"):
        notebooks.resolve_all([notebook], profile, {"typo": "3"})
    with pytest.raises(ParameterError, match="known: smoke, cpu, cifar, gpu, paper"):
        notebooks.pick_profile(ROOT, "fast")
    with pytest.raises(ParameterError, match="known: posterior"):
        notebooks.pick(ROOT, "nope")
    with pytest.raises(ParameterError, match="no data set 'nope'"):
        notebooks.resolve(notebook, profile, {"dataset": "nope"})


def test_an_override_goes_to_each_notebook_that_has_it():
    chosen = list(notebooks.notebooks(ROOT).values())
    profile = notebooks.pick_profile(ROOT, "cpu")
    values = notebooks.resolve_all(chosen, profile, {"n_queries": "12", "seed": "3"})
    assert values["posterior"]["n_queries"] == 12 and "n_queries" not in values["coverage"]
    assert all(v["seed"] == 3 for v in values.values() if "seed" in v)


@pytest.mark.parametrize("first", [True, False])
def test_a_parameter_is_set_for_one_notebook_alone(first):
    chosen = list(notebooks.notebooks(ROOT).values())
    profile = notebooks.pick_profile(ROOT, "cpu")
    both = {"seed": "3", "swaps.seed": "5"}
    overrides = both if first else dict(reversed(both.items()))
    values = notebooks.resolve_all(chosen, profile, overrides)
    assert values["swaps"]["seed"] == 5 and values["posterior"]["seed"] == 3
    for typo in ("swaps.sed", "swap.seed"):
        with pytest.raises(ParameterError, match=r"NOTEBOOK\.PARAMETER"):
            notebooks.resolve_all(chosen, profile, {typo: "3"})


def test_a_bad_profile_or_parameters_cell_is_refused(tmp_path):
    root = tmp_path / "project"
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copy(ROOT / "_toc.yml", root)
    profiles = root / "notebooks" / "profiles.toml"
    profiles.write_text(profiles.read_text().replace("n_queries = 200", 'n_queries = "many"'))
    with pytest.raises(ParameterError, match="n_queries"):
        notebooks.profiles(root)
    source = root / "notebooks" / "posterior.py"
    source.write_text(
        source.read_text().replace("seed: int = 0  # seed", "seed: list = []  # seed")
    )
    with pytest.raises(ParameterError, match="seed needs a plain type"):
        _ = notebooks.pick(root, "posterior").parameters


def test_a_profile_like_another_has_its_times_and_where_they_are_from(tmp_path):
    root = tmp_path / "project"
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copy(ROOT / "_toc.yml", root)
    with (root / "notebooks" / "profiles.toml").open("a") as file:
        file.write('[mine]\nabout = "other seeds"\nlike = "gpu"\n')
        file.write("[mine.parameters]\nposterior = { seed = 3 }\n")
    found = notebooks.profiles(root)
    mine, gpu = found["mine"], found["gpu"]
    assert (mine.seconds, mine.training, mine.basis) == (gpu.seconds, gpu.training, gpu.basis)
    assert mine.parameters["posterior"]["seed"] == 3


def test_code_that_is_none_names_its_notebook_and_a_comment_is_no_magic(written):
    broken = written("broken", "a: int = (1  # help")
    with pytest.raises(ParameterError, match=r"broken\.py: .*: 'a: int"):
        _ = broken.parameters
    with pytest.raises(ParameterError, match=r"broken\.py"):
        verdicts.tests_of(broken)
    good = written("good", "a: int = 1  # help")
    comment = "# copy window: reaches further down"
    good.path.write_text(good.path.read_text() + f"\n# %%\n{comment}\nprint(2)\n")
    assert notebooks.read(good.path).cells[-1].source.splitlines()[0] == comment


def test_several_data_sets_are_named_as_one_is(project, tmp_path):
    (tmp_path / "images").mkdir()
    several = Parameter("bracket_datasets", "str", "digits", "data sets, by name or path")
    found = several.check(f"digits,{tmp_path / 'images'}")
    assert found.startswith("digits,") and str(tmp_path) not in found
    with pytest.raises(ParameterError, match="no data set 'nowhere'"):
        several.check("digits,nowhere")


@pytest.fixture
def written(tmp_path):
    """Notebooks with a parameters cell as given, in a folder of their own."""

    def write(name, cell):
        path = tmp_path / f"{name}.py"
        path.write_text(f'# %% tags=["parameters"]\n{cell}\n\n# %%\nprint(1)\n')
        return notebooks.Notebook(name, path)

    return write


@pytest.mark.parametrize("default", ['"a=b"', '"a: b = 1  # c"', '"é, (x)"', "'#'", '"in [2, 3]"'])
def test_no_parameter_is_lost_whatever_its_default_holds(default, written):
    found = written(
        "n", f"a: str = {default}  # help, é\nb: int = -3  # more, in [-5, 1e3]"
    ).parameters
    assert list(found) == ["a", "b"] and found["a"].help == "help, é"
    assert found["a"].default == eval(default) and found["b"].default == -3


@pytest.mark.parametrize(
    "line",
    [
        "a = 1  # no type",
        "a: int  # no default",
        "a: int = 1",
        "a: list = []  # kind",
        "import numpy  # no parameter",
        "a: int = 1  # smaller, in [0, 2], below nothing",
    ],
)
def test_a_line_that_is_no_parameter_is_refused(line, written):
    with pytest.raises(ParameterError, match=r"^n\.py: "):
        _ = written("n", line).parameters


def test_a_parameter_must_be_below_the_one_that_its_range_names(written):
    cell = "a: float = 1.0  # low, or in [2, 9], below b\nb: float = 0.0  # high, or in [2, 9]"
    notebook = written("n", cell)
    profile = notebooks.Profile("p", "", {}, {})
    for given in ({}, {"a": "5"}, {"b": "9"}, {"a": "5", "b": "6"}):
        assert notebooks.resolve(notebook, profile, given)["a"] == float(given.get("a", 1))
    for given in ({"a": "5", "b": "5"}, {"a": "6", "b": "5"}):
        with pytest.raises(ParameterError, match=r"a .* is not below b "):
            notebooks.resolve(notebook, profile, given)


def test_every_number_of_a_notebook_has_a_range_with_ends():
    for notebook in notebooks.notebooks(ROOT).values():
        for parameter in notebook.parameters.values():
            if parameter.type in ("int", "float"):
                whole = parameter.type == "int"
                for far in (10**300, -(10**300), 10**13) if whole else (1e300, -1e300, 1e13):
                    with pytest.raises(ParameterError, match="out of range"):
                        parameter.check(far)


def test_no_fewer_images_are_asked_for_than_your_own_model_needs():
    parameters = notebooks.pick(ROOT, "your_own_model").parameters
    for name, fewest in (("n_train", 20), ("n_heldout", 40)):
        assert parameters[name].check(fewest) == fewest
        with pytest.raises(ParameterError):
            parameters[name].check(fewest - 1)


def test_of_two_ends_the_lower_is_below_the_upper():
    smoke = notebooks.pick_profile(ROOT, "smoke")
    for notebook in notebooks.notebooks(ROOT).values():
        for name in notebook.parameters:
            upper = re.sub("low$", "high", re.sub("min$", "max", name))
            if upper != name and upper in notebook.parameters:
                with pytest.raises(ParameterError, match="is not below"):
                    notebooks.resolve(notebook, smoke, {name: "0.8", upper: "0.6"})
