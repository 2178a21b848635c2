"""Awkward rows, over which a kernel must agree with Arrow before it is used.

Rules:
    1. Every kind, NULL and not, in whole batches and in slices that start inside a byte of a bitmap.
    2. What is refused is tried one value at a time among good rows.
    3. The rows are made, not drawn: a kernel is accepted or not, on every machine alike.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import msgspec
import pyarrow as pa

from retention.dataset import Dataset, IpAddress, MacAddress, Record, SubjectChoice, Timestamp
from retention.encoding.arrow import with_arrow

LAST = 253_402_300_799_999_999
"""The last microsecond of 9999."""


class _Row(Record, frozen=True, kw_only=True):
    """A field of every kind; names of several lengths, one longer than 32 characters."""

    end: Timestamp | None = msgspec.field(name="event.end", default=None)
    number: int | None = msgspec.field(name="n", default=None)
    flag: bool | None = msgspec.field(name="check.a.flag.with.a.very.long.name", default=None)
    text: str | None = msgspec.field(name="message", default=None)
    texts: tuple[str, ...] | None = msgspec.field(name="tags", default=None)
    address: IpAddress | None = msgspec.field(name="source.ip", default=None)
    addresses: tuple[IpAddress, ...] | None = msgspec.field(name="check.ips", default=None)
    mac: MacAddress | None = msgspec.field(name="source.mac", default=None)


CHECK = Dataset(name="selfcheck", record=_Row, subject=(SubjectChoice(kind="source", column="message"),))
"""Of no store: only for the rows here."""

_FIELDS = CHECK.by_name
_DAY = 86_400_000_000


def times() -> list[int]:
    """Bounds, and the first and last day of months, with and without leap days."""
    days = [0, 30, 31, 58, 59, 60, 364, 365, 789, 790, 10_956, 11_016, 11_017, 20_665, 47_540, 47_541]
    days += [156_934, 2_932_896]
    return [0, 1, 999_999, 1_000_000, LAST, *(day * _DAY + day * 31_415_926 % _DAY for day in days)]


def numbers() -> list[int]:
    """Every count of digits, of both signs."""
    powers = [10**digits for digits in range(19)]
    sizes = [0, *powers, *(power - 1 for power in powers), 1_234_567_890_123_456_789]
    return [*sizes, *(-size for size in sizes), 2**63 - 1, -(2**63)]


def texts() -> list[str]:
    """Every length around a word, everything that is escaped at every place in it, and all of UTF-8."""
    edges = "\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
    controls = [chr(code) for code in range(32)]
    places = [
        "abcdefghijklmnop"[:place] + one + "qrstuvwxyz"
        for place in range(9)
        for one in ('"', "\\", "\0", "\x1f", "ก", "😀")
    ]
    words = ["".join(controls) * 3, "โรงเรียนบ้านหนองน้ำใส", edges, "!#[]~ /", "\\u0000", "x" * 300]
    return [*("0123456789ABCDEFG"[:length] for length in range(1, 18)), *controls, *places, *edges, *words]


def addresses() -> list[bytes]:
    """IPv4, every pattern of zero groups in IPv6 with groups of every length, and what looks mapped."""
    groups = [0x1, 0x12, 0x123, 0x1234, 0xFFFF, 0xF00, 0x10, 0xA]
    patterns = [
        b"".join((group if mask >> place & 1 else 0).to_bytes(2) for place, group in enumerate(groups))
        for mask in range(256)
    ]
    mapped = [bytes(10) + end for end in (b"\xff\xff\1\2\3\4", b"\xff\xff\0\0\0\0", b"\xff\xfe\1\2\3\4")]
    mapped += [b"\1" + bytes(9) + b"\xff\xff\1\2\3\4", bytes(9) + b"\1\xff\xff\1\2\3\4"]
    ipv4 = [bytes(4), b"\xff" * 4, b"\1\x0a\x64\xc8", b"\x63\x09\0\x80"]
    return [one for pair in zip(patterns, ipv4 * 64, strict=True) for one in pair] + mapped


def _pattern() -> dict[str, list[Any]]:
    """Values of each field; a column repeats its own, so that neighbours differ from row to row."""
    lists = texts()
    ips = addresses()
    return {
        "@timestamp": times(),
        "event.ingested": [None, *times()],
        "event.id": [*texts(), None],
        "event.end": [*times(), None, None],
        "n": [*numbers(), None],
        "check.a.flag.with.a.very.long.name": [True, False, None],
        "message": [None, *texts()],
        "tags": [None, *(lists[at : at + 1 + at % 4] for at in range(len(lists)))],
        "source.ip": [*ips, None],
        "check.ips": [*(ips[at : at + 1 + at % 3] for at in range(100)), None],
        "source.mac": [None, bytes(6), b"\xff" * 6, b"\x01\x23\x45\x67\x89\xab", b"\xcd\xef\xa0\x0b\x90\x09"],
    }


def column(name: str, values: list[Any]) -> pa.Array:
    """Values as a field of ``CHECK`` stores them; a text may be bytes, whatever these are."""
    stored = _FIELDS[name].arrow.type
    if any(isinstance(value, bytes) for value in values) and stored == pa.string():
        packed = [value.encode() if isinstance(value, str) else value for value in values]
        return pa.array(packed, pa.binary()).view(pa.string())
    return pa.array(values, stored)


@cache
def awkward() -> pa.RecordBatch:
    """All of it, 600 rows."""
    repeated = {
        name: column(name, [values[row % len(values)] for row in range(600)])
        for name, values in _pattern().items()
    }
    return pa.RecordBatch.from_arrays([repeated[name] for name in CHECK.schema.names], schema=CHECK.schema)


NO_UTF8 = (
    *(
        b"\x80",
        b"\xbf",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xc2",
        b"\xc2A",
        b"\xc2\xc2",
        b"\xe0\x9f\x80",
        b"\xe0\xa0",
    ),
    *(b"\xe0\xa0A", b"\xed\xa0\x80", b"\xef\xbf", b"\xf0\x8f\x80\x80", b"\xf0\x90\x80", b"\xf4\x90\x80\x80"),
    *(b"\xf5\x80\x80\x80", b"\xff", b"abcdefgh\xc3", b"abcdefg\xc3h", b"abc\xe0\xb8"),
)

REFUSED: tuple[tuple[str, Any], ...] = (
    *(("event.end", moment) for moment in (-1, LAST + 1, -(2**63), 2**63 - 1)),
    *(("message", text) for text in ("", *NO_UTF8)),
    *(("tags", texts) for texts in ([], [""], ["a", None], [None], ["a", ""])),
    *(("source.ip", bytes(length)) for length in (0, 3, 5, 15, 17)),
    *(("check.ips", ips) for ips in ([], [None], [bytes(4), None], [bytes(5)], [bytes(16), b""])),
    *(("source.mac", bytes(length)) for length in (0, 5, 7)),
)
"""A field and a value of it that has no line."""


def refused() -> Iterator[tuple[str, pa.RecordBatch]]:
    """Good rows with one value among them that has no line; what it is."""
    for name, value in REFUSED:
        columns = {"@timestamp": column("@timestamp", [0, 1, 2]), name: column(name, [None, value, None])}
        yield f"{name} {value!r}", CHECK.conform(columns, 3)


def differences(kernel: Callable[[Dataset, pa.RecordBatch], pa.Array | None]) -> list[str]:
    """What *kernel*, which answers None for what it refuses, does otherwise than Arrow."""
    whole = awkward()
    parts = {
        "all rows": whole,
        "rows 3-": whole.slice(3),
        "rows 5-305": whole.slice(5, 301),
        "none": whole[:0],
    }
    wrong = []
    for name, part in parts.items():
        lines = kernel(CHECK, part)
        if lines is None or lines.validate(full=True) or not lines.equals(with_arrow(CHECK, part)):
            wrong.append(name)
    return wrong + [name for name, part in refused() if kernel(CHECK, part) is not None]
