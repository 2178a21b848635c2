"""What is stored, at one moment: nothing twice, nothing left out in silence."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from applog.search.snapshot import sources_of
from retention.catalogue import Sealed
from retention.dataset import Dataset
from retention.errors import LedgerError
from retention.ledger.entries import Entry, SealedEntry
from retention.records import COVERAGE, Coverage
from retention.store import Contents, Store
from tests.support.aging import Aging
from tests.support.arranged import arranged
from tests.support.disk import DAY, NOON, SimulatedClock, flip
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


@pytest.fixture
def aged(tmp_path: Path) -> Aging:
    """The first of two segments expired, as the product deletes; the second was sealed 91 days later."""
    made = Aging(tmp_path / "store")
    made.store_rows("old")
    made.go(91 * DAY)
    made.store_rows("new")
    assert made.expire() == ["coverage/00000000"]
    return made


@pytest.mark.parametrize(
    ("since", "until", "expired"),
    [(None, None, 1), (NOON, None, 1), (NOON + DAY, None, 0), (None, NOON, 0), (None, NOON + 1, 1)],
)
def test_what_was_deleted_in_its_time_has_expired(
    aged: Aging, since: int | None, until: int | None, expired: int
) -> None:
    """Said where the range meets it or is open, and only there; what is stored begins behind it."""
    snapshot = sources_of(aged.store, COVERAGE, since, until)

    assert [manifest.name for manifest in snapshot.expired] == ["coverage/00000000"][:expired]
    assert snapshot.damages == ()
    assert snapshot.first == NOON + 91 * DAY + 1


def segments_of(store: Store, *days: int) -> None:
    """Seal a segment of one record for each of *days*."""
    for day in days:
        store.make_keys_ahead()
        with store.writer(COVERAGE, "pen") as journal:
            journal.append(COVERAGE.batch([Coverage(timestamp=NOON + day * DAY, source="s", reason="r")]))
        store.clock.move(DAY)  # type: ignore[attr-defined]
        with store.ledger() as ledger:
            store.sealer(ledger, (COVERAGE,)).seal(COVERAGE, store.clock())


def filled(store: Store) -> list[Sealed]:
    """Its segments with rows."""
    store.catalogue.refresh()
    return [one for one in store.catalogue.sealed("coverage") if one.manifest.count]


@pytest.mark.parametrize("at", [0, 1, 2], ids=["oldest", "middle", "newest"])
@pytest.mark.parametrize("years", [0, 10], ids=["at once", "much later"])
def test_what_is_gone_without_a_receipt_is_damage(tmp_path: Path, at: int, years: int) -> None:
    """Wherever it lay in the open range, and however old it is: only the ledger says what expired."""
    clock = SimulatedClock()
    store = Store.create(tmp_path / "store", clock)
    segments_of(store, 0, 1, 2)
    gone = filled(store)[at]
    gone.path.unlink()
    clock.move(years * 365 * DAY)

    whole, beside = sources_of(store, COVERAGE), sources_of(store, COVERAGE, None, NOON - DAY)

    assert whole.expired == ()
    assert [str(damage) for damage in whole.damages] == [
        f"segment {gone.manifest.name}: its file is missing, and the ledger does not say that it expired"
    ]
    assert gone.manifest.name not in [source.name for source in whole.sources]
    assert (whole.first, whole.last) == (NOON, NOON + 2 * DAY)
    assert beside.damages == ()


@pytest.mark.parametrize(("since", "until"), [(None, None), (NOON - DAY, NOON - 1)])
def test_a_manifest_that_is_not_as_it_was_sealed_is_damage(
    made: SealedStore, since: int | None, until: int | None
) -> None:
    """In every range, for the times of an altered one may be a lie; its rows are not searched."""
    first, _ = filled(made.store)
    path = first.path.with_suffix(".manifest")
    path.write_bytes(first.encoded.replace(b'"first":"2026-', b'"first":"2025-'))
    made.store.catalogue.refresh()

    snapshot = sources_of(made.store, COVERAGE, since, until)

    assert [str(damage) for damage in snapshot.damages] == [
        f"segment {first.manifest.name}: its manifest is not the one that was sealed"
    ]
    assert first.manifest.name not in [source.name for source in snapshot.sources]
    assert snapshot.first == NOON + DAY


def test_the_newest_manifest_cannot_go_with_its_segment(made: SealedStore) -> None:
    """Nothing on the disk tells of it any more, but the ledger does; nor can all of them go."""
    manifests = sorted(path for path in (made.root / "segments" / "coverage").glob("*.manifest"))
    manifests[-1].unlink()
    manifests[-1].with_suffix(".segment").unlink()

    newest = sources_of(made.store, COVERAGE)
    shutil.rmtree(made.root / "segments" / "coverage")
    everything = sources_of(made.store, COVERAGE)

    (one,), (every,) = newest.damages, everything.damages
    assert str(one) == (
        f"segment coverage/{manifests[-1].stem}: sealed, as the ledger says, but the manifest is missing"
    )
    assert str(every).startswith(f"segment coverage/00000000 to {manifests[-1].stem}: sealed")


def test_a_segment_that_is_being_sealed_is_searched(
    made: SealedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Named, and not in the ledger yet: neither its rows nor its journal's are damage, or there twice."""
    with made.store.ledger() as ledger:
        made.write(COVERAGE, "pen", COVERAGE.batch(SECOND))
        made.clock.move(DAY)
        append = ledger.append

        def cut(entries: Sequence[Entry]) -> None:
            (entry, *_) = entries
            if isinstance(entry, SealedEntry) and made.segment(COVERAGE, entry.sequence).exists():
                raise LedgerError("cut")
            append(entries)

        monkeypatch.setattr(ledger, "append", cut)
        with pytest.raises(LedgerError, match="cut"):
            made.store.sealer(ledger, made.datasets).seal(COVERAGE, made.clock())

        snapshot = sources_of(made.store, COVERAGE)

    assert snapshot.damages == ()
    assert sum(source.count for source in snapshot.sources) == 3
    assert all(source.segment is not None for source in snapshot.sources if source.count)


def test_a_ledger_that_cannot_be_read_is_damage(made: SealedStore) -> None:
    """It is said, nothing counts as expired, and what is there is searched all the same."""
    flip(made.entries, 5)
    before = sources_of(made.store, COVERAGE)
    filled(made.store)[0].path.unlink()

    after = sources_of(made.store, COVERAGE)

    assert [str(damage)[:11] for damage in before.damages] == ["the ledger,"]
    assert [str(damage)[:11] for damage in after.damages] == ["the ledger,", "segment cov"]
    assert len(before.sources) == 2
    assert len(after.sources) == 1


def test_what_expires_meanwhile_has_expired(aged: Aging, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger is asked again for a file that is missing: the receipt may have come since."""
    aged.go(91 * DAY)
    aged.store_rows("newest")
    journal = aged.store.journal

    def expire_first(dataset: Dataset) -> Contents:
        aged.expire()
        return journal(dataset)

    before = sources_of(aged.store, COVERAGE)
    monkeypatch.setattr(aged.store, "journal", expire_first)

    after = sources_of(aged.store, COVERAGE)

    assert (len(before.expired), len(before.sources), before.damages) == (1, 2, ())
    assert (len(after.expired), len(after.sources), after.damages) == (2, 1, ())
    assert before.has_vanished()
    assert not after.has_vanished()
