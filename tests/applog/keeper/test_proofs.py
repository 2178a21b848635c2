"""Proofs of single records hold, for those records alone."""

import pytest

from applog.errors import PositionError
from applog.keeper.proofs import Position, prove
from retention.errors import ProofError
from retention.ledger.view import read_ledger
from retention.proof import check_row, check_segment_proof
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
    proved = prove(store, "flow", 0, [0, 3])
    keys = read_ledger(store.root / "ledger").state.keys

    for one in proved:
        check_segment_proof(one.proof, check_row(one.line, one.proof), one.ledger, keys)
    with pytest.raises(ProofError):
        check_segment_proof(
            proved[0].proof, check_row(proved[0].line + " ", proved[0].proof), proved[0].ledger, keys
        )
    assert [one.position for one in proved] == ["flow/00000000:0", "flow/00000000:3"]


@pytest.mark.parametrize(
    ("dataset", "sequence", "row"), [("flow", 0, 10**6), ("flow", 9, 0), ("nothing", 0, 0), ("dns", 0, 0)]
)
def test_what_is_not_there_is_refused(store: Store, dataset: str, sequence: int, row: int) -> None:
    """A row, a segment or a dataset that does not exist is the asker's error."""
    with pytest.raises(PositionError):
        prove(store, dataset, sequence, [row])
