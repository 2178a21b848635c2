"""Reads one packet's headers, from the link layer to the transport. Compiled; pure.

Rules:
    1. Every read is checked against the captured end; nothing past it is ever looked at.
    2. A packet without an IP header to count answers with the counter of its reason, never with silence.
    3. Only the outermost IP header counts; a tunnel is marked, not entered.
"""

import numpy as np

from applog.capture.kernel.build import kernel
from applog.capture.kernel.columns import (
    A_HIGH,
    A_LOW,
    B_HIGH,
    B_LOW,
    BYTES_OF,
    C_ARP,
    C_BAD_CHAIN,
    C_BAD_HEADER_LENGTH,
    C_BAD_LENGTH,
    C_BAD_TRANSPORT,
    C_BAD_VERSION,
    C_BEYOND_WIRE,
    C_CUT_TRANSPORT,
    C_FRAGMENTS,
    C_IP,
    C_LLC,
    C_NOT_IP,
    C_SHORT_IP,
    C_SHORT_LINK,
    C_UNKNOWN_LINK,
    C_VLAN_DEPTH,
    C_ZERO_LENGTH,
    META,
    META_FRAGMENT,
    META_INNER_SHIFT,
    META_IPV6,
    META_PORTLESS,
    META_VLAN_SHIFT,
    P_6IN4,
    P_DHCP4,
    P_DHCP6,
    P_DNS,
    P_ESP,
    P_GENEVE,
    P_GRE,
    P_GTPU,
    P_IPIP,
    P_L2TP,
    P_LLMNR,
    P_MDNS,
    P_NONE,
    P_TEREDO,
    P_VXLAN,
    PORTS,
    X_BYTES,
    X_DATA,
    X_FLAGS,
    X_MAC_FROM,
    X_MAC_TO,
    X_PAYLOAD,
    X_PROTOCOL,
    X_SEEN,
    X_SEQUENCE,
)


@kernel()
def u16(block, at):
    """Two bytes, big-endian."""
    return np.int64(block[at]) << 8 | np.int64(block[at + 1])


@kernel()
def u32(block, at):
    """Four bytes, big-endian."""
    return u16(block, at) << 16 | u16(block, at + 2)


@kernel()
def _u48(block, at):
    return u16(block, at) << 32 | u32(block, at + 2)


@kernel()
def _link(block, at, end, link, x):
    """Strip the link layer: offset of the IP header, or minus the counter of why there is none."""
    x[META] = 0
    x[X_MAC_FROM] = -1
    x[X_MAC_TO] = -1
    if link == 1:
        if at + 14 > end:
            return -C_SHORT_LINK
        x[X_MAC_TO] = _u48(block, at)
        x[X_MAC_FROM] = _u48(block, at + 6)
        kind = u16(block, at + 12)
        at += 14
    elif link == 113:
        if at + 16 > end:
            return -C_SHORT_LINK
        if u16(block, at + 2) == 1 and u16(block, at + 4) == 6:
            x[X_MAC_FROM] = _u48(block, at + 6)
        kind = u16(block, at + 14)
        at += 16
    elif link == 276:
        if at + 20 > end:
            return -C_SHORT_LINK
        if u16(block, at + 8) == 1 and block[at + 11] == 6:
            x[X_MAC_FROM] = _u48(block, at + 12)
        kind = u16(block, at)
        at += 20
    elif link == 0 or link == 108:
        if at + 4 > end:
            return -C_SHORT_LINK
        family = u32(block, at)
        if family > 0xFFFF:  # BSD null is in the byte order of the machine that captured
            family = np.int64(block[at]) | np.int64(block[at + 1]) << 8
        at += 4
        if family == 2:
            kind = np.int64(0x0800)
        elif family == 10 or family == 24 or family == 28 or family == 30:
            kind = np.int64(0x86DD)
        else:
            return -C_NOT_IP
    elif link == 101 or link == 12 or link == 14:
        if at >= end:
            return -C_SHORT_LINK
        kind = np.int64(0x86DD) if block[at] >> 4 == 6 else np.int64(0x0800)
    elif link == 228:
        kind = np.int64(0x0800)
    elif link == 229:
        kind = np.int64(0x86DD)
    else:
        return -C_UNKNOWN_LINK
    tags = 0
    while kind == 0x8100 or kind == 0x88A8 or kind == 0x9100:
        if tags == 8:
            return -C_VLAN_DEPTH
        if at + 4 > end:
            return -C_SHORT_LINK
        vlan = u16(block, at) & 0xFFF
        if tags < 2:
            x[META] |= vlan << (META_VLAN_SHIFT if tags == 0 else META_INNER_SHIFT)
        kind = u16(block, at + 2)
        at += 4
        tags += 1
    if kind == 0x0800 or kind == 0x86DD:
        if at < end and (block[at] >> 4 == 6) != (kind == 0x86DD):
            return -C_BAD_VERSION
        return at
    if kind == 0x0806:
        return -C_ARP
    return -C_LLC if kind < 0x600 else -C_NOT_IP


