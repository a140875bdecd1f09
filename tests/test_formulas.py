"""Formulas of the book: what they become, and that what cannot be read is refused."""

import re
import xml.etree.ElementTree as ET
from html import unescape

import math_core
import pytest
import sympy
from conftest import ROOT
from docutils import nodes
from fontTools.ttLib import TTFont

from geomem import theorems
from geomem.companion.formulas import keep_together, mathml


def shown(latex, display=False):
    return ET.fromstring(mathml(latex, display))


def test_a_formula_is_the_markup_that_a_browser_sets():
    fraction = shown(r"\frac{a}{b}", display=True)
    assert fraction.tag == "math" and fraction.get("display") == "block"
    (part,) = fraction.iter("mfrac")
    assert ["".join(side.itertext()) for side in part] == ["a", "b"]
    assert "display" not in shown("x^2").attrib


def test_what_has_one_meaning_has_one_markup():
    assert mathml(r"\le", False) == mathml(r"\leq", False)
    assert mathml(" x ", False) == mathml("x", False)


@pytest.mark.parametrize(
    "latex", [r"\nosuchcommand", r"\frac{a", "a}", r"\begin{nosuch}\end{nosuch}"]
)
def test_what_cannot_be_read_is_refused(latex):
    with pytest.raises(math_core.LatexError):
        mathml(latex, True)


def test_the_font_has_every_character_of_every_step():
    """Of a letter alone the browser takes the slanted form, which the font has by another code."""
    cut = set(TTFont(ROOT / "book" / "_assets" / "STIXTwoMath.woff").getBestCmap())
    steps = [s.latex for t in theorems.STATEMENTS.values() for s in t.steps if s.latex]
    assert steps
    for latex in steps:
        for text in re.findall(r">([^<]+)<", mathml(latex, True)):
            assert {ord(letter) for letter in unescape(text)} <= cut | {0x2061, 0x2062}, latex
    slanted = {0x1D434 + i for i in range(26)} | {0x1D44E + i for i in range(26)} - {0x1D455}
    assert slanted | {0x210E} | {0x1D6FC + i for i in range(25)} <= cut


def test_a_sum_of_sympy_reads_as_it_is_written():
    i, n = sympy.symbols("i n")
    (big,) = shown(sympy.latex(sympy.Sum(i**2, (i, 1, n))), display=True).iter("munderover")
    assert ["".join(part.itertext()) for part in big] == ["∑", "i=1", "n"]


def test_a_formula_and_the_marks_after_it_are_one_and_no_letter_is_lost():
    x, y, z = (nodes.math("", letter) for letter in "xyz")
    texts = [nodes.Text(text) for text in ("(of ", "), or ", " and ", ".")]
    page = nodes.paragraph("", "", texts[0], x, texts[1], y, texts[2], z, texts[3])
    keep_together(page)
    assert page.astext() == "(of x), or y and z."
    assert [one.astext() for one in page.findall(nodes.inline)] == ["x),", "z."]
