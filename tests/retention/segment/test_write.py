"""An encrypted segment file: written whole, described exactly, or not there."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from retention.segment.write import write_segment
from retention.vault import VaultFile
from tests.support.disk import Disk

KEY, ABOUT = bytes(32), b"about"


@pytest.mark.parametrize("size", [0, 1, 65_480, 200_000])
def test_what_was_written_is_described(tmp_path: Path, size: int) -> None:
    """Size and digests are those of the file and of what it decrypts to; only owner and group may read it."""
    plain, path = os.urandom(size), tmp_path / "segment"

    found = write_segment(path, KEY, ABOUT, [plain[:100], memoryview(plain)[100:]])

    data = path.read_bytes()
    assert found == (len(data), hashlib.sha256(plain).hexdigest(), hashlib.sha256(data).hexdigest())
    assert VaultFile(path, KEY, ABOUT).read_at(0, size) == plain
    assert path.stat().st_mode & 0o777 & ~0o640 == 0


def test_what_an_interrupted_sealing_left_is_replaced(tmp_path: Path) -> None:
    """A file that stands there already is not written into: another one takes its place."""
    path = tmp_path / "segment"
    path.write_bytes(b"left over" * 1000)
    held = path.open("rb")

    write_segment(path, KEY, ABOUT, [b"new"])

    assert held.read() == b"left over" * 1000
    held.close()
    assert VaultFile(path, KEY, ABOUT).read_at(0, 3) == b"new"


def test_it_is_synced_before_it_is_told(tmp_path: Path, disk: Disk) -> None:
    """The last write is followed by a sync, then by the close."""
    write_segment(tmp_path / "segment", KEY, ABOUT, [bytes(200_000)])

    assert disk.calls[0] == "open"
    assert disk.calls[-2:] == ["fsync", "close"]
    assert set(disk.calls[1:-2]) == {"write"}


@pytest.mark.parametrize("step", range(6))
def test_a_disk_that_fails_is_said(tmp_path: Path, disk: Disk, step: int) -> None:
    """Whichever call fails, the error comes out, and the file is not held open."""
    disk.fail(step, "failed", times=1, code=errno.ENOSPC)

    with pytest.raises(OSError, match="No space left"):
        write_segment(tmp_path / "segment", KEY, ABOUT, [bytes(130_000)])

    disk.repair()
    held = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    assert str(tmp_path / "segment") not in held
