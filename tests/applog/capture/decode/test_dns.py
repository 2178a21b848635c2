"""DNS messages: names, codes and addresses out of crafted, hostile and real bytes."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applog.capture.decode.dns import (
    Message,
    message,
    messages,
    presentation,
    rcode_name,
    read_name,
    type_name,
)

CAPTURES = Path(__file__).parents[5] / "shared" / "pcaps" / "dns"
RESPONSE = 0x8180
POINTER_TO_QUESTION = b"\xc0\x0c"


def name(*labels: bytes) -> bytes:
    """A name in wire form."""
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\x00"


def header(flags: int, *counts: int, ident: int = 7) -> bytes:
    """A header with its four counts."""
    return struct.pack("!6H", ident, flags, *counts)


def question(owner: bytes, kind: int = 1, class_: int = 1) -> bytes:
    """A question about a name in wire form."""
    return owner + struct.pack("!HH", kind, class_)


def record(data: bytes, kind: int, ttl: int, class_: int = 1, owner: bytes = POINTER_TO_QUESTION) -> bytes:
    """A resource record."""
    return owner + struct.pack("!HHIH", kind, class_, ttl, len(data)) + data


ASKED = question(name(b"Www", b"EXAMPLE", b"com"))
V4, V6 = bytes([192, 0, 2, 1]), bytes(range(16))
ANSWERED = (
    header(RESPONSE, 1, 3, 0, 0)
    + ASKED
    + record(name(b"cdn", b"example"), 5, 30)
    + record(V4, 1, 300, owner=name(b"cdn", b"example"))
    + record(V6, 28, 60)
)


def test_a_query_is_read() -> None:
    """The question's name in lower case without its last dot, its type and class; no addresses."""
    assert message(header(0x0100, 1, 0, 0, 0) + ASKED) == Message(
        id=7,
        response=False,
        opcode=0,
        rcode=0,
        truncated=False,
        question_name="www.example.com",
        question_type=1,
        question_class=1,
        addresses=(),
        ttl=None,
    )


def test_addresses_are_gathered() -> None:
    """A and AAAA answers count whoever owns them, past a CNAME, with the least TTL among them."""
    result = message(ANSWERED)

    assert result is not None
    assert result.response
    assert result.addresses == (V4, V6)
    assert result.ttl == 60


def test_only_addresses_of_class_in_count() -> None:
    """Another class, another length, another section or an update's prerequisites are no resolved address."""
    others = record(V4, 1, 5, class_=3) + record(V6, 1, 5) + record(V4, 28, 5) + record(V4, 1, 5)
    data = header(RESPONSE, 1, 3, 1, 0) + ASKED + others

    result = message(data)
    update = message(b"\x00\x07\xa8\x00" + ANSWERED[4:])

    assert result is not None
    assert (result.addresses, result.ttl) == ((), None)
    assert update is not None
    assert (update.opcode, update.addresses) == (5, ())


@pytest.mark.parametrize(
    ("ttls", "least"), [((0, 9), 0), ((9, 1 << 31), 0), ((1 << 31, 9), 0), ((0x7FFFFFFF,), 0x7FFFFFFF)]
)
def test_least_ttl(ttls: tuple[int, ...], least: int) -> None:
    """A TTL with its top bit set counts as zero (RFC 2181 8)."""
    data = header(RESPONSE, 1, len(ttls), 0, 0) + ASKED + b"".join(record(V4, 1, ttl) for ttl in ttls)

    result = message(data)

    assert result is not None
    assert result.ttl == least


def test_an_mdns_announcement_takes_its_first_answer() -> None:
    """Without a question the first answer's owner and type stand in, the cache-flush bit cleared."""
    owner = name("ห้อง 1.2".encode(), b"local")
    data = header(0x8400, 0, 1, 0, 0, ident=0) + record(V4, 1, 120, class_=0x8001, owner=owner)

    result = message(data)

    assert result is not None
    assert result.question_name == "ห้อง 1\\x2e2.local"
    assert (result.question_type, result.question_class) == (1, 1)
    assert (result.addresses, result.ttl) == ((V4,), 120)


