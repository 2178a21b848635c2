"""Rows to lines in one pass over a batch, column after column of each row. Compiled; pure.

Rules:
    1. ``measure`` comes first, for the same table and rows. It compares every size, and every offset of
       texts, addresses and lists, with what they point into; ``write_lines`` relies on that and reads
       nothing else.
    2. Room is compared before every member, text and list item; ``SLACK`` covers what has a fixed length.
    3. ``REFUSED`` means that a value has no line, or that the memory is not as Arrow describes it. The
       reference says which; nothing is decided here.
    4. Nothing is compiled for a dataset: what a row holds is in the table (``columns``).
    5. Nothing is allocated, so reference counting is off (docs/decisions/0002).
"""

import numpy as np
from numba import types

from retention.encoding.kernel.columns import (
    BOOLEAN,
    CONSTANT,
    DATA,
    FIRST,
    INTEGER,
    IP,
    IPS,
    ITEM_COUNT,
    ITEM_FIRST,
    ITEM_VALIDITY,
    KIND,
    MAC,
    NAME_AT,
    NAME_SIZE,
    OFFSETS,
    PADDING,
    PRESENT,
    TEXT,
    TEXTS,
    TIMESTAMP,
    VALIDITY,
    VALUES,
    WIDTH,
)
from retention.encoding.kernel.memory import (
    BYTES,
    U,
    bit,
    checked,
    copy32,
    load_int32,
    load_int64,
    put,
    unchecked,
    window,
)
from retention.encoding.kernel.texts import FULL, REFUSED, SLACK, write_text
from retention.encoding.kernel.values import (
    write_address,
    write_boolean,
    write_integer,
    write_mac,
    write_time,
)

TABLE = types.int64[:, ::1]
_WIDEST = np.array([0, 29, 20, 5, 2, 2, 41, 2, 19], np.int64)
"""Most bytes of a value of each kind, beside its texts or items."""


@unchecked()
def _number(table, column, name):
    return table[U(column), U(name)]


@unchecked()
def _has_bits(table, column, name, count):
    """Whether a bitmap, if there is one, has *count* bits."""
    return _number(table, column, name) == 0 or 8 * _number(table, column, name + 1) >= count


@unchecked()
def _has_ranges(offsets, first, count, size):
    """Whether *count* ranges from number *first* do not decrease, and lie in *size*."""
    if first < 0 or len(offsets) < 4 * (first + count + 1):
        return False
    before = load_int32(offsets, first)
    if before < 0:
        return False
    sound = True
    for i in range(first + 1, first + count + 1):
        behind = load_int32(offsets, i)
        sound &= before <= behind
        before = behind
    return sound and before <= size


@unchecked()
def _items(table, column, rows):
    """First and last item of *rows* lists, which have been compared."""
    lists, first = window(table, column, VALUES), _number(table, column, FIRST)
    return load_int32(lists, first), load_int32(lists, first + rows)


@unchecked()
def _has_lists(table, column, rows):
    """Whether lists, their items and what these point into lie in their buffers."""
    count = _number(table, column, ITEM_COUNT)
    if not _has_ranges(window(table, column, VALUES), _number(table, column, FIRST), rows, count):
        return False
    start, end = _items(table, column, rows)
    first = _number(table, column, ITEM_FIRST)
    if not _has_bits(table, column, ITEM_VALIDITY, first + end):
        return False
    offsets, size = window(table, column, OFFSETS), _number(table, column, DATA + 1)
    return _has_ranges(offsets, first + start, end - start, size)


@unchecked()
def _is_sound(table, column, rows, constants):
    """Whether everything of a column that ``write_lines`` may read is there."""
    kind, first = _number(table, column, KIND), _number(table, column, FIRST)
    at, size = _number(table, column, NAME_AT), _number(table, column, NAME_SIZE)
    if at < 0 or size < 0 or at + size + PADDING > len(constants):
        return False
    if first < 0 or not _has_bits(table, column, VALIDITY, first + rows):
        return False
    if kind in (TIMESTAMP, INTEGER):
        return _number(table, column, VALUES + 1) >= 8 * (first + rows)
    if kind == BOOLEAN:
        return 8 * _number(table, column, VALUES + 1) >= first + rows
    if kind in (TEXT, IP, MAC):
        size = _number(table, column, DATA + 1)
        return _has_ranges(window(table, column, OFFSETS), first, rows, size)
    return kind == CONSTANT or (kind in (TEXTS, IPS) and _has_lists(table, column, rows))


