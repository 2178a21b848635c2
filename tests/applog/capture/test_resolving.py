"""DNS transactions are paired, closed after 10 s, and name flows only for who had asked before."""

from collections.abc import Callable
from typing import Any

import pytest

from applog.capture import capfile, resolving
from applog.capture.kernel import columns as c
from applog.capture.resolving import Resolver
from applog.capture.sighting import Sighting
from applog.demo import names
from applog.demo.captures import Packet
from applog.demo.datagrams import datagram, dns_lookup, mdns_packet
from applog.demo.names import Answer
from applog.demo.packets import Host
from applog.demo.streams import DOWN, UP, TcpTalk, tcp_conversation

Rows = dict[str, list[dict[str, Any]]]
Extract = Callable[..., Rows]
SECOND = 1_000_000
T = 1_785_722_400 * SECOND
CLIENT = Host(ip="10.20.1.21", mac="02-1a-7c-00-53-21")
OTHER = Host(ip="10.20.1.22", mac="02-1a-7c-00-53-22")
ROUTER = Host(ip="10.20.0.1", mac="00-00-5e-00-53-01")
SERVER = Host(ip="203.0.113.10", mac=ROUTER.mac)
PORTS = (50000, 53)


def ask(at: int, ident: int = 1, name: str = "a.example", kind: int = 1) -> Packet:
    """A question at T + *at*."""
    return datagram(T + at, CLIENT, ROUTER, PORTS, names.dns_query(name, kind, ident=ident))


def reply(at: int, ident: int = 1, name: str = "a.example", kind: int = 1, rcode: int = 0) -> Packet:
    """Its answer."""
    answers = (Answer(name, kind, SERVER.ip),) if kind == 1 and not rcode else ()
    message = names.dns_response(name, kind, answers, ident=ident, rcode=rcode)
    return datagram(T + at, ROUTER, CLIENT, PORTS[::-1], message)


def transactions(rows: Rows) -> list[tuple[Any, ...]]:
    """(asked after, answered after, name, answer) of each record."""
    return [
        (
            row["@timestamp"] - T,
            row["event.end"] - T if "event.end" in row else None,
            row.get("dns.question.name"),
            row.get("dns.response_code"),
        )
        for row in rows["dns"]
    ]


def visit(at: int, port: int = 6000, client: Host = CLIENT) -> list[Packet]:
    """A connection that says no name."""
    return list(
        tcp_conversation(client, SERVER, [], start=T + at, client_port=port, server_port=25, ending="rst")
    )


def domains(rows: Rows) -> list[str | None]:
    """Names of the connections to port 25."""
    return [row.get("destination.domain") for row in rows["flow"] if row["destination.port"] == 25]


def test_a_question_and_its_answer_are_one_record(extracted: Extract) -> None:
    """Who asked whom for what, when, and which addresses came back."""
    (row,) = extracted([ask(0), reply(3000)], "detailed")["dns"]

    assert (row["source.ip"], row["source.port"], row["destination.ip"]) == (CLIENT.ip, 50000, ROUTER.ip)
    assert (row["dns.question.name"], row["dns.question.type"], row["dns.id"]) == ("a.example", "A", 1)
    assert (row["dns.response_code"], row["dns.resolved_ip"]) == ("NOERROR", [SERVER.ip])
    assert (row["@timestamp"], row["event.end"]) == (T, T + 3000)
    assert (row["network.transport"], row["network.protocol"]) == ("udp", "dns")


def test_a_question_without_an_answer_is_a_record(extracted: Extract) -> None:
    """At the latest at the end of the capture; without end and response code."""
    assert transactions(extracted([ask(0)], "detailed")) == [(0, None, "a.example", None)]