def test_mdns_asks_several_questions() -> None:
    """The first question counts, the unicast-wanted bit is cleared, the others are stepped over."""
    asked = question(name(b"_ipp", b"_tcp", b"local"), 12, 0x8001) + question(POINTER_TO_QUESTION, 12)
    data = header(RESPONSE, 3, 1, 0, 0) + asked + question(name(b"x")) + record(V4, 1, 10)

    result = message(data)

    assert result is not None
    assert (result.question_name, result.question_type, result.question_class) == ("_ipp._tcp.local", 12, 1)
    assert result.addresses == (V4,)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ((), "."),
        ((b"a.b", b"C"), "a\\x2eb.c"),
        ((b"\xff\\ \n", b"th"), "\\xff\\x5c \\x0a.th"),
        (("ÀÈ".encode(), b"TH"), "ÀÈ.th"),
        ((b"x" * 63,) * 3 + (b"y" * 61,), ".".join(["x" * 63] * 3 + ["y" * 61])),
    ],
)
def test_names_are_written_unambiguously(labels: tuple[bytes, ...], text: str) -> None:
    """The root is a dot; dots inside labels and unsafe bytes are escaped; a name of 255 bytes fits."""
    assert read_name(name(*labels), 0) == (text, len(name(*labels)))


def test_presentation_keeps_case_unless_asked() -> None:
    """DHCP shows names as the client spells them."""
    assert presentation([b"Room", b"A.B"]) == "Room.A\\x2eB"
    assert presentation([b"Room", b"A.B"], lower=True) == "room.a\\x2eb"


def test_names_follow_pointers_backwards() -> None:
    """A pointer to an earlier name continues there, and the position after it is that of the pointer."""
    data = bytes(12) + name(b"example", b"com") + b"\x03www\xc0\x0c"

    assert read_name(data, 25) == ("www.example.com", 31)


@pytest.mark.parametrize(
    "tail",
    [
        b"\xc0\x0c",  # to itself
        b"\x01a\xc0\x0c",  # to its own start
        b"\xc0\x0e\xc0\x0c",  # forwards, then back
        b"\xc0\x00",  # into the header
        b"\x40abc\x00",  # reserved label type
        b"\x80\x00",
        b"\xc0",  # cut
        b"\x05abc",  # cut
        b"\x03abc",  # no end
        b"",
        (b"\x3f" + b"x" * 63) * 4 + b"\x00",  # 257 bytes
    ],
)
def test_hostile_names_are_declined(tail: bytes) -> None:
    """Loops, forward pointers, reserved labels, cut and over-long names make the message not DNS."""
    assert read_name(bytes(12) + tail, 12) is None
    assert message(header(0, 1, 0, 0, 0) + tail) is None


def test_pointer_chains_are_bounded() -> None:
    """126 pointers in a chain are followed, 127 are not; labels collected on the way count to 255 bytes."""
    for hops, expected in ((126, ("a", 13 + 2 * 126 + 2)), (127, None)):
        chain = (
            bytes(12)
            + b"\x01a\x00"
            + b"".join(struct.pack("!H", 0xC00C + (2 * i + 1 if i else 0)) for i in range(hops))
        )
        assert read_name(chain, len(chain) - 2) == expected
    long = bytes(12) + name(b"x" * 63, b"x" * 63, b"x" * 63) + b"\x3f" + b"x" * 63 + b"\xc0\x0c"
    assert read_name(long, 12 + 193) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(11),
        bytes(12),
        header(0x3800, 1, 0, 0, 0) + ASKED,  # opcode 7
        header(0, 65, 0, 0, 0) + ASKED,
        header(0, 1, 5000, 900, 61) + ASKED,
        header(0, 1, 0, 0, 0) + ASKED[:-1],
        header(RESPONSE, 0, 1, 0, 0) + b"\x00\x00",
        b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    ],
)
def test_what_is_not_dns_is_declined(data: bytes) -> None:
    """Short, empty, absurd or foreign bytes are not a message."""
    assert message(data) is None


def test_a_cut_tail_keeps_what_was_whole() -> None:
    """Every cut after the question leaves the question and the whole addresses before the cut."""
    first = ANSWERED.index(V4) + len(V4)

    for end in range(12 + len(ASKED), len(ANSWERED)):
        result = message(ANSWERED[:end])
        assert result is not None
        assert result.question_name == "www.example.com"
        assert result.addresses == ((V4,) if end >= first else ())


def test_a_reserved_label_ends_the_records() -> None:
    """An owner name that cannot be stepped over ends the answers; those before it count."""
    data = (
        header(RESPONSE, 1, 3, 0, 0)
        + ASKED
        + record(V4, 1, 9)
        + record(V4, 1, 9, owner=b"\x41")
        + record(V4, 1, 9)
    )

    result = message(data)

    assert result is not None
    assert result.addresses == (V4,)


