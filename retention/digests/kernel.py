"""SHA-256 of many messages at once, in lockstep (FIPS 180-4). Compiled; pure.

Rules:
    1. Sixteen messages advance together, one block each, a lane per message. Words lie lane by lane
       (word *i* of lane *l* at ``i * LANES + l``), so that each step over the lanes is vector instructions.
    2. A lane whose message ends takes the next message: lengths need no sorting.
    3. Bounds: ``sha256`` is checked, compares the arrays' sizes first, and each range with the data's size
       before its lane takes it. What it calls is unchecked, because a check in a loop over lanes keeps it
       from being vectorised; its indices are constants, lanes, and bytes of a range that was compared
       (docs/decisions/0006).
    4. Arithmetic stays in uint32 (Numba widens sums; each is cut back, which LLVM folds away) and
       indices in uint64 (a signed index is compared with zero for Python's negative indices).
    5. Nothing is allocated, so reference counting is off (docs/decisions/0002).
    6. Byte order: little-endian machines only. The self-check of the package finds any other.
"""

import functools

import numba
import numpy as np
from numba import types

checked = functools.partial(numba.njit, cache=True, boundscheck=True, nogil=True, _nrt=False)
unchecked = functools.partial(checked, boundscheck=False, forceinline=True)

LANES = 16
"""Messages in lockstep: two vectors of AVX2. Eight and thirty-two were not faster."""

WORDS, STATE, WORK = 0, 16 * LANES, 24 * LANES
"""Where the message words, the states and the working variables start in the scratch words."""

SCRATCH_WORDS = 32 * LANES
"""Length of the scratch words."""

START, AT, END, MESSAGE = 0, 1, 2, 3
"""Rows of the lanes: the message's start, next byte to take (end + 1: only the length), end, number or -1."""

LANE_ROWS = 4

BYTES = types.Array(types.uint8, 1, "C", readonly=True)
RANGES = types.Array(types.int64, 1, "C", readonly=True)

# FIPS 180-4 section 4.2.2: the first 32 bits of the fractional parts of the cube roots of 64 primes.
K = np.array(
    [
        *(0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5),
        *(0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174),
        *(0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA),
        *(0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967),
        *(0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85),
        *(0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070),
        *(0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3),
        *(0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2),
    ],
    np.uint32,
)

# FIPS 180-4 section 5.3.3: the state before the first block.
H = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19],
    np.uint32,
)

ONE, TWO, THREE, FOUR = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_LANES = np.uint64(LANES)


@unchecked()
def _rotate(x, n):
    return np.uint32(x >> np.uint32(n)) | np.uint32(x << np.uint32(32 - n))


@unchecked()
def _swap(x):
    """The four bytes in the other order; LLVM makes it one instruction."""
    return np.uint32(
        np.uint32(x << np.uint32(24))
        | np.uint32((x & np.uint32(0xFF00)) << np.uint32(8))
        | np.uint32((x >> np.uint32(8)) & np.uint32(0xFF00))
        | np.uint32(x >> np.uint32(24))
    )


@unchecked()
def _round(a, b, c, d, e, f, g, h, word):
    """One round (6.2.2 step 3): the new *d* and *h*; the other six only change their names."""
    t1 = np.uint32(h + (_rotate(e, 6) ^ _rotate(e, 11) ^ _rotate(e, 25)) + ((e & f) ^ (~e & g)) + word)
    t2 = np.uint32((_rotate(a, 2) ^ _rotate(a, 13) ^ _rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c)))
    return np.uint32(d + t1), np.uint32(t1 + t2)


