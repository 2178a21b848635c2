"""Names that a person may type, the columns they stand for, and the comparison that comes of a value.

Rules:
    1. Every ECS name of the dataset is a field. An alias stands for whichever of its columns the dataset has,
       and matches when any of them does; ``bytes`` and ``packets`` are the sum of both ends, as observed.
    2. ``host`` columns hold names without their final dot, mostly in wire form (``xn--``): both are tried.
    3. ``user.id`` is an identifier: written as that name and without a wildcard it is compared exactly, case
       included, so that the subject index of the segments answers it. ``user:`` tries it without case.
    4. A time that is compared is the whole of what was written: ``>2026-11-22`` starts with the 23rd.
"""

import difflib
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from applog.errors import QueryError, TimeError
from applog.search import values
from applog.search.lexing import Token
from applog.search.tree import Node, Op, Or, Span, Target, Term
from applog.search.when import parse_span
from retention.dataset import Dataset, Kind

CHOOSERS = ("dataset", "event.dataset")
"""Fields that choose the dataset instead of comparing a column."""

_T = TypeVar("_T")

_IDENTIFIERS = frozenset({"user.id"})
_HOSTS = ("destination.domain", "dns.question.name", "host.hostname")
_USERS = ("user.name", "user.id")
_TEXTUAL = (Kind.TEXT, Kind.TEXTS)
_ADDRESSES = (Kind.IP, Kind.IPS)


class Bound(NamedTuple):
    """One end of a range."""

    token: Token
    included: bool


def _columns(*names: str) -> Callable[[Dataset], tuple[Target, ...]]:
    return lambda dataset: tuple(
        Target(dataset.by_name[name].kind, (name,)) for name in names if name in dataset.by_name
    )


def _kinds(*kinds: Kind) -> Callable[[Dataset], tuple[Target, ...]]:
    return lambda dataset: tuple(
        Target(field.kind, (field.name,)) for field in dataset.fields if field.kind in kinds
    )


def _sum(*names: str) -> Callable[[Dataset], tuple[Target, ...]]:
    def targets(dataset: Dataset) -> tuple[Target, ...]:
        found = tuple(name for name in names if name in dataset.by_name)
        return (Target(Kind.INTEGER, found),) if found else ()

    return targets


def _ports(dataset: Dataset) -> tuple[Target, ...]:
    return tuple(
        Target(field.kind, (field.name,)) for field in dataset.fields if field.name.endswith(".port")
    )


ALIASES: Mapping[str, Callable[[Dataset], tuple[Target, ...]]] = {
    "user": _columns(*_USERS),
    "ip": _kinds(*_ADDRESSES),
    "port": _ports,
    "host": _columns(*_HOSTS),
    "mac": _kinds(Kind.MAC),
    "src": _columns("source.ip", "client.ip"),
    "dst": _columns("destination.ip", "server.ip"),
    "bytes": _sum("source.bytes", "destination.bytes", "coverage.bytes"),
    "packets": _sum("source.packets", "destination.packets", "coverage.packets"),
    "app": _columns("network.protocol"),
    "proto": _columns("network.transport"),
}
"""Short names, each with the columns it stands for in a dataset."""


def targets_of(name: str, dataset: Dataset) -> tuple[Target, ...]:
    """What *name* stands for in *dataset*; nothing when it has no such field."""
    if name in dataset.by_name:
        return (Target(dataset.by_name[name].kind, (name,), exact=name in _IDENTIFIERS),)
    return ALIASES[name](dataset) if name in ALIASES else ()


def resolve(token: Token, dataset: Dataset, datasets: Mapping[str, Dataset]) -> tuple[Target, ...]:
    """What the field that *token* names stands for.

    Raises:
        QueryError: no such field here; says where there is one, or which names are near.
    """
    if found := targets_of(token.text, dataset):
        return found
    unknown = f"dataset {dataset.name} has no field {token.text!r}"
    if others := [name for name, other in datasets.items() if targets_of(token.text, other)]:
        add = " or ".join(f"dataset:{name}" for name in others)
        raise QueryError(token.column, f"{unknown}, {', '.join(others)} has: add {add}")
    known = [*dataset.by_name, *(name for name in ALIASES if targets_of(name, dataset)), CHOOSERS[0]]
    near = difflib.get_close_matches(token.text.lower(), known, n=3, cutoff=0.5)
    expected = f"did you mean {' or '.join(near)}?" if near else "expected a field such as user, ip or host"
    raise QueryError(token.column, f"{unknown}; {expected}")


def without_field(token: Token, dataset: Dataset) -> tuple[Target, ...]:
    """Where a word without a field is looked for: addresses and MACs in theirs, other words in host and user.

    Raises:
        QueryError: *dataset* has no such columns.
    """
    aliases: tuple[str, ...] = ("host", "user")
    if token.pattern is None and values.read_network(token.text) is not None:
        aliases = ("ip",)
    elif token.pattern is None and values.read_mac(token.text) is not None:
        aliases = ("mac",)
    targets = tuple(target for alias in aliases for target in ALIASES[alias](dataset))
    if not targets:
        reason = f"dataset {dataset.name} has no {' or '.join(aliases)} to look in: write field:value"
        raise QueryError(token.column, reason)
    return targets


