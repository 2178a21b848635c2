"""What is public about a sealed segment, and committed to by the ledger. Pure.

Rules (FORMAT.md 7.8):
    1. Compact JSON in the order of the members; its exact bytes are the leaf of the dataset's tree. A reader
       keeps the bytes as they are, and never writes them anew.
    2. Nothing in it is personal: counts, times, digests.
"""

import datetime as dt
from typing import Self

import msgspec

from retention.errors import SegmentError
from retention.leaves import EMPTY_ROOT
from retention.times import from_iso

FORMAT = 1
SUBJECT_RULE = 1
HEX_256 = 64


class JournalRange(msgspec.Struct, frozen=True, kw_only=True):
    """Files *first* to *last* of a writer, all in one segment."""

    writer: str
    first: int
    last: int
    after: str
    """The chain's hash before them, hexadecimal."""
    frames: int
    """Acknowledged frames of the last one."""
    head: str
    """The chain's hash behind them, hexadecimal."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One sealed segment, or a stretch of time without rows."""

    format: int
    dataset: str
    sequence: int
    """Index of this manifest in the dataset's tree."""
    kind: str
    """live or import."""
    schema: int
    encoder: int
    subject_rule: int
    day: str | None = None
    """UTC day of every ``event.ingested``, ISO. Absent: no rows."""
    epoch: int
    from_: str = msgspec.field(name="from")
    """Of ``event.ingested``, included; ISO, UTC, six digits."""
    until: str
    """Of ``event.ingested``, excluded."""
    count: int
    subjects: int
    first: str | None = None
    """Earliest ``@timestamp``."""
    last: str | None = None
    """Latest ``@timestamp`` or ``event.end``."""
    file_id: str | None = None
    root: str
    plain: str | None = None
    """SHA-256 of the plaintext."""
    file: str | None = None
    """SHA-256 of the encrypted file."""
    size: int | None = msgspec.field(name="bytes", default=None)
    """Of the encrypted file, bytes."""
    journals: tuple[JournalRange, ...]
    sealed: str
    """Wall clock at sealing."""
    clock: str
    """confirmed or unconfirmed."""
    by: str
    """Program and version."""

    def encoded(self) -> bytes:
        """The bytes that are stored and hashed."""
        return msgspec.json.encode(self)

    @property
    def name(self) -> str:
        """``dataset/sequence``."""
        return f"{self.dataset}/{self.sequence:08d}"

    @classmethod
    def parse(cls, data: bytes, name: str) -> Self:
        """The manifest in *data*.

        Raises:
            SegmentError: it is not one, of another version, or contradicts itself.
        """
        try:
            manifest = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, ValueError) as error:
            raise SegmentError(f"manifest {name}: {error}") from error
        if manifest.format != FORMAT:
            raise SegmentError(f"manifest {name}: format {manifest.format}, expected {FORMAT}; please update")
        if manifest.name != name:
            raise SegmentError(f"manifest {name}: it says that it is {manifest.name}")
        manifest.check()
        return manifest

    def check(self) -> None:
        """Refuse members that contradict one another (``SegmentError``)."""
        filled = (self.day, self.first, self.last, self.file_id, self.plain, self.file, self.size)
        if self.count < 0 or any((value is None) != (self.count == 0) for value in filled):
            raise SegmentError(f"manifest {self.name}: {self.count} rows do not fit its other members")
        if not (0 < self.subjects <= self.count or self.subjects == self.count == 0):
            raise SegmentError(f"manifest {self.name}: {self.subjects} subjects in {self.count} rows")
        digests = [
            self.root,
            *(value for value in (self.file_id, self.plain, self.file) if value is not None),
        ]
        if any(len(value) != HEX_256 or not _is_hex(value) for value in digests):
            raise SegmentError(f"manifest {self.name}: a digest is not {HEX_256} hexadecimal digits")
        if self.count == 0 and self.root != EMPTY_ROOT.hex():
            raise SegmentError(f"manifest {self.name}: no rows, but a root")
        if self.kind not in ("live", "import"):
            raise SegmentError(f"manifest {self.name}: kind {self.kind}, expected live or import")
        try:
            self._check_times()
        except ValueError as error:
            raise SegmentError(f"manifest {self.name}: {error}") from error
        for journal in self.journals:
            hashes = (journal.after, journal.head)
            if any(len(text) != HEX_256 or not _is_hex(text) for text in hashes):
                raise SegmentError(f"manifest {self.name}: a hash of journal {journal.writer} is none")
            if not 1 <= journal.first <= journal.last or journal.frames < 0:
                raise SegmentError(f"manifest {self.name}: files of journal {journal.writer} are none")

    def _check_times(self) -> None:
        begins, ends = from_iso(self.from_), from_iso(self.until)
        from_iso(self.sealed)
        if self.day is not None:
            dt.date.fromisoformat(self.day)
        if self.first is not None and self.last is not None and from_iso(self.first) > from_iso(self.last):
            raise ValueError(f"its last record, of {self.last}, is before its first, of {self.first}")
        if ends < begins:
            raise ValueError(f"it ends at {self.until}, before it begins at {self.from_}")


def associated_data(dataset: str, file_id: bytes) -> bytes:
    """What binds an encrypted file to its segment (FORMAT.md 7.1)."""
    name = dataset.encode()
    return b"applog-segment-1" + len(name).to_bytes(2, "big") + name + file_id


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)
