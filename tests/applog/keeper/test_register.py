"""The keeper's own audit journal."""

import pytest

from applog.audit import Actor
from applog.keeper.register import Register
from retention.errors import JournalWriteError
from retention.store import Store
from tests.support.command import audits


def test_records_go_into_one_file(store: Store) -> None:
    """However many, they cost one file and one lock."""
    register = Register(store=store)

    for _ in range(3):
        register.record(Actor.of(7), action="open", outcome="success")
    register.close()

    assert [one["user.name"] for one in audits(store) if one["event.action"] == "open"] == [
        Actor.of(7).user_name
    ] * 3
    assert len(list((store.root / "journals" / "audit" / "keeper").glob("*.journal"))) == 1


def test_it_goes_on_after_a_failure(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The failed look is refused; the next one gets a new journal file."""
    register = Register(store=store)
    register.record(Actor.of(7), action="first", outcome="success")
    writer = register._writer
    assert writer is not None

    def full(_: object) -> None:
        raise JournalWriteError("full")

    monkeypatch.setattr(writer, "append", full)
    with pytest.raises(JournalWriteError):
        register.record(Actor.of(7), action="lost", outcome="success")
    register.record(Actor.of(7), action="second", outcome="success")
    register.close()

    actions = [one["event.action"] for one in audits(store)]
    assert actions[-2:] == ["first", "second"]


def test_a_late_failure_leaves_the_next_file_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread whose writer failed does not close the one that another thread has begun since."""
    register = Register(store=store)
    register.record(Actor.of(7), action="first", outcome="success")
    writer = register._writer
    assert writer is not None

    def fails_late(_: object) -> None:
        register.close()
        register.record(Actor.of(7), action="other", outcome="success")
        raise JournalWriteError("full")

    monkeypatch.setattr(writer, "append", fails_late)
    with pytest.raises(JournalWriteError):
        register.record(Actor.of(7), action="lost", outcome="success")
    still = register._writer
    register.close()

    assert still not in (None, writer)
    assert [one["event.action"] for one in audits(store)][-2:] == ["first", "other"]
