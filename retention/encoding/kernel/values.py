"""Times, numbers, addresses and MACs as text (rules 3 and 4). Compiled; pure.

Rules:
    1. Nothing here is refused except a time outside 1970-9999 and an address or MAC of another length.
    2. Each writes less than ``SLACK`` bytes and answers the position behind them, or ``REFUSED``.
    3. Eight decimal digits are made at once, in the eight bytes of a word.
"""

import numpy as np

from retention.encoding.kernel.memory import U, load8, put, put_word, unchecked
from retention.encoding.kernel.texts import REFUSED

ZEROS = U(0x3030303030303030)
EIGHT_DIGITS = U(100_000_000)
SECOND, DAY = 1_000_000, 86_400_000_000
YEAR_10000 = 253_402_300_800_000_000

TIME = U(0x00_00_3A_00_00_3A_00_00)
"""``..:..:..``"""
FRACTION = U(0x5A_00_00_00_00_00_00_2E)
"""``.......Z``, the first a full stop"""
HYPHENS = U(0x00_00_2D_00_00_2D_00_00), U(0x00_2D_00_00_2D_00_00_2D)
TRUE, FALSE = U(0x65757274), U(0x65736C6166)
MAPPED = U(0x3A666666663A3A)
"""``::ffff:``"""


def _words(texts):
    return np.array([int.from_bytes(one.encode(), "little") for one in texts], np.uint32)


OCTETS = _words([f"{octet}." for octet in range(256)])
OCTET_LENGTHS = np.array([len(f"{octet}.") for octet in range(256)], np.uint8)
UPPER = _words([f"{octet:02X}" for octet in range(256)])
LOWER = _words([f"{octet:02x}" for octet in range(256)])


@unchecked()
def _digits(number):
    """The eight decimal digits of a number below 10^8, one a byte, the first in the lowest."""
    fours = number // U(10_000) | number % U(10_000) << U(32)
    hundreds = fours * U(10_486) >> U(20) & U(0x0000007F0000007F)
    twos = hundreds | fours - U(100) * hundreds << U(16)
    tens = twos * U(103) >> U(10) & U(0x000F000F000F000F)
    return tens | twos - U(10) * tens << U(8)


@unchecked()
def _write_short(number, out, at):
    """A number below 10^8 without leading zeros."""
    length = 1
    for power in (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000):
        length += number >= U(power)
    return put_word(out, at, (_digits(number) | ZEROS) >> U(64 - 8 * length), length)


