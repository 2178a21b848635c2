r"""DNS, mDNS and LLMNR messages: what was asked, and which addresses came back (RFC 1035, 6762, 4795).

Rules:
    1. A message is declined (``None``) when it cannot be DNS: shorter than its header, opcode over 6, more
       questions or records than a message can hold, nothing at all in a query, or a first question that
       is not readable.
    2. A cut tail is accepted: with the question read, the records that are whole count, the rest do not.
    3. A name is written in lower case (ASCII letters only) without its last dot; the root is ``.``. A dot
       inside a label is ``\x2e``, other bytes as ``wire_text`` writes them.
    4. A compression pointer must point before the labels it stands in (RFC 1035 4.1.4, "prior
       occurrence") and at most 127 are followed, so that no name loops. Only one name of a message is
       read at all; the others are stepped over.
"""

import struct
from typing import Final, NamedTuple

from retention.text import wire_text

_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!IIH")  # type and class, ttl, length
_LENGTH = struct.Struct("!H")

_OPCODE_LIMIT: Final = 6  # DSO, RFC 8490; 3 was never assigned but harms nobody
_QUESTION_LIMIT: Final = 64  # only mDNS asks more than one
_RECORD_LIMIT: Final = 65535 // 11  # the shortest record has 11 bytes
_LABEL_LIMIT: Final = 63
_POINTER: Final = 0xC0
_NAME_LIMIT: Final = 255  # with its length bytes, RFC 1035 2.3.4
_HOP_LIMIT: Final = 127
_RESPONSE: Final = 0x8000
_TRUNCATED: Final = 0x0200
_CLASS: Final = 0x7FFF  # the top bit is mDNS's unicast-wanted or cache-flush, RFC 6762 18.12 and 18.13
_IN: Final = 1
_A: Final = 1
_AAAA: Final = 28
_OPT: Final = 41
_TTL_LIMIT: Final = (1 << 31) - 1  # above it means 0, RFC 2181 8
_ADDRESS_SIZE: Final = {
    kind << 16 | flush | _IN: size for kind, size in ((_A, 4), (_AAAA, 16)) for flush in (0, 0x8000)
}
"""Length of an address by the type and class of its record, read as one number: no call per record."""

_IANA_TYPES: Final = """
A:1 NS:2 MD:3 MF:4 CNAME:5 SOA:6 MB:7 MG:8 MR:9 NULL:10 WKS:11 PTR:12 HINFO:13 MINFO:14 MX:15 TXT:16 RP:17
AFSDB:18 X25:19 ISDN:20 RT:21 NSAP:22 NSAP-PTR:23 SIG:24 KEY:25 PX:26 GPOS:27 AAAA:28 LOC:29 NXT:30 EID:31
NIMLOC:32 SRV:33 ATMA:34 NAPTR:35 KX:36 CERT:37 A6:38 DNAME:39 SINK:40 OPT:41 APL:42 DS:43 SSHFP:44
IPSECKEY:45 RRSIG:46 NSEC:47 DNSKEY:48 DHCID:49 NSEC3:50 NSEC3PARAM:51 TLSA:52 SMIMEA:53 HIP:55 NINFO:56
RKEY:57 TALINK:58 CDS:59 CDNSKEY:60 OPENPGPKEY:61 CSYNC:62 ZONEMD:63 SVCB:64 HTTPS:65 DSYNC:66 SPF:99
UINFO:100 UID:101 GID:102 UNSPEC:103 NID:104 L32:105 L64:106 LP:107 EUI48:108 EUI64:109 NXNAME:128 TKEY:249
TSIG:250 IXFR:251 AXFR:252 MAILB:253 MAILA:254 ANY:255 URI:256 CAA:257 AVC:258 DOA:259 AMTRELAY:260
RESINFO:261 WALLET:262 CLA:263 IPN:264 TA:32768 DLV:32769
"""
_TYPE_NAMES: Final = {
    int(number): name for name, _, number in (entry.partition(":") for entry in _IANA_TYPES.split())
}

