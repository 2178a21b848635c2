"""The table that describes a batch to the kernel: a row for each of its columns, a number in each place.

Rules:
    1. Addresses and sizes are those that Arrow gives for its buffers; 0 and 0 where there is none.
    2. FIRST and ITEM_FIRST count values, not bytes: a slice's bits and offsets begin there.
"""

CONSTANT, TIMESTAMP, INTEGER, BOOLEAN, TEXT, TEXTS, IP, IPS, MAC = range(9)
"""Kinds, as numbers."""

KIND, NAME_AT, NAME_SIZE, PRESENT, FIRST = range(5)
"""Numbers of a column: its kind, its constant, how many rows have a value, where its rows begin in Arrow."""

VALIDITY, VALUES, OFFSETS, DATA, ITEM_VALIDITY = range(5, 15, 2)
"""Addresses of buffers, each followed by its size in bytes. VALUES of a list are its own offsets."""

ITEM_FIRST, ITEM_COUNT, WIDTH = range(15, 18)
"""Of a list: where its items begin in Arrow, and how many there are. Then, how many numbers a column has."""

PADDING = 32
"""Bytes behind the constants: the kernel copies as many at a time."""
