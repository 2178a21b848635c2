"""What the keeper does to a store, job by job."""

import pytest

from applog import audit
from applog.audit import Actor
from applog.health import DATASETS
from applog.keeper import work
from retention.errors import SealingRefusedError
from retention.journal.writer import CUT
from retention.ledger.view import read_ledger
from retention.records import AUDIT, COVERAGE
from retention.store import Store
from tests.support.disk import DAY, NOON
from tests.support.sealed import losses


def test_sealing_says_what_it_did(store: Store) -> None:
    """Segments with rows and size; then there is nothing left."""
    audit.record(store, Actor.current(), action="test", outcome="success")

    sealing = work.seal(store, store.clock())
    again = work.seal(store, store.clock())

    assert [(one.name, one.rows) for one in sealing.reports] == [("audit/00000001", 1)]
    assert sealing.is_complete
    assert again.reports == ()
    assert read_ledger(store.root / "ledger").unsigned == 0


def test_only_the_named_datasets_are_sealed(store: Store) -> None:
    """The others wait for their turn."""
    audit.record(store, Actor.current(), action="test", outcome="success")

    assert work.seal(store, store.clock(), ["flow"]).reports == ()


def test_an_open_journal_waits_and_is_named(store: Store) -> None:
    """Its writer may still add rows from before the cut."""
    with store.writer(AUDIT, "capture") as writer:
        writer.append(AUDIT.batch([audit.entry(NOON, Actor.current(), action="x", outcome="success")]))
        running = work.running_writers(store)
        sealing = work.seal(store, store.clock())

    assert running == ["audit/capture"]
    assert not sealing.is_complete
    assert sealing.waiting == ("audit: capture still writes to a journal from before the cut",)
    assert work.running_writers(store) == []


def test_a_damaged_journal_does_not_keep_the_others_open(store: Store) -> None:
    """It is refused and named; the other datasets are sealed."""
    with store.writer(COVERAGE, "cli") as writer:
        writer.append(losses("eth0"))
        writer.append(losses("eth0"))
    path = next((store.root / "journals" / "coverage" / "cli").glob("*.journal"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    audit.record(store, Actor.current(), action="test", outcome="success")

    sealing = work.seal(store, store.clock())

    assert [one.name for one in sealing.reports] == ["audit/00000001"]
    assert [one.dataset for one in sealing.refusals] == ["coverage"]
    with pytest.raises(SealingRefusedError, match="coverage is not sealed") as error:
        sealing.check()
    assert error.value.exit_code == 3


def test_a_cut_is_named_to_every_writer(store: Store) -> None:
    """As FORMAT.md 3.5 says, for the datasets that have journals."""
    work.name_cut(store, DATASETS, 123)

    assert (store.root / "journals" / "flow" / CUT).read_text() == "123"


def test_heads_are_signed_when_they_are_news(store: Store) -> None:
    """New rows are; nothing is not; a confirmed time is, once."""
    audit.record(store, Actor.current(), action="test", outcome="success")

    signed = [work.sign_heads(store, None), work.sign_heads(store, None)]
    confirmed = [work.sign_heads(store, NOON), work.sign_heads(store, NOON + 1)]

    assert signed == [True, False]
    assert confirmed == [True, False]
    assert read_ledger(store.root / "ledger").state.confirmed == NOON


def test_verification_is_words(store: Store) -> None:
    """What was checked, and nothing wrong; a flipped byte is, with the segment's name."""
    well = work.verify(store)
    path = store.root / "segments" / "flow" / "00000000.segment"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    broken = work.verify(store)

    assert well.succeeded
    assert len(well.checks) == 7
    assert not broken.succeeded
    assert any("flow/00000000" in one for one in broken.failures)


def test_a_ledger_that_does_not_hold_is_a_failure_of_the_verification(store: Store) -> None:
    """Not of the job."""
    (store.root / "ledger" / "entries").write_bytes(b"")

    found = work.verify(store)

    assert not found.succeeded
    assert found.checks == ()


def test_what_is_due_is_deleted_and_nothing_else(store: Store) -> None:
    """At a confirmed time behind its days; the dry run changes nothing."""
    days = {"flow": 90, "lease": 200}
    sealed_at = store.clock()
    work.sign_heads(store, sealed_at)
    later = sealed_at + 100 * DAY

    early = work.expire(store, days, lambda: sealed_at)
    dry = work.would_expire(store, days, lambda: later)
    there = (store.root / "segments" / "flow" / "00000000.segment").exists()
    done = work.expire(store, days, lambda: later)

    assert not any(one.expires for one in early)
    assert there
    assert [one.name for one in dry if one.expires] == ["flow/00000000"]
    assert [one.name for one in done if one.expires] == ["flow/00000000"]
    assert not (store.root / "segments" / "flow" / "00000000.segment").exists()
    assert work.verify(store).succeeded


def test_recover_leaves_a_signed_ledger(store: Store) -> None:
    """Whatever an earlier keeper left; on a whole store it does nothing."""
    before = read_ledger(store.root / "ledger").checkpoint.size

    work.recover(store)

    assert read_ledger(store.root / "ledger").checkpoint.size == before
