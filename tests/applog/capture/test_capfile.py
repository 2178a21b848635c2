"""Capture files are read as far as they are whole, the same from every format, pipe and block size."""

import gzip
import io
import os
import struct
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard

from applog.capture import capfile
from applog.capture.capfile import CaptureFile, Problem
from applog.capture.kernel import Kernels
from applog.demo.captures import pcap, pcapng
from applog.demo.packets import Endpoint, ethernet, ipv4, udp
from applog.demo.school import write_school_day
from applog.errors import NotACaptureError

Rows = dict[str, list[dict[str, Any]]]
Extract = Callable[..., Rows]
Lines = Callable[..., dict[str, bytes]]

PCAPS = Path(__file__).parents[2] / "pcaps"
SAME_FRAMES = (
    "reference-us-be.pcap", "reference-ns-le.pcap", "reference-ns-be.pcap", "reference-le.pcapng",
    "reference-be.pcapng", "reference.pcap.gz", "reference.pcap.zst", "unknown-blocks.pcapng",
    "sections.pcapng", "ethernet-padded.pcap", "link-ethernet.pcap",
)  # fmt: skip
SAME_FLOWS = ("null", "raw", "loop", "sll", "ipv4", "sll2", "null-be")
SAME_FLOWS6 = ("null-v6", "raw-v6", "sll-v6", "ipv6-v6", "sll2-v6")
ENDS_INSIDE = "the file ends inside a record"
BROKEN: dict[str, tuple[int, Problem | None]] = {
    "header-only.pcap": (0, None),
    "header-only.pcapng": (0, None),
    "truncated-packet.pcap": (19, Problem(3295, ENDS_INSIDE, 36)),
    "truncated-record.pcap": (10, Problem(1811, ENDS_INSIDE, 9)),
    "truncated-block.pcapng": (19, Problem(3660, ENDS_INSIDE, 102)),
    "absurd-caplen.pcap": (10, Problem(1811, "a packet record's length is impossible", 76)),
    "long-block.pcapng": (6, Problem(864, ENDS_INSIDE, 68)),
    "bad-trailer.pcapng": (
        2,
        Problem(280, "a block's two lengths differ, or it is too short for its type", 100),
    ),
    "no-such-interface.pcapng": (
        0,
        Problem(28, "a packet of an interface that the file does not describe", 432),
    ),
}
REFUSED = {
    "empty.pcap": "the file is empty",
    "short-header.pcap": "byte 0: cut inside its header, it begins d4 c3 b2 a1",
    "not-a-capture.pcap": "byte 0: not a capture, it begins 44 65 61 72",
}
START = 1_785_722_400_000_000


def read(kernels: Kernels, data: bytes, name: str = "x") -> tuple[int, CaptureFile]:
    """Number of packets of a file, and the file when it is read."""
    capture = CaptureFile(io.BytesIO(data), name, kernels)
    return sum(packets.count for packets in capture.packets()), capture


def stored(name: str) -> bytes:
    """A file of tests/pcaps."""
    return (PCAPS / name).read_bytes()


def without(rows: Rows, *fields: str) -> Rows:
    """*rows* without some columns."""
    return {
        name: [{key: row[key] for key in row if key not in fields} for row in found]
        for name, found in rows.items()
    }


def probes(count: int, size: int = 500) -> list[tuple[int, bytes]]:
    """Datagrams that do not compress."""
    ends = Endpoint("10.20.1.21", 1000), Endpoint("203.0.113.10", 2000)
    return [
        (
            START + n,
            ethernet(
                ipv4(ends[0].ip, ends[1].ip, 17, udp(*ends, os.urandom(size))),
                source="02-1a-7c-00-53-21",
                target="00-00-5e-00-53-01",
            ),
        )
        for n in range(count)
    ]


# --- formats -----------------------------------------------------------------------------------------


