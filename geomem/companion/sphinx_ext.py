"""The book's own Sphinx extension: figures with their provenance, tables from the notebooks.

`{companion-figure} ID` shows a figure of a run: numbered, with the words that stand below the
directive (`geomem.companion.prose`), whose claim it is, and one line to its data, code, parameters
and citation. With ``:again:`` it repeats a figure that has its number elsewhere. `{outcome}
NOTEBOOK` says what the paper claims there and what came out, at the opening of each page. The
other directives generate the index of figures, the entries to cite, what became of the paper's
claims and items, and the tables of parameters and profiles. In the text `{{ NOTEBOOK.NAME }}` is a
number that a notebook quoted; `{{ verdict.ID }}` and `{{ outcome.ID }}` are of the claim with that
id, its hyphens as underscores.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from functools import cache
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from geomem import theorems
from geomem.companion import book, citation, notebooks, prose, verdicts
from geomem.companion.results import Result
from geomem.project import project_root
from geomem.theorems.checks import Check, Words
from geomem.theorems.statement import KINDS

ROOT = project_root()  # the book is rendered in it
ASSETS = ROOT / "book" / "_assets"
logger = logging.getLogger(__name__)
MARKS = {
    "symbolic": "✓",
    "instances": "≈",
    "rigorous": "✓",
    "example": "✓",
    "simulated": "≈",
    "in words": "¶",
}
PROOF_TITLE = re.compile(
    r'(<div class="proof [^"]*" id="([^"]+)">\s*<p class="admonition-title">.*?)(</p>)', re.S
)


class Generated(SphinxDirective):
    """A directive whose content is MyST text made from the project's own records."""

    def parse(self, text: str) -> list[nodes.Node]:
        container = nodes.Element()
        lines = StringList(text.splitlines(), source=self.env.docname)
        self.state.nested_parse(lines, self.content_offset, container)
        return container.children

    @property
    def up(self) -> str:
        return "../" * self.env.docname.count("/")


class CompanionFigure(Generated):
    required_arguments = 1
    has_content = True  # the words, which `prose` reads
    option_spec: ClassVar = {"again": directives.flag} | dict.fromkeys(
        prose.FIELDS, directives.unchanged
    )

    def run(self) -> list[nodes.Node]:
        id = self.arguments[0]
        known = {record["id"]: record for record in _figures()}
        if id not in known:
            raise self.error(f"no figure {id!r}; there are {', '.join(sorted(known))}")
        return self.again(known[id]) if "again" in self.options else self.first(known[id])

    def first(self, record: dict[str, Any]) -> list[nodes.Node]:
        whose = f"To {record['paper']} of the paper; {prose.CLAIMS[record['claim']]}."
        children = self.parse(
            f":::::{{figure}} {_source(record)}\n:name: {record['id']}\n:alt: {record['alt']}\n\n"
            f"{record['caption']}\n\n*{whose}*\n:::::"
        )
        figure = next(iter(children[0].findall(nodes.figure)), None) or children[0]
        legend = next(figure.findall(nodes.legend))
        legend += self.line(record)
        return children

    def again(self, record: dict[str, Any]) -> list[nodes.Node]:
        label = f"code-{record['id']}"
        target = f"({label})=\n" if self.env.docname.startswith("notebooks/") else ""
        children = self.parse(
            f"{target}:::::{{container}} figure-again\n"
            f"```{{image}} {_source(record)}\n:alt: {record['alt']}\n```\n"
            f"{{numref}}`{record['id']}`: {record['title']}.\n:::::"
        )
        children[-1] += self.line(record)
        return children

    def line(self, record: dict[str, Any]) -> nodes.paragraph:
        """data, code, parameters, cite: the one line under every figure."""
        id, files = record["id"], f"{self.up}figures/{record['id']}"
        links = {
            "data": f"{files}.csv",
            "code": f"{self.up}notebooks/{record['notebook']}.html#code-{id}",
            "parameters": f"{files}.json",
            "cite": f"{self.up}book/figures.html#cite-{id}",
        }
        paragraph = nodes.paragraph(classes=["figure-line"])
        for i, (text, uri) in enumerate(links.items()):
            paragraph += nodes.Text(" · " if i else "")
            paragraph += nodes.reference("", text, refuri=uri, internal=True)
        return paragraph


