"""One keeper for each store.

Rules:
    1. The lock is the kernel's (flock), so a keeper that dies leaves none behind.
    2. A second keeper is refused at once, with words; it never waits.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from applog.errors import KeeperBusyError

LOCK = "keeper.lock"


@contextmanager
def keeper_lock(root: Path) -> Iterator[None]:
    """Be the keeper of the store at *root*.

    Raises:
        KeeperBusyError: another process is.
    """
    descriptor = os.open(root / "ledger" / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace") or "unknown"
            raise KeeperBusyError(
                f"the store at {root} has a keeper already, process {owner}; nothing was started"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def keeper_of(root: Path) -> str | None:
    """The process that is the keeper of the store at *root*, or None."""
    try:
        descriptor = os.open(root / "ledger" / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 20, 0).decode("ascii", "replace")
    else:
        return None
    finally:
        os.close(descriptor)
