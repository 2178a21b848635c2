"""Imports: every row once, in order, with its identity, whatever interrupts them and however often."""

import contextlib
import datetime as dt
import errno
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from applog.audit import Actor
from applog.capture.profile import PROFILES
from applog.demo.school import write_school_day
from applog.errors import AlreadyImportedError, ApplogError, CaptureAccessError, ProfileChangedError
from applog.health import DATASETS
from applog.pipeline import WRITER, Importer, ImportReport, Progress, open_capture
from applog.records import FLOW
from retention.errors import JournalDamagedError, JournalWriteError, RetentionError, StoreError
from retention.journal import JournalWriter
from retention.journal.files import numbered
from retention.records import AUDIT
from retention.store import Store
from tests.support.command import CAPTURES, applog, audits, lines, new_store, quickly, started
from tests.support.disk import flip

ACTOR = Actor(user_id="0", user_name="tester", claimed_name=None)
Imported = Callable[..., ImportReport]


def importing(
    store: Store,
    path: Path,
    *,
    profile: str = "detailed",
    again: bool = False,
    progress: Progress = lambda _: None,
) -> ImportReport:
    """Import *path* into *store*."""
    importer = Importer(store=store, actor=ACTOR, profile=PROFILES[profile], again=again)
    with open_capture(path) as stream:
        return importer.run(path, stream, progress)


