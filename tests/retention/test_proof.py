"""Row proofs: every row has one that both verifiers take, small, and not a bit of it can be changed."""

import base64
import functools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from retention import proof
from retention.errors import NoteError, ProofError, RetentionError, SegmentAlteredError
from retention.note import VerifierKey, open_checkpoint
from retention.proof import LedgerProof, RowProof, encoded_proof, parse_proof
from tests.support import independent_note, independent_proof
from tests.support.disk import flipped
from tests.support.independent_proof import LEDGER, ROW, verify_row
from tests.support.provable import ProvableStore, rows_of

SEGMENTS: list[dict[str, int]] = [
    {"one": 1},
    {"one": 31},
    {"one": 32},
    {"one": 33},
    {"nearly all": 1000, "few": 3, "ผู้ใช้": 1},
    {f"subject {number}": 1 for number in range(2000)},
    {"many": 33, "two": 2, "some": 5},
]
FEW_OF_MANY = [*range(0, 1004, 67), 31, 32, 33, 1001, 1002, 1003]
MIXED = 6

Check = Callable[..., object]
"""Line, row proof, ledger proof: refused by an exception."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProvableStore]:
    """A store with a segment for each of SEGMENTS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        made = ProvableStore.create(tmp_path_factory.mktemp("proved") / "store")
        for counts in SEGMENTS:
            made.seal(rows_of(counts))
        yield made


@pytest.fixture(scope="module")
def key(store: ProvableStore) -> VerifierKey:
    """The ledger's key."""
    return store.view().state.key


@pytest.fixture(scope="module")
def mixed(store: ProvableStore) -> tuple[str, bytes, bytes]:
    """Line, row proof and ledger proof of row 20 of the subject with 33 rows."""
    opened = store.opened(MIXED)
    found = opened.prove(opened.segment.rows_of(b"source\0\4many")[20:21])
    return found[0][0], encoded_proof(found[0][1]), encoded_proof(opened.to_ledger())


