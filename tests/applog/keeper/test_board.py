"""Jobs that fail are seen, and stop nobody."""

import logging

import pytest

from applog.keeper.board import Board
from retention.errors import StoreError
from tests.support.disk import SimulatedClock


def failing(error: Exception) -> None:
    """A job's work."""
    raise error


def test_a_failure_stays_until_the_job_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    """Since when and why; said once when it begins and once when it ends."""
    clock = SimulatedClock()
    board = Board(clock=clock)
    caplog.set_level(logging.INFO)

    first = board.run("seal", lambda: failing(StoreError("full")))
    began = clock.now
    clock.move(60)
    board.run("seal", lambda: failing(StoreError("full")))
    degraded = board.states()
    board.run("seal", lambda: None)

    assert not first
    assert [(one.name, one.failure, one.failing_since, one.runs) for one in degraded] == [
        ("seal", "full", began, 2)
    ]
    assert [(one.failure, one.succeeded) for one in board.states()] == [(None, clock.now)]
    assert [record.getMessage() for record in caplog.records] == ["seal: full", "seal: works again"]


def test_a_bug_is_shown_with_its_place_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The other jobs go on; the traceback is in the log."""
    board = Board(clock=SimulatedClock())

    board.run("heads", lambda: failing(ZeroDivisionError("x")))
    done = board.run("keys", lambda: None)

    assert done
    assert "a bug in applog: ZeroDivisionError('x')" in str(board.states()[0].failure)
    assert "Traceback" in caplog.text
