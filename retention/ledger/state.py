"""What the ledger says, entry by entry; refuses what contradicts the entries before it. Pure.

Rules (FORMAT.md 8, 10.2):
    1. The first entry is the signing key; later ones change it only by a rotation that both keys signed.
    2. Sequences of a dataset have no holes; the day's VRF key is there before the day's first segment.
    3. ``heads`` says exactly the dataset trees that the ``sealed`` entries give: each extends the one before.
    4. ``expired`` follows ``expiring``, and each happens once, with at least ``FLOOR_DAYS``.
"""

import base64
import datetime as dt
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from retention.errors import LedgerError, NoteError, ProofError
from retention.ledger.entries import (
    Entry,
    ExpiredEntry,
    ExpiringEntry,
    HeadsEntry,
    KeyEntry,
    SealedEntry,
    decode_entry,
)
from retention.merkle import HASH_BYTES, Frontier, leaf_hash
from retention.note import VerifierKey
from retention.times import US_PER_DAY, from_iso

FLOOR_DAYS = 90
"""Nothing is deleted earlier (Computer-Related Crime Act section 26)."""


class JournalFile(NamedTuple):
    """Which journal file a head is of."""

    dataset: str
    writer: str
    file: int


@dataclass(kw_only=True)
class SealedState:
    """What the ledger says of one manifest."""

    manifest: bytes
    """Its leaf hash."""
    entry: int
    """Index of the ``sealed`` entry."""
    proven_at: int | None = None
    """First confirmed time at or behind that entry, UTC µs: it existed then."""
    expiring: ExpiringEntry | None = None
    """That it was to expire, and on what this rests."""
    expired: bool = False


