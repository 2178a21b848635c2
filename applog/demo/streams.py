"""Conversations over TCP as (time in microseconds, frame): what a sensor beside the client would see.

Rules:
    1. The sensor stands at the client: an answer comes a round trip after what it answers, and the
       client reacts at once.
    2. Times in one conversation only grow. Conversations are merged by whoever combines them.
    3. A host's MAC is the one on the cable: give a distant server the router's.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from applog.demo import payloads
from applog.demo.captures import Packet
from applog.demo.packets import TCP, Endpoint, Flag, Host, ethernet, ip, tcp

Direction = Literal["up", "down"]
"""Up is from the client to the server."""

Ending = Literal["fin", "rst", "open"]

UP: Final[Direction] = "up"
DOWN: Final[Direction] = "down"

_SYN_OPTIONS: Final = bytes.fromhex("0402010303070101")
"""Selective acknowledgements, windows times 128."""


class TcpTalk:
    """One TCP connection as its packets, with the sequence numbers kept right.

    Each method moves `now` forward and gives the packets it adds, so that a caller can drop, repeat or
    reorder them.
    """

    def __init__(
        self,
        client: Host,
        server: Host,
        *,
        client_port: int = 50000,
        server_port: int = 443,
        start: int,
        rtt_us: int = 20_000,
        spacing_us: int = 200,
        mss: int | None = None,
        isn: tuple[int, int] = (1_000_000, 3_000_000),
        vlans: tuple[int, ...] = (),
    ) -> None:
        self.now = start
        self._largest = 1440 if ":" in client.ip else 1460
        self.mss = mss or self._largest
        self._ends = {UP: Endpoint(client.ip, client_port), DOWN: Endpoint(server.ip, server_port)}
        self._hosts = {UP: client, DOWN: server}
        self._next = {UP: isn[0], DOWN: isn[1]}
        self._ident = {UP: isn[0] >> 8, DOWN: isn[1] >> 8}
        self._rtt_us, self._spacing_us, self._vlans = rtt_us, spacing_us, vlans
        self._last: Direction | None = None

    def segment(
        self, direction: Direction, payload: bytes = b"", flags: Flag = Flag.ACK, options: bytes = b""
    ) -> Packet:
        """The next packet of *direction*, one step later than the one before."""
        other = DOWN if direction == UP else UP
        if self._last is not None:
            answer = direction == DOWN and self._last == UP
            self.now += self._rtt_us if answer else self._spacing_us
        self._last = direction
        seq, ack = self._next[direction], self._next[other] if flags & Flag.ACK else 0
        body = tcp(
            self._ends[direction],
            self._ends[other],
            payload,
            flags=flags,
            seq=seq,
            ack=ack,
            options=options,
        )
        self._next[direction] += len(payload) + bool(flags & (Flag.SYN | Flag.FIN))
        self._ident[direction] += 1
        sender, receiver = self._hosts[direction], self._hosts[other]
        ident = self._ident[direction]
        packet = ip(sender.ip, receiver.ip, TCP, body, ttl=sender.ttl, identification=ident)
        return self.now, ethernet(packet, source=sender.mac, target=receiver.mac, vlans=self._vlans)

    def _offer(self) -> bytes:
        return b"\x02\x04" + self._largest.to_bytes(2) + _SYN_OPTIONS

    def open(self) -> Iterator[Packet]:
        """The three-way handshake."""
        yield self.segment(UP, flags=Flag.SYN, options=self._offer())
        yield self.segment(DOWN, flags=Flag.SYN | Flag.ACK, options=self._offer())
        yield self.segment(UP)

    def say(self, direction: Direction, payload: bytes) -> Iterator[Packet]:
        """*payload* in segments; every second one and the last are acknowledged."""
        other: Direction = DOWN if direction == UP else UP
        parts = [payload[at : at + self.mss] for at in range(0, len(payload), self.mss)]
        for number, part in enumerate(parts, start=1):
            last = number == len(parts)
            yield self.segment(direction, part, Flag.ACK | (Flag.PSH if last else Flag(0)))
            if last or number % 2 == 0:
                yield self.segment(other)

    def close(self, by: Direction = UP) -> Iterator[Packet]:
        """FIN both ways."""
        other: Direction = DOWN if by == UP else UP
        yield self.segment(by, flags=Flag.FIN | Flag.ACK)
        yield self.segment(other, flags=Flag.FIN | Flag.ACK)
        yield self.segment(by)

    def reset(self, by: Direction = UP) -> Iterator[Packet]:
        """RST, and silence."""
        yield self.segment(by, flags=Flag.RST | Flag.ACK)


def tcp_conversation(
    client: Host,
    server: Host,
    messages: Iterable[tuple[Direction, bytes]],
    *,
    start: int,
    client_port: int = 50000,
    server_port: int = 443,
    mss: int | None = None,
    rtt_us: int = 20_000,
    spacing_us: int = 200,
    pause_us: int = 0,
    isn: tuple[int, int] = (1_000_000, 3_000_000),
    ending: Ending = "fin",
    handshake: bool = True,
    vlans: tuple[int, ...] = (),
) -> Iterator[Packet]:
    """A TCP connection that carries *messages* in turn, split at *mss*.

    Args:
        client: Who opens it.
        server: Who answers.
        messages: (direction, payload) in the order they are said.
        start: Time of the first packet, microseconds.
        client_port: Port of the client.
        server_port: Port of the server.
        mss: Largest payload of one segment; by default what Ethernet holds.
        rtt_us: From a client's packet to the server's answer.
        spacing_us: Between any other two packets.
        pause_us: Silence before each message that the client says.
        isn: First sequence numbers, the client's and the server's.
        ending: FIN both ways, the client's RST, or left open.
        handshake: Without it the conversation is seen from the middle.
        vlans: VLAN ids of every frame, outermost first.
    """
    talk = TcpTalk(
        client,
        server,
        client_port=client_port,
        server_port=server_port,
        start=start,
        rtt_us=rtt_us,
        spacing_us=spacing_us,
        mss=mss,
        isn=isn,
        vlans=vlans,
    )
    if handshake:
        yield from talk.open()
    for direction, payload in messages:
        talk.now += pause_us if direction == UP else 0
        yield from talk.say(direction, payload)
    if ending == "fin":
        yield from talk.close()
    elif ending == "rst":
        yield from talk.reset()


def tls_messages(
    name: str | None,
    *,
    seed: str,
    alpn: tuple[str, ...] = ("h2", "http/1.1"),
    version: int = payloads.TLS13,
    ech: bytes | None = None,
    pad_to: int = 517,
    rounds: int = 1,
    certificate_bytes: int = 2300,
    request_bytes: int = 400,
    response_bytes: int = 4000,
) -> Iterator[tuple[Direction, bytes]]:
    """What a TLS session says: the greetings, then *rounds* of request and response."""
    versions = (payloads.TLS13, payloads.TLS12) if version == payloads.TLS13 else ()
    hello = payloads.client_hello(name, alpn=alpn, versions=versions, ech=ech, pad_to=pad_to, seed=seed)
    answer = payloads.server_hello(version=version, alpn=alpn[0] if alpn else None, seed=seed)
    ready = payloads.change_cipher_spec()
    yield UP, hello
    yield DOWN, answer + ready + payloads.application_data(certificate_bytes, seed + "certificate")
    yield UP, ready + payloads.application_data(53, seed + "finished")
    for number in range(rounds):
        yield UP, payloads.application_data(request_bytes, f"{seed}request{number}")
        yield DOWN, payloads.application_data(response_bytes, f"{seed}response{number}")


def tls_session(
    client: Host,
    server: Host,
    name: str | None,
    *,
    start: int,
    client_port: int = 50000,
    server_port: int = 443,
    rtt_us: int = 20_000,
    pause_us: int = 0,
    ending: Ending = "fin",
    alpn: tuple[str, ...] = ("h2", "http/1.1"),
    version: int = payloads.TLS13,
    ech: bytes | None = None,
    rounds: int = 1,
    request_bytes: int = 400,
    response_bytes: int = 4000,
) -> Iterator[Packet]:
    """A TLS connection to *name*; arguments as of `tcp_conversation` and `tls_messages`."""
    seed = f"{client.ip}:{client_port} {server.ip}:{server_port} {start}"
    messages = tls_messages(
        name,
        seed=seed,
        alpn=alpn,
        version=version,
        ech=ech,
        rounds=rounds,
        request_bytes=request_bytes,
        response_bytes=response_bytes,
    )
    return tcp_conversation(
        client,
        server,
        messages,
        start=start,
        client_port=client_port,
        server_port=server_port,
        rtt_us=rtt_us,
        pause_us=pause_us,
        isn=_isn(seed),
        ending=ending,
    )


def _isn(seed: str) -> tuple[int, int]:
    noise = payloads.filler(8, seed)
    return int.from_bytes(noise[:4]), int.from_bytes(noise[4:])


def http_exchange(
    client: Host,
    server: Host,
    name: str,
    paths: tuple[str, ...] = ("/",),
    *,
    start: int,
    client_port: int = 50000,
    rtt_us: int = 20_000,
    pause_us: int = 0,
    method: str = "GET",
    status: int = 200,
    user_agent: str = "DemoBrowser/1.0",
    response_bytes: int = 1200,
) -> Iterator[Packet]:
    """Requests for *paths* over one kept-alive HTTP connection to port 80."""
    messages: list[tuple[Direction, bytes]] = []
    for path in paths:
        body = b"" if status == 204 else (f"<p>{name}{path}</p>\n".encode()).ljust(response_bytes, b".")
        messages += [(UP, payloads.http_request(method, name, path, user_agent=user_agent))]
        messages += [(DOWN, payloads.http_response(status, body))]
    seed = f"{client.ip}:{client_port} {server.ip}:80 {start}"
    return tcp_conversation(
        client,
        server,
        messages,
        start=start,
        client_port=client_port,
        server_port=80,
        rtt_us=rtt_us,
        pause_us=pause_us,
        isn=_isn(seed),
    )
