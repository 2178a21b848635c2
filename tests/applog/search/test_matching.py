"""DuckDB sees what it is handed and nothing else; coding a column changes no answer."""

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applog.errors import SearchError
from applog.search.matching import Matcher
from applog.search.sql import Condition
from applog.search.tree import All, Node, Not, Op, Or, Term
from tests.support.trees import NODES, SAMPLE, SAMPLES, USER, Sample, naive

CODED = ("user.name", "source.ip", "source.mac")


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    """One for all: opening DuckDB takes longest."""
    return Matcher(memory_mb=256)


def table(rows: list[Sample], *, parts: int = 1, coded: bool = True) -> pa.Table:
    """*rows* in *parts* chunks, each with dictionaries of its own, as row groups have."""
    whole = pa.Table.from_batches([SAMPLE.batch(rows)], SAMPLE.schema)
    size = -(-len(rows) // parts)
    chunks = [whole.slice(at, size).combine_chunks() for at in range(0, len(rows), size)]
    for name in CODED if coded else ():
        at = SAMPLE.schema.get_field_index(name)
        chunks = [
            chunk.set_column(at, name, chunk.column(name).combine_chunks().dictionary_encode())
            for chunk in chunks
        ]
    return pa.concat_tables(chunks)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.lists(SAMPLES, min_size=1, max_size=8), node=NODES, parts=st.integers(1, 3), coded=st.booleans()
)
def test_dictionaries_change_no_answer(
    matcher: Matcher, rows: list[Sample], node: Node, parts: int, *, coded: bool
) -> None:
    """However columns are coded and cut into chunks, the rows are those that the tree's rules say."""
    found = matcher.mask(node, table(rows, parts=parts, coded=coded))

    assert found.tolist() == [naive(node, row) for row in rows]


def test_a_dictionary_may_hold_more_than_its_rows(matcher: Matcher) -> None:
    """Values that no row has match nothing, and an absent value in the dictionary itself is absent."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, None, 1, 0]), pa.array(["b", None, "a"]))
    rows = pa.table({"user.name": column})

    assert matcher.mask(Term(USER, Op.EQUALS, "A"), rows).tolist() == [False] * 4
    assert matcher.mask(Term(USER, Op.EQUALS, "B"), rows).tolist() == [True, False, False, True]
    assert matcher.mask(Term(USER, Op.PRESENT), rows).tolist() == [True, False, False, True]


def test_nothing_is_answered_for_no_rows(matcher: Matcher) -> None:
    """A table without rows has an answer of no rows, coded or not."""
    for empty in (
        table([Sample(timestamp=0)]).slice(0, 0),
        table([Sample(timestamp=0)], coded=False).slice(0, 0),
    ):
        for node in (All(), Not(All()), Term(USER, Op.EQUALS, "a"), Or((All(), Term(USER, Op.PRESENT)))):
            assert matcher.mask(node, empty).tolist() == []


def test_a_search_without_a_comparison_opens_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything, or nothing, is known without DuckDB."""
    monkeypatch.setattr(duckdb, "connect", None)

    found = Matcher(memory_mb=1).mask(Not(All()), table([Sample(timestamp=0)]))

    assert found.tolist() == [False]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "COPY stored TO '/tmp/applog-test-leak.csv'",
        "ATTACH '/tmp/applog-test-leak.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET temp_directory = '/tmp'",
        "SET threads = 8",
        "SET python_enable_replacements = true",
        "SELECT * FROM TABLE_OF_PYTHON",
    ],
)
def test_duckdb_is_confined(matcher: Matcher, statement: str) -> None:
    """Whatever were asked of it, it reaches no file, no network, no variable of ours, and stays so."""
    TABLE_OF_PYTHON = pa.table({"a": [1]})  # noqa: N806, F841 - what a replacement scan would find

    with matcher.connection() as connection:
        connection.register("stored", pa.table({"a": [1]}))

        with pytest.raises(duckdb.Error):
            connection.execute(statement)


def test_the_temporary_directory_is_off(matcher: Matcher) -> None:
    """Nothing that was decrypted is spilled."""
    with matcher.connection() as connection:
        assert connection.execute("SELECT current_setting('temp_directory')").fetchall() == [("",)]


def test_one_question_does_not_see_another(matcher: Matcher) -> None:
    """Threads ask at once: each has its own table under the same name."""
    with matcher.connection() as one, matcher.connection() as other:
        one.register("stored", pa.table({"a": [1]}))

        with pytest.raises(duckdb.CatalogException):
            other.execute("SELECT * FROM stored")


def test_too_little_memory_is_said() -> None:
    """DuckDB's own exception does not leave; the hint says what to do."""
    small = Matcher(memory_mb=1)
    values: Any = pa.table({"a": np.arange(2_000_000)})

    with pytest.raises(SearchError, match="more than 1 MB") as caught:
        small.matching(Condition("a IN (SELECT a * 7 FROM stored)"), values)

    assert "--since" in caught.value.hint
