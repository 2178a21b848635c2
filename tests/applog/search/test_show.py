"""Records are shown so that nothing in them can do more than be read."""

import csv
import io
import json
import unicodedata
from ipaddress import ip_address
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from applog.health import DATASETS
from applog.records import DNS, FLOW, Dns, Flow
from applog.search.embedded import Position
from applog.search.show import FORMS, as_csv, as_lines, as_records, as_table, shown
from retention.dataset import Dataset
from retention.encoding import encode
from retention.records import AUDIT, COVERAGE, Audit, Coverage
from tests.support.disk import NOON

BIDI = "\u202e"


def audit(query: str) -> pa.RecordBatch:
    """An audit record as it would be if its writer had not made the text safe."""
    return AUDIT.batch(
        [Audit(timestamp=NOON, action="search", outcome="success", user_name="u", query=query)]
    )


def dns(name: str, **fields: Any) -> Dns:
    """A question for *name*."""
    values: dict[str, Any] = {
        "timestamp": NOON,
        "flow_id": "f",
        "source_ip": ip_address("10.0.0.1").packed,
        "source_port": 5353,
        "destination_ip": ip_address("2001:db8::1").packed,
        "destination_port": 53,
        "transport": "udp",
        "protocol": "dns",
        "dns_id": 1,
        "question_name": name,
    }
    return Dns(**values | fields)


def flow(**fields: Any) -> pa.RecordBatch:
    """A flow."""
    values: dict[str, Any] = {
        "timestamp": NOON,
        "end": NOON,
        "flow_id": "f",
        "flow_start": NOON,
        "flow_slice": 0,
        "source_ip": ip_address("10.0.0.1").packed,
        "source_bytes": 1_000,
        "source_packets": 1,
        "source_payload_bytes": 0,
        "destination_ip": ip_address("2001:db8::1").packed,
        "destination_bytes": 234,
        "destination_packets": 1,
        "destination_payload_bytes": 0,
        "transport": "tcp",
        "type": "ipv4",
    }
    return FLOW.batch([Flow(**values | fields)])


def table(dataset: Dataset, batch: pa.RecordBatch) -> list[str]:
    """The lines of a table of records in a journal."""
    return "".join(as_table(dataset, batch, [Position()] * batch.num_rows)).splitlines()


def spreadsheet(dataset: Dataset, batch: pa.RecordBatch) -> str:
    """CSV of records in a journal."""
    return "".join(as_csv(dataset, batch, [Position()] * batch.num_rows))


def cells(text: str) -> int:
    """Terminal cells, without the module under test."""
    return sum(unicodedata.category(char) not in ("Mn", "Me", "Cf") for char in text)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_no_text_moves_the_cursor(query: str) -> None:
    """Whatever a record holds, a table has its lines and no character that steers a terminal."""
    lines = "".join(as_table(AUDIT, audit(query), [Position()]))

    assert lines.count("\n") == 2
    bad = [char for char in lines if unicodedata.category(char) in ("Cc", "Zl", "Zp") and char != "\n"]
    assert bad == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nb", r"a\x0ab"),
        ("a\x9b1Ab", r"a\xc2\x9b1Ab"),
        ("a\x7f", r"a\x7f"),
        (f"gp{BIDI}4pm.exe", r"gp\xe2\x80\xae4pm.exe"),
        (r"caf\xe9", r"caf\xe9"),
        ("โรงเรียน", "โรงเรียน"),
    ],
)
def test_what_steers_is_shown_as_its_bytes(text: str, shown: str) -> None:
    """Control and direction characters become bytes; text that is safe, escaped bytes included, stays."""
    assert f" {shown}" in table(AUDIT, audit(text))[1]


def test_thai_stands_in_columns() -> None:
    """Vowels and tone marks above and below take no place, so the next column begins where it should."""
    batch = DNS.batch([dns("ก.example"), dns("ที่นี่.example"), dns("ปฏิบัติการ.example")])

    heading, *rows = table(DNS, batch)

    begins = cells(heading[: heading.index("type")])
    for row in rows:
        name = next(word for word in row.split() if word.endswith(".example"))
        before = row[: row.index(name) + len(name)]
        assert cells(before) <= begins - 2
    assert len({cells(row[: row.index("10.0.0.1")]) for row in rows}) == 1


def test_long_text_is_cut_visibly() -> None:
    """A cell is never so long that it breaks the table, and a cut is seen."""
    row = table(DNS, DNS.batch([dns("a" * 200)]))[1]

    assert "a" * 43 + "…" in row
    assert "a" * 44 not in row


