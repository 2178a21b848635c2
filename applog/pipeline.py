"""From a capture to the journals: reading, shipping and acknowledging an import.

Rules:
    1. An import is known by its file's BLAKE3 digest (docs/decisions/0003) and its run number (0 unless
       ``--again``); its rows carry both in ``flow.id`` or ``coverage.source``. Reading is deterministic, so
       an import that was interrupted goes on behind the last row of each dataset that became durable:
       none lost, none twice.
    2. ``audit`` gets a record before the first row and one after the last; only the second makes the file
       "imported before".
    3. The reader and the shipper run side by side; at most ``QUEUED`` batches wait between them.
    4. Rows of an import are nobody's: ``attribution.reason`` is ``imported``.
"""

import io
import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from applog import audit
from applog.capture.capfile import CaptureFile
from applog.capture.extract import Extraction, Rows
from applog.capture.kernel import compiled
from applog.capture.profile import Profile
from applog.errors import AlreadyImportedError, CaptureAccessError, ProfileChangedError
from applog.records import DNS, FLOW
from captive_portal.records import LEASE
from retention.dataset import Dataset
from retention.errors import JournalBusyError
from retention.journal import JournalWriter, Position
from retention.records import AUDIT, COVERAGE
from retention.store import Store
from retention.text import wire_text

WRITER = "import"
QUEUED = 32
DATASETS = (FLOW, DNS, LEASE, COVERAGE)
_LOCK_WAIT_SECONDS = 600.0
_TURN_SECONDS = 0.5
_HASH_BLOCK = 1 << 20
_IDENTITY = {"flow": "flow.id", "dns": "flow.id", "lease": "flow.id", "coverage": "coverage.source"}

Progress = Callable[[int], None]
"""Told how many bytes of the file have been read."""