@kernel()
def _ipv4(block, at, end, on_wire, x, z):
    """Read an IPv4 header: (where the transport header is, bytes from there by the IP length).

    Instead of the first, minus the counter of why not.
    """
    if at + 20 > end:
        return np.int64(-C_SHORT_IP), np.int64(0)
    if block[at] >> 4 != 4:
        return np.int64(-C_BAD_VERSION), np.int64(0)
    header = (np.int64(block[at]) & 15) * 4
    if header < 20:
        return np.int64(-C_BAD_HEADER_LENGTH), np.int64(0)
    total = u16(block, at + 2)
    if total == 0:  # segmentation offload: the wire length is all there is
        z[C_ZERO_LENGTH] += 1
        total = on_wire
    if total < header:
        return np.int64(-C_BAD_LENGTH), np.int64(0)
    if total > on_wire:
        z[C_BEYOND_WIRE] += 1
    x[A_HIGH] = 0
    x[B_HIGH] = 0
    x[A_LOW] = u32(block, at + 12)
    x[B_LOW] = u32(block, at + 16)
    x[META] |= np.int64(block[at + 9])
    if u16(block, at + 6) & 0x1FFF != 0:
        x[META] |= META_FRAGMENT
    x[X_BYTES] = total
    return at + header, total - header


@kernel()
def _ipv6(block, at, end, on_wire, x, z):
    """Read an IPv6 header and its extension chain (RFC 8200 section 4), as ``_ipv4``."""
    if at + 40 > end:
        return np.int64(-C_SHORT_IP), np.int64(0)
    if block[at] >> 4 != 6:
        return np.int64(-C_BAD_VERSION), np.int64(0)
    total = 40 + u16(block, at + 4)
    if total == 40 and block[at + 6] != 59:  # jumbogram or segmentation offload
        z[C_ZERO_LENGTH] += 1
        total = on_wire
    if total > on_wire:
        z[C_BEYOND_WIRE] += 1
    x[A_HIGH] = u32(block, at + 8) << 32 | u32(block, at + 12)
    x[A_LOW] = u32(block, at + 16) << 32 | u32(block, at + 20)
    x[B_HIGH] = u32(block, at + 24) << 32 | u32(block, at + 28)
    x[B_LOW] = u32(block, at + 32) << 32 | u32(block, at + 36)
    x[X_BYTES] = total
    x[META] |= META_IPV6
    kind = np.int64(block[at + 6])
    here = at + 40
    for _ in range(16):
        if kind == 0 or kind == 43 or kind == 60 or kind == 139 or kind == 140 or kind == 51:
            if here + 8 > end:
                break
            size = (np.int64(block[here + 1]) + 2) * 4 if kind == 51 else (np.int64(block[here + 1]) + 1) * 8
        elif kind == 44:
            if here + 8 > end:
                break
            size = np.int64(8)
            if u16(block, here + 2) & 0xFFF8 != 0:
                x[META] |= META_FRAGMENT | np.int64(block[here])
                return here + 8, max(at + total - here - 8, 0)
        else:
            break
        kind = np.int64(block[here])
        here += size
    else:
        z[C_BAD_CHAIN] += 1
    x[META] |= kind
    return here, max(at + total - here, 0)


