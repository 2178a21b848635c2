"""The written form of row proofs: one way to write each, and what is not so written is refused."""

import base64
import functools
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from retention import proof
from retention.errors import ProofError, RetentionError
from retention.note import VerifierKey
from retention.proof import (
    LedgerProof,
    RowProof,
    check_row,
    check_segment_proof,
    encoded_proof,
    parse_proof,
)
from tests.support import independent_note
from tests.support.disk import flipped
from tests.support.independent_proof import verify_row
from tests.support.provable import ProvableStore, rows_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvableStore]:
    """A store with a small segment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        made = ProvableStore.create(tmp_path_factory.mktemp("proved") / "store")
        made.seal(rows_of({"many": 33, "two": 2, "some": 5}))
        made.seal(rows_of({"one": 1}))
        yield made


@pytest.fixture(scope="module")
def key(store: ProvableStore) -> VerifierKey:
    """The ledger's key."""
    return store.view().state.key


@pytest.fixture(scope="module")
def made(store: ProvableStore) -> tuple[str, RowProof, LedgerProof]:
    """A line, its proof and the segment's."""
    opened = store.opened(0)
    [(line, row)] = opened.prove(opened.segment.rows_of(b"source\0\4many")[20:21])
    return line, row, opened.to_ledger()


def decoded(row: bytes) -> RowProof:
    """The retention code's reading of a row proof."""
    return parse_proof(row, RowProof)


def test_a_row_proof_is_written_as_specified(made: tuple[str, RowProof, LedgerProof]) -> None:
    """Members are those of FORMAT.md 9, in that order: the format too, so that a later one is known."""
    _, row, ledger = made

    assert list(json.loads(encoded_proof(row))) == [
        *("format", "segment", "row", "salt", "time", "rows", "tag", "subjects")
    ]
    assert list(json.loads(encoded_proof(ledger))) == ["manifest", "dataset", "heads", "ledger", "checkpoint"]


def test_another_format_is_refused(made: tuple[str, RowProof, LedgerProof], key: VerifierKey) -> None:
    """A proof of a later format is not half understood."""
    line, row, _ = made
    later = encoded_proof(row).replace(b'{"format":1,', b'{"format":2,')

    with pytest.raises(ValueError, match="format"):
        verify_row(line, later, None, str(key))
    with pytest.raises(ProofError, match="format"):
        check_row(line, decoded(later))


def bad_forms(row: bytes) -> dict[str, bytes]:
    """Row proofs that are not written as they should be."""
    salt = json.loads(row)["salt"].encode()
    padded, spare = salt.rstrip(b"="), salt[:-3] + chr(salt[-3] + 1).encode() + b"=="
    return {
        "unknown": row[:-1] + b',"more":1}',
        "missing": row.replace(b'"row":', b'"rou":'),
        "twice": row[:-1] + b',"row":3}',
        "text-for-number": row.replace(b'["notes",0]', b'["notes","0"]'),
        "fraction": row.replace(b'["notes",0]', b'["notes",0.0]'),
        "true": row.replace(b'["notes",0]', b'["notes",false]'),
        "short-list": row.replace(b'["notes",0]', b'["notes"]'),
        "null": row.replace(b'["notes",0]', b"null"),
        "list": b"[" + row + b"]",
        "two": row + row,
        "cut": row[:-1],
        "nothing": b"",
        "space": row.replace(b'"row":', b'"row": '),
        "line-feed": row + b"\n",
        "other-order": row.replace(b'{"format":1,', b"{").replace(b"}", b',"format":1}'),
        "escaped-member": row.replace(b'"tag"', b'"t\\u0061g"'),
        "escaped-text": row.replace(b"notes", b"not\\u0065s"),
        "minus-zero": row.replace(b'["notes",0]', b'["notes",-0]'),
        "huge-number": row.replace(b'["notes",0]', b'["notes",' + b"9" * 5000 + b"]"),
        "byte-order-mark": b"\xef\xbb\xbf" + row,
        "not-utf-8": row.replace(b"notes", b"note\xff"),
        "base64-unpadded": row.replace(salt, padded),
        "base64-url": row.replace(salt, b"-_-_" + salt[4:]),
        "base64-space": row.replace(salt, b" " + salt[1:]),
        "base64-spare-bits": row.replace(salt, spare),
        "salt-of-15": row.replace(salt, base64.b64encode(bytes(15))),
        "half-a-hash": row.replace(b'==","time"', b'==","time"').replace(b'"tag":"', b'"tag":"AAAA'),
    }


