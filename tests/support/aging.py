"""A store that grows old under a test's control: what passes, what its clock says, what time servers say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from retention.dataset import Dataset
from retention.expiry import Expirer
from retention.ledger.entries import Entry, ExpiredEntry, ExpiringEntry, decode_entry
from retention.ledger.log import ENTRIES, Ledger, read_lines
from retention.ledger.state import LedgerState, SealedState
from retention.note import open_checkpoint
from retention.periods import Decision
from retention.records import AUDIT, COVERAGE, Audit, Coverage
from retention.store import Store
from retention.times import day_of
from tests.support.disk import DAY, HOUR, NOON, SimulatedClock

DATASETS = (COVERAGE, AUDIT)
DAYS = {"coverage": 90, "audit": 100}


@dataclass
class Aging:
    """One store, the true time, a clock that may be wrong, and sources that may lie or be silent."""

    root: Path
    now: int = NOON
    """The true time, UTC µs."""
    wrong: int = 0
    """How far the clock is ahead, µs."""
    confirmed: Callable[[], int | None] = lambda: None
    """What the sources say."""
    retention: Mapping[str, int] = field(default_factory=lambda: dict(DAYS))

    def __post_init__(self) -> None:
        """Make the store, or open the one that is there."""
        self.clock = SimulatedClock(self.now + self.wrong)
        made = (self.root / "store.json").exists()
        self.store = (Store.open if made else Store.create)(self.root, self.clock)
        self.trust()

    def trust(self) -> None:
        """Sources that tell the truth."""
        self.confirmed = lambda: self.now

    def lose_sources(self) -> None:
        """No source answers."""
        self.confirmed = lambda: None

    def set_clock(self, wrong: int) -> None:
        """Put the clock that far ahead."""
        self.wrong = wrong
        self.clock.now = self.now + wrong

    def go(self, microseconds: int) -> None:
        """Time passes."""
        self.go_to(self.now + microseconds)

    def go_to(self, moment: int) -> None:
        """Until *moment*."""
        self.now = moment
        self.clock.now = moment + self.wrong

    def write(self, *texts: str, dataset: Dataset = COVERAGE, writer: str = "pen") -> None:
        """One journal file with a row for each of *texts*."""
        self.store.make_keys_ahead()
        with self.store.writer(dataset, writer) as journal:
            journal.append(dataset.batch(self.row(dataset, text) for text in texts))

    def row(self, dataset: Dataset, text: str) -> Coverage | Audit:
        """A row of *dataset* that says *text*."""
        if dataset is AUDIT:
            return Audit(timestamp=self.clock.now, action=text, outcome="success", user_name="somebody")
        return Coverage(timestamp=self.clock.now, source="test", reason=text)

    def seal(self) -> None:
        """Seal what was written until now."""
        self.go(1)
        with self.store.ledger() as ledger:
            sealer = self.store.sealer(ledger, DATASETS, confirmed=self.confirmed)
            sealer.recover()
            for dataset in DATASETS:
                sealer.seal(dataset, self.clock.now)
            sealer.sign_heads()

    def seal_heads(self) -> None:
        """What the keeper does each minute."""
        with self.store.ledger() as ledger:
            self.store.sealer(ledger, DATASETS, confirmed=self.confirmed).sign_heads()

    def store_rows(self, *texts: str, dataset: Dataset = COVERAGE) -> None:
        """Write and seal."""
        self.write(*texts, dataset=dataset)
        self.seal()

    def store_two_of_a_day(self) -> None:
        """Two segments of one day, sealed an hour apart."""
        self.store_rows("morning")
        self.go(HOUR)
        self.store_rows("noon")

    def expirer(self, ledger: Ledger) -> Expirer:
        """What deletes."""
        return Expirer(
            root=self.root,
            datasets=DATASETS,
            ledger=ledger,
            catalogue=self.store.catalogue,
            day_keys=self.store.day_keys,
            clock=self.clock,
            confirmed=self.confirmed,
            retention=self.retention,
        )

    def dry_run(self) -> dict[str, Decision]:
        """Every decision, by segment."""
        with self.store.ledger() as ledger:
            return {one.name: one for one in self.expirer(ledger).dry_run()}

    def expire(self) -> list[str]:
        """Segments that expired now."""
        with self.store.ledger() as ledger:
            return [one.name for one in self.expirer(ledger).expire() if one.expires]

    def recover(self) -> None:
        """What every start does."""
        with self.store.ledger() as ledger:
            self.expirer(ledger).recover()

    def reopened(self) -> "Aging":
        """The same store after a restart."""
        return Aging(self.root, self.now, self.wrong, self.confirmed, self.retention)

    def texts(self, dataset: Dataset = COVERAGE) -> set[str]:
        """What can be read; nothing may be damaged."""
        contents = self.store.read(dataset)
        assert not contents.damages, contents.damages
        column = "event.action" if dataset is AUDIT else "coverage.reason"
        return set(contents.table.column(column).to_pylist())

    def due(self, name: str) -> int:
        """When a segment's retention ends, UTC µs."""
        due = self.dry_run()[name].due
        assert due is not None
        return due

    def state(self, name: str) -> SealedState:
        """What the ledger says of a segment."""
        dataset, _, sequence = name.partition("/")
        with self.store.ledger() as ledger:
            return ledger.state.state_of(dataset, int(sequence))

    def entries(self) -> list[Entry]:
        """The ledger."""
        lines, torn = read_lines(self.root / "ledger" / ENTRIES)
        assert not torn
        return [decode_entry(line, number) for number, line in enumerate(lines)]

    def receipts(self) -> list[tuple[str, str]]:
        """Segment and what was said of it, of every receipt in order."""
        said = []
        for one in self.entries():
            if isinstance(one, ExpiringEntry):
                said.append((f"{one.dataset}/{one.sequence:08d}", f"expiring {one.retention_days}"))
            elif isinstance(one, ExpiredEntry):
                said.append((f"{one.dataset}/{one.sequence:08d}", f"expired {one.day_key}"))
        return said

    def forge(self, entries: Sequence[Entry]) -> None:
        """Append lines to the ledger without any key, as somebody does who may write to the file."""
        with (self.root / "ledger" / ENTRIES).open("ab") as file:
            for entry in entries:
                file.write(msgspec.json.encode(entry) + b"\n")

    def signed(self) -> LedgerState:
        """What the newest signed checkpoint commits to."""
        lines, _ = read_lines(self.root / "ledger" / ENTRIES)
        state = LedgerState()
        state.apply(lines[0])
        checkpoint, _ = open_checkpoint(self.store.last_signed.read_bytes(), state.keys)
        for line in lines[1 : checkpoint.size]:
            state.apply(line)
        return state

    def segment(self, name: str) -> Path:
        """Path of a segment's file."""
        return self.root / "segments" / f"{name}.segment"

    def has_key(self, dataset: Dataset, moment: int) -> bool:
        """Whether the day key of *moment*'s day is there."""
        return self.store.day_keys.has(dataset.name, day_of(moment))


A_YEAR = 365 * DAY