def test_the_reference_is_three_flows(extracted: Extract) -> None:
    """A lookup, a TLS session by its name, a ping: with exact counts and times."""
    rows = extracted(stored("reference-us-le.pcap"))

    lookup, session, echo = sorted(rows["flow"], key=lambda row: int(row["flow.id"]))
    assert (lookup["network.protocol"], lookup["destination.port"]) == ("dns", 53)
    assert (session["destination.domain"], session["tls.version"]) == ("video.example", "1.3")
    assert session["flow.end_reason"] == "closed"
    assert (session["source.packets"], session["destination.packets"]) == (9, 7)
    assert (echo["network.transport"], echo["source.bytes"], echo["destination.bytes"]) == ("icmp", 84, 84)
    assert lookup["@timestamp"] == START
    assert not rows["coverage"]


@pytest.mark.parametrize("name", SAME_FRAMES)
def test_every_format_gives_the_same_flows(lines: Lines, name: str) -> None:
    """Pcap and pcapng, either byte order, µs and ns, packed or not: byte for byte the same records."""
    assert lines(stored(name), "detailed") == lines(stored("reference-us-le.pcap"), "detailed")


@pytest.mark.parametrize(
    ("name", "same"),
    [(name, "ethernet") for name in SAME_FLOWS] + [(name, "ethernet-v6") for name in SAME_FLOWS6],
)
def test_every_link_type_gives_the_same_flows(extracted: Extract, name: str, same: str) -> None:
    """What stands before the IP header changes nothing but the hardware addresses."""
    macs = ("source.mac", "destination.mac")

    found = extracted(stored(f"link-{name}.pcap"), "detailed")

    assert without(found, *macs) == without(extracted(stored(f"link-{same}.pcap"), "detailed"), *macs)
    assert len(found["flow"]) == 3


def test_cooked_captures_know_the_sender(extracted: Extract) -> None:
    """Linux cooked frames name one hardware address: that of who sent."""
    session = extracted(stored("link-sll2.pcap"))["flow"][0]

    assert (session["source.mac"], session["destination.mac"]) == ("02-1a-7c-00-53-21", "00-00-5e-00-53-01")


@pytest.mark.parametrize(("name", "vlans"), [("vlan.pcap", (30, None)), ("qinq.pcap", (100, 30))])
def test_tagged_sessions_are_the_reference_in_a_vlan(
    extracted: Extract, name: str, vlans: tuple[int, int | None]
) -> None:
    """One and two tags are read and recorded; the session is the same."""
    (session,) = extracted(stored(name))["flow"]

    assert (session["network.vlan.id"], session.get("network.inner.vlan.id")) == vlans
    assert (session["destination.domain"], session["source.packets"]) == ("video.example", 9)


def test_a_snap_length_leaves_counts_alone(extracted: Extract) -> None:
    """Cut at 96 bytes, the reference counts the same; only the server name is out of reach."""
    names = (
        "destination.domain",
        "flow.domain_source",
        "tls.client.alpn",
        "tls.version",
        "tls.client.ech_extension",
    )

    cut, whole = (extracted(stored(name)) for name in ("snaplen-96.pcap", "reference-us-le.pcap"))

    assert without(cut, *names) == without(whole, *names)
    assert [row.get("destination.domain") for row in cut["flow"]].count("video.example") == 0


@pytest.mark.parametrize("order", ["le", "be"])
def test_interfaces_have_their_own_clocks_and_links(extracted: Extract, order: str) -> None:
    """Other link types, resolutions and offsets: the reference twice, at the same times."""
    rows = extracted(stored(f"interfaces-{order}.pcapng"))["flow"]
    reference = extracted(stored("reference-us-le.pcap"))["flow"]

    times = sorted((row["@timestamp"], row["event.end"]) for row in reference)
    for client in ("10.20.1.21", "10.20.1.22"):
        mine = [row for row in rows if row["source.ip"] == client]
        assert sorted((row["@timestamp"], row["event.end"]) for row in mine) == times
    assert len(rows) == 6


