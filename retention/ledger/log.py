"""The ledger on the disk: appended to under a lock, signed, and recovered after a crash.

Rules (FORMAT.md 8.4):
    1. Entries are written and synced before anything relies on them. A failed write ends this object: the
       next opening finds out what arrived.
    2. A checkpoint is signed only when ``heads`` is the last entry and the ledger extends ``last-signed``,
       which is written, durably, before the checkpoint is published.
    3. Entries beyond the last checkpoint are kept aside and cut at the next opening: nobody signed them, so
       anybody could have written them, and nothing was done that rests on them. What does not fit within is
       refused.
    4. A missing ledger is made anew only in a store in which nothing was ever sealed.
"""

import base64
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from retention.durable import locked, make_directory, open_file, read_file, write_all, write_file
from retention.errors import JournalWriteError, LedgerError, StoreError
from retention.keys import SigningKeys
from retention.ledger.entries import Entry, HeadsEntry, KeyEntry, encode_entry
from retention.ledger.state import LedgerState, origin_of, rotation_message
from retention.merkle import leaf_hash, root
from retention.note import Checkpoint, Signer, open_checkpoint, sign_checkpoint
from retention.times import iso

_log = logging.getLogger(__name__)

ENTRIES, CHECKPOINT, LOCK = "entries", "checkpoint", "lock"


@dataclass(kw_only=True)
class Memory:
    """What one process knows of a ledger between two openings, so that only what is new is read."""

    state: LedgerState = field(default_factory=LedgerState)
    leaves: list[bytes] = field(default_factory=list)
    file: int = 0
    """Inode of the entries."""
    end: int = 0
    """Bytes of the entries that are known."""
    signed: bytes | None = None


