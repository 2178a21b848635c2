"""The tree answered by DuckDB, in this process, over Arrow tables: the only importer of duckdb.

Rules:
    1. DuckDB gets no disk, no network and no extension, and cannot be told otherwise: it sees the columns it
       is handed, nothing else, and spills nothing (what is searched was decrypted).
    2. A record lies in ``[since, until)`` when any of it does: it starts before *until*, and ends (or, where
       it has no end, happens) at *since* or later.
    3. The count is exact. Rows are in order of @timestamp, then event.id, then place in the sources.
    4. First only the columns that are compared are asked for; whole rows only of those that are shown.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from applog.errors import SearchError
from applog.search.sql import Condition, quoted, where
from applog.search.tree import Query, columns_of
from retention.dataset import Dataset

_TIME, _END, _ID = "@timestamp", "event.end", "event.id"
_ROW = "#row"
_CONFINED = (
    "enable_external_access = false",
    "python_enable_replacements = false",
    "lock_configuration = true",
)


class Source(Protocol):
    """Records of one dataset: an open journal's, a sealed segment's. A snapshot: it never changes."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Those *columns* of all its rows, in the same order of rows at every call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableSource:
    """A table that is in memory already."""

    name: str
    rows: pa.Table

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Those *columns*."""
        return self.rows.select(list(columns))


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The answer, and what it is an answer about."""

    batch: pa.RecordBatch
    """The rows shown, in the dataset's schema: ``retention.encoding.encode`` takes it as it is."""
    total: int
    """How many records match, exactly."""
    since: int | None
    """Start of the range that was searched, UTC µs: as asked, else the first record's. None: none stored."""
    until: int | None
    """Its exclusive end, UTC µs: as asked, else 1 µs after the last record's end. None: none stored."""
    truncated: bool
    """Whether more match than are shown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedSearch:
    """Runs searches; keeps nothing between them, so threads may share it."""

    threads: int = 1
    memory_mb: int = 1024
    """For counting and sorting, beside the tables themselves."""

    def run(self, request: Request, dataset: Dataset, sources: Sequence[Source]) -> Result:
        """The answer to *request* over *sources*, all of *dataset*.

        Raises:
            SearchError: it needs more memory than it may have.
        """
        if request.query.dataset_name != dataset.name or request.limit < 0:
            raise ValueError(
                f"a search of {request.query.dataset_name}, limit {request.limit}, in {dataset.name}"
            )
        needed = {_TIME, _ID, _END, *columns_of(request.query.ast)} & dataset.by_name.keys()
        tables = [_conformed(source, dataset, sorted(needed)) for source in sources]
        starts = np.cumsum([0, *(table.num_rows for table in tables)])
        with self._opened(dataset, tables, sorted(needed)) as connection:
            try:
                total, first, last = _counted(connection, request, dataset)
                rows = _ordered(connection, request, dataset) if total and request.limit else _no_rows()
            except duckdb.OutOfMemoryException as error:
                raise SearchError(f"the search needs more than {self.memory_mb} MB of memory") from error
        return Result(
            batch=_gathered(dataset, sources, starts, rows),
            total=total,
            since=first if request.since is None else request.since,
            until=last if request.until is None else request.until,
            truncated=total > len(rows),
        )

    @contextmanager
    def _opened(
        self, dataset: Dataset, tables: list[pa.Table], columns: list[str]
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A confined DuckDB that has *tables*, one after the other, as ``stored``."""
        schema = pa.schema([dataset.schema.field(name) for name in columns])
        stored = pa.concat_tables(tables) if tables else schema.empty_table()
        stored = stored.append_column(_ROW, pa.array(np.arange(stored.num_rows)))
        config: dict[str, Any] = {
            "temp_directory": "",
            "threads": self.threads,
            "memory_limit": f"{self.memory_mb}MB",
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
        }
        with duckdb.connect(":memory:", config=config) as connection:
            for setting in _CONFINED:
                connection.execute(f"SET {setting}")
            connection.register("stored", stored)
            yield connection


def _conformed(source: Source, dataset: Dataset, columns: list[str]) -> pa.Table:
    schema = pa.schema([dataset.schema.field(name) for name in columns])
    return source.table(columns).select(columns).cast(schema)


def _end_of(dataset: Dataset) -> str:
    if _END not in dataset.by_name:
        return quoted(_TIME)
    return f"coalesce({quoted(_END)}, {quoted(_TIME)})"


def _matching(request: Request, dataset: Dataset) -> Condition:
    """The query's condition and the range's."""
    asked = where(request.query.ast)
    sql, parameters = [asked.sql], list(asked.parameters)
    if request.since is not None:
        sql.append(f"{_end_of(dataset)} >= make_timestamp(?)")
        parameters.append(request.since)
    if request.until is not None:
        sql.append(f"{quoted(_TIME)} < make_timestamp(?)")
        parameters.append(request.until)
    return Condition(" AND ".join(sql), tuple(parameters))


def _counted(
    connection: duckdb.DuckDBPyConnection, request: Request, dataset: Dataset
) -> tuple[int, int | None, int | None]:
    """How many match, and the range of all that is stored: first time, and exclusive end."""
    matching = _matching(request, dataset)
    counted = connection.execute(
        f"SELECT count(*) FILTER (WHERE {matching.sql}), epoch_us(min({quoted(_TIME)})), "  # noqa: S608 - see sql.py
        f"epoch_us(max({_end_of(dataset)})) + 1 FROM stored",
        matching.parameters,
    ).fetchone()
    if counted is None:
        raise RuntimeError("an aggregate without a row")
    total, first, last = counted
    return total, first, last


def _ordered(
    connection: duckdb.DuckDBPyConnection, request: Request, dataset: Dataset
) -> npt.NDArray[np.int64]:
    """Places of the rows to show, in their order."""
    matching = _matching(request, dataset)
    way = "DESC NULLS LAST" if request.newest_first else "ASC NULLS FIRST"
    order = ", ".join(f"{quoted(column)} {way}" for column in (_TIME, _ID, _ROW))
    found = connection.execute(
        f"SELECT {quoted(_ROW)} FROM stored WHERE {matching.sql} ORDER BY {order} LIMIT ?",  # noqa: S608 - see sql.py
        (*matching.parameters, request.limit),
    ).fetchnumpy()
    return np.asarray(found[_ROW], np.int64)


def _no_rows() -> npt.NDArray[np.int64]:
    return np.empty(0, np.int64)


def _gathered(
    dataset: Dataset, sources: Sequence[Source], starts: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> pa.RecordBatch:
    """Whole rows, in the order of *rows*, from only those *sources* that hold any."""
    if not len(rows):
        return pa.RecordBatch.from_pylist([], dataset.schema)
    holder = np.searchsorted(starts, rows, side="right") - 1
    taken: list[pa.Table] = []
    placed: list[npt.NDArray[np.int64]] = []
    for at in np.unique(holder):
        places = np.flatnonzero(holder == at)
        whole = _conformed(sources[at], dataset, dataset.schema.names)
        taken.append(whole.take(rows[places] - starts[at]))
        placed.append(places)
    back = np.argsort(np.concatenate(placed))
    return pa.concat_tables(taken).take(back).combine_chunks().to_batches()[0]
