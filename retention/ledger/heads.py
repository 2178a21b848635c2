"""Where every dataset's tree and every open journal stand: what each minute's ``heads`` entry says.

Rules (FORMAT.md 8.3):
    1. The newest file of each journal that is not sealed counts; it commits to the files before it.
    2. A file is synced before its head is signed, and its frames are read from the file, without any key.
"""

import logging
import os
from pathlib import Path

from retention.catalogue import Catalogue
from retention.durable import open_file
from retention.errors import JournalDamagedError
from retention.journal import files
from retention.journal.frame import FoundFrame, scan
from retention.ledger.entries import HeadsEntry, JournalHead
from retention.ledger.state import JournalFile, LedgerState, dataset_heads
from retention.times import iso

_log = logging.getLogger(__name__)

TOLERANCE_US = 5_000_000
"""How far a confirmed time may be behind the newest one and still mean the same."""


def heads_entry(
    journals: Path, state: LedgerState, catalogue: Catalogue, now: int, confirmed: int | None
) -> HeadsEntry:
    """The entry of this moment; times are UTC µs."""
    if confirmed is not None and state.confirmed is not None and confirmed < state.confirmed:
        # Servers differ by a little; a time that is clearly behind contradicts one of the two confirmations.
        confirmed = state.confirmed if state.confirmed - confirmed <= TOLERANCE_US else None
    return HeadsEntry(
        time=iso(now),
        confirmed=None if confirmed is None else iso(confirmed),
        datasets=dataset_heads(state),
        journals=tuple(head for head in journal_heads(journals, catalogue) if _agrees(state, head)),
    )


def _agrees(state: LedgerState, head: JournalHead) -> bool:
    """Whether no other head was signed there: one journal that was tampered with must not stop the rest."""
    dataset, writer, file, frames, chain = head
    known = state.heads.get(JournalFile(dataset, writer, file), {})
    agrees = known.get(frames, bytes.fromhex(chain)).hex() == chain
    if not agrees:
        _log.error("journal %s/%s, file %d: another head was signed: it is not sealed", dataset, writer, file)
    return agrees


def journal_heads(journals: Path, catalogue: Catalogue) -> list[JournalHead]:
    """The head of each journal under *journals* that is not wholly sealed."""
    heads = []
    for directory in sorted(path for path in journals.glob("*/*") if path.is_dir()):
        dataset, writer = directory.parent.name, directory.name
        end = catalogue.end_of(dataset, writer)
        numbered = files.numbered(directory)
        newest = max(numbered, default=0)
        if newest > (end.file if end is not None else 0):
            try:
                last = synced_end(numbered[newest])
            except JournalDamagedError as error:
                _log.error("no head of it is signed: %s", error)  # sealing it will be refused
                continue
            heads.append((dataset, writer, newest, last.frames, last.chain.hex()))
    return heads


def synced_end(path: Path) -> files.LastFrame:
    """Where the whole frames of a journal file end, once they are on the disk.

    Raises:
        JournalDamagedError: its header is damaged.
    """
    with open_file(path) as file:
        data = file.read()
        os.fsync(file.fileno())  # behind the reading: all that was read is on the disk now
    header, length = files.header_of(path, data)
    last = files.LastFrame(frames=0, chain=files.start_hash(header))
    for found in scan(data, length, last.chain):
        if isinstance(found, FoundFrame) and found.header.previous == last.chain:
            last = files.LastFrame(frames=found.header.number, chain=found.header.chain)
    return last