@pytest.mark.parametrize(
    ("late", "records"), [(10 * SECOND - 1, 1), (10 * SECOND, 2)], ids=["just", "too-late"]
)
def test_an_answer_within_10_seconds_counts(extracted: Extract, late: int, records: int) -> None:
    """Later, question and answer are records of their own, and the answer still names who had asked."""
    rows = extracted([ask(0), reply(late)], "detailed")

    assert len(rows["dns"]) == records
    assert {(row["source.ip"], row["source.port"]) for row in rows["dns"]} == {(CLIENT.ip, 50000)}


def test_a_repeated_question_is_one_transaction(extracted: Extract) -> None:
    """It began when it was first asked."""
    found = transactions(extracted([ask(0), ask(2 * SECOND), reply(3 * SECOND)], "detailed"))

    assert found == [(0, 3 * SECOND, "a.example", "NOERROR")]


@pytest.mark.parametrize("answered", [{"ident": 2}, {"name": "b.example"}, {"kind": 28}])
def test_another_transaction_does_not_answer(extracted: Extract, answered: dict[str, Any]) -> None:
    """Id, name and type must all agree."""
    assert len(extracted([ask(0), reply(9, **answered)], "detailed")["dns"]) == 2


def test_an_error_is_an_answer(extracted: Extract) -> None:
    """NXDOMAIN closes the transaction."""
    assert transactions(extracted([ask(0), reply(9, rcode=3)], "detailed")) == [
        (0, 9, "a.example", "NXDOMAIN")
    ]


def test_a_lone_answer_is_turned_round(extracted: Extract) -> None:
    """Its source is who it was sent to: they had asked."""
    (row,) = extracted([reply(0)], "detailed")["dns"]

    assert (row["source.ip"], row["destination.ip"], row["destination.port"]) == (CLIENT.ip, ROUTER.ip, 53)


def tcp_lookup(cuts: list[int], order: list[int] | None = None) -> list[Packet]:
    """Two questions in one stream, cut at *cuts*, and their answers."""
    talk = TcpTalk(CLIENT, ROUTER, client_port=7000, server_port=53, start=T)
    packets = list(talk.open())
    stream = b"".join(names.dns_over_tcp(names.dns_query(f"{n}.example", ident=n)) for n in (1, 2))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    segments = [talk.segment(UP, part) for part in parts]
    packets += [segments[place] for place in order or range(len(parts))]
    for n in (2, 1):
        answer = names.dns_response(f"{n}.example", 1, (Answer(f"{n}.example", 1, SERVER.ip),), ident=n)
        packets += talk.say(DOWN, names.dns_over_tcp(answer))
    return [*packets, *talk.close()]


@pytest.mark.parametrize("cuts", [[], [1], [2], [10, 31], [5, 6, 7, 40]])
def test_dns_over_tcp_is_read_from_the_stream(extracted: Extract, cuts: list[int]) -> None:
    """Several messages in a segment, one in several: each is a transaction."""
    rows = extracted(tcp_lookup(cuts), "detailed")["dns"]

    assert sorted((row["dns.question.name"], row["dns.response_code"]) for row in rows) == [
        ("1.example", "NOERROR"),
        ("2.example", "NOERROR"),
    ]
    assert {row["network.transport"] for row in rows} == {"tcp"}


@pytest.mark.parametrize("order", [[0, 2, 1], [2, 0, 1]], ids=["beginning first", "beginning later"])
def test_dns_over_tcp_out_of_order(extracted: Extract, order: list[int]) -> None:
    """A segment that came early waits for what is before it: both questions are answered."""
    rows = extracted(tcp_lookup([10, 31], order), "detailed")["dns"]

    assert [row["event.end"] > row["@timestamp"] for row in rows] == [True, True]


def test_mdns_messages_are_records_of_their_own(extracted: Extract) -> None:
    """Questions and announcements; nothing waits for anything."""
    local = (Answer("phone.local", 1, OTHER.ip),)
    packets = [
        mdns_packet(T, CLIENT, names.mdns_query("_ipp._tcp.local")),
        mdns_packet(T + 1, OTHER, names.mdns_announcement(local)),
    ]

    question, announced = extracted(packets, "detailed")["dns"]

    assert (question["source.ip"], question["network.protocol"]) == (CLIENT.ip, "mdns")
    assert "dns.response_code" not in question
    assert (announced["source.ip"], announced["dns.resolved_ip"]) == (OTHER.ip, [OTHER.ip])