def test_packets_without_times_are_counted_and_said(extracted: Extract) -> None:
    """Simple packet blocks have no time: the flows are there, and coverage says what is missing."""
    rows = extracted(stored("simple-blocks.pcapng"))

    assert len(rows["flow"]) == 3
    (said,) = rows["coverage"]
    assert (said["coverage.reason"], said["coverage.packets"]) == ("no-time", 20)


def test_an_fcs_length_in_the_link_field_is_not_the_link_type(kernels: Kernels) -> None:
    """The upper bits of pcap's link field say how long the check sequence is."""
    data = bytearray(stored("reference-us-le.pcap"))
    data[23] = 0x14

    assert read(kernels, bytes(data))[1].links == {1}


# --- damage ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_whole_is_read_and_the_rest_said(kernels: Kernels, name: str) -> None:
    """Each bad file gives its whole packets, then where reading stopped, why, and how much was lost."""
    count, capture = read(kernels, stored(name), name)

    assert (count, capture.problem) == BROKEN[name]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_capture_is_refused(kernels: Kernels, name: str) -> None:
    """A file of which nothing can be read is an error that says what was found."""
    with pytest.raises(NotACaptureError) as refusal:
        read(kernels, stored(name), name)

    assert str(refusal.value) == f"{name}: {REFUSED[name]}"


def test_every_good_file_is_read_to_its_end(kernels: Kernels) -> None:
    """No capture here has a problem but those that are meant to."""
    names = {path.name for path in PCAPS.iterdir() if ".pcap" in path.name and path.suffix != ".py"}

    bad = set(BROKEN) | set(REFUSED) | {"truncated.pcap.gz", "truncated.pcap.zst"}
    for name in names - bad:
        assert read(kernels, stored(name), name)[1].problem is None, name


