"""Scenes of the demonstration day that happen once, or by the clock: long flows, a scan, mail, pings.

A scene is a function from a `Day` to its packets, in any order; `school` sorts all of them.
"""

import itertools
import random
from collections.abc import Iterator
from typing import Final

from applog.demo import names, payloads
from applog.demo.captures import Packet
from applog.demo.datagrams import datagram, dns_lookup, mdns_packet, ping
from applog.demo.names import Answer
from applog.demo.packets import Flag, Host
from applog.demo.school_cast import (
    CAMERA,
    DOMAIN,
    GATEWAY,
    INTRANET,
    LAB,
    NOTEBOOKS,
    PHONES,
    PRINTER,
    ROUTER_MAC,
    SCANNER,
    TELEVISION,
    Device,
)
from applog.demo.streams import DOWN, UP, Direction, TcpTalk, http_exchange, tcp_conversation, tls_session

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND

LESSONS: Final = ((0.10, 0.28), (0.34, 0.50), (0.62, 0.78), (0.82, 0.94))
"""When lessons begin and end, as parts of the day."""


class Day:
    """Start, end, chance and port numbers of one day."""

    def __init__(self, start: int, end: int, seed: int) -> None:
        self.start, self.end = start, end
        self._seed = seed
        self._ports: dict[str, Iterator[int]] = {}

    def at(self, part: float) -> int:
        """The time when *part* of the day has passed."""
        return self.start + int(part * (self.end - self.start))

    def chance(self, what: str) -> random.Random:
        """A source of chance for one scene, so that scenes do not disturb each other."""
        return random.Random(f"{self._seed}/{what}")  # noqa: S311 - must be repeatable, hides nothing

    def port(self, device: Device) -> int:
        """The next ephemeral port of *device*."""
        first = 49152 + self.chance(device.name).randrange(2000)
        return next(self._ports.setdefault(device.name, itertools.count(first)))

    def in_lesson(self, time_us: int) -> bool:
        """Whether a lesson is on."""
        part = (time_us - self.start) / (self.end - self.start)
        return any(begins <= part < ends for begins, ends in LESSONS)


def announce(device: Device, time_us: int) -> Iterator[Packet]:
    """*device* tells everyone on its link its name, over both versions of IP if it has both."""
    answers = [Answer(f"{device.name}.local", names.A, device.ip, 120)]
    if device.ip6:
        answers.append(Answer(f"{device.name}.local", names.AAAA, device.ip6, 120))
        yield mdns_packet(time_us + 1000, device.link_local, names.mdns_announcement(tuple(answers)))
    yield mdns_packet(time_us, device.host, names.mdns_announcement(tuple(answers)))


def intranet(day: Day) -> Iterator[Packet]:
    """Each lesson begins with the lab PCs on the school's own page: plain HTTP, both ends local."""
    pages = ("/", "/timetable", "/exercises")
    for (begins, _), (order, device) in itertools.product(LESSONS, enumerate((*LAB, *NOTEBOOKS[:2]))):
        chance = day.chance(f"intranet {begins} {device.name}")
        yield from http_exchange(
            device.host,
            INTRANET,
            f"intranet.{DOMAIN}",
            pages,
            start=day.at(begins) + order * 3 * SECOND + chance.randrange(SECOND),
            client_port=day.port(device),
            rtt_us=600,
            pause_us=chance.randint(2, 20) * SECOND,
            user_agent=device.user_agent,
            response_bytes=chance.randint(700, 5000),
        )


def long_flows(day: Day) -> Iterator[Packet]:
    """A camera that streams all day, phones in a chat, a distance lesson and a video meeting."""
    recorder = Host(ip="203.0.113.80", mac=ROUTER_MAC, ttl=52)
    reports = ((UP, payloads.application_data(300, f"camera {number}")) for number in itertools.count())
    count = (day.end - day.start) // (20 * SECOND) + 1
    yield from tcp_conversation(
        CAMERA.host,
        recorder,
        itertools.islice(reports, count),
        start=day.start,
        client_port=41000,
        server_port=8443,
        pause_us=20 * SECOND,
        ending="open",
        handshake=False,
    )
    chat, lesson = (Host(ip=ip, mac=ROUTER_MAC, ttl=54) for ip in ("203.0.113.21", "203.0.113.30"))
    long_ones = [(device, chat, "push.chat.example", 60, 90, 120) for device in PHONES[:4]]
    long_ones.append((NOTEBOOKS[1], lesson, "live.dltv.example", 45, 20, 6000))
    for device, server, name, rounds, gap_s, size in long_ones:
        yield from tls_session(
            device.host,
            server,
            name,
            start=day.at(device.stays[0] + 0.1),
            client_port=day.port(device),
            pause_us=gap_s * SECOND,
            rounds=rounds,
            request_bytes=60,
            response_bytes=size,
        )
    yield from _meeting(day, NOTEBOOKS[0], Host(ip="198.51.100.90", mac=ROUTER_MAC, ttl=50))


