"""The bytes of a journal file: frozen vectors, built a second time from the standard library alone."""

import datetime as dt
import hashlib
import hmac
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from retention.journal import frame
from retention.journal.frame import (
    FRAME_HEADER_BYTES,
    MAX_BODY_BYTES,
    MAX_FILE_HEADER_BYTES,
    Damage,
    FileHeader,
    FoundFrame,
    FrameHeader,
    Malformed,
)
from retention.journal.reader import JournalReader
from retention.keys import FileMasterKey, Recipients
from tests.support.disk import NOTES, flipped

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "journal-1.json").read_text())
HEADER = msgspec.convert(VECTORS["header"], FileHeader)
FILE = bytes.fromhex(VECTORS["bytes"])


def text16(text: str) -> bytes:
    """``u16 length ‖ UTF-8``."""
    return len(text.encode()).to_bytes(2, "big") + text.encode()


def identity(vectors: dict[str, Any]) -> bytes:
    """Dataset, writer and file number, as hashed and as HPKE info."""
    header = vectors["header"]
    return text16(header["dataset"]) + text16(header["writer"]) + header["file"].to_bytes(8, "big")


def file_header_by_hand(header: dict[str, Any]) -> bytes:
    """FORMAT.md 3.2, from the standard library."""
    body = json.dumps(header, separators=(",", ":")).encode()
    fixed = b"APPLOGJ1" + len(body).to_bytes(4, "big") + body
    return fixed + zlib.crc32(fixed).to_bytes(4, "big")


def frame_header_by_hand(number: int, length: int, rows: int, previous: bytes, chain: bytes) -> bytes:
    """FORMAT.md 3.3, from the standard library."""
    fixed = b"AJF1" + struct.pack(">QII", number, length, rows) + previous + chain
    return fixed + zlib.crc32(fixed).to_bytes(4, "big")


def chain_by_hand(vectors: dict[str, Any]) -> list[bytes]:
    """FORMAT.md 3.4: h_0 and each frame's hash, from the standard library."""
    blinding = bytes.fromhex(vectors["J"])
    start = b"\x12" + identity(vectors) + bytes.fromhex(vectors["header"]["after_hash"])
    chain = [hashlib.sha256(start).digest()]
    for number, one in enumerate(vectors["frames"], 1):
        salt = hmac.new(blinding, b"\x11" + number.to_bytes(8, "big"), hashlib.sha256).digest()
        lines = "".join(line + "\n" for line in one["lines"]).encode()
        chain.append(hashlib.sha256(b"\x10" + chain[-1] + salt + lines).digest())
    return chain


def test_the_file_header_has_these_bytes() -> None:
    """Magic, length, compact JSON in this order of members, CRC-32: as frozen, by hand, and by our code."""
    packed = frame.pack_file_header(HEADER)

    assert packed.hex() == VECTORS["file_header"]
    assert packed == file_header_by_hand(VECTORS["header"])
    assert frame.unpack_file_header(packed + b"more") == (HEADER, len(packed))


def test_the_frame_headers_have_these_bytes() -> None:
    """Every byte of a frame header is frozen; it reads back; it is 88 bytes long."""
    chain = chain_by_hand(VECTORS)

    for number, one in enumerate(VECTORS["frames"], 1):
        header = FrameHeader(number, one["body_bytes"], len(one["lines"]), chain[number - 1], chain[number])
        packed = frame.pack_frame_header(header)
        assert packed.hex() == one["header"]
        assert packed == frame_header_by_hand(*header)
        assert frame.unpack_frame_header(b"??" + packed, 2) == header
        assert len(packed) == FRAME_HEADER_BYTES == 88


def test_the_chain_has_these_hashes() -> None:
    """Every h_i follows from dataset, writer, file, predecessor, J and the lines: frozen and by hand."""
    chain = [bytes.fromhex(VECTORS["h_0"])] + [bytes.fromhex(one["chain"]) for one in VECTORS["frames"]]
    blinding = bytes.fromhex(VECTORS["J"])

    start = frame.first_hash(HEADER.dataset, HEADER.writer, HEADER.file, bytes.fromhex(HEADER.after_hash))
    hashes = [
        frame.next_hash(chain[at], blinding, at + 1, "".join(line + "\n" for line in one["lines"]).encode())
        for at, one in enumerate(VECTORS["frames"])
    ]

    assert [start, *hashes] == chain == chain_by_hand(VECTORS)


def test_nonce_and_purpose_have_these_bytes() -> None:
    """The nonce is four zeros and the frame's number; HPKE's info names dataset, writer and file."""
    info = frame.seal_info(HEADER.dataset, HEADER.writer, HEADER.file)

    assert [frame.nonce(at).hex() for at in (1, 2)] == [one["nonce"] for one in VECTORS["frames"]]
    assert info.hex() == VECTORS["info"]
    assert info == b"applog-journal-1" + identity(VECTORS)


