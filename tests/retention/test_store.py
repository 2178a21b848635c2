"""The data directory: made once, opened only when it is one, and read whole."""

import datetime as dt
import json
from pathlib import Path

import pytest

from retention.errors import (
    JournalWriteError,
    KeyMaterialError,
    RetentionError,
    StoreError,
    StoreExistsError,
    StoreMissingError,
)
from retention.store import FORMAT, Store
from tests.support.disk import DAY, NOTES, Disk, SimulatedClock, notes

pytestmark = pytest.mark.usefixtures("quick_sync")


def append(store: Store, writer: str, *texts: str) -> None:
    """One file with a frame for each of *texts*."""
    with store.writer(NOTES, writer) as journal:
        for text in texts:
            journal.append(notes(text))


def test_a_new_store_is_complete(store: Store, clock: SimulatedClock, today: dt.date) -> None:
    """Directories, keys and mark are there; keys are for their owner alone; it opens again as the same."""
    mark = json.loads((store.root / "store.json").read_text())

    assert mark == {"format": FORMAT, "store_id": store.mark.store_id, "created": "2026-03-01T12:00:00+00:00"}
    assert {path.name for path in store.root.iterdir()} == {
        "journals",
        "segments",
        "ledger",
        "keys",
        "cache",
        "store.json",
    }
    assert (store.root / "keys").stat().st_mode & 0o777 == 0o700
    assert (store.root / "keys" / "journal" / f"{today}.pub").exists()
    assert Store.open(store.root, clock).mark == store.mark


def test_an_existing_store_is_not_made_again(store: Store) -> None:
    """Creation over a store is refused and changes no byte of it."""
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}

    with pytest.raises(StoreExistsError):
        Store.create(store.root)

    assert before == {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("where", ["nothing", "file", "file/below", "directory"])
def test_what_is_no_store_is_not_opened(tmp_path: Path, where: str) -> None:
    """A missing path, a file, or a directory without a mark is not a store; nothing is made there."""
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()

    with pytest.raises(StoreMissingError, match=f"no applog store at {tmp_path / where}"):
        Store.open(tmp_path / where)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "file"]


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"{}", b"[]", b"\xff\xfe", b'{"format":"1","store_id":"","created":""}'],
    ids=["empty", "garbage", "no-fields", "list", "binary", "wrong-type"],
)
def test_a_broken_mark_is_refused(store: Store, content: bytes) -> None:
    """A mark that cannot be read is said to be that; the store is not opened half."""
    (store.root / "store.json").write_bytes(content)

    with pytest.raises(StoreError, match="is not a store's mark"):
        Store.open(store.root)


@pytest.mark.parametrize("version", [0, 2, 99])
def test_another_format_is_refused(store: Store, version: int) -> None:
    """A store of another format is refused, found and expected named, with what to do."""
    mark = {"format": version, "store_id": "0" * 32, "created": "", "later": 1}
    (store.root / "store.json").write_text(json.dumps(mark))

    with pytest.raises(StoreError, match=f"store format {version}, expected 1; please update"):
        Store.open(store.root)


def test_an_unreadable_mark_is_an_error_of_ours(store: Store) -> None:
    """A mark that is a directory comes out as a StoreError, not as the system's exception."""
    (store.root / "store.json").unlink()
    (store.root / "store.json").mkdir()

    with pytest.raises(StoreError, match="not a regular file"):
        Store.open(store.root)


def test_creation_can_be_cut_anywhere(tmp_path: Path, clock: SimulatedClock, disk: Disk) -> None:
    """Whichever call to the disk fails: no store is there yet, or a whole one; creation again finishes it."""
    Store.create(tmp_path / "whole", clock)
    steps = len(disk.calls)

    for step in range(0, steps, 5):
        root = tmp_path / f"cut-{step}"
        disk.fail(step, "failed", times=1)
        try:
            Store.create(root, clock)
        except RetentionError:
            disk.repair()
            if not (root / "store.json").exists():
                with pytest.raises(StoreMissingError):
                    Store.open(root)
                Store.create(root, clock)
        disk.repair()
        store = Store.open(root, clock)
        append(store, "pen", "after")
        assert store.read(NOTES).table.column("message").to_pylist() == ["after"]


