"""TLS hellos: names and versions out of crafted, damaged and real streams."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applog.capture.decode.tls import (
    ClientHello,
    Need,
    client_hello,
    client_hello_body,
    host_text,
    server_hello_version,
)

CAPTURES = Path(__file__).parents[5] / "shared" / "pcaps" / "tls"


def extension(kind: int, body: bytes) -> bytes:
    """One extension of either hello."""
    return struct.pack("!HH", kind, len(body)) + body


def server_name(name: bytes, kind: int = 0) -> bytes:
    """A server_name extension with one entry."""
    entry = struct.pack("!BH", kind, len(name)) + name
    return extension(0, struct.pack("!H", len(entry)) + entry)


def alpn(*names: bytes) -> bytes:
    """An application_layer_protocol_negotiation extension."""
    listed = b"".join(bytes([len(name)]) + name for name in names)
    return extension(16, struct.pack("!H", len(listed)) + listed)


def versions(*numbers: int) -> bytes:
    """A client's supported_versions extension."""
    return extension(43, struct.pack(f"!B{len(numbers)}H", 2 * len(numbers), *numbers))


def message(kind: int, body: bytes) -> bytes:
    """A handshake message."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def hello(*extensions: bytes, legacy: int = 0x0303, block: bool = True) -> bytes:
    """A ClientHello message with a session id, two cipher suites and null compression."""
    joined = b"".join(extensions)
    fixed = (
        struct.pack("!H", legacy)
        + bytes(32)
        + b"\x20"
        + bytes(32)
        + b"\x00\x04\x13\x01\x13\x02"
        + b"\x01\x00"
    )
    return message(1, fixed + (struct.pack("!H", len(joined)) + joined if block else b""))


def answer(*extensions: bytes, legacy: int = 0x0303) -> bytes:
    """A ServerHello message."""
    joined = b"".join(extensions)
    fixed = struct.pack("!H", legacy) + bytes(32) + b"\x00" + b"\x13\x01" + b"\x00"
    return message(2, fixed + struct.pack("!H", len(joined)) + joined)


def records(payload: bytes, size: int = 1 << 14) -> bytes:
    """Handshake records of at most *size* bytes each."""
    pieces = [payload[at : at + size] for at in range(0, len(payload), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece for piece in pieces)


BROWSER = hello(
    extension(0x0A0A, b""),
    server_name(b"Www.Example.COM."),
    alpn(b"h2", b"http/1.1"),
    versions(0x1A1A, 0x0304, 0x0303),
    extension(0xFE0D, b"\x00" * 20),
)
READ = ClientHello("www.example.com", ("h2", "http/1.1"), "1.3", ech=True)


def test_a_browser_hello_is_read() -> None:
    """Name in lower case without its last dot, protocols in order, highest version past GREASE, ECH seen."""
    assert client_hello(records(BROWSER) + b"whatever follows") == READ


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 200])
def test_fragments_are_joined(size: int) -> None:
    """A hello over many records says the same as in one (RFC 8446 5.1)."""
    assert client_hello(records(BROWSER, size)) == READ
    assert server_hello_version(records(answer(), size)) == "1.2"


@pytest.mark.parametrize("size", [1, 7, 1 << 14])
def test_need_leads_to_the_answer(size: int) -> None:
    """Every prefix asks for more than it has and never for more than the whole; asking again ends there."""
    stream = records(BROWSER, size)

    for end in range(len(stream)):
        result = client_hello(stream[:end])
        assert isinstance(result, Need)
        assert end < result.total <= len(stream)


def test_a_bare_message_is_read() -> None:
    """QUIC's CRYPTO bytes give the same hello, and the same need while they are incomplete."""
    assert client_hello_body(BROWSER + b"more") == READ
    assert client_hello_body(BROWSER[:-1]) == Need(len(BROWSER))
    assert client_hello_body(b"") == client_hello_body(b"\x01\x00") == Need(4)
    assert client_hello_body(b"\x02") is None
    assert client_hello_body(answer()) is None


@pytest.mark.parametrize(
    ("numbers", "legacy", "version"),
    [
        ((0x0304,), 0x0303, "1.3"),
        ((0x7F1C, 0x0303), 0x0303, "1.3"),
        ((0x0302, 0x0301), 0x0303, "1.1"),
        ((0x2A2A,), 0x0303, None),
        ((), 0x0303, None),
        (None, 0x0303, "1.2"),
        (None, 0x0301, "1.0"),
        (None, 0x0300, None),
        (None, 0x0A0A, None),
    ],
)
def test_versions_offered(numbers: tuple[int, ...] | None, legacy: int, version: str | None) -> None:
    """supported_versions replaces the legacy field; what is not TLS 1.0 to 1.3 has no version."""
    offered = () if numbers is None else (versions(*numbers),)

    result = client_hello(records(hello(*offered, legacy=legacy)))

    assert result == ClientHello(None, (), version, ech=False)


