"""Segments in any order, repeated, overlapping or lying, are put together one way only."""

import random

from hypothesis import given
from hypothesis import strategies as st

from applog.capture.streams import Beginning


def joined(*segments: tuple[int, bytes]) -> bytes:
    """The contiguous beginning after *segments*."""
    beginning = Beginning()
    for position, data in segments:
        beginning.add(position, data)
    return beginning.whole


def test_segments_in_order_are_joined() -> None:
    """One after the other."""
    assert joined((0, b"abc"), (3, b"def")) == b"abcdef"


def test_what_came_early_waits_for_the_gap() -> None:
    """Nothing behind a gap is given out until the gap closes; then all of it is."""
    assert joined((3, b"def"), (9, b"jkl")) == b""
    assert joined((3, b"def"), (9, b"jkl"), (0, b"abc")) == b"abcdef"
    assert joined((3, b"def"), (9, b"jkl"), (0, b"abc"), (6, b"ghi")) == b"abcdefghijkl"


def test_the_first_copy_counts() -> None:
    """A retransmission with other content changes nothing that was already there."""
    assert joined((0, b"abc"), (0, b"XYZ")) == b"abc"
    assert joined((0, b"abc"), (0, b"XYZdef")) == b"abcdef"
    assert joined((0, b"abc"), (2, b"Xde")) == b"abcde"


def test_the_first_early_copy_counts() -> None:
    """Also for bytes that wait behind a gap: a later, longer segment does not replace them."""
    assert joined((3, b"def"), (3, b"XYZ"), (0, b"abc")) == b"abcdef"
    assert joined((3, b"def"), (3, b"XYZghi"), (0, b"abc"))[:6] == b"abcdef"


def test_the_segment_that_closes_a_gap_does_not_replace_what_waited() -> None:
    """Bytes that came early were first, although they stand later."""
    assert joined((3, b"def"), (0, b"abcXYZ")) == b"abcdef"
    assert joined((4, b"ef"), (2, b"cdXY"), (0, b"ab")) == b"abcdef"


def test_overlaps_are_cut() -> None:
    """A segment that begins in known bytes adds only what is new."""
    assert joined((4, b"efgh"), (2, b"cdef"), (0, b"abc")) == b"abcdefgh"


def test_an_empty_segment_changes_nothing() -> None:
    """Not at the start, not behind a gap."""
    assert joined((0, b""), (5, b""), (0, b"ab")) == b"ab"


@given(data=st.binary(min_size=1, max_size=60), seed=st.integers(0, 1 << 16))
def test_any_order_gives_the_stream(data: bytes, seed: int) -> None:
    """Honest segments that cover a stream give it, however they are cut, repeated and mixed."""
    chance = random.Random(seed)
    parts = [(at, data[at : at + chance.randint(1, 9)]) for at in range(len(data))]
    chance.shuffle(parts)

    assert joined(*parts) == data
