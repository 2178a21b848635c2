"""The tree answered in this process, over sealed segments and open journals, with bounded memory.

Rules:
    1. Sources are looked through one by one, a few at once; only the columns that are compared are read, and
       whole rows only of those that are shown.
    2. A record lies in ``[since, until)`` when any of it does: it starts before *until*, and it or its end
       (where it has one) is at *since* or later.
    3. The count is exact. Rows are in order of @timestamp, then event.id, then place in the sources.
    4. A source that cannot be read is left out of count and rows alike, and named in ``damages``: the answer
       is exact for the others.
    5. One person's rows are found by the segments' subject index, where that is the same answer
       (``subject``); a segment of which every row matches is counted from its manifest.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from applog.search.best import Best, Candidates
from applog.search.matching import Matcher
from applog.search.sources import Places, Rows, Source, meets, span_in
from applog.search.subject import person_of
from applog.search.tree import All, Query, columns_of
from retention.dataset import Dataset
from retention.errors import RetentionError

_TIME, _END, _ID = "@timestamp", "event.end", "event.id"

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What to search, and how much of the answer to show."""

    query: Query
    limit: int
    """How many rows to show at most; 0 counts only."""
    since: int | None = None
    """UTC µs, included. Absent: from the first record."""
    until: int | None = None
    """UTC µs, excluded. Absent: to the last record."""
    newest_first: bool = True