@pytest.fixture(params=["retention", "independent"])
def check(request: pytest.FixtureRequest, key: VerifierKey, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Both verifiers; a note that was verified once is not verified again."""
    if request.param == "independent":
        opened = functools.cache(lambda note: independent_note.open_checkpoint(note, [str(key)]))
        monkeypatch.setattr(independent_proof, "open_checkpoint", lambda note, _: opened(note))
        return lambda line, row, ledger: verify_row(line, row, ledger, str(key))
    known = functools.cache(lambda note: open_checkpoint(note, [key]))
    monkeypatch.setattr(proof, "open_checkpoint", lambda note, _: known(note))
    return lambda line, row, ledger: checked(line, row, ledger, key)


def checked(line: str, row: bytes, ledger: bytes, key: VerifierKey) -> None:
    """The retention code's check, from JSON."""
    parsed = parse_proof(row, RowProof)
    root = proof.check_row(line, parsed)
    proof.check_segment_proof(parsed, root, parse_proof(ledger, LedgerProof), [key])


REFUSED = (RetentionError, ValueError, OverflowError)
"""What both verifiers refuse with; which of them is said by its own test."""


@pytest.mark.parametrize(
    ("sequence", "rows"),
    [
        (0, range(1)),
        (1, range(31)),
        (2, range(32)),
        (3, range(33)),
        (4, FEW_OF_MANY),
        (5, [*range(0, 2000, 101), 1998, 1999]),
        (MIXED, range(40)),
    ],
)
def test_every_row_is_proved(store: ProvableStore, key: VerifierKey, sequence: int, rows: list[int]) -> None:
    """The proof of each row leads from its line to the signed checkpoint for both verifiers; it is small."""
    opened = store.opened(sequence)
    ledger = opened.to_ledger()
    root = bytes.fromhex(opened.sealed.manifest.root)

    found = opened.prove(rows)

    assert [one.row for _, one in found] == list(rows)
    for line, one in found:
        assert proof.check_row(line, one) == root
        assert verify_row(line, encoded_proof(one), None, str(key)) == root
        assert len(encoded_proof(one)) < 2048
        assert len(encoded_proof(one)) + len(encoded_proof(ledger)) < 8192
    proof.check_segment_proof(one, root, ledger, [key])
    verify_row(line, encoded_proof(one), encoded_proof(ledger), str(key))


def test_lines_are_those_of_the_rows(store: ProvableStore) -> None:
    """The lines beside the proofs are the segment's rows, in its order, without line feed."""
    opened = store.opened(MIXED)

    lines = [json.loads(line) for line, _ in opened.prove(range(40))]

    assert [line["event.id"] for line in lines] == opened.segment.table(["event.id"])[0].to_pylist()


@pytest.mark.parametrize("row", [-1, 1, 2**40])
def test_there_is_no_proof_of_no_row(store: ProvableStore, row: int) -> None:
    """A row that the segment does not have is refused, and the rows that it has are named."""
    with pytest.raises(ProofError, match="has rows 0 to 0, not"):
        store.opened(0).prove([row])


def test_altered_rows_have_no_proofs(store: ProvableStore) -> None:
    """Rows that do not give the stored hash of their block are named, and nothing is proved of them."""
    opened = store.opened(4)
    row = opened.segment.rows_of(b"source\0\x0anearly all")[40]
    opened.segment.blocks = opened.segment.blocks ^ 1

    with pytest.raises(SegmentAlteredError) as caught:
        opened.prove([row])

    assert (caught.value.first, caught.value.last) == (row - 8, row + 23)


def flips(value: bytes) -> Iterator[bytes]:
    """*value* with each of its bits flipped in turn."""
    for at in range(len(value)):
        for bit in range(8):
            yield flipped(value, at, 1 << bit)


def altered(value: Any, kind: Any) -> Iterator[Any]:
    """*value* with each of its bits flipped in turn; numbers of any length, texts where they stay text."""
    if isinstance(kind, list):
        for at, of in enumerate(kind):
            yield from ([*value[:at], changed, *value[at + 1 :]] for changed in altered(value[at], of))
    elif kind is int:
        yield from (value ^ 1 << bit for bit in range(70))
        yield -value - 1
    elif kind is bytes:
        yield from (base64.b64encode(one).decode() for one in flips(base64.b64decode(value)))
        yield base64.b64encode(base64.b64decode(value)[:-1]).decode()
        yield base64.b64encode(base64.b64decode(value) + bytes(32)).decode()
    else:
        yield from (one.decode() for one in flips(value.encode()) if one.isascii())


def with_member(data: bytes, name: str, value: Any) -> bytes:
    """The proof *data* with another value of one member, spelled as it should be."""
    changed = {**json.loads(data), name: value}
    return json.dumps(changed, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize("name", [name for name in ROW if name not in ("format", "row")])
def test_no_bit_of_a_row_proof_can_change(mixed: tuple[str, bytes, bytes], check: Check, name: str) -> None:
    """Each bit of each member is refused; ``row`` is no claim that is proved, ``format`` has its own test."""
    line, row, ledger = mixed
    check(line, row, ledger)

    for value in altered(json.loads(row)[name], ROW[name]):
        with pytest.raises(REFUSED):
            check(line, with_member(row, name, value), ledger)


@pytest.mark.parametrize("name", list(LEDGER))
def test_no_bit_of_a_ledger_proof_can_change(
    mixed: tuple[str, bytes, bytes], check: Check, name: str, request: pytest.FixtureRequest
) -> None:
    """Each bit of manifest, heads, paths and checkpoint is refused."""
    line, row, ledger = mixed
    slow = name == "checkpoint" and "independent" in request.node.name  # some ms for each signature

    for value in list(altered(json.loads(ledger)[name], LEDGER[name]))[:: 7 if slow else 1]:
        with pytest.raises(REFUSED):
            check(line, row, with_member(ledger, name, value))


def test_no_bit_of_a_line_can_change(mixed: tuple[str, bytes, bytes], check: Check) -> None:
    """Each bit of the line is refused."""
    line, row, ledger = mixed

    for value in altered(line, str):
        with pytest.raises(REFUSED):
            check(value, row, ledger)


@pytest.mark.parametrize("where", ["rows", "subjects", "dataset"])
def test_sizes_of_the_same_shape_are_refused(store: ProvableStore, check: Check, where: str) -> None:
    """Leaf 0 has one path in trees of 3 and of 4: another size is refused, for it is in what is hashed."""
    opened = store.opened(4)
    row = next(row for row in opened.segment.rows_of(b"source\0\3few"))
    [(line, one)], ledger = opened.prove([row]), encoded_proof(opened.to_ledger())
    size = json.loads(ledger if where == "dataset" else encoded_proof(one))[where][-2]
    check(line, encoded_proof(one), ledger)

    for other in (other for other in range(80) if other != size):
        proofs = {"row": encoded_proof(one), "ledger": ledger}
        which = "ledger" if where == "dataset" else "row"
        value = json.loads(proofs[which])[where]
        proofs[which] = with_member(proofs[which], where, [*value[:-2], other, value[-1]])
        with pytest.raises(REFUSED):
            check(line, **proofs)


def test_proofs_of_others_are_refused(store: ProvableStore, check: Check) -> None:
    """A proof holds for its own row, in its own segment alone."""
    found = [
        (opened.prove(range(1))[0], encoded_proof(opened.to_ledger())) for opened in map(store.opened, (3, 6))
    ]
    ((line, one), ledger), ((other_line, other), other_ledger) = found
    (next_line, next_one) = store.opened(3).prove(range(1, 2))[0]

    check(line, encoded_proof(one), ledger)
    for refused in (
        (next_line, encoded_proof(one), ledger),
        (line, encoded_proof(next_one), ledger),
        (other_line, encoded_proof(one), ledger),
        (line, encoded_proof(one), other_ledger),
        (other_line, encoded_proof(other), ledger),
        (line, with_member(encoded_proof(one), "segment", ["notes", 6]), ledger),
        (line, with_member(encoded_proof(one), "segment", ["notes", 6]), other_ledger),
        (line, with_member(encoded_proof(one), "segment", ["audit", 3]), ledger),
    ):
        with pytest.raises(REFUSED):
            check(*refused)


def test_another_stores_key_is_refused(mixed: tuple[str, bytes, bytes], key: VerifierKey) -> None:
    """The checkpoint must be signed by the key that the verifier holds; the proof brings none."""
    line, row, ledger = mixed
    other = VerifierKey.of(key.name, bytes(32))

    with pytest.raises(NoteError, match="none of the 1 signatures"):
        checked(line, row, ledger, other)
    with pytest.raises(ValueError, match="no signature by a known key"):
        verify_row(line, row, ledger, str(other))
