"""A search over tables: an exact count, rows in order, the range that was covered, and no way out."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from applog.records import DNS, FLOW, Flow
from applog.search.embedded import EmbeddedSearch, Position, Request, Result
from applog.search.query import parse_query
from applog.search.sources import Source, TableSource
from captive_portal.records import LEASE, Lease
from retention.encoding import encode
from retention.records import AUDIT, COVERAGE, Coverage

DATASETS = (FLOW, DNS, LEASE, COVERAGE, AUDIT)
V4 = bytes([192, 0, 2, 1])


def flow(at: int, *, until: int | None = None, number: int | None = None, user: str | None = None) -> Flow:
    """A flow that matters only by when it was and whose."""
    return Flow(
        timestamp=at,
        end=at if until is None else until,
        event_id=None if number is None else f"w.1.{number}",
        ingested=at,
        flow_id="f",
        flow_start=at,
        flow_slice=0,
        source_ip=V4,
        source_bytes=1,
        source_packets=1,
        source_payload_bytes=0,
        destination_ip=b"\x20\x01" + bytes(14),
        destination_port=443,
        destination_bytes=2,
        destination_packets=1,
        destination_payload_bytes=0,
        user_name=user,
        transport="tcp",
        type="ipv4",
        tls_alpn=("h2", "http/1.1"),
        tls_ech=True,
    )


def source(*flows: Flow, name: str = "journal") -> TableSource:
    """Flows in memory."""
    return TableSource(name=name, rows=pa.Table.from_batches([FLOW.batch(flows)], FLOW.schema))


def search(text: str, *sources: Source, **asked: Any) -> Result:
    """Search flows, 100 rows at most unless told otherwise."""
    request = Request(query=parse_query(text, DATASETS, now=0), **{"limit": 100, **asked})
    return EmbeddedSearch().run(request, FLOW, sources)


def times(result: Result) -> list[int]:
    """When the shown rows were."""
    found: list[int] = result.batch.column("@timestamp").cast(pa.int64()).to_pylist()
    return found


def ids(result: Result) -> list[str | None]:
    """event.id of the shown rows."""
    found: list[str | None] = result.batch.column("event.id").to_pylist()
    return found


def test_the_newest_come_first_and_the_count_is_exact() -> None:
    """Two of five are shown; the result says there are five."""
    result = search("user:*", source(*(flow(at, user="a") for at in (30, 10, 50, 20, 40)), flow(60)), limit=2)

    assert times(result) == [50, 40]
    assert (result.total, result.truncated) == (5, True)


def test_the_oldest_may_come_first() -> None:
    """The other way round it is exactly the reverse."""
    flows = source(flow(1, number=2), flow(1, number=1), flow(0, number=3), flow(1), flow(1))

    newest, oldest = search("", flows), search("", flows, newest_first=False)

    assert ids(newest) == ["w.1.2", "w.1.1", None, None, "w.1.3"]
    assert ids(oldest) == ids(newest)[::-1]
    assert (newest.total, newest.truncated) == (5, False)


def test_a_limit_of_zero_only_counts() -> None:
    """No rows, the exact count, and the schema all the same."""
    result = search("", source(flow(1)), limit=0)

    assert (result.total, result.batch.num_rows, result.truncated) == (1, 0, True)
    assert result.batch.schema.equals(FLOW.schema)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, [30, 20, 10]),
        (10, 31, [30, 20, 10]),
        (15, None, [30, 20, 10]),
        (16, None, [30, 20]),
        (None, 20, [10]),
        (None, 21, [20, 10]),
        (21, 30, [20]),
        (26, 30, []),
        (30, 10, []),
    ],
)
def test_a_record_in_part_in_the_range_is_found(
    since: int | None, until: int | None, expected: list[int]
) -> None:
    """Flows last 5 µs: found when they overlap [since, until), a flow's last packet included."""
    flows = source(*(flow(at, until=at + 5) for at in (10, 20, 30)))

    result = search("", flows, since=since, until=until)

    assert times(result) == expected
    assert result.total == len(expected)


def test_the_range_stays_around_an_or() -> None:
    """The query's OR does not reach over the range."""
    flows = source(flow(10, user="a"), flow(20, user="b"))

    assert times(search("user:a OR user:b", flows, since=15)) == [20]


