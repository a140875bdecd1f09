"""The verbs of the command line for the book: list, run, book, plan, cite, figures.

They need a checkout of the project, and to execute and render it the extra ``geomem[book]``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from geomem.cli.main import examples
from geomem.cli.models import train_command
from geomem.companion import book, citation, figures, pdf, prose, results, runs, verdicts
from geomem.companion.budget import Budget, Missing, budgets, missing
from geomem.companion.fresh import restamp, stale
from geomem.companion.memory import KEPT_VARIABLE
from geomem.companion.notebooks import (
    DEFAULT_PROFILE,
    Notebook,
    ParameterError,
    Profile,
    notebooks,
    pick,
    pick_profile,
    profiles,
    resolve,
    resolve_all,
)
from geomem.companion.results import Result
from geomem.data.named import LOADERS, path_of
from geomem.diffusion import presets
from geomem.machine import in_time
from geomem.project import project_root
from geomem.typed import Value

BUILD = Budget(30.0)  # rendering the book, measured
PRINT = Budget(120.0)  # and printing it: nine minutes where others had nine tenths of the cores
LONG = 3600.0  # seconds beyond which a run is asked for once more
Run = tuple[Notebook, dict[str, Value]]
MOST_JOBS = 4  # notebooks at a time, unless asked for: each may train several models at once


def add_list(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem list
        geomem list --profile smoke
        geomem list -p dataset cifar10
        """,
    )
    verb.set_defaults(verb=list_notebooks)
    _add_parameters(verb)


def add_run(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem run posterior
        geomem run posterior -p dataset cifar10 -p n_train 500 --out try
        """,
    )
    verb.set_defaults(verb=run_notebook)
    verb.add_argument("name", metavar="NAME", help="the notebook, as `geomem list` names it")
    _add_parameters(verb)
    _add_yes(verb)
    verb.add_argument("--out", metavar="DIR", help="put the result into DIR/NAME instead")


def add_book(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem book
        geomem book --profile smoke
        geomem book --pdf
        geomem book --profile gpu -p device cuda --dry-run
        geomem book -p dataset path/to/images.npz
        """,
    )
    verb.set_defaults(verb=make_book)
    _add_parameters(verb)
    _add_yes(verb)
    verb.add_argument("--force", action="store_true", help="execute the fresh notebooks too")
    about = f"notebooks at a time (default one per CPU core, at most {MOST_JOBS}; one on CUDA)"
    verb.add_argument("--jobs", type=int, metavar="N", help=about)
    about = "also the whole book as one file, _build/geomem.pdf: needs Chromium"
    verb.add_argument("--pdf", action="store_true", help=about)
    about = "print what would run and what it would take, and run nothing (fetches what is absent)"
    verb.add_argument("--dry-run", action="store_true", help=about)


