"""DHCP on the wire: which device was granted which address.

Rules:
    1. A lease is granted by the server's acknowledgement (RFC 2131 section 4.3.1, RFC 8415 section 18.3),
       never by a request; it is given back by the client's release.
    2. The host name is the client's own word from its request, remembered by transaction.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from applog.capture.decode import dhcp
from applog.capture.kernel import columns as c
from applog.capture.sighting import Sighting
from captive_portal.records import Lease

_MAX_TRANSACTIONS = 65_536
_SERVER_TYPES = frozenset({"OFFER", "ACK", "NAK"})


class _Party(NamedTuple):
    """Who is granted an address, and by whom."""

    source: str
    mac: bytes | None
    host_name: str | None
    client_id: bytes | None
    server: bytes


class LeaseWatcher:
    """Turns DHCP messages into lease records."""

    def __init__(self) -> None:
        self.undecodable = 0
        """Datagrams on DHCP's ports that are not DHCP."""
        self._asked: OrderedDict[tuple[bytes | None, int], tuple[str | None, bytes | None]] = OrderedDict()

    def look(self, seen: Sighting) -> Iterator[Lease]:
        """Records that *seen* gives."""
        if seen.kind == c.P_DHCP4:
            message = dhcp.v4(seen.data)
            if message is not None:
                yield from self._v4(seen, message)
                return
        else:
            message6 = dhcp.v6(seen.data)
            if message6 is not None:
                yield from self._v6(seen, message6)
                return
        self.undecodable += 1

    def _v4(self, seen: Sighting, message: dhcp.V4) -> Iterator[Lease]:
        kind = dhcp.V4_TYPES.get(message.message_type, "")
        key = (message.client_mac, message.xid)
        if kind not in _SERVER_TYPES:
            self._remember(key, message.host_name, message.client_id)
        host_name, client_id = self._asked.get(key, (None, None))
        released = kind == "RELEASE"
        party = _Party(
            source="dhcpv4",
            mac=message.client_mac,
            host_name=message.host_name or host_name,
            client_id=message.client_id or client_id,
            server=message.server_id or (seen.receiver() if released else seen.sender()).ip,
        )
        if kind == "ACK" and message.yiaddr is not None:
            yield _lease(seen, party, "lease-granted", message.yiaddr, message.lease_seconds)
        elif released and message.ciaddr is not None:
            yield _lease(seen, party, "lease-released", message.ciaddr, None)

    def _v6(self, seen: Sighting, message: dhcp.V6) -> Iterator[Lease]:
        kind = dhcp.V6_TYPES.get(message.message_type, "")
        key = (message.client_duid, message.xid)
        if kind not in ("REPLY", "ADVERTISE"):
            self._remember(key, message.host_name, None)
        client, server = seen.sender(), seen.receiver()
        if kind == "REPLY":
            client, server = server, client
        party = _Party(
            source="dhcpv6",
            mac=message.client_mac or message.duid_mac or (None if message.relay else client.mac),
            host_name=message.host_name or self._asked.get(key, (None, None))[0],
            client_id=message.client_duid,
            server=server.ip,
        )
        for address, seconds in message.addresses:
            if kind == "REPLY" and seconds:
                yield _lease(seen, party, "lease-granted", address, seconds)
            elif kind == "RELEASE":
                yield _lease(seen, party, "lease-released", address, None)

    def _remember(
        self, key: tuple[bytes | None, int], host_name: str | None, client_id: bytes | None
    ) -> None:
        self._asked[key] = (host_name, client_id)
        self._asked.move_to_end(key)
        if len(self._asked) > _MAX_TRANSACTIONS:
            self._asked.popitem(last=False)


def _lease(seen: Sighting, party: _Party, action: str, address: bytes, seconds: int | None) -> Lease:
    until = seen.time + (seconds or 0) * 1_000_000
    ends = seconds not in (None, dhcp.INFINITE) and until < c.YEAR_10000
    return Lease(
        timestamp=seen.time,
        action=action,
        source=party.source,
        client_mac=party.mac,
        client_ip=address,
        until=until if ends else None,
        host_name=party.host_name,
        client_id=party.client_id.hex() if party.client_id else None,
        server_ip=party.server,
        flow_id=str(seen.ordinal),
        vlan_id=seen.vlan,
    )
