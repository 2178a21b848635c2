"""`applog search`: every look is recorded before it is answered, and the answer says what it is about."""

import csv
import datetime as dt
import errno
import io
import json
import os
import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from applog.demo.school import write_school_day
from applog.records import FLOW, Flow
from retention.encoding import encode
from retention.journal.writer import wall_clock
from retention.records import COVERAGE, Coverage
from retention.store import Store
from tests.support.aging import Aging
from tests.support.command import APPLOG, applog, audits, environment, lines, new_store, quickly
from tests.support.disk import DAY, HOUR, NOON, SECOND, flip

BOM = "\ufeff"


def flow(number: int, **fields: Any) -> Flow:
    """A flow at noon plus *number* seconds."""
    values: dict[str, Any] = {
        "timestamp": NOON + number * SECOND,
        "end": NOON + number * SECOND + 1,
        "flow_id": f"{'0' * 32}.0.{number}",
        "flow_start": NOON + number * SECOND,
        "flow_slice": 0,
        "source_ip": ip_address("10.20.1.21").packed,
        "source_port": 50_000 + number,
        "source_bytes": 1_000,
        "source_packets": 1,
        "source_payload_bytes": 900,
        "destination_ip": ip_address("203.0.113.7").packed,
        "destination_port": 443,
        "destination_bytes": 234,
        "destination_packets": 1,
        "destination_payload_bytes": 100,
        "transport": "tcp",
        "type": "ipv4",
    }
    return Flow(**values | fields)


def keep(store: Store, *flows: Flow) -> None:
    """Put *flows* into the store."""
    with store.writer(FLOW, "test") as writer:
        writer.append(FLOW.batch(flows))


def seal(store: Store) -> None:
    """Seal every flow that is stored."""
    with store.ledger() as ledger:
        sealer = store.sealer(ledger, (FLOW,))
        sealer.recover()
        sealer.seal(FLOW, store.clock())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without a record."""
    return new_store(tmp_path / "store")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with an hour of a school day; tests only look at it."""
    folder = tmp_path_factory.mktemp("imported")
    store = new_store(folder / "store")
    write_school_day(folder / "day.pcap", dt.datetime(2026, 3, 1, 9, tzinfo=dt.UTC), hours=1)
    done = quickly(store.root, "import", str(folder / "day.pcap"), "--profile", "detailed")
    assert done.code == 0, done.err
    return store


def test_a_table_and_what_it_is_about(imported: Store) -> None:
    """Rows with their heading, then how many match, which range was searched, and what is missing."""
    done = quickly(imported.root, "search", "host:*", "--limit", "3")

    heading, *rows = done.out.splitlines()
    assert heading.split() == [
        "time",
        "source",
        "destination",
        "proto",
        "app",
        "host",
        "bytes",
        "user",
        "record",
    ]
    assert all(row.split()[0].endswith("/2569") for row in rows[:3])
    assert all(row.split()[-1].startswith("import.1.") for row in rows[:3])
    assert rows[3].startswith("truncated at 3 of ")
    assert rows[3].endswith(" flow records; --limit shows more")
    assert rows[4].startswith("searched: all that is stored, 01/03/2569 ")
    assert "(2026-03-01T" in rows[4]
    assert rows[5] == "coverage: no loss is noted; these are imported files, nobody watched live"
    assert (done.code, done.err) == (0, "")


def test_a_whole_answer_says_so(store: Store) -> None:
    """All shown, none found and nothing stored are three different statements."""
    empty = quickly(store.root, "search", "*")
    keep(store, flow(1), flow(2))

    all_shown = quickly(store.root, "search", "*")
    none = quickly(store.root, "search", "host:nowhere.example")

    assert empty.out.splitlines() == ["no flow record matches", "nothing is stored yet: applog import FILE"]
    assert "2 flow records, all shown" in all_shown.out
    assert none.out.splitlines()[0] == "no flow record matches"
    assert "searched: all that is stored" in none.out
    assert "coverage: no loss is noted" in none.out
    assert {empty.code, all_shown.code, none.code} == {0}


