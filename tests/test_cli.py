"""The command line: what it says, and that bad input is one line with exit code 2."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from geomem import theorems
from geomem.cli.main import main


def failing(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    error = capsys.readouterr().err.strip()
    assert "\n" not in error and error.startswith("geomem: ")
    return caught.value.code, error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nope"], "known: posterior"),
        (["run", "posterior", "-p", "n_train", "1"], "out of range"),
        (["run", "posterior", "-p", "n_train", "ten"], "not of type int"),
        (["run", "posterior", "-p", "trials", "3"], "no parameter 'trials'"),
        (["book", "-p", "nope", "3"], "no parameter 'nope'"),
        (["book", "--profile", "nope"], "known: smoke, cpu"),
        (["book", "--jobs", "0"], "--jobs: 0 notebooks at a time"),
        (["list", "-p", "dataset", "nope"], "no data set 'nope'"),
        (["cite", "fig-nope"], "no figure 'fig-nope'"),
        (["verify", "theorem-9-9"], "no statement 'theorem-9-9'; known: theorem-4-2-a"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, error = failing(arguments, capsys)
    assert code == 2 and message in error


VERBS = ["list", "run", "book", "cite", "figures", "verify", "train", "sample", "models"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    assert f"examples:\n  geomem {verb}" in capsys.readouterr().out


def test_list_shows_parameters_and_state(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    main(["list", "--profile", "smoke"])
    out = capsys.readouterr().out
    assert "posterior: " in out and "n_queries: int = 200" in out and "profile smoke" in out


def test_verify_fails_when_a_check_fails(capsys, monkeypatch):
    statement = theorems.STATEMENTS["theorem-4-10-torus"]
    main(["verify", statement.label])
    assert "0 failed" in capsys.readouterr().out
    wrong = replace(statement, steps=(*statement.steps, *statement.controls))
    monkeypatch.setitem(theorems.STATEMENTS, statement.label, wrong)
    with pytest.raises(SystemExit) as caught:
        main(["verify", statement.label])
    assert caught.value.code == 1 and "FAILED theorem-4-10-torus" in capsys.readouterr().out


def test_module_and_console_script_are_one_command_line():
    script = Path(sys.executable).with_name("geomem")
    outputs = [
        subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ([script], [sys.executable, "-m", "geomem"])
    ]
    assert outputs[0] == outputs[1]
