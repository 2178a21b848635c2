"""Times as the store writes them in manifests and the ledger: as in lines (FORMAT.md 1.2).

Rules:
    1. Six digits and ``Z``, always; so texts compare as the times do.
"""

import datetime as dt

US_PER_DAY = 86_400_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


def iso(microseconds: int) -> str:
    """UTC µs as text, ``2026-11-22T10:15:30.000000Z``."""
    return (_EPOCH + dt.timedelta(microseconds=microseconds)).strftime(_FORM)


def from_iso(text: str) -> int:
    """The reverse; ``ValueError`` for any other spelling."""
    moment = dt.datetime.strptime(text, _FORM).replace(tzinfo=dt.UTC)
    microseconds = (moment - _EPOCH) // dt.timedelta(microseconds=1)
    if iso(microseconds) != text:
        raise ValueError(f"expected a time like {_EPOCH.strftime(_FORM)}, found {text}")
    return microseconds


def day_of(microseconds: int) -> dt.date:
    """The UTC day."""
    return (_EPOCH + dt.timedelta(microseconds=microseconds)).date()


def start_of(day: dt.date) -> int:
    """The first microsecond of the UTC day *day*."""
    return (day - _EPOCH.date()).days * US_PER_DAY