def test_creation_keeps_the_keys_it_finds(store: Store, clock: SimulatedClock) -> None:
    """A store without its mark keeps its keys when it is made again: its records stay readable."""
    append(store, "pen", "early")
    (store.root / "store.json").unlink()

    again = Store.create(store.root, clock)

    assert again.read(NOTES).table.column("message").to_pylist() == ["early"]


def test_day_keys_without_their_master_key_are_not_built_upon(store: Store, clock: SimulatedClock) -> None:
    """A store that lost its master key is not made anew around the remains: nothing could read them."""
    (store.root / "store.json").unlink()
    (store.root / "keys" / "master.key").unlink()

    with pytest.raises(KeyMaterialError, match=r"its master key is missing"):
        Store.create(store.root, clock)

    assert not (store.root / "keys" / "master.key").exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """Creation below a file is refused as a StoreError that names the place."""
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="cannot create a store at"):
        Store.create(tmp_path / "file" / "store")


def test_everything_is_read(store: Store, clock: SimulatedClock) -> None:
    """All writers, all files, each row once; event.id is unique and named after its writer and file."""
    append(store, "pen", "a", "b")
    append(store, "quill", "c")
    clock.move(DAY)
    append(store, "pen", "d")

    contents = Store.open(store.root, clock).read(NOTES, deep=True)

    assert contents.damages == ()
    assert contents.table.column("message").to_pylist() == ["a", "b", "d", "c"]
    assert contents.table.column("event.id").to_pylist() == ["pen.1.0", "pen.1.1", "pen.2.0", "quill.1.0"]


def test_columns_can_be_chosen(store: Store) -> None:
    """Only the columns that were asked for come back, in that order; an empty dataset has them too."""
    empty = store.read(NOTES, ["note.number", "message"])
    append(store, "pen", "a")

    chosen = store.read(NOTES, ["note.number", "message"])

    assert empty.table.num_rows == 0
    assert empty.table.column_names == ["note.number", "message"]
    assert chosen.table.to_pylist() == [{"note.number": None, "message": "a"}]


def test_damage_is_in_the_contents(store: Store) -> None:
    """What cannot be read is listed beside what can; another writer's journal loses nothing."""
    append(store, "pen", "a")
    append(store, "quill", "b")
    path = store.root / "journals" / "notes" / "pen" / "00000001.journal"
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    contents = store.read(NOTES)

    assert contents.table.column("message").to_pylist() == ["b"]
    assert [damage.path for damage in contents.damages] == [path]


def test_a_wrong_key_refuses_the_whole_reading(store: Store, clock: SimulatedClock) -> None:
    """A store with another store's master key is refused with words, not shown as empty or damaged."""
    append(store, "pen", "a")
    other = Store.create(store.root.with_name("other"), clock)
    (store.root / "keys" / "master.key").write_bytes((other.root / "keys" / "master.key").read_bytes())

    with pytest.raises(KeyMaterialError, match="the master key does not open it"):
        Store.open(store.root, clock).read(NOTES)


def test_stray_files_are_no_writers(store: Store) -> None:
    """A file among the writers' directories is not a journal."""
    append(store, "pen", "a")
    (store.root / "journals" / "notes" / "README").touch()

    assert store.read(NOTES).table.num_rows == 1


def test_a_writer_that_cannot_start_says_so(store: Store) -> None:
    """A journal directory that cannot be made is a refused write that names the store."""
    (store.root / "journals" / "notes").touch()

    with pytest.raises(JournalWriteError, match="cannot write to"):
        store.writer(NOTES, "pen")
