"""What is in no record is said, with its reason, its packets and its bytes."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from applog.capture.capfile import CaptureFile, Packets, Problem
from applog.capture.kernel import Kernels
from applog.capture.kernel import columns as c
from applog.capture.losses import _NOTES, _PACKET_REASONS, losses
from applog.capture.meter import Meter
from applog.capture.profile import PROFILES
from applog.demo.captures import Packet, pcap
from applog.demo.packets import Endpoint, Host, arp, ethernet, ipv4, udp

T = 1_785_722_400_000_000
CLIENT = Host(ip="10.20.1.21", mac="02-1a-7c-00-53-21")
ROUTER = Host(ip="10.20.0.1", mac="00-00-5e-00-53-01")


def framed(packet: bytes, **about: Any) -> bytes:
    """*packet* of the client."""
    return ethernet(packet, source=CLIENT.mac, target=ROUTER.mac, **about)


GOOD = ipv4(CLIENT.ip, ROUTER.ip, 17, udp(Endpoint(CLIENT.ip, 1), Endpoint(ROUTER.ip, 2), b"x"))
FRAMES = {
    c.C_ARP: arp(CLIENT, ROUTER),
    c.C_LLC: framed(b"\x42\x42\x03" + bytes(35), ethertype=38),
    c.C_NOT_IP: framed(bytes(40), ethertype=0x88CC),
    c.C_SHORT_LINK: framed(GOOD)[:13],
    c.C_SHORT_IP: framed(GOOD)[:33],
    c.C_BAD_VERSION: framed(b"\x65" + GOOD[1:], ethertype=0x0800),
    c.C_BAD_HEADER_LENGTH: framed(b"\x44" + GOOD[1:]),
    c.C_BAD_LENGTH: framed(ipv4(CLIENT.ip, ROUTER.ip, 17, b"", total_length=19)),
    c.C_VLAN_DEPTH: framed(GOOD, vlans=tuple(range(1, 10))),
}


def run(
    kernels: Kernels,
    packed: Callable[..., Packets],
    frames: list[bytes],
    link: int = 1,
    wires: list[int] | None = None,
) -> Meter:
    """A meter that was fed *frames*."""
    meter = Meter(kernels, PROFILES["standard"], pool_rows=64)
    packets: list[Packet] = [(T, frame) for frame in frames]
    for _ in (*meter.feed(packed(packets, link, wires)), *meter.finish()):
        pass
    return meter


def capture(kernels: Kernels) -> CaptureFile:
    """A capture that was read without trouble."""
    return CaptureFile(io.BytesIO(b"".join(pcap([]))), "x", kernels)


@pytest.mark.parametrize("reason", FRAMES)
def test_a_packet_without_a_flow_is_counted_by_its_reason(
    kernels: Kernels, packed: Callable[..., Packets], reason: int
) -> None:
    """One row with the packets and their bytes on the wire; packets with a flow are in none."""
    frame = FRAMES[reason]

    meter = run(kernels, packed, [frame, framed(GOOD), frame])

    (row,) = losses(meter.state, capture(kernels), undecodable=0, unpaired=0)
    assert (row.reason, row.detail) == _PACKET_REASONS[reason]
    assert (row.packets, row.bytes, row.timestamp) == (2, 2 * len(frame), T)
    assert meter.state[c.C_IP] == 1


def test_every_reason_of_the_kernel_is_said() -> None:
    """No counter can grow in silence: each is a reason, a note, or one of the sums."""
    counters = {value for name, value in vars(c).items() if name.startswith("C_")}

    sums = {c.C_PACKETS, c.C_IP, c.C_FRAGMENTS, c.C_ZERO_LENGTH}
    assert counters == set(_PACKET_REASONS) | set(_NOTES) | sums
    assert not set(_PACKET_REASONS) & set(_NOTES)
    assert set(FRAMES) == set(_PACKET_REASONS) - {c.C_UNKNOWN_LINK}


def test_an_unknown_link_type_names_what_the_file_declares(
    kernels: Kernels, packed: Callable[..., Packets]
) -> None:
    """So that somebody can find out what it is."""
    meter = run(kernels, packed, [b"?" * 50], link=147)
    one = capture(kernels)
    one.links = {147, 9}

    (row,) = losses(meter.state, one, undecodable=0, unpaired=0)

    assert (row.reason, row.detail) == (
        "unknown-link-type",
        "link types that cannot be read (declared: 9, 147)",
    )


def test_a_note_has_packets_but_no_bytes(kernels: Kernels, packed: Callable[..., Packets]) -> None:
    """Its packets are in a flow: no bytes are lost."""
    meter = run(kernels, packed, [framed(GOOD)[:36]], wires=[len(framed(GOOD))])

    (row,) = losses(meter.state, capture(kernels), undecodable=0, unpaired=0)

    assert (row.reason, row.packets, row.bytes) == ("cut-header", 1, None)


def test_what_others_counted_is_said(kernels: Kernels) -> None:
    """Evicted flows, undecodable messages, questions given up, and where a file became unreadable."""
    state = np.zeros(c.STATE_SIZE, np.int64)
    state[c.Z_EVICTED] = 5
    state[c.Z_CLOCK] = -1
    one = capture(kernels)
    one.problem = Problem(99, "why", 7)

    rows = losses(state, one, undecodable=3, unpaired=2)

    assert [(row.reason, row.packets, row.flows, row.bytes) for row in rows] == [
        ("evicted", None, 5, None),
        ("undecodable", 3, None, None),
        ("names-given-up", 2, None, None),
        ("unreadable", None, None, 7),
    ]
    assert rows[-1].detail == "byte 99: why"
    assert {row.timestamp for row in rows} == {0}


def test_a_capture_without_loss_says_nothing(kernels: Kernels, packed: Callable[..., Packets]) -> None:
    """No row means nothing is missing."""
    meter = run(kernels, packed, [framed(GOOD)])

    assert losses(meter.state, capture(kernels), undecodable=0, unpaired=0) == []
