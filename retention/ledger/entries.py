"""The entries of the ledger, as JSON. Pure.

Rules (FORMAT.md 8.1):
    1. One compact JSON object a line, ``type`` and ``time`` first; the line's exact bytes are hashed, and a
       reader never writes them anew.
    2. An unknown type or member is refused: a ledger that is newer than the program is not half understood.
"""

from typing import TypeAlias

import msgspec

from retention.errors import LedgerError

JournalHead: TypeAlias = tuple[str, str, int, int, str]
"""Dataset, writer, file, frames, chain hash (hexadecimal)."""


class _Entry(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="type",
    tag=lambda name: name.removesuffix("Entry").lower(),
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    time: str
    """Wall clock when it was written; ISO, UTC, six digits. Not confirmed by anybody."""


class KeyEntry(_Entry, frozen=True, kw_only=True):
    """A key that signs, or makes tags, from here on."""

    action: str
    """signing, rotated or vrf."""
    key: str | None = None
    """signing, rotated: the verifier key (C2SP signed note)."""
    store: str | None = None
    """signing: store_id."""
    old: str | None = None
    """rotated: the verifier key until here."""
    signatures: tuple[str, str] | None = None
    """rotated: by the old and the new key, base64 (FORMAT.md 8.5)."""
    dataset: str | None = None
    """vrf: whose tags."""
    day: str | None = None
    """vrf: UTC day, ISO."""
    public: str | None = None
    """vrf: the public key, hexadecimal."""


class SealedEntry(_Entry, frozen=True, kw_only=True):
    """A manifest was committed to."""

    dataset: str
    sequence: int
    manifest: str
    """Leaf hash of the manifest's bytes, hexadecimal."""


class HeadsEntry(_Entry, frozen=True, kw_only=True):
    """Where every dataset's tree and every open journal stand."""

    confirmed: str | None
    """The time as confirmed within the hour before, or null."""
    datasets: dict[str, tuple[int, str]]
    """Name → size and root (hexadecimal) of the tree over its manifests."""
    journals: tuple[JournalHead, ...]


class ExpiringEntry(_Entry, frozen=True, kw_only=True):
    """A segment's file is about to be deleted."""

    dataset: str
    sequence: int
    manifest: str
    confirmed: str
    """The confirmed time on which this rests."""
    retention_days: int


class ExpiredEntry(_Entry, frozen=True, kw_only=True):
    """A segment's file is gone."""

    dataset: str
    sequence: int
    day_key: str
    """kept or shredded."""


Entry: TypeAlias = KeyEntry | SealedEntry | HeadsEntry | ExpiringEntry | ExpiredEntry

_decoder = msgspec.json.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    """The line of *entry*, without line feed."""
    return msgspec.json.encode(entry)


def decode_entry(line: bytes, index: int) -> Entry:
    """The entry in *line*, which is number *index*.

    Raises:
        LedgerError: it is none that this version knows.
    """
    try:
        entry: Entry = _decoder.decode(line)
    except (msgspec.MsgspecError, ValueError) as error:  # ValueError: invalid UTF-8 in a text
        raise LedgerError(f"ledger entry {index}: {error}") from error
    if encode_entry(entry) != line:
        raise LedgerError(
            f"ledger entry {index}: not in its one spelling: compact, members in order, none twice"
        )
    return entry
