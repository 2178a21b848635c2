"""Capture files are what their formats say, and the stored captures are what their maker makes."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from applog.demo.captures import POWER_OF_TWO, Interface, block, pcap, pcapng, relink, write_pcap

PCAPS = Path(__file__).parents[2] / "pcaps"
MOMENT = 1_785_722_400_125_000


@pytest.mark.parametrize("nanoseconds", [False, True], ids=["us", "ns"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["le", "be"])
def test_pcap_states_order_and_unit(order: str, nanoseconds: bool) -> None:
    """The magic number tells byte order and unit, and the record keeps the true length of a cut frame."""
    head, record = pcap([(MOMENT, b"x" * 100)], nanoseconds=nanoseconds, big_endian=order == ">", snaplen=60)

    magic, *_, snaplen, linktype = struct.unpack(order + "IHHiIII", head)
    assert (magic, snaplen, linktype) == (0xA1B23C4D if nanoseconds else 0xA1B2C3D4, 60, 1)
    fraction = 125_000 * (1000 if nanoseconds else 1)
    assert struct.unpack(order + "IIII", record[:16]) == (1_785_722_400, fraction, 60, 100)
    assert record[16:] == b"x" * 60


@pytest.mark.parametrize(
    ("interface", "ticks"),
    [
        (Interface(), MOMENT),
        (Interface(resolution=3), MOMENT // 1000),
        (Interface(resolution=9), MOMENT * 1000),
        (Interface(resolution=POWER_OF_TWO | 20), 1_785_722_400 * 2**20 + 2**17),
        (Interface(offset=1_785_722_400), 125_000),
        (Interface(offset=-10), MOMENT + 10_000_000),
    ],
)
def test_interfaces_count_in_their_own_unit(interface: Interface, ticks: int) -> None:
    """A stored time is the time less the offset, in the resolution's unit."""
    assert interface.ticks(MOMENT) == ticks


@pytest.mark.parametrize("big_endian", [False, True])
def test_pcapng_blocks_close_on_themselves(big_endian: bool) -> None:
    """Each block is a multiple of four bytes long and says its length at both ends."""
    interfaces = (Interface(name="lan0", dropped=3), Interface(linktype=101, resolution=9))
    order = ">" if big_endian else "<"

    blocks = list(
        pcapng([(MOMENT, b"abc"), (MOMENT, b"abcde", 1)], interfaces=interfaces, big_endian=big_endian)
    )

    assert [struct.unpack(order + "I", part[:4])[0] for part in blocks] == [0x0A0D0D0A, 1, 1, 6, 6, 5]
    for part in blocks:
        assert len(part) % 4 == 0
        assert part[4:8] == part[-4:] == struct.pack(order + "I", len(part))
    assert blocks[4][8:12] == struct.pack(order + "I", 1)


def test_a_simple_block_has_no_time() -> None:
    """A simple packet block holds the length and the frame, nothing else."""
    *_, last = pcapng([(MOMENT, b"abcd")], simple=True)

    assert last == block(3, struct.pack("<I", 4) + b"abcd")


@pytest.mark.parametrize(
    ("linktype", "head"),
    [(0, "02000000"), (108, "00000002"), (101, ""), (228, ""), (276, "0800")],
    ids=["null", "loop", "raw", "ipv4", "sll2"],
)
def test_relinking_keeps_the_packet(linktype: int, head: str) -> None:
    """Another link type changes what stands before the IP packet, never the packet."""
    packet = b"\x45" + bytes(30)

    linked = relink(bytes(12) + b"\x08\x00" + packet, linktype)

    assert linked.endswith(packet)
    assert linked.hex().startswith(head)


def test_writing_tells_the_number_of_packets(tmp_path: Path) -> None:
    """The count is that of packets, without the header."""
    assert write_pcap(tmp_path / "two.pcap", [(1, b"a"), (2, b"b")]) == 2


def test_stored_captures_are_what_the_script_makes(tmp_path: Path) -> None:
    """Nobody edits a capture by hand, and all stay small; compressed ones may differ between libraries."""
    subprocess.run([sys.executable, PCAPS / "make.py", tmp_path], check=True)

    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    stored = {name: (PCAPS / name).read_bytes() for name in made}
    packed = {name for name in made if name.endswith((".gz", ".zst"))}
    assert {name for name in made if made[name] != stored[name]} <= packed
    assert max(map(len, made.values())) < 20_000
    assert sum(map(len, made.values())) < 300_000
    assert {path.name for path in PCAPS.iterdir() if path.is_file() and path.suffix != ".py"} == set(made)