_RCODE_NAMES: Final = {
    **dict(
        enumerate(
            (
                *("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"),
                *("YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE", "DSOTYPENI"),
            )
        )
    ),
    **dict(
        enumerate(
            ("BADVERS", "BADKEY", "BADTIME", "BADMODE", "BADNAME", "BADALG", "BADTRUNC", "BADCOOKIE"),
            start=16,
        )
    ),
}


class Message(NamedTuple):
    """One message, as far as retention needs it."""

    id: int
    """Chosen by the asker; the response repeats it. Zero in mDNS."""

    response: bool
    opcode: int

    rcode: int
    """Result, extended by the OPT record where one is readable (RFC 6891 6.1.3)."""

    truncated: bool
    """The TC flag: the sender left something out. A capture's own cut does not set it."""

    question_name: str | None
    """First question's name; in a response without question (mDNS) the first answer's owner."""

    question_type: int
    """Type that goes with the name; 0 when there is no name."""

    question_class: int
    """Class that goes with the name, mDNS's top bit cleared; 0 when there is no name."""

    addresses: tuple[bytes, ...]
    """A (4 bytes) and AAAA (16 bytes) of class IN in the answer section, whoever owns them, in order."""

    ttl: int | None
    """Least time to live of those addresses in seconds; absent without addresses."""


def type_name(number: int) -> str:
    """IANA's mnemonic of a record type, or ``TYPE65400`` for an unknown one (RFC 3597 5)."""
    return _TYPE_NAMES.get(number) or f"TYPE{number}"


def rcode_name(number: int) -> str:
    """IANA's mnemonic of a response code in upper case, or the number as text."""
    return _RCODE_NAMES.get(number) or str(number)


def message(data: bytes) -> Message | None:
    """Read one message, the payload of a datagram; ``None`` when it is not DNS (rule 1)."""
    if len(data) < _HEADER.size:
        return None
    ident, flags, questions, answers, authorities, additionals = _HEADER.unpack_from(data)
    opcode = flags >> 11 & 15
    others = authorities + additionals
    response = flags >= _RESPONSE
    if (
        opcode > _OPCODE_LIMIT
        or questions > _QUESTION_LIMIT
        or answers + others > _RECORD_LIMIT
        or not (response or questions or answers or others)
    ):
        return None
    name, kind, class_, pos = None, 0, 0, _HEADER.size
    if questions or answers:
        found = read_name(data, pos)
        if found is None or found[1] + _QUESTION.size > len(data):
            return None
        if questions or response:
            name = found[0]
            kind, class_ = _QUESTION.unpack_from(data, found[1])
        if questions:
            pos = found[1] + _QUESTION.size
            if questions > 1:
                pos = _after_questions(data, pos, questions - 1)
    rcode = flags & 15
    addresses: tuple[bytes, ...] = ()
    ttl = None
    if response and answers + others:
        addresses, ttl, extended = _records(
            data, pos, 0 if opcode else answers, (answers if opcode else 0) + others
        )
        rcode |= extended << 4
    return Message(
        ident, response, opcode, rcode, bool(flags & _TRUNCATED), name, kind, class_ & _CLASS, addresses, ttl
    )


def further_questions(data: bytes) -> tuple[tuple[str, int], ...]:
    """Name and type of the questions behind the first, as multicast queries have them (RFC 6762 5.3)."""
    found: list[tuple[str, int]] = []
    pos = _HEADER.size
    questions = _HEADER.unpack_from(data)[2] if len(data) >= pos else 0
    for number in range(min(questions, _QUESTION_LIMIT)):
        name = read_name(data, pos)
        if name is None or name[1] + _QUESTION.size > len(data):
            break
        if number:
            found.append((name[0], _QUESTION.unpack_from(data, name[1])[0]))
        pos = name[1] + _QUESTION.size
    return tuple(found)