class BibTeX(Generated):
    """`{bibtex} KEY`: the entry of the book or of the paper, to be copied."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse(f"```bibtex\n{citation.bibtex(ROOT, self.arguments[0])}\n```")


class PaperItems(Generated):
    """Every figure and table of the paper: what it shows, and our figures that go with it."""

    def run(self) -> list[nodes.Node]:
        saved = _figures()
        rows = [
            "| the paper | what it shows | in this run | the paper's data |",
            "|---|---|---|---|",
        ]
        for item in verdicts.items(ROOT):
            here = [
                f"{{numref}}`{r['id']}` ({self.data(r['data'])})"
                for r in saved
                if verdicts.mentions(r["paper"], item["name"])
            ]
            where = ", ".join(here) or item["otherwise"]
            rows.append(f"| {item['name']} | {item['shows']} | {where} | {item['by']} |")
        return self.parse("\n".join(["::::{div} stacked", *rows, "::::"]))

    def data(self, described: list[dict[str, str]]) -> str:
        named = (
            d["source"] if d["source"].startswith("read off") else d["name"] for d in described
        )
        return ", ".join(dict.fromkeys(named)) or "no data"


class OutcomeBox(Generated):
    """`{outcome} NOTEBOOK`: what is claimed there, by whom, and what came out in this run."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        notebook = self.arguments[0]
        claims = [claim for claim in _claims() if claim.notebook == notebook]
        if not claims:
            raise self.error(f"book/paper.toml has no claim that notebook {notebook!r} decides")
        tested = [claim for claim in claims if claim.ours]
        lines = [f"- {self.entry(claim)}" for claim in tested]
        if rest := [claim.says.rstrip(".") for claim in claims if not claim.ours]:
            lines.append(f"- {_badge('not in this run')} {'; '.join(rest)}.")
        theirs = any(claim.whose != "ours" for claim in claims)
        title = "What the paper claims" if theirs else "What is tested"
        box = nodes.container(classes=["outcome"])
        box["notebook"] = notebook  # whose run the page's foot names
        box += self.parse(f"**{title}, and what came out here**\n\n" + "\n".join(lines))
        return [box]

    def entry(self, claim: verdicts.Claim) -> str:
        whose = "" if claim.whose == "paper" else f"; {verdicts.WHOSE[claim.whose]}"
        theirs = "" if claim.whose == "ours" else f" In the paper: {claim.paper}."
        return (
            f"{_badge(claim.verdict)} {claim.says} *({claim.item}{whose})* "
            f"Here: {claim.ours}.{theirs} *({claim.scale})*"
        )


