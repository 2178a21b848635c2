"""The rows to show, chosen while sources are looked through in any order.

Rules:
    1. Order is @timestamp, then event.id, then place (source, row); an absent value stands before all others.
       Newest first is exactly the reverse of oldest first.
    2. No more than about twice as many candidates are held as will be shown. event.id is read only of those
       whose times tie at the limit.
    3. A source all of whose times lie behind the last candidate's is not needed.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from applog.search.sources import Places, Source

Numbers = npt.NDArray[np.int64]
Identify = Callable[[int, Places], pa.ChunkedArray]
"""``event.id`` of rows of the source with that number."""


class Candidates(NamedTuple):
    """Rows, one in each place of the three arrays."""

    times: Numbers
    sources: Numbers
    """Number of the source."""
    rows: Numbers
    """Row in the source."""

    def chosen(self, which: npt.NDArray[np.bool_] | Numbers) -> "Candidates":
        """Those of them."""
        return Candidates(*(column[which] for column in self))


NONE = Candidates(*(np.empty(0, np.int64) for _ in range(3)))


class Best:
    """The best rows so far. Threads may share it."""

    def __init__(self, limit: int, identify: Identify, *, newest_first: bool) -> None:
        self._limit = limit
        self._identify = identify
        self._newest_first = newest_first
        self._lock = threading.Lock()
        self._held = NONE
        self._worst: int | None = None
        """The key that a row must not exceed; None: any row is wanted."""

    def needs(self, source: Source) -> bool:
        """Whether *source* can have a row that is shown."""
        first, last = source.first, source.last
        if not self._limit or first is None or last is None:
            return False
        worst = self._worst
        return worst is None or (~last if self._newest_first else first) <= worst

    def add(self, source: int, times: Numbers, rows: Places) -> None:
        """Consider *rows* of the source with that number, which happened at *times*."""
        found = Candidates(times, np.full(len(rows), source, np.int64), rows)
        with self._lock:
            if self._worst is not None:
                found = found.chosen(self._keys(times) <= self._worst)
            self._held = Candidates(*map(np.concatenate, zip(self._held, found, strict=True)))
            held = len(self._held.rows)
            if held >= (self._limit if self._worst is None else 2 * self._limit):
                self._cut()

    def rows(self) -> Candidates:
        """The rows to show, in no order."""
        with self._lock:
            if len(self._held.rows) > self._limit:
                self._cut()
            return self._held

    def order(self, times: Numbers, ids: pa.ChunkedArray, held: Candidates) -> Numbers:
        """Where the rows *held* stand in the order of the answer."""
        columns = {"time": times, "id": ids, "source": held.sources, "row": held.rows}
        way = ("descending", "at_end") if self._newest_first else ("ascending", "at_start")
        keys = [(name, *way) for name in columns]
        return np.asarray(pc.sort_indices(pa.table(columns), keys).to_numpy(), np.int64)

    def _keys(self, times: Numbers) -> Numbers:
        """Smallest for what stands first; ``~`` reverses the order without overflow."""
        return ~times if self._newest_first else times

    def _cut(self) -> None:
        """Keep ``limit`` rows."""
        held = self._held
        keys = self._keys(held.times)
        worst = np.partition(keys, self._limit - 1)[self._limit - 1]
        before, tied = np.flatnonzero(keys < worst), np.flatnonzero(keys == worst)
        wanted = self._limit - len(before)
        if len(tied) > wanted:
            tied = tied[self._tied(held.chosen(tied))[:wanted]]
        self._held = held.chosen(np.concatenate([before, tied]))
        self._worst = int(worst)

    def _tied(self, held: Candidates) -> Numbers:
        """The order of rows of one time."""
        ids: list[pa.Array] = []
        places: list[Numbers] = []
        for source in np.unique(held.sources).tolist():
            at = np.flatnonzero(held.sources == source)
            ids += self._identify(source, held.rows[at]).chunks
            places.append(at)
        back = np.argsort(np.concatenate(places))
        return self.order(held.times, pa.chunked_array(ids, pa.string()).take(back), held)
