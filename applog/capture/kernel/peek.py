"""Which payload bytes a decoder may look at, and copying them out. Compiled; pure.

Rules:
    1. A stream is classified by its first payload; only the bytes its name needs are copied, at most
       ``PEEK_WINDOW`` of each direction and ``PEEK_SEGMENTS`` segments.
    2. What the profile leaves out is not copied at all.
"""

import numpy as np

from applog.capture.kernel.build import kernel
from applog.capture.kernel.columns import (
    A_BASE,
    A_COPIES,
    A_GOT,
    A_NEED,
    C_PEEKS_CAPPED,
    FLOW_COLUMNS,
    K_FROM_B,
    K_KIND,
    K_LENGTH,
    K_PACKET,
    K_POSITION,
    K_START,
    K_TIME,
    P_DHCP4,
    P_DHCP6,
    P_DNS,
    P_HTTP,
    P_LLMNR,
    P_MDNS,
    P_NONE,
    P_TLS,
    P_UNKNOWN,
    PEEK_SEGMENTS,
    PEEK_WINDOW,
    PEEKED,
    PORTS,
    PROTOCOL,
    STATE,
    SYN,
    WANT_DHCP,
    WANT_DNS,
    WANT_NAMES,
    X_DATA,
    X_FLAGS,
    X_PROTOCOL,
    X_SEEN,
    X_SEQUENCE,
    Z_PACKET,
    Z_PEEK_BYTES,
    Z_PEEKS,
)
from applog.capture.kernel.headers import u16, u32


@kernel()
def _http_start(block, at, seen):
    """Whether bytes begin like an HTTP/1 request or response (RFC 9112 sections 3 and 4)."""
    if seen < 8:
        return False
    word = u32(block, at)
    if word == 0x48545450:  # HTTP
        return block[at + 4] == 0x2F and block[at + 5] == 0x31
    return (
        word == 0x47455420
        or word == 0x504F5354
        or word == 0x48454144
        or word == 0x50555420  # GET POST HEAD PUT
        or word == 0x44454C45
        or word == 0x4F505449
        or word == 0x434F4E4E
        or word == 0x50415443  # DELE OPTI CONN PATC
        or word == 0x54524143
        or word == 0x50524F50
        or word == 0x4D4B434F
        or word == 0x52455045  # TRAC PROP MKCO REPO
        or word == 0x43434D5F  # CCM_
        or word == 0x4C4F434B
        or word == 0x4D4F5645
        or word == 0x434F5059
        or word == 0x53454152  # LOCK MOVE COPY SEAR
    )


