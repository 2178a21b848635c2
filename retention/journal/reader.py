"""Reads journals back: decrypts frames, follows files, names what is damaged.

Rules (FORMAT.md 3):
    1. Damage never stops the reading of what is whole, and never goes unsaid: it is in ``damages``. A last
       frame whose bytes end early is none while its writer is alive: it is being written.
    2. Frames that a successor's header does not count were never acknowledged, and are not read.
    3. Newer schema versions are refused; older ones would go through one-step converters.
    4. ``deep`` recomputes every line and every chain hash; without it the checksums, the authenticated
       encryption and the chain's links are checked.
"""

import datetime as dt
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from retention.dataset import Dataset
from retention.durable import is_locked, read_file
from retention.encoding import ENCODER, encode
from retention.errors import JournalDamagedError, SchemaError
from retention.journal import files
from retention.journal.frame import Damage, FileHeader, FoundFrame, next_hash, nonce, scan, seal_info
from retention.keys import Recipients


class Position(NamedTuple):
    """A frame's place in one (dataset, writer) journal; ``BEGINNING`` is before everything."""

    file: int
    frame: int


BEGINNING = Position(0, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One group commit, opened."""

    position: Position
    writer: str
    batch: pa.RecordBatch
    chain: bytes


@dataclass(kw_only=True)
class JournalReader:
    """The journal of one (dataset, writer)."""

    directory: Path
    dataset: Dataset
    recipients: Recipients
    deep: bool = False
    sealed: int = 0
    """The last file that is sealed: what is still there of it is in a segment."""
    damages: list[JournalDamagedError] = field(default_factory=list)
    """What was found damaged so far."""

    def frames(self, after: Position = BEGINNING) -> Iterator[Frame]:
        """Frames behind *after*, in order, up to the end as it is now."""
        numbered = files.numbered(self.directory)
        for number in range(max(1, self.sealed + 1, after.file), max(numbered, default=0) + 1):
            path = numbered.get(number)
            if path is None:
                missing = files.path_of(self.directory, number)
                self.damages.append(
                    JournalDamagedError(missing, 0, "the file is missing; later ones are there")
                )
            else:
                yield from self._frames_of(path, after, numbered.get(number + 1))

    def _frames_of(self, path: Path, after: Position, successor: Path | None) -> Iterator[Frame]:
        try:
            data = read_file(path)
            header, length = files.header_of(path, data)
        except JournalDamagedError as error:
            self.damages.append(error)
            return
        except OSError as error:
            self.damages.append(JournalDamagedError(path, 0, f"cannot be read: {error.strerror}"))
            return
        acknowledged = self._acknowledged(successor)
        opener = Opener(
            self.dataset, self.recipients, header, hashlib.sha256(data[:length]).digest(), deep=self.deep
        )
        last = files.LastFrame(frames=0, chain=files.start_hash(header))
        for found in scan(data, length, last.chain):
            if last == acknowledged:
                break  # whatever stands here, whole or torn, was never acknowledged
            if isinstance(found, Damage):
                self._note_damage(path, found, acknowledged, len(data))
                continue
            position = Position(header.file, found.header.number)
            if acknowledged is not None and position.frame > acknowledged.frames:
                break
            last = files.LastFrame(frames=position.frame, chain=found.header.chain)
            if position > after:
                yield from self._opened(path, opener, data, found)
        if acknowledged is not None and last != acknowledged:
            self.damages.append(
                JournalDamagedError(
                    path, len(data), "its last frames are missing: its successor names another end"
                )
            )

    def _acknowledged(self, successor: Path | None) -> files.LastFrame | None:
        """Where the file before *successor* ends according to it; None when it does not say.

        Damage in *successor* is its own, and is noted when its turn comes.
        """
        if successor is None:
            return None
        try:
            header, _ = files.header_of(successor, read_file(successor))
        except (JournalDamagedError, OSError):
            return None
        return files.LastFrame(frames=header.after_frames, chain=bytes.fromhex(header.after_hash))

    def _is_being_written(self, path: Path, size: int) -> bool:
        """Whether a writer is alive, or went on since *size* bytes of *path* were read."""
        try:
            if path.stat().st_size != size:
                return True
        except FileNotFoundError:
            return True  # sealed since; whoever reads everything looks again
        return is_locked(self.directory / "lock")

    def _note_damage(
        self, path: Path, found: Damage, acknowledged: files.LastFrame | None, size: int
    ) -> None:
        what = found.what
        if found.tail and acknowledged is None:
            if found.short and self._is_being_written(path, size):
                return  # the half of a frame that nobody was told is stored
            what += " (a write that was cut short, or is under way)"
        self.damages.append(JournalDamagedError(path, found.offset, what))

    def _opened(self, path: Path, opener: "Opener", data: bytes, found: FoundFrame) -> Iterator[Frame]:
        try:
            yield opener.open(data, found)
        except FRAME_ERRORS as error:
            what = str(error) or "its content was altered"
            self.damages.append(
                JournalDamagedError(path, found.offset, f"frame {found.header.number}: {what}")
            )


class _ChainError(Exception):
    """A frame's lines do not give its chain hash."""


FRAME_ERRORS = (InvalidTag, zstandard.ZstdError, pa.ArrowException, OSError, SchemaError, _ChainError)
"""What a frame that was altered may raise when it is opened."""


class Opener:
    """Opens the frames of one file."""

    def __init__(
        self,
        dataset: Dataset,
        recipients: Recipients,
        header: FileHeader,
        file_digest: bytes,
        *,
        deep: bool = False,
    ) -> None:
        if (header.schema, header.encoder) != (dataset.version, ENCODER):
            raise SchemaError(
                f"journal of {header.dataset}: schema version {header.schema}, encoder {header.encoder}; "
                f"this version of applog reads {dataset.version} and {ENCODER}, please update"
            )
        info = seal_info(header.dataset, header.writer, header.file)
        day = dt.date.fromisoformat(header.day)
        secret = recipients.open(day, bytes.fromhex(header.sealed), info)
        self.blinding = secret[32:]
        self._cipher = AESGCM(secret[:32])
        self._dataset = dataset
        self._deep = deep
        self._header = header
        self._file_digest = file_digest

    def open(self, data: bytes, found: FoundFrame) -> Frame:
        """The rows of *found*."""
        number = found.header.number
        associated = self._file_digest + data[found.offset : found.body.start]
        plain = self._cipher.decrypt(nonce(number), data[found.body], associated)
        message = zstandard.ZstdDecompressor().decompress(plain)
        batch = pa.ipc.read_record_batch(pa.py_buffer(message), self._dataset.schema)
        if batch.num_rows != found.header.rows:
            raise _ChainError(f"expected {found.header.rows} rows, found {batch.num_rows}")
        if self._deep:
            batch.validate(full=True)
            lines = memoryview(joined_lines(self._dataset, batch))
            if next_hash(found.header.previous, self.blinding, number, lines) != found.header.chain:
                raise _ChainError("its lines do not give its chain hash")
        position = Position(self._header.file, number)
        return Frame(position=position, writer=self._header.writer, batch=batch, chain=found.header.chain)


def joined_lines(dataset: Dataset, batch: pa.RecordBatch) -> pa.Buffer:
    """The lines of *batch* as the chain hashes them, each with its line feed."""
    lines = encode(dataset, batch)
    if not len(lines):
        return pa.py_buffer(b"")
    ends = memoryview(lines.buffers()[1]).cast("i")
    return lines.buffers()[2][: ends[len(lines)]]
