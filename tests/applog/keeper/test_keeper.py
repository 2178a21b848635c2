"""A real keeper: it starts, works, answers, and stops; and what becomes of its store."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from applog.errors import KeeperError
from applog.keeper.client import ask
from retention.store import Store
from tests.support.command import CAPTURES, Outcome, applog, audits, quickly, started

CONFIG = "[time]\nservers = []\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration that asks nobody for the time."""
    path = tmp_path / "applog.toml"
    path.write_text(CONFIG)
    return path


def running(store: Store, config: Path, verb: str = "keeper") -> "subprocess.Popen[bytes]":
    """A keeper that has done each of its jobs once."""
    process = started(store.root, verb, config=config)
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        try:
            jobs = {job["name"]: job for job in ask(store.root, {"ask": "status"})["jobs"]}
        except KeeperError:
            jobs = {}
        if "ballast" in jobs:
            assert not [job for job in jobs.values() if job["failure"]]
            return process
        time.sleep(0.05)


def stopped(process: "subprocess.Popen[bytes]") -> Outcome:
    """How it ended at SIGTERM."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    return Outcome(code=process.returncode, out=out.decode(), err=err.decode())


def test_the_life_of_a_store(store: Store, config: Path) -> None:
    """Import, seal, verify beside a keeper; a flipped byte is named with code 3; put back, all is well."""
    process = running(store, config)
    imported = applog(store.root, "import", str(CAPTURES / "tcp-fin.pcap"))
    sealed = applog(store.root, "seal", "--now")
    well = applog(store.root, "verify", "--deep")
    segment = store.root / "segments" / "flow" / "00000001.segment"
    data = bytearray(segment.read_bytes())
    data[200] ^= 1
    segment.write_bytes(data)
    broken = applog(store.root, "verify", "--deep")
    data[200] ^= 1
    segment.write_bytes(data)
    again = applog(store.root, "verify", "--deep")
    end = stopped(process)

    assert imported.code == 0, imported.err
    assert "flow/00000001: " in sealed.out
    assert (well.code, again.code) == (0, 0), well.err + again.err
    assert broken.code == 3
    assert "flow/00000001" in broken.err
    assert "applog: hint: copy the data directory before anything else" in broken.err
    assert "FAILED 5 files" in broken.out
    assert end.code == 0, end.err
    assert "stopped" in end.out
    assert "Traceback" not in end.err
    assert quickly(store.root, "status").code == 0


def test_a_second_keeper_is_refused(store: Store, config: Path) -> None:
    """Whether as keeper or as the whole appliance; the first one goes on."""
    process = running(store, config)

    second = applog(store.root, "keeper")
    appliance = applog(store.root, "run")
    status = applog(store.root, "status")
    end = stopped(process)

    for refused in (second, appliance):
        assert refused.code == 6
        assert f"has a keeper already, process {process.pid}; nothing was started" in refused.err
    assert f"keeper: runs, process {process.pid}" in status.out
    assert end.code == 0


def test_the_appliance_keeps_its_store(store: Store, config: Path) -> None:
    """`applog run` answers as the keeper does, and stops as it does."""
    process = running(store, config, "run")

    answer = ask(store.root, {"ask": "open", "dataset": "flow", "role": "auditor", "purpose": "case 7"})
    end = stopped(process)

    assert len(answer["segments"]) == 1
    assert end.code == 0, end.err
    assert "case 7" in [one.get("event.reason") for one in audits(store)]


def test_a_killed_keeper_leaves_nothing_in_the_way(store: Store, config: Path) -> None:
    """Its lock goes with it, its socket is replaced, and what it was at is finished."""
    process = running(store, config)
    process.kill()
    process.communicate(timeout=30)

    assert "does not run" in quickly(store.root, "status").out
    end = stopped(running(store, config))

    assert end.code == 0
    assert quickly(store.root, "verify", "--deep").code == 0
