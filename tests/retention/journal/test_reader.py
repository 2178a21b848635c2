"""Reading back: every whole frame, every damage by its place, and never a row that was altered."""

import datetime as dt
import hashlib
import os
from pathlib import Path

import pyarrow as pa
import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from retention.dataset import Dataset
from retention.errors import JournalDamagedError, KeyMaterialError, SchemaError
from retention.journal import Position, files, frame
from retention.journal.frame import FileHeader, FoundFrame
from tests.support.disk import DAY, NOTES, Journal, Note, flip, notes, put

TEXTS = ["a", "b", "c"]


@pytest.fixture
def written(journal: Journal) -> Journal:
    """One file with three frames of one row each."""
    journal.write(*TEXTS)
    return journal


@pytest.fixture
def long(journal: Journal) -> Journal:
    """Three files: a b, c d, e f."""
    for texts in ("ab", "cd", "ef"):
        journal.write(*texts)
    return journal


def opened(path: Path) -> tuple[bytes, FileHeader, int, list[FoundFrame]]:
    """Bytes, header, its length and the frames of an undamaged file."""
    data = path.read_bytes()
    header, length = files.header_of(path, data)
    found = [one for one in frame.scan(data, length, files.start_hash(header)) if isinstance(one, FoundFrame)]
    return data, header, length, found


def test_an_undamaged_journal_has_no_damage(long: Journal) -> None:
    """Control: all rows in order, no damage, deep and shallow; positions and chain ends are those written."""
    for deep in (False, True):
        reader = long.reader(deep=deep)
        frames = list(reader.frames())
        assert [one.batch.column("message")[0].as_py() for one in frames] == list("abcdef")
        assert [one.position for one in frames] == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)]
        assert {one.writer for one in frames} == {"pen"}
        assert reader.damages == []


def test_every_flipped_byte_is_named(written: Journal) -> None:
    """Each byte of a file, one at a time: its place is named, other frames are whole, no row is altered."""
    (path,) = written.paths
    data, _, length, found = opened(path)
    starts = [0, *(one.offset for one in found)]
    assert len(data) < 4_000

    for at in range(len(data)):
        mask = 0xFF if at % 2 else 0x01
        flip(path, at, mask)
        texts, damages = written.texts_and_damages(deep=False)
        struck = max(index for index, start in enumerate(starts) if start <= at)
        assert damages[0] == (path.name, starts[struck]), at
        assert texts == ([] if at < length else [text for text in TEXTS if text != TEXTS[struck - 1]]), at
        flip(path, at, mask)

    assert written.texts() == TEXTS


def test_every_flipped_byte_before_other_files_is_named(long: Journal) -> None:
    """In the middle of three files, a flipped byte costs at most its own frame, or its own file's rows."""
    path = long.paths[1]
    data, _, length, found = opened(path)

    for at in range(0, len(data), 3):
        flip(path, at)
        texts, damages = long.texts_and_damages(deep=False)
        flip(path, at)
        lost = "cd" if at < length else "c" if at < found[1].offset else "d"
        assert damages, at
        assert {name for name, _ in damages} == {path.name}, at
        assert texts == [text for text in "abcdef" if text not in lost], at


def test_every_truncation_keeps_whole_frames(written: Journal) -> None:
    """Cut at any length: whole frames are read; a rest that is no frame is named with its offset."""
    (path,) = written.paths
    data, _, length, found = opened(path)
    ends = [length, *(one.body.stop + 4 for one in found)]

    for cut in reversed(range(len(data))):
        os.truncate(path, cut)
        texts, damages = written.texts_and_damages(deep=False)
        whole = [end for end in ends if end <= cut]
        assert texts == TEXTS[: max(0, len(whole) - 1)]
        if cut not in ends:
            assert damages == [(path.name, whole[-1] if whole else 0)]


def test_a_torn_tail_is_said_to_be_one(written: Journal) -> None:
    """A cut last frame may be a write under way; the message says so instead of crying wolf."""
    (path,) = written.paths
    path.write_bytes(path.read_bytes()[:-1])
    reader = written.reader()

    list(reader.frames())

    assert "cut short, or is under way" in str(reader.damages[0])


def test_frames_missing_from_a_succeeded_file_are_damage(long: Journal) -> None:
    """A frame cut from the end of a file that has a successor is noticed: the successor names another end."""
    path = long.paths[0]
    data, _, _, found = opened(path)
    path.write_bytes(data[: found[1].offset])

    texts, damages = long.texts_and_damages()

    assert texts == list("acdef")
    assert damages == [(path.name, found[1].offset)]


@pytest.mark.parametrize("gone", [1, 2])
def test_a_missing_file_is_damage(long: Journal, gone: int) -> None:
    """Numbers run from 1 without holes: a missing file with later ones is named, and the others are read.

    The *last* file's disappearance cannot be noticed from the journal alone: that takes the ledger's heads.
    """
    path = long.paths[gone - 1]
    path.unlink()

    texts, damages = long.texts_and_damages()

    assert damages == [(path.name, 0)]
    assert len(texts) == 4