@kernel()
def _transport(block, at, end, length, x, z):
    """Read ports, flags and where the payload lies; what the capture or the sender cut is counted."""
    protocol = x[META] & 0xFF
    x[PORTS] = 0
    x[X_FLAGS] = 0
    x[X_SEQUENCE] = 0
    x[X_DATA] = at
    x[X_SEEN] = 0
    x[X_PAYLOAD] = length
    x[X_PROTOCOL] = P_NONE
    if x[META] & META_FRAGMENT:
        z[C_FRAGMENTS] += 1
        return
    header = np.int64(0)
    if protocol == 6 or protocol == 17:
        least = 20 if protocol == 6 else 8
        if at + 4 > end or length < 4:
            x[META] |= META_PORTLESS
            z[C_CUT_TRANSPORT] += 1
            return
        x[PORTS] = u32(block, at)
        if at + least > end or length < least:
            z[C_CUT_TRANSPORT] += 1
            x[X_PAYLOAD] = max(length - least, 0)
            if protocol == 6 and at + 14 <= end and length >= 14:
                x[X_FLAGS] = np.int64(block[at + 13])
                x[X_SEQUENCE] = u32(block, at + 4)
            return
        header = np.int64(8)
        if protocol == 6:
            header = np.int64(block[at + 12] >> 4) * 4
            x[X_FLAGS] = np.int64(block[at + 13])
            x[X_SEQUENCE] = u32(block, at + 4)
            if header < 20 or header > length:
                z[C_BAD_TRANSPORT] += 1
                header = length
    elif protocol == 47:
        x[X_PROTOCOL] = P_GRE
    elif protocol == 4:
        x[X_PROTOCOL] = P_IPIP
    elif protocol == 41:
        x[X_PROTOCOL] = P_6IN4
    elif protocol == 50:
        x[X_PROTOCOL] = P_ESP
    elif (protocol == 1 or protocol == 58) and length >= 8:
        header = np.int64(8)
    x[X_PAYLOAD] = length - header
    x[X_DATA] = at + header
    x[X_SEEN] = max(min(end - at - header, length - header), 0)


@kernel()
def _udp_protocol(block, x):
    """What a UDP datagram carries, by its port and, for DNS, its header (RFC 1035 section 4.1.1)."""
    low, high = x[PORTS] & 0xFFFF, x[PORTS] >> 16
    if low == 53 or high == 53 or low == 5353 or low == 5355 or high == 5355:
        at = x[X_DATA]
        if x[X_SEEN] < 12 or (block[at + 2] >> 3) & 15 > 6 or (low != 5353 and u16(block, at + 4) > 1):
            return P_NONE
        if low == 5353:
            return P_MDNS
        return P_DNS if low == 53 or high == 53 else P_LLMNR
    if (low == 67 or low == 68) and (high == 67 or high == 68):
        return P_DHCP4
    if (low == 546 or low == 547) and (high == 546 or high == 547):
        return P_DHCP6
    if low == 4789:
        return P_VXLAN
    if low == 6081:
        return P_GENEVE
    if low == 2152:
        return P_GTPU
    if low == 3544 or high == 3544:
        return P_TEREDO
    if low == 1701 and high == 1701:
        return P_L2TP
    return P_NONE


@kernel()
def parse(block, at, captured, wire, link, x, z):
    """Fill *x* from a packet; False when it has no IP header, which is counted with its bytes."""
    end = at + captured
    ip = _link(block, at, end, link, x)
    reason = -ip
    if ip >= 0:
        on_wire = max(wire, captured) - (ip - at)
        if ip < end and block[ip] >> 4 == 6:
            transport, length = _ipv6(block, ip, end, on_wire, x, z)
        else:
            transport, length = _ipv4(block, ip, end, on_wire, x, z)
        if transport >= 0:
            z[C_IP] += 1
            _transport(block, transport, end, length, x, z)
            if x[META] & 0xFF == 17 and x[META] & (META_FRAGMENT | META_PORTLESS) == 0:
                x[X_PROTOCOL] = _udp_protocol(block, x)
            return True
        reason = -transport
    z[reason] += 1
    z[reason + BYTES_OF] += wire
    return False
