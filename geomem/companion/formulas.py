"""Formulas as MathML Core, which the browser sets itself: no script, and read aloud as formulas.

`math_core` reads the LaTeX when the book is built; what it cannot read fails the strict build. The
font is ``book/_assets/STIXTwoMath.woff``, cut to the characters that the formulas have.
"""

from __future__ import annotations

import html
import re
from typing import Any

import math_core
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

SUBSTACK = {"substack": r"\begin{subarray}{c}#1\end{subarray}"}
READER = math_core.LatexToMathML(fancy_error=False, macros=SUBSTACK)
MARKS = re.compile(r"[,.;:!?)\]]+")
logger = logging.getLogger(__name__)


def mathml(latex: str, display: bool) -> str:
    """A formula as an element ``math``.

    Raises
    ------
    math_core.LatexError : the LaTeX is wrong, or of a kind that is not known.
    """
    return READER.convert_with_local_state(latex.strip(), displaystyle=display)


def _shown(node: nodes.math | nodes.math_block) -> str:
    try:
        return mathml(node.astext(), isinstance(node, nodes.math_block))
    except math_core.LatexError as error:
        logger.warning("a formula that cannot be read: %s", error, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(writer.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    writer.body.append(f"{_shown(node)}</span>")
    raise nodes.SkipNode


def _display(writer: Any, node: nodes.math_block) -> None:
    writer.body.append(writer.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append(f'<div class="formula">{_shown(node)}</div></div>\n')
    raise nodes.SkipNode


def keep_together(page: nodes.Element) -> None:
    """Put each inline formula and the marks right after it into one element."""
    for formula in [*page.findall(nodes.math)]:
        after = formula.next_node(siblings=True, descend=False)
        marks = MARKS.match(after) if isinstance(after, nodes.Text) else None
        if marks:
            parent, at = formula.parent, formula.parent.index(formula)
            one = nodes.inline("", "", formula, nodes.Text(marks[0]), classes=["together"])
            parent[at : at + 2] = [one, nodes.Text(after[marks.end() :])]


class Together(SphinxPostTransform):
    """`keep_together` on every page; the style says that no line breaks there."""

    default_priority = 900  # the text as it will stand there
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        keep_together(self.document)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    app.add_post_transform(Together)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
