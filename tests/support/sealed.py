"""Small, real, sealed stores: built by the product itself, under a clock that moves only when told to.

Rules:
    1. Nothing is mocked: writers append, the sealer seals, the verifier verifies.
    2. A built store is copied for each test; an attack happens to the copy.
    3. What is built holds one of everything: several writers, days and segments, an import, a period without
       rows, an open journal with signed heads, a torn end set aside.
"""

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from retention import records
from retention.dataset import Dataset
from retention.encoding import encode
from retention.errors import RetentionError, VerificationFailedError
from retention.ledger.log import Ledger
from retention.records import Audit, Coverage
from retention.sealer import Sealer, SealReport
from retention.store import Store
from retention.verify import Check, Scope, Verifier
from tests.support.disk import DAY, HOUR, NOON, SimulatedClock

AUDIT = dataclasses.replace(records.AUDIT, commit_within_ms=0)
COVERAGE = dataclasses.replace(records.COVERAGE, commit_within_ms=0)
DATASETS = (AUDIT, COVERAGE)
IMPORT = "import"
MIDNIGHT = NOON - NOON % DAY + DAY
"""The midnight behind ``NOON``, UTC µs."""


def looks(*actors: str, at: int = NOON) -> pa.RecordBatch:
    """One row of ``audit`` for each of *actors*."""
    return AUDIT.batch(
        Audit(timestamp=at + number, action="search", outcome="success", user_name=actor)
        for number, actor in enumerate(actors)
    )


def losses(*sources: str, at: int = NOON) -> pa.RecordBatch:
    """One row of ``coverage`` for each of *sources*."""
    return COVERAGE.batch(
        Coverage(timestamp=at + number, end=at + HOUR, source=source, reason="ring-full")
        for number, source in enumerate(sources)
    )


@dataclass
class SealedStore:
    """A store under test."""

    root: Path
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    datasets: Sequence[Dataset] = DATASETS

    def __post_init__(self) -> None:
        """Open it, as a new process does; make it where there is none."""
        made = (self.root / "store.json").exists()
        self.store = Store.open(self.root, self.clock) if made else Store.create(self.root, self.clock)

    def reopened(self) -> "SealedStore":
        """The same store, as a new process finds it."""
        return SealedStore(self.root, self.clock, self.datasets)

    def copied(self, root: Path) -> "SealedStore":
        """A copy at *root*, with a clock of its own."""
        shutil.copytree(self.root, root)
        return SealedStore(root, SimulatedClock(self.clock.now), self.datasets)

    # Writing

    def write(self, dataset: Dataset, writer: str, *frames: pa.RecordBatch) -> None:
        """One journal file with *frames*."""
        with self.store.writer(dataset, writer) as journal:
            for frame in frames:
                journal.append(frame)

    @contextmanager
    def sealing(self) -> Iterator[tuple[Ledger, Sealer]]:
        """The ledger, held, and a sealer that has recovered."""
        with self.store.ledger() as ledger:
            sealer = self.store.sealer(ledger, self.datasets)
            sealer.recover()
            yield ledger, sealer

    def seal_all(self, cut: int | None = None) -> list[SealReport]:
        """Seal what is from before *cut* (now, if not given), and sign heads."""
        moment = self.clock() if cut is None else cut
        with self.sealing() as (_, sealer):
            reports = [report for dataset in self.datasets for report in sealer.seal(dataset, moment)]
            sealer.sign_heads()
        return reports

    def sign_heads(self) -> bytes:
        """Sign where everything stands; the checkpoint."""
        with self.sealing() as (_, sealer):
            sealer.sign_heads()
        return self.lodge()

    # Reading

    def lodge(self) -> bytes:
        """The newest checkpoint, to be kept elsewhere."""
        return (self.root / "ledger" / "checkpoint").read_bytes()

    def checks(self, *, deep: bool = False, anchor: bytes | None = None) -> tuple[list[Check], list[str]]:
        """Every check that was done, and every failure."""
        verifier = Verifier(
            root=self.root,
            created=self.store.created,
            datasets=self.datasets,
            day_keys=self.store.day_keys,
            scope=Scope(deep=deep, anchor=anchor, threads=1),
        )
        done: list[Check] = []
        failures: list[str] = []
        try:
            for check in verifier.checks():
                done.append(check)
                failures += map(str, check.failures)
        except VerificationFailedError:
            pass  # each was in its check
        except RetentionError as error:
            failures.append(str(error))
        return done, failures

    def verify(self, *, deep: bool = False, anchor: bytes | None = None) -> list[str]:
        """What is wrong; nothing, in the undamaged control."""
        return self.checks(deep=deep, anchor=anchor)[1]

    def lines(self) -> Counter[str]:
        """Every line that can be read, sealed or not; damage is not expected."""
        found: Counter[str] = Counter()
        for dataset in self.datasets:
            contents = self.store.read(dataset, deep=True)
            assert not contents.damages, contents.damages
            for batch in contents.table.combine_chunks().to_batches():
                found.update(encode(dataset, batch).to_pylist())
        return found

    # Places

    def segment(self, dataset: Dataset, sequence: int) -> Path:
        """The encrypted file."""
        return self.root / "segments" / dataset.name / f"{sequence:08d}.segment"

    def manifest(self, dataset: Dataset, sequence: int) -> Path:
        """The manifest beside it."""
        return self.segment(dataset, sequence).with_suffix(".manifest")

    def journal(self, dataset: Dataset, writer: str, number: int) -> Path:
        """A journal file."""
        return self.root / "journals" / dataset.name / writer / f"{number:08d}.journal"

    @property
    def entries(self) -> Path:
        """The ledger's entries."""
        return self.root / "ledger" / "entries"

    @property
    def checkpoint(self) -> Path:
        """The published checkpoint."""
        return self.root / "ledger" / "checkpoint"

    @property
    def last_signed(self) -> Path:
        """The newest checkpoint that was signed."""
        return self.store.last_signed


