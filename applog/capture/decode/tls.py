"""TLS hellos: the name a client asks for, and the version that was agreed (RFC 8446, RFC 6066, RFC 7301).

Rules:
    1. The stream is one side's TCP bytes from its start, without gaps. A hello may be spread over many
       records (RFC 8446 5.1); an empty record, one over 2^14 bytes or another content type between them
       ends the attempt. Alerts before it are passed over (servers warn about an unknown name, then
       answer). SSL 2.0 framing is not read: it carries no name.
    2. Once the fixed part is read there is an answer. A damaged or cut extension ends the walk, and what
       stood before it is kept; a name that is not whole is not reported.
    3. A version is what the bytes say. ``supported_versions`` replaces the legacy field (RFC 8446 4.2.1);
       where it might stand in a part that could not be read, the version is unobserved: ``None``.
    4. Extension 0xfe0d only says that one was sent. Browsers send a random one nearly always
       ("GREASE ECH", RFC 9849), so the name beside it is usually the true one.
"""

import struct
from functools import lru_cache
from typing import Final, NamedTuple

from retention.text import wire_text

_ALERT: Final = 21
_HANDSHAKE: Final = 22  # content type, RFC 8446 B.1
_MAJOR: Final = 3  # of every record version from SSL 3.0 to TLS 1.3
_CLIENT_HELLO: Final = 1
_SERVER_HELLO: Final = 2
_RECORD_HEADER: Final = 5
_MESSAGE_HEADER: Final = 4
_ALERT_SIZE: Final = 2
_RECORD_LIMIT: Final = 1 << 14
_MESSAGE_LIMIT: Final = 1 << 17  # every vector of a ClientHello at its longest stays below this
_FIXED: Final = _MESSAGE_HEADER + 2 + 32  # then the session id: header, legacy_version, random
_SESSION_LIMIT: Final = 32

_SERVER_NAME: Final = 0
_ALPN: Final = 16
_SUPPORTED_VERSIONS: Final = 43
_ECH: Final = 0xFE0D
_READ: Final = frozenset({_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS, _ECH})
_ALPN_LIMIT: Final = 32  # names kept; a browser offers two
_NAME_LIMIT: Final = 255  # a DNS name cannot be longer, RFC 1035 2.3.4

_TLS12: Final = 0x0303
_VERSIONS: Final[dict[int, str]] = {
    0x0301: "1.0",
    0x0302: "1.1",
    _TLS12: "1.2",
    0x0304: "1.3",
    **dict.fromkeys((*range(0x7F0E, 0x7F1D), 0xFB17, 0xFB1A), "1.3"),  # drafts 14 to 28, Facebook's 23 and 26
}
"""Version numbers as ECS ``tls.version``. SSL 3.0, GREASE (RFC 8701) and the unknown are not in it."""

_START = struct.Struct("!HBHI")  # record: type and major, minor, length; message: type and 24-bit length
_RECORD = struct.Struct("!BBBH")
_PAIR = struct.Struct("!HH")
_U16 = struct.Struct("!H")


class Need(NamedTuple):
    """The bytes end too early: ask again when there are more."""

    total: int
    """Bytes from the stream's start without which the answer cannot change; more than were given."""


class ClientHello(NamedTuple):
    """What a client offered, in clear."""

    server_name: str | None
    """First host_name of the server_name extension, lower case, one trailing dot removed. Unverified."""

    alpn: tuple[str, ...]
    """Protocols offered, in the client's order, at most the first 32."""

    version: str | None
    """Highest version offered, "1.0" to "1.3"; absent when unknown or not readable."""

    ech: bool
    """An encrypted_client_hello extension was seen, real or GREASE."""


def client_hello(stream: bytes, *, final: bool = False) -> ClientHello | Need | None:
    """Read the ClientHello that *stream* starts with.

    Args:
        stream: the originator's bytes from the start of the connection.
        final: nothing more will come (capture cut, limit reached): answer from what is there.

    Returns:
        The hello; or how many bytes are needed; or ``None`` when it is not one, or not readable.
    """
    message = _first_message(stream, _CLIENT_HELLO, final=final)
    return _read_client_hello(message, len(message)) if isinstance(message, bytes) else message


