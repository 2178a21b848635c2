"""Who may have how many of the socket's places. Pure but for its lock.

Rules:
    1. A user has at most ``PLACES_EACH``; ``KEPT`` of all ``PLACES`` are for the trusted (root and the
       keeper's own user), who have no limit of their own.
"""

import threading
from collections import Counter
from dataclasses import dataclass, field

PLACES = 16
PLACES_EACH = 4
KEPT = 2


@dataclass(kw_only=True)
class Places:
    """The places, and who has them. Threads may share it."""

    _taken: Counter[int] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, user: int, *, trusted: bool) -> str | None:
        """Give *user* a place, or say why not."""
        with self._lock:
            if not trusted and self._taken[user] >= PLACES_EACH:
                return f"all {PLACES_EACH} places of this user are taken; try again"
            if self._taken.total() >= (PLACES if trusted else PLACES - KEPT):
                return f"all {PLACES} places are taken; try again"
            self._taken[user] += 1
            return None

    def release(self, user: int) -> None:
        """Take a place back."""
        with self._lock:
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]
