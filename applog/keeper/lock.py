"""One keeper for each store.

Rules:
    1. The lock is the kernel's (flock), so a keeper that dies leaves none behind.
    2. A second keeper is refused with words. It waits a second at most: who asks whether there is a keeper
       holds the lock for a moment.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from applog.errors import KeeperBusyError

LOCK = "keeper.lock"
WAIT_SECONDS = 1.0
_LOOK_SECONDS = 0.02


@contextmanager
def keeper_lock(root: Path) -> Iterator[None]:
    """Be the keeper of the store at *root*.

    Raises:
        KeeperBusyError: another process is.
    """
    descriptor = os.open(root / "ledger" / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        if not _locked(descriptor):
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace") or "unknown"
            raise KeeperBusyError(
                f"the store at {root} has a keeper already, process {owner}; nothing was started"
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Whether the lock is ours, now or within ``WAIT_SECONDS``."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOOK_SECONDS)
        else:
            return True


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
