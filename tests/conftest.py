"""For all tests: a skip that is not on the short list below fails the run."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import Phase, settings

# How long an example takes says more of the machine than of the code.
settings.register_profile("safezone", deadline=None)
# For `make mutants`, which asks for it by name: what fails there is only counted, so it is not made small.
settings.register_profile(
    "mutants",
    deadline=None,
    max_examples=20,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("safezone")

# test id (a prefix) -> why it may be skipped. Nothing else may.
MAY_SKIP: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--cuts N``: a longer look at the databases after power cuts."""
    parser.addoption("--cuts", type=int, default=60, help="power cuts of each database's recorded writes")


@pytest.fixture
def cuts(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--cuts"))


def _allowed(report: pytest.TestReport | pytest.CollectReport) -> bool:
    return not report.skipped or any(report.nodeid.startswith(prefix) for prefix in MAY_SKIP)


def _complaint(report: pytest.TestReport | pytest.CollectReport) -> str:
    return f"{report.nodeid} was skipped, but is not on the list in tests/conftest.py: {report.longrepr}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip that nobody has allowed into a failure."""
    report = yield
    if not _allowed(report):
        report.longrepr, report.outcome = _complaint(report), "failed"
        vars(report).pop("wasxfail", None)  # pytest counts no failure that was expected
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself."""
    report = yield
    if not _allowed(report):
        report.longrepr, report.outcome = _complaint(report), "failed"
    return report
