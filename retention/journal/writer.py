"""Appends records: durable, hash-chained, encrypted, in groups.

Rules (FORMAT.md 3):
    1. A row is acknowledged (its future is done) only after fsync of the frame that holds it.
    2. Every start, every UTC midnight, every cut that the sealer asks for, every ``FILE_ROWS`` rows and every
       step back of the clock opens a new numbered file with fresh secrets; the writer cannot read back what
       it wrote. At midnights and cuts an idle writer does so by itself, so that its file can be sealed.
    3. One write and fsync is under way; rows that arrive meanwhile share the next frame, at the latest
       after the dataset's ``commit_within_ms`` or ``GROUP_ROWS`` rows.
    4. A failed write or fsync ends the file. Its successor names the last acknowledged frame; what stands
       behind it is void. The rows are tried once more there, then refused to their producers.
    5. At most ``PENDING_ROWS`` rows wait; a faster producer is made to wait, never dropped from here.
    6. After a refusal everything that waits is refused too, and so is what comes, until ``recover``: rows
       become durable in the order of their submission, without holes.
"""

import contextlib
import datetime as dt
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from retention.catalogue import SealedEnd
from retention.dataset import Dataset
from retention.durable import locked, make_directory, write_all, write_file
from retention.encoding import ENCODER
from retention.errors import JournalBusyError, JournalWriteError, RetentionError, SchemaError
from retention.journal import files
from retention.journal.frame import (
    MAX_BODY_BYTES,
    SECRET_BYTES,
    FileHeader,
    FrameHeader,
    next_hash,
    nonce,
    pack_file_header,
    pack_frame_header,
    seal_info,
    trailer,
)
from retention.journal.reader import Position, joined_lines
from retention.keys import Recipients

GROUP_ROWS = 5_000
FILE_ROWS = 250_000
"""A segment is made of whole files, of about 500,000 rows together."""
CUT = "cut"
"""File of a dataset's journals that names the moment at which all its writers begin a new file."""
_IDLE_LOOK_SECONDS = 0.5
PENDING_ROWS = 200_000
_GCM_TAG_BYTES = 16
_US_PER_DAY = 86_400_000_000

_log = logging.getLogger(__name__)

Clock = Callable[[], int]
"""Wall clock, UTC µs."""


def wall_clock() -> int:
    """Now, UTC µs."""
    return time.time_ns() // 1_000


