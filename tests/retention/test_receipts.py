"""What was sealed and what expired is what the signed ledger says, read without waiting and only when new."""

import fcntl
from pathlib import Path

import pytest

from retention import receipts
from retention.ledger.view import LedgerView, read_ledger
from retention.receipts import receipts_of
from retention.store import Store
from tests.support.aging import Aging
from tests.support.disk import DAY


@pytest.fixture
def aged(tmp_path: Path) -> Aging:
    """A segment that expired, the time without rows behind it, and a segment that did not."""
    made = Aging(tmp_path / "store")
    made.store_rows("old")
    made.go(91 * DAY)
    made.store_rows("new")
    made.expire()
    return made


def test_the_ledger_says_what_expired(aged: Aging) -> None:
    """The receipt is of one segment; a sequence that the ledger does not have yet has none."""
    said = receipts_of(aged.store.root, "coverage")

    assert [said.has_expired(sequence) for sequence in range(4)] == [True, False, False, False]
    assert len(said.states) == 3
    assert said.damages == ()
    assert said.contradictions(aged.store.catalogue.sealed("coverage")) == ()
    assert receipts_of(aged.store.root, "flow").states == ()


def test_nobody_waits_for_a_sealing(aged: Aging) -> None:
    """While another holds the ledger, what is published is read."""
    with (aged.root / "ledger" / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

        said = receipts_of(aged.store.root, "coverage")

    assert len(said.states) == 3


def test_what_did_not_change_is_not_read_again(aged: Aging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for any number of searches, and once more when something was signed."""
    reads: list[Path] = []

    def counted(directory: Path, *, wait: bool) -> LedgerView:
        reads.append(directory)
        return read_ledger(directory, wait=wait)

    monkeypatch.setattr(receipts, "read_ledger", counted)
    for _ in range(3):
        receipts_of(aged.store.root, "coverage")
        receipts_of(Store.open(aged.root).root, "audit")
    once = len(reads)
    aged.store_rows("newest")

    said = receipts_of(aged.store.root, "coverage")

    assert (once, len(reads), len(said.states)) == (1, 2, 4)


@pytest.mark.parametrize("name", ["entries", "checkpoint"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise"])
def test_a_damaged_ledger_is_said(aged: Aging, name: str, damage: str) -> None:
    """Whatever is wrong with it, also after it was read whole: one damage, and nothing has expired."""
    receipts_of(aged.store.root, "coverage")
    path = aged.root / "ledger" / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "noise": b"\xff\n" * 9}[damage])

    said = receipts_of(aged.store.root, "coverage")

    assert len(said.damages) == 1
    assert str(said.damages[0]).startswith("the ledger, which says what was sealed and what has expired: ")
    assert not said.has_expired(0)


def test_a_store_whose_making_was_cut_short_has_nothing_sealed(tmp_path: Path) -> None:
    """No ledger, no signature, no segment: nothing is missing. With a signature, the ledger is."""
    store = Store.create(tmp_path / "store")
    for path in (store.root / "ledger").iterdir():
        path.unlink()

    signed = receipts_of(store.root, "flow")
    store.last_signed.unlink()
    never = receipts_of(store.root, "flow")

    assert len(signed.damages) == 1
    assert (never.states, never.damages) == ((), ())