def compare(target: Target, token: Token, *, now: int) -> Node:
    """*target* has the value of *token*, or any value for ``*``.

    Raises:
        QueryError: the value cannot be one of that column.
    """
    if token.pattern is not None and not token.pattern.strip("*"):
        return Term(target, Op.PRESENT)
    if target.kind in _TEXTUAL:
        return _text(target, token)
    if token.pattern is not None:
        reason = f"* and ? work in text fields only: expected {_expected(target)}, or * alone"
        raise QueryError(token.column, reason)
    if target.kind is Kind.TIMESTAMP:
        start, end = _times(token, now)
        return Term(target, Op.WITHIN, Span(start, max(start, end - 1)))
    if target.kind in _ADDRESSES:
        network = _read(target, token, values.read_network(token.text))
        single = network.low == network.high
        return Term(target, Op.EQUALS, network.low) if single else Term(target, Op.WITHIN, network)
    return Term(target, Op.EQUALS, _exact(target, token))


def between(target: Target, low: Bound | None, high: Bound | None, *, now: int) -> Term:
    """*target* lies between *low* and *high*; None is open.

    Raises:
        QueryError: the column has no order, a bound cannot be one of its values, or nothing can lie between.
    """
    first = low or high
    if first is None:
        return Term(target, Op.PRESENT)
    for bound in (low, high):
        if bound is not None and bound.token.pattern is not None:
            raise QueryError(bound.token.column, f"expected {_expected(target)}; * alone leaves an end open")
    if target.kind in _ADDRESSES:
        return Term(target, Op.WITHIN, _address_span(target, low, high, first))
    if target.kind not in (Kind.INTEGER, Kind.TIMESTAMP):
        raise QueryError(first.token.column, "ranges need a field of numbers, times or addresses")
    least = None if low is None else _edge(target, low, now, upper=False)
    most = None if high is None else _edge(target, high, now, upper=True)
    if (least or 0) > (values.LARGEST if most is None else most):
        raise QueryError(first.token.column, "nothing can lie in this range")
    return Term(target, Op.WITHIN, Span(least, most))


def _text(target: Target, token: Token) -> Node:
    written = token.text if token.pattern is None else token.pattern
    operator = Op.EQUALS if token.pattern is None else Op.MATCHES
    if target.columns[0] not in _HOSTS:
        return Term(target, operator, written)
    written = written.removesuffix(".") or written
    wire = values.idna(written)
    found = Term(target, operator, written)
    return found if wire == written else Or((found, Term(target, operator, wire)))


def _edge(target: Target, bound: Bound, now: int, *, upper: bool) -> int:
    """The first value inside a lower *bound*, or the last inside an upper one."""
    if target.kind is Kind.INTEGER:
        start = _integer(target, bound.token)
        end = start + 1
    else:
        start, end = _times(bound.token, now)
        end = max(end, start + 1)
    if upper:
        return end - 1 if bound.included else start - 1
    return start if bound.included else end


def _address_span(target: Target, low: Bound | None, high: Bound | None, first: Bound) -> Span:
    given = [None if end is None else _address(target, end.token) for end in (low, high)]
    lengths = {len(packed) for packed in given if packed is not None}
    if len(lengths) != 1:
        raise QueryError(first.token.column, "expected both ends of the range in one family, IPv4 or IPv6")
    length = lengths.pop()
    least = 0 if given[0] is None else int.from_bytes(given[0]) + (low is not None and not low.included)
    most = 256**length - 1
    if given[1] is not None:
        most = int.from_bytes(given[1]) - (high is not None and not high.included)
    if not 0 <= least <= most < 256**length:
        raise QueryError(first.token.column, "nothing can lie in this range")
    return Span(least.to_bytes(length), most.to_bytes(length))


def _address(target: Target, token: Token) -> bytes:
    return _read(target, token, values.read_address(token.text))


def _exact(target: Target, token: Token) -> int | bytes:
    if target.kind is Kind.MAC:
        return _read(target, token, values.read_mac(token.text))
    if target.kind is Kind.BOOLEAN:
        return _read(target, token, values.read_boolean(token.text))
    return _integer(target, token)


def _integer(target: Target, token: Token) -> int:
    number = _read(target, token, values.read_integer(token.text, size=_is_size(target)))
    if _is_port(target) and number > 65_535:
        raise _mismatch(target, token)
    return number


def _times(token: Token, now: int) -> tuple[int, int]:
    try:
        return parse_span(token.text, now=now)
    except TimeError as error:
        raise QueryError(token.column, f"{error}; {TimeError.hint}") from error


def _read(target: Target, token: Token, value: _T | None) -> _T:
    if value is None:
        raise _mismatch(target, token)
    return value


def _mismatch(target: Target, token: Token) -> QueryError:
    return QueryError(token.column, f"expected {_expected(target)}, found {token.text[:40]!r}")


def _is_size(target: Target) -> bool:
    return target.columns[0].endswith("bytes")


def _is_port(target: Target) -> bool:
    return target.columns[0].endswith(".port")


def _expected(target: Target) -> str:
    if _is_size(target):
        return "a size such as 1500, 1mb or 1.5gib"
    if _is_port(target):
        return "a port from 0 to 65535"
    return {
        Kind.INTEGER: "a whole number from 0",
        Kind.BOOLEAN: "true or false",
        Kind.TIMESTAMP: "a time such as 2026-11-22 or 2h",
        Kind.MAC: "a MAC address such as 00-00-5E-00-53-01",
    }.get(target.kind, "an address or network such as 203.0.113.0/24")
