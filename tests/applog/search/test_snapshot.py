"""What is stored, at one moment: nothing twice, nothing left out in silence."""

from pathlib import Path

import pytest

from applog.search.snapshot import sources_of
from retention.records import COVERAGE, Coverage
from tests.support.arranged import arranged
from tests.support.disk import DAY, NOON
from tests.support.sealed import SealedStore

FIRST = [Coverage(timestamp=NOON, end=NOON + 10, source="s", reason="first")]
SECOND = [Coverage(timestamp=NOON + DAY, source="s", reason="second")]


@pytest.fixture
def made(tmp_path: Path) -> SealedStore:
    """Two segments, a day apart."""
    return arranged(tmp_path / "store", "segments", COVERAGE, FIRST, SECOND)


def names(made: SealedStore, since: int | None = None, until: int | None = None) -> list[str]:
    """What would be searched."""
    return [source.name for source in sources_of(made.store, COVERAGE, since, until).sources]


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, [0, 1]),
        (NOON + 10, None, [0, 1]),
        (NOON + 11, None, [1]),
        (None, NOON + DAY, [0]),
        (None, NOON, []),
        (NOON + DAY + 1, None, []),
    ],
)
def test_segments_outside_the_range_are_left_out(
    made: SealedStore, since: int | None, until: int | None, expected: list[int]
) -> None:
    """By the times of their manifests; what is stored altogether is said all the same."""
    snapshot = sources_of(made.store, COVERAGE, since, until)

    segments = [f"coverage/{number:08d}" for number, _ in enumerate(made.store.catalogue.sealed("coverage"))]
    filled = [one.manifest.name for one in made.store.catalogue.sealed("coverage") if one.manifest.count]
    assert [source.name for source in snapshot.sources] == [filled[number] for number in expected]
    assert set(filled) <= set(segments)
    assert (snapshot.first, snapshot.last) == (NOON, NOON + DAY)
    assert (snapshot.expired, snapshot.damages) == ((), ())


def test_journals_are_a_source_behind_the_segments(tmp_path: Path) -> None:
    """What is not sealed yet is searched with what is."""
    half = arranged(tmp_path / "store", "half", COVERAGE, FIRST, SECOND)

    snapshot = sources_of(half.store, COVERAGE)

    assert [source.segment for source in snapshot.sources] == ["coverage/00000000", None]
    assert [source.count for source in snapshot.sources] == [1, 1]


def test_a_store_without_records_has_no_times(tmp_path: Path) -> None:
    """Nothing is stored: no source, no range."""
    empty = arranged(tmp_path / "store", "journal", COVERAGE, [], [])

    snapshot = sources_of(empty.store, COVERAGE)

    assert (snapshot.sources, snapshot.first, snapshot.last) == ((), None, None)


def test_what_was_deleted_in_its_time_has_expired(made: SealedStore) -> None:
    """Counted where the range meets it, and only there; what remains is where the stored range begins."""
    first = next(one for one in made.store.catalogue.sealed("coverage") if one.manifest.count)
    first.path.unlink()
    made.clock.move(91 * DAY)

    asked = sources_of(made.store, COVERAGE, NOON, None)
    whole, later = sources_of(made.store, COVERAGE), sources_of(made.store, COVERAGE, NOON + DAY, None)

    assert [manifest.name for manifest in asked.expired] == [first.manifest.name]
    assert asked.damages == ()
    assert whole.expired == later.expired == ()
    assert whole.first == NOON + DAY


def test_what_is_gone_before_its_time_is_damage(made: SealedStore) -> None:
    """A file that is missing within the 90 days cannot have expired: it is said, not passed over."""
    first = next(one for one in made.store.catalogue.sealed("coverage") if one.manifest.count)
    first.path.unlink()

    snapshot = sources_of(made.store, COVERAGE, NOON, None)

    assert snapshot.expired == ()
    assert [str(damage) for damage in snapshot.damages] == [
        f"segment {first.manifest.name}: its file is missing, and it cannot have expired yet"
    ]
