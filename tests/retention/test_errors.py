"""Errors: an exit code, words, and a next step for everything a person can do something about."""

import inspect
from pathlib import Path

import pytest

from retention import errors
from retention.errors import JournalDamagedError, RetentionError, StoreExistsError, StoreMissingError

ALL = [one for _, one in inspect.getmembers(errors, inspect.isclass) if one.__module__ == "retention.errors"]


@pytest.mark.parametrize("error", ALL, ids=lambda error: error.__name__)
def test_every_error_is_one_of_ours(error: type[RetentionError]) -> None:
    """One family, names that end in Error, a sentence each, and exit codes a script can tell apart."""
    assert issubclass(error, RetentionError)
    assert error.__name__.endswith("Error")
    assert error.__doc__
    assert error.exit_code in ({1} if error is RetentionError else {3, 4, 5, 6})
    assert not error.hint.endswith(".")


def test_damage_says_where() -> None:
    """Path, byte and finding are in the message and in fields; it fails integrity, with a next step."""
    error = JournalDamagedError(Path("/j/00000001.journal"), 512, "frame 3: altered")

    assert str(error) == "journal /j/00000001.journal, byte 512: frame 3: altered"
    assert (error.path.name, error.offset, error.what) == ("00000001.journal", 512, "frame 3: altered")
    assert error.exit_code == 3
    assert error.hint.startswith("copy the data directory")


def test_stores_are_named() -> None:
    """A missing and an existing store are told apart, by path."""
    assert "/data" in str(StoreMissingError(Path("/data")))
    assert "nothing was changed" in str(StoreExistsError(Path("/data")))
    assert StoreMissingError.exit_code == StoreExistsError.exit_code == 4
