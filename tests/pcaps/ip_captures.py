"""Captures that differ below TCP and UDP: link types, tags, IP headers, fragments, tunnels."""

from collections.abc import Callable, Iterator
from typing import Final

from pcap_kit import (
    CLIENT,
    CLIENT6,
    ROUTER,
    ROUTER6,
    SERVER,
    SERVER6,
    Capture,
    down,
    file,
    probe,
    raw,
    reference,
    up,
)

from applog.demo import oddities as odd
from applog.demo import packets, payloads
from applog.demo.captures import Packet, pcap, relink
from applog.demo.packets import Endpoint, Flag, ipv4, ipv6, mac_bytes, tcp, udp

FAR_END: Final = "203.0.113.200"
"""The other end of all tunnels."""


def links() -> Iterator[Capture]:
    """Link types."""
    same, same6 = reference(), reference(CLIENT6, SERVER6, ROUTER6)
    for linktype, name, says in (
        (1, "ethernet", "Ethernet"),
        (0, "null", "BSD null (0), little-endian"),
        (101, "raw", "raw IP (101)"),
        (108, "loop", "OpenBSD loop (108)"),
        (113, "sll", "Linux cooked v1 (113)"),
        (228, "ipv4", "raw IPv4 (228)"),
        (276, "sll2", "Linux cooked v2 (276)"),
    ):
        linked = [(time_us, relink(frame, linktype)) for time_us, frame in same]
        yield Capture(f"link-{name}.pcap", f"the reference: {says}", file(pcap(linked, linktype=linktype)))
    linked = [(time_us, relink(frame, 0, big_endian=True)) for time_us, frame in same]
    content = file(pcap(linked, linktype=0, big_endian=True))
    yield Capture("link-null-be.pcap", "the reference: BSD null (0), big-endian", content)
    for linktype, name in (
        (1, "ethernet"),
        (0, "null"),
        (101, "raw"),
        (113, "sll"),
        (229, "ipv6"),
        (276, "sll2"),
    ):
        linked = [(time_us, relink(frame, linktype)) for time_us, frame in same6]
        content = file(pcap(linked, linktype=linktype))
        yield Capture(f"link-{name}-v6.pcap", f"the reference over IPv6: link type {linktype}", content)
    padded = [(time_us, frame.ljust(60, b"\xaa")) for time_us, frame in same]
    yield Capture(
        "ethernet-padded.pcap", "the reference, short frames filled to 60 bytes", file(pcap(padded))
    )
    vlan, qinq = file(pcap(reference(vlans=(30,)))), file(pcap(reference(vlans=(100, 30))))
    yield Capture("vlan.pcap", "the reference's TLS session in VLAN 30", vlan)
    yield Capture("qinq.pcap", "the reference's TLS session in service VLAN 100 (802.1ad), VLAN 30", qinq)


def layers() -> Iterator[Capture]:
    """IP: extension headers, fragments, tunnels, offload."""
    hop = odd.ipv6_options()
    chains = {
        51001: (hop,),
        51002: (odd.ipv6_routing(SERVER6.ip),),
        51003: (odd.ipv6_options(odd.DESTINATION_OPTIONS, b"\x01\x04" + bytes(4)),),
        51004: (odd.ipv6_fragment(0, more=False, identification=1),),
        51005: (hop, odd.ipv6_routing(SERVER6.ip), odd.ipv6_options(odd.DESTINATION_OPTIONS)),
    }
    frames = [
        up(ipv6(CLIENT6.ip, SERVER6.ip, 17, probe(port, 32, CLIENT6, SERVER6), extensions=chain))
        for port, chain in chains.items()
    ]
    yield Capture(
        "ipv6-extensions.pcap",
        "UDP from ports 51001-51005 behind hop-by-hop, routing, destination options, an atomic fragment "
        "header, and three of them",
        file(pcap(raw(frames))),
    )
    whole = probe(51010, 1000, CLIENT6, SERVER6)
    pieces = [
        ipv6(
            CLIENT6.ip,
            SERVER6.ip,
            17,
            whole[at : at + 400],
            extensions=(odd.ipv6_fragment(at, more=at < 800, identification=77),),
        )
        for at in (0, 400, 800)
    ]
    yield Capture(
        "ipv6-fragments.pcap", "one UDP datagram in three fragments", file(pcap(raw(map(up, pieces))))
    )
    yield from _fragments()
    option = ipv4(CLIENT.ip, SERVER.ip, 17, probe(51030), options=bytes.fromhex("94040000"))
    longest = ipv4(CLIENT.ip, SERVER.ip, 17, probe(51031), options=b"\x01" * 40)
    content = file(pcap(raw([up(option), up(longest)])))
    yield Capture("ipv4-options.pcap", "UDP behind 4 (51030) and 40 (51031) bytes of options", content)
    yield from _tunnels()
    sender, receiver = Endpoint(CLIENT.ip, 51040), Endpoint(SERVER.ip, 443)
    big = tcp(sender, receiver, payloads.filler(2000, "tso"), flags=Flag.PSH | Flag.ACK, seq=5)
    big6 = tcp(Endpoint(CLIENT6.ip, 51041), Endpoint(SERVER6.ip, 443), payloads.filler(2000, "tso"), seq=5)
    offloaded = [
        ipv4(CLIENT.ip, SERVER.ip, 6, big, total_length=0),
        ipv6(CLIENT6.ip, SERVER6.ip, 6, big6, payload_length=0),
    ]
    yield Capture(
        "zero-ip-length.pcap",
        "two offloaded segments of 2,000 bytes whose IP length is 0: count the wire's length",
        file(pcap(raw(map(up, offloaded)))),
    )


