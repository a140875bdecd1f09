"""Where the book is published and its sources lie: one setting, ``book/site.toml``.

Every address that a page names and this project does not fix comes from here; what is not set is
"", and whoever asks shows nothing then. Nothing here asks the network.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import quote, urlencode

from geomem.errors import InputError

SETTING = "book/site.toml"
ADDRESS = re.compile(r"https?://[^\s\"'<>?#]+")
GITHUB = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")
NAME = re.compile(r"[\w./-]*")  # of a branch or a file
COLAB = "https://colab.research.google.com/github"
FORM = "page.yml"  # in .github/ISSUE_TEMPLATE


@dataclass(frozen=True)
class Site:
    """What ``book/site.toml`` says; its comments say what each is.

    >>> site = Site(address="https://example.org/book/", repository="https://github.com/me/it")
    >>> site.page("book/cite.html")
    'https://example.org/book/book/cite.html'
    >>> site.edit("book/cite.md")
    'https://github.com/me/it/edit/main/book/cite.md'
    >>> Site().edit("book/cite.md")
    ''
    """

    address: str = ""
    repository: str = ""
    branch: str = "main"
    binder: str = ""
    colab: str = ""
    pdf: str = ""
    other_builds: Mapping[str, str] = field(default_factory=dict)

    def page(self, path: str) -> str:
        """The canonical address of a page, or of a file beside the pages."""
        return self.address and self.address + quote(path)

    def elsewhere(self, path: str) -> dict[str, str]:
        """The same page of each other build, by its name."""
        return {name: address + quote(path) for name, address in self.other_builds.items()}

    def edit(self, path: str) -> str:
        """Where a source file is edited."""
        return self.repository and f"{self.repository}/edit/{self.branch}/{quote(path)}"

    def issue(self, **said: str) -> str:
        """The form for what is wrong on a page, its fields filled in."""
        asked = urlencode({"template": FORM, **said}, quote_via=quote)
        return self.repository and f"{self.repository}/issues/new?{asked}"

    def on_binder(self, notebook: str) -> str:
        """Where a notebook is opened on Binder."""
        if not self.binder:
            return ""
        path = quote(f"lab/tree/notebooks/{notebook}.py", safe="")
        return f"{self.binder}/v2/gh/{self._name}/{quote(self.branch, safe='')}?urlpath={path}"

    def on_colab(self, notebook: str) -> str:
        """Where a notebook is opened in Colab."""
        place = f"{self._name}/blob/{self.colab}/notebooks/{notebook}.ipynb"
        return self.colab and f"{COLAB}/{place}"

    @property
    def install(self) -> str:
        """What installs this package where it is not, as a notebook in Colab needs it."""
        return (
            self.repository and f'pip install "geomem[book] @ git+{self.repository}@{self.branch}"'
        )

    @property
    def _name(self) -> str:
        return self.repository.removeprefix("https://github.com/")


def read(root: Path) -> Site:
    """The setting of a project; that of none where the file is missing.

    Raises
    ------
    InputError : an unknown key, what is no address, or a notebook service without a repository.
    """
    path = root / SETTING
    try:
        said = tomllib.loads(path.read_text()) if path.is_file() else {}
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{SETTING}: {error}.") from error
    known = [one.name for one in fields(Site)]
    if unknown := sorted(said.keys() - {*known}):
        raise InputError(f"{SETTING}: no key {unknown[0]!r}; known: {', '.join(known)}.")
    others = said.pop("other_builds", {})
    if not isinstance(others, dict):
        raise InputError(f"{SETTING}: other_builds is a table of addresses.")
    named = {f"other_builds.{name}": url for name, url in others.items()}
    for key, value in (said | named).items():
        _check(key, value)
    if (said.get("binder") or said.get("colab")) and not said.get("repository"):
        raise InputError(f"{SETTING}: binder and colab open notebooks of a repository; name it.")
    if said.get("pdf") and not said.get("address"):
        raise InputError(f"{SETTING}: pdf is a file at an address; name that.")
    for key in ("address", "repository", "binder"):
        said[key] = said.get(key, "").rstrip("/")
    said["address"] += "/" if said["address"] else ""
    said["branch"] = said.get("branch") or Site.branch
    ended = {name: f"{url.rstrip('/')}/" for name, url in others.items() if url}
    return Site(**said, other_builds=ended)


def _check(key: str, value: object) -> None:
    """InputError unless a value may stand in links as it is; "" may always."""
    kinds = {
        "repository": (GITHUB, "https://github.com/OWNER/NAME"),
        "branch": (NAME, "the name of a branch"),
        "colab": (NAME, "the name of a branch"),
        "pdf": (NAME, "the name of a file"),
    }
    pattern, kind = kinds.get(key, (ADDRESS, "an address, https://..."))
    if not isinstance(value, str) or (value and not pattern.fullmatch(value.rstrip("/"))):
        raise InputError(f"{SETTING}: {key} = {value!r} is not {kind}.")
