"""Captures of what runs over UDP, ICMP and TCP: addresses, names, HTTP, TLS."""

from collections.abc import Iterator

from pcap_kit import (
    CLIENT,
    CLIENT6,
    OTHER,
    ROUTER,
    SECOND,
    SERVER,
    SERVER6,
    START,
    STEP,
    Capture,
    down,
    file,
    probe,
    raw,
    up,
)

from applog.demo import names, packets, payloads
from applog.demo.addressing import Dhcp, dhcp4
from applog.demo.captures import Packet, pcap
from applog.demo.datagrams import datagram, dhcp6_exchange, dhcp_exchange, dns_lookup, mdns_packet, ping
from applog.demo.names import Answer
from applog.demo.packets import Host, ipv4, multicast_mac
from applog.demo.streams import DOWN, UP, http_exchange, tcp_conversation, tls_messages


def services() -> Iterator[Capture]:
    """Services: UDP, ICMP, DHCP, DNS, HTTP, TLS."""
    lonely = raw([up(ipv4(CLIENT.ip, SERVER.ip, 17, probe(53001), identification=n)) for n in range(3)])
    yield Capture("udp-unanswered.pcap", "three datagrams (53001), never answered", file(pcap(lonely)))
    echoes = [*ping(CLIENT, SERVER, start=START), *ping(CLIENT6, SERVER6, start=START + 10 * SECOND)]
    echoes += ping(CLIENT, SERVER, start=START + 20 * SECOND, count=2, identifier=2, answered=False)
    says = "four pings over IPv4, four over IPv6, all answered; two that are not (identifier 2)"
    yield Capture("icmp-echo.pcap", says, file(pcap(echoes)))
    asked = ipv4(CLIENT.ip, SERVER.ip, 17, probe(53002))
    error = ipv4(ROUTER.ip, CLIENT.ip, 1, packets.icmp(ROUTER.ip, CLIENT.ip, 3, 13, bytes(4) + asked[:28]))
    says = "a datagram (53002), and the router's ICMP error (3, 13) that quotes it"
    yield Capture("icmp-error.pcap", says, file(pcap(raw([up(asked), down(error)]))))
    yield from _addresses()
    yield from _lookups()
    pages = http_exchange(
        CLIENT,
        SERVER,
        "intranet.school.example",
        ("/", "/timetable", "/?q=secret"),
        start=START,
        pause_us=SECOND,
    )
    yield Capture("http-keep-alive.pcap", "three requests and answers over one connection", file(pcap(pages)))
    greetings: list[Packet] = []
    for number, (name, ech, version, alpn) in enumerate(
        (
            ("modern.example", None, payloads.TLS13, ("h2", "http/1.1")),
            ("legacy.example", None, payloads.TLS12, ("http/1.1",)),
            ("public.example", payloads.ech_extension(), payloads.TLS13, ("h2",)),
            (None, None, payloads.TLS13, ()),
        )
    ):
        messages = tls_messages(
            name,
            seed=f"tls {number}",
            ech=ech,
            version=version,
            alpn=alpn,
            pad_to=0,
            certificate_bytes=300,
            response_bytes=200,
        )
        start = START + number * 5 * SECOND
        greetings += tcp_conversation(CLIENT, SERVER, messages, start=start, client_port=53100 + number)
    says = (
        "ports 53100-53103: TLS 1.3; TLS 1.2 with ALPN chosen in clear; an ECH extension; no name and no ALPN"
    )
    yield Capture("tls.pcap", says, file(pcap(greetings)))


def _addresses() -> Iterator[Capture]:
    thai = Host(ip="10.20.1.23", mac="02-1a-7c-00-53-23", name="มือถือ-มาลี")
    leases = [*dhcp_exchange(CLIENT, ROUTER, start=START), *dhcp_exchange(thai, ROUTER, start=START + SECOND)]
    leases += dhcp_exchange(CLIENT, ROUTER, start=START + 3600 * SECOND, renewal=True)
    release = dhcp4(Dhcp.RELEASE, CLIENT.mac, transaction=9, client_ip=CLIENT.ip, server_ip=ROUTER.ip)
    leases.append(datagram(START + 4000 * SECOND, CLIENT, ROUTER, (68, 67), release))
    yield Capture(
        "dhcp-v4.pcap",
        "DISCOVER, OFFER, REQUEST, ACK of 10.20.1.21 and of 10.20.1.23 (a host name in Thai); after an hour "
        "the first renews, later it releases",
        file(pcap(leases)),
    )
    client, server = Host(ip="fe80::21", mac=CLIENT.mac, name=CLIENT.name), Host(ip="fe80::1", mac=ROUTER.mac)
    given = dhcp6_exchange(client, server, address=CLIENT6.ip, start=START, domain="school.example")
    yield Capture("dhcp-v6.pcap", "SOLICIT and REPLY (rapid commit) of 2001:db8:20::21", file(pcap(given)))


def _lookups() -> Iterator[Capture]:
    alias = Answer("www.example.com", names.CNAME, "edge.example.net")
    far, far6 = (
        Answer("edge.example.net", kind, ip) for kind, ip in ((1, "192.0.2.7"), (28, "2001:db8:f00::7"))
    )
    asked = [
        *dns_lookup(CLIENT, ROUTER, "www.example.com", (alias, far), start=START, client_port=54001),
        *dns_lookup(
            CLIENT, ROUTER, "www.example.com", (alias, far6), start=START + STEP, kind=28, client_port=54002
        ),
        *dns_lookup(CLIENT, ROUTER, "no.such.example", start=START + 2 * STEP, rcode=3, client_port=54003),
    ]
    yield Capture("dns.pcap", "A and AAAA behind a CNAME, and a name that does not exist", file(pcap(asked)))
    silent = dns_lookup(CLIENT, ROUTER, "lost.example", start=START, client_port=54004, answered=False)
    yield Capture("dns-unanswered.pcap", "a question without an answer", file(pcap(silent)))
    question = names.dns_query("www.example.com", ident=5)
    answer = names.dns_response("www.example.com", 1, (alias, far), ident=5)
    stream = [(UP, names.dns_over_tcp(question)), (DOWN, names.dns_over_tcp(answer))]
    over = tcp_conversation(CLIENT, ROUTER, stream, start=START, client_port=54005, server_port=53)
    yield Capture("dns-tcp.pcap", "a question and its answer over TCP", file(pcap(over)))
    local = Answer("somchai-phone.local", names.A, CLIENT.ip, 120)
    link6 = Host(ip="fe80::21", mac=CLIENT.mac)
    spoken = [
        mdns_packet(START, OTHER, names.mdns_query("_ipp._tcp.local")),
        mdns_packet(START + STEP, CLIENT, names.mdns_announcement((local,))),
        mdns_packet(START + 2 * STEP, link6, names.mdns_announcement((local,))),
    ]
    yield Capture("mdns.pcap", "a question and an announcement over IPv4, one over IPv6", file(pcap(spoken)))
    group = Host(ip=names.LLMNR_GROUP, mac=multicast_mac(names.LLMNR_GROUP))
    reply = names.dns_response("lab-pc-07", 1, (Answer("lab-pc-07", 1, OTHER.ip),), ident=6, flags=0x8000)
    ports = (54006, names.LLMNR_PORT)
    spoken = [
        datagram(START, CLIENT, group, ports, names.dns_query("lab-pc-07", ident=6, flags=0)),
        datagram(START + STEP, OTHER, CLIENT, ports[::-1], reply),
    ]
    yield Capture("llmnr.pcap", "a question to the group, answered by 10.20.1.22 itself", file(pcap(spoken)))
