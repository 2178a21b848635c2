"""The bytes of a journal file: its header, its frames and their hash chain. Pure; touches no file.

Rules (FORMAT.md 3):
    1. File = file header, then frames = header ‖ body ‖ CRC-32 of both. All integers big-endian. Headers
       carry a CRC-32 of their own too, so that a writer that cannot decrypt still finds a torn tail.
    2. Frame body = AES-256-GCM(key, nonce = 0⁴ ‖ u64 number, zstd(Arrow record batch message),
       associated data = SHA-256(file header) ‖ frame header).
    3. Chain: ``h_i = SHA-256(0x10 ‖ h_{i-1} ‖ r_i ‖ lines)``, ``r_i = HMAC-SHA-256(J, 0x11 ‖ u64 i)``,
       ``h_0 = SHA-256(0x12 ‖ len dataset ‖ writer ‖ u64 file ‖ predecessor's last h)``. J is secret, so a
       one-row frame cannot be guessed from its hash.
"""

import datetime as dt
import hashlib
import hmac
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

FILE_MAGIC = b"APPLOGJ1"
FRAME_MAGIC = b"AJF1"
_FILE_FIXED = struct.Struct(">8sI")
_FRAME = struct.Struct(">4sQII32s32s")
_CRC = struct.Struct(">I")
FRAME_HEADER_BYTES = _FRAME.size + _CRC.size
TRAILER_BYTES = _CRC.size
MAX_FILE_HEADER_BYTES = 65_536
MAX_BODY_BYTES = 1 << 30
HASH_BYTES = 32
SECRET_BYTES = 64
"""AES-256 key ‖ J, as sealed to the recipient."""


class Malformed(ValueError):  # noqa: N818  a parser's answer, turned into JournalDamagedError with its place
    """Bytes are not what the format says; the message says which part."""


