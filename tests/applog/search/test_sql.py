"""The SQL answers as the tree says, whatever the values: a second, slow evaluator must agree with it."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applog.search.sql import Condition, like_pattern, quoted, where
from applog.search.tree import All, And, Node, Not, Op, Or, Span, Target, Term, columns_of
from retention.dataset import Dataset, IpAddress, Kind, MacAddress, Record, SubjectChoice, Timestamp

ODD = "x' OR 1=1 --"
"""A name that would be an attack if it were not quoted."""


class Sample(Record, frozen=True, kw_only=True):
    """A column of every kind, and one whose name is an attack."""

    end: Timestamp | None = msgspec.field(name="event.end", default=None)
    user: str | None = msgspec.field(name="user.name", default=None)
    alpn: tuple[str, ...] | None = msgspec.field(name="tls.client.alpn", default=None)
    ip: IpAddress | None = msgspec.field(name="source.ip", default=None)
    ips: tuple[IpAddress, ...] | None = msgspec.field(name="dns.resolved_ip", default=None)
    mac: MacAddress | None = msgspec.field(name="source.mac", default=None)
    sent: int | None = msgspec.field(name="source.bytes", default=None)
    received: int | None = msgspec.field(name="destination.bytes", default=None)
    ech: bool | None = msgspec.field(name="tls.client.ech_extension", default=None)
    odd: str | None = msgspec.field(name=ODD, default=None)


SAMPLE = Dataset(name="sample", record=Sample, subject=(SubjectChoice(kind="user", column="user.name"),))
LARGEST = 2**63 - 1
Find = Callable[[list[Sample], Node], list[int]]


@pytest.fixture(scope="module")
def find() -> Iterator[Find]:
    """Ordinals of the samples that DuckDB says a tree matches."""
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:

        def run(rows: list[Sample], node: Node) -> list[int]:
            table = pa.Table.from_batches([SAMPLE.batch(rows)], SAMPLE.schema)
            connection.register("stored", table.append_column("#row", pa.array(range(len(rows)), pa.int64())))
            condition = where(node)
            found = connection.execute(
                f'SELECT "#row" FROM stored WHERE {condition.sql} ORDER BY 1',  # noqa: S608
                condition.parameters,
            ).fetchall()
            return [row for (row,) in found]

        yield run


def column(name: str) -> Target:
    """One column of the samples."""
    return Target(SAMPLE.by_name[name].kind, (name,))


USER, ALPN, IP, IPS = map(column, ("user.name", "tls.client.alpn", "source.ip", "dns.resolved_ip"))
MAC, SENT, ECH, END = map(column, ("source.mac", "source.bytes", "tls.client.ech_extension", "event.end"))
TOTAL = Target(Kind.INTEGER, ("source.bytes", "destination.bytes"))


def naive(node: Node, row: Sample) -> bool:
    """The rules of ``tree.py``, in plain Python over one record."""
    if isinstance(node, All):
        return True
    if isinstance(node, Not):
        return not naive(node.part, row)
    if isinstance(node, And):
        return all(naive(part, row) for part in node.parts)
    if isinstance(node, Or):
        return any(naive(part, row) for part in node.parts)
    return naive_term(node, row)


def naive_term(term: Term, row: Sample) -> bool:
    """One comparison."""
    seen = [getattr(row, SAMPLE.by_name[name].python) for name in term.field.columns]
    observed = [value for value in seen if value is not None]
    if not observed or term.op is Op.PRESENT:
        return bool(observed)
    value: Any = sum(observed) if len(seen) > 1 else observed[0]
    elements = value if isinstance(value, tuple) else (value,)
    return any(naive_match(term, element) for element in elements)


def naive_match(term: Term, found: Any) -> bool:
    """One element."""
    value: Any = term.value
    if isinstance(value, Span):
        low: Any = value.low
        high: Any = value.high
        if isinstance(found, bytes):
            return isinstance(low, bytes) and len(found) == len(low) and low <= found <= high
        return (low is None or found >= low) and (high is None or found <= high)
    if term.op is Op.MATCHES:
        parts = re.findall(r"\\.|[^\\]", value, re.DOTALL)
        regex = "".join({"*": ".*", "?": "."}.get(part, re.escape(part[-1])) for part in parts)
        return re.fullmatch(regex, found, re.DOTALL | re.IGNORECASE) is not None
    return bool(found.lower() == value.lower() if isinstance(found, str) else found == value)


TEXTS = st.text(alphabet="aAb%_\\*?'\".; -\nก๑ี", min_size=1, max_size=4)
PATTERNS = st.lists(
    st.sampled_from(["*", "?", r"\*", r"\?", r"\\", "a", "B", "%", "_", "'", "ก"]), min_size=1, max_size=4
)
V4 = st.binary(min_size=4, max_size=4).map(lambda raw: bytes(byte % 3 for byte in raw))
V6 = st.one_of(V4.map(lambda raw: bytes(10) + b"\xff\xff" + raw), V4.map(lambda raw: raw + bytes(12)))
ADDRESSES = st.one_of(V4, V6)
MACS = st.sampled_from([bytes(6), b"\xff" * 6, bytes.fromhex("00005e005301")])
NUMBERS = st.one_of(st.integers(0, 5), st.sampled_from([LARGEST, LARGEST - 1]))
TIMES = st.integers(0, 5)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A third of them unobserved."""
    return st.one_of(strategy, strategy, st.none())


