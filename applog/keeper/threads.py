"""How many threads a deep verification gets: each holds up to a gibibyte.

Rules:
    1. One for each processor, unless memory is for fewer; never none.
    2. Where the kernel does not say how much memory is available, one has to do.
"""

import os
from pathlib import Path

THREAD_BYTES = 3 << 29
"""1.5 GiB: what one needs, and half as much for everybody else."""
_MEMORY = Path("/proc/meminfo")


def threads_for(processors: int, available: int | None) -> int:
    """How many of *processors* can be used with *available* bytes of memory."""
    return max(1, min(processors, (available or 0) // THREAD_BYTES))


def available_memory(path: Path = _MEMORY) -> int | None:
    """Bytes that can be had without swapping, or None where nobody knows."""
    try:
        for line in path.read_text("ascii").splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) << 10
    except (OSError, ValueError, IndexError):
        pass
    return None


def threads_now() -> int:
    """How many this machine can bear now."""
    return threads_for(os.cpu_count() or 1, available_memory())
