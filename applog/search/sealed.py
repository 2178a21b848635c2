"""A sealed segment as a source of a search: opened when it is needed, read in parts.

Rules:
    1. What the manifest says (count, times) needs no opening. A segment is closed when its reader is done,
       and nothing decrypted is kept.
    2. What cannot be read raises one of our errors, naming the segment.
    3. Text, addresses and MACs come dictionary-coded where they are stored so: a comparison then costs once
       per distinct value.
    4. Whole rows are read row group by row group, those that hold one.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from applog.search.sources import Places, Rows
from retention.catalogue import Sealed
from retention.dataset import Dataset, Kind
from retention.errors import SegmentError
from retention.segment.reader import Segment
from retention.store import Store
from retention.times import from_iso

_CODED = (Kind.TEXT, Kind.IP, Kind.MAC)


class _SegmentRows:
    """The rows of an opened segment."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    @cached_property
    def _coded(self) -> pq.ParquetFile:
        """The rows once more, with text and addresses as dictionaries; the footer is parsed once."""
        segment, metadata = self._segment, self._segment.rows.metadata
        window = segment.file.window(*segment.directory.sections["rows"])
        return pq.ParquetFile(
            pa.PythonFile(window, mode="r"),
            read_dictionary=_coded(segment.dataset, metadata),
            metadata=metadata,
        )

    @cached_property
    def _ends(self) -> Places:
        """Where each row group ends."""
        metadata = self._segment.rows.metadata
        return np.cumsum([metadata.row_group(at).num_rows for at in range(metadata.num_row_groups)])

    def table(self, columns: Sequence[str], rows: range | None = None) -> pa.Table:
        if rows is None:
            return self._groups(range(len(self._ends)), columns)
        if not rows:
            return self._groups(range(0), columns)
        first, last = np.searchsorted(self._ends, [rows.start, rows.stop - 1], side="right").tolist()
        before = int(self._ends[first - 1]) if first else 0
        return self._groups(range(first, last + 1), columns).slice(rows.start - before, len(rows))

    def take(self, columns: Sequence[str], places: Places) -> pa.Table:
        """Row group by row group: all columns of a whole segment would not fit into memory."""
        holder = np.searchsorted(self._ends, places, side="right")
        taken, order = [self._groups(range(0), columns)], []
        for group in np.unique(holder).tolist():
            at = np.flatnonzero(holder == group)
            before = int(self._ends[group - 1]) if group else 0
            read = self._groups(range(group, group + 1), columns)
            taken.append(_plain(self._segment.dataset, read.take(places[at] - before)))
            order.append(at)
        back = np.argsort(np.concatenate(order)) if order else np.empty(0, np.int64)
        return pa.concat_tables(_plain(self._segment.dataset, one) for one in taken).take(back)

    def rows_of(self, subject: bytes) -> range | None:
        return self._segment.rows_of(subject)

    def _groups(self, groups: range, columns: Sequence[str]) -> pa.Table:
        names = list(columns)
        try:
            # One thread: a search works on several segments at once instead.
            return self._coded.read_row_groups(list(groups), names, use_threads=False).select(names)
        except (pa.ArrowException, KeyError, OSError) as error:
            raise SegmentError(f"segment {self._segment.name}: its rows cannot be read: {error}") from error


def _coded(dataset: Dataset, metadata: pq.FileMetaData) -> list[str]:
    """Columns that can be read as dictionaries: those that the sealer stored so, as their values recur."""
    group = metadata.row_group(0)
    chunks = (group.column(at) for at in range(group.num_columns))
    stored = {chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page}
    return [field.name for field in dataset.fields if field.kind in _CODED and field.name in stored]


def _plain(dataset: Dataset, table: pa.Table) -> pa.Table:
    """*table* in the dataset's own types."""
    return table.cast(pa.schema([dataset.schema.field(name) for name in table.schema.names]))


@dataclass(frozen=True)
class SegmentSource:
    """A sealed segment, opened when it is needed."""

    store: Store
    dataset: Dataset
    sealed: Sealed

    @property
    def name(self) -> str:
        """``dataset/sequence``."""
        return self.sealed.manifest.name

    @property
    def segment(self) -> str | None:
        """Its name."""
        return self.name

    @property
    def count(self) -> int:
        """As in the manifest."""
        return self.sealed.manifest.count

    @cached_property
    def first(self) -> int | None:
        """As in the manifest."""
        return _moment(self.sealed.manifest.first)

    @cached_property
    def last(self) -> int | None:
        """As in the manifest."""
        return _moment(self.sealed.manifest.last)

    @contextmanager
    def opened(self) -> Iterator[Rows]:
        """The segment's rows.

        Raises:
            VerificationError: it is damaged, or not what its manifest says.
            KeyMaterialError: its day key is missing.
        """
        try:
            segment = self.store.segment(self.dataset, self.sealed)
        except OSError as error:
            raise SegmentError(f"segment {self.name}: {error.strerror}") from error
        try:
            yield _SegmentRows(segment)
        finally:
            segment.close()


def _moment(text: str | None) -> int | None:
    return None if text is None else from_iso(text)
