"""What expired left receipts that a stranger can check, and nothing expires against the rules unseen."""

import json
from pathlib import Path

import pytest

from retention.errors import LedgerError, VerificationError
from retention.ledger.entries import Entry, ExpiredEntry, ExpiringEntry, KeyEntry, encode_entry
from retention.times import day_of, iso
from retention.verify import Scope, Verifier
from tests.support.aging import DATASETS, Aging
from tests.support.disk import DAY, HOUR, NOON
from tests.support.independent_store import verify_store

pytestmark = pytest.mark.usefixtures("quick_sync")


@pytest.fixture
def aged(tmp_path: Path) -> Aging:
    """A store with two segments of a day, the first of which is over ninety days old."""
    aging = Aging(tmp_path / "aged")
    aging.store_rows("first")
    aging.go(3 * DAY)
    aging.store_rows("later")
    aging.go_to(NOON + 91 * DAY)
    return aging


def test_an_expiry_with_its_receipts_is_taken(aged: Aging) -> None:
    """What expired by the rules has its receipts, its manifest, and no file."""
    assert verify_store(aged.root).sealed["coverage"][0].expiring is None

    expired = aged.expire()

    ledger = verify_store(aged.root)
    assert len(expired) == 1
    assert [one.day_key for one in ledger.sealed["coverage"] if one.expiring] == ["shredded"]


def appended(aging: Aging, *entries: Entry) -> None:
    """The confirmed time and *entries* in the ledger, and a checkpoint: by whoever holds the key."""
    aging.seal_heads()
    with aging.store.ledger() as ledger:
        ledger.append(list(entries))
        aging.store.sealer(ledger, []).sign_heads()


def receipts(aging: Aging, sequence: int, confirmed: int, days: int) -> list[Entry]:
    """What an expiry enters."""
    with aging.store.ledger() as ledger:
        manifest = ledger.state.sealed["coverage"][sequence].manifest.hex()
    said = {"time": iso(aging.now), "dataset": "coverage", "sequence": sequence}
    return [
        ExpiringEntry(**said, manifest=manifest, confirmed=iso(confirmed), retention_days=days),
        ExpiredEntry(**said, day_key="kept"),
    ]


def with_rows(aging: Aging) -> int:
    """Number of the first segment of coverage that has rows."""
    aging.store.catalogue.refresh()
    return next(one for one in aging.store.catalogue.sealed("coverage") if one.present).manifest.sequence


def test_a_file_without_its_receipt_is_refused(aged: Aging) -> None:
    """``expired`` without the file gone, or the file gone without ``expired``, does not fit."""
    sequence = with_rows(aged)
    appended(aged, *receipts(aged, sequence, aged.now, 90))
    with pytest.raises(ValueError, match=r"coverage/0000000.: a file where there should be none"):
        verify_store(aged.root)

    (aged.root / f"segments/coverage/{sequence:08d}.segment").unlink()

    verify_store(aged.root)


def test_an_expiry_that_was_begun_is_refused(aged: Aging) -> None:
    """``expiring`` whose ``expired`` never came is named."""
    sequence = with_rows(aged)
    appended(aged, receipts(aged, sequence, aged.now, 90)[0])
    (aged.root / f"segments/coverage/{sequence:08d}.segment").unlink()

    with pytest.raises(ValueError, match="has no receipt that it did"):
        verify_store(aged.root)


def raw(entry: Entry, **changes: object) -> bytes:
    """The line of *entry* with other members."""
    return json.dumps({**json.loads(encode_entry(entry)), **changes}, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"retention_days": 89}, "expires after 89 days, under the floor"),
        ({"retention_days": 92}, "expires before its days are over"),
        ({"confirmed": iso(NOON + 91 * DAY - 1)}, "rests on another time than heads confirmed last"),
        ({"confirmed": iso(NOON + 91 * DAY + 1)}, "rests on another time than heads confirmed last"),
        ({"confirmed": iso(NOON)}, "rests on another time than heads confirmed last"),
        ({"manifest": "0" * 64}, "expires under another manifest"),
        ({"sequence": 99}, "was never sealed"),
    ],
)
def test_an_expiry_against_the_rules_is_refused(
    aged: Aging, changes: dict[str, object], message: str
) -> None:
    """Under the floor, too early, by another time or of another segment: refused at its entry, by both."""
    aged.seal_heads()
    line = raw(receipts(aged, with_rows(aged), aged.now, 90)[0], **changes)
    with (aged.root / "ledger/entries").open("ab") as entries:
        entries.write(line + b"\n")

    with pytest.raises(ValueError, match=message):
        verify_store(aged.root)
    with aged.store.ledger() as ledger, pytest.raises(LedgerError):
        ledger.state.apply(line)


@pytest.fixture
def ahead(tmp_path: Path) -> Aging:
    """A store whose clock was thirty days ahead, and which let a segment expire by its sealing alone."""
    aging = Aging(tmp_path / "ahead", wrong=30 * DAY)
    aging.store_rows("ahead")
    aging.go_to(NOON + 91 * DAY + HOUR)
    aging.set_clock(0)
    sequence = with_rows(aging)
    appended(aging, *receipts(aging, sequence, aging.now, 90))
    (aging.root / f"segments/coverage/{sequence:08d}.segment").unlink()
    return aging


def test_rows_of_a_clock_that_was_ahead_are_kept(ahead: Aging) -> None:
    """Its days run from ``until``, where that is later than its sealing: an earlier expiry is refused."""
    with pytest.raises(ValueError, match="expired before its days were over"):
        verify_store(ahead.root)


def test_rows_of_a_clock_that_was_ahead_are_kept_for_us(ahead: Aging) -> None:
    """The product's own verification refuses it too."""
    with pytest.raises(VerificationError, match="it expired at"):
        verify(ahead)


def verify(aging: Aging, *, deep: bool = False) -> None:
    """The product's own verification."""
    verifier = Verifier(
        root=aging.root,
        created=aging.store.created,
        datasets=DATASETS,
        day_keys=aging.store.day_keys,
        scope=Scope(deep=deep),
    )
    list(verifier.checks())


@pytest.fixture
def late(aged: Aging) -> Aging:
    """The store when its first day is over and its keys are shredded, and a journal of that day turns up."""
    aged.expire()
    aged.set_clock(HOUR - 91 * DAY)
    aged.write("late")
    aged.set_clock(0)
    return aged


def test_rows_that_come_late_have_another_key(late: Aging) -> None:
    """They are sealed under a second key of their day, which counts for the segments behind its entry."""
    late.seal()

    ledger = verify_store(late.root)
    keys = ledger.vrf["coverage", "2026-03-01"]
    first, *_, newest = (one.entry for one in ledger.sealed["coverage"])
    assert late.texts() == {"later", "late"}
    assert len(keys) == 2
    assert ledger.vrf_at("coverage", "2026-03-01", first) == keys[0][1]
    assert ledger.vrf_at("coverage", "2026-03-01", newest) == keys[1][1]
    verify(late, deep=True)


def test_rows_that_come_late_are_sealed_after_a_cut(late: Aging) -> None:
    """A sealing that ended between the second key and the checkpoint is done anew at the next start."""
    with late.store.ledger() as ledger:
        key = late.store.day_keys.make("coverage", day_of(NOON))
        said = {"time": iso(late.now), "dataset": "coverage", "day": day_of(NOON).isoformat()}
        ledger.append([KeyEntry(**said, action="vrf", public=key.vrf.public.hex())])

    late.seal()

    assert late.texts() == {"later", "late"}
    verify_store(late.root)
    verify(late, deep=True)