def test_ends_are_addresses_with_ports() -> None:
    """IPv4 and IPv6 ends are written so that the port can be told from the address."""
    batch = DNS.batch([dns("x"), dns("x", source_port=None, destination_port=None)])

    _, first, second = table(DNS, batch)

    assert "10.0.0.1:5353  [2001:db8::1]:53" in first
    assert "10.0.0.1       2001:db8::1 " in second


def test_both_directions_are_summed_and_times_are_thai() -> None:
    """Bytes are those of both ends with thousands set apart; times are Bangkok's in the Buddhist era."""
    row = table(FLOW, flow())[1]

    assert row.startswith("01/03/2569 19:00:00  ")
    assert " 1,234" in row


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda one: one.name)
def test_every_dataset_can_be_shown(dataset: Dataset) -> None:
    """Each has columns for people, that are fields it has; CSV has all of them."""
    empty = pa.RecordBatch.from_pylist([], dataset.schema)

    assert len(table(dataset, empty)) == 1
    assert spreadsheet(dataset, empty).startswith("\ufeff@timestamp,")
    assert list(as_lines(dataset, empty)) == []


def test_lines_are_canonical() -> None:
    """JSON output is the encoder's, byte for byte."""
    batch = COVERAGE.batch([Coverage(timestamp=NOON, source='"', reason="ไทย", detail="\\x00")])

    assert list(as_lines(COVERAGE, batch)) == encode(COVERAGE, batch).to_pylist()


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_csv_cell_is_a_formula(start: str) -> None:
    """A text that a spreadsheet would run gets an apostrophe before it; numbers are left alone."""
    text = spreadsheet(AUDIT, audit(f"{start}1+1"))

    (row,) = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    assert row["audit.query"] == f"'{start}1+1"
    assert row["event.schema"] == "1"


def test_csv_is_read_back_as_it_was() -> None:
    """Quotes, commas, semicolons and Thai survive; lists are joined by spaces, absent fields are empty."""
    batch = flow(domain='a,"b";ค', tls_alpn=("h2", "http/1.1"), midstream=True)

    text = spreadsheet(FLOW, batch)

    assert text.startswith("\ufeff")
    (row,) = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    assert row["destination.domain"] == 'a,"b";ค'
    assert row["tls.client.alpn"] == "h2 http/1.1"
    assert row["flow.midstream"] == "true"
    assert row["user.name"] == ""
    assert row["source.bytes"] == "1000"


def test_every_form_says_where_a_record_lies() -> None:
    """Sealed: segment and row, the same for ever. In a journal: the event.id."""
    batch = AUDIT.batch(
        Audit(timestamp=NOON, event_id=f"cli.1.{at}", action="a", outcome="success", user_name="u")
        for at in range(2)
    )
    positions = [Position("audit/00000012", 345), Position()]

    _, sealed, waiting = "".join(as_table(AUDIT, batch, positions)).splitlines()
    rows = list(csv.DictReader(io.StringIO("".join(as_csv(AUDIT, batch, positions)).removeprefix("\ufeff"))))

    assert sealed.endswith("  audit/12:345")
    assert waiting.endswith("  cli.1.1")
    assert list(rows[0])[5:7] == ["applog.segment", "applog.row"]
    assert [(row["applog.segment"], row["applog.row"]) for row in rows] == [
        ("audit/00000012", "345"),
        ("", ""),
    ]


def test_records_carry_the_line_as_it_is_hashed() -> None:
    """One JSON object a line: segment, row, and the canonical line without its line feed."""
    batch = COVERAGE.batch(
        [Coverage(timestamp=NOON, source='"', reason="ไทย", detail=detail) for detail in ("\\x00", "\\n")]
    )

    first, second = map(
        json.loads, as_records(COVERAGE, batch, [Position("coverage/00000000", 7), Position()])
    )

    assert (first["segment"], first["row"]) == ("coverage/00000000", 7)
    assert (second["segment"], second["row"]) == (None, None)
    assert [first["line"] + "\n", second["line"] + "\n"] == encode(COVERAGE, batch).to_pylist()


def test_each_form_has_its_name() -> None:
    """What --format takes is what can be shown, each in its own way."""
    texts = {"".join(shown(form, FLOW, flow(), [Position()])) for form in FORMS}

    assert len(texts) == len(FORMS) == 4