def messages(stream: bytes) -> tuple[list[Message], int]:
    """Read the whole messages at the start of one side's TCP *stream* (RFC 1035 4.2.2).

    Returns:
        The messages, leaving out what is not DNS, and how many bytes the whole ones took.
    """
    found: list[Message] = []
    pos = 0
    while pos + _LENGTH.size <= len(stream):
        start = pos + _LENGTH.size
        after = start + _LENGTH.unpack_from(stream, pos)[0]
        if after > len(stream):
            break
        one = message(stream[start:after])
        if one is not None:
            found.append(one)
        pos = after
    return found, pos


def read_name(data: bytes, pos: int) -> tuple[str, int] | None:
    """Read the name at *pos* of a whole message: its text and the position after it, or ``None``."""
    labels: list[bytes] = []
    after = spent = 0
    floor = pos
    hops = _HOP_LIMIT
    try:
        while size := data[pos]:
            if size <= _LABEL_LIMIT:
                start = pos + 1
                pos = start + size
                labels.append(data[start:pos])  # a label cut short leaves no byte at pos: IndexError
                continue
            spent += pos - floor
            target = (size & _LABEL_LIMIT) << 8 | data[pos + 1]
            after = after or pos + 2
            hops -= 1
            if size < _POINTER or not _HEADER.size <= target < floor or not hops or spent >= _NAME_LIMIT:
                return None
            pos = floor = target
    except IndexError:
        return None
    if spent + pos - floor >= _NAME_LIMIT:
        return None
    return presentation(labels, lower=True), after or pos + 1


def presentation(labels: list[bytes], *, lower: bool = False) -> str:
    r"""Text of a name: labels joined by dots, a dot inside a label as ``\x2e``, the root as a dot."""
    raw = b".".join(labels)
    if lower:
        raw = raw.lower()
    if raw.count(b".") == len(labels) - 1:
        return wire_text(raw)
    texts = (wire_text(label.lower() if lower else label) for label in labels)
    return ".".join(text.replace(".", "\\x2e") for text in texts) or "."


def _after_questions(data: bytes, pos: int, count: int) -> int:
    """Position after *count* questions; the end of *data* when they do not fit."""
    for _ in range(count):
        pos = _after_name(data, pos) + _QUESTION.size
    return min(pos, len(data))


def _after_name(data: bytes, pos: int) -> int:
    """Position after a name that nobody reads; the end of *data* or beyond when it is cut or reserved."""
    stop = len(data)
    while pos < stop:
        size = data[pos]
        if size > _LABEL_LIMIT:
            return pos + 2 if size >= _POINTER else stop
        pos += size + 1
        if not size:
            return pos
    return stop


def _records(data: bytes, pos: int, answers: int, others: int) -> tuple[tuple[bytes, ...], int | None, int]:
    """Addresses among the *answers*, their least TTL, and the extended response code of an OPT after them."""
    addresses: list[bytes] = []
    lowest = _TTL_LIMIT
    extended = 0
    stop = len(data)
    for left in range(answers + others, 0, -1):
        # Nearly every owner is one pointer: two bytes, and no call.
        pos = pos + 2 if pos < stop and data[pos] >= _POINTER else _after_name(data, pos)
        if pos + _RECORD.size > stop:
            break
        kind, ttl, size = _RECORD.unpack_from(data, pos)
        pos += _RECORD.size
        after = pos + size
        if after > stop:
            break
        if left <= others:
            if kind >> 16 == _OPT:
                extended = ttl >> 24
        elif _ADDRESS_SIZE.get(kind) == size:
            addresses.append(data[pos:after])
            if ttl < lowest:
                lowest = ttl
            elif ttl > _TTL_LIMIT:
                lowest = 0
        pos = after
    return tuple(addresses), lowest if addresses else None, extended
