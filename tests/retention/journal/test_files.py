"""Journal files: their numbers, and what recovery keeps, sets aside and refuses."""

import os
from pathlib import Path

import pytest

from retention.errors import JournalDamagedError
from retention.journal import files
from retention.journal.frame import FoundFrame, scan
from tests.support.disk import Disk, Journal, flipped, notes, put


@pytest.fixture
def written(journal: Journal) -> Journal:
    """One file with three frames."""
    journal.write("a", "b", "c")
    return journal


def frames_of(path: Path) -> tuple[int, list[FoundFrame]]:
    """Length of the file header, and the frames of an undamaged file."""
    data = path.read_bytes()
    header, length = files.header_of(path, data)
    found = list(scan(data, length, files.start_hash(header)))
    assert all(isinstance(one, FoundFrame) for one in found)
    return length, [one for one in found if isinstance(one, FoundFrame)]


def test_files_are_numbered_in_order(tmp_path: Path) -> None:
    """Eight digits, by number and not by name; other files are not journals."""
    for name in ("00000010", "00000002", "100000000", "1x", "lock"):
        (tmp_path / f"{name}.journal").touch()
    (tmp_path / "00000002.tail-5").touch()
    (tmp_path / ".00000003.journal.7.tmp").touch()

    assert list(files.numbered(tmp_path)) == [2, 10]
    assert files.path_of(tmp_path, 7).name == "00000007.journal"


def test_only_regular_files_are_journals(tmp_path: Path) -> None:
    """A named pipe would make a reader wait for ever, and a link leads elsewhere: neither is opened."""
    (tmp_path / "00000001.journal").touch()
    os.mkfifo(tmp_path / "00000002.journal")
    (tmp_path / "00000003.journal").symlink_to("/etc/passwd")

    assert list(files.numbered(tmp_path)) == [1]


def test_an_undamaged_file_is_left_alone(written: Journal) -> None:
    """Control: recovery of a whole file changes nothing and finds its last frame."""
    (path,) = written.paths
    before = path.read_bytes()
    _, found = frames_of(path)

    last = files.recover(path)

    assert last == files.LastFrame(frames=3, chain=found[-1].header.chain)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.tail-*"))


@pytest.mark.usefixtures("quick_sync")
def test_every_truncation_is_recovered(written: Journal) -> None:
    """Cut anywhere: whole frames stay, the torn rest lies in a .tail file, not a byte is lost."""
    (path,) = written.paths
    data = path.read_bytes()
    length, found = frames_of(path)
    ends = [length, *(one.body.stop + 4 for one in found)]

    for cut in range(length, len(data) + 1):
        put(path, data[:cut])
        whole = max(end for end in ends if end <= cut)
        last = files.recover(path)
        tails = list(path.parent.glob("*.tail-*"))
        assert last.frames == ends.index(whole)
        assert path.read_bytes() == data[:whole]
        assert [tail.read_bytes() for tail in tails] == ([data[whole:cut]] if cut > whole else [])
        for tail in tails:
            assert tail.name == f"00000001.tail-{whole}"
            tail.unlink()


def test_a_cut_file_header_is_refused(written: Journal) -> None:
    """A file header is written whole or not at all, so a cut one is no crash: recovery refuses."""
    (path,) = written.paths
    data = path.read_bytes()
    length, _ = frames_of(path)

    for cut in range(length):
        put(path, data[:cut])
        with pytest.raises(JournalDamagedError) as caught:
            files.recover(path)
        assert (caught.value.path, caught.value.offset) == (path, 0)
        assert path.read_bytes() == data[:cut]


@pytest.mark.usefixtures("quick_sync")
def test_every_flipped_byte_is_refused_or_set_aside(written: Journal) -> None:
    """Damage with a valid header behind it is refused untouched; only the last frame can pass as torn."""
    (path,) = written.paths
    data = path.read_bytes()
    length, found = frames_of(path)
    last = found[-1].offset

    for at in range(len(data)):
        put(path, flipped(data, at))
        if at < last:
            with pytest.raises(JournalDamagedError) as caught:
                files.recover(path)
            starts = [0] if at < length else [one.offset for one in found if one.offset <= at]
            assert caught.value.offset == starts[-1]
            assert path.read_bytes() == flipped(data, at)
        else:
            assert files.recover(path).frames == 2
            tail = path.with_name(f"00000001.tail-{last}")
            assert path.read_bytes() + tail.read_bytes() == flipped(data, at)
            tail.unlink()


def test_two_damaged_frames_are_not_a_torn_tail(written: Journal) -> None:
    """Frames 2 and 3 both altered: 3's header still stands there, so this is no crash."""
    (path,) = written.paths
    _, found = frames_of(path)
    data = flipped(flipped(path.read_bytes(), found[1].body.start), found[2].body.start)
    path.write_bytes(data)

    with pytest.raises(JournalDamagedError, match="frame 2: its checksum"):
        files.recover(path)

    assert path.read_bytes() == data


def test_the_tail_is_copied_before_it_is_cut(written: Journal, disk: Disk) -> None:
    """If the copy cannot be made durable, nothing is cut; if the cut is the last thing done, it is synced."""
    (path,) = written.paths
    torn = path.read_bytes()[:-1]
    path.write_bytes(torn)

    for step in range(8):
        disk.fail(step, "failed", times=1)
        with pytest.raises(OSError, match="Input/output"):
            files.recover(path)
        disk.repair()
        assert path.read_bytes() == torn or step == 7
    files.recover(path)

    assert disk.calls[-1] == "fsync"


def test_recovered_frames_are_made_durable(written: Journal, disk: Disk) -> None:
    """What a killed writer left in memory is synced before a successor counts on it."""
    (path,) = written.paths

    files.recover(path)

    assert "fsync" in disk.calls


@pytest.mark.parametrize("place", ["other/pen/00000001", "notes/quill/00000001", "notes/pen/00000002"])
def test_a_file_in_another_place_is_refused(written: Journal, place: str) -> None:
    """A file moved to another dataset, writer or number says what it really is."""
    (path,) = written.paths
    moved = written.root / f"{place}.journal"
    moved.parent.mkdir(parents=True, exist_ok=True)
    os.rename(path, moved)  # noqa: PTH104  as an administrator would

    with pytest.raises(JournalDamagedError, match="this is file 1 of notes/pen"):
        files.recover(moved)


def test_rows_after_recovery_are_chained(written: Journal) -> None:
    """Writing goes on in a new file that names the whole frames of the torn one."""
    (path,) = written.paths
    path.write_bytes(path.read_bytes()[:-1])

    with written.writer() as writer:
        position = writer.append(notes("d"))

    assert position == (2, 1)
    assert written.texts() == ["a", "b", "d"]
