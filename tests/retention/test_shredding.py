"""Journal key pairs are destroyed when their day is long past and nothing sealed to them is left."""

import datetime as dt
import os
import shutil
from pathlib import Path

import pytest

from retention.errors import StoreError
from retention.ledger.entries import Entry
from retention.shredding import is_past, journal_days, shred_recipients
from retention.times import from_iso
from tests.support.aging import Aging
from tests.support.disk import DAY, NOON, Disk

pytestmark = pytest.mark.usefixtures("quick_sync")

FIRST = dt.date(2026, 3, 1)


@pytest.fixture
def aging(tmp_path: Path) -> Aging:
    """A new store at noon, 1 March 2026."""
    return Aging(tmp_path / "store")


def ledger_time(aging: Aging) -> int:
    """The newest entry's."""
    last: Entry = aging.entries()[-1]
    return from_iso(last.time)


def shred(aging: Aging) -> list[int]:
    """Shred what can be; the days of March whose pairs went."""
    days = shred_recipients(
        aging.store.recipients,
        aging.root / "journals",
        now=aging.clock(),
        ledger_time=ledger_time(aging),
    )
    assert all((day.year, day.month) == (2026, 3) for day in days)
    return [day.day for day in days]


@pytest.mark.parametrize(
    ("day", "clocks", "past"),
    [
        (1, (NOON,), False),
        (1, (NOON + DAY,), False),
        (1, (NOON + 2 * DAY,), True),
        (1, (NOON + 2 * DAY - DAY // 2 - 1,), False),
        (1, (NOON + 2 * DAY - DAY // 2,), True),
        (1, (NOON + 9 * DAY, NOON + DAY), False),
        (1, (NOON + DAY, NOON + 9 * DAY), False),
        (2, (NOON + 2 * DAY,), False),
    ],
)
def test_yesterday_is_not_past(day: int, clocks: tuple[int, ...], past: bool) -> None:
    """A day is past when it lies before yesterday by every clock, in UTC."""
    assert is_past(dt.date(2026, 3, day), *clocks) is past


def test_pairs_of_sealed_days_go(aging: Aging) -> None:
    """Both halves of the days before yesterday are gone once everything is sealed; later ones stay."""
    aging.store_rows("one")
    aging.go(3 * DAY)
    aging.store_rows("two")

    days = shred(aging)

    left = {path.name for path in (aging.root / "keys" / "journal").glob("2026-03-0[1-4].*")}
    assert days == [1, 2]
    assert left == {f"2026-03-0{day}.{half}" for day in (3, 4) for half in ("pub", "key")}
    assert aging.texts() == {"one", "two"}
    assert shred(aging) == []


@pytest.mark.parametrize("where", ["coverage/pen", "unknown/pen", "coverage/import"])
def test_a_journal_keeps_its_pair(aging: Aging, where: str) -> None:
    """A file of the day that is not sealed, of whatever dataset and writer, keeps the pair; others go."""
    aging.write("one")
    found = aging.root / "journals" / "coverage" / "pen"
    if where != "coverage/pen":
        (aging.root / "journals" / where).parent.mkdir(exist_ok=True)
        shutil.move(found, aging.root / "journals" / where)
    aging.go(3 * DAY)

    days = shred_recipients(
        aging.store.recipients, aging.root / "journals", now=aging.now, ledger_time=aging.now
    )

    assert days == [FIRST + dt.timedelta(days=1)]
    assert (aging.root / "keys" / "journal" / f"{FIRST}.key").exists()


@pytest.mark.parametrize("name", ["00000001.journal.aside", "old.journal", "00000001.journal"])
def test_a_journal_put_aside_under_another_name_keeps_its_pair(aging: Aging, name: str) -> None:
    """Somebody who renamed a file to look at it later finds its key."""
    aging.write("one")
    file = next((aging.root / "journals").glob("*/*/*.journal"))
    file.rename(file.with_name(name))

    assert journal_days((aging.root / "journals").glob("*/*")) == {FIRST}


@pytest.mark.parametrize("content", [b"", b"APPLOGJ1", b"\xff" * 5000])
def test_a_journal_that_cannot_be_read_keeps_every_pair(aging: Aging, content: bytes) -> None:
    """It may be of any day, so none is shredded."""
    aging.store_rows("one")
    (aging.root / "journals" / "coverage" / "pen" / "00000009.journal").write_bytes(content)

    days = shred_recipients(
        aging.store.recipients,
        aging.root / "journals",
        now=NOON + 9 * DAY,
        ledger_time=NOON + 9 * DAY,
    )

    assert days == []


@pytest.mark.parametrize(("now", "ledger"), [(9, 1), (1, 9)])
def test_both_clocks_must_have_passed(aging: Aging, now: int, ledger: int) -> None:
    """A clock that jumped ahead shreds nothing while the ledger's newest entry is of another day."""
    aging.store_rows("one")

    days = shred_recipients(
        aging.store.recipients,
        aging.root / "journals",
        now=NOON + now * DAY,
        ledger_time=NOON + ledger * DAY,
    )

    assert days == []


def test_a_torn_end_does_not_keep_a_pair(aging: Aging) -> None:
    """What was set aside of a sealed file is closed for ever: that is intended."""
    aging.store_rows("one")
    (aging.root / "journals" / "coverage" / "pen" / "00000001.tail-500").write_bytes(b"torn")
    aging.go(3 * DAY)
    aging.store_rows("two")

    assert shred(aging) == [1, 2]


def test_writers_go_on_behind_it(aging: Aging) -> None:
    """After a shredding a writer of today writes, and what it writes is read."""
    aging.store_rows("one")
    aging.go(3 * DAY)
    aging.store_rows("two")
    shred(aging)

    aging.write("three")

    assert aging.texts() == {"one", "two", "three"}


def test_the_public_half_goes_first(aging: Aging, disk: Disk) -> None:
    """Cut anywhere, no public half is left without its private one; the next call finishes it."""
    aging.store_rows("one")
    directory = aging.root / "keys" / "journal"
    disk.calls.clear()
    aging.store.recipients.shred(FIRST)
    steps = len(disk.calls)

    for step in range(steps):
        for half in ("pub", "key"):
            (directory / f"{FIRST}.{half}").write_bytes(os.urandom(32))
        disk.fail(step, "failed", times=1)
        with pytest.raises(StoreError, match=f"journal keys of {FIRST} cannot be shredded"):
            shred_recipients(
                aging.store.recipients,
                aging.root / "journals",
                now=NOON + 2 * DAY,
                ledger_time=NOON + 2 * DAY,
            )
        disk.repair()
        assert (directory / f"{FIRST}.key").exists() or not (directory / f"{FIRST}.pub").exists()
        assert shred_recipients(
            aging.store.recipients,
            aging.root / "journals",
            now=NOON + 2 * DAY,
            ledger_time=NOON + 2 * DAY,
        ) in ([FIRST], [])
        assert not list(directory.glob(f"{FIRST}.*"))
    assert steps > 5
