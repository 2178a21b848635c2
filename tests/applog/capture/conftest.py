"""What the tests of capture share: the kernels, frames in memory, and a meter's rows as plain records."""

import io
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from applog.capture.capfile import CaptureFile, Integers, Packets
from applog.capture.extract import Extraction
from applog.capture.flows import records_of
from applog.capture.kernel import Kernels, compiled
from applog.capture.kernel import columns as c
from applog.capture.meter import Meter
from applog.capture.profile import PROFILES
from applog.demo.captures import Packet, pcap
from applog.records import DNS, FLOW
from captive_portal.records import LEASE
from retention.encoding import encode
from retention.records import COVERAGE
from tests.support.reference_meter import Jump, Outcome, Record

REASONS = ("", "closed", "reset", "idle", "reused", "evicted", "cut", "end-of-capture")
DATASETS = {one.name: one for one in (FLOW, DNS, LEASE, COVERAGE)}


@pytest.fixture(scope="session")
def kernels() -> Kernels:
    """The compiled kernels."""
    return compiled()


@pytest.fixture(scope="session")
def packed() -> Callable[..., Packets]:
    """Frames as a block with its index: ``packed(packets, link=1, wires=None)``."""
    return pack


@pytest.fixture(scope="session")
def metered(kernels: Kernels) -> Callable[..., Outcome]:
    """Packets through the kernel: ``metered(packets, pool_rows=4096, batch=None, meter=None)``."""

    def run(
        packets: Iterable[Packet],
        *,
        pool_rows: int = 4096,
        link: int = 1,
        wires: list[int] | None = None,
        batch: int | None = None,
        meter: Meter | None = None,
    ) -> Outcome:
        everything = list(packets)
        meter = meter or Meter(kernels, PROFILES["minimum"], pool_rows=pool_rows)
        size = batch or len(everything) or 1
        rows, jumps = [], []
        for at in range(0, len(everything), size):
            part = pack(everything[at : at + size], link, wires and wires[at : at + size])
            for one in meter.feed(part):
                rows.append(one.records.copy())
                jumps += one.events.tolist()
        rows.extend([one.records.copy() for one in meter.finish()])
        records = plain_records(records_of(np.concatenate(rows)))
        return Outcome(
            sorted(records, key=lambda one: (one.at_packet, one.ordinal)),
            [Jump(one[c.E_FROM], one[c.E_TO], one[c.E_PACKET], one[c.E_FLOWS]) for one in jumps],
        )

    return run


@pytest.fixture(scope="session")
def extracted(kernels: Kernels) -> Callable[..., dict[str, list[dict[str, Any]]]]:
    """Everything read from packets or a file's bytes: ``extracted(packets, profile="standard")``."""

    def run(
        source: bytes | Iterable[Packet], profile: str = "standard", *, link: int = 1
    ) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in DATASETS}
        for name, batch in _batches(kernels, source, profile, link):
            found[name] += batch.to_pylist()
        return {name: [_readable(row) for row in rows] for name, rows in found.items()}

    return run


@pytest.fixture(scope="session")
def lines(kernels: Kernels) -> Callable[..., dict[str, bytes]]:
    """The canonical lines of every dataset: ``lines(packets_or_bytes, profile="standard")``."""

    def run(source: Any, profile: str = "standard", *, link: int = 1) -> dict[str, bytes]:
        found = dict.fromkeys(DATASETS, b"")
        for name, batch in _batches(kernels, source, profile, link):
            if name == "coverage":  # the pipeline knows the source, not the extraction
                at = batch.schema.get_field_index("coverage.source")
                batch = batch.set_column(at, batch.schema.field(at), pa.array(["test"] * len(batch)))  # noqa: PLW2901
            found[name] += "".join(encode(DATASETS[name], batch).to_pylist()).encode()
        return found

    return run


def _batches(kernels: Kernels, source: Any, profile: str, link: int) -> Iterable[tuple[str, pa.RecordBatch]]:
    if not isinstance(source, bytes | CaptureFile):
        source = b"".join(pcap(source, linktype=link))
    capture = CaptureFile(io.BytesIO(source), "test", kernels) if isinstance(source, bytes) else source
    extraction = Extraction(capture, PROFILES[profile], kernels)
    for rows in extraction.rows():
        yield rows.dataset.name, rows.batch


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    """Addresses as text, times as microseconds, absent fields left out."""
    return {name: _value(name, value) for name, value in row.items() if value is not None}


def _value(name: str, value: Any) -> Any:
    if name == "dns.resolved_ip":
        return [str(ip_address(one)) for one in value]
    if isinstance(value, bytes):
        return value.hex("-") if name.endswith("mac") else str(ip_address(value))
    if hasattr(value, "timestamp"):
        return int((value - value.__class__(1970, 1, 1, tzinfo=value.tzinfo)).total_seconds() * 1e6 + 0.5)
    return value


def pack(packets: Iterable[Packet], link: int = 1, wires: list[int] | None = None) -> Packets:
    """*packets* as a block with its index."""
    everything = list(packets)
    frames = [frame for _, frame in everything]
    sizes = np.array([len(frame) for frame in frames], np.int64)
    index = np.zeros((len(frames), 6), np.int64)
    index[:, c.OFFSET] = np.cumsum(sizes) - sizes
    index[:, c.CAPTURED] = sizes
    index[:, c.WIRE] = sizes if wires is None else wires
    index[:, c.TIME] = [time for time, _ in everything]
    index[:, c.LINK] = link
    block = np.frombuffer(b"".join(frames) + b"\0", np.uint8).copy()
    return Packets(block, index, len(frames))


def plain_records(rows: Integers) -> list[Record]:
    """The kernel's rows in plain words."""
    return [_record(row) for row in rows.tolist()]


def _record(row: list[int]) -> Record:
    meta = row[c.META]
    return Record(
        ordinal=row[c.ORDINAL],
        protocol=meta & 0xFF,
        vlans=(meta >> c.META_VLAN_SHIFT & 0xFFF, meta >> c.META_INNER_SHIFT & 0xFFF),
        fragment=bool(meta & c.META_FRAGMENT),
        source=_address(row[c.A_HIGH], row[c.A_LOW], meta),
        source_port=row[c.PORTS] >> 16,
        destination=_address(row[c.B_HIGH], row[c.B_LOW], meta),
        destination_port=row[c.PORTS] & 0xFFFF,
        sent=(row[c.A_PACKETS], row[c.A_BYTES], row[c.A_PAYLOAD]),
        received=(row[c.B_PACKETS], row[c.B_BYTES], row[c.B_PAYLOAD]),
        flow_start=row[c.FLOW_START],
        start=row[c.SLICE_START],
        end=row[c.SLICE_END],
        slice=row[c.SLICE],
        reason=REASONS[row[c.REASON]],
        midstream=bool(row[c.STATE] & c.MIDSTREAM),
        flags=(row[c.TCP_FLAGS] & 0xFF, row[c.TCP_FLAGS] >> 8 & 0xFF),
        at_packet=row[c.AT_PACKET],
    )


def _address(high: int, low: int, meta: int) -> str:
    if not meta & c.META_IPV6:
        return str(ip_address(low))
    return str(ip_address(high.to_bytes(8, signed=True) + low.to_bytes(8, signed=True)))
