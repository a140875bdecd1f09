"""The verb of the command line for the statements: verify; it needs ``geomem[theorems]``."""

from __future__ import annotations

import argparse
import sys

from geomem.cli.main import examples
from geomem.errors import InputError
from geomem.theorems import STATEMENTS, verify
from geomem.theorems.statement import WHOSE, Checked

VERIFY_SECONDS = 60  # every check of every statement, measured


def add_verify(verb: argparse.ArgumentParser) -> None:
    examples(
        verb,
        """
        geomem verify
        geomem verify theorem-4-8
        """,
    )
    verb.set_defaults(verb=verify_theorems)
    verb.add_argument("label", nargs="?", metavar="LABEL", help="one statement only")


def verify_theorems(options: argparse.Namespace) -> None:
    if options.label is not None and options.label not in STATEMENTS:
        raise InputError(f"no statement {options.label!r}; known: {', '.join(STATEMENTS)}.")
    chosen = [options.label] if options.label else [*STATEMENTS]
    print(f"checking {len(chosen)} statements (all take about {VERIFY_SECONDS} s)", flush=True)
    rows = []
    for label in chosen:
        print(f"{STATEMENTS[label].name}: {WHOSE[STATEMENTS[label].whose]}")
        for row in verify(STATEMENTS[label]):
            rows.append(row)
            state = "--" if row.kind == "in words" else "ok"
            state = state if row.held else "FAILED"
            said = f"{row.detail}: {row.found}" if row.found else row.detail
            print(f"{state:6} {label} {row.part}: {row.kind}; {said} ({row.seconds:.1f} s)")
    checked = Checked(rows)
    counts = ", ".join(f"{n} {kind}" for kind, n in checked.kinds.items())
    print(f"{counts}; {len(checked.controls)} wrong on purpose; {len(checked.failed)} failed")
    if checked.failed:
        sys.exit(1)
