"""The flow table: rows, buckets, deadlines, and who must go when it is full. Compiled; pure.

Rules:
    1. A hash index chained over a pool of rows with a free list; the hash is seeded and symmetric.
    2. Records leave in the order in which rows lie, which depends on packets alone, never on the hash.
    3. A full table gives up the most idle 1/64, unanswered flows first, and counts them.
"""

import numpy as np

from applog.capture.kernel.build import kernel
from applog.capture.kernel.columns import (
    A_BASE,
    A_HIGH,
    A_ISN,
    A_LOW,
    A_MAC,
    A_NEED,
    A_PACKETS,
    AGE_CLASSES,
    AGES,
    ANSWERED,
    AT_PACKET,
    B_BASE,
    B_HIGH,
    B_ISN,
    B_LOW,
    B_MAC,
    B_NEED,
    B_PACKETS,
    B_PAYLOAD,
    CLOSE_AT,
    CLOSED,
    CONTINUES,
    FIRST_PACKET,
    FIRST_SLICE,
    FLOW_COLUMNS,
    FLOW_START,
    GROUP_SHIFT,
    LAST,
    META,
    META_FRAGMENT,
    NEVER,
    NEXT_SLICE,
    NEXT_SLICES,
    ORDINAL,
    PEEKED,
    PORTS,
    PROTOCOL,
    R_CLOSED,
    R_EVICTED,
    R_IDLE,
    R_RESET,
    REASON,
    RESET,
    SECOND,
    SLICE,
    SLICE_START,
    STATE,
    X_MAC_FROM,
    X_MAC_TO,
    X_PROTOCOL,
    Z_CLOCK,
    Z_EVICTED,
    Z_FREE,
    Z_HIGH,
    Z_LIVE,
    Z_NEXT_ORDINAL,
    Z_OUT,
    Z_PACKET,
    Z_SCAN,
)


@kernel()
def _end_hash(high, low, port, seed):
    h = (high ^ seed) * 0x2545F4914F6CDD1D
    h = (h ^ h >> 32 ^ low) * 0x1B03738712FAD5C9
    h = (h ^ h >> 29 ^ port) * 0x369DEA0F31A53F85
    return h ^ h >> 31


@kernel()
def _bucket(a_high, a_low, b_high, b_low, ports, meta, seed, mask):
    """Bucket of a key, the same for both directions."""
    h = _end_hash(a_high, a_low, ports >> 16, seed) + _end_hash(b_high, b_low, ports & 0xFFFF, seed)
    h = (h ^ meta) * 0x2545F4914F6CDD1D
    return (h ^ h >> 33) & mask


@kernel()
def find(x, flows, heads, chain, seed):
    """Row of the packet's flow (or -1), and whether the packet comes from its responder."""
    row = heads[
        _bucket(x[A_HIGH], x[A_LOW], x[B_HIGH], x[B_LOW], x[PORTS], x[META], seed, heads.shape[0] - 1)
    ]
    reverse = (x[PORTS] & 0xFFFF) << 16 | x[PORTS] >> 16
    while row >= 0:
        f = flows[row]
        if f[META] == x[META]:
            if (
                f[PORTS] == x[PORTS]
                and f[A_LOW] == x[A_LOW]
                and f[B_LOW] == x[B_LOW]
                and f[A_HIGH] == x[A_HIGH]
                and f[B_HIGH] == x[B_HIGH]
            ):
                return row, False
            if (
                f[PORTS] == reverse
                and f[A_LOW] == x[B_LOW]
                and f[B_LOW] == x[A_LOW]
                and f[A_HIGH] == x[B_HIGH]
                and f[B_HIGH] == x[A_HIGH]
            ):
                return row, True
        row = chain[row]
    return row, False