def test_the_result_says_what_it_covered() -> None:
    """As asked, else all that is stored (not what matched); nothing stored has no range."""
    flows = source(flow(10, until=90), flow(20))

    everything, asked, nothing = search("user:x", flows), search("", flows, since=5, until=7), search("")

    assert (everything.since, everything.until, everything.total) == (10, 91, 0)
    assert (asked.since, asked.until) == (5, 7)
    assert (nothing.since, nothing.until, nothing.total) == (None, None, 0)


def test_a_dataset_without_an_end_happens_at_its_time() -> None:
    """Leases are moments; a coverage record may have an end or not."""
    leases = LEASE.batch(
        Lease(timestamp=at, action="lease-granted", source="dhcpv4", client_ip=V4) for at in (10, 20)
    )
    lost = COVERAGE.batch(
        [
            Coverage(timestamp=10, end=25, source="x", reason="y"),
            Coverage(timestamp=12, source="x", reason="z"),
        ]
    )

    found = {
        dataset.name: EmbeddedSearch().run(
            Request(query=parse_query(f"dataset:{dataset.name}", DATASETS, now=0), since=20, limit=9),
            dataset,
            [TableSource(name="j", rows=pa.Table.from_batches([batch]))],
        )
        for dataset, batch in ((LEASE, leases), (COVERAGE, lost))
    }

    assert found["lease"].total == 1
    assert found["coverage"].batch.column("coverage.reason").to_pylist() == ["y"]


def test_rows_come_back_as_they_were_stored() -> None:
    """Every column, of every kind, so that their canonical lines are the ones that were hashed."""
    flows = [flow(at, user=f'ส"\\{at}', number=at) for at in (3, 2, 1)]

    result = search("", source(*flows))

    assert result.batch.equals(FLOW.batch(flows))
    assert encode(FLOW, result.batch).to_pylist() == encode(FLOW, FLOW.batch(flows)).to_pylist()


def test_sources_are_one_answer() -> None:
    """Rows of several sources are merged in order; one without a hit is not asked for whole rows."""
    asked: list[tuple[str, int]] = []

    class Watched(TableSource):
        def table(self, columns: Sequence[str], rows: range | None = None) -> pa.Table:
            asked.append((self.name, len(columns)))
            return super().table(columns, rows)

    segments = [
        Watched(name=name, rows=source(*(flow(at, user=name) for at in at_times)).rows)
        for name, at_times in (("a", (10, 40)), ("b", (20, 30)), ("c", ()), ("d", (35, 5)))
    ]

    result = search("user:(a OR d)", *segments)

    assert times(result) == [40, 35, 10, 5]
    assert result.batch.column("user.name").to_pylist() == ["a", "d", "a", "d"]
    assert result.batch.equals(
        FLOW.batch([flow(40, user="a"), flow(35, user="d"), flow(10, user="a"), flow(5, user="d")])
    )
    assert {name for name, columns in asked if columns == len(FLOW.fields)} == {"a", "d"}
    assert max(columns for _, columns in asked if columns < len(FLOW.fields)) == 2
    assert result.positions == (Position(), Position(), Position(), Position())


def test_stored_types_may_be_other_than_the_datasets() -> None:
    """A segment may hand out dictionaries or large strings: shown rows have the dataset's own types."""
    rows = source(flow(1, user="a"), flow(2, user="b"), flow(3)).rows
    at = rows.schema.get_field_index("user.name")
    coded = rows.set_column(at, "user.name", rows.column("user.name").dictionary_encode())
    large = rows.set_column(at, "user.name", rows.column("user.name").cast(pa.large_string()))

    result = search("user:B", TableSource(name="s", rows=coded), TableSource(name="t", rows=large))

    assert result.total == 2
    assert result.batch.schema.equals(FLOW.schema)


@pytest.mark.parametrize("text", ['user:"\'; DROP TABLE stored; --"', r"user:a\'*", "user:*%*", '"\\\\"'])
def test_hostile_searches_find_nothing_and_break_nothing(text: str) -> None:
    """Searched as text, from the keyboard to the engine."""
    assert search(text, source(flow(1, user="somchai"))).total == 0


def test_a_search_of_another_dataset_is_a_bug() -> None:
    """The caller, not the person, mixed them up."""
    with pytest.raises(ValueError, match="search of dns"):
        search("dataset:dns", source(flow(1)))
    with pytest.raises(ValueError, match="limit -1"):
        search("", source(flow(1)), limit=-1)
