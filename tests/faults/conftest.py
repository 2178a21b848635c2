"""What the attacks share: one small sealed store, built once and copied for each of them."""

import os
from pathlib import Path

import pytest

from tests.support.sealed import SealedStore, small_store


@pytest.fixture(scope="session")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> SealedStore:
    """The control of every attack. Nobody changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(os, "fdatasync", lambda _: None)
        built = small_store(tmp_path_factory.mktemp("undamaged") / "store")
    assert built.verify(deep=True, anchor=built.lodge()) == []
    return built


@pytest.fixture
def quick_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Syncing does nothing: what is tested is not about power cuts."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


@pytest.fixture
def target(undamaged: SealedStore, tmp_path: Path, quick_sync: None) -> SealedStore:  # noqa: ARG001
    """A copy, to be attacked."""
    return undamaged.copied(tmp_path / "store")
