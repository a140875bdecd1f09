"""The command line: ``geomem VERB``, or ``python -m geomem VERB``."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from geomem.cli import models, samples
from geomem.companion import book, figures, prose, runs, verdicts
from geomem.companion.fresh import restamp, stale
from geomem.companion.notebooks import (
    DEFAULT_PROFILE,
    Notebook,
    ParameterError,
    Profile,
    Value,
    notebooks,
    pick,
    pick_profile,
    profiles,
    project_root,
    resolve,
    resolve_all,
)
from geomem.companion.prose import ProseError
from geomem.companion.results import FIGURE_FILES, Result
from geomem.companion.verdicts import PaperError
from geomem.data.files import DataError
from geomem.diffusion.checkpoint import CheckpointError
from geomem.diffusion.presets import ConfigError
from geomem.diffusion.train import TrainingError
from geomem.diffusion.zoo import STORE_VARIABLE

BAD_INPUT = (CheckpointError, ConfigError, DataError, PaperError, ParameterError, ProseError)
BUILD_SECONDS = 10  # rendering the book, measured
MOST_JOBS = 4  # notebooks at a time, unless asked for: each may train several models at once
VERIFY_SECONDS = 15  # every check of every statement, measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; what is wrong with the input is one line on stderr and exit code 2."""
    options = _parser().parse_args(arguments)
    options.start = Path.cwd()
    for name in ("GEOMEM_DATA", STORE_VARIABLE):  # before this process moves to the root
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())
    for signal_ in (signal.SIGTERM, signal.SIGHUP):  # stop as Ctrl-C does: nothing half-left
        if signal.getsignal(signal_) is not signal.SIG_IGN:  # as nohup asks
            signal.signal(signal_, signal.default_int_handler)
    try:
        options.verb(options)
    except (
        ParameterError,
        DataError,
        ConfigError,
        CheckpointError,
        ProseError,
        PaperError,
    ) as error:
        sys.exit(_fail(error, 2))
    except (runs.RunError, book.BookError, TrainingError) as error:
        sys.exit(_fail(error, 1))
    except KeyboardInterrupt as stop:
        kept = "stopped; what had finished is kept, and the next call goes on there"
        sys.exit(_fail(stop if stop.args else kept, 130))
    except BrokenPipeError:  # the reader of our output went away: `geomem list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def list_notebooks(options: argparse.Namespace) -> None:
    root, profile = project_root(), pick_profile(project_root(), options.profile)
    for notebook, parameters in _resolved(root, options, fetch=False):
        reasons = stale(Result(root, notebook.name), notebook, parameters)
        state = f"stale ({'; '.join(reasons)})" if reasons else "fresh"
        print(f"{notebook.name}: {state}")
        print(f"  {notebook.title}; about {profile.seconds.get(notebook.name, 0)} s")
        for parameter in notebook.parameters.values():
            value = parameters[parameter.name]
            shown = f"    {parameter.name}: {parameter.type} = {value!r}"
            print(textwrap.fill(f"{shown}  # {parameter.help}", 100, subsequent_indent=" " * 8))
    print(f"profile {profile.name}; others: {', '.join({*profiles(root)} - {profile.name})}")


def run_notebook(options: argparse.Namespace) -> None:
    root = project_root()
    notebook, profile = pick(root, options.name), pick_profile(root, options.profile)
    parameters = resolve(notebook, profile, dict(options.parameter))
    out = None if options.out is None else Path(options.out).resolve()
    os.chdir(root)
    parameters = runs.fit_to_data(notebook, parameters, fetch=True)
    seconds = _seconds(root, notebook, parameters, profile)
    with runs.alone(root):
        _execute(root, notebook, parameters, seconds, out, options.start)


def make_book(options: argparse.Namespace) -> None:
    root, profile = project_root(), pick_profile(project_root(), options.profile)
    if options.jobs is not None and options.jobs < 1:
        raise ParameterError(f"--jobs: {options.jobs} notebooks at a time; it takes 1 or more.")
    resolved = _resolved(root, options, fetch=True)
    with runs.alone(root):
        _make_book(root, profile, resolved, options)


