"""What a capture held that is in no record, counted by reason: rows of ``coverage``.

Rules:
    1. Each reason has its own row with packets and, where they are known, bytes on the wire.
    2. Packets that are no IP traffic (ARP, spanning tree) are not a loss of records, but are said too.
"""

import numpy as np
import numpy.typing as npt

from applog.capture.capfile import CaptureFile
from applog.capture.kernel import columns as c
from retention.records import Coverage

_PACKET_REASONS = {
    c.C_ARP: ("not-ip", "ARP"),
    c.C_LLC: ("not-ip", "IEEE 802.2 LLC frames"),
    c.C_NOT_IP: ("not-ip", "other network protocols"),
    c.C_UNKNOWN_LINK: ("unknown-link-type", "link types that cannot be read"),
    c.C_SHORT_LINK: ("malformed", "cut inside the link-layer header"),
    c.C_SHORT_IP: ("malformed", "cut inside the IP header"),
    c.C_BAD_VERSION: ("malformed", "the IP version contradicts the link layer"),
    c.C_BAD_HEADER_LENGTH: ("malformed", "the IP header's length is impossible"),
    c.C_BAD_LENGTH: ("malformed", "the IP length is shorter than its header"),
    c.C_VLAN_DEPTH: ("unsupported", "more than eight VLAN tags"),
}
"""Packets that are in no flow."""

_NOTES = {
    c.C_NO_TIME: ("no-time", "packets without a usable time were given that of the packet before"),
    c.C_CUT_TRANSPORT: ("cut-header", "TCP or UDP headers cut by the capture or the sender"),
    c.C_BAD_TRANSPORT: ("malformed-transport", "TCP headers of impossible length, counted without payload"),
    c.C_BAD_CHAIN: ("malformed-transport", "IPv6 extension chains of more than 16 headers"),
    c.C_BEYOND_WIRE: ("ip-length", "IP lengths beyond the packet on the wire, counted as written"),
    c.C_PEEKS_CAPPED: ("names-given-up", "streams longer than a decoder looks at"),
}
"""Packets that are in a flow, but not with everything."""


def losses(
    state: npt.NDArray[np.int64], capture: CaptureFile, *, undecodable: int, unpaired: int
) -> list[Coverage]:
    """Coverage rows of a finished extraction; their source is filled in by the pipeline."""
    span = (int(state[c.Z_FIRST]), max(int(state[c.Z_CLOCK]), 0))
    rows = []
    for counter, (reason, detail) in (_PACKET_REASONS | _NOTES).items():
        if packets := int(state[counter]):
            size = int(state[counter + c.BYTES_OF]) if counter in _PACKET_REASONS else None
            declared = ", ".join(map(str, sorted(capture.links)))
            links = f" (declared: {declared})" if counter == c.C_UNKNOWN_LINK else ""
            rows.append(_row(span, reason, detail + links, packets=packets, size=size))
    if evicted := int(state[c.Z_EVICTED]):
        rows.append(_row(span, "evicted", "flows ended early because the flow table was full", flows=evicted))
    if undecodable:
        rows.append(
            _row(span, "undecodable", "DNS or DHCP datagrams that are not as they claim", packets=undecodable)
        )
    if unpaired:
        rows.append(
            _row(span, "names-given-up", "DNS questions written without their answers", packets=unpaired)
        )
    if (problem := capture.problem) is not None:
        detail = f"byte {problem.offset}: {problem.what}"
        rows.append(_row(span, "unreadable", detail, size=problem.lost_bytes))
    return rows


def _row(
    span: tuple[int, int],
    reason: str,
    detail: str,
    *,
    packets: int | None = None,
    size: int | None = None,
    flows: int | None = None,
) -> Coverage:
    """A loss somewhere in *span*: the capture's first and last packet."""
    first, last = span
    return Coverage(
        timestamp=min(first, last),
        end=max(first, last),
        source="",
        reason=reason,
        detail=detail,
        packets=packets,
        bytes=size,
        flows=flows,
    )
