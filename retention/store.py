"""The data directory: where everything lies, and the one way to open it.

Rules:
    1. A directory becomes a store once, by ``create``; opening another directory is refused.
    2. ``journals/ segments/ ledger/ keys/ cache/``; ``cache/`` can be deleted.
    3. Whoever can read the master key opens the store directly; everybody else asks a process that can.
    4. What is read is one moment's: sealed segments, then the journals behind them, no row twice or left out
       because it was being sealed meanwhile.
"""

import datetime as dt
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from retention.catalogue import Catalogue, Sealed, SealedEnd
from retention.dataset import Dataset
from retention.durable import make_directory, read_file, write_file
from retention.errors import (
    JournalWriteError,
    KeyMaterialError,
    RetentionError,
    SegmentError,
    StoreError,
    StoreExistsError,
    StoreMissingError,
    VerificationError,
)
from retention.journal.reader import JournalReader
from retention.journal.writer import Clock, JournalWriter, wall_clock
from retention.keys import (
    DayKeys,
    FileMasterKey,
    PassphraseMasterKey,
    Recipients,
    SigningKeys,
    StoreMasterKey,
    check,
    finish_rotation,
    write_check,
)
from retention.ledger.entries import KeyEntry, decode_entry
from retention.ledger.log import ENTRIES, Ledger, Memory, read_lines
from retention.receipts import receipts_of
from retention.sealer import Sealer
from retention.segment.reader import Segment
from retention.times import day_of
from retention.waiting import Waiting

FORMAT = 1
_DIRECTORIES = ("journals", "segments", "ledger", "keys", "cache")


class StoreMark(msgspec.Struct, frozen=True, kw_only=True):
    """``store.json``: what makes a directory a store."""

    format: int
    store_id: str
    """128 random bits, hexadecimal."""
    created: str
    """ISO time, UTC."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a dataset's segments and journals hold."""

    table: pa.Table
    damages: tuple[RetentionError, ...]
    """What could not be read; never empty in silence."""

    def span(self) -> tuple[int | None, int | None]:
        """First and last moment that any record speaks of, UTC µs; needs all columns."""
        bounds = pc.min_max(self.table["@timestamp"].cast("int64")).as_py()
        ends = "event.end" in self.table.schema.names
        last = pc.max(self.table["event.end"].cast("int64")).as_py() if ends else None
        return bounds["min"], max((one for one in (bounds["max"], last) if one is not None), default=None)


