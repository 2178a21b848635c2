"""Deletion on time: never early whatever the clocks say, with a receipt, finished after every power cut."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from retention.errors import ClockError, LedgerError, StoreError
from retention.ledger.entries import Entry, ExpiredEntry, ExpiringEntry
from retention.ntp import NtpAnswer, TimeSources
from retention.records import AUDIT, COVERAGE
from retention.times import from_iso, iso
from tests.support.aging import A_YEAR, Aging
from tests.support.disk import DAY, HOUR, NOON, SECOND

pytestmark = pytest.mark.usefixtures("quick_sync")

FIRST = "coverage/00000000"


@pytest.fixture
def aging(tmp_path: Path) -> Aging:
    """A new store at noon, 1 March 2026, whose sources tell the truth."""
    return Aging(tmp_path / "store")


# What expires, and when


def test_a_segment_expires_on_its_day_and_not_before(aging: Aging) -> None:
    """A microsecond before its 90 days are over it is kept; then file and key go, and the manifest stays."""
    aging.store_rows("old")
    aging.go(DAY)
    aging.store_rows("new")
    manifest = aging.segment(FIRST).with_suffix(".manifest").read_bytes()
    aging.go_to(aging.due(FIRST) - 1)

    before = aging.expire()
    there = aging.texts()
    aging.go(1)
    at = aging.expire()

    assert (before, there) == ([], {"old", "new"})
    assert at == [FIRST]
    assert aging.now == NOON + 90 * DAY + 1
    assert not aging.segment(FIRST).exists()
    assert aging.segment(FIRST).with_suffix(".manifest").read_bytes() == manifest
    assert not aging.has_key(COVERAGE, NOON)
    assert aging.texts() == {"new"}


def test_receipts_are_in_the_signed_ledger(aging: Aging) -> None:
    """``expiring`` and ``expired`` stand there once each, under the checkpoint, on a confirmed time."""
    aging.store_rows("old")
    aging.go(100 * DAY)

    aging.expire()
    again = aging.expire()

    expiring = next(one for one in aging.entries() if isinstance(one, ExpiringEntry))
    assert again == []
    assert aging.receipts() == [(FIRST, "expiring 90"), (FIRST, "expired shredded")]
    assert expiring.confirmed == iso(aging.now)
    assert aging.signed().state_of("coverage", 0).expired


def test_each_dataset_has_its_own_retention(aging: Aging) -> None:
    """Coverage goes after its 90 days, audit after its 100; without configuration after 104 and 1096."""
    aging.store_rows("gap")
    aging.store_rows("look", dataset=AUDIT)
    configured = aging.dry_run()
    aging.retention = {}
    default = aging.dry_run()

    days = [(one.due or 0) // DAY - NOON // DAY for found in (configured, default) for one in found.values()]

    assert days == [90, 100, 104, 1096]


def contents(root: Path) -> dict[Path, bytes]:
    """Every file below *root*."""
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_dry_run_changes_nothing(aging: Aging) -> None:
    """It decides as the real one does, and no byte of the store is another."""
    aging.store_rows("old")
    aging.go(100 * DAY)
    before = contents(aging.root)

    decisions = aging.dry_run()

    assert decisions[FIRST].expires
    assert decisions[FIRST].rows == 1
    assert decisions[FIRST].size == aging.segment(FIRST).stat().st_size
    assert contents(aging.root) == before
    assert aging.expire() == [FIRST]


def test_periods_without_rows_never_expire(aging: Aging) -> None:
    """There is nothing to delete of them: no decision, no receipt."""
    aging.go(3 * DAY)
    aging.seal()
    aging.go(200 * DAY)

    assert aging.dry_run() == {}
    assert aging.expire() == []
    assert aging.receipts() == []


@pytest.mark.parametrize("days", [89, 1, 0, -5])
def test_a_setting_below_the_floor_is_refused(aging: Aging, days: int) -> None:
    """Nothing is decided, let alone deleted, under a retention of fewer than 90 days."""
    aging.store_rows("old")
    aging.go(1000 * DAY)
    aging.retention = {"coverage": days}

    with pytest.raises(StoreError, match=f"retention of coverage: expected at least 90 days, found {days}"):
        aging.expire()

    assert aging.texts() == {"old"}


def test_a_misspelt_dataset_is_refused(aging: Aging) -> None:
    """A retention for a dataset that nobody knows would leave another one kept for less."""
    aging.retention = {"coverages": 400}

    with pytest.raises(StoreError, match="retention of coverages: expected one of the datasets"):
        aging.expire()


# Clocks that are wrong


def test_a_clock_set_back_an_hour_changes_nothing(aging: Aging) -> None:
    """Rows from before and after the step each keep their full time."""
    aging.store_rows("before")
    aging.set_clock(-HOUR)
    aging.store_rows("after")
    aging.go_to(aging.due(FIRST) - 1)
    early = aging.expire()

    aging.go(1)
    first = aging.expire()
    aging.go(HOUR)
    second = aging.expire()

    assert early == []
    assert first == [FIRST]
    assert second == ["coverage/00000001"]


def test_a_clock_a_year_ahead_deletes_nothing_by_itself(aging: Aging) -> None:
    """Without sources the local clock's word counts for nothing, and that is said."""
    aging.store_rows("old")
    aging.lose_sources()
    aging.set_clock(A_YEAR)

    expired = aging.expire()

    assert expired == []
    assert aging.texts() == {"old"}
    assert aging.dry_run()[FIRST].why.endswith("the time now is not confirmed")


