"""A search is understood as one tree, or refused with the column and what was expected."""

import ipaddress
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applog.errors import QueryError
from applog.records import DNS, FLOW
from applog.search.query import All, And, Node, Not, Op, Or, Query, Span, Target, Term, parse_query
from captive_portal.records import LEASE
from retention.dataset import Kind
from retention.records import AUDIT, COVERAGE

DATASETS = (FLOW, DNS, LEASE, COVERAGE, AUDIT)
NOW = int(datetime(2026, 11, 22, 10, 15, 30, tzinfo=timezone(timedelta(hours=7))).timestamp()) * 1_000_000
DAY = 86_400_000_000
THE_22ND = NOW - NOW % DAY - 7 * 3_600_000_000

SOURCE_PORT = Target(Kind.INTEGER, ("source.port",))
DESTINATION_PORT = Target(Kind.INTEGER, ("destination.port",))
DOMAIN = Target(Kind.TEXT, ("destination.domain",))
USER_NAME = Target(Kind.TEXT, ("user.name",))
USER_ID = Target(Kind.TEXT, ("user.id",))
SOURCE_IP = Target(Kind.IP, ("source.ip",))
DESTINATION_IP = Target(Kind.IP, ("destination.ip",))
SOURCE_MAC = Target(Kind.MAC, ("source.mac",))
DESTINATION_MAC = Target(Kind.MAC, ("destination.mac",))
BYTES = Target(Kind.INTEGER, ("source.bytes", "destination.bytes"))
TIME = Target(Kind.TIMESTAMP, ("@timestamp",))


def parsed(text: str) -> Query:
    """The search over every dataset there is."""
    return parse_query(text, DATASETS, now=NOW)


def ast(text: str) -> Node:
    """Its tree."""
    return parsed(text).ast


def refused(text: str) -> QueryError:
    """The error that *text* gets."""
    with pytest.raises(QueryError) as caught:
        parsed(text)
    return caught.value


def either(op: Op, value: str | int | bytes | Span | None, *targets: Target) -> Or:
    """One comparison with any of several columns."""
    return Or(tuple(Term(target, op, value) for target in targets))


def port(number: int) -> Or:
    """``port:number``."""
    return either(Op.EQUALS, number, SOURCE_PORT, DESTINATION_PORT)


def user(name: str) -> Or:
    """``user:name``."""
    return either(Op.EQUALS, name, USER_NAME, USER_ID)


def packed(address: str) -> bytes:
    """The address as stored."""
    return ipaddress.ip_address(address).packed


def network(text: str) -> Span:
    """First and last address."""
    found = ipaddress.ip_network(text)
    return Span(found.network_address.packed, found.broadcast_address.packed)


def test_the_example_of_the_design() -> None:
    """Aliases spread over their columns; terms side by side are ANDed."""
    assert parsed("ip:203.0.113.0/24 port:443 host:*.example.com bytes:>1mb") == Query(
        And(
            (
                either(Op.WITHIN, network("203.0.113.0/24"), SOURCE_IP, DESTINATION_IP),
                port(443),
                Term(DOMAIN, Op.MATCHES, "*.example.com"),
                Term(BYTES, Op.WITHIN, Span(1_000_001, None)),
            )
        ),
        "flow",
    )


@pytest.mark.parametrize("text", ["", "  ", "*", "dataset:flow", "dataset:flow *"])
def test_nothing_finds_everything(text: str) -> None:
    """An empty search, or a star, is every record."""
    assert parsed(text) == Query(All(), "flow")


