"""Shows found records: as a table for people, canonical lines for machines, or CSV for spreadsheets. Pure.

Rules:
    1. JSON output is the canonical line itself, byte for byte as it is hashed.
    2. CSV starts with a byte-order mark, and no cell can be taken for a formula.
    3. Nothing that came from outside can move the terminal's cursor.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

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


def as_lines(dataset: Dataset, batch: pa.RecordBatch) -> Iterator[str]:
    """Canonical lines, each with its line feed."""
    for line in encode(dataset, batch):
        yield line.as_py()


def as_csv(dataset: Dataset, batch: pa.RecordBatch) -> Iterator[str]:
    """CSV with every field of the dataset as a column."""
    names = [*dataset.schema.names[:3], "event.dataset", "event.schema", *dataset.schema.names[3:]]
    yield "\ufeff" + _csv_row(names)
    for record in _records(dataset, batch):
        yield _csv_row([_csv_cell(record.get(name)) for name in names])


def as_table(dataset: Dataset, batch: pa.RecordBatch) -> Iterator[str]:
    """Columns for a terminal."""
    columns = _COLUMNS[dataset.name]
    times = {
        name: batch.column(name).cast("int64").to_pylist() for name in _TIMES if name in batch.schema.names
    }
    rows = [[heading for heading, _ in columns]]
    for at, record in enumerate(_records(dataset, batch)):
        shown = {name: show_short(values[at]) for name, values in times.items() if values[at] is not None}
        rows.append([_cell(record | shown, name) for _, name in columns])
    widths = [max(_width(row[column]) for row in rows) for column in range(len(columns))]
    for row in rows:
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip() + "\n"


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
