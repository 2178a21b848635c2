"""Proofs of single records, made where the segment's secret is.

Rules:
    1. A position is ``DATASET/SEGMENT:ROW``; it names a record for ever.
    2. The secret of a segment and the salts of rows that were not asked for stay here.
    3. A row proof goes to the segment's root, the ledger proof from there to the newest checkpoint; a segment
       that is behind the checkpoint has none yet, which is an error.
    4. The ledger is read before the catalogue: segments that it does not know yet do no harm, and one that it
       knows is there. Reading it may have to wait for a sealing, so who asks does it, holding nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from applog.errors import PositionError
from applog.health import DATASETS
from retention.errors import ProofError
from retention.ledger.view import LedgerView
from retention.proof import Prover, encoded_proof, prove_segment
from retention.store import Store

_POSITION = re.compile(r"([a-z0-9][a-z0-9._-]*)/([0-9]{1,8}):([0-9]{1,9})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where a record is."""

    dataset: str
    sequence: int
    row: int

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The position that *text* names.

        Raises:
            PositionError: it names none.
        """
        found = _POSITION.fullmatch(text)
        if found is None:
            raise PositionError(f"{text!r} is not a record's position")
        return cls(dataset=found[1], sequence=int(found[2]), row=int(found[3]))

    def __str__(self) -> str:
        return f"{self.dataset}/{self.sequence:08d}:{self.row}"


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """One record and what shows that it is what was sealed.

    The proofs are the exact bytes of ``encoded_proof``, also within the JSON of this object: read as
    ``msgspec.Raw`` (or cut out of the line) they are what ``parse_proof`` takes.
    """

    position: str
    line: str
    proof: msgspec.Raw
    """Of a ``RowProof``."""
    ledger: msgspec.Raw
    """Of a ``LedgerProof``."""


def prove(
    store: Store, view: LedgerView, dataset_name: str, sequence: int, rows: Sequence[int]
) -> list[Proved]:
    """The records *rows* of a segment with their proofs, which lead to the checkpoint of *view*.

    Raises:
        PositionError: there is no such segment or row, or its file has expired.
        RetentionError: the segment is damaged, or is not covered by a checkpoint yet.
    """
    dataset = next((one for one in DATASETS if one.name == dataset_name), None)
    store.catalogue.refresh()
    known = store.catalogue.sealed(dataset_name)
    if dataset is None or sequence >= len(known):
        raise PositionError(f"there is no segment {dataset_name}/{sequence:08d}")
    sealed = known[sequence]
    if not sealed.present:
        raise PositionError(f"segment {sealed.manifest.name} has no rows, or has expired")
    ledger = msgspec.Raw(encoded_proof(prove_segment(view, [one.encoded for one in known], sequence)))
    segment = store.segment(dataset, sealed)
    try:
        proved = Prover(segment).prove(rows)
    except ProofError as error:
        raise PositionError(str(error)) from error
    finally:
        segment.close()
    return [
        Proved(
            position=str(Position(dataset=dataset_name, sequence=sequence, row=row)),
            line=line,
            proof=msgspec.Raw(encoded_proof(proof)),
            ledger=ledger,
        )
        for row, (line, proof) in zip(rows, proved, strict=True)
    ]