A, B, C = port(1), port(2), port(3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port:1 port:2 port:3", And((A, B, C))),
        ("port:1 AND port:2 port:3", And((A, B, C))),
        ("port:1 && port:2", And((A, B))),
        ("port:1&&port:2||port:3", Or((And((A, B)), C))),
        ("port:1 OR port:2 AND port:3", Or((A, And((B, C))))),
        ("port:1 port:2 OR port:3", And((A, Or((B, C))))),
        ("port:1 OR port:2 port:3", And((Or((A, B)), C))),
        ("port:1 OR port:2 -port:3", And((Or((A, B)), Not(C)))),
        ("port:1 OR port:2 NOT port:3", And((Or((A, B)), Not(C)))),
        ("NOT port:1 port:2", And((Not(A), B))),
        ("!port:1 AND -(port:2 OR port:3)", And((Not(A), Not(Or((B, C)))))),
        ("! port:1", Not(A)),
        ("+port:1 -port:2", And((A, Not(B)))),
        ("port:(1 OR 2)", Or((A, B))),
        ("port:(1 -2)", And((A, Not(B)))),
        ("port: 1", A),
        ("((port:1))", A),
    ],
)
def test_operators_bind_as_documented(text: str, expected: Node) -> None:
    """NOT, then AND, then OR, then standing side by side; whatever the spelling."""
    assert ast(text) == expected


def ports(low: int | None, high: int | None) -> Or:
    """A span of ports."""
    return either(Op.WITHIN, Span(low, high), SOURCE_PORT, DESTINATION_PORT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("port:[80 TO 443]", ports(80, 443)),
        ("port:{80 TO 443}", ports(81, 442)),
        ("port:[80 TO 443}", ports(80, 442)),
        ("port:[80 TO *]", ports(80, None)),
        ("port:[* TO 80}", ports(None, 79)),
        ("port:>80", ports(81, None)),
        ("port:>= 80", ports(80, None)),
        ("port:<80", ports(None, 79)),
        ("port:<=80", ports(None, 80)),
        ("port:(>=80 AND <90)", And((ports(80, None), ports(None, 89)))),
        ("port:*", either(Op.PRESENT, None, SOURCE_PORT, DESTINATION_PORT)),
        ("port:[* TO *]", either(Op.PRESENT, None, SOURCE_PORT, DESTINATION_PORT)),
        ("port:๔๔๓", port(443)),
        (
            "src:[10.0.0.1 TO 10.0.0.9}",
            Term(SOURCE_IP, Op.WITHIN, Span(packed("10.0.0.1"), packed("10.0.0.8"))),
        ),
        ("src:>=255.255.255.0", Term(SOURCE_IP, Op.WITHIN, network("255.255.255.0/24"))),
        ("@timestamp:2026-11-22", Term(TIME, Op.WITHIN, Span(THE_22ND, THE_22ND + DAY - 1))),
        ("@timestamp:>22/11/2569", Term(TIME, Op.WITHIN, Span(THE_22ND + DAY, None))),
        ("@timestamp:<=2026-11-22", Term(TIME, Op.WITHIN, Span(None, THE_22ND + DAY - 1))),
        ("@timestamp:<2026-11-22", Term(TIME, Op.WITHIN, Span(None, THE_22ND - 1))),
        ("@timestamp:>=2026-11-22T10:15:30", Term(TIME, Op.WITHIN, Span(NOW, None))),
        ('@timestamp:["2026-11-22 10:15:30" TO now]', Term(TIME, Op.WITHIN, Span(NOW, NOW))),
        ("@timestamp:>=1d", Term(TIME, Op.WITHIN, Span(NOW - DAY, None))),
        (
            "tls.client.ech_extension:TRUE",
            Term(Target(Kind.BOOLEAN, ("tls.client.ech_extension",)), Op.EQUALS, True),
        ),
        ("tls.client.alpn:h2", Term(Target(Kind.TEXTS, ("tls.client.alpn",)), Op.EQUALS, "h2")),
        ("app:tls", Term(Target(Kind.TEXT, ("network.protocol",)), Op.EQUALS, "tls")),
        ("proto:udp", Term(Target(Kind.TEXT, ("network.transport",)), Op.EQUALS, "udp")),
    ],
)
def test_comparisons_become_closed_spans(text: str, expected: Node) -> None:
    """Every range, of numbers, addresses or times, is one span with both ends inside."""
    assert ast(text) == expected


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1mb", 10**6),
        ("1MiB", 2**20),
        ("1.5gib", 3 * 2**29),
        ("2kb", 2000),
        ("7", 7),
        ("7b", 7),
        ("1tb", 10**12),
    ],
)
def test_sizes_have_units(written: str, size: int) -> None:
    """Thousands for kb, 1024s for kib; only for bytes."""
    assert ast(f"bytes:{written}") == Term(BYTES, Op.EQUALS, size)
    assert refused(f"source.packets:{size}kb").column == 16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ip:2001:db8::/32", either(Op.WITHIN, network("2001:db8::/32"), SOURCE_IP, DESTINATION_IP)),
        ("ip:::1", either(Op.EQUALS, packed("::1"), SOURCE_IP, DESTINATION_IP)),
        ("2001:db8::1", either(Op.EQUALS, packed("2001:db8::1"), SOURCE_IP, DESTINATION_IP)),
        ("(::1)", either(Op.EQUALS, packed("::1"), SOURCE_IP, DESTINATION_IP)),
        ("192.0.2.1", either(Op.EQUALS, packed("192.0.2.1"), SOURCE_IP, DESTINATION_IP)),
        ("192.0.2.1/32", either(Op.EQUALS, packed("192.0.2.1"), SOURCE_IP, DESTINATION_IP)),
        ("192.0.2.9/24", either(Op.WITHIN, network("192.0.2.0/24"), SOURCE_IP, DESTINATION_IP)),
        ("src:::ffff:192.0.2.1", Term(SOURCE_IP, Op.EQUALS, packed("::ffff:192.0.2.1"))),
        ("dst:(2001:db8::1 OR ::2)", either(Op.EQUALS, packed("2001:db8::1"), DESTINATION_IP).parts[0]),
    ],
)
def test_addresses_need_no_quotes(text: str, expected: Node) -> None:
    """Colons of an address belong to it, with or without a field; a mapped address stays IPv6."""
    found = ast(text)

    assert (found.parts[0] if text.startswith("dst:(") and isinstance(found, Or) else found) == expected