class ClaimsTable(Generated):
    """`{claims-table} paper` or `ours`: each claim, its verdict, and how many came out how."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        whose = self.arguments[0]
        if whose not in ("paper", "ours"):
            raise self.error(f"whose claims? paper or ours, not {whose!r}")
        ours = whose == "ours"
        claims = [claim for claim in _claims() if (claim.whose == "ours") == ours]
        saved = {record["id"] for record in _figures()}
        head = "our test" if ours else "the paper's claim"
        rows = [f"| {head} | verdict | here | in the paper |", "|---|---|---|---|"]
        for claim in claims:
            whose = (
                "" if claim.whose in ("paper", "ours") else f" *({verdicts.WHOSE[claim.whose]})*"
            )
            source = f"{{numref}}`{claim.figure}`" if claim.figure in saved else ""
            source = source or f"[](../notebooks/{claim.notebook}.ipynb)"
            here = f"{claim.ours} *({claim.scale}; {source})*" if claim.ours else "–"
            said = f"{claim.paper} *({claim.item})*"
            rows.append(f"| {claim.says}{whose} | {_badge(claim.verdict)} | {here} | {said} |")
        counts = [
            f"- {_badge(name)} ({sum(claim.verdict == name for claim in claims)}): {meaning}."
            for name, meaning in (verdicts.OUR_VERDICTS if ours else verdicts.VERDICTS).items()
        ]
        table = "\n".join(rows)
        return self.parse("\n".join(counts) + f"\n\n::::{{div}} stacked claims\n{table}\n::::\n")


class StatementBox(Generated):
    """`{statement} LABEL`: a statement with its proof; each step shows how it was checked."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        label = self.arguments[0]
        if label not in theorems.STATEMENTS:
            raise self.error(f"no statement {label!r}; known: {', '.join(theorems.STATEMENTS)}")
        statement = theorems.STATEMENTS[label]
        number = {
            "ours": f"ours, to {statement.number}",
            "reconstruction": f"our reconstruction of {statement.number}",
        }.get(statement.whose, f"the paper's {statement.number}")
        whose = theorems.WHOSE[statement.whose]
        steps = []
        for number_, step in enumerate(statement.steps, 1):
            pad = " " * (len(str(number_)) + 2)
            shown = f"{pad}$$\n{pad}{step.latex}\n{pad}$$\n\n" if step.latex else ""
            mark = self.mark(label, f"step-{number_}", step.check)
            steps.append(f"{number_}. {step.text}\n\n{shown}{pad}{mark}\n")
        return self.parse(
            f"::::{{prf:{statement.kind}}} {statement.title} ({number})\n:label: {label}\n\n"
            f"{statement.assumptions.text}\n\n{statement.claim.text}\n\n"
            f"*{whose[0].upper()}{whose[1:]}.*\n::::\n\n::::{{prf:proof}}\n"
            f"{len(steps)} steps; the mark under each says how it was checked.\n\n"
            + "\n".join(steps)
            + self.code(statement)
            + "\n::::\n"
        )

    def code(self, statement: theorems.Statement) -> str:
        names = {held.name.split("(")[0] for held in statement.code}
        links = ", ".join(f"`{name}`" for name in sorted(names))
        return f"\nComputed by {links}, which is compared with it.\n" if names else ""

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
            for row in (row for row in checks if row["statement"] == label):
                part, number_ = row["part"].split()
                anchor = f'<span id="check-{label}-{part}-{number_}"></span>'
                good = "not checked" if row["kind"] == "in words" else "holds"
                if part == "control":
                    why = statement.controls[int(number_) - 1].text.replace("\n", " ")
                    good = f"{why} It fails, as it must"
                result = good if row["held"] else "FAILED"
                detail = row["detail"].removeprefix("not checked: ")
                detail = re.sub(r"([*_|\\])", r"\\\1", detail)
                rows.append(
                    f"| {anchor}{part}\u00a0{number_} | {row['kind']} | {result}: {detail} |"
                )
            blocks.append(
                f"### {statement.title}\n\n{{prf:ref}}`{label}`, {statement.number}; "
                f"{theorems.WHOSE[statement.whose]}. `geomem verify {label}`\n\n"
                + "\n".join(rows)
                + "\n"
            )
        return self.parse("\n".join(blocks))

    def counts(self, checks: list[dict[str, Any]]) -> str:
        """How many checks of each kind every statement has, controls left out."""
        found = Counter(
            (row["statement"], row["kind"])
            for row in checks
            if not row["part"].startswith("control")
        )
        lines = [f"| statement | {' | '.join(KINDS)} |", "|---|" + "---|" * len(KINDS)]
        for label in theorems.STATEMENTS:
            numbers = " | ".join(str(found[label, kind] or "") for kind in KINDS)
            lines.append(f"| {{prf:ref}}`{label}` | {numbers} |")
        return "\n".join(lines) + "\n"


class ParameterTables(Generated):
    """For each notebook, its parameters: type, default, what the profiles change, and help."""

    def run(self) -> list[nodes.Node]:
        profiles = notebooks.profiles(ROOT)
        blocks = []
        for notebook in notebooks.notebooks(ROOT).values():
            rows = ["| parameter | default | meaning |", "|---|---|---|"]
            for name, parameter in notebook.parameters.items():
                changes = "".join(
                    f"; {profile.name}: `{profile.parameters[notebook.name][name]!r}`"
                    for profile in profiles.values()
                    if name in profile.parameters.get(notebook.name, {})
                )
                rows.append(
                    f"| `{name}` ({parameter.type}) | `{parameter.default!r}`{changes} "
                    f"| {parameter.help} |"
                )
            blocks.append(f"### `{notebook.name}`\n\n" + "\n".join(rows) + "\n")
        return self.parse("\n".join(blocks))


