"""Times as people here write them, and as they are shown to them.

Rules:
    1. Without a zone a time is Asia/Bangkok: +07:00 all year, as since 1920. ``Z`` and offsets are honoured.
    2. A range is ``[since, until)``. What was written stands for the whole of its smallest unit: a day, a
       minute, a second, a digit of a second. As a lower bound it is the first microsecond of that unit, as
       an upper bound the first one after it: ``--since 2026-11-22 --until 2026-11-22`` is that whole day.
    3. ``now`` and ``15m``, ``2h``, ``7d``, ``2w`` (that long before now) are instants, the same both ways.
    4. Years from 2400 are Buddhist era and are converted before the date is checked: 2567 has a 29 February.
    5. Nothing is guessed: two-digit years, month-first dates and impossible dates are refused.
"""

import re
from datetime import UTC, datetime, timedelta

from applog.errors import TimeError

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US

_BANGKOK_US = 7 * HOUR_US
_BUDDHIST_FROM, _BUDDHIST_OFFSET = 2400, 543
_FIRST_YEAR = 1970
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 64
_UNITS_US = {"m": MINUTE_US, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}
_THAI_DIGITS = {ord("๐") + digit: str(digit) for digit in range(10)}

_RELATIVE = re.compile(r"([0-9]+)([mhdw])")
_SHORT_YEAR = re.compile(r"[0-9]{1,2}[/-][0-9]{1,2}[/-][0-9]{1,2}(?![0-9]).*", re.DOTALL)
_CALENDAR = re.compile(
    r"""
    (?: (?P<year>[0-9]{4}) - (?P<month>[0-9]{2}) - (?P<day>[0-9]{2})
      | (?P<day_first>[0-9]{1,2}) / (?P<month_second>[0-9]{1,2}) / (?P<year_last>[0-9]{4}) )
    (?: (?:[Tt]|\s+)
        (?P<hour>[0-9]{1,2}) : (?P<minute>[0-9]{2})
        (?: : (?P<second>[0-9]{2}) (?: \. (?P<fraction>[0-9]{1,6}) )? )?
        \s* (?: (?P<utc>[Zz]) | (?P<sign>[+-]) (?P<zone_hour>[0-9]{2}) :? (?P<zone_minute>[0-5][0-9]) )?
    )?
    """,
    re.VERBOSE,
)


def parse_time(text: str, *, now: int, upper: bool) -> int:
    """The bound that *text* states, UTC µs: the start of what it names, or with *upper* its exclusive end.

    Raises:
        TimeError: it is not one of the forms above, or no such time exists.
    """
    start, end = parse_span(text, now=now)
    return end if upper else start


def parse_span(text: str, *, now: int) -> tuple[int, int]:
    """Start and exclusive end, UTC µs, of what *text* names; an instant is its own end.

    Raises:
        TimeError: as ``parse_time``.
    """
    typed = ascii_digits(text.strip())
    if len(typed) > _LONGEST:
        raise _error(text, f"expected at most {_LONGEST} characters")
    lowered = typed.lower()
    if lowered == "now":
        return now, now
    if lowered in ("today", "yesterday"):
        return _day(now, back=1 if lowered == "yesterday" else 0)
    if relative := _RELATIVE.fullmatch(lowered):
        return _before(text, now, int(relative[1]) * _UNITS_US[relative[2]])
    if calendar := _CALENDAR.fullmatch(typed):
        return _calendar(text, calendar)
    if _SHORT_YEAR.fullmatch(typed):
        raise _error(text, "expected a year of four digits")
    raise _error(text, "expected a date, a date and time, or a time before now")


def ascii_digits(text: str) -> str:
    """*text* with Thai digits written 0 to 9."""
    return text.translate(_THAI_DIGITS)


def show_time(us: int) -> str:
    """Both calendars, Bangkok time: ``22/11/2569 10:15:30.123 (2026-11-22T10:15:30.123+07:00)``."""
    local = _local(us)
    if local is None:
        return f"{us} µs"
    millis = f"{local:%H:%M:%S}.{local.microsecond // 1000:03}"
    return f"{_buddhist_date(local)} {millis} ({local.year:04}-{local:%m-%d}T{millis}+07:00)"


def show_short(us: int) -> str:
    """For tables, Bangkok time to the second: ``22/11/2569 10:15:30``."""
    local = _local(us)
    return f"{us} µs" if local is None else f"{_buddhist_date(local)} {local:%H:%M:%S}"


def _day(now: int, *, back: int) -> tuple[int, int]:
    """The Bangkok day *back* days before that of *now*."""
    local = now + _BANGKOK_US
    start = local - local % DAY_US - back * DAY_US - _BANGKOK_US
    return start, start + DAY_US


def _before(text: str, now: int, length_us: int) -> tuple[int, int]:
    if length_us > now:
        raise _error(text, f"expected a time since {_FIRST_YEAR}")
    return now - length_us, now - length_us


def _calendar(text: str, found: re.Match[str]) -> tuple[int, int]:
    year = int(found["year"] or found["year_last"])
    if year >= _BUDDHIST_FROM:
        year -= _BUDDHIST_OFFSET
    if year < _FIRST_YEAR:
        raise _error(text, f"expected a year from {_FIRST_YEAR} ({_FIRST_YEAR + _BUDDHIST_OFFSET})")
    month = int(found["month"] or found["month_second"])
    day = int(found["day"] or found["day_first"])
    if not 1 <= month <= 12:
        raise _error(text, f"expected a month from 1 to 12, found {month}; the day stands before it")
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    micros = int((found["fraction"] or "").ljust(6, "0"))
    try:
        moment = datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC)
    except ValueError as error:
        raise _error(text, f"there is no such date or time: {error}") from error
    start = (moment - _EPOCH) // timedelta(microseconds=1) - _offset_us(text, found)
    return start, start + _unit_us(found)


def _unit_us(found: re.Match[str]) -> int:
    """Length of the smallest unit that was written."""
    if found["hour"] is None:
        return DAY_US
    if found["second"] is None:
        return MINUTE_US
    unit: int = 10 ** (6 - len(found["fraction"] or ""))
    return unit


def _offset_us(text: str, found: re.Match[str]) -> int:
    if found["utc"]:
        return 0
    if not found["sign"]:
        return _BANGKOK_US
    hours = int(found["zone_hour"])
    if hours > 14:
        raise _error(text, f"expected an offset of at most 14 hours, found {hours}")
    offset = hours * HOUR_US + int(found["zone_minute"]) * MINUTE_US
    return -offset if found["sign"] == "-" else offset


def _local(us: int) -> datetime | None:
    """Bangkok wall clock; None beyond the year 9999, where no calendar here goes."""
    try:
        return _EPOCH + timedelta(microseconds=us + _BANGKOK_US)
    except OverflowError:
        return None


def _buddhist_date(local: datetime) -> str:
    return f"{local:%d/%m}/{local.year + _BUDDHIST_OFFSET}"


def _error(text: str, reason: str) -> TimeError:
    shown = text if len(text) <= 40 else text[:40] + "…"
    return TimeError(f"{shown!r} is not a time: {reason}")
