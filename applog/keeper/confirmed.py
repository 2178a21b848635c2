"""The confirmed time, asked for in one thread and used in others.

Rules:
    1. Without servers it is never confirmed, which is said and is no failure; with servers that do not agree,
       it is one.
    2. An answer is used for ``HELD_SECONDS``, by a clock that nobody can set; then it counts as none.
"""

from dataclasses import dataclass

from retention.errors import ClockError
from retention.ntp import TimeSources, boot_clock

HELD_SECONDS = 150.0
"""It is asked for each minute."""

NO_SERVERS = "no time servers are configured: the time is never confirmed, and nothing is ever deleted"


@dataclass(kw_only=True)
class ConfirmedTime:
    """What time it certainly is."""

    sources: TimeSources | None
    _held: tuple[float, int] | None = None

    def ask(self) -> None:
        """Ask the servers if it is time to.

        Raises:
            ClockError: they do not confirm the time.
        """
        if self.sources is None:
            return
        confirmed = self.sources.confirm()
        self._held = None if confirmed is None else (boot_clock(), confirmed)
        if confirmed is None:
            raise ClockError(f"the time is not confirmed: {'; '.join(self.reasons)}")

    def now(self) -> int | None:
        """The confirmed time, UTC µs, or None."""
        held = self._held
        if held is None or boot_clock() - held[0] > HELD_SECONDS:
            return None
        return held[1] + round((boot_clock() - held[0]) * 1e6)

    @property
    def reasons(self) -> list[str]:
        """What the servers said last, for people."""
        return [NO_SERVERS] if self.sources is None else list(self.sources.reasons)