class FileHeader(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a journal file says of itself, as JSON in the file."""

    format: int
    """Of this file format: 1."""
    dataset: str
    writer: str
    file: int
    """Number in its directory, from 1."""
    day: str
    """UTC day whose recipient key seals it, ISO."""
    schema: int
    """Schema version of the rows."""
    encoder: int
    """Encoder version of the chain."""
    sealed: str
    """HPKE ``enc ‖ ciphertext`` of the file's secrets, hexadecimal."""
    after_frames: int
    """How many frames of the preceding file count; later ones there were never acknowledged."""
    after_hash: str
    """Chain hash after them, hexadecimal; zeros for file 1."""
    opened: int | None = None
    """When it was opened, UTC µs: no ``event.ingested`` in it is earlier. Absent in files of applog 0.1."""


class FrameHeader(NamedTuple):
    """One group commit."""

    number: int
    """From 1 in each file."""
    body_bytes: int
    rows: int
    previous: bytes
    chain: bytes


def pack_file_header(header: FileHeader) -> bytes:
    """Bytes of *header*, CRC included."""
    body = msgspec.json.encode(header)
    fixed = _FILE_FIXED.pack(FILE_MAGIC, len(body)) + body
    return fixed + _CRC.pack(zlib.crc32(fixed))


def unpack_file_header(data: bytes) -> tuple[FileHeader, int]:
    """The header at the start of *data*, and its length in bytes.

    Raises:
        Malformed: it is not whole, not ours, altered, or of another version.
    """
    if len(data) < _FILE_FIXED.size:
        raise Malformed(f"file header: expected at least {_FILE_FIXED.size} bytes, found {len(data)}")
    magic, length = _FILE_FIXED.unpack_from(data)
    end = _FILE_FIXED.size + length
    if magic != FILE_MAGIC or length > MAX_FILE_HEADER_BYTES or len(data) < end + _CRC.size:
        raise Malformed("file header: not whole, or not an applog journal")
    if _CRC.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
        raise Malformed("file header: its checksum does not fit")
    try:
        header = msgspec.json.decode(data[_FILE_FIXED.size : end], type=FileHeader)
        if header.format == 1:
            dt.date.fromisoformat(header.day)
            bytes.fromhex(header.sealed)
            after_bytes = len(bytes.fromhex(header.after_hash))
    except (msgspec.MsgspecError, ValueError) as error:
        raise Malformed(f"file header: {error}") from error
    if header.format != 1:
        raise Malformed(f"file header: format {header.format}; this version reads 1, please update")
    if after_bytes != HASH_BYTES:
        raise Malformed(f"file header: after_hash of {after_bytes} bytes, expected {HASH_BYTES}")
    return header, end + _CRC.size


def pack_frame_header(header: FrameHeader) -> bytes:
    """Bytes of *header*, CRC included."""
    fixed = _FRAME.pack(FRAME_MAGIC, *header)
    return fixed + _CRC.pack(zlib.crc32(fixed))


def unpack_frame_header(data: bytes, offset: int = 0) -> FrameHeader:
    """The frame header at *offset*.

    Raises:
        Malformed: it is not whole, not a frame, or altered.
    """
    if len(data) - offset < FRAME_HEADER_BYTES:
        raise Malformed(f"frame header: expected {FRAME_HEADER_BYTES} bytes, found {len(data) - offset}")
    magic, *values = _FRAME.unpack_from(data, offset)
    fixed = data[offset : offset + _FRAME.size]
    if magic != FRAME_MAGIC or _CRC.unpack_from(data, offset + _FRAME.size)[0] != zlib.crc32(fixed):
        raise Malformed("frame header: its checksum does not fit")
    header = FrameHeader(*values)
    if header.body_bytes > MAX_BODY_BYTES:
        raise Malformed(f"frame header: body of {header.body_bytes} bytes, expected at most {MAX_BODY_BYTES}")
    return header


class Damage(NamedTuple):
    """Bytes that are not what the writer left there."""

    offset: int
    what: str
    tail: bool
    """Nothing valid follows: a write that a crash cut short looks like this, and so does a cut file."""
    short: bool = False
    """The bytes end before the frame does: so does a write that is under way."""


class FoundFrame(NamedTuple):
    """A frame whose checksums and place in the chain are right; its body is not yet opened."""

    offset: int
    header: FrameHeader
    body: slice
    """Where in the file the encrypted body lies."""


def trailer(header: bytes, body: bytes) -> bytes:
    """CRC-32 of a whole frame, as it stands behind it."""
    return _CRC.pack(zlib.crc32(body, zlib.crc32(header)))


def scan(data: bytes, offset: int, chain: bytes) -> Iterator[FoundFrame | Damage]:
    """Every frame of *data* from *offset* on, and every stretch that is none; *chain* is ``h_0``.

    After damage the scan goes on with the next valid header: one bad byte costs one frame, and is named.
    """
    number = 1
    while offset < len(data):
        found = _frame_at(data, offset)
        if isinstance(found, Damage):
            following = find_frame_header(data, max(offset + 1, _past(data, offset)))
            yield found._replace(tail=following is None)
            if following is None:
                return
            offset = following
            continue
        header = found.header
        if (header.number, header.previous) != (number, chain):
            yield Damage(
                offset,
                f"expected frame {number}, found frame {header.number} that follows another",
                tail=False,
            )
        yield found
        number, chain = header.number + 1, header.chain
        offset = found.body.stop + TRAILER_BYTES


def _past(data: bytes, offset: int) -> int:
    """End of a damaged frame whose header still says its length, else *offset*."""
    try:
        header = unpack_frame_header(data, offset)
    except Malformed:
        return offset
    end = offset + FRAME_HEADER_BYTES + header.body_bytes + TRAILER_BYTES
    return end if end <= len(data) else offset


def _frame_at(data: bytes, offset: int) -> FoundFrame | Damage:
    try:
        header = unpack_frame_header(data, offset)
    except Malformed as error:
        return Damage(offset, str(error), tail=True, short=len(data) - offset < FRAME_HEADER_BYTES)
    start = offset + FRAME_HEADER_BYTES
    body = slice(start, start + header.body_bytes)
    if body.stop + TRAILER_BYTES > len(data):
        what = f"frame {header.number}: cut after {len(data) - start} bytes"
        return Damage(offset, what, tail=True, short=True)
    if data[body.stop : body.stop + TRAILER_BYTES] != trailer(data[offset:start], data[body]):
        return Damage(offset, f"frame {header.number}: its checksum does not fit", tail=True)
    return FoundFrame(offset, header, body)


def find_frame_header(data: bytes, start: int) -> int | None:
    """Offset of the first valid frame header at or after *start*, or None."""
    at = data.find(FRAME_MAGIC, start)
    while at >= 0:
        try:
            unpack_frame_header(data, at)
        except Malformed:
            at = data.find(FRAME_MAGIC, at + 1)
        else:
            return at
    return None


def first_hash(dataset: str, writer: str, file: int, predecessor: bytes) -> bytes:
    """``h_0`` of a file; *predecessor* is the last acknowledged hash before it, or 32 zero bytes."""
    return hashlib.sha256(b"\x12" + _identity(dataset, writer, file) + predecessor).digest()


def next_hash(previous: bytes, blinding: bytes, number: int, lines: bytes | memoryview) -> bytes:
    """``h_number``; *blinding* is the file's J, *lines* the frame's lines, each with its line feed."""
    salt = hmac.digest(blinding, b"\x11" + struct.pack(">Q", number), "sha256")
    digest = hashlib.sha256(b"\x10" + previous + salt)
    digest.update(lines)
    return digest.digest()


def seal_info(dataset: str, writer: str, file: int) -> bytes:
    """HPKE ``info``: what the sealed secrets are for."""
    return b"applog-journal-1" + _identity(dataset, writer, file)


def nonce(number: int) -> bytes:
    """AES-GCM nonce of frame *number*."""
    return b"\0\0\0\0" + struct.pack(">Q", number)


def _identity(dataset: str, writer: str, file: int) -> bytes:
    parts = [name.encode() for name in (dataset, writer)]
    return b"".join(struct.pack(">H", len(part)) + part for part in parts) + struct.pack(">Q", file)
