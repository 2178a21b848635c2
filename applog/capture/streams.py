"""Puts the beginning of a TCP direction together again, by sequence number. Pure.

Rules:
    1. The first copy of a byte counts; a later, different one changes nothing.
    2. Only the contiguous beginning is given out; what came early waits for the gap to close.
    3. The kernel bounds what arrives here: 16 KiB and 48 segments of each direction.
"""


class Beginning:
    """The bytes of one direction from its first on."""

    __slots__ = ("_early", "consumed", "whole")

    def __init__(self) -> None:
        self.whole = b""
        """Contiguous bytes from the stream's start."""
        self.consumed = 0
        """How many of them a decoder has finished with."""
        self._early: list[tuple[int, bytes]] = []

    def add(self, position: int, data: bytes) -> None:
        """Take the segment *data* that stands at byte *position* of the stream."""
        if not self._early and position <= len(self.whole):
            self.whole += data[len(self.whole) - position :]
            return
        self._early.append((position, data))
        while piece := self._next():
            self.whole += piece
        self._early = [(at, early) for at, early in self._early if at + len(early) > len(self.whole)]

    def _next(self) -> bytes:
        """What the first segment to hold the next byte adds, up to where an earlier one begins."""
        have = len(self.whole)
        for number, (at, data) in enumerate(self._early):
            if at <= have < at + len(data):
                stop = min(
                    (other for other, _ in self._early[:number] if other > have), default=at + len(data)
                )
                return data[have - at : stop - at]
        return b""