class Position(NamedTuple):
    """Where a record lies for ever. Both None: in a journal still, where ``event.id`` is its position."""

    segment: str | None = None
    """``dataset/sequence``."""
    row: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The answer, and what it is an answer about."""

    batch: pa.RecordBatch
    """The rows shown, in the dataset's schema: ``retention.encoding.encode`` takes it as it is."""
    positions: tuple[Position, ...]
    """Where each row of ``batch`` lies."""
    total: int
    """How many records match, exactly."""
    since: int | None
    """Start of the range that was searched, UTC µs: as asked, else the sources' first. None: none stored."""
    until: int | None
    """Its exclusive end, UTC µs: as asked, else 1 µs after the sources' last end. None: none stored."""
    truncated: bool
    """Whether more match than are shown."""
    damages: tuple[RetentionError, ...] = ()
    """What could not be read, and is in neither count nor rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedSearch:
    """Runs searches; keeps nothing between them, so threads may share it."""

    threads: int = 1
    """How many sources are looked through at once."""
    memory_mb: int = 1024
    """For comparing, beside the columns themselves."""

    def run(self, request: Request, dataset: Dataset, sources: Sequence[Source]) -> Result:
        """The answer to *request* over *sources*, all of *dataset*.

        Raises:
            SearchError: it needs more memory than it may have.
        """
        if request.query.dataset_name != dataset.name or request.limit < 0:
            raise ValueError(
                f"a search of {request.query.dataset_name}, limit {request.limit}, in {dataset.name}"
            )
        damaged: dict[str, RetentionError] = {}
        with ThreadPoolExecutor(self.threads) as pool:
            while True:
                whole = [source for source in sources if source.name not in damaged]
                look = _Look(request, dataset, whole, Matcher(self.memory_mb))
                _each(pool, look.scan, look.order())
                shown = look.shown(pool)
                damaged |= look.damaged
                # A source that broke after it was counted is in the count: once more, without it.
                if shown is not None and not look.damaged.keys() & look.counts.keys():
                    return _result(look, shown, damaged.values())


class _Shown(NamedTuple):
    batch: pa.RecordBatch
    positions: tuple[Position, ...]


@dataclass
class _Look:
    """One pass over the sources."""

    request: Request
    dataset: Dataset
    sources: list[Source]
    matcher: Matcher
    damaged: dict[str, RetentionError] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Matching rows of each source that was looked through."""

    def __post_init__(self) -> None:
        self.best = Best(self.request.limit, self._identify, newest_first=self.request.newest_first)
        self.person = person_of(self.request.query.ast, self.dataset)

    def order(self) -> list[int]:
        """Numbers of the sources that may match, those first whose rows are likely shown."""
        since, until = self.request.since, self.request.until
        met = [at for at, source in enumerate(self.sources) if meets(source, since, until)]
        if self.request.newest_first:
            return sorted(met, key=lambda at: self.sources[at].last or 0, reverse=True)
        return sorted(met, key=lambda at: self.sources[at].first or 0)

    def scan(self, at: int) -> None:
        """Count the matching rows of a source, and consider them for showing."""
        source = self.sources[at]
        everything = isinstance(self.request.query.ast, All) and not self._is_cut(source)
        if everything and not self.best.needs(source):
            self.counts[source.name] = source.count
        else:
            self._read(at, lambda rows: self._consider(at, rows))

    def _consider(self, at: int, rows: Rows) -> None:
        source = self.sources[at]
        found = self._found(source, rows)
        self.counts[source.name] = len(found.places)
        if len(found.places) and self.best.needs(source):
            times = found.times if found.times is not None else _times(rows, found.places)
            self.best.add(at, times, found.places)

    def _found(self, source: Source, rows: Rows) -> "_Found":
        """The matching rows of *source*."""
        node, within = self.request.query.ast, None
        if self.person is not None:
            within = rows.rows_of(self.person.subject)
            node = node if within is None else self.person.rest
        start, count = (0, source.count) if within is None else (within.start, len(within))
        cut = self._is_cut(source)
        if not count or (isinstance(node, All) and not cut):
            return _Found(np.arange(start, start + count))
        columns = columns_of(node) | ({_TIME, _END} & self.dataset.by_name.keys() if cut else set())
        table = rows.table(sorted(columns) or [_TIME], within)
        mask = self.matcher.mask(node, table)
        if not cut:
            return _Found(np.flatnonzero(mask) + start)
        begin, end = span_in(table)
        if self.request.since is not None:
            mask &= end >= self.request.since
        if self.request.until is not None:
            mask &= begin < self.request.until
        return _Found(np.flatnonzero(mask) + start, begin[mask])

    def _is_cut(self, source: Source) -> bool:
        """Whether a row of *source* may lie outside of the range."""
        since, until = self.request.since, self.request.until
        early = since is not None and (source.first is None or source.first < since)
        return early or (until is not None and (source.last is None or source.last >= until))

    def shown(self, pool: ThreadPoolExecutor) -> "_Shown | None":
        """The rows to show, whole and in order; None when a source broke."""
        held = self.best.rows()
        if not len(held.rows):
            return _Shown(pa.RecordBatch.from_pylist([], self.dataset.schema), ())
        holders = np.unique(held.sources).tolist()
        places = [np.flatnonzero(held.sources == at) for at in holders]
        tables = _each(pool, lambda at: self._whole(at, held.rows[held.sources == at]), holders)
        whole = [table for table in tables if table is not None]
        if len(whole) < len(tables):
            return None
        held = held.chosen(np.concatenate(places))
        table = pa.concat_tables(whole)
        order = self.best.order(held.times, table[_ID], held)
        batch = table.take(order).combine_chunks().to_batches()[0]
        return _Shown(batch, tuple(self._positions(held.chosen(order))))

    def _whole(self, at: int, places: Places) -> pa.Table | None:
        """All columns of *places*, in the dataset's own types."""
        schema = self.dataset.schema
        return self._read(at, lambda rows: rows.take(schema.names, places).cast(schema))

    def _positions(self, held: Candidates) -> Iterator[Position]:
        for at, row in zip(held.sources.tolist(), held.rows.tolist(), strict=True):
            segment = self.sources[at].segment
            yield Position() if segment is None else Position(segment, row)

    def _identify(self, at: int, places: Places) -> pa.ChunkedArray:
        found = self._read(at, lambda rows: rows.take([_ID], places)[_ID].cast(pa.string()))
        return pa.chunked_array([pa.nulls(len(places), pa.string())]) if found is None else found

    def _read(self, at: int, work: Callable[[Rows], _T]) -> _T | None:
        """What *work* makes of the source's rows; None, and the damage noted, when they cannot be read."""
        source = self.sources[at]
        try:
            with source.opened() as rows:
                return work(rows)
        except RetentionError as error:
            self.damaged[source.name] = error
            return None


class _Found(NamedTuple):
    places: Places
    times: Places | None = None
    """When they were, if it was read already."""


def _times(rows: Rows, places: Places) -> Places:
    low, high = int(places.min()), int(places.max())
    return span_in(rows.table([_TIME], range(low, high + 1)))[0][places - low]


def _each(pool: ThreadPoolExecutor, work: Callable[[int], _T], items: Iterable[int]) -> list[_T]:
    """*work* on each of *items*, a few at once."""
    return list(pool.map(work, items))


def _result(look: _Look, shown: _Shown, damages: Iterable[RetentionError]) -> Result:
    request, total = look.request, sum(look.counts.values())
    firsts = [source.first for source in look.sources if source.first is not None]
    lasts = [source.last for source in look.sources if source.last is not None]
    last = max(lasts) + 1 if lasts else None
    return Result(
        batch=shown.batch,
        positions=shown.positions,
        total=total,
        since=min(firsts, default=None) if request.since is None else request.since,
        until=last if request.until is None else request.until,
        truncated=total > shown.batch.num_rows,
        damages=tuple(damages),
    )
