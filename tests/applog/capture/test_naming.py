"""Names come from what the ends said first, are known from their packet on, and go with their flow."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from applog.capture import capfile
from applog.capture.kernel import columns as c
from applog.capture.naming import Namer
from applog.demo import payloads
from applog.demo.captures import Packet
from applog.demo.packets import Host
from applog.demo.streams import DOWN, UP, TcpTalk

Rows = dict[str, list[dict[str, Any]]]
Extract = Callable[..., Rows]
SECOND = 1_000_000
T = 1_785_722_400 * SECOND
CLIENT = Host(ip="10.20.1.21", mac="02-1a-7c-00-53-21")
SERVER = Host(ip="203.0.113.10", mac="00-00-5e-00-53-01")
HELLO = payloads.client_hello("video.example", pad_to=3000, name_last=True)
HEAD = b"GET / HTTP/1.1\r\nAccept: text/html\r\n"
REST = b"Host: good.example\r\nUser-Agent: U/1\r\n\r\n"
FIELDS = ("destination.domain", "http.request.method", "user_agent.original")


def talk(port: int = 443) -> TcpTalk:
    """A connection to *port*."""
    return TcpTalk(CLIENT, SERVER, client_port=5555, server_port=port, start=T, spacing_us=1000, rtt_us=1000)


def session(parts: list[bytes], order: list[int], *, port: int = 443, answer: bytes = b"") -> list[Packet]:
    """A connection whose client says *parts*, seen in *order*."""
    one = talk(port)
    packets = list(one.open())
    segments = [one.segment(UP, part) for part in parts]
    last = segments[-1][0]
    packets += [(last + n, segments[place][1]) for n, place in enumerate(order)]
    packets += list(one.say(DOWN, answer)) if answer else []
    return [*packets, *one.close()]


def only(rows: Rows) -> dict[str, Any]:
    """The one flow of *rows*."""
    (row,) = rows["flow"]
    return row


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 2, 1, 1], [0, 0, 1, 2]])
def test_a_hello_in_segments_of_any_order(extracted: Extract, order: list[int]) -> None:
    """The server name is found when all its bytes are there, however they came."""
    parts = [HELLO[at : at + 1100] for at in (0, 1100, 2200)]

    assert only(extracted(session(parts, order)))["destination.domain"] == "video.example"


def test_many_small_segments(extracted: Extract) -> None:
    """A hello in 40 pieces, mixed."""
    parts = [HELLO[at : at + 76] for at in range(0, len(HELLO), 76)]
    order = list(range(len(parts)))
    random.Random(1).shuffle(order)

    assert only(extracted(session(parts, order)))["destination.domain"] == "video.example"


def test_a_later_copy_with_other_content_changes_nothing(extracted: Extract) -> None:
    """Who repeats a hello with another name does not rename the flow."""
    forged = payloads.client_hello("other.example", pad_to=3000, name_last=True)
    parts = [HELLO[:1100], HELLO[1100:], forged[:1100], forged[1100:]]
    one = talk()
    packets = list(one.open())
    before = one._next[UP]
    segments = [one.segment(UP, part) for part in parts[:2]]
    one._next[UP] = before
    segments += [one.segment(UP, part) for part in parts[2:]]

    assert only(extracted([*packets, *segments, *one.close()]))["destination.domain"] == "video.example"


@pytest.mark.parametrize("again", [[], [0], [1], [0, 1], [0, 0, 0]])
def test_a_retransmission_does_not_take_a_name_away(extracted: Extract, again: list[int]) -> None:
    """A request in two segments keeps its name when the first one is seen again."""
    row = only(extracted(session([HEAD, REST], [0, 1, *again], port=80)))

    assert [row.get(field) for field in FIELDS] == ["good.example", "GET", "U/1"]


def test_a_forged_retransmission_of_a_request_changes_nothing(extracted: Extract) -> None:
    """Nor does a complete request on the same sequence number."""
    one = talk(80)
    packets = list(one.open())
    before = one._next[UP]
    packets += [one.segment(UP, HEAD), one.segment(UP, REST)]
    one._next[UP] = before
    packets.append(one.segment(UP, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"))

    assert only(extracted([*packets, *one.close()]))["destination.domain"] == "good.example"


def test_a_request_that_was_cut_gives_what_there_is(extracted: Extract) -> None:
    """The end of the flow ends the wait: method and host, if they are there."""
    row = only(extracted(session([HEAD + b"Host: half.example\r\nUser-Ag"], [0], port=80)))

    assert [row.get(field) for field in FIELDS] == ["half.example", "GET", None]


def test_both_sides_are_read(extracted: Extract) -> None:
    """Version and status come from the responder."""
    tls = only(extracted(session([HELLO], [0], answer=payloads.server_hello(version=payloads.TLS12))))
    http = only(extracted(session([HEAD + REST], [0], port=80, answer=payloads.http_response(404))))

    assert (tls["destination.domain"], tls["tls.version"]) == ("video.example", "1.2")
    assert (http["destination.domain"], http["http.response.status_code"]) == ("good.example", 404)


def test_only_the_first_request_names_the_flow(extracted: Extract) -> None:
    """Later requests of a connection that is kept alive may be for anybody."""
    one = talk(80)
    packets = [*one.open()]
    for host in ("first.example", "second.example"):
        packets += one.say(UP, payloads.http_request("GET", host))
        packets += one.say(DOWN, payloads.http_response(200, b"ok"))

    assert only(extracted(packets))["destination.domain"] == "first.example"


def test_a_name_is_known_from_its_packet_on(extracted: Extract) -> None:
    """A slice that ended before the name was said does not have it; the next ones do."""
    one = talk()
    packets = [*one.open()]
    one.now += 61 * SECOND
    packets += one.say(UP, HELLO)
    one.now += 300 * SECOND
    packets += one.say(UP, b"x")

    found = [row.get("destination.domain") for row in extracted(packets)["flow"]]

    assert found == [None, "video.example", "video.example"]


@pytest.mark.parametrize("block", [300, 8 << 20])
def test_a_name_that_came_with_the_end_is_in_the_last_slice_only(
    extracted: Extract, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """A cut request is decoded at its flow's end; no earlier slice knows of it, whatever the blocks were."""
    monkeypatch.setattr(capfile, "BLOCK_BYTES", block)
    one = talk(80)
    packets = [*one.open(), one.segment(UP, HEAD + b"Host: half.example\r\nX: ")]
    one.now += 61 * SECOND
    packets += [one.segment(UP), *one.close()]
    later = TcpTalk(CLIENT, SERVER, client_port=1, start=one.now + 20 * SECOND)

    rows = [row for row in extracted([*packets, *later.open()])["flow"] if row["source.port"] == 5555]

    assert [row.get("destination.domain") for row in rows] == [None, "half.example"]