def _make_book(
    root: Path,
    profile: Profile,
    resolved: list[tuple[Notebook, dict[str, Value]]],
    options: argparse.Namespace,
) -> None:
    verdicts.check(root)  # before anything runs
    prose.words(root)
    if options.force:
        shutil.rmtree(root / runs.KEPT, ignore_errors=True)
    todo, seconds = [], {"the rendering": float(BUILD_SECONDS)}
    for notebook, parameters in resolved:
        result = Result(root, notebook.name)
        reasons = ["asked for"] if options.force else stale(result, notebook, parameters)
        if reasons:
            takes = seconds[notebook.name] = _seconds(root, notebook, parameters, profile)
            todo.append((notebook, parameters))
            print(f"to run: {notebook.name} (about {takes:.0f} s): {'; '.join(reasons)}")
        else:
            restamp(result, notebook)
            print(f"fresh:  {notebook.name}")
    cuda = torch.cuda.is_available() and any(p.get("device", "cpu") != "cpu" for _, p in todo)
    jobs = options.jobs or (1 if cuda else min(MOST_JOBS, os.cpu_count() or 1))
    print(
        f"profile {profile.name}: {jobs} at a time; one after the other about "
        f"{sum(seconds.values()):.0f} s on two cores, the rendering included",
        flush=True,
    )
    todo.sort(key=lambda run: -seconds[run[0].name])  # at the end short ones share the cores
    for i, (notebook, paths) in enumerate(runs.run_all(root, todo, jobs), 1):
        print(f"done {i} of {len(todo)}: {notebook.name}", flush=True)
        _print_paths(paths, options.start)
    page, built = book.build(root)
    print("book built:" if built else "book unchanged:")
    print(os.path.relpath(page, options.start))


def cite(options: argparse.Namespace) -> None:
    from geomem.companion import citation

    root = project_root()
    known = {record["id"]: record for record in prose.described(root)}
    if options.figure not in known:
        names = ", ".join(sorted(known)) or "none yet: run `geomem book` first"
        raise ParameterError(f"no figure {options.figure!r}; known: {names}.")
    print(figures.bibtex(known[options.figure]))
    print(citation.entries(root).to_string("bibtex"))  # the book, then the paper


def list_figures(options: argparse.Namespace) -> None:
    records = prose.described(project_root())
    if not records:
        raise ParameterError("no figures yet: run `geomem book` first.")
    for record in records:
        stem = Result(project_root(), record["notebook"]).figure(record["id"], "")
        print(f"{record['id']}: {record['title']}")
        print(f"  notebook {record['notebook']}; {record['paper']}; {record['claim']}")
        print(f"  {os.path.relpath(stem)}{{{','.join(FIGURE_FILES)}}}")


def verify_theorems(options: argparse.Namespace) -> None:
    from geomem.theorems import STATEMENTS, verify

    if options.label is not None and options.label not in STATEMENTS:
        raise ParameterError(f"no statement {options.label!r}; known: {', '.join(STATEMENTS)}.")
    chosen = [options.label] if options.label else [*STATEMENTS]
    print(f"checking {len(chosen)} statements (all take about {VERIFY_SECONDS} s)", flush=True)
    failed = 0
    for label in chosen:
        for row in verify(STATEMENTS[label]):
            failed += not row.held
            step = f"step {row.step}" if row.step > 0 else f"control {-row.step}"
            state = "ok" if row.held else "FAILED"
            print(f"{state:6} {label} {step}: {row.kind}; {row.detail} ({row.seconds:.1f} s)")
    print(f"{failed} failed")
    if failed:
        sys.exit(1)


def _resolved(
    root: Path, options: argparse.Namespace, *, fetch: bool
) -> list[tuple[Notebook, dict[str, Value]]]:
    chosen = list(notebooks(root).values())
    profile = pick_profile(root, options.profile)
    values = resolve_all(chosen, profile, dict(options.parameter))
    os.chdir(root)  # where the notebooks run: a data set's path is relative to it
    return [(n, runs.fit_to_data(n, values[n.name], fetch=fetch)) for n in chosen]


