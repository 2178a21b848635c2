"""The jobs: what each does, when it is due, and what a failure leaves."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from applog import audit
from applog.audit import Actor
from applog.errors import ChildError
from applog.keeper import jobs as module
from applog.keeper import work
from applog.keeper.board import JobState
from applog.keeper.jobs import Job, Jobs
from applog.keeper.last_verify import LastVerify
from applog.settings import Settings, TimeSettings
from retention.errors import StoreError
from retention.ledger.view import read_ledger
from retention.records import COVERAGE
from retention.store import Store
from retention.times import US_PER_DAY
from tests.support.disk import SECOND
from tests.support.sealed import losses

UNCONFIRMED = Settings(time=TimeSettings(servers=()))
NIGHT = 19 * 3_600 * SECOND + 1_800 * SECOND + SECOND
"""One second behind 02:30 in Bangkok, from UTC midnight."""


@pytest.fixture
def records() -> list[dict[str, Any]]:
    """What the jobs write into the audit journal."""
    return []


@pytest.fixture
def jobs(store: Store, records: list[dict[str, Any]]) -> Jobs:
    """The jobs, working in this process under a clock that can be set."""
    made = Jobs(store=store, settings=UNCONFIRMED, record=lambda _, **fields: records.append(fields))
    made._apart = False
    return made


def job(jobs: Jobs, name: str) -> bool:
    """Run the job *name* as its lane does."""
    found = next(one for lane in jobs.lanes().values() for one in lane if one.name == name)
    return jobs.board.run(name, found.work)


def state(jobs: Jobs, name: str) -> JobState:
    """How the job *name* is."""
    return next(one for one in jobs.board.states() if one.name == name)


def looked(store: Store) -> None:
    """One more audit record."""
    audit.record(store, Actor.current(), action="test", outcome="success")


def sealed(store: Store) -> int:
    """How many audit segments there are."""
    store.catalogue.refresh()
    return sum(one.present for one in store.catalogue.sealed("audit"))


def test_every_job_runs_on_a_whole_store(jobs: Jobs) -> None:
    """None fails, and none is forgotten."""
    names = [one.name for lane in jobs.lanes().values() for one in lane]

    done = {name: job(jobs, name) for name in names}

    assert done == dict.fromkeys(
        ["recover", "keys", "heads", "seal", "expire", "ballast", "time", "verify"], True
    )
    assert (jobs.store.root / "cache" / "ballast").exists()


def test_what_is_from_before_midnight_is_sealed_once_it_is_past(jobs: Jobs) -> None:
    """Not before; then once, without anybody asking."""
    looked(jobs.store)
    job(jobs, "seal")
    today = sealed(jobs.store)
    now = jobs.store.clock()
    jobs.store.clock = lambda: now + US_PER_DAY
    job(jobs, "seal")
    job(jobs, "seal")

    assert today == 1
    assert sealed(jobs.store) == 2
    assert jobs.waiting == ()


def test_many_rows_are_sealed_at_a_cut(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every writer is told, and waited for; what it wrote is sealed although it goes on."""
    monkeypatch.setattr("applog.keeper.due.SEAL_ROWS", 1)
    entry = audit.entry(jobs.store.clock(), Actor.current(), action="x", outcome="success")
    with jobs.store.writer(work.DATASETS[-1], "capture") as writer:
        for _ in range(2):
            writer.append(work.DATASETS[-1].batch([entry]))
        before = sealed(jobs.store)
        done = job(jobs, "seal")
        after = sealed(jobs.store)

    assert done
    assert (before, after) == (1, 2)


