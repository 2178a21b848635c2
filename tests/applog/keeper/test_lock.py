"""One keeper for each store."""

import os
from pathlib import Path

import pytest

from applog.errors import KeeperBusyError
from applog.keeper.lock import keeper_lock, keeper_of


def test_a_second_keeper_is_refused_with_words(tmp_path: Path) -> None:
    """It names the first one, which goes on; afterwards the place is free."""
    (tmp_path / "ledger").mkdir()

    with keeper_lock(tmp_path):
        during = keeper_of(tmp_path)
        with pytest.raises(KeeperBusyError, match=f"process {os.getpid()}; nothing was started"):
            keeper_lock(tmp_path).__enter__()

    assert during == str(os.getpid())
    assert keeper_of(tmp_path) is None
    with keeper_lock(tmp_path):
        pass


def test_a_store_that_never_had_a_keeper_has_none(tmp_path: Path) -> None:
    """Asking creates nothing."""
    assert keeper_of(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
