"""A capture file becomes rows, the same each time, in packet order, with its losses last."""

import gc
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from applog.capture.capfile import CaptureFile
from applog.capture.extract import Extraction, extract_file
from applog.capture.kernel import Kernels
from applog.capture.profile import PROFILES
from applog.demo.captures import Packet, pcap
from applog.demo.packets import Endpoint, ethernet, ipv4, udp

PCAPS = Path(__file__).parents[2] / "pcaps"
T = 1_785_722_400_000_000


def extraction(kernels: Kernels, data: bytes, profile: str = "detailed") -> Extraction:
    """An extraction of *data*."""
    return Extraction(CaptureFile(io.BytesIO(data), "x", kernels), PROFILES[profile], kernels)


def flood(count: int) -> list[Packet]:
    """*count* datagrams, each a flow, a jump of the clock after each thousand."""
    packets = []
    for n in range(count):
        source = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        body = udp(Endpoint(source, 1), Endpoint("10.255.0.1", 2))
        time = T - n // 1000 * 100_000_000 + n
        packets.append(
            (
                time,
                ethernet(
                    ipv4(source, "10.255.0.1", 17, body),
                    source="02-00-00-00-00-01",
                    target="02-00-00-00-00-02",
                ),
            )
        )
    return packets


@pytest.mark.parametrize(
    "name", ["dns.pcap", "dhcp-v4.pcap", "http-keep-alive.pcap", "hostile.pcap", "mdns.pcap"]
)
def test_the_same_file_gives_the_same_rows(lines: Callable[..., dict[str, bytes]], name: str) -> None:
    """Byte for byte, of every dataset, in the same order: so an import can go on where it stopped."""
    data = (PCAPS / name).read_bytes()

    assert lines(data, "detailed") == lines(data, "detailed")


def test_coverage_comes_last(kernels: Kernels) -> None:
    """Whoever has all rows of coverage has all rows."""
    data = b"".join(pcap(flood(5000)))

    order = [rows.dataset.name for rows in extraction(kernels, data).rows()]

    assert order[-1] == "coverage"
    assert order.count("coverage") == 1


def test_every_packet_is_in_a_flow_or_in_coverage(kernels: Kernels) -> None:
    """For each stored capture: packets of flows and of coverage rows with bytes are the packets read."""
    for path in sorted(PCAPS.glob("*.pcap*")):
        if path.name in ("empty.pcap", "not-a-capture.pcap", "short-header.pcap", "truncated.pcap.zst"):
            continue
        one = extraction(kernels, path.read_bytes())
        counted = 0
        for rows in one.rows():
            for row in rows.batch.to_pylist():
                if rows.dataset.name == "flow":
                    counted += row["source.packets"] + row["destination.packets"]
                elif rows.dataset.name == "coverage" and row["coverage.bytes"] and row["coverage.packets"]:
                    counted += row["coverage.packets"]
        assert counted == one.packets, path.name


def test_jumps_are_told_in_order(extracted: Callable[..., Any]) -> None:
    """Each with its time, packet and flows, before the sums of losses."""
    rows = extracted(flood(3000))

    assert [row["coverage.reason"] for row in rows["coverage"]] == ["clock-jump"] * 2
    assert [row["coverage.flows"] for row in rows["coverage"]] == [1000, 1000]
    assert [row["coverage.detail"].rsplit(" ", 1)[1] for row in rows["coverage"]] == ["1001", "2001"]


def test_garbage_collection_is_switched_on_again(kernels: Kernels) -> None:
    """It is off while rows are made, also when nobody takes them all, and as before afterwards."""
    data = (PCAPS / "dns.pcap").read_bytes()
    assert gc.isenabled()

    rows = extraction(kernels, data).rows()
    next(rows)
    assert not gc.isenabled()
    del rows

    assert gc.isenabled()
    gc.disable()
    try:
        list(extraction(kernels, data).rows())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_file_by_its_path(tmp_path: Path) -> None:
    """All four tables are there, empty or not."""
    path = tmp_path / "empty.pcap"
    path.write_bytes(b"".join(pcap([])))

    tables = extract_file(path)

    assert {name: len(table) for name, table in tables.items()} == {
        "flow": 0,
        "dns": 0,
        "lease": 0,
        "coverage": 0,
    }


def test_the_packets_read_so_far_are_known(kernels: Kernels) -> None:
    """For a progress display, and for the sum at the end."""
    one = extraction(kernels, b"".join(pcap(flood(100))))
    assert one.packets == 0

    list(one.rows())

    assert one.packets == 100
