"""What offices seldom send and a meter must survive: fragments, IPv6 extension headers, tunnels."""

import struct
from typing import Final

from applog.demo.packets import ETHERTYPES, address_bytes, ipv4

HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
DESTINATION_OPTIONS: Final = 60


def ipv4_fragments(
    source: str, target: str, protocol: int, payload: bytes, *, size: int, identification: int
) -> list[bytes]:
    """The fragments of one IPv4 packet, *size* (a multiple of eight) payload bytes in each but the last."""
    return [
        ipv4(
            source,
            target,
            protocol,
            payload[at : at + size],
            identification=identification,
            offset=at,
            more=at + size < len(payload),
        )
        for at in range(0, len(payload), size)
    ]


def ipv6_options(kind: int = HOP_BY_HOP, data: bytes = b"\x05\x02\0\0\x01\0") -> tuple[int, bytes]:
    """A hop-by-hop or destination options header; *data* (router alert by default) is 6 bytes, or 8 more."""
    return kind, bytes([(len(data) + 2) // 8 - 1]) + data


def ipv6_routing(*hops: str) -> tuple[int, bytes]:
    """A used-up routing header (segment routing, type 4, no segments left)."""
    last = len(hops) - 1
    head = bytes([len(hops) * 2, 4, 0, last, 0, 0, 0])
    return ROUTING, head + b"".join(map(address_bytes, hops))


def ipv6_fragment(offset: int, *, more: bool, identification: int) -> tuple[int, bytes]:
    """A fragment header; *offset* is a multiple of eight."""
    return FRAGMENT, struct.pack("!BHI", 0, offset | more, identification)


def gre(payload: bytes) -> bytes:
    """A GRE header before an IP packet."""
    return struct.pack("!HH", 0, ETHERTYPES[payload[0] >> 4]) + payload


def vxlan(frame: bytes, *, network: int) -> bytes:
    """A VXLAN header before a whole Ethernet frame."""
    return struct.pack("!II", 0x08000000, network << 8) + frame