def test_a_failed_sealing_is_on_the_board_and_tried_again_later(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not each minute, but it stays on the board; the other jobs go on."""
    calls: list[int] = []

    def broken(*_: object, **__: object) -> None:
        calls.append(1)
        raise StoreError("the disk is broken")

    monkeypatch.setattr(work, "seal", broken)
    jobs._sealed_through = None
    first, at_once = job(jobs, "seal"), job(jobs, "seal")
    now = jobs.store.clock()
    jobs.store.clock = lambda: now + 601 * SECOND
    later = job(jobs, "seal")

    assert (first, at_once, later) == (False, False, False)
    assert len(calls) == 2
    assert state(jobs, "seal").failure == "the disk is broken"
    assert job(jobs, "heads")


def test_the_night_is_verified_once(jobs: Jobs, records: list[dict[str, Any]]) -> None:
    """The result is kept, and recorded."""
    midnight = jobs.store.clock() // US_PER_DAY * US_PER_DAY
    jobs.store.clock = lambda: midnight + NIGHT

    done = job(jobs, "verify"), job(jobs, "verify")

    last = LastVerify.read(jobs.store.root)
    assert done == (True, True)
    assert last is not None
    assert last.failures == ()
    assert len(last.checks) == 7
    assert [(one["action"], one["outcome"]) for one in records] == [("verify", "success")]


def test_a_refused_dataset_holds_up_no_other(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has many rows; the others are sealed at midnight all the same, and it stays on the board."""
    monkeypatch.setattr(work, "CUT_SETTLED_US", 0)
    monkeypatch.setattr(work, "CUT_AHEAD_US", 0)
    monkeypatch.setattr("applog.keeper.due.SEAL_ROWS", 1)
    looked(jobs.store)
    with jobs.store.writer(COVERAGE, "cli") as writer:
        writer.append(losses("eth0"))
        writer.append(losses("eth0"))
    path = next((jobs.store.root / "journals" / "coverage" / "cli").glob("*.journal"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(jobs._backlog, "rows", lambda name: 2 if name == "coverage" else 0)

    first = job(jobs, "seal")
    now = jobs.store.clock()
    jobs.store.clock = lambda: now + US_PER_DAY
    second = job(jobs, "seal")

    assert (first, second) == (False, False)
    assert sealed(jobs.store) == 2
    assert "coverage is not sealed" in str(state(jobs, "seal").failure)


def test_a_refusal_goes_when_the_rows_have_gone(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sealed them otherwise."""
    jobs._sealed_through = jobs.store.clock()
    jobs._tried["flow"] = jobs.store.clock()
    jobs._refused["flow"] = StoreError("flow is not sealed")
    monkeypatch.setattr(jobs._backlog, "rows", lambda _: 10**6)
    still = job(jobs, "seal")
    monkeypatch.setattr(jobs._backlog, "rows", lambda _: 0)

    assert (still, job(jobs, "seal")) == (False, True)


def test_a_verification_that_dies_stays_on_the_board(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is too late to try again, until one ends; what lies in cache/ changes nothing."""
    calls: list[int] = []

    def dying(_: Store) -> None:
        calls.append(1)
        raise ChildError("verify ended early (code -9); out of memory?")

    whole = work.verify
    monkeypatch.setattr(work, "verify", dying)
    night = jobs.store.clock() // US_PER_DAY * US_PER_DAY + NIGHT
    LastVerify(begun=night, ended=night, checks=("forged",), failures=()).write(jobs.store.root)
    done = []
    for later in (0, 60, 700, 3 * 3_600):
        jobs.store.clock = lambda: night + later * SECOND  # noqa: B023  called within the loop
        done.append(job(jobs, "verify"))
    died = state(jobs, "verify").failure
    monkeypatch.setattr(work, "verify", whole)
    jobs.store.clock = lambda: night + US_PER_DAY

    assert done == [False] * 4
    assert len(calls) == 2
    assert "ended early" in str(died)
    assert job(jobs, "verify")


def test_a_night_that_finds_damage_says_so_until_it_is_gone(
    jobs: Jobs, records: list[dict[str, Any]]
) -> None:
    """On the board, in the audit record, in the file that status shows; also after a restart."""
    path = jobs.store.root / "segments" / "flow" / "00000000.segment"
    path.write_bytes(path.read_bytes()[:-1])
    midnight = jobs.store.clock() // US_PER_DAY * US_PER_DAY
    jobs.store.clock = lambda: midnight + NIGHT

    done = job(jobs, "verify"), job(jobs, "verify")

    last = LastVerify.read(jobs.store.root)
    assert done == (False, False)
    assert last is not None
    assert "flow/00000000" in last.failures[0]
    assert "flow/00000000" in str(state(jobs, "verify").failure)
    assert (records[0]["outcome"], records[0]["reason"]) == ("failure", last.failures[0])


def test_a_nearly_full_disk_gives_the_ballast_for_sealing(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What frees room gets it: everything that can be sealed is, before its midnight."""
    job(jobs, "ballast")
    looked(jobs.store)
    monkeypatch.setattr(module, "LOW_BYTES", 1 << 60)
    monkeypatch.setattr(work, "CUT_SETTLED_US", 0)

    done = job(jobs, "seal")

    assert done
    assert not (jobs.store.root / "cache" / "ballast").exists()
    assert sealed(jobs.store) == 2


def test_a_disk_without_room_for_the_ballast_is_degraded(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before the disk is full."""
    monkeypatch.setattr("retention.ballast.PLENTY", 1 << 40)

    assert not job(jobs, "ballast")
    assert "no room is held back" in str(state(jobs, "ballast").failure)


def test_time_that_is_not_confirmed_is_degraded(store: Store) -> None:
    """If servers are configured; heads are signed all the same."""
    servers = ("a.invalid", "b.invalid", "c.invalid")
    jobs = Jobs(
        store=store, settings=Settings(time=TimeSettings(servers=servers)), record=lambda *_, **__: None
    )
    jobs._apart = False

    assert not job(jobs, "time")
    assert "not confirmed: a.invalid" in str(state(jobs, "time").failure)
    assert job(jobs, "heads")


class _Lanes(Jobs):
    """Jobs of a test's own."""

    given: dict[str, list[Job]]

    def lanes(self) -> dict[str, list[Job]]:
        return self.given


@contextlib.contextmanager
def laned(store: Store, **lanes: list[Job]) -> Iterator[Jobs]:
    """Jobs that run in lanes."""
    jobs = _Lanes(store=store, settings=UNCONFIRMED, record=lambda *_, **__: None)
    jobs.given = lanes
    with jobs.running():
        yield jobs


def test_lanes_do_not_wait_for_one_another(store: Store) -> None:
    """A job that takes long, and one that fails, hold up nobody; each runs again at its time."""
    released, ran = threading.Event(), threading.Semaphore(0)

    def failing() -> None:
        raise StoreError("no")

    with laned(
        store,
        slow=[Job(name="slow", every=60, work=lambda: released.wait(10) and None)],
        quick=[Job(name="bad", every=60, work=failing), Job(name="good", every=1, work=ran.release)],
    ) as jobs:
        in_time = [ran.acquire(timeout=5) for _ in range(2)]
        released.set()

    assert in_time == [True, True]
    assert state(jobs, "bad").failure == "no"


def test_a_stop_does_not_wait_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way may be left: the next start finishes it."""
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    released = threading.Event()
    started = time.monotonic()

    with laned(store, slow=[Job(name="slow", every=60, work=lambda: released.wait(10) and None)]):
        pass
    took = time.monotonic() - started
    released.set()

    assert took < 5
    assert read_ledger(store.root / "ledger").unsigned == 0