@pytest.mark.parametrize(
    "written",
    ["aa:bb:cc:dd:ee:0f", "AA-BB-CC-DD-EE-0F", "Aa:bB:cc:dd:ee:0F", "aabb.ccdd.ee0f", '"aa:bb:cc:dd:ee:0f"'],
)
def test_macs_are_read_in_every_spelling(written: str) -> None:
    """Colons, hyphens or dots, any case."""
    expected = either(Op.EQUALS, bytes.fromhex("aabbccddee0f"), SOURCE_MAC, DESTINATION_MAC)

    assert ast(f"mac:{written}") == expected
    assert ast(f"mac:({written} OR *)") == Or(
        (expected, either(Op.PRESENT, None, SOURCE_MAC, DESTINATION_MAC))
    )


def test_a_bare_mac_is_looked_for_among_macs() -> None:
    """Without a field, too."""
    assert ast("aa-bb-cc-dd-ee-0f") == ast("aa:bb:cc:dd:ee:0f") == ast("mac:aa-bb-cc-dd-ee-0f")


def test_a_bare_word_is_looked_for_in_host_and_user() -> None:
    """Whatever is no address; wildcards and quotes included."""
    assert ast("somchai") == either(Op.EQUALS, "somchai", DOMAIN, USER_NAME, USER_ID)
    assert ast("som*") == either(Op.MATCHES, "som*", DOMAIN, USER_NAME, USER_ID)
    assert ast('"สมชาย ใจดี"') == either(Op.EQUALS, "สมชาย ใจดี", DOMAIN, USER_NAME, USER_ID)


