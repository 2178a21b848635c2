"""Frames are right to the last bit: lengths and checksums, counted again by another method."""

import ipaddress
from collections.abc import Callable

import pytest

from applog.demo import oddities, packets
from applog.demo.datagrams import dns_lookup, mdns_packet, ping
from applog.demo.names import A, Answer, mdns_query
from applog.demo.packets import Endpoint, Flag, Host
from applog.demo.streams import DOWN, UP, TcpTalk, http_exchange, tcp_conversation, tls_session

CLIENT = Host(ip="10.20.1.21", mac="02-1a-7c-00-53-21")
SERVER = Host(ip="203.0.113.10", mac="00-00-5e-00-53-01")
CLIENT6 = Host(ip="2001:db8:20::21", mac=CLIENT.mac)
SERVER6 = Host(ip="2001:db8:f00::10", mac=SERVER.mac)
PAIRS = pytest.mark.parametrize(
    ("client", "server"), [(CLIENT, SERVER), (CLIENT6, SERVER6)], ids=["ipv4", "ipv6"]
)


Check = Callable[[bytes], None]
Sum = Callable[[bytes], int]


@PAIRS
def test_every_checksum_is_right(client: Host, server: Host, check_packet: Check) -> None:
    """TCP, UDP and ICMP packets of all helpers carry right lengths and checksums."""
    frames = [
        *tls_session(client, server, "video.example", start=0, rounds=3),
        *http_exchange(client, server, "obec.example", start=0),
        *dns_lookup(client, server, "obec.example", (Answer("obec.example", A, "192.0.2.40"),), start=0),
        *ping(client, server, start=0),
        mdns_packet(0, client, mdns_query("_ipp._tcp.local")),
    ]

    for _, frame in frames:
        check_packet(frame[14:])


@pytest.mark.parametrize("data", [b"", b"\0\0", b"\xff\xff", b"\xff\xfe\0\1", b"odd", bytes(range(251))])
def test_checksum_is_rfc_1071(data: bytes, folded_sum: Sum) -> None:
    """The quick checksum is the one of the word-by-word rule, also where the sum is all ones."""
    assert packets.checksum(data) == 0xFFFF - folded_sum(data)


def test_a_udp_checksum_is_never_zero() -> None:
    """A UDP checksum that comes to zero is sent as all ones, since zero says that there is none."""
    sums = set()
    for word in range(65536):
        datagram = packets.udp(Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2), word.to_bytes(2))
        sums.add(int.from_bytes(datagram[6:8]))

    assert 0 not in sums
    assert 0xFFFF in sums


@pytest.mark.parametrize(
    ("vlans", "tags"),
    [((), ""), ((30,), "8100001e"), ((100, 30), "88a800648100001e")],
    ids=["none", "vlan", "qinq"],
)
def test_tags_stand_before_the_type(vlans: tuple[int, ...], tags: str) -> None:
    """The innermost VLAN tag is a customer's, those outside it are service tags."""
    packet = packets.ipv4(CLIENT.ip, SERVER.ip, packets.UDP, b"")

    frame = packets.ethernet(packet, source=CLIENT.mac, target=SERVER.mac, vlans=vlans)

    assert frame[12:].hex() == tags + "0800" + packet.hex()


def test_fragments_add_up_to_the_packet(folded_sum: Sum) -> None:
    """IPv4 fragments share the identification, say where they belong, and only the last ends it."""
    payload = bytes(range(256)) * 4

    fragments = oddities.ipv4_fragments(CLIENT.ip, SERVER.ip, 17, payload, size=400, identification=7)

    fields = [int.from_bytes(fragment[6:8]) for fragment in fragments]
    assert b"".join(fragment[20:] for fragment in fragments) == payload
    assert [(field & 0x1FFF) * 8 for field in fields] == [0, 400, 800]
    assert [bool(field & 0x2000) for field in fields] == [True, True, False]
    assert {fragment[4:6] for fragment in fragments} == {b"\0\7"}
    assert {folded_sum(fragment[:20]) for fragment in fragments} == {0xFFFF}


