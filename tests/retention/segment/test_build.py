"""Journals become a plaintext: order, sections and span, each against a naive way to say it."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention import leaves
from retention.encoding import encode
from retention.journal.adopt import AdoptedFile
from retention.records import COVERAGE, Coverage
from retention.segment import build as module
from retention.segment.build import body_hashes, build, ranked_subjects, span_of, times_of
from retention.segment.layout import unpack_frames
from tests.support.disk import NOON, NOTES, Note
from tests.support.segments import adopted, beta_of, rows_in, sections_of

Rows = list[tuple[int, str]]
ROWS = st.lists(
    st.tuples(st.integers(NOON, NOON + 3), st.sampled_from(["a", "b", "b" * 300, "ก", '"\\'])),
    min_size=1,
    max_size=60,
)


def naive_order(files: Sequence[AdoptedFile], file_id: bytes) -> list[str]:
    """Lines of all rows by (tag, time, line)."""
    found = []
    for batch in (batch for file in files for batch in file.batches):
        lines = encode(NOTES, batch).to_pylist()
        subjects = NOTES.subjects(batch).to_pylist()
        for line, subject, time in zip(lines, subjects, times_of(batch).tolist(), strict=True):
            found.append((leaves.tag(file_id, beta_of(subject)), time, line.encode()))
    return [line.decode() for _, _, line in sorted(found)]


@settings(max_examples=40, deadline=None)
@given(first=ROWS, second=ROWS, cut=st.integers(0, 60))
def test_rows_are_in_order(first: Rows, second: Rows, cut: int) -> None:
    """By tag, time and line, however many tie; each row of each file once."""
    files = [adopted(first[:cut], first[cut:]), adopted(second, writer="quill")]

    built = build(NOTES, files, beta_of)

    sections, _ = sections_of(built)
    table = rows_in(sections).combine_chunks().to_batches()[0]
    assert encode(NOTES, table).to_pylist() == naive_order(files, built.file_id)
    assert built.rows == len(first) + len(second) == table.num_rows
    assert (built.first, built.last) == (min(times_of(table)), max(times_of(table)))


@settings(max_examples=20, deadline=None)
@given(rows=ROWS)
def test_sections_are_those_of_the_rows(rows: Rows) -> None:
    """Tags, index, counts, blocks and root are made of the rows as they lie there."""
    built = build(NOTES, [adopted(rows)], beta_of)
    sections, _ = sections_of(built)
    batch = rows_in(sections).combine_chunks().to_batches()[0]

    subjects = list(dict.fromkeys(NOTES.subjects(batch).to_pylist()))
    tags = [leaves.tag(built.file_id, beta_of(subject)) for subject in subjects]
    counts = [NOTES.subjects(batch).to_pylist().count(subject) for subject in subjects]
    bodies = leaves.bodies(sections["secret"], encode(NOTES, batch))
    tree = leaves.grow(times_of(batch), bodies, leaves.as_hashes(tags), np.array(counts))
    assert tags == sorted(tags)
    assert sections["tags"] == b"".join(tags)
    assert sections["counts"] == b"".join(count.to_bytes(4, "big") for count in counts)
    assert sections["blocks"] == tree.blocks.tobytes()
    assert (built.root, built.subjects) == (tree.root, len(subjects))
    secret = sections["secret"]
    assert sections["lookup"] == b"".join(leaves.lookup_key(secret, subject) for subject in subjects)


def test_journals_are_listed_with_their_frames() -> None:
    """Each file's frames, rows, hash before it and void hashes; the frame tables are theirs."""
    files = [
        adopted([(NOON, "a")], [(NOON, "b"), (NOON, "a")], void=(b"\7" * 32,)),
        adopted(number=2),
        adopted([(NOON, "c")], writer="quill", number=9),
    ]

    sections, journals = sections_of(build(NOTES, files, beta_of))

    said = [(one.writer, one.file, one.frames, one.rows, one.void) for one in journals]
    assert said == [("pen", 1, 2, 3, ("07" * 32,)), ("pen", 2, 0, 0, ()), ("quill", 9, 1, 1, ())]
    tables = unpack_frames(sections["frames"], journals, "x")
    assert [one.rows.tolist() for one in tables] == [[1, 2], [], [1]]
    assert [one.chain.tobytes() for one in tables] == [file.chain.tobytes() for file in files]
    assert {one.blinding for one in tables} == {files[0].blinding}


def test_every_segment_has_secrets_of_its_own() -> None:
    """The same rows built twice share neither file_id nor secret, and so no tag and no root."""
    one, two = (build(NOTES, [adopted([(NOON, "a")])], beta_of) for _ in range(2))

    assert one.file_id != two.file_id
    assert one.root != two.root
    assert sections_of(one)[0]["secret"] != sections_of(two)[0]["secret"]
    assert sections_of(one)[0]["tags"] != sections_of(two)[0]["tags"]


def test_subjects_are_ranked_by_tag() -> None:
    """Subjects come in the order of their tags, and each row has its subject's place."""
    rng = random.Random(1)
    batch = NOTES.batch(Note(timestamp=NOON, text=rng.choice("abcdefgh")) for _ in range(100))

    subjects, ranks, tags = ranked_subjects(NOTES, batch, bytes(32), beta_of)

    expected = sorted(
        set(NOTES.subjects(batch).to_pylist()), key=lambda one: leaves.tag(bytes(32), beta_of(one))
    )
    assert subjects == expected
    assert [subjects[rank] for rank in ranks] == NOTES.subjects(batch).to_pylist()
    assert [one.tobytes() for one in tags] == [leaves.tag(bytes(32), beta_of(one)) for one in expected]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9, 10, 11])
def test_bodies_do_not_depend_on_slices(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Lines are made slice by slice; salts go on where the slice before ended."""
    batch = NOTES.batch(Note(timestamp=NOON, text=f"{at}") for at in range(10))
    monkeypatch.setattr(module, "SLICE_ROWS", size)

    found = body_hashes(NOTES, batch, bytes(32))

    assert found.tobytes() == leaves.bodies(bytes(32), encode(NOTES, batch)).tobytes()


@pytest.mark.parametrize(
    ("ends", "last"), [([None, None], NOON + 5), ([NOON + 9, None], NOON + 9), ([NOON, NOON + 1], NOON + 5)]
)
def test_the_span_reaches_to_the_last_end(ends: list[Any], last: int) -> None:
    """From the earliest start to the latest start or end, whichever row has it."""
    batch = COVERAGE.batch(
        Coverage(timestamp=NOON + at * 5, end=end, source="x", reason="y") for at, end in enumerate(ends)
    )

    assert span_of(batch) == (NOON, last)


def test_rows_are_parquet_as_specified(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset's columns in schema order, zstd, with statistics, in groups of the size that is fixed."""
    assert module.ROW_GROUP_ROWS == 16_384
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", 16)
    sections, _ = sections_of(build(NOTES, [adopted([(NOON + at, "a") for at in range(40)])], beta_of))

    file = pq.ParquetFile(pa.BufferReader(sections["rows"]))

    groups = [file.metadata.row_group(at) for at in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [16, 16, 8]
    assert file.schema_arrow.names == NOTES.schema.names
    assert {groups[0].column(at).compression for at in range(len(NOTES.schema))} == {"ZSTD"}
    assert groups[0].column(0).is_stats_set
