"""The kernel's rows become columns of the ``flow`` dataset.

Rules:
    1. Whole columns at a time; only flows that were looked at cost a Python step each, for their names.
    2. ``flow.id`` is the ordinal alone here; the pipeline puts the import's or capture's identity before it.
    3. An empty row only tells that a flow is over, and is no record.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from applog.capture.capfile import Integers
from applog.capture.kernel import columns as c
from applog.capture.naming import Namer, Names
from applog.records import FLOW

_TRANSPORTS = {
    1: "icmp", 2: "igmp", 4: "ipv4", 6: "tcp", 17: "udp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah",
    58: "ipv6-icmp", 88: "eigrp", 89: "ospf", 103: "pim", 112: "vrrp", 115: "l2tp", 132: "sctp",
    136: "udplite",
}  # fmt: skip
"""Keywords of the IANA protocol registry, lower case."""

_PROTOCOLS = (
    None, "tls", "http", "dns", "mdns", "llmnr", "dhcp", "dhcpv6",
    "gre", "ipip", "6in4", "vxlan", "geneve", "gtp-u", "teredo", "l2tp", "esp", None,
)  # fmt: skip
"""By the kernel's code."""

_REASONS = (None, "closed", "reset", "idle", "reused", "evicted", "cut", "end-of-capture")
_FLAGS = "FSRPAUEC"
_SIDE_MAC = {"source": c.A_MAC, "destination": c.B_MAC}
NameOf = Callable[[bytes, bytes, int, int], str | None]


def records_of(rows: Integers) -> Integers:
    """The rows of *rows* that are records."""
    return rows[(rows[:, c.A_PACKETS] + rows[:, c.B_PACKETS]) > 0]


def flow_columns(rows: Integers, namer: Namer, name_of: NameOf | None) -> dict[str, pa.Array]:
    """ECS columns of the records *rows*, with the names known when each ended."""
    meta = rows[:, c.META]
    portless = _portless(meta)
    tcp = (meta & 0xFF == 6) & (meta & c.META_FRAGMENT == 0)
    columns = {
        "@timestamp": _timestamps(rows[:, c.SLICE_START]),
        "event.end": _timestamps(rows[:, c.SLICE_END]),
        "flow.id": pa.array(np.ascontiguousarray(rows[:, c.ORDINAL])).cast(pa.string()),
        "flow.start": _timestamps(rows[:, c.FLOW_START]),
        "flow.slice": _integers(rows[:, c.SLICE]),
        "flow.midstream": pa.array((rows[:, c.STATE] & c.MIDSTREAM) != 0, mask=~tcp),
        "flow.fragment": _true_or_absent(meta & c.META_FRAGMENT != 0),
        "flow.end_reason": _words(rows[:, c.REASON], _REASONS.__getitem__),
        "source.ip": addresses(rows[:, c.A_HIGH], rows[:, c.A_LOW], meta),
        "source.port": _integers(rows[:, c.PORTS] >> 16, portless),
        "destination.ip": addresses(rows[:, c.B_HIGH], rows[:, c.B_LOW], meta),
        "destination.port": _integers(rows[:, c.PORTS] & 0xFFFF, portless),
        "network.transport": _words(meta & 0xFF, lambda code: _TRANSPORTS.get(code, str(code))),
        "network.protocol": _words(rows[:, c.PROTOCOL], _PROTOCOLS.__getitem__),
        "network.type": _words(meta & c.META_IPV6, lambda ipv6: "ipv6" if ipv6 else "ipv4"),
        "network.vlan.id": _present(meta >> c.META_VLAN_SHIFT & 0xFFF),
        "network.inner.vlan.id": _present(meta >> c.META_INNER_SHIFT & 0xFFF),
        "tcp.state": _masked(_words(rows[:, c.STATE] << 16 | rows[:, c.TCP_FLAGS], _tcp_state), ~tcp),
        "tcp.flags": _masked(_words(rows[:, c.TCP_FLAGS], _tcp_flags), ~tcp),
    }
    for end, first in (("source", c.A_PACKETS), ("destination", c.B_PACKETS)):
        columns[f"{end}.mac"] = _macs(rows[:, _SIDE_MAC[end]])
        columns[f"{end}.packets"] = _integers(rows[:, first])
        columns[f"{end}.bytes"] = _integers(rows[:, first + 1])
        columns[f"{end}.payload_bytes"] = _integers(rows[:, first + 2])
    return columns | _name_columns(rows, columns, namer, name_of)


def _name_columns(
    rows: Integers, columns: dict[str, pa.Array], namer: Namer, name_of: NameOf | None
) -> dict[str, pa.Array]:
    """What the ends said of themselves before each record ended."""
    count = len(rows)
    texts: dict[str, list[Any]] = {name: [None] * count for name in _NAME_FIELDS}
    looked_at = np.nonzero(rows[:, c.STATE] & c.PEEKED)[0]
    ordinals = rows[looked_at, c.ORDINAL].tolist()
    ends = rows[looked_at, c.AT_PACKET].tolist()
    for at, ordinal, end in zip(looked_at.tolist(), ordinals, ends, strict=True):
        names = namer.names(ordinal)
        if names is not None:
            _fill(texts, at, names, end)
    if name_of is not None:
        _fill_resolved(texts, rows, columns, name_of)
    return {
        name: pa.array(values, FLOW.by_name[name].arrow.type)
        for name, values in texts.items()
        if any(value is not None for value in values)
    }


