"""The check file: a wrong master key is refused at once, and told apart from a damaged or missing check."""

import os
import shutil
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from retention.errors import KeyMaterialError
from retention.keys import FileMasterKey, check, write_check
from tests.support.disk import flipped, put
from tests.support.keyring import STORE, Held, make_keys, master_of, said, shown

pytestmark = pytest.mark.usefixtures("quick_sync")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The keys of a store, with one of each sort."""
    make_keys(tmp_path / "store", "file", monkeypatch)
    return tmp_path / "store"


def test_the_stores_own_key_passes(store: Path) -> None:
    """40 bytes as FORMAT.md 4 says them, for their owner alone; checking changes no byte."""
    path = store / "master.check"
    before = path.read_bytes()

    check(store, master_of(store), STORE)

    digest = sha256(b"applog-store-1" + STORE.encode()).digest()
    assert aes_key_unwrap(master_of(store).read(), before) == digest
    assert path.read_bytes() == before
    assert (len(before), path.stat().st_mode & 0o777) == (40, 0o600)


def test_another_stores_key_is_refused(store: Path, other: Held) -> None:
    """A master key from elsewhere is named as not this store's; no key is in the message."""
    path = store / "master.key"
    path.unlink()
    FileMasterKey(path).create()

    with pytest.raises(KeyMaterialError, match=f"the master key {path} is not this store's") as caught:
        check(store, master_of(store), STORE)
    with pytest.raises(KeyMaterialError, match="is not this store's"):
        check(store, other, STORE)

    assert not shown(master_of(store).read(), said(caught.value))


def test_another_stores_keys_are_refused(store: Path) -> None:
    """A whole directory of keys that fit each other but belong to another store is noticed by its id."""
    with pytest.raises(
        KeyMaterialError, match=f"mixed up: .*master.check is of another store than {'00' * 16}"
    ):
        check(store, master_of(store), "00" * 16)


def test_every_flipped_byte_is_named_as_damage(store: Path) -> None:
    """The key opens others, so it is the check that is damaged, not the key that is wrong."""
    path = store / "master.check"
    whole = path.read_bytes()

    for at in range(len(whole)):
        put(path, flipped(whole, at))
        with pytest.raises(KeyMaterialError, match="is damaged: the master key opens others, but not it"):
            check(store, master_of(store), STORE)

    put(path, whole)
    check(store, master_of(store), STORE)


@pytest.mark.parametrize("size", [0, 39, 41, 48])
def test_another_size_is_named_as_damage(store: Path, size: int) -> None:
    """A cut or extended check is damage, whatever the key."""
    path = store / "master.check"
    put(path, (path.read_bytes() + bytes(8))[:size])

    with pytest.raises(KeyMaterialError, match=f"is damaged: expected 40 bytes, found {size}"):
        check(store, master_of(store), STORE)


def test_an_unreadable_check_is_an_error_of_ours(store: Path) -> None:
    """What is no file comes out in words, not as the system's exception."""
    (store / "master.check").unlink()
    (store / "master.check").mkdir()

    with pytest.raises(KeyMaterialError, match=r"master\.check: not a regular file"):
        check(store, master_of(store), STORE)


def test_an_older_store_gets_its_check(store: Path) -> None:
    """Without a check, a key that opens every private key is the store's, and is bound to it from then on."""
    (store / "master.check").unlink()

    check(store, master_of(store), STORE)

    check(store, master_of(store), STORE)
    with pytest.raises(KeyMaterialError, match="another store"):
        check(store, master_of(store), "00" * 16)


def test_a_missing_check_with_a_wrong_key_is_refused(store: Path, other: Held) -> None:
    """One private key that does not open is enough: it is named, and no check is written."""
    (store / "master.check").unlink()
    odd = store / "signing" / "00000000.key"
    shutil.copy(next((store / "signing").glob("*.key")), odd)
    put(odd, flipped(odd.read_bytes(), 0))

    for master in (master_of(store), other):
        with pytest.raises(KeyMaterialError, match=r"master\.check is missing, and .* does not open .*\.key"):
            check(store, master, STORE)

    assert not (store / "master.check").exists()


def test_a_key_that_cannot_be_read_is_that(store: Path) -> None:
    """A missing master key is not called wrong, nor the check damaged."""
    (store / "master.key").unlink()

    with pytest.raises(KeyMaterialError, match="no master key"):
        check(store, master_of(store), STORE)


def test_both_keys_pass_during_a_rotation(store: Path) -> None:
    """The check lies under the old key or the new one, and either is this store's."""
    coming = FileMasterKey(store / "master.key.next")
    coming.create()
    check(store, master_of(store), STORE)

    write_check(store, coming, STORE)

    check(store, master_of(store), STORE)
    assert not [name for name in os.listdir(store) if name.endswith(".tmp")]  # noqa: PTH208
