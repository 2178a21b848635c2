"""A second flow meter, to judge the compiled one: slow, plain, and written from the rules alone.

Rules (those of network.md section 2, in the order in which they are applied to a packet):
    1. The packet clock is the highest time seen. Over 1 min back or 1 h ahead, every flow is cut and the
       clock starts anew. Deadlines are looked at when the clock enters a new second.
    2. Due then are flows whose end has come (idle time over, or 5 s after their closing), and slices: the
       first 60 s after the flow's first packet, then every 300 s. An empty slice is no record.
    3. A packet belongs to the flow with its key unless that one is over by the packet's own time, or the
       packet is a SYN with another sequence number. A SYN of a side whose own SYN was not seen cannot be
       the same one, except as the responder's first packet: both opened at once.
    4. The sender of the first packet is the originator; of a first SYN-ACK it is the responder.
    5. Closed is FIN both ways, or RST, whichever was first.

It knows neither frames nor tables: it is fed what a packet says, and never runs out of room.
"""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

SECOND: Final = 1_000_000
FIN, SYN, RST, ACK = 1, 2, 4, 16
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58


class Record(NamedTuple):
    """What both meters must agree upon."""

    ordinal: int
    """Number of the flow in the order of first packets."""
    protocol: int
    vlans: tuple[int, int]
    """Outer and inner VLAN, 0 for none."""
    fragment: bool
    source: str
    source_port: int
    destination: str
    destination_port: int
    sent: tuple[int, int, int]
    """Packets, IP bytes and payload bytes of the originator."""
    received: tuple[int, int, int]
    """The same of the responder."""
    flow_start: int
    start: int
    end: int
    slice: int
    reason: str
    """Why the flow ended; empty if it goes on."""
    midstream: bool
    flags: tuple[int, int]
    """TCP flags so far, of the originator and of the responder."""
    at_packet: int
    """Number of the packet whose arrival made the record."""


class Jump(NamedTuple):
    """The packet clock started anew."""

    earlier: int
    later: int
    packet: int
    flows: int
    """How many were cut."""


class Outcome(NamedTuple):
    """What a meter made of some packets."""

    records: list[Record]
    """Sorted by (packet that made it, ordinal): the order within one moment is the table's own affair."""
    jumps: list[Jump]


class Seen(NamedTuple):
    """One packet, as its headers say."""

    time: int
    source: str
    source_port: int
    target: str
    target_port: int
    protocol: int
    size: int
    """IP bytes."""
    payload: int = 0
    """Bytes behind the transport header."""
    flags: int = 0
    sequence: int = 0
    vlans: tuple[int, int] = (0, 0)
    fragment: bool = False


@dataclass
class _Side:
    """One end of a flow."""

    packets: int = 0
    size: int = 0
    payload: int = 0
    flags: int = 0
    first_number: int | None = None
    """Sequence number of its SYN."""
    spoke: bool = False
    finished: bool = False


@dataclass
class _Flow:
    ordinal: int
    key: Seen
    """A packet of the originator, or one turned round."""
    midstream: bool
    next_slice: int
    start: int
    last: int
    sides: tuple[_Side, _Side] = field(default_factory=lambda: (_Side(), _Side()))
    slice: int = 0
    slice_start: int | None = None
    slice_end: int = 0
    over_at: int | None = None
    """When it is over for good, once it was closed."""
    closing: str = ""

    def idle_time(self) -> int:
        answered, protocol = self.sides[1].spoke, self.key.protocol
        if protocol in (ICMP, ICMPV6):
            return 30 * SECOND
        if protocol == TCP and not self.key.fragment:
            return (1800 if answered else 10) * SECOND
        return (60 if answered else 30) * SECOND

    def is_over(self, now: int) -> bool:
        return now - self.last >= self.idle_time() or (self.over_at is not None and now >= self.over_at)