_NAME_FIELDS = (
    "destination.domain",
    "flow.domain_source",
    "tls.version",
    "tls.client.alpn",
    "tls.client.ech_extension",
    "http.request.method",
    "http.response.status_code",
    "user_agent.original",
)


def _fill(texts: dict[str, list[Any]], at: int, names: Names, end: int) -> None:
    if names.originator_packet < end:
        texts["destination.domain"][at] = names.domain
        texts["flow.domain_source"][at] = names.domain_source
        texts["tls.version"][at] = names.offered
        texts["tls.client.alpn"][at] = names.alpn
        texts["tls.client.ech_extension"][at] = names.ech
        texts["http.request.method"][at] = names.method
        texts["user_agent.original"][at] = names.agent
    if names.responder_packet < end:
        texts["tls.version"][at] = names.version or texts["tls.version"][at]
        texts["http.response.status_code"][at] = names.status


def _fill_resolved(
    texts: dict[str, list[Any]], rows: Integers, columns: dict[str, pa.Array], name_of: NameOf
) -> None:
    """Names that the originator had resolved before the flow began, where it gave none itself."""
    clients = columns["source.ip"].to_pylist()
    servers = columns["destination.ip"].to_pylist()
    begins = rows[:, c.FIRST_PACKET].tolist()
    ends = rows[:, c.AT_PACKET].tolist()
    for at, domain in enumerate(texts["destination.domain"]):
        if domain is None and (name := name_of(clients[at], servers[at], begins[at], ends[at])) is not None:
            texts["destination.domain"][at] = name
            texts["flow.domain_source"][at] = "dns"


def addresses(high: Integers, low: Integers, meta: Integers) -> pa.Array:
    """Packed addresses of 4 or 16 bytes, as the family says."""
    count = len(low)
    packed = np.empty((count, 16), np.uint8)
    packed[:, :8] = np.ascontiguousarray(high).astype(">i8").view(np.uint8).reshape(count, 8)
    packed[:, 8:] = np.ascontiguousarray(low).astype(">i8").view(np.uint8).reshape(count, 8)
    ipv6 = meta & c.META_IPV6 != 0
    if not ipv6.any():
        return _binary(np.ascontiguousarray(packed[:, 12:]), np.full(count, 4))
    used = np.ones((count, 16), np.bool_)
    used[~ipv6, :12] = False
    return _binary(packed[used], np.where(ipv6, 16, 4))


def _binary(data: npt.NDArray[np.uint8], lengths: npt.NDArray[Any], mask: Any = None) -> pa.Array:
    """A binary array of values of *lengths* that stand one after the other in *data*."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    validity = None if mask is None else pa.array(~mask).buffers()[1]
    buffers = [validity, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.Array.from_buffers(pa.binary(), len(lengths), buffers)


def _macs(values: Integers) -> pa.Array:
    count = len(values)
    data = np.ascontiguousarray(values).astype(">i8").view(np.uint8).reshape(count, 8)[:, 2:]
    absent = values < 0
    return _binary(data, np.full(count, 6), absent if absent.any() else None)


def _portless(meta: Integers) -> npt.NDArray[np.bool_]:
    transport = meta & 0xFF
    has_ports = (transport == 6) | (transport == 17)
    whole = meta & (c.META_FRAGMENT | c.META_PORTLESS) == 0
    portless: npt.NDArray[np.bool_] = ~(has_ports & whole)
    return portless


def _timestamps(values: Integers) -> pa.Array:
    return pa.array(np.ascontiguousarray(values)).cast(pa.timestamp("us"))


def _integers(values: Integers, absent: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    return pa.array(np.ascontiguousarray(values), mask=absent)


def _present(values: Integers) -> pa.Array:
    """Values, absent where zero."""
    return _integers(values, values == 0)


def _true_or_absent(values: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(values, mask=~values)


def _masked(values: pa.Array, absent: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.compute.if_else(pa.array(absent), pa.scalar(None, values.type), values)


def _words(codes: Integers, word: Callable[[int], str | None]) -> pa.Array:
    """A word per code, made once per distinct code."""
    distinct, places = np.unique(codes, return_inverse=True)
    words = pa.array([word(code) for code in distinct.tolist()], pa.string())
    return words.take(pa.array(places))


def _tcp_flags(flags: int) -> str:
    sides = (flags & 0xFF, flags >> 8 & 0xFF)
    return "/".join("".join(letter for bit, letter in enumerate(_FLAGS) if side >> bit & 1) for side in sides)


def _tcp_state(code: int) -> str:
    """How far the connection had come (RFC 9293 section 3.3.2, as an onlooker sees it)."""
    state, originator, responder = code >> 16, code & 0xFF, code >> 8 & 0xFF
    if state & c.RESET:
        return "refused" if originator & 2 and not responder & 2 else "reset"
    if state & c.CLOSED:
        return "closed"
    if state & (c.FIN_A | c.FIN_B):
        return "closing"
    if state & c.MIDSTREAM and not responder & 2:
        return "midstream"
    if not responder:
        return "syn-sent"
    return "established" if originator & 16 else "syn-received"


def read_flows(path: Path, profile: str = "standard") -> pa.Table:
    """All flow records of the capture at *path*, as they would be journaled (for tests and analysis)."""
    from applog.capture.extract import extract_file  # noqa: PLC0415  extract builds on this module

    return extract_file(path, profile)["flow"]
