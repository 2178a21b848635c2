"""A process to be killed: ``python -m tests.support.sealing_loop ROOT FIRST NOW`` seals for ever.

Says ``ready``, then, behind each acknowledged frame, how many rows there are, and its clock.
"""

import os
import sys
from collections import Counter
from pathlib import Path

from tests.support.disk import SimulatedClock
from tests.support.sealed import AUDIT, SealedStore, looks

ROWS = 3
"""Of each frame."""
MINUTE = 60_000_000


def actor(row: int) -> str:
    """Who did row number *row*."""
    return f"actor-{row}"


def waited_for(lines: Counter[str], acknowledged: int) -> int:
    """How many rows there are: the acknowledged ones, and those whose answer was lost with the process."""
    while any(f'"{actor(acknowledged)}"' in line for line in lines):
        acknowledged += 1
    return acknowledged


def main(root: Path, row: int, now: int) -> None:
    """Work until killed."""
    os.fsync = lambda _descriptor: None  # a kill loses nothing that was written
    os.fdatasync = lambda _descriptor: None
    target = SealedStore(root, SimulatedClock(now))
    print("ready", flush=True)  # noqa: T201  the parent listens
    while True:
        target.write(AUDIT, "gate", looks(*(actor(row + n) for n in range(ROWS)), at=target.clock()))
        row += ROWS
        target.clock.move(MINUTE)
        print(row, target.clock(), flush=True)  # noqa: T201
        target.seal_all()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
