"""Appending: acknowledged means on the disk, whatever fails, whoever else writes, whenever it dies."""

import dataclasses
import datetime as dt
import errno
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.errors import (
    JournalBusyError,
    JournalDamagedError,
    JournalWriteError,
    KeyMaterialError,
    SchemaError,
)
from retention.journal import Position, files
from retention.journal import writer as writing
from tests.support.disk import DAY, HOUR, NOON, NOTES, SECOND, Disk, Journal, SimulatedClock, flip, notes

SLOW = dataclasses.replace(NOTES, commit_within_ms=60_000)
"""Gathers for longer than a test runs, so that only the other rule can end the wait."""


def column(journal: Journal, name: str) -> list[object]:
    """One column of everything that can be read."""
    return [value for one in journal.reader().frames() for value in one.batch.column(name).to_pylist()]


def with_window(journal: Journal, milliseconds: int) -> Journal:
    """The same journal, gathering for *milliseconds*."""
    return Journal(journal.root, journal.clock, dataclasses.replace(NOTES, commit_within_ms=milliseconds))


# Acknowledgement and grouping


def test_acknowledged_after_the_sync(journal: Journal, disk: Disk) -> None:
    """The future is not done while fdatasync runs, and done once it returned: never before."""
    with journal.writer() as writer:
        disk.hold("fdatasync")
        future = writer.submit(notes("a"))
        assert disk.entered.wait(5)
        time.sleep(0.05)
        waiting = not future.done()
        disk.release()
        position = future.result(5)

    assert waiting
    assert position == (1, 1)
    assert disk.calls.index("write") < disk.calls.index("fdatasync")


def test_the_file_is_named_durably_before_its_first_frame(journal: Journal, disk: Disk) -> None:
    """The header is written, synced, named, and the name synced, before a frame is: one write, one sync."""
    with journal.writer() as writer:
        disk.calls.clear()
        writer.append(notes("a"))
        first = list(disk.calls)
        disk.calls.clear()
        writer.append(notes("b"))
        second = list(disk.calls)

    header = ["open", "write", "fsync", "close", "rename", "open", "fsync", "close", "open"]
    assert first[-len(header) - 2 :] == [*header, "write", "fdatasync"]
    assert second == ["write", "fdatasync"]


def test_rows_that_wait_share_a_frame(journal: Journal, disk: Disk) -> None:
    """While one frame is being synced, a hundred small batches gather; all of them are the next frame."""
    with journal.writer() as writer:
        disk.hold("fdatasync")
        first = writer.submit(notes("first"))
        assert disk.entered.wait(5)
        rest = [writer.submit(notes(str(at))) for at in range(100)]
        disk.release()
        positions = {future.result(5) for future in rest}

    assert first.result() == (1, 1)
    assert positions == {Position(1, 2)}
    assert journal.texts() == ["first", *map(str, range(100))]


@pytest.mark.parametrize("milliseconds", [20, 200])
def test_rows_gather_for_the_datasets_window(journal: Journal, milliseconds: int) -> None:
    """A lone row waits for company for the window of its dataset, 20 ms or 200 ms, and not much longer."""
    with with_window(journal, milliseconds).writer() as writer:
        writer.append(notes("warm"))
        start = time.monotonic()
        writer.append(notes("a"))
        waited = (time.monotonic() - start) * 1_000

    assert milliseconds * 0.9 <= waited < milliseconds + 1_500


