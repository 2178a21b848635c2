"""When something is to be done, moment by moment."""

import dataclasses

import pytest

from applog.keeper.due import (
    GRACE_US,
    HOUR_US,
    LATE_US,
    RETRY_US,
    SEAL_ROWS,
    heads_due,
    midnight_before,
    midnight_due,
    rows_due,
    verify_due,
)
from retention.ledger.entries import HeadsEntry
from retention.ledger.state import LedgerState
from retention.times import iso
from tests.support.disk import DAY, NOON, SECOND

MIDNIGHT = NOON - NOON % DAY
NIGHT = MIDNIGHT - 7 * HOUR_US + int(2.5 * HOUR_US)
"""02:30 in Bangkok, on the Bangkok day of ``MIDNIGHT``."""


def test_the_last_midnight_is_that_of_utc() -> None:
    """At midnight itself it is that one."""
    assert midnight_before(MIDNIGHT) == MIDNIGHT
    assert midnight_before(MIDNIGHT - 1) == MIDNIGHT - DAY


@pytest.mark.parametrize(
    ("now", "through", "tried", "due"),
    [
        (NOON, None, None, True),
        (NOON, MIDNIGHT, None, False),
        (NOON, MIDNIGHT - DAY, None, True),
        (MIDNIGHT + GRACE_US - 1, MIDNIGHT - DAY, None, False),
        (MIDNIGHT + GRACE_US, MIDNIGHT - DAY, None, True),
        (NOON, None, NOON - RETRY_US + 1, False),
        (NOON, None, NOON - RETRY_US, True),
        (NOON, None, NOON + HOUR_US, True),
    ],
    ids=["start", "sealed", "yesterday", "early", "now", "failed", "again", "stepped-back"],
)
def test_midnights(now: int, through: int | None, tried: int | None, due: bool) -> None:
    """Once for each midnight, a little behind it; what failed is tried again after a while."""
    assert midnight_due(now, through, tried) == due


def test_many_rows_do_not_wait_for_midnight() -> None:
    """More than the limit are due, unless that was tried just now."""
    assert rows_due(SEAL_ROWS + 1, NOON, None)
    assert not rows_due(SEAL_ROWS, NOON, None)
    assert not rows_due(SEAL_ROWS + 1, NOON, NOON - SECOND)


@pytest.mark.parametrize(
    ("now", "last", "due"),
    [
        (NIGHT - 1, None, False),
        (NIGHT, None, True),
        (NIGHT + LATE_US - 1, None, True),
        (NIGHT + LATE_US, None, False),
        (NIGHT + SECOND, NIGHT, False),
        (NIGHT + SECOND, NIGHT - 1, True),
        (NIGHT + DAY, NIGHT + SECOND, True),
        (NIGHT + SECOND, NIGHT + DAY, True),
    ],
    ids=["before", "at", "late", "too-late", "done", "older", "next-night", "clock-stepped-back"],
)
def test_nights(now: int, last: int | None, due: bool) -> None:
    """Once a Bangkok night, at its time or a little later, whatever the clock did."""
    assert verify_due(now, "02:30", last) == due


def test_a_verification_that_died_is_tried_again_later() -> None:
    """Not at every look, and not without end."""
    assert not verify_due(NIGHT + SECOND, "02:30", None, NIGHT)
    assert verify_due(NIGHT + RETRY_US, "02:30", None, NIGHT)
    assert not verify_due(NIGHT + LATE_US, "02:30", None, NIGHT)


def heads(confirmed: int | None = None, **changes: object) -> HeadsEntry:
    """What would be signed."""
    entry = HeadsEntry(
        time=iso(NOON),
        confirmed=None if confirmed is None else iso(confirmed),
        datasets={"flow": (1, "00" * 32)},
        journals=(("flow", "capture", 1, 5, "11" * 32),),
    )
    return HeadsEntry(**{**{name: getattr(entry, name) for name in entry.__struct_fields__}, **changes})


def test_heads_are_signed_when_they_are_news() -> None:
    """A tree or journal that moved, a confirmed time each hour; not the same once more."""
    state = LedgerState(last=heads(), confirmed=None)
    confirmed = dataclasses.replace(state, confirmed=NOON)

    assert heads_due(heads(), LedgerState())
    assert not heads_due(heads(), state)
    assert heads_due(heads(datasets={"flow": (2, "22" * 32)}), state)
    assert heads_due(heads(journals=()), state)
    assert heads_due(heads(NOON), state)
    assert not heads_due(heads(NOON + HOUR_US - 1), confirmed)
    assert heads_due(heads(NOON + HOUR_US), confirmed)