@pytest.mark.parametrize("dataset", ["flow", "dns", "lease", "coverage"])
def test_json_lines_are_the_canonical_lines(imported: Store, dataset: str) -> None:
    """Byte for byte what is hashed, oldest first as asked; the statement goes to standard error."""
    run = applog if dataset == "flow" else quickly
    done = run(
        imported.root,
        "search",
        f"dataset:{dataset}",
        "--format",
        "json",
        "--limit",
        "100000",
        "--oldest-first",
    )

    stored = lines(imported, whole=True)[dataset]
    assert stored
    assert sorted(done.out.splitlines(keepends=True)) == sorted(stored)
    times = [json.loads(line)["@timestamp"] for line in done.out.splitlines()]
    assert times == sorted(times)
    assert f"{len(stored):,} {dataset} records, all shown" in done.err


def test_newest_first_unless_asked(store: Store) -> None:
    """Without --oldest-first the newest record stands first, and the limit keeps the newest."""
    keep(store, flow(1), flow(3), flow(2))

    done = quickly(store.root, "search", "*", "--format", "json", "--limit", "2")

    ports = [json.loads(line)["source.port"] for line in done.out.splitlines()]
    assert ports == [50_003, 50_002]


def test_csv_is_for_spreadsheets(store: Store) -> None:
    """A byte-order mark, a heading for every field, CRLF, and values as they are."""
    keep(store, flow(1, domain="โรงเรียน.example"), flow(2, transport="udp"))

    done = applog(store.root, "search", "*", "--format", "csv", "--oldest-first")

    assert done.out.startswith(BOM)
    assert done.out.count(BOM) == 1
    assert "\r\n" in done.out
    first, second = csv.DictReader(io.StringIO(done.out.removeprefix(BOM), newline=""))
    added = {"event.dataset", "event.schema", "applog.segment", "applog.row"}
    assert set(first) == {*FLOW.schema.names, *added}
    assert (first["destination.domain"], first["source.bytes"]) == ("โรงเรียน.example", "1000")
    assert (second["network.transport"], second["destination.domain"]) == ("udp", "")
    assert "2 flow records, all shown" in done.err


@pytest.mark.parametrize("start", ["=", "+", "-", "@"])
def test_no_cell_is_a_formula(store: Store, start: str) -> None:
    """What a remote party chose cannot run in a spreadsheet: a cell that looks like a formula is quoted."""
    keep(store, flow(1, user_agent=f"{start}HYPERLINK(1)"))

    done = quickly(store.root, "search", "*", "--format", "csv")

    (row,) = csv.DictReader(io.StringIO(done.out.removeprefix(BOM), newline=""))
    assert row["user_agent.original"] == f"'{start}HYPERLINK(1)"


def test_csv_of_nothing_has_its_heading(store: Store) -> None:
    """A program that reads the answer finds the same columns in an empty one."""
    done = quickly(store.root, "search", "*", "--format", "csv")

    assert done.out.startswith(f"{BOM}@timestamp,event.ingested,event.id,event.dataset,event.schema,")
    assert len(done.out.splitlines()) == 1
    assert "nothing is stored yet" in done.err


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        ("01/03/2569 19:00:02", None, {2, 3}),
        ("2026-03-01 19:00:02", None, {2, 3}),
        ("๐๑/๐๓/๒๕๖๙ ๑๙:๐๐:๐๒", None, {2, 3}),
        (None, "01/03/2569 19:00:02", {1, 2}),
        ("1/3/2569", "1/3/2569", {1, 2, 3}),
        ("2/3/2569", None, set()),
    ],
)
def test_ranges_in_both_calendars(
    store: Store, since: str | None, until: str | None, found: set[int]
) -> None:
    """--since and --until take Buddhist and Gregorian dates of Bangkok, the named unit included."""
    keep(store, flow(1), flow(2), flow(3))
    words = [*(["--since", since] if since else []), *(["--until", until] if until else [])]

    done = quickly(store.root, "search", "*", *words, "--format", "json")

    assert {json.loads(line)["source.port"] - 50_000 for line in done.out.splitlines()} == found
    assert "searched: all" not in done.err
    assert "searched: " in done.err


