"""The SQL answers as the tree says, whatever the values: a second, slow evaluator must agree with it."""

import re
from collections.abc import Callable, Iterator

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applog.search.sql import Condition, like_pattern, quoted, where
from applog.search.tree import All, And, Node, Not, Op, Or, Span, Target, Term, columns_of
from retention.dataset import Kind
from tests.support.trees import (
    EXACT,
    IP,
    IPS,
    LARGEST,
    NODES,
    ODD,
    SAMPLE,
    SAMPLES,
    SENT,
    TOTAL,
    USER,
    Sample,
    column,
    naive,
)

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


def test_an_identifier_is_compared_with_its_case(find: Find) -> None:
    """An exact target equals the same bytes only; a pattern on it is still without regard to case."""
    rows = [Sample(timestamp=0, user=user) for user in ("S-1", "s-1", "S-12")]

    assert find(rows, Term(EXACT, Op.EQUALS, "S-1")) == [0]
    assert find(rows, Term(USER, Op.EQUALS, "S-1")) == [0, 1]
    assert find(rows, Term(EXACT, Op.MATCHES, "s-1*")) == [0, 1, 2]


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
