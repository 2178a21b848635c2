"""Capture files: pcap and pcapng, in every byte order and resolution that readers must cope with.

Rules:
    1. A packet is (microseconds since 1970, frame), or with the number of its pcapng interface as a third.
    2. Packets are written in the order given; nothing is sorted, so a clock can be made to jump.
    3. A time that a resolution cannot hold is rounded down.
    4. A frame longer than the snap length is cut, and its true length kept.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

Packet = tuple[int, bytes]
InterfacePacket = tuple[int, bytes, int]

ETHERNET: Final = 1
BSD_NULL: Final = 0
RAW_IP: Final = 101
OPENBSD_LOOP: Final = 108
LINUX_COOKED: Final = 113
RAW_IPV4: Final = 228
RAW_IPV6: Final = 229
LINUX_COOKED2: Final = 276

POWER_OF_TWO: Final = 0x80
"""Added to `Interface.resolution`: the unit is a power of 2, not of 10."""

_MILLION: Final = 1_000_000
_IPV6_FAMILY: Final = {BSD_NULL: 30, OPENBSD_LOOP: 24}


@dataclass(frozen=True, kw_only=True)
class Interface:
    """What a pcapng interface description block says."""

    linktype: int = ETHERNET
    """Link type of its frames."""

    snaplen: int = 262144
    """Longest part of a frame that is kept, bytes; 0 is no limit."""

    resolution: int | None = None
    """if_tsresol as stored: 9 is 10^-9 s, 0x80 + 20 is 2^-20 s; None leaves the option out (10^-6 s)."""

    offset: int | None = None
    """if_tsoffset, seconds added to every stored time; None leaves the option out."""

    name: str = ""
    """if_name."""

    dropped: int | None = None
    """isb_ifdrop of a statistics block at the end; None writes no such block."""

    def ticks(self, time_us: int) -> int:
        """*time_us* as this interface stores it."""
        since = time_us - (self.offset or 0) * _MILLION
        resolution = 6 if self.resolution is None else self.resolution
        exponent = resolution & ~POWER_OF_TWO
        unit: int = 2**exponent if resolution & POWER_OF_TWO else 10**exponent
        return since * unit // _MILLION


def relink(frame: bytes, linktype: int, *, big_endian: bool = False) -> bytes:
    """An untagged Ethernet *frame* as another link type would have captured it."""
    target, source, kind, packet = frame[:6], frame[6:12], frame[12:14], frame[14:]
    match linktype:
        case 0 | 108:
            family = 2 if kind == b"\x08\0" else _IPV6_FAMILY[linktype]
            return family.to_bytes(4, "big" if big_endian or linktype == OPENBSD_LOOP else "little") + packet
        case 113:
            return struct.pack("!HHH", _cooked_kind(target), 1, 6) + source + b"\0\0" + kind + packet
        case 276:
            head = struct.pack("!HIHBB", 0, 1, 1, _cooked_kind(target), 6)
            return kind + head + source + b"\0\0" + packet
        case 101 | 228 | 229:
            return packet
        case _:
            return frame


def _cooked_kind(target: bytes) -> int:
    if target == b"\xff" * 6:
        return 1
    return 2 if target[0] & 1 else 0


def pcap(
    packets: Iterable[Packet],
    *,
    linktype: int = ETHERNET,
    nanoseconds: bool = False,
    big_endian: bool = False,
    snaplen: int = 262144,
) -> Iterator[bytes]:
    """The pieces of a pcap file: its header, then one piece for each packet."""
    order = ">" if big_endian else "<"
    magic, factor = (0xA1B23C4D, 1000) if nanoseconds else (0xA1B2C3D4, 1)
    yield struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, linktype)
    for time_us, frame in packets:
        seconds, rest = divmod(time_us, _MILLION)
        kept = frame[:snaplen]
        yield struct.pack(order + "IIII", seconds, rest * factor, len(kept), len(frame)) + kept


def write_pcap(
    path: Path,
    packets: Iterable[Packet],
    *,
    linktype: int = ETHERNET,
    nanoseconds: bool = False,
    big_endian: bool = False,
    snaplen: int = 262144,
) -> int:
    """Write a pcap file; returns the number of packets."""
    pieces = pcap(packets, linktype=linktype, nanoseconds=nanoseconds, big_endian=big_endian, snaplen=snaplen)
    return _write(path, pieces) - 1


def pcapng(
    packets: Iterable[Packet | InterfacePacket],
    *,
    interfaces: tuple[Interface, ...] = (Interface(),),
    big_endian: bool = False,
    simple: bool = False,
) -> Iterator[bytes]:
    """The pieces of a pcapng section: one for each block.

    Args:
        packets: What to write; interface 0 unless a packet names another.
        interfaces: What to describe before the first packet.
        big_endian: Byte order of the section.
        simple: Write simple packet blocks, which have no time and belong to interface 0.
    """
    order = ">" if big_endian else "<"
    yield block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    for interface in interfaces:
        yield block(1, _description(interface, order), order)
    for packet in packets:
        number = packet[2] if len(packet) == 3 else 0
        interface, frame = interfaces[number], packet[1]
        kept = frame[: interface.snaplen or None]
        if simple:
            yield block(3, struct.pack(order + "I", len(frame)) + kept, order)
            continue
        high, low = divmod(interface.ticks(packet[0]), 1 << 32)
        head = struct.pack(order + "IIIII", number, high, low, len(kept), len(frame))
        yield block(6, head + kept, order)
    for number, interface in enumerate(interfaces):
        if interface.dropped is not None:
            yield block(5, _statistics(number, interface.dropped, order), order)


def write_pcapng(
    path: Path,
    packets: Iterable[Packet | InterfacePacket],
    *,
    interfaces: tuple[Interface, ...] = (Interface(),),
    big_endian: bool = False,
    simple: bool = False,
) -> int:
    """Write a pcapng file; returns the number of blocks."""
    return _write(path, pcapng(packets, interfaces=interfaces, big_endian=big_endian, simple=simple))


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block: its type, its length, *body* filled up to four bytes, its length again."""
    body += b"\0" * (-len(body) % 4)
    size = 12 + len(body)
    return struct.pack(order + "II", kind, size) + body + struct.pack(order + "I", size)


def _option(code: int, value: bytes, order: str) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def _description(interface: Interface, order: str) -> bytes:
    options = b""
    if interface.name:
        options += _option(2, interface.name.encode(), order)
    if interface.resolution is not None:
        options += _option(9, bytes([interface.resolution]), order)
    if interface.offset is not None:
        options += _option(14, struct.pack(order + "q", interface.offset), order)
    if options:
        options += _option(0, b"", order)
    return struct.pack(order + "HHI", interface.linktype, 0, interface.snaplen) + options


def _statistics(number: int, dropped: int, order: str) -> bytes:
    options = _option(5, struct.pack(order + "Q", dropped), order) + _option(0, b"", order)
    return struct.pack(order + "III", number, 0, 0) + options


def _write(path: Path, pieces: Iterable[bytes]) -> int:
    with path.open("wb") as file:
        return sum(1 for piece in pieces if file.write(piece))
