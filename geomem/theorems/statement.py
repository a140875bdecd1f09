"""Statements: what is claimed, why, and what holds each printed formula to a check.

A claim is words with formulas in them (`Said`), and the formulas are sympy objects that the
book prints, that the steps of the proof end in, and that the package's code is compared with
(`Statement.code`). So text, proof and code cannot drift apart: `Statement.loose_ends` names what
nothing holds.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import sympy as sp

from geomem.theorems.checks import Check, Computed, Held, Outcome, Words
from geomem.theorems.formulas import Chain, Said
from geomem.theorems.textbook import Textbook

WHOSE = {
    "verbatim": "the paper's, verbatim",
    "display": "the display is the paper's, verbatim; what is said of it is our reconstruction",
    "paraphrase": "the paper's, paraphrased",
    "reconstruction": "our reconstruction",
    "ours": "our addition, not in the paper",
}
KINDS = ("symbolic", "instances", "rigorous", "simulated", "in words", "example", "code")


@dataclass(frozen=True)
class Step:
    """One step of a proof: a sentence of why, the formula that it ends in, and its check.

    A step in words has no formula, or one that a check elsewhere in the statement holds.
    """

    why: str | Said
    formula: sp.Basic | None
    check: Check

    @property
    def text(self) -> str:
        return self.why.text if isinstance(self.why, Said) else self.why

    @property
    def latex(self) -> str:
        """The formula as the book prints it."""
        return "" if self.formula is None else str(Textbook().doprint(self.formula))


@dataclass(frozen=True)
class Statement:
    """A numbered statement of the paper, or ours, with its proof in steps.

    Attributes
    ----------
    label : its name in the book and on the command line, "theorem-4-8".
    number : "Theorem 4.8"; of an addition of ours, the statement it belongs to.
    part : which part of that it is, "B (II)", where the book has it in several.
    kind : "theorem", "lemma", "proposition" or "corollary".
    title : a noun phrase.
    whose : a key of `WHOSE`.
    assumptions, claim : words with formulas in them.
    steps : the proof.
    controls : steps with a deliberately wrong constant: each check must fail.
    code : what ties the formulas to the package's functions.
    quotation : of a verbatim claim, the SHA-256 of its text, which was compared with the paper.
    """

    label: str
    number: str
    kind: str
    title: str
    whose: str
    assumptions: Said
    claim: Said
    steps: tuple[Step, ...]
    controls: tuple[Step, ...]
    code: tuple[Held, ...] = ()
    quotation: str = ""
    part: str = ""

    def __post_init__(self) -> None:
        if self.whose not in WHOSE or not self.steps or not self.controls:
            raise ValueError(f"{self.label}: needs whose it is, steps, and a negative control.")
        if self.whose == "verbatim" and self.quotation != self.digest:
            raise ValueError(
                f"{self.label}: a quotation has changed; compare it with the paper, and put "
                f"quotation={self.digest!r}."
            )

    @property
    def name(self) -> str:
        """What the book calls it: the paper's number; of an addition without a part the title."""
        if self.whose == "ours" and not self.part:
            return self.title
        return f"{self.number} {self.part}".strip()

    @property
    def digest(self) -> str:
        """Of the claim's text."""
        return hashlib.sha256(self.claim.text.encode()).hexdigest()

    def loose_ends(self) -> list[sp.Basic]:
        """Formulas that are printed as facts and that no check holds.

        A relation is held by a checked step that ends in it, or by the package's code that is
        compared with it. A definition may also be held by a checked formula in which what it
        defines stands written out.
        """
        checked = [held.formula for held in self.code]
        for step in self.steps:
            if not isinstance(step.check, Words) and step.formula is not None:
                checked.append(step.formula)
        computed = [held.formula for held in self.code if isinstance(held, Computed)]
        parts = {part for formula in checked for part in _relations(formula)}

        def held(part: sp.Basic) -> bool:
            if part in parts or any(formula.has(part) for formula in checked):
                return True
            if not isinstance(part, sp.core.relational.Relational):
                return not part.atoms(sp.Number)
            defines = isinstance(part, sp.Equality) and not part.rhs.is_Atom
            return part.rhs in computed or (defines and any(x.has(part.rhs) for x in checked))

        said = [*self.assumptions.parts.values(), *self.claim.parts.values()]
        for step in self.steps:
            said += [*step.why.parts.values()] if isinstance(step.why, Said) else []
            if isinstance(step.check, Words) and step.formula is not None:
                said.append(step.formula)
        return [part for formula in said for part in _relations(formula) if not held(part)]