def test_the_frozen_file_is_read(tmp_path: Path) -> None:
    """A file written by version 1 stays readable, row by row and chain by chain, with its keys."""
    directory = tmp_path / HEADER.dataset / HEADER.writer
    directory.mkdir(parents=True)
    (directory / "00000002.journal").write_bytes(FILE)
    recipients = Recipients(tmp_path, FileMasterKey(tmp_path / "unused"))
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["private_key"]))
    recipients._private = {dt.date.fromisoformat(HEADER.day): private}
    reader = JournalReader(directory=directory, dataset=NOTES, recipients=recipients, deep=True)

    frames = list(reader.frames())

    assert [one.batch.num_rows for one in frames] == [len(one["lines"]) for one in VECTORS["frames"]]
    assert [one.chain.hex() for one in frames] == [one["chain"] for one in VECTORS["frames"]]
    assert frames[1].batch.column("message").to_pylist() == ['ครู "x"', "b"]
    assert [damage.path.name for damage in reader.damages] == ["00000001.journal"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": 2}, "format 2; this version reads 1, please update"),
        ({"file": "two"}, "Expected `int`"),
        ({"day": "yesterday"}, "Invalid isoformat"),
        ({"sealed": "xyz"}, "non-hexadecimal"),
        ({"after_hash": "00"}, "after_hash of 1 bytes, expected 32"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_header_that_makes_no_sense_is_refused(change: dict[str, Any], says: str) -> None:
    """A file header with a fitting checksum but an impossible value is Malformed, never another exception."""
    packed = file_header_by_hand(VECTORS["header"] | change)

    with pytest.raises(Malformed, match=says):
        frame.unpack_file_header(packed)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xff", b"[1]"], ids=repr)
def test_a_header_that_is_no_object_is_refused(body: bytes) -> None:
    """A fitting checksum does not make JSON of anything."""
    fixed = b"APPLOGJ1" + len(body).to_bytes(4, "big") + body

    with pytest.raises(Malformed, match="file header"):
        frame.unpack_file_header(fixed + zlib.crc32(fixed).to_bytes(4, "big"))


def test_lengths_are_bounded() -> None:
    """A length beyond the limits is refused before anything of that size is touched."""
    long = b"APPLOGJ1" + (MAX_FILE_HEADER_BYTES + 1).to_bytes(4, "big") + bytes(MAX_FILE_HEADER_BYTES + 9)
    wide = frame_header_by_hand(1, MAX_BODY_BYTES + 1, 1, bytes(32), bytes(32))

    with pytest.raises(Malformed, match="not an applog journal"):
        frame.unpack_file_header(long)
    with pytest.raises(Malformed, match="expected at most"):
        frame.unpack_frame_header(wide)


def test_every_flipped_header_byte_is_found() -> None:
    """No byte of a file header or a frame header can change unnoticed, nor can they be cut."""
    packed = frame.pack_file_header(HEADER)
    one = bytes.fromhex(VECTORS["frames"][0]["header"])

    for at in range(len(packed)):
        with pytest.raises(Malformed):
            frame.unpack_file_header(flipped(packed, at))
        with pytest.raises(Malformed):
            frame.unpack_file_header(packed[:at])
    for at in range(len(one)):
        with pytest.raises(Malformed):
            frame.unpack_frame_header(flipped(one, at))
        with pytest.raises(Malformed):
            frame.unpack_frame_header(one[:at])


@given(st.binary(max_size=200) | st.binary(max_size=100).map(lambda tail: b"AJF1" + tail))
def test_scan_never_raises(data: bytes) -> None:
    """Any bytes are frames or damage, every byte of a non-empty stretch is covered, and it ends."""
    found = list(frame.scan(data, 0, bytes(32)))

    assert all(isinstance(one, Damage | FoundFrame) for one in found)
    assert bool(found) == bool(data)


def test_scan_goes_on_after_damage() -> None:
    """Garbage between frames costs only itself; a frame out of order is named and still found."""
    frames, chain = [], bytes(32)
    for number, body in enumerate((b"one", b"two", b"three"), 1):
        after = hashlib.sha256(body).digest()
        header = frame_header_by_hand(number, len(body), 1, chain, after)
        frames.append(header + body + frame.trailer(header, body))
        chain = after

    whole = list(frame.scan(b"".join(frames), 0, bytes(32)))
    between = list(frame.scan(frames[0] + b"?AJF1garbage" + frames[1] + frames[2], 0, bytes(32)))
    without = list(frame.scan(frames[0] + frames[2], 0, bytes(32)))
    torn = list(frame.scan(frames[0] + frames[1][:-1], 0, bytes(32)))

    assert numbers(whole) == [1, 2, 3]
    assert numbers(between) == [1, "damage", 2, 3]
    assert numbers(without) == [1, "damage", 3]
    assert numbers(torn) == [1, "tail"]


def test_a_frame_that_follows_another_is_named() -> None:
    """The right number is not enough: a frame must name the hash of the one before it, the first one h_0."""
    header = frame_header_by_hand(1, 0, 1, bytes(32), bytes(32))
    data = header + frame.trailer(header, b"")

    assert numbers(list(frame.scan(data, 0, bytes(32)))) == [1]
    assert numbers(list(frame.scan(data, 0, b"\1" * 32))) == ["damage", 1]


def test_a_header_inside_a_body_is_no_frame() -> None:
    """A damaged frame is passed over whole while its header is good: what its body holds is not believed."""
    inner = frame_header_by_hand(7, 3, 1, bytes(32), bytes(32))
    header = frame_header_by_hand(1, len(inner), 1, bytes(32), bytes(32))
    damaged = header + inner + b"\0\0\0\0"

    found = list(frame.scan(damaged, 0, bytes(32)))

    assert numbers(found) == ["tail"]
    assert found[0].offset == 0


def numbers(found: list[FoundFrame | Damage]) -> list[int | str]:
    """Frames by number, damage by its sort."""
    return [
        one.header.number if isinstance(one, FoundFrame) else ("tail" if one.tail else "damage")
        for one in found
    ]