@kernel()
def _headers_end(block, at, seen):
    """Length up to and including the empty line, or what to wait for when it is not there yet."""
    for i in range(at + 3, at + seen):
        if block[i] == 10 and block[i - 1] == 13 and block[i - 2] == 10 and block[i - 3] == 13:
            return i + 1 - at
    return np.int64(PEEK_WINDOW // 2)


@kernel()
def _classify(block, f, x, side, settings):
    """What a stream's first payload begins: set the flow's protocol and how many bytes are wanted."""
    at, seen = x[X_DATA], x[X_SEEN]
    f[A_NEED + side] = 0
    if f[PORTS] & 0xFFFF == 53 or f[PORTS] >> 16 == 53:
        f[PROTOCOL] = P_DNS
        f[A_NEED + side] = PEEK_WINDOW if settings[WANT_DNS] else 0
    elif seen >= 3 and block[at] == 21 and block[at + 1] == 3 and f[PROTOCOL] == P_TLS:  # an alert first
        f[A_NEED + side] = 2048 if settings[WANT_NAMES] else 0
    elif seen >= 3 and block[at] == 22 and block[at + 1] == 3 and block[at + 2] <= 4:
        f[PROTOCOL] = P_TLS
        need = np.int64(2048)
        if seen >= 9:
            record = max(u16(block, at + 3), 1)
            size = 4 + (u32(block, at + 5) & 0xFFFFFF)
            need = min(size + 5 * ((size + record - 1) // record), PEEK_WINDOW)
        f[A_NEED + side] = need if settings[WANT_NAMES] else 0
    elif _http_start(block, at, seen):
        f[PROTOCOL] = P_HTTP
        f[A_NEED + side] = _headers_end(block, at, seen) if settings[WANT_NAMES] else 0


@kernel()
def _peek(block, f, kind, from_b, time, position, at, length, peeks, peek_bytes, z):
    """Copy bytes worth a look, with the flow as it is."""
    n, start = z[Z_PEEKS], z[Z_PEEK_BYTES]
    for column in range(FLOW_COLUMNS):
        peeks[n, column] = f[column]
    peeks[n, K_KIND] = kind
    peeks[n, K_FROM_B] = 1 if from_b else 0
    peeks[n, K_TIME] = time
    peeks[n, K_POSITION] = position
    peeks[n, K_START] = start
    peeks[n, K_LENGTH] = length
    peeks[n, K_PACKET] = z[Z_PACKET]
    for i in range(length):
        peek_bytes[start + i] = block[at + i]
    z[Z_PEEKS] = n + 1
    z[Z_PEEK_BYTES] = start + length
    f[STATE] |= PEEKED


@kernel()
def look_at_stream(block, f, x, from_b, time, settings, peeks, peek_bytes, z):
    """Copy the part of a TCP segment that lies in the wanted beginning of its direction."""
    side = 1 if from_b else 0
    if f[A_NEED + side] == 0 or x[X_SEEN] == 0:
        return
    sequence = x[X_SEQUENCE] + (1 if x[X_FLAGS] & SYN else 0)
    position = (sequence - f[A_BASE + side]) & 0xFFFFFFFF
    if position == 0 and f[A_NEED + side] < 0:
        _classify(block, f, x, side, settings)
    need = f[A_NEED + side]
    early_kind = P_UNKNOWN
    if need < 0:  # a later segment came first
        of_dns = f[PORTS] & 0xFFFF == 53 or f[PORTS] >> 16 == 53
        early_kind = P_DNS if of_dns else P_UNKNOWN
        need = np.int64(PEEK_WINDOW if settings[WANT_DNS if of_dns else WANT_NAMES] else 0)
    if position >= need:
        return
    if f[A_COPIES + side] == PEEK_SEGMENTS:
        z[C_PEEKS_CAPPED] += 1
        f[A_NEED + side] = 0
        return
    length = min(x[X_SEEN], need - position)
    kind = f[PROTOCOL] if f[A_NEED + side] > 0 else early_kind
    _peek(block, f, kind, from_b, time, position, x[X_DATA], length, peeks, peek_bytes, z)
    f[A_COPIES + side] += 1
    if position <= f[A_GOT + side]:
        f[A_GOT + side] = max(f[A_GOT + side], position + length)
    if f[A_NEED + side] > 0 and f[A_GOT + side] >= f[A_NEED + side]:
        z[C_PEEKS_CAPPED] += f[A_NEED + side] == PEEK_WINDOW
        f[A_NEED + side] = 0


@kernel()
def _dhcp_worth_a_look(block, x):
    """Whether a DHCPv4 message may say who holds an address: not one that only looks for a server.

    Option 53 (RFC 2132 section 9.6) nearly always comes first; where it does not, the decoder looks.
    """
    at = x[X_DATA]
    if x[X_SEEN] < 243 or block[at + 240] != 53 or block[at + 241] != 1:
        return True
    kind = block[at + 242]
    return kind == 3 or kind == 5 or kind == 7 or kind > 8  # REQUEST, ACK, RELEASE, newer ones


@kernel()
def look_at_datagram(block, f, x, from_b, time, settings, peeks, peek_bytes, z):
    """Copy a datagram that a decoder of this profile reads."""
    protocol = x[X_PROTOCOL]
    if protocol == P_NONE:
        return
    if f[PROTOCOL] == P_NONE:
        f[PROTOCOL] = protocol
    named = protocol == P_DNS or protocol == P_MDNS or protocol == P_LLMNR
    leased = protocol == P_DHCP4 or protocol == P_DHCP6
    if protocol == P_DHCP4 and not _dhcp_worth_a_look(block, x):
        return
    if (named and settings[WANT_DNS]) or (leased and settings[WANT_DHCP]):
        length = min(x[X_SEEN], PEEK_WINDOW)
        _peek(block, f, protocol, from_b, time, 0, x[X_DATA], length, peeks, peek_bytes, z)
