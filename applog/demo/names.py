"""Name lookups as bytes: DNS, and its relatives mDNS and LLMNR, which share the format.

Rules:
    1. A record names its owner by a pointer to the question where it can, as servers do.
    2. Over TCP the caller puts the two length bytes in front (`dns_over_tcp`).
"""

import struct
from typing import Final, NamedTuple

from applog.demo.packets import address_bytes

A: Final = 1
CNAME: Final = 5
PTR: Final = 12
AAAA: Final = 28
HTTPS: Final = 65

NOERROR: Final = 0
NXDOMAIN: Final = 3

MDNS_PORT: Final = 5353
MDNS_GROUP: Final = "224.0.0.251"
MDNS_GROUP6: Final = "ff02::fb"
LLMNR_PORT: Final = 5355
LLMNR_GROUP: Final = "224.0.0.252"

_QUESTION_POINTER: Final = b"\xc0\x0c"
_CACHE_FLUSH: Final = 0x8001


class Answer(NamedTuple):
    """One resource record."""

    name: str
    kind: int
    value: str
    """An address, or the name that a CNAME or PTR leads to."""

    ttl: int = 300


def dns_name(name: str) -> bytes:
    """*name* as labels, without compression; labels may be any UTF-8, as mDNS allows."""
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _header(ident: int, flags: int, questions: int, answers: int) -> bytes:
    return struct.pack("!HHHHHH", ident, flags, questions, answers, 0, 0)


def _record(answer: Answer, owner: bytes, *, network: int = 1) -> bytes:
    pointed = answer.kind in {CNAME, PTR}
    data = dns_name(answer.value) if pointed else address_bytes(answer.value)
    return owner + struct.pack("!HHIH", answer.kind, network, answer.ttl, len(data)) + data


def dns_query(name: str, kind: int = A, *, ident: int, flags: int = 0x0100) -> bytes:
    """A question, with recursion desired."""
    return _header(ident, flags, 1, 0) + dns_name(name) + struct.pack("!HH", kind, 1)


def dns_response(
    name: str,
    kind: int = A,
    answers: tuple[Answer, ...] = (),
    *,
    ident: int,
    rcode: int = NOERROR,
    flags: int = 0x8180,
) -> bytes:
    """The answer to `dns_query` of the same name, kind and ident."""
    body = _header(ident, flags | rcode, 1, len(answers)) + dns_name(name) + struct.pack("!HH", kind, 1)
    owners = (_QUESTION_POINTER if answer.name == name else dns_name(answer.name) for answer in answers)
    return body + b"".join(map(_record, answers, owners))


def dns_over_tcp(message: bytes) -> bytes:
    """*message* as a TCP stream carries it: its length first."""
    return len(message).to_bytes(2) + message


def mdns_query(name: str, kind: int = PTR) -> bytes:
    """A multicast question: no ident, no recursion."""
    return dns_query(name, kind, ident=0, flags=0)


def mdns_announcement(answers: tuple[Answer, ...]) -> bytes:
    """An unasked multicast answer that replaces what listeners remembered."""
    records = (_record(answer, dns_name(answer.name), network=_CACHE_FLUSH) for answer in answers)
    return _header(0, 0x8400, 0, len(answers)) + b"".join(records)
