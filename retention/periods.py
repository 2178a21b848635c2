"""How long segments are kept, and when that is over. Pure.

Rules (FORMAT.md 10.2):
    1. Days count from the later of a segment's ``until`` and the first confirmed time at or behind its
       sealing, up to a confirmed time: the local clock, wrong either way, makes nothing expire early.
    2. Never under ``FLOOR_DAYS``, whatever is configured. A configured number below is refused, not raised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from retention.errors import StoreError
from retention.ledger.state import FLOOR_DAYS, SealedState
from retention.segment.manifest import Manifest
from retention.times import US_PER_DAY, from_iso, iso

DEFAULT_DAYS = 97
RETENTION_DAYS: Mapping[str, int] = MappingProxyType(
    {"auth": 104, "lease": 104, "nat": 104, "coverage": 104, "audit": 1096}
)
"""Days for datasets that differ from ``DEFAULT_DAYS``: what proves outlives what it proves, and the register
of disclosures is kept three years."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What becomes of one sealed segment, and why."""

    name: str
    """``dataset/sequence``."""
    expires: bool
    """Whether it is deleted now."""
    why: str
    """In words, for ``expire --dry-run``."""
    due: int | None
    """When its retention ends, UTC µs. Absent: not known yet."""
    rows: int
    size: int
    """Of its encrypted file, bytes."""


def days_of(dataset: str, configured: Mapping[str, int]) -> int:
    """Days for which *dataset* is kept.

    Raises:
        StoreError: fewer are configured than the law asks for.
    """
    days = configured.get(dataset, RETENTION_DAYS.get(dataset, DEFAULT_DAYS))
    if days < FLOOR_DAYS:
        raise StoreError(f"retention of {dataset}: expected at least {FLOOR_DAYS} days, found {days}")
    return days


def decide(manifest: Manifest, state: SealedState, days: int, confirmed: int | None) -> Decision:
    """Whether a segment that is not expired yet expires at the time *confirmed* (UTC µs). Pure."""
    due = _due(manifest, state, days)
    if due is None:
        expires, why = False, f"no time was confirmed since it was sealed: its {days} days do not count yet"
    elif confirmed is None:
        expires, why = False, f"kept for {days} days, until {iso(due)}; the time now is not confirmed"
    elif confirmed < due:
        expires, why = False, f"kept for {days} days, until {iso(due)}"
    else:
        expires, why = True, f"its {days} days were over at {iso(due)}"
    return Decision(
        name=manifest.name, expires=expires, why=why, due=due, rows=manifest.count, size=manifest.size or 0
    )


def _due(manifest: Manifest, state: SealedState, days: int) -> int | None:
    """When *days* are over, UTC µs; None: the days do not count yet."""
    if state.proven_at is None:
        return None
    return max(from_iso(manifest.until), state.proven_at) + days * US_PER_DAY
