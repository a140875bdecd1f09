"""Each chapter has exercises with answers, whose code runs; its commands name what there is."""

import re
import shlex

import pytest
from conftest import ROOT

from geomem.companion.notebooks import chapters, notebooks

CHAPTERS = sorted((ROOT / "book").glob("*.md"))
ANSWER = re.compile(r"^(`{3,})\{dropdown\} Answer\n(.*?)^\1$", re.M | re.S)
CODE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
RUN = re.compile(r"geomem run (\w+ -p [^`\n]+)")
# What a chapter ends with, in this order; the table of all checks is none.
PARTS = [r"^## How (sure|tight)", r"^## What this does not show$", r"^## Exercises$"]
WITH_PARTS = sorted({*chapters(ROOT).values()} - {"book/verification"})
ANSWERED = [
    pytest.param(code, id=f"{chapter.stem}-{i}")
    for chapter in CHAPTERS
    for i, code in enumerate(
        code for answer in ANSWER.finditer(chapter.read_text()) for code in CODE.findall(answer[2])
    )
]


@pytest.mark.parametrize("code", ANSWERED)
def test_the_code_of_an_answer_runs_and_says_something(code, capsys):
    exec(compile(code, "answer", "exec"), {"__name__": "answer"})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_a_command_of_a_chapter_names_a_notebook_and_its_parameters(chapter):
    known = notebooks(ROOT)
    for command in RUN.findall(chapter.read_text().replace("\\\n", " ")):
        name, *words = shlex.split(command)
        given = {words[i + 1] for i, word in enumerate(words) if word == "-p"}
        assert given <= known[name].parameters.keys(), command


@pytest.mark.parametrize("chapter", WITH_PARTS)
def test_a_chapter_says_how_sure_it_is_what_it_does_not_show_and_answers_its_exercises(chapter):
    text = (ROOT / f"{chapter}.md").read_text()
    found = [re.search(part, text, re.M) for part in PARTS]
    assert all(found) and sorted(one.start() for one in found) == [one.start() for one in found]
    exercises = text[found[-1].end() :]
    asked = re.findall(r"^\*\*\d+\. ", exercises, re.M)
    assert 2 <= len(asked) == len(ANSWER.findall(exercises))
