"""One answer, wherever the records lie: journal, segments, or half and half. Held against plain Python."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applog.search.embedded import EmbeddedSearch, Request, Result
from applog.search.snapshot import sources_of
from applog.search.tree import And, Node, Op, Query, Term
from tests.support.arranged import ARRANGEMENTS, arranged
from tests.support.sealed import SealedStore
from tests.support.trees import EXACT, NODES, SAMPLE, Sample, naive

USERS = ("a", "A", "b", "ก", "a%_", None)
V4, V6 = bytes([1, 0, 2, 1]), bytes(10) + b"\xff\xff\x01\x00\x02\x01"


def sample(number: int) -> Sample:
    """Records that differ in everything, with ties in time and columns that are absent."""
    return Sample(
        timestamp=number % 5,
        end=None if number % 3 == 0 else max(0, number % 5 + number % 4 - 1),
        user=USERS[number % 6],
        alpn=None if number % 4 == 0 else ("a", "B")[: 1 + number % 2],
        ip=(None, V4, V6)[number % 3],
        ips=None if number % 2 else (V4, V6),
        mac=(None, bytes(6), b"\xff" * 6)[number % 3],
        sent=None if number % 7 == 0 else number % 6,
        received=None if number % 5 == 0 else number % 3,
        ech=(None, True, False)[number % 3],
        odd=None if number % 2 else "a_*",
    )


RECORDS = [sample(number) for number in range(60)]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SealedStore]:
    """A store for each arrangement."""
    root = tmp_path_factory.mktemp("arranged")
    return {name: arranged(root / name, name, SAMPLE, RECORDS[:35], RECORDS[35:]) for name in ARRANGEMENTS}


def end_of(record: Sample) -> int:
    """The later of its times."""
    return max(record.timestamp, record.end or 0)


def find(built: SealedStore, node: Node, **asked: Any) -> Result:
    """The answer over what the store holds."""
    request = Request(query=Query(node, SAMPLE.name), **asked)
    snapshot = sources_of(built.store, SAMPLE, request.since, request.until)
    assert not snapshot.damages
    return EmbeddedSearch(threads=2).run(request, SAMPLE, snapshot.sources)


PERSONS = st.builds(
    lambda user, node: And((Term(EXACT, Op.EQUALS, user), node)),
    st.sampled_from(["a", "A", "ก", "zz"]),
    NODES,
)
BOUNDS = st.one_of(st.none(), st.integers(0, 8))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    node=st.one_of(NODES, PERSONS),
    since=BOUNDS,
    until=BOUNDS,
    limit=st.sampled_from([0, 1, 7, 100]),
    newest_first=st.booleans(),
)
def test_the_answer_does_not_depend_on_where_records_lie(
    stores: dict[str, SealedStore],
    node: Node,
    since: int | None,
    until: int | None,
    limit: int,
    *,
    newest_first: bool,
) -> None:
    """Count, rows, their order and every byte of them are those of the rules, in each arrangement."""
    expected = [
        (record.timestamp, f"pen.{1 if number < 35 else 2}.{number if number < 35 else number - 35}")
        for number, record in enumerate(RECORDS)
        if naive(node, record)
        and (until is None or record.timestamp < until)
        and (since is None or end_of(record) >= since)
    ]

    found = {
        name: find(built, node, since=since, until=until, limit=limit, newest_first=newest_first)
        for name, built in stores.items()
    }

    shown = [name for _, name in sorted(expected, reverse=newest_first)[:limit]]
    for result in found.values():
        assert (result.total, result.truncated) == (len(expected), len(expected) > len(shown))
        assert result.batch.column("event.id").to_pylist() == shown
        assert result.batch.equals(found["journal"].batch)


def test_every_hit_says_where_it_lies(stores: dict[str, SealedStore]) -> None:
    """(segment, row) is where the segment has exactly that record; in a journal there is none."""
    for name, built in stores.items():
        result = find(built, Term(EXACT, Op.PRESENT), limit=100)
        rows = result.batch.to_pylist()
        manifests = {one.manifest.name: one for one in built.store.catalogue.sealed(SAMPLE.name)}

        for row, position in zip(rows, result.positions, strict=True):
            if position.segment is None or position.row is None:
                assert name == "journal" or (name == "half" and row["event.id"].startswith("pen.2."))
                assert position.row is None
            else:
                segment = built.store.segment(SAMPLE, manifests[position.segment])
                stored = segment.table(SAMPLE.schema.names, range(position.row, position.row + 1))
                assert stored.to_pylist() == [row]