@pytest.mark.parametrize(
    ("text", "op", "value"),
    [
        ('user.name:"a b"', Op.EQUALS, "a b"),
        ('user.name:"a*b"', Op.EQUALS, "a*b"),
        (r'user.name:"a\"b\\c"', Op.EQUALS, r"a\"b\c".replace("\\", "", 1)),
        (r"user.name:a\*b", Op.EQUALS, "a*b"),
        (r"user.name:a\*b*", Op.MATCHES, r"a\*b*"),
        (r"user.name:a\ b", Op.EQUALS, "a b"),
        (r"user.name:\-x", Op.EQUALS, "-x"),
        (r"user.name:a\\x?", Op.MATCHES, r"a\\x?"),
        ("user.name:x@kku.ac.th", Op.EQUALS, "x@kku.ac.th"),
        ("user.name:KKU-1/2+3", Op.EQUALS, "KKU-1/2+3"),
        ("user.name:a'b", Op.EQUALS, "a'b"),
        ('user.name:"OR"', Op.EQUALS, "OR"),
        ("user.name:http://x", Op.EQUALS, "http://x"),
    ],
)
def test_quotes_and_escapes_make_characters_plain(text: str, op: Op, value: str) -> None:
    """In quotes nothing is a wildcard; a backslash does the same for one character."""
    assert ast(text) == Term(USER_NAME, op, value)


def test_host_names_are_tried_in_their_wire_form() -> None:
    """A Thai name is looked for as typed and as ``xn--``; a final dot is no part of a name."""
    assert ast("host:ไทย.com") == Or(
        (Term(DOMAIN, Op.EQUALS, "ไทย.com"), Term(DOMAIN, Op.EQUALS, "xn--o3cw4h.com"))
    )
    assert ast('host:"ก ข"') == Term(DOMAIN, Op.EQUALS, "ก ข")
    assert ast("host:*.ไทย") == Or(
        (Term(DOMAIN, Op.MATCHES, "*.ไทย"), Term(DOMAIN, Op.MATCHES, "*.xn--o3cw4h"))
    )
    assert ast("host:example.com.") == Term(DOMAIN, Op.EQUALS, "example.com")
    assert ast(f"host:{'ก' * 99}.com") == Term(DOMAIN, Op.EQUALS, "ก" * 99 + ".com")


