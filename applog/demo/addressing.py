"""How a device comes by its address: DHCPv4 and DHCPv6 messages as bytes.

Rules:
    1. What a message does not say (no host name, no lease) is left out, not sent empty.
    2. The client identifier and the DUID are made from the hardware address, as most devices do.
"""

import enum
import struct
from typing import Final

from applog.demo.names import dns_name
from applog.demo.packets import address_bytes, mac_bytes

_MAGIC: Final = bytes.fromhex("63825363")


class Dhcp(enum.IntEnum):
    """DHCPv4 message types."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    ACK = 5
    NAK = 6
    RELEASE = 7


class Dhcp6(enum.IntEnum):
    """DHCPv6 message types."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    RENEW = 5
    REPLY = 7


def dhcp4(
    kind: Dhcp,
    mac: str,
    *,
    transaction: int,
    host_name: str = "",
    client_ip: str = "0.0.0.0",  # noqa: S104 - "none yet" in DHCP, nothing is bound to it
    your_ip: str = "0.0.0.0",  # noqa: S104 - as above
    requested_ip: str = "",
    server_ip: str = "",
    lease_s: int = 0,
) -> bytes:
    """A DHCPv4 message.

    Args:
        kind: The message type.
        mac: Hardware address of the client (chaddr, and the client identifier).
        transaction: The same in one exchange.
        host_name: Option 12, in UTF-8.
        client_ip: What the client already holds (a renewal).
        your_ip: What the server gives.
        requested_ip: Option 50.
        server_ip: Option 54.
        lease_s: Options 51 (seconds), and 58 at half of it; with them the router, mask and resolver.
    """
    reply = kind in {Dhcp.OFFER, Dhcp.ACK, Dhcp.NAK}
    options = [(53, bytes([kind]))]
    if not reply:
        options += [(61, b"\x01" + mac_bytes(mac))]
    if requested_ip:
        options += [(50, address_bytes(requested_ip))]
    if server_ip:
        options += [(54, address_bytes(server_ip))]
    if host_name:
        options += [(12, host_name.encode())]
    if lease_s:
        options += [(51, lease_s.to_bytes(4)), (58, (lease_s // 2).to_bytes(4)), (1, b"\xff\xff\xfc\0")]
        options += [(3, address_bytes(server_ip)), (6, address_bytes(server_ip))]
    head = struct.pack("!BBBBIHH", 2 if reply else 1, 1, 6, 0, transaction, 0, 0)
    head += address_bytes(client_ip) + address_bytes(your_ip) + bytes(8) + mac_bytes(mac).ljust(16, b"\0")
    body = b"".join(bytes([code, len(value)]) + value for code, value in options)
    return (head + bytes(192) + _MAGIC + body + b"\xff").ljust(300, b"\0")


def duid(mac: str) -> bytes:
    """A DHCP unique identifier made from a hardware address (DUID-LL)."""
    return b"\0\x03\0\x01" + mac_bytes(mac)


def dhcp6(
    kind: Dhcp6,
    mac: str,
    *,
    transaction: int,
    server_mac: str = "",
    address: str = "",
    lifetime_s: int = 7200,
    host_name: str = "",
    rapid: bool = True,
) -> bytes:
    """A DHCPv6 message.

    Args:
        kind: The message type.
        mac: Hardware address of the client, which makes its DUID.
        transaction: The same in one exchange, 24 bits.
        server_mac: Hardware address of the server, in what it sends and what is meant for it.
        address: The address given or asked for.
        lifetime_s: Valid lifetime of *address*; the preferred one is half.
        host_name: Option 39, fully qualified.
        rapid: Option 14: two messages instead of four.
    """
    identity = mac_bytes(mac)[2:] + struct.pack("!II", lifetime_s // 4, lifetime_s // 2)
    if address:
        lease = address_bytes(address) + struct.pack("!II", lifetime_s // 2, lifetime_s)
        identity += _option6(5, lease)
    options = _option6(1, duid(mac)) + _option6(3, identity)
    if server_mac:
        options += _option6(2, duid(server_mac))
    if host_name:
        options += _option6(39, b"\x01" + dns_name(host_name))
    if rapid:
        options += _option6(14, b"")
    return bytes([kind]) + transaction.to_bytes(3) + options


def _option6(code: int, value: bytes) -> bytes:
    return struct.pack("!HH", code, len(value)) + value
