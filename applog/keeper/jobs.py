"""The jobs of the keeper, and when each is done.

Rules:
    1. Three lanes, a thread each, so that none waits for another's work: the ledger (heads, sealing, expiry,
       keys, ballast), the time, and the nightly verification. Within a lane one job runs at a time.
    2. A job that fails is on the board and is tried again at its next time; the others go on.
    3. Sealing and verifying run in a process of their own (``child``).
    4. Every job runs once at the start, the clean-up of an earlier keeper first.
    5. What cannot be sealed, or verified, is on the board until it can: also between two tries, and whatever
       lies in ``cache/``. A dataset that is refused keeps no other from being sealed.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec, TypeVar

import schedule

from applog import audit
from applog.errors import ApplogError, NotSealedError
from applog.health import DATASETS
from applog.keeper import due, work
from applog.keeper.backlog import Backlog
from applog.keeper.board import Board
from applog.keeper.child import in_child, opens_alone
from applog.keeper.confirmed import ConfirmedTime
from applog.keeper.last_verify import LastVerify
from applog.settings import Settings
from retention.ballast import PLENTY, Ballast
from retention.errors import RetentionError, SealingRefusedError, StoreError, VerificationError
from retention.ntp import TimeSources
from retention.store import Store

_log = logging.getLogger(__name__)

LOW_BYTES = 32 << 20
"""With less free disk space than this the ballast is given up, and what can be sealed is."""
PATIENCE_SECONDS = 20.0
"""So long a stop waits for what is under way."""
_LOOK_SECONDS = 0.5
_MINUTE, _HOUR = 60, 3600
_MIDNIGHT = "at midnight"
"""A purpose of sealing; the others are names of datasets with many rows."""
_OURS = (ApplogError, RetentionError, OSError)
_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One thing that is done again and again."""

    name: str
    every: int
    """Seconds."""
    work: Callable[[], None]


