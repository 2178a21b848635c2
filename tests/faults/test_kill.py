"""An import that is killed at any moment goes on exactly when it is run again."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.soak import Course
from tests.support.command import applog, lines, new_store, started


def spread(course: Course) -> bool:
    """Whether the moments reach from start-up to the end of a run."""
    return min(course.moments) < course.seconds * 0.3 and max(course.moments) > course.seconds * 0.6


def wait_until(reached: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until *reached*, and fail when it takes too long."""
    ends = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < ends, f"not reached after {seconds} s"
        time.sleep(0.01)


def tear(journal: Path) -> None:
    """Cut the last file of *journal* inside its last frame, as a kill inside a write leaves it."""
    last = max(journal.glob("*.journal"))
    last.write_bytes(last.read_bytes()[:-9])


def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    """Killed five times over the run and started again: the rows of a clean import, no damage left."""
    course = Course(work=tmp_path, hours=4, seed=5)

    course.run(5)

    assert course.kills >= 5
    assert course.completed >= 1


@pytest.mark.integration
def test_imports_killed_fifty_times_go_on(tmp_path: Path) -> None:
    """Fifty kills, spread evenly over a run of more than a second: nothing lost, nothing twice."""
    course = Course(work=tmp_path, hours=48, seed=50)
    assert course.seconds > 1

    course.run(50)

    assert course.kills >= 50
    assert spread(course)


@pytest.mark.integration
def test_a_killed_appliance_starts_again(tmp_path: Path) -> None:
    """`applog run` that was killed inside an import is started again, says so, and finishes the import."""
    course = Course(work=tmp_path, hours=24, seed=7)
    store = new_store(tmp_path / "store")
    inbox = store.root / "inbox"
    inbox.mkdir()
    (inbox / "day.pcap").write_bytes(course.capture.read_bytes())
    config = tmp_path / "applog.toml"
    config.write_text("[inbox]\nevery_seconds = 1\n")
    flows = store.root / "journals" / "flow" / "import"

    first = started(store.root, "run", config=config)
    wait_until(lambda: flows.exists() and any(path.stat().st_size > 2_000 for path in flows.iterdir()))
    first.kill()
    first.communicate(timeout=30)
    tear(flows)
    torn = applog(store.root, "status")
    second = started(store.root, "run", config=config)
    wait_until((inbox / "done" / "day.pcap").exists)
    second.terminate()
    out, err = second.communicate(timeout=30)

    assert torn.code == 3
    assert "cut short, or is under way" in torn.err
    assert second.returncode == 0, err
    assert b"stopped" in out
    assert lines(store) == course.clean
    assert applog(store.root, "status", "--deep").code == 0
