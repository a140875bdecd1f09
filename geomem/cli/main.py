"""The command line: ``geomem VERB``, or ``python -m geomem VERB``."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from geomem.errors import InputError, WorkError, refused

# Each verb: the module of `geomem.cli` whose ``add_VERB`` knows its arguments, and what it does.
# Only the module of the verb that is asked for is imported: torch alone takes seconds.
VERBS = {
    "list": (
        "book",
        "Show every notebook: parameters, cost, and whether its result is fresh or stale and why.",
    ),
    "run": (
        "book",
        "Execute one notebook; without --out its result takes its place in the book.",
    ),
    "book": (
        "book",
        "Execute the notebooks that are stale, render the book, and print its index page.",
    ),
    "cite": ("book", "Print the BibTeX entries of a figure, the book and the paper."),
    "verify": (
        "theorems",
        "Run the checks of every step of every statement; exit code 1 when one fails.",
    ),
    "audit": (
        "audit",
        "Does a model memorize your images, at which noise levels, and what to do: a report.",
    ),
    "regimes": (
        "regimes",
        "Coverage, concentration and the danger zone of images, in one process or in many.",
    ),
    "plan": (
        "book",
        "Print a `geomem train` line for each model that the book would train: for a cluster.",
    ),
    "train": (
        "models",
        "Train one model into the store; Ctrl-C keeps a checkpoint, --resume goes on from it.",
    ),
    "models": (
        "models",
        "Show every model of the store: state, images, parameters, steps, seconds.",
    ),
    "sample": (
        "samples",
        "Draw images from a model, as an .npz that --set data.name takes and a sheet beside it.",
    ),
    "swap": (
        "samples",
        "Let DONOR answer for BASE at some noise levels: does it change how many samples are "
        "copies?",
    ),
    "figures": ("book", "Show every figure: id, title, notebook, files."),
}
NEGATIVE = re.compile(r"-(\.?\d|inf|nan)")  # begins a value; argparse knows no -1e300


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; what is wrong with the input is one line on stderr and exit code 2."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        _on_stop(_leave)
        options = _parser(*given[:1]).parse_args(given)
        options.start = Path.cwd()
        _environment()
        _on_stop(signal.default_int_handler)
        options.verb(options)
    except InputError as error:
        sys.exit(_fail(error, 2))
    except WorkError as error:
        sys.exit(_fail(error, 1))
    except ModuleNotFoundError as error:  # of an extra of this package
        if (error.name or "").startswith("geomem"):
            raise
        sys.exit(
            _fail(f"{given[0]} needs {_extra(given[0])}; the package {error.name} is not here", 2)
        )
    except KeyboardInterrupt as stop:
        kept = "stopped; what had finished is kept, and the next call goes on there"
        sys.exit(_fail(stop if stop.args else kept, 130))
    except BrokenPipeError:  # the reader of our output went away: `geomem list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a disk that is full, or may only be read, and the like
        if not refused(error):
            raise
        sys.exit(_fail(refused(error), 1))


def _on_stop(handler: Callable[[int, FrameType | None], object]) -> None:
    """What SIGTERM and SIGHUP do is what Ctrl-C does: nothing half-left."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows lacks one of them
        if number and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    """While packages load nothing is to be kept; as an exception it may come out as another."""
    os._exit(_fail("stopped", 130))


def _environment() -> None:
    """The variables of this package, checked, with paths that hold wherever this process goes."""
    for name in ("GEOMEM_RUN", "GEOMEM_KEPT", "GEOMEM_PLACES"):
        os.environ.pop(name, None)  # what this process says to those that it starts
    for name in ("GEOMEM_DATA", "GEOMEM_MODELS"):
        given = os.environ.get(name)
        if not given:
            continue
        try:
            path = Path(given).expanduser().resolve()
        except RuntimeError as error:  # of a user that does not exist, or a circle of links
            raise InputError(f"{name}: {given!r} is no path ({error}).") from None
        if not given.isprintable() or (path.exists() and not path.is_dir()):
            raise InputError(f"{name}: {given!r} is not a folder.")
        os.environ[name] = str(path)


def _extra(verb: str) -> str:
    """What a verb needs beyond the library."""
    if VERBS[verb][0] == "theorems":
        return "pip install 'geomem[theorems]'"
    return "a checkout of geomem, and pip install -e '.[book]' in it"


class Torchrun(NamedTuple):
    """What torchrun tells each of its processes; without it there is one."""

    rank: int = 0
    local_rank: int = 0
    world: int = 1


def torchrun() -> Torchrun:
    """Which of how many processes this is; InputError where the environment says half of it.

    Without WORLD_SIZE, RANK and LOCAL_RANK are another program's and mean nothing here.
    """
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    given = {name: os.environ.get(name, "") for name in names}
    if given["WORLD_SIZE"] in ("", "1"):
        return Torchrun()
    with contextlib.suppress(ValueError):
        told = Torchrun(*(int(given[name]) for name in names[:3]))
        placed = given["MASTER_ADDR"] and 0 < int(given["MASTER_PORT"]) < 2**16
        if 0 <= told.local_rank <= told.rank < told.world and placed:
            return told
    said = ", ".join(f"{name}={value!r}" for name, value in given.items())
    raise InputError(f"torchrun did not say {said}: start this with torchrun, or unset WORLD_SIZE.")


def _fail(error: object, code: int) -> int:
    with contextlib.suppress(InputError):
        if torchrun().rank:  # of several processes the first one speaks
            return code
    print(f"geomem: {error}", file=sys.stderr)
    return code


def _parser(asked: str = "") -> argparse.ArgumentParser:
    """Every verb with what it does, and the one that is asked for with its arguments."""
    parser = argparse.ArgumentParser(prog="geomem", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    for name, (module, about) in VERBS.items():
        verb = verbs.add_parser(name, help=about, description=about)
        verb._negative_number_matcher = NEGATIVE
        if name == asked:
            getattr(import_module(f"geomem.cli.{module}"), f"add_{name}")(verb)
    return parser


def value_range(given: list[str] | None) -> Any:
    """What --range says, as `load_dataset` takes it."""
    if given is None or given == ["any"]:
        return given and "any"
    try:
        low, high = map(float, given)
    except ValueError:
        raise InputError(f"--range: LOW HIGH or any, got {' '.join(given)}.") from None
    return low, high


def examples(verb: argparse.ArgumentParser, lines: str) -> None:
    """Show commands below the help of a verb, line by line."""
    verb.formatter_class = argparse.RawDescriptionHelpFormatter
    verb.epilog = "examples:\n" + textwrap.indent(textwrap.dedent(lines).strip(), "  ")
