"""Journal files become a segment's plaintext. Everything on columns, in memory; nothing is written here.

Rules (FORMAT.md 7.2 to 7.7):
    1. Rows are ordered by (tag, ``@timestamp``, line); only rows that tie in the first two are compared by
       line.
    2. Lines are made in slices of ``SLICE_ROWS``, so that 500,000 rows need about 1 GB, not 3.
    3. What is built is not trusted: the sealer reads it back and checks it (``retention.segment.check``).
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from retention import leaves
from retention.dataset import Dataset, Field, Kind
from retention.encoding import encode
from retention.journal.adopt import AdoptedFile
from retention.segment.layout import SECRET_BYTES, FrameTable, SealedJournal, pack, pack_frames

SLICE_ROWS = 65_536
ROW_GROUP_ROWS = 16_384
"""Showing one row costs reading its group: 13 ms; 32,768 would cost 21 ms and save 1.5 B/row."""
FILE_ID_BYTES = 32
VARIED = 0.3
"""From this share of different values on, a dictionary costs more than it saves."""
BLOOM_MISSES = 0.02
"""How often a bloom filter may say that a value could be there although it is not."""
_ENCODINGS = {
    Kind.TIMESTAMP: "DELTA_BINARY_PACKED",
    Kind.INTEGER: "BYTE_STREAM_SPLIT",
    Kind.TEXT: "DELTA_BYTE_ARRAY",
}
"""For columns that vary: 57 B/row became 37 (tests/bench)."""
_BLOOM_KINDS = (Kind.IP, Kind.MAC)
_BLOOM_NAMES = ("destination.domain", "dns.question.name", "user.id", "user.name", "host.hostname")

Beta = Callable[[bytes], bytes]
"""The VRF output of a subject (FORMAT.md 7.3)."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """A segment's plaintext and what its manifest says of it."""

    pieces: list[bytes | memoryview]
    file_id: bytes
    root: bytes
    rows: int
    subjects: int
    first: int
    """Earliest ``@timestamp``, UTC µs."""
    last: int
    """Latest ``@timestamp`` or ``event.end``, UTC µs."""


def build(dataset: Dataset, files: Sequence[AdoptedFile], beta: Beta) -> Built:
    """The segment of all rows of *files*, of which there is at least one."""
    rows = pa.Table.from_batches([one for file in files for one in file.batches], dataset.schema)
    rows = rows.combine_chunks()
    file_id, secret = os.urandom(FILE_ID_BYTES), os.urandom(SECRET_BYTES)
    batch = rows.to_batches()[0]
    subjects, ranks, tags = ranked_subjects(dataset, batch, file_id, beta)
    batch = batch.take(_order(dataset, batch, ranks))
    counts = np.bincount(ranks, minlength=len(subjects))
    times = times_of(batch)
    tree = leaves.grow(times, body_hashes(dataset, batch, secret), tags, counts)
    lookup = b"".join(leaves.lookup_key(secret, subject) for subject in subjects)
    sections: dict[str, bytes | memoryview] = {
        "rows": memoryview(_parquet(dataset, batch)),
        "secret": secret,
        "tags": tags.tobytes(),
        "lookup": lookup,
        "counts": counts.astype(">u4").tobytes(),
        "blocks": tree.blocks.tobytes(),
        "frames": pack_frames([FrameTable(file.blinding, file.rows, file.chain) for file in files]),
    }
    first, last = span_of(batch)
    return Built(
        pieces=pack(sections, [_sealed_journal(file) for file in files]),
        file_id=file_id,
        root=tree.root,
        rows=batch.num_rows,
        subjects=len(subjects),
        first=first,
        last=last,
    )


def ranked_subjects(
    dataset: Dataset, batch: pa.RecordBatch, file_id: bytes, beta: Beta
) -> tuple[list[bytes], npt.NDArray[np.int64], leaves.Hashes]:
    """The subjects of *batch* in the order of their tags, each row's place among them, and the tags."""
    encoded = dataset.subjects(batch).dictionary_encode()
    found: list[bytes] = encoded.dictionary.to_pylist()
    tags = [leaves.tag(file_id, beta(subject)) for subject in found]
    order = sorted(range(len(found)), key=tags.__getitem__)
    rank = np.empty(len(found), np.int64)
    rank[order] = np.arange(len(found))
    ranks = rank[encoded.indices.to_numpy()]
    return [found[at] for at in order], ranks, leaves.as_hashes([tags[at] for at in order])


