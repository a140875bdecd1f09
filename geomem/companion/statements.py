"""Definitions, theorems and proofs, under the paper's numbers and no others.

`{prf:definition} TITLE` with ``:label:``, ``:whose:`` and ``:item:`` is a statement that a chapter
writes out; so are the other `KINDS`. `{statement} LABEL` shows one of `geomem.theorems` with its
proof folded under it. What the paper numbers is called by its number, everything else by its title,
and `{prf:ref}` links by that name, LABEL-step-3 to a step of a proof. `{verification-table}` lists
every check.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, cast

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.domains import Domain, ObjType
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from geomem import theorems
from geomem.companion import badges, prose, verdicts
from geomem.companion.folds import fold
from geomem.companion.results import Result
from geomem.companion.sphinx_ext import ROOT, Generated
from geomem.theorems.checks import Check, Words
from geomem.theorems.statement import KINDS as CHECKS

KINDS = ("definition", "lemma", "proposition", "theorem", "corollary")
MARKS = {
    "symbolic": "✓",
    "instances": "≈",
    "rigorous": "✓",
    "example": "✓",
    "simulated": "≈",
    "in words": "¶",
}
STEP = "-step-"  # between the label of a statement and the number of a step
FRACTION_IN_FRACTION = r"\\frac\{(?:[^{}]|\{[^{}]*\})*\\frac"
TALL = re.compile(rf"\\(int|sum|prod|lim|begin)|\\left\[|{FRACTION_IN_FRACTION}")
MARKUP = re.compile(r"(`[^`|]*`)|([*_|\\])")  # code as it is, else what Markdown would take
WITHIN = 40  # signs of a formula that a line of text takes
SIGNS = re.compile(r"\\[a-zA-Z]+|[^\s{}^_\\]")


class Known(NamedTuple):
    """A statement of the book: where it stands, and what it is called."""

    page: str
    kind: str
    title: str
    number: str  # the paper's; "" where it has none
    whose: str
    item: str

    @property
    def name(self) -> str:
        return self.number or self.title


class Statements(Domain):
    """The statements of all chapters."""

    name, label = "prf", "Statements"
    data_version = 1

    @property
    def known(self) -> dict[str, Known]:
        return cast("dict[str, Known]", self.data["known"])

    def note(self, label: str, said: Known) -> None:
        if label in self.known:
            logging.getLogger(__name__).warning(
                "the statement %s stands in %s, too", label, self.known[label].page
            )
        self.known[label] = said

    def clear_doc(self, docname: str) -> None:
        for label in [label for label, said in self.known.items() if said.page == docname]:
            del self.known[label]

    def merge_domaindata(self, docnames: Any, otherdata: Mapping[str, Any]) -> None:
        for label, said in otherdata["known"].items():
            if said.page in docnames:
                self.note(label, said)

    def resolve_xref(
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Builder,
        typ: str,
        target: str,
        node: pending_xref,
        contnode: nodes.Element,
    ) -> nodes.reference | None:
        said = self.known.get(target.partition(STEP)[0])
        if said is None:
            return None
        shown = contnode if node.get("refexplicit") else nodes.inline("", said.name)
        return make_refnode(builder, fromdocname, said.page, target, shown)

    def resolve_any_xref(
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Builder,
        target: str,
        node: pending_xref,
        contnode: nodes.Element,
    ) -> list[tuple[str, nodes.reference]]:
        found = self.resolve_xref(env, fromdocname, builder, "ref", target, node, contnode)
        return [] if found is None else [("prf:ref", found)]

    def get_objects(self) -> Iterator[tuple[str, str, str, str, str, int]]:
        for label, said in self.known.items():
            yield label, said.name, "statement", said.page, label, -1  # pages are searched for them


class Stated(Generated):
    """What all statements look like: a box with the paper's number, a title, and whose it is."""

    def box(self, label: str, said: Known, meaning: str, content: list[nodes.Node]) -> nodes.Node:
        texts, _ = self.state.inline_text(said.title, self.lineno)
        number = nodes.inline("", said.number or said.kind.title(), classes=["caption-number"])
        title = nodes.title("", "", number, nodes.Text(" "), *texts)  # which search shows
        badge = badges.whose(said.whose, said.item, meaning, self.up)
        link = f'<a class="headerlink" href="#{label}" title="Link to this statement">#</a>'
        beside = nodes.paragraph("", "", nodes.raw("", f"{badge}{link}", format="html"))
        beside["classes"].append("beside-title")
        classes = ["proof", said.kind]
        node = nodes.admonition("", title, beside, *content, classes=classes, ids=[label])
        node["label"] = label
        self.set_source_info(node)
        cast(Statements, self.env.get_domain("prf")).note(label, said)
        return node