class _OpenFile:
    """The journal file that is being written."""

    def __init__(self, path: Path, header: FileHeader, secret: bytes, opened_at: int) -> None:
        packed = pack_file_header(header)
        write_file(path, packed)
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.number = header.file
        self.day = opened_at // _US_PER_DAY
        self.opened = opened_at
        self.newest = opened_at
        self.rows = 0
        self.last = files.LastFrame(frames=0, chain=files.start_hash(header))
        self._digest = hashlib.sha256(packed).digest()
        self._cipher = AESGCM(secret[:32])
        self._blinding = secret[32:]
        self._compressor = zstandard.ZstdCompressor(level=1)

    def append(self, dataset: Dataset, batch: pa.RecordBatch, now: int) -> None:
        """Write one frame and wait until it is on the disk; an ``OSError`` leaves its rows unacknowledged."""
        number = self.last.frames + 1
        body = self._compressor.compress(batch.serialize())
        lines = memoryview(joined_lines(dataset, batch))
        chain = next_hash(self.last.chain, self._blinding, number, lines)
        length = len(body) + _GCM_TAG_BYTES
        if length > MAX_BODY_BYTES:
            raise JournalWriteError(f"a frame of {length} bytes: expected at most {MAX_BODY_BYTES}")
        header = pack_frame_header(FrameHeader(number, length, batch.num_rows, self.last.chain, chain))
        sealed = self._cipher.encrypt(nonce(number), body, self._digest + header)
        write_all(self.descriptor, header + sealed + trailer(header, sealed))
        os.fdatasync(self.descriptor)
        self.last = files.LastFrame(frames=number, chain=chain)
        self.rows += batch.num_rows
        self.newest = now

    def close(self) -> None:
        """Give the file and its lock up; what counts in it is durable, so an error here changes nothing."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class JournalWriter:
    """The one writer of a (dataset, writer) journal; safe to use from several threads."""

    def __init__(
        self,
        directory: Path,
        dataset: Dataset,
        recipients: Recipients,
        *,
        clock: Clock = wall_clock,
        wait_seconds: float = 30.0,
        sealed_end: Callable[[], SealedEnd | None] = lambda: None,
    ) -> None:
        """Take the journal in *directory*; *sealed_end* says where the sealed part of it ends."""
        self._directory = directory
        self._dataset = dataset
        self._recipients = recipients
        self._clock = clock
        make_directory(directory)
        self._lock = _locked(directory, wait_seconds)
        try:
            self._number, self._last = files.predecessor(directory, sealed_end)
        except BaseException:
            os.close(self._lock)
            raise
        self._file: _OpenFile | None = None
        self._waiting: list[tuple[pa.RecordBatch, Future[Position]]] = []
        self._waiting_rows = 0
        self._state = threading.Condition()
        self._closing = False
        self._hurry = False
        self._refusal: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"journal-{dataset.name}", daemon=True)
        self._thread.start()

    def submit(self, batch: pa.RecordBatch) -> Future[Position]:
        """Queue *batch* (without event.id and event.ingested); the future is done when it is durable.

        Raises:
            SchemaError: *batch* is not of the dataset's schema. A value that has no line comes by the future.
            JournalWriteError: the journal is closed, or refused earlier rows.
        """
        if not batch.schema.equals(self._dataset.schema):
            raise SchemaError(f"journal {self._directory}: the columns are not those of {self._dataset.name}")
        future: Future[Position] = Future()
        if not batch.num_rows:
            future.set_result(Position(self._number, self._last.frames))
            return future
        future.set_running_or_notify_cancel()  # from here on nobody can cancel it under the writer's hands
        with self._state:
            self._state.wait_for(lambda: self._waiting_rows < PENDING_ROWS or self._closing)
            if self._closing:
                raise JournalWriteError(f"journal {self._directory} is closed")
            if self._refusal is not None:
                raise self._refusal
            self._waiting.append((batch, future))
            self._waiting_rows += batch.num_rows
            self._state.notify_all()
        return future

    def append(self, batch: pa.RecordBatch) -> Position:
        """Write *batch* and wait until it is durable.

        Raises:
            JournalWriteError: it could not be made durable; none of it is acknowledged.
        """
        return self.submit(batch).result()

    def flush(self) -> None:
        """Write what waits now: its producer has nothing more for the moment, and waits for it."""
        with self._state:
            self._hurry = bool(self._waiting)
            self._state.notify_all()

    def recover(self) -> None:
        """Take rows again after a refusal; the producer has counted what it lost."""
        with self._state:
            self._refusal = None

    def close(self) -> None:
        """Write what waits, then let go of the journal."""
        with self._state:
            first, self._closing = not self._closing, True
            self._state.notify_all()
        self._thread.join()
        if first:
            self._give_up_file()
            os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        while group := self._next_group():
            batches, futures = zip(*group, strict=True)
            try:
                position = self._commit(pa.concat_batches(batches))
            except Exception as error:  # noqa: BLE001  whatever it is belongs to the producers who wait
                for future in (*futures, *self._refused(error)):
                    future.set_exception(error)
            else:
                for future in futures:
                    future.set_result(position)

    def _next_group(self) -> list[tuple[pa.RecordBatch, Future[Position]]]:
        """What the next frame holds; empty when the writer closes."""
        with self._state:
            while not self._state.wait_for(lambda: self._waiting or self._closing, self._patience()):
                self._rotate_when_idle()
            deadline = time.monotonic() + self._dataset.commit_within_ms / 1_000
            self._state.wait_for(
                lambda: self._waiting_rows >= GROUP_ROWS or self._closing or self._hurry,
                deadline - time.monotonic(),
            )
            self._hurry = False
            group, self._waiting, self._waiting_rows = self._waiting, [], 0
            self._state.notify_all()
            return group

    def _patience(self) -> float | None:
        """Seconds until an idle writer looks whether its file has to end; None: it has none open."""
        return None if self._file is None else _IDLE_LOOK_SECONDS

    def _rotate_when_idle(self) -> None:
        if self._file is None or not self._is_over(self._file, self._clock()):
            return
        try:
            self._current_file()
        except (OSError, RetentionError) as error:
            _log.warning("journal %s: no new file yet: %s", self._directory, error)

    def _is_over(self, file: _OpenFile, now: int) -> bool:
        """Whether the next row belongs into another file. *now* was read before the cut is."""
        return (
            now < file.newest
            or now // _US_PER_DAY != file.day
            or file.rows >= FILE_ROWS
            or file.opened < self._cut() <= now
        )

    def _cut(self) -> int:
        try:
            return int((self._directory.parent / CUT).read_text("ascii"))
        except (OSError, ValueError):
            return 0

    def _refused(self, error: Exception) -> list[Future[Position]]:
        """Refuse everything from now on; the answer is what was waiting."""
        with self._state:
            self._refusal = error
            waiting, self._waiting, self._waiting_rows = self._waiting, [], 0
            self._state.notify_all()
        return [future for _, future in waiting]

    def _commit(self, rows: pa.RecordBatch) -> Position:
        for attempt in ("first", "last"):
            try:
                file, now = self._current_file()
                file.append(self._dataset, self._stamped(rows, file, now), now)
            except OSError as error:
                self._give_up_file()
                if attempt == "last":
                    raise JournalWriteError(
                        f"journal {self._directory}: {error.strerror}; {rows.num_rows} rows were not written"
                    ) from error
            else:
                self._last = file.last
                return Position(file.number, file.last.frames)
        raise AssertionError("unreachable")  # pragma: no cover

    def _current_file(self) -> tuple[_OpenFile, int]:
        now = self._clock()
        if self._file is not None and self._is_over(self._file, now):
            self._give_up_file()
        if self._file is None:
            self._file = self._next_file(now)
            self._number = self._file.number
            self._last = self._file.last
        return self._file, now

    def _next_file(self, now: int) -> _OpenFile:
        number = self._number + 1
        writer, dataset = self._directory.name, self._dataset
        secret = os.urandom(SECRET_BYTES)
        day = dt.datetime.fromtimestamp(now // 1_000_000, dt.UTC).date()
        header = FileHeader(
            format=1,
            dataset=dataset.name,
            writer=writer,
            file=number,
            day=day.isoformat(),
            schema=dataset.version,
            encoder=ENCODER,
            sealed=self._recipients.seal(day, secret, seal_info(dataset.name, writer, number)).hex(),
            after_frames=self._last.frames,
            after_hash=self._last.chain.hex(),
            opened=now,
        )
        return _OpenFile(files.path_of(self._directory, number), header, secret, now)

    def _give_up_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _stamped(self, rows: pa.RecordBatch, file: _OpenFile, now: int) -> pa.RecordBatch:
        """*rows* with event.id and event.ingested."""
        count = rows.num_rows
        prefix = f"{self._directory.name}.{file.number}."
        numbers = pa.array(range(file.rows, file.rows + count), pa.int64()).cast(pa.string())
        stamps = {
            "event.id": pa.compute.binary_join_element_wise(prefix, numbers, ""),
            "event.ingested": pa.repeat(pa.scalar(now, pa.timestamp("us")), count),
        }
        columns = [stamps.get(name, rows.column(name)) for name in self._dataset.schema.names]
        return pa.RecordBatch.from_arrays(columns, schema=self._dataset.schema)


def _locked(directory: Path, wait_seconds: float) -> int:
    """A descriptor that holds the lock, or the refusal."""
    descriptor = locked(directory / "lock", wait_seconds)
    if descriptor is None:
        raise JournalBusyError(
            f"journal {directory}: another process has been writing to it for {wait_seconds:g} s"
        )
    return descriptor
