"""An opened segment: any rows, any subject, and nothing that its manifest does not describe."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.errors import RetentionError, SegmentError, VaultDamagedError
from retention.segment import build as module
from retention.segment.reader import NONE, Segment
from tests.support.disk import NOON, NOTES, flip
from tests.support.segments import KEY, Sections, adopted, parquet, rows_in, segment_of

TEXTS = ["main"] * 9 + ["two", "x", "ผู้ใช้"]
ROWS = [(NOON + at, TEXTS[at % len(TEXTS)]) for at in range(100)]
FILES = [adopted(ROWS[:60], ROWS[60:])]


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segment]:
    """A segment of 100 rows in groups of 16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROW_GROUP_ROWS", 16)
        made = segment_of(tmp_path_factory.mktemp("reader") / "segment", FILES)
    yield made
    made.close()


@settings(max_examples=120, deadline=None)
@given(
    bounds=st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted),
    columns=st.permutations(NOTES.schema.names).flatmap(
        lambda names: st.integers(1, len(names)).map(lambda many: names[:many])
    ),
)
def test_ranges_are_slices(segment: Segment, bounds: list[int], columns: list[str]) -> None:
    """Any range of rows, of any columns in any order, is that slice of the whole; empty ranges too."""
    start, stop = bounds

    found = segment.table(columns, range(start, stop))

    assert found.schema.names == columns
    assert found.equals(segment.table(columns).slice(start, stop - start))


def test_the_whole_is_what_was_sealed(segment: Segment) -> None:
    """All rows of both frames, each once, in the dataset's schema."""
    table = segment.table(NOTES.schema.names)

    assert table.schema.equals(NOTES.schema)
    assert sorted(table["note.number"].to_pylist()) == list(range(100))


@pytest.mark.parametrize("text", sorted(set(TEXTS)))
def test_a_subjects_rows_are_found(segment: Segment, text: str) -> None:
    """The range of a subject holds its rows, all of them, and no other."""
    raw = text.encode()

    rows = segment.rows_of(b"source" + len(raw).to_bytes(2, "big") + raw)

    whole = segment.table(["message", "event.id"])
    expected = whole.filter(pc.equal(whole["message"], text))
    assert len(rows) > 0
    assert segment.table(["message", "event.id"], rows).equals(expected)


@pytest.mark.parametrize(
    "subject",
    [b"user\0\4main", b"host\0\4main", b"source\0\4Main", b"source\0\3mai", b"main", b"", b"none\0\0"],
)
def test_no_other_subject_is_found(segment: Segment, subject: bytes) -> None:
    """The same bytes of another kind, or nearly the same ones, find nothing."""
    assert segment.rows_of(subject) == NONE


def test_threads_share_it(segment: Segment) -> None:
    """Threads that read at once get what one alone gets."""
    ranges = [range(at, at + 7) for at in range(0, 90, 3)] * 4

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda rows: segment.table(["event.id"], rows), ranges))

    whole = segment.table(["event.id"])
    assert all(one.equals(whole.slice(rows.start, 7)) for one, rows in zip(found, ranges, strict=True))


def test_unknown_columns_are_refused(segment: Segment) -> None:
    """A column that the dataset does not have is not read as nothing."""
    with pytest.raises((SegmentError, KeyError)):
        segment.table(["message", "no.such"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A segment's file."""
    segment_of(tmp_path / "segment", FILES).close()
    return tmp_path / "segment"


@pytest.mark.parametrize(
    ("manifest", "error"),
    [
        ({"file_id": "0" * 64}, VaultDamagedError),
        ({"schema": 2}, SegmentError),
        ({"encoder": 2}, SegmentError),
        ({"file_id": None}, SegmentError),
    ],
)
def test_another_manifests_file_is_refused(
    tmp_path: Path, manifest: dict[str, Any], error: type[RetentionError]
) -> None:
    """A file of another segment, or of a version that is not read here, is refused at opening."""
    with pytest.raises(error):
        segment_of(tmp_path / "segment", FILES, **manifest)


def test_another_days_key_is_refused(path: Path, segment: Segment) -> None:
    """A wrong key opens nothing."""
    with pytest.raises(VaultDamagedError):
        Segment(path, segment.manifest, NOTES, bytes(32))


def test_any_altered_byte_is_refused(tmp_path: Path) -> None:
    """No byte of the file can change: opening and reading everything refuses it."""
    path = tmp_path / "segment"
    manifest = segment_of(path, FILES).manifest

    for offset in range(0, path.stat().st_size, 29):
        flip(path, offset)
        with pytest.raises(VaultDamagedError):
            Segment(path, manifest, NOTES, KEY).table(NOTES.schema.names)
        flip(path, offset)
    assert Segment(path, manifest, NOTES, KEY).table(["message"]).num_rows == 100


def no_parquet(sections: Sections) -> None:
    """Bytes that are none."""
    sections["rows"] = b"no rows" * 10


def fewer_rows(sections: Sections) -> None:
    """One row less than the manifest says."""
    sections["rows"] = parquet(rows_in(sections)[1:])


def other_columns(sections: Sections) -> None:
    """A column that is not the dataset's, in place of one that is."""
    table = rows_in(sections)
    sections["rows"] = parquet(table.rename_columns([*table.column_names[:-1], "other"]))


def other_types(sections: Sections) -> None:
    """A column of another type."""
    table = rows_in(sections)
    at = table.column_names.index("note.number")
    sections["rows"] = parquet(table.set_column(at, "note.number", table["message"]))


@pytest.mark.parametrize("change", [no_parquet, fewer_rows, other_columns, other_types])
def test_rows_that_are_not_the_datasets_are_refused(tmp_path: Path, change: Any) -> None:
    """What decrypts but is no Parquet, or has other rows or columns, is refused with an error of ours."""
    segment = segment_of(tmp_path / "segment", FILES, change)

    with pytest.raises(SegmentError, match="segment notes/00000000"):
        segment.table(NOTES.schema.names)


def one_less(sections: Sections) -> None:
    """Counts that do not add up to the rows."""
    sections["counts"] = (int.from_bytes(sections["counts"][:4], "big") - 1).to_bytes(4, "big") + sections[
        "counts"
    ][4:]


def one_more_subject(sections: Sections) -> None:
    """A count too many."""
    sections["counts"] += bytes(4)


@pytest.mark.parametrize("change", [one_less, one_more_subject])
def test_counts_that_do_not_fit_are_refused(tmp_path: Path, change: Any) -> None:
    """Counts are those of the manifest, or no subject's rows are given out."""
    segment = segment_of(tmp_path / "segment", FILES, change)

    with pytest.raises(SegmentError, match="its counts"):
        segment.rows_of(b"source\0\4main")


def test_an_index_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """The index has as many subjects as there are, or an error of ours is given."""

    def longer(sections: Sections) -> None:
        sections["lookup"] = bytes(16) * 20 + sections["lookup"]

    segment = segment_of(tmp_path / "segment", FILES, longer)

    with pytest.raises(SegmentError):
        segment.rows_of(b"source\0\4main")
