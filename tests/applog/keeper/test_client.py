"""Asking a keeper: its answer, or words."""

from pathlib import Path

import pytest

from applog.errors import KeeperError
from applog.keeper.client import ask


def test_a_keeper_that_does_not_run_is_an_error_with_words(tmp_path: Path) -> None:
    """And with what to do."""
    with pytest.raises(KeeperError, match="cannot be asked: No such file") as error:
        ask(tmp_path, {"ask": "status"})

    assert "applog keeper" in error.value.hint
