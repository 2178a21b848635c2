"""Deletes what ``retention.periods`` says is over, in an order that leaves a receipt.

Rules (FORMAT.md 10.3):
    1. Order: the confirmed time and ``expiring`` in the ledger, signed → file removed → keys shredded →
       ``expired``, signed. Cut short anywhere, ``recover`` finishes it; nothing is entered twice.
    2. What the ledger calls ``expiring`` or ``expired`` is deleted, and its key shredded, only if its floor
       is over by the ledger's own times: a line that somebody else appended deletes nothing.
    3. A day's keys go when no segment of the day is left and no journal that would need them. The manifest
       stays: old exports are checked against its root.
    4. A confirmed time before one that the ledger has is a contradiction, and nothing expires on it.
"""

import datetime as dt
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from retention.catalogue import Catalogue, Sealed
from retention.dataset import Dataset
from retention.durable import sync_directory
from retention.errors import StoreError
from retention.keys import DayKeys
from retention.ledger.entries import Entry, ExpiredEntry, ExpiringEntry
from retention.ledger.heads import heads_entry
from retention.ledger.log import Ledger
from retention.ledger.state import FLOOR_DAYS, SealedState
from retention.merkle import leaf_hash
from retention.periods import RETENTION_DAYS, Decision, days_of, decide
from retention.segment.manifest import Manifest
from retention.shredding import is_past, journal_days
from retention.times import iso

_log = logging.getLogger(__name__)

SLACK_US = 5_000_000
"""By so much a confirmed time may lie before the ledger's newest and still not contradict it: two readings of
time servers may be two seconds apart each, and a clock drifts within the hour."""


class _Found(NamedTuple):
    """A manifest on the disk beside what the ledger says of it."""

    sealed: Sealed
    state: SealedState

    @property
    def manifest(self) -> Manifest:
        return self.sealed.manifest

    @property
    def is_genuine(self) -> bool:
        return leaf_hash(self.sealed.encoded) == self.state.manifest


