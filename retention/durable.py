"""Writes that survive a power cut.

Rules:
    1. A whole file appears under its name only after its bytes are on the disk:
       write temporary → fsync file → rename → fsync directory.
    2. A new directory is durable only after its parent is synced.
    3. What must not be read again is overwritten before its name goes, as far as that reaches (``shred``).
    4. Errors of the disk leave this module as the ``OSError`` they are: the caller knows what they mean.
"""

import errno
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO


def sync_directory(path: Path) -> None:
    """Make the names in the directory *path* durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, *, mode: int = 0o750) -> None:
    """Create *path* and its missing parents, each with *mode*, durably; an existing one stays as it is."""
    missing = [path, *path.parents]
    for directory in reversed([one for one in missing if not one.exists()]):
        directory.mkdir(mode=mode, exist_ok=True)
        sync_directory(directory.parent)


def write_file(path: Path, data: bytes, *, mode: int = 0o640) -> None:
    """Put *data* under *path*, whole or not at all; an existing file is replaced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def locked(path: Path, wait_seconds: float) -> int | None:
    """A descriptor that alone holds the lock file *path*; None when another process holds it that long."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.05)
        else:
            return descriptor


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file *path* alone now; asking keeps nobody from taking it for long."""
    try:
        with open_file(path) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte of *data*; a short write goes on where it stopped, an error is an ``OSError``."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def open_file(path: Path) -> BinaryIO:
    """The regular file *path* for reading; a pipe in its place would keep its reader waiting for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb", buffering=0)


def read_file(path: Path) -> bytes:
    """The bytes of the regular file *path*."""
    with open_file(path) as file:
        return file.read()


def shred(path: Path) -> None:
    """Overwrite the file *path* with random bytes, then take its name away, durably; gone already is done.

    Cut short, it leaves the file, or a file of random bytes: call it again. What it cannot reach: earlier
    versions that ``write_file`` replaced, file systems that copy on write or keep snapshots (btrfs, ZFS) or
    journal data, what an SSD's wear levelling moved aside, and back-ups. So shred what is useless without a
    second secret, and keep that one off the back-ups of the first.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        if path.parent.is_dir():
            sync_directory(path.parent)  # an earlier call may have been cut before this
        return
    try:
        write_all(descriptor, os.urandom(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()
    sync_directory(path.parent)
