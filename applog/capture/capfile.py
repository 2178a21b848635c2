"""Reads capture files in blocks: pcap and pcapng, plain, gzip or zstd, from a file or a pipe.

Rules:
    1. What is whole is given out; reading stops at the first record that is not, and ``problem`` says at
       which byte, why, and how many bytes follow. Offsets count uncompressed bytes.
    2. A file of which nothing can be read is refused (``NotACaptureError``) before anything is given out.
    3. Files are read, not mapped: one that shrinks meanwhile must not kill the process.
    4. A block holds whole records; its arrays are reused for the next one.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import zstandard

from applog.capture.kernel import Kernels
from applog.capture.packing import unpacked
from applog.capture.pcapng import Section, describe_interface, open_section
from applog.errors import NotACaptureError

BLOCK_BYTES = 8 << 20
INDEX_ROWS = 1 << 17
_MAX_RECORD = (1 << 24) + 64

_PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": (False, False),
    b"\xa1\xb2\xc3\xd4": (True, False),
    b"\x4d\x3c\xb2\xa1": (False, True),
    b"\xa1\xb2\x3c\x4d": (True, True),
}
_PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Packets:
    """Whole packets of one block; index rows are described in ``kernel.columns``."""

    block: Bytes
    index: Integers
    count: int


class Problem(NamedTuple):
    """Why reading stopped before the end."""

    offset: int
    what: str
    lost_bytes: int


class CaptureFile:
    """One pass over the packets of a capture."""

    def __init__(self, stream: io.RawIOBase | io.BufferedIOBase, name: str, kernels: Kernels) -> None:
        self.name = name
        self.problem: Problem | None = None
        self.links: set[int] = set()
        """Link types that the file declares."""
        self._kernels = kernels
        self._source = unpacked(stream)
        self._buffer = np.empty(BLOCK_BYTES + _MAX_RECORD, np.uint8)
        self._filled = 0
        self._consumed = 0
        """Bytes of the file before the buffer's first."""
        self._ended = False
        self._index = np.empty((INDEX_ROWS, 6), np.int64)
        self._fill()
        if not self._filled:
            raise NotACaptureError(f"{name}: {self._why_nothing()}")

    def packets(self) -> Iterator[Packets]:
        """Blocks of whole packets in file order; afterwards ``problem`` is final."""
        magic = self._buffer[:4].tobytes()
        if magic in _PCAP_MAGICS and self._filled >= 24:
            yield from self._pcap(*_PCAP_MAGICS[magic])
        elif magic == _PCAPNG_MAGIC and self._filled >= 28:
            yield from self._pcapng()
        else:
            what = "cut inside its header" if magic in (*_PCAP_MAGICS, _PCAPNG_MAGIC) else "not a capture"
            raise NotACaptureError(
                f"{self.name}: byte 0: {what}, it begins {magic.hex(' ') or 'with nothing'}"
            )

    def _pcap(self, big_endian: bool, nanoseconds: bool) -> Iterator[Packets]:
        order = ">u4" if big_endian else "<u4"
        major = int(self._buffer[4:6].view(">u2" if big_endian else "<u2")[0])
        if major != 2:
            raise NotACaptureError(f"{self.name}: byte 4: pcap version {major}, expected 2")
        link = int(self._buffer[20:24].view(order)[0]) & 0x03FF_FFFF  # above: FCS length
        self.links.add(link)
        settings = np.array([big_endian, nanoseconds, link], np.int64)
        framing = self._kernels.framing
        at = 24
        while True:
            count, at, status = framing.walk_pcap(self._buffer, at, self._filled, settings, self._index)
            if count:
                yield Packets(self._buffer, self._index, count)
            if status == framing.BAD_LENGTH:
                self._stop(at, "a packet record's length is impossible")
                return
            if status == framing.MORE:
                if not self._refill(at):
                    return
                at = 0

    def _pcapng(self) -> Iterator[Packets]:
        framing = self._kernels.framing
        section = Section()
        at = 0
        while True:
            count, at, status = framing.walk_pcapng(
                self._buffer, at, self._filled, section.settings(), section.interfaces, self._index
            )
            if count:
                yield Packets(self._buffer, self._index, count)
            if status == framing.MORE:
                if not self._refill(at):
                    return
                at = 0
            elif status == framing.FULL:
                continue
            elif status in (framing.NEW_SECTION, framing.INTERFACE_BLOCK):
                taken, reason = self._described(status, section, at)
                if reason and self._consumed + at == 0:
                    raise NotACaptureError(f"{self.name}: byte 0: {reason}")
                if reason:
                    self._stop(at, reason)
                    return
                if not taken and not self._refill(at):
                    return
                at = at + taken if taken else 0
            else:
                self._stop(at, _REASONS[status])
                return

    def _described(self, status: int, section: Section, at: int) -> tuple[int, str]:
        """Read the section header or interface description at *at*: (its length or 0, why not)."""
        data = self._buffer[at : min(self._filled, at + 65_536)].tobytes()
        read = open_section if status == self._kernels.framing.NEW_SECTION else describe_interface
        taken, reason = read(section, data)
        self.links.update(section.links())
        return taken, reason

    def _why_nothing(self) -> str:
        return self.problem.what if self.problem else "the file is empty"

    def _refill(self, at: int) -> bool:
        """Move what is left from *at* on to the front and read on; False at the end of the file."""
        left = self._filled - at
        self._buffer[:left] = self._buffer[at : self._filled]
        self._consumed += at
        self._filled = left
        self._fill()
        if self._filled > left:
            return True
        if left and self.problem is None:
            self.problem = Problem(self._consumed, "the file ends inside a record", left)
        return False

    def _fill(self) -> None:
        """Read until the block is full or the source ends, so that blocks do not depend on pipes."""
        view = self._buffer.data
        limit = min(self._filled + BLOCK_BYTES, len(view))
        while self._filled < limit and not self._ended:
            try:
                got = self._source.readinto1(view[self._filled : limit])
            except (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
                self._ended = True
                offset = self._consumed + self._filled
                self.problem = Problem(offset, f"the compressed data is damaged or cut: {error}", 0)
                return
            if not got:
                self._ended = True
                return
            self._filled += got

    def _stop(self, at: int, what: str) -> None:
        """Give up at *at*, counting the bytes that follow."""
        offset = self._consumed + at
        lost = self._filled - at
        self._filled = 0
        while not self._ended:
            self._fill()
            lost += self._filled
            self._filled = 0
        self.problem = Problem(offset, what, lost)


_REASONS = {
    2: "a block's length is impossible",
    4: "a block's two lengths differ, or it is too short for its type",
    5: "a packet of an interface that the file does not describe",
}
