"""How long segments are kept: never under the floor, and never by the local clock."""

import pytest

from retention.errors import StoreError
from retention.leaves import EMPTY_ROOT
from retention.ledger.state import FLOOR_DAYS, SealedState
from retention.periods import days_of, decide
from retention.segment.manifest import Manifest
from retention.times import iso
from tests.support.disk import DAY, HOUR, NOON


def manifest(until: int) -> Manifest:
    """Of a segment that ends at *until*, UTC µs."""
    return Manifest(
        format=1,
        dataset="flow",
        sequence=7,
        kind="live",
        schema=1,
        encoder=1,
        subject_rule=1,
        day="2026-03-01",
        epoch=0,
        from_=iso(NOON),
        until=iso(until),
        count=3,
        subjects=1,
        root=EMPTY_ROOT.hex(),
        size=1234,
        journals=(),
        sealed=iso(NOON),
        clock="unconfirmed",
        by="test",
    )


def state(proven_at: int | None) -> SealedState:
    """Of a segment that existed at the confirmed time *proven_at*."""
    return SealedState(manifest=b"", entry=1, proven_at=proven_at)


@pytest.mark.parametrize(
    ("dataset", "days"),
    [
        ("flow", 97),
        ("dns", 97),
        ("anything", 97),
        ("auth", 104),
        ("lease", 104),
        ("nat", 104),
        ("coverage", 104),
        ("audit", 1096),
    ],
)
def test_what_is_not_configured_has_its_default(dataset: str, days: int) -> None:
    """97 days; a week more for what proves others; three years for the register of disclosures."""
    assert days_of(dataset, {}) == days
    assert days_of(dataset, {dataset: 365}) == 365


@pytest.mark.parametrize("days", [-1, 0, 1, FLOOR_DAYS - 1])
def test_fewer_days_than_the_floor_are_refused(days: int) -> None:
    """A configured number below 90 is refused in words; it is not raised in silence."""
    with pytest.raises(StoreError, match=f"retention of flow: expected at least 90 days, found {days}"):
        days_of("flow", {"flow": days})

    assert days_of("flow", {"flow": FLOOR_DAYS}) == FLOOR_DAYS


@pytest.mark.parametrize(
    ("until", "proven_at", "due"),
    [
        (NOON, NOON + HOUR, NOON + HOUR + 97 * DAY),
        (NOON + HOUR, NOON, NOON + HOUR + 97 * DAY),
        (NOON - 365 * DAY, NOON, NOON + 97 * DAY),
        (NOON + 365 * DAY, NOON, NOON + (365 + 97) * DAY),
    ],
    ids=["proven-later", "ends-later", "clock-was-behind", "clock-was-ahead"],
)
def test_days_count_from_the_later_moment(until: int, proven_at: int, due: int) -> None:
    """From the end of its period or from the first confirmed time, whichever is later; to the microsecond."""
    before, at = (decide(manifest(until), state(proven_at), 97, due + one) for one in (-1, 0))

    assert (before.expires, before.due) == (False, due)
    assert (at.expires, at.due) == (True, due)
    assert (at.name, at.rows, at.size) == ("flow/00000007", 3, 1234)
    assert iso(due) in before.why
    assert iso(due) in at.why


def test_without_a_confirmed_time_nothing_expires() -> None:
    """Neither when the time now is not confirmed nor when none was since the sealing; each is said."""
    now_unknown = decide(manifest(NOON), state(NOON), 97, None)
    never_proven = decide(manifest(NOON), state(None), 97, NOON + 9999 * DAY)

    assert (now_unknown.expires, now_unknown.due) == (False, NOON + 97 * DAY)
    assert "the time now is not confirmed" in now_unknown.why
    assert (never_proven.expires, never_proven.due) == (False, None)
    assert "no time was confirmed since it was sealed" in never_proven.why
