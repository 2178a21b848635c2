"""Unsealed rows are counted without a key."""

from applog import audit
from applog.audit import Actor
from applog.keeper.backlog import Backlog
from retention.store import Store


def test_rows_are_counted_as_they_come(store: Store) -> None:
    """Sealed ones do not count; new ones do, also in a file that was counted before."""
    backlog = Backlog(journals=store.root / "journals")
    before = backlog.rows("audit")

    audit.record(store, Actor.current(), action="test", outcome="success")
    audit.record(store, Actor.current(), action="test", outcome="success")

    assert before == 0
    assert backlog.rows("audit") == 2
    assert backlog.rows("audit") == 2
    assert backlog.rows("flow") == 0


def test_a_file_that_cannot_be_read_counts_for_nothing(store: Store) -> None:
    """Damage is said elsewhere, and does not stop the counting."""
    audit.record(store, Actor.current(), action="test", outcome="success")
    path = next((store.root / "journals" / "audit" / "cli").glob("*.journal"))
    path.write_bytes(b"APPLOGJ1")

    assert Backlog(journals=store.root / "journals").rows("audit") == 0
