"""An opened segment: its rows by column, a subject's rows by index, its sections.

Rules:
    1. Opening checks the directory and the last chunk; what is read later is authenticated chunk by chunk.
    2. A position (segment, row) is for ever: rows come in the order in which they were sealed.
    3. Nothing decrypted is written anywhere.
"""

import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from retention import leaves
from retention.dataset import Dataset
from retention.encoding import ENCODER
from retention.errors import SegmentError
from retention.segment.layout import (
    FrameTable,
    array_of,
    counts_array,
    lookup_array,
    read_directory,
    unpack_frames,
)
from retention.segment.manifest import Manifest, associated_data
from retention.vault import VaultFile

NONE = range(0)
"""No rows."""


class Segment:
    """One sealed file. Threads may share it: pyarrow's reader takes one at a time, so reading is locked."""

    def __init__(self, path: Path, manifest: Manifest, dataset: Dataset, key: bytes) -> None:
        """Open it.

        Raises:
            VaultDamagedError: it is damaged, or *key* is another segment's.
            SegmentError: it is not the segment that *manifest* describes, or of another version.
        """
        if manifest.file_id is None:
            raise SegmentError(f"segment {manifest.name} has no rows and no file")
        if (manifest.schema, manifest.encoder) != (dataset.version, ENCODER):
            raise SegmentError(
                f"segment {manifest.name}: schema version {manifest.schema}, encoder {manifest.encoder}; "
                f"this version of applog reads {dataset.version} and {ENCODER}, please update"
            )
        self.manifest = manifest
        self.dataset = dataset
        self._lock = threading.Lock()
        file_id = bytes.fromhex(manifest.file_id)
        self.file = VaultFile(path, key, associated_data(manifest.dataset, file_id))
        self.directory = read_directory(self.file, manifest.name)

    @property
    def name(self) -> str:
        """``dataset/sequence``."""
        return self.manifest.name

    def close(self) -> None:
        """Let go of the file."""
        self.file.close()

    def section(self, name: str) -> bytes:
        """The bytes of a section."""
        return self.file.read_at(*self.directory.sections[name])

    @cached_property
    def secret(self) -> bytes:
        """S: never in an answer, an index or a bundle."""
        return self.section("secret")

    @cached_property
    def tags(self) -> leaves.Hashes:
        """``t(x)`` of each subject."""
        return self._of_subjects(array_of(self.section("tags"), leaves.HASH_BYTES, self.name))

    @cached_property
    def blocks(self) -> leaves.Hashes:
        """Level 5 of each subject's tree."""
        return array_of(self.section("blocks"), leaves.HASH_BYTES, self.name)

    @cached_property
    def counts(self) -> npt.NDArray[np.int64]:
        """Rows of each subject."""
        counts = counts_array(self.section("counts"), self.name)
        if int(counts.sum()) != self.manifest.count or len(counts) != self.manifest.subjects:
            raise SegmentError(f"segment {self.name}: its counts are not those of its manifest")
        return counts

    @cached_property
    def _lookup(self) -> npt.NDArray[np.uint64]:
        """What subjects are found by, two words each: one comparison of the whole column is enough."""
        return self._of_subjects(lookup_array(self.section("lookup"), self.name)).view(np.uint64)

    def _of_subjects(self, values: leaves.Hashes) -> leaves.Hashes:
        if len(values) != self.manifest.subjects:
            raise SegmentError(
                f"segment {self.name}: {len(values)} values for {self.manifest.subjects} subjects"
            )
        return values

    @cached_property
    def rows(self) -> pq.ParquetFile:
        """The rows as they lie in the file."""
        offset, length = self.directory.sections["rows"]
        try:
            rows = pq.ParquetFile(pa.PythonFile(self.file.window(offset, length), mode="r"))
        except (pa.ArrowException, OSError) as error:
            raise SegmentError(f"segment {self.name}: its rows are not Parquet: {error}") from error
        if rows.metadata.num_rows != self.manifest.count:
            raise SegmentError(
                f"segment {self.name}: {rows.metadata.num_rows} rows, its manifest says {self.manifest.count}"
            )
        return rows

    def rows_of(self, subject: bytes) -> range:
        """Row numbers of *subject*; empty when it has none here."""
        key = np.frombuffer(leaves.lookup_key(self.secret, subject), np.uint64)
        found = np.flatnonzero((self._lookup == key).all(axis=1))
        if not len(found):
            return NONE
        at = int(found[0])
        first = int(self.counts[:at].sum())
        return range(first, first + int(self.counts[at]))

    def table(self, columns: Sequence[str], rows: range | None = None) -> pa.Table:
        """*columns* of all rows, or of *rows*, in order.

        Raises:
            SegmentError: they are not the dataset's columns, or cannot be read.
        """
        schema = pa.schema([self.dataset.schema.field(name) for name in columns])
        with self._lock:
            return self._read(columns, schema, rows)

    def _read(self, columns: Sequence[str], schema: pa.Schema, rows: range | None) -> pa.Table:
        try:
            if rows is None:
                return self.rows.read(list(columns)).select(columns).cast(schema)
            groups, skipped = self._groups(rows)
            read = self.rows.read_row_groups(groups, list(columns)).select(columns)
            return read.slice(rows.start - skipped, len(rows)).cast(schema)
        except (pa.ArrowException, KeyError, OSError) as error:
            raise SegmentError(f"segment {self.name}: its rows cannot be read: {error}") from error

    def _groups(self, rows: range) -> tuple[list[int], int]:
        """Row groups that hold *rows*, and how many rows lie before them."""
        sizes = [self.rows.metadata.row_group(at).num_rows for at in range(self.rows.num_row_groups)]
        ends = np.cumsum(sizes)
        first = int(np.searchsorted(ends, rows.start, side="right"))
        last = int(np.searchsorted(ends, max(rows.stop - 1, rows.start), side="right"))
        groups = [at for at in range(first, last + 1) if at < len(sizes)]
        return groups, int(ends[first]) - sizes[first] if groups else rows.start

    @cached_property
    def frames(self) -> list[FrameTable]:
        """The frame tables of the journal files in the segment."""
        return unpack_frames(self.section("frames"), self.directory.journals, self.name)
