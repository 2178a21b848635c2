"""Every request that can be made, and a table of those that cannot."""

import json

import pytest

from applog.keeper.protocol import (
    MAX_ROWS,
    FollowRequest,
    OpenRequest,
    ProveRequest,
    Refusal,
    StatusRequest,
    answered,
    authorize,
    described,
    parse,
    refused,
)

LOOK = {"role": "auditor", "purpose": "case 7"}
OPEN = {"ask": "open", "dataset": "flow", **LOOK}


def line(**members: object) -> bytes:
    """A request."""
    return json.dumps(members).encode()


def test_every_request_is_understood() -> None:
    """What stands in it is what is asked."""
    assert parse(line(ask="status")) == StatusRequest()
    assert parse(line(**OPEN, since=1, until=2, name="น้ำ")) == OpenRequest(
        dataset="flow", since=1, until=2, role="auditor", purpose="case 7", name="น้ำ"
    )
    assert parse(line(ask="follow", dataset="lease", position={"dhcp": [3, 4]}, **LOOK)) == FollowRequest(
        dataset="lease", position={"dhcp": (3, 4)}, role="auditor", purpose="case 7"
    )
    assert parse(line(ask="prove", segment=["flow", 12], rows=[1, 2], **LOOK)) == ProveRequest(
        segment=("flow", 12), rows=(1, 2), role="auditor", purpose="case 7"
    )


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{",
        b'"status"',
        b"[" * 60_000,
        line(),
        line(ask="shutdown"),
        line(ask=["status"]),
        line(ask="status", more=1),
        line(ask="open", dataset="flow"),
        line(**{**OPEN, "purpose": ""}),
        line(**{**OPEN, "purpose": "  "}),
        line(**{**OPEN, "purpose": "x" * 1_001}),
        line(**{**OPEN, "purpose": None}),
        line(**{**OPEN, "dataset": ""}),
        line(**{**OPEN, "since": -1}),
        line(**{**OPEN, "since": 1.5}),
        line(**{**OPEN, "until": 2**63}),
        line(**{**OPEN, "until": "now"}),
        line(ask="follow", dataset="flow", position=[1], **LOOK),
        line(ask="follow", dataset="flow", position={"a": [1]}, **LOOK),
        line(ask="follow", dataset="flow", position={"a": [-1, 0]}, **LOOK),
        line(ask="prove", segment=["flow", 1], rows=[], **LOOK),
        line(ask="prove", segment=["flow", 1], rows=[0] * (MAX_ROWS + 1), **LOOK),
        line(ask="prove", segment="flow/1", rows=[0], **LOOK),
        line(ask="prove", segment=["flow", 2**70], rows=[0], **LOOK),
    ],
    ids=lambda bad: repr(bad[:60]),
)
def test_what_is_no_request_is_refused(bad: bytes) -> None:
    """As malformed, with words, whatever it is."""
    with pytest.raises(Refusal) as refusal:
        parse(bad)

    assert refusal.value.word == "malformed"
    assert str(refusal.value)


@pytest.mark.parametrize(
    ("given", "request_line", "word"),
    [
        (None, line(ask="status"), "denied"),
        (None, line(**OPEN), "denied"),
        ("operator", line(ask="status"), None),
        ("operator", line(**OPEN), "denied"),
        ("operator", line(**{**OPEN, "role": "operator"}), "denied"),
        ("operator", line(**{**OPEN, "role": "operator", "dataset": "audit"}), None),
        ("auditor", line(**OPEN), None),
        ("auditor", line(**{**OPEN, "role": "custodian"}), "denied"),
        ("custodian", line(**{**OPEN, "role": "operator"}), "denied"),
        ("custodian", line(**{**OPEN, "role": "root"}), "malformed"),
        ("auditor", line(ask="prove", segment=["flow", 1], rows=[0], **LOOK), "denied"),
        (
            "custodian",
            line(ask="prove", segment=["flow", 1], rows=[0], role="custodian", purpose="x"),
            None,
        ),
    ],
)
def test_what_is_not_allowed_is_denied(given: str | None, request_line: bytes, word: str | None) -> None:
    """By default; a role asks for what it may see, in itself or a narrower one."""
    request = parse(request_line)

    if word is None:
        authorize(request, given)
    else:
        with pytest.raises(Refusal) as refusal:
            authorize(request, given)
        assert refusal.value.word == word


def test_the_audit_record_says_what_was_asked() -> None:
    """The words, the segment and rows, and the role."""
    opened = parse(line(**OPEN))
    proved = parse(line(ask="prove", segment=["flow", 12], rows=[1, 2], **LOOK))

    assert not isinstance(opened, StatusRequest)
    assert not isinstance(proved, StatusRequest)
    assert described(opened) == "open flow as auditor"
    assert described(proved) == "prove flow/00000012:1,2 as auditor"


def test_answers_are_one_line() -> None:
    """Whatever is in them."""
    yes, no = answered({"says": "a\nb"}), refused(Refusal("denied", "a\nb"))

    assert json.loads(yes) == {"ok": True, "says": "a\nb"}
    assert json.loads(no) == {"ok": False, "error": "denied", "says": "a\nb"}
    assert yes.count(b"\n") == no.count(b"\n") == 1
