"""For all tests: a skip that is not on the short list below fails the run."""

from __future__ import annotations

import pytest

# test id (a prefix) -> why it may be skipped. Nothing else may.
MAY_SKIP: dict[str, str] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> object:
    """Turn a skip that nobody has allowed into a failure."""
    report: pytest.TestReport = yield
    if report.skipped and not any(item.nodeid.startswith(prefix) for prefix in MAY_SKIP):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but is not on the list in tests/conftest.py: {report.longrepr}"
    return report
