"""Files and folders whole or not at all: what stands there stays until the new one does."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NEW, OLD = ".geomem-new", ".geomem-old"  # beside what is replaced, while it is


def write(path: Path, content: bytes | str) -> None:
    """Write a file under another name, flushed, then renamed; what fails leaves the old one."""
    partial = path.with_name(path.name + ".part")
    try:
        with partial.open("wb") as handle:
            handle.write(content.encode() if isinstance(content, str) else content)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)  # on a full disk it would be in the way
        raise


def replace(new: Path, place: Path) -> None:
    """Put a folder in the place of another.

    It is written beside the place, on the same disk, and flushed; two renames swap the two, and
    the old one goes last. Whatever fails leaves the old one there and the new one where it was; a
    process killed between the renames leaves both, and `recover` gives the old one back.

    Raises
    ------
    OSError : full, read only, and the like.
    """
    recover(place)
    beside, _ = _names(place)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.rename(beside)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copytree(new, beside)  # from another file system
        _swap(place)
    except BaseException:
        with suppress(OSError):
            _give_back(place)
        with suppress(OSError):  # then it stays beside
            if not new.exists():
                beside.rename(new)
            remove(beside)
        raise
    remove(new)


@contextmanager
def replacing(place: Path) -> Iterator[Path]:
    """A new folder to be filled, put in the place of another at the end, as `replace` does.

    Whatever fails, also within, leaves the old one there and nothing of the new one.
    """
    recover(place)
    beside, _ = _names(place)
    try:
        beside.mkdir(parents=True)
        yield beside
        _swap(place)
    except BaseException:
        with suppress(OSError):
            recover(place)
        raise


def recover(place: Path) -> None:
    """Undo what a killed `replace` or `replacing` left half done."""
    _give_back(place)
    for left in _names(place):
        remove(left)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with all that it holds, as far as that is allowed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def _swap(place: Path) -> None:
    """What lies beside the place goes there, flushed; what was there goes."""
    beside, old = _names(place)
    for path in [*beside.rglob("*"), beside]:
        _flush(path)
    if os.path.lexists(place):
        place.rename(old)
    beside.rename(place)
    with suppress(OSError):
        _flush(place.parent)
    remove(old)


def _give_back(place: Path) -> None:
    """The old one, where the new one did not come to stand in its place."""
    _, old = _names(place)
    if os.path.lexists(old) and not os.path.lexists(place):
        old.rename(place)


def _names(place: Path) -> tuple[Path, Path]:
    return place.with_name(f".{place.name}{NEW}"), place.with_name(f".{place.name}{OLD}")


def _flush(path: Path) -> None:
    """To the disk itself: a rename must not survive a power cut that its content does not.

    Windows flushes neither folders nor what is only read.
    """
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # no such thing on some file systems
            raise
    finally:
        os.close(handle)
