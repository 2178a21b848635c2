"""Proofs of single records hold, for those records alone."""

import msgspec
import pytest

from applog import audit
from applog.errors import PositionError
from applog.keeper import work
from applog.keeper.proofs import Position, Proved, prove
from retention.errors import ProofError
from retention.ledger.view import read_ledger
from retention.proof import LedgerProof, RowProof, check_row, check_segment_proof, parse_proof
from retention.store import Store


@pytest.mark.parametrize("text", ["flow/12:345", "flow/00000012:345"])
def test_a_position_is_read(text: str) -> None:
    """With or without the leading zeros."""
    assert Position.parse(text) == Position(dataset="flow", sequence=12, row=345)
    assert str(Position.parse(text)) == "flow/00000012:345"


@pytest.mark.parametrize(
    "text", ["flow", "flow/1", "flow/1:", "flow/-1:0", "../1:0", "flow/1:0 ", "flow/1:x", ""]
)
def test_what_is_no_position_is_refused(text: str) -> None:
    """With the form that is expected in the hint."""
    with pytest.raises(PositionError, match="is not a record's position"):
        Position.parse(text)


def test_a_proof_leads_to_the_checkpoint(store: Store) -> None:
    """From the line to a checkpoint that the store's key signed; another line does not."""
    view = read_ledger(store.root / "ledger")
    key = view.state.key_at(view.checkpoint.size)

    proved = prove(store, view, "flow", 0, [0, 3])

    for one in proved:
        row, ledger = parse_proof(bytes(one.proof), RowProof), parse_proof(bytes(one.ledger), LedgerProof)
        check_segment_proof(row, check_row(one.line, row), ledger, [key])
        with pytest.raises(ProofError):
            check_segment_proof(row, check_row(one.line + " ", row), ledger, [key])
    assert [one.position for one in proved] == ["flow/00000000:0", "flow/00000000:3"]


def test_proofs_keep_their_one_spelling(store: Store) -> None:
    """Within the JSON of an answer they are, byte for byte, what they are alone."""
    [one] = prove(store, read_ledger(store.root / "ledger"), "flow", 0, [3])

    again = msgspec.json.decode(msgspec.json.encode(one), type=Proved)

    assert (bytes(again.proof), bytes(again.ledger)) == (bytes(one.proof), bytes(one.ledger))


def test_a_segment_that_was_sealed_meanwhile_does_no_harm(store: Store) -> None:
    """The ledger was read before; the proof leads to the checkpoint of then."""
    view = read_ledger(store.root / "ledger")
    audit.record(store, audit.Actor.current(), action="test", outcome="success")
    work.seal(store, store.clock())

    [one] = prove(store, view, "audit", 0, [0])

    row = parse_proof(bytes(one.proof), RowProof)
    ledger = parse_proof(bytes(one.ledger), LedgerProof)
    check_segment_proof(row, check_row(one.line, row), ledger, [view.state.key_at(view.checkpoint.size)])
    assert ledger.checkpoint.encode() == view.signed


@pytest.mark.parametrize(
    ("dataset", "sequence", "row"), [("flow", 0, 10**6), ("flow", 9, 0), ("nothing", 0, 0), ("dns", 0, 0)]
)
def test_what_is_not_there_is_refused(store: Store, dataset: str, sequence: int, row: int) -> None:
    """A row, a segment or a dataset that does not exist is the asker's error."""
    with pytest.raises(PositionError):
        prove(store, read_ledger(store.root / "ledger"), dataset, sequence, [row])
