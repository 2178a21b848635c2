"""What the keeper hands out: the right segments, rows and proofs, each look recorded first."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from applog import audit
from applog.audit import Actor
from applog.keeper.answers import Answers, rows_in
from applog.keeper.protocol import Refusal, parse
from applog.keeper.register import Register
from retention.errors import JournalWriteError
from retention.store import Store
from retention.times import from_iso
from tests.support.command import audits

USER = 54_321
LOOK = {"role": "custodian", "purpose": "case 7"}


@pytest.fixture
def register(store: Store) -> Register:
    """The keeper's audit journal."""
    return Register(store=store)


@pytest.fixture
def answers(store: Store, register: Register) -> Answers:
    """What answers."""
    return Answers(store=Store.open(store.root), register=register, status=lambda: {"well": True})


def asked(answers: Answers, given: str | None = "custodian", **members: object) -> dict[str, object]:
    """The answer to a request, as it goes out."""
    return answers.answer(parse(json.dumps(members).encode()), given, USER)


def looks(store: Store) -> list[dict[str, object]]:
    """The audit records of the keeper."""
    return [one for one in audits(store) if one.get("user.id") == str(USER)]


def test_status_is_no_look(answers: Answers, store: Store) -> None:
    """It is answered to whoever has a role, and not recorded."""
    assert asked(answers, "operator", ask="status") == {"well": True}
    assert looks(store) == []


def test_open_gives_the_key_of_each_file(answers: Answers, store: Store) -> None:
    """Each opens its file and nothing else; path and exact manifest come with it."""
    answer = asked(answers, ask="open", dataset="flow", name="somchai", **LOOK)

    segments = answer["segments"]
    assert isinstance(segments, list)
    assert len(segments) == 1
    data = Path(segments[0]["path"]).read_bytes()
    plain = AESGCM(segments[0]["key"]).decrypt(data[33:40] + bytes(4) + b"\1", data[40:], None)
    assert plain.endswith(b"APPLOGS1")
    assert segments[0]["manifest"].encode() == Path(segments[0]["path"]).with_suffix(".manifest").read_bytes()
    look = looks(store)[0]
    assert look["event.action"] == "open"
    assert look["event.outcome"] == "success"
    assert look["event.reason"] == "case 7"
    assert look["audit.query"] == "open flow as custodian"
    assert look["audit.claimed_name"] == "somchai"
    assert look["user.name"] == f"uid-{USER}"
    assert look["audit.results"] == 1


def test_open_gives_what_meets_the_range(answers: Answers) -> None:
    """Segments without a record in it stay closed; the ends are [since, until)."""
    segment = asked(answers, ask="open", dataset="flow", **LOOK)["segments"][0]  # type: ignore[index]
    store = answers.store
    found = store.catalogue.sealed("flow")[0].manifest
    assert found.first is not None
    first, last = from_iso(found.first), from_iso(found.last or "")

    def count(**range_: int) -> int:
        return len(asked(answers, ask="open", dataset="flow", **range_, **LOOK)["segments"])  # type: ignore[arg-type]

    assert segment
    assert (count(since=last), count(since=last + 1)) == (1, 0)
    assert (count(until=first + 1), count(until=first)) == (1, 0)


def test_a_segment_that_cannot_be_opened_is_named(answers: Answers, store: Store) -> None:
    """Its day key is gone; that is damage, and no reason to say nothing."""
    for path in (store.root / "keys" / "day" / "flow").iterdir():
        path.unlink()

    answer = asked(answers, ask="open", dataset="flow", **LOOK)

    assert answer["segments"] == []
    assert "flow/00000000" in str(answer["damages"])


def test_follow_goes_on_where_it_stopped(answers: Answers, store: Store) -> None:
    """Every row of the open journals once; what is sealed already is said to be."""
    first = asked(answers, ask="follow", dataset="audit", **LOOK)
    audit.record(store, Actor.current(), action="later", outcome="success")
    second = asked(answers, ask="follow", dataset="audit", position=first["position"], **LOOK)

    assert first["sealed"]["cli"][0] > 0  # type: ignore[index]
    assert list(rows_in(str(first["rows"]))) == []
    actions = pa.Table.from_batches(rows_in(str(second["rows"])))["event.action"].to_pylist()
    assert sorted(actions) == ["follow", "later"]
    assert second["more"] is False
    assert second["damages"] == []


def test_follow_is_bounded(answers: Answers, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than fits into an answer comes with the next one, none twice."""
    for number in range(5):
        audit.record(store, Actor.current(), action=f"a{number}", outcome="success")
    monkeypatch.setattr("applog.keeper.answers.FOLLOW_ROWS", 2)
    position: object = {}
    seen: list[str] = []
    for _ in range(4):
        answer = asked(answers, ask="follow", dataset="audit", position=position, **LOOK)
        position = answer["position"]
        for batch in rows_in(str(answer["rows"])):
            seen += batch.column("event.action").to_pylist()

    assert [one for one in seen if one != "follow"] == [f"a{number}" for number in range(5)]


def test_prove_answers_with_proofs(answers: Answers, store: Store) -> None:
    """Made here, where the secret is; how many is in the record."""
    answer = asked(answers, ask="prove", segment=["flow", 0], rows=[0, 1], **LOOK)

    assert [one.position for one in answer["proofs"]] == ["flow/00000000:0", "flow/00000000:1"]  # type: ignore[attr-defined]
    assert looks(store)[0]["audit.query"] == "prove flow/00000000:0,1 as custodian"


@pytest.mark.parametrize(
    ("given", "members", "word"),
    [
        ("operator", {"ask": "open", "dataset": "flow"}, "denied"),
        ("custodian", {"ask": "open", "dataset": "nothing"}, "unknown"),
        ("custodian", {"ask": "follow", "dataset": "../flow"}, "unknown"),
        ("custodian", {"ask": "prove", "segment": ["flow", 9], "rows": [0]}, "failed"),
        ("custodian", {"ask": "prove", "segment": ["flow", 0], "rows": [10**9]}, "failed"),
    ],
)
def test_a_look_that_fails_is_recorded_too(
    answers: Answers, store: Store, given: str, members: dict[str, object], word: str
) -> None:
    """With why, behind the purpose that was given."""
    with pytest.raises(Refusal) as refusal:
        asked(answers, given, **members, **LOOK)

    assert refusal.value.word == word
    look = looks(store)[0]
    assert look["event.outcome"] == "failure"
    assert str(look["event.reason"]).startswith("case 7 (")


def test_strangers_fill_no_journal(answers: Answers, store: Store) -> None:
    """Who has no role at all is denied, and not recorded: he could fill the disk with it."""
    with pytest.raises(Refusal, match="no role"):
        asked(answers, None, ask="open", dataset="flow", **LOOK)

    assert looks(store) == []


def test_a_look_that_cannot_be_recorded_is_not_answered(
    answers: Answers, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: no key leaves."""

    def full(*_: object, **__: object) -> None:
        raise JournalWriteError("No space left on device")

    monkeypatch.setattr(register.store, "writer", full)

    with pytest.raises(Refusal, match="cannot be recorded, so it is not answered: No space left"):
        asked(answers, ask="open", dataset="flow", **LOOK)