class Written(Stated):
    """A statement that a chapter writes out."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar = dict.fromkeys(("label", "item"), directives.unchanged_required) | {
        "whose": lambda key: directives.choice(key, [*prose.CLAIMS])
    }

    def run(self) -> list[nodes.Node]:
        lacking = {*self.option_spec} - {*self.options}
        if lacking:
            raise self.error(f"{self.arguments[0]}: it needs {', '.join(sorted(lacking))}")
        kind, item, whose = self.name.split(":")[1], self.options["item"], self.options["whose"]
        number = item if whose != "ours" and item.startswith(kind.title()) else ""
        said = Known(self.env.docname, kind, self.arguments[0], number, whose, item)
        content = self.parse_content_to_nodes()
        return [self.box(self.options["label"], said, verdicts.WHOSE[whose], content)]


class StatementBox(Stated):
    """`{statement} LABEL`: a statement, its proof folded; each step shows how it was checked."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        label = self.arguments[0]
        if label not in theorems.STATEMENTS:
            raise self.error(f"no statement {label!r}; known: {', '.join(theorems.STATEMENTS)}")
        of = theorems.STATEMENTS[label]
        number = of.name if of.name != of.title else ""
        said = Known(self.env.docname, of.kind, of.title, number, of.whose, of.number)
        content = self.parse(f"{of.assumptions.text}\n\n{of.claim.text}\n")
        box = self.box(label, said, theorems.WHOSE[of.whose], content)
        return [box, self.proof(of)]

    def proof(self, of: theorems.Statement) -> nodes.Node:
        numbered = enumerate(of.steps, 1)
        steps = self.parse("\n".join(self.step(of.label, i, step) for i, step in numbered))
        for i, item in enumerate(next(steps[0].findall(nodes.enumerated_list)), 1):
            item["ids"].append(f"{of.label}{STEP}{i}")
        kinds = Counter(step.check.kind for step in of.steps)
        counted = ", ".join(f"{kinds[kind]} {kind}" for kind in CHECKS if kinds[kind])
        n = len(of.steps)
        summary = f"Proof in {n} step{'s' * (n > 1)}: {counted}"
        return fold(summary, [*steps, *self.code(of)], classes=["proof-steps"])

    def step(self, label: str, number: int, step: theorems.Step) -> str:
        """A step as an item of a list: a short formula in its sentence, others on their own."""
        pad = " " * (len(str(number)) + 2)
        text = step.text.replace("\n", f"\n{pad}")
        mark = self.mark(label, f"step-{number}", step.check)
        if not step.latex:
            return f"{number}. {text} {mark}\n"
        if len(SIGNS.findall(step.latex)) <= WITHIN and not TALL.search(step.latex):
            text = f"{text.removesuffix('.')}:" if text.endswith(".") else text
            return f"{number}. {text} ${step.latex}$ {mark}\n"
        return f"{number}. {text}\n\n{pad}$$\n{pad}{step.latex}\n{pad}$$\n\n{pad}{mark}\n"

    def code(self, statement: theorems.Statement) -> list[nodes.Node]:
        names = {held.name.split("(")[0] for held in statement.code}
        links = ", ".join(f"`{name}`" for name in sorted(names))
        return self.parse(f"Computed by {links}, which is compared with it.\n") if names else []

    def mark(self, label: str, part: str, check: Check) -> str:
        href = f"{self.up}book/verification.html#check-{label}-{part}"
        style = check.kind.replace(" ", "-")
        said = f"{MARKS[check.kind]} {check.kind}"
        said += f": {check.fact}" if isinstance(check, Words) else ""
        return f'<a class="check {style}" href="{href}">{said}</a>'


class VerificationTable(Generated):
    """Every statement and step: whose, how it was checked, the result."""

    def run(self) -> list[nodes.Node]:
        checks = Result(ROOT, "theorem_checks").attached("checks.json")
        blocks = [self.counts(checks)]
        for label, statement in theorems.STATEMENTS.items():
            rows = ["| part | how | result |", "|---|---|---|"]
            rows += [self.row(statement, row) for row in checks if row["statement"] == label]
            meaning = theorems.WHOSE[statement.whose]
            badge = badges.whose(statement.whose, statement.number, meaning, self.up)
            blocks.append(
                f"### {statement.title}\n\n{badge} {{prf:ref}}`statement and proof <{label}>`, "
                f"`geomem verify {label}`\n\n" + "\n".join(rows) + "\n"
            )
        return self.parse("\n".join(blocks))

    def row(self, statement: theorems.Statement, row: Mapping[str, Any]) -> str:
        part, number = row["part"].split()
        good = "not checked" if row["kind"] == "in words" else "holds"
        if part == "control":
            why = statement.controls[int(number) - 1].text.replace("\n", " ")
            good = f"{why} It fails, as it must"
        result = good if row["held"] else "FAILED"
        detail = row["detail"].removeprefix("not checked: ")
        detail = MARKUP.sub(lambda found: found[1] or f"\\{found[2]}", detail)
        shown = f"{part}\u00a0{number}"
        if part == "step":
            shown = f"{{prf:ref}}`{shown} <{statement.label}{STEP}{number}>`"
        anchor = f'<span id="check-{statement.label}-{part}-{number}"></span>'
        return f"| {anchor}{shown} | {row['kind']} | {result}: {detail} |"

    def counts(self, checks: list[dict[str, Any]]) -> str:
        """How many checks of each kind every statement has, controls left out."""
        found = Counter(
            (row["statement"], row["kind"])
            for row in checks
            if not row["part"].startswith("control")
        )
        lines = [f"| statement | {' | '.join(CHECKS)} |", "|---|" + "---|" * len(CHECKS)]
        for label in theorems.STATEMENTS:
            numbers = " | ".join(str(found[label, kind] or "") for kind in CHECKS)
            lines.append(f"| {{prf:ref}}`{label}` | {numbers} |")
        return "\n".join(lines) + "\n"


# Not in the class: its base declares them for instances.
Statements.directives = dict.fromkeys(KINDS, Written)
Statements.object_types = {"statement": ObjType("statement", "ref")}
Statements.roles = {"ref": XRefRole(innernodeclass=nodes.inline, warn_dangling=True)}
Statements.initial_data = {"known": {}}


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("geomem.companion.folds")
    app.add_domain(Statements)
    app.add_directive("statement", StatementBox)
    app.add_directive("verification-table", VerificationTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