def test_a_clock_a_year_ahead_deletes_nothing_against_the_sources(aging: Aging) -> None:
    """With sources the true time counts: kept now, and deleted when it is due by them."""
    aging.store_rows("old")
    aging.set_clock(A_YEAR)

    early = aging.expire()
    aging.go_to(aging.due(FIRST))
    late = aging.expire()

    assert (early, late) == ([], [FIRST])
    assert aging.now == NOON + 90 * DAY + 1


def test_rows_stored_while_the_clock_was_ahead_are_kept_longer(aging: Aging) -> None:
    """Their period ends in the future, and their days count from there: late, never early."""
    aging.set_clock(A_YEAR)
    aging.store_rows("old")
    (name,) = aging.dry_run()
    aging.set_clock(0)
    aging.go(200 * DAY)

    early = aging.expire()
    aging.go_to(aging.due(name))
    late = aging.expire()

    assert (early, late) == ([], [name])
    assert aging.now == NOON + A_YEAR + 90 * DAY + 1


@pytest.mark.parametrize("known", [True, False], ids=["sources-answered", "no-sources-then"])
def test_rows_stored_while_the_clock_was_behind_do_not_expire_early(aging: Aging, known: bool) -> None:
    """A clock a year behind is corrected: their days count from the first confirmed time, not from its."""
    if not known:
        aging.lose_sources()
    aging.set_clock(-A_YEAR)
    aging.store_rows("old")
    sealed_at = aging.now
    aging.trust()
    aging.set_clock(0)
    aging.go(HOUR)
    aging.store_rows("new")

    first_chance = aging.expire()
    aging.go_to(NOON + 90 * DAY)
    early = aging.expire()
    due = aging.due(FIRST)
    aging.go_to(due)
    late = aging.expire()

    assert (first_chance, early) == ([], [])
    assert due == (sealed_at if known else sealed_at + HOUR + 1) + 90 * DAY
    assert FIRST in late


def test_without_sources_ever_nothing_expires(aging: Aging) -> None:
    """Three years without a confirmed time delete nothing; then the days begin to count."""
    aging.lose_sources()
    aging.store_rows("old")
    aging.go(3 * A_YEAR)

    never = aging.dry_run()[FIRST]
    expired = aging.expire()
    aging.trust()
    aging.seal()
    counting = aging.dry_run()[FIRST]

    assert (never.expires, never.due) == (False, None)
    assert expired == []
    assert (counting.expires, counting.due) == (False, aging.now + 90 * DAY)