def _relations(formula: sp.Basic) -> Iterator[sp.Basic]:
    """The relations of a chain or conjunction, one by one."""
    if isinstance(formula, (Chain, sp.And)):
        for part in formula.args:
            yield from _relations(part)
    else:
        yield formula


@dataclass(frozen=True)
class Result:
    """One row of the verification table.

    ``held``: of a negative control, that the check failed, as it must.
    """

    statement: str
    part: str  # "step 3", "control 1", "code 2"
    kind: str
    held: bool
    detail: str
    seconds: float
    found: str = ""  # the formula that the check came to, as sympy writes it


def verify(statement: Statement) -> list[Result]:
    """Run every check of a statement: its steps, its negative controls, its code."""
    parts = [("step", statement.steps), ("control", statement.controls)]
    runs: list[tuple[str, Callable[[], Outcome], str]] = [
        (f"{part} {k}", partial(step.check.run, step.formula), step.check.kind)
        for part, steps in parts
        for k, step in enumerate(steps, 1)
    ]
    runs += [(f"code {k}", held.run, held.kind) for k, held in enumerate(statement.code, 1)]
    rows = []
    for part, run, kind in runs:
        start = time.perf_counter()
        outcome = run()
        seconds = time.perf_counter() - start
        held = bool(outcome.held) != part.startswith("control")
        row = Result(statement.label, part, kind, held, outcome.detail, seconds, outcome.found)
        rows.append(row)
    return rows


@dataclass(frozen=True)
class Checked:
    """What became of every check of some statements: all ``rows``, statement by statement."""

    rows: list[Result]

    @classmethod
    def of(cls, statements: Sequence[Statement]) -> Checked:
        """Run all of them, as `verify` does."""
        return cls([row for statement in statements for row in verify(statement)])

    @property
    def steps(self) -> list[Result]:
        """All but the negative controls."""
        return [row for row in self.rows if not row.part.startswith("control")]

    @property
    def controls(self) -> list[Result]:
        """The rows of negative controls: they held where the check failed, as it must."""
        return [row for row in self.rows if row.part.startswith("control")]

    @property
    def failed(self) -> list[Result]:
        """The rows that did not come out as they must."""
        return [row for row in self.rows if not row.held]

    @property
    def kinds(self) -> dict[str, int]:
        """Kind of check -> how many there are, controls left out."""
        found = Counter(row.kind for row in self.steps)
        return {kind: found[kind] for kind in KINDS}

    @property
    def by_statement(self) -> dict[str, list[Any]]:
        """A table: how many checks of each kind every statement has."""
        labels = list(dict.fromkeys(row.statement for row in self.rows))
        found = Counter((row.statement, row.kind) for row in self.steps)
        return {"statement": labels} | {
            kind: [found[label, kind] for label in labels] for kind in KINDS
        }

    @property
    def as_json(self) -> str:
        """Every row as the text of a file, without its seconds, which differ from run to run."""
        rows = [asdict(row) for row in self.rows]
        rows = [{name: row[name] for name in row if name != "seconds"} for row in rows]
        return json.dumps(rows, indent=1) + "\n"

    @property
    def in_words(self) -> dict[str, str]:
        """Statements, steps, controls, and checks of each kind, counted, as text."""
        counts = {kind.replace("in words", "words"): n for kind, n in self.kinds.items()}
        counts["statements"] = len({row.statement for row in self.rows})
        counts["steps"] = sum(row.part.startswith("step") for row in self.rows)
        counts["controls"] = len(self.controls)
        return {name: str(count) for name, count in counts.items()}
