"""Who did what is written durably, as the system knows them and in a form that is safe to show."""

import os
import pwd
from pathlib import Path

import pytest

from applog import audit
from applog.audit import Actor
from retention.records import AUDIT
from retention.store import Store
from tests.support.command import audits, new_store

ACTOR = Actor(user_id="7", user_name="somchai", claimed_name=None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without a record."""
    return new_store(tmp_path / "store")


def test_the_actor_is_the_systems_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Number and name come from the system, never from the environment."""
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setenv("LOGNAME", "mallory")
    monkeypatch.delenv("SUDO_USER", raising=False)

    actor = Actor.current()

    assert actor.user_id == str(os.getuid())
    assert actor.user_name == pwd.getpwuid(os.getuid()).pw_name
    assert actor.claimed_name is None


@pytest.mark.parametrize(
    ("given", "sudo", "claimed"),
    [("Khun Noi", "", "Khun Noi"), (None, "noi", "noi"), ("Khun Noi", "noi", "Khun Noi"), ("", "", None)],
)
def test_a_claimed_name_stands_beside_the_user(
    monkeypatch: pytest.MonkeyPatch, given: str | None, sudo: str, claimed: str | None
) -> None:
    """--as, else who called sudo, is kept as a claim; the user stays who they are."""
    monkeypatch.setenv("SUDO_USER", sudo)

    actor = Actor.current(given)

    assert (actor.claimed_name or None) == claimed
    assert actor.user_name == pwd.getpwuid(os.getuid()).pw_name


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that the password database does not know is still somebody."""
    monkeypatch.setattr(os, "getuid", lambda: 4_123_456)

    assert Actor.current().user_name == "uid-4123456"


def test_a_record_is_there_when_it_is_written(store: Store) -> None:
    """What was given is in the store, with the time of the store's clock, in order."""
    before = store.clock()

    audit.record(store, ACTOR, action="search", outcome="success", query="host:*", results=3)
    audit.record(store, ACTOR, action="search", outcome="failure", query="(", reason="column 2: no")

    first, second = audits(store)
    assert (first["user.name"], first["user.id"]) == ("somchai", "7")
    assert (first["audit.query"], first["audit.results"]) == ("host:*", 3)
    assert (second["event.outcome"], second["event.reason"]) == ("failure", "column 2: no")
    times = store.read(AUDIT).table["@timestamp"].cast("int64").to_pylist()
    assert before <= times[0] <= times[1] <= store.clock()


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("ครู สมชาย", "ครู สมชาย"),
        ("", None),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb", r"a\x0ab"),
        ("\x9b1A", r"\xc2\x9b1A"),
        ("caf\udce9", r"caf\xe9"),
        ("a\\b", r"a\x5cb"),
    ],
)
def test_what_was_typed_is_safe_to_keep_and_show(store: Store, typed: str, kept: str | None) -> None:
    """Any text a command line can hold is kept: control characters and broken UTF-8 as their bytes."""
    actor = Actor(user_id="7", user_name="somchai", claimed_name=typed)

    audit.record(store, actor, action="search", outcome="success", query=typed)

    (record,) = audits(store)
    assert record.get("audit.query") == kept
    assert record.get("audit.claimed_name") == kept
