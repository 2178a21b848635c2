"""Times as manifests and the ledger spell them."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.times import US_PER_DAY, day_of, from_iso, iso, start_of

LATEST = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z."""
moments = st.integers(0, LATEST)


@given(moments)
def test_a_time_comes_back(moment: int) -> None:
    """Every microsecond of 1970 to 9999 has one spelling, which is read as it."""
    assert from_iso(iso(moment)) == moment


@given(moments, moments)
def test_texts_compare_as_times(one: int, two: int) -> None:
    """So times can be held against each other as they are written."""
    assert (iso(one) < iso(two)) == (one < two)


@given(moments)
def test_a_day_holds_its_moments(moment: int) -> None:
    """From its first microsecond to the one before the next day's."""
    begins = start_of(day_of(moment))

    assert begins <= moment < begins + US_PER_DAY
    assert iso(begins).endswith("T00:00:00.000000Z")


def test_the_spelling() -> None:
    """Six digits and Z, always."""
    assert iso(0) == "1970-01-01T00:00:00.000000Z"
    assert iso(1_772_366_400_000_001) == "2026-03-01T12:00:00.000001Z"
    assert day_of(1_772_366_400_000_001) == dt.date(2026, 3, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:00.000000",
        "2026-03-01T12:00:00.000000+00:00",
        "2026-03-01 12:00:00.000000Z",
        "2026-03-01T12:00:00.000Z",
        "1969-12-31T23:59:59.999999Z",
        "2026-02-30T12:00:00.000000Z",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    """What could be two spellings of one moment would make two hashes of it."""
    with pytest.raises(ValueError, match=r"."):
        from_iso(text)