@kernel()
def idle_time(f):
    """How long the flow may be silent."""
    protocol = f[META] & 0xFF
    answered = f[STATE] & ANSWERED != 0
    if protocol == 6 and f[META] & META_FRAGMENT == 0:
        return 1800 * SECOND if answered else 10 * SECOND
    if protocol == 1 or protocol == 58:
        return 30 * SECOND
    return 60 * SECOND if answered else 30 * SECOND


@kernel()
def deadline(f):
    """When the next scan must look at the flow."""
    at = min(f[LAST] + idle_time(f), f[CLOSE_AT])
    return min(at, f[NEXT_SLICE])


@kernel()
def emit(row, reason, flows, out, z):
    """Copy a flow to the output and begin its next slice.

    An empty interval makes no record; but a flow that was looked at tells its end with an empty row, so
    that the names kept for it can be forgotten.
    """
    f = flows[row]
    if f[A_PACKETS] + f[B_PACKETS] > 0 or (reason != CONTINUES and f[STATE] & PEEKED):
        n = z[Z_OUT]
        for column in range(FLOW_COLUMNS):
            out[n, column] = f[column]
        out[n, REASON] = reason
        out[n, AT_PACKET] = z[Z_PACKET]
        z[Z_OUT] = n + 1
        f[SLICE] += 1
        for column in range(A_PACKETS, B_PAYLOAD + 1):
            f[column] = 0
        f[SLICE_START] = -1


@kernel()
def drop(row, flows, deadlines, heads, chain, z, seed):
    """Take a flow out of its bucket and give its row back."""
    f = flows[row]
    bucket = _bucket(f[A_HIGH], f[A_LOW], f[B_HIGH], f[B_LOW], f[PORTS], f[META], seed, heads.shape[0] - 1)
    here = heads[bucket]
    if here == row:
        heads[bucket] = chain[row]
    else:
        while chain[here] != row:
            here = chain[here]
        chain[here] = chain[row]
    deadlines[row] = NEVER
    chain[row] = z[Z_FREE]
    z[Z_FREE] = row
    z[Z_LIVE] -= 1


@kernel()
def end_reason(f):
    """Why a flow that nothing else ended is over."""
    if f[STATE] & RESET:
        return R_RESET
    return R_CLOSED if f[STATE] & CLOSED else R_IDLE


@kernel()
def scan(now, flows, deadlines, groups, heads, chain, out, z, seed):
    """Handle every flow due at *now*, from row Z_SCAN on; True when done, False when the output is full.

    Deadlines are lower bounds, for packets only ever postpone them; so are the groups' minima of them.
    """
    row = z[Z_SCAN]
    while row < z[Z_HIGH]:
        group = row >> GROUP_SHIFT
        if groups[group] > now:
            row = (group + 1) << GROUP_SHIFT
            continue
        if deadlines[row] <= now and not _due(row, now, flows, deadlines, heads, chain, out, z, seed):
            z[Z_SCAN] = row
            return False
        row += 1
        if row >> GROUP_SHIFT != group or row == z[Z_HIGH]:
            earliest = np.int64(NEVER)
            for member in range(group << GROUP_SHIFT, row):
                earliest = min(earliest, deadlines[member])
            groups[group] = earliest
    z[Z_SCAN] = 0
    if z[Z_LIVE] == 0:
        _clear(z)
    return True