def small_store(root: Path) -> SealedStore:
    """One with everything: see rule 3. Audit has five segments, coverage three; the clock is at its end."""
    built = SealedStore(root)
    first_day(built)
    built.clock.now = MIDNIGHT + 8 * HOUR
    built.seal_all(MIDNIGHT)
    second_day(built)
    built.clock.now = MIDNIGHT + 3 * DAY + HOUR
    built.seal_all(MIDNIGHT + 3 * DAY)
    open_end(built)
    return built


def first_day(built: SealedStore) -> None:
    """Two writers of audit, one of coverage, and an import."""
    built.write(AUDIT, "gate", looks("somchai", "somsri"), looks("malee"))
    built.clock.move(HOUR)
    built.write(AUDIT, "door", looks("somchai", "anong", at=built.clock()))
    built.write(COVERAGE, "gate", losses("eth0", "eth1"))
    built.write(AUDIT, IMPORT, looks("importer"))
    built.clock.move(HOUR)
    built.write(AUDIT, "gate", looks("malee", at=built.clock()), looks("somsri", at=built.clock()))


def second_day(built: SealedStore) -> None:
    """One writer of each; then two days without any row."""
    built.write(AUDIT, "gate", looks("anong", at=built.clock()))
    built.write(COVERAGE, "gate", losses("eth2", at=built.clock()))


def open_end(built: SealedStore) -> None:
    """A journal that is not sealed, its heads signed; a torn end set aside."""
    built.write(AUDIT, "gate", looks("late", at=built.clock()), looks("later", at=built.clock()))
    built.write(AUDIT, "door", looks("torn", at=built.clock()))
    torn = built.journal(AUDIT, "door", 2)
    torn.write_bytes(torn.read_bytes() + b"AJF1 a write that was cut short")
    built.write(AUDIT, "door", looks("behind", at=built.clock()))
    built.sign_heads()