def test_the_range_is_said_as_asked(store: Store) -> None:
    """A range that was asked is repeated in both calendars, its end excluded."""
    keep(store, flow(1))

    done = quickly(store.root, "search", "*", "--since", "1/3/2569", "--until", "1/3/2569")

    assert (
        "searched: 01/03/2569 00:00:00.000 (2026-03-01T00:00:00.000+07:00) "
        "to 02/03/2569 00:00:00.000 (2026-03-02T00:00:00.000+07:00)" in done.out
    )


def test_what_is_missing_in_the_range_is_said(store: Store) -> None:
    """Only losses that overlap the range are named with it."""
    keep(store, flow(1))
    with store.writer(COVERAGE, "test") as writer:
        writer.append(
            COVERAGE.batch(
                [Coverage(timestamp=NOON, end=NOON + HOUR, source="t", reason="malformed", packets=1_234)]
            )
        )

    inside = quickly(store.root, "search", "*", "--since", "2026-03-01 19:30")
    outside = quickly(store.root, "search", "*", "--since", "2026-03-01 20:30")

    assert "recorded: malformed (1: 1,234 packets)" in inside.out
    assert "see: applog search dataset:coverage" in inside.out
    assert "coverage: no loss is noted" in outside.out


def test_a_query_error_shows_its_column(store: Store) -> None:
    """What is not understood is refused with the column where it stands; nothing is answered."""
    done = quickly(store.root, "search", "host:a nofield:1")

    assert done.code == 5
    assert done.out == ""
    assert "applog: error: column 8: " in done.err
    assert "nofield" in done.err


@pytest.mark.parametrize(
    ("words", "code", "outcome"),
    [
        (["host:*.example", "--reason", "case 12"], 0, "success"),
        (["dataset:audit"], 0, "success"),
        (["*", "--limit", "0"], 0, "success"),
        ([""], 0, "success"),
        (["nofield:1"], 5, "failure"),
        (["(((", "--reason", "case 12"], 5, "failure"),
        (["*", "--since", "never"], 5, "failure"),
    ],
)
def test_every_search_is_recorded(store: Store, words: list[str], code: int, outcome: str) -> None:
    """Found, failed or understood at all: who searched what, when, and what came of it."""
    keep(store, flow(1))

    done = quickly(store.root, "search", *words)

    assert done.code == code, done.err
    (record,) = audits(store)
    assert (record["event.action"], record["event.outcome"]) == ("search", outcome)
    assert record.get("audit.query", "") == words[0]
    assert record["user.id"] == str(os.getuid())
    if outcome == "success":
        assert record["audit.results"] in {0, 1}
        assert record.get("event.reason") == ("case 12" if "case 12" in words else None)
    else:
        assert record["event.reason"]


