"""The compiled meter keeps every rule of its docstring, and agrees with one written from the rules alone."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applog.capture.capfile import Packets
from applog.capture.kernel import Kernels
from applog.capture.kernel import columns as c
from applog.capture.meter import Meter
from applog.capture.profile import PROFILES
from applog.demo.captures import Packet
from applog.demo.oddities import ipv4_fragments, ipv6_fragment
from applog.demo.packets import Endpoint, Flag, ethernet, icmp_echo, ip, ipv4, ipv6, tcp, udp
from tests.support.reference_meter import ACK, FIN, RST, SYN, Outcome, ReferenceMeter, Seen

Run = Callable[..., Outcome]
SECOND, MINUTE = 1_000_000, 60_000_000
T = 1_785_722_400 * SECOND
A, B, C = "10.20.1.21", "203.0.113.10", "10.20.1.22"
HOST_MAC, ROUTER_MAC = "02-1a-7c-00-53-21", "00-00-5e-00-53-01"
PROTOCOLS = {"tcp": 6, "udp": 17, "icmp": 1}


def turned(one: Endpoint, two: Endpoint, *, back: bool) -> tuple[Endpoint, Endpoint]:
    """Sender and receiver."""
    return (two, one) if back else (one, two)


def datagram(at: int, *, back: bool = False, port: int = 4000, size: int = 10, host: str = A) -> Packet:
    """A UDP packet of a client at time T + *at*, or the answer."""
    one, two = turned(Endpoint(host, port), Endpoint(B, 9999), back=back)
    return T + at, frame(ip(one.ip, two.ip, 17, udp(one, two, b"x" * size)), back=back)


def segment(
    at: int, flags: int, *, back: bool = False, seq: int = 1, size: int = 0, port: int = 5000
) -> Packet:
    """A TCP packet of the client at time T + *at*, or one of the server."""
    one, two = turned(Endpoint(A, port), Endpoint(B, 443), back=back)
    body = tcp(one, two, b"x" * size, flags=Flag(flags), seq=seq)
    return T + at, frame(ip(one.ip, two.ip, 6, body), back=back)


def echo(at: int, *, back: bool = False) -> Packet:
    """A ping, or its answer."""
    source, target = (B, A) if back else (A, B)
    return T + at, frame(ip(source, target, 1, icmp_echo(source, target, reply=back)), back=back)


def frame(packet: bytes, *, back: bool = False, vlans: tuple[int, ...] = ()) -> bytes:
    """An Ethernet frame of the client or of the router."""
    source, target = (ROUTER_MAC, HOST_MAC) if back else (HOST_MAC, ROUTER_MAC)
    return ethernet(packet, source=source, target=target, vlans=vlans)


def handshake(at: int = 0, port: int = 5000) -> list[Packet]:
    """An opened connection."""
    return [
        segment(at, SYN, seq=100, port=port),
        segment(at + 1, SYN | ACK, seq=200, back=True, port=port),
        segment(at + 2, ACK, seq=101, port=port),
    ]


# --- who began -------------------------------------------------------------------------------------


def test_the_sender_of_the_first_packet_is_the_originator(metered: Run) -> None:
    """Source is who sent first, whatever the ports look like; both directions are one flow."""
    (record,) = metered([datagram(0, back=True), datagram(1), datagram(2)]).records

    assert (record.source, record.source_port, record.destination) == (B, 9999, A)
    assert (record.sent[0], record.received[0]) == (1, 2)


def test_a_lone_syn_ack_is_reversed(metered: Run) -> None:
    """Who answers a SYN is the responder, even when the SYN was not seen; that is midstream."""
    (record,) = metered([segment(0, SYN | ACK, back=True)]).records

    assert (record.source, record.source_port) == (A, 5000)
    assert (record.sent, record.received[0], record.midstream) == ((0, 0, 0), 1, True)


@pytest.mark.parametrize(
    ("flags", "midstream"), [(SYN, False), (ACK, True), (FIN | ACK, True), (RST, True), (0, True)]
)
def test_midstream_is_a_beginning_that_was_not_seen(metered: Run, flags: int, midstream: bool) -> None:
    """A connection that does not begin with a SYN is marked."""
    (record,) = metered([segment(0, flags), segment(1, ACK, back=True)]).records

    assert record.midstream is midstream


def test_only_tcp_can_be_midstream(metered: Run) -> None:
    """A datagram has no beginning to miss."""
    assert not metered([datagram(0)]).records[0].midstream


# --- slices ------------------------------------------------------------------------------------------


def test_slices_come_after_60_seconds_and_then_every_300(metered: Run) -> None:
    """They end at 60 s, 360 s, 660 s; each has its own times, and the flow's start."""
    records = metered([*handshake(), *(segment(n * 10 * SECOND, ACK, size=5) for n in range(1, 73))]).records

    assert [one.slice for one in records] == [0, 1, 2, 3]
    assert [(one.start - T) // SECOND for one in records] == [0, 60, 360, 660]
    assert [(one.end - T) // SECOND for one in records] == [50, 350, 650, 720]
    assert {one.flow_start for one in records} == {T}
    assert {one.ordinal for one in records} == {0}
    assert [one.reason for one in records] == ["", "", "", "end-of-capture"]


def test_slices_are_deltas(metered: Run) -> None:
    """The sums over a flow's slices are its totals, on each side."""
    packets = [*handshake()]
    for n in range(1, 100):
        packets += [segment(n * 7 * SECOND, ACK, size=n), segment(n * 7 * SECOND + 9, ACK, back=True)]

    records = metered(packets).records

    assert len(records) == 4
    assert sum(one.sent[0] for one in records) == 2 + 99
    assert sum(one.sent[1] for one in records) == 40 * 101 + sum(range(1, 100))
    assert sum(one.sent[2] for one in records) == sum(range(1, 100))
    assert sum(one.received[0] for one in records) == 1 + 99


def test_an_empty_interval_makes_no_record(metered: Run) -> None:
    """A silent connection makes no slices, and the next one takes the next number."""
    packets = [*handshake(), segment(1000 * SECOND, ACK), segment(1001 * SECOND, ACK, back=True)]

    records = metered(packets).records

    assert [(one.slice, one.start - T) for one in records] == [(0, 0), (1, 1000 * SECOND)]


def test_slices_are_cut_at_whole_seconds_of_the_packet_clock(metered: Run) -> None:
    """A packet within the second in which a slice is due still belongs to it."""
    packets = [segment(500_000, SYN, seq=1), segment(500_001, SYN | ACK, back=True)]
    packets += [segment(60 * SECOND + 900_000, ACK), segment(61 * SECOND, ACK)]

    records = metered(packets).records

    assert [one.sent[0] for one in records] == [2, 1]


# --- how flows end -----------------------------------------------------------------------------------


def closing(at: int) -> list[Packet]:
    """FIN both ways."""
    return [segment(at, FIN | ACK), segment(at + 1, FIN | ACK, back=True)]


@pytest.mark.parametrize(("late", "flows"), [(4_999_999, 1), (5_000_000, 2)], ids=["within", "after"])
def test_a_closed_connection_lingers_5_seconds(metered: Run, late: int, flows: int) -> None:
    """What comes within 5 s of the second FIN belongs to the connection; later it is another flow."""
    packets = [*handshake(), *closing(SECOND), segment(SECOND + 1 + late, ACK, back=True)]

    records = metered(packets).records

    assert len(records) == flows
    assert records[0].reason == "closed"


@pytest.mark.parametrize(("late", "flows"), [(4_999_999, 1), (5_000_000, 2)], ids=["within", "after"])
def test_a_reset_connection_lingers_5_seconds(metered: Run, late: int, flows: int) -> None:
    """RST by either side ends the flow after 5 s."""
    packets = [*handshake(), segment(SECOND, RST, back=True), segment(SECOND + late, ACK)]

    records = metered(packets).records

    assert len(records) == flows
    assert records[0].reason == "reset"


def test_a_fin_of_one_side_does_not_end_a_connection(metered: Run) -> None:
    """Half closed is open: the other side may speak for long."""
    packets = [*handshake(), segment(SECOND, FIN | ACK), segment(50 * SECOND, ACK, back=True, size=9)]

    assert [one.reason for one in metered(packets).records] == ["end-of-capture"]


def test_the_first_way_to_end_counts(metered: Run) -> None:
    """A RST after both FINs is still "closed", and does not make the flow linger longer."""
    packets = [*handshake(), *closing(SECOND), segment(4 * SECOND, RST), segment(7 * SECOND, RST)]

    records = metered(packets).records

    assert [(one.reason, one.sent[0]) for one in records] == [("closed", 4), ("reset", 1)]


STATES: dict[str, list[Packet]] = {
    "syn-sent": [segment(0, SYN, seq=100)],
    "established": handshake(),
    "midstream": [segment(0, ACK, seq=7), segment(1, ACK, back=True)],
    "half-closed": [*handshake(), segment(3, FIN | ACK)],
    "closed": [*handshake(), *closing(3)],
    "reset": [*handshake(), segment(3, RST, back=True)],
}


@pytest.mark.parametrize("state", STATES)
def test_a_syn_with_another_number_starts_a_new_flow(metered: Run, state: str) -> None:
    """In any state; the old flow says that its ports were used again."""
    records = metered([*STATES[state], segment(SECOND, SYN, seq=999)]).records

    assert [one.reason for one in records] == ["reused", "end-of-capture"]
    assert records[1].sent[0] == 1
    assert not records[1].midstream


@pytest.mark.parametrize("state", [state for state in STATES if state != "midstream"])
def test_a_repeated_syn_is_the_same_flow(metered: Run, state: str) -> None:
    """A retransmission is told by its number, also after the connection has ended."""
    assert len(metered([*STATES[state], segment(SECOND, SYN, seq=100)]).records) == 1


def test_both_ends_may_open_at_once(metered: Run) -> None:
    """A SYN that answers a SYN is a simultaneous open (RFC 9293 section 3.5), one flow."""
    packets = [segment(0, SYN, seq=1), segment(1, SYN, seq=2, back=True), segment(2, ACK)]

    assert len(metered(packets).records) == 1


IDLE: dict[str, tuple[list[Packet], Callable[[int], Packet], int, int]] = {
    "tcp": (handshake(), lambda at: segment(at, ACK), 2, 1800),
    "tcp-unanswered": ([segment(0, SYN, seq=9)], lambda at: segment(at, SYN, seq=9), 0, 10),
    "udp": ([datagram(0), datagram(2, back=True)], datagram, 2, 60),
    "udp-unanswered": ([datagram(0)], datagram, 0, 30),
    "icmp": ([echo(0), echo(2, back=True)], echo, 2, 30),
    "icmp-unanswered": ([echo(0)], echo, 0, 30),
}


@pytest.mark.parametrize(("early", "flows"), [(1, 1), (0, 2)], ids=["just-under", "just-over"])
@pytest.mark.parametrize("kind", IDLE)
def test_silence_ends_a_flow(metered: Run, kind: str, early: int, flows: int) -> None:
    """TCP 30 min, unanswered 10 s; UDP 60 s, unanswered 30 s; ICMP 30 s: to the microsecond."""
    begin, again, last, seconds = IDLE[kind]

    records = metered([*begin, again(last + seconds * SECOND - early)]).records

    assert len({one.ordinal for one in records}) == flows
    if flows == 2 and seconds < 60:  # later, a slice has given out everything before the flow is over
        assert records[0].reason == "idle"


def test_idle_flows_are_given_out_when_others_move_the_clock(metered: Run) -> None:
    """Whose time is over leaves at the next second, not at the end of the capture."""
    records = metered([datagram(0), *(datagram(n * SECOND, port=1) for n in range(1, 40))]).records

    assert (records[0].reason, records[0].at_packet) == ("idle", 30)


def test_the_end_of_the_capture_ends_every_flow(metered: Run) -> None:
    """Each flow gets its record; one that was already closed says so."""
    packets = [datagram(0), *handshake(5), *closing(10), segment(20, RST, port=77)]

    assert [one.reason for one in metered(packets).records] == ["end-of-capture", "closed", "reset"]


# --- what is counted ---------------------------------------------------------------------------------


def test_ip_bytes_and_payload_bytes(metered: Run) -> None:
    """IP bytes include the IP header and nothing below; payload is what follows the transport header."""
    packets = [datagram(0, size=100), segment(1, SYN | ACK, size=7), echo(2)]

    sent = [max(one.sent, one.received) for one in metered(packets).records]

    assert sent == [(1, 128, 100), (1, 47, 7), (1, 84, 56)]


def test_ethernet_padding_is_not_counted(metered: Run) -> None:
    """A frame filled to 60 bytes counts as its IP length says."""
    time, small = datagram(0, size=1)

    (record,) = metered([(time, small.ljust(60, b"\xaa"))]).records

    assert record.sent == (1, 29, 1)


@pytest.mark.parametrize("family", [4, 6])
def test_a_zero_ip_length_takes_the_wire_length(metered: Run, family: int) -> None:
    """Segmentation offload leaves the length open: what was on the wire is counted."""
    one, two = ("2001:db8::1", "2001:db8::2") if family == 6 else (A, B)
    body = tcp(Endpoint(one, 1), Endpoint(two, 2), b"x" * 3000)
    packet = (
        ipv6(one, two, 6, body, payload_length=0) if family == 6 else ipv4(one, two, 6, body, total_length=0)
    )

    (record,) = metered([(T, frame(packet))]).records

    assert record.sent == (1, len(packet), 3000)


def test_the_snap_length_does_not_change_counts(metered: Run) -> None:
    """A packet cut by the capture counts in full; even its flags are read."""
    whole = [*handshake(), segment(3, ACK, size=1000), segment(4, FIN | ACK, size=1000)]
    cut = [(time, one[:60]) for time, one in whole]

    assert metered(cut, wires=[len(one) for _, one in whole]) == metered(whole)


def test_flags_are_read_of_a_tcp_header_that_is_cut_behind_them(kernels: Kernels, metered: Run) -> None:
    """48 captured bytes hold ports, number and flags: enough to follow the connection, and it is counted."""
    whole = [*handshake(), *closing(10)]
    meter = Meter(kernels, PROFILES["minimum"], pool_rows=64)

    records = metered([(time, one[:48]) for time, one in whole], wires=[54] * 5, meter=meter).records

    assert [one.reason for one in records] == ["closed"]
    assert meter.state[c.C_CUT_TRANSPORT] == 5


def test_vlans_keep_flows_apart(metered: Run) -> None:
    """The same addresses and ports in another VLAN, or another inner VLAN, are another flow."""
    _, one = datagram(0)
    packet = one[14:]
    tags: list[tuple[int, ...]] = [(), (10,), (20,), (10, 20), (10, 30)]

    records = metered([(T + n, frame(packet, vlans=vlans)) for n, vlans in enumerate(tags)]).records

    assert [one.vlans for one in records] == [(0, 0), (10, 0), (20, 0), (10, 20), (10, 30)]


@pytest.mark.parametrize("family", [4, 6])
def test_later_fragments_are_a_marked_flow_without_ports(metered: Run, family: int) -> None:
    """The head counts in its own flow; pieces behind it in one of addresses and protocol only."""
    one, two = ("2001:db8::1", "2001:db8::2") if family == 6 else (A, B)
    whole = udp(Endpoint(one, 53), Endpoint(two, 4444), b"x" * 1000)
    if family == 4:
        pieces = ipv4_fragments(one, two, 17, whole, size=400, identification=9)
    else:
        pieces = [
            ipv6(
                one,
                two,
                17,
                whole[at : at + 400],
                extensions=(ipv6_fragment(at, more=at < 800, identification=9),),
            )
            for at in (0, 400, 800)
        ]

    head, rest = metered([(T + n, frame(piece)) for n, piece in enumerate(pieces)]).records

    assert (head.fragment, head.source_port, head.sent[0]) == (False, 53, 1)
    assert (rest.fragment, rest.source_port, rest.destination_port, rest.sent[0]) == (True, 0, 0, 2)
    assert head.sent[1] + rest.sent[1] == sum(map(len, pieces))


def test_an_atomic_fragment_is_a_whole_packet(metered: Run) -> None:
    """A fragment header without offset and without more (RFC 6946) leaves the ports where they are."""
    one, two = "2001:db8::1", "2001:db8::2"
    chain = (ipv6_fragment(0, more=False, identification=1),)
    packet = ipv6(one, two, 17, udp(Endpoint(one, 5), Endpoint(two, 6), b"x"), extensions=chain)

    (record,) = metered([(T, frame(packet))]).records

    assert (record.fragment, record.source_port, record.sent) == (False, 5, (1, 57, 1))


def test_a_fragment_flow_does_not_follow_tcp(metered: Run) -> None:
    """The bytes of a later piece are no TCP header, whatever they look like."""
    piece = ipv4(A, B, 6, tcp(Endpoint(A, 1), Endpoint(B, 2), flags=Flag.RST), offset=800)

    (record,) = metered([(T, frame(piece))]).records

    assert (record.reason, record.flags, record.midstream) == ("end-of-capture", (0, 0), False)


# --- the packet clock --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "jumps"),
    [(-MINUTE, 0), (-MINUTE - 1, 1), (60 * MINUTE, 0), (60 * MINUTE + 1, 1)],
    ids=["back-1-min", "back-over", "ahead-1-h", "ahead-over"],
)
def test_a_clock_jump_cuts_every_flow(metered: Run, step: int, jumps: int) -> None:
    """Over 1 min back or 1 h ahead of the highest time seen; not a microsecond sooner."""
    base = 2 * 60 * MINUTE
    found = metered([datagram(base), *handshake(base + 1), datagram(base + 3 + step, port=7)])

    assert len(found.jumps) == jumps
    assert [one.reason for one in found.records].count("cut") == 2 * jumps
    if jumps:
        assert found.jumps[0] == (T + base + 3, T + base + 3 + step, 4, 2)


def test_a_jump_is_measured_from_the_highest_time(metered: Run) -> None:
    """Packets a little out of order do not let the clock creep back."""
    packets = [datagram(100 * SECOND), datagram(50 * SECOND), datagram(39 * SECOND)]

    assert len(metered(packets).jumps) == 1


def test_after_a_jump_back_flows_begin_anew(metered: Run) -> None:
    """The same ports after a jump are another flow, with times on the new clock."""
    records = metered([datagram(600 * SECOND), datagram(0), datagram(SECOND)]).records

    assert [(one.reason, one.sent[0]) for one in records] == [("cut", 1), ("end-of-capture", 2)]
    assert records[1].flow_start == T


@pytest.mark.parametrize("live", [3, 20_000])
def test_a_jump_tells_how_many_flows_it_cut(metered: Run, live: int) -> None:
    """Also when another jump was just before, and the output cannot take all flows at once."""
    packets = [datagram(600 * SECOND, port=n + 1) for n in range(2)]
    packets += [datagram(n, port=n + 1) for n in range(live)]
    packets.append(datagram(3 * 60 * MINUTE, port=1))

    found = metered(packets, pool_rows=1 << 15)

    assert [one.flows for one in found.jumps] == [2, live]


def test_packets_a_little_out_of_order_belong_to_their_flow(metered: Run) -> None:
    """Start and end are the lowest and the highest time, not the first and the last packet's."""
    (record,) = metered([datagram(5), datagram(2), datagram(9), datagram(7)]).records

    assert (record.flow_start, record.start, record.end) == (T + 2, T + 2, T + 9)


@pytest.mark.parametrize("time", [-1, -(10**18), 253_402_300_800 * SECOND, 1 << 62])
def test_a_packet_without_a_usable_time_takes_the_last(kernels: Kernels, metered: Run, time: int) -> None:
    """It is counted, and said; it moves no clock."""
    meter = Meter(kernels, PROFILES["minimum"], pool_rows=64)

    found = metered([datagram(5), (time, datagram(0)[1]), datagram(6)], meter=meter)

    assert [(one.sent[0], one.start, one.end) for one in found.records] == [(3, T + 5, T + 6)]
    assert (meter.state[c.C_NO_TIME], found.jumps) == (1, [])


# --- a full table, batches, chance --------------------------------------------------------------------


def crowd(count: int, rows: int) -> list[Packet]:
    """*count* flows of one or two packets, every third answered, many more than *rows*."""
    chance = random.Random(count + rows)
    packets = []
    for n in range(count):
        host = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
        packets.append(datagram(n * 1_000, host=host))
        if n % 3 == 0:
            packets.append(datagram(n * 1_000 + 1, host=host, back=True))
        if chance.random() < 0.2:
            earlier = max(n - chance.randrange(2 * rows), 0)
            packets.append(
                datagram(n * 1_000 + 2, host=f"10.{earlier >> 16}.{earlier >> 8 & 255}.{earlier & 255}")
            )
    return packets


@pytest.mark.parametrize("rows", [1, 64, 256, 1024])
def test_a_full_table_loses_no_packet(kernels: Kernels, metered: Run, rows: int) -> None:
    """Every packet is in some record, and the evicted flows are counted."""
    packets = crowd(4000, rows)
    meter = Meter(kernels, PROFILES["minimum"], pool_rows=rows)

    records = metered(packets, meter=meter).records

    assert sum(one.sent[0] + one.received[0] for one in records) == len(packets)
    evicted = [one for one in records if one.reason == "evicted"]
    assert meter.state[c.Z_EVICTED] == len(evicted) > 0


def test_the_most_idle_unanswered_flows_go_first(metered: Run) -> None:
    """A full table gives up 1/64 at once: the longest silent of the unanswered, then of the answered."""
    packets = [datagram(n, port=n + 1, back=back) for n in range(60) for back in (False, True)]
    packets += [datagram(n * SECOND // 10, port=n + 1) for n in range(60, 128)]
    packets.append(datagram(14 * SECOND, port=9000))

    records = metered(packets, pool_rows=128).records

    gone = [one.source_port for one in records if one.reason == "evicted"]
    assert gone == [61, 62]  # 128/64; ports 1 to 60 were idle for longer, but answered


def test_answered_flows_go_when_there_is_nothing_else(metered: Run) -> None:
    """A table full of conversations still takes new flows."""
    packets = [datagram(n * SECOND // 4, port=n + 1, back=back) for n in range(63) for back in (False, True)]
    packets += [segment(18 * SECOND, SYN | ACK, back=True), datagram(20 * SECOND, port=9000)]

    gone = [one.source_port for one in metered(packets, pool_rows=64).records if one.reason == "evicted"]

    assert gone == [1]


def test_a_full_table_and_a_full_output_at_once(metered: Run) -> None:
    """Thousands of slices in one second leave no room for the flows evicted next: nothing may be lost."""
    first, rest = 8_300, 16_384 - 8_300
    hosts = [f"10.0.{n >> 8}.{n & 255}" for n in range(first)]
    packets = [datagram(n, host=host, back=back) for back in (False, True) for n, host in enumerate(hosts)]
    packets += [datagram(50 * SECOND + n, host=host, back=True) for n, host in enumerate(hosts)]
    packets += [datagram(59 * SECOND + n, host=f"10.1.{n >> 8}.{n & 255}") for n in range(rest)]
    packets.append(datagram(61 * SECOND, host="10.2.0.0"))

    records = metered(packets, pool_rows=16_384).records

    assert sum(one.sent[0] + one.received[0] for one in records) == len(packets)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_records_do_not_depend_on_batches(metered: Run, batch: int) -> None:
    """The same packets in other blocks give the same records."""
    packets = crowd(1500, 256)

    assert metered(packets, pool_rows=256, batch=batch) == metered(packets, pool_rows=256)


def test_records_do_not_depend_on_chance(kernels: Kernels, packed: Callable[..., Packets]) -> None:
    """Each meter has a secret seed of its own, and yet gives the same rows in the same order."""
    packets = packed(crowd(3000, 256))

    def rows() -> tuple[Any, bytes]:
        meter = Meter(kernels, PROFILES["minimum"], pool_rows=256)
        found = [one.records.tobytes() for one in (*meter.feed(packets),)]
        found += [one.records.tobytes() for one in meter.finish()]
        return meter._settings[c.SEED], b"".join(found)

    (seed, one), (other_seed, other) = rows(), rows()

    assert seed != other_seed
    assert one == other


# --- against the reference ----------------------------------------------------------------------------

HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
HOSTS6 = ("2001:db8::1", "2001:db8::2")
STEPS = (
    0, 1, 400_000, SECOND, 5 * SECOND - 1, 5 * SECOND, 10 * SECOND, 30 * SECOND, 60 * SECOND, 61 * SECOND,
    300 * SECOND, 1800 * SECOND, 3600 * SECOND, 3601 * SECOND,
    -1, -SECOND, -5 * SECOND, -29 * SECOND, -60 * SECOND, -61 * SECOND, -4000 * SECOND,
)  # fmt: skip
FLAGS = (SYN, SYN | ACK, ACK, ACK, FIN | ACK, FIN, RST, RST | ACK, 0, SYN | FIN, SYN | RST, 0xFF, 0x18)


def frame_of(packet: Seen) -> Packet:
    """The frame that says what *packet* says."""
    one = Endpoint(packet.source, packet.source_port)
    two = Endpoint(packet.target, packet.target_port)
    if packet.protocol == 6:
        body = tcp(one, two, bytes(packet.payload), flags=Flag(packet.flags), seq=packet.sequence)
    elif packet.protocol == 17:
        body = udp(one, two, bytes(packet.payload))
    else:
        body = bytes(8 + packet.payload) if packet.protocol in (1, 58) else bytes(packet.payload)
    if packet.fragment:
        body = bytes(packet.payload)
    offset = 80 if packet.fragment else 0
    if ":" in packet.source:
        chain = (ipv6_fragment(offset, more=True, identification=3),) if packet.fragment else ()
        whole = ipv6(packet.source, packet.target, packet.protocol, body, extensions=chain)
    else:
        whole = ipv4(packet.source, packet.target, packet.protocol, body, offset=offset)
    vlans = tuple(vlan for vlan in packet.vlans if vlan)
    return packet.time, frame(whole, vlans=vlans)


def size_of(packet: Seen) -> Seen:
    """*packet* with the IP bytes that its frame has."""
    return packet._replace(size=len(frame_of(packet)[1]) - 14 - 4 * sum(map(bool, packet.vlans)))


def random_packet(chance: random.Random, time: int) -> Seen:
    """One packet of few hosts and ports, so that flows meet, end and begin again."""
    protocol = chance.choices((6, 17, 1, 47), (12, 4, 2, 1))[0]
    family6 = chance.random() < 0.15
    source, target = chance.sample(HOSTS6 if family6 else HOSTS, 2)
    if protocol == 1 and family6:
        protocol = 58
    fragment = chance.random() < 0.05
    ported = protocol in (6, 17) and not fragment
    ports = (chance.choice((1000, 1001)), chance.choice((1000, 443))) if ported else (0, 0)
    return size_of(
        Seen(
            time=time,
            source=source,
            source_port=ports[0],
            target=target,
            target_port=ports[1],
            protocol=protocol,
            size=0,
            payload=chance.choice((0, 0, 1, 100)),
            flags=chance.choice(FLAGS) if protocol == 6 and not fragment else 0,
            sequence=chance.choice((1, 1, 2, 0xFFFFFFFF)) if protocol == 6 and not fragment else 0,
            vlans=chance.choices(((0, 0), (5, 0), (5, 6)), (20, 2, 1))[0],
            fragment=fragment,
        )
    )


def random_traffic(seed: int, count: int, *, calm: bool) -> list[Seen]:
    """*count* packets; *calm* ones rarely jump far, so that flows live for long and make slices."""
    chance = random.Random(seed)
    time, packets = T, []
    for _ in range(count):
        step = chance.randrange(20 * SECOND) if calm and chance.random() < 0.97 else chance.choice(STEPS)
        time = max(time + step, 0)
        packets.append(random_packet(chance, time))
        if chance.random() < 0.1:
            time += chance.choice((-2, -1, 1, 3)) * SECOND // 2
    return packets


def reference(packets: list[Seen]) -> Outcome:
    """What the second meter makes of them."""
    meter = ReferenceMeter()
    for packet in packets:
        meter.feed(packet)
    return meter.finish()


@pytest.mark.parametrize("calm", [True, False], ids=["calm", "wild"])
@pytest.mark.parametrize("seed", range(12))
def test_random_traffic_gives_the_reference_meters_records(metered: Run, seed: int, calm: bool) -> None:
    """Two meters written apart agree on every record, its times, counts, slice, reason and moment."""
    packets = random_traffic(seed, 1500, calm=calm)

    ours = metered(map(frame_of, packets))
    theirs = reference(packets)

    assert ours.jumps == theirs.jumps
    assert ours.records == theirs.records


def test_random_traffic_reaches_every_way_to_end() -> None:
    """The random test is worth its time: it makes every reason, slices, and midstream flows of both kinds."""
    records = [
        one for seed in range(4) for one in reference(random_traffic(seed, 1500, calm=seed < 2)).records
    ]

    reasons = {"", "closed", "reset", "idle", "reused", "cut", "end-of-capture"}
    assert {one.reason for one in records} == reasons
    assert max(one.slice for one in records) > 2
    assert {one.midstream for one in records if one.protocol == 6} == {False, True}


_PACKETS = st.lists(
    st.tuples(
        st.sampled_from(STEPS),
        st.booleans(),
        st.sampled_from((6, 6, 6, 17, 1)),
        st.sampled_from(FLAGS),
        st.sampled_from((1, 2)),
        st.sampled_from((0, 9)),
    ),
    max_size=25,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_PACKETS)
def test_any_conversation_gives_the_reference_meters_records(metered: Run, steps: list[Any]) -> None:
    """The smallest conversation on which the meters differ is found, if there is one."""
    time, packets = T, []
    for step, back, protocol, flags, sequence, payload in steps:
        time = max(time + step, 0)
        ends = (("10.0.0.1", 1), ("10.0.0.2", 2)) if protocol != 1 else (("10.0.0.1", 0), ("10.0.0.2", 0))
        one, two = ends[::-1] if back else ends
        is_tcp = protocol == 6
        seen = Seen(time, *one, *two, protocol, 0, payload, flags if is_tcp else 0, sequence if is_tcp else 0)
        packets.append(size_of(seen))

    assert metered(map(frame_of, packets)) == reference(packets)
