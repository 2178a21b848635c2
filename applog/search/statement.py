"""A search from its words to its answer, and what the answer is an answer about.

Rules:
    1. Said with every answer: how many match and whether all are shown, the range that was searched, what of
       it is stored, what of it has expired, and what is known to be missing (``coverage``).
    2. The range is never wider than what was looked at: without an end of its own it ends where what is
       stored does.
    3. What could not be read is named; the count is then that of the rest.
    4. A segment that was deleted while it was searched is judged as one that was gone before.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from applog.errors import TimeError
from applog.search.coverage import CoverageStatement, coverage_of
from applog.search.embedded import EmbeddedSearch, Request, Result
from applog.search.query import parse_query
from applog.search.snapshot import Snapshot, sources_of
from applog.search.when import parse_time, show_time
from retention.dataset import Dataset
from retention.errors import RetentionError
from retention.store import Store

THREADS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A search as a person writes it."""

    query: str
    since: str | None = None
    until: str | None = None
    limit: int = 50
    oldest_first: bool = False

    def request(self, datasets: Iterable[Dataset], now: int) -> Request:
        """What it asks for, over one of *datasets*; *now* (UTC µs) is what ``2h`` counts from.

        Raises:
            QueryError: the query is not understood.
            TimeError: a time is not one, or the range runs backwards.
        """
        parsed = parse_query(self.query, datasets, now=now)
        start = parse_time(self.since, now=now, upper=False) if self.since else None
        end = parse_time(self.until, now=now, upper=True) if self.until else None
        if start is not None and end is not None and start >= end:
            raise TimeError(f"--since {self.since} is not before --until {self.until}")
        return Request(
            query=parsed, limit=self.limit, since=start, until=end, newest_first=not self.oldest_first
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What was found, and everything that is said with it."""

    dataset: Dataset
    request: Request
    result: Result
    snapshot: Snapshot
    coverage: CoverageStatement

    @property
    def damages(self) -> tuple[RetentionError, ...]:
        """What could not be read, and is in neither count nor rows."""
        return (*self.snapshot.damages, *self.result.damages)

    def lines(self) -> list[str]:
        """The statement for a person, without the damages."""
        return [self._count(), *self._range(), *self._beyond(), *self._expired(), *self._coverage()]

    def _count(self) -> str:
        name, total, shown = self.dataset.name, self.result.total, self.result.batch.num_rows
        if self.result.truncated:
            return f"truncated at {shown:,} of {total:,} {name} records; --limit shows more"
        return f"{total:,} {name} records, all shown" if total else f"no {name} record matches"

    def _range(self) -> list[str]:
        first, last = self.snapshot.first, self.snapshot.last
        if first is None or last is None:
            return [] if self.snapshot.expired else ["nothing is stored yet: applog import FILE"]
        since = first if self.request.since is None else self.request.since
        until = last + 1 if self.request.until is None else self.request.until
        whole = self.request.since is None and self.request.until is None
        scope = "searched: all that is stored, " if whole else "searched: "
        return [f"{scope}{show_time(since)} to {show_time(max(since, until))}"]

    def _beyond(self) -> list[str]:
        """Which part of the asked range lies outside everything that is stored: no answer about it."""
        first, last = self.snapshot.first, self.snapshot.last
        since, until = self.request.since, self.request.until
        lines = []
        if first is not None and since is not None and since < first:
            lines.append(f"          nothing is stored before {show_time(first)}: no answer about that time")
        if last is not None and until is not None and until > last + 1:
            lines.append(f"          nothing is stored after {show_time(last)}: no answer about that time")
        return lines

    def _expired(self) -> list[str]:
        expired = self.snapshot.expired
        if not expired:
            return []
        were = "segments of this range were" if len(expired) > 1 else "segment of this range was"
        rows = sum(manifest.count for manifest in expired)
        what = f"{len(expired):,} {were} deleted after their retention: {rows:,} records"
        return [f"expired: {what}, no answer about them"]

    def _coverage(self) -> list[str]:
        if self.snapshot.first is None and not self.snapshot.expired:
            return []
        return self.coverage.lines()


def answer(store: Store, dataset: Dataset, request: Request) -> Answer:
    """Search *dataset* of *store* as *request* asks.

    Raises:
        SearchError: it needs more memory than it may have.
        RetentionError: journals or manifests cannot be read at all.
    """
    snapshot, result = _searched(store, dataset, request)
    while result.damages and snapshot.has_vanished():  # it may have expired just now: the ledger knows
        snapshot, result = _searched(store, dataset, request)
    return Answer(
        dataset=dataset,
        request=request,
        result=result,
        snapshot=snapshot,
        coverage=coverage_of(store, request.since, request.until),
    )


def _searched(store: Store, dataset: Dataset, request: Request) -> tuple[Snapshot, Result]:
    snapshot = sources_of(store, dataset, request.since, request.until)
    return snapshot, EmbeddedSearch(threads=THREADS).run(request, dataset, snapshot.sources)
