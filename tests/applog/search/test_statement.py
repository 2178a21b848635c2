"""An answer says what it is an answer about, wherever the records lie."""

from pathlib import Path
from typing import Any

import pytest

from applog.errors import QueryError, TimeError
from applog.health import DATASETS
from applog.search.embedded import EmbeddedSearch, Result
from applog.search.statement import Answer, Asked, answer
from retention.records import COVERAGE, Coverage
from tests.support.aging import Aging
from tests.support.arranged import ARRANGEMENTS, arranged
from tests.support.disk import DAY, HOUR, NOON, flip
from tests.support.sealed import SealedStore

FIRST = [Coverage(timestamp=NOON + at, source="s", reason="r") for at in range(3)]
SECOND = [Coverage(timestamp=NOON + DAY, end=NOON + DAY + HOUR, source="s", reason="r")]
START, END = "01/03/2569 19:00:00.000 (2026-03-01T", "02/03/2569 20:00:00.000 (2026-03-02T"


def make(root: Path, arrangement: str = "segments") -> SealedStore:
    """Four records, two days."""
    return arranged(root, arrangement, COVERAGE, FIRST, SECOND)


def ask(made: SealedStore | Aging, query: str = "dataset:coverage", **words: str | int | bool) -> Answer:
    """The answer to a search of coverage."""
    asked = Asked(query=query, **words)  # type: ignore[arg-type]
    return answer(made.store, COVERAGE, asked.request(DATASETS, made.clock()))


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_the_statement_does_not_depend_on_where_records_lie(tmp_path: Path, arrangement: str) -> None:
    """Count, range, what lies beyond and what is missing are of segments and journals together."""
    made = make(tmp_path / "store", arrangement)

    whole, wide = ask(made), ask(made, since="1/1/2569", until="1/1/2570")

    assert whole.lines()[0] == "4 coverage records, all shown"
    assert whole.lines()[1].startswith(f"searched: all that is stored, {START}")
    assert END in whole.lines()[1]
    assert whole.lines()[2].startswith("coverage: not everything in this range is recorded: r (4)")
    assert wide.lines()[1].startswith("searched: 01/01/2569 00:00:00.000")
    assert wide.lines()[2].strip().startswith(f"nothing is stored before {START}")
    assert wide.lines()[3].strip().startswith(f"nothing is stored after {END}")


def test_a_range_beside_everything_still_says_what_there_is(tmp_path: Path) -> None:
    """Pruned to nothing is not the same as nothing stored."""
    found = ask(make(tmp_path / "store"), since="1/1/2560", until="2/1/2560")

    assert found.lines()[0] == "no coverage record matches"
    assert found.lines()[1].startswith("searched: 01/01/2560")
    assert f"nothing is stored before {START}" in found.lines()[2]


def test_an_empty_store_says_what_to_do(tmp_path: Path) -> None:
    """Nothing stored: the next step, and no claim about losses."""
    found = ask(arranged(tmp_path / "store", "journal", COVERAGE, [], []))

    assert found.lines() == ["no coverage record matches", "nothing is stored yet: applog import FILE"]


def test_what_has_expired_is_said(tmp_path: Path) -> None:
    """A range that reaches into what was deleted says how much that was; one that does not is silent."""
    aged = Aging(tmp_path / "store")
    aged.store_rows("old", "old")
    aged.go(91 * DAY)
    aged.store_rows("new")
    aged.expire()

    whole, asked, later = ask(aged), ask(aged, since="1/3/2569"), ask(aged, since="1/4/2569")

    line = (
        "expired: 1 segment of this range was deleted after their retention: 2 records, no answer about them"
    )
    for found in (whole, asked):
        assert line in found.lines()
        assert "coverage: some of its records have expired, so more may be missing" in found.lines()
    assert whole.lines()[1].startswith("searched: all that is stored, 31/05/2569 ")
    assert "          nothing is stored before 31/05/2569 19:00:00.000" in asked.lines()[2]
    assert not [line for line in later.lines() if "expired" in line]
    assert not (*whole.damages, *asked.damages, *later.damages)


def test_a_store_of_which_all_has_expired(tmp_path: Path) -> None:
    """It is not called new: what there was is told."""
    aged = Aging(tmp_path / "store")
    aged.store_rows("old")
    aged.go(91 * DAY)
    aged.expire()

    lines = ask(aged).lines()

    assert lines[0] == "no coverage record matches"
    assert lines[1].startswith("expired: 1 segment ")
    assert not [line for line in lines if "applog import" in line]


@pytest.mark.parametrize("receipt", [True, False], ids=["expired", "deleted"])
def test_what_is_gone_while_it_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, receipt: bool
) -> None:
    """With a receipt by then it has expired; without, it is damage. The rest is found in both."""
    aged = Aging(tmp_path / "store")
    aged.store_rows("old", "old")
    aged.go(91 * DAY)
    aged.store_rows("new")
    run = EmbeddedSearch.run

    def lose_first(*words: Any) -> Result:
        if receipt:
            aged.expire()
        else:
            aged.segment("coverage/00000000").unlink(missing_ok=True)
        return run(*words)

    monkeypatch.setattr(EmbeddedSearch, "run", lose_first)

    found = ask(aged)

    assert found.result.total == 1
    assert len(found.snapshot.expired) == receipt
    assert len(found.damages) == (not receipt)


@pytest.mark.parametrize("place", ["header", "rows", "end"])
def test_a_broken_segment_is_left_out_loudly(tmp_path: Path, place: str) -> None:
    """It is in damages, in neither count nor rows, and nothing else stops."""
    made = make(tmp_path / "store")
    path = next(one.path for one in made.store.catalogue.sealed("coverage") if one.manifest.count)
    flip(path, {"header": 5, "rows": 100, "end": path.stat().st_size - 1}[place])

    found = ask(made)

    assert found.result.total == 1
    assert found.result.batch.column("event.id").to_pylist() == ["pen.2.0"]
    assert len(found.damages) == 1
    assert str(path) in str(found.damages[0])


def test_one_that_breaks_when_it_is_shown_is_not_counted(tmp_path: Path) -> None:
    """Counted from its manifest, unreadable when its rows are wanted: counted again without it."""
    made = make(tmp_path / "store")
    path = next(one.path for one in made.store.catalogue.sealed("coverage") if one.manifest.count)
    flip(path, 100)

    nothing_shown, shown = ask(made, limit=0), ask(made, limit=10)

    assert (nothing_shown.result.total, nothing_shown.damages) == (4, ())
    assert (shown.result.total, shown.result.batch.num_rows, len(shown.damages)) == (1, 1, 1)


def test_what_is_not_understood_is_not_run() -> None:
    """A query or a time that is none, and a range that runs backwards."""
    with pytest.raises(QueryError):
        Asked(query="(((").request(DATASETS, NOON)
    with pytest.raises(TimeError):
        Asked(query="*", since="never").request(DATASETS, NOON)
    with pytest.raises(TimeError, match="is not before --until"):
        Asked(query="*", since="2026-08-03", until="2026-08-01").request(DATASETS, NOON)


def test_words_become_a_request() -> None:
    """Limit, order and both ends of the range, in the one unit of the store."""
    request = Asked(query="*", since="1h", until="now", limit=7, oldest_first=True).request(DATASETS, NOON)

    assert (request.since, request.until) == (NOON - HOUR, NOON)
    assert (request.limit, request.newest_first) == (7, False)
