"""How many threads a deep verification gets."""

from pathlib import Path

import pytest

from applog.keeper.threads import THREAD_BYTES, available_memory, threads_for, threads_now


@pytest.mark.parametrize(
    ("processors", "available", "threads"),
    [(4, 100 * THREAD_BYTES, 4), (4, 2 * THREAD_BYTES, 2), (4, THREAD_BYTES - 1, 1), (4, None, 1)],
    ids=["processors", "memory", "little", "unknown"],
)
def test_threads(processors: int, available: int | None, threads: int) -> None:
    """As many as both processors and memory are for; one at least."""
    assert threads_for(processors, available) == threads


def test_available_memory_is_the_kernels_word(tmp_path: Path) -> None:
    """In bytes; what cannot be read is unknown."""
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 9 kB\nMemAvailable:    3 kB\n")

    assert available_memory(path) == 3 << 10
    assert available_memory(tmp_path / "none") is None
    path.write_text("MemAvailable:\n")
    assert available_memory(path) is None
    assert threads_now() >= 1
