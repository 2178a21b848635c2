"""Who and what appears in the demonstration school: devices, their owners, and the places they visit.

Rules:
    1. Names outside are under example.com, example.net, example.org or .example (RFC 2606, RFC 6761).
    2. Addresses outside are of 192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24 (RFC 5737) and 2001:db8::/32.
    3. Fixed devices have MACs of 00-00-5E-00-53-xx (RFC 7042); phones have randomised ones (02-…).
"""

from dataclasses import dataclass
from typing import Final, Literal

from applog.demo.packets import Host

Kind = Literal["phone", "notebook", "lab", "fixed"]

DOMAIN: Final = "school.example"
ROUTER_MAC: Final = "00-00-5e-00-53-01"
GATEWAY: Final = Host(ip="10.20.0.1", mac=ROUTER_MAC, name="gateway")
"""Router, DHCP server and resolver in one, as such schools have it."""

GATEWAY6: Final = Host(ip="fe80::1", mac=ROUTER_MAC, name="gateway")
INTRANET: Final = Host(ip="10.20.0.10", mac="00-00-5e-00-53-10", name="intranet")

_AGENTS: Final[dict[Kind, str]] = {
    "phone": "Mozilla/5.0 (Linux; Android 15; Mobile) DemoBrowser/1.0",
    "notebook": "Mozilla/5.0 (X11; Linux x86_64) DemoBrowser/1.0",
    "lab": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) DemoBrowser/1.0",
    "fixed": "DemoAppliance/2.1",
}


@dataclass(frozen=True, kw_only=True)
class Device:
    """One device of the school."""

    name: str
    """Host name, as its DHCP messages and mDNS say it."""

    kind: Kind
    """How it behaves."""

    mac: str
    """Hardware address, lower case with hyphens."""

    ip: str
    """Its address in 10.20.0.0/22."""

    ip6: str = ""
    """Its address in 2001:db8:20::/64; empty if it has none."""

    owner: str = ""
    """User name of the person who logs in with it; empty for equipment."""

    owner_name: str = ""
    """That person's name in Thai."""

    stays: tuple[float, float] = (0.0, 1.0)
    """From when to when it is there, as parts of the day."""

    @property
    def host(self) -> Host:
        """The device as an IPv4 party; lab PCs start at a TTL of 128."""
        return Host(ip=self.ip, mac=self.mac, name=self.name, ttl=128 if self.kind == "lab" else 64)

    @property
    def host6(self) -> Host:
        """The device as an IPv6 party; only if it has such an address."""
        return Host(ip=self.ip6, mac=self.mac, name=self.name)

    @property
    def link_local(self) -> Host:
        """The device as a party that only its link knows."""
        return Host(ip="fe80::" + self.mac[-5:].replace("-", ""), mac=self.mac, name=self.name)

    @property
    def user_agent(self) -> str:
        """What it says in HTTP."""
        return _AGENTS[self.kind]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One place that devices visit."""

    name: str
    """Server name."""

    ip: str
    """Where it is."""

    ip6: str = ""
    """Where it is for those who have IPv6; empty if nowhere."""

    weight: int = 2
    """How often it is chosen."""

    response_bytes: tuple[int, int] = (1500, 9000)
    """Least and most that one answer holds."""

    rounds: tuple[int, int] = (1, 2)
    """Least and most requests of one visit."""

    cname: str = ""
    """The name that its own name leads to."""

    legacy: bool = False
    """Speaks TLS 1.2 only."""

    hidden: bool = False
    """Visited with Encrypted ClientHello: the name seen is the outer one."""


def _person(
    name: str, number: int, owner: str, owner_name: str, stays: tuple[float, float], *, phone: bool = True
) -> Device:
    return Device(
        name=name,
        kind="phone" if phone else "notebook",
        mac=f"02-1a-7c-00-53-{number:02x}" if phone else f"00-00-5e-00-53-{number:02x}",
        ip=f"10.20.{1 if phone else 2}.{number}",
        ip6=f"2001:db8:20::{number:x}" if number % 2 else "",
        owner=owner,
        owner_name=owner_name,
        stays=stays,
    )


PHONES: Final = (
    _person("somchai-phone", 21, "somchai", "สมชาย ใจดี", (0.01, 0.97)),
    _person("somsri-phone", 22, "somsri", "สมศรี รักเรียน", (0.02, 1.0)),
    _person("malee-phone", 23, "malee", "มาลี ดอกไม้งาม", (0.03, 1.0)),
    _person("anan-phone", 24, "anan", "อนันต์ ตั้งใจ", (0.02, 0.40)),
    _person("kittisak-phone", 25, "kittisak", "กิตติศักดิ์ มานะ", (0.05, 0.99)),
    _person("ploy-tablet", 26, "ploy", "พลอย แก้วใส", (0.10, 1.0)),
    _person("nonglak-phone", 27, "nonglak", "นงลักษณ์ ยิ้มแย้ม", (0.04, 1.0)),
)
NOTEBOOKS: Final = (
    _person("krusuda-notebook", 31, "krusuda", "ครูสุดา สอนดี", (0.01, 1.0), phone=False),
    _person("kruprasit-notebook", 32, "kruprasit", "ครูประสิทธิ์ มั่นคง", (0.02, 1.0), phone=False),
    _person("director-notebook", 33, "wichai", "วิชัย บริหารงาม", (0.12, 0.90), phone=False),
    _person("office-notebook", 34, "thurakan", "ธุรการ โรงเรียน", (0.0, 1.0), phone=False),
)
LAB: Final = tuple(
    Device(
        name=f"lab-pc-{number:02}",
        kind="lab",
        mac=f"00-00-5e-00-53-{0x40 + number:02x}",
        ip=f"10.20.3.{100 + number}",
        owner=owner,
        owner_name=owner_name,
        stays=(0.08, 0.95),
    )
    for number, owner, owner_name in (
        (1, "m5-chaiwat", "ชัยวัฒน์ เก่งกล้า"),
        (2, "m5-duangjai", "ดวงใจ สดใส"),
        (3, "m5-ekkachai", "เอกชัย วิชาการ"),
        (5, "m5-fah", "ฟ้า ปลอดโปร่ง"),
        (7, "m5-thana", "ธนา อยากรู้"),
    )
)
VISITOR: Final = Device(
    name="visitor-phone",
    kind="phone",
    mac="02-1a-7c-00-53-99",
    ip=PHONES[3].ip,
    owner="guest-0042",
    owner_name="ผู้เยี่ยมชม",
    stays=(0.50, 0.85),
)
"""Gets the address that anan-phone gave back: one address, two people, at different times."""

PRINTER: Final = Device(
    name="printer-office", kind="fixed", mac="00-00-5e-00-53-60", ip="10.20.0.60", ip6="2001:db8:20::60"
)
CAMERA: Final = Device(name="cctv-gate", kind="fixed", mac="00-00-5e-00-53-61", ip="10.20.0.61")
TELEVISION: Final = Device(name="smarttv-hall", kind="fixed", mac="00-00-5e-00-53-62", ip="10.20.0.62")

DEVICES: Final = (*PHONES, *NOTEBOOKS, *LAB, VISITOR, PRINTER, CAMERA, TELEVISION)
SCANNER: Final = LAB[4]
"""The curious pupil's machine."""

