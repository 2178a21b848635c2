"""Room held back: it is really there, given up at once, and not laid down when the disk is short."""

import errno
import os
from pathlib import Path

import pytest

from retention.ballast import Ballast
from tests.support.disk import Disk

SIZE = 1 << 20


@pytest.fixture
def ballast(tmp_path: Path) -> Ballast:
    """A small one, in a directory that is not there yet."""
    return Ballast(path=tmp_path / "cache" / "ballast", size=SIZE)


def free_bytes(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """The disk says that so much is free."""
    real = os.statvfs

    def said(path: Path) -> os.statvfs_result:
        found = list(real(path))
        found[1], found[4] = 1, free  # f_frsize, f_bavail
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", said)


def test_it_takes_real_room(ballast: Ballast) -> None:
    """Its blocks are allocated, not only its length; a second call leaves it as it is."""
    laid = ballast.ensure()
    found = ballast.path.stat()
    again = ballast.ensure()

    assert laid
    assert again
    assert found.st_size == SIZE
    assert found.st_blocks * 512 >= SIZE
    assert ballast.path.stat().st_ino == found.st_ino


def test_it_is_given_up_and_laid_down_again(ballast: Ballast) -> None:
    """Released it is gone; there is none to release a second time; with room it comes back."""
    ballast.ensure()

    released = [ballast.release(), ballast.release()]
    gone = not ballast.path.exists()
    back = ballast.ensure()

    assert released == [True, False]
    assert gone
    assert back
    assert ballast.path.exists()


@pytest.mark.parametrize(("free", "laid"), [(0, False), (4 * SIZE, False), (4 * SIZE + 1, True)])
def test_it_waits_for_plenty(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch, free: int, laid: bool
) -> None:
    """It is laid down only while more than four times its size is free."""
    free_bytes(monkeypatch, free)

    assert ballast.ensure() is laid
    assert ballast.path.exists() is laid


def test_one_that_is_there_stays_on_a_full_disk(ballast: Ballast, monkeypatch: pytest.MonkeyPatch) -> None:
    """That the disk is short takes nothing away by itself."""
    ballast.ensure()
    free_bytes(monkeypatch, 0)

    assert ballast.ensure()
    assert ballast.path.stat().st_size == SIZE


def test_a_half_made_one_is_made_whole(ballast: Ballast) -> None:
    """A shorter file, left by a power cut, is not taken for the ballast."""
    ballast.path.parent.mkdir()
    ballast.path.write_bytes(b"x" * 10)

    assert ballast.ensure()
    assert ballast.path.stat().st_size == SIZE


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_meanwhile_is_no_error(
    ballast: Ballast, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """When there is no room after all, there is no ballast, and nothing half made lies there."""

    def full(*_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", full)

    assert not ballast.ensure()
    assert not ballast.path.exists()


@pytest.mark.parametrize("form", ["failed", "persisted"])
def test_it_can_fail_anywhere(tmp_path: Path, disk: Disk, form: str) -> None:
    """Whatever fails, the next call finds out what lies there, and finishes it."""
    Ballast(path=tmp_path / "whole" / "ballast", size=SIZE).ensure()
    steps = len(disk.calls)

    for step in range(steps):
        ballast = Ballast(path=tmp_path / f"{step}" / "ballast", size=SIZE)
        disk.fail(step, form, times=1)
        with pytest.raises(OSError, match="Input/output error"):
            ballast.ensure()
        disk.repair()

        assert ballast.ensure()
        assert ballast.path.stat().st_size == SIZE
        assert ballast.release()
    assert steps > 3
