"""Rows of the kernel become columns: each word, address and absent value as the dataset promises."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from applog.capture.flows import read_flows
from applog.demo.captures import Packet
from applog.demo.packets import Endpoint, Flag, ethernet, ip, tcp, udp

Rows = dict[str, list[dict[str, Any]]]
Extract = Callable[..., Rows]
PCAPS = Path(__file__).parents[2] / "pcaps"
T = 1_785_722_400_000_000
A, B = "10.20.1.21", "203.0.113.10"
A6, B6 = "2001:db8:20::21", "2001:db8:f00::10"
S, SA, K, FK, R = 2, 18, 16, 17, 4
"""SYN, SYN and ACK, ACK, FIN and ACK, RST."""


def framed(source: str, target: str, protocol: int, payload: bytes, at: int = 0) -> Packet:
    """An IP packet from *source*."""
    macs = ("02-1a-7c-00-53-21", "00-00-5e-00-53-01")[:: 1 if source in (A, A6) else -1]
    return T + at, ethernet(ip(source, target, protocol, payload), source=macs[0], target=macs[1])


def talk(*said: tuple[int, int]) -> list[Packet]:
    """TCP packets of these (side, flags)."""
    ends = Endpoint(A, 1), Endpoint(B, 2)
    return [
        framed(
            ends[side].ip, ends[1 - side].ip, 6, tcp(ends[side], ends[1 - side], flags=Flag(flags), seq=5), n
        )
        for n, (side, flags) in enumerate(said)
    ]


def stored(extracted: Extract, name: str, profile: str = "standard") -> list[dict[str, Any]]:
    """Flows of a file of tests/pcaps."""
    return extracted((PCAPS / name).read_bytes(), profile)["flow"]


OPEN = ((0, S), (1, SA), (0, K))


@pytest.mark.parametrize(
    ("said", "state", "flags"),
    [
        (((0, S),), "syn-sent", "S/"),
        (((0, S), (1, R | K)), "refused", "S/RA"),
        (((0, S), (1, SA)), "syn-received", "S/SA"),
        (OPEN, "established", "SA/SA"),
        ((*OPEN, (0, FK)), "closing", "FSA/SA"),
        ((*OPEN, (0, FK), (1, FK)), "closed", "FSA/FSA"),
        ((*OPEN, (1, R)), "reset", "SA/SRA"),
        (((0, K), (1, K)), "midstream", "A/A"),
        (((0, K),), "midstream", "A/"),
        (((0, K), (1, FK), (0, FK)), "closed", "FA/FA"),
    ],
)
def test_tcp_states_and_flags(extracted: Extract, said: Any, state: str, flags: str) -> None:
    """How far the connection had come, and the flags of either side."""
    (row,) = extracted(talk(*said))["flow"]

    assert (row["tcp.state"], row["tcp.flags"]) == (state, flags)


def test_fields_of_tcp_are_absent_elsewhere(extracted: Extract) -> None:
    """A datagram has no state, no flags and no beginning to miss."""
    (row,) = extracted([framed(A, B, 17, udp(Endpoint(A, 1), Endpoint(B, 2)))])["flow"]

    assert not {"tcp.state", "tcp.flags", "flow.midstream", "flow.fragment"} & set(row)


@pytest.mark.parametrize(
    ("protocol", "word"), [(2, "igmp"), (47, "gre"), (50, "esp"), (132, "sctp"), (253, "253"), (255, "255")]
)
def test_transports_have_their_registered_word(extracted: Extract, protocol: int, word: str) -> None:
    """IANA's keyword, or the number where there is none; no ports."""
    (row,) = extracted([framed(A, B, protocol, bytes(20))])["flow"]

    assert row["network.transport"] == word
    assert not {"source.port", "destination.port"} & set(row)


def test_both_families_in_one_batch(extracted: Extract) -> None:
    """Addresses of 4 and of 16 bytes stand side by side, each with its type."""
    packets = [
        framed(one, two, 17, udp(Endpoint(one, 1), Endpoint(two, 2)))
        for one, two in ((A, B), (A6, B6), (B, "10.0.0.9"), (B6, "fe80::1"))
    ]

    rows = extracted(packets)["flow"]

    assert [(row["source.ip"], row["network.type"]) for row in rows] == [
        (A, "ipv4"),
        (A6, "ipv6"),
        (B, "ipv4"),
        (B6, "ipv6"),
    ]
    assert [row["destination.ip"] for row in rows] == [B, B6, "10.0.0.9", "fe80::1"]


def test_zero_is_measured_and_none_is_not_observed(extracted: Extract) -> None:
    """A responder that said nothing sent 0 packets; port 0 is a port; no VLAN is no field."""
    (row,) = extracted([framed(A, B, 17, udp(Endpoint(A, 0), Endpoint(B, 0)))])["flow"]

    assert (row["destination.packets"], row["destination.bytes"]) == (0, 0)
    assert (row["source.port"], row["destination.port"]) == (0, 0)
    assert "network.vlan.id" not in row


def test_a_cut_header_has_no_ports(extracted: Extract) -> None:
    """Ports that were not captured are absent, not zero."""
    time, frame = framed(A, B, 17, udp(Endpoint(A, 5), Endpoint(B, 6)))

    (row,) = extracted([(time, frame[: 14 + 20 + 3])])["flow"]

    assert not {"source.port", "destination.port"} & set(row)
    assert row["network.transport"] == "udp"


