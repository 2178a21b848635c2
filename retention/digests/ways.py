"""The ways to hash many messages, and which of them this process takes.

Rules:
    1. hashlib is the reference. The kernel is used only after it gave hashlib's digests over the lengths
       at which padding and blocks change; one that does not, or does not compile, is logged as an error
       and never used.
    2. The choice is made once in a process, when it is first needed, by time: with SHA instructions
       OpenSSL may be quicker, without them the kernel is.
    3. What is too little to be worth loading numba is hashed by hashlib.
    4. A message that is much longer than all others would go on alone in its lane, three times as long as
       in hashlib; so hashlib takes it. Frames of a journal, all of some megabytes, go side by side.
"""

import functools
import hashlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt

from retention import machine_code

_log = logging.getLogger(__name__)

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Copy = Callable[[Bytes, Integers, Integers, Bytes, Integers], None]
"""(data, starts, ends, out, places): data[starts[i]:ends[i]] to out[places[i]:]."""
By = Literal["kernel", "hashlib"]
Way = Callable[[Bytes, Integers, Integers], Bytes]
"""(data, starts, ends) -> digests, n × 32 bytes. The caller has checked the arguments."""

FORCE = "APPLOG_SHA256"
"""Environment variable that forces a way, for tests: ``kernel`` or ``hashlib``."""

SMALL = 64 << 10
"""Bytes below which a process that has not loaded the kernel does not load it for them."""

FEW = 6
"""Messages of one length below which hashlib is quicker: most lanes would be idle."""

LONG = 64 << 10
"""Bytes above which a message waits for no other: hashlib takes it unless there are about ``FEW`` like it."""

_SAMPLE_MESSAGES, _SAMPLE_BYTES = 374, 700  # 256 KiB of what rows look like
_CHECKED_LENGTHS = (*range(201), 255, 256, 257, 1000, 4095, 4096, 10_007)


def cache_directory() -> Path:
    """Where this version's machine code is kept, below ``APPLOG_KERNEL_CACHE`` or the user's cache."""
    return machine_code.cache_directory(Path(__file__).parent, "digests")


def compiled() -> ModuleType:
    """The kernel's module: compiled on first use (about ten seconds), then from the cache."""
    (kernel,) = machine_code.import_compiled(cache_directory(), "retention.digests.kernel")
    return kernel


def with_hashlib(data: Bytes, starts: Integers, ends: Integers) -> Bytes:
    """One message after the other, by OpenSSL; holds the interpreter lock for messages under 2 KiB."""
    view = data.data
    ranges = zip(starts.tolist(), ends.tolist(), strict=True)
    digests = bytearray().join([hashlib.sha256(view[start:end]).digest() for start, end in ranges])
    return np.frombuffer(digests, np.uint8).reshape(-1, 32)


def with_kernel(kernel: ModuleType, data: Bytes, starts: Integers, ends: Integers) -> Bytes:
    """Sixteen messages in lockstep, without the interpreter lock; long ones by hashlib (rule 4)."""
    sizes = ends - starts
    long = sizes > LONG
    if long.any() and sizes[long].sum() < FEW * sizes.max():
        digests = np.empty((len(starts), 32), np.uint8)
        digests[long] = with_hashlib(data, starts[long], ends[long])
        digests[~long] = with_kernel(kernel, data, starts[~long], ends[~long])
        return digests
    words = np.empty(kernel.SCRATCH_WORDS, np.uint32)
    lanes = np.empty((kernel.LANE_ROWS, kernel.LANES), np.int64)
    states = np.empty((len(starts), 8), np.uint32)
    wrong = kernel.sha256(data, starts, ends, words, lanes, states)
    if wrong != -1:
        raise IndexError(f"the SHA-256 kernel refused its arguments: {wrong} (-2: arrays, else the message)")
    return states.view(np.uint8)


def copy_with_kernel(data: Bytes, starts: Integers, ends: Integers, out: Bytes, places: Integers) -> None:
    """Copy many ranges of *data* into *out*, each to its place."""
    wrong = compiled().copy_ranges(data, starts, ends, out, places)
    if wrong != -1:
        raise IndexError(f"range {wrong} does not fit where it is copied from or to")


