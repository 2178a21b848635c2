"""What the tests of keys share: a master key, and the promise that no key is ever shown."""

import base64
from pathlib import Path

import pytest

from retention.keys import FileMasterKey
from tests.support.keyring import Held


@pytest.fixture
def master(tmp_path: Path) -> FileMasterKey:
    """A new master key in ``keys/master.key``."""
    (tmp_path / "keys").mkdir(mode=0o700)
    key = FileMasterKey(tmp_path / "keys" / "master.key")
    key.create()
    return key


@pytest.fixture
def keys(tmp_path: Path, master: FileMasterKey) -> Path:
    """The directory ``keys`` of a store, with its master key."""
    assert master.path.parent == tmp_path / "keys"
    return tmp_path / "keys"


@pytest.fixture
def other() -> Held:
    """The master key of another store."""
    return Held(base64.b64decode("b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMDE="))
