"""DHCP: which device asked for which address (RFC 2131, 2132, 3396, 4702; RFC 8415, 4704, 6939).

Rules:
    1. DHCPv4 is declined (``None``) without its fixed part, the magic cookie and an operation of 1 or 2;
       DHCPv6 with an unknown message type or a relayed message that is not there or more than 8 deep.
    2. A cut or damaged option ends its list; the options before it count. An option whose length is not
       what its type asks for is unobserved.
    3. Zero addresses and hardware addresses mean "none" in DHCP, and become ``None``.
    4. Everything here is the sender's claim. Only ``V6.client_mac`` comes from somebody else, the relay.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from applog.capture.decode.dns import presentation
from retention.text import wire_text

INFINITE: Final = 0xFFFFFFFF
"""A lease or lifetime in seconds that never ends (RFC 2131 3.3, RFC 8415 7.7)."""

V4_TYPES: Final[dict[int, str]] = dict(
    enumerate(
        (
            *("BOOTP", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"),
            *("FORCERENEW", "LEASEQUERY", "LEASEUNASSIGNED", "LEASEUNKNOWN", "LEASEACTIVE", "BULKLEASEQUERY"),
            *("LEASEQUERYDONE", "ACTIVELEASEQUERY", "LEASEQUERYSTATUS", "TLS"),
        )
    )
)
"""Names of ``V4.message_type`` (IANA); 0 is ours, for a message without option 53."""

V6_TYPES: Final[dict[int, str]] = dict(
    enumerate(
        (
            *("SOLICIT", "ADVERTISE", "REQUEST", "CONFIRM", "RENEW", "REBIND", "REPLY", "RELEASE", "DECLINE"),
            *("RECONFIGURE", "INFORMATION-REQUEST", "RELAY-FORW", "RELAY-REPL", "LEASEQUERY"),
            *("LEASEQUERY-REPLY", "LEASEQUERY-DONE", "LEASEQUERY-DATA", "RECONFIGURE-REQUEST"),
            *("RECONFIGURE-REPLY", "DHCPV4-QUERY", "DHCPV4-RESPONSE", "ACTIVELEASEQUERY", "STARTTLS"),
            *("BNDUPD", "BNDREPLY", "POOLREQ", "POOLRESP", "UPDREQ", "UPDREQALL", "UPDDONE", "CONNECT"),
            *("CONNECTREPLY", "DISCONNECT", "STATE", "CONTACT", "ADDR-REG-INFORM", "ADDR-REG-REPLY"),
        ),
        start=1,
    )
)
"""Names of DHCPv6 message types (IANA)."""

_V4 = struct.Struct("!4BI4x4s4s4x4s16s")  # op htype hlen hops xid, ciaddr yiaddr giaddr chaddr
_MAGIC: Final = b"\x63\x82\x53\x63"
_SNAME: Final = 44
_FILE: Final = 108
_COOKIE: Final = 236
_OPTIONS: Final = 240
_ETHERNET: Final = 1
_MAC_SIZE: Final = 6
_LEASE_SIZE: Final = 4

_PAD, _END = 0, 255
_HOST_NAME, _REQUESTED, _LEASE, _OVERLOAD, _TYPE, _SERVER = 12, 50, 51, 52, 53, 54
_CLIENT_ID, _FQDN, _AGENT = 61, 81, 82
_READ: Final = {_HOST_NAME, _REQUESTED, _LEASE, _OVERLOAD, _TYPE, _SERVER, _CLIENT_ID, _FQDN, _AGENT}
_FQDN_HEADER: Final = 3
_FQDN_WIRE: Final = 4  # the E bit, RFC 4702 2.1

_V6_OPTION = struct.Struct("!HH")
_RELAYED: Final = {12, 13}
_RELAY_HEADER: Final = 34
_RELAY_LIMIT: Final = 8  # HOP_COUNT_LIMIT, RFC 8415 7.6
_CLIENT_DUID, _IA_NA, _IA_TA, _IA_ADDRESS, _RELAY_MESSAGE, _V6_FQDN, _LINK_LAYER = 1, 3, 4, 5, 9, 39, 79
_IA_HEADER: Final = {_IA_NA: 12, _IA_TA: 4}
_ADDRESS = struct.Struct("!16s4xI")
_DUID_MAC: Final = {b"\x00\x01\x00\x01": 8, b"\x00\x03\x00\x01": 4}  # LLT and LL on Ethernet, RFC 8415 11


class V4(NamedTuple):
    """One DHCPv4 message."""

    op: int
    """1 from a client, 2 from a server."""

    message_type: int
    """Option 53, named by ``V4_TYPES``; 0 when there is none (plain BOOTP, or a cut message)."""

    xid: int

    client_mac: bytes | None
    """chaddr, where it is an Ethernet address."""

    yiaddr: bytes | None
    """Address the server gives, 4 bytes."""

    ciaddr: bytes | None
    """Address the client says that it has, 4 bytes."""

    requested_ip: bytes | None
    """Option 50, 4 bytes."""

    server_id: bytes | None
    """Option 54, 4 bytes."""

    lease_seconds: int | None
    """Option 51; ``INFINITE`` when it never ends."""

    host_name: str | None
    """Option 12, else the name of option 81, in the client's spelling."""

    client_id: bytes | None
    """Option 61 with its type byte."""

    relay: bool
    """Passed a relay: giaddr or option 82 is set."""