def test_codes_and_flags() -> None:
    """TC is the sender's; the response code is extended by an OPT record; headers alone are responses too."""
    option = record(b"", 41, 1 << 24, class_=1232, owner=b"\x00")

    refused = message(header(0x8205, 0, 0, 0, 0))
    version = message(header(RESPONSE, 1, 1, 1, 1) + ASKED + record(V4, 1, 9) + record(V4, 1, 9) + option)
    inverse = message(header(0x0800, 0, 1, 0, 0) + record(V4, 1, 0, owner=b"\x00"))
    cookie = message(header(0, 0, 0, 0, 1) + option)

    assert refused is not None
    assert (refused.truncated, refused.rcode, refused.question_name, refused.question_type) == (
        True,
        5,
        None,
        0,
    )
    assert version is not None
    assert (version.rcode, version.addresses) == (16, (V4,))
    assert inverse is not None
    assert (inverse.opcode, inverse.question_name, inverse.addresses) == (1, None, ())
    assert cookie is not None


def test_numbers_have_names() -> None:
    """IANA's mnemonics, TYPE and a number for unknown types, the number for unknown codes."""
    assert [type_name(number) for number in (1, 28, 65, 255, 65400)] == [
        "A",
        "AAAA",
        "HTTPS",
        "ANY",
        "TYPE65400",
    ]
    assert [rcode_name(number) for number in (0, 3, 11, 16, 23, 99)] == [
        *("NOERROR", "NXDOMAIN", "DSOTYPENI", "BADVERS", "BADCOOKIE", "99"),
    ]


def test_a_tcp_stream_is_split() -> None:
    """Whole messages are read, others are passed over, and an unfinished one is not consumed."""
    framed = struct.pack("!H", len(ANSWERED)) + ANSWERED
    stream = framed + b"\x00\x00" + b"\x00\x03abc" + framed

    assert messages(stream + framed[:-1]) == ([message(ANSWERED)] * 2, len(stream))
    assert messages(b"\x00") == messages(b"") == ([], 0)


@given(st.binary(max_size=120))
def test_any_bytes_are_answered(raw: bytes) -> None:
    """No input raises; a stream's consumed count stays inside it."""
    for data in (raw, header(RESPONSE, 1, 9, 9, 9) + raw, header(RESPONSE, 1, 9, 0, 2) + ASKED + raw):
        message(data)
    assert 0 <= messages(raw)[1] <= len(raw)


@given(st.integers(0, len(ANSWERED) - 1), st.integers(0, 255))
def test_any_changed_byte_is_survived(at: int, value: int) -> None:
    """A response with any byte changed is read or declined, and its addresses keep their sizes."""
    result = message(ANSWERED[:at] + bytes([value]) + ANSWERED[at + 1 :])

    assert result is None or all(len(address) in {4, 16} for address in result.addresses)


def datagrams(capture: Path) -> list[bytes]:
    """UDP payloads of an Ethernet, IPv4, little-endian pcap."""
    raw = capture.read_bytes()
    found = []
    at = 24
    while at < len(raw):
        (size,) = struct.unpack_from("<8xI", raw, at)
        frame = raw[at + 16 : at + 16 + size]
        at += 16 + size
        if frame[12:14] == b"\x08\x00" and frame[23] == 17:
            found.append(frame[14 + (frame[14] & 15) * 4 + 8 :])
    return found


@pytest.mark.shared
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the shared captures are not beside this checkout")
@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("suricata-llmnr-llmnr-udp.pcap", {"hs2011"}),
        ("tcpdump-dns_udp.pcap", {"www.tcpdump.org"}),
        ("zeek-dns-caa.pcap", {"google.com"}),
        ("zeek-dns-https.pcap", {"cloudflare.com"}),
        ("zeek-dns-txt-multiple.pcap", {"flkr._domainkey.flickr.com"}),
        ("zeek-dns_original_case.pcap", {"us.v27.distributed.net"}),
        ("zeek-max-compression-depth.pcap", {"a"}),
        ("zeek-dns-invalid-names.pcap", {None}),
        ("tcpdump-dns_fwdptr.pcap", {None}),
    ],
)
def test_real_captures(file: str, names: set[str | None]) -> None:
    """The names that tshark reads from real captures (INDEX.md) are read too; its errors are declined."""
    results = [message(data) for data in datagrams(CAPTURES / file)]

    assert {result and result.question_name for result in results} == names