@dataclass(kw_only=True)
class Jobs:
    """Everything that the keeper of one store does by itself."""

    store: Store
    settings: Settings
    record: Callable[..., None]
    """Writes an audit record."""
    stop: threading.Event = field(default_factory=threading.Event)
    waiting: tuple[str, ...] = ()
    """What the last sealing left, and why."""

    def __post_init__(self) -> None:
        servers = self.settings.time.servers
        self.confirmed = ConfirmedTime(sources=TimeSources(servers=servers) if servers else None)
        self.board = Board(clock=self.store.clock)
        self.retention = self.settings.retention.days()
        self._ballast = Ballast(path=self.store.root / "cache" / "ballast")
        self._backlog = Backlog(journals=self.store.root / "journals")
        self._sealed_through: int | None = None
        self._tried: dict[str, int] = {}
        """When it was last tried in vain to seal for a purpose, UTC µs."""
        self._refused: dict[str, Exception] = {}
        """Why that failed."""
        self._verify_begun: int | None = None
        """When the last verification was begun that came to its end; UTC µs, as all of these."""
        self._verify_tried: int | None = None
        self._verify_failed: Exception | None = None
        last = LastVerify.read(self.store.root)
        if last is not None and last.failures:  # an alarm is believed to anybody, and its absence to nobody
            self._verify_failed = VerificationError(last.failures[0])
        self._apart = opens_alone(self.store, dict(os.environ))

    def lanes(self) -> dict[str, list[Job]]:
        """The jobs of each lane, in the order of their first run."""
        once = 10**9
        return {
            "ledger": [
                Job(name="recover", every=once, work=lambda: work.recover(self.store)),
                Job(name="keys", every=_HOUR, work=self.store.make_keys_ahead),
                Job(name="heads", every=_MINUTE, work=self._heads),
                Job(name="seal", every=_MINUTE, work=self._seal),
                Job(name="expire", every=_HOUR, work=self._expire),
                Job(name="ballast", every=_HOUR, work=self._lay_ballast),
            ],
            "time": [Job(name="time", every=_MINUTE, work=self.confirmed.ask)],
            "verify": [Job(name="verify", every=_MINUTE, work=self._verify)],
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        """Do it all in threads, until the block ends; what is under way then is finished or left safe."""
        threads = [
            threading.Thread(target=self._lane, args=(jobs,), name=f"keeper-{name}", daemon=True)
            for name, jobs in self.lanes().items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stop.set()
            deadline = time.monotonic() + PATIENCE_SECONDS
            for thread in threads:  # what does not end in time may be cut short anywhere
                thread.join(max(deadline - time.monotonic(), 0))

    def _lane(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            if not self.stop.is_set():
                self.board.run(job.name, job.work)
        planned = self._planned(jobs)
        while not self.stop.wait(_LOOK_SECONDS):
            if (planned.idle_seconds or 0) > _HOUR + _MINUTE:
                planned = self._planned(jobs)  # the clock stepped back, and plans are made by it
            planned.run_pending()

    def _planned(self, jobs: Sequence[Job]) -> schedule.Scheduler:
        planned = schedule.Scheduler()
        for job in jobs:
            if job.every <= _HOUR:
                planned.every(job.every).seconds.do(self.board.run, job.name, job.work)
        return planned

    def _heads(self) -> None:
        work.sign_heads(self.store, self.confirmed.now())

    def _seal(self) -> None:
        now = self.store.clock()
        if due.midnight_due(now, self._sealed_through, self._tried.get(_MIDNIGHT)):
            self._try_sealing(due.midnight_before(now), None)
        names = self._names_due(now)
        if names:
            self._seal_now(names)
        self._raise_refusals()

    def _names_due(self, now: int) -> list[str]:
        """Datasets that do not wait for midnight."""
        if self._room_is_short():
            _log.warning("less than %d MiB are free: sealing what can be sealed", LOW_BYTES >> 20)
            return [dataset.name for dataset in DATASETS]
        names = []
        for name in (dataset.name for dataset in DATASETS):
            rows = self._backlog.rows(name)
            if due.rows_due(rows, now, self._tried.get(name)):
                names.append(name)
            elif not due.rows_due(rows, now, None):
                self._refused.pop(name, None)  # it was sealed otherwise
        return names

    def _seal_now(self, names: list[str]) -> None:
        """Seal what there is, behind a cut that every writer is told of."""
        moment = self.store.clock() + work.CUT_AHEAD_US
        work.name_cut(self.store, [one for one in DATASETS if one.name in names], moment)
        if not self.stop.wait((work.CUT_AHEAD_US + work.CUT_SETTLED_US) / 1e6):
            self._try_sealing(moment, names)

    def _try_sealing(self, cut: int, names: list[str] | None) -> None:
        """Seal the datasets *names*, or all for their midnight; what failed is noted, to be raised later."""
        purposes = [_MIDNIGHT] if names is None else names
        self._tried |= dict.fromkeys(purposes, self.store.clock())
        try:
            sealing = self._sealed(cut, names)
        except _OURS as error:
            self._refused |= dict.fromkeys(purposes, error)
            return
        for purpose in purposes:
            part = sealing if purpose == _MIDNIGHT else sealing.of(purpose)
            self._refused.pop(purpose, None)
            try:
                part.check()
            except _OURS as error:
                self._refused[purpose] = error
            if part.is_complete:
                del self._tried[purpose]
        if names is None and sealing.is_complete:
            self._sealed_through = cut

    def _sealed(self, cut: int, names: list[str] | None) -> work.Sealing:
        sealing = self._apart_if_possible(work.seal, cut, names, self.confirmed.now())
        for report in sealing.reports:
            if report.rows:
                _log.info("sealed %s: %s rows, %s bytes", report.name, f"{report.rows:,}", f"{report.size:,}")
        others = () if names is None else (one for one in self.waiting if one.split(":")[0] not in names)
        self.waiting = (*others, *sealing.waiting)
        return sealing

    def _raise_refusals(self) -> None:
        """Tell the board of everything that could not be sealed when it was last tried.

        Raises:
            ApplogError: of several, or what one said.
            RetentionError: something is not as it was written or signed, or what one said.
        """
        refused = list({str(error): error for error in self._refused.values()}.values())
        if len(refused) == 1:
            raise refused[0].with_traceback(None)
        if refused:
            is_incident = any(getattr(error, "exit_code", 0) == work.INTEGRITY for error in refused)
            raise (SealingRefusedError if is_incident else NotSealedError)("; ".join(map(str, refused)))

    def _apart_if_possible(
        self, job: Callable[Concatenate[Store, _P], _T], *arguments: _P.args, **named: _P.kwargs
    ) -> _T:
        if self._apart:
            return in_child(self.store.root, self.stop, job, *arguments, **named)
        return job(self.store, *arguments, **named)

    def _expire(self) -> None:
        for decision in work.expire(self.store, self.retention, self.confirmed.now):
            if decision.expires:
                _log.info("expired %s: %s rows; %s", decision.name, f"{decision.rows:,}", decision.why)

    def _lay_ballast(self) -> None:
        if not self._ballast.ensure():
            raise StoreError(
                f"less than {PLENTY * self._ballast.size >> 20} MiB are free where the store is: "
                "no room is held back for the day on which the disk is full"
            )

    def _room_is_short(self) -> bool:
        """Whether the disk is nearly full; if so, the ballast is given up for what frees room."""
        found = os.statvfs(self.store.root)
        return found.f_bavail * found.f_frsize < LOW_BYTES and self._ballast.release()

    def _verify(self) -> None:
        now = self.store.clock()
        at = self.settings.keeper.verify_at
        if due.verify_due(now, at, self._verify_begun, self._verify_tried):
            self._verify_tried = now
            try:
                found = self._apart_if_possible(work.verify)
            except Exception as error:  # a bug as well: the night was not verified
                self._verify_failed = error
                raise
            self._verify_begun, self._verify_tried = now, None
            self._verify_failed = None if found.succeeded else VerificationError(found.failures[0])
            self._tell(now, found)
        if self._verify_failed is not None:
            raise self._verify_failed.with_traceback(None)

    def _tell(self, begun: int, found: work.Verification) -> None:
        """Record what a verification found, and keep it for who asks."""
        reason: dict[str, Any] = {} if found.succeeded else {"reason": found.failures[0]}
        self.record(
            audit.Actor.current(),
            action="verify",
            outcome="success" if found.succeeded else "failure",
            query="nightly, deep",
            **reason,
        )
        LastVerify(begun=begun, ended=self.store.clock(), checks=found.checks, failures=found.failures).write(
            self.store.root
        )
        if found.succeeded:
            _log.info("verified everything that is sealed: %s", found.checks[-1])
