"""The records of this package: flows and DNS transactions, metadata only.

Rules:
    1. Source is the originator (sender of the first packet, a lone SYN-ACK reversed), destination the
       responder. Whose record it is says ``flow.local``, never the direction.
    2. No payload and no URL path is in any field.
    3. Field names are ECS; ``flow.*`` and ``attribution.*`` are ours where ECS has none.
"""

import msgspec

from retention.dataset import Dataset, IpAddress, MacAddress, Record, SubjectChoice, Timestamp


class Flow(Record, frozen=True, kw_only=True):
    """A bidirectional flow, or one slice of a long one. ``@timestamp`` is its first packet."""

    end: Timestamp = msgspec.field(name="event.end")
    """Last packet of this record, UTC µs."""

    flow_id: str = msgspec.field(name="flow.id")
    """Shared by the slices of a flow: ``<file digest>.<run>.<ordinal>`` for an imported capture."""

    flow_start: Timestamp = msgspec.field(name="flow.start")
    """First packet of the whole flow, UTC µs."""

    flow_slice: int = msgspec.field(name="flow.slice")
    """0, 1, 2 …; counts and times of a record are those of its slice alone."""

    flow_previous: str | None = msgspec.field(name="flow.previous", default=None)
    """The flow that this one continues after a cut (clock jump, change of person)."""

    midstream: bool | None = msgspec.field(name="flow.midstream", default=None)
    """True: the beginning was not seen, so originator and responder may be exchanged. TCP only."""

    fragment: bool | None = msgspec.field(name="flow.fragment", default=None)
    """True: later IP fragments, which carry no ports."""

    end_reason: str | None = msgspec.field(name="flow.end_reason", default=None)
    """closed, reset, idle, reused, evicted, cut, end-of-capture; absent: it goes on in the next slice."""

    gate: str | None = msgspec.field(name="flow.gate", default=None)
    """open, closed or garden: whether the firewall let it leave the network."""

    local: str | None = msgspec.field(name="flow.local", default=None)
    """source or destination: whose record this is. Absent: nobody's (no zone was named)."""

    mirrored: bool | None = msgspec.field(name="flow.mirrored", default=None)
    """True: the second row of a flow between two local parties; left out of sums."""

    source_ip: IpAddress = msgspec.field(name="source.ip")
    """Originator. Source: outermost IP header."""

    source_port: int | None = msgspec.field(name="source.port", default=None)
    """TCP or UDP port; absent for other protocols, fragments and headers cut by the capture."""

    source_mac: MacAddress | None = msgspec.field(name="source.mac", default=None)
    """Link-layer sender of the originator's first packet: the device, or the last router."""

    source_bytes: int = msgspec.field(name="source.bytes")
    """IP bytes sent by the originator, headers included."""

    source_packets: int = msgspec.field(name="source.packets")
    """Packets sent by the originator."""

    source_payload_bytes: int = msgspec.field(name="source.payload_bytes")
    """Bytes after the transport header sent by the originator."""

    destination_ip: IpAddress = msgspec.field(name="destination.ip")
    """Responder. Source: outermost IP header."""

    destination_port: int | None = msgspec.field(name="destination.port", default=None)
    """As source.port."""

    destination_mac: MacAddress | None = msgspec.field(name="destination.mac", default=None)
    """Link-layer receiver of the originator's first packet, or the responder's own once it sent."""

    destination_bytes: int = msgspec.field(name="destination.bytes")
    """IP bytes sent by the responder; zero is measured."""

    destination_packets: int = msgspec.field(name="destination.packets")
    """Packets sent by the responder."""

    destination_payload_bytes: int = msgspec.field(name="destination.payload_bytes")
    """Bytes after the transport header sent by the responder."""

    domain: str | None = msgspec.field(name="destination.domain", default=None)
    """The responder's name as the originator gave it."""

    domain_source: str | None = msgspec.field(name="flow.domain_source", default=None)
    """sni, http, quic or dns: where the name was read."""

    user_id: str | None = msgspec.field(name="user.id", default=None)
    """The local party's immutable directory id."""

    user_name: str | None = msgspec.field(name="user.name", default=None)
    """The local party's name, realm included."""

    attribution_method: str | None = msgspec.field(name="attribution.method", default=None)
    """login, mac-device, radius or lease."""

    attribution_proof: str | None = msgspec.field(name="attribution.proof", default=None)
    """event.id of the auth record it rests on."""

    attribution_reason: str | None = msgspec.field(name="attribution.reason", default=None)
    """Why nobody is named: not-logged-in, imported, …"""

    transport: str = msgspec.field(name="network.transport")
    """tcp, udp, icmp, ipv6-icmp, …; the protocol number as text where it has no name here."""

    protocol: str | None = msgspec.field(name="network.protocol", default=None)
    """tls, http, dns, mdns, llmnr, dhcp, or the tunnel (gre, ipip, vxlan, …) whose outer flow this is."""

    type: str = msgspec.field(name="network.type")
    """ipv4 or ipv6."""

    vlan_id: int | None = msgspec.field(name="network.vlan.id", default=None)
    """Outer VLAN, 1-4094."""

    inner_vlan_id: int | None = msgspec.field(name="network.inner.vlan.id", default=None)
    """Inner VLAN of a QinQ frame."""

    tcp_state: str | None = msgspec.field(name="tcp.state", default=None)
    """syn-sent, refused, syn-received, established, closing, closed, reset (after RFC 9293), midstream."""

    tcp_flags: str | None = msgspec.field(name="tcp.flags", default=None)
    """Flags seen so far, originator/responder, letters of FSRPAUEC."""

    tls_version: str | None = msgspec.field(name="tls.version", default=None)
    """Negotiated version (ServerHello), else the highest offered; 1.0 to 1.3."""

    tls_alpn: tuple[str, ...] | None = msgspec.field(name="tls.client.alpn", default=None)
    """Protocols the client offered, in its order."""

    tls_ech: bool | None = msgspec.field(name="tls.client.ech_extension", default=None)
    """True: the ClientHello has the ECH extension; browsers send it nearly always (GREASE)."""

    http_method: str | None = msgspec.field(name="http.request.method", default=None)
    """Method of the first request."""

    http_status: int | None = msgspec.field(name="http.response.status_code", default=None)
    """Status of the first final response."""

    user_agent: str | None = msgspec.field(name="user_agent.original", default=None)
    """User-Agent of the first request."""

    interface: str | None = msgspec.field(name="observer.ingress.interface.name", default=None)
    """The interface it came in by. Absent for imports."""

    zone: str | None = msgspec.field(name="network.zone", default=None)
    """The client network it belongs to. Absent: none was named."""


