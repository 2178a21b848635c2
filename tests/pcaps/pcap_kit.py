"""What all captures of this folder are built with: the parties, the reference packets, small helpers."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from applog.demo import names, payloads
from applog.demo.captures import Packet
from applog.demo.datagrams import dns_lookup, ping
from applog.demo.names import Answer
from applog.demo.packets import Endpoint, Host, ethernet, udp
from applog.demo.streams import tcp_conversation, tls_messages

SECOND: Final = 1_000_000
STEP: Final = 125_000
START: Final = 1_785_722_400 * SECOND
"""2026-08-03 02:00:00 UTC, 09:00 in Bangkok."""

ROUTER: Final = Host(ip="10.20.0.1", mac="00-00-5e-00-53-01", name="gateway")
CLIENT: Final = Host(ip="10.20.1.21", mac="02-1a-7c-00-53-21", name="somchai-phone")
OTHER: Final = Host(ip="10.20.1.22", mac="02-1a-7c-00-53-22", name="somsri-phone")
SERVER: Final = Host(ip="203.0.113.10", mac=ROUTER.mac, ttl=52)
CLIENT6: Final = Host(ip="2001:db8:20::21", mac=CLIENT.mac)
SERVER6: Final = Host(ip="2001:db8:f00::10", mac=ROUTER.mac, ttl=52)
ROUTER6: Final = Host(ip="2001:db8:20::1", mac=ROUTER.mac)
NAME: Final = "video.example"


class Capture(NamedTuple):
    """One file of this folder."""

    name: str
    says: str
    content: bytes


def reference(
    client: Host = CLIENT, server: Host = SERVER, resolver: Host = ROUTER, vlans: tuple[int, ...] = ()
) -> list[Packet]:
    """A DNS lookup, a TLS session to its answer, and one ping: three flows."""
    kind = names.AAAA if ":" in server.ip else names.A
    answer = (Answer(NAME, kind, server.ip),)
    lookup = dns_lookup(
        client, resolver, NAME, answer, start=START, kind=kind, client_port=50001, rtt_us=STEP
    )
    talk = tcp_conversation(
        client,
        server,
        tls_messages(
            NAME, seed="reference", pad_to=0, certificate_bytes=600, request_bytes=100, response_bytes=700
        ),
        start=START + 4 * STEP,
        client_port=50002,
        rtt_us=2 * STEP,
        spacing_us=STEP,
        vlans=vlans,
    )
    echo = ping(client, server, start=START + 60 * STEP, count=1, rtt_us=STEP)
    if not vlans:
        return [*lookup, *talk, *echo]
    return list(talk)


def raw(frames: Iterable[bytes], *, step: int = STEP) -> list[Packet]:
    """*frames* at the start, *step* apart."""
    return [(START + number * step, frame) for number, frame in enumerate(frames)]


def up(packet: bytes) -> bytes:
    """An IP packet from the client's cable."""
    return ethernet(packet, source=CLIENT.mac, target=ROUTER.mac)


def down(packet: bytes) -> bytes:
    """An IP packet from the router's."""
    return ethernet(packet, source=ROUTER.mac, target=CLIENT.mac)


def file(pieces: Iterable[bytes]) -> bytes:
    """The pieces of a capture file as one."""
    return b"".join(pieces)


def probe(port: int, size: int = 32, client: Host = CLIENT, server: Host = SERVER) -> bytes:
    """A datagram to port 9999 that nobody answers."""
    return udp(Endpoint(client.ip, port), Endpoint(server.ip, 9999), payloads.filler(size, f"udp {port}"))
