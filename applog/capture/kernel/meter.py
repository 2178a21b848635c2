"""The flow meter: packets in, flow records and the packets worth a look out. Compiled; pure.

Rules (each is tested in tests/applog/capture/test_meter.py):
    1. A flow is a 5-tuple with its VLANs, both directions; the originator sent its first packet, except
       that a lone SYN-ACK is reversed. Later fragments and cut headers have flows without ports.
    2. A record is a slice: deltas since the one before; first due after 60 s, then every 300 s.
    3. A flow ends by FIN both ways or RST and 5 s, a SYN with another sequence number, silence,
       a clock jump (1 min back, 1 h ahead), a full table (most idle 1/64, unanswered first), or the end.
    4. The same packets give the same records in the same order, however they were cut into blocks.
    5. No packet raises, loops without bound or is left out uncounted: every path ends in a counter.
    6. All numbers are int64: Numba mixes unsigned
       and signed into floats.
"""

import numpy as np

from applog.capture.kernel.build import kernel
from applog.capture.kernel.columns import (
    A_BASE,
    A_HIGH,
    A_ISN,
    A_LOW,
    A_PACKETS,
    ACK,
    ANSWERED,
    B_HIGH,
    B_ISN,
    B_LOW,
    B_MAC,
    B_PACKETS,
    C_NO_TIME,
    C_PACKETS,
    CAPTURED,
    CLOSE_AT,
    CLOSED,
    CONTINUES,
    E_CLOCK_JUMP,
    E_FLOWS,
    E_FROM,
    E_KIND,
    E_PACKET,
    E_TO,
    FIN,
    FIN_A,
    FIN_B,
    FLOW_START,
    JUMP_AHEAD,
    JUMP_BACK,
    LAST,
    LINGER,
    LINK,
    META,
    META_FRAGMENT,
    META_PORTLESS,
    MIDSTREAM,
    OFFSET,
    PACKET,
    PARSED,
    PEEK_WINDOW,
    PORTS,
    R_CUT,
    R_END,
    R_REUSED,
    RESET,
    RST,
    SECOND,
    SEED,
    SLICE,
    SLICE_END,
    SLICE_START,
    STATE,
    SYN,
    TCP_FLAGS,
    TIME,
    WIRE,
    X_BYTES,
    X_FLAGS,
    X_MAC_FROM,
    X_MAC_TO,
    X_PAYLOAD,
    X_SEQUENCE,
    YEAR_10000,
    Z_CLOCK,
    Z_EVENTS,
    Z_FIRST,
    Z_FREE,
    Z_HIGH,
    Z_JUMPING,
    Z_LIVE,
    Z_OUT,
    Z_PACKET,
    Z_PEEK_BYTES,
    Z_PEEKS,
    Z_SCAN,
    Z_SECOND,
)
from applog.capture.kernel.headers import parse
from applog.capture.kernel.peek import look_at_datagram, look_at_stream
from applog.capture.kernel.table import (
    deadline,
    drain,
    drop,
    emit,
    end_reason,
    evict,
    find,
    idle_time,
    new_flow,
    scan,
    wake,
)


@kernel()
def _reverse(x):
    """Exchange the ends of a parsed packet."""
    x[A_HIGH], x[B_HIGH] = x[B_HIGH], x[A_HIGH]
    x[A_LOW], x[B_LOW] = x[B_LOW], x[A_LOW]
    x[PORTS] = (x[PORTS] & 0xFFFF) << 16 | x[PORTS] >> 16
    x[X_MAC_FROM], x[X_MAC_TO] = x[X_MAC_TO], x[X_MAC_FROM]


@kernel()
def _is_tcp(x):
    return x[META] & 0xFF == 6 and x[META] & (META_FRAGMENT | META_PORTLESS) == 0


