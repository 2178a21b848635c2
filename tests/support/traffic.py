"""Traffic totals that any meter can be held against, and how two sets of them differ.

A total is kept per direction of a 5-tuple. Fragments with an offset carry no ports, and a meter may either
keep them apart or add them to the flow of their first piece. So between two addresses and a protocol with
such fragments only the sum is compared, and each 5-tuple may exceed the judge's, never fall short of it.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple


class Direction(NamedTuple):
    """One way of a 5-tuple. Addresses are text in RFC 5952 form; ports are 0 where there are none."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int
    fragment: bool = False
    """A fragment with an offset: its ports are unknown, so it is kept apart."""

    def turned(self) -> "Direction":
        """Give the other way of the same 5-tuple."""
        return Direction(
            self.destination,
            self.destination_port,
            self.source,
            self.source_port,
            self.protocol,
            self.fragment,
        )

    def without_ports(self) -> "Direction":
        """Give the key under which everything of these addresses and this protocol is added up."""
        return Direction(self.source, 0, self.destination, 0, self.protocol, fragment=True)


class Count(NamedTuple):
    """What went one way."""

    packets: int
    ip_bytes: int

    def plus(self, other: "Count") -> "Count":
        """Add two counts field by field."""
        return Count(self.packets + other.packets, self.ip_bytes + other.ip_bytes)


NOTHING = Count(0, 0)


class Truth(NamedTuple):
    """One line of the truth file beside the performance mix."""

    way: Direction
    """From the originator, who sent the first packet in the file. Fragments appear with ports 0."""

    originated: Count
    responded: Count

    first: int
    """UTC microseconds of the first packet."""

    last: int
    """UTC microseconds of the last packet."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How a meter differs from its judge."""

    missing: Count = NOTHING
    """What the judge counted and the meter did not, over all directions."""

    extra: Count = NOTHING
    """What the meter counted and the judge did not."""

    ways: tuple[tuple[Direction, Count, Count], ...] = ()
    """Each direction that differs: the judge's count, the meter's."""

    def __bool__(self) -> bool:
        """Tell whether there is any difference."""
        return bool(self.ways)


def shared() -> Path | None:
    """Give the folder of shared captures beside the checkout, or None where there is none."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "pcaps"
    return folder if (folder / "INDEX.md").is_file() else None


def captures(folder: Path) -> list[Path]:
    """List every capture below *folder*, in a stable order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")


def address(text: str) -> str:
    """Write an address in the one form that both sides use."""
    return str(ip_address(text))


def read_truth(path: Path) -> Iterator[Truth]:
    """Read a truth file of flows, one JSON object a line, gzip-compressed or not.

    Unknown fields and empty lines are passed over, and absent counts are 0, so that a later edition of the
    file with more in it still reads. A line that is not a flow raises KeyError or ValueError.
    """
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        for line in lines:
            if line.strip():
                yield _truth(json.loads(line))


def truth_counts(path: Path) -> dict[Direction, Count]:
    """Give a truth file's totals per direction; a direction without packets is absent."""
    result: dict[Direction, Count] = {}
    for truth in read_truth(path):
        for way, count in ((truth.way, truth.originated), (truth.way.turned(), truth.responded)):
            if count.packets:
                result[way] = result.get(way, NOTHING).plus(count)
    return result


def compare(judged: Mapping[Direction, Count], ours: Mapping[Direction, Count]) -> Gap:
    """Find where *ours* differs from what was *judged*."""
    pieces = {key.without_ports() for key in (*judged, *ours) if key.fragment}
    differing = []
    summed_judged, summed_ours = _summed(judged, pieces), _summed(ours, pieces)
    for key in sorted(summed_judged.keys() | summed_ours.keys()):
        should, is_ = summed_judged.get(key, NOTHING), summed_ours.get(key, NOTHING)
        if should != is_:
            differing.append((key, should, is_))
    for key, should in sorted(judged.items()):
        is_ = ours.get(key, NOTHING)
        if not key.fragment and key.without_ports() in pieces and not _covers(is_, should):
            differing.append((key, should, is_))
    return Gap(
        missing=_excess((should, is_) for _, should, is_ in differing),
        extra=_excess((is_, should) for _, should, is_ in differing),
        ways=tuple(differing),
    )


def _truth(line: Mapping[str, Any]) -> Truth:
    way = Direction(
        address(line["src"]),
        line.get("sport") or 0,
        address(line["dst"]),
        line.get("dport") or 0,
        line["proto"],
    )
    return Truth(
        way,
        Count(line.get("orig_pkts", 0), line.get("orig_ip_bytes", 0)),
        Count(line.get("resp_pkts", 0), line.get("resp_ip_bytes", 0)),
        line["first_us"],
        line["last_us"],
    )


def _summed(counts: Mapping[Direction, Count], pieces: set[Direction]) -> dict[Direction, Count]:
    """Add up the directions of *pieces* without their ports, and leave all others as they are."""
    result: dict[Direction, Count] = {}
    for key, count in counts.items():
        whole = key.without_ports()
        target = whole if whole in pieces else key
        result[target] = result.get(target, NOTHING).plus(count)
    return result


def _covers(one: Count, other: Count) -> bool:
    return one.packets >= other.packets and one.ip_bytes >= other.ip_bytes


def _excess(pairs: Iterator[tuple[Count, Count]]) -> Count:
    """Add up by how much the first of each pair exceeds the second, packets and bytes apart."""
    packets = ip_bytes = 0
    for one, other in pairs:
        packets += max(0, one.packets - other.packets)
        ip_bytes += max(0, one.ip_bytes - other.ip_bytes)
    return Count(packets, ip_bytes)