SAMPLES = st.builds(
    Sample,
    timestamp=TIMES,
    end=maybe(TIMES),
    user=maybe(TEXTS),
    alpn=maybe(st.lists(TEXTS, min_size=1, max_size=2).map(tuple)),
    ip=maybe(ADDRESSES),
    ips=maybe(st.lists(ADDRESSES, min_size=1, max_size=2).map(tuple)),
    mac=maybe(MACS),
    sent=maybe(NUMBERS),
    received=maybe(NUMBERS),
    ech=maybe(st.booleans()),
    odd=maybe(TEXTS),
)


def spans(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Span]:
    """Open at one end, or at none."""
    both = st.tuples(values, values).map(lambda pair: Span(min(pair), max(pair)))
    return st.one_of(both, values.map(lambda low: Span(low, None)), values.map(lambda high: Span(None, high)))


def terms(targets: list[Target], op: Op, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Term]:
    """Comparisons of one kind."""
    return st.builds(Term, st.sampled_from(targets), st.just(op), values)


NETWORKS = st.one_of(
    *(st.tuples(family, family).map(lambda two: Span(min(two), max(two))) for family in (V4, V6))
)
TERMS = st.one_of(
    terms([USER, ALPN, column(ODD)], Op.EQUALS, TEXTS),
    terms([USER, ALPN], Op.MATCHES, PATTERNS.map("".join)),
    terms([IP, IPS], Op.EQUALS, ADDRESSES),
    terms([IP, IPS], Op.WITHIN, NETWORKS),
    terms([MAC], Op.EQUALS, MACS),
    terms([SENT, TOTAL], Op.EQUALS, NUMBERS),
    terms([SENT, TOTAL], Op.WITHIN, spans(NUMBERS)),
    terms([END, column("@timestamp")], Op.WITHIN, spans(TIMES)),
    terms([ECH], Op.EQUALS, st.booleans()),
    terms([USER, ALPN, IPS, MAC, TOTAL, ECH, END], Op.PRESENT, st.none()),
)
PARTS = 3
NODES: st.SearchStrategy[Node] = st.recursive(
    st.one_of(TERMS, TERMS, TERMS, st.just(All())),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=1, max_size=PARTS).map(lambda parts: And(tuple(parts))),
        st.lists(inner, min_size=1, max_size=PARTS).map(lambda parts: Or(tuple(parts))),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(SAMPLES, min_size=1, max_size=8), node=NODES)
def test_duckdb_agrees_with_the_rules_of_the_tree(find: Find, rows: list[Sample], node: Node) -> None:
    """For every tree and every table, the same records."""
    assert find(rows, node) == [at for at, row in enumerate(rows) if naive(node, row)]


def test_not_keeps_what_was_not_observed(find: Find) -> None:
    """``NOT user:a`` finds records without a user, at any depth."""
    rows = [Sample(timestamp=0, user="a"), Sample(timestamp=0, user="b"), Sample(timestamp=0)]
    is_a = Term(USER, Op.EQUALS, "a")

    assert find(rows, is_a) == [0]
    assert find(rows, Not(is_a)) == [1, 2]
    assert find(rows, Not(Not(is_a))) == [0]
    assert find(rows, Not(And((is_a, Term(SENT, Op.EQUALS, 1))))) == [0, 1, 2]
    assert find(rows, Not(Or((is_a, Term(SENT, Op.EQUALS, 1))))) == [1, 2]
    assert find(rows, Not(Term(USER, Op.PRESENT))) == [2]
    assert find(rows, Not(All())) == []


