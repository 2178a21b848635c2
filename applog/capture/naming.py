"""Names of flows: what the ends of a TLS or HTTP connection say of themselves in the clear.

Rules:
    1. A name belongs to a record only if its packet came before the record ended: so records do not
       depend on how the capture was cut into blocks.
    2. A stream whose needed bytes never came is decoded with what there is when its flow ends.
    3. Nothing else of a payload is kept, and nothing is kept longer than its flow.
"""

from dataclasses import dataclass

from applog.capture.decode import http, tls
from applog.capture.kernel import columns as c
from applog.capture.streams import Beginning

_LATE = 1 << 62
"""A packet number after every other."""


@dataclass(slots=True)
class Names:
    """What was read of one flow; a packet number says from when on it is known."""

    domain: str | None = None
    domain_source: str | None = None
    alpn: tuple[str, ...] | None = None
    ech: bool | None = None
    offered: str | None = None
    method: str | None = None
    agent: str | None = None
    originator_packet: int = _LATE
    version: str | None = None
    status: int | None = None
    responder_packet: int = _LATE


class Namer:
    """Follows the beginnings of streams until they give their names."""

    def __init__(self) -> None:
        self._names: dict[int, Names] = {}
        self._streams: dict[tuple[int, int], tuple[int, Beginning]] = {}
        self._read_already: set[tuple[int, int]] = set()
        """Directions that are decoded: a later copy of their bytes changes nothing."""

    def look(self, kind: int, ordinal: int, side: int, position: int, data: bytes, packet: int) -> None:
        """Take one copied segment: *side* 0 is from the originator, 1 from the responder."""
        key = (ordinal, side)
        if key in self._read_already:
            return
        kind, beginning = self._continued(key, kind)
        if beginning is None and position == 0:
            if self._read(kind, ordinal, side, data, packet, final=False):
                return
            beginning = Beginning()
            beginning.add(0, data)
        else:
            beginning = beginning or Beginning()
            beginning.add(position, data)
            if kind != c.P_UNKNOWN and self._read(kind, ordinal, side, beginning.whole, packet, final=False):
                return
        self._streams[key] = (kind, beginning)

    def _continued(self, key: tuple[int, int], kind: int) -> tuple[int, Beginning | None]:
        """The unfinished stream of *key*, if any, under the kind that is known by now."""
        if key not in self._streams:
            return kind, None
        before, beginning = self._streams.pop(key)
        return (before if kind == c.P_UNKNOWN else kind), beginning

    def names(self, ordinal: int) -> Names | None:
        """What is known of flow *ordinal*."""
        return self._names.get(ordinal)

    def finish(self, ordinal: int, packet: int) -> None:
        """The flow has ended with *packet*: decode what there is of its unfinished streams."""
        for side in (0, 1):
            kind, beginning = self._streams.pop((ordinal, side), (c.P_UNKNOWN, None))
            if beginning is not None and kind != c.P_UNKNOWN:
                self._read(kind, ordinal, side, beginning.whole, packet, final=True)

    def forget(self, ordinal: int) -> None:
        """The flow's last record is written."""
        self._names.pop(ordinal, None)
        self._read_already -= {(ordinal, 0), (ordinal, 1)}

    def _read(self, kind: int, ordinal: int, side: int, data: bytes, packet: int, *, final: bool) -> bool:
        """Decode *data*; False when it needs more bytes."""
        decode = _DECODERS.get((kind, side))
        if decode is None:
            return True
        found = decode(data, final=final)
        if isinstance(found, tls.Need):
            return False
        self._read_already.add((ordinal, side))
        if found is not None:
            names = self._names.get(ordinal)
            if names is None:
                names = self._names[ordinal] = Names()
            _keep(names, found, packet)
        return True


_DECODERS = {
    (c.P_TLS, 0): tls.client_hello,
    (c.P_TLS, 1): tls.server_hello_version,
    (c.P_HTTP, 0): http.request,
    (c.P_HTTP, 1): http.response_status,
}


def _keep(names: Names, found: object, packet: int) -> None:
    match found:
        case tls.ClientHello():
            names.domain, names.offered, names.ech = found.server_name, found.version, found.ech
            names.alpn = found.alpn or None
            names.domain_source = "sni" if found.server_name else None
            names.originator_packet = packet
        case http.Request():
            names.domain, names.method, names.agent = found.host, found.method, found.user_agent
            names.domain_source = "http" if found.host else None
            names.originator_packet = packet
        case str():
            names.version = found
            names.responder_packet = packet
        case int():
            names.status = found
            names.responder_packet = packet
