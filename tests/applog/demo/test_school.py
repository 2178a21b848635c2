"""The demonstration day: repeatable, in order, believable in size, and made only of reserved names."""

import hashlib
import ipaddress
import itertools
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from applog.demo.captures import Packet
from applog.demo.school import school_day, write_school_day
from applog.demo.school_cast import DEVICES, SITES, VISITOR

UNTIL = datetime(2026, 8, 3, 16, 0, tzinfo=timezone(timedelta(hours=7)))
RESERVED = re.compile(r"(^|\.)(example|example\.(com|net|org)|local)$")
NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        "10.20.0.0/22",
        "192.0.2.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.251/32",
        "255.255.255.255/32",
        "0.0.0.0/32",
        "2001:db8::/32",
        "fe80::/64",
        "ff02::/16",
    )
]


@pytest.fixture(scope="module")
def day() -> list[Packet]:
    """The default day, made once."""
    return list(school_day(until=UNTIL))


def microseconds(moment: datetime) -> int:
    """*moment* as packets state it."""
    return round(moment.timestamp()) * 1_000_000


def digest(packets: list[Packet]) -> str:
    """One value for all that a day is."""
    return hashlib.sha256(repr(packets).encode()).hexdigest()


def test_the_day_is_of_a_useful_size(day: list[Packet]) -> None:
    """There is enough to search in, and little enough to import in a second."""
    assert 3_000 <= len(day) <= 20_000
    assert max(len(frame) for _, frame in day) <= 1514


def test_times_are_strictly_ordered_and_inside(day: list[Packet]) -> None:
    """No two packets share a time; the first is at or after the start, the last just before the end."""
    times = [time_us for time_us, _ in day]

    assert all(earlier < later for earlier, later in itertools.pairwise(times))
    assert times[0] >= microseconds(UNTIL - timedelta(hours=6))
    assert microseconds(UNTIL) - 30_000_000 <= times[-1] < microseconds(UNTIL)


def test_the_same_seed_gives_the_same_day(day: list[Packet]) -> None:
    """Seed and end decide every byte, whatever the time zone that the end is written in."""
    assert digest(list(school_day(until=UNTIL.astimezone(UTC)))) == digest(day)


def test_another_seed_gives_another_day(day: list[Packet]) -> None:
    """Chance is really used."""
    assert digest(list(school_day(until=UNTIL, seed=1))) != digest(day)


@pytest.mark.parametrize("hours", [0.01, 0.5, 24])
def test_other_lengths_work(hours: float) -> None:
    """A short and a long day keep the order and the end."""
    times = [time_us for time_us, _ in school_day(until=UNTIL, hours=hours)]

    assert times == sorted(set(times))
    assert times[-1] < microseconds(UNTIL)
    assert times[0] >= microseconds(UNTIL - timedelta(hours=hours))


def test_an_end_without_a_time_zone_is_refused() -> None:
    """Nobody guesses whether 16:00 was Bangkok's or Greenwich's."""
    with pytest.raises(ValueError, match="time zone"):
        next(school_day(until=UNTIL.replace(tzinfo=None)))


def test_every_checksum_is_right(day: list[Packet], check_packet: Callable[[bytes], None]) -> None:
    """Every IP packet of the day has right lengths and checksums."""
    for _, frame in day:
        if frame[12:14] != b"\x08\x06":
            check_packet(frame[14:])


def test_addresses_are_local_or_reserved(day: list[Packet]) -> None:
    """No packet names an address that could be somebody's."""
    seen = set()
    for _, frame in day:
        if frame[12:14] == b"\x08\x00":
            seen |= {frame[26:30], frame[30:34]}
        elif frame[12:14] == b"\x86\xdd":
            seen |= {frame[22:38], frame[38:54]}

    strangers = [
        address
        for address in map(ipaddress.ip_address, seen)
        if not any(address in network for network in NETWORKS)
    ]
    assert strangers == []


def name_at(message: bytes, at: int) -> tuple[str, int]:
    """The DNS name at *at*, pointers followed, and the offset behind it."""
    labels, behind = [], 0
    while size := message[at]:
        if size >= 0xC0:
            behind = behind or at + 2
            at = int.from_bytes(message[at : at + 2]) & 0x3FFF
            continue
        labels.append(message[at + 1 : at + 1 + size].decode())
        at += 1 + size
    return ".".join(labels), behind or at + 1


