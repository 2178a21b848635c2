"""The ledger on the disk."""

from pathlib import Path

import pytest

from retention.errors import JournalWriteError, LedgerError, StoreError
from retention.ledger.entries import HeadsEntry, SealedEntry
from retention.ledger.log import Ledger, read_lines
from retention.ledger.view import read_ledger
from retention.times import iso
from tests.support.disk import NOON, Disk, put
from tests.support.sealed import SealedStore

HASH = "ab" * 32


@pytest.fixture
def made(tmp_path: Path) -> SealedStore:
    """A new store: its ledger has its key and heads."""
    return SealedStore(tmp_path / "store")


def heads(ledger: Ledger) -> HeadsEntry:
    """The next ``heads``."""
    trees = {name: (tree.size, tree.root().hex()) for name, tree in ledger.state.trees.items()}
    return HeadsEntry(time=iso(NOON), confirmed=None, datasets=trees, journals=())


def sealed(sequence: int) -> SealedEntry:
    """An entry for a manifest."""
    return SealedEntry(time=iso(NOON), dataset="audit", sequence=sequence, manifest=HASH)


def test_signed_entries_are_there_for_everybody(made: SealedStore) -> None:
    """What was appended and signed is what a reader without keys finds."""
    with made.store.ledger() as ledger:
        ledger.append([sealed(0)])
        ledger.append([heads(ledger)])
        signed = ledger.sign()

    view = read_ledger(made.root / "ledger")

    assert view.signed == signed == made.last_signed.read_bytes()
    assert len(view.lines) == view.checkpoint.size == 4
    assert view.unsigned == 0
    assert view.state.sealed["audit"][0].manifest.hex() == HASH


def test_only_heads_are_signed(made: SealedStore) -> None:
    """A checkpoint always ends with heads: sizes of the trees are taken from there."""
    with made.store.ledger() as ledger:
        ledger.append([sealed(0)])
        with pytest.raises(LedgerError, match="behind heads only"):
            ledger.sign()


@pytest.mark.parametrize("torn", [b"", b'{"type":"sea'])
def test_what_was_not_signed_is_set_aside(made: SealedStore, torn: bytes) -> None:
    """Whole or torn, it is kept beside the ledger and cut at the next opening."""
    before = made.entries.read_bytes()
    with made.store.ledger() as ledger:
        ledger.append([sealed(0)])
    with made.entries.open("ab") as entries:
        entries.write(torn)
    behind = made.entries.read_bytes()[len(before) :]

    with made.reopened().store.ledger() as ledger:
        assert "audit" not in ledger.state.sealed

    assert made.entries.read_bytes() == before
    assert (made.root / "ledger" / f"entries.tail-{len(before)}").read_bytes() == behind


def test_a_contradiction_is_not_written(made: SealedStore) -> None:
    """An entry that does not follow leaves the file as it is, and ends this ledger."""
    before = made.entries.read_bytes()

    with made.store.ledger() as ledger:
        with pytest.raises(LedgerError, match="expected segment 0, found 1"):
            ledger.append([sealed(1)])
        with pytest.raises(JournalWriteError, match="could not be written before"):
            ledger.append([sealed(0)])

    assert made.entries.read_bytes() == before


def test_a_failed_write_ends_it(made: SealedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is appended or signed behind a failed write; the next opening finds out what arrived."""
    with made.store.ledger() as ledger, monkeypatch.context() as patch:
        disk = Disk(patch)
        disk.fail(0, "partial", times=1)
        with pytest.raises(JournalWriteError, match="Input/output"):
            ledger.append([sealed(0)])
        disk.repair()
        with pytest.raises(LedgerError):
            ledger.sign()

    made.sign_heads()
    assert made.verify() == []


def test_one_process_at_a_time(made: SealedStore) -> None:
    """A second opening waits, and then says who is in its way."""
    with made.store.ledger(), pytest.raises(StoreError, match="another process has been sealing"):
        made.reopened().store.ledger(wait_seconds=0)


def test_a_ledger_replaced_between_two_openings(made: SealedStore) -> None:
    """A process that read the ledger before notices another file in its place."""
    made.sign_heads()
    put(made.entries.with_name("other"), made.entries.read_bytes())
    made.entries.with_name("other").rename(made.entries)

    with pytest.raises(LedgerError, match="was replaced or cut since this process read it"):
        made.store.ledger()


def test_a_ledger_that_went(made: SealedStore) -> None:
    """None is made anew where one was signed."""
    made.entries.unlink()

    with pytest.raises(LedgerError, match="is missing"):
        made.reopened().store.ledger()


def test_a_checkpoint_that_was_not_published(made: SealedStore) -> None:
    """A crash between the signer's memory and the public name: the next opening publishes it."""
    older = made.lodge()
    newest = made.sign_heads()
    put(made.checkpoint, older)

    with made.reopened().store.ledger():
        pass

    assert made.lodge() == newest


def test_a_rotation_is_signed_by_both(made: SealedStore) -> None:
    """The checkpoint behind a rotation carries both keys' signatures, later ones the new key's alone."""
    with made.store.ledger() as ledger:
        ledger.rotate_signing_key(NOON)
        ledger.append([heads(ledger)])
        both = ledger.sign()
        ledger.append([heads(ledger)])
        alone = ledger.sign()

    assert both.count("—".encode()) == 2
    assert alone.count("—".encode()) == 1
    assert made.verify(anchor=both) == []


def test_lines_and_what_is_torn(tmp_path: Path) -> None:
    """Whole lines from any byte on, and what stands behind the last line feed."""
    path = tmp_path / "entries"
    path.write_bytes(b"one\ntwo\nthr")

    assert read_lines(path) == ([b"one", b"two"], b"thr")
    assert read_lines(path, 4) == ([b"two"], b"thr")
