"""A lease is what a server acknowledged; it carries what the client said of itself."""

import struct
from collections.abc import Callable
from typing import Any

from applog.demo.addressing import Dhcp, Dhcp6, dhcp4, dhcp6
from applog.demo.captures import Packet, pcapng
from applog.demo.datagrams import datagram, dhcp6_exchange, dhcp_exchange
from applog.demo.packets import Host, address_bytes, mac_bytes

Rows = dict[str, list[dict[str, Any]]]
Extract = Callable[..., Rows]
SECOND = 1_000_000
T = 1_785_722_400 * SECOND
CLIENT = Host(ip="10.20.1.21", mac="02-1a-7c-00-53-21", name="มือถือ")
ROUTER = Host(ip="10.20.0.1", mac="00-00-5e-00-53-01")
LINK6, ROUTER6 = Host(ip="fe80::21", mac=CLIENT.mac, name="phone"), Host(ip="fe80::1", mac=ROUTER.mac)
GIVEN6 = "2001:db8:20::21"


def server(kind: Dhcp, at: int = 0, **about: Any) -> Packet:
    """A message of the server."""
    message = dhcp4(kind, CLIENT.mac, transaction=7, your_ip=CLIENT.ip, **about)
    return datagram(T + at, ROUTER, CLIENT, (67, 68), message)


def client6(kind: int, body: bytes, at: int = 0) -> Packet:
    """A DHCPv6 message of the client."""
    return datagram(T + at, LINK6, ROUTER6, (546, 547), bytes([kind]) + b"\0\0\7" + body)


def option6(code: int, value: bytes) -> bytes:
    """A DHCPv6 option."""
    return struct.pack("!HH", code, len(value)) + value


def test_an_acknowledgement_grants_a_lease(extracted: Extract) -> None:
    """Device, address, end, host name and client identifier in one record; an offer is none."""
    (lease,) = extracted(dhcp_exchange(CLIENT, ROUTER, start=T))["lease"]

    assert (lease["event.action"], lease["lease.source"]) == ("lease-granted", "dhcpv4")
    assert (lease["client.mac"], lease["client.ip"], lease["server.ip"]) == (CLIENT.mac, CLIENT.ip, ROUTER.ip)
    assert lease["lease.until"] == lease["@timestamp"] + 7200 * SECOND
    assert (lease["host.hostname"], lease["dhcp.client_id"]) == ("มือถือ", "01021a7c005321")


def test_a_request_alone_grants_nothing(extracted: Extract) -> None:
    """A client may ask for anything."""
    assert not extracted([*dhcp_exchange(CLIENT, ROUTER, start=T)][:3])["lease"]


def test_a_refusal_grants_nothing(extracted: Extract) -> None:
    """DHCPNAK."""
    assert not extracted([server(Dhcp.NAK)])["lease"]


def test_a_renewal_is_a_lease(extracted: Extract) -> None:
    """It is granted anew, with a later end."""
    packets = [*dhcp_exchange(CLIENT, ROUTER, start=T)]
    packets += dhcp_exchange(CLIENT, ROUTER, start=T + 3600 * SECOND, renewal=True)

    first, second = extracted(packets)["lease"]

    assert (first["client.ip"], first["host.hostname"]) == (second["client.ip"], second["host.hostname"])
    assert second["lease.until"] - first["lease.until"] > 3590 * SECOND


def test_a_release_gives_the_address_back(extracted: Extract) -> None:
    """It has no end; the address is what the client held, the server whom it told."""
    message = dhcp4(Dhcp.RELEASE, CLIENT.mac, transaction=9, client_ip=CLIENT.ip)

    (lease,) = extracted([datagram(T, CLIENT, ROUTER, (68, 67), message)])["lease"]

    assert (lease["event.action"], lease["client.ip"]) == ("lease-released", CLIENT.ip)
    assert (lease["server.ip"], "lease.until" in lease) == (ROUTER.ip, False)


def test_an_acknowledgement_without_its_request_is_a_lease(extracted: Extract) -> None:
    """The capture may begin between the two; the name is then not known."""
    (lease,) = extracted([server(Dhcp.ACK, lease_s=60, server_ip=ROUTER.ip)])["lease"]

    assert (lease["client.ip"], "host.hostname" in lease) == (CLIENT.ip, False)


def test_the_name_is_that_of_the_same_transaction(extracted: Extract) -> None:
    """Another device's request does not name this one."""
    stranger = Host(ip="10.20.1.99", mac="02-1a-7c-00-53-99", name="stranger")
    asked = dhcp4(Dhcp.REQUEST, stranger.mac, transaction=7, host_name=stranger.name)
    packets = [
        datagram(T, stranger, ROUTER, (68, 67), asked),
        server(Dhcp.ACK, 9, lease_s=60, server_ip=ROUTER.ip),
    ]

    (lease,) = extracted(packets)["lease"]

    assert "host.hostname" not in lease


