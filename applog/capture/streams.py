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
        self._early: dict[int, bytes] = {}

    def add(self, position: int, data: bytes) -> None:
        """Take the segment *data* that stands at byte *position* of the stream."""
        have = len(self.whole)
        if position > have:
            if len(data) > len(self._early.get(position, b"")):
                self._early[position] = data
            return
        self.whole += data[have - position :]
        for early in sorted(self._early):
            if early > len(self.whole):
                return
            self.whole += self._early.pop(early)[len(self.whole) - early :]