def _meeting(day: Day, device: Device, server: Host) -> Iterator[Packet]:
    chance, port, begins = day.chance("meeting"), day.port(device), day.at(0.52)
    for number in range(300):
        now = begins + number * 4 * SECOND
        for sender, receiver, ports in (
            (device.host, server, (port, 3478)),
            (server, device.host, (3478, port)),
        ):
            media = b"\x80\x60" + number.to_bytes(2)  # as RTP begins
            media += payloads.filler(chance.randint(300, 1100), f"{sender.ip} {number}")
            yield datagram(now + chance.randrange(SECOND), sender, receiver, ports, media)


def mail(day: Day) -> Iterator[Packet]:
    """The office sends an e-mail now and then, in clear, to the school's own relay."""
    relay = Host(ip="192.0.2.25", mac=ROUTER_MAC, ttl=57)
    said: list[tuple[Direction, str]] = [
        (DOWN, "220 mail.school.example ESMTP"),
        (UP, "EHLO office-notebook.school.example"),
        (DOWN, "250 mail.school.example"),
        (UP, "MAIL FROM:<thurakan@school.example>"),
        (DOWN, "250 2.1.0 Ok"),
        (UP, "RCPT TO:<parent@example.org>"),
        (DOWN, "250 2.1.5 Ok"),
        (UP, "DATA"),
        (DOWN, "354 End data with <CR><LF>.<CR><LF>"),
        (UP, "From: thurakan@school.example\r\nTo: parent@example.org\r\nSubject: demo\r\n\r\nDemo.\r\n."),
        (DOWN, "250 2.0.0 Ok: queued"),
        (UP, "QUIT"),
        (DOWN, "221 2.0.0 Bye"),
    ]
    messages = [(direction, f"{line}\r\n".encode()) for direction, line in said]
    for part in (0.2, 0.45, 0.7, 0.93):
        port = day.port(NOTEBOOKS[3])
        yield from tcp_conversation(
            NOTEBOOKS[3].host, relay, messages, start=day.at(part), client_port=port, server_port=25
        )


def scan(day: Day) -> Iterator[Packet]:
    """A curious pupil's machine knocks at 200 doors; three refuse, nobody else answers."""
    for number in range(1, 201):
        talk = TcpTalk(
            SCANNER.host,
            Host(ip=f"198.51.100.{number}", mac=ROUTER_MAC, ttl=49),
            client_port=day.port(SCANNER),
            server_port=445,
            start=day.at(0.70) + number * 60_000,
            isn=(number << 16, 0),
        )
        yield talk.segment(UP, flags=Flag.SYN)
        if number % 61 == 0:
            yield talk.segment(DOWN, flags=Flag.RST | Flag.ACK)


def background(day: Day) -> Iterator[Packet]:
    """Pings, the printer's announcements, a search for a proxy, and a resolver that is long gone."""
    probe = Host(ip="192.0.2.1", mac=ROUTER_MAC, ttl=55)
    gone = Host(ip="203.0.113.53", mac=ROUTER_MAC)
    for number, moment in enumerate(range(day.start + MINUTE, day.end, 10 * MINUTE)):
        start = moment + day.chance(f"background {number}").randrange(MINUTE)
        yield from ping(NOTEBOOKS[3].host, GATEWAY, start=start, count=2, identifier=number + 1)
        yield from announce(PRINTER, start + 7 * SECOND)
        yield from dns_lookup(
            TELEVISION.host,
            gone,
            "time.example.net",
            start=start,
            client_port=day.port(TELEVISION),
            answered=False,
        )
        yield from dns_lookup(
            TELEVISION.host,
            GATEWAY,
            f"wpad.{DOMAIN}",
            start=start + 5 * SECOND,
            rcode=names.NXDOMAIN,
            client_port=day.port(TELEVISION),
        )
    yield from ping(PHONES[0].host, probe, start=day.at(0.5), count=5, answered=False)
    yield from ping(PHONES[0].host6, Host(ip="2001:db8:f00::1", mac=ROUTER_MAC), start=day.at(0.51))