class Ledger:
    """The one writer of a store's ledger. Made by ``open``; holds the ledger's lock until ``close``."""

    def __init__(
        self, directory: Path, keys: SigningKeys, last_signed: Path, lock: int, memory: Memory
    ) -> None:
        self._memory = memory
        self.state, self.leaves = memory.state, memory.leaves
        """What the entries say, and their leaf hashes: what inclusion proofs are made of."""
        self._directory = directory
        self._keys = keys
        self._last_signed = last_signed
        self._lock = lock
        self._descriptor = -1
        self._end = memory.end
        """Bytes of the entries that are applied."""
        self._signed = memory.signed
        """What ``last-signed`` held when the entries were last held against it; they only grew since."""
        self._broken: str | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        keys: SigningKeys,
        last_signed: Path,
        *,
        store_id: str,
        now: int,
        wait_seconds: float = 60.0,
        memory: Memory | None = None,
    ) -> Self:
        """Open for writing, recover, and make the first entry if there is none.

        *memory* is filled at the end, and spares the next opening the entries that it knows.

        Raises:
            LedgerError: the ledger is not what was signed last; nothing was changed.
            StoreError: another process holds it.
        """
        make_directory(directory)
        lock = _locked(directory / LOCK, wait_seconds)
        ledger = cls(directory, keys, last_signed, lock, memory or Memory())
        try:
            ledger._recover(store_id, now)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def _recover(self, store_id: str, now: int) -> None:
        path = self._directory / ENTRIES
        if not path.exists():
            if self._last_signed.exists():
                raise LedgerError(f"{path} is missing, but {self._last_signed} says that a ledger was signed")
            write_file(path, b"")
        signed = self._newest_signed()
        self._read_signed(path, signed)
        self._cut(path)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.fsync(self._descriptor)
        self._take_up(store_id, now)
        for copy in (self._last_signed, self._directory / CHECKPOINT):
            if signed is not None and not (copy.exists() and read_file(copy) == signed):
                self._hold_against(copy)
                write_file(copy, signed)

    def _newest_signed(self) -> bytes | None:
        """What the entries are held against: the larger of ``last-signed`` and the published checkpoint.

        Keys that were put back from a back-up bring an older ``last-signed`` with them.
        """
        if not self._last_signed.exists() and (self._directory / CHECKPOINT).exists():
            raise LedgerError(
                f"{self._last_signed} is missing, but a checkpoint was published: put keys/ back"
            )
        found = [
            read_file(path) for path in (self._last_signed, self._directory / CHECKPOINT) if path.exists()
        ]
        return max(found, key=unverified_size, default=None)

    def _read_signed(self, path: Path, signed: bytes | None) -> None:
        """Apply the entries that *signed* covers; no other ones count, for anybody can write them."""
        memory, found = self._memory, path.stat()
        if memory.end and (found.st_ino != memory.file or found.st_size < memory.end):
            raise LedgerError(f"{path} was replaced or cut since this process read it")
        if signed is None or signed == self._signed:
            return
        lines, _ = read_lines(path, memory.end)
        size = unverified_size(signed)
        for line in lines[: max(size - len(self.leaves), 0)]:
            self._apply(line)
            self._end += len(line) + 1
        check_extends(self.leaves, signed, self.state)
        self._signed = signed

    def _hold_against(self, copy: Path) -> None:
        """The older of the two signed checkpoints must be of this same ledger."""
        if copy.exists():
            check_extends(self.leaves, read_file(copy), self.state)

    def _cut(self, path: Path) -> None:
        """Keep aside and cut what a crash, or somebody, left behind the signed entries."""
        behind = read_file(path)[self._end :] if path.stat().st_size > self._end else b""
        if behind:
            _log.warning(
                "%s: %d bytes behind the checkpoint were set aside: nobody signed them", path, len(behind)
            )
            write_file(path.with_name(f"{ENTRIES}.tail-{self._end}"), behind)
            os.truncate(path, self._end)

    def _take_up(self, store_id: str, now: int) -> None:
        """Make the first entry, or make sure that it is this store's."""
        origin = origin_of(store_id)
        if not self.state.keys:
            key = self._keys.create(origin).key
            self.append([KeyEntry(time=iso(now), action="signing", key=str(key), store=store_id)])
        elif self.state.keys[0].name != origin:
            raise LedgerError(f"{self._directory} is of {self.state.keys[0].name}, this store is {origin}")

    def append(self, entries: Sequence[Entry]) -> None:
        """Write *entries*, and return when they are on the disk.

        Raises:
            LedgerError: one contradicts what is there; none was written.
            JournalWriteError: the disk refused; what arrived is found out at the next opening.
        """
        if self._broken is not None:
            raise JournalWriteError(f"the ledger could not be written before: {self._broken}")
        lines = [encode_entry(entry) for entry in entries]
        try:
            for line in lines:
                self._apply(line)
        except LedgerError as error:
            self._broken = str(error)  # the state is ahead of the file now
            raise
        try:
            write_all(self._descriptor, b"".join(line + b"\n" for line in lines))
            os.fsync(self._descriptor)
        except OSError as error:
            self._broken = error.strerror or str(error)
            raise JournalWriteError(f"ledger {self._directory}: {self._broken}") from error
        self._end += sum(len(line) + 1 for line in lines)

    def _apply(self, line: bytes) -> None:
        self.state.apply(line)
        self.leaves.append(leaf_hash(line))

    def sign(self) -> bytes:
        """Sign and publish a checkpoint of the ledger as it is now; the signed note."""
        state = self.state
        if self._broken is not None or not isinstance(state.last, HeadsEntry):
            raise LedgerError("a checkpoint is signed behind heads only, and never after a failed write")
        if self._last_signed.exists() and read_file(self._last_signed) != self._signed:
            raise LedgerError(f"{self._last_signed} changed while this process held the ledger")
        checkpoint = Checkpoint(origin=state.key.name, size=state.size, root=state.tree.root())
        signed = sign_checkpoint(checkpoint, self._signers())
        try:
            write_file(self._last_signed, signed)
            write_file(self._directory / CHECKPOINT, signed)
        except OSError as error:
            self._broken = error.strerror or str(error)
            raise JournalWriteError(f"ledger {self._directory}: {self._broken}") from error
        self._signed = signed
        return signed

    def _signers(self) -> list[Signer]:
        """The current key; just after a rotation, the one before it too."""
        state = self.state
        signers = [self._keys.signer(state.key)]
        signed = _published(self._directory)
        if len(state.keys) > 1 and (signed is None or unverified_size(signed) <= state.key_entries[-1]):
            signers.insert(0, self._keys.signer(state.keys[-2]))
        return signers

    def rotate_signing_key(self, now: int) -> None:
        """Let a new key take over; both sign the entry."""
        old = self._keys.signer(self.state.key)
        new = self._keys.create(old.key.name)
        message = rotation_message(old.key, new.key, self.state.size)
        signatures = (_base64(old.sign(message)), _base64(new.sign(message)))
        self.append(
            [
                KeyEntry(
                    time=iso(now), action="rotated", old=str(old.key), key=str(new.key), signatures=signatures
                )
            ]
        )

    def close(self) -> None:
        """Let go of the ledger."""
        memory = self._memory
        signed = self._signed is not None and unverified_size(self._signed) == self.state.size
        if self._descriptor >= 0 and self._broken is None and signed:
            memory.file, memory.end, memory.signed = (
                os.fstat(self._descriptor).st_ino,
                self._end,
                self._signed,
            )
        else:  # what arrived is found out, and what is not signed is cut, at the next opening
            memory.state, memory.leaves, memory.end, memory.signed = LedgerState(), [], 0, None
        for descriptor in (self._descriptor, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_lines(path: Path, start: int = 0) -> tuple[list[bytes], bytes]:
    """Whole lines of the ledger at *path* from byte *start*, without line feeds, and what stands behind."""
    with open_file(path) as file:
        file.seek(start)
        *lines, torn = file.read().split(b"\n")
    return lines, torn


def check_extends(leaf_hashes: Sequence[bytes], signed: bytes, state: LedgerState) -> Checkpoint:
    """The checkpoint in *signed*, which the ledger with *leaf_hashes* extends.

    Raises:
        NoteError: it is not signed by a key of this ledger.
        LedgerError: the ledger is shorter, or its entries are others.
    """
    checkpoint, note = open_checkpoint(signed, state.keys)
    if checkpoint.size > len(leaf_hashes):
        raise LedgerError(
            f"the ledger has {len(leaf_hashes)} entries, but a checkpoint of {checkpoint.size} was signed: "
            "its end was cut off, or it was put back from a back-up"
        )
    if root(leaf_hashes[: checkpoint.size]) != checkpoint.root:
        raise LedgerError(
            f"the first {checkpoint.size} entries of the ledger are not those that were signed: "
            "it was altered or replaced"
        )
    if (key := state.key_at(checkpoint.size)) not in note.signed_by:
        raise LedgerError(
            f"the checkpoint of {checkpoint.size} entries is not signed by {key}, the key of its time"
        )
    return checkpoint


def unverified_size(signed: bytes) -> int:
    """How many entries the checkpoint in *signed* says it covers, before its signature is checked.

    Raises:
        NoteError: it is not a checkpoint.
    """
    text, _, _ = signed.decode("utf-8", "replace").partition("\n\n")
    return Checkpoint.parse(text + "\n").size


def _published(directory: Path) -> bytes | None:
    path = directory / CHECKPOINT
    return read_file(path) if path.exists() else None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _locked(path: Path, wait_seconds: float) -> int:
    """A descriptor that holds the lock, or the refusal."""
    descriptor = locked(path, wait_seconds)
    if descriptor is None:
        raise StoreError(f"ledger {path.parent}: another process has been sealing for {wait_seconds:g} s")
    return descriptor
