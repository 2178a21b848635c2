"""The records of the store itself: coverage and audit, whose they are and how soon they are durable."""

import pyarrow as pa

from retention.encoding import encode
from retention.records import AUDIT, COVERAGE, Audit, Coverage


def test_a_loss_has_a_line() -> None:
    """A coverage record says what, why and how much; what cannot be counted is absent, not zero."""
    lost = Coverage(timestamp=0, source="file:ab.0", reason="truncated", packets=0)

    (line,) = encode(COVERAGE, COVERAGE.batch([lost])).to_pylist()

    assert line == (
        '{"@timestamp":"1970-01-01T00:00:00.000000Z","event.dataset":"coverage","event.schema":1,'
        '"coverage.source":"file:ab.0","coverage.reason":"truncated","coverage.packets":0}\n'
    )


def test_a_look_has_a_line() -> None:
    """An audit record says who did what with which result, in the order of its fields."""
    look = Audit(
        timestamp=0, action="search", outcome="success", user_name="ครู", claimed_name="x", query='a:"b"'
    )

    (line,) = encode(AUDIT, AUDIT.batch([look])).to_pylist()

    assert line == (
        '{"@timestamp":"1970-01-01T00:00:00.000000Z","event.dataset":"audit","event.schema":1,'
        '"event.action":"search","event.outcome":"success","user.name":"ครู","audit.claimed_name":"x",'
        '"audit.query":"a:\\"b\\""}\n'
    )


def test_whose_they_are() -> None:
    """A loss is its source's row, a look its actor's; the name claimed with --as decides nothing."""
    lost = Coverage(timestamp=0, source="file:ab.0", reason="truncated")
    look = Audit(timestamp=0, action="search", outcome="success", user_name="root", claimed_name="boss")

    assert COVERAGE.subjects(COVERAGE.batch([lost])).to_pylist() == [b"source\0\x09file:ab.0"]
    assert AUDIT.subjects(AUDIT.batch([look])).to_pylist() == [b"actor\0\x04root"]


def test_how_soon_they_are_durable() -> None:
    """Audit waits at most 20 ms, since its command waits for it; the rest gathers for 200 ms."""
    assert AUDIT.commit_within_ms == 20
    assert COVERAGE.commit_within_ms == 200
    assert AUDIT.schema.field("audit.from").type == pa.timestamp("us")
