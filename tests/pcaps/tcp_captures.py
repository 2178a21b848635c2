"""Captures of TCP: how flows begin and end, and what can happen to segments."""

from collections.abc import Iterator

from pcap_kit import (
    CLIENT,
    NAME,
    SECOND,
    SERVER,
    START,
    STEP,
    Capture,
    file,
)

from applog.demo import payloads
from applog.demo.captures import pcap
from applog.demo.packets import Flag
from applog.demo.streams import DOWN, UP, Direction, Ending, TcpTalk, tcp_conversation


def tcp_states() -> Iterator[Capture]:
    """TCP: how flows begin and end, and what can happen to segments."""

    def talk(port: int, mss: int | None = None) -> TcpTalk:
        return TcpTalk(CLIENT, SERVER, client_port=port, start=START, spacing_us=STEP, rtt_us=STEP, mss=mss)

    hello, world = b"hello" * 20, b"world" * 40
    says: list[tuple[Direction, bytes]] = [(UP, hello), (DOWN, world)]
    kinds: tuple[tuple[str, str, int, Ending, bool], ...] = (
        ("tcp-fin", "handshake, a message each way, FIN both ways", 52001, "fin", True),
        ("tcp-reset", "handshake, a message each way, RST by the client", 52002, "rst", True),
        ("tcp-open", "handshake, a message each way, no end", 52003, "open", True),
        ("tcp-midstream", "no handshake: seen from the middle, closed", 52004, "fin", False),
    )
    for name, line, port, ending, handshake in kinds:
        flow = tcp_conversation(
            CLIENT, SERVER, says, start=START, client_port=port, ending=ending, handshake=handshake
        )
        yield Capture(f"{name}.pcap", line, file(pcap(flow)))
    one = talk(52005)
    refused = [one.segment(UP, flags=Flag.SYN), one.segment(DOWN, flags=Flag.RST | Flag.ACK)]
    yield Capture("tcp-refused.pcap", "SYN, answered by RST", file(pcap(refused)))
    _, syn = talk(52006).segment(UP, flags=Flag.SYN)
    tries = [(START + second * SECOND, syn) for second in (0, 1, 3)]
    yield Capture("tcp-unanswered.pcap", "a SYN sent at 0, 1 and 3 s, never answered", file(pcap(tries)))
    first = list(tcp_conversation(CLIENT, SERVER, says, start=START, client_port=52007, ending="open"))
    again = tcp_conversation(
        CLIENT, SERVER, says, start=START + 5 * SECOND, client_port=52007, isn=(9_000_000, 8_000_000)
    )
    yield Capture(
        "tcp-port-reuse.pcap",
        "an open connection, then a SYN with another first number on the same ports: two flows",
        file(pcap([*first, *again])),
    )
    lone = [talk(52008).segment(DOWN, flags=Flag.SYN | Flag.ACK)]
    yield Capture(
        "tcp-lone-syn-ack.pcap", "one SYN-ACK from the server: the flow is reversed", file(pcap(lone))
    )
    yield from _segments(talk(52009, mss=1100), talk(52010, mss=1100))
    pulse = [(UP, b"tick" * 5)] * 72
    slow = tcp_conversation(
        CLIENT, SERVER, pulse, start=START, client_port=52011, pause_us=10 * SECOND, rtt_us=STEP
    )
    yield Capture(
        "long-flow.pcap", "one TCP flow of 720 s, a message every 10 s: several slices", file(pcap(slow))
    )


def _segments(one: TcpTalk, two: TcpTalk) -> Iterator[Capture]:
    hello = payloads.client_hello(NAME, pad_to=3000, name_last=True, seed="segments")
    opened = list(one.open())
    parts = [one.segment(UP, hello[at : at + 1100]) for at in (0, 1100, 2200)]
    rest = [*one.say(DOWN, payloads.server_hello(seed="segments")), *one.close()]
    yield Capture(
        "tcp-hello-3-segments.pcap",
        "a ClientHello over three segments, its server name in the last",
        file(pcap([*opened, *parts, *rest])),
    )
    opened = list(two.open())
    parts = [two.segment(UP, hello[at : at + 1100]) for at in (0, 1100, 2200)]
    rest = [*two.say(DOWN, payloads.server_hello(seed="segments")), *two.close()]
    arrival = [parts[2], parts[0], parts[2], parts[1], parts[1]]
    times = [time_us for time_us, _ in parts] + [parts[2][0] + 1000, parts[2][0] + 2000]
    mixed = [(time_us, frame) for time_us, (_, frame) in zip(times, arrival, strict=True)]
    yield Capture(
        "tcp-out-of-order.pcap",
        "the same; its segments come as 3, 1, 3, 2, 2",
        file(pcap([*opened, *mixed, *rest])),
    )