class Dns(Record, frozen=True, kw_only=True):
    """A DNS transaction; ``@timestamp`` is the question, or the answer when only that was seen."""

    end: Timestamp | None = msgspec.field(name="event.end", default=None)
    """The answer, UTC µs. Absent: no answer was seen within 10 s."""

    flow_id: str = msgspec.field(name="flow.id")
    """The flow that carried it."""

    local: str | None = msgspec.field(name="flow.local", default=None)
    """source or destination: whose record this is."""

    source_ip: IpAddress = msgspec.field(name="source.ip")
    """Who asked (for an answer without a question: who it was sent to, or the mDNS sender)."""

    source_port: int | None = msgspec.field(name="source.port", default=None)
    """Its port."""

    source_mac: MacAddress | None = msgspec.field(name="source.mac", default=None)
    """As in flow."""

    destination_ip: IpAddress = msgspec.field(name="destination.ip")
    """Who was asked."""

    destination_port: int | None = msgspec.field(name="destination.port", default=None)
    """Its port."""

    user_id: str | None = msgspec.field(name="user.id", default=None)
    """As in flow."""

    user_name: str | None = msgspec.field(name="user.name", default=None)
    """As in flow."""

    transport: str = msgspec.field(name="network.transport")
    """udp or tcp."""

    protocol: str = msgspec.field(name="network.protocol")
    """dns, mdns or llmnr."""

    vlan_id: int | None = msgspec.field(name="network.vlan.id", default=None)
    """As in flow."""

    dns_id: int = msgspec.field(name="dns.id")
    """Transaction number of the header (RFC 1035 section 4.1.1)."""

    question_name: str | None = msgspec.field(name="dns.question.name", default=None)
    """The name asked for, lower case."""

    question_type: str | None = msgspec.field(name="dns.question.type", default=None)
    """A, AAAA, HTTPS, …; TYPE65400 where it has no name here (RFC 3597)."""

    response_code: str | None = msgspec.field(name="dns.response_code", default=None)
    """NOERROR, NXDOMAIN, …; absent: no answer was seen."""

    resolved_ip: tuple[IpAddress, ...] | None = msgspec.field(name="dns.resolved_ip", default=None)
    """Addresses of the answer section."""

    zone: str | None = msgspec.field(name="network.zone", default=None)
    """As in flow."""


def _local_party(kind: str, column: str) -> tuple[SubjectChoice, ...]:
    """*column* of whichever end is the local one."""
    return tuple(
        SubjectChoice(kind=kind, column=f"{end}.{column}", when=("flow.local", end))
        for end in ("source", "destination")
    )


FLOW = Dataset(
    name="flow",
    record=Flow,
    subject=(
        SubjectChoice(kind="user", column="user.id"),
        *_local_party("mac", "mac"),
        *_local_party("ip", "ip"),
    ),
)

DNS = Dataset(
    name="dns",
    record=Dns,
    subject=(
        SubjectChoice(kind="user", column="user.id"),
        SubjectChoice(kind="mac", column="source.mac", when=("flow.local", "source")),
        SubjectChoice(kind="ip", column="source.ip", when=("flow.local", "source")),
        SubjectChoice(kind="ip", column="destination.ip", when=("flow.local", "destination")),
    ),
)
