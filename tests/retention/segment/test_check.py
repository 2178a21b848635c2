"""What the sealer and ``verify --deep`` run: whatever in a segment is not what was sealed is named."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.encoding import encode
from retention.errors import SegmentAlteredError, SegmentError
from retention.journal.frame import first_hash, next_hash
from retention.leaves import as_hashes
from retention.segment import build as building
from retention.segment import check as module
from retention.segment.check import Lines, check_rows, frame_hashes, rows_of_block
from retention.segment.layout import SealedJournal
from retention.times import iso
from tests.support.disk import HOUR, NOON, NOTES, SECOND
from tests.support.segments import (
    BLINDING,
    Sections,
    adopted,
    beta_of,
    parquet,
    rows_in,
    segment_of,
)

ROWS = [(NOON + at // 3, "main" if at % 9 else "other") for at in range(90)]
FILES = [
    adopted(ROWS[:40], ROWS[40:41]),
    adopted(ROWS[41:], writer="quill", number=3),
    adopted(writer="reed"),
]


def rewritten(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Callable[[Sections], None]:
    """Other rows in the file, the rest as it was."""

    def apply(sections: Sections) -> None:
        rows = change(rows_in(sections).to_pylist())
        sections["rows"] = parquet(pa.Table.from_pylist(rows, NOTES.schema))

    return apply


def flipped_in(name: str, at: int) -> Callable[[Sections], None]:
    """A flipped bit in a section."""

    def apply(sections: Sections) -> None:
        data = bytearray(sections[name])
        data[at] ^= 1
        sections[name] = bytes(data)

    return apply


def moved_frame(sections: Sections) -> None:
    """A row that moved from the first frame to the second; they add up as before."""
    data = bytearray(sections["frames"])
    struct.pack_into(">I", data, 32, 39)
    struct.pack_into(">I", data, 32 + 36, 2)
    sections["frames"] = bytes(data)


def test_what_was_sealed_is_taken(tmp_path: Path) -> None:
    """A segment as it was built passes, and the number of its rows is told."""
    assert check_rows(segment_of(tmp_path / "segment", FILES), beta_of) == 90


@pytest.mark.parametrize("size", [1, 2, 7, 89])
def test_slices_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Lines and chains are made in slices; where one ends is not seen."""
    monkeypatch.setattr(module, "SLICE_ROWS", size)

    assert check_rows(segment_of(tmp_path / "segment", FILES), beta_of) == 90


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rewritten(lambda rows: [rows[0] | {"note.number": 7_777}, *rows[1:]]), "rows [0-9]+-[0-9]+: sealed"),
        (rewritten(lambda rows: [*rows[:-1], rows[-1] | {"event.id": "pen.1.999"}]), "rows .*: sealed"),
        (rewritten(lambda rows: [rows[1], rows[0], *rows[2:]]), "rows .*: sealed"),
        (rewritten(lambda rows: [*rows[:-1], rows[-2]]), "rows .*: sealed"),
        (rewritten(lambda rows: [rows[0] | {"@timestamp": None}, *rows[1:]]), "a row has no line"),
        (rewritten(lambda rows: [rows[0] | {"message": ""}, *rows[1:]]), "a row has no line"),
        (flipped_in("secret", 0), "rows .*: sealed"),
        (flipped_in("blocks", 0), "rows .*: sealed"),
        (flipped_in("tags", 5), "root .* its manifest says"),
        (flipped_in("lookup", 0), "its subject index does not find its rows"),
        (flipped_in("frames", 0), "frame 1 of journal pen.1 does not give its chain hash"),
        (flipped_in("frames", 40), "frame 1 of journal pen.1 does not give its chain hash"),
        (moved_frame, "frame 1 of journal pen.1 does not give its chain hash"),
    ],
)
def test_every_change_is_named(tmp_path: Path, change: Callable[[Sections], None], message: str) -> None:
    """A changed row, secret, hash, tag, index or frame: refused, with the segment's name and what it is."""
    segment = segment_of(tmp_path / "segment", FILES, change)

    with pytest.raises(SegmentError, match=f"segment notes/00000000.*{message}"):
        check_rows(segment, beta_of)


def test_the_altered_rows_are_named(tmp_path: Path) -> None:
    """The block of 32 rows around a changed one is named, and the rows named are of one subject."""
    change = rewritten(lambda rows: [*rows[:50], rows[50] | {"note.number": -5}, *rows[51:]])

    with pytest.raises(SegmentAlteredError) as caught:
        check_rows(segment_of(tmp_path / "segment", FILES, change), beta_of)

    assert caught.value.first <= 50 <= caught.value.last
    assert caught.value.last - caught.value.first < 32


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"root": "0" * 64}, "its manifest says"),
        ({"first": iso(NOON - 1)}, "not as its manifest says"),
        ({"last": iso(NOON + HOUR)}, "not as its manifest says"),
        ({"from_": iso(NOON + 1)}, "outside its manifest's"),
        ({"until": iso(NOON + SECOND)}, "outside its manifest's"),
        ({"day": "2026-03-02"}, "not of day 2026-03-02"),
    ],
)
def test_a_manifest_that_says_otherwise_is_named(
    tmp_path: Path, manifest: dict[str, Any], message: str
) -> None:
    """Root, span, ingestion times and day are those of the rows."""
    segment = segment_of(tmp_path / "segment", FILES, **manifest)

    with pytest.raises(SegmentError, match=message):
        check_rows(segment, beta_of)