class ProfileTable(Generated):
    """The profiles, what they are for, and what they cost."""

    def run(self) -> list[nodes.Node]:
        rows = [
            "| profile | what it is | seconds, notebook after notebook | and to train, once |",
            "|---|---|---|---|",
        ]
        for profile in notebooks.profiles(ROOT).values():
            total = sum(profile.seconds.values())
            rows.append(
                f"| `{profile.name}` | {profile.about} | about {total} | {profile.training} |"
            )
        return self.parse("\n".join(rows))


def _source(record: dict[str, Any]) -> str:
    picture = Result(ROOT, record["notebook"]).figure(record["id"], ".svg")
    return f"/{picture.relative_to(ROOT).as_posix()}"


@cache
def _figures() -> list[dict[str, Any]]:
    return prose.described(ROOT)


@cache
def _claims() -> list[verdicts.Claim]:
    return verdicts.claims(ROOT)


def _badge(verdict: str) -> str:
    """A verdict that is told apart without colour, by its words and its frame."""
    kinds = {"not in this run": "open", "not": "missed", "does": "missed", "undecided": "open"}
    kinds["our reconstruction fails"] = "missed"
    kind = kinds.get(verdict) or kinds.get(verdict.split()[0], "held")
    return f'<span class="verdict {kind}">{verdict}</span>'


@cache
def _numbers() -> dict[str, dict[str, str]]:
    """What the text takes from the run: quoted numbers, verdicts, and outcomes in numbers."""
    named = {claim.id.replace("-", "_"): claim for claim in _claims()}
    return {
        **prose.numbers(ROOT),
        "verdict": {id: _badge(claim.verdict) for id, claim in named.items()},
        "outcome": {id: claim.ours or claim.verdict for id, claim in named.items()},
    }


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the numbers into a chapter; an unknown one fails the strict book by its warning."""
    if page.startswith("book/"):
        try:
            source[0] = prose.filled(source[0], _numbers(), page)
        except prose.ProseError as error:
            logger.warning(str(error), location=page)


@cache
def _feet() -> dict[str, str]:
    return book.feet(ROOT)


def _bibliography(app: Sphinx, config: Any) -> None:
    """Beside the works of book/references.bib: the book and the paper themselves."""
    path = ROOT / "_build" / "citation.bib"
    path.parent.mkdir(exist_ok=True)
    citation.entries(ROOT).to_file(path, "bibtex")
    config.bibtex_bibfiles = [*config.bibtex_bibfiles, str(path.relative_to(ROOT))]


def _assets(app: Sphinx) -> None:
    app.config.html_static_path.append(str(ASSETS))


def _page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    app.add_css_file("companion.css", priority=900)
    link = r'\1<a class="headerlink" href="#\2" title="Link to this statement">#</a>\3'
    context["body"] = PROOF_TITLE.sub(link, context.get("body") or "")
    boxes = [] if doctree is None else doctree.findall(nodes.container)
    owners = {box["notebook"] for box in boxes if "notebook" in box}
    feet = _feet()
    line = feet.get(owners.pop() if len(owners) == 1 else "", "")
    context["theme_extra_footer"] = f'<p class="foot">This page shows: {html.escape(line)}</p>'


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("companion-figure", CompanionFigure)
    app.add_directive("bibtex", BibTeX)
    app.add_directive("paper-items", PaperItems)
    app.add_directive("outcome", OutcomeBox)
    app.add_directive("claims-table", ClaimsTable)
    app.add_directive("statement", StatementBox)
    app.add_directive("verification-table", VerificationTable)
    app.add_directive("parameter-tables", ParameterTables)
    app.add_directive("profile-table", ProfileTable)
    app.connect("config-inited", _bibliography)
    app.connect("source-read", _read)
    app.connect("builder-inited", _assets)
    app.connect("html-page-context", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
