"""HTTP/1.x: method, host and user agent of a request, status of a response (RFC 9110, RFC 9112).

Rules:
    1. The path is never returned. Of the request target only an authority is read (absolute form, and
       CONNECT's authority form), and a Host header comes before it.
    2. A request counts once its header section is complete. When nothing more will come (*final*), or
       after 16 KiB of it, the header lines that are whole count; a line that is cut does not.
    3. Lines may end in LF alone (RFC 9112 2.2) and be folded (5.2). A name with a space before its colon
       is no header: servers must refuse it (5.1). Of several Host headers the first counts.
    4. HTTP/0.9, HTTP/2 and what only resembles HTTP (RTSP, SIP) are ``None``. A spoilt request line (no
       target, or no version) is a request if its method is well known and a Host header follows.
"""

import re
from typing import Final, NamedTuple

from applog.capture.decode.tls import Need, host_text
from retention.text import wire_text

_LIMIT: Final = 16384
_STATUS_SIZE: Final = len(b"HTTP/1.1 200 ")
_SWITCHING: Final = 101
_FIRST_FINAL: Final = 200

_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_REQUEST_LINE = re.compile(rb"(?:\r?\n){0,2}+(" + _TOKEN + rb"{1,32}+) ([^\r\n]*+)\r?\n")
_METHOD = rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|CONNECT|PATCH|CCM_POST)"
_BARE_LINE = re.compile(rb"(?:\r?\n){0,2}+(" + _METHOD + rb")()\r?\n")
_SPOILT = re.compile(_METHOD + rb"(?! .* [A-Z]+/[0-9.]*$)[^\r\n]*")
_REQUEST_START = re.compile(rb"(?:\r?\n){0,2}+(?:\r|" + _TOKEN + rb"{0,32}+(?: [^\r\n]*+\r?)?)")
_VERSION = re.compile(rb"HTTP/1\.[0-9]?")  # big servers answer "HTTP/1." too
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})[ \r\n]")
_STATUS_START: Final = b"HTTP/1."
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]{0,31}+://([^/?#]*+)")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]++")
_BRACKETED = re.compile(rb"\[([^\[\]]*+)\](?::[0-9]*+)?")
_PORT = re.compile(rb"([^:]*+):[0-9]*+")


class Request(NamedTuple):
    """What a request says about where it goes and what sent it. All of it is the sender's claim."""

    method: str
    """As written; methods are case-sensitive."""

    host: str | None
    """Host header, else the target's authority: lower case, without port, brackets or trailing dot."""

    user_agent: str | None
    """First User-Agent header; absent when there is none or it is empty."""


def request(stream: bytes, *, final: bool = False) -> Request | Need | None:
    """Read the first request of the originator's *stream*.

    Args:
        stream: bytes from the start of the connection; only the first 16 KiB are looked at.
        final: nothing more will come: answer from the lines that are whole.

    Returns:
        The request; or how many bytes are needed; or ``None`` when it is not HTTP/1.x.
    """
    final = final or len(stream) >= _LIMIT
    head = stream[:_LIMIT]
    line = _REQUEST_LINE.match(head) or _BARE_LINE.match(head)
    if line is None:
        possible = not final and _REQUEST_START.fullmatch(head) is not None
        return Need(len(stream) + 1) if possible else None
    target, _, version = line[2].rstrip(b" ").rpartition(b" ")
    spoilt = not target or _VERSION.fullmatch(version) is None
    if spoilt and _SPOILT.fullmatch(line[0].strip()) is None:
        return None
    start = line.end() - 1
    stop = _header_end(head, start)
    if stop is None:
        if not final:
            return Need(len(stream) + 1)
        stop = head.rfind(b"\n") + 1
    block = head[start:stop]
    lowered = block.lower()
    agent = _value(lowered, block, b"\nuser-agent:")
    host = _host(_value(lowered, lowered, b"\nhost:")) or (None if spoilt else _target_host(line[1], target))
    if spoilt and host is None:
        return None
    return Request(wire_text(line[1]), host, wire_text(agent) or None)


def response_status(stream: bytes, *, final: bool = False) -> int | Need | None:
    """Read the status of the responder's first response that is not interim.

    1xx responses are passed over (RFC 9110 15.2), except 101, after which the connection speaks another
    protocol. ``None`` when the stream is not HTTP/1.x, or is *final* with nothing but interim responses.
    """
    final = final or len(stream) >= _LIMIT
    head = stream[:_LIMIT]
    pos = 0
    while line := _STATUS_LINE.match(head, pos):
        status = int(line[1])
        if status == _SWITCHING or status >= _FIRST_FINAL:
            return status
        stop = _header_end(head, line.end() - 1)
        if stop is None:
            return None if final else Need(len(stream) + 1)
        pos = stop + (2 if head.startswith(b"\r", stop) else 1)
    rest = head[pos : pos + _STATUS_SIZE]
    if (
        final
        or len(rest) == _STATUS_SIZE
        or not (_STATUS_START.startswith(rest) or rest.startswith(_STATUS_START))
    ):
        return None
    return Need(pos + _STATUS_SIZE)


def _header_end(head: bytes, start: int) -> int | None:
    """Position of the empty line that ends the header lines from *start* on; ``None`` if not there yet."""
    found = _EMPTY_LINE.search(head, start)
    return found.start() + 1 if found else None


def _value(lowered: bytes, block: bytes, field: bytes) -> bytes:
    """Value in *block* of the first *field*, unfolded and trimmed; empty when there is none.

    *block* starts with the line feed before the first header and ends with the one after the last.
    """
    at = lowered.find(field)
    if at < 0:
        return b""
    start = at + len(field)
    stop = block.find(b"\n", start)
    if block[stop + 1 : stop + 2] in {b" ", b"\t"}:
        while block[stop + 1 : stop + 2] in {b" ", b"\t"}:
            stop = block.find(b"\n", stop + 1)
        return _FOLD.sub(b" ", block[start:stop]).strip(b" \t\r")
    return block[start:stop].strip(b" \t\r")


def _target_host(method: bytes, target: bytes) -> str | None:
    """Host of a request target that carries an authority (RFC 9112 3.2.2, 3.2.3)."""
    if method == b"CONNECT":
        return _host(target)
    absolute = _ABSOLUTE.match(target)
    return _host(absolute[1].rpartition(b"@")[2]) if absolute else None


def _host(authority: bytes) -> str | None:
    """Host of ``host``, ``host:port`` or ``[IPv6]:port``; anything else is given as it stands."""
    match = (_BRACKETED if authority.startswith(b"[") else _PORT).fullmatch(authority)
    return host_text(match[1] if match else authority)