def test_a_sum_counts_what_was_observed(find: Find) -> None:
    """One end unobserved: the other's bytes. Both: nothing. Two largest ends do not overflow."""
    rows = [
        Sample(timestamp=0, sent=1, received=2),
        Sample(timestamp=0, sent=3),
        Sample(timestamp=0),
        Sample(timestamp=0, sent=LARGEST, received=LARGEST),
    ]

    assert find(rows, Term(TOTAL, Op.EQUALS, 3)) == [0, 1]
    assert find(rows, Term(TOTAL, Op.WITHIN, Span(None, 10))) == [0, 1]
    assert find(rows, Term(TOTAL, Op.WITHIN, Span(LARGEST, None))) == [3]


def test_a_mapped_address_is_not_the_ipv4_address(find: Find) -> None:
    """Families never mix: the length of an address is its family."""
    v4, mapped = bytes([192, 0, 2, 1]), bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])
    rows = [Sample(timestamp=0, ip=v4), Sample(timestamp=0, ip=mapped), Sample(timestamp=0, ips=(mapped, v4))]

    assert find(rows, Term(IP, Op.EQUALS, v4)) == [0]
    assert find(rows, Term(IP, Op.EQUALS, mapped)) == [1]
    assert find(rows, Term(IP, Op.WITHIN, Span(bytes(4), b"\xff" * 4))) == [0]
    assert find(rows, Term(IP, Op.WITHIN, Span(bytes(16), b"\xff" * 16))) == [1]
    assert find(rows, Term(IPS, Op.EQUALS, v4)) == [2]


@pytest.mark.parametrize(
    "attack",
    [
        "'; DROP TABLE stored; --",
        '" OR 1=1 --',
        "\\",
        "\\' OR true --",
        "?",
        "$1",
        "%",
        "_",
        "a\x00b",
        "{{x}}",
        "€' --",
    ],
)
def test_a_value_is_never_sql(find: Find, attack: str) -> None:
    """A hostile value finds exactly itself; the statement's text does not depend on it."""
    rows = [Sample(timestamp=0, user=attack, odd=attack), Sample(timestamp=0, user="x", odd="x")]
    escaped = re.sub(r"([*?\\])", r"\\\1", attack)
    trees = [
        Term(USER, Op.EQUALS, attack),
        Term(USER, Op.MATCHES, escaped),
        Term(USER, Op.MATCHES, escaped + "*"),
        Term(column(ODD), Op.EQUALS, attack),
    ]

    assert [find(rows, tree) for tree in trees] == [[0]] * 4
    assert {where(tree).sql for tree in trees[:1]} == {where(Term(USER, Op.EQUALS, "x")).sql}
    assert all(attack not in where(tree).sql for tree in trees[:2] if len(attack) > 1)


def test_names_are_quoted() -> None:
    """A column's name cannot leave its quotes."""
    assert quoted('a"b') == '"a""b"'
    hostile = Target(Kind.TEXT, ('x" OR 1=1 --',))
    assert where(Term(hostile, Op.PRESENT)) == Condition('("x"" OR 1=1 --" IS NOT NULL)')


@pytest.mark.parametrize(
    ("ours", "likes"),
    [("*.a?", "%.a_"), (r"\*\?\\", r"*?\\"), ("100%_", r"100\%\_"), ("ก*", "ก%")],
)
def test_wildcards_become_like(ours: str, likes: str) -> None:
    """What LIKE would take for its own is escaped."""
    assert like_pattern(ours) == likes


def test_a_comparison_without_a_value_is_a_bug() -> None:
    """Only ``PRESENT`` has none; a tree built wrongly is not searched."""
    with pytest.raises(TypeError, match="without a value"):
        where(Term(USER, Op.EQUALS))


def test_the_deepest_tree_is_run(find: Find) -> None:
    """What the parser lets through, DuckDB takes: 50 levels and 200 terms."""
    node: Node = And(tuple(Term(USER, Op.EQUALS, "a") for _ in range(200)))
    for _ in range(50):
        node = Not(Or((And((node, All())), Not(All()))))

    assert find([Sample(timestamp=0, user="a"), Sample(timestamp=0)], node) == [0]


def test_the_columns_of_a_tree_are_known() -> None:
    """An engine asks its sources for no more than these."""
    tree = And((All(), Not(Or((Term(TOTAL, Op.PRESENT), Term(USER, Op.EQUALS, "a"))))))

    assert columns_of(tree) == {"source.bytes", "destination.bytes", "user.name"}
