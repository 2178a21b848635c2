"""Drives the flow meter: packets of a block in, matrices of records and of packets worth a look out.

Rules:
    1. The same packets give the same batches' contents in the same order, whatever the blocks were.
    2. Outputs are copied out, so that the kernel can go on while they are decoded.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from applog.capture.capfile import Bytes, Integers, Packets
from applog.capture.kernel import Kernels
from applog.capture.kernel import columns as c
from applog.capture.profile import Profile

POOL_ROWS = 1 << 18
_OUT_MARGIN = 16_384
_PEEKS = 32_768
_PEEK_BYTES = 16 << 20
_EVENTS = 256


class Metered(NamedTuple):
    """What the kernel gave out."""

    records: Integers
    """Rows of flow columns, in the order in which they ended."""
    peeks: Integers
    """Rows of peek columns, in packet order."""
    peek_bytes: Bytes
    events: Integers
    """Rows of event columns: clock jumps."""


class Meter:
    """One flow table."""

    def __init__(self, kernels: Kernels, profile: Profile, *, pool_rows: int = POOL_ROWS) -> None:
        self._kernel = kernels.meter
        self._settings = np.zeros(c.SETTINGS, np.int64)
        self._settings[c.SEED] = int.from_bytes(os.urandom(8), signed=True)
        self._settings[c.WANT_NAMES] = profile.names
        self._settings[c.WANT_DNS] = profile.dns
        self._settings[c.WANT_DHCP] = 1
        self._flows = np.zeros((pool_rows, c.FLOW_COLUMNS), np.int64)
        self._deadlines = np.full(pool_rows, c.NEVER, np.int64)
        self._groups = np.full((pool_rows >> c.GROUP_SHIFT) + 1, c.NEVER, np.int64)
        self._heads = np.full(1 << (pool_rows - 1).bit_length(), -1, np.int64)
        self._chain = np.full(pool_rows, -1, np.int64)
        self._out = np.zeros((pool_rows // 64 + _OUT_MARGIN, c.FLOW_COLUMNS), np.int64)
        self._peeks = np.zeros((_PEEKS, c.PEEK_COLUMNS), np.int64)
        self._peek_bytes = np.zeros(_PEEK_BYTES, np.uint8)
        self._events = np.zeros((_EVENTS, c.EVENT_COLUMNS), np.int64)
        self.state: npt.NDArray[np.int64] = np.zeros(c.STATE_SIZE, np.int64)
        """Counters (``C_*``) and the kernel's own registers."""
        self.state[c.Z_CLOCK] = -1
        self.state[c.Z_FREE] = -1

    def feed(self, packets: Packets) -> Iterator[Metered]:
        """Meter *packets*, giving out whatever fills up; the rest stays for the next call."""
        first = 0
        while first < packets.count:
            first = self._kernel.meter(
                packets.block,
                packets.index,
                first,
                packets.count,
                self._settings,
                self._flows,
                self._deadlines,
                self._groups,
                self._heads,
                self._chain,
                self._out,
                self._peeks,
                self._peek_bytes,
                self._events,
                self.state,
            )
            if first < packets.count or self._well_filled():
                yield self._taken()

    def _well_filled(self) -> bool:
        """Whether emptying the outputs is worth its overhead."""
        state = self.state
        return bool(
            state[c.Z_OUT] > _OUT_MARGIN // 2
            or state[c.Z_PEEKS] > _PEEKS // 2
            or state[c.Z_PEEK_BYTES] > _PEEK_BYTES // 2
            or state[c.Z_EVENTS]
        )

    def finish(self) -> Iterator[Metered]:
        """End every flow: the capture is over."""
        done = False
        while not done:
            done = self._kernel.flush(
                self._settings, self._flows, self._deadlines, self._heads, self._chain, self._out, self.state
            )
            yield self._taken()

    def _taken(self) -> Metered:
        state = self.state
        metered = Metered(
            self._out[: state[c.Z_OUT]].copy(),
            self._peeks[: state[c.Z_PEEKS]].copy(),
            self._peek_bytes[: state[c.Z_PEEK_BYTES]].copy(),
            self._events[: state[c.Z_EVENTS]].copy(),
        )
        state[[c.Z_OUT, c.Z_PEEKS, c.Z_PEEK_BYTES, c.Z_EVENTS]] = 0
        return metered