def test_a_lease_without_end(extracted: Extract) -> None:
    """All ones (RFC 2131 section 3.3), or no lease time, have no end."""
    for seconds in (0xFFFF_FFFF, 0):
        (lease,) = extracted([server(Dhcp.ACK, lease_s=seconds, server_ip=ROUTER.ip)])["lease"]
        assert "lease.until" not in lease


def test_an_end_beyond_the_calendar_is_no_end(lines: Callable[..., dict[str, bytes]]) -> None:
    """A capture may say any year up to 9999; a lease that ends later still has a line."""
    late = 253_402_300_000 * SECOND
    packets = [
        (time - T + late, frame) for time, frame in dhcp_exchange(CLIENT, ROUTER, start=T, lease_s=7 * 10**8)
    ]

    line = lines(b"".join(pcapng(packets)))["lease"]

    assert b'"client.ip":"10.20.1.21"' in line
    assert b"lease.until" not in line


def test_a_relayed_request_is_the_clients_not_the_relays(extracted: Extract) -> None:
    """Between relay and server the Ethernet sender is the relay; the lease is the client's."""
    relay, far = Host(ip="10.20.0.2", mac="02-00-00-00-00-02"), Host(ip="10.9.9.9", mac="02-00-00-00-00-09")
    asked = dhcp4(Dhcp.REQUEST, CLIENT.mac, transaction=7, host_name="phone", requested_ip=CLIENT.ip)
    granted = dhcp4(Dhcp.ACK, CLIENT.mac, transaction=7, your_ip=CLIENT.ip, server_ip=far.ip, lease_s=60)
    packets = [datagram(T, relay, far, (67, 67), asked), datagram(T + 9, far, relay, (67, 67), granted)]

    (lease,) = extracted(packets)["lease"]

    assert (lease["client.mac"], lease["host.hostname"], lease["server.ip"]) == (CLIENT.mac, "phone", far.ip)


def test_dhcpv6_reply_grants(extracted: Extract) -> None:
    """Address, DUID and name; the hardware address is in the DUID."""
    packets = dhcp6_exchange(LINK6, ROUTER6, address=GIVEN6, start=T, domain="school.example")

    (lease,) = extracted(packets)["lease"]

    assert (lease["lease.source"], lease["client.ip"], lease["client.mac"]) == ("dhcpv6", GIVEN6, CLIENT.mac)
    assert (lease["server.ip"], lease["lease.until"]) == (ROUTER6.ip, lease["@timestamp"] + 7200 * SECOND)
    assert lease["host.hostname"].startswith("phone")


def test_a_dhcpv6_release_gives_back(extracted: Extract) -> None:
    """What the client released, at the server it told."""
    lease_option = option6(5, address_bytes(GIVEN6) + struct.pack("!II", 0, 0))
    body = option6(1, b"\0\3\0\1" + mac_bytes(CLIENT.mac)) + option6(3, bytes(12) + lease_option)

    (lease,) = extracted([client6(8, body)])["lease"]

    assert (lease["event.action"], lease["client.ip"], lease["server.ip"]) == (
        "lease-released",
        GIVEN6,
        ROUTER6.ip,
    )


def test_a_dhcpv6_address_of_no_lifetime_is_not_granted(extracted: Extract) -> None:
    """A reply with lifetime 0 says that the client must not use it."""
    message = dhcp6(
        Dhcp6.REPLY, CLIENT.mac, transaction=7, server_mac=ROUTER.mac, address=GIVEN6, lifetime_s=0
    )

    assert not extracted([datagram(T, ROUTER6, LINK6, (547, 546), message)])["lease"]


def test_a_relayed_dhcpv6_reply_never_takes_the_relays_address(extracted: Extract) -> None:
    """Without a hardware address inside, it is not known: the frame's are those of relay and server."""
    lease_option = option6(5, address_bytes(GIVEN6) + struct.pack("!II", 60, 60))
    inner = bytes([7]) + b"\0\0\7" + option6(1, b"\0\2opaque") + option6(3, bytes(12) + lease_option)
    outer = bytes([13, 0]) + address_bytes("2001:db8::2") + address_bytes(LINK6.ip) + option6(9, inner)
    relay = Host(ip="2001:db8::2", mac="02-00-00-00-00-02")

    (lease,) = extracted([datagram(T, ROUTER6, relay, (547, 547), outer)])["lease"]

    assert (lease["client.ip"], "client.mac" in lease) == (GIVEN6, False)


def test_what_is_not_dhcp_on_its_ports_is_said(extracted: Extract) -> None:
    """Counted with the packets that are not as they claim."""
    rows = extracted(
        [datagram(T, CLIENT, ROUTER, (68, 67), b"hello"), datagram(T, LINK6, ROUTER6, (546, 547), b"x")]
    )

    assert not rows["lease"]
    assert [(row["coverage.reason"], row["coverage.packets"]) for row in rows["coverage"]] == [
        ("undecodable", 2)
    ]
