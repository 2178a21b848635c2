"""What status shows of the keeping, with and without a keeper."""

from applog import audit
from applog.audit import Actor
from applog.keeper.last_verify import LastVerify
from applog.keeper.lock import keeper_lock
from applog.keeper.seen import seen
from retention.store import Store


def test_without_a_keeper_the_store_speaks(store: Store) -> None:
    """What is sealed and what waits, the newest checkpoint, and that nobody keeps it."""
    audit.record(store, Actor.current(), action="test", outcome="success")

    found = seen(store)

    assert found.sealed["flow"] == (12, 1)
    assert found.unsealed["audit"] == 1
    assert found.checkpoint is not None
    assert found.checkpoint <= store.clock()
    assert (found.keeper, found.confirmed, found.damages) == (None, None, ())


def test_a_keeper_that_does_not_answer_is_said(store: Store) -> None:
    """It holds the lock and has no socket."""
    with keeper_lock(store.root):
        found = seen(store)

    assert found.keeper is not None
    assert "cannot be asked" in found.time[0]


def test_damage_is_shown_and_hides_nothing(store: Store) -> None:
    """A broken ledger, a missing manifest, what the night found: each is named."""
    LastVerify(begun=1, ended=2, checks=(), failures=("segment flow/00000000: bad",)).write(store.root)
    (store.root / "ledger" / "checkpoint").write_bytes(b"")
    (store.root / "segments" / "audit" / "00000000.manifest").rename(
        store.root / "segments" / "audit" / "00000001.manifest"
    )

    found = seen(store)

    assert len(found.damages) == 3
    assert any("audit/00000000" in one for one in found.damages)
    assert any("nightly verification: segment flow" in one for one in found.damages)