def test_a_search_that_cannot_be_recorded_is_not_answered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full: not a row is shown, and the error says why."""
    keep(store, flow(1))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fdatasync", full)

    done = quickly(store.root, "search", "*")

    assert done.code == 6
    assert done.out == ""
    assert "No space left on device" in done.err


def test_a_search_is_recorded_though_its_reader_leaves(imported: Store) -> None:
    """`applog search | head` ends early; the look is in the audit all the same."""
    before = len(audits(imported))

    line = f"{APPLOG} --data {imported.root} search '*' --limit 100000 --format json | head -n 1"
    done = subprocess.run(
        ["bash", "-c", line], env=environment(), capture_output=True, text=True, timeout=60, check=False
    )

    assert len(audits(imported)) == before + 1
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_what_was_typed_cannot_move_the_cursor(store: Store) -> None:
    """A query, a reason and a name with control characters are shown as bytes in every format."""
    quickly(store.root, "--as", "\x1b]0;x\x07", "search", "a\x1b[2J", "--reason", "\x9b1A")

    shown = [
        quickly(store.root, "search", "dataset:audit", "--format", form) for form in ("table", "json", "csv")
    ]

    assert all("2J" in one.out for one in shown)
    assert not [
        char for one in shown for char in one.out if (char < " " and char not in "\r\n") or char == "\x9b"
    ]


def test_a_query_that_is_no_text_is_still_recorded(store: Store) -> None:
    """A command line is bytes; one that is not UTF-8 is searched or refused, and kept either way."""
    done = quickly(store.root, "search", os.fsdecode(b"caf\xe9"))

    assert "Traceback" not in done.err
    assert done.code in {0, 5}
    assert audits(store)[0]["audit.query"] == r"caf\xe9"


def test_damage_is_said_with_the_answer(store: Store) -> None:
    """What cannot be read is named with the file; what is whole is still found; exit code 3, as in status."""
    keep(store, flow(1))
    keep(store, flow(2))
    first = min((store.root / "journals" / "flow" / "test").glob("*.journal"))
    flip(first, first.stat().st_size - 20)

    done = quickly(store.root, "search", "*")

    assert "1 flow records, all shown" in done.out
    assert f"damaged, and not searched: journal {first}" in done.err
    assert done.code == 3


def test_a_time_without_any_record_is_no_answer(store: Store) -> None:
    """A range that reaches beyond what is stored says so: nothing found there means nothing."""
    keep(store, flow(1))

    early = quickly(store.root, "search", "*", "--since", "1/1/2560", "--until", "2/1/2560")
    within = quickly(store.root, "search", "*")

    assert "nothing is stored before" in early.out
    assert "no answer about that time" in early.out
    assert "no answer about that time" not in within.out


def test_a_search_without_a_store_says_what_to_do(tmp_path: Path) -> None:
    """No store: which directory, and the command that makes one."""
    done = quickly(tmp_path / "none", "search", "*")

    assert done.code == 4
    assert str(tmp_path / "none") in done.err
    assert "applog: hint: create one with: applog init" in done.err


def test_lines_can_be_proved_from_the_answer(imported: Store) -> None:
    """The encoder gives the answer's lines from the stored batch: there is no second spelling."""
    stored = imported.read(FLOW).table.to_batches()
    wanted = {line for batch in stored for line in encode(FLOW, batch).to_pylist()}

    done = quickly(imported.root, "search", "host:*", "--format", "json", "--limit", "20")

    assert set(done.out.splitlines(keepends=True)) < wanted


def test_equals_is_refused_with_what_to_write(store: Store) -> None:
    """A comparison as other languages write it is not searched as a word that nothing has."""
    done = quickly(store.root, "search", "port=443")

    assert done.code == 5
    assert "column 1: write port:value" in done.err


def test_a_range_that_runs_backwards_is_refused(store: Store) -> None:
    """--since behind --until is a mistake, not an empty answer."""
    done = quickly(store.root, "search", "*", "--since", "2026-08-03", "--until", "2026-08-01")

    assert done.code == 5
    assert "is not before --until" in done.err


def test_sealed_records_are_found_with_their_position(store: Store) -> None:
    """The same lines before and after sealing; then each says its segment and row."""
    keep(store, flow(1, user_id="S-1"), flow(2, user_id="S-2"))
    before = quickly(store.root, "search", "user.id:S-1", "--format", "json")
    seal(store)

    after, table, rows = (
        quickly(store.root, "search", "user.id:S-1", "--format", form) for form in ("json", "table", "csv")
    )
    (record,) = quickly(store.root, "search", "user.id:S-1", "--format", "records").out.splitlines()

    assert after.out == before.out
    found = json.loads(record)
    assert (found["segment"], found["line"] + "\n") == ("flow/00000000", after.out)
    assert table.out.splitlines()[1].endswith(f"  flow/0:{found['row']}")
    (cells,) = csv.DictReader(io.StringIO(rows.out.removeprefix(BOM), newline=""))
    assert (cells["applog.segment"], cells["applog.row"]) == ("flow/00000000", str(found["row"]))