def copy_one_by_one(data: Bytes, starts: Integers, ends: Integers, out: Bytes, places: Integers) -> None:
    """The same without machine code."""
    source, target = data.data, out.data
    for start, end, place in zip(starts.tolist(), ends.tolist(), places.tolist(), strict=True):
        target[place : place + end - start] = source[start:end]


def load_kernel() -> Way:
    """The kernel as a way to hash, not yet checked."""
    return functools.partial(with_kernel, compiled())


class Choice:
    """Which way is taken; made once and shared by all threads."""

    def __init__(self, load: Callable[[], Way] = load_kernel) -> None:
        self._load = load
        self._lock = threading.RLock()
        self._kernel: Way | None = None  # with_hashlib when the kernel may not be used
        self._quicker: Way | None = None

    def way(self, messages: int, size: int, by: By | None = None) -> Way:
        """The way for so many messages of so many bytes together.

        Args:
            messages: How many.
            size: Bytes of all of them.
            by: Forces a way; otherwise ``APPLOG_SHA256`` may.

        Raises:
            ValueError: The name is of no way.
        """
        forced = by or os.environ.get(FORCE)
        if forced not in {None, "", "kernel", "hashlib"}:
            raise ValueError(f"the ways to hash are kernel and hashlib, not {forced!r} (argument or {FORCE})")
        if forced == "kernel":
            return self.kernel()
        if forced or messages < FEW or (size < SMALL and self._quicker is None):
            return with_hashlib
        return self.quicker()

    def kernel(self) -> Way:
        """The kernel if it can be loaded and gives hashlib's digests, otherwise hashlib."""
        with self._lock:
            if self._kernel is None:
                self._kernel = self._checked()
            return self._kernel

    def copy(self, ranges: int) -> Copy:
        """The way to copy so many ranges: by the kernel, if it is loaded and gave hashlib's digests."""
        kernel = self._kernel
        usable = kernel is not None and kernel is not with_hashlib and os.environ.get(FORCE) != "hashlib"
        return copy_with_kernel if usable and ranges >= FEW else copy_one_by_one

    def quicker(self) -> Way:
        """What took less time over a sample, in the first call of this process."""
        if self._quicker is not None:
            return self._quicker
        with self._lock:
            kernel = self.kernel()
            if self._quicker is None:
                self._quicker = kernel if _seconds(kernel) < _seconds(with_hashlib) else with_hashlib
            return self._quicker

    def _checked(self) -> Way:
        try:
            kernel = self._load()
            wrong = _differences(kernel)
        except Exception:  # noqa: BLE001  whatever keeps a compiler from working, hashlib still hashes
            _log.exception("the SHA-256 kernel is not used: it cannot be loaded; hashing is slower")
            return with_hashlib
        if wrong:
            _log.error(
                "the SHA-256 kernel is not used: wrong for %d of %d messages", wrong, len(_CHECKED_LENGTHS)
            )
            return with_hashlib
        return kernel


def _pattern(size: int) -> Bytes:
    return (np.arange(size, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(56)).astype(
        np.uint8
    )


def _differences(way: Way) -> int:
    """How many messages of the self-check get other digests than hashlib's."""
    offsets = np.cumsum((0, *_CHECKED_LENGTHS), dtype=np.int64)
    data = _pattern(int(offsets[-1]))
    found, wanted = (one(data, offsets[:-1], offsets[1:]) for one in (way, with_hashlib))
    return int((found != wanted).any(axis=1).sum())


def _seconds(way: Way) -> float:
    """The best of three runs over the sample."""
    starts = np.arange(_SAMPLE_MESSAGES, dtype=np.int64) * _SAMPLE_BYTES
    data = _pattern(_SAMPLE_MESSAGES * _SAMPLE_BYTES)
    runs = []
    for _ in range(3):
        began = time.perf_counter()
        way(data, starts, starts + _SAMPLE_BYTES)
        runs.append(time.perf_counter() - began)
    return min(runs)
