"""From a capture file to rows of the datasets: the whole of reading, in packet order.

Rules:
    1. The same bytes give the same rows of each dataset in the same order: so an interrupted import can
       go on after the last row that was journaled.
    2. What was read but is in no record is in the coverage rows, with its reason and its count.
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from applog.capture.ahead import ahead
from applog.capture.capfile import CaptureFile
from applog.capture.flows import flow_columns, records_of
from applog.capture.kernel import Kernels, compiled
from applog.capture.kernel import columns as c
from applog.capture.leasing import LeaseWatcher
from applog.capture.losses import losses
from applog.capture.meter import Meter, Metered
from applog.capture.naming import Namer
from applog.capture.profile import PROFILES, Profile
from applog.capture.resolving import Resolver
from applog.capture.sighting import sightings
from applog.records import DNS, FLOW, Dns
from captive_portal.records import LEASE, Lease
from retention.dataset import Dataset, Record
from retention.records import COVERAGE, Coverage

_STEPS_AHEAD = 3
"""So many batches the meter, which needs no interpreter lock, may be ahead of the decoders, which do."""
_LEASES = (c.P_DHCP4, c.P_DHCP6)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one dataset, without event.id, event.ingested and the identity before flow.id."""

    dataset: Dataset
    batch: pa.RecordBatch


class Extraction:
    """Reads one capture file."""

    def __init__(self, capture: CaptureFile, profile: Profile, kernels: Kernels) -> None:
        self._capture = capture
        self._profile = profile
        self._meter = Meter(kernels, profile)
        self._namer = Namer()
        self._resolver = Resolver()
        self._leases = LeaseWatcher()
        self._jumps: list[Coverage] = []

    @property
    def packets(self) -> int:
        """Packets read so far."""
        return int(self._meter.state[c.C_PACKETS])

    def rows(self) -> Iterator[Rows]:
        """Everything in the file; coverage comes last."""
        with _without_garbage_collection():
            for metered in ahead(self._metered(), _STEPS_AHEAD):
                yield from self._taken(metered)
            yield from _batch(DNS, list(self._resolver.finish()))
        yield from _batch(COVERAGE, self._jumps + self._losses())

    def _metered(self) -> Iterator[Metered]:
        """What the meter gives for the whole file."""
        for packets in self._capture.packets():
            yield from self._meter.feed(packets)
        yield from self._meter.finish()

    def _taken(self, metered: Metered) -> Iterator[Rows]:
        found_dns: list[Dns] = []
        found_leases: list[Lease] = []
        for seen in sightings(metered, self._namer.look):
            if seen.kind in _LEASES:
                found_leases += self._leases.look(seen)
            else:
                found_dns += self._resolver.look(seen)
        for event in metered.events.tolist():
            self._jumps.append(_clock_jump(event))
        if len(metered.records):
            yield from self._flows(metered)
        self._resolver.settle()
        yield from _batch(DNS, found_dns)
        yield from _batch(LEASE, found_leases)

    def _flows(self, metered: Metered) -> Iterator[Rows]:
        over = (metered.records[:, c.REASON] != c.CONTINUES) & (metered.records[:, c.STATE] & c.PEEKED != 0)
        ended = metered.records[over, c.ORDINAL].tolist()
        ends = metered.records[over, c.AT_PACKET].tolist()
        for ordinal, end in zip(ended, ends, strict=True):
            self._namer.finish(ordinal, end - 1)
        records = records_of(metered.records)
        if len(records):
            name_of = self._resolver.name_of if self._profile.dns else None
            columns = flow_columns(records, self._namer, name_of)
            yield Rows(FLOW, FLOW.conform(columns, len(records)))
        for ordinal in ended:
            self._namer.forget(ordinal)
            self._resolver.forget(ordinal)

    def _losses(self) -> list[Coverage]:
        return losses(
            self._meter.state,
            self._capture,
            undecodable=self._resolver.counts.undecodable + self._leases.undecodable,
            unpaired=self._resolver.counts.given_up,
        )


def _clock_jump(event: list[int]) -> Coverage:
    earlier, later = event[c.E_FROM], event[c.E_TO]
    direction = "back" if later < earlier else "ahead"
    return Coverage(
        timestamp=later,
        source="",
        reason="clock-jump",
        detail=f"the packets' clock went {direction} by {abs(later - earlier) / 1e6:.6f} s at packet "
        f"{event[c.E_PACKET] + 1}",
        flows=event[c.E_FLOWS],
    )


def _batch(dataset: Dataset, records: Iterable[Record]) -> Iterator[Rows]:
    rows = list(records)
    if rows:
        yield Rows(dataset, dataset.batch(rows))


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Nothing here makes reference cycles; collecting costs a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def extract_file(path: Path, profile: str = "standard") -> dict[str, pa.Table]:
    """All rows of the capture at *path* by dataset name, with bare ordinals as flow.id."""
    kernels = compiled()
    with path.open("rb", buffering=0) as stream:
        extraction = Extraction(CaptureFile(stream, str(path), kernels), PROFILES[profile], kernels)
        batches: dict[str, list[pa.RecordBatch]] = {one.name: [] for one in (FLOW, DNS, LEASE, COVERAGE)}
        for rows in extraction.rows():
            batches[rows.dataset.name].append(rows.batch)
    schemas = {one.name: one.schema for one in (FLOW, DNS, LEASE, COVERAGE)}
    return {name: pa.Table.from_batches(found, schemas[name]) for name, found in batches.items()}
