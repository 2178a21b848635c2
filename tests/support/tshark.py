"""What tshark, an independent dissector, says about a capture: the judge of our flow meter.

The rules, so that the meter and its judge can be compared number by number:

* Only the outermost IP header of a frame counts. Nothing above TCP and UDP is dissected for counts, so a
  tunnel's inside and the packet quoted by an ICMP error are payload.
* A direction is (source, source port, destination, destination port, protocol). TCP and UDP have ports;
  every other protocol has ports 0, and so have packets whose ports the capture does not hold.
* Bytes are the IPv4 total length, or 40 + the IPv6 payload length; a jumbogram's payload length is its
  option's; an IPv4 total length of 0 (segmentation offload) is the length on the wire after layer 2.
* IPv6 extension headers (hop-by-hop, routing, destination options, fragment, authentication) are walked;
  in IPv4 an authentication header is protocol 51 and ends the walk.
* A fragment with an offset has no ports and a key of its own (`fragment` is true). Nothing is defragmented.
* A frame whose IP header tshark refuses (too short, wrong version, length below the header's) is *broken*:
  reported, never counted. A counted frame that tshark found wrong above that is *doubtful*: counted and
  reported.

Only `remembered_survey` leaves a file behind.
"""

import atexit
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.support.traffic import NOTHING, Count, Direction, address

TCP, UDP = 6, 17

_LAYER_2 = (
    "frame data cfp chdlc eth ethertype fddi fr ieee8021ad ieee8021ah ieee8021cb infiniband ipoib llc loop"
    " mpls nflog null pcap_pktdata pktap ppi ppp ppp_hdlc pppoe pppoed pppoes prism pwethcw pwethheuristic"
    " pwethnocw radiotap raw sll tr user_dlt vlan vntag wlan wlan_radio"
)
"""What stands below IP in the captures, so that tshark finds IP wherever it is outermost."""

_KEPT = frozenset((*_LAYER_2.split(), "ip", "ipv6", "ah", "tcp", "udp"))
_KEPT_PREFIXES = ("_ws.", "ip.options.", "ipv6.", "tcp.options.")

_COUNT_FIELDS = (
    "frame.number",
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.len",
    "ip.frag_offset",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.plen",
    "ipv6.opt.jumbo",
    "ipv6.hopopts.nxt",
    "ipv6.routing.nxt",
    "ipv6.dstopts.nxt",
    "ipv6.fraghdr.nxt",
    "ipv6.fraghdr.offset",
    "ah.next_header",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "_ws.malformed",
    "_ws.short",
    "ip.bogus_ip_length",
    "ipv6.plen_exceeds_framing",
    "tcp.bogus_header_length",
    "udp.length.bad",
)
_DOUBTS = _COUNT_FIELDS[_COUNT_FIELDS.index("_ws.malformed") :]

_EXTENSIONS = {
    0: "ipv6.hopopts.nxt",
    43: "ipv6.routing.nxt",
    44: "ipv6.fraghdr.nxt",
    51: "ah.next_header",
    60: "ipv6.dstopts.nxt",
}
"""Next-header number of each IPv6 extension header that is walked -> the field with what follows it."""

_FRAGMENT = 44

_NAME_FIELDS = (
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ipv6.src",
    "ipv6.dst",
    "tcp.srcport",
    "tcp.dstport",
    "udp.srcport",
    "udp.dstport",
    "tls.handshake.extensions_server_name",
    "http.host",
    "dns.flags.response",
    "dns.id",
    "dns.count.queries",
    "dns.qry.name",
    "dns.qry.type",
)
_NAME_FILTER = "tls.handshake.extensions_server_name or http.host or dns.qry.name"
_DNS_PORTS = frozenset({53, 5353, 5355})

_UNIT = "\x1f"  # ASCII unit separator: no address, number or host name of the captures has it
_AS_SENT = ("-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE")


class Frame(NamedTuple):
    """One frame that has an IP header somewhere."""

    number: int
    """From 1, as tshark counts."""

    link: str
    """The layers below IP, as in `eth:ethertype:vlan:ethertype`; empty for raw IP."""

    direction: Direction | None
    """None if the IP header is broken."""

    ip_bytes: int
    doubts: tuple[str, ...]
    """tshark's fields that say something is wrong with the frame."""


