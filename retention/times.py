"""Times as the store writes them in manifests and the ledger: as in lines (FORMAT.md 1.2).

Rules:
    1. Six digits and ``Z``, always; so texts compare as the times do.
"""

import datetime as dt

US_PER_DAY = 86_400_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


def iso(microseconds: int) -> str:
    """UTC µs as text, ``2026-11-22T10:15:30.000000Z``."""
    moment = _EPOCH + dt.timedelta(microseconds=microseconds)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_iso(text: str) -> int:
    """The reverse; ``ValueError`` for any other spelling."""
    microseconds = (dt.datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND if text.endswith("Z") else -1
    if microseconds < 0 or iso(microseconds) != text:
        raise ValueError(f"expected a time like {iso(0)}, found {text}")
    return microseconds


def day_of(microseconds: int) -> dt.date:
    """The UTC day."""
    return (_EPOCH + dt.timedelta(microseconds=microseconds)).date()


def start_of(day: dt.date) -> int:
    """The first microsecond of the UTC day *day*."""
    return (day - _EPOCH.date()).days * US_PER_DAY