class ReferenceMeter:
    """One flow table; feed it packets, then finish it."""

    def __init__(self) -> None:
        self._flows: dict[frozenset[object], _Flow] = {}
        self._records: list[Record] = []
        self._jumps: list[Jump] = []
        self._clock: int | None = None
        self._number = 0
        self._ordinals = 0

    def feed(self, packet: Seen) -> None:
        """Count one packet."""
        self._tick(packet.time)
        key = _key(packet)
        flow = self._flows.get(key)
        if flow is not None:
            if flow.is_over(packet.time):
                self._end(key, flow.closing or "idle")
                flow = None
            elif _is_another_opening(flow, packet):
                self._end(key, "reused")
                flow = None
        if flow is None:
            flow = self._flows[key] = self._begin(packet)
        self._count(flow, packet)
        self._number += 1

    def finish(self) -> Outcome:
        """End every flow: the capture is over."""
        self._end_all("end-of-capture")
        return Outcome(sorted(self._records, key=lambda one: (one.at_packet, one.ordinal)), self._jumps)

    def _tick(self, time: int) -> None:
        clock = self._clock
        if clock is not None and not clock - 60 * SECOND <= time <= clock + 3600 * SECOND:
            self._jumps.append(Jump(clock, time, self._number, len(self._flows)))
            self._end_all("cut")
            self._clock = time
            return
        if clock is None or time // SECOND > clock // SECOND:
            self._look(time // SECOND * SECOND)
        self._clock = time if clock is None else max(clock, time)

    def _look(self, now: int) -> None:
        for key, flow in list(self._flows.items()):
            if flow.is_over(now):
                self._end(key, flow.closing or "idle")
            elif flow.next_slice <= now:
                self._write(flow, "")
                while flow.next_slice <= now:
                    flow.next_slice += 300 * SECOND

    def _begin(self, packet: Seen) -> _Flow:
        opening = packet.flags & (SYN | ACK)
        whole = packet.protocol == TCP and not packet.fragment
        backwards = whole and opening == SYN | ACK
        flow = _Flow(
            ordinal=self._ordinals,
            key=_turned(packet) if backwards else packet,
            midstream=whole and opening != SYN,
            next_slice=packet.time + 60 * SECOND,
            start=packet.time,
            last=packet.time,
        )
        self._ordinals += 1
        return flow

    def _count(self, flow: _Flow, packet: Seen) -> None:
        if flow.slice_start is None:
            flow.slice_start = flow.slice_end = packet.time
        flow.slice_start = min(flow.slice_start, packet.time)
        flow.slice_end = max(flow.slice_end, packet.time)
        flow.last = max(flow.last, packet.time)
        if flow.slice == 0:
            flow.start = min(flow.start, packet.time)
        side = flow.sides[_is_answer(flow, packet)]
        side.packets += 1
        side.size += packet.size
        side.payload += packet.payload
        side.spoke = True
        if packet.protocol == TCP and not packet.fragment:
            _follow(flow, side, packet)

    def _end(self, key: frozenset[object], reason: str) -> None:
        self._write(self._flows.pop(key), reason)

    def _end_all(self, reason: str) -> None:
        for key, flow in list(self._flows.items()):
            self._end(key, flow.closing or reason)

    def _write(self, flow: _Flow, reason: str) -> None:
        if flow.slice_start is None:
            return
        key = flow.key
        one, other = flow.sides
        self._records.append(
            Record(
                ordinal=flow.ordinal,
                protocol=key.protocol,
                vlans=key.vlans,
                fragment=key.fragment,
                source=key.source,
                source_port=key.source_port,
                destination=key.target,
                destination_port=key.target_port,
                sent=(one.packets, one.size, one.payload),
                received=(other.packets, other.size, other.payload),
                flow_start=flow.start,
                start=flow.slice_start,
                end=flow.slice_end,
                slice=flow.slice,
                reason=reason,
                midstream=flow.midstream,
                flags=(one.flags, other.flags),
                at_packet=self._number,
            )
        )
        for side in flow.sides:
            side.packets = side.size = side.payload = 0
        flow.slice += 1
        flow.slice_start = None


def _key(packet: Seen) -> frozenset[object]:
    """The same for both directions."""
    ends = frozenset({(packet.source, packet.source_port), (packet.target, packet.target_port)})
    return frozenset({("ends", ends), ("of", packet.protocol, packet.vlans, packet.fragment)})


def _turned(packet: Seen) -> Seen:
    return packet._replace(
        source=packet.target,
        source_port=packet.target_port,
        target=packet.source,
        target_port=packet.source_port,
    )


def _is_answer(flow: _Flow, packet: Seen) -> bool:
    return (packet.source, packet.source_port) != (flow.key.source, flow.key.source_port)


def _is_another_opening(flow: _Flow, packet: Seen) -> bool:
    if packet.protocol != TCP or packet.fragment or packet.flags & (SYN | ACK) != SYN:
        return False
    answer = _is_answer(flow, packet)
    known = flow.sides[answer].first_number
    if known is not None:
        return known != packet.sequence
    both_open = answer and not flow.sides[1].spoke and not flow.midstream
    return not both_open


def _follow(flow: _Flow, side: _Side, packet: Seen) -> None:
    side.flags |= packet.flags
    if packet.flags & SYN and side.first_number is None:
        side.first_number = packet.sequence
    side.finished |= bool(packet.flags & FIN)
    if flow.closing:
        return
    if packet.flags & RST:
        flow.closing = "reset"
    elif all(one.finished for one in flow.sides):
        flow.closing = "closed"
    if flow.closing:
        flow.over_at = packet.time + 5 * SECOND