def test_the_last_file_can_disappear_unnoticed(long: Journal) -> None:
    """What is not protected yet, written down: without a ledger the journal ends where its files end."""
    long.paths[-1].unlink()

    assert long.texts() == list("abcd")


def test_swapped_files_are_damage(long: Journal) -> None:
    """Two files under each other's names are both refused, with what they really are."""
    one, two = long.paths[:2]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    reader = long.reader()

    frames = list(reader.frames())

    assert [str(one.position) for one in frames] == ["Position(file=3, frame=1)", "Position(file=3, frame=2)"]
    assert [damage.path for damage in reader.damages] == [one, two]
    assert "this is file 2 of notes/pen" in str(reader.damages[0])


def test_a_file_of_another_writer_is_damage(long: Journal) -> None:
    """A file copied in from another writer's journal does not become this one's."""
    other = Journal(long.root / "elsewhere", long.clock)
    other.write("x", "y")
    long.paths[2].write_bytes(other.paths[0].read_bytes())

    texts, damages = long.texts_and_damages()

    assert texts == list("abcd")
    assert damages[0] == ("00000003.journal", 0)


def test_frames_cannot_change_places(written: Journal) -> None:
    """Whole frames in another order are each named: the chain and the numbers do not fit."""
    (path,) = written.paths
    data, _, length, found = opened(path)
    one, two, three = (data[each.offset : each.body.stop + 4] for each in found)
    path.write_bytes(data[:length] + one + three + two)

    _, damages = written.texts_and_damages()

    assert [offset for _, offset in damages] == [length + len(one), length + len(one) + len(three)]


def test_a_frame_of_another_file_does_not_open(long: Journal) -> None:
    """A frame is bound to its file's header: in another file it is named and gives no row."""
    data, _, length, _ = opened(long.paths[0])
    path = long.paths[2]
    own, _, own_length, _ = opened(path)
    path.write_bytes(own[:own_length] + data[length:])

    texts, damages = long.texts_and_damages()

    assert texts == list("abcd")
    assert {name for name, _ in damages} == {path.name}


def forged(journal: Journal, row: pa.RecordBatch, rows: int = 1) -> bytes:
    """The file with its second frame made anew by a holder of the right key: *row* under the old hash."""
    (path,) = journal.paths
    data, header, length, found = opened(path)
    info = frame.seal_info(header.dataset, header.writer, header.file)
    day = dt.date.fromisoformat(header.day)
    secret = journal.recipients.open(day, bytes.fromhex(header.sealed), info)
    body = zstandard.ZstdCompressor().compress(row.serialize())
    old = found[1].header
    new = frame.pack_frame_header(old._replace(body_bytes=len(body) + 16, rows=rows))
    sealed = AESGCM(secret[:32]).encrypt(frame.nonce(2), body, hashlib.sha256(data[:length]).digest() + new)
    made = new + sealed + frame.trailer(new, sealed)
    return data[: found[1].offset] + made + data[found[2].offset :]


def test_deep_reading_finds_rows_altered_with_the_key(written: Journal) -> None:
    """Rows re-encrypted with the right key pass the checksums, not the chain: only ``deep`` sees that."""
    path = written.paths[0]
    stamped = next(written.reader().frames()).batch
    path.write_bytes(forged(written, stamped))
    shallow, deep = written.reader(deep=False), written.reader(deep=True)

    believed = [one.batch.column("message")[0].as_py() for one in shallow.frames()]
    checked = [one.batch.column("message")[0].as_py() for one in deep.frames()]

    assert believed == ["a", "a", "c"]
    assert shallow.damages == []
    assert checked == ["a", "c"]
    assert "frame 2: its lines do not give its chain hash" in str(deep.damages[0])


def test_rows_without_a_line_are_damage(written: Journal) -> None:
    """Forged rows that cannot even be encoded are damage like any other, not an exception."""
    written.paths[0].write_bytes(forged(written, notes("")))

    texts, damages = written.texts_and_damages()

    assert texts == ["a", "c"]
    assert len(damages) == 1


def test_a_wrong_number_of_rows_is_damage(written: Journal) -> None:
    """A frame that holds more or fewer rows than its header says is not believed."""
    written.paths[0].write_bytes(forged(written, notes("a"), rows=2))
    reader = written.reader(deep=False)

    rows = [one.batch.num_rows for one in reader.frames()]

    assert rows == [1, 1]
    assert "expected 2 rows, found 1" in str(reader.damages[0])


def test_columns_of_another_shape_are_damage(written: Journal) -> None:
    """A batch that is not of the schema is damage, not an exception of the library."""
    other = pa.RecordBatch.from_pydict({"x": [1]})
    written.paths[0].write_bytes(forged(written, other))

    texts, damages = written.texts_and_damages()

    assert texts == ["a", "c"]
    assert len(damages) == 1


