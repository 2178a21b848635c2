"""Frames from the cable up to TCP, UDP and ICMP: pure functions from values to bytes.

Rules:
    1. A lower layer takes the bytes of the layer above it, so that any nesting can be built, absurd ones too.
    2. Lengths and checksums are right unless the caller overrides them.
    3. An address is text; whether it holds a colon decides between IPv4 and IPv6.
"""

import enum
import functools
import ipaddress
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

ICMP: Final = 1
IPV4: Final = 4
TCP: Final = 6
UDP: Final = 17
IPV6: Final = 41
GRE: Final = 47
ICMPV6: Final = 58

BROADCAST_MAC: Final = "ff-ff-ff-ff-ff-ff"
ETHERTYPES: Final = {4: 0x0800, 6: 0x86DD}
"""Ethernet's type by the first four bits of an IP packet."""

_FULL: Final = 0xFFFF


class Flag(enum.IntFlag):
    """TCP flags that the builders use."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10


class Endpoint(NamedTuple):
    """One end of a TCP or UDP conversation."""

    ip: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Host:
    """A party as the sensor sees it on its cable."""

    ip: str
    """IPv4 or IPv6 address."""

    mac: str
    """Hardware address; that of the router for a party beyond it."""

    name: str = ""
    """Host name, without a domain."""

    ttl: int = 64
    """TTL or hop limit as seen at the sensor."""


@functools.lru_cache(maxsize=4096)
def address_bytes(address: str) -> bytes:
    """An IPv4 address as 4 bytes, an IPv6 address as 16."""
    return ipaddress.ip_address(address).packed


@functools.lru_cache(maxsize=4096)
def mac_bytes(mac: str) -> bytes:
    """The six bytes of a MAC written with hyphens or colons."""
    return bytes.fromhex(mac.replace("-", "").replace(":", ""))


def multicast_mac(address: str) -> str:
    """The MAC that carries a multicast *address* (RFC 1112, RFC 2464)."""
    packed = address_bytes(address)
    if len(packed) == 4:
        return (b"\x01\x00\x5e" + bytes([packed[1] & 0x7F]) + packed[2:]).hex("-")
    return (b"\x33\x33" + packed[12:]).hex("-")


def checksum(data: bytes) -> int:
    """Internet checksum (RFC 1071) of *data*.

    A ones' complement sum of 16-bit words is the number itself modulo 65,535.
    """
    number = int.from_bytes(data + b"\0" if len(data) % 2 else data)
    return _FULL - (number % _FULL or (_FULL if number else 0))


def ethernet(
    payload: bytes,
    *,
    source: str,
    target: str,
    vlans: tuple[int, ...] = (),
    ethertype: int | None = None,
    pad_to: int = 0,
) -> bytes:
    """An Ethernet frame without its check sequence.

    Args:
        payload: Usually an IP packet.
        source: MAC of the sender.
        target: MAC of the receiver.
        vlans: VLAN ids, outermost first; all but the innermost are service tags (802.1ad).
        ethertype: Type of *payload*; by default told from the IP version.
        pad_to: Fill with zeros up to this length, as drivers do to reach 60 bytes.
    """
    head = mac_bytes(target) + mac_bytes(source)
    for depth, vlan in enumerate(vlans, start=1):
        head += struct.pack("!HH", 0x8100 if depth == len(vlans) else 0x88A8, vlan)
    kind = ETHERTYPES[payload[0] >> 4] if ethertype is None else ethertype
    return (head + kind.to_bytes(2) + payload).ljust(pad_to, b"\0")


def arp(sender: Host, target: Host, *, reply: bool = False) -> bytes:
    """An ARP question of *sender* for *target*'s address, or the answer, as a whole frame."""
    known = target.mac if reply else "00-00-00-00-00-00"
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2 if reply else 1)
    body += mac_bytes(sender.mac) + address_bytes(sender.ip) + mac_bytes(known) + address_bytes(target.ip)
    to = target.mac if reply else BROADCAST_MAC
    return ethernet(body, source=sender.mac, target=to, ethertype=0x0806)


def ip(
    source: str, target: str, protocol: int, payload: bytes, *, ttl: int = 64, identification: int = 0
) -> bytes:
    """An IP packet of the version that the addresses have."""
    if ":" in source:
        return ipv6(source, target, protocol, payload, hop_limit=ttl)
    return ipv4(source, target, protocol, payload, ttl=ttl, identification=identification)


