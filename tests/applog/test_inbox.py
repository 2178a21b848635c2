"""The watched folder: what lies still is imported and moved aside; nothing is lost on the way."""

import errno
import logging
import os
import signal
import time
from pathlib import Path

import pytest

from applog.audit import Actor
from applog.capture.profile import PROFILES
from applog.inbox import Inbox
from applog.pipeline import Importer
from retention.store import Store
from tests.support.command import CAPTURES, lines, new_store, started

ACTOR = Actor(user_id="0", user_name="tester", claimed_name=None)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without a record."""
    return new_store(tmp_path / "store")


@pytest.fixture
def inbox(store: Store, tmp_path: Path) -> Inbox:
    """A watched folder, prepared."""
    found = watched(store, tmp_path / "inbox")
    found.prepare()
    return found


def watched(store: Store, folder: Path, profile: str = "detailed") -> Inbox:
    """An inbox at *folder*."""
    importer = Importer(store=store, actor=ACTOR, profile=PROFILES[profile])
    return Inbox(folder=folder, importer=importer)


def put(inbox: Inbox, capture: str, name: str | None = None) -> Path:
    """A copy of a capture in the folder."""
    path = inbox.folder / (name or capture)
    path.write_bytes((CAPTURES / capture).read_bytes())
    return path


def tree(folder: Path) -> set[str]:
    """Every file below *folder*."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def look_twice(inbox: Inbox) -> None:
    """As if nothing happened in between."""
    inbox.look()
    inbox.look()


def test_a_file_that_lies_still_is_imported(inbox: Inbox, store: Store) -> None:
    """Taken at the second look, imported whole, and moved to done/ with its bytes unchanged."""
    put(inbox, "dns.pcap")

    inbox.look()
    after_one = tree(inbox.folder)
    inbox.look()

    assert after_one == {"dns.pcap"}
    assert tree(inbox.folder) == {"done/dns.pcap"}
    assert (inbox.folder / "done" / "dns.pcap").read_bytes() == (CAPTURES / "dns.pcap").read_bytes()
    assert len(lines(store)["dns"]) == 3


def test_a_file_that_grows_is_left_alone(inbox: Inbox, store: Store) -> None:
    """As long as its size or time changes between looks, somebody is writing to it."""
    content = (CAPTURES / "dns.pcap").read_bytes()
    path = inbox.folder / "slow.pcap"
    for end in range(100, len(content), 100):
        path.write_bytes(content[:end])
        inbox.look()
        assert tree(inbox.folder) == {"slow.pcap"}

    path.write_bytes(content)
    look_twice(inbox)

    assert tree(inbox.folder) == {"done/slow.pcap"}
    assert len(lines(store)["dns"]) == 3


def test_a_touched_file_is_left_alone(inbox: Inbox) -> None:
    """The same size at another time is still a change."""
    path = put(inbox, "dns.pcap")
    inbox.look()
    os.utime(path, ns=(1, 1))

    inbox.look()

    assert tree(inbox.folder) == {"dns.pcap"}


@pytest.mark.parametrize("name", ["not-a-capture.pcap", "empty.pcap", "short-header.pcap"])
def test_what_is_no_capture_is_refused_with_its_reason(inbox: Inbox, store: Store, name: str) -> None:
    """The file goes to refused/, and beside it stands why and what was expected; nothing is stored."""
    put(inbox, name)

    look_twice(inbox)

    assert tree(inbox.folder) == {f"refused/{name}", f"refused/{name}.reason.txt"}
    reason = (inbox.folder / "refused" / f"{name}.reason.txt").read_text()
    assert name in reason
    assert "expected pcap or pcapng" in reason
    assert not any(lines(store).values())


def test_the_same_capture_again_is_done(inbox: Inbox, store: Store) -> None:
    """The same bytes under another name are put to the others, and no row is doubled."""
    put(inbox, "dns.pcap")
    look_twice(inbox)
    before = lines(store, whole=True)
    put(inbox, "dns.pcap", "copy.pcap")

    look_twice(inbox)

    assert tree(inbox.folder) == {"done/dns.pcap", "done/copy.pcap"}
    assert lines(store, whole=True) == before