@kernel()
def _superseded(f, x, from_b, time):
    """Whether the packet cannot belong to the flow that has its key: why that one ends, or 0."""
    if time - f[LAST] >= idle_time(f) or time >= f[CLOSE_AT]:
        return end_reason(f)
    if _is_tcp(x) and x[X_FLAGS] & (SYN | ACK) == SYN:
        first = f[B_ISN] if from_b else f[A_ISN]
        if first >= 0:
            return np.int64(R_REUSED if first != x[X_SEQUENCE] else CONTINUES)
        opening = from_b and f[STATE] & (ANSWERED | MIDSTREAM) == 0  # both ends open at once
        return np.int64(CONTINUES if opening else R_REUSED)
    return np.int64(CONTINUES)


@kernel()
def _count(f, x, from_b, time):
    """Add the packet to its flow."""
    if f[SLICE_START] < 0:
        f[SLICE_START] = time
        f[SLICE_END] = time
    f[SLICE_START] = min(f[SLICE_START], time)
    f[SLICE_END] = max(f[SLICE_END], time)
    f[LAST] = max(f[LAST], time)
    if f[SLICE] == 0:
        f[FLOW_START] = min(f[FLOW_START], time)
    first = B_PACKETS if from_b else A_PACKETS
    f[first] += 1
    f[first + 1] += x[X_BYTES]
    f[first + 2] += x[X_PAYLOAD]
    if from_b:
        if f[STATE] & ANSWERED == 0 and x[X_MAC_FROM] >= 0:
            f[B_MAC] = x[X_MAC_FROM]
        f[STATE] |= ANSWERED


@kernel()
def _tcp(f, x, from_b, time):
    """Follow the connection's opening and closing (RFC 9293 section 3.3.2, as an onlooker)."""
    flags = x[X_FLAGS]
    f[TCP_FLAGS] |= flags << (8 if from_b else 0)
    side = 1 if from_b else 0
    if flags & SYN:
        if f[A_ISN + side] < 0:
            f[A_ISN + side] = x[X_SEQUENCE]
            f[A_BASE + side] = (x[X_SEQUENCE] + 1) & 0xFFFFFFFF
    elif f[A_BASE + side] < 0 and x[X_PAYLOAD] > 0:
        f[A_BASE + side] = x[X_SEQUENCE]
    if flags & FIN:
        f[STATE] |= FIN_B if from_b else FIN_A
    if flags & RST and f[STATE] & (CLOSED | RESET) == 0:
        f[STATE] |= RESET
        f[CLOSE_AT] = time + LINGER
    elif f[STATE] & FIN_A and f[STATE] & FIN_B and f[STATE] & (CLOSED | RESET) == 0:
        f[STATE] |= CLOSED
        f[CLOSE_AT] = time + LINGER


@kernel()
def _packet(block, time, x, settings, flows, deadlines, groups, heads, chain, out, peeks, peek_bytes, z):
    """Count one parsed packet in its flow. The caller has made room in every output and in the table."""
    seed = settings[SEED]
    row, from_b = find(x, flows, heads, chain, seed)
    if row >= 0:
        reason = _superseded(flows[row], x, from_b, time)
        if reason != CONTINUES:
            emit(row, reason, flows, out, z)
            drop(row, flows, deadlines, heads, chain, z, seed)
            row = -1
    is_new = row < 0
    if is_new:
        from_b = _is_tcp(x) and x[X_FLAGS] & (SYN | ACK) == SYN | ACK
        if from_b:
            _reverse(x)
        row = new_flow(x, time, flows, heads, chain, z, seed)
        if from_b:
            _reverse(x)
        if _is_tcp(x) and x[X_FLAGS] & (SYN | ACK) != SYN:
            flows[row, STATE] |= MIDSTREAM
    f = flows[row]
    closing = f[CLOSE_AT]
    _count(f, x, from_b, time)
    if _is_tcp(x):
        _tcp(f, x, from_b, time)
        look_at_stream(block, f, x, from_b, time, settings, peeks, peek_bytes, z)
    elif x[META] & 0xFF == 17:
        look_at_datagram(block, f, x, from_b, time, settings, peeks, peek_bytes, z)
    if is_new or closing != f[CLOSE_AT]:
        wake(row, deadline(f), deadlines, groups)


