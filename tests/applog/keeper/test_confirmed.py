"""The confirmed time is what servers said a moment ago, or nothing."""

import pytest

from applog.keeper import confirmed
from applog.keeper.confirmed import HELD_SECONDS, NO_SERVERS, ConfirmedTime
from retention.errors import ClockError
from retention.ntp import NtpAnswer, TimeSources
from tests.support.disk import NOON, SECOND

SERVERS = ("a.example", "b.example", "c.example")


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds since the machine started, to be set."""
    seconds = [1000.0]
    monkeypatch.setattr(confirmed, "boot_clock", lambda: seconds[0])
    return seconds


def silent(server: str) -> NtpAnswer:
    """A server that does not answer."""
    raise ClockError(f"{server}: no answer")


def test_without_servers_it_is_never_confirmed_which_is_no_failure() -> None:
    """Nothing is asked, and that is said."""
    time = ConfirmedTime(sources=None)

    time.ask()

    assert time.now() is None
    assert time.reasons == [NO_SERVERS]


def test_it_advances_and_is_forgotten(boot: list[float]) -> None:
    """Between two questions it advances by a clock nobody can set; without the next one it ends."""
    time = ConfirmedTime(
        sources=TimeSources(servers=SERVERS, ask=lambda _: NtpAnswer(NOON, 0, 1), monotonic=lambda: boot[0])
    )

    time.ask()
    at_once = time.now()
    boot[0] += 60
    later = time.now()
    boot[0] += HELD_SECONDS
    ended = time.now()

    assert (at_once, later, ended) == (NOON, NOON + 60 * SECOND, None)


def test_servers_that_do_not_answer_are_a_failure_with_words() -> None:
    """Each says why, and nothing is held."""
    time = ConfirmedTime(sources=TimeSources(servers=SERVERS, ask=silent))

    with pytest.raises(ClockError, match=r"not confirmed: a\.example: no answer"):
        time.ask()

    assert time.now() is None
