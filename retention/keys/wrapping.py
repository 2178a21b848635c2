"""How private keys lie on the disk: wrapped under the master key (AES-KW, RFC 3394), made under one lock.

Rules (FORMAT.md 4):
    1. A wrapped file is 8 bytes longer than its secret; another length or an altered byte is refused.
    2. Whoever makes, rewrites or shreds a key holds ``journal/lock`` and reads the master key while holding
       it: no key is made under a master key that a rotation is just taking away.
    3. While a rotation is unfinished a file lies under the old key or the new one, so both are tried.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from retention.durable import make_directory, read_file, write_file
from retention.errors import KeyMaterialError

_WRAPPING_BYTES = 8


class MasterKeySource(Protocol):
    """Where the 32-byte master key comes from. ``str`` of it names the place, never the key."""

    def read(self) -> bytes:
        """The key that new files are wrapped under, or ``KeyMaterialError``."""

    def candidates(self) -> Iterator[bytes]:
        """The keys that existing files may be wrapped under: more than one only during a rotation."""
        yield self.read()


def opened(wrapped: bytes, key: bytes) -> bytes | None:
    """The secret in *wrapped*; None if it was altered or lies under another key than *key*."""
    try:
        return aes_key_unwrap(key, wrapped)
    except InvalidUnwrap:
        return None


def unwrap(path: Path, master: MasterKeySource, size: int | None = None) -> bytes:
    """The secret in the file *path*, of *size* bytes (None: any).

    Raises:
        KeyMaterialError: the file is missing, altered, of another size, or under another master key.
    """
    for _ in range(2):  # again, because a rotation may have ended between the reading of file and key
        try:
            wrapped = read_file(path)
        except OSError as error:
            raise KeyMaterialError(f"key {path}: {error.strerror}") from error
        if size is not None and len(wrapped) != size + _WRAPPING_BYTES:
            raise KeyMaterialError(
                f"key {path}: expected {size + _WRAPPING_BYTES} bytes, found {len(wrapped)}"
            )
        for key in master.candidates():
            secret = opened(wrapped, key)
            if secret is not None:
                return secret
    raise KeyMaterialError(f"key {path}: the master key does not open it, or it was altered")


def write_wrapped(path: Path, secret: bytes, key: bytes) -> None:
    """Put *secret*, wrapped under *key*, into the file *path*; whole or not at all, for its owner only."""
    write_file(path, aes_key_wrap(key, secret), mode=0o600)


def wrapped_files(directory: Path) -> list[Path]:
    """Every file of the keys *directory* that lies under the master key."""
    patterns = ("journal/*.key", "day/*/*.key", "signing/*.key", "master.check")
    return [path for pattern in patterns for path in sorted(directory.glob(pattern))]


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the lock of all keys, in the *directory* ``keys/journal``, which is made if it is missing."""
    make_directory(directory, mode=0o700)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def making(directory: Path, master: MasterKeySource) -> Iterator[bytes]:
    """Hold the lock as ``held``; gives the key to wrap new files under."""
    master.read()  # a passphrase is asked for now, not while others wait for the lock
    with held(directory):
        yield master.read()