@unchecked()
def _bound(table, column, rows, growth):
    """Most bytes of a column's members, if no text grows more than *growth* times."""
    kind, present = _number(table, column, KIND), _number(table, column, PRESENT)
    size = present * (_number(table, column, NAME_SIZE) + _WIDEST[U(kind)])
    start, end = _number(table, column, FIRST), _number(table, column, FIRST) + rows
    if kind in (TEXTS, IPS):
        start, end = _items(table, column, rows)
        size += (end - start) * (3 if kind == TEXTS else 42)
        start, end = start + _number(table, column, ITEM_FIRST), end + _number(table, column, ITEM_FIRST)
    if kind in (TEXT, TEXTS):
        offsets = window(table, column, OFFSETS)
        size += growth * (load_int32(offsets, end) - load_int32(offsets, start))
    return size


@checked(types.int64(TABLE, types.int64, BYTES, types.int64))
def measure(table, rows, constants, growth):
    """Most bytes of the lines of *rows* rows if no text grows more than *growth* times, or REFUSED."""
    if rows < 0 or table.shape[1] != WIDTH:
        return REFUSED
    size = 0
    for column in range(len(table)):
        if rows and not _is_sound(table, column, rows, constants):
            return REFUSED
        size += _bound(table, column, rows, growth) if rows else 0
    return size


@unchecked()
def _write_list(table, column, row, kind, out, at, limit):
    """A list of texts or addresses."""
    lists, i = window(table, column, VALUES), _number(table, column, FIRST) + row
    first = _number(table, column, ITEM_FIRST)
    start, end = load_int32(lists, i) + first, load_int32(lists, i + 1) + first
    if start == end:
        return REFUSED
    nulls = window(table, column, ITEM_VALIDITY)
    offsets, data = window(table, column, OFFSETS), window(table, column, DATA)
    at = put(out, at, 0x5B)
    for item in range(start, end):
        if len(nulls) and not bit(nulls, item):
            return REFUSED
        if at > limit:
            return FULL
        if item > start:
            at = put(out, at, 0x2C)
        begin, stop = load_int32(offsets, item), load_int32(offsets, item + 1)
        if kind == TEXTS:
            at = write_text(data, begin, stop, out, at, limit)
        else:
            at = write_address(data, begin, stop, out, at)
        if at < 0:
            return at
    return put(out, at, 0x5D)


@unchecked()
def _write_value(table, column, row, kind, dates, out, at, limit):
    """A value that is there; the position behind it, or REFUSED or FULL."""
    i = _number(table, column, FIRST) + row
    if kind == INTEGER:
        return write_integer(load_int64(window(table, column, VALUES), i), out, at)
    if kind == TIMESTAMP:
        return write_time(load_int64(window(table, column, VALUES), i), dates, column, out, at)
    if kind == BOOLEAN:
        return write_boolean(bit(window(table, column, VALUES), i), out, at)
    if kind in (TEXTS, IPS):
        return _write_list(table, column, row, kind, out, at, limit)
    offsets, data = window(table, column, OFFSETS), window(table, column, DATA)
    start, end = load_int32(offsets, i), load_int32(offsets, i + 1)
    if kind == TEXT:
        return write_text(data, start, end, out, at, limit)
    if kind == IP:
        return write_address(data, start, end, out, at)
    return write_mac(data, start, end, out, at)


@unchecked()
def _write_row(table, row, constants, dates, out, at, limit):
    """A line; the position behind it, or REFUSED or FULL."""
    for column in range(len(table)):
        nulls = window(table, column, VALIDITY)
        if len(nulls) and not bit(nulls, _number(table, column, FIRST) + row):
            continue
        start, size = _number(table, column, NAME_AT), _number(table, column, NAME_SIZE)
        if at + size > limit:
            return FULL
        for done in range(0, size, PADDING):
            copy32(out, at + done, constants, start + done)
        at += size
        kind = _number(table, column, KIND)
        if kind != CONSTANT:
            at = _write_value(table, column, row, kind, dates, out, at, limit)
            if at < 0:
                return at
    return at


@checked(types.int64(TABLE, types.int64, BYTES, TABLE, types.int32[::1], types.uint8[::1]))
def write_lines(table, rows, constants, dates, ends, out):
    """Write *rows* lines; how many bytes they have, or REFUSED or FULL.

    *dates* is scratch, two numbers a column. *ends* gets where the lines begin and the last one ends.
    *out* is ``SLACK`` bytes longer than what may be used of it.
    """
    if table.shape[1] != WIDTH or dates.shape != (len(table), 2) or len(ends) != rows + 1:
        return REFUSED
    limit = len(out) - SLACK
    if limit < 0 or limit > 2**31 - 2:
        return FULL
    dates[:, 0] = -1
    ends[0] = at = 0
    for row in range(rows):
        at = _write_row(table, row, constants, dates, out, at, limit)
        if at < 0:
            return at
        if at > limit:
            return FULL
        ends[row + 1] = at
    return at
