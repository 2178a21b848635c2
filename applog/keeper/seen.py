"""How the keeping of a store stands, as ``applog status`` shows it; read, never remembered.

Rules:
    1. What only the running keeper knows is asked of it; that it cannot be asked is said.
    2. A ledger that does not hold is damage, and does not hide the rest.
"""

from dataclasses import dataclass

from applog.errors import KeeperError
from applog.health import DATASETS
from applog.keeper.backlog import Backlog
from applog.keeper.client import ask
from applog.keeper.last_verify import LastVerify
from applog.keeper.lock import keeper_of
from retention.errors import RetentionError
from retention.ledger.view import read_ledger
from retention.store import Store
from retention.times import from_iso


@dataclass(kw_only=True)
class Seen:
    """What was seen."""

    sealed: dict[str, tuple[int, int]]
    """Dataset → rows in segments that are there, and how many segments."""
    unsealed: dict[str, int]
    """Dataset → rows in journals."""
    verified: LastVerify | None
    damages: tuple[str, ...] = ()
    entries: int = 0
    """Of the ledger, below its newest checkpoint."""
    checkpoint: int | None = None
    """When it was signed, UTC µs."""
    newest_confirmed: int | None = None
    """Newest confirmed time in the ledger, UTC µs."""
    keeper: str | None = None
    """Its process, if it runs."""
    confirmed: int | None = None
    """The confirmed time now, UTC µs, as the keeper knows it."""
    time: tuple[str, ...] = ()
    """What the time servers said."""
    waiting: tuple[str, ...] = ()
    degraded: tuple[tuple[str, int, str], ...] = ()
    """Job, since when (UTC µs), why."""


def seen(store: Store) -> Seen:
    """Look at *store*."""
    damages: list[str] = []
    try:
        store.catalogue.refresh()
    except RetentionError as error:
        damages.append(str(error))
    backlog = Backlog(journals=store.root / "journals")
    there = {
        one.name: [sealed for sealed in store.catalogue.sealed(one.name) if sealed.present]
        for one in DATASETS
    }
    found = Seen(
        sealed={name: (sum(one.manifest.count for one in all_), len(all_)) for name, all_ in there.items()},
        unsealed={one.name: backlog.rows(one.name) for one in DATASETS},
        verified=LastVerify.read(store.root),
    )
    try:
        view = read_ledger(store.root / "ledger")
        found.entries, found.checkpoint = view.checkpoint.size, from_iso(view.heads.time)
        found.newest_confirmed = view.state.confirmed
    except RetentionError as error:
        damages.append(str(error))
    if found.verified is not None:
        damages += (f"found by the nightly verification: {one}" for one in found.verified.failures)
    found.damages = tuple(damages)
    _ask(store, found)
    return found


def _ask(store: Store, found: Seen) -> None:
    """Add what the keeper knows."""
    found.keeper = keeper_of(store.root)
    if found.keeper is None:
        return
    try:
        answer = ask(store.root, {"ask": "status"}, timeout=5.0)
    except KeeperError as error:
        found.time = (str(error),)
        return
    found.confirmed = answer["confirmed"]
    found.time = tuple(answer["time"])
    found.waiting = tuple(answer["waiting"])
    found.degraded = tuple(
        (job["name"], job["failing_since"], job["failure"]) for job in answer["jobs"] if job["failure"]
    )