@dataclass(kw_only=True)
class ImportReport:
    """What an import did."""

    path: str
    """The file's name, safe to show."""
    digest: str
    run: int
    packets: int
    rows: dict[str, int] = field(default_factory=dict)
    """Rows of each dataset that the file has in the store now."""
    resumed: int = 0
    """How many of them an earlier, interrupted import had written."""
    losses: list[str] = field(default_factory=list)
    """What is in no record, in words."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """Imports captures into a store."""

    store: Store
    actor: audit.Actor
    profile: Profile
    again: bool = False

    def run(self, path: Path, stream: BinaryIO, progress: Progress = lambda _: None) -> ImportReport:
        """Import the capture that *stream* reads; *path* is its name.

        Raises:
            NotACaptureError: nothing of it can be read; nothing was stored.
            AlreadyImportedError: it was imported before and ``again`` was not given.
            RetentionError: rows could not be made durable; importing it again goes on where this stopped.
        """
        kernels = compiled()
        raw = _Counted(stream, str(path))
        with ThreadPoolExecutor(1, "digest") as pool:
            digest = pool.submit(_digest, stream.fileno(), raw.start) if _is_regular(stream) else None
            extraction = Extraction(CaptureFile(raw, str(path), kernels), self.profile, kernels)
            with _Shipper(self, path, digest) as shipper:
                for rows in extraction.rows():
                    shipper.put(rows)
                    progress(raw.count)
                return shipper.finish(raw.digest.hexdigest(), extraction.packets)


class _Counted(io.RawIOBase):
    """A raw stream that counts what passes, and hashes it where it cannot be read twice (pipes)."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        super().__init__()
        self._name = name
        self._descriptor = stream.fileno()
        self._hashing = not _is_regular(stream)
        self.start = 0 if self._hashing else os.lseek(self._descriptor, 0, os.SEEK_CUR)
        """Where reading begins: standard input may have been read from before."""
        self.count = 0
        self.digest = blake3()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read into *buffer*."""
        view = memoryview(buffer)
        try:
            got = os.readv(self._descriptor, [view])
        except OSError as error:
            raise CaptureAccessError(f"{self._name}: byte {self.count}: {error.strerror}") from error
        self.count += got
        if self._hashing:
            self.digest.update(view[:got])
        return got


class _Shipper:
    """Takes rows in order, gives them their identity, skips what is journaled, and writes the rest."""

    def __init__(self, importer: Importer, path: Path, digest: "Future[str] | None") -> None:
        self._importer = importer
        self._path = path
        self._digest = digest
        self._queue: queue.Queue[Rows | None] = queue.Queue(QUEUED)
        self._stack = ExitStack()
        self._writers: dict[str, JournalWriter] = {}
        self._under_way: list[Future[Position]] = []
        self._skip: dict[str, int] = {}
        self._failure: BaseException | None = None
        self._identity = ""
        self._report = ImportReport(path=wire_text(os.fsencode(path)), digest="", run=0, packets=0)
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the journals, whatever happened."""
        self._failure = self._failure or _AbandonedError()
        self._drain()
        self._thread.join()
        self._stack.close()

    def put(self, rows: Rows) -> None:
        """Queue *rows*; raises what stopped the shipper, if anything did."""
        while self._failure is None:
            try:
                self._queue.put(rows, timeout=0.2)
            except queue.Full:
                continue
            return
        raise self._failure

    def finish(self, digest: str, packets: int) -> ImportReport:
        """Wait until everything is durable and say what was done; *digest* is that of a pipe."""
        self._queue.put(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        report = self._report
        report.digest = report.digest or digest
        report.packets = packets
        # While the journals are still ours: an import of the same file that waits for them must find this.
        self._say("success", rows=sum(report.rows.values()) - report.resumed)
        self._stack.close()
        return report

    def _run(self) -> None:
        try:
            self._begin()
            while (rows := self._queue.get()) is not None:
                if self._failure is not None:
                    return
                self._ship(rows)
            for writer in self._writers.values():
                writer.flush()
            for future in self._under_way:
                future.result()
        except BaseException as error:  # noqa: BLE001  handed to the thread that reads
            self._failure = error
            self._drain()

    def _drain(self) -> None:
        """Make room, so that the reader's and our own last put never wait."""
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._queue.put(None)

    def _begin(self) -> None:
        """Take the journals, and find out whether and how far this file was imported before."""
        store = self._importer.store
        for dataset in DATASETS:  # always in this order: two imports never wait for each other crosswise
            self._writers[dataset.name] = self._stack.enter_context(self._journal_of(dataset))
        report = self._report
        if self._digest is None:
            self._identity = f"{os.urandom(16).hex()}.0"
            return
        try:
            report.digest = self._digest.result()
        except OSError as error:
            raise CaptureAccessError(f"{self._path}: {error.strerror}") from error
        report.run, begun = _earlier_imports(store, report.digest)
        if report.run and not self._importer.again and begun is None:
            raise AlreadyImportedError(f"{self._path}: imported before ({report.run} times)")
        self._identity = f"{report.digest[:32]}.{report.run}"
        if begun is not None:
            if begun != self._importer.profile.name:
                raise ProfileChangedError(f"{self._path}: its import was begun with --profile {begun}")
            self._skip = {dataset.name: _rows_of(store, dataset, self._identity) for dataset in DATASETS}
            report.resumed = sum(self._skip.values())
        else:
            self._say("unknown")

    def _journal_of(self, dataset: Dataset) -> JournalWriter:
        """The journal of *dataset*, once no other import holds it, or until the reader gives up."""
        deadline = time.monotonic() + _LOCK_WAIT_SECONDS
        while True:
            try:
                return self._importer.store.writer(dataset, WRITER, wait_seconds=_TURN_SECONDS)
            except JournalBusyError:
                if self._failure is not None or time.monotonic() > deadline:
                    raise

    def _ship(self, rows: Rows) -> None:
        name, batch = rows.dataset.name, rows.batch
        report = self._report
        report.rows[name] = report.rows.get(name, 0) + batch.num_rows
        if rows.dataset is COVERAGE:
            report.losses += [_loss_in_words(row) for row in batch.to_pylist()]
        skipped = min(self._skip.get(name, 0), batch.num_rows)
        self._skip[name] = self._skip.get(name, 0) - skipped
        if batch.num_rows > skipped:
            self._under_way.append(
                self._writers[name].submit(self._identified(rows.dataset, batch[skipped:]))
            )
        while self._under_way and self._under_way[0].done():
            self._under_way.pop(0).result()

    def _identified(self, dataset: Dataset, batch: pa.RecordBatch) -> pa.RecordBatch:
        """*batch* with this import's identity, and with nobody's name on it."""
        if dataset is COVERAGE:
            batch = _dated(batch, self._importer.store.clock())
            constant = pa.repeat(pa.scalar(f"file:{self._identity}"), batch.num_rows)
            return batch.set_column(
                batch.schema.get_field_index("coverage.source"), "coverage.source", constant
            )
        identity = pc.binary_join_element_wise(f"{self._identity}.", batch.column("flow.id"), "")
        batch = batch.set_column(batch.schema.get_field_index("flow.id"), "flow.id", identity)
        if dataset is FLOW:
            reason = pa.repeat(pa.scalar("imported"), batch.num_rows)
            at = batch.schema.get_field_index("attribution.reason")
            batch = batch.set_column(at, "attribution.reason", reason)
        return batch

    def _say(self, outcome: str, rows: int | None = None) -> None:
        audit.record(
            self._importer.store,
            self._importer.actor,
            action="import",
            outcome=outcome,
            file_path=str(self._path),
            file_blake3=self._report.digest or None,
            run=self._report.run,
            profile=self._importer.profile.name,
            rows=rows,
        )


class _AbandonedError(Exception):
    """The reader stopped before the end; never leaves this module."""


def _earlier_imports(store: Store, digest: str) -> tuple[int, str | None]:
    """How many imports of the file finished, and the profile of the one that was begun and did not."""
    columns = ["event.action", "event.outcome", "file.hash.blake3", "audit.profile", "audit.run"]
    contents = store.read(AUDIT, columns)
    if contents.damages:
        raise contents.damages[0]  # whether it was imported before cannot be told
    table = contents.table
    ours = pc.and_(pc.equal(table["event.action"], "import"), pc.equal(table["file.hash.blake3"], digest))
    rows = table.filter(ours).to_pylist()
    finished = sum(row["event.outcome"] == "success" for row in rows)
    begun = [
        row["audit.profile"]
        for row in rows
        if row["event.outcome"] == "unknown" and row["audit.run"] == finished
    ]
    return finished, begun[-1] if begun else None


def _rows_of(store: Store, dataset: Dataset, identity: str) -> int:
    """How many rows of the import are durable.

    Raises:
        JournalDamagedError: it cannot be told, for some of what is stored cannot be read.
    """
    column = _IDENTITY[dataset.name]
    prefix = f"file:{identity}" if dataset is COVERAGE else f"{identity}."
    contents = store.read(dataset, [column])
    if contents.damages:
        raise contents.damages[0]
    return int(pc.sum(pc.starts_with(contents.table[column], prefix)).as_py() or 0)


def _loss_in_words(row: dict[str, object]) -> str:
    counts = [
        f"{row[name]:,} {unit}"
        for name, unit in (
            ("coverage.packets", "packets"),
            ("coverage.bytes", "bytes"),
            ("coverage.flows", "flows"),
        )
        if row[name] is not None
    ]
    return f"{row['coverage.reason']}: {row['coverage.detail']}" + (
        f" ({', '.join(counts)})" if counts else ""
    )


def _dated(batch: pa.RecordBatch, now: int) -> pa.RecordBatch:
    """Coverage rows of a capture without a single time are of the moment of its import."""
    times = batch.column("@timestamp")
    unknown = pc.equal(times.cast("int64"), 0)
    dated = pc.if_else(unknown, pa.scalar(now, times.type), times)
    end = pc.if_else(unknown, pa.scalar(None, times.type), batch.column("event.end"))
    batch = batch.set_column(batch.schema.get_field_index("@timestamp"), "@timestamp", dated)
    return batch.set_column(batch.schema.get_field_index("event.end"), "event.end", end)


def _is_regular(stream: BinaryIO) -> bool:
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def _digest(descriptor: int, start: int) -> str:
    """BLAKE3 of the file from *start* on; leaves alone where the descriptor is reading."""
    digest = blake3()
    block = memoryview(bytearray(_HASH_BLOCK))
    while got := os.preadv(descriptor, [block], start):
        digest.update(block[:got])
        start += got
    return str(digest.hexdigest())


def open_capture(path: Path) -> BinaryIO:
    """*path* opened for reading, ``-`` being standard input.

    Raises:
        CaptureAccessError: it is missing, a directory, or may not be read.
    """
    try:
        if str(path) == "-":
            return open(0, "rb", buffering=0, closefd=False)
        if path.is_dir():
            raise CaptureAccessError(f"{path}: expected a capture file, found a directory")
        return path.open("rb", buffering=0)
    except OSError as error:
        raise CaptureAccessError(f"{path}: {error.strerror}") from error