@unchecked()
def _sixteen_rounds(w, r):
    """Rounds *r* to *r* + 15 of all lanes. One loop over lanes, so that a to h stay in registers."""
    for i in range(LANES):
        a, b = w[WORK + i], w[WORK + LANES + i]
        c, d = w[WORK + 2 * LANES + i], w[WORK + 3 * LANES + i]
        e, f = w[WORK + 4 * LANES + i], w[WORK + 5 * LANES + i]
        g, h = w[WORK + 6 * LANES + i], w[WORK + 7 * LANES + i]
        d, h = _round(a, b, c, d, e, f, g, h, np.uint32(K[r] + w[i]))
        c, g = _round(h, a, b, c, d, e, f, g, np.uint32(K[r + 1] + w[LANES + i]))
        b, f = _round(g, h, a, b, c, d, e, f, np.uint32(K[r + 2] + w[2 * LANES + i]))
        a, e = _round(f, g, h, a, b, c, d, e, np.uint32(K[r + 3] + w[3 * LANES + i]))
        h, d = _round(e, f, g, h, a, b, c, d, np.uint32(K[r + 4] + w[4 * LANES + i]))
        g, c = _round(d, e, f, g, h, a, b, c, np.uint32(K[r + 5] + w[5 * LANES + i]))
        f, b = _round(c, d, e, f, g, h, a, b, np.uint32(K[r + 6] + w[6 * LANES + i]))
        e, a = _round(b, c, d, e, f, g, h, a, np.uint32(K[r + 7] + w[7 * LANES + i]))
        d, h = _round(a, b, c, d, e, f, g, h, np.uint32(K[r + 8] + w[8 * LANES + i]))
        c, g = _round(h, a, b, c, d, e, f, g, np.uint32(K[r + 9] + w[9 * LANES + i]))
        b, f = _round(g, h, a, b, c, d, e, f, np.uint32(K[r + 10] + w[10 * LANES + i]))
        a, e = _round(f, g, h, a, b, c, d, e, np.uint32(K[r + 11] + w[11 * LANES + i]))
        h, d = _round(e, f, g, h, a, b, c, d, np.uint32(K[r + 12] + w[12 * LANES + i]))
        g, c = _round(d, e, f, g, h, a, b, c, np.uint32(K[r + 13] + w[13 * LANES + i]))
        f, b = _round(c, d, e, f, g, h, a, b, np.uint32(K[r + 14] + w[14 * LANES + i]))
        e, a = _round(b, c, d, e, f, g, h, a, np.uint32(K[r + 15] + w[15 * LANES + i]))
        w[WORK + i], w[WORK + LANES + i] = a, b
        w[WORK + 2 * LANES + i], w[WORK + 3 * LANES + i] = c, d
        w[WORK + 4 * LANES + i], w[WORK + 5 * LANES + i] = e, f
        w[WORK + 6 * LANES + i], w[WORK + 7 * LANES + i] = g, h


@unchecked()
def _next(w, i, n):
    """Replace word *n* of lane *i* by the one sixteen later (6.2.2 step 1)."""
    x, y = w[((n + 1) & 15) * LANES + i], w[((n + 14) & 15) * LANES + i]
    low = _rotate(x, 7) ^ _rotate(x, 18) ^ np.uint32(x >> np.uint32(3))
    high = _rotate(y, 17) ^ _rotate(y, 19) ^ np.uint32(y >> np.uint32(10))
    w[n * LANES + i] = np.uint32(w[n * LANES + i] + low + w[((n + 9) & 15) * LANES + i] + high)


@unchecked()
def _next_words(w):
    """The next sixteen words of all lanes, in the place of the last. Spelled out, or it stays scalar."""
    for i in range(LANES):
        _next(w, i, 0)
        _next(w, i, 1)
        _next(w, i, 2)
        _next(w, i, 3)
        _next(w, i, 4)
        _next(w, i, 5)
        _next(w, i, 6)
        _next(w, i, 7)
        _next(w, i, 8)
        _next(w, i, 9)
        _next(w, i, 10)
        _next(w, i, 11)
        _next(w, i, 12)
        _next(w, i, 13)
        _next(w, i, 14)
        _next(w, i, 15)


@unchecked()
def _compress(w):
    """Take the block that lies in the words into the state, in every lane (6.2.2)."""
    for i in range(8 * LANES):
        w[WORK + i] = w[STATE + i]
    _sixteen_rounds(w, 0)
    for r in range(16, 64, 16):
        _next_words(w)
        _sixteen_rounds(w, r)
    for i in range(8 * LANES):
        w[STATE + i] = np.uint32(w[STATE + i] + w[WORK + i])


@unchecked()
def _word(data, at):
    """Four bytes as they lie in memory (LLVM makes it one load), turned round: the standard's order."""
    return _swap(
        np.uint32(data[at])
        | np.uint32(data[at + ONE]) << np.uint32(8)
        | np.uint32(data[at + TWO]) << np.uint32(16)
        | np.uint32(data[at + THREE]) << np.uint32(24)
    )


@unchecked()
def _whole_block(w, lane, data, at):
    """Put data[at:at + 64] into a lane's words."""
    for i in range(np.uint64(16)):
        w[i * _LANES + lane] = _word(data, at + FOUR * i)


