"""Tests of ``applog.capture.ahead``."""

import threading
import time
from collections.abc import Iterator

import pytest

from applog.capture.ahead import ahead


def test_items_keep_their_order() -> None:
    """Everything comes out, in the order in which it went in."""
    assert list(ahead(range(1_000), 3)) == list(range(1_000))


def test_it_is_ahead_by_no_more_than_it_may() -> None:
    """A slow second stage holds the first one back: what waits between them is bounded."""
    made: list[int] = []

    def stage() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    items = ahead(stage(), 3)
    next(items)
    time.sleep(0.3)

    # One was taken, three wait, and one is held by the stage.
    assert len(made) <= 5
    items.close()  # type: ignore[attr-defined]  # it is a generator


def test_an_error_is_raised_behind_the_items_before_it() -> None:
    """What the first stage raises arrives where the second one stands, after everything before it."""

    def stage() -> Iterator[int]:
        yield 1
        raise ValueError("here")

    items = ahead(stage(), 3)

    assert next(items) == 1
    with pytest.raises(ValueError, match="here"):
        next(items)


def test_stopping_early_ends_the_thread() -> None:
    """A second stage that goes away leaves no thread behind."""
    before = threading.active_count()
    items = ahead(iter(range(1_000_000)), 2)
    next(items)

    items.close()  # type: ignore[attr-defined]  # it is a generator

    assert threading.active_count() == before