def test_streams_that_are_neither_tls_nor_http_have_no_name(extracted: Extract) -> None:
    """What the kernel does not know by its first bytes is not decoded."""
    row = only(extracted(session([b"SSH-2.0-OpenSSH_9\r\n"], [0], port=22)))

    assert "destination.domain" not in row
    assert "network.protocol" not in row


def test_a_stream_seen_from_the_middle_is_not_misread(extracted: Extract) -> None:
    """Without the beginning, bytes that look like a hello are the beginning as far as anybody can tell."""
    one = talk()
    packets = [one.segment(UP, HELLO[:1000]), one.segment(UP, HELLO[1000:])]

    row = only(extracted(packets))

    assert (row["flow.midstream"], row["destination.domain"]) == (True, "video.example")


def test_nothing_is_kept_longer_than_its_flow() -> None:
    """Names, unfinished streams and what was decoded are forgotten with the flow."""
    namer = Namer()
    namer.look(c.P_TLS, 1, 0, 0, HELLO, 5)
    namer.look(c.P_TLS, 1, 1, 0, b"\x16\x03", 6)
    namer.look(c.P_UNKNOWN, 2, 0, 50, b"early", 7)

    for ordinal in (1, 2):
        namer.finish(ordinal, 9)
        namer.forget(ordinal)

    assert not any(vars(namer).values())
