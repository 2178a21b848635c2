"""One packet worth a look, as the kernel gave it out. Pure."""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from applog.capture.kernel import columns as c
from applog.capture.meter import Metered

_PAIR = struct.Struct(">qq")
_WORD = struct.Struct(">I")
_LONG = struct.Struct(">q")


class End(NamedTuple):
    """One end of a flow."""

    ip: bytes
    port: int
    mac: bytes | None


class Sighting(NamedTuple):
    """A copied payload and the flow it belongs to."""

    kind: int
    ordinal: int
    side: int
    """0: from the originator, 1: from the responder."""
    time: int
    position: int
    data: bytes
    packet: int
    row: list[int]
    """The flow's columns at that moment."""

    def sender(self) -> End:
        """Who sent the packet."""
        return _end(self.row, self.side)

    def receiver(self) -> End:
        """Who it was sent to."""
        return _end(self.row, 1 - self.side)

    @property
    def vlan(self) -> int | None:
        """Outer VLAN."""
        return self.row[c.META] >> c.META_VLAN_SHIFT & 0xFFF or None


StreamLook = Callable[[int, int, int, int, bytes, int], None]
"""Takes a segment of a named stream: kind, flow, side, position, bytes, packet number."""

_STREAMS = frozenset({c.P_TLS, c.P_HTTP, c.P_UNKNOWN})
_NEEDED = (c.K_KIND, c.ORDINAL, c.K_FROM_B, c.K_TIME, c.K_POSITION, c.K_START, c.K_LENGTH, c.K_PACKET)


def sightings(metered: Metered, look: StreamLook) -> Iterator[Sighting]:
    """The packets worth a look, in packet order; segments of streams, the many, go straight to *look*."""
    peeks = metered.peeks
    if not len(peeks):
        return
    payloads = metered.peek_bytes[: int(peeks[-1, c.K_START] + peeks[-1, c.K_LENGTH])].tobytes()
    for at, row in enumerate(peeks[:, _NEEDED].tolist()):
        kind, ordinal, side, time, position, start, length, packet = row
        data = payloads[start : start + length]
        if kind in _STREAMS:
            look(kind, ordinal, side, position, data, packet)
        else:
            yield Sighting(kind, ordinal, side, time, position, data, packet, peeks[at].tolist())


def _end(row: list[int], side: int) -> End:
    high, low = (row[c.B_HIGH], row[c.B_LOW]) if side else (row[c.A_HIGH], row[c.A_LOW])
    ip = _PAIR.pack(high, low) if row[c.META] & c.META_IPV6 else _WORD.pack(low)
    port = row[c.PORTS] & 0xFFFF if side else row[c.PORTS] >> 16
    mac = row[c.B_MAC] if side else row[c.A_MAC]
    return End(ip, port, _LONG.pack(mac)[2:] if mac >= 0 else None)