def test_a_cut_gzip_file_is_read_as_far_as_it_goes(kernels: Kernels) -> None:
    """What was unpacked before the cut is given out, and the cut said."""
    count, capture = read(kernels, stored("truncated.pcap.gz"))

    assert count == 7
    assert capture.problem is not None
    assert capture.problem.what.startswith("the compressed data is damaged or cut")


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_large_packed_file_is_read_up_to_its_cut(kernels: Kernels, kind: str) -> None:
    """Nine tenths of the file give about nine tenths of the packets."""
    data = b"".join(pcap(probes(4000)))
    packed = gzip.compress(data, 1) if kind == "gz" else zstandard.compress(data, 1)

    count, capture = read(kernels, packed[: len(packed) * 9 // 10])

    assert 3300 < count <= 3600
    assert capture.problem is not None


def test_a_cut_zstandard_file_is_never_taken_for_whole(kernels: Kernels) -> None:
    """A file cut exactly behind a packet says so too: its frame has no end."""
    packets = probes(300)
    packer = zstandard.ZstdCompressor(level=1).compressobj()
    begun = packer.compress(b"".join(pcap(packets))) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)

    count, capture = read(kernels, begun)

    assert count == 300
    assert capture.problem is not None


@pytest.mark.parametrize("name", ["truncated.pcap.zst", "truncated.pcap.gz"])
def test_a_packed_file_with_nothing_in_it_is_not_called_empty(kernels: Kernels, name: str) -> None:
    """A packed file cut before its first whole piece is damaged, not empty."""
    with pytest.raises(NotACaptureError, match="damaged or cut"):
        read(kernels, stored(name)[:20])


def test_a_damaged_checksum_is_said(kernels: Kernels) -> None:
    """All packets are read, but the file is not called whole."""
    packed = bytearray(gzip.compress(stored("reference-us-le.pcap")))
    packed[-8] ^= 1

    count, capture = read(kernels, bytes(packed))

    assert count == 20
    assert capture.problem is not None


def test_two_packed_parts_are_one_file(kernels: Kernels) -> None:
    """Gzip and zstd files may be joined end to end."""
    data = stored("reference-us-le.pcap")
    half = len(data) // 2

    for pack in (gzip.compress, zstandard.compress):
        assert read(kernels, pack(data[:half]) + pack(data[half:]))[0] == 20


def test_another_pcap_version_is_refused(kernels: Kernels) -> None:
    """Version 2 is the only one that there is."""
    data = bytearray(stored("reference-us-le.pcap"))
    data[4] = 3

    with pytest.raises(NotACaptureError, match="byte 4: pcap version 3, expected 2"):
        read(kernels, bytes(data))


@pytest.mark.parametrize("name", ["reference-us-le.pcap", "reference-le.pcapng"])
def test_a_file_may_be_cut_anywhere(kernels: Kernels, name: str) -> None:
    """Whatever is cut off: never more packets than are whole, never a silent loss."""
    data = stored(name)
    whole, ends = 0, set(boundaries(data, name))

    first = first_packet(data, name)
    for size in range(28 if name.endswith("ng") else 24, len(data)):
        whole += size in ends
        count, capture = read(kernels, data[:size])
        at_an_end = size in ends or size in (28 if first > 28 else 24, first)
        assert (count, capture.problem is None) == (whole, at_an_end), size


def first_packet(data: bytes, name: str) -> int:
    """Where the first packet's record begins."""
    if not name.endswith("ng"):
        return 24
    size: int = struct.unpack_from("<I", data, 32)[0]
    return 28 + size


def boundaries(data: bytes, name: str) -> list[int]:
    """Where each packet's record ends."""
    at, found = first_packet(data, name), []
    while at < len(data):
        size = struct.unpack_from("<I", data, at + (4 if name.endswith("ng") else 8))[0]
        at += size if name.endswith("ng") else 16 + size
        found.append(at)
    return found


def test_an_unknown_link_type_is_said(extracted: Extract) -> None:
    """Its packets are in no flow, and counted with the number that the file declares."""
    rows = extracted(stored("unknown-linktype.pcap"))

    assert not rows["flow"]
    (said,) = rows["coverage"]
    assert (said["coverage.reason"], said["coverage.packets"]) == ("unknown-link-type", 20)
    assert "147" in said["coverage.detail"]


@pytest.mark.parametrize(
    ("name", "way"),
    [("clock-back.pcap", "back by 119.750000 s"), ("clock-ahead.pcap", "ahead by 7200.250000 s")],
)
def test_a_clock_that_jumps_is_said(extracted: Extract, name: str, way: str) -> None:
    """The flows are cut, and coverage tells the direction, the packet and how many."""
    rows = extracted(stored(name))

    (said,) = rows["coverage"]
    assert said["coverage.reason"] == "clock-jump"
    assert way in said["coverage.detail"]
    assert said["coverage.detail"].endswith("at packet 11")
    assert said["coverage.flows"] == [row["flow.end_reason"] for row in rows["flow"]].count("cut") == 2
    assert sum(row["source.packets"] + row["destination.packets"] for row in rows["flow"]) == 20


# --- pipes and blocks --------------------------------------------------------------------------------


def through_a_pipe(kernels: Kernels, lines: Lines, data: bytes, size: int) -> dict[str, bytes]:
    """What is read from a pipe that somebody fills by *size* bytes."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for number, at in enumerate(range(0, len(data), size)):
                pipe.write(data[at : at + size])
                if number < 20:
                    time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        capture = CaptureFile(pipe, "pipe", kernels)
        found = lines(capture, "detailed")
    writer.join()
    return found


@pytest.mark.parametrize("size", [1, 100, 65_536])
@pytest.mark.parametrize(
    "name", ["reference-us-le.pcap", "reference-le.pcapng", "reference.pcap.gz", "reference.pcap.zst"]
)
def test_a_slow_pipe_gives_the_same_records(kernels: Kernels, lines: Lines, name: str, size: int) -> None:
    """However few bytes come at a time."""
    assert through_a_pipe(kernels, lines, stored(name), size) == lines(
        stored("reference-us-le.pcap"), "detailed"
    )


@pytest.fixture(scope="module")
def school_day(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An hour of the demonstration's day."""
    path = tmp_path_factory.mktemp("school") / "day.pcap"
    write_school_day(path, datetime(2026, 8, 3, 9, tzinfo=UTC), hours=1)
    return path.read_bytes()


def in_blocks(
    monkeypatch: pytest.MonkeyPatch, lines: Lines, data: bytes, size: int, rows: int, profile: str
) -> dict[str, bytes]:
    """The lines of *data*, read in blocks of *size* bytes and *rows* packets."""
    with monkeypatch.context() as patch:
        patch.setattr(capfile, "BLOCK_BYTES", size)
        patch.setattr(capfile, "INDEX_ROWS", rows)
        return lines(data, profile)


@pytest.fixture(scope="module")
def usual_lines(lines: Lines) -> dict[str, dict[str, bytes]]:
    """The lines of every stored capture of which anything can be read, from blocks of the usual size."""
    unread = {*REFUSED, "truncated.pcap.zst"}
    paths = [path for path in sorted(PCAPS.glob("*.pcap*")) if path.name not in unread]
    return {path.name: lines(path.read_bytes(), "detailed") for path in paths}


@pytest.mark.parametrize(("size", "rows"), [(64, 1 << 17), (8 << 20, 1)])
def test_records_do_not_depend_on_blocks(
    monkeypatch: pytest.MonkeyPatch,
    lines: Lines,
    usual_lines: dict[str, dict[str, bytes]],
    size: int,
    rows: int,
) -> None:
    """Every stored capture gives the same lines from the smallest blocks and from the usual ones."""
    for name, usual in usual_lines.items():
        assert in_blocks(monkeypatch, lines, stored(name), size, rows, "detailed") == usual, name


@pytest.mark.parametrize("profile", ["standard", "detailed"])
@pytest.mark.parametrize(("size", "rows"), [(10_000, 1 << 17), (8 << 20, 100)])
def test_a_school_day_does_not_depend_on_blocks(
    monkeypatch: pytest.MonkeyPatch, lines: Lines, school_day: bytes, profile: str, size: int, rows: int
) -> None:
    """Thousands of flows with their names: byte for byte the same, whatever the blocks were."""
    small = in_blocks(monkeypatch, lines, school_day, size, rows, profile)

    whole = lines(school_day, profile)
    for name, text in whole.items():
        assert small[name].splitlines() == text.splitlines(), name


def test_packets_larger_than_a_block_are_read(monkeypatch: pytest.MonkeyPatch, kernels: Kernels) -> None:
    """A record need not fit the block it begins in."""
    monkeypatch.setattr(capfile, "BLOCK_BYTES", 100)
    packets = [(START, bytes(size)) for size in (1, 5000, 99, 16, 70_000)]

    assert read(kernels, b"".join(pcap(packets)))[0] == 5
    assert read(kernels, b"".join(pcapng(packets)))[0] == 5


def test_hostile_packets_are_counted_by_their_reason(extracted: Extract) -> None:
    """Each of the 15 frames is in a flow or in a reason, and the note of what is odd about it."""
    rows = extracted(stored("hostile.pcap"))

    flows = sum(row["source.packets"] + row["destination.packets"] for row in rows["flow"])
    gone = {
        row["coverage.detail"]: row["coverage.packets"] for row in rows["coverage"] if "coverage.bytes" in row
    }
    assert flows + sum(gone.values()) == 15
    assert gone == {
        "ARP": 2,
        "cut inside the link-layer header": 1,
        "cut inside the IP header": 1,
        "the IP version contradicts the link layer": 1,
        "the IP header's length is impossible": 1,
        "the IP length is shorter than its header": 1,
    }
