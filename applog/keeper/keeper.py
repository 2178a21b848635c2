"""The keeper of one store: its lock, its jobs and its socket, in one process.

Rules:
    1. One for each store: a second start is refused with words.
    2. It stops within seconds at any moment; what was under way is finished at the next start.
"""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from applog.keeper.answers import Answers
from applog.keeper.jobs import Jobs
from applog.keeper.lock import keeper_lock
from applog.keeper.register import Register
from applog.keeper.server import Server
from applog.settings import Settings
from retention.catalogue import Catalogue
from retention.store import Store


@contextmanager
def running(store: Store, settings: Settings) -> Iterator[Jobs]:
    """Keep *store* until the block ends.

    Raises:
        KeeperBusyError: another process does.
        KeyMaterialError: the store's keys cannot be opened.
    """
    with keeper_lock(store.root):
        store.unlock()  # a passphrase is asked for here, once
        register = Register(store=_apart(store))
        jobs = Jobs(store=store, settings=settings, record=register.record)
        answers = Answers(store=_apart(store), register=register, status=lambda: status_of(jobs))
        server = Server(root=store.root, answers=answers, readers=settings.keeper.readers)
        try:
            with server.running(), jobs.running():
                yield jobs
        finally:
            register.close()


def _apart(store: Store) -> Store:
    """The same store with a catalogue of its own, for another thread; keys are shared."""
    apart = copy.copy(store)
    apart.catalogue = Catalogue(store.root / "segments")
    return apart


def status_of(jobs: Jobs) -> dict[str, Any]:
    """What ``status`` answers: times are UTC µs."""
    return {
        "process": os.getpid(),
        "confirmed": jobs.confirmed.now(),
        "time": jobs.confirmed.reasons,
        "jobs": jobs.board.states(),
        "waiting": jobs.waiting,
    }
