"""Journal files as the sealer takes them over: finished, whole, with their secrets and frame tables.

Rules (FORMAT.md 3.6, 7.7):
    1. A file is finished when its end is known: from its successor's header, or by recovery under the
       journal's lock when no writer is alive.
    2. Nothing is sealed around damage: a frame that is not as it was written refuses the whole file.
    3. Frames behind the acknowledged end are no rows. Their hashes are kept: a signed head may cover one.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from retention.dataset import Dataset
from retention.durable import read_file
from retention.errors import JournalDamagedError
from retention.journal import files
from retention.journal.files import LastFrame
from retention.journal.frame import FoundFrame, scan
from retention.journal.reader import FRAME_ERRORS, Opener
from retention.keys import Recipients
from retention.leaves import Hashes, as_hashes


@dataclass(frozen=True, kw_only=True)
class FinishedFile:
    """A journal file that nobody will write to again."""

    path: Path
    number: int
    day: str
    """UTC day of its rows, ISO."""
    opened: int | None
    """Wall clock at its opening, UTC µs. Absent in files of applog 0.1."""
    end: LastFrame
    """Where it ends: frames behind it were never acknowledged."""


@dataclass(frozen=True, kw_only=True)
class AdoptedFile:
    """A finished file, opened."""

    writer: str
    number: int
    day: str
    after: bytes
    """The chain's hash before the file."""
    start: bytes
    """``h_0``."""
    blinding: bytes
    """J."""
    rows: npt.NDArray[np.int64]
    """Of each acknowledged frame."""
    chain: Hashes
    """``h_i`` of each acknowledged frame."""
    batches: tuple[pa.RecordBatch, ...]
    void: tuple[bytes, ...]
    """``h_i`` of whole frames behind the acknowledged end."""

    @property
    def head(self) -> bytes:
        """The chain's hash behind the file."""
        return self.chain[-1].tobytes() if len(self.chain) else self.start

    def hash_at(self, frames: int) -> bytes | None:
        """The chain's hash behind *frames* frames, void ones included; None: there are not so many."""
        known = (self.start, *(one.tobytes() for one in self.chain), *self.void)
        return known[frames] if frames < len(known) else None


def finished_files(directory: Path) -> list[FinishedFile]:
    """Files of the journal in *directory* that can be sealed, in order; sets a torn end aside.

    Raises:
        JournalDamagedError: a header, or the end of the last file, is damaged; or a file is missing.
    """
    with _idle(directory) as idle:
        numbered = files.numbered(directory)
        finished = []
        for number, path in numbered.items():
            successor = numbered.get(number + 1)
            if successor is None and number != max(numbered):
                missing = files.path_of(directory, number + 1)
                raise JournalDamagedError(missing, 0, "the file is missing; later ones are there")
            if successor is None and not idle:
                break  # its writer may still append to it
            end = files.recover(path) if successor is None else _end_named_by(successor)
            header, _ = files.header_of(path, read_file(path))
            finished.append(
                FinishedFile(path=path, number=number, day=header.day, opened=header.opened, end=end)
            )
        return finished


@contextmanager
def _idle(directory: Path) -> Iterator[bool]:
    """Whether no writer is alive; if so, none starts inside the block."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _end_named_by(successor: Path) -> LastFrame:
    header, _ = files.header_of(successor, read_file(successor))
    return LastFrame(frames=header.after_frames, chain=bytes.fromhex(header.after_hash))


def adopt(finished: FinishedFile, dataset: Dataset, recipients: Recipients) -> AdoptedFile:
    """All rows and secrets of a finished file.

    Raises:
        JournalDamagedError: anything in it is not as it was written.
        SchemaError: it is of another schema or encoder version.
    """
    data = read_file(finished.path)
    header, length = files.header_of(finished.path, data)
    opener = Opener(dataset, recipients, header, hashlib.sha256(data[:length]).digest())
    start = files.start_hash(header)
    found = list(_whole_frames(finished, data, length, start))
    counted, void = found[: finished.end.frames], found[finished.end.frames :]
    last = counted[-1].header.chain if counted else start
    if len(counted) != finished.end.frames or last != finished.end.chain:
        raise JournalDamagedError(
            finished.path, len(data), "its last frames are missing: its successor names another end"
        )
    return AdoptedFile(
        writer=header.writer,
        number=header.file,
        day=header.day,
        after=bytes.fromhex(header.after_hash),
        start=start,
        blinding=opener.blinding,
        rows=np.array([frame.header.rows for frame in counted], np.int64),
        chain=as_hashes([frame.header.chain for frame in counted]),
        batches=tuple(_opened(finished.path, opener, data, frame) for frame in counted),
        void=tuple(frame.header.chain for frame in void),
    )


def _whole_frames(finished: FinishedFile, data: bytes, length: int, start: bytes) -> Iterator[FoundFrame]:
    """Frames to the acknowledged end, and the whole ones behind it."""
    frames = 0
    for found in scan(data, length, start):
        if isinstance(found, FoundFrame):
            frames += 1
            yield found
        elif frames < finished.end.frames:
            raise JournalDamagedError(finished.path, found.offset, found.what)
        else:
            return


def _opened(path: Path, opener: Opener, data: bytes, found: FoundFrame) -> pa.RecordBatch:
    try:
        return opener.open(data, found).batch
    except FRAME_ERRORS as error:
        what = str(error) or "its content was altered"
        raise JournalDamagedError(path, found.offset, f"frame {found.header.number}: {what}") from error


class Measured(NamedTuple):
    """What planning needs to know of a finished file."""

    rows: int
    first: int | None
    """Earliest ``event.ingested``, UTC µs. None: no rows."""
    last: int | None
    """Latest ``event.ingested``, UTC µs."""
    void: bool
    """Whether whole frames stand behind its end, which a signed head may cover."""


def measure(finished: FinishedFile, dataset: Dataset, recipients: Recipients) -> Measured:
    """Rows and span of *finished*.

    ``event.ingested`` is one value a frame and never decreases in a file, so two frames are enough.
    """
    data = read_file(finished.path)
    header, length = files.header_of(finished.path, data)
    whole = list(_whole_frames(finished, data, length, files.start_hash(header)))
    filled = [frame for frame in whole[: finished.end.frames] if frame.header.rows]
    void = len(whole) > finished.end.frames
    if not filled:
        return Measured(0, None, None, void)
    opener = Opener(dataset, recipients, header, hashlib.sha256(data[:length]).digest())
    times = []
    for frame in (filled[0], filled[-1]):
        column = _opened(finished.path, opener, data, frame).column("event.ingested")
        times.append(int(column.cast(pa.int64())[0].as_py()))
    return Measured(sum(frame.header.rows for frame in filled), times[0], times[1], void)
