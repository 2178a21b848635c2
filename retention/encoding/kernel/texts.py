"""Texts as JSON strings: escaped, and refused unless they are UTF-8 (rule 5). Compiled; pure.

Rules:
    1. Eight characters that need nothing are one comparison and one store.
    2. UTF-8 is that of Unicode's table 3-7: no surrogates, no longer form than needed, nothing above
       U+10FFFF.
    3. The caller gives ``start <= end <= len(data)`` and ``at <= limit``; ``SLACK`` bytes may be written
       behind ``limit``. Before more is written than that, ``FULL`` is answered.
"""

import numpy as np

from retention.encoding.kernel.memory import U, load8, put, put_word, unchecked

REFUSED, FULL = -1, -2
"""Instead of a position: a value has no line (or looks so); the output has not enough room."""

SLACK = 128
"""Room behind the limit: more than any member takes whose length does not depend on a text."""

ONES, HIGH = U(0x0101010101010101), U(0x8080808080808080)
SPACES, QUOTES, BACKSLASHES = U(0x20) * ONES, U(0x22) * ONES, U(0x5C) * ONES
EMPTY_ESCAPE = U(0x00_00_30_30_30_30_75_5C)
r"""``\u0000``."""


@unchecked()
def _is_plain(word):
    """Whether all eight bytes are ASCII and none is escaped.

    A subtraction sets the high bit of an ASCII byte that is too small, and borrows from the next only then.
    """
    found = word | word - SPACES | (word ^ QUOTES) - ONES | (word ^ BACKSLASHES) - ONES
    return found & HIGH == U(0)


@unchecked()
def _continues(data, at, count):
    """Whether *count* bytes from *at* are of the form 10xxxxxx."""
    for i in range(count):
        if data[U(at + i)] & 0xC0 != 0x80:
            return False
    return True


@unchecked()
def _sequence(data, start, end):
    """Length of the UTF-8 sequence of two to four bytes at *start*; 0: there is none."""
    lead = np.int64(data[U(start)])
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or start + length > end or not _continues(data, start + 1, length - 1):
        return 0
    second = np.int64(data[U(start + 1)])
    if (lead == 0xE0 and second < 0xA0) or (lead == 0xED and second > 0x9F):
        return 0
    if (lead == 0xF0 and second < 0x90) or (lead == 0xF4 and second > 0x8F):
        return 0
    return length


@unchecked()
def _hexadecimal(digit):
    return digit + 0x30 if digit < 10 else digit + 0x57


@unchecked()
def _escape(out, at, character):
    r"""A character that is escaped: ``\"``, ``\\`` or ``\u00xx``."""
    if character >= 0x20:
        return put(out, put(out, at, 0x5C), character)
    low = U(_hexadecimal(character & 15)) - U(0x30)
    return put_word(out, at, EMPTY_ESCAPE + (U(character >> 4) << U(32)) + (low << U(40)), 6)


@unchecked()
def _character(data, start, end, out, at, limit):
    """Write the character at *start*, whatever it is; where it ended, and the position or REFUSED or FULL."""
    first = np.int64(data[U(start)])
    if first >= 0x80:
        length = _sequence(data, start, end)
        for i in range(length):
            at = put(out, at, data[U(start + i)])
        return start + length, at if length else REFUSED
    if first < 0x20 or first == 0x22 or first == 0x5C:
        at = _escape(out, at, first)
        return start + 1, at if at + (end - start) <= limit else FULL
    return start + 1, put(out, at, first)


@unchecked()
def write_text(data, start, end, out, at, limit):
    """Write data[start:end] between quotes; the position behind, or REFUSED or FULL."""
    if start == end:
        return REFUSED
    if at + (end - start) > limit:
        return FULL
    at = put(out, at, 0x22)
    while start < end and at >= 0:
        rest = end - start
        if start + 8 <= len(data):
            word = load8(data, start)
            if rest < 8:
                word = word & (U(1) << U(8 * rest)) - U(1) | SPACES << U(8 * rest)
            if _is_plain(word):
                length = min(rest, 8)
                at = put_word(out, at, word, length)
                start += length
                continue
        start, at = _character(data, start, end, out, at, limit)
    return put(out, at, 0x22) if at >= 0 else at
