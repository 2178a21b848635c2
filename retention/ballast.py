"""Room that is held back, for the day on which the disk is full.

Rules:
    1. What frees disk space needs some first: a segment is written before its journals go, and a deletion is
       entered in the ledger before the file goes. On a full disk neither could begin, and it would stay full.
    2. The ballast is given up for that alone, never for new records; it is laid down again when there is
       plenty, so that it does not fill the disk itself.
"""

import contextlib
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from retention.durable import make_directory, sync_directory

PLENTY = 4
"""So many times its size must be free before it is laid down."""


@dataclass(frozen=True, kw_only=True)
class Ballast:
    """A file that holds nothing but disk space.

    Sealing and expiry each write before they delete. When the disk is full the keeper calls ``release``,
    seals and expires with the room that it gave, and calls ``ensure`` until it lies there again. It holds
    nothing back on file systems that compress or copy on write (ZFS, btrfs).
    """

    path: Path
    size: int = 64 << 20
    """Bytes: a sealed segment of half a million rows, its manifest and some ledger entries."""

    def ensure(self) -> bool:
        """Lay it down if it is missing and there is room; whether it lies there now.

        Raises:
            OSError: the disk's, other than that it is full.
        """
        if self._is_whole():
            return True
        make_directory(self.path.parent)
        found = os.statvfs(self.path.parent)
        if found.f_bavail * found.f_frsize <= PLENTY * self.size:
            return False
        try:
            self._allocate()
        except OSError as error:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return False
            raise
        return True

    def release(self) -> bool:
        """Give its room up, durably (ext4 frees blocks when the removal is committed); whether there was any.

        Raises:
            OSError: the disk's.
        """
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        sync_directory(self.path.parent)
        return True

    def _is_whole(self) -> bool:
        """A making that was cut short left a shorter file."""
        try:
            return self.path.stat().st_size == self.size
        except FileNotFoundError:
            return False

    def _allocate(self) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        try:
            os.posix_fallocate(descriptor, 0, self.size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(self.path.parent)