def test_no_extension_block() -> None:
    """A hello that ends after its compression methods is whole (RFC 5246 7.4.1.2)."""
    assert client_hello(records(hello(block=False, legacy=0x0301))) == ClientHello(None, (), "1.0", ech=False)


@pytest.mark.parametrize(
    ("extensions", "name"),
    [
        ((server_name(b""),), None),
        ((server_name(b"."),), None),
        ((server_name(b"a" * 255),), "a" * 255),
        ((server_name(b"a" * 256),), None),
        ((server_name(b"other", kind=1),), None),
        ((extension(0, b"\x00\x11" + b"\x01\x00\x03abc" + b"\x00\x00\x04host"),), "host"),
        ((extension(0, b"\x00\x20\x00\x00\x20short"),), None),
        ((extension(0, b""),), None),
        ((server_name(b"first"), server_name(b"second")), "first"),
        ((server_name(b"a\x00\xff.th"),), "a\\x00\\xff.th"),
        ((server_name("ไทย".encode()),), "ไทย"),
    ],
)
def test_server_names(extensions: tuple[bytes, ...], name: str | None) -> None:
    """Only a whole host_name of 1 to 255 bytes is a name, the first one counts, odd bytes are escaped."""
    result = client_hello(records(hello(*extensions)))

    assert isinstance(result, ClientHello)
    assert result.server_name == name


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (b"", ()),
        (b"\x00", ()),
        (b"\x02h2\x00\x02h3", ("h2",)),
        (b"\x02h2\x09http", ("h2",)),
        (b"\x01a" * 40, ("a",) * 32),
    ],
)
def test_damaged_protocol_lists(listed: bytes, names: tuple[str, ...]) -> None:
    """Protocols count up to the first that is empty or cut, and to 32."""
    result = client_hello(records(hello(extension(16, struct.pack("!H", len(listed)) + listed))))

    assert isinstance(result, ClientHello)
    assert result.alpn == names


def test_what_stood_before_the_damage_is_kept() -> None:
    """An extension longer than the block ends the walk; the version behind it is unobserved, not 1.2."""
    damaged = hello(server_name(b"kept.example"), struct.pack("!HH", 16, 500) + b"x")

    assert client_hello(records(damaged)) == ClientHello("kept.example", (), None, ech=False)


def test_a_cut_stream_is_read_when_final() -> None:
    """With final, a name that is whole is kept, one that is cut is not, and a cut fixed part is nothing."""
    stream = records(hello(server_name(b"kept.example"), versions(0x0304)))
    name_end = stream.index(b"kept.example") + len(b"kept.example")

    assert client_hello(stream[:name_end], final=True) == ClientHello("kept.example", (), None, ech=False)
    assert client_hello(stream[: name_end - 1], final=True) == ClientHello(None, (), None, ech=False)
    assert client_hello(stream[:40], final=True) is None
    assert client_hello(stream, final=True) == ClientHello("kept.example", (), "1.3", ech=False)
    assert client_hello(b"", final=True) is None
    assert client_hello_body(stream[5:name_end], final=True) == client_hello(stream[:name_end], final=True)
    assert client_hello_body(b"\x01", final=True) is None


@pytest.mark.parametrize(
    "stream",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00",  # SSL 2.0
        b"\x16\x02",
        b"\x16\x03\x01\x00\x00" + records(BROWSER),  # an empty record
        b"\x16\x03\x01\x40\x01\x01\x00\x00\x00",  # a record over 2^14
        b"\x16\x03\x01\x00\x04\x01\x02\x00\x01",  # a message over 2^17
        records(BROWSER[:50]) + b"\x17\x03\x03\x00\x01x",  # another content type between
        records(answer()),
        records(message(1, b"\x03\x03" + bytes(32) + b"\x21" + bytes(60))),  # session id over 32
        records(message(1, b"\x03\x03" + bytes(32) + b"\x00\x00")),  # cipher suites cut
        records(message(1, b"\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01")),  # no compression methods
        records(message(1, b"\x03\x03" + bytes(32) + b"\x00\x00\x02\x13\x01\x09\x00")),  # those cut
        records(message(1, b"")),
    ],
)
def test_what_is_no_client_hello(stream: bytes) -> None:
    """Other protocols and hellos whose fixed part is damaged give nothing."""
    assert client_hello(stream) is None


