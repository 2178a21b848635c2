"""Captures that differ in their file format, and files that are broken."""

import gzip
import struct
from collections.abc import Iterator

import zstandard
from pcap_kit import (
    OTHER,
    SECOND,
    START,
    Capture,
    file,
    reference,
)

from applog.demo import captures
from applog.demo.captures import POWER_OF_TWO, Interface, InterfacePacket, Packet, block, pcap, pcapng, relink


def containers() -> Iterator[Capture]:
    """File formats."""
    same = reference()
    for order, big in (("le", False), ("be", True)):
        words = "big" if big else "little"
        for unit, nanoseconds in (("us", False), ("ns", True)):
            content = file(pcap(same, nanoseconds=nanoseconds, big_endian=big))
            yield Capture(
                f"reference-{unit}-{order}.pcap", f"the reference: pcap, {unit}, {words}-endian", content
            )
        yield Capture(
            f"reference-{order}.pcapng",
            f"the reference: pcapng, {words}-endian, no options, so microseconds",
            file(pcapng(same, big_endian=big)),
        )
    plain = file(pcap(same))
    yield Capture("reference.pcap.gz", "reference-us-le.pcap in gzip", gzip.compress(plain, 9, mtime=0))
    yield Capture("reference.pcap.zst", "reference-us-le.pcap in Zstandard", zstandard.compress(plain, 19))
    yield Capture(
        "snaplen-96.pcap",
        "the reference cut at 96 bytes: counts are equal, the server name is out of reach",
        file(pcap(same, snaplen=96)),
    )
    yield from _pcapng_kinds(same)


def _pcapng_kinds(same: list[Packet]) -> Iterator[Capture]:
    twice = sorted(
        _on(same, 0, 1) + _on(reference(client=OTHER), 1, captures.LINUX_COOKED), key=lambda p: p[0]
    )
    first, second = (
        Interface(resolution=3, name="lan0"),
        Interface(linktype=captures.LINUX_COOKED, resolution=9, offset=1_700_000_000, name="any"),
    )
    yield Capture(
        "interfaces-le.pcapng",
        "lan0 (Ethernet, 10^-3 s): the reference; any (Linux cooked, 10^-9 s, tsoffset 1,700,000,000): "
        "the same by 10.20.1.22, in between",
        file(pcapng(twice, interfaces=(first, second))),
    )
    twice = sorted(_on(same, 0, 1) + _on(reference(client=OTHER), 1, captures.RAW_IP), key=lambda p: p[0])
    first = Interface(resolution=POWER_OF_TWO | 20, name="lan0", dropped=7)
    second = Interface(linktype=captures.RAW_IP, resolution=9, offset=-3600, name="tun0")
    yield Capture(
        "interfaces-be.pcapng",
        "big-endian; lan0 (Ethernet, 2^-20 s, statistics say 7 dropped): the reference; tun0 (raw IP, "
        "10^-9 s, tsoffset -3,600): the same by 10.20.1.22",
        file(pcapng(twice, interfaces=(first, second), big_endian=True)),
    )
    yield Capture(
        "simple-blocks.pcapng",
        "the reference in simple packet blocks: no packet has a time",
        file(pcapng(same, simple=True)),
    )
    head, description, *rest = pcapng(same)
    extra = block(0x0BAD, struct.pack("<I", 32473) + b"custom") + block(0xCAFE, b"a block that nobody knows")
    extra += block(4, bytes(4)) + block(0x80000001, b"local")
    yield Capture(
        "unknown-blocks.pcapng",
        "the reference behind a custom, an unknown, a name resolution and a local block",
        head + description + extra + file(rest),
    )
    half = len(same) // 2
    two = file(pcapng(same[:half])) + file(pcapng(same[half:], big_endian=True))
    yield Capture("sections.pcapng", "the reference in two sections, little-endian then big-endian", two)


def _on(same: list[Packet], interface: int, linktype: int) -> list[InterfacePacket]:
    return [(time_us, relink(frame, linktype), interface) for time_us, frame in same]


def broken() -> Iterator[Capture]:
    """Bad files, and clocks that jump."""
    same = reference()
    plain, blocks = file(pcap(same)), list(pcapng(same))
    absurd = struct.pack("<IIII", START // SECOND, 0, 0x7FFFFFFF, 0x7FFFFFFF)
    long_block = struct.pack("<II", 6, 1 << 20)
    bad_end = blocks[4][:-4] + struct.pack("<I", 4)
    back = [(time_us - (120 * SECOND if n >= 10 else 0), frame) for n, (time_us, frame) in enumerate(same)]
    ahead = [(time_us + (7200 * SECOND if n >= 10 else 0), frame) for n, (time_us, frame) in enumerate(same)]
    whole, ten = f"{len(same) - 1} whole packets", "ten whole packets"
    ten_packets, eight_blocks = file(pcap(same[:10])), file(blocks[:8])
    for name, says, content in (
        ("empty.pcap", "no byte at all", b""),
        ("header-only.pcap", "a file header, no packet: valid", plain[:24]),
        ("header-only.pcapng", "a section and an interface, no packet: valid", file(blocks[:2])),
        ("short-header.pcap", "11 bytes of a pcap header", plain[:11]),
        ("not-a-capture.pcap", "text", b"Dear officer, this is not a capture.\n" * 3),
        ("truncated-packet.pcap", f"{whole}, the last cut at its 20th byte", plain[: -len(same[-1][1]) + 20]),
        ("truncated-record.pcap", f"{ten}, then 9 bytes of a record header", ten_packets + plain[24:33]),
        ("truncated-block.pcapng", f"{whole}, the last block cut short", file(blocks)[:-30]),
        (
            "truncated.pcap.gz",
            "the first 1,000 bytes of reference.pcap.gz",
            gzip.compress(plain, 9, mtime=0)[:1000],
        ),
        (
            "truncated.pcap.zst",
            "the first 1,000 bytes of reference.pcap.zst",
            zstandard.compress(plain, 19)[:1000],
        ),
        ("absurd-caplen.pcap", f"{ten}, then a record that claims 2 GiB", ten_packets + absurd + bytes(60)),
        (
            "long-block.pcapng",
            "six packets, then a block that claims 1 MiB",
            eight_blocks + long_block + bytes(60),
        ),
        ("bad-trailer.pcapng", "two packets, then one whose two lengths differ", file(blocks[:4]) + bad_end),
        (
            "no-such-interface.pcapng",
            "packets of an interface that was not described",
            blocks[0] + file(blocks[2:6]),
        ),
        (
            "unknown-linktype.pcap",
            "link type 147, which is private to somebody",
            file(pcap(same, linktype=147)),
        ),
        (
            "clock-back.pcap",
            "the reference; from packet 11 on the clock is 2 minutes behind",
            file(pcap(back)),
        ),
        (
            "clock-ahead.pcap",
            "the reference; from packet 11 on the clock is 2 hours ahead",
            file(pcap(ahead)),
        ),
    ):
        yield Capture(name, says, content)