def _execute(
    root: Path,
    notebook: Notebook,
    parameters: dict[str, Value],
    seconds: float,
    out: Path | None,
    start: Path,
) -> None:
    values = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    print(f"running {notebook.name} (about {seconds:.0f} s) with {values}", flush=True)
    _print_paths(runs.run(root, notebook, parameters, out=out), start)


def _print_paths(paths: Sequence[Path], start: Path) -> None:
    """One line for all files of one name."""
    endings: dict[Path, list[str]] = {}
    for path in paths:
        endings.setdefault(path.with_suffix(""), []).append(path.suffix[1:])
    for stem, found in endings.items():
        shown = os.path.relpath(stem, start)
        print(f"  {shown}.{found[0] if len(found) == 1 else '{' + ','.join(found) + '}'}")


def _seconds(
    root: Path, notebook: Notebook, parameters: dict[str, Value], profile: Profile
) -> float:
    """How long a run should take: the last time with these parameters, else the profile's."""
    try:
        last = Result(root, notebook.name).run
    except (OSError, ValueError):
        last = None
    if last is not None and last["inputs"]["parameters"] == parameters:
        return float(last["seconds"])
    return profile.seconds.get(notebook.name, 60)


def _fail(error: object, code: int) -> int:
    if os.environ.get("RANK", "0") == "0":  # of several processes the first one speaks
        print(f"geomem: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="geomem", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(
        name: str, action: Callable[[argparse.Namespace], None], about: str, examples: str
    ) -> argparse.ArgumentParser:
        sub = verbs.add_parser(
            name,
            help=about,
            description=about,
            epilog="examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  "),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(verb=action)
        return sub

    sub = verb(
        "list",
        list_notebooks,
        "Show every notebook: parameters, cost, and whether its result is fresh or stale and why.",
        "geomem list\ngeomem list --profile smoke\ngeomem list -p dataset cifar10",
    )
    _add_parameters(sub)
    sub = verb(
        "run",
        run_notebook,
        "Execute one notebook; without --out its result takes its place in the book.",
        "geomem run posterior\ngeomem run posterior -p dataset cifar10 -p n_train 500 --out try",
    )
    sub.add_argument("name", metavar="NAME", help="the notebook, as `geomem list` names it")
    _add_parameters(sub)
    sub.add_argument("--out", metavar="DIR", help="put the executed notebook and its figures here")
    sub = verb(
        "book",
        make_book,
        "Execute the notebooks that are stale, render the book, and print its index page.",
        "geomem book\ngeomem book --profile smoke\ngeomem book -p dataset path/to/images.npz",
    )
    _add_parameters(sub)
    sub.add_argument("--force", action="store_true", help="execute the fresh notebooks too")
    about = f"notebooks at a time (default one per CPU core, at most {MOST_JOBS}; one on CUDA)"
    sub.add_argument("--jobs", type=int, metavar="N", help=about)
    sub = verb(
        "cite",
        cite,
        "Print the BibTeX entries of a figure, the book and the paper.",
        "geomem cite fig-max-posterior-weight >> references.bib",
    )
    sub.add_argument("figure", metavar="FIGURE", help="a figure's id, as `geomem figures` names it")
    sub = verb(
        "verify",
        verify_theorems,
        "Run the checks of every step of every statement; exit code 1 when one fails.",
        "geomem verify\ngeomem verify theorem-4-8",
    )
    sub.add_argument("label", nargs="?", metavar="LABEL", help="one statement only")
    models.add_verbs(verb)
    samples.add_verbs(verb)
    verb(
        "figures", list_figures, "Show every figure: id, title, notebook, files.", "geomem figures"
    )
    return parser


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p",
        dest="parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter; may be given again",
    )
    parser.add_argument(
        "--profile",
        default=DEFAULT_PROFILE,
        metavar="P",
        help=f"named set of parameters (default {DEFAULT_PROFILE})",
    )
