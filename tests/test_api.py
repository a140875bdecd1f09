"""The API reference: docstrings in form, and examples that a reader can copy."""

import ast
import builtins
import doctest
import inspect
from types import SimpleNamespace

import numpy as np
import pytest

import geomem
from geomem.companion import api

GOOD = """Add one to every number.

    Parameters
    ----------
    x : array (S,)
        Numbers, data units.

    Returns
    -------
    array (S,)
        float64.

    Raises
    ------
    ValueError
        If a number is not finite.

    References
    ----------
    Textbook.

    Examples
    --------
    >>> 1 + 1
    2
    """


def documented(text):
    def toy(x):
        return np.asarray(x) + 1

    toy.__doc__ = text
    return toy


def without(section):
    """The good docstring without one section."""
    head, _, rest = GOOD.partition(f"    {section}\n")
    _, _, after = rest.partition("\n\n")
    return head + after


def test_a_docstring_in_form_lacks_nothing():
    assert api.lacks(documented(GOOD)) == []


@pytest.mark.parametrize("section", ["Parameters", "Returns", "Raises", "References", "Examples"])
def test_a_missing_section_is_named(section):
    found = api.lacks(documented(without(section)))
    assert found and (section in " ".join(found) or section[:-1] in " ".join(found).title()), found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x : array (S,)", "y : array (S,)"),  # not a parameter
        ("x : array (S,)", "x"),  # no type, and so no shape
        ("        Numbers, data units.\n", ""),
        (">>> 1 + 1\n    2", "One and one."),  # no code
        ("Add one to every number.", "Add one"),
    ],
)
def test_what_is_out_of_form_is_found(old, new):
    assert old in GOOD
    assert api.lacks(documented(GOOD.replace(old, new)))


def test_an_object_without_a_docstring_fails():
    assert api.lacks(documented(None))


@pytest.mark.parametrize("name", geomem.__all__)
def test_a_public_name_is_documented_to_its_last_parameter(name):
    obj = getattr(geomem, name)
    assert api.lacks(obj) == []
    if inspect.isfunction(obj) or hasattr(obj, "__dataclass_fields__"):
        named = [n for n, _, _ in api.get_doc_object(obj)["Parameters"]]
        assert ", ".join(named).split(", ") == [*inspect.signature(obj).parameters]


@pytest.mark.parametrize("name", geomem.__all__)
def test_an_example_can_be_copied_it_imports_what_it_names(name):
    """That it runs, too, is for pytest's own doctests."""
    examples = doctest.DocTestParser().get_examples(getattr(geomem, name).__doc__)
    known, used = {*vars(builtins)}, set()
    for node in ast.walk(ast.parse("".join(example.source for example in examples))):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else known).add(node.id)
        elif isinstance(node, ast.alias):
            known.add(node.asname or node.name)
        elif isinstance(node, ast.FunctionDef):
            known.add(node.name)
        elif isinstance(node, ast.arg):
            known.add(node.arg)
    assert used and used <= known


def test_the_build_says_in_one_line_which_name_lacks_what(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(geomem, "toy", documented(without("Raises")), raising=False)
    monkeypatch.setattr(geomem, "__all__", ["toy"])
    api._write(SimpleNamespace(srcdir=tmp_path))
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"
    assert warning.getMessage() == "the docstring of geomem.toy: No Raises section found"
    assert (tmp_path / "book" / "api" / "functions" / "toy.md").is_file()
