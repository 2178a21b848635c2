"""What the ledger says of a dataset's segments: which were sealed, and which were deleted in their time.

Rules:
    1. A file that is missing has expired only if the signed ledger says so: that is its receipt.
    2. A manifest that is not the one that was sealed, or missing although one was, is damage.
    3. A manifest that the ledger does not have yet is being sealed: its rows are the journals', read back.
    4. A ledger that cannot be read is damage, and then nothing is known to have expired.
    5. Nobody waits for a sealing here, and what did not change since is not read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from retention.catalogue import Sealed
from retention.durable import read_file
from retention.errors import LedgerError, RetentionError, SegmentError
from retention.ledger.log import CHECKPOINT, ENTRIES
from retention.ledger.state import SealedState
from retention.ledger.view import read_ledger
from retention.merkle import leaf_hash

_Identity: TypeAlias = tuple[bytes, int, int, int]
"""The checkpoint; inode, time of change in ns and size of the entries."""

_leaf = lru_cache(maxsize=65_536)(leaf_hash)
"""By content, so that a manifest is hashed once in a process: there are thousands."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipts:
    """What the ledger said of one dataset at one moment."""

    dataset: str
    states: Sequence[SealedState] = ()
    """Of each manifest that it has, by sequence."""
    damages: tuple[RetentionError, ...] = ()
    """Why it could not be read: empty, or one."""

    def has_expired(self, sequence: int) -> bool:
        """Whether there is a receipt for the segment: its file was deleted, or is about to be."""
        if sequence >= len(self.states):
            return False
        state = self.states[sequence]
        return state.expired or state.expiring is not None

    def missing(self, found: Sequence[Sealed]) -> tuple[RetentionError, ...]:
        """Segments of *found* whose file is gone without a receipt."""
        return tuple(
            SegmentError(
                f"segment {one.manifest.name}: its file is missing, and the ledger does not say that it "
                "expired"
            )
            for one in found
            if one.manifest.count and not one.present and not self.has_expired(one.manifest.sequence)
        )

    def is_genuine(self, sealed: Sealed) -> bool:
        """Whether the manifest is the one that was sealed, as far as the ledger has it."""
        sequence = sealed.manifest.sequence
        return sequence >= len(self.states) or _leaf(sealed.encoded) == self.states[sequence].manifest

    def contradictions(self, found: Sequence[Sealed]) -> tuple[RetentionError, ...]:
        """What it does not bear out of *found*: all manifests of the dataset, read after the ledger."""
        altered = [
            SegmentError(f"segment {one.manifest.name}: its manifest is not the one that was sealed")
            for one in found
            if not self.is_genuine(one)
        ]
        first, last = len(found), len(self.states) - 1
        if first > last:
            return tuple(altered)
        names = f"segment {self.dataset}/{first:08d}" + (f" to {last:08d}" if last > first else "")
        return (*altered, SegmentError(f"{names}: sealed, as the ledger says, but the manifest is missing"))


def receipts_of(root: Path, dataset: str) -> Receipts:
    """What the ledger of the store at *root* says of *dataset* now."""
    try:
        return Receipts(dataset=dataset, states=_sealed(root).get(dataset, ()))
    except RetentionError as error:
        what = LedgerError(f"the ledger, which says what was sealed and what has expired: {error}")
        return Receipts(dataset=dataset, damages=(what,))


def _sealed(root: Path) -> Mapping[str, Sequence[SealedState]]:
    directory = root / "ledger"
    if not (directory / CHECKPOINT).exists() and _was_never_signed(root):
        return {}
    try:
        entries = (directory / ENTRIES).stat()
        identity = (read_file(directory / CHECKPOINT), entries.st_ino, entries.st_mtime_ns, entries.st_size)
    except OSError as error:
        raise LedgerError(f"{error.strerror}: {error.filename}") from error
    return _read(directory, identity)


def _was_never_signed(root: Path) -> bool:
    """Whether nothing was ever sealed: the making of the store was cut short before its first checkpoint."""
    last_signed = root / "keys" / "signing" / "last-signed"
    return not last_signed.exists() and not any((root / "segments").glob("*/*"))


@lru_cache(maxsize=2)
def _read(directory: Path, identity: _Identity) -> Mapping[str, Sequence[SealedState]]:  # noqa: ARG001
    """Kept by *identity*, which is taken first: what is read is that, or newer."""
    return read_ledger(directory, wait=False).state.sealed
