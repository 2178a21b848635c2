"""One keeper for each store."""

import fcntl
import os
import threading
from pathlib import Path

import pytest

from applog.errors import KeeperBusyError
from applog.keeper.lock import LOCK, keeper_lock, keeper_of


def test_a_second_keeper_is_refused_with_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the first one, which goes on; afterwards the place is free."""
    (tmp_path / "ledger").mkdir()
    monkeypatch.setattr("applog.keeper.lock.WAIT_SECONDS", 0.05)

    with keeper_lock(tmp_path):
        during = keeper_of(tmp_path)
        with pytest.raises(KeeperBusyError, match=f"process {os.getpid()}; nothing was started"):
            keeper_lock(tmp_path).__enter__()

    assert during == str(os.getpid())
    assert keeper_of(tmp_path) is None
    with keeper_lock(tmp_path):
        pass


def test_a_glance_at_the_lock_does_not_keep_a_keeper_out(tmp_path: Path) -> None:
    """`applog status` holds it for a moment; the start waits that long."""
    (tmp_path / "ledger").mkdir()
    descriptor = os.open(tmp_path / "ledger" / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    threading.Timer(0.1, os.close, [descriptor]).start()

    with keeper_lock(tmp_path):
        assert keeper_of(tmp_path) == str(os.getpid())


def test_a_store_that_never_had_a_keeper_has_none(tmp_path: Path) -> None:
    """Asking creates nothing."""
    assert keeper_of(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
