"""What every test may use, and what a whole run of them must not do: skip, where nothing may be skipped."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"
_ABSENT = "the shared data is not here"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real CI data beside the project; tests that need it skip where it is absent."""
    data = SHARED / "data"
    if not data.is_dir():
        pytest.skip(_ABSENT)
    return data


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With K2ALERT_NO_SKIP=1 a skip fails the run (`-ra` lists them), save for shared data that is not here."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("K2ALERT_NO_SKIP") != "1" or reporter is None or hasattr(session.config, "workerinput"):
        return
    skipped = [report for report in reporter.stats.get("skipped", []) if _ABSENT not in str(report.longrepr)]
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"\n{len(skipped)} skipped, and with K2ALERT_NO_SKIP=1 that is a failure", red=True)
