"""A small store of notes whose journals are sealed under a simulated clock, and proofs of its rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from retention.catalogue import Sealed
from retention.ledger.view import LedgerView, read_ledger
from retention.proof import LedgerProof, Prover, RowProof, prove_segment
from retention.segment.reader import Segment
from retention.store import Store
from tests.support.disk import NOON, NOTES, SECOND, Note, SimulatedClock


def rows_of(counts: dict[str, int], *, apart: int = SECOND) -> pa.RecordBatch:
    """*counts* notes of each subject, in turns, *apart* µs between one and the next."""
    texts = sorted((turn, text) for text, count in counts.items() for turn in range(count))
    return NOTES.batch(
        Note(timestamp=NOON + at * apart, text=text, number=at) for at, (_, text) in enumerate(texts)
    )


@dataclass
class ProvableStore:
    """A store, its clock, and what is done with both."""

    store: Store
    clock: SimulatedClock

    @classmethod
    def create(cls, root: Path) -> "ProvableStore":
        """A new store at noon."""
        clock = SimulatedClock()
        return cls(Store.create(root, clock), clock)

    @property
    def root(self) -> Path:
        """Where it lies."""
        return self.store.root

    def write(self, *batches: pa.RecordBatch, writer: str = "pen") -> None:
        """One journal file with a frame for each of *batches*, a second later than what was before."""
        self.clock.move(SECOND)
        with self.store.writer(NOTES, writer) as journal:
            for batch in batches:
                journal.append(batch)

    def seal(self, *batches: pa.RecordBatch, confirmed: int | None = None) -> list[str]:
        """Write *batches*, if any, and seal what is there; the names of the new segments."""
        if batches:
            self.write(*batches)
        self.clock.move(SECOND)
        with self.store.ledger() as ledger:
            sealer = self.store.sealer(ledger, [NOTES], confirmed=lambda: confirmed)
            sealer.recover()
            return [report.name for report in sealer.seal(NOTES, self.clock())]

    def sealed(self) -> list[Sealed]:
        """Its manifests."""
        self.store.catalogue.refresh()
        return self.store.catalogue.sealed(NOTES.name)

    def view(self) -> LedgerView:
        """The ledger as anybody reads it."""
        return read_ledger(self.root / "ledger")

    def opened(self, sequence: int) -> "Opened":
        """Segment number *sequence*, opened."""
        one = self.sealed()[sequence]
        return Opened(self, self.store.segment(NOTES, one), one)

    def every(self) -> Iterator["Opened"]:
        """Every segment that has a file, opened."""
        for one in self.sealed():
            if one.present:
                yield self.opened(one.manifest.sequence)


@dataclass
class Opened:
    """One segment of a sealed store."""

    within: ProvableStore
    segment: Segment
    sealed: Sealed

    @cached_property
    def prover(self) -> Prover:
        """What makes proofs of its rows."""
        return Prover(self.segment)

    def prove(self, rows: Iterable[int]) -> list[tuple[str, RowProof]]:
        """Line and proof of each of *rows*."""
        return self.prover.prove(rows)

    def to_ledger(self) -> LedgerProof:
        """From its root to the checkpoint."""
        manifests = [one.encoded for one in self.within.sealed()]
        return prove_segment(self.within.view(), manifests, self.sealed.manifest.sequence)