def times_of(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """``@timestamp`` of each row, UTC µs."""
    return np.asarray(batch.column("@timestamp").cast(pa.int64()))


def span_of(batch: pa.RecordBatch) -> tuple[int, int]:
    """Earliest ``@timestamp``, and latest ``@timestamp`` or ``event.end``, UTC µs."""
    times = times_of(batch)
    first, last = int(times.min()), int(times.max())
    if "event.end" in batch.schema.names:
        end = pc.max(batch.column("event.end").cast(pa.int64())).as_py()
        last = last if end is None else max(last, end)
    return first, last


def body_hashes(dataset: Dataset, batch: pa.RecordBatch, secret: bytes) -> leaves.Hashes:
    """``body_i`` of every row of *batch*, which are in the segment's order."""
    return np.concatenate(
        [
            leaves.bodies(secret, encode(dataset, batch[at : at + SLICE_ROWS]), at)
            for at in range(0, batch.num_rows, SLICE_ROWS)
        ]
    )


def _order(dataset: Dataset, batch: pa.RecordBatch, ranks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    times = times_of(batch)
    order = np.lexsort((times, ranks))
    same = (np.diff(ranks[order]) == 0) & (np.diff(times[order]) == 0)
    if not same.any():
        return order
    group = np.concatenate([[0], np.cumsum(~same)])
    tied = np.flatnonzero(np.concatenate([[False], same]) | np.concatenate([same, [False]]))
    lines = encode(dataset, batch.take(order[tied]))
    keys = pa.table({"group": group[tied], "line": lines.cast(pa.binary())})
    within = pc.sort_indices(keys, [("group", "ascending"), ("line", "ascending")]).to_numpy()
    order[tied] = order[tied][within]
    return order


def _parquet(dataset: Dataset, batch: pa.RecordBatch) -> pa.Buffer:
    out = pa.BufferOutputStream()
    distinct = {field.name: _distinct(batch, field) for field in dataset.fields}
    varied = [
        field
        for field in dataset.fields
        if field.kind in _ENCODINGS and distinct[field.name] > min(batch.num_rows, ROW_GROUP_ROWS) * VARIED
    ]
    encodings = {field.name: _ENCODINGS[field.kind] for field in varied}
    bloomed = [
        field.name for field in dataset.fields if field.kind in _BLOOM_KINDS or field.name in _BLOOM_NAMES
    ]
    pq.write_table(
        pa.Table.from_batches([batch]),
        out,
        compression="zstd",
        row_group_size=ROW_GROUP_ROWS,
        write_statistics=True,
        store_schema=False,
        use_dictionary=[_path(field) for field in dataset.fields if field.name not in encodings],
        column_encoding=encodings,
        bloom_filter_options={
            name: {"ndv": distinct[name], "fpp": BLOOM_MISSES} for name in bloomed if distinct[name]
        },
    )
    return out.getvalue()


def _path(field: Field) -> str:
    """Parquet's name of the column that holds the values."""
    return f"{field.name}.list.element" if pa.types.is_list(field.arrow.type) else field.name


def _distinct(batch: pa.RecordBatch, field: Field) -> int:
    """About how many different values a row group of the column has."""
    column = batch.column(field.name)[:ROW_GROUP_ROWS]
    if pa.types.is_list(column.type):
        return 0
    return int(pc.count_distinct(column).as_py())


def _sealed_journal(file: AdoptedFile) -> SealedJournal:
    return SealedJournal(
        writer=file.writer,
        file=file.number,
        frames=len(file.rows),
        rows=int(file.rows.sum()),
        after_hash=file.after.hex(),
        void=tuple(chain.hex() for chain in file.void),
    )
