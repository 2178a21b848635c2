"""A segment held against everything that was said of it: what the sealer and ``verify --deep`` both run.

Numbered as in FORMAT.md 7.9 and ``retention.verify``:
    1. Rows: decoded, in order of (tag, ``@timestamp``), every one encoded and hashed anew.
    2. Trees: blocks of 32 rows, subjects, root; the manifest's counts, span and ingestion times.
    3. Subjects: every tag is that of the subject whose rows stand under it; the index finds them.
    4. Chains: every journal frame rebuilt from ``event.id``, hashed, and held against its table.
Raises at the first thing that does not fit; never returns False.
"""

import hmac
import struct
from collections.abc import Iterator
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from retention import leaves
from retention.dataset import Dataset
from retention.digests import sha256_joined
from retention.encoding import encode
from retention.errors import SchemaError, SegmentAlteredError, SegmentError
from retention.journal.frame import first_hash
from retention.segment.build import SLICE_ROWS, Beta, ranked_subjects, span_of, times_of
from retention.segment.layout import SealedJournal
from retention.segment.reader import Segment
from retention.times import iso

_PREFIX_BYTES = 1 + 32 + 32


class Lines(NamedTuple):
    """Lines of rows, each with its line feed, anywhere in one buffer."""

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]

    @classmethod
    def joined(cls, parts: list[pa.Array]) -> Self:
        """The lines of *parts*, one after the other."""
        flat = [leaves.flat(part) for part in parts]
        pieces = [data[offsets[0] : offsets[-1]] for data, offsets in flat]
        lengths = np.concatenate([np.diff(offsets) for _, offsets in flat])
        ends = np.cumsum(lengths)
        return cls(np.concatenate(pieces), ends - lengths, ends)

    def taken(self, order: npt.NDArray[np.int64]) -> Self:
        """Those lines, in that order."""
        return self._replace(starts=self.starts[order], ends=self.ends[order])

    def line(self, row: int) -> bytes:
        """The line of *row*."""
        return self.data[self.starts[row] : self.ends[row]].tobytes()


def check_rows(segment: Segment, beta: Beta) -> int:
    """Check all rows of *segment*; the number of rows.

    Raises:
        VerificationError: something was altered; it names the segment, and the rows where it can.
    """
    name = segment.name
    table = segment.table(segment.dataset.schema.names).combine_chunks()
    batch = table.to_batches()[0]
    try:
        batch.validate(full=True)
        parts = [
            encode(segment.dataset, batch[at : at + SLICE_ROWS])
            for at in range(0, batch.num_rows, SLICE_ROWS)
        ]
    except (pa.ArrowException, SchemaError) as error:
        raise SegmentError(f"segment {name}: a row has no line: {error}") from error
    _check_tree(segment, batch, parts)
    lines = Lines.joined(parts)
    del parts
    _check_subjects(segment, batch, lines, beta)
    _check_span(segment, batch)
    _check_journals(segment)
    _check_chains(segment, batch, lines)
    return segment.manifest.count


def _check_tree(segment: Segment, batch: pa.RecordBatch, lines: list[pa.Array]) -> None:
    bodies = np.concatenate(
        [leaves.bodies(segment.secret, part, at * SLICE_ROWS) for at, part in enumerate(lines)]
    )
    tree = leaves.grow(times_of(batch), bodies, segment.tags, segment.counts)
    if len(tree.blocks) != len(segment.blocks):
        raise SegmentError(f"segment {segment.name}: its tree has another number of blocks than its rows")
    altered = np.flatnonzero((tree.blocks != segment.blocks).any(axis=1))
    if len(altered):
        first, last = rows_of_block(segment.counts, int(altered[0]))
        raise SegmentAlteredError(
            segment.name,
            first,
            last,
            sealed=segment.blocks[altered[0]].tobytes(),
            found=tree.blocks[altered[0]].tobytes(),
        )
    if tree.root.hex() != segment.manifest.root:
        raise SegmentError(
            f"segment {segment.name}: root {tree.root.hex()[:16]}…, its manifest says "
            f"{segment.manifest.root[:16]}…"
        )


def rows_of_block(counts: npt.NDArray[np.int64], block: int) -> tuple[int, int]:
    """First and last row number of the *block*-th stored node."""
    blocks = leaves.blocks_in(counts)
    ends = np.cumsum(blocks)
    subject = int(np.searchsorted(ends, block, side="right"))
    first_row = int(counts[:subject].sum())
    first = first_row + (block - int(ends[subject] - blocks[subject])) * leaves.BLOCK_ROWS
    return first, min(first + leaves.BLOCK_ROWS, first_row + int(counts[subject])) - 1


def _check_subjects(segment: Segment, batch: pa.RecordBatch, lines: Lines, beta: Beta) -> None:
    name, dataset = segment.name, segment.dataset
    file_id = bytes.fromhex(segment.manifest.file_id or "")
    subjects, ranks, tags = ranked_subjects(dataset, batch, file_id, beta)
    if not np.array_equal(tags, segment.tags):
        raise SegmentError(f"segment {name}: its tags are not those of its rows' subjects")
    if not np.array_equal(ranks, np.repeat(np.arange(len(subjects)), segment.counts)):
        raise SegmentError(f"segment {name}: rows do not stand under their own subjects")
    steps, same = np.diff(times_of(batch)), np.diff(ranks) == 0
    if ((steps < 0) & same).any():
        raise SegmentError(f"segment {name}: rows of a subject are not in the order of their times")
    tied = np.flatnonzero((steps == 0) & same).tolist()
    if any(lines.line(at) > lines.line(at + 1) for at in tied):
        raise SegmentError(f"segment {name}: rows of one moment are not in the order of their lines")
    expected = b"".join(leaves.lookup_key(segment.secret, subject) for subject in subjects)
    if segment.section("lookup") != expected:
        raise SegmentError(f"segment {name}: its subject index does not find its rows")


