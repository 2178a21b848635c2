"""Whose records a search is about, when it is about one: then the segments' subject index finds the rows.

Rules:
    1. Only a comparison that the index answers identically counts: ANDed, without wildcard, exact, and of the
       column that decides first and for every row whose record it is (FORMAT.md 2). Everything else is looked
       for in all rows.
    2. What else is ANDed is compared on the subject's rows.
"""

from collections.abc import Iterator
from typing import NamedTuple

from applog.search.tree import All, And, Node, Op, Term
from retention.dataset import Dataset, SubjectChoice

_LONGEST = 65_535


class Person(NamedTuple):
    """A subject that a search is about."""

    subject: bytes
    """``kind ‖ u16be(length) ‖ bytes``."""
    rest: Node
    """What else must be true of its rows."""


def person_of(node: Node, dataset: Dataset) -> Person | None:
    """The subject whose rows alone *node* can match; None when it names none that the index knows."""
    choice = dataset.subject[0]
    if choice.when is not None:
        return None
    parts = list(_conjuncts(node))
    for at, part in enumerate(parts):
        if (subject := _subject(part, choice)) is not None:
            rest = (*parts[:at], *parts[at + 1 :])
            return Person(subject, And(rest) if rest else All())
    return None


def _conjuncts(node: Node) -> Iterator[Node]:
    if isinstance(node, And):
        for part in node.parts:
            yield from _conjuncts(part)
    else:
        yield node


def _subject(node: Node, choice: SubjectChoice) -> bytes | None:
    if not isinstance(node, Term) or node.op is not Op.EQUALS or node.field.columns != (choice.column,):
        return None
    value = node.value
    if isinstance(value, str):
        if not node.field.exact:
            return None
        try:
            value = value.encode()
        except UnicodeEncodeError:  # half a surrogate pair: no stored text has one
            return None
    if not isinstance(value, bytes) or len(value) > _LONGEST:
        return None
    return choice.kind.encode() + len(value).to_bytes(2, "big") + value