SITES: Final = (
    Site(
        name="video.example",
        ip="203.0.113.10",
        ip6="2001:db8:f00::10",
        weight=5,
        response_bytes=(6000, 18000),
        rounds=(1, 3),
        cname="edge.video.example",
    ),
    Site(
        name="chat.example", ip="203.0.113.20", ip6="2001:db8:f00::20", weight=6, response_bytes=(200, 1800)
    ),
    Site(name="search.example", ip="198.51.100.30", ip6="2001:db8:f00::30", weight=5),
    Site(name="classroom.example.com", ip="198.51.100.31", weight=6, rounds=(1, 4)),
    Site(name="mail.school.example", ip="192.0.2.25", weight=3, legacy=True),
    Site(name="grades.school.example", ip="192.0.2.26", weight=2, legacy=True),
    Site(name="obec.example", ip="192.0.2.40", weight=3, response_bytes=(3000, 14000)),
    Site(name="news.example.org", ip="198.51.100.50", ip6="2001:db8:f00::50", weight=3, rounds=(1, 3)),
    Site(name="cdn.example.net", ip="203.0.113.60", weight=4, response_bytes=(4000, 14000), hidden=True),
    Site(name="games.example", ip="203.0.113.70", weight=3, response_bytes=(800, 4000), rounds=(2, 5)),
    Site(name="shop.example.org", ip="198.51.100.80", cname="shop.cdn.example.net", weight=2),
    Site(name="bank.example", ip="192.0.2.90", weight=1),
    Site(name="updates.example.net", ip="203.0.113.99", weight=1, response_bytes=(15000, 30000)),
)
