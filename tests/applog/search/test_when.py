"""Times are read as people in Thailand write them, in one way only, and shown in both calendars."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applog.errors import TimeError
from applog.search.when import DAY_US, parse_span, parse_time, show_short, show_time

BANGKOK = timezone(timedelta(hours=7))
NOW = int(datetime(2026, 11, 22, 10, 15, 30, tzinfo=BANGKOK).timestamp()) * 1_000_000


def us(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, micros: int = 0
) -> int:
    """UTC µs of a Bangkok wall clock, without the module under test."""
    moment = datetime(year, month, day, hour, minute, second, tzinfo=BANGKOK)
    return int(moment.timestamp()) * 1_000_000 + micros


def iso(us_: int) -> str:
    """Back to readable, for the messages of failing tests."""
    return str(datetime.fromtimestamp(us_ / 1_000_000, tz=BANGKOK))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-22", us(2026, 11, 22), us(2026, 11, 23)),
        ("22/11/2569", us(2026, 11, 22), us(2026, 11, 23)),
        ("2569-11-22", us(2026, 11, 22), us(2026, 11, 23)),
        ("22/11/2026", us(2026, 11, 22), us(2026, 11, 23)),
        ("๒๒/๑๑/๒๕๖๙ ๑๐:๑๕:๓๐", us(2026, 11, 22, 10, 15, 30), us(2026, 11, 22, 10, 15, 31)),
        ("2026-11-22 10:15", us(2026, 11, 22, 10, 15), us(2026, 11, 22, 10, 16)),
        ("2026-11-22T10:15:30", us(2026, 11, 22, 10, 15, 30), us(2026, 11, 22, 10, 15, 31)),
        ("31/12/2569", us(2026, 12, 31), us(2027, 1, 1)),
        ("31/12/2569 23:59", us(2026, 12, 31, 23, 59), us(2027, 1, 1)),
        ("1/1/2570", us(2027, 1, 1), us(2027, 1, 2)),
        ("29/02/2567", us(2024, 2, 29), us(2024, 3, 1)),
        ("29/2/2024", us(2024, 2, 29), us(2024, 3, 1)),
        ("2026-11-22T10:15Z", us(2026, 11, 22, 17, 15), us(2026, 11, 22, 17, 16)),
        ("2026-11-22 10:15 +07:00", us(2026, 11, 22, 10, 15), us(2026, 11, 22, 10, 16)),
        ("2026-11-22 10:15-0530", us(2026, 11, 22, 22, 45), us(2026, 11, 22, 22, 46)),
        ("  today ", us(2026, 11, 22), us(2026, 11, 23)),
        ("Yesterday", us(2026, 11, 21), us(2026, 11, 22)),
        ("now", NOW, NOW),
        ("15m", NOW - 900_000_000, NOW - 900_000_000),
        ("2h", us(2026, 11, 22, 8, 15, 30), us(2026, 11, 22, 8, 15, 30)),
        ("7d", us(2026, 11, 15, 10, 15, 30), us(2026, 11, 15, 10, 15, 30)),
        ("๒w", us(2026, 11, 8, 10, 15, 30), us(2026, 11, 8, 10, 15, 30)),
    ],
)
def test_a_time_is_the_whole_of_what_was_written(text: str, start: int, end: int) -> None:
    """A lower bound is the start of the smallest unit written, an upper bound its exclusive end."""
    found = (parse_time(text, now=NOW, upper=False), parse_time(text, now=NOW, upper=True))

    assert tuple(map(iso, found)) == (iso(start), iso(end))


def test_a_fraction_is_kept_to_the_microsecond() -> None:
    """Each digit of a second counts, and its unit is that digit's."""
    second = us(2026, 11, 22, 10, 15, 30)

    assert parse_span("2026-11-22T10:15:30.123456", now=NOW) == (second + 123_456, second + 123_457)
    assert parse_span("2026-11-22T10:15:30.5", now=NOW) == (second + 500_000, second + 600_000)


