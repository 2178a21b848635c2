"""The canonical line, by every way: frozen vectors, and another encoder that shares nothing with them."""

import datetime as dt
import ipaddress
import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.dataset import Dataset, IpAddress, Kind, MacAddress, Record, SubjectChoice, Timestamp
from retention.encoding import ENCODER, encode, format_address, format_mac
from retention.encoding.ways import FORCE, By
from retention.errors import SchemaError
from retention.journal.reader import joined_lines

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "encoding-1.json").read_text())
LAST_US = 253_402_300_799_999_999
BINARY = {Kind.IP, Kind.MAC}
WAYS: list[By] = ["kernel", "arrow"]

both_ways = pytest.mark.parametrize("by", WAYS)


class Sample(Record, frozen=True, kw_only=True):
    """A field of every kind, as the vectors have them."""

    end: Timestamp | None = msgspec.field(name="event.end", default=None)
    count: int | None = msgspec.field(name="note.count", default=None)
    flag: bool | None = msgspec.field(name="note.flag", default=None)
    text: str | None = msgspec.field(name="message", default=None)
    tags: tuple[str, ...] | None = None
    source: IpAddress | None = msgspec.field(name="source.ip", default=None)
    resolved: tuple[IpAddress, ...] | None = msgspec.field(name="dns.resolved_ip", default=None)
    mac: MacAddress | None = msgspec.field(name="source.mac", default=None)


SAMPLE = Dataset(name="vectors", record=Sample, subject=(SubjectChoice(kind="source", column="message"),))


def test_the_vectors_are_of_this_encoder() -> None:
    """The vectors' fields, order and kinds are those of the dataset under test."""
    expected = [[field.name, field.kind.value] for field in SAMPLE.fields]

    assert VECTORS["encoder"] == ENCODER
    assert VECTORS["fields"] == expected


@both_ways
@pytest.mark.parametrize("case", VECTORS["lines"], ids=lambda case: case["name"])
def test_a_frozen_vector_holds(case: dict[str, Any], by: By) -> None:
    """Encoder 1 writes exactly this line, for ever; a JSON parser reads the same values back."""
    lines = encode(SAMPLE, batch([case["row"]]), by=by).to_pylist()

    assert lines == [case["line"] + "\n"]
    assert json.loads(lines[0]) == json.loads(reference(case["row"]))


@pytest.mark.parametrize("case", VECTORS["lines"], ids=lambda case: case["name"])
def test_the_reference_agrees_with_the_vectors(case: dict[str, Any]) -> None:
    """The second encoder, which random batches are compared with, is held to the same vectors."""
    line = reference(case["row"])

    assert line == case["line"] + "\n"


@both_ways
@pytest.mark.parametrize("case", VECTORS["refused"], ids=lambda case: case["name"])
def test_a_value_without_a_line_is_refused(case: dict[str, Any], by: By) -> None:
    """What has no line is refused with the field's name, alone or among good rows; nothing is guessed."""
    good = {"@timestamp": 0, "message": "good"}
    (bad,) = {"@timestamp", *case["row"]} - ({"@timestamp"} if len(case["row"]) > 1 else set())

    for rows in ([case["row"]], [good, case["row"], good]):
        with pytest.raises(SchemaError, match=bad):
            encode(SAMPLE, batch(rows), by=by)


@both_ways
def test_all_vectors_in_one_batch(by: By) -> None:
    """A row's line does not depend on its neighbours, whatever is NULL beside it."""
    found = encode(SAMPLE, batch([case["row"] for case in VECTORS["lines"]]), by=by).to_pylist()

    assert found == [case["line"] + "\n" for case in VECTORS["lines"]]


@both_ways
def test_an_empty_batch_has_no_lines(by: By) -> None:
    """No rows, no lines, no bytes to hash."""
    lines = encode(SAMPLE, batch([]), by=by)

    assert len(lines) == 0
    assert joined_lines(SAMPLE, batch([])).to_pybytes() == b""
    assert len(encode(SAMPLE, SAMPLE.conform({}, 0), by=by)) == 0


@both_ways
def test_another_schema_is_refused(by: By) -> None:
    """Columns of another order, type or number are never encoded as if they fitted."""
    whole = batch([{"@timestamp": 0}])

    with pytest.raises(SchemaError, match="not its schema"):
        encode(SAMPLE, whole.select(whole.schema.names[:-1]), by=by)
    with pytest.raises(SchemaError, match="not its schema"):
        encode(SAMPLE, whole.select(whole.schema.names[::-1]), by=by)


@both_ways
def test_broken_utf8_is_refused(by: By) -> None:
    """Bytes that are not UTF-8 cannot hide in a text column: other readers would refuse the file."""
    broken = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]
    )
    rows = SAMPLE.conform({"@timestamp": pa.array([0])}, 1)
    rows = rows.set_column(rows.schema.get_field_index("message"), rows.schema.field("message"), broken)

    with pytest.raises(SchemaError, match="message: expected UTF-8"):
        encode(SAMPLE, rows, by=by)


@pytest.mark.parametrize("packed", [b"", b"123", bytes(5), bytes(17)])
def test_other_lengths_are_no_address(packed: bytes) -> None:
    """Four bytes are IPv4, sixteen IPv6, six a MAC; anything else is refused in words."""
    with pytest.raises(ValueError, match=f"found {len(packed)}"):
        format_address(packed)
    with pytest.raises(ValueError, match=f"found {len(packed)}"):
        format_mac(packed)


