"""Wrapped files: one way in, one way out, and one lock for whoever changes them."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retention.errors import KeyMaterialError
from retention.keys.wrapping import MasterKeySource, held, making, unwrap, wrapped_files, write_wrapped
from tests.support.keyring import Held, make_keys, secrets

pytestmark = pytest.mark.usefixtures("quick_sync")

OLD, NEW = bytes([1] * 32), bytes([2] * 32)


def test_what_was_wrapped_comes_out(tmp_path: Path) -> None:
    """The secret as it was, from a file of mode 0600 that does not hold it in clear."""
    secret = bytes(range(32))

    write_wrapped(tmp_path / "key", secret, OLD)

    assert unwrap(tmp_path / "key", Held(OLD), 32) == secret
    assert secret not in (tmp_path / "key").read_bytes()
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_rotation_that_ends_in_between_is_no_error(tmp_path: Path) -> None:
    """File read before, master key after the end of a rotation: both are read once more."""
    path = tmp_path / "key"
    write_wrapped(path, bytes(32), OLD)

    class Overtaken(MasterKeySource):
        def read(self) -> bytes:
            write_wrapped(path, bytes(32), NEW)
            return NEW

    assert unwrap(path, Overtaken(), 32) == bytes(32)


def test_every_candidate_is_tried(tmp_path: Path) -> None:
    """During a rotation the second key opens what the first does not."""

    class Both(MasterKeySource):
        def read(self) -> bytes:
            return NEW

        def candidates(self) -> Iterator[bytes]:
            yield from (NEW, OLD)

    write_wrapped(tmp_path / "key", bytes(64), OLD)

    assert unwrap(tmp_path / "key", Both(), 64) == bytes(64)
    with pytest.raises(KeyMaterialError, match="does not open it"):
        unwrap(tmp_path / "key", Held(NEW), 64)


def test_the_wrapped_files_are_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies under the master key is found: what is left out would be lost by a rotation."""
    make_keys(tmp_path / "keys", "file", monkeypatch)
    plain = {"master.key", "lock"}

    found = wrapped_files(tmp_path / "keys")

    every = {path for path in (tmp_path / "keys").rglob("*") if path.is_file()}
    assert {path for path in every if path.suffix != ".pub" and path.name not in plain} == set(found)
    assert len(found) == len(set(found)) == 5
    assert {path.stat().st_mode & 0o777 for path in found} == {0o600}
    directories = [tmp_path / "keys", *(path for path in (tmp_path / "keys").rglob("*") if path.is_dir())]
    assert {path.stat().st_mode & 0o777 for path in directories} == {0o700}


def test_one_at_a_time(tmp_path: Path) -> None:
    """Who holds the lock is alone; it is free again after an error."""
    inside: list[int] = []
    seen: list[int] = []

    def work() -> None:
        with held(tmp_path):
            inside.append(1)
            time.sleep(0.005)
            seen.append(len(inside))
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        raise ZeroDivisionError

    with held(tmp_path):
        assert seen == [1] * 8


def test_the_key_is_read_under_the_lock(tmp_path: Path) -> None:
    """A key that a rotation replaced while one waited is not used any more."""
    current = Held(OLD)
    started = threading.Event()
    used: list[bytes] = []

    def make() -> None:
        started.set()
        with making(tmp_path, current) as key:
            used.append(key)

    with held(tmp_path):
        thread = threading.Thread(target=make)
        thread.start()
        started.wait()
        time.sleep(0.05)
        current.key = NEW
    thread.join()

    assert used == [NEW]


def test_without_a_master_key_nothing_is_made(tmp_path: Path) -> None:
    """The refusal comes before the lock and its directory."""

    class Missing(MasterKeySource):
        def read(self) -> bytes:
            raise KeyMaterialError("no master key")

    with pytest.raises(KeyMaterialError), making(tmp_path / "journal", Missing()):
        raise AssertionError

    assert not (tmp_path / "journal").exists()


def test_secrets_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The helper that other tests compare with opens each sort of file, and refuses what does not open."""
    make_keys(tmp_path / "keys", "passphrase", monkeypatch)

    with pytest.raises(KeyMaterialError):
        secrets(tmp_path / "keys", Held(OLD))
