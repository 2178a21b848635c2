"""Sources say their times as the search understands them."""

import numpy as np
import pyarrow as pa
import pytest

from applog.search.sources import TableSource, meets, span_in
from captive_portal.records import LEASE
from retention.records import COVERAGE, Coverage


def losses(*spans: tuple[int, int | None]) -> TableSource:
    """A source of coverage records."""
    records = [Coverage(timestamp=first, end=last, source="s", reason="r") for first, last in spans]
    return TableSource("journal", pa.Table.from_batches([COVERAGE.batch(records)], COVERAGE.schema))


def test_a_record_lasts_to_the_later_of_its_times() -> None:
    """A record without an end is a moment; one whose end lies before its time has at least that time."""
    start, end = span_in(losses((10, 20), (30, None), (50, 40)).rows)

    assert start.tolist() == [10, 30, 50]
    assert end.tolist() == [20, 30, 50]


def test_a_source_spans_its_records() -> None:
    """From the earliest time to the latest end; without rows it has neither."""
    full, empty = losses((10, 90), (20, None)), losses()

    assert (full.count, full.first, full.last) == (2, 10, 90)
    assert (empty.count, empty.first, empty.last) == (0, None, None)
    assert TableSource("j", LEASE.schema.empty_table()).last is None


@pytest.mark.parametrize(
    ("since", "until", "met"),
    [
        (None, None, True),
        (90, None, True),
        (91, None, False),
        (None, 11, True),
        (None, 10, False),
        (50, 51, True),
    ],
)
def test_a_range_is_met_where_a_record_may_lie(since: int | None, until: int | None, *, met: bool) -> None:
    """Both ends of a record count; the end of the range does not."""
    assert meets(losses((10, 90)), since, until) is met
    assert not meets(losses(), since, until)


def test_rows_are_numbered() -> None:
    """A part of a table, and single rows of it in any order."""
    source = losses((1, None), (2, None), (3, None))

    with source.opened() as rows:
        part = rows.table(["@timestamp"], range(1, 3))
        single = rows.take(["@timestamp"], np.array([2, 0]))

    assert part["@timestamp"].cast(pa.int64()).to_pylist() == [2, 3]
    assert single["@timestamp"].cast(pa.int64()).to_pylist() == [3, 1]
    assert rows.rows_of(b"source\x00\x01s") is None
