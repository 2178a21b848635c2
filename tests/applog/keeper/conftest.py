"""A sealed store for each test that asks for one."""

from pathlib import Path

import pytest

from retention.store import Store
from tests.support.command import sealed_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with sealed records of its own."""
    return sealed_store(tmp_path / "store")
