"""The tree of a search: what is asked, in no engine's language.

Rules:
    1. Every engine answers exactly this tree; a contract suite holds them to it.
    2. A comparison with an absent field is false. ``Not`` is the complement: it keeps those records.
    3. A column that holds a list matches when any one of its elements does.
    4. Text is compared whole and without regard to case, unless its target is exact. Spans are closed at both
       ends.
"""

from dataclasses import dataclass
from enum import StrEnum

from retention.dataset import Kind


class Op(StrEnum):
    """How a value is compared."""

    EQUALS = "equals"
    """The same value; text without regard to case, unless its target is exact."""
    MATCHES = "matches"
    r"""Text like a pattern: ``*`` any characters, ``?`` one, ``\`` makes the next character literal."""
    WITHIN = "within"
    """In a ``Span``."""
    PRESENT = "present"
    """Observed at all; there is no value."""


@dataclass(frozen=True, slots=True)
class Span:
    """From *low* to *high*, both included; None is open. Addresses are never open and of one family."""

    low: int | bytes | None
    high: int | bytes | None


@dataclass(frozen=True, slots=True)
class Target:
    """What is compared: one column, or the sum of several integer columns (of those observed)."""

    kind: Kind
    columns: tuple[str, ...]
    exact: bool = False
    """An identifier: ``EQUALS`` means the same bytes, case included. Patterns are without regard to case."""


Value = str | int | bytes | Span | None


@dataclass(frozen=True, slots=True)
class All:
    """Every record."""


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison."""

    field: Target
    op: Op
    value: Value = None


@dataclass(frozen=True, slots=True)
class And:
    """All of *parts*."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of *parts*."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Every record that *part* does not match."""

    part: "Node"


Node = All | Term | And | Or | Not


@dataclass(frozen=True, slots=True)
class Query:
    """A search that was understood."""

    ast: Node
    dataset_name: str


def columns_of(node: Node) -> frozenset[str]:
    """The columns that *node* compares."""
    match node:
        case Term(field):
            return frozenset(field.columns)
        case Not(part):
            return columns_of(part)
        case And(parts) | Or(parts):
            return frozenset[str]().union(*map(columns_of, parts))
        case All():
            return frozenset()
