"""The book's own Sphinx extension: figures with their provenance, tables from the notebooks.

`{companion-figure} ID` shows a figure of a run: numbered, with the words that stand below the
directive (`geomem.companion.prose`), whose claim it is, and one line to its data, code, parameters
and citation. With ``:again:`` it repeats a figure that has its number elsewhere. `{outcome}
NOTEBOOK` says what the paper claims there and what came out, at the opening of each page. The
other directives generate the index of figures, the entries to cite, what became of the paper's
claims and items, and the tables of parameters and profiles. In the text `{{ NOTEBOOK.NAME }}` is a
number that a notebook quoted; `{{ verdict.ID }}`, `{{ outcome.ID }}` and, for both, `{{ told.ID }}`
are of the claim with that id, its hyphens as underscores.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import cache, cached_property
from typing import Any, ClassVar

from docutils import nodes
from docutils.nodes import Element
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import is_smartquotable

from geomem.companion import badges, book, chapters, citation, notebooks, prose, site, verdicts
from geomem.companion.results import Result
from geomem.project import project_root

ROOT = project_root()  # the book is rendered in it
ASSETS = ROOT / "book" / "_assets"
HYPHEN = re.compile(r"(?<![^\s(\[>])-(?=\d)")  # of a number: not in a word, a range or a date
TABLE = '<table class="table">'  # how a `Table` begins
logger = logging.getLogger(__name__)


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
        known = {record["id"]: record for record in drawn()}
        if id not in known:
            raise self.error(f"no figure {id!r}; there are {', '.join(sorted(known))}")
        return self.again(known[id]) if "again" in self.options else self.first(known[id])

    def first(self, record: dict[str, Any]) -> list[nodes.Node]:
        children = self.parse(
            f":::::{{figure}} {_source(record)}\n:name: {record['id']}\n:alt: {record['alt']}\n\n"
            f"{record['caption']}\n\n{self.whose(record)}\n:::::"
        )
        line = next(children[0].findall(nodes.legend))[0]
        line["classes"].append("figure-line")
        line += self.links(record, f"#{chapters.anchor(record['id'])}")
        return [*children, chapters.code_fold(record["notebook"], record["id"], self.up)]

    def again(self, record: dict[str, Any]) -> list[nodes.Node]:
        children = self.parse(
            ":::::{container} figure-again\n"
            f"```{{image}} {_source(record)}\n:alt: {record['alt']}\n```\n"
            f"{{numref}}`{record['id']}`: {record['title']}.\n\n{self.whose(record)}\n:::::"
        )
        (box,) = children
        box["figure"] = record["id"]  # whose code the cell above it has
        box[-1]["classes"].append("figure-line")
        code = f"{self.up}notebooks/{record['notebook']}.html#{chapters.anchor(record['id'])}"
        box[-1] += self.links(record, code)
        return children

    def whose(self, record: dict[str, Any]) -> str:
        meaning = prose.CLAIMS[record["claim"]]
        return badges.whose(record["claim"], record["paper"], meaning, self.up)

    def links(self, record: dict[str, Any], code: str) -> Iterator[nodes.Node]:
        """data, code, parameters, cite: behind whose it is, in the one line under every figure."""
        id, files = record["id"], f"{self.up}figures/{record['id']}"
        links = {
            "data": f"{files}.csv",
            "code": code,
            "parameters": f"{files}.json",
            "cite": f"{self.up}book/figures.html#cite-{id}",
        }
        for text, uri in links.items():
            yield nodes.Text(" " if text == "data" else " · ")
            yield nodes.reference("", text, refuri=uri, internal=True)


class BibTeX(Generated):
    """`{bibtex} KEY`: the entry of the book or of the paper, to be copied."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse(f"```bibtex\n{citation.bibtex(ROOT, self.arguments[0])}\n```")


class PaperItems(Generated):
    """Every figure and table of the paper: what it shows, and our figures that go with it."""

    def run(self) -> list[nodes.Node]:
        saved = in_order(drawn())
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
        if rest := [
            f"{self.whose(claim)} {claim.says.rstrip('.')}" for claim in claims if not claim.ours
        ]:
            lines.append(f"- {badges.verdict('not in this run')} {'; '.join(rest)}.")
        theirs = any(claim.whose != "ours" for claim in claims)
        title = "What the paper claims" if theirs else "What is tested"
        box = nodes.container(classes=["outcome"])
        box["notebook"] = notebook  # whose run the page's foot names
        if self.env.docname == notebooks.chapters(ROOT).get(notebook):
            lines.append(f"- Computed in [](../notebooks/{notebook}.ipynb).")
        box += self.parse(f"**{title}, and what came out here**\n\n" + "\n".join(lines))
        return [box]

    def whose(self, claim: verdicts.Claim) -> str:
        return badges.whose(claim.whose, claim.item, verdicts.WHOSE[claim.whose], self.up)

    def entry(self, claim: verdicts.Claim) -> str:
        theirs = "" if claim.whose == "ours" else f" In the paper: {claim.paper}."
        said = f"{badges.verdict(claim.verdict)} {self.whose(claim)} {claim.says}"
        return f"{said} Here: {claim.ours}.{theirs} *({claim.scale})*"


