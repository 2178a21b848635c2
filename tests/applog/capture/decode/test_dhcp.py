"""DHCP messages: devices, addresses and names out of crafted and damaged bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applog.capture.decode.dhcp import INFINITE, V4, V4_TYPES, V6, V6_TYPES, v4, v6

MAC = bytes.fromhex("02005e10aabb")
ADDRESS, SERVER = bytes([10, 0, 0, 7]), bytes([10, 0, 0, 1])
ADDRESS6 = bytes.fromhex("20010db8000000000000000000000007")
DUID = b"\x00\x01\x00\x01" + b"\x2e\x00\x00\x00" + MAC


def option(code: int, value: bytes) -> bytes:
    """A DHCPv4 option."""
    return bytes([code, len(value)]) + value


def offer(
    *options: bytes,
    op: int = 2,
    hardware: tuple[int, int] = (1, 6),
    yiaddr: bytes = ADDRESS,
    giaddr: bytes = bytes(4),
    sname: bytes = b"",
    file: bytes = b"",
) -> bytes:
    """A DHCPv4 message with these options and an end option."""
    fixed = struct.pack("!4BIHH4s4s4s4s", op, *hardware, 0, 0xCAFE, 0, 0, bytes(4), yiaddr, bytes(4), giaddr)
    fixed += MAC.ljust(16, b"\0") + sname.ljust(64, b"\0") + file.ljust(128, b"\0")
    return fixed + b"\x63\x82\x53\x63" + b"".join(options) + b"\xff"


ACK = offer(
    option(53, b"\x05"),
    b"\x00\x00",
    option(54, SERVER),
    option(51, struct.pack("!I", 3600)),
    option(12, b"Nok-Laptop\x00"),
    option(61, b"\x01" + MAC),
)


def option6(code: int, value: bytes) -> bytes:
    """A DHCPv6 option."""
    return struct.pack("!HH", code, len(value)) + value


def address6(lifetime: int, address: bytes = ADDRESS6) -> bytes:
    """An IA address option with a status inside."""
    return option6(5, address + struct.pack("!II", lifetime // 2, lifetime) + option6(13, b"\x00\x00"))


def relayed(inner: bytes, *options: bytes, kind: int = 12) -> bytes:
    """A message inside what a relay puts around it."""
    return bytes([kind, 0]) + bytes(32) + b"".join(options) + option6(9, inner)


REPLY = (
    b"\x07\x00\xca\xfe"
    + option6(2, b"\x00\x03\x00\x01" + bytes(6))
    + option6(1, DUID)
    + option6(3, bytes(12) + address6(7200))
    + option6(4, bytes(4) + address6(INFINITE))
    + option6(39, b"\x00\x06Nok-PC\x02th\x00")
)


def test_an_acknowledgement_is_read() -> None:
    """Everything that ties a device to an address, zero addresses as None, the name without its NUL."""
    assert v4(ACK) == V4(
        op=2,
        message_type=5,
        xid=0xCAFE,
        client_mac=MAC,
        yiaddr=ADDRESS,
        ciaddr=None,
        requested_ip=None,
        server_id=SERVER,
        lease_seconds=3600,
        host_name="Nok-Laptop",
        client_id=b"\x01" + MAC,
        relay=False,
    )
    assert V4_TYPES[5] == "ACK"


def test_leases_without_end() -> None:
    """A lease that never ends is INFINITE; a lease of no seconds is zero, not unobserved."""
    endless = v4(offer(option(51, b"\xff" * 4)))
    ended = v4(offer(option(51, bytes(4))))
    unsaid = v4(offer(option(51, b"\xff" * 3)))

    assert endless is not None
    assert endless.lease_seconds == INFINITE
    assert ended is not None
    assert ended.lease_seconds == 0
    assert unsaid is not None
    assert unsaid.lease_seconds is None


def test_long_and_overloaded_options_are_joined() -> None:
    """One option's parts are joined over options, file and sname, in this order (RFC 3396 5)."""
    data = offer(
        option(52, b"\x03"),
        option(12, b"one-"),
        option(12, b"two-"),
        file=option(12, b"three-") + option(50, ADDRESS) + b"\xff",
        sname=option(12, b"four") + b"\xff",
    )

    result = v4(data)

    assert result is not None
    assert result.host_name == "one-two-three-four"
    assert result.requested_ip == ADDRESS


@pytest.mark.parametrize(
    ("overload", "name"), [(b"\x01", "file"), (b"\x02", "sname"), (b"", None), (b"\x03\x03", None)]
)
def test_fields_are_options_only_if_said(overload: bytes, name: str | None) -> None:
    """Fields sname and file hold options only where option 52 says so (RFC 2132 9.3)."""
    data = offer(
        option(52, overload), file=option(12, b"file") + b"\xff", sname=option(12, b"sname") + b"\xff"
    )

    result = v4(data)

    assert result is not None
    assert result.host_name == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b"\x00\x00\x00pc.example.", "pc.example"),
        (b"\x04\x00\x00\x02PC\x07example\x00", "PC.example"),
        (b"\x04\x00\x00\x02pc", "pc"),
        (b"\x04\x00\x00\x09pc", None),
        (b"\x04\x00\x00\x00", None),
        (b"\x00\x00\x00", None),
        (b"", None),
    ],
)
def test_full_names(value: bytes, name: str | None) -> None:
    """Option 81 is read as labels or as text, as its E bit says; option 12 comes before it."""
    alone = v4(offer(option(81, value)))
    beside = v4(offer(option(81, value), option(12, b"short")))

    assert alone is not None
    assert alone.host_name == name
    assert beside is not None
    assert beside.host_name == "short"


