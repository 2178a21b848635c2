"""The self-description of pcapng is read, or refused with a reason; hostile ones cost no time."""

import io
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applog.capture.capfile import CaptureFile
from applog.capture.kernel import Kernels
from applog.capture.pcapng import Section, describe_interface, open_section, resolution
from applog.demo.captures import POWER_OF_TWO, Interface, block, pcapng
from applog.errors import NotACaptureError

MOMENT = 1_785_722_400_125_000


def header(order: str = "<", major: int = 1) -> bytes:
    """A section header block."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1), order)


def interface(link: int = 1, options: bytes = b"", order: str = "<") -> bytes:
    """An interface description block."""
    return block(1, struct.pack(order + "HHI", link, 0, 0) + options, order)


def option(code: int, value: bytes) -> bytes:
    """A little-endian option."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def times(kernels: Kernels, data: bytes) -> list[int]:
    """Times of the packets of a file."""
    found: list[int] = []
    for packets in CaptureFile(io.BytesIO(data), "x", kernels).packets():
        found += packets.index[: packets.count, 3].tolist()
    return found


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_section_states_its_byte_order(order: str) -> None:
    """Either order is read, and the interfaces of an earlier section are forgotten."""
    section = Section()
    section.add((1, 1, 1, 0, 0))

    assert open_section(section, header(order)) == (28, "")
    assert section.order == order
    assert section.settings().tolist() == [order == ">", 0]


@pytest.mark.parametrize("size", [0, 8, 27])
def test_a_section_that_is_not_whole_waits(size: int) -> None:
    """Length 0 and no reason: more bytes are needed."""
    assert open_section(Section(), header()[:size]) == (0, "")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header()[:8] + b"oops" + header()[12:], "a section header without a byte-order magic"),
        (header(major=2), "pcapng version 2.0, expected 1.0"),
        (header()[:4] + struct.pack("<I", 30) + header()[8:], "a block's length is impossible"),
        (header()[:4] + struct.pack("<I", 1 << 30) + header()[8:], "a block's length is impossible"),
        (header()[:-4] + bytes(4), "a block's two lengths differ, or it is too short for its type"),
    ],
)
def test_a_section_that_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    """What was expected, in words; and as the first block, it refuses the file."""
    assert open_section(Section(), data) == (0, reason)


def test_a_bad_first_section_refuses_the_file(kernels: Kernels) -> None:
    """Nothing was read, so nothing is given out."""
    with pytest.raises(NotACaptureError, match=r"byte 0: pcapng version 2\.0, expected 1\.0"):
        list(CaptureFile(io.BytesIO(header(major=2)), "x", kernels).packets())


def test_a_bad_later_section_keeps_what_came_before(kernels: Kernels) -> None:
    """The packets of the first section are given out; the second is said."""
    data = b"".join(pcapng([(MOMENT, b"x" * 60)])) + header(major=2)
    capture = CaptureFile(io.BytesIO(data), "x", kernels)

    assert sum(packets.count for packets in capture.packets()) == 1
    assert capture.problem == (len(data) - 28, "pcapng version 2.0, expected 1.0", 28)


@pytest.mark.parametrize(
    ("code", "unit"),
    [
        (0, (1_000_000, 1)),
        (3, (1_000, 1)),
        (6, (1, 1)),
        (9, (1, 1_000)),
        (18, (1, 10**12)),
        (19, None),
        (0x80, (1_000_000, 1)),
        (0x80 + 20, (1_000_000, 1 << 20)),
        (0x80 + 42, (1_000_000, 1 << 42)),
        (0x80 + 43, None),
        (0xFF, None),
    ],
)
def test_resolutions(code: int, unit: tuple[int, int] | None) -> None:
    """Powers of ten and of two, as far as 64-bit arithmetic reaches."""
    assert resolution(code) == unit


