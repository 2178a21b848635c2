"""What the tests of the demonstration traffic share: an independent check of a packet's sums and lengths."""

import struct
from collections.abc import Callable

import pytest

UDP, ICMP = 17, 1


def folded_sum(data: bytes) -> int:
    """RFC 1071's sum, word by word with end-around carry: 0xFFFF for data with its checksum inside."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + b"\0" * (len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def check_packet(packet: bytes) -> None:
    """Lengths and checksums of an IP packet whose payload is TCP, UDP or ICMP."""
    if packet[0] >> 4 == 4:
        head = (packet[0] & 15) * 4
        assert folded_sum(packet[:head]) == 0xFFFF
        assert int.from_bytes(packet[2:4]) == len(packet)
        protocol, addresses, body = packet[9], packet[12:20], packet[head:]
    else:
        assert int.from_bytes(packet[4:6]) == len(packet) - 40
        protocol, addresses, body = packet[6], packet[8:40], packet[40:]
    if protocol == UDP:
        assert int.from_bytes(body[4:6]) == len(body)
        assert body[6:8] != b"\0\0"
    pseudo = b"" if protocol == ICMP else addresses + struct.pack("!II", len(body), protocol)
    assert folded_sum(pseudo + body) == 0xFFFF


@pytest.fixture(scope="session", name="folded_sum")
def _folded_sum() -> Callable[[bytes], int]:
    return folded_sum


@pytest.fixture(scope="session", name="check_packet")
def _check_packet() -> Callable[[bytes], None]:
    return check_packet
