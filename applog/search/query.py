"""Lucene syntax, by way of luqum, becomes the tree of ``tree.py``.

Rules:
    1. ``field:value``, ``field:(a OR b)``, ``field:[a TO b]``, ``field:{a TO b}``, ``field:>a``, ``field:*``
       (present), ``"quoted"``, ``*`` and ``?`` in text, AND OR NOT && || ! - +, parentheses.
    2. NOT binds first, then AND, then OR; terms that merely stand side by side are ANDed last, so
       ``user:a port:80 OR port:443`` is ``user:a AND (port:80 OR port:443)``.
    3. A word without a field is looked for in host and user; an address or a MAC in its own columns.
    4. ``dataset:`` chooses what is searched; it stands once, at the top, ANDed. Without it: flow.
    5. Nothing (or ``*``) finds every record. What is not understood is refused with its column.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from luqum import tree as lucene
from luqum.exceptions import ParseError
from luqum.thread import parse as parse_skeleton

from applog.errors import QueryError
from applog.search.fields import ALIASES, CHOOSERS, Bound, between, compare, resolve, without_field
from applog.search.lexing import Token, tokenize
from applog.search.tree import All, And, Node, Not, Op, Or, Query, Span, Target, Term
from retention.dataset import Dataset

__all__ = ["All", "And", "Node", "Not", "Op", "Or", "Query", "Span", "Target", "Term", "parse_query"]

_DEFAULT = "flow"
_AT = re.compile(r"at position ([0-9]+)!")
_ANDS = (lucene.AndOperation, lucene.UnknownOperation)


def parse_query(text: str, datasets: Iterable[Dataset], *, now: int) -> Query:
    """The search that *text* states, over one of *datasets*; *now* (UTC µs) is what ``2h`` counts from.

    Raises:
        QueryError: where, counted from 1, and what was expected.
    """
    known = {dataset.name: dataset for dataset in datasets}
    names = {*ALIASES, *CHOOSERS}.union(*(dataset.by_name for dataset in known.values()))
    tokens = tokenize(text, is_field=names.__contains__)
    if not tokens:
        return Query(All(), _default(known).name)
    parts = list(_flat(_grammar(tokens, len(text)), _ANDS))
    choosing = [part for part in parts if _chooses(part, tokens)]
    dataset = _chosen(choosing, tokens, known)
    reader = _Reader(tokens, dataset, known, now)
    nodes = [reader.node(part) for part in parts if part not in choosing]
    return Query(_joined(And, nodes) if nodes else All(), dataset.name)


def _grammar(tokens: list[Token], length: int) -> Any:
    """The tree of the skeleton, from luqum, whose one complaint becomes ours."""
    starts: dict[int, Token] = {}
    skeleton = ""
    for token in tokens:
        starts[len(skeleton)] = token
        skeleton += token.skeleton + " "
    try:
        return parse_skeleton(skeleton)
    except ParseError as error:
        place = _AT.search(str(error))
        unexpected = starts.get(int(place[1])) if place else None
        if unexpected is None:
            raise QueryError(length + 1, "the search ends where a value or a term was expected") from error
        found = unexpected.text or unexpected.skeleton
        raise QueryError(unexpected.column, f"did not expect {found!r} here: expected a term") from error


def _flat(item: Any, kinds: tuple[Any, ...]) -> Iterator[Any]:
    """The operands of *item* and of its operands of the same *kinds*."""
    if not isinstance(item, kinds):
        yield item
        return
    for operand in item.operands:
        yield from _flat(operand, kinds)


def _default(known: Mapping[str, Dataset]) -> Dataset:
    return known.get(_DEFAULT) or next(iter(known.values()))


def _token(word: Any, tokens: list[Token]) -> Token:
    """The token that a word of the skeleton stands for."""
    return tokens[int(str(word)[1:])]


def _chooses(part: Any, tokens: list[Token]) -> bool:
    return isinstance(part, lucene.SearchField) and _token(part.name, tokens).text in CHOOSERS


def _chosen(choosing: list[Any], tokens: list[Token], known: Mapping[str, Dataset]) -> Dataset:
    if not choosing:
        return _default(known)
    if len(choosing) > 1:
        raise QueryError(_token(choosing[1].name, tokens).column, "expected one dataset: only")
    column = _token(choosing[0].name, tokens).column
    expected = f"expected dataset: and one of {', '.join(known)}"
    if not isinstance(choosing[0].expr, lucene.Word):
        raise QueryError(column, expected)
    value = _token(choosing[0].expr, tokens)
    if value.pattern is not None or value.text not in known:
        raise QueryError(value.column, expected)
    return known[value.text]


def _joined(kind: type[And] | type[Or], nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else kind(tuple(nodes))


class _Reader:
    """Reads luqum's tree for one dataset. Depth and size were bounded by the lexer."""

    def __init__(self, tokens: list[Token], dataset: Dataset, known: Mapping[str, Dataset], now: int) -> None:
        self.tokens = tokens
        self.dataset = dataset
        self.known = known
        self.now = now

    def node(self, item: Any, targets: tuple[Target, ...] = ()) -> Node:
        """*item*, inside the field that *targets* are of, if any."""
        if isinstance(item, lucene.Word):
            return self._word(_token(item, self.tokens), targets)
        if isinstance(item, lucene.SearchField):
            return self._field(item)
        if isinstance(item, lucene.BaseGroup):
            return self.node(item.expr, targets)
        if isinstance(item, lucene.From | lucene.To | lucene.Range):
            return self._range(item, targets)
        return self._operation(item, targets)

    def _operation(self, item: Any, targets: tuple[Target, ...]) -> Node:
        if isinstance(item, lucene.Not):
            return Not(self.node(item.a, targets))
        if isinstance(item, _ANDS):
            return And(tuple(self.node(part, targets) for part in _flat(item, _ANDS)))
        return Or(tuple(self.node(part, targets) for part in _flat(item, (lucene.OrOperation,))))

    def _word(self, token: Token, targets: tuple[Target, ...]) -> Node:
        if not targets and token.pattern is not None and not token.pattern.strip("*"):
            return All()
        targets = targets or without_field(token, self.dataset)
        return _joined(Or, [compare(target, token, now=self.now) for target in targets])

    def _field(self, item: Any) -> Node:
        """A field is never inside another: there the lexer reads its colon as part of a value."""
        token = _token(item.name, self.tokens)
        if token.text in CHOOSERS:
            reason = "dataset: stands at the top, beside the other terms: not in OR, NOT or parentheses"
            raise QueryError(token.column, reason)
        return self.node(item.expr, resolve(token, self.dataset, self.known))

    def _range(self, item: Any, targets: tuple[Target, ...]) -> Node:
        low, high = self._bounds(item)
        if not targets:
            words = [item.a] if isinstance(item, lucene.From | lucene.To) else [item.low]
            raise QueryError(_token(words[0], self.tokens).column, "a comparison needs a field: field:>value")
        return _joined(Or, [between(target, low, high, now=self.now) for target in targets])

    def _bounds(self, item: Any) -> tuple[Bound | None, Bound | None]:
        if isinstance(item, lucene.From):
            return self._bound(item.a, item.include), None
        if isinstance(item, lucene.To):
            return None, self._bound(item.a, item.include)
        return self._bound(item.low, item.include_low), self._bound(item.high, item.include_high)

    def _bound(self, word: Any, included: bool) -> Bound | None:
        token = _token(word, self.tokens)
        return None if token.pattern == "*" else Bound(token, included)