@pytest.mark.parametrize("hour", [0, 6, 7, 23])
def test_today_is_bangkoks_day_at_every_hour(hour: int) -> None:
    """At 00:30 in Bangkok it is already today there, though yesterday in UTC."""
    now = us(2026, 11, 22, hour, 30)

    assert parse_span("today", now=now) == (us(2026, 11, 22), us(2026, 11, 23))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("22/11/69", "four digits"),
        ("69-11-22", "four digits"),
        ("22/11/69 10:15", "four digits"),
        ("11/22/2026", "a month from 1 to 12, found 22"),
        ("31/04/2569", "no such date"),
        ("29/02/2566", "no such date"),
        ("2568-02-29", "no such date"),
        ("0/1/2569", "no such date"),
        ("2026-11-22 24:00", "no such date or time"),
        ("2026-11-22 10:15:60", "no such date or time"),
        ("2026-11-22 10:60", "no such date or time"),
        ("1969-12-31", "a year from 1970 (2513)"),
        ("31/12/2512", "a year from 1970 (2513)"),
        ("2026-11-22 10:15+15:00", "at most 14 hours"),
        ("2026-11", "expected a date"),
        ("2026-1-2", "expected a date"),
        ("2026/11/22", "expected a date"),
        ("2026-11-22+07:00", "expected a date"),
        ("10:15", "expected a date"),
        ("2026-11-22T10", "expected a date"),
        ("-2h", "expected a date"),
        ("2y", "expected a date"),
        ("", "expected a date"),
        ("٢٠٢٦-١١-٢٢", "expected a date"),
        ("9999999999d", "expected a time since 1970"),
        ("9" * 100 + "d", "at most 64 characters"),
    ],
)
def test_what_is_ambiguous_or_impossible_is_refused(text: str, reason: str) -> None:
    """Nothing is guessed: the message says what was expected."""
    with pytest.raises(TimeError, match="is not a time") as caught:
        parse_time(text, now=NOW, upper=False)

    assert reason in str(caught.value)


def test_a_leap_day_is_judged_after_the_era() -> None:
    """2568 as a common-era year would be a leap year; as Buddhist era, 2025, it is not. 2567 is 2024."""
    assert parse_span("2567-02-29", now=NOW)[0] == us(2024, 2, 29)
    with pytest.raises(TimeError):
        parse_span("29/02/2568", now=NOW)


def test_times_are_shown_in_both_calendars() -> None:
    """Buddhist first, then ISO with its offset; milliseconds are cut, not rounded up."""
    at = us(2026, 11, 22, 10, 15, 30, micros=123_999)

    assert show_time(at) == "22/11/2569 10:15:30.123 (2026-11-22T10:15:30.123+07:00)"
    assert show_short(at) == "22/11/2569 10:15:30"


def test_the_new_year_is_shown_in_bangkok() -> None:
    """The Buddhist year changes at Bangkok's midnight, 17:00 UTC."""
    assert show_short(us(2027, 1, 1) - 1) == "31/12/2569 23:59:59"
    assert show_short(us(2027, 1, 1)) == "01/01/2570 00:00:00"


def test_a_time_beyond_every_calendar_is_still_shown() -> None:
    """A hostile capture may hold the last hours of 9999; a table of results must not fail over it."""
    assert show_time(253_402_300_799_000_000) == "253402300799000000 µs"
    assert show_short(253_402_300_799_000_000) == "253402300799000000 µs"


@given(st.integers(0, 4_102_444_800_000_000))
def test_what_is_shown_can_be_typed(at: int) -> None:
    """The short form, read again, is the second that was shown; the ISO form its millisecond."""
    start, end = parse_span(show_short(at), now=NOW)
    shown = show_time(at).partition("(")[2].rstrip(")")

    assert start <= at < end
    assert parse_span(shown, now=NOW)[0] == at - at % 1000


@given(st.text(alphabet="0123456789๒/-:. TZ+dhmw", max_size=30))
def test_only_time_errors_leave(text: str) -> None:
    """Any text is a time or a TimeError; a time's span is never reversed nor longer than a day."""
    try:
        start, end = parse_span(text, now=NOW)
    except TimeError:
        return

    assert start <= end <= start + DAY_US