class V6(NamedTuple):
    """One DHCPv6 message, taken out of what relays put around it."""

    message_type: int
    """Type of the innermost message, named by ``V6_TYPES``."""

    xid: int

    client_duid: bytes | None
    """Option 1."""

    duid_mac: bytes | None
    """Ethernet address inside the DUID. It may be that of another card, or of an earlier owner."""

    client_mac: bytes | None
    """Ethernet address that the relay nearest to the client saw (option 79): better than ``duid_mac``."""

    addresses: tuple[tuple[bytes, int], ...]
    """Addresses of IA_NA and IA_TA: 16 bytes, valid lifetime in seconds (``INFINITE``: never ends)."""

    host_name: str | None
    """Option 39."""

    relay: bool


def v4(data: bytes) -> V4 | None:
    """Read a DHCPv4 message, the payload of a datagram."""
    if len(data) < _OPTIONS or data[_COOKIE:_OPTIONS] != _MAGIC or data[0] not in {1, 2}:
        return None
    op, hardware, size, _, xid, ciaddr, yiaddr, giaddr, chaddr = _V4.unpack_from(data)
    options = _v4_options(data)
    kind = options.get(_TYPE, b"")
    lease = options.get(_LEASE, b"")
    return V4(
        op=op,
        message_type=kind[0] if len(kind) == 1 else 0,
        xid=xid,
        client_mac=_address(chaddr[:size], _MAC_SIZE) if hardware == _ETHERNET else None,
        yiaddr=_address(yiaddr, 4),
        ciaddr=_address(ciaddr, 4),
        requested_ip=_address(options.get(_REQUESTED, b""), 4),
        server_id=_address(options.get(_SERVER, b""), 4),
        lease_seconds=int.from_bytes(lease, "big") if len(lease) == _LEASE_SIZE else None,
        host_name=_text(options.get(_HOST_NAME, b"")) or _v4_fqdn(options.get(_FQDN, b"")),
        client_id=options.get(_CLIENT_ID) or None,
        relay=any(giaddr) or _AGENT in options,
    )


def v6(data: bytes) -> V6 | None:
    """Read a DHCPv6 message, the payload of a datagram."""
    pos, stop = 0, len(data)
    mac: bytes | None = None
    for depth in range(_RELAY_LIMIT + 1):
        if pos + 4 > stop or data[pos] not in V6_TYPES:
            return None
        if data[pos] not in _RELAYED:
            return _v6_message(data, pos, stop, mac, relay=depth > 0)
        inner: tuple[int, int] | None = None
        for code, start, after in _v6_options(data, pos + _RELAY_HEADER, stop):
            if code == _RELAY_MESSAGE:
                inner = inner or (start, after)
            elif code == _LINK_LAYER and data[start : start + 2] == b"\x00\x01":
                mac = _address(data[start + 2 : after], _MAC_SIZE) or mac
        if inner is None:
            return None
        pos, stop = inner
    return None


