"""What a dataset is: its record type, its ECS names, its stored types and whose record a row is.

Rules (FORMAT.md 1 and 2):
    1. A record type declares each field once: snake_case in Python, its ECS name in ``field(name=…)``.
       Everything else (Arrow schema, line, search field) is derived from that one mapping.
    2. Absent is NULL. ``null``, ``""`` and ``[]`` are refused: unobserved is not the same as empty.
    3. The writer gives ``event.id`` and ``event.ingested``; producers leave them out.
    4. Fields are only ever added with a new schema version, never renamed within one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, get_args, get_type_hints

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from retention.errors import SchemaError


class Kind(StrEnum):
    """How a field is stored and written."""

    TIMESTAMP = "timestamp"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXT = "text"
    TEXTS = "texts"
    IP = "ip"
    IPS = "ips"
    MAC = "mac"


Timestamp = Annotated[int, Kind.TIMESTAMP]
"""Microseconds since 1970-01-01T00:00:00Z, floored."""

IpAddress = Annotated[bytes, Kind.IP]
"""Four bytes for IPv4, sixteen for IPv6, network order: the length is the family."""

MacAddress = Annotated[bytes, Kind.MAC]
"""Six bytes."""

_ARROW: dict[Kind, pa.DataType] = {
    Kind.TIMESTAMP: pa.timestamp("us"),
    Kind.INTEGER: pa.int64(),
    Kind.BOOLEAN: pa.bool_(),
    Kind.TEXT: pa.string(),
    Kind.TEXTS: pa.list_(pa.string()),
    Kind.IP: pa.binary(),
    Kind.IPS: pa.list_(pa.binary()),
    Kind.MAC: pa.binary(),
}

_PLAIN: dict[object, Kind] = {
    int: Kind.INTEGER,
    bool: Kind.BOOLEAN,
    str: Kind.TEXT,
    tuple[str, ...]: Kind.TEXTS,
    tuple[IpAddress, ...]: Kind.IPS,
}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What every record has. A missing field was *not observed*; zero is a measurement."""

    SCHEMA: ClassVar[int] = 1
    """Version of the stored form. Changing a field needs a new one and a converter."""

    timestamp: Timestamp = msgspec.field(name="@timestamp")
    """When it happened (for a flow: its first packet), UTC µs. Source: packet or wall clock."""

    ingested: Timestamp | None = msgspec.field(name="event.ingested", default=None)
    """When it entered the store, UTC µs: the retention period runs from here. Source: the journal writer."""

    event_id: str | None = msgspec.field(name="event.id", default=None)
    """``writer.file.row``, unique in the store. Source: the journal writer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One column of a dataset."""

    python: str
    """Name in Python, snake_case."""
    name: str
    """Name in ECS: in Arrow, Parquet, lines, search and export."""
    kind: Kind

    @property
    def arrow(self) -> pa.Field:
        """The Arrow field; every column may be NULL."""
        return pa.field(self.name, _ARROW[self.kind])


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectChoice:
    """One way to say whose row it is; the first whose column is present decides."""

    kind: str
    """user, mac, ip, host, source or actor."""
    column: str
    when: tuple[str, str] | None = None
    """Only for rows whose column (first) equals the text (second)."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A kind of record that is stored, sealed and searched together."""

    name: str
    record: type[Record]
    subject: tuple[SubjectChoice, ...]
    commit_within_ms: int = 200
    """How long the journal may gather rows before it makes them durable."""

    @property
    def version(self) -> int:
        """The schema version that is written now."""
        return self.record.SCHEMA

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The columns, in the order of the line."""
        hints = get_type_hints(self.record, include_extras=True)
        return tuple(
            Field(python=one.name, name=one.encode_name, kind=_kind(self.record, one.name, hints[one.name]))
            for one in msgspec.structs.fields(self.record)
        )

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of a stored batch."""
        return pa.schema([field.arrow for field in self.fields])

    @cached_property
    def by_name(self) -> dict[str, Field]:
        """Fields by their ECS name."""
        return {field.name: field for field in self.fields}

    def batch(self, records: Iterable[Record]) -> pa.RecordBatch:
        """Columns of *records*, for producers of few rows at a time."""
        rows = list(records)
        columns = [
            pa.array([getattr(row, field.python) for row in rows], _ARROW[field.kind])
            for field in self.fields
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def conform(self, columns: dict[str, pa.Array], rows: int) -> pa.RecordBatch:
        """A batch in schema order from the *columns* that were observed; the others are NULL.

        Raises:
            SchemaError: a column is not a field of this dataset, or cannot be stored as its type.
        """
        if unknown := columns.keys() - self.by_name.keys():
            raise SchemaError(f"dataset {self.name} has no field {', '.join(sorted(unknown))}")
        try:
            arrays = [
                columns[name].cast(_ARROW[field.kind])
                if name in columns
                else pa.nulls(rows, field.arrow.type)
                for name, field in self.by_name.items()
            ]
            return pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        except (ValueError, pa.ArrowNotImplementedError) as error:
            raise SchemaError(f"dataset {self.name}: {error}") from error

    def subjects(self, batch: pa.RecordBatch) -> pa.Array:
        """Whose row each is: ``kind ‖ u16be(length) ‖ bytes``, ``none`` where nobody's (subject rule 1)."""
        found = pa.nulls(batch.num_rows, pa.binary())
        for choice in self.subject:
            value = batch.column(choice.column).cast(pa.binary())
            if choice.when is not None:
                applies = pc.equal(batch.column(choice.when[0]), choice.when[1])
                value = pc.if_else(
                    pc.fill_null(applies, fill_value=False), value, pa.scalar(None, pa.binary())
                )
            kind = pa.scalar(choice.kind.encode(), pa.binary())
            found = pc.coalesce(found, pc.binary_join_element_wise(kind, _lengths(value), value, b""))
        return pc.fill_null(found, b"none\0\0")


def _lengths(values: pa.Array) -> pa.Array:
    """u16be of each value's length, NULL where it is."""
    lengths = pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    packed = pa.py_buffer(lengths.astype(">u2").tobytes())
    whole = pa.Array.from_buffers(pa.binary(2), len(values), [None, packed]).cast(pa.binary())
    return pc.if_else(values.is_valid(), whole, pa.scalar(None, pa.binary()))


def _kind(record: type[Record], name: str, hint: object) -> Kind:
    for candidate in _unwrap(hint):
        if candidate in _PLAIN:
            return _PLAIN[candidate]
        for extra in getattr(candidate, "__metadata__", ()):
            if isinstance(extra, Kind):
                return extra
    raise TypeError(f"{record.__name__}.{name}: no stored type for {hint}")


def _unwrap(hint: object) -> Sequence[object]:
    """The alternatives of ``X | None``, without None."""
    if hint in _PLAIN or hasattr(hint, "__metadata__"):
        return (hint,)
    return [one for one in get_args(hint) if one is not type(None)]
