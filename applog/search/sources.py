"""What a search reads from: rows in columns, from somewhere, that do not change meanwhile.

Rules:
    1. A source says its count and its times without being opened; its rows are there while it is open.
    2. Rows are numbered from 0, in the same order at every opening.
    3. A record's time is from ``@timestamp`` to the later of it and ``event.end``; both ends are in it.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retention.store import Contents

Places = npt.NDArray[np.int64]
"""Row numbers of a source."""

_TIME, _END = "@timestamp", "event.end"


class Rows(Protocol):
    """The rows of an opened source. Threads may share it."""

    def table(self, columns: Sequence[str], rows: range | None = None) -> pa.Table:
        """Those *columns* of all rows, or of *rows*, in order; maybe dictionary-coded."""

    def take(self, columns: Sequence[str], places: Places) -> pa.Table:
        """Those *columns* of the rows *places*, in the order of *places*; maybe dictionary-coded."""

    def rows_of(self, subject: bytes) -> range | None:
        """The rows of *subject* (FORMAT.md 2) by index; None: there is no index, look at all rows."""


class Source(Protocol):
    """Records of one dataset: open journals', a sealed segment's. A snapshot: it never changes."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    @property
    def segment(self) -> str | None:
        """``dataset/sequence``, with which a row number is a position for ever; None for journals."""

    @property
    def count(self) -> int:
        """How many rows it has."""

    @property
    def first(self) -> int | None:
        """Earliest ``@timestamp``, UTC µs. None: no rows."""

    @property
    def last(self) -> int | None:
        """Latest ``@timestamp`` or ``event.end``, UTC µs. None: no rows."""

    def opened(self) -> AbstractContextManager[Rows]:
        """Its rows, while the context lasts.

        Raises:
            RetentionError: it cannot be read.
        """


def meets(source: Source, since: int | None, until: int | None) -> bool:
    """Whether a row of *source* may lie in ``[since, until)``."""
    if source.first is None or source.last is None:
        return False
    return (until is None or source.first < until) and (since is None or source.last >= since)


@dataclass(frozen=True)
class TableSource:
    """Rows that are in memory: what the journals hold."""

    name: str
    rows: pa.Table
    segment: None = None

    @property
    def count(self) -> int:
        """How many rows it has."""
        return int(self.rows.num_rows)

    @property
    def first(self) -> int | None:
        """Earliest ``@timestamp``."""
        return self._span[0]

    @property
    def last(self) -> int | None:
        """Latest ``@timestamp`` or ``event.end``."""
        return self._span[1]

    @cached_property
    def _span(self) -> tuple[int | None, int | None]:
        return Contents(table=self.rows, damages=()).span()

    def opened(self) -> AbstractContextManager[Rows]:
        """Itself."""
        return nullcontext(self)

    def table(self, columns: Sequence[str], rows: range | None = None) -> pa.Table:
        """Those *columns*."""
        chosen = self.rows.select(list(columns))
        return chosen if rows is None else chosen.slice(rows.start, len(rows))

    def take(self, columns: Sequence[str], places: Places) -> pa.Table:
        """Those rows."""
        return self.table(columns).take(places)

    def rows_of(self, subject: bytes) -> range | None:  # noqa: ARG002  the protocol's
        """Journals have no index."""
        return None


def span_in(table: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Start and end of each row, UTC µs: ``@timestamp``, and the later of it and ``event.end``."""
    start = _micros(table, _TIME)
    if _END not in table.schema.names:
        return start, start
    return start, np.maximum(start, _micros(table, _END))


def _micros(table: pa.Table, name: str) -> npt.NDArray[np.int64]:
    """A time column; what has no time is before everything."""
    times = pc.fill_null(table.column(name).cast(pa.timestamp("us")).cast(pa.int64()), -(2**63))
    return np.asarray(times.to_numpy(), np.int64)