def add_plan(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem plan > lines
        parallel -j 3 < lines
        sbatch --array=1-$(wc -l < lines) --wrap 'eval "$(sed -n ${SLURM_ARRAY_TASK_ID}p lines)"'
        """,
    )
    verb.set_defaults(verb=plan)
    _add_parameters(verb)


def add_cite(verb: argparse.ArgumentParser) -> None:
    examples(verb, "geomem cite fig-max-posterior-weight >> references.bib")
    verb.set_defaults(verb=cite)
    about = "a figure's id, as `geomem figures` names it"
    verb.add_argument("figure", metavar="FIGURE", help=about)


def add_figures(verb: argparse.ArgumentParser) -> None:
    examples(verb, "geomem figures")
    verb.set_defaults(verb=list_figures)


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-p",
        dest="parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter, of one notebook alone as NOTEBOOK.NAME; may be given again",
    )
    parser.add_argument(
        "--profile",
        default=DEFAULT_PROFILE,
        metavar="P",
        help=f"named set of parameters (default {DEFAULT_PROFILE})",
    )


def _add_yes(parser: argparse.ArgumentParser) -> None:
    about = "do not ask before what takes more than an hour"
    parser.add_argument("--yes", action="store_true", help=about)


def list_notebooks(options: argparse.Namespace) -> None:
    root, profile = project_root(), pick_profile(project_root(), options.profile)
    for notebook, parameters in _resolved(root, options, fetch=False):
        reasons = stale(Result(root, notebook.name), notebook, parameters)
        state = f"stale ({'; '.join(reasons)})" if reasons else "fresh"
        print(f"{notebook.name}: {state}")
        seconds = profile.seconds.get(notebook.name, 0)
        print(f"  {notebook.title}; about {seconds} s, with its models trained")
        for parameter in notebook.parameters.values():
            line = f"    {parameter.line(parameters[parameter.name])}"
            print(textwrap.fill(line, 100, subsequent_indent=" " * 8))
    print(f"profile {profile.name}; others: {', '.join({*profiles(root)} - {profile.name})}")


def run_notebook(options: argparse.Namespace) -> None:
    root = project_root()
    notebook, profile = pick(root, options.name), pick_profile(root, options.profile)
    parameters = resolve_all([notebook], profile, dict(options.parameter))[notebook.name]
    out = None if options.out is None else Path(options.out).resolve()
    os.chdir(root)
    parameters = runs.fit_to_data(notebook, parameters, fetch=True)
    with runs.alone(root):
        takes = _budgets(root, [(notebook, parameters)], profile)[notebook.name]
        values = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
        print(f"running {notebook.name} ({takes}) with {values}", flush=True)
        _agree(takes, [(notebook, parameters)], profile, options)
        _print_paths(runs.run(root, notebook, parameters, out=out), options.start)


def make_book(options: argparse.Namespace) -> None:
    root, profile = project_root(), pick_profile(project_root(), options.profile)
    if options.jobs is not None and options.jobs < 1:
        raise ParameterError(f"--jobs: {options.jobs} notebooks at a time; it takes 1 or more.")
    if options.pdf:
        pdf.chromium()  # before anything runs
    resolved = _resolved(root, options, fetch=not options.dry_run)
    with runs.alone(root):
        _make_book(root, profile, resolved, options)


def _make_book(
    root: Path, profile: Profile, resolved: list[Run], options: argparse.Namespace
) -> None:
    verdicts.check(root)  # before anything runs
    why = dict[str, str]()
    for notebook, parameters in resolved:
        result = Result(root, notebook.name)
        reasons = ["asked for"] if options.force else stale(result, notebook, parameters)
        if reasons:
            shortened = (textwrap.shorten(one, 120, placeholder=" ...") for one in reasons)
            why[notebook.name] = "; ".join(shortened)
        else:
            if not options.dry_run:
                restamp(result, notebook)
            print(f"fresh:  {notebook.name}", flush=True)
    todo = [run for run in resolved if run[0].name in why]
    takes = _budgets(root, todo, profile)
    for name, reason in why.items():
        print(f"to run: {name} ({takes[name]}): {reason}")
    on_cuda = {"cuda"} | ({"auto"} if torch.cuda.is_available() else set())
    cuda = any(p.get("device") in on_cuda for _, p in todo)
    jobs = options.jobs or (1 if cuda else min(MOST_JOBS, os.cpu_count() or 1))
    total = sum(takes.values(), BUILD + PRINT if options.pdf else BUILD)
    basis = "; ".join([profile.basis, *sorted(total.basis)])
    print(
        f"profile {profile.name}: {jobs} at a time; one after the other {total}, the rendering "
        f"included ({basis})",
        flush=True,
    )
    if options.dry_run:
        return
    _agree(total, todo, profile, options)
    if options.force:
        shutil.rmtree(root / runs.KEPT, ignore_errors=True)
    todo.sort(key=lambda run: -takes[run[0].name].seconds)  # at the end short ones share the cores
    for i, (notebook, paths) in enumerate(runs.run_all(root, todo, jobs), 1):
        print(f"done {i} of {len(todo)}: {notebook.name}", flush=True)
        _print_paths(paths, options.start)
    page, built = book.build(root)
    print("book built:" if built else "book unchanged:")
    print(os.path.relpath(page, options.start), flush=True)
    if options.pdf:
        if not (fresh := pdf.is_fresh(root)):
            print(f"printing it as one PDF: {PRINT}", flush=True)
            pdf.build(root)
        print("PDF unchanged:" if fresh else "PDF printed:")
        print(os.path.relpath(root / pdf.PLACE, options.start))


def plan(options: argparse.Namespace) -> None:
    """Print the lines; what else there is to say goes to stderr."""
    root, profile = project_root(), pick_profile(project_root(), options.profile)
    with contextlib.redirect_stdout(sys.stderr):
        resolved = _resolved(root, options, fetch=True)
        os.environ[KEPT_VARIABLE] = str(root / runs.KEPT)  # what is measured, the notebooks take
        found = [*missing([run for run in resolved if stale(Result(root, run[0].name), *run)])]
    now = [one for one in found if not one.wanted.gap]
    for one in now:
        print(f"{_line(one)}  # {one.folder.name}: {in_time(one.seconds)}")
    said = f"{len(now)} models to train, {in_time(sum(one.seconds for one in now))} in all"
    if later := len(found) - len(now):
        said += f"; {later} more leave out noise levels that are measured with these models: when "
        said += "they are trained, `geomem plan` again prints the rest"
    print(f"profile {profile.name}: {said if now else 'no model is missing'}", file=sys.stderr)


def _line(one: Missing) -> str:
    """The command that trains a model, from any folder; what stopped goes on."""
    name, changes = presets.named(one.wanted.experiment)
    if "data.name" in changes:
        own = changes["data.name"]
        changes["data.name"] = own if own in LOADERS else str(path_of(own).resolve())
    line = f"{train_command(name, changes.items())} --resume"
    if not line.isprintable():
        raise ParameterError(f"{changes['data.name']!r} cannot stand in a line: rename it.")
    return line


def cite(options: argparse.Namespace) -> None:
    root = project_root()
    described = prose.words(root)
    if options.figure not in described:
        known = ", ".join(sorted(described))
        raise ParameterError(f"no figure {options.figure!r}; known: {known}.")
    found = [record for record in prose.described(root) if record["id"] == options.figure]
    if not found:
        said = "; ".join(["not drawn yet", *_left_out(root)])
        raise ParameterError(f"{options.figure}: {said}; run `geomem book` first.")
    print(figures.bibtex(found[0]))
    print(citation.entries(root).to_string("bibtex"))  # the book, then the paper


def list_figures(options: argparse.Namespace) -> None:
    root = project_root()
    records, left_out = prose.described(root), _left_out(root)
    if not records and not left_out:
        raise ParameterError("no figures yet: run `geomem book` first.")
    for record in records:
        id, result = record["id"], Result(root, record["notebook"])
        ends = ",".join(path.name.removeprefix(id) for path in result.figure_files(id))
        print(f"{id}: {record['title']}")
        print(f"  notebook {record['notebook']}; {record['paper']}; {record['claim']}")
        print(f"  {os.path.relpath(result.figure(id, ''))}{{{ends}}}")
    if left_out:
        raise ParameterError(f"left out: {'; '.join(left_out)}; run `geomem book`.")


def _left_out(root: Path) -> list[str]:
    """Whose figures are not shown, since the results are not what their runs left, and how."""
    results = [result for name in notebooks(root) if (result := Result(root, name)).exists]
    return [f"{r.name}: {altered}" for r in results if (altered := r.altered)]


def _resolved(root: Path, options: argparse.Namespace, *, fetch: bool) -> list[Run]:
    chosen = list(notebooks(root).values())
    profile = pick_profile(root, options.profile)
    values = resolve_all(chosen, profile, dict(options.parameter))
    os.chdir(root)  # where the notebooks run: a data set's path is relative to it
    return [(n, runs.fit_to_data(n, values[n.name], fetch=fetch)) for n in chosen]


def _print_paths(paths: Sequence[Path], start: Path) -> None:
    """One line for all files of one name; then texts of figures that are cut off, or collide."""
    endings: dict[Path, list[str]] = {}
    for path in paths:
        name, _, ending = path.name.partition(".")
        endings.setdefault(path.with_name(name), []).append(ending)
    for stem, found in endings.items():
        shown = os.path.relpath(stem, start)
        print(f"  {shown}.{found[0] if len(found) == 1 else '{' + ','.join(found) + '}'}")
    for figure in results.figures(paths[-1].parent):
        for wrong in figure["misplaced"]:
            print(f"  {figure['id']}: {wrong}")


def _budgets(root: Path, todo: Sequence[Run], profile: Profile) -> dict[str, Budget]:
    """What runs take; a notebook that ran with these parameters, at most as long as that time."""
    found = budgets(todo, profile)
    for notebook, parameters in todo:
        with contextlib.suppress(OSError, ValueError):
            last, takes = Result(root, notebook.name).run, found[notebook.name]
            if last["inputs"]["parameters"] == parameters:
                found[notebook.name] = replace(takes, own=min(takes.own, float(last["seconds"])))
    return found


def _agree(
    total: Budget, todo: Sequence[Run], profile: Profile, options: argparse.Namespace
) -> None:
    """Ask on a terminal whether to begin what is long; elsewhere a profile may have its time.

    Raises
    ------
    ParameterError : the answer is no, or nobody is there to be asked of other data.
    """
    if options.yes or total.seconds <= LONG:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        if all(_own_data(*run, profile) for run in todo):
            return
        raise ParameterError(f"{total}: to run it without being asked, add --yes.")
    try:
        answer = input("go on? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise ParameterError("nothing was run.")


def _own_data(notebook: Notebook, parameters: dict[str, Value], profile: Profile) -> bool:
    usual = resolve(notebook, profile)
    sets = [name for name, one in notebook.parameters.items() if one.is_dataset]
    return all(parameters[name] == usual[name] for name in sets)
