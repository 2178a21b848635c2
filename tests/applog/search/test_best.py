"""The rows to show are those that a full sort would put first, whatever the order of looking."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applog.records import FLOW
from applog.search.best import Best
from applog.search.sources import Places, TableSource

Row = tuple[int, str | None]
"""Time and event.id."""

SOURCES = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.sampled_from("abcd"))), max_size=8),
    min_size=1,
    max_size=5,
)


def chosen(sources: Sequence[Sequence[Row]], limit: int, *, newest_first: bool) -> list[tuple[int, int]]:
    """(source, row) of the rows to show, in order."""

    def ids(source: int, places: Places) -> pa.ChunkedArray:
        return pa.chunked_array([pa.array([sources[source][at][1] for at in places.tolist()], pa.string())])

    best = Best(limit, ids, newest_first=newest_first)
    for number, rows in enumerate(sources):
        best.add(number, np.array([time for time, _ in rows], np.int64), np.arange(len(rows)))
    held = best.rows()
    names = [
        sources[source][row][1] for source, row in zip(held.sources.tolist(), held.rows.tolist(), strict=True)
    ]
    held = held.chosen(best.order(held.times, pa.chunked_array([pa.array(names, pa.string())]), held))
    return list(zip(held.sources.tolist(), held.rows.tolist(), strict=True))


@settings(max_examples=300, deadline=None)
@given(sources=SOURCES, limit=st.integers(1, 12), newest_first=st.booleans())
def test_as_a_full_sort_would_choose(sources: list[list[Row]], limit: int, *, newest_first: bool) -> None:
    """Time, then event.id (absent before all others), then source and row; cut at the limit."""
    everything = [
        (time, name is not None, name or "", source, row)
        for source, rows in enumerate(sources)
        for row, (time, name) in enumerate(rows)
    ]
    expected = sorted(everything, reverse=newest_first)[:limit]

    assert chosen(sources, limit, newest_first=newest_first) == [(one[3], one[4]) for one in expected]


def source(*times: int) -> TableSource:
    """A source that matters by its times."""
    rows = pa.table({"@timestamp": pa.array(times, pa.timestamp("us"))})
    return TableSource("s", FLOW.conform({"@timestamp": rows["@timestamp"].combine_chunks()}, len(times)))


@pytest.mark.parametrize(
    ("newest_first", "needed"),
    [(True, {(50, 60), (10, 40), (39, 45), (1, 99)}), (False, {(10, 40), (10, 20), (1, 99)})],
)
def test_a_source_behind_the_last_candidate_is_not_needed(
    newest_first: bool, needed: set[tuple[int, int]]
) -> None:
    """Once there are enough rows, a source is opened for showing only if its rows may stand before them."""
    best = Best(
        2, lambda _, places: pa.chunked_array([pa.nulls(len(places), pa.string())]), newest_first=newest_first
    )
    before = best.needs(source(1))
    best.add(0, np.array([40, 45]) if newest_first else np.array([5, 10]), np.arange(2))

    spans = [(50, 60), (10, 40), (39, 45), (10, 20), (1, 99), (11, 39)]
    assert before
    assert {span for span in spans if best.needs(source(*span))} == needed


def test_a_limit_of_zero_needs_nothing() -> None:
    """A search that only counts opens nothing for showing."""
    assert not Best(0, lambda *_: pa.chunked_array([pa.array([], pa.string())]), newest_first=True).needs(
        source(1)
    )


def test_a_source_without_rows_is_not_needed() -> None:
    """It has none that could be shown."""
    assert not Best(1, lambda *_: pa.chunked_array([pa.array([], pa.string())]), newest_first=True).needs(
        source()
    )