@unchecked()
def _last_block(w, lane, data, at, rest, length):
    """Put the last *rest* bytes (0 to 63; -1: all are taken) and the padding (5.1.1) into a lane's words."""
    n = np.uint64(0)
    if rest >= 0:
        whole, odd = np.uint64(rest >> 2), rest & 3
        while n < whole:
            w[n * _LANES + lane] = _word(data, at + FOUR * n)
            n += ONE
        mixed = np.uint32(0x80000000) >> np.uint32(8 * odd)
        for i in range(odd):
            mixed |= np.uint32(data[at + FOUR * n + np.uint64(i)]) << np.uint32(24 - 8 * i)
        w[n * _LANES + lane] = np.uint32(mixed)
        n += ONE
    while n < np.uint64(16):
        w[n * _LANES + lane] = np.uint32(0)
        n += ONE
    if rest < 56:
        w[np.uint64(14) * _LANES + lane] = np.uint32(length >> 29)
        w[np.uint64(15) * _LANES + lane] = np.uint32(length << 3)


@unchecked()
def _begin(w, lane):
    for i in range(np.uint64(8)):
        w[np.uint64(STATE) + i * _LANES + lane] = H[i]


@unchecked()
def _advance(lanes, lane, w, data):
    """Give a lane the next block of its message; whether that was its last."""
    at, end = lanes[AT, lane], lanes[END, lane]
    if at + 64 <= end:
        _whole_block(w, lane, data, np.uint64(at))
        lanes[AT, lane] = at + 64
        return False
    _last_block(w, lane, data, np.uint64(at), end - at, end - lanes[START, lane])
    lanes[AT, lane] = end + 1
    return end - at < 56


@unchecked()
def _begin(lanes, lane, w, message, start, end):
    """Put a message into a lane (5.3.3)."""
    lanes[START, lane] = lanes[AT, lane] = start
    lanes[END, lane] = end
    lanes[MESSAGE, lane] = message
    for i in range(np.uint64(8)):
        w[np.uint64(STATE) + i * _LANES + lane] = H[i]


@unchecked()
def _finish(lanes, lane, w, digests):
    """Write a lane's digest out, most significant byte first, and free the lane."""
    message = np.uint64(lanes[MESSAGE, lane])
    for i in range(np.uint64(8)):
        digests[message, i] = _swap(w[np.uint64(STATE) + i * _LANES + lane])
    lanes[MESSAGE, lane] = -1


@checked()
def _fit(starts, ends, w, lanes, digests):
    """Whether the arrays have the sizes on which the unchecked functions rely."""
    scratch = w.size == SCRATCH_WORDS and lanes.shape == (LANE_ROWS, LANES)
    return scratch and len(ends) == len(starts) and digests.shape == (len(starts), 8)


@checked(types.int64(BYTES, RANGES, RANGES, types.uint32[::1], types.int64[:, ::1], types.uint32[:, ::1]))
def sha256(data, starts, ends, w, lanes, digests):
    """Hash data[starts[i]:ends[i]] into row *i* of *digests*: eight words, their bytes in the digest's order.

    *w* and *lanes* are scratch: SCRATCH_WORDS, and LANE_ROWS by LANES. Answers -1; or the number of the
    first message that does not lie in the data; or -2 for arrays of other sizes.
    """
    if not _fit(starts, ends, w, lanes, digests):
        return -2
    count, given, done = len(starts), 0, 0
    lanes[MESSAGE, :] = -1
    while done < count:
        ending = np.uint32(0)
        for lane in range(_LANES):
            if lanes[MESSAGE, lane] < 0:
                if given == count:
                    continue
                start, end = starts[given], ends[given]
                if not 0 <= start <= end <= len(data):
                    return given
                _begin(lanes, lane, w, given, start, end)
                given += 1
            if _advance(lanes, lane, w, data):
                ending |= np.uint32(1) << np.uint32(lane)
        _compress(w)
        for lane in range(_LANES):
            if ending >> np.uint32(lane) & np.uint32(1):
                _finish(lanes, lane, w, digests)
                done += 1
    return -1


@unchecked()
def _copy(data, start, out, place, size):
    for i in range(np.uint64(size)):
        out[np.uint64(place) + i] = data[np.uint64(start) + i]


@checked(types.int64(BYTES, RANGES, RANGES, types.uint8[::1], RANGES))
def copy_ranges(data, starts, ends, out, places):
    """Copy data[starts[i]:ends[i]] to out[places[i]:]. Answers -1, or the first range that does not fit."""
    for i in range(len(starts)):
        start, end, place = starts[i], ends[i], places[i]
        if not 0 <= start <= end <= len(data) or not 0 <= place <= len(out) - (end - start):
            return i
        _copy(data, start, out, place, end - start)
    return -1
