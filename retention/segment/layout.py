"""What lies in a segment's plaintext and where: sections, their directory, the frame tables. Pure.

Rules (FORMAT.md 7.1, 7.7):
    1. ``rows ‖ secret ‖ tags ‖ lookup ‖ counts ‖ blocks ‖ frames ‖ directory ‖ u32 length ‖ "APPLOGS1"``,
       without gaps. A directory that does not describe exactly that is refused.
    2. Lengths are checked before anything is used: what was decrypted with the right key was still written
       by somebody.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from retention.errors import SegmentError
from retention.leaves import HASH_BYTES, LOOKUP_BYTES, Hashes

MAGIC = b"APPLOGS1"
SECTIONS = ("rows", "secret", "tags", "lookup", "counts", "blocks", "frames")
SECRET_BYTES = 32
_LENGTH = struct.Struct(">I")
TAIL_BYTES = _LENGTH.size + len(MAGIC)
_MAX_DIRECTORY_BYTES = 1 << 26
_FRAME = np.dtype([("rows", ">u4"), ("chain", "u1", HASH_BYTES)])


class SealedJournal(msgspec.Struct, frozen=True, kw_only=True):
    """One journal file whose rows are in the segment, as the directory says it."""

    writer: str
    file: int
    frames: int
    """Acknowledged ones."""
    rows: int
    after_hash: str
    """The chain's hash before the file, hexadecimal."""
    void: tuple[str, ...] = ()
    """Chain hashes of whole frames behind the acknowledged ones."""


class FrameTable(NamedTuple):
    """The frames of one journal file."""

    blinding: bytes
    """J."""
    rows: npt.NDArray[np.int64]
    chain: Hashes


class Directory(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the sections are."""

    format: int
    sections: dict[str, tuple[int, int]]
    journals: tuple[SealedJournal, ...]


class Readable(Protocol):
    """A file that can be read at random."""

    @property
    def size(self) -> int:
        """Bytes of plaintext."""

    def read_at(self, offset: int, length: int) -> bytes:
        """*length* bytes at *offset*."""


def pack(
    sections: dict[str, bytes | memoryview], journals: Sequence[SealedJournal]
) -> list[bytes | memoryview]:
    """The plaintext, as the pieces that follow one another."""
    places: dict[str, tuple[int, int]] = {}
    offset = 0
    for name in SECTIONS:
        places[name] = (offset, len(sections[name]))
        offset += len(sections[name])
    directory = msgspec.json.encode(Directory(format=1, sections=places, journals=tuple(journals)))
    return [*(sections[name] for name in SECTIONS), directory, _LENGTH.pack(len(directory)) + MAGIC]


def read_directory(file: Readable, name: str) -> Directory:
    """The directory of the plaintext *file* of segment *name*.

    Raises:
        SegmentError: it is not as ``pack`` makes it, or of another version.
    """
    if file.size < TAIL_BYTES:
        raise SegmentError(f"segment {name}: {file.size} bytes, expected a directory at its end")
    tail = file.read_at(file.size - TAIL_BYTES, TAIL_BYTES)
    (length,) = _LENGTH.unpack(tail[: _LENGTH.size])
    if tail[_LENGTH.size :] != MAGIC or length > min(_MAX_DIRECTORY_BYTES, file.size - TAIL_BYTES):
        raise SegmentError(f"segment {name}: its end is not {MAGIC.decode()} and a directory's length")
    start = file.size - TAIL_BYTES - length
    try:
        directory = msgspec.json.decode(file.read_at(start, length), type=Directory)
    except (msgspec.MsgspecError, ValueError) as error:
        raise SegmentError(f"segment {name}: its directory: {error}") from error
    if directory.format != 1:
        raise SegmentError(f"segment {name}: format {directory.format}; this version reads 1, please update")
    _check_journals(directory.journals, name)
    offset = 0
    for section in SECTIONS:
        if directory.sections.get(section, (-1, 0))[0] != offset or directory.sections[section][1] < 0:
            raise SegmentError(f"segment {name}: section {section} is not at byte {offset}")
        offset += directory.sections[section][1]
    if offset != start or len(directory.sections) != len(SECTIONS):
        raise SegmentError(f"segment {name}: sections end at {offset}, the directory begins at {start}")
    return directory


def _check_journals(journals: Sequence[SealedJournal], name: str) -> None:
    for journal in journals:
        try:
            lengths = {len(bytes.fromhex(text)) for text in (journal.after_hash, *journal.void)}
        except ValueError:
            lengths = set()
        if lengths != {HASH_BYTES} or min(journal.frames, journal.rows, journal.file) < 0:
            raise SegmentError(f"segment {name}: its journal {journal.writer}.{journal.file} cannot be one")


def pack_frames(tables: Sequence[FrameTable]) -> bytes:
    """The section ``frames``."""
    pieces = []
    for table in tables:
        entries = np.empty(len(table.rows), _FRAME)
        entries["rows"] = table.rows
        entries["chain"] = table.chain
        pieces += [table.blinding, entries.tobytes()]
    return b"".join(pieces)


def unpack_frames(section: bytes, journals: Sequence[SealedJournal], name: str) -> list[FrameTable]:
    """The frame tables of *journals*.

    Raises:
        SegmentError: the section's length or the rows do not fit.
    """
    expected = sum(SECRET_BYTES + journal.frames * _FRAME.itemsize for journal in journals)
    if len(section) != expected:
        raise SegmentError(f"segment {name}: frame tables of {len(section)} bytes, expected {expected}")
    tables = []
    offset = 0
    for journal in journals:
        blinding = section[offset : offset + SECRET_BYTES]
        entries = np.frombuffer(section, _FRAME, journal.frames, offset + SECRET_BYTES)
        table = FrameTable(blinding, entries["rows"].astype(np.int64), entries["chain"].copy())
        if int(table.rows.sum()) != journal.rows:
            raise SegmentError(f"segment {name}: frames of {journal.writer}.{journal.file} do not add up")
        tables.append(table)
        offset += SECRET_BYTES + journal.frames * _FRAME.itemsize
    return tables


def array_of(section: bytes, width: int, name: str) -> Hashes:
    """A section of values of *width* bytes, shape (n, width)."""
    if len(section) % width:
        raise SegmentError(
            f"segment {name}: a section of {len(section)} bytes, expected a multiple of {width}"
        )
    return np.frombuffer(section, np.uint8).reshape(-1, width)


def lookup_array(section: bytes, name: str) -> Hashes:
    """The section ``lookup``."""
    return array_of(section, LOOKUP_BYTES, name)


def counts_array(section: bytes, name: str) -> npt.NDArray[np.int64]:
    """The section ``counts``."""
    if len(section) % 4:
        raise SegmentError(f"segment {name}: counts of {len(section)} bytes, expected a multiple of 4")
    return np.frombuffer(section, ">u4").astype(np.int64)
