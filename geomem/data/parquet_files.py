"""Rows of Parquet files as Hugging Face writes them: encoded images, labels, names of classes.

A column of images has their bytes, or a struct with ``bytes``; a path in it is never followed.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

from geomem.data.array_files import LABELS
from geomem.data.files import DataError, Rows, decoding, needed, plain

PARQUET = ".parquet"
BATCH = 16  # images taken from a file at once


class Shards:
    """The rows of several files one after the other; each is called "FILE row 17"."""

    def __init__(self, folder: Path, files: Sequence[str], name: str):
        needed("pyarrow", 15, name)  # an older one can be made to unpickle
        self.name, self.folder = name, folder
        self.rows: list[str] = []
        self.counts: list[int] = []  # of a file
        self.classes: list[str] = []
        self.label = ""
        self._starts: dict[str, Rows] = {}  # of the row groups of a file
        self._image: dict[str, str] = {}  # the column's path
        labels = []
        for file in files:
            with decoding(f"{name}: {plain(file)} is not a readable Parquet file."):
                labels.append(self._look(file))
        self.labels = np.concatenate(labels)
        if not 0 <= self.labels.max(initial=-1) < len(self.classes):
            self.classes = []
        # How far the last row group has been read.
        self._at, self._start = ("", 0), 0
        self._batch: Any = ()
        self._batches: Iterator[Any] = iter(())

    def _file(self, file: str) -> Any:
        return import_module("pyarrow.parquet").ParquetFile(self.folder / file)

    def _look(self, file: str) -> Rows:
        """Its labels, -1 where it has none; only its footer and that column are read."""
        with self._file(file) as opened:
            about, schema = opened.metadata, opened.schema_arrow
            counts = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
            if min(counts, default=0) < 0 or sum(counts) > (self.folder / file).stat().st_size:
                raise DataError(f"{self.name}: {plain(file)} has not the rows that it claims.")
            self._starts[file] = np.cumsum([0, *counts])
            self._image[file] = self._column(schema, file)
            self.counts.append(sum(counts))
            self.rows += [f"{file} row {i}" for i in range(sum(counts))]
            label = _label(schema)
            if label is None:
                return np.full(sum(counts), -1)
            self.label = label
            self.classes = self.classes or _names(schema.metadata or {}, label)
            column = opened.read(columns=[label]).column(0).cast("int64").fill_null(-1)
            return column.to_numpy()

    def _column(self, schema: Any, file: str) -> str:
        found = {field.name: path for field in schema if (path := _bytes_in(field)) is not None}
        if len(found) == 1:
            return next(iter(found.values()))
        if "image" in found:
            return found["image"]
        raise DataError(
            f"{self.name}: {plain(file)} has no column 'image', and no other that is alone in "
            f"having encoded images; its columns are {', '.join(map(plain, schema.names))}."
        )

    @contextmanager
    def open(self, row: str) -> Iterator[IO[bytes]]:
        """The bytes of an image; those of ascending rows are read as they come."""
        file, _, number = row.rpartition(" row ")
        index, starts = int(number), self._starts[file]
        group = int(np.searchsorted(starts, index, "right")) - 1
        if (file, group) != self._at or index < self._start:
            self._at, self._start, self._batch = (file, group), int(starts[group]), ()
            self._batches = self._read(file, group)
        while index >= self._start + len(self._batch):
            self._start += len(self._batch)
            self._batch = next(self._batches)
        held = self._batch[index - self._start].as_py()
        held = held.get("bytes") if isinstance(held, dict) else held
        if held is None:
            raise DataError(f"{self.name}: {plain(row)} holds no image.")
        yield io.BytesIO(held)

    def _read(self, file: str, group: int) -> Iterator[Any]:
        with self._file(file) as opened:
            for batch in opened.iter_batches(BATCH, [group], [self._image[file]]):
                yield batch.column(0)


def _bytes_in(field: Any) -> str | None:
    """The path of the bytes in a column, if it can be one of encoded images."""
    types = import_module("pyarrow").types
    kind, path = field.type, field.name
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind, path = kind.field("bytes").type, f"{path}.bytes"
    return path if types.is_binary(kind) or types.is_large_binary(kind) else None


def _label(schema: Any) -> str | None:
    types = import_module("pyarrow").types
    found = [f.name for f in schema if types.is_integer(f.type) and LABELS.search(f.name.lower())]
    return "label" if "label" in found else found[0] if len(found) == 1 else None


def _names(metadata: dict[bytes, bytes], label: str) -> list[str]:
    """The names of classes in what Hugging Face writes beside the columns, if there are any."""
    with suppress(Exception):
        about = json.loads(metadata[b"huggingface"])["info"]["features"][label]
        return [plain(name) for name in about["names"]]
    return []
