"""When something is to be done. Pure.

Rules:
    1. A cut at a UTC midnight is made once it is ``GRACE_US`` past: writers have begun new files by then.
    2. What failed, or had to wait, is tried again after ``RETRY_US``, not at every look.
    3. The nightly verification runs once on each Bangkok day, at its time or at the first look behind it; not
       for a time that passed more than ``LATE_US`` ago (a keeper that is started at noon does not catch up).
    4. ``heads`` are signed when there is something new to sign, or a confirmed time to enter each hour.
"""

from retention.ledger.entries import HeadsEntry
from retention.ledger.state import LedgerState
from retention.times import US_PER_DAY, from_iso

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
GRACE_US = 5 * SECOND_US
RETRY_US = 600 * SECOND_US
LATE_US = 2 * HOUR_US
SEAL_ROWS = 400_000
"""Unsealed rows of a dataset that do not wait for midnight."""

_BANGKOK_US = 7 * HOUR_US


def midnight_before(now: int) -> int:
    """The last UTC midnight, UTC µs."""
    return now - now % US_PER_DAY


def midnight_due(now: int, sealed_through: int | None, tried: int | None) -> bool:
    """Whether to seal up to the last midnight.

    *sealed_through* is the cut up to which everything is sealed, *tried* when it was last tried in vain.
    """
    midnight = midnight_before(now)
    if sealed_through is not None and sealed_through >= midnight:
        return False
    return now >= midnight + GRACE_US and _may_try(now, tried)


def rows_due(rows: int, now: int, tried: int | None) -> bool:
    """Whether so many unsealed rows of a dataset are sealed before midnight."""
    return rows > SEAL_ROWS and _may_try(now, tried)


def _may_try(now: int, tried: int | None) -> bool:
    # A clock that stepped back does not make us wait for the time of the failure to come again.
    return tried is None or not 0 <= now - tried < RETRY_US


def verify_due(now: int, at: str, last: int | None, tried: int | None = None) -> bool:
    """Whether the nightly verification of ``HH:MM`` *at* is due.

    *last* is when one was begun that came to its end, *tried* when it was last tried in vain.
    """
    hour, minute = map(int, at.split(":"))
    local = now + _BANGKOK_US
    planned = local - local % US_PER_DAY + (hour * 60 + minute) * 60 * SECOND_US - _BANGKOK_US
    if planned > now:
        planned -= US_PER_DAY
    is_done = last is not None and planned <= last <= now
    return now - planned < LATE_US and not is_done and _may_try(now, tried)


def heads_due(entry: HeadsEntry, state: LedgerState) -> bool:
    """Whether *entry* says something that the ledger does not."""
    last = state.last
    if not isinstance(last, HeadsEntry):
        return True
    if (entry.datasets, entry.journals) != (last.datasets, last.journals):
        return True
    if entry.confirmed is None:
        return False
    return state.confirmed is None or from_iso(entry.confirmed) - state.confirmed >= HOUR_US
