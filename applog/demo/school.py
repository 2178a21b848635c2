"""One believable day of a Thai school's network, for ``deploy/up --demo``.

Rules:
    1. The day is laid out by its own length, so that it looks right whenever it ends: people arrive in
       the first part, lab lessons alternate with breaks, phones are busy in the breaks.
    2. Packets are strictly ordered in time, and all are at or after the start and before *until*.
    3. The same *until*, *hours* and *seed* give the same bytes.
"""

import itertools
import operator
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from applog.demo import names, payloads
from applog.demo.captures import Packet, write_pcap
from applog.demo.datagrams import dhcp6_exchange, dhcp_exchange, dns_lookup
from applog.demo.names import Answer
from applog.demo.packets import Host, arp
from applog.demo.school_cast import DEVICES, DOMAIN, GATEWAY, GATEWAY6, ROUTER_MAC, SITES, Device, Kind, Site
from applog.demo.school_scenes import (
    MINUTE,
    SECOND,
    Day,
    announce,
    background,
    intranet,
    long_flows,
    mail,
    scan,
)
from applog.demo.streams import http_exchange, tls_session

LEASE_S: Final = 7200

_GAP_MINUTES: Final[dict[Kind, tuple[float, float]]] = {
    "phone": (17, 7),
    "notebook": (10, 13),
    "lab": (8, 90),
    "fixed": (60, 60),
}
"""Mean time between two visits of a device, in lessons and out of them."""


def school_day(*, until: datetime, hours: float = 6, seed: int = 2569) -> Iterator[Packet]:
    """The packets of one day as (microseconds since 1970, frame), the last just before *until*.

    Args:
        until: The end; must know its time zone.
        hours: Length of the day.
        seed: Decides everything that is left to chance.

    Raises:
        ValueError: *until* has no time zone.
    """
    if until.tzinfo is None:
        raise ValueError(f"until must have a time zone, got {until.isoformat()}")
    end = (until - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    day = Day(end - int(hours * 60 * MINUTE), end, seed)
    packets = itertools.chain.from_iterable(scene(day) for scene in SCENES)
    last = day.start - 1
    for time_us, frame in sorted(packets, key=operator.itemgetter(0)):
        last = max(last + 1, time_us)
        if last >= end:
            return
        yield last, frame


def write_school_day(path: Path, until: datetime, *, hours: float = 6, seed: int = 2569) -> int:
    """Write `school_day` as a pcap file; returns the number of packets."""
    return write_pcap(path, school_day(until=until, hours=hours, seed=seed))


def _leases(day: Day) -> Iterator[Packet]:
    """Every device gets its address when it comes, and renews it at half of the lease."""
    for device in DEVICES:
        begins, ends = (day.at(part) for part in device.stays)
        moments = range(begins, ends, LEASE_S // 2 * SECOND)
        for number, moment in enumerate(moments):
            here = device.kind == "fixed" or number > 0
            yield from dhcp_exchange(device.host, GATEWAY, start=moment, lease_s=LEASE_S, renewal=here)
        if device.ip6:
            yield from dhcp6_exchange(
                device.link_local, GATEWAY6, address=device.ip6, start=begins + SECOND, domain=DOMAIN
            )


def _arrivals(day: Day) -> Iterator[Packet]:
    """A device that has its address asks whether it is online, and tells its neighbours its name."""
    portal = Host(ip="192.0.2.80", mac=ROUTER_MAC, ttl=55)
    for device in DEVICES:
        start = day.at(device.stays[0]) + 2 * SECOND
        answers = (Answer("captive.example", names.A, portal.ip),)
        port = day.port(device)
        yield from dns_lookup(device.host, GATEWAY, "captive.example", answers, start=start, client_port=port)
        yield from http_exchange(
            device.host,
            portal,
            "captive.example",
            ("/generate_204",),
            start=start + 10_000,
            client_port=day.port(device),
            status=204,
            user_agent=device.user_agent,
        )
        yield start - SECOND, arp(device.host, GATEWAY)
        yield start - SECOND + 300, arp(GATEWAY, device.host, reply=True)
        yield from announce(device, start + SECOND)


def _visits(day: Day) -> Iterator[Packet]:
    """People browse: seldom in a lesson on a phone, often on a lab PC."""
    for device in DEVICES:
        chance = day.chance("visits of " + device.name)
        now = day.at(device.stays[0]) + 5 * SECOND
        leaves = day.at(device.stays[1]) - MINUTE
        while True:
            mean = _GAP_MINUTES[device.kind][0 if day.in_lesson(now) else 1]
            now += int(chance.expovariate(1 / mean) * MINUTE) + SECOND
            if now >= leaves:
                break
            site = chance.choices(SITES, weights=[site.weight for site in SITES])[0]
            yield from _visit(day, device, site, now, chance)


def _visit(day: Day, device: Device, site: Site, now: int, chance: random.Random) -> Iterator[Packet]:
    if chance.random() < 0.8:  # the others remember the address
        yield from _resolve(day, device, site, now)
    over6 = bool(device.ip6 and site.ip6)
    server = Host(ip=site.ip6 if over6 else site.ip, mac=ROUTER_MAC, ttl=chance.randint(48, 58))
    yield from tls_session(
        device.host6 if over6 else device.host,
        server,
        site.name,
        start=now + 40_000,
        client_port=day.port(device),
        rtt_us=chance.randint(8_000, 90_000),
        pause_us=chance.randint(20_000, 4 * SECOND),
        ending=chance.choices(("fin", "rst"), weights=(9, 1))[0],
        version=payloads.TLS12 if site.legacy else payloads.TLS13,
        ech=payloads.ech_extension(site.name) if site.hidden else None,
        rounds=chance.randint(*site.rounds),
        request_bytes=chance.randint(120, 900),
        response_bytes=chance.randint(*site.response_bytes),
    )


def _resolve(day: Day, device: Device, site: Site, now: int) -> Iterator[Packet]:
    owner = site.cname or site.name
    alias = (Answer(site.name, names.CNAME, site.cname),) if site.cname else ()
    addresses = [(names.A, site.ip)] + ([(names.AAAA, site.ip6)] if device.ip6 else [])
    for number, (kind, address) in enumerate(addresses):
        answers = (*alias, Answer(owner, kind, address)) if address else alias
        yield from dns_lookup(
            device.host,
            GATEWAY,
            site.name,
            answers,
            start=now + number * 300,
            kind=kind,
            client_port=day.port(device),
            rtt_us=4_000 + now % 17_000,
        )


Scene = Callable[[Day], Iterator[Packet]]
SCENES: Final[tuple[Scene, ...]] = (
    _leases,
    _arrivals,
    _visits,
    intranet,
    long_flows,
    mail,
    scan,
    background,
)
"""Everything that happens on the day."""
