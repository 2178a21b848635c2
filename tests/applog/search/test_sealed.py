"""A sealed segment gives its rows in parts, in their order, and says when it cannot."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from applog.search.sealed import SegmentSource
from retention.errors import KeyMaterialError, SegmentError, VerificationError
from retention.records import COVERAGE, Coverage
from retention.segment import build
from retention.times import from_iso
from tests.support.arranged import arranged
from tests.support.disk import NOON, flip
from tests.support.sealed import SealedStore

ROWS, GROUP = 100, 32


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SealedStore:
    """A segment with 100 rows in row groups of 32."""
    records = [
        Coverage(
            timestamp=NOON + number,
            end=NOON + 2 * number,
            source=f"s{number % 7}",
            reason="r",
            packets=number,
        )
        for number in range(ROWS)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "ROW_GROUP_ROWS", GROUP)
        return arranged(tmp_path_factory.mktemp("sealed") / "store", "segments", COVERAGE, records, [])


def source(made: SealedStore) -> SegmentSource:
    """Its one segment."""
    made.store.catalogue.refresh()
    (one,) = (one for one in made.store.catalogue.sealed("coverage") if one.manifest.count)
    return SegmentSource(made.store, COVERAGE, one)


def stored(made: SealedStore) -> pa.Table:
    """All rows in their order."""
    one = source(made)
    return made.store.segment(COVERAGE, one.sealed).table(COVERAGE.schema.names)


def test_the_manifest_says_what_needs_no_opening(made: SealedStore) -> None:
    """Name, count and times are those of the manifest; the segment may even be gone."""
    one = source(made)

    assert (one.name, one.segment, one.count) == ("coverage/00000000", "coverage/00000000", ROWS)
    assert (one.first, one.last) == (NOON, NOON + 2 * (ROWS - 1))
    assert one.first == from_iso(one.sealed.manifest.first or "")


@pytest.mark.parametrize(
    "rows", [None, range(0), range(1), range(31, 33), range(40, 41), range(5, 100), range(99, 100)]
)
def test_a_part_is_that_part(made: SealedStore, rows: range | None) -> None:
    """Whatever row groups it lies in, coded or not, the rows are the ones that were asked for."""
    columns = ["coverage.source", "coverage.packets", "event.id"]

    with source(made).opened() as opened:
        part = opened.table(columns, rows)

    expected = stored(made).select(columns)
    expected = expected if rows is None else expected.slice(rows.start, len(rows))
    assert part.cast(expected.schema).equals(expected)


@pytest.mark.parametrize("places", [[], [0], [99, 0, 32, 31, 64, 0], list(range(ROWS))])
def test_rows_are_taken_in_the_order_asked(made: SealedStore, places: list[int]) -> None:
    """Across row groups, any order, also twice; in the dataset's own types."""
    with source(made).opened() as opened:
        taken = opened.take(COVERAGE.schema.names, np.array(places, np.int64))

    assert taken.equals(stored(made).take(pa.array(places, pa.int64())))


def test_a_subject_has_its_rows(made: SealedStore) -> None:
    """The index gives exactly the rows of the subject, and none for somebody else."""
    with source(made).opened() as opened:
        found, nobody = opened.rows_of(b"source\x00\x02s3"), opened.rows_of(b"source\x00\x02s9")

    assert found is not None
    assert nobody == range(0)
    names = stored(made)["coverage.source"].to_pylist()
    assert [at for at, name in enumerate(names) if name == "s3"] == list(found)


def test_text_comes_as_dictionaries_where_it_recurs(made: SealedStore) -> None:
    """A comparison costs once per distinct value; event.id, of which every row has its own, is plain."""
    with source(made).opened() as opened:
        table = opened.table(["coverage.source", "event.id", "coverage.packets"])

    assert pa.types.is_dictionary(table.schema.field("coverage.source").type)
    assert table.schema.field("event.id").type == pa.string()
    assert table.schema.field("coverage.packets").type == pa.int64()


def test_a_column_without_values_can_be_read(made: SealedStore) -> None:
    """Nothing of it is stored, coded or not; it is absent in every row."""
    with source(made).opened() as opened:
        table = opened.table(["coverage.detail"], range(3))

    assert table["coverage.detail"].null_count == 3


def test_what_cannot_be_read_is_ours(made: SealedStore, tmp_path: Path) -> None:
    """A changed byte, a missing file and a missing key each raise an error that names what it is."""
    changed, gone, keyless = (made.copied(tmp_path / name) for name in ("changed", "gone", "keyless"))
    flip(changed.segment(COVERAGE, 0), changed.segment(COVERAGE, 0).stat().st_size // 3)
    missing = source(gone)
    gone.segment(COVERAGE, 0).unlink()
    for key in (keyless.root / "keys" / "day").rglob("*.key"):
        key.unlink()

    with pytest.raises(VerificationError), source(changed).opened() as opened:
        opened.take(COVERAGE.schema.names, np.arange(ROWS))
    with pytest.raises(SegmentError, match="coverage/00000000"), missing.opened():
        pass
    with pytest.raises(KeyMaterialError), source(keyless).opened():
        pass
