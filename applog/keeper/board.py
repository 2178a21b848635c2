"""What each job of the keeper did last, and which of them fail: seen in the log, ``status`` and the socket.

Rules:
    1. A job that fails never stops another, and is tried again at its next time; until it succeeds its
       failure is on the board.
    2. A failure is logged when it is new or different, and a recovery once: a full disk does not fill the
       log.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobState:
    """One job."""

    name: str
    runs: int = 0
    succeeded: int | None = None
    """When it last did, UTC µs."""
    failure: str | None = None
    """Why it failed when it was last run; absent: it did not."""
    failing_since: int | None = None
    """UTC µs."""


@dataclass(kw_only=True)
class Board:
    """The jobs. Threads may share it."""

    clock: Callable[[], int]
    _states: dict[str, JobState] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, name: str, work: Callable[[], None]) -> bool:
        """Do *work*; whether it succeeded."""
        try:
            work()
        except Exception as error:  # noqa: BLE001  rule 1, for bugs of ours as well
            known = hasattr(error, "exit_code") or isinstance(error, OSError)
            said = str(error) if known else f"a bug in applog: {error!r}"
            if self._failed(name, said):
                _log.error("%s: %s", name, said, exc_info=None if known else error)
            return False
        if self._succeeded(name):
            _log.info("%s: works again", name)
        return True

    def _failed(self, name: str, said: str) -> bool:
        """Note it; whether it is news."""
        with self._lock:
            before = self._states.get(name, JobState(name=name))
            since = before.failing_since if before.failure is not None else self.clock()
            self._states[name] = replace(before, runs=before.runs + 1, failure=said, failing_since=since)
            return said != before.failure

    def _succeeded(self, name: str) -> bool:
        with self._lock:
            before = self._states.get(name, JobState(name=name))
            self._states[name] = JobState(name=name, runs=before.runs + 1, succeeded=self.clock())
            return before.failure is not None

    def states(self) -> list[JobState]:
        """Every job that ran, by name."""
        with self._lock:
            return [self._states[name] for name in sorted(self._states)]