def test_extension_headers_form_a_chain() -> None:
    """Each IPv6 extension header names the next and its own length leads exactly to it."""
    chain = (
        oddities.ipv6_options(),
        oddities.ipv6_routing(SERVER6.ip),
        oddities.ipv6_options(oddities.DESTINATION_OPTIONS, bytes(14)),
        oddities.ipv6_fragment(0, more=False, identification=9),
    )
    packet = packets.ipv6(CLIENT6.ip, SERVER6.ip, packets.UDP, b"payload!", extensions=chain)

    found, kind, at = [], packet[6], 40
    while kind != packets.UDP:
        found.append(kind)
        kind, at = packet[at], at + (8 if kind == oddities.FRAGMENT else 8 + packet[at + 1] * 8)

    assert found == [0, 43, 60, 44]
    assert packet[at:] == b"payload!"
    assert int.from_bytes(packet[4:6]) == len(packet) - 40


def test_overridden_lengths_are_kept(folded_sum: Sum) -> None:
    """The zero length of an offloaded packet can be made; its IPv4 header sum still holds."""
    four = packets.ipv4(CLIENT.ip, SERVER.ip, 6, b"data", total_length=0)
    six = packets.ipv6(CLIENT6.ip, SERVER6.ip, 6, b"data", payload_length=0)

    assert four[2:4] == six[4:6] == b"\0\0"
    assert folded_sum(four[:20]) == 0xFFFF


@pytest.mark.parametrize(
    ("address", "mac"), [("224.0.0.251", "01-00-5e-00-00-fb"), ("ff02::1:2", "33-33-00-01-00-02")]
)
def test_multicast_macs_follow_the_address(address: str, mac: str) -> None:
    """A group's MAC is the one that the address prescribes."""
    assert packets.multicast_mac(address) == mac


@PAIRS
def test_a_conversation_can_be_put_together_again(client: Host, server: Host) -> None:
    """Segments in sequence order give each side's bytes; no segment exceeds the MSS; time only grows."""
    said = [(UP, b"question" * 300), (DOWN, b"answer" * 1000), (UP, b"thanks")]

    trace = list(tcp_conversation(client, server, said, start=5, mss=1000, isn=(2**32 - 50, 7)))

    head = 14 + (40 if ":" in client.ip else 20)
    heard = {client.mac: bytearray(), server.mac: bytearray()}
    expected = {client.mac: (2**32 - 50 + 1) % 2**32, server.mac: 8}
    for _, frame in trace:
        segment, mac = frame[head:], frame[6:12].hex("-")
        seq, flags, payload = int.from_bytes(segment[4:8]), segment[13], segment[(segment[12] >> 4) * 4 :]
        if not flags & Flag.SYN:
            assert seq == expected[mac]
        heard[mac] += payload
        expected[mac] = (expected[mac] + len(payload) + bool(flags & Flag.FIN)) % 2**32
        assert len(payload) <= 1000
    assert heard == {client.mac: said[0][1] + said[2][1], server.mac: said[1][1]}
    times = [time_us for time_us, _ in trace]
    assert times == sorted(set(times))
    assert times[0] == 5


def test_a_conversation_without_handshake_has_no_syn() -> None:
    """A midstream conversation begins with data, and an open one ends with an acknowledgement."""
    trace = list(tcp_conversation(CLIENT, SERVER, [(UP, b"x")], start=0, handshake=False, ending="open"))

    assert [frame[47] for _, frame in trace] == [Flag.PSH | Flag.ACK, Flag.ACK]


def test_a_syn_can_stand_alone(check_packet: Check) -> None:
    """A talk gives its packets one by one, for those who want only some of them."""
    _, frame = TcpTalk(CLIENT, SERVER, start=0).segment(UP, flags=Flag.SYN)

    assert frame[47] == Flag.SYN
    assert ipaddress.ip_address(frame[30:34]) == ipaddress.ip_address(SERVER.ip)
    check_packet(frame[14:])
