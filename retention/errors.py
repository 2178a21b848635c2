"""Every error of this package.

Rules:
    1. ``RetentionError`` is caught only at a process boundary, and never raised itself.
    2. A message says what was expected and what was found; ``hint`` says what to do next.
    3. Exit codes: 3 integrity, 4 store or keys, 5 input, 6 the machine (disk, locks, clock).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class RetentionError(Exception):
    """Base class. Never raised itself; catch it only at a process boundary."""

    exit_code: ClassVar[int] = 1
    hint: ClassVar[str] = ""


class StoreError(RetentionError):
    """The data directory is not what was expected: missing, of another format, or already there."""

    exit_code = 4


class StoreMissingError(StoreError):
    """There is no store at the path."""

    hint = "create one with: applog init"

    def __init__(self, root: Path) -> None:
        super().__init__(f"no applog store at {root}: expected a file store.json there")


class StoreExistsError(StoreError):
    """A store is already there; making another over it would orphan its records."""

    hint = "use it as it is, or name another directory with --data"

    def __init__(self, root: Path) -> None:
        super().__init__(f"{root} already holds a store, and nothing was changed")


class KeyMaterialError(RetentionError):
    """A key is missing, unreadable, or belongs to something else."""

    exit_code = 4
    hint = "restore keys/ from the back-up made when the store was created; nothing was changed"


class SchemaError(RetentionError):
    """Columns do not fit their dataset: an unknown field, a wrong type, an empty text, a wrong version."""

    exit_code = 5


class JournalError(RetentionError):
    """A journal cannot be written or read as it should be."""

    exit_code = 6


class JournalBusyError(JournalError):
    """Another process holds the journal."""

    hint = "wait for the other applog command to end, or stop it"


class JournalWriteError(JournalError):
    """Rows could not be made durable; none of them was acknowledged."""

    hint = "free some disk space or make the data directory writable, then run the command again"


class JournalDamagedError(JournalError):
    """A journal holds something that was not written by its writer. An incident: never repaired silently."""

    exit_code = 3
    hint = "copy the data directory before anything else, then look at the copy"

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(f"journal {path}, byte {offset}: {what}")
        self.path = path
        self.offset = offset
        self.what = what


class VerificationError(RetentionError):
    """What is sealed does not hold together. An incident: never retried, never repaired silently."""

    exit_code = 3
    hint = "copy the data directory before anything else, then verify the copy"


class VaultDamagedError(VerificationError):
    """An encrypted file holds something that was not written into it, or is read with another key."""

    def __init__(self, path: Path, chunk: int, offset: int, what: str) -> None:
        super().__init__(f"{path}, chunk {chunk} at byte {offset}: {what}")
        self.path = path
        self.chunk = chunk
        self.offset = offset


class SegmentError(VerificationError):
    """A sealed segment or its manifest is not what was sealed."""


class SegmentAlteredError(SegmentError):
    """Rows of a sealed segment changed after they were sealed."""

    def __init__(self, segment: str, first: int, last: int, *, sealed: bytes, found: bytes) -> None:
        super().__init__(
            f"segment {segment}, rows {first}-{last}: "
            f"sealed {sealed.hex()[:16]}…, recomputed {found.hex()[:16]}…"
        )
        self.segment = segment
        self.first = first
        self.last = last


class LedgerError(VerificationError):
    """The ledger is not what was signed."""


class NoteError(VerificationError):
    """A signed note that is malformed or not signed by the expected key."""

    hint = "check that it is the whole file, and signed by this store"


class ProofError(VerificationError):
    """A proof that does not prove what it is given for."""

    hint = "check that record, proof and checkpoint belong together"


class SealingRefusedError(RetentionError):
    """Journals cannot be sealed as they are; nothing was sealed and nothing was deleted."""

    exit_code = 3
    hint = "copy the data directory before anything else, then look at the copy with: applog verify"


class ClockError(RetentionError):
    """The time cannot be confirmed, and what depends on it was not done."""

    exit_code = 6
    hint = "check the network's way to the time servers, and the clock"


class VerificationFailedError(VerificationError):
    """Some checks failed; each was named."""

    def __init__(self, failures: Sequence[RetentionError]) -> None:
        count = len(failures)
        super().__init__(str(failures[0]) if count == 1 else f"{count} failures; the first: {failures[0]}")
        self.failures = tuple(failures)
