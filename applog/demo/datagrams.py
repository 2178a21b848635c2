"""Conversations over UDP and ICMP as (time in microseconds, frame); the rules are those of `streams`."""

from collections.abc import Iterator

from applog.demo import names, payloads
from applog.demo.addressing import Dhcp, Dhcp6, dhcp4, dhcp6
from applog.demo.captures import Packet
from applog.demo.names import Answer
from applog.demo.packets import (
    BROADCAST_MAC,
    ICMP,
    ICMPV6,
    UDP,
    Endpoint,
    Host,
    ethernet,
    icmp_echo,
    ip,
    multicast_mac,
    udp,
)


def datagram(
    time_us: int, sender: Host, receiver: Host, ports: tuple[int, int], payload: bytes, *, ident: int = 0
) -> Packet:
    """One UDP datagram; *ports* are the sender's and the receiver's."""
    body = udp(Endpoint(sender.ip, ports[0]), Endpoint(receiver.ip, ports[1]), payload)
    packet = ip(sender.ip, receiver.ip, UDP, body, ttl=sender.ttl, identification=ident or time_us // 7)
    return time_us, ethernet(packet, source=sender.mac, target=receiver.mac)


def dns_lookup(
    client: Host,
    resolver: Host,
    name: str,
    answers: tuple[Answer, ...] = (),
    *,
    start: int,
    kind: int = names.A,
    rcode: int = names.NOERROR,
    client_port: int = 50000,
    rtt_us: int = 3_000,
    answered: bool = True,
) -> Iterator[Packet]:
    """A question to port 53 and, if *answered*, what comes back."""
    ident = (start // 1000 ^ client_port) & 0xFFFF
    question = names.dns_query(name, kind, ident=ident)
    yield datagram(start, client, resolver, (client_port, 53), question)
    if answered:
        reply = names.dns_response(name, kind, answers, ident=ident, rcode=rcode)
        yield datagram(start + rtt_us, resolver, client, (53, client_port), reply)


def dhcp_exchange(
    client: Host,
    server: Host,
    *,
    start: int,
    lease_s: int = 7200,
    renewal: bool = False,
    rtt_us: int = 2_000,
) -> Iterator[Packet]:
    """The four messages by which *client* gets its address, or the two by which it keeps it."""
    transaction = int.from_bytes(payloads.filler(4, f"{client.mac} {start}"))
    everyone = Host(ip="255.255.255.255", mac=BROADCAST_MAC)
    nobody = Host(ip="0.0.0.0", mac=client.mac)  # noqa: S104 - DHCP's "no address yet"
    held = client.ip if renewal else nobody.ip
    kinds = [Dhcp.REQUEST, Dhcp.ACK] if renewal else [Dhcp.DISCOVER, Dhcp.OFFER, Dhcp.REQUEST, Dhcp.ACK]
    for number, kind in enumerate(kinds):
        if kind in {Dhcp.OFFER, Dhcp.ACK}:
            sender, receiver, ports = server, client, (67, 68)
            about = {"your_ip": client.ip, "server_ip": server.ip, "client_ip": held}
            lease = lease_s
        else:
            sender, receiver, ports = (client, server, (68, 67)) if renewal else (nobody, everyone, (68, 67))
            about = {"client_ip": held, "host_name": client.name}
            if kind == Dhcp.REQUEST and not renewal:
                about |= {"requested_ip": client.ip, "server_ip": server.ip}
            lease = 0
        message = dhcp4(kind, client.mac, transaction=transaction, lease_s=lease, **about)
        yield datagram(start + number * rtt_us, sender, receiver, ports, message)


def dhcp6_exchange(
    client: Host, server: Host, *, address: str, start: int, lifetime_s: int = 7200, domain: str = ""
) -> Iterator[Packet]:
    """SOLICIT and REPLY (rapid commit); the hosts have link-local addresses, *address* is what is given."""
    transaction = int.from_bytes(payloads.filler(3, f"{client.mac} {start}"))
    agents = Host(ip="ff02::1:2", mac=multicast_mac("ff02::1:2"))
    name = f"{client.name}.{domain}" if domain else client.name
    solicit = dhcp6(Dhcp6.SOLICIT, client.mac, transaction=transaction, host_name=name)
    yield datagram(start, client, agents, (546, 547), solicit)
    reply = dhcp6(
        Dhcp6.REPLY,
        client.mac,
        transaction=transaction,
        server_mac=server.mac,
        address=address,
        lifetime_s=lifetime_s,
        host_name=name,
    )
    yield datagram(start + 2_000, server, client, (547, 546), reply)


def mdns_packet(time_us: int, sender: Host, message: bytes) -> Packet:
    """A message to everyone on the link, over the version of IP that the sender has."""
    group = names.MDNS_GROUP6 if ":" in sender.ip else names.MDNS_GROUP
    everyone = Host(ip=group, mac=multicast_mac(group))
    speaker = Host(ip=sender.ip, mac=sender.mac, ttl=255)
    return datagram(time_us, speaker, everyone, (names.MDNS_PORT, names.MDNS_PORT), message)


def ping(
    client: Host,
    server: Host,
    *,
    start: int,
    count: int = 4,
    identifier: int = 1,
    rtt_us: int = 4_000,
    answered: bool = True,
) -> Iterator[Packet]:
    """*count* echo requests a second apart, and their replies if *answered*."""
    protocol = ICMPV6 if ":" in client.ip else ICMP
    for sequence in range(1, count + 1):
        at = start + (sequence - 1) * 1_000_000
        for sender, receiver, later, reply in ((client, server, 0, False), (server, client, rtt_us, True)):
            if reply and not answered:
                continue
            body = icmp_echo(sender.ip, receiver.ip, reply=reply, identifier=identifier, sequence=sequence)
            packet = ip(
                sender.ip, receiver.ip, protocol, body, ttl=sender.ttl, identification=at // 7 + sequence
            )
            yield at + later, ethernet(packet, source=sender.mac, target=receiver.mac)
