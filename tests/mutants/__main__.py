"""Small changes to statements and to the code of their bounds: which of them does a check notice?

``python tests/mutants [NAME ...] [--workers N]`` applies each mutant of ``NAME.toml`` (all files
by default) to a copy of the package and runs the checks of the statements that it names, then its
tests. Of all mutants 95% must be killed, and each that survives must say why it is harmless.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
SHARE = 0.95  # must be killed
LIMIT = 600  # seconds; a check that takes longer is killed, and with it the mutant


@dataclass(frozen=True)
class Mutant:
    """One change of text, the statements that must notice it, and tests that may."""

    file: str
    old: str
    new: str
    labels: list[str]
    tests: list[str]
    harmless: str = ""

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file.removeprefix('geomem/')}: {old}  ->  {new}"


def read(names: list[str]) -> Iterator[Mutant]:
    """The mutants of the named lists; each old text must occur once, and each change be one."""
    for path in sorted(HERE.glob("*.toml")):
        if names and path.stem not in names:
            continue
        for entry in tomllib.loads(path.read_text())["mutant"]:
            mutant = Mutant(**entry)
            found = (ROOT / mutant.file).read_text().count(mutant.old)
            if found != 1 or mutant.old == mutant.new:
                sys.exit(f"{path.name}: {mutant} is out of date: found {found} times")
            yield mutant


def killed_by(mutant: Mutant) -> str:
    """The first check that fails on the mutant, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("geomem", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        for name in ("pyproject.toml", "book", "notebooks", "_config.yml", "_toc.yml"):
            (copy / name).symlink_to(ROOT / name)
        changed = copy / mutant.file
        changed.write_text(changed.read_text().replace(mutant.old, mutant.new))
        checks = [["-m", "geomem", "verify", label] for label in mutant.labels]
        held = "loose_end or fact or kind"
        pytest = ["-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
        if mutant.labels:
            labels = " or ".join(mutant.labels)
            checks.append([*pytest, "tests/test_statements.py", "-k", f"({held}) and ({labels})"])
        checks += [[*pytest, test] for test in mutant.tests]
        for check in checks:
            environment = os.environ | {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
            try:
                done = subprocess.run(
                    [sys.executable, *check],
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=LIMIT,
                )
            except subprocess.TimeoutExpired:
                return " ".join(check[1:]) + " (too long)"
            if done.returncode not in (0, 5):  # 5: pytest found no test
                told = [x for x in done.stdout.splitlines() if x.startswith("FAILED")]
                return told[0][:100] if told else " ".join(check[1:])
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="lists of mutants; all by default")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    mutants = [*read(options.names)]
    survivors = []
    with ThreadPoolExecutor(options.workers) as pool:
        for mutant, by in zip(mutants, pool.map(killed_by, mutants), strict=True):
            print(f"{'killed' if by else 'SURVIVED':8} {mutant}\n         {by}", flush=True)
            survivors += [] if by else [mutant]
    share = 1 - len(survivors) / len(mutants) if mutants else 0.0
    print(f"{len(mutants)} mutants, {len(mutants) - len(survivors)} killed ({share:.0%})")
    for mutant in survivors:
        print(f"survived: {mutant}\n          {mutant.harmless or 'NO REASON GIVEN'}")
    unexplained = any(not mutant.harmless for mutant in survivors)
    sys.exit(int(share < SHARE or unexplained))


if __name__ == "__main__":
    main()
