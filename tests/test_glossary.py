"""The glossary: what a chapter links, and what the preview of a link says."""

import io

import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx

TERMS = """# Glossary

```{glossary}
danger zone
zone
  Noise levels where both are high: see {term}`overlap <overlap (of noise)>`.

  The paper's, $C_\\sigma$.

memorized
copies
  A training image again, by a test: 1 < 2 & so on.

level
  Written $C_\\sigma$.

EDM
  A way of training.

overlap (of noise)
  What two noises share.
```
"""
CHAPTER = """# The danger zone of copies

```python
zone = copies
```

`zone`, [the zone](glossary.md), $zone$, **The Danger
Zones** of it, the zone again; a zone-like Edm, overlap. A <b>level</b>.

| zone | copies |
|---|---|
| zone | copies |

```{figure} zone.png
Copies in the zone.
```

## Copies in the zone

Two copies are memorized, copies again, by the EDM-1K.
"""
OTHER = """# Other

They {term}`share <overlap (of noise)>` a {term}`zone`, of EDM.

A danger zone.
"""
ASIDE = "# Aside\n\nCopies in the zone.\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A small book, built: its pages by name, and what was warned of."""
    source = tmp_path_factory.mktemp("glossary")
    (source / "book").mkdir()
    (source / "notebooks").mkdir()
    texts = {"glossary": TERMS, "chapter": CHAPTER, "other": OTHER}
    for name, text in texts.items():
        (source / "book" / f"{name}.md").write_text(text)
    (source / "notebooks" / "aside.md").write_text(ASIDE)
    (source / "index.md").write_text("# Start\n")
    settings = {"extensions": ["myst_parser", "geomem.companion.glossary"]}
    settings |= {"myst_enable_extensions": ["dollarmath"], "html_theme": "basic"}
    folders = [source, None, source / "html", source / "trees"]
    warned = io.StringIO()
    Sphinx(*folders, "html", settings, status=None, warning=warned).build()
    made = (source / "html").rglob("*.html")
    found = {path.stem: BeautifulSoup(path.read_text(), "html.parser") for path in made}
    return {**found, "warned": warned.getvalue()}


def linked(page):
    return [(" ".join(a.text.split()), a["href"]) for a in page.select("a.term")]


def test_only_the_first_use_in_running_text_is_a_link(site):
    """In capitals, in the plural, over a line break; not in what is no prose, nor in a word."""
    assert linked(site["chapter"]) == [
        ("Danger Zones", "glossary.html#term-danger-zone"),
        ("copies", "glossary.html#term-memorized"),
    ]
    assert site["chapter"].select_one("strong a.term") and not site["aside"].select("a.term")


def test_a_link_by_hand_is_the_first_use_whatever_its_synonym(site):
    assert linked(site["other"]) == [
        ("share", "glossary.html#term-overlap-of-noise"),
        ("zone", "glossary.html#term-danger-zone"),
        ("EDM", "glossary.html#term-EDM"),
    ]


def test_previews_are_the_definitions_of_what_the_page_links(site):
    for name in ("index", "glossary", "chapter", "other", "aside"):
        page = site[name]
        previews = {p["id"]: " ".join(p.text.split()) for p in page.select("[role=tooltip]")}
        anchors = {uri.partition("#")[2] for _, uri in linked(page)}
        assert previews.keys() == {f"preview-{anchor}" for anchor in anchors}, name
        for anchor in anchors:
            said = site["glossary"].find(id=anchor).find_next("dd").p
            assert previews[f"preview-{anchor}"] == " ".join(said.text.split())
    assert "1 < 2 & so" in site["chapter"].find(id="preview-term-memorized").text


def test_a_formula_in_a_definition_which_no_preview_can_show_is_warned_of(site):
    (line,) = (line for line in site["warned"].splitlines() if "a formula" in line)
    assert "'level'" in line
