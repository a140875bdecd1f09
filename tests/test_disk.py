"""Whatever the disk refuses, and wherever: the old or the new stands there, whole."""

import errno
import os
from types import SimpleNamespace

import pytest
from conftest import fill

from geomem import disk


@pytest.fixture(params=["one disk", "two disks"])
def folders(tmp_path, request, monkeypatch):
    """A folder and what is to replace it."""
    for name, content in (("results/one", "old"), ("work/one", "new")):
        for part in ("a", "deep/b"):
            path = tmp_path / name / part
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
    if request.param == "two disks":
        real = os.rename

        def rename(source, target):
            if ("work" in os.fspath(source)) != ("work" in os.fspath(target)):
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            real(source, target)

        monkeypatch.setattr(os, "rename", rename)
    return tmp_path / "work" / "one", tmp_path / "results" / "one"


def held(folder):
    """What a folder holds: one word where it is whole."""
    parts = (folder / "a", folder / "deep" / "b")
    found = {path.read_text() if path.exists() else "nothing" for path in parts}
    return found.pop() if len(found) == 1 else found


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("n", range(16))
def test_a_replaced_folder_is_the_old_or_the_new_one_and_the_new_one_is_kept(
    folders, n, alone, refuse, monkeypatch
):
    new, place = folders
    refuse(n, alone)
    try:
        disk.replace(new, place)
    except OSError:
        assert not alone or (held(place), held(new)) == ("old", "new")
    else:
        assert held(place) == "new"
    monkeypatch.undo()
    disk.recover(place)  # as the next start does
    assert held(place) in ("old", "new")
    assert [path.name for path in place.parent.iterdir()] == ["one"], "nothing is left over"


def test_that_was_every_change(folders, refuse):
    refuse(16, False)
    disk.replace(*folders)
    assert held(folders[1]) == "new"


@pytest.mark.parametrize("n", range(2))
def test_a_file_that_cannot_be_written_stays_the_old_one(tmp_path, n, refuse):
    path = tmp_path / "file"
    disk.write(path, "old")
    refuse(n, True)
    with pytest.raises(OSError):
        disk.write(path, "new")
    assert path.read_text() == "old" and [*tmp_path.iterdir()] == [path]
    disk.write(path, "new")
    assert path.read_text() == "new" and [*tmp_path.iterdir()] == [path]


def test_on_a_full_disk_the_old_ones_stay_and_later_the_new_ones_come(folders, small_disk):
    new, _ = folders
    place, path = small_disk / "one", small_disk / "file"
    for part in ("a", "deep/b"):
        (place / part).parent.mkdir(parents=True, exist_ok=True)
        (place / part).write_text("old")
    disk.write(path, "old")
    others = fill(small_disk)
    for change in (lambda: disk.write(path, "new"), lambda: disk.replace(new, place)):
        with pytest.raises(OSError, match="No space left"):
            change()
    assert (held(place), held(new), path.read_text()) == ("old", "new", "old")
    assert {*small_disk.iterdir()} == {place, path, others}
    others.unlink()
    disk.write(path, "new")
    disk.replace(new, place)
    assert (held(place), path.read_text()) == ("new", "new")


def test_what_only_looks_like_a_leftover_stays(tmp_path):
    for name in (".bashrc.old", ".one.old", "one.part", ".one.new"):
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.iterdir())
    disk.recover(tmp_path / "one")
    assert sorted(tmp_path.iterdir()) == before


def test_on_windows_no_folder_and_nothing_read_only_is_flushed(folders, monkeypatch):
    """There os.open of a folder is refused, and so is a flush of what is only read."""

    def refused(path, flags):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    windows = SimpleNamespace(
        name="nt", path=os.path, fsync=os.fsync, open=refused, O_RDONLY=os.O_RDONLY
    )
    monkeypatch.setattr(disk, "os", windows)
    disk.replace(*folders)
    assert held(folders[1]) == "new"
    disk.write(folders[1] / "a", "newer")
    assert (folders[1] / "a").read_text() == "newer"