def test_a_name_that_is_taken_gets_a_number(inbox: Inbox) -> None:
    """Two captures of one name are both kept, and so are two refusals with their reasons."""
    for capture in ("dns.pcap", "tls.pcap", "tcp-fin.pcap"):
        put(inbox, capture, "today.pcap")
        look_twice(inbox)
    for capture in ("empty.pcap", "not-a-capture.pcap"):
        put(inbox, capture, "bad.pcap")
        look_twice(inbox)

    assert tree(inbox.folder / "done") == {"today.pcap", "today-2.pcap", "today-3.pcap"}
    assert tree(inbox.folder / "refused") == {
        "bad.pcap",
        "bad.pcap.reason.txt",
        "bad-2.pcap",
        "bad-2.pcap.reason.txt",
    }


def test_what_is_not_for_it_is_left_alone(inbox: Inbox, tmp_path: Path) -> None:
    """Dotted names, directories, links and pipes are neither opened nor moved."""
    put(inbox, "dns.pcap", ".dns.pcap.part")
    (inbox.folder / "folder").mkdir()
    (inbox.folder / "link.pcap").symlink_to(CAPTURES / "dns.pcap")
    os.mkfifo(inbox.folder / "pipe.pcap")

    look_twice(inbox)

    assert tree(inbox.folder) == {".dns.pcap.part", "link.pcap", "pipe.pcap"}
    assert (inbox.folder / "folder").is_dir()
    assert tmp_path.exists()


def test_a_full_disk_is_tried_again(
    inbox: Inbox, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The file stays while the store cannot take it, and the log says why; later it is imported whole."""
    put(inbox, "dns.pcap")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(os, "fdatasync", full)
        look_twice(inbox)
        assert tree(inbox.folder) == {"dns.pcap"}
    inbox.look()

    assert "dns.pcap stays in the inbox" in caplog.text
    assert "No space left on device" in caplog.text
    assert tree(inbox.folder) == {"done/dns.pcap"}
    assert len(lines(store)["dns"]) == 3


def test_a_file_that_cannot_be_moved_is_not_imported_twice(inbox: Inbox, store: Store) -> None:
    """done/ is missing: the file stays, the appliance goes on, and the rows are there once."""
    put(inbox, "dns.pcap")
    (inbox.folder / "done").rmdir()

    look_twice(inbox)
    stayed = tree(inbox.folder)
    inbox.prepare()
    look_twice(inbox)

    assert stayed == {"dns.pcap"}
    assert tree(inbox.folder) == {"done/dns.pcap"}
    assert len(lines(store)["dns"]) == 3


def test_a_file_that_vanishes_is_no_trouble(inbox: Inbox) -> None:
    """Somebody takes the file away between the looks, or just before it is opened."""
    path = put(inbox, "dns.pcap")
    inbox.look()
    path.unlink()

    inbox.look()
    inbox._take(path)

    assert tree(inbox.folder) == set()


def test_one_bad_file_does_not_hold_up_the_others(inbox: Inbox) -> None:
    """Each file has its own fate."""
    for name in ("dns.pcap", "not-a-capture.pcap", "tls.pcap"):
        put(inbox, name)

    look_twice(inbox)

    assert tree(inbox.folder / "done") == {"dns.pcap", "tls.pcap"}
    assert tree(inbox.folder / "refused") == {"not-a-capture.pcap", "not-a-capture.pcap.reason.txt"}


def test_losses_are_in_the_log(inbox: Inbox, caplog: pytest.LogCaptureFixture) -> None:
    """What a capture held that is in no record is said when it is imported."""
    put(inbox, "truncated-packet.pcap")

    with caplog.at_level(logging.INFO):
        look_twice(inbox)

    assert "imported truncated-packet.pcap: 19 packets" in caplog.text
    assert "not recorded: unreadable" in caplog.text


def test_the_appliance_runs_and_stops(store: Store, tmp_path: Path) -> None:
    """`applog run` says what is stored and what it watches, imports what is put there, and ends cleanly."""
    config = tmp_path / "applog.toml"
    config.write_text("[inbox]\nevery_seconds = 1\n")
    process = started(store.root, "run", config=config)
    assert process.stdout is not None
    said = b""
    while b"watching" not in said:
        line = process.stdout.readline()
        assert line, process.communicate(timeout=10)
        said += line

    (store.root / "inbox" / "dns.pcap").write_bytes((CAPTURES / "dns.pcap").read_bytes())
    ends = time.monotonic() + 30
    while not (store.root / "inbox" / "done" / "dns.pcap").exists():
        assert time.monotonic() < ends
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    rest, err = process.communicate(timeout=30)

    assert process.returncode == 0
    assert b"nothing is stored yet" in said
    assert f"watching {store.root / 'inbox'} for captures".encode() in said
    assert b"stopped" in rest
    assert b"imported dns.pcap: 6 packets" in err
    assert b"Traceback" not in err
