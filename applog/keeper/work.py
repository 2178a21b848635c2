"""What the keeper does to a store, one function for each job; ``applog seal`` and ``verify`` do the same.

Rules:
    1. The ledger is opened for one job, or for one dataset's sealing, and let go, so that short commands have
       their turn.
    2. A dataset whose journals are refused does not keep the others from being sealed.
    3. Arguments and answers are plain values, for the work may be done in a process of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from applog import __version__
from applog.errors import NotSealedError
from applog.health import DATASETS
from applog.keeper.due import heads_due
from applog.keeper.threads import threads_now
from retention.dataset import Dataset
from retention.durable import is_locked, write_file
from retention.errors import RetentionError, SealingRefusedError, VerificationError
from retention.expiry import Expirer
from retention.journal.writer import CUT
from retention.ledger.entries import HeadsEntry
from retention.ledger.heads import heads_entry
from retention.ledger.log import Ledger
from retention.ntp import boot_clock
from retention.periods import Decision
from retention.sealer import Sealer, SealReport
from retention.shredding import shred_recipients
from retention.store import Store
from retention.times import from_iso
from retention.verify import Check, Scope, Verifier

BY = f"applog {__version__}"
INTEGRITY = VerificationError.exit_code
CUT_AHEAD_US = 3_000_000
"""How far ahead a cut is named: every writer looks in between."""
CUT_SETTLED_US = 2_000_000
"""So long behind it each of them has begun its new file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A dataset whose journals were not sealed, and why."""

    dataset: str
    says: str
    is_incident: bool
    """Not as it was written or signed; otherwise the machine's fault."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealing:
    """What one sealing did."""

    cut: int
    """UTC µs."""
    reports: tuple[SealReport, ...] = ()
    waiting: tuple[str, ...] = ()
    """What was not sealed although it is from before the cut, and why."""
    refusals: tuple[Refused, ...] = ()
    """What could not be sealed at all."""

    @property
    def is_complete(self) -> bool:
        """Whether everything from before the cut is sealed."""
        return not self.waiting and not self.refusals

    def of(self, dataset: str) -> "Sealing":
        """What it did to *dataset*; the reports are of all."""
        return replace(
            self,
            waiting=tuple(one for one in self.waiting if one.startswith(f"{dataset}:")),
            refusals=tuple(one for one in self.refusals if one.dataset == dataset),
        )

    def check(self) -> None:
        """Be content with waiting, but not with refusals.

        Raises:
            NotSealedError: a dataset's journals could not be sealed.
            SealingRefusedError: they are not as they were written or signed.
        """
        if self.refusals:
            said = "; ".join(f"{one.dataset} is not sealed: {one.says}" for one in self.refusals)
            is_incident = any(one.is_incident for one in self.refusals)
            raise (SealingRefusedError if is_incident else NotSealedError)(said)


def seal(
    store: Store,
    cut: int,
    names: Sequence[str] | None = None,
    confirmed: int | None = None,
    progress: Callable[[SealReport], None] = lambda _: None,
) -> Sealing:
    """Seal what was finished before *cut* (UTC µs), of the datasets *names* or of all.

    *confirmed* is the confirmed time now, UTC µs, or None.

    Raises:
        RetentionError: the ledger cannot be opened, or what is sealed is not what it says.
    """
    started = boot_clock()

    def confirmed_now() -> int | None:
        return None if confirmed is None else confirmed + round((boot_clock() - started) * 1e6)

    reports: list[SealReport] = []
    waiting: list[str] = []
    refusals: list[Refused] = []
    recover(store)
    for dataset in DATASETS:
        if names is not None and dataset.name not in names:
            continue
        try:
            with _sealer(store, dataset, confirmed_now) as sealer:
                sealer.progress = progress
                reports += sealer.seal(dataset, cut)
                waiting += [
                    f"{dataset.name}: {writer} still writes to a journal from before the cut"
                    for writer in sealer.waiting.still_open(dataset, cut)
                ]
        except RetentionError as error:
            is_incident = error.exit_code == INTEGRITY
            refusals.append(Refused(dataset=dataset.name, says=str(error), is_incident=is_incident))
    return Sealing(cut=cut, reports=tuple(reports), waiting=tuple(waiting), refusals=tuple(refusals))