def _fragments() -> Iterator[Capture]:
    def cut(port: int, ident: int) -> list[bytes]:
        whole = probe(port, 1000)
        return list(
            map(up, odd.ipv4_fragments(CLIENT.ip, SERVER.ip, 17, whole, size=400, identification=ident))
        )

    yield Capture(
        "ipv4-fragments.pcap", "one UDP datagram (51020) in three fragments", file(pcap(raw(cut(51020, 1))))
    )
    head, middle, tail = cut(51021, 2)
    orphans = cut(51022, 3)[1:]
    content = file(pcap(raw([tail, middle, head, *orphans])))
    yield Capture(
        "ipv4-fragments-late-head.pcap",
        "a datagram (51021) whose head comes last, then one whose head never comes: a flow without ports",
        content,
    )


def _tunnels() -> Iterator[Capture]:
    wraps: dict[str, tuple[str, int, Callable[[str, str, bytes], bytes]]] = {
        "gre": ("GRE", packets.GRE, lambda _source, _target, packet: odd.gre(packet)),
        "ipip": ("IP in IP", packets.IPV4, lambda _source, _target, packet: packet),
        "6in4": ("IPv6 in IPv4", packets.IPV6, lambda _source, _target, packet: packet),
        "vxlan": ("VXLAN (network 42, UDP 4789 at both ends)", packets.UDP, _vxlan),
    }
    for name, (says, protocol, wrap) in wraps.items():
        wrapped: list[Packet] = []
        for time_us, frame in reference(CLIENT6, SERVER6, ROUTER6) if name == "6in4" else reference():
            inner, upward = frame[14:], frame[6:12] == mac_bytes(CLIENT.mac)
            ends = (CLIENT.ip, FAR_END) if upward else (FAR_END, CLIENT.ip)
            outer = ipv4(*ends, protocol, wrap(*ends, inner))
            wrapped.append((time_us, up(outer) if upward else down(outer)))
        line = f"the reference inside {says}, from 10.20.1.21 to {FAR_END} and back: one outer flow"
        yield Capture(f"tunnel-{name}.pcap", line, file(pcap(wrapped)))


def _vxlan(source: str, target: str, packet: bytes) -> bytes:
    return udp(Endpoint(source, 4789), Endpoint(target, 4789), odd.vxlan(up(packet), network=42))


def hostile() -> Iterator[Capture]:
    """Packets that lie."""
    good = ipv4(CLIENT.ip, SERVER.ip, 17, probe(55001))
    segment = tcp(Endpoint(CLIENT.ip, 55002), Endpoint(SERVER.ip, 443), b"x" * 20)
    loop = ipv6(CLIENT6.ip, SERVER6.ip, 17, b"", extensions=tuple([odd.ipv6_options()] * 60))
    frames = [
        up(good),
        up(good)[:9],  # Ethernet header cut
        up(good)[:20],  # IP header cut
        up(b"\x44" + good[1:]),  # header length 16
        up(b"\x4f" + good[1:24]),  # header length 60, packet shorter
        up(good)[:14] + b"\x95" + good[1:],  # IP version 9
        up(ipv4(CLIENT.ip, SERVER.ip, 17, probe(55001), total_length=10)),
        up(ipv4(CLIENT.ip, SERVER.ip, 17, probe(55001), total_length=65535)),
        up(ipv4(CLIENT.ip, SERVER.ip, 17, probe(55001)[:5])),
        up(ipv4(CLIENT.ip, SERVER.ip, 6, segment[:12] + b"\xf0" + segment[13:])),  # data offset 60
        up(ipv4(CLIENT.ip, SERVER.ip, 6, segment[:12] + b"\x10" + segment[13:])),  # data offset 4
        up(loop),
        up(loop[:100]),
        packets.arp(CLIENT, ROUTER),
        packets.arp(ROUTER, CLIENT, reply=True),
    ]
    says = "15 frames: a good datagram (55001), 12 that lie about their lengths or are cut, two of ARP"
    yield Capture("hostile.pcap", says, file(pcap(raw(frames))))
