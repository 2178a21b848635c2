"""What goes wrong with input and machine: the words, the next step, the exit code, and nothing lost.

One test for each way; each gives the whole answer that a person sees.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from applog.health import DATASETS
from retention.store import Store
from tests.support.command import CAPTURES, Outcome, audits, lines, new_store, quickly

NOBODY = 65_534


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store without a record."""
    return new_store(tmp_path / "store")


def importing(store: Store, path: Path | str) -> Outcome:
    """Import a capture of tests/pcaps, or another path."""
    return quickly(store.root, "import", str(CAPTURES / path), "--profile", "detailed")


def counts(store: Store) -> dict[str, int]:
    """How many rows of each dataset there are, of those that have any."""
    return {name: len(rows) for name, rows in lines(store).items() if rows}


def losses(store: Store) -> list[tuple[object, object, object]]:
    """Reason, packets and bytes of the coverage records."""
    table = next(store.read(dataset).table for dataset in DATASETS if dataset.name == "coverage")
    return [
        (row["coverage.reason"], row["coverage.packets"], row["coverage.bytes"]) for row in table.to_pylist()
    ]


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A folder of an ordinary user, in whose name the block runs: root may open everything."""
    folder = Path(tempfile.mkdtemp(prefix="applog-test-user-"))
    folder.chmod(0o755)
    root = os.geteuid() == 0
    if root:
        os.chown(folder, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield folder
    finally:
        if root:
            os.setresuid(0, 0, 0)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(folder)


def loaded(store: Store) -> None:
    """Let an import load every module it needs: the ordinary user may not read where Python is."""
    assert importing(store, "tcp-fin.pcap").code == 0


def test_a_file_that_is_not_a_capture(store: Store) -> None:
    """Named with what it begins with and what was expected; nothing is stored."""
    done = importing(store, "not-a-capture.pcap")

    assert done.code == 5
    assert done.err.splitlines() == [
        f"applog: error: {CAPTURES}/not-a-capture.pcap: byte 0: not a capture, it begins 44 65 61 72",
        "applog: hint: expected pcap or pcapng, plain or compressed with gzip or zstd",
    ]
    assert counts(store) == {}


def test_an_unknown_link_type(store: Store) -> None:
    """Every packet is counted with its bytes, the link type named; the import is done."""
    done = importing(store, "unknown-linktype.pcap")

    assert (done.code, done.err) == (0, "")
    assert "20 packets" in done.out
    assert "not recorded: unknown-link-type: link types that cannot be read (declared: 147)" in done.out
    assert counts(store) == {"coverage": 1}
    ((reason, packets, size),) = losses(store)
    assert (reason, packets) == ("unknown-link-type", 20)
    assert isinstance(size, int)
    assert size > 0


def test_a_truncated_last_packet(store: Store) -> None:
    """The whole packets before it are recorded; the byte where reading stopped and what follows are said."""
    done = importing(store, "truncated-packet.pcap")

    assert done.code == 0
    assert "19 packets" in done.out
    assert "not recorded: unreadable: byte 3295: the file ends inside a record (36 bytes)" in done.out
    assert counts(store) == {"flow": 3, "dns": 1, "coverage": 1}


def test_a_block_longer_than_the_file(store: Store) -> None:
    """What is whole before the block is recorded; the rest of the file is counted."""
    done = importing(store, "long-block.pcapng")

    assert done.code == 0
    assert "6 packets" in done.out
    assert "not recorded: unreadable: byte " in done.out
    ((reason, _, size),) = losses(store)
    assert (reason, size) == ("unreadable", 68)
    assert counts(store)["flow"] >= 1


def test_a_zero_length_capture(store: Store) -> None:
    """A file without a byte is no capture; nothing is stored."""
    done = importing(store, "empty.pcap")

    assert done.code == 5
    assert "empty.pcap: the file is empty" in done.err
    assert "applog: hint: expected pcap or pcapng" in done.err
    assert counts(store) == {}


@pytest.mark.parametrize("name", ["header-only.pcap", "header-only.pcapng"])
def test_a_capture_of_nothing(store: Store, name: str) -> None:
    """A header without packets is a valid capture: imported, with no record and no loss."""
    done = importing(store, name)

    assert done.code == 0
    assert "0 packets; no records" in done.out
    assert counts(store) == {}
    assert [one["event.outcome"] for one in audits(store)] == ["unknown", "success"]


@pytest.mark.parametrize(
    ("name", "words"), [("clock-back.pcap", "went back by"), ("clock-ahead.pcap", "ahead")]
)
def test_a_clock_that_jumps(store: Store, name: str, words: str) -> None:
    """Every packet is recorded; the jump is in coverage with its size and the packet where it was."""
    done = importing(store, name)

    assert done.code == 0
    assert "20 packets" in done.out
    assert "not recorded: clock-jump: the packets' clock went " in done.out
    assert words in done.out
    assert "at packet 11" in done.out
    assert losses(store)[0][0] == "clock-jump"


def test_the_same_file_twice(store: Store) -> None:
    """Refused with how to do it all the same; the first one's records are untouched."""
    first = importing(store, "dns.pcap")
    before = lines(store, whole=True)

    second = importing(store, "dns.pcap")

    assert (first.code, second.code) == (0, 5)
    assert second.err.splitlines() == [
        f"applog: error: {CAPTURES}/dns.pcap: imported before (1 times)",
        "applog: hint: give --again to import it once more under another run number",
    ]
    assert lines(store, whole=True) == before


