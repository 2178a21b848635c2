"""Payloads state their own lengths rightly: TLS, DNS, DHCP and HTTP, walked by hand."""

import pytest

from applog.demo import names, payloads
from applog.demo.addressing import Dhcp, Dhcp6, dhcp4, dhcp6
from applog.demo.names import Answer


def extensions_of(record: bytes) -> dict[int, bytes]:
    """The extensions of a ClientHello, in order; every length on the way must fit exactly."""
    assert record[:3] == b"\x16\x03\x01"
    assert int.from_bytes(record[3:5]) == len(record) - 5
    assert int.from_bytes(record[6:9]) == len(record) - 9
    at = 44 + record[43]
    at += 2 + int.from_bytes(record[at : at + 2])
    at += 1 + record[at]
    assert int.from_bytes(record[at : at + 2]) == len(record) - at - 2
    found, at = {}, at + 2
    while at < len(record):
        kind, size = int.from_bytes(record[at : at + 2]), int.from_bytes(record[at + 2 : at + 4])
        found[kind] = record[at + 4 : at + 4 + size]
        at += 4 + size
    assert at == len(record)
    return found


def test_a_client_hello_says_what_was_asked() -> None:
    """Name, ALPN, versions and ECH stand in their extensions, and nothing is sent for what is left out."""
    full = extensions_of(payloads.client_hello("video.example", ech=payloads.ech_extension()))
    bare = extensions_of(payloads.client_hello(None, alpn=(), versions=()))

    assert full[0] == b"\0\x10\0\0\x0dvideo.example"
    assert full[16] == b"\0\x0c\x02h2\x08http/1.1"
    assert full[43] == b"\x04\x03\x04\x03\x03"
    assert full[0xFE0D][0] == 0
    assert list(bare) == [10, 13]


@pytest.mark.parametrize("name_last", [False, True])
def test_padding_reaches_the_size(name_last: bool) -> None:
    """The handshake message has the size asked for; the name can be put behind the padding."""
    record = payloads.client_hello("video.example", pad_to=3000, name_last=name_last)

    assert len(record) == 3000 + 5
    assert list(extensions_of(record))[-1] == (0 if name_last else 21)


def test_long_data_is_cut_into_records() -> None:
    """No TLS record exceeds 16 KiB."""
    stream = payloads.application_data(40_000, "x")

    sizes = []
    while stream:
        size = int.from_bytes(stream[3:5])
        sizes.append(size)
        stream = stream[5 + size :]
    assert sizes == [16384, 16384, 7232]


def test_both_hellos_share_the_session_id() -> None:
    """A server echoes the client's session id, as TLS 1.3 demands."""
    client, server = payloads.client_hello("a.example", seed="s"), payloads.server_hello(seed="s")

    assert client[43:76] == server[43:76]
    assert client[11:43] != server[11:43]


def test_a_dns_answer_points_at_its_question() -> None:
    """The owner that was asked for is a pointer, another one is written out."""
    answers = (Answer("www.example", names.CNAME, "e.example"), Answer("e.example", names.A, "192.0.2.7"))

    message = names.dns_response("www.example", names.A, answers, ident=5)

    question = b"\x03www\x07example\0\0\x01\0\x01"
    alias = b"\xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x0b\x01e\x07example\0"
    address = b"\x01e\x07example\0\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x07"
    assert message == b"\0\x05\x81\x80\0\x01\0\x02\0\0\0\0" + question + alias + address


def test_dhcp_options_can_be_walked() -> None:
    """A DHCPv4 message carries its options in order and nothing that was not said."""
    message = dhcp4(
        Dhcp.REQUEST, "02-1a-7c-00-53-21", transaction=7, host_name="มาลี", requested_ip="10.20.1.21"
    )

    options, at = {}, 240
    while message[at] != 255:
        options[message[at]] = message[at + 2 : at + 2 + message[at + 1]]
        at += 2 + message[at + 1]
    assert message[236:240].hex() == "63825363"
    assert message[28:34].hex() == "021a7c005321"
    assert options == {
        53: b"\x03",
        61: bytes.fromhex("01021a7c005321"),
        50: bytes([10, 20, 1, 21]),
        12: "มาลี".encode(),
    }


def test_dhcpv6_options_can_be_walked() -> None:
    """A DHCPv6 reply gives the address inside the client's identity association."""
    message = dhcp6(
        Dhcp6.REPLY, "02-1a-7c-00-53-21", transaction=7, server_mac="00-00-5e-00-53-01", address="2001:db8::5"
    )

    options, at = {}, 4
    while at < len(message):
        size = int.from_bytes(message[at + 2 : at + 4])
        options[int.from_bytes(message[at : at + 2])] = message[at + 4 : at + 4 + size]
        at += 4 + size
    assert message[:4] == b"\x07\0\0\x07"
    assert list(options) == [1, 3, 2, 14]
    assert options[3][16:32].hex() == "20010db8000000000000000000000005"


def test_http_states_its_length() -> None:
    """A response's stated length is that of its body, and a status has its reason."""
    head, body = payloads.http_response(204).split(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 204 No Content\r\n")
    assert b"Content-Length: 0" in head
    assert body == b""
