"""The ledger as anybody can read it: entries, the newest checkpoint, and what is signed. Needs no key.

Rules:
    1. Only what the checkpoint covers counts as said; entries behind it are known to be unsigned.
    2. Reading waits for whoever seals, unless it is told not to: then it takes what is published.
"""

import fcntl
from dataclasses import dataclass
from pathlib import Path

from retention.durable import open_file, read_file
from retention.errors import LedgerError
from retention.ledger.entries import HeadsEntry
from retention.ledger.log import CHECKPOINT, ENTRIES, LOCK, check_extends, read_lines, unverified_size
from retention.ledger.state import LedgerState
from retention.merkle import leaf_hash
from retention.note import Checkpoint


@dataclass(frozen=True, kw_only=True)
class LedgerView:
    """One moment of the ledger."""

    lines: tuple[bytes, ...]
    """Every whole entry, signed or not."""
    torn: bytes
    """What stands behind the last whole entry."""
    leaves: tuple[bytes, ...]
    """Leaf hashes of the entries."""
    state: LedgerState
    """Behind the last signed entry."""
    checkpoint: Checkpoint
    signed: bytes
    """The checkpoint's note."""
    heads: HeadsEntry
    """The entry that ends what is signed."""

    @property
    def unsigned(self) -> int:
        """Entries behind the checkpoint."""
        return len(self.lines) - self.checkpoint.size


def read_ledger(directory: Path, *, wait: bool = True) -> LedgerView:
    """The ledger in *directory*.

    Without *wait* only what is published is read, also while something is being sealed; ``unsigned`` and
    ``torn`` then say nothing.

    Raises:
        LedgerError: it is missing, contradicts itself, or is not what its checkpoint says.
        NoteError: the checkpoint is not signed by the ledger's key.
    """
    try:
        if wait:
            with open_file(directory / LOCK) as lock:
                fcntl.flock(lock, fcntl.LOCK_SH)
                lines, torn = read_lines(directory / ENTRIES)
                signed = read_file(directory / CHECKPOINT)
        else:  # the checkpoint first: entries only grow behind it
            signed = read_file(directory / CHECKPOINT)
            lines, torn = read_lines(directory / ENTRIES)
            lines, torn = lines[: unverified_size(signed)], b""
    except OSError as error:
        raise LedgerError(f"ledger {directory}: {error.strerror}: {error.filename}") from error
    leaf_hashes = [leaf_hash(line) for line in lines]
    state, refusal = _applied(lines[: unverified_size(signed)])
    checkpoint = check_extends(leaf_hashes, signed, state)
    if refusal is not None:
        raise refusal
    if not isinstance(state.last, HeadsEntry):
        raise LedgerError(f"ledger {directory}: its checkpoint does not end with heads")
    return LedgerView(
        lines=tuple(lines),
        torn=torn,
        leaves=tuple(leaf_hashes),
        state=state,
        checkpoint=checkpoint,
        signed=signed,
        heads=state.last,
    )


def _applied(lines: list[bytes]) -> tuple[LedgerState, LedgerError | None]:
    """The state behind *lines*, and what stopped it: that they are not what was signed says more."""
    if not lines:
        raise LedgerError("the ledger has no entries")
    state = LedgerState()
    try:
        for line in lines:
            state.apply(line)
    except LedgerError as error:
        if not state.keys:
            raise
        return state, error
    return state, None
