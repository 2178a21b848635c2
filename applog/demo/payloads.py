"""What TCP and UDP carry: TLS greetings and HTTP/1 messages, as bytes.

Rules:
    1. Only the clear parts of TLS are real; what would be encrypted is filler that never repeats.
    2. Randomness is a hash of the caller's *seed*, so the same call gives the same bytes.
"""

import hashlib
import struct
from typing import Final

TLS12: Final = 0x0303
TLS13: Final = 0x0304

_CIPHERS: Final = bytes.fromhex("130113021303c02bc02fc02cc030")
_RECORD_LIMIT: Final = 16384


def filler(size: int, seed: str) -> bytes:
    """*size* bytes that look random and depend on *seed* alone."""
    return hashlib.shake_128(seed.encode()).digest(size)


def _vector(data: bytes, width: int) -> bytes:
    return len(data).to_bytes(width) + data


def _extension(kind: int, body: bytes) -> bytes:
    return kind.to_bytes(2) + _vector(body, 2)


def tls_record(kind: int, body: bytes, *, version: int = TLS12) -> bytes:
    """*body* in as many TLS records as it needs."""
    parts = [body[at : at + _RECORD_LIMIT] for at in range(0, len(body), _RECORD_LIMIT)]
    return b"".join(struct.pack("!BHH", kind, version, len(part)) + part for part in parts)


def ech_extension(seed: str = "ech", *, config: int = 7, inner: int = 208) -> bytes:
    """The body of an outer Encrypted ClientHello extension (or GREASE: nobody can tell)."""
    head = struct.pack("!BHHB", 0, 0x0001, 0x0001, config)
    return head + _vector(filler(32, seed + "enc"), 2) + _vector(filler(inner, seed), 2)


def alpn_extension(protocols: tuple[str, ...]) -> bytes:
    """The body of an ALPN extension."""
    return _vector(b"".join(_vector(protocol.encode(), 1) for protocol in protocols), 2)


def client_hello(
    name: str | None,
    *,
    alpn: tuple[str, ...] = ("h2", "http/1.1"),
    versions: tuple[int, ...] = (TLS13, TLS12),
    ech: bytes | None = None,
    pad_to: int = 0,
    name_last: bool = False,
    seed: str = "tls",
) -> bytes:
    """A TLS record with a ClientHello.

    Args:
        name: The server name (SNI), or None to send none.
        alpn: Protocols offered; empty sends no extension.
        versions: What supported_versions lists; empty sends no extension (a TLS 1.2 client).
        ech: Body of an Encrypted ClientHello extension, or None.
        pad_to: Pad the handshake message to this size, so that it spans several segments.
        name_last: Put the server name behind the padding, so that only the last segment holds it.
        seed: Decides the random bytes; the session id is the one of `server_hello` with the same seed.
    """
    server_name = b""
    if name is not None:
        server_name = _extension(0, _vector(b"\0" + _vector(name.encode("idna"), 2), 2))
    extensions = _extension(10, bytes.fromhex("0004001d0017"))
    extensions += _extension(13, bytes.fromhex("000404030804"))
    if alpn:
        extensions += _extension(16, alpn_extension(alpn))
    if versions:
        extensions += _extension(43, _vector(b"".join(v.to_bytes(2) for v in versions), 1))
        extensions += _extension(51, _vector(b"\0\x1d" + _vector(filler(32, seed + "client share"), 2), 2))
    if ech is not None:
        extensions += _extension(0xFE0D, ech)
    fixed = TLS12.to_bytes(2) + filler(32, seed + "client") + _vector(filler(32, seed + "session"), 1)
    fixed += _vector(_CIPHERS, 2) + b"\x01\0"
    missing = pad_to - 4 - len(fixed) - 2 - len(server_name) - len(extensions) - 4
    if missing >= 0:
        extensions += _extension(21, bytes(missing))
    extensions = extensions + server_name if name_last else server_name + extensions
    return tls_record(22, b"\x01" + _vector(fixed + _vector(extensions, 2), 3), version=0x0301)


def server_hello(*, version: int = TLS13, alpn: str | None = None, seed: str = "tls") -> bytes:
    """A TLS record with a ServerHello; *alpn* shows only in TLS 1.2, where it is in clear."""
    extensions = b""
    if version == TLS13:
        extensions += _extension(43, TLS13.to_bytes(2))
        extensions += _extension(51, b"\0\x1d" + _vector(filler(32, seed + "server share"), 2))
    elif alpn is not None:
        extensions += _extension(16, alpn_extension((alpn,)))
    cipher = 0x1301 if version == TLS13 else 0xC02F
    body = TLS12.to_bytes(2) + filler(32, seed + "server") + _vector(filler(32, seed + "session"), 1)
    body += struct.pack("!HB", cipher, 0) + _vector(extensions, 2)
    return tls_record(22, b"\x02" + _vector(body, 3))


def change_cipher_spec() -> bytes:
    """The record after which a TLS 1.3 handshake pretends to be an older one."""
    return tls_record(20, b"\x01")


def application_data(size: int, seed: str) -> bytes:
    """TLS records with *size* bytes that nobody can read."""
    return tls_record(23, filler(size, seed))


def http_request(
    method: str,
    host: str,
    path: str = "/",
    *,
    user_agent: str = "DemoBrowser/1.0",
    body: bytes = b"",
    close: bool = False,
) -> bytes:
    """An HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"User-Agent: {user_agent}", "Accept: */*"]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close" if close else "Connection: keep-alive")
    return "\r\n".join([*lines, "", ""]).encode() + body


def http_response(status: int = 200, body: bytes = b"", *, kind: str = "text/html; charset=utf-8") -> bytes:
    """An HTTP/1.1 response with its length stated."""
    reason = {200: "OK", 204: "No Content", 302: "Found", 404: "Not Found"}[status]
    lines = [
        f"HTTP/1.1 {status} {reason}",
        "Server: demo",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
