"""The records of this package: which device held which address.

Rules:
    1. A lease is stated when it is granted or given back, with the source that said so.
    2. The device is its hardware address; a name or client id is what the device said of itself.
"""

import msgspec

from retention.dataset import Dataset, IpAddress, MacAddress, Record, SubjectChoice, Timestamp


class Lease(Record, frozen=True, kw_only=True):
    """One address held by one device, from the first to the last time it was seen or granted."""

    action: str = msgspec.field(name="event.action")
    """lease-granted or lease-released. Source: DHCPACK, DHCPRELEASE; DHCPv6 Reply, Release."""

    source: str = msgspec.field(name="lease.source")
    """dhcpv4 or dhcpv6 as captured; later neighbour, dnsmasq."""

    client_mac: MacAddress | None = msgspec.field(name="client.mac", default=None)
    """Hardware address. Source: DHCP chaddr, DUID-LL(T), RFC 6939 option, else the Ethernet header."""

    client_ip: IpAddress = msgspec.field(name="client.ip")
    """The address held. Source: DHCP yiaddr (ciaddr when given back), DHCPv6 IA address."""

    until: Timestamp | None = msgspec.field(name="lease.until", default=None)
    """End as granted, UTC µs. Absent: without end, or given back. Source: option 51, valid lifetime."""

    host_name: str | None = msgspec.field(name="host.hostname", default=None)
    """The name the device gave. Source: option 12 or 81; DHCPv6 option 39."""

    client_id: str | None = msgspec.field(name="dhcp.client_id", default=None)
    """Client identifier or DUID, hexadecimal. Source: option 61; DHCPv6 option 1."""

    server_ip: IpAddress | None = msgspec.field(name="server.ip", default=None)
    """The server that granted it. Source: option 54, else the IP source."""

    flow_id: str | None = msgspec.field(name="flow.id", default=None)
    """The flow in which it was seen; absent when the source is not a capture."""

    vlan_id: int | None = msgspec.field(name="network.vlan.id", default=None)
    """Outer VLAN, 1-4094."""


LEASE = Dataset(
    name="lease",
    record=Lease,
    subject=(
        SubjectChoice(kind="mac", column="client.mac"),
        SubjectChoice(kind="ip", column="client.ip"),
    ),
)
