"""Whether a result still answers for its notebook, and its page, which shows today's words.

A result is fresh while everything that can change it is unchanged: the code of the notebook's
cells, its parameters, the code of this package that it reaches (`geomem.reach`), the bytes of its
data sets, and the versions of the packages that all this stands on. Words are not of that kind:
text, comments, titles, captions, and whether the code was committed are stamped anew on a fresh
result, and nothing runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from geomem import disk
from geomem.companion.figures import commit
from geomem.companion.notebooks import Notebook, parsed, read
from geomem.companion.results import Result, write_run
from geomem.data.sets import source_sha256
from geomem.reach import reached, without_words
from geomem.typed import Value

PARAMETERS, INJECTED = "parameters", "injected-parameters"
IN_SETTINGS = re.compile(r"\bdata\.(?:name|heldout)=([^\s;]+)")
PICTURES = "pictures"  # of a cell that a page has and its source has not


def inputs(notebook: Notebook, parameters: Mapping[str, Value]) -> dict[str, dict[str, Any]]:
    """Everything that a result depends on, by kind, as plain values and SHA-256 sums."""
    code = [c for c in read(notebook.path).cells if c.cell_type == "code"]
    cells = [cell.source for cell in code if not _is(cell, PARAMETERS)]
    parsed(notebook.path, "\n".join(cells))
    stands_on = reached("\n".join(cells))
    return {
        "notebook": {f"cell {i}": _hash(without_words(cell)) for i, cell in enumerate(cells, 1)},
        "parameters": dict(parameters),
        "geomem": stands_on.code,
        "data": {name: source_sha256(name) for name in sorted(data_sets(notebook, parameters))},
        "versions": stands_on.versions,
    }


def data_sets(notebook: Notebook, parameters: Mapping[str, Value]) -> set[str]:
    """The data sets that parameters name: one, several, or in the settings of models."""
    found = {"cifar10"} if parameters.get("paper_subset") else set[str]()
    for name, parameter in notebook.parameters.items():
        text = str(parameters[name])
        if parameter.is_dataset:
            found.add(text)
        elif name.endswith("_datasets"):
            found |= {*text.split(",")}
        else:
            found |= {*IN_SETTINGS.findall(text)}
    return found - {"", "false"}  # the latter: no held-out images


def key(dependencies: Mapping[str, Any]) -> str:
    return _hash(json.dumps(dependencies, sort_keys=True))


def stale(result: Result, notebook: Notebook, parameters: Mapping[str, Value]) -> list[str]:
    """Why the result in the book does not answer for these parameters; empty when fresh."""
    if not result.exists:
        return ["never run"]
    if altered := result.altered:
        return [altered]
    run = result.run
    if run["key"] != key(run["inputs"]):
        return ["run.json is changed"]
    return [
        f"{kind}: {', '.join(changes)}"
        for kind, new in inputs(notebook, parameters).items()
        if (changes := _changes(run["inputs"][kind], new, show=kind == "parameters"))
    ]


def restamp(result: Result, notebook: Notebook) -> None:
    """Make the page of a fresh result with today's words, and put today's commit on it."""
    import nbformat

    executed = nbformat.read(result.executed, 4)
    text = nbformat.writes(page(notebook, executed, result.run["inputs"]["parameters"])) + "\n"
    if not result.page.is_file() or result.page.read_bytes() != text.encode():
        disk.write(result.page, text)
    if (new := {**result.run, **commit()}) != result.run:
        write_run(result.folder, new)


def page(notebook: Notebook, executed: Any, parameters: Mapping[str, Value]) -> Any:
    """The notebook's own cells with the outputs of an executed one: equal runs give equal pages.

    Its parameters stand there with the values of the run. A cell that shows figures is followed by
    their citable form, and by the pictures themselves, for viewers other than the book.
    """
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    source, cells, runs = read(notebook.path), list[Any](), iter(_ran(executed))
    for cell in source.cells:
        cells.append(cell)
        if _is(cell, PARAMETERS):
            known = notebook.parameters
            cell.source = "\n".join(known[name].line(parameters[name]) for name in known)
        if cell.cell_type != "code":
            continue
        outputs, cell.execution_count = next(runs)
        pictures = [output for output in outputs if _figure(output)]
        cell.outputs = _joined([output for output in outputs if not _figure(output)])
        for picture in pictures:
            text = f"```{{companion-figure}} {_figure(picture)}\n:again:\n```"
            cells.append(new_markdown_cell(text))
        if pictures:
            hidden = {"tags": [PICTURES, "remove-cell"]}
            cells.append(new_code_cell("", outputs=pictures, metadata=hidden))
    for i, cell in enumerate(cells):
        cell["id"] = f"{notebook.name}-{i:03d}"
        for noise in ("papermill", "execution"):
            cell.metadata.pop(noise, None)
    python = {"name": "python3", "display_name": "Python 3", "language": "python"}
    language = {"name": "python", "pygments_lexer": "ipython3"}
    made = new_notebook(cells=cells, metadata={"kernelspec": python, "language_info": language})
    made.nbformat, made.nbformat_minor = 4, 5
    nbformat.validate(made)
    return made


def _ran(executed: Any) -> list[tuple[list[Any], Any]]:
    """Outputs and count of each cell of the source, from what a kernel left or from a page."""
    found = list[tuple[list[Any], Any]]()
    for cell in executed.cells:
        if _is(cell, PICTURES):
            found[-1][0].extend(cell.outputs)
        elif cell.cell_type == "code" and not _is(cell, INJECTED):
            found.append(([*cell.outputs], cell.execution_count))
    return found


def _figure(output: Any) -> str:
    """The id of the figure that an output shows; "" of any other."""
    return str(output.get("metadata", {}).get("geomem", ""))


def _joined(outputs: list[Any]) -> list[Any]:
    """Outputs with neighbouring prints as one: in how many pieces they arrive is chance."""
    from nbformat.v4 import new_output

    joined = list[Any]()
    for output in outputs:
        last: Any = joined[-1] if joined else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            joined[-1] = new_output("stream", name=output.name, text=last.text + output.text)
        else:
            joined.append(output)
    return joined


def _is(cell: Any, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def _changes(old: Mapping[str, Any], new: Mapping[str, Any], *, show: bool) -> list[str]:
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    if show:
        return [f"{name} {old.get(name)} -> {new.get(name)}" for name in names]
    return names


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