def with_header(journal: Journal, **changes: object) -> None:
    """Put another, well-formed header before the first file's frames."""
    (path,) = journal.paths
    data, header, length, _ = opened(path)
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    path.write_bytes(frame.pack_file_header(FileHeader(**{**fields, **changes})) + data[length:])


@pytest.mark.parametrize("change", [{"schema": 2}, {"encoder": 2}], ids=["schema", "encoder"])
def test_another_version_is_refused(written: Journal, change: dict[str, object]) -> None:
    """Rows of a schema or encoder this version does not know are refused with what to do."""
    with_header(written, **change)

    with pytest.raises(SchemaError, match="please update"):
        list(written.reader().frames())


def test_an_exchanged_header_opens_nothing(written: Journal) -> None:
    """The header is bound into every frame: changed with a fitting checksum, no frame opens."""
    with_header(written, after_frames=7)

    texts, damages = written.texts_and_damages()

    assert texts == []
    assert len(damages) == 3


def test_a_missing_day_key_is_refused(written: Journal, today: dt.date) -> None:
    """Without the day's key the reading ends with words: rows are not silently left out."""
    (written.root / "keys" / f"{today}.key").unlink()
    fresh = Journal(written.root, written.clock)

    with pytest.raises(KeyMaterialError, match=rf"{today}\.key"):
        list(fresh.reader().frames())


def test_a_file_that_cannot_be_read_is_damage(long: Journal) -> None:
    """A bad sector, or here a directory in a file's place, costs that file and is named."""
    path = long.paths[1]
    path.unlink()
    path.mkdir()

    texts, damages = long.texts_and_damages()

    assert texts == list("abef")
    assert damages == [(path.name, 0)]


def test_void_frames_stay_void_behind_damage(written: Journal) -> None:
    """When the last acknowledged frame is damaged, the one behind it, never acknowledged, stays unread."""
    (path,) = written.paths
    data, _, _, found = opened(path)
    os.truncate(path, found[2].offset)
    written.write("later")
    put(path, data)
    control = written.texts()
    flip(path, found[1].body.start)

    texts, damages = written.texts_and_damages()

    assert control == ["a", "b", "later"]
    assert texts == ["a", "later"]
    assert (path.name, found[1].offset) in damages


def test_reading_goes_on_after_a_position(long: Journal) -> None:
    """A follower that names its last position gets exactly what came behind it, also what comes later."""
    everything = [one.position for one in long.reader().frames()]

    for at, position in enumerate(everything):
        assert [one.position for one in long.reader().frames(position)] == everything[at + 1 :]
    long.clock.move(DAY)
    long.write("g")
    assert [one.position for one in long.reader().frames(everything[-1])] == [Position(4, 1)]


def test_nothing_written_is_nothing_read(journal: Journal) -> None:
    """A journal without a directory or without files has no frames and no damage."""
    assert journal.texts() == []
    journal.directory.mkdir(parents=True)
    assert journal.texts() == []


def test_the_damage_is_an_error_of_integrity(written: Journal) -> None:
    """Every damage is a JournalDamagedError that a command can raise as it is."""
    (path,) = written.paths
    flip(path, path.stat().st_size - 1)
    reader = written.reader()

    list(reader.frames())

    assert all(isinstance(damage, JournalDamagedError) for damage in reader.damages)
    assert reader.damages[0].exit_code == 3


def test_an_older_reader_refuses_a_newer_dataset(written: Journal) -> None:
    """The dataset's version is compared with the file's, both ways."""

    class Newer(Note, frozen=True, kw_only=True):
        SCHEMA = 2

    newer = Dataset(name="notes", record=Newer, subject=NOTES.subject)

    with pytest.raises(SchemaError, match=r"schema version 1.*reads 2"):
        list(Journal(written.root, written.clock, newer).reader().frames())


@pytest.mark.parametrize("missing", [1, 40, 150])
def test_half_a_frame_of_a_living_writer_is_no_damage(journal: Journal, missing: int) -> None:
    """It is being written: nobody was told that it is stored. Once its writer is gone, it is a torn end."""
    with journal.writer() as writer:
        for text in TEXTS:
            writer.append(notes(text))
        path = journal.paths[0]
        path.write_bytes(path.read_bytes()[:-missing])

        alive = journal.texts_and_damages()

    gone = journal.texts_and_damages()

    assert alive == (["a", "b"], [])
    assert gone[0] == ["a", "b"]
    assert [name for name, _ in gone[1]] == [path.name]


def test_an_altered_last_frame_is_damage_also_while_its_writer_lives(journal: Journal) -> None:
    """All its bytes are there, and they are not what was written."""
    with journal.writer() as writer:
        for text in TEXTS:
            writer.append(notes(text))
        path = journal.paths[0]
        flip(path, path.stat().st_size - 10)

        texts, damages = journal.texts_and_damages()

    assert texts == ["a", "b"]
    assert [name for name, _ in damages] == [path.name]