@given(code=st.sampled_from([0, 3, 6, 9, 0x80 + 10, 0x80 + 20, 0x80 + 32]), seconds=st.integers(-3600, 3600))
def test_a_time_survives_every_resolution(kernels: Kernels, code: int, seconds: int) -> None:
    """What a resolution can hold is read back exactly, whatever the offset."""
    one = Interface(resolution=code, offset=seconds)
    moment = MOMENT // 1_000_000 * 1_000_000

    assert times(kernels, b"".join(pcapng([(moment, b"x")], interfaces=(one,)))) == [moment]


@pytest.mark.parametrize(
    "options",
    [
        option(9, bytes([19])),
        option(14, struct.pack("<q", 1 << 41)),
    ],
    ids=["resolution", "offset"],
)
def test_an_impossible_clock_is_a_reason(options: bytes) -> None:
    """Times that could not be told are not guessed."""
    reason = "an interface's time resolution or offset is impossible"

    assert describe_interface(Section(), interface(options=options)) == (0, reason)


def test_options_that_are_not_whole_are_ignored() -> None:
    """An option that claims more than its block ends the list; the interface stands."""
    section = Section()

    taken, reason = describe_interface(section, interface(options=struct.pack("<HH", 9, 400)))

    assert (taken, reason) == (24, "")
    assert section.interfaces[0].tolist() == [1, 1, 1, 0, 0]


def test_many_interfaces_are_kept_apart() -> None:
    """Each keeps its own row and number."""
    section = Section()
    for link in range(100):
        assert describe_interface(section, interface(link)) == (20, "")

    assert section.settings().tolist() == [0, 100]
    assert section.interfaces[:100, 0].tolist() == list(range(100))


@pytest.mark.parametrize("part", [interface(), header()], ids=["interfaces", "sections"])
def test_descriptions_cost_the_same_each(kernels: Kernels, part: bytes) -> None:
    """A file of nothing but descriptions is read, or given up, in a moment."""
    data = header() + part * 60_000
    began = time.monotonic()

    capture = CaptureFile(io.BytesIO(data), "x", kernels)

    assert not list(capture.packets())
    assert capture.problem is None
    assert time.monotonic() - began < 5


def test_too_many_interfaces_are_a_reason(kernels: Kernels) -> None:
    """More than an enhanced packet block of old could number: a damaged or hostile file."""
    capture = CaptureFile(io.BytesIO(header() + interface() * 65_537), "x", kernels)

    assert not list(capture.packets())
    assert capture.problem == (28 + 20 * 65_536, "more than 65536 interfaces", 20)


def test_obsolete_packet_blocks_are_read(kernels: Kernels) -> None:
    """The packet block of old (type 2), with its 16-bit interface number and drop count."""
    high, low = divmod(MOMENT, 1 << 32)
    for order in "<>":
        head = struct.pack(order + "HHIIII", 1, 7, high, low, 3, 60)
        data = (
            header(order)
            + interface(order=order)
            + interface(101, order=order)
            + block(2, head + b"abc", order)
        )
        (packets,) = CaptureFile(io.BytesIO(data), "x", kernels).packets()
        assert packets.index[0, 1:6].tolist() == [3, 60, MOMENT, 101, 1]


def test_a_simple_block_is_cut_at_the_snap_length(kernels: Kernels) -> None:
    """A simple block says only the true length; what was captured follows from the interface."""
    data = b"".join(pcapng([(0, b"x" * 99)], interfaces=(Interface(snaplen=50),), simple=True))

    (packets,) = CaptureFile(io.BytesIO(data), "x", kernels).packets()

    assert packets.index[0, 1:4].tolist() == [50, 99, -1]


def test_powers_of_two_round_down(kernels: Kernels) -> None:
    """A time between two microseconds is the earlier one."""
    one = Interface(resolution=POWER_OF_TWO | 20)

    assert times(kernels, b"".join(pcapng([(1_000_001, b"x")], interfaces=(one,)))) == [1_000_000]
