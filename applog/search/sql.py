"""The tree as a DuckDB condition. Nothing a person typed is ever in its text.

Rules:
    1. Values are bound parameters. Column names come from the dataset alone, and are quoted.
    2. NULL is unobserved: a comparison with it is not true, so ``Not``, which is ``NOT coalesce(…, false)``,
       keeps the row. No other place needs three-valued logic: AND and OR only lose what is not true.
    3. An address matches in its own family: the length is compared beside the bytes.
"""

from typing import NamedTuple

from applog.search.tree import All, And, Node, Not, Op, Or, Span, Target, Term
from retention.dataset import Kind

Parameter = str | int | bytes


class Condition(NamedTuple):
    """A boolean SQL expression and what its question marks stand for."""

    sql: str
    parameters: tuple[Parameter, ...] = ()


def where(node: Node) -> Condition:
    """The condition that is true for exactly the records that *node* matches."""
    match node:
        case All():
            return Condition("true")
        case Not(part):
            inner = where(part)
            return Condition(f"(NOT coalesce({inner.sql}, false))", inner.parameters)
        case And(parts):
            return _joined(" AND ", parts)
        case Or(parts):
            return _joined(" OR ", parts)
        case Term():
            return _term(node)


def quoted(column: str) -> str:
    """*column* as an SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def _joined(operator: str, parts: tuple[Node, ...]) -> Condition:
    found = [where(part) for part in parts]
    parameters = tuple(value for condition in found for value in condition.parameters)
    return Condition("(" + operator.join(condition.sql for condition in found) + ")", parameters)


def _term(term: Term) -> Condition:
    column = _value_of(term.field)
    if term.op is Op.PRESENT:
        return Condition(f"({column} IS NOT NULL)")
    if term.field.kind not in (Kind.TEXTS, Kind.IPS):
        return _comparison(column, term)
    sql, parameters = _comparison("element", term)
    return Condition(f"(len(list_filter({column}, lambda element: {sql})) > 0)", parameters)


def _value_of(target: Target) -> str:
    """The column, or the sum of what was observed of several; wide enough for any two."""
    if len(target.columns) == 1:
        return quoted(target.columns[0])
    observed = ", ".join(map(quoted, target.columns))
    total = " + ".join(f"coalesce({quoted(column)}, 0)::HUGEINT" for column in target.columns)
    return f"(CASE WHEN coalesce({observed}) IS NOT NULL THEN {total} END)"


def _comparison(column: str, term: Term) -> Condition:
    value = term.value
    if isinstance(value, Span):
        return _within(column, term.field.kind, value)
    if value is None:
        raise TypeError(f"{term.op} without a value")
    if term.op is Op.MATCHES:
        return Condition(f"(lower({column}) LIKE lower(?) ESCAPE '\\')", (like_pattern(str(value)),))
    if isinstance(value, str) and not term.field.exact:
        return Condition(f"(lower({column}) = lower(?))", (value,))
    return Condition(f"({column} = ?)", (value,))


def _within(column: str, kind: Kind, span: Span) -> Condition:
    if isinstance(span.low, bytes) and isinstance(span.high, bytes):
        family = f"octet_length({column}) = {len(span.low)}"
        return Condition(f"({family} AND {column} BETWEEN ? AND ?)", (span.low, span.high))
    bound = "make_timestamp(?)" if kind is Kind.TIMESTAMP else "?"
    sides = [(">=", span.low), ("<=", span.high)]
    given = [(f"{column} {sign} {bound}", value) for sign, value in sides if value is not None]
    return Condition("(" + " AND ".join(sql for sql, _ in given) + ")", tuple(value for _, value in given))


def like_pattern(pattern: str) -> str:
    r"""Our pattern (``*``, ``?``, ``\`` before a plain character) as LIKE's (``%``, ``_``, ``\``)."""
    written: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character in "*?":
            written.append("%" if character == "*" else "_")
            continue
        plain = next(characters, "\\") if character == "\\" else character
        written.append("\\" + plain if plain in "%_\\" else plain)
    return "".join(written)
