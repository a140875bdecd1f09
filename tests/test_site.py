"""Where the book is published: the setting, and what a page says to the outside by it."""

from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml
from conftest import ROOT

from geomem.companion import notebooks, site
from geomem.errors import InputError

SET = """
address = "https://example.org/the-book"
repository = "https://github.com/some-one/some.thing"
branch = "next/one"
binder = "https://binder.example.org/"
colab = "ipynb"
pdf = "all.pdf"
other_builds.large = "https://example.org/large"
"""


def wrote(folder, text):
    (folder / "book").mkdir(exist_ok=True)
    (folder / "book" / "site.toml").write_text(text)
    return folder


def links(said):
    """Every address that a setting makes for one page and one notebook."""
    yield said.page("book/cite.html")
    yield from said.elsewhere("book/cite.html").values()
    yield said.edit("book/cite.md")
    yield said.issue(page="Cite", commit="0123")
    yield said.on_binder("coverage")
    yield said.on_colab("coverage")
    yield said.install


def test_without_a_setting_nothing_has_an_address(tmp_path):
    assert [*links(site.read(tmp_path))] == [""] * 6
    assert [*links(site.read(wrote(tmp_path, 'address = ""\n[other_builds]\ncifar = ""')))] == [
        ""
    ] * 6


def test_with_it_everything_has_one_below_what_was_set(tmp_path):
    said = site.read(wrote(tmp_path, SET))
    assert said.page("book/cite.html") == "https://example.org/the-book/book/cite.html"
    assert said.elsewhere("book/cite.html") == {"large": "https://example.org/large/book/cite.html"}
    assert said.edit("book/cite.md").endswith("/some.thing/edit/next/one/book/cite.md")
    assert all(url.startswith("https://") for url in links(said) if not url.startswith("pip"))
    assert not any(" " in url for url in links(said) if not url.startswith("pip"))


def test_each_notebook_is_opened_where_it_lies(tmp_path):
    said = site.read(wrote(tmp_path, SET))
    for name in notebooks.notebooks(ROOT):
        binder, colab = urlsplit(said.on_binder(name)), urlsplit(said.on_colab(name))
        assert (binder.netloc, colab.netloc) == ("binder.example.org", "colab.research.google.com")
        # The branch's own slash is no part of the path.
        assert [unquote(part) for part in binder.path.split("/")] == [
            *("", "v2", "gh", "some-one", "some.thing", "next/one")
        ]
        (path,) = parse_qs(binder.query)["urlpath"]
        assert (ROOT / PurePosixPath(path).relative_to("lab/tree")).is_file()
        here = f"/github/some-one/some.thing/blob/ipynb/notebooks/{name}.ipynb"
        assert colab.path == here


def test_an_issue_fills_in_fields_that_its_form_has(tmp_path):
    url = urlsplit(site.read(wrote(tmp_path, SET)).issue(page="σ & ?", commit="0123"))
    asked = {key: value for key, (value,) in parse_qs(url.query).items()}
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / asked.pop("template")).read_text())
    assert asked == {"page": "σ & ?", "commit": "0123"}
    assert asked.keys() <= {field.get("id") for field in form["body"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adress = ''", "no key 'adress'; known: address, "),
        ("address = 'example.org'", "is not an address"),
        ("address = 'https://x.org/\"><script>'", "is not an address"),
        ("address = 3", "is not an address"),
        ("repository = 'https://gitlab.com/a/b'", "https://github.com/OWNER/NAME"),
        ("branch = 'a b'", "is not the name of a branch"),
        ("binder = 'https://mybinder.org'", "name it"),
        ("pdf = 'all.pdf'", "name that"),
        ("other_builds = 'https://x.org'", "a table of addresses"),
        ("other_builds.x = 'ftp://x.org'", "other_builds.x"),
        ("address", "book/site.toml: "),
    ],
)
def test_a_wrong_setting_is_one_clear_line(tmp_path, text, says):
    with pytest.raises(InputError) as error:
        site.read(wrote(tmp_path, text))
    assert says in str(error.value) and len(str(error.value).splitlines()) == 1
