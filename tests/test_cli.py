"""The command line: what it says, and that bad input is one line with exit code 2."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT, forked

from geomem import theorems
from geomem.cli import book
from geomem.cli.main import VERBS, main


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
        (["run", "posterior", "-p", "posterior.n_train", "ten"], "not of type int"),
        (["run", "posterior", "-p", "swaps.n_train", "9"], "no parameter 'swaps.n_train'"),
        (["run", "posterior", "-p", "n_train", "-1e300"], "not of type int"),
        (["run", "posterior", "-p", "trials", "3"], "no parameter 'trials'"),
        (["book", "-p", "nope", "3"], "no parameter 'nope'"),
        (["book", "--profile", "nope"], "known: smoke, cpu"),
        (["book", "--jobs", "0"], "--jobs: 0 notebooks at a time"),
        (["list", "-p", "dataset", "nope"], "no data set 'nope'"),
        (["cite", "fig-nope"], "no figure 'fig-nope'"),
        (["regimes", "digits", "--level", "1"], "--level: it must be between 0 and 1, got 1"),
        (["regimes", "digits", "--c", "nan"], "--c: it must be above 0, got nan"),
        (["regimes", "digits", "--range", "1", "x"], "--range: LOW HIGH or any, got 1 x"),
        (["regimes", "nope", "--draws", "0"], "--draws: it must be 1 to 1,000, got 0"),
        (["regimes", "digits", "--draws", "100000000"], "it must be 1 to 1,000, got 100000000"),
        (["regimes", "nope"], "unknown data set 'nope'"),
        (["verify", "theorem-9-9"], "no statement 'theorem-9-9'; known: theorem-4-2-a"),
    ],
)
def test_bad_input_is_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, error = failing(arguments, capsys)
    assert code == 2 and message in error


OURS = ["GEOMEM_DATA", "GEOMEM_MODELS"]


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("value", [__file__, "~nobody-of-this-name/x", "a\nb", "\udcff", "\x1b[1m"])
def test_rubbish_in_a_variable_is_one_line(name, value, capsys, monkeypatch):
    monkeypatch.setenv(name, value)
    code, error = failing(["verify", "theorem-9-9"], capsys)
    assert code == 2 and error.startswith(f"geomem: {name}: ")


def test_variables_for_its_own_kernels_do_not_reach_it(project, capsys, monkeypatch):
    sources = "".join(path.read_text() for path in (ROOT / "geomem").rglob("*.py"))
    inner = {*re.findall(r"GEOMEM_[A-Z]+", sources)} - {*OURS}
    for name in inner:
        monkeypatch.setenv(name, "{rubbish")
    main(["list"])
    assert "quick: stale (never run)" in capsys.readouterr().out
    assert not inner & {*os.environ}


@pytest.mark.parametrize("number", [28, 30, 13, 20, 21, 122])
def test_what_the_disk_refuses_is_one_line(number, project, capsys, monkeypatch):
    error = OSError(number, os.strerror(number), str(project / "results"))

    def refuse(options):
        raise error

    monkeypatch.setattr(book, "list_notebooks", refuse)
    assert failing(["list"], capsys) == (1, f"geomem: {os.strerror(number)}: '{project}/results'")
    error = OSError("of no system")
    with pytest.raises(OSError, match="of no system"):
        main(["list"])


def test_stopped_while_packages_load_it_says_so_and_ends(capfd, monkeypatch):
    def load(name):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        except BaseException as error:  # as packages do that look for others
            raise ImportError(name) from error

    monkeypatch.setattr("geomem.cli.main.import_module", load)
    process = forked(main, ["list"])
    process.join(30)
    assert process.exitcode == 130 and capfd.readouterr().err == "geomem: stopped\n"


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