class Store:
    """An opened data directory."""

    def __init__(self, root: Path, mark: StoreMark, clock: Clock = wall_clock) -> None:
        self.root = root
        self.mark = mark
        self.clock = clock
        keys = root / "keys"
        self.master = StoreMasterKey(keys, os.environ, ask_passphrase)
        self.recipients = Recipients(keys / "journal", self.master)
        self.day_keys = DayKeys(keys / "day", self.master)
        self.signing_keys = SigningKeys(keys / "signing", self.master)
        self.catalogue = Catalogue(root / "segments")
        self._memory = Memory()
        self._unlocked = False

    @classmethod
    def create(cls, root: Path, clock: Clock = wall_clock, passphrase: str | None = None) -> Self:
        """Make a new store at *root* with keys of its own, behind *passphrase* if one is given.

        Raises:
            StoreExistsError: there is one already.
            StoreError: the directory cannot be written.
            KeyMaterialError: day keys of an earlier store are there without their master key.
        """
        if (root / "store.json").exists():
            raise StoreExistsError(root)
        now = dt.datetime.fromtimestamp(clock() / 1e6, dt.UTC)
        mark = StoreMark(format=FORMAT, store_id=_id_for(root), created=now.isoformat(timespec="seconds"))
        try:
            make_directory(root)
            for name in _DIRECTORIES:
                make_directory(root / name, mode=0o700 if name == "keys" else 0o750)
            store = cls(root, mark, clock)
            store._make_master(passphrase)
            store.make_keys_ahead()
            write_check(root / "keys", store.master, mark.store_id)
            # Last, so that a store whose creation was cut short is not one yet and can be created again.
            write_file(root / "store.json", msgspec.json.format(msgspec.json.encode(mark)))
            # It is a store now; what is missing of the ledger is made at its next opening.
            with store.ledger() as ledger:
                store.sealer(ledger, ()).sign_heads()
        except OSError as error:
            raise StoreError(f"cannot create a store at {root}: {error.strerror}") from error
        except JournalWriteError as error:
            raise StoreError(f"cannot create a store at {root}: {error}") from error
        return store

    @classmethod
    def open(cls, root: Path, clock: Clock = wall_clock) -> Self:
        """The store at *root*.

        Raises:
            StoreMissingError: there is none.
            StoreError: it is of a newer format, or its mark cannot be read.
        """
        try:
            mark = msgspec.json.decode(read_file(root / "store.json"), type=StoreMark)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreMissingError(root) from None
        except OSError as error:
            raise StoreError(f"cannot open the store at {root}: {error.strerror}") from error
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreError(f"{root / 'store.json'} is not a store's mark: {error}") from error
        if mark.format != FORMAT:
            raise StoreError(f"{root} has store format {mark.format}, expected {FORMAT}; please update")
        try:
            dt.datetime.fromisoformat(mark.created)
        except ValueError as error:
            raise StoreError(f"{root / 'store.json'} is not a store's mark: {error}") from error
        return cls(root, mark, clock)

    def _make_master(self, passphrase: str | None) -> None:
        if self.master.current() is not None or self.master.upcoming() is not None:
            return
        keys = self.root / "keys"
        if any((keys / "journal").glob("*.key")):
            raise KeyMaterialError(f"{self.root} holds day keys, but its master key is missing")
        if passphrase is None:
            FileMasterKey(keys / "master.key").create()
        else:
            PassphraseMasterKey(keys / "master.passphrase", lambda: passphrase).create(passphrase)

    def unlock(self) -> None:
        """Make sure that the master key is this store's, and finish a rotation that was interrupted.

        Raises:
            KeyMaterialError: it is another's, or missing.
        """
        if not self._unlocked:
            finish_rotation(self.master)
            check(self.root / "keys", self.master, self.mark.store_id)
            self._unlocked = True

    def make_keys_ahead(self) -> None:
        """Make the recipient keys of today and the days ahead; needs the master key."""
        self.recipients.make_ahead(day_of(self.clock()))

    @property
    def created(self) -> int:
        """When the store was made, UTC µs."""
        return int(dt.datetime.fromisoformat(self.mark.created).timestamp()) * 1_000_000

    def ledger(self, *, wait_seconds: float = 60.0) -> Ledger:
        """The ledger, for writing; one process at a time holds it.

        Raises:
            LedgerError: it is not what was signed last.
        """
        self.unlock()
        if not (self.root / "ledger" / ENTRIES).exists() and any((self.root / "segments").glob("*/*")):
            raise StoreError(f"{self.root} holds sealed segments, but its ledger is missing: put it back")
        try:
            return Ledger.open(
                self.root / "ledger",
                self.signing_keys,
                self.last_signed,
                store_id=self.mark.store_id,
                now=self.clock(),
                wait_seconds=wait_seconds,
                memory=self._memory,
            )
        except OSError as error:
            raise StoreError(f"ledger of {self.root}: {error.strerror}") from error

    @property
    def last_signed(self) -> Path:
        """The newest checkpoint that was signed."""
        return self.root / "keys" / "signing" / "last-signed"

    def sealer(
        self,
        ledger: Ledger,
        datasets: Sequence[Dataset],
        *,
        confirmed: Callable[[], int | None] = lambda: None,
        by: str = "applog",
    ) -> Sealer:
        """What seals journals of *datasets* into segments."""
        return Sealer(
            root=self.root,
            created=self.created,
            datasets=datasets,
            ledger=ledger,
            catalogue=self.catalogue,
            waiting=Waiting(root=self.root, catalogue=self.catalogue, recipients=self.recipients),
            day_keys=self.day_keys,
            clock=self.clock,
            confirmed=confirmed,
            by=by,
        )

    def writer(self, dataset: Dataset, name: str, *, wait_seconds: float = 30.0) -> JournalWriter:
        """The journal of *dataset* that the writer *name* appends to."""
        try:
            return JournalWriter(
                self._directory(dataset, name),
                dataset,
                self.recipients,
                clock=self.clock,
                wait_seconds=wait_seconds,
                sealed_end=lambda: self._sealed_end(dataset, name),
            )
        except OSError as error:
            raise JournalWriteError(f"cannot write to {self.root}: {error.strerror}") from error

    def _sealed_end(self, dataset: Dataset, writer: str) -> SealedEnd | None:
        self.catalogue.refresh()
        return self.catalogue.end_of(dataset.name, writer)

    def readers(self, dataset: Dataset, *, deep: bool = False) -> Iterator[JournalReader]:
        """A reader for each writer's journal of *dataset*, of what is not sealed in the catalogue."""
        base = self.root / "journals" / dataset.name
        for directory in sorted(base.iterdir()) if base.exists() else ():
            if directory.is_dir():
                end = self.catalogue.end_of(dataset.name, directory.name)
                yield JournalReader(
                    directory=directory,
                    dataset=dataset,
                    recipients=self.recipients,
                    deep=deep,
                    sealed=end.file if end is not None else 0,
                )

    def set_aside(self, dataset: Dataset) -> tuple[Path, ...]:
        """Torn ends that writers of *dataset* found at their start and kept: never acknowledged."""
        return tuple(sorted((self.root / "journals" / dataset.name).glob("*/*.tail-*")))

    def journal(self, dataset: Dataset, columns: list[str] | None = None, *, deep: bool = False) -> Contents:
        """What the journals of *dataset* hold behind the segments in the catalogue, which is refreshed."""
        schema = dataset.schema if columns is None else pa.schema([dataset.schema.field(c) for c in columns])
        while True:
            self.catalogue.refresh()
            batches: list[pa.RecordBatch] = []
            damages: list[RetentionError] = []
            before = self._ends(dataset)
            for reader in self.readers(dataset, deep=deep):
                batches += (frame.batch.select(schema.names) for frame in reader.frames())
                damages += reader.damages
            self.catalogue.refresh()
            if self._ends(dataset) == before:  # else something was sealed while we read: once more
                return Contents(table=pa.Table.from_batches(batches, schema), damages=tuple(damages))

    def _ends(self, dataset: Dataset) -> int:
        return len(self.catalogue.sealed(dataset.name))

    def read(self, dataset: Dataset, columns: list[str] | None = None, *, deep: bool = False) -> Contents:
        """Everything that is stored of *dataset*, only *columns* if given: segments, then journals."""
        names = dataset.schema.names if columns is None else columns
        journal = self.journal(dataset, columns, deep=deep)
        tables: list[pa.Table] = []
        damages = [*journal.damages, *self.missing(dataset)]
        for sealed in self.catalogue.sealed(dataset.name):
            if not sealed.present:
                continue
            try:
                segment = self.segment(dataset, sealed)
                try:
                    tables.append(segment.table(names))
                finally:
                    segment.close()
            except (VerificationError, KeyMaterialError) as error:
                damages.append(error)
        return Contents(table=pa.concat_tables([*tables, journal.table]), damages=tuple(damages))

    def missing(self, dataset: Dataset) -> list[RetentionError]:
        """Segments in the catalogue whose file is gone without a receipt; the ledger is asked only then."""
        found = self.catalogue.sealed(dataset.name)
        if all(one.present or not one.manifest.count for one in found):
            return []
        said = receipts_of(self.root, dataset.name)
        return [*said.damages, *said.missing(found)]

    def segment(self, dataset: Dataset, sealed: Sealed) -> Segment:
        """An opened segment.

        Raises:
            VerificationError: it is damaged, or not what its manifest says.
            KeyMaterialError: its day key is missing.
        """
        day = dt.date.fromisoformat(sealed.manifest.day or "")
        key = self.day_keys.open(dataset.name, day)
        try:
            return Segment(sealed.path, sealed.manifest, dataset, key.key)
        except OSError as error:
            raise SegmentError(f"segment {sealed.manifest.name}: {sealed.path}: {error.strerror}") from error

    def _directory(self, dataset: Dataset, writer: str) -> Path:
        return self.root / "journals" / dataset.name / writer


def _id_for(root: Path) -> str:
    """The id for a new store at *root*: that of the ledger that lies there without its mark, or a new one.

    Raises:
        StoreError: sealed segments lie there.
    """
    if any((root / "segments").glob("*/*")):
        raise StoreError(f"{root} holds sealed segments without their store.json: put it back from a back-up")
    entries = root / "ledger" / "entries"
    lines = read_lines(entries)[0] if entries.exists() else []
    if lines:
        first = decode_entry(lines[0], 0)
        if isinstance(first, KeyEntry) and first.store is not None:
            return first.store
    return os.urandom(16).hex()


def ask_passphrase() -> str:
    """Ask the person at the terminal for the store's passphrase.

    Raises:
        KeyMaterialError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise KeyMaterialError(
            "the store has a passphrase: put the path of a file with it in APPLOG_PASSPHRASE_FILE"
        )
    return getpass("passphrase of the store: ")