@dataclass(kw_only=True)
class Survey:
    """All of one capture's frames, added up."""

    counts: dict[Direction, Count] = field(default_factory=dict)
    """Every frame with a whole IP header, doubtful ones included."""

    links: dict[Direction, set[str]] = field(default_factory=dict)
    """The layers below IP that each direction was seen on."""

    doubtful: dict[Direction, set[str]] = field(default_factory=dict)
    """The directions with a frame that tshark found something wrong with, and what."""

    broken: tuple[int, ...] = ()
    """Numbers of the frames whose IP header is not usable."""

    complaint: str = ""
    """Why tshark stopped before the end of the file; empty if it did not."""


class Question(NamedTuple):
    """One DNS question."""

    name: str
    type: int
    id: int


@dataclass(kw_only=True)
class Names:
    """What one 5-tuple called itself in clear. Found only outside tunnels."""

    sni: set[str] = field(default_factory=set)
    """Server names of ClientHellos that open a TCP connection."""

    late_sni: set[str] = field(default_factory=set)
    """Server names of ClientHellos after something else: STARTTLS, CONNECT, SOCKS."""

    http_host: str = ""
    """The first HTTP/1 Host header; empty if there was none."""

    questions: set[Question] = field(default_factory=set)


def available() -> bool:
    """Tell whether tshark is installed."""
    return shutil.which("tshark") is not None


def ip_counts(path: Path) -> dict[Direction, Count]:
    """Count packets and IP bytes of each direction in the capture at *path*."""
    return survey(path).counts


def survey(path: Path) -> Survey:
    """Add up the frames of the capture at *path*."""
    result = Survey()
    complaint: list[str] = []
    broken = []
    for frame in frames(path, complaint):
        if frame.direction is None:
            broken.append(frame.number)
            continue
        key = frame.direction
        result.counts[key] = result.counts.get(key, NOTHING).plus(Count(1, frame.ip_bytes))
        result.links.setdefault(key, set()).add(frame.link)
        if frame.doubts:
            result.doubtful.setdefault(key, set()).update(frame.doubts)
    result.broken = tuple(broken)
    result.complaint = " ".join(complaint)
    return result


def remembered_survey(path: Path, folder: Path) -> Survey:
    """Give `survey(path)`, kept in *folder* until the capture, these rules or tshark itself change."""
    digest = hashlib.sha256(_edition())
    digest.update(path.read_bytes())
    kept = folder / f"{digest.hexdigest()}.json"
    if kept.is_file():
        return _from_json(kept.read_text())
    result = survey(path)
    unfinished = kept.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
    unfinished.write_text(_to_json(result))
    unfinished.replace(kept)
    return result