def client_hello_body(handshake: bytes, *, final: bool = False) -> ClientHello | Need | None:
    """Read a bare ClientHello message, as QUIC's CRYPTO frames carry it (RFC 9001 4).

    Bytes after the message are ignored. *final* and the answer are as for ``client_hello``, where
    ``Need.total`` counts from the message's start.
    """
    if len(handshake) < _MESSAGE_HEADER:
        possible = not final and handshake[:1] in {b"", b"\x01"}
        return Need(_MESSAGE_HEADER) if possible else None
    stop = _MESSAGE_HEADER + int.from_bytes(handshake[1:4], "big")
    if handshake[0] != _CLIENT_HELLO or stop > _MESSAGE_LIMIT:
        return None
    if len(handshake) < stop:
        if not final:
            return Need(stop)
        stop = len(handshake)
    return _read_client_hello(handshake, stop)


def server_hello_version(stream: bytes, *, final: bool = False) -> str | Need | None:
    """Read the negotiated version from the responder's *stream*, "1.0" to "1.3".

    A HelloRetryRequest is a ServerHello too (RFC 8446 4.1.4) and has settled the version. ``None`` when
    the stream starts with something else, is malformed, or names a version unknown here.
    """
    message = _first_message(stream, _SERVER_HELLO, final=final)
    if not isinstance(message, bytes):
        return message
    stop = len(message)
    pos = _after_session(message, stop)
    if pos is None:
        return None
    legacy: int = _U16.unpack_from(message, _MESSAGE_HEADER)[0]
    if legacy != _TLS12:
        return _VERSIONS.get(legacy)
    return _selected_version(message, pos + 3, stop)  # after the cipher suite and the compression method


def host_text(raw: bytes) -> str | None:
    """Text of a host name from the wire: lower case, without one trailing dot; ``None`` if not usable.

    A name of no bytes says nothing, and one of more than 255 can be no DNS name (RFC 1035 2.3.4).
    """
    raw = raw.lower().removesuffix(b".")
    return wire_text(raw) if 0 < len(raw) <= _NAME_LIMIT else None


def _first_message(stream: bytes, kind: int, *, final: bool) -> bytes | Need | None:
    """Give the first handshake message with its header; cut short only if *final*."""
    if len(stream) >= _START.size:
        start, _, length, head = _START.unpack_from(stream)
        stop = _RECORD_HEADER + _MESSAGE_HEADER + (head & 0xFFFFFF)
        whole = stop - _RECORD_HEADER <= length <= _RECORD_LIMIT and stop <= len(stream)
        if whole and start == _HANDSHAKE << 8 | _MAJOR and head >> 24 == kind:
            return stream[_RECORD_HEADER:stop]
    return _joined_message(stream, kind, final=final)


def _joined_message(stream: bytes, kind: int, *, final: bool) -> bytes | Need | None:
    """Do what ``_first_message`` does, for a message in pieces or not all there."""
    got = bytearray()
    pos = 0
    wanted = _MESSAGE_HEADER
    while pos + _RECORD_HEADER <= len(stream):
        content, major, _, length = _RECORD.unpack_from(stream, pos)
        alert = content == _ALERT and length == _ALERT_SIZE and not got
        if major != _MAJOR or not (alert or content == _HANDSHAKE) or not 0 < length <= _RECORD_LIMIT:
            return None
        pos += _RECORD_HEADER + length
        if alert:
            continue
        got += stream[pos - length : pos]
        if len(got) >= _MESSAGE_HEADER:
            wanted = _MESSAGE_HEADER + int.from_bytes(got[1:4], "big")
        if (got and got[0] != kind) or wanted > _MESSAGE_LIMIT:
            return None
        if len(got) >= wanted:
            return bytes(got[:wanted])
    if final:
        return bytes(got)
    return _missing(stream, pos, wanted - len(got))


def _missing(stream: bytes, pos: int, rest: int) -> Need | None:
    """Least stream that can bring *rest* more message bytes, where *pos* is the end of the last record."""
    if stream[pos : pos + 1] not in b"\x15\x16" or stream[pos + 1 : pos + 2] not in b"\x03":
        return None
    cut = max(0, pos - len(stream))  # bytes still to come of that record
    return Need(len(stream) + rest if rest <= cut else pos + _RECORD_HEADER + rest - cut)