def test_hardware_addresses(extracted: Extract) -> None:
    """The destination's is whom the first packet was sent to, until it sends itself."""
    here = "02-aa-aa-aa-aa-aa"
    ends = Endpoint(A, 1), Endpoint(B, 2)
    asked = framed(A, B, 17, udp(*ends))
    reply = ethernet(ip(B, A, 17, udp(*ends[::-1])), source=here, target="02-1a-7c-00-53-21")

    alone, answered = (extracted(packets)["flow"][0] for packets in ([asked], [asked, (T + 1, reply)]))

    assert (alone["source.mac"], alone["destination.mac"]) == ("02-1a-7c-00-53-21", "00-00-5e-00-53-01")
    assert answered["destination.mac"] == here


@pytest.mark.parametrize("name", ["link-raw.pcap", "link-null.pcap", "link-ipv4.pcap"])
def test_link_types_without_hardware_addresses(extracted: Extract, name: str) -> None:
    """They are absent."""
    assert not any("mac" in field for row in stored(extracted, name) for field in row)


@pytest.mark.parametrize(
    ("name", "protocol"),
    [("gre", "gre"), ("ipip", "ipip"), ("6in4", "6in4"), ("vxlan", "vxlan")],
)
def test_a_tunnel_is_one_outer_flow(extracted: Extract, name: str, protocol: str) -> None:
    """What is inside is not opened; the record says that it is a tunnel."""
    (row,) = stored(extracted, f"tunnel-{name}.pcap")

    assert (row["network.protocol"], row["destination.ip"]) == (protocol, "203.0.113.200")
    assert row["source.packets"] + row["destination.packets"] == 20
    assert "destination.domain" not in row


EXPECTED = {
    "tcp-fin.pcap": [("closed", "closed", 52001)],
    "tcp-reset.pcap": [("reset", "reset", 52002)],
    "tcp-open.pcap": [("end-of-capture", "established", 52003)],
    "tcp-midstream.pcap": [("closed", "closed", 52004)],
    "tcp-refused.pcap": [("reset", "refused", 52005)],
    "tcp-unanswered.pcap": [("end-of-capture", "syn-sent", 52006)],
    "tcp-port-reuse.pcap": [("reused", "established", 52007), ("closed", "closed", 52007)],
    "tcp-lone-syn-ack.pcap": [("end-of-capture", "syn-received", 52008)],
}


@pytest.mark.parametrize("name", EXPECTED)
def test_how_connections_end(extracted: Extract, name: str) -> None:
    """Reason, state and the client's port of each flow of the stored captures."""
    rows = stored(extracted, name)

    found = [(row["flow.end_reason"], row["tcp.state"], row["source.port"]) for row in rows]
    assert found == EXPECTED[name]


def test_slices_of_a_long_flow(extracted: Extract) -> None:
    """One id, one start, numbers from 0; only the last has an end reason."""
    rows = stored(extracted, "long-flow.pcap")

    assert [row["flow.slice"] for row in rows] == [0, 1, 2, 3]
    assert len({(row["flow.id"], row["flow.start"]) for row in rows}) == 1
    assert ["flow.end_reason" in row for row in rows] == [False, False, False, True]


def test_fragments_are_marked(extracted: Extract) -> None:
    """Later pieces are a flow of their own, without ports."""
    head, rest = stored(extracted, "ipv4-fragments.pcap")

    assert (head["source.port"], "flow.fragment" in head) == (51020, False)
    assert (rest["flow.fragment"], rest["source.packets"], "source.port" in rest) == (True, 2, False)


def test_extension_headers_are_walked(extracted: Extract) -> None:
    """Ports are found behind every chain."""
    rows = stored(extracted, "ipv6-extensions.pcap")

    assert [row["source.port"] for row in rows] == [51001, 51002, 51003, 51004, 51005]
    assert {row["network.transport"] for row in rows} == {"udp"}


def test_tls_flows_say_what_was_in_clear(extracted: Extract) -> None:
    """Names, versions, ALPN and the ECH extension of four sessions."""
    rows = stored(extracted, "tls.pcap")

    fields = ("destination.domain", "tls.version", "tls.client.alpn", "tls.client.ech_extension")
    assert [tuple(row.get(field) for field in fields) for row in rows] == [
        ("modern.example", "1.3", ["h2", "http/1.1"], False),
        ("legacy.example", "1.2", ["http/1.1"], False),
        ("public.example", "1.3", ["h2"], True),
        (None, "1.3", None, False),
    ]


def test_http_flows_say_method_host_status_and_agent(extracted: Extract) -> None:
    """Of the first request only, and nothing of its path."""
    (row,) = stored(extracted, "http-keep-alive.pcap")

    assert (row["destination.domain"], row["http.request.method"]) == ("intranet.school.example", "GET")
    assert (row["http.response.status_code"], row["user_agent.original"]) == (200, "DemoBrowser/1.0")
    assert "secret" not in str(row)


def test_reading_flows_by_path() -> None:
    """For tests and analysis: a table as it would be journaled."""
    table = read_flows(PCAPS / "reference-us-le.pcap")

    assert table.num_rows == 3
    assert table["flow.id"].to_pylist() == ["0", "1", "2"]
