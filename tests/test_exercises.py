"""The code in the answers of the book's exercises runs, and the commands name what there is."""

import re
import shlex

import pytest
from conftest import ROOT

from geomem.companion.notebooks import notebooks

CHAPTERS = sorted((ROOT / "book").glob("*.md"))
ANSWER = re.compile(r"^(`{3,})\{dropdown\} Answer\n(.*?)^\1$", re.M | re.S)
CODE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
RUN = re.compile(r"geomem run (\w+ -p [^`\n]+)")
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
