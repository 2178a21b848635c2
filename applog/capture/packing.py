"""Undoes the packing of a capture: gzip (RFC 1952) or zstd (RFC 8878), told by the first bytes.

Rules:
    1. What is unpacked before damage is given out before the damage is raised.
    2. A file that ends inside its packing is damaged, also where the end falls between two records.
    3. A zstd window above 128 MiB is refused: a file of a few bytes must not take gigabytes.
"""

import gzip
import io
from typing import Any, Protocol, cast

import zstandard

_WINDOW = 1 << 27
_PIECE = 8_192
"""Packed bytes unpacked at once: they may become 260 MB at most."""


class Source(Protocol):
    """A readable stream of bytes."""

    def readinto1(self, buffer: memoryview, /) -> int | None:
        """Read at least a byte unless at the end."""


def unpacked(stream: io.RawIOBase | io.BufferedIOBase) -> Source:
    """*stream*, unpacked if its first bytes say so."""
    raw = cast("io.RawIOBase", stream)
    magic = b""
    while len(magic) < 4 and (more := raw.read(4 - len(magic))):
        magic += more
    whole = io.BufferedReader(_Rejoined(magic, raw), 1 << 20)
    if magic[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=whole)
    if magic == b"\x28\xb5\x2f\xfd":
        return io.BufferedReader(_Zstd(whole), 1 << 20)
    return whole


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already. Closing it leaves the stream open."""

    def __init__(self, first: bytes, rest: io.RawIOBase) -> None:
        super().__init__()
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        if not self._first:
            return self._rest.readinto(buffer)
        count = min(len(buffer), len(self._first))
        buffer[:count] = self._first[:count]
        self._first = self._first[count:]
        return count


class _Zstd(io.RawIOBase):
    """Unpacks zstd frames, and notices one that is not finished."""

    def __init__(self, packed: "io.BufferedReader[Any]") -> None:
        super().__init__()
        self._packed = packed
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        self._frame = self._decompressor.decompressobj()
        self._begun = False
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._ready:
            piece = self._frame.unused_data if self._frame.eof else b""
            piece = piece or self._packed.read1(_PIECE)
            if not piece:
                if self._begun and not self._frame.eof:
                    raise EOFError("it ends inside a zstd frame")
                return 0
            if self._frame.eof:
                self._frame = self._decompressor.decompressobj()
            self._begun = True
            self._ready = memoryview(self._frame.decompress(piece))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count