@dataclass(kw_only=True)
class LedgerState:
    """Everything that follows from the entries so far."""

    tree: Frontier = field(default_factory=Frontier)
    keys: list[VerifierKey] = field(default_factory=list)
    """Every signing key, oldest first; the last one signs now."""
    key_entries: list[int] = field(default_factory=list)
    """Index of the entry that brought each key."""
    vrf: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """(dataset, UTC day) → public key."""
    sealed: dict[str, list[SealedState]] = field(default_factory=dict)
    trees: dict[str, Frontier] = field(default_factory=dict)
    """Dataset → tree over its manifests."""
    tops: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Dataset → size and root of that tree when ``heads`` named it last; ``heads`` come each minute."""
    heads: dict[JournalFile, dict[int, bytes]] = field(default_factory=dict)
    """Every signed journal head: file → frames → chain hash."""
    last: Entry | None = None
    last_heads: HeadsEntry | None = None
    confirmed: int | None = None
    """Newest confirmed time, UTC µs."""

    @property
    def size(self) -> int:
        """Entries so far."""
        return self.tree.size

    @property
    def key(self) -> VerifierKey:
        """The key that signs now."""
        return self.keys[-1]

    def key_at(self, size: int) -> VerifierKey:
        """The key that signs a checkpoint of *size* entries: one that was rotated out signs none behind that.

        Raises:
            LedgerError: there was none yet.
        """
        brought = sum(entry < size for entry in self.key_entries)
        if not brought:
            raise LedgerError(f"no key signs a ledger of {size} entries")
        return self.keys[brought - 1]

    def apply(self, line: bytes) -> Entry:
        """Take the next entry.

        Raises:
            LedgerError: it is malformed or contradicts what stands before it.
        """
        entry = decode_entry(line, self.size)
        try:
            from_iso(entry.time)
            self._take(entry)
        except (ValueError, NoteError, ProofError) as error:
            raise LedgerError(f"ledger entry {self.size}: {error}") from error
        self.tree.append(leaf_hash(line))
        self.last = entry
        return entry

    def _take(self, entry: Entry) -> None:
        if not self.keys and not (isinstance(entry, KeyEntry) and entry.action == "signing"):
            raise ValueError("expected the signing key as the first entry")
        match entry:
            case KeyEntry():
                self._take_key(entry)
            case SealedEntry():
                self._take_sealed(entry)
            case HeadsEntry():
                self._take_heads(entry)
            case ExpiringEntry():
                self._take_expiring(entry)
            case ExpiredEntry():
                state = self.state_of(entry.dataset, entry.sequence)
                if entry.day_key not in ("kept", "shredded"):
                    raise ValueError(f"day key {entry.day_key!r}, expected kept or shredded")
                if not state.expiring or state.expired:
                    raise ValueError(
                        f"{entry.dataset}/{entry.sequence:08d} expired without or after its turn"
                    )
                state.expired = True

    def state_of(self, dataset: str, sequence: int) -> SealedState:
        """What is said of a manifest; ``ValueError`` when nothing is."""
        known = self.sealed.get(dataset, [])
        if not 0 <= sequence < len(known):
            raise ValueError(f"{dataset}/{sequence:08d} was never sealed")
        return known[sequence]

    def _take_key(self, entry: KeyEntry) -> None:
        match entry:
            case KeyEntry(action="signing", key=str(key), store=str(store)):
                if self.keys:
                    raise ValueError("a second first key")
                parsed = VerifierKey.parse(key)
                if parsed.name != origin_of(store):
                    raise ValueError(f"the key of {parsed.name}, expected {origin_of(store)}")
                self._add_key(parsed)
            case KeyEntry(action="rotated", old=str(old), key=str(key), signatures=(by_old, by_new)):
                old_key, new_key = VerifierKey.parse(old), VerifierKey.parse(key)
                if old_key != self.key or new_key in self.keys or new_key.name != old_key.name:
                    raise ValueError("a rotation from or to a key that cannot be its")
                message = rotation_message(old_key, new_key, self.size)
                for signer, signature in ((old_key, by_old), (new_key, by_new)):
                    _check_signature(signer, message, signature)
                self._add_key(new_key)
            case KeyEntry(action="vrf", dataset=str(dataset), day=str(day), public=str(public)):
                # A second one is for rows that come late, when the first was shredded with its segments.
                dt.date.fromisoformat(day)
                self.vrf[dataset, day] = _hash(public)
            case _:
                raise ValueError(f"key entry with action {entry.action!r} and other members than it needs")

    def _add_key(self, key: VerifierKey) -> None:
        self.keys.append(key)
        self.key_entries.append(self.size)

    def _take_sealed(self, entry: SealedEntry) -> None:
        known = self.sealed.get(entry.dataset, [])
        if entry.sequence != len(known):
            raise ValueError(f"{entry.dataset}: expected segment {len(known)}, found {entry.sequence}")
        manifest = _hash(entry.manifest)
        self.sealed.setdefault(entry.dataset, []).append(SealedState(manifest=manifest, entry=self.size))
        self.trees.setdefault(entry.dataset, Frontier()).append(manifest)

    def _take_heads(self, entry: HeadsEntry) -> None:
        expected = dataset_heads(self)
        if entry.datasets != expected:
            raise ValueError("its dataset trees are not those of the sealed entries before it")
        for dataset, writer, file, frames, head in entry.journals:
            if file < 1 or frames < 0:
                raise ValueError(f"journal {dataset}/{writer} has no file {file} with {frames} frames")
            known = self.heads.setdefault(JournalFile(dataset, writer, file), {})
            if known.setdefault(frames, _hash(head)) != _hash(head):
                raise ValueError(f"another head of journal {dataset}/{writer}/{file} at {frames} frames")
        self.last_heads = entry
        if entry.confirmed is not None:
            self._confirm(from_iso(entry.confirmed))

    def _confirm(self, confirmed: int) -> None:
        if self.confirmed is not None and confirmed < self.confirmed:
            raise ValueError("a confirmed time before one that was confirmed earlier")
        self.confirmed = confirmed
        for states in self.sealed.values():
            for state in reversed(states):
                if state.proven_at is not None:
                    break
                state.proven_at = confirmed

    def _take_expiring(self, entry: ExpiringEntry) -> None:
        state = self.state_of(entry.dataset, entry.sequence)
        name = f"{entry.dataset}/{entry.sequence:08d}"
        if state.expiring:
            raise ValueError(f"{name} expires a second time")
        if bytes.fromhex(entry.manifest) != state.manifest:
            raise ValueError(f"{name} expires under another manifest")
        if entry.retention_days < FLOOR_DAYS:
            raise ValueError(
                f"{name} expires after {entry.retention_days} days, expected at least {FLOOR_DAYS}"
            )
        confirmed = from_iso(entry.confirmed)
        if confirmed != self.confirmed:
            raise ValueError(f"{name} expires on another time than the one that heads confirmed last")
        if state.proven_at is None or confirmed < state.proven_at + entry.retention_days * US_PER_DAY:
            raise ValueError(f"{name} expires before its {entry.retention_days} days are over")
        state.expiring = entry


def origin_of(store_id: str) -> str:
    """Origin of the checkpoints and name of the keys of a store."""
    return f"applog/{store_id}"


def dataset_heads(state: LedgerState) -> dict[str, tuple[int, str]]:
    """Size and root of every dataset's tree, as ``heads`` says them."""
    for name, tree in state.trees.items():
        if state.tops.get(name, (0, ""))[0] != tree.size:
            state.tops[name] = (tree.size, tree.root().hex())
    return dict(sorted(state.tops.items()))


def rotation_message(old: VerifierKey, new: VerifierKey, size: int) -> bytes:
    """What both keys sign when *new* takes over at *size* entries (FORMAT.md 8.5)."""
    return f"applog-key-rotation-1\n{old.name}\n{old}\n{new}\n{size}\n".encode()


def _hash(text: str) -> bytes:
    """32 bytes in their one spelling: 64 hexadecimal digits in lower case."""
    found = bytes.fromhex(text)
    if len(found) != HASH_BYTES or found.hex() != text:
        raise ValueError(f"expected {2 * HASH_BYTES} hexadecimal digits in lower case, found {text[:80]!r}")
    return found


def _check_signature(key: VerifierKey, message: bytes, signature: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(
            base64.b64decode(signature, validate=True), message
        )
    except (InvalidSignature, ValueError) as error:
        raise ValueError(f"the rotation is not signed by {key}") from error