def test_relays_and_hardware() -> None:
    """A giaddr or option 82 is a relay; only an Ethernet address that is not zero is a MAC."""
    gateway = v4(offer(giaddr=SERVER))
    agent = v4(offer(option(82, b"\x01\x01a")))
    infiniband = v4(offer(hardware=(32, 0)))
    short = v4(offer(hardware=(1, 5)))

    assert gateway is not None
    assert gateway.relay
    assert agent is not None
    assert agent.relay
    assert infiniband is not None
    assert infiniband.client_mac is None
    assert short is not None
    assert short.client_mac is None


def test_damaged_options_end_the_list() -> None:
    """The options before an option that is cut count, and a message without type 53 is BOOTP."""
    result = v4(ACK[: ACK.index(b"Nok-Laptop")])
    bootp = v4(offer())

    assert result is not None
    assert (result.message_type, result.lease_seconds, result.host_name) == (5, 3600, None)
    assert bootp is not None
    assert V4_TYPES[bootp.message_type] == "BOOTP"


@pytest.mark.parametrize("data", [b"", ACK[:239], offer(op=3), ACK[:236] + b"\x00\x00\x00\x00" + ACK[240:]])
def test_what_is_no_dhcp_is_declined(data: bytes) -> None:
    """Short messages, other operations and another cookie are None."""
    assert v4(data) is None


def test_a_reply_is_read() -> None:
    """Addresses of both kinds with their lifetimes, the client's DUID and the MAC in it, the full name."""
    assert v6(REPLY) == V6(
        message_type=7,
        xid=0xCAFE,
        client_duid=DUID,
        duid_mac=MAC,
        client_mac=None,
        addresses=((ADDRESS6, 7200), (ADDRESS6, INFINITE)),
        host_name="Nok-PC.th",
        relay=False,
    )
    assert (V6_TYPES[7], V6_TYPES[13], V6_TYPES[36]) == ("REPLY", "RELAY-REPL", "ADDR-REG-INFORM")


@pytest.mark.parametrize(
    ("duid", "mac"),
    [
        (b"\x00\x03\x00\x01" + MAC, MAC),
        (b"\x00\x03\x00\x20" + MAC, None),
        (b"\x00\x02\x00\x01" + MAC, None),
        (b"\x00\x04" + bytes(16), None),
        (b"\x00\x01\x00\x01" + MAC, None),
        (b"\x00", None),
    ],
)
def test_hardware_addresses_in_duids(duid: bytes, mac: bytes | None) -> None:
    """Only link-layer DUIDs of Ethernet hold a MAC (RFC 8415 11.2, 11.4)."""
    result = v6(b"\x01\x00\x00\x01" + option6(1, duid))

    assert result is not None
    assert (result.client_duid, result.duid_mac) == (duid, mac)


def test_relays_are_unwrapped() -> None:
    """Up to 8 relays are taken off; the link-layer address of the one nearest to the client counts."""
    near = relayed(REPLY, option6(79, b"\x00\x01" + MAC), kind=13)
    far = relayed(near, option6(79, b"\x00\x01" + bytes(5) + b"\x01"), option6(18, b"port"))
    deep = REPLY
    for _ in range(8):
        deep = relayed(deep)

    result = v6(far)
    deepest = v6(deep)

    assert result is not None
    assert (result.message_type, result.client_mac, result.relay) == (7, MAC, True)
    assert deepest is not None
    assert deepest.addresses == ((ADDRESS6, 7200), (ADDRESS6, INFINITE))
    assert v6(relayed(deep)) is None


@pytest.mark.parametrize(
    "value", [b"\x00\x06" + MAC, b"\x00\x01" + MAC + b"\x00", b"\x00\x01" + bytes(6), b""]
)
def test_other_link_layers_are_no_mac(value: bytes) -> None:
    """Option 79 counts for Ethernet, with six bytes that are not all zero."""
    result = v6(relayed(REPLY, option6(79, value)))

    assert result is not None
    assert result.client_mac is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\x07\x00\x00", b"\x00\x00\x00\x01", b"\xc8\x00\x00\x01", relayed(b""), b"\x0c" + bytes(33)],
)
def test_what_is_no_dhcpv6_is_declined(data: bytes) -> None:
    """Short messages, unknown types and relays that carry nothing are None."""
    assert v6(data) is None


def test_damaged_options_end_their_own_list() -> None:
    """A cut address inside an association ends that list only; a cut option ends the message's."""
    cut = address6(60)[:-10]
    data = (
        b"\x03\x00\x00\x01"
        + option6(3, bytes(12) + cut)
        + option6(3, bytes(3))
        + option6(3, bytes(12) + address6(9))
    )

    result = v6(data + option6(39, b"\x00\x02pc\x00")[:-1])

    assert result is not None
    assert result.addresses == ((ADDRESS6, 9),)
    assert result.host_name is None


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(raw: bytes) -> None:
    """No input raises, bare or behind a valid beginning."""
    for data in (raw, ACK[:240] + raw, ACK[:240] + b"\x34\x01\x03" + raw):
        v4(data)
    for data in (raw, b"\x01" + raw, relayed(raw), REPLY[:4] + raw):
        v6(data)


@given(st.integers(0, 1000), st.integers(0, 255))
def test_any_changed_byte_is_survived(at: int, value: int) -> None:
    """A message with any byte changed is read or declined, and its addresses keep their sizes."""
    for valid, read in ((ACK, v4), (relayed(REPLY), v6)):
        place = at % len(valid)
        result = read(valid[:place] + bytes([value]) + valid[place + 1 :])
        if isinstance(result, V6):
            assert all(len(address) == 16 for address, _ in result.addresses)
        else:
            assert result is None or len(result.client_mac or MAC) == 6