@kernel()
def _due(row, now, flows, deadlines, heads, chain, out, z, seed):
    """End the flow, begin its next slice, or only learn its real deadline; False when the output is full."""
    f = flows[row]
    deadlines[row] = deadline(f)
    if deadlines[row] > now:
        return True
    if z[Z_OUT] == out.shape[0]:
        return False
    if f[CLOSE_AT] <= now or f[LAST] + idle_time(f) <= now:
        emit(row, end_reason(f), flows, out, z)
        drop(row, flows, deadlines, heads, chain, z, seed)
    else:
        emit(row, CONTINUES, flows, out, z)
        f[NEXT_SLICE] += NEXT_SLICES * (1 + (now - f[NEXT_SLICE]) // NEXT_SLICES)
        deadlines[row] = deadline(f)
    return True


@kernel()
def wake(row, at, deadlines, groups):
    """Have the scan look at *row* at *at* at the latest."""
    deadlines[row] = min(deadlines[row], at)
    groups[row >> GROUP_SHIFT] = min(groups[row >> GROUP_SHIFT], at)


@kernel()
def _clear(z):
    """Forget the free list of an empty table, so that scans are short again."""
    z[Z_HIGH] = 0
    z[Z_FREE] = -1


@kernel()
def drain(reason, flows, deadlines, heads, chain, out, z, seed):
    """End every flow; True when done, False when the output is full."""
    row = z[Z_SCAN]
    while row < z[Z_HIGH]:
        if deadlines[row] != NEVER:
            if z[Z_OUT] == out.shape[0]:
                z[Z_SCAN] = row
                return False
            f = flows[row]
            ended = f[STATE] & (CLOSED | RESET) != 0
            emit(row, end_reason(f) if ended else reason, flows, out, z)
            drop(row, flows, deadlines, heads, chain, z, seed)
        row += 1
    z[Z_SCAN] = 0
    _clear(z)
    return True


@kernel()
def evict(flows, deadlines, heads, chain, out, z, seed):
    """Make room in a full table: the most idle 1/64, unanswered first. The caller has room for them."""
    target = max(z[Z_HIGH] // 64, 1)
    ages = z[AGES : AGES + AGE_CLASSES]  # a histogram of idle seconds: answered, then unanswered
    ages[:] = 0
    for row in range(z[Z_HIGH]):
        ages[_age_class(flows[row], z[Z_CLOCK])] += 1
    left = target
    limit = np.int64(AGE_CLASSES)
    while limit > 0 and left > 0:
        limit -= 1
        left -= ages[limit]
    evicted = 0
    for strict in range(2):  # first all that are older than the limiting class, then from the class itself
        for row in range(z[Z_HIGH]):
            if evicted == target:
                return
            if deadlines[row] == NEVER:
                continue
            age = _age_class(flows[row], z[Z_CLOCK])
            if age > limit or (strict == 1 and age == limit):
                emit(row, R_EVICTED, flows, out, z)
                drop(row, flows, deadlines, heads, chain, z, seed)
                z[Z_EVICTED] += 1
                evicted += 1


@kernel()
def _age_class(f, clock):
    idle = min(max(clock - f[LAST], 0) // SECOND, 1023)
    return idle if f[STATE] & ANSWERED else 1024 + idle


@kernel()
def new_flow(x, time, flows, heads, chain, z, seed):
    """Put a flow with the packet's key into the table; the packet is from the originator."""
    if z[Z_FREE] >= 0:
        row = z[Z_FREE]
        z[Z_FREE] = chain[row]
    else:
        row = z[Z_HIGH]
        z[Z_HIGH] += 1
    f = flows[row]
    f[:] = 0
    for column in range(A_HIGH, META + 1):
        f[column] = x[column]
    f[ORDINAL] = z[Z_NEXT_ORDINAL]
    z[Z_NEXT_ORDINAL] += 1
    f[FLOW_START] = time
    f[SLICE_START] = -1
    f[LAST] = time
    f[A_MAC] = x[X_MAC_FROM]
    f[B_MAC] = x[X_MAC_TO]
    for column in (A_ISN, B_ISN, A_BASE, B_BASE, A_NEED, B_NEED):
        f[column] = -1
    f[CLOSE_AT] = NEVER
    f[NEXT_SLICE] = time + FIRST_SLICE
    f[FIRST_PACKET] = z[Z_PACKET]
    f[PROTOCOL] = x[X_PROTOCOL]
    bucket = _bucket(x[A_HIGH], x[A_LOW], x[B_HIGH], x[B_LOW], x[PORTS], x[META], seed, heads.shape[0] - 1)
    chain[row] = heads[bucket]
    heads[bucket] = row
    z[Z_LIVE] += 1
    return row
