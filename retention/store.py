"""The data directory: where everything lies, and the one way to open it.

Rules:
    1. A directory becomes a store once, by ``create``; opening another directory is refused.
    2. ``journals/ keys/ cache/`` now; ``segments/ ledger/`` come with sealing. ``cache/`` can be deleted.
    3. Whoever can read the master key opens the store directly; everybody else asks a process that can.
"""

import datetime as dt
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from retention.dataset import Dataset
from retention.durable import make_directory, write_file
from retention.errors import (
    JournalDamagedError,
    JournalWriteError,
    KeyMaterialError,
    StoreError,
    StoreExistsError,
    StoreMissingError,
)
from retention.journal.reader import JournalReader
from retention.journal.writer import Clock, JournalWriter, wall_clock
from retention.keys import FileMasterKey, Recipients

FORMAT = 1
_DIRECTORIES = ("journals", "keys", "cache")


class StoreMark(msgspec.Struct, frozen=True, kw_only=True):
    """``store.json``: what makes a directory a store."""

    format: int
    store_id: str
    """128 random bits, hexadecimal."""
    created: str
    """ISO time, UTC."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a dataset's journals hold."""

    table: pa.Table
    damages: tuple[JournalDamagedError, ...]
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
        self.recipients = Recipients(root / "keys" / "journal", FileMasterKey(root / "keys" / "master.key"))

    @classmethod
    def create(cls, root: Path, clock: Clock = wall_clock) -> Self:
        """Make a new store at *root* with keys of its own.

        Raises:
            StoreExistsError: there is one already.
            StoreError: the directory cannot be written.
            KeyMaterialError: day keys of an earlier store are there without their master key.
        """
        if (root / "store.json").exists():
            raise StoreExistsError(root)
        now = dt.datetime.fromtimestamp(clock() / 1e6, dt.UTC)
        mark = StoreMark(
            format=FORMAT, store_id=os.urandom(16).hex(), created=now.isoformat(timespec="seconds")
        )
        try:
            make_directory(root)
            for name in _DIRECTORIES:
                make_directory(root / name, mode=0o700 if name == "keys" else 0o750)
            store = cls(root, mark, clock)
            master = root / "keys" / "master.key"
            if not master.exists():
                if any((root / "keys" / "journal").glob("*.key")):
                    raise KeyMaterialError(f"{root} holds day keys, but the master key {master} is missing")
                FileMasterKey(master).create()
            store.make_keys_ahead()
            # Last, so that a store whose creation was cut short is not one yet and can be created again.
            write_file(root / "store.json", msgspec.json.format(msgspec.json.encode(mark)))
        except OSError as error:
            raise StoreError(f"cannot create a store at {root}: {error.strerror}") from error
        return store

    @classmethod
    def open(cls, root: Path, clock: Clock = wall_clock) -> Self:
        """The store at *root*.

        Raises:
            StoreMissingError: there is none.
            StoreError: it is of a newer format, or its mark cannot be read.
        """
        try:
            mark = msgspec.json.decode((root / "store.json").read_bytes(), type=StoreMark)
        except (FileNotFoundError, NotADirectoryError):
            raise StoreMissingError(root) from None
        except OSError as error:
            raise StoreError(f"cannot open the store at {root}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise StoreError(f"{root / 'store.json'} is not a store's mark: {error}") from error
        if mark.format != FORMAT:
            raise StoreError(f"{root} has store format {mark.format}, expected {FORMAT}; please update")
        return cls(root, mark, clock)

    def make_keys_ahead(self) -> None:
        """Make the recipient keys of today and the days ahead; needs the master key."""
        self.recipients.make_ahead(dt.datetime.fromtimestamp(self.clock() / 1e6, dt.UTC).date())

    def writer(self, dataset: Dataset, name: str, *, wait_seconds: float = 30.0) -> JournalWriter:
        """The journal of *dataset* that the writer *name* appends to."""
        try:
            return JournalWriter(
                self._directory(dataset, name),
                dataset,
                self.recipients,
                clock=self.clock,
                wait_seconds=wait_seconds,
            )
        except OSError as error:
            raise JournalWriteError(f"cannot write to {self.root}: {error.strerror}") from error

    def readers(self, dataset: Dataset, *, deep: bool = False) -> Iterator[JournalReader]:
        """A reader for each writer's journal of *dataset*."""
        base = self.root / "journals" / dataset.name
        for directory in sorted(base.iterdir()) if base.exists() else ():
            if directory.is_dir():
                yield JournalReader(
                    directory=directory, dataset=dataset, recipients=self.recipients, deep=deep
                )

    def set_aside(self, dataset: Dataset) -> tuple[Path, ...]:
        """Torn ends that writers of *dataset* found at their start and kept: never acknowledged."""
        return tuple(sorted((self.root / "journals" / dataset.name).glob("*/*.tail-*")))

    def read(self, dataset: Dataset, columns: list[str] | None = None, *, deep: bool = False) -> Contents:
        """Everything the journals of *dataset* hold, only *columns* if given."""
        batches: list[pa.RecordBatch] = []
        damages: list[JournalDamagedError] = []
        schema = dataset.schema if columns is None else pa.schema([dataset.schema.field(c) for c in columns])
        for reader in self.readers(dataset, deep=deep):
            batches += (frame.batch.select(schema.names) for frame in reader.frames())
            damages += reader.damages
        return Contents(table=pa.Table.from_batches(batches, schema), damages=tuple(damages))

    def _directory(self, dataset: Dataset, writer: str) -> Path:
        return self.root / "journals" / dataset.name / writer