def sources(*offsets: int | None) -> Callable[[Aging], TimeSources]:
    """Time servers that are so far off, µs, or silent."""

    def made(aging: Aging) -> TimeSources:
        def ask(server: str) -> NtpAnswer:
            offset = offsets[int(server)]
            if offset is None:
                raise ClockError(f"{server}: no answer within 2 s")
            return NtpAnswer(aging.now + offset, 0, 1)

        names = tuple(str(number) for number in range(len(offsets)))
        return TimeSources(servers=names, ask=ask, monotonic=lambda: aging.now / SECOND)

    return made


@pytest.mark.parametrize(
    "make",
    [
        sources(0, A_YEAR, A_YEAR),
        sources(A_YEAR, A_YEAR, 0),
        sources(A_YEAR, A_YEAR, None),
        sources(0, 0, A_YEAR, A_YEAR, A_YEAR, None),
        sources(0, 0, 0, A_YEAR, A_YEAR, A_YEAR),
        sources(A_YEAR, A_YEAR + HOUR, A_YEAR + 2 * HOUR),
    ],
    ids=["two-of-three", "two-of-three-first", "one-silent", "half", "split", "all-differ"],
)
def test_sources_that_contradict_one_another_delete_nothing(
    aging: Aging, make: Callable[[Aging], TimeSources]
) -> None:
    """Lying servers that are no majority confirm nothing, so nothing expires."""
    aging.store_rows("old")
    lying = make(aging)
    aging.confirmed = lying.confirm

    expired = aging.expire()

    assert expired == []
    assert aging.texts() == {"old"}
    assert lying.reasons[-1].startswith("no 3 of")


def test_a_time_before_the_ledgers_own_is_not_believed(aging: Aging) -> None:
    """Sources that fall behind what was confirmed before confirm nothing, but for a few seconds."""
    aging.store_rows("old")
    aging.go(100 * DAY)
    aging.seal()
    newest = aging.now

    aging.confirmed = lambda: newest - HOUR
    behind = aging.expire()
    aging.confirmed = lambda: newest - SECOND
    near = aging.expire()

    assert (behind, near) == ([], [FIRST])
    assert aging.entries()


# Keys


def test_the_day_key_goes_with_the_days_last_segment(aging: Aging) -> None:
    """While another segment of the day is there its key stays, and opens it."""
    aging.store_two_of_a_day()
    aging.go_to(aging.due(FIRST))

    first = aging.expire()
    kept = aging.has_key(COVERAGE, NOON)
    left = aging.texts()
    aging.go(HOUR + 1)
    second = aging.expire()

    assert (first, kept, left) == ([FIRST], True, {"noon"})
    assert second == ["coverage/00000001"]
    assert not aging.has_key(COVERAGE, NOON)
    assert [said for _, said in aging.receipts() if said.startswith("expired")] == [
        "expired kept",
        "expired shredded",
    ]


def test_both_segments_of_a_day_at_once(aging: Aging) -> None:
    """The receipt of the last one says that the key is shredded."""
    aging.store_two_of_a_day()
    aging.go(100 * DAY)

    aging.expire()

    assert [said for _, said in aging.receipts()] == [
        "expiring 90",
        "expiring 90",
        "expired kept",
        "expired shredded",
    ]


def test_another_datasets_key_of_the_day_stays(aging: Aging) -> None:
    """Keys are of a dataset and a day."""
    aging.store_rows("gap")
    aging.store_rows("look", dataset=AUDIT)
    aging.go(95 * DAY)

    aging.expire()

    assert (aging.has_key(COVERAGE, NOON), aging.has_key(AUDIT, NOON)) == (False, True)
    assert aging.texts(AUDIT) == {"look"}


def test_an_unsealed_journal_keeps_the_day_key(aging: Aging) -> None:
    """An import that was never finished is sealed under its day's key later; then the key goes with it."""
    aging.store_rows("live")
    with aging.store.writer(COVERAGE, "import") as journal:
        aging.clock.now = NOON + HOUR
        journal.append(COVERAGE.batch([aging.row(COVERAGE, "imported")]))
        aging.go(100 * DAY)
        first = aging.expire()
        kept = aging.has_key(COVERAGE, NOON)
    aging.seal()
    left = aging.texts()
    aging.go(100 * DAY)
    second = aging.expire()

    assert (first, kept, left) == ([FIRST], True, {"imported"})
    assert len(second) == 1
    assert not aging.has_key(COVERAGE, NOON)