@pytest.mark.parametrize("form", list(bad_forms(b'{"salt":"AAAA"}')))
def test_bad_forms_are_refused(made: tuple[str, RowProof, LedgerProof], key: VerifierKey, form: str) -> None:
    """A proof in another form is refused by both, even if it could be understood."""
    line, row, _ = made
    bad = bad_forms(encoded_proof(row))[form]
    assert bad != encoded_proof(row)

    with pytest.raises(ValueError, match="row proof"):
        verify_row(line, bad, None, str(key))
    with pytest.raises(ProofError):
        check_row(line, decoded(bad))


def survivors(row: RowProof, check: Any, refusal: type[Exception]) -> list[str]:
    """The written *row* with one bit flipped, wherever *check* takes it; ``row`` is a place, not a claim."""
    data, found = encoded_proof(row), []
    number = re.search(rb'"row":\d+', data)
    assert number is not None
    for at in (at for at in range(len(data)) if not number.start() + 6 <= at < number.end()):
        for bit in range(8):
            changed = flipped(data, at, 1 << bit)
            try:
                check(changed)
            except refusal:
                continue
            found.append(changed.decode())
    return found


def test_no_bit_of_a_written_proof_can_change(
    made: tuple[str, RowProof, LedgerProof], key: VerifierKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each bit of the written row proof is refused by the independent verifier."""
    line, row, ledger = made
    known = encoded_proof(ledger)
    monkeypatch.setattr(independent_note, "verifies", functools.cache(independent_note.verifies))

    assert survivors(row, lambda changed: verify_row(line, changed, known, str(key)), ValueError) == []


def test_no_bit_of_a_written_proof_can_change_for_us(
    made: tuple[str, RowProof, LedgerProof], key: VerifierKey
) -> None:
    """Each bit of the written row proof is refused by the retention code."""
    line, row, ledger = made

    def check(changed: bytes) -> None:
        check_segment_proof(decoded(changed), check_row(line, decoded(changed)), ledger, [key])

    assert survivors(row, check, RetentionError) == []


def bad_claims(line: str, row: RowProof) -> dict[str, tuple[str, RowProof]]:
    """Lines and proofs that somebody made up."""

    def changed(**members: Any) -> RowProof:
        return msgspec.structs.replace(row, **members)

    return {
        "time-beyond-years": (line, changed(time=10**20)),
        "time-negative": (line, changed(time=-(10**20))),
        "before-1970": ('{"@timestamp":"1969-12-31T23:59:59.999999Z"}', changed(time=-1)),
        "huge-count": (line, changed(rows=(0, 1 << 64, bytes(32 * 64)))),
        "huge-index": (line, changed(rows=(1 << 80, 1 << 81, bytes(32)))),
        "negative-index": (line, changed(subjects=(-1, 3, bytes(64)))),
        "half-a-hash": (line, changed(subjects=(0, 3, bytes(48)))),
        "no-line": ("", row),
        "half-a-character": (line[:-1] + "\ud800}", row),
        "short-tag": (line, changed(tag=bytes(31))),
    }


NO_ROW = RowProof(segment=("", 0), row=0, salt=b"", time=0, rows=(0, 1, b""), tag=b"", subjects=(0, 1, b""))


@pytest.mark.parametrize("claim", list(bad_claims("", NO_ROW)))
def test_bad_claims_are_refused_as_proofs(made: tuple[str, RowProof, LedgerProof], claim: str) -> None:
    """Whatever somebody writes into a proof is refused with an error of ours, not Python's."""
    line, row, _ = made

    with pytest.raises(ProofError):
        check_row(*bad_claims(line, row)[claim])


@pytest.mark.parametrize("name", ["manifest", "heads", "checkpoint"])
def test_half_a_character_is_refused(
    made: tuple[str, RowProof, LedgerProof], key: VerifierKey, name: str
) -> None:
    """A text that is no UTF-8 is refused with an error of ours."""
    line, row, ledger = made
    changed = msgspec.structs.replace(ledger, **{name: getattr(ledger, name) + "\ud800"})

    with pytest.raises(RetentionError):
        check_segment_proof(row, check_row(line, row), changed, [key])


def test_heads_that_are_no_hashes_are_refused(
    made: tuple[str, RowProof, LedgerProof], key: VerifierKey
) -> None:
    """Heads that nobody signed are refused with an error of ours, whatever stands in them."""
    line, row, ledger = made
    root = check_row(line, row)
    heads = json.loads(ledger.heads)
    heads["datasets"]["notes"][1] = "no hash"

    with pytest.raises(RetentionError):
        check_segment_proof(row, root, msgspec.structs.replace(ledger, heads=json.dumps(heads)), [key])


@pytest.mark.parametrize("sequence", [-1, 2])
def test_there_is_no_proof_of_no_segment(store: ProvableStore, sequence: int) -> None:
    """A segment that the checkpoint does not cover is refused with an error of ours."""
    manifests = [one.encoded for one in store.sealed()]

    with pytest.raises(ProofError):
        proof.prove_segment(store.view(), manifests, sequence)