def test_records_in_a_journal_have_no_position_yet(store: Store) -> None:
    """Segment and row are null; the line's event.id is where it lies until it is sealed."""
    keep(store, flow(1))

    done = quickly(store.root, "search", "*", "--format", "records")

    (record,) = map(json.loads, done.out.splitlines())
    assert (record["segment"], record["row"]) == (None, None)
    assert json.loads(record["line"])["event.id"] == "test.1.0"
    assert "1 flow records, all shown" in done.err


def test_a_user_id_is_compared_exactly(store: Store) -> None:
    """As an identifier under its own name; under user: without regard to case."""
    keep(store, flow(1, user_id="S-1"))
    searches = ["user.id:S-1", "user.id:s-1", "user.id:s-*", "user:s-1"]

    journal = [quickly(store.root, "search", one).out.splitlines()[-3] for one in searches]
    seal(store)
    sealed = [quickly(store.root, "search", one).out.splitlines()[-3] for one in searches]

    one, none = "1 flow records, all shown", "no flow record matches"
    assert journal == sealed == [one, none, one, one]


def test_a_broken_segment_is_said_and_the_rest_is_found(store: Store) -> None:
    """Exit code 3, the segment named, its audit record a failure; what lies elsewhere is shown."""
    keep(store, flow(1))
    seal(store)
    keep(store, flow(2))
    path = store.root / "segments" / "flow" / "00000000.segment"
    flip(path, path.stat().st_size - 1)

    done = quickly(store.root, "search", "*")

    assert done.code == 3
    assert "1 flow records, all shown" in done.out
    assert f"damaged, and not searched: {path}" in done.err
    assert audits(store)[-1]["event.outcome"] == "failure"


@pytest.mark.parametrize("at", [0, 1, 2], ids=["oldest", "middle", "newest"])
def test_a_deleted_segment_is_named(store: Store, at: int) -> None:
    """A file that was removed by hand is damage, wherever it lies in what is stored: exit code 3."""
    for number in range(3):
        keep(store, flow(number))
        seal(store)
    (store.root / "segments" / "flow" / f"{at:08d}.segment").unlink()

    done = quickly(store.root, "search", "*")

    assert done.code == 3
    assert "2 flow records, all shown" in done.out
    assert f"damaged, and not searched: segment flow/{at:08d}: its file is missing" in done.err
    assert audits(store)[-1]["event.outcome"] == "failure"


def test_a_segment_deleted_with_its_manifest_is_named(store: Store) -> None:
    """The ledger knows that there was one: exit code 3."""
    for number in range(2):
        keep(store, flow(number))
        seal(store)
    for path in (store.root / "segments" / "flow").glob("00000001.*"):
        path.unlink()

    done = quickly(store.root, "search", "*")

    assert done.code == 3
    assert "1 flow records, all shown" in done.out
    assert "segment flow/00000001: sealed, as the ledger says, but the manifest is missing" in done.err


def test_a_ledger_that_cannot_be_read_is_said(store: Store) -> None:
    """What is there is found; that nobody can tell what is missing makes exit code 3."""
    keep(store, flow(1))
    seal(store)
    flip(store.root / "ledger" / "entries", 9)

    done = quickly(store.root, "search", "*")

    assert done.code == 3
    assert "1 flow records, all shown" in done.out
    assert "damaged, and not searched: the ledger, which says what was sealed" in done.err


def test_what_expired_is_no_damage(tmp_path: Path) -> None:
    """Deleted in its time and receipted: said, and exit code 0."""
    aged = Aging(tmp_path / "store", now=wall_clock() - 92 * DAY)
    aged.store_rows("old")
    aged.go(91 * DAY)
    aged.store_rows("new")
    aged.expire()

    done = quickly(aged.root, "search", "dataset:coverage")

    assert "1 coverage records, all shown" in done.out
    assert "expired: 1 segment of this range was deleted after their retention: 1 records" in done.out
    assert (done.code, done.err) == (0, "")