def outcomes(store: Store) -> list[tuple[str, int]]:
    """What the audit says about imports: outcome and run, in order."""
    return [(str(one["event.outcome"]), int(str(one["audit.run"]))) for one in audits(store)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without a record."""
    return new_store(tmp_path / "store")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half an hour of a school day: all datasets, several batches."""
    path = tmp_path_factory.mktemp("day") / "day.pcap"
    write_school_day(path, dt.datetime(2026, 3, 1, 9, tzinfo=dt.UTC), hours=0.5)
    return path


@pytest.fixture(scope="module")
def whole(day: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The lines that an import of the day without interruption gives."""
    store = new_store(tmp_path_factory.mktemp("whole") / "store")
    importing(store, day)
    return lines(store)


@dataclass
class FullDisk:
    """A disk that is full after some more calls that need space, until somebody makes room."""

    left: float = float("inf")
    """Calls that still succeed."""
    used: int = 0

    def fail_after(self, calls: int) -> None:
        """Let *calls* more succeed."""
        self.left, self.used = calls, 0

    def make_room(self) -> None:
        """Let everything succeed."""
        self.left = float("inf")

    def watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """*call*, as this disk answers it."""

        def answer(*args: Any, **named: Any) -> Any:
            self.used += 1
            if self.used > self.left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*args, **named)

        return answer


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FullDisk:
    """The disk below the store, with room."""
    full = FullDisk()
    for name in ("write", "fsync", "fdatasync"):
        monkeypatch.setattr(os, name, full.watched(getattr(os, name)))
    return full


@pytest.mark.parametrize(
    ("capture", "rows"),
    [
        ("reference-us-le.pcap", {"flow": 3, "dns": 1}),
        ("reference.pcap.gz", {"flow": 3, "dns": 1}),
        ("reference-be.pcapng", {"flow": 3, "dns": 1}),
        ("dhcp-v4.pcap", {"flow": 5, "lease": 4}),
        ("hostile.pcap", {"coverage": None}),
        ("header-only.pcap", {}),
    ],
)
def test_what_a_capture_holds_is_in_the_store(store: Store, capture: str, rows: dict[str, Any]) -> None:
    """Rows of every dataset are durable when the import ends, and the report counts exactly them."""
    report = importing(store, CAPTURES / capture)

    found = {name: len(one) for name, one in lines(store).items() if one}
    assert found == report.rows
    assert all(found[name] == count for name, count in rows.items() if count is not None)
    assert bool(report.losses) == ("coverage" in found)


def test_rows_know_where_they_came_from(store: Store, day: Path) -> None:
    """flow.id is digest.run.ordinal, coverage.source names the file; nobody is named, and why is said."""
    report = importing(store, day)
    found = {dataset.name: store.read(dataset).table for dataset in DATASETS}

    identity = f"{report.digest[:32]}.0"
    for name in ("flow", "dns", "lease"):
        ids = found[name]["flow.id"].to_pylist()
        assert ids
        assert all(re.fullmatch(rf"{identity}\.[0-9]+", one) for one in ids), name
    assert set(found["coverage"]["coverage.source"].to_pylist()) == {f"file:{identity}"}
    assert set(found["flow"]["attribution.reason"].to_pylist()) == {"imported"}
    assert set(found["flow"]["user.name"].to_pylist()) == {None}
    assert set(found["dns"]["flow.id"].to_pylist()) <= set(found["flow"]["flow.id"].to_pylist())


def test_an_import_is_audited_before_and_after(store: Store, day: Path) -> None:
    """Who imported which bytes with which profile is recorded twice: begun, and done with its rows."""
    report = importing(store, day)

    begun, done = audits(store)
    for record in (begun, done):
        assert record["user.name"] == "tester"
        assert record["file.path"] == str(day)
        assert record["file.hash.blake3"] == report.digest
        assert (record["audit.profile"], record["audit.run"]) == ("detailed", 0)
    assert (begun["event.outcome"], done["event.outcome"]) == ("unknown", "success")
    assert done["audit.rows"] == sum(report.rows.values())


def test_the_same_file_is_refused_unless_again(store: Store, day: Path, tmp_path: Path) -> None:
    """The same bytes under any name are refused and stored nothing; --again gives them the next run."""
    importing(store, day)
    before = lines(store, whole=True)
    copy = tmp_path / "another name.pcap"
    copy.write_bytes(day.read_bytes())

    refused = quickly(store.root, "import", str(copy), "--profile", "detailed")
    unchanged = lines(store, whole=True) == before
    again = importing(store, copy, again=True)

    assert refused.code == 5
    assert "imported before" in refused.err
    assert "applog: hint: give --again" in refused.err
    assert unchanged
    assert again.run == 1
    ids = store.read(FLOW, ["flow.id"]).table["flow.id"].to_pylist()
    assert {one.split(".")[1] for one in ids} == {"0", "1"}
    assert len(ids) == 2 * again.rows["flow"]


def batches(day: Path, store: Store) -> int:
    """How many batches the reader hands over."""
    count = [0]
    importing(store, day, progress=lambda _: count.__setitem__(0, count[0] + 1))
    return count[0]


class Interrupted(Exception):  # noqa: N818  it is no error of the program
    """The reader was stopped."""


def stop_at(number: int) -> Progress:
    """A progress callback that stops the reader at batch *number*, when most of those before are shipped."""
    seen = iter(range(number + 1))

    def progress(_: int) -> None:
        if next(seen) == number:
            threading.Event().wait(0.08)
            raise Interrupted

    return progress


def test_an_import_interrupted_at_any_batch_goes_on(
    day: Path, whole: dict[str, list[str]], tmp_path: Path
) -> None:
    """Stopped behind each batch and run again, it leaves what an uninterrupted import leaves, in order."""
    count = batches(day, new_store(tmp_path / "counted"))
    assert count >= 4
    kept: list[int] = []

    for number in range(count):
        store = new_store(tmp_path / f"stopped-{number}")
        with pytest.raises(Interrupted):
            importing(store, day, progress=stop_at(number))
        kept.append(sum(len(rows) for rows in lines(store).values()))

        report = importing(store, day)

        assert lines(store) == whole, number
        assert report.resumed == kept[-1]
        assert outcomes(store) == [("unknown", 0), ("success", 0)]

    assert len({0, sum(map(len, whole.values())), *kept}) >= 4, kept


def test_an_import_whose_journal_refuses_any_batch_goes_on(
    day: Path, whole: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever batch a journal takes half and refuses, what was taken stays; the next run adds the rest."""
    submit = JournalWriter.submit
    kept: list[int] = []
    refused_at = 0

    def refusing(writer: JournalWriter, batch: Any) -> Any:
        if writer._dataset.name != "audit":
            taken[0] += 1
        if taken[0] > refused_at:
            if half := len(batch) // 2:
                submit(writer, batch[:half]).result()
            raise JournalWriteError("refused")
        return submit(writer, batch)

    while True:
        store, taken = new_store(tmp_path / f"refused-{refused_at}"), [0]
        with monkeypatch.context() as patched:
            patched.setattr(JournalWriter, "submit", refusing)
            try:
                importing(store, day)
            except JournalWriteError:
                pass
            else:
                break
        kept.append(sum(len(rows) for rows in lines(store).values()))

        report = importing(store, day)

        assert lines(store) == whole, refused_at
        assert report.resumed == kept[-1]
        refused_at += 1

    assert kept == sorted(set(kept))
    assert len(kept) >= 4


def test_an_import_interrupted_over_and_over_goes_on(
    store: Store, day: Path, whole: dict[str, list[str]]
) -> None:
    """Each attempt is stopped one batch later; the last one finishes exactly."""
    count = 0
    while True:
        try:
            importing(store, day, progress=stop_at(count))
        except Interrupted:
            count += 1
        else:
            break

    assert count >= 4
    assert lines(store) == whole
    assert outcomes(store) == [("unknown", 0), ("success", 0)]


def test_a_second_run_resumes_as_its_own(store: Store, day: Path, whole: dict[str, list[str]]) -> None:
    """An interrupted --again goes on under its own run number and does not touch the first."""
    importing(store, day)
    with pytest.raises(Interrupted):
        importing(store, day, again=True, progress=stop_at(2))

    report = importing(store, day, again=True)

    assert report.run == 1
    assert {name: len(rows) for name, rows in lines(store).items()} == {
        name: 2 * len(rows) for name, rows in whole.items()
    }
    assert outcomes(store) == [("unknown", 0), ("success", 0), ("unknown", 1), ("success", 1)]


def test_an_interrupted_import_does_not_go_on_with_another_profile(store: Store, day: Path) -> None:
    """Rows of two profiles are never mixed under one identity: refused, and the first profile named."""
    with pytest.raises(Interrupted):
        importing(store, day, profile="detailed", progress=stop_at(2))
    before = lines(store, whole=True)

    with pytest.raises(ProfileChangedError, match="begun with --profile detailed") as refused:
        importing(store, day, profile="minimum")

    assert refused.value.exit_code == 5
    assert lines(store, whole=True) == before


def test_damage_in_what_is_stored_stops_a_resumption(store: Store, day: Path, tmp_path: Path) -> None:
    """How far an import came cannot be told from damaged rows, so it is not guessed."""
    last = batches(day, new_store(tmp_path / "counted")) - 1
    with pytest.raises(Interrupted):
        importing(store, day, progress=stop_at(last))
    importing(store, CAPTURES / "tls.pcap")
    first = numbered(store.root / "journals" / "flow" / WRITER)[1]
    flip(first, first.stat().st_size // 2)

    with pytest.raises(JournalDamagedError):
        importing(store, day)


def piped(store: Store, content: bytes, **chosen: Any) -> ImportReport:
    """Import *content* through a pipe."""
    reading, writing = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writing, content))
    feeder.start()
    importer = Importer(store=store, actor=ACTOR, profile=PROFILES["detailed"], **chosen)
    with open(reading, "rb", buffering=0) as stream:  # noqa: PTH123  a descriptor has no path
        report = importer.run(Path("-"), stream)
    feeder.join()
    return report


def _feed(descriptor: int, content: bytes) -> None:
    with open(descriptor, "wb") as pipe:
        pipe.write(content)


def without_identity(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Lines without what differs between a file and a pipe."""
    return {
        name: [re.sub(r'"(file:)?[0-9a-f]{32}\.[0-9]+', '"', line) for line in rows]
        for name, rows in found.items()
    }


def test_a_pipe_gives_the_same_rows(store: Store, day: Path, whole: dict[str, list[str]]) -> None:
    """Through a pipe the rows are those of the file, and the file is then known as imported."""
    report = piped(store, day.read_bytes())

    assert without_identity(lines(store)) == without_identity(whole)
    assert len(report.digest) == 64
    with pytest.raises(AlreadyImportedError):
        importing(store, day)


def test_a_file_after_its_pipe_resumes_exactly(store: Store, day: Path, whole: dict[str, list[str]]) -> None:
    """Piped, then imported --again and interrupted: it goes on where it stopped, nothing twice."""
    piped(store, day.read_bytes())
    with pytest.raises(Interrupted):
        importing(store, day, again=True, progress=stop_at(3))

    importing(store, day, again=True)

    assert {name: len(rows) for name, rows in lines(store).items()} == {
        name: 2 * len(rows) for name, rows in whole.items()
    }


def test_standard_input_may_be_a_file(store: Store) -> None:
    """`applog import - < file` works as the file does, and is refused the second time as it is."""
    with (CAPTURES / "dns.pcap").open("rb") as stream:
        importer = Importer(store=store, actor=ACTOR, profile=PROFILES["detailed"])
        report = importer.run(Path("-"), stream)

    assert report.rows["dns"] == 3
    with pytest.raises(AlreadyImportedError):
        importing(store, CAPTURES / "dns.pcap")


def test_the_real_command_reads_a_pipe(store: Store) -> None:
    """`applog import -` reads what it is given and says what it found."""
    done = applog(store.root, "import", "-", given=(CAPTURES / "dns.pcap").read_bytes())

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("-: 6 packets; ")


def test_a_full_disk_costs_no_row(
    day: Path, whole: dict[str, list[str]], tmp_path: Path, disk: FullDisk
) -> None:
    """Whenever the disk fills up, the import ends with an error of ours; room made, it completes exactly."""
    importing(new_store(tmp_path / "counted"), day)
    needed = disk.used
    errors: set[type[Exception]] = set()

    for calls in range(0, needed, 10):
        store = new_store(tmp_path / f"full-{calls}")
        disk.fail_after(calls)
        with pytest.raises(RetentionError) as failed:
            importing(store, day)
        disk.make_room()
        errors.add(failed.type)
        with contextlib.suppress(AlreadyImportedError):  # its last record was written, only the sync failed
            importing(store, day)

        assert lines(store) == whole, calls
        assert outcomes(store)[-1] == ("success", 0)

    assert needed > 20
    assert JournalWriteError in errors
    assert errors <= {JournalWriteError, StoreError}


def test_a_full_disk_is_said(store: Store, day: Path, disk: FullDisk) -> None:
    """Exit code 6, what the system said, and what to do about it."""
    disk.fail_after(12)

    done = quickly(store.root, "import", str(day))

    assert done.code == 6
    assert "No space left on device" in done.err
    assert "applog: hint: free some disk space" in done.err


def test_two_imports_of_one_file_at_once(store: Store, day: Path, whole: dict[str, list[str]]) -> None:
    """Of two processes one imports, the other is refused as already imported; nothing is there twice."""
    words = ("import", str(day), "--profile", "detailed")
    both = [started(store.root, *words) for _ in range(2)]
    ended = [process.communicate(timeout=60) for process in both]

    codes = sorted(process.returncode for process in both)
    assert codes == [0, 5], ended
    assert any(b"imported before" in err for _, err in ended)
    assert lines(store) == whole
    assert outcomes(store) == [("unknown", 0), ("success", 0)]


def test_an_import_that_waits_sees_the_other_finish(store: Store, day: Path) -> None:
    """However late the first one's last audit record comes, the second does not take its import over."""
    held = store.writer(AUDIT, "cli")
    held.close()
    begun = threading.Event()

    def first(_: int) -> None:
        if not begun.is_set():
            while not audits(store):
                threading.Event().wait(0.01)
            keeper.append(store.writer(AUDIT, "cli"))
            begun.set()

    keeper: list[Any] = []
    with ThreadPoolExecutor(2) as pool:
        one: Future[ImportReport] = pool.submit(importing, store, day, progress=first)
        begun.wait(30)
        two = pool.submit(importing, store, day)
        threading.Event().wait(0.7)
        keeper[0].close()
        results = [future.exception(30) for future in (one, two)]

    assert results[0] is None
    assert isinstance(results[1], AlreadyImportedError)
    assert outcomes(store) == [("unknown", 0), ("success", 0)]


def test_a_data_directory_that_cannot_be_written(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the directory and the reason, with exit code 4; no traceback, nothing half done."""
    real = os.open

    def read_only(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY) and str(path).startswith(str(store.root)):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", read_only)

    done = quickly(store.root, "import", str(CAPTURES / "dns.pcap"))

    assert done.code == 6
    assert f"cannot write to {store.root}: Read-only file system" in done.err
    assert "Traceback" not in done.err


def test_a_name_that_is_no_text_is_kept_and_shown(store: Store, tmp_path: Path) -> None:
    """File names are bytes: one that is not UTF-8 is imported, audited and shown in escaped form."""
    path = tmp_path / os.fsdecode(b"caf\xe9\x1b[2J.pcap")
    path.write_bytes((CAPTURES / "dns.pcap").read_bytes())

    done = quickly(store.root, "import", str(path))

    assert done.code == 0, done.err
    assert r"caf\xe9\x1b[2J.pcap: 6 packets" in done.out
    assert str(audits(store)[-1]["file.path"]).endswith(r"caf\xe9\x1b[2J.pcap")


@pytest.mark.parametrize("path", ["/nowhere/at-all.pcap", "/", "/proc/self/mem"])
def test_what_cannot_be_read_is_an_error_of_ours(store: Store, path: str) -> None:
    """Missing, a directory, or failing while it is read: named, with exit code 5."""
    with pytest.raises(CaptureAccessError, match=path) as refused:
        importing(store, Path(path))

    assert refused.value.exit_code == 5
    assert isinstance(refused.value, ApplogError)


def test_one_bad_file_does_not_stop_the_others(store: Store) -> None:
    """Of several files the good ones are imported; the bad ones are named, and the code says so."""
    names = ("dns.pcap", "not-a-capture.pcap", "tls.pcap")

    done = quickly(store.root, "import", *(str(CAPTURES / name) for name in names))

    assert done.code == 5
    assert "not-a-capture.pcap: byte 0: not a capture" in done.err
    assert "1 of 3 files were not imported" in done.err
    assert [line.split(":")[0].rsplit("/")[-1] for line in done.out.splitlines()] == ["dns.pcap", "tls.pcap"]
