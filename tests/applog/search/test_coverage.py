"""Every answer says what is known to be missing from its range, and never more than is known."""

from pathlib import Path

import pytest

from applog.search.coverage import NOT_A_LOSS, CoverageStatement, coverage_of
from retention.records import COVERAGE, Coverage
from retention.store import Store
from tests.support.arranged import ARRANGEMENTS, arranged
from tests.support.command import new_store, quickly
from tests.support.disk import DAY, HOUR, NOON, flip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store that noted a loss from noon to one, and one at the moment of two o'clock."""
    found = new_store(tmp_path / "store")
    with found.writer(COVERAGE, "test") as writer:
        writer.append(
            COVERAGE.batch(
                [
                    Coverage(timestamp=NOON, end=NOON + HOUR, source="t", reason="malformed", packets=3),
                    Coverage(timestamp=NOON + 2 * HOUR, source="t", reason="unreadable", bytes=99),
                ]
            )
        )
    return found


@pytest.mark.parametrize(
    ("since", "until", "reasons"),
    [
        (None, None, {"malformed", "unreadable"}),
        (NOON, NOON + HOUR, {"malformed"}),
        (NOON + HOUR // 2, NOON + HOUR // 2 + 1, {"malformed"}),
        (None, NOON, set()),
        (None, NOON + 1, {"malformed"}),
        (NOON + HOUR, None, {"malformed", "unreadable"}),
        (NOON + HOUR + 1, NOON + 2 * HOUR, set()),
        (NOON + 2 * HOUR, NOON + 2 * HOUR + 1, {"unreadable"}),
        (NOON + 2 * HOUR + 1, None, set()),
    ],
    ids=["open", "same", "inside", "before", "first", "last", "between", "moment", "after"],
)
def test_what_overlaps_is_counted(
    store: Store, since: int | None, until: int | None, reasons: set[str]
) -> None:
    """A loss counts where it overlaps the range: its start excluded at the range's end, its end included."""
    found = coverage_of(store, since, until)

    assert set(found.reasons) == reasons
    assert found.records == len(reasons)


def test_counts_are_added_up() -> None:
    """Records and packets of a reason are sums; a reason without packets claims none."""
    statement = CoverageStatement(records=3, reasons={"unreadable": (1, 0), "malformed": (2, 1_234)})

    assert statement.lines() == [
        "coverage: not everything in this range is recorded: malformed (2: 1,234 packets), unreadable (1)",
        "          see: applog search dataset:coverage",
    ]


def test_sums_are_over_records(store: Store) -> None:
    """Two losses of one reason become one figure."""
    with store.writer(COVERAGE, "other") as writer:
        writer.append(COVERAGE.batch([Coverage(timestamp=NOON, source="t", reason="malformed", packets=4)]))

    assert coverage_of(store, None, None).reasons["malformed"] == (2, 7)


def test_frames_that_are_no_traffic_are_no_loss() -> None:
    """ARP is counted in its dataset, but does not make an answer look incomplete."""
    (line,) = CoverageStatement(records=1, reasons={NOT_A_LOSS: (1, 40)}).lines()

    assert line.startswith("coverage: no loss is noted")


def test_nothing_noted_is_not_called_complete() -> None:
    """No loss that is known is said as exactly that."""
    (line,) = CoverageStatement(records=0, reasons={}).lines()

    assert "no loss is noted" in line
    assert "complete" not in line


def test_damage_of_the_coverage_is_said(store: Store) -> None:
    """When the noted losses cannot be read, the answer does not claim that there are none."""
    (path,) = (store.root / "journals" / "coverage" / "test").glob("*.journal")
    flip(path, path.stat().st_size - 20)

    found = coverage_of(store, None, None)

    assert found.records == 0
    assert len(found.lines()) == 1
    assert found.lines()[0].startswith(f"coverage: damaged, so more may be missing: journal {path}")
    assert quickly(store.root, "status").code == 3


def test_what_has_expired_is_not_passed_over() -> None:
    """Coverage records that were deleted in their time may have noted more than what is left."""
    statement = CoverageStatement(records=0, reasons={}, expired=2)

    assert statement.lines() == ["coverage: some of its records have expired, so more may be missing"]


def test_sealed_losses_count_as_those_in_journals(tmp_path: Path) -> None:
    """The same sums wherever the records lie; a segment outside the range is not even opened."""
    losses = [Coverage(timestamp=NOON, end=NOON + HOUR, source="t", reason="malformed", packets=3)]
    later = [Coverage(timestamp=NOON + DAY, source="t", reason="malformed", packets=4)]
    stores = [arranged(tmp_path / name, name, COVERAGE, losses, later).store for name in ARRANGEMENTS]

    whole = [coverage_of(store, None, None).reasons for store in stores]
    late = [coverage_of(store, NOON + HOUR + 1, None).reasons for store in stores]

    assert whole == [{"malformed": (2, 7)}] * 3
    assert late == [{"malformed": (1, 4)}] * 3


def test_a_damaged_segment_of_losses_is_said(tmp_path: Path) -> None:
    """It is named, and the rest still counts."""
    losses = [Coverage(timestamp=NOON, source="t", reason="malformed", packets=3)]
    made = arranged(tmp_path / "store", "half", COVERAGE, losses, losses)
    flip(made.segment(COVERAGE, 0), made.segment(COVERAGE, 0).stat().st_size - 20)

    found = coverage_of(made.store, None, None)

    assert found.reasons == {"malformed": (1, 3)}
    assert len(found.damages) == 1
    assert "00000000.segment" in found.damages[0]
