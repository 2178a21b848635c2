"""Errors: an exit code, words, and a next step for everything a person can do something about."""

import importlib
import inspect
import pkgutil

import pytest

import applog
import applog.capture
import applog.search
from applog.errors import AlreadyImportedError, ApplogError, NotACaptureError, ProfileChangedError, QueryError


def every_error() -> list[type[ApplogError]]:
    """Every error class of the package, wherever it is."""
    for package in (applog, applog.capture, applog.search):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found, more = [], [ApplogError]
    while more:
        found.append(one := more.pop())
        more += one.__subclasses__()
    return [one for one in found if one.__module__.startswith("applog")]


@pytest.mark.parametrize(
    "error",
    [pytest.param(one, id=one.__name__) for one in every_error()],
)
def test_every_error_is_one_of_ours(error: type[ApplogError]) -> None:
    """One family, names that end in Error, a sentence each, and exit codes a script can tell apart."""
    assert error.__name__.endswith("Error")
    assert error.__doc__
    assert error.exit_code in ({1} if error is ApplogError else {5, 6})
    assert not error.hint.endswith(".")
    assert error.hint[:1] == error.hint[:1].lower()


def test_no_error_is_outside_the_family() -> None:
    """Whatever ``errors.py`` holds is caught at the boundary by its base class."""
    module = importlib.import_module("applog.errors")

    for _, one in inspect.getmembers(module, inspect.isclass):
        assert issubclass(one, ApplogError)


@pytest.mark.parametrize("error", [NotACaptureError, AlreadyImportedError, ProfileChangedError])
def test_what_a_person_can_do_is_said(error: type[ApplogError]) -> None:
    """Refused imports come with the next step."""
    assert error.hint


def test_a_query_error_says_where() -> None:
    """Column and reason are in the message and in fields."""
    error = QueryError(7, "expected a term")

    assert str(error) == "column 7: expected a term"
    assert (error.column, error.reason, error.exit_code) == (7, "expected a term", 5)
