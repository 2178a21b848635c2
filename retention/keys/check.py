"""Whether a master key is this store's, told apart from a check file that is missing or damaged.

Rules (FORMAT.md 4):
    1. ``master.check`` holds a digest of the store's id under the master key, so that a wrong key is refused
       at once, and not at the first journal that does not open.
    2. A store of before there were check files has none: a key that opens every private key there is its
       own, and the check is written.
"""

import hashlib
from pathlib import Path

from retention.durable import read_file
from retention.errors import KeyMaterialError
from retention.keys.wrapping import MasterKeySource, making, unwrap, wrapped_files, write_wrapped

_SIZE = 32


def write_check(directory: Path, master: MasterKeySource, store_id: str) -> None:
    """Bind *master* to the store *store_id*, whose keys lie in *directory*."""
    with making(directory / "journal", master) as key:
        write_wrapped(directory / "master.check", _digest(store_id), key)


def check(directory: Path, master: MasterKeySource, store_id: str) -> None:
    """Pass if *master* is the key of the store *store_id*, whose keys lie in *directory*.

    Raises:
        KeyMaterialError: it is another's; the check file is damaged, another store's, or missing although a
            private key does not open; or the master key cannot be read.
    """
    path = directory / "master.check"
    master.read()
    try:
        wrapped = read_file(path)
    except FileNotFoundError:
        _check_by_keys(directory, master)
        write_check(directory, master, store_id)
        return
    except OSError as error:
        raise KeyMaterialError(f"{path}: {error.strerror}") from error
    if len(wrapped) != _SIZE + 8:
        raise KeyMaterialError(f"{path} is damaged: expected {_SIZE + 8} bytes, found {len(wrapped)}")
    try:
        found = unwrap(path, master, _SIZE)
    except KeyMaterialError as error:
        if any(_opens(key, master) for key in wrapped_files(directory) if key != path):
            raise KeyMaterialError(f"{path} is damaged: the master key opens others, but not it") from error
        raise KeyMaterialError(f"the master key {master} is not this store's") from error
    if found != _digest(store_id):
        raise KeyMaterialError(f"the keys are mixed up: {path} is of another store than {store_id}")


def _check_by_keys(directory: Path, master: MasterKeySource) -> None:
    for path in wrapped_files(directory):
        if not _opens(path, master):
            raise KeyMaterialError(
                f"{directory / 'master.check'} is missing, and the master key {master} does not open {path}"
            )


def _opens(path: Path, master: MasterKeySource) -> bool:
    try:
        unwrap(path, master)
    except KeyMaterialError:
        return False
    return True


def _digest(store_id: str) -> bytes:
    return hashlib.sha256(b"applog-store-1" + store_id.encode()).digest()