def test_a_missing_file(store: Store) -> None:
    """Named, with what to check; there is no audit of a file that nobody read."""
    done = importing(store, "/nowhere/monday.pcap")

    assert done.code == 5
    assert done.err.splitlines() == [
        "applog: error: /nowhere/monday.pcap: No such file or directory",
        "applog: hint: check the path and its permissions",
    ]
    assert audits(store) == []


def test_a_directory(store: Store) -> None:
    """A directory is told from a file."""
    done = importing(store, CAPTURES)

    assert done.code == 5
    assert f"applog: error: {CAPTURES}: expected a capture file, found a directory" in done.err
    assert "applog: hint: check the path" in done.err


def test_an_unreadable_file(store: Store) -> None:
    """A capture of somebody else is refused by name; nothing is stored."""
    loaded(store)

    with unprivileged() as folder:
        mine = Store.create(folder / "store")
        path = folder / "secret.pcap"
        path.write_bytes((CAPTURES / "dns.pcap").read_bytes())
        path.chmod(0)
        done = importing(mine, path)
        stored = counts(mine)

    assert done.code == 5
    assert f"applog: error: {path}: Permission denied" in done.err
    assert "applog: hint: check the path and its permissions" in done.err
    assert stored == {}


def test_a_full_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 6 with what to do; afterwards the same command completes it, nothing lost or doubled."""
    real = os.fdatasync
    synced: list[int] = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", full)
        failed = importing(store, "dns.pcap")
    done = importing(store, "dns.pcap")

    assert failed.code == 6
    assert "No space left on device" in failed.err
    assert "applog: hint: free some disk space or make the data directory writable" in failed.err
    assert done.code == 0
    assert counts(store) == {"flow": 3, "dns": 3}


def test_a_read_only_data_directory(store: Store) -> None:
    """The directory and the reason are named, with exit code 6; what is stored can still be counted."""
    loaded(store)
    quickly(store.root, "status")

    with unprivileged() as folder:
        mine = folder / "store"
        Store.create(mine)
        for path in (mine, *mine.rglob("*")):
            path.chmod(path.stat().st_mode & 0o555)
        done = importing(Store.open(mine), "dns.pcap")
        status = quickly(mine, "status")

    assert done.code == 6
    assert f"cannot write to {mine}: Permission denied" in done.err
    assert "Traceback" not in done.err
    assert status.code == 0, status.err


def test_somebody_elses_data_directory(store: Store) -> None:
    """A store that may not be opened is told from one that is missing."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to have two users")
    loaded(store)

    with unprivileged():
        done = quickly(store.root, "status")

    assert done.code == 4
    assert f"cannot open the store at {store.root}: Permission denied" in done.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[capture]\nprofil = 1\n", "capture.profil: unknown key; expected one of profile"),
        ("[inbox]\nevery_seconds = 0\n", "inbox.every_seconds: expected 1 to 3600; found 0"),
        ("[capture\n", "Expected ']'"),
    ],
)
def test_a_wrong_configuration(store: Store, tmp_path: Path, content: str, words: str) -> None:
    """Nothing is done with a configuration that is not understood; key and allowed values are named."""
    config = tmp_path / "applog.toml"
    config.write_text(content)

    done = quickly(store.root, "import", str(CAPTURES / "dns.pcap"), APPLOG_CONFIG=str(config))

    assert done.code == 5
    assert words in done.err
    assert audits(store) == []


@pytest.mark.parametrize(
    "words", [["import", str(CAPTURES / "dns.pcap")], ["search"], ["status"], ["run"], ["demo"]]
)
def test_no_store(tmp_path: Path, words: list[str]) -> None:
    """Every command that needs a store says that there is none and which command makes one; it makes none."""
    done = quickly(tmp_path / "none", *words)

    assert done.code == 4
    assert done.err.splitlines() == [
        f"applog: error: no applog store at {tmp_path / 'none'}: expected a file store.json there",
        "applog: hint: create one with: applog init",
    ]
    assert not (tmp_path / "none").exists()