def test_tags_are_the_subjects(tmp_path: Path) -> None:
    """Tags that another key would give are refused, although every hash fits."""
    segment = segment_of(tmp_path / "segment", FILES)

    with pytest.raises(SegmentError, match="its tags are not those of its rows' subjects"):
        check_rows(segment, lambda subject: beta_of(subject + b"x"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"after_hash": "1" * 64}, "file 1 of journal pen does not follow file 0"),
        ({"file": 9}, "file 9 of journal pen does not follow file 0"),
        ({"writer": "other"}, "journal other is not in its manifest"),
    ],
)
def test_journals_that_say_otherwise_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Writer, file and the hash before it are part of each chain."""
    segment = segment_of(
        tmp_path / "segment", FILES, journals=lambda one: msgspec.structs.replace(one, **changes)
    )

    with pytest.raises(SegmentError, match=message):
        check_rows(segment, beta_of)


@pytest.mark.parametrize("what", ["no-hash", "fewer-tags", "negative-rows", "no-rows-of-a-subject"])
def test_what_a_holder_of_the_key_made_up_is_refused_with_our_error(tmp_path: Path, what: str) -> None:
    """Sections that contradict each other are refused as damage, not by an accident of NumPy."""

    def journals(one: SealedJournal) -> SealedJournal:
        first = one.writer == "pen"
        if what == "no-hash" and first:
            return msgspec.structs.replace(one, after_hash="no hash")
        if what == "negative-rows":
            return msgspec.structs.replace(one, rows=one.rows + (-100 if first else 50))
        return one

    def change(sections: Sections) -> None:
        if what == "no-rows-of-a-subject":
            sections["counts"] = struct.pack(">II", 0, 90)
        if what == "fewer-tags":
            sections["tags"] = sections["tags"][:32]

    with pytest.raises(SegmentError):
        check_rows(segment_of(tmp_path / "segment", FILES, change, journals), beta_of)


def test_another_number_of_blocks_is_refused(tmp_path: Path) -> None:
    """A block more than the rows have is refused."""

    def change(sections: Sections) -> None:
        sections["blocks"] += bytes(32)

    with pytest.raises(SegmentError, match="another number of blocks"):
        check_rows(segment_of(tmp_path / "segment", FILES, change), beta_of)


def test_ties_are_in_the_order_of_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment whose ties were not ordered by line is not as FORMAT.md 7.2 says."""
    monkeypatch.setattr(
        building,
        "_order",
        lambda _, batch, ranks: np.lexsort((-np.arange(len(ranks)), building.times_of(batch), ranks)),
    )
    segment = segment_of(tmp_path / "segment", [adopted([(NOON, "a"), (NOON, "a"), (NOON, "a")])])

    with pytest.raises(SegmentError):
        check_rows(segment, beta_of)


@given(counts=st.lists(st.integers(1, 100), min_size=1, max_size=9))
def test_blocks_have_the_rows_that_are_named(counts: list[int]) -> None:
    """Blocks one after the other name all rows, in order, 32 at most and never of two subjects."""
    expected, start = [], 0
    for count in counts:
        expected += [(at, min(at + 31, start + count - 1)) for at in range(start, start + count, 32)]
        start += count

    assert [rows_of_block(np.array(counts), at) for at in range(len(expected))] == expected


@given(rows=st.lists(st.integers(0, 5), min_size=1, max_size=12), number=st.integers(1, 2**40))
def test_frame_hashes_are_the_chains(rows: list[int], number: int) -> None:
    """Many frames hashed at once give what the journal's own chain gives, frames without rows included."""
    lines = [f'{{"n":{at}}}\n' for at in range(sum(rows))]
    before, place = [first_hash("notes", "pen", 1, bytes(32))], 0
    for at, count in enumerate(rows):
        text = "".join(lines[place : place + count]).encode()
        before.append(next_hash(before[-1], BLINDING, number + at, text))
        place += count

    found = frame_hashes(
        Lines.joined([pa.array(lines, pa.string())]), np.array(rows), as_hashes(before), BLINDING, number
    )

    assert [one.tobytes() for one in found] == before[1:]


def test_the_rows_are_many_enough() -> None:
    """The segment of these tests has ties, two subjects and a block that is not the last of its subject."""
    batch = pa.Table.from_batches([one for file in FILES for one in file.batches])

    assert pc.count_distinct(batch["message"]).as_py() == 2
    assert pc.count_distinct(batch["@timestamp"]).as_py() == 30
    assert len(set(encode(NOTES, batch.combine_chunks().to_batches()[0]).to_pylist())) == 90