class ClaimsTable(Generated):
    """`{claims-table} paper` or `ours`: each claim, its verdict, and how many came out how."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        whose = self.arguments[0]
        if whose not in ("paper", "ours"):
            raise self.error(f"whose claims? paper or ours, not {whose!r}")
        ours = whose == "ours"
        claims = [claim for claim in _claims() if (claim.whose == "ours") == ours]
        saved = {record["id"] for record in drawn()}
        head = "our test" if ours else "the paper's claim"
        rows = [f"| {head} | verdict | here | in the paper |", "|---|---|---|---|"]
        for claim in claims:
            whose = badges.whose(claim.whose, claim.item, verdicts.WHOSE[claim.whose], self.up)
            source = f"{{numref}}`{claim.figure}`" if claim.figure in saved else ""
            source = source or f"[](../notebooks/{claim.notebook}.ipynb)"
            here = f"{claim.ours} *({claim.scale}; {source})*" if claim.ours else "–"
            verdict = badges.verdict(claim.verdict)
            rows.append(f"| {whose} {claim.says} | {verdict} | {here} | {claim.paper} |")
        counts = [
            f"- {badges.verdict(name)} "
            f"({sum(claim.verdict == name for claim in claims)}): {meaning}."
            for name, meaning in (verdicts.OUR_VERDICTS if ours else verdicts.VERDICTS).items()
        ]
        table = "\n".join(rows)
        return self.parse("\n".join(counts) + f"\n\n::::{{div}} stacked claims\n{table}\n::::\n")


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


def with_minus(page: nodes.Element) -> None:
    """Write numbers below zero with a minus sign: in running text and tables, not in code."""
    for text in [*page.findall(nodes.Text)]:
        table = isinstance(text.parent, nodes.raw) and text.startswith(TABLE)
        if HYPHEN.search(text) and (table or is_smartquotable(text)):
            text.parent.replace(text, nodes.Text(HYPHEN.sub("\N{MINUS SIGN}", text)))


class MinusSigns(SphinxPostTransform):
    """`with_minus` on pages alone: files of values keep their hyphens."""

    default_priority = 900  # the text as it will stand there
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        with_minus(self.document)


def in_order(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As a reader meets them: by the contents, then by their places in the chapters.

    Those of chapters that the contents do not list come last.
    """
    contents = re.findall(r"(?:root|file): *book/(\S+)", (ROOT / "_toc.yml").read_text())
    chapters = {f"{name}.md": place for place, name in enumerate(contents)}
    last, places = len(chapters), [*prose.words(ROOT)]
    return sorted(records, key=lambda r: (chapters.get(r["chapter"], last), places.index(r["id"])))


def _source(record: dict[str, Any]) -> str:
    picture = Result(ROOT, record["notebook"]).figure(record["id"], ".svg")
    return f"/{picture.relative_to(ROOT).as_posix()}"


@cache
def drawn() -> list[dict[str, Any]]:
    """The figures of the results, as `prose.described` has them, read once a build."""
    return prose.described(ROOT)


@cache
def _claims() -> list[verdicts.Claim]:
    return verdicts.claims(ROOT)


def _told(claim: verdicts.Claim) -> str:
    """The verdict and, where it was tested, the numbers."""
    return ", ".join(filter(None, [badges.verdict(claim.verdict), claim.ours]))


@cache
def _numbers() -> dict[str, dict[str, str]]:
    """What the text takes from the run: quoted numbers, verdicts, and outcomes in numbers."""
    named = {claim.id.replace("-", "_"): claim for claim in _claims()}
    return {
        **prose.numbers(ROOT),
        "verdict": {id: badges.verdict(claim.verdict) for id, claim in named.items()},
        "outcome": {id: claim.ours or claim.verdict for id, claim in named.items()},
        "told": {id: _told(claim) for id, claim in named.items()},
        "whose": {kind: badges.whose(kind, "", said) for kind, said in verdicts.WHOSE.items()},
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


class _ReadOnce:
    """Sphinx's environment, for what only looks at other pages: each is unpickled once."""

    def __init__(self, env: BuildEnvironment) -> None:
        self.env, self.get_doctree = env, cache(env.get_doctree)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)


class Numbered(StandardDomain):
    """Sphinx's own domain; for each reference to a figure it would read the figure's page again."""

    def _resolve_numref_xref(self, env: BuildEnvironment, *arguments: Any) -> Element | None:
        return super()._resolve_numref_xref(self._read_once, *arguments)

    @cached_property
    def _read_once(self) -> Any:
        return _ReadOnce(self.env)


def _together(app: Sphinx) -> None:
    """Pages are read in several processes: two extensions do not say that they can do that.

    One numbers sections when all pages are read, the other is for LaTeX alone.
    """
    for name in ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex"):
        app.extensions[name].parallel_read_safe = True


def _assets(app: Sphinx) -> None:
    app.config.html_static_path.append(str(ASSETS))


def _page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    app.add_css_file("companion.css", priority=900)
    boxes = [] if doctree is None else doctree.findall(nodes.container)
    owners = {box["notebook"] for box in boxes if "notebook" in box}
    feet = _feet()
    line = feet.get(owners.pop() if len(owners) == 1 else "", "")
    shown = f"{html.escape(line)}{chapters.elsewhere(site.read(ROOT), page, line)}"
    context["theme_extra_footer"] = f'<p class="foot">This page shows: {shown}</p>'


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_domain(Numbered, override=True)
    app.add_directive("companion-figure", CompanionFigure)
    app.add_directive("bibtex", BibTeX)
    app.add_directive("paper-items", PaperItems)
    app.add_directive("outcome", OutcomeBox)
    app.add_directive("claims-table", ClaimsTable)
    app.add_directive("parameter-tables", ParameterTables)
    app.add_directive("profile-table", ProfileTable)
    app.add_post_transform(MinusSigns)
    app.connect("config-inited", _bibliography)
    app.connect("source-read", _read)
    app.connect("builder-inited", _assets)
    app.connect("builder-inited", _together)
    app.connect("html-page-context", _page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