@dataclass(kw_only=True)
class Expirer:
    """Deletes what is due in one store. Used by one thread, which holds the ledger."""

    root: Path
    datasets: Sequence[Dataset]
    """Only segments of these are looked at."""
    ledger: Ledger
    catalogue: Catalogue
    day_keys: DayKeys
    clock: Callable[[], int]
    confirmed: Callable[[], int | None]
    """The time as confirmed within the hour (FORMAT.md 10.1), UTC µs, or None."""
    retention: Mapping[str, int] = field(default_factory=dict)
    """Configured days by dataset; for others ``RETENTION_DAYS`` and ``DEFAULT_DAYS``."""

    def __post_init__(self) -> None:
        """Refuse a retention below the floor, or of a misspelt dataset, which would be kept for less."""
        known = {dataset.name for dataset in self.datasets}
        for name in self.retention:
            days_of(name, self.retention)
            if name not in known and name not in RETENTION_DAYS:
                raise StoreError(f"retention of {name}: expected one of the datasets {sorted(known)}")

    def dry_run(self) -> list[Decision]:
        """What ``expire`` would decide now; changes nothing."""
        return self._decisions(self._time())

    def expire(self) -> list[Decision]:
        """Finish what was begun, then delete what is due; every decision.

        Raises:
            StoreError: the disk refused a deletion; the next call or ``recover`` finishes it.
            JournalWriteError: the ledger could not be written. Nothing is deleted that it does not say.
        """
        time = self._time()
        self.recover()
        decisions = self._decisions(time)
        due = {decision.name for decision in decisions if decision.expires}
        entering = [one for one in self._unexpired() if one.manifest.name in due and not one.state.expiring]
        if time is not None and entering:
            # The time goes in front, so that what the ledger says expires is due by the ledger's own times.
            heads = self._heads(time)
            self._sign([heads, *(self._expiring(one.manifest, time, one.state) for one in entering)], time)
            self._finish(time)
        return decisions

    def recover(self) -> None:
        """Finish what was begun and never said to be finished; at every start, and safe at any time.

        Raises:
            StoreError: the disk refused.
        """
        self.catalogue.refresh()
        self._remove_returned()
        if self._pending():
            self._sign([], None)  # ``expiring`` may be written, but not signed yet
            self._finish(None)
        self._shred_left()

    def _time(self) -> int | None:
        """The confirmed time, unless the ledger knows a later one: then one of them was a lie."""
        confirmed, newest = self.confirmed(), self.ledger.state.confirmed
        if confirmed is None or newest is None or confirmed >= newest:
            return confirmed
        if newest - confirmed <= SLACK_US:
            return newest
        _log.warning("nothing expires: confirmed %s, but %s before", iso(confirmed), iso(newest))
        return None

    def _decisions(self, time: int | None) -> list[Decision]:
        self.catalogue.refresh()
        return [self._decision(one, time) for one in self._unexpired()]

    def _decision(self, found: _Found, time: int | None) -> Decision:
        manifest = found.manifest
        decision = decide(manifest, found.state, days_of(manifest.dataset, self.retention), time)
        if found.is_genuine:
            return decision
        return Decision(
            name=manifest.name,
            expires=False,
            why="kept: its manifest is not the one that was sealed",
            due=None,
            rows=decision.rows,
            size=decision.size,
        )

    def _unexpired(self) -> Iterator[_Found]:
        """Segments with rows that the ledger has sealed and not expired, a missing file or not."""
        for one in self._known():
            if one.manifest.count and not one.state.expired:
                yield one

    def _known(self) -> Iterator[_Found]:
        for dataset in self.datasets:
            states = self.ledger.state.sealed.get(dataset.name, [])
            for sealed, state in zip(self.catalogue.sealed(dataset.name), states, strict=False):
                yield _Found(sealed, state)

    def _pending(self) -> list[_Found]:
        """What is ``expiring``."""
        return [one for one in self._unexpired() if one.state.expiring and self._is_over(one)]

    def _is_over(self, found: _Found) -> bool:
        """Whether the ledger may call it expiring: by the floor, for the configuration may have changed."""
        newest = self.ledger.state.confirmed
        if found.is_genuine and decide(found.manifest, found.state, FLOOR_DAYS, newest).expires:
            return True
        _log.error("%s is kept: the ledger says that it expires, but it is not due", found.manifest.name)
        return False

    def _expiring(self, manifest: Manifest, time: int, state: SealedState) -> ExpiringEntry:
        return ExpiringEntry(
            time=iso(self.clock()),
            dataset=manifest.dataset,
            sequence=manifest.sequence,
            manifest=state.manifest.hex(),
            confirmed=iso(time),
            retention_days=days_of(manifest.dataset, self.retention),
        )

    def _heads(self, time: int | None) -> Entry:
        return heads_entry(self.root / "journals", self.ledger.state, self.catalogue, self.clock(), time)

    def _sign(self, entries: Sequence[Entry], time: int | None) -> None:
        """Enter *entries* and heads, and sign."""
        self.ledger.append([*entries, self._heads(time)])
        self.ledger.sign()

    def _finish(self, time: int | None) -> None:
        """Delete what is ``expiring``, and say so. Cut short anywhere, the same is done again."""
        pending = self._pending()
        self._remove([one.sealed.path for one in pending])
        last = {(one.manifest.dataset, one.manifest.day or ""): one.manifest for one in pending}
        days = self._days()
        shredded = {
            manifest.name
            for (dataset, day), manifest in last.items()
            if self._shred(dataset, dt.date.fromisoformat(day), days[dataset, day])
        }
        self._sign([self._expired(one.manifest, shredded) for one in pending], time)
        self.catalogue.refresh()

    def _expired(self, manifest: Manifest, shredded: set[str]) -> ExpiredEntry:
        return ExpiredEntry(
            time=iso(self.clock()),
            dataset=manifest.dataset,
            sequence=manifest.sequence,
            day_key="shredded" if manifest.name in shredded else "kept",
        )

    def _remove(self, paths: Iterable[Path]) -> None:
        """Remove segment files durably; gone already is done."""
        paths = list(paths)
        try:
            for path in paths:
                path.unlink(missing_ok=True)
            for directory in sorted({path.parent for path in paths}):
                sync_directory(directory)
        except OSError as error:
            raise StoreError(f"segments cannot be deleted: {error.strerror}: {error.filename}") from error

    def _remove_returned(self) -> None:
        """Files that came back after they expired, from a back-up or because the disk forgot."""
        returned = [
            one.sealed
            for one in self._known()
            if one.state.expired and one.sealed.present and self._is_over(one)
        ]
        for sealed in returned:
            _log.warning("%s is there again although it expired: removed", sealed.path)
        self._remove(sealed.path for sealed in returned)

    def _shred_left(self) -> None:
        """Shred keys that were kept when their last segment went, because a journal needed them then."""
        days = self._days()
        for dataset, day in self.day_keys.listed():
            if self._shred(dataset, day, days.get((dataset, day.isoformat()), [])):
                _log.info("the day key of %s for %s is shredded", dataset, day)

    def _days(self) -> dict[tuple[str, str], list[_Found]]:
        """Segments by dataset and UTC day."""
        days: dict[tuple[str, str], list[_Found]] = {}
        for one in self._known():
            if one.manifest.day is not None:
                days.setdefault((one.manifest.dataset, one.manifest.day), []).append(one)
        return days

    def _shred(self, dataset: str, day: dt.date, segments: Sequence[_Found]) -> bool:
        """Shred the keys of a day with *segments* unless they are needed; whether they are gone."""
        if not segments or not all(one.state.expiring and self._is_over(one) for one in segments):
            return False
        if self.day_keys.has(dataset, day) and self._is_needed(dataset, day):
            return False
        try:
            self.day_keys.shred(dataset, day)
        except OSError as error:
            raise StoreError(
                f"day key of {dataset} for {day} cannot be shredded: {error.strerror}"
            ) from error
        return True

    def _is_needed(self, dataset: str, day: dt.date) -> bool:
        """Whether a journal may be sealed under the keys of a day yet."""
        newest = self.ledger.state.confirmed
        if newest is None or not is_past(day, self.clock(), newest):
            return True
        journals = journal_days((self.root / "journals" / dataset).glob("*"))
        return journals is None or day in journals