def dns_names(message: bytes) -> set[str]:
    """All names of a DNS message: asked for, answered about, and led to."""
    found, at = set(), 12
    for _ in range(int.from_bytes(message[4:6])):
        name, at = name_at(message, at)
        found.add(name)
        at += 4
    for _ in range(int.from_bytes(message[6:8])):
        name, at = name_at(message, at)
        found.add(name)
        if message[at : at + 2] == b"\0\5":
            found.add(name_at(message, at + 10)[0])
        at += 10 + int.from_bytes(message[at + 8 : at + 10])
    assert at == len(message)
    return found


def hello_name(hello: bytes) -> str:
    """The server name of a TLS record with a ClientHello, whose first extension it is."""
    at = 43 + 1 + hello[43]
    at += 2 + int.from_bytes(hello[at : at + 2])
    at += 1 + hello[at] + 2
    assert hello[at : at + 2] == b"\0\0"
    return hello[at + 9 : at + 9 + int.from_bytes(hello[at + 7 : at + 9])].decode()


def names_of(frame: bytes) -> set[str]:
    """What *frame* calls the host that it is about."""
    at = 34 if frame[12:14] == b"\x08\x00" else 54
    protocol = frame[23] if at == 34 else frame[20]
    ports = {int.from_bytes(frame[at : at + 2]), int.from_bytes(frame[at + 2 : at + 4])}
    if protocol == 17:
        return dns_names(frame[at + 8 :]) if ports & {53, 5353} else set()
    payload = frame[at + (frame[at + 12] >> 4) * 4 :]
    if payload.startswith(b"\x16\x03\x01"):
        return {hello_name(payload)}
    return {host.decode() for host in re.findall(rb"\r\nHost: (\S+)", payload)} if 80 in ports else set()


def test_names_are_reserved(day: list[Packet]) -> None:
    """Every name in DNS, mDNS, TLS and HTTP is one that nobody owns, and the sites are among them."""
    named: set[str] = set()
    for _, frame in day:
        if frame[12:14] in {b"\x08\x00", b"\x86\xdd"} and frame[23 if frame[12] == 8 else 20] in {6, 17}:
            named |= names_of(frame)

    assert [name for name in sorted(named) if not RESERVED.search(name)] == []
    assert {site.name for site in SITES} <= named


def test_the_cast_is_as_promised() -> None:
    """About twenty devices with MACs of their own; one address is used by two people in turn."""
    addresses = Counter(device.ip for device in DEVICES)

    assert 18 <= len(DEVICES) <= 24
    assert len({device.mac for device in DEVICES}) == len(DEVICES)
    assert [address for address, count in addresses.items() if count > 1] == [VISITOR.ip]


def test_every_device_takes_part(day: list[Packet]) -> None:
    """Each device sends something, and only while it is there."""
    begin, length = microseconds(UNTIL) - 6 * 3_600_000_000, 6 * 3_600_000_000
    first: dict[str, int] = {}
    for time_us, frame in day:
        first.setdefault(frame[6:12].hex("-"), time_us)

    for device in DEVICES:
        assert first[device.mac] >= begin + int(device.stays[0] * length)


def test_the_file_holds_the_day(day: list[Packet], tmp_path: Path) -> None:
    """What is written is what is generated, and the count is told."""
    path = tmp_path / "school.pcap"

    count = write_school_day(path, UNTIL)

    assert count == len(day)
    assert path.stat().st_size == 24 + sum(16 + len(frame) for _, frame in day)


@pytest.mark.integration
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_nothing_wrong(tmp_path: Path) -> None:
    """An independent reader sees no malformed packet and no bad checksum in the day."""
    path = tmp_path / "school.pcap"
    write_school_day(path, UNTIL, hours=1)
    checks = [f"{layer}.check_checksum:TRUE" for layer in ("ip", "tcp", "udp")]
    wrong = "_ws.malformed or ip.checksum.status==0 or tcp.checksum.status==0 or udp.checksum.status==0"

    options = [word for check in checks for word in ("-o", check)]
    result = subprocess.run(
        ["tshark", "-r", path, *options, "-Y", wrong], capture_output=True, text=True, check=True
    )

    assert result.stdout == ""
