"""Small records with a column of every kind, trees over them, and the tree's rules in plain Python.

Engines are held against ``naive``: slow, obvious, and written without them.
"""

import re
from typing import Any

import msgspec
from hypothesis import strategies as st

from applog.search.tree import All, And, Node, Not, Op, Or, Span, Target, Term
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


def column(name: str) -> Target:
    """One column of the samples."""
    return Target(SAMPLE.by_name[name].kind, (name,))


USER, ALPN, IP, IPS = map(column, ("user.name", "tls.client.alpn", "source.ip", "dns.resolved_ip"))
MAC, SENT, ECH, END = map(column, ("source.mac", "source.bytes", "tls.client.ech_extension", "event.end"))
EXACT = Target(Kind.TEXT, ("user.name",), exact=True)
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
    if isinstance(found, str) and not term.field.exact:
        return bool(found.lower() == value.lower())
    return bool(found == value)


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
    terms([USER, EXACT, ALPN, column(ODD)], Op.EQUALS, TEXTS),
    terms([USER, EXACT, ALPN], Op.MATCHES, PATTERNS.map("".join)),
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