def test_versions_agreed() -> None:
    """The selected version comes from supported_versions, else from the legacy field."""
    selected = extension(43, b"\x03\x04")

    assert server_hello_version(records(answer(extension(51, bytes(36)), selected))) == "1.3"
    assert server_hello_version(records(answer(extension(0xFF01, b"\x00")))) == "1.2"
    assert server_hello_version(records(answer(legacy=0x0301))) == "1.0"
    assert server_hello_version(records(answer(legacy=0x7F12))) == "1.3"
    assert server_hello_version(records(answer(legacy=0x0300))) is None
    assert server_hello_version(records(answer(extension(43, b"\x5a\x5a")))) is None


def test_a_warning_before_the_server_hello_is_passed_over() -> None:
    """Servers answer an unknown name with an alert and go on; the version still counts."""
    alert = b"\x15\x03\x03\x00\x02\x01\x70"

    assert server_hello_version(alert + records(answer())) == "1.2"
    assert isinstance(server_hello_version(alert), Need)
    assert server_hello_version(alert, final=True) is None


def test_damaged_server_hellos() -> None:
    """A ServerHello whose extensions are damaged or cut has no version; another message is none."""
    stream = records(answer(extension(51, bytes(36)), extension(43, b"\x03\x04")))

    assert server_hello_version(records(answer(struct.pack("!HH", 51, 99)))) is None
    assert server_hello_version(stream[:-6], final=True) is None
    assert server_hello_version(stream[:44], final=True) is None
    assert server_hello_version(stream[:20], final=True) is None
    assert server_hello_version(stream[:-1]) == Need(len(stream))
    assert server_hello_version(records(BROWSER)) is None


def test_host_text() -> None:
    """Only ASCII letters change case, and one dot goes."""
    assert host_text("ÀB.Example..".encode()) == "Àb.example."


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_answered(raw: bytes, final: bool) -> None:
    """No input raises, and a need is always for more than was given."""
    for prefix in (b"", b"\x16\x03\x01\x00\xc8", b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03" + bytes(33)):
        stream = prefix + raw
        for result in (client_hello(stream, final=final), server_hello_version(stream, final=final)):
            assert not isinstance(result, Need) or (result.total > len(stream) and not final)
    client_hello_body(b"\x01\x00\x00" + raw, final=final)


@given(st.integers(0, len(BROWSER) - 1), st.integers(0, 255), st.integers(1, 400), st.booleans())
def test_any_changed_byte_is_survived(at: int, value: int, size: int, final: bool) -> None:
    """A hello with any byte changed, in any fragments, gives one of the three answers."""
    changed = BROWSER[:at] + bytes([value]) + BROWSER[at + 1 :]

    result = client_hello(records(changed, size), final=final)

    assert result is None or isinstance(result, ClientHello | Need)


def first_stream(capture: Path) -> bytes:
    """Bytes of the first side that speaks in an Ethernet, IPv4, little-endian pcap, in sequence order."""
    raw = capture.read_bytes()
    side: bytes | None = None
    pieces: dict[int, bytes] = {}
    at = 24
    while at < len(raw):
        (size,) = struct.unpack_from("<8xI", raw, at)
        frame = raw[at + 16 : at + 16 + size]
        at += 16 + size
        packet = frame[14 : 14 + int.from_bytes(frame[16:18], "big")]
        segment = packet[(packet[0] & 15) * 4 :]
        data = segment[(segment[12] >> 4) * 4 :]
        side = side or (segment[:4] if data else None)
        if data and segment[:4] == side:
            pieces.setdefault(int.from_bytes(segment[4:8], "big"), data)
    return b"".join(pieces[number] for number in sorted(pieces))


@pytest.mark.shared
@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the shared captures are not beside this checkout")
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("zeek-tls13draft23-chrome67.0.3368.0-canary.pcap", "tls13.crypto.mozilla.org"),
        ("suricata-tls-tls-client-hello-frag-01-dump_mtu300.pcap", "www.google.com"),
        ("zeek-chrome-1250-tls-x25519-kyber.pcap", "lh3.google.com"),
        ("zeek-chrome-34-google.pcap", "google.de"),
        ("zeek-client-certificate.pcap", "certauth.idrix.fr"),
        ("zeek-tls-early-alert.pcap", "jeffbryner.com"),
        ("zeek-tls1.2.pcap", None),
    ],
)
def test_real_captures(file: str, name: str | None) -> None:
    """The names that tshark reads from real captures (INDEX.md) are read here too."""
    result = client_hello(first_stream(CAPTURES / file))

    assert isinstance(result, ClientHello)
    assert result.server_name == name