def test_five_thousand_rows_wait_no_longer(journal: Journal) -> None:
    """A full group is written at once, however long the window."""
    with Journal(journal.root, journal.clock, SLOW).writer() as writer:
        half = notes(*["a"] * (writing.GROUP_ROWS // 2))
        one, two = writer.submit(half), writer.submit(half)
        assert one.result(10) == two.result(10) == (1, 1)

    assert writing.GROUP_ROWS == 5_000


def test_closing_writes_what_waits(journal: Journal) -> None:
    """Close does not wait for the window and loses nothing; afterwards rows are refused; twice is once."""
    writer = Journal(journal.root, journal.clock, SLOW).writer()
    future = writer.submit(notes("a"))

    writer.close()
    writer.close()

    assert future.result(0) == (1, 1)
    assert journal.texts() == ["a"]
    with pytest.raises(JournalWriteError, match="closed"):
        writer.submit(notes("b"))


def test_pending_rows_are_bounded(journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that is faster than the disk is made to wait; nothing is dropped, nothing grows."""
    monkeypatch.setattr(writing, "PENDING_ROWS", 10)
    done = threading.Event()

    with journal.writer() as writer:
        disk.hold("fdatasync")
        writer.submit(notes("first"))
        assert disk.entered.wait(5)
        writer.submit(notes(*["waits"] * 10))
        extra = threading.Thread(target=lambda: (writer.submit(notes("extra")), done.set()))
        extra.start()
        blocked = not done.wait(0.2)
        disk.release()
        assert done.wait(5)
        extra.join()

    assert blocked
    assert Counter(journal.texts()) == {"first": 1, "waits": 10, "extra": 1}


def test_closing_frees_a_producer_that_waits(
    journal: Journal, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer held back by a full queue gets an answer when the journal closes, not a hang."""
    monkeypatch.setattr(writing, "PENDING_ROWS", 1)
    refused = threading.Event()
    writer = journal.writer()
    disk.hold("fdatasync")
    writer.submit(notes("a"))
    assert disk.entered.wait(5)
    writer.submit(notes("b"))

    def submit() -> None:
        with pytest.raises(JournalWriteError, match="closed"):
            writer.submit(notes("c"))
        refused.set()

    threads = [threading.Thread(target=submit), threading.Thread(target=writer.close)]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    assert refused.wait(5)
    disk.release()
    for thread in threads:
        thread.join()

    assert journal.texts() == ["a", "b"]


def test_a_future_cannot_be_cancelled(journal: Journal) -> None:
    """A producer that gives up on its rows cannot break the writer for the others."""
    with with_window(journal, 50).writer() as writer:
        future = writer.submit(notes("a"))
        cancelled = future.cancel()
        writer.append(notes("b"))

    assert not cancelled
    assert journal.texts() == ["a", "b"]


def test_threads_lose_and_repeat_nothing(journal: Journal) -> None:
    """Rows of many threads are each there once, and each thread's are in its order."""
    threads, each = 8, 60

    def produce(name: int) -> None:
        futures = [writer.submit(notes(f"{name}.{at}")) for at in range(each)]
        for future in futures:
            future.result(20)

    with journal.writer() as writer:
        workers = [threading.Thread(target=produce, args=(name,)) for name in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    texts = journal.texts()
    assert len(texts) == threads * each
    for name in range(threads):
        own = [text for text in texts if text.startswith(f"{name}.")]
        assert own == [f"{name}.{at}" for at in range(each)]


def test_an_empty_batch_is_acknowledged(journal: Journal) -> None:
    """No rows make no file and no frame: they are answered with where the journal stands."""
    with journal.writer() as writer:
        first = writer.append(notes())
        paths = list(journal.paths)
        written = writer.append(notes("a"))
        position = writer.append(notes())

    assert (first, paths) == ((0, 0), [])
    assert (written, position) == ((1, 1), (1, 1))
    assert journal.texts() == ["a"]


# Files, time and identity


def test_midnight_opens_a_new_file(journal: Journal, clock: SimulatedClock) -> None:
    """A file belongs to one UTC day: the last microsecond is in the old file, midnight in the new one."""
    clock.move(12 * HOUR - 1)

    with journal.writer() as writer:
        before = writer.append(notes("before"))
        clock.move(1)
        after = writer.append(notes("after"))

    headers = [files.header_of(path, path.read_bytes())[0] for path in journal.paths]
    assert (before, after) == ((1, 1), (2, 1))
    assert [header.day for header in headers] == ["2026-03-01", "2026-03-02"]
    assert journal.texts() == ["before", "after"]


def test_a_step_back_opens_a_new_file(journal: Journal, clock: SimulatedClock) -> None:
    """A clock that was set back makes no event.ingested decrease within a file; standing still is fine."""
    with journal.writer() as writer:
        positions = [writer.append(notes("a")), writer.append(notes("b"))]
        clock.move(-1)
        positions.append(writer.append(notes("c")))

    assert positions == [(1, 1), (1, 2), (2, 1)]
    assert journal.texts() == ["a", "b", "c"]


@given(st.lists(st.sampled_from([0, 1, SECOND, 5 * HOUR, -1, -SECOND, -7 * HOUR]), max_size=8))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_the_clock_moves(journal: Journal, steps: list[int]) -> None:
    """Whatever the clock does: time never runs back within a file, no file spans midnight, no id repeats."""
    journal.clock.now = NOON
    already = len(journal.texts())
    with journal.writer() as writer:
        for step in steps:
            journal.clock.now = min(max(NOON - DAY, journal.clock.now + step), NOON + 4 * DAY)
            writer.append(notes("x", "y"))

    frames = list(journal.reader().frames())
    times: dict[int, list[int]] = {}
    for one in frames:
        stamps = one.batch.column("event.ingested").cast(pa.int64()).to_pylist()
        times.setdefault(one.position.file, []).extend(stamps)
    ids = column(journal, "event.id")
    assert all(stamps == sorted(stamps) for stamps in times.values())
    assert all(stamps[0] // DAY == stamps[-1] // DAY for stamps in times.values())
    assert len(set(ids)) == len(ids) == already + 2 * len(steps)


def test_ids_are_writer_file_row(journal: Journal, clock: SimulatedClock) -> None:
    """event.id counts rows across the frames of a file and starts again in the next, under its number."""
    with journal.writer() as writer:
        writer.append(notes("a", "b"))
        writer.append(notes("c"))
        clock.move(DAY)
        writer.append(notes("d"))

    assert column(journal, "event.id") == ["pen.1.0", "pen.1.1", "pen.1.2", "pen.2.0"]


def test_the_writer_stamps_what_producers_claim(journal: Journal, clock: SimulatedClock) -> None:
    """A producer's own event.id and event.ingested are replaced: retention starts at the writer."""
    batch = notes("a")
    batch = batch.set_column(2, batch.schema.field(2), pa.array(["forged"]))
    batch = batch.set_column(1, batch.schema.field(1), pa.array([0], pa.timestamp("us")))

    with journal.writer() as writer:
        writer.append(batch)

    assert column(journal, "event.id") == ["pen.1.0"]
    stamp = dt.datetime.fromtimestamp(clock.now / 1e6, dt.UTC).replace(tzinfo=None)
    assert column(journal, "event.ingested") == [stamp]


def test_every_start_has_fresh_secrets(journal: Journal) -> None:
    """Each file has its own sealed secrets; the same row twice gives two ciphertexts and chains."""
    journal.write("a")
    journal.write("a")
    one, two = (path.read_bytes() for path in journal.paths)

    headers = [files.header_of(path, path.read_bytes())[0] for path in journal.paths]
    chains = [frame.chain for frame in journal.reader().frames()]

    assert headers[0].sealed != headers[1].sealed
    assert chains[0] != chains[1]
    assert one[-100:] != two[-100:]


def test_rows_are_not_in_clear(journal: Journal) -> None:
    """Nothing of a row's text is readable in the directory without the keys."""
    journal.write("somchai@school.example")

    content = b"".join(path.read_bytes() for path in journal.directory.iterdir())

    assert b"somchai" not in content


def test_no_file_without_a_row(journal: Journal) -> None:
    """A writer that is started and closed leaves no file: only rows open one."""
    with journal.writer():
        pass

    assert journal.paths == []


# Refusals


def test_a_second_writer_is_refused(journal: Journal) -> None:
    """One writer per journal: another is told who is in the way; when the first ends, it may start."""
    with journal.writer() as writer:
        writer.append(notes("a"))
        with pytest.raises(JournalBusyError, match="another process"):
            journal.writer(wait_seconds=0)
    with journal.writer(wait_seconds=0) as writer:
        writer.append(notes("b"))

    assert journal.texts() == ["a", "b"]


def test_a_second_writer_waits(journal: Journal) -> None:
    """Within its patience a second writer waits for the first to end, then goes on behind it."""
    first = journal.writer()
    first.append(notes("a"))
    threading.Timer(0.2, first.close).start()

    with journal.writer(wait_seconds=10) as second:
        second.append(notes("b"))

    assert journal.texts() == ["a", "b"]


def test_damage_in_the_middle_stops_the_writer(journal: Journal) -> None:
    """A damaged frame before a whole one is no crash: no writer starts, nothing changes, no lock stays."""
    journal.write("a", "b")
    (path,) = journal.paths
    _, length = files.header_of(path, path.read_bytes())
    flip(path, length + 100)
    before = path.read_bytes()

    for _ in range(2):
        with pytest.raises(JournalDamagedError) as caught:
            journal.writer(wait_seconds=0)
        assert (caught.value.path, caught.value.offset) == (path, length)

    assert path.read_bytes() == before
    assert journal.paths == [path]


def test_writing_goes_on_after_every_truncation(journal: Journal) -> None:
    """Torn anywhere behind the header: the next start sets the rest aside and the chain goes on correctly."""
    journal.write("a", "b")
    (path,) = journal.paths
    data = path.read_bytes()
    _, length = files.header_of(path, data)

    for cut in range(length, len(data), 29):
        again = Journal(journal.root / f"cut-{cut}", journal.clock)
        again.directory.mkdir(parents=True)
        again.recipients = journal.recipients
        (again.directory / path.name).write_bytes(data[:cut])
        again.write("c")
        tails = sorted(again.directory.glob("*.tail-*"))
        kept = (again.directory / path.name).read_bytes() + b"".join(tail.read_bytes() for tail in tails)
        assert again.texts()[-1] == "c"
        assert kept == data[:cut]


def test_columns_of_another_dataset_are_refused(journal: Journal) -> None:
    """A batch of another schema is refused to its producer at once, and disturbs nobody else."""
    with journal.writer() as writer:
        with pytest.raises(SchemaError, match="not those of notes"):
            writer.submit(notes("a").select(["message"]))
        writer.append(notes("b"))

    assert journal.texts() == ["b"]


def test_a_value_without_a_line_is_refused(journal: Journal) -> None:
    """A row that cannot be encoded is never written; what came before stays, and writing can go on."""
    with journal.writer() as writer:
        writer.append(notes("a"))
        with pytest.raises(SchemaError, match="message"):
            writer.append(notes(""))
        writer.recover()
        position = writer.append(notes("b"))

    assert position == (1, 2)
    assert journal.texts() == ["a", "b"]


def test_a_frame_too_large_to_be_read_is_not_written(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the reader would refuse for its size, the writer refuses first."""
    monkeypatch.setattr(writing, "MAX_BODY_BYTES", 100)

    with journal.writer() as writer, pytest.raises(JournalWriteError, match="expected at most 100"):
        writer.append(notes("a"))

    assert journal.texts() == []


def test_a_day_without_a_key_is_refused(journal: Journal, clock: SimulatedClock) -> None:
    """Without the recipient's key nothing is written, and it is said; with the day's key it goes on."""
    clock.move(100 * DAY)

    with journal.writer() as writer:
        with pytest.raises(KeyMaterialError, match="no recipient key"):
            writer.append(notes("a"))
        clock.move(-100 * DAY)
        writer.recover()
        writer.append(notes("b"))

    assert journal.texts() == ["b"]


# Failing disk: every call, lost and persisted, once and for good

FIRST_FRAME, NEXT_FRAME = 11, 2
"""Calls to the disk for a frame that opens a file (close of the old one apart), and for a further one."""

FORMS = ["failed", "persisted", "partial"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", range(FIRST_FRAME + 1))
def test_a_call_that_fails_once(journal: Journal, disk: Disk, step: int, form: str) -> None:
    """One failing call while a new day's file is opened costs nothing: the rows are there once, durably."""
    with journal.writer() as writer:
        writer.append(notes("before"))
        journal.clock.move(DAY)
        disk.fail(step, form, times=1, code=errno.EIO)
        writer.append(notes("during"))
        disk.repair()
        writer.append(notes("after"))

    assert journal.texts() == ["before", "during", "after"]
    journal.write("restarted")
    assert journal.texts() == ["before", "during", "after", "restarted"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", range(NEXT_FRAME))
def test_a_frame_that_fails_once(journal: Journal, disk: Disk, step: int, form: str) -> None:
    """A failed write or sync of a further frame moves its rows to a new file; what persisted is void."""
    with journal.writer() as writer:
        writer.append(notes("before"))
        disk.fail(step, form, times=1, code=errno.ENOSPC)
        position = writer.append(notes("during"))
        disk.repair()
        writer.append(notes("after"))

    assert position == (2, 1)
    assert journal.texts() == ["before", "during", "after"]
    journal.write("restarted")
    assert journal.texts() == ["before", "during", "after", "restarted"]


@pytest.mark.parametrize("new_day", [False, True], ids=["same-file", "new-file"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", range(FIRST_FRAME + 1))
def test_a_disk_that_stays_full(journal: Journal, disk: Disk, step: int, form: str, *, new_day: bool) -> None:
    """While it fails rows are refused in words; with room again, exactly what was acknowledged is there."""
    acknowledged = ["before"]
    with journal.writer() as writer:
        writer.append(notes("before"))
        if new_day:
            journal.clock.move(DAY)
        disk.fail(step, form, times=1_000, code=errno.ENOSPC)
        try:
            writer.append(notes("during"))
            acknowledged.append("during")
        except JournalWriteError as error:
            assert "No space left on device; 1 rows were not written" in str(error)  # noqa: PT017
            with pytest.raises(JournalWriteError):
                writer.append(notes("refused until recover()"))
        disk.repair()
        writer.recover()
        writer.append(notes("after"))

    assert journal.texts() == [*acknowledged, "after"]
    journal.write("restarted")
    assert journal.texts() == [*acknowledged, "after", "restarted"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", range(NEXT_FRAME))
def test_a_process_that_ends_on_a_full_disk(journal: Journal, disk: Disk, step: int, form: str) -> None:
    """Refused rows may stand there after a restart if the disk kept them after all, but never twice.

    No successor could be written that voids them, so a frame that persisted whole counts at the next start.
    """
    with journal.writer() as writer:
        writer.append(notes("before"))
        disk.fail(step, form, times=1_000, code=errno.ENOSPC)
        with pytest.raises(JournalWriteError):
            writer.append(notes("during"))
    disk.repair()

    journal.write("restarted")

    persisted = form == "persisted" or step == 1
    assert journal.texts() == ["before", *(["during"] if persisted else []), "restarted"]


def test_what_waits_behind_a_refusal_is_refused(journal: Journal, disk: Disk) -> None:
    """Rows queued behind refused ones are refused too: a producer never sees a hole followed by success."""
    with journal.writer() as writer:
        disk.hold("fdatasync")
        first = writer.submit(notes("a"))
        assert disk.entered.wait(5)
        second = writer.submit(notes("b"))
        disk.fail(0, "failed", times=1_000)
        disk._fault.name = "fdatasync"  # type: ignore[union-attr]
        disk.release()
        with pytest.raises(JournalWriteError):
            second.result(5)
        disk.repair()
        writer.recover()
        writer.append(notes("c"))

    assert first.done()
    assert "b" not in journal.texts()
    assert journal.texts()[-1] == "c"


def test_an_unwritten_journal_is_not_retried_for_ever(journal: Journal, disk: Disk) -> None:
    """Two attempts, then the producer is told: a broken disk does not hang the capture."""
    with journal.writer() as writer:
        writer.append(notes("a"))
        disk.fail(1, "failed", times=1_000)
        with pytest.raises(JournalWriteError):
            writer.append(notes("b"))
        tries = disk.calls.count("fdatasync")
        disk.repair()

    assert tries == 2


# Sudden death

CHILD = """
import sys
from pathlib import Path
from tests.support.disk import Journal, notes

journal = Journal(Path(sys.argv[1]))
with journal.writer() as writer:
    at = 0
    while True:
        position = writer.append(notes(f"{sys.argv[2]}.{at}"))
        print(f"{sys.argv[2]}.{at}", *position, flush=True)
        at += 1
"""


def test_killed_ten_times(journal: Journal) -> None:
    """Killed at any moment, ten times over: all that was acknowledged is there, once, where it was said."""
    acknowledged: dict[str, Position] = {}
    chance = random.Random(26)

    for turn in range(10):
        for words in killed(journal.root, turn, chance.randrange(1, 60)):
            acknowledged[words[0]] = Position(int(words[1]), int(words[2]))

    found = {
        text: frame.position
        for frame in journal.reader().frames()
        for text in frame.batch.column("message").to_pylist()
    }
    last = journal.reader()
    assert len(list(last.frames())) == len(found)
    assert acknowledged.items() <= found.items()
    assert len(found) - len(acknowledged) <= 10
    assert all(damage.path == journal.paths[-1] for damage in last.damages)
    journal.write("alive")
    assert journal.texts()[-1] == "alive"


def killed(root: Path, turn: int, after: int) -> list[list[str]]:
    """What a child acknowledged before it was killed, soon after its *after*-th line."""
    command = [sys.executable, "-c", CHILD, str(root), str(turn)]
    project = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=project) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(after)]
        child.kill()
        lines += child.stdout.readlines()
    return [line.split() for line in lines if line.endswith("\n") and len(line.split()) == 3]


def test_flush_does_not_wait_for_more_rows(journal: Journal) -> None:
    """A producer that has nothing more gets its answer before the group's time is over."""
    with with_window(journal, 60_000).writer() as writer:
        future = writer.submit(notes("a"))

        writer.flush()

        assert future.result(timeout=10) == Position(1, 1)
