"""`applog keys` and `init --passphrase`: what others need is shown, and keys are exchanged without loss."""

from pathlib import Path

import pytest

from applog.errors import FileAccessError
from retention.ledger.view import read_ledger
from retention.note import open_checkpoint
from retention.store import Store
from tests.support.command import applog, quickly, sealed_store

PASSPHRASE = "correct horse battery staple"  # noqa: S105  of a test


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with sealed records."""
    return sealed_store(tmp_path / "store")


def test_the_keys_are_shown(store: Store) -> None:
    """What others need: fingerprint, verifier key, checkpoint; as a QR code on demand."""
    view = read_ledger(store.root / "ledger")

    plain, coded = quickly(store.root, "keys", "show"), quickly(store.root, "keys", "show", "--qr")

    assert str(view.state.key) in plain.out
    assert view.signed.decode() in plain.out
    assert "█" in coded.out
    assert "█" not in plain.out


def test_the_signing_key_is_exchanged(store: Store) -> None:
    """The new one signs, the old one vouches for it, and it is said what to do now."""
    before = read_ledger(store.root / "ledger")

    done = quickly(store.root, "keys", "rotate-signing", "--yes")

    after = read_ledger(store.root / "ledger")
    assert done.code == 0
    assert str(after.state.key) in done.out
    assert "back up" in done.out
    assert before.state.keys == after.state.keys[:-1]
    assert len(open_checkpoint(after.signed, after.state.keys)[1].signed_by) == 2
    assert quickly(store.root, "verify", "--deep").code == 0


def test_nothing_is_exchanged_unless_it_is_confirmed(store: Store) -> None:
    """No terminal and no --yes: nothing happens."""
    before = (store.root / "keys" / "master.key").read_bytes()

    done = [
        applog(store.root, "keys", verb) for verb in ("rotate-signing", "rotate-master", "set-passphrase")
    ]

    assert [one.code for one in done] == [130] * 3
    assert (store.root / "keys" / "master.key").read_bytes() == before
    assert len(read_ledger(store.root / "ledger").state.keys) == 1


def test_the_master_key_is_exchanged(store: Store) -> None:
    """Everything still opens, and the old key nothing."""
    path = store.root / "keys" / "master.key"
    before = path.read_bytes()

    done = quickly(store.root, "keys", "rotate-master", "--yes")
    new = path.read_bytes()
    well = quickly(store.root, "verify", "--deep")
    path.write_bytes(before)
    old = quickly(store.root, "verify", "--deep")

    assert (done.code, well.code, old.code) == (0, 0, 4)
    assert new != before
    assert "destroy older back-ups" in done.out


def test_a_passphrase_is_set_and_changed(store: Store, tmp_path: Path) -> None:
    """From files; the environment names the present one, and without it nothing opens."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(f"{PASSPHRASE}\n")
    second.write_text("another long passphrase\n")
    for path in (first, second):
        path.chmod(0o600)

    set_ = quickly(store.root, "keys", "set-passphrase", "--yes", "--new", str(first))
    changed = quickly(
        store.root,
        *("keys", "set-passphrase", "--yes", "--new", str(second)),
        APPLOG_PASSPHRASE_FILE=str(first),
    )
    opens = quickly(store.root, "verify", "--deep", APPLOG_PASSPHRASE_FILE=str(second))
    without = quickly(store.root, "verify", "--deep")

    assert (set_.code, changed.code, opens.code) == (0, 0, 0), set_.err + changed.err + opens.err
    assert without.code == 4
    assert "APPLOG_PASSPHRASE_FILE" in without.err
    assert not (store.root / "keys" / "master.key").exists()
    assert PASSPHRASE not in set_.out + set_.err + changed.out + changed.err


def test_a_store_begins_with_a_passphrase(tmp_path: Path) -> None:
    """From the file that the environment names; a missing one, and one that is too short, are refused."""
    path, short = tmp_path / "passphrase", tmp_path / "short"
    path.write_text(f"{PASSPHRASE}\n")
    short.write_text("short\n")
    for one in (path, short):
        one.chmod(0o600)

    made = quickly(tmp_path / "data", "init", "--passphrase", APPLOG_PASSPHRASE_FILE=str(path))
    missing = quickly(tmp_path / "b", "init", "--passphrase", APPLOG_PASSPHRASE_FILE=str(tmp_path / "none"))
    refused = quickly(tmp_path / "c", "init", "--passphrase", APPLOG_PASSPHRASE_FILE=str(short))

    assert made.code == 0, made.err
    assert "keep the passphrase apart" in made.out
    assert (tmp_path / "data" / "keys" / "master.passphrase").exists()
    assert missing.code == FileAccessError.exit_code
    assert refused.code == 4
    assert not (tmp_path / "c" / "store.json").exists()
