"""Shows found records: as a table for people, canonical lines for machines, or CSV for spreadsheets. Pure.

Rules:
    1. JSON output is the canonical line itself, byte for byte as it is hashed; ``records`` has it as a
       string, beside its position.
    2. Every form but JSON says where a record lies for ever: segment and row, or, while it lies in a journal,
       ``event.id``.
    3. CSV starts with a byte-order mark, and no cell can be taken for a formula.
    4. Nothing that came from outside can move the terminal's cursor.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pyarrow as pa

from applog.search.embedded import Position
from applog.search.when import show_short
from retention.dataset import Dataset
from retention.encoding import encode

_COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "flow": (
        ("time", "@timestamp"),
        ("source", "source"),
        ("destination", "destination"),
        ("proto", "network.transport"),
        ("app", "network.protocol"),
        ("host", "destination.domain"),
        ("bytes", "bytes"),
        ("user", "user.name"),
    ),
    "dns": (
        ("time", "@timestamp"),
        ("asked by", "source"),
        ("asked", "destination"),
        ("name", "dns.question.name"),
        ("type", "dns.question.type"),
        ("answer", "dns.response_code"),
        ("addresses", "dns.resolved_ip"),
    ),
    "lease": (
        ("time", "@timestamp"),
        ("what", "event.action"),
        ("address", "client.ip"),
        ("device", "client.mac"),
        ("name", "host.hostname"),
        ("until", "lease.until"),
    ),
    "coverage": (
        ("time", "@timestamp"),
        ("reason", "coverage.reason"),
        ("packets", "coverage.packets"),
        ("bytes", "coverage.bytes"),
        ("detail", "coverage.detail"),
        ("source", "coverage.source"),
    ),
    "audit": (
        ("time", "@timestamp"),
        ("who", "user.name"),
        ("what", "event.action"),
        ("outcome", "event.outcome"),
        ("search", "audit.query"),
        ("file", "file.path"),
        ("results", "audit.results"),
    ),
}
_TIMES = ("@timestamp", "lease.until")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_UNSAFE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069]")
"""Control characters, and those that turn the direction of writing; stored text has few of them left."""
_WIDEST = 44
_LEAD = 5
"""Columns of CSV before the position: times, event.id, dataset and schema."""

FORMS = ("table", "json", "records", "csv")

Positions = Sequence[Position]
"""Where each row lies."""


def shown(form: str, dataset: Dataset, batch: pa.RecordBatch, positions: Positions) -> Iterator[str]:
    """*batch* in one of ``FORMS``."""
    match form:
        case "json":
            return as_lines(dataset, batch)
        case "records":
            return as_records(dataset, batch, positions)
        case "csv":
            return as_csv(dataset, batch, positions)
    return as_table(dataset, batch, positions)


def as_lines(dataset: Dataset, batch: pa.RecordBatch) -> Iterator[str]:
    """Canonical lines, each with its line feed."""
    yield from encode(dataset, batch).to_pylist()


def as_records(dataset: Dataset, batch: pa.RecordBatch, positions: Positions) -> Iterator[str]:
    """For machines: position and canonical line (without its line feed) as one JSON object a line."""
    for line, position in zip(encode(dataset, batch).to_pylist(), positions, strict=True):
        record = {"segment": position.segment, "row": position.row, "line": line.removesuffix("\n")}
        yield msgspec.json.encode(record).decode() + "\n"


def as_csv(dataset: Dataset, batch: pa.RecordBatch, positions: Positions) -> Iterator[str]:
    """CSV with every field of the dataset as a column, and the record's position behind the first five."""
    names = [*dataset.schema.names[:3], "event.dataset", "event.schema", *dataset.schema.names[3:]]
    yield "\ufeff" + _csv_row([*names[:_LEAD], "applog.segment", "applog.row", *names[_LEAD:]])
    for record, position in zip(_records(dataset, batch), positions, strict=True):
        cells = [_csv_cell(record.get(name)) for name in names]
        yield _csv_row([*cells[:_LEAD], *map(_csv_cell, position), *cells[_LEAD:]])


def as_table(dataset: Dataset, batch: pa.RecordBatch, positions: Positions) -> Iterator[str]:
    """Columns for a terminal."""
    columns = _COLUMNS[dataset.name]
    times = {
        name: batch.column(name).cast("int64").to_pylist() for name in _TIMES if name in batch.schema.names
    }
    rows = [[*(heading for heading, _ in columns), "record"]]
    for at, (record, position) in enumerate(zip(_records(dataset, batch), positions, strict=True)):
        shown = {name: show_short(values[at]) for name, values in times.items() if values[at] is not None}
        cells = [_cell(record | shown, name) for _, name in columns]
        rows.append([*cells, _position(record, position)])
    widths = [max(_width(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip() + "\n"


def _position(record: dict[str, Any], position: Position) -> str:
    """``flow/12:345``; in a journal the event.id."""
    if position.segment is None or position.row is None:
        return _cell(record, "event.id")
    dataset, _, sequence = position.segment.rpartition("/")
    return f"{dataset}/{int(sequence)}:{position.row}"


def _records(dataset: Dataset, batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    for line in as_lines(dataset, batch):
        yield msgspec.json.decode(line)


def _cell(record: dict[str, Any], name: str) -> str:
    if name in ("source", "destination"):
        value = _end(record, name)
    elif name == "bytes":
        value = f"{record['source.bytes'] + record['destination.bytes']:,}"
    else:
        value = _text(record.get(name))
    value = _UNSAFE.sub(_escape, value)
    return value if len(value) <= _WIDEST else value[: _WIDEST - 1] + "…"


def _escape(found: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode())


def _end(record: dict[str, Any], name: str) -> str:
    address, port = record[f"{name}.ip"], record.get(f"{name}.port")
    if port is None:
        return str(address)
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case list():
            return " ".join(map(str, value))
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def _csv_cell(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)
    return "'" + text if text.startswith(_FORMULA) and not isinstance(value, int) else text


def _csv_row(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow(cells)
    return out.getvalue()


def _width(text: str) -> int:
    """Terminal cells of *text*: Thai vowels and tone marks stand above others."""
    return sum(0 if unicodedata.category(one) in ("Mn", "Me", "Cf") else 1 for one in text)
