"""The ledger as anybody reads it, without a key."""

from pathlib import Path

import pytest

from retention.errors import LedgerError, NoteError
from retention.ledger.view import read_ledger
from tests.support.attacks import ledger_lines, sign_lines
from tests.support.disk import put
from tests.support.sealed import SealedStore


@pytest.fixture
def made(tmp_path: Path) -> SealedStore:
    """A new store whose ledger has its key and two heads."""
    built = SealedStore(tmp_path / "store")
    built.sign_heads()
    return built


def test_what_is_signed(made: SealedStore) -> None:
    """All entries, the newest checkpoint, and the heads that end it; no key is read."""
    (made.root / "keys" / "master.key").unlink()

    view = read_ledger(made.root / "ledger")

    assert list(view.lines) == ledger_lines(made)
    assert (view.checkpoint.size, view.state.size, view.unsigned, view.torn) == (3, 3, 0, b"")
    assert view.heads == view.state.last


def test_what_nobody_signed_does_not_count(made: SealedStore) -> None:
    """Entries behind the checkpoint, sense or nonsense, are counted and not applied."""
    with made.entries.open("ab") as entries:
        entries.write(ledger_lines(made)[-1] + b"\nnonsense\ntorn")

    view = read_ledger(made.root / "ledger")

    assert (view.unsigned, view.torn, view.state.size) == (2, b"torn", 3)


@pytest.mark.parametrize("name", ["entries", "checkpoint", "lock"])
def test_a_missing_part_is_named(made: SealedStore, name: str) -> None:
    """Which file it is, and why it cannot be read."""
    (made.root / "ledger" / name).unlink()

    with pytest.raises(LedgerError, match=f"No such file or directory: .*{name}"):
        read_ledger(made.root / "ledger")


def test_no_entries(made: SealedStore) -> None:
    """An empty ledger is none."""
    put(made.entries, b"")

    with pytest.raises(LedgerError, match="no entries"):
        read_ledger(made.root / "ledger")


def test_a_checkpoint_that_does_not_end_with_heads(made: SealedStore) -> None:
    """Signed by the right key, and refused: it says nothing of the trees."""
    sign_lines(made, ledger_lines(made)[:1])

    with pytest.raises(LedgerError, match="does not end with heads"):
        read_ledger(made.root / "ledger")


@pytest.mark.parametrize("signed", [b"", b"\n\n", b"text\n\n"])
def test_a_checkpoint_that_is_none(made: SealedStore, signed: bytes) -> None:
    """Refused as a note."""
    put(made.checkpoint, signed)

    with pytest.raises(NoteError):
        read_ledger(made.root / "ledger")