def frames(path: Path, complaint: list[str] | None = None) -> Iterator[Frame]:
    """Read the capture at *path*, one frame with an IP header at a time.

    Args:
        path: The capture, in any format tshark reads (compressed ones too).
        complaint: Gets tshark's words if it stops before the end of the file.
    """
    options = (*_AS_SENT, "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "tcp.check_checksum:FALSE")
    for row in _rows(path, _COUNT_FIELDS, options, complaint, home=_only_headers()):
        frame = _frame(row)
        if frame is not None:
            yield frame


def names(path: Path) -> dict[Direction, Names]:
    """Find the names that the capture at *path* holds in clear, outside tunnels, TCP reassembled.

    The key is the direction of whoever asked: client to server for TLS and HTTP, and for a DNS answer the
    way its question went. Conversations without a name are absent.
    """
    result: dict[Direction, Names] = {}
    options = (*_AS_SENT, "-o", "tcp.reassemble_out_of_order:TRUE", "-Y", _NAME_FILTER)
    for row in _rows(path, _NAME_FIELDS, options, None, home=_no_settings()):
        layers = row["frame.protocols"].split(":")
        below, _, above = _outermost(layers)
        if above is None or "ip" in above or "ipv6" in above:
            continue
        asker = _name_direction(row, layers[len(below)])
        if asker.protocol == TCP and row["http.host"] and above[:2] == ["tcp", "http"]:
            entry = result.setdefault(asker, Names())
            entry.http_host = entry.http_host or _first(row["http.host"])
        if asker.protocol == TCP and row["tls.handshake.extensions_server_name"]:
            entry = result.setdefault(asker, Names())
            found = entry.sni if above[:2] == ["tcp", "tls"] else entry.late_sni
            found.update(_all(row["tls.handshake.extensions_server_name"]))
        if row["dns.qry.name"] and _DNS_PORTS & {asker.source_port, asker.destination_port}:
            if _first(row["dns.flags.response"]) in {"1", "True"}:
                asker = asker.turned()
            result.setdefault(asker, Names()).questions.update(_questions(row))
    return result


def _frame(row: Mapping[str, str]) -> Frame | None:
    """Make one row of count fields a frame; None if it has no IP header at all."""
    below, version, above = _outermost(row["frame.protocols"].split(":"))
    if above is None:
        return None
    doubts = tuple(name for name in _DOUBTS if row[name])
    number, link = int(row["frame.number"]), ":".join(below)
    header = _ipv4(row) if version == "ip" else _ipv6(row)
    if header is None:
        return Frame(number, link, None, 0, doubts)
    source, destination, protocol, ip_bytes, fragment = header
    ports = (0, 0)
    if not fragment and protocol in {TCP, UDP}:
        transport = "tcp" if protocol == TCP else "udp"
        # A UDP dissector that found no room shows no port; an inner header cannot be taken for it,
        # because nothing inside TCP or UDP is dissected.
        ports = (
            int(_first(row[f"{transport}.srcport"]) or 0),
            int(_first(row[f"{transport}.dstport"]) or 0),
        )
    key = Direction(address(source), ports[0], address(destination), ports[1], protocol, fragment)
    return Frame(number, link, key, ip_bytes, doubts)


def _outermost(layers: Sequence[str]) -> tuple[Sequence[str], str, Sequence[str] | None]:
    """Part a frame's layers at the first IP header: below it, which IP, above it (None without IP)."""
    for place, name in enumerate(layers):
        if name in {"ip", "ipv6"}:
            return layers[:place], name, layers[place + 1 :]
    return layers, "", None


def _ipv4(row: Mapping[str, str]) -> tuple[str, str, int, int, bool] | None:
    """Read the outermost IPv4 header; None if it is broken. tshark itself replaces a length of 0."""
    source, destination = _first(row["ip.src"]), _first(row["ip.dst"])
    if not (source and destination):
        return None
    fragment = int(_first(row["ip.frag_offset"]) or "0", 0) > 0
    return source, destination, int(_first(row["ip.proto"])), int(_first(row["ip.len"])), fragment


def _ipv6(row: Mapping[str, str]) -> tuple[str, str, int, int, bool] | None:
    """Read the outermost IPv6 header and walk its extension headers; None if the header is broken."""
    source, destination = _first(row["ipv6.src"]), _first(row["ipv6.dst"])
    if not (source and destination):
        return None
    payload = int(_first(row["ipv6.plen"]))
    protocol = int(_first(row["ipv6.nxt"]))
    if payload == 0 and protocol == 0 and row["ipv6.opt.jumbo"]:
        payload = int(_first(row["ipv6.opt.jumbo"]))
    # Each kind's fields come in the order of the headers, so the outermost header's come first.
    following = {number: iter(_all(row[name])) for number, name in _EXTENSIONS.items()}
    offsets = iter(_all(row["ipv6.fraghdr.offset"]))
    while protocol in following:
        here, after = protocol, next(following[protocol], None)
        if after is None:  # not captured, or not there
            break
        protocol = int(after)
        if here == _FRAGMENT and int(next(offsets, "0"), 0) > 0:
            return source, destination, protocol, 40 + payload, True
    return source, destination, protocol, 40 + payload, False


def _name_direction(row: Mapping[str, str], version: str) -> Direction:
    """Give the direction of one row of name fields, which has one IP header and TCP or UDP in it."""
    transport = "tcp" if row["tcp.srcport"] else "udp"
    return Direction(
        address(_first(row[f"{version}.src"])),
        int(_first(row[f"{transport}.srcport"]) or 0),
        address(_first(row[f"{version}.dst"])),
        int(_first(row[f"{transport}.dstport"]) or 0),
        TCP if transport == "tcp" else UDP,
    )


def _questions(row: Mapping[str, str]) -> Iterator[Question]:
    """Pair each question with its message: a frame can hold several messages, a message several."""
    asked = zip(_all(row["dns.qry.name"]), _all(row["dns.qry.type"]), strict=False)
    for number, count in zip(_all(row["dns.id"]), _all(row["dns.count.queries"]), strict=False):
        for _ in range(int(count)):
            question = next(asked, None)
            if question is None:
                break
            yield Question(question[0], int(question[1]), int(number, 0))


def _all(value: str) -> list[str]:
    return value.split(_UNIT) if value else []


def _first(value: str) -> str:
    return value.partition(_UNIT)[0]


def _rows(
    path: Path, fields: Sequence[str], options: Iterable[str], complaint: list[str] | None, *, home: Path
) -> Iterator[dict[str, str]]:
    """Run tshark once and give its fields, all occurrences, frame by frame."""
    command = ["tshark", "-n", "-r", str(path), *options, "-T", "fields", "-E", "separator=/t"]
    command += ["-E", "occurrence=a", "-E", f"aggregator={_UNIT}"]
    for name in fields:
        command += ["-e", name]
    environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace") as words,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=words,
            env=environment,
            encoding="utf-8",
            errors="backslashreplace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            yield dict(zip(fields, line.rstrip("\n").split("\t"), strict=True))
        if process.wait() != 0 and complaint is not None:
            words.seek(0)
            complaint.extend(line.strip() for line in words if not line.startswith("Running as user"))


@functools.cache
def _no_settings() -> Path:
    """Make an empty settings folder, so that nobody's own preferences change a count."""
    folder = Path(tempfile.mkdtemp(prefix="tshark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _only_headers() -> Path:
    """Make a settings folder that switches off every protocol above TCP and UDP, and all guessing."""
    folder = Path(tempfile.mkdtemp(prefix="tshark-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    environment = os.environ | {"WIRESHARK_CONFIG_DIR": str(_no_settings())}
    listing = subprocess.run(
        ["tshark", "-G", "protocols"], check=True, capture_output=True, text=True, env=environment
    ).stdout
    every = {line.split("\t")[2] for line in listing.splitlines()}
    off = sorted(name for name in every if name not in _KEPT and not name.startswith(_KEPT_PREFIXES))
    (folder / "disabled_protos").write_text("\n".join(off) + "\n")
    return folder


@functools.cache
def _edition() -> bytes:
    """Name everything besides the capture that a survey depends on."""
    version = subprocess.run(["tshark", "--version"], check=True, capture_output=True).stdout
    rules = [Path(__file__), Path(__file__).with_name("traffic.py")]
    return hashlib.sha256(version + b"".join(path.read_bytes() for path in rules)).digest()


def _to_json(found: Survey) -> str:
    """Write a survey as JSON: a list a direction, because JSON has only text keys."""
    return json.dumps(
        {
            "counts": [[*key, *count] for key, count in found.counts.items()],
            "links": [[*key, *sorted(links)] for key, links in found.links.items()],
            "doubtful": [[*key, *sorted(doubts)] for key, doubts in found.doubtful.items()],
            "broken": found.broken,
            "complaint": found.complaint,
        }
    )


def _from_json(text: str) -> Survey:
    """Read what `_to_json` wrote."""
    kept, width = json.loads(text), len(Direction._fields)
    return Survey(
        counts={Direction(*row[:width]): Count(*row[width:]) for row in kept["counts"]},
        links={Direction(*row[:width]): set(row[width:]) for row in kept["links"]},
        doubtful={Direction(*row[:width]): set(row[width:]) for row in kept["doubtful"]},
        broken=tuple(kept["broken"]),
        complaint=kept["complaint"],
    )
