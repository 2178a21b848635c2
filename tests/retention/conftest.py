"""What the tests of the store share: a clock, a disk, a journal and a store in a temporary directory."""

import datetime as dt
import os
import shutil
from pathlib import Path

import pytest

from retention.store import Store
from tests.support.disk import NOON, Disk, Journal, SimulatedClock


@pytest.fixture
def clock() -> SimulatedClock:
    """A clock at noon, 1 March 2026, UTC."""
    return SimulatedClock()


@pytest.fixture
def store(tmp_path: Path, clock: SimulatedClock) -> Store:
    """A new store under the simulated clock."""
    return Store.create(tmp_path / "store", clock)


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of the days around the clock, made once: each pair costs four syncs."""
    return Journal(tmp_path_factory.mktemp("keys")).root


@pytest.fixture
def journal(tmp_path: Path, made_keys: Path, clock: SimulatedClock) -> Journal:
    """A journal without files, with keys for the days around the clock."""
    shutil.copytree(made_keys, tmp_path, dirs_exist_ok=True)
    return Journal(tmp_path, clock)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The calls to the disk, watched."""
    return Disk(monkeypatch)


@pytest.fixture
def quick_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing does nothing: for thousands of small cases whose promise is not about power cuts."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def today() -> dt.date:
    """The simulated clock's day."""
    return dt.datetime.fromtimestamp(NOON / 1e6, dt.UTC).date()
