"""One packet worth a look, as the kernel gave it out. Pure."""

import struct
from collections.abc import Iterator
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


def sightings(metered: Metered) -> Iterator[Sighting]:
    """The packets worth a look of *metered*, in packet order."""
    if not len(metered.peeks):
        return
    last = metered.peeks[-1]
    payloads = metered.peek_bytes[: int(last[c.K_START] + last[c.K_LENGTH])].tobytes()
    for row in metered.peeks.tolist():
        start = row[c.K_START]
        yield Sighting(
            row[c.K_KIND],
            row[c.ORDINAL],
            row[c.K_FROM_B],
            row[c.K_TIME],
            row[c.K_POSITION],
            payloads[start : start + row[c.K_LENGTH]],
            row[c.K_PACKET],
            row,
        )


def _end(row: list[int], side: int) -> End:
    high, low = (row[c.B_HIGH], row[c.B_LOW]) if side else (row[c.A_HIGH], row[c.A_LOW])
    ip = _PAIR.pack(high, low) if row[c.META] & c.META_IPV6 else _WORD.pack(low)
    port = row[c.PORTS] & 0xFFFF if side else row[c.PORTS] >> 16
    mac = row[c.B_MAC] if side else row[c.A_MAC]
    return End(ip, port, _LONG.pack(mac)[2:] if mac >= 0 else None)