@contextmanager
def _sealer(store: Store, dataset: Dataset, confirmed: Callable[[], int | None]) -> Iterator[Sealer]:
    """What seals *dataset*, holding the ledger.

    It has recovered that dataset: since the ledger was let go another process may have died at sealing it,
    and then the catalogue has what the ledger has not.
    """
    with store.ledger() as ledger:
        sealer = store.sealer(ledger, [dataset], confirmed=confirmed, by=BY)
        sealer.recover()
        try:
            yield sealer
        except RetentionError:
            with suppress(RetentionError):  # else the next opening cuts what is not signed
                _sign_rest(sealer)
            raise


def _sign_rest(sealer: Sealer) -> None:
    """Sign what a sealing that was cut short has entered."""
    if not isinstance(sealer.ledger.state.last, HeadsEntry):
        sealer.sign_heads()


def running_writers(store: Store) -> list[str]:
    """Journals that a process writes to now, as DATASET/WRITER."""
    locks = sorted((store.root / "journals").glob("*/*/lock"))
    return [f"{path.parent.parent.name}/{path.parent.name}" for path in locks if is_locked(path)]


def name_cut(store: Store, datasets: Sequence[Dataset], moment: int) -> None:
    """Ask every writer of *datasets* to begin a new file at *moment* (UTC µs)."""
    for dataset in datasets:
        directory = store.root / "journals" / dataset.name
        if directory.is_dir():
            write_file(directory / CUT, str(moment).encode())


def recover(store: Store) -> None:
    """Finish or undo what an earlier keeper left.

    Raises:
        RetentionError: what is sealed is not what the ledger says.
    """
    with store.ledger() as ledger:
        sealer = store.sealer(ledger, DATASETS, by=BY)
        sealer.recover()
        _sign_rest(sealer)


def sign_heads(store: Store, confirmed: int | None) -> bool:
    """Sign where trees and journals stand, if that is news; whether it was.

    Raises:
        RetentionError: the ledger cannot be opened or written.
    """
    with store.ledger() as ledger:
        store.catalogue.refresh()
        entry = heads_entry(store.root / "journals", ledger.state, store.catalogue, store.clock(), confirmed)
        if not heads_due(entry, ledger.state):
            return False
        ledger.append([entry])
        ledger.sign()
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """What a verification found, in words."""

    checks: tuple[str, ...]
    failures: tuple[str, ...]

    @property
    def succeeded(self) -> bool:
        """Whether nothing is wrong."""
        return not self.failures


def verifier(
    store: Store, scope: Scope, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Verifier:
    """What verifies *store*."""
    return Verifier(
        root=store.root,
        created=store.created,
        datasets=DATASETS,
        day_keys=store.day_keys,
        signing_keys=store.signing_keys,
        scope=scope,
        progress=progress,
    )


def verify(store: Store) -> Verification:
    """Recompute everything that is sealed, in as many threads as there is memory for."""
    checks: list[Check] = []
    failures: list[str] = []
    try:
        for check in verifier(store, Scope(deep=True, threads=threads_now())).checks():
            checks.append(check)
            failures += map(str, check.failures)
    except VerificationError as error:
        if not failures:
            failures.append(str(error))
    return Verification(checks=tuple(check.says for check in checks), failures=tuple(failures))


def expire(store: Store, retention: Mapping[str, int], confirmed: Callable[[], int | None]) -> list[Decision]:
    """Delete what is due at the confirmed time, and the keys that nothing needs any more; every decision.

    Raises:
        RetentionError: the disk or the ledger refused; the next call finishes what was begun.
    """
    with store.ledger() as ledger:
        decisions = _expirer(store, ledger, retention, confirmed).expire()
        last = ledger.state.last
        if last is not None:
            shred_recipients(
                store.recipients, store.root / "journals", now=store.clock(), ledger_time=from_iso(last.time)
            )
    return decisions


def would_expire(
    store: Store, retention: Mapping[str, int], confirmed: Callable[[], int | None]
) -> list[Decision]:
    """What ``expire`` would decide now; changes nothing.

    Raises:
        RetentionError: the ledger cannot be opened.
    """
    with store.ledger() as ledger:
        return _expirer(store, ledger, retention, confirmed).dry_run()


def _expirer(
    store: Store, ledger: Ledger, retention: Mapping[str, int], confirmed: Callable[[], int | None]
) -> Expirer:
    return Expirer(
        root=store.root,
        datasets=DATASETS,
        ledger=ledger,
        catalogue=store.catalogue,
        day_keys=store.day_keys,
        clock=store.clock,
        confirmed=confirmed,
        retention=retention,
    )
