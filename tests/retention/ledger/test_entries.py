"""Entries of the ledger as lines."""

import json

import pytest

from retention.errors import LedgerError
from retention.ledger.entries import (
    Entry,
    ExpiredEntry,
    ExpiringEntry,
    HeadsEntry,
    KeyEntry,
    SealedEntry,
    decode_entry,
    encode_entry,
)

TIME = "2026-03-01T12:00:00.000000Z"
ENTRIES: tuple[Entry, ...] = (
    KeyEntry(time=TIME, action="signing", key="name+id+key", store="ab"),
    KeyEntry(time=TIME, action="rotated", old="a", key="b", signatures=("c", "d")),
    KeyEntry(time=TIME, action="vrf", dataset="audit", day="2026-03-01", public="ef"),
    SealedEntry(time=TIME, dataset="audit", sequence=0, manifest="ab"),
    HeadsEntry(time=TIME, confirmed=None, datasets={"audit": (1, "ab")}, journals=(("a", "w", 1, 2, "c"),)),
    ExpiringEntry(time=TIME, dataset="audit", sequence=0, manifest="ab", confirmed=TIME, retention_days=90),
    ExpiredEntry(time=TIME, dataset="audit", sequence=0, day_key="kept"),
)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda one: type(one).__name__)
def test_an_entry_comes_back(entry: Entry) -> None:
    """From one compact line, ``type`` and ``time`` first, without what is absent."""
    line = encode_entry(entry)

    assert decode_entry(line, 0) == entry
    assert list(json.loads(line))[:2] == ["type", "time"]
    assert json.dumps(json.loads(line), separators=(",", ":")).encode() == line


def test_the_types() -> None:
    """Spelled as FORMAT.md 8.1 has them."""
    types = {json.loads(encode_entry(entry))["type"] for entry in ENTRIES}

    assert types == {"key", "sealed", "heads", "expiring", "expired"}


def test_unconfirmed_is_said() -> None:
    """A time that nobody confirmed is null, not absent."""
    assert b'"confirmed":null' in encode_entry(ENTRIES[4])


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b'{"type":"hold","time":"x"}',
        b'{"type":"sealed","time":"x","dataset":"a","sequence":0,"manifest":"ab","more":1}',
        b'{"type":"sealed","time":"x","dataset":"a","sequence":"0","manifest":"ab"}',
        b'{"type":"sealed","time":"x","dataset":"a","sequence":0}',
        b'{"type":"sealed","time":"\xff","dataset":"a","sequence":0,"manifest":"ab"}',
    ],
)
def test_what_is_unknown_is_refused(line: bytes) -> None:
    """A newer ledger is not half understood; the entry's number is named."""
    with pytest.raises(LedgerError, match="ledger entry 7: "):
        decode_entry(line, 7)