def ipv4(
    source: str,
    target: str,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    identification: int = 0,
    options: bytes = b"",
    offset: int = 0,
    more: bool = False,
    total_length: int | None = None,
) -> bytes:
    """An IPv4 packet, or a fragment of one.

    Args:
        source: Address of the sender.
        target: Address of the receiver.
        protocol: Protocol of *payload*.
        payload: What the packet carries.
        ttl: Time to live.
        identification: The same in all fragments of one packet.
        options: Header options; filled up to a multiple of four bytes.
        offset: Place of *payload* in the whole packet's payload, a multiple of eight.
        more: Another fragment follows.
        total_length: Overrides the length field; 0 is what segmentation offload leaves.
    """
    options += b"\0" * (-len(options) % 4)
    size = 20 + len(options) + len(payload) if total_length is None else total_length
    fragmented = (0x2000 if more else 0) | offset // 8
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x45 + len(options) // 4,
        0,
        size,
        identification & _FULL,
        fragmented or 0x4000,  # a whole packet says "do not fragment"
        ttl,
        protocol,
        0,
        address_bytes(source),
        address_bytes(target),
    )
    head += options
    return head[:10] + checksum(head).to_bytes(2) + head[12:] + payload


def ipv6(
    source: str,
    target: str,
    protocol: int,
    payload: bytes,
    *,
    hop_limit: int = 64,
    extensions: tuple[tuple[int, bytes], ...] = (),
    payload_length: int | None = None,
) -> bytes:
    """An IPv6 packet; *extensions* are (header number, body after the next-header byte), outermost first."""
    kinds = [kind for kind, _ in extensions] + [protocol]
    chain = b"".join(
        bytes([following]) + body for following, (_, body) in zip(kinds[1:], extensions, strict=True)
    )
    size = len(chain) + len(payload) if payload_length is None else payload_length
    head = struct.pack("!IHBB", 6 << 28, size, kinds[0], hop_limit)
    return head + address_bytes(source) + address_bytes(target) + chain + payload


def _with_checksum(source: str, target: str, protocol: int, segment: bytes, at: int) -> bytes:
    pseudo = address_bytes(source) + address_bytes(target) + struct.pack("!II", len(segment), protocol)
    total = checksum(pseudo + segment)
    if protocol == UDP:
        total = total or _FULL  # zero would say "not computed"
    return segment[:at] + total.to_bytes(2) + segment[at + 2 :]


def tcp(
    source: Endpoint,
    target: Endpoint,
    payload: bytes = b"",
    *,
    flags: Flag = Flag.ACK,
    seq: int = 0,
    ack: int = 0,
    window: int = 64240,
    options: bytes = b"",
) -> bytes:
    """A TCP segment; *options* are filled up to a multiple of four bytes."""
    options += b"\0" * (-len(options) % 4)
    head = struct.pack(
        "!HHIIBBHHH",
        source.port,
        target.port,
        seq & 0xFFFFFFFF,
        ack & 0xFFFFFFFF,
        (5 + len(options) // 4) << 4,
        flags,
        window,
        0,
        0,
    )
    return _with_checksum(source.ip, target.ip, TCP, head + options + payload, 16)


def udp(source: Endpoint, target: Endpoint, payload: bytes = b"") -> bytes:
    """A UDP datagram."""
    head = struct.pack("!HHHH", source.port, target.port, 8 + len(payload), 0)
    return _with_checksum(source.ip, target.ip, UDP, head + payload, 6)


def icmp(source: str, target: str, kind: int, code: int, body: bytes) -> bytes:
    """An ICMP message, or ICMPv6 where the addresses are IPv6."""
    message = bytes([kind, code, 0, 0]) + body
    if ":" in source:
        return _with_checksum(source, target, ICMPV6, message, 2)
    return message[:2] + checksum(message).to_bytes(2) + message[4:]


def icmp_echo(
    source: str, target: str, *, reply: bool = False, identifier: int = 1, sequence: int = 1
) -> bytes:
    """A ping, or its answer, with the 56 bytes that ping sends."""
    kind = (129 if reply else 128) if ":" in source else (0 if reply else 8)
    return icmp(source, target, kind, 0, struct.pack("!HH", identifier, sequence) + bytes(range(56)))