def test_a_clock_on_that_day_keeps_the_day_key(aging: Aging) -> None:
    """While the clock stands on the day a writer may need its key yet; put right, the next run shreds it."""
    aging.store_rows("old")
    aging.go(100 * DAY)
    aging.set_clock(-100 * DAY)

    expired = aging.expire()
    kept = aging.has_key(COVERAGE, NOON)
    aging.set_clock(0)
    aging.recover()

    assert (expired, kept) == ([FIRST], True)
    assert not aging.has_key(COVERAGE, NOON)


def test_a_key_that_was_kept_for_a_journal_goes_when_the_journal_does(aging: Aging) -> None:
    """The next run shreds what no segment and no journal of the day needs any more."""
    aging.store_rows("live")
    stray = aging.root / "journals" / "coverage" / "pen" / "00000009.journal.aside"
    stray.write_bytes(b"cannot be read")
    aging.go(100 * DAY)
    aging.expire()
    kept = aging.has_key(COVERAGE, NOON)
    stray.unlink()

    aging.recover()

    assert kept
    assert not aging.has_key(COVERAGE, NOON)


# What somebody else did


def forged(aging: Aging, **other: object) -> ExpiringEntry:
    """An ``expiring`` entry for the first segment, with members exchanged."""
    entry = ExpiringEntry(
        time=iso(aging.now),
        dataset="coverage",
        sequence=0,
        manifest=aging.state(FIRST).manifest.hex(),
        confirmed=iso(NOON + 100 * A_YEAR),
        retention_days=90,
    )
    return msgspec.structs.replace(entry, **other)


def signed_time(aging: Aging, moment: int) -> None:
    """A signed ledger whose newest confirmed time is *moment*."""
    aging.confirmed = lambda: moment
    aging.seal_heads()


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"retention_days": 89}, "expires after 89 days, expected at least 90"),
        ({"retention_days": 0}, "expires after 0 days, expected at least 90"),
        ({"confirmed": iso(NOON + 90 * DAY)}, "expires before its 90 days are over"),
        ({"manifest": "00" * 32}, "expires under another manifest"),
        ({"sequence": 7}, "was never sealed"),
        ({"sequence": -1}, "was never sealed"),
    ],
)
def test_the_ledger_refuses_a_wrong_expiry(aging: Aging, other: dict[str, object], why: str) -> None:
    """Fewer days than the floor, a time before they are over, another manifest: no such entry is taken."""
    aging.store_rows("old")
    entry = forged(aging, **other)
    signed_time(aging, from_iso(entry.confirmed))

    with aging.store.ledger() as ledger, pytest.raises(LedgerError, match=why):
        ledger.append([entry])

    assert aging.receipts() == []
    assert aging.texts() == {"old"}


@pytest.mark.parametrize("off", [-1, 1])
def test_the_ledger_refuses_an_expiry_on_another_time(aging: Aging, off: int) -> None:
    """It rests on the newest time that heads confirmed, to the microsecond, or on none."""
    aging.store_rows("old")
    signed_time(aging, NOON + 100 * A_YEAR)
    entry = forged(aging, confirmed=iso(NOON + 100 * A_YEAR + off))

    with aging.store.ledger() as ledger, pytest.raises(LedgerError, match="another time than the one"):
        ledger.append([entry])

    assert aging.receipts() == []


def test_the_ledger_refuses_a_second_expiry(aging: Aging) -> None:
    """Neither ``expiring`` nor ``expired`` happens twice, nor ``expired`` without its turn."""
    aging.store_rows("old")
    signed_time(aging, NOON + 100 * A_YEAR)
    expired = ExpiredEntry(time=iso(aging.now), dataset="coverage", sequence=0, day_key="kept")

    cases: tuple[tuple[list[Entry], str], ...] = (
        ([expired], "expired without or after its turn"),
        ([forged(aging), forged(aging)], "expires a second time"),
        ([forged(aging), expired, expired], "expired without or after its turn"),
    )

    for entries, why in cases:
        with aging.store.ledger() as ledger, pytest.raises(LedgerError, match=why):
            ledger.append(entries)

    assert aging.receipts() == []