def _v4_options(data: bytes) -> dict[int, bytes]:
    """Read options joined over the fields they spill into: options, file, sname (RFC 3396 5)."""
    found: dict[int, bytes] = {}
    _read_field(data, _OPTIONS, len(data), found)
    overload = found.get(_OVERLOAD, b"")
    fields = overload[0] if len(overload) == 1 else 0
    if fields & 1:
        _read_field(data, _FILE, _COOKIE, found)
    if fields & 2:
        _read_field(data, _SNAME, _FILE, found)
    return found


def _read_field(data: bytes, pos: int, stop: int, found: dict[int, bytes]) -> None:
    """Append to *found* the options of one field, up to its end or the first that does not fit."""
    while pos + 1 < stop:
        code = data[pos]
        if code == _PAD:
            pos += 1
            continue
        after = pos + 2 + data[pos + 1]
        if code == _END or after > stop:
            return
        if code in _READ:
            value = data[pos + 2 : after]
            found[code] = found[code] + value if code in found else value
        pos = after


def _v6_message(data: bytes, pos: int, stop: int, mac: bytes | None, *, relay: bool) -> V6:
    """Read the innermost message, which has a transaction id and no more headers."""
    duid: bytes | None = None
    name: str | None = None
    addresses: list[tuple[bytes, int]] = []
    for code, start, after in _v6_options(data, pos + 4, stop):
        if code == _CLIENT_DUID:
            duid = duid or data[start:after]
        elif code in _IA_HEADER:
            for inner, at, end in _v6_options(data, start + _IA_HEADER[code], after):
                if inner == _IA_ADDRESS and end - at >= _ADDRESS.size:
                    addresses.append(_ADDRESS.unpack_from(data, at))
        elif code == _V6_FQDN:
            name = name or _labels(data[start + 1 : after])
    skip = _DUID_MAC.get(duid[:4]) if duid else None
    return V6(
        message_type=data[pos],
        xid=int.from_bytes(data[pos + 1 : pos + 4], "big"),
        client_duid=duid or None,
        duid_mac=_address(duid[skip:], _MAC_SIZE) if duid and skip else None,
        client_mac=mac,
        addresses=tuple(addresses),
        host_name=name,
        relay=relay,
    )


def _v6_options(data: bytes, pos: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Code, start and end of each whole option of a list."""
    while pos + _V6_OPTION.size <= stop:
        code, size = _V6_OPTION.unpack_from(data, pos)
        pos += _V6_OPTION.size
        if pos + size > stop:
            return
        yield code, pos, pos + size
        pos += size


def _v4_fqdn(raw: bytes) -> str | None:
    """Name of option 81: labels if the E bit says so, else plain text (RFC 4702 2)."""
    if len(raw) <= _FQDN_HEADER:
        return None
    name = raw[_FQDN_HEADER:]
    return _labels(name) if raw[0] & _FQDN_WIRE else _text(name)


def _labels(raw: bytes) -> str | None:
    """Name in wire form, uncompressed, perhaps without its root (RFC 4702 2.3.1); ``None`` if damaged."""
    labels: list[bytes] = []
    pos = 0
    while pos < len(raw) and raw[pos]:
        after = pos + 1 + raw[pos]
        if after > len(raw):
            return None
        labels.append(raw[pos + 1 : after])
        pos = after
    return presentation(labels) if labels else None


def _text(raw: bytes) -> str | None:
    """Text without the NULs and the last dot that some clients add (RFC 2132 2); ``None`` if empty."""
    return wire_text(raw.rstrip(b"\0").removesuffix(b".")) or None


def _address(raw: bytes, size: int) -> bytes | None:
    """*raw* if it has *size* bytes and is not all zero (rules 2 and 3)."""
    return raw if len(raw) == size and any(raw) else None
