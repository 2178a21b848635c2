"""The self-description of pcapng: section headers and interfaces (draft-ietf-opsawg-pcapng). Pure.

Rules:
    1. Each section has its own byte order and its own interfaces, numbered from 0.
    2. Each interface has its own link type, time resolution and time offset.
    3. What cannot be read is answered with a reason; a block that is not whole yet with length 0.
"""

import struct

import numpy as np
import numpy.typing as npt

_MAX_INTERFACES = 65_536
_OPTION_RESOLUTION, _OPTION_OFFSET = 9, 14


class Section:
    """The section that is being read."""

    def __init__(self) -> None:
        self.order = "<"
        self._rows: list[tuple[int, int, int, int, int]] = []
        self.interfaces: npt.NDArray[np.int64] = np.zeros((1, 5), np.int64)

    def settings(self) -> npt.NDArray[np.int64]:
        """The walker's settings: big-endian, number of interfaces."""
        return np.array([self.order == ">", len(self._rows)], np.int64)

    def begin(self, order: str) -> None:
        """Start a section: no interfaces are known yet."""
        self.order = order
        self._rows = []

    def add(self, row: tuple[int, int, int, int, int]) -> None:
        """Add an interface: link type, µs per unit as numerator and denominator, offset in s, snap length."""
        if len(self._rows) == len(self.interfaces):
            self.interfaces = np.resize(self.interfaces, (2 * len(self._rows), 5))
        self.interfaces[len(self._rows)] = row
        self._rows.append(row)

    def links(self) -> set[int]:
        """Link type of the interface that was described last, if any."""
        return {row[0] for row in self._rows[-1:]}

    def full(self) -> bool:
        """Whether no further interface is taken."""
        return len(self._rows) >= _MAX_INTERFACES


def open_section(section: Section, data: bytes) -> tuple[int, str]:
    """Read the section header block at the start of *data*: (its length, or 0 if not whole; why not)."""
    if len(data) < 28:
        return 0, ""
    magic = data[8:12]
    if magic == b"\x1a\x2b\x3c\x4d":
        order = ">"
    elif magic == b"\x4d\x3c\x2b\x1a":
        order = "<"
    else:
        return 0, "a section header without a byte-order magic"
    length = struct.unpack_from(order + "I", data, 4)[0]
    major, minor = struct.unpack_from(order + "HH", data, 12)
    if major != 1 or minor not in (0, 2):  # the draft's two numbers for one format
        return 0, f"pcapng version {major}.{minor}, expected 1.0"
    reason = _whole(length, data, 28, order)
    if reason is not None:
        return 0, reason
    section.begin(order)
    return length, ""


def describe_interface(section: Section, data: bytes) -> tuple[int, str]:
    """Read the interface description block at the start of *data*, as ``open_section``."""
    if len(data) < 20:
        return 0, ""
    length, link, _, snap_length = struct.unpack_from(section.order + "xxxxIHHI", data)
    reason = _whole(length, data, 20, section.order)
    if reason is not None:
        return 0, reason
    if section.full():
        return 0, f"more than {_MAX_INTERFACES} interfaces"
    unit: tuple[int, int] | None = (1, 1)
    offset = 0
    for code, value in _options(data[16 : length - 4], section.order):
        if code == _OPTION_RESOLUTION and value:
            unit = resolution(value[0])
        elif code == _OPTION_OFFSET and len(value) == 8:
            offset = struct.unpack(section.order + "q", value)[0]
    if unit is None or abs(offset) > 1 << 40:
        return 0, "an interface's time resolution or offset is impossible"
    section.add((link, *unit, offset, snap_length))
    return length, ""


def resolution(code: int) -> tuple[int, int] | None:
    """µs per time unit of an ``if_tsresol`` byte, as numerator and denominator; None if out of reach."""
    exponent = code & 0x7F
    if code & 0x80:
        return (1_000_000, 1 << exponent) if exponent <= 42 else None
    if exponent <= 6:
        return 10 ** (6 - exponent), 1
    return (1, 10 ** (exponent - 6)) if exponent <= 18 else None


def _whole(length: int, data: bytes, least: int, order: str) -> str | None:
    """None for a whole block, "" for one that needs more bytes, else what is wrong."""
    if length < least or length % 4 or length > 65_536:
        return "a block's length is impossible"
    if length > len(data):
        return "" if len(data) < 65_536 else "a block's length is impossible"
    if struct.unpack_from(order + "I", data, length - 4)[0] != length:
        return "a block's two lengths differ, or it is too short for its type"
    return None


def _options(data: bytes, order: str) -> list[tuple[int, bytes]]:
    """Options of a block, up to the first that is not whole."""
    found = []
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from(order + "HH", data, at)
        if code == 0 or at + 4 + size > len(data):
            break
        found.append((code, data[at + 4 : at + 4 + size]))
        at += 4 + size + (-size % 4)
    return found
