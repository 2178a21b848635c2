"""The ways to make lines, and which of them this process takes.

Rules:
    1. Arrow is the reference. The kernel is used only after it gave Arrow's bytes, and refused what Arrow
       refuses, over a table of awkward rows (``selfcheck``); one that does not, or does not compile, is
       logged as an error and never used.
    2. Few rows do not load the kernel. A process that has loaded it uses it for any number: it is the
       quicker way even for one row.
    3. What the kernel refuses goes to Arrow, which says why. So does what has no room in 2 GiB.
"""

import functools
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import pyarrow as pa

from retention import machine_code
from retention.dataset import Dataset
from retention.encoding.arrow import with_arrow
from retention.encoding.layout import form_of, table_of
from retention.encoding.selfcheck import differences

_log = logging.getLogger(__name__)

By = Literal["kernel", "arrow"]
Way = Callable[[Dataset, pa.RecordBatch], pa.Array]
"""(dataset, batch) -> lines. The caller has compared the schema and looked for NULL in ``@timestamp``."""

Attempt = Callable[[Dataset, pa.RecordBatch], pa.Array | None]
"""As a way, but None for what it refuses."""

FORCE = "APPLOG_ENCODING"
"""Environment variable that forces a way, for tests: ``kernel`` or ``arrow``."""

FEW = 512
"""Rows below which a process that has not loaded the kernel does not load it for them."""

MOST_BYTES = 2**31 - 2
"""What Arrow puts into a ``string`` array; its offsets are int32."""

_GROWTHS = 1, 6
"""How much the texts of a batch may grow by escapes: mostly not beyond what numbers and NULLs leave free."""


def cache_directory() -> Path:
    """Where this version's machine code is kept, below ``APPLOG_KERNEL_CACHE`` or the user's cache."""
    return machine_code.cache_directory(Path(__file__).parent / "kernel", "encoding")


def compiled() -> ModuleType:
    """The kernel's module: compiled on first use (about fifteen seconds), then from the cache."""
    (lines,) = machine_code.import_compiled(cache_directory(), "retention.encoding.kernel.lines")
    return lines


def attempt(kernel: ModuleType, dataset: Dataset, batch: pa.RecordBatch) -> pa.Array | None:
    """The lines of *batch* without the interpreter lock; None if the kernel refuses it, or 2 GiB are few."""
    form, rows = form_of(dataset), batch.num_rows
    table = table_of(form, batch)
    dates = np.empty((len(table), 2), np.int64)
    ends = np.empty(rows + 1, np.int32)
    for growth in _GROWTHS:
        room = min(kernel.measure(table, rows, form.constants, growth), MOST_BYTES)
        if room < 0:
            return None
        data = pa.allocate_buffer(room + kernel.SLACK)
        out = np.frombuffer(data, np.uint8)
        used = kernel.write_lines(table, rows, form.constants, dates, ends, out)
        if used >= 0:
            buffers = [None, pa.py_buffer(ends), data.slice(0, used)]
            return pa.Array.from_buffers(pa.string(), rows, buffers, null_count=0)
        if used != kernel.FULL or room == MOST_BYTES:
            break
    return None


def load_kernel() -> Attempt:
    """The kernel as an attempt, not yet checked."""
    return functools.partial(attempt, compiled())


def attempt_then_arrow(kernel: Attempt, dataset: Dataset, batch: pa.RecordBatch) -> pa.Array:
    """The lines of *batch*; Arrow's if the kernel has none.

    Raises:
        SchemaError: *batch* holds a value that has no line.
    """
    lines = kernel(dataset, batch)
    if lines is None:
        lines = with_arrow(dataset, batch)
        _log.warning("the encoding kernel refused %d rows of %s that have lines", len(lines), dataset.name)
    return lines


class Choice:
    """Which way is taken; made once and shared by all threads."""

    def __init__(self, load: Callable[[], Attempt] = load_kernel) -> None:
        self._load = load
        self._lock = threading.RLock()
        self._kernel: Way | None = None  # with_arrow when the kernel may not be used

    def way(self, rows: int, by: By | None = None) -> Way:
        """The way for so many rows.

        Args:
            rows: How many.
            by: Forces a way; otherwise ``APPLOG_ENCODING`` may.

        Raises:
            ValueError: The name is of no way.
        """
        forced = by or os.environ.get(FORCE)
        if forced not in {None, "", "kernel", "arrow"}:
            raise ValueError(f"the ways to encode are kernel and arrow, not {forced!r} (argument or {FORCE})")
        if forced == "arrow" or (not forced and rows < FEW and self._kernel is None):
            return with_arrow
        return self.kernel()

    def kernel(self) -> Way:
        """The kernel if it can be loaded and agrees with Arrow, otherwise Arrow."""
        with self._lock:
            if self._kernel is None:
                self._kernel = self._checked()
            return self._kernel

    def _checked(self) -> Way:
        try:
            kernel = self._load()
            wrong = differences(kernel)
        except Exception:  # noqa: BLE001  whatever keeps a compiler from working, Arrow still makes lines
            _log.exception(
                "the encoding kernel is not used: it cannot be loaded and checked; lines take longer"
            )
            return with_arrow
        if wrong:
            _log.error("the encoding kernel is not used: it differs from Arrow in %s", ", ".join(wrong))
            return with_arrow
        return functools.partial(attempt_then_arrow, kernel)
