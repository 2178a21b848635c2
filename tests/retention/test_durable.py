"""Durable writes: whole or not at all, in the order that survives a power cut."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from retention import durable
from retention.durable import make_directory, shred, sync_directory, write_all, write_file
from tests.support.disk import Disk


def test_the_order_of_the_calls(tmp_path: Path, disk: Disk) -> None:
    """Write, sync the bytes, name them, sync the name: any other order can lose the file."""
    write_file(tmp_path / "file", b"bytes")

    assert disk.calls == ["open", "write", "fsync", "close", "rename", "open", "fsync", "close"]


def test_the_file_is_as_asked(tmp_path: Path) -> None:
    """Contents and mode are those given; only the file is left there; an existing one is replaced."""
    path = tmp_path / "file"
    write_file(path, b"old")

    write_file(path, b"new", mode=0o600)

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208  hidden files too


@pytest.mark.parametrize("step", range(8))
@pytest.mark.parametrize("form", ["failed", "persisted", "partial"])
def test_a_failing_call_leaves_old_or_new(tmp_path: Path, disk: Disk, step: int, form: str) -> None:
    """Whichever call fails, lost or done: the error comes out, and the old or the new content is there."""
    path = tmp_path / "file"
    write_file(path, b"old")
    disk.fail(step, form, times=1, code=errno.ENOSPC)

    with pytest.raises(OSError, match="No space"):
        write_file(path, b"new")
    disk.repair()

    named = step > 4 or (step == 4 and form == "persisted")
    assert path.read_bytes() == (b"new" if named else b"old")
    left = [name for name in os.listdir(tmp_path) if name != "file"]  # noqa: PTH208
    assert left == [] or (step, form) == (0, "persisted")


def test_a_rename_that_never_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash just before the new name exists leaves the old content, and a temporary nobody reads."""
    path = tmp_path / "file"
    write_file(path, b"old")
    crash = SystemExit("power cut")

    def cut(*_: object) -> None:
        raise crash

    monkeypatch.setattr(os, "rename", cut)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # a dead process tidies nothing

    with pytest.raises(SystemExit):
        write_file(path, b"new")

    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.glob(".file.*.tmp"))) == 1
    assert list(tmp_path.glob("file*")) == [path]


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that takes one byte at a time still writes them all, in order."""
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:1])))

    write_file(tmp_path / "file", b"many bytes")
    with (tmp_path / "other").open("wb", buffering=0) as other:
        write_all(other.fileno(), bytearray(b"more"))

    assert (tmp_path / "file").read_bytes() == b"many bytes"
    assert (tmp_path / "other").read_bytes() == b"more"


def test_directories_are_made_with_their_parents(tmp_path: Path, disk: Disk) -> None:
    """Missing parents too, each synced into its own parent; an existing directory stays as it is."""
    make_directory(tmp_path / "a" / "b", mode=0o700)
    synced = disk.calls.count("fsync")
    make_directory(tmp_path / "a", mode=0o755)

    assert synced == 2
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b").is_dir()


def test_only_a_directory_can_be_synced(tmp_path: Path) -> None:
    """A file or nothing is the caller's mistake and comes back as the OSError it is."""
    (tmp_path / "file").touch()

    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "missing")


def test_what_is_shredded_is_overwritten_first(tmp_path: Path, disk: Disk) -> None:
    """Its blocks hold random bytes of the same length before the name goes, and both are synced."""
    (tmp_path / "file").write_bytes(bytes(1000))
    (tmp_path / "blocks").hardlink_to(tmp_path / "file")

    shred(tmp_path / "file")

    assert disk.calls == ["open", "write", "fsync", "close", "open", "fsync", "close"]
    assert not (tmp_path / "file").exists()
    assert len((tmp_path / "blocks").read_bytes()) == 1000
    assert (tmp_path / "blocks").read_bytes().count(0) < 50


def test_what_is_gone_is_shredded(tmp_path: Path, disk: Disk) -> None:
    """A second call makes durable that the name is gone, as the first may have been cut before that."""
    shred(tmp_path / "gone")
    synced = disk.calls.count("fsync")
    shred(tmp_path / "no directory" / "gone")

    assert synced == 1


@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("form", ["failed", "persisted"])
def test_shredding_that_fails_is_repeated(tmp_path: Path, disk: Disk, step: int, form: str) -> None:
    """Whichever call fails, the error comes out; the name stays until the bytes are gone; again ends it."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1000))
    disk.fail(step, form, times=1)

    with pytest.raises(OSError, match="Input/output"):
        shred(path)
    disk.repair()

    assert path.exists() == (step < 4)
    shred(path)
    assert not path.exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """What a link points to is not overwritten."""
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "link").symlink_to(tmp_path / "file")

    with pytest.raises(OSError, match="symbolic links"):
        shred(tmp_path / "link")

    assert (tmp_path / "file").read_bytes() == b"kept"


def test_a_lock_is_seen_and_waited_for(tmp_path: Path) -> None:
    """It is held by one alone; asking does not take it, and a missing one is held by nobody."""
    path = tmp_path / "lock"
    before = durable.is_locked(path)

    held = durable.locked(path, 0)
    other = durable.locked(path, 0)
    during = durable.is_locked(path)
    assert held is not None
    os.close(held)

    assert (before, other, during, durable.is_locked(path)) == (False, None, True, False)


@pytest.mark.parametrize("read", [durable.open_file, durable.read_file, durable.is_locked])
def test_what_is_no_file_makes_nobody_wait(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """A pipe would keep its reader for ever, and is refused instead."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="not a regular file"):
        read(tmp_path / "pipe")