@unchecked()
def write_integer(number, out, at):
    """A signed number."""
    size = U(number)
    if number < 0:
        at = put(out, at, 0x2D)
        size = U(0) - size
    if size < EIGHT_DIGITS:
        return _write_short(size, out, at)
    high, low = size // EIGHT_DIGITS, size % EIGHT_DIGITS
    if high < EIGHT_DIGITS:
        at = _write_short(high, out, at)
    else:
        at = _write_short(high // EIGHT_DIGITS, out, at)
        at = put_word(out, at, _digits(high % EIGHT_DIGITS) | ZEROS, 8)
    return put_word(out, at, _digits(low) | ZEROS, 8)


@unchecked()
def _date(day):
    """Year, month and day of a day since 1970 as one number of eight digits.

    Years begin in March, so that the leap day is their last; 400 of them are 146,097 days.
    """
    days = day + 719_468  # since 0000-03-01
    era, days = days // 146_097, days % 146_097
    year = (days - days // 1_460 + days // 36_524 - days // 146_096) // 365
    days -= 365 * year + year // 4 - year // 100
    month = (5 * days + 2) // 153
    days -= (153 * month + 2) // 5
    month += 3
    year += 400 * era
    if month > 12:
        month -= 12
        year += 1
    return (year * 100 + month) * 100 + days + 1


@unchecked()
def write_time(moment, dates, column, out, at):
    """Microseconds since 1970 as ``"2026-07-31T23:59:59.000000Z"``.

    Row *column* of *dates* keeps the last day and its text: times of a column are mostly of one day.
    """
    if moment < 0 or moment >= YEAR_10000:
        return REFUSED
    day, rest = moment // DAY, moment % DAY
    i = U(column)
    if dates[i, U(0)] != day:
        dates[i, U(0)] = day
        dates[i, U(1)] = np.int64(_digits(U(_date(day))) | ZEROS)
    date = U(dates[i, U(1)])
    seconds, micro = rest // SECOND, rest % SECOND
    minutes = seconds // 60
    clock = _digits(U((minutes // 60 * 100 + minutes % 60) * 100 + seconds % 60)) | ZEROS
    clock = (
        TIME | clock >> U(16) & U(0xFFFF) | (clock >> U(32) & U(0xFFFF)) << U(24) | clock >> U(48) << U(48)
    )
    fraction = FRACTION | (_digits(U(micro)) | ZEROS) >> U(16) << U(8)
    at = put(out, at, 0x22)
    at = put_word(
        out,
        at,
        date & U(0xFFFFFFFF) | U(0x2D) << U(32) | (date >> U(32) & U(0xFFFF)) << U(40) | U(0x2D) << U(56),
        8,
    )
    at = put_word(out, at, date >> U(48) | U(0x54) << U(16), 3)
    at = put_word(out, at, clock, 8)
    return put(out, put_word(out, at, fraction, 8), 0x22)


@unchecked()
def write_boolean(value, out, at):
    """``true`` or ``false``."""
    return put_word(out, at, TRUE, 4) if value else put_word(out, at, FALSE, 5)


@unchecked()
def _write_ipv4(data, start, out, at):
    for i in range(4):
        octet = U(data[U(start + i)])
        at = put_word(out, at, U(OCTETS[octet]), np.int64(OCTET_LENGTHS[octet]))
    return at - 1


@unchecked()
def _group(data, start, number):
    """Sixteen bits of an IPv6 address."""
    i = U(start + 2 * number)
    return np.int64(data[i]) << 8 | np.int64(data[i + U(1)])


@unchecked()
def _zeros(data, start):
    """First longest run of zero groups (RFC 5952 section 4.2.3): where and how long."""
    best, longest, first = 0, 0, 0
    for number in range(8):
        if _group(data, start, number):
            first = number + 1
        elif number + 1 - first > longest:
            best, longest = first, number + 1 - first
    return best, longest


@unchecked()
def _write_group(group, out, at):
    """One to four hexadecimal digits in lower case."""
    text = U(LOWER[U(group >> 8)]) | U(LOWER[U(group & 255)]) << U(16)
    skipped = np.int64(group < 0x1000) + np.int64(group < 0x100) + np.int64(group < 0x10)
    return put_word(out, at, text >> U(8 * skipped), 4 - skipped)


@unchecked()
def _is_mapped(data, start):
    return load8(data, start) == U(0) and _group(data, start, 4) == 0 and _group(data, start, 5) == 0xFFFF


@unchecked()
def _write_ipv6(data, start, out, at):
    """RFC 5952, IPv4-mapped addresses in mixed notation (its section 5)."""
    if _is_mapped(data, start):
        return _write_ipv4(data, start + 12, out, put_word(out, at, MAPPED, 7))
    best, longest = _zeros(data, start)
    if longest < 2:  # RFC 5952 4.2.2: one zero group is never shortened
        best, longest = 8, 0
    for number in range(8):
        if best <= number < best + longest:
            if number == best:
                at = put_word(out, at, U(0x3A3A), 2)
        else:
            if number and number != best + longest:
                at = put(out, at, 0x3A)
            at = _write_group(_group(data, start, number), out, at)
    return at


@unchecked()
def write_address(data, start, end, out, at):
    """An address of 4 or 16 bytes between quotes."""
    at = put(out, at, 0x22)
    if end - start == 4:
        at = _write_ipv4(data, start, out, at)
    elif end - start == 16:
        at = _write_ipv6(data, start, out, at)
    else:
        return REFUSED
    return put(out, at, 0x22)


@unchecked()
def write_mac(data, start, end, out, at):
    """Six bytes in upper case with hyphens, between quotes."""
    if end - start != 6:
        return REFUSED
    i = U(start)
    first, second, third = U(UPPER[data[i]]), U(UPPER[data[i + U(1)]]), U(UPPER[data[i + U(2)]])
    fourth, fifth, sixth = U(UPPER[data[i + U(3)]]), U(UPPER[data[i + U(4)]]), U(UPPER[data[i + U(5)]])
    at = put(out, at, 0x22)
    at = put_word(out, at, HYPHENS[0] | first | second << U(24) | third << U(48), 8)
    at = put_word(out, at, HYPHENS[1] | fourth << U(8) | fifth << U(32) | sixth << U(56), 8)
    return put(out, put(out, at, sixth >> U(8)), 0x22)