@kernel()
def _advance(time, events, flows, deadlines, groups, heads, chain, out, z, seed):
    """Move the packet clock to *time*, ending what is due; True when done, False when an output is full."""
    clock = z[Z_CLOCK]
    if clock >= 0 and (time < clock - JUMP_BACK or time > clock + JUMP_AHEAD):
        if z[Z_EVENTS] == events.shape[0]:
            return False
        if z[Z_JUMPING] == 0:
            z[Z_JUMPING] = 1 + z[Z_LIVE]
            z[Z_SCAN] = 0
        if not drain(R_CUT, flows, deadlines, heads, chain, out, z, seed):
            return False
        n = z[Z_EVENTS]
        events[n, E_KIND] = E_CLOCK_JUMP
        events[n, E_FROM] = clock
        events[n, E_TO] = time
        events[n, E_PACKET] = z[Z_PACKET]
        events[n, E_FLOWS] = z[Z_JUMPING] - 1
        z[Z_EVENTS] = n + 1
        z[Z_JUMPING] = 0
        z[Z_CLOCK] = time
        z[Z_SECOND] = time // SECOND
        return True
    if time // SECOND > z[Z_SECOND]:
        if not scan(time // SECOND * SECOND, flows, deadlines, groups, heads, chain, out, z, seed):
            return False
        z[Z_SECOND] = time // SECOND
    if clock < 0:
        z[Z_FIRST] = time
    z[Z_CLOCK] = max(clock, time)
    return True


@kernel(
    "int64(uint8[::1], int64[:, ::1], int64, int64, int64[::1], int64[:, ::1], int64[::1], int64[::1],"
    " int64[::1], int64[::1], int64[:, ::1], int64[:, ::1], uint8[::1], int64[:, ::1], int64[::1])",
)
def meter(
    block,
    index,
    first,
    count,
    settings,
    flows,
    deadlines,
    groups,
    heads,
    chain,
    out,
    peeks,
    peek_bytes,
    events,
    z,
):
    """Meter packets index[first:count] of *block*; the answer is the first one that was not taken.

    It is less than *count* when an output is full: the caller empties out, peeks and events, sets Z_OUT,
    Z_PEEKS, Z_PEEK_BYTES and Z_EVENTS to zero and calls again from there.
    """
    x = z[PACKET : PACKET + PARSED]
    rows = flows.shape[0]
    for i in range(first, count):
        if (
            z[Z_OUT] >= out.shape[0] - rows // 64 - 2
            or z[Z_PEEKS] == peeks.shape[0]
            or z[Z_PEEK_BYTES] > peek_bytes.shape[0] - PEEK_WINDOW
        ):
            return i
        time = index[i, TIME]
        timeless = time < 0 or time >= YEAR_10000
        if timeless:
            time = max(z[Z_CLOCK], 0)
        if not _advance(time, events, flows, deadlines, groups, heads, chain, out, z, settings[SEED]):
            return i
        if z[Z_OUT] >= out.shape[0] - rows // 64 - 2:  # the scan filled it; coming here again changes nothing
            return i
        if z[Z_FREE] < 0 and z[Z_HIGH] == rows:
            evict(flows, deadlines, heads, chain, out, z, settings[SEED])
        z[C_NO_TIME] += timeless
        z[C_PACKETS] += 1
        if parse(block, index[i, OFFSET], index[i, CAPTURED], index[i, WIRE], index[i, LINK], x, z):
            _packet(
                block, time, x, settings, flows, deadlines, groups, heads, chain, out, peeks, peek_bytes, z
            )
        z[Z_PACKET] += 1
    return count


@kernel(
    "boolean(int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1])",
)
def flush(settings, flows, deadlines, heads, chain, out, z):
    """End every flow (end of the capture); False when the output is full and must be emptied first."""
    return drain(R_END, flows, deadlines, heads, chain, out, z, settings[SEED])
