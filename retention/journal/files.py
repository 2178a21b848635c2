"""Where journal files lie, and what is done about a torn end.

Rules (FORMAT.md 3):
    1. ``journals/<dataset>/<writer>/<8 digits>.journal``, numbered from 1 without holes.
    2. A torn end is copied aside durably, then cut; only if nothing valid follows it. Otherwise the
       writer refuses: a flipped length must not cost the frames behind it.
"""

import logging
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from retention.catalogue import SealedEnd
from retention.durable import read_file, write_file
from retention.errors import JournalDamagedError
from retention.journal.frame import (
    HASH_BYTES,
    TRAILER_BYTES,
    Damage,
    FileHeader,
    Malformed,
    first_hash,
    scan,
    unpack_file_header,
)

_log = logging.getLogger(__name__)

SUFFIX = ".journal"


@dataclass(frozen=True, kw_only=True, slots=True)
class LastFrame:
    """Where a file's chain ends."""

    frames: int
    chain: bytes


NO_PREDECESSOR = LastFrame(frames=0, chain=bytes(HASH_BYTES))
"""What file 1 follows."""


def numbered(directory: Path) -> dict[int, Path]:
    """Journal files of *directory* by number, in order."""
    found = (path for path in directory.glob(f"*{SUFFIX}") if re.fullmatch("[0-9]{8}", path.stem))
    # Reading anything else than a file could wait for ever; in place of one, it leaves a hole that is named.
    files = {int(path.stem): path for path in found if stat.S_ISREG(path.lstat().st_mode)}
    return dict(sorted(files.items()))


def path_of(directory: Path, number: int) -> Path:
    """Path of file *number*."""
    return directory / f"{number:08d}{SUFFIX}"


def header_of(path: Path, data: bytes) -> tuple[FileHeader, int]:
    """The file header of *path* and its length in bytes.

    Raises:
        JournalDamagedError: it is not as it was written.
    """
    try:
        header, length = unpack_file_header(data)
    except Malformed as error:
        raise JournalDamagedError(path, 0, str(error)) from error
    expected = (path.parent.parent.name, path.parent.name, int(path.stem))
    if (header.dataset, header.writer, header.file) != expected:
        raise JournalDamagedError(path, 0, f"this is file {header.file} of {header.dataset}/{header.writer}")
    return header, length


def start_hash(header: FileHeader) -> bytes:
    """``h_0`` of the file with *header*."""
    return first_hash(header.dataset, header.writer, header.file, bytes.fromhex(header.after_hash))


def recover(path: Path) -> LastFrame:
    """Make the end of *path* whole, setting a torn tail aside, and say where its chain ends.

    Raises:
        JournalDamagedError: it holds damage that a crash does not leave.
    """
    data = read_file(path)
    header, length = header_of(path, data)
    last = LastFrame(frames=0, chain=start_hash(header))
    place = slice(0, length)
    for found in scan(data, length, last.chain):
        if not isinstance(found, Damage):
            last = LastFrame(frames=found.header.number, chain=found.header.chain)
            place = slice(found.offset, found.body.stop + TRAILER_BYTES)
        elif found.tail:
            _set_aside(path, data, found.offset)
        else:
            raise JournalDamagedError(path, found.offset, found.what)
    # The successor will count these frames, but a writer that was killed may have left the last one, like the
    # cut above, in memory only: without this a power cut could take back what the successor names. It is
    # written again because pages whose sync failed count as clean, and a later sync skips them.
    with path.open("r+b") as file:
        os.pwrite(file.fileno(), data[place], place.start)
        os.fsync(file.fileno())
    return last


def predecessor(directory: Path, sealed_end: Callable[[], SealedEnd | None]) -> tuple[int, LastFrame]:
    """Number and end of the file that the next one follows; recovers it if it is not sealed.

    Raises:
        JournalDamagedError: the last file holds damage that a crash does not leave.
    """
    while True:
        found = numbered(directory)
        sealed = sealed_end()  # after the listing: what was unlinked before it is in here
        last = max(found, default=0)
        if sealed is not None and sealed.file >= last:
            return sealed.file, LastFrame(frames=sealed.frames, chain=sealed.head)
        if not found:
            return 0, NO_PREDECESSOR
        try:
            return last, recover(found[last])
        except FileNotFoundError:
            continue  # sealed and unlinked since the listing


def _set_aside(path: Path, data: bytes, offset: int) -> None:
    _log.warning(
        "%s: its end from byte %d on is no frame; set aside, for it was never acknowledged", path, offset
    )
    # Copy first: a crash between the two leaves the tail twice, never not at all.
    write_file(path.with_name(f"{path.stem}.tail-{offset}"), data[offset:])
    os.truncate(path, offset)