@pytest.mark.parametrize("finished", [False, True], ids=["expiring", "expired-too"])
def test_lines_appended_by_somebody_else_delete_nothing(
    aging: Aging, finished: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Who may write to the ledger's file, without a key, cannot make us delete for him; it is logged."""
    aging.store_rows("old")
    aging.go(10 * DAY)
    aging.seal()
    aging.forge([forged(aging)])
    if finished:
        aging.forge([ExpiredEntry(time=iso(aging.now), dataset="coverage", sequence=0, day_key="shredded")])

    aging.recover()
    aging.expire()

    assert aging.texts() == {"old"}
    assert aging.has_key(COVERAGE, NOON)
    assert aging.receipts() == []
    assert "behind the checkpoint were set aside: nobody signed them" in caplog.text


def test_an_exchanged_manifest_is_not_followed(aging: Aging) -> None:
    """A manifest that says an earlier end than the one that was sealed deletes nothing."""
    aging.set_clock(A_YEAR)
    aging.store_rows("old")
    (name,) = aging.dry_run()
    path = aging.segment(name).with_suffix(".manifest")
    manifest = msgspec.json.decode(path.read_bytes())
    path.unlink()
    path.write_bytes(msgspec.json.encode(manifest | {"from": iso(NOON - 1), "until": iso(NOON)}))
    aging.go(100 * DAY)

    expired = aging.expire()
    why = aging.dry_run()[name].why
    aging.seal_heads()
    aging.forge([forged(aging, sequence=1, manifest=aging.state(name).manifest.hex())])
    aging.recover()

    assert expired == []
    assert "is not the one that was sealed" in why
    assert aging.segment(name).exists()


def test_a_missing_file_gets_its_receipt_in_time(aging: Aging) -> None:
    """A segment whose file was lost is not expired early by that; when it is due, its key goes too."""
    aging.store_rows("old")
    aging.segment(FIRST).unlink()
    early = aging.expire()
    aging.go(100 * DAY)

    late = aging.expire()

    assert (early, late) == ([], [FIRST])
    assert not aging.has_key(COVERAGE, NOON)


def test_a_file_that_came_back_is_removed_again(aging: Aging) -> None:
    """A back-up laid over the store does not bring back what expired; there is no second receipt."""
    aging.store_two_of_a_day()
    copy = aging.segment(FIRST).read_bytes()
    aging.go_to(aging.due(FIRST))
    aging.expire()
    receipts = aging.receipts()
    aging.segment(FIRST).write_bytes(copy)
    back = aging.texts()

    aging.recover()

    assert back == {"morning", "noon"}
    assert aging.texts() == {"noon"}
    assert not aging.segment(FIRST).exists()
    assert aging.receipts() == receipts


# Begun and not finished


def test_a_file_that_cannot_be_removed_is_tried_again(aging: Aging, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal is named; the receipt waits for the deletion, and the next run finishes it."""
    aging.store_rows("old")
    aging.go(100 * DAY)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted", "x")

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        with pytest.raises(StoreError, match="segments cannot be deleted: Operation not permitted"):
            aging.expire()
    said = aging.receipts()
    aging.expire()

    assert said == [(FIRST, "expiring 90")]
    assert aging.receipts() == [(FIRST, "expiring 90"), (FIRST, "expired shredded")]
    assert aging.texts() == set()


def test_what_was_begun_is_finished_under_another_configuration(
    aging: Aging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer retention, set after a deletion was entered and begun, does not leave it open for ever."""
    aging.store_rows("old")
    aging.go(100 * DAY)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "failed")))
        with pytest.raises(StoreError):
            aging.expire()
    aging.retention = {"coverage": 1000}
    aging.lose_sources()

    aging.recover()

    assert aging.receipts() == [(FIRST, "expiring 90"), (FIRST, "expired shredded")]
    assert not aging.segment(FIRST).exists()
