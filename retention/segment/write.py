"""An encrypted segment file, written once. The sealer names it when it has been checked."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from retention.durable import write_all
from retention.vault import encrypt


def write_segment(
    path: Path, key: bytes, associated: bytes, pieces: Iterable[bytes | memoryview]
) -> tuple[int, str, str]:
    """Encrypt *pieces* into the new file *path* and sync it; its size, and SHA-256 of plaintext and file."""
    plain = b"".join(pieces)
    file_digest = hashlib.sha256()
    size = 0
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        for chunk in encrypt(key, associated, plain):
            write_all(descriptor, chunk)
            file_digest.update(chunk)
            size += len(chunk)
        os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)  # on a full disk it takes the room that is short
        raise
    finally:
        os.close(descriptor)
    return size, hashlib.sha256(plain).hexdigest(), file_digest.hexdigest()
