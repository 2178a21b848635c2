"""Finds packets in blocks of capture files: pcap records and pcapng blocks. Compiled; pure.

Rules:
    1. This file imports nothing of ours: a Numba cache does not notice changes in other files.
    2. A walker never reads past ``end`` and stops before the first record that is not whole.
    3. Times are UTC microseconds, floored from whatever resolution the file has.
    4. What is wrong is answered as a status with its offset; nothing is skipped in silence.
"""

import numpy as np

from applog.capture.kernel.build import kernel

# Columns of a packet index row.
OFFSET, CAPTURED, WIRE, TIME, LINK, INTERFACE = 0, 1, 2, 3, 4, 5
INDEX_COLUMNS = 6

# Status of a walk.
MORE = 0  # a whole record needs more bytes than the block has
FULL = 1  # the packet index is full
BAD_LENGTH = 2  # a record's length is impossible
NEW_SECTION = 3  # pcapng: a section header starts here
BAD_BLOCK = 4  # pcapng: a block's two lengths differ, or it is too short for its type
UNKNOWN_INTERFACE = 5  # pcapng: a packet of an interface that was not described
INTERFACE_BLOCK = 6  # pcapng: an interface description starts here

# Columns of a pcapng interface row.
IF_LINK, IF_UNIT_NUMERATOR, IF_UNIT_DENOMINATOR, IF_OFFSET_SECONDS, IF_SNAPLEN = 0, 1, 2, 3, 4
IF_COLUMNS = 5

MAX_RECORD = 1 << 24
"""No link layer has frames of 16 MiB; a longer record is a damaged length."""


@kernel()
def _u32(block, at, swapped):
    b0, b1, b2, b3 = (
        np.int64(block[at]),
        np.int64(block[at + 1]),
        np.int64(block[at + 2]),
        np.int64(block[at + 3]),
    )
    if swapped:
        return b0 << 24 | b1 << 16 | b2 << 8 | b3
    return b3 << 24 | b2 << 16 | b1 << 8 | b0


@kernel(
    "UniTuple(int64, 3)(uint8[::1], int64, int64, int64[::1], int64[:, ::1])",
)
def walk_pcap(block, start, end, settings, index):
    """Index the records of block[start:end]; settings = (big-endian, nanoseconds, link type).

    Answers (packets, where it stopped, status).
    """
    swapped, nanoseconds, link = settings[0] != 0, settings[1] != 0, settings[2]
    at = start
    count = 0
    while at + 16 <= end:
        if count == index.shape[0]:
            return count, at, FULL
        fraction = _u32(block, at + 4, swapped)
        captured = _u32(block, at + 8, swapped)
        if captured > MAX_RECORD:
            return count, at, BAD_LENGTH
        if at + 16 + captured > end:
            break
        if nanoseconds:
            fraction //= 1000
        index[count, OFFSET] = at + 16
        index[count, CAPTURED] = captured
        index[count, WIRE] = _u32(block, at + 12, swapped)
        index[count, TIME] = _u32(block, at, swapped) * 1_000_000 + fraction
        index[count, LINK] = link
        index[count, INTERFACE] = 0
        count += 1
        at += 16 + captured
    return count, at, MORE


@kernel()
def _microseconds(units, numerator, denominator, offset_seconds):
    """Units × numerator / denominator µs, floored, without overflow on the way."""
    whole = units // denominator
    rest = units - whole * denominator
    # denominator ≤ 2^32 for powers of two; rest × numerator stays below 2^63 because numerator ≤ 10^6.
    return whole * numerator + rest * numerator // denominator + offset_seconds * 1_000_000


@kernel()
def _packet_block(block, at, length, kind, swapped, known, interfaces, index, count):
    """Fill one index row from an enhanced (6), simple (3) or obsolete (2) packet block; 0 or a status."""
    interface = np.int64(0)
    if kind == 3:
        if length < 16:
            return BAD_BLOCK
        wire = _u32(block, at + 8, swapped)
        data = at + 12
        captured = min(wire, length - 16)
        high, low = np.int64(0), np.int64(0)
    else:
        if length < 32:
            return BAD_BLOCK
        interface = _u32(block, at + 8, swapped)
        if kind == 2:
            interface = interface >> 16 if swapped else interface & 0xFFFF
        high, low = _u32(block, at + 12, swapped), _u32(block, at + 16, swapped)
        captured, wire = _u32(block, at + 20, swapped), _u32(block, at + 24, swapped)
        data = at + 28
        if captured > length - 32:
            return BAD_BLOCK
    if interface >= known:
        return UNKNOWN_INTERFACE
    if kind == 3 and interfaces[interface, IF_SNAPLEN] > 0:
        captured = min(captured, interfaces[interface, IF_SNAPLEN])
    index[count, OFFSET] = data
    index[count, CAPTURED] = captured
    index[count, WIRE] = wire
    index[count, TIME] = _microseconds(
        (high << 32 | low) & 0x7FFFFFFFFFFFFFFF,
        interfaces[interface, IF_UNIT_NUMERATOR],
        interfaces[interface, IF_UNIT_DENOMINATOR],
        interfaces[interface, IF_OFFSET_SECONDS],
    )
    if kind == 3:
        index[count, TIME] = -1  # a simple packet block has no time
    index[count, LINK] = interfaces[interface, IF_LINK]
    index[count, INTERFACE] = interface
    return 0


@kernel(
    "UniTuple(int64, 3)(uint8[::1], int64, int64, int64[::1], int64[:, ::1], int64[:, ::1])",
)
def walk_pcapng(block, start, end, settings, interfaces, index):
    """Index the packet blocks of block[start:end]; settings = (big-endian, number of interfaces).

    Stops at section and interface blocks, which the caller reads. Answers (packets, stop, status).
    """
    swapped, known = settings[0] != 0, settings[1]
    at = start
    count = 0
    while at + 12 <= end:
        kind = _u32(block, at, swapped)
        if kind == 0x0A0D0D0A:
            return count, at, NEW_SECTION
        length = _u32(block, at + 4, swapped)
        if length < 12 or length > MAX_RECORD or length % 4 != 0:
            return count, at, BAD_LENGTH
        if at + length > end:
            break
        if _u32(block, at + length - 4, swapped) != length:
            return count, at, BAD_BLOCK
        if kind == 1:
            return count, at, INTERFACE_BLOCK
        if kind in (2, 3, 6):
            if count == index.shape[0]:
                return count, at, FULL
            status = _packet_block(block, at, length, kind, swapped, known, interfaces, index, count)
            if status != 0:
                return count, at, status
            count += 1
        at += length
    return count, at, MORE