def test_a_dataset_is_chosen_at_the_top() -> None:
    """``dataset:`` may stand anywhere among the ANDed terms, and aliases follow it."""
    query = parsed("ip:192.0.2.1 AND dataset:dns")

    assert query.dataset_name == "dns"
    assert query.ast == Or(
        (
            Term(SOURCE_IP, Op.EQUALS, packed("192.0.2.1")),
            Term(DESTINATION_IP, Op.EQUALS, packed("192.0.2.1")),
            Term(Target(Kind.IPS, ("dns.resolved_ip",)), Op.EQUALS, packed("192.0.2.1")),
        )
    )
    assert parsed("event.dataset:lease host:printer").ast == Term(
        Target(Kind.TEXT, ("host.hostname",)), Op.EQUALS, "printer"
    )
    assert parsed("dataset:coverage bytes:>0").ast == Term(
        Target(Kind.INTEGER, ("coverage.bytes",)), Op.WITHIN, Span(1, None)
    )


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("usr:x", 1, "did you mean user"),
        ("port:1 destination.prt:2", 8, "destination.port"),
        ("PORT:1", 1, "did you mean port"),
        ("zzzz:1", 1, "expected a field such as"),
        ("dns.question.name:x", 1, "dns has: add dataset:dns"),
        ("dataset:lease port:1", 15, "flow, dns has: add dataset:flow or dataset:dns"),
        ("dataset:coverage somchai", 18, "no host or user to look in"),
        ("dataset:audit 192.0.2.1", 15, "no ip to look in"),
        ("dataset:nat", 9, "one of flow, dns, lease"),
        ("dataset:d*", 9, "one of flow, dns, lease"),
        ("dataset:(dns OR flow)", 1, "one of flow, dns, lease"),
        ("dataset:dns dataset:flow", 13, "one dataset"),
        ("port:1 OR dataset:dns", 11, "stands at the top"),
        ("port:1 -dataset:dns", 9, "stands at the top"),
        ("(dataset:dns)", 2, "stands at the top"),
        ("port:https", 6, "a port from 0 to 65535, found 'https'"),
        ("port:65536", 6, "a port from 0 to 65535"),
        ("port:-1", 6, "for NOT write it before the field"),
        ("port:1.5", 6, "a port"),
        ("network.vlan.id:1mb", 17, "a whole number from 0"),
        ("bytes:1zb", 7, "a size such as"),
        ("bytes:1.0000001kb", 7, "a size such as"),
        ("bytes:99999999tb", 7, "a size such as"),
        ("ip:10.0.*", 4, "text fields only"),
        ("ip:300.0.0.1", 4, "an address or network"),
        ("ip:fe80::1%eth0", 4, "an address or network"),
        ("ip:10.0.0.0/33", 4, "an address or network"),
        ("ip:10.0.0.1:443", 4, "an address or network"),
        ("ip:[10.0.0.1 TO ::1]", 5, "one family"),
        ("ip:[10.0.0.1 TO 10.0.0.0/24]", 17, "an address or network"),
        ("ip:>fe80::1%eth0", 5, "an address or network"),
        ("ip:<0.0.0.0", 5, "nothing can lie"),
        ("mac:aa:bb:cc", 5, "a MAC address"),
        ("mac:>aa:bb:cc:dd:ee:ff", 6, "ranges need a field of"),
        ("tls.client.ech_extension:1", 26, "true or false"),
        ("@timestamp:31/04/2569", 12, "no such date"),
        ("@timestamp:>soon", 13, "2h"),
        ("host:[a TO b]", 7, "ranges need a field of"),
        ("host:>a", 7, "ranges need a field of"),
        ("port:[443 TO 80]", 7, "nothing can lie"),
        ("port:{5 TO 6}", 7, "nothing can lie"),
        ("port:[1* TO 2]", 7, "* alone"),
        ("port:[1 2]", 9, "did not expect '2'"),
        ("port:[1 TO ]", 12, "did not expect ']'"),
        ("port:[1 TO (2)]", 12, "expected a value or ]"),
        ("port:[1 TO 2)", 13, "expected ], found )"),
        ("port:[1 TO 2", 6, "this [ is not closed"),
        ("[1 TO 2]", 2, "needs a field"),
        (">5", 2, "needs a field"),
        ("user:/som.*/", 6, "regular expressions"),
        ("/som.*/", 1, "regular expressions"),
        ("user:som~", 9, "fuzzy"),
        ("user:som~2 x", 9, "fuzzy"),
        ('user:"a b"~2', 11, "proximity"),
        ("user:som^2", 9, "boosts"),
        ("(user:som)^2", 11, "boosts"),
        ('user:""', 6, "nothing empty is stored"),
        ('user:"som', 6, "not closed"),
        ('user:som"chai"', 9, "expected a space"),
        ('"a"b', 4, "expected a space"),
        ("user:a(b)", 7, "expected a space"),
        ("user:a\\", 7, "after the backslash"),
        ("user:", 6, "the search ends"),
        ("port:1 AND", 11, "the search ends"),
        ("AND port:1", 1, "did not expect 'AND'"),
        ("port:1 OR OR port:2", 11, "did not expect 'OR'"),
        ("user:AND", 6, "quote it"),
        ("()", 2, "did not expect ')'"),
        ("(port:1", 1, "this ( is not closed"),
        ("port:1)", 7, "never opened"),
        (":x", 1, "the name of a field"),
        ("port:1 or port:2", 8, "write OR in capitals"),
        ("+port:1 OR port:2", 1, "no meaning beside OR"),
        ("port:1 - port:2", 8, "right after -"),
        ("user:(a OR port:3)", 12, "inside another's parentheses"),
        ("user:(a OR (port:3))", 13, "inside another's parentheses"),
        ("user:port:3", 0, ""),
        ("ไทย port:x", 10, "a port"),
        ("ip:2001:db8::1 port:x", 21, "a port"),
        ("mac:aa:bb:cc:dd:ee:ff && port:x", 31, "a port"),
        ('user:"a\\"b" port:x', 18, "a port"),
        ("user:a\x00b", 7, "control character"),
        ("user:a\udc80", 7, "broken text"),
    ],
)
def test_a_refusal_names_the_column_and_what_was_expected(text: str, column: int, reason: str) -> None:
    """Columns count what the person typed, from 1, whatever stands before."""
    if not column:  # the control: after a field, a colon is the value's
        assert ast(text) == user("port:3")
        return
    error = refused(text)

    assert (error.column, reason in error.reason) == (column, True), str(error)
    assert error.exit_code == 5