@given(
    st.binary(min_size=16, max_size=16) | st.lists(st.sampled_from([0, 0, 1, 0xABCD]), min_size=8, max_size=8)
)
@settings(max_examples=200)
def test_ipv6_text_reads_back(value: bytes | list[int]) -> None:
    """Every IPv6 text gives its own bytes back, and is the one RFC 5952 asks for."""
    packed = value if isinstance(value, bytes) else b"".join(group.to_bytes(2) for group in value)

    text = format_address(packed)

    assert ipaddress.IPv6Address(text).packed == packed
    if packed[:12] != bytes(10) + b"\xff\xff":
        assert text == str(ipaddress.IPv6Address(packed))


IPV6 = st.lists(st.sampled_from([0, 0, 0, 1, 0x12, 0x123, 0xABCD]), min_size=8, max_size=8).map(
    lambda groups: b"".join(group.to_bytes(2) for group in groups)
)
MAPPED = st.binary(min_size=4, max_size=4).map(lambda ipv4: bytes(10) + b"\xff\xff" + ipv4)
ADDRESS = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16) | IPV6 | MAPPED
TIME = (
    st.integers(0, LAST_US)
    | st.integers(0, LAST_US // 1_000_000).map(lambda second: second * 1_000_000)
    | st.sampled_from([0, 1, LAST_US, 951_782_400_000_000, 951_868_799_999_999])
)
TEXT = st.text(
    st.characters(codec="utf-8")
    | st.sampled_from('"\\\n\0\x1f \x7f\x80\u2028\uffff\U00010000\U0010ffffก/,')
    | st.characters(max_codepoint=0x7F),
    min_size=1,
    max_size=40,
)
NUMBER = st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 99_999) | st.sampled_from([-(2**63), 2**63 - 1])
ROWS = st.lists(
    st.fixed_dictionaries(
        {"@timestamp": TIME},
        optional={
            "event.ingested": TIME,
            "event.id": TEXT,
            "event.end": TIME,
            "note.count": NUMBER,
            "note.flag": st.booleans(),
            "message": TEXT,
            "tags": st.lists(TEXT, min_size=1, max_size=3),
            "source.ip": ADDRESS.map(bytes.hex),
            "dns.resolved_ip": st.lists(ADDRESS.map(bytes.hex), min_size=1, max_size=3),
            "source.mac": st.binary(min_size=6, max_size=6).map(bytes.hex),
        },
    ),
    max_size=8,
)


@both_ways
@given(rows=ROWS, data=st.data())
@settings(max_examples=150, deadline=None)
def test_random_batches_and_slices_agree(rows: list[dict[str, Any]], data: st.DataObject, by: By) -> None:
    """Any batch, whole or sliced, gives the lines of the second encoder; the buffer is what is hashed."""
    start = data.draw(st.integers(0, len(rows)))
    length = data.draw(st.integers(0, len(rows) - start))
    expected = [reference(row) for row in rows[start : start + length]]
    part = batch(rows).slice(start, length)

    lines = encode(SAMPLE, part, by=by)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(FORCE, by)
        joined = joined_lines(SAMPLE, part)

    assert lines.type == pa.string()
    assert lines.to_pylist() == expected
    assert joined.to_pybytes() == "".join(expected).encode()


@both_ways
@given(rows=ROWS)
@settings(max_examples=50, deadline=None)
def test_a_line_reads_back(rows: list[dict[str, Any]], by: By) -> None:
    """Lines are JSON with one object each, and no two different rows share a line."""
    lines = encode(SAMPLE, batch(rows), by=by).to_pylist()

    read = [json.loads(line) for line in lines]

    for row, line in zip(rows, read, strict=True):
        assert line.get("message") == row.get("message")
        assert line.get("tags") == row.get("tags")
        assert line.get("note.count") == row.get("note.count")
        assert set(line) - {"event.dataset", "event.schema"} == set(row)
    assert len(set(lines)) == len({json.dumps(row, sort_keys=True) for row in rows})


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Columns of *rows* written as in the vectors: addresses in hexadecimal, an absent key is NULL."""
    arrays = [
        pa.array([_packed(field.kind, row.get(field.name)) for row in rows], field.arrow.type)
        for field in SAMPLE.fields
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SAMPLE.schema)


def _packed(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind in BINARY:
        return bytes.fromhex(value)
    if kind is Kind.IPS:
        return [None if one is None else bytes.fromhex(one) for one in value]
    return value


def reference(row: dict[str, Any]) -> str:
    """The line of one row, line feed included: rule by rule from FORMAT.md, no Arrow, no numpy."""
    members = []
    for name, kind in VECTORS["fields"]:
        if row.get(name) is not None:
            members.append(f'"{name}":{_value(kind, row[name])}')
        if name == "event.id":
            members.append('"event.dataset":"vectors","event.schema":1')
    return "{" + ",".join(members) + "}\n"


def _value(kind: str, value: Any) -> str:  # noqa: PLR0911  one rule of the specification each
    if kind == "timestamp":
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=value)
        return moment.strftime(f'"{moment.year:04d}-%m-%dT%H:%M:%S.%fZ"')
    if kind == "boolean":
        return "true" if value else "false"
    if kind == "integer":
        return str(value)
    if kind in ("texts", "ips"):
        return "[" + ",".join(_value(kind[:-1], one) for one in value) + "]"
    if kind == "ip":
        return f'"{_address(bytes.fromhex(value))}"'
    if kind == "mac":
        return '"' + "-".join(value[at : at + 2] for at in range(0, 12, 2)).upper() + '"'
    return '"' + "".join(_character(one) for one in value) + '"'


def _address(packed: bytes) -> str:
    if len(packed) == 16 and packed.startswith(bytes(10) + b"\xff\xff"):
        return f"::ffff:{ipaddress.IPv4Address(packed[12:])}"
    return str(ipaddress.ip_address(packed))


def _character(one: str) -> str:
    if one in '"\\':
        return "\\" + one
    return f"\\u{ord(one):04x}" if ord(one) < 32 else one
