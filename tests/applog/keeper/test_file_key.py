"""The key that is handed out opens one file, without our code, and nothing else."""

import datetime as dt

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from applog.keeper.file_key import file_key
from retention.catalogue import Sealed
from retention.errors import VaultDamagedError
from retention.store import Store


def sealed_of(store: Store, dataset: str) -> tuple[Sealed, bytes]:
    """The first segment of *dataset*, and its file's key."""
    store.catalogue.refresh()
    sealed = store.catalogue.sealed(dataset)[0]
    day = dt.date.fromisoformat(sealed.manifest.day or "")
    return sealed, file_key(sealed, store.day_keys.open(dataset, day).key)


def test_it_is_the_files_own_key(store: Store) -> None:
    """AES-256-GCM with it opens the file's only chunk, as FORMAT.md 6 says."""
    sealed, key = sealed_of(store, "flow")
    data = sealed.path.read_bytes()
    assert len(data) < 65_536, "one chunk"

    plain = AESGCM(key).decrypt(data[33:40] + bytes(4) + b"\1", data[40:], None)

    assert plain.endswith(b"APPLOGS1")
    assert plain.startswith(b"PAR1")


def test_it_opens_no_other_file(store: Store) -> None:
    """Not even with the other file's nonce."""
    _, key = sealed_of(store, "flow")
    other, _ = sealed_of(store, "audit")
    data = other.path.read_bytes()

    with pytest.raises(InvalidTag):
        AESGCM(key).decrypt(data[33:40] + bytes(4) + b"\1", data[40:], None)


def test_a_file_that_is_none_is_named(store: Store) -> None:
    """Cut to nothing, it has no key."""
    sealed, _ = sealed_of(store, "flow")
    sealed.path.write_bytes(b"")

    with pytest.raises(VaultDamagedError, match=r"00000000\.segment"):
        sealed_of(store, "flow")
