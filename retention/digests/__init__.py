"""SHA-256 of many messages at once (FIPS 180-4), several times as fast as one after the other.

Rules:
    1. The digests are hashlib's, whatever computed them; only the time differs (``ways``).
    2. Arguments are refused before any byte is read: nothing is converted, cut or guessed.
    3. Importing this package, or hashing little, does not import numba (0.5 s, 150 MiB).
    4. Data that another thread changes meanwhile gives digests of neither state, but nothing outside it
       is read: the arrays' sizes cannot change.

    >>> sha256_many(np.frombuffer(b"abc", np.uint8), np.array([0, 1, 3]))  # of b"a" and of b"bc"
"""

import numpy as np

from retention.digests.ways import By, Bytes, Choice, Integers, cache_directory, compiled

__all__ = ["cache_directory", "compiled", "sha256_fixed", "sha256_joined", "sha256_many", "sha256_ranges"]

_CHOICE = Choice()


def sha256_many(data: Bytes, offsets: Integers, *, by: By | None = None) -> Bytes:
    """SHA-256 of adjacent messages.

    Args:
        data: Bytes, one-dimensional and contiguous; may be read-only.
        offsets: n + 1 int64 byte positions that do not decrease: message *i* is
            ``data[offsets[i]:offsets[i + 1]]``. The first need not be 0, nor the last the data's end.
        by: Forces a way, for tests.

    Returns:
        n × 32 bytes, a digest in each row.

    Raises:
        ValueError: An array has another form, or a message does not lie in the data.
    """
    if offsets.ndim == 1 and len(offsets) == 0:
        raise ValueError("expected n + 1 offsets for n messages, found none")
    return sha256_ranges(data, offsets[:-1], offsets[1:], by=by)


def sha256_ranges(data: Bytes, starts: Integers, ends: Integers, *, by: By | None = None) -> Bytes:
    """SHA-256 of messages anywhere in the data; they may overlap and be in any order.

    Args:
        data: Bytes, one-dimensional and contiguous; may be read-only.
        starts: n int64 byte positions.
        ends: n int64 byte positions: message *i* is ``data[starts[i]:ends[i]]``.
        by: Forces a way, for tests.

    Returns:
        n × 32 bytes, a digest in each row.

    Raises:
        ValueError: An array has another form, or a message does not lie in the data.
    """
    if data.dtype != np.uint8 or data.ndim != 1 or not data.flags.c_contiguous:
        raise ValueError(f"expected contiguous data, one-dimensional uint8, found {_form(data)}")
    for array in (starts, ends):
        if array.dtype != np.int64 or array.ndim != 1:
            raise ValueError(f"expected positions as one-dimensional int64, found {_form(array)}")
    if len(starts) != len(ends):
        raise ValueError(f"expected as many ends as starts, found {len(ends)} and {len(starts)}")
    starts, ends = (np.require(one, requirements=["C", "A"]) for one in (starts, ends))
    wrong = (starts < 0) | (ends < starts) | (ends > len(data))
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(f"message {i}, bytes {starts[i]} to {ends[i]}, does not lie in {len(data)} bytes")
    way = _CHOICE.way(len(starts), int((ends - starts).sum()), by)
    return way(data, starts, ends)


def sha256_joined(
    prefixes: Bytes, data: Bytes, starts: Integers, ends: Integers, rows: Integers | None = None
) -> Bytes:
    """SHA-256 of messages that are a prefix and then some ranges of the data.

    Args:
        prefixes: m × w bytes: message *i* begins with row *i*.
        data: As for ``sha256_ranges``.
        starts: n int64 byte positions.
        ends: n int64 byte positions.
        rows: m int64: how many ranges each message takes in turn, n together. Absent: one each.

    Returns:
        m × 32 bytes, a digest in each row.

    Raises:
        ValueError: An array has another form, or a range does not lie in the data.
    """
    count, width = prefixes.shape
    taken = np.ones(count, np.int64) if rows is None else rows
    if len(taken) != count or int(taken.sum()) != len(starts):
        raise ValueError(f"{count} messages of {int(taken.sum())} ranges, found {len(starts)}")
    lengths = ends - starts
    if len(starts) and (int(starts.min()) < 0 or int(lengths.min()) < 0 or int(ends.max()) > len(data)):
        raise ValueError(f"ranges do not lie in {len(data)} bytes")
    behind = np.concatenate([[0], np.cumsum(lengths)])
    last = np.cumsum(taken)
    bounds = np.concatenate([[0], behind[last] + width * np.arange(1, count + 1)])
    places = behind[:-1] + width * (np.repeat(np.arange(count), taken) + 1)
    messages = np.empty(int(bounds[-1]), np.uint8)
    messages[bounds[:-1, None] + np.arange(width)] = prefixes
    _CHOICE.copy(len(starts))(data, starts, ends, messages, places)
    return sha256_ranges(messages, bounds[:-1], bounds[1:])


def sha256_fixed(rows: Bytes, *, by: By | None = None) -> Bytes:
    """SHA-256 of each row: messages of one width, such as the leaves and nodes of a Merkle tree.

    Args:
        rows: n × width bytes. Rows may lie apart (a column range of a wider array is not copied).
        by: Forces a way, for tests.

    Returns:
        n × 32 bytes, a digest in each row.

    Raises:
        ValueError: The array has another form.
    """
    if rows.dtype != np.uint8 or rows.ndim != 2:
        raise ValueError(f"expected rows as two-dimensional uint8, found {_form(rows)}")
    count, width = rows.shape
    if rows.size == 0 or rows.strides[1] != 1 or rows.strides[0] < width:
        rows = np.ascontiguousarray(rows)
    step = rows.strides[0] if rows.size else 0
    span = (count - 1) * step + width if rows.size else 0
    data = np.lib.stride_tricks.as_strided(rows, (span,), (1,), writeable=False)
    starts = np.arange(count, dtype=np.int64) * step
    return sha256_ranges(data, starts, starts + width, by=by)


def _form(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
    contiguous = "" if array.flags.c_contiguous else ", not contiguous"
    return f"{array.ndim}-dimensional {array.dtype}{contiguous}"