def test_what_is_not_dns_on_port_53_is_said(extracted: Extract) -> None:
    """A message with a sound header and nothing behind it."""
    rows = extracted([datagram(T, CLIENT, ROUTER, PORTS, b"\0\1\1\0\0\1\0\0\0\0\0\0\x3f")], "detailed")

    assert not rows["dns"]
    assert [(row["coverage.reason"], row["coverage.packets"]) for row in rows["coverage"]] == [
        ("undecodable", 1)
    ]


def test_too_many_open_questions_are_given_up_and_counted(
    extracted: Extract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is written without waiting longer; coverage says how many."""
    monkeypatch.setattr(resolving, "MAX_PENDING", 3)

    rows = extracted([ask(n, ident=n) for n in range(5)], "detailed")

    assert [row["dns.id"] for row in rows["dns"]] == [0, 1, 2, 3, 4]
    assert [(row["coverage.reason"], row["coverage.packets"]) for row in rows["coverage"]] == [
        ("names-given-up", 2)
    ]


# --- names of flows ----------------------------------------------------------------------------------


def test_a_flow_is_named_by_the_answer_before_it(extracted: Extract) -> None:
    """The client had resolved that address: the name is marked as coming from DNS."""
    rows = extracted([ask(0), reply(9), *visit(SECOND)], "detailed")

    assert domains(rows) == ["a.example"]
    assert {row.get("flow.domain_source") for row in rows["flow"]} == {None, "dns"}


@pytest.mark.parametrize(
    "packets",
    [
        [*visit(0), ask(SECOND), reply(SECOND + 9)],
        [ask(0), reply(9), *visit(SECOND, client=OTHER)],
        [ask(0), reply(9, rcode=3), *visit(SECOND)],
        [ask(0), *visit(SECOND)],
    ],
    ids=["answered later", "asked by another", "an error", "not answered"],
)
def test_a_flow_has_no_name_that_its_client_did_not_know(extracted: Extract, packets: list[Packet]) -> None:
    """Only an earlier answer to the same client for that address counts."""
    assert domains(extracted(packets, "detailed")) == [None]


def test_the_latest_answer_before_the_flow_counts(extracted: Extract) -> None:
    """Two names for an address: the one asked for last."""
    packets = [ask(0), reply(9), ask(SECOND, 2, "b.example"), reply(SECOND + 9, 2, "b.example")]

    assert domains(extracted([*packets, *visit(2 * SECOND)], "detailed")) == ["b.example"]


@pytest.mark.parametrize("block", [300, 8 << 20])
def test_later_answers_do_not_take_a_name_away(
    extracted: Extract, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """However many names for the address are asked for after the flow, and whatever the blocks were."""
    monkeypatch.setattr(capfile, "BLOCK_BYTES", block)
    packets = [ask(0), reply(9), *visit(SECOND)]
    for n in range(6):
        name, start = f"n{n}.example", T + (10 + n) * SECOND
        packets += dns_lookup(
            CLIENT, ROUTER, name, (Answer(name, 1, SERVER.ip),), start=start, client_port=7000 + n
        )

    assert domains(extracted(packets, "detailed")) == ["a.example"]


def test_multicast_answers_name_no_flow() -> None:
    """Anybody on the link may say anything by mDNS."""
    resolver = Resolver()
    message = names.mdns_announcement((Answer("bank.example", 1, SERVER.ip),))
    row = [0] * c.PEEK_COLUMNS
    row[c.META] = 17

    assert len(list(resolver.look(Sighting(c.P_MDNS, 0, 0, T, 0, message, 1, row)))) == 1
    assert not resolver._named