def _after_session(message: bytes, stop: int) -> int | None:
    """Position after the session id of either hello; ``None`` when it does not fit."""
    if stop <= _FIXED or message[_FIXED] > _SESSION_LIMIT:
        return None
    pos = _FIXED + 1 + message[_FIXED]
    return pos if pos <= stop else None


def _read_client_hello(message: bytes, stop: int) -> ClientHello | None:
    """Step over cipher suites and compression methods, then read the extensions."""
    pos = _after_session(message, stop)
    if pos is None or pos + 2 > stop:
        return None
    pos += 2 + (message[pos] << 8 | message[pos + 1])
    if pos >= stop:
        return None
    pos += 1 + message[pos]
    return _read_extensions(message, pos, stop) if pos <= stop else None


def _read_extensions(message: bytes, pos: int, stop: int) -> ClientHello:
    """Walk the extensions from their length field on; an absent block is whole (RFC 5246 7.4.1.2)."""
    name: str | None = None
    alpn: tuple[str, ...] = ()
    offered: bytes | None = None
    ech = False
    stop, whole = _block(message, pos, stop)
    pos += 2
    while pos + 4 <= stop:
        kind, size = _PAIR.unpack_from(message, pos)
        pos += 4
        after = pos + size
        if after > stop:
            whole = False
            break
        if kind not in _READ:
            pass
        elif kind == _SERVER_NAME:
            name = name or _server_name(message[pos:after])
        elif kind == _ALPN:
            alpn = alpn or _protocols(message[pos:after])
        elif kind == _SUPPORTED_VERSIONS:
            offered = message[pos + 1 : after]
        else:
            ech = True
        pos = after
    if offered is not None:
        version = _highest(offered)
    else:
        version = _VERSIONS.get(_U16.unpack_from(message, _MESSAGE_HEADER)[0]) if whole else None
    return ClientHello(name, alpn, version, ech)


def _block(message: bytes, pos: int, stop: int) -> tuple[int, bool]:
    """End of the extensions whose length stands at *pos*, and whether they are all there."""
    if pos + 2 > stop:
        return stop, pos == stop
    end: int = pos + 2 + _U16.unpack_from(message, pos)[0]
    return (end, True) if end <= stop else (stop, False)


def _server_name(raw: bytes) -> str | None:
    """First host_name of a ServerNameList (RFC 6066 3)."""
    pos = 2
    while pos + 3 <= len(raw):
        kind = raw[pos]
        after = pos + 3 + (raw[pos + 1] << 8 | raw[pos + 2])
        if after > len(raw):
            return None
        if kind == 0:
            return host_text(raw[pos + 3 : after])
        pos = after
    return None


@lru_cache(maxsize=64)  # a handful of lists is all that clients send
def _protocols(raw: bytes) -> tuple[str, ...]:
    """Names of a ProtocolNameList (RFC 7301 3.1) up to the first that is empty or cut."""
    names: list[str] = []
    pos = 2
    while pos < len(raw) and len(names) < _ALPN_LIMIT:
        after = pos + 1 + raw[pos]
        if after == pos + 1 or after > len(raw):
            break
        names.append(wire_text(raw[pos + 1 : after]))
        pos = after
    return tuple(names)


@lru_cache(maxsize=64)
def _highest(offered: bytes) -> str | None:
    """Highest known version of a supported_versions list; ``None`` when it has none."""
    numbers = struct.unpack_from(f"!{len(offered) // 2}H", offered)
    return max((_VERSIONS[number] for number in numbers if number in _VERSIONS), default=None)


def _selected_version(message: bytes, pos: int, stop: int) -> str | None:
    """Version of a ServerHello whose legacy field says TLS 1.2, from its extensions (RFC 8446 4.2.1)."""
    if pos > stop:
        return None
    stop, whole = _block(message, pos, stop)
    pos += 2
    while pos + 4 <= stop:
        kind, size = _PAIR.unpack_from(message, pos)
        pos += 4
        if pos + size > stop:
            return None
        if kind == _SUPPORTED_VERSIONS and size == _U16.size:
            return _VERSIONS.get(_U16.unpack_from(message, pos)[0])
        pos += size
    return _VERSIONS[_TLS12] if whole else None