@pytest.mark.parametrize(
    ("text", "column", "reason"),
    [
        ("x" * 4097, 4097, "at most 4096 characters"),
        (" ".join(["x"] * 201), 401, "at most 200 terms"),
        ("(" * 51 + "x" + ")" * 51, 51, "at most 50 levels"),
        ("!" * 51 + "x", 51, "at most 50 levels"),
        ("NOT " * 51 + "x", 201, "at most 50 levels"),
        ("!(" * 26 + "x" + ")" * 26, 51, "at most 50 levels"),
        ("-user:(" + "-(" * 25 + "x" + ")" * 26, 56, "at most 50 levels"),
    ],
)
def test_hostile_size_and_depth_are_refused(text: str, column: int, reason: str) -> None:
    """Limits hold before anything recurses."""
    error = refused(text)

    assert error.column == column
    assert reason in error.reason


@pytest.mark.parametrize(
    "text",
    [
        "x" * 4096,
        " ".join(["x"] * 200),
        "(" * 50 + "x" + ")" * 50,
        "!" * 50 + "x",
        "!(" * 25 + "x" + ")" * 25,
    ],
)
def test_the_limits_themselves_are_allowed(text: str) -> None:
    """The control of the test above."""
    assert ast(text) is not None


WORDS = "user: ip: port: mac: dataset: bytes:> TO AND OR NOT && || <= 10.0.0.1 ::1 443 1mb som* dns ไทย 2h --"
FRAGMENTS = st.sampled_from([*"()[]{}+-*?\"\\/~^:!;'%", "aa:bb:cc:dd:ee:ff", "2026-11-22", *WORDS.split()])


@settings(max_examples=400)
@given(st.lists(st.one_of(FRAGMENTS, st.just(" "), st.text(max_size=3)), max_size=25))
def test_only_query_errors_leave(pieces: list[str]) -> None:
    """Any text is a search or a QueryError whose column lies in it or right after it."""
    text = "".join(pieces)
    column = 1
    try:
        parsed(text)
    except QueryError as error:
        column = error.column

    assert 1 <= column <= len(text) + 1


def test_threads_may_parse_at_once() -> None:
    """The console's threads share one grammar and do not disturb each other."""
    wrong: list[str] = []

    def work(number: int) -> None:
        expected = Or((port(number), And((A, B))))
        found = [ast(f"port:{number} OR (port:1 AND port:2)") for _ in range(30)]
        wrong.extend(str(one) for one in found if one != expected)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


def test_parsing_needs_no_engine() -> None:
    """A process that only checks a search does not load DuckDB."""
    script = "import sys, applog.search.query; sys.exit('duckdb' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_an_identifier_is_exact_under_its_own_name() -> None:
    """user.id:S-1 is compared with its case, alone, in a group or with NOT; user: and patterns are not."""
    exact = Target(Kind.TEXT, ("user.id",), exact=True)

    assert ast("user.id:S-1") == Term(exact, Op.EQUALS, "S-1")
    assert ast("user.id:(a OR B)") == Or((Term(exact, Op.EQUALS, "a"), Term(exact, Op.EQUALS, "B")))
    assert ast("NOT user.id:a") == Not(Term(exact, Op.EQUALS, "a"))
    assert ast("user.id:S-*") == Term(exact, Op.MATCHES, "S-*")
    assert Term(USER_ID, Op.EQUALS, "S-1") in ast("user:S-1").parts