def _check_span(segment: Segment, batch: pa.RecordBatch) -> None:
    manifest = segment.manifest
    span = tuple(map(iso, span_of(batch)))
    if span != (manifest.first, manifest.last):
        raise SegmentError(
            f"segment {segment.name}: rows from {span[0]} to {span[1]}, not as its manifest says"
        )
    bounds = pc.min_max(batch.column("event.ingested").cast(pa.int64())).as_py()
    first, last = iso(bounds["min"]), iso(bounds["max"])
    days = {first[:10], last[:10]}
    if not (manifest.from_ <= first and last < manifest.until and days == {manifest.day}):
        raise SegmentError(
            f"segment {segment.name}: ingested from {first} to {last}, outside its manifest's "
            f"{manifest.from_} to {manifest.until} or not of day {manifest.day}"
        )


def _check_journals(segment: Segment) -> None:
    """The journal files inside are exactly those that the manifest names, each following the one before."""
    known = {journal.writer: journal for journal in segment.manifest.journals}
    ends: dict[str, tuple[int, str, int]] = {}
    for journal, table in zip(segment.directory.journals, segment.frames, strict=True):
        named = known.get(journal.writer)
        if named is None:
            raise SegmentError(f"segment {segment.name}: journal {journal.writer} is not in its manifest")
        file, head, _ = ends.get(journal.writer, (named.first - 1, named.after, 0))
        if (journal.file, journal.after_hash) != (file + 1, head):
            raise SegmentError(
                f"segment {segment.name}: file {journal.file} of journal {journal.writer} does not follow "
                f"file {file}"
            )
        last = table.chain[-1].tobytes() if len(table.chain) else leaves_start(segment.dataset, journal)
        ends[journal.writer] = (journal.file, last.hex(), journal.frames)
    expected = {writer: (named.last, named.head, named.frames) for writer, named in known.items()}
    if ends != expected:
        raise SegmentError(f"segment {segment.name}: its journals do not end as its manifest says")


def _check_chains(segment: Segment, batch: pa.RecordBatch, lines: Lines) -> None:
    """Every frame's hash from its rows; together the frames are exactly the segment's rows."""
    journals = segment.directory.journals
    if sum(journal.rows for journal in journals) != batch.num_rows:
        raise SegmentError(f"segment {segment.name}: its journals have another number of rows")
    places = pc.index_in(_expected_ids(journals), value_set=batch.column("event.id"))
    if places.null_count:
        raise SegmentError(f"segment {segment.name}: rows of its journals are missing or twice")
    order = places.to_numpy().astype(np.int64)
    done = 0
    for journal, table in zip(journals, segment.frames, strict=True):
        start = leaves_start(segment.dataset, journal)
        before = np.concatenate([np.frombuffer(start, np.uint8).reshape(1, -1), table.chain])
        first_frame = 0
        for frames in _frame_slices(table.rows):
            rows = table.rows[first_frame : first_frame + frames]
            part = lines.taken(order[done : done + int(rows.sum())])
            found = frame_hashes(part, rows, before[first_frame:], table.blinding, first_frame + 1)
            expected = table.chain[first_frame : first_frame + frames]
            wrong = np.flatnonzero((found != expected).any(axis=1))
            if len(wrong):
                raise SegmentError(
                    f"segment {segment.name}: frame {first_frame + int(wrong[0]) + 1} of journal "
                    f"{journal.writer}.{journal.file} does not give its chain hash"
                )
            done += int(rows.sum())
            first_frame += frames


def leaves_start(dataset: Dataset, journal: SealedJournal) -> bytes:
    """``h_0`` of a journal file in a segment."""
    return first_hash(dataset.name, journal.writer, journal.file, bytes.fromhex(journal.after_hash))


def _expected_ids(journals: tuple[SealedJournal, ...]) -> pa.Array:
    parts = [
        pc.binary_join_element_wise(
            f"{journal.writer}.{journal.file}.", pa.array(np.arange(journal.rows)).cast(pa.string()), ""
        )
        for journal in journals
    ]
    return pa.concat_arrays(parts)


def _frame_slices(rows: npt.NDArray[np.int64]) -> Iterator[int]:
    """How many frames at a time: about two slices' rows, so that as many frames are hashed side by side."""
    frames = total = 0
    for count in rows.tolist():
        if frames and total + count > 2 * SLICE_ROWS:
            yield frames
            frames = total = 0
        frames += 1
        total += count
    if frames:
        yield frames


def frame_hashes(
    lines: Lines, rows: npt.NDArray[np.int64], before: leaves.Hashes, blinding: bytes, number: int
) -> leaves.Hashes:
    """``h_i`` of consecutive frames of *rows* each; the first is *number* and follows ``before[0]``."""
    prefixes = np.empty((len(rows), _PREFIX_BYTES), np.uint8)
    prefixes[:, 0] = 0x10
    prefixes[:, 1:33] = before[: len(rows)]
    salts = [
        hmac.digest(blinding, b"\x11" + struct.pack(">Q", number + at), "sha256") for at in range(len(rows))
    ]
    prefixes[:, 33:] = leaves.as_hashes(salts)
    return sha256_joined(prefixes, lines.data, lines.starts, lines.ends, rows)
