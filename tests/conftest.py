"""What every test shares: which real parts are there, and that nothing is skipped where all must run."""

import os
from collections.abc import Generator

import pytest

from tests.support.traffic import shared

ALL = os.environ.get("APPLOG_TEST_ALL") == "1"
"""Set by ``deploy/test --all``: every real part is there, so nothing may be skipped."""

_NO_SHARED = "the shared captures are not beside this checkout (../shared)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a part that is not here, saying which; begin with the file that takes longest."""
    items.sort(key=lambda item: "test_readme" not in item.nodeid)
    for item in items:
        if item.get_closest_marker("shared") and shared() is None:
            item.add_marker(pytest.mark.skip(reason=_NO_SHARED))
        elif item.get_closest_marker("integration") and not ALL:
            item.add_marker(pytest.mark.skip(reason="needs real parts: run deploy/test --all as root"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under ``--all`` a skip is a failure, unless only the shared captures are absent."""
    report = yield
    if ALL and report.skipped and not hasattr(report, "wasxfail") and "shared" not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped although all parts must run: {report.longrepr}"
    return report
